"""The experiments of notebook 04: the four models of the ladder, on toys and on single people.

What is taken away at each rung, and how large the models are; a row of names, on which every way
of joining source and target can be worked out by hand; and held-out pairs, chosen by a recorded
metric, as all four models see them. Where trained models look is the subject of `gaze.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from gfla import viz
from gfla.ablation import gaze
from gfla.ablation.ladder import MODELS, Run
from gfla.attention import WAYS, BilinearSampling, Concatenation, GlobalAttention, LocalAttention
from gfla.data import people
from gfla.model import GFLA, even, parameters
from gfla.profiles import pick
from gfla.scores.judging import BATCH, METRICS
from gfla.types import Features

if TYPE_CHECKING:
    import pandas

SAYS = {  # model -> who says where a position is to look, who says how much of that is taken
    "baseline": ("nobody", "nobody"),
    "global": ("the features, among all positions", "a convolution of its own"),
    "bilinear": ("F", "F"),
    "full": ("F; the features, within n×n", "F"),
}


@dataclass(frozen=True)
class Setting:
    """How large the experiments of notebook 04 are."""

    compared: str = "smoke"  # profile of gfla.ablate that is trained live
    gaze_pairs: int = 8  # held-out pairs on which attention is asked where it lies
    traced_pairs: int = 4  # held-out pairs whose pictures are traced back
    traced_pixels: int = 4  # target pixels of each
    shown: tuple[int, ...] = (0, 1, 2, 3)  # which held-out pairs are drawn


SETTINGS = {
    "smoke": Setting(),
    "cpu": Setting(compared="cpu", gaze_pairs=32, traced_pairs=16, traced_pixels=8),
    "gpu": Setting(compared="cpu", gaze_pairs=256, traced_pairs=64, traced_pixels=16),
}


def setting(profile: str) -> Setting:
    """The sizes of one profile; see `gfla.profiles.pick`."""
    return pick(SETTINGS, profile)


def family(arguments: Mapping[str, Any]) -> pandas.DataFrame:
    """The four models that `gfla.model.even` makes of one: what says where, and how large each is.

    Args:
        arguments: of `gfla.model.GFLA`, for the full model.

    Returns:
        A row a model: joined by (class), where, how much, base (channels of G), parameters, of
        Full (share).
    """
    import pandas

    rows = {}
    for name, title in MODELS.items():
        wide = even(dict(arguments) | {"attention": name})
        with torch.device("meta"):  # shapes alone
            count = parameters(GFLA(**wide))
        where, share = SAYS[name]
        rows[title] = {"joined by": WAYS[name].__name__, "where": where, "how much": share,
                       "base": wide["base"], "parameters": count}  # fmt: skip
    table = pandas.DataFrame.from_dict(rows, orient="index")
    table["of Full"] = table["parameters"] / table.loc[MODELS["full"], "parameters"]
    return table


# ---------------------------------------------------------------- a row of names


def names(count: int, period: int | None = None) -> Features:
    """A row of positions that bear names, which are repeated after `period` positions.

    Args:
        count: positions.
        period: different names; by default every position has a name of its own.

    Returns:
        (1, period, 1, count), one-hot.

    >>> names(4, 2)[0, :, 0].tolist()
    [[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 1.0]]
    """
    period = period or count
    return torch.eye(period)[:, torch.arange(count) % period].reshape(1, period, 1, count)


def convolution(row: Features, shifts: Sequence[int]) -> Concatenation:
    r"""Baseline's join, with the weights that bring names home best, over all these shifts.

        k = argmin Σ_d Σ_l | Σ_o k_o f_s(l + o) − f_s(l + d) |²,   o = −1, 0, 1

    One k for all names, because names are dealt anew with every picture: a convolution cannot
    know them.

    Args:
        row: of `names`.
        shifts: d, each as likely as the others.

    Returns:
        `Concatenation` whose source half is k.
    """
    far = max(1, *map(abs, shifts))
    inner = range(far, row.shape[-1] - far)
    seen = [torch.stack([row[0, :, 0, x + o] for x in inner]) for o in (-1, 0, 1)]
    taps = torch.stack([one.flatten() for one in seen], 1).repeat(len(shifts), 1)
    wanted = torch.cat([row[0, :, 0, x + d] for d in shifts for x in inner])
    best = torch.linalg.lstsq(taps, wanted[:, None]).solution[:, 0]  # (3,)
    join = Concatenation(row.shape[1])
    with torch.no_grad():
        join.mix.weight.zero_()
        join.mix.bias.zero_()
        own = torch.arange(row.shape[1])
        join.mix.weight[own, row.shape[1] + own, 1] = best
    return join


def searching(channels: int, gain: float = 40.0) -> GlobalAttention:
    """Global attention that looks for its own name: q and k are the identity, q made loud."""
    way = GlobalAttention(channels)
    with torch.no_grad():
        for part, loud in ((way.query[1], gain), (way.key[1], 1.0)):
            part.weight.copy_(loud * torch.eye(channels)[..., None, None])
            part.bias.zero_()
    return way


def matching(channels: int, n: int = 3, gain: float = 40.0) -> LocalAttention:
    """Local attention whose kernel net is wired by hand to prefer taps that bear its own name.

    A hidden unit for each name and tap fires where both have it, f_t + f_s − 1 > 0: an AND.
    """
    way = LocalAttention(channels, n, hidden=channels * n * n)
    first, _, last = way.kernel_net
    with torch.no_grad():
        for layer in (first, last):
            layer.weight.zero_()
            layer.bias.zero_()
        for name in range(channels):
            for tap in range(n * n):
                unit = name * n * n + tap
                first.weight[unit, name, n // 2, n // 2] = 1.0
                first.weight[unit, channels + name, tap // n, tap % n] = 1.0
                last.weight[tap, unit] = gain
        first.bias.fill_(-1.0)
    return way


@torch.no_grad()
def brought(way: nn.Module, row: Features, off: float, margin: int = 5) -> float:
    """How much of what a way brings to a position is the name that belongs there.

    Args:
        way: one of the four.
        row: of `names`; the target. The source is the same row.
        off: positions between where the way is told to look and the right place. A way without
            flow is told nothing: the source is moved by `off`, a whole number, instead.
        margin: positions at either end that are not counted.

    Returns:
        0 … 1, the mean over positions. The n² of local attention is taken back.
    """
    if way.guided:
        flow = torch.zeros(1, 2, *row.shape[2:])
        flow[:, 0] = off
        fetched = way(row, row, flow).attended
        fetched = fetched * getattr(way, "n", 1) ** 2
    else:
        fetched = way(row.roll(round(off), -1), row)
        fetched = fetched if isinstance(fetched, Tensor) else fetched[0]
    right = (fetched * row).sum(1)[0, 0]  # (count,)
    return float(right[margin : row.shape[-1] - margin].mean())


def four_ways(count: int = 16, furthest: float = 4.0, step: float = 0.25) -> tuple[dict, dict]:
    """`brought` by all four ways, the right place ever farther off.

    Returns:
        abscissae and ordinates by line, as `gfla.viz.curves` takes them.
    """
    row = names(count)
    whole = range(int(furthest) + 1)
    fine = [step * k for k in range(round(furthest / step) + 1)]
    known = [brought(convolution(row, [d]), row, d) for d in whole]
    one = convolution(row, [-1, 0, 1])
    return {
        "Baseline, d known": whole, "Baseline, d of −1, 0, 1": whole, "Global-Attn": whole,
        "Bi-Sample": fine, "Full, n = 3": fine,
    }, {
        "Baseline, d known": known,
        "Baseline, d of −1, 0, 1": [brought(one, row, d) for d in whole],
        "Global-Attn": [brought(searching(count), row, d) for d in whole],
        "Bi-Sample": [brought(BilinearSampling(), row, d) for d in fine],
        "Full, n = 3": [brought(matching(count), row, d) for d in fine],
    }  # fmt: skip


@torch.no_grad()
def look_alikes(count: int, period: int) -> tuple[float, float, float]:
    """What `searching` finds where names repeat, source and target being the same row.

    Args:
        count: positions.
        period: different names among them.

    Returns:
        share of the right name in what is brought; positions that are read, exp of the entropy;
        distance between expected and true source position, mean over positions.
    """
    row, way = names(count, period), searching(period)
    attended, flow = way(row, row)
    places = torch.stack([torch.arange(count), torch.zeros(count, dtype=torch.long)], 1)
    share = way.look(row, row, places)
    right = (attended * row).sum(1).mean()
    read = gaze.effective(share.flatten(2), 2).mean()
    return float(right), float(read), float(flow.norm(dim=1).mean())


# ---------------------------------------------------------------- single cases


def held_out_pairs(indices: Sequence[int], size: tuple[int, int]) -> dict[str, Tensor]:
    """The pairs that `gfla.scores.judging.judge` counts by these numbers, as a batch.

    Args:
        indices: numbers of pairs, in any order.
        size: (H, W), that of the judged model.

    Returns:
        as `gfla.data.people.pairs`.
    """
    found = []
    for index in indices:
        first, place = index - index % BATCH, index % BATCH
        batch = people.pairs(place + 1, size=size, seed=people.MEASURING_SEEDS + first)
        found.append({key: value[place] for key, value in batch.items()})
    return {key: torch.stack([one[key] for one in found]) for key in found[0]}


def ranked(run: Run, metric: str) -> list[int]:
    """The held-out pairs of a recorded run from the worst to the best, by a metric.

    Args:
        run: of `gfla.ablation.ladder.entries`.
        metric: one that the run kept pair by pair.

    Returns:
        Indices of pairs, those without a value left out.

    Raises:
        ValueError: the model cannot have this metric, or the metric has no direction.
    """
    if metric not in run["pairs"]:
        raise ValueError(f"{MODELS[run['model']]} has no {metric}: choose another model or metric")
    sign = {"lower": -1, "higher": 1}.get(METRICS[metric].direction)
    if sign is None:
        raise ValueError(f"{metric} has no direction: neither more nor less of it is better")
    values = {k: float(v) for k, v in enumerate(run["pairs"][metric]) if v is not None}
    finite = [k for k, value in values.items() if math.isfinite(value)]
    return sorted(finite, key=lambda k: sign * values[k])


def draw_case(
    models: Mapping[str, GFLA], runs: Mapping[str, Run], metric: str, model: str, rank: int
) -> Figure:
    """Draw one held-out pair, chosen by a recorded metric, as all models see it.

    Args:
        models: name of `MODELS` -> the trained model of that record.
        runs: name -> its recorded run, which knows the metric pair by pair.
        metric: by which the pair is chosen.
        model: whose worst (or best) pair it is.
        rank: 0 is the worst, -1 the best.

    Returns:
        Figure: source, target pose, four pictures, target; under them where each model read the
        source, the true flow under the target. The recorded value is under each name, and the
        model by whose rank the pair was chosen stands between arrows.

    Raises:
        ValueError: as `ranked`.
    """
    index = ranked(runs[model], metric)[rank]
    size = models[model].size
    batch = held_out_pairs([index], size)
    limit = float(batch["flow"].norm(dim=1).max()) or 1.0
    blank = viz.to_uint8(torch.ones_like(batch["source"][0]))
    above = [viz.to_uint8(batch["source"][0]), viz.skeleton(batch["target_keypoints"][0], size, 3)]
    below, labels = [blank, blank], ["source\n", "target pose\n"]
    for name, one in models.items():
        with torch.no_grad():
            output = one(batch["source"], batch["source_pose"], batch["target_pose"])
        flow = gaze.source_flows(output, size).get("flow")
        value = runs[name]["pairs"].get(metric, [None] * (index + 1))[index]
        title = f"› {MODELS[name]} ‹" if name == model else MODELS[name]
        above.append(viz.to_uint8(output.image[0]))
        below.append(blank if flow is None else
                     viz.flow_to_color(flow[0] * batch["foreground"][0], limit))  # fmt: skip
        labels.append(f"{title}\n{'–' if value is None else format(value, '.3g')}")
    above.append(viz.to_uint8(batch["target"][0]))
    below.append(viz.flow_to_color(batch["flow"][0], limit))
    labels.append("target,\ntrue flow")
    return viz.grid([above, below], labels, [f"pair {index}", metric.split("_fore")[0]], limit)
