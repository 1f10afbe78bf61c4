"""F, the global flow field estimator: where to look in the source, and whether to look at all."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from gfla.blocks import EncoderBlock, Jump, ResBlockDecoder, conv3, initialise, width
from gfla.sampling import check_flow
from gfla.types import Features, Flow, Image, Mask, Pose


class FlowOutput(NamedTuple):
    """What F returns; both tuples run from the coarsest level to the finest."""

    flows: tuple[Flow, ...]  # each (B, 2, h, w): dx, dy in pixels of its own level, target → source
    masks: tuple[Mask, ...]  # each (B, 1, h, w) in [0, 1]: 1 = take it from the source


class FlowHead(nn.Module):
    """Two 3×3 convolutions, straight on the features: a flow in pixels, and its mask.

    Where there are several sources, `fields` is their number, and their flows lie one after the
    other in the channels; so do their masks.

    The flow is the raw result of a linear map: no tanh, no clamp, no scale.  Under autocast both
    stay in the type of the weights, because bfloat16 turns a position of 57.3 into 57.25.

    Args of forward: features (B, channels, h, w).  Returns flow (B, 2·fields, h, w) and mask
    (B, fields, h, w).
    """

    def __init__(self, channels: int, fields: int = 1) -> None:
        super().__init__()
        self.flow = conv3(channels, 2 * fields)
        self.mask = conv3(channels, fields)

    def forward(self, features: Features) -> tuple[Flow, Mask]:
        with torch.autocast(features.device.type, enabled=False):
            features = features.to(self.flow.weight.dtype)
            return self.flow(features), torch.sigmoid(self.mask(features))


class FlowNet(nn.Module):
    """What every flow estimator is inside: a U-shaped network whose heads give flows and masks.

    `depth` halvings (`descend`), then doublings up to the finest of `levels`, each followed by the
    sum with the encoder's features of the same size (`ascend`). Level ℓ has stride 2**ℓ.

    Args:
        channels: of the input.
        base, cap: width of the first level, and the width that no level exceeds.
        depth: number of halvings; pictures must be multiples of 2**depth.
        levels: where flow and mask are wanted, each from 1 to depth − 1.
        mask_start: the value that every mask begins with, in (0, 1).
        fields: how many flows and masks each head gives.

    Raises:
        ValueError: a level outside 1 … depth − 1, or none at all, or a mask_start outside (0, 1).

    >>> net = FlowNet(3, base=4, cap=8, depth=3, levels=(1,), mask_start=0.5, fields=2)
    >>> skips = net.descend(torch.zeros(1, 3, 16, 32))
    >>> flows, masks = net.ascend(skips["3"], skips)
    >>> flows[0].shape, masks[0].shape
    (torch.Size([1, 4, 8, 16]), torch.Size([1, 2, 8, 16]))
    """

    def __init__(
        self,
        channels: int,
        base: int,
        cap: int,
        depth: int,
        levels: Sequence[int],
        mask_start: float,
        fields: int = 1,
    ) -> None:
        super().__init__()
        self.levels = tuple(sorted(set(levels), reverse=True))  # coarse → fine
        if not self.levels or self.levels[-1] < 1 or self.levels[0] >= depth:
            raise ValueError(
                f"levels is {tuple(levels)}: a flow estimator of depth {depth} gives flow at "
                f"levels 1 to {depth - 1}; choose among those, or a greater depth"
            )
        widths = [channels] + [width(level, base, cap) for level in range(1, depth + 1)]
        self.encoder = nn.ModuleDict(
            {str(k): EncoderBlock(widths[k - 1], widths[k]) for k in range(1, depth + 1)}
        )
        up_levels = range(depth - 1, self.levels[-1] - 1, -1)
        self.decoder = nn.ModuleDict(
            {str(k): ResBlockDecoder(widths[k + 1], widths[k], hidden=widths[k]) for k in up_levels}
        )
        self.jump = nn.ModuleDict({str(k): Jump(widths[k], widths[k]) for k in up_levels})
        self.head = nn.ModuleDict({str(k): FlowHead(widths[k], fields) for k in self.levels})
        initialise(self)
        if not 0 < mask_start < 1:
            raise ValueError(f"mask_start is {mask_start}: give a value between 0 and 1")
        for head in self.head.values():
            nn.init.constant_(head.mask.bias, math.log(mask_start / (1 - mask_start)))

    def descend(self, features: Features) -> dict[str, Features]:
        """The features of every level, from (B, channels, H, W)."""
        skips = {}
        for level, block in self.encoder.items():
            features = skips[level] = block(features)  # (B, c, H/2^level, W/2^level)
        return skips

    def ascend(self, features: Features, skips: Mapping[str, Features]) -> FlowOutput:
        """Flows and masks, from the features of the last level and those of the others."""
        flows, masks = [], []
        for level, block in self.decoder.items():
            features = block(features) + self.jump[level](skips[level])  # twice the size
            if level in self.head:
                flow, mask = self.head[level](features)
                flows.append(flow)
                masks.append(mask)
        return FlowOutput(tuple(flows), tuple(masks))


class FlowEstimator(FlowNet):
    """Estimates flow fields and occlusion masks from a picture and two poses.

    (w, m) = F(x_s, p_s, p_t), a U-shaped network (`FlowNet`).

    Args:
        image_channels: of the source picture, 3.
        pose_channels: of each pose, 18 heat maps.
        base, cap, depth, levels, mask_start: of `FlowNet`; the paper's masks begin at 0.5.

    Returns (forward): FlowOutput of flows and masks, one per level, coarse → fine.

    Raises:
        ValueError: as `FlowNet`.

    >>> estimator = FlowEstimator(base=4, cap=8, depth=3, levels=(1, 2))
    >>> pose = torch.zeros(1, 18, 16, 32)
    >>> flows, masks = estimator(torch.zeros(1, 3, 16, 32), pose, pose)
    >>> [tuple(flow.shape) for flow in flows]
    [(1, 2, 4, 8), (1, 2, 8, 16)]
    """

    def __init__(
        self,
        image_channels: int = 3,
        pose_channels: int = 18,
        base: int = 32,
        cap: int = 256,
        depth: int = 5,
        levels: Sequence[int] = (2, 3),
        mask_start: float = 0.5,
    ) -> None:
        super().__init__(image_channels + 2 * pose_channels, base, cap, depth, levels, mask_start)

    def forward(self, source: Image, source_pose: Pose, target_pose: Pose) -> FlowOutput:
        features = torch.cat([source, source_pose, target_pose], dim=1)  # (B, 3 + 2·18, H, W)
        skips = self.descend(features)
        *_, lowest = skips.values()
        return self.ascend(lowest, skips)


class NoFlow(nn.Module):
    """In the place of F where a model has none: no flows, no masks, no parameters."""

    levels = ()

    def forward(self, source: Image, source_pose: Pose, target_pose: Pose) -> FlowOutput:
        return FlowOutput((), ())


def upsample_flow(flow: Flow, size: tuple[int, int]) -> Flow:
    """A flow of one level as the flow of another: more vectors, and longer ones.

        w'(l) = (W/w · dx, H/h · dy) interpolated bilinearly between pixel centres

    Args:
        flow: (B, 2, h, w) in pixels of its own level.
        size: (H, W) wanted.

    Returns:
        (B, 2, H, W) in pixels of the new level; the flow itself if it has that size already.
        Beyond the outermost centres of the coarse level the nearest vector is repeated.

    Raises:
        ValueError: a flow of the wrong shape, or not finite.

    >>> upsample_flow(torch.ones(1, 2, 2, 2), (8, 4))[0, :, 0, 0].tolist()
    [2.0, 4.0]
    """
    check_flow(flow)
    h, w = flow.shape[-2:]
    if (h, w) == tuple(size):
        return flow
    scale = flow.new_tensor([size[1] / w, size[0] / h])[:, None, None]
    flow = F.interpolate(flow, size=tuple(size), mode="bilinear", align_corners=False)
    return flow * scale  # (B, 2, H, W)
