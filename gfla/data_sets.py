"""The command for data sets on disk: look through one, make a resized copy, show it, unpack it.

    python -m gfla data check PATH                     which set it is, and what is wrong with it
    python -m gfla data prepare PATH --out DIR --protocol authors
    python -m gfla data preview PATH --out sheet.png   a dozen pairs with their skeletons
    python -m gfla data unpack ARCHIVE --out DIR       nothing lands outside DIR

Originals are only read. `check` and `prepare` go on where they were stopped.
"""

from __future__ import annotations

import argparse
import io
import json
import os
from pathlib import Path

from gfla import storage
from gfla.data.checking import check
from gfla.data.contact_sheet import contact_sheet
from gfla.data.known_sets import KNOWN
from gfla.data.preparing import prepare
from gfla.data.protocols import PROTOCOLS
from gfla.data.unpacking import MOST_BYTES, MOST_FILES, unpack

_WORKERS = min(4, os.cpu_count() or 1)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `python -m gfla data` understands."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    protocols = "\n".join(f"  {name:<9}{one.line}" for name, one in PROTOCOLS.items())
    actions = parser.add_subparsers(dest="action", required=True, metavar="action")
    _check_arguments(actions.add_parser("check", help="which set it is, what is wrong with it"))
    one = actions.add_parser(
        "prepare",
        help="make a resized copy in the authors' layout",
        description=f"protocols:\n{protocols}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    one.add_argument("path", help="the data set, DeepFashion or Market-1501")
    one.add_argument("--out", required=True, metavar="DIR", help="the folder to make")
    one.add_argument("--protocol", default="authors", choices=PROTOCOLS, help="default: authors")
    one.add_argument("--lists", metavar="DIR", help="where train.lst, pairs and key points lie")
    _common(one)
    one = actions.add_parser("preview", help="draw a dozen pairs with their skeletons")
    one.add_argument("path", help="the data set")
    one.add_argument("--out", required=True, metavar="PNG", help="the picture to write")
    one.add_argument("--phase", choices=("train", "test"), help="default: the first that has pairs")
    one.add_argument("--count", type=int, default=12, help="pairs (default: 12)")
    one.add_argument("--seed", type=int, default=0, help="another gives other pairs")
    one = actions.add_parser("unpack", help="unpack a zip or tar archive safely")
    one.add_argument("path", metavar="archive", help="the file")
    one.add_argument("--out", required=True, metavar="DIR", help="the folder, best a new one")
    gib = MOST_BYTES / 2**30
    one.add_argument("--most-gib", type=float, default=gib, help=f"cap (default: {gib:g})")
    one.add_argument("--most-files", type=int, default=MOST_FILES, help=f"(default: {MOST_FILES})")
    one.add_argument("--password-file", metavar="FILE", help="holds the password of a zip")
    one.add_argument("--quiet", action="store_true", help="no progress bar")


def main(args: argparse.Namespace) -> int:
    """Do what was asked.

    Args:
        args: as `add_arguments` declares them.

    Returns:
        0 done and nothing found; 1 something is wrong or was left out.
    """
    return _ACTIONS[args.action](args)


def _check_arguments(one: argparse.ArgumentParser) -> None:
    one.add_argument("path", help="the data set")
    one.add_argument("--as", dest="kind", choices=KNOWN, help="do not find out what it is")
    one.add_argument("--json", metavar="FILE", help="write the report there, - = print it alone")
    one.add_argument("--cache", metavar="DIR", help="remember there what was good; not in the data")
    _common(one)


def _common(one: argparse.ArgumentParser) -> None:
    one.add_argument("--workers", type=int, default=_WORKERS, help=f"(default: {_WORKERS})")
    one.add_argument("--quiet", action="store_true", help="no progress bars")


def _check(args: argparse.Namespace) -> int:
    if args.json not in (None, "-"):
        _check_apart("--json", args.json, args.path)
    done = check(args.path, args.kind, args.cache, args.workers, progress=not args.quiet)
    if args.json == "-":
        print(json.dumps(done.report(), indent=2, ensure_ascii=False))
    else:
        print(done.table())
        if args.json:
            print(f"written: {storage.write_json(args.json, done.report())}")
    return 0 if done.findings.clean else 1


def _check_apart(option: str, file: str, data: str) -> None:
    if Path(file).resolve().is_relative_to(Path(data).resolve()):
        raise ValueError(f"{option} {file} lies in the data set, where nothing is written")


def _prepare(args: argparse.Namespace) -> int:
    done = prepare(
        args.path, args.out, args.protocol, args.lists, args.workers, progress=not args.quiet
    )
    if len(done.findings):
        print(done.findings.table())
    for source, why in done.failed.items():
        print(f"not made: {source}: {why}")
    told = f"{done.written:,} made, {done.skipped:,} there already, {len(done.failed):,} not made"
    print(f"{done.out}: {told}")
    return 0 if done.findings.clean and not done.failed else 1


def _preview(args: argparse.Namespace) -> int:
    _check_apart("--out", args.out, args.path)
    sheet = contact_sheet(args.path, args.count, args.phase, args.seed)
    held = io.BytesIO()
    sheet.save(held, format="PNG")
    print(f"written: {storage.atomic_write(args.out, held.getvalue())}")
    return 0


def _unpack(args: argparse.Namespace) -> int:
    password = None
    if args.password_file:
        password = Path(args.password_file).read_bytes().strip()
    done = unpack(
        args.path,
        args.out,
        int(args.most_gib * 2**30),
        args.most_files,
        password,
        progress=not args.quiet,
    )
    for name, why in done.failed.items():
        print(f"damaged: {name}: {why}")
    told = f"{done.written:,} written, {done.skipped:,} there already, {len(done.failed):,} damaged"
    print(f"{args.out}: {told}")
    return 1 if done.failed else 0


_ACTIONS = {"check": _check, "prepare": _prepare, "preview": _preview, "unpack": _unpack}
