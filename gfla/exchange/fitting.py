"""Whether a published file fits a network: compared by tensor, then copied, or refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gfla.exchange.layouts import EXCUSED, STATISTICS, key_of, recognise
from gfla.exchange.published_names import plain_name
from gfla.storage import CheckpointError

_SHOWN = 20  # names in one message; the report has them all


class Fit(NamedTuple):
    """What of a file fits a network, and what does not; names are published ones unless said."""

    found: dict[str, Tensor]  # our name → the file's own tensor
    aliases: tuple[str, ...]  # second names in the file, of tensors that are there under the first
    renamed: tuple[str, ...]  # second names that were taken because the first is not there
    disagreeing: tuple[str, ...]  # first names whose second has other numbers; the first was taken
    derived: tuple[str, ...]  # weight_v that are not in the file
    untrained: tuple[str, ...]  # layers that may have another shape, and have
    missing: tuple[str, ...]
    wrong: tuple[str, ...]  # of another shape, no floating-point numbers, or not finite: with why
    ignored: dict[str, tuple[str, ...]]  # why → names

    @property
    def complete(self) -> bool:
        """Whether the network can be filled."""
        return not (self.missing or self.wrong)


def fit(net: nn.Module, task: str, part: str, tensors: Mapping[str, Tensor]) -> Fit:
    """Compare a file with a network, tensor by tensor.

    Args:
        net: of `gfla.exchange.layouts.network(task, part)`.
        task, part: as there.
        tensors: by the names in the file.

    Returns:
        Fit. Where the file has no `weight_v`, as files of old PyTorch versions, it is
        v = Wᵀu / ‖Wᵀu‖.
    """
    stripped = {_unprefixed(key): key for key in tensors}
    first = {plain: key for plain, key in stripped.items() if plain_name(plain) == plain}
    second = {plain_name(plain): key for plain, key in stripped.items() if plain not in first}
    own = net.state_dict()
    keys = {name: key_of(name, part) for name in own}
    strange = _strange(keys, own, first, tensors, EXCUSED.get((task, part)))
    found, derived, missing, wrong, renamed, disagreeing = {}, [], [], [], [], []
    for name, key in keys.items():
        place = first.get(key) or second.get(key)
        if key.rpartition(".")[0] in strange:
            continue
        tensor = tensors[place] if place else _derive(key, first, tensors)
        if tensor is None:
            missing.append(key)
        elif fault := _fault(tensor, own[name]):
            wrong.append(f"{key} {fault}")
        else:
            found[name] = tensor
            derived += [] if place else [key]
            renamed += [second[key]] if place and key not in first else []
            if key in first and key in second and not _equal(tensor, tensors[second[key]]):
                disagreeing.append(key)
    used = set(keys.values())
    aliases = tuple(key for plain, key in second.items() if plain in used and plain in first)
    return Fit(
        found, aliases, tuple(renamed), tuple(disagreeing), tuple(derived), tuple(sorted(strange)),
        tuple(missing), tuple(wrong), _ignored(stripped, used),
    )  # fmt: skip


def fill(
    net: nn.Module, fitted: Fit, tensors: Mapping[str, Tensor], asked: tuple[str, str]
) -> nn.Module:
    """Copy what fits into a network, or refuse with a list of what does not.

    Args:
        net: of `gfla.exchange.layouts.network`.
        fitted: of `fit` for this network.
        tensors: the file's, to say whose they are when they do not fit.
        asked: (task, part).

    Returns:
        The network, in eval mode.

    Raises:
        gfla.storage.CheckpointError: something is missing or wrong.
    """
    if not fitted.complete:
        raise CheckpointError(
            f"the state_dict does not fit: {_hint(tensors, asked)}{len(fitted.missing)} keys are "
            f"missing {_few(fitted.missing)}, {len(fitted.wrong)} have another shape or bad "
            f"numbers {_few(fitted.wrong)}; check that the task is the file's own and that the "
            "download is whole"
        )
    own = net.state_dict()
    state = {
        name: fitted.found[name].to(tensor.dtype, copy=True) if name in fitted.found else tensor
        for name, tensor in own.items()
    }
    net.load_state_dict(state, assign=True)
    return net.eval()


def _unprefixed(key: str) -> str:
    while key.startswith("module."):
        key = key.removeprefix("module.")
    return key


def _strange(keys, own, first, tensors, excused: str | None) -> set[str]:
    """Layers whose published name begins with `excused` and whose weight has another shape."""
    return {
        key.rpartition(".")[0]
        for name, key in keys.items()
        if excused and key.startswith(excused) and key in first
        if tensors[first[key]].shape != own[name].shape
    }


def _derive(key: str, first: Mapping[str, str], tensors: Mapping[str, Tensor]) -> Tensor | None:
    """v of a spectral norm from its weight and u, where the file has these."""
    stem = key.removesuffix("weight_v")
    if stem == key or not {f"{stem}weight_orig", f"{stem}weight_u"} <= first.keys():
        return None
    weight, u = (tensors[first[stem + end]] for end in ("weight_orig", "weight_u"))
    if weight.ndim < 2 or u.shape != weight.shape[:1]:
        return None
    v = weight.float().flatten(1).mT @ u.float()  # (in·k·k,)
    return F.normalize(v, dim=0, eps=1e-12)


def _fault(tensor: Tensor, own: Tensor) -> str:
    """What is wrong with a tensor, or nothing."""
    if tensor.shape != own.shape:
        return f"{tuple(tensor.shape)}, expected {tuple(own.shape)}"
    if not tensor.is_floating_point():
        return f"holds {tensor.dtype}, expected floating-point numbers"
    if not bool(torch.isfinite(tensor).all()):
        return "holds numbers that are not finite"
    return ""


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one, other)


def _ignored(stripped: Mapping[str, str], used: set[str]) -> dict[str, tuple[str, ...]]:
    """What no parameter asks for, by the reason."""
    reasons: dict[str, list[str]] = {}
    for plain, key in stripped.items():
        if plain_name(plain) not in used:
            statistics = plain.endswith(STATISTICS)
            why = "running statistics" if statistics else "not of this network"
            reasons.setdefault(why, []).append(key)
    return {why: tuple(keys) for why, keys in reasons.items()}


def _few(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{list(names[:_SHOWN])}{more}"


def _hint(tensors: Mapping[str, Tensor], asked: tuple[str, str]) -> str:
    """Whose file it seems to be, where that is another one."""
    try:
        guess = recognise(tensors)
    except CheckpointError:
        return "it resembles none of the published networks; "
    if guess.part == asked[1] and asked[0] in guess.tasks:
        return ""
    wanted = f"task {asked[0]!r}, part {asked[1]!r}"
    return f"it seems to be of task {guess.task!r}, part {guess.part!r}, not of {wanted}; "
