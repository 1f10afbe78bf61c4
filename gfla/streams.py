"""Where training batches come from: pure functions of (seed, step), with no truth in them.

A batch holds the four tensors that the paper's losses may see and nothing else. The true flow,
visibility and parts of the procedural people judge a training; they never steer one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from gfla.config import DataConfig
    from gfla.data.folders import DeepFashion

Batch = dict[str, Tensor]

INPUTS = ("source", "target", "source_pose", "target_pose")  # all that training ever reads
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


def batches(data: DataConfig, seed: int, device: torch.device) -> Callable[[int], Batch]:
    """The function step -> batch of a data source.

    Args:
        data: size, source, batch.
        seed: seed of the run.
        device: where the tensors are wanted.

    Returns:
        a function of the step (0, 1, ...) whose result holds `INPUTS` only; calling it twice with
        one step gives the same numbers.

    Raises:
        FileNotFoundError: the folder of `data.source` is not there.
    """
    if data.source == "people":
        from gfla.data import people

        def make(step: int) -> Batch:
            return people.pairs(
                data.batch, size=data.size, seed=people_seed(seed, step), device=device
            )
    else:
        folder = open_folder(data)

        def make(step: int) -> Batch:
            return folder.batch(step, data.batch, seed)

    return lambda step: without_truth(make(step), device)


def open_folder(data: DataConfig) -> DeepFashion:
    """The training pairs in the folder `data.source`: Market-1501 if its lists say so."""
    from gfla.data.folders import DeepFashion, Market1501

    market = any(Path(data.source).glob("market-pairs-*.csv"))
    return (Market1501 if market else DeepFashion)(data.source, "train", data.size)


def without_truth(batch: Batch, device: torch.device) -> Batch:
    """Only what training may read, on `device`."""
    return {name: batch[name].to(device) for name in INPUTS}


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
