"""What Triton compiles: gather, scatter and slopes, written as plain functions until `load`.

Triton is an extra, and importing this room must not need it. So nothing is decorated here; `load`
imports Triton, lends this room its language as `tl`, and turns the functions into kernels.

A program takes a block of target positions (axis 0) of one picture (axis 1) and a block of channels
(axis 2; the slopes take all). Features are channels-last, so a tap is one row of memory; flow and
weights are read by the distance between two pictures, two planes and two positions. Patches and
their coefficients exist in registers alone.

    N      side of the kernel, 1 for a bilinear warp, with N + 1 integer taps on an axis
    TAPS   integer taps on an axis; FIRST is the offset of the first from the corner
    REACH  how far off the image a corner may lie; MARGIN is added to the corner
    sharp  1 / (2 sigma^2), of weights exp(-sharp (j - a)^2), normalised over the taps
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import triton.language as tl


@functools.cache
def load() -> Mapping[str, Callable]:
    """Give the four kernels by name, made by Triton on the first call.

    Returns:
        "gather", "scatter", "slopes" and "gaussian_slopes", to be launched as kernel[grid](...).

    Raises:
        ImportError: Triton is not installed; `gfla.kernels.available` says so without raising.
    """
    import triton
    import triton.language

    room = globals()
    room["tl"] = triton.language
    kernels = gather, scatter, slopes, gaussian_slopes
    inner = _place, _index, _gauss, _sum, _scale, _mixed, _coefficient, _held, _dot
    for function in (*inner, *kernels):
        room[function.__name__] = triton.jit(function)
    return MappingProxyType({kernel.__name__: room[kernel.__name__] for kernel in kernels})


def _place(
    flow, batch, plane, step, rows, columns, width, area,
    REACH: tl.constexpr, MARGIN: tl.constexpr, POSITIONS: tl.constexpr,
):  # fmt: skip
    """Split l + w(l) into integer corner and fraction as sampling does, for a block of l."""
    picture = tl.program_id(1).to(tl.int64)
    at = tl.program_id(0) * POSITIONS + tl.arange(0, POSITIONS)
    inside = at < area
    flow += picture * batch + at * step
    x = tl.load(flow, mask=inside, other=0.0) + (at % width).to(tl.float32)
    y = tl.load(flow + plane, mask=inside, other=0.0) + (at // width).to(tl.float32)
    left, top = tl.floor(x), tl.floor(y)
    a, b = x - left, y - top
    # Clamped as floats first: 1e30 has no integer. The margin comes after the floor, so that it
    # rounds no position across an integer.
    left = tl.minimum(tl.maximum(left, -REACH - MARGIN), columns - 1 + REACH - MARGIN)
    top = tl.minimum(tl.maximum(top, -REACH - MARGIN), rows - 1 + REACH - MARGIN)
    return picture, at, inside, left.to(tl.int32) + MARGIN, top.to(tl.int32) + MARGIN, a, b


def _index(left, top, i, j, rows, columns, channels, WIDE: tl.constexpr):
    """Say where the row of tap (i, j) from the corner begins, clamped to the image."""
    x = tl.minimum(tl.maximum(left + j, 0), columns - 1)
    y = tl.minimum(tl.maximum(top + i, 0), rows - 1)
    at = y * columns + x
    if WIDE:  # one picture's features have more than 2^31 numbers
        at = at.to(tl.int64)
    return at * channels


def _gauss(j, a, sharp):
    """Weight tap j; the nearest tap is 0 or 1 and weighs 1, so that none underflows to 0 / 0."""
    near = tl.minimum(a, 1.0 - a)
    return tl.exp((near * near - (j - a) * (j - a)) * sharp)


def _sum(a, sharp, TAPS: tl.constexpr, FIRST: tl.constexpr):
    """Give the sum of the Gaussian weights, and their mean offset from a."""
    total, first = a * 0.0, a * 0.0
    for j in tl.static_range(TAPS):
        weight = _gauss(j + FIRST, a, sharp)
        total += weight
        first += weight * (j + FIRST - a)
    return total, first / total


def _scale(
    scale, a, b, sharp, TAPS: tl.constexpr, FIRST: tl.constexpr, GAUSSIAN: tl.constexpr
):  # fmt: skip
    """Give what all coefficients of a position are to be multiplied with."""
    if GAUSSIAN:
        scale = scale / (_sum(a, sharp, TAPS, FIRST)[0] * _sum(b, sharp, TAPS, FIRST)[0])
    return scale


def _mixed(weights, plane, step, i, j, at, inside, b, N: tl.constexpr, WEIGHTED: tl.constexpr):
    """Mix kernel rows i and i - 1 by the fraction b, in column j; outside the kernel is zero."""
    if WEIGHTED:
        here = weights + (i * N + j) * plane + at * step
        low = tl.load(here, mask=inside & (i < N), other=0.0)
        high = tl.load(here - N * plane, mask=inside & (i > 0), other=0.0)
        mixed = (1.0 - b) * low + b * high
    else:
        mixed = tl.where(i < N, 1.0 - b, b)
    return mixed


def _coefficient(
    weights, plane, step, i, j, at, inside, a, b, before, sharp,
    N: tl.constexpr, FIRST: tl.constexpr, GAUSSIAN: tl.constexpr, WEIGHTED: tl.constexpr,
):  # fmt: skip
    """Give the coefficient of tap (i, j), and what column j + 1 must know of column j."""
    if GAUSSIAN:
        mixed = before
        coefficient = _gauss(i + FIRST, b, sharp) * _gauss(j + FIRST, a, sharp)
    else:
        mixed = before * 0.0
        if j < N:
            mixed = _mixed(weights, plane, step, i, j, at, inside, b, N, WEIGHTED)
        coefficient = (1.0 - a) * mixed + a * before
    return coefficient, mixed


def gather(
    source, flow, weights, out, flow_batch, flow_plane, flow_step, batch, plane, step,
    rows, columns, channels, width, area, scale, sharp,
    N: tl.constexpr, TAPS: tl.constexpr, FIRST: tl.constexpr, REACH: tl.constexpr,
    MARGIN: tl.constexpr, GAUSSIAN: tl.constexpr, WEIGHTED: tl.constexpr, WIDE: tl.constexpr,
    POSITIONS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """out(l) = scale sum_ij c_ij(l) source[top + i, left + j]."""
    picture, at, inside, left, top, a, b = _place(
        flow, flow_batch, flow_plane, flow_step, rows, columns, width, area,
        REACH, MARGIN, POSITIONS,
    )  # fmt: skip
    c = tl.program_id(2) * CHANNELS + tl.arange(0, CHANNELS)
    within = inside[:, None] & (c < channels)[None, :]
    weights += picture * batch
    source += picture * rows * columns * channels
    scale = _scale(scale, a, b, sharp, TAPS, FIRST, GAUSSIAN)
    total = tl.zeros((POSITIONS, CHANNELS), tl.float32)
    for i in range(TAPS):
        before = tl.zeros((POSITIONS,), tl.float32)
        for j in tl.static_range(TAPS):
            coefficient, before = _coefficient(
                weights, plane, step, i, j, at, inside, a, b, before, sharp,
                N, FIRST, GAUSSIAN, WEIGHTED,
            )  # fmt: skip
            index = _index(left, top, i + FIRST, j + FIRST, rows, columns, channels, WIDE)
            tap = tl.load(source + index[:, None] + c[None, :], mask=within, other=0.0)
            total += (coefficient * scale)[:, None] * tap.to(tl.float32)
    out += (picture * area + at)[:, None] * channels + c[None, :]
    tl.store(out, total.to(out.dtype.element_ty), mask=within)


def scatter(
    grad, flow, weights, d_source, flow_batch, flow_plane, flow_step, batch, plane, step,
    rows, columns, channels, width, area, scale, sharp,
    N: tl.constexpr, TAPS: tl.constexpr, FIRST: tl.constexpr, REACH: tl.constexpr,
    MARGIN: tl.constexpr, GAUSSIAN: tl.constexpr, WEIGHTED: tl.constexpr, WIDE: tl.constexpr,
    POSITIONS: tl.constexpr, CHANNELS: tl.constexpr, LANE: tl.constexpr,
):  # fmt: skip
    """d_source[top + i, left + j] += scale c_ij(l) grad(l): `gather` the other way, by atomics."""
    picture, at, inside, left, top, a, b = _place(
        flow, flow_batch, flow_plane, flow_step, rows, columns, width, area,
        REACH, MARGIN, POSITIONS,
    )  # fmt: skip
    c = tl.program_id(2) * CHANNELS + tl.arange(0, CHANNELS)
    c = tl.max_contiguous(c, LANE)  # else a thread takes more neighbours than one atomic can add
    within = inside[:, None] & (c < channels)[None, :]
    weights += picture * batch
    d_source += picture * rows * columns * channels
    grad += (picture * area + at)[:, None] * channels + c[None, :]
    g = tl.load(grad, mask=within, other=0.0).to(tl.float32)
    scale = _scale(scale, a, b, sharp, TAPS, FIRST, GAUSSIAN)
    for i in range(TAPS):
        before = tl.zeros((POSITIONS,), tl.float32)
        for j in tl.static_range(TAPS):
            coefficient, before = _coefficient(
                weights, plane, step, i, j, at, inside, a, b, before, sharp,
                N, FIRST, GAUSSIAN, WEIGHTED,
            )  # fmt: skip
            index = _index(left, top, i + FIRST, j + FIRST, rows, columns, channels, WIDE)
            tap = d_source + index[:, None] + c[None, :]
            tl.atomic_add(tap, (coefficient * scale)[:, None] * g, mask=within, sem="relaxed")


def _held(grad, inside, channels, WHOLE: tl.constexpr, CHANNELS: tl.constexpr):
    """Read the gradient of a block of positions if one block holds all channels, else zeros."""
    c = tl.arange(0, CHANNELS)[None, :]
    within = inside[:, None] & (c < channels) & WHOLE
    return tl.load(grad + c, mask=within, other=0.0).to(tl.float32)


def _dot(
    held, grad, source, index, inside, channels,
    WHOLE: tl.constexpr, POSITIONS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Give sum_c grad(l, c) tap(l, c), the derivative by the tap's coefficient."""
    c = tl.arange(0, CHANNELS)[None, :]
    if WHOLE:  # one block holds all channels: the gradient was read before
        tap = tl.load(source + index[:, None] + c, mask=inside & (c < channels), other=0.0)
        dot = tl.sum(held * tap.to(tl.float32), 1)
    else:
        dot = tl.zeros((POSITIONS,), tl.float32)
        for first in range(0, channels, CHANNELS):
            within = inside & (first + c < channels)
            tap = tl.load(source + index[:, None] + first + c, mask=within, other=0.0)
            g = tl.load(grad + first + c, mask=within, other=0.0)
            dot += tl.sum(g.to(tl.float32) * tap.to(tl.float32), 1)
    return dot


def slopes(
    grad, source, flow, weights, d_flow, d_weights, flow_batch, flow_plane, flow_step,
    batch, plane, step, rows, columns, channels, width, area, scale, sharp,
    N: tl.constexpr, TAPS: tl.constexpr, FIRST: tl.constexpr, REACH: tl.constexpr,
    MARGIN: tl.constexpr, GAUSSIAN: tl.constexpr, WEIGHTED: tl.constexpr, WIDE: tl.constexpr,
    POSITIONS: tl.constexpr, CHANNELS: tl.constexpr, WHOLE: tl.constexpr, SIDE: tl.constexpr,
):  # fmt: skip
    """d_flow and d_weights of `gather`, bilinear; SIDE is the power of two that holds N.

    With t_ij = <grad, tap ij>, s_ij = (1-a) t_ij + a t_i,j+1 and r_ij = t_i,j+1 - t_ij:

        d k_ij = (1-b) s_ij + b s_i+1,j
        d x = sum_ij k_ij ((1-b) r_ij + b r_i+1,j),   d y = sum_ij k_ij (s_i+1,j - s_ij)
    """
    picture, at, inside, left, top, a, b = _place(
        flow, flow_batch, flow_plane, flow_step, rows, columns, width, area,
        REACH, MARGIN, POSITIONS,
    )  # fmt: skip
    source += picture * rows * columns * channels
    grad += (picture * area + at)[:, None] * channels
    held = _held(grad, inside, channels, WHOLE, CHANNELS)
    tap = tl.arange(0, SIDE)[None, :]
    in_kernel = inside[:, None] & (tap < N)
    k = tl.where(in_kernel, 1.0, 0.0)
    x, y = a * 0.0, a * 0.0
    s_above, r_above = k * 0.0, k * 0.0
    for i in range(TAPS):
        s, r = k * 0.0, k * 0.0
        for j in tl.static_range(TAPS):
            index = _index(left, top, i + FIRST, j + FIRST, rows, columns, channels, WIDE)
            t = _dot(
                held, grad, source, index, inside[:, None], channels, WHOLE, POSITIONS, CHANNELS
            )[:, None]
            s += tl.where(tap == j, (1.0 - a)[:, None] * t, 0.0)
            s += tl.where(tap == j - 1, a[:, None] * t, 0.0)
            r += tl.where(tap == j - 1, t, 0.0) - tl.where(tap == j, t, 0.0)
        if i > 0:
            if WEIGHTED:
                here = picture * batch + ((i - 1) * N + tap) * plane + at[:, None] * step
                k = tl.load(weights + here, mask=in_kernel, other=0.0)
                d_k = (1.0 - b)[:, None] * s_above + b[:, None] * s
                tl.store(d_weights + here, d_k * scale, mask=in_kernel)
            x += tl.sum(k * ((1.0 - b)[:, None] * r_above + b[:, None] * r), 1)
            y += tl.sum(k * (s - s_above), 1)
        s_above, r_above = s, r
    d_flow += picture * 2 * area + at
    tl.store(d_flow, x * scale, mask=inside)
    tl.store(d_flow + area, y * scale, mask=inside)


def gaussian_slopes(
    grad, source, flow, weights, d_flow, d_weights, flow_batch, flow_plane, flow_step,
    batch, plane, step, rows, columns, channels, width, area, scale, sharp,
    N: tl.constexpr, TAPS: tl.constexpr, FIRST: tl.constexpr, REACH: tl.constexpr,
    MARGIN: tl.constexpr, GAUSSIAN: tl.constexpr, WEIGHTED: tl.constexpr, WIDE: tl.constexpr,
    POSITIONS: tl.constexpr, CHANNELS: tl.constexpr, WHOLE: tl.constexpr, SIDE: tl.constexpr,
):  # fmt: skip
    """d_flow of `gather`, Gaussian: d g_j / d a = 2 sharp g_j ((j - a) - mean of (j - a))."""
    picture, at, inside, left, top, a, b = _place(
        flow, flow_batch, flow_plane, flow_step, rows, columns, width, area,
        REACH, MARGIN, POSITIONS,
    )  # fmt: skip
    source += picture * rows * columns * channels
    grad += (picture * area + at)[:, None] * channels
    held = _held(grad, inside, channels, WHOLE, CHANNELS)
    total_x, mean_x = _sum(a, sharp, TAPS, FIRST)
    total_y, mean_y = _sum(b, sharp, TAPS, FIRST)
    x, y = a * 0.0, a * 0.0
    for i in range(TAPS):
        row, slope = a * 0.0, a * 0.0
        for j in tl.static_range(TAPS):
            index = _index(left, top, i + FIRST, j + FIRST, rows, columns, channels, WIDE)
            t = _dot(
                held, grad, source, index, inside[:, None], channels, WHOLE, POSITIONS, CHANNELS
            )
            t *= _gauss(j + FIRST, a, sharp)
            row += t
            slope += (j + FIRST - a - mean_x) * t
        weight = _gauss(i + FIRST, b, sharp)
        x += weight * slope
        y += weight * (i + FIRST - b - mean_y) * row
    scale = 2.0 * sharp / (total_x * total_y)
    d_flow += picture * 2 * area + at
    tl.store(d_flow, x * scale, mask=inside)
    tl.store(d_flow + area, y * scale, mask=inside)
