"""Basins: angles, ranges and gradients against cases whose answers are known."""

import math

import pytest
import torch

from gfla.sampling import gaussian_warp
from gfla.street import basins, scenes
from gfla.street.basins import Basin

SMALL = scenes.Setting(side=10, margin=9, channels=8, attention_steps=120, descent_steps=25)


@pytest.fixture(scope="module")
def scene():
    return scenes.toy_scene(SMALL, seed=0)


@pytest.fixture(scope="module")
def attention():
    return basins.train_attention(3, SMALL, seed=0)


def test_mismatch_is_none_for_the_same_one_for_strangers_two_for_opposites():
    a = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1)
    b = torch.tensor([0.0, 3.0]).view(1, 2, 1, 1)
    values = [basins.mismatch(x, y).item() for x, y in ((a, 5 * a), (a, b), (a, -a))]
    assert values == pytest.approx([0, 1, 2])


@pytest.mark.parametrize("angle", [0, 30, 90, 150, -120])
def test_heading_is_the_angle_of_the_step_to_the_way_home(angle):
    error = torch.tensor([3.0, 4.0]).view(1, 2, 1, 1)
    turn = math.radians(angle)
    matrix = torch.tensor([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    gradient = (matrix @ error.flatten()).view(1, 2, 1, 1)  # minus it leads home, but for the turn
    assert basins.heading(0.1 * gradient, error).item() == pytest.approx(angle, abs=1e-3)


def test_homeward_counts_less_than_a_right_angle():
    assert basins.homeward(torch.tensor([0.0, 89.0, -89.0, 91.0, -180.0])) == pytest.approx(0.6)


def test_pull_is_the_derivative_of_the_mismatch(scene):
    flow = scene.home + 0.3
    energy, gradient = basins.pull(basins.bilinear, scene, flow)
    step = torch.zeros_like(flow)
    step[:, 0] = 1e-3
    ahead, _ = basins.pull(basins.bilinear, scene, flow + step)
    behind, _ = basins.pull(basins.bilinear, scene, flow - step)
    torch.testing.assert_close((ahead - behind) / 2e-3, gradient[:, 0], atol=5e-3, rtol=0)
    assert energy.shape == (1, 10, 10) and not energy.requires_grad


def test_no_trial_sees_another(scene):
    flow = scene.home + 0.3
    _, gradient = basins.pull(basins.bilinear, scene, flow)
    other = flow.clone()
    other[..., 5:] += 2
    _, moved = basins.pull(basins.bilinear, scene, other)
    assert torch.equal(gradient[..., :5], moved[..., :5])
    assert not torch.equal(gradient[..., 5:], moved[..., 5:])


def test_descent_comes_home_from_nearby_and_not_from_afar(scene):
    found = basins.basin(basins.bilinear, scene, [0.0, 0.75, 8.0], SMALL.descent_steps)
    assert found.mismatch[0] < 1e-6 and found.mismatch[2] > 0.8
    assert found.caught[1] > 0.95 and found.home[1] > 0.95 and found.homeward[1] > 0.95
    assert found.caught[2] < 0.1 and found.home[2] < 0.1


def test_a_look_alike_far_from_home_does_not_count_as_caught(scene):
    alike = scene._replace(
        source=torch.ones_like(scene.source), target=torch.ones_like(scene.target)
    )
    found = basins.basin(basins.bilinear, alike, [0.5, 1.5, 5.0], steps=0)
    assert found.caught.tolist() == [1.0, 0.0, 0.0]
    assert basins.basin(basins.bilinear, alike, [2.9], steps=0, n=5).caught.item() == 1.0


@pytest.mark.parametrize(
    ("shares", "level", "expected"),
    [
        ([1.0, 0.75, 0.25], 0.5, 1.5),
        ([1.0, 1.0, 0.9], 0.5, 2.0),
        ([0.4, 0.9, 0.9], 0.5, 0.0),
        ([1.0, 0.5, 0.5], 0.75, 0.5),
    ],
)
def test_reach_joins_shares_by_straight_lines(shares, level, expected):
    assert basins.reach([0.0, 1.0, 2.0], shares, level) == pytest.approx(expected)


def test_smoother_features_pull_weaker_and_from_farther():
    found = basins.trade_off(
        scenes.Setting(side=24), [1.0, 2.0], [0.5 * i for i in range(1, 14)], 0
    )
    assert found.difference == pytest.approx(found.by_rule, rel=0.15)
    assert found.by_rule[0] == pytest.approx(0.6652, abs=1e-3)
    assert found.reach[1] > 1.5 * found.reach[0]


def test_a_feature_gradient_is_the_deposit_of_what_arrives(scene):
    arrives = torch.zeros_like(scene.target)
    arrives[0, 2, 4, 5] = 3.0
    flow = scene.home + torch.tensor([0.25, 0.5]).view(1, 2, 1, 1)
    gradient = basins.feature_gradient(basins.bilinear, scene, flow, arrives)
    y, x = 4 + SMALL.margin, 5 + SMALL.margin
    expected = torch.zeros_like(gradient)
    expected[0, 2, y : y + 2, x : x + 2] = 3 * torch.tensor([[0.375, 0.125], [0.375, 0.125]])
    torch.testing.assert_close(gradient, expected)


def test_one_pixel_off_leaves_nothing_of_the_feature_gradient(scene):
    overlaps = basins.feature_overlap(basins.bilinear, scene, [0.0, 0.5, 1.0], seed=0)
    assert overlaps == pytest.approx([1, math.sqrt(0.5), 0], abs=0.12)


def test_learning_through_a_flow_explains_that_flow_alone(scene):
    wrong = scene.home + torch.tensor([3.0, 0.0]).view(1, 2, 1, 1)
    learned = basins.learn_source(scene, wrong)
    assert basins.unexplained(basins.bilinear(learned, None, wrong), scene) < 0.05
    assert basins.unexplained(basins.bilinear(learned, None, scene.home), scene) > 0.5
    assert learned[..., :3].abs().max() == 0  # no reading came there


def test_unexplained_is_one_for_the_plain_mean(scene):
    mean = torch.full_like(scene.target, scene.target.mean().item())
    assert basins.unexplained(mean, scene) == pytest.approx(1)
    assert basins.unexplained(scene.target, scene) == 0


def test_attention_learns_to_read_the_true_pixel_off_its_centre(scene, attention):
    flow = scene.home + torch.tensor([1.0, 0.0]).view(1, 2, 1, 1)
    read = basins.attending(attention)(scene.source, scene.target, flow)
    plain = basins.bilinear(scene.source, scene.target, flow)
    ours, theirs = (basins.mismatch(x, scene.target).mean().item() for x in (read, plain))
    assert ours < 0.5 * theirs
    assert not any(parameter.requires_grad for parameter in attention.parameters())


def test_training_an_attention_is_deterministic_and_leaves_the_generator_alone():
    short = scenes.Setting(attention_steps=3)
    state = torch.get_rng_state()
    first, again, other = (basins.train_attention(3, short, seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    weights = [a.kernel_net[0].weight for a in (first, again, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_holding_the_kernels_changes_the_gradient_and_not_the_value(scene, attention):
    flow = scene.home + 0.4
    arrives = torch.ones_like(scene.target)
    free, held = basins.attending(attention), basins.held(attention)
    torch.testing.assert_close(
        free(scene.source, scene.target, flow), held(scene.source, scene.target, flow)
    )
    gradients = [basins.feature_gradient(s, scene, flow, arrives) for s in (free, held)]
    assert not torch.allclose(*gradients, atol=1e-4)
    total = gradients[1].sum().item()  # kernels sum to 1, and 1/n^2 stands before them
    assert total == pytest.approx(arrives.sum().item() / 9, rel=1e-3)


@pytest.mark.parametrize("displacement", [0.0, 0.3, 2.0, -1.4])
def test_footprints_are_what_the_samplers_read(scene, attention, displacement):
    columns = list(range(-5, 6))
    shares = basins.footprints(attention, scene, displacement, columns)
    assert list(shares) == ["bilinear", "Gaussian 4×4", "local attention 3×3"]
    for share in shares.values():
        assert share.sum().item() == pytest.approx(1, abs=1e-5)
    position = torch.tensor([5 + displacement, 0.0]).view(1, 2, 1, 1)
    every = torch.eye(11).view(1, 11, 1, 11)  # channel c is bright at column c - 5
    torch.testing.assert_close(shares["bilinear"], basins.bilinear(every, None, position).flatten())
    torch.testing.assert_close(shares["Gaussian 4×4"], gaussian_warp(every, position).flatten())


def test_a_basin_names_its_columns():
    assert Basin._fields == ("displacement", "mismatch", "homeward", "caught", "home")
