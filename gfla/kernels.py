"""The sampling of `gfla.sampling` as fused kernels, for a CUDA device, forward and backward.

One family: a weighted sum of integer taps around the position where the flow points. The
coefficients are computed in registers, from the fraction of the position and, for attention, from
the n^2 weights; the backward computes them again. Nothing of a patch's size is ever written. The
convention (clamped indices, right-hand derivative at integers, positions counted on the flow's
grid) is that of `gfla.sampling`, with which the tests compare.

The kernels (`gfla.kernel_sources`) are built by Triton when they are first used, so importing this
room needs none. As custom operators (`gfla.kernel_operators`) they can be compiled, checkpointed
and used under autocast. The gradient by the features is summed in float32 by atomic additions:
their order is not fixed, so that its last bits vary from run to run. Output and gradients by flow
and weights do not vary. There is no second derivative.
"""

import functools
import importlib.util
import math
import os
import shutil
import sys
from typing import NamedTuple

import torch
from torch import Tensor

from gfla.kernel_operators import gather
from gfla.types import Features, Flow

TYPES = torch.float32, torch.float16, torch.bfloat16
OLDEST = 7, 5  # compute capability: older ones are not tried


class Available(NamedTuple):
    """Whether the kernels can run, and the reason where they cannot."""

    ok: bool
    reason: str  # empty where they can


def available(device: torch.device | str | None = None) -> Available:
    """Say whether the kernels can run on a device; never raises, never prints.

    Args:
        device: where the tensors lie; None asks for the CUDA device if there is one, else the CPU.

    Returns:
        ok and reason. On a CPU they run under Triton's interpreter alone (TRITON_INTERPRET=1 in
        the environment before Triton is imported), which is slow, and there for tests.

    >>> available("meta")
    Available(ok=False, reason="the kernels run on a CUDA device, not on 'meta'")
    """
    reason = _obstacle(device)
    return Available(not reason, reason)


# What torch.compiler.assume_constant_result does, without importing the compiler to say it.
available._dynamo_marked_constant = True


def _obstacle(device: torch.device | str | None) -> str:
    try:
        device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError as error:
        return str(error)
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    if device.type not in ("cuda", "cpu"):
        return f"the kernels run on a CUDA device, not on {device.type!r}"
    if device.type == "cpu" and not interpreted:
        return "the kernels run on a CUDA device, not on 'cpu' (but for TRITON_INTERPRET=1)"
    if importlib.util.find_spec("triton") is None:
        return f"Triton is not installed: python -m pip install 'gfla[kernels]' ({sys.platform})"
    triton = sys.modules.get("triton")
    if interpreted and triton and isinstance(triton.language.cdiv, triton.JITFunction):
        return "Triton was imported before TRITON_INTERPRET=1 was set in the environment"
    return _shortcoming(device) if device.type == "cuda" else ""


def _shortcoming(device: torch.device) -> str:
    if not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count():
        return f"there is no CUDA device {device.index or 0}"
    found = torch.cuda.get_device_capability(device)
    if found < OLDEST:
        return f"the CUDA device is of compute capability {found}, and {OLDEST} is the least"
    return _without_compiler(os.environ.get("CC"), os.environ.get("PATH"))


@functools.cache  # backend "auto" asks at every call
def _without_compiler(named: str | None, path: str | None) -> str:
    """Why Triton could not build what starts a kernel: it looks for a C compiler as here."""
    if named is not None and shutil.which(named, path=path) is None:
        return f"Triton needs a C compiler, and CC={named!r} in the environment is none"
    if named is None and not any(shutil.which(name, path=path) for name in ("gcc", "clang")):
        return "Triton needs a C compiler: install gcc or clang, or name one in CC"
    return ""


def warp(features: Features, flow: Flow, margin: int = 0) -> Features:
    r"""Read the features bilinearly where the flow points, as `gfla.sampling.warp`.

        out(l) = f(l + w(l) + margin), clamped at the border of f

    Args:
        features: f, (B, C, H, W), float32, float16 or bfloat16.
        flow: w, (B, 2, h, w), pixels, finite, of the same types.
        margin: pixels that f has before the picture's first, on both axes, 0 or more.

    Returns:
        (B, C, h, w), of the features' type, channels-last.

    Raises:
        TypeError: another type, float64 too: backend "fast" takes it.
        RuntimeError: the kernels cannot run there, with the reason.
    """
    return _sample(features, flow, None, margin, 0, 0.0)


def attend(source_features: Features, flow: Flow, weights: Tensor) -> Features:
    r"""Sum the source patch where the flow points, weighted, without making the patch.

        out(l) = 1/n^2 sum_i k_l(i) f_s(l + w(l) + o_i)

    Args:
        source_features: f_s, (B, C, H, W), float32, float16 or bfloat16.
        flow: w, (B, 2, h, w), pixels, finite, of the same types.
        weights: k, (B, n^2, h, w), of the same types, row by row of the patch.

    Returns:
        (B, C, h, w), of the source's type, channels-last.

    Raises:
        TypeError, RuntimeError: as `warp`.
        ValueError: weights that are not n^2 planes of the flow's size.
    """
    n = math.isqrt(weights.shape[1])
    if n * n != weights.shape[1] or weights.shape[2:] != flow.shape[2:]:
        raise ValueError(
            f"weights must be (B, n^2, {', '.join(map(str, flow.shape[2:]))}), of the flow's size,"
            f" got {tuple(weights.shape)}"
        )
    return _sample(source_features, flow, weights, 0, 0, 0.0)


def gaussian_warp(features: Features, flow: Flow, size: int, sigma: float) -> Features:
    r"""Read a Gaussian neighbourhood where the flow points, as `gfla.sampling.gaussian_warp`.

    Args:
        features: f, (B, C, H, W), float32, float16 or bfloat16.
        flow: w, (B, 2, h, w), pixels, finite, of the same types.
        size: side of the neighbourhood, even, 2 or more.
        sigma: standard deviation in pixels, positive.

    Returns:
        (B, C, h, w), of the features' type, channels-last.

    Raises:
        TypeError, RuntimeError: as `warp`.
        ValueError: an odd size or a sigma that is not positive.
    """
    if size < 2 or size % 2 or not sigma > 0:
        raise ValueError(f"size must be even and sigma positive, got {size!r} and {sigma!r}")
    return _sample(features, flow, None, 0, size, float(sigma))


def _sample(features, flow, weights, margin, size, sigma):
    for name, value in ("features", features), ("flow", flow), ("weights", weights):
        if value is not None and value.dtype not in TYPES:
            raise TypeError(
                f"{name} must be float32, float16 or bfloat16 for the kernels, got {value.dtype}:"
                " convert it, or use backend 'fast'"
            )
    if not torch.compiler.is_compiling() and (reason := _obstacle(features.device)):
        raise RuntimeError(f"backend 'triton' cannot run: {reason}; use 'auto' or 'fast'")
    # Laid out here rather than in the operator: the backward reads the same copy.
    features = features.contiguous(memory_format=torch.channels_last)
    weights = None if weights is None else weights.float()
    return gather(features, flow.float(), weights, margin, size, sigma)
