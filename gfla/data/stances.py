"""Ways to stand for given proportions: presets, chance, and turning about the spine."""

from __future__ import annotations

from gfla.data.posing import Pose

PRESETS = ("stand", "walk", "wave", "sit", "T")


def preset(name: str, like: Pose) -> Pose:
    """A ready-made pose with the size, the place and the proportions of a given person.

    Args:
        name: of PRESETS.
        like: whose proportions; bones that are missing or foreshortened are made up from the rest.

    Returns:
        All 18 joints, with depth.

    Raises:
        ValueError: no such preset.
    """
    raise NotImplementedError


def random(seed: int, like: Pose) -> Pose:
    """A pose as the procedural people of `gfla.data.people` take them, the same for a seed.

    Args:
        seed: whole number from 0.
        like: whose size, place and proportions.

    Returns:
        All 18 joints, with depth.
    """
    raise NotImplementedError


def facing(pose: Pose) -> float | None:
    """Which way the body faces: degrees, 0 = the viewer, 90 = the viewer's right, 180 = away.

    Returns:
        Degrees in (-180, 180], or None without both shoulders or both hips.
    """
    raise NotImplementedError


def turned(pose: Pose, degrees: float) -> Pose:
    """Turn the body about the vertical axis through the neck.

    (x, z) -> (x cos + z sin, z cos - x sin). The first turn makes depths up.

    Args:
        pose: the pose.
        degrees: positive turns the front to the viewer's right.

    Returns:
        The new pose, with depth; turning back gives the old points again.
    """
    raise NotImplementedError


def with_facing(pose: Pose, degrees: float) -> Pose:
    """Turn the body until `facing` is `degrees`: what a slider does.

    Raises:
        ValueError: shoulders and hips are missing.
    """
    raise NotImplementedError


def seen(pose: Pose) -> Pose:
    """The pose as a detector would tell it: joints of the face that are turned away are missing.

    What `gfla.live.Painter` gives to the model. A pose without depth stays as it is.
    """
    raise NotImplementedError
