"""Which of the public data sets lies in a folder, and by what it was recognised."""

from __future__ import annotations

import re
import zipfile
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from gfla.data.known_sets import KNOWN

PHASES = ("train", "test")
PREFIXES = {"deepfashion": ("fasion", "fashion"), "market": ("market",)}
TREES = ("img_highres", "img")  # of DeepFashion as published
BOXES = ("bounding_box_train", "bounding_box_test", "query")  # of Market-1501 as published
ARCHIVE_ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_WRAPPINGS = ("", "Img", "In-shop Clothes Retrieval Benchmark", "fashion", "market", "dataset")
_LOOK = 2000  # entries of a folder that are looked at for names; one is enough


class Recognised(NamedTuple):
    """A data set that was found."""

    kind: str  # a key of KNOWN
    root: Path  # the folder that its layout begins at
    reason: str

    @property
    def title(self) -> str:
        """What it is called."""
        return KNOWN[self.kind].title


def recognise(path: str | Path, kind: str | None = None) -> Recognised:
    """Find out which data set lies in a folder; only names are looked at.

    Args:
        path: the folder, or one that the archive's own folder lies in.
        kind: a key of KNOWN, when the caller knows better.

    Returns:
        Kind, folder and reason.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: an archive, or nothing that is known; the message says what was looked for.

    >>> from gfla import storage
    >>> recognise(storage.root() / "data" / "sample").kind
    'deepfashion'
    """
    path = Path(path)
    if path.is_file():
        if is_archive(path):
            raise ValueError(f"{path} is an archive: `python -m gfla data unpack {path} --out DIR`")
        raise ValueError(f"{path} is a file; expected the folder of a data set")
    if not path.is_dir():
        raise FileNotFoundError(f"no folder {path}: expected the folder of a data set")
    if kind is not None:
        return _as_told(path, kind)
    for root in _roots(path):
        if found := _look(root, tuple(KNOWN)):
            return found
    raise ValueError(_nothing(path))


def is_archive(path: Path) -> bool:
    """Say whether a file is to be unpacked, by its name or its first bytes."""
    return path.name.lower().endswith(ARCHIVE_ENDINGS) or zipfile.is_zipfile(path)


def _roots(path: Path) -> list[Path]:
    """The folder, the folder that archives usually wrap it in, the folder that it is part of."""
    roots = [path / name for name in _WRAPPINGS if (path / name).is_dir()]
    inside = [entry for entry in islice(path.iterdir(), _LOOK) if entry.is_dir()]
    if len(inside) == 1:
        roots += [inside[0], inside[0] / "Img"]
    if path.name in (*TREES, *PHASES, *BOXES, *(f"{phase}_256" for phase in PHASES)):
        roots.append(path.resolve().parent)
    return [root for root in dict.fromkeys(roots) if root.is_dir()]


def _as_told(path: Path, kind: str) -> Recognised:
    if kind not in KNOWN:
        raise ValueError(f"no data set {kind!r}: choose one of {', '.join(KNOWN)}")
    for root in _roots(path):
        if found := _look(root, (kind,)):
            return found
        if kind in ("fashion_video", "iper") and (phase := _dance(root)):
            return Recognised(kind, root, f"{phase}_256/train_A is there, and you said so")
    known = KNOWN[kind]
    raise ValueError(f"{path} is no {known.title}: looked for {known.looked_for}")


def _look(root: Path, kinds: tuple[str, ...]) -> Recognised | None:
    for kind in kinds:
        if reason := _SIGNS[kind](root):
            return Recognised(kind, root, reason)
    return None


def _tree(root: Path) -> str:
    for name in TREES:
        for sex in ("WOMEN", "MEN"):
            people = root / name / sex
            if people.is_dir():
                return f"{name}/{sex} is there, as in the archive of the publishers"
    return ""


def _flat(root: Path, kind: str) -> str:
    for prefix in PREFIXES[kind]:
        for what in ("pairs", "annotation"):
            for phase in PHASES:
                name = f"{prefix}-{what}-{phase}.csv"
                if (root / name).is_file():
                    return f"{name} is there"
    return ""


def _fashion(root: Path) -> str:
    if reason := _flat(root, "deepfashion"):
        return reason
    for phase in PHASES:
        for entry in _names(root / phase):
            if re.match(r"fashion(WO)?MEN", entry):
                return f"{phase}/{entry} has a flattened name of DeepFashion"
    return ""


def _boxes(root: Path) -> str:
    there = [name for name in BOXES if (root / name).is_dir()]
    return f"{' and '.join(there)} are there" if len(there) >= 2 else ""


def _views(root: Path) -> str:
    names = [f"data_{kind}.hdf5" for kind in ("chair", "car")]
    return next((f"{name} is there" for name in names if (root / name).is_file()), "")


def _dance(root: Path) -> str:
    return next((p for p in PHASES if (root / f"{p}_256" / "train_A").is_dir()), "")


def _iper(root: Path) -> str:
    for phase in PHASES:
        folder = root / f"{phase}_256"
        if (folder / "train_A").is_dir():
            if (folder / "train_C").is_dir():
                return f"{phase}_256/train_A and the masks of train_C are there"
            for name in _names(folder / "train_A"):
                if re.fullmatch(r"\d{3}_\d{1,2}_\d", name):
                    return f"{phase}_256/train_A/{name} is named as iPER's videos are"
    return ""


def _fashion_video(root: Path) -> str:
    phase = _dance(root)
    return f"{phase}_256/train_A is there, without masks" if phase and not _iper(root) else ""


def _face(root: Path) -> str:
    for phase in PHASES:
        for landmarks in (f"{phase}_keypoints", f"{phase}_keypoint"):
            if (root / f"{phase}_data").is_dir() and (root / landmarks).is_dir():
                return f"{phase}_data and {landmarks} are there"
    return ""


def _names(folder: Path) -> list[str]:
    return [entry.name for entry in islice(folder.iterdir(), _LOOK)] if folder.is_dir() else []


_SIGNS = {
    "deepfashion_tree": _tree,
    "deepfashion": _fashion,
    "market_tree": _boxes,
    "market": lambda root: _flat(root, "market"),
    "shapenet": _views,
    "fashion_video": _fashion_video,
    "iper": _iper,
    "face": _face,
}


def _nothing(path: Path) -> str:
    """Say what was looked for, and what lies there instead."""
    held = sorted(entry.name for entry in islice(path.iterdir(), _LOOK))
    lines = [f"{path} holds none of the data sets that are known. Looked for:"]
    lines += [f"  {known.title}: {known.looked_for}" for known in KNOWN.values()]
    lines.append(f"Found: {', '.join(held[:8]) or 'nothing'}{', …' if len(held) > 8 else ''}")
    if any(is_archive(path / name) for name in held if (path / name).is_file()):
        lines.append("There is an archive: `python -m gfla data unpack ARCHIVE --out DIR` first")
    if any(name.lower().endswith((".mp4", ".avi")) for name in held):
        lines.append("There are videos: extract their frames and joints first, see data/README.md")
    return "\n".join(lines)
