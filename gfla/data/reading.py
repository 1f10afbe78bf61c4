"""What the readers of views, videos and faces share: pictures, shuffled orders, names of files."""

from __future__ import annotations

import hashlib
import re
import struct
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gfla.data.keypoints import affine_matrix

_LARGEST = 64_000_000  # pixels; a header that promises more is refused before it is decoded
PICTURES = (".png", ".jpg", ".jpeg", ".bmp")  # endings of the files that are taken for frames


def positive(size: tuple[int, int], what: str = "size") -> tuple[int, int]:
    """Refuse a size that is none.

    Args:
        size: (H, W) in pixels.
        what: the argument's name, for the message.

    Returns:
        The same, as whole numbers.

    Raises:
        ValueError: a side below 1.
    """
    height, width = size
    if height < 1 or width < 1:
        raise ValueError(f"{what} is {(height, width)}; expected (height, width) in pixels")
    return int(height), int(width)


def generator(seed: int, *what: str | int) -> torch.Generator:
    """Make a generator of its own for each purpose and place, the same on every machine.

    Args:
        seed: of the run.
        what: words and numbers that name the purpose and the place.

    Returns:
        A generator on the CPU.
    """
    digest = hashlib.sha256(repr((seed, *what)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


class Order:
    """An endless row of shuffled passes over a data set, each item once in a pass.

    Args:
        count: items in a pass.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._last: tuple[tuple[int, int], Tensor] | None = None  # (seed, pass), its order

    def at(self, place: int, seed: int) -> int:
        """Look up which item stands at a place of the row.

        Args:
            place: from 0, without an end.
            seed: of the order.

        Returns:
            The item's index, 0 to count - 1.
        """
        lap, index = divmod(place, self.count)
        if self._last is None or self._last[0] != (seed, lap):
            order = torch.randperm(self.count, generator=generator(seed, "order", lap))
            self._last = (seed, lap), order
        return int(self._last[1][index])


def places(step: int, count: int) -> range:
    """Give the places of the endless row that one training step takes.

    Args:
        step: from 0.
        count: items in the batch.

    Returns:
        step · count to (step + 1) · count - 1.

    Raises:
        ValueError: a step below 0 or a count below 1.
    """
    if step < 0 or count < 1:
        raise ValueError(f"step is {step}, count is {count}: expected at least 0 and 1")
    return range(step * count, (step + 1) * count)


def folder(path: Path, layout: str) -> Path:
    """Give a folder that has to be there.

    Args:
        path: the folder.
        layout: what was expected, for the message.

    Returns:
        The same path.

    Raises:
        FileNotFoundError: it is not there.
    """
    if not path.is_dir():
        raise FileNotFoundError(f"no folder {path}: expected {layout}")
    return path


def listing(path: Path, endings: tuple[str, ...] = ()) -> list[Path]:
    """List a folder in the order of its numbers: 2 before 10, whether or not zeros are written.

    Args:
        path: the folder.
        endings: of the files wanted, in lower case; empty = sub-folders are wanted.

    Returns:
        Paths; names that begin with a dot are left out.
    """
    entries = [entry for entry in path.iterdir() if not entry.name.startswith(".")]
    if endings:
        entries = [e for e in entries if e.suffix.lower() in endings and e.is_file()]
    else:
        entries = [e for e in entries if e.is_dir()]
    return sorted(entries, key=lambda entry: _natural(entry.name))


def _natural(name: str) -> tuple[list[tuple[int, str]], str]:
    pieces = [piece for piece in re.split(r"([0-9]+)", name) if piece]
    return [(int(p), "") if p.isdecimal() and p.isascii() else (-1, p) for p in pieces], name


def open_picture(
    path: Path,
    size: tuple[int, int],
    resample: Image.Resampling = Image.Resampling.BICUBIC,
    mode: str = "RGB",
) -> tuple[Image.Image, tuple[int, int]]:
    """Decode and resize one picture, with every fault under its name.

    Args:
        path: the file.
        size: (H, W) in pixels to resize to, whatever its shape.
        resample: Pillow's filter, antialiased; the authors' frames are bicubic.
        mode: "RGB", or "L" for a mask.

    Returns:
        The picture, and (h, w) of the file, which key points are told in.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: the file is damaged.
        ValueError: its header promises more than 64 million pixels.
    """
    broken = (OSError, SyntaxError, ValueError, EOFError, struct.error)
    bombs = (Image.DecompressionBombError, Image.DecompressionBombWarning)
    try:
        with Image.open(path) as picture:
            if picture.width * picture.height > _LARGEST:
                raise Image.DecompressionBombError(f"{picture.width}x{picture.height} pixels")
            canvas = (picture.height, picture.width)
            return picture.convert(mode).resize(size[::-1], resample), canvas
    except FileNotFoundError:
        raise FileNotFoundError(
            f"no picture {path}: it was there when the folder was read"
        ) from None
    except bombs as error:
        raise ValueError(
            f"{path} says that it has more than {_LARGEST} pixels ({error}); make it smaller"
        ) from error
    except broken as error:
        raise OSError(
            f"{path} cannot be decoded ({error}): it is damaged, fetch it again"
        ) from error


def as_tensor(picture: Image.Image) -> Tensor:
    """Turn a decoded picture into what the networks take.

    Args:
        picture: mode "RGB" or "L".

    Returns:
        (3, H, W) float32 in [-1, 1] for RGB, (1, H, W) in [0, 1] for a mask.

    >>> as_tensor(Image.new("RGB", (2, 1), (0, 51, 255)))[:, 0, 0].tolist()
    [-1.0, -0.6..., 1.0]
    """
    pixels = torch.from_numpy(np.array(picture)).to(torch.float32)
    if picture.mode == "L":
        return pixels.div(255.0).unsqueeze(0)
    return pixels.permute(2, 0, 1).div(127.5).sub(1.0)


def move(picture: Image.Image, matrix: Tensor, fill: int | tuple[int, int, int]) -> Image.Image:
    """Move a picture by an affine map, nearest pixel as the authors do.

    Args:
        picture: what to move.
        matrix: (3, 3) acting on (x, y, 1), from where a pixel is to where it goes.
        fill: colour of what comes in from outside, 0 to 255.

    Returns:
        A picture of the same size.
    """
    back = torch.linalg.inv(matrix)[:2].flatten().tolist()  # PIL wants output -> input
    nearest = Image.Resampling.NEAREST
    affine = Image.Transform.AFFINE
    return picture.transform(picture.size, affine, back, resample=nearest, fillcolor=fill)


def random_affine(
    ranges: tuple[float, float, float, float, float],
    size: tuple[int, int],
    source: torch.Generator | None,
) -> Tensor:
    """Draw the affine map of one augmentation.

    Args:
        ranges: angle in degrees, shift by x and by y in pixels of `size`, each drawn from ± that
            much, and the least and the largest scale.
        size: (H, W) of the pictures.
        source: of random numbers; None = torch's global generator.

    Returns:
        (3, 3) float64, as `keypoints.affine_matrix`.
    """
    angle, x, y, smallest, largest = ranges
    a, b, c, d = torch.rand(4, generator=source).tolist()
    shift = ((2 * b - 1) * x, (2 * c - 1) * y)
    return affine_matrix((2 * a - 1) * angle, shift, smallest + d * (largest - smallest), size)
