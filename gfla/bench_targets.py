"""What was measured against what was wanted: ratios, targets, tables. No number is typed in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from gfla import ledger, timing
from gfla.rivals import CONVOLUTIONS, COPY, FAST, LITERAL, OURS, TRITON

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
    a, b = (_turns(row(entry, name).get("times", {}), form, part) for form in (above, below))
    if not a or not b:
        return None
    return timing.quartiles([x / y for x, y in zip(a, b, strict=True)])


def _turns(times: Mapping, form: str, part: str) -> list[float]:
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
    Target("help", "`python -m gfla --help`, beyond `import torch`", 1.5, False,
           lambda e: start_seconds(e, "--help"), unit=" s"),
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


def rows_table(entry: Entry, groups: Sequence[str] = ()) -> str:
    """Medians of a recorded run, in milliseconds, with the quartiles of the ratios.

    Args:
        entry: a recorded run.
        groups: of its rows; all that were timed by default.

    Returns:
        Markdown; a row that was not measured says why.
    """
    lines = [["row", "pass", "literal [ms]", "ours [ms]", "floor [ms]", "literal / ours",
              "ours / floor", "apart"]]  # fmt: skip
    for one in entry.get("rows", ()):
        if groups and one["group"] not in groups:
            continue
        if "not measured" in one:
            lines.append([one["row"], "", one["not measured"], *[""] * 5])
        times = one.get("times", {})
        ours = OURS if OURS in times else best(entry)
        for part in times.get(ours, {}):
            if not part.endswith("wall"):
                lines.append([one["row"], part, *_cells(entry, one, ours, part)])
    return ledger.table(lines)


def _cells(entry: Entry, one: Mapping, ours: str, part: str) -> list[str]:
    found = [_turns(one["times"], form, part) for form in (LITERAL, ours, "floor")]
    cells = [f"{1e3 * timing.quartiles(v)[1]:.3g}" if v else "–" for v in found]
    for pair in ((LITERAL, ours), (ours, "floor")):
        three = over(entry, one["row"], *pair, part)
        cells.append("{1:.2f} ({0:.2f} – {2:.2f})".format(*three) if three else "–")
    close = one.get("apart", {}).get(ours)
    return [*cells, "–" if close is None else f"{close:.0e}"]


def images_table(entry: Entry) -> str:
    """Pictures a second of wall time, of the whole model and of a training step."""
    lines = [["row", "what", "literal", "ours", "one bilinear read"]]
    for one in entry.get("rows", ()):
        if "images" not in one:
            continue
        for part in ("inference", "both", "step"):
            key = f"{part}, wall"
            cells = []
            for form in (LITERAL, OURS, "one bilinear read"):
                values = one["times"].get(form, {}).get(key)
                rate = one["images"] / timing.quartiles(values)[1] if values else None
                cells.append("–" if rate is None else f"{rate:.3g}")
            if cells[0] != "–":
                lines.append([one["row"], part, *cells])
    return ledger.table(lines)


def memory_table(entry: Entry) -> str:
    """By how much each form raised the most memory of a process of its own, in MiB."""
    lines = [["row", "literal [MiB]", "ours [MiB]", "literal / ours"]]
    for one in entry.get("rows", ()):
        if found := one.get("memory"):
            ours = found.get(TRITON, found[FAST])
            literal = f"{found[LITERAL]:.0f}" if LITERAL in found else "not measured: too large"
            times = less_memory(entry, one["row"])
            lines.append([one["row"], literal, f"{ours:.0f}", f"{times:.1f}" if times else "–"])
    return ledger.table(lines)


def shares_table(entry: Entry) -> str:
    """Where the time goes, forward and backward together, in per cent by groups of operators."""
    found = [one for one in entry.get("rows", ()) if "shares" in one]
    if not found:
        return ""
    groups = list(next(iter(found[0]["shares"].values())))
    lines = [["row", "form", *(f"{group} [%]" for group in groups)]]
    for one in found:
        for form, shares in one["shares"].items():
            numbers = [f"{100 * shares.get(group, 0.0):.0f}" for group in groups]
            lines.append([one["row"], form, *numbers])
    return ledger.table(lines)
