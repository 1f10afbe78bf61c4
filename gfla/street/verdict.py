"""The shipped model before held-out people: where it stands between copying and the truth, and why.

The judgements of notebook 03. The true flow and visibility measure here; nothing is trained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor

from gfla import metrics, viz
from gfla.data.body import PARTS
from gfla.measure import held_out
from gfla.model import GFLA
from gfla.sampling import warp
from gfla.types import Image, Mask

GROUPS = {  # parts of the body whose errors are told apart
    "head": ("head", "neck", "hair"), "torso": ("torso", "skirt"), "arms": ("arm",),
    "hands": ("hand",), "legs": ("thigh", "shin"), "shoes": ("shoe",),
}  # fmt: skip


@torch.no_grad()
def rendered(model: GFLA, count: int) -> dict[str, Tensor]:
    """Held-out people with what the model makes of them.

    Args:
        model: in eval mode.
        count: number of pairs.

    Returns:
        source, target, flow, visible, foreground and parts of `gfla.data.people.pairs`; image
        (ours), our_flow (B, 2, H, W) in pixels, our_mask, warped (the source, warped by our flow)
        and true_warp; all on the CPU.
    """
    kept = ("source", "target", "flow", "visible", "foreground", "parts")
    batches = []
    device = next(model.parameters()).device
    for batch in held_out(count, model.size, device):
        output = model(batch["source"], batch["source_pose"], batch["target_pose"])
        flow = metrics.upsample_flow(output.flows[-1], model.size)
        mask = F.interpolate(output.masks[-1], model.size, mode="bilinear", align_corners=False)
        made = {
            "image": output.image, "our_flow": flow, "our_mask": mask,
            "warped": warp(batch["source"], flow),
            "true_warp": warp(batch["source"], batch["flow"]),
        }  # fmt: skip
        batches.append({name: batch[name] for name in kept} | made)
    return {name: torch.cat([one[name].cpu() for one in batches]) for name in batches[0]}


def score(seen: Mapping[str, Tensor], image: Image, where: Mask | None = None) -> float:
    """`gfla.metrics.score` of a picture: 0 = true warp, 1 = copying in place.

    Args:
        seen: of `rendered`.
        image: (B, 3, H, W).
        where: (B, 1, H, W), which of the visible pixels count; all by default.
    """
    visible = seen["visible"] if where is None else seen["visible"] * where
    return metrics.score(image, seen["target"], seen["source"], seen["true_warp"], visible)


def score_by_part(seen: Mapping[str, Tensor]) -> dict[str, float]:
    """`score` of our picture on each group of parts."""
    found = {}
    for group, words in GROUPS.items():
        members = [number + 1 for number, part in enumerate(PARTS) if part.endswith(words)]
        where = torch.isin(seen["parts"], torch.tensor(members))
        found[group] = score(seen, seen["image"], where.float())
    return found


def person_error(seen: Mapping[str, Tensor]) -> Tensor:
    """Mean absolute error of our picture over the person, pair by pair, as a share of the range.

    Returns:
        (B,).
    """
    error = (seen["image"] - seen["target"]).abs().mean(1, keepdim=True) / 2
    where = seen["foreground"]
    return (error * where).sum((1, 2, 3)) / where.sum((1, 2, 3))


def visible_share(seen: Mapping[str, Tensor]) -> Tensor:
    """How much of each person the source shows, (B,): little where the body turns round."""
    return seen["visible"].sum((1, 2, 3)) / seen["foreground"].sum((1, 2, 3))


def faults(seen: Mapping[str, Tensor], indices: Sequence[int]) -> Figure:
    """Draw pairs with the place and size of their error.

    Args:
        seen: of `rendered`.
        indices: which pairs, a row each.

    Returns:
        Figure: source, flow, mask, ours, target; what the source shows of the person (white) and
        does not (grey); and the error, black = 0, white = half the range.
    """
    limit = max(float(seen["our_flow"][i].norm(dim=0).max()) for i in indices)
    error = (seen["image"] - seen["target"]).abs().mean(1, keepdim=True)
    rows = [
        [
            viz.to_uint8(seen["source"][i]),
            viz.flow_to_color(seen["our_flow"][i], limit),
            viz.mask_image(seen["our_mask"][i]),
            viz.to_uint8(seen["image"][i]),
            viz.to_uint8(seen["target"][i]),
            viz.mask_image(0.5 * (seen["visible"][i] + seen["foreground"][i])),
            viz.mask_image(error[i]),
        ]
        for i in indices
    ]
    labels = ["source", "flow", "mask", "ours", "target", "visible", "error"]
    return viz.grid(rows, labels, limit=limit)
