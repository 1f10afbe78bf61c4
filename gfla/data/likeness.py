"""What a procedural head is coloured with: skin, eyes, lips, hair, freckles, beard, cloth.

Every colour is a function of the coordinates that `heads.Head.look` gives, and of nothing else, so
that a point keeps its colour wherever it goes: the light is painted on.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from gfla.data import expressions
from gfla.data.body import Draw
from gfla.data.expressions import Anatomy

SKINS = ((0.96, 0.80, 0.69), (0.90, 0.71, 0.57), (0.78, 0.58, 0.43), (0.60, 0.41, 0.29),
         (0.42, 0.28, 0.21))  # fmt: skip
HAIRS = ((0.10, 0.08, 0.08), (0.27, 0.17, 0.11), (0.45, 0.28, 0.15), (0.80, 0.64, 0.36),
         (0.62, 0.27, 0.13), (0.62, 0.61, 0.60))  # fmt: skip
IRISES = ((0.30, 0.18, 0.10), (0.22, 0.38, 0.56), (0.26, 0.44, 0.28), (0.42, 0.40, 0.42))
SOFT = 0.03  # radians over which one colour turns into the next


class Likeness(NamedTuple):
    """One face's colours: (3,) in [0, 1] unless said."""

    skin: Tensor
    hair: Tensor
    iris: Tensor
    lips: Tensor
    shirt: Tensor
    stripe: Tensor
    frame: Tensor
    freckles: Tensor  # number in [0, 1]
    beard: Tensor  # number in [0, 1]
    blush: Tensor  # number in [0, 1]
    stripes: Tensor  # (2,) direction of the shirt's stripes times their number
    moles: Tensor  # (3, 2) places on the face
    waves: Tensor  # (12, 4) for noise: two frequencies, a phase, a weight


def draw_likeness(draw: Draw) -> Likeness:
    """One face's colours."""
    skin = _pick(draw, SKINS)
    angle = draw.uniform(0, 3.14)[0]
    number = draw.uniform(8, 16)[0]
    fine = torch.linspace(0.6, 2.2, 12, device=draw.key.device)[:, None]
    waves = torch.cat(
        (
            draw.normal(0, 9, 12, 2)[0] * fine,
            draw.uniform(0, 6.28, 12, 1)[0],
            draw.uniform(0.6, 1.0, 12, 1)[0],
        ),
        1,
    )
    return Likeness(
        skin=skin,
        hair=(_pick(draw, HAIRS) + draw.uniform(-0.05, 0.05, 3)[0]).clamp(0, 1),
        iris=_pick(draw, IRISES),
        lips=skin * torch.tensor([0.86, 0.52, 0.52], device=skin.device)
        + draw.uniform(-0.04, 0.06, 3)[0],
        shirt=draw.uniform(0.15, 0.9, 3)[0],
        stripe=draw.uniform(0.1, 0.95, 3)[0],
        frame=draw.uniform(0.03, 0.45, 3)[0],
        freckles=draw.chance(0.4)[0] * draw.uniform(0.4, 1.0)[0],
        beard=draw.chance(0.3)[0] * draw.uniform(0.3, 0.95)[0],
        blush=draw.uniform(0.2, 0.9)[0],
        stripes=torch.stack((angle.cos(), angle.sin())) * number,
        moles=draw.uniform(-0.75, 0.75, 3, 2)[0] + torch.tensor([0.0, 0.35], device=skin.device),
        waves=waves,
    )


def _pick(draw: Draw, colors: tuple) -> Tensor:
    table = torch.tensor(colors, device=draw.key.device)
    place = draw.uniform(0, len(colors) - 1)[0]
    low = place.long().clamp(max=len(colors) - 2)
    return torch.lerp(table[low], table[low + 1], place - low)


def paint(who: Anatomy, colors: Likeness, layer: int, u: Tensor, v: Tensor) -> Tensor:
    """Colour points of one layer.

    Args:
        who, colors: the head and its colours.
        layer: index into `expressions.LAYERS`, not BACKDROP.
        u, v: (N,) coordinates on it.

    Returns:
        (N, 3) in [0, 1].
    """
    painter = _PAINTERS[expressions.LAYERS[layer]]
    return painter(who, colors, u, v).clamp(0, 1)


def _noise(colors: Likeness, u: Tensor, v: Tensor, scale: float = 1.0, waves: int = 12) -> Tensor:
    """A smooth pattern of this face's own, about -1 to 1."""
    across, down, phase, weight = colors.waves[:waves].unbind(1)
    angle = u[:, None] * (across * scale) + v[:, None] * (down * scale) + phase
    return (angle.sin() * weight).sum(1) * (2.2 / waves**0.5 / 2)


def _on(distance: Tensor, soft: float = SOFT) -> Tensor:
    """1 where the signed distance is negative, 0 where it is positive, soft between: (N, 1)."""
    return (0.5 - distance / soft).clamp(0, 1)[:, None]


def _over(below: Tensor, color: Tensor, amount: Tensor) -> Tensor:
    return below + (color - below) * amount


def _shade(a: Tensor, b: Tensor) -> Tensor:
    """Painted light from the upper left: (N, 1)."""
    angle = (a * a + b * b).clamp(min=1e-9).sqrt()
    x, y = a * angle.sin() / angle, b * angle.sin() / angle
    return (0.80 + 0.22 * angle.cos() - 0.10 * x - 0.08 * y).clamp(0.55, 1.1)[:, None]


def _skin(who: Anatomy, colors: Likeness, a: Tensor, b: Tensor) -> Tensor:
    skin, dark = colors.skin, colors.skin * 0.62
    grain = _noise(colors, a, b)
    color = skin * (1 + 0.035 * grain[:, None])
    cheek = torch.exp(-(((a.abs() - 0.58) / 0.2) ** 2) - ((b - 0.38) / 0.17) ** 2)
    rosy = skin * torch.tensor([1.0, 0.70, 0.70], device=a.device)
    color = _over(color, rosy, (0.5 * colors.blush * cheek)[:, None])
    spots = (grain + _noise(colors, b, a, 1.9)) > 1.15
    region = torch.exp(-((a / 0.65) ** 4) - ((b - 0.25) / 0.25) ** 4)
    color = _over(color, dark, (0.55 * colors.freckles * region * spots)[:, None])
    for place in colors.moles:
        distance = ((a - place[0]) ** 2 + (b - place[1]) ** 2).sqrt() - 0.03
        color = _over(color, dark * 0.5, 0.9 * _on(distance))
    color = _beard(who, colors, color, a, b, grain)
    color = _nose(colors, color, a, b)
    color = _lips(who, colors, color, a, b)
    return _eyes(who, colors, color, a, b) * _shade(a, b)


def _beard(
    who: Anatomy, colors: Likeness, color: Tensor, a: Tensor, b: Tensor, grain: Tensor
) -> Tensor:
    jaw = 0.52 + 0.12 * torch.cos(a / 0.9 * 3.14) - 0.5 * (a.abs() - 0.9).clamp(min=0)
    chin = _on(jaw - b + 0.05 * grain, 0.15)
    moustache = _on((((a / 0.36) ** 2 + ((b - 0.58) / 0.08) ** 2).sqrt() - 1) * 0.1, 0.06)
    amount = torch.maximum(chin, moustache) * colors.beard
    return _over(color, colors.hair * (1 + 0.35 * grain[:, None]), amount)


def _nose(colors: Likeness, color: Tensor, a: Tensor, b: Tensor) -> Tensor:
    along = ((b + 0.1) / 0.5).clamp(0, 1)
    half = 0.045 + 0.09 * along**2
    side = torch.exp(-(((a - half) / 0.045) ** 2)) * (b > -0.2) * (b < 0.46) * along**0.5
    color = _over(color, colors.skin * 0.70, (0.7 * side)[:, None])
    other = torch.exp(-(((a + half) / 0.04) ** 2)) * (b > -0.2) * (b < 0.46) * along**0.5
    color = _over(color, colors.skin * 0.80, (0.45 * other)[:, None])
    tip = torch.exp(-(((a + 0.015) / 0.055) ** 2) - ((b - 0.27) / 0.08) ** 2)
    color = color + 0.14 * tip[:, None]
    under = torch.exp(-((a / 0.12) ** 4) - ((b - 0.425) / 0.03) ** 2)
    color = _over(color, colors.skin * 0.6, (0.55 * under)[:, None])
    nostril = (((a.abs() - 0.065) / 1.5) ** 2 + (b - 0.395) ** 2).sqrt() - 0.022
    return _over(color, colors.skin * 0.3, 0.85 * _on(nostril))


def _lips(who: Anatomy, colors: Likeness, color: Tensor, a: Tensor, b: Tensor) -> Tensor:
    t = a / who.mouth_width
    arch = (1 - t * t).clamp(min=0)
    bow = 1 - 0.35 * torch.exp(-((t / 0.18) ** 2))  # Cupid's bow
    s = b - expressions.MOUTH_ROW
    height = torch.where(s < 0, 0.8 * who.lip * arch**0.6 * bow, who.lip * arch**0.5)
    color = _over(color, colors.skin * 0.75, 0.5 * _on((s - 1.6 * who.lip).abs() - 0.02) *
                  _on(a.abs() - 0.16, 0.1))  # fmt: skip
    lip = _on(s.abs() - height) * (t.abs() < 1)[:, None]
    tone = colors.lips * torch.where(s < 0, 0.85, 1.0)[:, None]
    color = _over(color, tone, lip)
    shine = torch.exp(-((a / 0.12) ** 2) - ((s - 0.55 * who.lip) / 0.025) ** 2)
    color = color + 0.10 * shine[:, None]
    seam = _on(s.abs() - 0.014) * (t.abs() < 1.02)[:, None]
    return _over(color, colors.lips * 0.35, 0.9 * seam)


def _eyes(who: Anatomy, colors: Likeness, color: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Lids, lashes and brows; the eye itself lies beneath."""
    t = (a.abs() - who.eye_gap) / who.eye_width
    within = (t.abs() < 1.05)[:, None]
    s = b - (expressions.EYE_ROW + 0.04 + who.slant * t)
    lid = _on((s + 0.06).abs() - 0.06) * within
    color = _over(color, colors.skin * 0.85, 0.6 * lid)
    lash = _on((s + 0.016).abs() - 0.022) * within
    color = _over(color, colors.hair * 0.35, lash)
    lower = _on((s - 0.008).abs() - 0.008) * within
    color = _over(color, colors.skin * 0.55, 0.7 * lower)
    t = (a.abs() - who.eye_gap) / (who.eye_width * 1.25)
    middle = expressions.BROW_ROW + who.brow_arch * (t - 0.1) ** 2 - 0.02
    thick = 0.042 * (1 - 0.45 * (t + 0.2).clamp(min=0))
    brow = _on((b - middle).abs() - thick) * _on((t.abs() - 1) * 0.2)
    return _over(color, colors.hair * 0.75, 0.95 * brow)


def _eye(who: Anatomy, colors: Likeness, u: Tensor, v: Tensor) -> Tensor:
    x, y = (u.abs() - who.eye_gap) * who.width, v - expressions.EYE_ROW
    side = u.sign()
    radius = (x * x + y * y).sqrt()
    white = torch.tensor([0.96, 0.95, 0.94], device=u.device).expand(len(u), 3)
    color = _over(white, colors.iris, _on(radius - 0.105))
    color = _over(color, colors.iris * 0.45, _on((radius - 0.10).abs() - 0.012))
    color = _over(color, torch.full_like(colors.iris, 0.03), _on(radius - 0.055))
    glint = ((x * side + 0.04) ** 2 + (y + 0.045) ** 2).sqrt() - 0.024
    return _over(color, torch.ones_like(colors.iris), 0.9 * _on(glint))


def _mouth(who: Anatomy, colors: Likeness, a: Tensor, b: Tensor) -> Tensor:
    s = b - expressions.MOUTH_ROW
    color = torch.tensor([0.28, 0.07, 0.08], device=a.device).expand(len(a), 3)
    tongue = ((a / 0.22) ** 2 + ((s - 0.27) / 0.13) ** 2).sqrt() - 1
    color = _over(color, torch.tensor([0.76, 0.36, 0.38], device=a.device), _on(tongue * 0.15))
    teeth = _on(s - 0.065 + 0.25 * a * a) * _on(a.abs() - 0.27)
    gap = 0.10 * (torch.cos(a / 0.075 * 6.28) > 0.9)
    return _over(
        color, torch.tensor([0.95, 0.94, 0.90], device=a.device), teeth * (1 - gap)[:, None]
    )


def _hair(who: Anatomy, colors: Likeness, a: Tensor, b: Tensor) -> Tensor:
    strand = _noise(colors, 2.2 * a, 0.25 * b + 0.6 * a, 1.6)
    ring = torch.exp(-((((a + 0.4) ** 2 + (b + 1.2) ** 2).sqrt() - 0.45) ** 2) / 0.02)
    tone = colors.hair * (1 + 0.28 * strand[:, None]) + 0.14 * ring[:, None]
    return tone * _shade(a, b)


def _behind(who: Anatomy, colors: Likeness, u: Tensor, v: Tensor) -> Tensor:
    strand = _noise(colors, 2.6 * u, 0.3 * v, 1.6)
    return colors.hair * (0.72 + 0.2 * strand[:, None])


def _ear(who: Anatomy, colors: Likeness, u: Tensor, v: Tensor) -> Tensor:
    x, y = u - u.sign(), v
    inner = ((x / 0.09) ** 2 + (y / 0.14) ** 2).sqrt() - 1
    color = colors.skin.expand(len(u), 3) * 0.9
    return _over(color, colors.skin * 0.68, 0.8 * _on(inner * 0.1))


def _torso(who: Anatomy, colors: Likeness, u: Tensor, v: Tensor) -> Tensor:
    number = torch.sin(u * colors.stripes[0] + v * colors.stripes[1])
    shirt = _over(colors.shirt.expand(len(u), 3), colors.stripe, _on(number * 0.1, 0.1))
    shirt = shirt * (1 + 0.06 * _noise(colors, u, v, 0.7)[:, None])
    neck = _on(v - 1.30 + 0.9 * u * u)
    shadow = (0.62 + 0.5 * (v - 0.95)).clamp(0.6, 0.9)[:, None]
    color = _over(shirt, colors.skin * shadow, neck)
    collar = _on((v - 1.30 + 0.9 * u * u - 0.03).abs() - 0.03)
    return _over(color, colors.shirt * 0.55, collar)


def _glasses(who: Anatomy, colors: Likeness, u: Tensor, v: Tensor) -> Tensor:
    return colors.frame.expand(len(u), 3)


_PAINTERS = {
    "hair behind": _behind, "torso": _torso, "ear": _ear, "skin": _skin,
    "eye": _eye, "mouth": _mouth, "hair": _hair, "glasses": _glasses,
}  # fmt: skip
