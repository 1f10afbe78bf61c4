"""Procedural people: pictures of articulated figures with exact flow, visibility and part labels.

`pairs` draws one person twice, in two poses, and knows for every target pixel where in the source
it came from: each part is a tapered capsule, a pixel on it has surface coordinates (`body.py`), and
the same coordinates on the same part of the other pose are another pixel. The colour of the cloth
depends on those coordinates only (`garments.py`). Edges are anti-aliased from signed distances.
"""

import math

import torch
from torch import Tensor

from gfla.data.body import (
    HAIR,
    HEAD,
    PARTS,
    SKIRT,
    TORSO,
    Body,
    Capsules,
    Draw,
    Pose,
    capsules,
    draw_body,
    draw_pose,
)  # fmt: skip
from gfla.data.garments import Wardrobe, draw_wardrobe, paint
from gfla.data.keypoints import heatmaps

CHUNK = 8  # pairs drawn together; always whole chunks, so that a pair never depends on its batch
GRAZING = 0.25  # cosine under which a surface point counts as turned away
MEASURING_SEEDS = 30_000_000  # seeds from here on are for measuring, those under 10,000,000 train


def pairs(
    count: int,
    size: tuple[int, int] = (64, 64),
    seed: int = 0,
    device: str | torch.device = "cpu",
    first: int = 0,
) -> dict[str, Tensor]:
    """Draw `count` people, each in a source and a target pose, with the truth about them.

    A pure function of its arguments: the same seed gives the same people, pair i does not depend on
    `count`, and `pairs(n)` is a prefix of `pairs(m)` for m > n.

    Args:
        count: number of pairs B, at least 1.
        size: (H, W) in pixels, 32 to 512 each, the person's height is about 0.88 H.
        seed: any whole number >= 0; under 10,000,000 for training, from 30,000,000 for measuring.
        device: where to draw.
        first: number of the first pair: `pairs(n, first=k)` are the last n of `pairs(k + n)`.

    Returns:
        source, target (B, 3, H, W) in [-1, 1]; source_pose, target_pose (B, 18, H, W) heat maps
        with sigma 6 H / 256 pixels; source_keypoints, target_keypoints (B, 18, 2) as (x, y) pixels,
        -1 where hidden or outside; flow (B, 2, H, W) target to source in pixels, 0 on background;
        visible, foreground (B, 1, H, W) of the target, 0 or 1, visible within foreground;
        parts (B, 1, H, W) int64, 0 = background, else 1 + index into `body.PARTS`.

    Raises:
        ValueError: count, size or seed out of range.

    >>> batch = pairs(2, size=(64, 64), seed=3)
    >>> batch["flow"].shape, bool((batch["visible"] <= batch["foreground"]).all())
    (torch.Size([2, 2, 64, 64]), True)
    """
    _check(count, size, seed)
    chunks = []
    for start in range(first // CHUNK * CHUNK, first + count, CHUNK):
        chunk = _draw_chunk(Draw(seed, range(start, start + CHUNK), device), size)
        wanted = slice(max(first - start, 0), first + count - start)
        chunks.append({key: value[wanted] for key, value in chunk.items()})
    return {key: torch.cat([chunk[key] for chunk in chunks]) for key in chunks[0]}


def _check(count: int, size: tuple[int, int], seed: int) -> None:
    if count < 1:
        raise ValueError(f"count is {count}, expected at least 1 pair")
    if len(size) != 2 or not all(32 <= int(side) <= 512 for side in size):
        raise ValueError(f"size is {tuple(size)}, expected (H, W) with 32 to 512 pixels each")
    if not 0 <= seed < 2**62:
        raise ValueError(f"seed is {seed}, expected a whole number from 0 to 2**62 - 1")


@torch.no_grad()
def _draw_chunk(draw: Draw, size: tuple[int, int]) -> dict[str, Tensor]:
    """CHUNK pairs, drawn together."""
    body = draw_body(draw)
    wardrobe = draw_wardrobe(draw, body)
    aspect = min(1.0, size[1] / size[0])
    source_pose = draw_pose(draw, aspect=aspect)
    target_pose = draw_pose(draw, near=source_pose.yaw, aspect=aspect)
    backdrop = draw_backdrop(draw, size)
    source = Figure(body, wardrobe, source_pose, size)
    target = Figure(body, wardrobe, target_pose, size)
    flow, visible = correspond(target, source)
    sigma = 6.0 * size[0] / 256
    keypoints = {"source": source.keypoints(), "target": target.keypoints()}
    return {
        "source": source.picture(backdrop),
        "target": target.picture(backdrop),
        "source_pose": heatmaps(keypoints["source"], size, sigma),
        "target_pose": heatmaps(keypoints["target"], size, sigma),
        "source_keypoints": keypoints["source"],
        "target_keypoints": keypoints["target"],
        "flow": flow,
        "visible": visible,
        "foreground": (target.parts > 0).float(),
        "parts": target.parts,
    }


class Figure:
    """B people standing in a picture: which part each pixel shows, and which point of it."""

    def __init__(self, body: Body, wardrobe: Wardrobe, pose: Pose, size: tuple[int, int]):
        self.body, self.wardrobe, self.size = body, wardrobe, size
        self.shape, self.joints = capsules(body, pose, size)
        self.yaw = pose.yaw
        coverage = self._coverage()
        depth = torch.where(coverage > 0, self.shape.depth[..., None, None], -9.0)
        self.top = depth.argmax(1, keepdim=True)  # (B, 1, H, W) nearest part that touches the pixel
        self.alpha = coverage.gather(1, self.top)
        under = depth.scatter(1, self.top, -9.0)
        self.below = under.argmax(1, keepdim=True)
        self.alpha_below = coverage.gather(1, self.below) * (under.amax(1, keepdim=True) > -9)
        solid = torch.where(self.alpha >= 0.5, self.top + 1, 0)
        second = torch.where(self.alpha_below >= 0.5, self.below + 1, 0)
        self.parts = torch.where(solid > 0, solid, second)  # (B, 1, H, W)

    def _coverage(self) -> Tensor:
        """How much of each pixel every part covers, from signed distances: (B, P, H, W)."""
        height, width = self.size
        shape, device = self.shape, self.yaw.device
        y = torch.arange(height, device=device, dtype=torch.float32)[:, None]
        x = torch.arange(width, device=device, dtype=torch.float32)
        dx = x - shape.start[..., 0, None, None]  # (B, P, 1, W)
        dy = y - shape.start[..., 1, None, None]  # (B, P, H, 1)
        ux, uy = (shape.direction[..., i, None, None] for i in (0, 1))
        along = dx * ux + dy * uy  # (B, P, H, W)
        across = dx * uy - dy * ux
        length = shape.length[..., None, None]
        inside = along.clamp(min=0).minimum(length)
        t = inside / length
        excess = (along - inside).mul_(shape.square[..., None, None])
        radius = _radius(shape, t)
        distance = across.square_().addcmul_(excess, excess).sqrt_().sub_(radius)
        coverage = distance.neg_().add_(0.5).clamp_(0, 1)
        coverage[:, SKIRT] *= self.body.skirt[:, None, None]
        coverage[:, HAIR] *= self.body.long_hair[:, None, None]
        return coverage

    def surface(self, where: Tensor, part: Tensor) -> tuple[Tensor, ...]:
        """Surface coordinates of pixels: (N,) fraction of the bone, excess beyond it in body
        heights, sine of the angle towards the viewer.

        Args:
            where: (3, N) indices b, y, x. part: (N,) index into PARTS.
        """
        b, y, x = where
        shape = Capsules(*(field[b, part] for field in self.shape))
        offset = torch.stack((x, y), 1) - shape.start
        ux, uy = shape.direction.unbind(1)
        along = offset[:, 0] * ux + offset[:, 1] * uy
        across = offset[:, 0] * uy - offset[:, 1] * ux
        inside = along.clamp(min=0).minimum(shape.length)
        t = inside / shape.length
        chord = _chord(shape, t, along - inside)
        return t, (along - inside) / shape.scale, (across / chord).clamp(-1, 1)

    def position(self, b: Tensor, part: Tensor, t: Tensor, beyond: Tensor, sine: Tensor) -> Tensor:
        """Pixels (N, 2) as (x, y) of surface coordinates: the inverse of `surface`."""
        shape = Capsules(*(field[b, part] for field in self.shape))
        excess = beyond * shape.scale
        across = sine * _chord(shape, t, excess)
        along = t * shape.length + excess
        ux, uy = shape.direction.unbind(1)
        turned = torch.stack((uy, -ux), 1)
        return shape.start + along[:, None] * shape.direction + across[:, None] * turned

    def picture(self, backdrop: Tensor) -> Tensor:
        """The people before the backdrop (B, 3, H, W) in [0, 1] -> image in [-1, 1]."""
        image = backdrop.clone()
        for part, alpha in ((self.below, self.alpha_below), (self.top, self.alpha)):
            b, _, y, x = where = (alpha > 0).nonzero(as_tuple=True)
            part = part[where]
            t, beyond, sine = self.surface((b, y, x), part)
            angle = sine.asin() - self.shape.turn[b, part]
            angle = torch.remainder(angle + math.pi, 2 * math.pi) - math.pi
            along = t * self.shape.natural[b, part] + beyond
            color = paint(self.wardrobe, self.body, b, part, angle, along)
            shade = 1.0 - 0.12 * sine**2 - 0.05 * sine  # soft light from the upper left
            old = image[b, :, y, x]
            image[b, :, y, x] = torch.lerp(
                old, (color * shade[:, None]).clamp(max=1), alpha[where][:, None]
            )
        return image * 2 - 1

    def keypoints(self) -> Tensor:
        """OpenPose-18 key points (B, 18, 2) as (x, y) pixels, -1 where hidden or outside."""
        rows = [self._joint(name, parts) for name, parts in _SEEN_ON.items()]
        face = [self._face_point(angle, along) for angle, along in _FACE]
        points = torch.stack([face[0], *rows, *face[1:]], 1)  # (B, 18, 3) x, y, shown
        return torch.where(points[..., 2:] > 0, points[..., :2], -1.0)

    def _joint(self, name: str, parts: tuple[int, ...]) -> Tensor:
        point = self.joints[name][:, :2]
        shown = self._part_at(point)
        allowed = torch.tensor(parts, device=point.device) + 1
        return torch.cat((point, (shown[:, None] == allowed).any(1, keepdim=True)), 1)

    def _face_point(self, angle: float, along: float) -> Tensor:
        b = torch.arange(len(self.yaw), device=self.yaw.device)
        head = torch.full_like(b, HEAD)
        toward = angle + self.shape.turn[:, HEAD]
        natural = self.shape.natural[:, HEAD]
        t = torch.full_like(toward, along) / natural
        inside = t.clamp(0, 1)
        point = self.position(b, head, inside, (t - inside) * natural, toward.sin())
        shown = (toward.cos() > -0.1) & (
            self._part_at(point * 0.97 + 0.03 * self._middle()) == HEAD + 1
        )
        return torch.cat((point, shown[:, None]), 1)

    def _middle(self) -> Tensor:
        return (
            self.shape.start[:, HEAD]
            + self.shape.direction[:, HEAD] * 0.5 * (self.shape.length[:, HEAD, None])
        )

    def _part_at(self, point: Tensor) -> Tensor:
        """Part label (B,) at (B, 2) pixels; -1 outside the picture."""
        height, width = self.size
        x, y = point.round().long().unbind(1)
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        b = torch.arange(len(x), device=x.device)
        label = self.parts[b, 0, y.clamp(0, height - 1), x.clamp(0, width - 1)]
        return torch.where(inside, label, -1)


def correspond(target: Figure, source: Figure) -> tuple[Tensor, Tensor]:
    """Exact flow (B, 2, H, W) from the target's pixels to the source's, and visibility there."""
    batch, _, height, width = target.parts.shape
    b, _, y, x = target.parts.nonzero(as_tuple=True)
    part = target.parts[b, 0, y, x] - 1
    t, beyond, sine = target.surface((b, y, x), part)
    angle = sine.asin() - target.shape.turn[b, part] + source.shape.turn[b, part]
    there = source.position(b, part, t, beyond, angle.sin())
    here = torch.stack((x, y), 1).float()
    column, row = there.round().long().unbind(1)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    label = source.parts[b, 0, row.clamp(0, height - 1), column.clamp(0, width - 1)]
    seen = inside & (angle.cos() > GRAZING) & (label == part + 1)
    flow = torch.zeros(batch, 2, height, width, device=there.device)
    visible = torch.zeros(batch, 1, height, width, device=there.device)
    flow[b, :, y, x] = there - here
    visible[b, 0, y, x] = seen.float()
    return flow, visible


def _radius(shape: Capsules, t: Tensor) -> Tensor:
    """Half width at fraction t of the bone; fields of `shape` broadcast to t."""
    r0, r1, bulge = (
        f.view(f.shape + (1,) * (t.dim() - f.dim()))
        for f in (shape.radius0, shape.radius1, shape.bulge)
    )
    return r0 + t * (r1 - r0 + 4 * bulge * (1 - t))


def _chord(shape: Capsules, t: Tensor, excess: Tensor) -> Tensor:
    """Half width of the part where a point lies `excess` pixels beyond its bone's end."""
    radius = _radius(shape, t)
    return (radius**2 - (shape.square * excess) ** 2).clamp(min=0.25).sqrt()


def draw_backdrop(draw: Draw, size: tuple[int, int]) -> Tensor:
    """Studio walls with a floor, the same behind source and target: (B, 3, H, W) in [0, 1]."""
    height, width = size
    device = draw.key.device
    y = torch.linspace(0, 1, height, device=device)[:, None]
    x = torch.linspace(0, 1, width, device=device)
    wall, floor = draw.uniform(0.4, 0.78, 3, 1, 1), draw.uniform(0.3, 0.7, 3, 1, 1)
    slope = draw.uniform(-0.2, 0.2, 3, 2, 1, 1)
    glow = draw.uniform(0.2, 0.8, 2, 1, 1, 1)
    room = wall + slope[:, :, 0] * (x - 0.5) + slope[:, :, 1] * (y - 0.5)
    room = room + 0.15 * torch.exp(-6 * ((x - glow[:, 0]) ** 2 + (y - glow[:, 1] * 0.6) ** 2))
    edge = draw.uniform(0.78, 0.88, 1, 1, 1)
    ground = floor + 0.25 * (y - edge)
    return torch.lerp(room, ground, torch.sigmoid((y - edge) * height * 0.8)).clamp(0, 1)


_NAMES = {name: index for index, name in enumerate(PARTS)}


def _parts(*names: str) -> tuple[int, ...]:
    return tuple(_NAMES[n] for n in names)


def _limbs(side: str) -> dict[str, tuple[int, ...]]:
    arm, fore, hand, thigh, shin, shoe = (
        _NAMES[f"{side} {n}"] for n in ("upper arm", "forearm", "hand", "thigh", "shin", "shoe")
    )
    seen = {
        "shoulder": (TORSO, arm), "elbow": (arm, fore), "wrist": (fore, hand),
        "hip": (TORSO, SKIRT, thigh), "knee": (SKIRT, thigh, shin), "ankle": (shin, shoe),
    }  # fmt: skip
    return {f"{side} {joint}": parts for joint, parts in seen.items()}


_right, _left = _limbs("right"), _limbs("left")
_ARM, _LEG = ("shoulder", "elbow", "wrist"), ("hip", "knee", "ankle")
# on which parts a joint may be seen, in OpenPose-18 order after the nose
_SEEN_ON = {"neck": _parts("torso", "neck", "head")}
for _chain in (_ARM, _LEG):
    _SEEN_ON |= {f"right {j}": _right[f"right {j}"] for j in _chain}
    _SEEN_ON |= {f"left {j}": _left[f"left {j}"] for j in _chain}
# nose, right eye, left eye, right ear, left ear: angle around the head, place along it
_FACE = ((0.0, 0.03), (-0.42, 0.012), (0.42, 0.012), (-1.5, 0.02), (1.5, 0.02))
