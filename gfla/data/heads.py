"""The shape of a procedural head: which point of it a pixel shows, and where a point of it appears.

A head is a sphere that turns, stretched to an egg in the picture. A point of its skin has two
coordinates that no motion changes: (a, b), the angle from the middle of the face to the viewer's
right and down, of a face at rest with eyes and mouth closed. An expression moves skin in two steps,
each along one axis, so that it can be undone: down the columns (lids, lips, brows), then along the
rows (the width of a smile, the parallax of the nose). What shows between open lids or lips belongs
to a layer of its own. `look` and `place` are inverses of each other.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from gfla.data.body import Draw

LAYERS = (
    "backdrop", "hair behind", "torso", "ear", "skin", "eye", "mouth", "hair", "glasses",
)  # fmt: skip
BACKDROP, BEHIND, TORSO, EAR, SKIN, EYE, MOUTH, HAIR, GLASSES = range(len(LAYERS))
EYE_ROW, BROW_ROW, NOSE_ROW, MOUTH_ROW = -0.02, -0.40, 0.22, 0.70  # b, radians
SHELL = 1.09  # radius of the hair, of the skull's
RIM = 0.26  # radius of a lens, radians
NEWTON = 10  # steps; the skin is never folded, so few suffice
SAME = 0.02  # radians (or half heights) within which two points are the same


class Anatomy(NamedTuple):
    """What no motion changes about one head, each a number; radians unless said."""

    width: Tensor  # half width of the skull, of its half height
    chin: Tensor  # how much narrower the jaw is, a fraction
    eye_gap: Tensor  # a of the eye's middle
    eye_width: Tensor  # half
    eye_height: Tensor  # of the upper lid's arch, wide open
    slant: Tensor  # how much lower the outer corner of the eye is
    mouth_width: Tensor  # half
    lip: Tensor  # thickness of the lower lip
    brow_arch: Tensor
    hairline: Tensor  # b of the hair's edge above the face
    curtain: Tensor  # b down to which hair hangs at the sides
    wave: Tensor  # height of the fringe's waves
    hair: Tensor  # 1, or 0 for a bald head
    long_hair: Tensor  # 1 or 0
    glasses: Tensor  # 1 or 0
    nose: Tensor  # how far the nose stands out


class Bearing(NamedTuple):
    """How one head is held in F pictures, each (F, 1)."""

    x: Tensor  # pixels, middle of the head
    y: Tensor
    body_x: Tensor  # pixels, where the middle would be if the head sat straight on the body
    body_y: Tensor
    scale: Tensor  # pixels of the head's half height
    roll: Tensor  # radians, positive leans to the viewer's right
    yaw: Tensor  # positive turns the face to the viewer's right
    pitch: Tensor  # positive looks down
    opening: Tensor  # of the mouth, 0 to 1
    smile: Tensor  # -0.3 to 1
    lids: Tensor  # 0 closed, 1 open
    gaze_x: Tensor  # radians
    gaze_y: Tensor
    brows: Tensor  # radians upwards


def draw_anatomy(draw: Draw) -> Anatomy:
    """One head's proportions, numbers (0-dimensional tensors)."""
    long_hair = draw.chance(0.45).float()
    anatomy = Anatomy(
        width=draw.uniform(0.74, 0.86),
        chin=draw.uniform(0.04, 0.26),
        eye_gap=draw.uniform(0.40, 0.46),
        eye_width=draw.uniform(0.20, 0.24),
        eye_height=draw.uniform(0.15, 0.19),
        slant=draw.uniform(-0.04, 0.03),
        mouth_width=draw.uniform(0.30, 0.38),
        lip=draw.uniform(0.07, 0.12),
        brow_arch=draw.uniform(0.03, 0.10),
        hairline=draw.uniform(-0.86, -0.60),
        curtain=torch.lerp(draw.uniform(-0.35, 0.0), draw.uniform(0.5, 1.2), long_hair),
        wave=draw.uniform(0.01, 0.07),
        hair=1 - draw.chance(0.08).float() * (1 - long_hair),
        long_hair=long_hair,
        glasses=draw.chance(0.25).float(),
        nose=draw.uniform(0.08, 0.15),
    )
    return Anatomy(*(value[0] for value in anatomy))


class Head:
    """One head in F pictures."""

    def __init__(self, anatomy: Anatomy, bearing: Bearing):
        self.who, self.now = anatomy, bearing

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
        region, rest_a, rest_b = self._relax(a, b)
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
        a, b = self._express(u, v)
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

    # a face with an expression <-> the face at rest

    def openings(self, a: Tensor) -> tuple[tuple[Tensor, ...], ...]:
        """Eyes and mouth at a column a: (closed seam, upper edge, lower edge, inside the corners).

        Both eyes are one opening, for they are each other's mirror image.
        """
        who, now = self.who, self.now
        t = (a.abs() - who.eye_gap) / who.eye_width
        arch = (1 - t * t).clamp(min=0)
        seam = EYE_ROW + 0.04 + who.slant * t
        height = who.eye_height * now.lids * arch
        eyes = (seam, seam - height, seam + 0.4 * height, arch > 0)
        t = a / (who.mouth_width / (1 - 0.2 * now.smile))
        arch = (1 - t * t).clamp(min=0)
        seam = torch.full_like(a, MOUTH_ROW)
        curved = seam - 0.09 * now.smile * (t * t - 0.4) * torch.exp(-((a / 0.6) ** 4))
        mouth = (
            seam, curved - 0.06 * now.opening * arch, curved + 0.26 * now.opening * arch, arch > 0
        )  # fmt: skip
        return eyes, mouth

    def _pull(
        self, openings: tuple, sides: tuple[Tensor, Tensor], b: Tensor
    ) -> tuple[Tensor, Tensor]:
        """How far down the skin at row b has been moved, and the derivative of that by b.

        Args:
            openings: of `openings`. sides: for each, whether the point is above it.
        """
        moved = -self.now.brows * _bump((b - BROW_ROW) / 0.19)
        slope = -self.now.brows * _bump_slope((b - BROW_ROW) / 0.19) / 0.19
        for (seam, upper, lower, _), above, reach in zip(
            openings, sides, ((0.2, 0.2), (0.3, 0.5)), strict=True
        ):
            edge = torch.where(above, upper, lower)
            length = torch.where(above, reach[0], reach[1])
            t = (b - edge) / length
            t = torch.where(above, t.clamp(max=0), t.clamp(min=0))  # so Newton meets no fold
            moved = moved + (edge - seam) * _bump(t)
            slope = slope + (edge - seam) * _bump_slope(t) / length
        return moved, slope

    def _push(self, a: Tensor, rest_b: Tensor) -> tuple[Tensor, Tensor]:
        """How far to the right the skin at column a has been moved, and the derivative by a."""
        wide = 0.2 * self.now.smile * _bump((rest_b - MOUTH_ROW) / 0.4)
        out = self.who.nose * self.now.yaw.sin() * _bump((rest_b - NOSE_ROW) / 0.36)
        return wide * a + out * _bump(a / 0.3), wide + out * _bump_slope(a / 0.3) / 0.3

    def _relax(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Which of SKIN, EYE, MOUTH is seen at (a, b), and that skin's place at rest."""
        openings = self.openings(a)
        region = torch.full_like(a, SKIN, dtype=torch.int64)
        for index, (_, upper, lower, within) in zip((EYE, MOUTH), openings, strict=True):
            region = region.masked_fill((b > upper) & (b < lower) & within, index)
        above = tuple(b < (upper + lower) / 2 for _, upper, lower, _ in openings)
        rest_b = b - self._pull(openings, above, b)[0]
        return region, a - self._push(a, rest_b)[0], rest_b

    def _express(self, rest_a: Tensor, rest_b: Tensor) -> tuple[Tensor, Tensor]:
        """Where skin of the face at rest has gone: Newton along the row, then down the column."""
        a = rest_a
        for _ in range(NEWTON):
            moved, slope = self._push(a, rest_b)
            a = a - (a - moved - rest_a) / (1 - slope)
        openings = self.openings(a)
        above = tuple(rest_b < seam for seam, *_ in openings)
        b = rest_b
        for _ in range(NEWTON):
            moved, slope = self._pull(openings, above, b)
            b = b - (b - moved - rest_b) / (1 - slope)
        return a, b

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


def _bump(t: Tensor) -> Tensor:
    """1 at 0, smoothly to 0 at 1 and beyond."""
    return (1 - t * t).clamp(min=0) ** 2


def _bump_slope(t: Tensor) -> Tensor:
    return -4 * t * (1 - t * t).clamp(min=0)


def _torso(x: Tensor, y: Tensor) -> Tensor:
    """Neck and shoulders."""
    neck = (x.abs() < 0.36 + 0.2 * (y - 1.0).clamp(min=0)) & (y > 0.4)
    return neck | (y > 1.12 + 0.22 * x**2 + 0.25 * x.abs())


def _long_hair(x: Tensor, y: Tensor) -> Tensor:
    """What hangs behind the neck."""
    return ((x / (0.92 + 0.06 * y)).abs() ** 3 + (((y - 0.25) / 1.15).abs()) ** 3) < 1
