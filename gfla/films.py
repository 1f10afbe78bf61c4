"""Moving pictures: clips as GIF, WebP or animated PNG files, and as strips on paper.

All through Pillow. The same clips give the same bytes. In a notebook use `show`: it makes an
animated PNG, which every viewer of notebooks takes for a picture and every browser plays;
nbconvert, and so nbviewer, leaves a GIF out.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageColor, ImageDraw, ImageFont
from torch import Tensor

from gfla import viz
from gfla.pictures import to_uint8
from gfla.storage import atomic_write

if TYPE_CHECKING:
    import IPython.display

    Clips = Tensor | Mapping[str, Tensor] | Sequence[Mapping[str, Tensor]]

KINDS = {".gif": "GIF", ".webp": "WEBP", ".png": "PNG"}  # the last one animated, as APNG
MOST = 5_000_000  # bytes; GitHub shows no larger picture in a README
_FASTEST = 50  # frames a second; browsers play what is faster than this at ten
_GAP, _LETTERS = 6, 12  # pixels between pictures; height of the letters
_SAMPLE = 200_000  # pixels that a palette is chosen for, of many more that are alike


class Film(NamedTuple):
    """What was written."""

    path: Path
    frames: int
    size: tuple[int, int]  # (H, W) in pixels, labels included
    bytes: int
    seconds: float


def write(
    path: str | Path,
    clips: Clips,
    fps: float = 12,
    loop: bool = True,
    scale: int = 1,
    most: int = MOST,
) -> Film:
    """Write clips as one moving picture, atomically.

    Args:
        path: ends in .gif, .webp or .png (an animated PNG). A GIF has 255 colours, the same in all
            frames and without dither, so that what stands still keeps its colour; the others are
            exact.
        clips: one clip (T, 3, H, W) in [−1, 1]; or label -> clip, side by side with the labels
            under them; or a sequence of such mappings, one row each.
        fps: frames a second, at most 50. A GIF counts in hundredths of a second: single frames may
            be longer or shorter by one, the film as a whole is not.
        loop: play again and again.
        scale: every pixel is drawn this many times larger.
        most: bytes that are accepted.

    Returns:
        What was written. Equal frames that follow each other are stored once, for longer.

    Raises:
        ValueError: another ending, clips of different shapes, labels that differ between rows, a
            rate or a scale that is not possible, or more bytes than `most`: nothing is written.

    >>> import tempfile, torch
    >>> clip = torch.linspace(-1, 1, 4).view(4, 1, 1, 1).expand(4, 3, 8, 8)
    >>> film = write(f"{tempfile.mkdtemp()}/fade.gif", clip, fps=10, scale=2)
    >>> film.frames, film.size, film.seconds
    (4, (16, 16), 0.4)
    """
    path = Path(path)
    pictures = frames_of(clips, scale)
    content = _encode(pictures, path.suffix.lower(), fps, loop)
    height, width = pictures[0].shape[:2]
    if len(content) > most:
        raise ValueError(
            f"{path.name} would have {len(content):,} bytes, more than {most:,}: {len(pictures)} "
            f"frames of {width}×{height}; take a smaller scale, fewer frames or clips, or .webp"
        )
    atomic_write(path, content)
    return Film(path, len(pictures), (height, width), len(content), len(pictures) / fps)


def show(
    clips: Clips, fps: float = 12, loop: bool = True, scale: int = 1, most: int = MOST
) -> IPython.display.Image:
    """Play clips in a notebook: the picture is inside the cell's output, nothing is linked.

    Args:
        clips, fps, loop, scale, most: as `write`.

    Returns:
        An animated PNG of 255 colours, for a cell to end with. Where nothing moves, on paper, the
        first frame is seen: draw the `strip` beside it.

    Raises:
        ValueError: as `write`.
    """
    from IPython.display import Image as Shown

    content = _encode(frames_of(clips, scale), ".png", fps, loop, exact=False)
    if len(content) > most:
        raise ValueError(
            f"the film would have {len(content):,} bytes, more than {most:,}: take a smaller "
            "scale, or fewer frames or clips"
        )
    return Shown(data=content, format="png")


def strip(clips: Mapping[str, Tensor], every: int = 1) -> Figure:
    """Draw clips as rows of frames, equally spaced in time: what a film is on paper.

    Args:
        clips: label -> clip (T, 3, H, W) in [−1, 1], a row each.
        every: frames from one picture to the next, beginning with frame 0.

    Returns:
        Figure, the frame's number under each column, the label at the left of each row.

    Raises:
        ValueError: no clip, clips of different lengths, or `every` below 1.
    """
    if every < 1:
        raise ValueError(f"every is {every}: give the frames from one picture to the next, 1 or up")
    (row,), (count, *_) = _rows(clips)
    times = range(0, count, every)
    pictures = [[to_uint8(clip[t]) for t in times] for clip in row.values()]
    return viz.grid(pictures, [f"t = {t}" for t in times], list(row))


def frames_of(clips: Clips, scale: int = 1) -> list[np.ndarray]:
    """Lay clips side by side, labels under them: the pictures of a film, one for each time.

    Args:
        clips, scale: as `write`.

    Returns:
        T pictures (h, w, 3) uint8.

    Raises:
        ValueError: as `write`.

    >>> import torch
    >>> dark, light = -torch.ones(2, 3, 4, 6), torch.ones(2, 3, 4, 6)
    >>> first, last = frames_of([{"": dark}, {"": light}], scale=5)  # no label, no band below
    >>> first.shape, first[19, 0].tolist(), first[26, 0].tolist()
    ((46, 30, 3), [0, 0, 0], [255, 255, 255])
    """
    rows, (count, _, height, width) = _rows(clips)
    if not isinstance(scale, int) or scale < 1:
        raise ValueError(f"scale is {scale!r}: give a whole number, 1 or up")
    height, width = height * scale, width * scale
    words = [_word(label) for label in rows[0]]
    columns = [max(width, word.width) for word in words]  # a label is never cut off
    lefts = np.cumsum([0, *(column + _GAP for column in columns)])
    below = len(rows) * (height + _GAP) - _GAP
    band = max(word.height for word in words)
    paper = Image.new("RGB", (int(lefts[-1]) - _GAP, below + band), "white")
    for word, left, column in zip(words, lefts, columns, strict=False):
        paper.paste(word, (int(left) + (column - word.width) // 2, below))
    blank = np.asarray(paper)
    films = []
    for t in range(count):
        film = blank.copy()
        for r, row in enumerate(rows):
            for clip, left, column in zip(row.values(), lefts, columns, strict=False):
                x, y = int(left) + (column - width) // 2, r * (height + _GAP)
                tile = to_uint8(clip[t]).repeat(scale, axis=0).repeat(scale, axis=1)
                film[y : y + height, x : x + width] = tile
        films.append(film)
    return films


def _rows(clips: Clips) -> tuple[list[Mapping[str, Tensor]], tuple[int, ...]]:
    """The clips as rows of label -> clip, and their common shape."""
    if isinstance(clips, Tensor):
        clips = {"": clips}
    rows = [clips] if isinstance(clips, Mapping) else list(clips)
    labels = [tuple(row) for row in rows]
    if not labels or not labels[0] or len(set(labels)) > 1:
        raise ValueError(
            f"rows of clips labelled {labels}: give a clip, and the same labels to all"
        )
    shapes = {tuple(clip.shape) for row in rows for clip in row.values()}
    shape = min(shapes)
    if len(shapes) > 1 or len(shape) != 4 or shape[0] < 1 or shape[1] != 3:
        raise ValueError(f"clips of shapes {sorted(shapes)}: expected one shape, (T, 3, H, W)")
    return rows, shape


def _word(label: str) -> Image.Image:
    """A label as a picture that is as large as it needs; nothing for no label."""
    font = _font()
    ink = ImageColor.getrgb(viz.INK)
    width = round(font.getlength(label))
    picture = Image.new("RGB", (width, 2 * _LETTERS if label else 0), "white")
    ImageDraw.Draw(picture).text((0, _LETTERS), label, fill=ink, font=font, anchor="lm")
    return picture


@cache
def _font() -> ImageFont.FreeTypeFont:
    """The letters of the figures, which come with matplotlib: the same on every machine."""
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(str(path), _LETTERS)


def _encode(
    pictures: Sequence[np.ndarray], ending: str, fps: float, loop: bool, exact: bool = True
) -> bytes:
    """The bytes of a film file; not `exact`, a PNG has a palette too, and a third of the bytes."""
    if ending not in KINDS:
        raise ValueError(f"no film ends in {ending!r}: choose one of {', '.join(KINDS)}")
    if not 0 < fps <= _FASTEST:
        raise ValueError(f"fps is {fps!r}: give a rate above 0, at most {_FASTEST}")
    unit = 10 if ending == ".gif" else 1  # milliseconds
    ends = [round(1000 * t / fps / unit) * unit for t in range(len(pictures) + 1)]
    options = {"duration": np.diff(ends).tolist(), "optimize": False}
    if loop or ending != ".gif":  # a GIF that says nothing of loops is played once
        options["loop"] = 0 if loop else 1
    if ending == ".webp":
        options |= {"lossless": True, "method": 4}
    few = ending == ".gif" or not exact
    images = _few_colours(pictures) if few else [Image.fromarray(p) for p in pictures]
    stream = io.BytesIO()
    images[0].save(stream, KINDS[ending], save_all=True, append_images=images[1:], **options)
    return stream.getvalue()


def _few_colours(pictures: Sequence[np.ndarray]) -> list[Image.Image]:
    """The pictures in one palette, chosen for all of them together, each pixel its nearest."""
    together = np.concatenate(pictures)
    step = max(1, round(math.sqrt(together.size / 3 / _SAMPLE)))
    sample = Image.fromarray(np.ascontiguousarray(together[::step, ::step]))
    palette = sample.quantize(255, Image.Quantize.MEDIANCUT, kmeans=1, dither=Image.Dither.NONE)
    return [
        Image.fromarray(p).quantize(palette=palette, dither=Image.Dither.NONE) for p in pictures
    ]
