"""OpenPose-18 key points: their names, their checks, their file format and their heat maps.

A skeleton is a tensor (..., 18, 2) of (x, y) in pixels, x to the right and y down, pixel centres at
integers. A joint with either coordinate exactly -1 is missing. No joint that is there may sit at
exactly -1, therefore; in the authors' files, where coordinates are whole numbers inside the picture,
none does, and negative values other than -1 (off the picture, after an affine map) stay joints.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

OPENPOSE_18 = (
    "nose",
    "neck",
    "right_shoulder",
    "right_elbow",
    "right_wrist",
    "left_shoulder",
    "left_elbow",
    "left_wrist",
    "right_hip",
    "right_knee",
    "right_ankle",
    "left_hip",
    "left_knee",
    "left_ankle",
    "right_eye",
    "left_eye",
    "right_ear",
    "left_ear",
)

# The 17 limbs that OpenPose draws, as indices into OPENPOSE_18; limb i has colour LIMB_COLORS[i].
LIMBS = (
    (1, 2),
    (1, 5),
    (2, 3),
    (3, 4),
    (5, 6),
    (6, 7),
    (1, 8),
    (8, 9),
    (9, 10),
    (1, 11),
    (11, 12),
    (12, 13),
    (1, 0),
    (0, 14),
    (14, 16),
    (0, 15),
    (15, 17),
)

# OpenPose's colour wheel as RGB in 0..255: hues 0, 20, 40, ... degrees at full saturation.
LIMB_COLORS = (
    (255, 0, 0),
    (255, 85, 0),
    (255, 170, 0),
    (255, 255, 0),
    (170, 255, 0),
    (85, 255, 0),
    (0, 255, 0),
    (0, 255, 85),
    (0, 255, 170),
    (0, 255, 255),
    (0, 170, 255),
    (0, 85, 255),
    (0, 0, 255),
    (85, 0, 255),
    (170, 0, 255),
    (255, 0, 255),
    (255, 0, 170),
)

MISSING = -1.0


def present(keypoints: Tensor) -> Tensor:
    """Tell which joints are there.

    Args:
        keypoints: (..., K, 2) as (x, y) in pixels.

    Returns:
        (..., K) bool, False where either coordinate is exactly -1.
    """
    return (keypoints != MISSING).all(dim=-1)


def heatmaps(
    keypoints: Tensor, size: int | tuple[int, int], sigma: float = 6.0, truncate: bool = False
) -> Tensor:
    """Draw one Gaussian blob for each joint.

    P_k(X, Y) = exp(-((X - x_k)² + (Y - y_k)²) / (2 σ²)), 0 everywhere when joint k is missing.
    The Gaussian factors into a row and a column, so H + W exponentials are computed, not H · W.

    Args:
        keypoints: (..., K, 2) as (x, y) in pixels of `size`; either coordinate exactly -1 = missing.
        size: (H, W) of the maps in pixels, or one number for a square.
        sigma: standard deviation in pixels; the authors use 6 at every size.
        truncate: cut coordinates to whole pixels (towards zero) first, as the authors do.

    Returns:
        (..., K, H, W) float32 in [0, 1]. The peak is 1 where the joint lies on a pixel centre. A joint
        outside the picture is not clipped: its tail still shows (docs/spec.md, 7.1).

    Raises:
        ValueError: wrong shape, non-finite coordinate, size or sigma not positive.

    >>> maps = heatmaps(torch.tensor([[2.0, 1.0], [-1.0, -1.0]]), (4, 5))
    >>> maps.shape, float(maps[0, 1, 2]), float(maps[1].max())
    (torch.Size([2, 4, 5]), 1.0, 0.0)
    """
    height, width = (size, size) if isinstance(size, int) else size
    if keypoints.ndim < 2 or keypoints.shape[-1] != 2:
        raise ValueError(
            f"keypoints have shape {tuple(keypoints.shape)}; expected (..., K, 2) as (x, y) in pixels"
        )
    if height < 1 or width < 1:
        raise ValueError(f"size is {(height, width)}; expected (H, W), both at least 1 pixel")
    if not (sigma > 0 and math.isfinite(sigma)):
        raise ValueError(f"sigma is {sigma}; expected a positive number of pixels, the paper has 6")
    there = present(keypoints)  # before truncation: -1.4 is a joint off the picture, not a missing one
    points = keypoints.to(torch.float32)
    if not torch.compiler.is_compiling() and not torch.isfinite(points).all():
        raise ValueError("keypoints hold NaN or infinity; mark a missing joint as (-1, -1)")
    if truncate:
        points = points.trunc()
    columns = torch.arange(width, dtype=torch.float32, device=points.device)
    rows = torch.arange(height, dtype=torch.float32, device=points.device)
    scale = 1.0 / (2.0 * sigma * sigma)
    across = torch.exp(-scale * (columns - points[..., 0:1]) ** 2)  # (..., K, W)
    down = torch.exp(-scale * (rows - points[..., 1:2]) ** 2)  # (..., K, H)
    down = down * there.unsqueeze(-1)
    return down.unsqueeze(-1) * across.unsqueeze(-2)  # (..., K, H, W)
