"""What the benchmark measures: its rows.

A row is a plain mapping, so that it can be kept as JSON: its name, its group, the kind of
measurement, what that is given, and the device it needs. What is measured is kept turn by turn,
because forms are compared within a turn.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from gfla import meanwhile
from gfla.speed.bench_kinds import KINDS, Effort, NotMeasured

# the rooms whose code a row measures, with all that they import
OPERATOR, MODEL, ANSWER = ("sampling",), ("model",), ("interactive.live",)
STEP = ("step", "training", "model", "losses", "discriminator", "features")
SIDES, PATCHES = (32, 64, 128, 256, 512), (1, 3, 5, 7)
CHANNELS, BATCHES = (32, 64, 128, 256), (1, 2, 4, 8)
HELD = {"side": (64, 128, 256), "channels": CHANNELS, "batch": BATCHES}  # of rows of memory


class Row(NamedTuple):
    """One thing to measure."""

    name: str
    group: str  # what it shows
    kind: str  # of KINDS, how it is measured
    given: dict[str, Any]
    device: str = ""  # "cpu" or "cuda" where it makes sense on that one alone
    rooms: tuple[str, ...] = OPERATOR  # whose code it measures, and what they import


def rows(quick: bool = False) -> list[Row]:
    """All rows, in the order they are measured.

    Args:
        quick: small sizes and few rows, to see that the command works; nothing else.
    """
    if quick:
        return _quick()
    five, three = {"channels": 128, "side": 64, "n": 5, "batch": 4}, {
        "channels": 256, "side": 32, "n": 3, "batch": 8,
    }  # fmt: skip
    plain = {"channels": 64, "side": 64, "n": 3, "batch": 1}
    found = [
        Row("memory-n5", "memory", "memory", five),
        Row("memory-n3", "memory", "memory", three),
        *(Row(f"memory-{n}", "memory by n", "memory", plain | {"n": n}) for n in PATCHES),
        *(Row(f"memory-{name}-{value}", f"memory by {name}", "memory", plain | {name: value})
          for name, values in HELD.items() for value in values),
        Row("operator-n5", "operator", "operator", five),
        Row("operator-n3", "operator", "operator", three),
        *(Row(f"side-{side}", "side", "operator", plain | {"side": side, "inference": True})
          for side in SIDES),
        *(Row(f"n-{n}", "n", "operator", plain | {"n": n}) for n in PATCHES),
        *(Row(f"channels-{C}", "channels", "operator", plain | {"channels": C}) for C in CHANNELS),
        *(Row(f"batch-{B}", "batch", "operator", plain | {"batch": B}) for B in BATCHES),
        Row("where-n5", "where", "shares", five),
        Row("where-n3", "where", "shares", three),
        Row("fashion", "model", "generator", {"preset": "fashion"}, rooms=MODEL),
        Row("small", "model", "generator", {"preset": "small"}, rooms=MODEL),
        Row("where-fashion", "where", "shares", {"preset": "fashion"}, rooms=MODEL),
        Row("step-small", "step", "step", {"preset": "small"}, "cpu", STEP),
        Row("step-fashion", "step", "step", {"preset": "fashion"}, "cuda", STEP),
        Row("where-step", "where", "step shares", {"preset": "small"}, "cpu", STEP),
        Row("pose-128", "pose", "pose", {"side": 128}, "cpu", ANSWER),
        Row("processes", "processes", "processes", {"preset": "small", "counts": [1, 2]}, "cpu",
            (*STEP, "distributed")),
        Row("start", "start", "start", {}, "cpu", ("__init__", "cli")),
    ]  # fmt: skip
    return found


def _quick() -> list[Row]:
    size = {"channels": 8, "side": 16, "n": 3, "batch": 1}
    return [
        Row("memory-quick", "memory", "memory", size),
        Row("operator-quick", "operator", "operator", size),
        Row("side-quick", "side", "operator", size | {"inference": True}),
        Row("where-quick", "where", "shares", size),
        Row("tiny", "model", "generator", {"preset": "tiny"}, rooms=MODEL),
        Row("step-tiny", "step", "step", {"preset": "tiny"}, "cpu", STEP),
        Row("pose-32", "pose", "pose", {"side": 32}, "cpu", ANSWER),
    ]


def measure(
    row: Row, effort: Effort, device: str = "cpu", tick: Callable[[str], Any] = lambda name: None
) -> dict[str, Any]:
    """Measure a row.

    Args:
        row: of `rows`.
        effort: turns, threads, memory.
        device: "cpu" or "cuda".
        tick: told the name of each form before it runs.

    Returns:
        `times` {form: {pass: one number of seconds a turn}}, or `memory`, `shares`; `apart`, by how
        much the results of the forms differ; and what `gfla.speed.bench_kinds` tells besides.

    Raises:
        NotMeasured: not on this device, with the reason.
        Disagreement: forms that should give the same do not.
    """
    if row.device and row.device != torch.device(device).type:
        there = "a CPU" if row.device == "cpu" else "a CUDA device"
        raise NotMeasured(f"not measured: it needs {there}, this is {torch.device(device).type}")
    with meanwhile.threads(effort.threads):
        return KINDS[row.kind](row.given, effort, device, tick)
