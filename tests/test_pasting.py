"""What people paste is read, or refused with a sentence that says what was expected."""

import json

import pytest

from gfla.data import pasting, posing, stances
from gfla.data.keypoints import OPENPOSE_18
from gfla.data.pasting import ORDERS, parse, suspicions, to_json
from gfla.data.posing import Pose

SIZE = (64, 48)
STANDING = stances.preset("stand", Pose((None,) * 18, SIZE))
FLAT = Pose(tuple((round(x, 2), round(y, 2)) for x, y in STANDING.points), SIZE)


def written(order, pose=FLAT, sure=2):
    """The pose as a flat list in another order; joints that OpenPose-18 lacks are at (9, 9)."""
    numbers = []
    for joint in ORDERS[order]:
        point = pose[joint] if joint in OPENPOSE_18 else (9, 9)
        numbers += [*point, sure] if point else [0, 0, 0]
    return numbers


def close(one, other, joints=OPENPOSE_18):
    return all(one[joint] == pytest.approx(other[joint]) for joint in joints)


def test_the_orders_hold_what_they_are_known_to_hold():
    assert {name: len(set(joints)) for name, joints in ORDERS.items()} == {
        "OpenPose-18": 18, "OpenPose BODY_25": 25, "COCO-17": 17,
    }  # fmt: skip
    assert ORDERS["OpenPose BODY_25"].index("right_eye") == 15
    assert ORDERS["OpenPose BODY_25"].index("left_ankle") == 14
    assert ORDERS["COCO-17"][1] == "left_eye" and ORDERS["COCO-17"][16] == "right_ankle"


def test_what_is_written_is_read_again():
    pose = posing.removed(FLAT, "left_ear")
    parsed = parse(to_json(pose))
    assert parsed.pose == pose and parsed.order == "OpenPose-18"
    assert parsed.notes == ("Missing: left ear.",)
    assert json.loads(to_json(pose))["people"][0]["pose_keypoints_2d"][-3:] == [0, 0, 0]


@pytest.mark.parametrize("order", ["OpenPose-18", "OpenPose BODY_25"])
@pytest.mark.parametrize("wrap", ["people", "person", "bare", "rows", "pairs"])
def test_openpose_is_read_however_it_is_wrapped(order, wrap):
    numbers = written(order)
    rows = [numbers[i : i + 3] for i in range(0, len(numbers), 3)]
    content = {
        "people": {"version": 1.3, "people": [{"pose_keypoints_2d": numbers}]},
        "person": {"pose_keypoints_2d": numbers},
        "bare": numbers,
        "rows": rows,
        "pairs": [row[:2] for row in rows],
    }[wrap]
    parsed = parse(json.dumps(content), SIZE)
    assert parsed.pose == FLAT and parsed.order == order and parsed.notes == ()


@pytest.mark.parametrize("wrap", ["file", "results", "annotation"])
def test_coco_gets_a_neck(wrap):
    person = {"image_id": 3, "keypoints": written("COCO-17")}
    content = {
        "file": {"images": [{"height": 64, "width": 48}], "annotations": [person]},
        "results": [person],
        "annotation": person,
    }[wrap]
    parsed = parse(json.dumps(content), None if wrap == "file" else SIZE)
    assert parsed.order == "COCO-17" and parsed.pose.size == SIZE
    assert close(parsed.pose, FLAT, [j for j in OPENPOSE_18 if j != "neck"])
    shoulders = ("right_shoulder", "left_shoulder")
    assert parsed.pose["neck"] == pytest.approx(posing.middle(FLAT, shoulders))
    assert any("neck" in note for note in parsed.notes)


def test_coco_without_a_shoulder_has_no_neck():
    pose = posing.removed(FLAT, "left_shoulder")
    parsed = parse(json.dumps(written("COCO-17", pose)), SIZE)
    assert parsed.pose.missing() == ("neck", "left_shoulder")
    assert any("it was missing" in note for note in parsed.notes)


@pytest.mark.parametrize("row", [[0, 0, 0], [5, 5, 0.01], None, [-1, -1, 1], [None, None, None]])
def test_missing_joints_in_threes(row):
    rows = [[*point, 1] for point in FLAT.points]
    rows[4] = row
    assert parse(json.dumps(rows), SIZE).pose.missing() == ("right_wrist",)


@pytest.mark.parametrize("row", [[0, 0], [-1, -1], None])
def test_missing_joints_in_pairs(row):
    rows = [list(point) for point in FLAT.points]
    rows[4] = row
    assert parse(json.dumps(rows), SIZE).pose.missing() == ("right_wrist",)


def test_the_corner_is_a_place_for_who_is_sure():
    rows = [[*point, 1] for point in FLAT.points]
    rows[4] = [0, 0, 1]
    assert parse(json.dumps(rows), SIZE).pose["right_wrist"] == (0, 0)


def test_another_canvas_is_carried_over():
    large = posing.resized(FLAT, (256, 192))
    parsed = parse(to_json(large), SIZE)
    assert parsed.pose.size == SIZE and any("192×256 to 48×64" in note for note in parsed.notes)
    assert all(
        abs(a - b) < 0.01
        for joint in OPENPOSE_18
        for a, b in zip(parsed.pose[joint], FLAT[joint], strict=True)
    )


def test_shares_are_told_from_pixels():
    rows = [[(x + 0.5) / 48, (y + 0.5) / 64] for x, y in FLAT.points]
    parsed = parse(json.dumps(rows), SIZE)
    assert close(parsed.pose, FLAT) and "shares" in parsed.notes[0]


def test_joints_outside_are_told():
    parsed = parse(to_json(posing.shifted(FLAT, 30, 0)), SIZE)
    assert any("outside the picture of 48×64" in note for note in parsed.notes)


def test_of_several_people_the_most_complete_is_taken():
    few = posing.removed(posing.removed(FLAT, "nose"), "neck")
    people = [{"pose_keypoints_2d": written("OpenPose-18", pose)} for pose in (few, FLAT, few)]
    parsed = parse(json.dumps({"people": people}), SIZE)
    assert parsed.pose == FLAT and "3 people" in parsed.notes[0]


@pytest.mark.parametrize(
    "text, told",
    [
        ("", "found nothing"),
        ("elbow up please", "found 'elbow up please'"),
        ("[" * 100_000, "not JSON"),
        ("3", "expected OpenPose JSON"),
        ("[]", "0 numbers"),
        ('{"people": []}', "'people' is empty"),
        ('{"hands": [1], "face": 2}', "it holds 'hands', 'face'"),
        ("[1, 2, 3]", "3 numbers make no skeleton"),
        (json.dumps([[1, 2]] * 16), "16 joints"),
        (json.dumps([[1, 2]] * 17 + [[1, 2, 3]]), r"ragged, lengths \[2, 3\]"),
        (json.dumps([[1, 2]] * 17 + [4]), "ragged"),
        (json.dumps([[1, 2, 3, 4]] * 18), "ragged"),
        (json.dumps([[1, float("nan")]] * 18), "nose is"),
        (json.dumps([[1, 1e9]] * 18), "nose is"),
        (json.dumps([["1", "2"]] * 18), "nose is"),
        (json.dumps([[1, None]] * 18), "nose is"),
        (json.dumps([0] * 54), "all 18 joints are missing"),
        (" " * 2_000_001, "no pose of one person"),
    ],
)
def test_what_is_no_pose_is_refused(text, told):
    with pytest.raises(ValueError, match=told):
        parse(text, SIZE)


def test_a_size_must_be_known():
    with pytest.raises(ValueError, match="give the picture's size"):
        parse(json.dumps([[1, 2]] * 18))


def swapped(pose, *parts):
    places = {j: pose[j] for j in OPENPOSE_18}
    for part in parts:
        places[f"right_{part}"], places[f"left_{part}"] = (
            pose[f"left_{part}"],
            pose[f"right_{part}"],
        )
    return Pose(tuple(places[j] for j in OPENPOSE_18), pose.size)


BODY = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")


@pytest.mark.parametrize(
    "pose, told",
    [
        (swapped(FLAT, *BODY), "Left and right look swapped: the face"),
        (swapped(FLAT, "eye", "ear"), "swapped in the face"),
        (swapped(FLAT, *BODY, "eye", "ear"), "swapped throughout"),
        (swapped(FLAT, "hip", "knee", "ankle"), "crossed"),
        (Pose(tuple((y, x) for x, y in FLAT.points), (48, 64)), "x and y look swapped"),
        (Pose(tuple((x, 63 - y) for x, y in FLAT.points), SIZE), "head is below the hips"),
        (posing.moved(FLAT, "left_wrist", (3.0, 62.0), stretch=True), "left wrist is far from"),
    ],
)
def test_a_wrong_order_is_suspected(pose, told):
    assert any(told in sentence for sentence in suspicions(pose)), suspicions(pose)
    assert any(told in sentence for sentence in parse(to_json(pose)).notes)


def test_a_right_order_is_not_suspected():
    for degrees in range(0, 360, 30):
        turned = stances.seen(stances.turned(STANDING, degrees))
        assert suspicions(turned) == (), degrees
    assert suspicions(Pose((None,) * 18, SIZE)) == ()
    for name in stances.PRESETS:
        assert suspicions(stances.preset(name, STANDING)) == (), name


def test_people_as_they_are_drawn_are_not_suspected():
    from gfla.data import people

    batch = people.pairs(32, seed=30_950_000)
    poses = [Pose.of(points, (64, 64)) for points in batch["source_keypoints"]]
    suspected = [sentence for pose in poses for sentence in suspicions(pose)]
    assert len(suspected) <= 2, suspected
    assert pasting.parse(to_json(poses[0])).pose.missing() == poses[0].missing()
