"""Procedural faces: landmarks lie on what is drawn, the flow is true, and the faces move."""

import pytest
import torch
import torch.nn.functional as F

from gfla.data import portraits
from gfla.data.body import Draw
from gfla.data.expressions import EYE, LAYERS, MOUTH, SKIN, Bearing, draw_anatomy
from gfla.data.faces import structure
from gfla.data.heads import Head
from gfla.sampling import warp

SEED = 31_000_000
SHAPES = {
    "frames": (8, 3, 64, 64), "poses": (8, 16, 64, 64), "landmarks": (8, 68, 2),
    "reference": (3, 64, 64), "reference_pose": (16, 64, 64), "reference_landmarks": (68, 2),
    "reference_flow": (8, 2, 64, 64), "reference_visible": (8, 1, 64, 64),
    "previous_flow": (8, 2, 64, 64), "previous_visible": (8, 1, 64, 64),
    "foreground": (8, 1, 64, 64),
}  # fmt: skip


@pytest.fixture(scope="module")
def made():
    return portraits.clips(4, seed=SEED)


def head(index=0, frames=8, size=(64, 64), **held):
    """A head in 1 + `frames` pictures; `held` sets fields of its bearing in all of them."""
    draw = Draw(17, range(index, index + 1))
    anatomy = draw_anatomy(draw)
    bearing = portraits.draw_bearing(draw, frames, size)
    fixed = {name: torch.full_like(bearing.x, value) for name, value in held.items()}
    return Head(anatomy, bearing._replace(**fixed))


def layers_at(subject, points):
    return subject.look(points)[0]


class TestShapesAndValues:
    def test_keys_and_shapes(self, made):
        assert {key: tuple(value.shape[1:]) for key, value in made.items()} == SHAPES

    def test_ranges(self, made):
        assert made["frames"].min() >= -1 and made["frames"].max() <= 1
        assert made["reference"].min() >= -1 and made["reference"].max() <= 1
        for kind in ("reference", "previous"):
            visible, flow = made[f"{kind}_visible"], made[f"{kind}_flow"]
            assert set(visible.unique().tolist()) == {0.0, 1.0}
            assert bool((visible <= made["foreground"]).all())
            assert float((flow * (1 - made["foreground"])).abs().max()) == 0
        assert 0.25 < float(made["foreground"].mean()) < 0.7

    @pytest.mark.parametrize("size", [(32, 32), (64, 48), (48, 96)])
    def test_other_sizes(self, size):
        made = portraits.clips(1, frames=1, size=size, seed=4)
        assert made["frames"].shape[-2:] == made["poses"].shape[-2:] == size
        assert 0.1 < float(made["foreground"].mean()) < 0.8

    def test_poses_are_the_structure_of_landmarks_and_frame(self, made):
        for t in (0, 5):
            expected = structure(made["landmarks"][1, t], made["frames"][1, t])
            assert torch.equal(made["poses"][1, t], expected)
        expected = structure(made["reference_landmarks"][1], made["reference"][1])
        assert torch.equal(made["reference_pose"][1], expected)


class TestDeterminism:
    def test_same_seed_same_clips_and_fewer_are_a_prefix(self, made):
        few = portraits.clips(2, seed=SEED)
        assert all(torch.equal(made[key][:2], few[key]) for key in made)

    def test_fewer_frames_are_a_prefix(self, made):
        short = portraits.clips(1, frames=3, seed=SEED)
        for key in ("frames", "landmarks", "previous_flow", "reference_flow"):
            torch.testing.assert_close(made[key][:1, :3], short[key], atol=1e-4, rtol=0)
        torch.testing.assert_close(made["reference"][:1], short["reference"], atol=1e-4, rtol=0)

    def test_other_seed_other_faces(self, made):
        other = portraits.clips(1, frames=2, seed=SEED + 1)
        assert all(
            float((other["reference"][0] - face).abs().mean()) > 0.05 for face in made["reference"]
        )

    def test_the_global_generator_is_left_alone(self):
        before = torch.get_rng_state()
        portraits.clips(1, frames=1, size=(32, 32))
        assert torch.equal(before, torch.get_rng_state())


class TestTruth:
    def test_look_and_place_are_inverses(self):
        for index in range(3):
            subject = head(index)
            centres = portraits._centres((64, 64), 9, torch.device("cpu"))
            layer, coordinates = subject.look(centres)
            error = (subject.place(layer, coordinates) - centres).norm(dim=-1)
            assert float(error[layer > 0].max()) < 0.01

    def test_every_layer_is_seen_somewhere(self):
        seen = set()
        for index in range(12):
            subject = head(index, frames=3)
            layer = layers_at(subject, portraits._centres((64, 64), 4, torch.device("cpu")))
            seen |= set(layer.unique().tolist())
        assert seen == set(range(len(LAYERS)))

    @pytest.mark.parametrize(("kind", "share"), [("previous", 0.40), ("reference", 0.30)])
    def test_the_true_flow_reproduces_the_frame_and_its_opposite_does_not(self, made, kind, share):
        frames = made["frames"].flatten(0, 1)
        reference = made["reference"][:, None]
        source = (
            torch.cat((reference, made["frames"][:, :-1]), 1)
            if kind == "previous"
            else reference.expand_as(made["frames"])
        ).flatten(0, 1)
        flow = made[f"{kind}_flow"].flatten(0, 1)
        # a pixel whose neighbours are visible as well: no edge of the head in it
        visible = -F.max_pool2d(-made[f"{kind}_visible"].flatten(0, 1), 3, 1, 1) > 0

        def error(way):
            return (warp(source, way) - frames).abs().mean(1, keepdim=True)[visible].mean()

        copying = error(0 * flow)
        assert error(flow) < share * copying
        assert error(-flow) > 1.2 * copying

    def test_motion_is_worth_following(self, made):
        for kind, least, most in (("previous", 0.5, 4.0), ("reference", 3.0, 12.0)):
            moved = made[f"{kind}_flow"].norm(dim=2, keepdim=True)[made[f"{kind}_visible"] > 0]
            assert least < float(moved.mean()) < most
            assert float(made[f"{kind}_visible"].sum() / made["foreground"].sum()) > 0.8

    def test_a_head_that_does_not_move_has_zero_flow_and_is_all_visible(self):
        subject = head()
        here = torch.arange(4)
        flow, visible = portraits.correspond(subject, here, here, (64, 64))
        layer = layers_at(subject, portraits._centres((64, 64), 9, torch.device("cpu")))[:4]
        assert float(flow.abs().max()) < 0.01
        assert torch.equal(visible.view(4, -1) > 0, layer > 0)

    def test_first_previous_is_the_reference(self, made):
        assert torch.equal(made["previous_flow"][:, 0], made["reference_flow"][:, 0])
        assert not torch.equal(made["previous_flow"][:, 1], made["reference_flow"][:, 1])

    def test_shifting_the_head_shifts_the_flow(self):
        still = head(x=30.0, y=30.0, yaw=0.0, roll=0.0, pitch=0.0, opening=0.5, smile=0.2)
        fields = still.now._asdict()
        fixed = {name: value[:1].expand(2, 1) for name, value in fields.items()}
        fixed["x"] = torch.tensor([[30.0], [33.0]])
        flow, visible = portraits.correspond(
            Head(still.who, Bearing(**fixed)), torch.tensor([0]), torch.tensor([1]), (64, 64)
        )
        dx, dy = flow[:, :1][visible > 0], flow[:, 1:][visible > 0]
        assert abs(float(dx.median()) - 3) < 1e-3 and float(dy.abs().median()) < 1e-3

    def test_closed_lids_and_lips_hide_what_is_behind(self):
        subject = head(frames=2, yaw=0.0, pitch=0.0)
        lids = torch.tensor([[1.0], [0.0], [1.0]])
        subject = Head(subject.who, subject.now._replace(lids=lids, opening=lids))
        layer = layers_at(subject, portraits._centres((64, 64), 3, torch.device("cpu")))
        _, visible = portraits.correspond(
            subject, torch.tensor([0, 0]), torch.tensor([1, 2]), (64, 64)
        )
        for inside in (EYE, MOUTH):
            where = layer[0] == inside
            assert int(where.sum()) > 4
            assert float(visible[0].view(-1)[where].mean()) < 0.1
            assert float(visible[1].view(-1)[where].mean()) > 0.5

    def test_the_backdrop_stands_still(self, made):
        outside = -F.max_pool2d(made["foreground"].flatten(0, 1), 3, 1, 1).view_as(
            made["foreground"]
        )
        always = (outside == 0).all(1)  # (B, 1, H, W)
        spread = made["frames"].amax(1) - made["frames"].amin(1)
        assert int(always.sum()) > 1000
        assert float((spread * always).max()) == 0


class TestLandmarks:
    def test_eyes_and_mouth_surround_what_they_name(self):
        subject = head(2, lids=1.0, opening=0.8, yaw=0.2)
        points = portraits.landmarks(subject)
        middles = torch.stack(
            [points[:, a:b].mean(1) for a, b in ((36, 42), (42, 48), (60, 68))], 1
        )
        layer = layers_at(subject, middles)
        assert bool((layer[:, :2] == EYE).all()) and bool((layer[:, 2] == MOUTH).all())

    def test_pupils_are_dark_and_labelled(self):
        made = portraits.clips(3, frames=1, size=(128, 128), seed=SEED + 2)
        for picture, pose, points in zip(
            made["reference"], made["reference_pose"], made["reference_landmarks"], strict=True
        ):
            for first in (36, 42):
                x, y = points[first : first + 6].mean(0).round().long().tolist()
                near = picture[:, y - 4 : y + 5, x - 4 : x + 5].mean(0)
                assert float(near.min()) < -0.6 < float(near.max())
                assert float(pose[15, y, x]) == 4

    def test_edges_of_the_lids_are_edges(self):
        subject = head(1, lids=0.9, opening=0.7, smile=0.4, yaw=0.0, pitch=0.0, roll=0.0)
        points = portraits.landmarks(subject)
        for upper, lower, inside in (((37, 38, 43, 44), (40, 41, 46, 47), EYE),
                                     ((61, 62, 63), (65, 66, 67), MOUTH)):  # fmt: skip
            for numbers, down in ((upper, 1.0), (lower, -1.0)):
                edge = points[:, list(numbers)]
                step = torch.tensor([0.0, 0.4 * down])
                assert bool((layers_at(subject, edge + step) == inside).all())
                assert bool((layers_at(subject, edge - step) == SKIN).all())

    def test_ibug_order(self):
        subject = head(3, yaw=0.0, pitch=0.0, roll=0.0, smile=0.3, opening=0.5, lids=1.0)
        x, y = portraits.landmarks(subject).unbind(-1)
        rising = [*range(17)], [*range(17, 27)], [31, 32, 33, 34, 35], [36, 37, 38, 39]
        rising += ([39, 42], [42, 43, 44, 45], [48, 49, 50, 51, 52, 53, 54], [60, 61, 62, 63, 64])
        for row in rising:  # from the viewer's left to the right
            assert bool((x[:, row].diff(dim=1) > 0).all())
        for row in ([54, 55, 56, 57, 58, 59, 48], [64, 65, 66, 67, 60], [39, 40, 41, 36]):
            assert bool((x[:, row].diff(dim=1) < 0).all())
        assert bool((y[:, 27:31].diff(dim=1) > 0).all())  # down the bridge of the nose
        for above, below in ((19, 37), (24, 44), (37, 41), (41, 30), (33, 51), (51, 62), (62, 66),
                             (66, 57), (57, 8)):  # fmt: skip
            assert bool((y[:, above] < y[:, below]).all())

    def test_eyes_blink_and_mouths_open(self, made):
        y = made["landmarks"][..., 1]
        eye = (y[..., [40, 41]] - y[..., [37, 38]]).mean(-1)
        assert float((eye.amin(1) / eye.amax(1)).min()) < 0.25
        assert bool((eye.amin(1) < 0.6 * eye.amax(1)).all())
        mouth = y[..., 66] - y[..., 62]
        assert float((mouth.amax(1) - mouth.amin(1)).median()) > 1.0

    def test_noise_disturbs_landmarks_and_structure_alone(self, made):
        noisy = portraits.clips(2, seed=SEED, noise=1.5)
        moved = noisy["landmarks"] - made["landmarks"][:2]
        assert 1.3 < float(moved.std()) < 1.7
        assert not torch.equal(noisy["poses"], made["poses"][:2])
        for key in ("frames", "reference_flow", "previous_visible"):
            assert torch.equal(noisy[key], made[key][:2])


class TestErrors:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"count": 0}, "count is 0"),
            ({"count": 1, "frames": 0}, "frames is 0"),
            ({"count": 1, "size": (16, 64)}, r"size is \(16, 64\)"),
            ({"count": 1, "size": (64,)}, "expected"),
            ({"count": 1, "seed": -1}, "seed is -1"),
            ({"count": 1, "noise": -0.5}, "noise is -0.5"),
            ({"count": 1, "noise": float("nan")}, "noise is nan"),
        ],
    )
    def test_refused(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            portraits.clips(**arguments)
