"""Whom to move: held-out procedural people, pictures of the sample, a picture of one's own."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from gfla import storage
from gfla.data import keypoints as kp
from gfla.data import pasting, people, posing
from gfla.data.posing import Pose

SEED = people.MEASURING_SEEDS + 700_000  # of the held-out people that are offered
_LARGEST = 64_000_000  # pixels of a picture of one's own, refused before it is decoded


class Source(NamedTuple):
    """Whom to move."""

    name: str
    image: Tensor  # (1, 3, H, W) in [-1, 1]
    pose: Pose  # in pixels of the image
    notes: tuple[str, ...] = ()  # what there is to say, for instance about the pasted key points


def sources(size: tuple[int, int] = (64, 64), count: int = 6) -> dict[str, Callable[[], Source]]:
    """Whom a reader may choose: held-out procedural people, then the test pictures of data/sample.

    Args:
        size: (H, W) in pixels, that of the model.
        count: people of each kind.

    Returns:
        Name -> what makes that source. Nothing is drawn or read before it is asked for. Pictures
        of files are padded as `own` says; without the folder data/sample there are none.
    """
    made: dict[str, Callable[[], Source]] = {}
    for index in range(count):
        name = f"held-out person {index + 1}"
        made[name] = partial(_person, name, index, size)
    for index, path in enumerate(sorted(_sample().glob("*_1front.jpg"))[:count]):
        name = f"picture of the sample {index + 1}"
        made[name] = partial(_from_sample, name, path, size)
    return made


def own(
    picture: str | Path | bytes,
    keypoints: str,
    size: tuple[int, int] = (64, 64),
    name: str = "own picture",
) -> Source:
    """A picture of one's own, and its key points as text.

    The picture is padded to the shape of `size` by repeating its rim, on both sides or above and
    below alike, then resized; the key points go along. Nothing is cut off. The people that the
    shipped models know fill about 0.88 of the height: a picture cut like that serves best.

    Args:
        picture: path of a file, or its bytes; turned as its EXIF note says, transparency on white.
        keypoints: as `gfla.data.pasting.parse` reads them, in pixels of the picture.
        size: (H, W) in pixels.
        name: what to call it.

    Returns:
        The source, with the notes of `parse`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no picture, too many pixels, or key points that cannot be read.
    """
    opened = _open(picture)
    parsed = pasting.parse(keypoints, (opened.height, opened.width))
    fitted, left, top = _padded(opened, size)
    pose = Pose(posing.shifted(parsed.pose, left, top).points, (fitted.height, fitted.width))
    small = fitted.resize(size[::-1], Image.Resampling.BILINEAR)
    pixels = torch.from_numpy(np.array(small)).permute(2, 0, 1)[None]  # (1, 3, H, W)
    image = pixels.to(torch.float32).div(127.5).sub(1.0)
    return Source(name, image, posing.resized(pose, size), parsed.notes)


def _person(name: str, index: int, size: tuple[int, int]) -> Source:
    batch = people.pairs(index + 1, size, SEED)
    pose = Pose.of(batch["source_keypoints"][index], size)
    return Source(name, batch["source"][index : index + 1], pose)


def _sample() -> Path:
    return storage.root() / "data" / "sample" / "test"


def _from_sample(name: str, path: Path, size: tuple[int, int]) -> Source:
    points = kp.read_annotations(path.parent.parent / "fasion-annotation-test.csv")
    return own(path, str(points[path.name].tolist()), size, name)


def _open(picture: str | Path | bytes) -> Image.Image:
    held = isinstance(picture, bytes | bytearray | memoryview)  # an upload comes as the last
    stream = io.BytesIO(picture) if held else Path(picture)
    what = "the picture" if held else str(picture)
    try:
        with Image.open(stream) as opened:
            if opened.width * opened.height > _LARGEST:
                raise ValueError(f"it has {opened.width}×{opened.height} pixels; make it smaller")
            upright = ImageOps.exif_transpose(opened)
            if upright.has_transparency_data:
                glass = upright.convert("RGBA")
                upright = Image.alpha_composite(Image.new("RGBA", glass.size, "white"), glass)
            return upright.convert("RGB")
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no picture {what}") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{what} cannot be read as a picture: {error}") from error


def _padded(picture: Image.Image, size: tuple[int, int]) -> tuple[Image.Image, int, int]:
    """A picture in the shape of `size`, and how many pixels were added at the left and above."""
    height = max(picture.height, round(picture.width * size[0] / size[1]))
    width = max(picture.width, round(picture.height * size[1] / size[0]))
    if (height, width) == (picture.height, picture.width):
        return picture, 0, 0
    if height * width > _LARGEST:
        raise ValueError(
            f"a picture of {picture.width}×{picture.height} pixels is a stripe: cut it"
        )
    left, top = (width - picture.width) // 2, (height - picture.height) // 2
    right, bottom = width - picture.width - left, height - picture.height - top
    around = ((top, bottom), (left, right), (0, 0))
    canvas = Image.fromarray(np.pad(np.asarray(picture), around, mode="edge"))
    return canvas, left, top
