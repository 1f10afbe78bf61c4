"""Clips of people in motion: smooth, the same for a seed, each kind what it says, flows exact."""

import time

import pytest
import torch
import torch.nn.functional as F

from gfla.data import curves, gaits, motion
from gfla.data.body import JOINTS, Draw, capsules, draw_body, draw_pose, skeleton
from gfla.data.detector import CLEAN, NOISY, Detector
from gfla.data.keypoints import heatmaps, present
from gfla.sampling import warp

SHAPES = {
    "frames": (4, 3, 64, 64), "poses": (4, 18, 64, 64), "keypoints": (4, 18, 2),
    "reference": (3, 64, 64), "reference_pose": (18, 64, 64), "reference_keypoints": (18, 2),
    "reference_flow": (4, 2, 64, 64), "reference_visible": (4, 1, 64, 64),
    "previous_flow": (4, 2, 64, 64), "previous_visible": (4, 1, 64, 64),
    "foreground": (4, 1, 64, 64), "kind": (),
}  # fmt: skip
MANY = 64
FEET = ("right ankle", "left ankle")


@pytest.fixture(scope="module")
def batch():
    return motion.clips(8, frames=4, seed=31_000_000)


def moving(kind, seconds, loop=None):
    """MANY people of a kind: their bodies, their motions, how they stand at some moments."""
    body = draw_body(Draw(5, range(MANY)))
    number = torch.full((MANY,), gaits.KINDS.index(kind))
    made = gaits.draw_motion(Draw(6, range(MANY)), number, body, 1.0, loop)
    return body, made, [curves.pose_at(made, body, moment) for moment in seconds]


@pytest.fixture(scope="module")
def large():
    return motion.clips(8, frames=3, size=(128, 128), seed=31_500_000)


def joints(kind, seconds, loop=None):
    """Every joint (MANY, T, 3) in body heights from the pelvis."""
    body, _, poses = moving(kind, seconds, loop)
    places = [skeleton(body, pose) for pose in poses]
    return {name: torch.stack([p[name] for p in places], 1) for name in places[0]}


def pixels(kind, seconds, loop=None, names=JOINTS):
    """Joints (MANY, T, J, 2) in the picture, in picture heights."""
    body, _, poses = moving(kind, seconds, loop)
    rows = [capsules(body, pose, (100, 100))[1] for pose in poses]
    return torch.stack([torch.stack([row[n][:, :2] for n in names], 1) for row in rows], 1) / 100


def at_12(frames):
    return [frame / motion.FPS for frame in range(frames)]


class TestShapesAndValues:
    def test_keys_and_shapes(self, batch):
        assert {key: tuple(value.shape[1:]) for key, value in batch.items()} == SHAPES

    def test_ranges(self, batch):
        assert float(batch["frames"].abs().max()) <= 1 and float(batch["reference"].max()) <= 1
        for name in ("reference", "previous"):
            visible = batch[f"{name}_visible"]
            assert set(visible.unique().tolist()) == {0.0, 1.0}
            assert bool((visible <= batch["foreground"]).all())
            assert float((batch[f"{name}_flow"] * (1 - batch["foreground"])).abs().max()) == 0

    def test_the_kinds_take_turns(self, batch):
        numbers = batch["kind"].tolist()
        assert numbers[:4] == numbers[4:] and sorted(numbers[:4]) == [0, 1, 2, 3]
        begins = {int(motion.clips(1, 1, (32, 32), seed)["kind"]) for seed in range(12)}
        assert len(begins) > 2  # not every seed begins with the same
        some = motion.clips(4, 1, (32, 32), 3, kinds=("turn", "walk"))["kind"].tolist()
        assert sorted(some) == [0, 0, 3, 3]

    def test_heat_maps_are_those_of_the_key_points(self, batch):
        assert torch.equal(batch["poses"], heatmaps(batch["keypoints"], (64, 64), 1.5))
        still = heatmaps(batch["reference_keypoints"], (64, 64), 1.5)
        assert torch.equal(batch["reference_pose"], still)

    def test_one_backdrop(self, batch):
        empty = F.max_pool2d(batch["foreground"].amax(1), 5, 1, 2) < 0.5
        for frame in range(1, 4):
            moved = (batch["frames"][:, frame] - batch["frames"][:, 0]).abs().amax(1, keepdim=True)
            assert float(moved[empty].max()) == 0
        # the reference stands elsewhere: half of the empty pixels is far more than it covers
        same = (batch["reference"] == batch["frames"][:, 0]).all(1, keepdim=True)
        assert float(same[empty].float().mean()) > 0.5

    def test_the_reference_is_another_pose(self, batch):
        there = present(batch["reference_keypoints"]) & present(batch["keypoints"][:, 0])
        gap = (batch["reference_keypoints"] - batch["keypoints"][:, 0]).norm(dim=2)
        apart = torch.stack([g[t].mean() for g, t in zip(gap, there, strict=True)])
        assert float(apart.min()) > 1.5
        step = (batch["keypoints"][:, 1] - batch["keypoints"][:, 0]).norm(dim=2)
        both = present(batch["keypoints"][:, 1]) & present(batch["keypoints"][:, 0])
        assert float(apart.mean()) > 2 * float(step[both].mean())

    @pytest.mark.parametrize("size", [(64, 48), (96, 64)])
    def test_other_sizes(self, size):
        made = motion.clips(2, frames=2, size=size, seed=4)
        assert made["frames"].shape[3:] == size
        assert 0.03 < float(made["foreground"].mean()) < 0.6


class TestDeterminism:
    @pytest.mark.parametrize("count", [1, 3, 5])
    def test_fewer_clips_are_a_prefix(self, batch, count):
        few = motion.clips(count, frames=4, seed=31_000_000)
        assert all(torch.equal(batch[key][:count], few[key]) for key in batch)

    @pytest.mark.parametrize("frames", [1, 3])
    def test_fewer_frames_are_a_prefix(self, batch, frames):
        short = motion.clips(8, frames=frames, seed=31_000_000)
        for key, value in batch.items():
            in_time = key not in ("reference", "reference_pose", "reference_keypoints", "kind")
            assert torch.equal(value[:, :frames] if in_time else value, short[key]), key

    def test_noise_keeps_both_prefixes(self):
        long = motion.clips(5, 6, (32, 32), 8, noise=NOISY)
        short = motion.clips(3, 2, (32, 32), 8, noise=NOISY)
        assert torch.equal(long["keypoints"][:3, :2], short["keypoints"])
        assert torch.equal(long["poses"][:3, :2], short["poses"])

    def test_other_seed_other_clips(self, batch):
        other = motion.clips(8, frames=1, seed=31_000_001)
        assert not torch.equal(batch["frames"][:, :1], other["frames"])
        assert not torch.equal(batch["frames"][1:, :1], other["frames"][:7])

    def test_the_global_generator_is_left_alone(self):
        before = torch.get_rng_state()
        motion.clips(1, 1, (32, 32), noise=NOISY)
        assert torch.equal(before, torch.get_rng_state())

    def test_drawing_is_quick(self):
        motion.clips(2, frames=4, seed=1)
        start = time.process_time()
        motion.clips(4, frames=8, seed=2)
        assert (time.process_time() - start) / 32 < 0.04  # core-seconds for a frame


def inner(batch, name):
    """Visible pixels three of whose neighbours on every side are visible too."""
    return -F.max_pool2d(-batch[f"{name}_visible"].flatten(0, 1), 7, 1, 3) > 0


def gap(a, b, where):
    return float((a - b).abs().mean(1, keepdim=True)[where].mean()) / 2


class TestFlows:
    def test_the_frame_before_makes_the_frame(self, large):
        frames, flow = large["frames"], large["previous_flow"]
        before = torch.cat((large["reference"][:, None], frames[:, :-1]), 1)
        where = inner(large, "previous")
        moved = flow.flatten(0, 1).norm(dim=1, keepdim=True) > 2
        true = warp(before.flatten(0, 1), flow.flatten(0, 1))
        wrong = warp(before.flatten(0, 1), -flow.flatten(0, 1))
        frames = frames.flatten(0, 1)
        assert gap(true, frames, where) < 0.025
        there = where & moved
        assert gap(wrong, frames, there) > 4 * gap(true, frames, there)
        assert gap(before.flatten(0, 1), frames, there) > 3 * gap(true, frames, there)

    def test_the_reference_makes_the_frame(self, large):
        frames, flow = large["frames"].flatten(0, 1), large["reference_flow"].flatten(0, 1)
        reference = large["reference"][:, None].expand_as(large["frames"]).flatten(0, 1)
        where = inner(large, "reference")
        true = gap(warp(reference, flow), frames, where)
        assert true < 0.04
        assert gap(warp(reference, -flow), frames, where) > 4 * true

    def test_nothing_before_the_first_frame_but_the_reference(self, batch):
        for what in ("flow", "visible"):
            previous, reference = batch[f"previous_{what}"], batch[f"reference_{what}"]
            assert torch.equal(previous[:, 0], reference[:, 0])
            assert not torch.equal(previous[:, 1], reference[:, 1])

    def test_the_frame_before_shows_more_than_the_reference(self, batch):
        seen = {
            name: float(batch[f"{name}_visible"][:, 1:].sum() / batch["foreground"][:, 1:].sum())
            for name in ("previous", "reference")
        }
        assert seen["previous"] > 0.75 > seen["reference"] > 0.3


class TestSmoothness:
    @pytest.mark.parametrize("kind", gaits.KINDS)
    def test_no_joint_jumps(self, kind):
        speed = pixels(kind, at_12(25)).diff(dim=1).norm(dim=3)
        assert 0.004 < float(speed.mean()) < 0.05  # picture heights in a frame
        assert float(speed.max()) < 0.2
        # the control: frames in another order do jump
        order = torch.randperm(25, generator=torch.Generator().manual_seed(0)) / motion.FPS
        assert float(pixels(kind, order.tolist()).diff(dim=1).norm(dim=3).max()) > 0.2

    @pytest.mark.parametrize("kind", gaits.KINDS)
    def test_half_the_time_half_the_way(self, kind):
        moment = [0.5 + step for step in (0.0, 0.01, 0.005)]
        start, end, middle = pixels(kind, moment).unbind(1)
        assert float((middle - (start + end) / 2).norm(dim=2).max()) < 1e-3
        assert float((end - start).norm(dim=2).max()) > 4e-3

    @pytest.mark.parametrize("kind", gaits.KINDS)
    def test_a_loop_comes_back(self, kind):
        first, last, middle = pixels(kind, [0.0, 2.0, 0.55], loop=2.0).unbind(1)
        assert float((first - last).norm(dim=2).max()) < 1e-4
        assert float((first - middle).norm(dim=2).amax(1).min()) > 0.005
        first, last = pixels(kind, [0.0, 2.0]).unbind(1)
        assert float((first - last).norm(dim=2).max()) > 0.05  # not by itself

    def test_a_looping_clip(self):
        made = motion.drive("turn", 7, (32, 32), loop=6)
        assert torch.allclose(made["frames"][:, 0], made["frames"][:, 6], atol=1e-3)
        assert not torch.allclose(made["frames"][:, 0], made["frames"][:, 3], atol=0.1)


class TestKinds:
    def test_walking_legs_and_arms_are_in_antiphase(self):
        places = joints("walk", at_12(24), loop=2.0)
        _, made, _ = moving("walk", [0.0], loop=2.0)
        yaw = made.mean[:, curves.YAW, None]

        def ahead(name):
            forward = places[name][..., 0] * yaw.sin() + places[name][..., 2] * yaw.cos()
            return F.normalize(forward - forward.mean(1, keepdim=True), dim=1)

        def together(one, other):
            return float((ahead(one) * ahead(other)).sum(1).median())

        assert together(*FEET) < -0.8
        assert together("right wrist", "left wrist") < -0.8
        for side, other in (("right", "left"), ("left", "right")):
            assert together(f"{side} wrist", f"{side} ankle") < -0.7
            assert together(f"{side} wrist", f"{other} ankle") > 0.7

    def test_who_crosses_the_picture_does_not_slide(self):
        _, made, _ = moving("walk", [0.0])
        crosses = made.speed != 0
        assert 0.25 < float(crosses.float().mean()) < 0.65
        pace = float(made.speed[crosses].abs().mean()) / 48
        places = pixels("walk", [frame / 48 for frame in range(24)], names=FEET)[crosses]
        low = places[..., 1].argmax(2)
        steps = places[..., 0].diff(dim=1).abs()
        planted = low[:, 1:] == low[:, :-1]
        lower = steps.gather(2, low[:, 1:, None]).squeeze(2)
        assert float(lower[planted].mean()) < 0.2 * pace
        assert float(steps.mean()) > 0.7 * pace  # the other foot makes up for it

    def test_walkers_stay_in_the_picture(self):
        x = pixels("walk", at_12(60), names=["neck"])[..., 0]
        assert float(x.min()) > 0.15 and float(x.max()) < 0.85

    def test_feet_stay_on_the_floor(self):
        for kind in gaits.KINDS:
            floor = pixels(kind, at_12(12), names=FEET)[..., 1].amax(2)
            assert float((floor.amax(1) - floor.amin(1)).max()) < 0.012
        lifted = pixels("dance", at_12(12), names=FEET)[..., 1].amin(2)
        assert float((lifted.amax(1) - lifted.amin(1)).max()) > 0.05

    def test_hips_sway_over_feet_that_stay(self):
        x = pixels("wave", at_12(24), loop=2.0, names=(*FEET, "pelvis"))[..., 0]
        right, left, pelvis = (x.amax(1) - x.amin(1)).median(0).values.tolist()
        assert pelvis > 0.01 and max(right, left) < 0.5 * pelvis

    def test_who_waves_has_a_wrist_above_the_shoulder(self):
        def raised(kind):
            places = joints(kind, at_12(12))
            above = [
                (places[f"{side} wrist"][..., 1] < places[f"{side} shoulder"][..., 1]).any(1)
                for side in ("right", "left")
            ]
            return torch.stack(above, 1)

        up = raised("wave")
        assert bool(up.any(1).all())
        assert {tuple(row) for row in up.tolist()} == {(True, True), (True, False), (False, True)}
        assert not bool(raised("walk").any()) and not bool(raised("turn").any())

    def test_who_turns_sees_all_sides(self):
        places = joints("turn", at_12(25), loop=2.0)
        _, _, poses = moving("turn", at_12(25), loop=2.0)
        yaw = torch.stack([pose.yaw for pose in poses], 1)
        assert torch.allclose((yaw[:, -1] - yaw[:, 0]).abs(), torch.tensor(6.28319), atol=1e-3)
        for name in ("shoulder", "hip"):
            side = places[f"left {name}"][..., 0] - places[f"right {name}"][..., 0]
            assert bool((side.amax(1) > 0).all()) and bool((side.amin(1) < 0).all())
        places = joints("wave", at_12(25))  # the control
        side = places["left hip"][..., 0] - places["right hip"][..., 0]
        assert float(((side > 0).all(1) | (side < 0).all(1)).float().mean()) > 0.9

    def test_dancers_move_all_limbs(self):
        _, _, poses = moving("dance", at_12(24))
        limbs = torch.stack([pose.spread for pose in poses], 1)
        moved = limbs.amax(1) - limbs.amin(1)
        assert float(moved[:, :4].median(0).values.min()) > 0.4  # arms
        assert float(moved[:, 4:].median(0).values.min()) > 0.03  # legs, sideways
        yaw = torch.stack([p.yaw for p in poses], 1)
        assert float((yaw.amax(1) - yaw.amin(1)).median()) > 0.3

    def test_angles_are_those_of_the_people(self):
        usual = draw_pose(Draw(1, range(4000)))
        for name in ("spread", "reach"):
            low, high = getattr(usual, name).amin(0) - 0.2, getattr(usual, name).amax(0) + 0.2
            upper = slice(0, 6) if name == "spread" else slice(0, 4)  # knees bend more than theirs
            for kind in gaits.KINDS:
                _, _, poses = moving(kind, at_12(12))
                value = torch.stack([getattr(p, name) for p in poses], 1)[..., upper]
                inside = (value > low[upper]) & (value < high[upper])
                assert float(inside.float().mean()) > 0.97, (kind, name)


class TestDrive:
    def test_the_person_is_the_one_of_the_seed(self):
        here, there, other = (
            motion.drive("wave", 2, (48, 48), person=p, seed=s) for p, s in ((9, 1), (9, 2), (8, 1))
        )
        assert not torch.equal(here["frames"], there["frames"])
        corner = (..., slice(0, 4), slice(0, 4))  # the backdrop belongs to the person
        assert torch.equal(here["frames"][corner], there["frames"][corner])
        assert not torch.allclose(here["frames"][corner], other["frames"][corner], atol=0.02)

    def test_the_motion_is_the_one_of_the_seed(self):
        one, other = (motion.drive("turn", 4, (64, 64), person=p, seed=3) for p in (1, 2))
        there = present(one["keypoints"]) & present(other["keypoints"])
        gap = (one["keypoints"] - other["keypoints"]).norm(dim=3)
        assert 0 < float(gap[there].mean()) < 2.5  # bodies differ, the motion does not
        another = motion.drive("turn", 4, (64, 64), person=1, seed=4)
        there = present(one["keypoints"]) & present(another["keypoints"])
        far = (one["keypoints"] - another["keypoints"]).norm(dim=3)
        assert float(far[there].mean()) > 2 * float(gap[there].mean())

    def test_the_first_of_the_clips(self):
        made = motion.clips(1, 2, seed=12, kinds=("walk",))
        alone = motion.drive("walk", 2, person=12, seed=12)
        assert all(torch.equal(made[key], alone[key]) for key in made)

    def test_poses_without_pictures(self):
        made = motion.drive("dance", 3, (64, 48), person=5, seed=6, noise=NOISY, loop=12)
        found = motion.poses("dance", 3, (64, 48), person=5, seed=6, noise=NOISY, loop=12)
        assert set(found) == {"keypoints", "clean_keypoints", "poses"}
        assert all(torch.equal(made[key], found[key]) for key in found)


class TestNoise:
    def test_the_truth_stays_clean(self):
        clean = motion.clips(3, 3, (48, 48), 7)
        noisy = motion.clips(3, 3, (48, 48), 7, noise=NOISY)
        assert torch.equal(noisy["clean_keypoints"], clean["keypoints"])
        assert not torch.equal(noisy["keypoints"], clean["keypoints"])
        assert torch.equal(noisy["poses"], heatmaps(noisy["keypoints"], (48, 48), 6 * 48 / 256))
        for key in set(clean) - {"keypoints", "poses"}:
            assert torch.equal(clean[key], noisy[key]), key

    def test_a_clean_detector_changes_nothing(self):
        true = motion.clips(2, 2, (32, 32), 7)
        found = motion.clips(2, 2, (32, 32), 7, noise=CLEAN)
        assert set(found) - set(true) == {"clean_keypoints"}
        assert all(torch.equal(true[key], found[key]) for key in true)

    def test_the_reference_suffers_when_asked(self):
        clean = motion.clips(2, 2, (32, 32), 7)
        noisy = motion.clips(2, 2, (32, 32), 7, noise=Detector(jitter=5, reference=True))
        assert not torch.equal(clean["reference_keypoints"], noisy["reference_keypoints"])
        assert not torch.equal(clean["reference_pose"], noisy["reference_pose"])
        assert torch.equal(clean["reference"], noisy["reference"])
        # reference and first frame have mistakes of their own
        gaps = [
            noisy["reference_keypoints"] - clean["reference_keypoints"],
            (noisy["keypoints"] - clean["keypoints"])[:, 0],
        ]
        both = (gaps[0] != 0) & (gaps[1] != 0)
        assert bool((gaps[0][both] - gaps[1][both]).abs().min() > 1e-4)


class TestErrors:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"count": 0}, "count is 0"),
            ({"count": 1, "frames": 0}, "frames is 0"),
            ({"count": 1, "size": (16, 64)}, r"size is \(16, 64\)"),
            ({"count": 1, "seed": -1}, "seed is -1"),
            ({"count": 1, "kinds": ("swim",)}, "swim"),
            ({"count": 1, "kinds": ()}, "expected some of walk, dance, wave, turn"),
            ({"count": 1, "loop": 1}, "loop is 1"),
        ],
    )
    def test_refused(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            motion.clips(**arguments)

    def test_refused_alone(self):
        with pytest.raises(ValueError, match="swim"):
            motion.drive("swim")
        with pytest.raises(ValueError, match="seed is -2"):
            motion.poses("walk", person=-2)
        with pytest.raises(ValueError, match="frames is 0"):
            motion.poses("walk", 0)
