"""What every test shares: golden arrays, fixed seeds, and a modest number of threads."""

import os
import random
from pathlib import Path

import numpy as np
import pytest
import torch

HERE = Path(__file__).parent
torch.set_num_threads(min(2, torch.get_num_threads()))  # more gain nothing on tensors this small


@pytest.fixture(autouse=True)
def seed():
    """Start every test from the same random numbers, whatever ran before it."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - for code under test that draws from the global generator
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def golden():
    """golden(name) -> dict of tensors (npz) or the path (any other file); skips where it is absent.

    Looks in the folder that GFLA_GOLDEN names, then in tests/golden (see the README there).
    """
    folders = [Path(f) for f in (os.environ.get("GFLA_GOLDEN"), HERE / "golden") if f]

    def find(name):
        path = next((f / name for f in folders if (f / name).is_file()), None)
        if path is None:
            pytest.skip(f"golden file {name} is not in {' or '.join(map(str, folders))}")
        if path.suffix != ".npz":
            return path
        with np.load(path) as arrays:
            return {key: _value(arrays[key]) for key in arrays.files}

    return find


def _value(array):
    return torch.from_numpy(array) if array.dtype.kind in "fiub" else array
