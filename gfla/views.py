"""View synthesis: F and G for an object that is seen from another side (docs/spec.md 4.5).

A view is a code of shape (B, 21, 1, 1), one-hot azimuth and one-hot elevation; it has no place in
the picture, and must be given one before a convolutional network can use it. There are two ways:

    "published"   the code, the same at every place. The next thing is an instance norm, and the
                  norm of a constant is zero: the main branch of the first block knows nothing of
                  the view, and only the shortcut, which has no norm, carries it on, as a colour
                  that is the same everywhere but at the border.
    "canvas"      a learned map for every code, with a place of its own for everything it says,
                  and no norm before it has met the picture. This cure is ours.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gfla.attention import WAYS
from gfla.blocks import SLOPE, ResBlock, ResBlockDecoder, initialise, norm, width
from gfla.flow import FlowNet, FlowOutput, NoFlow, upsample_flow
from gfla.inputs import check_shape, check_values
from gfla.renderer import Renderer
from gfla.sampling import warp
from gfla.types import Features, Image, Output, View

KERNEL_SIZES = {2: 5, 3: 3}  # the paper's, for 256×256

# Our names → the published ones, beside those that all generators have (docs/spec.md section 10).
PUBLISHED = (
    ("flow.cat.", "flow_net.cat.model.0."),
    ("renderer.target_encoder.first.", "target.block0."),
    ("renderer.target_encoder.second.", "target.block1."),
)


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
        """Maps of about one: a code has two or four ones, and no norm will lift what is small."""
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


class CanvasOfBoth(nn.Module):
    """F's lowest features meet a canvas of both codes, in a block that has no norm.

    The features are normalised before, so that neither of the two drowns the other.

    Args: channels of the features; view_channels; out, channels of the canvas; size (h, w).
    Args of forward: features (B, channels, h, w), both views.  Returns (B, channels, h, w).
    """

    def __init__(self, channels: int, view_channels: int, out: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.norm = norm(channels)
        self.canvas = Canvas(2 * view_channels, out, size)
        self.block = ResBlock(channels + out, channels, normalised=False)

    def begin(self) -> None:
        """A gain of 1, because no norm will lift what 0.02 makes small."""
        self.canvas.begin()
        initialise(self.block, gain=1.0)

    def forward(self, features: Features, source_view: View, target_view: View) -> Features:
        canvas = self.canvas(torch.cat([source_view, target_view], 1))
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
        """A gain of 1 but for the last block: what comes out is blended with what the source's
        encoder gives, whose last convolution has the usual 0.02."""
        self["canvas"].begin()
        initialise(self["first"], gain=1.0)


CODES = {"published": (TiledDifference, TiledStart), "canvas": (CanvasOfBoth, CanvasStart)}


class ViewFlowEstimator(FlowNet):
    """Estimates flow fields and occlusion masks from a picture and two views.

    (w, m) = F(x_s, v_s, v_t): the picture alone goes down; at the lowest level the views join it.

    Args:
        size: (H, W) of the pictures.
        image_channels, view_channels: 3 colours, 18 azimuths + 3 elevations.
        base, cap, depth, levels, mask_start: of `gfla.flow.FlowNet`.
        code: "published" or "canvas".

    Returns (forward): FlowOutput of flows and masks, one per level, coarse → fine.

    Raises:
        ValueError: as `FlowNet`; a size that the depth does not divide; an unknown code.

    >>> estimator = ViewFlowEstimator((16, 32), base=4, cap=8, depth=3, levels=(1, 2))
    >>> view = torch.zeros(1, 21, 1, 1)
    >>> flows, masks = estimator(torch.zeros(1, 3, 16, 32), view, view)
    >>> [tuple(flow.shape) for flow in flows]
    [(1, 2, 4, 8), (1, 2, 8, 16)]
    """

    def __init__(
        self,
        size: tuple[int, int] = (256, 256),
        image_channels: int = 3,
        view_channels: int = 21,
        base: int = 32,
        cap: int = 256,
        depth: int = 5,
        levels: tuple[int, ...] = (2, 3),
        mask_start: float = 0.5,
        code: str = "published",
    ) -> None:
        super().__init__(image_channels, base, cap, depth, levels, mask_start)
        meeting, _ = _code(code)
        lowest = width(depth, base, cap)
        self.cat = meeting(lowest, view_channels, base, _divided(size, depth, "flow_depth"))
        initialise(self.cat)
        self.cat.begin()

    def forward(self, source: Image, source_view: View, target_view: View) -> FlowOutput:
        skips = self.descend(source)
        *_, lowest = skips.values()
        return self.ascend(self.cat(lowest, source_view, target_view), skips)


class _OfViews(nn.Module):
    """What both models here share: their size, and a look at what they are given."""

    size: tuple[int, int]
    arguments: dict

    @torch.no_grad()
    def render(self, source: Image, source_view: View, target_view: View) -> Image:
        """The source's object from the target view, without gradients.

        Args:
            source: (B, 3, H, W) in [-1, 1], of the model's own size.
            source_view, target_view: (B, 21, 1, 1), one-hot azimuth and elevation; shares of two
                neighbouring azimuths are a view in between.

        Returns:
            image (B, 3, H, W) in [-1, 1].

        Raises:
            TypeError, ValueError: what `forward` refuses, values that are not finite, a source
                outside [-1, 1], or a view that is none.
        """
        self._check_shapes(source, source_view, target_view)
        views = {"source_view": source_view, "target_view": target_view}
        check_values({"source": source}, views)
        for name, view in views.items():
            low, high = view.aminmax()
            if low < 0 or high > 1 or (view.sum(1) == 0).any():
                raise ValueError(
                    f"{name} has values from {low:.4g} to {high:.4g}, expected one-hot azimuth and "
                    "elevation: a one in each, zeros elsewhere"
                )
        return self(source, source_view, target_view).image

    def _check_shapes(self, source: Tensor, source_view: Tensor, target_view: Tensor) -> None:
        hint = "this model makes pictures of its own size; resize them, or build it for theirs"
        check_shape("source", source, ("B", self.arguments["image_channels"], *self.size), hint)
        for name, view in (("source_view", source_view), ("target_view", target_view)):
            hint = "one code for each picture"
            check_shape(name, view, (len(source), self.arguments["view_channels"], 1, 1), hint)


class Views(_OfViews):
    """An object from another side: F, then G, told by codes of the view instead of poses.

    (w, m) = F(x_s, v_s, v_t)   and   x̂_t = G(x_s, v_t, w, m)

    Args:
        size: (H, W) of the pictures, the only size that it takes.
        kernel_sizes: {level: n}, where attention looks and the side of its patch.
        image_channels, view_channels: 3 colours, 18 azimuths + 3 elevations.
        flow_base, flow_cap, flow_depth: widths and halvings of the flow estimator.
        base, cap, depth: widths and halvings of the renderer. The code enters it at stride
            2**(depth + 2).
        hidden: width of the kernel net inside the attention.
        attention: "full", "bilinear", "global" or "baseline", as in `gfla.model.GFLA`. The last
            two have no flow estimator; their source encoder is given the source's view.
        mask_start: the value that every mask begins with.
        true_colors: leave the norms out of the source encoder's first block.
        code: "published" as the authors' layout has it, where instance norms silence the code;
            "canvas", our cure (the head of this file).

    Returns (forward): Output of image, flows, masks and weights.

    Raises:
        ValueError: an unknown attention or code, levels beyond the depth, a size that is no
            multiple of the strides; (forward) another size, or shapes that do not fit.
        TypeError: (forward) something else than tensors of floating-point numbers.

    The defaults are the paper's ShapeNet model of 14,341,323 parameters.

    >>> model = Views((32, 32), {1: 3}, flow_base=4, flow_depth=3, base=4, depth=2, hidden=4)
    >>> view = torch.zeros(1, 21, 1, 1)
    >>> output = model(torch.zeros(1, 3, 32, 32), view, view)
    >>> output.image.shape, output.flows[0].shape
    (torch.Size([1, 3, 32, 32]), torch.Size([1, 2, 16, 16]))
    """

    def __init__(
        self,
        size: tuple[int, int] = (256, 256),
        kernel_sizes: Mapping[int, int] | None = None,
        image_channels: int = 3,
        view_channels: int = 21,
        flow_base: int = 32,
        flow_cap: int = 256,
        flow_depth: int = 5,
        base: int = 64,
        cap: int = 512,
        depth: int = 3,
        hidden: int = 128,
        attention: str = "full",
        mask_start: float = 0.5,
        true_colors: bool = False,
        code: str = "published",
    ) -> None:
        super().__init__()
        if attention not in WAYS:
            raise ValueError(f"attention is {attention!r}: choose one of {sorted(WAYS)}")
        self.size, kernel_sizes = _plain(size, kernel_sizes)
        self.arguments = {
            "size": self.size,
            "kernel_sizes": kernel_sizes,
            "image_channels": image_channels,
            "view_channels": view_channels,
            "flow_base": flow_base,
            "flow_cap": flow_cap,
            "flow_depth": flow_depth,
            "base": base,
            "cap": cap,
            "depth": depth,
            "hidden": hidden,
            "attention": attention,
            "mask_start": mask_start,
            "true_colors": true_colors,
            "code": code,
        }
        way = WAYS[attention]
        self.flow = NoFlow()
        if way.guided:
            self.flow = ViewFlowEstimator(
                self.size, image_channels, view_channels, flow_base, flow_cap, flow_depth,
                tuple(kernel_sizes), mask_start, code,
            )  # fmt: skip
        _, start = _code(code)
        low = _divided(self.size, depth + 2, "depth, and two doublings before it,")
        self.renderer = Renderer(
            image_channels, view_channels, base, cap, depth, kernel_sizes, hidden, way,
            true_colors, mask_start, start(view_channels, base, width(depth, base, cap), low),
        )  # fmt: skip
        self.renderer.target_encoder.begin()

    def forward(self, source: Image, source_view: View, target_view: View) -> Output:
        self._check_shapes(source, source_view, target_view)
        flows, masks = self.flow(source, source_view, target_view)
        known = source
        if not self.renderer.guided:
            known = torch.cat([source, source_view.expand(-1, -1, *self.size)], 1)
        return Output(*self.renderer(known, target_view, flows, masks))


class AppearanceFlow(_OfViews):
    """Plain appearance flow: F alone, and the picture itself moved by its finest flow.

    x̂_t(l) = x_s(l + w(l)), bilinear: Bi-Sample without a renderer

    Args:
        size, image_channels, view_channels, flow_base, flow_cap, flow_depth, code: as in `Views`.
        kernel_sizes: {level: n}; its levels are those where F gives flow, the n are for the losses.
        mask_start: of masks that F has and nothing here uses.

    Returns (forward): Output of image and flows; no masks, no weights.

    Raises:
        ValueError, TypeError: as `Views`.

    What the source does not show cannot be painted, only stretched from what is near.

    >>> model = AppearanceFlow((32, 32), {1: 3, 2: 3}, flow_base=4, flow_depth=3)
    >>> view = torch.zeros(1, 21, 1, 1)
    >>> output = model(torch.ones(1, 3, 32, 32), view, view)
    >>> bool(output.image.eq(1).all()), len(output.flows), output.masks
    (True, 2, ())
    """

    def __init__(
        self,
        size: tuple[int, int] = (256, 256),
        kernel_sizes: Mapping[int, int] | None = None,
        image_channels: int = 3,
        view_channels: int = 21,
        flow_base: int = 32,
        flow_cap: int = 256,
        flow_depth: int = 5,
        mask_start: float = 0.5,
        code: str = "published",
    ) -> None:
        super().__init__()
        self.size, kernel_sizes = _plain(size, kernel_sizes)
        self.arguments = {
            "size": self.size,
            "kernel_sizes": kernel_sizes,
            "image_channels": image_channels,
            "view_channels": view_channels,
            "flow_base": flow_base,
            "flow_cap": flow_cap,
            "flow_depth": flow_depth,
            "mask_start": mask_start,
            "code": code,
        }
        self.flow = ViewFlowEstimator(
            self.size, image_channels, view_channels, flow_base, flow_cap, flow_depth,
            tuple(kernel_sizes), mask_start, code,
        )  # fmt: skip

    def forward(self, source: Image, source_view: View, target_view: View) -> Output:
        self._check_shapes(source, source_view, target_view)
        flows, _ = self.flow(source, source_view, target_view)
        image = warp(source, upsample_flow(flows[-1], self.size))
        return Output(image, flows, (), ())


def _plain(size, kernel_sizes) -> tuple[tuple[int, int], dict[int, int]]:
    """Both as JSON, through which they travel with the weights, may give them back."""
    kernel_sizes = KERNEL_SIZES if kernel_sizes is None else kernel_sizes
    sizes = {int(level): int(n) for level, n in dict(kernel_sizes).items()}
    return (int(size[0]), int(size[1])), sizes


def _code(name: str) -> tuple[type, type]:
    if name not in CODES:
        raise ValueError(f"code is {name!r}: choose one of {sorted(CODES)}")
    return CODES[name]


def _divided(size: tuple[int, int], halvings: int, what: str) -> tuple[int, int]:
    """The size after some halvings, of which more than one place must be left."""
    step = 2**halvings
    height, width = size
    if height % step or width % step or height * width <= step * step:
        raise ValueError(
            f"size is {tuple(size)}: {what} asks for multiples of {step} on each side, larger than "
            f"{step}×{step}"
        )
    return height // step, width // step
