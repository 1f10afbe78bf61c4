"""What a check found wrong: collected, counted, printed, with three examples each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

SEVERITIES = ("error", "warning", "note")  # cannot be used; can, but look at it; good to know
_EXAMPLES = 3


@dataclass
class Finding:
    """One kind of thing that was found, however often."""

    severity: str
    what: str
    remedy: str = ""  # what to do
    count: int = 0
    examples: list[str] = field(default_factory=list)


class Findings:
    """All that was found, the worst first.

    >>> found = Findings()
    >>> found.add("error", "empty file", "train/a.jpg", "fetch it again")
    >>> print(found.table())
    error         1  empty file: fetch it again
                     train/a.jpg
    """

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], Finding] = {}

    def add(
        self, severity: str, what: str, example: str = "", remedy: str = "", count: int = 1
    ) -> None:
        """Count one more of a kind.

        Args:
            severity: one of SEVERITIES.
            what: the kind; what is the same is counted together.
            example: where; the first three are kept.
            remedy: what to do.
            count: how many at once.

        Raises:
            ValueError: another severity.
        """
        if severity not in SEVERITIES:
            raise ValueError(f"severity is {severity!r}; expected one of {SEVERITIES}")
        finding = self._found.setdefault((severity, what), Finding(severity, what, remedy))
        finding.count += count
        if example and len(finding.examples) < _EXAMPLES:
            finding.examples.append(example)

    def __iter__(self):
        return iter(sorted(self._found.values(), key=lambda one: SEVERITIES.index(one.severity)))

    def __len__(self) -> int:
        return len(self._found)

    @property
    def clean(self) -> bool:
        """Whether there is neither an error nor a warning."""
        return all(finding.severity == "note" for finding in self)

    def has(self, severity: str) -> bool:
        """Whether there is anything of a severity."""
        return any(finding.severity == severity for finding in self)

    def records(self) -> list[dict[str, Any]]:
        """The findings as plain data."""
        return [
            {
                "severity": one.severity,
                "what": one.what,
                "number": one.count,
                "examples": one.examples,
                "remedy": one.remedy,
            }
            for one in self
        ]

    def table(self) -> str:
        """The findings as text: severity, number, what and what to do, examples below."""
        return "\n".join(line for finding in self for line in _lines(finding))


def _lines(one: Finding) -> Iterable[str]:
    remedy = f": {one.remedy}" if one.remedy else ""
    yield f"{one.severity:<8}{one.count:>7,}  {one.what}{remedy}"
    for example in one.examples:
        yield f"{'':17}{example}"
    if one.count > len(one.examples) > 0:
        yield f"{'':17}… and {one.count - len(one.examples):,} more"
