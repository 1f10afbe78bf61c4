"""Ways to paint a clip: a model as it is, the same weights with another memory, and no model.

A way takes the clips of a batch and gives them painted. It may look at the truth that comes with
them: that is what the experiments are for, and why no training uses any of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gfla.renderer import RendererOutput
from gfla.sampling import warp
from gfla.types import Features, Flow, Image, Pose

PREVIOUS = ("own", "reference", "truth")


class Painted(NamedTuple):
    """Clips as somebody painted them, and where they were taken from, if that is known."""

    image: Tensor  # (B, T, 3, H, W) in [-1, 1]
    flows: dict[str, Tensor]  # "reference", "previous" -> (B, T, 2, h, w), finest, own pixels
    masks: dict[str, Tensor]  # the same -> (B, T, 1, h, w) in [0, 1]


Batch = Mapping[str, Tensor]
Way = Callable[[Batch], Painted]


def painter(
    model: nn.Module,
    previous: str = "own",
    now: str = "found",
    before: str = "found",
    follow: str = "own",
) -> Way:
    """A model as a way to paint clips; everything but the first argument is an experiment.

    Args:
        model: `Animation`.
        previous: what it is given as the frame before: its "own" picture, the "reference" (the same
            weights with their memory switched off), or the "truth" (which only measures).
        now: whether the pose of the frame is "found" by the detector of the clips, or "true".
        before: the same for the pose of the frame before.
        follow: whether the frame before is read along the model's "own" flow or along the "true"
            one, halved and halved again for the coarser levels.

    Returns:
        batch -> Painted; without a frame before, its flows are those from the reference alone.

    Raises:
        ValueError: another word.
    """
    if previous not in PREVIOUS:
        raise ValueError(f"previous is {previous!r}: choose one of {', '.join(PREVIOUS)}")
    if not {now, before} <= {"found", "true"}:
        raise ValueError(f"now and before are {now!r} and {before!r}: 'found' or 'true'")
    if follow not in ("own", "true"):
        raise ValueError(f"follow is {follow!r}: choose 'own' or 'true'")
    return lambda batch: _painted(model, batch, previous, now, before, follow)


def copied(batch: Batch) -> Painted:
    """The way that leaves the reference where it is."""
    return _shown(batch["reference"][:, None].expand_as(batch["frames"]))


def warped(batch: Batch) -> Painted:
    """The way that moves the reference by the true flow, right where the reference shows it."""
    still = batch["reference"][:, None].expand_as(batch["frames"])
    return _shown(_moved(still, batch["reference_flow"]))


def followed(batch: Batch) -> Painted:
    """The way that moves the true frame before by the true flow."""
    before = torch.cat((batch["reference"][:, None], batch["frames"][:, :-1]), 1)
    return _shown(_moved(before, batch["previous_flow"]))


def frozen(batch: Batch) -> Painted:
    """The way that shows the first true frame for ever."""
    return _shown(batch["frames"][:, :1].expand_as(batch["frames"]))


def once(way: Way) -> Way:
    """A way that paints a batch once, however often it is asked for the same one in turn."""
    last: list[tuple[Batch, Painted]] = []

    def again(batch: Batch) -> Painted:
        if not last or last[0][0] is not batch:
            last[:] = [(batch, way(batch))]
        return last[0][1]

    return again


def remembering(way: Way, share: float = 0.5) -> Way:
    """A way whose frames are mixed with their own past along the true flow: memory at its best.

        z_t = share · z_{t−1}(l + w_t(l)) + (1 − share) · x̂_t   where the frame before shows it

    Args:
        way: makes x̂.
        share: of the past; 0.5 damps noise that is new in every frame to 1/√6 of its changes.

    Returns:
        batch -> Painted, without flows.
    """

    def remembers(batch: Batch) -> Painted:
        frames = [*way(batch).image.unbind(1)]
        for t in range(1, len(frames)):
            past = warp(frames[t - 1], batch["previous_flow"][:, t])
            weight = share * batch["previous_visible"][:, t]
            frames[t] = weight * past + (1 - weight) * frames[t]
        return _shown(torch.stack(frames, 1))

    return remembers


def softened(way: Way, share: float) -> Way:
    """A way whose frames are mixed with their own mean over 3×3 pixels.

    Args:
        way: makes the frames.
        share: of the mean, 0 to 1.

    Returns:
        batch -> Painted; flows and masks are the way's own.
    """

    def soft(batch: Batch) -> Painted:
        clip = way(batch)
        padded = F.pad(clip.image.flatten(0, 1), (1, 1, 1, 1), mode="replicate")
        mean = F.avg_pool2d(padded, 3, 1).view_as(clip.image)
        return clip._replace(image=(1 - share) * clip.image + share * mean)

    return soft


# ---------------------------------------------------------------- inside


@torch.no_grad()
def _painted(
    model: nn.Module, batch: Batch, previous: str, now: str, before: str, follow: str
) -> Painted:
    found = batch["poses"]
    poses = {"found": found, "true": batch.get("clean_poses", found)}
    reference, reference_pose = batch["reference"], batch["reference_pose"]
    known, last, last_pose, frames = model.renderer.look(reference), reference, reference_pose, []
    for t in range(found.shape[1]):
        told = (last, last_pose) if previous != "reference" else (reference, reference_pose)
        given = poses[now][:, t], reference, reference_pose, *told
        if follow == "true":
            one = _along(model, batch["previous_flow"][:, t], *given, known)
        else:
            one = model.step(*given, known)
        frames.append(one)
        last = batch["frames"][:, t] if previous == "truth" else one.image
        last_pose = poses[before][:, t]
    remembers = model.memory and previous != "reference"
    places = {"previous": -2, "reference": -1} if remembers else {"reference": -1}

    def finest(field: str) -> dict[str, Tensor]:
        return {
            name: torch.stack([getattr(one, field)[place] for one in frames], 1)
            for name, place in places.items()
        }

    image = torch.stack([one.image for one in frames], 1)
    return Painted(image, finest("flows"), finest("masks"))


def _along(
    model: nn.Module,
    true: Flow,
    pose: Pose,
    reference: Image,
    reference_pose: Pose,
    previous: Image,
    previous_pose: Pose,
    known: Mapping[int, Features],
) -> RendererOutput:
    """One frame, for which the frame before is read along its true flow."""
    flows, masks = model.flow(pose, reference, reference_pose, previous, previous_pose)
    told = list(flows)
    for place in range(0, len(told), 2):  # p, r, p, r
        size = told[place].shape[-2:]
        smaller = F.interpolate(true, size, mode="area")
        told[place] = smaller * (size[-1] / true.shape[-1])
    return model.renderer(pose, known, previous, told, masks)


def _shown(image: Tensor) -> Painted:
    return Painted(image, {}, {})


def _moved(clip: Tensor, flow: Tensor) -> Tensor:
    """A clip (B, T, 3, H, W), each frame read where its flow (B, T, 2, H, W) says."""
    return warp(clip.flatten(0, 1), flow.flatten(0, 1)).view_as(clip)
