"""G, the local neural texture renderer: the source's texture, brought to the target's pose."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from torch import Tensor, nn

from gfla.attention import LocalAttention
from gfla.blocks import EncoderBlock, OutputBlock, ResBlock, ResBlockDecoder, initialise, width
from gfla.types import Features, Flow, Image, Mask, Pose


class RendererOutput(NamedTuple):
    """What G returns."""

    image: Image  # (B, 3, H, W) in [-1, 1]
    flows: tuple[Flow, ...]  # each (B, 2, h, w), coarse → fine: where the source was read
    masks: tuple[Mask, ...]  # each (B, 1, h, w): the share of what was read there
    weights: tuple[Tensor, ...]  # each (B, n·n, h, w): who was attended to, inside the patch


class Renderer(nn.Module):
    """Renders the target picture from source features, moved by flow and by local attention.

    At each level with attention, from coarse to fine:
    f_attn = attention(f_s, f_t, w)  and  f_out = (1 − m) · f_t + m · f_attn,
    and only then the decoder of that level doubles the size. A way that is not guided by a flow
    joins the two in its own manner (`gfla.attention`) and is given the source's pose as well,
    which the others know through F.

    Args:
        image_channels: of source and result, 3.
        pose_channels: of the target pose, 18 heat maps.
        base, cap: width of the first level, and the width that no level exceeds.
        depth: number of halvings of both encoders.
        kernel_sizes: {level: n}, the side of the attended patch; levels from 1 to depth.
        hidden: width of the kernel net inside the attention.
        true_colors: leave the norms out of the source encoder's first block. With them, as in the
            paper, the source's own mean and contrast are gone before anything has seen them.
        attention: class of the attention, called as attention(channels, n, hidden).
        mask_start: the value that a mask begins with where the attention has one of its own.
        target_encoder: blocks, run in order, that make f_t at stride 2**depth from a target that
            is told by something else than maps of the picture's size; its own encoder if None.

    Returns (forward): RendererOutput of image (B, 3, H, W), and flows, masks and attention
        weights, each empty where this way has none.

    Raises:
        ValueError: a level outside 1 … depth, or (forward) flows that do not fit the levels.

    The source encoder has all `depth` blocks, as the published layout has, and runs only as deep
    as the coarsest level with attention: in the Market-1501 model its last block never trains
    (docs/spec.md 4.2).

    >>> import torch
    >>> renderer = Renderer(base=4, cap=8, depth=2, kernel_sizes={1: 3}, hidden=4)
    >>> flow, mask = torch.full((1, 2, 8, 8), 0.3), torch.ones(1, 1, 8, 8)
    >>> output = renderer(torch.zeros(1, 3, 16, 16), torch.zeros(1, 18, 16, 16), [flow], [mask])
    >>> output.image.shape, output.weights[0].shape
    (torch.Size([1, 3, 16, 16]), torch.Size([1, 9, 8, 8]))
    """

    def __init__(
        self,
        image_channels: int = 3,
        pose_channels: int = 18,
        base: int = 64,
        cap: int = 512,
        depth: int = 3,
        kernel_sizes: Mapping[int, int] | None = None,
        hidden: int = 128,
        attention: Callable[[int, int, int], nn.Module] = LocalAttention,
        true_colors: bool = False,
        mask_start: float = 0.5,
        target_encoder: nn.ModuleDict | None = None,
    ) -> None:
        super().__init__()
        kernel_sizes = {2: 5, 3: 3} if kernel_sizes is None else dict(kernel_sizes)
        self.levels = attended_levels(kernel_sizes, depth)
        c = widths(base, cap, depth)
        self.guided = attention.guided
        source_channels = image_channels + (0 if self.guided else pose_channels)
        self.source_encoder = encoder([source_channels, *c[1:]])
        self.target_encoder = target_encoder or encoder([pose_channels, *c[1:]])
        self.attention = nn.ModuleDict(
            {str(k): attention(c[k], kernel_sizes[k], hidden) for k in self.levels}
        )
        self.decoder = decoder(c)
        self.output = OutputBlock(c[0], image_channels)
        initialise(self)
        if true_colors:
            self.source_encoder["1"] = first_of_true_colors(source_channels, c[1])
        for way in self.attention.values():
            way.begin(mask_start)

    def forward(
        self,
        source: Image,
        target_pose: Pose,
        flows: Sequence[Flow] = (),
        masks: Sequence[Mask] = (),
    ) -> RendererOutput:
        guides = self._guides(flows, masks)
        source_features = features_by_level(self.source_encoder, source, self.levels[0])
        features = target_pose
        for block in self.target_encoder.values():
            features = block(features)  # on the way to (B, c, H/2^depth, W/2^depth)
        found = []
        for level, decoder in self.decoder.items():
            if level in self.attention:
                known = source_features[int(level)]
                found.append(self.attention[level].join(known, features, *guides[int(level)]))
                features = found[-1].features
            features = decoder(features)  # twice the size
        told = zip(*(joined[1:] for joined in found), strict=True)
        told = (tuple(x for x in of_levels if x is not None) for of_levels in told)
        return RendererOutput(self.output(features), *told)

    def _guides(self, flows: Sequence[Flow], masks: Sequence[Mask]) -> dict[int, tuple]:
        """Flow and mask by level; a way that is not guided has neither."""
        wanted = len(self.levels) if self.guided else 0
        if not len(flows) == len(masks) == wanted:
            raise ValueError(
                f"got {len(flows)} flows and {len(masks)} masks for attention at levels "
                f"{self.levels}: give {wanted} of each, coarse to fine"
            )
        if not self.guided:
            return dict.fromkeys(self.levels, ())
        return dict(zip(self.levels, zip(flows, masks, strict=True), strict=True))


def widths(base: int, cap: int, depth: int) -> list[int]:
    """Channels by level, 0 to `depth`; level 0 is the decoder's end.

    >>> widths(4, 8, 3)
    [4, 4, 8, 8]
    """
    return [base] + [width(level, base, cap) for level in range(1, depth + 1)]


def attended_levels(kernel_sizes: Mapping[int, int], depth: int) -> tuple[int, ...]:
    """The levels with attention, coarse → fine; ValueError where the depth has no such level."""
    levels = tuple(sorted(kernel_sizes, reverse=True))
    if not levels or levels[-1] < 1 or levels[0] > depth:
        raise ValueError(
            f"kernel_sizes is {dict(kernel_sizes)}: a renderer of depth {depth} attends at levels "
            f"1 to {depth}; give {{level: n}} for at least one of those"
        )
    return levels


def encoder(widths: Sequence[int]) -> nn.ModuleDict:
    """One halving per step of `widths`, keyed by the level it arrives at."""
    return nn.ModuleDict(
        {str(k): EncoderBlock(widths[k - 1], widths[k]) for k in range(1, len(widths))}
    )


def decoder(widths: Sequence[int]) -> nn.ModuleDict:
    """One doubling per step of `widths`, coarse → fine, keyed by the level it starts from."""
    return nn.ModuleDict(
        {
            str(k): nn.Sequential(ResBlock(widths[k]), ResBlockDecoder(widths[k], widths[k - 1]))
            for k in reversed(range(1, len(widths)))
        }
    )


def first_of_true_colors(channels: int, out: int) -> EncoderBlock:
    """A first block without norms, whose gain is 1: no norm will lift what 0.02 makes small."""
    block = EncoderBlock(channels, out, normalised=False)
    initialise(block, gain=1.0)
    return block


def features_by_level(encoder: nn.ModuleDict, picture: Image, deepest: int) -> dict[int, Features]:
    """What an encoder says of a picture, no deeper than somebody looks."""
    found, features = {}, picture
    for level in range(1, deepest + 1):
        features = found[level] = encoder[str(level)](features)  # (B, c, H/2^level, W/2^level)
    return found
