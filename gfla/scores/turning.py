"""What a model of view synthesis is worth: by the angle of the turn, by elevation, by class.

Objects know which of their points the source shows, so that a picture is judged where it could be
right, over visible pixels, and only besides that as a whole. All of it works for `gfla.views.Views`
and `gfla.views.AppearanceFlow` alike.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gfla import metrics
from gfla.data import objects
from gfla.data.solids import AZIMUTHS
from gfla.sampling import warp
from gfla.scores.averages import plain, weights_of
from gfla.types import Image

BATCH = 16  # pairs judged together; each batch has a seed of its own, as in `gfla.measure`
DEGREES = 360 // AZIMUTHS  # of an azimuth bin
STILL = 1e-3  # pixels; a mean true flow below is rounding, and nothing moves
OVER = {  # number: what it is the mean over
    "l1": "visible", "copy_l1": "visible", "true_warp_l1": "visible",
    "own_warp_l1": "visible", "flow_error": "visible", "zero_flow_error": "visible",
    "l1_foreground": "foreground", "copy_l1_foreground": "foreground",
    "psnr": "pairs", "ssim": "pairs", "copy_ssim": "pairs",
}  # fmt: skip


class Rows(NamedTuple):
    """What was found, pair by pair."""

    sums: dict[str, Tensor]  # the names of OVER and what they are divided by -> (B,) float64
    turn: Tensor  # (B,) int64, azimuth bins from source to target, 0 … 9, both directions alike
    elevation: Tensor  # (B,) int64, bin of the target
    kind: Tensor  # (B,) int64, index into `objects.CLASSES`


class Shares(NamedTuple):
    """What variance belongs to; the three sum to 1."""

    picture: float  # the same for all views
    view: float  # the same for all pictures
    both: float  # what neither alone explains


def judge(
    model: nn.Module,
    count: int = 128,
    classes: tuple[str, ...] = objects.TRAINED,
    size: tuple[int, int] | None = None,
    seed: int = objects.MEASURING_SEEDS,
) -> dict[str, float]:
    """Judge a model on procedural objects that no training sees.

    Args:
        model: `Views` or `AppearanceFlow`; one without flows is judged by its pictures alone.
        count: pairs.
        classes: of `objects.CLASSES`; `objects.HELD_OUT` are the ones it never trained on.
        size: (H, W); the model's own by default.
        seed: of the first batch.

    Returns:
        Over visible pixels: l1, copy_l1 (the source left in place), true_warp_l1 (the source warped
        by the true flow) and own_warp_l1 (by the model's finest flow), each as a share of the value
        range; copy_ratio = l1 / copy_l1; flow_error and zero_flow_error in pixels, flow_ratio of
        the two. Over the object: l1_foreground, copy_l1_foreground. Whole pictures: psnr, ssim,
        copy_ssim. And visible_share, of the object, and pairs. Pixels are pooled, pictures weigh
        alike; nan is what nothing was found for.

    Raises:
        ValueError: a count below 1, or what `objects.pairs` refuses.
    """
    return summary(survey({"": model}, count, classes, size, seed)[""])


@torch.no_grad()
def survey(
    models: Mapping[str, nn.Module],
    count: int = 128,
    classes: tuple[str, ...] = objects.TRAINED,
    size: tuple[int, int] | None = None,
    seed: int = objects.MEASURING_SEEDS,
) -> dict[str, Rows]:
    """Ask several models about the same pairs, which are drawn once.

    Args:
        models: name -> model, all of one size.
        count, classes, size, seed: as `judge`.

    Returns:
        name -> `Rows`, for `summary` and `grouped`.

    Raises:
        ValueError: no model, a count below 1, or what `objects.pairs` refuses.
    """
    if not models or count < 1:
        raise ValueError(f"{len(models)} models and {count} pairs: give at least one of each")
    size = size or next(iter(models.values())).size
    found: dict[str, list[Rows]] = {name: [] for name in models}
    for start in range(0, count, BATCH):
        batch = objects.pairs(min(BATCH, count - start), size, seed + start, classes)
        for name, model in models.items():
            found[name].append(_rows(model, batch))
    return {name: _joined(rows) for name, rows in found.items()}


def summary(rows: Rows, chosen: Tensor | None = None) -> dict[str, float]:
    """The numbers of `judge` over all pairs, or over those that are chosen.

    Args:
        rows: of `survey`.
        chosen: (B,) boolean.
    """
    sums = rows.sums if chosen is None else {k: v[chosen] for k, v in rows.sums.items()}
    whole = {name: float(values.sum()) for name, values in sums.items()}
    found = {name: _ratio(whole[name], whole[over]) for name, over in OVER.items() if name in whole}
    found["copy_ratio"] = _ratio(found["l1"], found["copy_l1"])
    if "flow_error" in found:
        found["flow_ratio"] = _ratio(found["flow_error"], found["zero_flow_error"], STILL)
    found["visible_share"] = _ratio(whole["visible"], whole["foreground"])
    return found | {"pairs": whole["pairs"]}


def grouped(rows: Rows, by: str) -> dict[int, dict[str, float]]:
    """`summary` of every group of pairs.

    Args:
        rows: of `survey`.
        by: "turn", "elevation" or "kind".

    Returns:
        bin -> numbers, in the order of the bins; those without a pair are left out.

    Raises:
        ValueError: another word.
    """
    if by not in Rows._fields[1:]:
        raise ValueError(f"by is {by!r}: choose one of {', '.join(Rows._fields[1:])}")
    bins = getattr(rows, by)
    return {int(one): summary(rows, bins == one) for one in bins.unique()}


def shares(values: Tensor) -> Shares:
    r"""Split the variance of what is made of S pictures and V views: who has a say?

        x(s, v) = m + p(s) + q(v) + r(s, v),   shares of Σ p², Σ q² and Σ r²

    p, q and r sum to zero over s and over v; squares are summed over all positions. A model that
    hears no view has q = r = 0. One that adds what the view says to what the picture says has
    r = 0: it gives every object the same change.

    Args:
        values: (S, V, …), S and V at least 2.

    Raises:
        ValueError: too few pictures or views, or values that never differ.

    >>> added = torch.tensor([0.0, 1.0])[:, None] + torch.tensor([0.0, 3.0])
    >>> shares(added), shares(added.prod(0, keepdim=True) * torch.tensor([[1.0], [-1.0]]))
    (Shares(picture=0.1, view=0.9, both=0.0), Shares(picture=0.5, view=0.0, both=0.5))
    """
    if values.ndim < 2 or min(values.shape[:2]) < 2:
        raise ValueError(f"values are {tuple(values.shape)}: give two pictures and views or more")
    x = plain(values) - plain(values).mean((0, 1), keepdim=True)
    picture, view = x.mean(1, keepdim=True), x.mean(0, keepdim=True)
    total = float(x.square().sum())
    if not total > 0:
        raise ValueError("all values are the same: there is no variance to share")
    parts = [(part.expand_as(x) ** 2).sum() for part in (picture, view, x - picture - view)]
    return Shares(*(float(part) / total for part in parts))


class Turn(NamedTuple):
    """What a model makes of B objects in V views."""

    image: Tensor  # (B, V, 3, H, W)
    flows: tuple[Tensor, ...]  # each (B, V, 2, h, w), coarse → fine; empty for one without


@torch.no_grad()
def around(model: nn.Module, source: Image, source_view: Tensor, views: Tensor) -> Turn:
    """Render objects from many sides.

    Args:
        model: `Views` or `AppearanceFlow`.
        source: (B, 3, H, W) in [-1, 1].
        source_view: (B, 21, 1, 1).
        views: (B, V, 21, 1, 1), those wanted, such as `objects.views(…)["views"]`.
    """
    outputs = [model(source, source_view, view) for view in views.unbind(1)]
    flows = zip(*(output.flows for output in outputs), strict=True)
    return Turn(
        torch.stack([output.image for output in outputs], 1),
        tuple(torch.stack(level, 1) for level in flows),
    )


# ---------------------------------------------------------------- inside


def _rows(model: nn.Module, batch: dict[str, Tensor]) -> Rows:
    """One batch, judged."""
    source, target, flow = batch["source"], batch["target"], batch["flow"]
    output = model(source, batch["source_view"], batch["target_view"])
    image = output.image.clamp(-1, 1)
    masks = {name: weights_of(batch[name], target[:, 0]) for name in ("visible", "foreground")}

    def total(values: Tensor, over: str) -> Tensor:
        return (plain(values) * masks[over]).sum((1, 2))

    def away(picture: Image, over: str) -> Tensor:
        return total((picture - target).abs().mean(1) / 2, over)

    sums = {
        "l1": away(image, "visible"),
        "copy_l1": away(source, "visible"),
        "true_warp_l1": away(warp(source, flow), "visible"),
        "zero_flow_error": total(flow.norm(dim=1), "visible"),
        "l1_foreground": away(image, "foreground"),
        "copy_l1_foreground": away(source, "foreground"),
        "psnr": metrics.psnr(image, target, reduction="pairs"),
        "ssim": metrics.ssim(image, target, reduction="pairs"),
        "copy_ssim": metrics.ssim(source, target, reduction="pairs"),
        "pairs": torch.ones(len(source), dtype=torch.float64),
    } | {name: mask.sum((1, 2)) for name, mask in masks.items()}
    if output.flows:
        own = metrics.upsample_flow(output.flows[-1], flow.shape[-2:])
        sums["flow_error"] = total((own - flow).norm(dim=1), "visible")
        sums["own_warp_l1"] = away(warp(source, own), "visible")
    first, last = batch["azimuths"].unbind(1)
    turned = (last - first) % AZIMUTHS
    return Rows(sums, torch.minimum(turned, AZIMUTHS - turned), batch["elevation"], batch["kind"])


def _joined(rows: list[Rows]) -> Rows:
    sums = {name: torch.cat([one.sums[name] for one in rows]) for name in rows[0].sums}
    return Rows(sums, *(torch.cat(columns) for columns in list(zip(*rows, strict=True))[1:]))


def _ratio(part: float, whole: float, least: float = 0.0) -> float:
    return part / whole if whole > least else math.nan
