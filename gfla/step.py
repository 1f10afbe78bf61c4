"""One training iteration: `step_d`, `step_g`, and what passes between them.

    L = λ_c L_c + λ_r L_r + λ_ℓ1 L_ℓ1 + λ_a L_a + λ_p L_p + λ_s L_s

The order is the published one: forward pass of the generator, a step of D, then a step of the
generator with D frozen (docs/spec.md, section 6).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Adam

from gfla import losses, passes
from gfla.config import Config, StageConfig
from gfla.passes import Pass
from gfla.streams import Batch


class TrainingError(RuntimeError):
    """A training run that must not go on; the last good checkpoint is kept."""


@dataclass
class Training:
    """Everything that changes while training; what `state.pt` holds."""

    config: Config
    stage: str  # "flow" or "full"
    seed: int
    model: nn.Module  # F and G, of any kind
    encoder: nn.Module  # frozen
    optimizer: Adam
    average: nn.Module | None = None
    discriminator: nn.Module | None = None
    d_optimizer: Adam | None = None
    temporal: nn.Module | None = None  # the discriminator of several frames
    t_optimizer: Adam | None = None
    step: int = 0  # steps taken
    seconds: float = 0.0  # wall time of all sessions
    outside_steps: int = 0  # steps in a row with too much flow outside the picture

    @property
    def settings(self) -> StageConfig:
        """Length, learning rate and weights of this stage."""
        return self.config.stage(self.stage)

    def precision(self) -> torch.autocast:
        """The context in which networks run; losses, flow heads and weights stay float32."""
        device = next(self.model.parameters()).device.type
        low = self.config.optim.precision == "bfloat16"
        return torch.autocast(device, torch.bfloat16, enabled=low)

    @property
    def trained(self) -> nn.Module:
        """The network that this stage trains."""
        return self.model.flow if self.stage == "flow" else self.model

    @property
    def best(self) -> nn.Module:
        """The model to look at: averaged where the configuration averages."""
        return self.average if self.average is not None else self.model


def learning_rate(stage: StageConfig, step: int) -> float:
    """Adam's step size, a pure function of the step.

        lr(t) = lr · min(1, (t + 1) / warmup) · (f + (1 − f)(1 + cos(π t / steps)) / 2)

    Args:
        stage: lr, schedule, final_lr (f; 1 when the schedule is constant), warmup, steps.
        step: t, 0 for the first step.

    Returns:
        a positive number.

    Example:
        >>> learning_rate(StageConfig(steps=10, lr=0.5), 7)
        0.5
        >>> learning_rate(StageConfig(steps=10, lr=0.5, schedule="cosine", final_lr=0.1), 10)
        0.05
    """
    rise = min(1.0, (step + 1) / stage.warmup) if stage.warmup else 1.0
    if stage.schedule == "constant":
        return stage.lr * rise
    fall = (1 + math.cos(math.pi * min(1.0, step / stage.steps))) / 2
    return stage.lr * rise * (stage.final_lr + (1 - stage.final_lr) * fall)


@torch.no_grad()
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
    shares = []
    for flow in flows:
        height, width = flow.shape[-2:]
        x = flow[:, 0] + torch.arange(width, device=flow.device)  # (B, h, w)
        y = flow[:, 1] + torch.arange(height, device=flow.device)[:, None]  # (B, h, w)
        beyond = (x < -1) | (x > width) | (y < -1) | (y > height)
        shares.append(beyond.float().mean())
    return max(torch.stack(shares).tolist()) if shares else 0.0  # one transfer from the device


def step_d(
    discriminator: nn.Module, optimizer: Adam, real: Tensor, fake: Tensor, kind: str = "lsgan"
) -> Tensor:
    """One step of the discriminator.

        L_D = ½ (L_a(D(x_t), real) + L_a(D(x̂_t), fake))

    Args:
        discriminator: D, which is left trainable.
        optimizer: that of D.
        real: (B, 3, H, W) target images in [-1, 1].
        fake: (B, 3, H, W) generated images; no gradient reaches the generator.
        kind: "lsgan" or "hinge".

    Returns:
        the scalar loss, detached.
    """
    discriminator.requires_grad_(True)
    optimizer.zero_grad()
    scores = discriminator(real).float(), discriminator(fake.detach()).float()
    loss = losses.discriminator_loss(*scores, kind)
    loss.backward()
    optimizer.step()
    return loss.detach()


def step_g(
    parameters: Iterable[nn.Parameter],
    optimizer: Adam,
    terms: dict[str, Tensor],
    weights: dict[str, float],
    clip: float = 0.0,
) -> dict[str, float]:
    """One step of the generator down the weighted sum of its losses.

    Args:
        parameters: those that are trained.
        optimizer: that of the generator.
        terms: scalar losses by name, with gradients.
        weights: λ by the same names.
        clip: largest norm of the gradient over all parameters, 0 = no clipping.

    Returns:
        plain numbers: every term, every term weighted, total, gradient_norm.

    Raises:
        TrainingError: a term or the gradient is not finite; no parameter was changed.
    """
    total, logged = losses.weighted_sum(terms, weights)
    _require_finite(logged)
    optimizer.zero_grad()
    total.backward()
    norm = nn.utils.clip_grad_norm_(parameters, clip if clip else math.inf)
    logged["gradient_norm"] = norm.item()
    _require_finite({"gradient_norm": logged["gradient_norm"]})
    optimizer.step()
    return logged


def iterate(training: Training, batch: Batch) -> dict[str, float]:
    """One iteration: forward pass, step of D (stage "full"), step of the generator.

    Args:
        training: changed in place: networks, optimisers, step.
        batch: holds `passes.inputs` of this kind of model. More keys are not looked at.

    Returns:
        plain numbers for the log.

    Raises:
        TrainingError: a loss or the gradient is not finite.
    """
    rate = learning_rate(training.settings, training.step)
    _set_rate(training.optimizer, rate)
    logged = {}
    with training.precision():
        done = passes.run(training.model, training.stage, batch, training.config.model.kind)
    for name, (judge, optimizer, show) in judges(training).items():
        _set_rate(optimizer, rate * training.config.optim.d_lr_ratio)
        with training.precision():
            loss = step_d(
                judge, optimizer, show(done.target), show(done.image), training.config.optim.gan
            )
        logged["discriminator" if name == "adversarial" else f"discriminator_{name}"] = loss.item()
        _require_finite(logged)
    terms = generator_terms(training, done)
    weights = training.settings.weights()
    parameters = list(training.trained.parameters())
    logged |= step_g(parameters, training.optimizer, terms, weights, training.config.optim.clip)
    training.step += 1
    t = training.step
    follow(training, min(training.config.optim.ema, t / (9 + t)))  # a young average forgets
    flows = [flow for judged in done.judged for flow in judged.flows]
    return logged | {"learning_rate": rate, "outside": outside_share(flows)}


def judges(training: Training) -> dict[str, tuple[nn.Module, Adam, Callable[[Tensor], Tensor]]]:
    """The discriminators of a run by the term they stand for.

    Returns:
        {"adversarial" or "temporal": (discriminator, its optimiser, what it is shown of pictures
        (N, 3, H, W))}: of a clip one frame, or a window of frames, which wander with the step.
    """
    config, now = training.config, training.step
    frames, clips = config.data.frames, config.model.kind == "animation"

    def one(pictures: Tensor) -> Tensor:
        return pictures.unflatten(0, (-1, frames))[:, now % frames] if clips else pictures

    def window(pictures: Tensor) -> Tensor:
        return passes.window(pictures.unflatten(0, (-1, frames)), now, config.model.d_video)

    found = {}
    if training.discriminator is not None:
        found["adversarial"] = training.discriminator, training.d_optimizer, one
    if training.temporal is not None:
        found["temporal"] = training.temporal, training.t_optimizer, window
    return found


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


@torch.no_grad()
def follow(training: Training, decay: float) -> None:
    """Draw the averaged weights towards the present ones: average += (1 − decay)(now − average)."""
    if training.average is not None:
        averaged, now = training.average.parameters(), training.model.parameters()
        torch._foreach_lerp_(list(averaged), list(now), 1 - decay)


def _require_finite(values: dict[str, float]) -> None:
    for name, value in values.items():
        if not math.isfinite(value):
            raise TrainingError(
                f"{name} is {value}: lower the learning rate, clip gradients "
                "(optim.clip) or look at the data"
            )


def _set_rate(optimizer: Adam, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("share", 1.0)
