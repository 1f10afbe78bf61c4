"""A resized copy of a data set in the authors' layout, under a protocol that has a name.

Names are flattened and pictures split into train and test as the authors' script does it
(docs/spec.md, 7.1), for any folder and any system's separators. The originals are only read.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from tqdm.auto import tqdm

from gfla import storage
from gfla.data import keypoints as kp
from gfla.data.findings import Findings
from gfla.data.oddities import ENDINGS, examine
from gfla.data.pair_faults import tree_pictures
from gfla.data.photographs import open_photograph
from gfla.data.protocols import PROTOCOLS, Protocol, size_of
from gfla.data.recognising import PHASES, PREFIXES, Recognised, recognise
from gfla.data.rough_lists import read_lists, rough_names
from gfla.data.sample import flattened
from gfla.data.staging import Staging

NOTE = "prepared.json"  # in the folder that is made: what it is made of, and how
SUMS = "SHA256SUMS"  # likewise; `sha256sum -c` reads it too
_TOGETHER = 256  # pictures between two looks at whether to stop


class Job(NamedTuple):
    """One picture to make."""

    source: Path
    target: Path


class Prepared(NamedTuple):
    """What became of a set."""

    out: Path
    written: int
    skipped: int  # there already
    failed: dict[str, str]  # original -> why it is not there
    findings: Findings  # what was put right in pictures and lists, and what was left out


def prepare(
    path: str | Path,
    out: str | Path,
    protocol: str = "authors",
    lists: str | Path | None = None,
    workers: int = 4,
    progress: bool = False,
) -> Prepared:
    """Make a resized copy in the authors' layout.

    Pictures that are there are skipped, so that a second call goes on where the first stopped. A
    damaged picture is left out with its pairs, and named; the rest is made. Oddities are put right
    as `photographs.open_photograph` does, except under "flatten". Lists are written anew in UTF-8
    with the names that the pictures got; rows that do not follow the format are left out.

    Args:
        path: the data set, DeepFashion or Market-1501, as published or flattened.
        out: the folder to make.
        protocol: a key of PROTOCOLS.
        lists: folder of train.lst, test.lst, pairs and key points; None = the data set's own.
        workers: threads.
        progress: show a bar.

    Returns:
        What was made, skipped, left out and put right.

    Raises:
        FileNotFoundError: no such folder.
        FileExistsError: `out` holds something else.
        ValueError: an unknown protocol, a set of videos or views, no split, or `out` in the
            originals or around them.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"no protocol {protocol!r}: choose one of {', '.join(PROTOCOLS)}")
    at, out = recognise(path), Path(out)
    family = at.kind.removesuffix("_tree")
    if family not in PREFIXES:
        raise ValueError(
            f"{at.title}: its reader resizes frames and views while it reads, since joints are "
            "told in pixels of the file; there is nothing to prepare"
        )
    if protocol == "narrow" and family == "market":
        raise ValueError("'narrow' is for DeepFashion: Market-1501 is 128x64 in every protocol")
    beside = Path(lists) if lists is not None else at.root
    _check_apart(out, {Path(path), at.root, beside})
    _claim(out, at, protocol)
    found = Findings()
    jobs = list(_jobs(at, beside, out, PROTOCOLS[protocol], found))
    with Staging(out) as staging:
        work = partial(_make, how=PROTOCOLS[protocol], size=size_of(family, protocol), to=staging)
        made, skipped, failed = _run(jobs, work, found, workers, progress)
        for phase in PHASES:
            _write_lists(at, beside, phase, out, found)
        _write_sums(out, made, progress)
    _write_note(out, at, protocol, failed, found)
    return Prepared(out, len(made), skipped, failed, found)


def _check_apart(out: Path, sources: set[Path]) -> None:
    """Refuse to write where the originals are, links followed."""
    for source in sources:
        inner, outer = out.resolve(), source.resolve()
        if inner.is_relative_to(outer) or outer.is_relative_to(inner):
            raise ValueError(
                f"{out} and the originals in {source} lie in one another; originals are never "
                "touched, choose a folder apart from them"
            )


def _claim(out: Path, at: Recognised, protocol: str) -> None:
    """Take an empty folder, or one that this very task began."""
    mine = {"protocol": protocol, "source": str(at.root.resolve())}
    if out.is_dir() and any(out.iterdir()):
        kept = storage.read_json(out / NOTE) if (out / NOTE).is_file() else {}
        if {key: kept.get(key) for key in mine} != mine:
            told = f"{kept['protocol']!r} of {kept['source']}" if kept else "something else"
            raise FileExistsError(f"{out} holds {told}: choose another folder")
        return
    storage.write_json(out / NOTE, {**mine, "finished": False})


def _prefixes(at: Recognised) -> tuple[str, ...]:
    return PREFIXES[at.kind.removesuffix("_tree")]


def _jobs(at: Recognised, beside: Path, out: Path, how: Protocol, found: Findings) -> Iterator[Job]:
    """Which original becomes which picture of which phase."""
    tree = tree_pictures(at, found) if at.kind.endswith("_tree") else None
    taken: dict[Path, Path] = {}
    split = False
    for phase in PHASES:
        if tree is None:
            folder = at.root / phase
            entries = sorted(folder.iterdir()) if folder.is_dir() else []
            sources = {e.name: e for e in entries if e.suffix.lower() in ENDINGS}
        else:
            sources = {name: tree.get(name) for name in _names(at, beside, phase)}
        split = split or bool(sources)
        for name, source in sources.items():
            target = out / phase / _renamed(name, how)
            if source is None:
                found.add("error", "listed picture is missing", f"{phase}: {name}", "left out")
            elif target in taken:
                told = f"{phase}: {source.name} and {taken[target].name}"
                found.add("error", "two pictures that get one name", told, "the first is taken")
            else:
                taken[target] = source
                yield Job(source, target)
    if not split:
        raise ValueError(
            f"{beside} holds no pictures in train/ or test/ and no train.lst, test.lst or "
            "key-point files that say which picture belongs where: pass --lists FOLDER, see "
            "data/README.md"
        )


def _names(at: Recognised, beside: Path, phase: str) -> list[str]:
    """Flattened names of a phase: of its .lst file, else of its pairs and key points."""
    scratch = Findings()  # the lists are judged when they are written
    if (beside / f"{phase}.lst").is_file():
        listed = rough_names(beside / f"{phase}.lst", scratch)
        return [flattened(name) if name.count("/") > 1 else name for name in listed]
    pairs, poses = read_lists(beside, _prefixes(at), phase, scratch)
    return list(dict.fromkeys([name for pair in pairs for name in pair] + list(poses)))


def _renamed(name: str, how: Protocol) -> str:
    return name if how.filter is None else str(PurePath(name).with_suffix(how.ending))


def _make(job: Job, how: Protocol, size: tuple[int, int], to: Staging) -> tuple[str, list[str]]:
    """Make one picture; give what happened: "there", "made" with what was put right, or why not."""
    if job.target.is_file():
        return "there", []
    if how.filter is None:
        seen = examine(job.source)
        if seen.size is None:
            return seen.oddities[0].what, []
        with job.source.open("rb") as original:
            to.write(job.target, lambda file: shutil.copyfileobj(original, file))
        return "made", []
    try:
        photograph = open_photograph(job.source)
    except (ValueError, FileNotFoundError) as error:
        return str(error), []
    picture = photograph.picture.resize(size[::-1], how.filter)
    kind = {".png": "PNG", ".jpg": "JPEG"}[how.ending]
    to.write(job.target, lambda file: picture.save(file, format=kind, **dict(how.options)))
    return "made", list(photograph.notes)


def _run(
    jobs: list[Job], work: Any, found: Findings, workers: int, progress: bool
) -> tuple[set[Path], int, dict[str, str]]:
    made, skipped, failed = set(), 0, {}
    with (
        tqdm(total=len(jobs), desc="pictures", disable=not progress or None) as bar,
        ThreadPoolExecutor(max(workers, 1)) as pool,
    ):
        for start in range(0, len(jobs), _TOGETHER):
            some = jobs[start : start + _TOGETHER]
            for job, (what, notes) in zip(some, pool.map(work, some)):
                skipped += what == "there"
                if what == "made":
                    made.add(job.target)
                elif what != "there":
                    failed[str(job.source)] = what
                for note in notes:
                    found.add("note", note.rstrip("."), job.source.name, "put right")
            bar.update(len(some))
    return made, skipped, failed


def _write_lists(at: Recognised, beside: Path, phase: str, out: Path, found: Findings) -> None:
    """Write the lists anew with what is there."""
    how = PROTOCOLS[storage.read_json(out / NOTE)["protocol"]]
    pairs, poses = read_lists(beside, _prefixes(at), phase, found)
    folder = out / phase
    made = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
    poses = {_renamed(n, how): pose for n, pose in poses.items() if _renamed(n, how) in made}
    kept = []
    for pair in pairs:
        source, target = (_renamed(name, how) for name in pair)
        if {source, target} <= made and (not poses or {source, target} <= poses.keys()):
            kept.append(f"{source},{target}")
        else:
            told = f"{phase}: {pair[0]} -> {pair[1]}"
            found.add("warning", "pair left out", told, "a picture or its key points are missing")
    prefix = _prefixes(at)[0]
    if pairs:
        storage.atomic_write(
            out / f"{prefix}-pairs-{phase}.csv", "\n".join(["from,to", *kept]) + "\n"
        )
    if poses:
        kp.write_annotations(out / f"{prefix}-annotation-{phase}.csv", poses)


def _write_sums(out: Path, made: set[Path], progress: bool) -> None:
    """Hash what is there; what an earlier run hashed keeps its line, so that damage shows."""
    kept = {}
    if (out / SUMS).is_file():
        for line in (out / SUMS).read_text(encoding="utf-8").splitlines():
            digits, _, name = line.partition("  ")
            kept[name] = digits
    files = [p for phase in PHASES for p in sorted((out / phase).glob("*")) if p.is_file()]
    lines = []
    for path in tqdm(files, desc="checksums", disable=not progress or None):
        name = path.relative_to(out).as_posix()
        digits = None if path in made else kept.get(name)
        lines.append(f"{digits or storage.sha256(path)}  {name}\n")
    storage.atomic_write(out / SUMS, "".join(lines))


def _write_note(
    out: Path, at: Recognised, protocol: str, failed: dict[str, str], found: Findings
) -> None:
    how = PROTOCOLS[protocol]
    note = {
        "protocol": protocol,
        "source": str(at.root.resolve()),
        "finished": True,
        "what": how.line,
        "size": list(size_of(at.kind.removesuffix("_tree"), protocol)) if how.filter else None,
        "failed": failed,
        "findings": found.records(),
    }
    storage.write_json(out / NOTE, note)
