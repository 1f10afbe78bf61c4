"""The project's own feature encoder: VGG's tap names, a hundredth of its size, nothing to download.

What VGG-19 has from ImageNet this one must have from its shape and its lesson: a pass down like
VGG's, then a pass up again that tells every fine position what the whole picture looks like, so
that a stripe on a sleeve and the same stripe on a leg do not look alike. It is trained by
`pretrain.py` on the true correspondences of procedural people; two more of its kind, narrower and
of other seeds, only judge, and one of these never saw a true correspondence.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gfla import storage

FILE = "encoder.safetensors"  # in data/weights and in the folder of a run
FILES = {
    "people": FILE,
    "judge": "judge.safetensors",
    "augmented": "augmented.safetensors",
    "objects": "objects.safetensors",
}
WIDTHS, OUT = (24, 32, 64, 96, 128), (48, 64, 96)  # channels of the shipped encoder
_CONVOLUTIONS = (1, 1, 3, 3, 2)  # of the way down, after the first of each block


class SmallEncoder(nn.Module):
    """A small VGG-style network that is read at VGG-19's tap names.

    Block b works at stride 2^(b−1). On the way down, relu{b}_2, relu{b}_3, … follow one another as
    in VGG. On the way up, block b joins what it saw with what block b+1 concluded, and that is its
    relu{b}_1, for b = 2 … 4: the tap that the losses compare positions with. relu1_1 and relu5_1
    are the first convolutions of their blocks.

    Args:
        widths: channels of blocks 1 … 5.
        out: channels of relu2_1, relu3_1, relu4_1.

    Args (forward):
        image: (B, 3, H, W) in [−1, 1], H and W multiples of 16.
        names: taps wanted, of `SmallEncoder.TAPS`.

    Returns (forward):
        dict name -> (B, C, H // 2^(b−1), W // 2^(b−1)), all >= 0.

    Raises:
        ValueError: an unknown tap, or a picture of the wrong shape.

    Departs from VGG-19 where it had to: the lower taps see the whole picture, and numbers computed
    with it are not VGG numbers (docs/spec.md section 5).

    >>> taps = SmallEncoder()(torch.zeros(1, 3, 64, 32), ["relu1_1", "relu3_1"])
    >>> {name: tuple(features.shape) for name, features in taps.items()}
    {'relu1_1': (1, 24, 64, 32), 'relu3_1': (1, 64, 16, 8)}
    """

    TAPS = tuple(
        f"relu{block}_{k}"
        for block, count in enumerate(_CONVOLUTIONS, start=1)
        for k in range(1, count + 2)
    )

    def __init__(self, widths: Sequence[int] = WIDTHS, out: Sequence[int] = OUT):
        super().__init__()
        self.arguments = {"widths": list(widths), "out": list(out)}
        before = (3, *widths)
        self.down = nn.ModuleDict()
        for block, count in enumerate(_CONVOLUTIONS, start=1):
            for k in range(1, count + 2):
                channels = before[block - 1] if k == 1 else widths[block - 1]
                self.down[f"{block}_{k}"] = _layer(channels, widths[block - 1])
        self.up = nn.ModuleDict()
        above = widths[4]
        for block in (4, 3, 2):
            self.up[str(block)] = _layer(widths[block - 1] + above, out[block - 2])
            above = out[block - 2]
        self.match = nn.ModuleDict(
            {str(b): nn.Conv2d(out[b - 2], out[b - 2], 3, padding=1) for b in (2, 3, 4)}
        )

    def forward(self, image: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
        self._check(image, names)
        found: dict[str, Tensor] = {}
        x, last = image, {}
        for block, count in enumerate(_CONVOLUTIONS, start=1):
            if block > 1:
                x = F.max_pool2d(x, 2)  # (B, C, H / 2^(b−1), W / 2^(b−1))
            for k in range(1, count + 2):
                x = self.down[f"{block}_{k}"](x)
                found[f"relu{block}_{k}"] = x
            last[block] = x
        for block in (4, 3, 2):
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = self.up[str(block)](torch.cat((last[block], x), 1))  # (B, C, 2h, 2w)
            found[f"relu{block}_1"] = F.relu(self.match[str(block)](x))
        return {name: found[name] for name in names}

    def _check(self, image: Tensor, names: Sequence[str]) -> None:
        if isinstance(names, str) or not names:
            raise ValueError(f"names must be a list of taps such as ['relu1_1'], got {names!r}")
        if unknown := sorted(set(names) - set(self.TAPS)):
            raise ValueError(f"no tap {', '.join(unknown)}: choose from {', '.join(self.TAPS)}")
        if image.ndim != 4 or image.shape[1] != 3 or any(side % 16 for side in image.shape[2:]):
            raise ValueError(
                f"image must be (B, 3, H, W) with H and W multiples of 16, got {tuple(image.shape)}"
            )


def _layer(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1), nn.GroupNorm(8, width), nn.ReLU()
    )


def save_encoder(path: str | Path, encoder: SmallEncoder) -> str:
    """Write an encoder in half precision with the arguments that rebuild it; its sha256."""
    tensors = {name: value.half() for name, value in encoder.state_dict().items()}
    return storage.save_safetensors(path, tensors, {"arguments": encoder.arguments})


def load_encoder(path: str | Path | None = None) -> SmallEncoder:
    """The shipped encoder, or one that `save_encoder` wrote; frozen, in float32, on the CPU.

    Raises:
        FileNotFoundError: there is no such file.
        gfla.storage.CheckpointError: damaged, or not an encoder.
    """
    path = Path(path) if path is not None else storage.weights_dir() / FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"no encoder at {path}: restore data/weights from the repository, or train one, "
            "python -m gfla encoder --out results/encoder"
        )
    tensors, metadata = storage.load_safetensors(path)
    try:
        encoder = SmallEncoder(**metadata["arguments"])
        encoder.load_state_dict({name: value.float() for name, value in tensors.items()})
    except (KeyError, TypeError, RuntimeError) as error:
        raise storage.CheckpointError(
            f"{path} does not hold an encoder of this project ({error})"
        ) from error
    return encoder.requires_grad_(False).eval()
