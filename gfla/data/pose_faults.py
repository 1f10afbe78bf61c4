"""What looks wrong with many skeletons at once: canvas, axes, order of the joints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import torch
from torch import Tensor
from tqdm.auto import tqdm

from gfla.data import keypoints as kp
from gfla.data.findings import Findings
from gfla.data.pasting import suspicions
from gfla.data.posing import Pose

_CANVASES = ((128, 64), (256, 176), (256, 256), (512, 352), (1101, 750))  # that files are told in
_FEW_OFF = 0.02  # share of joints off the canvas from which the canvas itself is in doubt
_SYSTEMATIC = 1 / 3  # share of skeletons from which it is no accident
_LEAST = 3  # skeletons that such a share needs

Canvas = tuple[int, int]


def pose_faults(
    poses: Mapping[str, Tensor],
    canvas: Canvas | Mapping[str, Canvas],
    found: Findings,
    where: str,
    progress: bool = False,
) -> None:
    """Look through skeletons; nothing is put right, since a person may stand on their head.

    Args:
        poses: name -> (K, 2) as (x, y) in pixels, -1 = missing. The order of the joints is looked
            at where K is 18, OpenPose's.
        canvas: (h, w) that they are told in, or of each.
        found: takes what looks wrong.
        where: the file, for the examples.
        progress: show a bar.
    """
    if not poses:
        return
    of = canvas.get if isinstance(canvas, Mapping) else (lambda name: canvas)
    poses = {name: pose for name, pose in poses.items() if of(name)}
    off = {name: _off(pose, of(name)) for name, pose in poses.items()}
    if not isinstance(canvas, Mapping):
        _wrong_canvas(poses, canvas, sum(off.values()), found, where)
    doubts: Counter[str] = Counter()
    swapped, judged = 0, 0
    bar = tqdm(poses.items(), desc=f"skeletons of {where}", disable=not progress or None)
    for name, pose in bar:
        there = kp.present(pose)
        told = f"{where}: {name}"
        half = int(((pose == kp.MISSING).any(-1) & (pose != kp.MISSING).any(-1)).sum())
        if half:
            found.add(
                "warning", "joint with one coordinate missing", told, "taken as missing", half
            )
        if not bool(there.any()):
            found.add("warning", "skeleton without a joint", told, "the network sees no pose")
            continue
        lies = _look_swapped(pose, of(name))
        sentences = suspicions(Pose.of(pose, of(name))) if len(pose) == 18 else ()
        if lies or any(one.startswith("x and y") for one in sentences):
            swapped += 1
            found.add(
                "warning", "x and y look swapped", told, "expected name:keypoints_y:keypoints_x"
            )
        elif off[name]:
            what = f"{told}, {off[name]} of {int(there.sum())} joints"
            found.add("warning", "key points off the canvas", what, "is the picture a cut-out?")
        judged += 1
        doubts.update(_kind(one) for one in sentences if not one.startswith("x and y"))
    if len(poses) and next(iter(poses.values())).shape[0] == 18:
        _orders(doubts, swapped, judged, found, where)


def _off(pose: Tensor, canvas: Canvas) -> int:
    """How many joints lie off the canvas."""
    height, width = canvas
    there = kp.present(pose)
    inside = (pose >= 0).all(-1) & (pose[:, 0] < width) & (pose[:, 1] < height)
    return int((there & ~inside).sum())


def _look_swapped(pose: Tensor, canvas: Canvas) -> bool:
    """Off the canvas as it stands, and on it the other way round."""
    height, width = canvas
    return height != width and _off(pose, canvas) > 1 and not _off(pose.flip(-1), canvas)


def _wrong_canvas(
    poses: Mapping[str, Tensor], canvas: Canvas, off: int, found: Findings, where: str
) -> None:
    """Say so when all the key points together fit another canvas."""
    joints = torch.cat([pose[kp.present(pose)] for pose in poses.values()])
    if len(joints) < 18:
        return
    high, wide = (float(torch.quantile(joints[:, axis][:1_000_000], 0.995)) for axis in (1, 0))
    told = f"{where}: joints reach to x {wide:.1f}, y {high:.1f}"
    expected = f"the canvas is {canvas[0]}x{canvas[1]} (height x width)"
    if float(joints.min()) >= 0 and float(joints.max()) <= 1:
        remedy = f"expected pixels, {expected}: multiply x and y by its sides"
        found.add("error", "key points are shares of 1", told, remedy)
    elif wide < 0.55 * canvas[1] and high < 0.55 * canvas[0]:
        remedy = f"{expected}; they look measured on {_fitting(high, wide)}: pass its size"
        found.add("error", "key points in a corner of the canvas", told, remedy)
    elif off > _FEW_OFF * len(joints) and (high >= canvas[0] or wide >= canvas[1]):
        remedy = f"{expected}; they look measured on {_fitting(high, wide)}: pass its size"
        found.add("error", "key points told on another canvas", told, remedy)


def _fitting(high: float, wide: float) -> str:
    fits = [(h, w) for h, w in _CANVASES if high < h and wide < w]
    return f"{fits[0][0]}x{fits[0][1]}" if fits else "larger pictures"


def _kind(sentence: str) -> str:
    """Bones of any name are one kind of doubt."""
    return "a bone looks too long" if " is far from the " in sentence else sentence.rstrip(".?")


def _orders(doubts: Counter[str], swapped: int, judged: int, found: Findings, where: str) -> None:
    """One odd skeleton is a person who bends; a third of all is a wrong order."""
    for kind, count in doubts.items():
        often = count >= _LEAST and count >= _SYSTEMATIC * judged
        told = f"{where}: {count} of {judged} skeletons: {kind}"
        if often:
            remedy = "expected OpenPose's eighteen in their order, see data/README.md"
            found.add("error", "order of the joints looks wrong", told, remedy)
        else:
            found.add("note", "skeletons that look odd", told, "people bend and turn", count)
    if swapped >= _LEAST and swapped >= _SYSTEMATIC * judged:
        told = f"{where}: {swapped} of {judged} skeletons"
        remedy = "expected name:keypoints_y:keypoints_x"
        found.add("error", "x and y look swapped throughout", told, remedy)
