"""What one move changes: what can be predicted of a painter, measured, and how long it takes.

A reader who drags a joint sees *that* the picture follows. Here is what there is to ask beyond it:
how near to the moved limb the changes lie, whether the flow moves as geometry says, how far a
pose is from those of the training, and the time of an answer.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gfla import ledger
from gfla.data import people, posing, stances
from gfla.data.posing import TREE, Pose
from gfla.interactive import live, sheets
from gfla.interactive.live import Frame, Painter

LATENCY = "latency"  # the recorded run
SIZES = (64, 128)  # pixels of the pictures that are timed
ANGLES = tuple(range(-120, 121, 5))  # degrees of the forearm that moves while the clock runs


class Change(NamedTuple):
    """What differs between two answers of one painter, at every pixel of the image."""

    picture: np.ndarray  # (H, W) mean over the colours, as a share of the range of a picture
    flow: np.ndarray | None  # (H, W) length of the difference in pixels; None without a flow


class AtJoints(NamedTuple):
    """The flow at the joints, in pixels of the image."""

    joints: int  # that source and target both have
    moved: float  # median way from target to source, which a flow of zero would be off by
    off: float  # median distance of the flow from that way


class Carried(NamedTuple):
    """What a painter made of a whole person that was shifted."""

    shift: float  # length of the shift in pixels
    flow: float  # median length of the flow's error against the prediction, in pixels
    picture: float  # difference of the picture carried along, as a share of its range
    stayed: float  # difference from the picture where it was, for comparison


def distance(size: tuple[int, int], *poses: Pose, joints: Collection[str] = ()) -> np.ndarray:
    """How far every pixel is from the nearest bone.

    Args:
        size: (H, W) in pixels.
        poses: all of them count; of this size.
        joints: lower ends of the bones that count, of `gfla.data.posing.TREE`; all by default.

    Returns:
        (H, W) in pixels; infinite where there is no bone at all.

    >>> line = Pose(((2.0, 0.0), (2.0, 4.0), *[None] * 16), (5, 5))
    >>> distance((5, 5), line, joints=["nose"])[2].tolist()
    [2.0, 1.0, 0.0, 1.0, 2.0]
    """
    y, x = np.mgrid[: size[0], : size[1]].astype(float)
    least = np.full(size, math.inf)
    for pose in poses:
        for joint in joints or TREE:
            start, end = pose[TREE[joint]], pose[joint]
            if start and end:
                across, down = end[0] - start[0], end[1] - start[1]
                length = across**2 + down**2 or 1.0
                along = ((x - start[0]) * across + (y - start[1]) * down) / length
                along = along.clip(0, 1)
                off = np.hypot(x - start[0] - along * across, y - start[1] - along * down)
                least = np.minimum(least, off)
    return least


def change(before: Frame, after: Frame) -> Change:
    """What differs between two answers.

    Args:
        before, after: of one painter.

    Returns:
        The change; the flow's is that of the finest level, each position repeated over its pixels.
    """
    one, other = (frame.output.image[0].numpy() for frame in (before, after))
    picture = np.abs(other - one).mean(axis=0) / 2  # (H, W), the range is 2
    if not before.output.flows:
        return Change(picture, None)
    one, other = (frame.output.flows[-1][0].numpy() for frame in (before, after))
    stride = len(picture) // one.shape[-2]
    length = np.hypot(*(other - one)) * stride
    return Change(picture, length.repeat(stride, axis=0).repeat(stride, axis=1))


def share_within(changed: np.ndarray, away: np.ndarray, reach: float) -> float:
    """Share of all change that lies within `reach` pixels; 1 where nothing changes at all.

    >>> share_within(np.array([3.0, 1.0]), np.array([0.0, 9.0]), 5.0)
    0.75
    """
    total = float(changed.sum())
    return float(changed[away <= reach].sum()) / total if total else 1.0


def turn_shares(
    painter: Painter, pose: Pose, segment: str, by: float, reaches: Sequence[float]
) -> np.ndarray:
    """Turn one segment, and see how near to it the changes lie.

    Args:
        painter: of a model with a flow.
        pose: from where.
        segment: a limb of `gfla.data.posing.SEGMENTS` at whose end nothing else hangs.
        by: degrees.
        reaches: distances in pixels from the limb, where it was and where it is.

    Returns:
        (len(reaches), 3): shares within each distance, of the picture's change, of the flow's
        change, and of all pixels there are.

    Raises:
        ValueError: the segment has no single limb at its end, or is missing from the pose.
    """
    ends = {"forearm": "wrist", "shin": "ankle"}
    side, _, bone = segment.partition(" ")
    now = posing.angle(pose, segment)
    if bone not in ends or now is None:
        raise ValueError(
            f"{segment} cannot be turned alone: take a forearm or a shin that is there"
        )
    before = painter.paint(pose)
    after = painter.paint(posing.with_angle(pose, segment, now + by))
    limb = [f"{side}_{ends[bone]}"]
    away = distance(painter.size, before.pose, after.pose, joints=limb)
    changed = change(before, after)
    fields = changed.picture, changed.flow, np.ones_like(away)
    return np.array([[share_within(field, away, reach) for field in fields] for reach in reaches])


def at_joints(painter: Painter, pose: Pose) -> AtJoints | None:
    """Compare the flow at the joints with what the two skeletons say.

    A joint's flow must be its place in the source minus its place in the target, whatever the
    pictures show; the finest level's is read at the position that the joint lies in.

    Args:
        painter: model and source.
        pose: the target.

    Returns:
        Medians over the joints that both have; None for a model without a flow.
    """
    frame = painter.paint(pose)
    if not frame.output.flows:
        return None
    flow = frame.output.flows[-1][0].numpy()
    stride, (height, width) = painter.size[0] // flow.shape[-2], painter.size
    moved, off = [], []
    for here, there in zip(frame.pose.points, painter.source.pose.points, strict=True):
        if here and there and 0 <= here[0] <= width - 1 and 0 <= here[1] <= height - 1:
            column, row = (round(value) // stride for value in here)
            way = np.subtract(there, here)
            moved.append(float(np.hypot(*way)))
            off.append(float(np.hypot(*(flow[:, row, column] * stride - way))))
    return AtJoints(len(moved), float(np.median(moved)), float(np.median(off)))


def own_pose_error(painter: Painter, reach: float = 3.0) -> float:
    """Ask for the pose that the source has already, whose right answer is the source itself.

    Args:
        painter: model and source.
        reach: what counts as the person, pixels around the bones.

    Returns:
        Mean difference from the source over the person, as a share of the range of a picture.
    """
    pose = painter.source.pose
    off = (painter.paint(pose).output.image - painter.source.image)[0].abs().mean(dim=0).numpy()
    return float(off[distance(painter.size, pose) <= reach].mean() / 2)


def carried(painter: Painter, pose: Pose, dx: int, dy: int, reach: float = 3.0) -> Carried:
    """Shift the whole person and see whether flow and picture do what geometry says.

    Every point of the person is (dx, dy) farther, its source is where it was: the flow must become
    w'(l + d) = w(l) - d, and the picture x'(l + d) = x(l).

    Args:
        painter: of a model with a flow.
        pose: from where.
        dx, dy: the shift in pixels, whole positions of the finest level.
        reach: what counts as the person, pixels around the bones.

    Returns:
        Medians and means over the person.

    Raises:
        ValueError: a model without a flow, or a shift that is no whole number of positions.
    """
    before, after = painter.paint(pose), painter.paint(posing.shifted(pose, dx, dy))
    if not before.output.flows:
        raise ValueError("this model has no flow to be predicted: take one that has")
    one, other = (frame.output.flows[-1][0].numpy() for frame in (before, after))
    stride = painter.size[0] // one.shape[-2]
    if dx % stride or dy % stride:
        raise ValueError(f"the shift is ({dx}, {dy}): give multiples of {stride} pixels")
    away = distance(painter.size, before.pose)
    there = _overlap(away[::stride, ::stride], dy // stride, dx // stride)[0] <= reach
    old, new = _overlap(one, dy // stride, dx // stride)[0], _overlap(
        other, dy // stride, dx // stride)[1]  # fmt: skip
    shift = np.array([dx, dy])[:, None, None]
    off = np.hypot(*((new - old) * stride + shift))[there]
    images = [frame.output.image[0].numpy() for frame in (before, after)]
    left, moved = _overlap(images[0], dy, dx)[0], _overlap(images[1], dy, dx)[1]
    body = _overlap(away, dy, dx)[0] <= reach
    picture = np.abs(moved - left).mean(axis=0)[body].mean() / 2
    stayed = np.abs(images[1] - images[0]).mean(axis=0)[away <= reach].mean() / 2
    return Carried(math.hypot(dx, dy), float(np.median(off)), float(picture), float(stayed))


def strangeness(poses: Mapping[str, Pose], like: Pose, known: int = 400) -> dict[str, float]:
    """How far poses are from the nearest of those that the training draws.

    Args:
        poses: name -> pose, with the size and the place of `like`.
        like: whose proportions the training's poses are given.
        known: how many poses of the training are looked through.

    Returns:
        Name -> mean distance of the joints from the nearest known pose, in pixels.

    Raises:
        ValueError: nothing to look through.
    """
    if known < 1:
        raise ValueError(f"known is {known}: compare with at least one pose")
    seen = np.array([stances.random(seed, like).points for seed in range(known)])  # (N, 18, 2)
    found = {}
    for name, pose in poses.items():
        there = [place for place, point in enumerate(pose.points) if point]
        points = np.array([pose.points[place] for place in there])
        off = np.hypot(*np.moveaxis(seen[:, there] - points, -1, 0))  # (N, joints)
        found[name] = float(off.mean(axis=1).min())
    return found


def held_out_poses(like: Pose, count: int) -> dict[str, Pose]:
    """Poses as the training draws them, of seeds that it does not use: what is usual."""
    first = people.MEASURING_SEEDS
    return {str(seed): stances.random(seed, like) for seed in range(first, first + count)}


def latency_rows(
    models: Sequence[str], sizes: Sequence[int], angles: Sequence[float]
) -> dict[tuple[str, int], Mapping[str, float]]:
    """Time the answers of models while a forearm swings.

    Args:
        models: of `gfla.interactive.live.available`.
        sizes: sides of the pictures in pixels. Where a model was trained at another size it is
            timed all the same; its pictures would be worse.
        angles: degrees of the left forearm, an answer each.

    Returns:
        (model, side) -> what `gfla.interactive.live.latency` measures.
    """
    rows = {}
    for side in sizes:
        whom = next(iter(live.sources((side, side)).values()))()
        poses = list(sheets.swept(stances.preset("T", whom.pose), "left forearm", angles).values())
        for model in models:
            rows[model, side] = live.latency(Painter(live.load(model), whom), poses)
    return rows


def latency_table(rows: Mapping[tuple[str, int], Mapping[str, float]]) -> str:
    """Lay times out as text: a line for each model and size.

    Args:
        rows: of `latency_rows`, or of a recorded run through `recorded_rows`.

    Returns:
        Markdown, milliseconds.
    """
    head = ["model", "picture", "median [ms]", "p10 to p90 [ms]", "processor [ms]"]
    lines = [
        [model, f"{side} px", f"{t['wall_median']:.0f}",
         f"{t['wall_p10']:.0f} to {t['wall_p90']:.0f}", f"{t['process_median']:.0f}"]
        for (model, side), t in rows.items()
    ]  # fmt: skip
    return ledger.table([head, *lines])


def record_latency() -> Path:
    """Time all shipped models and keep it as the run `latency`, with the machine's load.

    The load average before and after is kept beside the times: on a machine that does something
    else, they are the times of that, too.
    """
    before = os.getloadavg()
    rows = latency_rows(list(live.available()), SIZES, ANGLES)
    config = {"models": list(live.available()), "sizes": list(SIZES), "frames": len(ANGLES),
              "threads": 1, "moves": "left forearm", "person": 0}  # fmt: skip
    results = {
        f"{model}, {side} px, {key}": value
        for (model, side), times in rows.items()
        for key, value in times.items()
    }
    load = {"before": before, "after": os.getloadavg(), "processors": os.cpu_count()}
    return ledger.write_run(LATENCY, results, config, seed=0, load=load)


def recorded_rows(entry: Mapping[str, Mapping]) -> dict[tuple[str, int], dict[str, float]]:
    """The times of a recorded run, as `latency_rows` gives them.

    >>> recorded_rows({"results": {"Full, 64 px, wall_median": 50.0}})
    {('Full', 64): {'wall_median': 50.0}}
    """
    rows: dict[tuple[str, int], dict[str, float]] = {}
    for name, value in entry["results"].items():
        model, side, key = name.rsplit(", ", 2)
        rows.setdefault((model, int(side.removesuffix(" px"))), {})[key] = value
    return rows


def _overlap(field: np.ndarray, down: int, across: int) -> tuple[np.ndarray, np.ndarray]:
    """Where l and l + d both lie inside: the field at l, and at l + d."""

    def cut(shift: int, length: int) -> tuple[slice, slice]:
        inner = length - abs(shift)
        start = max(0, -shift)
        return slice(start, start + inner), slice(start + shift, start + shift + inner)

    (rows, lower), (columns, right) = (
        cut(shift, length) for shift, length in zip((down, across), field.shape[-2:], strict=True)
    )
    return field[..., rows, columns], field[..., lower, right]
