"""The figures of notebook 05: objects all the way round, and what is known of them by angle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import PlaceHolderLayoutEngine
from torch import Tensor

from gfla import films, ledger, viz
from gfla.data.solids import AZIMUTHS
from gfla.flow import upsample_flow
from gfla.scores.turning import DEGREES

COLORS = {  # appearance flow only moves source pixels: source blue
    "ours": viz.GENERATED, "appearance flow": viz.SOURCE, "copying": viz.MUTED,
    "true warp": viz.TARGET, "zero flow": viz.MUTED, "ball": viz.PALE,
    "objects": viz.INK, "canvas": viz.GENERATED, "published": viz.ATTENTION,
}  # fmt: skip
REFERENCES = "copying", "true warp", "zero flow", "ball"  # dashed: what no model made
PER_LINE = 9  # views beside each other; a turn is two lines
_GAP, _LEFT, _FOOT = 3, 96, 20  # pixels: between pictures, for words and source, for degrees


def turned(rounds: Mapping[str, Mapping[str, Tensor]], first: int = 0) -> Figure:
    """Draw objects all the way round, every pixel of the pictures a whole number of the figure's.

    Args:
        rounds: what an object is called -> label -> clip (18, 3, H, W) in [-1, 1], as
            `gfla.street.viewpoints.sides` makes them: source first, then a row each.
        first: azimuth bin of the source, which is marked.

    Returns:
        Figure: for each object the source, and two lines of nine views, a row a label; the source's
        angle is blue.

    Raises:
        ValueError: no object, or clips that are not 18 views.
    """
    blocks = [dict(clips) for clips in rounds.values()]
    lengths = {len(clip) for clips in blocks for clip in clips.values()}
    if lengths != {AZIMUTHS}:
        raise ValueError(f"clips of {sorted(lengths)} views: give objects with {AZIMUTHS} each")
    sources = [clips.pop("source") for clips in blocks]
    side = sources[0].shape[-1]
    room = round(viz.WIDE * viz.DPI) - _LEFT - side - 4 * _GAP
    scale = max(1, room // (PER_LINE * (side + _GAP)))
    step = scale * side + _GAP
    wide, tall = PER_LINE * step - _GAP, len(blocks[0]) * step - _GAP
    lines = AZIMUTHS // PER_LINE
    size = (
        _LEFT + side + 4 * _GAP + wide,
        len(blocks) * (lines * (tall + _FOOT + 2 * _GAP) + _FOOT),
    )
    engine = PlaceHolderLayoutEngine(True, True)  # "none" lasts until the figure is saved once
    figure = Figure(figsize=(size[0] / viz.DPI, size[1] / viz.DPI), layout=engine)
    top = size[1] - _GAP
    for name, clips, source in zip(rounds, blocks, sources, strict=True):
        place = (_GAP, top - side, side, side)
        _still(figure, size, place, viz.to_uint8(source[first]), f"{name},\n{first * DEGREES}°")
        for line in range(lines):
            views = range(line * PER_LINE, (line + 1) * PER_LINE)
            rows = [[viz.to_uint8(clip[v]) for v in views] for clip in clips.values()]
            axes = _axes(figure, size, (size[0] - wide, top - tall, wide, tall))
            axes.imshow(_mosaic(rows, scale), interpolation="nearest")
            middles = [scale * side / 2 + step * k for k in range(PER_LINE)]
            axes.set_xticks(middles, [f"{v * DEGREES}°" for v in views])
            axes.set_yticks(middles[: len(clips)], [_two_lines(label) for label in clips])
            axes.tick_params(length=0, pad=3)
            if first in views:
                axes.get_xticklabels()[first - views[0]].set(color=viz.SOURCE, weight="bold")
            top -= tall + _FOOT + 2 * _GAP
        top -= _FOOT
    return figure


def flows_around(
    truth: Tensor,
    foreground: Tensor,
    flows: Mapping[str, Tensor],
    turns: Sequence[int],
    limit: float | None = None,
) -> Figure:
    """Draw the flow of one object in several views: models, then the truth, over the object.

    Args:
        truth: (V, 2, H, W) in pixels.
        foreground: (V, 1, H, W).
        flows: label -> (V, 2, h, w) in pixels of its own level.
        turns: azimuth bins from the source, for each of the V views.
        limit: pixels drawn with full colour; by default one true vector in twenty is longer.

    Returns:
        Figure, a row a model, the truth last; the flow's key beside it.
    """
    size = tuple(truth.shape[-2:])
    lengths = truth.norm(dim=1, keepdim=True)[foreground > 0]
    limit = limit or float(lengths.quantile(0.95)) or 1.0
    rows = {name: upsample_flow(flow, size) * foreground for name, flow in flows.items()}
    rows["true flow"] = truth * foreground
    pictures = [[viz.flow_to_color(one, limit) for one in row] for row in rows.values()]
    figure = viz.grid(pictures, [f"{turn * DEGREES}°" for turn in turns], list(rows), limit)
    figure.axes[-1].set_xlabel(f"rim:\n{limit:.2g} px")  # many columns leave the key little room
    return figure


def by_angle(
    found: Mapping[str, Mapping[int, Mapping[str, float]]],
    panels: Mapping[str, tuple[str, Mapping[str, str]]],
) -> Figure:
    """Draw numbers against the angle of the turn.

    Args:
        found: model -> bin -> numbers, of `gfla.scores.turning.grouped`.
        panels: y label -> (model, line's name -> key), a panel each: which numbers are drawn. A
            line that is named like a model is that model's own.

    Returns:
        Figure, a panel beside the other, lines named above.
    """
    specs = []
    for label, (model, keys) in panels.items():
        lines, places = {}, {}
        for line, key in keys.items():
            numbers = found.get(line, found[model])
            places[line] = [DEGREES * turn for turn in numbers]
            lines[line] = [one[key] for one in numbers.values()]
        specs.append({
            "x": places, "lines": lines, "xlabel": "turn [degrees]", "ylabel": label,
            "colors": {line: COLORS[line] for line in lines if line in COLORS},
            "dashed": [line for line in lines if line in REFERENCES], "legend": False,
        })  # fmt: skip
    figure, handles = viz.panels(*specs, height=3.0), {}
    for axes in figure.axes:
        axes.set_xticks(range(0, 181, 20))
        axes.set_ylim(bottom=0)
        for line in axes.lines:
            handles.setdefault(line.get_label(), line)
    figure.legend(handles.values(), handles, loc="outside upper center", ncols=len(handles))
    return figure


def publish_film(clips: films.Clips, name: str, fps: float = 6, scale: int = 2) -> Path | None:
    """Write a film as GIF to where the present run keeps its figures; outside a run nothing.

    Args:
        clips, fps, scale: as `gfla.films.write`.
        name: of the file, without ending.

    Returns:
        The file, or None.
    """
    if not (folder := ledger.run_dir()):
        return None
    path = folder / "figures" / f"{name}.gif"
    path.parent.mkdir(parents=True, exist_ok=True)
    return films.write(path, clips, fps, scale=scale, most=1_000_000).path


# ---------------------------------------------------------------- inside


def _mosaic(rows: Sequence[Sequence[np.ndarray]], scale: int) -> np.ndarray:
    """Pictures of one size on white, every pixel drawn `scale` times larger."""
    height, width = (scale * side for side in rows[0][0].shape[:2])
    paper = np.full(
        (len(rows) * (height + _GAP) - _GAP, len(rows[0]) * (width + _GAP) - _GAP, 3), 255, np.uint8
    )
    for r, row in enumerate(rows):
        for c, picture in enumerate(row):
            y, x = r * (height + _GAP), c * (width + _GAP)
            large = picture.repeat(scale, axis=0).repeat(scale, axis=1)
            paper[y : y + height, x : x + width] = large
    return paper


def _two_lines(label: str) -> str:
    return label.replace(" ", "\n", 1)


def _axes(figure: Figure, size: tuple[int, int], place: tuple[int, int, int, int]):
    """Axes without a frame at left, bottom, width, height in pixels."""
    left, bottom, width, height = place
    shares = (left / size[0], bottom / size[1], width / size[0], height / size[1])
    axes = figure.add_axes(shares)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    return axes


def _still(figure: Figure, size, place, picture: np.ndarray, words: str) -> None:
    axes = _axes(figure, size, place)
    axes.imshow(picture, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.set_xlabel(words, color=viz.SOURCE, weight="bold")
