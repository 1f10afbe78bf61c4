"""Looking inside a model: what passes through every box, and where one pixel came from.

The drawings of notebook 00. Everything is read from what one forward pass returns, or from hooks
that are removed again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from torch import Tensor, nn

from gfla import viz
from gfla.model import GFLA
from gfla.types import Output

_LEVELLED = {  # the boxes that exist once a level -> the paper's symbol for what they give
    "flow.head": "w, m",
    "renderer.source_encoder": "f_s",
    "renderer.target_encoder": "f_t",
    "renderer.attention": "f_attn, k",
    "renderer.decoder": "",
}


class Box(NamedTuple):
    """One box of the paper's figure, as a real forward pass went through it."""

    symbol: str  # the paper's, of what the box gives
    name: str  # where it is: model.get_submodule(name)
    file: str  # where its class is written
    takes: tuple[Tensor, ...]
    gives: tuple[Tensor, ...]

    def row(self) -> tuple[str, str, str, str, str]:
        """Symbol, name, file, and the shapes of one picture that went in and came out."""
        return self.symbol, self.name, self.file, _shapes(self.takes), _shapes(self.gives)


@torch.no_grad()
def watch(
    model: GFLA, source: Tensor, source_pose: Tensor, target_pose: Tensor
) -> tuple[Output, list[Box]]:
    """Run a model once and tell what went into and came out of each box.

    Args:
        model: in eval mode, if numbers are to be those of `render`.
        source: (B, 3, H, W).
        source_pose, target_pose: (B, 18, H, W).

    Returns:
        What the model returned, and its boxes in the order in which they finish: inside F, F
        itself, inside G, G itself. A box that does not run is missing.
    """
    seen: list[Box] = []
    hooks = []
    for name, symbol in _names(model).items():
        module = model.get_submodule(name)

        def note(module: nn.Module, takes: Any, gives: Any, name=name, symbol=symbol) -> None:
            seen.append(Box(symbol, name, _file(module), _flat(takes), _flat(gives)))

        hooks.append(module.register_forward_hook(note))
    try:
        output = model(source, source_pose, target_pose)
    finally:
        for hook in hooks:
            hook.remove()
    return output, seen


class Look(NamedTuple):
    """One position of one level, and where in the source it looks."""

    stride: int
    place: tuple[int, int]  # (x, y) of the position at its level
    flow: tuple[float, float]  # (dx, dy) in pixels of the level
    mask: float  # 1 = take the source, 0 = keep the target's features
    weights: Tensor  # (n, n), row by row, sum to 1
    source: tuple[float, float]  # (x, y) in pixels of the image, where the patch is centred
    target: tuple[float, float]  # (x, y) in pixels of the image, the position's centre


def follow(output: Output, size: tuple[int, int], index: int, pixel: tuple[int, int]) -> list[Look]:
    """Follow one target pixel into the source, level by level.

    The level of stride s sees pixel (x, y) at position (⌊x/s⌋, ⌊y/s⌋), whose centre is pixel
    (p + ½) s − ½ of the image; it reads the source at p + w(p).

    Args:
        output: of a model with attention.
        size: (H, W) of the image.
        index: which pair of the batch.
        pixel: (x, y) of the target image.

    Returns:
        One look per level, coarse → fine.

    Raises:
        ValueError: a pixel outside the image.
    """
    x, y = pixel
    if not (0 <= x < size[1] and 0 <= y < size[0]):
        raise ValueError(
            f"pixel is {pixel}, expected (x, y) inside an image of {size[1]}×{size[0]}"
        )
    looks = []
    for flow, mask, weights in zip(output.flows, output.masks, output.weights, strict=True):
        stride = size[0] // flow.shape[-2]
        column, row = x // stride, y // stride
        dx, dy = flow[index, :, row, column].tolist()
        side = round(weights.shape[1] ** 0.5)
        centre = tuple((p + 0.5) * stride - 0.5 for p in (column, row))
        there = centre[0] + dx * stride, centre[1] + dy * stride
        kernel = weights[index, :, row, column].detach().cpu().reshape(side, side)
        seen = mask[index, 0, row, column].item()
        looks.append(Look(stride, (column, row), (dx, dy), seen, kernel, there, centre))
    return looks


def draw_follow(batch: Mapping[str, Tensor], looks: Sequence[Look], index: int) -> Figure:
    """Draw where one pixel looks: target, source with the patches, and each level's weights.

    Args:
        batch: source and target (B, 3, H, W).
        looks: of `follow`, coarse → fine.
        index: which pair.

    Returns:
        Figure. Orange: the finest level's position. Magenta: the attended patches, the finest
        drawn full, coarser ones dashed and dotted.
    """
    height, width = batch["source"].shape[-2:]
    figure = Figure(figsize=(viz.WIDE, 1.75), layout="constrained")
    ratios = [1.25, 1.25] + [1.0] * len(looks)
    axes = figure.subplots(1, len(ratios), width_ratios=ratios)
    fine = looks[-1]
    for place, name in zip(axes, ("target", "source"), strict=False):
        _show(place, viz.to_uint8(batch[name][index]), name)
        place.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    _square(axes[0], fine.target, fine.stride, color=viz.TARGET, lw=1.8)
    for look, line in zip(reversed(looks), ("-", "--", ":", "-."), strict=False):
        side = look.stride * len(look.weights)
        _square(axes[1], look.source, side, color=viz.ATTENTION, lw=1.5, ls=line)
    top = max(0.5, *(float(look.weights.max()) for look in looks))
    for place, look in zip(axes[2:], looks, strict=True):
        place.imshow(look.weights.numpy(), cmap=viz.WEIGHTS, vmin=0, vmax=top)
        _bare(place, f"k at stride {look.stride}\nm = {look.mask:.2f}")
        for row, line in enumerate(look.weights.tolist()):
            for column, weight in enumerate(line):
                ink = "white" if weight > 0.5 * top else viz.INK
                place.text(column, row, f"{weight:.2f}", ha="center", va="center", color=ink)
    return figure


def draw_model(batch: Mapping[str, Tensor], output: Output, index: int) -> Figure:
    """Draw the paper in one picture: what goes in, what F finds, what attention takes, G's image.

    Args:
        batch: source, target (B, 3, H, W), source_keypoints, target_keypoints (B, 18, 2).
        output: of a model with attention, for this batch; its finest level is drawn.
        index: which pair.

    Returns:
        Figure, to be read from left to right; blue comes from the source, orange from the target.
    """
    size = tuple(batch["source"].shape[-2:])
    flow = output.flows[-1][index].detach() * (size[0] / output.flows[-1].shape[-2])
    limit = float(flow.norm(dim=0).max())
    source, target = (viz.to_uint8(batch[name][index]) for name in ("source", "target"))
    poses = [
        viz.skeleton(batch[f"{name}_keypoints"][index], size, 3) for name in ("source", "target")
    ]
    mask, weights = viz.mask_image(output.masks[-1][index]), output.weights[-1][index]
    figure = Figure(figsize=(viz.WIDE, 3.5), layout="none")
    for corner, picture, label, color in (
        ((0.005, 0.71), source, "source  $x_s$", viz.SOURCE),
        ((0.005, 0.38), poses[0], "its pose  $p_s$", viz.SOURCE),
        ((0.005, 0.05), poses[1], "target pose  $p_t$", viz.TARGET),
        ((0.325, 0.55), viz.flow_to_color(flow, limit), "flow  $w$", viz.INK),
        ((0.325, 0.22), mask, "mask  $m$", viz.INK),
        ((0.575, 0.27), attention_picture(weights), "weights  $k$", viz.ATTENTION),
        ((0.865, 0.38), viz.to_uint8(output.image[index]), r"ours  $\hat{x}_t$", viz.GENERATED),
        ((0.865, 0.05), target, "target  $x_t$", viz.PALE),
    ):
        side = 0.175 if color == viz.ATTENTION else 0.13
        axes = figure.add_axes((*corner, side, side * viz.WIDE / 3.5), zorder=2)
        _show(axes, picture, label)
        for spine in axes.spines.values():
            spine.set(color=color, linewidth=1.4)
    _box(figure, (0.19, 0.36), (0.09, 0.31), "F", "flow.py")
    _box(figure, (0.52, 0.19), (0.285, 0.65), "G", "renderer.py", at=0.875)
    figure.text(0.6625, 0.65, "local attention: attention.py", ha="center", size=7.5)
    for start, end, color, bend in _ARROWS:
        _arrow(figure, start, end, color, bend)
    key = figure.add_axes((0.21, 0.2, 0.05, 0.05 * viz.WIDE / 3.5))
    viz.flow_key(key, limit)
    return figure


_ARROWS = (  # from, to, in shares of the figure; colour; bend
    ((0.14, 0.80), (0.19, 0.60), viz.SOURCE, 0.0),
    ((0.14, 0.515), (0.19, 0.515), viz.SOURCE, 0.0),
    ((0.14, 0.23), (0.19, 0.43), viz.TARGET, 0.0),
    ((0.28, 0.57), (0.325, 0.65), viz.INK, 0.0),
    ((0.28, 0.46), (0.325, 0.38), viz.INK, 0.0),
    ((0.46, 0.65), (0.52, 0.60), viz.INK, 0.0),
    ((0.46, 0.38), (0.52, 0.43), viz.INK, 0.0),
    ((0.14, 0.93), (0.62, 0.845), viz.SOURCE, -0.09),
    ((0.14, 0.1), (0.62, 0.185), viz.TARGET, 0.09),
    ((0.805, 0.515), (0.86, 0.515), viz.GENERATED, 0.0),
)


def attention_picture(weights: Tensor):
    """Paint one level's weights (n·n, h, w) as a picture: each position is its n×n kernel."""
    side = round(weights.shape[0] ** 0.5)
    kernel = F.pixel_shuffle(weights.detach().cpu()[None], side)[0, 0]  # (n·h, n·w)
    return (viz.WEIGHTS(kernel.numpy())[..., :3] * 255).round().astype("uint8")


def _names(model: GFLA) -> dict[str, str]:
    """Box -> symbol."""
    found = {"flow": "w, m", "renderer": "x̂_t", "renderer.output": "x̂_t"}
    for name, symbol in _LEVELLED.items():
        for level in model.get_submodule(name):
            found[f"{name}.{level}"] = symbol
    return found


def _file(module: nn.Module) -> str:
    """The project's file that says what a module is; a Sequential is what is in it."""
    rooms = (type(one).__module__ for one in module.modules())
    return next(room for room in rooms if room.startswith("gfla.")).replace(".", "/") + ".py"


def _flat(values: Any) -> tuple[Tensor, ...]:
    if isinstance(values, Tensor):
        return (values,)
    return tuple(tensor for value in values for tensor in _flat(value))


def _shapes(tensors: Sequence[Tensor]) -> str:
    return ", ".join("×".join(map(str, tensor.shape[1:])) for tensor in tensors)


def _show(axes: Axes, picture, label: str) -> None:
    axes.imshow(picture, interpolation="nearest")
    _bare(axes, label)


def _bare(axes: Axes, label: str) -> None:
    axes.set(xticks=[], yticks=[], xlabel=label)
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set(visible=True, color=viz.PALE, linewidth=0.6)


def _box(figure: Figure, corner, size, name: str, file: str, at: float = 0.5) -> None:
    """A named box; `at` is the height of the name within it."""
    style = {"boxstyle": "round,pad=0.0,rounding_size=0.015", "fc": "#f4f4f4", "ec": viz.INK}
    figure.add_artist(FancyBboxPatch(corner, *size, lw=0.8, zorder=0, **style))
    x, y = corner[0] + size[0] / 2, corner[1] + size[1] * at
    figure.text(x, y, name, ha="center", va="bottom", size=13, weight="bold")
    figure.text(x, y - 0.01, file, ha="center", va="top", size=7.5)


def _arrow(figure: Figure, start, end, color: str, bend: float) -> None:
    shape = {"arrowstyle": "-|>", "mutation_scale": 9, "connectionstyle": f"arc3,rad={bend}"}
    figure.add_artist(FancyArrowPatch(start, end, color=color, lw=1.1, zorder=1, **shape))


def _square(axes: Axes, centre: tuple[float, float], side: float, **line: Any) -> None:
    corner = centre[0] - side / 2, centre[1] - side / 2
    axes.add_patch(Rectangle(corner, side, side, fill=False, **line))
