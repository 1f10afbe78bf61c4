"""Views and videos on disk, looked through: ShapeNet, FashionVideo, iPER, faces."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from gfla.data import reading
from gfla.data.face_folders import FaceVideo, read_landmarks
from gfla.data.findings import Findings
from gfla.data.pair_faults import Task, compare_counts
from gfla.data.pose_faults import pose_faults
from gfla.data.recognising import PHASES
from gfla.data.shapenet import ShapeNet
from gfla.data.surveying import survey
from gfla.data.videos import IPER, FashionVideo, read_joints

_SMALL = (8, 8)  # pixels; views are decoded for their faults, not for their looks


def view_faults(task: Task) -> dict[str, Any]:
    """Look through the views of objects.

    Args:
        task: a set of kind "shapenet".

    Returns:
        What was counted.

    Raises:
        ModuleNotFoundError: h5py is not installed.
    """
    facts: dict[str, Any] = {}
    for kind in ("chair", "car"):
        path = task.root / f"data_{kind}.hdf5"
        models: set[str] = set()
        for phase in PHASES if path.is_file() else ():
            listed = task.root / f"id_{kind}_{phase}.txt"
            if not listed.is_file():
                task.found.add("error", "list is missing", listed.name, "needed to know the split")
                continue
            try:
                reader = ShapeNet(task.root, kind, phase, _SMALL)
            except (ValueError, OSError) as error:
                task.found.add("error", "views that do not follow the layout", str(error))
                continue
            facts[f"views of {kind} in {phase}"] = len(reader)
            models |= {view.model for view in reader.views}
            _views(reader, task, f"{kind}, {phase}", [path, listed])
        if models:
            facts[f"models of {kind}"] = len(models)
    compare_counts(task, facts)
    return facts


def _views(reader: ShapeNet, task: Task, what: str, files: list[Path]) -> None:
    """Decode every view, unless file and list are as they were when nothing was wrong."""
    if all(task.memory.size_of(path) is not None for path in files):
        return
    whole = True
    for index in tqdm(range(len(reader)), desc=what, disable=not task.progress or None):
        try:
            reader[index]
        except (ValueError, OSError, KeyError) as error:
            whole = False
            task.found.add("error", "view that cannot be read", str(error), "fetch the file again")
    task.memory.good(files[0])
    if whole:
        task.memory.good(files[1])
    else:
        task.memory.forget(files[1])


def dance_faults(task: Task) -> dict[str, Any]:
    """Look through videos of people.

    Args:
        task: a set of kind "fashion_video" or "iper".

    Returns:
        What was counted.
    """
    facts: dict[str, Any] = {}
    for phase in PHASES:
        folder = task.root / f"{phase}_256"
        if not (folder / "train_A").is_dir():
            task.found.add(
                "note", "phase that is not there", folder.name, "needed to train or test"
            )
            continue
        clips = reading.listing(folder / "train_A")
        facts[f"videos of {phase}"] = len(clips)
        frames = {clip.name: _frames(clip, task.found) for clip in clips}
        facts[f"frames of {phase}"] = sum(map(len, frames.values()))
        masks = folder / "train_C"
        drawn = [path for name in frames for path in _frames(masks / name, None)]
        every = [path for paths in frames.values() for path in paths]
        sizes = survey(every + drawn, task.found, task.memory, task.workers, task.progress)
        for kind, joints in (("train_video2d", 17), ("train_alphapose", 18)):
            if not (folder / kind).is_dir():
                remedy = "needed for the poses, see data/README.md"
                task.found.add("error", "folder is missing", f"{folder.name}/{kind}", remedy)
                continue
            _joints(task, folder / kind, frames, joints, sizes)
        if task.at.kind == "iper" and not masks.is_dir():
            task.found.add("warning", "folder is missing", f"{folder.name}/train_C", "the masks")
    _last_word(task, IPER if task.at.kind == "iper" else FashionVideo)
    compare_counts(task, facts)
    return facts


def face_faults(task: Task) -> dict[str, Any]:
    """Look through videos of faces.

    Args:
        task: a set of kind "face".

    Returns:
        What was counted.
    """
    facts: dict[str, Any] = {}
    for phase in PHASES:
        data = task.root / f"{phase}_data"
        if not data.is_dir():
            task.found.add("note", "phase that is not there", data.name, "needed to train or test")
            continue
        plural = task.root / f"{phase}_keypoints"
        beside = plural if plural.is_dir() else task.root / f"{phase}_keypoint"
        clips = reading.listing(data)
        frames = {clip.name: _frames(clip, task.found) for clip in clips}
        facts[f"videos of {phase}"] = len(clips)
        every = [path for paths in frames.values() for path in paths]
        facts[f"frames of {phase}"] = len(every)
        sizes = survey(every, task.found, task.memory, task.workers, task.progress)
        points, canvas = {}, {}
        for path in tqdm(every, desc=f"landmarks, {phase}", disable=not task.progress or None):
            name = path.relative_to(task.root).as_posix()
            try:
                points[name] = read_landmarks(beside / path.parent.name / f"{path.stem}.txt")
            except (ValueError, OSError) as error:
                remedy = "make them again, or take the frame out"
                task.found.add("error", "landmarks that cannot be used", str(error), remedy)
            if name in sizes:
                canvas[name] = sizes[name]
        pose_faults(points, canvas, task.found, beside.name, task.progress)
    _last_word(task, FaceVideo)
    return facts


def _frames(folder: Path, found: Findings | None) -> list[Path]:
    frames = reading.listing(folder, reading.PICTURES) if folder.is_dir() else []
    if not frames and found is not None:
        found.add("error", "video without frames", folder.name, "the reader stops: take it out")
    return frames


def _joints(
    task: Task, folder: Path, frames: dict[str, list[Path]], joints: int, sizes: dict
) -> None:
    """Read the joints of every frame."""
    poses, canvas = {}, {}
    jobs = [(video, path) for video, paths in frames.items() for path in paths]
    for video, frame in tqdm(jobs, desc=folder.name, disable=not task.progress or None):
        told = f"{folder.name}/{video}/{frame.stem}.json"
        names = (f"{frame.stem}.json", f"{frame.stem}_keypoints.json")
        path = next((p for n in names if (p := folder / video / n).is_file()), None)
        if path is None:
            task.found.add("error", "frame without its file of joints", told, "take the frame out")
            continue
        try:
            pose = read_joints(path, joints)
        except (ValueError, OSError) as error:
            task.found.add("error", "joints that cannot be used", str(error), "detect them again")
            continue
        if pose is None:
            task.found.add("warning", "frame that nobody was found on", told, "left out")
            continue
        poses[told] = pose
        canvas[told] = sizes.get(frame.relative_to(task.root).as_posix())
    pose_faults(poses, canvas, task.found, folder.name, task.progress)


def _last_word(task: Task, reader: Any) -> None:
    """Ask the reader itself: what it refuses is an error, whatever was overlooked here."""
    for phase in PHASES if not task.found.has("error") else ():
        there = f"{phase}_data" if reader is FaceVideo else f"{phase}_256"
        if (task.root / there).is_dir():
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # frames without a person were told above
                    reader(task.root, phase)
            except (ValueError, OSError) as error:
                task.found.add("error", "the reader refuses it", f"{phase}: {error}")
