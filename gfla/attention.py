"""How the source enters the target: the four ways of the paper's ablation, behind one call.

Each is built from (channels, n, hidden) and asked by `join`, with the features of source and
target at one level and, if it is `guided`, with the flow and the mask that F says there, so that
a renderer changes its way by changing a name.

    Full         LocalAttention     F says where, the features say how to average there
    Bi-Sample    BilinearSampling   F says where
    Global-Attn  GlobalAttention    the features say where, among all positions
    Baseline     Concatenation      nobody says where
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gfla.blocks import initialise
from gfla.patchless import Prepared, prepare
from gfla.sampling import local_attention, warp
from gfla.types import Features, Flow, Mask


class Joined(NamedTuple):
    """The target features of one level after the source has entered, and how it did."""

    features: Features  # (B, C, h, w)
    flow: Flow | None  # (B, 2, h, w) where the source was read; None where nobody can say
    mask: Mask | None  # (B, 1, h, w) share of what was read; None: no share was chosen
    weights: Tensor | None  # (B, n·n, h, w) inside the patch; None: no patch


class Attended(NamedTuple):
    """What was taken from the source, and by which coefficients."""

    attended: Features  # (B, C, h, w)
    weights: Tensor  # (B, n n, h, w), row by row, sum to 1; BilinearSampling: (B, 1, h, w) of ones


class _Way(nn.Module):
    """What a renderer may ask of each way, beside `join`."""

    guided = False  # whether F says where

    def begin(self, mask_start: float) -> None:
        """Set what shall not begin like every other convolution."""

    def prepare(self, source_features: Features) -> Features | Prepared:
        """What `join` may be given for the source where one source serves many targets."""
        return source_features


class _Guided(_Way):
    """What the two ways with a flow share: F's mask weighs what was read against the target.

    f_out = (1 − m) · f_t + m · f_attn
    """

    guided = True

    def join(
        self,
        source_features: Features | Prepared,
        target_features: Features,
        flow: Flow,
        mask: Mask,
    ) -> Joined:
        """Take from the source where `flow` says, as much as `mask` says."""
        attended, weights = self(source_features, target_features, flow)
        return Joined(_blend(target_features, attended, mask), flow, mask, weights)


class LocalAttention(_Guided):
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
        attended (B, C, h, w), weights (B, n^2, h, w). For the source may stand what `prepare` made
        of it, once for many targets.

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
        _check(channels=channels, n=n, hidden=hidden)
        self.n = n
        self.backend = backend
        self.kernel_net = nn.Sequential(
            nn.Conv2d(2 * channels, hidden, n, stride=n),
            nn.LeakyReLU(0.1),
            nn.Conv2d(hidden, n * n, 1),
        )

    def prepare(self, source_features: Features) -> Prepared:
        """What depends on the source alone, as long as the weights stay: its convolution."""
        return prepare(source_features, self.kernel_net[0].weight.chunk(2, 1)[1])

    def forward(
        self, source_features: Features | Prepared, target_features: Features, flow: Flow
    ) -> Attended:
        first, _, last = self.kernel_net
        layers = first.weight, first.bias, last.weight, last.bias
        return Attended(
            *local_attention(
                source_features, target_features, flow, *layers, self.n, backend=self.backend
            )
        )


class BilinearSampling(_Guided):
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


class GlobalAttention(_Way):
    r"""The ablation "Global-Attn": each target position averages all positions of the source.

        a(l, l') = softmax_l' q(l) · k(l') / sqrt(C),    f_attn(l) = sum_l' a(l, l') f_s(l')

    q and k are 1 x 1 convolutions of the instance-normalised target and source features. What is
    averaged are the source features themselves, as in the other ways, so that the expected source
    position sum_l' a(l, l') l' says where the pixels of f_attn come from. There is no F whose mask
    could say how much to take: a 3 x 3 convolution over f_t and f_attn does.

    Args:
        channels: C of source and target.
        n, hidden: taken for the common call, and left unused.

    Shapes (forward):
        source_features (B, C, H, W), target_features (B, C, h, w) -> attended (B, C, h, w), flow
        (B, 2, h, w): expected source position minus own position, in pixels; for it both must have
        the same size.

    Raises:
        ValueError: channels below 1.

    The table of N x N coefficients is never in memory where torch has a fused kernel for
    `scaled_dot_product_attention`; the two coordinates travel as two more channels of the values.
    The paper's global block is the non-local one (Wang et al. 2018), whose code was not released:
    norms before q and k and the missing value projection are ours.

    >>> attention = GlobalAttention(channels=2)
    >>> attended, flow = attention(torch.ones(1, 2, 4, 4), torch.zeros(1, 2, 4, 4))
    >>> torch.allclose(attended, torch.ones(1, 2, 4, 4)), flow[0, :, 0, 0].tolist()  # the middle
    (True, [1.5, 1.5])
    """

    def __init__(self, channels: int, n: int = 0, hidden: int = 0):
        super().__init__()
        _check(channels=channels)
        self.query = nn.Sequential(
            nn.InstanceNorm2d(channels, affine=True), nn.Conv2d(channels, channels, 1)
        )
        self.key = nn.Sequential(
            nn.InstanceNorm2d(channels, affine=True), nn.Conv2d(channels, channels, 1)
        )
        self.gate = nn.Conv2d(2 * channels, 1, 3, padding=1)

    def begin(self, mask_start: float) -> None:
        """Logits that can tell positions apart from the first step; masks near `mask_start`."""
        initialise(self.query, gain=1.0)
        initialise(self.key, gain=1.0)
        nn.init.constant_(self.gate.bias, math.log(mask_start / (1 - mask_start)))

    def forward(
        self, source_features: Features, target_features: Features
    ) -> tuple[Features, Flow]:
        C = source_features.shape[1]
        query, key = self.query(target_features), self.key(source_features)
        values = torch.cat([source_features, _positions(source_features)], 1)  # (B, C + 2, H, W)
        taken = _attend(query, key, values)  # (B, C + 2, h, w)
        return taken[:, :C], taken[:, C:].float() - _positions(target_features).float()

    def join(self, source_features: Features, target_features: Features) -> Joined:
        """Take from the source where alike features are, as much as the gate says."""
        attended, flow = self(source_features, target_features)
        mask = torch.sigmoid(self.gate(torch.cat([target_features, attended], 1)))
        return Joined(_blend(target_features, attended, mask), flow, mask, None)

    @torch.no_grad()
    def look(
        self, source_features: Features, target_features: Features, positions: Tensor
    ) -> Tensor:
        """Where some target positions look: their coefficients over the whole source.

        Args:
            source_features: (B, C, H, W).
            target_features: (B, C, h, w).
            positions: (P, 2) integers x, y in the target's level.

        Returns:
            (B, P, H, W), each map sums to 1.
        """
        query, key = self.query(target_features), self.key(source_features)
        x, y = positions.unbind(1)
        logits = torch.einsum("bcp,bchw->bphw", query[:, :, y, x], key) / query.shape[1] ** 0.5
        return logits.flatten(2).softmax(2).view_as(logits)


class Concatenation(_Way):
    """The ablation "Baseline": source and target features side by side, joined by a convolution.

        f_out = W * [f_t, f_s]

    Args:
        channels: C of source and target.
        n, hidden: taken for the common call, and left unused.

    Shapes (forward):
        source_features, target_features (B, C, h, w) -> (B, C, h, w).

    Raises:
        ValueError: channels below 1.

    What shall move must move by the convolutions' own reach. The paper joins the inputs of one
    auto-encoder; here the features of both encoders meet at the levels where the other ways act,
    so that only the way differs.

    >>> Concatenation(channels=2)(torch.ones(1, 2, 4, 4), torch.zeros(1, 2, 4, 4)).shape
    torch.Size([1, 2, 4, 4])
    """

    def __init__(self, channels: int, n: int = 0, hidden: int = 0):
        super().__init__()
        _check(channels=channels)
        self.mix = nn.Conv2d(2 * channels, channels, 3, padding=1)

    def forward(self, source_features: Features, target_features: Features) -> Features:
        return self.mix(torch.cat([target_features, source_features], 1))

    def join(self, source_features: Features, target_features: Features) -> Joined:
        """Mix source and target of the same place."""
        return Joined(self(source_features, target_features), None, None, None)


def _check(**sizes: int) -> None:
    for name, value in sizes.items():
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a whole number, 1 or more, got {value!r}")


def _blend(target: Features, attended: Features, mask: Mask) -> Features:
    return (1 - mask) * target + mask * attended


def _positions(features: Features) -> Tensor:
    """x and y of every position, (B, 2, h, w)."""
    B, _, h, w = features.shape
    y, x = torch.meshgrid(
        torch.arange(h, device=features.device), torch.arange(w, device=features.device),
        indexing="ij",
    )  # fmt: skip
    return torch.stack([x, y]).to(features.dtype).expand(B, 2, h, w)


def _attend(query: Features, key: Features, values: Features) -> Features:
    """Scaled dot-product attention over positions.

    The fused kernels want queries, keys and values of one width, a multiple of eight: zeros fill
    it up, which change no product.
    """
    C, V = query.shape[1], values.shape[1]
    h, w = query.shape[2:]
    wide = 8 * math.ceil(max(C, V) / 8)
    rows = [
        F.pad(x.flatten(2).mT, (0, wide - x.shape[1]))[:, None]  # (B, 1, positions, wide)
        for x in (query, key, values)
    ]
    taken = F.scaled_dot_product_attention(*rows, scale=C**-0.5)
    return taken[:, 0, :, :V].mT.unflatten(2, (h, w))  # (B, V, h, w)


WAYS = {  # the paper's Full Model, Bi-Sample, Global-Attn, Baseline
    "full": LocalAttention,
    "bilinear": BilinearSampling,
    "global": GlobalAttention,
    "baseline": Concatenation,
}
