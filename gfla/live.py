"""A model that answers while a joint moves: what depends on the source is computed once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor

from gfla.anatomy import Look
from gfla.data.posing import Pose
from gfla.model import GFLA, Output

# what the models are called, and the names that weights may ship under, the first found is taken
MODELS = {
    "Full": ("people", "ablation-full"),
    "Bi-Sample": ("ablation-bilinear",),
    "Global-Attn": ("ablation-global",),
    "Baseline": ("ablation-baseline",),
}


class Source(NamedTuple):
    """Whom to move."""

    name: str
    image: Tensor  # (1, 3, H, W) in [-1, 1]
    pose: Pose  # in pixels of the image
    notes: tuple[str, ...] = ()  # what there is to say, for instance about the pasted key points


class Frame(NamedTuple):
    """One answer: pictures (h, w, 3) uint8 at the image's size, and what the model returned."""

    pose: Pose  # what was asked for
    source: np.ndarray
    target_pose: np.ndarray
    image: np.ndarray
    flow: np.ndarray | None  # the finest, painted with `limit`; None where the model has none
    mask: np.ndarray | None
    limit: float  # pixels of the image at the rim of the flow's colour wheel
    output: Output
    seconds: float  # from the pose to these pictures

    def pictures(self) -> dict[str, np.ndarray]:
        """Name -> picture, in the order of every strip; only those that there are."""
        raise NotImplementedError


class Painter:
    """A model and a source, ready to be asked for one pose after the other.

    Args:
        model: as `load` gives it, in eval mode.
        source: whom to move; resized to the model's size if it has another.

    Raises:
        ValueError: a source that the model cannot take.

    Attributes:
        model, source; size (H, W).
    """

    def __init__(self, model: GFLA, source: Source) -> None:
        raise NotImplementedError

    def paint(self, pose: Pose) -> Frame:
        """The source person in this pose; a pose in another size is resized first."""
        raise NotImplementedError


def available() -> dict[str, str]:
    """Which models are shipped: "Full" -> "people", ...; those of MODELS that have weights."""
    raise NotImplementedError


def load(name: str) -> GFLA:
    """A model by its name in MODELS; loaded once.

    Raises:
        ValueError: no such name, or no weights under it; the message lists what there is.
    """
    raise NotImplementedError


def sources(size: tuple[int, int] = (64, 64), count: int = 6) -> dict[str, Callable[[], Source]]:
    """Name -> what makes that source: held-out procedural people, then pictures of data/sample.

    Nothing is drawn or read before a source is asked for.
    """
    raise NotImplementedError


def own(picture: str | Path | bytes, keypoints: str, size: tuple[int, int] = (64, 64)) -> Source:
    """A picture of one's own, and its key points as text.

    The picture is padded to the shape of `size` with the mean colour of its rim, at the sides or
    above and below alike, then resized; key points go along.

    Args:
        picture: path of a file, or its bytes.
        keypoints: as `gfla.data.pasting.parse` reads them, in pixels of the picture.
        size: (H, W) in pixels.

    Raises:
        ValueError: no picture, or key points that cannot be read.
        FileNotFoundError: no such file.
    """
    raise NotImplementedError


class Origin(NamedTuple):
    """Where one pixel of the result came from."""

    pixel: tuple[int, int]  # (x, y) of the result
    looks: tuple[Look, ...]  # coarse -> fine; weights (n, n), or over the whole source for "global"
    boxes: tuple[tuple[float, float, float, float], ...]  # source patch: left, top, width, height
    note: str  # a sentence, for instance why nothing can be known; empty if all is said


def where_from(painter: Painter, frame: Frame, pixel: tuple[int, int]) -> Origin:
    """Follow one pixel of the result into the source.

    Args:
        painter: that painted the frame.
        frame: the answer that was clicked at.
        pixel: (x, y) of the image.

    Raises:
        ValueError: a pixel outside the image.
    """
    raise NotImplementedError


def png(picture: np.ndarray, zoom: int = 1) -> bytes:
    """A picture (h, w, 3) uint8 as the bytes of a PNG file, every pixel `zoom` times larger."""
    raise NotImplementedError


def latency(painter: Painter, poses: Sequence[Pose], warmup: int = 3) -> Mapping[str, float]:
    """How long a frame takes: from the pose to the PNG bytes of all pictures.

    Returns:
        frames, and in milliseconds: wall_median, wall_p10, wall_p90, process_median (processor
        time of all threads, which other programs' load disturbs less).
    """
    raise NotImplementedError
