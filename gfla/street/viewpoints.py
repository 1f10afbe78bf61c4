"""The experiments of notebook 05: what a view is, and what becomes of it inside a model.

A ball, whose visible part and flow can be worked out by hand; the maps that a code of the view
becomes on its way into the networks; and objects turned all the way round by several models. How
well they do is judged by `gfla.scores.turning`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gfla.blocks import initialise
from gfla.data import objects
from gfla.data.solids import AZIMUTHS, BALL, ELEVATIONS, Camera, Parts, cast, fit, orbit, solids
from gfla.profiles import pick
from gfla.scores import turning
from gfla.view_codes import CODES


@dataclass(frozen=True)
class Setting:
    """How large the experiments of notebook 05 are."""

    pairs: int = 128  # held-out pairs of the trained classes that judge
    others: int = 64  # pairs of the classes that no training saw
    spun: int = 6  # objects whose 18 views share out the variance
    ball_side: int = 129  # pixels per side of the picture of a ball


SETTINGS = {
    "smoke": Setting(),
    "cpu": Setting(pairs=512, others=512, spun=16),
    "gpu": Setting(pairs=2048, others=2048, spun=64, ball_side=257),
}


def setting(profile: str) -> Setting:
    """The sizes of one profile; see `gfla.profiles.pick`."""
    return pick(SETTINGS, profile)


# ---------------------------------------------------------------- what a view is


class Ball(NamedTuple):
    """A ball from ten sides, with the truth about its target pixels."""

    share: list[float]  # of its pixels that the source shows, by turn 0 … 9
    middle: list[float]  # |dx| of the pixel in its middle, in radii of its disc, by turn


def ball(side: int = 129, away: float = 40.0) -> Ball:
    r"""Render a ball with the objects' own renderer, from farther and farther round.

    By hand, for a camera far away: two hemispheres that are turned by θ against each other overlap
    in half a disc and half an ellipse of width cos θ, and the point in the middle is found at

        share(θ) = (1 + cos θ) / 2,   dx(θ) = sin θ  radii   (θ up to 90°)

    Args:
        side: pixels per side, odd, so that one lies in the middle.
        away: how many times farther than on the objects' orbit the camera stands.

    Returns:
        `Ball`; beyond 90° the middle is hidden, and its dx is that of the point behind.
    """
    parts = Parts(1, "cpu")
    parts.add((0, 0, 0), (1, 1, 1), BALL)
    shape, size, zero = solids(parts.table()), (side, side), torch.zeros(1)

    def look(turn: int) -> Camera:
        camera = orbit(torch.full((1,), turn), zero, fit(shape, size), size)
        return camera._replace(eye=camera.eye * away, focal=camera.focal * away)

    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    x, y = x.reshape(1, -1).float(), y.reshape(1, -1).float()
    eye, hits = look(0), cast(shape, look(0), x, y)
    disc, found = hits.index >= 0, Ball([], [])
    points = eye.eye[..., None] + eye.directions(x, y) * hits.depth.nan_to_num(posinf=0)[:, None]
    for turn in range(AZIMUTHS // 2 + 1):
        source = look(turn)
        at, below, depth = source.project(points)
        seen = disc & ((cast(shape, source, at, below).depth - depth).abs() < 4e-3)
        radius = float(x[disc].max() - x[disc].min() + 1) / 2
        found.share.append(float(seen.sum() / disc.sum()))
        found.middle.append(float((at - x)[0, x.shape[1] // 2].abs()) / radius)
    return found


def codes() -> Tensor:
    """All views there are, (54, 21, 1, 1): 18 azimuths at each of three elevations."""
    elevation, azimuth = torch.meshgrid(
        torch.arange(ELEVATIONS), torch.arange(AZIMUTHS), indexing="ij"
    )
    return objects.view_code(azimuth.flatten(), elevation.flatten())


# ---------------------------------------------------------------- what becomes of a code


@torch.no_grad()
def entered(code: str, size: tuple[int, int] = (8, 8), seed: int = 0) -> dict[str, Tensor]:
    """What every view is, station by station, where it begins G's target features.

    Args:
        code: of `gfla.view_codes.CODES`.
        size: (h, w) of the maps that the views become first.
        seed: of the weights, which nobody trained.

    Returns:
        station -> maps (54, c, h, w): "its map", "after the first norm", "main branch", "shortcut".
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        start = CODES[code].start(21, 16, 16, size)
        initialise(start)
        start.begin()
    first, block, _ = start.values()
    given = first(codes())
    return {
        "its map": given,
        "after the first norm": block.model[0](given),
        "main branch": block.model(given),
        "shortcut": block.shortcut(given),
    }


def different(maps: Tensor, least: float = 1e-3) -> int:
    """How many maps out of many differ from one another.

    Args:
        maps: (N, …).
        least: distance at which two count as different, as a share of the largest value; of maps
            that are 0 throughout, all are the same.

    >>> different(torch.tensor([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]]))
    2
    """
    flat = maps.flatten(1)
    scale = float(flat.abs().max())
    if scale < 1e-6:
        return 1
    apart = (flat[:, None] - flat[None]).abs().amax(2) > least * scale
    return int((~apart).int().argmax(1).unique().numel())


def uneven(maps: Tensor, border: int = 2, period: int = 2) -> float:
    r"""How much of what the view changes depends on the place; 0: the same everywhere.

        e(v, l) = x(v, l) − mean over v,   1 − Σ (mean over l of e)² / Σ e²

    Args:
        maps: (V, c, h, w), h and w multiples of `period`.
        border: positions at each side that are left out: a convolution's zeros reach there.
        period: places so many apart are alike; a transposed convolution of stride 2 has four kinds.

    Returns:
        0 … 1; nan where nothing changes.
    """
    inner = slice(border, -border or None)
    change = (maps - maps.mean(0))[..., inner, inner].double()
    cells = change.unflatten(3, (-1, period)).unflatten(2, (-1, period))  # (V, c, h', p, w', p)
    total = float(cells.square().sum())
    if total < 1e-12:
        return float("nan")
    even = cells.mean((2, 4), keepdim=True).expand_as(cells)
    return 1 - float(even.square().sum()) / total


@torch.no_grad()
def say(model: nn.Module, turned: Mapping[str, Tensor]) -> dict[str, turning.Shares]:
    """Who has a say in what a model makes: the picture, the view, or both together.

    Args:
        model: `Views` or `AppearanceFlow`.
        turned: of `spin`.

    Returns:
        "coarse flow", "fine flow", "picture" -> shares of variance.
    """
    made = turning.around(model, turned["source"], turned["source_view"], turned["views"])
    return {
        "coarse flow": turning.shares(made.flows[0]),
        "fine flow": turning.shares(made.flows[-1]),
        "picture": turning.shares(made.image),
    }


# ---------------------------------------------------------------- all the way round


def spin(
    count: int,
    size: tuple[int, int],
    classes: tuple[str, ...] = objects.TRAINED,
    elevation: int = 1,
    first: int = 0,
) -> dict[str, Tensor]:
    """Held-out objects from all sides, with the source that a model is given.

    Args:
        count: objects.
        size: (H, W).
        classes: of `objects.CLASSES`.
        elevation: bin of all views.
        first: azimuth bin of the source.

    Returns:
        as `objects.views`, and source (B, 3, H, W), source_view (B, 21, 1, 1).
    """
    seed = objects.MEASURING_SEEDS
    drawn = objects.views(count, size, seed, classes, elevation, first)
    return drawn | {"source": drawn["frames"][:, first], "source_view": drawn["views"][:, first]}


def sides(
    models: Mapping[str, nn.Module],
    size: tuple[int, int],
    kind: str,
    number: int = 0,
    elevation: int = 1,
    first: int = 0,
) -> dict[str, Tensor]:
    """One held-out object, all the way round, as everybody sees it.

    Args:
        models: label -> model.
        size: (H, W).
        kind: of `objects.CLASSES`.
        number: which object of the class.
        elevation, first: as `spin`.

    Returns:
        label -> clip (18, 3, H, W): source (the same in all), the models in their order, truth.
    """
    turned = {k: v[-1:] for k, v in spin(number + 1, size, (kind,), elevation, first).items()}
    asked = turned["source"], turned["source_view"], turned["views"]
    made = {name: turning.around(model, *asked).image[0] for name, model in models.items()}
    still = turned["source"].expand(AZIMUTHS, -1, -1, -1)
    return {"source": still} | made | {"truth": turned["frames"][0]}


@torch.no_grad()
def look(
    models: Mapping[str, nn.Module], turned: Mapping[str, Tensor], number: int, stop: int
) -> dict[str, Tensor]:
    """One object from one side, painted now: what a slider asks for.

    Args:
        models: label -> model.
        turned: of `spin`.
        number: which of its objects.
        stop: azimuth bin.

    Returns:
        label -> picture (3, H, W): source, the models in their order, truth.
    """
    one = slice(number, number + 1)
    asked = turned["source"][one], turned["source_view"][one], turned["views"][one, stop]
    made = {name: model.render(*asked)[0] for name, model in models.items()}
    return {"source": turned["source"][number]} | made | {"truth": turned["frames"][number, stop]}
