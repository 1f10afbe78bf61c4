"""The 16 maps of a face: what each channel holds, told by hand on faces of straight lines."""

import math
import time

import numpy as np
import pytest
import torch

from gfla.data.faces import CURVES, structure, trace, with_forehead

SIZE = (64, 64)


def simple_face():
    """A half circle for a jaw, straight brows, diamonds for eyes and mouth: (68, 2)."""
    angle = torch.linspace(-math.pi / 2, math.pi / 2, 17)
    jaw = torch.stack((32 + 20 * angle.sin(), 32 + 20 * angle.cos()), 1)
    brows = [(17 + 2.5 * i, 22) for i in range(5)] + [(37 + 2.5 * i, 22) for i in range(5)]
    nose = [(32, 28), (32, 31), (32, 34), (32, 37)] + [(28 + 2 * i, 40) for i in range(5)]
    eyes = [
        (x + dx, 28 + dy)
        for x in (22, 42)
        for dx, dy in ((-5, 0), (-2, -3), (2, -3), (5, 0), (2, 3), (-2, 3))
    ]
    outer = [(24, 45), (27, 43), (30, 42), (32, 42), (34, 42), (37, 43), (40, 45)]
    outer += [(37, 48), (34, 49), (32, 49), (30, 49), (27, 48)]
    inner = [(26, 45), (30, 44), (32, 44), (34, 44), (38, 45), (34, 47), (32, 47), (30, 47)]
    return torch.cat((jaw, torch.tensor(brows + nose + eyes + outer + inner).float()))


@pytest.fixture(scope="module")
def maps():
    return structure(simple_face(), size=SIZE)


class TestChannels:
    def test_shape_and_ranges(self, maps):
        assert maps.shape == (16, 64, 64) and maps.dtype == torch.float32
        assert set(maps[0].unique().tolist()) == {0.0, 1.0}
        assert maps[1:15].min() == 0 and maps[1:15].max() <= 1
        assert set(maps[15].unique().tolist()) == {0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0}

    def test_fourteen_curves(self):
        assert len(CURVES) == 14
        assert {point for curve in CURVES for point in curve if point < 68} >= set(range(31, 68))

    def test_every_curve_is_where_its_distance_is_zero(self, maps):
        on_some_curve = (maps[1:15] == 0).any(0)
        assert torch.equal(maps[0] > 0, on_some_curve)

    def test_distance_from_a_straight_brow(self, maps):
        brow = maps[2]  # of the viewer's left, from (17, 22) to (27, 22)
        assert bool((brow[22, 17:28] == 0).all())
        down = brow[22:62, 22] * 255 * 3
        torch.testing.assert_close(down, torch.arange(40).float(), atol=1e-3, rtol=0)
        assert float(brow[30, 10]) == pytest.approx((8 + 7) / 3 / 255)  # L1: 8 down, 7 to the left

    def test_distance_is_clipped(self):
        far = structure(simple_face(), size=(64, 1000))[2]
        assert float(far[22, 27 + 764]) < 1
        assert bool((far[22, 27 + 765 :] == 1).all())

    def test_labels_by_hand(self, maps):
        label = maps[15]
        # fmt: off
        places = {(32, 46): 6, (32, 43): 5, (26, 44): 5, (22, 28): 4, (42, 28): 4, (32, 38): 3,
                  (22, 22): 2, (42, 22): 2, (16, 36): 1, (32, 24): 1, (2, 2): 0, (32, 60): 0}
        # fmt: on
        assert {p: int(label[p[1], p[0]]) for p in places} == places

    def test_left_and_right_have_their_own_channels(self, maps):
        for left, right in ((2, 3), (7, 9), (8, 10)):
            columns = [(maps[c] == 0).nonzero()[:, 1].float().mean() for c in (left, right)]
            assert columns[0] < 32 < columns[1]

    def test_upper_lid_before_lower_lid(self, maps):
        for upper, lower in ((7, 8), (9, 10), (11, 12), (13, 14)):
            rows = [(maps[c] == 0).nonzero()[:, 0].float().mean() for c in (upper, lower)]
            assert rows[0] < rows[1]

    def test_a_curve_outside_the_picture_is_far_everywhere(self):
        points = simple_face()
        points[17:22] += 500
        assert bool((structure(points, size=SIZE)[2] == 128 / 3 / 255).all())

    def test_the_same_twice(self, maps):
        assert torch.equal(maps, structure(simple_face(), size=SIZE))

    def test_all_points_in_one_place(self):
        maps = structure(torch.full((68, 2), 7.0), size=(16, 16))
        assert bool(torch.isfinite(maps).all()) and float(maps[0].sum()) == 1


class TestCurves:
    def test_parabola_through_three_points(self):
        curve = trace(np.array([(0.0, 0.0), (5.0, 5.0), (10.0, 0.0)]), 100)
        expected = 5 - (curve[:, 0] - 5) ** 2 / 5
        np.testing.assert_allclose(curve[:, 1], expected, atol=1e-9)
        assert np.hypot(*np.diff(curve, axis=0).T).max() <= 0.5

    @pytest.mark.parametrize("count", [2, 3, 4, 5, 7])
    def test_it_passes_through_its_points(self, count):
        points = np.random.default_rng(count).uniform(0, 30, (count, 2))
        curve = trace(points, 100)
        away = np.hypot(*(curve[:, None] - points[None]).transpose(2, 0, 1))
        assert away.min(0).max() < 1e-9
        assert np.allclose(curve[0], points[0]) and np.allclose(curve[-1], points[-1])

    def test_forehead_mirrors_the_jaw_at_two_thirds(self):
        points = with_forehead(simple_face().double().numpy())
        assert points.shape == (83, 2)
        np.testing.assert_allclose(points[68 + 7], (32, 32 - 20 * 2 / 3), atol=1e-4)
        np.testing.assert_allclose(points[68, 0], points[15, 0], atol=1e-4)  # from right to left

    def test_forehead_turns_with_the_head(self):
        face = simple_face().double().numpy()
        cos, sin = math.cos(0.7), math.sin(0.7)
        turn = np.array(((cos, -sin), (sin, cos)))
        np.testing.assert_allclose(with_forehead(face @ turn), with_forehead(face) @ turn)


class TestFrame:
    def test_edges_are_added_outside_the_face_only(self, maps):
        frame = -torch.ones(3, *SIZE)
        frame[:, :, 32:] = 1.0  # one vertical edge, through the middle of the face
        made = structure(simple_face(), frame)
        new = (made[0] > 0) & (maps[0] == 0)
        assert int(new.sum()) > 10
        assert bool((maps[15][new] == 0).all())
        assert set(new.nonzero()[:, 1].tolist()) <= {31, 32}
        assert torch.equal(made[1:], maps[1:])

    def test_a_flat_frame_adds_nothing(self, maps):
        assert torch.equal(structure(simple_face(), torch.zeros(3, *SIZE)), maps)

    def test_quick(self):
        face, frame = simple_face(), torch.rand(3, *SIZE) * 2 - 1
        structure(face, frame)
        start = time.process_time()
        for _ in range(10):
            structure(face, frame)
        assert (time.process_time() - start) / 10 < 0.020  # seconds; about 0.006 on an idle core


class TestErrors:
    @pytest.mark.parametrize(
        ("landmarks", "frame", "size", "message"),
        [
            (torch.zeros(67, 2), None, SIZE, r"shape \(67, 2\); expected \(68, 2\)"),
            (torch.zeros(1, 68, 2), None, SIZE, r"shape \(1, 68, 2\)"),
            (torch.full((68, 2), torch.nan), None, SIZE, "68 of 68 landmarks are NaN"),
            (torch.zeros(68, 2), None, None, "neither frame nor size"),
            (torch.zeros(68, 2), None, (0, 4), r"size is \(0, 4\)"),
            (torch.zeros(68, 2), torch.zeros(1, 8, 8), None, r"frame has shape \(1, 8, 8\)"),
            (torch.zeros(68, 2), torch.zeros(3, 8, 8), (8, 9), "leave size out"),
            (torch.zeros(68, 2), torch.full((3, 8, 8), torch.inf), None, "frame holds NaN"),
        ],
    )
    def test_refused(self, landmarks, frame, size, message):
        with pytest.raises(ValueError, match=message):
            structure(landmarks, frame, size)

    def test_not_a_tensor(self):
        with pytest.raises(TypeError, match="landmarks is list"):
            structure([(0, 0)] * 68, size=SIZE)
        with pytest.raises(TypeError, match="frame is str"):
            structure(torch.zeros(68, 2), "face.png")
