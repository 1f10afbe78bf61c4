"""How good a picture, a flow and an occlusion mask are: tensors in, floats out.

The procedural data knows the truth, so most of these are measured against it. Nothing here gives a
gradient, and no loss, early stop or choice of a shipped model may use a metric of the truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from gfla.sampling import check_flow

if TYPE_CHECKING:
    from gfla.types import Flow, Image, Mask

_SLACK = 1e-3  # images may leave [-1, 1] by this much: resampling and half precision round


def upsample_flow(flow: Flow, size: tuple[int, int]) -> Flow:
    """A flow of one level as the flow of another: more vectors, and longer ones.

        w'(l) = (W/w · dx, H/h · dy) interpolated bilinearly between pixel centres

    Args:
        flow: (B, 2, h, w) in pixels of its own level.
        size: (H, W) wanted.

    Returns:
        (B, 2, H, W) in pixels of the new level; the flow itself if it has that size already.
        Beyond the outermost centres of the coarse level the nearest vector is repeated.

    Raises:
        ValueError: a flow of the wrong shape, or not finite.

    >>> upsample_flow(torch.ones(1, 2, 2, 2), (8, 4))[0, :, 0, 0].tolist()
    [2.0, 4.0]
    """
    check_flow(flow)
    h, w = flow.shape[-2:]
    if (h, w) == tuple(size):
        return flow
    scale = flow.new_tensor([size[1] / w, size[0] / h])[:, None, None]
    flow = F.interpolate(flow, size=tuple(size), mode="bilinear", align_corners=False)
    return flow * scale  # (B, 2, H, W)


@torch.no_grad()
def endpoint_error(flow: Flow, truth: Flow, mask: Mask | None = None) -> float:
    """Mean distance between where the flow points and where it should.

        EPE = Σ_l m(l) ‖w(l) − w*(l)‖₂ / Σ_l m(l)

    Args:
        flow: (B, 2, h, w) in pixels of its own level; brought to the size of the truth by
            `upsample_flow`.
        truth: (B, 2, H, W) true flow w* in pixels.
        mask: (B, 1, H, W) weight of each position, usually `visible`; None weighs all alike.

    Returns:
        Pixels of the truth's level, 0 (perfect) and up; lower is better. All pixels of the batch
        are pooled.

    Raises:
        ValueError: shapes that do not fit, a flow not finite, or a mask that selects nothing.

    Source: the end-point error of the optical-flow literature (Middlebury benchmark).

    >>> truth = torch.zeros(1, 2, 4, 4)
    >>> endpoint_error(truth + torch.tensor([3.0, 4.0])[:, None, None], truth)
    5.0
    """
    return _weighted_mean(_distances(flow, truth), mask)


def zero_flow_error(truth: Flow, mask: Mask | None = None) -> float:
    """The end-point error of not moving at all: the reference every learned flow has to beat.

        Σ_l m(l) ‖w*(l)‖₂ / Σ_l m(l)

    Args:
        truth: (B, 2, H, W) true flow in pixels.
        mask: (B, 1, H, W) weight of each position; None weighs all alike.

    Returns:
        Pixels, 0 and up: the mean motion.

    Raises:
        ValueError: as `endpoint_error`.

    >>> zero_flow_error(torch.full((1, 2, 2, 2), 2.0)) == 8**0.5
    True
    """
    return endpoint_error(torch.zeros_like(truth), truth, mask)


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
    weights = _weights(mask, distances)
    parts = _expand(parts, distances, "parts").cpu()
    numbers = [int(p) for p in parts.unique() if p > 0]
    if names is not None and numbers and numbers[-1] >= len(names):
        raise ValueError(f"parts go up to {numbers[-1]}, but there are only {len(names)} names")
    errors: dict[int | str, float] = {}
    for p in numbers:
        chosen = weights * (parts == p)
        if chosen.sum() > 0:
            errors[p if names is None else names[p]] = _weighted_mean(distances, chosen)
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
    flow = _plain(flow)
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
    score = F.interpolate(_plain(mask), size=size, mode="bilinear", align_corners=False)[:, 0]
    truth = _expand(visible, score, "visible").cpu() >= 0.5  # (B, H, W)
    if where is not None:
        chosen = _expand(where, score, "where").cpu() >= 0.5
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


@torch.no_grad()
def l1(image: Image, target: Image, mask: Mask | None = None) -> float:
    """Mean absolute difference, as a share of the value range.

        ½ Σ_l m(l) |x̂_t(l) − x_t(l)| / Σ_l m(l),  mean over the channels

    Args:
        image: (B, C, H, W) in [−1, 1].
        target: the true image, of the same shape and range.
        mask: (B, 1, H, W) weight of each position; None weighs all alike.

    Returns:
        0 (equal) … 1, lower is better. All pixels of the batch are pooled.

    Raises:
        ValueError: shapes that do not fit, values outside [−1, 1], or an empty mask.

    Source: the authors' L1, mean |Δ| of images in [0, 1] (docs/spec.md section 9).

    >>> l1(torch.ones(1, 3, 2, 2), -torch.ones(1, 3, 2, 2))
    1.0
    """
    image, target = _unit_images(image, target)
    return _weighted_mean((image - target).abs().mean(1), mask)


@torch.no_grad()
def psnr(image: Image, target: Image, mask: Mask | None = None) -> float:
    """Peak signal-to-noise ratio: the mean square error in decibels below full scale.

        PSNR = mean over images of −10 log₁₀ mean (x̂_t − x_t)²,  values in [0, 1]

    Args:
        image: (B, C, H, W) in [−1, 1].
        target: the true image, of the same shape and range.
        mask: (B, 1, H, W) weight of each position; None weighs all alike.

    Returns:
        Decibels, 0 and up, inf for equal images; higher is better.

    Raises:
        ValueError: shapes that do not fit, values outside [−1, 1], or a mask empty in some image.

    Source: the textbook formula; equals scikit-image's with data range 1 (docs/spec.md section 9).

    >>> round(psnr(torch.zeros(1, 3, 2, 2), torch.full((1, 3, 2, 2), 0.2)), 6)
    20.0
    """
    image, target = _unit_images(image, target)
    square = (image - target).square().mean(1)  # (B, H, W)
    weights = _weights(mask, square)
    errors = [_weighted_mean(s, w) for s, w in zip(square, weights, strict=True)]
    return float((-10 * torch.tensor(errors, dtype=torch.float64).log10()).mean())


@torch.no_grad()
def ssim(
    image: Image,
    target: Image,
    mask: Mask | None = None,
    window: int | None = None,
    data_range: float = 1.0,
) -> float:
    """Structural similarity: means, contrasts and correlation of small windows compared.

        SSIM = mean of (2μ_x μ_y + C₁)(2σ_xy + C₂) / ((μ_x² + μ_y² + C₁)(σ_x² + σ_y² + C₂))

    Args:
        image: (B, C, H, W) in [−1, 1].
        target: the true image, of the same shape and range.
        mask: (B, 1, H, W) weight of each window's centre; None takes all that lie fully inside.
        window: odd side of a uniform window; None means Gaussian weights, σ = 1.5, 11 pixels.
        data_range: C₁ = (0.01 data_range)², C₂ = (0.03 data_range)², for values in [0, 1].

    Returns:
        −1 … 1 (equal), higher is better; mean over images.

    Raises:
        ValueError: shapes that do not fit, values outside [−1, 1], an image smaller than the
            window, or a mask empty in some image.

    Source: Wang et al. 2004 by scikit-image's structural_similarity. The authors report two
    variants (docs/spec.md section 9): ``window=51``, and the Gaussian one with the range of the
    generated image as `data_range`; numbers of different variants cannot be compared.

    >>> image = torch.rand(1, 3, 16, 16)
    >>> round(ssim(image, image), 6)
    1.0
    """
    from skimage.metrics import structural_similarity

    image, target = _unit_images(image, target)
    side = 11 if window is None else window
    if side % 2 == 0 or min(image.shape[-2:]) < side:
        raise ValueError(
            f"an SSIM window must be odd and fit into the image: got {side} and images of "
            f"{tuple(image.shape[-2:])}"
        )
    kind = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    options = (kind if window is None else {"win_size": window}) | {"data_range": data_range}
    weights = _weights(mask, image[:, 0])
    values = []
    for t, i, w in zip(target.numpy(), image.numpy(), weights, strict=True):
        value, full = structural_similarity(t, i, channel_axis=0, full=True, **options)
        full = torch.from_numpy(full).mean(0)  # (H, W)
        values.append(float(value) if mask is None else _weighted_mean(full, w))
    return sum(values) / len(values)


@torch.no_grad()
def score(
    image: Image, target: Image, source: Image, warped_by_truth: Image, visible: Mask
) -> float:
    """Where a picture stands between warping with the true flow (0) and copying in place (1).

        (e(x̂_t) − e(true warp)) / (e(x_s) − e(true warp)),  e(x) = Σ_l visible(l) |x(l) − x_t(l)|

    Args:
        image: (B, C, H, W) generated image in [−1, 1].
        target: the true image.
        source: the source image, which "copying" leaves where it is.
        warped_by_truth: ``gfla.sampling.warp(source, true flow)``.
        visible: (B, 1, H, W) weight of each position; hidden ones have no true warp.

    Returns:
        0 as good as the true flow, 1 as bad as copying; lower is better. Not bounded: below 0 a
        picture beats bilinear sampling, above 1 it is worse than the untouched source. All pixels
        of the batch are pooled, so measure one large batch, not the mean of many small ones.

    Raises:
        ValueError: shapes that do not fit, values outside [−1, 1], an empty `visible`, or pairs in
            which copying is no worse than the true warp, so that there is no scale.

    Source: this project.

    >>> target, source = torch.zeros(1, 3, 2, 2), torch.full((1, 3, 2, 2), 0.5)
    >>> score(target + 0.25, target, source, target, torch.ones(1, 1, 2, 2))
    0.5
    """
    ours, copy, truth = (l1(x, target, visible) for x in (image, source, warped_by_truth))
    if copy <= truth:
        raise ValueError(
            f"copying in place (error {copy:.4g}) is no worse than the true warp ({truth:.4g}): "
            "nothing moves in these pairs, or the flow is not the true one"
        )
    return (ours - truth) / (copy - truth)


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
    flow, truth = _plain(flow), _plain(truth)
    return (upsample_flow(flow, truth.shape[-2:]) - truth).norm(dim=1)  # (B, H, W)


def _weighted_mean(values: Tensor, weights: Tensor | None) -> float:
    weights = _weights(weights, values)
    total = weights.sum()
    if not total > 0:
        raise ValueError(f"the mask of shape {tuple(weights.shape)} selects nothing (its sum is 0)")
    return float((weights * values).sum() / total)


def _weights(mask: Tensor | None, like: Tensor) -> Tensor:
    return torch.ones_like(like) if mask is None else _plain(_expand(mask, like, "mask"))


def _expand(mask: Tensor, like: Tensor, name: str) -> Tensor:
    """A mask (B, 1, H, W), or (B, H, W), as (B, H, W)."""
    found = mask[:, 0] if mask.ndim == 4 and mask.shape[1] == 1 else mask
    if found.shape != like.shape:  # broadcasting would give a number, and the wrong one
        raise ValueError(
            f"{name} must be (B, 1, H, W) with (B, H, W) = {tuple(like.shape)}, got "
            f"{tuple(mask.shape)}"
        )
    return found


def _unit_images(image: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Both pictures in [0, 1], float64, on the CPU."""
    if image.ndim != 4 or image.shape != target.shape:
        raise ValueError(
            f"images must be (B, C, H, W) of one shape, got {tuple(image.shape)} and "
            f"{tuple(target.shape)}"
        )
    for name, x in (("image", image), ("target", target)):
        low, high = (float(v) for v in x.aminmax())
        if not (low >= -1 - _SLACK and high <= 1 + _SLACK):
            raise ValueError(f"{name} must lie in [-1, 1], got {low:.4g} … {high:.4g}: rescale it")
    return (_plain(image) + 1) / 2, (_plain(target) + 1) / 2


def _plain(x: Tensor) -> Tensor:
    return x.detach().cpu().double()
