"""The detector errs as often, as far and as long as it says, and the same way for a seed."""

import pytest
import torch

from gfla.data.detector import BURST, CLEAN, NOISY, Detector, detect
from gfla.data.keypoints import OPENPOSE_18, present

B, T = 40, 60


@pytest.fixture(scope="module")
def points():
    numbers = torch.Generator().manual_seed(0)
    return 20 + 200 * torch.rand(B, T, 18, 2, generator=numbers)


def exchanged(name):
    return name.replace("right", "x").replace("left", "right").replace("x", "left")


MIRROR = [
    OPENPOSE_18.index(exchanged(name)) if not name.endswith(("eye", "ear")) else index
    for index, name in enumerate(OPENPOSE_18)
]
ARMS = [i for i, name in enumerate(OPENPOSE_18) if name.endswith(("shoulder", "elbow", "wrist"))]
LEGS = [i for i, name in enumerate(OPENPOSE_18) if name.endswith(("hip", "knee", "ankle"))]


class TestJitter:
    @pytest.mark.parametrize(("height", "expected"), [(256, 3.0), (64, 0.75)])
    def test_deviation_in_pixels(self, points, height, expected):
        gap = detect(points, Detector(jitter=3.0), height) - points
        assert abs(float(gap.std()) - expected) < 0.05 * expected
        assert abs(float(gap.mean())) < 0.03 * expected
        assert float(gap.abs().max()) < 2.6 * expected

    def test_every_number_has_its_own(self, points):
        gap = detect(points, Detector(jitter=3.0), 256) - points
        for a, b in (
            (gap[..., 0], gap[..., 1]),
            (gap[:, 1:], gap[:, :-1]),
            (gap[1:], gap[:-1]),
            (gap[:, :, 1:], gap[:, :, :-1]),
        ):
            assert abs(float((a * b).mean() / gap.var())) < 0.03

    def test_nobody_lands_on_the_mark_of_the_missing(self):
        at = torch.zeros(200, 50, 18, 2)  # a jitter of 1 brings many close to -1
        assert bool(present(detect(at, Detector(jitter=1.0), 256)).all())


class TestMissing:
    @pytest.mark.parametrize("share", [0.05, 0.2, 0.5])
    def test_share(self, points, share):
        lost = ~present(detect(points, Detector(missing=share), 64))
        assert abs(float(lost.float().mean()) - share) < 0.1 * share
        assert abs(float(lost[:, 0].float().mean()) - share) < 0.25 * share  # from the first frame

    def test_bursts(self, points):
        lost = ~present(detect(points, Detector(missing=0.1), 64))
        begins = (lost[:, 1:] & ~lost[:, :-1]).sum() + lost[:, 0].sum()
        assert abs(float(lost.sum() / begins) - BURST) < 0.3  # ends of clips cut a few short
        # the control: without memory the same share would come in runs of 1 / (1 - 0.1) frames
        alone = torch.rand(B, T, 18, generator=torch.Generator().manual_seed(1)) < 0.1
        begins = (alone[:, 1:] & ~alone[:, :-1]).sum() + alone[:, 0].sum()
        assert float(alone.sum() / begins) < 1.3

    def test_the_rest_does_not_move(self, points):
        found = detect(points, Detector(missing=0.3), 64)
        there = present(found)
        assert torch.equal(found[there], points[there])
        assert bool((found[~there] == -1).all())

    def test_what_was_missing_stays_missing(self, points):
        holes = points.clone()
        holes[:, :, 4] = -1
        found = detect(holes, Detector(jitter=4.0), 256)
        assert bool((found[:, :, 4] == -1).all())
        assert bool(present(found)[:, :, :4].all())


class TestSwaps:
    def test_how_often_and_what(self, points):
        found = detect(points, Detector(swapped=0.2), 64)
        for limb in (ARMS, LEGS):
            mirrored = [MIRROR[joint] for joint in limb]
            swapped = (found[:, :, limb] == points[:, :, mirrored]).flatten(2).all(2)
            kept = (found[:, :, limb] == points[:, :, limb]).flatten(2).all(2)
            assert bool((swapped ^ kept).all())  # all of a limb, or nothing
            assert abs(float(swapped.float().mean()) - 0.2) < 0.03
        middle = [i for i in range(18) if i not in ARMS + LEGS]
        assert torch.equal(found[:, :, middle], points[:, :, middle])

    def test_arms_and_legs_each_for_themselves(self, points):
        found = detect(points, Detector(swapped=0.5), 64)
        arms, legs = ((found[:, :, j] != points[:, :, j]).any(-1).any(-1) for j in (ARMS, LEGS))
        assert abs(float((arms == legs).float().mean()) - 0.5) < 0.05

    def test_a_missing_joint_changes_sides_too(self, points):
        holes = points.clone()
        wrist, other = OPENPOSE_18.index("right_wrist"), OPENPOSE_18.index("left_wrist")
        holes[:, :, wrist] = -1
        found = detect(holes, Detector(swapped=1.0), 64)
        assert not bool(present(found)[:, :, other].any())
        assert torch.equal(found[:, :, wrist], points[:, :, other])


class TestDeterminism:
    def test_same_seeds_same_mistakes(self, points):
        first = detect(points, NOISY, 64, seed=4)
        assert torch.equal(first, detect(points, NOISY, 64, seed=4))
        assert not torch.equal(first, detect(points, NOISY, 64, seed=5))
        worse = Detector(NOISY.jitter, NOISY.missing, NOISY.swapped, seed=1)
        assert not torch.equal(first, detect(points, worse, 64, seed=4))

    def test_a_part_has_the_mistakes_of_the_whole(self, points):
        whole = detect(points, NOISY, 64, seed=4)
        assert torch.equal(whole[:7, :9], detect(points[:7, :9], NOISY, 64, seed=4))
        assert torch.equal(whole[5:8], detect(points[5:8], NOISY, 64, seed=4, first=5))
        assert not torch.equal(whole[5:8], detect(points[5:8], NOISY, 64, seed=4))

    def test_more_of_one_mistake_leaves_the_others(self, points):
        few = present(detect(points, Detector(missing=0.1), 64))
        assert torch.equal(few, present(detect(points, Detector(missing=0.1, jitter=2.0), 64)))

    def test_clean_changes_nothing(self, points):
        assert detect(points, CLEAN, 64) is points

    def test_the_given_points_are_left_alone(self, points):
        before = points.clone()
        detect(points, NOISY, 64)
        assert torch.equal(before, points)


class TestErrors:
    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"jitter": -1.0}, "jitter is -1.0"),
            ({"jitter": float("nan")}, "jitter is nan"),
            ({"missing": 0.9}, "missing is 0.9, expected a number from 0 to 0.75"),
            ({"swapped": 1.5}, "swapped is 1.5"),
            ({"seed": -1}, "seed is -1"),
        ],
    )
    def test_fields(self, fields, message):
        with pytest.raises(ValueError, match=message):
            Detector(**fields)

    @pytest.mark.parametrize(
        ("shape", "height", "message"),
        [
            ((2, 18, 2), 64, r"expected \(B, T, 18, 2\)"),
            ((1, 2, 17, 2), 64, "18"),
            ((1, 2, 18, 2), 0, "height is 0"),
        ],
    )
    def test_points(self, shape, height, message):
        with pytest.raises(ValueError, match=message):
            detect(torch.zeros(shape), NOISY, height)

    def test_fields_are_frozen(self):
        with pytest.raises(AttributeError):
            NOISY.jitter = 1.0
