r"""How far a flow may be wrong and still be pulled right: samplers probed over displacement.

A sampler is asked at the flow home + e, where home is the true flow (`gfla.street.scenes`), by

    E(l) = 1 - cos( sampled(l), f_t(l) ),

the quantity that sampling correctness (docs/spec.md section 5.1) is made of: 0 for the true
content, about 1 for unrelated content, whatever the scale of the features, so that local
attention's factor 1/n^2 (docs/spec.md section 12) plays no part.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gfla.attention import LocalAttention
from gfla.sampling import extract_patches, gaussian_warp, warp
from gfla.street.scenes import Scene, Setting, random_error, smooth_noise, toy_scene
from gfla.types import Features, Flow

Sampler = Callable[[Features, Features, Flow], Features]  # (source, target, flow) -> sampled


class Basin(NamedTuple):
    """What a sampler does at a row of displacements; shares are of the scene's trials."""

    displacement: Tensor  # (D,) pixels
    mismatch: Tensor  # (D,) mean of E before descent
    homeward: Tensor  # (D,) share whose flow gradient leads nearer home
    caught: Tensor  # (D,) share that ends, after descent, reading the true content at home
    home: Tensor  # (D,) share whose flow ends, after descent, within a pixel of home


# ---------------------------------------------------------------- the samplers


def bilinear(source: Features, target: Features, flow: Flow) -> Features:
    """`gfla.sampling.warp` as a sampler; it does not look at the target."""
    return warp(source, flow)


def gaussian(source: Features, target: Features, flow: Flow) -> Features:
    """`gfla.sampling.gaussian_warp` (4 x 4, sigma 2) as a sampler: that of the authors' loss."""
    return gaussian_warp(source, flow)


def attending(attention: nn.Module) -> Sampler:
    """A module of `gfla.attention` as a sampler."""
    return lambda source, target, flow: attention(source, target, flow).attended


def held(attention: LocalAttention) -> Sampler:
    r"""Local attention with its kernels held fixed, P(k \otimes N_n(f_s, l + w(l))) to the letter.

    The value is that of `attending`; a gradient reaches the source only as content, not through
    the net that chose the kernels.
    """
    n = attention.n

    def sampler(source: Features, target: Features, flow: Flow) -> Features:
        weights = attention(source, target, flow).weights.detach()
        kernels = F.pixel_shuffle(weights, n)  # (B, 1, n h, n w)
        return F.avg_pool2d(kernels * extract_patches(source, flow, n), n)  # (B, C, h, w)

    return sampler


def train_attention(n: int, setting: Setting, seed: int, device="cpu") -> LocalAttention:
    """Train the kernel net of a local attention to find the target's content near a wrong flow.

    It is given noise, sharp and smooth in turn, and flows that are off by up to n / 2 pixels on
    each axis, and lowers the mean of E: what a decoder that wants the true content asks of it.
    (With smooth noise alone it learns to average the neighbours of the true pixel, which look so
    much like it that little is lost.)

    Args:
        n: side of the patch.
        setting: channels, hidden, smoothness and attention_steps are read.
        seed: of weights and noise.
        device: where to train.
    Returns:
        LocalAttention, frozen.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        attention = LocalAttention(setting.channels, n, setting.hidden).to(device)
    optimizer = torch.optim.Adam(attention.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1e-2, total_steps=setting.attention_steps
    )
    side = 32
    for step in range(setting.attention_steps):
        noise_seed = 1_000_000 * (seed + 1) + step  # far from those of the scenes that measure
        blur = 1.5 * setting.smoothness * torch.rand((), generator=generator).item()
        features = smooth_noise(setting.channels, side, blur, noise_seed).to(device)
        flow = (torch.rand(1, 2, side, side, generator=generator) - 0.5) * n
        sampled = attention(features, features, flow.to(device)).attended
        optimizer.zero_grad()
        mismatch(sampled, features).mean().backward()
        optimizer.step()
        schedule.step()
    return attention.requires_grad_(False)


# ---------------------------------------------------------------- what the flow feels


def mismatch(sampled: Features, target: Features) -> Tensor:
    """E = 1 - cos over the channels, (B, h, w): 0 for the same direction, about 1 for strangers."""
    return 1 - F.cosine_similarity(sampled, target, dim=1)


def pull(sampler: Sampler, scene: Scene, flow: Flow) -> tuple[Tensor, Flow]:
    """E at every position, (B, h, w), and its derivative by the flow, (B, 2, h, w)."""
    flow = flow.detach().requires_grad_()
    energy = mismatch(sampler(scene.source, scene.target, flow), scene.target)
    (gradient,) = torch.autograd.grad(energy.sum(), flow)  # E(l) depends on the flow at l alone
    return energy.detach(), gradient


def heading(gradient: Flow, error: Flow) -> Tensor:
    """The angle between a step against the gradient and the way home, (B, h, w) degrees.

    0 leads straight home, within 90 to either side comes nearer, 180 leads straight away.

    >>> right, down = torch.tensor([[1.0], [0.0]]), torch.tensor([[0.0], [1.0]])
    >>> heading(down.view(1, 2, 1, 1), right.view(1, 2, 1, 1)).item()
    90.0
    """
    along = (gradient * error).sum(dim=1)
    across = gradient[:, 1] * error[:, 0] - gradient[:, 0] * error[:, 1]
    return torch.atan2(across, along).rad2deg()


def headings(sampler: Sampler, scene: Scene, length: float, seed: int) -> Tensor:
    """Send every trial `length` pixels off, each in a direction of its own: where does E pull it?

    Args:
        sampler, scene: what is sampled.
        length: pixels.
        seed: of the directions.
    Returns:
        (trials,) degrees, as `heading`.
    """
    error = random_error(scene, length, seed)
    _, gradient = pull(sampler, scene, scene.home + error)
    return heading(gradient, error)[scene.where]


def homeward(angles: Tensor) -> float:
    """The share of angles, in degrees, that lead nearer home: less than 90 to either side."""
    return (angles.abs() < 90).float().mean().item()


def descend(sampler: Sampler, scene: Scene, flow: Flow, steps: int, stride: float = 0.3) -> Flow:
    """Let every position walk down its own gradient, in steps of shrinking length.

    Args:
        sampler, scene: what is sampled.
        flow: where to start, (B, 2, h, w).
        steps: how many.
        stride: length of the first step, pixels; the last is nearly 0, and where the landscape is
            flat a step is shorter than that.
    Returns:
        (B, 2, h, w), where they arrive.
    """
    for step in range(steps):
        _, gradient = pull(sampler, scene, flow)
        length = gradient.norm(dim=1, keepdim=True)
        flow = flow - stride * (1 - step / steps) * gradient / (length + 1e-3)
    return flow


def basin(
    sampler: Sampler,
    scene: Scene,
    displacements: Sequence[float],
    steps: int,
    n: int = 1,
    good: float = 0.25,
) -> Basin:
    """Probe a sampler at flows that are off to the right by given displacements.

    Args:
        sampler, scene: what is sampled.
        displacements: pixels, each added to dx of the true flow.
        steps: of descent; 0 leaves `caught` and `home` as they are at the start.
        n: side of the sampler's patch. A trial counts as caught when the true pixel lies in the
            patch, the flow less than (n + 1) / 2 pixels off on each axis, and
        good: E is below this; a look-alike found far away does not count.
    Returns:
        Basin.
    """
    rows = []
    for displacement in displacements:
        error = torch.zeros_like(scene.home)
        error[:, 0] = displacement
        energy, gradient = pull(sampler, scene, scene.home + error)
        flow = descend(sampler, scene, scene.home + error, steps)
        end, _ = pull(sampler, scene, flow)
        left = flow - scene.home
        caught = (end < good) & (left.abs().amax(dim=1) < (n + 1) / 2)
        nearer = heading(gradient, error).abs() < 90
        trials = (energy, nearer, caught, left.norm(dim=1) < 1)
        rows.append([trial[scene.where].float().mean() for trial in trials])
    return Basin(torch.as_tensor(displacements), *torch.tensor(rows).T)


def reach(x: Sequence[float], shares: Sequence[float], level: float = 0.5) -> float:
    """How far shares stay at or above a level: with a basin's shares, a capture range.

    Args:
        x: ascending, such as displacements in pixels.
        shares: one per x.
        level: the share asked for.
    Returns:
        In units of x, by straight lines in between; the last x when the shares never fall that
        low, 0 when they begin lower.

    >>> reach([0, 1, 2], [1.0, 0.75, 0.25])
    1.5
    """
    x, y = torch.as_tensor(x).tolist(), torch.as_tensor(shares).tolist()
    if y[0] < level:
        return 0.0
    for i in range(1, len(x)):
        if y[i] < level:
            return x[i - 1] + (x[i] - x[i - 1]) * (y[i - 1] - level) / (y[i - 1] - y[i])
    return x[-1]


class TradeOff(NamedTuple):
    """What blurring the features does to the flow's gradient under bilinear sampling."""

    blur: list[float]  # pixels
    difference: list[float]  # root mean square of the difference of neighbours, unit variance
    by_rule: list[float]  # the same, from the correlation of the noise
    reach: list[float]  # pixels up to which three gradients in four lead nearer home


def trade_off(
    setting: Setting, blurs: Sequence[float], displacements: Sequence[float], seed: int
) -> TradeOff:
    r"""Measure how large the flow's gradient is, and how far it reaches, from sharp to smooth.

        difference = sqrt( 2 (1 - r(1)) ),   r(1) = exp(-1 / (4 blur^2))

    Args:
        setting: sizes of the toy scenes.
        blurs: standard deviations of the blur, pixels.
        displacements: ascending, pixels; the reach is sought among them.
        seed: of the noise.
    Returns:
        TradeOff, one entry per blur.
    """
    found = TradeOff(list(blurs), [], [], [])
    for blur in blurs:
        scene = toy_scene(setting, seed, blur)
        found.difference.append(scene.source.diff(dim=-1).square().mean().sqrt().item())
        found.by_rule.append(math.sqrt(2 * (1 - math.exp(-1 / (4 * blur**2)))))
        shares = basin(bilinear, scene, displacements, steps=0).homeward
        found.reach.append(reach(displacements, shares, 0.75))
    return found


# ---------------------------------------------------------------- what the features feel


def feature_gradient(sampler: Sampler, scene: Scene, flow: Flow, upstream: Features) -> Features:
    """The gradient that reaches the source features, (B, C, H, W), when `upstream` arrives."""
    source = scene.source.detach().requires_grad_()
    sampled = sampler(source, scene.target, flow)
    return torch.autograd.grad(sampled, source, upstream)[0]


def feature_overlap(
    sampler: Sampler, scene: Scene, displacements: Sequence[float], seed: int
) -> list[float]:
    """How much of the correct feature gradient is left when the flow is off to the right.

    Args:
        sampler, scene: what is sampled.
        displacements: pixels.
        seed: of the white noise that arrives from above.
    Returns:
        per displacement, the cosine between the gradient on the source features and the one that
        bilinear sampling leaves at the true flow: 1 is correct, 0 has nothing to do with it.
    """
    generator = torch.Generator().manual_seed(seed)
    upstream = torch.randn(scene.target.shape, generator=generator).to(scene.target.device)
    correct = feature_gradient(bilinear, scene, scene.home, upstream).flatten()
    overlaps = []
    for displacement in displacements:
        flow = scene.home + scene.home.new_tensor([displacement, 0.0]).view(1, 2, 1, 1)
        gradient = feature_gradient(sampler, scene, flow, upstream).flatten()
        overlaps.append(F.cosine_similarity(gradient, correct, dim=0).item())
    return overlaps


def learn_source(scene: Scene, flow: Flow, steps: int = 100) -> Features:
    """Learn source features from nothing, through bilinear sampling by a flow that stays fixed.

    Args:
        scene: its target is to be reproduced on the trials, its source is not looked at.
        flow: true or wrong, (B, 2, h, w).
        steps: of Adam, from zero.
    Returns:
        (B, C, H, W): what the flow made of the source; 0 where no gradient came.
    """
    features = torch.zeros_like(scene.source).requires_grad_()
    optimizer = torch.optim.Adam([features], lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        residual = (warp(features, flow) - scene.target) * scene.where[:, None]
        residual.square().sum().backward()
        optimizer.step()
    return features.detach()


def unexplained(sampled: Features, scene: Scene) -> float:
    """Squared error on the trials, as a share of what the target's own mean would leave."""
    keep = scene.where[:, None].expand_as(scene.target)
    target = scene.target[keep]
    return (
        (sampled[keep] - target).square().sum() / (target - target.mean()).square().sum()
    ).item()


# ---------------------------------------------------------------- where samplers read


def footprints(
    attention: LocalAttention, scene: Scene, displacement: float, columns: Sequence[int]
) -> dict[str, Tensor]:
    """Which source columns each sampler reads, counted from the true one.

    Args:
        attention: its weights are summed over rows and averaged over the trials.
        scene: what it attends to.
        displacement: pixels that the flow is off to the right.
        columns: pixels to the right of the true column.
    Returns:
        name -> shares (len(columns),), which sum to 1 when `columns` hold all that is read.
    """
    n = attention.n
    flow = scene.home + scene.home.new_tensor([displacement, 0.0]).view(1, 2, 1, 1)
    weights = attention(scene.source, scene.target, flow).weights
    kernel = weights.transpose(0, 1)[:, scene.where].mean(1).view(n, n).sum(0)  # (n,), per column
    place = torch.tensor(columns, dtype=torch.float32)
    taps = displacement + torch.arange(n) - n // 2
    hats = (1 - (place[:, None] - taps).abs()).clamp(min=0)  # each tap reads two columns
    single = (1 - (place - displacement).abs()).clamp(min=0)
    four = math.floor(displacement) + torch.arange(-1, 3)
    wide = torch.exp(-(four - displacement).square() / 8)  # sigma 2
    return {
        "bilinear": single,
        "Gaussian 4×4": (place[:, None] == four).float() @ (wide / wide.sum()),
        f"local attention {n}×{n}": hats @ kernel.cpu(),
    }
