"""What a training run may know about the truth: numbers for its log, from data it never sees.

The true flow judges here and nowhere else; nothing that this room returns steers a training.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gfla import passes, streams
from gfla.config import Config, DataConfig
from gfla.data import people
from gfla.metrics import upsample_flow
from gfla.sampling import warp
from gfla.types import Flow, Image, Mask


class Truth(NamedTuple):
    """Where the pixels of the targets come from in one source."""

    name: str  # of the source: "", or "previous_" for the second one of a clip
    source: Image  # (N, 3, H, W)
    flow: Flow  # (N, 2, H, W) target → source, pixels
    visible: Mask  # (N, 1, H, W) the source shows it


def held_out(
    count: int,
    size: tuple[int, int],
    device: torch.device | str = "cpu",
    source: str = "people",
    frames: int = 1,
) -> Iterator[dict[str, Tensor]]:
    """Procedural pairs or clips with their truth, from seeds that no training uses.

    Args:
        count: number of pairs or clips in all.
        size: (H, W) in pixels.
        device: where the tensors are wanted.
        source: of `streams.PROCEDURAL`.
        frames: of a clip.

    Returns:
        batches of at most 16 pairs or clips, as the source's room in `gfla.data` describes them.
    """
    data = DataConfig(size=size, source=source, frames=frames)
    for start in range(0, count, 16):
        seed = people.MEASURING_SEEDS + start
        yield streams.procedural(data, min(16, count - start), seed, device)


def truths(batch: dict[str, Tensor], kind: str, memory: bool = True) -> tuple[Truth, ...]:
    """The truth in a batch, in the order of `passes.Pass.judged`.

    Args:
        batch: of `held_out`.
        kind: of the model, see `gfla.passes`.
        memory: whether an animation knows the previous frame.
    """
    if kind != "animation":
        return (Truth("", batch["source"], batch["flow"], batch["visible"].float()),)
    reference = batch["reference"][:, None].expand_as(batch["frames"])
    previous = "previous_", reference, "reference"
    if memory:
        previous = "previous_", passes.previous_frames(batch)[0], "previous"
    rows = previous, ("", reference, "reference")
    return tuple(
        Truth(
            name,
            source.flatten(0, 1),
            batch[f"{where}_flow"].flatten(0, 1),
            batch[f"{where}_visible"].flatten(0, 1).float(),
        )
        for name, source, where in rows
    )


@torch.no_grad()
def measure(
    model: nn.Module,
    stage: str,
    count: int,
    device: torch.device | str,
    config: Config | None = None,
) -> dict[str, float]:
    """The true error of the flow, and of the image, over visible pixels of held-out data.

    Args:
        model: its finest flow is measured, and in stage "full" its image.
        stage: "flow" (the renderer is not asked) or "full".
        count: number of pairs or clips.
        device: where the model is.
        config: of the run, which tells the kind of model and of data; by default people.

    Returns:
        measured_flow_error: mean end-point error in pixels over target pixels whose source is
        visible; measured_flow_ratio: the same over that of zero flow (neither for a model without
        flows); in stage "full" also measured_l1_ratio: L1 of the image over the same pixels, on
        the scale between warping with the true flow (0) and copying in place (1); and
        measured_copy_ratio: that L1 over the one of copying. Of an animation, which has two
        sources, these are about the reference, and measured_previous_… about the previous frame.
    """
    training = model.training
    model.eval()
    config = config or Config()
    kind, data = config.model.kind, config.data
    source = data.source if data.source in streams.PROCEDURAL else _NEAREST[kind]
    sums: dict[str, float] = defaultdict(float)
    for batch in held_out(count, model.size, device, source, data.frames):
        done = passes.run(model, stage, batch, kind)
        true = truths(batch, kind, config.model.memory)
        flows = [judged.flows[-1] for judged in done.judged] or [None] * len(true)
        for at, flow in zip(true, flows, strict=True):

            def add(name: str, values: Tensor, at: Truth = at) -> None:
                sums[at.name + name] += float((values * at.visible).sum())

            if flow is not None:
                wrong = upsample_flow(flow, model.size) - at.flow
                add("ours", wrong.norm(dim=1, keepdim=True))
            add("zero", at.flow.norm(dim=1, keepdim=True))
            add("pixels", torch.ones_like(at.visible))
            if stage == "full" and not at.name:
                add("l1", (done.image - done.target).abs())
                add("copy", (at.source - done.target).abs())
                add("warp", (warp(at.source, at.flow) - done.target).abs())
    model.train(training)
    return _found(sums)


_NEAREST = {  # the procedural stand-in for a data set of files, which has no truth
    "people": "people", "views": "objects", "appearance": "objects", "animation": "clips"
}  # fmt: skip


def _found(sums: dict[str, float]) -> dict[str, float]:
    found = {}
    for name in ("", "previous_"):
        if f"{name}ours" in sums:
            ours = sums[f"{name}ours"]
            found[f"measured_{name}flow_error"] = ours / sums[f"{name}pixels"]
            found[f"measured_{name}flow_ratio"] = ours / sums[f"{name}zero"]
    if "l1" in sums:
        span = sums["copy"] - sums["warp"]
        found["measured_l1_ratio"] = (sums["l1"] - sums["warp"]) / span
        found["measured_copy_ratio"] = sums["l1"] / sums["copy"]
    return found
