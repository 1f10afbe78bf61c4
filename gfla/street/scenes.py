"""Scenes whose true flow is known, to ask a sampler questions whose answers are known.

Every position of a scene's target is one trial. The true flow places the start and judges the
end; no sampler sees it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gfla.blocks import ResBlock
from gfla.data import people
from gfla.profiles import pick
from gfla.types import Features, Flow


@dataclass(frozen=True)
class Setting:
    """How large the experiments on samplers are (notebook 01)."""

    channels: int = 8  # of the toy features
    smoothness: float = 1.0  # blur of the toy features, standard deviation in pixels
    side: int = 20  # trials per side of a toy map: side * side trials per displacement
    margin: int = 12  # pixels of source around them, so that no trial meets the border
    hidden: int = 64  # width of each kernel net; paper 128
    attention_steps: int = 300  # training steps of each local attention
    descent_steps: int = 40  # steps of gradient descent given to every trial
    spacing: float = 0.5  # pixels between the displacements at which basins are measured
    pairs: int = 8  # procedural people looked at


SETTINGS = {
    "smoke": Setting(),
    "cpu": Setting(side=32, attention_steps=900, descent_steps=60, spacing=0.25, pairs=32),
    "gpu": Setting(side=96, attention_steps=4000, descent_steps=80, spacing=0.125, pairs=64),
}


class Scene(NamedTuple):
    """A source, a target, and the true flow between them."""

    source: Features  # (B, C, H, W)
    target: Features  # (B, C, h, w)
    home: Flow  # (B, 2, h, w), pixels of this level, target -> source
    where: Tensor  # (B, h, w) bool: the positions that count as trials


def setting(profile: str) -> Setting:
    """The sizes of one profile; see `gfla.profiles.pick`."""
    return pick(SETTINGS, profile)


def smooth_noise(channels: int, side: int, smoothness: float, seed: int) -> Features:
    r"""Gaussian noise blurred on a torus, unit variance: features whose likeness is known.

        r(d) = exp(-d^2 / (4 smoothness^2)),   the correlation of two positions d pixels apart

    (sampled on whole pixels this holds from a smoothness of about 0.7 on).

    Args:
        channels: independent channels.
        side: pixels of each side.
        smoothness: standard deviation of the blur, pixels; 0 leaves white noise.
        seed: of the noise.
    Returns:
        (1, channels, side, side).
    Raises:
        ValueError: a negative smoothness.

    >>> abs(smooth_noise(16, 64, 2.0, seed=0).std().item() - 1) < 0.05
    True
    """
    if not smoothness >= 0:
        raise ValueError(f"smoothness is {smoothness!r}: give a blur of 0 pixels or more")
    noise = torch.randn(1, channels, side, side, generator=torch.Generator().manual_seed(seed))
    wave = 2 * torch.pi * torch.fft.fftfreq(side)
    keep = torch.exp(-0.5 * smoothness**2 * (wave[:, None] ** 2 + wave**2))
    blurred = torch.fft.ifft2(torch.fft.fft2(noise) * keep).real
    return blurred / keep.square().mean().sqrt()  # what the filter leaves of white noise's variance


def toy_scene(setting: Setting, seed: int, smoothness: float | None = None, device="cpu") -> Scene:
    """Smooth noise whose middle is the target: the true flow is one constant.

    Args:
        setting: sizes.
        seed: of the noise.
        smoothness: instead of the setting's, pixels.
        device: where the tensors live.
    Returns:
        Scene with B = 1 and every position a trial.
    """
    side, margin = setting.side, setting.margin
    blur = setting.smoothness if smoothness is None else smoothness
    source = smooth_noise(setting.channels, side + 2 * margin, blur, seed).to(device)
    inside = slice(margin, margin + side)
    home = torch.full((1, 2, side, side), float(margin), device=device)
    where = torch.ones(1, side, side, dtype=torch.bool, device=device)
    return Scene(source, source[..., inside, inside], home, where)


def people_scene(
    source_encoder: nn.Module, target_encoder: nn.Module, count: int, seed: int, size: int = 64
) -> Scene:
    """Procedural people seen through two encoders; trials are the visible cells of the person.

    Args:
        source_encoder, target_encoder: image (B, 3, H, W) -> features at some common stride.
        count: pairs.
        seed: of the pairs; those for measuring begin at 30,000,000.
        size: H = W in pixels.
    Returns:
        Scene at the encoders' level, the flow in pixels of that level.
    """
    pairs = people.pairs(count, size=(size, size), seed=seed)
    with torch.no_grad():
        source, target = source_encoder(pairs["source"]), target_encoder(pairs["target"])
    stride = size // target.shape[-1]
    home = F.avg_pool2d(pairs["flow"], stride) / stride  # (B, 2, h, w)
    hidden = 1 - pairs["visible"] * pairs["foreground"]
    where = F.max_pool2d(hidden, stride)[:, 0] == 0  # (B, h, w): wholly visible cells only
    return Scene(source, target, home, where)


def untrained(seed: int) -> nn.Module:
    """A residual block with the random weights of its seed, image -> (B, 16, H, W), frozen."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ResBlock(3, 16).requires_grad_(False)


def mix(scene: Scene, meaning: float, seed: int) -> Scene:
    r"""The scene with a target that only partly speaks the source's language.

        f_t <- meaning * f_t + sqrt(1 - meaning^2) * noise

    Args:
        scene: as it is at meaning 1; its features should have unit variance.
        meaning: 0 (a stranger, as from an untrained network) to 1.
        seed: of the noise.
    Returns:
        Scene.
    Raises:
        ValueError: meaning outside [0, 1].
    """
    if not 0 <= meaning <= 1:
        raise ValueError(f"meaning is {meaning!r}: give a share between 0 and 1")
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(scene.target.shape, generator=generator).to(scene.target.device)
    return scene._replace(target=meaning * scene.target + (1 - meaning**2) ** 0.5 * noise)


def random_error(scene: Scene, length: float, seed: int) -> Flow:
    """Displacements of one length in random directions, one per position, (B, 2, h, w) pixels."""
    generator = torch.Generator().manual_seed(seed)
    angle = 2 * torch.pi * torch.rand(scene.home[:, 0].shape, generator=generator)
    return length * torch.stack([angle.cos(), angle.sin()], dim=1).to(scene.home.device)
