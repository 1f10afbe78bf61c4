"""The coordinate convention of the whole library, and everything that samples by a flow.

A flow is (B, 2, h, w): channel 0 is dx to the right, channel 1 is dy down, in pixels of its own
level, from target to source. Pixel centres lie at integers, so target pixel l reads the source at
l + w(l). Beyond the border the nearest edge pixel is read. Source and flow may differ in size: a
position is counted on the flow's grid, never rescaled, and clamped to the source.

Everything here is one operation, a weighted sum of integer taps (`gfla.taps`), with different
taps and weights. Taps come from floor, so that where a coordinate is an exact integer the
derivative is the right-hand one, as in the original's kernels (docs/spec.md 2.1). `grid_sample`
takes either side there, because its normalised grid rounds; a zero flow is such a place
everywhere. On a CUDA device the same is done by fused kernels (`gfla.kernels`).
"""

import os

import torch
import torch.nn.functional as F
from torch import Tensor

from gfla import kernels, patchless
from gfla.patchless import Prepared
from gfla.taps import Cell, bilinear, gather, locate, outer, precise, stock_bag
from gfla.types import Features, Flow

BACKENDS = ("auto", "reference", "fast", "triton")


class BackendError(RuntimeError):
    """A backend that was asked for by its name and cannot run here."""


def warp(features: Features, flow: Flow, backend: str = "auto") -> Features:
    r"""Read the features bilinearly where the flow points, clamped at the border.

    With (x, y) = l + w(l), x' = floor(x), y' = floor(y), a = x - x' and b = y - y':

        out(l) = (1-b)(1-a) f[y',x'] + (1-b) a f[y',x'+1] + b (1-a) f[y'+1,x'] + b a f[y'+1,x'+1]
        d out(l) / d dx = (1-b) (f[y',x'+1] - f[y',x']) + b (f[y'+1,x'+1] - f[y'+1,x'])

    and d out(l) / d f of each tap is its weight above. Every index is clamped to the image.

    Args:
        features: f, (B, C, H, W), any range, any floating type.
        flow: w, (B, 2, h, w), pixels, target to source; finite.
        backend: as in `local_attention`; "reference" and "fast" are the same here.

    Returns:
        (B, C, h, w), of the features' type. Positions and weights are at least float32.

    Raises:
        TypeError, ValueError: wrong type or shape, or (not while compiling) a flow not finite.
        BackendError: a backend that is not there, with the reason.

    Departs from the paper in writing floor + 1 for its ceil, whose weights vanish where a
    coordinate is an exact integer (docs/spec.md 1b).

    >>> row = torch.tensor([[[[0.0, 10.0, 20.0, 30.0]]]])
    >>> half_right = torch.tensor([0.5, 0.0]).view(1, 2, 1, 1).expand(1, 2, 1, 4)
    >>> warp(row, half_right)  # the last position, 3.5, reads the edge pixel
    tensor([[[[ 5., 15., 25., 30.]]]])
    """
    check_flow(flow)
    _check_features(features, flow)
    if _choose(backend, features, flow) == "triton":
        return kernels.warp(features, flow)
    cell = locate(flow, features, reach=1)
    return gather(features, cell, 0, bilinear(cell))


def gaussian_warp(
    features: Features, flow: Flow, size: int = 4, sigma: float = 2.0, backend: str = "auto"
) -> Features:
    r"""Read a normalised Gaussian neighbourhood of size x size taps where the flow points.

    With floor and fractions as in `warp`, and taps i, j from 1 - size/2 to size/2:

        out(l) = sum_ij g_i(b) g_j(a) f[y'+i, x'+j],   g_j(a) = exp(-(j-a)^2 / 2 sigma^2) / sum

    The weights are separable, and move with the flow: their normaliser is differentiated too.
    The result jumps where a coordinate crosses an integer, because the tap that leaves still has
    a weight (e^(-1/2) of the largest, for size 4 and sigma 2).

    Args:
        features: f, (B, C, H, W), any range, any floating type.
        flow: w, (B, 2, h, w), pixels, target to source; finite.
        size: side of the neighbourhood, even.
        sigma: standard deviation in pixels.
        backend: as in `local_attention`; "reference" and "fast" are the same here.

    Returns:
        (B, C, h, w), of the features' type.

    Raises:
        TypeError, ValueError: as `warp`; also an odd size or a sigma that is not positive.
        BackendError: as `warp`.

    The paper says only "warped"; the original uses this form in the sampling correctness loss
    (docs/spec.md 2.3 and 11). Its guard against a zero denominator has no counterpart here: a
    softmax has none. Its gradient by the features at negative coordinates was wrong, this is right.

    >>> row = torch.tensor([[[[0.0, 4.0, 8.0]]]])
    >>> third = (2 * torch.tensor(3.0).log()) ** -0.5  # sigma where weight falls to 1/3 in 1 pixel
    >>> out = gaussian_warp(row, torch.zeros(1, 2, 1, 3), size=2, sigma=third.item())
    >>> out.round(decimals=4)  # 3/4 of the pixel, 1/4 of the next
    tensor([[[[1., 5., 8.]]]])
    """
    check_flow(flow)
    _check_features(features, flow)
    if not isinstance(size, int) or size < 2 or size % 2:
        raise ValueError(f"size must be an even whole number, 2 or more, got {size!r}")
    if not sigma > 0:
        raise ValueError(f"sigma must be positive, in pixels, got {sigma!r}")
    if _choose(backend, features, flow) == "triton":
        return kernels.gaussian_warp(features, flow, size, sigma)
    cell = locate(flow, features, reach=size)
    taps = torch.arange(1 - size // 2, size // 2 + 1, device=flow.device)
    x = (-((taps - cell.ax[..., None]) ** 2) / (2 * sigma**2)).softmax(-1)  # (B, h, w, size)
    y = (-((taps - cell.ay[..., None]) ** 2) / (2 * sigma**2)).softmax(-1)
    return gather(features, cell, 1 - size // 2, outer(y, x))


def extract_patches(features: Features, flow: Flow, n: int) -> Features:
    r"""Lay side by side the n x n patches around the positions where the flow points.

        N_n(f, l + w(l))[i, j] = f(l + w(l) + (j - n//2, i - n//2)),   0 <= i, j < n

    Output pixel (n y + i, n x + j) is tap (i, j) of the patch of l = (x, y). All taps of a patch
    share the flow of its centre, hence one fraction; an even n reaches one further back than on.

    Args:
        features: f, (B, C, H, W), any range, any floating type.
        flow: w, (B, 2, h, w), pixels, target to source; finite.
        n: side of the patch, 1 or more, odd or even.

    Returns:
        (B, C, n h, n w), of the features' type: n^2 times as large as what it reads. Only the
        reference form of `local_attention` needs it, with which the others are compared: so it
        shares none of what is tuned for them.

    Raises:
        TypeError, ValueError: as `warp`; also an n that is not a positive whole number.

    As the original's block extractor (docs/spec.md 2.1).

    >>> extract_patches(torch.tensor([[[[1.0, 2.0]]]]), torch.zeros(1, 2, 1, 2), n=3)
    tensor([[[[1., 1., 2., 1., 2., 2.],
              [1., 1., 2., 1., 2., 2.],
              [1., 1., 2., 1., 2., 2.]]]])
    """
    check_flow(flow)
    _check_features(features, flow)
    _check_side(n)
    h, w = flow.shape[-2:]
    cell = locate(flow, features, reach=n)
    left, top, ax, ay = (v.repeat_interleave(n, 1).repeat_interleave(n, 2) for v in cell)
    offsets = torch.arange(n, device=flow.device) - n // 2
    taps = Cell(left + offsets.repeat(w), top + offsets.repeat(h)[:, None], ax, ay)
    return gather(features, taps, 0, bilinear(taps), stock_bag)  # (B, C, n h, n w)


def local_attention(
    source_features: Features | Prepared,
    target_features: Features,
    flow: Flow,
    weight1: Tensor,
    bias1: Tensor,
    weight2: Tensor,
    bias2: Tensor,
    n: int,
    backend: str = "auto",
) -> tuple[Features, Tensor]:
    r"""Average the source patch where the flow points, by a kernel predicted from both patches.

        k_l = M(N_n(f_s, l + w(l)), N_n(f_t, l)),   M = softmax . conv 1x1 . leaky 0.1 . conv n x n
        f_attn(l) = P(k_l * N_n(f_s, l + w(l))) = 1/n^2 sum_i k_l(i) f_s(l + w(l) + o_i)

    "reference" does exactly that, patches and all. "fast" gives the same values and gradients
    without a patch (`gfla.patchless`): the first convolution commutes with the warp, and the sum
    over n^2 bilinear taps is one over (n+1)^2 integer taps, since a patch has one fraction.
    "triton" is that with fused kernels.

    Args:
        source_features: f_s, (B, C, H, W); or what `gfla.patchless.prepare` made of it and of the
            second half of weight1, so that one source serves many targets.
        target_features: f_t, (B, C, h, w).
        flow: w, (B, 2, h, w), pixels, target to source; finite.
        weight1, bias1: M's first layer, (hidden, 2 C, n, n), target half first, and (hidden,).
        weight2, bias2: M's second layer, (n^2, hidden, 1, 1) and (n^2,).
        n: side of the patch, 1 or more, odd or even.
        backend: "auto", "reference", "fast" or "triton". The environment variable GFLA_BACKEND
            says what "auto" means; without it "triton" on a CUDA device where the kernels run
            (`gfla.kernels.available`), else "fast". A backend named here is taken as it is.

    Returns:
        attended (B, C, h, w), of the source's type, and the kernels k (B, n^2, h, w), at least
        float32, row by row, summing to 1.

    Raises:
        TypeError, ValueError: as `warp`; also shapes that do not fit together, an unknown backend.
        BackendError: a backend that is not there, with the reason.

    The result is the weighted mean divided by n^2, for the published weights (docs/spec.md 12.1).
    The gradient by the target is the true one, not the original's (docs/spec.md 12.2).

    >>> row, still = torch.tensor([[[[0.0, 81.0, 162.0]]]]), torch.zeros(1, 2, 1, 3)
    >>> zero = torch.zeros(2, 2, 3, 3), torch.zeros(2), torch.zeros(9, 2, 1, 1), torch.zeros(9)
    >>> attended, weights = local_attention(row, row, still, *zero, n=3)  # each weight is 1/9
    >>> attended  # means 27, 81, 135, each divided by 9
    tensor([[[[ 3.,  9., 15.]]]])
    """
    check_flow(flow)
    known = source_features
    known = known if isinstance(known, Prepared) else Prepared(known, None)
    _check_features(known.features, flow, "source_features")
    _check_features(target_features, flow, "target_features")
    _check_side(n)
    layers = weight1, bias1, weight2, bias2
    _check_attention(known, target_features, flow, layers, n)
    form = _FORMS[_choose(backend, known.features, flow)]
    return form(known, target_features, flow, layers, n)


def _attention_reference(known, target, flow, layers, n):
    """The literal form: docs/spec.md 2.4, line by line."""
    source, (weight1, bias1, weight2, bias2) = known.features, layers
    patches = extract_patches(source, flow, n)  # (B, C, n h, n w)
    still = extract_patches(target, torch.zeros_like(flow), n)  # (B, C, n h, n w)
    hidden = F.conv2d(torch.cat((still, patches), 1), weight1, bias1, stride=n)  # (B, hidden, h, w)
    logits = F.conv2d(F.leaky_relu(hidden, 0.1), weight2, bias2)  # (B, n n, h, w)
    weights = logits.to(precise(flow)).softmax(1)
    kernel = F.pixel_shuffle(weights, n)  # (B, 1, n h, n w)
    return F.avg_pool2d(kernel * patches, n).to(source.dtype), weights  # (B, C, h, w)


def _attention_fast(known, *rest):
    return patchless.attend(known, *rest, patchless.STOCK)


def _attention_fused(known, *rest):
    return patchless.attend(known, *rest, patchless.FUSED)


_FORMS = {
    "reference": _attention_reference,
    "fast": _attention_fast,
    "triton": _attention_fused,
}


def _choose(backend: str, *tensors: Tensor) -> str:
    """The backend that runs for these tensors; "auto" says what is best and never fails."""
    if backend == "auto":
        backend = os.environ.get("GFLA_BACKEND") or "auto"
    if backend not in BACKENDS:
        raise ValueError(
            f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}"
            " (argument backend, or environment variable GFLA_BACKEND)"
        )
    device = tensors[0].device
    if backend == "auto":
        fits = device.type == "cuda" and all(v.dtype in kernels.TYPES for v in tensors)
        return "triton" if fits and kernels.available(device).ok else "fast"
    if backend == "triton" and not (there := kernels.available(device)).ok:
        raise BackendError(
            f"backend 'triton' is not there: {there.reason}; use 'auto', 'fast' or"
            " 'reference' (argument backend, or environment variable GFLA_BACKEND)"
        )
    return backend


def check_flow(flow: Flow) -> None:
    """Refuse a flow of the wrong type or shape and, in eager mode, one that is not finite."""
    if not isinstance(flow, Tensor) or not flow.is_floating_point():
        raise TypeError(f"flow must be a floating-point tensor (B, 2, h, w), got {_kind(flow)}")
    if flow.ndim != 4 or flow.shape[1] != 2 or 0 in flow.shape:
        raise ValueError(f"flow must be (B, 2, h, w), none empty, got shape {tuple(flow.shape)}")
    if torch.compiler.is_compiling():  # a graph cannot stop to look at values
        return
    finite = torch.isfinite(flow)
    if not finite.all():
        where = tuple((~finite).nonzero()[0].tolist())
        raise ValueError(
            f"flow must be finite, got {flow[where].item()} at (batch, channel, y, x) = {where},"
            f" {int((~finite).sum())} such values of {flow.numel()}: look for the step where the"
            " flow network diverged, or clean the flow with torch.nan_to_num"
        )


def _check_features(features: Features, flow: Flow, name: str = "features") -> None:
    if not isinstance(features, Tensor) or not features.is_floating_point():
        raise TypeError(
            f"{name} must be a floating-point tensor (B, C, H, W), got {_kind(features)}"
        )
    if features.ndim != 4 or 0 in features.shape:
        raise ValueError(f"{name} must be (B, C, H, W), none empty, got {tuple(features.shape)}")
    if features.shape[0] != flow.shape[0]:
        raise ValueError(
            f"{name} and flow must be of one batch, got shapes {tuple(features.shape)} and"
            f" {tuple(flow.shape)}"
        )
    if features.device != flow.device:
        raise ValueError(
            f"{name} and flow must be on one device, got {features.device} and {flow.device}"
        )


def _check_side(n: int) -> None:
    if not isinstance(n, int):
        raise TypeError(f"n, the side of a patch, must be a whole number, got {n!r}")
    if n < 1:
        raise ValueError(f"n, the side of a patch, must be 1 or more, got {n}")


def _check_attention(known, target, flow, layers, n):
    """Refuse features and layers that do not fit together."""
    source, convolved = known
    B, C, H, W = source.shape
    if target.shape != (B, C, *flow.shape[-2:]):
        raise ValueError(
            "target_features must have the source's channels and the flow's size,"
            f" {(B, C, *flow.shape[-2:])}, got {tuple(target.shape)}"
        )
    hidden = layers[0].shape[0]
    wanted = (hidden, 2 * C, n, n), (hidden,), (n * n, hidden, 1, 1), (n * n,)
    for name, layer, shape in zip(("weight1", "bias1", "weight2", "bias2"), layers, wanted):
        if layer.shape != shape:
            raise ValueError(
                f"{name} must be {shape} for {C} channels and n = {n}, got {tuple(layer.shape)}"
            )
    if convolved is not None and convolved.shape != (B, hidden, H + n - 1, W + n - 1):
        raise ValueError(
            f"a source prepared for these layers has convolved {(B, hidden, H + n - 1, W + n - 1)},"
            f" got {tuple(convolved.shape)}: prepare it with this module's weights"
        )
    types = {v.dtype for v in (source, target, *layers)}
    if len(types) > 1 and not torch.is_autocast_enabled(source.device.type):
        raise TypeError(
            "source_features, target_features and weights must be of one type outside autocast,"
            f" got {', '.join(sorted(map(str, types)))}"
        )


def _kind(value: object) -> str:
    return f"{value.dtype}" if isinstance(value, Tensor) else type(value).__name__
