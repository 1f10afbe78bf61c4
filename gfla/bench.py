"""`python -m gfla bench`: our sampling against the literal form and against the hardware's floor.

Every row sets forms of one piece of work against each other: the same inputs, one process, taking
turns. Times of a CPU are processor time of all threads. `--record` keeps each row in
`results/runs/bench-<device>.json` as soon as it is measured, so that an interrupted run goes on
where it stopped; a row is measured again when what it measures, or the code that it measures, has
changed. What a row could not measure stands there with its reason.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from gfla import ledger, meanwhile, storage
from gfla.config import pick_device
from gfla.speed import bench_kinds, bench_rows, bench_tables, bench_targets, timing
from gfla.speed.bench_kinds import Effort, NotMeasured
from gfla.speed.bench_rows import Row

_DIGITS = 5  # that count, of a measured number


def run(
    rows: Sequence[Row],
    effort: Effort,
    device: str = "cpu",
    record: bool = False,
    fresh: bool = False,
    progress: bool = True,
) -> dict[str, Any]:
    """Measure rows, or take over those that are recorded.

    Args:
        rows: of `bench_rows.rows`.
        effort: turns, seconds, threads, memory.
        device: "cpu" or "cuda".
        record: keep them in the ledger, row by row.
        fresh: measure again what is recorded already.
        progress: show a progress bar.

    Returns:
        The entry of the ledger, with all rows that are known. Without `record`, the rows measured
        now.
    """
    settings = {"threads": effort.threads, "turns": effort.turns, "seconds": effort.seconds}
    entry = bench_targets.recorded(device) if record else {}
    names = {one.name for one in (*bench_rows.rows(), *rows)}  # others are of an older benchmark
    known = {one["row"]: one for one in entry.get("rows", ()) if one["row"] in names}
    with tqdm(rows, disable=not progress) as bar:
        for row in bar:
            digest = row_digest(row, effort, device)
            if not fresh and known.get(row.name, {}).get("digest") == digest:
                continue
            known[row.name] = _one(row, effort, device, digest, bar)
            entry = _entry(known, settings, device)
            if record:
                storage.write_json(place(device), entry)
    return entry or _entry(known, settings, device)


def row_digest(row: Row, effort: Effort, device: str) -> str:
    """Name what a row is: what it measures, on what, how long, and the code that it measures."""
    code = hashlib.sha256()
    for path in _code(row.rooms):
        code.update(path.read_bytes())
    with meanwhile.threads(effort.threads):  # which the name of the machine tells
        machine = timing.machine(device)
    return ledger.digest({
        "row": row.name, "given": row.given, "effort": list(effort), "code": code.hexdigest(),
        "machine": machine, "torch": torch.__version__,
    })  # fmt: skip


def _code(rooms: Sequence[str]) -> list[Path]:
    """The files of these rooms and of all that they import, in alphabetical order."""
    package, found = Path(__file__).resolve().parent, set()
    waiting = [f"gfla.{room}" for room in rooms]
    while waiting:
        path = package.joinpath(*waiting.pop().split(".")[1:]).with_suffix(".py")
        if path in found or not path.is_file():
            continue
        found.add(path)
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gfla"):
                waiting += [node.module, *(f"{node.module}.{one.name}" for one in node.names)]
    return sorted(found)


def place(device: str = "cpu") -> Path:
    """The file of the ledger for a kind of device."""
    return storage.root() / "results" / "runs" / f"{bench_targets.RUNS[device]}.json"


def _one(row: Row, effort: Effort, device: str, digest: str, bar: tqdm) -> dict[str, Any]:
    """A row as it is kept."""
    try:
        found = bench_rows.measure(
            row, effort, device, lambda form: bar.set_description(f"{row.name}: {form}")
        )
    except NotMeasured as reason:
        found = {"not measured": str(reason)}
    about = {"row": row.name, "group": row.group, "given": row.given, "digest": digest}
    now = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    return about | {"commit": ledger.commit(), "date": now} | _rounded(found)


def _rounded(found: Any) -> Any:
    if isinstance(found, dict):
        return {name: _rounded(value) for name, value in found.items()}
    if isinstance(found, list):
        return [_rounded(value) for value in found]
    return float(f"{found:.{_DIGITS}g}") if isinstance(found, float) else found


def _entry(known: dict[str, dict], settings: dict[str, Any], device: str) -> dict[str, Any]:
    """What the ledger keeps: provenance, the targets' numbers, and all rows in their order."""
    order = [one.name for one in bench_rows.rows()]
    place_of = {name: number for number, name in enumerate(order)}
    rows = sorted(known.values(), key=lambda one: place_of.get(one["row"], len(order)))
    entry = {"run": bench_targets.RUNS[device], **ledger.provenance(settings, 0, device)}
    threads = settings["threads"] if device == "cpu" else torch.get_num_threads()
    with meanwhile.threads(threads):
        entry["device"] = timing.machine(device)
    entry |= {"results": {}, "settings": settings, "rows": rows}
    found = bench_targets.verdicts({device: entry})
    entry["results"] = {
        one.target.name: one.measured
        for one in found
        if one.measured is not None and one.target.device == device
    }
    return entry


def chosen(names: Sequence[str], quick: bool = False) -> list[Row]:
    """The rows of these names or groups, all of them without names.

    Raises:
        ValueError: a name that is none; the message lists what there is.
    """
    rows = bench_rows.rows(quick)
    known = {row.name for row in rows} | {row.group for row in rows}
    if strange := [name for name in names if name not in known]:
        raise ValueError(f"no row {strange[0]!r}: choose among {', '.join(sorted(known))}")
    return [row for row in rows if not names or {row.name, row.group} & set(names)]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `python -m gfla bench` understands."""
    usual, add = Effort(), parser.add_argument
    add("--only", nargs="+", default=[], metavar="ROW", help="rows or groups of them (see --list)")
    add("--list", action="store_true", help="name the rows and measure nothing")
    add("--quick", action="store_true", help="tiny sizes, to see that it works; never recorded")
    add("--record", action="store_true", help="keep the rows in results/runs; go on where stopped")
    add("--fresh", action="store_true", help="measure again what is recorded already")
    add("--device", default="auto", help="auto (CUDA, then CPU), cpu or cuda")
    add("--threads", type=int, default=usual.threads, help=f"default: {usual.threads}")
    add("--turns", type=int, default=usual.turns, help=f"of each form (default: {usual.turns})")
    add("--seconds", type=float, default=usual.seconds,
        help=f"go on with a row for so long (default: {usual.seconds:g})")  # fmt: skip
    add("--memory", type=float, default=usual.gib, metavar="GIB",
        help=f"leave out a form that would need more (default: {usual.gib:g})")  # fmt: skip
    add("--probe", help=argparse.SUPPRESS)  # what `memory` rows ask a process of their own


def main(args: argparse.Namespace) -> int:
    """Measure, print, and with `--record` keep.

    Raises:
        ValueError: an unknown row, a device that is not there, a quick run to be recorded.
    """
    if args.probe:
        print(bench_kinds.probe(json.loads(args.probe)))
        return 0
    rows = chosen(args.only, args.quick)
    if args.list:
        print(ledger.table([["row", "shows"], *([row.name, row.group] for row in rows)]))
        return 0
    if args.quick and args.record:
        raise ValueError("--quick shows that the command works; its times are not to be recorded")
    device = pick_device(args.device).type
    if device not in bench_targets.RUNS:
        raise ValueError(f"the benchmark knows cpu and cuda, not {device}: use --device cpu")
    quick = {"turns": 1, "seconds": 0.0} if args.quick else {}
    effort = Effort(args.turns, args.seconds, args.threads, args.memory)._replace(**quick)
    entry = run(rows, effort, device, args.record, args.fresh, sys.stderr.isatty())
    ledger.describe(entry)
    for table in ("rows", "memory", "shares", "images", "scaling"):
        print(f"\n{getattr(bench_tables, f'{table}_table')(entry)}", end="")
    print(f"\n{bench_targets.targets_table({device: entry})}")
    return 0
