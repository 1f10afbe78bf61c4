r"""What six losses ask of one picture, and how hard each one pulls: the experiments of notebook 03.

Truths that were spoiled on purpose show what each term sees; a short stage 2, trained term by term
through `gfla.train`, shows what each one adds; gradients of the shipped model show who pulls.
Nothing in here reads the truth; what came of it all is the subject of `verdict.py`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.optim import Adam

from gfla import journal, losses, passes, step, streams, train, viz
from gfla.checkpoint import load_model
from gfla.config import TERMS, Config, override, preset
from gfla.discriminator import Discriminator
from gfla.model import GFLA
from gfla.profiles import pick
from gfla.terms import generator_terms
from gfla.training import Training
from gfla.types import Image, Mask

COLORS = dict(
    zip(
        TERMS,
        (viz.SOURCE, viz.PALE, viz.GENERATED, viz.INK, viz.TARGET, viz.ATTENTION),
        strict=True,
    )
)
FLOW_TERMS = TERMS[:2]
RECIPES = {  # what the live stage 2 is trained with, one term more each time
    "L1": (*FLOW_TERMS, "l1"),
    "+ perceptual": (*FLOW_TERMS, "l1", "perceptual"),
    "+ style": (*FLOW_TERMS, "l1", "perceptual", "style"),
    "+ adversarial": TERMS,
}


@dataclass(frozen=True)
class Setting:
    """How large the experiments of notebook 03 are."""

    flow_steps: int = 20  # steps of the live stage 1
    full_steps: int = 20  # steps of each live stage 2
    side: int = 32  # pixels of its pictures
    batch: int = 2  # pairs per step of both
    learned_pairs: int = 16  # held-out pairs that judge it
    critic_steps: int = 40  # steps of the discriminator that is set on the shipped model
    pull_pairs: int = 4  # held-out pairs whose gradients are measured
    judge_pairs: int = 32  # held-out pairs that judge the shipped model


SETTINGS = {
    "smoke": Setting(),
    "cpu": Setting(
        flow_steps=60, full_steps=120, batch=4, learned_pairs=32, critic_steps=120, pull_pairs=8,
        judge_pairs=128,
    ),
    "gpu": Setting(
        flow_steps=2500, full_steps=4000, side=64, batch=8, learned_pairs=128, critic_steps=500,
        pull_pairs=16, judge_pairs=512,
    ),
}  # fmt: skip


def setting(profile: str) -> Setting:
    """The sizes of one profile; see `gfla.profiles.pick`."""
    return pick(SETTINGS, profile)


# ---------------------------------------------------------------- what each term sees


def blur(image: Image, side: int) -> Image:
    """The mean over side×side pixels (odd), those beyond the border left out.

    >>> blur(torch.ones(1, 3, 4, 4), 3).unique().tolist()
    [1.0]
    """
    return F.avg_pool2d(image, side, 1, side // 2, count_include_pad=False)


def spoil(target: Image, source: Image, seed: int = 0) -> dict[str, Image]:
    """The truth made wrong in six ways, each in one respect.

    Args:
        target: (B, 3, H, W) the truth.
        source: (B, 3, H, W), which "copied in place" shows instead.
        seed: of the noise and of the order of the tiles.

    Returns:
        name -> (B, 3, H, W). "tiles shuffled" cuts the picture into 4×4 equal tiles.
    """
    generator = torch.Generator().manual_seed(seed)
    height, width = target.shape[-2:]
    tiles = target.unflatten(2, (4, height // 4)).unflatten(4, (4, width // 4))
    tiles = tiles.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)  # (B, 16, 3, H/4, W/4)
    tiles = tiles[:, torch.randperm(16, generator=generator)].unflatten(1, (4, 4))
    noise = torch.randn(target.shape, generator=generator)
    return {
        "moved 1 px": torch.cat((target[..., :1], target[..., :-1]), -1),
        "blurred 3×3": blur(target, 3),
        "blurred 7×7": blur(target, 7),
        "noise": (target + 0.25 * noise).clamp(-1, 1),
        "tiles shuffled": tiles.permute(0, 3, 1, 4, 2, 5).reshape(target.shape),
        "copied in place": source,
    }


@torch.no_grad()
def image_terms(
    encoder: nn.Module, image: Image, target: Image, config: Config
) -> dict[str, float]:
    """L1, perceptual and style between two pictures, unweighted, as stage 2 computes them.

    Args:
        encoder: frozen features; the numbers are those of this encoder.
        image, target: (B, 3, H, W).
        config: which taps.
    """
    names = list(dict.fromkeys(config.features.perceptual_taps + config.features.style_taps))
    ours, true = encoder(image, names), encoder(target, names)
    return {
        "l1": float(losses.l1(image, target)),
        "perceptual": float(losses.perceptual(ours, true, config.features.perceptual_taps)),
        "style": float(losses.style(ours, true, config.features.style_taps)),
    }


# ---------------------------------------------------------------- what each term adds, live


class Trained(NamedTuple):
    """A short stage 2 that was really trained."""

    model: GFLA
    history: list[dict]  # one row a step, as in log.jsonl


def live_config(size: Setting) -> Config:
    """The `tiny` preset at the size of this profile: the configuration of the live training."""
    return preset(
        "tiny",
        **{
            "size": (size.side, size.side), "batch": size.batch,
            "flow.steps": size.flow_steps, "full.steps": size.full_steps, "ema": 0.0,
            "flow.lr": 2e-3, "full.lr": 2e-3, "checkpoint_every": 100_000,
        },
    )  # fmt: skip


def recipe(config: Config, terms: Sequence[str]) -> Config:
    """The configuration whose stage 2 keeps only these terms.

    Raises:
        ValueError: a term that is none.

    >>> recipe(preset("tiny"), ["l1"]).full.weights()
    {'l1': 5.0}
    """
    if unknown := sorted(set(terms) - set(TERMS)):
        raise ValueError(f"no term {', '.join(unknown)}: choose among {', '.join(TERMS)}")
    return override(config, {f"full.{name}": 0.0 for name in TERMS if name not in terms})


def train_recipes(
    config: Config, seed: int, device: str = "auto", progress: bool = False,
    recipes: Mapping[str, Sequence[str]] = RECIPES,
) -> dict[str, Trained]:  # fmt: skip
    """One stage 1, then a stage 2 per recipe that starts from it, by the shell command's calls.

    Args:
        config: say of `live_config`.
        seed: of weights and data, the same for all recipes.
        device: as `gfla.train.fit` takes it.
        progress: show bars.
        recipes: name -> terms.

    Returns:
        name -> Trained, models on the CPU. The folders are thrown away.
    """
    options = {"seed": seed, "device": device, "progress": progress}
    with tempfile.TemporaryDirectory() as folder:
        train.fit(config, "flow", Path(folder, "flow"), **options)
        found = {}
        for number, (name, terms) in enumerate(recipes.items()):
            out = Path(folder, f"full-{number}")
            train.fit(recipe(config, terms), "full", out, init=Path(folder, "flow"), **options)
            found[name] = Trained(load_model(out / journal.MODEL), journal.read(out))
        return found


def loss_table(row: Mapping[str, float], config: Config):
    """One line of log.jsonl as a table: per term λ, value, weighted value and share of the total.

    Args:
        row: of the log of a stage 2.
        config: of that run.

    Returns:
        pandas.DataFrame, a row per term.
    """
    import pandas

    weights = config.full.weights()
    rows = {
        name: {
            "λ": weight,
            "unweighted": row[name],
            "weighted": row[f"{name}_weighted"],
            "share": row[f"{name}_weighted"] / row["total"],
        }
        for name, weight in weights.items()
    }
    return pandas.DataFrame.from_dict(rows, orient="index")


@torch.no_grad()
def sharpness(image: Image, where: Mask) -> float:
    """Energy of the pixel gradients, Σ (∂x)² + (∂y)² over `where`: blur lowers it, noise raises it.

    >>> sharpness(torch.zeros(1, 3, 4, 4), torch.ones(1, 1, 4, 4))
    0.0
    """
    corner = image[..., :-1, :-1]
    right, down = image[..., :-1, 1:] - corner, image[..., 1:, :-1] - corner
    return float(((right.square() + down.square()) * where[..., :-1, :-1]).sum())


# ---------------------------------------------------------------- who pulls


def critic(
    model: GFLA, config: Config, steps: int, seed: int, rate: float = 1e-3, batches: int = 8
) -> tuple[Discriminator, list[float]]:
    """Train a discriminator against a model that stands still.

    The training's own discriminator is not shipped, and the adversarial term has no value without
    one. This one is younger, and quicker: its rate is ten times that of D in the `small` preset.

    Args:
        model: what it shall tell from the truth.
        config: sizes of D, size and batch of the data.
        steps: of Adam.
        seed: of its weights and of its training pairs.
        rate: learning rate.
        batches: number of training batches, rendered once and shown over and over.

    Returns:
        D in eval mode, and its loss before each step; ¼ or more says that it tells nothing.
    """
    device = next(model.parameters()).device
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        discriminator = Discriminator(**config.discriminator()).to(device)
    optimizer = Adam(discriminator.parameters(), rate, betas=config.optim.betas)
    make = streams.batches(config.data, seed, device)
    pairs = []
    for batch in map(make, range(min(batches, steps))):
        fake = model.render(batch["source"], batch["source_pose"], batch["target_pose"])
        pairs.append((batch["target"], fake))
    history = [
        float(step.step_d(discriminator, optimizer, *pairs[number % batches], config.optim.gan))
        for number in range(steps)
    ]
    return discriminator.eval(), history


class Pull(NamedTuple):
    """What one weighted term wants changed."""

    value: float  # unweighted
    weighted: float
    on_flow: float  # norm of its gradient by the weights of F
    on_renderer: float  # ... of G
    on_image: Tensor  # (B, h, w), norm over the colours of its gradient by each pixel
    direction: Tensor  # all its gradients by the weights, one vector


def pulls(
    model: GFLA, discriminator: Discriminator, encoder: nn.Module, batch: Mapping, config: Config
) -> dict[str, Pull]:
    """The gradient of every weighted term by the weights and by the picture.

    Args:
        model: where it stands now; nothing is changed.
        discriminator: that of the adversarial term.
        encoder: frozen features.
        batch: source, target, source_pose, target_pose.
        config: λ, taps and kinds of loss.

    Returns:
        term -> Pull.
    """
    config = override(config, {"precision": "float32"})
    training = Training(
        config, "full", 0, model, encoder, Adam(model.parameters()), discriminator=discriminator
    )
    done = passes.run(model, "full", batch, "people")
    terms = generator_terms(training, done)
    values = {name: float(term.detach()) for name, term in terms.items()}
    flow, renderer = list(model.flow.parameters()), list(model.renderer.parameters())
    found = {}
    for name, weight in config.full.weights().items():
        wanted = [done.image, *flow, *renderer]
        slopes = torch.autograd.grad(
            weight * terms[name], wanted, retain_graph=True, materialize_grads=True
        )
        on_flow, on_renderer = (
            torch.cat([slope.flatten() for slope in part])
            for part in (slopes[1 : 1 + len(flow)], slopes[1 + len(flow) :])
        )
        found[name] = Pull(
            values[name], weight * values[name], float(on_flow.norm()),
            float(on_renderer.norm()), slopes[0].norm(dim=1), torch.cat((on_flow, on_renderer)),
        )  # fmt: skip
    return found


def shares(found: Mapping[str, Pull]) -> dict[str, dict[str, float]]:
    """How the total divides among the terms: of the loss, and of the gradients' norms.

    Returns:
        "loss", "gradient by F's weights", "… by G's weights", "… by the image" -> term -> share;
        each sums to 1.
    """
    quantities = {
        "loss": {name: pull.weighted for name, pull in found.items()},
        "gradient by F's weights": {name: pull.on_flow for name, pull in found.items()},
        "gradient by G's weights": {name: pull.on_renderer for name, pull in found.items()},
        "gradient by the image": {name: float(p.on_image.norm()) for name, p in found.items()},
    }
    return {
        what: {name: value / sum(values.values()) for name, value in values.items()}
        for what, values in quantities.items()
    }


def agreement(found: Mapping[str, Pull]) -> dict[str, float]:
    """Cosine between each term's gradient by the weights and that of all the others together."""
    total = torch.stack([pull.direction for pull in found.values()]).sum(0)
    return {
        name: float(F.cosine_similarity(pull.direction, total - pull.direction, dim=0))
        for name, pull in found.items()
    }


def draw_shares(rows: Mapping[str, Mapping[str, float]]) -> Figure:
    """Draw shares that sum to 1 as one bar per row, the terms in their colours.

    Args:
        rows: row -> term -> share.
    """
    figure = Figure(figsize=(viz.WIDE, 0.65 + 0.33 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for place, parts in enumerate(rows.values()):
        left = 0.0
        for name, share in parts.items():
            label = name.replace("_", " ") if place == 0 else None
            axes.barh(place, share, 0.7, left, color=COLORS[name], label=label)
            if share >= 0.06:
                ink = viz.INK if COLORS[name] in (viz.PALE, viz.TARGET) else "white"
                axes.text(
                    left + share / 2, place, f"{share:.0%}", ha="center", va="center", color=ink
                )
            left += share
    axes.set_yticks(range(len(rows)), list(rows))
    axes.invert_yaxis()
    axes.set(xlim=(0, 1), xlabel="share of the sum over the terms")
    axes.grid(False)
    figure.legend(loc="outside upper center", ncols=6, columnspacing=1.0, handlelength=1.0)
    return figure
