"""The ablation grid: four models at equal budget, and the full one without some of its losses.

Each run is one or two calls of `gfla.train.fit`, resumable like those, then judged on held-out
people and recorded as `results/runs/ablation-<name>-<seed>.json`; `gfla.ablation_table` writes the
tables. Full and Bi-Sample begin stage 2 with the same flow estimator, since stage 1 knows nothing
of the renderer; the two without F have no stage 1.
"""

from __future__ import annotations

import argparse
import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from gfla import ablation_table, checkpoint, journal, judging, ledger, model, storage, train
from gfla.config import WITHOUT_FLOW, Config, override, preset
from gfla.ladder import MODELS, VARIANTS


class Profile(NamedTuple):
    """How much of the grid is run, and how long."""

    preset: str
    changes: dict[str, Any]
    seeds: tuple[int, ...]
    variants: bool  # the losses as well
    pairs: int  # held-out pairs that judge a run


class Run(NamedTuple):
    """One cell of the grid."""

    name: str  # "full", or "full-without-affine": its folder and its record, before the seed
    model: str  # of MODELS
    variant: str  # of VARIANTS, "" for the ladder's own
    seed: int
    config: Config
    begins: str | None  # what it begins with, without the seed: a stage 1, a model that goes on


class Variant(NamedTuple):
    """What is otherwise than on the ladder."""

    model: str  # of MODELS
    changes: dict[str, Any]  # of both stages
    begins: str | None  # the stage 1, or the model of the ladder, that it begins with


_MINUTES = {"sample_every": 0, "log_every": 5, "checkpoint_every": 50, "measure_every": 0}
_HOURS = {"sample_every": 300, "checkpoint_every": 200, "measure_every": 150}
PROFILES = {
    "smoke": Profile("tiny", {"flow.steps": 2, "full.steps": 2}, (1,), False, 4),
    "cpu": Profile("small", {"flow.steps": 100, "full.steps": 60} | _MINUTES, (1,), False, 64),
    "recorded": Profile(
        "small", {"flow.steps": 1000, "full.steps": 600} | _HOURS, (1, 2, 3), True, 256
    ),
}
# Without a stage 1 there is no flow to protect in stage 2: F learns as fast as G.
ALONE = {"full.sampling_correctness": 0.0, "optim.flow_lr_ratio": 1.0}
FREE = {  # the paper's stage 2: nothing holds the flow back but smaller losses of its own
    "optim.flow_lr_ratio": 1.0,
    "full.sampling_correctness": 5.0,
    "full.affine_regularization": 0.0025,
}
NO_AFFINE = {"flow.affine_regularization": 0.0, "full.affine_regularization": 0.0}
CHANGES = {  # of ladder.VARIANTS
    "without-correctness": Variant("full", ALONE, None),
    "without-affine": Variant("full", NO_AFFINE, "flow-without-affine"),
    "bilinear-loss": Variant("full", {"optim.sampling": "bilinear"}, "flow-bilinear-loss"),
    "without-pretraining": Variant("full", {"optim.flow_lr_ratio": 1.0}, None),
    "fast-kernels": Variant("full", {"optim.kernel_lr_ratio": 1.0}, "flow"),
    "slow-kernels": Variant("full", {"optim.kernel_lr_ratio": 0.02}, "flow"),
    "free-flow": Variant("full", FREE, "flow"),
    "longer": Variant("full", {}, "full"),
    "bilinear-without-correctness": Variant("bilinear", ALONE, None),
    "bilinear-free-flow": Variant("bilinear", FREE, "flow"),
    "bilinear-longer": Variant("bilinear", {}, "bilinear"),
}
KERNELS = {"optim.kernel_lr_ratio": 0.1}  # see `configure`
FRESH = 10  # a model that goes on sees the people of this many seeds further
SHAPE = ("attention", "mask_start", "base", "cap")  # in which the models differ
NO_FLOW_LOSSES = {"full.sampling_correctness": 0.0, "full.affine_regularization": 0.0}


def configure(base: Config, name: str, changes: Mapping[str, Any] | None = None) -> Config:
    """The configuration of one model of the ladder: `base`, and what the idea demands.

    Args:
        base: of the full model.
        name: of `gfla.attention.WAYS`.
        changes: more fields, such as those of a `Variant`.

    Returns:
        A configuration with as many parameters as the full one (`gfla.model.even`), masks that
        begin where source and target weigh alike, and the losses that apply.

    Masks: local attention divides by n² (docs/spec.md 2.4), so its share of the sum is even at
    n² / (1 + n²); the other ways divide by nothing, and begin at 1/2.

    Kernel nets: the full model's learn ten times slower than its renderer, at the paper's rate,
    chosen after a first training at the renderer's; the variants "fast-kernels" and "slow-kernels"
    measure what a rate is worth.

    >>> configure(preset("small"), "baseline").full.weights()
    {'l1': 20.0, 'adversarial': 1.0, 'perceptual': 0.5, 'style': 250.0}
    """
    changes = dict(changes or {})
    if name == "full":
        return override(base, KERNELS | changes)
    even = model.even(base.generator() | {"attention": name})
    own = {"attention": name, "mask_start": 0.5, "base": even["base"], "cap": even["cap"]}
    return override(base, own | (NO_FLOW_LOSSES if name in WITHOUT_FLOW else {}) | changes)


def grid(profile: str = "recorded", seeds: Sequence[int] = ()) -> list[Run]:
    """The runs of a profile, one seed after the other, so that an early stop leaves whole seeds.

    Args:
        profile: of `PROFILES`.
        seeds: instead of the profile's own.

    Raises:
        ValueError: an unknown profile.

    >>> [f"{run.name}-{run.seed}" for run in grid("smoke")]
    ['baseline-1', 'global-1', 'bilinear-1', 'full-1']
    """
    if profile not in PROFILES:
        raise ValueError(f"unknown profile {profile!r}: choose one of {', '.join(PROFILES)}")
    chosen = PROFILES[profile]
    base = preset(chosen.preset, **chosen.changes)
    runs = []
    for seed in tuple(seeds) or chosen.seeds:
        for name in MODELS:
            begins = None if name in WITHOUT_FLOW else "flow"
            runs.append(Run(name, name, "", seed, configure(base, name), begins))
    for variant in VARIANTS if chosen.variants else ():
        kind, changes, begins = CHANGES[variant]
        name = variant if variant.startswith(f"{kind}-") else f"{kind}-{variant}"
        seed = (tuple(seeds) or chosen.seeds)[0]
        runs.append(Run(name, kind, variant, seed, configure(base, kind, changes), begins))
    return runs


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
            first = train.fit(_plain(run.config), "flow", init, **options)
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


def record(run: Run, out: str | Path, pairs: int) -> Path:
    """Judge a finished run on held-out people, and keep what was found for good.

    Args:
        run: see `grid`.
        out: folder of all runs.
        pairs: held-out pairs.

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
    add("--record", action="store_true", help="keep finished runs in results/runs, write tables")
    add("--ship", type=int, metavar="SEED", help="ship this seed's four models in data/weights")
    add("--quiet", action="store_true", help="no progress bars")


def main(args: argparse.Namespace) -> int:
    """Run `python -m gfla ablate`; returns the exit status, 130 after an interruption."""
    runs = [
        run
        for run in grid(args.profile, args.seeds)
        if any(fnmatch.fnmatch(f"{run.name}-{run.seed}", wanted) for wanted in args.only)
    ]
    if not runs:
        raise ValueError(f"--only {' '.join(args.only)}: no such run; --list shows them")
    print(_listing(runs))
    if args.list:
        return 0
    for run in runs:
        fitted = perform(run, args.out, args.device, progress=not args.quiet)
        if not fitted.finished:
            return 130
        if args.record:
            print(f"recorded: {record(run, args.out, PROFILES[args.profile].pairs)}")
        else:
            found = judging.judge(fitted.model.cpu(), PROFILES[args.profile].pairs).results
            print(f"{run.name}-{run.seed}: " + ", ".join(f"{k} {v:.4g}" for k, v in found.items()))
    if args.record:
        for path in ablation_table.write():
            print(f"written: {path}")
    if args.ship is not None:
        for path in ship(args.out, args.ship):
            print(f"shipped: {path}")
    return 0


def _listing(runs: Sequence[Run]) -> str:
    """The runs as a table: steps of both stages, width of the renderer, parameters."""
    rows = [["run", "begins with", "stage 1", "stage 2", "base", "parameters", "of full"]]
    for run in runs:
        with torch.device("meta"):
            count = model.parameters(model.GFLA(**run.config.generator()))
            whole = run.config.generator() | {"attention": "full"}
            whole |= {key: getattr(preset(run.config.preset).model, key) for key in ("base", "cap")}
            share = count / model.parameters(model.GFLA(**whole))
        steps = [run.config.flow.steps if run.begins else 0, run.config.full.steps]
        rows.append([f"{run.name}-{run.seed}", run.begins or "–", *map(str, steps),
                     str(run.config.model.base), f"{count:,}", f"{share:.0%}"])  # fmt: skip
    return ledger.table(rows)
