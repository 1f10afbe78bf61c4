"""One training iteration: `step_d`, `step_g`, and what passes between them.

    L = λ_c L_c + λ_r L_r + λ_ℓ1 L_ℓ1 + λ_a L_a + λ_p L_p + λ_s L_s

The order is the published one: forward pass of the generator, a step of D, then a step of the
generator with D frozen (docs/spec.md, section 6).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.optim import Adam

from gfla import distributed, losses, passes
from gfla.config import StageConfig
from gfla.passes import Pass
from gfla.streams import Batch
from gfla.terms import generator_terms, outside_shares
from gfla.training import Training, TrainingError, judges

__all__ = ["follow", "iterate", "learning_rate", "step_d", "step_g"]


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


def step_d(
    discriminator: nn.Module,
    optimizer: Adam,
    real: Tensor,
    fake: Tensor,
    kind: str = "lsgan",
    parts: int = 1,
) -> Tensor:
    """One step of the discriminator.

        L_D = ½ (L_a(D(x_t), real) + L_a(D(x̂_t), fake))

    Args:
        discriminator: D, which is left trainable.
        optimizer: that of D.
        real: (B, 3, H, W) target images in [-1, 1].
        fake: (B, 3, H, W) generated images; no gradient reaches the generator.
        kind: "lsgan" or "hinge".
        parts: taken one after the other, for less memory; B divides by it.

    Returns:
        the scalar loss, detached.
    """
    discriminator.requires_grad_(True)
    optimizer.zero_grad()
    found, rested = [], _rested([discriminator], parts)
    rows = zip(real.chunk(parts), fake.detach().chunk(parts), rested, strict=True)
    for number, (true, made, _) in enumerate(rows, 1):
        with distributed.apart(discriminator, number < parts):
            scores = discriminator(true).float(), discriminator(made).float()
            loss = losses.discriminator_loss(*scores, kind)
            (loss / parts).backward()
        found.append(loss.detach())
    optimizer.step()
    return torch.stack(found).mean()


def step_g(
    parameters: Iterable[nn.Parameter],
    optimizer: Adam,
    terms: Mapping[str, Tensor] | Iterable[Mapping[str, Tensor]],
    weights: Mapping[str, float],
    clip: float = 0.0,
    parts: int = 1,
    noted: Mapping[str, Tensor] | None = None,
) -> dict[str, float]:
    """One step of the generator down the weighted sum of its losses.

    Args:
        parameters: those that are trained.
        optimizer: that of the generator.
        terms: scalar losses by name, with gradients; or those of one part of a batch after another,
            each asked for when the one before has sent its gradients back.
        weights: λ by the same names.
        clip: largest norm of the gradient over all parameters, 0 = no clipping.
        parts: how many parts there are.
        noted: further numbers of this step, looked at when all parts are done.

    Returns:
        plain numbers, means over the parts and over all processes: what was noted (of a vector the
        largest element), every term, every term weighted, total, gradient_norm.

    Raises:
        TrainingError: a number is not finite; no parameter was changed, in no process.
        ValueError: terms and weights of different names.
    """
    optimizer.zero_grad()
    rows = []
    for part in [terms] if isinstance(terms, Mapping) else terms:
        total, row = _weighted(part, weights)
        (total / parts).backward()
        rows.append(row)
    norm = nn.utils.clip_grad_norm_(parameters, clip if clip else math.inf)
    means = {name: torch.stack([row[name] for row in rows]).mean() for name in rows[0]}
    logged = _read({**(noted or {}), **means, "gradient_norm": norm})
    _require_finite(logged)
    optimizer.step()
    return logged


def iterate(training: Training, batch: Batch) -> dict[str, float]:
    """One iteration: forward pass, step of D (stage "full"), step of the generator.

    A batch that is taken in parts costs one more forward pass where there is a discriminator: it
    takes its step on all of the parts before the generator hears of any.

    Args:
        training: changed in place: networks, optimisers, step.
        batch: holds `passes.inputs` of this kind of model. More keys are not looked at.

    Returns:
        plain numbers for the log.

    Raises:
        TrainingError: a loss or the gradient is not finite.
    """
    optim, weights = training.config.optim, training.settings.weights()
    rate = learning_rate(training.settings, training.step)
    _set_rate(training.optimizer, rate)
    parts = _divided(training, batch)
    done = training.ask(parts[0]) if len(parts) == 1 else None
    noted = _step_judges(training, parts, done, rate)
    logged = step_g(
        list(training.trained.parameters()),
        training.optimizer,
        _terms(training, parts, done, noted),
        weights,
        optim.clip,
        len(parts),
        noted,
    )
    training.step += 1
    t = training.step
    follow(training, min(optim.ema, t / (9 + t)))  # a young average forgets
    outside = logged.pop("outside")
    return logged | {"learning_rate": rate, "outside": outside}


def _divided(training: Training, batch: Batch) -> list[Batch]:
    """The parts of a batch, laid out as the networks read pictures."""
    parts = training.config.optim.accumulate
    rows = {name: values.chunk(parts) for name, values in training.laid(batch).items()}
    return [dict(zip(rows, part, strict=True)) for part in zip(*rows.values(), strict=True)]


def _step_judges(
    training: Training, parts: list[Batch], done: Pass | None, rate: float
) -> dict[str, Tensor]:
    """The discriminators' step, on pictures that are made for it unless they are `done`."""
    noted, optim = {}, training.config.optim
    found = judges(training)
    if not found:
        return noted
    if done is None:
        with torch.no_grad():
            made = [_plainly(training, part) for part in parts]
        target, image = (torch.cat(each) for each in zip(*made, strict=True))
    else:
        target, image = done.target, done.image
    for name, (judge, optimizer, show) in found.items():
        _set_rate(optimizer, rate * optim.d_lr_ratio)
        called = training.wrapped.get(name, judge)
        with training.precision():
            loss = step_d(called, optimizer, show(target), show(image), optim.gan, len(parts))
        noted["discriminator" if name == "adversarial" else f"discriminator_{name}"] = loss
    return noted


def _terms(
    training: Training, parts: list[Batch], done: Pass | None, noted: dict[str, Tensor]
) -> Iterator[dict[str, Tensor]]:
    """The losses of each part, in a forward pass of its own unless it is `done`."""
    shares, asked = [], training.wrapped.get("model", training.model)
    rested = _rested([judge for judge, _, _ in judges(training).values()], len(parts))
    for number, (part, _) in enumerate(zip(parts, rested, strict=True), 1):
        with distributed.apart(asked, number < len(parts)):
            made = training.ask(part) if done is None else done
            shares.append(outside_shares([one for judged in made.judged for one in judged.flows]))
            noted["outside"] = torch.stack(shares).mean(0)
            yield generator_terms(training, made)  # within, its gradients are sent back


def _plainly(training: Training, part: Batch) -> tuple[Tensor, Tensor]:
    """The true and the generated pictures of a part, for whom no gradient is wanted."""
    with training.precision():
        done = passes.run(training.model, training.stage, part, training.config.model.kind)
    return done.target, done.image


def _rested(networks: list[nn.Module], parts: int) -> Iterator[None]:
    """Before each part of a batch, the estimates of spectral norms as they were before the first.

    They move at each call of a discriminator in training mode, and are to move once a batch.
    """
    buffers = [one for network in networks for one in network.buffers()] if parts > 1 else []
    kept = [one.clone() for one in buffers]
    for _ in range(parts):
        for buffer, before in zip(buffers, kept, strict=True):
            buffer.copy_(before)
        yield


@torch.no_grad()
def follow(training: Training, decay: float) -> None:
    """Draw the averaged weights towards the present ones: average += (1 − decay)(now − average)."""
    if training.average is not None:
        averaged, now = training.average.parameters(), training.model.parameters()
        torch._foreach_lerp_(list(averaged), list(now), 1 - decay)


def _weighted(
    terms: Mapping[str, Tensor], weights: Mapping[str, float]
) -> tuple[Tensor, dict[str, Tensor]]:
    """`losses.weighted_sum` without looking at a number: nothing waits for the device here."""
    if terms.keys() != weights.keys():
        raise ValueError(f"terms {sorted(terms)} and weights {sorted(weights)}: expected the same")
    weighted = {f"{name}_weighted": weights[name] * term.float() for name, term in terms.items()}
    total = torch.stack(list(weighted.values())).sum()
    row = {**terms, **weighted, "total": total}
    return total, {name: value.detach() for name, value in row.items()}


def _read(row: Mapping[str, Tensor]) -> dict[str, float]:
    """Means over the processes, in one transfer from the device; of a vector, its largest."""
    device = row["gradient_norm"].device
    flat = [values.detach().reshape(-1).to(device) for values in row.values()]
    found = iter(distributed.mean(torch.cat(flat)).tolist())
    sizes = {name: len(values) for name, values in zip(row, flat, strict=True)}
    return {
        name: max((next(found) for _ in range(size)), default=0.0) for name, size in sizes.items()
    }


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
