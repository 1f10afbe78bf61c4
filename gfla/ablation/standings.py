"""Who stands where on the ladder, and how sure that is: means over seeds, paired differences.

The statistics are those of `gfla.scores.comparison`, the runs those of `gfla.ablation.ladder`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from gfla.ablation.ladder import MODELS, NOT_FULL, PAPER, Run, entries, metrics, rungs, variants
from gfla.scores.comparison import Difference, paired_difference, set_difference
from gfla.scores.judging import METRICS

if TYPE_CHECKING:
    import pandas

COMPARED = (("full", "bilinear"), ("bilinear", "baseline"), ("full", "baseline"),
            ("global", "baseline"))  # fmt: skip
SIGN = {"lower": -1, "higher": 1, "none": 0}  # of a change for the better


def summary(runs: Sequence[Run] | None = None) -> pandas.DataFrame:
    """Mean and standard deviation over seeds of every metric of the four models.

    Args:
        runs: of `gfla.ablation.ladder.entries`; all that are recorded by default.

    Returns:
        A row a metric, columns (model, "mean" | "sd" | "seeds"), models in the order of `MODELS`;
        sd divides by seeds − 1 and is NaN for one seed, mean is NaN where a model cannot have it.
    """
    import pandas

    runs = rungs(entries() if runs is None else runs)
    rows = {}
    for metric in metrics(runs):
        values = {model: seeds_of(runs, model, metric) for model in MODELS}
        rows[metric] = {
            (model, what): number
            for model, found in values.items()
            for what, number in (
                ("mean", np.mean(found) if found else np.nan),
                ("sd", np.std(found, ddof=1) if len(found) > 1 else np.nan),
                ("seeds", len(found)),
            )
        }
    columns = pandas.MultiIndex.from_product([MODELS, ("mean", "sd", "seeds")])
    table = pandas.DataFrame.from_dict(rows, orient="index", dtype=float)
    return table.reindex(columns=columns).rename_axis("metric")


def seeds_of(runs: Sequence[Run], model: str, metric: str) -> list[float]:
    """The values of one model of the ladder, a seed each; empty where it cannot have the metric."""
    return [float(run["results"][metric]) for run in rungs(runs)
            if run["model"] == model and metric in run["results"]]  # fmt: skip


def difference(a: Sequence[Run], b: Sequence[Run], metric: str) -> Difference | None:
    """Runs of one kind minus runs of another, over the seeds that both have.

    Args:
        a, b: runs of one model or variant each.
        metric: of `gfla.scores.judging.METRICS`.

    Returns:
        `paired_difference` where the runs kept the metric pair by pair, else `set_difference`;
        None where one kind cannot have the metric, or no seed is common.

    Raises:
        ValueError: runs that were judged on different numbers of held-out pairs.
    """
    a, b = ({run["seed"]: run for run in runs if metric in run["results"]} for runs in (a, b))
    seeds = sorted(set(a) & set(b))
    if not seeds:
        return None
    sides = [[runs[seed] for seed in seeds] for runs in (a, b)]
    both = sides[0] + sides[1]
    if not all(metric in run["pairs"] for run in both):
        return set_difference(*([float(run["results"][metric]) for run in one] for one in sides))
    counts = {run["run"]: len(run["pairs"][metric]) for run in both}
    if len(set(counts.values())) > 1:
        raise ValueError(
            f"{metric} was judged on different numbers of held-out pairs, {counts}: judge all of "
            "these runs on the same pairs"
        )
    return paired_difference(*([_values(run["pairs"][metric]) for run in one] for one in sides))


def differences(
    runs: Sequence[Run] | None = None, compared: Sequence[tuple[str, str]] = COMPARED
) -> pandas.DataFrame:
    """The differences that the ladder is about, `ladder.FIRST` first, then other metrics.

    Args:
        runs: of `gfla.ablation.ladder.entries`; all that are recorded by default.
        compared: (a, b) of `MODELS`, differences are a − b.

    Returns:
        Columns metric, a, b; mean, low, high, per_seed (a tuple), agreeing, seeds, pairs,
        resampled of `gfla.scores.comparison.Difference`; better: a, b, or "" where the interval is
        not away from zero. Metrics without a direction are left out.
    """
    runs = rungs(entries() if runs is None else runs)
    kinds = {model: [run for run in runs if run["model"] == model] for model in MODELS}
    return _table(runs, [((a, kinds[a]), (b, kinds[b])) for a, b in compared])


def variant_differences(runs: Sequence[Run] | None = None) -> pandas.DataFrame:
    """Full trained otherwise, minus Full from the same seeds; columns as in `differences`."""
    runs = entries() if runs is None else runs
    full = [run for run in rungs(runs) if run["model"] == "full"]
    kinds = {name: [run for run in runs if run["variant"] == name] for name in variants(runs)}
    return _table(runs, [((name, kind), ("full", full)) for name, kind in kinds.items()])


def twin_differences(runs: Sequence[Run] | None = None) -> pandas.DataFrame:
    """Full minus Bi-Sample, both trained otherwise in the same respect; columns as in
    `differences`.

    Each such pair tests one reason why the two might stand where they do.
    """
    runs = entries() if runs is None else runs
    kinds = {name: [run for run in runs if run["variant"] == name] for name in variants(runs)}
    twins = [(name.removeprefix("bilinear-"), name) for name in NOT_FULL]
    both = [(a, b) for a, b in twins if a in kinds and b in kinds]
    return _table(runs, [((a, kinds[a]), (b, kinds[b])) for a, b in both])


def order(metric: str, runs: Sequence[Run] | None = None) -> list[str]:
    """The models from best to worst by their mean over seeds; those without the metric left out.

    Args:
        metric: of `gfla.scores.judging.METRICS`.
        runs: of `gfla.ablation.ladder.entries`; all that are recorded by default.

    Raises:
        ValueError: a metric of which neither more nor less is better.
    """
    runs = entries() if runs is None else runs
    found = {model: seeds_of(runs, model, metric) for model in MODELS}
    return _ranked({model: np.mean(values) for model, values in found.items() if values}, metric)


def paper_order(metric: str) -> list[str]:
    """The models from best to worst in the paper's table.

    >>> paper_order("fid")
    ['full', 'bilinear', 'baseline', 'global']
    """
    return _ranked({model: numbers[metric] for model, numbers in PAPER.items()}, metric)


def best(metric: str, runs: Sequence[Run] | None = None) -> str:
    """The model that is best as far as its seeds can say.

    Args:
        metric: of `gfla.scores.judging.METRICS`.
        runs: of `gfla.ablation.ladder.entries`; all that are recorded by default.

    Returns:
        The first of `order`; "" where the interval of its difference from the runner-up is not
        away from zero, fewer than two models have the metric, or it has no direction.
    """
    runs = rungs(entries() if runs is None else runs)
    if METRICS[metric].direction == "none" or len(ranked := order(metric, runs)) < 2:
        return ""
    first, second = ([run for run in runs if run["model"] == model] for model in ranked[:2])
    found = difference(first, second, metric)
    return ranked[0] if found and found.apart else ""


def _values(pairs: Sequence[float | None]) -> list[float]:
    """Values of pairs, NaN where there is none."""
    return [float("nan") if value is None else float(value) for value in pairs]


def _table(runs: Sequence[Run], compared: Sequence[tuple]) -> pandas.DataFrame:
    """One row for each metric and comparison that can be made."""
    import pandas

    rows = []
    for metric in metrics(runs):
        sign = SIGN[METRICS[metric].direction]
        for (a, of_a), (b, of_b) in compared:
            found = difference(of_a, of_b, metric) if sign else None
            if found:
                better = (a if found.mean * sign > 0 else b) if found.apart else ""
                measured = {
                    name: getattr(found, name) for name in (*Difference._fields, "agreeing")
                }
                rows.append({"metric": metric, "a": a, "b": b, **measured, "better": better})
    columns = ["metric", "a", "b", *Difference._fields, "agreeing", "better"]
    return pandas.DataFrame(rows, columns=columns)


def _ranked(values: dict[str, float], metric: str) -> list[str]:
    sign = SIGN[METRICS[metric].direction]
    if not sign:
        raise ValueError(f"{metric} has no direction: neither more nor less of it is better")
    return sorted(values, key=lambda model: -sign * values[model])
