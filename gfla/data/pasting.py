"""A pose as text: written as OpenPose writes it, read from what others write, its order checked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from gfla.data import posing
from gfla.data.keypoints import OPENPOSE_18
from gfla.data.posing import Point, Pose


class Parsed(NamedTuple):
    """A pose that was read, and what there is to say about it."""

    pose: Pose
    order: str  # a key of ORDERS
    notes: tuple[str, ...]  # sentences for the reader: what was made up, what looks swapped


_COCO = (
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear"),
    *(f"{side}_{joint}" for joint in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
      for side in ("left", "right")),
)  # fmt: skip
_BODY_25 = (
    *OPENPOSE_18[:8], "middle_hip", *OPENPOSE_18[8:],
    *(f"{side}_{part}" for side in ("left", "right") for part in ("big_toe", "small_toe", "heel")),
)  # fmt: skip
# the orders that are understood: what the joints of a text are called, one after the other
ORDERS = {"OpenPose-18": OPENPOSE_18, "OpenPose BODY_25": _BODY_25, "COCO-17": _COCO}

_EXPECTED = (
    "expected OpenPose JSON ('people' with 'pose_keypoints_2d' of 18 or 25 joints), COCO JSON "
    "('keypoints' of 17 joints), or a list of 18 pairs [x, y]"
)
_LONGEST = 2_000_000  # characters; one person takes about a thousand
_UNSURE = 0.05  # OpenPose draws no joint it is less sure of


def to_json(pose: Pose) -> str:
    """Write a pose as OpenPose's people JSON.

    Args:
        pose: the pose; its depth is not written.

    Returns:
        One line: `people` with one `pose_keypoints_2d` of 18 · (x, y, 1), pixels with three
        decimals, 0, 0, 0 where a joint is missing; beside it `canvas_height`, `canvas_width`.

    >>> parse(to_json(Pose(((5.0, 7.5), *[None] * 17), (64, 48)))).pose.points[0]
    (5.0, 7.5)
    """
    numbers = [
        value
        for point in pose.points
        for value in ((round(point[0], 3), round(point[1], 3), 1) if point else (0, 0, 0))
    ]
    height, width = pose.size
    people = [{"pose_keypoints_2d": numbers}]
    return json.dumps({"people": people, "canvas_height": height, "canvas_width": width})


def parse(text: str, size: tuple[int, int] | None = None) -> Parsed:
    """Read a pose that somebody pasted.

    Missing is what has confidence (or COCO visibility) 0, a joint that OpenPose is less than 5 %
    sure of, null, or -1; without confidences also (0, 0). COCO has no neck: it is put half way
    between the shoulders, as the detectors do that train on COCO.

    Args:
        text: OpenPose JSON ("people", "pose_keypoints_2d", 18 or 25 joints), COCO JSON (a person
            with "keypoints", a list of results, or a file with "annotations"), or a list of 17, 18
            or 25 points alone, in pairs, in threes or in one row. Of several people the one with
            most joints is taken.
        size: (H, W) of the picture that the pose is for. Numbers that refer to another size,
            because the text names its canvas or because all are shares of 1, are carried over.

    Returns:
        Pose, order of the joints in the text, and notes.

    Raises:
        ValueError: no JSON, another number of joints, ragged rows, a number that is not finite,
            nobody in it, or no size; the message says what was expected.

    >>> parse("[[10, 5], [10, 12]" + ", [-1, -1]" * 16 + "]", (64, 64)).order
    'OpenPose-18'
    """
    if len(text) > _LONGEST:
        raise ValueError(f"{len(text):,} characters are no pose of one person; {_EXPECTED}")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        found = f"found {text.strip()[:40]!r}" if text.strip() else "found nothing"
        raise ValueError(f"this is not JSON ({error}), {found}; {_EXPECTED}") from error
    people, canvas = _people(content), _canvas(content)
    rows = [_rows(person) for person in people]
    found = [_joints(these) for these in rows]
    order, joints = max(found, key=lambda one: sum(p is not None for p in one[1].values()))
    notes = []
    if len(people) > 1:
        notes.append(f"{len(people)} people are in this text: the most complete one was taken.")
    if not any(joints.values()):
        raise ValueError(f"nobody is in this text: all {len(joints)} joints are missing")
    size = size or canvas
    if size is None:
        raise ValueError("the text does not name its canvas: give the picture's size, (H, W)")
    if order == "COCO-17":
        joints["neck"] = _halfway(joints["right_shoulder"], joints["left_shoulder"])
        made = "put half way between the shoulders" if joints["neck"] else "missing"
        notes.append(f"COCO has no neck: it was {made}.")
    pose, carried = _onto(tuple(joints.get(joint) for joint in OPENPOSE_18), canvas, size)
    notes += carried
    if absent := pose.missing():
        notes.append(f"Missing: {', '.join(absent).replace('_', ' ')}.")
    return Parsed(pose, order, (*notes, *suspicions(pose)))


def suspicions(pose: Pose) -> tuple[str, ...]:
    """What looks wrong in the order of the joints.

    Nothing is put right: a person may stand on their head.

    Args:
        pose: the pose.

    Returns:
        Sentences; none when it looks right.
    """
    head = posing.middle(pose, ("nose", "right_eye", "left_eye", "right_ear", "left_ear", "neck"))
    hips = posing.middle(pose, ("right_hip", "left_hip"))
    feet = posing.middle(pose, ("right_ankle", "left_ankle"))
    found = []
    if head and hips and feet and _rises(head, hips, feet, 0) and not _rises(head, hips, feet, 1):
        found.append("x and y look swapped: the person lies, head to feet, along x.")
    else:
        if head and hips and head[1] > hips[1]:
            found.append("The head is below the hips: is the order of the joints right?")
        if hips and feet and feet[1] < hips[1]:
            found.append("The ankles are above the hips: is the order of the joints right?")
    face, body = _across(pose, "eye", "ear"), _across(pose, "shoulder", "hip")
    if face * body < 0 and pose["nose"]:
        found.append(
            "Left and right look swapped: the face looks at us, the body's sides say it is turned "
            "away."
            if face > 0
            else "Left and right look swapped in the face: it shows its nose and faces away."
        )
    elif face < 0 and body < 0 and all(pose[one] for one in ("nose", "right_eye", "left_eye")):
        found.append(
            "Left and right look swapped throughout: both eyes and the nose are seen, and every "
            "side says that the person is turned away."
        )
    elif _across(pose, "shoulder") * _across(pose, "hip") < 0:
        found.append("Shoulders and hips are crossed: left and right may be swapped in one pair.")
    return (*found, *_uneven(pose))


# ---------------------------------------------------------------- inside


def _people(content: Any) -> list[Any]:
    """What may be the numbers of a person, one for each."""
    if isinstance(content, dict):
        for key in ("people", "annotations"):
            if isinstance(content.get(key), list):
                if not content[key]:
                    raise ValueError(f"nobody is in this text: {key!r} is empty")
                return [_numbers(person) for person in content[key]]
        return [_numbers(content)]
    if isinstance(content, list) and content and all(isinstance(one, dict) for one in content):
        return [_numbers(person) for person in content]
    return [_numbers(content)]


def _numbers(person: Any) -> list[Any]:
    if isinstance(person, dict):
        for key in ("pose_keypoints_2d", "pose_keypoints", "keypoints"):
            if isinstance(person.get(key), list):
                return person[key]
        held = ", ".join(map(repr, list(person)[:5])) or "nothing"
        raise ValueError(f"no key points are in this object, it holds {held}; {_EXPECTED}")
    if not isinstance(person, list):
        raise ValueError(f"this is {str(person)[:40]!r}; {_EXPECTED}")
    return person


def _canvas(content: Any) -> tuple[int, int] | None:
    """(H, W) that the text says its numbers refer to: ControlNet's keys, or COCO's image."""
    for where in (content, *(content.get("images") or () if isinstance(content, dict) else ())):
        if isinstance(where, dict):
            for keys in (("canvas_height", "canvas_width"), ("height", "width")):
                sides = [where.get(key) for key in keys]
                if all(isinstance(side, int) and 0 < side < 1e6 for side in sides):
                    return sides[0], sides[1]
    return None


def _rows(numbers: list[Any]) -> list[Sequence[Any]]:
    """Rows of two or three numbers, one for each joint; null stays None."""
    counts = {len(joints): order for order, joints in ORDERS.items()}
    if any(isinstance(row, list) for row in numbers):
        lengths = sorted({len(row) for row in numbers if isinstance(row, list)})
        if lengths not in ([2], [3]) or not all(
            row is None or isinstance(row, list) for row in numbers
        ):
            raise ValueError(f"the rows of this list are ragged, lengths {lengths}; {_EXPECTED}")
        rows = numbers
    else:
        # 54 and 36, 75 and 50, 51 and 34: no two orders can be mistaken for one another
        wide = next((n for n in (3, 2) if len(numbers) % n == 0 and len(numbers) // n in counts), 0)
        if not wide:
            raise ValueError(f"{len(numbers)} numbers make no skeleton; {_EXPECTED}")
        rows = [numbers[i : i + wide] for i in range(0, len(numbers), wide)]
    if len(rows) not in counts:
        raise ValueError(f"{len(rows)} joints are in this list; {_EXPECTED}")
    return rows


def _joints(rows: list[Sequence[Any]]) -> tuple[str, dict[str, Point | None]]:
    order = next(order for order, joints in ORDERS.items() if len(joints) == len(rows))
    return order, {
        joint: _point(row, joint) for joint, row in zip(ORDERS[order], rows, strict=True)
    }


def _point(row: Sequence[Any] | None, joint: str) -> Point | None:
    """One joint, None where it is missing."""
    if row is None or all(value is None for value in row):
        return None
    for value in row:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not abs(value) < 1e6:  # NaN compares false
            raise ValueError(f"{joint} is {list(row)}: expected finite numbers x, y in pixels")
    x, y, *sure = row
    if sure:
        return (x, y) if sure[0] >= _UNSURE and (x, y) != (-1, -1) else None
    return None if -1 in (x, y) or (x, y) == (0, 0) else (x, y)


def _onto(
    points: tuple[Point | None, ...], canvas: tuple[int, int] | None, size: tuple[int, int]
) -> tuple[Pose, list[str]]:
    """The points as a pose of that size, and what was done for it."""
    there = [point for point in points if point]
    if len(there) > 1 and all(0 <= value <= 1 for point in there for value in point):
        shares = tuple(p and (p[0] * size[1] - 0.5, p[1] * size[0] - 0.5) for p in points)
        return Pose(shares, size), ["All numbers lie between 0 and 1: read as shares of the sides."]
    if canvas and canvas != tuple(size):
        carried = posing.resized(Pose(points, canvas), size)
        return carried, [
            f"Carried over from {canvas[1]}×{canvas[0]} to {size[1]}×{size[0]} pixels."
        ]
    out = sum(not (-0.5 <= x <= size[1] - 0.5 and -0.5 <= y <= size[0] - 0.5) for x, y in there)
    told = f"{out} of {len(there)} joints lie outside the picture of {size[1]}×{size[0]} pixels"
    return Pose(points, size), [f"{told}: do the numbers refer to another size?"] if out else []


def _halfway(one: Point | None, other: Point | None) -> Point | None:
    return ((one[0] + other[0]) / 2, (one[1] + other[1]) / 2) if one and other else None


def _rises(head: Point, hips: Point, feet: Point, axis: int) -> bool:
    """Whether head, hips and feet follow one another along an axis, clearly."""
    other = 1 - axis
    long, short = feet[axis] - head[axis], abs(feet[other] - head[other])
    return head[axis] < hips[axis] < feet[axis] and long > 2 * short


def _across(pose: Pose, *parts: str) -> float:
    """Left minus right in x, summed over pairs that are clearly apart; 0 = cannot say."""
    total = 0.0
    for part in parts:
        right, left = pose[f"right_{part}"], pose[f"left_{part}"]
        if right and left and abs(left[0] - right[0]) > 0.02 * pose.size[0]:
            total += left[0] - right[0]
    return total


def _uneven(pose: Pose) -> list[str]:
    """Bones that are too long for this person: joints may have changed places."""
    bones = posing.bones(pose)
    longest = max(bones.get("right_hip", 0.0), bones.get("left_hip", 0.0))
    limbs = [f"{side}_{joint}" for side in ("right", "left")
             for joint in ("elbow", "wrist", "knee", "ankle")]  # fmt: skip
    far = [joint for joint in limbs if longest and bones.get(joint, 0.0) > 1.6 * longest]
    return [
        f"The {joint} is far from the {posing.TREE[joint]}: is the order right?".replace("_", " ")
        for joint in far
    ]
