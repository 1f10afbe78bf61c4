"""From noisy key points to smooth ones: the network that reads the motion off a detector's output.

A temporal convolutional network over the joints' coordinates alone (docs/spec.md 4.7). It sees 40
frames before and 40 after each one that it corrects.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gfla.blocks import SLOPE

CONTEXT = 80  # frames that the answer is shorter than the question
DILATIONS = (3, 9, 27)
EPS = 1e-5
DROPOUT = 0.15


class AdaptiveNorm(nn.Module):
    """Layer normalisation over channels and time, whose scale and shift a summary decides.

    y = (1 + γ(s)) · (x − mean) / std + β(s)

    Args: channels C.  Args of forward: features (B, C, T), summary (B, C).  Returns (B, C, T).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.shared = nn.Linear(channels, channels // 2)
        self.scale = nn.Linear(channels // 2, channels)
        self.shift = nn.Linear(channels // 2, channels)

    def forward(self, features: Tensor, summary: Tensor) -> Tensor:
        known = F.relu(self.shared(summary))
        scale, shift = self.scale(known)[..., None], self.shift(known)[..., None]  # (B, C, 1)
        return (1 + scale) * F.layer_norm(features, features.shape[1:], eps=EPS) + shift


class ChannelNorm(nn.Module):
    """Layer normalisation over channels and time, with one scale and shift for each channel.

    Args: channels C.  Args of forward: features (B, C, T).  Returns (B, C, T).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, 1))
        self.bias = nn.Parameter(torch.zeros(channels, 1))

    def forward(self, features: Tensor) -> Tensor:
        return self.weight * F.layer_norm(features, features.shape[1:], eps=EPS) + self.bias


class MotionExtraction(nn.Module):
    """Corrects the joints of a clip from what the frames around each of them say.

    One convolution over three frames, then a residual stage for each dilation 3, 9, 27, so that 81
    frames are seen; a summary of the whole clip sets scale and shift of every norm.

    Args:
        joints: K; 17 in the Human3.6M order.
        channels: width.

    Shapes (forward):
        motion (B, 2·K, T), T of 81 or more: first the K rows of y, then those of x, as 2·v/W − 1 →
        (B, 2·K, T − 80), the frames 40 to T − 41.

    Raises:
        ValueError: (forward) another number of rows, or fewer than 81 frames.

    >>> network = MotionExtraction(joints=2, channels=8)
    >>> network(torch.zeros(3, 4, 90)).shape
    torch.Size([3, 4, 10])
    """

    def __init__(self, joints: int = 17, channels: int = 256) -> None:
        super().__init__()
        self.joints = joints
        rows = 2 * joints

        def conv(i: int, kernel: int, **more: int) -> nn.Conv1d:
            return nn.Conv1d(i, channels, kernel, bias=False, **more)

        self.entrance = conv(rows, 3)
        self.entrance_norm = ChannelNorm(channels)
        self.convolutions = nn.ModuleList()
        for dilation in DILATIONS:
            self.convolutions += [conv(channels, 3, dilation=dilation), conv(channels, 1)]
        self.norms = nn.ModuleList(AdaptiveNorm(channels) for _ in self.convolutions)
        self.summary = nn.ModuleDict(
            {str(k): conv(rows if k == 1 else channels, 3, stride=2) for k in (1, 2, 3)}
        )
        self.exit = nn.Conv1d(channels, rows, 1)

    def forward(self, motion: Tensor) -> Tensor:
        if motion.ndim != 3 or motion.shape[1] != 2 * self.joints or motion.shape[2] <= CONTEXT:
            raise ValueError(
                f"motion has shape {tuple(motion.shape)}, expected (B, {2 * self.joints}, T) with "
                f"T of {CONTEXT + 1} or more: repeat the first and the last frame {CONTEXT // 2} "
                "times"
            )
        summary = motion
        for convolution in self.summary.values():
            summary = F.leaky_relu(convolution(summary), SLOPE)  # half as many frames
        summary = summary.mean(2)  # (B, C)
        features = self._lively(self.entrance_norm(self.entrance(motion)))  # (B, C, T − 2)
        for i, dilation in enumerate(DILATIONS):
            wide, narrow = self.convolutions[2 * i : 2 * i + 2]
            found = self._lively(self.norms[2 * i](wide(features), summary))
            found = self._lively(self.norms[2 * i + 1](narrow(found), summary))
            features = features[..., dilation:-dilation] + found  # 2·dilation frames fewer
        return self.exit(features)  # (B, 2·K, T − 80)

    def _lively(self, features: Tensor) -> Tensor:
        return F.dropout(F.leaky_relu(features, SLOPE), DROPOUT, self.training)
