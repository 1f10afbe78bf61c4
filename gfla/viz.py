"""Every figure of the project: one palette, one style sheet, functions that return a Figure.

`gfla.pictures` turns one tensor into one picture (`to_uint8`, `flow_to_color`, `skeleton`, ...; all
importable from here); figures (`strip`, `grid`, `curves`, `bars`) arrange them. Figures are made
without pyplot: nothing is drawn twice in a notebook, nothing stays open in a long training run.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from gfla.pictures import flow_to_color, mask_image, pose_image, skeleton, to_uint8
from gfla.storage import atomic_write

SOURCE = "#1c56c8"  # blue: whatever comes from the source picture
TARGET = "#ee8f1c"  # orange: whatever belongs to the target
GENERATED = "#00ad7c"  # green: what a model made
ATTENTION = "#a8117a"  # magenta: attention weights and their doing
INK, MUTED, PALE = "#222222", "#707070", "#b8b8b8"  # text; references; background
LILAC = "#cf8fb9"  # a lighter magenta, where two attentions meet
CYCLE = (SOURCE, TARGET, GENERATED, ATTENTION, INK, MUTED)

NARROW, WIDE = 3.5, 7.2  # figure widths, inches
DPI = 110

WEIGHTS = LinearSegmentedColormap.from_list("gfla_weights", ["#ffffff", ATTENTION, "#2e0521"])
SIGNED = LinearSegmentedColormap.from_list("gfla_signed", [SOURCE, "#f7f7f7", TARGET])

_ORDER = ("source", "target pose", "flow", "mask", "ours", "target")  # of every strip


def style() -> None:
    """Put the project's style sheet in force for this process.

    Call it once, in a notebook's first cell. There it also has every Figure that ends a cell shown
    as a picture, at its own size.

    >>> style()
    >>> int(matplotlib.rcParams["figure.dpi"])
    110
    """
    ipython = sys.modules.get("IPython")
    if ipython and (shell := ipython.get_ipython()):
        from IPython.core.pylabtools import select_figure_formats

        select_figure_formats(shell, {"png"}, bbox_inches=None)
    matplotlib.rcParams.update(
        {
            "figure.dpi": DPI,
            "savefig.dpi": DPI,
            "figure.figsize": (WIDE, 2.6),
            "figure.constrained_layout.use": True,
            "font.size": 8.5,
            "axes.titlesize": 8.5,
            "axes.labelsize": 8.5,
            "axes.edgecolor": INK,
            "axes.linewidth": 0.7,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.prop_cycle": matplotlib.cycler(color=list(CYCLE)),
            "grid.color": "#e6e6e6",
            "grid.linewidth": 0.6,
            "lines.linewidth": 1.6,
            "legend.frameon": False,
            "legend.fontsize": 8,
            "xtick.labelsize": 8,
            "ytick.labelsize": 8,
            "image.interpolation": "nearest",
            "image.cmap": "cividis",
            "svg.hashsalt": "gfla",  # the same figure gives the same SVG
        }
    )


# ---------------------------------------------------------------- figures


def strip(
    batch: Mapping,
    outputs=None,
    indices: Sequence[int] = (0, 1, 2, 3),
    limit: float | None = None,
) -> Figure:
    """Draw pairs of a batch as rows: source, target pose, flow, mask, ours, target.

    Args:
        batch: dict with source, target (B, 3, H, W) and target_keypoints (B, 18, 2) or target_pose
            (B, 18, H, W).
        outputs: a model's output with image (B, 3, H, W), flows and masks (coarse to fine; the
            finest is drawn); without it only source, pose and target are shown.
        indices: which pairs, one row each; those beyond the batch are left out.
        limit: flow length drawn with full colour, in pixels of the image; by default the longest.
    Returns:
        Figure, labels under the last row, the flow's colour key beside it.
    """
    rows = [i for i in indices if i < len(batch["source"])]
    if limit is None:
        limit = max([_longest(outputs, i, batch) for i in rows], default=0.0) or 1.0
    pictures = [_panels(batch, outputs, i, limit) for i in rows]
    labels = [name for name in _ORDER if pictures and name in pictures[0]]
    cells = [[row[name] for name in labels] for row in pictures]
    return grid(cells, labels, limit=limit if "flow" in labels else None)


def grid(
    rows: Sequence[Sequence[np.ndarray]],
    labels: Sequence[str],
    side_labels: Sequence[str] = (),
    limit: float | None = None,
) -> Figure:
    """Lay pictures out in rows and columns, labels under the columns.

    Args:
        rows: rows of pictures, (h, w) or (h, w, 3) each, as `to_uint8` and its sisters make them.
        labels: one per column.
        side_labels: one per row, or none.
        limit: with it, a flow key of that many pixels is drawn at the right.
    Returns:
        Figure, at most 7.2 inches wide.
    Raises:
        ValueError: nothing to draw, or rows and labels that do not match.
    """
    if not rows or any(len(row) != len(labels) for row in rows):
        counts = [len(row) for row in rows]
        raise ValueError(f"rows of {counts} pictures for {len(labels)} labels: they must match")
    height, width = np.asarray(rows[0][0]).shape[:2]
    key = 0.6 if limit else 0.0  # the key's column, in columns of pictures
    cell = min(1.25, WIDE / (len(labels) + key))
    tall = cell * height / width
    figure = Figure(
        figsize=(cell * (len(labels) + key) + 0.1, tall * len(rows) + 0.25), layout="constrained"
    )
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0.02, hspace=0.02)
    ratios = [1.0] * len(labels) + ([key] if key else [])
    axes = figure.subplots(len(rows), len(ratios), squeeze=False, width_ratios=ratios)
    for r, row in enumerate(rows):
        for c, picture in enumerate(row):
            _picture(axes[r, c], picture, labels[c] if r == len(rows) - 1 else "")
        if len(side_labels):
            axes[r, 0].set_ylabel(side_labels[r])
        if key:
            axes[r, -1].axis("off")
    if limit:
        flow_key(axes[-1, -1], limit)
    return figure


def flow_key(axes, limit: float) -> None:
    """Draw the colour wheel that reads `flow_to_color` into axes; the rim is `limit` pixels."""
    line = np.linspace(-1.0, 1.0, 121)
    dx, dy = np.meshgrid(line, line)
    wheel = flow_to_color(np.stack([dx, dy]), limit=1.0)
    alpha = np.clip((1 - np.hypot(dx, dy)) * 60, 0, 1)[..., None] * 255
    axes.imshow(np.concatenate([wheel, alpha.astype(np.uint8)], axis=-1), interpolation="bilinear")
    axes.set_xlabel(f"rim: {limit:.2g} px")
    axes.set(xticks=[], yticks=[], frame_on=False)
    axes.axis("on")
    axes.grid(False)


def curves(
    x,
    lines: Mapping[str, object],
    xlabel: str,
    ylabel: str,
    *,
    colors: Mapping[str, str] | None = None,
    dashed: Sequence[str] = (),
    dotted: Sequence[str] = (),
    bands: Mapping[str, tuple] | None = None,
    marks: Mapping[float, str] | None = None,
    log: str = "",
    ylim: tuple | None = None,
    legend: bool = True,
    axes=None,
    width: float = WIDE,
) -> Figure:
    """Draw lines over a common x, each named.

    Args:
        x: abscissae, or a mapping from a line's name to its own.
        lines: name -> ordinates; NaN breaks a line.
        xlabel, ylabel: what the axes show, with the unit.
        colors: name -> colour; otherwise the palette in its order, and grey for dashed lines.
        dashed: names drawn dashed (theory, references).
        dotted: names drawn as separate points (single measurements).
        bands: name -> (low, high), a shaded band behind that line.
        marks: x -> text, thin vertical lines.
        log: "x", "y" or "xy" for logarithmic axes.
        ylim: limits of y.
        legend: name the lines; a neighbour panel with the same lines may do without.
        axes: draw here instead of into a new figure.
        width: inches, 3.5 or 7.2.
    Returns:
        Figure.
    """
    if axes is None:
        axes = Figure(figsize=(width, 2.7), layout="constrained").subplots()
    for (name, y), default in zip(lines.items(), CYCLE * 4, strict=False):
        color = (colors or {}).get(name, MUTED if name in dashed else default)
        own = np.asarray(x[name] if isinstance(x, Mapping) else x)
        shape = "--" if name in dashed else "o" if name in dotted else "-"
        axes.plot(own, np.asarray(y), shape, ms=4.5, color=color, label=name)
        if bands and name in bands:
            axes.fill_between(own, *map(np.asarray, bands[name]), color=color, alpha=0.18, lw=0)
    for place, text in (marks or {}).items():
        axes.axvline(place, color=PALE, lw=0.8, zorder=0)
        axes.annotate(
            text, (place, 1), (2, -2), color=MUTED, fontsize=7.5, va="top",
            xycoords=axes.get_xaxis_transform(), textcoords="offset points",
        )  # fmt: skip
    if "x" in log:
        axes.set_xscale("log")
    if "y" in log:
        axes.set_yscale("log")
    axes.set(xlabel=xlabel, ylabel=ylabel, **({"ylim": ylim} if ylim else {}))
    if legend and len(lines) > 1:
        axes.legend()
    return axes.figure


def panels(
    *specs: Mapping, shared_legend: bool = False, width: float = WIDE, height: float = 2.7
) -> Figure:
    """Draw several `curves` side by side.

    Args:
        specs: one mapping of arguments of `curves` per panel, from left to right.
        shared_legend: name the lines of the first panel once, above all of them.
        width, height: inches, of the whole.
    Returns:
        Figure.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    row = figure.subplots(1, len(specs), squeeze=False)[0]
    for axes, spec in zip(row, specs, strict=True):
        curves(**{"legend": not shared_legend, **spec}, axes=axes)
    if shared_legend:
        handles, names = row[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper center", ncols=len(names))
    return figure


def maps(fields: Mapping[str, object], unit: str, limit: float | None = None) -> Figure:
    """Draw scalar fields side by side under one colour bar, dark = 0.

    Args:
        fields: label -> (h, w), non-negative; NaN stays white.
        unit: what the values are, with the unit.
        limit: value drawn brightest; by default the largest of all.
    Returns:
        Figure.
    """
    arrays = {label: np.asarray(field, dtype=float) for label, field in fields.items()}
    top = limit or max(float(np.nanmax(array)) for array in arrays.values()) or 1.0
    cell = min(1.5, (WIDE - 0.7) / len(arrays))
    height, width = next(iter(arrays.values())).shape
    size = (cell * len(arrays) + 0.7, cell * height / width + 0.3)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(1, len(arrays), squeeze=False)[0]
    for place, (label, array) in zip(axes, arrays.items(), strict=True):
        _picture(place, array, label, vmin=0, vmax=top, cmap="cividis")
    figure.colorbar(axes[-1].images[0], ax=axes, label=unit, fraction=0.05, aspect=18)
    return figure


def bars(
    values: Mapping[str, float],
    xlabel: str,
    *,
    errors: Mapping[str, float] | None = None,
    colors: Mapping[str, str] | None = None,
    marks: Mapping[float, str] | None = None,
    form: str = "{:.2g}",
    width: float = WIDE,
) -> Figure:
    """Draw one horizontal bar per name, its value written at its end.

    Args:
        values: name -> length, drawn from top to bottom in this order.
        xlabel: what the length is, with the unit.
        errors: name -> half width of an error bar.
        colors: name -> colour; otherwise source blue.
        marks: x -> text, thin vertical lines.
        form: how a value is written.
        width: inches, 3.5 or 7.2.
    Returns:
        Figure.
    """
    figure = Figure(figsize=(width, 0.45 + 0.27 * len(values)), layout="constrained")
    axes = figure.subplots()
    for row, (name, value) in enumerate(values.items()):
        spread = (errors or {}).get(name, 0.0)
        axes.barh(row, value, 0.66, color=(colors or {}).get(name, SOURCE), xerr=spread or None)
        end = value + np.sign(value or 1) * spread
        axes.annotate(
            " " + form.format(value) + " ", (end, row), va="center",
            ha="left" if value >= 0 else "right",
        )  # fmt: skip
    for place, text in (marks or {}).items():
        axes.axvline(place, color=INK, lw=0.8, ls=":")
        axes.annotate(text, (place, 1), xycoords=axes.get_xaxis_transform(), fontsize=7.5)
    axes.set_yticks(range(len(values)), list(values))
    axes.invert_yaxis()
    axes.grid(False, axis="y")
    axes.margins(x=0.12)
    axes.set_xlabel(xlabel)
    return figure


# ---------------------------------------------------------------- where figures go


def publish(figure: Figure, name: str) -> Figure:
    """Save a figure as PNG and SVG into the run's folder, and hand it back to be shown.

    The folder is GFLA_RUN_DIR/figures; without that variable nothing is written.

    Args:
        figure: what to save.
        name: file name without ending, such as "01_basins".
    Returns:
        The same figure, so that the call can be a cell's last line.
    """
    folder = os.environ.get("GFLA_RUN_DIR")
    if folder:
        for kind in ("png", "svg"):
            path = Path(folder) / "figures" / f"{name}.{kind}"
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(path, image_bytes(figure, kind))
    return figure


def image_bytes(figure: Figure, kind: str = "png") -> bytes:
    """Render a figure to the bytes of a file of that kind (png, svg, pdf), without dates."""
    stream = io.BytesIO()
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    figure.savefig(stream, format=kind, dpi=DPI, metadata=metadata)
    return stream.getvalue()


# ---------------------------------------------------------------- inside


def _picture(axes, picture: np.ndarray, label: str, **colours) -> None:
    axes.imshow(picture, interpolation="nearest", **colours)
    axes.set(xticks=[], yticks=[], xlabel=label)
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set(visible=True, color=PALE, linewidth=0.5)


def _finest(outputs, index: int, batch: Mapping):
    """The finest flow of one pair in pixels of the image, (2, h, w), or None."""
    flows = getattr(outputs, "flows", ())
    if not flows:
        return None
    flow = flows[-1][index].detach().cpu()
    return flow * (batch["source"].shape[-1] / flow.shape[-1])


def _longest(outputs, index: int, batch: Mapping) -> float:
    flow = _finest(outputs, index, batch)
    return 0.0 if flow is None else float(flow.norm(dim=0).max())


def _panels(batch: Mapping, outputs, index: int, limit: float) -> dict[str, np.ndarray]:
    """The pictures of one pair, name -> (h, w, 3)."""
    size = tuple(batch["source"].shape[-2:])
    panels = {"source": to_uint8(batch["source"][index])}
    if "target_keypoints" in batch:
        panels["target pose"] = skeleton(batch["target_keypoints"][index], size, zoom=3)
    elif "target_pose" in batch:
        panels["target pose"] = pose_image(batch["target_pose"][index])
    flow = _finest(outputs, index, batch)
    if flow is not None:
        panels["flow"] = flow_to_color(flow, limit)
    if getattr(outputs, "masks", ()):
        panels["mask"] = mask_image(outputs.masks[-1][index])
    if outputs is not None:
        panels["ours"] = to_uint8(outputs.image[index])
    panels["target"] = to_uint8(batch["target"][index])
    return panels
