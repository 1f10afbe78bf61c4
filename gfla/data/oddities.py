"""Pictures as strangers' files hold them: what is odd about one, and whether it decodes at all.

The readers decode a picture with Pillow and convert it to RGB, whatever it is. For most oddities
that is right, for some it is silently wrong: sixteen bits are clipped to white, and what a camera
says about how it was held is not heeded. `photographs.open_photograph` puts those right.
"""

from __future__ import annotations

import struct
import warnings
from pathlib import Path
from typing import NamedTuple

from PIL import Image

LARGEST = 64_000_000  # pixels; a header that promises more is refused before it is decoded
ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff")
_NAMES = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".bmp": "BMP", ".webp": "WEBP"}
_NAMES |= {".gif": "GIF", ".tif": "TIFF", ".tiff": "TIFF"}
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, MemoryError)
_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)
_ORIENTATION = 0x0112  # EXIF's tag
_WIDE = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
_MANY = "header promises too many pixels, not decoded"
_MENDED = "`data prepare` writes it"


class Oddity(NamedTuple):
    """One thing about a picture."""

    severity: str  # of gfla.data.findings
    what: str
    remedy: str = ""
    detail: str = ""


class Examined(NamedTuple):
    """What a file turned out to be."""

    size: tuple[int, int] | None  # (h, w) in pixels as stored; None = cannot be decoded
    oddities: tuple[Oddity, ...]


def examine(path: str | Path) -> Examined:
    """Decode one picture wholly and say what is odd about it; never raises for what it holds.

    That a file decodes does not prove it whole: most JPEGs do with a few wrong bytes. Only a
    checksum can tell.

    Args:
        path: the file.

    Returns:
        Size and oddities; no size when the reader would stop at it.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            head = file.read(64)
        if not head:
            return _lost("empty file (0 bytes)", "fetch it again")
        if is_pickle(head):
            return _lost("no picture but a pickle, not opened: it could run code", "delete it")
        with warnings.catch_warnings(), Image.open(path) as picture:
            warnings.simplefilter("ignore")  # remarks on metadata; bombs are counted here
            size = picture.height, picture.width
            if size[0] * size[1] > LARGEST:
                return _lost(_MANY, "make it smaller", f"{size[0]}x{size[1]}")
            oddities = tuple(_oddities(path, picture))
            picture.load()
    except FileNotFoundError:
        return _lost("picture is missing", "fetch it, or take it out of the lists")
    except _BOMBS as error:
        return _lost(_MANY, "make it smaller", str(error))
    except _BROKEN as error:
        return _lost("picture cannot be decoded", "it is damaged, fetch it again", _first(error))
    return Examined(size, oddities)


def is_pickle(head: bytes) -> bool:
    """Whether a file's first bytes are those of a pickle of protocol 2 or later.

    >>> is_pickle(bytes([0x80, 4, 0x95])), is_pickle(b"from,to")
    (True, False)
    """
    return len(head) > 1 and head[0] == 0x80 and 2 <= head[1] <= 5


def _oddities(path: Path, picture: Image.Image) -> list[Oddity]:
    """What conversion to RGB changes, or should."""
    found = []
    expected = _NAMES.get(path.suffix.lower())
    if expected and picture.format != expected:
        what = f"{picture.format} by content, {path.suffix} by name"
        found.append(Oddity("warning", what, "read as what it is"))
    if getattr(picture, "n_frames", 1) > 1:
        found.append(Oddity("note", "several frames in one file", "the first is read"))
    turn = picture.getexif().get(_ORIENTATION, 1)
    if turn not in (0, 1):
        what = "turned by EXIF, which the reader does not heed"
        found.append(Oddity("warning", what, f"{_MENDED} upright", f"orientation {turn}"))
    if picture.mode in _WIDE:
        what = "16 bits or more, which the reader clips to white"
        found.append(Oddity("warning", what, f"{_MENDED} with 8", picture.mode))
    elif picture.mode == "CMYK":
        what = "CMYK, made for printing"
        found.append(Oddity("warning", what, "converted without a colour profile: look at it"))
    elif picture.has_transparency_data:
        what = "transparent parts, of which the reader shows the hidden colour"
        found.append(Oddity("warning", what, f"{_MENDED} over white", picture.mode))
    elif picture.mode in ("L", "1"):
        found.append(Oddity("note", "grey picture", "its one channel is repeated"))
    return found


def _lost(what: str, remedy: str, detail: str = "") -> Examined:
    return Examined(None, (Oddity("error", what, remedy, detail),))


def _first(error: BaseException) -> str:
    """The first line of a message, without the folder that Pillow puts in it."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return "no known kind of picture" if text.startswith("cannot identify") else text[:120]
