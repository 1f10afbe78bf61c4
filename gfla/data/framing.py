"""The part of a photograph that a model is shown: a box around the person, in the model's shape.

The box may reach beyond the photograph; what lies there is made up. Key points go along, and the
way back is kept, so that what was painted can be put where it was cut out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from PIL import Image

from gfla.data.posing import Pose

# The joints of the procedural people, eyes to ankles, take up this share of their pictures' height.
FILL = 0.77
OUTSIDE = ("edge", "reflect", "white")  # what is made up beyond the photograph's rim
_LEAST = 3.0  # pixels that a person must extend over
_LARGEST = 64_000_000  # pixels of a box, beyond which a joint must have been told wrongly


class Box(NamedTuple):
    """Whole pixels of a photograph, and the size of the canvas that they are brought to."""

    left: int  # of the photograph, may be negative
    top: int
    width: int
    height: int
    size: tuple[int, int]  # (H, W) of the canvas

    def into(self, pose: Pose) -> Pose:
        """A pose in the photograph -> the same pose on the canvas.

        (x, y) -> ((x - left + ½) W / width - ½, (y - top + ½) H / height - ½)
        """
        across, down = self.size[1] / self.width, self.size[0] / self.height
        points = tuple(
            p and ((p[0] - self.left + 0.5) * across - 0.5, (p[1] - self.top + 0.5) * down - 0.5)
            for p in pose.points
        )
        return Pose(points, self.size, tuple(z * across for z in pose.depth))

    def out_of(self, pose: Pose, photograph: tuple[int, int]) -> Pose:
        """A pose on the canvas -> the same pose in the photograph, of `photograph` = (H, W)."""
        across, down = self.width / self.size[1], self.height / self.size[0]
        points = tuple(
            p and ((p[0] + 0.5) * across - 0.5 + self.left, (p[1] + 0.5) * down - 0.5 + self.top)
            for p in pose.points
        )
        return Pose(points, photograph, tuple(z * across for z in pose.depth))


def around(poses: Iterable[Pose], size: tuple[int, int], fill: float = FILL) -> Box:
    """Choose the box around a person, in the shape of a canvas.

    The joints take up `fill` of its height or of its width, whichever is reached first, and lie in
    its middle.

    Args:
        poses: all that the box must hold, in pixels of one photograph.
        size: (H, W) of the canvas.
        fill: share of a side, above 0, at most 1.

    Returns:
        The box, its sides rounded to whole pixels.

    Raises:
        ValueError: no joint is there, `fill` out of its range, or joints so near to one another or
            so far apart that their scale must be wrong.

    >>> pose = Pose(((40.0, 10.0), (40.0, 30.0), *[None] * 16), (64, 64))
    >>> around([pose], (64, 64), fill=0.5)
    Box(left=20, top=0, width=40, height=40, size=(64, 64))
    """
    if not 0 < fill <= 1:
        raise ValueError(f"fill is {fill}: give the share of the canvas that the joints take up")
    there = [point for pose in poses for point in pose.points if point]
    if not there:
        raise ValueError("no joint is there to put a box around")
    xs, ys = zip(*there, strict=True)
    wide, tall = max(xs) - min(xs), max(ys) - min(ys)
    if max(wide, tall) < _LEAST:
        raise ValueError(
            f"the joints lie within {max(wide, tall):.2g} pixels: no person is as small, check "
            "their scale"
        )
    unit = max(wide / size[1], tall / size[0]) / fill  # pixels of the photograph to one of ours
    width, height = max(1, round(unit * size[1])), max(1, round(unit * size[0]))
    if width * height > _LARGEST:
        raise ValueError(
            f"the joints lie up to {max(wide, tall):.0f} pixels apart: check their scale"
        )
    middle = (min(xs) + max(xs) + 1) / 2, (min(ys) + max(ys) + 1) / 2
    left, top = round(middle[0] - width / 2), round(middle[1] - height / 2)
    return Box(left, top, width, height, (int(size[0]), int(size[1])))


def whole(photograph: tuple[int, int], size: tuple[int, int]) -> Box:
    """The box of the whole photograph (H, W), in the shape of a canvas; nothing is cut off."""
    height = max(photograph[0], round(photograph[1] * size[0] / size[1]))
    width = max(photograph[1], round(photograph[0] * size[1] / size[0]))
    left, top = (width - photograph[1]) // 2, (height - photograph[0]) // 2
    return Box(-left, -top, width, height, (int(size[0]), int(size[1])))


def cut(picture: Image.Image, box: Box, outside: str = "edge") -> Image.Image:
    """The canvas: what a box shows, resized.

    Args:
        picture: the photograph, mode RGB.
        box: as `around` gives it.
        outside: of OUTSIDE: the rim repeated, the picture mirrored at its rim, or white.

    Returns:
        A picture of `box.size`, made smaller with an antialiasing filter.

    Raises:
        ValueError: another word for `outside`.
    """
    if outside not in OUTSIDE:
        raise ValueError(f"outside is {outside!r}: choose one of {', '.join(OUTSIDE)}")
    pixels = np.asarray(picture)
    rows = _lines(box.top, box.height, picture.height, outside)
    columns = _lines(box.left, box.width, picture.width, outside)
    shown = pixels[rows.clip(0)][:, columns.clip(0)]
    shown[rows < 0] = 255
    shown[:, columns < 0] = 255
    return Image.fromarray(shown).resize(box.size[::-1], Image.Resampling.BILINEAR)


def put_back(picture: Image.Image, painted: Image.Image, box: Box) -> Image.Image:
    """The photograph with a painted canvas where the box was.

    Args:
        picture: the photograph, mode RGB; it stays as it is.
        painted: of `box.size`; what lies beyond the photograph is lost.
        box: that the canvas was cut with.

    Returns:
        A new picture, as large as the photograph.
    """
    patch = painted.resize((box.width, box.height), Image.Resampling.BICUBIC)
    again = picture.copy()
    again.paste(patch, (box.left, box.top))
    return again


def beyond(box: Box, photograph: tuple[int, int]) -> float:
    """Share of a box that lies outside of the photograph (H, W), and so has to be made up.

    >>> beyond(Box(-5, 0, 10, 10, (64, 64)), (10, 10))
    0.5
    """
    across = min(box.left + box.width, photograph[1]) - max(box.left, 0)
    down = min(box.top + box.height, photograph[0]) - max(box.top, 0)
    return 1 - max(across, 0) * max(down, 0) / (box.width * box.height)


def _lines(first: int, count: int, length: int, outside: str) -> np.ndarray:
    """Which line of the photograph stands at each place of a box; -1 = white."""
    places = np.arange(first, first + count)
    if outside == "edge":
        return places.clip(0, length - 1)
    if outside == "white":
        return np.where((places >= 0) & (places < length), places, -1)
    lap = max(2 * (length - 1), 1)  # the rim itself is not repeated
    back = places % lap
    return np.minimum(back, lap - back).clip(0, length - 1)
