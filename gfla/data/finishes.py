"""What procedural objects are painted with: colours and patterns as functions of the object's
coordinates, so that a point of the object keeps its colour from whichever side it is seen."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from gfla.data.body import Draw
from gfla.data.solids import QUADRIC, Surface
from gfla.data.vehicles import GLASS, PANES, RUBBER, TRIM, WHEEL

MATERIALS = 5
WAVES = 3  # cosines in each of the two fields of a pattern
DARK_TONES = torch.tensor([
    [0.10, 0.16, 0.36], [0.05, 0.35, 0.38], [0.62, 0.16, 0.14], [0.33, 0.20, 0.11],
    [0.12, 0.33, 0.16], [0.38, 0.12, 0.36], [0.16, 0.17, 0.20], [0.14, 0.30, 0.62],
])  # fmt: skip
LIGHT_TONES = torch.tensor([
    [0.95, 0.76, 0.26], [0.93, 0.90, 0.78], [0.94, 0.52, 0.36], [0.58, 0.82, 0.90],
    [0.66, 0.80, 0.52], [0.90, 0.66, 0.72], [0.84, 0.68, 0.48], [0.45, 0.78, 0.68],
])  # fmt: skip
LIGHT = (0.42, 0.78, 0.47)  # towards the light, in the object's frame: no view changes the shade


class Finish(NamedTuple):
    """The five materials of B objects."""

    colors: Tensor  # (B, 5, 3, 3) base, pattern, blotches; RGB in [0, 1]
    waves: Tensor  # (B, 5, 2, WAVES, 5) cycles per radius along x, y, z, phase, weight
    bias: Tensor  # (B, 5, 2)
    strength: Tensor  # (B, 5, 2) 0 = the field does not show
    fade: Tensor  # (B, 5, 3, 3) colour change along x, y, z
    mirrored: Tensor  # (B,) boolean: left and right wear the same pattern, but for the fade
    backdrop: Tensor  # (B, 3) the plain bright wall


def draw_finish(draw: Draw, vehicle: Tensor) -> Finish:
    """Materials of B objects; `vehicle` (B,) boolean makes three of them glass, rubber and trim."""
    tones = torch.cat((DARK_TONES, LIGHT_TONES)).to(vehicle.device)
    pick = draw.uniform(0, 7.999, MATERIALS, 2).long()
    dark, light = tones[pick[..., 0]], tones[pick[..., 1] + 8]
    swap = draw.chance(0.5, MATERIALS, 1)
    third = tones[draw.uniform(0, 15.999, MATERIALS).long()]
    colors = torch.stack((torch.where(swap, light, dark), torch.where(swap, dark, light), third), 2)
    colors = (colors + draw.uniform(-0.08, 0.08, MATERIALS, 3, 3)).clamp(0, 1)
    waves, bias = _patterns(draw)
    strength = torch.ones_like(bias)
    strength[..., 1] = draw.uniform(0.35, 0.85, MATERIALS)
    fade = draw.uniform(-0.12, 0.12, MATERIALS, 3, 3)
    glass = torch.tensor([[0.16, 0.22, 0.3], [0.3, 0.42, 0.52], [0.1, 0.12, 0.2]])
    rubber = torch.tensor([[0.09, 0.09, 0.1], [0.26, 0.25, 0.25], [0.16, 0.12, 0.1]])
    for slot, tint in ((GLASS, glass), (RUBBER, rubber)):
        kept = torch.lerp(tint.to(colors.device).expand_as(colors[:, slot]), colors[:, slot], 0.12)
        colors[:, slot] = torch.where(vehicle[:, None, None], kept, colors[:, slot])
    pale = torch.lerp(colors[:, TRIM], torch.ones_like(colors[:, TRIM]), 0.5)
    colors[:, TRIM] = torch.where(vehicle[:, None, None], pale, colors[:, TRIM])
    backdrop = draw.uniform(0.9, 1.0, 1) - draw.uniform(0.0, 0.03, 3)
    return Finish(colors, waves, bias, strength, fade, draw.chance(0.5), backdrop)


def _patterns(draw: Draw) -> tuple[Tensor, Tensor]:
    """Stripes, checks, spots or a print for every material: waves and biases."""
    kind = draw.uniform(0, 6.999, MATERIALS).long()[..., None]  # 5 and 6 are prints
    fine = draw.uniform(1.5, 2.6, MATERIALS, 3)  # cycles per radius of the object
    phase = draw.uniform(0.0, 1.0, MATERIALS, 2, WAVES, 1)
    axis = draw.uniform(0, 2.999, MATERIALS).long()
    eye = torch.eye(3, device=fine.device)
    one, other, last = (eye[(axis + k) % 3] * fine for k in range(3))  # (B, 5, 3)
    none = torch.zeros_like(one)

    def toward(speed: float) -> Tensor:  # a wave vector of a random direction
        way = draw.uniform(-1, 1, MATERIALS, 3)
        return way / way.norm(dim=2, keepdim=True).clamp(min=0.1) * speed

    def field(*rows: tuple[Tensor, float]) -> Tensor:  # (B, 5, WAVES, 4)
        rows = rows + ((none, 0.0),) * (WAVES - len(rows))
        return torch.stack(
            [torch.cat((v, torch.full_like(v[..., :1], weight)), -1) for v, weight in rows], 2
        )

    blotch = field((toward(1.1), 0.8), (toward(0.8), 0.8))
    prints = [field(*((toward(s), 0.75) for s in (1.5, 1.9, 2.3))) for _ in range(2)]
    diagonal = (one + other) * 0.7
    first = [
        field((one, 1.0)), field((diagonal, 1.0)), field((diagonal + 0.6 * last, 1.0)),
        field((one, 0.62), (other, 0.62), (last, 0.62)), field((one, 1.0)),  # spots; checks
        prints[0], prints[0],
    ]  # fmt: skip
    second = [blotch, blotch, blotch, blotch, field((other, 1.0)), prints[1], blotch]
    pick = kind[..., None, None].expand(-1, -1, 1, WAVES, 4)
    chosen = [torch.stack(f, 2).gather(2, pick).squeeze(2) for f in (first, second)]
    numbers = torch.stack(chosen, 2)  # (B, 5, 2, WAVES, 4)
    bias = draw.uniform(-0.25, 0.25, MATERIALS, 2)
    bias[..., 1] -= 0.25
    return torch.cat((numbers[..., :3], phase, numbers[..., 3:]), -1), bias


def paint(
    finish: Finish, who: Tensor, material: Tensor, decal: Tensor, points: Tensor, place: Surface
) -> Tensor:
    """Colour (3, M) in [0, 1] of M surface points under a light that is fixed to the object.

    Args:
        who: (M,) which object. material, decal: (M,) of the solid.
        points: (3, M) in the object's frame. place: the same points on their solid.
    """
    x, _, z = place.unit
    pane, cap = _panes(decal, place), (decal == WHEEL) & ((place.face == 2) | (place.face == 3))
    spokes = 0.5 + 0.12 * torch.cos(5 * torch.atan2(z, x))
    hub = cap * torch.sigmoid((spokes - torch.hypot(x, z)) * 18)
    color = _material(finish, who, material, points)
    for mask, slot in ((pane, GLASS), (hub, TRIM)):
        (some,) = (mask > 0.02).nonzero(as_tuple=True)
        over = _material(finish, who[some], torch.full_like(some, slot), points[:, some])
        color[:, some] = torch.lerp(color[:, some], over, mask[some])
    light = torch.tensor(LIGHT, device=points.device)[:, None]
    lambert = (place.normal * light / light.norm()).sum(0).clamp(min=0)
    shade = 0.72 + 0.26 * lambert + 0.06 * place.normal[1]
    return (color * shade).clamp(0, 1)


def _material(finish: Finish, who: Tensor, material: Tensor, points: Tensor) -> Tensor:
    """Colour (3, M) of the materials at points (3, M), without shade."""
    row = who * MATERIALS + material

    def look(table: Tensor) -> Tensor:  # (..., M): one contiguous line for each number
        flat = table.flatten(0, 1)
        return flat.flatten(1).T.contiguous()[:, row].view(*flat.shape[1:], -1)

    waves = look(finish.waves)  # (2, WAVES, 5, M)
    place = torch.where(finish.mirrored[who], torch.cat((points[:1].abs(), points[1:])), points)
    cycles = (waves[:, :, :3] * place).sum(2) + waves[:, :, 3]
    field = ((2 * math.pi * cycles).cos() * waves[:, :, 4]).sum(1) + look(finish.bias)
    mix = torch.sigmoid(5.5 * field) * look(finish.strength)  # (2, M)
    colors = look(finish.colors)  # (3, 3, M)
    color = torch.lerp(colors[0], colors[1], mix[0])
    color = torch.lerp(color, colors[2], mix[1])
    return (color + (look(finish.fade) * points[:, None]).sum(0)).clamp(0, 1)


def _panes(decal: Tensor, place: Surface) -> Tensor:
    """How much (M,) of each point is window glass."""
    x, y, z = place.unit
    side, end = place.face < 2, (place.face == 4) | (place.face == 5)
    post = torch.where(side, (z - 0.08).abs() - 0.06, 1.0)  # a pillar parts the side windows
    within = torch.where(side, 0.86 - z.abs() - 0.12 * y, 0.86 - x.abs() - 0.1 * y)
    edge = torch.stack((within, 0.8 - y.abs(), post)).amin(0)
    shown = (decal == PANES) & (side | end) & (place.face != QUADRIC)
    return shown * torch.sigmoid(edge * 40)
