r"""Where a trained model takes its pixels from: by its attention, and by its picture.

Two questions of notebook 04. Where does the attention lie, as shares of source places, position by
position; and which source pixels does the picture hang on at all, by its derivative, which even a
model without flow can be asked. The truth places the probes and judges; nothing is trained here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from torch import Tensor

from gfla import metrics, viz
from gfla.ablation.ladder import MODELS
from gfla.attention import GlobalAttention
from gfla.data.body import PARTS
from gfla.model import GFLA
from gfla.street.verdict import GROUPS
from gfla.types import Features, Image, Output

if TYPE_CHECKING:
    import pandas


# ---------------------------------------------------------------- where attention lies


class Gaze(NamedTuple):
    """Where one level of a model reads the source, and with which shares."""

    stride: int
    where: Tensor  # (B or 1, M, 2, h or 1, w or 1), x and y in pixels of the image
    share: Tensor  # (B, M, h, w), sums to 1 over M


class Found(NamedTuple):
    """What became of `Gaze` when the truth was asked."""

    read: float  # places that are really read, exp of the entropy of their shares
    favourite: float  # share of the place that is read most, all positions taken together
    within: float  # share of what is read that lies within one stride of the truth
    error: float  # distance of the expected place from the truth, pixels of the image
    best: float  # distance of the nearest place that it could have read, pixels of the image


@torch.no_grad()
def gazes(model: GFLA, batch: Mapping[str, Tensor]) -> list[Gaze]:
    """Where a model's attention lies, at every position of every level.

    Args:
        model: in eval mode.
        batch: source, source_pose, target_pose.

    Returns:
        Coarse → fine; empty for "baseline". Global attention has M = h·w places, local attention
        n·n, bilinear sampling one.
    """
    output, heard = _listen(model, batch)
    size = batch["source"].shape[-2]
    if heard:
        return [_anywhere(way, *features, size) for way, features in heard]
    found = []
    for flow, weights in zip(output.flows, output.weights, strict=True):
        stride, n = size // flow.shape[-2], math.isqrt(weights.shape[1])
        taps = torch.arange(n * n)
        offsets = torch.stack([taps % n, taps // n], 1) - n // 2  # (M, 2)
        level = _centres(*flow.shape[-2:], 1) + flow  # (B, 2, h, w), positions of the level
        where = level[:, None] + offsets[None, :, :, None, None]
        found.append(Gaze(stride, (where + 0.5) * stride - 0.5, weights))
    return found


@torch.no_grad()
def judged(gaze: Gaze, batch: Mapping[str, Tensor]) -> Found:
    """How far a gaze is from the truth, over the positions whose source is visible.

    A `favourite` near 1 among several places says that attention does not attend: it takes the
    same place whatever the features are.
    """
    there, seen = _truth(batch, gaze.stride)
    distance = (gaze.where - there[:, None]).norm(dim=2)  # (B, M, h, w)
    within = (gaze.share * (distance < gaze.stride + 1e-3)).sum(1)  # a neighbour is within
    expected = (gaze.share[:, :, None] * gaze.where).sum(1)  # (B, 2, h, w)
    error = (expected - there).norm(dim=1)
    read = effective(gaze.share, 1)
    favourite = gaze.share.movedim(1, -1)[seen].mean(0).max()
    told = (read, within, error, distance.amin(1))
    read, *rest = (float(value[seen].mean()) for value in told)
    return Found(read, float(favourite), *rest)


def gaze_table(models: Mapping[str, GFLA], batch: Mapping[str, Tensor]) -> pandas.DataFrame:
    """`judged` for every model and level, beside two that know nothing.

    Args:
        models: name of `MODELS` -> model; those without a gaze are left out.
        batch: of `gfla.data.people.pairs`.

    Returns:
        Rows (who, stride), columns of `Found`. "everywhere alike" reads all positions with one
        share, "own place" reads where it stands.
    """
    import pandas

    rows = {}
    for name, model in models.items():
        for gaze in gazes(model, batch):
            rows[MODELS[name], gaze.stride] = judged(gaze, batch)
            if ("own place", gaze.stride) not in rows:
                for who, idle in _idle(gaze, len(batch["source"])).items():
                    rows[who, gaze.stride] = judged(idle, batch)
    table = pandas.DataFrame.from_dict(rows, orient="index", columns=Found._fields)
    table.index = pandas.MultiIndex.from_tuples(table.index, names=["who", "stride"])
    return table.sort_index(key=lambda level: level.map(_order))


@torch.no_grad()
def helped(model: GFLA, batch: Mapping[str, Tensor], reach: int | None) -> Image:
    """The picture that a model with flow would make if somebody who knows chose where it reads.

    An experiment and no model: the truth moves every vector whose source is visible, by whole
    positions of its level and by `reach` of them at most on either axis. With reach 1 this is the
    best choice that attention over 3×3 taps could make; nothing is trained for it.

    Args:
        model: "full" or "bilinear", in eval mode.
        batch: of `gfla.data.people.pairs`.
        reach: positions; 0 leaves the flow alone, None puts the true flow in its place.

    Returns:
        (B, 3, H, W).
    """
    source, size = batch["source"], batch["source"].shape[-2]
    flows, masks = model.flow(source, batch["source_pose"], batch["target_pose"])
    moved = []
    for flow in flows:
        stride = size // flow.shape[-2]
        there, seen = _truth(batch, stride)
        lacking = (there - _centres(*flow.shape[-2:], stride)) / stride - flow  # (B, 2, h, w)
        if reach is not None:
            lacking = lacking.round().clamp(-reach, reach)
        moved.append(flow + lacking * seen[:, None])
    return model.renderer(source, batch["target_pose"], moved, masks).image


def landmarks(
    batch: Mapping[str, Tensor], index: int, groups: Sequence[str] = ("head", "torso", "hands")
) -> dict[str, tuple[int, int]]:
    """One visible pixel of each group of parts, the one nearest to the middle of what is visible.

    Args:
        batch: of `gfla.data.people.pairs`.
        index: which pair.
        groups: of `gfla.street.verdict.GROUPS`; one that the source does not show is left out.

    Returns:
        group -> (x, y) in the target.
    """
    found = {}
    for group in groups:
        members = [k + 1 for k, part in enumerate(PARTS) if part.endswith(GROUPS[group])]
        where = torch.isin(batch["parts"][index, 0], torch.tensor(members))
        y, x = (where & (batch["visible"][index, 0] > 0)).nonzero(as_tuple=True)
        if len(x):
            away = (x - x.double().mean()) ** 2 + (y - y.double().mean()) ** 2
            nearest = int(away.argmin())
            found[group] = int(x[nearest]), int(y[nearest])
    return found


def draw_gazes(
    models: Mapping[str, GFLA], batch: Mapping[str, Tensor], index: int,
    pixels: Mapping[str, tuple[int, int]],
) -> Figure:  # fmt: skip
    """Where some target pixels look: Global-Attn level by level, Bi-Sample and Full at the finest.

    Args:
        models: with "global", "bilinear" and "full".
        batch: of `gfla.data.people.pairs`.
        index: which pair.
        pixels: of `landmarks`, a row each.

    Returns:
        Figure. Target with the pixel (orange); source with its true place (orange ring) and where
        the models read it: Global-Attn's expected place (magenta cross), Bi-Sample (blue), Full
        with its attention's offset (green); then Global-Attn's attention over the source, each
        map scaled to its own largest, with the truth.
    """
    one = {key: value[index : index + 1] for key, value in batch.items()}
    seen = {name: gazes(models[name], one) for name in ("global", "bilinear", "full")}
    height, width = one["source"].shape[-2:]
    columns = 2 + len(seen["global"])
    figure = Figure(figsize=(viz.WIDE, 1.42 * len(pixels) + 0.3), layout="constrained")
    axes = figure.subplots(len(pixels), columns, squeeze=False)
    labels = ["target", "source"] + [f"attention, stride {gaze.stride}" for gaze in seen["global"]]
    whole = (-0.5, width - 0.5, height - 0.5, -0.5)
    faded = 0.45 * viz.to_uint8(one["source"][0]) / 255 + 0.55
    for row, (group, (x, y)) in zip(axes, pixels.items(), strict=True):
        for place, name in zip(row, ("target", "source"), strict=False):
            place.imshow(viz.to_uint8(one[name][0]), extent=whole)
        for place, gaze in zip(row[2:], seen["global"], strict=True):
            share = gaze.share[0, :, y // gaze.stride, x // gaze.stride]
            weight = (share / share.max()).reshape(height // gaze.stride, -1).numpy()
            place.imshow(faded, extent=whole, interpolation="nearest")
            place.imshow(0 * weight, cmap=_PLAIN, alpha=0.95 * weight, extent=whole)
        row[0].plot(x, y, "o", ms=7, mfc="none", mec=viz.TARGET, mew=1.6)
        for name, color, mark in _MARKS:
            row[1].plot(*_expected(seen[name][-1], x, y), mark, ms=7, color=color, mew=1.8)
        true = one["flow"][0, :, y, x] + torch.tensor([x, y])
        for place in row[1:]:
            place.plot(*true, "o", ms=8, mfc="none", mec=viz.TARGET, mew=1.6)
        row[0].set_ylabel(group)
        for place in row:
            place.set(xticks=[], yticks=[], xlim=whole[:2], ylim=whole[2:])
            place.grid(False)
    for place, label in zip(axes[-1], labels, strict=True):
        place.set_xlabel(label)
    return figure


_MARKS = (
    ("global", viz.ATTENTION, "x"), ("bilinear", viz.SOURCE, "+"), ("full", viz.GENERATED, "x"),
)  # fmt: skip
_PLAIN = ListedColormap([viz.ATTENTION])


# ---------------------------------------------------------------- what a picture hangs on


def probes(batch: Mapping[str, Tensor], count: int, least: float = 8.0, seed: int = 0) -> Tensor:
    """Visible target pixels that have moved, drawn by lot: their own place is not the right one.

    Args:
        batch: of `gfla.data.people.pairs`.
        count: pixels of each pair.
        least: length of their true flow, pixels. In a pair where nothing visible moves so far, the
            one pixel that moves farthest is taken every time.
        seed: of the lot.

    Returns:
        (B, count, 2) integers, x and y.

    Raises:
        ValueError: a pair in which nothing is visible.
    """
    generator = torch.Generator().manual_seed(seed)
    length = batch["flow"].norm(dim=1).where(batch["visible"][:, 0] > 0, -1.0)  # (B, H, W)
    found = []
    for number, one in enumerate(length):
        if one.max() < 0:
            raise ValueError(f"nothing of pair {number} is visible: leave that pair out")
        y, x = (one >= min(least, float(one.max()))).nonzero(as_tuple=True)
        chosen = torch.randint(len(x), (count,), generator=generator)
        found.append(torch.stack([x[chosen], y[chosen]], 1))
    return torch.stack(found)


def traced(model: GFLA, batch: Mapping[str, Tensor], pixels: Tensor) -> Tensor:
    r"""Which source pixels some pixels of the picture hang on: the derivative, as shares.

        t(l, l') = ‖∂ Σ_c x̂_c(l) / ∂ x_s(l')‖ / Σ_l'' ‖∂ Σ_c x̂_c(l) / ∂ x_s(l'')‖

    It counts everything that the source pixel moves, through F, features, norms and attention; so
    it is wider than what is copied, and it can be asked of a model that has no flow.

    Args:
        model: in eval mode.
        batch: source, source_pose, target_pose.
        pixels: (B, P, 2) integers, x and y, of `probes`.

    Returns:
        (B, P, H, W), each map sums to 1.
    """
    source = batch["source"].detach().clone().requires_grad_()
    image = model(source, batch["source_pose"], batch["target_pose"]).image
    each, maps = torch.arange(len(source)), []
    for x, y in pixels.permute(1, 2, 0):
        value = image[each, :, y, x].sum()  # pairs do not know of one another
        (slope,) = torch.autograd.grad(value, source, retain_graph=True)
        slope = slope.norm(dim=1)  # (B, H, W)
        maps.append(slope / slope.sum((1, 2), keepdim=True))
    return torch.stack(maps, 1)


def near(maps: Tensor, places: Tensor, radius: float = 4.0) -> float:
    """Share of maps (B, P, H, W) that lies within `radius` pixels of places (B, P, 2), the mean."""
    x, y = _centres(*maps.shape[-2:], 1)[0]  # (H, W) each
    away = torch.hypot(x - places[..., 0, None, None], y - places[..., 1, None, None])
    return float((maps * (away <= radius)).sum((2, 3)).mean())


def trace_table(
    models: Mapping[str, GFLA], batch: Mapping[str, Tensor], pixels: Tensor, radius: float = 4.0
) -> pandas.DataFrame:
    """How much of what each model's pixels hang on lies where it should.

    Args:
        models: name of `MODELS` -> model.
        batch: of `gfla.data.people.pairs`.
        pixels: of `probes`.
        radius: what counts as near, pixels of the image.

    Returns:
        A row a model and one for "everywhere alike": near the truth, near its own place (shares).
    """
    import pandas

    each = torch.arange(len(pixels))[:, None]
    true = pixels + batch["flow"][each, :, pixels[..., 1], pixels[..., 0]]  # (B, P, 2)
    maps = {MODELS[name]: traced(model, batch, pixels) for name, model in models.items()}
    first = next(iter(maps.values()))
    maps["everywhere alike"] = torch.full_like(first, 1 / first[0, 0].numel())
    where = {"near the truth": true, "near own place": pixels}
    rows = {who: [near(one, places, radius) for places in where.values()]
            for who, one in maps.items()}  # fmt: skip
    return pandas.DataFrame.from_dict(rows, orient="index", columns=list(where))


# ---------------------------------------------------------------- flows


def source_flows(output: Output, size: tuple[int, int]) -> dict[str, Tensor]:
    """Where the finest level reads the source, in pixels of the image.

    Args:
        output: of any of the four.
        size: (H, W).

    Returns:
        "flow" (B, 2, H, W), and "attended" too where attention chooses inside a patch: the flow
        plus the expected offset. Empty for "baseline".
    """
    found = {}
    if output.flows:
        flow = output.flows[-1].detach()
        found["flow"] = metrics.upsample_flow(flow, size)
        if output.weights and output.weights[-1].shape[1] > 1:
            offset = metrics.expected_offset(output.weights[-1])
            found["attended"] = metrics.upsample_flow(flow + offset, size)
    return found


def flow_strips(
    batch: Mapping[str, Tensor], outputs: Mapping[str, Output], indices: Sequence[int]
) -> Figure:
    """Draw where the models read the source, on the person, beside the truth.

    Args:
        batch: of `gfla.data.people.pairs`.
        outputs: name of `MODELS` -> output; those without flow are left out.
        indices: which pairs, a row each.

    Returns:
        Figure: source, each model's source positions as a flow, true flow, target. The rim of the
        key is the length that one true vector in twenty exceeds.
    """
    size = tuple(batch["source"].shape[-2:])
    fields = {}
    for name, title in MODELS.items():
        for kind, flow in source_flows(outputs[name], size).items() if name in outputs else ():
            fields[title if kind == "flow" else f"{title} + attention"] = flow
    fields["true flow"] = batch["flow"]
    chosen, person = list(indices), batch["foreground"]
    lengths = batch["flow"][chosen].norm(dim=1, keepdim=True)
    limit = float(lengths[person[chosen] > 0].quantile(0.95))
    rows = [
        [
            viz.to_uint8(batch["source"][i]),
            *(viz.flow_to_color(flow[i] * person[i], limit) for flow in fields.values()),
            viz.to_uint8(batch["target"][i]),
        ]
        for i in chosen
    ]
    return viz.grid(rows, ["source", *fields, "target"], limit=limit)


# ---------------------------------------------------------------- inside


def _listen(model: GFLA, batch: Mapping[str, Tensor]) -> tuple:
    """One forward pass, and what each global attention was given, coarse → fine."""
    heard, hooks = [], []
    for way in model.renderer.attention.values():
        if isinstance(way, GlobalAttention):
            note = lambda way, given: heard.append((way, given))  # noqa: E731
            hooks.append(way.register_forward_pre_hook(note))
    try:
        output = model(batch["source"], batch["source_pose"], batch["target_pose"])
    finally:
        for hook in hooks:
            hook.remove()
    return output, heard


def _anywhere(way: GlobalAttention, source: Features, target: Features, size: int) -> Gaze:
    h, w = target.shape[-2:]
    stride = size // h
    positions = _centres(h, w, 1)[0].flatten(1).T.long()  # (h w, 2)
    share = way.look(source, target, positions).flatten(2).mT.unflatten(2, (h, w))
    where = _centres(*source.shape[-2:], stride).flatten(2).mT[..., None, None]
    return Gaze(stride, where, share)


def _idle(gaze: Gaze, count: int) -> dict[str, Gaze]:
    """The gazes of two who know nothing, on the level of this one."""
    h, w = gaze.share.shape[-2:]
    places, alone = _centres(h, w, gaze.stride), torch.ones(1, 1, h, w)
    everywhere = places.flatten(2).mT[..., None, None]
    alike = (alone / (h * w)).expand(count, h * w, h, w)
    return {
        "own place": Gaze(gaze.stride, places[:, None], alone.expand(count, 1, h, w)),
        "everywhere alike": Gaze(gaze.stride, everywhere, alike),
    }


def _centres(height: int, width: int, stride: int) -> Tensor:
    """x and y of the middle of every position, in pixels of the image: (1, 2, height, width)."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return (torch.stack([x, y])[None] + 0.5) * stride - 0.5


def _truth(batch: Mapping[str, Tensor], stride: int) -> tuple[Tensor, Tensor]:
    """Where each position of a level truly comes from, (B, 2, h, w), and whether it is visible.

    The mean over the visible pixels of a position; visible is one of which at least half are.
    """
    visible = batch["visible"].float()
    seen = F.avg_pool2d(visible, stride)  # (B, 1, h, w)
    flow = F.avg_pool2d(batch["flow"] * visible, stride) / seen.clamp(min=1e-6)
    return _centres(*seen.shape[-2:], stride) + flow, seen[:, 0] >= 0.5


def effective(share: Tensor, dim: int) -> Tensor:
    """exp of the entropy along a dimension: how many alike places would be as spread."""
    return torch.special.entr(share).sum(dim).exp()


def _expected(gaze: Gaze, x: int, y: int) -> tuple[float, float]:
    """The expected source position of one pixel of a single pair, in pixels of the image."""
    column, row = x // gaze.stride, y // gaze.stride
    places = gaze.where.expand(1, -1, 2, *gaze.share.shape[-2:])[0, :, :, row, column]
    share = gaze.share[0, :, row, column]
    px, py = (share[:, None] * places).sum(0).tolist()
    return px, py


def _order(key: Any) -> int:
    """Models in the ladder's order, then those that know nothing; strides from coarse to fine."""
    known = [*MODELS.values(), "own place", "everywhere alike"]
    return known.index(key) if key in known else -int(key)
