"""What the four models make of the same pairs, and where global attention looks, for notebook 04.

Which pairs are shown is given by fixed indices or chosen by a metric, never by eye.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib import patheffects
from matplotlib.figure import Figure
from torch import Tensor

from gfla import viz
from gfla.ablation.ladder import FIRST, MODELS
from gfla.scores.judging import METRICS
from gfla.types import Image


def strips(
    batch: Mapping[str, Tensor],
    images: Mapping[str, Image],
    indices: Sequence[int] = (0, 1, 2, 3),
    side_labels: Sequence[str] = (),
) -> Figure:
    """Draw what the four models make of the same pairs.

    Args:
        batch: of `gfla.data.people.pairs`: source, target (B, 3, H, W), target_keypoints.
        images: of `MODELS` -> (B, 3, H, W) in [-1, 1]; those missing are left out.
        indices: which pairs, a row each.
        side_labels: words before the rows.

    Returns:
        Figure: source, target pose, Baseline, Global-Attn, Bi-Sample, Full, target.

    Raises:
        ValueError: a model that the ladder does not have, or an index beyond the batch.
    """
    count = len(batch["source"])
    if unknown := set(images) - set(MODELS):
        raise ValueError(f"images of {sorted(unknown)}: expected some of {', '.join(MODELS)}")
    if beyond := [index for index in indices if not 0 <= index < count]:
        raise ValueError(f"indices {beyond} lie outside the batch of {count} pairs")
    size = tuple(batch["source"].shape[-2:])
    shown = [model for model in MODELS if model in images]
    rows = [
        [
            viz.to_uint8(batch["source"][i]),
            viz.skeleton(batch["target_keypoints"][i], size, zoom=3),
            *(viz.to_uint8(images[model][i]) for model in shown),
            viz.to_uint8(batch["target"][i]),
        ]
        for i in indices
    ]
    labels = ["source", "target pose", *(MODELS[model] for model in shown), "target"]
    return viz.grid(rows, labels, side_labels)


def extremes(values: Sequence[float], metric: str = FIRST, count: int = 2) -> dict[str, list[int]]:
    """Choose the best and the worst pairs by a metric, so that nobody picks them by eye.

    Args:
        values: the metric pair by pair, such as ``run["pairs"][metric]``.
        metric: of `gfla.scores.judging.METRICS`, for its direction.
        count: how many of each.

    Returns:
        "best" and "worst" -> indices of pairs, the most extreme first. Pairs without a finite
        value are never chosen.

    Raises:
        ValueError: fewer finite values than asked for, or a metric without a direction.

    >>> extremes([0.3, 0.1, float("nan"), 0.2, 0.4], "l1", 2)
    {'best': [1, 3], 'worst': [4, 0]}
    """
    if METRICS[metric].direction == "none":
        raise ValueError(f"{metric} has no direction: no pair is best or worst by it")
    array = np.asarray([np.nan if value is None else value for value in values], dtype=float)
    finite = np.flatnonzero(np.isfinite(array))
    if len(finite) < 2 * count:
        raise ValueError(f"{len(finite)} pairs have a value: too few for {count} best and worst")
    ranked = finite[np.argsort(array[finite], kind="stable")]
    if METRICS[metric].direction == "higher":
        ranked = ranked[::-1]
    return {"best": ranked[:count].tolist(), "worst": ranked[::-1][:count].tolist()}


def extreme_strips(
    batch: Mapping[str, Tensor],
    images: Mapping[str, Image],
    values: Sequence[float],
    metric: str = FIRST,
    count: int = 2,
) -> Figure:
    """Draw the best and the worst pairs by a metric, its value before each row.

    Args:
        batch, images: as of `strips`.
        values: the metric pair by pair, of the model that the cases are chosen for.
        metric, count: as of `extremes`.
    """
    chosen = extremes(values, metric, count)
    names = [f"{kind}: {values[i]:.3g}" for kind, indices in chosen.items() for i in indices]
    return strips(batch, images, [*chosen["best"], *chosen["worst"]], names)


def looks(
    source: Image,
    target: Image,
    positions: Sequence[tuple[int, int]],
    maps: Tensor,
    truth: Sequence[tuple[float, float] | None] = (),
) -> Figure:
    """Draw where in the source the global attention of some target positions looks.

    Args:
        source, target: (3, H, W) in [-1, 1].
        positions: (x, y) in pixels of the target, numbered in its picture.
        maps: (K, h, w), the attention weights of each position over the source.
        truth: (x, y) in the source where each position truly comes from, None where it is hidden.

    Returns:
        Figure: the target with its positions, then the source a panel for each: the darker, the
        more weight (scaled panel by panel); under it the share of the heaviest cell, and what an
        even spread would give; a ring at the truth.

    Raises:
        ValueError: not one map for each position, or maps that are not (K, h, w).
    """
    maps = torch.as_tensor(maps).detach().cpu().float()
    if maps.ndim != 3 or len(maps) != len(positions):
        raise ValueError(
            f"maps have shape {tuple(maps.shape)} for {len(positions)} positions: expected "
            "(K, h, w), a map for each"
        )
    height, width = source.shape[-2:]
    panels = 1 + len(maps)
    cell = min(1.5, viz.WIDE / panels)
    figure = Figure(figsize=(cell * panels, cell * height / width + 0.45), layout="constrained")
    row = figure.subplots(1, panels)
    _still(row[0], target, "target")
    for number, (x, y) in enumerate(positions, 1):
        _mark(row[0], x, y, viz.TARGET, str(number))
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    for number, (axes, weights) in enumerate(zip(row[1:], maps, strict=True)):
        share = weights / weights.sum()
        words = f"{number + 1}: {float(share.max()):.1%} at most\n(even: {1 / share.numel():.1%})"
        _still(axes, source, words, light=0.55)
        weight = (share / share.max()).numpy()
        axes.imshow(np.ones_like(weight), cmap=viz.WEIGHTS, vmin=0, vmax=1.4, alpha=0.9 * weight,
                    extent=extent, interpolation="nearest")  # fmt: skip
        if number < len(truth) and truth[number] is not None:
            _mark(axes, *truth[number], viz.SOURCE, "")
    return figure


# ---------------------------------------------------------------- inside


def _still(axes, image: Image, label: str, light: float = 0.0) -> None:
    """A picture without axes; `light` fades it towards white, to be drawn upon."""
    picture = viz.to_uint8(image).astype(float)
    axes.imshow((picture + light * (255 - picture)).astype(np.uint8), interpolation="nearest")
    axes.set(xticks=[], yticks=[], xlabel=label)
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set(visible=True, color=viz.PALE, linewidth=0.5)


def _mark(axes, x: float, y: float, color: str, text: str) -> None:
    (ring,) = axes.plot(x, y, "o", ms=7, color=color, markerfacecolor="none", markeredgewidth=1.6)
    ring.set_path_effects([patheffects.withStroke(linewidth=3.2, foreground="white")])
    if text:
        written = axes.annotate(text, (x, y), (5, 3), textcoords="offset points", color=viz.INK,
                                weight="bold")  # fmt: skip
        written.set_path_effects([patheffects.withStroke(linewidth=2.5, foreground="white")])
