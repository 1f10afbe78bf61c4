"""Two views of one picture whose correspondence is known because we made it.

What can be had without any truth: bend a picture by a flow of our own and change its colours, and
every position of the bent one comes from a known position of the first. Only the picture itself is
read. What this cannot teach is what it cannot show: limbs that move across each other, and a side
of the body that was hidden.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from gfla.sampling import warp
from gfla.types import Flow, Image, Mask

SCALE = 0.25  # natural logarithm of the largest change of size
TURN = 0.35  # largest rotation, radians
SHEAR = 0.2  # largest shear
SHIFT = 0.1  # largest shift, as a share of the side
BEND = 0.05  # deviation of the smooth part of the flow, as a share of the side
KNOTS = 5  # the smooth part is bicubic between KNOTS x KNOTS random vectors
BRIGHTNESS, CONTRAST, TINT, NOISE = 0.1, 0.2, 0.1, 0.03  # of the change of colours


def bends(count: int, size: tuple[int, int], random: torch.Generator) -> Flow:
    """Random flows: an affine map about the centre, and a smooth bend on top.

        w(l) = (A − 1)(l − c) + s + b(l),   A = e^k · rotation · shear

    Args:
        count: number of flows B.
        size: (H, W) in pixels.
        random: where the numbers come from, on the CPU.

    Returns:
        (B, 2, H, W), pixels. A scale below 1 crops and enlarges, one above 1 shrinks. Nothing is
        mirrored: an encoder must tell a left arm from a right one.
    """
    height, width = size

    def uniform(most: float, *shape: int) -> Tensor:
        return (2 * torch.rand(count, *shape, generator=random) - 1) * most

    scale, turn, shear = uniform(SCALE).exp(), uniform(TURN), uniform(SHEAR)
    cos, sin = scale * turn.cos(), scale * turn.sin()
    ones = torch.eye(2)
    matrix = torch.stack((cos, shear * cos - sin, sin, shear * sin + cos), 1).view(-1, 2, 2) - ones
    x = torch.arange(width) - (width - 1) / 2
    y = torch.arange(height) - (height - 1) / 2
    place = torch.stack((x.expand(height, -1), y[:, None].expand(-1, width)))  # (2, H, W)
    side = torch.tensor([width, height]).view(2, 1, 1)
    knots = BEND * torch.randn(count, 2, KNOTS, KNOTS, generator=random)
    bend = F.interpolate(knots, size=size, mode="bicubic", align_corners=True)
    flow = torch.einsum("bij,jhw->bihw", matrix, place)
    return flow + (uniform(SHIFT, 2, 1, 1) + bend) * side


def recolour(image: Image, random: torch.Generator) -> Image:
    """Change brightness, contrast, the strength of each colour, and add noise.

    Args:
        image: (B, 3, H, W) in [−1, 1].
        random: where the numbers come from, on the CPU.

    Returns:
        (B, 3, H, W), clamped to [−1, 1].
    """

    def uniform(most: float, channels: int = 1) -> Tensor:
        return (2 * torch.rand(len(image), channels, 1, 1, generator=random) - 1) * most

    gain = (1 + uniform(CONTRAST)) * (1 + uniform(TINT, 3))
    noise = NOISE * torch.randn(image.shape, generator=random)
    return (image * gain + uniform(BRIGHTNESS) + noise).clamp(-1, 1)


def busy(image: Image, share: float = 1 / 3) -> Mask:
    """Where a picture has something to tell: the given share of its pixels with most contrast.

    Args:
        image: (B, 3, H, W).
        share: of the pixels of each picture, 0 … 1.

    Returns:
        (B, 1, H, W), 0 or 1. Contrast is the spread of the colours in the 5 x 5 pixels around.

    >>> image = torch.zeros(1, 3, 16, 16)
    >>> image[..., 8:, :] = 1.0
    >>> busy(image, share=0.25)[0, 0, :, 0].tolist()[5:11]
    [0.0, 1.0, 1.0, 1.0, 1.0, 0.0]
    """
    mean = F.avg_pool2d(image, 5, 1, 2, count_include_pad=False)
    square = F.avg_pool2d(image**2, 5, 1, 2, count_include_pad=False)
    contrast = (square - mean**2).sum(1, keepdim=True)  # (B, 1, H, W)
    count = max(1, math.ceil(share * contrast[0].numel()))
    least = contrast.flatten(1).topk(count, dim=1).values[:, -1]
    return (contrast >= least.view(-1, 1, 1, 1)).float()


def twins(image: Image, seed: int) -> dict[str, Tensor]:
    """A picture, and the same picture bent, both in colours of their own.

    Args:
        image: (B, 3, H, W) in [−1, 1], on the CPU.
        seed: of the random numbers; the same seed gives the same twins.

    Returns:
        source (B, 3, H, W), the picture recoloured; target, the picture bent and recoloured; flow
        (B, 2, H, W) target to source in pixels; inside (B, 1, H, W), 1 where the flow stays in the
        picture; busy (B, 1, H, W), of the target before it was recoloured.

    >>> pair = twins(torch.rand(1, 3, 32, 32), seed=0)
    >>> sorted(pair)
    ['busy', 'flow', 'inside', 'source', 'target']
    """
    random = torch.Generator().manual_seed(seed)
    height, width = image.shape[2:]
    flow = bends(len(image), (height, width), random)
    x = flow[:, :1] + torch.arange(width)
    y = flow[:, 1:] + torch.arange(height)[:, None]
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    bent = warp(image, flow)
    return {
        "source": recolour(image, random),
        "target": recolour(bent, random),
        "flow": flow,
        "inside": inside.float(),
        "busy": busy(bent),
    }
