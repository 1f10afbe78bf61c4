"""Pictures of tensors: one tensor in, one (h, w, 3) uint8 array out, ready for imshow or Pillow.

Nothing here needs matplotlib; `gfla.viz` arranges these pictures into figures.
"""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image, ImageDraw

from gfla.data.keypoints import LIMB_COLORS, LIMBS, MISSING

_WHEEL = np.array(  # anchors of the Middlebury colour wheel: place on the circle, then R, G, B
    [
        [0 / 55, 1, 0, 0],
        [15 / 55, 1, 1, 0],
        [21 / 55, 0, 1, 0],
        [25 / 55, 0, 1, 1],
        [36 / 55, 0, 0, 1],
        [49 / 55, 1, 0, 1],
        [55 / 55, 1, 0, 0],
    ]
)


def to_uint8(image) -> np.ndarray:
    """Turn one image in [-1, 1] into an array that imshow and Pillow take.

    Args:
        image: (3, H, W) tensor in [-1, 1]; values outside are clipped.
    Returns:
        (H, W, 3) uint8.
    Raises:
        ValueError: not a single three-channel image.

    >>> to_uint8(torch.ones(3, 2, 2)).max()
    np.uint8(255)
    """
    values = _array(image, channels=3, what="an image")
    return ((values.clip(-1, 1) + 1) * 127.5).round().astype(np.uint8).transpose(1, 2, 0)


def mask_image(mask) -> np.ndarray:
    """Turn one mask in [0, 1], (1, h, w), into a grey picture, (h, w, 3): white is 1.

    >>> mask_image(torch.zeros(1, 2, 2)).shape
    (2, 2, 3)
    """
    values = _array(mask, channels=1, what="a mask")[0]
    return (values.clip(0, 1) * 255).round().astype(np.uint8)[..., None].repeat(3, axis=2)


def flow_to_color(flow, limit: float | None = None) -> np.ndarray:
    """Paint one flow field: the hue tells the direction, the saturation the length.

    White is no motion and red points right, as in the Middlebury benchmark; `gfla.viz.flow_key`
    draws the wheel that reads it. The authors' picture of the flow swaps dx and dy; this one does
    not (docs/spec.md section 12).

    Args:
        flow: (2, h, w), dx and dy in pixels.
        limit: length drawn with full colour, in pixels; longer vectors are darkened. By default
            the field's longest vector.
    Returns:
        (h, w, 3) uint8.
    Raises:
        ValueError: not a single two-channel field, or a limit that is not positive.

    >>> flow_to_color(torch.zeros(2, 1, 1)).tolist()
    [[[255, 255, 255]]]
    """
    dx, dy = _array(flow, channels=2, what="a flow")
    length = np.hypot(dx, dy)
    if limit is None:
        limit = max(float(length.max(initial=0.0)), 1e-6)
    if not limit > 0:
        raise ValueError(f"limit is {limit!r}: give a positive number of pixels")
    turn = (np.arctan2(-dy, -dx) / np.pi + 1) / 2
    hue = np.stack([np.interp(turn, _WHEEL[:, 0], _WHEEL[:, c]) for c in (1, 2, 3)], axis=-1)
    reach = (length / limit)[..., None]
    colour = np.where(reach <= 1 + 1e-6, 1 - reach.clip(max=1) * (1 - hue), 0.7 * hue)
    return (colour * 255).round().astype(np.uint8)


def pose_image(heatmaps) -> np.ndarray:
    """Paint the key-point heat maps as coloured spots on white, one hue per joint.

    Args:
        heatmaps: (K, H, W) in [0, 1].
    Returns:
        (H, W, 3) uint8.
    """
    values = _array(heatmaps, channels=None, what="heat maps").clip(0, 1)
    inks = _joint_colors(len(values))
    light = np.ones((*values.shape[1:], 3))
    for value, ink in zip(values, inks, strict=True):
        light *= 1 - value[..., None] * (1 - ink)  # subtractive, so that spots may overlap
    return (light * 255).round().astype(np.uint8)


def skeleton(keypoints, size: tuple[int, int], zoom: int = 1) -> np.ndarray:
    """Draw one OpenPose-18 skeleton, limb by limb, on white.

    Args:
        keypoints: (18, 2) as (x, y) in pixels, pixel centres at integers; -1 = missing.
        size: (H, W) of the picture in pixels.
        zoom: draw every pixel this many times larger, for a skeleton beside small pictures.
    Returns:
        (H * zoom, W * zoom, 3) uint8, anti-aliased.
    Raises:
        ValueError: not 18 points.
    """
    points = np.asarray(torch.as_tensor(keypoints).detach().cpu(), dtype=float)
    if points.shape != (18, 2):
        raise ValueError(f"key points have shape {points.shape}: expected (18, 2), x and y each")
    height, width = (zoom * side for side in size)
    fine = 4  # drawn four times finer, then shrunk: smooth edges
    canvas = Image.new("RGB", (width * fine, height * fine), "white")
    pen = ImageDraw.Draw(canvas)
    thick = max(1.0, height / 40) * fine
    seen = (points != MISSING).all(axis=1)
    place = (points + 0.5) * zoom * fine
    for (a, b), color in zip(LIMBS, LIMB_COLORS, strict=True):
        if seen[a] and seen[b]:
            pen.line([*place[a], *place[b]], fill=tuple(color), width=round(thick))
    for x, y in place[seen]:
        r = 0.6 * thick
        pen.ellipse([x - r, y - r, x + r, y + r], fill=(34, 34, 34))
    return np.asarray(canvas.resize((width, height), Image.Resampling.BOX))


def _array(values, channels: int | None, what: str) -> np.ndarray:
    """One (channels, h, w) float array out of a tensor or array, or a message that says why not."""
    array = np.asarray(torch.as_tensor(values).detach().cpu().double())
    if array.ndim != 3 or (channels is not None and array.shape[0] != channels):
        wanted = f"({channels or 'K'}, H, W)"
        raise ValueError(f"{what} has shape {array.shape}: expected {wanted}; pick one of a batch")
    return array


def _joint_colors(count: int) -> np.ndarray:
    """Colours of the joints as (K, 3) in [0, 1]: once around the wheel, darkened."""
    place = np.linspace(0, 1, count, endpoint=False)
    return 0.8 * np.stack([np.interp(place, _WHEEL[:, 0], _WHEEL[:, c]) for c in (1, 2, 3)], -1)
