"""What a generator is held to in one step: its losses, and that its flow stays in the picture."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from gfla import losses
from gfla.passes import Pass
from gfla.training import Training, judges


def generator_terms(training: Training, done: Pass) -> dict[str, Tensor]:
    """The unweighted losses of the generator whose weight in this stage is not zero.

    Source and target are encoded once; gradients run through the features of the generated image
    only. Each level's flow is judged by its own tap and regularised with its own patch side. Over
    the frames of a clip every term is a mean, where the paper's is a sum over frames.
    """
    config, encoder, names = training.config, training.encoder, training.settings.weights()
    sides = dict(config.model.kernel_sizes)
    levels = sorted(sides, reverse=True)  # coarse → fine, as the flows are
    level_taps = [dict(config.features.correctness_taps)[level] for level in levels]
    image_taps = list(config.features.perceptual_taps) * ("perceptual" in names)
    image_taps += list(config.features.style_taps) * ("style" in names)

    def look(image: Tensor, taps: list[str]) -> dict[str, Tensor]:
        with training.precision():
            found = encoder(image, list(dict.fromkeys(taps)))
        return {name: features.float() for name, features in found.items()}

    with torch.no_grad():
        sources = [look(judged.source, level_taps) for judged in done.judged]
        target_taps = look(done.target, level_taps + image_taps)
    terms = {}
    if "sampling_correctness" in names:
        terms["sampling_correctness"] = sum(
            losses.sampling_correctness(
                source_taps[tap], target_taps[tap], flow, sampling=config.optim.sampling
            )
            for judged, source_taps in zip(done.judged, sources, strict=True)
            for tap, flow in zip(level_taps, judged.flows, strict=True)
        )
    if "affine_regularization" in names:
        terms["affine_regularization"] = sum(
            losses.affine_regularization(flow, sides[level])
            for judged in done.judged
            for level, flow in zip(levels, judged.flows, strict=True)
        )
    if "l1" in names:
        terms["l1"] = losses.l1(done.image, done.target)
    for name, (judge, _, show) in judges(training).items():
        with training.precision():
            scores = judge.requires_grad_(False)(show(done.image)).float()
        terms[name] = losses.adversarial(scores, True, config.optim.gan, side="generator")
    taps = look(done.image, image_taps) if image_taps else {}
    if "perceptual" in names:
        terms["perceptual"] = losses.perceptual(taps, target_taps, config.features.perceptual_taps)
    if "style" in names:
        terms["style"] = losses.style(taps, target_taps, config.features.style_taps)
    return terms


def outside_share(flows: Iterable[Tensor]) -> float:
    """How much of the flow points more than a pixel outside the picture.

    Further out the sampled features are constant, and no loss calls the flow back. Nearer, the
    border pixels of a flow that is right may well be.

    Args:
        flows: (B, 2, h, w) each, target → source in pixels of its level.

    Returns:
        the largest share over the levels, in [0, 1]; 0 without levels.

    Example:
        >>> outside_share([torch.zeros(1, 2, 4, 4), torch.full((1, 2, 4, 4), 2.5)])
        0.75
    """
    shares = outside_shares(list(flows))
    return max(shares.tolist(), default=0.0)  # one transfer from the device


@torch.no_grad()
def outside_shares(flows: list[Tensor]) -> Tensor:
    """What `outside_share` takes the largest of: (levels,), left on the device of the flows."""
    shares = []
    for flow in flows:
        height, width = flow.shape[-2:]
        x = flow[:, 0] + torch.arange(width, device=flow.device)  # (B, h, w)
        y = flow[:, 1] + torch.arange(height, device=flow.device)[:, None]  # (B, h, w)
        beyond = (x < -1) | (x > width) | (y < -1) | (y > height)
        shares.append(beyond.float().mean())
    return torch.stack(shares) if shares else torch.zeros(0)
