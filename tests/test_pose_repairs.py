"""A wrong order, swapped axes, a wrong scale: each is found, and its remedy makes it right."""

import math
import random

import pytest

from gfla.data import people, posing, stances
from gfla.data.bones import COCO_17, HUMAN36M_17
from gfla.data.keypoints import OPENPOSE_18
from gfla.data.pose_repairs import REPAIRS, faults, remedy, repaired
from gfla.data.posing import Pose

SIZE = (64, 48)
RIGHT = Pose(stances.preset("wave", Pose((None,) * 18, SIZE)).points, SIZE)
INVOLUTIONS = [name for name in REPAIRS if name.startswith(("swap", "turn"))]


def neck_last(pose):
    """COCO's order with the neck behind, read as OpenPose's."""
    return Pose(tuple(pose[joint] for joint in (*COCO_17, "neck")), pose.size)


def human36m(pose):
    """Human3.6M's joints read as COCO's, a neck made of what stands in the shoulders' places."""
    middle = posing.middle(pose, ("right_hip", "left_hip"))
    told = {joint: pose[joint] for joint in HUMAN36M_17 if joint in OPENPOSE_18}
    told |= {
        "pelvis": middle,
        "thorax": pose["neck"],
        "neck": pose["nose"],
        "spine": tuple((a + b) / 2 for a, b in zip(middle, pose["neck"], strict=True)),
        "head_top": (pose["nose"][0], pose["nose"][1] - 5),
    }
    read = dict(zip(COCO_17, (told[joint] for joint in HUMAN36M_17), strict=True))
    read["neck"] = posing.middle(
        Pose(tuple(read.get(j) for j in OPENPOSE_18), pose.size),
        ("right_shoulder", "left_shoulder"),
    )
    return Pose(tuple(read[joint] for joint in OPENPOSE_18), pose.size)


@pytest.mark.parametrize("name", INVOLUTIONS)
def test_every_mistake_is_found_and_undone(name):
    wrong = REPAIRS[name].undo(RIGHT)
    assert wrong != RIGHT
    told = faults(wrong)
    assert told and {fault.repair for fault in told} == {name}, told
    assert all(repr(name) in fault.hint for fault in told)
    assert all(
        math.dist(a, b) < 1e-9
        for a, b in zip(repaired(wrong, name).points, RIGHT.points, strict=True)
    )


def test_half_a_person_tells_swapped_axes_too():
    half = RIGHT
    for joint in ("right_knee", "left_knee", "right_ankle", "left_ankle"):
        half = posing.removed(half, joint)
    assert faults(half) == ()
    told = faults(REPAIRS["swap axes"].undo(half))
    assert any("along x" in one.what and one.repair == "swap axes" for one in told), told


def test_another_order_of_eighteen_is_found():
    wrong = neck_last(RIGHT)
    assert remedy(wrong) == "read as COCO with the neck last"
    assert repaired(wrong, remedy(wrong)) == RIGHT
    assert any("shuffled" in fault.what for fault in faults(wrong))


def test_another_order_of_seventeen_is_found_where_there_were_seventeen():
    wrong = human36m(RIGHT)
    assert remedy(wrong, "COCO-17") == "read as Human3.6M"
    assert remedy(wrong, "OpenPose-18") != "read as Human3.6M"
    right = repaired(wrong, "read as Human3.6M")
    assert set(right.missing()) == {j for j in OPENPOSE_18 if j.endswith(("eye", "ear"))}
    assert all(right[joint] == RIGHT[joint] for joint in OPENPOSE_18 if right[joint])


def test_a_shuffle_that_nothing_explains_says_so():
    points = list(RIGHT.points)
    random.Random(4).shuffle(points)
    told = faults(Pose(tuple(points), SIZE))
    assert "shuffled" in told[0].what and told[0].repair == ""
    assert "no usual mistake" in told[0].hint


@pytest.mark.parametrize(
    "pose, what, hint",
    [
        (Pose(RIGHT.points, (640, 480)), "upper left quarter", "such as 64×128"),
        (Pose(posing.resized(RIGHT, (640, 480)).points, SIZE), "outside the picture", "at least"),
        (posing.resized(RIGHT, (2, 2)), "within three pixels", "shares of 1"),
        (Pose((None,) * 18, SIZE), "No joint", "another person"),
    ],
)
def test_a_wrong_scale_is_found(pose, what, hint):
    told = faults(pose)
    assert what in told[0].what and hint in told[0].hint


def test_what_is_right_is_left_alone():
    assert faults(RIGHT) == () and remedy(RIGHT) == ""
    for name in stances.PRESETS:
        assert faults(stances.preset(name, RIGHT)) == (), name
    for degrees in range(0, 360, 30):
        assert faults(stances.seen(stances.turned(RIGHT, degrees))) == (), degrees
    batch = people.pairs(16, seed=30_970_000)
    suspected = [
        fault
        for points in batch["source_keypoints"]
        for fault in faults(Pose.of(points, (64, 64)))
        if "shuffled" in fault.what or "quarter" in fault.what
    ]
    assert suspected == []


def test_an_unknown_repair():
    with pytest.raises(ValueError, match="there is no repair 'squint': choose one of swap axes"):
        repaired(RIGHT, "squint")
