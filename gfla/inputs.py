"""What the models refuse before they begin, so that a wrong input is named and not a layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def check_shape(name: str, tensor: Any, wanted: tuple[int | str, ...], hint: str = "") -> None:
    """Refuse what is no batch of this shape.

    Args:
        name: of the argument, for the message.
        tensor: what was given.
        wanted: the length of each axis; a letter where any length will do.
        hint: what to do about another shape.

    Raises:
        TypeError: something else than a floating-point tensor.
        ValueError: another shape.

    >>> check_shape("view", torch.zeros(1, 18, 1, 1), ("B", 21, 1, 1), "add the elevation")
    Traceback (most recent call last):
    ...
    ValueError: view has shape (1, 18, 1, 1), expected (B, 21, 1, 1): add the elevation
    """
    if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
        kind = tensor.dtype if isinstance(tensor, Tensor) else type(tensor).__name__
        raise TypeError(
            f"{name} is {kind}, expected a floating-point tensor; "
            "for a picture of bytes use bytes / 127.5 - 1"
        )
    fits = [
        isinstance(length, str) or found == length
        for found, length in zip(tensor.shape, wanted, strict=False)
    ]
    if tensor.ndim != len(wanted) or not all(fits):
        expected = ", ".join(str(length) for length in wanted)
        raise ValueError(
            f"{name} has shape {tuple(tensor.shape)}, expected ({expected})"
            + (f": {hint}" if hint else "")
        )


def check_shapes(
    inputs: Mapping[str, tuple[Any, int]], step: int, size: tuple[int, int] | None = None
) -> None:
    """Refuse what is no batch of maps, or does not fit the other inputs or the network.

    Args:
        inputs: by name, the tensor and the channels it must have; the first, a picture, is what
            the others are compared with.
        step: the sides must be multiples of it, and the area larger than its square, because an
            instance norm needs more than one position at the bottom of the network.
        size: (H, W) to suggest.

    Raises:
        TypeError: something else than a floating-point tensor.
        ValueError: another shape.

    >>> check_shapes({"source": (torch.zeros(1, 3, 8, 12), 3)}, step=8, size=(16, 16))
    Traceback (most recent call last):
    ...
    ValueError: the pictures are 8×12: this model takes multiples of 8 on each side, larger than \
8×8; pad or resize them, for instance to (16, 16)
    """
    first, (picture, _) = next(iter(inputs.items()))
    for name, (tensor, channels) in inputs.items():
        check_shape(name, tensor, ("B", channels, "H", "W"))
        if tensor.shape[0] != picture.shape[0] or tensor.shape[2:] != picture.shape[2:]:
            raise ValueError(
                f"{name} has shape {tuple(tensor.shape)} beside a {first} of "
                f"{tuple(picture.shape)}: batch, height and width must agree"
            )
    height, width = picture.shape[2:]
    if height % step or width % step or height * width <= step * step:
        raise ValueError(
            f"the pictures are {height}×{width}: this model takes multiples of {step} on each "
            f"side, larger than {step}×{step}; pad or resize them, for instance to {size}"
        )


def check_values(pictures: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> None:
    """Refuse numbers that no picture has.

    Args:
        pictures: by name; each must lie in [-1, 1].
        others: by name; like the pictures, they must be finite.

    Raises:
        ValueError: with the name and what was found.

    >>> check_values({"source": torch.tensor([0.0, 255.0])}, {})
    Traceback (most recent call last):
    ...
    ValueError: source has values from 0 to 255, expected [-1, 1]; for a picture of bytes use \
bytes / 127.5 - 1
    """
    for name, tensor in {**pictures, **others}.items():
        if not torch.isfinite(tensor).all():
            raise ValueError(f"{name} holds values that are not finite: repair the input")
    for name, tensor in pictures.items():
        low, high = tensor.aminmax()
        if low < -1.001 or high > 1.001:  # a little more than one, for resized pictures
            raise ValueError(
                f"{name} has values from {low:.4g} to {high:.4g}, expected [-1, 1]; "
                "for a picture of bytes use bytes / 127.5 - 1"
            )
