"""Where training batches come from: pure functions of (seed, step, rank), with no truth in them.

A batch holds the four tensors that the paper's losses may see and nothing else. The true flow,
visibility and parts of the procedural data judge a training; they never steer one.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gfla import passes

if TYPE_CHECKING:
    from gfla.config import DataConfig

Batch = dict[str, Tensor]

PROCEDURAL = {  # source: its room in gfla.data
    "people": "people", "objects": "objects", "clips": "motion", "portraits": "portraits"
}  # fmt: skip
TRAINING_SEEDS = 10_000_000  # procedural people below this seed are for training
STEPS_PER_SEED = 100_000  # one run seed owns this many people seeds


def people_seed(seed: int, step: int) -> int:
    """Seed of the procedural people at one step of a run.

    Args:
        seed: seed of the run, 0 to 99.
        step: step of the run, 0 to 99,999.

    Returns:
        seed * 100,000 + step, always below 10,000,000: the seeds from 30,000,000 on are kept for
        measuring.

    Raises:
        ValueError: a seed or a step out of range.

    Example:
        >>> people_seed(3, 17)
        300017
    """
    seeds = TRAINING_SEEDS // STEPS_PER_SEED
    if not 0 <= seed < seeds:
        raise ValueError(f"seed={seed}: expected 0 to {seeds - 1} for procedural people")
    if not 0 <= step < STEPS_PER_SEED:
        raise ValueError(
            f"step={step}: one seed has {STEPS_PER_SEED} steps of procedural people; "
            "go on with the next seed and init= the finished run"
        )
    return seed * STEPS_PER_SEED + step


def batches(
    data: DataConfig,
    seed: int,
    device: torch.device,
    kind: str = "people",
    rank: int = 0,
    world: int = 1,
    parts: int = 1,
) -> Callable[[int], Batch]:
    """The function step -> batch of a data source.

    The batch of a step does not depend on how many processes share it: laid one after the other,
    the rows of ranks 0 to world - 1 are those that a single process gets.

    Args:
        data: size, source, batch, frames.
        seed: seed of the run.
        device: where the tensors are wanted.
        kind: of the model, see `gfla.passes`.
        rank, world: of how many processes this is which one.
        parts: that each process takes its rows in, `optim.accumulate`; of one size, since each
            weighs the same.

    Returns:
        a function of the step (0, 1, ...) whose result holds `passes.inputs(kind)` only; calling it
        twice with one step gives the same numbers.

    Raises:
        FileNotFoundError: the folder of `data.source` is not there.
        ValueError: a batch that the processes, or the parts in each, cannot share evenly.
    """
    names, count = passes.inputs(kind), data.batch // world
    if data.batch % (world * parts):
        taken = f"{world} processes" + (f", accumulate={parts} in each" if parts > 1 else "")
        raise ValueError(
            f"batch={data.batch} in {taken}: it is the batch of a whole step, choose one that "
            f"divides by {world * parts}"
        )
    if data.source in PROCEDURAL:

        def make(step: int) -> Batch:
            return procedural(data, count, people_seed(seed, step), device, rank * count)
    else:
        folder = open_folder(data, kind)

        def make(step: int) -> Batch:  # the places of a step in the row of shuffled passes, shared
            return folder.batch(step * world + rank, count, seed)

    def without_truth(step: int) -> Batch:
        made = make(step)
        return {name: _sent(made[name], device) for name in names}

    beside = torch.device(device).type == "cuda" and data.prefetch > 0
    return _aside(without_truth, device) if beside else without_truth


def procedural(
    data: DataConfig,
    count: int,
    seed: int,
    device: torch.device | str = "cpu",
    first: int = 0,
) -> Batch:
    """What a procedural source draws, with its truth.

    Args:
        data: source (of `PROCEDURAL`), size, and for clips frames.
        count: pairs or clips.
        seed: of the drawing; below 10,000,000 for training, from 30,000,000 on for measuring.
        device: where the tensors are wanted, and drawn. The random numbers are the same on every
            device, what is computed from them the same up to rounding.
        first: number of the first pair or clip; those before it are not returned.

    Returns:
        a batch as the source's room in `gfla.data` describes it.
    """
    room = importlib.import_module(f"gfla.data.{PROCEDURAL[data.source]}")
    drawn = {"size": data.size, "seed": seed, "device": device}
    drawn |= {"first": first} if first else {}
    if hasattr(room, "pairs"):
        return room.pairs(count, **drawn)
    return room.clips(count, frames=data.frames, **drawn)


def open_folder(data: DataConfig, kind: str = "people") -> Any:
    """The training data in the folder `data.source`, in one of the authors' layouts.

    Args:
        data: source, size, frames.
        kind: of the model, see `gfla.passes`.

    Returns:
        people: DeepFashion, or Market-1501 if its lists say so. Views: ShapeNet, of the class whose
        file is there. Animation: faces, or people who dance, with masks (iPER) or without; a batch
        holds stretches of `data.frames` frames, where the authors go on with up to five chunks
        of one stretch.

    Raises:
        FileNotFoundError: the folder, or what the layout asks for, is not there.
    """
    from gfla.data import face_folders, folders, shapenet, videos

    root, size = Path(data.source), data.size
    if kind in ("views", "appearance"):
        found = sorted(path.stem.removeprefix("data_") for path in root.glob("data_*.hdf5"))
        return shapenet.ShapeNet(root, found[0] if found else "chair", "train", size)
    if kind == "animation":
        reader = face_folders.FaceVideo if (root / "train_data").is_dir() else videos.FashionVideo
        reader = videos.IPER if (root / "train_256" / "train_C").is_dir() else reader
        return reader(root, "train", size, frames=data.frames, chunk=data.frames)
    market = any(root.glob("market-pairs-*.csv"))
    return (folders.Market1501 if market else folders.DeepFashion)(root, "train", size=size)


def ahead(make: Callable[[int], Batch], first: int, last: int, count: int) -> Iterator[Batch]:
    """The batches of steps first, ..., last - 1, up to `count` of them made ahead by one thread.

    The thread changes when a batch is made, never what is in it. An exception raised in it
    reaches the caller at the step it belongs to.
    """
    if count < 1:
        yield from map(make, range(first, last))
        return
    with ThreadPoolExecutor(1, thread_name_prefix="batches") as pool:
        waiting = [pool.submit(make, step) for step in range(first, min(first + count, last))]
        try:
            for step in range(first + count, last + count):
                batch = waiting.pop(0).result()
                if step < last:
                    waiting.append(pool.submit(make, step))
                yield batch
        finally:
            for future in waiting:
                future.cancel()


def _sent(values: Tensor, device: torch.device | str) -> Tensor:
    if torch.device(device).type != "cuda" or values.is_cuda:
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)


def _aside(make: Callable[[int], Batch], device: torch.device | str) -> Callable[[int], Batch]:
    """`make` on a stream of its own: what draws a batch does not queue behind the training."""
    stream = torch.cuda.Stream(device)

    def made(step: int) -> Batch:
        with torch.cuda.stream(stream):
            batch = make(step)
        stream.synchronize()  # in the thread that makes batches ahead, nobody waits for this
        for values in batch.values():  # the training's stream reads them, so it must let go first
            values.record_stream(torch.cuda.default_stream(device))
        return batch

    return made
