"""How the source enters the target: ways of the paper's ablation, behind one call.

Each is built from (channels, n, hidden) and called with (source_features, target_features, flow),
so that a renderer changes its way by changing a name.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from gfla.sampling import local_attention, warp
from gfla.types import Features, Flow


class Attended(NamedTuple):
    """What was taken from the source, and by which coefficients."""

    attended: Features  # (B, C, h, w)
    weights: Tensor  # (B, n n, h, w), row by row, sum to 1; BilinearSampling: (B, 1, h, w) of ones


class LocalAttention(nn.Module):
    r"""Content-aware sampling: each position averages a source patch by a kernel of its own.

        k_l = M(N_n(f_s, l + w(l)), N_n(f_t, l))
        f_attn(l) = 1/n^2 sum_i k_l(i) f_s(l + w(l) + o_i)

    `kernel_net` is M without its softmax: a convolution over both patches, LeakyReLU(0.1), and a
    1 x 1 convolution to n^2 logits. It is called by `gfla.sampling.local_attention` and, in the
    default form, never sees a patch.

    Args:
        channels: C of source and target.
        n: side of the patch; the paper's levels use 5 at stride 4 and 3 at stride 8.
        hidden: width between the two convolutions; 128 in the paper's code.
        backend: as in `gfla.sampling.local_attention`.

    Shapes:
        source_features (B, C, H, W), target_features (B, C, h, w), flow (B, 2, h, w) in pixels ->
        attended (B, C, h, w), weights (B, n^2, h, w).

    Raises:
        ValueError: channels, n or hidden below 1; when called, as `gfla.sampling.local_attention`.

    The equation names the source first; the original concatenates the target first, and divides
    by n^2 after a softmax that already averages (docs/spec.md 2.4, 11): both kept, so that the
    published weights fit.

    >>> attention = LocalAttention(channels=1, n=3, hidden=2)
    >>> {name: tuple(value.shape) for name, value in attention.kernel_net[0].named_parameters()}
    {'weight': (2, 2, 3, 3), 'bias': (2,)}
    >>> nines = torch.full((1, 1, 4, 4), 9.0)
    >>> attended, weights = attention(nines, nines, torch.zeros(1, 2, 4, 4))
    >>> torch.allclose(attended, torch.ones(1, 1, 4, 4)), weights.shape  # any mean of 9, over 9
    (True, torch.Size([1, 9, 4, 4]))
    """

    def __init__(self, channels: int, n: int, hidden: int = 128, backend: str = "auto"):
        super().__init__()
        for name, value in (("channels", channels), ("n", n), ("hidden", hidden)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a whole number, 1 or more, got {value!r}")
        self.n = n
        self.backend = backend
        self.kernel_net = nn.Sequential(
            nn.Conv2d(2 * channels, hidden, n, stride=n),
            nn.LeakyReLU(0.1),
            nn.Conv2d(hidden, n * n, 1),
        )

    def forward(self, source_features: Features, target_features: Features, flow: Flow) -> Attended:
        first, _, last = self.kernel_net
        layers = first.weight, first.bias, last.weight, last.bias
        return Attended(
            *local_attention(
                source_features, target_features, flow, *layers, self.n, backend=self.backend
            )
        )


class BilinearSampling(nn.Module):
    r"""The ablation "Bi-Sample": each position reads the source once, bilinearly.

        f_attn(l) = f_s(l + w(l))

    This is what local attention becomes at n = 1, where the softmax has one entry and 1/n^2 is 1;
    so `weights` is (B, 1, h, w), all ones. It has no parameters: channels, n, hidden and the
    target are taken for the common call, and left unused.

    Shapes:
        source_features (B, C, H, W), flow (B, 2, h, w) in pixels -> attended (B, C, h, w),
        weights (B, 1, h, w).

    Raises:
        TypeError, ValueError: when called, as `gfla.sampling.warp`.

    The original ships no runnable form of this ablation (docs/spec.md 3).

    >>> row = torch.tensor([[[[0.0, 10.0, 20.0]]]])
    >>> right = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1).expand(1, 2, 1, 3)
    >>> BilinearSampling()(row, row, right)
    Attended(attended=tensor([[[[10., 20., 20.]]]]), weights=tensor([[[[1., 1., 1.]]]]))
    """

    def __init__(self, channels: int = 0, n: int = 1, hidden: int = 0):
        super().__init__()

    def forward(self, source_features: Features, target_features: Features, flow: Flow) -> Attended:
        attended = warp(source_features, flow)
        B, _, h, w = flow.shape
        return Attended(attended, torch.ones(1, device=flow.device).expand(B, 1, h, w))
