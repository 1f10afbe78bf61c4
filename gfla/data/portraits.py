"""Procedural faces in motion: clips with 68 landmarks, exact flow and visibility.

A face turns, leans, nods, talks, smiles and blinks along smooth curves. Every pixel knows which
point of the head it shows (`heads.py`), a point keeps its colour (`likeness.py`), and so the flow
to any other picture of the same head is known exactly: look here, place there.
"""

import math

import torch
from torch import Tensor

from gfla.data import expressions
from gfla.data.body import Draw
from gfla.data.expressions import Anatomy, Bearing, draw_anatomy
from gfla.data.faces import POINTS, structure
from gfla.data.heads import Head
from gfla.data.likeness import Likeness, draw_likeness, paint

FINE = 2  # samples along each side of a pixel
SAME = 0.02  # radians (or half heights) within which two points are the same
SEAM = 1e-3  # radians beside the closed seam that a lid's or a lip's edge comes from


def clips(
    count: int,
    frames: int = 8,
    size: tuple[int, int] = (64, 64),
    seed: int = 0,
    device: str | torch.device = "cpu",
    noise: float = 0.0,
    first: int = 0,
) -> dict[str, Tensor]:
    """Draw `count` clips of one face each, with the truth about them.

    A pure function of its arguments: clip i does not depend on `count`, and frame t does not depend
    on how many frames follow.

    Args:
        count: number of clips B, at least 1.
        frames: T, at least 1.
        size: (H, W) in pixels, 32 to 512 each.
        seed: any whole number >= 0; under 10,000,000 for training, from 30,000,000 for measuring.
        device: where to draw. The structure is computed on the CPU in any case.
        noise: standard deviation in pixels of the landmarks' error, as a detector would make it:
            landmarks and structure are disturbed, pictures and truth are not.
        first: number of the first clip: `clips(n, first=k)` are the last n of `clips(k + n)`.

    Returns:
        frames (B, T, 3, H, W) in [-1, 1]; poses (B, T, 16, H, W), see `faces.structure`, with the
        edges of the frame outside the face; landmarks (B, T, 68, 2) as (x, y) pixels; reference,
        reference_pose, reference_landmarks: one more picture of the same face; reference_flow
        (B, T, 2, H, W) from frame t to the reference in pixels, 0 on the backdrop;
        reference_visible (B, T, 1, H, W) 0 or 1, whether that point is seen there; previous_flow,
        previous_visible likewise to frame t - 1, for t = 0 to the reference; foreground
        (B, T, 1, H, W), 1 on head, hair and shoulders. The backdrop stands still.

    Raises:
        ValueError: count, frames, size, seed or noise out of range.

    >>> made = clips(1, frames=2, size=(32, 32), seed=3)
    >>> made["poses"].shape, made["previous_flow"].shape
    (torch.Size([1, 2, 16, 32, 32]), torch.Size([1, 2, 2, 32, 32]))
    """
    _check(count, frames, size, seed, noise)
    numbers = range(first, first + count)
    made = [_clip(Draw(seed, range(i, i + 1), device), frames, size, noise) for i in numbers]
    return {key: torch.stack([clip[key] for clip in made]) for key in made[0]}


def _check(count: int, frames: int, size: tuple[int, int], seed: int, noise: float) -> None:
    if count < 1:
        raise ValueError(f"count is {count}, expected at least 1 clip")
    if frames < 1:
        raise ValueError(f"frames is {frames}, expected at least 1")
    if len(size) != 2 or not all(32 <= int(side) <= 512 for side in size):
        raise ValueError(f"size is {tuple(size)}, expected (H, W) with 32 to 512 pixels each")
    if not 0 <= seed < 2**62:
        raise ValueError(f"seed is {seed}, expected a whole number from 0 to 2**62 - 1")
    if not (noise >= 0 and math.isfinite(noise)):
        raise ValueError(f"noise is {noise}, expected pixels, 0 for exact landmarks")


@torch.no_grad()
def _clip(draw: Draw, frames: int, size: tuple[int, int], noise: float) -> dict[str, Tensor]:
    """One clip; picture 0 is the reference, pictures 1 to T are the frames."""
    anatomy, likeness = draw_anatomy(draw), draw_likeness(draw)
    backdrop = _backdrop(draw, size)
    head = Head(anatomy, draw_bearing(draw, frames, size))
    pictures = _pictures(head, likeness, backdrop, size)
    points = landmarks(head)
    # the last draws of a clip, frame by frame, so that more frames change no earlier one
    errors = [draw.normal(0, noise, POINTS, 2) for _ in range(frames + 1)]
    points = points + torch.cat(errors)
    poses = torch.stack([structure(p, frame) for p, frame in zip(points, pictures, strict=True)])
    here = torch.arange(1, frames + 1)
    reference_flow, reference_visible = correspond(head, here, 0 * here, size)
    previous_flow, previous_visible = correspond(head, here, here - 1, size)
    layer, _ = head.look(_centres(size, frames + 1, pictures.device))
    return {
        "frames": pictures[1:],
        "poses": poses[1:],
        "landmarks": points[1:],
        "reference": pictures[0],
        "reference_pose": poses[0],
        "reference_landmarks": points[0],
        "reference_flow": reference_flow,
        "reference_visible": reference_visible,
        "previous_flow": previous_flow,
        "previous_visible": previous_visible,
        "foreground": (layer[1:] != expressions.BACKDROP).float().view(frames, 1, *size),
    }


def draw_bearing(draw: Draw, frames: int, size: tuple[int, int]) -> Bearing:
    """How one head is held: first in the reference picture, then along T frames."""
    device = draw.key.device
    t = torch.arange(frames, device=device, dtype=torch.float32)

    def curve(slowest: float, quickest: float) -> Tensor:  # (1 + T,) about -1 to 1
        period, phase = draw.uniform(quickest, slowest, 2), draw.uniform(0, 2 * math.pi, 2)
        still = draw.uniform(-1, 1)
        waves = (2 * math.pi * t / period[0, :, None] + phase[0, :, None]).sin()
        return torch.cat((still, 0.7 * waves[0] + 0.3 * waves[1]))

    height, width = size
    unit = 0.36 * min(height, 1.1 * width)
    middle = torch.tensor(((width - 1) / 2, 0.47 * (height - 1)), device=device)
    x, y = 0.16 * unit * curve(26, 14), 0.08 * unit * curve(26, 14)
    scale = unit * (1 + 0.05 * curve(30, 18)) * draw.uniform(0.92, 1.06)
    roll, yaw, pitch = 0.22 * curve(26, 13), 0.48 * curve(26, 13), 0.26 * curve(22, 11)
    talk = 0.5 + 0.5 * curve(10, 5)
    smile = 0.4 + 0.6 * curve(24, 12)
    gaze_x, gaze_y = 0.05 * curve(16, 8), 0.025 * curve(16, 8)
    brows = 0.03 + 0.05 * curve(14, 8)
    period, first = draw.uniform(6.5, 9), draw.uniform(1, 6)
    away = torch.remainder(t - first + period / 2, period) - period / 2
    lids = 1 - torch.exp(-((away / 0.9) ** 2))
    lids = torch.cat((torch.ones_like(period), lids))  # the reference shows the eyes
    fields = {
        "x": middle[0] + x, "y": middle[1] + y,
        "body_x": middle[0] + 0.4 * x, "body_y": middle[1] + 0.25 * y,
        "scale": scale, "roll": roll, "yaw": yaw, "pitch": pitch,
        "opening": talk.clamp(0, 1) ** 1.5, "smile": smile, "lids": lids * (1 - 0.15 * smile),
        "gaze_x": gaze_x, "gaze_y": gaze_y, "brows": brows,
    }  # fmt: skip
    return Bearing(**{name: value[:, None] for name, value in fields.items()})


def landmarks(head: Head) -> Tensor:
    """The 68 key points of a head in the iBUG order: (F, 68, 2) as (x, y) pixels."""
    rest = _resting_landmarks(head.who).expand(len(head.now.x), -1, -1)
    skin = torch.full(rest.shape[:2], expressions.SKIN, device=rest.device)
    points = head.place(skin, rest)
    angle = torch.linspace(-1.5, 1.5, 17, device=rest.device).expand(len(rest), -1)
    x, y = 0.985 * angle.sin(), 0.985 * angle.cos()
    points[:, :17] = head.on_outline(x, y)
    return points


def _resting_landmarks(who: Anatomy) -> Tensor:
    """Places of the points 17 to 67 on the face at rest, (68, 2); those of the jaw are 0."""
    device = who.width.device
    t = torch.linspace(-1, 1, 5, device=device) * 0.92  # from the inner end of a brow outwards
    brow = torch.stack(
        (
            who.eye_gap + 1.25 * who.eye_width * t,
            expressions.BROW_ROW + who.brow_arch * (t - 0.1) ** 2 - 0.02,
        ),
        1,
    )
    bridge = torch.tensor([[0, -0.08], [0, 0.04], [0, 0.16], [0, 0.29]], device=device)
    base = torch.tensor(
        [[-0.13, 0.39], [-0.065, 0.415], [0, 0.43], [0.065, 0.415], [0.13, 0.39]], device=device
    )
    t = torch.tensor([-1, -0.4, 0.4, 1, 0.4, -0.4], device=device)  # inner corner, above, outer
    side = torch.tensor([-1, -1, -1, -1, 1, 1], device=device)
    seam = expressions.EYE_ROW + 0.04 + who.slant * t
    eye = torch.stack((who.eye_gap + who.eye_width * t * 0.99, seam + SEAM * side), 1)
    right = eye[[3, 2, 1, 0, 5, 4]]  # the right eye is at the viewer's left: outer corner first
    mirror = torch.tensor([-1.0, 1.0], device=device)
    lips = _resting_lips(who)
    jaw = torch.zeros(17, 2, device=device)
    parts = (jaw, brow.flip(0) * mirror, brow, bridge, base, right * mirror, eye, lips)
    return torch.cat(parts)


def _resting_lips(who: Anatomy) -> Tensor:
    """Points 48 to 67, (20, 2)."""
    device = who.width.device
    upper = torch.tensor([-1, -0.62, -0.22, 0, 0.22, 0.62, 1], device=device)
    lower = torch.tensor([0.62, 0.28, 0, -0.28, -0.62], device=device)
    bow = 1 - 0.35 * torch.exp(-((upper / 0.18) ** 2))
    over = -0.8 * who.lip * (1 - upper**2) ** 0.6 * bow - SEAM
    under = who.lip * (1 - lower**2) ** 0.5 + SEAM
    inner = torch.tensor([-0.9, -0.4, 0, 0.4, 0.9, 0.4, 0, -0.4], device=device)
    inner_side = torch.tensor([-1, -1, -1, -1, -1, 1, 1, 1], device=device)
    t = torch.cat((upper, lower, inner)) * 0.99
    away = torch.cat((over, under, SEAM * inner_side))
    return torch.stack((who.mouth_width * t, expressions.MOUTH_ROW + away), 1)


def correspond(
    head: Head, here: Tensor, there: Tensor, size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Exact flow and visibility from pictures `here` to pictures `there` of the same head.

    A point is visible there when it lies in the picture and looking at its place finds it again.

    Args:
        here, there: (N,) numbers of pictures. size: (H, W).

    Returns:
        flow (N, 2, H, W) in pixels, 0 on the backdrop; visible (N, 1, H, W), 0 or 1.
    """
    start = Head(head.who, Bearing(*(value[here] for value in head.now)))
    end = Head(head.who, Bearing(*(value[there] for value in head.now)))
    centres = _centres(size, len(here), head.now.x.device)
    layer, coordinates = start.look(centres)
    solid = layer != expressions.BACKDROP
    places = end.place(layer, coordinates)
    found, again = end.look(places)
    height, width = size
    x, y = places.unbind(-1)
    inside = (x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)
    same = (found == layer) & ((again - coordinates).abs().amax(-1) < SAME)
    flow = (places - centres) * solid[..., None]
    visible = solid & inside & same
    return (
        flow.mT.reshape(-1, 2, height, width),
        visible.float().view(-1, 1, height, width),
    )


def _centres(size: tuple[int, int], pictures: int, device: torch.device, fine: int = 1) -> Tensor:
    """Where pictures are sampled, `fine` times along each side of a pixel: (F, P, 2) pixels."""
    y, x = ((torch.arange(n * fine, device=device) + 0.5) / fine - 0.5 for n in size)
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)
    return grid.reshape(1, -1, 2).expand(pictures, -1, -1)


def _pictures(head: Head, likeness: Likeness, backdrop: Tensor, size: tuple[int, int]) -> Tensor:
    """Pictures (F, 3, H, W) in [-1, 1], each pixel the mean of its samples."""
    pictures = len(head.now.x)
    layer, coordinates = head.look(_centres(size, pictures, backdrop.device, FINE))
    color = backdrop.expand(pictures, -1, -1).clone()  # (F, P, 3)
    for index in range(1, len(expressions.LAYERS)):
        where = (layer == index).nonzero(as_tuple=True)
        u, v = coordinates[where].unbind(-1)
        color[where] = paint(head.who, likeness, index, u, v)
    image = color.mT.reshape(pictures, 3, size[0] * FINE, size[1] * FINE)
    return torch.nn.functional.avg_pool2d(image, FINE) * 2 - 1


def _backdrop(draw: Draw, size: tuple[int, int]) -> Tensor:
    """A wall with soft spots of light: (1, P, 3) in [0, 1] at the fine samples."""
    device = draw.key.device
    points = _centres(size, 1, device, FINE) / max(size)  # (1, P, 2)
    color = (
        draw.uniform(0.4, 0.8, 1, 1)
        + draw.uniform(-0.15, 0.15, 1, 3)
        + (points - 0.5) @ draw.uniform(-0.2, 0.2, 2, 3)
    )
    for _ in range(4):
        place, width = draw.uniform(0, 1, 1, 2), draw.uniform(0.01, 0.06, 1, 1)
        glow = torch.exp(-((points - place) ** 2).sum(-1, keepdim=True) / width)
        color = color + glow * draw.uniform(-0.2, 0.2, 1, 3)
    return color.clamp(0, 1)
