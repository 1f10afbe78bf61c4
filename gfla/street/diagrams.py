"""Drawings that explain one idea each, for the notebooks; like `gfla.viz`, they return Figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle

from gfla.viz import ATTENTION, INK, NARROW, PALE, SOURCE, TARGET, WIDE


def bilinear_cell(ax: float, ay: float) -> Figure:
    """Draw one reading between four source pixels: each weight is the area of the far rectangle.

    Args:
        ax, ay: fractions beyond the upper left pixel, in [0, 1).
    Returns:
        Figure: pixels blue, the reading orange, weights beside their pixels.
    Raises:
        ValueError: a fraction outside [0, 1).
    """
    for name, value in (("ax", ax), ("ay", ay)):
        if not 0 <= value < 1:
            raise ValueError(f"{name} is {value!r}: a fraction lies in [0, 1)")
    figure = Figure(figsize=(NARROW, 2.7), layout="constrained")
    axes = figure.subplots()
    for column, row in ((0, 0), (1, 0), (0, 1), (1, 1)):
        weight = (ax if column else 1 - ax) * (ay if row else 1 - ay)
        far = min(ax, 1 - column), min(ay, 1 - row)  # a corner of the rectangle opposite
        size = abs(1 - column - ax), abs(1 - row - ay)
        axes.add_patch(Rectangle(far, *size, fc=SOURCE, alpha=0.12 + 0.6 * weight, ec="white"))
        axes.add_patch(Circle((column, row), 0.045, fc=SOURCE, ec=INK, lw=0.7, zorder=3))
        name = "f(x'" + ("+1" if column else "") + ", y'" + ("+1" if row else "") + ")"
        axes.annotate(
            f"{name}\nweight {weight:.3g}", (column, row), (0, 9 if row == 0 else -9),
            textcoords="offset points", ha="center", va="bottom" if row == 0 else "top",
        )  # fmt: skip
    axes.add_patch(Circle((ax, ay), 0.045, fc=TARGET, ec=INK, lw=0.7, zorder=3))
    axes.set(xlim=(-0.45, 1.45), ylim=(1.4, -0.4), aspect="equal")
    axes.axis("off")
    return figure


def footprints(columns: Sequence[int], shares: Mapping[str, object], displacement: float) -> Figure:
    """Draw which source columns each sampler reads when the flow is off by some pixels.

    Args:
        columns: pixels to the right of the true column.
        shares: sampler -> share of the reading per column.
        displacement: pixels that the flow is off.
    Returns:
        Figure, one row per sampler; a dashed line where the flow points.
    """
    figure = Figure(figsize=(WIDE, 0.75 * len(shares) + 0.55), layout="constrained")
    axes = figure.subplots(len(shares), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for row, (name, share) in zip(axes, shares.items(), strict=True):
        place, share = np.asarray(columns), np.asarray(share)
        ink = [ATTENTION if column == 0 else PALE for column in place]
        row.bar(place, share, 0.82, color=ink)
        row.axvline(displacement, color=TARGET, ls="--", lw=1.2)
        found = float(share[place == 0].sum())
        row.set_ylabel("share")
        row.text(0.99, 0.92, f"{name}\ntrue column: {found:.0%}", transform=row.transAxes,
                 ha="right", va="top")  # fmt: skip
        row.grid(False, axis="x")
    axes[0].set(ylim=(0, 1.05), xticks=list(columns))
    axes[-1].set_xlabel(
        f"source column, counted from the true one (px); the flow is {displacement:+.2g} px off"
    )
    return figure
