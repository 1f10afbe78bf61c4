"""Weights and training states on disk: our own files.

Those that the paper's authors published are read by `gfla.exchange.published`; its names are here
as well, so that there is one place to ask for weights. Nothing executes what a file says:
`torch.load` runs with weights_only=True, always.
"""

from __future__ import annotations

import hashlib
import io
import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from gfla import bytes8, storage
from gfla.exchange.published import (
    import_published,
    import_published_discriminator,
    import_published_flow,
    import_published_motion,
    published_name,
)
from gfla.model import restore
from gfla.storage import CheckpointError

__all__ = [
    "CheckpointError",
    "State",
    "import_published",
    "import_published_discriminator",
    "import_published_flow",
    "import_published_motion",
    "load_model",
    "load_state",
    "published_name",
    "save_model",
    "save_state",
]


def save_model(
    path: str | Path, model: nn.Module, dtype: torch.dtype = torch.float32, **notes
) -> str:
    """Write a model as safetensors that rebuild it: weights, and the arguments in the header.

    Args:
        path: the final name.
        model: of one of the classes in `gfla.model.KINDS`; the class's name and the model's
            `arguments` go along.
        dtype: of the stored numbers; torch.float16 halves the file, torch.int8 makes it a quarter,
            see `gfla.bytes8`.
        notes: anything JSON can hold, for the header (steps, seed, commit, …).

    Returns:
        The sha256 of the file.
    """
    tensors = model.state_dict()
    if dtype == torch.int8:
        tensors = bytes8.rounded(tensors)
    else:
        tensors = {name: tensor.to(dtype) for name, tensor in tensors.items()}
    header = notes | {"model": type(model).__name__, "arguments": model.arguments}
    return storage.save_safetensors(path, tensors, header)


def load_model(path: str | Path, sha256: str | None = None) -> nn.Module:
    """The model that `save_model` wrote.

    Args:
        path: the file.
        sha256: the checksum it must have; by default the one in the manifest beside it, if any.

    Returns:
        The model in eval mode, on the CPU, in float32.

    Raises:
        FileNotFoundError: there is no such file.
        gfla.storage.CheckpointError: another checksum, a damaged file, or no model of ours.
    """
    return restore(*storage.load_safetensors(path, sha256))


class State(NamedTuple):
    """Where a training run stood."""

    step: int  # steps already done
    config: dict[str, Any]  # plain values: the configuration of the run


def save_state(
    path: str | Path,
    models: Mapping[str, nn.Module],
    optimisers: Mapping[str, Optimizer],
    step: int,
    config: Mapping[str, Any],
) -> str:
    """Write all that a run needs to go on as if it had never stopped.

    Args:
        path: the final name; the checksum goes beside it, in `<path>.sha256`.
        models: by name, for instance {"model": …, "discriminator": …}.
        optimisers: by name.
        step: steps already done.
        config: plain values (numbers, text, lists, dicts).

    Returns:
        The sha256 of the file.

    Raises:
        TypeError: config holds something else than plain values.

    A run killed at any moment leaves a file that loads, the old or the new one: until the new file
    is in place, the checksum file names both.
    """
    path = Path(path)
    data = pack_state(models, optimisers, step, config)
    digest = hashlib.sha256(data).hexdigest()
    sidecar, line = _sidecar(path), f"{digest}  {path.name}\n"
    if path.exists() and sidecar.exists():
        storage.atomic_write(sidecar, line + sidecar.read_text(encoding="utf-8"))
    else:
        storage.atomic_write(sidecar, line)
    storage.atomic_write(path, data)
    storage.atomic_write(sidecar, line)
    return digest


def load_state(
    path: str | Path, models: Mapping[str, nn.Module], optimisers: Mapping[str, Optimizer]
) -> State:
    """Bring models, optimisers and every random generator back to where `save_state` saw them.

    Args:
        path: the file; `<path>.sha256` must lie beside it.
        models, optimisers: under the same names, of the same shapes; they are changed in place.

    Returns:
        State of step and config.

    Raises:
        FileNotFoundError: there is no such file.
        gfla.storage.CheckpointError: damaged, without its checksum, or of other models.
    """
    path = Path(path)
    data = _verified(path)
    try:
        return unpack_state(data, models, optimisers)
    except Exception as error:  # the loader raises many types; ours is one
        raise CheckpointError(
            f"{path} does not fit this run ({error}): resume with the configuration it was saved "
            "with, or start a new run"
        ) from error


def pack_state(
    models: Mapping[str, nn.Module],
    optimisers: Mapping[str, Optimizer],
    step: int,
    config: Mapping[str, Any],
) -> bytes:
    """What `save_state` writes, as bytes; its arguments, its TypeError."""
    json.dumps(config)  # a TypeError now is better than a file that cannot be read later
    buffer = io.BytesIO()
    torch.save(
        {
            "models": {name: model.state_dict() for name, model in models.items()},
            "optimisers": {name: one.state_dict() for name, one in optimisers.items()},
            "step": int(step),
            "config": dict(config),
            "random": _random_state(),
        },
        buffer,
    )
    return buffer.getvalue()


def unpack_state(
    data: bytes, models: Mapping[str, nn.Module], optimisers: Mapping[str, Optimizer]
) -> State:
    """What `load_state` does with the bytes of a file; its arguments, and many types of errors."""
    state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    for kind, wanted in (("models", models), ("optimisers", optimisers)):
        if set(state[kind]) != set(wanted):
            raise ValueError(f"{kind} {sorted(state[kind])} instead of {sorted(wanted)}")
    for name, one in models.items():
        one.load_state_dict(state["models"][name])
    for name, one in optimisers.items():
        saved = state["optimisers"][name]
        for group, own in zip(saved["param_groups"], one.param_groups, strict=False):
            group["fused"] = own.get("fused")  # a matter of this device, not of the one that saved
        one.load_state_dict(saved)
        _lay_out(one)
    _set_random_state(state["random"])
    return State(state["step"], state["config"])


def _lay_out(optimiser: Optimizer) -> None:
    """Have what an optimiser remembers lie in memory as its parameters do: fused steps ask for it.

    The run that saved it may have had another layout, contiguous or channels-last.
    """
    for parameter, remembered in optimiser.state.items():
        for name, values in remembered.items():
            fits = torch.is_tensor(values) and values.shape == parameter.shape
            if fits and values.stride() != parameter.stride():
                remembered[name] = torch.empty_like(parameter).copy_(values).detach()


def _sidecar(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _verified(path: Path) -> bytes:
    """The bytes of a training state, if they are those that were written."""
    if not path.is_file():
        raise FileNotFoundError(f"no training state {path}: check the run's folder")
    if not _sidecar(path).is_file():
        raise CheckpointError(
            f"{path} has no checksum beside it: copy {_sidecar(path).name} along with it"
        )
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    promised = [line.split()[0] for line in _sidecar(path).read_text().splitlines() if line.strip()]
    if found not in promised:
        raise CheckpointError(
            f"{path} is damaged: its sha256 is {found}, expected {' or '.join(promised)}; "
            "resume from an earlier state, or start the run again"
        )
    return data


def _random_state() -> dict[str, Any]:
    """The state of every random generator, as tensors."""
    version, words, spare = random.getstate()
    # the legacy generator, because other libraries draw from it
    kind, keys, position, has_spare, cached = np.random.get_state()  # noqa: NPY002
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "mps": [torch.mps.get_rng_state()] if torch.backends.mps.is_available() else [],
        "python": [version, torch.tensor(words), spare],
        "numpy": [kind, torch.tensor(keys.astype("int64")), position, has_spare, cached],
    }


def _set_random_state(state: Mapping[str, Any]) -> None:
    torch.set_rng_state(state["torch"])
    if len(state["cuda"]) == torch.cuda.device_count():  # another machine has other generators
        torch.cuda.set_rng_state_all(state["cuda"])
    if state["mps"] and torch.backends.mps.is_available():
        torch.mps.set_rng_state(state["mps"][0])
    version, words, spare = state["python"]
    random.setstate((version, tuple(words.tolist()), spare))
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype("uint32"), *rest))  # noqa: NPY002
