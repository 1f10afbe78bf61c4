"""Solids that rays hit exactly: the renderer of the procedural objects.

Every solid is an affine image of one unit shape: the cube [-1, 1]^3, tapered towards Y = +1, cut by
one convex quadric X^2 + Z^2 + w Y^2 <= a + b Y. That makes boxes, frustums, rods, tapered rods,
discs, balls and boxes with rounded corners, and a ray meets each in closed form.

The renderer is our own because what is needed is the truth, not only the picture: the ray through
any point of any view answers "what is nearest here, and how far", which is all that exact flow and
visibility take. pyrender (over trimesh) draws without a screen only through EGL or OSMesa, a system
library that pip does not bring, and gives depth at pixel centres, from which flow can be computed
but visibility only be estimated. It was not tried here.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

DISTANCE = 3.5  # of the camera from the object's centre, in radii of the object
FILL = 0.86  # share of the picture that the widest or highest view takes
AZIMUTHS, ELEVATIONS = 18, 3  # bins of 20 and of 10 degrees
# rows of `Solids.numbers` while objects are being built
FIELDS = (
    "x", "y", "z", "half_x", "half_y", "half_z", "lean_x", "lean_z", "taper_x", "taper_z",
    "w", "a", "b", "axis", "yaw", "material", "decal", "on",
)  # fmt: skip
PLAIN = {"taper_x": 1.0, "taper_z": 1.0, "a": 9.0, "on": 1.0}  # a box; other fields are 0
ROD = {"w": 0.0, "a": 1.0, "b": 0.0}
BALL = {"w": 1.0, "a": 1.0, "b": 0.0}
UP, ALONG_X, ALONG_Z = range(3)  # which way the unit shape's Y axis points
QUADRIC = 6  # the surface that is none of the faces +X, -X, +Y, -Y, +Z, -Z


class Solids(NamedTuple):
    """P solids of B objects, in radii of the object about its centre, y up, front to +z."""

    centre: Tensor  # (B, P, 3)
    axes: Tensor  # (B, P, 3, 3) unit shape -> object, columns
    frame: Tensor  # (B, P, 3, 3) its inverse
    taper: Tensor  # (B, P, 2) half width at unit height Y is 1 + taper * (Y + 1) / 2, for X and Z
    quadric: Tensor  # (B, P, 3) w, a, b
    material: Tensor  # (B, P) int64, which of the object's materials
    decal: Tensor  # (B, P) int64, what is drawn on top of it
    on: Tensor  # (B, P) boolean: the object has it


class Camera(NamedTuple):
    """B cameras that look at the origin. Pixel centres at integers, x right, y down."""

    eye: Tensor  # (B, 3)
    axes: Tensor  # (B, 3, 3) rows: right, down, forward
    focal: Tensor  # (B,) pixels
    size: tuple[int, int]  # H, W

    def directions(self, x: Tensor, y: Tensor) -> Tensor:
        """Rays (B, 3, N) through pixels (B, N), one unit deep, so that t along them is depth."""
        height, width = self.size
        right = (x - (width - 1) / 2) / self.focal[:, None]
        down = (y - (height - 1) / 2) / self.focal[:, None]
        rays = torch.stack((right, down, torch.ones_like(right)), 1)
        return self.axes.transpose(1, 2) @ rays

    def project(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Columns x and rows y in pixels, and depth, each (B, N), of points (B, 3, N)."""
        height, width = self.size
        right, down, depth = (self.axes @ (points - self.eye[..., None])).unbind(1)
        scale = self.focal[:, None] / depth
        return right * scale + (width - 1) / 2, down * scale + (height - 1) / 2, depth


class Hits(NamedTuple):
    """What N rays of each of B objects meet first."""

    depth: Tensor  # (B, N), inf where nothing is met
    index: Tensor  # (B, N) int64 which solid, -1 for none
    points: Tensor  # (B, 3, N), without meaning where nothing is met


class Surface(NamedTuple):
    """M surface points, without an order."""

    unit: Tensor  # (3, M) in the unit shape
    normal: Tensor  # (3, M) outward, length 1, in the object's frame
    face: Tensor  # (M,) int64: +X, -X, +Y, -Y, +Z, -Z or QUADRIC


class Parts:
    """Collects the solids of B objects; every number is a float or a (B,) tensor.

    >>> parts = Parts(2, "cpu")
    >>> parts.add((0, 1, 0), (0.5, 1, torch.tensor([0.1, 0.2])), ROD)
    >>> parts.table().shape
    torch.Size([2, 1, 18])
    """

    def __init__(self, count: int, device: str | torch.device):
        self.count, self.device, self.rows = count, device, []

    def add(self, centre: tuple, half: tuple, shape: dict | None = None, **more) -> None:
        """One more solid: centre and half sizes along x, y, z of the object, then FIELDS."""
        named = dict(zip(FIELDS[:6], (*centre, *half), strict=True))
        self.rows.append(PLAIN | named | (shape or {}) | more)

    def table(self) -> Tensor:
        """All numbers (B, P, len(FIELDS))."""
        constant = [[row.get(f, 0.0) for f in FIELDS] for row in self.rows]
        plain = [[0.0 if isinstance(v, Tensor) else float(v) for v in row] for row in constant]
        table = torch.tensor(plain, device=self.device).expand(self.count, -1, -1).clone()
        drawn = [
            (p, f, value)
            for p, row in enumerate(constant)
            for f, value in enumerate(row)
            if isinstance(value, Tensor)
        ]
        if drawn:
            p, f, values = zip(*drawn, strict=True)
            table[:, list(p), list(f)] = torch.stack([v.to(table.dtype) for v in values], 1)
        return table


def solids(table: Tensor) -> Solids:
    """Solids of B objects from their numbers (B, P, len(FIELDS)), centred, with radius 1."""
    field = dict(zip(FIELDS, table.unbind(2), strict=True))
    axis = field["axis"].long()
    cos, sin = field["yaw"].cos(), field["yaw"].sin()
    zero, one = torch.zeros_like(cos), torch.ones_like(cos)
    turn = torch.stack((cos, zero, -sin, zero, one, zero, sin, zero, cos), 2).unflatten(2, (3, 3))
    order = torch.tensor([[0, 1, 2], [1, 0, 2], [0, 2, 1]], device=table.device)[axis]
    turn = turn.gather(2, order[..., None].expand_as(turn))  # rows: the unit shape's axes
    half = torch.stack([field[f"half_{n}"] for n in "xyz"], 2).gather(2, order).clamp(min=1e-4)
    hx, hy, hz = half.unbind(2)
    lx, lz = field["lean_x"], field["lean_z"]
    shape = torch.stack((hx, lx, zero, zero, hy, zero, zero, lz, hz), 2).unflatten(2, (3, 3))
    back = torch.stack(
        (1 / hx, -lx / (hx * hy), zero, zero, 1 / hy, zero, zero, -lz / (hz * hy), 1 / hz), 2
    ).unflatten(2, (3, 3))
    made = Solids(
        centre=torch.stack((field["x"], field["y"], field["z"]), 2),
        axes=turn.transpose(2, 3) @ shape,
        frame=back @ turn,
        taper=torch.stack((field["taper_x"], field["taper_z"]), 2) - 1,
        quadric=torch.stack((field["w"], field["a"], field["b"]), 2),
        material=field["material"].long(),
        decal=field["decal"].long(),
        on=field["on"] > 0,
    )
    points, on = corners(made), made.on[:, :, None, None]
    low = points.masked_fill(~on, math.inf).amin((1, 2))
    high = points.masked_fill(~on, -math.inf).amax((1, 2))
    middle = ((low + high) / 2)[:, None]
    far = (points - middle[:, :, None]).norm(dim=3, keepdim=True).masked_fill(~on, 0)
    radius = far.amax((1, 2, 3))[:, None, None]
    return made._replace(
        centre=(made.centre - middle) / radius,
        axes=made.axes / radius[..., None],
        frame=made.frame * radius[..., None],
    )


def corners(shape: Solids) -> Tensor:
    """The 8 corners (B, P, 8, 3) of each solid's frustum, which encloses it."""
    sign = torch.tensor([-1.0, 1.0], device=shape.centre.device)
    unit = torch.cartesian_prod(sign, sign, sign).T  # (3, 8)
    wide = 1 + shape.taper[:, :, :, None] * (unit[1] + 1) / 2  # (B, P, 2, 8)
    spread = torch.stack((unit[0] * wide[:, :, 0], unit[1].expand_as(wide[:, :, 0]),
                          unit[2] * wide[:, :, 1]), 2)  # fmt: skip
    return (shape.axes @ spread).transpose(2, 3) + shape.centre[:, :, None]


def orbit(azimuth: Tensor, elevation: Tensor, focal: Tensor, size: tuple[int, int]) -> Camera:
    """Cameras at azimuth bins (B,) of 20 degrees and elevation bins (B,) of 10 degrees."""
    a = azimuth.float() * (2 * math.pi / AZIMUTHS)
    e = elevation.float() * (math.pi / 18)
    zero = torch.zeros_like(a)
    back = torch.stack((e.cos() * a.sin(), e.sin(), e.cos() * a.cos()), 1)
    right = torch.stack((a.cos(), zero, -a.sin()), 1)
    down = torch.stack((e.sin() * a.sin(), -e.cos(), e.sin() * a.cos()), 1)
    return Camera(DISTANCE * back, torch.stack((right, down, -back), 1), focal, size)


def fit(shape: Solids, size: tuple[int, int]) -> Tensor:
    """Focal lengths (B,) with which no view of the orbit leaves FILL of the picture."""
    count, device = len(shape.centre), shape.centre.device
    azimuth = torch.arange(AZIMUTHS, device=device).repeat_interleave(ELEVATIONS)
    elevation = torch.arange(ELEVATIONS, device=device).repeat(AZIMUTHS)
    views = orbit(azimuth, elevation, torch.ones(len(azimuth), device=device), size)
    points = corners(shape).masked_fill(~shape.on[:, :, None, None], 0).reshape(count, 1, -1, 3)
    seen = points @ views.axes.transpose(1, 2) + torch.tensor([0, 0, DISTANCE], device=device)
    reach = (seen[..., :2] / seen[..., 2:]).abs().amax((1, 2))  # (B, 2) at focal length 1
    return (FILL / 2 * torch.tensor([size[1], size[0]], device=device) / reach).amin(1)


def cast(shape: Solids, camera: Camera, x: Tensor, y: Tensor) -> Hits:
    """Send rays through pixels x, y, each (B, N), and say what they meet first.

    A solid is tried only by the rays within the rectangle that its corners span in the picture.
    """
    count, rays = x.shape
    direction = camera.directions(x, y)
    column, row, _ = camera.project(corners(shape).flatten(1, 2).transpose(1, 2))
    column, row = (v.unflatten(1, (-1, 8)) for v in (column, row))  # (B, P, 8)
    left = column.amin(2).masked_fill(~shape.on, math.inf)[..., None]
    inside = (x[:, None] >= left) & (x[:, None] <= column.amax(2)[..., None])
    inside &= (y[:, None] >= row.amin(2)[..., None]) & (y[:, None] <= row.amax(2)[..., None])
    tried = inside.flatten().nonzero().squeeze(1)
    which, ray = tried // rays, tried % rays  # object and solid, ray of the object
    ray += which // shape.on.shape[1] * rays  # ray of all
    near = _meet(shape, camera.eye, which, direction.transpose(0, 1).flatten(1)[:, ray])
    depth = near.new_full((count * rays,), math.inf).scatter_reduce(0, ray, near, "amin")
    first = (near == depth[ray]) & (near < math.inf)
    none = shape.on.shape[1]
    index = torch.full_like(depth, none, dtype=torch.int64)
    index.scatter_reduce_(0, ray[first], which[first] % none, "amin")
    depth, index = depth.view(count, rays), index.view(count, rays)
    points = camera.eye[..., None] + direction * depth.clamp(max=2 * DISTANCE)[:, None]
    return Hits(depth, torch.where(index == none, -1, index), points)


def _meet(shape: Solids, eye: Tensor, which: Tensor, direction: Tensor) -> Tensor:
    """Depth (M,) at which ray m enters solid `which` (M,) of all objects; inf when it misses."""
    origin = (shape.frame @ (eye[:, None] - shape.centre)[..., None]).squeeze(3)
    numbers = torch.cat((origin, shape.frame.flatten(2), shape.taper, shape.quadric), 2)
    numbers = numbers.flatten(0, 1).T.contiguous()[:, which]  # (17, M)
    ox, oy, oz = numbers[:3]
    dx, dy, dz = (numbers[3:12].view(3, 3, -1) * direction).sum(1)
    taper, (w, a, b) = numbers[12:14] / 2, numbers[14:]
    dy = dy + 1e-9  # a ray may lie in a face's plane: never divide by 0
    middle, half = -oy / dy, (1 / dy).abs()
    near, far = middle - half, middle + half
    for o, d, k in ((ox, dx, taper[0]), (oz, dz, taper[1])):
        for sign in (1, -1):  # sign * X - k Y <= 1 + k
            slope = sign * d - k * dy + 1e-9
            t = (1 + k - sign * o + k * oy) / slope
            near = torch.where(slope < 0, near.maximum(t), near)
            far = torch.where(slope < 0, far, far.minimum(t))
    # The quadric about the ray's point nearest to its axis: no difference of large numbers.
    square = dx * dx + dz * dz + w * dy * dy + 1e-12
    start = -(ox * dx + oz * dz + w * oy * dy - b * dy / 2) / square
    px, py, pz = ox + start * dx, oy + start * dy, oz + start * dz
    left = (a + b * py - px * px - pz * pz - w * py * py) / square
    reach = left.clamp(min=0).sqrt()
    near, far = near.maximum(start - reach), far.minimum(start + reach)
    return torch.where((left > 0) & (near < far) & (near > 0), near, math.inf)


def surface(shape: Solids, which: Tensor, points: Tensor) -> Surface:
    """Place, normal and face of points (3, M) that lie on solids `which` (M,) of all objects."""
    frame = shape.frame.flatten(0, 1).permute(1, 2, 0)[:, :, which]  # (3, 3, M)
    offset = points - shape.centre.flatten(0, 1).T[:, which]
    unit = (frame * offset).sum(1)
    x, y, z = unit
    kx, kz = shape.taper.flatten(0, 1).T[:, which] / 2
    w, a, b = shape.quadric.flatten(0, 1).T[:, which]
    steep = torch.stack((2 * x, 2 * w * y - b, 2 * z))
    beyond = torch.stack([  # signed distance from each surface, about 0 on the one that was met
        (x - kx * y - 1 - kx) / (1 + kx * kx).sqrt(), (-x - kx * y - 1 - kx) / (1 + kx * kx).sqrt(),
        y - 1, -y - 1,
        (z - kz * y - 1 - kz) / (1 + kz * kz).sqrt(), (-z - kz * y - 1 - kz) / (1 + kz * kz).sqrt(),
        (x * x + z * z + w * y * y - a - b * y) / steep.norm(dim=0).clamp(min=1e-6),
    ])  # fmt: skip
    face = beyond.argmax(0)
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    normals = torch.stack([
        torch.stack((one, -kx, zero)), torch.stack((-one, -kx, zero)),
        torch.stack((zero, one, zero)), torch.stack((zero, -one, zero)),
        torch.stack((zero, -kz, one)), torch.stack((zero, -kz, -one)), steep,
    ])  # fmt: skip
    normal = normals.gather(0, face.expand(1, 3, -1)).squeeze(0)
    normal = (frame * normal[:, None]).sum(0)  # (3, M): normals go by the transposed inverse
    return Surface(unit, normal / normal.norm(dim=0).clamp(min=1e-9), face)
