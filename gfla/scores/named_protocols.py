"""The ways of scoring that papers use, each under a name that is said with every number.

    print(table([score(name, scene) for name in ("authors", "narrow")]))

`gfla.scores.protocol` asks what ONE convention changes; here those that belong together are carried
out together. A distance is called LPIPS or FID only over the published, verified weights, and is
refused with the reason otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from gfla import ledger, metrics
from gfla.scores import inception, perceptual
from gfla.scores.conventions import (
    AUTHORS_BATCH,
    Scene,
    relative_error,
    ssim_own_range,
    unpublished,
)
from gfla.scores.resaving import as_bytes, jpeg, narrow_width, resize

METRICS = ("l1", "mae", "psnr", "ssim", "lpips", "fid")
SIZES = ((256, 256), (128, 64), (256, 176))  # (H, W) that published numbers are of
_NARROW = 176 / 256  # of DeepFashion's pictures, width over height

Sides = tuple[Tensor, Tensor]  # generated, ground truth


def plain(scene: Scene) -> Sides:
    """Both sides rounded to bytes, nothing else."""
    return as_bytes(scene.images), as_bytes(scene.targets)


def authors(scene: Scene) -> Sides:
    """Generated cut to bytes, ground truth shrunk by a bicubic filter, both kept as JPEG 75.

    Where the ground truth's originals are not known, the pictures come from files, and these are
    taken as they are.
    """
    if scene.originals is None:
        return plain(scene)
    true = resize(scene.originals, tuple(scene.targets.shape[-2:]), "bicubic")
    return jpeg(as_bytes(scene.images, cut=True), 75), jpeg(true, 75)


def narrowed(scene: Scene) -> Sides:
    """Both sides in the shape of 256x176, the ground truth from its originals where they are known.

    Pictures that have the shape are left alone.
    """
    height, width = scene.targets.shape[-2:]
    if abs(width / height - _NARROW) < 0.01:
        return plain(scene)
    narrow = height, narrow_width(width)
    true = scene.targets if scene.originals is None else scene.originals
    return as_bytes(resize(scene.images, narrow)), as_bytes(resize(true, narrow))


def cropped(scene: Scene) -> Sides:
    """The middle 176 of 256 columns of both sides."""
    width = scene.targets.shape[-1]
    left = (width - narrow_width(width)) // 2
    images, targets = plain(scene)
    inner = slice(left, left + narrow_width(width))
    return images[..., inner], targets[..., inner]


class Named(NamedTuple):
    """One way of scoring."""

    line: str  # what it is
    sides: Callable[[Scene], Sides]  # both as they are compared
    ssim: Callable[[Tensor, Tensor], float] = metrics.ssim
    version: str = "0.1"  # of LPIPS, over AlexNet
    whole_batches: bool = False  # LPIPS leaves out the last incomplete one
    foreign: bool = False  # FID looks through a network that is not FID's


NAMED = {
    "ours": Named("ground truth bilinear with antialiasing, both without loss", plain),
    "authors": Named(
        "the authors' script: generated cut to bytes, ground truth bicubic, both JPEG 75, SSIM by "
        "each generated picture's range, LPIPS 0.0 of whole batches of 64",
        authors, ssim_own_range, "0.0", True, True,
    ),
    "narrow": Named("256x176 as most later papers: both bilinear, without loss", narrowed),
    "cropped": Named("256x256, of which the middle 176 columns count, without loss", cropped),
}  # fmt: skip


class Scored(NamedTuple):
    """What came of it."""

    name: str  # of NAMED
    size: tuple[int, int]  # (H, W) of what was compared
    values: dict[str, float]  # of METRICS
    refused: dict[str, str]  # those of METRICS that have no value here, and why
    notes: tuple[str, ...]  # sentences: how far this is from what a paper did


def score(name: str, scene: Scene, wanted: Sequence[str] = METRICS) -> Scored:
    """Score pictures in one of the ways that papers use.

    Args:
        name: of NAMED.
        scene: pictures in [-1, 1], see `gfla.scores.scoring.model_scene` and `folder_scene`.
        wanted: which of METRICS.

    Returns:
        l1 = mean |a - b|, mae = Σ |a - b| / Σ (a + b), values in [0, 1]; psnr in dB; ssim; lpips
        and fid only over verified weights. The rest is refused, with the reason.

    Raises:
        ValueError: no such way, or no such metric.

    >>> import torch
    >>> scene = Scene(torch.zeros(2, 3, 64, 64), torch.full((2, 3, 64, 64), 0.4))
    >>> round(score("narrow", scene, ["l1"]).values["l1"], 2)
    0.2
    """
    check(name, wanted)
    how = NAMED[name]
    images, targets = how.sides(scene)
    ways: dict[str, Callable[[], float]] = {
        "l1": lambda: metrics.l1(images, targets),
        "mae": lambda: relative_error(images, targets),
        "psnr": lambda: metrics.psnr(images, targets),
        "ssim": lambda: how.ssim(images, targets),
        "lpips": lambda: perceptual.lpips(*_batched(how, images, targets), version=how.version),
        "fid": lambda: perceptual.fid(images, targets),
    }
    barred = {"lpips": unpublished("alex"), "fid": _no_fid(how, len(images))}
    refused = {one: barred[one] for one in wanted if barred.get(one)}
    values = {one: ways[one]() for one in METRICS if one in wanted and one not in refused}
    size = tuple(images.shape[-2:])
    return Scored(name, size, values, refused, tuple(_notes(name, scene, size)))


def check(name: str, wanted: Sequence[str] = ()) -> None:
    """Refuse a way of scoring, or a metric, that there is not.

    Raises:
        ValueError: naming it and the choices.
    """
    if name not in NAMED:
        raise ValueError(f"no protocol {name!r}: choose one of {', '.join(NAMED)}")
    if unknown := [one for one in wanted if one not in METRICS]:
        raise ValueError(
            f"no metric {unknown[0]!r} in a protocol: choose from {', '.join(METRICS)}"
        )


def table(scored: Sequence[Scored]) -> str:
    """Several ways of scoring as Markdown, a row each; below it what was refused, and the notes."""
    rows = [["protocol", "compared at", *METRICS]]
    for one in scored:
        cells = [f"{one.values[m]:.4g}" if m in one.values else "–" for m in METRICS]
        rows.append([one.name, f"{one.size[0]}x{one.size[1]}", *cells])
    lines: dict[str, list[str]] = {}
    for one in scored:
        told = [f"no {metric}: {why}" for metric, why in one.refused.items()]
        for line in (*told, *one.notes):
            lines.setdefault(line, []).append(one.name)
    about = [f"{one.name}: {NAMED[one.name].line}" for one in scored]
    about += [f"{', '.join(names)}: {line}" for line, names in lines.items()]
    return ledger.table(rows) + "\n" + "\n".join(about) + "\n"


def report(scored: Scored) -> dict[str, Any]:
    """One way of scoring as plain data."""
    return scored._asdict() | {"line": NAMED[scored.name].line, "size": list(scored.size)}


def _batched(how: Named, images: Tensor, targets: Tensor) -> Sides:
    """Without the last incomplete batch, where the way wants it and a whole one is there."""
    whole = len(images) // AUTHORS_BATCH * AUTHORS_BATCH if how.whole_batches else 0
    return images[: whole or None], targets[: whole or None]


def _no_fid(how: Named, pictures: int) -> str:
    if how.foreign:
        return (
            "the authors look through torchvision's Inception, normalised in a way of its own, at "
            "the whole training set: only their script gives their number"
        )
    if absent := unpublished("inception"):
        return absent
    least = inception.FEATURES + 1
    return f"{pictures} pictures, it takes {least}" if pictures < least else ""


def _notes(name: str, scene: Scene, size: tuple[int, int]):
    if size not in SIZES:
        yield f"no published number is of {size[0]}x{size[1]} pictures"
    if name == "authors" and scene.originals is None:
        yield (
            "files are taken as they are; `data prepare --protocol truth` makes the authors' "
            "ground truth"
        )
    if name == "authors" and len(scene.images) < AUTHORS_BATCH:
        yield f"{len(scene.images)} pairs, less than one batch of {AUTHORS_BATCH}: all are taken"
