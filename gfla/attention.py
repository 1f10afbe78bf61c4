"""How the source enters the target: the ways of the paper's ablation behind one call."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from gfla.sampling import local_attention, warp
from gfla.types import Features, Flow


class Attended(NamedTuple):
    """What was taken from the source, and with which coefficients."""

    attended: Features  # (B, C, h, w)
    weights: Tensor  # (B, n n, h, w), sum to 1 over the patch


class LocalAttention(nn.Module):
    """Content-aware sampling: a kernel for every position, predicted from both patches."""

    def __init__(self, channels: int, n: int, hidden: int = 128):
        super().__init__()
        self.n = n
        self.kernel_net = nn.Sequential(
            nn.Conv2d(2 * channels, hidden, n, stride=n),
            nn.LeakyReLU(0.1),
            nn.Conv2d(hidden, n * n, 1),
        )

    def forward(self, source_features: Features, target_features: Features, flow: Flow) -> Attended:
        first, _, last = self.kernel_net
        return Attended(
            *local_attention(
                source_features,
                target_features,
                flow,
                first.weight,
                first.bias,
                last.weight,
                last.bias,
                self.n,
            )
        )


class BilinearSampling(nn.Module):
    """The paper's Bi-Sample ablation: one bilinear reading instead of a patch."""

    def __init__(self, channels: int, n: int = 1, hidden: int = 128):
        super().__init__()

    def forward(self, source_features: Features, target_features: Features, flow: Flow) -> Attended:
        attended = warp(source_features, flow)
        B, _, h, w = flow.shape
        return Attended(attended, torch.ones((), device=flow.device).expand(B, 1, h, w))
