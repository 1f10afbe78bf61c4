"""Procedural objects: chairs, cars and two classes held out of training, seen from an orbit.

`pairs` draws one rigid object from two of 18 azimuths (20 degrees apart) and knows for every target
pixel where in the source it came from; `views` draws it from all 18. A pixel's ray meets the object
in a point (`solids.py`), that point projected into the other camera is the flow, and the other
camera's own ray through that place says whether anything stands before it. The colour depends on
the point only (`finishes.py`), the shape is `furniture.py` and `vehicles.py`. Pictures are averages
of four rays a pixel; the truth belongs to the pixel's centre.
"""

import torch
from torch import Tensor

from gfla.data.body import Draw
from gfla.data.people import MEASURING_SEEDS
from gfla.data.showroom import CLASSES, HELD_OUT, TRAINED, Things
from gfla.data.solids import AZIMUTHS, ELEVATIONS

__all__ = ["CLASSES", "HELD_OUT", "MEASURING_SEEDS", "TRAINED", "pairs", "view_code", "views"]

CHUNK = 8  # objects drawn together; always whole chunks, so that none depends on its batch


def pairs(
    count: int,
    size: tuple[int, int] = (64, 64),
    seed: int = 0,
    classes: tuple[str, ...] = TRAINED,
    same_elevation: bool = True,
    device: str | torch.device = "cpu",
    first: int = 0,
) -> dict[str, Tensor]:
    """Draw `count` objects, each from a source and a target view, with the truth about them.

    A pure function of its arguments: object i does not depend on `count`, and `pairs(n)` is a
    prefix of `pairs(m)` for m > n. Azimuths are uniform over the 18, so that the two may agree.

    Args:
        count: number of pairs B, at least 1.
        size: (H, W) in pixels, 32 to 512 each.
        seed: any whole number >= 0; under 10,000,000 for training, from 30,000,000 for measuring.
        classes: names out of CLASSES, drawn with equal chances. HELD_OUT ones are not for training.
        same_elevation: source and target share the elevation, as in the paper's data.
        device: where to draw.
        first: number of the first pair: `pairs(n, first=k)` are the last n of `pairs(k + n)`.

    Returns:
        source, target (B, 3, H, W) in [-1, 1]; source_view, target_view (B, 21, 1, 1), see
        `view_code`; flow (B, 2, H, W) target to source in pixels, 0 on background; visible,
        foreground (B, 1, H, W) of the target, 0 or 1, visible within foreground; depth
        (B, 1, H, W) of the target in radii of the object, 0 on background; azimuths and elevations
        (B, 2) int64, bins of source and target; elevation (B,) int64, the target's; kind (B,)
        int64, index into CLASSES.

    Raises:
        ValueError: count, size, seed or classes out of range.

    The paper's pairs are renderings of ShapeNet, the target at the source's elevation and any of
    the 18 azimuths; ours have the same layout. A point counts as visible when it is the nearest on
    its ray from the source's camera and turned to it by a cosine over `showroom.GRAZING`.

    >>> batch = pairs(2, size=(64, 64), seed=3)
    >>> batch["flow"].shape, bool((batch["visible"] <= batch["foreground"]).all())
    (torch.Size([2, 2, 64, 64]), True)
    """
    _check(count, size, seed, classes)
    chunks = []
    for start in range(first // CHUNK * CHUNK, first + count, CHUNK):
        draw = Draw(seed, range(start, start + CHUNK), device)
        chunk = _pair_chunk(draw, size, classes, same_elevation)
        wanted = slice(max(first - start, 0), first + count - start)
        chunks.append({key: value[wanted] for key, value in chunk.items()})
    return {key: torch.cat([chunk[key] for chunk in chunks]) for key in chunks[0]}


def views(
    count: int,
    size: tuple[int, int] = (64, 64),
    seed: int = 0,
    classes: tuple[str, ...] = TRAINED,
    elevation: int = 0,
    source_azimuth: int = 0,
    device: str | torch.device = "cpu",
) -> dict[str, Tensor]:
    """Draw `count` objects from all 18 azimuths; the same objects as `pairs` with this seed.

    Args:
        count, size, seed, classes, device: as in `pairs`.
        elevation: bin 0, 1 or 2 of 0, 10 and 20 degrees, for every view.
        source_azimuth: bin of the view that the flow leads to.

    Returns:
        frames (B, 18, 3, H, W) in [-1, 1]; views (B, 18, 21, 1, 1); flow (B, 18, 2, H, W) from
        each view to the source view in pixels; visible (of the view's points in the source view),
        foreground and depth (B, 18, 1, H, W); kind (B,) int64, index into CLASSES.

    Raises:
        ValueError: count, size, seed, classes, elevation or source_azimuth out of range.

    >>> turn = views(1, size=(32, 32), seed=3)
    >>> turn["frames"].shape, float(turn["flow"][:, 0].abs().max()) < 1e-3
    (torch.Size([1, 18, 3, 32, 32]), True)
    """
    _check(count, size, seed, classes)
    if elevation not in range(ELEVATIONS):
        raise ValueError(f"elevation is {elevation}, expected a bin from 0 to {ELEVATIONS - 1}")
    if source_azimuth not in range(AZIMUTHS):
        raise ValueError(f"source_azimuth is {source_azimuth}, expected 0 to {AZIMUTHS - 1}")
    chunks = []
    for first in range(0, count, CHUNK):
        things = Things(Draw(seed, range(first, first + CHUNK), device), size, classes)
        chunk = _turn(things, elevation, source_azimuth)
        chunks.append({key: value[: count - first] for key, value in chunk.items()})
    return {key: torch.cat([chunk[key] for chunk in chunks]) for key in chunks[0]}


def view_code(azimuth: int | Tensor, elevation: int | Tensor) -> Tensor:
    """The viewpoint as the network reads it: one-hot azimuth, then one-hot elevation.

    Args:
        azimuth: bins of 20 degrees, any shape, modulo 18. elevation: bins 0, 1, 2, same shape.

    Returns:
        (..., 21, 1, 1) float32.

    Raises:
        ValueError: an elevation that is no bin.

    >>> view_code(18, 1).flatten().nonzero().flatten().tolist()
    [0, 19]
    """
    azimuth, elevation = torch.as_tensor(azimuth), torch.as_tensor(elevation)
    if bool(((elevation < 0) | (elevation >= ELEVATIONS)).any()):
        raise ValueError(f"elevation is {elevation.tolist()}, expected bins 0 to {ELEVATIONS - 1}")
    azimuth, elevation = torch.broadcast_tensors(azimuth.long() % AZIMUTHS, elevation.long())
    one_hot = torch.nn.functional.one_hot
    code = torch.cat((one_hot(azimuth, AZIMUTHS), one_hot(elevation, ELEVATIONS)), -1)
    return code.float()[..., None, None]


def _check(count: int, size: tuple[int, int], seed: int, classes: tuple[str, ...]) -> None:
    if count < 1:
        raise ValueError(f"count is {count}, expected at least 1 object")
    if len(size) != 2 or not all(32 <= int(side) <= 512 for side in size):
        raise ValueError(f"size is {tuple(size)}, expected (H, W) with 32 to 512 pixels each")
    if not 0 <= seed < 2**62:
        raise ValueError(f"seed is {seed}, expected a whole number from 0 to 2**62 - 1")
    if isinstance(classes, str) or not classes or not set(classes) <= set(CLASSES):
        raise ValueError(f"classes is {classes!r}, expected a tuple of names out of {CLASSES}")


@torch.no_grad()
def _pair_chunk(
    draw: Draw, size: tuple[int, int], classes: tuple[str, ...], same_elevation: bool
) -> dict[str, Tensor]:
    """CHUNK pairs, drawn together."""
    things = Things(draw, size, classes)
    azimuths = (things.cameras.uniform(0, 1, 2) * AZIMUTHS).long()
    elevations = (things.cameras.uniform(0, 1, 2) * ELEVATIONS).long()
    if same_elevation:
        elevations = elevations[:, 1:].repeat(1, 2)
    source, target = (things.look(azimuths[:, k], elevations[:, k]) for k in (0, 1))
    flow, visible = target.flow_to(source)
    return {
        "source": source.picture(),
        "target": target.picture(),
        "source_view": view_code(azimuths[:, 0], elevations[:, 0]),
        "target_view": view_code(azimuths[:, 1], elevations[:, 1]),
        "flow": flow,
        "visible": visible,
        "foreground": target.foreground(),
        "depth": target.depth(),
        "azimuths": azimuths,
        "elevations": elevations,
        "elevation": elevations[:, 1],
        "kind": things.kind,
    }


@torch.no_grad()
def _turn(things: Things, elevation: int, source_azimuth: int) -> dict[str, Tensor]:
    """All 18 views of CHUNK objects."""
    height = torch.full_like(things.kind, elevation)
    source = things.look(torch.full_like(height, source_azimuth), height)
    made = {key: [] for key in ("frames", "views", "flow", "visible", "foreground", "depth")}
    for azimuth in range(AZIMUTHS):
        bins = torch.full_like(height, azimuth)
        view = things.look(bins, height)
        flow, visible = view.flow_to(source)
        found = (view.picture(), view_code(bins, height), flow, visible, view.foreground(),
                 view.depth())  # fmt: skip
        for rows, value in zip(made.values(), found, strict=True):
            rows.append(value)
    return {key: torch.stack(rows, 1) for key, rows in made.items()} | {"kind": things.kind}
