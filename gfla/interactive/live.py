"""A model that answers while a joint moves: what depends on the source is computed once.

A `Painter` holds a model and a source and paints one pose after the other; `where_from` follows a
pixel of the answer back into the source. Nothing here knows of widgets.
"""

from __future__ import annotations

import copy
import io
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from gfla import meanwhile, pictures, storage
from gfla import model as shipped
from gfla.anatomy import Look, follow
from gfla.attention import GlobalAttention
from gfla.data import keypoints, posing, stances
from gfla.data.posing import Pose
from gfla.interactive.sources import Source, own, sources
from gfla.model import GFLA
from gfla.patchless import Prepared
from gfla.types import Output

__all__ = [
    "MODELS", "Frame", "Origin", "Painter", "Source", "available", "latency", "load", "own", "png",
    "sources", "where_from",
]  # fmt: skip

# what the models are called, and the name that their weights ship under
MODELS = {
    "Full": "people",
    "Full, as in the ablation": "ablation-full",
    "Bi-Sample": "ablation-bilinear",
    "Global-Attn": "ablation-global",
    "Baseline": "ablation-baseline",
}
_DRAWN = 256  # pixels; a skeleton is drawn as many times larger as fit in here


class Frame(NamedTuple):
    """One answer: pictures (h, w, 3) uint8, and what the model returned.

    The pictures have the image's size; the skeleton is drawn a whole number of times larger.
    """

    pose: Pose  # what was asked for, in the image's size
    source: np.ndarray
    target_pose: np.ndarray
    image: np.ndarray
    flow: np.ndarray | None  # the finest level's, painted with `limit`; None where there is none
    mask: np.ndarray | None  # the finest level's
    limit: float  # pixels of the image at the rim of the flow's colour wheel
    output: Output
    seconds: float  # from the pose to these pictures

    def pictures(self) -> dict[str, np.ndarray]:
        """Name -> picture, in the order of every strip; only those that there are."""
        named = {
            "source": self.source,
            "target pose": self.target_pose,
            "flow": self.flow,
            "mask": self.mask,
            "ours": self.image,
        }
        return {name: picture for name, picture in named.items() if picture is not None}


class Painter:
    """A model and a source, ready to be asked for one pose after the other.

    The source's heat map, its features f_s and their convolution inside the local attention, which
    no target pose changes, are computed here; `paint` runs F, the target's encoder, attention and
    decoder, on the very modules of the model.

    Args:
        model: in eval mode, as `load` gives it.
        source: whom to move, in the size of the model or another that it can take.
        threads: that PyTorch computes with, meanwhile. With one, a picture waits for no other
            thread: beside a browser on two busy cores, two threads that meet after each of some
            hundred small operations are slower by far.

    Raises:
        ValueError: a source that the model cannot take, threads below 1.

    Attributes:
        model, source; size, the (H, W) of its pictures; limit, the length in pixels of the image
        that is painted in full colour, the same for every frame, so that colours do not jump.

    >>> model = GFLA((32, 32), {1: 3}, flow_base=4, flow_depth=3, base=4, depth=2, hidden=4).eval()
    >>> whom = next(iter(sources((32, 32)).values()))()
    >>> frame = Painter(model, whom).paint(posing.shifted(whom.pose, 3, 0))
    >>> frame.image.shape, list(frame.pictures())
    ((32, 32, 3), ['source', 'target pose', 'flow', 'mask', 'ours'])
    """

    def __init__(self, model: GFLA, source: Source, threads: int = 1) -> None:
        if threads < 1:
            raise ValueError(f"threads is {threads}, expected at least 1")
        self.model, self.source, self.threads = model, source, threads
        self.size: tuple[int, int] = tuple(source.image.shape[-2:])
        self.limit = self.size[0] / 4
        if source.pose.size != self.size:
            raise ValueError(
                f"the key points are told for a picture of {source.pose.size}, the picture has "
                f"{self.size}: use gfla.data.posing.resized"
            )
        self._heatmaps = partial(keypoints.heatmaps, size=self.size, sigma=6.0 * self.size[0] / 256)
        self._source_pose = self._heatmaps(source.pose.tensor())
        with meanwhile.threads(threads):
            self._settled = _settled(model, source.image, self._source_pose)
        self._zoom = max(1, _DRAWN // max(self.size))
        self._picture = pictures.to_uint8(source.image[0])

    @torch.no_grad()
    def paint(self, pose: Pose) -> Frame:
        """The source person in this pose.

        Args:
            pose: a pose of another size is resized first; of one with depth, the joints that look
                away are left out (`gfla.data.stances.seen`).

        Returns:
            The frame.
        """
        start = time.perf_counter()
        pose = pose if pose.size == self.size else posing.resized(pose, self.size)
        told = stances.seen(pose).tensor()
        with meanwhile.threads(self.threads):
            output = self._settled(self.source.image, self._source_pose, self._heatmaps(told))
        flow, mask = self._paintings(output)
        return Frame(
            pose,
            self._picture,
            pictures.skeleton(told[0], self.size, self._zoom),
            pictures.to_uint8(output.image[0]),
            flow,
            mask,
            self.limit,
            output,
            time.perf_counter() - start,
        )

    @torch.no_grad()
    def heard(self, pose: Pose) -> list[tuple[GlobalAttention, Tensor, Tensor]]:
        """What each global attention hears in this pose: itself, source and target features."""
        told: list[tuple[GlobalAttention, Tensor, Tensor]] = []
        ways = [way for way in self.model.modules() if isinstance(way, GlobalAttention)]
        hooks = [
            way.register_forward_pre_hook(lambda way, given: told.append((way, *given)))
            for way in ways
        ]
        try:
            self.paint(pose)
        finally:
            for hook in hooks:
                hook.remove()
        return told

    def _paintings(self, output: Output) -> tuple[np.ndarray | None, np.ndarray | None]:
        if not output.flows:
            return None, None
        stride = self.size[0] // output.flows[-1].shape[-2]
        flow = pictures.flow_to_color(output.flows[-1][0] * stride, self.limit)
        return _larger(flow, stride), _larger(pictures.mask_image(output.masks[-1][0]), stride)


class _Kept(nn.Module):
    """Stands where a block of the source's encoder stood, and gives what the attention wants."""

    def __init__(self, known: Tensor | Prepared) -> None:
        super().__init__()
        self.known = known

    def forward(self, _: Any) -> Tensor | Prepared:
        return self.known


@torch.no_grad()
def _settled(model: GFLA, source: Tensor, source_pose: Tensor) -> GFLA:
    """A model of the same modules, except that what the source alone decides is already there."""
    kept, ways = {}, model.renderer.attention

    def keep(level: str) -> Callable[..., None]:
        def hook(module: nn.Module, given: tuple, features: Tensor) -> None:
            kept[level] = _Kept(ways[level].prepare(features) if level in ways else features)

        return hook

    blocks = model.renderer.source_encoder
    hooks = [block.register_forward_hook(keep(level)) for level, block in blocks.items()]
    try:
        model(source, source_pose, source_pose)
    finally:
        for hook in hooks:
            hook.remove()
    renderer = _twin(model.renderer, source_encoder=nn.ModuleDict(kept))
    return _twin(model, renderer=renderer)


def _twin(module: nn.Module, **parts: nn.Module) -> Any:
    """The same module with other parts: a second trunk, every other weight shared."""
    twin = copy.copy(module)
    twin._modules = {**module._modules, **parts}  # copy.copy would share the dict itself
    return twin


# ---------------------------------------------------------------- models


def available() -> dict[str, str]:
    """Which of MODELS are shipped: what they are called -> name of their weights."""
    files = storage.read_manifest(storage.weights_dir())
    return {name: file for name, file in MODELS.items() if f"{file}.safetensors" in files}


def load(name: str) -> GFLA:
    """A model by its name in MODELS; read from disk once.

    Args:
        name: of `available`.

    Returns:
        The model in eval mode.

    Raises:
        ValueError: no such name, or no weights under it; the message lists what there is.
    """
    there = available()
    if name not in there:
        raise ValueError(f"no model {name!r} is shipped: choose one of {', '.join(there)}")
    return _load(there[name])


@cache
def _load(file: str) -> GFLA:
    return shipped.load(file)


# ---------------------------------------------------------------- where a pixel came from


class Origin(NamedTuple):
    """Where one pixel of the result came from."""

    pixel: tuple[int, int]  # (x, y) of the result
    looks: tuple[Look, ...]  # coarse -> fine; weights (n, n), or over the whole source
    boxes: tuple[tuple[float, float, float, float], ...]  # read: left, top, width, height in pixels
    note: str  # why nothing, or not all, can be known; empty if all is said


def where_from(painter: Painter, frame: Frame, pixel: tuple[int, int]) -> Origin:
    """Follow one pixel of the result into the source.

    Args:
        painter: that painted the frame.
        frame: the answer that was clicked at.
        pixel: (x, y) of the image, whole numbers.

    Returns:
        One look for each level. Of global attention, `weights` is the map over all places of the
        source, and `source` the place that it expects. Of the baseline there are none.

    Raises:
        ValueError: a pixel outside the image.
    """
    x, y = pixel
    height, width = painter.size
    if not (0 <= x < width and 0 <= y < height):
        raise ValueError(f"pixel is {pixel}, expected (x, y) inside an image of {width}×{height}")
    output = frame.output
    if not output.flows:
        note = "This model mixes source and target by convolutions: nobody can say where from."
        return Origin(pixel, (), (), note)
    if not output.weights:
        looks = _everywhere(painter, frame, pixel)
        whole = (-0.5, -0.5, float(width), float(height))
        note = "Global attention reads the whole source: the arrow shows the expected place."
        return Origin(pixel, looks, (whole,) * len(looks), note)
    looks = tuple(follow(output, painter.size, 0, pixel))
    return Origin(pixel, looks, tuple(_box(look) for look in looks), "")


def _box(look: Look) -> tuple[float, float, float, float]:
    side = float(look.stride * len(look.weights))
    return look.source[0] - side / 2, look.source[1] - side / 2, side, side


def _everywhere(painter: Painter, frame: Frame, pixel: tuple[int, int]) -> tuple[Look, ...]:
    """The looks of global attention, one for each level."""
    looks = []
    # the map is not in the output, h·w numbers for every place: it is made when it is asked for
    told = painter.heard(frame.pose)
    for (way, known, wanted), flow, mask in zip(
        told, frame.output.flows, frame.output.masks, strict=True
    ):
        stride = painter.size[0] // flow.shape[-2]
        column, row = place = pixel[0] // stride, pixel[1] // stride
        dx, dy = flow[0, :, row, column].tolist()
        target = (column + 0.5) * stride - 0.5, (row + 0.5) * stride - 0.5
        source = target[0] + dx * stride, target[1] + dy * stride
        share = way.look(known, wanted, torch.tensor([place]))[0, 0]
        seen = mask[0, 0, row, column].item()
        looks.append(Look(stride, place, (dx, dy), seen, share, source, target))
    return tuple(looks)


# ---------------------------------------------------------------- bytes and time


def png(picture: np.ndarray, zoom: int = 1) -> bytes:
    """A picture as the bytes of a PNG file.

    Args:
        picture: (h, w, 3) uint8.
        zoom: every pixel is drawn this many times larger.

    >>> png(np.zeros((2, 2, 3), np.uint8))[1:4]
    b'PNG'
    """
    stream = io.BytesIO()
    Image.fromarray(_larger(picture, zoom)).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def _larger(picture: np.ndarray, times: int) -> np.ndarray:
    return picture if times == 1 else picture.repeat(times, axis=0).repeat(times, axis=1)


def latency(painter: Painter, poses: Sequence[Pose], warmup: int = 3) -> Mapping[str, float]:
    """How long an answer takes: from the pose to the PNG bytes of every picture that changed.

    Args:
        painter: what answers.
        poses: what it is asked for, one after the other.
        warmup: answers before the clock counts.

    Returns:
        `frames`, and in milliseconds `wall_median`, `wall_p10`, `wall_p90` and `process_median`:
        processor time of all threads, which the load of other programs disturbs less.

    Raises:
        ValueError: no pose.
    """
    if not poses:
        raise ValueError("no pose to paint: give at least one")

    def answer(pose: Pose) -> tuple[float, float]:
        wall, process = time.perf_counter(), time.process_time()
        shown = painter.paint(pose).pictures()
        for name, picture in shown.items():
            if name != "source":
                png(picture)
        return time.perf_counter() - wall, time.process_time() - process

    for turn in range(warmup):
        answer(poses[turn % len(poses)])
    walls, processes = (1e3 * np.array(times) for times in zip(*map(answer, poses), strict=True))
    return {
        "frames": float(len(poses)),
        "wall_median": float(np.median(walls)),
        "wall_p10": float(np.quantile(walls, 0.1)),
        "wall_p90": float(np.quantile(walls, 0.9)),
        "process_median": float(np.median(processes)),
    }
