"""How a run goes on: from its own last state, or from the weights of an earlier one."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.optim import Adam

from gfla import checkpoint, distributed, journal, storage
from gfla.training import Training, TrainingError

PARTS = ("flow", "model", "people")  # of an earlier run that a new one can begin with


def take_over(model: nn.Module, path: str | Path, part: str = "flow") -> None:
    """Take over weights of an earlier run.

    Args:
        model: changed in place.
        path: a model.safetensors, the folder of the run that wrote it, or the name of a shipped
            model.
        part: "flow", the estimator that a stage 1 trained, "model", all of a stage 2, or "people":
            what another kind of model begins with, see the `adopt` of `gfla.animation.Animation`
            and of `gfla.views.Views`.

    Raises:
        FileNotFoundError: nothing is there.
        CheckpointError: a damaged file, or weights of other names or shapes.
        ValueError: another part.
    """
    if part not in PARTS:
        raise ValueError(f"part={part!r}: choose one of {', '.join(PARTS)}")
    path = Path(path)
    path = path / journal.MODEL if path.is_dir() else path
    shipped = storage.weights_dir() / f"{path.name}.safetensors"
    path = shipped if not path.exists() and str(path) == path.name and shipped.exists() else path
    earlier = checkpoint.load_model(path)
    if part == "people":
        model.adopt(earlier)
        return
    taken, given = (model.flow, earlier.flow) if part == "flow" else (model, earlier)
    try:
        taken.load_state_dict(given.state_dict())
    except RuntimeError as error:
        raise storage.CheckpointError(
            f"the {part} weights in {path} do not fit this model ({error}): use the model fields "
            "that the earlier run was trained with"
        ) from error


def _parts(training: Training) -> tuple[dict[str, nn.Module], dict[str, Adam]]:
    """Networks and optimisers by name, those that this run has."""
    networks = {
        "model": training.model,
        "average": training.average,
        "discriminator": training.discriminator,
        "temporal": training.temporal,
    }
    optimizers = {
        "generator": training.optimizer,
        "discriminator": training.d_optimizer,
        "temporal": training.t_optimizer,
    }
    return (
        {name: one for name, one in networks.items() if one is not None},
        {name: one for name, one in optimizers.items() if one is not None},
    )


def save(training: Training, out: Path) -> None:
    """Write the state to go on from, and the model to look at.

    Args:
        training: left as it is.
        out: folder of the run.

    Raises:
        TrainingError: a weight is not finite; nothing was written.
    """
    for name, network in _parts(training)[0].items():
        if not all(torch.isfinite(weight).all() for weight in network.parameters()):
            raise TrainingError(f"weights of the {name} are not finite: lower the learning rate")
    checkpoint.save_state(out / journal.STATE, *_parts(training), training.step, _facts(training))
    checkpoint.save_model(
        out / journal.MODEL, training.best, stage=training.stage, seed=training.seed,
        step=training.step, digest=training.config.digest(), preset=training.config.preset,
    )  # fmt: skip


def here(out: Path, wanted: bool) -> bool:
    """Whether there is a state to go on from.

    Args:
        out: folder of the run.
        wanted: False looks only for a run that this very call of `torchrun` began.
    """
    if not (out / journal.STATE).exists():
        return False
    launch = distributed.launch()
    begun = launch is not None and (out / journal.CONFIG).exists()
    return wanted or (begun and storage.read_json(out / journal.CONFIG).get("launch") == launch)


def resume(training: Training, out: Path) -> None:
    """Go on from the state in `out`, if it is one of this very run.

    Args:
        training: at step 0, changed in place.
        out: folder of the run.

    Raises:
        ValueError: the folder holds another run.
        CheckpointError: a damaged state.
    """
    facts = storage.read_json(out / journal.CONFIG)
    asked = {"stage": training.stage, "seed": training.seed}
    differ = [f"{k}: {facts[k]!r} then, {v!r} now" for k, v in asked.items() if facts[k] != v]
    differ += journal.changes(facts["config"], training.config.to_dict(), training.stage)
    if differ:
        raise ValueError(
            f"{out} holds another run ({'; '.join(differ)}): choose another folder, or begin anew "
            "with resume=False (--fresh)"
        )
    state = checkpoint.load_state(out / journal.STATE, *_parts(training))
    training.step, training.seconds = state.step, state.config["seconds"]


def share(training: Training) -> None:
    """Bring every process to where rank 0 stands: weights, optimisers, step, random generators.

    Only rank 0 has to see the files. A run that goes on in other processes than it began in, in
    more or in fewer, goes on from one state all the same.
    """
    if distributed.world() == 1:
        return
    parts, lead = _parts(training), distributed.rank() == 0
    packed = checkpoint.pack_state(*parts, training.step, _facts(training)) if lead else b""
    packed = distributed.shared(packed)
    if not lead:
        state = checkpoint.unpack_state(packed, *parts)
        training.step, training.seconds = state.step, state.config["seconds"]


def _facts(training: Training) -> dict:
    return {
        "stage": training.stage,
        "seed": training.seed,
        "seconds": training.seconds,
        "config": training.config.to_dict(),
    }
