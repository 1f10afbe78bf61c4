"""Training: `fit`, one loop whose two calls are the paper's two stages.

Stage "flow" trains F alone, by sampling correctness and affine regularisation; stage "full" trains
F and G together with all six losses, against D. What happens in one iteration is in `step.py`.
"""

from __future__ import annotations

import argparse
import copy
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.optim import Adam
from tqdm.auto import tqdm

from gfla import checkpoint, journal, storage, streams
from gfla import model as models
from gfla.config import STAGES, Config, OptimConfig, override, pick_device, preset
from gfla.discriminator import Discriminator, TemporalDiscriminator
from gfla.features import load_features
from gfla.measure import measure
from gfla.step import Training, TrainingError, follow, iterate, step_d, step_g

CLASSES = {  # kind of model: its class
    "people": "GFLA", "views": "Views", "appearance": "AppearanceFlow", "animation": "Animation"
}  # fmt: skip
PARTS = ("flow", "model", "people")  # of an earlier run that a new one can begin with
__all__ = [
    "Fitted", "Training", "TrainingError", "begin", "fit", "iterate", "step_d", "step_g",
    "take_over",
]  # fmt: skip


class Fitted(NamedTuple):
    """What `fit` returns."""

    model: nn.Module  # eval mode; the averaged weights where the configuration averages
    step: int  # optimiser steps taken in all
    finished: bool  # False after an interruption or `until`
    folder: Path  # state.pt, log.jsonl, config.json, samples/, and model.safetensors when finished


def fit(
    config: Config,
    stage: str,
    out: str | Path,
    seed: int = 0,
    steps: int | None = None,
    resume: bool = True,
    init: str | Path | None = None,
    part: str = "flow",
    device: str = "auto",
    encoder: nn.Module | None = None,
    until: int | None = None,
    progress: bool = True,
) -> Fitted:
    """Train one stage, or go on with it.

    Args:
        config: every number of the run.
        stage: "flow" (F alone) or "full" (F and G against D).
        out: folder of the run: config.json, log.jsonl, state.pt, samples/, model.safetensors.
        seed: of the initial weights and of the order of the data.
        steps: length of the stage instead of the configuration's.
        resume: go on from out/state.pt when it is there; False begins anew and replaces it.
        init: an earlier run whose weights are taken over at step 0: its folder, its
            model.safetensors.
        part: of that run, "flow" (of a stage 1) or "model" (all of a stage 2; D begins anew).
        device: "auto" (CUDA, then MPS, then CPU) or a name.
        encoder: frozen feature network, instead of the configuration's.
        until: stop, saved, after this many steps in all. Unlike `steps` it leaves the schedule of
            the learning rate alone.
        progress: show a progress bar.

    Returns:
        `Fitted`. After Ctrl-C the state is saved and `finished` is False.

    Raises:
        TrainingError: a loss or gradient that is not finite, or a flow that has left the picture;
            state.pt keeps the last good state.
        ValueError: unknown stage, or a folder that holds another run.
        CheckpointError: a damaged checkpoint, or flow weights that do not fit.
    """
    if steps is not None:
        config.stage(stage)  # refuses an unknown stage
        config = override(config, {f"{stage}.steps": steps})
    out, place = Path(out), pick_device(device)
    training = begin(config, stage, seed, place, encoder)
    if resume and (out / journal.STATE).exists():
        _resume(training, out)
    elif init is not None:
        take_over(training.model, init, part)
        follow(training, 0.0)
    facts = journal.describe(config, stage, seed, place)
    storage.write_json(out / journal.CONFIG, facts)
    journal.rewind(out / journal.LOG, training.step)
    total = config.stage(stage).steps
    _loop(training, out, min(total, total if until is None else until), place, progress)
    finished = training.step >= total
    return Fitted(training.best.eval(), training.step, finished, out)


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


def begin(
    config: Config,
    stage: str,
    seed: int = 0,
    device: torch.device | str = "cpu",
    encoder: nn.Module | None = None,
) -> Training:
    """A run at step 0, ready for `iterate`.

    Args:
        config: every number of the run.
        stage: "flow" or "full".
        seed: of the initial weights; sets torch's generator.
        device: where the networks are wanted.
        encoder: frozen feature network, instead of the configuration's.

    Returns:
        a `Training`, which `iterate(training, batch)` changes in place.

    Raises:
        ValueError: an unknown stage.
    """
    settings, betas = config.stage(stage), config.optim.betas
    torch.manual_seed(seed)
    model = models.KINDS[CLASSES[config.model.kind]](**config.generator()).to(device)
    encoder = load_features(config.features.name) if encoder is None else encoder
    groups = [{"params": list(model.flow.parameters())}]
    if stage == "full":
        groups = _shares(model, config.optim)
    training = Training(
        config=config,
        stage=stage,
        seed=seed,
        model=model,
        encoder=encoder.to(device).requires_grad_(False).eval(),
        optimizer=Adam(groups, settings.lr, betas=betas),
    )
    if "adversarial" in settings.weights():
        training.discriminator = Discriminator(**config.discriminator()).to(device)
        training.d_optimizer = Adam(training.discriminator.parameters(), settings.lr, betas=betas)
    if "temporal" in settings.weights():
        volume = config.model.d_video == "volume"
        judge = TemporalDiscriminator if volume else partial(Discriminator, channels=6)
        training.temporal = judge(**config.discriminator()).to(device)
        training.t_optimizer = Adam(training.temporal.parameters(), settings.lr, betas=betas)
    if config.optim.ema:
        training.average = copy.deepcopy(model).requires_grad_(False)
    return training


def _shares(model: nn.Module, optim: OptimConfig) -> list[dict[str, Any]]:
    """The parameters of stage 2 in groups, each with its share of the learning rate."""
    named = [row for row in model.named_parameters() if not row[0].startswith("flow.")]
    kernels = [one for name, one in named if "kernel_net" in name]
    others = [one for name, one in named if "kernel_net" not in name]
    groups = [{"params": list(model.flow.parameters()), "share": optim.flow_lr_ratio}]
    if not named:  # appearance flow: the picture hangs on the flow alone, which learns at full rate
        return [{"params": groups[0]["params"]}]
    if optim.kernel_lr_ratio == 1.0:
        return [*groups, {"params": [one for _, one in named]}]
    return [*groups, {"params": others}, {"params": kernels, "share": optim.kernel_lr_ratio}]


def _loop(training: Training, out: Path, last: int, device: torch.device, progress: bool) -> None:
    """Iterate up to step `last`, writing on the way."""
    data, started = training.config.data, time.perf_counter() - training.seconds
    make = streams.batches(data, training.seed, device, training.config.model.kind)
    if training.step == 0:
        _save(training, out)  # there is always a good state to go back to
    with (
        _interruptible() as interrupt,
        tqdm(total=last, initial=training.step, desc=training.stage, disable=not progress) as bar,
        closing(streams.ahead(make, training.step, last, data.prefetch)) as stream,
    ):
        for batch in stream:
            number = training.step + 1
            try:
                row = {"step": number} | iterate(training, batch)
                _guard(training, row["outside"], number == last)
                training.seconds = time.perf_counter() - started
                ends = number == last or interrupt.is_set()
                _write(training, row, make, out, bar, ends)
            except TrainingError as error:
                kept = out / journal.STATE
                raise TrainingError(f"step {number}: {error}; last good state: {kept}") from None
            if ends:
                break
    if training.step < last:
        print(f"stopped after step {training.step}; the same call again goes on from there")


def _write(
    training: Training,
    row: dict[str, Any],
    make: Callable[[int], streams.Batch],
    out: Path,
    bar: tqdm,
    ends: bool,
) -> None:
    """Whatever is due after a step: measurement, log line, sample strip, checkpoint."""
    log, step = training.config.log, training.step

    def due(every: int) -> bool:
        return every > 0 and (ends or step % every == 0)

    if due(log.measure_every):
        device = next(training.model.parameters()).device
        row |= measure(training.best, training.stage, log.measure_pairs, device, training.config)
        found = {k.removeprefix("measured_"): v for k, v in row.items() if k.endswith("_ratio")}
        bar.set_postfix({k: f"{v:.3f}" for k, v in found.items()}, refresh=False)
    if due(log.log_every) or due(log.measure_every) or step == 1:
        journal.append(out / journal.LOG, row | {"seconds": round(training.seconds, 3)})
    if due(log.sample_every):
        picture = out / "samples" / f"step-{step:07d}.png"
        journal.draw(training.best, training.stage, make(0), picture, training.config.model.kind)
    if due(log.checkpoint_every) and not training.outside_steps:
        _save(training, out)
    bar.set_description(f"{training.stage} loss {row['total']:.3f}", refresh=False)
    bar.update()


def _guard(training: Training, outside: float, ends: bool) -> None:
    """Watch for a flow that runs away: the loss saturates out there and cannot call it back."""
    optim = training.config.optim
    runaway = outside > optim.outside_limit
    training.outside_steps = training.outside_steps + 1 if runaway else 0
    what = f"{outside:.0%} of the flow points outside the picture"
    if training.outside_steps == 1:
        tqdm.write(f"warning, step {training.step}: {what}; no checkpoint is written meanwhile")
    if training.outside_steps > optim.outside_patience or (runaway and ends):
        raise TrainingError(
            f"{what}, more than {optim.outside_limit:.0%} for {training.outside_steps} steps: "
            "lower the learning rate, clip gradients (optim.clip) or warm up longer"
        )


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


def _save(training: Training, out: Path) -> None:
    """The state to go on from, and the model to look at."""
    for name, network in _parts(training)[0].items():
        if not all(torch.isfinite(weight).all() for weight in network.parameters()):
            raise TrainingError(f"weights of the {name} are not finite: lower the learning rate")
    facts = {
        "stage": training.stage,
        "seed": training.seed,
        "seconds": training.seconds,
        "config": training.config.to_dict(),
    }
    checkpoint.save_state(out / journal.STATE, *_parts(training), training.step, facts)
    checkpoint.save_model(
        out / journal.MODEL, training.best, stage=training.stage, seed=training.seed,
        step=training.step, digest=training.config.digest(), preset=training.config.preset,
    )  # fmt: skip


def _resume(training: Training, out: Path) -> None:
    """Go on from the state in `out`, if it is one of this very run."""
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


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Let the first Ctrl-C wait until the step is done and saved; the second one is Python's."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked  # only the main thread may listen
        return

    def listen(number: int, frame: Any) -> None:
        asked.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, listen)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m gfla train`."""
    add = parser.add_argument
    add("--preset", default="small", help="tiny, small, fashion or market (default: small)")
    add("--stage", default="flow", choices=STAGES, help="flow = stage 1, full = stage 2")
    add("--out", required=True, help="folder of the run")
    add("--steps", type=int, help="length of the stage instead of the preset's")
    add("--until", type=int, help="stop, saved, after this many steps in all")
    add("--seed", type=int, default=0, help="of weights and data order (default: 0)")
    add("--init", help="earlier run whose weights are taken over at step 0")
    add("--part", choices=PARTS, default="flow", help="which of them (default: flow)")
    add("--device", default="auto", help="auto (CUDA, then MPS, then CPU) or a name")
    add("--fresh", action="store_true", help="begin anew even if --out holds a state")
    add("--quiet", action="store_true", help="no progress bar")
    add(
        "--set",
        nargs="+",
        default=[],
        metavar="FIELD=VALUE",
        help="single fields of the configuration, such as batch=4 flow.lr=1e-3 size=128",
    )


def main(args: argparse.Namespace) -> int:
    """Run `python -m gfla train`; returns the exit status, 130 after an interruption."""
    wrong = [text for text in args.set if "=" not in text]
    if wrong:
        raise ValueError(f"--set {wrong[0]!r}: expected FIELD=VALUE, such as batch=4")
    config = preset(args.preset, **dict(text.split("=", 1) for text in args.set))
    print(json.dumps(config.to_dict(), indent=2))
    fitted = fit(
        config,
        args.stage,
        args.out,
        seed=args.seed,
        steps=args.steps,
        resume=not args.fresh,
        init=args.init,
        part=args.part,
        device=args.device,
        until=args.until,
        progress=not args.quiet,
    )
    print(f"{args.stage}: step {fitted.step}, finished: {fitted.finished}, in {fitted.folder}")
    stopped = not fitted.finished and (args.until is None or fitted.step < args.until)
    return 130 if stopped else 0
