"""The figures of notebook 06: clips on paper, where their pixels come from, how steady they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from gfla import films, ledger, metrics, viz
from gfla.data.keypoints import OPENPOSE_18
from gfla.scores.comparison import Difference
from gfla.scores.moving import Rows
from gfla.scores.ways import Painted
from gfla.street.memory import LOOKS, OURS, TWIN

if TYPE_CHECKING:
    import IPython.display

COLORS = {OURS: viz.GENERATED, TWIN: viz.SOURCE}  # the twin knows the still picture alone
SMALL_STEPS = 4  # the flow to the frame before is drawn this many times longer
_ZOOM = 3  # of a skeleton beside small pictures


# ---------------------------------------------------------------- clips


def skeletons(keypoints: Tensor, size: tuple[int, int], zoom: int = 1) -> Tensor:
    """Draw a driving sequence as a clip.

    Args:
        keypoints: (T, 18, 2) as (x, y) pixels, -1 missing.
        size: (H, W) of the picture that they are pixels of.
        zoom: draw every pixel this many times larger.

    Returns:
        (T, 3, zoom H, zoom W) in [-1, 1], for `gfla.films`.

    Raises:
        ValueError: another shape.
    """
    if keypoints.ndim != 3 or keypoints.shape[1:] != (len(OPENPOSE_18), 2):
        raise ValueError(f"key points are {tuple(keypoints.shape)}, expected (T, 18, 2)")
    drawn = np.stack([viz.skeleton(points, size, zoom) for points in keypoints])
    return torch.from_numpy(drawn).permute(0, 3, 1, 2) / 127.5 - 1


def columns(
    batch: Mapping[str, Tensor], painted: Mapping[str, Tensor], index: int = 0, zoom: int = 2
) -> dict[str, Tensor]:
    """One clip as `gfla.films` takes it: reference, driving pose, what was painted, truth.

    Args:
        batch: of `gfla.scores.moving.clips`; without key points the column of poses is left out.
        painted: label -> (B, T, 3, H, W) in [-1, 1].
        index: which clip.
        zoom: draw every pixel this many times larger.

    Returns:
        label -> (T, 3, zoom H, zoom W).
    """
    truth = batch["frames"][index]
    found = {"reference": batch["reference"][index].expand_as(truth)}
    found |= {name: clip[index] for name, clip in painted.items()} | {"truth": truth}
    large = {
        name: clip.repeat_interleave(zoom, -1).repeat_interleave(zoom, -2)
        for name, clip in found.items()
    }
    if "keypoints" not in batch:
        return large
    pose = skeletons(batch["keypoints"][index], truth.shape[-2:], zoom)
    return {"reference": large.pop("reference"), "driving pose": pose, **large}


def story(
    batch: Mapping[str, Tensor],
    painted: Mapping[str, Tensor],
    index: int = 0,
    every: int = 2,
    shown: Sequence[int] = (),
) -> Figure:
    """Draw one clip on paper: a row of frames for everything, the reference beside the truth.

    Args:
        batch, painted, index: as `columns`.
        every: frames from one column to the next.
        shown: channels of the poses, for those without key points: a row of grey pictures each.

    Returns:
        Figure.
    """
    truth = batch["frames"][index]
    times = range(0, len(truth), every)
    if "keypoints" in batch:
        points = batch["keypoints"][index]
        told = {"driving pose": [viz.skeleton(points[t], truth.shape[-2:], _ZOOM) for t in times]}
    else:
        maps = batch["poses"][index]
        told = {f"map {k}": [viz.mask_image(_spread(maps[t, k])) for t in times] for k in shown}
    rows = {name: clip[index] for name, clip in painted.items()} | {"truth": truth}
    pictures = told | {name: [viz.to_uint8(clip[t]) for t in times] for name, clip in rows.items()}
    blank = np.full((*truth.shape[-2:], 3), 255, dtype=np.uint8)
    cells = [[blank, *row] for row in pictures.values()]
    cells[-1][0] = viz.to_uint8(batch["reference"][index])
    figure = viz.grid(cells, ["reference", *[f"t = {t}" for t in times]], list(pictures))
    for row in range(len(cells) - 1):  # nothing stands there
        figure.axes[row * (1 + len(times))].spines[:].set_visible(False)
    return figure


def film(rows: Sequence[Mapping[str, Tensor]], name: str, fps: float = 6) -> IPython.display.Image:
    """Play clips in a notebook; within a run, keep each row as a GIF beside the figures.

    Args:
        rows: of `columns`.
        name: of the files, without ending and number.
        fps: frames a second.

    Returns:
        For a cell to end with.
    """
    if folder := ledger.run_dir():
        for number, row in enumerate(rows):
            place = folder / "figures" / f"{name}_{number}.gif"
            place.parent.mkdir(parents=True, exist_ok=True)
            films.write(place, row, fps)
    return films.show(rows, fps)


def driven(batch: Mapping[str, Tensor], index: int = 0, every: int = 2) -> Figure:
    """Draw what drives a clip: its frames, their key points, and the heat maps of those."""
    frames, size = batch["frames"][index], batch["frames"].shape[-2:]
    times = range(0, len(frames), every)
    rows = {
        "frame": [viz.to_uint8(frames[t]) for t in times],
        "key points": [viz.skeleton(batch["keypoints"][index, t], size, _ZOOM) for t in times],
        "heat maps": [viz.pose_image(batch["poses"][index, t]) for t in times],
    }
    return viz.grid(list(rows.values()), [f"t = {t}" for t in times], list(rows))


def sources(
    batch: Mapping[str, Tensor], clip: Painted, frame: int, indices: Sequence[int] = (0, 1)
) -> Figure:
    """Draw where one frame's pixels come from: from the frame before, and from the reference.

    Args:
        batch: of `gfla.scores.moving.clips`.
        clip: of a model with memory.
        frame: t, 1 or more.
        indices: which clips, a row each.

    Returns:
        Figure: reference, pose, flow and mask to the frame before and to the reference, ours,
        truth. The flow to the frame before is drawn `SMALL_STEPS` times longer.
    """
    size = tuple(batch["frames"].shape[-2:])
    flows = {
        name: metrics.upsample_flow(flow[:, frame], size) * batch["foreground"][:, frame]
        for name, flow in clip.flows.items()
    }
    flows["previous"] = flows["previous"] * SMALL_STEPS
    limit = max(float(flow[list(indices)].norm(dim=1).max()) for flow in flows.values())
    rows = []
    for i in indices:
        row = [viz.to_uint8(batch["reference"][i])]
        row.append(viz.skeleton(batch["keypoints"][i, frame], size, _ZOOM))
        for name in ("previous", "reference"):
            row.append(viz.flow_to_color(flows[name][i], limit))
            row.append(viz.mask_image(clip.masks[name][i, frame]))
        row += [viz.to_uint8(image[i, frame]) for image in (clip.image, batch["frames"])]
        rows.append(row)
    labels = ["reference", "pose", f"flow × {SMALL_STEPS}\nto frame\nbefore", "its mask",
              "flow to\nreference", "its mask", "ours", "truth"]  # fmt: skip
    figure = viz.grid(rows, labels, limit=limit)
    figure.axes[-1].set_xlabel(f"rim:\n{limit:.2g} px")  # in one line it would be cut off
    return figure


def slices(clips: Mapping[str, Tensor], row: int, per_line: int = 4) -> Figure:
    """Draw one row of pixels of each clip through time: what trembles is ragged, what moves leans.

    Args:
        clips: label -> (T, 3, H, W) in [-1, 1].
        row: y of the pixels.
        per_line: pictures beside each other.

    Returns:
        Figure: x to the right, time down.

    Raises:
        ValueError: a row outside a clip.
    """
    cells = []
    for label, clip in clips.items():
        if not 0 <= row < clip.shape[-2]:
            raise ValueError(f"row is {row}, but {label} has {clip.shape[-2]} rows")
        cut = viz.to_uint8(clip[:, :, row].permute(1, 0, 2))  # (T, W, 3)
        cells.append(cut.repeat(max(1, clip.shape[-1] // (2 * len(cut))), axis=0))
    lines = -(-len(cells) // per_line)
    across = min(per_line, len(cells))
    size = (viz.WIDE, lines * (viz.WIDE / across * cells[0].shape[0] / cells[0].shape[1] + 0.35))
    figure = Figure(figsize=size, layout="constrained")
    places = figure.subplots(lines, across, squeeze=False).ravel()
    for axes, label, cell in zip(places, clips, cells, strict=False):
        axes.imshow(cell, interpolation="nearest", aspect="auto")
        axes.set(xticks=[], yticks=[], xlabel=label)
        axes.grid(False)
    for axes in places[len(cells) :]:
        axes.axis("off")
    places[0].set_ylabel("time ↓")
    return figure


# ---------------------------------------------------------------- numbers


def by_frame(rows: Mapping[tuple[str, str], Rows], names: Sequence[str] = (OURS, TWIN)) -> Figure:
    """Draw error and flicker by the number of the frame, clean and noisy poses.

    Args:
        rows: (way, "clean" or "noisy") -> rows.
        names: of the ways.

    Returns:
        Figure of two panels; noisy is dashed, the bands of the others are 1.96 standard errors over
        the clips.
    """
    words = {"l1": "L1, where the reference shows it", "flicker": "flicker since the frame before"}
    specs = []
    for number, ylabel in words.items():
        lines, bands, inks = {}, {}, {}
        for name in names:
            for look in LOOKS:
                if (name, look) not in rows:
                    continue
                label, values = f"{name}, {look}", rows[name, look].by_frame[number].numpy()
                values = values[:, _first(values) :]
                lines[label] = mean = np.nanmean(values, 0)
                error = np.nanstd(values, 0) / np.sqrt(len(values))
                if look == "clean":
                    bands[label] = mean - 1.96 * error, mean + 1.96 * error
                inks[label] = COLORS.get(name, viz.MUTED)
        count = len(next(iter(lines.values())))
        begin = next(iter(rows.values())).by_frame[number].shape[1] - count
        specs.append({
            "x": np.arange(begin, begin + count), "lines": lines, "bands": bands, "colors": inks,
            "dashed": [label for label in lines if label.endswith("noisy")],
            "xlabel": "frame", "ylabel": ylabel,
        })  # fmt: skip
    return viz.panels(*specs, shared_legend=True)


def intervals(
    differences: Mapping[tuple[str, str], Difference], rows: Mapping[tuple[str, str], Rows]
) -> Figure:
    """Draw recurrent minus frame by frame, as a share of the latter, with their intervals.

    Args:
        differences: of `gfla.street.memory.differences`.
        rows: (way, look) -> rows, for what a difference is a share of.

    Returns:
        Figure, a row a number; left of zero is less for the recurrent one.
    """
    names = list(dict.fromkeys(name for name, _ in differences))
    figure = Figure(figsize=(viz.WIDE, 0.6 + 0.36 * len(names)), layout="constrained")
    axes = figure.subplots()
    inks = dict(zip(LOOKS, (viz.GENERATED, viz.TARGET), strict=True))
    for (name, look), one in differences.items():
        whole = 0.01 * float(rows[TWIN, look].values[name].nanmean())
        y = names.index(name) + (-0.14 if look == "clean" else 0.14)
        axes.plot([one.low / whole, one.high / whole], [y, y], color=inks[look], lw=2)
        face = inks[look] if one.apart else "white"
        label = f"{look} poses" if name == names[0] else None
        axes.plot(one.mean / whole, y, "D", ms=5, color=inks[look], mfc=face, label=label)
    axes.axvline(0, color=viz.INK, lw=0.8)
    axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel(f"{OURS} minus {TWIN}, per cent of {TWIN}")
    axes.grid(False, axis="y")
    figure.legend(loc="outside right upper")
    return figure


# ---------------------------------------------------------------- inside


def _first(values: np.ndarray) -> int:
    """The first frame that has a value in any clip."""
    return int(np.argmax(~np.isnan(values).all(0)))


def _spread(values: Tensor) -> Tensor:
    """One map as a mask: its own range becomes 0 to 1."""
    low, high = values.aminmax()
    return ((values - low) / (high - low).clamp(min=1e-6))[None]
