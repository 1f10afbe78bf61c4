"""Procedural people: the truth about them is true, and they are hard enough to mean something."""

import math
import time

import pytest
import torch
import torch.nn.functional as F

from gfla.data import people
from gfla.data.body import (
    PARTS,
    Draw,
    capsules,
    draw_body,
    draw_pose,
    skeleton,
)  # fmt: skip
from gfla.data.keypoints import heatmaps
from gfla.sampling import warp

SHAPES = {
    "source": (3, 64, 64), "target": (3, 64, 64), "flow": (2, 64, 64), "visible": (1, 64, 64),
    "source_pose": (18, 64, 64), "target_pose": (18, 64, 64), "foreground": (1, 64, 64),
    "parts": (1, 64, 64), "source_keypoints": (18, 2), "target_keypoints": (18, 2),
}  # fmt: skip


@pytest.fixture(scope="module")
def batch():
    return people.pairs(32, size=(64, 64), seed=31_000_000)


def inner(batch, size=3):
    """Visible pixels whose neighbours show the same part of the body."""
    parts = batch["parts"].float()
    same = F.max_pool2d(parts, size, 1, size // 2) == -F.max_pool2d(-parts, size, 1, size // 2)
    return same & (batch["visible"] > 0)


def error(picture, batch, where):
    """Mean absolute error over pixels, as a share of the value range."""
    return float((picture - batch["target"]).abs().mean(1, keepdim=True)[where].mean()) / 2


class TestShapesAndValues:
    def test_keys_and_shapes(self, batch):
        assert {key: tuple(value.shape[1:]) for key, value in batch.items()} == SHAPES

    def test_ranges(self, batch):
        assert batch["source"].min() >= -1 and batch["source"].max() <= 1
        assert set(batch["visible"].unique().tolist()) == {0.0, 1.0}
        assert bool((batch["visible"] <= batch["foreground"]).all())
        assert batch["parts"].dtype == torch.int64
        assert batch["parts"].min() == 0 and batch["parts"].max() <= len(PARTS)
        assert torch.equal(batch["foreground"], (batch["parts"] > 0).float())

    def test_flow_is_zero_on_the_background(self, batch):
        assert float((batch["flow"] * (1 - batch["foreground"])).abs().max()) == 0

    def test_every_part_is_seen_somewhere(self, batch):
        assert set(batch["parts"].unique().tolist()) == set(range(len(PARTS) + 1))

    @pytest.mark.parametrize("size", [(32, 32), (64, 48), (128, 64)])
    def test_other_sizes(self, size):
        made = people.pairs(2, size=size, seed=4)
        assert made["target"].shape[2:] == size
        assert 0.03 < float(made["foreground"].mean()) < 0.6


class TestDeterminism:
    def test_same_seed_same_people(self, batch):
        again = people.pairs(32, size=(64, 64), seed=31_000_000)
        assert all(torch.equal(batch[key], again[key]) for key in batch)

    def test_other_seed_other_people(self, batch):
        other = people.pairs(8, seed=31_000_001)
        assert not torch.equal(batch["source"][:8], other["source"])
        assert not torch.equal(batch["source"][1:8], other["source"][:7])

    @pytest.mark.parametrize("count", [1, 5, 9, 31])
    def test_fewer_pairs_are_a_prefix(self, batch, count):
        few = people.pairs(count, seed=31_000_000)
        assert all(torch.equal(batch[key][:count], few[key]) for key in batch)

    def test_the_global_generator_is_left_alone(self):
        before = torch.get_rng_state()
        people.pairs(1)
        assert torch.equal(before, torch.get_rng_state())

    def test_numbers_are_uniform(self):
        draw = Draw(3, range(4000))
        values = draw.uniform(0, 1, 3)
        assert torch.allclose(values.mean(0), torch.tensor(0.5), atol=0.02)
        assert torch.allclose(values.var(0), torch.tensor(1 / 12), atol=0.004)
        assert float(torch.corrcoef(values.T)[0, 1].abs()) < 0.05


class TestTruth:
    def test_surface_and_position_are_inverses(self):
        draw = Draw(11, range(8))
        body = draw_body(draw)
        figure = people.Figure(body, people.draw_wardrobe(draw, body), draw_pose(draw), (96, 96))
        b, _, y, x = figure.parts.nonzero(as_tuple=True)
        part = figure.parts[b, 0, y, x] - 1
        t, beyond, sine = figure.surface((b, y, x), part)
        back = figure.position(b, part, t, beyond, sine)
        exact = sine.abs() < 1  # rounding puts a few edge pixels beyond the silhouette
        assert exact.float().mean() > 0.9
        torch.testing.assert_close(
            back[exact], torch.stack((x, y), 1).float()[exact], atol=2e-3, rtol=0
        )

    def test_a_person_who_does_not_move_has_zero_flow_and_is_all_visible(self):
        draw = Draw(12, range(8))
        body = draw_body(draw)
        wardrobe, pose = people.draw_wardrobe(draw, body), draw_pose(draw)
        figure = people.Figure(body, wardrobe, pose, (64, 64))
        flow, visible = people.correspond(figure, figure)
        shown = visible.expand_as(flow) > 0
        assert float(flow[shown].abs().max()) < 0.51  # only edge pixels are moved onto the part
        assert float(visible.sum() / (figure.parts > 0).sum()) > 0.85  # the rest is grazing

    @pytest.mark.parametrize(("side", "limit"), [(64, 0.06), (128, 0.04)])
    def test_the_true_flow_reproduces_the_target(self, side, limit):
        made = people.pairs(16, size=(side, side), seed=31_500_000)
        warped = warp(made["source"], made["flow"])
        assert error(warped, made, inner(made)) < limit

    def test_shifting_the_person_shifts_the_flow(self):
        draw = Draw(13, range(8))
        body = draw_body(draw)
        wardrobe, pose = people.draw_wardrobe(draw, body), draw_pose(draw)
        here = people.Figure(body, wardrobe, pose, (64, 64))
        there = people.Figure(body, wardrobe, pose._replace(x=pose.x + 4 / 64), (64, 64))
        flow, visible = people.correspond(here, there)
        dx, dy = flow[:, :1][visible > 0], flow[:, 1:][visible > 0]
        assert abs(float(dx.median()) - 4) < 1e-3 and float(dy.abs().median()) < 1e-3

    def test_turning_round_hides_what_was_seen(self):
        draw = Draw(14, range(8))
        body = draw_body(draw)
        wardrobe, pose = people.draw_wardrobe(draw, body), draw_pose(draw)
        front = people.Figure(body, wardrobe, pose._replace(yaw=pose.yaw * 0), (64, 64))
        back = people.Figure(body, wardrobe, pose._replace(yaw=pose.yaw * 0 + math.pi), (64, 64))
        _, visible = people.correspond(back, front)
        assert float(visible.sum() / (back.parts > 0).sum()) < 0.05
        assert (front.keypoints()[:, 0] >= 0).all()  # the nose is seen from the front
        assert (back.keypoints()[:, 0] == -1).all()  # and not from behind


class TestHardEnough:
    """The bounds that the issue sets, on 64-pixel people."""

    def test_patterns_carry_the_content(self, batch):
        visible = batch["visible"] > 0
        copying = error(batch["source"], batch, visible)
        blurred = F.avg_pool2d(batch["target"], 7, 1, 3, count_include_pad=False)
        assert error(warp(batch["source"], batch["flow"]), batch, visible) <= 0.40 * copying
        assert error(blurred, batch, visible) >= 0.65 * copying

    def test_motion_is_large(self, batch):
        visible = batch["visible"] > 0
        assert float(batch["flow"].norm(dim=1, keepdim=True)[visible].mean()) >= 3.5
        assert 0.4 < float(visible.sum() / batch["foreground"].sum()) < 0.9

    def test_drawing_is_quick(self):
        people.pairs(8, seed=1)
        start = time.process_time()
        people.pairs(64, seed=2)
        assert 64 / (time.process_time() - start) >= 30  # pairs per core-second


class TestKeypoints:
    def test_heat_maps_are_those_of_the_key_points(self, batch):
        for view in ("source", "target"):
            made = heatmaps(batch[f"{view}_keypoints"], (64, 64), 6.0 * 64 / 256)
            assert torch.equal(made, batch[f"{view}_pose"])

    def test_missing_or_inside(self, batch):
        points = batch["target_keypoints"]
        missing = (points == -1).all(2)
        assert 0.02 < float(missing.float().mean()) < 0.5
        assert bool(((points[~missing] > -0.51) & (points[~missing] < 63.51)).all())

    def test_right_is_at_the_left_of_who_faces_us(self):
        draw = Draw(15, range(8))
        body = draw_body(draw)
        pose = draw_pose(draw)
        facing = pose._replace(yaw=pose.yaw * 0, lean=pose.lean * 0)
        joints = skeleton(body, facing)
        assert bool((joints["right shoulder"][:, 0] < joints["left shoulder"][:, 0]).all())
        _, pixels = capsules(body, facing, (64, 64))
        assert bool((pixels["right hip"][:, 0] < pixels["left hip"][:, 0]).all())


class TestErrors:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"count": 0}, "count is 0"),
            ({"count": 1, "size": (16, 64)}, r"size is \(16, 64\)"),
            ({"count": 1, "size": (64,)}, "expected"),
            ({"count": 1, "seed": -1}, "seed is -1"),
        ],
    )
    def test_refused(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            people.pairs(**arguments)
