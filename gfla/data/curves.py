"""How a body moves, written down: joint angles as periodic curves of time.

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
from torch.nn.functional import softplus

from gfla.data.body import Body, Draw, Pose, skeleton

HARMONICS = 3
NEVER = 1e6  # seconds

# columns of a motion; then the limbs, as in body.Pose, but a forearm counts from its upper arm and
# a shin from its thigh: what is stored is how far elbow and knee bend
YAW, LEAN, TILT, SWAY = range(4)
_SPREAD, _REACH, _COLUMNS = 4, 12, 20
UPPER_ARM, FOREARM, THIGH, SHIN = range(4)
RIGHT, LEFT = range(2)

_STOPPING = 0.12  # seconds in which a walk comes to its end
_SOFT = 0.01  # body heights over which the weight passes from one foot to the other
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
    late = _STOPPING * softplus((seconds - motion.stop) / _STOPPING)
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


class Curves:
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
            stop=zero + NEVER,
            x=draw.uniform(-0.08, 0.08) * aspect,
            y=draw.uniform(-0.03, 0.03),
            scale=draw.uniform(0.80, 0.92),
        )
