"""A skeleton over the photograph that it was told for, with what looks wrong written below."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gfla.data.keypoints import LIMB_COLORS, LIMBS, OPENPOSE_18
from gfla.data.posing import Pose

_TALL = 640  # pixels; smaller photographs are drawn larger, larger ones smaller
_WIDEST = 1200
_INK, _PAPER, _RIM = (34, 34, 34), (255, 255, 255), (255, 255, 255)
_LETTERS = 15  # pixels
_NAMED = {"nose": "nose", "neck": "neck"} | {
    f"{side}_{joint}": f"{mark} {joint}"
    for side, mark in (("right", "R"), ("left", "L"))
    for joint in ("wrist", "ankle", "shoulder", "hip")
}


def over(picture: Image.Image, pose: Pose, lines: Sequence[str] = ()) -> np.ndarray:
    """Draw a skeleton over a photograph.

    Limbs have OpenPose's colours. Beside the joints that tell the order stands their name, with R
    and L for the person's own right and left; what lies outside of the photograph is drawn on the
    white around it.

    Args:
        picture: the photograph, mode RGB.
        pose: in its pixels.
        lines: sentences, written below.

    Returns:
        (h, w, 3) uint8.

    Raises:
        ValueError: a pose of another size.
    """
    if pose.size != (picture.height, picture.width):
        raise ValueError(
            f"the pose is for {pose.size}, the picture has {(picture.height, picture.width)}: "
            "use gfla.data.posing.resized"
        )
    left, top, right, bottom = _margins(picture, pose)
    zoom = min(_TALL / picture.height, _WIDEST / (picture.width + left + right))
    sheet = Image.new(
        "RGB",
        (
            max(1, round((picture.width + left + right) * zoom)),
            max(1, round((picture.height + top + bottom) * zoom)),
        ),
        _PAPER,
    )
    size = (max(1, round(picture.width * zoom)), max(1, round(picture.height * zoom)))
    sheet.paste(picture.resize(size), (round(left * zoom), round(top * zoom)))
    _skeleton(sheet, pose, zoom, (left, top))
    return np.asarray(_captioned(sheet, lines))


def _margins(picture: Image.Image, pose: Pose) -> tuple[float, float, float, float]:
    """Pixels of the photograph to add on each side, so that all joints are on paper.

    At most its own size: a scale that is wrong by ten shall not make the photograph a stamp.
    """
    there = [point for point in pose.points if point] or [(0.0, 0.0)]
    xs, ys = zip(*there, strict=True)
    wide, tall = picture.width, picture.height
    beyond = (-min(xs), -min(ys), max(xs) - wide + 1, max(ys) - tall + 1)
    return tuple(
        min(out + 0.04 * side, side) if out > 0 else 0.0
        for out, side in zip(beyond, (wide, tall, wide, tall), strict=True)
    )


def _skeleton(sheet: Image.Image, pose: Pose, zoom: float, corner: tuple[float, float]) -> None:
    pen, font = ImageDraw.Draw(sheet), _font(_LETTERS)
    places = [
        p and ((p[0] + 0.5 + corner[0]) * zoom, (p[1] + 0.5 + corner[1]) * zoom)
        for p in pose.points
    ]
    thick = max(2, round(sheet.height / 160))
    for width, colors in ((thick + 2, [_RIM] * len(LIMBS)), (thick, LIMB_COLORS)):
        for (a, b), color in zip(LIMBS, colors, strict=True):
            if places[a] and places[b]:
                pen.line([*places[a], *places[b]], fill=color, width=width)
    for joint, place in zip(OPENPOSE_18, places, strict=True):
        if not place:
            continue
        (x, y), r = place, thick
        pen.ellipse([x - r, y - r, x + r, y + r], fill=_INK, outline=_RIM)
        if joint in _NAMED:
            left = x + r + 3 + pen.textlength(_NAMED[joint], font) > sheet.width
            pen.text(
                (x - r - 3 if left else x + r + 3, y), _NAMED[joint], fill=_PAPER, font=font,
                anchor="rm" if left else "lm", stroke_width=2, stroke_fill=_INK,
            )  # fmt: skip


def _captioned(sheet: Image.Image, lines: Sequence[str]) -> Image.Image:
    """The sheet with sentences on white below it."""
    if not lines:
        return sheet
    font, width = _font(_LETTERS), max(sheet.width, 420)
    letters = max(20, int((width - 16) / (0.56 * _LETTERS)))  # mean width of a letter
    rows = [row for line in lines for row in textwrap.wrap(line, letters, subsequent_indent="   ")]
    step = round(1.35 * _LETTERS)
    page = Image.new("RGB", (width, sheet.height + step * len(rows) + 14), _PAPER)
    page.paste(sheet, ((width - sheet.width) // 2, 0))
    pen = ImageDraw.Draw(page)
    for number, row in enumerate(rows):
        pen.text((8, sheet.height + 7 + step * number), row, fill=_INK, font=font)
    return page


def _font(size: int) -> ImageFont.FreeTypeFont:
    """The letters of the figures, which come with matplotlib: the same on every machine."""
    import matplotlib

    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(str(path), size)
