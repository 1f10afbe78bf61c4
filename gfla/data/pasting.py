"""A pose as text: written as OpenPose writes it, read from what others write, its order checked."""

from __future__ import annotations

from typing import NamedTuple

from gfla.data.posing import Pose


class Parsed(NamedTuple):
    """A pose that was read, and what there is to say about it."""

    pose: Pose
    order: str  # "OpenPose-18", "OpenPose BODY_25", "COCO-17" or "list of 18"
    notes: tuple[str, ...]  # sentences for the reader: what was made up, what looks swapped


def to_json(pose: Pose) -> str:
    """The pose as OpenPose's people JSON, and its `canvas` (H, W); missing joints 0, 0, 0."""
    raise NotImplementedError


def parse(text: str, size: tuple[int, int] | None = None) -> Parsed:
    """Read a pose that somebody pasted.

    Args:
        text: OpenPose JSON ("people" → "pose_keypoints_2d", 18 or 25 joints, or such a list
            alone), COCO ("keypoints", 17 joints; an annotation file with one), or a list of 18
            pairs [x, y].
        size: (H, W) of the picture that the numbers refer to; by default the text's "canvas".

    Returns:
        Pose, order of the joints in the text, and notes.

    Raises:
        ValueError: no JSON, another number of joints, ragged rows, NaN, nobody in it, or no size;
            the message says what was expected.
    """
    raise NotImplementedError


def suspicions(pose: Pose) -> tuple[str, ...]:
    """What looks wrong in the order of the joints, in sentences; nothing = it looks right."""
    raise NotImplementedError
