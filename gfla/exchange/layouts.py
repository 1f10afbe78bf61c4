"""The published networks by task and part: what they are made of, and which one a file belongs to.

A task has several parts, each with a file of its own:

    part             the authors' file     what
    "generator"      …_net_G.pth           F and G
    "flow"           …_net_G.pth           F alone: all that stage 1 writes, or a piece of the above
    "discriminator"  …_net_D.pth           D, of single pictures
    "temporal"       …_net_D_V.pth         D of several frames: "face" and "dance"
    "motion"         …_net_G.pth           key points made smooth: the authors' task "keypoint"
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gfla.discriminator import Discriminator, TemporalDiscriminator
from gfla.exchange.published_names import plain_name, published_name
from gfla.extraction import MotionExtraction
from gfla.model import TASKS, build
from gfla.storage import CheckpointError

PARTS = ("generator", "flow", "discriminator", "temporal", "motion")
DISCRIMINATORS: dict[tuple[str, bool], Callable[[], nn.Module]] = {  # (task, of clips)
    ("fashion", False): Discriminator,
    ("market", False): lambda: Discriminator(depth=3),
    ("shapenet", False): Discriminator,
    ("face", False): Discriminator,
    ("dance", False): Discriminator,
    ("face", True): lambda: Discriminator(channels=6),
    ("dance", True): TemporalDiscriminator,
}
KEYPOINT = "keypoint"  # the authors' task of the part "motion", which belongs to no other
EXCUSED = {("face", "temporal"): "block0."}  # may have another shape: docs/spec.md section 10
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")  # of old instance norms
_ALIKE = 0.5  # below this a file is of none of these networks


class Guess(NamedTuple):
    """Which published network a file's names and shapes belong to."""

    task: str
    part: str
    tasks: tuple[str, ...]  # all whose network has the very same layout, `task` among them
    alike: float  # 1 when all names and shapes agree, 0 when none does


def combinations() -> list[tuple[str, str]]:
    """Every (task, part) that there is; where two are alike, the first is the one to think of."""
    pairs = [(task, part) for part in ("generator", "flow") for task in TASKS]
    pairs += [(task, "temporal" if clips else "discriminator") for task, clips in DISCRIMINATORS]
    return [*pairs, (KEYPOINT, "motion")]


def network(task: str, part: str = "generator") -> nn.Module:
    """A published network without its numbers.

    Args:
        task: "fashion", "market", "shapenet", "face" or "dance"; the part "motion" has none.
        part: of `PARTS`.

    Returns:
        The network in training mode: on the device "meta", which holds shapes only; discriminators
        on the CPU, begun at random, because one of them keeps some of that.

    Raises:
        ValueError: another part, another task, or one without this part.

    >>> type(network("fashion", "flow")).__name__
    'FlowEstimator'
    """
    if part not in PARTS:
        raise ValueError(f"there is no part {part!r}: choose one of {list(PARTS)}")
    if part in ("discriminator", "temporal"):
        clips = part == "temporal"
        if (task, clips) not in DISCRIMINATORS:
            there = sorted(name for name, several in DISCRIMINATORS if several == clips)
            raise ValueError(
                f"there is no task {task!r} with temporal={clips}: choose one of {there}"
            )
        with torch.random.fork_rng(devices=[]):  # reading a file shall not move anybody's dice
            return DISCRIMINATORS[task, clips]()
    with torch.device("meta"):
        if part == "motion":
            return MotionExtraction()
        model = build("full", task)
        return model.flow if part == "flow" else model


def key_of(name: str, part: str) -> str:
    """The published name of a parameter of a part; see `published_names.published_name`."""
    return published_name({"flow": "flow.", "motion": "motion."}.get(part, "") + name)


@functools.cache
def layout(task: str, part: str) -> Mapping[str, tuple[int, ...]]:
    """Published names and shapes of a network, every tensor once, in our order."""
    state = network(task, part).state_dict()
    return {key_of(name, part): tuple(tensor.shape) for name, tensor in state.items()}


def recognise(
    tensors: Mapping[str, Tensor], task: str | None = None, part: str | None = None
) -> Guess:
    """Say which published network a state_dict belongs to, by names and shapes.

    Args:
        tensors: by the names in the file, with or without prefix and second names; extra and
            missing ones count against, and decide nothing alone.
        task, part: look among the networks of this task, or part, only.

    Returns:
        The Guess that agrees best.

    Raises:
        gfla.storage.CheckpointError: it resembles none of them.
        ValueError: there is no such task or part.

    Cars and chairs have one layout, as have FashionVideo and iPER, and all discriminators of
    pictures but Market-1501's: what the numbers were trained on, the names cannot tell.

    >>> names = layout("market", "generator")
    >>> guess = recognise({key: torch.empty(shape, device="meta") for key, shape in names.items()})
    >>> guess.task, guess.part, guess.alike
    ('market', 'generator', 1.0)
    """
    pairs = [pair for pair in combinations() if (task or pair[0], part or pair[1]) == pair]
    if not pairs:
        raise ValueError(
            f"there is no task {task!r} with part {part!r}: choose one of {combinations()}"
        )
    scores = {pair: alike(tensors, *pair) for pair in pairs}
    best = max(scores, key=scores.__getitem__)  # of equal ones the first
    if scores[best] < _ALIKE:
        asked = ", ".join(f"{k} {v!r}" for k, v in (("task", task), ("part", part)) if v)
        some = ", ".join(sorted(tensors)[:4])
        raise CheckpointError(
            f"no published network {f'of {asked} ' if asked else ''}has names and shapes like "
            f"these: {some}, … ({len(tensors)} in all){_whose(tensors) if asked else ''}: give a "
            "file of the authors, or one with their names"
        )
    return Guess(*best, same_layout(*best), scores[best])


def same_layout(task: str, part: str) -> tuple[str, ...]:
    """All tasks whose network of this part has the very same names and shapes, `task` included."""
    same = layout(task, part)
    return tuple(t for t, p in combinations() if p == part and layout(t, p) == same)


def alike(tensors: Mapping[str, Tensor], task: str, part: str) -> float:
    """How well names and shapes agree: twice what both have, of all that each has.

    Args: tensors, by the names in the file; task, part of `network`.  Returns 0 … 1.
    """
    shapes = {plain_name(key): tuple(tensor.shape) for key, tensor in tensors.items()}
    shapes = {key: shape for key, shape in shapes.items() if _counts(key)}
    wanted = {key: shape for key, shape in layout(task, part).items() if _counts(key)}
    excused = EXCUSED.get((task, part))
    both = sum(
        key in shapes and (shapes[key] == shape or bool(excused and key.startswith(excused)))
        for key, shape in wanted.items()
    )
    return 2 * both / max(1, len(wanted) + len(shapes))


def _counts(key: str) -> bool:
    return not key.endswith((*STATISTICS, "weight_v"))


def _whose(tensors: Mapping[str, Tensor]) -> str:
    try:
        guess = recognise(tensors)
    except CheckpointError:
        return ""
    return f"; they are those of task {guess.task!r}, part {guess.part!r}"
