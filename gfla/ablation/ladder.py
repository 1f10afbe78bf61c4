"""The recorded runs of the ladder of four models, and of Full trained with other losses.

Gathers `results/runs/ablation-<model>-<seed>.json`: what each run was judged by and how it came
about. `gfla.ablation.standings` compares them, `gfla.ablation.ablation_table` writes both down, and
notebook 04 shows them. No number is typed in but the paper's own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gfla import storage
from gfla.scores.judging import METRICS

if TYPE_CHECKING:
    import pandas

MODELS = {  # in the order of the paper's table
    "baseline": "Baseline",
    "global": "Global-Attn",
    "bilinear": "Bi-Sample",
    "full": "Full",
}
SEEDS = (1, 2, 3)  # at least these make a whole ladder
PAPER = {  # Table 2 of the paper, DeepFashion; docs/spec.md section 14
    "baseline": {"fid": 16.008, "lpips": 0.2473},
    "global": {"fid": 18.616, "lpips": 0.2575},
    "bilinear": {"fid": 12.143, "lpips": 0.2406},
    "full": {"fid": 10.573, "lpips": 0.2341},
}
VARIANTS = {  # trained otherwise in one respect, Full where no other model is named
    "without-correctness": "without sampling correctness",
    "without-affine": "without affine regularisation",
    "bilinear-loss": "bilinear sampling inside the loss",
    "without-pretraining": "without flow pre-training",
    "fast-kernels": "kernel nets that learn as fast as the renderer",
    "slow-kernels": "kernel nets that learn 50 times slower than the renderer",
    "free-flow": "flow and its losses as free as in the paper's stage 2",
    "longer": "twice the steps of stage 2",
    "bilinear-without-correctness": "Bi-Sample, without sampling correctness",
    "bilinear-free-flow": "Bi-Sample, flow and its losses as free as in the paper's stage 2",
    "bilinear-longer": "Bi-Sample, twice the steps of stage 2",
}
NOT_FULL = tuple(name for name in VARIANTS if VARIANTS[name].startswith("Bi-Sample"))
FIRST = "judge_distance_foreground"  # what the ladder is decided by
KEYS = ("run", "model", "variant", "seed", "flow_steps", "steps", "parameters", "flow_seconds",
        "seconds", "commit", "config", "date", "device")  # fmt: skip
_NAME = re.compile(r"ablation-(?P<kind>.+)-\d+")

Run = dict[str, Any]  # what gfla.ledger.write_run kept


def entries(runs_folder: str | Path | None = None) -> list[Run]:
    """Read every recorded run of the ladder and of the losses.

    Args:
        runs_folder: where the runs lie; `results/runs` by default.

    Returns:
        What `gfla.ledger.write_run` kept of each, with `variant` "" for the ladder's own; in the
        order of `MODELS`, then the variants in that of `VARIANTS`, each by seed.

    Raises:
        ValueError: a run of a model that the ladder does not have, or one that lacks something.
    """
    folder = Path(runs_folder) if runs_folder else storage.root() / "results" / "runs"
    found = []
    for path in sorted(folder.glob("ablation-*.json")):
        if not _NAME.fullmatch(path.stem):
            continue  # a record of something else
        run = storage.read_json(path)
        lacking = sorted(
            {"results", "pairs", *KEYS} - {"variant", "flow_steps", "flow_seconds"} - set(run)
        )
        if lacking or run["model"] not in MODELS:
            raise ValueError(
                f"{path.name} is of model {run.get('model')!r} and lacks {lacking or 'nothing'}: "
                f"expected one of {', '.join(MODELS)} and every key; record that run again"
            )
        variant = (run.get("variant") or "").removeprefix("full-")
        found.append(run | {"variant": "" if variant in MODELS else variant})
    return sorted(found, key=_place)


def rungs(runs: Sequence[Run]) -> list[Run]:
    """Those of the ladder itself, without the variants."""
    return [run for run in runs if not run["variant"]]


def frame(runs: Sequence[Run] | None = None) -> pandas.DataFrame:
    """The runs as a table, one row each.

    Args:
        runs: of `entries`; all that are recorded by default.

    Returns:
        Columns `KEYS`, then every metric in the order of `gfla.scores.judging.METRICS`, then what
        else a run found; NaN where a model cannot have it.
    """
    import pandas

    runs = entries() if runs is None else runs
    rows = [
        {key: run.get(key) for key in KEYS}
        | {name: _number(value) for name, value in run["results"].items()}
        for run in runs
    ]
    return pandas.DataFrame(rows, columns=[*KEYS, *_results(runs)])


def metrics(runs: Sequence[Run]) -> list[str]:
    """The metrics of `gfla.scores.judging.METRICS` that some run has, `FIRST` first."""
    return sorted((name for name in _results(runs) if name in METRICS), key=lambda m: m != FIRST)


def variants(runs: Sequence[Run]) -> list[str]:
    """The variants among runs, those of `VARIANTS` first."""
    found = {run["variant"] for run in runs} - {""}
    return [name for name in VARIANTS if name in found] + sorted(found - set(VARIANTS))


def missing(runs: Sequence[Run] | None = None) -> list[str]:
    """Name what a whole record needs and does not have.

    Args:
        runs: of `entries`; all that are recorded by default.

    Returns:
        Names of runs: every model with the same seeds, `SEEDS` at least; every variant once.
    """
    runs = entries() if runs is None else runs
    recorded = {(run["model"], run["seed"]) for run in rungs(runs)}
    seeds = sorted({seed for _, seed in recorded} | set(SEEDS))
    models = [f"ablation-{model}-{seed}" for model in MODELS for seed in seeds
              if (model, seed) not in recorded]  # fmt: skip
    others = [name for name in VARIANTS if name not in variants(runs)]
    named = [name if name in NOT_FULL else f"full-{name}" for name in others]
    return models + [f"ablation-{name}-{SEEDS[0]}" for name in named]


def uneven(runs: Sequence[Run] | None = None) -> dict[str, dict[str, list[str]]]:
    """What should be one for all runs of the ladder and is not.

    Args:
        runs: of `entries`; all that are recorded by default.

    Returns:
        words for the steps of either stage, the commit or the device -> its value as text -> the
        runs that have it; only those with more than one value.
    """
    runs = rungs(entries() if runs is None else runs)
    found: dict[str, dict[str, list[str]]] = {}
    facts = {"number of steps in stage 1": "flow_steps", "number of steps in stage 2": "steps",
             "commit": "commit", "device": "device"}  # fmt: skip
    for words, key in facts.items():
        values: dict[str, list[str]] = {}
        for run in runs:
            values.setdefault(str(run.get(key)), []).append(run["run"])
        if len(values) > 1:
            found[words] = values
    return found


def _place(run: Run) -> tuple:
    """Where a run stands among others."""
    names, variant = list(VARIANTS), run["variant"]
    place = names.index(variant) if variant in names else len(names)
    return bool(variant), list(MODELS).index(run["model"]), place, variant, run["seed"]


def _results(runs: Sequence[Run]) -> list[str]:
    """What the runs found, those of `METRICS` first and in its order."""
    found = {name for run in runs for name in run["results"]}
    return [name for name in METRICS if name in found] + sorted(found - set(METRICS))


def _number(value: Any) -> Any:
    """A result as a float where it is one; the ledger writes nan and inf as text."""
    try:
        return float(value)
    except ValueError:
        return value
