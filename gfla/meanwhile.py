"""What the whole process shares, set for a while: PyTorch's threads, a variable of the environment.

Both are as before when the `with` ends, also by an exception.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def threads(count: int) -> Iterator[None]:
    """PyTorch's number of threads, for a while.

    Args:
        count: at least 1.

    Raises:
        ValueError: below 1.

    >>> import torch
    >>> with threads(1):
    ...     torch.get_num_threads()
    1
    """
    import torch  # not for those who only want the environment

    if count < 1:
        raise ValueError(f"threads is {count}, expected at least 1")
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def environment(name: str, value: str) -> Iterator[None]:
    """A variable of the environment, for a while; processes that begin meanwhile inherit it.

    Args:
        name: of the variable.
        value: that it has, meanwhile.

    >>> with environment("GFLA_EXAMPLE", "here"):
    ...     os.environ["GFLA_EXAMPLE"]
    'here'
    >>> "GFLA_EXAMPLE" in os.environ
    False
    """
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before
