"""F and G with two sources: the frame before, and one still picture of the same person.

p means previous and r reference; where both have a field, they alternate level by level, coarse to
fine: p3, r3, p2, r2 (docs/spec.md 4.6).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from gfla.attention import LocalAttention
from gfla.blocks import OutputBlock, initialise
from gfla.flow import FlowEstimator, FlowNet, FlowOutput
from gfla.renderer import (
    RendererOutput,
    attended_levels,
    decoder,
    encoder,
    features_by_level,
    first_of_true_colors,
    widths,
)
from gfla.types import Features, Flow, Image, Mask, Pose


class FlowPair(nn.Module):
    """Two flow estimators that know nothing of each other, as in the paper's dance model.

    (w_p, m_p) = F_p(x_prev, p_prev, p_t)   and   (w_r, m_r) = F_r(x_ref, p_ref, p_t)

    Args:
        image_channels, pose_channels, base, cap, depth, levels, mask_start: of each
            `gfla.flow.FlowEstimator`.

    Returns (forward): FlowOutput of flows (B, 2, h, w) and masks (B, 1, h, w), p and r in turn.

    >>> pair = FlowPair(3, 18, base=4, cap=8, depth=3, levels=(1, 2), mask_start=0.5)
    >>> picture, pose = torch.zeros(1, 3, 16, 32), torch.zeros(1, 18, 16, 32)
    >>> flows, masks = pair(pose, picture, pose, picture, pose)
    >>> [tuple(flow.shape) for flow in flows]
    [(1, 2, 4, 8), (1, 2, 4, 8), (1, 2, 8, 16), (1, 2, 8, 16)]
    """

    def __init__(
        self,
        image_channels: int,
        pose_channels: int,
        base: int,
        cap: int,
        depth: int,
        levels: Sequence[int],
        mask_start: float,
    ) -> None:
        super().__init__()
        arguments = image_channels, pose_channels, base, cap, depth, levels, mask_start
        self.previous = FlowEstimator(*arguments)
        self.reference = FlowEstimator(*arguments)
        self.levels = self.previous.levels

    def forward(
        self,
        pose: Pose,
        reference: Image,
        reference_pose: Pose,
        previous: Image,
        previous_pose: Pose,
    ) -> FlowOutput:
        p = self.previous(previous, previous_pose, pose)
        r = self.reference(reference, reference_pose, pose)
        return FlowOutput(_in_turn(p.flows, r.flows), _in_turn(p.masks, r.masks))


class SharedFlow(FlowNet):
    """One flow estimator that sees both sources and answers for both, as in the face model.

    (w_p, m_p, w_r, m_r) = F(p_t, x_prev, p_prev, x_ref, p_ref)

    Args:
        image_channels, pose_channels: 3 colours, and the channels of each pose.
        base, cap, depth, levels, mask_start: of `gfla.flow.FlowNet`.

    Returns (forward): FlowOutput of flows (B, 2, h, w) and masks (B, 1, h, w), p and r in turn.

    >>> shared = SharedFlow(3, 16, base=4, cap=8, depth=3, levels=(1,), mask_start=0.5)
    >>> picture, pose = torch.zeros(1, 3, 16, 32), torch.zeros(1, 16, 16, 32)
    >>> flows, masks = shared(pose, picture, pose, picture, pose)
    >>> [tuple(flow.shape) for flow in flows]
    [(1, 2, 8, 16), (1, 2, 8, 16)]
    """

    def __init__(
        self,
        image_channels: int,
        pose_channels: int,
        base: int,
        cap: int,
        depth: int,
        levels: Sequence[int],
        mask_start: float,
    ) -> None:
        channels = 2 * image_channels + 3 * pose_channels
        super().__init__(channels, base, cap, depth, levels, mask_start, fields=2)

    def forward(
        self,
        pose: Pose,
        reference: Image,
        reference_pose: Pose,
        previous: Image,
        previous_pose: Pose,
    ) -> FlowOutput:
        inputs = [pose, previous, previous_pose, reference, reference_pose]
        skips = self.descend(torch.cat(inputs, dim=1))  # (B, 2·3 + 3·K, H, W)
        *_, lowest = skips.values()
        flows, masks = self.ascend(lowest, skips)  # each (B, 4, h, w) and (B, 2, h, w)
        return FlowOutput(
            tuple(part for flow in flows for part in flow.chunk(2, dim=1)),
            tuple(part for mask in masks for part in mask.chunk(2, dim=1)),
        )


FLOWS = {"two": FlowPair, "one": SharedFlow}


class TwoSourceRenderer(nn.Module):
    """Renders one frame from the features of the frame before and of the reference.

    At each level with attention, with f_p and f_r what was read from the two,
    f_out = [(1 − m_p) · f_t + m_p · f_p] + [(1 − m_r) · f_t + m_r · f_r],
    and only then the decoder of that level doubles the size.

    Args:
        image_channels, pose_channels, base, cap, depth, kernel_sizes, hidden, true_colors: as
            `gfla.renderer.Renderer`; true_colors means both source encoders.
        attention: class of the attention, one that a flow guides.

    Returns (forward): RendererOutput; flows, masks and weights with p and r in turn.

    Raises:
        ValueError: a level outside 1 … depth, or (forward) flows that do not fit the levels.

    The blend is the sum of two, not their mean: where both masks are zero, the target's features
    are counted twice (docs/spec.md 4.6, 12); kept so that the published weights fit.

    >>> renderer = TwoSourceRenderer(3, 18, 4, 8, 2, {1: 3}, 4)
    >>> flow, mask = torch.full((1, 2, 8, 8), 0.3), torch.ones(1, 1, 8, 8)
    >>> known = renderer.look(torch.zeros(1, 3, 16, 16))
    >>> pose, picture = torch.zeros(1, 18, 16, 16), torch.zeros(1, 3, 16, 16)
    >>> output = renderer(pose, known, picture, [flow, flow], [mask, mask])
    >>> output.image.shape, len(output.weights)
    (torch.Size([1, 3, 16, 16]), 2)
    """

    def __init__(
        self,
        image_channels: int,
        pose_channels: int,
        base: int,
        cap: int,
        depth: int,
        kernel_sizes: Mapping[int, int],
        hidden: int,
        attention: Callable[[int, int, int], nn.Module] = LocalAttention,
        true_colors: bool = False,
    ) -> None:
        super().__init__()
        self.levels = attended_levels(kernel_sizes, depth)
        c = widths(base, cap, depth)

        def attentions() -> nn.ModuleDict:
            return nn.ModuleDict(
                {str(k): attention(c[k], kernel_sizes[k], hidden) for k in self.levels}
            )

        self.previous_encoder = encoder([image_channels, *c[1:]])
        self.reference_encoder = encoder([image_channels, *c[1:]])
        self.target_encoder = encoder([pose_channels, *c[1:]])
        self.previous_attention = attentions()
        self.reference_attention = attentions()
        self.decoder = decoder(c)
        self.output = OutputBlock(c[0], image_channels)
        initialise(self)
        if true_colors:
            self.previous_encoder["1"] = first_of_true_colors(image_channels, c[1])
            self.reference_encoder["1"] = first_of_true_colors(image_channels, c[1])

    def look(self, reference: Image) -> dict[int, Features]:
        """What the reference's encoder says of it, by level: the same for every frame of a clip."""
        return features_by_level(self.reference_encoder, reference, self.levels[0])

    def forward(
        self,
        pose: Pose,
        known: Mapping[int, Features],
        previous: Image,
        flows: Sequence[Flow],
        masks: Sequence[Mask],
    ) -> RendererOutput:
        """The frame of `pose`; `known` is what `look` said of the reference."""
        if not len(flows) == len(masks) == 2 * len(self.levels):
            raise ValueError(
                f"got {len(flows)} flows and {len(masks)} masks for attention at levels "
                f"{self.levels}: give two of each per level, previous before reference"
            )
        seen = features_by_level(self.previous_encoder, previous, self.levels[0])
        features, weights = pose, []
        for block in self.target_encoder.values():
            features = block(features)  # half the size
        guides = iter(zip(flows, masks, strict=True))
        for level, decode in self.decoder.items():
            if level in self.previous_attention:
                k = int(level)
                p = self.previous_attention[level].join(seen[k], features, *next(guides))
                r = self.reference_attention[level].join(known[k], features, *next(guides))
                features = p.features + r.features
                weights += [p.weights, r.weights]
            features = decode(features)  # twice the size
        return RendererOutput(self.output(features), tuple(flows), tuple(masks), tuple(weights))


def _in_turn(p: Iterable[Tensor], r: Iterable[Tensor]) -> tuple[Tensor, ...]:
    return tuple(part for pair in zip(p, r, strict=True) for part in pair)
