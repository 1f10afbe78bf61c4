"""What an animation is worth on clips that no training sees: clip by clip, frame by frame.

The same clips go to several ways of painting them: a model as it is, the same weights with another
previous frame than their own, and ways that need no model. All that is told of a clip is one number
a clip, so that two ways are compared pair by pair (`difference`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gfla import metrics
from gfla.data import motion, people, portraits
from gfla.data.detector import Detector
from gfla.data.keypoints import heatmaps
from gfla.scores import temporal
from gfla.scores.averages import weighted_mean
from gfla.scores.comparison import Difference, paired_difference
from gfla.scores.ways import Batch, Painted, Way, painter

BATCH = 16  # clips judged together; each batch has a seed of its own, as in `gfla.measure`
SOURCES = {"clips": motion, "portraits": portraits}


class Rows(NamedTuple):
    """What was found, clip by clip."""

    values: dict[str, Tensor]  # name -> (B,) float64, nan where a clip has no such value
    by_frame: dict[str, Tensor]  # "l1", "flicker" -> (B, T) float64, the flicker of frame 0 nan
    kind: Tensor  # (B,) int64, index into `gaits.KINDS`; zeros for faces


def judge(
    model: nn.Module,
    count: int = 32,
    frames: int = 12,
    noise: Detector | float | None = None,
    source: str = "clips",
    seed: int = people.MEASURING_SEEDS,
) -> dict[str, float]:
    """Judge an animation on procedural clips that no training sees.

    Args:
        model: `gfla.animation.Animation`.
        count: clips.
        frames: of each, 3 or more.
        noise: what finds the poses: None, they are true; for "clips" a `Detector`, for "portraits"
            the landmarks' deviation in pixels. Pictures and truth are never noisy.
        source: "clips" (people) or "portraits" (faces).
        seed: of the first batch.

    Returns:
        Means over the clips, images as shares of the value range. Over pixels that the reference
        shows: l1, copy_l1 (the reference left in place), warp_l1 (warped by the true flow),
        copy_ratio = l1 / copy_l1; flow_error and zero_flow_error in pixels, flow_ratio of the two;
        first_l1 and last_l1, the error of the first and of the last frame, and growth, their
        difference. Over pixels that the frame before shows: warp_error, truth_warp_error, flicker;
        and, of a model that knows that frame, previous_flow_error, previous_zero_flow_error,
        previous_flow_ratio from the second frame on. Over all pixels: jitter. Over the person:
        l1_foreground, and detail, the mean gradient over that of the truth (1: as sharp). Last,
        clips and frames.

    Raises:
        ValueError: a count below 1, too few frames, an unknown source, or what it refuses.
    """
    return summary(survey({"": painter(model)}, count, frames, noise, source, model.size, seed)[""])


@torch.no_grad()
def survey(
    ways: Mapping[str, Way],
    count: int = 32,
    frames: int = 12,
    noise: Detector | float | None = None,
    source: str = "clips",
    size: tuple[int, int] = (64, 64),
    seed: int = people.MEASURING_SEEDS,
) -> dict[str, Rows]:
    """Have the same clips painted in several ways, and judge them.

    Args:
        ways: name -> way, of `gfla.scores.ways`.
        count, frames, noise, source, seed: as `judge`.
        size: (H, W) of the clips.

    Returns:
        name -> `Rows`.

    Raises:
        ValueError: as `judge`, or no way at all.

    >>> from gfla.scores.ways import copied, warped
    >>> rows = survey({"warped": warped, "copied": copied}, count=1, frames=3, size=(32, 32))
    >>> better = difference(rows["warped"], rows["copied"], "l1")
    >>> better.mean < 0, better.pairs
    (True, 1)
    """
    if not ways or count < 1 or frames < 3:
        raise ValueError(
            f"{len(ways)} ways, {count} clips of {frames} frames: give at least one way and one "
            "clip, of three frames or more"
        )
    found: dict[str, list[Rows]] = {name: [] for name in ways}
    for start in range(0, count, BATCH):
        batch = clips(min(BATCH, count - start), frames, noise, source, size, seed + start)
        for name, way in ways.items():
            found[name].append(scores(way(batch), batch))
    return {name: joined(rows) for name, rows in found.items()}


def clips(
    count: int,
    frames: int = 12,
    noise: Detector | float | None = None,
    source: str = "clips",
    size: tuple[int, int] = (64, 64),
    seed: int = people.MEASURING_SEEDS,
) -> dict[str, Tensor]:
    """The clips of one batch, with what is measured besides.

    Args:
        count, frames, noise, source, size, seed: as `survey`.

    Returns:
        as the source's room describes it; with a noisy detector of people also clean_poses
        (B, T, 18, H, W), the heat maps of the true key points.

    Raises:
        ValueError: an unknown source, or what it refuses.
    """
    if source not in SOURCES:
        raise ValueError(f"source is {source!r}: choose one of {', '.join(SOURCES)}")
    noise = 0.0 if source == "portraits" and noise is None else noise
    batch = SOURCES[source].clips(count, frames, size, seed, noise=noise)
    if "clean_keypoints" in batch:
        batch["clean_poses"] = heatmaps(batch["clean_keypoints"], size, 6.0 * size[0] / 256)
    return batch


@torch.no_grad()
def scores(clip: Painted, batch: Batch) -> Rows:
    """Everything that is told of painted clips.

    Args:
        clip: of three frames or more.
        batch: of `clips`.
    """
    image, truth = clip.image.clamp(-1, 1), batch["frames"]
    found = temporal.clip_scores(image, batch)
    values = {"l1": found["l1_visible"]} | {k: v for k, v in found.items() if "l1" not in k}
    values |= {name: found[name] for name in ("copy_l1", "warp_l1")}
    over = _tall(batch["foreground"])
    values["l1_foreground"] = metrics.l1(_tall(image), _tall(truth), over, "pairs")
    values["detail"] = _gradient(image, batch) / _gradient(truth, batch)
    for name, flow in clip.flows.items():
        word, first = ("previous_", 1) if name == "previous" else ("", 0)
        true, visible = batch[f"{name}_flow"], _tall(batch[f"{name}_visible"][:, first:])
        wrong = metrics.upsample_flow(flow.flatten(0, 1), image.shape[-2:]).view_as(true) - true
        for error, field in (("flow_error", wrong), ("zero_flow_error", true)):
            length = field[:, first:].norm(dim=2).flatten(1, 2)  # (B, T·H, W)
            values[word + error] = weighted_mean(length, visible, "pairs")
    by_frame = {"l1": temporal.growth(image, truth, batch["reference_visible"], "clips")}
    trembling = [_flicker(image, batch, t) for t in range(1, image.shape[1])]
    by_frame["flicker"] = torch.stack([torch.full_like(trembling[0], math.nan), *trembling], 1)
    kind = batch.get("kind", torch.zeros(len(image), dtype=torch.int64))
    return Rows(values, by_frame, kind)


def joined(rows: Sequence[Rows]) -> Rows:
    """Several batches as one."""
    values, by_frame = (
        {key: torch.cat([part[key] for part in parts]) for key in parts[0]}
        for parts in ([row.values for row in rows], [row.by_frame for row in rows])
    )
    return Rows(values, by_frame, torch.cat([row.kind for row in rows]))


def summary(rows: Rows, chosen: Tensor | None = None) -> dict[str, float]:
    """The numbers of `judge` over all clips, or over those that are chosen.

    Args:
        rows: of `survey`.
        chosen: (B,) boolean.

    Returns:
        name -> mean over the clips that have such a value; nan where none has.
    """
    keep = torch.ones(len(rows.kind), dtype=torch.bool) if chosen is None else chosen
    mean = {name: float(values[keep].nanmean()) for name, values in rows.values.items()}
    mean["copy_ratio"] = _ratio(mean["l1"], mean["copy_l1"])
    for word in ("", "previous_"):
        if f"{word}flow_error" in mean:
            whole = mean[f"{word}zero_flow_error"]
            mean[f"{word}flow_ratio"] = _ratio(mean[f"{word}flow_error"], whole)
    error = rows.by_frame["l1"][keep].nanmean(0)  # (T,)
    mean["first_l1"], mean["last_l1"] = float(error[0]), float(error[-1])
    mean["growth"] = mean["last_l1"] - mean["first_l1"]
    return mean | {"clips": float(keep.sum()), "frames": float(len(error))}


def difference(one: Rows, other: Rows, name: str) -> Difference:
    """One way minus another over the same clips, with an interval over clips alone.

    Args:
        one, other: of one `survey`, or of two over the same clips.
        name: of `Rows.values`, or "growth", clip by clip.

    Returns:
        `gfla.scores.comparison.Difference` of one training each: it knows nothing of how much
        training differs from seed to seed.

    Raises:
        ValueError: a name that one of them does not have, or other clips.
    """
    both = [_values(rows, name) for rows in (one, other)]
    return paired_difference(*(values[None].numpy() for values in both))


# ---------------------------------------------------------------- inside


def _values(rows: Rows, name: str) -> Tensor:
    if name == "growth":
        return rows.by_frame["l1"][:, -1] - rows.by_frame["l1"][:, 0]
    if name not in rows.values:
        raise ValueError(f"there is no {name!r}: choose one of {', '.join(rows.values)}, growth")
    return rows.values[name]


def _tall(clip: Tensor) -> Tensor:
    """(B, T, C, H, W) as one tall picture for each clip, (B, C, T·H, W)."""
    return clip.transpose(1, 2).flatten(2, 3)


def _gradient(clip: Tensor, batch: Batch) -> Tensor:
    """How much neighbours differ over the person: (B,)."""
    across = clip.diff(dim=-1)[..., :-1, :].abs() + clip.diff(dim=-2)[..., :-1].abs()
    over = batch["foreground"][:, :, :, :-1, :-1]
    return weighted_mean(across.mean(2).flatten(1, 2), _tall(over), "pairs")


def _flicker(image: Tensor, batch: Batch, t: int) -> Tensor:
    """Flicker from frame t - 1 to frame t: (B,)."""
    names = "frames", "previous_flow", "previous_visible"
    return temporal.flicker(
        image[:, t - 1 : t + 1], *(batch[name][:, t - 1 : t + 1] for name in names), "clips"
    )


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else math.nan
