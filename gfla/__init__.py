"""GFLA: deep image spatial transformation for person image generation, to read and to run.

>>> import gfla
>>> gfla.__version__
'0.1.0'
"""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"
__all__ = ["__version__", "build", "load"]


def build(name: str = "full", task: str = "fashion") -> Any:
    """An untrained model at the paper's size; see `gfla.model.build`."""
    from gfla import model  # PyTorch is imported when a model is wanted, not before

    return model.build(name, task)


def load(name: str = "people") -> Any:
    """The trained model that ships under `name`, in eval mode; see `gfla.model.load`."""
    from gfla import model

    return model.load(name)
