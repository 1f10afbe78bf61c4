"""The toys of notebook 02 have the answers that it claims, and its probes see what is there."""

import math

import pytest
import torch

from gfla import losses, metrics
from gfla.config import preset
from gfla.data import people
from gfla.encoder import SmallEncoder
from gfla.model import GFLA
from gfla.street import lessons

SATURATED = 1 - math.exp(-1)


@pytest.fixture(scope="module")
def batch():
    return people.pairs(2, size=(64, 64), seed=people.MEASURING_SEEDS)


@pytest.fixture(scope="module")
def stranger():
    torch.manual_seed(0)
    return SmallEncoder(widths=(8, 8, 8, 8, 8), out=(8, 8, 8)).requires_grad_(False).eval()


def test_setting_refuses_unknown_profile():
    with pytest.raises(ValueError, match="'slow': choose one of smoke, cpu, gpu"):
        lessons.setting("slow")


# ---------------------------------------------------------------- features that name positions


def test_names_have_a_basin_of_one_pixel_around_the_known_shift():
    source = lessons.one_hot(8)
    target, home = lessons.shifted(source, by=3, side=2)
    curve = lessons.correctness_curve(source, target, home, [-1, -0.5, 0, 0.5, 1, 2], "bilinear")
    half = math.exp(-math.sqrt(0.5)) - math.exp(-1)
    expected = torch.tensor([SATURATED, half, 0, half, SATURATED, SATURATED])
    torch.testing.assert_close(curve, expected, atol=1e-6, rtol=0)
    wrong = lessons.correctness_curve(source, target, home + 1, [0], "bilinear")
    assert wrong.item() == pytest.approx(SATURATED)


def test_names_under_the_gaussian_cost_what_its_weights_say():
    source = lessons.one_hot(10)
    curve = lessons.correctness_curve(source, *lessons.shifted(source, 4, 2), [0, 3], "gaussian")
    weights = torch.exp(-torch.tensor([-1.0, 0, 1, 2]).square() / 8)
    cosine = float(1 / weights.square().sum())  # (g_0 / |g|) on each of two axes, g_0 = 1
    assert curve[0].item() == pytest.approx(math.exp(-cosine) - math.exp(-1), abs=1e-6)
    assert curve[1].item() == pytest.approx(SATURATED)


def test_waves_are_as_alike_as_the_formula_says():
    frequencies = lessons.many_waves(3.0, count=32, seed=1)
    features = lessons.waves(frequencies, lessons.positions(1, 9))[0, :, 0]  # (64, 9)
    alike = features.T @ features[:, 0]
    torch.testing.assert_close(alike, lessons.likeness(frequencies, range(9)))
    gauss = torch.exp(-torch.arange(9.0).square() / 18)
    many = lessons.likeness(lessons.many_waves(3.0, count=4096), range(9))
    torch.testing.assert_close(many, gauss, atol=0.05, rtol=0)


def test_stripes_are_right_at_every_period():
    stripes = lessons.waves(torch.tensor([[math.pi / 2, 0.0]]), lessons.positions(16, 16))
    target, home = lessons.shifted(stripes, 6, 4)
    curve = lessons.correctness_curve(stripes, target, home, [-4, 0, 4, 2], "bilinear")
    torch.testing.assert_close(curve[:3], torch.zeros(3), atol=1e-5, rtol=0)
    assert curve[3] > 2  # half a period off: the opposite


def test_a_flow_that_has_left_is_not_called_back():
    source = lessons.waves(lessons.many_waves(4.0), lessons.positions(16, 16))
    target, home = lessons.shifted(source, 5, 4)
    for sampling, rounding in (("bilinear", 0.0), ("gaussian", 1e-6)):
        loss, near = lessons.correctness_gradient(source, target, home + lessons.off(2), sampling)
        far_loss, far = lessons.correctness_gradient(
            source, target, home + lessons.off(14), sampling
        )
        assert near > 1e-3
        assert far <= rounding
        assert far_loss > loss


# ---------------------------------------------------------------- a hole


def test_only_the_regularisation_closes_the_hole():
    toy = lessons.hole(14, hole_side=4)
    assert float(losses.affine_regularization(toy.truth, 3)) < 1e-9
    weights = losses.FLOW_STAGE
    alone = lessons.descend(toy, weights | {"affine_regularization": 0.0}, 120)
    both = lessons.descend(toy, weights, 120)
    moved = metrics.zero_flow_error(toy.truth, toy.hidden)
    assert metrics.endpoint_error(alone, toy.truth, toy.hidden) == pytest.approx(moved)
    assert metrics.endpoint_error(both, toy.truth, toy.hidden) < 0.1 * moved
    seen = 1 - toy.hidden
    assert metrics.endpoint_error(both, toy.truth, seen) < metrics.endpoint_error(
        alone, toy.truth, seen
    )


# ---------------------------------------------------------------- features of people


def test_pixels_read_the_shrunk_picture():
    image = torch.zeros(1, 3, 32, 32)
    image[0, 0, 4:8, 8:12] = 1.0  # one cell of stride 4, at row 1 and column 2
    features = lessons.Pixels()(image, ["relu3_1"])["relu3_1"]
    centre = features[0, 4]  # middle tap of the first channel
    assert centre.argmax() == 1 * 8 + 2
    assert features[0, 3, 1, 3] == centre[1, 2]  # its left neighbour, seen from one column on
    assert features.mean((2, 3))[0, 4].abs() < 1e-6


def test_feature_kinds_have_one_call_and_leave_the_dice_alone(batch, stranger):
    torch.manual_seed(5)
    first = torch.rand(1)
    torch.manual_seed(5)
    kinds = lessons.feature_kinds(stranger, seed=3)
    assert torch.rand(1) == first
    names = ["relu2_1", "relu4_1"]
    for kind, encoder in kinds.items():
        taps = encoder(batch["source"], names)
        assert list(taps) == names, kind
        assert [tap.shape[2:] for tap in taps.values()] == [(32, 32), (8, 8)], kind
    lower = stranger(batch["source"], ["relu2_2"])["relu2_2"]
    found = kinds["trained, way down"](batch["source"], ["relu2_1"])["relu2_1"]
    assert torch.equal(found, lower)


def test_around_truth_is_least_at_the_truth_where_features_know_it(batch):
    class Knowing(torch.nn.Module):
        """Target features are those of the source at the true place: the best there can be."""

        def forward(self, image, names):
            (name,) = names
            stride = 2 ** (int(name[4]) - 1)
            side = 64 // stride
            at = lessons.positions(side, side)
            if image is batch["target"]:
                middle = slice(stride // 2, None, stride)
                at = at + batch["flow"][..., middle, middle] / stride
            return {name: lessons.waves(lessons.many_waves(3.0), at.expand(2, -1, -1, -1))}

    curve = lessons.around_truth(Knowing(), batch, [0, 4, 8, 16], level=2, directions=4)
    assert curve[0] < 0.02
    assert (curve.diff() > 0.01).all()


# ---------------------------------------------------------------- stage 1, live


def test_train_flow_moves_everything_but_the_masks(batch, stranger):
    config = preset("tiny", **{"flow.steps": 3})
    live = lessons.train_flow(config, seed=1, device="cpu")
    assert [row["step"] for row in live.history] == [1, 2, 3]
    masks = {f"head.{level}.mask.{kind}" for level in (1, 2) for kind in ("weight", "bias")}
    assert set(lessons.untouched(live.before.flow, live.after.flow)) == masks
    torch.manual_seed(1)
    fresh = GFLA(**config.generator())
    assert len(lessons.untouched(fresh, live.before)) == len(fresh.state_dict())


def test_held_out_losses_are_those_of_the_levels(batch, stranger):
    config = preset("tiny")
    torch.manual_seed(0)
    model = GFLA(**config.generator())
    found = lessons.held_out_losses(model, stranger, batch, config)
    flows = model.flow(batch["source"], batch["source_pose"], batch["target_pose"]).flows
    correctness = sum(
        losses.sampling_correctness(
            stranger(batch["source"], [tap])[tap], stranger(batch["target"], [tap])[tap], flow
        )
        for tap, flow in zip(("relu3_1", "relu2_1"), flows, strict=True)
    )
    assert found["sampling_correctness"] == pytest.approx(correctness.item(), rel=1e-5)
    assert found["affine_regularization"] < 1e-3  # an untrained flow is nearly zero


# ---------------------------------------------------------------- pictures


def test_strips_have_a_row_per_pair_and_per_level(batch):
    model = GFLA(**preset("small").generator()).eval()
    with torch.no_grad():
        output = model(batch["source"], batch["source_pose"], batch["target_pose"])
    figure = lessons.flow_strip(batch, output, [0, 1])
    labels = [axes.get_xlabel() for axes in figure.axes if axes.get_xlabel()]
    assert labels[:4] == ["source", "target pose", "flow", "true flow"]
    assert "px" in labels[-1]
    assert figure.axes[0].images[0].get_array().shape == (64, 64, 3)
    for level, rows in ((None, len(output.flows)), (0, 1)):
        figure = lessons.level_strip(batch, output, sample=1, level=level)
        sides = [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()]
        assert len(sides) == rows
    assert sides == [f"stride {64 // output.flows[0].shape[-1]}"]
