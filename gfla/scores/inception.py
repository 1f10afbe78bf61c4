"""The network behind FID: Inception v3 as TensorFlow published it in 2015, for its 2048 features.

It is not torchvision's Inception: same layers, but its average pools leave the padding out of the
mean, its last block takes a maximum where the others average, and its weights are others.
Parameters carry the names of the published PyTorch file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from gfla.types import Image

FEATURES = 2048
SIZE = 299  # pixels a side that it was trained at


class Inception(nn.Module):
    """FID's Inception v3, from the picture to its 2048 averaged features, frozen.

    Weights are random until loaded, see `gfla.scores.trunks.load_inception`.

    Args (forward):
        image: (B, 3, H, W) in [−1, 1]; resized bilinearly to 299 × 299, without antialiasing.

    Returns (forward):
        (B, 2048), not negative.

    Source: Szegedy et al. 2016; the resizing is that of the pytorch-fid package, not the one
    of the original TensorFlow code, which places pixels at their corners.

    >>> "Mixed_7c.branch3x3dbl_3b.bn.running_var" in Inception().state_dict()
    True
    """

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _Convolution(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = _Convolution(32, 32, 3)
        self.Conv2d_2b_3x3 = _Convolution(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = _Convolution(64, 80, 1)
        self.Conv2d_4a_3x3 = _Convolution(80, 192, 3)
        self.Mixed_5b = _fine(192, 32)
        self.Mixed_5c = _fine(256, 64)
        self.Mixed_5d = _fine(288, 64)
        self.Mixed_6a = _Mixed(
            288,
            [("branch3x3", 384, 3, 2)],
            [("branch3x3dbl_1", 64, 1), ("branch3x3dbl_2", 96, 3), ("branch3x3dbl_3", 96, 3, 2)],
            pool="shrink",
        )
        self.Mixed_6b = _middle(128)
        self.Mixed_6c = _middle(160)
        self.Mixed_6d = _middle(160)
        self.Mixed_6e = _middle(192)
        self.Mixed_7a = _Mixed(
            768,
            [("branch3x3_1", 192, 1), ("branch3x3_2", 320, 3, 2)],
            [
                ("branch7x7x3_1", 192, 1),
                ("branch7x7x3_2", 192, (1, 7)),
                ("branch7x7x3_3", 192, (7, 1)),
                ("branch7x7x3_4", 192, 3, 2),
            ],
            pool="shrink",
        )
        self.Mixed_7b = _coarse(1280, "average")
        self.Mixed_7c = _coarse(2048, "max")
        self.requires_grad_(False).eval()

    def forward(self, image: Image) -> Tensor:
        x = F.interpolate(image, (SIZE, SIZE), mode="bilinear", align_corners=False)
        for name, layer in self.named_children():
            if name in ("Conv2d_3b_1x1", "Mixed_5b"):
                x = F.max_pool2d(x, 3, stride=2)
            x = layer(x)  # 149, 147, 147, 73, 71, 35 …, 17 …, 8 … pixels a side
        return x.mean((2, 3))  # (B, 2048)


class _Convolution(nn.Module):
    """Convolution, batch normalisation, rectifier."""

    def __init__(self, channels: int, width: int, kernel, stride: int = 1, padding=0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, width, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(width, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class _Mixed(nn.Module):
    """Chains of convolutions side by side, and a pool; their results joined.

    A chain is a list of steps; a list inside it forks it there. Stride 1 keeps the size; stride 2
    takes no padding.
    """

    def __init__(self, channels: int, *chains: Sequence, pool: str, width: int = 0) -> None:
        super().__init__()
        self.pool = pool
        self.chains = [[_names(step) for step in chain] for chain in chains]
        for chain in chains:
            inside = channels
            for step in chain:
                for name, out, kernel, *stride in step if isinstance(step, list) else [step]:
                    sides = kernel if isinstance(kernel, tuple) else (kernel, kernel)
                    padding = 0 if stride else tuple(side // 2 for side in sides)
                    self.add_module(
                        name, _Convolution(inside, out, sides, *stride, padding=padding)
                    )
                inside = out
        if width:
            self.branch_pool = _Convolution(channels, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        found = []
        for chain in self.chains:
            branch = x
            for names in chain:
                branch = torch.cat([getattr(self, name)(branch) for name in names], 1)
            found.append(branch)
        return torch.cat([*found, self._pooled(x)], 1)

    def _pooled(self, x: Tensor) -> Tensor:
        if self.pool == "shrink":
            return F.max_pool2d(x, 3, stride=2)
        if self.pool == "max":
            return self.branch_pool(F.max_pool2d(x, 3, stride=1, padding=1))
        return self.branch_pool(F.avg_pool2d(x, 3, 1, padding=1, count_include_pad=False))


def _names(step) -> list[str]:
    return [one[0] for one in (step if isinstance(step, list) else [step])]


def _fine(channels: int, width: int) -> _Mixed:
    """A block at 35 × 35."""
    return _Mixed(
        channels,
        [("branch1x1", 64, 1)],
        [("branch5x5_1", 48, 1), ("branch5x5_2", 64, 5)],
        [("branch3x3dbl_1", 64, 1), ("branch3x3dbl_2", 96, 3), ("branch3x3dbl_3", 96, 3)],
        pool="average",
        width=width,
    )


def _middle(inner: int) -> _Mixed:
    """A block at 17 × 17: square kernels taken apart."""
    return _Mixed(
        768,
        [("branch1x1", 192, 1)],
        [
            ("branch7x7_1", inner, 1),
            ("branch7x7_2", inner, (1, 7)),
            ("branch7x7_3", 192, (7, 1)),
        ],
        [
            ("branch7x7dbl_1", inner, 1),
            ("branch7x7dbl_2", inner, (7, 1)),
            ("branch7x7dbl_3", inner, (1, 7)),
            ("branch7x7dbl_4", inner, (7, 1)),
            ("branch7x7dbl_5", 192, (1, 7)),
        ],
        pool="average",
        width=192,
    )


def _coarse(channels: int, pool: str) -> _Mixed:
    """A block at 8 × 8, whose chains fork at their end."""
    return _Mixed(
        channels,
        [("branch1x1", 320, 1)],
        [
            ("branch3x3_1", 384, 1),
            [("branch3x3_2a", 384, (1, 3)), ("branch3x3_2b", 384, (3, 1))],
        ],
        [
            ("branch3x3dbl_1", 448, 1),
            ("branch3x3dbl_2", 384, 3),
            [("branch3x3dbl_3a", 384, (1, 3)), ("branch3x3dbl_3b", 384, (3, 1))],
        ],
        pool=pool,
        width=192,
    )
