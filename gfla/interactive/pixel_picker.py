"""A picture of which one pixel is chosen: hover, click to hold it, or use the arrow keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import traitlets

from gfla.interactive.one_at_a_time import OneAtATime, data_url, style, view


class PixelPicker(OneAtATime):
    """A picture, and which of its pixels the reader means.

    The state is one dict: size, label, pixel ([x, y] or None), held (chosen by a click or by keys,
    so that hovering does not move it), and what `OneAtATime` adds.

    Args:
        label: what the picture shows, for those who hear it.
        size: (H, W) of the picture in pixels.

    >>> picker = PixelPicker("generated", (64, 48))
    >>> picker.choose((5, 6))
    >>> picker.state["pixel"], picker.pixel
    ([5, 6], (5, 6))
    """

    _esm = view("pixel_picker.js")
    _css = style("pose_editor.css")
    picture = traitlets.Unicode().tag(sync=True)

    def __init__(self, label: str, size: tuple[int, int]) -> None:
        self.pixel: tuple[int, int] | None = None
        self._label, self._size, self._held = label, tuple(size), False
        self._listeners: list[Callable[[tuple[int, int]], None]] = []
        super().__init__()

    def show(self, png: bytes, size: tuple[int, int]) -> None:
        """Show another picture; a pixel that it does not have is forgotten."""
        self.picture = data_url(png)
        if tuple(size) != self._size:
            self._size, self.pixel, self._held = tuple(size), None, False
            self.publish()

    def listen(self, listener: Callable[[tuple[int, int]], None]) -> None:
        """Call `listener((x, y))` whenever a pixel is chosen."""
        self._listeners.append(listener)

    def choose(self, pixel: tuple[int, int], held: bool = True) -> None:
        """Choose a pixel.

        Raises:
            ValueError: a pixel outside the picture.
        """
        height, width = self._size
        x, y = pixel
        if not (0 <= x < width and 0 <= y < height):
            raise ValueError(f"pixel is {pixel}, expected (x, y) inside {width}×{height}")
        self.pixel, self._held = (int(x), int(y)), held
        self._message, self._wrong = "", False
        for listener in self._listeners:
            listener(self.pixel)
        self.publish()

    def report(self) -> dict[str, Any]:
        """See the class."""
        pixel = None if self.pixel is None else list(self.pixel)
        size = list(self._size)
        return {"size": size, "label": self._label, "pixel": pixel, "held": self._held}

    def obey(self, request: dict[str, Any]) -> None:
        """Look at the pixel that the view names.

        Raises:
            ValueError: another wish, or no pixel of this picture.
        """
        pixel = request.get("pixel")
        if request.get("do") != "look" or not isinstance(pixel, list) or len(pixel) != 2:
            raise ValueError(f"{request!r} is nothing that this picture does")
        if not all(isinstance(value, int) for value in pixel):
            raise ValueError(f"pixel is {pixel}, expected two whole numbers")
        self.choose((pixel[0], pixel[1]), bool(request.get("held")))
