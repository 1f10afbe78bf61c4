"""A small data set of procedural people, written to disk in the authors' DeepFashion layout.

With it the whole road from files to pictures can be walked where DeepFashion itself is not at hand.
The layout is described in `folders`, which reads it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path, PurePosixPath

import torch
from PIL import Image

from gfla.data import keypoints as kp
from gfla.data import people
from gfla.storage import atomic_write

_SIZE = (256, 176)  # pixels; the canvas of the authors' key points, so that those need no scaling
_ENTRIES = {"train", "test", "README.md"} | {
    f"fasion-{kind}-{phase}.csv" for kind in ("pairs", "annotation") for phase in ("train", "test")
}


def flattened(path: str) -> str:
    """Give the file name that the authors' script makes of a DeepFashion path.

    Args:
        path: a path below the data set, with "/" between its parts.

    Returns:
        "fashion" and the parts in one word, the marks dropped that their script drops.

    >>> flattened("img_highres/WOMEN/Blouses_Shirts/id_00002585/01_1_front.jpg")
    'fashionWOMENBlouses_Shirtsid0000258501_1front.jpg'
    """
    *folders, identity, name = [p for p in PurePosixPath(path).parts if p != "img_highres"]
    first, mark, rest = name.partition("_")
    person, view = identity.replace("_", ""), first + mark + rest.replace("_", "")
    return "fashion" + "".join(folders) + person + view


def write_sample(
    path: str | Path, count: int = 8, tests: int = 4, seed: int = 9_990_000, force: bool = False
) -> Path:
    """Write procedural people to disk in the authors' DeepFashion layout.

    Every person gives two pictures, and every two pictures a pair in each direction. Nobody of the
    phase "train" is in the phase "test". The folder appears complete or not at all.

    Args:
        path: the folder to make.
        count: persons of phase "train".
        tests: persons of phase "test".
        seed: of `people.pairs`; a training seed, below 10,000,000, since the sample is to train on.
        force: replace a sample that is there. A folder with anything else in it is never touched.

    Returns:
        The folder.

    Raises:
        FileExistsError: the folder is not empty, and is not a sample or `force` is off.
        ValueError: no person asked for, or a seed that is kept for measuring.
    """
    path = Path(path)
    if count < 1 or tests < 1:
        raise ValueError(f"count is {count}, tests is {tests}: expected at least 1 person each")
    if not 0 <= seed < 10_000_000 - 1:
        raise ValueError(f"seed is {seed}: the sample is trained on, expected 0 to 9,999,998")
    _check_replaceable(path, force)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as scratch:
        made = Path(scratch) / path.name
        _write_phase(made, "train", count, seed, first=1)
        _write_phase(made, "test", tests, seed + 1, first=count + 1)
        atomic_write(made / "README.md", _readme(count, tests, seed))
        if path.exists():
            path.rename(Path(scratch) / "old")
        made.rename(path)
    return path


def _write_phase(root: Path, phase: str, count: int, seed: int, first: int) -> None:
    drawn = people.pairs(count, size=_SIZE, seed=seed)
    skeletons, rows = {}, ["from,to"]
    (root / phase).mkdir(parents=True)
    for person in range(count):
        names = {}
        for side, view in (("source", "1_front"), ("target", "7_additional")):
            number = f"id_{first + person:08d}"
            name = flattened(f"img_highres/WOMEN/Tees_Tanks/{number}/01_{view}.jpg")
            pixels = drawn[side][person].add(1.0).mul(127.5).round().clamp(0, 255)
            picture = Image.fromarray(pixels.to(torch.uint8).permute(1, 2, 0).numpy())
            picture.save(root / phase / name, quality=92, subsampling=0, optimize=True)
            skeletons[name] = drawn[f"{side}_keypoints"][person]
            names[side] = name
        rows += [f"{names['source']},{names['target']}", f"{names['target']},{names['source']}"]
    atomic_write(root / f"fasion-pairs-{phase}.csv", "\n".join(rows) + "\n")
    kp.write_annotations(root / f"fasion-annotation-{phase}.csv", skeletons)


def _readme(count: int, tests: int, seed: int) -> str:
    return f"""# A sample to train on from files

Procedural people in the layout that the authors' DeepFashion code reads: {count} persons in
`train`, {tests} in `test`, two pictures of each, every pair in both directions. Nobody here exists.
The file names follow DeepFashion's pattern and say nothing about what is in the picture. The
pictures are drawn by `gfla.data.people`, fall under this project's licence, and hold nothing of
DeepFashion.

    train/  test/                        pictures, 256 pixels high and 176 wide
    fasion-pairs-{{train,test}}.csv        from,to (the file name has the authors' spelling)
    fasion-annotation-{{train,test}}.csv   name:keypoints_y:keypoints_x, 18 joints, -1 = missing

Made by

    python -m gfla sample --count {count} --tests {tests} --seed {seed} --force

and read by `gfla.data.folders.DeepFashion("data/sample", "train")`.
"""


def _check_replaceable(path: Path, force: bool) -> None:
    if not path.exists():
        return
    if not path.is_dir() or path.is_symlink():
        raise FileExistsError(f"{path} is no folder: choose another path")
    held = {entry.name for entry in path.iterdir()}
    if held and not force:
        raise FileExistsError(f"{path} is not empty: choose another folder, or pass force=True")
    if strange := held - _ENTRIES:
        raise FileExistsError(
            f"{path} holds {sorted(strange)[0]!r}, which no sample has: not replaced even with "
            "force=True; choose another folder"
        )
