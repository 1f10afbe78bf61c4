"""What drives a clip, and what it could be taken from: the first section of notebook 06.

A motion is a few curves of time; from them follow where the joints are, and from those the heat
maps that a model is told. And the truth knows of every pixel whether the still picture shows what
it shows, and whether the frame before does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from gfla.data.body import Body, Draw, draw_body
from gfla.data.curves import LEFT, RIGHT, SHIN, THIGH, UPPER_ARM, Motion, pose_at
from gfla.data.gaits import KINDS, draw_motion
from gfla.scores import moving, ways

LIMBS = {"thigh": THIGH, "knee": SHIN, "upper arm": UPPER_ARM}
WAYS = {"copied": ways.copied, "warped": ways.warped, "followed": ways.followed}


class Driver(NamedTuple):
    """Somebody who moves."""

    body: Body
    motion: Motion


def driver(kind: str = "walk", seed: int = 0, seconds: float = 16 / 12) -> Driver:
    """One person and a motion that comes back to its start.

    Args:
        kind: of `gaits.KINDS`.
        seed: of both.
        seconds: after which it repeats.
    """
    draw = Draw(seed, range(1))
    body = draw_body(draw)
    return Driver(body, draw_motion(draw, torch.tensor([KINDS.index(kind)]), body, 1.0, seconds))


def angle(who: Driver, limb: str, side: str, seconds: Sequence[float]) -> list[float]:
    """An angle of a limb over time, in degrees.

    Args:
        who: of `driver`.
        limb: "thigh" and "upper arm" count from hanging down, to the front; "knee" is its bend.
        side: "right" or "left".
        seconds: moments.

    >>> who = driver("walk")
    >>> [a, b] = angle(who, "thigh", "left", [0.0, 16 / 12])
    >>> abs(a - b) < 1e-3
    True
    """
    column = 2 * LIMBS[limb] + (LEFT if side == "left" else RIGHT)
    found = []
    for moment in seconds:
        reach = pose_at(who.motion, who.body, moment).reach[0]
        value = reach[column - 2] - reach[column] if limb == "knee" else reach[column]
        found.append(math.degrees(float(value)))
    return found


def half_cycle(who: Driver, limb: str, seconds: float = 16 / 12) -> tuple[float, float, float]:
    """How far a limb swings, and whether its left one does what the right one did.

    Args:
        who, limb: as `angle`.
        seconds: of the cycle.

    Returns:
        smallest and largest angle of the right one over the cycle; the largest difference between
        it and the left one half a cycle later. All in degrees.
    """
    times = [seconds * k / 16 for k in range(16)]
    right = angle(who, limb, "right", times)
    left = angle(who, limb, "left", [time + seconds / 2 for time in times])
    return min(right), max(right), max(abs(a - b) for a, b in zip(right, left, strict=True))


def seen(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The share of the person that the reference shows, the frame before, and either.

    Args:
        batch: of `moving.clips`.

    Returns:
        name -> (B, T) float64; the frame before the first is the reference.
    """
    whole = batch["foreground"].double().sum((2, 3, 4))
    shown = {name: batch[f"{name}_visible"] for name in ("reference", "previous")}
    shown["either"] = torch.maximum(*shown.values())
    return {name: mask.double().sum((2, 3, 4)) / whole for name, mask in shown.items()}


def chances(count: int, frames: int, seed: int) -> dict[str, dict[str, float]]:
    """What a clip could be made of, motion by motion: a bound for every model, no model asked.

    Args:
        count: clips; the kinds take turns.
        frames: of each.
        seed: of the first batch, as in `moving.judge`.

    Returns:
        kind of motion -> seen_reference and seen_previous, shares of the person from the second
        frame on; copied, warped and followed, the error over the person of the reference left in
        place, warped by the true flow, and of the true frame before warped by the true flow.
    """
    rows = moving.survey(WAYS, count, frames, seed=seed)
    shares = []
    for start in range(0, count, moving.BATCH):
        batch = moving.clips(min(moving.BATCH, count - start), frames, seed=seed + start)
        shares.append(seen(batch))
    kinds = rows["copied"].kind
    found = {}
    for number, kind in enumerate(KINDS):
        chosen = kinds == number
        if not chosen.any():
            continue
        found[kind] = {
            f"seen_{name}": float(torch.cat([s[name] for s in shares])[chosen, 1:].mean())
            for name in ("reference", "previous")
        }
        for name, one in rows.items():
            found[kind][name] = moving.summary(one, chosen)["l1_foreground"]
    return found
