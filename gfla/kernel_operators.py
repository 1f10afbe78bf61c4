"""The kernels as custom operators of PyTorch: torch.ops.gfla.gather, scatter and slopes.

An operator is opaque to torch.compile, takes part in autograd, autocast and checkpointing like any
other, and tells by its fake form what it would return. It accepts any layout, reads features
channels-last (a copy is made of those that are not) and returns features channels-last.

One list of arguments serves three samplings: with weights (B, n^2, h, w) it is the attention, with
a size and a sigma the Gaussian warp, else the bilinear warp, shifted by a margin.
"""

import contextlib
import math

import torch
from torch import Tensor

from gfla import kernel_sources


@torch.library.custom_op("gfla::gather", mutates_args=())
def gather(
    source: Tensor, flow: Tensor, weights: Tensor | None, margin: int, size: int, sigma: float
) -> Tensor:
    """Sum the taps of the source around the positions where the flow points.

    Args:
        source: (B, C, H, W), float32, float16 or bfloat16.
        flow: (B, 2, h, w), float32, pixels.
        weights: (B, n^2, h, w), float32, or None.
        margin: pixels added to every position.
        size, sigma: of the Gaussian neighbourhood; size 0 for none.

    Returns:
        (B, C, h, w), of the source's type.
    """
    out = _like_gather(source, flow, weights, margin, size, sigma)
    source, flow, weights = _channels_last(source), _regular(flow), _dense(weights)
    told = plan("gather", source, flow, weights, margin, size, sigma)
    _launch("gather", (source, flow, source if weights is None else weights, out), told)
    return out


@torch.library.custom_op("gfla::scatter", mutates_args=())
def scatter(
    grad: Tensor, flow: Tensor, weights: Tensor | None, margin: int, size: int, sigma: float,
    rows: int, columns: int,
) -> Tensor:  # fmt: skip
    """Give the gradient of `gather` by its source, summed in float32 in no fixed order.

    Args:
        grad: (B, C, h, w), the gradient of the output.
        flow, weights, margin, size, sigma: as `gather`.
        rows, columns: H and W of the source.

    Returns:
        (B, C, H, W), of the gradient's type.
    """
    grad, flow, weights = _channels_last(grad), _regular(flow), _dense(weights)
    sums = _empty((*grad.shape[:2], rows, columns), grad.device, torch.float32).zero_()
    told = plan("scatter", sums, flow, weights, margin, size, sigma)
    _launch("scatter", (grad, flow, grad if weights is None else weights, sums), told)
    return sums.to(grad.dtype)


@torch.library.custom_op("gfla::slopes", mutates_args=())
def slopes(
    grad: Tensor, source: Tensor, flow: Tensor, weights: Tensor | None,
    margin: int, size: int, sigma: float,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Give the gradients of `gather` by its flow and weights.

    Args:
        grad: (B, C, h, w), the gradient of the output.
        source, flow, weights, margin, size, sigma: as `gather`.

    Returns:
        (B, 2, h, w) and (B, n^2, h, w), float32; the second lies in memory as the weights do, and
        is empty where there are none.
    """
    d_flow, d_weights = _like_slopes(grad, source, flow, weights, margin, size, sigma)
    grad, source = _channels_last(grad), _channels_last(source)
    flow, weights = _regular(flow), _dense(weights)
    name = "gaussian_slopes" if size else "slopes"
    told = plan(name, source, flow, weights, margin, size, sigma)
    held = source if weights is None else weights
    _launch(name, (grad, source, flow, held, d_flow, d_weights), told)
    return d_flow, d_weights


@gather.register_fake
def _like_gather(source, flow, weights, margin, size, sigma):
    return _empty((*source.shape[:2], *flow.shape[2:]), source.device, source.dtype)


@scatter.register_fake
def _like_scatter(grad, flow, weights, margin, size, sigma, rows, columns):
    return _empty((*grad.shape[:2], rows, columns), grad.device, grad.dtype)


@slopes.register_fake
def _like_slopes(grad, source, flow, weights, margin, size, sigma):
    d_weights = flow.new_empty(0) if weights is None else torch.empty_like(_dense(weights))
    return flow.new_empty(flow.shape), d_weights


def _remember(ctx, inputs, output):
    ctx.save_for_backward(*inputs[:3])
    ctx.form = inputs[3:]


def _backward(ctx, grad):
    source, flow, weights = ctx.saved_tensors
    d_source = d_flow = d_weights = None
    if ctx.needs_input_grad[0]:
        d_source = scatter(grad, flow, weights, *ctx.form, *source.shape[2:])
    if any(ctx.needs_input_grad[1:3]):
        d_flow, d_weights = slopes(grad, source, flow, weights, *ctx.form)
    return d_source, d_flow, None if weights is None else d_weights, None, None, None


def _no_backward(ctx, *grads):
    raise NotImplementedError(
        "the sampling kernels have no second derivative: take the gradient without create_graph"
    )


gather.register_autograd(_backward, setup_context=_remember)
scatter.register_autograd(_no_backward)
slopes.register_autograd(_no_backward)


def _empty(shape, device, dtype) -> Tensor:
    return torch.empty(shape, device=device, dtype=dtype, memory_format=torch.channels_last)


def _channels_last(features: Tensor) -> Tensor:
    return features.contiguous(memory_format=torch.channels_last)


def _regular(planes: Tensor) -> Tensor:
    """Copy planes whose positions do not lie at one distance from each other."""
    even = planes.stride(2) == planes.stride(3) * planes.shape[3]
    return planes if even or 1 in planes.shape[2:] else planes.contiguous()


def _dense(weights: Tensor | None) -> Tensor | None:
    """Copy weights that have gaps, so that their gradient can lie as they do."""
    if weights is None or weights.is_contiguous(memory_format=torch.channels_last):
        return weights
    return weights.contiguous()


def _distances(planes: Tensor) -> tuple[int, int, int]:
    """How far apart two pictures, two planes and two positions are in memory."""
    return planes.stride(0), planes.stride(1), planes.stride(3 if planes.shape[3] > 1 else 2)


def plan(
    name: str, source: Tensor, flow: Tensor, weights: Tensor | None,
    margin: int, size: int, sigma: float, hopper: bool | None = None,
) -> dict[str, int | float | bool]:  # fmt: skip
    """Give all that a kernel is told besides its tensors; names in capitals are compiled in.

    Args:
        name: of the kernel, as in `gfla.kernel_sources.load`.
        source: (B, C, H, W), whose shape alone counts.
        flow, weights, margin, size, sigma: as `gather`; shapes and strides count.
        hopper: whether the device is of compute capability 9 or more; None looks.
    """
    _, channels, rows, columns = source.shape
    height, width = flow.shape[2:]
    n = 1 if weights is None else math.isqrt(weights.shape[1])
    flow_batch, flow_plane, flow_step = _distances(flow)
    batch, plane, step = _distances(flow if weights is None else weights)
    told = {
        "flow_batch": flow_batch, "flow_plane": flow_plane, "flow_step": flow_step,
        "batch": batch, "plane": plane, "step": step,
        "rows": rows, "columns": columns, "channels": channels,
        "width": width, "area": height * width,
        "scale": 1 / n**2, "sharp": 0.5 / sigma**2 if size else 0.0,
        "N": n, "TAPS": size or n + 1, "FIRST": 1 - size // 2 if size else -(n // 2),
        "REACH": size or n, "MARGIN": margin, "GAUSSIAN": size > 0,
        "WEIGHTED": weights is not None, "WIDE": rows * columns * channels >= 2**31,
    }  # fmt: skip
    tile, most = 2048, 128  # numbers of a block, and channels at most
    if name == "scatter":
        # One atomic instruction adds four neighbours from Hopper on, before that one. A warp
        # then takes the channels of one position, so that its atomics fall into whole lines.
        if hopper is None:
            hopper = source.is_cuda and torch.cuda.get_device_capability(source.device) >= (9, 0)
        told["LANE"] = 4 if hopper else 1
        tile, most = 1024, 32 * told["LANE"]
    elif name != "gather":
        most = 256
        told |= {"WHOLE": channels <= most, "SIDE": _power_of_two(n)}
    block = min(_power_of_two(channels), most)
    return told | {"CHANNELS": block, "POSITIONS": min(tile // block, 64)}


def _power_of_two(number: int) -> int:
    return 1 << (number - 1).bit_length()


def _launch(name: str, tensors: tuple[Tensor, ...], told: dict[str, int | float | bool]) -> None:
    """Start a kernel on all blocks of positions, pictures and, but for slopes, channels."""
    first = tensors[0]
    blocks = 1 if "WHOLE" in told else -(-told["channels"] // told["CHANNELS"])
    grid = -(-told["area"] // told["POSITIONS"]), first.shape[0], blocks
    with torch.cuda.device_of(first) if first.is_cuda else contextlib.nullcontext():
        kernel_sources.load()[name][grid](*tensors, **told)
