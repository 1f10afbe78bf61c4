"""The cells of the ablation grid: what is trained with what, and after what.

Four models at equal budget, a seed after the other, then the variants. `gfla.ablate` trains and
judges them; the workflow asks here which may be trained at the same time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gfla import model
from gfla.ablation.ladder import MODELS, VARIANTS
from gfla.config import WITHOUT_FLOW, Config, override, preset


class Profile(NamedTuple):
    """How much of the grid is run, and how long."""

    preset: str
    changes: dict[str, Any]
    seeds: tuple[int, ...]
    variants: bool  # the losses as well
    pairs: int  # held-out pairs that judge a run


class Run(NamedTuple):
    """One cell of the grid."""

    name: str  # "full", or "full-without-affine": its folder and its record, before the seed
    model: str  # of MODELS
    variant: str  # of VARIANTS, "" for the ladder's own
    seed: int
    config: Config
    begins: str | None  # what it begins with, without the seed: a stage 1, a model that goes on


class Job(NamedTuple):
    """What can be trained by itself: a cell of the grid, or a stage 1 that cells share."""

    name: str  # "full-1", "flow-1": the folder it is trained in
    stage: str  # "flow" or "full"
    run: Run  # the cell; of a stage 1, the first cell that begins with it
    after: str | None  # the job that must be finished before


class Variant(NamedTuple):
    """What is otherwise than on the ladder."""

    model: str  # of MODELS
    changes: dict[str, Any]  # of both stages
    begins: str | None  # the stage 1, or the model of the ladder, that it begins with


_MINUTES = {"sample_every": 0, "log_every": 5, "checkpoint_every": 50, "measure_every": 0}
_HOURS = {"sample_every": 300, "checkpoint_every": 200, "measure_every": 150}
PROFILES = {
    "smoke": Profile("tiny", {"flow.steps": 2, "full.steps": 2}, (1,), False, 4),
    "cpu": Profile("small", {"flow.steps": 100, "full.steps": 60} | _MINUTES, (1,), False, 64),
    "recorded": Profile(
        "small", {"flow.steps": 1000, "full.steps": 600} | _HOURS, (1, 2, 3), True, 256
    ),
}
# Without a stage 1 there is no flow to protect in stage 2: F learns as fast as G.
ALONE = {"full.sampling_correctness": 0.0, "optim.flow_lr_ratio": 1.0}
FREE = {  # the paper's stage 2: nothing holds the flow back but smaller losses of its own
    "optim.flow_lr_ratio": 1.0,
    "full.sampling_correctness": 5.0,
    "full.affine_regularization": 0.0025,
}
NO_AFFINE = {"flow.affine_regularization": 0.0, "full.affine_regularization": 0.0}
CHANGES = {  # of ladder.VARIANTS
    "without-correctness": Variant("full", ALONE, None),
    "without-affine": Variant("full", NO_AFFINE, "flow-without-affine"),
    "bilinear-loss": Variant("full", {"optim.sampling": "bilinear"}, "flow-bilinear-loss"),
    "without-pretraining": Variant("full", {"optim.flow_lr_ratio": 1.0}, None),
    "fast-kernels": Variant("full", {"optim.kernel_lr_ratio": 1.0}, "flow"),
    "slow-kernels": Variant("full", {"optim.kernel_lr_ratio": 0.02}, "flow"),
    "free-flow": Variant("full", FREE, "flow"),
    "longer": Variant("full", {}, "full"),
    "bilinear-without-correctness": Variant("bilinear", ALONE, None),
    "bilinear-free-flow": Variant("bilinear", FREE, "flow"),
    "bilinear-longer": Variant("bilinear", {}, "bilinear"),
}
KERNELS = {"optim.kernel_lr_ratio": 0.1}  # see `configure`
FRESH = 10  # a model that goes on sees the people of this many seeds further
NO_FLOW_LOSSES = {"full.sampling_correctness": 0.0, "full.affine_regularization": 0.0}


def configure(base: Config, name: str, changes: Mapping[str, Any] | None = None) -> Config:
    """The configuration of one model of the ladder: `base`, and what the idea demands.

    Args:
        base: of the full model.
        name: of `gfla.attention.WAYS`.
        changes: more fields, such as those of a `Variant`.

    Returns:
        A configuration with as many parameters as the full one (`gfla.model.even`), masks that
        begin where source and target weigh alike, and the losses that apply.

    Masks: local attention divides by n² (docs/spec.md 2.4), so its share of the sum is even at
    n² / (1 + n²); the other ways divide by nothing, and begin at 1/2.

    Kernel nets: the full model's learn ten times slower than its renderer, at the paper's rate,
    chosen after a first training at the renderer's; the variants "fast-kernels" and "slow-kernels"
    measure what a rate is worth.

    >>> configure(preset("small"), "baseline").full.weights()
    {'l1': 20.0, 'adversarial': 1.0, 'perceptual': 0.5, 'style': 250.0}
    """
    changes = dict(changes or {})
    if name == "full":
        return override(base, KERNELS | changes)
    even = model.even(base.generator() | {"attention": name})
    own = {"attention": name, "mask_start": 0.5, "base": even["base"], "cap": even["cap"]}
    return override(base, own | (NO_FLOW_LOSSES if name in WITHOUT_FLOW else {}) | changes)


def grid(profile: str = "recorded", seeds: Sequence[int] = ()) -> list[Run]:
    """The runs of a profile, one seed after the other, so that an early stop leaves whole seeds.

    Args:
        profile: of `PROFILES`.
        seeds: instead of the profile's own.

    Raises:
        ValueError: an unknown profile.

    >>> [f"{run.name}-{run.seed}" for run in grid("smoke")]
    ['baseline-1', 'global-1', 'bilinear-1', 'full-1']
    """
    if profile not in PROFILES:
        raise ValueError(f"unknown profile {profile!r}: choose one of {', '.join(PROFILES)}")
    chosen = PROFILES[profile]
    base = preset(chosen.preset, **chosen.changes)
    models = {name: configure(base, name) for name in MODELS}  # once: to even them takes a while
    runs = []
    for seed in tuple(seeds) or chosen.seeds:
        for name, config in models.items():
            begins = None if name in WITHOUT_FLOW else "flow"
            runs.append(Run(name, name, "", seed, config, begins))
    for variant in VARIANTS if chosen.variants else ():
        kind, changes, begins = CHANGES[variant]
        name = variant if variant.startswith(f"{kind}-") else f"{kind}-{variant}"
        seed = (tuple(seeds) or chosen.seeds)[0]
        runs.append(Run(name, kind, variant, seed, configure(base, kind, changes), begins))
    return runs


def jobs(profile: str = "recorded", seeds: Sequence[int] = ()) -> list[Job]:
    """The runs of a profile and the stages 1 they share, each after what it begins with.

    Args:
        profile: of `PROFILES`.
        seeds: instead of the profile's own.

    Raises:
        ValueError: an unknown profile.

    >>> [(job.name, job.after) for job in jobs("smoke")][1:4]
    [('global-1', None), ('flow-1', None), ('bilinear-1', 'flow-1')]
    """
    found: dict[str, Job] = {}
    for run in grid(profile, seeds):
        first = f"{run.begins}-{run.seed}" if run.begins else None
        if first and run.begins not in MODELS:
            found.setdefault(first, Job(first, "flow", run, None))
        name = f"{run.name}-{run.seed}"
        found[name] = Job(name, "full", run, first)
    return list(found.values())
