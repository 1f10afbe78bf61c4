"""The Fréchet distance between two sets of features, whatever network gave them."""

import torch
from torch import Tensor

from gfla.scores.averages import plain


def frechet(ours: Tensor, theirs: Tensor) -> float:
    """Fréchet distance between the Gaussians of two sets of features.

        ‖μ − μ_r‖² + tr Σ + tr Σ_r − 2 tr (Σ Σ_r)^½,   tr (Σ Σ_r)^½ = ‖Σ^½ Σ_r^½‖_*

    The roots come from eigenvalues in float64, those below zero by rounding set to zero; the
    nuclear norm ‖·‖_* is a sum of singular values. So nothing complex can appear, and nearly
    singular covariances lose no digits.

    Args:
        ours: (N, D).
        theirs: (M, D).

    Returns:
        0 and up, lower is better.

    Raises:
        ValueError: other shapes, values that are not finite, or N or M not above D: such a
            covariance has directions without any spread, which are only the lack of pictures.

    Source: Dowson and Landau 1982, as used in FID by Heusel et al. 2017.

    >>> points = torch.randn(500, 2)
    >>> frechet(points, points) < 1e-12, round(frechet(points, points + torch.tensor([3.0, 4.0])))
    (True, 25)
    """
    if ours.ndim != 2 or theirs.ndim != 2 or ours.shape[1] != theirs.shape[1]:
        raise ValueError(
            f"features must be (N, D) and (M, D), got {tuple(ours.shape)} and {tuple(theirs.shape)}"
        )
    for x in (ours, theirs):
        check_number(*x.shape)
        if not torch.isfinite(x).all():
            raise ValueError(
                f"features of picture {int((~torch.isfinite(x)).nonzero()[0, 0])} are not finite: "
                "was its mask empty?"
            )
    mean, root = _gaussian(plain(ours))
    other_mean, other_root = _gaussian(plain(theirs))
    cross = torch.linalg.svdvals(root @ other_root).sum()
    spread = root.square().sum() + other_root.square().sum() - 2 * cross
    return float(((mean - other_mean).square().sum() + spread).clamp(min=0))


def check_number(pictures: int, features: int) -> None:
    """Refuse to estimate a covariance of so many features from so few pictures."""
    if pictures <= features:
        raise ValueError(
            f"{pictures} pictures for {features} features: a Fréchet distance needs more pictures "
            f"than features, at least {features + 1}, better twice as many"
        )


def _gaussian(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and root of the covariance of the rows."""
    values, vectors = torch.linalg.eigh(torch.cov(features.T).reshape(features.shape[1], -1))
    return features.mean(0), (vectors * values.clamp(min=0).sqrt()) @ vectors.T
