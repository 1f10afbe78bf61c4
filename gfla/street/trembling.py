r"""Clips whose unsteadiness is known before it is measured, for notebook 06.

Every toy is a truth, a clip that errs in one way, and what flicker, jitter and warping error must
be, by hand. Nothing is learned here.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from gfla.scores import temporal

SHARE = 0.5  # of the frame before, in the toy with a memory
_BEGIN = 30  # frames that a memory is given to forget how it began


class Toy(NamedTuple):
    """A clip that errs, and by how much it must."""

    frames: Tensor  # (1, T, 3, H, W)
    truth: Tensor  # (1, T, 3, H, W)
    flow: Tensor  # (1, T, 2, H, W) to the frame before, pixels
    visible: Tensor  # (1, T, 1, H, W)
    flicker: float  # what the three have to be
    jitter: float
    warp_error: float


def toys(
    sigma: float = 0.1, blink: float = 0.4, fade: float = 0.05, frames: int = 8, side: int = 96,
    seed: int = 0,
) -> dict[str, Toy]:  # fmt: skip
    r"""The toys, by name.

        truth         the truth itself                                 0, 0
        other shirt   brighter by `blink` throughout                   0, 0
        noise         σ ε, new in every frame                          σ/√π, √(3/π) σ
        half memory   x_t = ½ x_{t−1} + ½ y_t of such noise y          σ/√(6π), √(5/12π) σ
        blink         one frame brighter by b                          b/(T−1), 2b/(T−2)
        fade          brighter by g from frame to frame                g/2, 0
        frozen        the first frame of a ramp that moves on          g/2, 0

    flicker and jitter; the warping error is the flicker, because the truth has none. In `noise`,
    what follows each other differs by a normal number of variance 2σ², and the mean of |·| is
    √(2/π) of its deviation; the second difference has 6σ². With a memory these are σ²/3 and 5σ²/6.

    Args:
        sigma: deviation of the noise; values are in [−1, 1].
        blink: of one frame.
        fade: of one step in time, and of one pixel of the ramp (at most 32 of them).
        frames: T, 5 or more.
        side: H and W.
        seed: of the noise.

    Returns:
        name -> Toy.
    """
    generator = torch.Generator().manual_seed(seed)

    def shape(values: Tensor) -> Tensor:  # (T,) -> a clip as bright as that
        return values.view(1, -1, 1, 1, 1).expand(1, frames, 3, side, side)

    truth, still = shape(torch.zeros(frames)), torch.zeros(1, frames, 2, side, side)
    visible = torch.ones(1, frames, 1, side, side)
    new = sigma * torch.randn(1, _BEGIN + frames, 3, side, side, generator=generator)
    kept = [new[:, 0]]
    for one in new[:, 1:].unbind(1):
        kept.append(SHARE * kept[-1] + (1 - SHARE) * one)
    one = (torch.arange(frames) == frames // 2) * blink
    steps = fade * torch.arange(frames)
    errs = {
        "truth": (truth, 0.0, 0.0),
        "other shirt": (truth + blink, 0.0, 0.0),
        "noise": (new[:, _BEGIN:], sigma / math.sqrt(math.pi), sigma * math.sqrt(3 / math.pi)),
        "half memory": (
            torch.stack(kept[_BEGIN:], 1),
            sigma / math.sqrt(6 * math.pi), sigma * math.sqrt(5 / 12 / math.pi),
        ),
        "blink": (shape(one), blink / (frames - 1), 2 * blink / (frames - 2)),
        "fade": (shape(steps), fade / 2, 0.0),
    }  # fmt: skip
    made = {
        name: Toy(clip.clamp(-1, 1), truth, still, visible, flickers, jitters, flickers)
        for name, (clip, flickers, jitters) in errs.items()
    }
    return made | {"frozen": _frozen(frames, side, fade)}


def measured(toy: Toy) -> dict[str, float]:
    """What the metrics say of a toy: flicker, jitter, warp_error."""
    flow = toy.flow, toy.visible
    return {
        "flicker": temporal.flicker(toy.frames, toy.truth, *flow),
        "jitter": temporal.jitter(toy.frames, toy.truth),
        "warp_error": temporal.warp_error(toy.frames, *flow),
    }


def _frozen(frames: int, side: int, slope: float) -> Toy:
    """A ramp that goes one pixel to the right in every frame, and a clip that stays behind."""
    column = torch.arange(float(side))
    moved = column - torch.arange(float(frames))[:, None]  # (T, W)
    ramp = (slope * (moved % 32 - 16)).view(1, frames, 1, 1, side)
    truth = ramp.expand(1, frames, 3, side, side)
    flow = torch.zeros(1, frames, 2, side, side)
    flow[:, :, 0] = -1.0  # what is at l was at l − 1
    # neither the first column, which comes from outside, nor where the saw-tooth falls: there the
    # clip that stays jumps by all its teeth
    falls = (column % 32 == 0).expand(1, frames, 1, side, side)
    return Toy(truth[:, :1].expand_as(truth), truth, flow, (~falls).float(), slope / 2, 0.0,
               slope / 2)  # fmt: skip
