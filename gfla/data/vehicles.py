"""Procedural vehicles: cars to train on, trucks held out. Lengths in metres, y up, front to +z."""

import math

from torch import Tensor

from gfla.data.body import Draw
from gfla.data.solids import ALONG_X, ALONG_Z, BALL, ROD, Parts

PAINT, ROOF, GLASS, RUBBER, TRIM = range(5)  # materials
PANES, WHEEL = 1, 2  # decals


def car(draw: Draw) -> Parts:
    """B cars from hatchback to van: a lower body, bonnet, middle and tail, a glazed cabin."""
    parts = Parts(len(draw.key), draw.key.device)
    w, long = draw.uniform(0.8, 0.95), draw.uniform(1.75, 2.3)  # half width, half length
    radius, sill = draw.uniform(0.32, 0.42), draw.uniform(0.2, 0.3)
    bumper, belt = sill + draw.uniform(0.32, 0.42), draw.uniform(0.85, 1.02)
    cowl = long * draw.uniform(0.25, 0.6)  # where the wind screen begins
    tail = -long * draw.uniform(0.45, 0.97)  # where the cabin ends
    middle, half = (sill + bumper) / 2, (bumper - sill) / 2
    parts.add((0, middle, 0), (w, half, long), {"a": draw.uniform(1.65, 1.95)}, material=PAINT)
    rise = (belt - bumper) / 2 + 0.01
    droop, wing = draw.uniform(0.35, 0.85), w * draw.uniform(0.9, 0.97)
    for end, start, low in ((1, cowl, droop), (-1, -tail, droop * 0.3 + 0.7)):
        depth = long * 0.94 - start
        parts.add(  # bonnet and tail: lower at their ends, flat beneath
            (0, bumper + rise * (1 + low) / 2 - 0.01, end * (start + depth / 2)),
            (wing, rise, depth / 2), axis=ALONG_Z, yaw=(1 - end) / 2 * math.pi, material=PAINT,
            taper_x=0.88, taper_z=low, lean_z=-rise * (1 - low) / 2, on=depth > 0.1,
        )  # fmt: skip
    parts.add(
        (0, bumper + rise, (cowl + tail) / 2),
        (wing, rise, (cowl - tail) / 2 + 0.02),
        material=PAINT,
    )
    roof = draw.uniform(0.44, 0.68)
    _cabin(parts, draw, wing * 0.97, belt, roof, tail, cowl)
    _wheels(parts, w, radius, (-long * 0.6, long * 0.62), draw.uniform(0.1, 0.14))
    _fittings(parts, draw, w, long, sill, bumper)
    for side in (-1, 1):
        parts.add((side * (w + 0.06), belt + 0.06, cowl - 0.2), (0.1, 0.07, 0.06), BALL,
                  material=ROOF, on=draw.chance(0.7))  # fmt: skip
    parts.add((0, belt + 0.02, 0.3 - long), (w * 0.8, 0.1, 0.17), material=ROOF, taper_z=0.6,
              on=draw.chance(0.3) & (tail > -long * 0.8))  # fmt: skip
    parts.add((0, belt + roof + 0.1, (cowl + tail) / 2 - 0.1), (w * 0.5, 0.1, 0.45),
              {"a": 1.6, "w": 0.4}, material=TRIM, on=draw.chance(0.2))  # fmt: skip
    return parts


def _cabin(
    parts: Parts, draw: Draw, w: Tensor, low: Tensor, high: Tensor, back: Tensor, front: Tensor
) -> None:
    """A glazed frustum from `back` to `front` on top of height `low`, and its roof."""
    length = front - back
    screen = length * draw.uniform(0.16, 0.34)  # how far the wind screen slopes
    rear = length * draw.uniform(0.03, 0.26)
    top = (length - screen - rear) / length
    narrow = draw.uniform(0.74, 0.88)
    parts.add(
        (0, low + high / 2, (front + back) / 2 + (rear - screen) / 4),
        (w, high / 2, length / 2), material=ROOF, decal=PANES, taper_x=narrow, taper_z=top,
        lean_z=(rear - screen) / 4,
    )  # fmt: skip
    parts.add(
        (0, low + high, (front + back) / 2 + (rear - screen) / 2),
        (w * narrow * 0.97, 0.045, length * top / 2), {"a": 1.8}, material=ROOF,
    )  # fmt: skip


def _wheels(parts: Parts, w: Tensor, radius: Tensor, places: tuple, wide: Tensor) -> None:
    """Wheels on both sides at each of the places along the vehicle."""
    for side in (-1, 1):
        for place in places:
            parts.add((side * (w - wide + 0.035), radius, place), (wide, radius, radius), ROD,
                      axis=ALONG_X, material=RUBBER, decal=WHEEL)  # fmt: skip


def _fittings(
    parts: Parts, draw: Draw, w: Tensor, long: Tensor, sill: Tensor, bumper: Tensor
) -> None:
    """Bumpers, grille and lights."""
    shape, thick = {"a": 1.7, "w": 0.5}, draw.uniform(0.07, 0.11)
    for end in (-1, 1):
        parts.add((0, sill + thick, end * long * 0.985), (w * 0.92, thick, 0.09), shape,
                  material=TRIM)  # fmt: skip
    parts.add((0, bumper - 0.04, long * 0.99), (w * draw.uniform(0.3, 0.5), 0.08, 0.05),
              material=RUBBER)  # fmt: skip
    lamp, size = w * draw.uniform(0.66, 0.76), draw.uniform(0.09, 0.14)
    for side in (-1, 1):
        parts.add((side * lamp, bumper - 0.03, long * 0.96), (size * 1.3, size * 0.8, 0.12), BALL,
                  material=TRIM)  # fmt: skip
        parts.add((side * lamp, bumper - 0.03, -long * 0.975), (size, size * 0.9, 0.08),
                  material=GLASS)  # fmt: skip


def truck(draw: Draw) -> Parts:
    """B trucks: the car's wheels and cabin in front of a box, a tank or a flat bed with crates."""
    parts = Parts(len(draw.key), draw.key.device)
    w, long = draw.uniform(0.95, 1.15), draw.uniform(2.4, 3.1)
    radius, belt = draw.uniform(0.42, 0.52), draw.uniform(1.15, 1.4)
    frame = radius + 0.12
    parts.add((0, frame, 0), (w * 0.7, 0.12, long * 0.98), material=TRIM)
    cab = long * draw.uniform(0.42, 0.52)  # where the cab's back wall stands
    nose = draw.uniform(0.0, 0.5) * draw.chance(0.5)
    front = long - nose
    parts.add((0, (frame + belt) / 2, (cab + front) / 2),
              (w, (belt - frame) / 2 + 0.06, (front - cab) / 2), material=PAINT)  # fmt: skip
    parts.add((0, (frame + belt) / 2 - 0.08, front + nose / 2), (w * 0.86, 0.34, nose / 2),
              material=PAINT, axis=ALONG_Z, taper_z=0.8, taper_x=0.9, on=nose > 0.12)  # fmt: skip
    _cabin(parts, draw, w * 0.97, belt + 0.04, draw.uniform(0.6, 0.8), cab, front)
    kind, high = draw.uniform(0, 1), draw.uniform(0.6, 0.95)
    centre, half = (cab - 0.08 - long) / 2, (cab - 0.08 + long) / 2
    parts.add((0, frame + 0.14 + high, centre), (w * 1.02, high, half), material=ROOF,
              on=kind < 0.45)  # fmt: skip
    tank = high * 0.95
    parts.add((0, frame + 0.12 + tank, centre), (w, tank, half), ROD, axis=ALONG_Z, material=ROOF,
              on=(kind >= 0.45) & (kind < 0.7))  # fmt: skip
    flat = kind >= 0.7
    parts.add((0, frame + 0.2, centre), (w, 0.09, half), material=ROOF, on=flat)
    for place in (-0.5, 0.45):
        size = draw.uniform(0.3, 0.5)
        parts.add((0, frame + 0.28 + size, centre + half * place), (w * 0.75, size, size),
                  material=PAINT, on=flat)  # fmt: skip
    _wheels(parts, w, radius, (-long * 0.78, -long * 0.4, long * 0.7), draw.uniform(0.14, 0.2))
    _fittings(parts, draw, w, long, frame - 0.15, frame + 0.25)
    return parts
