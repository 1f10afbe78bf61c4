"""Everything that can be said about a data set on disk before an hour is spent on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from gfla.data.clip_faults import dance_faults, face_faults, view_faults
from gfla.data.findings import Findings
from gfla.data.known_sets import KNOWN
from gfla.data.pair_faults import Task, flat_faults, tree_faults
from gfla.data.recognising import Recognised, recognise
from gfla.data.strays import strays
from gfla.data.surveying import Memory

_WAYS = {
    "deepfashion_tree": tree_faults,
    "market_tree": tree_faults,
    "deepfashion": flat_faults,
    "market": flat_faults,
    "shapenet": view_faults,
    "fashion_video": dance_faults,
    "iper": dance_faults,
    "face": face_faults,
}


class Checked(NamedTuple):
    """What a check came to."""

    at: Recognised
    facts: dict[str, Any]  # what was counted
    findings: Findings
    remembered: int  # files that an earlier check had found good, not looked at again

    def report(self) -> dict[str, Any]:
        """All of it as plain data."""
        known = KNOWN[self.at.kind]
        return {
            "data_set": self.at.kind,
            "title": known.title,
            "root": str(self.at.root),
            "reason": self.at.reason,
            "where": known.where,
            "terms": known.terms,
            "counts": self.facts,
            "remembered": self.remembered,
            "clean": self.findings.clean,
            "findings": self.findings.records(),
        }

    def table(self) -> str:
        """All of it as text."""
        known = KNOWN[self.at.kind]
        lines = [f"{known.title}, in {self.at.root}", f"  because {self.at.reason}"]
        for what, count in self.facts.items():
            published = known.counts.get(what)
            told = f" (published: {published.told()})" if published else ""
            lines.append(f"  {what}: {f'{count:,}' if isinstance(count, int) else count}{told}")
        if self.remembered:
            lines.append(f"  {self.remembered:,} files were good before and have not changed")
        lines += ["", self.findings.table()] if len(self.findings) else []
        lines.append("")
        if self.findings.clean:
            lines.append("Nothing is wrong with it." if len(self.findings) else "Clean.")
        else:
            lines.append(f"To be had: {known.where}. Terms: {known.terms}.")
        return "\n".join(lines)


def check(
    path: str | Path,
    kind: str | None = None,
    cache: str | Path | None = None,
    workers: int = 4,
    progress: bool = False,
) -> Checked:
    """Look through a whole data set; nothing in it is changed, nothing is written into it.

    Args:
        path: its folder.
        kind: a key of KNOWN; None = found out.
        cache: folder to remember in what was good, so that an interrupted check goes on where it
            stopped; None = the user's cache.
        workers: threads that decode pictures.
        progress: show bars.

    Returns:
        What was counted and found.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: no data set that is known, or a cache inside it.
        ModuleNotFoundError: views, and h5py is not installed.
    """
    at = recognise(path, kind)
    found, memory = Findings(), Memory(at.root, cache)
    try:
        facts = _WAYS[at.kind](Task(at, found, memory, workers, progress))
        strays(at.root, found, progress)
    finally:
        memory.save()
    return Checked(at, facts, found, memory.skipped)
