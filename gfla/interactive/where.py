"""Where a pixel of the result came from, drawn: as a live panel, and as a figure.

Orange is the pixel's own place, magenta what attention reads in the source. The finest level is
drawn full, the coarser ones dashed.
"""

from __future__ import annotations

from html import escape

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle

from gfla import viz
from gfla.anatomy import Look
from gfla.interactive.live import Frame, Origin, png
from gfla.interactive.one_at_a_time import data_url

_DASHES = ("", "2.2 1.2", "0.8 1.2")  # finest level first, in pixels of a picture 64 high
_LINES = ("-", "--", ":")
_READABLE = 7  # a neighbourhood up to this side has its weights written into it


def where_panel(frame: Frame, origin: Origin, width: int = 210) -> str:
    """Draw the way of one pixel as HTML: the source with arrow and patches, weights, a table.

    Args:
        frame: the answer that was pointed at.
        origin: of `gfla.interactive.live.where_from`.
        width: of the source's picture, in pixels of the screen.

    Returns:
        HTML with SVG in it, without scripts; the picture is part of it.
    """
    x, y = origin.pixel
    kernels = "".join(_kernel(look) for look in origin.looks)
    rows = "".join(_row(look) for look in origin.looks)
    table = (
        f"<table><tr><th>level</th><th>flow</th><th>mask</th><th>weight</th></tr>{rows}</table>"
        if rows
        else ""
    )
    note = f"<p>{escape(origin.note)}</p>" if origin.note else ""
    return (
        f'<div class="gfla-where"><p>Pixel ({x}, {y}) of the result, in the source:</p>'
        f'<div class="gfla-way">{_source(frame, origin, width)}<div>{kernels}</div></div>'
        f"{table}{note}</div>"
    )


def where_figure(frame: Frame, origin: Origin) -> Figure:
    """Draw the way of one pixel: result, source with arrow and patches, each level's weights.

    The still twin of `where_panel`.

    Args:
        frame, origin: as there.

    Returns:
        Figure, 7.2 inches wide.
    """
    figure = Figure(figsize=(viz.WIDE, 1.75), layout="constrained")
    ratios = [1.25, 1.25] + [1.0] * len(origin.looks)
    axes = figure.subplots(1, len(ratios), width_ratios=ratios)
    for place, picture, label in zip(
        axes, (frame.image, frame.source), ("generated", "source"), strict=False
    ):
        place.imshow(picture, interpolation="nearest")
        _bare(place, label)
        place.set(xlim=(-0.5, picture.shape[1] - 0.5), ylim=(picture.shape[0] - 0.5, -0.5))
    x, y = origin.pixel
    for place in axes[:2]:
        place.add_patch(Rectangle((x - 1, y - 1), 2, 2, fill=False, ec=viz.TARGET, lw=1.8))
    for box, line in zip(reversed(origin.boxes), _LINES, strict=False):
        left, top, wide, tall = box
        patch = Rectangle((left, top), wide, tall, fill=False, ec=viz.ATTENTION, lw=1.5, ls=line)
        axes[1].add_patch(patch)
    if origin.looks:
        ends = origin.looks[-1].target, origin.looks[-1].source
        arrow = {"arrowstyle": "-|>", "mutation_scale": 8, "color": viz.ATTENTION, "lw": 1.2}
        axes[1].add_patch(FancyArrowPatch(*ends, shrinkA=0, shrinkB=0, **arrow))
    for place, look in zip(axes[2:], origin.looks, strict=True):
        _weights(place, look)
    if origin.note:
        figure.supxlabel(origin.note, fontsize=8, color=viz.MUTED)
    return figure


# ---------------------------------------------------------------- the panel's parts


def _source(frame: Frame, origin: Origin, width: int) -> str:
    """The source as SVG, in whose coordinates a pixel is one unit, pixel centres at integers."""
    high, wide = frame.source.shape[:2]
    unit = high / 64
    drawn = [
        f'<image href="{data_url(png(frame.source))}" x="-0.5" y="-0.5" width="{wide}" '
        f'height="{high}" preserveAspectRatio="none" style="image-rendering:pixelated"/>'
    ]
    for (left, top, across, down), dash in zip(reversed(origin.boxes), _DASHES, strict=False):
        box = f'x="{left:.2f}" y="{top:.2f}" width="{across:.2f}" height="{down:.2f}" fill="none"'
        dashes = " ".join(f"{float(part) * unit:.2f}" for part in dash.split())
        drawn.append(f'<rect {box} stroke="#fff" stroke-width="{1.3 * unit:.2f}"/>')
        drawn.append(
            f'<rect {box} stroke="{viz.ATTENTION}" stroke-width="{0.7 * unit:.2f}" '
            f'stroke-dasharray="{dashes}"/>'
        )
    if origin.looks:
        look = origin.looks[-1]
        drawn.append(_arrow(look.target, look.source, unit))
    x, y = origin.pixel
    drawn.append(
        f'<rect x="{x - unit}" y="{y - unit}" width="{2 * unit}" height="{2 * unit}" fill="none" '
        f'stroke="{viz.TARGET}" stroke-width="{0.7 * unit:.2f}"/>'
    )
    return (
        f'<svg viewBox="-0.5 -0.5 {wide} {high}" width="{width}" role="img" '
        f'aria-label="The source, and where it was read">{"".join(drawn)}</svg>'
    )


def _arrow(start: tuple[float, float], end: tuple[float, float], unit: float) -> str:
    """An arrow with a white rim, so that it is seen on any picture."""
    (x0, y0), (x1, y1) = start, end
    length = float(np.hypot(x1 - x0, y1 - y0))
    if length < 0.5 * unit:
        return ""
    ahead = np.array([x1 - x0, y1 - y0]) / length
    aside = np.array([-ahead[1], ahead[0]])
    tip = min(2.6 * unit, 0.6 * length)
    corners = [(x1, y1)] + [
        tuple(np.array([x1, y1]) - tip * ahead + side * 0.55 * tip * aside) for side in (-1, 1)
    ]
    path = f"M{x0:.2f},{y0:.2f} L{x1:.2f},{y1:.2f} " + " ".join(
        f"{letter}{x:.2f},{y:.2f}" for letter, (x, y) in zip("MLL", corners, strict=True)
    )
    ink = f'fill="{viz.ATTENTION}" stroke="{viz.ATTENTION}" stroke-width="{0.7 * unit:.2f}"'
    rim = f'fill="none" stroke="#fff" stroke-width="{1.7 * unit:.2f}"'
    return f'<path d="{path} Z" {rim}/><path d="{path} Z" {ink}/>'


def _kernel(look: Look) -> str:
    """One level's weights: written out where they are few, a picture where they are many."""
    weights = look.weights.numpy()
    rows, columns = weights.shape
    side = 74 / max(rows, columns)  # all levels beside the source
    caption = f"<span>stride {look.stride}: {rows}×{columns}</span>"
    frame = f'<svg width="{side * columns:.0f}" height="{side * rows:.0f}" role="img" aria-label='
    if max(rows, columns) > _READABLE:
        paint = (viz.WEIGHTS(weights / weights.max())[..., :3] * 255).round().astype(np.uint8)
        inside = (
            f'<image href="{data_url(png(paint))}" width="100%" height="100%" '
            'preserveAspectRatio="none" style="image-rendering:pixelated"/>'
        )
        return f'<figure>{frame}"Weights over the source">{inside}</svg>{caption}</figure>'
    top = max(0.5, float(weights.max()))
    cells = []
    for row, line in enumerate(weights.tolist()):
        for column, weight in enumerate(line):
            x, y = column * side, row * side
            ink = "#fff" if weight > 0.5 * top else "#222"
            cells.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{side:.1f}" height="{side:.1f}" '
                f'fill="{_hex(weight / top)}"/><text x="{x + side / 2:.1f}" y="{y + side / 2:.1f}" '
                f'fill="{ink}" font-size="{min(11, 0.42 * side):.1f}" text-anchor="middle" '
                f'dominant-baseline="central">{_share(weight)}</text>'
            )
    return f'<figure>{frame}"Weights of the neighbourhood">{"".join(cells)}</svg>{caption}</figure>'


def _row(look: Look) -> str:
    dx, dy = (round(part * look.stride, 1) for part in look.flow)
    ways = (f"{abs(dx):.1f} px {'right' if dx > 0 else 'left'}" if dx else "",
            f"{abs(dy):.1f} px {'down' if dy > 0 else 'up'}" if dy else "")  # fmt: skip
    told = ", ".join(filter(None, ways)) or "none"
    return (
        f"<tr><td>stride {look.stride}</td><td>{told}</td><td>{look.mask:.2f}</td>"
        f"<td>{float(look.weights.max()):.2f}</td></tr>"
    )


def _hex(share: float) -> str:
    return "#" + "".join(f"{round(255 * channel):02x}" for channel in viz.WEIGHTS(share)[:3])


def _share(weight: float) -> str:
    """A weight in few signs: 0, .25, 1."""
    if 0.005 <= weight < 0.995:
        return f"{weight:.2f}".removeprefix("0")
    return f"{weight:.0f}"


def _weights(axes: Axes, look: Look) -> None:
    weights = look.weights.numpy()
    few = max(weights.shape) <= _READABLE
    top = max(0.5, float(weights.max())) if few else float(weights.max())
    axes.imshow(weights, cmap=viz.WEIGHTS, vmin=0, vmax=top, interpolation="nearest")
    _bare(axes, f"weights at stride {look.stride}\nmask {look.mask:.2f}")
    for (row, column), weight in np.ndenumerate(weights) if few else ():
        ink = "white" if weight > 0.5 * top else viz.INK
        axes.text(column, row, _share(weight), ha="center", va="center", color=ink)


def _bare(axes: Axes, label: str) -> None:
    axes.set(xticks=[], yticks=[], xlabel=label)
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set(visible=True, color=viz.PALE, linewidth=0.6)
