"""Weighted sums of integer taps: the one operation that everything which samples is made of.

A position is split into an integer corner and a fraction (`locate`); coefficients come from the
fraction; `gather` reads T x T taps from the corner on and adds them up. No tap is ever stored,
forward or backward. `gfla.sampling` is the door to all this.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from gfla.types import Features, Flow


class Cell(NamedTuple):
    """Where each target pixel reads: the integer corner and the fraction beyond it."""

    left: Tensor  # (B, h, w) int32, floor of x, kept within reach of the image
    top: Tensor  # (B, h, w) int32, floor of y
    ax: Tensor  # (B, h, w) in [0, 1), x - floor(x), carries the gradient
    ay: Tensor  # (B, h, w) in [0, 1), y - floor(y)


def locate(flow: Flow, source: Features, reach: int) -> Cell:
    """Split l + w(l) into integer corner and fraction; corners stop at `reach` off the image."""
    flow = flow.to(precise(flow))
    height, width = source.shape[-2:]
    h, w = flow.shape[-2:]
    dx, dy = flow.unbind(1)
    x = dx + torch.arange(w, dtype=flow.dtype, device=flow.device)
    y = dy + torch.arange(h, dtype=flow.dtype, device=flow.device)[:, None]
    left, top = x.detach().floor(), y.detach().floor()
    return Cell(  # clamped as floats first: 1e30 has no integer
        left.clamp(-reach, width - 1 + reach).int(),
        top.clamp(-reach, height - 1 + reach).int(),
        x - left,
        y - top,
    )


def precise(flow: Flow) -> torch.dtype:
    """The type for positions, fractions and softmax: bfloat16 would turn 57.3 into 57.25."""
    return torch.promote_types(flow.dtype, torch.float32)


def bilinear(cell: Cell) -> Tensor:
    """The weights of the four pixels around each position, (B, h, w, 2, 2)."""
    y, x = torch.stack((1 - cell.ay, cell.ay), -1), torch.stack((1 - cell.ax, cell.ax), -1)
    return outer(y, x)


def outer(y: Tensor, x: Tensor) -> Tensor:
    """Separable weights: (B, h, w, T) of rows and of columns to (B, h, w, T, T)."""
    return y[..., :, None] * x[..., None, :]


def spread(kernel: Tensor, cell: Cell) -> Tensor:
    """Convolve n x n kernels with the 2 x 2 bilinear weights, (B, h, w, n+1, n+1).

    On either axis (k-, k0, k+) with fraction a becomes
    ((1-a) k-, a k- + (1-a) k0, a k0 + (1-a) k+, a k+).
    """
    ax, ay = cell.ax[..., None, None], cell.ay[..., None, None]
    kernel = F.pad(kernel * (1 - ax), (0, 1)) + F.pad(kernel * ax, (1, 0))  # (B, h, w, n, n+1)
    return F.pad(kernel * (1 - ay), (0, 0, 0, 1)) + F.pad(kernel * ay, (0, 0, 1, 0))


def channels_last(features: Features) -> Features:
    """The same features in channels-last memory format, where a position's channels lie together.

    They are copied at most once, and their gradient goes back in whatever format it comes in.
    """
    if features.is_contiguous(memory_format=torch.channels_last):
        return features
    if _plain(features):
        return features.contiguous(memory_format=torch.channels_last)
    return _ChannelsLast.apply(features)


def gather(
    features: Features,
    cell: Cell,
    first: int,
    coefficients: Tensor,
    bag: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None,
) -> Features:
    """Sum coefficients (B, h, w, T, T) times the T x T taps that begin at corner + first.

    The features are read as a channels-last table; in that memory format they are not copied,
    and the result (B, C, h, w), of the features' type, has it in any case. `bag` is what adds up:
    what is best for the device, or, for a form to compare with, `stock_bag`.
    """
    B, _, H, W = features.shape
    taps = coefficients.shape[-1]
    dtype = torch.promote_types(features.dtype, coefficients.dtype)
    steps = torch.arange(first, first + taps, dtype=torch.int32, device=features.device)
    columns = (cell.left[..., None] + steps).clamp(0, W - 1)  # (B, h, w, T)
    rows = (cell.top[..., None] + steps).clamp(0, H - 1)  # (B, h, w, T)
    batch = torch.arange(B, dtype=torch.int32, device=features.device)
    rows = (rows + batch.view(-1, 1, 1, 1) * H) * W
    index = (rows[..., :, None] + columns[..., None, :]).flatten(3).contiguous()  # (B, h, w, T T)
    bag = bag or (_bag if _plain(features) else _Bag.apply)
    out = bag(features.to(dtype), coefficients.flatten(3).to(dtype), index)  # (B, C, h, w)
    return out.to(features.dtype)


def _plain(features: Tensor) -> bool:
    """Whether PyTorch's own autograd serves best: a compiler knows it, and so do other devices."""
    return torch.compiler.is_compiling() or features.device.type != "cpu"


def stock_bag(features: Tensor, coefficients: Tensor, index: Tensor) -> Tensor:
    """One stock operation and its stock backward, on the features as they lie: nothing is tuned."""
    B, h, w, taps = index.shape
    table = features.permute(0, 2, 3, 1).reshape(-1, features.shape[1])
    given = index.view(-1, taps), table
    weights = coefficients.reshape(-1, taps)
    return _pictures(F.embedding_bag(*given, mode="sum", per_sample_weights=weights), B, h, w)


def _bag(features: Tensor, coefficients: Tensor, index: Tensor) -> Tensor:
    """out[b, :, y, x] is the sum over t of coefficients[b, y, x, t] * rows[index[b, y, x, t]]."""
    B, h, w, taps = index.shape
    out = F.embedding_bag(
        index.view(-1, taps),
        _rows(features),
        mode="sum",
        per_sample_weights=coefficients.reshape(-1, taps),
    )  # (B h w, C)
    return _pictures(out, B, h, w)


class _Bag(torch.autograd.Function):
    """`_bag` with a backward of its own: the same numbers, several times faster on a CPU.

    By the features it is a bag again: which positions read a row is known once the indices are
    sorted. Stock PyTorch sorts as well, but wide integers, and then adds row by row.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor, coefficients: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(features, coefficients, index)
        return _bag(features.detach(), coefficients.detach(), index)  # keeps less if nobody asks

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        if torch.is_grad_enabled():  # once_differentiable would let it pass where grad is constant
            raise RuntimeError("sampling has no second derivative: leave out create_graph=True")
        features, coefficients, index = ctx.saved_tensors
        rows, (B, _, H, W) = _rows(grad), features.shape
        by_features = by_coefficients = None
        if ctx.needs_input_grad[0]:
            by_features = _pictures(_scatter(rows, coefficients, index, B * H * W), B, H, W)
        if ctx.needs_input_grad[1]:
            places, taps = len(rows), index.shape[-1]
            by_coefficients = torch.ops.aten._embedding_bag_per_sample_weights_backward(
                rows,
                _rows(features),
                index.view(-1),
                torch.arange(0, places * taps, taps, dtype=index.dtype),  # where each bag begins
                torch.arange(places, dtype=index.dtype).repeat_interleave(taps),  # bag of each tap
                0,  # mode "sum"
            ).view_as(coefficients)
        return by_features, by_coefficients, None


class _ChannelsLast(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:
        B, _, H, W = features.shape
        return _pictures(_rows(features), B, H, W)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad


def _scatter(grad: Tensor, coefficients: Tensor, index: Tensor, rows: int) -> Tensor:
    """Row r of the result is the sum of coefficients[l, t] * grad[l] over all index[l, t] = r."""
    order, taps = index.view(-1).sort(stable=True)
    readers = taps.int().div(index.shape[-1], rounding_mode="floor")
    begins = torch.searchsorted(order, torch.arange(rows, dtype=index.dtype), out_int32=True)
    weights = coefficients.reshape(-1).index_select(0, taps)
    return F.embedding_bag(readers, grad, begins, mode="sum", per_sample_weights=weights)


def _rows(features: Tensor) -> Tensor:
    """(B, C, H, W) as a table (B H W, C): a view of what is channels-last, a copy of the rest."""
    lying = features.permute(0, 2, 3, 1)  # (B, H, W, C)
    if _plain(features) or lying.is_contiguous():
        return lying.reshape(-1, lying.shape[-1]).contiguous()  # of one picture it may be a view
    table = features.new_empty(lying.shape).flatten(1, 2)  # (B, H W, C)
    for rows, picture in zip(table, features.flatten(2), strict=True):
        rows.copy_(picture.t())  # a plain transposition, three times faster than all in one copy
    return table.flatten(0, 1)


def _pictures(rows: Tensor, B: int, H: int, W: int) -> Tensor:
    """A table (B H W, C) seen as (B, C, H, W) in channels-last memory format."""
    return rows.view(B, H, W, -1).permute(0, 3, 1, 2)
