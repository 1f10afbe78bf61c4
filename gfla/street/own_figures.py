"""The figures of notebook 09: sheets of a data set, orders of joints, photographs, augmentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from gfla import viz
from gfla.data import framing
from gfla.data.contact_sheet import contact_sheet
from gfla.data.folders import Market1501
from gfla.data.keypoints import LIMB_COLORS, LIMBS
from gfla.data.posing import Pose
from gfla.photos.repainting import Repainted
from gfla.pictures import flow_to_color, mask_image, skeleton, to_uint8
from gfla.scores import named_protocols
from gfla.scores.conventions import Scene
from gfla.street import own_poses

NUMBERED = ("nose", "right_wrist", "left_wrist", "right_ankle", "left_ankle")  # the telling joints
_PAPER = (235, 235, 235)  # around a photograph
_TALL = 256  # pixels of a panel with a skeleton over a picture


def sheets(roots: Mapping[str, Path], count: int = 3, phase: str = "test") -> Figure:
    """Contact sheets of several folders, one over the other.

    Args:
        roots: label -> folder.
        count: pairs of each.
        phase: of which pictures.

    Returns:
        Figure, labels at the left.
    """
    drawn = {name: np.asarray(contact_sheet(root, count, phase)) for name, root in roots.items()}
    height, width = max(sheet.shape[:2] for sheet in drawn.values())
    figure = Figure(
        figsize=(viz.WIDE, viz.WIDE * height / width * len(drawn) + 0.2), layout="constrained"
    )
    for axes, (name, sheet) in zip(figure.subplots(len(drawn), squeeze=False)[:, 0], drawn.items()):
        axes.imshow(sheet, interpolation="antialiased")
        axes.set(xticks=[], yticks=[], ylabel=name)
        axes.grid(False)
        axes.spines[:].set_visible(False)
    return figure


def orders(pose: Pose, formats: Sequence[str] = own_poses.FORMATS) -> Figure:
    """One pose as several formats number it; the numbers of a few joints are written beside them.

    Args:
        pose: the pose.
        formats: of `own_poses.FORMATS`.

    Returns:
        Figure, a panel a format.
    """
    height, width = pose.size
    cell = viz.WIDE / len(formats)
    figure = Figure(figsize=(viz.WIDE, cell * height / width * 0.75 + 0.5), layout="constrained")
    row = figure.subplots(1, len(formats), squeeze=False)[0]
    drawn = skeleton(pose.tensor()[0], pose.size, 3)
    middle, room = width / 2, width / 6  # the numbers need some
    for axes, order in zip(row, formats):
        names = own_poses.order_of(order)
        axes.imshow(drawn, extent=(-0.5, width - 0.5, height - 0.5, -0.5), alpha=0.55)
        for joint in NUMBERED:
            if pose[joint] and joint in names:
                x, y = pose[joint]
                side = 1 if x > middle or joint == "nose" else -1
                axes.annotate(
                    str(names.index(joint)), (x, y), (7 * side, 0), textcoords="offset points",
                    ha="left" if side > 0 else "right", va="center", fontsize=9, weight="bold",
                )  # fmt: skip
        axes.set(xticks=[], yticks=[], xlim=(-room, width + room), ylim=(height - 0.5, -0.5))
        axes.set_xlabel(f"{order}\n{len(names)} joints")
        axes.grid(False)
        axes.spines[:].set(visible=True, color=viz.PALE, linewidth=0.5)
    return figure


def poses(named: Mapping[str, Pose]) -> Figure:
    """Skeletons beside each other, each on its own canvas."""
    panels = [
        _padded(skeleton(one.tensor()[0], one.size, _zoom(one)), 1.0) for one in named.values()
    ]
    return viz.grid([panels], list(named))


def repainted(rows: Mapping[str, tuple[Image.Image, Pose, Pose, Repainted]]) -> Figure:
    """Photographs with all that led to their new pictures.

    Args:
        rows: label -> photograph, its pose, the stranger's pose, what was painted.

    Returns:
        Figure: photograph with the box that is cut out, what the model is shown with its pose, the
        stranger, the stranger's pose on this person, flow, mask, result.
    """
    limit = max(made.box.size[0] for *_, made in rows.values()) / 4
    cells = []
    for photograph, pose, foreign, made in rows.values():
        flow, stride = made.output.flows[-1][0], made.box.size[0] // made.output.flows[-1].shape[-2]
        cells.append(
            [
                _boxed(photograph, pose, made.box),
                over(np.asarray(made.canvas), made.source_pose),
                _padded(skeleton(foreign.tensor()[0], foreign.size, _zoom(foreign)), 1.0),
                skeleton(made.target_pose.tensor()[0], made.box.size, 4),
                flow_to_color(flow * stride, limit),
                mask_image(made.output.masks[-1][0]),
                to_uint8(made.output.image[0]),
            ]
        )
    labels = ["photograph", "shown", "stranger", "retargeted", "flow", "mask", "painted"]
    return viz.grid(cells, labels, list(rows), limit)


def protocols(scene: Scene, names: Sequence[str], index: int = 0) -> Figure:
    """What is compared, pixel by pixel, under several protocols.

    Args:
        scene: pictures.
        names: of `named_protocols.NAMED`.
        index: which pair.

    Returns:
        Figure: generated above, ground truth below, a column a protocol.
    """
    sides = [named_protocols.NAMED[name].sides(scene) for name in names]
    rows = [[_padded(to_uint8(one[index]), 1.0) for one in side] for side in zip(*sides)]
    return viz.grid(rows, list(names), ["generated", "truth"])


def augmented(root: Path, draws: int = 7, pair: int = 0, seed: int = 0) -> Figure:
    """One pair of Market-1501 as it is, and as training draws it.

    Args:
        root: the data set.
        draws: how many.
        pair: which of its pairs.
        seed: of the draws.

    Returns:
        Figure: sources above, targets below, with their key points.
    """
    moved, still = Market1501(root, "train"), Market1501(root, "train", augment=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        items = [still[pair], *(moved[pair] for _ in range(draws))]
    rows = [
        [over(to_uint8(one[side]), Pose.of(one[f"{side}_keypoints"], moved.size)) for one in items]
        for side in ("source", "target")
    ]
    labels = ["on disk", *(f"draw {number}" for number in range(1, draws + 1))]
    return viz.grid(rows, labels, ["source", "target"])


def over(picture: np.ndarray, pose: Pose) -> np.ndarray:
    """A skeleton over a small picture, enlarged without smoothing.

    Args:
        picture: (h, w, 3) uint8.
        pose: in its pixels.

    Returns:
        (h', w', 3) uint8, about `_TALL` pixels high.
    """
    zoom = max(1, round(_TALL / len(picture)))
    sheet = Image.fromarray(picture).resize(
        (picture.shape[1] * zoom, len(picture) * zoom), Image.Resampling.NEAREST
    )
    _limbs(sheet, pose, zoom, (0.0, 0.0))
    return np.asarray(sheet)


def _limbs(sheet: Image.Image, pose: Pose, zoom: float, corner: tuple[float, float]) -> None:
    pen, thick = ImageDraw.Draw(sheet), max(2, round(sheet.height / 140))
    places = [
        p and ((p[0] + 0.5 + corner[0]) * zoom, (p[1] + 0.5 + corner[1]) * zoom)
        for p in pose.points
    ]
    for (a, b), color in zip(LIMBS, LIMB_COLORS, strict=True):
        if places[a] and places[b]:
            pen.line([*places[a], *places[b]], fill=tuple(color), width=thick)
    for place in filter(None, places):
        x, y = place
        pen.ellipse([x - thick, y - thick, x + thick, y + thick], fill=(34, 34, 34))


def _boxed(photograph: Image.Image, pose: Pose, box: framing.Box) -> np.ndarray:
    """A photograph on paper that the box lies on as well, both seen whole."""
    left, top = min(0, box.left), min(0, box.top)
    right = max(photograph.width, box.left + box.width)
    bottom = max(photograph.height, box.top + box.height)
    zoom = 2 * _TALL / max(right - left, bottom - top)
    sheet = Image.new("RGB", (round((right - left) * zoom), round((bottom - top) * zoom)), _PAPER)
    small = photograph.resize((round(photograph.width * zoom), round(photograph.height * zoom)))
    sheet.paste(small, (round(-left * zoom), round(-top * zoom)))
    _limbs(sheet, pose, zoom, (-left, -top))
    corner = [(box.left - left) * zoom, (box.top - top) * zoom]
    corner += [corner[0] + box.width * zoom - 1, corner[1] + box.height * zoom - 1]
    ImageDraw.Draw(sheet).rectangle(corner, outline=viz.ATTENTION, width=6)
    return _padded(np.asarray(sheet), 1.0)


def _padded(picture: np.ndarray, shape: float) -> np.ndarray:
    """A picture in the middle of a grey one whose width over height is `shape`."""
    height, width = picture.shape[:2]
    tall, wide = max(height, round(width / shape)), max(width, round(height * shape))
    page = np.full((tall, wide, 3), _PAPER, np.uint8)
    top, left = (tall - height) // 2, (wide - width) // 2
    page[top : top + height, left : left + width] = picture
    return page


def _zoom(pose: Pose) -> int:
    return max(1, round(_TALL / pose.size[0]))
