"""The showroom of the procedural objects: what stands there, and what a camera sees of it."""

import copy

import torch
from torch import Tensor

from gfla.data.body import Draw
from gfla.data.finishes import Finish, draw_finish, paint
from gfla.data.furniture import chair, table
from gfla.data.solids import FIELDS, Camera, Hits, Solids, cast, fit, orbit, solids, surface
from gfla.data.vehicles import car, truck

TRAINED = ("chair", "car")
HELD_OUT = ("table", "truck")  # one relative of each trained class: its parts, another whole
CLASSES = TRAINED + HELD_OUT
BUILDERS = {"chair": chair, "car": car, "table": table, "truck": truck}
VEHICLES = ("car", "truck")
STREAM = 4096  # numbers set aside for each class, the materials and the cameras of an object
GRAZING = 0.12  # cosine under which a surface point counts as turned away
TOLERANCE = 4e-3  # depth, in radii of the object, within which two hits are one point
SAMPLES = ((-0.25, -0.25), (0.25, -0.25), (-0.25, 0.25), (0.25, 0.25))


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
        flow = torch.stack((x - self.x, y - self.y), 1)
        flow = torch.where(hit[:, None], flow, 0)  # a ray that hits nothing may project to nowhere
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


def _stream(draw: Draw, number: int) -> Draw:
    """The same objects' numbers from another place on: what one part draws moves no other."""
    twin = copy.copy(draw)
    twin.column = (number + 1) * STREAM
    return twin
