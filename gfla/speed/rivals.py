"""The forms that a benchmark sets against each other: the literal one, ours, and the floor.

*Literal* is what the paper's equations say, patches and all (`backend="reference"`), in the same
modules, eager, contiguous. *The floor* is the arithmetic that no form can leave out: the same
convolutions on the plain picture, and nothing else; on a GPU, plus a copy of the bytes that must be
read and written. Every form of one `made` gets the same inputs and the same weights.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gfla import config as configs
from gfla import meanwhile, sampling, streams, training
from gfla.data import people
from gfla.model import GFLA
from gfla.speed import timing
from gfla.step import iterate

LITERAL, FAST, TRITON, CONVOLUTIONS, COPY = "literal", "fast", "triton", "convolutions", "copy"
OURS, BILINEAR = "ours", "one bilinear read"
LITERAL32, LAST = "literal, float32", "ours, channels-last"
COMPILED = "ours, compiled"
BACKENDS = {LITERAL: "reference", FAST: "fast", TRITON: "triton"}
GIB = 2**30


class Form(NamedTuple):
    """One way to do the work."""

    run: Callable[[], Tensor]  # the forward pass
    upstream: Tensor  # of the shape of its result: what the backward pass begins with
    learned: tuple[Tensor, ...]  # what gets a gradient
    compared: bool = True  # whether its result must be that of the others


def backend(name: str) -> AbstractContextManager[None]:
    """GFLA_BACKEND, for a while.

    Args:
        name: "reference", "fast", "triton", or "" for what the library chooses itself.
    """
    return meanwhile.environment("GFLA_BACKEND", name)


def passes(form: Form, device: torch.device | str, inference: bool = False) -> dict[str, float]:
    """Run one form once.

    Args:
        form: which.
        device: it computes on.
        inference: the forward pass alone, keeping nothing for a backward pass.

    Returns:
        seconds: "inference", or "forward", "backward" and "both".
    """
    if inference:
        with torch.no_grad():
            return {"inference": timing.laps([form.run], device)[0]}
    made: list[Tensor] = []
    forward, backward = timing.laps(
        [lambda: made.append(form.run()), lambda: made[0].backward(form.upstream)], device
    )
    for one in form.learned:
        one.grad = None
    return {"forward": forward, "backward": backward, "both": forward + backward}


def apart(forms: Mapping[str, Form]) -> dict[str, float]:
    """How far the results of the forms lie from the literal one's.

    Returns:
        {form: largest absolute difference}, for those that are to agree.
    """
    with torch.no_grad():
        results = {name: form.run().float() for name, form in forms.items() if form.compared}
    wanted = results.pop(LITERAL)
    return {name: float((found - wanted).abs().max()) for name, found in results.items()}


# ---------------------------------------------------------------- the operator


class Size(NamedTuple):
    """One size of local attention."""

    channels: int  # C of source and target features
    side: int  # h = w
    n: int  # side of the patch
    batch: int = 1
    hidden: int = 128  # the paper's


def literal_gib(size: Size, inference: bool = False) -> float:
    """What the literal form is about to take, in GiB: the patches, and what is made of them.

    Both pairs of patches and their concatenation, for a backward pass the product with the kernel
    and the gradients of all of them.
    """
    patch = 4 * size.batch * size.channels * (size.n * size.side) ** 2  # bytes
    return patch * (5 if inference else 10) / GIB


def operator(size: Size, device: torch.device | str = "cpu", seed: int = 0) -> dict[str, Form]:
    """Local attention at one size, in every form that there is on this device.

    Args:
        size: of features and patch.
        device: where.
        seed: of features, flow (a normal deviate of 6 pixels) and weights.

    Returns:
        {"literal", "fast", with a GPU "triton", "convolutions" and "copy": form}.

    Raises:
        RuntimeError: a GPU is named, and the kernels are not there.
    """
    torch.manual_seed(seed)
    B, C, h, n, hidden = size.batch, size.channels, size.side, size.n, size.hidden
    shapes = [
        (B, C, h, h), (B, C, h, h), (B, 2, h, h),
        (hidden, 2 * C, n, n), (hidden,), (n * n, hidden, 1, 1), (n * n,),
    ]  # fmt: skip
    scales = [1, 1, 6, (2 * C * n * n) ** -0.5, 1, 1 / 3, 1]
    given = tuple(
        (torch.randn(shape) * scale).to(device).requires_grad_()
        for shape, scale in zip(shapes, scales, strict=True)
    )
    upstream = torch.randn(B, C, h, h).to(device)
    names = [LITERAL, FAST] + [TRITON] * (torch.device(device).type == "cuda")

    def attention(name: str) -> Callable[[], Tensor]:
        return lambda: sampling.local_attention(*given, n, backend=BACKENDS[name])[0]

    forms = {name: Form(attention(name), upstream, given) for name in names}
    forms[CONVOLUTIONS] = _convolutions(given, n)
    if TRITON in names:
        forms[COPY] = _copy(given[0], upstream)
    return forms


def _convolutions(given: tuple[Tensor, ...], n: int) -> Form:
    """Both halves of the first layer on the plain picture, and the second layer: the arithmetic."""
    source, target, _, weight1, bias1, weight2, bias2 = (one.detach() for one in given)
    halves = [half.contiguous() for half in weight1.chunk(2, dim=1)]
    learned = tuple(
        one.requires_grad_() for one in (source, target, *halves, bias1, weight2, bias2)
    )

    def run() -> Tensor:
        hidden = F.conv2d(target, halves[0], bias1, padding=n // 2)
        hidden = hidden + F.conv2d(source, halves[1], padding=n // 2)
        return F.conv2d(hidden, weight2, bias2)

    with torch.no_grad():
        upstream = torch.randn_like(run())
    return Form(run, upstream, learned, compared=False)


class _Copied(torch.autograd.Function):
    """A copy whose gradient is a copy."""

    @staticmethod
    def forward(ctx, features: Tensor) -> Tensor:
        return features.clone()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return gradient.clone()


def _copy(source: Tensor, attended: Tensor) -> Form:
    """As many bytes read and written as f_s and f_attn have."""
    both = torch.stack([source.detach(), attended]).requires_grad_()
    return Form(lambda: _Copied.apply(both), torch.ones_like(both), (both,), compared=False)


# ---------------------------------------------------------------- the generator


def generator(
    preset: str, batch: int = 1, device: torch.device | str = "cpu", seed: int = 0
) -> dict[str, Form]:
    """F then G of a preset, untrained, on procedural people.

    Args:
        preset: of `gfla.config.preset`.
        batch: pairs.
        device: where.
        seed: of the weights.

    Returns:
        {"literal", "ours", "one bilinear read": form}. The last is the same network with
        bilinear sampling in the place of local attention: what is left when attention costs
        next to nothing.
    """
    settings = configs.preset(preset).generator()
    drawn = people.pairs(batch, settings["size"], people.MEASURING_SEEDS)
    told = [drawn[key].to(device) for key in ("source", "source_pose", "target_pose")]
    torch.manual_seed(seed)
    model = GFLA(**settings).to(device)
    upstream = torch.randn_like(told[0])
    torch.manual_seed(seed)
    plain = GFLA(**settings | {"attention": "bilinear"}).to(device)
    forms = {}
    for name, network, which in (
        (LITERAL, model, "reference"), (OURS, tuned(model), ""), (BILINEAR, plain, ""),
    ):  # fmt: skip
        forms[name] = Form(
            _painting(network, told, which), upstream, tuple(network.parameters()),
            compared=name != BILINEAR,
        )  # fmt: skip
    return forms


def tuned(model: nn.Module) -> nn.Module:
    """A copy of a model as the library itself would run it."""
    twin = type(model)(**model.arguments)
    twin.load_state_dict(model.state_dict())
    return twin.to(next(model.parameters()).device).train(model.training)


def _painting(network: nn.Module, told: list[Tensor], which: str) -> Callable[[], Tensor]:
    def run() -> Tensor:
        network.train(torch.is_grad_enabled())
        with backend(which):
            return network(*told).image

    return run


# ---------------------------------------------------------------- a training step


class Trainee(NamedTuple):
    """A training that takes its steps one at a time, on one and the same batch."""

    step: Callable[[], dict[str, float]]  # gives the losses
    images: int  # target pictures a step


def trainees(
    preset: str,
    changes: Mapping[str, Mapping[str, object]],
    device: torch.device | str = "cpu",
    seed: int = 0,
    encoder: nn.Module | None = None,
) -> dict[str, Trainee]:
    """One training for each form, begun alike; stage 2, all losses.

    Args:
        preset: of `gfla.config.preset`.
        changes: form -> fields of the configuration that it sets otherwise. Those called "literal"
            and "literal, float32" run with the reference backend, others as the library chooses.
        device: where.
        seed: of weights and data.
        encoder: that the losses look through, instead of the configuration's. Each form gets a
            copy, because beginning lays out and compiles its networks in place.

    Returns:
        {form: Trainee}. How float32 is multiplied holds for the whole process, and is set anew
        before every step.
    """
    found = {}
    for name, own in changes.items():
        settings = configs.preset(preset, **own)
        place = torch.device(device)
        run = training.begin(settings, "full", seed, place, copy.deepcopy(encoder))
        batch = streams.batches(settings.data, seed, place)(0)
        which = "reference" if name in (LITERAL, LITERAL32) else ""
        found[name] = Trainee(_stepping(run, batch, which), settings.data.batch)
    return found


def _stepping(run: training.Training, batch: streams.Batch, which: str) -> Callable[[], dict]:
    def step() -> dict[str, float]:
        training._set_products(run.config.optim, run.device)
        with backend(which):
            return iterate(run, batch)

    return step
