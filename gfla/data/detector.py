"""What a pose detector gets wrong: key points that tremble, vanish for a while, change sides."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gfla.data.body import Draw
from gfla.data.keypoints import MISSING, OPENPOSE_18, check_skeletons, present

BURST = 3.0  # frames that a joint stays away on average

_ARM, _LEG = ("shoulder", "elbow", "wrist"), ("hip", "knee", "ankle")
_RIGHT, _LEFT = (
    tuple(tuple(OPENPOSE_18.index(f"{side}_{joint}") for joint in chain) for chain in (_ARM, _LEG))
    for side in ("right", "left")
)  # for each side: the joints of its arm, those of its leg


@dataclass(frozen=True)
class Detector:
    """How bad a detector is.

    Raises:
        ValueError: a field out of its range.

    >>> Detector(jitter=2.0).missing
    0.0
    """

    jitter: float = 0.0  # deviation of x and of y in pixels of a picture 256 high; at most 64
    missing: float = 0.0  # share of the joints not found, a few frames each; at most 0.75
    swapped: float = 0.0  # chance in a frame that the arms have changed sides; the legs likewise
    seed: int = 0  # another seed, other mistakes at the same places
    reference: bool = False  # the still picture's key points suffer as well

    def __post_init__(self):
        for name, top in (("jitter", 64.0), ("missing", 0.75), ("swapped", 1.0)):
            value = getattr(self, name)
            if not (math.isfinite(value) and 0 <= value <= top):
                raise ValueError(f"{name} is {value}, expected a number from 0 to {top}")
        if not 0 <= self.seed < 2**31:
            raise ValueError(f"seed is {self.seed}, expected a whole number from 0 to 2**31 - 1")


CLEAN = Detector()
NOISY = Detector(jitter=3.0, missing=0.08, swapped=0.04)


def detect(
    keypoints: Tensor, detector: Detector, height: int, seed: int = 0, first: int = 0
) -> Tensor:
    """Make the mistakes of a detector.

    First sides are swapped, then joints tremble, then joints vanish. Which joints vanish is a chain
    of two states, there and away: away for BURST frames on average, `missing` of the time. A joint
    that was missing stays missing. A pure function of its arguments: clip i of a batch that begins
    with clip `first` has the mistakes of clip first + i, and those of frame t do not depend on how
    many frames follow.

    Args:
        keypoints: (B, T, 18, 2) as (x, y) in pixels, -1 = missing.
        detector: how bad it is.
        height: of the picture in pixels: the jitter is scaled by height / 256.
        seed: of the clips; together with the detector's own seed it chooses the mistakes.
        first: number of the first clip.

    Returns:
        (B, T, 18, 2) key points; the given ones, unchanged, where nothing can go wrong.

    Raises:
        ValueError: another shape, a coordinate that is not finite, a height under 1.

    >>> points = torch.full((1, 2, 18, 2), 30.0)
    >>> bool((detect(points, NOISY, 64) == points).all()), detect(points, CLEAN, 64) is points
    (False, True)
    """
    if keypoints.ndim != 4:
        raise ValueError(f"keypoints have shape {tuple(keypoints.shape)}, expected (B, T, 18, 2)")
    check_skeletons(keypoints)
    if height < 1:
        raise ValueError(f"height is {height}, expected the picture's height in pixels")
    if not (detector.jitter or detector.missing or detector.swapped):
        return keypoints
    key = -1 - ((seed * 1_000_003 + detector.seed) % 2**62)  # people and motions: from 0 on
    draw = Draw(key, range(first, first + len(keypoints)), keypoints.device)
    away, frames = None, []
    for points in keypoints.unbind(1):  # (B, 18, 2)
        points = _swap(points, draw.chance(detector.swapped, 2))
        moved = points + draw.normal(0.0, detector.jitter * height / 256, *points.shape[1:])
        moved = torch.where(moved == MISSING, MISSING + 1e-3, moved)
        away = _vanish(draw.uniform(0.0, 1.0, points.shape[1]), detector.missing, away)
        lost = away | ~present(points)
        frames.append(torch.where(lost[..., None], MISSING, moved))
    return torch.stack(frames, 1)


def _swap(points: Tensor, swapped: Tensor) -> Tensor:
    """Exchange right and left where (B, 2), arms and legs, says so."""
    points = points.clone()
    for limb in range(2):
        right, left = list(_RIGHT[limb]), list(_LEFT[limb])
        there = swapped[:, limb, None, None]
        a, b = points[:, right], points[:, left]
        points[:, right], points[:, left] = torch.where(there, b, a), torch.where(there, a, b)
    return points


def _vanish(chance: Tensor, missing: float, away: Tensor | None) -> Tensor:
    """One step of the chain: (B, 18) uniform numbers -> which joints are away."""
    if away is None:
        return chance < missing
    leave = missing / (1 - missing) / BURST  # so that `missing` of the time is spent away
    return torch.where(away, chance < 1 - 1 / BURST, chance < leave)
