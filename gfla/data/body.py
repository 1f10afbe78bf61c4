"""Who a procedural person is, how they stand, and which parts that makes.

Lengths are in body heights, angles in radians. The body frame has x to the viewer's right (the
person's left when they face us), y down and z towards the viewer; turning the body is a rotation
about y. Every part is a tapered capsule with an elliptic cross-section, so that a point of its
surface has two coordinates which no pose changes: the place along the bone and the angle around it.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

PARTS = (
    "torso", "neck", "head", "hair", "skirt",
    "right upper arm", "left upper arm", "right forearm", "left forearm",
    "right hand", "left hand", "right thigh", "left thigh", "right shin", "left shin",
    "right shoe", "left shoe",
)  # fmt: skip
TORSO, NECK, HEAD, HAIR, SKIRT = range(5)
SIDES = torch.tensor([-1.0, 1.0])  # the person's right is at the viewer's left


class Draw:
    """A stream of uniform numbers for each pair, a pure function of (seed, index, call order).

    Pair i of a seed gets the same numbers on every device and in every batch: the numbers come from
    hashing (splitmix64), not from a generator that remembers.

    >>> a, b = Draw(7, range(0, 3)), Draw(7, range(2, 3))
    >>> bool(a.uniform(0, 1)[2] == b.uniform(0, 1)[0])
    True
    """

    def __init__(self, seed: int, indices: range, device: str | torch.device = "cpu"):
        index = torch.arange(indices.start, indices.stop, device=device)
        self.key = _mix(_mix(torch.full_like(index, seed)) + index)
        self.column = 0

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """(B, *shape) numbers in [low, high)."""
        width = math.prod(shape)
        column = torch.arange(self.column, self.column + width, device=self.key.device)
        self.column += width
        bits = _mix(self.key[:, None] + column * 0x632BE59BD9B4E019) >> 40 & 0xFFFFFF
        return low + (high - low) * (bits.float() / 2**24).view(-1, *shape)

    def normal(self, mean: float, deviation: float, *shape: int) -> Tensor:
        """(B, *shape) numbers with this mean and deviation, within 2.5 deviations."""
        total = sum(self.uniform(-1, 1, *shape) for _ in range(3))  # Irwin-Hall, deviation 1
        return mean + deviation * total.clamp(-2.5, 2.5)

    def chance(self, probability: float, *shape: int) -> Tensor:
        """(B, *shape) booleans."""
        return self.uniform(0, 1, *shape) < probability


def _mix(x: Tensor) -> Tensor:
    """splitmix64's finaliser in wrapping int64 arithmetic."""
    x = x + (0x9E3779B97F4A7C15 - 2**64)
    x = (x ^ (x >> 30 & 0x3FFFFFFFF)) * (0xBF58476D1CE4E5B9 - 2**64)
    x = (x ^ (x >> 27 & 0x1FFFFFFFFF)) * (0x94D049BB133111EB - 2**64)
    return x ^ (x >> 31 & 0x1FFFFFFFF)


class Body(NamedTuple):
    """Proportions of B people, each (B,), in body heights unless said otherwise."""

    build: Tensor  # thickness of all parts, about 1
    shoulders: Tensor  # half width
    hips: Tensor  # half width
    torso: Tensor  # neck to pelvis
    arm: Tensor  # shoulder to elbow, and elbow to wrist
    leg: Tensor  # hip to knee, and knee to ankle
    head: Tensor  # scale of the head, about 1
    long_hair: Tensor  # boolean
    skirt: Tensor  # boolean


class Pose(NamedTuple):
    """How B people stand. Angles in radians; a limb's `spread` is from hanging down outwards, its
    `reach` towards the front; `x`, `y` move the pelvis, in picture heights."""

    yaw: Tensor  # (B,) 0 faces the viewer, positive turns the front to the viewer's right
    lean: Tensor  # (B,) of the upper body, to the viewer's right
    tilt: Tensor  # (B,) of the head, to the viewer's right
    x: Tensor  # (B,)
    y: Tensor  # (B,)
    scale: Tensor  # (B,) body height in picture heights
    spread: Tensor  # (B, 8) right and left of: upper arm, forearm, thigh, shin
    reach: Tensor  # (B, 8) likewise


class Capsules(NamedTuple):
    """The parts of B people as they stand in the picture, each (B, P), in pixels unless said."""

    start: Tensor  # (B, P, 2)
    direction: Tensor  # (B, P, 2) unit vector along the bone
    length: Tensor
    radius0: Tensor  # half width at the start
    radius1: Tensor  # half width at the end
    bulge: Tensor  # added half way
    square: Tensor  # 1 = round ends, larger = flatter ends
    turn: Tensor  # radians: where the angle 0 of the surface points, 0 = to the viewer
    depth: Tensor  # body heights, larger = nearer
    scale: Tensor  # pixels of one body height
    natural: Tensor  # length of the bone in body heights, not foreshortened


def draw_body(draw: Draw) -> Body:
    """B people's proportions."""
    return Body(
        build=draw.uniform(0.85, 1.2),
        shoulders=draw.uniform(0.105, 0.135),
        hips=draw.uniform(0.06, 0.075),
        torso=draw.uniform(0.28, 0.32),
        arm=draw.uniform(0.155, 0.18),
        leg=draw.uniform(0.215, 0.24),
        head=draw.uniform(0.95, 1.15),
        long_hair=draw.chance(0.45),
        skirt=draw.chance(0.25),
    )


def draw_pose(draw: Draw, near: Tensor | None = None, aspect: float = 1.0) -> Pose:
    """B ways to stand; `near` (B,) yaw angles keep most of the turn close to them."""
    back = draw.chance(0.2).float() * math.pi
    side = draw.uniform(-math.pi, math.pi)
    front = draw.normal(0.0, 0.5)
    yaw = torch.where(draw.chance(0.1), side, back + front)
    turned = draw.normal(0.0, 0.7)
    if near is not None:
        yaw = torch.where(draw.chance(0.9), near + turned, side)
    arms = draw.uniform(0.12, 1.0, 2) ** 1.5 * 2.4
    bend = draw.uniform(-0.4, 1.9, 2) * draw.chance(0.7, 2)
    thighs = draw.uniform(0.0, 0.42, 2)
    shins = thighs + draw.uniform(-0.35, 0.1, 2)
    reach = draw.uniform(-0.35, 0.7, 2)
    stride = draw.uniform(-0.35, 0.5, 2)
    return Pose(
        yaw=yaw,
        lean=draw.normal(0.0, 0.1),
        tilt=draw.normal(0.0, 0.12),
        x=draw.uniform(-0.11, 0.11) * aspect,
        y=draw.uniform(-0.035, 0.035),
        scale=draw.uniform(0.82, 0.94),
        spread=torch.cat((arms, arms + bend, thighs, shins), 1),
        reach=torch.cat((reach, reach + draw.uniform(-0.2, 0.5, 2), stride, stride * 0.3 - 0.1), 1),
    )


JOINTS = (
    "pelvis", "neck", "chin", "crown", "nape",
    "right shoulder", "left shoulder", "right elbow", "left elbow", "right wrist", "left wrist",
    "right finger", "left finger", "right hip", "left hip", "right knee", "left knee",
    "right ankle", "left ankle", "right toe", "left toe", "waist", "hem",
)  # fmt: skip


def skeleton(body: Body, pose: Pose) -> dict[str, Tensor]:
    """Joints (B, 3) in the viewer's frame, body heights, pelvis at the origin, z = nearer."""

    def up(angle: Tensor) -> Tensor:  # (B, 3)
        return torch.stack((angle.sin(), -angle.cos(), torch.zeros_like(angle)), 1)

    def limb(k: int) -> Tensor:  # k-th of spread and reach for both sides -> (B, 2, 3)
        spread, reach = pose.spread[:, 2 * k : 2 * k + 2], pose.reach[:, 2 * k : 2 * k + 2]
        side = SIDES.to(spread.device)
        return torch.stack((
            side * spread.sin() * reach.cos(), spread.cos() * reach.cos(), reach.sin()
        ), 2)  # fmt: skip

    spine, nod = up(pose.lean), up(pose.lean + pose.tilt)
    across = torch.stack((pose.lean.cos(), pose.lean.sin(), torch.zeros_like(pose.lean)), 1)
    side = SIDES.to(pose.yaw.device)[:, None]
    pelvis = torch.zeros_like(spine)
    neck = spine * body.torso[:, None]
    chin = neck + nod * 0.035
    crown = chin + nod * (0.165 * body.head)[:, None]
    shoulder = (neck - 0.03 * spine)[:, None] + across[:, None] * body.shoulders[
        :, None, None
    ] * side
    elbow = shoulder + limb(0) * body.arm[:, None, None]
    wrist = elbow + limb(1) * (0.92 * body.arm)[:, None, None]
    finger = wrist + limb(1) * 0.05
    hip = torch.stack((body.hips, 0 * body.hips, 0 * body.hips), 1)[:, None] * side
    knee = hip + limb(2) * body.leg[:, None, None]
    ankle = knee + limb(3) * body.leg[:, None, None]
    toe = ankle + torch.tensor([0.012, 0.025, 0.055], device=ankle.device) * torch.cat(
        (side, side.abs(), side.abs()), 1
    )
    nape = chin + nod * 0.05 + torch.tensor([0.0, 0.0, -0.045], device=chin.device)
    points = {"pelvis": pelvis, "neck": neck, "chin": chin, "crown": crown, "nape": nape}
    points |= {"waist": neck * 0.22, "hem": (knee[:, 0] + knee[:, 1]) / 2 * 0.95}
    pairs = {"shoulder": shoulder, "elbow": elbow, "wrist": wrist, "finger": finger}
    pairs |= {"hip": hip, "knee": knee, "ankle": ankle, "toe": toe}
    for name, both in pairs.items():
        points |= {f"right {name}": both[:, 0], f"left {name}": both[:, 1]}
    cos, sin = pose.yaw.cos(), pose.yaw.sin()
    return {
        name: torch.stack(
            (p[:, 0] * cos + p[:, 2] * sin, p[:, 1], p[:, 2] * cos - p[:, 0] * sin), 1
        )
        for name, p in points.items()
    }


# part: start, end, half width at the start and the end, bulge, squareness of the ends,
#       depth / width of the cross-section, towards the viewer by
ANATOMY = {
    "torso": ("neck", "pelvis", 0.118, 0.098, -0.022, 2.8, 0.68, 0.02),
    "neck": ("chin", "neck", 0.034, 0.044, 0.0, 1.0, 1.0, -0.015),
    "head": ("crown", "chin", 0.064, 0.052, 0.012, 1.0, 0.95, 0.04),
    "hair": ("nape", "neck", 0.07, 0.062, 0.0, 1.0, 0.6, 0.0),
    "skirt": ("waist", "hem", 0.098, 0.15, 0.0, 4.0, 0.7, 0.012),
    "upper arm": ("shoulder", "elbow", 0.05, 0.041, 0.0, 1.0, 1.0, 0.035),
    "forearm": ("elbow", "wrist", 0.041, 0.03, 0.003, 1.0, 1.0, 0.04),
    "hand": ("wrist", "finger", 0.03, 0.026, 0.004, 1.0, 0.7, 0.042),
    "thigh": ("hip", "knee", 0.072, 0.053, 0.0, 1.0, 1.0, 0.0),
    "shin": ("knee", "ankle", 0.053, 0.036, 0.008, 1.0, 1.0, 0.004),
    "shoe": ("ankle", "toe", 0.038, 0.034, 0.0, 1.0, 1.0, 0.006),
}


def _anatomy(part: str) -> tuple:
    side = next((s for s in ("right ", "left ") if part.startswith(s)), "")
    start, end, *numbers = ANATOMY[part.removeprefix(side)]
    return side + start, side + end, *numbers


def capsules(body: Body, pose: Pose, size: tuple[int, int]) -> tuple[Capsules, dict[str, Tensor]]:
    """Project B people into a picture of `size` (H, W).

    Returns:
        The parts, and the joints as (B, 3): x, y in pixels, depth in body heights.
    """
    height, width = size
    joints = skeleton(body, pose)
    scale = pose.scale * height
    middle = torch.stack(((width - 1) / 2 + pose.x * height, height * (0.485 + pose.y)), 1)
    pixels = {
        n: torch.cat((p[:, :2] * scale[:, None] + middle[:, None].squeeze(1), p[:, 2:]), 1)
        for n, p in joints.items()
    }
    rows = [_anatomy(part) for part in PARTS]
    start = torch.stack([pixels[r[0]] for r in rows], 1)  # (B, P, 3)
    end = torch.stack([pixels[r[1]] for r in rows], 1)
    bone = torch.stack([(joints[r[1]] - joints[r[0]]).norm(dim=1) for r in rows], 1)
    numbers = torch.tensor([r[2:] for r in rows], device=scale.device)  # (P, 6)
    radius0, radius1, bulge, square, flat, nearer = numbers.unbind(1)
    inset = torch.tensor([0.03, 0, 0.062, 0] + [0.0] * 13, device=scale.device)  # rounded ends
    axis = end[..., :2] - start[..., :2]
    length = axis.norm(dim=2).clamp(min=1e-3)
    direction = axis / length[..., None]
    short = torch.tensor([0.05, 0, 0.108, 0] + [0.0] * 13, device=scale.device)
    pixel = scale[:, None]
    start2 = start[..., :2] + direction * (inset * pixel)[..., None]
    length = (length - short * pixel).clamp(min=0.02 * height)
    turn = pose.yaw[:, None].expand_as(length)
    silhouette = (turn.cos() ** 2 + (flat * turn.sin()) ** 2).sqrt()
    thick = pixel * silhouette * body.build[:, None]
    covered = torch.arange(len(PARTS), device=scale.device) >= PARTS.index("right thigh")
    radius1 = (radius1 * thick).clone()
    knees = (pixels["right knee"] - pixels["left knee"])[:, :2].norm(dim=1)
    radius1[:, SKIRT] = knees / 2 + 0.075 * pixel[:, 0] * body.build  # the hem goes round the knees
    return Capsules(
        start=start2,
        direction=direction,
        length=length,
        radius0=radius0 * thick,
        radius1=radius1,
        bulge=bulge * thick,
        square=square.expand_as(length),
        turn=torch.atan2(flat * turn.sin(), turn.cos()),
        depth=(start[..., 2] + end[..., 2]) / 2 + nearer - 0.4 * covered * body.skirt[:, None],
        scale=pixel.expand_as(length),
        natural=(bone - short).clamp(min=0.02),
    ), pixels
