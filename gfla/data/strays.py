"""What lies beside the data: lists of checksums, archives, and files that could run code."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from tqdm.auto import tqdm

from gfla.data.findings import Findings
from gfla.data.known_sets import ARCHIVES
from gfla.data.recognising import is_archive
from gfla.data.unpacking import inspect

# Opened by the usual tools, these may run what is in them.
_CODE = (".pkl", ".pickle", ".joblib", ".dill", ".pt", ".pth", ".npy")
SUMS = {"SHA256SUMS": "sha256", "MD5SUMS": "md5", "sha256sums.txt": "sha256"}


def strays(root: Path, found: Findings, progress: bool = False) -> None:
    """Look at the files of a folder itself, not at those of the folders in it.

    Args:
        root: the folder.
        found: takes what was found.
        progress: show a bar.
    """
    for path in sorted(entry for entry in root.iterdir() if entry.is_file()):
        if path.name in SUMS:
            _sums(path, SUMS[path.name], found, progress)
        elif is_archive(path) and path.suffix not in _CODE:
            _archive(path, found)
        elif path.suffix.lower() in _CODE:
            found.add(
                "warning",
                "file that can run code when it is opened",
                path.name,
                "not opened here; no data set needs one, delete it",
            )


def _archive(path: Path, found: Findings) -> None:
    """Say whether an archive can be unpacked, and whether it is the published one."""
    try:
        inspect(path)
    except ValueError as error:
        found.add("error", "archive that is not unpacked", f"{path.name}: {error}", "delete it")
        return
    if path.name in ARCHIVES:
        kind, expected, source = ARCHIVES[path.name]
        if digest(path, kind) != expected:
            told = f"{path.name}: {kind} is not {expected}, as {source} has it"
            found.add("error", "archive is not the published one", told, "fetch it again")
            return
    found.add("note", "archive beside the data", path.name, "`data unpack` if it is not unpacked")


def _sums(path: Path, kind: str, found: Findings, progress: bool) -> None:
    """Compare every file with the checksum that a list has for it."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    for number, line in enumerate(tqdm(lines, desc=path.name, disable=not progress or None), 1):
        parts = re.fullmatch(r"([0-9a-fA-F]{32,64}) [ *](.+)", line)
        where = f"{path.name}, line {number}"
        if not parts:
            found.add("warning", "line of checksums that is none", where, "expected digits  name")
            continue
        file = path.parent / parts[2]
        if not file.resolve().is_relative_to(path.parent.resolve()):
            found.add("error", "name that leaves the folder or is none", f"{where}: {parts[2]!r}")
        elif not file.is_file():
            found.add("error", "file with a checksum is missing", parts[2], "fetch it again")
        elif digest(file, kind) != parts[1].lower():
            found.add("error", "file differs from its checksum", parts[2], "fetch it again")


def digest(path: Path, kind: str) -> str:
    """Hash a file without holding it in memory.

    Args:
        path: the file.
        kind: "sha256" or "md5"; the latter only tells accidents, not forgeries.

    Returns:
        Hexadecimal digits.
    """
    total = hashlib.new(kind, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            total.update(chunk)
    return total.hexdigest()
