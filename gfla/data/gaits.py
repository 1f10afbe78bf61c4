"""How procedural people walk, dance, wave and turn: what each motion's curves are.

A kind of motion is a function that makes up the curves of `curves.py` for B people at once, each
with a speed, phases and amplitudes of their own, within what the poses of `body.py` are like.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gfla.data.body import Body, Draw
from gfla.data.curves import (
    FOREARM,
    LEAN,
    LEFT,
    NEVER,
    RIGHT,
    SHIN,
    SWAY,
    THIGH,
    TILT,
    UPPER_ARM,
    YAW,
    Curves,
    Motion,
    limb,
)

KINDS = ("walk", "dance", "wave", "turn")

_SAMPLES = 24  # moments of a cycle at which a foot is followed
_STANCE = 0.6  # share of a cycle that a foot is on the floor


def draw_motion(
    draw: Draw, kind: Tensor, body: Body, aspect: float = 1.0, loop: float | None = None
) -> Motion:
    """B ways to move, each of a given kind.

    Args:
        draw: the stream of chance; takes as much of it whatever the kind.
        kind: (B,) index into KINDS.
        body: who moves; the stride follows from the length of the legs.
        aspect: width over height of the picture where it is upright, else 1.
        loop: seconds after which the motion comes back to its start, whole cycles; nobody crosses
            the picture then. None: as it comes.

    Returns:
        The motion.
    """
    drawn = [motion(draw, body, aspect) for motion in (_walk, _dance, _wave, _turn)]
    who = torch.arange(len(kind), device=kind.device)
    chosen = Motion(*(torch.stack(field)[kind, who] for field in zip(*drawn, strict=True)))
    if loop is None:
        return chosen
    cycles = (chosen.frequency * loop).round().clamp(min=1)
    return chosen._replace(
        frequency=cycles / loop,
        spin=chosen.spin.sign() * 2 * math.pi * cycles / loop,
        x=chosen.x * (chosen.speed == 0),
        speed=torch.zeros_like(chosen.speed),
        stop=torch.full_like(chosen.stop, NEVER),
    )


def _facing(draw: Draw, behind: float, deviation: float) -> Tensor:
    """Yaw of people who look at us, more or less, or away."""
    return draw.chance(behind).float() * math.pi + draw.normal(0.0, deviation)


def _walk(draw: Draw, body: Body, aspect: float) -> Motion:
    """Steps with arms against legs: on the spot, or across the picture until the walk ends."""
    curves = Curves(draw)
    crosses = draw.chance(0.45)
    stride = draw.uniform(0.2, 0.4) * torch.where(crosses, 0.75, 1.0)
    curves.rest(THIGH, draw.uniform(0.0, 0.05))
    distance = _legs(curves, body, stride, draw.uniform(0.4, 0.8) * stride)
    swing = draw.uniform(0.5, 1.5) * stride
    curves.rest(UPPER_ARM, draw.uniform(0.12, 0.3, 2))
    curves.rest(FOREARM, draw.uniform(-0.05, 0.12, 2))
    curves.rest(FOREARM, draw.uniform(0.12, 0.4, 2), reach=True)
    curves.both(UPPER_ARM, 1, swing, 0.5, reach=True)
    curves.both(FOREARM, 1, 0.4 * swing, 0.47, reach=True)
    curves.swing(YAW, 1, draw.uniform(0.02, 0.1), 0.5)
    curves.swing(SWAY, 1, draw.uniform(0.004, 0.016), 0.2)
    curves.swing(LEAN, 1, draw.uniform(0.0, 0.03), 0.7)
    curves.swing(TILT, 2, draw.uniform(0.0, 0.03), 0.1)
    frequency = draw.uniform(0.7, 1.1)
    motion = curves.motion(draw, aspect, frequency)
    way = torch.where(draw.chance(0.5), 1.0, -1.0)
    aside = way * draw.uniform(0.6, 1.5)
    motion.mean[:, YAW] = torch.where(crosses, aside, _facing(draw, 0.2, 0.4))
    pace = distance * frequency * motion.scale * aside.sin()
    start, far = draw.uniform(0.1, 0.2) * aspect, draw.uniform(0.26, 0.4) * aspect
    return motion._replace(
        x=torch.where(crosses, -way * start, motion.x),
        speed=torch.where(crosses, pace, 0.0),
        stop=torch.where(crosses, far / pace.abs(), NEVER),
    )


def _legs(curves: Curves, body: Body, stride: Tensor, lift: Tensor) -> Tensor:
    """Bend hips and knees so that one foot is on the floor and the other swings forward.

    For _STANCE of its cycle a foot goes back steadily, at the same height; then it comes forward in
    an arc. From where the ankle is follow thigh and shin, both a leg bone long.

    Args:
        curves: to which the angles go.
        body: whose legs.
        stride: (B,) radians of the straight leg at the ends of a step.
        lift: (B,) of the foot as it swings, in leg bones.

    Returns:
        How far a cycle carries the body, in body heights.
    """
    turn = (
        torch.arange(_SAMPLES, device=stride.device) / _SAMPLES
    )  # 0: the heel comes down in front
    swing = ((turn - _STANCE) / (1 - _STANCE)).clamp(min=0)
    forward = torch.where(
        swing > 0, 1 - 2 * (math.pi * swing / 2).cos() ** 2, 1 - 2 * turn / _STANCE
    )
    reach = 2 * stride.sin()  # leg bones
    height = (1.98**2 - reach**2).sqrt()[:, None] - lift[:, None] * (math.pi * swing).sin() ** 2
    ahead = reach[:, None] * forward
    way, half = torch.atan2(ahead, height), (torch.hypot(ahead, height) / 2).clamp(max=1).acos()
    for side in (RIGHT, LEFT):
        curves.fit(limb(THIGH, side, reach=True), way + half, side / 2)
        curves.fit(limb(SHIN, side, reach=True), 2 * half, side / 2)
    return 2 * reach * body.leg / _STANCE


def _dance(draw: Draw, body: Body, aspect: float) -> Motion:
    """Arms, hips, knees, head and turn, each with its own low harmonics."""
    curves = Curves(draw)
    mirrored = 0.5 * draw.chance(0.5).float()  # arms together, or one after the other
    raised = draw.uniform(0.5, 1.6)
    swing = (draw.uniform(0.25, 0.9) * (raised - 0.15)).clamp(max=0.5)
    curves.rest(UPPER_ARM, raised[:, None] + draw.uniform(-0.12, 0.12, 2))
    curves.rest(UPPER_ARM, draw.uniform(-0.1, 0.4, 2), reach=True)
    curves.rest(FOREARM, draw.uniform(0.0, 1.3)[:, None] + draw.uniform(-0.2, 0.2, 2))
    curves.rest(FOREARM, draw.uniform(-0.1, 0.3, 2), reach=True)
    for part, reach, harmonic, low, high in (
        (FOREARM, False, 1, 0.1, 0.5), (FOREARM, False, 2, 0.0, 0.22),
        (UPPER_ARM, False, 2, 0.0, 0.15), (UPPER_ARM, True, 1, 0.05, 0.3),
        (FOREARM, True, 1, 0.0, 0.2), (FOREARM, False, 3, 0.0, 0.08),
    ):  # fmt: skip
        size, phase = draw.uniform(low, high), draw.uniform(0.0, 1.0)
        curves.both(part, harmonic, size, phase, reach, apart=mirrored)
    curves.both(UPPER_ARM, 1, swing, draw.uniform(0.0, 1.0), apart=mirrored)
    curves.rest(THIGH, draw.uniform(0.04, 0.22))
    step = draw.uniform(0.1, 0.6) * draw.chance(0.7)
    bounce = draw.uniform(0.02, 0.2)
    curves.rest(THIGH, 0.375 * step + bounce, reach=True)
    curves.both(THIGH, 1, 0.5 * step, 0.0, reach=True)
    curves.both(THIGH, 2, 0.125 * step + bounce, 0.0, reach=True)
    curves.rest(SHIN, 2 * bounce + 0.04, reach=True)
    curves.both(SHIN, 2, 2 * bounce, 0.0, reach=True)
    curves.lift(1.7 * step, 0.0)
    curves.swing(SWAY, 1, draw.uniform(0.01, 0.045), draw.uniform(-0.06, 0.06))
    curves.swing(LEAN, 1, draw.uniform(0.02, 0.12), draw.uniform(0.0, 1.0))
    curves.swing(LEAN, 2, draw.uniform(0.0, 0.04), draw.uniform(0.0, 1.0))
    curves.swing(TILT, 1, draw.uniform(0.02, 0.12), draw.uniform(0.0, 1.0))
    curves.swing(TILT, 2, draw.uniform(0.0, 0.06), draw.uniform(0.0, 1.0))
    curves.mean[:, YAW] = _facing(draw, 0.15, 0.5)
    curves.swing(YAW, 1, draw.uniform(0.1, 0.5), draw.uniform(0.0, 1.0))
    curves.swing(YAW, 2, draw.uniform(0.0, 0.15), draw.uniform(0.0, 1.0))
    return curves.motion(draw, aspect, draw.uniform(0.45, 0.85))


def _wave(draw: Draw, body: Body, aspect: float) -> Motion:
    """One arm up, or both, and the forearm goes to and fro."""
    curves = Curves(draw)
    which = draw.uniform(0.0, 5.0)[:, None]
    up = torch.cat((which < 3, (which < 1) | (which >= 3)), 1).float()  # right, left; one in 5 both
    raised, hanging = draw.uniform(1.0, 1.9, 2), draw.uniform(0.12, 0.35, 2)
    bend = draw.uniform(2.4, 2.9, 2) - raised
    curves.rest(UPPER_ARM, torch.lerp(hanging, raised, up))
    curves.rest(FOREARM, torch.lerp(draw.uniform(0.0, 0.25, 2), bend, up))
    curves.rest(UPPER_ARM, draw.uniform(-0.1, 0.3, 2), reach=True)
    curves.rest(FOREARM, draw.uniform(0.0, 0.3, 2), reach=True)
    phase = draw.uniform(0.0, 1.0)
    apart = torch.stack((torch.zeros_like(phase), 0.5 * draw.chance(0.5).float()), 1)
    to_and_fro, slow = draw.uniform(0.25, 0.5), draw.uniform(0.03, 0.15)
    for side in (RIGHT, LEFT):
        waving, turn = up[:, side], phase + apart[:, side]
        curves.swing(limb(FOREARM, side), 2, to_and_fro * waving, turn)
        curves.swing(limb(UPPER_ARM, side), 2, 0.25 * to_and_fro * waving, turn + 0.1)
        curves.swing(limb(UPPER_ARM, side), 1, slow * (0.3 + 0.7 * waving), turn)
        curves.swing(limb(UPPER_ARM, side, reach=True), 1, 0.5 * slow, turn + 0.3)
    curves.rest(THIGH, draw.uniform(0.02, 0.2))
    curves.rest(SHIN, draw.uniform(0.02, 0.1), reach=True)
    curves.rest(THIGH, draw.uniform(0.01, 0.05), reach=True)
    curves.swing(SWAY, 1, draw.uniform(0.004, 0.022), draw.uniform(0.0, 1.0))
    curves.swing(LEAN, 1, draw.uniform(0.01, 0.06), draw.uniform(0.0, 1.0))
    curves.swing(TILT, 1, draw.uniform(0.02, 0.1), draw.uniform(0.0, 1.0))
    curves.mean[:, YAW] = _facing(draw, 0.1, 0.45)
    curves.swing(YAW, 1, draw.uniform(0.02, 0.15), draw.uniform(0.0, 1.0))
    return curves.motion(draw, aspect, draw.uniform(0.45, 0.75))


def _turn(draw: Draw, body: Body, aspect: float) -> Motion:
    """Once round in small steps, again and again."""
    curves = Curves(draw)
    curves.rest(UPPER_ARM, draw.uniform(0.2, 0.8)[:, None] + draw.uniform(-0.06, 0.06, 2))
    curves.rest(FOREARM, draw.uniform(-0.05, 0.4, 2))
    curves.rest(UPPER_ARM, draw.uniform(-0.1, 0.25, 2), reach=True)
    curves.rest(FOREARM, draw.uniform(0.0, 0.3, 2), reach=True)
    curves.both(UPPER_ARM, 1, draw.uniform(0.02, 0.12), draw.uniform(0.0, 1.0))
    curves.both(UPPER_ARM, 3, draw.uniform(0.03, 0.12), draw.uniform(0.0, 1.0), reach=True)
    curves.rest(THIGH, draw.uniform(0.02, 0.1))
    step = draw.uniform(0.06, 0.16)
    curves.rest(THIGH, step, reach=True)
    curves.both(THIGH, 3, step, 0.0, reach=True)
    curves.rest(SHIN, 2 * step + 0.04, reach=True)
    curves.both(SHIN, 3, 2 * step, 0.0, reach=True)
    curves.swing(SWAY, 3, draw.uniform(0.004, 0.012), 0.0)
    curves.swing(LEAN, 1, draw.uniform(0.0, 0.04), draw.uniform(0.0, 1.0))
    curves.swing(TILT, 1, draw.uniform(0.0, 0.06), draw.uniform(0.0, 1.0))
    curves.mean[:, YAW] = _facing(draw, 0.3, 0.8)
    curves.swing(YAW, 1, draw.uniform(0.0, 0.25), draw.uniform(0.0, 1.0))
    frequency = draw.uniform(0.25, 0.55)
    way = torch.where(draw.chance(0.5), 1.0, -1.0)
    return curves.motion(draw, aspect, frequency)._replace(spin=way * 2 * math.pi * frequency)
