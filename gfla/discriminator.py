"""D, the discriminator: real or generated, patch by patch, in a picture or in a few frames."""

from __future__ import annotations

from torch import Tensor, nn

from gfla.blocks import (
    SLOPE,
    ResBlock3DEncoder,
    ResBlockEncoder,
    SpectralConv2d,
    initialise,
    width,
)
from gfla.types import Image


class Discriminator(nn.Module):
    """Scores each patch of a picture: near 1 for a real one, near 0 for a generated one.

    `depth` residual halvings without any norm, then LeakyReLU and a 1×1 convolution; every
    convolution is spectrally normalised.  It sees the picture alone, neither source nor pose, and
    the scores are raw: the loss (`gfla.losses.adversarial`) gives them their meaning.

    Args:
        channels: of the picture, 3; 6 for the paper's judge of moving faces, which sees the two
            differences between three frames.
        base, cap: width of the first level, and the width that no level exceeds.
        depth: number of halvings: 4 for DeepFashion, 3 for Market-1501.

    Returns (forward): scores (B, 1, H/2**depth, W/2**depth).

    Raises:
        ValueError: (forward) a picture of another channel count, or one too small to score.

    In training mode every forward pass moves the estimate of the spectral norms by one step, the
    pass that serves the generator included.

    >>> import torch
    >>> Discriminator(base=4, cap=8, depth=2)(torch.zeros(2, 3, 16, 12)).shape
    torch.Size([2, 1, 4, 3])
    """

    def __init__(self, channels: int = 3, base: int = 32, cap: int = 128, depth: int = 4) -> None:
        super().__init__()
        self.channels, self.depth = channels, depth
        c = [channels] + [width(level, base, cap) for level in range(1, depth + 1)]
        hidden = [base, *c[1:]]  # a block is as wide inside as at its entrance; the first, as base
        self.encoder = nn.ModuleDict(
            {str(k): ResBlockEncoder(c[k - 1], c[k], hidden[k - 1]) for k in range(1, depth + 1)}
        )
        self.score = nn.Sequential(nn.LeakyReLU(SLOPE), SpectralConv2d(c[depth], 1, 1))
        initialise(self)

    def forward(self, image: Image) -> Tensor:
        if image.ndim != 4 or image.shape[1] != self.channels:
            raise ValueError(
                f"the discriminator got a picture of shape {tuple(image.shape)}, expected "
                f"(B, {self.channels}, H, W)"
            )
        if min(image.shape[-2:]) < 2**self.depth:
            raise ValueError(
                f"the discriminator got a picture of {tuple(image.shape[-2:])} pixels, expected at "
                f"least {2**self.depth} on each side for depth {self.depth}; use a smaller depth"
            )
        features = image
        for block in self.encoder.values():
            features = block(features)  # half the size
        return self.score(features)  # (B, 1, H/2^depth, W/2^depth)


class TemporalDiscriminator(nn.Module):
    """Scores each patch of a few consecutive frames: do they look and move like real ones?

    At first blocks that see time as a third axis, two frames fewer after each; then what is left of
    time becomes channels, and the halvings go on as in `Discriminator`, `depth` in all.

    Args:
        frames: T, at least 3; the paper's 6 become 4, then 2. At most two blocks see time.
        channels: of each frame, 3.
        base, cap: width of the first level, and the width that no level exceeds.
        depth: number of halvings, 4.

    Returns (forward): scores (B, 1, H/2**depth, W/2**depth), from clips (B, channels, T, H, W).

    Raises:
        ValueError: fewer than 3 frames; (forward) clips of another shape, or too small to score.

    >>> import torch
    >>> TemporalDiscriminator(4, base=4, cap=8, depth=3)(torch.zeros(2, 3, 4, 16, 24)).shape
    torch.Size([2, 1, 2, 3])
    """

    def __init__(
        self,
        frames: int = 6,
        channels: int = 3,
        base: int = 32,
        cap: int = 128,
        depth: int = 4,
    ) -> None:
        super().__init__()
        if frames < 3:
            raise ValueError(f"frames is {frames}: motion is judged over 3 frames or more")
        self.frames, self.channels, self.depth = frames, channels, depth
        volumes = min(2, (frames - 1) // 2, depth)
        c = [channels] + [width(level, base, cap) for level in range(1, depth + 1)]
        hidden = [base, *c[1:]]
        self.volume = nn.ModuleDict(
            {
                str(k): ResBlock3DEncoder(c[k - 1], c[k], hidden[k - 1])
                for k in range(1, volumes + 1)
            }
        )
        c[volumes] *= frames - 2 * volumes  # the frames left become channels
        self.plane = nn.ModuleDict(
            {str(k): ResBlockEncoder(c[k - 1], c[k]) for k in range(volumes + 1, depth + 1)}
        )
        self.score = nn.Sequential(nn.LeakyReLU(SLOPE), SpectralConv2d(c[depth], 1, 1))
        initialise(self)

    def forward(self, clip: Tensor) -> Tensor:
        if clip.ndim != 5 or clip.shape[1:3] != (self.channels, self.frames):
            raise ValueError(
                f"the discriminator got a clip of shape {tuple(clip.shape)}, expected "
                f"(B, {self.channels}, {self.frames}, H, W)"
            )
        if min(clip.shape[-2:]) < 2**self.depth:
            raise ValueError(
                f"the discriminator got frames of {tuple(clip.shape[-2:])} pixels, expected at "
                f"least {2**self.depth} on each side for depth {self.depth}; use a smaller depth"
            )
        features = clip
        for block in self.volume.values():
            features = block(features)  # half the size, T − 2
        features = features.flatten(1, 2)  # (B, c·t, h, w)
        for block in self.plane.values():
            features = block(features)  # half the size
        return self.score(features)  # (B, 1, H/2^depth, W/2^depth)
