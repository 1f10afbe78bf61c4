"""The ladder in writing: `results/ablation.csv`, a row a run, and `results/ablation.md`.

Everything in them comes from the recorded runs and from the paper's table in
`gfla.ablation.ladder`; writing again after another run brings them up to date, and without one
changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gfla import ledger, storage
from gfla.ablation import standings
from gfla.ablation.ladder import (
    FIRST,
    MODELS,
    PAPER,
    VARIANTS,
    Run,
    entries,
    frame,
    metrics,
    missing,
    rungs,
    uneven,
    variants,
)
from gfla.ablation.standings import (
    best,
    differences,
    order,
    paper_order,
    summary,
    twin_differences,
    variant_differences,
)
from gfla.scores.comparison import LEVEL, range_coverage
from gfla.scores.judging import METRICS

if TYPE_CHECKING:
    import pandas

ARROWS = {"lower": " ↓", "higher": " ↑", "none": ""}
BESIDE = ("fid", "lpips", FIRST)  # what of ours stands beside the paper's two
LOSSES = (FIRST, "judge_distance", "augmented_distance_foreground", "l1_foreground", "score",
          "flow_ratio", "within_2px", "occlusion_iou")  # fmt: skip
DASH = "–"


def write(runs_folder: str | Path | None = None, out: str | Path | None = None) -> list[Path]:
    """Write both tables from the recorded runs.

    Args:
        runs_folder: where the runs lie; `results/runs` by default.
        out: the folder of the tables; `results` by default.

    Returns:
        ablation.csv and ablation.md.

    Raises:
        FileNotFoundError: no run is recorded.
        ValueError: a record that cannot be understood, or compared with the others.
    """
    runs = entries(runs_folder)
    if not runs:
        raise FileNotFoundError(
            f"no ablation-*.json in {runs_folder or storage.root() / 'results' / 'runs'}: record "
            "runs with `python -m gfla ablate --record` first"
        )
    out = Path(out) if out else storage.root() / "results"
    csv, text = comma_separated(runs), markdown(runs)
    return [
        storage.atomic_write(out / "ablation.csv", csv),
        storage.atomic_write(out / "ablation.md", text),
    ]


def comma_separated(runs: Sequence[Run]) -> str:
    """One row a run: `ladder.KEYS`, then every metric; empty where a model has none."""
    return frame(runs).to_csv(index=False, float_format="%.8g", lineterminator="\n")


def markdown(runs: Sequence[Run]) -> str:
    """The whole of ablation.md.

    Args:
        runs: of `gfla.ablation.ladder.entries`.
    """
    parts = ["# The ladder of four models\n", _head(runs)]
    if rungs(runs):
        parts += ["## Where they stand\n", ladder_table(runs), _ladder_legend(runs)]
        parts += ["## Paired differences\n", difference_tables(differences(runs)), _interval(runs)]
        parts += ["## Beside the paper\n", paper_table(runs), _orders(runs)]
    if variants(runs):
        parts += ["## Full, trained with other losses\n", variant_table(runs), _variant_legend()]
        found = variant_differences(runs)
        if len(found):
            parts += ["Minus Full from the same seed:\n", difference_tables(found, LOSSES)]
        found = twin_differences(runs)
        if len(found):
            parts += ["Full minus Bi-Sample, both otherwise:\n", difference_tables(found, LOSSES)]
    parts += ["## Runs\n", runs_table(runs), "## What the numbers mean\n", meaning_table(runs)]
    return "\n".join(parts)


def ladder_table(runs: Sequence[Run]) -> str:
    """Mean ± standard deviation over seeds: a row a metric, a column a model.

    The best is bold only where its interval against the runner-up is away from zero.
    """
    found = summary(runs)
    rows = [["metric", *MODELS.values()]]
    for metric in found.index:
        places = _places(found.loc[metric].xs("mean", level=1))
        first = best(metric, runs)
        row = [f"`{metric}`{ARROWS[METRICS[metric].direction]}"]
        for model in MODELS:
            text = _spread(found.loc[metric, (model, "mean")], found.loc[metric, (model, "sd")],
                           places)  # fmt: skip
            row.append(f"**{text}**" if model == first else text)
        rows.append(row)
    return ledger.table(rows)


def difference_tables(found: pandas.DataFrame, wanted: Sequence[str] = ()) -> str:
    """Differences with their intervals: of `FIRST` a table of its own, then one of the others.

    Args:
        found: of `gfla.ablation.standings.differences` or `variant_differences`.
        wanted: these metrics only; all by default.
    """
    names = [name for name in dict.fromkeys(found["metric"]) if not wanted or name in wanted]
    groups = [[name for name in names if name == FIRST], [name for name in names if name != FIRST]]
    heading = ["metric", "difference", "mean", f"{LEVEL:.0%} interval", "seed by seed", "agreeing",
               "pairs", "drawn", "better"]  # fmt: skip
    texts = []
    for group in filter(None, groups):
        chosen = found[found["metric"].isin(group)]
        rows = [_difference_row(row) for row in chosen.itertuples()]
        texts.append(ledger.table([heading, *rows]))
    return "\n".join(texts) if texts else "No two kinds of run have a seed in common yet.\n"


def paper_table(runs: Sequence[Run]) -> str:
    """The paper's FID and LPIPS with their orders, and what we have of `BESIDE` with its order."""
    ours = [metric for metric in BESIDE if metric in metrics(rungs(runs))]
    found = summary(runs)
    heading = ["model", "paper: FID ↓", "place", "paper: LPIPS ↓", "place"]
    heading += [text for metric in ours for text in (f"ours: `{metric}` ↓", "place")]
    rows = [heading]
    for model, title in MODELS.items():
        row = [title]
        for metric, form in (("fid", "{:.3f}"), ("lpips", "{:.4f}")):
            row.append(form.format(PAPER[model][metric]))
            row.append(_rank(model, paper_order(metric)))
        for metric in ours:
            places = _places(found.loc[metric].xs("mean", level=1))
            row.append(_spread(*(found.loc[metric, (model, w)] for w in ("mean", "sd")), places))
            row.append(_rank(model, order(metric, runs)))
        rows.append(row)
    return ledger.table(rows)


def variant_table(runs: Sequence[Run]) -> str:
    """Full, and Full trained otherwise in one respect, from the seeds of the variants."""
    seeds = {run["seed"] for run in runs if run["variant"]}
    chosen = [run for run in runs if run["variant"]
              or (run["model"] == "full" and run["seed"] in seeds)]  # fmt: skip
    shown = [metric for metric in LOSSES if metric in metrics(chosen)]
    rows = [["trained", "seed", *(f"`{m}`{ARROWS[METRICS[m].direction]}" for m in shown)]]
    for run in chosen:
        title = VARIANTS.get(run["variant"], run["variant"].replace("-", " ")) or "Full"
        values = [run["results"].get(metric) for metric in shown]
        values = [DASH if value is None else f"{float(value):.4g}" for value in values]
        rows.append([title, str(run["seed"]), *values])
    return ledger.table(rows)


def runs_table(runs: Sequence[Run]) -> str:
    """Where each number comes from: steps, time, commit, configuration, date, device."""
    rows = [["run", "steps of stage 1", "stage 2", "parameters", "minutes", "commit", "config",
             "date", "device"]]  # fmt: skip
    for run in runs:
        minutes = ((run.get("flow_seconds") or 0) + (run.get("seconds") or 0)) / 60
        rows.append([f"`{run['run']}`", _plain(run.get("flow_steps")), _plain(run.get("steps")),
                     _plain(run.get("parameters")), f"{minutes:.0f}", f"`{run['commit']}`",
                     f"`{run['config']}`", run["date"], run["device"]])  # fmt: skip
    return ledger.table(rows)


def meaning_table(runs: Sequence[Run]) -> str:
    """Definition, range and source of each metric in the tables."""
    rows = [["metric", "definition", "range", "source"]]
    for name in metrics(runs):
        metric = METRICS[name]
        rows.append([f"`{name}`{ARROWS[metric.direction]}", metric.definition, metric.range,
                     metric.source])  # fmt: skip
    return ledger.table(rows)


# ---------------------------------------------------------------- sentences


def _head(runs: Sequence[Run]) -> str:
    """What this is, how much of it is there, and what is not even."""
    of_ladder = rungs(runs)
    seeds = sorted({run["seed"] for run in of_ladder})
    lines = [
        "Made by `python -m gfla ablate --record` from `results/runs/ablation-*.json`; one row a "
        f"run in `ablation.csv`. {len(of_ladder)} runs of the ladder, seeds "
        f"{', '.join(map(str, seeds)) or 'none'}; {len(runs) - len(of_ladder)} with other losses.",
        "",
    ]
    if lacking := missing(runs):
        names = ", ".join(f"`{name}`" for name in lacking)
        lines += [f"**Incomplete.** Not recorded: {names}.", ""]
    for key, values in uneven(runs).items():
        parts = (f"{value} ({_members(of_ladder, names)})" for value, names in values.items())
        lines += [f"**Not one {key}** for all runs of the ladder: {'; '.join(parts)}.", ""]
    return "\n".join(lines)


def _members(runs: Sequence[Run], names: Sequence[str]) -> str:
    """Some runs in words: a model whose every run is among them by its name."""
    words = []
    for model, title in MODELS.items():
        own = [run["run"] for run in runs if run["model"] == model]
        among = [name for name in own if name in names]
        words += [title] if own and among == own else [f"`{name}`" for name in among]
    return ", ".join(words)


def _ladder_legend(runs: Sequence[Run]) -> str:
    counts = sorted({len(values) for run in rungs(runs) for values in run["pairs"].values()})
    return (
        f"Mean ± standard deviation over seeds, on {' or '.join(map(str, counts))} held-out pairs; "
        f"no ± where there is one seed, {DASH} where a model cannot have the metric. Bold: the "
        "best, if the interval of its difference from the runner-up is away from zero. `judge_…` "
        "and `augmented_…` rest on encoders that no loss uses; the first of them was trained on "
        "true correspondences of procedural people.\n"
    )


def _interval(runs: Sequence[Run]) -> str:
    """How to read the tables of differences, and what so few seeds cannot say."""
    count = len({run["seed"] for run in rungs(runs)})
    few = (
        f" Where seeds differ more than pairs it is no wider than the range over seeds, which with "
        f"{count} seeds covers the median in {range_coverage(count):.0%} of cases, not in "
        f"{LEVEL:.0%}; {count} seeds agree in sign in {2.0 ** (1 - count):.0%} of cases even if "
        "there is no difference."
        if count > 1
        else ""
    )
    return (
        "Differences are the first minus the second. Drawn “seeds and pairs”: percentiles of a "
        f"bootstrap over seeds and held-out pairs jointly, the same draws for both models.{few} "
        "“Pairs only”: one seed, nothing known of others. “Range”: a number of the whole set, "
        "lowest to highest over seeds. “Nothing”: such a number and one seed. Agreeing: seeds that "
        "have the sign of the mean. Better: named only where the interval is away from zero. Of "
        f"so many intervals some miss by chance: the ladder is decided by `{FIRST}`.\n"
    )


def _orders(runs: Sequence[Run]) -> str:
    """The paper's order and ours in words; which steps of ours are away from zero."""
    theirs = paper_order("fid")
    lines = [f"The paper, best first, by FID: {_chain(theirs)}; by LPIPS: "
             f"{_chain(paper_order('lpips'))}."]  # fmt: skip
    for metric in [m for m in BESIDE if m in metrics(rungs(runs))]:
        ours = order(metric, runs)
        same = [model for model in theirs if model in ours] == ours
        lines.append(f"Ours by `{metric}`: {_chain(ours)}: {'the' if same else 'not the'} paper's "
                     "order by FID.")  # fmt: skip
    found = differences(runs)
    for row in found[found["metric"] == FIRST].itertuples():
        if (row.a, row.b) in standings.COMPARED[:2]:
            told = "away from zero" if row.better else "not away from zero"
            better = MODELS.get(row.better, "neither")
            lines.append(f"{MODELS[row.a]} against {MODELS[row.b]}: {better} is better, the "
                         f"interval is {told}.")  # fmt: skip
    return "\n".join(lines) + (
        "\n\nThe paper's numbers are of photographs at 256×256 after a long training, ours of "
        "small procedural people after a short one: orders can be compared, values cannot.\n"
    )


def _variant_legend() -> str:
    return (
        f"A row a training; {DASH} where there is no value. With one seed each, what is said below "
        "is of these trainings and not of the loss.\n"
    )


# ---------------------------------------------------------------- words and numbers


def _difference_row(row) -> list[str]:
    places = _places([row.low, row.high, row.mean], digits=3)
    low, high = (f"{value:+.{places}f}" for value in (row.low, row.high))
    seeds = ", ".join(f"{value:+.{places}f}" for value in row.per_seed)
    return [f"`{row.metric}`{ARROWS[METRICS[row.metric].direction]}",
            f"{_title(row.a)} − {_title(row.b)}", f"{row.mean:+.{places}f}",
            DASH if math.isnan(row.low) else f"{low} … {high}", seeds,
            f"{row.agreeing} of {row.seeds}", str(row.pairs or DASH), row.resampled,
            _title(row.better) if row.better else ""]  # fmt: skip


def _title(kind: str) -> str:
    return MODELS.get(kind) or VARIANTS.get(kind) or kind.replace("-", " ")


def _places(values: Sequence[float], digits: int = 4) -> int:
    """Decimals that give the largest of some values so many digits; 0 … 6."""
    largest = max((abs(v) for v in values if math.isfinite(v) and v), default=1.0)
    return min(max(digits - 1 - math.floor(math.log10(largest)), 0), 6)


def _spread(mean: float, sd: float, places: int) -> str:
    if math.isnan(mean):
        return DASH
    return f"{mean:.{places}f}" + ("" if math.isnan(sd) else f" ± {sd:.{places}f}")


def _rank(model: str, ranked: Sequence[str]) -> str:
    return str(ranked.index(model) + 1) if model in ranked else DASH


def _chain(ranked: Sequence[str]) -> str:
    return ", ".join(MODELS[model] for model in ranked)


def _plain(value: int | None) -> str:
    return DASH if value is None else f"{value:,}"
