"""Sheets of poses, which show without a kernel what the widgets show with one."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from gfla import ledger, viz
from gfla.data.keypoints import LIMB_COLORS, LIMBS, OPENPOSE_18
from gfla.data.pasting import Parsed
from gfla.data.posing import Pose, with_angle
from gfla.data.stances import PRESETS, preset, with_facing
from gfla.interactive.live import Frame, Painter
from gfla.interactive.one_at_a_time import data_url

if TYPE_CHECKING:
    from IPython.display import HTML

_SIDE = 160  # pixels of a picture beside a slider
_LOOK = "height:56px;max-width:none;image-rendering:"  # said aloud: Jupyter's own rule is stronger
_SHOWN = ("target pose", "flow", "mask", "ours")


def preset_poses(like: Pose) -> dict[str, Pose]:
    """All presets for one person, by their names."""
    return {name: preset(name, like) for name in PRESETS}


def swept(pose: Pose, segment: str, degrees: Sequence[float]) -> dict[str, Pose]:
    """One segment at several angles, or the body turned: what a slider goes through.

    Args:
        pose: where to begin.
        segment: of `gfla.data.posing.SEGMENTS`, or "body turn".
        degrees: the angles.

    Returns:
        "30°" -> pose, in the order of the angles.

    >>> down = Pose(tuple((30.0, 20.0 + k) for k in range(18)), (64, 64))
    >>> list(swept(down, "left forearm", (0, 90)))
    ['0°', '90°']
    """
    turn = with_facing if segment == "body turn" else None
    return {f"{d:.0f}°": turn(pose, d) if turn else with_angle(pose, segment, d) for d in degrees}


def pose_sheet(painter: Painter, poses: Mapping[str, Pose], rows: Sequence[str] = _SHOWN) -> Figure:
    """Draw one person in many poses, a column each: skeleton, flow, mask, picture.

    Args:
        painter: model and source.
        poses: label -> pose; up to ten are readable.
        rows: what to show, of the names of `gfla.interactive.live.Frame.pictures`; what the model
            does not have is left out.

    Returns:
        Figure, labels under the columns, the flow's colour key beside it.

    Raises:
        ValueError: no pose, or a row that no model has.
    """
    known = ("source", *_SHOWN)
    if not poses or not set(rows) <= set(known):
        raise ValueError(f"{len(poses)} poses, rows {tuple(rows)}: give a pose and rows of {known}")
    frames = [painter.paint(pose) for pose in poses.values()]
    drawn = [frame.pictures() for frame in frames]
    there = [row for row in rows if row in drawn[0]]
    cells = [[pictures[row] for pictures in drawn] for row in there]
    limit = frames[0].limit if "flow" in there else None
    return viz.grid(cells, list(poses), ["generated" if r == "ours" else r for r in there], limit)


def sheet_slider(painter: Painter, poses: Mapping[str, Pose], what: str, start: int = 0) -> HTML:
    """A slider over poses that are painted now: it works where nothing runs, on a static page.

    Everything is in the text: pictures, and a script that makes a slider of them. A page that
    strips scripts shows all pictures as a sheet instead.

    Args:
        painter: model and source.
        poses: label -> pose, a stop of the slider each; thirteen or so keep it small.
        what: name of the slider.
        start: which pose is shown at first.

    Returns:
        For a notebook's cell to end with; `.data` is the text.

    Raises:
        ValueError: no pose, or a start that is none of them.
    """
    from IPython.display import HTML

    if not 0 <= start < len(poses):
        raise ValueError(f"start is {start}, there are {len(poses)} poses: choose one of them")
    stops = "".join(_stop(label, painter.paint(pose)) for label, pose in poses.items())
    shown = [name for name in _SHOWN if f'alt="{_said(name)},' in stops]
    told = f"{escape(what)}; from left to right: {', '.join(map(_said, shown))}"
    digest = ledger.digest(stops)
    script = Path(__file__).with_name("sheet_slider.js").read_text(encoding="utf-8")
    script = script.replace("DIGEST", digest).replace("SIDE", str(_SIDE))
    return HTML(
        f'<div data-gfla-slider="{digest}" data-start="{start}" data-what="{escape(what)}">'
        f"<div>{stops}</div><p>{told}</p></div>"
        f"<script>{{{script}}}</script>"
    )


def order_sheet(read: Parsed, picture: np.ndarray | None = None) -> Figure:
    """Draw key points that were read, each with its index, beside the names that they stand for.

    Args:
        read: of `gfla.data.pasting.parse`.
        picture: (H, W, 3) uint8, of the pose's size; without it the skeleton stands on white.

    Returns:
        Figure: is joint 4 the person's right wrist? Their right is at our left when they face us.
    """
    pose = read.pose
    height, width = pose.size
    tall = 3.6
    figure = Figure(
        figsize=(min(viz.WIDE, tall * width / height + 3.2), tall), layout="constrained"
    )
    stage, names = figure.subplots(1, 2, width_ratios=[tall * width / height, 3.2])
    paper = np.full((height, width, 3), 255, np.uint8) if picture is None else picture
    stage.imshow(paper, interpolation="nearest", alpha=1.0 if picture is None else 0.6)
    _skeleton(stage, pose)
    stage.set(xticks=[], yticks=[], xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    stage.set_xlabel(f"read as {read.order}")
    stage.grid(False)
    names.axis("off")
    for index, name in enumerate(OPENPOSE_18):
        column, row = divmod(index, 9)
        lost = pose.points[index] is None
        text = f"{index}  {name.replace('_', ' ')}" + (" (missing)" if lost else "")
        names.text(0.5 * column, 1 - (row + 0.5) / 9, text, color=viz.MUTED if lost else viz.INK)
    return figure


def _said(row: str) -> str:
    return "generated" if row == "ours" else row


def _stop(label: str, frame: Frame) -> str:
    """One stop of a slider: the pictures of one answer beside each other."""
    pictures = {name: picture for name, picture in frame.pictures().items() if name in _SHOWN}
    drawn = Image.fromarray(pictures["target pose"])  # larger than the rest, as on a fine screen
    small = (round(_SIDE * drawn.width / drawn.height), _SIDE)
    pictures["target pose"] = np.asarray(drawn.resize(small, Image.Resampling.LANCZOS))
    cells = "".join(
        f'<img src="{data_url(_small_png(pictures[name]))}" alt="{_said(name)}, {escape(label)}" '
        f'height="56" style="{_LOOK}{"auto" if name == "target pose" else "pixelated"}"> '
        for name in _SHOWN
        if name in pictures
    )
    return f'<span title="{escape(label)}" style="white-space:nowrap">{cells}</span> '


def _small_png(picture: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def _skeleton(axes: Axes, pose: Pose) -> None:
    points = pose.points
    for (a, b), color in zip(LIMBS, LIMB_COLORS, strict=True):
        if points[a] and points[b]:
            line = np.array([points[a], points[b]]).T
            axes.plot(*line, color=viz.INK, lw=5, solid_capstyle="round")
            ink = tuple(channel / 255 for channel in color)
            axes.plot(*line, color=ink, lw=3.6, solid_capstyle="round")
    rim = {"boxstyle": "round,pad=0.12", "fc": "white", "ec": "none", "alpha": 0.8}
    for index, point in enumerate(points):
        if point:
            axes.plot(*point, "o", color=viz.INK, ms=5, mec="white", mew=0.8)
            axes.annotate(
                str(index), point, (4, 4), textcoords="offset points", fontsize=7, bbox=rim
            )
