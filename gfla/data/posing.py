"""A pose that is edited: 18 OpenPose joints, the tree that they hang in, and the ways to move them.

Everything here is data in, data out: a `Pose` never changes, an edit gives a new one. Ready-made
poses are in `gfla.data.stances`, reading and writing of JSON in `gfla.data.pasting`.

An angle is told in the picture, in degrees: a segment that hangs straight down has 0, one that
points to the viewer's right +90, to the viewer's left -90, straight up 180. Turning a segment
turns everything that hangs on it, and no bone changes its length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from gfla.data.keypoints import OPENPOSE_18

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
    *("head", "torso", "shoulders", "hips"),
    *("right upper arm", "right forearm", "left upper arm", "left forearm"),
    *("right thigh", "right shin", "left thigh", "left shin"),
)


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
    """

    points: tuple[Point | None, ...]
    size: tuple[int, int]
    depth: tuple[float, ...] = ()

    @staticmethod
    def of(keypoints: Tensor, size: tuple[int, int]) -> Pose:
        """The pose of (18, 2) or (1, 18, 2) key points in pixels, -1 = missing."""
        raise NotImplementedError

    def tensor(self) -> Tensor:
        """(1, 18, 2) float32 as (x, y) in pixels, -1 = missing."""
        raise NotImplementedError

    def __getitem__(self, joint: str) -> Point | None:
        """Where a joint is, by its name."""
        return self.points[OPENPOSE_18.index(joint)]

    def missing(self) -> tuple[str, ...]:
        """Names of the joints that are not there."""
        raise NotImplementedError


def angle(pose: Pose, segment: str) -> float | None:
    """Angle of a segment in the picture.

    Args:
        pose: the pose.
        segment: of SEGMENTS. "head" runs from neck to nose, "torso" from neck to the middle of the
            hips, "shoulders" and "hips" from the person's right to their left (about 90 when they
            face us).

    Returns:
        Degrees in (-180, 180], 0 = down, positive towards the viewer's right; None when a joint
        that it needs is missing.

    Raises:
        ValueError: no such segment.
    """
    raise NotImplementedError


def with_angle(pose: Pose, segment: str, degrees: float) -> Pose:
    """Turn a segment, and everything that hangs on it, to an angle.

    A limb turns about the joint that it hangs on; "shoulders" about their middle with both arms,
    "hips" about theirs with both legs; "torso" turns about the middle of the hips, so that the
    person leans and the feet stay.

    Args:
        pose, segment: as in `angle`.
        degrees: the new angle, any finite number.

    Returns:
        The new pose, all bone lengths kept.

    Raises:
        ValueError: no such segment, one with a missing joint, an angle that is not finite.
    """
    raise NotImplementedError


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
    raise NotImplementedError


def removed(pose: Pose, joint: str) -> Pose:
    """Mark a joint as missing; `moved` brings it back."""
    raise NotImplementedError


def shifted(pose: Pose, dx: float, dy: float) -> Pose:
    """Move the whole person by (dx, dy) pixels."""
    raise NotImplementedError


def place(pose: Pose) -> Point | None:
    """Middle of the hips, else of what is there, in pixels: what position sliders show."""
    raise NotImplementedError


def resized(pose: Pose, size: tuple[int, int]) -> Pose:
    """The same pose in a picture of another size (H, W), x and y scaled on their own."""
    raise NotImplementedError


def bones(pose: Pose) -> dict[str, float]:
    """Length in pixels of every bone of the tree that is there, by the name of its lower joint."""
    raise NotImplementedError


class History:
    """The poses that were, for undo and redo. Pure data; at most `limit` of them are kept.

    Args:
        first: the pose that `reset` comes back to.
        limit: how many steps can be undone.
    """

    def __init__(self, first: Pose, limit: int = 100) -> None:
        raise NotImplementedError

    @property
    def now(self) -> Pose:
        """The present pose."""
        raise NotImplementedError

    @property
    def depth(self) -> tuple[int, int]:
        """How many steps can be undone, and redone."""
        raise NotImplementedError

    def push(self, pose: Pose) -> Pose:
        """Go on to a pose, and forget what could be redone. The present pose again is no step."""
        raise NotImplementedError

    def undo(self) -> Pose:
        """One step back; the first pose stays."""
        raise NotImplementedError

    def redo(self) -> Pose:
        """One step forth; the newest pose stays."""
        raise NotImplementedError

    def reset(self) -> Pose:
        """Go to the first pose, as one step that can be undone."""
        raise NotImplementedError

    def restart(self, first: Pose) -> Pose:
        """Another person: forget everything."""
        raise NotImplementedError


def lines(pose: Pose) -> Sequence[tuple[Point, Point, tuple[int, int, int]]]:
    """The limbs to draw: from, to, and OpenPose's colour for each whose two joints are there."""
    raise NotImplementedError
