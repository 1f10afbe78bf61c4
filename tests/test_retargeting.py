"""Angles of the one, bones of the other, and both ways nothing is lost."""

import math

import pytest

from gfla.data import posing, stances
from gfla.data.keypoints import OPENPOSE_18
from gfla.data.posing import SEGMENTS, Pose, angle, bones
from gfla.data.retargeting import lengths, retarget

NOBODY = (None,) * 18
SMALL = stances.preset("T", Pose(NOBODY, (64, 64)))
TALL = posing.shifted(stances.preset("T", Pose(NOBODY, (300, 200))), 13, -4)


def shaped(pose, **longer):
    """A person whose limbs are longer by a factor for each kind of joint; what hangs on moves."""
    for joint in OPENPOSE_18:
        part = joint.split("_")[-1]
        if part in longer and pose[joint]:
            (x, y), (u, v) = pose[posing.TREE[joint]], pose[joint]
            dx, dy = (u - x) * (longer[part] - 1), (v - y) * (longer[part] - 1)
            for other in (joint, *[o for o in OPENPOSE_18 if joint in above(o)]):
                pose = posing.moved(
                    posing.removed(pose, other), other,
                    (pose[other][0] + dx, pose[other][1] + dy), stretch=True,
                )  # fmt: skip
    return pose


def above(joint):
    while joint in posing.TREE:
        joint = posing.TREE[joint]
        yield joint


STRANGER = shaped(
    posing.with_angle(posing.with_angle(TALL, "left upper arm", 20), "right thigh", -35),
    elbow=1.2, wrist=0.8, knee=1.1, ankle=0.9,
)  # fmt: skip


def close(one, other, tolerance=1e-6):
    return all(
        (p is None and q is None) or math.dist(p, q) < tolerance
        for p, q in zip(one.points, other.points, strict=True)
    )


def test_bones_of_the_source_and_angles_of_the_target():
    made = retarget(STRANGER, SMALL)
    assert made.pose.size == SMALL.size
    for segment in SEGMENTS:
        assert angle(made.pose, segment) == pytest.approx(angle(STRANGER, segment), abs=1e-6)
    wanted, got = bones(SMALL), bones(made.pose)
    for joint in wanted:
        if joint.split("_")[-1] in ("elbow", "wrist", "knee", "ankle", "shoulder", "nose"):
            assert got[joint] == pytest.approx(wanted[joint]), joint
    assert lengths(made.pose) == pytest.approx(lengths(SMALL))
    assert made.notes == ()


def test_both_ways_nothing_is_lost():
    there = retarget(STRANGER, SMALL)
    back = retarget(there.pose, STRANGER)
    assert close(back.pose, STRANGER) and not close(there.pose, STRANGER)
    assert there.scale * back.scale == pytest.approx(1)
    assert close(retarget(STRANGER, STRANGER).pose, STRANGER)


def test_the_size_of_the_strangers_picture_does_not_matter():
    larger = posing.resized(STRANGER, (900, 600))
    assert close(retarget(larger, SMALL).pose, retarget(STRANGER, SMALL).pose)


def test_the_feet_stand_where_the_source_stood():
    made = retarget(STRANGER, SMALL).pose
    floor = max(SMALL["right_ankle"][1], SMALL["left_ankle"][1])
    assert max(made["right_ankle"][1], made["left_ankle"][1]) == pytest.approx(floor)
    assert posing.place(made)[0] == pytest.approx(posing.place(SMALL)[0])
    seated = posing.removed(STRANGER, "left_ankle")
    assert posing.place(retarget(seated, SMALL).pose) == pytest.approx(posing.place(SMALL))


def test_what_points_at_the_camera_stays_foreshortened():
    arm = posing.moved(
        STRANGER, "left_wrist",
        tuple(0.7 * a + 0.3 * b for a, b in
              zip(STRANGER["left_elbow"], STRANGER["left_wrist"], strict=True)), stretch=True,
    )  # fmt: skip
    before, after = bones(arm), bones(retarget(arm, SMALL).pose)
    share = before["left_wrist"] / before["right_wrist"]
    assert share < 0.4 and after["left_wrist"] / after["right_wrist"] == pytest.approx(share)


def test_a_source_seen_from_the_side_keeps_its_shoulders_in_proportion():
    side = stances.seen(stances.turned(SMALL, 85))
    made = retarget(STRANGER, side)
    assert "shoulders" in made.notes[0] and made.ratios["shoulders"] == made.scale
    across = made.pose["left_shoulder"][0] - made.pose["right_shoulder"][0]
    assert across > 5 * abs(side["left_shoulder"][0] - side["right_shoulder"][0])


@pytest.mark.parametrize(
    "gone",
    [("right_hip", "left_hip"), ("neck",), ("right_hip", "neck"), ("nose", "right_knee")],
)
def test_missing_joints_of_the_target_stay_missing(gone):
    lame = STRANGER
    for joint in gone:
        lame = posing.removed(lame, joint)
    made = retarget(lame, SMALL)
    assert made.pose.missing() == lame.missing()
    for joint, length in bones(made.pose).items():
        if joint.split("_")[-1] in ("elbow", "wrist", "ankle"):
            assert length == pytest.approx(bones(SMALL)[joint]), joint
    height, width = SMALL.size
    there = [point for point in made.pose.points if point]
    assert all(0 <= x <= width and 0 <= y <= height for x, y in there)


def test_a_source_without_legs_gets_them_in_proportion():
    half = SMALL
    for joint in ("right_knee", "left_knee", "right_ankle", "left_ankle"):
        half = posing.removed(half, joint)
    made = retarget(STRANGER, half)
    assert made.pose.missing() == () and made.ratios["thighs"] == made.scale
    legs = lengths(made.pose)["thighs"] / lengths(STRANGER)["thighs"]
    assert legs == pytest.approx(made.scale)


def test_where_there_is_no_bone_there_is_no_size():
    alone = Pose(((5.0, 5.0), *NOBODY[1:]), (64, 64))
    with pytest.raises(ValueError, match="the source shows no bone"):
        retarget(STRANGER, alone)
    with pytest.raises(ValueError, match="the target shows no bone"):
        retarget(Pose(NOBODY, (64, 64)), SMALL)
