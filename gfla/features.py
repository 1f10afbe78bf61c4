"""Frozen feature networks: pictures in, named feature maps ("taps") out.

Two kinds of network share one call, ``encoder(image, names) -> {name: features}``, and the names of
VGG-19's layers: `VGG19`, the paper's, whose weights must be fetched once, and the project's own
small encoders, which ship. A number computed with one of the latter says so in its name. What
trains a model must not judge it: `TRAINERS` may stand in a loss, `JUDGES` only measure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from gfla.encoder import FILES, load_encoder
from gfla.storage import CheckpointError, sha256, weights_dir

if TYPE_CHECKING:
    from gfla.types import Features, Image

# Which tap the sampling correctness of a level compares: the first of that stride, section 5.1.
LEVEL_TAPS = {1: "relu2_1", 2: "relu3_1", 3: "relu4_1"}

VGG19_FILE = "vgg19-dcbb9e9d.pth"
VGG19_URL = f"https://download.pytorch.org/models/{VGG19_FILE}"
VGG19_SHA256 = "dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44"
_VGG19_BLOCKS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))  # width, convolutions


class VGG19(nn.Module):
    """The convolutions of VGG-19, frozen, read after each rectifier.

        φ_{relu b_k}(x) = max(0, conv_{b_k}(…)),  stride 2^(b−1)

    Parameters carry torchvision's names, ``features.N.{weight, bias}``. Weights are random until
    loaded, see `load_vgg19`. Gradients pass through to the picture, not to the weights.

    Args (forward):
        image: (B, 3, H, W) in [−1, 1].
        names: taps wanted, of relu1_1, relu1_2, relu2_1, … relu5_4. Nothing is computed beyond
            the deepest of them.

    Returns (forward):
        dict name -> (B, C, H // 2^(b−1), W // 2^(b−1)), C = 64, 128, 256, 512, 512 for b = 1 … 5.

    Raises:
        ValueError: an unknown tap, or a picture of the wrong shape or too small for the tap.

    Departs from common use, not from the published code: pictures are NOT normalised by ImageNet's
    mean and deviation, and the paper's λ are tuned for that (docs/spec.md section 5). Departs from
    the published code in relu3_2, which is relu3_3 there, by a slip; no loss uses it.

    >>> taps = VGG19()(torch.zeros(1, 3, 32, 24), ["relu1_1", "relu3_1"])
    >>> {name: tuple(features.shape) for name, features in taps.items()}
    {'relu1_1': (1, 64, 32, 24), 'relu3_1': (1, 256, 8, 6)}
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        self.taps: dict[str, int] = {}  # name -> index of its rectifier
        channels = 3
        for block, (width, convolutions) in enumerate(_VGG19_BLOCKS, start=1):
            if block > 1:
                layers.append(nn.MaxPool2d(2))
            for k in range(1, convolutions + 1):
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
                self.taps[f"relu{block}_{k}"] = len(layers) - 1
                channels = width
        self.features = nn.Sequential(*layers)
        self.requires_grad_(False).eval()

    def forward(self, image: Image, names: Sequence[str]) -> dict[str, Features]:
        last = self._check(image, names)
        wanted = {self.taps[name]: name for name in names}
        found: dict[str, Tensor] = {}
        x = image
        for index, layer in enumerate(self.features[: last + 1]):
            x = layer(x)  # (B, C, H // 2^(b−1), W // 2^(b−1))
            if index in wanted:
                found[wanted[index]] = x
        return {name: found[name] for name in names}

    def _check(self, image: Image, names: Sequence[str]) -> int:
        """Index of the deepest layer that is needed."""
        if isinstance(names, str) or not names:
            raise ValueError(f"names must be a list of taps such as ['relu1_1'], got {names!r}")
        if unknown := sorted(set(names) - self.taps.keys()):
            raise ValueError(f"no tap {', '.join(unknown)}: choose from {', '.join(self.taps)}")
        if image.ndim != 4 or image.shape[1] != 3:
            raise ValueError(f"image must be (B, 3, H, W) in [-1, 1], got {tuple(image.shape)}")
        deepest = max(names, key=self.taps.__getitem__)
        if min(image.shape[-2:]) < (least := 2 ** (int(deepest[4]) - 1)):
            raise ValueError(
                f"an image of {tuple(image.shape[-2:])} has no {deepest}, which needs {least} "
                "pixels a side: ask for shallower taps or enlarge the image"
            )
        return self.taps[deepest]


def load_vgg19(path: str | Path | None = None, checksum: str | None = None) -> VGG19:
    """VGG-19 with the ImageNet weights that torchvision publishes, from a file that is on disk.

    Nothing is ever downloaded.

    Args:
        path: the file. None means PyTorch's hub cache, `$TORCH_HOME/hub/checkpoints`.
        checksum: the sha256 that the file must have, in full or its beginning, at least 8 digits;
            by default that of torchvision's file.

    Returns:
        The network, frozen, on the CPU.

    Raises:
        FileNotFoundError: there is no such file; the message tells what to fetch and where to put
            it, or what to use instead.
        CheckpointError: another checksum, or a file that does not hold VGG-19.
        ValueError: a checksum that is none.

    >>> load_vgg19("nowhere.pth")
    Traceback (most recent call last):
    FileNotFoundError: no VGG-19 weights at nowhere.pth: ...
    """
    checksum = VGG19_SHA256 if checksum is None else checksum.lower()
    if not re.fullmatch("[0-9a-f]{8,64}", checksum):
        raise ValueError(f"checksum must be 8 to 64 hexadecimal digits, got {checksum!r}")
    if path is None:
        path = Path(torch.hub.get_dir()) / "checkpoints" / VGG19_FILE
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f"no VGG-19 weights at {path}: fetch {VGG19_URL} (548 MB) and put it there, or name "
            f"the file you have, load_vgg19('/your/{VGG19_FILE}'); or use the project's own "
            "encoder, load_features('people'), which needs no download, and say so beside every "
            "number"
        )
    found = sha256(path)
    if not found.startswith(checksum):
        raise CheckpointError(
            f"{path} has sha256 {found}, expected {checksum}…: it is damaged or another file; "
            f"fetch {VGG19_URL} again"
        )
    # Built without memory or random numbers: the weights of the file take the place of both.
    with torch.device("meta"):
        network = VGG19()
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)  # 2017's form: no mmap
        state = {name: value for name, value in state.items() if name in network.state_dict()}
        network.load_state_dict(state, assign=True)
    except Exception as error:  # the reader raises several types on damaged bytes; ours is one
        raise CheckpointError(
            f"{path} does not hold torchvision's VGG-19 ({error}): fetch {VGG19_URL}"
        ) from error
    return network.requires_grad_(False)


TRAINERS = ("people", "objects", "vgg19")  # the losses may look through these
JUDGES = ("judge", "augmented")  # no loss looks through these


def load_features(name: str = "people") -> nn.Module:
    """The frozen feature network called `name`, ready to use.

    Args:
        name: "people" or "objects", the project's own small encoders, which ship; "vgg19", the
            paper's, whose weights must be on disk; or one of two small encoders that only measure,
            other in seed and width: "judge", which learned as "people" did, from true
            correspondences, and "augmented", from single pictures and their bent twins.

    Returns:
        A network with the call of `VGG19`: ``encoder(image, names) -> {name: features}``.

    Raises:
        ValueError: an unknown name.
        FileNotFoundError: the weights are not there; the message says what to do.

    >>> load_features("vgg16")
    Traceback (most recent call last):
    ValueError: no feature network 'vgg16': ...
    """
    if name not in TRAINERS + JUDGES:
        known = ", ".join(TRAINERS + JUDGES)
        raise ValueError(f"no feature network {name!r}: choose from {known}")
    return load_vgg19() if name == "vgg19" else load_encoder(weights_dir() / FILES[name])
