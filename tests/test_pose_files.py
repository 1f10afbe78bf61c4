"""One pose, written in every format, comes back; what is damaged is told in one sentence."""

import json

import pytest
import torch

from gfla.data import posing, stances
from gfla.data.keypoints import OPENPOSE_18, write_annotations
from gfla.data.pasting import ORDERS, to_json
from gfla.data.pose_files import FORMATS, read_pose
from gfla.data.pose_formats import MEDIAPIPE_33
from gfla.data.posing import Pose

SIZE = (256, 176)  # the canvas of the authors' files
STANDING = stances.preset("wave", Pose((None,) * 18, SIZE))
SHOULDERS = ("right_shoulder", "left_shoulder")
WHOLE = Pose(  # whole pixels, as the authors write them, and the neck where COCO's is made
    tuple((float(round(x)), float(round(y))) for x, y in STANDING.points), SIZE
)
WHOLE = posing.moved(WHOLE, "neck", posing.middle(WHOLE, SHOULDERS), stretch=True)


def numbers(names, pose=WHOLE, sure=0.9):
    """A flat list in some order; joints that OpenPose-18 lacks are at (9, 9)."""
    listed = []
    for joint in names:
        point = pose[joint] if joint in OPENPOSE_18 else (9.0, 9.0)
        listed += [*point, sure] if point else [0, 0, 0]
    return listed


def landmarks(pose=WHOLE, key=None):
    """What MediaPipe gives: shares of the sides, and how visible each is."""
    height, width = pose.size
    rows = []
    for joint in MEDIAPIPE_33:
        x, y = (pose[joint] or (0, 0)) if joint in OPENPOSE_18 else (9.0, 9.0)
        seen = 0.99 if joint not in OPENPOSE_18 or pose[joint] else 0.1
        rows.append(
            {"x": (x + 0.5) / width, "y": (y + 0.5) / height, "z": -0.3, "visibility": seen}
        )
    return rows


def openpose(order, *poses):
    return {"people": [{"pose_keypoints_2d": numbers(ORDERS[order], pose)} for pose in poses]}


def coco(pose=WHOLE):
    """An annotation file of two pictures, with a person in each."""
    larger = posing.resized(pose, (512, 352))
    return {
        "images": [
            {"id": 7, "file_name": "a/one.jpg", "height": 256, "width": 176},
            {"id": 8, "file_name": "a/two.jpg", "height": 512, "width": 352},
        ],
        "annotations": [
            {"image_id": 8, "keypoints": numbers(ORDERS["COCO-17"], larger)},
            {"image_id": 7, "keypoints": numbers(ORDERS["COCO-17"], pose)},
        ],
    }  # fmt: skip


WRITTEN = {
    "OpenPose-18": openpose("OpenPose-18", WHOLE),
    "OpenPose-18 of ControlNet": json.loads(to_json(posing.resized(WHOLE, (512, 352)))),
    "OpenPose BODY_25": openpose("OpenPose BODY_25", WHOLE),
    "COCO-17 as OpenPose writes": {"people": [{"pose_keypoints_2d": numbers(ORDERS["COCO-17"])}]},
    "COCO-17 results": [{"image_id": "one.jpg", "keypoints": numbers(ORDERS["COCO-17"])}],
    "COCO-17 annotations": coco(),
    "MediaPipe-33 list": landmarks(),
    "MediaPipe-33 of the old interface": {"pose_landmarks": {"landmark": landmarks()}},
    "MediaPipe-33 of the new interface": {"pose_landmarks": [landmarks()]},
    "MediaPipe-33 flat": [
        value for row in landmarks() for value in (row["x"], row["y"], -0.3, row["visibility"])
    ],
}


@pytest.fixture
def write(tmp_path):
    def written(content, name="pose.json"):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return written


def test_mediapipe_has_thirty_three_landmarks_in_its_order():
    assert len(set(MEDIAPIPE_33)) == 33
    places = {0: "nose", 11: "left_shoulder", 16: "right_wrist", 23: "left_hip", 28: "right_ankle"}
    assert {i: MEDIAPIPE_33[i] for i in places} == places


@pytest.mark.parametrize("kind", WRITTEN)
def test_every_format_gives_the_same_pose(kind, write):
    read = read_pose(write(WRITTEN[kind]), which="one.jpg", size=SIZE)
    assert kind.startswith(read.format) and read.format in FORMATS
    assert read.canvas == SIZE and read.points.shape == (18, 2)
    assert torch.allclose(read.points, WHOLE.tensor()[0], atol=1e-3)
    assert read.reason.endswith("joints") and read.people == 1
    assert any("no neck" in one for one in read.warnings) == (read.format[:4] in ("COCO", "Medi"))
    assert not any("look" in one for one in read.warnings), read.warnings


def test_the_authors_file_is_read_by_row(tmp_path):
    missing = posing.removed(WHOLE, "left_ear")
    rows = {"one.jpg": WHOLE.tensor()[0], "two.jpg": missing.tensor()[0]}
    path = write_annotations(tmp_path / "fasion-annotation-test.csv", rows)
    read = read_pose(path, which="some/where/two.jpg", size=(512, 352))
    assert read.format == "the authors' CSV" and read.pose().missing() == ("left_ear",)
    wanted = posing.resized(missing, (512, 352)).tensor()[0]
    assert torch.allclose(read.points, wanted, atol=1.001)  # the neck was rounded to a whole pixel
    assert read_pose(path, which="one.jpg").canvas == (256, 176)
    with pytest.raises(ValueError, match="2 rows are in it .one.jpg, two.jpg.: say which"):
        read_pose(path)
    with pytest.raises(ValueError, match="none of its 2 rows is called 'three.jpg'"):
        read_pose(path, which="three.jpg")


def test_the_image_that_is_meant_is_taken(write):
    path = write(coco())
    other = read_pose(path, which="two.jpg")
    assert other.canvas == (512, 352) and other.people == 1
    with pytest.raises(ValueError, match="2 images"):
        read_pose(path)


def test_of_several_people_the_largest_is_taken(write):
    small = posing.resized(WHOLE, (64, 44))
    path = write(openpose("OpenPose-18", small, WHOLE, posing.removed(WHOLE, "nose")))
    read = read_pose(path, size=SIZE)
    assert torch.allclose(read.points, WHOLE.tensor()[0]) and read.people == 3
    assert "3 people are in the file: the largest was taken." in read.warnings
    last = read_pose(path, person=2, size=SIZE)
    assert torch.allclose(last.points, small.tensor()[0])
    with pytest.raises(ValueError, match="person 3 was asked for: there are 0 to 2"):
        read_pose(path, person=3, size=SIZE)


def test_who_is_not_sure_is_missing(write):
    listed = numbers(OPENPOSE_18)
    listed[3 * 4 + 2] = 0.2  # right wrist
    path = write({"people": [{"pose_keypoints_2d": listed}, {"pose_keypoints_2d": []}]})
    assert read_pose(path, size=SIZE).pose().missing() == ()
    assert read_pose(path, size=SIZE, confidence=0.3).pose().missing() == ("right_wrist",)
    with pytest.raises(ValueError, match="none is sure enough"):
        read_pose(path, size=SIZE, confidence=1)
    unseen = posing.removed(WHOLE, "left_knee")
    assert read_pose(write(landmarks(unseen)), size=SIZE).pose().missing() == ("left_knee",)
    kept = read_pose(write(landmarks(unseen)), size=SIZE, confidence=0.05)
    assert kept.pose().missing() == ()


def test_a_canvas_that_nobody_names_ends_with_the_person(write):
    read = read_pose(write(openpose("OpenPose-18", WHOLE)))
    assert torch.allclose(read.points, WHOLE.tensor()[0])
    assert read.canvas[0] <= 256 and any("No canvas" in one for one in read.warnings)
    shares = read_pose(write(landmarks()))
    assert shares.canvas == (1000, 1000) and any("square" in one for one in shares.warnings)


@pytest.mark.parametrize(
    "content, told",
    [
        ("", "found nothing"),
        ("{", "neither JSON"),
        ("name,keypoints_y,keypoints_x\na,[1],[2]", "expected the header"),
        ("name:keypoints_y:keypoints_x\none.jpg:[1, 2]:[1, 2]", "the y list holds 2"),
        ("name:keypoints_y:keypoints_x\n", "0 rows are in it"),
        ({"people": []}, "'people' is empty"),
        ({"people": [{"pose_keypoints_2d": []}]}, "nobody is in it"),
        ({"pose_world_landmarks": landmarks()}, "world landmarks are metres"),
        ({"hands": [1]}, "it holds 'hands'"),
        ([1, 2, 3], "3 numbers make no skeleton"),
        ([[1, 2]] * 16, "16 joints"),
        ([[1, 2]] * 17 + [4], "numbers stand beside rows"),
        ([[1, float("nan")]] * 18, "nose is"),
        ([["1", "2"]] * 18, "nose is"),
        ([[1, 2, 3, 4]] * 18, "expected x, y and perhaps a confidence"),
        ({"annotations": []}, "no annotation belongs"),
    ],
)
def test_what_is_no_pose_is_refused_with_the_name_of_the_file(content, told, write):
    with pytest.raises(ValueError, match=told) as error:
        read_pose(write(content), size=SIZE)
    assert "pose.json" in str(error.value) and "\n" not in str(error.value)


def test_files_that_are_none(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file of key points"):
        read_pose(tmp_path / "no.json")
    (tmp_path / "picture.json").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(ValueError, match="is no text"):
        read_pose(tmp_path / "picture.json")
