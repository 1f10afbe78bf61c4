"""The experiments of notebook 09: what is damaged on purpose, so that finding it can be judged.

Everything happens in a folder that the caller gives; a data set is only read, and what is damaged
is a copy of the sample.
"""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gfla import storage
from gfla.data import keypoints as kp
from gfla.data.folders import DeepFashion, Market1501
from gfla.data.recognising import recognise
from gfla.exchange import parity
from gfla.exchange.published import imported
from gfla.model import GFLA
from gfla.pictures import to_uint8
from gfla.profiles import pick
from gfla.scores import scoring
from gfla.scores.conventions import Scene

WITH_PEOPLE = ("deepfashion", "market")  # kinds that have pairs with 18 key points
# a pickle that says: call print with this text
_EXECUTES = b"\x80\x02cbuiltins\nprint\nX\x16\x00\x00\x00somebody else ran this\x85R."


@dataclass(frozen=True)
class Setting:
    """How large the experiments are."""

    pairs: int = 16  # that metrics are computed of
    draws: int = 64  # of the augmentation
    steps: int = 16  # of each stage of the training
    preset: str = "tiny"  # that is trained


SETTINGS = {
    "smoke": Setting(),
    "cpu": Setting(pairs=64, draws=256, steps=300, preset="small"),
    "gpu": Setting(pairs=256, draws=256, steps=3_000, preset="small"),
}


def setting(profile: str) -> Setting:
    """The sizes of one profile; see `gfla.profiles.pick`."""
    return pick(SETTINGS, profile)


def located(data: str) -> Path:
    """The folder that a reader means: "sample" is the one in data/sample.

    Raises:
        FileNotFoundError: no such folder.
    """
    path = storage.root() / "data" / "sample" if data == "sample" else Path(data).expanduser()
    if not path.is_dir():
        raise FileNotFoundError(f"no folder {path}: give the folder of a data set, or 'sample'")
    return path


def with_people(root: Path) -> Path:
    """The same folder if it has pairs of people in the authors' layout, else the sample."""
    try:
        found = recognise(root)
    except ValueError:
        return located("sample")
    return found.root if found.kind in WITH_PEOPLE else located("sample")


# ---------------------------------------------------------------- a damaged copy


class Damage(NamedTuple):
    """One thing that was done to a copy, and what a check must call it."""

    done: str  # what, and to which file
    called: str  # the finding
    count: int  # how often it is there
    costs: tuple[int, ...]  # which pairs cannot be used, by their number in the list


def damage(root: Path, phase: str = "test") -> list[Damage]:
    """Spoil a copy of the sample: one picture, one list of pairs, one list of key points.

    Args:
        root: the copy; changed in place.
        phase: of which files.

    Returns:
        What was done. Of the list of pairs, numbers 0 and 1 are those of the first person, whose
        first picture is cut short; the second person's first picture is taken away; the last two
        rows are spoilt.
    """
    pairs, poses = (root / f"fasion-{what}-{phase}.csv" for what in ("pairs", "annotation"))
    heading, *rows = pairs.read_text(encoding="utf-8").split()
    last = len(rows) - 1
    cut, gone = (root / phase / rows[number].split(",")[0] for number in (0, 2))
    cut.write_bytes(cut.read_bytes()[:2000])
    gone.unlink()
    rows[last - 1] += ",surplus.jpg"
    rows[last] = f"../{rows[last]}"
    pairs.write_text("\n".join([heading, *rows]) + "\n", encoding="utf-8")
    skeletons = {name: pose.flip(-1) for name, pose in kp.read_annotations(poses).items()}
    kp.write_annotations(poses, skeletons)
    return [
        Damage("a picture cut after 2,000 bytes", "picture cannot be decoded", 1, (0, 1)),
        Damage("a picture taken away", "pair without its picture", 2, (2, 3)),
        Damage("three names in a row of pairs", "ragged row of pairs", 1, (last - 1,)),
        Damage("../ before a name", "name that leaves the folder or is none", 1, (last,)),
        Damage("x and y exchanged in every row", "x and y look swapped throughout", 1, ()),
    ]


def damaged_copy(out: Path) -> list[Damage]:
    """Copy the sample to `out`, and spoil the copy."""
    shutil.copytree(located("sample"), out)
    return damage(out)


# ---------------------------------------------------------------- published weights


def random_file(path: Path, task: str = "fashion", seed: int = 0) -> dict[str, Tensor]:
    """Write random numbers as the authors wrote theirs.

    Names and shapes are the published ones, with the prefix that several GPUs leave, in the form of
    PyTorch before 1.6.

    Args:
        path: the file to write.
        task: of `gfla.exchange.layouts.network`.
        seed: of the numbers.

    Returns:
        What is in the file.
    """
    tensors = parity.random_weights(task, "generator", seed)
    tensors = {f"module.{name}": tensor for name, tensor in tensors.items()}
    torch.save(tensors, path, _use_new_zipfile_serialization=False)
    return tensors


def refusals(
    path: Path,
    tensors: Mapping[str, Tensor],
    folder: Path,
    task: str = "fashion",
    other: str = "market",
) -> dict[str, str]:
    """Give the importer what it must not take.

    Args:
        path: a file that it takes.
        tensors: what is in it.
        folder: to write the damaged ones into.
        task: of the file.
        other: that it is said to be of.

    Returns:
        What was given -> how the message begins; "taken" if there was none.
    """
    begun = path.read_bytes()
    (folder / "half.pth").write_bytes(begun[: len(begun) // 2])
    (folder / "program.pth").write_bytes(_EXECUTES)
    given = {
        "half of the download": (folder / "half.pth", task),
        "a pickle that runs a program": (folder / "program.pth", task),
        "five tensors fewer": (dict(list(tensors.items())[5:]), task),
        "a file of another task": (tensors, other),
    }
    said = {}
    for what, (content, named) in given.items():
        try:
            imported(content, named, "generator")
            said[what] = "taken"
        except storage.CheckpointError as error:
            words = str(error).replace(f"{folder}/", "")
            said[what] = re.split(r" [(\[]|[;,] (?=\d|save|which)", words)[0]
    return said


# ---------------------------------------------------------------- metrics and training


def scene(model: GFLA, root: Path, count: int, phase: str = "test") -> Scene:
    """What a model draws of pairs on disk, the targets, and the targets' originals."""
    made, _ = scoring.model_scene(model, root, phase, count, sets=False)
    return made


def as_market(root: Path, out: Path, phase: str = "train", pairs: int = 8) -> Path:
    """Pairs of people in the layout and the size of Market-1501.

    Args:
        root: a data set in the authors' layout.
        out: the folder to make.
        phase: of which pairs.
        pairs: the first so many.

    Returns:
        The folder; `root` itself if it is Market-1501 already.
    """
    if recognise(root).kind == "market":
        return root
    data = DeepFashion(root, phase, size=Market1501.paper_size)
    (out / phase).mkdir(parents=True)
    rows, skeletons, called = ["from,to"], {}, {}
    for number in range(min(pairs, len(data))):
        item = data[number]
        for camera, name in enumerate(item["names"], 1):  # as Market-1501 calls its pictures
            called.setdefault(name, f"{number + 1:04d}_c{camera}s1_000000_00.png")
        names = [called[name] for name in item["names"]]
        for side, name in zip(("source", "target"), names, strict=True):
            Image.fromarray(to_uint8(item[side])).save(out / phase / name)
            skeletons[name] = item[f"{side}_keypoints"]
        rows.append(",".join(names))
    storage.atomic_write(out / f"market-pairs-{phase}.csv", "\n".join(rows) + "\n")
    kp.write_annotations(out / f"market-annotation-{phase}.csv", skeletons)
    return out


class Move(NamedTuple):
    """How one picture was moved by the augmentation."""

    angle: float  # degrees
    scale: float
    shift: tuple[float, float]  # of the picture's centre, pixels


def movement(before: Tensor, after: Tensor, size: tuple[int, int]) -> Move:
    """Find the similarity that carried key points over: least squares over z' = a z + b.

    Args:
        before, after: (18, 2) as (x, y) in pixels, -1 = missing.
        size: (H, W) of the picture, about whose centre it is told.
    """
    seen = kp.present(before) & kp.present(after)
    z, w = (points[seen].double().numpy() @ np.array([1, 1j]) for points in (before, after))
    centred = z - z.mean()
    a = (centred.conj() @ (w - w.mean())) / (centred.conj() @ centred)
    centre = complex(size[1] / 2 + 0.5, size[0] / 2 + 0.5)
    step = a * (centre - z.mean()) + w.mean() - centre
    return Move(math.degrees(np.angle(a)), abs(a), (step.real, step.imag))


def movements(root: Path, draws: int, seed: int = 0) -> dict[str, Sequence[Move]]:
    """Draw pairs of Market-1501 as the training does, and measure how far they were moved."""
    moved, still = Market1501(root, "train"), Market1501(root, "train", augment=False)
    ours, plain = (data.batch(0, draws, seed) for data in (moved, still))
    return {
        side: [
            movement(a, b, moved.size)
            for a, b in zip(plain[f"{side}_keypoints"], ours[f"{side}_keypoints"], strict=True)
        ]
        for side in ("source", "target")
    }
