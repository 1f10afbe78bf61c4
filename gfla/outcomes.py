"""What became of the notebooks of a run: kept beside each, gathered for all, shown, published.

Every notebook has a file of its own, `<folder>/<notebook>/outcome.json`.  The run's
`manifest.json` and `summary.md` are gathered from those under a lock, so that several processes may
fill one folder, a notebook each, and the last of them leaves a manifest of all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gfla import ledger, storage

FILE, MANIFEST, SUMMARY = "outcome.json", "manifest.json", "summary.md"


@dataclass
class Outcome:
    """What became of one notebook."""

    notebook: str  # its name without ending
    state: str  # done, failed or not run
    seconds: float  # wall time
    folder: str  # where its files lie, relative to the run's folder
    figures: list[str] = field(default_factory=list)  # PNG files, relative to `folder`
    tables: list[str] = field(default_factory=list)  # CSV files, relative to `folder`
    numbers: dict[str, Any] = field(default_factory=dict)  # key number -> value
    error: str = ""  # one line, when it failed
    source: str = ""  # digest of what its cells said
    commit: str = ""  # of the library it ran with


def read(folder: Path, given: Mapping[str, Any]) -> dict[str, Outcome]:
    """Read what is known of the notebooks of a run.

    Args:
        folder: the run's folder; an empty one knows nothing.
        given: the parameters that every notebook of this run has.

    Returns:
        name -> outcome, in the order of the street; without one that is set aside meanwhile.

    Raises:
        ValueError: a notebook there had other parameters, so this would be another run.
    """
    known = {}
    for path in sorted(folder.glob(f"*/{FILE}")):
        try:
            kept = storage.read_json(path)
        except FileNotFoundError:
            continue  # another process has set it aside meanwhile, and runs the notebook again
        if kept["outcome"]["notebook"] != path.parent.name:
            continue  # an older attempt that was set aside
        before = kept["parameters"]
        differ = [
            f"{name}: {before.get(name)!r} then, {given.get(name)!r} now"
            for name in sorted({*before, *given})
            if before.get(name) != given.get(name)
        ]
        if differ:
            raise ValueError(
                f"{folder} holds {path.parent.name} of another run ({'; '.join(differ)}): "
                "name another folder"
            )
        known[path.parent.name] = Outcome(**kept["outcome"])
    return known


def keep(folder: Path, outcome: Outcome, given: Mapping[str, Any]) -> Path:
    """Write down what became of one notebook, beside it.

    Args:
        folder: the run's folder.
        outcome: of that notebook.
        given: its parameters.

    Returns:
        The file.
    """
    facts = {"parameters": dict(given), "outcome": asdict(outcome)}
    return storage.write_json(folder / outcome.folder / FILE, facts)


def gather(
    folder: Path, given: Mapping[str, Any], device: Any, unrun: Sequence[Outcome] = ()
) -> list[Outcome]:
    """Bring the manifest and the summary of a run up to date with its notebooks.

    Args:
        folder: the run's folder.
        given: the parameters that every notebook of this run has.
        device: what it computes on.
        unrun: outcomes of notebooks that were left out, of which no file tells.

    Returns:
        The outcomes the manifest now holds, in the order of the street.
    """
    found: list[Outcome] = []

    def change(_: Any) -> dict[str, Any]:
        known = {outcome.notebook: outcome for outcome in unrun} | read(folder, given)
        found[:] = [known[name] for name in sorted(known)]
        sources = {outcome.notebook: outcome.source for outcome in found}
        settings = {**given, "notebooks": sources}
        storage.atomic_write(folder / SUMMARY, summary(found) + "\n")
        about = ledger.provenance(settings, given["seed"], device)
        return about | {"settings": settings, "notebooks": list(map(asdict, found))}

    storage.locked_update(folder / MANIFEST, change)
    return found


def set_aside(place: Path) -> None:
    """Make room for a notebook's files; those of an earlier attempt move to `<name>-before-<n>`."""
    if place.exists() and any(place.iterdir()):
        number = 1
        while (older := place.with_name(f"{place.name}-before-{number}")).exists():
            number += 1
        place.rename(older)
    place.mkdir(exist_ok=True)


def summary(outcomes: Sequence[Outcome], shown: int = 3) -> str:
    """Lay out what became of a run.

    Args:
        outcomes: one a notebook.
        shown: key numbers named per notebook; all of them are in the manifest.

    Returns:
        A Markdown table: notebook, state, seconds, figures, key numbers, place.
    """
    rows = [["notebook", "state", "seconds", "figures", "key numbers", "in"]]
    for outcome in outcomes:
        numbers = [f"{name}: {_short(value)}" for name, value in outcome.numbers.items()]
        told = outcome.error[:100] or "; ".join(numbers[:shown])
        figures = str(len(outcome.figures))
        seconds = f"{outcome.seconds:.0f}"
        rows.append([outcome.notebook, outcome.state, seconds, figures, told, outcome.folder])
    return ledger.table(rows)


def publish(folder: Path, outcomes: Sequence[Outcome]) -> list[Path]:
    """Copy the figures and tables of a run to `results/`, where they are kept with the code.

    Args:
        folder: the run's folder.
        outcomes: what became of it; a failed notebook gives nothing.

    Returns:
        The files written.
    """
    written = []
    for outcome in outcomes:
        if outcome.state != "done":
            continue
        place = folder / outcome.folder
        for file in sorted([*place.glob("figures/*"), *place.glob("tables/*")]):
            target = storage.root() / "results" / file.parent.name / outcome.notebook / file.name
            written.append(storage.atomic_write(target, file.read_bytes()))
    return written


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
