"""How a code of the view enters F and G (docs/spec.md 4.5): "published", and our "canvas".

A view is a code of shape (B, 21, 1, 1), one-hot azimuth and one-hot elevation. It has no place in
the picture, and must be given one before a convolutional network can use it. There are two ways:

    "published"   the code, the same at every place. The next thing is an instance norm, and the
                  norm of a constant is zero: the main branch of the first block knows nothing of
                  the view, and only the shortcut, which has no norm, carries it on, as a colour
                  that is the same everywhere but at the border.
    "canvas"      a learned map for every code, with a place of its own for everything it says,
                  and no norm before it has met the picture; F is told the turn from one view to
                  the other as well. This cure is ours.

Both have the same entrances: what meets F's lowest features, what begins G's target features, and
what stands beside the source's picture in the two ways of the ablation that have no F.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from gfla.blocks import SLOPE, ResBlock, ResBlockDecoder, initialise, norm
from gfla.types import Features, View

ELEVATIONS = 3  # the last numbers of a code; all before them are azimuths, once round the circle


class Tile(nn.Module):
    """A code, the same at every place.

    Args: size (h, w).  Args of forward: code (B, K, 1, 1).  Returns (B, K, h, w).
    """

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size

    def forward(self, code: View) -> Features:
        return code.expand(-1, -1, *self.size)  # (B, K, h, w)


class Canvas(nn.Module):
    """A learned map for every code: the numbers of a code are mixed, then painted.

    Args: channels K of the code; out; size (h, w); hidden, numbers between the two layers.
    Args of forward: code (B, K, 1, 1).  Returns (B, out, h, w).

    >>> Canvas(21, 4, (2, 3))(torch.zeros(5, 21, 1, 1)).shape
    torch.Size([5, 4, 2, 3])
    """

    def __init__(self, channels: int, out: int, size: tuple[int, int], hidden: int = 128) -> None:
        super().__init__()
        self.mix = nn.Conv2d(channels, hidden, 1)
        self.paint = nn.ConvTranspose2d(hidden, out, size)

    def begin(self) -> None:
        """Maps of about one: a code has two to five ones, and no norm will lift what is small."""
        nn.init.normal_(self.mix.weight, std=0.5)
        nn.init.normal_(self.paint.weight, std=(2 / self.mix.out_channels) ** 0.5)

    def forward(self, code: View) -> Features:
        return self.paint(F.leaky_relu(self.mix(code), SLOPE))  # (B, out, h, w)


class TiledDifference(ResBlock):
    """F's lowest features meet the view as published: source code minus target code, tiled.

    Args: channels of the features; view_channels; out and size are the common call's, unused.
    Args of forward: features (B, channels, h, w), both views.  Returns (B, channels, h, w).
    """

    def __init__(self, channels: int, view_channels: int, out: int, size: tuple[int, int]) -> None:
        super().__init__(channels + view_channels, channels)

    def begin(self) -> None:
        """Begins like every other block."""

    def forward(self, features: Features, source_view: View, target_view: View) -> Features:
        code = (source_view - target_view).expand(-1, -1, *features.shape[2:])
        return super().forward(torch.cat([features, code], 1))


def turn(source_view: View, target_view: View) -> View:
    """How far the camera goes round from source to target: a one-hot azimuth of its own.

    turn(k) = Σ_i source(i) · target(i + k), round the circle

    Args: source_view, target_view (B, K, 1, 1), K − 3 azimuths, then 3 elevations.
    Returns (B, K − 3, 1, 1).

    >>> view = torch.eye(21)[..., None, None]  # the azimuths 0 to 17, then the elevations
    >>> turn(view[[17]], view[[1]]).argmax().item()
    2
    """
    source, target = (view[:, :-ELEVATIONS, 0, 0] for view in (source_view, target_view))
    steps = torch.arange(source.shape[1], device=source.device)
    after = target[:, (steps[:, None] + steps) % len(steps)]  # (B, azimuth, turn)
    return torch.einsum("bi,bik->bk", source, after)[..., None, None]


class CanvasOfBoth(nn.Module):
    """F's lowest features meet a canvas of both codes and their turn, in a block without norms.

    The flow depends on the turn first of all, which is a product of the two codes, and a network
    would have to learn its table before it could learn what to do about it. The features are
    normalised before, so that neither of the two drowns the other.

    Args: channels of the features; view_channels; out, channels of the canvas; size (h, w).
    Args of forward: features (B, channels, h, w), both views.  Returns (B, channels, h, w).
    """

    def __init__(self, channels: int, view_channels: int, out: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.norm = norm(channels)
        self.canvas = Canvas(3 * view_channels - ELEVATIONS, out, size)
        self.block = ResBlock(channels + out, channels, normalised=False)

    def begin(self) -> None:
        """A gain of 1, because no norm will lift what 0.02 makes small."""
        self.canvas.begin()
        initialise(self.block, gain=1.0)

    def forward(self, features: Features, source_view: View, target_view: View) -> Features:
        codes = [turn(source_view, target_view), source_view, target_view]
        canvas = self.canvas(torch.cat(codes, 1))
        return self.block(torch.cat([self.norm(features), canvas], 1))


class TiledStart(nn.ModuleDict):
    """f_t from the target's view as published: a tile of the code, doubled twice.

    Args: view_channels; base, width between the blocks; out; size (h, w) of the tile.
    """

    def __init__(self, view_channels: int, base: int, out: int, size: tuple[int, int]) -> None:
        super().__init__(
            {
                "tile": Tile(size),
                "first": ResBlockDecoder(view_channels, base),
                "second": ResBlockDecoder(base, out),
            }
        )

    def begin(self) -> None:
        """Begins like every other block."""


class CanvasStart(nn.ModuleDict):
    """f_t from a canvas of the target's view, doubled twice by blocks without norms.

    Args: view_channels; base, width of the canvas; out; size (h, w) of the canvas.
    """

    def __init__(self, view_channels: int, base: int, out: int, size: tuple[int, int]) -> None:
        super().__init__(
            {
                "canvas": Canvas(view_channels, base, size),
                "first": ResBlockDecoder(base, base, normalised=False),
                "second": ResBlockDecoder(base, out, normalised=False),
            }
        )

    def begin(self) -> None:
        """Gains that no norm lifts: at 0.2, f_t comes out about as loud as the encoder's features
        of the source, with which it is blended."""
        self["canvas"].begin()
        initialise(self["first"], gain=1.0)
        initialise(self["second"], gain=0.2)


class TiledBeside(Tile):
    """The source's view beside its picture, where no F knows it: a tile of the code.

    Args: view_channels; low, the common call's, unused; size (H, W).
    """

    def __init__(self, view_channels: int, low: tuple[int, int], size: tuple[int, int]) -> None:
        super().__init__(size)

    def begin(self) -> None:
        """It has nothing to begin with."""


class CanvasBeside(nn.Module):
    """The source's view beside its picture, where no F knows it: a canvas, enlarged.

    Args: view_channels; low (h, w) of the canvas; size (H, W).
    Args of forward: code (B, K, 1, 1).  Returns (B, K, H, W).
    """

    def __init__(self, view_channels: int, low: tuple[int, int], size: tuple[int, int]) -> None:
        super().__init__()
        self.canvas = Canvas(view_channels, view_channels, low)
        self.size = size

    def begin(self) -> None:
        """Begins as loud as the canvas does."""
        self.canvas.begin()

    def forward(self, code: View) -> Features:
        return F.interpolate(self.canvas(code), self.size, mode="bilinear")  # (B, K, H, W)


class Entrances(NamedTuple):
    """Where a code enters, by a class each."""

    meeting: type[nn.Module]  # F's lowest features
    start: type[nn.ModuleDict]  # f_t
    beside: type[nn.Module]  # the source's picture, in the ways that have no F


CODES = {
    "published": Entrances(TiledDifference, TiledStart, TiledBeside),
    "canvas": Entrances(CanvasOfBoth, CanvasStart, CanvasBeside),
}

# Our names → the published ones, beside those that all generators have (docs/spec.md section 10).
PUBLISHED = (
    ("flow.cat.", "flow_net.cat.model.0."),
    ("renderer.target_encoder.first.", "target.block0."),
    ("renderer.target_encoder.second.", "target.block1."),
)
