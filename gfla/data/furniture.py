"""Procedural furniture: chairs to train on, tables held out. Lengths in metres, y up, front to +z.

Each function draws B objects at once: all have the same list of solids, `on` says which of them an
object really has.
"""

import math

import torch
from torch import Tensor

from gfla.data.body import Draw
from gfla.data.solids import ALONG_X, ALONG_Z, BALL, ROD, Parts

SEAT, BACK, FRAME, CUSHION, ACCENT = range(5)  # materials


def chair(draw: Draw) -> Parts:
    """B chairs: four legs, a pedestal or side panels; a back of one board, slats or rails."""
    parts = Parts(len(draw.key), draw.key.device)
    w, d, thick = draw.uniform(0.2, 0.28), draw.uniform(0.19, 0.26), draw.uniform(0.022, 0.045)
    level = draw.uniform(0.36, 0.5)  # of the seat's upper side
    disc = draw.chance(0.25)
    inner = 1 - 0.3 * disc.float()  # legs and back keep within a round seat
    _supports(parts, draw, w * inner, d * inner, level - 2 * thick)
    rounding = torch.where(disc, 1.2, draw.uniform(1.55, 2.2))
    parts.add((0, level - thick, 0), (w, thick, d), {"a": rounding}, material=SEAT)
    soft = draw.uniform(0.02, 0.045)
    parts.add(
        (0, level + soft * 0.8, 0.015), (w * 0.88, soft, d * 0.86), material=CUSHION,
        w=0.5, a=rounding.clamp(max=1.5), taper_x=0.9, taper_z=0.9, on=draw.chance(0.45),
    )  # fmt: skip
    _back(parts, draw, w * inner, d * (0.5 + 0.5 * inner), level)
    _arms(parts, draw, w, d, level)
    return parts


def _supports(parts: Parts, draw: Draw, w: Tensor, d: Tensor, top: Tensor) -> Tensor:
    """What carries a board of half sizes w, d at height `top`: legs, a pedestal or two panels.

    Returns:
        (B,) boolean: it is legs.
    """
    kind = draw.uniform(0, 1)
    panels, pedestal = kind > 0.87, (kind > 0.7) & (kind <= 0.87)
    legs = ~(panels | pedestal)
    thick = draw.uniform(0.022, 0.036)
    taper, splay = draw.uniform(0.6, 1.5), draw.uniform(0.0, 0.045) * draw.chance(0.6)
    rod = 9 - 8 * draw.chance(0.5).float()  # a = 1 makes the leg round
    for side in (-1, 1):
        for end in (-1, 1):
            x, z = side * (w - thick * 1.3), end * (d - thick * 1.3)
            parts.add(
                (x, top / 2, z), (thick, top / 2, thick), {"a": rod}, material=FRAME, on=legs,
                lean_x=-side * splay, lean_z=-end * splay, taper_x=taper, taper_z=taper,
            )  # fmt: skip
        parts.add(
            (side * (w - thick), top / 2, 0), (thick * 0.8, top / 2, d * 0.9),
            material=FRAME, on=panels,
        )  # fmt: skip
    parts.add((0, top / 2, 0), (0.035, top / 2, 0.035), ROD, material=FRAME, on=pedestal)
    reach, turn = w.minimum(d) * draw.uniform(0.8, 1.0), draw.uniform(0, math.pi)
    parts.add((0, 0.022, 0), (reach, 0.022, reach), ROD | {"w": 0.3}, material=FRAME,
              on=pedestal & (turn > 1.7))  # fmt: skip
    for quarter in (0, 1):
        parts.add(
            (0, 0.03, 0), (reach, 0.03, 0.03), material=FRAME, yaw=turn + quarter * math.pi / 2,
            on=pedestal & (turn <= 1.7),
        )  # fmt: skip
    low, bars = top * draw.uniform(0.25, 0.6), draw.chance(0.4) & legs
    for side in (-1, 1):
        parts.add((side * (w - thick * 1.3), low, 0), (0.016, 0.016, d * 0.9), ROD, axis=ALONG_Z,
                  material=FRAME, on=bars)  # fmt: skip
    parts.add((0, low, 0), (w * 0.9, 0.016, 0.016), ROD, axis=ALONG_X, material=FRAME, on=bars)
    return legs


def _back(parts: Parts, draw: Draw, w: Tensor, d: Tensor, level: Tensor) -> None:
    """One board, or two posts with a top rail and slats that stand or lie."""
    high, lean = draw.uniform(0.15, 0.3), -draw.uniform(0.0, 0.07)  # half height
    kind, thick = draw.uniform(0, 1), draw.uniform(0.018, 0.028)
    z = 0.03 - d + lean
    board, standing = kind < 0.4, (kind >= 0.4) & (kind < 0.7)
    lying = kind >= 0.7
    low = draw.uniform(0.0, 0.12) * board  # a gap over the seat
    round_top = draw.uniform(1.25, 2.3)
    parts.add(
        (0, level + high + low / 2, z), (w * 0.97, high - low / 2, thick), material=BACK, on=board,
        w=1.0, a=round_top, lean_z=lean, taper_x=draw.uniform(0.75, 1.08),
    )  # fmt: skip
    post = draw.uniform(0.02, 0.03)
    on = ~board | (low > 0.05)
    rod = 9 - 8 * draw.chance(0.5).float()
    for side in (-1, 1):
        parts.add((side * (w - post), level + high - 0.02, z - 0.004), (post, high + 0.02, post),
                  {"a": rod}, material=FRAME, lean_z=lean, on=on)  # fmt: skip
    rail = draw.uniform(0.03, 0.07)
    parts.add((0, level + 2 * high - rail, z + lean * 0.9), (w, rail, thick * 1.1), material=BACK,
              lean_z=lean * rail / high, on=~board)  # fmt: skip
    slat, count = draw.uniform(0.018, 0.035), draw.uniform(2, 4.999).floor()
    for k in range(4):
        share = (k + 1) / (count + 1)
        parts.add(
            (w * (2 * share - 1), level + high - rail / 2, z), (slat, high - rail / 2, 0.014),
            material=ACCENT, lean_z=lean, on=standing & (k < count),
        )  # fmt: skip
    for k in range(3):
        rise = (k + 0.6) / count.clamp(max=3.0) * 2 * (high - rail)
        parts.add(
            (0, level + rise, z + lean * (rise / high - 1)), (w * 0.97, slat * 1.1, 0.014),
            material=ACCENT, lean_z=lean * slat / high, on=lying & (k < count),
        )  # fmt: skip


def _arms(parts: Parts, draw: Draw, w: Tensor, d: Tensor, level: Tensor) -> None:
    """Two arm rests, each on one support."""
    on, rise, long = draw.chance(0.4), draw.uniform(0.16, 0.24), d * draw.uniform(0.75, 1.0)
    wide, thick = draw.uniform(0.025, 0.042), draw.uniform(0.016, 0.03)
    lean = draw.uniform(-0.04, 0.04)
    for side in (-1, 1):
        x = side * (w + wide * 0.5)
        parts.add((x, level + rise, long - d + 0.01), (wide, thick, long), {"a": 1.9, "w": 0.4},
                  material=CUSHION, on=on)  # fmt: skip
        parts.add(
            (x, level + rise / 2 - 0.02, 0.55 * d), (0.021, rise / 2 + 0.02, 0.021),
            material=FRAME, lean_z=lean, on=on,
        )  # fmt: skip


def table(draw: Draw) -> Parts:
    """B tables: the chair's supports, larger, under a board; some with a shelf or things on it."""
    parts = Parts(len(draw.key), draw.key.device)
    w, d, thick = draw.uniform(0.35, 0.6), draw.uniform(0.28, 0.42), draw.uniform(0.02, 0.04)
    level = draw.uniform(0.4, 0.78)
    disc, over = draw.chance(0.3), draw.uniform(1.0, 1.12)
    inner = 1 - 0.28 * disc.float()
    legs = _supports(parts, draw, w * inner, d * inner, level - 2 * thick)
    rounding = torch.where(disc, 1.0, draw.uniform(1.5, 2.0))
    parts.add((0, level - thick, 0), (w * over, thick, d * over), {"a": rounding}, material=SEAT)
    apron = draw.uniform(0.025, 0.05)
    parts.add((0, level - 2 * thick - apron, 0), (w * 0.86, apron, d * 0.86), material=BACK,
              on=draw.chance(0.5) & ~disc)  # fmt: skip
    parts.add((0, level * draw.uniform(0.2, 0.45), 0), (w * 0.9, 0.018, d * 0.9), material=ACCENT,
              on=draw.chance(0.5) & legs & ~disc)  # fmt: skip
    things, size = draw.uniform(-0.5, 0.5, 2), draw.uniform(0.06, 0.12, 2)
    for k, (shape, material) in enumerate(((BALL, CUSHION), (ROD, ACCENT))):  # a ball, a tin
        half = size[:, k]
        parts.add((w * things[:, k], level + half, d * (0.6 * k - 0.3)), (half, half, half), shape,
                  material=material, on=draw.chance(0.35))  # fmt: skip
    return parts
