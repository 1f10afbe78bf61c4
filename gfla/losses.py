"""The six losses of GFLA as pure functions, and their weighted sum.

    L = λ_c L_c + λ_r L_r + λ_ℓ1 L_ℓ1 + λ_a L_adv + λ_p L_perc + λ_s L_style

Every function takes tensors and returns a scalar tensor; none holds state, reads a file or owns a
network. Features ("taps") are computed once by the caller and handed in, see `gfla.features`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from gfla.sampling import check_flow, gaussian_warp, warp

if TYPE_CHECKING:
    from gfla.types import Features, Flow, Image, Mask

PERCEPTUAL_TAPS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
STYLE_TAPS = ("relu2_2", "relu3_4", "relu4_4", "relu5_2")

# λ of the authors' training, docs/spec.md section 5.5. Stage 1 learns the flow alone.
FLOW_STAGE = {"sampling_correctness": 20.0, "affine_regularization": 0.01}
FULL_STAGE = {
    "sampling_correctness": 5.0,
    "affine_regularization": 0.0025,
    "l1": 5.0,
    "adversarial": 2.0,
    "perceptual": 0.5,
    "style": 500.0,
}

_EPS = 1e-8  # guards norms and μ_max, the value of the published code


def sampling_correctness(
    source_features: Features,
    target_features: Features,
    flow: Flow,
    mask: Mask | None = None,
    block: int = 256,
    sampling: str = "gaussian",
    best: Tensor | None = None,
) -> Tensor:
    """How much worse the features fetched by the flow match than the best that could be fetched.

        L_c = (1/N) Σ_l exp(−μ(v_{s,w}^l, v_t^l) / μ_max^l) − e⁻¹,
        μ = cosine similarity,  μ_max^l = max_{l'} μ(v_s^{l'}, v_t^l)

    It needs no true flow, and gives gradients to the flow only: the features are detached.

    The loss saturates. Where a sampling point lies outside the image by more than the kernel, every
    tap is the same border pixel and the gradient is exactly zero, so a flow that has left the image
    is not called back by this loss, nor (being smooth out there) by the affine one. A training run
    has to watch for it, for instance with `gfla.metrics.outside_fraction`, and to guard by its
    learning rate or by clipping gradients; nothing is clamped here.

    Args:
        source_features: (B, C, Hs, Ws) frozen features v_s of the source image, any range.
        target_features: (B, C, H, W) the same features v_t of the target image.
        flow: (B, 2, h, w) target → source in pixels of this level. Resized to (H, W) by nearest
            neighbour if it differs; its values are NOT rescaled.
        mask: (B, 1, ·, ·) in [0, 1], weight of each target position; any size, resized by nearest
            neighbour. None weighs all positions alike.
        block: number of target positions whose similarities are held at once by `best_similarity`.
        sampling: "gaussian" (4×4 taps, σ = 2) or "bilinear".
        best: (B, H, W) μ_max from `best_similarity`, if at hand. It depends on the images alone,
            so one computation serves many flows.

    Returns:
        Scalar. For features ≥ 0 about 0 (perfect) to 1 − e⁻¹ ≈ 0.632; Gaussian blending may beat
        the best single match, which makes it slightly negative.

    Raises:
        ValueError: shapes that do not fit, a non-finite flow, or an unknown `sampling`.

    Departs from the paper as the published code does (docs/spec.md sections 5.1 and 11): Gaussian
    instead of unspecified sampling, and minus e⁻¹ so that a perfect flow costs nothing. Features of
    half precision are compared in float32. Sum over levels yourself.

    >>> features = torch.eye(16).reshape(1, 16, 4, 4)
    >>> zero = torch.zeros(1, 2, 4, 4)
    >>> loss = sampling_correctness(features, features, zero, sampling="bilinear")
    >>> round(float(loss), 6)
    0.0
    """
    _check_features(source_features, target_features)
    _check_flow_shape(flow, len(source_features))
    samplers = {"gaussian": gaussian_warp, "bilinear": warp}
    if sampling not in samplers:
        raise ValueError(f"sampling must be one of {sorted(samplers)}, got {sampling!r}")
    size = target_features.shape[-2:]
    with torch.autocast(flow.device.type, enabled=False):
        source = _full_precision(source_features.detach())
        target = _full_precision(target_features.detach())
        flow = _full_precision(flow)
        if best is None:
            best = best_similarity(source, target, block)
        if best.shape != target[:, 0].shape:
            raise ValueError(
                f"best must be (B, H, W) = {tuple(target[:, 0].shape)}, got {tuple(best.shape)}"
            )
        if flow.shape[-2:] != size:
            flow = F.interpolate(flow, size=size, mode="nearest")
        warped = samplers[sampling](source, flow)
        similarity = F.cosine_similarity(warped, target, dim=1, eps=_EPS)  # (B, H, W)
        loss = torch.exp(-similarity / (best + _EPS)) - math.exp(-1.0)
        if mask is None:
            return loss.mean()
        if mask.ndim != 4 or mask.shape[:2] != (len(flow), 1):
            raise ValueError(f"mask must be ({len(flow)}, 1, ·, ·), got {tuple(mask.shape)}")
        mask = F.interpolate(mask.to(loss.dtype), size=size, mode="nearest")[:, 0]  # (B, H, W)
        return (mask * loss).sum() / (mask.sum() + _EPS)


@torch.no_grad()
def best_similarity(
    source_features: Features, target_features: Features, block: int = 256
) -> Tensor:
    """Cosine similarity of every target position with its best match anywhere in the source.

        μ_max^l = max_{l'} ⟨v_s^{l'}, v_t^l⟩ / ((‖v_s^{l'}‖ + 1e-8)(‖v_t^l‖ + 1e-8))

    Args:
        source_features: (B, C, Hs, Ws).
        target_features: (B, C, H, W).
        block: target positions taken together; at most B × block × Hs·Ws similarities are held at
            once, never the whole matrix of H·W × Hs·Ws.

    Returns:
        (B, H, W) in [−1, 1], without gradient.

    Raises:
        ValueError: shapes that do not fit, or block < 1.

    >>> best_similarity(torch.ones(1, 2, 3, 3), torch.ones(1, 2, 1, 2)).shape
    torch.Size([1, 1, 2])
    """
    _check_features(source_features, target_features)
    if block < 1:
        raise ValueError(f"block must be at least 1 target position, got {block}")
    with torch.autocast(source_features.device.type, enabled=False):
        source = _unit_columns(source_features)  # (B, C, Hs·Ws)
        target = _unit_columns(target_features).transpose(1, 2)  # (B, H·W, C)
        best = [
            torch.bmm(rows, source).amax(dim=2)  # (B, block, Hs·Ws) -> (B, block)
            for rows in target.split(block, dim=1)
        ]
    return torch.cat(best, dim=1).unflatten(1, target_features.shape[-2:])


def affine_regularization(flow: Flow, n: int) -> Tensor:
    """How far the flow is, in every n×n window, from its best affine fit.

        L_r = mean over windows of ‖T_l − Â_l S_l‖²,  Â_l = T_l S_lᵀ (S_l S_lᵀ)⁻¹

    S_l holds the homogeneous target coordinates of a window, T_l = S_l + flow the source ones. The
    residual of a least-squares fit is a fixed linear map of the window. It annihilates affine
    fields, the pixel grid among them, so it is applied to the flow itself, as one convolution.

    Args:
        flow: (B, 2, h, w) in pixels of this level.
        n: window side, at least 2; that of the local attention of the same level.

    Returns:
        Scalar ≥ 0 in square pixels: summed over the window and over x and y, averaged over the
        (h − n + 1)(w − n + 1) windows inside the image and over the batch. 0 for an affine flow.

    Raises:
        ValueError: a flow of the wrong shape, smaller than a window or non-finite, or n < 2.

    Departs from the paper (docs/spec.md sections 1b, 5.2 and 11): mean instead of sum over
    positions; the closed form of Â is the least-squares solution, whose published order of factors
    fits neither T = AS nor the shapes. Departs from the published code in rounding only: that one
    squares absolute coordinates and may come out negative. Sum over levels yourself.

    >>> y, x = torch.meshgrid(torch.arange(6.0), torch.arange(8.0), indexing="ij")
    >>> affine = torch.stack([0.5 * x - y + 3, 2 * y])[None]
    >>> float(affine_regularization(affine, 3)) < 1e-9
    True
    """
    _check_flow_shape(flow)
    if n < 2:
        raise ValueError(f"n must be at least 2 (an affine fit of one position is exact), got {n}")
    if min(flow.shape[-2:]) < n:
        raise ValueError(f"a flow of {tuple(flow.shape)} holds no {n}×{n} window: use a smaller n")
    check_flow(flow)
    # Two channels cost nothing in double precision, and a float32 convolution would be done in
    # TF32's ten bits by a CUDA device, where a flow of 50 pixels is off by 0.02. MPS has no double.
    precision = torch.float32 if flow.device.type == "mps" else torch.float64
    with torch.autocast(flow.device.type, enabled=False):
        planes = flow.to(precision).flatten(0, 1)[:, None]  # (2B, 1, h, w)
        kernels = torch.tensor(_residual_basis(n), dtype=precision, device=flow.device)
        residual = F.conv2d(planes, kernels.reshape(-1, 1, n, n))  # (2B, n²−3, h−n+1, w−n+1)
        loss = 2.0 * residual.square().sum(dim=1).mean()  # the mean runs over x and y: twice it
    return loss if flow.dtype == torch.float64 else loss.float()


def l1(image: Image, target: Image) -> Tensor:
    """Mean absolute difference of two images.

        L_ℓ1 = mean |x_t − x̂_t|

    Args:
        image: (B, C, H, W) generated image in [−1, 1].
        target: the true image, of the same shape and range.

    Returns:
        Scalar in [0, 2].

    Raises:
        ValueError: shapes that differ.

    Departs from the paper's norm, a sum: the mean does not depend on the image size.

    >>> float(l1(torch.ones(1, 3, 2, 2), torch.zeros(1, 3, 2, 2)))
    1.0
    """
    _check_same_shape(image, target, "images")
    return (image - target).abs().mean()


def adversarial(
    scores: Tensor, real: bool, kind: str = "lsgan", side: str = "discriminator"
) -> Tensor:
    """One term of the adversarial game: how far the scores are from a verdict.

        lsgan:                  mean (D − [real])²
        hinge, discriminator:   mean max(0, 1 − D) if real, mean max(0, 1 + D) if fake
        hinge, generator:       −mean D

    The discriminator minimises `discriminator_loss`; the generator minimises
    ``adversarial(D(fake), True, kind, side="generator")``.

    Args:
        scores: discriminator output of any shape, raw (no sigmoid).
        real: the verdict wished for. The generator's hinge has none: it is then ignored.
        kind: "lsgan" or "hinge".
        side: "discriminator" or "generator"; makes a difference for hinge only.

    Returns:
        Scalar; ≥ 0 except for the generator's hinge.

    Raises:
        ValueError: an unknown kind or side.

    Departs from the paper's log-likelihood game as the published code does, whose default is
    least squares (docs/spec.md sections 5.4 and 11).

    >>> scores = torch.tensor([0.0, 2.0])
    >>> float(adversarial(scores, True)), float(adversarial(scores, False, kind="hinge"))
    (1.0, 2.0)
    """
    if side not in ("discriminator", "generator"):
        raise ValueError(f"side must be 'discriminator' or 'generator', got {side!r}")
    if kind == "lsgan":
        return (scores - float(real)).square().mean()
    if kind == "hinge":
        if side == "generator":
            return -scores.mean()
        return F.relu(1 - scores if real else 1 + scores).mean()
    raise ValueError(f"kind must be 'lsgan' or 'hinge', got {kind!r}")


def discriminator_loss(real_scores: Tensor, fake_scores: Tensor, kind: str = "lsgan") -> Tensor:
    """What the discriminator minimises: half of its error on real and on generated images.

        L_D = ½ (adversarial(D(x_t), real) + adversarial(D(x̂_t), fake))

    Args:
        real_scores: scores of true images, any shape.
        fake_scores: scores of generated images, detached from the generator by the caller.
        kind: "lsgan" or "hinge".

    Returns:
        Scalar ≥ 0.

    Raises:
        ValueError: an unknown kind.

    >>> float(discriminator_loss(torch.ones(2), torch.ones(2)))
    0.5
    """
    return 0.5 * (adversarial(real_scores, True, kind) + adversarial(fake_scores, False, kind))


def perceptual(
    taps_a: Mapping[str, Features],
    taps_b: Mapping[str, Features],
    names: Sequence[str] = PERCEPTUAL_TAPS,
) -> Tensor:
    """Difference of two images as a feature network sees it.

        L_perc = Σ_i mean |φ_i(x_t) − φ_i(x̂_t)|

    Args:
        taps_a: features by tap name, each (B, C, h, w), of one image.
        taps_b: those of the other image; same names, same shapes.
        names: taps that count.

    Returns:
        Scalar ≥ 0.

    Raises:
        KeyError: a tap that is missing.
        ValueError: shapes that differ, or no name at all.

    Departs from the paper's norm: mean per tap, as the published code (docs/spec.md section 5.3).

    >>> ones, zeros = {"a": torch.ones(1, 2, 3, 3)}, {"a": torch.zeros(1, 2, 3, 3)}
    >>> float(perceptual(ones, zeros, names=["a"]))
    1.0
    """
    pairs = _tap_pairs(taps_a, taps_b, names)
    return torch.stack([(a - b).abs().mean() for a, b in pairs]).sum()


def style(
    taps_a: Mapping[str, Features],
    taps_b: Mapping[str, Features],
    names: Sequence[str] = STYLE_TAPS,
) -> Tensor:
    """Difference of two images in which features occur together, wherever they occur.

        L_style = Σ_j mean |G_j^φ(x_t) − G_j^φ(x̂_t)|,  G the matrix of `gram`

    Args:
        taps_a: features by tap name, each (B, C, h, w), of one image.
        taps_b: those of the other image; same names, same channels.
        names: taps that count.

    Returns:
        Scalar ≥ 0.

    Raises:
        KeyError: a tap that is missing.
        ValueError: shapes that differ, or no name at all.

    Departs from the paper's norm: mean per tap, as the published code (docs/spec.md section 5.3).

    >>> features = {"a": torch.arange(8.0).reshape(1, 2, 2, 2)}
    >>> float(style(features, {"a": features["a"].flip(-1)}, names=["a"]))
    0.0
    """
    pairs = _tap_pairs(taps_a, taps_b, names)
    return torch.stack([(gram(a) - gram(b)).abs().mean() for a, b in pairs]).sum()


def gram(x: Features) -> Tensor:
    """Products of all pairs of channels, averaged over positions and channels.

        G = F Fᵀ / (C·H·W),  F = x as a C × H·W matrix

    Args:
        x: (B, C, H, W) features.

    Returns:
        (B, C, C), symmetric. Half precision is multiplied in float32, where it cannot overflow.

    Raises:
        ValueError: x is not four-dimensional.

    >>> gram(torch.ones(1, 2, 3, 3))[0].tolist()
    [[0.5, 0.5], [0.5, 0.5]]
    """
    if x.ndim != 4:
        raise ValueError(f"features must be (B, C, H, W), got {tuple(x.shape)}")
    with torch.autocast(x.device.type, enabled=False):
        columns = _full_precision(x).flatten(2)  # (B, C, H·W)
        return columns @ columns.transpose(1, 2) / x[0].numel()  # (B, C, C)


def weighted_sum(
    terms: Mapping[str, Tensor], weights: Mapping[str, float]
) -> tuple[Tensor, dict[str, float]]:
    """The total loss, and every term both ways for the log.

        L = Σ_name λ_name L_name

    Args:
        terms: unweighted scalar losses by name.
        weights: λ by name, such as `FLOW_STAGE` or `FULL_STAGE`; exactly the names of `terms`.

    Returns:
        total: scalar with gradient.
        logged: plain floats: "name" unweighted, "name_weighted" weighted, for every term, "total".

    Raises:
        ValueError: names that differ: a term without its λ would be trained at a weight nobody
            chose, a λ without its term would silently train nothing.

    >>> total, logged = weighted_sum({"l1": torch.tensor(0.5)}, {"l1": 4.0})
    >>> float(total), logged
    (2.0, {'l1': 0.5, 'l1_weighted': 2.0, 'total': 2.0})
    """
    if terms.keys() != weights.keys() or not terms:
        raise ValueError(
            f"every term needs one weight and every weight its term: got terms {sorted(terms)} "
            f"and weights {sorted(weights)}"
        )
    weighted = {name: weights[name] * _full_precision(term) for name, term in terms.items()}
    total = torch.stack(list(weighted.values())).sum()
    # One transfer from the device for the whole log.
    values = torch.stack([*terms.values(), *weighted.values(), total]).detach().tolist()
    names = [*terms, *(f"{name}_weighted" for name in terms), "total"]
    return total, dict(zip(names, values, strict=True))


@cache
def _residual_basis(n: int) -> list[list[float]]:
    """Rows (n² − 3) that span what an affine field on an n×n window cannot express."""
    side = torch.arange(n, dtype=torch.float64) - (n - 1) / 2
    y, x = torch.meshgrid(side, side, indexing="ij")
    coordinates = torch.stack([x, y, torch.ones_like(x)]).reshape(3, -1).T  # (n², 3)
    orthonormal, _ = torch.linalg.qr(coordinates, mode="complete")  # (n², n²)
    return orthonormal[:, 3:].T.tolist()  # the complement of the affine fields


def _unit_columns(features: Tensor) -> Tensor:
    columns = _full_precision(features).flatten(2)  # (B, C, H·W)
    return columns / (columns.norm(dim=1, keepdim=True) + _EPS)


def _full_precision(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _tap_pairs(
    taps_a: Mapping[str, Tensor], taps_b: Mapping[str, Tensor], names: Sequence[str]
) -> list[tuple[Tensor, Tensor]]:
    if not names:
        raise ValueError("names is empty: name at least one tap, such as 'relu1_1'")
    for name in names:
        for taps in (taps_a, taps_b):
            if name not in taps:
                raise KeyError(
                    f"tap {name!r} is missing, there are {sorted(taps)}: ask the encoder for it"
                )
        _check_same_shape(taps_a[name], taps_b[name], f"taps {name}")
    return [(taps_a[name], taps_b[name]) for name in names]


def _check_same_shape(a: Tensor, b: Tensor, what: str) -> None:
    if a.shape != b.shape:  # broadcasting would give a number, and the wrong one
        raise ValueError(f"{what} must have one shape, got {tuple(a.shape)} and {tuple(b.shape)}")


def _check_features(source: Tensor, target: Tensor) -> None:
    if source.ndim != 4 or target.ndim != 4 or source.shape[:2] != target.shape[:2]:
        raise ValueError(
            "source and target features must be (B, C, h, w) with the same B and C, got "
            f"{tuple(source.shape)} and {tuple(target.shape)}"
        )


def _check_flow_shape(flow: Tensor, batch: int | None = None) -> None:
    if flow.ndim != 4 or flow.shape[1] != 2 or batch not in (None, len(flow)):
        raise ValueError(
            f"flow must be (B, 2, h, w) with B = {batch or 'any'}, got {tuple(flow.shape)}"
        )
