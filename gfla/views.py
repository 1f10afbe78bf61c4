"""View synthesis: F and G for an object that is seen from another side (docs/spec.md 4.5).

How the views enter both is a room of its own, `gfla.view_codes`.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from gfla.attention import WAYS
from gfla.blocks import initialise, width
from gfla.flow import FlowNet, FlowOutput, NoFlow, upsample_flow
from gfla.inputs import check_shape, check_values
from gfla.renderer import Renderer
from gfla.sampling import warp
from gfla.storage import CheckpointError
from gfla.types import Image, Output, View
from gfla.view_codes import CODES, Entrances

KERNEL_SIZES = {2: 5, 3: 3}  # the paper's, for 256×256


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
        lowest = width(depth, base, cap)
        self.cat = _entrances(code).meeting(
            lowest, view_channels, base, _divided(size, depth, "flow_depth")
        )
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
            source_view, target_view: (B, 21, 1, 1), one-hot azimuth and elevation, in [0, 1].

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
            check_shape(name, view, (source.shape[0], self.arguments["view_channels"], 1, 1), hint)


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
            "canvas", our cure (`gfla.view_codes`).

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
        way, enter = WAYS[attention], _entrances(code)
        low = _divided(self.size, depth + 2, "depth, and two doublings before it,")
        self.flow, self.beside = NoFlow(), None
        if way.guided:
            self.flow = ViewFlowEstimator(
                self.size, image_channels, view_channels, flow_base, flow_cap, flow_depth,
                tuple(kernel_sizes), mask_start, code,
            )  # fmt: skip
        else:
            self.beside = enter.beside(view_channels, low, self.size)
            self.beside.begin()
        start = enter.start(view_channels, base, width(depth, base, cap), low)
        self.renderer = Renderer(
            image_channels, view_channels, base, cap, depth, kernel_sizes, hidden, way,
            true_colors, mask_start, start,
        )  # fmt: skip
        start.begin()

    @torch.no_grad()
    def adopt(self, people: nn.Module) -> Views:
        """Begin with a renderer that has learned on people how to carry texture and colour.

        Source encoder, attention, decoder and output are theirs; what enters by the view is not.

        Args:
            people: a trained `gfla.model.GFLA` with a renderer of the same widths.

        Returns:
            This model.

        Raises:
            gfla.storage.CheckpointError: another architecture.
        """
        try:
            for name in ("source_encoder", "attention", "decoder", "output"):
                theirs = getattr(people.renderer, name).state_dict()
                getattr(self.renderer, name).load_state_dict(theirs)
        except (AttributeError, RuntimeError) as error:
            raise CheckpointError(
                f"the renderer of a {type(people).__name__} does not fit ({error}): build the "
                "views with the widths, levels and way of that model"
            ) from error
        return self

    def forward(self, source: Image, source_view: View, target_view: View) -> Output:
        self._check_shapes(source, source_view, target_view)
        flows, masks = self.flow(source, source_view, target_view)
        known = source
        if self.beside is not None:
            known = torch.cat([source, self.beside(source_view)], 1)
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


def _entrances(name: str) -> Entrances:
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
