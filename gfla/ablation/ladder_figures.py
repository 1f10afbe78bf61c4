"""The curves, points and bars of notebook 04, drawn from the recorded runs of the ladder.

The numbers are those of `gfla.ablation.ladder` and `gfla.ablation.standings`; what the models make
of the same pairs is drawn by `gfla.ablation.ladder_strips`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gfla import viz
from gfla.ablation.ladder import FIRST, MODELS, PAPER, VARIANTS, Run, entries, rungs, variants
from gfla.ablation.standings import differences, order, paper_order, seeds_of
from gfla.scores.comparison import LEVEL
from gfla.scores.judging import METRICS

COLORS = {  # Bi-Sample only moves source pixels: source blue; Full is what attention adds
    "baseline": viz.MUTED, "global": viz.TARGET, "bilinear": viz.SOURCE, "full": viz.ATTENTION,
}  # fmt: skip
_BETTER = {"lower": "lower is better", "higher": "higher is better", "none": "no direction"}


def standings(metric: str = FIRST, runs: Sequence[Run] | None = None) -> Figure:
    """Draw the four models by one metric, and the differences that decide the ladder.

    Args:
        metric: of `gfla.scores.judging.METRICS`.
        runs: of `gfla.ablation.ladder.entries`; all that are recorded by default.

    Returns:
        Figure: left a point a seed and a bar at the mean; right the paired differences, a point a
        seed and the interval, filled where it is away from zero.

    Raises:
        ValueError: no recorded run has the metric.
    """
    runs = rungs(entries() if runs is None else runs)
    values = _values(runs, metric)
    figure = Figure(figsize=(viz.WIDE, 2.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes in (left, right):
        axes.xaxis.set_major_locator(MaxNLocator(5))
    for row, (model, seeds) in enumerate(values.items()):
        spread = np.linspace(-0.12, 0.12, len(seeds)) if len(seeds) > 1 else [0.0]
        left.plot(seeds, row + np.asarray(spread), "o", ms=5, color=COLORS[model], alpha=0.75)
        mean = np.mean(seeds)
        left.plot([mean, mean], [row - 0.3, row + 0.3], color=COLORS[model], lw=2)
    _rows(left, [MODELS[model] for model in values])
    left.set_xlabel(f"{metric}\n({_BETTER[METRICS[metric].direction]})")
    left.margins(x=0.08)
    found = differences(runs)
    found = found[found["metric"] == metric]
    for row, one in enumerate(found.itertuples()):
        _interval(right, row, one.mean, one.low, one.high, one.per_seed, bool(one.better))
    _rows(right, [f"{MODELS[a]} − {MODELS[b]}" for a, b in zip(found["a"], found["b"])])
    right.axvline(0, color=viz.INK, lw=0.8, ls=":")
    paired = (found["pairs"] > 0).any()  # else a number of the whole set
    words = f"and pairs, {LEVEL:.0%} interval" if paired else "(the line is their range)"
    right.set_xlabel(f"difference of the same seeds\n{words}")
    return figure


def orders(metric: str = FIRST, runs: Sequence[Run] | None = None) -> Figure:
    """Draw the paper's order of the four models beside ours, best on top, with the values.

    Args:
        metric: of ours.
        runs: of `gfla.ablation.ladder.entries`; all that are recorded by default.

    Returns:
        Figure with three columns: the paper's FID and LPIPS (its Table 2), and `metric`.
    """
    runs = rungs(entries() if runs is None else runs)
    means = {model: np.mean(seeds) for model, seeds in _values(runs, metric).items()}
    columns = [
        ("paper: FID ↓", paper_order("fid"), {m: f"{PAPER[m]['fid']:.2f}" for m in PAPER}),
        ("paper: LPIPS ↓", paper_order("lpips"), {m: f"{PAPER[m]['lpips']:.4f}" for m in PAPER}),
        (f"ours: {metric} {'↑' if METRICS[metric].direction == 'higher' else '↓'}",
         order(metric, runs), {m: f"{value:.4g}" for m, value in means.items()}),
    ]  # fmt: skip
    figure = Figure(figsize=(viz.WIDE, 2.3), layout="constrained")
    axes = figure.subplots()
    for model, title in MODELS.items():
        places = [(x, ranked.index(model)) for x, (_, ranked, _) in enumerate(columns)
                  if model in ranked]  # fmt: skip
        axes.plot(*zip(*places, strict=True), "o-", ms=7, color=COLORS[model])
        for x, y in places:
            axes.annotate(columns[x][2][model], (x, y), (0, 7), textcoords="offset points",
                          ha="center", color=COLORS[model])  # fmt: skip
        axes.annotate(title, places[0], (-20, 0), textcoords="offset points", ha="right",
                      va="center", color=COLORS[model])  # fmt: skip
        if len(places) == len(columns):
            axes.annotate(title, places[-1], (20, 0), textcoords="offset points", ha="left",
                          va="center", color=COLORS[model])  # fmt: skip
    axes.set_xticks(range(len(columns)), [name for name, _, _ in columns])
    axes.set_yticks(range(len(MODELS)), ["best", *[""] * (len(MODELS) - 2), "worst"])
    axes.set(xlim=(-0.45, len(columns) - 0.55), ylim=(len(MODELS) - 0.6, -0.6))
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return figure


def training(keys: Mapping[str, str] | None = None, runs: Sequence[Run] | None = None) -> Figure:
    """Draw what the training logs of stage 2 say, a thin line a seed and a thick one their mean.

    Args:
        keys: column of the log -> what the axis is called; by default the two measured on
            held-out people.
        runs: of `gfla.ablation.ladder.entries`; all that are recorded by default.

    Returns:
        Figure, a panel for each key; models that never logged it are left out of its panel.

    Raises:
        ValueError: a key that no run logged.
    """
    keys = keys or {
        "measured_l1_ratio": "L1, true warp 0 … copy 1",
        "measured_flow_ratio": "flow error / that of zero flow",
    }
    runs = rungs(entries() if runs is None else runs)
    figure = Figure(figsize=(viz.WIDE, 2.7), layout="constrained")
    row = figure.subplots(1, len(keys), squeeze=False)[0]
    for axes, (key, words) in zip(row, keys.items(), strict=True):
        drawn = [model for model in MODELS if _curves(axes, runs, model, key)]
        if not drawn:
            raise ValueError(f"no run logged {key!r}: give columns of a log's history")
        axes.set(xlabel="step of stage 2", ylabel=words)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    handles = {}
    for axes in row:
        handles |= {line.get_label(): line for line in axes.lines if line.get_label()[0] != "_"}
    names = [title for title in MODELS.values() if title in handles]
    figure.legend([handles[name] for name in names], names, loc="outside upper center",
                  ncols=len(names))  # fmt: skip
    return figure


def losses(
    shown: Sequence[str] = (FIRST, "score", "flow_ratio"), runs: Sequence[Run] | None = None
) -> Figure:
    """Draw Full and Full trained with other losses, from the seeds of the variants.

    Args:
        shown: metrics, a panel each; those that no run has are left out.
        runs: of `gfla.ablation.ladder.entries`; all that are recorded by default.

    Returns:
        Figure: a bar a training kind, the mean where it has several seeds; the dotted line is
        Full.

    Raises:
        ValueError: no variant is recorded, or none of the metrics.
    """
    runs = entries() if runs is None else runs
    names = variants(runs)
    seeds = {run["seed"] for run in runs if run["variant"]}
    kinds = {"Full": [r for r in rungs(runs) if r["model"] == "full" and r["seed"] in seeds]}
    kinds |= {VARIANTS.get(name, name): [r for r in runs if r["variant"] == name] for name in names}
    found = {metric: {kind: _found(of, metric) for kind, of in kinds.items()} for metric in shown}
    found = {metric: values for metric, values in found.items() if any(values.values())}
    if not names or not found:
        raise ValueError(f"{len(names)} variants are recorded, with none of {list(shown)}: run "
                         "`python -m gfla ablate --profile recorded --record` first")  # fmt: skip
    figure = Figure(figsize=(viz.WIDE, 0.75 + 0.28 * len(kinds)), layout="constrained")
    row = figure.subplots(1, len(found), squeeze=False, sharey=True)[0]
    for axes, (metric, values) in zip(row, found.items(), strict=True):
        _bars(axes, values)
        axes.set_xlabel(f"{metric}\n({_BETTER[METRICS[metric].direction]})")
    _rows(row[0], list(kinds))
    return figure


# ---------------------------------------------------------------- inside


def _values(runs: Sequence[Run], metric: str) -> dict[str, list[float]]:
    """The seeds' values of the models that have the metric."""
    found = {model: seeds_of(runs, model, metric) for model in MODELS}
    found = {model: seeds for model, seeds in found.items() if seeds}
    if not found:
        raise ValueError(f"no recorded run has {metric!r}: record runs first, or take another")
    return found


def _found(runs: Sequence[Run], metric: str) -> list[float]:
    return [float(run["results"][metric]) for run in runs if metric in run["results"]]


def _rows(axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0)


def _interval(axes, row: int, mean, low, high, per_seed, apart: bool) -> None:
    """A difference: interval, mean (filled where the interval is away from zero), seeds."""
    if not np.isnan(low):
        axes.plot([low, high], [row, row], color=viz.INK, lw=1.4, solid_capstyle="butt")
    axes.plot(per_seed, np.full(len(per_seed), row + 0.24), "o", ms=3.5, color=viz.PALE)
    face = viz.INK if apart else "white"
    axes.plot(mean, row, "D", ms=5.5, color=viz.INK, markerfacecolor=face)


def _curves(axes, runs: Sequence[Run], model: str, key: str) -> bool:
    """The log of one model, if it has the key; the mean is over the steps that all seeds have."""
    logs = []
    for run in runs:
        rows = [row for row in run.get("history", []) if row.get(key) is not None]
        if run["model"] == model and rows:
            logs.append({row["step"]: float(row[key]) for row in rows})
    for log in logs:
        axes.plot(list(log), list(log.values()), color=COLORS[model], lw=0.7, alpha=0.5)
    if logs:
        steps = sorted(set.intersection(*map(set, logs)))
        mean = [np.mean([log[step] for log in logs]) for step in steps]
        axes.plot(steps, mean, color=COLORS[model], lw=2, label=MODELS[model])
    return bool(logs)


def _bars(axes, values: Mapping[str, Sequence[float]]) -> None:
    means = [np.mean(seeds) if len(seeds) else np.nan for seeds in values.values()]
    for row, mean in enumerate(means):
        if not np.isnan(mean):
            axes.barh(row, mean, 0.62, color=viz.ATTENTION if row == 0 else viz.LILAC)
            axes.annotate(f" {mean:#.3g}", (max(mean, 0), row), va="center")
    axes.axvline(means[0], color=viz.INK, lw=0.8, ls=":")
    axes.margins(x=0.24)
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(4))
