"""Skeletons of seventeen joints: orders, conversions, and the drawing of bones of the dance task.

The authors' dance network takes 20 channels of structure: 17 heat maps and a picture of the bones
in RGB, 0 to 255 and not normalised (docs/spec.md, 7.4). Driving poses have the joints of
Human3.6M, reference poses those of COCO, so that one channel means two joints; both orders are
here. A skeleton is as in `keypoints`: (..., 17, 2) of (x, y) in pixels, -1 = missing.
"""

from __future__ import annotations

import colorsys

import torch
from torch import Tensor

from gfla.data import keypoints as kp

HUMAN36M_17 = (
    *("pelvis", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle"),
    *("spine", "thorax", "neck", "head_top"),
    *("left_shoulder", "left_elbow", "left_wrist"),
    *("right_shoulder", "right_elbow", "right_wrist"),
)
COCO_17 = (
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear"),
    *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist"),
    *("left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle"),
)

# The bones of each order, as pairs of its indices; bone i has colour BONE_COLORS[i].
HUMAN36M_BONES = (
    *((0, 1), (1, 2), (2, 3), (0, 4), (4, 5), (5, 6)),  # pelvis to both ankles
    *((0, 7), (7, 8), (8, 9), (9, 10)),  # pelvis to the top of the head
    *((8, 11), (11, 12), (12, 13), (8, 14), (14, 15), (15, 16)),  # thorax to both wrists
)
COCO_BONES = (
    *((12, 14), (14, 16), (11, 13), (13, 15), (11, 12), (6, 12), (5, 11)),  # legs, hips, flanks
    *((5, 6), (5, 7), (7, 9), (6, 8), (8, 10)),  # shoulders, arms
    *((0, 1), (0, 2), (1, 3), (2, 4)),  # face
)
BONE_COLORS = tuple(
    tuple(round(255 * channel) for channel in colorsys.hsv_to_rgb(bone / 16, 1.0, 1.0))
    for bone in range(16)
)

_WIDTH = 4.0  # pixels of a bone at a height of 256

_COCO_OF_OPENPOSE = tuple(kp.OPENPOSE_18.index(joint) for joint in COCO_17)


def coco17(keypoints: Tensor) -> Tensor:
    """Bring OpenPose's eighteen joints into COCO's order of seventeen; the neck is dropped.

    Args:
        keypoints: (..., 18, 2) as (x, y) in pixels, -1 = missing.

    Returns:
        (..., 17, 2) in the order of COCO_17.

    Raises:
        ValueError: another shape, or a coordinate that is not finite.

    >>> coco17(torch.arange(36.0).reshape(18, 2))[5].tolist()  # left shoulder, joint 5 of OpenPose
    [10.0, 11.0]
    """
    return kp.check_skeletons(keypoints)[..., _COCO_OF_OPENPOSE, :]


def human36m17(keypoints: Tensor) -> Tensor:
    """Make Human3.6M's seventeen joints of OpenPose's eighteen.

    The pelvis is the middle of the hips, the thorax OpenPose's neck, the spine the middle of those
    two; the joint at the neck is the nose, as 2-D sets of Human3.6M place it, and the top of the
    head lies as far again above the nose as half its distance from the thorax. A joint that rests
    on a missing one is missing.

    Args:
        keypoints: (..., 18, 2) as (x, y) in pixels, -1 = missing.

    Returns:
        (..., 17, 2) in the order of HUMAN36M_17.

    Raises:
        ValueError: another shape, or a coordinate that is not finite.

    >>> points = torch.full((18, 2), -1.0)
    >>> points[8], points[11] = torch.tensor([2.0, 4.0]), torch.tensor([6.0, 4.0])
    >>> human36m17(points)[0].tolist()
    [4.0, 4.0]
    """
    kp.check_skeletons(keypoints)
    there = kp.present(keypoints)
    joint = {name: (keypoints[..., i, :], there[..., i]) for i, name in enumerate(kp.OPENPOSE_18)}

    def between(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor], part: float) -> tuple:
        return a[0] + part * (b[0] - a[0]), a[1] & b[1]

    made = dict(joint, thorax=joint["neck"], neck=joint["nose"])
    made["pelvis"] = between(joint["left_hip"], joint["right_hip"], 0.5)
    made["spine"] = between(made["pelvis"], made["thorax"], 0.5)
    made["head_top"] = between(made["thorax"], joint["nose"], 1.5)
    points = torch.stack([made[name][0] for name in HUMAN36M_17], -2)
    kept = torch.stack([made[name][1] for name in HUMAN36M_17], -1)
    points = torch.where(points == kp.MISSING, kp.MISSING - 1e-3, points)  # there, not missing
    return torch.where(kept.unsqueeze(-1), points, kp.MISSING)


def draw_bones(
    keypoints: Tensor, size: tuple[int, int], bones: tuple[tuple[int, int], ...]
) -> Tensor:
    """Draw the bones of skeletons as coloured strokes, later bones over earlier ones.

    A pixel belongs to a bone when it is at most half the bone's width, 4 · H / 256 pixels, and at
    least half a pixel, away from the line between its two joints.

    Args:
        keypoints: (..., 17, 2) as (x, y) in pixels of `size`, -1 = missing.
        size: (H, W) in pixels.
        bones: pairs of joint indices, HUMAN36M_BONES or COCO_BONES.

    Returns:
        (..., 3, H, W) float32 in 0 to 255, black where there is no bone; a bone with a missing end
        is not drawn. Departs from the authors: width and colours are this project's, so the
        published dance weights see other strokes than they were trained with.

    Raises:
        ValueError: another shape, or a coordinate that is not finite.
    """
    kp.check_skeletons(keypoints, joints=17)
    lead, (height, width) = keypoints.shape[:-2], size
    points = keypoints.reshape(-1, 17, 2).to(torch.float32)
    there = kp.present(points)
    rows = torch.arange(height, dtype=torch.float32, device=points.device)[:, None]
    columns = torch.arange(width, dtype=torch.float32, device=points.device)
    half = max(0.5 * _WIDTH * height / 256, 0.5)
    picture = points.new_zeros(len(points), 3, height, width)
    for (a, b), color in zip(bones, BONE_COLORS):
        start = points[:, a, :, None, None]  # (N, 2, 1, 1)
        along = points[:, b, :, None, None] - start
        dx, dy = columns - start[:, 0], rows - start[:, 1]  # (N, 1, W), (N, H, 1)
        part = (dx * along[:, 0] + dy * along[:, 1]) / along.square().sum(1).clamp_min(1e-6)
        part = part.clamp(0.0, 1.0)  # (N, H, W): where the nearest point of the bone lies
        far = (dx - part * along[:, 0]) ** 2 + (dy - part * along[:, 1]) ** 2
        stroke = (far <= half * half) & (there[:, a] & there[:, b])[:, None, None]
        paint = torch.tensor(color, dtype=torch.float32, device=points.device)[:, None, None]
        picture = torch.where(stroke[:, None], paint, picture)
    return picture.reshape(*lead, 3, height, width)


def structure(
    keypoints: Tensor,
    size: tuple[int, int],
    bones: tuple[tuple[int, int], ...] = HUMAN36M_BONES,
    sigma: float = 6.0,
    truncate: bool = False,
) -> Tensor:
    """Draw what the dance network takes: seventeen heat maps, then the bones.

    Args:
        keypoints: (..., 17, 2) as (x, y) in pixels of `size`, -1 = missing.
        size: (H, W) in pixels.
        bones: pairs of joint indices, HUMAN36M_BONES or COCO_BONES.
        sigma: standard deviation of the heat maps in pixels.
        truncate: cut joints to whole pixels first, in the heat maps alone.

    Returns:
        (..., 20, H, W) float32: 17 maps in [0, 1], then R, G, B in 0 to 255 as in the authors'
        code, whose first instance norm evens the two scales out.

    Raises:
        ValueError: another shape, or a coordinate that is not finite.

    >>> drawn = structure(torch.full((2, 17, 2), 5.0), (8, 8))
    >>> drawn.shape, float(drawn[0, 0].max()), float(drawn.max())
    (torch.Size([2, 20, 8, 8]), 1.0, 255.0)
    """
    maps = kp.heatmaps(kp.check_skeletons(keypoints, joints=17), size, sigma, truncate)
    return torch.cat((maps, draw_bones(keypoints, size, bones)), dim=-3)
