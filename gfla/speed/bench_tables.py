"""The recorded benchmark as text: times, memory, where it goes, pictures a second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gfla import ledger
from gfla.speed import timing
from gfla.speed.bench_targets import Entry, best, less_memory, over, row, turns_of
from gfla.speed.rivals import BILINEAR, COMPILED, FAST, LAST, LITERAL, LITERAL32, OURS, TRITON


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
    found = [turns_of(one["times"], form, part) for form in (LITERAL, ours, "floor")]
    cells = [_milli(timing.quartiles(values)[1]) if values else "–" for values in found]
    cells[0] = _reason(one, LITERAL, cells[0])
    for pair in ((LITERAL, ours), (ours, "floor")):
        three = over(entry, one["row"], *pair, part)
        cells.append("{1:.2f} ({0:.2f} – {2:.2f})".format(*three) if three else "–")
    close = one.get("apart", {}).get(ours)
    return [*cells, "–" if close is None else f"{close:.0e}"]


def _reason(one: Mapping, form: str, otherwise: str = "–") -> str:
    """Why a form is not in a row."""
    return one.get("left out", {}).get(form, otherwise)


def _milli(seconds: float) -> str:
    """Three digits that count, and no power of ten."""
    value = 1e3 * seconds
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def images_table(entry: Entry) -> str:
    """Pictures a second of wall time, of the whole model and of a training step."""
    forms = LITERAL, LITERAL32, OURS, LAST, COMPILED, BILINEAR
    lines = [["row", "what", *forms]]
    for one in entry.get("rows", ()):
        if "images" not in one:
            continue
        for part in ("inference", "both", "step"):
            key = f"{part}, wall"
            cells = []
            for form in forms:
                values = one["times"].get(form, {}).get(key)
                rate = one["images"] / timing.quartiles(values)[1] if values else None
                cells.append(_reason(one, form) if rate is None else f"{rate:.3g}")
            if any(one["times"].get(form, {}).get(key) for form in forms):
                lines.append([one["row"], part, *cells])
    return ledger.table(lines)


def scaling_table(entry: Entry) -> str:
    """A training step in one process and in several of one thread each: wall time."""
    found = row(entry, "processes")
    lines = [["processes", "a step [s]", "images a second", "times faster"]]
    alone = None
    for form, times in found.get("times", {}).items():
        seconds = timing.quartiles(times["step, wall"])[1]
        alone = alone or seconds
        rate = found["images"] / seconds
        lines.append([form, f"{seconds:.2f}", f"{rate:.1f}", f"{alone / seconds:.2f}"])
    return ledger.table(lines)


def commits(entry: Entry) -> str:
    """At which commits the rows were measured: `+` says that files had been changed since."""
    return ", ".join(sorted({one["commit"] for one in entry.get("rows", ())}))


def memory_table(entry: Entry) -> str:
    """By how much each form raised the most memory of a process of its own, in MiB."""
    lines = [["row", "literal [MiB]", "ours [MiB]", "literal / ours"]]
    for one in entry.get("rows", ()):
        if found := one.get("memory"):
            ours = found.get(TRITON, found[FAST])
            literal = f"{found[LITERAL]:.0f}" if LITERAL in found else _reason(one, LITERAL)
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
