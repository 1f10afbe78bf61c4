"""Weights and training states on disk: ours, and those that the paper's authors published.

Nothing here executes what a file says: `torch.load` runs with weights_only=True, always.
"""

from __future__ import annotations

import hashlib
import io
import json
import random
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from gfla import storage
from gfla.discriminator import Discriminator
from gfla.flow import FlowEstimator
from gfla.model import GFLA, build, restore
from gfla.storage import CheckpointError

DISCRIMINATOR_DEPTH = {"fashion": 4, "market": 3}

# Our names → the published ones (docs/spec.md section 10); # is a level.  The authors number their
# blocks in order of use: encoder0 arrives at level 2 (so level − 2, `down`), the flow's decoder0 at
# level 4 (4 − level, `rise`), the renderer's decoder0 and attn0 start at level 3 (`step`).
_GENERATOR = (
    ("flow.encoder.1.", "flow_net.block0."),
    ("flow.encoder.#.", "flow_net.encoder{down}."),
    ("flow.decoder.#.", "flow_net.decoder{rise}."),
    ("flow.jump.#.model.2.", "flow_net.jump{rise}.conv1."),
    ("flow.head.#.flow.", "flow_net.output{rise}."),
    ("flow.head.#.mask.", "flow_net.mask{rise}.0."),
    ("renderer.source_encoder.1.", "source.block0."),
    ("renderer.source_encoder.#.", "source.encoder{down}."),
    ("renderer.target_encoder.1.", "target.block0."),
    ("renderer.target_encoder.#.", "target.encoder{down}."),
    ("renderer.attention.#.kernel_net.", "target.attn{step}.fully_connect_layer."),
    ("renderer.decoder.#.0.", "target.decoder{step}.0.model.0."),
    ("renderer.decoder.#.1.", "target.decoder{step}.1."),
    ("renderer.output.model.2.", "target.outconv.conv1."),
)
_DISCRIMINATOR = (
    ("encoder.1.", "block0."),
    ("encoder.#.", "encoder{down}."),
    ("score.1.", "conv."),
)


def published_name(name: str) -> str:
    """The name in the authors' files of one of our parameters.

    Args:
        name: from the state_dict of `gfla.model.GFLA` or `gfla.discriminator.Discriminator`.

    Returns:
        The published name.

    Raises:
        KeyError: no such name is known.

    >>> published_name("renderer.attention.2.kernel_net.0.weight")
    'target.attn1.fully_connect_layer.0.weight'
    >>> published_name("encoder.2.shortcut.1.weight")
    'encoder0.shortcut.1.weight_orig'
    """
    for ours, theirs in _GENERATOR + _DISCRIMINATOR:
        match = re.match(re.escape(ours).replace(r"\#", r"(\d)"), name)
        if match:
            level = int(match[1]) if match.lastindex else 0
            found = theirs.format(down=level - 2, rise=4 - level, step=3 - level)
            found += name[match.end() :]
            spectral = (ours, theirs) in _DISCRIMINATOR and found.endswith(".weight")
            return found + "_orig" if spectral else found
    raise KeyError(f"{name!r} has no published name: give a name from our own state_dict")


def import_published(path_or_state_dict: str | Path | Mapping, task: str = "fashion") -> GFLA:
    """The whole generator from a file that the paper's authors published.

    Args:
        path_or_state_dict: `…_net_G.pth`, or what is in it.
        task: "fashion" or "market".

    Returns:
        The model in eval mode, on the CPU.

    Raises:
        FileNotFoundError: there is no such file.
        gfla.storage.CheckpointError: the file cannot be read, or keys of docs/spec.md section 10
            are missing or of another shape; the message lists them.

    A `module.` prefix, extra keys and running statistics are ignored; of the tensors that the
    authors registered under two names, either name will do.
    """
    published = _read(path_or_state_dict)
    with torch.random.fork_rng(devices=[]):  # reading a file shall not move anybody's dice
        model = build("full", task)
    _fill(model, published)
    return model.eval()


def import_published_flow(
    path_or_state_dict: str | Path | Mapping, task: str = "fashion"
) -> FlowEstimator:
    """The flow estimator from `flow_net.*` alone, of a stage-1 file or of a whole generator's.

    Args:
        path_or_state_dict: `…_net_G.pth` of either stage, or what is in it.
        task: "fashion" or "market".

    Returns:
        The flow estimator in eval mode, on the CPU.

    Raises:
        FileNotFoundError, gfla.storage.CheckpointError: as `import_published`.
    """
    published = _read(path_or_state_dict)
    with torch.random.fork_rng(devices=[]):
        flow = build("full", task).flow
    _fill(flow, published, prefix="flow.")
    return flow.eval()


def import_published_discriminator(
    path_or_state_dict: str | Path | Mapping, task: str = "fashion", temporal: bool = False
) -> Discriminator:
    """The discriminator from a file that the paper's authors published.

    Args:
        path_or_state_dict: `…_net_D.pth`, or what is in it.
        task: "fashion" or "market".
        temporal: the discriminator of the video models; not there yet.

    Returns:
        The discriminator in eval mode, on the CPU.

    Raises:
        ValueError: another task.
        NotImplementedError: temporal.
        FileNotFoundError, gfla.storage.CheckpointError: as `import_published`.

    Where the file has no `weight_v`, as files of old PyTorch versions, it is v = Wᵀu / ‖Wᵀu‖.
    """
    if temporal:
        raise NotImplementedError(
            "temporal=True: the video discriminators are not in this version; "
            "the image discriminators of 'fashion' and 'market' are"
        )
    if task not in DISCRIMINATOR_DEPTH:
        raise ValueError(f"there is no task {task!r}: choose one of {sorted(DISCRIMINATOR_DEPTH)}")
    published = _read(path_or_state_dict)
    with torch.random.fork_rng(devices=[]):
        discriminator = Discriminator(depth=DISCRIMINATOR_DEPTH[task])
    for key in [key for key in published if key.endswith(".weight_orig")]:
        u = published.get(key.replace("_orig", "_u"))
        if key.replace("_orig", "_v") not in published and u is not None:
            v = published[key].flatten(1).mT @ u  # (in·k·k,)
            published[key.replace("_orig", "_v")] = F.normalize(v, dim=0, eps=1e-12)
    _fill(discriminator, published)
    return discriminator.eval()


def save_model(path: str | Path, model: GFLA, dtype: torch.dtype = torch.float32, **notes) -> str:
    """Write a model as safetensors that rebuild it: weights, and the arguments in the header.

    Args:
        path: the final name.
        model: the model; its class's `arguments` go along.
        dtype: of the stored numbers; torch.float16 halves the file.
        notes: anything JSON can hold, for the header (steps, seed, commit, …).

    Returns:
        The sha256 of the file.
    """
    tensors = {name: tensor.to(dtype) for name, tensor in model.state_dict().items()}
    header = notes | {"model": type(model).__name__, "arguments": model.arguments}
    return storage.save_safetensors(path, tensors, header)


def load_model(path: str | Path, sha256: str | None = None) -> GFLA:
    """The model that `save_model` wrote.

    Args:
        path: the file.
        sha256: the checksum it must have; by default the one in the manifest beside it, if any.

    Returns:
        The model in eval mode, on the CPU, in float32.

    Raises:
        FileNotFoundError: there is no such file.
        gfla.storage.CheckpointError: another checksum, a damaged file, or not a GFLA.
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
    data = buffer.getvalue()
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
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        for kind, wanted in (("models", models), ("optimisers", optimisers)):
            if set(state[kind]) != set(wanted):
                raise ValueError(f"{kind} {sorted(state[kind])} instead of {sorted(wanted)}")
            for name, one in wanted.items():
                one.load_state_dict(state[kind][name])
        _set_random_state(state["random"])
        return State(state["step"], state["config"])
    except Exception as error:  # the loader raises many types; ours is one
        raise CheckpointError(
            f"{path} does not fit this run ({error}): resume with the configuration it was saved "
            "with, or start a new run"
        ) from error


def _fill(network: nn.Module, published: dict[str, Tensor], prefix: str = "") -> None:
    """Copy published tensors into a network, or list every one that does not fit."""
    missing, wrong, found = [], [], {}
    for name, own in network.state_dict().items():
        key = published_name(prefix + name)
        alias = key.replace(".conv1.", ".model.2.")  # registered twice by the authors
        tensor = published.get(key, published.get(alias))
        if tensor is None:
            missing.append(key)
        elif tensor.shape != own.shape:
            wrong.append(f"{key} {tuple(tensor.shape)}, expected {tuple(own.shape)}")
        else:
            found[name] = tensor
    if missing or wrong:
        raise CheckpointError(
            f"the state_dict does not fit: {len(missing)} keys are missing {missing}, "
            f"{len(wrong)} have another shape {wrong}; check that the task is the file's own and "
            "that the download is whole"
        )
    network.load_state_dict(found)


def _read(path_or_state_dict: str | Path | Mapping) -> dict[str, Tensor]:
    """The tensors of a published file by their plain names."""
    content = path_or_state_dict
    if not isinstance(content, Mapping):
        path = Path(path_or_state_dict)
        if not path.is_file():
            raise FileNotFoundError(f"no file {path}: check the name, or download it first")
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # the loader raises many types; ours is one
            raise CheckpointError(
                f"{path} is not a readable PyTorch file of weights ({error}): download it again"
            ) from error
    if not isinstance(content, Mapping) or not any(isinstance(v, Tensor) for v in content.values()):
        raise CheckpointError(
            f"expected a state_dict of tensors by name, got {type(content).__name__} without one: "
            "give the authors' …_net_G.pth or …_net_D.pth"
        )
    tensors = {key: value for key, value in content.items() if isinstance(value, Tensor)}
    return {key.removeprefix("module."): value for key, value in tensors.items()}


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
