"""How much of a published number is the model, and how much the way it was scored.

One set of generated pictures and their targets is scored under the field's different conventions:
how the ground truth was brought to the network's size, in which files the pictures lay, which part
of them is looked at, which variant of a metric, which real pictures they are held against. Every
row of `matrix` changes ONE thing against the reference, except the one that says "together".

The reference: the ground truth shrunk by a bilinear filter with antialiasing, both pictures rounded
to bytes and kept without loss, the whole picture, SSIM with a Gaussian window and a data range of
1, Fréchet distances to the targets of the very pairs.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image as Picture
from torch import Tensor

from gfla import metrics

if TYPE_CHECKING:
    import pandas

    from gfla.types import Image, Mask

# Table 2 of the paper (docs/spec.md section 14): its model and the ablation closest to it.
PAPER = {
    "full": {"fid": 10.573, "lpips": 0.2341},
    "bilinear": {"fid": 12.143, "lpips": 0.2406},
}
REFERENCE = "reference"
AUTHORS_BATCH = 64  # pictures; the authors' script leaves the last incomplete batch out
# PIL antialiases when it shrinks, but for "nearest"; torch's interpolation and OpenCV do not unless
# they are asked to. Nobody offers Lanczos without.
FILTERS = (
    ("nearest", False),
    ("bilinear", True),
    ("bilinear", False),
    ("bicubic", True),
    ("bicubic", False),
    ("lanczos", True),
)
CHROMA = {"4:4:4": 0, "4:2:0": 2}  # PIL's numbers
LUMA = (0.299, 0.587, 0.114)  # of red, green and blue: what "to grey" means in PIL and OpenCV


class Measure(NamedTuple):
    """A number for generated pictures, as `matrix` wants it."""

    score: Callable[[Tensor, Tensor], float]  # (images, targets), each (B, 3, H, W) in [-1, 1]
    paper: str | None = None  # the paper's metric of the same kind, "lpips" or "fid"
    of_sets: bool = False  # compares two sets, which need not pair up nor be equally large

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


def matrix(
    scene: Scene, measures: Mapping[str, Measure], progress: bool = False
) -> pandas.DataFrame:
    r"""Score one set of pictures under every convention.

        change = v / v_reference − 1,   gaps = change / (v_Bi-Sample / v_Full − 1 in the paper)

    A relative change of another distance over other pictures is not the paper's number, so "gaps"
    is a yardstick and no more: from one gap on, a convention that two papers do not share could
    turn round what one of them concludes.

    Args:
        scene: pictures in [-1, 1]; H and W multiples of 16 where an encoder of ours measures.
        measures: by name, in the order of the columns. Those named "psnr" and "ssim" have
            conventions of their own; the change of "psnr" is in decibels.
        progress: show a bar.

    Returns:
        One row a convention, `REFERENCE` first. Columns: group; every measure; "<measure> change";
        "<measure> gaps" where the paper has such a gap; note. Not a number where a convention does
        not touch a measure, and where it could not be measured: then the note says why.

    Raises:
        ValueError: shapes that do not fit, or no measures.

    >>> scene = Scene(torch.zeros(2, 3, 64, 64), torch.full((2, 3, 64, 64), 0.4))
    >>> frame = matrix(scene, {"l1": Measure(metrics.l1)})
    >>> frame.loc["reference", "l1"].round(2), frame.loc["ground truth as JPEG 95 4:4:4", "group"]
    (np.float64(0.2), 'files')
    """
    import pandas
    from tqdm.auto import tqdm

    _check(scene, measures)
    table = []
    for row in tqdm(_rows(scene, measures), disable=not progress, unit=" conventions"):
        chosen = measures if row.measures is None else row.measures
        values = {} if row.images is None else _score(row, chosen)
        table.append({"convention": row.name, "group": row.group, **values, "note": row.note})
    frame = pandas.DataFrame(table).set_index("convention")
    for name, measure in measures.items():
        first = frame.loc[REFERENCE, name]
        difference = frame[name] - first
        frame[f"{name} change"] = difference if name == "psnr" else difference / first
        if measure.paper:
            frame[f"{name} gaps"] = frame[f"{name} change"] / measure.gap
    return frame[[name for name in frame if name != "note"] + ["note"]]


def _score(row: Row, measures: Mapping[str, Measure]) -> dict[str, float]:
    return {name: one.score(row.images, row.targets) for name, one in measures.items()}


def _check(scene: Scene, measures: Mapping[str, Measure]) -> None:
    shape = tuple(scene.images.shape)
    if len(shape) != 4 or shape[1] != 3 or scene.targets.shape != scene.images.shape:
        raise ValueError(
            f"images {shape} and targets {tuple(scene.targets.shape)} must be (B, 3, H, W) alike"
        )
    if scene.originals is not None and len(scene.originals) != shape[0]:
        raise ValueError(f"{len(scene.originals)} originals for {shape[0]} targets: one each")
    if scene.foreground is not None and scene.foreground.shape != (shape[0], 1, *shape[2:]):
        raise ValueError(
            f"foreground is {tuple(scene.foreground.shape)}, expected {(shape[0], 1, *shape[2:])}"
        )
    if not measures:
        raise ValueError("no measures: give at least one, for instance Measure(gfla.metrics.l1)")


# The conventions


def _rows(scene: Scene, measures: Mapping[str, Measure]) -> Iterator[Row]:
    """Every convention; pictures are made one row at a time."""
    images, targets = as_bytes(scene.images), as_bytes(scene.targets)
    yield Row("", REFERENCE, images, targets)
    yield from _file_rows(scene, images, targets)
    yield from _shrinking_rows(scene, images)
    yield from _narrow_rows(scene, images, targets)
    yield from _crop_rows(scene, images, targets)
    yield from _set_rows(scene, measures, images, targets)
    yield from _variant_rows(measures, images, targets)


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
        yield Row("ground truth", name, ours, true, note="how the authors did it, as far as known")


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
    half = len(images) // 2
    if sets and half > 1:
        yield Row("reference set", "half as many pairs", images[:half], targets[:half], sets)
    whole = len(images) // AUTHORS_BATCH * AUTHORS_BATCH
    name = f"last incomplete batch of {AUTHORS_BATCH} left out"
    if 0 < whole < len(images):
        yield Row("reference set", name, images[:whole], targets[:whole])
    else:
        note = f"{len(images)} pairs have no full batch beside an incomplete one"
        yield Row("reference set", name, note=note)


def _variant_rows(
    measures: Mapping[str, Measure], images: Tensor, targets: Tensor
) -> Iterator[Row]:
    """Other numbers that go by the same name."""
    ways: dict[str, dict[str, Callable[[Tensor, Tensor], float]]] = {
        "l1": {"L1 as Σ|a − b| / Σ(a + b)": relative_error},
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


def _words(kind: str, antialias: bool) -> str:
    without = "" if antialias or kind == "nearest" else " without antialiasing"
    return f"by {kind}{without}"


# What happens to pictures on their way


def as_bytes(images: Image, cut: bool = False) -> Image:
    """The pictures as they come back from a file of bytes without loss.

    Args:
        images: (B, C, H, W) in [-1, 1].
        cut: drop the fraction instead of rounding, as the authors do (docs/spec.md section 8).

    Returns:
        (B, C, H, W) on the 256 values of a byte.

    >>> nearly_white = torch.full((1, 1, 1, 1), 0.999)
    >>> [round(float(as_bytes(nearly_white, cut)) * 127.5 + 127.5) for cut in (False, True)]
    [255, 254]
    """
    return _bytes(images, cut).float() / 127.5 - 1


def jpeg(images: Image, quality: int, chroma: str = "4:2:0") -> Image:
    """The pictures as they come back from JPEG files.

    Args:
        images: (B, 3, H, W) in [-1, 1]; they are rounded to bytes.
        quality: 1 … 100, PIL's scale; its default is 75.
        chroma: "4:4:4" keeps colour at full resolution, "4:2:0", PIL's default, at half.

    Returns:
        (B, 3, H, W) in [-1, 1].

    >>> flat = torch.full((1, 3, 16, 16), 0.2)
    >>> bool((jpeg(flat, 75) - flat).abs().max() < 0.02)
    True
    """
    found = []
    for picture in _pictures(images):
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=quality, subsampling=CHROMA[chroma])
        found.append(_tensor(Picture.open(file)))
    return torch.stack(found)


def resize(
    images: Image, size: tuple[int, int], kind: str = "bilinear", antialias: bool = True
) -> Image:
    """Pictures of another size.

    Args:
        images: (B, 3, H, W) in [-1, 1].
        size: (H', W') wanted.
        kind: "nearest", "bilinear", "bicubic" or "lanczos".
        antialias: widen the filter when shrinking, as PIL does; without it pixels in between are
            not looked at, as in OpenCV and in torch's default. Lanczos is always PIL's.

    Returns:
        (B, 3, H', W') in [-1, 1]; rounded to bytes on the way if PIL did it.

    >>> resize(torch.zeros(1, 3, 4, 4), (2, 3), "bicubic").shape
    torch.Size([1, 3, 2, 3])
    """
    if kind in ("bilinear", "bicubic") and not antialias:
        return F.interpolate(images, size=size, mode=kind, align_corners=False).clamp(-1, 1)
    resample = Picture.Resampling[kind.upper()]
    shrunk = [_tensor(one.resize(size[::-1], resample)) for one in _pictures(images)]
    return torch.stack(shrunk)


def narrow_width(width: int) -> int:
    """The width of DeepFashion's 256x176 beside a square of `width`, as our encoders can read it.

    >>> narrow_width(256), narrow_width(64)  # 44 would be exact; a multiple of 16 is needed
    (176, 48)
    """
    return 16 * max(1, round(width * 176 / 256 / 16))


def cut_to_box(images: Image, foreground: Mask) -> Image:
    """What the tightest box around the person shows, brought back to the size of the picture.

    Args:
        images: (B, 3, H, W) in [-1, 1].
        foreground: (B, 1, H, W), 1 on the person.

    Returns:
        (B, 3, H, W), bilinear, antialiased; a picture without a person stays as it is.
    """
    found = []
    for image, person in zip(images, foreground[:, 0] > 0.5, strict=True):
        rows, columns = person.any(1).nonzero(), person.any(0).nonzero()
        if len(rows):
            top, bottom, left, right = (int(v) for v in (*rows.aminmax(), *columns.aminmax()))
            image = image[:, top : bottom + 1, left : right + 1]
        found.append(resize(image[None], tuple(images.shape[-2:]))[0])
    return torch.stack(found)


def grey(images: Image) -> Tensor:
    """The luma of pictures: (B, 3, H, W) to (B, 1, H, W)."""
    return (images * images.new_tensor(LUMA)[:, None, None]).sum(1, keepdim=True).clamp(-1, 1)


# Variants of metrics


def relative_error(images: Image, targets: Image) -> float:
    """The authors' "MAE": Σ |a − b| / Σ (a + b), values in [0, 1] (docs/spec.md section 9).

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


def _bytes(images: Tensor, cut: bool = False) -> Tensor:
    values = (images.detach().cpu().double() + 1) * 127.5
    values = values.floor() if cut else values.round()
    return values.clamp(0, 255).to(torch.uint8)


def _pictures(images: Tensor) -> list[Picture.Image]:
    return [Picture.fromarray(one.permute(1, 2, 0).numpy()) for one in _bytes(images)]


def _tensor(picture: Picture.Image) -> Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 127.5 - 1  # (3, H, W)
