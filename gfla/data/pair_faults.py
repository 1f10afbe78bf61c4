"""Sets of pairs on disk, looked through: DeepFashion and Market-1501, as published or flattened."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from gfla.data.findings import Findings
from gfla.data.folders import DeepFashion, Market1501
from gfla.data.known_sets import KNOWN
from gfla.data.oddities import ENDINGS
from gfla.data.pose_faults import pose_faults
from gfla.data.recognising import BOXES, PHASES, PREFIXES, TREES, Recognised
from gfla.data.rough_lists import rough_names, rough_pairs, rough_poses
from gfla.data.sample import flattened
from gfla.data.surveying import Memory, Sizes, survey

_PART = 0.1  # of the published number; with less it is a sample, not the set with a hole
_OTHER_SHAPE = 0.1  # of the ratio of the sides, from which a person looks squashed


class Task(NamedTuple):
    """What a check works with."""

    at: Recognised
    found: Findings
    memory: Memory
    workers: int
    progress: bool

    @property
    def root(self) -> Path:
        """Where the layout begins."""
        return self.at.root


def flat_faults(task: Task) -> dict[str, Any]:
    """Look through the authors' layout.

    Args:
        task: a set of kind "deepfashion" or "market".

    Returns:
        What was counted.
    """
    facts: dict[str, Any] = {}
    pictures = {phase: _pictures(task.root / phase) for phase in PHASES}
    sizes = _survey([path for paths in pictures.values() for path in paths], task)
    people: dict[str, set[str]] = {}
    for phase in PHASES:
        names = {path.name for path in pictures[phase]}
        if not names and not _lists(task, phase):
            task.found.add("note", "phase that is not there", phase, "needed to train or to test")
            continue
        facts[f"pictures of {phase}"] = len(names)
        facts |= _listed(task, phase, names)
        people[phase] = {person(name) for name in names} - {""}
    facts["pictures"] = sum(map(len, pictures.values()))
    facts["sizes (h, w)"] = _uniform(sizes, task)
    both = sorted(set.intersection(*people.values())) if len(people) == 2 else []
    if both:
        told = ", ".join(both[:3])
        task.found.add("note", "people in train and in test", told, "meant?", len(both))
    _last_word(task)
    compare_counts(task, facts)
    return facts


def tree_faults(task: Task) -> dict[str, Any]:
    """Look through a set as its publishers pack it.

    Args:
        task: a set of kind "deepfashion_tree" or "market_tree".

    Returns:
        What was counted.
    """
    pictures = tree_pictures(task.at, task.found)
    sizes = _survey(pictures.values(), task)
    facts: dict[str, Any] = {"pictures": len(pictures), "sizes (h, w)": _uniform(sizes, task)}
    if task.at.kind == "market_tree":
        per_folder = Counter(path.parent.name for path in pictures.values())
        facts |= {f"pictures of {name}": per_folder[name] for name in BOXES}
    lists = 0
    for phase in PHASES:
        facts |= _listed(task, phase, set(pictures))
        lists += len(_lists(task, phase))
        for path in _beside(task.root, f"{phase}.lst"):
            lists += 1
            names = [name if "/" not in name else flattened(name)
                     for name in rough_names(path, task.found)]  # fmt: skip
            facts[f"names in {phase}.lst"] = len(names)
            for name in names:
                if name not in pictures:
                    remedy = "fetch it, or take it out of the list"
                    task.found.add(
                        "error", "listed picture is missing", f"{path.name}: {name}", remedy
                    )
    if not lists:
        told = "train.lst, test.lst, key points and pairs"
        task.found.add("warning", "split and poses are not here", told, KNOWN[task.at.kind].where)
    compare_counts(task, facts)
    return facts


def tree_pictures(at: Recognised, found: Findings | None = None) -> dict[str, Path]:
    """Find the pictures of a published tree by the names that they get when it is flattened.

    Args:
        at: a set of kind "deepfashion_tree" or "market_tree".
        found: takes names that fit no pattern, and two pictures that get one name.

    Returns:
        Flattened name -> file.
    """
    if at.kind == "market_tree":
        folders = [at.root / name for name in BOXES if (at.root / name).is_dir()]
        files = [path for folder in folders for path in _pictures(folder)]
    else:
        top = next(at.root / name for name in TREES if (at.root / name).is_dir())
        files = sorted(p for p in top.rglob("*") if p.suffix.lower() in ENDINGS and p.is_file())
    named: dict[str, Path] = {}
    for path in files:
        below = path.relative_to(at.root).as_posix()
        name = path.name if at.kind == "market_tree" else _flat_name(below)
        if not name and found is not None:
            found.add("warning", "picture outside the folders of the set", below, "not used")
        elif name in named and found is not None:
            remedy = "one would overwrite the other: take one away"
            found.add("error", "two pictures that flatten to one name", below, remedy)
        if name:
            named.setdefault(name, path)
    return named


def _flat_name(below: str) -> str:
    parts = below.split("/")
    return flattened("/".join(parts[1:])) if re.match(r"id_\d{8}$", parts[-2]) else ""


def compare_counts(task: Task, facts: dict[str, Any]) -> None:
    """Hold what was counted against what was published."""
    for what, count in KNOWN[task.at.kind].counts.items():
        here = facts.get(what)
        if here is None or here == count.number:
            continue
        told = f"{here:,} {what}, published: {count.told()}"
        if here < _PART * count.number:
            task.found.add("note", "a small part of the published set", told, "meant as a sample?")
        else:  # what is only remembered cannot put a set in the wrong
            severity = "note" if count.remembered else "warning"
            where = KNOWN[task.at.kind].where
            task.found.add(severity, "another number than published", told, where)


def person(name: str) -> str:
    """Whom a file name says that it shows; empty where it does not.

    >>> person("fashionWOMENTees_Tanksid0000000101_1front.jpg"), person("0002_c1s1_000451_03.jpg")
    ('id00000001', '0002')
    """
    if match := re.match(r"fashion(?:WO)?MEN\D*(id\d{8})\d", name):
        return match[1]
    match = re.match(r"(\d{4})_c\ds\d_", name)
    return match[1] if match and match[1] != "0000" else ""


def _pictures(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(entry for entry in folder.iterdir() if entry.suffix.lower() in ENDINGS)


def _survey(paths: Iterable[Path], task: Task) -> Sizes:
    return survey(paths, task.found, task.memory, task.workers, task.progress)


def _uniform(sizes: Sizes, task: Task) -> str:
    """The sizes that there are; several in one set are worth a look."""
    often = Counter(sizes.values()).most_common()
    if not often:
        return ""
    usual = KNOWN[task.at.kind].sizes
    (height, width), _ = often[0]
    if usual and (height, width) not in usual:
        told = f"{height}x{width} (height x width)"
        remedy = "usual: " + ", ".join(f"{h}x{w}" for h, w in usual)
        task.found.add("note", "unusual size of pictures", told, remedy)
    for name, (h, w) in sizes.items():
        if (h, w) != (height, width):
            told = f"{name}: {h}x{w}, most are {height}x{width}"
            if abs(h * width / (w * height) - 1) > _OTHER_SHAPE:
                what = "picture of another shape"
                task.found.add("warning", what, told, "squashed by the reader: look at it")
            else:
                task.found.add("note", "picture of another size", told, "resized by the reader")
    return ", ".join(f"{count:,} of {h}x{w}" for (h, w), count in often[:5])


def _lists(task: Task, phase: str) -> list[Path]:
    prefixes = PREFIXES[task.at.kind.removesuffix("_tree")]
    names = [f"{p}-{what}-{phase}.csv" for p in prefixes for what in ("pairs", "annotation")]
    return [path for name in names for path in _beside(task.root, name)]


def _beside(root: Path, name: str) -> list[Path]:
    return [path for path in (root / name,) if path.is_file()]


def _listed(task: Task, phase: str, names: set[str]) -> dict[str, Any]:
    """Hold a phase's lists against each other and against the pictures."""
    found, flat = task.found, not task.at.kind.endswith("_tree")
    paths = {what: [p for p in _lists(task, phase) if f"-{what}-" in p.name]
             for what in ("pairs", "annotation")}  # fmt: skip
    for what, there in paths.items():
        if len(there) > 1:
            told = " and ".join(path.name for path in there)
            found.add("warning", "list in both spellings", told, f"{there[0].name} is read")
        elif not there and flat:
            name = f"{PREFIXES[task.at.kind][0]}-{what}-{phase}.csv"
            found.add("error", "list is missing", name, KNOWN[task.at.kind].where)
    pairs = rough_pairs(paths["pairs"][0], found) if paths["pairs"] else []
    poses = rough_poses(paths["annotation"][0], found) if paths["annotation"] else {}
    _cross(task, phase, pairs, poses, names)
    if poses:
        canvas = KNOWN[task.at.kind].canvas
        pose_faults(poses, canvas, found, paths["annotation"][0].name, task.progress)
    facts = {f"pairs of {phase}": len(pairs)} if paths["pairs"] else {}
    return facts | ({f"skeletons of {phase}": len(poses)} if paths["annotation"] else {})


def _cross(task: Task, phase: str, pairs: list, poses: dict, names: set[str]) -> None:
    found, used = task.found, set()
    for pair in pairs:
        told = f"{phase}: {pair[0]} -> {pair[1]}"
        used.update(pair)
        people = {person(name) for name in pair}
        if len(people) == 2 and "" not in people:
            found.add("warning", "pair of two persons", told, "is it meant?")
        if absent := [name for name in pair if name not in names]:
            remedy = "fetch the picture, or take the pair out"
            found.add("error", "pair without its picture", f"{phase}: {absent[0]}", remedy)
        if poses and (bare := [name for name in pair if name not in poses]):
            remedy = "annotate the picture, or take the pair out"
            found.add("error", "pair without key points", f"{phase}: {bare[0]}", remedy)
    alone = sorted(poses.keys() - names)
    for name in alone[:3] if alone else ():
        found.add("note", "key points without a picture", f"{phase}: {name}", "not used", 0)
    if alone:
        found.add("note", "key points without a picture", count=len(alone))
    idle = sorted(names - used) if pairs and not task.at.kind.endswith("_tree") else []
    for name in idle[:3]:
        found.add("note", "picture in no pair", f"{phase}: {name}", "not used", 0)
    if idle:
        found.add("note", "picture in no pair", count=len(idle))


def _last_word(task: Task) -> None:
    """Ask the reader itself: what it refuses is an error, whatever was overlooked here."""
    if task.found.has("error"):
        return
    reader = Market1501 if task.at.kind == "market" else DeepFashion
    for phase in PHASES:
        if _lists(task, phase):
            try:
                reader(task.root, phase)
            except (ValueError, OSError) as error:
                task.found.add("error", "the reader refuses it", f"{phase}: {error}")
