"""Every number that a training run depends on: frozen dataclasses, named presets, one digest.

The defaults are the paper's DeepFashion setting (docs/spec.md, sections 1, 5.5 and 6). Networks
take plain arguments and never see a `Config`; only the trainer and the command line read it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field, fields, replace

from gfla.fields import coerce, locate
from gfla.presets import overrides

Pairs = tuple[tuple[int, int], ...]
Taps = tuple[tuple[int, str], ...]
WITHOUT_FLOW = ("global", "baseline")  # the ways of the ablation that no flow guides
# What is trained, and the fields of ModelConfig that only this kind of model knows.
KINDS = {
    "people": (), "views": ("code",), "appearance": ("code",), "animation": ("flows", "memory")
}  # fmt: skip
HOMES = {"people": "people", "objects": "views", "clips": "animation", "portraits": "animation"}
CHOICES = {  # words that a field of OptimConfig may hold
    "gan": ("lsgan", "hinge"),
    "sampling": ("gaussian", "bilinear"),
    "precision": ("float32", "tf32", "bfloat16"),
    "compile": ("off", "default", "graphs"),
    "layout": ("auto", "contiguous", "channels_last"),
}
TRAINERS = ("people", "objects", "vgg19")  # encoders that losses may look through
OF_RENDERER = ("base", "cap", "depth", "hidden", "attention", "true_colors")
LEVEL_TAPS = ((3, "relu4_1"), (2, "relu3_1"), (1, "relu2_1"))
PERCEPTUAL_TAPS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
STYLE_TAPS = ("relu2_2", "relu3_4", "relu4_4", "relu5_2")
TERMS = (
    "sampling_correctness",
    "affine_regularization",
    "l1",
    "adversarial",
    "perceptual",
    "style",
)


@dataclass(frozen=True)
class ModelConfig:
    """The plain arguments of the generator and of the discriminator."""

    kind: str = "people"  # "people", "views", "appearance" (flow, no renderer) or "animation"
    pose_channels: int = 18  # maps per pose, or numbers per view; paper 18 (OpenPose), 21 (views)
    code: str = "published"  # views: how the code enters, "published" or "canvas"; paper published
    flows: str = "two"  # animation: "two" flow nets, or "one" for both sources; paper two, face one
    memory: bool = True  # animation: the previous picture is known; paper True
    flow_base: int = 32  # channels of F after its first block; paper 32
    flow_cap: int = 256  # most channels in F; paper 256
    flow_depth: int = 5  # halvings in F, H and W divide by 2**flow_depth; paper 5
    base: int = 64  # channels of G after its first block; paper 64
    cap: int = 512  # most channels in G; paper 512
    depth: int = 3  # halvings in G; paper 3
    kernel_sizes: Pairs = ((3, 3), (2, 5))  # (level, n) of each attention; paper 3: 3, 2: 5
    hidden: int = 128  # width of the kernel net in each attention; paper 128
    mask_start: float = 0.5  # masks at first; n²/(1 + n²) offsets the attention's 1/n²; paper 0.5
    true_colors: bool = False  # no norms in the source encoder's first block; paper False
    attention: str = "full"  # "full", or "bilinear", "global", "baseline" (ablation); paper full
    d_base: int = 32  # channels of D after its first block; paper 32
    d_cap: int = 128  # most channels in D; paper 128
    d_depth: int = 4  # halvings in D; paper 4, Market-1501 3
    d_video: str = "volume"  # D of clips: "volume" or "differences"; paper both


@dataclass(frozen=True)
class DataConfig:
    """Where the pairs come from."""

    size: tuple[int, int] = (256, 256)  # (H, W) in pixels; paper 256x256, Market-1501 128x64
    source: str = "people"  # "people", "objects", "clips", "portraits", or a folder
    batch: int = 8  # pairs or clips per step, over all processes; paper 8, clips 2
    frames: int = 6  # of a clip; paper 6
    prefetch: int = 1  # batches made ahead by a thread, 0 = none; changes no number


@dataclass(frozen=True)
class FeatureConfig:
    """The frozen encoder that the losses look through."""

    name: str = "vgg19"  # "people" (shipped, small) or "vgg19"; paper vgg19
    correctness_taps: Taps = LEVEL_TAPS  # tap that judges the flow of each level; paper same
    perceptual_taps: tuple[str, ...] = PERCEPTUAL_TAPS  # taps of L_p; paper same
    style_taps: tuple[str, ...] = STYLE_TAPS  # taps of L_s; paper same


@dataclass(frozen=True)
class StageConfig:
    """One stage: its length, its learning rate and the weight of every loss term."""

    steps: int  # optimiser steps; paper "until converged", 5,000,000 nominal
    lr: float = 1e-4  # Adam's step of F and G; paper 1e-4
    schedule: str = "constant"  # "constant" or "cosine" down to final_lr; paper constant
    final_lr: float = 0.05  # end of the cosine as a share of lr; paper none
    warmup: int = 0  # steps of linear rise of the learning rate; paper 0
    sampling_correctness: float = 0.0  # lambda_c; paper 20 in stage 1, 5 in stage 2
    affine_regularization: float = 0.0  # lambda_r; paper 0.01 in stage 1, 0.0025 in stage 2
    l1: float = 0.0  # lambda_l1; paper 5 in stage 2
    adversarial: float = 0.0  # lambda_a; paper 2 in stage 2
    perceptual: float = 0.0  # lambda_p; paper 0.5 in stage 2
    style: float = 0.0  # lambda_s; paper 500 in stage 2
    temporal: float = 0.0  # of L_a over several frames; paper 2 for clips

    def weights(self) -> dict[str, float]:
        """The lambdas that are not zero, by the name of their loss."""
        names = (*TERMS, "temporal")
        return {name: getattr(self, name) for name in names if getattr(self, name)}


@dataclass(frozen=True)
class OptimConfig:
    """What both stages share."""

    betas: tuple[float, float] = (0.0, 0.999)  # Adam, floats: torch refuses (0, 0.999); paper same
    flow_lr_ratio: float = 1.0  # learning rate of F over that of G in stage 2; paper 1
    kernel_lr_ratio: float = 1.0  # the same for the kernel nets of local attention; paper 1
    d_lr_ratio: float = 0.1  # learning rate of D over that of G; paper 0.1
    gan: str = "lsgan"  # "lsgan" or "hinge"; paper lsgan
    sampling: str = "gaussian"  # how sampling correctness reads the source; paper gaussian
    precision: str = "float32"  # "float32", "tf32", or "bfloat16" for the networks; paper float32
    accumulate: int = 1  # parts that a batch is taken in, one after the other; paper 1
    compile: str = "off"  # torch.compile: "off", "default" or "graphs" (CUDA graphs); paper off
    layout: str = "auto"  # "contiguous", "channels_last", or "auto": that on CUDA; paper contiguous
    clip: float = 0.0  # largest gradient norm of the generator, 0 = no clipping; paper none
    ema: float = 0.0  # decay of the averaged weights, 0 = off; paper off
    outside_limit: float = 0.5  # largest sane share of flow out of the picture; paper no guard
    outside_patience: int = 100  # steps in a row beyond it before the run stops; paper no guard


@dataclass(frozen=True)
class LogConfig:
    """How often something is written; no number of the training depends on it."""

    log_every: int = 10  # steps between lines of log.jsonl
    sample_every: int = 1000  # steps between sample strips, 0 = none
    checkpoint_every: int = 1000  # steps between saved states; paper 1000
    measure_every: int = 1000  # steps between measurements against the truth, 0 = none
    measure_pairs: int = 64  # held-out procedural pairs in a measurement


def _flow_stage() -> StageConfig:
    return StageConfig(steps=200_000, sampling_correctness=20.0, affine_regularization=0.01)


def _full_stage() -> StageConfig:
    return StageConfig(
        steps=500_000,
        sampling_correctness=5.0,
        affine_regularization=0.0025,
        l1=5.0,
        adversarial=2.0,
        perceptual=0.5,
        style=500.0,
    )


@dataclass(frozen=True)
class Config:
    """A whole run: model, data, features, both stages, optimiser, log.

    Example:
        >>> preset("market").data.size
        (128, 64)
        >>> preset("small", **{"flow.lr": 1e-3, "batch": 4}).flow.lr
        0.001
    """

    preset: str = "fashion"  # the preset that this configuration began as
    model: ModelConfig = field(default_factory=ModelConfig)  # networks
    data: DataConfig = field(default_factory=DataConfig)  # pairs
    features: FeatureConfig = field(default_factory=FeatureConfig)  # frozen encoder
    flow: StageConfig = field(default_factory=_flow_stage)  # stage 1, flow estimator alone
    full: StageConfig = field(default_factory=_full_stage)  # stage 2, everything
    optim: OptimConfig = field(default_factory=OptimConfig)  # optimiser and guards
    log: LogConfig = field(default_factory=LogConfig)  # writing

    def __post_init__(self):
        _check(self)

    def stage(self, name: str) -> StageConfig:
        """The stage called `name`, "flow" or "full".

        Raises:
            ValueError: for another name.
        """
        if name not in STAGES:
            raise ValueError(f"unknown stage {name!r}: choose one of {', '.join(STAGES)}")
        return getattr(self, name)

    def generator(self) -> dict:
        """The plain arguments of the class of this kind of model, such as `gfla.model.GFLA`."""
        others = {name for names in KINDS.values() for name in names} - set(KINDS[self.model.kind])
        shapes = {
            f.name: getattr(self.model, f.name)
            for f in fields(self.model)
            if not f.name.startswith("d_") and f.name not in others | {"kind"}
        }
        if self.model.kind in ("views", "appearance"):
            shapes["view_channels"] = shapes.pop("pose_channels")
        if self.model.kind == "appearance":
            shapes = {k: v for k, v in shapes.items() if k not in OF_RENDERER}
        return shapes | {"size": self.data.size, "kernel_sizes": dict(self.model.kernel_sizes)}

    def discriminator(self) -> dict:
        """The plain arguments of `gfla.discriminator.Discriminator`."""
        model = self.model
        return {"base": model.d_base, "cap": model.d_cap, "depth": model.d_depth}

    def to_dict(self) -> dict:
        """Nested plain dict, ready for JSON; `from_dict` is its inverse."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    def digest(self) -> str:
        """12 hexadecimal digits that change when any field changes.

        Fields younger than the first recorded runs count once they leave the value that those runs
        had without knowing it, so that their digests stay true.
        """
        known = self.to_dict()
        for name, value in YOUNGER.items():
            section, leaf = name.split(".")
            if known[section][leaf] == value:
                del known[section][leaf]
        text = json.dumps(known, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


STAGES = ("flow", "full")
YOUNGER = {  # field: the value that it had before it was one
    "optim.kernel_lr_ratio": 1.0,
    "optim.accumulate": 1,
    "optim.compile": "off",
    "optim.layout": "auto",
    "model.kind": "people",
    "model.code": "published",
    "model.flows": "two",
    "model.memory": True,
    "model.d_video": "volume",
    "data.frames": 6,
    "flow.temporal": 0.0,
    "full.temporal": 0.0,
}


def preset(name: str, **changes) -> Config:
    """A named configuration, with single fields replaced.

    Args:
        name: "tiny" (tests, seconds), "small" (64 px, a laptop; other sizes by `size=128`),
            "fashion" (256x256) or "market" (128x64), the last two as published. Of other tasks,
            small: "views" and "appearance" (objects), "video" (people), "face"; as published, from
            a folder: "shapenet", "dance".
        changes: `field=value` where the field's name is unique, otherwise `**{"flow.lr": 1e-3}`.
            Values may be texts, as they come from a command line.

    Returns:
        a `Config`, checked.

    Raises:
        ValueError: unknown preset or field, or a value that cannot work; the message lists choices.
    """
    presets = overrides()
    if name not in presets:
        raise ValueError(f"unknown preset {name!r}: choose one of {', '.join(sorted(presets))}")
    return override(override(Config(preset=name), presets[name]), changes)


def override(config: Config, changes: dict) -> Config:
    """A copy of `config` with `changes`, a dict of flat or dotted field names, applied together."""
    grouped = {}
    for key, value in changes.items():
        section, one = locate(config, key)
        grouped.setdefault(section, {})[one.name] = coerce(key, one.type, value)
    parts = {part: replace(getattr(config, part), **new) for part, new in grouped.items()}
    return replace(config, **parts)


def from_dict(values: dict) -> Config:
    """The configuration that `Config.to_dict` wrote, say read from a run's config.json."""
    sections = {part: leaves for part, leaves in values.items() if part != "preset"}
    flat = {f"{part}.{leaf}": v for part, leaves in sections.items() for leaf, v in leaves.items()}
    return override(Config(preset=values.get("preset", "fashion")), flat)


def pick_device(name: str = "auto"):
    """The torch device to compute on; "auto" is CUDA, then MPS, then CPU.

    Raises:
        ValueError: the named device is unknown or not available here.
    """
    import torch

    available = ["cpu"]
    if torch.backends.mps.is_available():
        available.insert(0, "mps")
    if torch.cuda.is_available():
        available.insert(0, "cuda")
    if name == "auto":
        return torch.device(available[0])
    if name.split(":")[0] not in available:
        raise ValueError(f"device {name!r} is not available here: use auto or {available}")
    return torch.device(name)


def _need(good: bool, text: str) -> None:
    """Refuse a configuration that is not `good`, with `text`."""
    if not good:
        raise ValueError(text)


def _check(config: Config) -> None:
    """Refuse what could only fail later, or silently mean something else."""
    model, size = config.model, config.data.size
    stride = 2 ** max(model.flow_depth, model.depth)
    _need(len(size) == 2 and min(size) > 0, f"size={size!r}: expected (H, W) in pixels")
    _need(
        all(s % stride == 0 for s in size),
        f"size={size!r}: H and W must divide by {stride} (2**depth); change size or flow_depth",
    )
    levels = [level for level, _ in model.kernel_sizes]
    _need(
        levels and all(1 <= level <= model.depth for level in levels),
        f"kernel_sizes={model.kernel_sizes!r}: levels lie in 1..depth={model.depth}",
    )
    _need(
        max(levels) < model.flow_depth,
        f"kernel_sizes={model.kernel_sizes!r}: levels lie below flow_depth={model.flow_depth}",
    )
    missing = set(levels) - {level for level, _ in config.features.correctness_taps}
    _need(not missing, f"correctness_taps lack the level(s) {sorted(missing)} of kernel_sizes")
    _need(config.data.batch >= 1, f"batch={config.data.batch}: expected at least 1")
    _check_kind(config)
    name = config.features.name
    _need(
        name in TRAINERS,
        f"features.name={name!r}: losses look through {' or '.join(TRAINERS)}; what judges must "
        "not train",
    )
    _check_optim(config)
    for name in ("log_every", "checkpoint_every"):
        value = getattr(config.log, name)
        _need(value >= 1, f"{name}={value}: expected at least 1")
    _check_stages(config)


def _check_optim(config: Config) -> None:
    """Refuse unknown words, and parts of a batch that differ."""
    optim, batch = config.optim, config.data.batch
    for name, choices in CHOICES.items():
        value, others = getattr(optim, name), ", ".join(choices[:-1])
        _need(value in choices, f"{name}={value!r}: choose {others} or {choices[-1]}")
    _need(
        optim.accumulate >= 1 and batch % optim.accumulate == 0,
        f"accumulate={optim.accumulate}: expected 1 or more parts of one size, batch={batch} has "
        "to divide by it",
    )
    _need(
        optim.compile != "graphs" or optim.accumulate == 1,
        f"compile='graphs' with accumulate={optim.accumulate}: a CUDA graph writes the next part's "
        "results where those of the last one are still wanted; choose compile='default'",
    )
    _need(0 <= optim.ema < 1, f"ema={optim.ema}: expected 0 (off) or a decay below 1")
    _need(0 < optim.outside_limit <= 1, f"outside_limit={optim.outside_limit}: expected (0, 1]")


def _check_kind(config: Config) -> None:
    """Refuse fields that this kind of model does not know, and data that it cannot take."""
    model, data = config.model, config.data
    _need(model.kind in KINDS, f"kind={model.kind!r}: choose one of {', '.join(KINDS)}")
    foreign = {name for names in KINDS.values() for name in names} - set(KINDS[model.kind])
    usual = ModelConfig()
    for name in sorted(foreign):
        value = getattr(model, name)
        _need(value == getattr(usual, name), f"{name}={value!r}: a {model.kind!r} model has none")
    home = next((kind for source, kind in HOMES.items() if source == data.source), None)
    fits = home is None or home == model.kind or (home, model.kind) == ("views", "appearance")
    _need(fits, f"source={data.source!r} has nothing for a {model.kind!r} model: change source")
    _need(data.frames >= 1, f"frames={data.frames}: expected at least 1")
    least = {"differences": 3, "volume": 6}
    _need(model.d_video in least, f"d_video={model.d_video!r}: choose one of {', '.join(least)}")
    _need(
        not config.full.temporal or data.frames >= least[model.d_video],
        f"frames={data.frames}: d_video={model.d_video!r} looks at {least[model.d_video]} at once",
    )
    for name in STAGES:
        _need(
            not config.stage(name).temporal or model.kind == "animation",
            f"{name}.temporal: only the clips of an animation have a course of time; set it to 0",
        )


def _check_stages(config: Config) -> None:
    """Refuse losses that a stage or a model cannot have, and stages that cannot run."""
    model = config.model
    picture = set(config.flow.weights()) - {"sampling_correctness", "affine_regularization"}
    _need(not picture, f"stage flow makes no picture: set its {sorted(picture)} to 0")
    judged = set(config.full.weights()) & {"sampling_correctness", "affine_regularization"}
    _need(
        not judged or model.attention not in WITHOUT_FLOW,
        f"attention={model.attention!r} has no flow to judge: set "
        f"{' and '.join(f'full.{name}' for name in sorted(judged))} to 0",
    )
    for name in STAGES:
        stage = config.stage(name)
        _need(bool(stage.weights()), f"stage {name} has no loss: give one of {TERMS} a weight")
        _need(stage.steps >= 1, f"{name}.steps={stage.steps}: expected at least 1")
        _need(stage.lr > 0, f"{name}.lr={stage.lr}: expected a positive number")
        _need(
            stage.schedule in ("constant", "cosine"),
            f"{name}.schedule={stage.schedule!r}: choose constant or cosine",
        )
