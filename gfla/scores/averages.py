"""Masks and means: what every metric shares, for a batch as a whole or pair by pair."""

from __future__ import annotations

import torch
from torch import Tensor

REDUCTIONS = ("batch", "pairs")


def weighted_mean(
    values: Tensor, mask: Tensor | None = None, reduction: str = "batch"
) -> float | Tensor:
    """Mean of the values at the positions that a mask selects.

        "batch"  Σ_b Σ_l m(b, l) v(b, l) / Σ_b Σ_l m(b, l)      all pixels of the batch pooled
        "pairs"  Σ_l m(b, l) v(b, l) / Σ_l m(b, l)              for every pair b

    Args:
        values: (B, H, W).
        mask: (B, 1, H, W) or (B, H, W) weight of each position, >= 0; None weighs all alike.
        reduction: "batch" or "pairs".

    Returns:
        "batch": a float. "pairs": (B,) float64 on the CPU, nan where the mask selects nothing.

    Raises:
        ValueError: a mask of another shape, an unknown reduction, or, for "batch", a mask that
            selects nothing.

    >>> values = torch.tensor([[[1.0, 3.0]], [[5.0, 9.0]]])
    >>> mask = torch.tensor([[[1.0, 1.0]], [[1.0, 0.0]]])
    >>> weighted_mean(values, mask), weighted_mean(values, mask, "pairs").tolist()
    (3.0, [2.0, 5.0])
    """
    check_reduction(reduction)
    weights, values = weights_of(mask, values), plain(values)
    if reduction == "pairs":
        return (weights * values).sum((1, 2)) / weights.sum((1, 2))
    total = weights.sum()
    if not total > 0:
        raise ValueError(f"the mask of shape {tuple(weights.shape)} selects nothing (its sum is 0)")
    return float((weights * values).sum() / total)


def reduce_pairs(values: Tensor, reduction: str) -> float | Tensor:
    """The values (B,) of all pairs as they are ("pairs") or their mean as a float ("batch").

    Raises:
        ValueError: an unknown reduction, or, for "batch", a pair without a value, which is one
            whose mask was empty.
    """
    check_reduction(reduction)
    if reduction == "pairs":
        return values
    if values.isnan().any():
        empty = int(values.isnan().nonzero()[0])
        raise ValueError(f"the mask selects nothing in picture {empty} (its sum is 0)")
    return float(values.mean())


def check_reduction(reduction: str) -> None:
    """Refuse what is not one of `REDUCTIONS`."""
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction is {reduction!r}: choose one of {', '.join(REDUCTIONS)}")


def weights_of(mask: Tensor | None, like: Tensor) -> Tensor:
    """The mask as (B, H, W) float64 on the CPU; ones if there is none."""
    return torch.ones_like(plain(like)) if mask is None else plain(expand(mask, like, "mask"))


def expand(mask: Tensor, like: Tensor, name: str) -> Tensor:
    """A mask (B, 1, H, W), or (B, H, W), as (B, H, W).

    Raises:
        ValueError: it does not have the shape of `like`; broadcasting would give a number, and the
            wrong one.
    """
    found = mask[:, 0] if mask.ndim == 4 and mask.shape[1] == 1 else mask
    if found.shape != like.shape:
        raise ValueError(
            f"{name} must be (B, 1, H, W) with (B, H, W) = {tuple(like.shape)}, got "
            f"{tuple(mask.shape)}"
        )
    return found


def plain(x: Tensor) -> Tensor:
    """Without gradient, in float64, on the CPU: how metrics are computed."""
    return x.detach().cpu().double()
