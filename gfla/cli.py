"""The command line: `python -m gfla <command>`; a command's room is imported only when asked for.

A room that is a command has `add_arguments(parser)` and `main(args)`; this one only finds it, and
turns mistakes of the user into one clear line.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import NamedTuple


class Command(NamedTuple):
    """Where a command lives."""

    line: str  # what it does
    room: str  # the module
    declare: str = "add_arguments"  # its function that takes the parser
    run: str = "main"  # its function that takes the arguments


COMMANDS = {
    "reproduce": Command("run the notebooks into a folder under results/", "gfla.reproduce"),
    "notebooks": Command("run the committed notebooks again, in place", "gfla.notebooks"),
    "train": Command("train a model: stage 1 (flow), stage 2 (everything)", "gfla.train"),
    "encoder": Command("train the project's own feature encoder", "gfla.pretrain"),
    "ship": Command("put finished runs into data/weights and the ledger", "gfla.ship"),
    "ablate": Command("train, judge and record the four models of the ablation", "gfla.ablate"),
    "bench": Command("time our sampling against the literal form and the floor", "gfla.bench"),
    "evaluate": Command("score a model's or a folder's pictures, with a table", "gfla.evaluate"),
    "export": Command(
        "write a trained generator as ONNX or torch.export", "gfla.exchange.exporting"
    ),
    "import": Command("read weights that the authors published", "gfla.exchange.importing"),
    "data": Command("check, prepare, preview and unpack data sets on disk", "gfla.data_sets"),
    "render": Command("move the person of a photograph of one's own", "gfla.photos.rendering"),
    "readme": Command("fill the README's tables from the ledger", "gfla.readme"),
    "sample": Command(
        "write procedural people to disk in the DeepFashion layout",
        "gfla.cli",
        "add_sample_arguments",
        "sample",
    ),
}
TOGETHER = "train"  # the command that torchrun may start several times over
MISTAKES = (ValueError, FileNotFoundError, FileExistsError, ModuleNotFoundError)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the words after `python -m gfla`; those of the program by default.

    Returns:
        The exit status: 0 done, 1 it ran and failed, 2 it was asked wrongly, 130 interrupted.
    """
    asked = _parser().parse_args(argv)
    command = COMMANDS[asked.command]
    if asked.command != TOGETHER and int(os.environ.get("LOCAL_WORLD_SIZE", 1)) > 1:
        print(f"gfla {asked.command}: only {TOGETHER} takes several processes", file=sys.stderr)
        return 2
    try:
        room = importlib.import_module(command.room)
        name = f"python -m gfla {asked.command}"
        parser = argparse.ArgumentParser(prog=name, description=command.line)
        getattr(room, command.declare)(parser)
        return getattr(room, command.run)(parser.parse_args(asked.words)) or 0
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        if asked.traceback or not _is_mistake(error):
            raise
        print(f"gfla {asked.command}: {error}", file=sys.stderr)
        return 2


def add_sample_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `python -m gfla sample` understands."""
    add = parser.add_argument
    add("--to", metavar="FOLDER", help="where (default: data/sample)")
    add("--count", type=int, default=8, help="persons to train on (default: 8)")
    add("--tests", type=int, default=4, help="persons to test on (default: 4)")
    add("--seed", type=int, default=9_990_000, help="below 10000000 (default: 9990000)")
    add("--force", action="store_true", help="replace a sample that is there")


def sample(args: argparse.Namespace) -> None:
    """Write a small data set of procedural people.

    Args:
        args: as `add_sample_arguments` declares them.
    """
    from gfla import storage
    from gfla.data.sample import write_sample

    where = args.to or storage.root() / "data" / "sample"
    print(f"written: {write_sample(where, args.count, args.tests, args.seed, args.force)}")


def _parser() -> argparse.ArgumentParser:
    rows = "\n".join(f"  {name:<11}{command.line}" for name, command in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="python -m gfla",
        description=f"commands:\n{rows}\n\n`python -m gfla <command> --help` says more.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--traceback", action="store_true", help="show where a mistake was noticed")
    parser.add_argument("command", choices=COMMANDS, metavar="command", help="one of the above")
    parser.add_argument("words", nargs=argparse.REMAINDER, help="what the command takes")
    return parser


def _is_mistake(error: Exception) -> bool:
    """Say whether an exception's own message is all the user needs: so for all of our own."""
    return isinstance(error, MISTAKES) or type(error).__module__.startswith("gfla.")
