"""A model that knows the frame before, against its twin that does not: what memory is worth.

Both were trained alike and paint the same clips. The questions that explain a difference are ways
to paint them, too: the same weights with the memory switched off, with the true frame before, with
true poses; the twin with memory at its best; and the sharper of the two made as soft as the other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from gfla import ledger
from gfla.data import people
from gfla.data.detector import NOISY
from gfla.data.gaits import KINDS
from gfla.scores import moving, ways
from gfla.scores.comparison import Difference

if TYPE_CHECKING:
    import pandas

RUN = "video-memory"  # the recorded comparison
OURS, TWIN = "recurrent", "frame by frame"
LOOKS = {"clean": None, "noisy": NOISY}  # who finds the poses
KEPT = ("l1", "l1_foreground", "detail", "warp_error", "truth_warp_error", "flicker", "jitter",
        "copy_l1", "warp_l1", "flow_error", "zero_flow_error", "previous_flow_error",
        "previous_zero_flow_error")  # fmt: skip


def compared(ours: nn.Module, twin: nn.Module) -> dict[str, ways.Way]:
    """The two models, and what explains them: name -> way."""
    single = ways.once(ways.painter(twin))
    return {
        OURS: ways.once(ways.painter(ours)),
        TWIN: single,
        "memory off": ways.painter(ours, "reference"),
        "true frame before": ways.painter(ours, "truth"),
        "true flow to it": ways.painter(ours, follow="true"),
        "true pose now": ways.painter(ours, now="true"),
        "true pose before": ways.painter(ours, before="true"),
        "twin, ideal memory": ways.remembering(single),
    }


def as_soft(one: ways.Way, other: ways.Way, batch: ways.Batch) -> tuple[bool, ways.Way]:
    """Of two ways, the sharper one, blurred until it shows no more detail than the other.

    Args:
        one, other: ways.
        batch: the clips on which the blur is found, by halving an interval.

    Returns:
        whether `one` is the sharper, and that one, blurred.
    """

    def detail(way: ways.Way) -> float:
        return moving.summary(moving.scores(way(batch), batch))["detail"]

    first = detail(one) > detail(other)
    sharper, wanted = ways.once((one, other)[not first]), detail((other, one)[not first])
    low, high = 0.0, 1.0
    for _ in range(7):
        middle = (low + high) / 2
        low, high = (
            (middle, high) if detail(ways.softened(sharper, middle)) > wanted else (low, middle)
        )
    return first, ways.softened((one, other)[not first], (low + high) / 2)


def record(ours: nn.Module, twin: nn.Module, count: int = 64, frames: int = 12) -> Path:
    """Compare two models at length and keep it as the run `video-memory`.

    Args:
        ours: knows the frame before.
        twin: the same without.
        count: clips.
        frames: of each.

    Returns:
        The file: summaries by way and detector, and every clip's own numbers.
    """
    results: dict[str, float] = {}
    kept: dict[str, Any] = {}
    for look, noise in LOOKS.items():
        painters = compared(ours, twin)
        if noise is None:
            painters = {k: way for k, way in painters.items() if not k.startswith("true pose")}
        batch = moving.clips(min(moving.BATCH, count), frames, noise, size=ours.size)
        first, soft = as_soft(painters[OURS], painters[TWIN], batch)
        painters[f"{OURS if first else TWIN}, softened"] = soft
        for name, rows in moving.survey(painters, count, frames, noise, size=ours.size).items():
            found = moving.summary(rows)
            results |= {f"{name}, {look}, {key}": value for key, value in found.items()}
            kept[f"{name}, {look}"] = _plain(rows)
    config = {"clips": count, "frames": frames, "seed": people.MEASURING_SEEDS,
              "size": list(ours.size), "detector": vars(NOISY)}  # fmt: skip
    return ledger.write_run(RUN, results, config, seed=0, rows=kept)


def recorded() -> tuple[dict[str, Any], dict[tuple[str, str], moving.Rows]]:
    """The recorded comparison: its entry, and (way, "clean" or "noisy") -> rows.

    Raises:
        FileNotFoundError: it is not recorded.
    """
    entry = ledger.read(RUN)
    return entry, {tuple(name.rsplit(", ", 1)): _rows(row) for name, row in entry["rows"].items()}


def differences(
    rows: Mapping[tuple[str, str], moving.Rows], names: Sequence[str], one: str = OURS,
    other: str = TWIN,
) -> dict[tuple[str, str], Difference]:  # fmt: skip
    """One way minus another, with clean and with noisy poses: (number, look) -> difference."""
    return {
        (name, look): moving.difference(rows[one, look], rows[other, look], name)
        for name in names
        for look in LOOKS
        if (one, look) in rows and (other, look) in rows
    }


def told(found: Mapping[tuple[str, str], Difference]) -> str:
    """Differences as text, a line each: mean and interval.

    >>> one = Difference(-0.25, -0.5, 0.0, (-0.25,), 1, 8, "pairs only")
    >>> told({("warp_error", "noisy"): one})
    'warp error  noisy  -0.2500 [-0.5000, +0.0000] over 8 clips'
    """
    return "\n".join(
        f"{name.replace('_', ' '):<11} {look}  {one.mean:+.4f} [{one.low:+.4f}, {one.high:+.4f}] "
        f"over {one.pairs} clips"
        for (name, look), one in found.items()
    )


def beginnings(rows: Mapping[tuple[str, str], moving.Rows]) -> pandas.DataFrame:
    """Recurrent minus frame by frame as the clip begins, where no frame before is known as yet.

    Args:
        rows: of `recorded`.

    Returns:
        A row a look: L1 of frame 0, flicker from there to frame 1, and that of all later frames.
    """
    import pandas

    cells = {}
    for look in LOOKS:
        ours, twin = (rows[name, look].by_frame for name in (OURS, TWIN))
        error, flicker = ((ours[key] - twin[key]).nanmean(0) for key in ("l1", "flicker"))
        values = error[0], flicker[1], flicker[2:].mean()
        cells[look] = [f"{float(value):+.4f}" for value in values]
    names = ["L1, frame 0", "flicker, frame 1", "flicker, later"]
    return pandas.DataFrame.from_dict(cells, orient="index", columns=names)


def table(
    rows: Mapping[Any, moving.Rows], names: Sequence[str], digits: int = 2
) -> pandas.DataFrame:
    """What was found as text, a row a way, rounded to significant digits; a dash where nothing."""
    import pandas

    cells = {}
    for key, one in rows.items():
        found = moving.summary(one)
        label = key if isinstance(key, str) else f"{key[0]}, {key[1]}"
        cells[label] = [_number(found.get(name), digits) for name in names]
    return pandas.DataFrame.from_dict(cells, orient="index", columns=list(names))


# ---------------------------------------------------------------- inside


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None or value != value else f"{value:.{digits}g}"


def _plain(rows: moving.Rows) -> dict[str, Any]:
    """What JSON can hold: four digits, and None for what a clip does not have."""
    values = {name: _short(rows.values[name].tolist()) for name in KEPT if name in rows.values}
    by_frame = {name: _short(value.tolist()) for name, value in rows.by_frame.items()}
    return {"values": values, "by_frame": by_frame, "kind": [KINDS[k] for k in rows.kind]}


def _short(values: Any) -> Any:
    if isinstance(values, list):
        return [_short(one) for one in values]
    return None if math.isnan(values) else float(f"{values:.4g}")


def _rows(plain: Mapping[str, Any]) -> moving.Rows:
    def full(values: Sequence) -> Tensor:
        return torch.from_numpy(np.array(values, dtype=float))  # None becomes nan

    return moving.Rows(
        {name: full(values) for name, values in plain["values"].items()},
        {name: full(values) for name, values in plain["by_frame"].items()},
        torch.tensor([KINDS.index(kind) for kind in plain["kind"]]),
    )
