"""Looking through all files of a folder, remembering those that were found good.

What is remembered lies outside the data: in a folder that the caller names, or in the user's cache.
A file is looked at again when its size or its time of change is another.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm.auto import tqdm

from gfla import storage
from gfla.data.findings import Findings
from gfla.data.oddities import Examined, examine

_VERSION = 1  # of what is remembered; another = everything is looked at again
_TOGETHER = 512  # files between two looks at the clock
_OFTEN = 15.0  # seconds between two writes of what is remembered

Sizes = dict[str, tuple[int, int]]  # path below the root -> (h, w) in pixels


def cache_folder() -> Path:
    """Where checks remember by default: the folder XDG_CACHE_HOME names, else ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "gfla" / "checked"


class Memory:
    """What was found good in one folder.

    Args:
        root: the folder that is checked; paths are told below it.
        cache: folder to remember in; None = `cache_folder()`.

    Raises:
        ValueError: the cache lies in the data.
    """

    def __init__(self, root: Path, cache: str | Path | None = None) -> None:
        self.root = root
        folder = Path(cache) if cache is not None else cache_folder()
        if folder.resolve().is_relative_to(root.resolve()):
            raise ValueError(
                f"{folder} lies in {root}, and nothing is written there: choose another"
            )
        name = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:16]
        self.path = folder / f"{name}.json"
        self.skipped = 0  # files that needed no second look
        self._good: dict[str, list[int]] = {}
        self._changed = False
        try:
            kept = storage.read_json(self.path)
            if kept["version"] == _VERSION and isinstance(kept["good"], dict):
                self._good = kept["good"]
        except (FileNotFoundError, storage.StorageError, KeyError, TypeError):
            pass  # nothing is remembered, or not by us: everything is looked at

    def size_of(self, path: Path) -> tuple[int, int] | None:
        """(h, w) of a picture that was good and is unchanged; (0, 0) of another file; else None."""
        kept = self._good.get(self._name(path))
        if kept is None or len(kept) != 4 or kept[:2] != self._stamp(path):
            return None
        self.skipped += 1
        return kept[2], kept[3]

    def good(self, path: Path, size: tuple[int, int] = (0, 0)) -> None:
        """Remember a file that nothing is wrong with."""
        self._good[self._name(path)] = [*self._stamp(path), *size]
        self._changed = True

    def forget(self, path: Path) -> None:
        """Have a file looked at again next time."""
        self._changed |= self._good.pop(self._name(path), None) is not None

    def save(self) -> None:
        """Write down what is remembered."""
        if self._changed:
            storage.write_json(
                self.path, {"version": _VERSION, "root": str(self.root), "good": self._good}
            )
            self._changed = False

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def _stamp(self, path: Path) -> list[int]:
        try:
            about = path.stat()
        except OSError:
            return [-1, -1]
        return [about.st_size, about.st_mtime_ns]


def survey(
    paths: Iterable[Path],
    found: Findings,
    memory: Memory,
    workers: int = 4,
    progress: bool = False,
) -> Sizes:
    """Decode every picture once.

    Args:
        paths: the pictures, below the memory's root.
        found: takes what is odd about them.
        memory: of earlier checks.
        workers: threads.
        progress: show a bar.

    Returns:
        Sizes of those that can be decoded.
    """
    paths, sizes, saved = list(paths), {}, time.monotonic()
    with (
        tqdm(total=len(paths), desc="pictures", disable=not progress or None) as bar,
        ThreadPoolExecutor(max(workers, 1)) as pool,
    ):
        try:
            for start in range(0, len(paths), _TOGETHER):
                some = paths[start : start + _TOGETHER]
                fresh = [path for path in some if not _remembered(path, memory, sizes)]
                for path, one in zip(fresh, pool.map(examine, fresh)):
                    _enter(path, one, found, memory, sizes)
                bar.update(len(some))
                if time.monotonic() - saved > _OFTEN:
                    memory.save()
                    saved = time.monotonic()
        finally:
            memory.save()
    return sizes


def _remembered(path: Path, memory: Memory, sizes: Sizes) -> bool:
    size = memory.size_of(path)
    if size is not None:
        sizes[path.relative_to(memory.root).as_posix()] = size
    return size is not None


def _enter(path: Path, one: Examined, found: Findings, memory: Memory, sizes: Sizes) -> None:
    name = path.relative_to(memory.root).as_posix()
    for odd in one.oddities:
        detail = f" ({odd.detail})" if odd.detail else ""
        found.add(odd.severity, odd.what, f"{name}{detail}", odd.remedy)
    if one.size is not None:
        sizes[name] = one.size
        if not one.oddities:
            memory.good(path, one.size)
