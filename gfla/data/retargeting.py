"""Somebody's pose, taken by somebody else: the angles of the one, the bones of the other.

A bone of the target keeps its direction in the picture and is multiplied by

    r(bone) = L_source(kind) / L_target(kind),

L the longest bone of its kind, left or right, in the picture of either person. Where both show it
in full length this is the source's own bone; where the target points it at the camera, it stays as
foreshortened as it was. A stranger's height, the distance of the camera and the size of the picture
cancel.
"""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

from gfla.data import posing, stances
from gfla.data.keypoints import OPENPOSE_18
from gfla.data.posing import TREE, Point, Pose

# bone by its lower joint, the sides left out -> its kind; "spine" and "hip" begin at the mid-hip
_KINDS = {
    "shoulder": "shoulders", "elbow": "upper arms", "wrist": "forearms",
    "knee": "thighs", "ankle": "shins", "nose": "neck", "eye": "face", "ear": "face",
}  # fmt: skip
_LONG = ("spine", "thighs", "shins", "upper arms", "forearms")  # tell how large somebody is
# A kind whose ratio differs from the whole person's by more than this factor, either way, is not
# believed: people differ less, so one of the two shows it foreshortened.
BELIEVED = 1.5


class Retargeted(NamedTuple):
    """A pose with the bones of somebody else."""

    pose: Pose  # in the source's picture
    scale: float  # source's pixels for one of the target's, of the whole person
    ratios: dict[str, float]  # kind of bone -> what it was multiplied by
    notes: tuple[str, ...]  # sentences for the reader


def retarget(target: Pose, source: Pose) -> Retargeted:
    """Let one person take another one's pose.

    The hips come to where the source's are in x. In y the lower foot stands where the source's
    lower foot stands; unless both show their two ankles, the hips stay at the source's height.

    Args:
        target: the pose to take; missing joints stay missing.
        source: who takes it, in the picture that the result is for; may lack joints.

    Returns:
        The new pose and what was done. With the same bones on both sides it is the target, moved;
        retargeted to the target again it is the target, as long as every ratio was believed.

    Raises:
        ValueError: nobody in one of the poses, or no bone from which to tell how large they are.
    """
    ours, theirs = lengths(source), lengths(target)
    scale = _size_of(ours, "source") / _size_of(theirs, "target")
    ratios, doubted = {}, []
    for kind in dict.fromkeys(("spine", "hips", *_KINDS.values())):
        ratio = ours[kind] / theirs[kind] if ours.get(kind) and theirs.get(kind) else scale
        if not 1 / BELIEVED <= ratio / scale <= BELIEVED:
            doubted.append(kind)
            ratio = scale
        ratios[kind] = ratio
    places = _grown(target, ratios, scale)
    made = Pose(tuple(places.get(joint) for joint in OPENPOSE_18), source.size)
    dx, dy = _step(made, source)
    notes = []
    if doubted:
        notes.append(
            f"Foreshortened in one of the two pictures, so taken in proportion: "
            f"{', '.join(doubted)}."
        )
    return Retargeted(posing.shifted(made, dx, dy), scale, ratios, tuple(notes))


def lengths(pose: Pose) -> dict[str, float]:
    """Measure a person: kind of bone -> the longest of its kind, in pixels.

    Args:
        pose: the pose; its depth is not used.

    Returns:
        Only the kinds that are there: spine (neck to the middle of the hips), hips (half their
        width), shoulders (neck to shoulder), upper arms, forearms, thighs, shins, neck (to the
        nose) and face.

    >>> bent = Pose((None, (0.0, 0.0), (3.0, 4.0), *[None] * 15), (64, 64))
    >>> lengths(bent)
    {'shoulders': 5.0}
    """
    found: dict[str, float] = {}
    right, left = pose["right_hip"], pose["left_hip"]
    if right and left:
        found["hips"] = math.dist(right, left) / 2
        if pose["neck"]:
            found["spine"] = math.dist(pose["neck"], posing.middle(pose, ("right_hip", "left_hip")))
    for joint, length in posing.bones(pose).items():
        kind = _KINDS.get(joint.split("_")[-1])  # of hips there is none: they hang on the spine
        if kind:
            found[kind] = max(found.get(kind, 0.0), length)
    return found


@cache
def _usual() -> dict[str, float]:
    """Lengths of the procedural people's middle, one body height about 100."""
    return lengths(stances.preset("T", Pose((None,) * len(OPENPOSE_18), (114, 114))))


def _size_of(bones: dict[str, float], who: str) -> float:
    """How large somebody is, in usual people: by the bone that is foreshortened least."""
    sizes = [bones[kind] / _usual()[kind] for kind in _LONG if bones.get(kind)]
    sizes = sizes or [bones[kind] / _usual()[kind] for kind in bones if bones[kind]]
    if not sizes:
        raise ValueError(
            f"the {who} shows no bone with both ends, so nobody can say how large they are: give "
            "more joints, or take the pose as it is"
        )
    return max(sizes)


def _grown(target: Pose, ratios: dict[str, float], scale: float) -> dict[str, Point]:
    """The target's joints with the new bones; the middle of the hips stays in place."""
    hips = ("right_hip", "left_hip")
    both = target["right_hip"] and target["left_hip"]
    middle = posing.middle(target, hips) if both else None
    places: dict[str, Point] = {}
    if middle:
        for hip in hips:
            places[hip] = _stretched(middle, target[hip], middle, ratios["hips"])
        if target["neck"]:
            places["neck"] = _stretched(middle, target["neck"], middle, ratios["spine"])
    for joint in _from_the_root():
        if joint in places or not target[joint]:
            continue
        held = next((above for above in _above(joint) if above in places), None)
        kind = _KINDS.get(joint.split("_")[-1])
        if held is None:  # the first joint that is there, or one that nothing holds
            anchor, at = next(((target[j], p) for j, p in places.items()), (target[joint],) * 2)
            places[joint] = _stretched(anchor, target[joint], at, scale)
        else:
            near = held == TREE.get(joint) and kind is not None
            ratio = ratios[kind] if near else ratios["spine"] if joint in hips else scale
            places[joint] = _stretched(target[held], target[joint], places[held], ratio)
    return places


def _stretched(start: Point, end: Point, at: Point, ratio: float) -> Point:
    return at[0] + (end[0] - start[0]) * ratio, at[1] + (end[1] - start[1]) * ratio


@cache
def _from_the_root() -> tuple[str, ...]:
    """All joints, each after the one it hangs on."""
    return tuple(sorted(OPENPOSE_18, key=lambda joint: len(_above(joint))))


@cache
def _above(joint: str) -> tuple[str, ...]:
    """The joints that hold this one, nearest first."""
    return (TREE[joint], *_above(TREE[joint])) if joint in TREE else ()


def _step(made: Pose, source: Pose) -> Point:
    """How far the new pose has to move: hips over hips, the lower foot on the same floor."""
    here, there = posing.place(made), posing.place(source)
    if made["neck"] and source["neck"] and not (_has_hips(made) and _has_hips(source)):
        here, there = made["neck"], source["neck"]
    feet, floor = _lowest(made), _lowest(source)
    down = there[1] - here[1] if feet is None or floor is None else floor - feet
    return there[0] - here[0], down


def _has_hips(pose: Pose) -> bool:
    return bool(pose["right_hip"] and pose["left_hip"])


def _lowest(pose: Pose) -> float | None:
    """The floor: where the lower foot stands; None unless both ankles are there."""
    feet = [pose[f"{side}_ankle"] for side in ("right", "left")]
    return max(y for _, y in feet) if all(feet) else None
