"""The committed notebooks: find them, run them where they lie, and keep their files quiet.

A notebook file holds more than its author wrote: time stamps, widget states, versions, random ids.
`normalise` removes all that, so that running an unchanged notebook again leaves an empty
`git diff`; outputs, execution counts and cell ids stay, because they are what is tested.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gfla import ledger, storage

if TYPE_CHECKING:
    from nbformat import NotebookNode

KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
KERNEL_ARGUMENTS = ["--log-level=ERROR"]  # ipykernel 7 warns at every start that it speaks TCP
_NOISE = ("papermill", "execution", "scrolled", "collapsed", "ExecuteTime")
_NO_START = ("Address already in use", "Kernel died before replying to kernel_info")
_OUTPUTS_DROPPED = ("application/vnd.jupyter.widget-view+json",)


def folder() -> Path:
    """Give the folder of the notebook street."""
    return storage.root() / "notebooks"


def street(only: Sequence[str] = (), where: Path | None = None) -> list[Path]:
    """List the notebooks in the order they are read.

    Args:
        only: numbers ("02" or "2") or whole names of those wanted; all by default.
        where: another folder than `folder()`.

    Returns:
        The files.

    Raises:
        FileNotFoundError: there is no notebook at all.
        ValueError: one of `only` fits no notebook.
    """
    where = where or folder()
    known = sorted(where.glob("[0-9][0-9]_*.ipynb"))
    if not known:
        raise FileNotFoundError(f"no notebooks NN_name.ipynb in {where}: work in a checkout")
    chosen = set()
    for wish in only:
        hits = {path for path in known if wish.zfill(2) == path.stem[:2] or wish == path.stem}
        if not hits:
            names = ", ".join(path.stem for path in known)
            raise ValueError(f"no notebook {wish!r}: choose among {names}")
        chosen |= hits
    return [path for path in known if not only or path in chosen]


def source_digest(path: Path) -> str:
    """Name what a notebook's cells say, whatever they printed, by 12 hexadecimal digits."""
    cells = storage.read_json(path)["cells"]
    return ledger.digest(["".join(cell["source"]) for cell in cells])


def normalise(notebook: NotebookNode) -> NotebookNode:
    """Remove from a notebook, in place, what differs from one run to the next.

    Args:
        notebook: as nbformat reads it.

    Returns:
        The same notebook: metadata of tools and widget states gone, streams joined, ids kept
        where they are sound and numbered where not.

    Example:
        >>> import nbformat
        >>> notebook = nbformat.v4.new_notebook(metadata={"widgets": {"state": "..."}})
        >>> sorted(normalise(notebook).metadata)
        ['kernelspec', 'language_info']
    """
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    notebook.metadata.clear()
    notebook.metadata.update(kernelspec=dict(KERNEL), language_info={"name": "python"})
    taken: set[str] = set()
    for number, cell in enumerate(notebook.cells):
        for key in _NOISE:
            cell.metadata.pop(key, None)
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", cell.get("id", "")) or cell.id in taken:
            cell.id = _free_id(number, taken)
        taken.add(cell.id)
        if cell.cell_type == "code":
            cell.outputs = _joined(cell.outputs)
    return notebook


def execute(path: Path, timeout: float = 1200) -> None:
    """Run a notebook with its defaults, where it lies, and normalise it.

    A notebook that fails is left as it was.

    Args:
        path: the file.
        timeout: seconds one cell may take.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell raised.
    """
    import nbformat
    from nbclient import NotebookClient

    def run() -> NotebookNode:
        client = NotebookClient(
            nbformat.read(path, as_version=4),
            timeout=timeout,
            kernel_name=KERNEL["name"],
            extra_arguments=KERNEL_ARGUMENTS,
            coalesce_streams=True,
            record_timing=False,
            store_widget_state=False,
            resources={"metadata": {"path": str(path.parent)}},
        )
        return client.execute()

    write(path, started(run))


def started(run: Callable[[], Any], attempts: int = 3) -> Any:
    """Call `run`, again when its kernel could not start because another one took its port.

    Args:
        run: starts a kernel and uses it.
        attempts: calls in all.

    Returns:
        What `run` returned.

    Raises:
        Exception: whatever `run` raised for another reason, or in the last attempt.
    """
    for left in reversed(range(attempts)):
        try:
            return run()
        except Exception as error:  # zmq, jupyter and papermill each have a type of their own
            if not left or not re.search("|".join(_NO_START), str(error)):
                raise
            time.sleep(1)


def write(path: Path, notebook: NotebookNode) -> None:
    """Normalise a notebook and write it atomically."""
    import nbformat

    storage.atomic_write(path, nbformat.writes(normalise(notebook)) + "\n")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `python -m gfla notebooks` understands."""
    parser.add_argument("--only", nargs="+", default=[], metavar="NN", help="numbers or names")
    parser.add_argument(
        "--normalise-only", action="store_true", help="run nothing, only quieten the files"
    )


def main(args: argparse.Namespace) -> int:
    """Run the committed notebooks again, in place; one that fails is left as it was.

    Args:
        args: as `add_arguments` declares them.

    Returns:
        0, or 1 when a notebook failed.
    """
    import nbformat
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    os.environ.pop(ledger.RUN_DIR, None)  # the committed files are not a run: nothing is published
    failed = []
    for path in street(args.only):
        try:
            if args.normalise_only:
                write(path, nbformat.read(path, as_version=4))
            else:
                execute(path)
            print(f"{path.name}: done", flush=True)
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            failed.append(path.name)
            print(f"{path.name}: failed, left as it was\n{error}", file=sys.stderr, flush=True)
    return 1 if failed else 0


def _free_id(number: int, taken: set[str]) -> str:
    while (name := f"cell-{number:02d}") in taken:
        number += 100
    return name


def _joined(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Join neighbouring pieces of one stream, whose cuts depend on timing alone."""
    result: list[NotebookNode] = []
    for output in outputs:
        output.get("metadata", {}).pop("execution", None)
        for kind in _OUTPUTS_DROPPED:  # it names a random model id; the text beside it remains
            output.get("data", {}).pop(kind, None)
        last = result[-1] if result else None
        if last and output.output_type == "stream" == last.output_type and last.name == output.name:
            last.text += output.text
        else:
            result.append(output)
    return result
