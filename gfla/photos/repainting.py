"""A photographed person in another pose: frame, retarget, paint, bring back.

p'_t = retarget(p_t, p_s),  (x, p)  ->  canvas of the model,  x̂_t = G(F(x_s, p_s, p'_t))
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from gfla.data import framing
from gfla.data.framing import Box
from gfla.data.keypoints import heatmaps
from gfla.data.posing import Pose, removed, resized
from gfla.data.reading import as_tensor
from gfla.data.retargeting import Retargeted, retarget
from gfla.photos.origins import Origin
from gfla.pictures import to_uint8
from gfla.types import Output

FRAMES = ("person", "whole")  # what of the photograph the model is shown
_MADE_UP = 0.4  # share of the canvas from which it is worth a word
_SMALL = 0.5  # share of the canvas's side that a person should at least fill


class Repainted(NamedTuple):
    """What came of it."""

    picture: Image.Image  # the person in the new pose, in the shape of the box
    canvas: Image.Image  # what the model was shown
    source_pose: Pose  # on the canvas
    target_pose: Pose  # on the canvas
    box: Box  # of the photograph
    output: Output
    retargeted: Retargeted | None  # None: the pose was taken as it is
    warnings: tuple[str, ...]


@torch.no_grad()
def repaint(
    photograph: Image.Image,
    source: Pose,
    target: Pose,
    origin: Origin,
    retargeting: bool = True,
    frame: str = "person",
    fill: float = framing.FILL,
    outside: str = "edge",
) -> Repainted:
    """Paint a person in another pose.

    The key points are drawn as the model knows them: for ours σ = 6 · H / 256; for the authors'
    σ = 6 whatever the size, of coordinates truncated to whole pixels (docs/spec.md, 7.1), and for
    DeepFashion a box of 256×176 squeezed to a square.

    Args:
        photograph: mode RGB, upright.
        source: where the person is, in its pixels.
        target: the pose to take; its size does not matter if it is retargeted, otherwise it is
            carried over to the photograph's.
        origin: the model.
        retargeting: give the target the source's bones, and put it where the source stands.
        frame: of FRAMES. "person" cuts out a box around both poses, "whole" shows everything.
        fill: share of the canvas that the joints take up.
        outside: of `framing.OUTSIDE`: what lies around the photograph.

    Returns:
        The picture, all that led to it, and warnings.

    Raises:
        ValueError: another word for `frame` or `outside`, nobody in a pose, a pose that is not for
            this photograph.
    """
    size = (photograph.height, photograph.width)
    if source.size != size:
        raise ValueError(f"the source's pose is for {source.size}, the photograph has {size}")
    if frame not in FRAMES:
        raise ValueError(f"frame is {frame!r}: choose one of {', '.join(FRAMES)}")
    moved = retarget(target, source) if retargeting else None
    pose, unseen = _seeable(moved.pose if moved else resized(target, size), source)
    if frame == "person":
        box = framing.around((source, pose), origin.shape, fill)
    else:
        box = framing.whole(size, origin.shape)
    box = box._replace(size=origin.model.size)
    canvas = framing.cut(photograph, box, outside)
    poses = box.into(source), box.into(pose)
    output = origin.model(as_tensor(canvas)[None], *(_maps(one, origin) for one in poses))
    painted = Image.fromarray(to_uint8(output.image[0]))
    return Repainted(
        painted.resize(_shape(origin), Image.Resampling.BICUBIC),
        canvas,
        *poses,
        box,
        output,
        moved,
        (*(moved.notes if moved else ()), *unseen, *_doubts(box, size, poses)),
    )  # fmt: skip


def in_place(photograph: Image.Image, made: Repainted) -> Image.Image:
    """The photograph, as large as it is, with the painted canvas where it was cut out."""
    painted = Image.fromarray(to_uint8(made.output.image[0]))
    return framing.put_back(photograph, painted, made.box)


def _seeable(pose: Pose, source: Pose) -> tuple[Pose, tuple[str, ...]]:
    """Without the joints that lie outside of a photograph which does not show them either.

    A photograph of head and shoulders stays one: legs that nobody has seen would take up most of
    the canvas.
    """
    height, width = pose.size
    unseen = [joint for joint in source.missing() if pose[joint]]
    away = [
        joint
        for joint in unseen
        if not (-0.5 <= pose[joint][0] < width - 0.5 and -0.5 <= pose[joint][1] < height - 0.5)
    ]
    for joint in away:
        pose = removed(pose, joint)
    # eyes and ears come and go as a head turns
    guessed = [j for j in unseen if j not in away and j.split("_")[-1] not in ("eye", "ear")]
    notes = []
    if away:
        notes.append(f"Left out, as the photograph ends before them: {_named(away)}.")
    if guessed:
        notes.append(f"Not seen in the photograph, so only to be guessed: {_named(guessed)}.")
    return pose, tuple(notes)


def _named(joints: list[str]) -> str:
    return ", ".join(joints).replace("_", " ")


def _maps(pose: Pose, origin: Origin) -> torch.Tensor:
    height, width = origin.model.size
    sigma = 6.0 if origin.published else 6.0 * height / 256
    return heatmaps(pose.tensor(), (height, width), sigma, truncate=origin.published)


def _shape(origin: Origin) -> tuple[int, int]:
    """(W, H) of the finished picture: the canvas, no longer squeezed."""
    height = origin.model.size[0]
    return max(1, round(height * origin.shape[1] / origin.shape[0])), height


def _doubts(box: Box, size: tuple[int, int], poses: tuple[Pose, Pose]) -> tuple[str, ...]:
    """What is unusual about the canvas."""
    found = []
    made_up = framing.beyond(box, size)
    if made_up > _MADE_UP:
        found.append(f"{made_up:.0%} of what the model was shown lies outside of the photograph.")
    rows = [point[1] for point in poses[0].points if point]
    columns = [point[0] for point in poses[0].points if point]
    share = max(np.ptp(rows) / box.size[0], np.ptp(columns) / box.size[1])
    if share < _SMALL:
        found.append(
            f"The person fills {share:.0%} of what the model was shown; it knows larger ones."
        )
    if box.height < box.size[0]:
        found.append(
            f"The person was enlarged from {box.height} to {box.size[0]} pixels: the photograph "
            "has few."
        )
    return tuple(found)
