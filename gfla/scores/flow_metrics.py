"""How good a flow and an occlusion mask are: tensors in, numbers out.

The procedural data knows the truth, and everything here is measured against it. Nothing gives a
gradient, and no loss, early stop or choice of a shipped model may use it. All of it is importable
from `gfla.metrics` too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from gfla.flow import upsample_flow
from gfla.sampling import check_flow
from gfla.scores.averages import expand, plain, weighted_mean, weights_of

if TYPE_CHECKING:
    from gfla.types import Flow, Mask


@torch.no_grad()
def endpoint_error(
    flow: Flow, truth: Flow, mask: Mask | None = None, reduction: str = "batch"
) -> float | Tensor:
    """Mean distance between where the flow points and where it should.

        EPE = Σ_l m(l) ‖w(l) − w*(l)‖₂ / Σ_l m(l)

    Args:
        flow: (B, 2, h, w) in pixels of its own level; brought to the size of the truth by
            `upsample_flow`.
        truth: (B, 2, H, W) true flow w* in pixels.
        mask: (B, 1, H, W) weight of each position, usually `visible`; None weighs all alike.
        reduction: "batch" pools the pixels of all pairs; "pairs" gives (B,) errors, nan where the
            mask is empty.

    Returns:
        Pixels of the truth's level, 0 (perfect) and up; lower is better.

    Raises:
        ValueError: shapes that do not fit, a flow not finite, or a mask that selects nothing at
            all.

    Source: the end-point error of the optical-flow literature (Middlebury benchmark).

    >>> truth = torch.zeros(1, 2, 4, 4)
    >>> endpoint_error(truth + torch.tensor([3.0, 4.0])[:, None, None], truth)
    5.0
    """
    return weighted_mean(_distances(flow, truth), mask, reduction)


def zero_flow_error(
    truth: Flow, mask: Mask | None = None, reduction: str = "batch"
) -> float | Tensor:
    """The end-point error of not moving at all: the reference every learned flow has to beat.

        Σ_l m(l) ‖w*(l)‖₂ / Σ_l m(l)

    Args:
        truth: (B, 2, H, W) true flow in pixels.
        mask: (B, 1, H, W) weight of each position; None weighs all alike.
        reduction: as `endpoint_error`.

    Returns:
        Pixels, 0 and up: the mean motion.

    Raises:
        ValueError: as `endpoint_error`.

    Source: this project.

    >>> zero_flow_error(torch.full((1, 2, 2, 2), 2.0)) == 8**0.5
    True
    """
    return endpoint_error(torch.zeros_like(truth), truth, mask, reduction)


@torch.no_grad()
def share_within(
    flow: Flow,
    truth: Flow,
    mask: Mask | None = None,
    radius: float = 2.0,
    reduction: str = "batch",
) -> float | Tensor:
    """Share of pixels that are taken from within a few pixels of where they truly come from.

        Σ_l m(l) [‖w(l) − w*(l)‖₂ ≤ radius] / Σ_l m(l)

    Args:
        flow: (B, 2, h, w) in pixels of its own level; brought to the size of the truth by
            `upsample_flow`.
        truth: (B, 2, H, W) true flow w* in pixels.
        mask: (B, 1, H, W) weight of each position, usually `visible`; None weighs all alike.
        radius: pixels of the truth's level; those of the image if the truth has its size.
        reduction: "batch" pools the pixels of all pairs; "pairs" gives (B,) shares, nan where the
            mask is empty.

    Returns:
        0 … 1, higher is better. Unlike the end-point error it does not care how far off the
        misses are.

    Raises:
        ValueError: a radius that is not positive; else as `endpoint_error`.

    Source: this project; one minus it is the outlier rate of optical-flow benchmarks.

    >>> truth = torch.zeros(1, 2, 1, 3)
    >>> share_within(truth + torch.tensor([1.0, 1.9, 2.1]), truth, radius=2.0)
    0.3333333333333333
    """
    if not radius > 0:
        raise ValueError(f"radius is {radius!r}: give a positive number of pixels")
    return weighted_mean((_distances(flow, truth) <= radius).double(), mask, reduction)


@torch.no_grad()
def expected_offset(weights: Tensor) -> Flow:
    """Where inside its patch the local attention looks on average.

        e(l) = Σ_i k_l(i) o_i,   o_i = (i mod n − ⌊n/2⌋, ⌊i / n⌋ − ⌊n/2⌋)

    so that flow + e is the expected source position of what local attention paints.

    Args:
        weights: (B, n·n, h, w), row by row over the patch as `gfla.sampling.local_attention` gives
            them, summing to 1.

    Returns:
        (B, 2, h, w) in pixels of the level, dx and dy. Taps beyond the border count where they
        were asked for, not at the edge pixel that is read instead; so does a flow.

    Raises:
        ValueError: weights whose number is no square, or that do not sum to 1.

    Source: this project.

    >>> weights = torch.zeros(1, 9, 1, 1)
    >>> weights[0, 5] = weights[0, 8] = 0.5  # right of the centre, and right below it
    >>> expected_offset(weights).flatten().tolist()
    [1.0, 0.5]
    """
    n = math.isqrt(weights.shape[1]) if weights.ndim == 4 else 0
    if n == 0 or n * n != weights.shape[1]:
        raise ValueError(
            f"weights must be (B, n·n, h, w) with a whole n, got {tuple(weights.shape)}"
        )
    if not ((total := weights.sum(1)) - 1).abs().max() < 1e-2:  # not: also what is not finite
        raise ValueError(
            f"the weights of a position must sum to 1, got {float(total.min()):.4g} … "
            f"{float(total.max()):.4g}: take the softmax over dim 1"
        )
    offsets = torch.arange(n, device=weights.device, dtype=weights.dtype) - n // 2
    kernels = weights.unflatten(1, (n, n))  # (B, n down, n to the right, h, w)
    dx = torch.einsum("byxhw,x->bhw", kernels, offsets)
    dy = torch.einsum("byxhw,y->bhw", kernels, offsets)
    return torch.stack([dx, dy], 1)  # (B, 2, h, w)


@torch.no_grad()
def endpoint_error_by_part(
    flow: Flow,
    truth: Flow,
    parts: Tensor,
    mask: Mask | None = None,
    names: Sequence[str] | None = None,
) -> dict[int | str, float]:
    """End-point error of every body part apart.

        EPE_p = Σ_{l: part(l) = p} m(l) ‖w(l) − w*(l)‖₂ / Σ_{l: part(l) = p} m(l)

    Args:
        flow: (B, 2, h, w) in pixels of its own level.
        truth: (B, 2, H, W) true flow in pixels.
        parts: (B, 1, H, W) integers, 0 = background, which is left out.
        mask: (B, 1, H, W) weight of each position; None weighs all alike.
        names: name of part number p at index p, index 0 included; None keeps the numbers as keys.

    Returns:
        dict part -> pixels, 0 and up, lower is better, in the order of the numbers. A part with no
        position under the mask is not in it.

    Raises:
        ValueError: shapes that do not fit, a flow not finite, or too few names.

    Source: `endpoint_error`, split.

    >>> parts = torch.tensor([[[[0, 1], [1, 2]]]])
    >>> truth = torch.zeros(1, 2, 2, 2)
    >>> truth[0, 0] = torch.tensor([[9.0, 1.0], [3.0, 5.0]])
    >>> endpoint_error_by_part(0 * truth, truth, parts, names=["background", "arm", "leg"])
    {'arm': 2.0, 'leg': 5.0}
    """
    distances = _distances(flow, truth)
    weights = weights_of(mask, distances)
    parts = expand(parts, distances, "parts").cpu()
    numbers = [int(p) for p in parts.unique() if p > 0]
    if names is not None and numbers and numbers[-1] >= len(names):
        raise ValueError(f"parts go up to {numbers[-1]}, but there are only {len(names)} names")
    errors: dict[int | str, float] = {}
    for p in numbers:
        chosen = weights * (parts == p)
        if chosen.sum() > 0:
            errors[p if names is None else names[p]] = weighted_mean(distances, chosen)
    return errors


@torch.no_grad()
def outside_fraction(flow: Flow) -> float:
    """Share of positions that read outside the image, where sampling has no gradient.

        |{l : l + w(l) ∉ [0, w − 1] × [0, h − 1]}| / (h·w)

    Args:
        flow: (B, 2, h, w) in pixels of its own level.

    Returns:
        0 … 1. No score, a warning: a share that grows in training is a flow that escapes, and
        `gfla.losses.sampling_correctness` cannot call it back.

    Raises:
        ValueError: a flow of the wrong shape, or not finite.

    Source: this project.

    >>> flow = torch.zeros(1, 2, 2, 2)
    >>> flow[0, 0, 0, 0] = -0.5
    >>> outside_fraction(flow)
    0.25
    """
    check_flow(flow)
    flow = plain(flow)
    h, w = flow.shape[-2:]
    x, y = flow[:, 0] + torch.arange(w), flow[:, 1] + torch.arange(h)[:, None]
    outside = (x < 0) | (x > w - 1) | (y < 0) | (y > h - 1)
    return float(outside.double().mean())


@torch.no_grad()
def occlusion_scores(
    mask: Mask, visible: Mask, where: Mask | None = None, threshold: float = 0.5
) -> dict[str, float]:
    """How well the occlusion mask, which nobody supervises, tells visible from hidden.

        average precision  Σ_k (R_k − R_{k−1}) P_k   over the distinct values of m, descending
        area               P(m(l) > m(l')) + ½ P(m(l) = m(l')),  l visible, l' hidden
        IoU                |{m ≥ threshold} ∩ visible| / |{m ≥ threshold} ∪ visible|

    Args:
        mask: (B, 1, h, w) in [0, 1], 1 = take the source; enlarged bilinearly to the truth's size.
        visible: (B, 1, H, W) truth, 1 where the source shows the point.
        where: (B, 1, H, W), only positions ≥ 0.5 count, usually `foreground`; None counts all.
        threshold: from which value on the mask is taken to say "visible", for IoU.

    Returns:
        "average_precision", "area_under_curve", "iou", each 0 … 1, higher is better, and
        "visible_share": what a mask that knows nothing has as average precision (its area is 0.5)
        and what an all-visible mask has as IoU.

    Raises:
        ValueError: shapes that do not fit, a mask outside [0, 1], or a truth that is all visible
            or all hidden.

    Source: precision-recall and ROC curves as in information retrieval; no interpolation.

    >>> mask = torch.tensor([[[[0.9, 0.2], [0.6, 0.1]]]])
    >>> visible = torch.tensor([[[[1.0, 0.0], [0.0, 1.0]]]])
    >>> occlusion_scores(mask, visible)["average_precision"]
    0.75
    """
    if mask.ndim != 4 or mask.shape[1] != 1:
        raise ValueError(f"mask must be (B, 1, h, w), got {tuple(mask.shape)}")
    if not (mask.min() >= 0 and mask.max() <= 1):
        low, high = float(mask.min()), float(mask.max())
        raise ValueError(f"mask must lie in [0, 1], got {low:.4g} … {high:.4g}: take its sigmoid")
    size = visible.shape[-2:]
    score = F.interpolate(plain(mask), size=size, mode="bilinear", align_corners=False)[:, 0]
    truth = expand(visible, score, "visible").cpu() >= 0.5  # (B, H, W)
    if where is not None:
        chosen = expand(where, score, "where").cpu() >= 0.5
        score, truth = score[chosen], truth[chosen]
    score, truth = score.flatten(), truth.flatten()
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if not positives or not negatives:
        raise ValueError(
            f"{positives} visible and {negatives} hidden positions: both are needed to tell them "
            "apart; take more pairs or a wider `where`"
        )
    recall, precision, fall_out = _curve(score, truth)
    said = score >= threshold
    return {
        "average_precision": float((torch.diff(recall, prepend=_ZERO) * precision).sum()),
        "area_under_curve": float(
            torch.trapezoid(torch.cat([_ZERO, recall]), torch.cat([_ZERO, fall_out]))
        ),
        "iou": float((said & truth).sum() / (said | truth).sum()),
        "visible_share": positives / (positives + negatives),
    }


_ZERO = torch.zeros(1, dtype=torch.float64)


def _curve(score: Tensor, truth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Recall, precision and false-positive rate at every distinct score, from the highest on."""
    score, order = score.sort(descending=True)
    hits = truth[order].double().cumsum(0)
    last = torch.cat([score[1:] != score[:-1], torch.tensor([True])])  # equal scores fall together
    said = torch.arange(1, len(score) + 1, dtype=torch.float64)[last]
    hits = hits[last]
    return hits / hits[-1], hits / said, (said - hits) / (said[-1] - hits[-1])


def _distances(flow: Flow, truth: Flow) -> Tensor:
    check_flow(truth)
    check_flow(flow)
    if len(flow) != len(truth):
        raise ValueError(
            f"flow and truth must have one batch size, got {tuple(flow.shape)} and "
            f"{tuple(truth.shape)}"
        )
    flow, truth = plain(flow), plain(truth)
    return (upsample_flow(flow, truth.shape[-2:]) - truth).norm(dim=1)  # (B, H, W)
