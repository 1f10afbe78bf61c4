"""What procedural people wear: colours and patterns as functions of surface coordinates.

A material is evaluated at (angle around the part, metres along it) only, so that a point of the
cloth keeps its colour however the body moves; what shading adds is in `people.py`.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from gfla.data.body import HAIR, HEAD, PARTS, SKIRT, TORSO, Body, Draw

SKIN, HAIRS, SHIRT, BOTTOM, SHOES = range(5)
WAVES = 3  # cosines in each of the two fields of a pattern

# where along the garment each part begins (body heights): keeps the marks of one part off another
OFFSETS = torch.tensor([0.0, 0, 0, 0, 2.05, 1.0, 1.5, 1.17, 1.67, 0, 0, 2.0, 2.6, 2.23, 2.83, 3, 3])
# angular frequencies are divided by this: sleeves are thinner than torsos
DIVISORS = torch.tensor([1.0, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2])

SKIN_TONES = torch.tensor([
    [0.97, 0.84, 0.74], [0.93, 0.76, 0.62], [0.85, 0.65, 0.48],
    [0.70, 0.49, 0.34], [0.52, 0.35, 0.24], [0.38, 0.25, 0.18],
])  # fmt: skip
HAIR_TONES = torch.tensor([
    [0.10, 0.08, 0.07], [0.24, 0.15, 0.09], [0.45, 0.28, 0.14],
    [0.80, 0.63, 0.32], [0.58, 0.22, 0.10], [0.62, 0.60, 0.58],
])  # fmt: skip


class Wardrobe(NamedTuple):
    """The materials of B people, one row for each of 5 slots: skin, hair, shirt, bottom, shoes."""

    colors: Tensor  # (B, 5, 4, 3) base, pattern, second pattern, marks; RGB in [0, 1]
    waves: Tensor  # (B, 5, 2, WAVES, 4) around (turns), along (cycles per height), phase, weight
    bias: Tensor  # (B, 5, 2)
    strength: Tensor  # (B, 5, 2) 0 = the field does not show
    fade: Tensor  # (B, 5, 2, 3) colour change along the garment, and around it
    marks: Tensor  # (B, 5, 2, 3) angle, place along, radius of two round marks
    sleeve: Tensor  # (B,) cloth along the arm, body heights
    trousers: Tensor  # (B,) cloth along the leg
    fringe: Tensor  # (B,) where the hair line is


def draw_wardrobe(draw: Draw, body: Body) -> Wardrobe:
    """B people's clothes, skin and hair."""
    count = len(body.build)
    device = body.build.device
    dark, light = draw.uniform(0.0, 0.36, 5, 1, 3), draw.uniform(0.64, 1.0, 5, 1, 3)
    tinted = torch.stack((dark, light), 2).squeeze(3)  # (B, 5, 2, 3)
    swap = draw.chance(0.5, 5, 1, 1)
    tinted = torch.where(swap, tinted.flip(2), tinted)
    colors = torch.cat((tinted, draw.uniform(0.0, 1.0, 5, 2, 3)), 2)
    tone = draw.uniform(0, 5.999, 2).long()
    skin = SKIN_TONES.to(device)[tone[:, 0]] + draw.uniform(-0.03, 0.03, 3)
    hair = HAIR_TONES.to(device)[tone[:, 1]] + draw.uniform(-0.03, 0.03, 3)
    colors[:, SKIN] = skin[:, None] * torch.tensor([1.0, 0.86, 0.9, 0.8], device=device)[:, None]
    colors[:, HAIRS] = hair[:, None] * torch.tensor([1.0, 1.5, 0.7, 1.2], device=device)[:, None]
    waves, bias = _patterns(draw)
    waves[:, HAIRS, 0, 0, :2] = torch.tensor([9.0, 3.0], device=device)  # strands
    strength = torch.ones(count, 5, 2, device=device)
    strength[..., 1] = draw.uniform(0.25, 0.8, 5)
    strength[:, SKIN], strength[:, HAIRS] = 0.0, 0.4
    fade = draw.uniform(-0.18, 0.18, 5, 2, 3)
    fade[:, :2] *= 0.2
    angle = draw.normal(0.0, 0.5, 5, 2) + math.pi * torch.tensor([0.0, 1.0], device=device)
    along = draw.uniform(0.05, 0.2, 5, 2)
    along[:, BOTTOM] += torch.tensor([2.0, 2.6], device=device)
    radius = draw.uniform(0.026, 0.05, 5, 2)
    radius[:, [SKIN, HAIRS, SHOES]] = 0.0
    long = draw.uniform(0.0, 1.0, 2)
    return Wardrobe(
        colors=colors.clamp(0, 1),
        waves=waves,
        bias=bias,
        strength=strength,
        fade=fade,
        marks=torch.stack((angle, along, radius), 3),
        sleeve=0.09 + 0.32 * long[:, 0],
        trousers=torch.where(body.skirt, 0.0, 0.26 + 0.34 * long[:, 1]),
        fringe=draw.uniform(0.03, 0.055),
    )


def _patterns(draw: Draw) -> tuple[Tensor, Tensor]:
    """Stripes (three ways), checks, dots or a print for every slot: waves and biases."""
    kind = draw.uniform(0, 6.999, 5).long()[..., None]  # 5 and 6 are prints
    around = draw.uniform(4.0, 7.999, 5).floor()  # whole turns: the cloth closes behind the body
    along = draw.uniform(8.5, 11.5, 5)
    phase = draw.uniform(0.0, 1.0, 5, 2, WAVES)
    zero, one = torch.zeros_like(along), torch.ones_like(along)

    def field(rows: list[tuple[Tensor, Tensor, Tensor]]) -> Tensor:  # (B, 5, WAVES, 3)
        rows = rows + [(zero, zero, zero)] * (WAVES - len(rows))
        return torch.stack([torch.stack(row, -1) for row in rows], 2)

    low = field([(draw.uniform(0.0, 3.999, 5).floor(), draw.uniform(2.5, 6.0, 5), one)])
    mixed = [
        field([
            (draw.uniform(-6.0, 6.999, 5).floor(), draw.uniform(5.0, 11.0, 5), 0.7 * one)
            for _ in range(WAVES)
        ])
        for _ in range(2)
    ]  # fmt: skip
    first = [
        field([(zero, along, one)]),  # stripes around
        field([(around, zero, one)]),  # stripes along
        field([(around, along, one)]),  # diagonal stripes
        field([(zero, along, one)]),  # checks: two fields
        field([(around, zero, 0.6 * one), (zero, along, 0.6 * one)]),  # dots
        mixed[0],  # a print
        mixed[0],
    ]
    second = [low, low, low, field([(around, zero, one)]), low, mixed[1], mixed[1]]
    pick = kind[..., None, None].expand(-1, -1, 1, WAVES, 3)
    chosen = [torch.stack(f, 2).gather(2, pick).squeeze(2) for f in (first, second)]
    numbers = torch.stack(chosen, 2)  # (B, 5, 2, WAVES, 3)
    waves = torch.cat((numbers[..., :2], phase[..., None], numbers[..., 2:]), -1)
    bias = draw.uniform(-0.25, 0.25, 5, 2)
    bias[..., 0] -= (kind[..., 0] == 4) * 0.35
    bias[..., 1] -= (kind[..., 0] < 3) * 0.3
    return waves, bias


def slot(wardrobe: Wardrobe, body: Body, who: Tensor, part: Tensor, along: Tensor) -> Tensor:
    """Which material (N,) each surface point shows: person `who`, `part`, place `along` it."""
    outer = torch.tensor(
        [SHIRT, SKIN, SKIN, HAIRS, BOTTOM, SHIRT, SHIRT, SHIRT, SHIRT, SKIN, SKIN]
        + [BOTTOM] * 4 + [SHOES] * 2, device=part.device)  # fmt: skip
    inner = torch.where(outer == SHOES, SHOES, SKIN)
    inner[TORSO], inner[SKIRT], inner[HAIR], inner[HEAD] = BOTTOM, BOTTOM, HAIRS, SKIN
    size = len(PARTS)
    cut = torch.full((len(body.build), size), 9.0, device=part.device)
    cut[:, TORSO] = 0.74 * body.torso
    cut[:, 5:7] = wardrobe.sleeve[:, None]
    cut[:, 7:9] = (wardrobe.sleeve - body.arm)[:, None]
    cut[:, 11:13] = wardrobe.trousers[:, None]
    cut[:, 13:15] = (wardrobe.trousers - body.leg)[:, None]
    return torch.where(along < cut[who, part], outer[part], inner[part])


def paint(
    wardrobe: Wardrobe, body: Body, who: Tensor, part: Tensor, angle: Tensor, along: Tensor
) -> Tensor:
    """Colour (N, 3) in [0, 1] of N surface points.

    Args:
        who: (N,) which person. part: (N,) index into PARTS.
        angle: (N,) radians around the part, 0 = front. along: (N,) body heights along it.
    """
    material = slot(wardrobe, body, who, part, along)
    row = who * 5 + material

    def look(table: Tensor) -> Tensor:
        return table.flatten(0, 1)[row]

    place = along + OFFSETS.to(along.device)[part]
    turns = angle / (2 * math.pi)
    waves = look(wardrobe.waves)  # (N, 2, WAVES, 4)
    # A whole number of turns stays whole on a thin part: the pattern has no seam.
    around = (waves[..., 0] / DIVISORS.to(along.device)[part][:, None, None]).round()
    cycles = around * turns[:, None, None] + waves[..., 1] * place[:, None, None] + waves[..., 2]
    field = ((2 * math.pi * cycles).cos() * waves[..., 3]).sum(2) + look(wardrobe.bias)
    mix = torch.sigmoid(5.5 * field) * look(wardrobe.strength)  # (N, 2)
    colors = look(wardrobe.colors)
    color = torch.lerp(colors[:, 0], colors[:, 1], mix[:, :1])
    color = torch.lerp(color, colors[:, 2], mix[:, 1:])
    fade = look(wardrobe.fade)
    color = (
        color + fade[:, 0] * ((place % 0.5) - 0.15)[:, None] * 3 + fade[:, 1] * angle.cos()[:, None]
    )
    marks = look(wardrobe.marks)  # (N, 2, 3)
    apart = torch.remainder(angle[:, None] - marks[..., 0] + math.pi, 2 * math.pi) - math.pi
    distance = torch.hypot(0.1 * apart, place[:, None] - marks[..., 1])
    near = torch.sigmoid((marks[..., 2] - distance) * 220).amax(1, keepdim=True)
    color = torch.lerp(color, colors[:, 3], near * (marks[:, :1, 2] > 0))
    return _face(wardrobe, color, who, part, angle, along).clamp(0, 1)


def _face(
    wardrobe: Wardrobe, color: Tensor, who: Tensor, part: Tensor, angle: Tensor, along: Tensor
) -> Tensor:
    """Hair line, eyes, brows, nose and mouth on the points of a head."""
    (index,) = (part == HEAD).nonzero(as_tuple=True)
    who, angle, along, skin = who[index], angle[index], along[index], color[index]
    hair = wardrobe.colors[who, HAIRS, 0]
    streak = 0.5 + 0.5 * torch.cos(9 * angle + 40 * along)
    hair = hair * (0.85 + 0.4 * streak[:, None])
    line = (
        wardrobe.fringe[who] - 0.062 + 0.012 * angle.cos() + 0.11 * (angle.abs() - 0.9).clamp(0, 1)
    )

    def blob(x: float, y: float, w: float, h: float) -> Tensor:  # two, mirrored
        d = torch.hypot((angle.abs() - x) / w, (along - y) / h)
        return torch.sigmoid((1 - d) * 6)[:, None]

    def tone(*rgb: float) -> Tensor:
        return torch.tensor(rgb, device=color.device)

    skin = torch.lerp(skin, tone(0.99, 0.99, 0.99), blob(0.42, 0.012, 0.26, 0.013))
    skin = torch.lerp(skin, tone(0.06, 0.07, 0.12), blob(0.4, 0.012, 0.13, 0.012))
    skin = torch.lerp(skin, hair * 0.6, blob(0.42, -0.008, 0.3, 0.006))
    skin = torch.lerp(skin, skin * 0.72, blob(0.0, 0.03, 0.12, 0.01))
    skin = torch.lerp(skin, tone(0.72, 0.18, 0.2), blob(0.0, 0.052, 0.34, 0.008))
    covered = torch.sigmoid((line - along) * 260)[:, None]
    return color.index_copy(0, index, torch.lerp(skin, hair, covered))
