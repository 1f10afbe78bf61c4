"""Training: `step_d`, `step_g` and `fit`, one loop whose two calls are the paper's two stages.

    L = λ_c L_c + λ_r L_r + λ_ℓ1 L_ℓ1 + λ_a L_a + λ_p L_p + λ_s L_s

Stage "flow" trains F alone with the first two terms; stage "full" trains F and G together with all
six, against D. The order of one iteration is the published one: forward pass of the generator, a
step of D, then a step of the generator with D frozen (docs/spec.md, section 6).
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Adam
from tqdm.auto import tqdm

from gfla import checkpoint, journal, losses, storage, streams
from gfla.config import STAGES, Config, StageConfig, override, pick_device, preset
from gfla.discriminator import Discriminator
from gfla.features import load_features
from gfla.measure import measure
from gfla.model import GFLA, Output


class TrainingError(RuntimeError):
    """A training run that must not go on; the last good checkpoint is kept."""


class Fitted(NamedTuple):
    """What `fit` returns."""

    model: GFLA  # eval mode; the averaged weights where the configuration averages
    step: int  # optimiser steps taken in all
    finished: bool  # False after an interruption or `until`
    folder: Path  # state.pt, log.jsonl, config.json, samples/, and model.safetensors when finished


@dataclass
class Training:
    """Everything that changes while training; what `state.pt` holds."""

    config: Config
    stage: str  # "flow" or "full"
    seed: int
    model: GFLA
    encoder: nn.Module  # frozen
    optimizer: Adam
    average: GFLA | None = None
    discriminator: Discriminator | None = None
    d_optimizer: Adam | None = None
    step: int = 0  # steps taken
    seconds: float = 0.0  # wall time of all sessions
    outside_steps: int = 0  # steps in a row with too much flow outside the picture

    @property
    def settings(self) -> StageConfig:
        return self.config.stage(self.stage)

    @property
    def trained(self) -> nn.Module:
        """The network that this stage trains."""
        return self.model.flow if self.stage == "flow" else self.model

    @property
    def best(self) -> GFLA:
        """The model to look at: averaged where the configuration averages."""
        return self.average if self.average is not None else self.model


def learning_rate(stage: StageConfig, step: int) -> float:
    """Adam's step size, a pure function of the step.

        lr(t) = lr · min(1, (t + 1) / warmup) · (f + (1 − f)(1 + cos(π t / steps)) / 2)

    Args:
        stage: lr, schedule, final_lr (f; 1 when the schedule is constant), warmup, steps.
        step: t, 0 for the first step.

    Returns:
        a positive number.

    Example:
        >>> learning_rate(StageConfig(steps=10, lr=0.5), 7)
        0.5
        >>> learning_rate(StageConfig(steps=10, lr=0.5, schedule="cosine", final_lr=0.1), 10)
        0.05
    """
    rise = min(1.0, (step + 1) / stage.warmup) if stage.warmup else 1.0
    if stage.schedule == "constant":
        return stage.lr * rise
    fall = (1 + math.cos(math.pi * min(1.0, step / stage.steps))) / 2
    return stage.lr * rise * (stage.final_lr + (1 - stage.final_lr) * fall)


def outside_share(flows: Iterable[Tensor]) -> float:
    """How much of the flow points more than a pixel outside the picture.

    Further out the sampled features are constant, and no loss calls the flow back. Nearer, the
    border pixels of a flow that is right may well be.

    Args:
        flows: (B, 2, h, w) each, target → source in pixels of its level.

    Returns:
        the largest share over the levels, in [0, 1].

    Example:
        >>> outside_share([torch.zeros(1, 2, 4, 4), torch.full((1, 2, 4, 4), 2.5)])
        0.75
    """
    return max(_outside(flow.detach()) for flow in flows)


def step_d(discriminator: nn.Module, optimizer: Adam, real: Tensor, fake: Tensor, kind: str):
    """One step of the discriminator.

        L_D = ½ (L_a(D(x_t), real) + L_a(D(x̂_t), fake))

    Args:
        discriminator: D, which is left trainable.
        optimizer: that of D.
        real: (B, 3, H, W) target images in [-1, 1].
        fake: (B, 3, H, W) generated images; no gradient reaches the generator.
        kind: "lsgan" or "hinge".

    Returns:
        the scalar loss, detached.
    """
    discriminator.requires_grad_(True)
    optimizer.zero_grad()
    loss = losses.discriminator_loss(discriminator(real), discriminator(fake.detach()), kind)
    loss.backward()
    optimizer.step()
    return loss.detach()


def step_g(
    parameters: Iterable[nn.Parameter],
    optimizer: Adam,
    terms: dict[str, Tensor],
    weights: dict[str, float],
    clip: float = 0.0,
) -> dict[str, float]:
    """One step of the generator down the weighted sum of its losses.

    Args:
        parameters: those that are trained.
        optimizer: that of the generator.
        terms: scalar losses by name, with gradients.
        weights: λ by the same names.
        clip: largest norm of the gradient over all parameters, 0 = no clipping.

    Returns:
        plain numbers: every term, every term weighted, total, gradient_norm.

    Raises:
        TrainingError: a term or the gradient is not finite; no parameter was changed.
    """
    total, logged = losses.weighted_sum(terms, weights)
    _require_finite(logged)
    optimizer.zero_grad()
    total.backward()
    norm = nn.utils.clip_grad_norm_(parameters, clip if clip else math.inf)
    logged["gradient_norm"] = norm.item()
    _require_finite({"gradient_norm": logged["gradient_norm"]})
    optimizer.step()
    return logged


def iterate(training: Training, batch: streams.Batch) -> dict[str, float]:
    """One iteration: forward pass, step of D (stage "full"), step of the generator.

    Args:
        training: changed in place: networks, optimisers, step.
        batch: source, target, source_pose, target_pose. More keys are not looked at.

    Returns:
        plain numbers for the log.

    Raises:
        TrainingError: a loss or the gradient is not finite.
    """
    rate = learning_rate(training.settings, training.step)
    _set_rate(training.optimizer, rate)
    inputs = batch["source"], batch["source_pose"], batch["target_pose"]
    logged = {}
    if training.stage == "flow":
        flows, masks = training.model.flow(*inputs)
        output = Output(None, flows, masks, ())
    else:
        output = training.model(*inputs)
    if training.discriminator is not None:
        _set_rate(training.d_optimizer, rate * training.config.optim.d_lr_ratio)
        loss = step_d(
            training.discriminator,
            training.d_optimizer,
            batch["target"],
            output.image,
            training.config.optim.gan,
        )
        logged["discriminator"] = loss.item()
        _require_finite(logged)
    terms = generator_terms(training, batch, output)
    weights = training.settings.weights()
    parameters = list(training.trained.parameters())
    logged |= step_g(parameters, training.optimizer, terms, weights, training.config.optim.clip)
    training.step += 1
    t = training.step
    _average(training, min(training.config.optim.ema, t / (9 + t)))  # a young average forgets
    return logged | {"learning_rate": rate, "outside": outside_share(output.flows)}


def generator_terms(training: Training, batch: streams.Batch, output: Output) -> dict[str, Tensor]:
    """The unweighted losses of the generator whose weight in this stage is not zero.

    Source and target are encoded once; gradients run through the features of the generated image
    only. Each level's flow is judged by its own tap and regularised with its own patch side.
    """
    config, encoder, names = training.config, training.encoder, training.settings.weights()
    sides = dict(config.model.kernel_sizes)
    levels = sorted(sides, reverse=True)  # coarse → fine, as the flows are
    level_taps = [dict(config.features.correctness_taps)[level] for level in levels]
    image_taps = list(config.features.perceptual_taps) * ("perceptual" in names)
    image_taps += list(config.features.style_taps) * ("style" in names)
    with torch.no_grad():
        source_taps = encoder(batch["source"], level_taps)
        target_taps = encoder(batch["target"], list(dict.fromkeys(level_taps + image_taps)))
    terms = {}
    if "sampling_correctness" in names:
        terms["sampling_correctness"] = sum(
            losses.sampling_correctness(
                source_taps[tap], target_taps[tap], flow, sampling=config.optim.sampling
            )
            for tap, flow in zip(level_taps, output.flows, strict=True)
        )
    if "affine_regularization" in names:
        terms["affine_regularization"] = sum(
            losses.affine_regularization(flow, sides[level])
            for level, flow in zip(levels, output.flows, strict=True)
        )
    if "l1" in names:
        terms["l1"] = losses.l1(output.image, batch["target"])
    if "adversarial" in names:
        scores = training.discriminator.requires_grad_(False)(output.image)
        terms["adversarial"] = losses.adversarial(scores, True, config.optim.gan, side="generator")
    taps = encoder(output.image, list(dict.fromkeys(image_taps))) if image_taps else {}
    if "perceptual" in names:
        terms["perceptual"] = losses.perceptual(taps, target_taps, config.features.perceptual_taps)
    if "style" in names:
        terms["style"] = losses.style(taps, target_taps, config.features.style_taps)
    return terms


def fit(
    config: Config,
    stage: str,
    out: str | Path,
    seed: int = 0,
    steps: int | None = None,
    resume: bool = True,
    init: str | Path | None = None,
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
        init: a stage 1 whose flow weights are taken over at step 0: its folder, its
            model.safetensors or its state.pt.
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
    training = _begin(config, stage, seed, place, encoder)
    if resume and (out / journal.STATE).exists():
        _resume(training, out)
    elif init is not None:
        take_flow(training.model, init)
        _average(training, 0.0)
    facts = journal.describe(config, stage, seed, place)
    storage.write_json(out / journal.CONFIG, facts)
    journal.rewind(out / journal.LOG, training.step)
    total = config.stage(stage).steps
    _loop(training, out, min(total, total if until is None else until), place, progress)
    finished = training.step >= total
    return Fitted(training.best.eval(), training.step, finished, out)


def take_flow(model: GFLA, path: str | Path) -> None:
    """Take over the flow estimator of a stage 1.

    Args:
        model: changed in place.
        path: a model.safetensors, or the folder of the run that wrote it.

    Raises:
        FileNotFoundError: nothing is there.
        CheckpointError: a damaged file, or flow weights of other names or shapes.
    """
    path = Path(path)
    path = path / journal.MODEL if path.is_dir() else path
    try:
        model.flow.load_state_dict(checkpoint.load_model(path).flow.state_dict())
    except RuntimeError as error:
        if isinstance(error, storage.StorageError):
            raise
        raise storage.CheckpointError(
            f"the flow weights in {path} do not fit this model ({error}): use the model fields "
            "that stage 1 was trained with"
        ) from error


def _begin(
    config: Config, stage: str, seed: int, device: torch.device, encoder: nn.Module | None
) -> Training:
    """A run at step 0."""
    settings, betas = config.stage(stage), config.optim.betas
    torch.manual_seed(seed)
    model = GFLA(**config.generator()).to(device)
    encoder = load_features(config.features.name) if encoder is None else encoder
    trained = model.flow if stage == "flow" else model
    training = Training(
        config=config,
        stage=stage,
        seed=seed,
        model=model,
        encoder=encoder.to(device).requires_grad_(False).eval(),
        optimizer=Adam(trained.parameters(), settings.lr, betas=betas),
    )
    if "adversarial" in settings.weights():
        training.discriminator = Discriminator(**config.discriminator()).to(device)
        training.d_optimizer = Adam(training.discriminator.parameters(), settings.lr, betas=betas)
    if config.optim.ema:
        training.average = copy.deepcopy(model).requires_grad_(False)
    return training


def _loop(training: Training, out: Path, last: int, device: torch.device, progress: bool) -> None:
    """Iterate up to step `last`, writing on the way."""
    data, started = training.config.data, time.perf_counter() - training.seconds
    make = streams.batches(data, training.seed, device)
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
        row |= measure(training.best, training.stage, log.measure_pairs, device)
        bar.set_postfix(flow_error=f"{row['measured_flow_ratio']:.3f}", refresh=False)
    if due(log.log_every) or due(log.measure_every) or step == 1:
        journal.append(out / journal.LOG, row | {"seconds": round(training.seconds, 3)})
    if due(log.sample_every):
        picture = out / "samples" / f"step-{step:07d}.png"
        journal.draw(training.best, training.stage, make(0), picture)
    if due(log.checkpoint_every) and not training.outside_steps:
        _save(training, out)
    bar.set_description(f"{training.stage} loss {row['total']:.3f}", refresh=False)
    bar.update()


@torch.no_grad()
def _average(training: Training, decay: float) -> None:
    """Draw the averaged weights towards the present ones: average += (1 − decay)(now − average)."""
    if training.average is not None:
        averaged, now = training.average.parameters(), training.model.parameters()
        torch._foreach_lerp_(list(averaged), list(now), 1 - decay)


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


def _require_finite(values: dict[str, float]) -> None:
    for name, value in values.items():
        if not math.isfinite(value):
            raise TrainingError(
                f"{name} is {value}: lower the learning rate, clip gradients "
                "(optim.clip) or look at the data"
            )


def _parts(training: Training) -> tuple[dict[str, nn.Module], dict[str, Adam]]:
    """Networks and optimisers by name, those that this run has."""
    networks = {
        "model": training.model,
        "average": training.average,
        "discriminator": training.discriminator,
    }
    optimizers = {"generator": training.optimizer, "discriminator": training.d_optimizer}
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


def _set_rate(optimizer: Adam, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def _outside(flow: Tensor) -> float:
    height, width = flow.shape[-2:]
    x = flow[:, 0] + torch.arange(width, device=flow.device)  # (B, h, w)
    y = flow[:, 1] + torch.arange(height, device=flow.device)[:, None]  # (B, h, w)
    beyond = (x < -1) | (x > width) | (y < -1) | (y > height)  # (B, h, w)
    return beyond.float().mean().item()


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
    add("--init", help="finished or running stage 1 whose flow weights are taken over")
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
        device=args.device,
        until=args.until,
        progress=not args.quiet,
    )
    print(f"{args.stage}: step {fitted.step}, finished: {fitted.finished}, in {fitted.folder}")
    stopped = not fitted.finished and (args.until is None or fitted.step < args.until)
    return 130 if stopped else 0
