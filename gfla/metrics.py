"""How good a picture is: tensors in, numbers out; and the door to all other metrics of a truth.

Nothing here gives a gradient, and no loss, early stop or choice of a shipped model may use a
metric of the truth. Those of flow and occlusion live in `gfla.scores.flow_metrics` and are
importable from here; distances over features are in `gfla.scores.perceptual`; what a whole model is
worth says `gfla.scores.judging`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gfla.scores.averages import plain, reduce_pairs, weighted_mean
from gfla.scores.flow_metrics import (
    endpoint_error,
    endpoint_error_by_part,
    expected_offset,
    occlusion_scores,
    outside_fraction,
    share_within,
    upsample_flow,
    zero_flow_error,
)
from gfla.scores.perceptual import encoder_distance, encoder_frechet, fid, lpips

if TYPE_CHECKING:
    from gfla.types import Image, Mask

__all__ = [
    "encoder_distance",
    "encoder_frechet",
    "endpoint_error",
    "endpoint_error_by_part",
    "expected_offset",
    "fid",
    "l1",
    "lpips",
    "occlusion_scores",
    "outside_fraction",
    "psnr",
    "score",
    "share_within",
    "ssim",
    "upsample_flow",
    "zero_flow_error",
]

_SLACK = 1e-3  # images may leave [-1, 1] by this much: resampling and half precision round


@torch.no_grad()
def l1(
    image: Image, target: Image, mask: Mask | None = None, reduction: str = "batch"
) -> float | Tensor:
    """Mean absolute difference, as a share of the value range.

        ½ Σ_l m(l) |x̂_t(l) − x_t(l)| / Σ_l m(l),  mean over the channels

    Args:
        image: (B, C, H, W) in [−1, 1].
        target: the true image, of the same shape and range.
        mask: (B, 1, H, W) weight of each position; None weighs all alike.
        reduction: "batch" pools the pixels of all images; "pairs" gives (B,) values, nan where
            the mask is empty.

    Returns:
        0 (equal) … 1, lower is better.

    Raises:
        ValueError: shapes that do not fit, values outside [−1, 1], or an empty mask.

    Source: the authors' L1, mean |Δ| of images in [0, 1] (docs/spec.md section 9).

    >>> l1(torch.ones(1, 3, 2, 2), -torch.ones(1, 3, 2, 2))
    1.0
    """
    image, target = _unit_images(image, target)
    return weighted_mean((image - target).abs().mean(1), mask, reduction)


@torch.no_grad()
def psnr(
    image: Image, target: Image, mask: Mask | None = None, reduction: str = "batch"
) -> float | Tensor:
    """Peak signal-to-noise ratio: the mean square error in decibels below full scale.

        PSNR = mean over images of −10 log₁₀ mean (x̂_t − x_t)²,  values in [0, 1]

    Args:
        image: (B, C, H, W) in [−1, 1].
        target: the true image, of the same shape and range.
        mask: (B, 1, H, W) weight of each position; None weighs all alike.
        reduction: "batch" is the mean over images; "pairs" gives (B,) values, nan where the mask
            is empty.

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
    return reduce_pairs(-10 * weighted_mean(square, mask, "pairs").log10(), reduction)


@torch.no_grad()
def ssim(
    image: Image,
    target: Image,
    mask: Mask | None = None,
    window: int | None = None,
    data_range: float = 1.0,
    reduction: str = "batch",
) -> float | Tensor:
    """Structural similarity: means, contrasts and correlation of small windows compared.

        SSIM = mean of (2μ_x μ_y + C₁)(2σ_xy + C₂) / ((μ_x² + μ_y² + C₁)(σ_x² + σ_y² + C₂))

    Args:
        image: (B, C, H, W) in [−1, 1].
        target: the true image, of the same shape and range.
        mask: (B, 1, H, W) weight of each window's centre; None takes all that lie fully inside.
        window: odd side of a uniform window; None means Gaussian weights, σ = 1.5, 11 pixels.
        data_range: C₁ = (0.01 data_range)², C₂ = (0.03 data_range)², for values in [0, 1].
        reduction: "batch" is the mean over images; "pairs" gives (B,) values, nan where the mask
            is empty.

    Returns:
        −1 … 1 (equal), higher is better.

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
    means, maps = [], []
    for t, i in zip(target.numpy(), image.numpy(), strict=True):
        mean, full = structural_similarity(t, i, channel_axis=0, full=True, **options)
        means.append(float(mean))
        maps.append(torch.from_numpy(full).mean(0))  # (H, W)
    if mask is None:
        return reduce_pairs(torch.tensor(means, dtype=torch.float64), reduction)
    return reduce_pairs(weighted_mean(torch.stack(maps), mask, "pairs"), reduction)


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
    return (plain(image) + 1) / 2, (plain(target) + 1) / 2
