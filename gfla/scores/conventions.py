"""The field's conventions of scoring a picture: what each does to the pictures, or to a metric.

`gfla.scores.protocol` scores them. Every row changes ONE thing against the first, which is the
reference, except the one that says "together".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from torch import Tensor

from gfla import metrics
from gfla.scores import perceptual, trunks
from gfla.scores.resaving import (
    CHROMA,
    FILTERS,
    as_bytes,
    cut_to_box,
    grey,
    jpeg,
    narrow_width,
    resize,
)
from gfla.storage import CheckpointError

if TYPE_CHECKING:
    from gfla.types import Image, Mask

# Table 2 of the paper (docs/spec.md section 14): its model and the ablation closest to it.
PAPER = {
    "full": {"fid": 10.573, "lpips": 0.2341},
    "bilinear": {"fid": 12.143, "lpips": 0.2406},
}
REFERENCE = "reference"
AUTHORS = "as the authors did, but that the quality of their ground truth's JPEG is not known"
AUTHORS_BATCH = 64  # pictures; the authors' script leaves the last incomplete batch out


class Measure(NamedTuple):
    """A number for generated pictures, as `matrix` wants it."""

    score: Callable[[Tensor, Tensor], float]  # (images, targets), each (B, 3, H, W) in [-1, 1]
    paper: str | None = None  # the paper's metric of the same kind, "lpips" or "fid"
    of_sets: bool = False  # compares two sets, which need not pair up nor be equally large
    least: int = 1  # pictures that it needs

    @property
    def gap(self) -> float:
        """What the paper's Bi-Sample has more than its Full, as a share of Full's; nan without."""
        if self.paper is None:
            return float("nan")
        return PAPER["bilinear"][self.paper] / PAPER["full"][self.paper] - 1


class Scene(NamedTuple):
    """What is scored, and what conventions need to know about it."""

    images: Image  # (B, 3, H, W) generated, in [-1, 1], not rounded
    targets: Image  # (B, 3, H, W) the ground truth at the network's size, not rounded
    originals: Image | None = None  # (B, 3, H', W') the ground truth before it was shrunk
    foreground: Mask | None = None  # (B, 1, H, W) 1 where the target shows the person
    sets: Mapping[str, Image] = {}  # name -> real pictures beside the targets


class Row(NamedTuple):
    """One convention, carried out."""

    group: str
    name: str
    images: Tensor | None = None  # None = cannot be measured here
    targets: Tensor | None = None
    measures: Mapping[str, Measure] | None = None  # those that it touches; None = all
    note: str = ""


def rows(scene: Scene, measures: Mapping[str, Measure]) -> Iterator[Row]:
    """Every convention; pictures are made one row at a time."""
    images, targets = as_bytes(scene.images), as_bytes(scene.targets)
    yield Row("", REFERENCE, images, targets)
    yield from _file_rows(scene, images, targets)
    yield from _shrinking_rows(scene, images)
    yield from _narrow_rows(scene, images, targets)
    yield from _crop_rows(scene, images, targets)
    yield from _set_rows(scene, measures, images, targets)
    yield from _variant_rows(measures, images, targets)
    yield from _lpips_rows(measures, images, targets)


def _file_rows(scene: Scene, images: Tensor, targets: Tensor) -> Iterator[Row]:
    """Bytes and JPEG."""
    yield Row("bytes", "generated not rounded to bytes", scene.images, targets)
    cut = as_bytes(scene.images, cut=True)
    yield Row("bytes", "generated cut to bytes, not rounded", cut, targets)
    for quality in (95, 75):
        for chroma in CHROMA:
            kind = f"JPEG {quality} {chroma}"
            ours, true = (jpeg(x, quality, chroma) for x in (images, targets))
            yield Row("files", f"ground truth as {kind}", images, true)
            yield Row("files", f"generated as {kind}", ours, targets)
            yield Row("files", f"both as {kind}", ours, true)


def _shrinking_rows(scene: Scene, images: Tensor) -> Iterator[Row]:
    """How the ground truth came to the network's size."""
    size = tuple(scene.targets.shape[-2:])
    for kind, antialias in FILTERS:
        name = f"ground truth shrunk {_words(kind, antialias)}"
        if (kind, antialias) == ("bilinear", True):
            continue  # the reference
        if scene.originals is None:
            note = "needs the ground truth at its own size"
            yield Row("ground truth", name, note=note)
        else:
            shrunk = as_bytes(resize(scene.originals, size, kind, antialias))
            yield Row("ground truth", name, images, shrunk)
    name = "together: generated cut, JPEG 75; ground truth bicubic, JPEG 75"
    if scene.originals is not None:
        true = jpeg(resize(scene.originals, size, "bicubic"), 75, "4:2:0")
        ours = jpeg(as_bytes(scene.images, cut=True), 75, "4:2:0")
        yield Row("ground truth", name, ours, true, note=AUTHORS)


def _narrow_rows(scene: Scene, images: Tensor, targets: Tensor) -> Iterator[Row]:
    """DeepFashion's pictures are 256x176, the network's 256x256: who is resized, and how."""
    height, width = targets.shape[-2:]
    narrow = height, narrow_width(width)
    for kind, antialias in FILTERS:
        words = _words(kind, antialias)
        small = resize(scene.targets, narrow, kind, antialias)
        back = as_bytes(resize(as_bytes(small), (height, width), kind))
        yield Row("narrow", f"ground truth narrowed and widened again {words}", images, back)
        ours = as_bytes(resize(images, narrow, kind, antialias))
        yield Row("narrow", f"both narrowed {words}", ours, as_bytes(small))


def _crop_rows(scene: Scene, images: Tensor, targets: Tensor) -> Iterator[Row]:
    """Which part of the picture counts."""
    width = targets.shape[-1]
    left = (width - narrow_width(width)) // 2
    inner = slice(left, left + narrow_width(width))
    yield Row("crop", "borders cut off", images[..., inner], targets[..., inner])
    if scene.foreground is None:
        for name in ("cut to the person's box", "background grey"):
            yield Row("crop", name, note="needs to know where the person is")
        return
    ours, true = (cut_to_box(x, scene.foreground) for x in (images, targets))
    yield Row("crop", "cut to the person's box", ours, true)
    person = scene.foreground.to(images)
    yield Row("crop", "background grey", images * person, targets * person)


def _set_rows(
    scene: Scene, measures: Mapping[str, Measure], images: Tensor, targets: Tensor
) -> Iterator[Row]:
    """Which real pictures, and how many."""
    sets = {name: measure for name, measure in measures.items() if measure.of_sets}
    for name, real in scene.sets.items() if sets else ():
        yield Row("reference set", f"against {name}", images, as_bytes(real), sets)
    if sets:
        halves = {name: one._replace(**_halved(one)) for name, one in sets.items()}
        name = "half as many, mean of both halves"
        yield Row("reference set", name, images, targets, halves)
    whole = len(images) // AUTHORS_BATCH * AUTHORS_BATCH
    name = f"last incomplete batch of {AUTHORS_BATCH} left out"
    if 0 < whole < len(images):
        yield Row("reference set", name, images[:whole], targets[:whole])
    else:
        note = f"{len(images)} pairs have no full batch beside an incomplete one"
        yield Row("reference set", name, note=note)


def _halved(measure: Measure) -> dict[str, Any]:
    """A measure of half the pictures: the mean over both halves, so that no lucky half counts."""

    def score(images: Tensor, targets: Tensor) -> float:
        pairs = zip(images.chunk(2), targets.chunk(2))
        return float(np.mean([measure.score(*half) for half in pairs]))

    return {"score": score, "least": 2 * measure.least}


def _variant_rows(
    measures: Mapping[str, Measure], images: Tensor, targets: Tensor
) -> Iterator[Row]:
    """Other numbers that go by the same name."""
    ways: dict[str, dict[str, Callable[[Tensor, Tensor], float]]] = {
        "l1": {"L1 relative to the sum of both": relative_error},
        "psnr": {"PSNR of the mean square error of all": pooled_psnr},
        "ssim": {
            "SSIM, uniform window of 7": partial(metrics.ssim, window=7),
            "SSIM, uniform window of 51": partial(metrics.ssim, window=51),
            "SSIM, data range of each generated picture": ssim_own_range,
            "SSIM, data range 2": partial(metrics.ssim, data_range=2.0),
            "SSIM of grey pictures": lambda a, b: metrics.ssim(grey(a), grey(b)),
        },
    }
    small = min(images.shape[-2:]) < 51
    for measure, others in ways.items():
        for name, way in others.items() if measure in measures else ():
            if small and name.endswith("51"):
                yield Row("metric", name, note="the pictures are smaller than the window")
            else:
                yield Row("metric", name, images, targets, {measure: Measure(way)})


def _lpips_rows(measures: Mapping[str, Measure], images: Tensor, targets: Tensor) -> Iterator[Row]:
    """LPIPS is four metrics; that of the reference is version 0.1 over AlexNet."""
    for net, version in (("alex", "0.0"), ("vgg", "0.1"), ("vgg", "0.0")):
        name = f"LPIPS {version} over {net}"
        absent = unpublished("alex") or unpublished(net)
        if absent or "lpips" not in measures:
            yield Row("metric", name, note=f"not measured, {absent or 'not asked for'}")
        else:
            way = partial(perceptual.lpips, version=version, net=net)
            yield Row("metric", name, images, targets, {"lpips": Measure(way)})


def unpublished(name: str) -> str:
    """Why a published network cannot be used here; empty if it can.

    Args:
        name: of `gfla.scores.trunks.TRUNKS`.
    """
    try:
        trunks.verified(name)
        if name != "inception":
            trunks.import_lpips()  # takes seconds, so it comes second
    except FileNotFoundError:  # whose message names a place on this machine
        return "its published weights are not on this machine"
    except CheckpointError:
        return "the weights found under its name have another checksum"
    except ImportError:
        return "the lpips package is not installed"
    return ""


def _words(kind: str, antialias: bool) -> str:
    without = "" if antialias or kind == "nearest" else " without antialiasing"
    return f"by {kind}{without}"


# Variants of metrics


def relative_error(images: Image, targets: Image) -> float:
    """The authors' "MAE": Σ |a − b| / Σ (a + b), values in [0, 1] (docs/spec.md section 9).

    >>> import torch
    >>> relative_error(torch.ones(1, 3, 2, 2), torch.zeros(1, 3, 2, 2))  # 0.5 / 1.5
    0.3333333333333333
    """
    a, b = ((x.double() + 1) / 2 for x in (images, targets))
    return float((a - b).abs().sum() / (a + b).sum())


def pooled_psnr(images: Image, targets: Image) -> float:
    """PSNR of one mean square error over all pictures, instead of the mean of each one's PSNR."""
    return float(-10 * ((images.double() - targets.double()) / 2).square().mean().log10())


def ssim_own_range(images: Image, targets: Image) -> float:
    """The authors' second SSIM: the data range is max − min of each generated picture."""
    values = []
    for image, target in zip(images.split(1), targets.split(1), strict=True):
        span = max(float(image.max() - image.min()) / 2, 1 / 255)
        values.append(metrics.ssim(image, target, data_range=span))
    return float(np.mean(values))
