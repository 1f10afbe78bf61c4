"""The figures of notebook 08: what grows, what stays, where the time goes, how far the floor is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from gfla import viz
from gfla.speed import bench_targets, timing
from gfla.speed.bench_targets import Entry
from gfla.speed.rivals import BILINEAR, CONVOLUTIONS, LITERAL, OURS

FLOOR = "its convolutions alone"
COLORS = {LITERAL: viz.TARGET, OURS: viz.GENERATED, FLOOR: viz.MUTED, BILINEAR: viz.MUTED}
PARTS = {  # groups of operators, from the arithmetic that must be to what is in the way
    "convolutions": viz.INK, "gathers": viz.ATTENTION, "copies, sums, fills": viz.SOURCE,
    "norms": viz.LILAC, timing.OTHERS: viz.PALE,
}  # fmt: skip


def growth(entry: Entry) -> Figure:
    """Draw what grows: time per pixel with the side, time with n, memory with n.

    Args:
        entry: a recorded run of the benchmark.

    Returns:
        Figure of three panels; bands reach from the lower to the upper quartile. What was not
        measured is missing.
    """
    forms = {LITERAL: LITERAL, OURS: bench_targets.best(entry), FLOOR: CONVOLUTIONS}
    sides = _values(entry, "side", "side")
    patches = _values(entry, "n", "n")
    per_pixel = {
        label: [_scaled(entry, f"side-{side}", form, "inference", 1e9 / side**2) for side in sides]
        for label, form in forms.items()
    }
    times = {
        label: [_scaled(entry, f"n-{n}", form, "both", 1e3) for n in patches]
        for label, form in forms.items()
    }
    memory = [bench_targets.row(entry, f"memory-{n}").get("memory", {}) for n in patches]
    taken = {
        label: [found.get(forms[label], np.nan) for found in memory] for label in (LITERAL, OURS)
    }
    shared = {"colors": COLORS, "dashed": [FLOOR]}
    figure = viz.panels(
        {"x": sides, "xlabel": "side [pixels]", "ylabel": "forward [ns a pixel]", "log": "xy",
         **_banded(per_pixel), **shared},
        {"x": patches, "xlabel": "n, side of the patch", "ylabel": "forward + backward [ms]",
         **_banded(times), **shared},
        {"x": patches, "xlabel": "n, side of the patch", "ylabel": "memory [MiB]",
         "lines": taken, **shared},
        shared_legend=True,
    )  # fmt: skip
    left, *others = figure.axes
    for axes, ticks in ((left, sides), *((one, patches) for one in others)):
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.set_xticks([], minor=True)
    return figure


def _values(entry: Entry, group: str, name: str) -> list[int]:
    return sorted(one["given"][name] for one in entry.get("rows", ()) if one["group"] == group)


def _scaled(entry: Entry, row: str, form: str, part: str, scale: float) -> tuple:
    """Quartiles of one form's times, in another unit; NaN where it was not measured."""
    values = bench_targets.row(entry, row).get("times", {}).get(form, {}).get(part)
    found = timing.quartiles(values) if values else (np.nan,) * 3
    return tuple(scale * value for value in found)


def _banded(found: Mapping[str, Sequence[tuple]]) -> dict:
    lows, middles, highs = (
        {label: [three[place] for three in threes] for label, threes in found.items()}
        for place in range(3)
    )
    return {"lines": middles, "bands": {label: (lows[label], highs[label]) for label in found}}


TIMED = {  # a row of shares: what it is called, which row has its time, of which part
    "where-n5": ("n = 5", "operator-n5", "both"),
    "where-n3": ("n = 3", "operator-n3", "both"),
    "where-fashion": ("fashion", "fashion", "both"),
    "where-step": ("a step of small", "step-small", "step"),
}


def where(entry: Entry, rows: Sequence[str] = tuple(TIMED)) -> Figure:
    """Draw where the time goes, as shares of the literal form's.

    Args:
        entry: a recorded run of the benchmark.
        rows: of kind "shares".

    Returns:
        Figure: two bars a row, the literal form's of length 1, cut into groups of operators.
    """
    bars = []
    for row in rows:
        title, timed, part = TIMED.get(row, (row, row, "both"))
        for form, shares in bench_targets.row(entry, row).get("shares", {}).items():
            label = LITERAL if form == LITERAL else OURS
            ratio = bench_targets.over(entry, timed, form, LITERAL, part)
            bars.append((f"{title}, {label}", shares, ratio[1] if ratio else 1.0))
    figure = Figure(figsize=(viz.WIDE, 0.9 + 0.27 * len(bars)), layout="constrained")
    axes = figure.subplots()
    for place, (_, shares, length) in enumerate(bars):
        start = 0.0
        for part, color in PARTS.items():
            width = length * shares.get(part, 0.0)
            label = part if place == 0 else None
            axes.barh(place, width, 0.66, left=start, color=color, label=label)
            start += width
    axes.set_yticks(range(len(bars)), [name for name, *_ in bars])
    axes.invert_yaxis()
    axes.grid(False, axis="y")
    axes.set_xlabel("forward + backward (step: all of it), literal form = 1")
    figure.legend(loc="outside upper center", ncols=len(PARTS))
    return figure


def against_floor(entry: Entry, rows: Sequence[str] = ("operator-n5", "operator-n3")) -> Figure:
    """Draw how many times longer the forms take than the convolutions that none can do without.

    Args:
        entry: a recorded run of the benchmark.
        rows: of kind "operator".

    Returns:
        Figure: bars for forward, backward and both; the line at 1 is the floor.
    """
    values, errors, colors = {}, {}, {}
    for row in rows:
        for label, form in {LITERAL: LITERAL, OURS: bench_targets.best(entry)}.items():
            for part in ("forward", "backward", "both"):
                three = bench_targets.over(entry, row, form, "floor", part)
                if three is None:
                    continue
                name = f"n = {bench_targets.row(entry, row)['given']['n']}, {part}, {label}"
                values[name], errors[name] = three[1], (three[2] - three[0]) / 2
                colors[name] = COLORS[label]
    return viz.bars(
        values, "time / that of its convolutions alone", errors=errors, colors=colors, marks={1: ""}
    )


def whole(entry: Entry) -> Figure:
    """Draw the whole model, the training step and the new pose: literal against ours.

    Args:
        entry: a recorded run of the benchmark.

    Returns:
        Figure: bars of literal / form, with half the distance of the quartiles.
    """
    wanted = {
        "fashion": ("inference", "both"), "small": ("inference", "both"),
        "step-small": ("step",), "step-fashion": ("step",), "pose-128": ("answer",),
    }  # fmt: skip
    words = {"inference": "forward", "both": "forward + backward"}
    values, errors, colors = {}, {}, {}
    for row, parts in wanted.items():
        for part in parts:
            for form in (OURS, BILINEAR):
                three = bench_targets.over(entry, row, LITERAL, form, part)
                if three is None:
                    continue
                what = row.replace("-", ", ") + (f", {words[part]}" if part in words else "")
                name = f"{what}: {form}"
                values[name], errors[name] = three[1], (three[2] - three[0]) / 2
                colors[name] = COLORS[form]
    return viz.bars(
        values, "literal / it, times faster", errors=errors, colors=colors, marks={1: ""}
    )
