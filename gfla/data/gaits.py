"""How people move: joint angles as periodic curves of time.

Every angle is a mean and three harmonics, θ(t) = θ_0 + Re Σ_h c_h exp(2πi h f t), h = 1, 2, 3. With
a steady turn, and a path across the picture, that is all a motion is. What the curves do not say
follows from the feet: the pelvis is as high as the lower foot lets it be, and when the hips sway
the legs lean the other way, so that the feet stay where they are.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from gfla.data.body import Body, Draw, Pose, skeleton

KINDS = ("walk", "dance", "wave", "turn")
HARMONICS = 3

# columns of a motion; then the limbs, as in body.Pose, but a forearm counts from its upper arm and
# a shin from its thigh: what is stored is how far elbow and knee bend
YAW, LEAN, TILT, SWAY = range(4)
_SPREAD, _REACH, _COLUMNS = 4, 12, 20
UPPER_ARM, FOREARM, THIGH, SHIN = range(4)
RIGHT, LEFT = range(2)

_STOPPING = 0.12  # seconds in which a walk comes to its end
_NEVER = 1e6  # seconds
_SOFT = 0.01  # body heights over which the weight passes from one foot to the other
_SAMPLES = 24  # moments of a cycle at which a foot is followed
_STANCE = 0.6  # share of a cycle that a foot is on the floor
_STRAIGHT = 0.985  # height of the hips over the ankles of somebody who stands, over two leg bones


class Motion(NamedTuple):
    """How B people move. Angles in radians, lengths in picture heights unless said otherwise."""

    frequency: Tensor  # (B,) cycles in a second
    mean: Tensor  # (B, 20) of each column; SWAY to the left, in body heights
    cosine: Tensor  # (B, 3, 20)
    sine: Tensor  # (B, 3, 20)
    spin: Tensor  # (B,) steady turn, radians in a second
    speed: Tensor  # (B,) to the viewer's right, in a second
    stop: Tensor  # (B,) seconds after which the person stands still
    x: Tensor  # (B,) of the pelvis at the start
    y: Tensor  # (B,) of the pelvis of somebody who stands
    scale: Tensor  # (B,) body height in picture heights


def limb(part: int, side: int, reach: bool = False) -> int:
    """Column of a limb's spread or reach."""
    return (_REACH if reach else _SPREAD) + 2 * part + side


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
        stop=torch.full_like(chosen.stop, _NEVER),
    )


def pose_at(motion: Motion, body: Body, seconds: float) -> Pose:
    """How the people stand at one moment: (B,) poses, smooth in `seconds`."""
    angle = 2 * math.pi * seconds * motion.frequency[:, None] * _orders(motion.frequency)  # (B, 3)
    going = torch.sigmoid((motion.stop - seconds) / _STOPPING)
    swing = angle.cos()[..., None] * motion.cosine + angle.sin()[..., None] * motion.sine
    value = motion.mean + going[:, None] * swing.sum(1)  # (B, 20)
    spread, reach = value[:, _SPREAD:_REACH].clone(), value[:, _REACH:].clone()
    planted = value[:, SWAY] / (2 * body.leg)  # the feet stay when the hips move
    spread[:, 4:6] += torch.stack((planted, -planted), 1)
    spread[:, 2:4] += spread[:, :2]
    spread[:, 6:8] += spread[:, 4:6]
    reach[:, 2:4] += reach[:, :2]
    reach[:, 6:8] = reach[:, 4:6] - reach[:, 6:8]  # a knee bends one way
    yaw = value[:, YAW] + motion.spin * seconds
    late = _STOPPING * torch.nn.functional.softplus((seconds - motion.stop) / _STOPPING)
    aside = motion.scale * value[:, SWAY] * yaw.cos()
    pose = Pose(
        yaw=yaw,
        lean=value[:, LEAN],
        tilt=value[:, TILT],
        x=motion.x + motion.speed * (seconds - late) + aside,
        y=motion.y,
        scale=motion.scale,
        spread=spread,
        reach=reach,
    )
    return pose._replace(y=motion.y + motion.scale * _sink(body, pose))


def _orders(like: Tensor) -> Tensor:
    return torch.arange(1, HARMONICS + 1, device=like.device)


def _sink(body: Body, pose: Pose) -> Tensor:
    """How much lower than upright the pelvis is when the lower foot is on the floor: (B,)."""
    joints = skeleton(body, pose)
    feet = torch.stack([joints[f"{side} ankle"][:, 1] for side in ("right", "left")], 1)
    return 2 * _STRAIGHT * body.leg - _SOFT * (feet / _SOFT).logsumexp(1)


class _Curves:
    """The curves of B people while they are being made up, all zero at first."""

    def __init__(self, draw: Draw):
        count, device = len(draw.key), draw.key.device
        self.mean = torch.zeros(count, _COLUMNS, device=device)
        self.cosine = torch.zeros(count, HARMONICS, _COLUMNS, device=device)
        self.sine = torch.zeros_like(self.cosine)

    def swing(self, column: int, harmonic: int, amplitude: Tensor, phase: Tensor | float) -> None:
        """Add amplitude · cos 2π(harmonic · turns + phase) to a column."""
        angle = 2 * math.pi * torch.as_tensor(phase, device=self.mean.device)
        self.cosine[:, harmonic - 1, column] += amplitude * angle.cos()
        self.sine[:, harmonic - 1, column] -= amplitude * angle.sin()

    def both(
        self,
        part: int,
        harmonic: int,
        amplitude: Tensor,
        phase: Tensor | float,
        reach: bool = False,
        apart: Tensor | float = 0.5,
    ) -> None:
        """The same for both limbs, the left one `apart` of a cycle later."""
        self.swing(limb(part, RIGHT, reach), harmonic, amplitude, phase)
        self.swing(limb(part, LEFT, reach), harmonic, amplitude, phase + harmonic * apart)

    def rest(self, part: int, value: Tensor, reach: bool = False) -> None:
        """Set what both limbs swing about: (B,) or, for each side, (B, 2)."""
        first = limb(part, RIGHT, reach)
        self.mean[:, first : first + 2] = value if value.ndim == 2 else value[:, None]

    def lift(self, amplitude: Tensor, phase: float) -> None:
        """Add amplitude · ((1 + cos) / 2)² to the bend of the knees, one after the other."""
        for side, turn in ((RIGHT, phase), (LEFT, phase + 0.5)):
            column = limb(SHIN, side, reach=True)
            self.mean[:, column] += 0.375 * amplitude
            self.swing(column, 1, 0.5 * amplitude, turn)
            self.swing(column, 2, 0.125 * amplitude, 2 * turn)

    def fit(self, column: int, values: Tensor, late: float = 0.0) -> None:
        """Make a column follow values (B, S) over a cycle, smoothly, `late` of a cycle later."""
        turn = torch.arange(values.shape[1], device=values.device) / values.shape[1] + late
        angle = 2 * math.pi * turn[:, None] * _orders(values)  # (S, 3)
        self.mean[:, column] = values.mean(1)
        self.cosine[..., column] = values @ angle.cos() * (2 / len(turn))
        self.sine[..., column] = values @ angle.sin() * (2 / len(turn))

    def motion(self, draw: Draw, aspect: float, frequency: Tensor) -> Motion:
        """A motion on the spot."""
        zero = torch.zeros_like(frequency)
        phase = draw.uniform(0.0, 1.0)  # where in its cycle the motion begins
        angle = 2 * math.pi * phase[:, None, None] * _orders(phase)[:, None]
        return Motion(
            frequency=frequency,
            mean=self.mean,
            cosine=self.cosine * angle.cos() + self.sine * angle.sin(),
            sine=self.sine * angle.cos() - self.cosine * angle.sin(),
            spin=zero,
            speed=zero,
            stop=zero + _NEVER,
            x=draw.uniform(-0.08, 0.08) * aspect,
            y=draw.uniform(-0.03, 0.03),
            scale=draw.uniform(0.80, 0.92),
        )


def _facing(draw: Draw, behind: float, deviation: float) -> Tensor:
    """Yaw of people who look at us, more or less, or away."""
    return draw.chance(behind).float() * math.pi + draw.normal(0.0, deviation)


def _walk(draw: Draw, body: Body, aspect: float) -> Motion:
    """Steps with arms against legs: on the spot, or across the picture until the walk ends."""
    curves = _Curves(draw)
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
        stop=torch.where(crosses, far / pace.abs(), _NEVER),
    )


def _legs(curves: _Curves, body: Body, stride: Tensor, lift: Tensor) -> Tensor:
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
    curves = _Curves(draw)
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
    curves = _Curves(draw)
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
    curves = _Curves(draw)
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
