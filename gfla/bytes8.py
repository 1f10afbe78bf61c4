"""Weights in eight bits: a quarter of the file, for models that would be too large to ship."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

SCALE = "|scale"  # what the name of a tensor's scales ends with
LEAST = 1024  # smaller tensors, and vectors, stay in half precision


def rounded(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Matrices and kernels as whole numbers of −127 … 127, with a scale for each row.

        w ≈ s_r · q,   s_r = max |w_r| / 127

    Args:
        tensors: a state_dict.

    Returns:
        int8 tensors and their scales, float16, under the name with `SCALE` behind it; what is small
        or a vector in float16.

    >>> small = rounded({"w": torch.linspace(-1, 1, 2048).view(2, 1024)})
    >>> small["w"].dtype, small["w|scale"].shape
    (torch.int8, torch.Size([2, 1]))
    """
    found = {}
    for name, tensor in tensors.items():
        if tensor.ndim < 2 or tensor.numel() < LEAST:
            found[name] = tensor.half()
            continue
        largest = tensor.abs().flatten(1).amax(1).clamp(min=1e-6)
        # a scale that half precision rounds down would push the largest weight past 127
        scale = (largest / 127).half().view(-1, *[1] * (tensor.ndim - 1))  # (rows, 1, …)
        found[name] = (tensor / scale.float()).round().clamp(-127, 127).to(torch.int8)
        found[name + SCALE] = scale
    return found


def widened(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `rounded`, up to half a step; other tensors go through as they are.

    >>> w = torch.linspace(-1, 1, 2048).view(2, 1024)
    >>> bool((widened(rounded({"w": w}))["w"] - w).abs().max() < 0.6 / 127)
    True
    """
    scales = {name: tensor for name, tensor in tensors.items() if name.endswith(SCALE)}
    return {
        name: tensor.float() * scales[name + SCALE].float() if name + SCALE in scales else tensor
        for name, tensor in tensors.items()
        if name not in scales
    }
