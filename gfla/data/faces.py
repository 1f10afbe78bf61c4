"""The structure that drives a face: 68 key points of a frame as 16 maps (docs/spec.md, 7.3).

Key points are in the iBUG order, seen from the viewer: jaw 0-16 from left to right, brows 17-21 and
22-26, nose bridge 27-30 and base 31-35, eyes 36-41 and 42-47, lips 48-59, inner lips 60-67.

The authors' description leaves these open; this is what was chosen here:

* the 14 curves: the closed contour of the face, two brows, three sides of the nose (28 to 31, 31 to
  35, 35 to 28), upper and lower lid of either eye, upper and lower rim of the lips and of the inner
  lips, in that order (`CURVES`);
* a curve runs through triples that share their ends (0 1 2, 2 3 4, ...); an even number of points
  leaves one piece over, which follows the last three. A triple is joined by the parabola through
  it, x(s) and y(s) in the length s along its two chords, so that it may point any way;
* the jaw is mirrored at the line through its two ends, at 2/3 of its depth, so that the contour
  turns with a head that leans;
* a filled part includes its outline; later parts cover earlier ones;
* a curve wholly outside the picture counts as H + W pixels away;
* Canny edges are scikit-image's with its defaults, of the luma, where the label is 0.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

POINTS = 68
CHANNELS = 16
CONTOUR = (
    *range(17),
    *range(POINTS, POINTS + 15),
    0,
)  # 68-82: the mirrored jaw, from right to left
CURVES = (
    *(CONTOUR, tuple(range(17, 22)), tuple(range(22, 27))),
    *((28, 31), tuple(range(31, 36)), (35, 28)),
    *((36, 37, 38, 39), (39, 40, 41, 36), (42, 43, 44, 45), (45, 46, 47, 42)),
    *(tuple(range(48, 55)), (54, 55, 56, 57, 58, 59, 48)),
    *(tuple(range(60, 65)), (64, 65, 66, 67, 60)),
)
# label, and the curves that together go round the part
PARTS = ((1, (0,)), (2, (1,)), (2, (2,)), (3, (3, 4, 5)), (4, (6, 7)), (4, (8, 9)), (5, (10, 11)),
         (6, (12, 13)))  # fmt: skip
MIRRORED = 2 / 3  # height of the forehead, of the jaw's depth
LUMA = (0.299, 0.587, 0.114)


def structure(
    landmarks: Tensor, frame: Tensor | None = None, size: tuple[int, int] | None = None
) -> Tensor:
    """Draw the 16 maps of one face.

    channel 0       1 on every curve, and on Canny edges of the frame outside the face
    channels 1-14   min(L1 distance to curve k / 3, 255) / 255
    channel 15      0 outside, 1 face, 2 brows, 3 nose, 4 eyes, 5 mouth, 6 inner mouth

    Args:
        landmarks: (68, 2) as (x, y) in pixels of the frame, pixel centres at integers; a point may
            lie outside.
        frame: (3, H, W) in [-1, 1], for its edges outside the face; None draws the curves alone.
        size: (H, W) of the maps; None takes the frame's.

    Returns:
        (16, H, W) float32, on the landmarks' device.

    Raises:
        TypeError: landmarks or frame that are not tensors.
        ValueError: another shape, a coordinate that is not finite, neither frame nor size, or two
            that differ.

    What the authors' description leaves open, and what was chosen, is at the head of this file.

    >>> ring = torch.arange(68) * 0.09
    >>> maps = structure(torch.stack((16 + 9 * ring.cos(), 16 + 9 * ring.sin()), 1), size=(32, 32))
    >>> maps.shape, sorted(set(maps[0].unique().tolist()))
    (torch.Size([16, 32, 32]), [0.0, 1.0])
    """
    height, width = _check(landmarks, frame, size)
    points = with_forehead(landmarks.detach().to("cpu", torch.float64).numpy())
    curves = [trace(points[list(curve)], height + width) for curve in CURVES]
    maps = np.zeros((CHANNELS, height, width), dtype=np.float32)
    for channel, curve in enumerate(curves, start=1):
        on_curve = np.zeros((height, width), dtype=bool)
        _mark(on_curve, curve, True)
        maps[0][on_curve] = 1.0
        maps[channel] = np.minimum(_distance(on_curve) / 3.0, 255.0) / 255.0
    maps[15] = _labels(curves, (height, width))
    if frame is not None:
        maps[0][_edges(frame) & (maps[15] == 0)] = 1.0
    return torch.from_numpy(maps).to(landmarks.device)


def with_forehead(landmarks: np.ndarray) -> np.ndarray:
    """Add 15 points that close the contour above: the jaw mirrored, at 2/3 of its depth.

    Args:
        landmarks: (68, 2) as (x, y).

    Returns:
        (83, 2); point 68 mirrors jaw point 15, point 82 mirrors jaw point 1.
    """
    jaw = landmarks[:17]
    along = jaw[16] - jaw[0]
    length = np.hypot(*along)
    # ends in one place have no line between them: then the picture's own horizontal
    along = along / length if length > 1e-6 else np.array((1.0, 0.0))
    down = np.array((-along[1], along[0]))
    depth = (jaw[15:0:-1] - (jaw[0] + jaw[16]) / 2) @ down
    mirrored = jaw[15:0:-1] - (1 + MIRRORED) * depth[:, None] * down
    return np.concatenate((landmarks, mirrored))


def trace(points: np.ndarray, longest: int) -> np.ndarray:
    """Follow a curve through its key points, four samples for each pixel of a chord.

    Args:
        points: (N, 2) as (x, y), N at least 2.
        longest: pixels; a piece longer than this is drawn with gaps, for it leaves the picture.

    Returns:
        (M, 2) points of the curve, the key points among them.
    """
    last = len(points) - 1
    pieces = []
    for start in range(0, last, 2):
        first = max(min(start, last - 2), 0)
        triple = points[first : first + 3]
        knots = np.concatenate(([0.0], np.hypot(*np.diff(triple, axis=0).T).cumsum()))
        begin = knots[start - first]
        steps = int(np.ceil(4 * min(knots[-1] - begin, 2 * longest))) + 2
        s = np.concatenate((np.linspace(begin, knots[-1], steps), knots[start - first :]))
        pieces.append(_interpolate(knots, triple, np.sort(s)))
    return np.concatenate(pieces)


def _interpolate(knots: np.ndarray, values: np.ndarray, s: np.ndarray) -> np.ndarray:
    """Lagrange's polynomial through 2 or 3 knots; straight pieces where two knots coincide."""
    if np.diff(knots).min() < 1e-9:
        if knots[-1] < 1e-9:
            return np.repeat(values[:1], len(s), axis=0)
        return np.stack([np.interp(s, knots, column) for column in values.T], 1)
    total = np.zeros((len(s), 2))
    for i, knot in enumerate(knots):
        weight = np.ones_like(s)
        for j, other in enumerate(knots):
            if j != i:
                weight = weight * (s - other) / (knot - other)
        total += weight[:, None] * values[i]
    return total


def _mark(canvas: np.ndarray, curve: np.ndarray, value: float) -> None:
    """Set the pixels on a curve."""
    height, width = canvas.shape
    near = np.clip(curve, -1e6, 1e6)  # far outside stays outside, and whole numbers stay exact
    column, row = np.floor(near + 0.5).astype(np.int64).T
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    canvas[row[inside], column[inside]] = value


def _distance(on_curve: np.ndarray) -> np.ndarray:
    """L1 distance of every pixel to the curve, in pixels."""
    from scipy.ndimage import distance_transform_cdt

    if not on_curve.any():
        return np.full(on_curve.shape, float(sum(on_curve.shape)))
    return distance_transform_cdt(~on_curve, metric="taxicab").astype(np.float64)


def _labels(curves: list[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    from skimage.draw import polygon

    canvas = np.zeros(size, dtype=np.float32)
    for label, sides in PARTS:
        outline = np.concatenate([curves[side] for side in sides])
        rows, columns = polygon(outline[:, 1], outline[:, 0], shape=size)
        canvas[rows, columns] = label
        _mark(canvas, outline, label)
    return canvas


def _edges(frame: Tensor) -> np.ndarray:
    from skimage.feature import canny

    red, green, blue = frame.detach().to("cpu", torch.float64).numpy()
    luma = LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
    return canny((luma + 1) / 2)


def _check(
    landmarks: Tensor, frame: Tensor | None, size: tuple[int, int] | None
) -> tuple[int, int]:
    """Refuse what cannot be drawn; give (H, W)."""
    if not isinstance(landmarks, Tensor):
        raise TypeError(f"landmarks is {type(landmarks).__name__}, expected a tensor (68, 2)")
    if tuple(landmarks.shape) != (POINTS, 2):
        raise ValueError(
            f"landmarks have shape {tuple(landmarks.shape)}; expected ({POINTS}, 2): one face's "
            f"{POINTS} points in iBUG order, each (x, y) in pixels"
        )
    if not torch.isfinite(landmarks).all():
        bad = int((~torch.isfinite(landmarks)).any(dim=-1).sum())
        raise ValueError(f"{bad} of {POINTS} landmarks are NaN or infinite: detect the face anew")
    if frame is not None:
        if not isinstance(frame, Tensor):
            raise TypeError(f"frame is {type(frame).__name__}, expected a tensor (3, H, W)")
        if frame.ndim != 3 or frame.shape[0] != 3:
            raise ValueError(f"frame has shape {tuple(frame.shape)}; expected (3, H, W) in [-1, 1]")
        if not torch.isfinite(frame).all():
            raise ValueError("frame holds NaN or infinity; expected pictures in [-1, 1]")
        if size is not None and tuple(size) != tuple(frame.shape[1:]):
            raise ValueError(
                f"size is {tuple(size)}, the frame has {tuple(frame.shape[1:])}: leave size out"
            )
        size = tuple(frame.shape[1:])
    if size is None:
        raise ValueError("neither frame nor size is given; pass size=(H, W) of the maps in pixels")
    if len(size) != 2 or min(size) < 1:
        raise ValueError(f"size is {tuple(size)}; expected (H, W), both at least 1 pixel")
    return int(size[0]), int(size[1])
