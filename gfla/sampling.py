"""The coordinate convention of the whole library, and everything that samples by a flow.

A flow is (B, 2, h, w): channel 0 is dx to the right, channel 1 is dy down, in pixels of its own
level, from target to source. Pixel centres lie at integers, so target pixel l reads the source at
l + w(l). Beyond the border the nearest edge pixel is read.
"""

import os
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from gfla.types import Features, Flow

BACKENDS = ("auto", "reference", "fast", "triton")


class _Cell(NamedTuple):
    """Where each target pixel reads: the integer corner and the fraction beyond it."""

    left: Tensor  # (B, h, w) floor of x, kept near the image
    top: Tensor  # (B, h, w)
    ax: Tensor  # (B, h, w) in [0, 1)
    ay: Tensor  # (B, h, w)


def check_flow(flow: Flow) -> None:
    """Refuse a flow that no position can be computed from."""
    if not isinstance(flow, Tensor) or not flow.is_floating_point():
        what = flow.dtype if isinstance(flow, Tensor) else type(flow).__name__
        raise TypeError(f"flow must be a floating-point tensor (B, 2, h, w), got {what}")
    if flow.ndim != 4 or flow.shape[1] != 2:
        raise ValueError(f"flow must be (B, 2, h, w), got shape {tuple(flow.shape)}")
    if not torch.compiler.is_compiling():
        good = torch.isfinite(flow)
        if not good.all():
            where = tuple((~good).nonzero()[0].tolist())
            raise ValueError(
                f"flow must be finite, got {flow[where].item()} at (batch, channel, y, x) = {where}"
                f" and {int((~good).sum())} such values in all; look for a diverged flow network"
            )


def _check_features(features: Features, flow: Flow, name: str = "features") -> None:
    if not isinstance(features, Tensor) or not features.is_floating_point():
        what = features.dtype if isinstance(features, Tensor) else type(features).__name__
        raise TypeError(f"{name} must be a floating-point tensor (B, C, H, W), got {what}")
    if features.ndim != 4 or 0 in features.shape:
        raise ValueError(f"{name} must be (B, C, H, W), none empty, got {tuple(features.shape)}")
    if features.shape[0] != flow.shape[0]:
        raise ValueError(
            f"{name} and flow must have the same batch size, got {features.shape[0]} and"
            f" {flow.shape[0]}"
        )
    if features.device != flow.device:
        raise ValueError(
            f"{name} and flow must be on one device, got {features.device} and {flow.device}"
        )


def _locate(flow: Flow, height: int, width: int, reach: int) -> _Cell:
    flow = flow.to(torch.promote_types(flow.dtype, torch.float32))
    h, w = flow.shape[-2:]
    x = flow[:, 0] + torch.arange(w, dtype=flow.dtype, device=flow.device)
    y = flow[:, 1] + torch.arange(h, dtype=flow.dtype, device=flow.device)[:, None]
    left, top = x.detach().floor(), y.detach().floor()
    return _Cell(
        left.clamp(-reach, width - 1 + reach).long(),
        top.clamp(-reach, height - 1 + reach).long(),
        x - left,
        y - top,
    )


def _gather(features: Features, cell: _Cell, first: int, coefficients: Tensor) -> Features:
    B, C, H, W = features.shape
    h, w, _, taps = coefficients.shape[1:]
    j = torch.arange(first, first + taps, device=features.device)
    columns = (cell.left[..., None] + j).clamp(0, W - 1)  # (B, h, w, taps)
    rows = (cell.top[..., None] + j).clamp(0, H - 1)
    image = torch.arange(B, device=features.device)[:, None, None, None, None] * (H * W)
    index = image + rows[..., :, None] * W + columns[..., None, :]  # (B, h, w, taps, taps)
    table = features.permute(0, 2, 3, 1).reshape(-1, C)  # (B H W, C)
    out = F.embedding_bag(
        index.view(-1, taps * taps),
        table.to(coefficients.dtype),
        mode="sum",
        per_sample_weights=coefficients.reshape(-1, taps * taps),
    )  # (B h w, C)
    return out.view(B, h, w, C).permute(0, 3, 1, 2).to(features.dtype)


def _outer(y: Tensor, x: Tensor) -> Tensor:
    return y[..., :, None] * x[..., None, :]


def _bilinear(cell: _Cell) -> Tensor:
    return _outer(
        torch.stack((1 - cell.ay, cell.ay), -1), torch.stack((1 - cell.ax, cell.ax), -1)
    )  # (B, h, w, 2, 2)


def warp(features: Features, flow: Flow) -> Features:
    """Sample features bilinearly at l + w(l), border-clamped."""
    check_flow(flow)
    _check_features(features, flow)
    cell = _locate(flow, *features.shape[-2:], reach=1)
    return _gather(features, cell, 0, _bilinear(cell))


def gaussian_warp(features: Features, flow: Flow, size: int = 4, sigma: float = 2.0) -> Features:
    """Sample features with a normalised Gaussian over size x size taps around l + w(l)."""
    check_flow(flow)
    _check_features(features, flow)
    if size < 2 or size % 2:
        raise ValueError(f"size must be even and at least 2, got {size}")
    if not sigma > 0:
        raise ValueError(f"sigma must be positive, got {sigma}")
    cell = _locate(flow, *features.shape[-2:], reach=size)
    j = torch.arange(1 - size // 2, size // 2 + 1, device=flow.device)
    gx = (-((j - cell.ax[..., None]) ** 2) / (2 * sigma**2)).softmax(-1)  # (B, h, w, size)
    gy = (-((j - cell.ay[..., None]) ** 2) / (2 * sigma**2)).softmax(-1)
    return _gather(features, cell, 1 - size // 2, _outer(gy, gx))


def extract_patches(features: Features, flow: Flow, n: int) -> Features:
    """Lay the n x n patch around every l + w(l) side by side, (B, C, n h, n w)."""
    check_flow(flow)
    _check_features(features, flow)
    B, _, h, w = flow.shape
    o = torch.arange(n, device=flow.device) - n // 2
    cell = _locate(flow, *features.shape[-2:], reach=n + 1)
    left = (cell.left[:, :, None, :, None] + o).expand(B, h, n, w, n).reshape(B, h * n, w * n)
    top = (cell.top[:, :, None, :, None] + o[:, None, None]).expand(B, h, n, w, n)
    top = top.reshape(B, h * n, w * n)
    ax = cell.ax[:, :, None, :, None].expand(B, h, n, w, n).reshape(B, h * n, w * n)
    ay = cell.ay[:, :, None, :, None].expand(B, h, n, w, n).reshape(B, h * n, w * n)
    cell = _Cell(left, top, ax, ay)
    return _gather(features, cell, 0, _bilinear(cell))


def _choose(backend: str) -> str:
    if backend == "auto":
        backend = os.environ.get("GFLA_BACKEND") or "auto"
    if backend not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
    if backend == "triton":
        raise RuntimeError(
            "backend 'triton' is not there: the Triton kernels are not built yet;"
            " use 'auto', 'fast' or 'reference' (argument backend, or GFLA_BACKEND)"
        )
    return "fast" if backend == "auto" else backend


def local_attention(
    source_features: Features,
    target_features: Features,
    flow: Flow,
    weight1: Tensor,
    bias1: Tensor,
    weight2: Tensor,
    bias2: Tensor,
    n: int,
    backend: str = "auto",
) -> tuple[Features, Tensor]:
    """Attend to the n x n source patch around l + w(l), by a kernel seen from both patches."""
    check_flow(flow)
    _check_features(source_features, flow, "source_features")
    _check_features(target_features, flow, "target_features")
    form = {"reference": _attention_reference, "fast": _attention_fast}[_choose(backend)]
    return form(source_features, target_features, flow, weight1, bias1, weight2, bias2, n)


def _attention_reference(source, target, flow, weight1, bias1, weight2, bias2, n):
    patches = extract_patches(source, flow, n)  # (B, C, n h, n w)
    still = extract_patches(target, torch.zeros_like(flow), n)
    hidden = F.conv2d(torch.cat((still, patches), 1), weight1, bias1, stride=n)  # (B, 128, h, w)
    weights = F.conv2d(F.leaky_relu(hidden, 0.1), weight2, bias2).softmax(1)  # (B, n n, h, w)
    kernel = F.pixel_shuffle(weights, n)  # (B, 1, n h, n w)
    return F.avg_pool2d(kernel * patches, n), weights  # (B, C, h, w)


def _attention_fast(source, target, flow, weight1, bias1, weight2, bias2, n):
    B, C, H, W = source.shape
    low, high = n // 2, n - 1 - n // 2
    cell = _locate(flow, H, W, reach=n + 1)
    wide = F.pad(source, (n - 1,) * 4, mode="replicate")
    convolved = F.conv2d(wide, weight1[:, C:])  # (B, 128, H + n - 1, W + n - 1)
    shifted = cell._replace(left=cell.left + high, top=cell.top + high)
    still = F.conv2d(F.pad(target, (low, high, low, high), mode="replicate"), weight1[:, :C], bias1)
    hidden = still + _gather(convolved, shifted, 0, _bilinear(cell))  # (B, 128, h, w)
    logits = F.conv2d(F.leaky_relu(hidden, 0.1), weight2, bias2)
    weights = logits.to(cell.ax.dtype).softmax(1)  # (B, n n, h, w)
    k = weights.unflatten(1, (n, n)).permute(0, 3, 4, 1, 2)  # (B, h, w, n, n)
    ax, ay = cell.ax[..., None, None], cell.ay[..., None, None]
    k = F.pad(k * (1 - ax), (0, 1)) + F.pad(k * ax, (1, 0))  # (B, h, w, n, n + 1)
    k = F.pad(k * (1 - ay), (0, 0, 0, 1)) + F.pad(k * ay, (0, 0, 1, 0))  # (B, h, w, n+1, n+1)
    return _gather(source, cell, -low, k / n**2), weights
