"""Lists of pairs and of key points, read row by row: every fault is told, the rest is kept.

The readers stop at the first fault, rightly: nobody wants to train on half a list. A check wants
all of them. What is put right is said: a byte-order mark and Windows' line ends are passed over, a
file in Latin-1 is read as that, a wrong separator is understood where it cannot mean anything else,
and a row that comes twice counts once. All else that does not follow the format is left out.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from gfla.data.findings import Findings
from gfla.data.keypoints import OPENPOSE_18

_JOINTS = len(OPENPOSE_18)
_PAIRS, _POSES = ("from", "to"), ("name", "keypoints_y", "keypoints_x")
_LONGEST = 500_000_000  # bytes; the largest published list has a twentieth
_LEAVE = "the row is left out"


def rough_pairs(path: Path, found: Findings) -> list[tuple[str, str]]:
    """Read a list of pairs.

    Args:
        path: the file, columns from,to.
        found: takes what is wrong.

    Returns:
        Pairs of plain file names, each once, in the order of the file.
    """
    pairs: dict[tuple[str, str], int] = {}
    for number, fields in _rows(path, ",", _PAIRS, found):
        where = f"{path.name}, line {number}"
        if len(fields) != 2:
            told = f"{where}: {len(fields)} fields"
            found.add("error", "ragged row of pairs", told, f"expected from,to; {_LEAVE}")
            continue
        bad = next((name for name in fields if not is_plain(name)), None)
        if bad is not None:
            found.add(
                "error",
                "name that leaves the folder or is none",
                f"{where}: {bad[:60]!r}",
                f"expected a plain file name; {_LEAVE}",
            )
            continue
        pair = fields[0], fields[1]
        if pair in pairs:
            told = f"{where}: as line {pairs[pair]}"
            found.add("warning", "pair listed twice", told, "`data prepare` keeps one")
        elif pair[0] == pair[1]:
            told = f"{where}: {pair[0]}"
            found.add("warning", "picture paired with itself", told, "is it meant?")
        pairs.setdefault(pair, number)
    if not pairs:
        found.add("error", "list without a pair", path.name, "fetch it again")
    return list(pairs)


def rough_poses(path: Path, found: Findings) -> dict[str, Tensor]:
    """Read a list of key points.

    Args:
        path: the file, `name:keypoints_y:keypoints_x`.
        found: takes what is wrong.

    Returns:
        name -> (18, 2) float32 as (x, y) in pixels of the list's canvas, -1 = missing.
    """
    poses: dict[str, Tensor] = {}
    for number, fields in _rows(path, ":", _POSES, found):
        where = f"{path.name}, line {number}"
        try:
            if len(fields) != 3:
                raise _BadRowError("ragged row of key points", f"{len(fields)} fields, not 3")
            name = fields[0]
            if not is_plain(name):
                raise _BadRowError("name that leaves the folder or is none", repr(name[:60]))
            ys, xs = (_coordinates(text, axis) for text, axis in zip(fields[1:], "yx"))
        except _BadRowError as bad:
            found.add("error", bad.what, f"{where}: {bad.detail}", _LEAVE)
            continue
        pose = torch.tensor((xs, ys), dtype=torch.float32).T.contiguous()  # (18, 2)
        if name in poses:
            same = torch.equal(poses[name], pose)
            what = "key points listed twice" if same else "two different skeletons for one picture"
            remedy = "`data prepare` keeps one" if same else "keep one; the first is kept"
            found.add("warning" if same else "error", what, f"{where}: {name}", remedy)
        poses.setdefault(name, pose)
    return poses


def rough_names(path: Path, found: Findings) -> list[str]:
    """Read train.lst or test.lst: a file name a line, plain, flattened or with its folders.

    Args:
        path: the file.
        found: takes what is wrong.

    Returns:
        Names in the order of the file, each once.
    """
    names: dict[str, int] = {}
    for number, line in enumerate(_text(path, found).splitlines(), 1):
        name = line.strip()
        if not name:
            continue
        parts = name.split("/")
        if not all(is_plain(part) for part in parts):
            told = f"{path.name}, line {number}: {name[:60]!r}"
            found.add("error", "name that leaves the folder or is none", told, _LEAVE)
            continue
        names.setdefault(name, number)
    return list(names)


def read_lists(
    folder: Path, prefixes: tuple[str, ...], phase: str, found: Findings
) -> tuple[list[tuple[str, str]], dict[str, Tensor]]:
    """Read the pairs and the key points of a phase, as far as they are there.

    Args:
        folder: where the lists lie.
        prefixes: spellings of their names, the one that is read first.
        phase: "train" or "test".
        found: takes what is wrong.

    Returns:
        Pairs, and name -> skeleton.
    """
    paths = {
        what: next((p for s in prefixes if (p := folder / f"{s}-{what}-{phase}.csv").is_file()), 0)
        for what in ("pairs", "annotation")
    }
    pairs = rough_pairs(paths["pairs"], found) if paths["pairs"] else []
    return pairs, rough_poses(paths["annotation"], found) if paths["annotation"] else {}


def is_plain(name: str) -> bool:
    """Whether a name stays in the folder that it is looked up in.

    >>> [is_plain(name) for name in ("a.jpg", "../a.jpg", "..", "c:a.jpg", "")]
    [True, False, False, False, False]
    """
    return bool(name) and name not in {".", ".."} and not re.search(r"[/\\:\0]", name)


class _BadRowError(Exception):
    def __init__(self, what: str, detail: str) -> None:
        super().__init__(what, detail)
        self.what, self.detail = what, detail


def _rows(
    path: Path, mark: str, columns: tuple[str, ...], found: Findings
) -> Iterator[tuple[int, list[str]]]:
    """The rows below the heading, split at the right mark or at the one that stands for it."""
    text = _text(path, found)
    lines = text.splitlines()
    if not lines or not text.strip():
        found.add("error", "empty list", path.name, "fetch it again")
        return
    mark, heading = _heading(lines[0], mark, columns, path, found)
    start = 1 if heading else 0
    for number, line in enumerate(lines[start:], start + 1):
        if line.strip():
            yield number, _split(line, mark)


def _heading(
    line: str, mark: str, columns: tuple[str, ...], path: Path, found: Findings
) -> tuple[str, bool]:
    """The mark that the file uses, and whether it has a heading."""
    wanted = mark.join(columns)
    for other in (mark, ";", "\t", "|", ",", ":"):
        if tuple(field.strip() for field in line.split(other)) == columns:
            if other != mark:
                told = f"{path.name}, line 1: {line[:60]!r}"
                remedy = f"expected {wanted}; `data prepare` writes it so"
                found.add("error", f"wrong separator {other!r}", told, remedy)
            return other, True
    told = f"{path.name}, line 1: {line[:60]!r}"
    looks_like_data = any(ending in line.lower() for ending in (".jpg", ".png"))
    remedy = f"expected {wanted}" + ("; read as if it had one" if looks_like_data else "")
    found.add("error", "list without its heading", told, remedy)
    return mark, not looks_like_data


def _split(line: str, mark: str) -> list[str]:
    """One row; a comma or semicolon between key points stays inside its brackets."""
    if "[" in line:
        return [field.strip(' "') for field in re.split(re.escape(mark) + r"(?![^\[]*\])", line)]
    return [field.strip() for field in next(csv.reader([line], delimiter=mark), [])]


def _coordinates(text: str, axis: str) -> list[float]:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        raise _BadRowError("key points that are no list", f"{axis} is {text[:40]!r}") from None
    if not isinstance(values, list) or len(values) != _JOINTS:
        held = len(values) if isinstance(values, list) else repr(values)[:40]
        raise _BadRowError("ragged row of key points", f"{held} numbers of {axis}, not {_JOINTS}")
    for joint, value in zip(OPENPOSE_18, values):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not abs(value) < 1e6:  # NaN compares false
            raise _BadRowError("key point that is no number", f"{axis} of {joint} is {value!r}")
    return values


def _text(path: Path, found: Findings) -> str:
    """A file's text, in whatever it is written."""
    if path.stat().st_size > _LONGEST:
        found.add("error", "list of absurd size", path.name, "not read")
        return ""
    data = path.read_bytes()
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        found.add("error", "list in UTF-16", path.name, "read so; `data prepare` writes UTF-8")
        return data.decode("utf-16", errors="replace")
    if data.startswith(b"\xef\xbb\xbf"):
        found.add("note", "list with a byte-order mark", path.name, "passed over")
    if b"\r\n" in data:
        found.add("note", "list with Windows' line ends", path.name, "passed over")
    if b"\0" in data[:4096] or data[:1] == b"\x80":
        found.add("error", "no text: list is a binary file", path.name, "not read; fetch it again")
        return ""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        told = f"{path.name}: byte {error.start} is {data[error.start]:#04x}"
        remedy = "read as Latin-1; `data prepare` writes UTF-8"
        found.add("error", "list is not UTF-8", told, remedy)
        return data.decode("latin-1")
