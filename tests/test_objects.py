"""Procedural objects: the truth about them is true from every side."""

import pytest
import torch
import torch.nn.functional as F

from gfla.data import objects, showroom
from gfla.data.body import Draw
from gfla.data.solids import Parts, orbit, solids
from gfla.sampling import warp

SHAPES = {
    "source": (3, 64, 64), "target": (3, 64, 64), "flow": (2, 64, 64), "visible": (1, 64, 64),
    "foreground": (1, 64, 64), "depth": (1, 64, 64), "source_view": (21, 1, 1),
    "target_view": (21, 1, 1), "azimuths": (2,), "elevations": (2,), "elevation": (), "kind": (),
}  # fmt: skip
SEED = 31_000_000


@pytest.fixture(scope="module")
def batch():
    return objects.pairs(32, seed=SEED, classes=objects.CLASSES)


@pytest.fixture(scope="module")
def turn():
    return objects.views(3, size=(32, 32), seed=SEED, elevation=1, source_azimuth=4)


def inner(depth, visible):
    """Pixels whose neighbours are visible too and lie at nearly the same depth: no edge there."""
    near = -F.max_pool2d(-depth, 3, 1, 1)
    flat = (F.max_pool2d(depth, 3, 1, 1) - near < 0.12) & (near > 0)
    return flat & (F.max_pool2d(1 - visible, 3, 1, 1) == 0)


def error(picture, target, where):
    """Mean absolute error over pixels, as a share of the value range."""
    return float((picture - target).abs().mean(1, keepdim=True)[where].mean()) / 2


class TestShapesAndValues:
    def test_keys_and_shapes(self, batch):
        assert {key: tuple(value.shape[1:]) for key, value in batch.items()} == SHAPES

    def test_ranges(self, batch):
        assert batch["source"].min() >= -1 and batch["source"].max() <= 1
        assert set(batch["visible"].unique().tolist()) == {0.0, 1.0}
        assert bool((batch["visible"] <= batch["foreground"]).all())
        assert all(bool(value.isfinite().all()) for value in batch.values())

    def test_flow_and_depth_are_zero_on_the_background(self, batch):
        back = 1 - batch["foreground"]
        assert float((batch["flow"] * back).abs().max()) == 0
        assert float((batch["depth"] * back).abs().max()) == 0
        assert float(batch["depth"][back == 0].min()) > 2

    def test_the_wall_is_plain_bright_and_the_same_from_both_sides(self, batch):
        corner = batch["source"][:, :, 0, 0]
        assert float(corner.min()) > 0.6
        assert torch.equal(corner, batch["target"][:, :, -1, -1])
        inside = F.max_pool2d(batch["foreground"], 3, 1, 1).bool()
        wall = batch["target"].masked_fill(inside, 0)
        assert float((wall - corner[..., None, None].masked_fill(inside, 0)).abs().max()) < 1e-6

    def test_every_class_comes_and_trained_ones_alone_by_default(self, batch):
        assert batch["kind"].unique().tolist() == [0, 1, 2, 3]
        made = objects.pairs(16, size=(32, 32), seed=SEED)
        assert {objects.CLASSES[k] for k in made["kind"].tolist()} == set(objects.TRAINED)

    def test_held_out_classes_are_not_trained(self):
        assert objects.HELD_OUT and not set(objects.HELD_OUT) & set(objects.TRAINED)
        assert objects.CLASSES == objects.TRAINED + objects.HELD_OUT

    @pytest.mark.parametrize("size", [(32, 32), (64, 40), (33, 65)])
    def test_other_sizes(self, size):
        made = objects.pairs(2, size=size, seed=4)
        assert made["target"].shape[2:] == size
        assert 0.03 < float(made["foreground"].mean()) < 0.6
        rim = made["foreground"].clone()
        rim[..., 1:-1, 1:-1] = 0
        assert float(rim.max()) == 0


class TestViews:
    def test_codes_are_one_hot(self, batch):
        code = batch["target_view"].flatten(1)
        assert torch.equal(code.sum(1), torch.full((32,), 2.0))
        assert torch.equal(code[:, :18].argmax(1), batch["azimuths"][:, 1])
        assert torch.equal(code[:, 18:].argmax(1), batch["elevation"])

    def test_azimuths_wrap(self):
        assert torch.equal(objects.view_code(18, 2), objects.view_code(0, 2))
        assert torch.equal(objects.view_code(-1, 0), objects.view_code(17, 0))
        both = objects.view_code(torch.tensor([[0, 5]]), torch.tensor([[1, 2]]))
        assert both.shape == (1, 2, 21, 1, 1)

    def test_same_elevation_is_a_choice(self, batch):
        assert torch.equal(batch["elevations"][:, 0], batch["elevations"][:, 1])
        free = objects.pairs(16, size=(32, 32), seed=SEED, same_elevation=False)
        assert not torch.equal(free["elevations"][:, 0], free["elevations"][:, 1])
        assert torch.equal(free["elevations"][:, 1], free["elevation"])

    def test_turning_eighteen_times_comes_back(self):
        things = showroom.Things(Draw(5, range(2)), (32, 32), objects.TRAINED)
        zero = torch.zeros(2, dtype=torch.int64)
        first, last = (things.look(zero + k, zero).picture() for k in (0, 18))
        other = things.look(zero + 17, zero).picture()
        assert float((first - last).abs().mean()) < 2e-3 < float((first - other).abs().mean())

    def test_views_show_the_objects_of_pairs(self):
        made = objects.pairs(8, size=(32, 32), seed=7)
        seen = objects.views(8, size=(32, 32), seed=7, elevation=2)["frames"]
        same = (made["elevation"] == 2).nonzero().flatten().tolist()
        assert len(same) >= 2
        for i in same:
            for k, key in enumerate(("source", "target")):  # another batch: the last bit may differ
                torch.testing.assert_close(seen[i, made["azimuths"][i, k]], made[key][i])

    def test_a_whole_turn(self, turn):
        assert turn["frames"].shape == (3, 18, 3, 32, 32)
        assert turn["flow"].shape == (3, 18, 2, 32, 32)
        assert turn["views"].shape == (3, 18, 21, 1, 1)
        assert turn["visible"].shape == turn["foreground"].shape == (3, 18, 1, 32, 32)
        assert turn["depth"].shape == (3, 18, 1, 32, 32) and turn["kind"].shape == (3,)
        assert float(turn["flow"][:, 4].abs().max()) < 1e-3
        assert float(turn["visible"][:, 4].sum() / turn["foreground"][:, 4].sum()) > 0.85
        shown = turn["visible"].sum((0, 2, 3, 4))
        assert shown[4] > shown[5] > shown[7] and shown[4] > shown[3] > shown[1] > shown[13]

    def test_fewer_turns_are_a_prefix(self, turn):
        one = objects.views(1, size=(32, 32), seed=SEED, elevation=1, source_azimuth=4)
        assert all(torch.equal(turn[key][:1], one[key]) for key in turn)


class TestDeterminism:
    def test_same_seed_same_objects(self, batch):
        again = objects.pairs(32, seed=SEED, classes=objects.CLASSES)
        assert all(torch.equal(batch[key], again[key]) for key in batch)

    def test_other_seed_other_objects(self, batch):
        other = objects.pairs(8, seed=SEED + 1, classes=objects.CLASSES)
        assert not torch.equal(batch["source"][:8], other["source"])

    @pytest.mark.parametrize("count", [1, 9])
    def test_fewer_pairs_are_a_prefix(self, batch, count):
        few = objects.pairs(count, seed=SEED, classes=objects.CLASSES)
        assert all(torch.equal(batch[key][:count], few[key]) for key in batch)

    def test_the_global_generator_is_left_alone(self):
        before = torch.get_rng_state()
        objects.pairs(1, size=(32, 32))
        assert torch.equal(before, torch.get_rng_state())


class TestTruth:
    @pytest.mark.parametrize(("side", "limit"), [(64, 0.035), (128, 0.02)])
    def test_the_true_flow_reproduces_the_target(self, side, limit):
        made = objects.pairs(16, size=(side, side), seed=SEED + 5, classes=objects.CLASSES)
        where = inner(made["depth"], made["visible"])
        target, flow = made["target"], made["flow"]
        assert error(warp(made["source"], flow), target, where) < limit
        for wrong in (-flow, flow.flip(1), flow + 2.0 * side / 64, flow * 0):
            assert error(warp(made["source"], wrong), target, where) > 3 * limit

    def test_one_point_has_one_colour_from_all_sides(self, turn):
        source = turn["frames"][:, 4:5].expand(-1, 18, -1, -1, -1).flatten(0, 1)
        there, flow = turn["frames"].flatten(0, 1), turn["flow"].flatten(0, 1)
        where = inner(turn["depth"].flatten(0, 1), turn["visible"].flatten(0, 1))
        assert error(warp(source, flow), there, where) < 0.04

    def test_there_and_back_again(self):
        """The flow to the source, then from there back, leads to where it began."""
        things = showroom.Things(Draw(SEED, range(4)), (96, 96), ("car",))
        bins = torch.full((4,), 4)
        here, there = things.look(bins, bins * 0 + 1), things.look(bins + 2, bins * 0 + 1)
        (forth, seen), (back, _) = here.flow_to(there), there.flow_to(here)
        where = inner(here.depth(), seen) & (warp(there.foreground(), forth) == 1)
        away = (forth + warp(back, forth)).norm(dim=1, keepdim=True)[where]
        assert (
            float(away.quantile(0.9)) < 0.35 < float(forth.norm(dim=1, keepdim=True)[where].min())
        )

    def test_a_board_hides_the_wall_behind_it(self):
        """A made-up scene: from the front a small board covers the middle of a large one."""
        parts = Parts(1, "cpu")
        parts.add((0, 0, 1.0), (0.3, 0.3, 0.02))
        parts.add((0, 0, -1.0), (1.0, 1.0, 0.02))
        things = showroom.Things(Draw(1, range(1)), (64, 64), ("car",))
        things.solids = solids(parts.table())
        bins = torch.zeros(1, dtype=torch.int64)
        things.focal = torch.tensor([70.0])
        front = things.look(bins, bins)
        side = showroom.View(things, orbit(bins + 1, bins, things.focal, (64, 64)))
        index, depth = front.hits.index.view(64, 64), front.depth()[0, 0]
        assert int(index[32, 32]) == 0 and int(index[32, 25]) == 1
        assert float(depth[32, 32]) < float(depth[32, 25]) - 0.5
        flow, visible = side.flow_to(front)
        wall = side.hits.index.view(64, 64) == 1
        column = torch.arange(64).float() + flow[0, 0]
        row = torch.arange(64).float()[:, None] + flow[0, 1]
        covered = index[row.round().long().clamp(0, 63), column.round().long().clamp(0, 63)] == 0
        small = (index == 0).float()[None, None]  # within a pixel of its outline rounding decides
        edge = (F.max_pool2d(small, 3, 1, 1) + F.max_pool2d(1 - small, 3, 1, 1) == 2)[0, 0]
        sure = wall & ~edge[row.round().long().clamp(0, 63), column.round().long().clamp(0, 63)]
        assert bool((visible[0, 0][sure & covered] == 0).all()) and int((sure & covered).sum()) > 20
        shown = sure & ~covered
        assert float(visible[0, 0][shown].mean()) > 0.95 and int(shown.sum()) > 100
        board = side.hits.index.view(64, 64) == 0
        assert float(visible[0, 0][board].mean()) > 0.9

    def test_the_back_is_not_seen_from_the_front(self):
        made = objects.views(4, size=(32, 32), seed=SEED, classes=("truck",))
        behind = made["visible"][:, 9].sum() / made["foreground"][:, 9].sum()
        assert float(behind) < 0.02

    def test_motion_is_large_and_much_is_seen(self, batch):
        visible = batch["visible"] > 0
        assert float(batch["flow"].norm(dim=1, keepdim=True)[visible].mean()) > 4
        assert 0.25 < float(visible.sum() / batch["foreground"].sum()) < 0.8

    def test_patterns_carry_the_content(self, batch):
        visible = batch["visible"] > 0
        target = batch["target"]
        copying = error(batch["source"], target, visible)
        assert error(warp(batch["source"], batch["flow"]), target, visible) < 0.4 * copying
        blurred = F.avg_pool2d(target, 7, 1, 3, count_include_pad=False)
        assert error(blurred, target, visible) > 0.4 * copying


class TestErrors:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"count": 0}, "count is 0"),
            ({"count": 1, "size": (16, 64)}, r"size is \(16, 64\)"),
            ({"count": 1, "size": (64,)}, "expected"),
            ({"count": 1, "seed": -1}, "seed is -1"),
            ({"count": 1, "classes": ("plane",)}, r"classes is \('plane',\)"),
            ({"count": 1, "classes": "car"}, "expected a tuple"),
            ({"count": 1, "classes": ()}, "classes is"),
        ],
    )
    def test_refused_by_both(self, arguments, message):
        for make in (objects.pairs, objects.views):
            with pytest.raises(ValueError, match=message):
                make(**arguments)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [({"elevation": 3}, "elevation is 3"), ({"source_azimuth": 18}, "source_azimuth is 18")],
    )
    def test_refused_bins(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            objects.views(1, **arguments)

    def test_refused_codes(self):
        with pytest.raises(ValueError, match="elevation is 3"):
            objects.view_code(0, 3)
