"""What was measured against what was wanted: ratios and targets. No number is typed in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from gfla import ledger
from gfla.speed import timing
from gfla.speed.rivals import CONVOLUTIONS, COPY, FAST, LITERAL, OURS, TRITON

Entry = Mapping[str, Any]  # a recorded run of the benchmark; empty where there is none
RUNS = {"cpu": "bench-cpu", "cuda": "bench-cuda"}
NO_CUDA = "not measured: no CUDA device here"
FLAT = (64, 128, 256, 512)  # sides over which the time per pixel is to stay


class Target(NamedTuple):
    """One thing that was wanted."""

    name: str  # of its number in the ledger
    words: str
    needed: float
    least: bool  # whether more is better
    found: Callable[[Entry], float | None]  # in a recorded run; None: not in it
    device: str = "cpu"
    unit: str = "×"


def recorded(device: str = "cpu") -> dict[str, Any]:
    """The recorded run of a kind of device, empty where there is none."""
    name = RUNS[device]
    return ledger.read(name) if name in ledger.runs() else {}


def row(entry: Entry, name: str) -> dict[str, Any]:
    """One row of a recorded run; empty where it is not in it or was not measured."""
    found = (one for one in entry.get("rows", ()) if one["row"] == name)
    one = next(found, {})
    return {} if "not measured" in one else one


def middle(entry: Entry, name: str, form: str, part: str) -> float | None:
    """Median seconds of one pass of one form, None where it was not measured."""
    values = row(entry, name).get("times", {}).get(form, {}).get(part)
    return timing.quartiles(values)[1] if values else None


def over(
    entry: Entry, name: str, above: str, below: str, part: str
) -> tuple[float, float, float] | None:
    """Quartiles of the ratio of two forms' times, taken turn by turn.

    Args:
        entry: a recorded run.
        name: of the row.
        above, below: forms; "floor" is the convolutions and, where it was measured, the copy.
        part: "inference", "forward", "backward", "both", "step", "answer".

    Returns:
        lower quartile, median, upper quartile; None where one of the two was not measured.
    """
    a, b = (turns_of(row(entry, name).get("times", {}), form, part) for form in (above, below))
    if not a or not b:
        return None
    return timing.quartiles([x / y for x, y in zip(a, b, strict=True)])


def turns_of(times: Mapping, form: str, part: str) -> list[float]:
    """Seconds of one form, turn by turn; "floor" is the convolutions and, if there, the copy."""
    if form != "floor":
        return times.get(form, {}).get(part, [])
    convolutions = times.get(CONVOLUTIONS, {}).get(part, [])
    if COPY not in times:
        return convolutions
    return [a + b for a, b in zip(convolutions, times[COPY][part], strict=True)]


def best(entry: Entry) -> str:
    """The name of our form: "triton" where it was measured, else "fast"."""
    times = row(entry, "operator-n5").get("times", {})
    return TRITON if TRITON in times else FAST


def less_memory(entry: Entry, name: str) -> float | None:
    """How many times less memory our form takes than the literal one."""
    found = row(entry, name).get("memory", {})
    ours = found.get(TRITON, found.get(FAST))
    return found[LITERAL] / ours if ours and LITERAL in found else None


def memory_by(entry: Entry, what: str) -> dict[int, float]:
    """How many times less memory our form takes than the literal one, as one thing grows.

    Args:
        entry: a recorded run.
        what: "n", "side", "channels" or "batch".

    Returns:
        {its value: literal / ours}, of the rows in which both were measured.
    """
    rows = [one for one in entry.get("rows", ()) if one["group"] == f"memory by {what}"]
    found = {one["given"][what]: less_memory(entry, one["row"]) for one in rows}
    return {value: found[value] for value in sorted(found) if found[value] is not None}


def unevenness(entry: Entry, form: str = FAST, sides: Sequence[int] = FLAT) -> float | None:
    """Largest over smallest time per pixel between these sides."""
    found = [middle(entry, f"side-{side}", form, "inference") for side in sides]
    if None in found:
        return None
    per_pixel = [seconds / side**2 for seconds, side in zip(found, sides)]
    return max(per_pixel) / min(per_pixel)


def start_seconds(entry: Entry, what: str) -> float | None:
    """Processor seconds beyond those of `import torch`."""
    whole, torch = (middle(entry, "start", form, "process") for form in (what, "import torch"))
    return None if whole is None or torch is None else whole - torch


def _times(name: str, part: str, below: str = "") -> Callable[[Entry], float | None]:
    def found(entry: Entry) -> float | None:
        three = over(entry, name, LITERAL, below or best(entry), part)
        return three[1] if three else None

    return found


def _floors(name: str, part: str = "both") -> Callable[[Entry], float | None]:
    def found(entry: Entry) -> float | None:
        three = over(entry, name, best(entry), "floor", part)
        return three[1] if three else None

    return found


def _milliseconds(entry: Entry) -> float | None:
    seconds = middle(entry, "pose-128", OURS, "answer")
    return None if seconds is None else 1e3 * seconds


_N5 = "local attention, forward + backward, C=128, 64×64, n=5, B=4"
_N3 = "local attention, forward + backward, C=256, 32×32, n=3, B=8"
_FLAT = "local attention, forward, C=64, n=3, B=1: time per pixel, sides 64 to 512, most / least"
_COPY = "ours / (its convolutions + a copy of f_s and f_attn)"
_STEP = _times("step-small", "step", OURS)
TARGETS = (
    Target("n5", f"{_N5}: literal / ours", 3.6, True, _times("operator-n5", "both")),
    Target("n5, memory", "the same, memory: literal / ours", 6, True,
           lambda e: less_memory(e, "memory-n5")),
    Target("n5, floor", "the same: ours / its convolutions alone", 1.25, False,
           _floors("operator-n5")),
    Target("n3", f"{_N3}: literal / ours", 2.3, True, _times("operator-n3", "both")),
    Target("n3, floor", "the same: ours / its convolutions alone", 1.5, False,
           _floors("operator-n3")),
    Target("flat", _FLAT, 1.25, False, unevenness),
    Target("fashion, forward", "`fashion` generator, 256×256, forward: literal / ours", 1.5, True,
           _times("fashion", "inference", OURS)),
    Target("fashion, both", "`fashion` generator, 256×256, forward + backward: literal / ours",
           1.5, True, _times("fashion", "both", OURS)),
    Target("step", "`small`, a training step: literal / ours", 1.5, True, _STEP),
    Target("pose", "a new pose of a known person, 128×128, all pictures", 120, False,
           _milliseconds, unit=" ms"),
    Target("import", "`import gfla`, beyond `import torch`", 0.5, False,
           lambda e: start_seconds(e, "import gfla"), unit=" s"),
    Target("help", "`python -m gfla --help`, beyond `import torch` (negative: needs no torch)",
           1.5, False, lambda e: start_seconds(e, "--help"), unit=" s"),
    Target("GPU, n5", f"GPU: {_N5}: literal / ours", 6, True, _times("operator-n5", "both"),
           "cuda"),
    Target("GPU, n5, floor", f"GPU: the same: {_COPY}", 2, False, _floors("operator-n5"), "cuda"),
    Target("GPU, n3", f"GPU: {_N3}: literal / ours", 6, True, _times("operator-n3", "both"),
           "cuda"),
    Target("GPU, n3, floor", f"GPU: the same: {_COPY}", 2, False, _floors("operator-n3"), "cuda"),
    Target("GPU, step", "GPU: `fashion`, a training step: literal float32 / ours", 3, True,
           _times("step-fashion", "step", OURS), "cuda"),
)  # fmt: skip


class Verdict(NamedTuple):
    """A target and what came of it."""

    target: Target
    measured: float | None

    @property
    def met(self) -> bool | None:
        """Whether it was reached, None where it was not measured."""
        if self.measured is None:
            return None
        if self.target.least:
            return self.measured >= self.target.needed
        return self.measured <= self.target.needed


def verdicts(entries: Mapping[str, Entry] | None = None) -> list[Verdict]:
    """Every target with what was measured.

    Args:
        entries: kind of device -> recorded run; by default those in the ledger.
    """
    entries = {kind: recorded(kind) for kind in RUNS} if entries is None else entries
    return [Verdict(one, one.found(entries.get(one.device, {}))) for one in TARGETS]


def targets_table(entries: Mapping[str, Entry] | None = None) -> str:
    """The targets as a Markdown table: wanted, measured, met."""
    lines = [["target", "wanted", "measured", "met"]]
    for one in verdicts(entries):
        target = one.target
        wanted = f"{'≥' if target.least else '≤'} {target.needed:g}{target.unit}"
        gone = NO_CUDA if target.device == "cuda" else "not measured"
        found = gone if one.measured is None else f"{one.measured:.3g}{target.unit}"
        lines.append([target.words, wanted, found, {True: "yes", False: "no", None: "–"}[one.met]])
    return ledger.table(lines)
