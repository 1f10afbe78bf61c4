"""Clips of procedural people who walk, dance, wave and turn, with the truth about every frame.

The people are those of `people.py`, their motions those of `gaits.py`. Beside the clip there is one
still picture of the same person, the reference; every pixel of a frame is traced back to it and to
the frame before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from gfla.data.body import Body, Draw, Pose, draw_body, draw_pose
from gfla.data.curves import Motion, pose_at
from gfla.data.detector import Detector, detect
from gfla.data.gaits import KINDS, draw_motion
from gfla.data.garments import Wardrobe, draw_wardrobe
from gfla.data.keypoints import heatmaps
from gfla.data.people import Figure, correspond, draw_backdrop

FPS = 12.0  # frames in a second
CHUNK = 2  # clips drawn together, frame after frame; always whole chunks: no clip feels its batch
_MOTIONS = 2**62  # added to a seed: the motions are drawn apart from the people


class _Cast(NamedTuple):
    """B people, what they do, and where."""

    body: Body
    wardrobe: Wardrobe
    motion: Motion
    still: Pose  # of the reference
    backdrop: Tensor  # (B, 3, H, W)


def clips(
    count: int,
    frames: int = 8,
    size: tuple[int, int] = (64, 64),
    seed: int = 0,
    kinds: Sequence[str] = KINDS,
    noise: Detector | None = None,
    device: str | torch.device = "cpu",
    loop: int | None = None,
    first: int = 0,
) -> dict[str, Tensor]:
    """Draw `count` clips of people in motion, with a still picture of each and the truth.

    A pure function of its arguments: the same seed gives the same clips, clip i does not depend on
    `count`, frame t not on `frames`, and neither does what a detector gets wrong there. The kinds
    take turns, beginning anywhere.

    Args:
        count: number of clips B, at least 1.
        frames: of each clip, T, at least 1; FPS of them make a second.
        size: (H, W) in pixels, 32 to 512 each.
        seed: any whole number >= 0; under 10,000,000 for training, from 30,000,000 for measuring.
        kinds: which of KINDS.
        noise: the detector that finds the key points; None: they are true.
        device: where to draw.
        loop: number of frames after which every motion is back where it began; None: as it comes.
        first: number of the first clip: `clips(n, first=k)` are the last n of `clips(k + n)`; not
            with `noise`, which counts from the first clip drawn.

    Returns:
        frames (B, T, 3, H, W) in [-1, 1]; poses (B, T, 18, H, W) heat maps with sigma 6 H / 256;
        keypoints (B, T, 18, 2) as (x, y) pixels, -1 where hidden or outside; reference
        (B, 3, H, W), the same person before the same backdrop in another pose; reference_pose,
        reference_keypoints; reference_flow (B, T, 2, H, W) from frame t to the reference in pixels,
        0 on background, and reference_visible (B, T, 1, H, W); previous_flow and previous_visible,
        from frame t to frame t - 1, at t = 0 to the reference; foreground (B, T, 1, H, W); kind
        (B,) index into KINDS. With `noise`, keypoints and poses are what the detector found, and
        clean_keypoints are true.

    Raises:
        ValueError: count, frames, size, seed, kinds or loop out of range; noise and first together.

    >>> batch = clips(2, frames=3, seed=5)
    >>> batch["frames"].shape, batch["previous_flow"].shape
    (torch.Size([2, 3, 3, 64, 64]), torch.Size([2, 3, 2, 64, 64]))
    >>> bool((batch["previous_visible"] <= batch["foreground"]).all())
    True
    """
    _check(count, frames, size, seed, loop)
    if first and noise is not None:
        raise ValueError(f"first={first} with noise: draw the clips from 0 on, or without noise")
    order = _numbers(kinds)
    chunks = []
    for start in range(first // CHUNK * CHUNK, first + count, CHUNK):
        indices = range(start, start + CHUNK)
        kind = order.to(device)[_turns(indices, seed, len(order), device)]
        cast = _cast(seed, seed, indices, kind, size, loop)
        chunk = {**_film(cast, frames, size), "kind": kind}
        wanted = slice(max(first - start, 0), first + count - start)
        chunks.append({key: value[wanted] for key, value in chunk.items()})
    made = {key: torch.cat([chunk[key] for chunk in chunks]) for key in chunks[0]}
    return _found(made, noise, size, seed)


def drive(
    kind: str,
    frames: int = 24,
    size: tuple[int, int] = (64, 64),
    person: int = 0,
    seed: int = 0,
    noise: Detector | None = None,
    device: str | torch.device = "cpu",
    loop: int | None = None,
) -> dict[str, Tensor]:
    """Have a chosen person make a chosen motion: one clip.

    The person of `drive(kind, person=p)` is the first of `clips(seed=p)`, whatever they do; two
    persons with one `seed` make the same motion, as far as their bodies let them.

    Args:
        kind: one of KINDS.
        frames, size, noise, device, loop: as for `clips`.
        person: seed of body, clothes, backdrop and the reference's pose.
        seed: of the motion and of what a detector gets wrong.

    Returns:
        As `clips`, with B = 1.

    Raises:
        ValueError: as for `clips`.

    >>> one, other = (drive("wave", 2, person=p, seed=4) for p in (1, 2))
    >>> bool((one["frames"] == other["frames"]).all())
    False
    """
    cast, number = _alone(kind, frames, size, person, seed, device, loop)
    made = {**_film(cast, frames, size), "kind": number}
    return _found({key: value[:1] for key, value in made.items()}, noise, size, seed)


def poses(
    kind: str,
    frames: int = 24,
    size: tuple[int, int] = (64, 64),
    person: int = 0,
    seed: int = 0,
    noise: Detector | None = None,
    device: str | torch.device = "cpu",
    loop: int | None = None,
) -> dict[str, Tensor]:
    """Give the poses of `drive` without its pictures: a driving sequence for somebody else.

    Args:
        kind, frames, size, person, seed, noise, device, loop: as for `drive`.

    Returns:
        poses (1, T, 18, H, W), keypoints (1, T, 18, 2); with `noise`, clean_keypoints too.

    Raises:
        ValueError: as for `clips`.

    >>> found = poses("walk", 2, person=3)
    >>> bool((found["keypoints"] == drive("walk", 2, person=3)["keypoints"]).all())
    True
    """
    cast, _ = _alone(kind, frames, size, person, seed, device, loop)
    shown = [_figure(cast, frame, size).keypoints()[:1] for frame in range(frames)]
    return _found({"keypoints": torch.stack(shown, 1)}, noise, size, seed)


def _check(count: int, frames: int, size: tuple[int, int], seed: int, loop: int | None) -> None:
    if count < 1:
        raise ValueError(f"count is {count}, expected at least 1 clip")
    if frames < 1:
        raise ValueError(f"frames is {frames}, expected at least 1 frame in a clip")
    if len(size) != 2 or not all(32 <= int(side) <= 512 for side in size):
        raise ValueError(f"size is {tuple(size)}, expected (H, W) with 32 to 512 pixels each")
    if not 0 <= seed < 2**62:
        raise ValueError(f"seed is {seed}, expected a whole number from 0 to 2**62 - 1")
    if loop is not None and loop < 2:
        raise ValueError(f"loop is {loop}, expected at least 2 frames, or None for no loop")


def _numbers(kinds: Sequence[str]) -> Tensor:
    """Names of motions -> their places in KINDS."""
    kinds = (kinds,) if isinstance(kinds, str) else tuple(kinds)
    wrong = [kind for kind in kinds if kind not in KINDS]
    if wrong or not kinds:
        raise ValueError(f"kinds are {kinds}, expected some of {', '.join(KINDS)}")
    return torch.tensor([KINDS.index(kind) for kind in kinds])


def _turns(indices: range, seed: int, kinds: int, device: str | torch.device) -> Tensor:
    """Which of the kinds each clip has: one after the other, from a place that the seed chooses."""
    begin = Draw(seed + _MOTIONS, range(-1, 0)).uniform(0, 1).item()
    index = torch.arange(indices.start, indices.stop, device=device)
    return (index + int(begin * kinds)) % kinds


def _cast(
    person: int, seed: int, indices: range, kind: Tensor, size: tuple[int, int], loop: int | None
) -> _Cast:
    """The people of one seed with the motions of another."""
    draw = Draw(person, indices, kind.device)
    moves = Draw(seed + _MOTIONS, indices, kind.device)
    aspect = min(1.0, size[1] / size[0])
    body = draw_body(draw)
    wardrobe = draw_wardrobe(draw, body)
    motion = draw_motion(moves, kind, body, aspect, loop and loop / FPS)
    begin = pose_at(motion, body, 0.0)
    still = draw_pose(draw, near=begin.yaw, aspect=aspect)
    return _Cast(body, wardrobe, motion, still, draw_backdrop(draw, size))


def _alone(
    kind: str,
    frames: int,
    size: tuple[int, int],
    person: int,
    seed: int,
    device: str | torch.device,
    loop: int | None,
) -> tuple[_Cast, Tensor]:
    """One person of one kind, in a whole chunk, and the number of the kind."""
    for start in (person, seed):
        _check(1, frames, size, start, loop)
    number = _numbers(kind).to(device).expand(CHUNK)
    return _cast(person, seed, range(CHUNK), number, size, loop), number


def _figure(cast: _Cast, frame: int, size: tuple[int, int]) -> Figure:
    return Figure(cast.body, cast.wardrobe, pose_at(cast.motion, cast.body, frame / FPS), size)


@torch.no_grad()
def _film(cast: _Cast, frames: int, size: tuple[int, int]) -> dict[str, Tensor]:
    """Draw the clips of one chunk, frame after frame."""
    still = Figure(cast.body, cast.wardrobe, cast.still, size)
    rows, before = [], still
    for frame in range(frames):
        figure = _figure(cast, frame, size)
        reference_flow, reference_visible = correspond(figure, still)
        previous_flow, previous_visible = correspond(figure, before)
        rows.append({
            "frames": figure.picture(cast.backdrop),
            "keypoints": figure.keypoints(),
            "reference_flow": reference_flow,
            "reference_visible": reference_visible,
            "previous_flow": previous_flow,
            "previous_visible": previous_visible,
            "foreground": (figure.parts > 0).float(),
        })  # fmt: skip
        before = figure
    film = {key: torch.stack([row[key] for row in rows], 1) for key in rows[0]}
    film["reference"] = still.picture(cast.backdrop)
    film["reference_keypoints"] = still.keypoints()
    return film


def _found(
    made: dict[str, Tensor], noise: Detector | None, size: tuple[int, int], seed: int
) -> dict[str, Tensor]:
    """Add what a detector finds, and the heat maps of that."""
    sigma = 6.0 * size[0] / 256
    if noise is not None:
        made["clean_keypoints"] = made["keypoints"]
        made["keypoints"] = detect(made["keypoints"], noise, size[0], seed)
    made["poses"] = heatmaps(made["keypoints"], size, sigma)
    if "reference_keypoints" in made:
        if noise is not None and noise.reference:
            still = made["reference_keypoints"][:, None]
            made["reference_keypoints"] = detect(still, noise, size[0], seed + 1)[:, 0]
        made["reference_pose"] = heatmaps(made["reference_keypoints"], size, sigma)
    return made
