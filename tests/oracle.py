"""The golden networks: weights from names and shapes alone, inputs, and how to compare.

The arrays come from the original network classes, run on a CPU with random weights.  They lie in
the folder named by GFLA_GOLDEN, else in `tests/golden`; there the large pictures and gradients are
kept at every 4th or 8th pixel, which `compare` reads off their shape.
"""

from __future__ import annotations

import json
import math
import os
import zlib
from pathlib import Path

import numpy as np
import torch

FOLDER = Path(os.environ.get("GFLA_GOLDEN") or Path(__file__).parent / "golden")


def arrays(name: str) -> dict[str, np.ndarray]:
    """All arrays of one golden file."""
    with np.load(FOLDER / f"{name}.npz") as file:
        return dict(file)


def keys(name: str) -> list[dict]:
    """The published layout of one network: key, shape, alias_of?, buffer?."""
    return json.loads((FOLDER / f"keys_{name}.json").read_text(encoding="utf-8"))["keys"]


def weights(name: str, seed: int) -> dict[str, torch.Tensor]:
    """A published state_dict with the random weights that the golden arrays were made with."""
    return {
        entry["key"]: draw(entry.get("alias_of", entry["key"]), entry["shape"], seed)
        for entry in keys(name)
    }


def draw(key: str, shape: list[int], seed: int) -> torch.Tensor:
    """One tensor, from its name, its shape and a seed."""
    generator = torch.Generator("cpu").manual_seed((zlib.crc32(key.encode()) + seed) % 2**31)
    x = torch.randn(tuple(shape), generator=generator)
    if key.endswith(("weight_u", "weight_v")):
        return x / max(x.norm().item(), 1e-12)
    if len(shape) >= 2:
        return x * math.sqrt(2 * shape[0] / x.numel())  # fan-in of one output channel
    return 1 + 0.1 * x if key.endswith(("weight", "weight_orig")) else 0.1 * x


def picture(bytes_: np.ndarray) -> torch.Tensor:
    """Bytes to [-1, 1]."""
    return torch.from_numpy(bytes_.astype(np.float32) / np.float32(127.5) - np.float32(1))


def heat_maps(points: np.ndarray, height: int, width: int) -> torch.Tensor:
    """(B, 18, 2) rows and columns, −1 where missing, to Gaussian bumps of σ = 6."""
    y, x = np.mgrid[:height, :width]
    rows, columns = points[..., 0, None, None], points[..., 1, None, None]
    maps = np.exp(-((y - rows) ** 2 + (x - columns) ** 2) / 72.0)
    maps[(points == -1).any(-1)] = 0
    return torch.from_numpy(maps.astype(np.float32))


def compare(found: torch.Tensor, golden: np.ndarray, relative: bool = False) -> None:
    """Assert agreement within 1e-4, absolute, or relative to the golden array's largest."""
    stride = found.shape[-1] // golden.shape[-1]
    found = found.detach()[..., ::stride, ::stride].numpy()
    assert found.shape == golden.shape
    largest = np.abs(golden).max() if relative else 1.0
    np.testing.assert_allclose(found, golden, rtol=0, atol=1e-4 * largest)
