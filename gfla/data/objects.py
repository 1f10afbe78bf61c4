"""Procedural objects: chairs, cars and two classes held out of training, seen from an orbit.

`pairs` draws one rigid object from two of 18 azimuths (20 degrees apart) and knows for every target
pixel where in the source it came from; `views` draws it from all 18. A pixel's ray meets the object
in a point (`solids.py`), that point projected into the other camera is the flow, and the other
camera's own ray through that place says whether anything stands before it. The colour depends on
the point only (`finishes.py`), the shape is `furniture.py` and `vehicles.py`. Pictures are averages
of four rays a pixel; the truth belongs to the pixel's centre.
"""

import copy

import torch
from torch import Tensor

from gfla.data.body import Draw
from gfla.data.finishes import Finish, draw_finish, paint
from gfla.data.furniture import chair, table
from gfla.data.people import MEASURING_SEEDS
from gfla.data.solids import (
    AZIMUTHS,
    ELEVATIONS,
    FIELDS,
    Camera,
    Hits,
    Solids,
    cast,
    fit,
    orbit,
    solids,
    surface,
)
from gfla.data.vehicles import car, truck

__all__ = ["CLASSES", "HELD_OUT", "MEASURING_SEEDS", "TRAINED", "pairs", "view_code", "views"]

TRAINED = ("chair", "car")
HELD_OUT = ("table", "truck")  # one relative of each trained class: its parts, another whole
CLASSES = TRAINED + HELD_OUT
BUILDERS = {"chair": chair, "car": car, "table": table, "truck": truck}
VEHICLES = ("car", "truck")
CHUNK = 8  # objects drawn together; always whole chunks, so that none depends on its batch
STREAM = 4096  # numbers set aside for each class, the materials and the cameras of an object
GRAZING = 0.12  # cosine under which a surface point counts as turned away
TOLERANCE = 4e-3  # depth, in radii of the object, within which two hits are one point
SAMPLES = ((-0.25, -0.25), (0.25, -0.25), (-0.25, 0.25), (0.25, 0.25))


def pairs(
    count: int,
    size: tuple[int, int] = (64, 64),
    seed: int = 0,
    classes: tuple[str, ...] = TRAINED,
    same_elevation: bool = True,
    device: str | torch.device = "cpu",
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

    Returns:
        source, target (B, 3, H, W) in [-1, 1]; source_view, target_view (B, 21, 1, 1), see
        `view_code`; flow (B, 2, H, W) target to source in pixels, 0 on background; visible,
        foreground (B, 1, H, W) of the target, 0 or 1, visible within foreground; depth
        (B, 1, H, W) of the target in radii of the object, 0 on background; azimuths and elevations
        (B, 2) int64, bins of source and target; elevation (B,) int64, the target's; kind (B,)
        int64, index into CLASSES.

    Raises:
        ValueError: count, size, seed or classes out of range.

    >>> batch = pairs(2, size=(64, 64), seed=3)
    >>> batch["flow"].shape, bool((batch["visible"] <= batch["foreground"]).all())
    (torch.Size([2, 2, 64, 64]), True)
    """
    _check(count, size, seed, classes)
    chunks = []
    for first in range(0, count, CHUNK):
        draw = Draw(seed, range(first, first + CHUNK), device)
        chunk = _pair_chunk(draw, size, classes, same_elevation)
        chunks.append({key: value[: count - first] for key, value in chunk.items()})
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


class Things:
    """B objects, their shapes and materials, ready to be looked at."""

    def __init__(self, draw: Draw, size: tuple[int, int], classes: tuple[str, ...]):
        self.size = size
        names = torch.tensor([CLASSES.index(name) for name in classes], device=draw.key.device)
        self.kind = names[(draw.uniform(0, 1) * len(classes)).long()]
        self.cameras = _stream(draw, len(CLASSES) + 1)
        built = {name: BUILDERS[name](_stream(draw, CLASSES.index(name))) for name in classes}
        tables = {CLASSES.index(name): parts.table() for name, parts in built.items()}
        widest = max(rows.shape[1] for rows in tables.values())
        numbers = draw.key.new_zeros((len(self.kind), widest, len(FIELDS)), dtype=torch.float32)
        for index, rows in tables.items():
            own = self.kind == index
            numbers[own, : rows.shape[1]] = rows[own]
        self.solids: Solids = solids(numbers)
        vehicle = torch.zeros_like(self.kind, dtype=torch.bool)
        for name in VEHICLES:
            vehicle |= self.kind == CLASSES.index(name)
        self.finish: Finish = draw_finish(_stream(draw, len(CLASSES)), vehicle)
        self.focal = fit(self.solids, size)

    def look(self, azimuth: Tensor, elevation: Tensor) -> "View":
        """See the objects from bins (B,)."""
        return View(self, orbit(azimuth, elevation, self.focal, self.size))


class View:
    """B objects seen by B cameras: what the ray through each pixel's centre meets."""

    def __init__(self, things: Things, camera: Camera):
        self.things, self.camera = things, camera
        height, width = things.size
        device, count = camera.eye.device, len(camera.eye)
        y, x = torch.meshgrid(
            torch.arange(height, dtype=torch.float32, device=device),
            torch.arange(width, dtype=torch.float32, device=device),
            indexing="ij",
        )
        self.x, self.y = (v.reshape(1, -1).expand(count, -1) for v in (x, y))
        self.hits: Hits = cast(things.solids, camera, self.x, self.y)

    def _plane(self, values: Tensor) -> Tensor:
        return values.unflatten(-1, self.things.size)

    def foreground(self) -> Tensor:
        """(B, 1, H, W), 1 where a pixel's centre shows the object."""
        return self._plane((self.hits.index >= 0).float()[:, None])

    def depth(self) -> Tensor:
        """(B, 1, H, W) along the view's axis, in radii of the object; 0 on background."""
        return self._plane(self.hits.depth.masked_fill(self.hits.index < 0, 0)[:, None])

    def picture(self) -> Tensor:
        """The objects before their plain wall, (B, 3, H, W) in [-1, 1]."""
        total = 0
        for dx, dy in SAMPLES:
            hits = cast(self.things.solids, self.camera, self.x + dx, self.y + dy)
            total = total + self._colors(hits)
        return self._plane(total / len(SAMPLES) * 2 - 1)

    def _colors(self, hits: Hits) -> Tensor:
        """Colour (B, 3, N) in [0, 1] of rays that met what `hits` says."""
        made, finish = self.things.solids, self.things.finish
        who, ray = (hits.index >= 0).nonzero(as_tuple=True)
        index = hits.index[who, ray]
        which = who * made.on.shape[1] + index
        points = hits.points.transpose(0, 1)[:, who, ray]  # (3, M)
        place = surface(made, which, points)
        color = paint(
            finish, who, made.material.flatten()[which], made.decal.flatten()[which], points, place
        )
        image = finish.backdrop[:, :, None].repeat(1, 1, hits.index.shape[1])
        image[who, :, ray] = color.T
        return image

    def flow_to(self, source: "View") -> tuple[Tensor, Tensor]:
        """Exact flow (B, 2, H, W) to the source's pixels, and visibility (B, 1, H, W) there."""
        hit = self.hits.index >= 0
        x, y, depth = source.camera.project(self.hits.points)
        nearest = cast(source.things.solids, source.camera, x, y).depth
        height, width = self.things.size
        inside = (x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5)
        seen = hit & inside & ((nearest - depth).abs() < TOLERANCE) & self._faces(source.camera.eye)
        flow = torch.stack((x - self.x, y - self.y), 1) * hit[:, None]
        return self._plane(flow), self._plane(seen[:, None].float())

    def _faces(self, eye: Tensor) -> Tensor:
        """Whether (B, N) the surface under each pixel is turned to B eyes (B, 3)."""
        made, hit = self.things.solids, self.hits.index >= 0
        who, ray = hit.nonzero(as_tuple=True)
        points = self.hits.points.transpose(0, 1)[:, who, ray]
        which = who * made.on.shape[1] + self.hits.index[who, ray]
        toward = eye.T[:, who] - points
        cosine = (surface(made, which, points).normal * toward).sum(0) / toward.norm(dim=0)
        facing = torch.zeros_like(hit)
        facing[who, ray] = cosine > GRAZING
        return facing


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


def _stream(draw: Draw, number: int) -> Draw:
    """The same objects' numbers from another place on: what one part draws moves no other."""
    twin = copy.copy(draw)
    twin.column = (number + 1) * STREAM
    return twin
