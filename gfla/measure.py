"""What a training run may know about the truth: numbers for its log, from people it never sees.

The true flow judges here and nowhere else; nothing that this room returns steers a training.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from gfla.data import people
from gfla.metrics import upsample_flow
from gfla.model import GFLA
from gfla.sampling import warp


def held_out(
    count: int, size: tuple[int, int], device: torch.device | str = "cpu"
) -> Iterator[dict[str, Tensor]]:
    """Procedural pairs with their truth, from seeds that no training uses.

    Args:
        count: number of pairs in all.
        size: (H, W) in pixels.
        device: where the tensors are wanted.

    Returns:
        batches of at most 16 pairs, as `gfla.data.people.pairs` describes them.
    """
    for start in range(0, count, 16):
        seed = people.MEASURING_SEEDS + start
        yield people.pairs(min(16, count - start), size=size, seed=seed, device=device)


@torch.no_grad()
def measure(model: GFLA, stage: str, count: int, device: torch.device | str) -> dict[str, float]:
    """The true error of the flow, and of the image, over visible pixels of held-out people.

    Args:
        model: its finest flow is measured, and in stage "full" its image.
        stage: "flow" (the renderer is not asked) or "full".
        count: number of pairs.
        device: where the model is.

    Returns:
        measured_flow_error: mean end-point error in pixels over target pixels whose source is
        visible; measured_flow_ratio: the same over that of zero flow (neither for a model without
        flows); in stage "full" also measured_l1_ratio: L1 of the image over the same pixels, on
        the scale between warping with the true flow (0) and copying in place (1).
    """
    training = model.training
    model.eval()
    sums: dict[str, float] = dict.fromkeys(("ours", "zero", "pixels", "l1", "copy", "warp"), 0.0)
    for batch in held_out(count, model.size, device):
        inputs = batch["source"], batch["source_pose"], batch["target_pose"]
        visible = batch["visible"].float()
        output = model(*inputs) if stage == "full" else model.flow(*inputs)

        def add(name: str, values: Tensor, visible: Tensor = visible) -> None:
            sums[name] += float((values * visible).sum())

        for flow in output.flows[-1:]:
            flow = upsample_flow(flow, model.size)
            add("ours", (flow - batch["flow"]).norm(dim=1, keepdim=True))
        add("zero", batch["flow"].norm(dim=1, keepdim=True))
        add("pixels", torch.ones_like(visible))
        if stage == "full":
            target = batch["target"]
            add("l1", (output.image - target).abs())
            add("copy", (batch["source"] - target).abs())
            add("warp", (warp(batch["source"], batch["flow"]) - target).abs())
    model.train(training)
    found = {}
    if output.flows:
        found["measured_flow_error"] = sums["ours"] / sums["pixels"]
        found["measured_flow_ratio"] = sums["ours"] / sums["zero"]
    if stage == "full":
        span = sums["copy"] - sums["warp"]
        found["measured_l1_ratio"] = (sums["l1"] - sums["warp"]) / span
    return found
