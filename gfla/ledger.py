"""What a run found, and under which circumstances: numbers, tables, recorded runs.

Two kinds of memory.  While `python -m gfla reproduce` runs a notebook, the environment variable
GFLA_RUN_DIR names a folder, and `record` and `publish_table` write into it; without the variable
they do nothing, so a notebook opened by hand leaves no files.  A long run that cannot be repeated
in a notebook is kept for good in `results/runs/<name>.json` by `write_run`; notebooks read it
with `read` and say so with `describe`, so that a recorded number never looks like a live one.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gfla import storage

if TYPE_CHECKING:
    import pandas

RUN_DIR = "GFLA_RUN_DIR"
_PACKAGES = ("gfla", "torch", "numpy", "matplotlib", "pandas", "safetensors")


def run_dir() -> Path | None:
    """Give the folder the present run writes into, or None outside a run."""
    folder = os.environ.get(RUN_DIR)
    return Path(folder) if folder else None


def record(name: str, value: float | int | bool | str) -> None:
    """Keep one key number of the present run; outside a run do nothing.

    Args:
        name: what it is, with its unit: "end-point error, visible [px]".
        value: a number, truth value or short text; a tensor or array of one element counts.

    Raises:
        TypeError: the value is something else.

    Example:
        >>> record("end-point error [px]", 1.25)
    """
    plain = _scalar(name, value)
    if folder := run_dir():
        storage.locked_update(folder / "numbers.json", lambda known: known | {name: plain})


def publish_table(frame: pandas.DataFrame, name: str) -> pandas.DataFrame:
    """Write a table of the present run as CSV and Markdown; outside a run write nothing.

    Args:
        frame: the table.
        name: the files' name, without ending: small letters, digits, `-` and `_`.

    Returns:
        The same frame, so that the call can end a cell and show it.

    Raises:
        ValueError: the name would not make a file name.
    """
    _check_name(name)
    if folder := run_dir():
        storage.atomic_write(folder / "tables" / f"{name}.csv", frame.to_csv())
        storage.atomic_write(folder / "tables" / f"{name}.md", markdown(frame))
    return frame


def markdown(frame: pandas.DataFrame) -> str:
    """Write a table as Markdown.

    Args:
        frame: the table; floats are shown with four significant digits.

    Returns:
        One text, lines ended by newlines.

    Example:
        >>> import pandas
        >>> print(markdown(pandas.DataFrame({"error": [0.51234]}, index=["ours"])), end="")
        |      | error  |
        |------|--------|
        | ours | 0.5123 |
    """
    rows = [["", *map(_text, frame.columns)]]
    rows += [[_text(index), *map(_text, row)] for index, *row in frame.itertuples()]
    return table(rows)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Lay out rows of text, the first being the heading, as an aligned Markdown table."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines) + "\n"


def digest(config: Any) -> str:
    """Name a configuration by 12 hexadecimal digits.

    Args:
        config: something with a `digest()` of its own, or a mapping that JSON can hold.

    Returns:
        12 hexadecimal digits; equal configurations have equal digests.

    Example:
        >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
        True
    """
    if hasattr(config, "digest"):
        return config.digest()
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:12]


def commit() -> str:
    """Name the state of the code: a short commit, with `+` when files were changed since.

    Returns:
        Like "1a2b3c4" or "1a2b3c4+"; "unknown" outside a git checkout.
    """

    def git(*words: str) -> str:
        command = ["git", "-C", str(storage.root()), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        name = git("rev-parse", "--short=7", "HEAD")
        return name + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def device_name(device: Any = "cpu") -> str:
    """Name what a run computed on: "cpu, 2 threads", or the GPU's own name where it is known."""
    import torch

    if torch.device(device).type == "cuda" and torch.cuda.is_available():
        return torch.cuda.get_device_name(device)
    if torch.device(device).type == "cpu":
        return f"cpu, {torch.get_num_threads()} threads"
    return str(device)


def provenance(config: Any = None, seed: int | None = None, device: Any = "cpu") -> dict[str, Any]:
    """Say under which circumstances a number came about.

    Args:
        config: the run's configuration, see `digest`; None leaves the digest out.
        seed: the run's seed.
        device: a torch device or its name.

    Returns:
        commit, config (digest), seed, device, date (UTC), versions, system.
    """
    return {
        "commit": commit(),
        "config": None if config is None else digest(config),
        "seed": seed,
        "device": device_name(device),
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "versions": {"python": platform.python_version()} | _versions(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def write_run(
    name: str,
    results: Mapping[str, Any],
    config: Any = None,
    seed: int | None = None,
    device: Any = "cpu",
    folder: str | Path | None = None,
    **more: Any,
) -> Path:
    """Keep a finished run for good in `results/runs/<name>.json`.

    Args:
        name: the run's name: small letters, digits, `-` and `_`.
        results: key number -> value.
        config: its configuration, see `digest`; one with `to_dict()` is kept in full as well.
        seed: its seed.
        device: what it computed on.
        folder: where the file goes instead of `results/runs`.
        more: anything else JSON can hold, say `history=[...]` or `note="..."`.

    Returns:
        The file.

    Raises:
        ValueError: the name would not make a file name.
    """
    _check_name(name)
    entry = {"run": name, **provenance(config, seed, device)}
    entry["results"] = {key: _scalar(key, value) for key, value in results.items()}
    full = config.to_dict() if hasattr(config, "to_dict") else config
    place = _runs() if folder is None else Path(folder)
    return storage.write_json(place / f"{name}.json", entry | {"settings": full} | more)


def read(name: str) -> dict[str, Any]:
    """Read a recorded run.

    Args:
        name: the run's name.

    Returns:
        run, commit, config, seed, device, date, versions, system, results, settings, and what
        else was kept.

    Raises:
        FileNotFoundError: there is no such run; the message lists those there are.
    """
    path = _runs() / f"{name}.json"
    if not path.is_file():
        known = ", ".join(runs()) or "none yet"
        raise FileNotFoundError(f"no recorded run {name!r} in {path.parent}; there are: {known}")
    return storage.read_json(path)


def runs() -> list[str]:
    """Name the recorded runs, in alphabetical order."""
    return sorted(path.stem for path in _runs().glob("*.json"))


def describe(entry: Mapping[str, Any]) -> None:
    """Print where a recorded run comes from, in one line.

    Args:
        entry: what `read` gave.

    Example:
        >>> describe({"run": "people-flow", "commit": "1a2b3c4", "config": "0123456789ab",
        ...           "date": "2026-01-31 12:00 UTC", "device": "cpu, 2 threads"})
        recorded: run people-flow, commit 1a2b3c4, config 0123456789ab, 2026-01-31, cpu, 2 threads
    """
    print(
        f"recorded: run {entry['run']}, commit {entry['commit']}, config {entry['config']}, "
        f"{entry['date'][:10]}, {entry['device']}"
    )


def comparison(names: Sequence[str], results: Sequence[str] | None = None) -> pandas.DataFrame:
    """Set recorded runs beside each other.

    Args:
        names: the runs, in the order of the rows.
        results: the key numbers, in the order of the columns; by default all of the first run.

    Returns:
        One row a run; the columns are the key numbers, then config and commit.

    Raises:
        FileNotFoundError: a run is not recorded.
    """
    import pandas

    entries = [read(name) for name in names]
    wanted = list(entries[0]["results"]) if results is None else list(results)
    rows = [
        {key: entry["results"].get(key) for key in wanted}
        | {"config": entry["config"], "commit": entry["commit"]}
        for entry in entries
    ]
    return pandas.DataFrame(rows, index=pandas.Index(names, name="run"))


def _runs() -> Path:
    return storage.root() / "results" / "runs"


def _check_name(name: str) -> None:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name):
        raise ValueError(f"name {name!r}: use small letters, digits, - and _, it names a file")


def _scalar(name: str, value: Any) -> float | int | bool | str:
    """Turn a one-element tensor or array into a plain number; JSON knows no nan, text does."""
    if hasattr(value, "item"):
        value = value.item()
    if not isinstance(value, (bool, int, float, str)):
        kind = type(value).__name__
        raise TypeError(f"{name!r} is a {kind}: a key number is one number, truth value or text")
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue  # an optional package that is not installed made no number either
    return found
