"""Who a procedural face is, how it is held, and how an expression moves its skin.

Skin has two coordinates that no motion changes: (a, b), the angle in radians from the middle of the
face to the viewer's right and down, of a face at rest with eyes and mouth closed. An expression
moves skin in two steps, each along one axis, so that it can be undone: along the rows (the width of
a smile, the parallax of the nose), then down the columns (lids, lips, brows). Between open lids or
lips shows what belongs to a layer of its own. `relax` and `express` are inverses of each other.
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
NEWTON = 8  # steps; the skin is never folded, so few suffice


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
        brow_arch=draw.uniform(0.02, 0.08),
        hairline=draw.uniform(-0.86, -0.60),
        curtain=torch.lerp(draw.uniform(-0.35, 0.0), draw.uniform(0.5, 1.2), long_hair),
        wave=draw.uniform(0.01, 0.07),
        hair=1 - draw.chance(0.08).float() * (1 - long_hair),
        long_hair=long_hair,
        glasses=draw.chance(0.25).float(),
        nose=draw.uniform(0.08, 0.15),
    )
    return Anatomy(*(value[0] for value in anatomy))


class Expression:
    """The skin of one face in F pictures."""

    def __init__(self, anatomy: Anatomy, bearing: Bearing):
        self.who, self.now = anatomy, bearing

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

    def relax(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Which of SKIN, EYE, MOUTH is seen at (a, b), and that skin's place at rest."""
        openings = self.openings(a)
        region = torch.full_like(a, SKIN, dtype=torch.int64)
        for index, (_, upper, lower, within) in zip((EYE, MOUTH), openings, strict=True):
            region = region.masked_fill((b > upper) & (b < lower) & within, index)
        above = tuple(b < (upper + lower) / 2 for _, upper, lower, _ in openings)
        rest_b = b - self._pull(openings, above, b)[0]
        return region, a - self._push(a, rest_b)[0], rest_b

    def express(self, rest_a: Tensor, rest_b: Tensor) -> tuple[Tensor, Tensor]:
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


def _bump(t: Tensor) -> Tensor:
    """1 at 0, smoothly to 0 at 1 and beyond."""
    return (1 - t * t).clamp(min=0) ** 2


def _bump_slope(t: Tensor) -> Tensor:
    return -4 * t * (1 - t * t).clamp(min=0)
