"""What may be wrong with the key points of one picture, and what would put it right.

`gfla.data.pasting.suspicions` tells the order of the joints from the shape of a person. Here the
place in the picture and joints that are shuffled altogether join in; and since a mistake has a
handful of usual causes, each is undone for a trial. Nothing is put right unless it is asked for: a
person may stand on their head.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from gfla.data import posing
from gfla.data.bones import COCO_17, HUMAN36M_17
from gfla.data.keypoints import OPENPOSE_18
from gfla.data.pasting import suspicions
from gfla.data.posing import Point, Pose

# canvases that key points are told on, smallest first: what a wrong scale is explained with
CANVASES = ((128, 64), (256, 176), (256, 256), (368, 368), (512, 512), (1101, 750))

_JUMBLED = 0.25  # mean bone over the person's diagonal; procedural people stay below 0.22
_BONES = 12  # that this takes
_CORNER = 0.5  # of the picture's sides
_FACE = ("eye", "ear")
_BODY = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")


class Fault(NamedTuple):
    """Something that looks wrong."""

    what: str  # a sentence
    hint: str  # what to do about it; empty where nothing is known
    repair: str = ""  # of REPAIRS, that makes it look right


class Repair(NamedTuple):
    """A usual mistake, and its undoing."""

    mistake: str
    undo: Callable[[Pose], Pose]


def faults(pose: Pose, order: str = "") -> tuple[Fault, ...]:
    """Look for mistakes, and for their remedy.

    Args:
        pose: in pixels of the picture.
        order: the format that it was read from; some mistakes are made with one order alone.

    Returns:
        What looks wrong, the most telling first; none when it looks right.
    """
    places = _misplaced(pose)
    shapes = _misshapen(pose)
    if not shapes:
        return places
    name = remedy(pose, order)
    if not name:
        hint = "no usual mistake explains it: look at the drawing, perhaps the person bends"
        return (*places, *(Fault(what, hint) for what in shapes))
    hint = f"{REPAIRS[name].mistake}; it looks right after the repair {name!r}"
    return (*places, *(Fault(what, hint, name) for what in shapes))


def remedy(pose: Pose, order: str = "") -> str:
    """Find the repair after which the shape of the person looks right.

    Args:
        pose, order: as in `faults`.

    Returns:
        A name of REPAIRS; of several one after which the person is upright, then the one with the
        shortest bones; empty if there is none, or if nothing looks wrong.
    """
    if not _misshapen(pose):
        return ""
    able = [
        name for name in REPAIRS if order == "COCO-17" or name != "read as Human3.6M"
    ]  # only seventeen joints can be taken for seventeen others
    made = {name: REPAIRS[name].undo(pose) for name in able}
    sound = [name for name, other in made.items() if not _misshapen(other)]
    return min(
        sound, key=lambda name: (_lies(made[name]), round(_spread(made[name]), 6)), default=""
    )


def repaired(pose: Pose, name: str) -> Pose:
    """Undo a mistake.

    Args:
        pose: as it was read.
        name: of REPAIRS.

    Returns:
        The pose put right.

    Raises:
        ValueError: no such repair.
    """
    if name not in REPAIRS:
        raise ValueError(f"there is no repair {name!r}: choose one of {', '.join(REPAIRS)}")
    return REPAIRS[name].undo(pose)


# ---------------------------------------------------------------- what looks wrong


def _misshapen(pose: Pose) -> tuple[str, ...]:
    found = suspicions(pose)
    if _half_lies(pose):
        found = ("x and y look swapped: head, neck and shoulders lie along x.", *found)
    if _spread(pose) > _JUMBLED and len(posing.bones(pose)) >= _BONES:
        found = ("The bones run all over the person: the joints look shuffled.", *found)
    return found


def _spread(pose: Pose) -> float:
    """Mean length of the bones over the diagonal of the person."""
    there = [point for point in pose.points if point]
    if len(there) < 2:
        return 0.0
    xs, ys = zip(*there, strict=True)
    diagonal = math.hypot(max(xs) - min(xs), max(ys) - min(ys))
    bones = posing.bones(pose).values()
    return math.fsum(bones) / len(bones) / diagonal if bones and diagonal else 0.0


def _half_lies(pose: Pose) -> bool:
    """Whether a person without feet lies as everybody does when x and y are swapped."""
    if pose["right_ankle"] or pose["left_ankle"]:
        return False
    head = posing.middle(pose, ("nose", "right_eye", "left_eye", "right_ear", "left_ear"))
    neck, right, left = pose["neck"], pose["right_shoulder"], pose["left_shoulder"]
    if not (head and neck and right and left):
        return False
    along, down = neck[0] - head[0], abs(neck[1] - head[1])
    return along > 2 * down and abs(left[1] - right[1]) > 2 * abs(left[0] - right[0])


def _lies(pose: Pose) -> bool:
    """Whether the trunk is further across than down."""
    hips, neck = posing.middle(pose, ("right_hip", "left_hip")), pose["neck"]
    return bool(hips and neck) and hips[1] - neck[1] < abs(hips[0] - neck[0])


def _misplaced(pose: Pose) -> tuple[Fault, ...]:
    """What the place in the picture tells."""
    there = [point for point in pose.points if point]
    if not there:
        return (Fault("No joint is there.", "give the key points of another person"),)
    (height, width), (xs, ys) = pose.size, zip(*there, strict=True)
    out = sum(not (-0.5 <= x <= width - 0.5 and -0.5 <= y <= height - 0.5) for x, y in there)
    if len(there) > 2 and max(xs) - min(xs) < 3 and max(ys) - min(ys) < 3:
        return (
            Fault(
                "All joints lie within three pixels.",
                "are they shares of 1 or of -1 to 1? multiply them by the picture's sides",
            ),
        )
    if out > len(there) / 4:
        need = f"{math.ceil(max(xs)) + 1}×{math.ceil(max(ys)) + 1}"
        return (
            Fault(
                f"{out} of {len(there)} joints lie outside the picture of {width}×{height} pixels.",
                f"give the size of the picture that they were told in, at least {need}",
            ),
        )
    if max(xs) < _CORNER * width and max(ys) < _CORNER * height:
        fits = [(h, w) for h, w in CANVASES if max(ys) < h and max(xs) < w]
        guess = f", such as {fits[0][1]}×{fits[0][0]}" if fits else ""
        return (
            Fault(
                f"All joints lie in the upper left quarter of {width}×{height} pixels.",
                f"if the person does not, give the size that they were told in{guess}",
            ),
        )
    return ()


# ---------------------------------------------------------------- what puts it right


def _exchanged(*parts: str) -> Callable[[Pose], Pose]:
    """Right and left change places."""
    joints = {f"{side}_{part}" for side in ("right", "left") for part in parts}
    other = {"right": "left", "left": "right"}

    def undo(pose: Pose) -> Pose:
        names = [
            f"{other[joint.split('_')[0]]}_{joint.split('_')[1]}" if joint in joints else joint
            for joint in OPENPOSE_18
        ]
        return Pose(tuple(pose[name] for name in names), pose.size)

    return undo


def _turned_over(pose: Pose) -> Pose:
    """x and y change places; the picture stays."""
    return Pose(tuple(p and (p[1], p[0]) for p in pose.points), pose.size)


def _upside_down(pose: Pose) -> Pose:
    """y counted from the picture's lower rim."""
    bottom = pose.size[0] - 1
    return Pose(tuple(p and (p[0], bottom - p[1]) for p in pose.points), pose.size)


def _neck_last(pose: Pose) -> Pose:
    """Eighteen joints in COCO's order with the neck behind, taken for OpenPose's."""
    read = dict(zip((*COCO_17, "neck"), pose.points, strict=True))
    return Pose(tuple(read[joint] for joint in OPENPOSE_18), pose.size)


def _human36m(pose: Pose) -> Pose:
    """Seventeen joints of Human3.6M, taken for COCO's."""
    read: dict[str, Point | None] = {
        true: pose[taken] for true, taken in zip(HUMAN36M_17, COCO_17, strict=True)
    }
    read |= {"nose": read["neck"], "neck": read["thorax"]}  # as 2-D sets of Human3.6M place them
    return Pose(tuple(read.get(joint) for joint in OPENPOSE_18), pose.size)


REPAIRS = {
    "swap axes": Repair("y was written before x", _turned_over),
    "swap sides": Repair("left was written for right", _exchanged(*_BODY, *_FACE)),
    "swap sides of the face": Repair("left was written for right in the face", _exchanged(*_FACE)),
    "swap sides of the body": Repair(
        "left was written for right, except in the face", _exchanged(*_BODY)
    ),
    "swap arms": Repair(
        "left was written for right in the arms", _exchanged("shoulder", "elbow", "wrist")
    ),
    "swap legs": Repair(
        "left was written for right in the legs", _exchanged("hip", "knee", "ankle")
    ),
    "turn upside down": Repair("y was counted from below", _upside_down),
    "read as COCO with the neck last": Repair("the order is COCO's, the neck behind", _neck_last),
    "read as Human3.6M": Repair("the seventeen joints are Human3.6M's", _human36m),
}
