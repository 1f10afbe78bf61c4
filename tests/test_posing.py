"""A pose keeps its bones while it is turned and dragged, and its past while it is edited."""

import math

import pytest
import torch

from gfla.data import posing
from gfla.data.keypoints import LIMB_COLORS, OPENPOSE_18
from gfla.data.posing import SEGMENTS, TREE, History, Pose

# somebody facing us, whose bones all differ
STANDING = Pose(
    (
        *((32, 10), (32, 18)),
        *((24, 19), (20, 28), (19, 37), (41, 19), (44, 29), (46, 37.5)),
        *((28, 36), (27, 47), (26, 59), (37, 36), (38, 47.5), (39, 58.5)),
        *((30, 8), (34, 8), (27, 9), (37, 9)),
    ),
    (64, 64),
)


def without(*joints):
    pose = STANDING
    for joint in joints:
        pose = posing.removed(pose, joint)
    return pose


def same_bones(one, other, *but):
    mine, theirs = posing.bones(one), posing.bones(other)
    return mine.keys() == theirs.keys() and all(
        math.isclose(mine[bone], theirs[bone], abs_tol=1e-9) for bone in mine if bone not in but
    )


def unmoved(one, other):
    return {j for j in OPENPOSE_18 if one[j] == other[j]}


def test_the_tree_holds_every_joint_but_its_root():
    assert set(TREE) == set(OPENPOSE_18) - {posing.ROOT}
    assert set(posing.bones(STANDING)) == set(TREE)
    assert posing.bones(STANDING)["nose"] == 8.0


def test_a_pose_becomes_key_points_and_comes_back():
    pose = without("left_ear", "neck")
    points = pose.tensor()
    assert points.shape == (1, 18, 2) and points.dtype == torch.float32
    assert points[0, 1].tolist() == [-1, -1] and points[0, 0].tolist() == [32, 10]
    assert Pose.of(points, (64, 64)) == Pose.of(points[0], (64, 64)) == pose
    assert pose.missing() == ("neck", "left_ear")


def test_a_joint_at_minus_one_does_not_vanish():
    pose = posing.moved(STANDING, "nose", (-1.0, 5.0), stretch=True)
    back = Pose.of(pose.tensor(), (64, 64))
    assert back.missing() == () and back["nose"] == pytest.approx((-1.0, 5.0), abs=0.011)


@pytest.mark.parametrize(
    "arguments, told",
    [
        (((None,) * 17, (64, 64)), "17 points"),
        (((None,) * 18, (64, 64), (0.0,)), "1 depths"),
        (((None,) * 18, (0, 64)), r"\(0, 64\)"),
        ((((math.nan, 1.0), *[None] * 17), (64, 64)), "nose is at"),
    ],
)
def test_what_is_no_pose_is_refused(arguments, told):
    with pytest.raises(ValueError, match=told):
        Pose(*arguments)


def test_only_one_person_is_a_pose():
    with pytest.raises(ValueError, match="one person"):
        Pose.of(torch.zeros(2, 18, 2), (64, 64))


@pytest.mark.parametrize(
    "wrist, degrees", [((20, 38), 0), ((30, 28), 90), ((10, 28), -90), ((20, 18), 180)]
)
def test_angles_count_from_down_to_the_right(wrist, degrees):
    pose = posing.moved(STANDING, "right_wrist", wrist, stretch=True)
    assert posing.angle(pose, "right forearm") == pytest.approx(degrees)


def test_angles_of_what_is_no_limb():
    assert posing.angle(STANDING, "head") == 180
    assert abs(posing.angle(STANDING, "torso")) < 2
    assert posing.angle(STANDING, "shoulders") == 90
    assert posing.angle(without("nose"), "head") == 180  # eyes and ears stand in
    assert posing.angle(without("left_shoulder"), "shoulders") is None
    assert posing.angle(without("right_hip"), "torso") is not None
    assert posing.angle(without("right_hip", "left_hip"), "torso") is None


@pytest.mark.parametrize("segment", SEGMENTS)
@pytest.mark.parametrize("degrees", [-135.0, 10.0, 725.0])
def test_turning_a_segment_keeps_every_bone(segment, degrees):
    pose = posing.with_angle(STANDING, segment, degrees)
    assert same_bones(pose, STANDING)
    difference = (posing.angle(pose, segment) - degrees) % 360
    assert min(difference, 360 - difference) < 1e-9
    assert pose != STANDING


def test_a_segment_takes_along_what_hangs_on_it_and_nothing_else():
    def taken(segment):
        turned = posing.with_angle(STANDING, segment, 40)
        return set(OPENPOSE_18) - unmoved(STANDING, turned)

    assert taken("right upper arm") == {"right_elbow", "right_wrist"}
    assert taken("left shin") == {"left_ankle"}
    assert taken("head") == {"nose", "right_eye", "left_eye", "right_ear", "left_ear"}
    arms = {f"{s}_{j}" for s in ("right", "left") for j in ("shoulder", "elbow", "wrist")}
    assert taken("shoulders") == arms


def test_who_leans_keeps_the_legs_as_they_are():
    leaning = posing.with_angle(STANDING, "torso", 30)
    middle = posing.middle(STANDING, ("right_hip", "left_hip"))
    assert posing.middle(leaning, ("right_hip", "left_hip")) == pytest.approx(middle)
    for segment in ("left thigh", "right thigh", "left shin", "right shin"):
        assert posing.angle(leaning, segment) == pytest.approx(posing.angle(STANDING, segment))
    assert leaning["nose"][0] < 20  # the hips swing to the right of the head


def test_a_segment_that_is_not_there_cannot_be_turned():
    with pytest.raises(ValueError, match="right forearm has no angle"):
        posing.with_angle(without("right_wrist"), "right forearm", 3)
    with pytest.raises(ValueError, match="no segment 'tail': choose one of head"):
        posing.angle(STANDING, "tail")
    with pytest.raises(ValueError, match="is nan"):
        posing.with_angle(STANDING, "head", math.nan)


@pytest.mark.parametrize("joint", [j for j in OPENPOSE_18 if j != "neck"])
def test_a_drag_keeps_every_bone_and_goes_towards_the_pointer(joint):
    goal = (55.0, 3.0)
    pose = posing.moved(STANDING, joint, goal)
    assert same_bones(pose, STANDING)
    holder, there = STANDING[TREE[joint]], pose[joint]
    towards = [(g - h) for g, h in zip(goal, holder, strict=True)]
    gone = [(t - h) for t, h in zip(there, holder, strict=True)]
    assert gone[0] * towards[1] == pytest.approx(gone[1] * towards[0], abs=1e-9)
    assert gone[0] * towards[0] + gone[1] * towards[1] > 0


def test_dragging_the_neck_takes_everybody_along():
    pose = posing.moved(STANDING, "neck", (35.0, 14.0))
    assert pose == posing.shifted(STANDING, 3, -4)
    assert unmoved(pose, STANDING) == set()


def test_stretching_moves_one_joint():
    pose = posing.moved(STANDING, "right_elbow", (10.0, 20.0), stretch=True)
    assert pose["right_elbow"] == (10, 20)
    assert unmoved(pose, STANDING) == set(OPENPOSE_18) - {"right_elbow"}
    assert same_bones(pose, STANDING, "right_elbow", "right_wrist")


def test_missing_joints_go_and_come_back():
    gone = without("right_elbow")
    swung = posing.moved(gone, "right_wrist", (50.0, 19.0))  # the shoulder holds the wrist
    shoulder = STANDING["right_shoulder"]
    assert math.dist(swung["right_wrist"], shoulder) == pytest.approx(
        math.dist(STANDING["right_wrist"], shoulder)
    )
    assert posing.moved(gone, "right_elbow", (1.0, 2.0))["right_elbow"] == (1, 2)
    loose = posing.moved(without("neck"), "left_hip", (40.0, 40.0))  # nothing holds it
    assert loose["left_hip"] == (40, 40) and loose["left_ankle"] == (42, 62.5)


def test_a_drag_onto_the_holder_changes_nothing():
    assert posing.moved(STANDING, "left_wrist", STANDING["left_elbow"]) == STANDING


def test_a_drag_of_nothing_or_to_nowhere_is_refused():
    with pytest.raises(ValueError, match="no joint 'tail'"):
        posing.moved(STANDING, "tail", (0, 0))
    with pytest.raises(ValueError, match="nose is at"):
        posing.moved(STANDING, "nose", (math.inf, 0))


def test_place_and_size():
    assert posing.place(STANDING) == (32.5, 36)
    assert posing.place(without("right_hip", "left_hip"))[1] < 36
    assert posing.place(Pose((None,) * 18, (64, 64))) is None
    large = posing.resized(STANDING, (128, 192))
    assert large["neck"] == ((32.5 * 3 - 0.5), (18.5 * 2 - 0.5))
    back = posing.resized(large, (64, 64))
    assert torch.allclose(back.tensor(), STANDING.tensor())


def test_limbs_are_drawn_where_both_joints_are():
    assert [color for _, _, color in posing.lines(STANDING)] == list(LIMB_COLORS)
    fewer = posing.lines(without("right_elbow"))
    assert len(fewer) == len(LIMB_COLORS) - 2 and LIMB_COLORS[2] not in [c for *_, c in fewer]


def test_history_goes_back_and_forth():
    poses = [posing.shifted(STANDING, step, 0) for step in range(4)]
    history = History(poses[0])
    for pose in poses[1:]:
        assert history.push(pose) == pose
    assert history.push(poses[3]) == poses[3] and history.depth == (3, 0)
    assert [history.undo() for _ in range(4)] == [poses[2], poses[1], poses[0], poses[0]]
    assert history.redo() == poses[1] and history.depth == (1, 2)
    assert history.push(poses[3]) == poses[3] and history.depth == (2, 0)
    assert history.redo() == poses[3]
    assert history.reset() == poses[0] and history.undo() == poses[3]
    assert history.restart(poses[2]) == history.now == poses[2] and history.depth == (0, 0)


def test_history_forgets_what_lies_far_back():
    history = History(0, limit=3)
    for step in range(1, 10):
        history.push(step)
    assert history.depth == (3, 0)
    assert [history.undo() for _ in range(4)] == [8, 7, 6, 6]
    with pytest.raises(ValueError, match="limit is 0"):
        History(0, limit=0)
