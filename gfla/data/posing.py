"""A pose that is edited: 18 OpenPose joints, the tree that they hang in, and the ways to move them.

Everything here is data in, data out: a `Pose` never changes, an edit gives a new one. Ready-made
poses are in `gfla.data.stances`, reading and writing of JSON in `gfla.data.pasting`.

An angle is told in the picture, in degrees: a segment that hangs straight down has 0, one that
points to the viewer's right +90, to the viewer's left -90, straight up 180. Turning a segment
turns everything that hangs on it, and no bone changes its length.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gfla.data.keypoints import LIMB_COLORS, LIMBS, MISSING, OPENPOSE_18, check_skeletons

Point = tuple[float, float]

ROOT = "neck"
# joint -> the joint that it hangs on
TREE = {
    "nose": "neck",
    **{f"{side}_shoulder": "neck" for side in ("right", "left")},
    **{f"{side}_elbow": f"{side}_shoulder" for side in ("right", "left")},
    **{f"{side}_wrist": f"{side}_elbow" for side in ("right", "left")},
    **{f"{side}_hip": "neck" for side in ("right", "left")},
    **{f"{side}_knee": f"{side}_hip" for side in ("right", "left")},
    **{f"{side}_ankle": f"{side}_knee" for side in ("right", "left")},
    **{f"{side}_eye": "nose" for side in ("right", "left")},
    **{f"{side}_ear": f"{side}_eye" for side in ("right", "left")},
}
# what a slider turns, in the order in which sliders are shown
SEGMENTS = (
    *("head", "torso", "shoulders"),
    *("right upper arm", "right forearm", "left upper arm", "left forearm"),
    *("right thigh", "right shin", "left thigh", "left shin"),
)

_BONES = {"upper arm": ("shoulder", "elbow"), "forearm": ("elbow", "wrist")}
_BONES |= {"thigh": ("hip", "knee"), "shin": ("knee", "ankle")}
_PLACE = {joint: place for place, joint in enumerate(OPENPOSE_18)}
_HIPS, _SHOULDERS = ("right_hip", "left_hip"), ("right_shoulder", "left_shoulder")
_FACE = ("nose", "right_eye", "left_eye", "right_ear", "left_ear")


@dataclass(frozen=True)
class Pose:
    """18 joints in a picture.

    Args:
        points: 18 (x, y) in pixels, in the order of OPENPOSE_18; None = missing.
        size: (H, W) of the picture in pixels.
        depth: 18 distances towards the viewer in pixels, 0 at the neck; empty = never looked at
            from another side (`gfla.data.stances.turned` makes them up).

    Raises:
        ValueError: not 18 joints, a coordinate that is not finite, a size below one pixel.

    >>> pose = Pose.of(torch.full((18, 2), 5.0), (64, 64))
    >>> pose["left_ear"], pose.missing(), pose.tensor().shape
    ((5.0, 5.0), (), torch.Size([1, 18, 2]))
    """

    points: tuple[Point | None, ...]
    size: tuple[int, int]
    depth: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        joints = len(OPENPOSE_18)
        if len(self.points) != joints or len(self.depth) not in (0, joints):
            raise ValueError(
                f"{len(self.points)} points with {len(self.depth)} depths: expected {joints} "
                f"points in the order of OPENPOSE_18, and as many depths or none"
            )
        if len(self.size) != 2 or min(self.size) < 1:
            raise ValueError(f"size is {self.size}, expected (H, W) in pixels, each at least 1")
        kept = tuple(
            None if point is None else _finite(point, joint)
            for joint, point in zip(OPENPOSE_18, self.points, strict=True)
        )
        object.__setattr__(self, "points", kept)
        object.__setattr__(self, "size", (int(self.size[0]), int(self.size[1])))
        object.__setattr__(self, "depth", tuple(float(z) for z in self.depth))

    @staticmethod
    def of(keypoints: Tensor, size: tuple[int, int]) -> Pose:
        """The pose of (18, 2) or (1, 18, 2) key points in pixels, -1 = missing.

        Raises:
            ValueError: another shape, several people, a coordinate that is not finite.
        """
        check_skeletons(keypoints)
        if keypoints.numel() != 2 * len(OPENPOSE_18):
            raise ValueError(f"key points of shape {tuple(keypoints.shape)}: give one person")
        rows = keypoints.detach().cpu().double().reshape(-1, 2).tolist()
        return Pose(tuple(None if MISSING in row else (row[0], row[1]) for row in rows), size)

    def tensor(self) -> Tensor:
        """(1, 18, 2) float32 as (x, y) in pixels, -1 = missing.

        A joint that is there and has a coordinate of exactly -1 is moved by a hundredth of a pixel.
        """
        away = MISSING - 0.01
        rows = [
            (MISSING, MISSING) if p is None else tuple(away if c == MISSING else c for c in p)
            for p in self.points
        ]
        return torch.tensor([rows], dtype=torch.float32)

    def __getitem__(self, joint: str) -> Point | None:
        """Where a joint is, by its name."""
        return self.points[_place(joint)]

    def missing(self) -> tuple[str, ...]:
        """Names of the joints that are not there."""
        return tuple(j for j, p in zip(OPENPOSE_18, self.points, strict=True) if p is None)


def angle(pose: Pose, segment: str) -> float | None:
    """Angle of a segment in the picture.

    Args:
        pose: the pose.
        segment: of SEGMENTS. "head" runs from the neck to the nose, or where that is missing to
            the middle of what there is of the face; "torso" from the neck to the middle of the
            hips; "shoulders" from the person's right to their left (about 90 when they face us).

    Returns:
        Degrees in (-180, 180], 0 = down, positive towards the viewer's right; None when a joint
        that it needs is missing.

    Raises:
        ValueError: no such segment.

    >>> angle(Pose(((0, 0), (0, 10), *[None] * 16), (64, 64)), "head")
    180.0
    """
    start, end, _, _ = _segment(pose, segment)
    if start is None or end is None:
        return None
    degrees = math.degrees(math.atan2(end[0] - start[0], end[1] - start[1]))
    return 180.0 if degrees == -180.0 else degrees


def with_angle(pose: Pose, segment: str, degrees: float) -> Pose:
    """Turn a segment, and everything that hangs on it, to an angle.

    A limb turns about the joint that it hangs on, the shoulders with both arms about the neck. The
    torso turns about the middle of the hips: the person leans, and the legs keep their angles.

    Args:
        pose, segment: as in `angle`.
        degrees: the new angle, any finite number.

    Returns:
        The new pose, all bone lengths kept.

    Raises:
        ValueError: no such segment, one with a missing joint, an angle that is not finite.
    """
    if not math.isfinite(degrees):
        raise ValueError(f"the angle of {segment} is {degrees}: give a finite number of degrees")
    now = angle(pose, segment)
    if now is None:
        raise ValueError(f"{segment} has no angle, a joint of it is missing: drag that one in")
    _, _, pivot, joints = _segment(pose, segment)
    turned = _turn(pose, joints, pivot, math.radians(degrees - now))
    if segment != "torso":
        return turned
    for hip in _HIPS:  # what hangs on the hips follows them, and keeps its angles
        if pose[hip]:
            (x, y), (u, v) = pose[hip], turned[hip]
            turned = _carry(turned, _below(hip), u - x, v - y)
    return turned


def moved(pose: Pose, joint: str, xy: Point, stretch: bool = False) -> Pose:
    """Drag a joint.

    The joint goes as near to `xy` as its bone lets it, and what hangs on it turns along, as if
    stiff. The neck takes the whole person along. With `stretch` the joint alone goes to `xy`, and
    the bones at it change. A missing joint appears at `xy`, whatever `stretch` says. Where the
    joint that it hangs on is missing, the next one up the tree holds it; where there is none, it
    goes to `xy` and takes along what hangs on it.

    Args:
        pose: the pose.
        joint: of OPENPOSE_18.
        xy: where the pointer is, in pixels of the picture.
        stretch: let bones change their length.

    Returns:
        The new pose.

    Raises:
        ValueError: no such joint, a place that is not finite.
    """
    here = pose[joint]
    x, y = xy = _finite(xy, joint)
    if here is None or stretch:
        return _put(pose, {joint: xy})
    holder = next((pose[above] for above in _above(joint) if pose[above]), None)
    if holder is None:
        return _carry(pose, (joint, *_below(joint)), x - here[0], y - here[1])
    if xy == holder:  # no direction to go to
        return pose
    old = math.atan2(here[0] - holder[0], here[1] - holder[1])
    new = math.atan2(x - holder[0], y - holder[1])
    return _turn(pose, (joint, *_below(joint)), holder, new - old)


def removed(pose: Pose, joint: str) -> Pose:
    """Mark a joint as missing; `moved` brings it back."""
    return _put(pose, {joint: None})


def shifted(pose: Pose, dx: float, dy: float) -> Pose:
    """Move the whole person by (dx, dy) pixels."""
    return _carry(pose, OPENPOSE_18, dx, dy)


def middle(pose: Pose, joints: Iterable[str]) -> Point | None:
    """Mean place of those of some joints that are there, in pixels; None where none is."""
    there = [pose[joint] for joint in joints if pose[joint]]
    if not there:
        return None
    xs, ys = zip(*there, strict=True)
    return math.fsum(xs) / len(xs), math.fsum(ys) / len(ys)


def place(pose: Pose) -> Point | None:
    """Middle of the hips, else of what is there, in pixels: what position sliders show."""
    return middle(pose, _HIPS) or middle(pose, OPENPOSE_18)


def resized(pose: Pose, size: tuple[int, int]) -> Pose:
    """The same pose in a picture of another size.

    (x, y) -> ((x + ½) W'/W - ½, (y + ½) H'/H - ½), so that a joint stays on its spot of a picture
    resized along with it.

    Args:
        pose: the pose.
        size: (H', W') in pixels.

    Returns:
        The new pose; depths grow as x does.

    >>> resized(Pose(((15.5, 31.5), *[None] * 17), (64, 32)), (128, 128)).points[0]
    (63.5, 63.5)
    """
    down, across = size[0] / pose.size[0], size[1] / pose.size[1]
    points = tuple(
        p and ((p[0] + 0.5) * across - 0.5, (p[1] + 0.5) * down - 0.5) for p in pose.points
    )
    return Pose(points, size, tuple(z * across for z in pose.depth))


def bones(pose: Pose) -> dict[str, float]:
    """Length in pixels of every bone of the tree that is there, by the name of its lower joint."""
    return {
        joint: math.dist(pose[joint], pose[above])
        for joint, above in TREE.items()
        if pose[joint] and pose[above]
    }


def lines(pose: Pose) -> list[tuple[Point, Point, tuple[int, int, int]]]:
    """The limbs to draw: from, to, and OpenPose's colour for each whose two joints are there."""
    return [
        (pose.points[a], pose.points[b], color)
        for (a, b), color in zip(LIMBS, LIMB_COLORS, strict=True)
        if pose.points[a] and pose.points[b]
    ]


class History:
    """The poses that were, for undo and redo. Pure data; at most `limit` steps are kept.

    Args:
        first: the pose that `reset` comes back to.
        limit: how many steps can be undone.

    >>> history = History("stand")
    >>> history.push("sit"), history.undo(), history.redo(), history.reset(), history.undo()
    ('sit', 'stand', 'sit', 'stand', 'sit')
    """

    def __init__(self, first: Pose, limit: int = 100) -> None:
        if limit < 1:
            raise ValueError(f"limit is {limit}: at least one step must be kept to be undone")
        self.limit = limit
        self.restart(first)

    @property
    def now(self) -> Pose:
        """The present pose."""
        return self._poses[self._at]

    @property
    def depth(self) -> tuple[int, int]:
        """How many steps can be undone, and redone."""
        return self._at, len(self._poses) - 1 - self._at

    def push(self, pose: Pose) -> Pose:
        """Go on to a pose, and forget what could be redone. The present pose again is no step."""
        if pose != self.now:
            self._poses = [*self._poses[: self._at + 1], pose][-self.limit - 1 :]
            self._at = len(self._poses) - 1
        return self.now

    def undo(self) -> Pose:
        """One step back; at the oldest pose, none."""
        self._at = max(0, self._at - 1)
        return self.now

    def redo(self) -> Pose:
        """One step forth; at the newest pose, none."""
        self._at = min(len(self._poses) - 1, self._at + 1)
        return self.now

    def reset(self) -> Pose:
        """Go to the first pose, as one step that can be undone."""
        return self.push(self.first)

    def restart(self, first: Pose) -> Pose:
        """Another person: forget everything."""
        self.first = first
        self._poses, self._at = [first], 0
        return first


# ---------------------------------------------------------------- inside


def _place(joint: str) -> int:
    if joint not in _PLACE:
        raise ValueError(f"there is no joint {joint!r}: choose one of {', '.join(OPENPOSE_18)}")
    return _PLACE[joint]


def _finite(point: Point, joint: str) -> Point:
    if len(point) != 2 or not all(math.isfinite(c) for c in point):
        raise ValueError(f"{joint} is at {point}: expected (x, y) in pixels, both finite")
    return float(point[0]), float(point[1])


def _above(joint: str) -> Iterable[str]:
    """The joints that hold this one, nearest first."""
    while joint in TREE:
        joint = TREE[joint]
        yield joint


def _below(joint: str) -> tuple[str, ...]:
    """Everything that hangs on this joint."""
    return tuple(other for other in OPENPOSE_18 if joint in _above(other))


def _segment(pose: Pose, segment: str) -> tuple[Point | None, Point | None, Point, tuple[str, ...]]:
    """Start and end of a segment, what it turns about, and the joints that it turns."""
    if segment not in SEGMENTS:
        raise ValueError(f"there is no segment {segment!r}: choose one of {', '.join(SEGMENTS)}")
    neck = pose[ROOT]
    if segment == "head":
        return neck, pose["nose"] or middle(pose, _FACE), neck, _FACE
    if segment == "torso":
        hips = middle(pose, _HIPS)
        legs = {below for hip in _HIPS for below in _below(hip)}
        return neck, hips, hips, tuple(joint for joint in OPENPOSE_18 if joint not in legs)
    if segment == "shoulders":
        right, left = (pose[joint] for joint in _SHOULDERS)
        arms = [below for shoulder in _SHOULDERS for below in _below(shoulder)]
        return right, left, neck or middle(pose, _SHOULDERS), (*_SHOULDERS, *arms)
    side, bone = segment.split(" ", 1)
    start, end = (f"{side}_{joint}" for joint in _BONES[bone])
    return pose[start], pose[end], pose[start], (end, *_below(end))


def _put(pose: Pose, places: dict[str, Point | None]) -> Pose:
    points = list(pose.points)
    for joint, point in places.items():
        points[_place(joint)] = point
    return replace(pose, points=tuple(points))


def _carry(pose: Pose, joints: Collection[str], dx: float, dy: float) -> Pose:
    return _put(pose, {j: (pose[j][0] + dx, pose[j][1] + dy) for j in joints if pose[j]})


def _turn(pose: Pose, joints: Collection[str], pivot: Point, radians: float) -> Pose:
    """Turn joints about a point of the picture; the angle grows from down to the right."""
    cos, sin = math.cos(radians), math.sin(radians)
    places = {}
    for joint in joints:
        if pose[joint]:
            dx, dy = pose[joint][0] - pivot[0], pose[joint][1] - pivot[1]
            places[joint] = pivot[0] + dx * cos + dy * sin, pivot[1] + dy * cos - dx * sin
    return _put(pose, places)
