"""Scenes: the flow they call true is true, and their noise is what its formula says."""

import math

import pytest
import torch
from torch import nn

from gfla.sampling import warp
from gfla.street import scenes

SMALL = scenes.Setting(side=8, margin=4, channels=4)


@pytest.mark.parametrize("blur", [1.0, 2.0])
def test_smooth_noise_has_unit_variance_and_the_correlation_of_its_formula(blur):
    noise = scenes.smooth_noise(32, 96, blur, seed=0)
    assert noise.var().item() == pytest.approx(1, abs=0.05)
    for distance in (1, 2):
        likeness = (noise * noise.roll(distance, dims=-1)).mean().item()
        assert likeness == pytest.approx(math.exp(-(distance**2) / (4 * blur**2)), abs=0.03)


def test_smooth_noise_is_a_matter_of_its_seed():
    first, again, other = (scenes.smooth_noise(2, 16, 1.0, seed) for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    white = scenes.smooth_noise(2, 16, 0.0, seed=0)
    given = torch.randn(1, 2, 16, 16, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(white, given)


def test_home_is_home_in_the_toy():
    scene = scenes.toy_scene(SMALL, seed=3)
    assert torch.equal(warp(scene.source, scene.home), scene.target)
    assert scene.where.all() and scene.where.shape == (1, 8, 8)
    assert not torch.allclose(warp(scene.source, scene.home + 1), scene.target, atol=0.1)


def test_home_is_home_for_people():
    scene = scenes.people_scene(nn.Identity(), nn.Identity(), count=4, seed=30_000_000)
    error = (warp(scene.source, scene.home) - scene.target).abs().mean(dim=1)[scene.where]
    moved = (scene.source - scene.target).abs().mean(dim=1)[scene.where]
    assert error.mean() < 0.4 * moved.mean()
    assert 0.03 < scene.where.float().mean() < 0.5  # the person, not the backdrop


def test_a_coarser_encoder_has_a_flow_of_its_own_pixels():
    halve = nn.AvgPool2d(2)
    fine = scenes.people_scene(nn.Identity(), nn.Identity(), count=2, seed=30_000_000)
    coarse = scenes.people_scene(halve, halve, count=2, seed=30_000_000)
    assert coarse.home.shape == (2, 2, 32, 32)
    four = fine.where.view(2, 32, 2, 32, 2).permute(0, 1, 3, 2, 4).flatten(3)
    assert torch.equal(coarse.where, four.all(dim=-1))
    block = fine.home.view(2, 2, 32, 2, 32, 2).mean(dim=(3, 5)) / 2
    torch.testing.assert_close(coarse.home, block)


def test_mixing_goes_from_a_stranger_to_the_target_and_keeps_the_variance():
    scene = scenes.toy_scene(scenes.Setting(side=32, margin=4), seed=0)
    for meaning in (0.0, 0.5, 1.0):
        mixed = scenes.mix(scene, meaning, seed=1).target
        likeness = torch.corrcoef(torch.stack([mixed.flatten(), scene.target.flatten()]))[0, 1]
        assert likeness.item() == pytest.approx(meaning, abs=0.05)
        assert mixed.var().item() == pytest.approx(1, abs=0.2)


def test_random_errors_have_one_length_and_all_directions():
    scene = scenes.toy_scene(scenes.Setting(side=32, margin=4), seed=0)
    error = scenes.random_error(scene, 2.5, seed=0)
    assert error.shape == scene.home.shape
    torch.testing.assert_close(error.norm(dim=1), torch.full((1, 32, 32), 2.5))
    assert error.mean(dim=(0, 2, 3)).norm() < 0.25


def test_untrained_networks_differ_by_seed_and_leave_the_generator_alone():
    state = torch.get_rng_state()
    image = torch.rand(1, 3, 8, 8)
    torch.set_rng_state(state)
    first, again, other = (scenes.untrained(seed)(image) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert first.shape == (1, 16, 8, 8)
    assert torch.equal(first, again) and not torch.allclose(first, other)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: scenes.setting("huge"), "'huge': choose one of smoke, cpu, gpu"),
        (lambda: scenes.smooth_noise(1, 8, -1.0, 0), "-1.0: give a blur of 0 pixels"),
        (lambda: scenes.mix(scenes.toy_scene(SMALL, 0), 1.5, 0), "1.5: give a share"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()
