"""Training: `fit`, one loop whose two calls are the paper's two stages.

Stage "flow" trains F alone, by sampling correctness and affine regularisation; stage "full" trains
F and G together with all six losses, against D. What happens in one iteration is in `step.py`.
"""

from __future__ import annotations

import argparse
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn
from tqdm.auto import tqdm

from gfla import distributed, journal, resuming, storage, streams
from gfla.config import STAGES, Config, override, pick_device, preset
from gfla.measure import measure
from gfla.resuming import PARTS, take_over
from gfla.step import follow, iterate
from gfla.training import Training, TrainingError, begin, spread

__all__ = ["Fitted", "begin", "fit", "take_over"]


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

    In the processes that `torchrun` starts, they train together: a step's batch is shared among
    them, rank 0 alone reads and writes files, and after a restart they go on from its last state.

    Args:
        config: every number of the run.
        stage: "flow" (F alone) or "full" (F and G against D).
        out: folder of the run: config.json, log.jsonl, state.pt, samples/, model.safetensors.
        seed: of the initial weights and of the order of the data.
        steps: length of the stage instead of the configuration's.
        resume: go on from out/state.pt when it is there; False begins anew and replaces it, once
            for each `gfla.distributed.launch`: processes that `torchrun` starts again go on.
        init: an earlier run whose weights are taken over at step 0: its folder, its
            model.safetensors.
        part: of that run, "flow" (of a stage 1) or "model" (all of a stage 2; D begins anew).
        device: "auto" (CUDA, then MPS, then CPU) or a name; of several GPUs, one per process.
        encoder: frozen feature network, instead of the configuration's.
        until: stop, saved, after this many steps in all. Unlike `steps` it leaves the schedule of
            the learning rate alone.
        progress: show a progress bar.

    Returns:
        `Fitted`. After Ctrl-C or SIGTERM, in any of the processes, the state is saved and
        `finished` is False.

    Raises:
        TrainingError: a loss or gradient that is not finite, or a flow that has left the picture;
            state.pt keeps the last good state.
        ValueError: unknown stage, a folder that holds another run, or a batch that the processes,
            and the parts in each, cannot share evenly; resume=False under a torchrun without an id
            that may start its processes again.
        CheckpointError: a damaged checkpoint, or flow weights that do not fit.
    """
    if not resume:
        distributed.require_launch()
    if steps is not None:
        config.stage(stage)  # refuses an unknown stage
        config = override(config, {f"{stage}.steps": steps})
    out, place = Path(out), distributed.start(pick_device(device))
    training = begin(config, stage, seed, place, encoder)
    make = _source(training)  # refuses what cannot be shared before anything is written
    with distributed.first():
        if distributed.rank() == 0:
            _prepare(training, out, resume, init, part)
    resuming.share(training)
    total = config.stage(stage).steps
    _loop(training, make, out, min(total, total if until is None else until), progress)
    distributed.wait()  # what rank 0 has written is there for all
    finished = training.step >= total
    return Fitted(training.best.eval(), training.step, finished, out)


def _source(training: Training) -> Callable[[int], streams.Batch]:
    """The function step -> the rows of this process."""
    config, place = training.config, (distributed.rank(), distributed.world())
    kind, parts = config.model.kind, config.optim.accumulate
    return streams.batches(config.data, training.seed, training.device, kind, *place, parts)


def _prepare(
    training: Training, out: Path, resume: bool, init: str | Path | None, part: str
) -> None:
    """Find out where the run stands, and have its folder say what it is."""
    if resuming.here(out, resume):
        resuming.resume(training, out)
    elif init is not None:
        take_over(training.model, init, part)
        follow(training, 0.0)
    if training.step == 0:  # a start that dies before it has saved leaves no other run's state
        (out / journal.STATE).unlink(missing_ok=True)
    elif training.step >= training.settings.steps:
        return  # finished: whoever only reads it, perhaps many at once, writes nothing
    config, stage, seed = training.config, training.stage, training.seed
    facts = journal.describe(config, stage, seed, training.device)
    storage.write_json(out / journal.CONFIG, facts)
    journal.rewind(out / journal.LOG, training.step)
    if training.step == 0:
        resuming.save(training, out)  # there is always a good state to go back to


def _loop(
    training: Training,
    make: Callable[[int], streams.Batch],
    out: Path,
    last: int,
    progress: bool,
) -> None:
    """Iterate up to step `last`, writing on the way."""
    started, rank = time.perf_counter() - training.seconds, distributed.rank()
    if distributed.world() > 1:
        spread(training, make(0))
    quiet = rank > 0 or not progress
    with (
        _interruptible() as interrupt,
        tqdm(total=last, initial=training.step, desc=training.stage, disable=quiet) as bar,
        closing(streams.ahead(make, training.step, last, training.config.data.prefetch)) as stream,
    ):
        for batch in stream:
            number = training.step + 1
            try:
                row = {"step": number} | _iterated(training, batch)
                _guard(training, row["outside"], number == last)
                training.seconds = time.perf_counter() - started
                ends = number == last or distributed.anyone(interrupt.is_set())
                if rank == 0:
                    _write(training, row, make, out, bar, ends)
            except TrainingError as error:
                kept = out / journal.STATE
                raise TrainingError(f"step {number}: {error}; last good state: {kept}") from None
            if ends:
                break
    if training.step < last and rank == 0:
        print(f"stopped after step {training.step}; the same call again goes on from there")


def _iterated(training: Training, batch: streams.Batch) -> dict[str, float]:
    """`iterate`, with a word of advice where torch.compile finds out that it cannot."""
    try:
        return iterate(training, batch)
    except RuntimeError as error:
        if not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise
        what, how = " ".join(str(error).split())[:200], training.config.optim.compile
        raise TrainingError(
            f"torch.compile cannot do its work here ({what}): it needs a C++ compiler on a CPU and "
            f"Triton on CUDA; without them, set optim.compile=off instead of {how}"
        ) from error


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
        count, stage = log.measure_pairs, training.stage
        row |= measure(training.best, stage, count, training.device, training.config)
        found = {k.removeprefix("measured_"): v for k, v in row.items() if k.endswith("_ratio")}
        bar.set_postfix({k: f"{v:.3f}" for k, v in found.items()}, refresh=False)
    if due(log.log_every) or due(log.measure_every) or step == 1:
        journal.append(out / journal.LOG, row | {"seconds": round(training.seconds, 3)})
    if due(log.sample_every):
        picture = out / "samples" / f"step-{step:07d}.png"
        journal.draw(training.best, training.stage, make(0), picture, training.config.model.kind)
    if due(log.checkpoint_every) and not training.outside_steps:
        resuming.save(training, out)
    bar.set_description(f"{training.stage} loss {row['total']:.3f}", refresh=False)
    bar.update()


def _guard(training: Training, outside: float, ends: bool) -> None:
    """Watch for a flow that runs away: the loss saturates out there and cannot call it back."""
    optim = training.config.optim
    runaway = outside > optim.outside_limit
    training.outside_steps = training.outside_steps + 1 if runaway else 0
    what = f"{outside:.0%} of the flow points outside the picture"
    if training.outside_steps == 1 and distributed.rank() == 0:
        tqdm.write(f"warning, step {training.step}: {what}; no checkpoint is written meanwhile")
    if training.outside_steps > optim.outside_patience or (runaway and ends):
        raise TrainingError(
            f"{what}, more than {optim.outside_limit:.0%} for {training.outside_steps} steps: "
            "lower the learning rate, clip gradients (optim.clip) or warm up longer"
        )


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Let the first Ctrl-C or SIGTERM wait until the step is done and saved; a second one kills."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked  # only the main thread may listen
        return
    before: dict[int, Any] = {}

    def listen(number: int, frame: Any) -> None:
        asked.set()
        signal.signal(number, before[number])

    for number in (signal.SIGINT, signal.SIGTERM):  # a cluster that takes a machine back says TERM
        before[number] = signal.signal(number, listen)
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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
    """Run `python -m gfla train`; returns the exit status, 130 after an interruption.

    Under `torchrun` too: 0 would tell it, and whoever waits for it, that the run is finished. So
    with --max-restarts a signal to one of its processes costs a restart, which goes on from the
    saved state, and a machine that is taken away does not end the run on those that stay. To end
    it, signal `torchrun` itself, which starts nothing again then.
    """
    wrong = [text for text in args.set if "=" not in text]
    if wrong:
        raise ValueError(f"--set {wrong[0]!r}: expected FIELD=VALUE, such as batch=4")
    config = preset(args.preset, **dict(text.split("=", 1) for text in args.set))
    distributed.start(pick_device(args.device))
    if distributed.rank() == 0:
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
    if distributed.rank() == 0:
        print(f"{args.stage}: step {fitted.step}, finished: {fitted.finished}, in {fitted.folder}")
    distributed.stop()
    stopped = not fitted.finished and (args.until is None or fitted.step < args.until)
    return 130 if stopped else 0
