"""The small experiments of notebook 06: two sources and their sum, people who stand still.

And which frames the motion-extraction network sees. The comparison of the model that knows the
frame before with its twin that does not is in `memory.py`.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gfla import metrics
from gfla.attention import BilinearSampling
from gfla.data import people
from gfla.data.detector import Detector, detect
from gfla.data.keypoints import heatmaps
from gfla.extraction import MotionExtraction
from gfla.profiles import pick
from gfla.scores import moving, ways
from gfla.two_sources import TwoSourceRenderer


@dataclass(frozen=True)
class Setting:
    """How large the live experiments of notebook 06 are."""

    truth_clips: int = 16  # on which it is counted what could be taken from where
    live_clips: int = 4  # held-out clips that both models paint live
    standing_clips: int = 4  # people who stand still before a detector
    frames: int = 12  # of every clip
    shown: tuple[int, ...] = (0, 3)  # which held-out clips are drawn: a walk and a turn


SETTINGS = {
    "smoke": Setting(),
    "cpu": Setting(truth_clips=64, live_clips=16, standing_clips=16),
    "gpu": Setting(truth_clips=256, live_clips=64, standing_clips=64, frames=24),
}


def setting(profile: str) -> Setting:
    """The sizes of one profile; see `gfla.profiles.pick`."""
    return pick(SETTINGS, profile)


# ---------------------------------------------------------------- two sources, one sum


class _Says(nn.Module):
    """A block that says one number everywhere, at half the size."""

    def __init__(self, number: float) -> None:
        super().__init__()
        self.number = float(number)

    def forward(self, x: Tensor) -> Tensor:
        batch, _, height, width = x.shape
        return x.new_full((batch, 4, height // 2, width // 2), self.number)


@torch.no_grad()
def fused(target: float, previous: float, reference: float, mask_p: float, mask_r: float) -> float:
    """What reaches the decoder when every feature of a source is one number.

    Args:
        target, previous, reference: what the three encoders say, everywhere.
        mask_p, mask_r: how much is read from either source.

    Returns:
        The number that `TwoSourceRenderer` hands on.

    >>> fused(1.0, 10.0, 100.0, 0.0, 0.0)
    2.0
    """
    renderer = TwoSourceRenderer(3, 18, 4, 4, 1, {1: 1}, 4, BilinearSampling)
    heard: list[Tensor] = []
    renderer.decoder["1"].register_forward_pre_hook(lambda _, inputs: heard.append(inputs[0]))
    for name, number in (("target", target), ("previous", previous), ("reference", reference)):
        setattr(renderer, f"{name}_encoder", nn.ModuleDict({"1": _Says(number)}))
    picture, pose, flow = torch.zeros(1, 3, 8, 8), torch.zeros(1, 18, 8, 8), torch.zeros(1, 2, 4, 4)
    masks = [torch.full((1, 1, 4, 4), mask) for mask in (mask_p, mask_r)]
    renderer(pose, renderer.look(picture), picture, [flow, flow], masks)
    return float(heard[0].mean())


# ---------------------------------------------------------------- memory, tested


def standing(
    count: int, frames: int, noise: Detector, size: tuple[int, int] = (64, 64),
    seed: int = people.MEASURING_SEEDS,
) -> dict[str, Tensor]:  # fmt: skip
    """Clips of people who stand still before a detector: whatever moves, moves because of it.

    Args:
        count: clips.
        frames: of each.
        noise: the detector.
        size: (H, W).
        seed: of people and detector.

    Returns:
        as `moving.clips`, the first frame of each clip for ever; the flow to the frame before is 0,
        but for the first frame, before which there is the reference.
    """
    made = moving.clips(count, 1, size=size, seed=seed)
    single = {"frames", "keypoints", "poses", "foreground", "reference_flow", "reference_visible"}
    batch = {
        name: value.repeat_interleave(frames, 1) if name in single else value
        for name, value in made.items()
    }
    batch["previous_flow"] = torch.zeros_like(batch["reference_flow"])
    batch["previous_flow"][:, 0] = batch["reference_flow"][:, 0]
    batch["previous_visible"] = batch["foreground"].clone()
    batch["previous_visible"][:, 0] = batch["reference_visible"][:, 0]
    batch["clean_poses"] = batch["poses"]
    batch["clean_keypoints"] = batch["keypoints"]
    batch["keypoints"] = detect(batch["keypoints"], noise, size[0], seed)
    batch["poses"] = heatmaps(batch["keypoints"], size, 6.0 * size[0] / 256)
    return batch


@torch.no_grad()
def trembling(
    painters: Mapping[str, ways.Way], count: int, frames: int, noise: Detector
) -> dict[str, moving.Rows]:
    """How much each way trembles over people who stand still: `standing`, judged."""
    batch = standing(count, frames, noise)
    return {name: moving.scores(way(batch), batch) for name, way in painters.items()}


@torch.no_grad()
def say(model: nn.Module, batch: Mapping[str, Tensor], frame: int) -> dict[str, float]:
    """How much one frame changes when a source is exchanged for another person's, pose and all.

    Args:
        model: `Animation` with memory.
        batch: of `moving.clips`, of two clips or more; each gets the source of the one before it.
        frame: t, 1 or more; the frame before it is the model's own.

    Returns:
        "previous", "reference" -> mean change over the person, a share of the value range.

    Raises:
        ValueError: a single clip, or frame 0, which has no frame before.
    """
    if frame < 1 or len(batch["frames"]) < 2:
        count = len(batch["frames"])
        raise ValueError(f"frame {frame} of {count} clips: expected 1 or more, of at least 2")
    poses = batch["poses"][:, : frame + 1]
    known = batch["reference"], batch["reference_pose"]
    before = model(poses[:, :-1], *known).image[:, -1], poses[:, -2]

    def other(source: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return tuple(part.roll(1, 0) for part in source)

    image = model.step(poses[:, -1], *known, *before).image
    exchanged = {
        "previous": model.step(poses[:, -1], *known, *other(before)).image,
        "reference": model.step(poses[:, -1], *other(known), *before).image,
    }
    person = batch["foreground"][:, frame]
    return {name: metrics.l1(image, one, person) for name, one in exchanged.items()}


# ---------------------------------------------------------------- the motion-extraction network


class _Without(nn.Module):
    """Stands in for a norm, and does nothing."""

    def forward(self, features: Tensor, *_: Tensor) -> Tensor:
        return features


@torch.no_grad()
def moved_by(
    network: MotionExtraction, at: int, frames: int = 240, norms: bool = True, seed: int = 0
) -> Tensor:
    """How much each frame of the answer moves when one frame of the question does.

    Args:
        network: in eval mode; it is left as it is.
        at: number of the frame that is moved, counted in the question.
        frames: of the question.
        norms: False takes the norms out, whose means and deviations run over the whole clip.
        seed: of question and change.

    Returns:
        (frames − 80,) largest change of a row, over the largest of all; entry i is frame i + 40 of
        the question.
    """
    network = copy.deepcopy(network)
    if not norms:
        network.entrance_norm = _Without()
        network.norms = nn.ModuleList(_Without() for _ in network.norms)
    generator = torch.Generator().manual_seed(seed)
    motion = torch.rand(1, 2 * network.joints, frames, generator=generator) * 2 - 1
    other = motion.clone()
    other[..., at] += torch.randn(2 * network.joints, generator=generator)
    change = (network(other) - network(motion)).abs().amax((0, 1))
    return change / change.max()
