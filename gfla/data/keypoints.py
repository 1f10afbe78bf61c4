"""OpenPose-18 key points: their names, their checks, their file format and their heat maps.

A skeleton is a tensor (..., 18, 2) of (x, y) in pixels, x to the right and y down, pixel centres at
integers. A joint with either coordinate exactly -1 is missing, so no joint that is there may sit at
exactly -1. In the authors' files, whole numbers inside the picture, none does;
other negative values are joints off the picture, which an affine map can bring about.
"""

from __future__ import annotations

import colorsys
import json
import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from gfla.storage import atomic_write

OPENPOSE_18 = (
    *("nose", "neck"),
    *("right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist"),
    *("right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle"),
    *("right_eye", "left_eye", "right_ear", "left_ear"),
)

# The 17 limbs that OpenPose draws, as indices into OPENPOSE_18; limb i has colour LIMB_COLORS[i].
LIMBS = (
    *((1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7)),  # neck to shoulders, arms
    *((1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13)),  # neck to hips, legs
    *((1, 0), (0, 14), (14, 16), (0, 15), (15, 17)),  # neck to nose, to eyes, to ears
)

# OpenPose's colour wheel as RGB in 0..255: a step of 20 degrees from limb to limb, from red on.
LIMB_COLORS = tuple(
    tuple(round(255 * channel) for channel in colorsys.hsv_to_rgb(limb / 18, 1.0, 1.0))
    for limb in range(len(LIMBS))
)

MISSING = -1.0
_HEADER = "name:keypoints_y:keypoints_x"


def present(keypoints: Tensor) -> Tensor:
    """Tell which joints are there.

    Args:
        keypoints: (..., K, 2) as (x, y) in pixels.

    Returns:
        (..., K) bool, False where either coordinate is exactly -1.

    >>> present(torch.tensor([[3.0, 4.0], [-1.0, -1.0], [-1.5, 4.0]])).tolist()
    [True, False, True]
    """
    return (keypoints != MISSING).all(dim=-1)


def check_skeletons(keypoints: Tensor, joints: int = len(OPENPOSE_18)) -> Tensor:
    """Refuse what is not a set of skeletons.

    Args:
        keypoints: (..., joints, 2) as (x, y) in pixels, -1 = missing.
        joints: how many joints a skeleton has.

    Returns:
        The same tensor.

    Raises:
        ValueError: another shape, a coordinate that is not finite.
    """
    if keypoints.ndim < 2 or tuple(keypoints.shape[-2:]) != (joints, 2):
        raise ValueError(
            f"keypoints have shape {tuple(keypoints.shape)}; expected (..., {joints}, 2): "
            f"{joints} joints in the order of OPENPOSE_18, each (x, y) in pixels"
        )
    if not torch.isfinite(keypoints).all():
        bad = int((~torch.isfinite(keypoints)).any(dim=-1).sum())
        raise ValueError(f"{bad} joints are NaN or infinite; mark a missing joint as (-1, -1)")
    return keypoints


def rescale(keypoints: Tensor, canvas: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Carry key points from the canvas they were measured on to a picture of another size.

    (x, y) -> (x · W / w, y · H / h): the authors' rule, which scales pixel indices and so shifts
    a joint by up to (W / w - 1) / 2 pixels against a resize that keeps pixel centres. Multiplied
    before dividing, so that what should be a whole number is one before it is truncated.

    Args:
        keypoints: (..., K, 2) as (x, y) in pixels of the canvas, -1 = missing.
        canvas: (h, w) that the coordinates refer to; (256, 176) in the authors' DeepFashion files.
        size: (H, W) of the picture.

    Returns:
        (..., K, 2) float32 in pixels of the picture; missing joints stay (-1, -1).

    >>> rescale(torch.tensor([[88.0, 128.0], [-1.0, -1.0]]), (256, 176), (256, 256)).tolist()
    [[128.0, 128.0], [-1.0, -1.0]]
    """
    points = keypoints.to(torch.float32)
    to = torch.tensor((size[1], size[0]), dtype=torch.float32, device=points.device)
    of = torch.tensor((canvas[1], canvas[0]), dtype=torch.float32, device=points.device)
    return _keep_missing(points * to / of, keypoints)


def affine_matrix(
    angle: float, shift: tuple[float, float], scale: float, size: tuple[int, int]
) -> Tensor:
    """Build the map that the authors move a picture and its key points with.

    p -> scale · R(angle) (p - c) + c + shift, with the centre c = (W/2 + 0.5, H/2 + 0.5).

    Args:
        angle: degrees; positive turns x towards y (clockwise on the screen).
        shift: (x, y) in pixels.
        scale: 1 keeps the size.
        size: (H, W) of the picture.

    Returns:
        (3, 3) float64, acting on (x, y, 1).
    """
    turn = math.radians(angle)
    cos, sin = scale * math.cos(turn), scale * math.sin(turn)
    centre = torch.tensor((size[1] / 2 + 0.5, size[0] / 2 + 0.5), dtype=torch.float64)
    matrix = torch.eye(3, dtype=torch.float64)
    matrix[:2, :2] = torch.tensor(((cos, -sin), (sin, cos)), dtype=torch.float64)
    offset = torch.tensor(shift, dtype=torch.float64)
    matrix[:2, 2] = centre + offset - matrix[:2, :2] @ centre
    return matrix


def transform(keypoints: Tensor, matrix: Tensor) -> Tensor:
    """Move key points by an affine map; missing joints stay missing.

    Args:
        keypoints: (..., K, 2) as (x, y) in pixels, -1 = missing.
        matrix: (3, 3) acting on (x, y, 1).

    Returns:
        (..., K, 2) float32; a joint may land outside the picture.
    """
    matrix = matrix.to(device=keypoints.device, dtype=torch.float64)
    moved = keypoints.to(torch.float64) @ matrix[:2, :2].T + matrix[:2, 2]
    return _keep_missing(moved.to(torch.float32), keypoints)


def _keep_missing(moved: Tensor, keypoints: Tensor) -> Tensor:
    return torch.where(present(keypoints).unsqueeze(-1), moved, MISSING)


def heatmaps(
    keypoints: Tensor, size: int | tuple[int, int], sigma: float = 6.0, truncate: bool = False
) -> Tensor:
    """Draw one Gaussian blob for each joint.

    P_k(X, Y) = exp(-((X - x_k)² + (Y - y_k)²) / (2 σ²)), 0 everywhere when joint k is missing.
    The Gaussian factors into a row and a column, so H + W exponentials are computed, not H · W.

    Args:
        keypoints: (..., K, 2) as (x, y) in pixels of `size`; a coordinate of exactly -1 = missing.
        size: (H, W) of the maps in pixels, or one number for a square.
        sigma: standard deviation in pixels; the authors use 6 at every size.
        truncate: cut coordinates to whole pixels (towards zero) first, as the authors do.

    Returns:
        (..., K, H, W) float32 in [0, 1]. The peak is 1 where a joint lies on a pixel centre. One
        that lies outside is not clipped: its tail still shows (docs/spec.md, 7.1).

    Raises:
        ValueError: wrong shape, non-finite coordinate, size or sigma not positive.

    >>> maps = heatmaps(torch.tensor([[2.0, 1.0], [-1.0, -1.0]]), (4, 5))
    >>> maps.shape, float(maps[0, 1, 2]), float(maps[1].max())
    (torch.Size([2, 4, 5]), 1.0, 0.0)
    """
    height, width = (size, size) if isinstance(size, int) else size
    if keypoints.ndim < 2 or keypoints.shape[-1] != 2:
        raise ValueError(
            f"keypoints have shape {tuple(keypoints.shape)}; expected (..., K, 2) as (x, y)"
        )
    if height < 1 or width < 1:
        raise ValueError(f"size is {(height, width)}; expected (H, W), both at least 1 pixel")
    if not (sigma > 0 and math.isfinite(sigma)):
        raise ValueError(f"sigma is {sigma}; expected pixels above 0, the paper has 6")
    there = present(keypoints)  # before truncation: -1.4 is off the picture, not missing
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


def read_annotations(path: str | Path) -> dict[str, Tensor]:
    """Read the authors' key-point file.

    Its lines are `name:keypoints_y:keypoints_x`, the two lists in JSON with one number for each of
    the 18 joints, -1 = missing (docs/spec.md, 7.1).

    Args:
        path: the file, header line included.

    Returns:
        name -> (18, 2) float32 as (x, y) in pixels of the annotation's canvas.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line that does not follow the format; the message names file and line.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no key-point file {path}: check the folder and the phase")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text ({error}): write it as {_HEADER}") from error
    if not lines or lines[0].replace(" ", "") != _HEADER:
        found = lines[0][:80] if lines else "an empty file"
        raise ValueError(f"{path}, line 1: expected the header {_HEADER!r}, found {found!r}")
    skeletons: dict[str, Tensor] = {}
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        name, skeleton = _parse_line(line, where)
        if name in skeletons and not torch.equal(skeletons[name], skeleton):
            raise ValueError(f"{where}: a second, different skeleton for {name!r}; keep one")
        skeletons[name] = skeleton
    return skeletons


def write_annotations(path: str | Path, skeletons: Mapping[str, Tensor]) -> Path:
    """Write the authors' key-point file; coordinates are rounded to whole pixels, as theirs are.

    Args:
        path: the file; it is replaced in one step.
        skeletons: name -> (18, 2) as (x, y) in pixels of the annotation's canvas, -1 = missing. A
            joint off the picture that would round to -1, and so vanish, is written as -2.

    Returns:
        The path.

    Raises:
        ValueError: a skeleton of another shape, a name that the separator or a line end would cut.
    """
    lines = [_HEADER]
    for name, skeleton in skeletons.items():
        if not name or name != name.strip() or any(mark in name for mark in ":\r\n"):
            raise ValueError(f"{name!r} cannot name a picture: empty, or holds ':' or a line end")
        whole = check_skeletons(skeleton.detach().cpu()).round()
        whole = torch.where((whole == MISSING) & (skeleton.cpu() != MISSING), MISSING - 1.0, whole)
        xs, ys = whole.to(torch.int64).T.tolist()
        lines.append(f"{name}:{json.dumps(ys)}:{json.dumps(xs)}")
    return atomic_write(path, "\n".join(lines) + "\n")


def _parse_line(line: str, where: str) -> tuple[str, Tensor]:
    parts = [part.strip() for part in line.split(":")]
    if len(parts) != 3 or not parts[0]:
        raise ValueError(
            f"{where}: {len(parts)} fields between ':', expected 3 as in {_HEADER}; "
            f"found {line[:60]!r}"
        )
    name, ys, xs = parts[0], _numbers(parts[1], "y", where), _numbers(parts[2], "x", where)
    return name, torch.tensor((xs, ys), dtype=torch.float32).T.contiguous()


def _numbers(text: str, axis: str, where: str) -> list[float]:
    """Read one list of 18 finite numbers."""
    joints = len(OPENPOSE_18)
    try:
        values = json.loads(text)
    except ValueError as error:
        raise ValueError(
            f"{where}: the {axis} list is not JSON ({error}), found {text[:60]!r}; "
            f"expected {joints} numbers such as [31, -1, ...]"
        ) from error
    if not isinstance(values, list) or len(values) != joints:
        count = len(values) if isinstance(values, list) else repr(values)[:60]
        raise ValueError(
            f"{where}: the {axis} list holds {count}, expected {joints} numbers, one for each "
            "joint of OPENPOSE_18, -1 where one is missing"
        )
    for index, value in enumerate(values):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not abs(value) < 1e6:  # NaN compares false and is refused here as well
            raise ValueError(
                f"{where}: {axis} of {OPENPOSE_18[index]} is {value!r}, expected a pixel "
                "coordinate, -1 when missing"
            )
    return values
