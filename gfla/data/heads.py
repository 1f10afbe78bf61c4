"""The shape of a procedural head: which point of it a pixel shows, and where a point of it appears.

A head is a sphere that turns, stretched to an egg in the picture, with hair as a larger sphere
around it. Its points are told by angles (a, b) from the middle of the face to the viewer's right
and down, those of the skin on the face at rest (`expressions.py`). Ears, hair behind the neck and
shoulders are flat. `look` and `place` are inverses of each other.
"""

import torch
from torch import Tensor

from gfla.data.expressions import (
    BEHIND,
    EAR,
    EYE,
    EYE_ROW,
    GLASSES,
    HAIR,
    MOUTH,
    SKIN,
    TORSO,
    Anatomy,
    Bearing,
    Expression,
)

SHELL = 1.09  # radius of the hair, of the skull's
RIM = 0.26  # radius of a lens, radians


class Head:
    """One head in F pictures."""

    def __init__(self, anatomy: Anatomy, bearing: Bearing):
        self.who, self.now = anatomy, bearing
        self.face = Expression(anatomy, bearing)

    def look(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Tell what is seen at points of the pictures.

        Args:
            points: (F, P, 2) as (x, y) in pixels.

        Returns:
            (F, P) int64 index into LAYERS, and (F, P, 2) coordinates of the point on that layer.
        """
        who, now = self.who, self.now
        across, down = self._upright(points)
        body_x = (points[..., 0] - now.body_x) / now.scale
        body_y = (points[..., 1] - now.body_y) / now.scale
        behind_x = across - self._parallax()
        x, y = self._disc(across, down)
        ear_x, ear_y = self._from_ear(x, y)
        a, b = self._face(x, y)
        shell_a, shell_b = self._face(x / SHELL, y / SHELL)
        hairy = self._hair(shell_a, shell_b)
        radius = (x * x + y * y).sqrt()
        rim = radius.clamp(min=1)  # past the skull hair is thick: what its rim bears stands out
        hairy = torch.where(radius > 1, self._hair(*self._face(x / rim, y / rim)), hairy)
        region, rest_a, rest_b = self.face.relax(a, b)
        skull = radius < 1
        shown = (  # from the back to the front
            (BEHIND, _long_hair(behind_x, down) & (who.long_hair > 0), behind_x, down),
            (TORSO, _torso(body_x, body_y), body_x, body_y),
            (EAR, (ear_x / 0.15) ** 2 + (ear_y / 0.21) ** 2 < 1, ear_x + x.sign(), ear_y),
            (SKIN, skull & (region == SKIN), rest_a, rest_b),
            (EYE, skull & (region == EYE), a - now.gaze_x, b - now.gaze_y),
            (MOUTH, skull & (region == MOUTH), a, b),
            (GLASSES, skull & self._glasses(a, b), a, b),
            (HAIR, (radius < SHELL) & hairy, shell_a, shell_b),
        )
        layer = torch.zeros_like(x, dtype=torch.int64)
        first, second = torch.zeros_like(x), torch.zeros_like(x)
        for index, where, u, v in shown:
            layer = layer.masked_fill(where, index)
            first, second = torch.where(where, u, first), torch.where(where, v, second)
        return layer, torch.stack((first, second), -1)

    def place(self, layer: Tensor, coordinates: Tensor) -> Tensor:
        """Tell where points of the layers appear, hidden or not: the inverse of `look`.

        Args:
            layer: (F, P) int64 index into LAYERS, not BACKDROP.
            coordinates: (F, P, 2) on that layer.

        Returns:
            (F, P, 2) pixels as (x, y).
        """
        now = self.now
        u, v = coordinates.unbind(-1)
        a, b = self.face.express(u, v)
        eye, skin = layer == EYE, layer == SKIN
        a = torch.where(skin, a, torch.where(eye, u + now.gaze_x, u))
        b = torch.where(skin, b, torch.where(eye, v + now.gaze_y, v))
        x, y = self._sphere(a, b)
        grown = torch.where(layer == HAIR, SHELL, 1.0)
        x, y = x * grown, y * grown
        ear = layer == EAR
        side = u.sign()
        x = torch.where(ear, u - side + self._ear(side), x)
        y = torch.where(ear, v + 0.05, y)
        across, down = self._plane(x, y)
        behind = layer == BEHIND
        across = torch.where(behind, u + self._parallax(), across)
        down = torch.where(behind, v, down)
        pixels = self._pixels(across, down)
        body = torch.stack((now.body_x + u * now.scale, now.body_y + v * now.scale), -1)
        return torch.where((layer == TORSO)[..., None], body, pixels)

    def on_outline(self, x: Tensor, y: Tensor) -> Tensor:
        """Pixels (F, P, 2) of points of the disc that the head fills, its rim at radius 1."""
        return self._pixels(*self._plane(x, y))

    # pixels <-> upright plane, in half heights of the head <-> unit disc

    def _upright(self, points: Tensor) -> tuple[Tensor, Tensor]:
        now = self.now
        dx, dy = points[..., 0] - now.x, points[..., 1] - now.y
        cos, sin = now.roll.cos() / now.scale, now.roll.sin() / now.scale
        return dx * cos + dy * sin, dy * cos - dx * sin

    def _pixels(self, across: Tensor, down: Tensor) -> Tensor:
        now = self.now
        cos, sin = now.roll.cos() * now.scale, now.roll.sin() * now.scale
        return torch.stack(
            (now.x + across * cos - down * sin, now.y + across * sin + down * cos), -1
        )

    def _disc(self, across: Tensor, down: Tensor) -> tuple[Tensor, Tensor]:
        jaw = 0.07 * self.now.opening
        lower = down.clamp(min=0)
        y = torch.where(down > 0, 2 * down / (1 + (1 + 4 * jaw * lower).sqrt()), down)
        return across / self._width(y), y

    def _plane(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return x * self._width(y), y + 0.07 * self.now.opening * y.clamp(min=0) ** 2

    def _width(self, y: Tensor) -> Tensor:
        """Half width of the egg at a height: narrower towards the chin."""
        return self.who.width * (1 - self.who.chin * torch.sigmoid(5 * (y - 0.55)))

    def _parallax(self) -> Tensor:
        return -0.15 * self.now.yaw.sin()

    def _ear(self, side: Tensor) -> Tensor:
        return side * 1.02 - 0.1 * self.now.yaw.sin()

    def _from_ear(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return x - self._ear(x.sign()), y - 0.05

    # unit disc <-> the turned sphere's angles

    def _face(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        z = (1 - x * x - y * y).clamp(min=1e-8).sqrt()
        cos, sin = self.now.yaw.cos(), self.now.yaw.sin()
        x, z = x * cos - z * sin, z * cos + x * sin
        cos, sin = self.now.pitch.cos(), self.now.pitch.sin()
        y, z = y * cos - z * sin, z * cos + y * sin
        radius = (x * x + y * y).clamp(min=1e-12).sqrt()
        stretch = torch.atan2(radius, z) / radius
        return x * stretch, y * stretch

    def _sphere(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        angle = (a * a + b * b).clamp(min=1e-12).sqrt()
        x, y, z = a * angle.sin() / angle, b * angle.sin() / angle, angle.cos()
        cos, sin = self.now.pitch.cos(), self.now.pitch.sin()
        y, z = y * cos + z * sin, z * cos - y * sin
        cos, sin = self.now.yaw.cos(), self.now.yaw.sin()
        return x * cos + z * sin, y

    def _hair(self, a: Tensor, b: Tensor) -> Tensor:
        """Whether the shell around the skull bears hair there."""
        who = self.who
        side = ((a.abs() - 0.72) / 0.5).clamp(0, 1)
        edge = torch.lerp(who.hairline + 0.1 * a, who.curtain, side * side * (3 - 2 * side))
        edge = edge + (1 - side) * who.wave * (9 * a + 40 * who.chin).sin()
        round_behind = (a * a + b * b > 3.4) & (b < 0.6)
        return ((b < edge) | round_behind) & (who.hair > 0)

    def _glasses(self, a: Tensor, b: Tensor) -> Tensor:
        row = b - EYE_ROW
        lens = (((a.abs() - self.who.eye_gap) * 0.85) ** 2 + row**2).sqrt()
        rim = (lens - RIM).abs() < 0.022
        bridge = (a.abs() < self.who.eye_gap - RIM / 0.85) & ((row + 0.06).abs() < 0.022)
        arm = (a.abs() > self.who.eye_gap + RIM / 0.85) & ((row + 0.04).abs() < 0.025)
        return (rim | bridge | arm) & (self.who.glasses > 0)


def _torso(x: Tensor, y: Tensor) -> Tensor:
    """Neck and shoulders."""
    neck = (x.abs() < 0.36 + 0.2 * (y - 1.0).clamp(min=0)) & (y > 0.4)
    return neck | (y > 1.12 + 0.22 * x**2 + 0.25 * x.abs())


def _long_hair(x: Tensor, y: Tensor) -> Tensor:
    """What hangs behind the neck."""
    return ((x / (0.92 + 0.06 * y)).abs() ** 3 + (((y - 0.25) / 1.15).abs()) ** 3) < 1
