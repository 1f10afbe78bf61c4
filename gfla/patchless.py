"""Local attention without its patches: convolve, then warp; spread the kernel, then gather.

Everything before the kernel net's LeakyReLU and everything after its softmax is linear in the
source, and all n^2 taps of a patch share one fraction. So the source half of the first layer is an
ordinary convolution of the source, which is warped afterwards, and the weighted patch is a sum
over (n+1)^2 integer taps. `gfla.sampling.local_attention` is the door to all this.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from gfla import kernels
from gfla.taps import bilinear, channels_last, gather, locate, precise, spread
from gfla.types import Features, Flow

STRIP = 2**14  # positions at a time where no gradient is wanted: what they need fits into caches


class Prepared(NamedTuple):
    """A source, and what local attention computes of it before it knows target and flow."""

    features: Features  # f_s, (B, C, H, W)
    convolved: Tensor | None  # (B, hidden, H+n-1, W+n-1), beginning n-1-n//2 before the first pixel


def prepare(source_features: Features, weight: Tensor) -> Prepared:
    """Convolve the source with its half of the kernel net's first layer.

        convolved(p) = sum_i W_s[i] f_s(p + o_i),   p from -(n-1-n//2) to H-1 + n//2

    These are all positions where some tap is inside the image. Beyond, all taps are equal along
    that axis, so that a sampling position may be clamped to them.

    Args:
        source_features: f_s, (B, C, H, W).
        weight: W_s, (hidden, C, n, n), the second half of that layer's input channels.

    Returns:
        Prepared, in channels-last memory format.

    >>> row = torch.tensor([[[[1.0, 2.0, 4.0]]]])
    >>> prepare(row, torch.ones(1, 1, 3, 3)).convolved[0, 0, 2]  # three equal rows
    tensor([ 9., 12., 21., 30., 36.])
    """
    source, n = channels_last(source_features), weight.shape[-1]
    B, _, H, W = source.shape

    def convolve(top: int, bottom: int) -> tuple[Tensor]:
        return (F.conv2d(_padded(source, top - n + 1, bottom, (n - 1, n - 1)), weight),)

    step = _step(B * (W + n - 1), H + n - 1, source, weight)
    return Prepared(source, *_in_strips(convolve, H + n - 1, step))


def attend(
    known: Prepared,
    target: Features,
    flow: Flow,
    layers: Sequence[Tensor],
    n: int,
    read: Callable[[Prepared, Flow, int], "_Stock | _Fused"],
) -> tuple[Features, Tensor]:
    """The values of `gfla.sampling.local_attention`, whose arguments these are.

    Args:
        known: the source; where it is not convolved yet, that is done first.
        target, flow, n: as there.
        layers: weight1, bias1, weight2, bias2.
        read: what takes from the source, `STOCK` or `FUSED`.

    Returns:
        attended (B, C, h, w) and the kernels (B, n^2, h, w), channels-last.
    """
    weight1, bias1, weight2, bias2 = layers
    weight_t, weight_s = weight1.chunk(2, 1)  # the original concatenates the target first
    if known.convolved is None:
        known = prepare(known.features, weight_s)
    reader = read(known, flow, n)
    low, high = n // 2, n - 1 - n // 2  # how far a patch reaches back and on

    def work(top: int, bottom: int) -> tuple[Tensor, Tensor]:
        here = _padded(target, top - low, bottom + high, (low, high))
        hidden = F.conv2d(here, weight_t, bias1)  # (B, hidden, rows, w)
        hidden += reader.warped(top, bottom)
        hidden = F.leaky_relu_(hidden, 0.1).permute(0, 2, 3, 1)  # (B, rows, w, hidden)
        logits = F.linear(hidden, weight2.flatten(1), bias2)  # (B, rows, w, n n)
        weights = logits.to(precise(flow)).softmax(-1)
        return reader.summed(weights, top, bottom), weights.permute(0, 3, 1, 2)

    B, _, h, w = target.shape
    return _in_strips(work, h, _step(B * w, h, *known, target, flow, *layers))


class _Stock:
    """Reads the source by `gfla.taps.gather`, on any device."""

    def __init__(self, known: Prepared, flow: Flow, n: int):
        self.known, self.n = known, n
        self.cell = locate(flow, known.features, reach=n)

    def warped(self, top: int, bottom: int) -> Tensor:
        """What the source half of the first layer says, (B, hidden, rows, w)."""
        cell, margin = self._rows(top, bottom), self.n - 1 - self.n // 2
        there = cell._replace(left=cell.left + margin, top=cell.top + margin)
        return gather(self.known.convolved, there, 0, bilinear(cell))

    def summed(self, weights: Tensor, top: int, bottom: int) -> Features:
        """The patches weighted by (B, rows, w, n n), summed and divided by n^2."""
        cell, n = self._rows(top, bottom), self.n
        taps = spread(weights.unflatten(-1, (n, n)) / n**2, cell)  # (B, rows, w, n+1, n+1)
        return gather(self.known.features, cell, -(n // 2), taps)

    def _rows(self, top: int, bottom: int):
        return type(self.cell)(*(part[:, top:bottom] for part in self.cell))


class _Fused:
    """Reads the source by `gfla.kernels`, which need no table of taps; never in strips."""

    def __init__(self, known: Prepared, flow: Flow, n: int):
        self.known, self.flow, self.n = known, flow, n

    def warped(self, top: int, bottom: int) -> Tensor:
        return kernels.warp(self.known.convolved, self.flow, margin=self.n - 1 - self.n // 2)

    def summed(self, weights: Tensor, top: int, bottom: int) -> Features:
        return kernels.attend(self.known.features, self.flow, weights.permute(0, 3, 1, 2))


STOCK, FUSED = _Stock, _Fused


def _padded(features: Features, first: int, last: int, sides: tuple[int, int]) -> Features:
    """Rows first ... last - 1 of the features continued beyond their border, and their sides."""
    H = features.shape[2]
    inside = channels_last(features[:, :, max(first, 0) : min(last, H)])
    return F.pad(inside, (*sides, max(-first, 0), max(last - H, 0)), mode="replicate")


def _step(positions: int, height: int, *tensors: Tensor) -> int:
    """How many rows of so many positions to work on at a time; all, where autograd watches.

    The gradient of a strip by the source is as large as the source: strips would not save there.
    """
    watched = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    if watched or torch.compiler.is_compiling() or tensors[0].device.type != "cpu":
        return height
    return max(1, STRIP // positions)


def _in_strips(
    work: Callable[[int, int], Sequence[Tensor]], height: int, step: int
) -> Sequence[Tensor]:
    """What work(0, height) gives, (B, C, height, w) each, from work(top, bottom) of few rows."""
    if step >= height:
        return work(0, height)
    whole: list[Tensor] = []
    for top in range(0, height, step):
        parts = work(top, min(top + step, height))
        if not whole:
            shapes = [(part.shape[0], height, part.shape[3], part.shape[1]) for part in parts]
            made = zip(parts, shapes, strict=True)
            whole = [part.new_empty(shape).permute(0, 3, 1, 2) for part, shape in made]
        for all_rows, part in zip(whole, parts, strict=True):
            all_rows[:, :, top : top + step] = part
    return whole
