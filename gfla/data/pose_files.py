"""Key points of one picture, from the files that detectors and data sets write.

A format is recognised by what the file holds, and the reason is told. Whatever it was, the joints
come out in the order of OPENPOSE_18 and through `gfla.data.pasting`, which carries them over to the
picture's size and says what looks wrong. What a file may look like:

* OpenPose JSON of 18 joints or of BODY_25's 25: "people", "pose_keypoints_2d"
* COCO's 17 joints: the same, results of a detector, or an annotation file with "images"
* MediaPipe's 33 landmarks, whose x and y are shares of the picture's width and height
* the authors' file of annotations, `name:keypoints_y:keypoints_x`
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from gfla.data import pasting
from gfla.data.keypoints import OPENPOSE_18, read_annotations
from gfla.data.pose_formats import EXPECTED, MEDIAPIPE, MEDIAPIPE_33, Person, one_of, people_of
from gfla.data.posing import Pose

AUTHORS = "the authors' CSV"
FORMATS = (*pasting.ORDERS, MEDIAPIPE, AUTHORS)

_CANVASES = {"fas": (256, 176), "mar": (128, 64)}  # of the authors' files, by how their names begin
_LARGEST = 200_000_000  # bytes; COCO's annotations of 2017 have ninety million


class KeyPoints(NamedTuple):
    """A person that was read from a file."""

    points: Tensor  # (18, 2) as (x, y) in pixels of the canvas, -1 = missing
    format: str  # of FORMATS
    canvas: tuple[int, int]  # (H, W) that the points refer to
    warnings: tuple[str, ...]  # sentences for the reader: what was chosen, made up, looks wrong
    reason: str = ""  # why it is that format
    people: int = 1  # in the file, or in the picture that was asked for

    def pose(self) -> Pose:
        """The same as a pose."""
        return Pose.of(self.points, self.canvas)


def read_pose(
    path: str | Path,
    which: str | None = None,
    person: int = 0,
    size: tuple[int, int] | None = None,
    confidence: float | None = None,
) -> KeyPoints:
    """Read the key points of one person.

    Args:
        path: the file; its ending does not matter.
        which: name of the picture, in a file that tells of several: a row of the authors' CSV, an
            image of COCO's annotations. With or without folder.
        person: 0 = the largest, 1 = the next, and so on.
        size: (H, W) of the picture that the points are for. Points that refer to another canvas,
            because the file names one or because they are shares of 1, are carried over. None =
            that canvas itself.
        confidence: of a joint, from 0 to 1, below which it counts as missing; by default 0.05, for
            MediaPipe 0.5.

    Returns:
        The key points in the order of OPENPOSE_18, in pixels of `size`, and what there is to say.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: damaged, of another format, nobody in it, no such picture or person; the
            message names the file and says what was expected.
    """
    path = Path(path)
    text = _text(path)
    try:
        if text.lstrip("\n ").startswith("name"):
            people, canvas, notes = _authors(path, which, size)
            return _told(people, canvas, notes, person, size)
        return read_text(text, which, person, size, confidence)
    except ValueError as error:
        raise ValueError(_named(error, path)) from error


def read_text(
    text: str,
    which: str | None = None,
    person: int = 0,
    size: tuple[int, int] | None = None,
    confidence: float | None = None,
) -> KeyPoints:
    """Read the key points of one person from the text of a JSON file.

    Args:
        text: the whole of it.
        which, person, size, confidence: as in `read_pose`.

    Returns:
        As `read_pose`.

    Raises:
        ValueError: as `read_pose`.

    >>> read_text("[[10, 5], [10, 12]" + ", null" * 16 + "]", size=(64, 64)).format
    'OpenPose-18'
    """
    if confidence is not None and not 0 <= confidence <= 1:
        raise ValueError(f"the confidence is {confidence}: give a share from 0 to 1")
    people, canvas, notes = people_of(text, which, size, confidence)
    return _told(people, canvas, notes, person, size)


def _told(
    people: list[Person],
    canvas: tuple[int, int] | None,
    notes: list[str],
    person: int,
    size: tuple[int, int] | None,
) -> KeyPoints:
    chosen, told = _choose(people, person)
    pose, more = _carried(chosen, canvas, size)
    return KeyPoints(
        pose.tensor()[0], chosen.format, pose.size, (*told, *notes, *more), chosen.reason,
        len(people),
    )  # fmt: skip


# ---------------------------------------------------------------- files


def _text(path: Path) -> str:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file of key points {path}: check the name")
    if path.stat().st_size > _LARGEST:
        raise ValueError(f"{path} has {path.stat().st_size:,} bytes: key points take far fewer")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text ({error}); {EXPECTED}") from error


def _named(error: ValueError, path: Path) -> str:
    return str(error) if str(path) in str(error) else f"{path}: {error}"


def _authors(
    path: Path, which: str | None, size: tuple[int, int] | None
) -> tuple[list[Person], tuple[int, int] | None, list[str]]:
    skeletons = read_annotations(path)
    name = one_of(skeletons, which, "rows")
    canvas = next(
        (c for start, c in _CANVASES.items() if path.name.lower().startswith(start)), None
    )
    notes = []
    if canvas is None and size is None:
        canvas = _CANVASES["fas"]
        notes.append("The file does not name its canvas: read as DeepFashion's, 176×256 pixels.")
    elif canvas:
        notes.append(f"The file's name says that its canvas is {canvas[1]}×{canvas[0]} pixels.")
    pose = Pose.of(skeletons[name], canvas or size)
    reason = "its first line is that of the authors' annotations"
    joints = dict(zip(OPENPOSE_18, pose.points, strict=True))
    return [Person(joints, AUTHORS, reason)], canvas, notes


# ---------------------------------------------------------------- the one that is meant


def _choose(people: list[Person], person: int) -> tuple[Person, list[str]]:
    """The person that was asked for, and what there is to say about the choice."""
    there = sorted(people, key=Person.extent, reverse=True)
    there = [one for one in there if any(one.joints.values())]
    if not there:
        raise ValueError("nobody is in it: all joints are missing, or none is sure enough")
    if not 0 <= person < len(there):
        raise ValueError(f"person {person} was asked for: there are 0 to {len(there) - 1}")
    notes = []
    if len(there) > 1:
        rank = "the largest" if person == 0 else f"number {person} by size"
        notes.append(f"{len(there)} people are in the file: {rank} was taken.")
    chosen = there[person]
    if "neck" not in pasting.ORDERS.get(chosen.format, MEDIAPIPE_33) and chosen.format != AUTHORS:
        made = "put half way between the shoulders" if chosen.joints["neck"] else "missing"
        notes.append(f"{chosen.format} has no neck: it was {made}.")
    return chosen, notes


def _carried(
    person: Person, canvas: tuple[int, int] | None, size: tuple[int, int] | None
) -> tuple[Pose, tuple[str, ...]]:
    """The pose in pixels of `size`, through the gate of `pasting`, and its notes."""
    points = [person.joints.get(joint) for joint in OPENPOSE_18]
    there = [point for point in points if point]
    shares = all(0 <= value <= 1 for point in there for value in point)
    notes: tuple[str, ...] = ()
    if not (size or canvas):  # a canvas of its own: as large as the person reaches
        canvas = (1000, 1000) if shares else tuple(
            max(1, math.ceil(max(point[axis] for point in there)) + 1) for axis in (1, 0)
        )  # fmt: skip
        notes = ("No canvas is told: taken to end where the person ends.",)
    content: dict[str, Any] = {"keypoints": [[*point, 1] if point else None for point in points]}
    if canvas and not shares:
        content |= {"canvas_height": canvas[0], "canvas_width": canvas[1]}
    parsed = pasting.parse(json.dumps(content), size or canvas)
    return parsed.pose, (*notes, *parsed.notes)
