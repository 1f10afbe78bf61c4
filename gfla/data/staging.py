"""Writing very many files into a folder, each whole or not at all.

`storage.atomic_write` looks through the folder it writes to for what killed programs left; among
fifty thousand files that would be most of the work. Here each file is written to a small folder
beside its place and then moved, which on one file system is a single step.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from gfla.storage import atomic_write

NAME = ".unfinished"  # in the folder that is filled; gone when all is done


class Staging:
    """Fills a folder; use it in a `with`.

    Args:
        out: the folder, made if it is not there.
    """

    def __init__(self, out: str | Path) -> None:
        self.out = Path(out)

    def __enter__(self) -> Staging:
        self.out.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.out / NAME, ignore_errors=True)

    def write(self, target: Path, content: bytes | str | Callable[[BinaryIO], Any]) -> Path:
        """Write one file; several threads may.

        Args:
            target: its final name, in the folder.
            content: as `storage.atomic_write` takes it.

        Returns:
            The final name.

        Raises:
            ValueError: the name, or a link on the way to it, leads out of the folder.
        """
        if not target.parent.resolve().is_relative_to(self.out.resolve()):
            raise ValueError(f"{target} lies outside {self.out}: a link there leads elsewhere")
        unique = "-".join(target.relative_to(self.out).parts)[-150:]
        unfinished = atomic_write(self.out / NAME / unique, content)
        target.parent.mkdir(parents=True, exist_ok=True)
        return unfinished.replace(target)
