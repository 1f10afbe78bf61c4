"""A photograph of one's own as the networks take pictures: upright, RGB, eight bits a channel.

What had to be done to it is told, and the file is never written to.
"""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from gfla.data.posing import Point, Pose

_LARGEST = 64_000_000  # pixels; a header that promises more is refused before it is decoded
_ORIENTATION = 0x0112  # EXIF's number of the note which way is up
_WIDE = ("I;16", "I;16B", "I;16L", "I;16N", "I")  # grey with sixteen bits, by Pillow's names
# EXIF's orientation -> where the pixel (x, y) of the file goes, with its last column r and row b
_TURNED = {
    2: lambda x, y, r, b: (r - x, y),
    3: lambda x, y, r, b: (r - x, b - y),
    4: lambda x, y, r, b: (x, b - y),
    5: lambda x, y, r, b: (y, x),
    6: lambda x, y, r, b: (b - y, x),
    7: lambda x, y, r, b: (b - y, r - x),
    8: lambda x, y, r, b: (y, r - x),
}


class Photograph(NamedTuple):
    """A picture that was read."""

    picture: Image.Image  # mode RGB, upright
    notes: tuple[str, ...]  # what was done to it
    stored: tuple[int, int]  # (H, W) as it lies in the file, before it was turned
    orientation: int = 1  # EXIF's, 1 to 8

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return self.picture.height, self.picture.width

    def upright(self, point: Point) -> Point:
        """Carry a point of the stored picture to where it is seen.

        Args:
            point: (x, y) in pixels as the file stores them.

        Returns:
            (x, y) in pixels of `picture`.
        """
        turn = _TURNED.get(self.orientation)
        return turn(*point, self.stored[1] - 1, self.stored[0] - 1) if turn else point


def open_photograph(source: str | Path | bytes) -> Photograph:
    """Read a picture, whatever it is stored as.

    It is turned as its EXIF note says. Transparent parts become white, grey and CMYK become RGB,
    sixteen bits are divided by 257, of an animation the first frame is taken.

    Args:
        source: path of a file, or its bytes.

    Returns:
        The photograph, with a note for everything that was done.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: no picture, a damaged one, or one of more than 64 million pixels.
    """
    held = isinstance(source, bytes | bytearray | memoryview)
    what = "the picture" if held else str(source)
    if not held and not Path(source).is_file():
        raise FileNotFoundError(f"there is no picture {what}: check the name")
    broken = (OSError, SyntaxError, ValueError, EOFError, struct.error)
    bombs = (Image.DecompressionBombError, Image.DecompressionBombWarning)
    try:
        with Image.open(io.BytesIO(source) if held else Path(source)) as opened:
            if opened.width * opened.height > _LARGEST:
                raise ValueError(f"it has {opened.width}×{opened.height} pixels; make it smaller")
            frames = getattr(opened, "n_frames", 1)
            turn = opened.getexif().get(_ORIENTATION, 1)
            stored = (opened.height, opened.width)
            upright = ImageOps.exif_transpose(opened)
            picture, notes = _rgb(upright)
    except (*broken, *bombs) as error:
        raise ValueError(f"{what} cannot be read as a picture: {error}") from error
    if frames > 1:
        notes.insert(0, f"Of its {frames} frames the first was taken.")
    if turn in _TURNED:
        notes.insert(0, f"It was turned upright, as its EXIF note says (orientation {turn}).")
    return Photograph(picture, tuple(notes), stored, turn if turn in _TURNED else 1)


def told_before_turning(photograph: Photograph, pose: Pose) -> Pose | None:
    """The pose of a detector that did not heed the EXIF note.

    Args:
        photograph: of the person.
        pose: in pixels of the canvas that its file names.

    Returns:
        The pose in pixels of the upright picture, if its canvas has the shape of the stored picture
        and not that of the upright one; None in every other case.
    """
    if pose.size != photograph.stored or pose.size == photograph.size:
        return None
    return Pose(tuple(p and photograph.upright(p) for p in pose.points), photograph.size)


def _rgb(picture: Image.Image) -> tuple[Image.Image, list[str]]:
    """A picture in RGB, and what was done for it."""
    if picture.mode in _WIDE:
        wide = np.asarray(picture).astype(np.int64)
        if wide.max(initial=0) <= 255:  # the wide mode of a picture that has eight bits
            return Image.fromarray(wide.astype(np.uint8)).convert("RGB"), ["Grey became RGB."]
        narrow = (wide.clip(0, 65535) / 257).round().astype(np.uint8)
        return Image.fromarray(narrow).convert("RGB"), ["Sixteen bits grey became eight bits RGB."]
    if picture.mode == "F":
        raise ValueError("its pixels are floating-point numbers; save it as PNG or JPEG")
    if picture.has_transparency_data:
        glass = picture.convert("RGBA")
        white = Image.alpha_composite(Image.new("RGBA", glass.size, "white"), glass)
        return white.convert("RGB"), ["Its transparent parts became white."]
    if picture.mode in ("RGB", "P"):
        return picture.convert("RGB"), []
    kind = {"L": "Grey", "1": "Black and white"}.get(picture.mode, picture.mode)
    note = " without its colour profile" if picture.mode in ("CMYK", "LAB") else ""
    return picture.convert("RGB"), [f"{kind} became RGB{note}."]
