"""One pass of any of the models over a batch of its own kind: what was made, what it is held to.

A pair is one picture and one source. A clip of T frames is T pictures, each with two sources, the
previous frame and the reference; its frames stand along the batch axis, N = B·T.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from gfla.types import Flow, Image, Mask

CONDITIONS = {  # what a model of this kind is told besides the source
    "people": ("source_pose", "target_pose"),
    "views": ("source_view", "target_view"),
    "appearance": ("source_view", "target_view"),
}
CLIP = ("frames", "poses", "reference", "reference_pose")


class Judged(NamedTuple):
    """Flows that point into one source."""

    source: Image  # (N, 3, H, W)
    flows: tuple[Flow, ...]  # each (N, 2, h, w), coarse → fine
    masks: tuple[Mask, ...]  # each (N, 1, h, w); empty where the model has none


class Pass(NamedTuple):
    """What a model made of a batch, and the truth that its losses may see."""

    image: Image | None  # (N, 3, H, W) in [-1, 1]; None in stage "flow"
    target: Image  # (N, 3, H, W)
    judged: tuple[Judged, ...]  # one for each source that has flows
    frames: int  # T; 1 for pairs


def inputs(kind: str) -> tuple[str, ...]:
    """The names in a batch that a training of this kind reads, and nothing else.

    >>> inputs("views")
    ('source', 'target', 'source_view', 'target_view')
    """
    return CLIP if kind == "animation" else ("source", "target", *CONDITIONS[kind])


def run(model: nn.Module, stage: str, batch: dict[str, Tensor], kind: str) -> Pass:
    """Ask a model, or in stage "flow" only its flow estimator.

    Args:
        model: `GFLA`, `Views`, `AppearanceFlow` or `Animation`.
        stage: "flow" or "full".
        batch: holds at least `inputs(kind)`.
        kind: "people", "views", "appearance" or "animation".

    Returns:
        `Pass`; images in float32, also under autocast.

    In stage "flow" an animation is told the true previous frame. In stage "full" it goes on from
    its own pictures, and its flow into the previous frame is judged by the true one, as in the
    published training for people (docs/spec.md, section 6).
    """
    if kind == "animation":
        return _clip(model, stage, batch)
    told = batch["source"], *(batch[name] for name in CONDITIONS[kind])
    if stage == "flow":
        flows, masks = model.flow(*told)
        return Pass(None, batch["target"], _judged((batch["source"], flows, masks)), 1)
    output = model(*told)
    judged = _judged((batch["source"], output.flows, output.masks))
    return Pass(output.image.float(), batch["target"], judged, 1)


def previous_frames(batch: dict[str, Tensor], memory: bool = True) -> tuple[Tensor, Tensor]:
    """The true previous picture and pose of every frame of a clip; the reference at the first.

    Args:
        batch: of `inputs("animation")`.
        memory: False gives the reference at every frame, for a model that has no memory.

    Returns:
        (B, T, 3, H, W) and (B, T, K, H, W).
    """
    count = batch["frames"].shape[1]
    reference = _repeated(batch["reference"], count), _repeated(batch["reference_pose"], count)
    if not memory:
        return reference
    whole = batch["frames"], batch["poses"]
    pairs = zip(reference, whole, strict=True)
    return tuple(torch.cat([first[:, :1], all_[:, :-1]], 1) for first, all_ in pairs)


WINDOWS = {"differences": 3, "volume": 6}  # frames that a discriminator of clips sees


def window(clips: Tensor, step: int, form: str) -> Tensor:
    """The frames that a discriminator of clips is shown at a step: they wander with it.

    Args:
        clips: (B, T, 3, H, W), T at least `WINDOWS[form]`.
        step: 0, 1, …
        form: "differences" of three frames, or the "volume" of six.

    Returns:
        "differences": (B, 6, H, W); "volume": (B, 3, 6, H, W).

    >>> window(torch.zeros(2, 4, 3, 8, 8), 5, "differences").shape
    torch.Size([2, 6, 8, 8])
    """
    length = WINDOWS[form]
    start = step % (clips.shape[1] - length + 1)
    seen = clips[:, start : start + length]
    if form == "volume":
        return seen.transpose(1, 2)
    return (seen[:, 1:] - seen[:, :-1]).flatten(1, 2)


def _clip(model: nn.Module, stage: str, batch: dict[str, Tensor]) -> Pass:
    frames, poses, reference, reference_pose = (batch[name] for name in CLIP)
    count = frames.shape[1]
    previous, previous_pose = previous_frames(batch, model.arguments["memory"])
    references = _repeated(reference, count).flatten(0, 1)  # (B·T, 3, H, W)
    if stage == "flow":
        image = None
        flows, masks = model.flow(
            poses.flatten(0, 1),
            references,
            _repeated(reference_pose, count).flatten(0, 1),
            previous.flatten(0, 1),
            previous_pose.flatten(0, 1),
        )
    else:
        output = model(poses, reference, reference_pose)
        image = output.image.flatten(0, 1).float()  # (B·T, 3, H, W)
        flows = [flow.flatten(0, 1) for flow in output.flows]
        masks = [mask.flatten(0, 1) for mask in output.masks]
    judged = _judged(
        (previous.flatten(0, 1), flows[0::2], masks[0::2]), (references, flows[1::2], masks[1::2])
    )
    return Pass(image, frames.flatten(0, 1), judged, count)


def _judged(*rows: tuple) -> tuple[Judged, ...]:
    found = (Judged(source, tuple(flows), tuple(masks)) for source, flows, masks in rows)
    return tuple(one for one in found if one.flows)


def _repeated(one: Tensor, count: int) -> Tensor:
    return one[:, None].expand(-1, count, *one.shape[1:])  # (B, T, …)
