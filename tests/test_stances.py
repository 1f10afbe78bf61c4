"""Stances keep a person's proportions; a turn is undone by turning back."""

import math

import pytest
import torch

from gfla.data import body, people, posing, stances
from gfla.data.keypoints import OPENPOSE_18
from gfla.data.posing import Pose

COUNT = 32


@pytest.fixture(scope="module")
def crowd():
    """Procedural people with what made them: bodies, poses, and what a detector tells."""
    draw = body.Draw(30_900_000, range(COUNT))
    bodies, ways = body.draw_body(draw), body.draw_pose(draw)
    points = people.Figure(bodies, None, ways, (64, 64)).keypoints()
    return bodies, ways, [Pose.of(one, (64, 64)) for one in points]


def apart(one, other):
    difference = (one - other) % 360
    return min(difference, 360 - difference)


@pytest.mark.parametrize("name", stances.PRESETS)
def test_presets_stand_where_the_person_stood(crowd, name):
    for like in crowd[2][:6]:
        pose = stances.preset(name, like)
        assert pose.missing() == () and len(pose.depth) == 18 and pose.size == like.size
        assert pose.depth[1] == 0
        feet = [
            max((p[f"{s}_ankle"] or (0, 0))[1] for s in ("left", "right")) for p in (like, pose)
        ]
        if feet[0]:
            assert feet[0] == pytest.approx(feet[1])
        assert posing.place(pose)[0] == pytest.approx(posing.place(like)[0])


def test_presets_are_what_they_are_called(crowd):
    like = crowd[2][0]
    pose = {name: stances.preset(name, like) for name in stances.PRESETS}
    for arm in ("right upper arm", "right forearm"):
        assert posing.angle(pose["T"], arm) == pytest.approx(-90)
    assert posing.angle(pose["T"], "left forearm") == pytest.approx(90)
    assert pose["wave"]["right_wrist"][1] < pose["wave"]["nose"][1]
    assert pose["stand"]["right_wrist"][1] > pose["stand"]["right_elbow"][1]
    assert pose["sit"]["neck"][1] > pose["stand"]["neck"][1] + 5
    assert pose["walk"]["left_ankle"][0] != pytest.approx(pose["walk"]["left_knee"][0], abs=1)
    with pytest.raises(ValueError, match="no preset 'fly': choose one of stand"):
        stances.preset("fly", like)


def test_proportions_are_taken_from_the_person(crowd):
    _, ways, poses = crowd
    made = [stances._proportions(like) for like in poses]
    units = torch.tensor([unit for unit, _ in made])
    assert ((units / (64 * ways.scale)) - 1).abs().mean() < 0.04
    tall = posing.bones(stances.preset("stand", posing.resized(poses[0], (128, 128))))
    small = posing.bones(stances.preset("stand", poses[0]))
    assert all(tall[bone] == pytest.approx(2 * small[bone]) for bone in small)


def test_nobody_in_particular_gets_a_person_of_usual_size():
    pose = stances.preset("stand", Pose((None,) * 18, (64, 64)))
    top, bottom = pose["nose"][1], pose["left_ankle"][1]
    assert 40 < bottom - top < 56 and top > 0 and bottom < 64


def test_chance_is_the_same_for_a_seed(crowd):
    like = crowd[2][0]
    assert stances.random(7, like) == stances.random(7, like) != stances.random(8, like)
    with pytest.raises(ValueError, match="seed is -1"):
        stances.random(-1, like)


def test_the_made_up_face_is_where_pictures_have_it(crowd):
    bodies, ways, poses = crowd
    joints = body.skeleton(bodies, ways)
    errors = []
    for i, pose in enumerate(poses):
        unit = 64 * float(ways.scale[i])
        middle = 31.5 + float(ways.x[i]) * 64, 64 * (0.485 + float(ways.y[i]))
        face = stances._face(
            *(joints[n][i].tolist() for n in ("crown", "chin")), float(ways.yaw[i])
        )
        errors += [
            math.dist(pose[joint], (middle[0] + x * unit, middle[1] + y * unit))
            for joint, (x, y, _) in face.items()
            if pose[joint]
        ]
    assert len(errors) > 60 and sum(errors) / len(errors) < 0.5


def test_facing_is_told_roughly_from_a_picture_and_exactly_from_depth(crowd):
    _, ways, poses = crowd
    errors = [
        apart(stances.facing(pose), math.degrees(yaw))
        for pose, yaw in zip(poses, ways.yaw.tolist(), strict=True)
        if stances.facing(pose) is not None
    ]
    assert len(errors) > 20 and torch.tensor(errors).median() < 12
    assert stances.facing(stances.preset("walk", poses[0])) == pytest.approx(40, abs=1e-4)
    assert stances.facing(Pose((None,) * 18, (64, 64))) is None


def test_turning_goes_on_from_where_one_faces(crowd):
    pose = stances.preset("T", crowd[2][0])
    quarter = stances.turned(pose, 90)
    assert stances.facing(quarter) == pytest.approx(90)
    assert abs(quarter["right_wrist"][0] - quarter["neck"][0]) < 1  # the arm points at us
    assert stances.facing(stances.with_facing(quarter, -120)) == pytest.approx(-120)
    assert stances.facing(stances.turned(pose, 180)) == pytest.approx(180)


def test_turning_back_gives_the_old_points(crowd):
    for pose in crowd[2][:8]:
        back = stances.turned(stances.turned(pose, 77), -77)
        for joint in OPENPOSE_18:
            if pose[joint]:
                assert back[joint] == pytest.approx(pose[joint])
        y = [p and p[1] for p in stances.turned(pose, 30).points]
        assert all(p is None or p[1] == v for p, v in zip(pose.points, y, strict=True))


def test_bones_keep_their_length_in_depth(crowd):
    pose = stances.preset("walk", crowd[2][0])
    before, after = stances._bones(pose), stances._bones(stances.turned(pose, 50))
    assert all(before[bone] == pytest.approx(after[bone]) for bone in before)


def test_a_face_comes_in_when_the_back_turns_round(crowd):
    front = stances.preset("stand", crowd[2][0])
    back = stances.seen(stances.turned(front, 180))
    assert set(back.missing()) >= {"nose", "right_eye", "left_eye"}
    flat = Pose(back.points, back.size)  # what a detector would tell
    assert abs(stances.facing(flat)) > 150
    again = stances.with_facing(flat, 0)
    assert again.missing() == ()
    assert again["nose"] == pytest.approx(front["nose"], abs=2)
    assert stances.seen(again).missing() == ()


def test_a_removed_nose_stays_away_when_one_faces_us(crowd):
    pose = posing.removed(Pose(stances.preset("stand", crowd[2][0]).points, (64, 64)), "nose")
    assert stances.turned(pose, 20).missing() == ("nose",)


def test_a_pose_without_depth_is_seen_as_it_is(crowd):
    assert stances.seen(crowd[2][0]) == crowd[2][0]


def test_a_turn_to_nowhere_is_refused(crowd):
    with pytest.raises(ValueError, match="turn is inf"):
        stances.turned(crowd[2][0], math.inf)
    nobody = Pose((None,) * 18, (64, 64))
    assert stances.turned(nobody, 20) == nobody
    with pytest.raises(ValueError, match="must be there"):
        stances.with_facing(nobody, 20)
