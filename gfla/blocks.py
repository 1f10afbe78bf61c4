"""The building blocks that the three networks share (docs/spec.md section 3).

Every block is *pre-activation*: normalisation, then LeakyReLU, then convolution.  The first thing
that happens to any input, an RGB image included, is therefore an instance norm, and with it the
image's own mean and contrast are gone; what survives is its pattern.
"""

from __future__ import annotations

import torch  # noqa: F401 - of the doctests
from torch import Tensor, nn

from gfla.spectral import SpectralConv2d, SpectralConv3d
from gfla.types import Features, Image

SLOPE = 0.1  # of every LeakyReLU in the three networks


def width(level: int, base: int, cap: int) -> int:
    """Channels of the features at stride 2**level: `base` at level 1, doubling, never over `cap`.

    >>> [width(level, base=32, cap=256) for level in (1, 2, 3, 4, 5)]
    [32, 64, 128, 256, 256]
    """
    return min(base * 2 ** (level - 1), cap)


def norm(channels: int, normalised: bool = True) -> nn.Module:
    """Instance normalisation with a learned scale and shift, no running statistics; or nothing."""
    return nn.InstanceNorm2d(channels, affine=True) if normalised else nn.Identity()


def conv3(channels: int, out: int) -> nn.Module:
    """A 3×3 convolution that keeps the size."""
    return nn.Conv2d(channels, out, 3, padding=1)


def down(channels: int, out: int) -> nn.Module:
    """A 4×4 convolution of stride 2: half the size."""
    return nn.Conv2d(channels, out, 4, stride=2, padding=1)


def up(channels: int, out: int) -> nn.Module:
    """A transposed 3×3 convolution of stride 2: twice the size."""
    return nn.ConvTranspose2d(channels, out, 3, stride=2, padding=1, output_padding=1)


def initialise(network: nn.Module, gain: float = 0.02) -> None:
    """Orthogonal weights of gain 0.02 and zero biases in every convolution (docs/spec.md 4.9).

    So small a gain starts the flow at a few thousandths of a pixel and the masks at one half:
    training begins from "copy in place, half and half".
    """
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d)):
            nn.init.orthogonal_(module.weight, gain)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class EncoderBlock(nn.Module):
    """Half the size, and no shortcut: the step of every encoder of F and G.

    Args: channels, out; normalised: False leaves both norms out, so that what the features say of
    the picture's own mean and contrast goes on.
    Args of forward: features (B, channels, H, W).  Returns (B, out, H/2, W/2).

    >>> EncoderBlock(3, 8)(torch.zeros(1, 3, 16, 32)).shape
    torch.Size([1, 8, 8, 16])
    """

    def __init__(self, channels: int, out: int, normalised: bool = True) -> None:
        super().__init__()
        self.model = nn.Sequential(
            norm(channels, normalised),
            nn.LeakyReLU(SLOPE),
            down(channels, out),
            norm(out, normalised),
            nn.LeakyReLU(SLOPE),
            conv3(out, out),
        )

    def forward(self, features: Features) -> Features:
        return self.model(features)  # (B, out, H/2, W/2)


class ResBlock(nn.Module):
    """The same size, with a residual connection; a 1×1 convolution where the widths differ.

    Args: channels, out, hidden; normalised: False leaves both norms out.
    Args of forward: features (B, channels, H, W).  Returns (B, out, H, W).

    >>> ResBlock(4, 8)(torch.zeros(1, 4, 6, 5)).shape
    torch.Size([1, 8, 6, 5])
    """

    def __init__(
        self,
        channels: int,
        out: int | None = None,
        hidden: int | None = None,
        normalised: bool = True,
    ) -> None:
        super().__init__()
        out = out or channels
        hidden = hidden or channels
        self.model = nn.Sequential(
            norm(channels, normalised),
            nn.LeakyReLU(SLOPE),
            conv3(channels, hidden),
            norm(hidden, normalised),
            nn.LeakyReLU(SLOPE),
            conv3(hidden, out),
        )
        self.shortcut = (
            nn.Identity() if out == channels else nn.Sequential(nn.Conv2d(channels, out, 1))
        )

    def forward(self, features: Features) -> Features:
        return self.model(features) + self.shortcut(features)  # (B, out, H, W)


class ResBlockDecoder(nn.Module):
    """Twice the size, with a residual connection that is up-sampled by its own convolution.

    Args: channels, out, hidden; normalised: False leaves both norms out.
    Args of forward: features (B, channels, H, W).  Returns (B, out, 2H, 2W).

    >>> ResBlockDecoder(8, 4)(torch.zeros(1, 8, 6, 5)).shape
    torch.Size([1, 4, 12, 10])
    """

    def __init__(
        self, channels: int, out: int, hidden: int | None = None, normalised: bool = True
    ) -> None:
        super().__init__()
        hidden = hidden or channels
        self.model = nn.Sequential(
            norm(channels, normalised),
            nn.LeakyReLU(SLOPE),
            conv3(channels, hidden),
            norm(hidden, normalised),
            nn.LeakyReLU(SLOPE),
            up(hidden, out),
        )
        self.shortcut = nn.Sequential(up(channels, out))

    def forward(self, features: Features) -> Features:
        return self.model(features) + self.shortcut(features)  # (B, out, 2H, 2W)


class Jump(nn.Module):
    """The skip connection of the flow estimator: LeakyReLU and a 3×3 convolution, no norm.

    Args of forward: features (B, channels, H, W).  Returns (B, out, H, W).

    >>> Jump(8, 8)(torch.zeros(1, 8, 6, 5)).shape
    torch.Size([1, 8, 6, 5])
    """

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.model = nn.Sequential(
            nn.LeakyReLU(SLOPE), nn.ReflectionPad2d(1), nn.Conv2d(channels, out, 3)
        )

    def forward(self, features: Features) -> Features:
        return self.model(features)  # (B, out, H, W)


class OutputBlock(nn.Module):
    """Features to a picture in [-1, 1]: LeakyReLU, a 3×3 convolution, tanh.

    Args of forward: features (B, channels, H, W).  Returns (B, out, H, W) in [-1, 1].

    >>> OutputBlock(8, 3)(torch.zeros(1, 8, 6, 5)).shape
    torch.Size([1, 3, 6, 5])
    """

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.model = nn.Sequential(
            nn.LeakyReLU(SLOPE), nn.ReflectionPad2d(1), nn.Conv2d(channels, out, 3), nn.Tanh()
        )

    def forward(self, features: Features) -> Image:
        return self.model(features)  # (B, out, H, W)


class ResBlockEncoder(nn.Module):
    """Half the size, with a residual connection and no norm: the step of the discriminator.

    Args of forward: features (B, channels, H, W).  Returns (B, out, H/2, W/2), rounded down.

    >>> ResBlockEncoder(3, 8)(torch.zeros(1, 3, 16, 12)).shape
    torch.Size([1, 8, 8, 6])
    """

    def __init__(self, channels: int, out: int, hidden: int | None = None) -> None:
        super().__init__()
        hidden = hidden or channels
        self.model = nn.Sequential(
            nn.LeakyReLU(SLOPE),
            SpectralConv2d(channels, hidden, 3, padding=1),
            nn.LeakyReLU(SLOPE),
            SpectralConv2d(hidden, out, 4, stride=2, padding=1),
        )
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), SpectralConv2d(channels, out, 1))

    def forward(self, features: Features) -> Features:
        return self.model(features) + self.shortcut(features)  # (B, out, H/2, W/2)


class ResBlock3DEncoder(nn.Module):
    """`ResBlockEncoder` for clips: half the height and width, and two frames less.

    Args of forward: features (B, channels, T, H, W).  Returns (B, out, T − 2, H/2, W/2).

    >>> ResBlock3DEncoder(3, 8)(torch.zeros(1, 3, 6, 16, 12)).shape
    torch.Size([1, 8, 4, 8, 6])
    """

    def __init__(self, channels: int, out: int, hidden: int | None = None) -> None:
        super().__init__()
        hidden = hidden or channels
        self.model = nn.Sequential(
            nn.LeakyReLU(SLOPE),
            SpectralConv3d(channels, hidden, 3, padding=1),
            nn.LeakyReLU(SLOPE),
            SpectralConv3d(hidden, out, (3, 4, 4), stride=(1, 2, 2), padding=(0, 1, 1)),
        )
        self.shortcut = nn.Sequential(
            nn.AvgPool3d((3, 2, 2), stride=(1, 2, 2)), SpectralConv3d(channels, out, 1)
        )

    def forward(self, features: Tensor) -> Tensor:
        return self.model(features) + self.shortcut(features)  # (B, out, T − 2, H/2, W/2)
