"""Distances that look through a network: between two pictures, and between two sets of them.

Two have names that the world knows, `lpips` and `fid`: they want weights that were fetched, and
whose checksum is the official one (`gfla.scores.trunks`). Two have names of their own,
`encoder_distance` and `encoder_frechet`: the same formulas over one of the project's small
encoders, which ship. A number of the one kind can never be compared with one of the other, and must
not bear its name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gfla.scores import inception, trunks
from gfla.scores.averages import plain, reduce_pairs
from gfla.scores.frechet import check_number, frechet

if TYPE_CHECKING:
    from gfla.types import Features, Image, Mask

BATCH = 16  # pictures that pass through a network together
TAPS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")  # of encoder_distance
FRECHET_TAP = "relu4_1"
_EPSILON = 1e-10  # the lpips package's, beside the length of a feature


@torch.no_grad()
def encoder_distance(
    image: Image,
    target: Image,
    encoder: nn.Module,
    mask: Mask | None = None,
    reduction: str = "batch",
) -> float | Tensor:
    """How differently an encoder sees two pictures: LPIPS's formula without its learned heads.

        d = 1/T Σ_t Σ_l m_t(l) ‖φ̂_t(x̂_t)(l) − φ̂_t(x_t)(l)‖² / Σ_l m_t(l),   φ̂ = φ / ‖φ‖

    over the T = 5 taps relu1_1 … relu5_1, where m_t is the mask at the size of tap t.

    Args:
        image: (B, 3, H, W) in [−1, 1].
        target: the true image, of the same shape and range.
        encoder: network with the call of `gfla.features.VGG19`; on the device of its parameters.
        mask: (B, 1, H, W) in [0, 1], averaged over the area of each position of a tap; None weighs
            all alike. A position at the mask's border sees beyond it, as far as its network looks.
        reduction: "batch" is the mean over pictures; "pairs" gives (B,) distances, nan where the
            mask is empty.

    Returns:
        0 (equal) … 2 for rectified features, which cannot be opposite; lower is better.

    Raises:
        ValueError: shapes that do not fit, values outside [−1, 1], or a mask empty in a picture.

    Source: Zhang et al. 2018 (LPIPS), equation 1 with w = 1; the mean over taps, not their sum.
    This is not LPIPS: nobody compared it with what people see, and it depends on the encoder.

    >>> from gfla.features import load_features
    >>> image = torch.rand(1, 3, 32, 32)
    >>> encoder_distance(image, image, load_features("people"))
    0.0
    """
    check_pictures(image, target, mask)
    found = []
    for part in _batches(len(image)):
        ours, theirs = taps(image[part], encoder), taps(target[part], encoder)
        found.append(tap_distance(ours, theirs, None if mask is None else mask[part]))
    return reduce_pairs(torch.cat(found), reduction)


@torch.no_grad()
def encoder_frechet(
    images: Image, references: Image, encoder: nn.Module, masks: Mask | None = None
) -> float:
    """How far the pictures as a set are from the references: FID's formula over an encoder.

        ‖μ − μ_r‖² + tr(Σ + Σ_r − 2 (Σ Σ_r)^½)   of the mean features of relu4_1 of each picture

    relu4_1 is the deepest tap that the small encoders are trained at; each of its positions is told
    of the whole picture, and its channels (96 or fewer) are few enough for a covariance from some
    hundred pictures.

    Args:
        images: (N, 3, H, W) in [−1, 1].
        references: (M, 3, H, W), the true pictures.
        encoder: network with the call of `gfla.features.VGG19`.
        masks: (N, 1, H, W) in [0, 1]: features are averaged under it, in both sets, so N = M and
            references belong to the images pair by pair; None averages over whole pictures.

    Returns:
        0 and up, lower is better, in squared units of the features. Grows as N falls, by chance
        alone: compare numbers of one N only.

    Raises:
        ValueError: not more pictures than features, shapes that do not fit, values outside
            [−1, 1], or an empty mask.

    Source: Heusel et al. 2017 (FID). This is not FID: other features, other pictures.

    >>> from gfla.features import load_features
    >>> encoder_frechet(torch.zeros(9, 3, 32, 32), torch.zeros(9, 3, 32, 32), load_features())
    Traceback (most recent call last):
    ValueError: 9 pictures for 96 features: ...
    """
    for pictures in (images, references):
        check_pictures(pictures, pictures, masks)
    found = []
    for pictures in (images, references):
        parts = [
            pool(
                taps(pictures[part], encoder, [FRECHET_TAP]), None if masks is None else masks[part]
            )
            for part in _batches(len(pictures))
        ]
        found.append(torch.cat(parts))
    return frechet(*found)


@torch.no_grad()
def lpips(
    image: Image,
    target: Image,
    mask: Mask | None = None,
    version: str = "0.1",
    net: str = "alex",
    path: str | Path | None = None,
    reduction: str = "batch",
) -> float | Tensor:
    """Learned perceptual image patch similarity, by the lpips package over a verified trunk.

        d = Σ_t Σ_l m_t(l) w_t · (φ̂_t(x̂_t)(l) − φ̂_t(x_t)(l))² / Σ_l m_t(l)

    Args:
        image: (B, 3, H, W) in [−1, 1], of the size that is to be reported: no resizing happens.
        target: the true image, of the same shape and range.
        mask: (B, 1, H, W) in [0, 1], averaged over the area of each position of a layer; None is
            LPIPS as published. Say "over the foreground" beside a masked one.
        version: "0.1", or "0.0", whose input was not scaled; to be named beside every number.
        net: "alex" or "vgg"; to be named too.
        path: the trunk's file; None means PyTorch's hub cache.
        reduction: "batch" is the mean over pictures; "pairs" gives (B,) distances, nan where the
            mask is empty.

    Returns:
        0 (equal) and up, seldom above 1; lower is better. Computed on the device of `image`.

    Raises:
        FileNotFoundError, gfla.storage.CheckpointError: the trunk is not on disk, or not the
            published one; the message says what to do and what to use instead.
        ImportError: lpips or torchvision is not installed.
        ValueError: shapes that do not fit, values outside [−1, 1], another version or net, or a
            mask empty in a picture.

    Source: Zhang et al. 2018, the lpips package 0.1.4. The mask is this project's.
    """
    check_pictures(image, target, mask)
    network = trunks.load_lpips(net, version, path)
    return reduce_pairs(lpips_distances(image, target, network, mask), reduction)


@torch.no_grad()
def lpips_distances(
    image: Image, target: Image, network: nn.Module, mask: Mask | None = None
) -> Tensor:
    """`lpips` pair by pair, (B,), by a network of `gfla.scores.trunks.load_lpips`."""
    network.to(image.device)
    found = []
    for part in _batches(len(image)):
        ours, theirs = image[part].float(), target[part].float()
        if mask is None:
            found.append(plain(network(ours, theirs)).flatten())
        else:
            found.append(_masked_lpips(network, ours, theirs, mask[part]))
    return torch.cat(found)


def _masked_lpips(network: nn.Module, image: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """The package's forward with its mean over positions replaced by the one under a mask."""
    layers = []
    for x in (image, target):
        layers.append(network.net(network.scaling_layer(x) if network.version == "0.1" else x))
    total = torch.zeros((), dtype=torch.float64)
    for head, ours, theirs in zip(network.lins, *layers):
        total = total + area_mean(head((_unit(ours) - _unit(theirs)).square()), mask)[:, 0]
    return total


@torch.no_grad()
def fid(images: Image, references: Image, path: str | Path | None = None) -> float:
    """Fréchet Inception distance between two sets of pictures, over verified weights.

        ‖μ − μ_r‖² + tr(Σ + Σ_r − 2 (Σ Σ_r)^½)   of the 2048 features of FID's Inception

    Args:
        images: (N, 3, H, W) in [−1, 1], N > 2048. Rounding to bytes is left to the caller; pictures
            read from files are rounded already.
        references: (M, 3, H, W), M > 2048; another size is allowed.
        path: the file of weights; None means PyTorch's hub cache.

    Returns:
        0 and up, lower is better. Grows as N falls, by chance alone: compare numbers of one N only.
        Computed on the device of `images`.

    Raises:
        FileNotFoundError, gfla.storage.CheckpointError: the weights are not on disk, or not the
            published ones; the message says what to do and what to use instead.
        ValueError: too few pictures, wrong shapes, or values outside [−1, 1].

    Source: Heusel et al. 2017, with the weights and the resizing of the pytorch-fid package; it
    refuses the small sets for which that package only warns.
    """
    for pictures in (images, references):
        check_pictures(pictures, pictures)
        check_number(len(pictures), inception.FEATURES)
    network = trunks.load_inception(path)
    return frechet(*(inception_features(x, network) for x in (images, references)))


@torch.no_grad()
def inception_features(images: Image, network: nn.Module) -> Tensor:
    """FID's features of each picture, (N, 2048) float64 on the CPU."""
    network.to(images.device)
    return torch.cat([plain(network(images[part].float())) for part in _batches(len(images))])


@torch.no_grad()
def taps(image: Image, encoder: nn.Module, names: Sequence[str] = TAPS) -> dict[str, Features]:
    """What the encoder sees, on the device of its parameters, at the taps of `encoder_distance`."""
    return encoder(image.to(next(encoder.parameters()).device), names)


@torch.no_grad()
def tap_distance(
    ours: Mapping[str, Features], theirs: Mapping[str, Features], mask: Mask | None = None
) -> Tensor:
    """`encoder_distance` of what `taps` gave, pair by pair.

    Args:
        ours, theirs: name -> (B, C, h, w).
        mask: (B, 1, H, W) at any size; None weighs all alike.

    Returns:
        (B,) float64 on the CPU, nan where the mask is empty.
    """
    total = torch.zeros((), dtype=torch.float64)
    for name in ours:
        difference = (_unit(ours[name]) - _unit(theirs[name])).square().sum(1, keepdim=True)
        total = total + area_mean(difference, mask)[:, 0]
    return total / len(ours)


def pool(seen: Mapping[str, Features], mask: Mask | None = None) -> Tensor:
    """Of what `taps` gave the mean features that `encoder_frechet` compares, (B, C)."""
    return area_mean(seen[FRECHET_TAP], mask)


def area_mean(features: Features, mask: Mask | None = None) -> Tensor:
    """Mean over positions, each weighted with the share of its area that the mask covers.

    Args:
        features: (B, C, h, w).
        mask: (B, 1, H, W) in [0, 1]; None weighs all alike.

    Returns:
        (B, C) float64 on the CPU, nan where the mask is empty.

    >>> features = torch.tensor([[[[1.0, 3.0]]]])
    >>> area_mean(features, torch.tensor([[[[1.0, 1.0, 1.0, 0.0]] * 2]])).item()  # 1 and a half
    1.6666666666666667
    """
    features = plain(features)
    if mask is None:
        return features.mean((2, 3))
    weights = F.interpolate(plain(mask), size=features.shape[2:], mode="area")  # (B, 1, h, w)
    return (weights * features).sum((2, 3)) / weights.sum((2, 3))


def check_pictures(image: Tensor, target: Tensor, mask: Tensor | None = None) -> None:
    """Refuse pictures or masks of other shapes or ranges, before a network makes sense of them."""
    if image.ndim != 4 or image.shape[1] != 3 or image.shape != target.shape:
        raise ValueError(
            f"images must be (B, 3, H, W) of one shape, got {tuple(image.shape)} and "
            f"{tuple(target.shape)}"
        )
    for name, x in (("image", image), ("target", target)):
        low, high = (float(v) for v in x.aminmax())
        if not (low >= -1.001 and high <= 1.001):  # as gfla.metrics allows
            raise ValueError(f"{name} must lie in [-1, 1], got {low:.4g} … {high:.4g}: rescale it")
    wanted = (len(image), 1, *image.shape[2:])
    if mask is not None and tuple(mask.shape) != wanted:
        raise ValueError(f"mask must be {wanted}, got {tuple(mask.shape)}")


def _unit(features: Tensor) -> Tensor:
    return features / (features.square().sum(1, keepdim=True).sqrt() + _EPSILON)


def _batches(count: int) -> list[slice]:
    return [slice(first, first + BATCH) for first in range(0, count, BATCH)]
