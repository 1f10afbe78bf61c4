"""What a text of key points says: its format, its people, its joints by their names.

The numbers stay as they are written; `gfla.data.pose_files` carries them over to a picture.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gfla.data import pasting
from gfla.data.posing import Point

MEDIAPIPE_33 = (
    *("nose", "left_eye_inner", "left_eye", "left_eye_outer", "right_eye_inner", "right_eye"),
    *("right_eye_outer", "left_ear", "right_ear", "mouth_left", "mouth_right"),
    *(f"{side}_{joint}"
      for joint in ("shoulder", "elbow", "wrist", "pinky", "index", "thumb",
                    "hip", "knee", "ankle", "heel", "foot_index")
      for side in ("left", "right")),
)  # fmt: skip
MEDIAPIPE = "MediaPipe-33"
# how sure a detector must be of a joint: OpenPose draws none below 0.05
CONFIDENCE = {MEDIAPIPE: 0.5}
_CONFIDENCE = 0.05
_LISTED = 3  # names in a message
_KEYS = (
    *("pose_keypoints_2d", "pose_keypoints", "keypoints"),
    *("pose_landmarks", "poseLandmarks", "landmarks", "landmark"),
)
EXPECTED = (
    "expected OpenPose JSON ('people' with 'pose_keypoints_2d' of 18 or 25 joints), COCO JSON "
    "('keypoints' of 17 joints), MediaPipe JSON (33 landmarks), or the authors' CSV"
)


class Person(NamedTuple):
    """One person in a file."""

    joints: dict[str, Point | None]  # as they are written; a neck is made of the shoulders
    format: str  # the order that the joints were written in
    reason: str  # why it is that one

    def extent(self) -> float:
        """Diagonal of the box around the joints."""
        there = [point for point in self.joints.values() if point]
        if not there:
            return -1.0
        xs, ys = zip(*there, strict=True)
        return math.hypot(max(xs) - min(xs), max(ys) - min(ys))


# ---------------------------------------------------------------- JSON


def people_of(
    text: str,
    which: str | None = None,
    size: tuple[int, int] | None = None,
    confidence: float | None = None,
) -> tuple[list[Person], tuple[int, int] | None, list[str]]:
    """Read the people of a JSON text.

    Args:
        text: the whole of it.
        which: name of the picture, where the text tells of several.
        size: (H, W) of the picture in pixels, which shares of its sides are multiplied with.
        confidence: of a joint, below which it is missing; None = what is usual for the format.

    Returns:
        The people in the order of the text; the canvas (H, W) that it names, or None; notes.

    Raises:
        ValueError: no JSON, or no key points in it; the message says what was expected.

    >>> people, canvas, _ = people_of("[[10, 5], [10, 12]" + ", null" * 15 + "]")
    >>> people[0].format, people[0].reason, people[0].joints["left_eye"]
    ('COCO-17', 'a list holds 17 joints', (10, 12))
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        found = f"found {text.strip()[:40]!r}" if text.strip() else "found nothing"
        raise ValueError(f"this is neither JSON ({error}) nor CSV, {found}; {EXPECTED}") from error
    entries, canvas, where = _entries(content, which)
    people, notes = [], []
    for entry, key in entries:
        if entry == []:  # a frame without this person
            continue
        person, shares = _person(entry, f"{where}{key}", confidence)
        if shares:
            if not (size or canvas):
                notes = ["Shares of unknown sides are read as of a square: give the size."]
            height, width = canvas = size or canvas or (1000, 1000)
            joints = {
                joint: p and (p[0] * width - 0.5, p[1] * height - 0.5)
                for joint, p in person.joints.items()
            }
            person = person._replace(joints=joints)
        people.append(person)
    return people, canvas, notes


def _entries(
    content: Any, which: str | None
) -> tuple[list[tuple[Any, str]], tuple[int, int] | None, str]:
    """What may be people, each with the key it lay under; the canvas; where they were."""
    if isinstance(content, dict) and isinstance(content.get("annotations"), list):
        return _annotations(content, which)
    canvas = _sides(content, ("canvas_height", "canvas_width")) or _sides(
        content, ("height", "width")
    )
    if isinstance(content, dict) and isinstance(content.get("people"), list):
        if not content["people"]:
            raise ValueError("nobody is in it: 'people' is empty")
        return [_opened(one) for one in content["people"]], canvas, "'people', "
    if _is_list_of(content, lambda one: isinstance(one, dict) and not _is_landmark(one)):
        held = [one for one in content if which is None or _is_of(one, which)]
        if not held:
            raise ValueError(f"none of its {len(content)} results is of the picture {which!r}")
        return [_opened(one) for one in held], canvas, "results, "
    inner, key = _opened(content)
    if _is_list_of(inner, lambda one: _is_list_of(one, _is_landmark)):  # MediaPipe: several people
        return [(one, key) for one in inner], canvas, ""
    return [(inner, key)], canvas, ""


def _annotations(
    content: dict[str, Any], which: str | None
) -> tuple[list[tuple[Any, str]], tuple[int, int] | None, str]:
    """People of one image of COCO's file."""
    told = [one for one in content.get("images") or [] if isinstance(one, dict)]
    images = {str(one.get("file_name", one.get("id"))): one for one in told}
    held, canvas = content["annotations"], None
    if images:
        name = one_of(images, which, "images")
        number, canvas = images[name].get("id"), _sides(images[name], ("height", "width"))
        if number is not None:
            held = [
                one for one in held
                if isinstance(one, dict) and one.get("image_id", number) == number
            ]  # fmt: skip
    if not held:
        raise ValueError("nobody is in it: no annotation belongs to the picture")
    return [_opened(one) for one in held], canvas, "'annotations', "


def one_of(names: Mapping[str, Any], which: str | None, what: str) -> str:
    """Find the entry that is meant.

    Args:
        names: what there is to choose from.
        which: the whole name, or another path that ends in the same file; None = the only one.
        what: the entries are called, for the message.

    Returns:
        One of the names.

    Raises:
        ValueError: several and none asked for, or no such entry; the message lists some.
    """
    some = ", ".join(list(names)[:_LISTED]) + (", …" if len(names) > _LISTED else "")
    if which is None:
        if len(names) == 1:
            return next(iter(names))
        raise ValueError(f"{len(names)} {what} are in it ({some}): say which picture is meant")
    wanted = Path(which).name
    found = [name for name in names if name == which or Path(name).name == wanted]
    if not found:
        raise ValueError(f"none of its {len(names)} {what} is called {which!r}; there are {some}")
    return found[0]


def _is_of(result: dict[str, Any], which: str) -> bool:
    """Whether a detector's result is of that picture; one that does not say is."""
    told = result.get("image_id", result.get("file_name", which))
    return str(told) in (which, Path(which).name, Path(which).stem.lstrip("0"))


def _opened(entry: Any) -> tuple[Any, str]:
    """The numbers in an object, and the key they lay under."""
    if not isinstance(entry, dict):
        return entry, "a list"
    for key in _KEYS:
        if key in entry and entry[key] is not None:
            inner = entry[key]
            return _opened(inner) if isinstance(inner, dict) else (inner, f"{key!r}")
    if "pose_world_landmarks" in entry or "poseWorldLandmarks" in entry:
        raise ValueError("world landmarks are metres: write 'pose_landmarks', those in the picture")
    held = ", ".join(map(repr, list(entry)[:5])) or "nothing"
    raise ValueError(f"no key points are in this object, it holds {held}; {EXPECTED}")


def _sides(content: Any, keys: Sequence[str]) -> tuple[int, int] | None:
    sides = [content.get(key) for key in keys] if isinstance(content, dict) else []
    if sides and all(isinstance(side, int) and 0 < side < 1e6 for side in sides):
        return sides[0], sides[1]
    return None


def _is_list_of(value: Any, kind: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and bool(value) and all(kind(one) for one in value)


def _is_landmark(value: Any) -> bool:
    return isinstance(value, dict) and "x" in value and "y" in value


# ---------------------------------------------------------------- joints


def _person(entry: Any, where: str, confidence: float | None) -> tuple[Person, bool]:
    """One person's joints by name, and whether they are shares of the picture's sides."""
    if not isinstance(entry, list):
        raise ValueError(f"{where} holds {str(entry)[:40]!r}; {EXPECTED}")
    orders = {len(joints): name for name, joints in pasting.ORDERS.items()}
    orders[len(MEDIAPIPE_33)] = MEDIAPIPE
    rows = _rows(entry, orders)
    if len(rows) not in orders:
        raise ValueError(f"{len(rows)} joints are in {where}; {EXPECTED}")
    order = orders[len(rows)]
    names = pasting.ORDERS.get(order, MEDIAPIPE_33)
    least = CONFIDENCE.get(order, _CONFIDENCE) if confidence is None else confidence
    joints = {name: _point(row, name, least) for name, row in zip(names, rows, strict=True)}
    if "neck" not in joints:
        joints["neck"] = _between(joints["right_shoulder"], joints["left_shoulder"])
    reason = f"{where} holds {len(rows)} joints"
    # landmarks may lie a little off the picture; nobody's pixels all do
    there = [value for point in joints.values() if point for value in point]
    shares = order == MEDIAPIPE and all(-2 <= value <= 3 for value in there)
    return Person(joints, order, reason), shares


def _rows(entry: list[Any], orders: Mapping[int, str]) -> list[Any]:
    """One row for each joint: x, y and, where it is told, how sure."""
    if any(isinstance(one, dict | list) for one in entry):
        if not all(one is None or isinstance(one, dict | list) for one in entry):
            raise ValueError(f"numbers stand beside rows in this list; {EXPECTED}")
        return [_landmark(one) if isinstance(one, dict) else one for one in entry]
    for wide in (
        3,
        2,
        4,
        5,
    ):  # 54, 75, 51, 99; 36, 50, 34, 66; MediaPipe's z comes before visibility
        joints, rest = divmod(len(entry), wide)
        if not rest and joints in orders and (wide < 4 or orders[joints] == MEDIAPIPE):
            rows = [entry[i : i + wide] for i in range(0, len(entry), wide)]
            return [[*row[:2], row[3]] for row in rows] if wide > 3 else rows
    raise ValueError(f"{len(entry)} numbers make no skeleton; {EXPECTED}")


def _landmark(landmark: dict[str, Any]) -> list[Any]:
    sure = landmark.get("visibility", landmark.get("score", landmark.get("confidence", 1)))
    return [landmark.get("x"), landmark.get("y"), sure]


def _point(row: Any, joint: str, least: float) -> Point | None:
    """One joint, None where it is missing."""
    if row is None or all(value is None for value in row):
        return None
    if len(row) not in (2, 3):
        raise ValueError(f"{joint} is {list(row)}: expected x, y and perhaps a confidence")
    for value in row:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not abs(value) < 1e6:  # NaN compares false
            raise ValueError(f"{joint} is {list(row)}: expected finite numbers x, y in pixels")
    x, y, *sure = row
    if sure:  # 0 is a place for who is sure, and nothing for who has no confidence at all
        return (x, y) if sure[0] > 0 and sure[0] >= least and (x, y) != (-1, -1) else None
    return None if -1 in (x, y) or (x, y) == (0, 0) else (x, y)


def _between(one: Point | None, other: Point | None) -> Point | None:
    return ((one[0] + other[0]) / 2, (one[1] + other[1]) / 2) if one and other else None
