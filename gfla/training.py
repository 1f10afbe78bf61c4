"""What changes while training: the networks, what trains them, and how a run at step 0 has them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam

from gfla import distributed, passes
from gfla import model as models
from gfla.config import Config, OptimConfig, StageConfig
from gfla.discriminator import Discriminator, TemporalDiscriminator
from gfla.features import load_features
from gfla.passes import Pass
from gfla.streams import Batch

CLASSES = {  # kind of model: its class
    "people": "GFLA", "views": "Views", "appearance": "AppearanceFlow", "animation": "Animation"
}  # fmt: skip
ON_FLOWS = ("sampling_correctness", "affine_regularization")  # losses that see no picture


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
    wrapped: dict[str, nn.Module] = field(default_factory=dict)  # by `spread`, among processes

    @property
    def settings(self) -> StageConfig:
        """Length, learning rate and weights of this stage."""
        return self.config.stage(self.stage)

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return next(self.model.parameters()).device

    def precision(self) -> torch.autocast:
        """The context in which networks run; losses, flow heads and weights stay float32."""
        low = self.config.optim.precision == "bfloat16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=low)

    def laid(self, batch: Batch) -> Batch:
        """What the model reads of a batch, laid out as its networks read pictures."""
        batch = {name: batch[name] for name in passes.inputs(self.config.model.kind)}
        if not channels_last(self.config.optim, self.device):
            return batch
        plane = {"memory_format": torch.channels_last}
        return {name: v.contiguous(**plane if v.ndim == 4 else {}) for name, v in batch.items()}

    def ask(self, batch: Batch) -> Pass:
        """One pass of the model over a batch, in the precision of the run."""
        with self.precision():
            if "model" in self.wrapped:
                return self.wrapped["model"](batch)
            return passes.run(self.model, self.stage, batch, self.config.model.kind)

    @property
    def trained(self) -> nn.Module:
        """The network that this stage trains."""
        return self.model.flow if self.stage == "flow" else self.model

    @property
    def best(self) -> nn.Module:
        """The model to look at: averaged where the configuration averages."""
        return self.average if self.average is not None else self.model


def begin(
    config: Config,
    stage: str,
    seed: int = 0,
    device: torch.device | str = "cpu",
    encoder: nn.Module | None = None,
) -> Training:
    """A run at step 0, ready for `gfla.step.iterate`.

    Args:
        config: every number of the run.
        stage: "flow" or "full".
        seed: of the initial weights; sets torch's generator.
        device: where the networks are wanted. On CUDA, Adam is fused, and how float32 is multiplied
            (`optim.precision`) is set for the whole process.
        encoder: frozen feature network, instead of the configuration's.

    Returns:
        a `Training`, which `iterate(training, batch)` changes in place.

    Raises:
        ValueError: an unknown stage, or CUDA graphs on another device.
    """
    settings, optim = config.stage(stage), config.optim
    device = torch.device(device)
    _set_products(optim, device)
    torch.manual_seed(seed)
    adam = partial(Adam, lr=settings.lr, betas=optim.betas, fused=device.type == "cuda" or None)
    model = models.KINDS[CLASSES[config.model.kind]](**config.generator())
    encoder = load_features(config.features.name) if encoder is None else encoder
    place = partial(_placed, device=device, last=channels_last(optim, device))
    model = place(model)
    groups = [{"params": list(model.flow.parameters())}]
    if stage == "full":
        groups = _shares(model, optim)
    training = Training(
        config=config,
        stage=stage,
        seed=seed,
        model=model,
        encoder=place(encoder).requires_grad_(False).eval(),
        optimizer=adam(groups),
    )
    if "adversarial" in settings.weights():
        training.discriminator = place(Discriminator(**config.discriminator()))
        training.d_optimizer = adam(training.discriminator.parameters())
    if "temporal" in settings.weights():
        volume = config.model.d_video == "volume"
        judge = TemporalDiscriminator if volume else partial(Discriminator, channels=6)
        training.temporal = place(judge(**config.discriminator()))
        training.t_optimizer = adam(training.temporal.parameters())
    if optim.ema:
        training.average = copy.deepcopy(model).requires_grad_(False)
    _compile(training)
    return training


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


def spread(training: Training, batch: Batch) -> None:
    """Have the processes of `gfla.distributed` average the gradients of a run; alone, do nothing.

    Args:
        training: `wrapped` is filled; what it holds is called where gradients are wanted.
        batch: any batch. Its first row tells which parameters the losses of this stage reach: the
            masks in stage "flow" and the last block of a source encoder may be out of reach, and
            nobody must wait for their gradients.
    """
    if distributed.world() == 1:
        return
    asking = _Asking(training)
    row = {name: values[:1] for name, values in training.laid(batch).items()}
    # What is compiled is compiled for the parts of a batch, not for this row.
    compiled = training.config.optim.compile != "off"
    eager = torch.compiler.set_stance("force_eager") if compiled else nullcontext()
    with training.precision(), eager:
        done = asking(row)
    names = set(training.settings.weights())
    made = [flow for judged in done.judged for flow in judged.flows if names & set(ON_FLOWS)]
    made += [done.image] if names - set(ON_FLOWS) else []
    trained = list(training.trained.parameters())
    slopes = torch.autograd.grad(sum(one.sum() for one in made), trained, allow_unused=True)
    reached = [one for one, slope in zip(trained, slopes, strict=True) if slope is not None]
    training.wrapped["model"] = distributed.wrapped(asking, reached)
    for name, (judge, _, _) in judges(training).items():
        training.wrapped[name] = distributed.wrapped(judge)


class _Asking(nn.Module):
    """A model together with the way it is asked: one call, as a wrapper of networks wants it."""

    def __init__(self, training: Training):
        super().__init__()
        self.model, self.told = training.model, (training.stage, training.config.model.kind)

    def forward(self, batch: Batch) -> Pass:
        stage, kind = self.told
        return passes.run(self.model, stage, batch, kind)


def channels_last(optim: OptimConfig, device: torch.device) -> bool:
    """Whether pictures and weights lie with their channels side by side, as a GPU reads them."""
    return optim.layout == "channels_last" or (optim.layout == "auto" and device.type == "cuda")


def _placed(network: nn.Module, device: torch.device, last: bool) -> nn.Module:
    network = network.to(device)
    if last and all(one.ndim != 5 for one in network.parameters()):  # a clip's have another layout
        network = network.to(memory_format=torch.channels_last)
    return network


def _set_products(optim: OptimConfig, device: torch.device) -> None:
    """How a GPU multiplies float32: exactly, or fast where the configuration does without."""
    if device.type == "cuda":
        fast = optim.precision != "float32"
        torch.set_float32_matmul_precision("high" if fast else "highest")
        torch.backends.cudnn.allow_tf32 = fast


def _compile(training: Training) -> None:
    """Compile generator and encoder in place; names, weights and files stay as they are."""
    how = training.config.optim.compile
    if how == "off":
        return
    if how == "graphs" and training.device.type != "cuda":
        raise ValueError(
            f"compile='graphs' needs a CUDA device, not {training.device}: use default"
        )
    mode = {"default": None, "graphs": "reduce-overhead"}[how]
    # Not the discriminators: they are called twice before one backward pass, and the compiled form
    # saves for it the very buffers of the spectral norms that the second call moves. Nor, on a CPU,
    # the renderer: torch 2.13 returns the gradient of replicate padding channels-last and has told
    # the compiler that it would be contiguous.
    cuda = training.device.type == "cuda"
    for network in (training.trained if cuda else training.model.flow, training.encoder):
        network.compile(mode=mode)


def _shares(model: nn.Module, optim: OptimConfig) -> list[dict[str, Any]]:
    """The parameters of stage 2 in groups, each with its share of the learning rate."""
    named = [row for row in model.named_parameters() if not row[0].startswith("flow.")]
    kernels = [one for name, one in named if "kernel_net" in name]
    others = [one for name, one in named if "kernel_net" not in name]
    groups = [{"params": list(model.flow.parameters()), "share": optim.flow_lr_ratio}]
    if not named:  # appearance flow: the picture hangs on the flow alone, which learns at full rate
        return [{"params": groups[0]["params"]}]
    if optim.kernel_lr_ratio == 1.0:
        return [*groups, {"params": [one for _, one in named]}]
    return [*groups, {"params": others}, {"params": kernels, "share": optim.kernel_lr_ratio}]
