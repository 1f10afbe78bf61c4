"""Convolutions of spectral norm 1: what keeps a discriminator from growing without bound."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gfla.types import Features

Sides = int | tuple[int, int, int]


class _Spectral(nn.Module):
    """What a convolution needs so that its weight, as a matrix, has norm about 1."""

    def _begin(self) -> None:
        rows, columns = self.weight.flatten(1).shape  # (out, channels·kernel²)
        self.register_buffer("weight_u", F.normalize(torch.randn(rows), dim=0, eps=1e-12))
        self.register_buffer("weight_v", F.normalize(torch.randn(columns), dim=0, eps=1e-12))

    def normalised(self) -> Tensor:
        """The weight divided by the present estimate of its largest singular value."""
        matrix = self.weight.flatten(1)  # (out, channels·kernel²)
        if self.training:
            with torch.no_grad():
                v = F.normalize(matrix.mT @ self.weight_u, dim=0, eps=1e-12)
                self.weight_v.copy_(v)
                self.weight_u.copy_(F.normalize(matrix @ v, dim=0, eps=1e-12))
        # copies, because the next forward overwrites the buffers before this one's backward
        sigma = self.weight_u.clone() @ (matrix @ self.weight_v.clone())
        return self.weight / sigma


class SpectralConv2d(_Spectral, nn.Conv2d):
    """A convolution whose weight, as a matrix of one row per output channel, has norm about 1.

    W̄ = W / σ,  σ = uᵀ W v,  with v ← Wᵀu / ‖Wᵀu‖ and u ← Wv / ‖Wv‖ once per forward pass in
    training mode; in eval mode u and v rest.  The gradient flows through σ, not through u and v.

    v is updated before u, as in `torch.nn.utils.spectral_norm`, with which the published
    discriminators were trained; the newer parametrisation of PyTorch updates u first and gives
    other numbers after the first step.

    Args of forward: features (B, in_channels, H, W).  Returns those of `nn.Conv2d`.

    >>> layer = SpectralConv2d(4, 8, 3, padding=1)
    >>> for _ in range(50):
    ...     _ = layer(torch.zeros(1, 4, 5, 5))
    >>> largest = torch.linalg.matrix_norm(layer.normalised().flatten(1), 2)
    >>> round(largest.item(), 2)
    1.0
    """

    def __init__(self, channels: int, out: int, kernel: int, stride: int = 1, padding: int = 0):
        super().__init__(channels, out, kernel, stride, padding)
        self._begin()

    def forward(self, features: Features) -> Features:
        return F.conv2d(features, self.normalised(), self.bias, self.stride, self.padding)


class SpectralConv3d(_Spectral, nn.Conv3d):
    """`SpectralConv2d` for clips: one more axis, time, before height and width.

    Args of forward: features (B, in_channels, T, H, W).  Returns those of `nn.Conv3d`.
    """

    def __init__(
        self, channels: int, out: int, kernel: Sides, stride: Sides = 1, padding: Sides = 0
    ):
        super().__init__(channels, out, kernel, stride, padding)
        self._begin()

    def forward(self, features: Tensor) -> Tensor:
        return F.conv3d(features, self.normalised(), self.bias, self.stride, self.padding)
