r"""The experiments of notebook 02: what stage 1 is told, and what it can learn from that.

Toys first, whose answers can be worked out by hand: features that name positions, so that the
sampling correctness of every flow is known in advance, and a hole in them, which only the affine
regularisation can fill. Then procedural people, whose true flow places probes and judges results.
No loss in here looks at it, and the live training goes through `gfla.train` like any other.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor, nn

from gfla import journal, losses, train, viz
from gfla.checkpoint import load_model
from gfla.config import Config, preset
from gfla.encoder import SmallEncoder
from gfla.metrics import upsample_flow
from gfla.model import GFLA
from gfla.pretrain import LEVELS
from gfla.profiles import pick
from gfla.sampling import warp
from gfla.types import Features, Flow, Mask, Output


@dataclass(frozen=True)
class Setting:
    """How large the experiments of notebook 02 are."""

    hole_side: int = 20  # positions per side of the toy with a hole
    fill_steps: int = 400  # steps of descent on its flow
    match_pairs: int = 16  # held-out pairs on which features are compared
    train_steps: int = 140  # steps of the live stage 1
    train_batch: int = 4  # pairs per step of it
    train_levels: tuple[int, ...] = (3, 2)  # of its flow; the small preset has a third, finer one
    judge_pairs: int = 16  # held-out pairs that judge it, and the shipped model
    shown: tuple[int, ...] = (0, 1, 2, 3)  # which held-out pairs are drawn


SETTINGS = {
    "smoke": Setting(),
    "cpu": Setting(
        fill_steps=800, match_pairs=48, train_steps=300, train_batch=8, judge_pairs=64
    ),
    "gpu": Setting(
        hole_side=32, fill_steps=1600, match_pairs=256, train_steps=3000, train_batch=16,
        train_levels=(3, 2, 1), judge_pairs=256,
    ),
}  # fmt: skip


def setting(profile: str) -> Setting:
    """The sizes of one profile; see `gfla.profiles.pick`."""
    return pick(SETTINGS, profile)


# ---------------------------------------------------------------- features that name positions


def one_hot(side: int) -> Features:
    """Features by which every position is like itself and like nothing else.

    Args:
        side: positions per side.

    Returns:
        (1, side², side, side): channel k is 1 at position k.

    >>> int(one_hot(3).sum())
    9
    """
    return torch.eye(side**2).reshape(1, side**2, side, side)


def waves(frequencies: Tensor, at: Tensor) -> Features:
    r"""Features in which likeness is a known function of distance.

        f(l) = (cos ω_k·l, sin ω_k·l)_k / √K,   cos(f(l), f(l + d)) = (1/K) Σ_k cos ω_k·d

    One wave makes stripes, which repeat; many waves of mixed length make features that are alike
    nearby only.

    Args:
        frequencies: ω, (K, 2) radians per position, along x and y.
        at: positions l as (1, 2, h, w), x and y; they need not be whole.

    Returns:
        (1, 2K, h, w) of unit length.

    >>> every_second = torch.tensor([[torch.pi, 0.0]])
    >>> waves(every_second, positions(1, 4))[0, 0].round().tolist()
    [[1.0, -1.0, 1.0, -1.0]]
    """
    phase = torch.einsum("kc,bchw->bkhw", frequencies, at)
    return torch.cat((phase.cos(), phase.sin()), 1) / len(frequencies) ** 0.5


def many_waves(width: float, count: int = 128, seed: int = 0) -> Tensor:
    r"""Frequencies whose waves together are alike within about `width` positions.

        (1/K) Σ_k cos ω_k·d ≈ exp(−|d|² / 2 width²),   ω normal with deviation 1 / width

    Args:
        width: in positions.
        count: K; the approximation is off by about 1 / √(2K).
        seed: of the draw.

    Returns:
        (K, 2).
    """
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 2, generator=generator) / width


def likeness(frequencies: Tensor, displacements: Sequence[float]) -> Tensor:
    """Cosine similarity of `waves` that many positions apart along x: the formula, no features."""
    along = torch.as_tensor(displacements)[:, None] * frequencies[:, 0]
    return along.cos().mean(1)


def positions(height: int, width: int) -> Tensor:
    """Every position of a map as (1, 2, height, width), x and y."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack((x, y))[None].float()


def shifted(source: Features, by: int = 11, side: int = 10) -> tuple[Features, Flow]:
    """A target that was cut out of the source, and so the flow that is right.

    Args:
        source: (1, C, H, W).
        by: column and row of the source where the target begins.
        side: of the target, in positions.

    Returns:
        target (1, C, side, side), flow (1, 2, side, side) of `by` everywhere.
    """
    target = source[..., by : by + side, by : by + side]
    return target, torch.full((1, 2, side, side), float(by))


def off(displacement: float) -> Flow:
    """A flow of that many positions to the right, (1, 2, 1, 1), to be added to others."""
    return torch.tensor([float(displacement), 0.0]).view(1, 2, 1, 1)


def correctness_curve(
    source: Features, target: Features, home: Flow, displacements: Sequence[float], sampling: str
) -> Tensor:
    """Sampling correctness of flows that are off to the right by known amounts.

    Args:
        source, target: features.
        home: the right flow.
        displacements: positions, each added to dx of the right flow.
        sampling: "bilinear" or "gaussian".

    Returns:
        (D,), one loss per displacement.
    """
    best = losses.best_similarity(source, target)
    flows = [home + off(displacement) for displacement in displacements]
    found = [
        losses.sampling_correctness(source, target, flow, sampling=sampling, best=best)
        for flow in flows
    ]
    return torch.stack(found)


def correctness_gradient(
    source: Features, target: Features, flow: Flow, sampling: str = "gaussian"
) -> tuple[float, float]:
    """How hard sampling correctness pulls at a flow.

    Args:
        source, target, flow, sampling: as the loss takes them.

    Returns:
        the loss, and the norm of its derivative by dx.
    """
    flow = flow.detach().requires_grad_()
    loss = losses.sampling_correctness(source, target, flow, sampling=sampling)
    (gradient,) = torch.autograd.grad(loss, flow)
    return loss.item(), gradient[:, 0].norm().item()


# ---------------------------------------------------------------- a hole in the features


class Hole(NamedTuple):
    """Features of a known affine flow, and a place where they say nothing."""

    source: Features  # (1, C, side, side)
    target: Features  # (1, C, side, side)
    truth: Flow  # (1, 2, side, side), affine
    hidden: Mask  # (1, 1, side, side), 1 in the hole


def hole(side: int, hole_side: int = 6, width: float = 4.0) -> Hole:
    """A picture that turns and grows a little, with a patch in the middle that matches nothing.

    In the patch the target shows what the source has nowhere: every flow is equally good there,
    and sampling correctness has no gradient.

    Args:
        side: positions per side.
        hole_side: of the patch.
        width: reach of the features, in positions.

    Returns:
        Hole.
    """
    here = positions(side, side)
    about = here - (side - 1) / 2  # (1, 2, side, side)
    turn = torch.tensor([[0.04, -0.12], [0.12, 0.04]])
    truth = torch.einsum("ij,bjhw->bihw", turn, about) + torch.tensor([1.0, -0.5]).view(1, 2, 1, 1)
    hidden = (about.abs() < hole_side / 2).all(1, keepdim=True).float()
    frequencies = many_waves(width)
    blank = torch.zeros_like(hidden)  # one more channel, which the source never shows
    source = torch.cat((waves(frequencies, here), blank), 1)
    target = torch.cat((waves(frequencies, here + truth) * (1 - hidden), hidden), 1)
    return Hole(source, target, truth, hidden)


def descend(toy: Hole, weights: dict[str, float], steps: int, n: int = 3) -> Flow:
    """Stage 1 without a network: the flow itself goes down the losses, from zero.

    Args:
        toy: its truth is not looked at.
        weights: λ of sampling_correctness and affine_regularization; one that is 0 is left out.
        steps: of Adam.
        n: side of the windows of the regularisation.

    Returns:
        flow, (1, 2, side, side).
    """
    flow = torch.zeros_like(toy.truth).requires_grad_()
    optimizer = torch.optim.Adam([flow], lr=0.05)
    best = losses.best_similarity(toy.source, toy.target)
    for _ in range(steps):
        loss = weights["sampling_correctness"] * losses.sampling_correctness(
            toy.source, toy.target, flow, sampling="bilinear", best=best
        )
        if weights["affine_regularization"]:
            loss = loss + weights["affine_regularization"] * losses.affine_regularization(flow, n)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return flow.detach()


# ---------------------------------------------------------------- features of people


class Pixels(nn.Module):
    """Pictures as their own features: 3×3 neighbourhoods of the picture shrunk to a tap's stride.

    It has the call of an encoder. Returns (forward): name -> (B, 27, H / stride, W / stride).

    >>> Pixels()(torch.zeros(1, 3, 32, 32), ["relu3_1"])["relu3_1"].shape
    torch.Size([1, 27, 8, 8])
    """

    def forward(self, image: Tensor, names: Sequence[str]) -> dict[str, Features]:
        found = {}
        for name in names:
            small = F.avg_pool2d(image, 2 ** (int(name[4]) - 1))  # (B, 3, h, w)
            small = small - small.mean((2, 3), keepdim=True)
            patches = F.unfold(F.pad(small, (1, 1, 1, 1), mode="replicate"), 3)  # (B, 27, h·w)
            found[name] = patches.unflatten(2, small.shape[-2:])
        return found


class WayDown(nn.Module):
    """A trained encoder read before it has looked at the whole picture.

    The way down of `SmallEncoder` sees, like VGG-19, 14 pixels around a position of relu2_2 and 32
    around one of relu3_2. These stand in for relu2_1 and relu3_1 (and relu4_2 for relu4_1), which
    lie on the way up and know everything.
    """

    def __init__(self, encoder: SmallEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, image: Tensor, names: Sequence[str]) -> dict[str, Features]:
        lower = [name[:-1] + "2" for name in names]
        return dict(zip(names, self.encoder(image, lower).values(), strict=True))


def feature_kinds(trained: SmallEncoder, seed: int) -> dict[str, nn.Module]:
    """The features that section 3 compares, worst informed first.

    Args:
        trained: the shipped encoder.
        seed: of the weights of the untrained one.

    Returns:
        name -> network with an encoder's call, frozen.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        strange = SmallEncoder(**trained.arguments)
    kinds = {
        "random weights": strange,
        "pixels, 3×3": Pixels(),
        "trained, way down": WayDown(trained),
        "trained, whole": trained,
    }
    return {name: one.requires_grad_(False).eval() for name, one in kinds.items()}


@torch.no_grad()
def around_truth(
    encoder: nn.Module, batch: dict[str, Tensor], distances: Sequence[float], level: int = 2,
    directions: int = 8,
) -> Tensor:  # fmt: skip
    """Sampling correctness of people at flows a known distance from the truth, in all directions.

    Args:
        encoder: whose features judge.
        batch: of `people.pairs`; the true flow places the probes.
        distances: pixels of the image.
        level: whose tap and stride are used.
        directions: probes per distance.

    Returns:
        (D,), the loss over visible positions, averaged over directions. With good features it is
        least at distance 0 and rises from there.
    """
    stride = 2**level
    middle = slice(stride // 2, None, stride)
    truth = batch["flow"][..., middle, middle] / stride  # (B, 2, h, w)
    visible = batch["visible"][..., middle, middle]  # (B, 1, h, w)
    tap = LEVELS[level]
    source, target = encoder(batch["source"], [tap])[tap], encoder(batch["target"], [tap])[tap]
    best = losses.best_similarity(source, target)
    angles = torch.arange(directions) * (2 * torch.pi / directions)
    ways = torch.stack((angles.cos(), angles.sin()), 1)[..., None, None]  # (directions, 2, 1, 1)
    curve = []
    for distance in distances:
        probes = [truth + float(distance) / stride * way for way in ways]
        found = [
            losses.sampling_correctness(source, target, flow, visible, best=best)
            for flow in (probes if distance else probes[:1])
        ]
        curve.append(torch.stack(found).mean())
    return torch.stack(curve)


# ---------------------------------------------------------------- stage 1, live


class Live(NamedTuple):
    """A short stage 1 that was really trained."""

    before: GFLA  # untrained
    after: GFLA
    history: list[dict]  # one row a step, as in log.jsonl
    config: Config


def live_config(size: Setting) -> Config:
    """The `small` preset, shortened: the configuration of the live stage 1."""
    return preset(
        "small",
        **{
            "kernel_sizes": dict.fromkeys(size.train_levels, 3), "batch": size.train_batch,
            "flow.steps": size.train_steps, "flow.lr": 1e-3, "flow.warmup": 10, "ema": 0.0,
            "log_every": 1, "measure_every": 0, "sample_every": 0,
        },
    )  # fmt: skip


def train_flow(config: Config, seed: int, device: str = "auto", progress: bool = False) -> Live:
    """Train stage 1 in a folder that is thrown away, by the call that the shell command makes.

    Args:
        config: say of `live_config`.
        seed: of weights and data.
        device: as `gfla.train.fit` takes it.
        progress: show a bar.

    Returns:
        Live; both models on the CPU.
    """
    with tempfile.TemporaryDirectory() as folder:
        options = {"out": folder, "seed": seed, "device": device, "progress": progress}
        train.fit(config, "flow", until=0, **options)
        before = load_model(Path(folder) / journal.MODEL)
        train.fit(config, "flow", **options)
        after = load_model(Path(folder) / journal.MODEL)
        return Live(before, after, journal.read(folder), config)


def untouched(before: nn.Module, after: nn.Module) -> list[str]:
    """Names of the weights that are bit for bit the same in both networks."""
    now = after.state_dict()
    return [name for name, weight in before.state_dict().items() if torch.equal(weight, now[name])]


@torch.no_grad()
def held_out_losses(
    model: GFLA, encoder: nn.Module, batch: dict[str, Tensor], config: Config
) -> dict[str, float]:
    """Both losses of stage 1 on a batch, summed over the levels; the truth is not looked at.

    Args:
        model: its flow estimator is asked.
        encoder: frozen.
        batch: source, target, source_pose, target_pose.
        config: which taps and window sides.

    Returns:
        sampling_correctness, affine_regularization.
    """
    flows = model.flow(batch["source"], batch["source_pose"], batch["target_pose"]).flows
    sides, taps = dict(config.model.kernel_sizes), dict(config.features.correctness_taps)
    found = dict.fromkeys(losses.FLOW_STAGE, 0.0)
    for level, flow in zip(sorted(sides, reverse=True), flows, strict=True):
        tap = taps[level]
        pair = encoder(batch["source"], [tap])[tap], encoder(batch["target"], [tap])[tap]
        found["sampling_correctness"] += float(losses.sampling_correctness(*pair, flow))
        found["affine_regularization"] += float(losses.affine_regularization(flow, sides[level]))
    return found


# ---------------------------------------------------------------- pictures of flow beside the truth


def flow_strip(batch: dict[str, Tensor], output: Output, indices: Sequence[int]) -> Figure:
    """Pairs as rows: source, pose, flow and mask beside their truth, the source warped, target.

    Args:
        batch: of `people.pairs`.
        output: with flows and masks (coarse to fine; the finest is drawn).
        indices: which pairs.

    Returns:
        Figure with the flow's key; only one true vector in twenty is longer than its rim.
    """
    size = batch["source"].shape[-2:]
    flow = upsample_flow(output.flows[-1], size)
    warped = warp(batch["source"], flow)
    limit = _rim(batch, indices)
    rows = [
        [
            viz.to_uint8(batch["source"][i]),
            viz.skeleton(batch["target_keypoints"][i], tuple(size), zoom=3),
            viz.flow_to_color(flow[i], limit),
            viz.flow_to_color(batch["flow"][i], limit),
            viz.mask_image(output.masks[-1][i]),
            viz.mask_image(batch["visible"][i]),
            viz.to_uint8(warped[i]),
            viz.to_uint8(batch["target"][i]),
        ]
        for i in indices
    ]
    labels = ["source", "target pose", "flow", "true flow", "mask", "visible", "warped", "target"]
    figure = viz.grid(rows, labels, limit=limit)
    figure.axes[-1].set_xlabel(f"rim:\n{limit:.2g} px")  # eight columns leave the key little room
    return figure


def level_strip(
    batch: dict[str, Tensor], output: Output, sample: int, level: int | None = None
) -> Figure:
    """One pair as the levels of its flow see it: a row per level, at that level's resolution.

    Args:
        batch: of `people.pairs`.
        output: with flows and masks, coarse to fine.
        sample: which pair.
        level: only this row, as a place in `output.flows` (0 is the coarsest); None draws all.

    Returns:
        Figure: source, flow, true flow, mask, the source warped and the target, all shrunk to the
        level; the key is that of `flow_strip`, in pixels of the image.
    """
    limit = _rim(batch, [sample])
    rows, names = [], []
    for place in range(len(output.flows)) if level is None else [level]:
        flow = output.flows[place][sample : sample + 1].detach()
        stride = batch["source"].shape[-2] // flow.shape[-2]
        source, target, truth = (
            F.avg_pool2d(batch[key][sample : sample + 1], stride)
            for key in ("source", "target", "flow")
        )
        pictures = [
            viz.to_uint8(source[0]),
            viz.flow_to_color(stride * flow[0], limit),
            viz.flow_to_color(truth[0], limit),
            viz.mask_image(output.masks[place][sample]),
            viz.to_uint8(warp(source, flow)[0]),
            viz.to_uint8(target[0]),
        ]
        rows.append(pictures)
        names.append(f"stride {stride}")
    labels = ["source", "flow", "true flow", "mask", "warped", "target"]
    return viz.grid(rows, labels, side_labels=names, limit=limit)


def _rim(batch: dict[str, Tensor], indices: Sequence[int]) -> float:
    """The length in pixels that one true vector in twenty exceeds."""
    chosen = list(indices)
    lengths = batch["flow"][chosen].norm(dim=1, keepdim=True)  # (B, 1, H, W)
    return float(lengths[batch["foreground"][chosen] > 0].quantile(0.95))
