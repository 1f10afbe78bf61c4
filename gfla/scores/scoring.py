"""Scores a folder of pictures, or what a model draws, against the ground truth, pair by pair.

`python -m gfla evaluate` is its command. What is left out is named in what is given back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm.auto import tqdm

from gfla import checkpoint, journal, storage
from gfla.data.folders import DeepFashion, Market1501
from gfla.model import GFLA, load
from gfla.scores import judging
from gfla.scores.conventions import Scene
from gfla.scores.judging import Judgement, PictureJudge
from gfla.scores.pairing import DAMAGED, Pairs, pair_folders, read_picture, readable

BATCH = 16  # pairs at a time
BEYOND = "beyond the number asked for"
PEOPLE = 256  # held-out people, unless told otherwise
_MOST = 4096  # real pictures beside the targets, 3 GB at 256x256
_STRIDE = 16  # the small encoders read pictures whose sides are multiples of it


class Evaluation(NamedTuple):
    """What was scored, and what came of it."""

    subject: str  # whose pictures
    against: str  # the ground truth
    judgement: Judgement
    names: list[str]  # of the pairs, in the order of judgement.pairs; empty for drawn people
    size: tuple[int, int]  # (H, W) of the pictures
    left_out: dict[str, list[str]]  # why -> file names


def evaluate_folders(
    images: str | Path,
    against: str | Path,
    size: tuple[int, int] | None = None,
    count: int | None = None,
    encoders: dict | None = None,
    device: str | torch.device = "cpu",
    progress: bool = False,
) -> Evaluation:
    """Score a folder of generated pictures against the folder of the true ones.

    Args:
        images, against: as in `pair_folders`.
        size: (H, W) that all pictures are brought to; None demands that they have one size.
        count: only so many pairs, by name; None takes all.
        encoders: as in `gfla.scores.judging.PictureJudge`; {} does without.
        device: where the encoders work.
        progress: show bars.

    Returns:
        What was found. There is no truth about flow here, nor about where the person is.

    Raises:
        FileNotFoundError, ValueError: as `pair_folders` and `readable`.
    """
    pairs, left_out = _pairs(images, against, size, count, progress)
    found = tuple(read_picture(pairs[0][0], size).shape[1:])
    batches = (
        tuple(torch.stack([read_picture(path, size) for path in side]) for side in zip(*part))
        for part in _parts(pairs)
    )
    judgement = _judged(batches, len(pairs), found, encoders, device, progress)
    names = [ours.name for ours, _ in pairs]
    return Evaluation(str(images), str(against), judgement, names, found, left_out)


# A model


def find_model(name: str) -> GFLA:
    """The model that is meant by a name of `gfla.load`, a safetensors file or a run's folder.

    A name that ships goes before a file or folder of that name; `./people` is the folder.

    Raises:
        FileNotFoundError: a run that has not finished.
        ValueError: neither a path nor a model that ships; the message lists those that do.
    """
    path = Path(name)
    ships = f"{name}.safetensors" in storage.read_manifest()
    if path.is_dir() and not ships:
        if not (path / journal.MODEL).is_file():
            raise FileNotFoundError(
                f"{path} holds no {journal.MODEL}: the training in it has not finished; the same "
                "`python -m gfla train` again goes on with it"
            )
        return checkpoint.load_model(path / journal.MODEL)
    return checkpoint.load_model(path) if path.is_file() and not ships else load(name)


def open_folder(root: str | Path, phase: str, size: tuple[int, int]) -> DeepFashion:
    """The data set in a folder, in the layout that its lists show; nothing is moved about in it."""
    if (Path(root) / f"market-pairs-{phase}.csv").is_file():
        return Market1501(root, phase, augment=False, size=size)
    return DeepFashion(root, phase, size=size)


def readable_pairs(
    data: DeepFashion, count: int | None = None
) -> tuple[list[int], dict[str, list[str]]]:
    """Decode every picture of a data set once.

    Args:
        data: the data set.
        count: only the first so many pairs; None takes all.

    Returns:
        the numbers of the pairs of which both pictures decode, and what is left out: why -> names.

    Raises:
        ValueError: not one pair is readable.
    """
    left_out: dict[str, list[str]] = {}
    wanted, beyond = data.pairs[:count], data.pairs[len(data.pairs[:count]) :]
    if beyond:
        left_out[BEYOND] = [" to ".join(pair) for pair in beyond]
    damaged = []
    for name in dict.fromkeys(name for pair in wanted for name in pair):
        try:
            read_picture(data.folder / name)
        except OSError:
            damaged.append(name)
    good = [i for i, pair in enumerate(wanted) if not set(pair) & set(damaged)]
    if not good:
        raise ValueError(f"all {len(wanted)} pairs of {data.folder} have a picture that {DAMAGED}")
    return good, left_out | ({DAMAGED: damaged} if damaged else {})


def drawn(
    model: GFLA, data: DeepFashion, numbers: Sequence[int], device: str | torch.device = "cpu"
) -> Iterator[tuple[Tensor, Tensor]]:
    """What the model draws of pairs on disk, beside the targets, a batch at a time."""
    for part in _parts(numbers):
        items = [data[i] for i in part]
        inputs = (
            torch.stack([item[key] for item in items]).to(device)
            for key in ("source", "source_pose", "target_pose")
        )
        with torch.no_grad():
            images = model(*inputs).image.cpu()
        yield images, torch.stack([item["target"] for item in items])


def evaluate_model(
    model: GFLA,
    root: str | Path,
    name: str = "model",
    phase: str = "test",
    count: int | None = None,
    encoders: dict | None = None,
    device: str | torch.device = "cpu",
    progress: bool = False,
) -> Evaluation:
    """Score a model on the pairs of a folder in the DeepFashion or the Market-1501 layout.

    Args:
        model: in eval mode; pictures are brought to its size.
        root: the folder, see `gfla.data.folders`.
        name: what to call the model.
        phase: "test" or "train".
        count: only the first so many pairs; None takes all.
        encoders, device, progress: as in `evaluate_folders`.

    Returns:
        What was found. There is no truth about flow here, nor about where the person is.

    Raises:
        FileNotFoundError, ValueError: as `gfla.data.folders.DeepFashion`, or no pair is readable.
    """
    data = open_folder(root, phase, model.size)
    numbers, left_out = readable_pairs(data, count)
    batches = drawn(model.to(device), data, numbers, device)
    judgement = _judged(batches, len(numbers), model.size, encoders, device, progress)
    names = [" to ".join(data.pairs[i]) for i in numbers]
    return Evaluation(name, f"{root}, {phase}", judgement, names, model.size, left_out)


def evaluate_people(
    model: GFLA,
    name: str = "model",
    count: int = PEOPLE,
    encoders: dict | None = None,
    device: str | torch.device = "cpu",
) -> Evaluation:
    """Score a model on procedural people that nobody trains on, their truth included."""
    judgement = judging.judge(model.to(device), count=count, device=device, encoders=encoders)
    return Evaluation(name, f"{count} held-out people", judgement, [], model.size, {})


def _pairs(
    images: str | Path,
    against: str | Path,
    size: tuple[int, int] | None,
    count: int | None,
    progress: bool,
) -> tuple[Pairs, dict[str, list[str]]]:
    """The pairs of two folders that can be scored, and what is left out."""
    pairs, left_out = pair_folders(images, against)
    wanted, beyond = pairs[:count], pairs[len(pairs[:count]) :]
    if beyond:
        left_out[BEYOND] = [ours.name for ours, _ in beyond]
    good, damaged = readable(wanted, size is not None, progress)
    return good, left_out | ({DAMAGED: damaged} if damaged else {})


def _judged(
    batches: Iterator[tuple[Tensor, Tensor]],
    count: int,
    size: tuple[int, int],
    encoders: dict | None,
    device: str | torch.device,
    progress: bool,
) -> Judgement:
    odd = any(side % _STRIDE for side in size) and encoders != {}
    judge = PictureJudge(count, {} if odd else encoders, device)
    with tqdm(total=count, desc="scoring", unit=" pairs", disable=not progress or None) as bar:
        for images, targets in batches:
            judge.add(images, targets)
            bar.update(len(images))
    found = judge.judgement()
    if odd:
        note = (
            f"pictures of {size[0]}x{size[1]}: our encoders read sides that are multiples of "
            f"{_STRIDE}, so their distances are missing; --resize can help"
        )
        found = found._replace(notes=(*found.notes, note))
    return found


def _parts(items: Sequence) -> Iterator[Sequence]:
    return (items[start : start + BATCH] for start in range(0, len(items), BATCH))


# For the protocol matrix


def folder_scene(
    images: str | Path,
    against: str | Path,
    size: tuple[int, int] | None = None,
    count: int | None = None,
    progress: bool = False,
) -> tuple[Scene, dict[str, list[str]]]:
    """Two folders as `gfla.scores.protocol.matrix` wants them.

    Args:
        images, against, size, count, progress: as in `evaluate_folders`.

    Returns:
        the scene, without originals, persons and other sets, which nobody knows here; and what
        was left out.
    """
    pairs, left_out = _pairs(images, against, size, count, progress)
    sides = (torch.stack([read_picture(path, size) for path in side]) for side in zip(*pairs))
    return Scene(*sides), left_out


def model_scene(
    model: GFLA,
    root: str | Path,
    phase: str = "test",
    count: int | None = None,
    device: str | torch.device = "cpu",
    sets: bool = True,
) -> tuple[Scene, dict[str, list[str]]]:
    """A model on pairs on disk as `gfla.scores.protocol.matrix` wants them.

    Args:
        model, root, phase, count, device: as in `evaluate_model`.
        sets: read the real pictures beside the targets, too.

    Returns:
        the scene; originals are the pictures on disk if they have one size, the other sets are the
        pictures of the phase and those of phase "train", as many as fit into memory; and what was
        left out.
    """
    data = open_folder(root, phase, model.size)
    numbers, left_out = readable_pairs(data, count)
    images, targets = (
        torch.cat(side) for side in zip(*drawn(model.to(device), data, numbers, device))
    )
    full = [read_picture(data.folder / data.pairs[i][1]) for i in numbers]
    originals = torch.stack(full) if len({one.shape for one in full}) == 1 else None
    others = dict.fromkeys((phase, "train")) if sets else ()
    there = [other for other in others if (Path(root) / other).is_dir()]
    real = dict(_real_pictures(open_folder(root, other, model.size)) for other in there)
    return Scene(images, targets, originals, sets=real), left_out


def _real_pictures(data: DeepFashion) -> tuple[str, Tensor]:
    """The pictures of a phase, and what to call them: half of DeepFashion would fill the memory."""
    names = list(dict.fromkeys(name for pair in data.pairs for name in pair))
    which = "all" if len(names) <= _MOST else f"the first {_MOST:,}"
    read = [read_picture(data.folder / name, data.size) for name in names[:_MOST]]
    return f"{which} of {data.phase}", torch.stack(read)
