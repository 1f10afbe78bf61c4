"""The ablation grid: four models at equal budget, and the full one without some of its losses.

Each run is one or two calls of `gfla.train.fit`, resumable like those, then judged on held-out
people and recorded as `results/runs/ablation-<name>-<seed>.json`; `gfla.ablation.ablation_table`
writes the tables. Full and Bi-Sample begin stage 2 with the same flow estimator, since stage 1
knows nothing of the renderer; the two without F have no stage 1.
"""

from __future__ import annotations

import argparse
import fnmatch
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from gfla import checkpoint, journal, ledger, model, storage, train
from gfla.ablation import ablation_table
from gfla.ablation.cells import CHANGES, FRESH, PROFILES, Job, Run, configure, grid, jobs
from gfla.ablation.ladder import MODELS
from gfla.config import Config, override, preset
from gfla.scores import judging

TABLES = ("after", "only", "never")  # when they are written
SHAPE = ("attention", "mask_start", "base", "cap")  # in which the models differ
__all__ = [
    "CHANGES", "FRESH", "PROFILES", "TABLES", "Job", "Run", "compare", "configure", "grid", "jobs",
    "perform", "prepare", "record", "ship",
]  # fmt: skip


def prepare(run: Run, out: str | Path, device: str = "auto", progress: bool = True) -> train.Fitted:
    """Train the stage 1 that a cell of the grid begins with, or go on with it.

    Args:
        run: see `grid`; one whose `begins` names a stage 1.
        out: folder of all runs.
        device: "auto" or a name.
        progress: show progress bars.

    Returns:
        The first stage's `gfla.train.Fitted`; `finished` is False after Ctrl-C.
    """
    folder = Path(out) / f"{run.begins}-{run.seed}"
    options = {"seed": run.seed, "device": device, "progress": progress}
    return train.fit(_plain(run.config), "flow", folder, **options)


def perform(run: Run, out: str | Path, device: str = "auto", progress: bool = True) -> train.Fitted:
    """Train one cell of the grid, or go on with it; what is finished is only read.

    Args:
        run: see `grid`.
        out: folder of all runs; this one has out/<name>-<seed>, its stage 1 out/flow…-<seed>.
        device: "auto" or a name.
        progress: show progress bars.

    Returns:
        The second stage's `gfla.train.Fitted`; `finished` is False after Ctrl-C.
    """
    out, init, part = Path(out), None, "flow"
    options = {"seed": run.seed, "device": device, "progress": progress}
    if run.begins:
        init = out / f"{run.begins}-{run.seed}"
        if run.begins in MODELS:
            before = run._replace(name=run.begins, variant="", begins="flow")
            first = perform(before, out, device, progress)
            part, options["seed"] = "model", run.seed + FRESH
        else:
            first = prepare(run, out, device, progress)
        if not first.finished:
            return first
    folder = out / f"{run.name}-{run.seed}"
    return train.fit(run.config, "full", folder, init=init, part=part, **options)


def _plain(config: Config) -> Config:
    """The configuration of a stage 1, which every model with a flow shares: the full one's."""
    plain = preset(config.preset)
    fields = {f"model.{name}": getattr(plain.model, name) for name in SHAPE}
    shares = ("flow_lr_ratio", "kernel_lr_ratio")  # of stage 2
    return override(
        config, fields | {f"optim.{name}": getattr(plain.optim, name) for name in shares}
    )


def record(run: Run, out: str | Path, pairs: int, to: str | Path | None = None) -> Path:
    """Judge a finished run on held-out people, and keep what was found for good.

    Args:
        run: see `grid`.
        out: folder of all runs.
        pairs: held-out pairs.
        to: folder of the records, `results/runs` by default.

    Returns:
        The record's file.
    """
    folder = Path(out) / f"{run.name}-{run.seed}"
    trained = checkpoint.load_model(folder / journal.MODEL)
    found = judging.judge(trained, pairs)
    history = journal.read(folder)
    seconds = history[-1]["seconds"]
    goes_on = run.begins in MODELS
    earlier = journal.read(Path(out) / f"{run.begins}-{run.seed}")[-1]["step"] if goes_on else 0
    flow = "flow" if goes_on else run.begins
    first = Path(out) / f"{flow}-{run.seed}" if flow else None
    return ledger.write_run(
        f"ablation-{run.name}-{run.seed}",
        found.results,
        run.config,
        seed=run.seed,
        device=storage.read_json(folder / journal.CONFIG)["device"],  # it was trained on
        folder=to,
        model=run.model,
        variant=run.variant,
        steps=earlier + history[-1]["step"],
        flow_steps=journal.read(first)[-1]["step"] if first else 0,
        parameters=model.parameters(trained),
        seconds=round(seconds),
        flow_seconds=round(journal.read(first)[-1]["seconds"]) if first else 0,
        measured_pairs=pairs,
        pairs={name: [_short(x) for x in values] for name, values in found.pairs.items()},
        history=[{k: _short(v) for k, v in row.items()} for row in history],
        notes=list(found.notes),
    )


def _short(value: Any) -> Any:
    return float(f"{value:.5g}") if isinstance(value, float) else value


def compare(
    profile: str = "smoke", out: str | Path = "results/ablation", device: str = "auto"
) -> Iterator[tuple[Run, judging.Judgement]]:
    """Train and judge every run of a profile, one after the other; nothing is recorded.

    Args:
        profile: of `PROFILES`.
        out: folder of all runs.
        device: "auto" or a name.

    Returns:
        each run with its judgement, as soon as it is there.
    """
    for run in grid(profile):
        fitted = perform(run, out, device, progress=False)
        yield run, judging.judge(fitted.model.cpu(), PROFILES[profile].pairs)


def ship(out: str | Path, seed: int) -> list[Path]:
    """Copy the ladder's four models of one seed to the shipped weights, in half precision.

    Args:
        out: folder of all runs.
        seed: which.

    Returns:
        data/weights/ablation-<model>.safetensors, readable by ``gfla.load("ablation-<model>")``.
    """
    goals = []
    for name, title in MODELS.items():
        folder = Path(out) / f"{name}-{seed}"
        facts = storage.read_json(folder / journal.CONFIG)
        goal = storage.weights_dir() / f"ablation-{name}.safetensors"
        trained = checkpoint.load_model(folder / journal.MODEL)
        checkpoint.save_model(goal, trained, torch.float16, digest=facts["digest"], seed=seed)
        storage.add_to_manifest(goal, f"{title} of the ablation, seed {seed}; MIT")
        goals.append(goal)
    return goals


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m gfla ablate`."""
    add = parser.add_argument
    add("--profile", default="cpu", metavar="|".join(PROFILES), help="how much (default: cpu)")
    add("--out", default="results/ablation-runs", help="folder of the runs")
    add("--seeds", type=int, nargs="+", default=[], help="instead of the profile's own")
    add("--only", nargs="+", default=["*"], metavar="NAME", help="such as full-1 or 'baseline-*'")
    add("--device", default="auto", help="auto (CUDA, then MPS, then CPU) or a name")
    add("--list", action="store_true", help="print the runs and their parameters, train nothing")
    keep = "keep finished runs there (default: results/runs), write tables beside it"
    add("--record", nargs="?", const=_records(), metavar="FOLDER", help=keep)
    when = "after the recorded runs (default); only: train nothing; never: a later call does"
    add("--tables", choices=TABLES, default="after", help=when)
    add("--ship", type=int, metavar="SEED", help="ship this seed's four models in data/weights")
    add("--quiet", action="store_true", help="no progress bars")


def main(args: argparse.Namespace) -> int:
    """Run `python -m gfla ablate`; returns the exit status, 130 after an interruption.

    `--only flow-1` trains the stage 1 that several cells share, and judges nothing: so they can be
    trained at the same time afterwards.
    """
    if args.tables == "only":
        return _write_tables(args.record or _records())
    chosen = [
        job
        for job in jobs(args.profile, args.seeds)
        if any(fnmatch.fnmatch(job.name, wanted) for wanted in args.only)
    ]
    if not chosen:
        raise ValueError(f"--only {' '.join(args.only)}: no such run; --list shows them")
    print(_listing(chosen))
    if args.list:
        return 0
    for job in chosen:
        if not _finish(job, args):
            return 130
    if args.record and args.tables == "after":
        _write_tables(args.record)
    if args.ship is not None:
        for path in ship(args.out, args.ship):
            print(f"shipped: {path}")
    return 0


def _finish(job: Job, args: argparse.Namespace) -> bool:
    """Train a job to its end, then judge it if it is a cell; False after an interruption."""
    work = prepare if job.stage == "flow" else perform
    fitted = work(job.run, args.out, args.device, progress=not args.quiet)
    if not fitted.finished or job.stage == "flow":
        return fitted.finished
    pairs = PROFILES[args.profile].pairs
    if args.record:
        print(f"recorded: {record(job.run, args.out, pairs, args.record)}")
    else:
        found = judging.judge(fitted.model.cpu(), pairs).results
        print(f"{job.name}: " + ", ".join(f"{k} {v:.4g}" for k, v in found.items()))
    return True


def _records() -> Path:
    return storage.root() / "results" / "runs"


def _write_tables(records: str | Path) -> int:
    """Write both tables beside the folder of the records; returns the exit status."""
    for path in ablation_table.write(records, Path(records).resolve().parent):
        print(f"written: {path}")
    return 0


def _listing(chosen: Sequence[Job]) -> str:
    """Jobs as a table: steps of both stages, width of the renderer, parameters."""
    rows = [["run", "begins with", "stage 1", "stage 2", "base", "parameters", "of full"]]
    for job in chosen:
        config = job.run.config
        if job.stage == "flow":
            rows.append([job.name, "–", str(config.flow.steps), "–", "–", "–", "–"])
            continue
        with torch.device("meta"):
            count = model.parameters(model.GFLA(**config.generator()))
            whole = config.generator() | {"attention": "full"}
            whole |= {key: getattr(preset(config.preset).model, key) for key in ("base", "cap")}
            share = count / model.parameters(model.GFLA(**whole))
        steps = [config.flow.steps if job.run.begins else 0, config.full.steps]
        rows.append([job.name, job.run.begins or "–", *map(str, steps),
                     str(config.model.base), f"{count:,}", f"{share:.0%}"])  # fmt: skip
    return ledger.table(rows)
