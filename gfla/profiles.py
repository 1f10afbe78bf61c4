"""The three profiles that a notebook runs in, and how a room gives the sizes of one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

PROFILES = ("smoke", "cpu", "gpu")  # a check, minutes on a laptop, the paper's sizes
Sizes = TypeVar("Sizes")


def pick(settings: Mapping[str, Sizes], profile: str) -> Sizes:
    """The sizes of one profile.

    Args:
        settings: profile -> sizes.
        profile: "smoke", "cpu" or "gpu".

    Raises:
        ValueError: no such profile; the message lists those there are.

    >>> pick({"smoke": 1, "cpu": 60}, "cpu")
    60
    """
    if profile not in settings:
        raise ValueError(f"unknown profile {profile!r}: choose one of {', '.join(settings)}")
    return settings[profile]
