"""A form for a picture of one's own and its key points."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets

_LARGEST = 30_000_000  # bytes
_HELP = "OpenPose or COCO JSON of this picture, or a list of 18 [x, y], in its pixels"


class OwnPicture(ipywidgets.VBox):
    """Choose a file, paste its key points, press the button.

    Args:
        take: called with the file's bytes and the text; what it raises is shown in the form.

    Attributes:
        upload, text, button, message: the parts.
    """

    def __init__(self, take: Callable[[bytes, str], None]) -> None:
        self._take = take
        wide = ipywidgets.Layout(width="100%")
        self.upload = ipywidgets.FileUpload(accept="image/*", description="picture")
        self.text = ipywidgets.Textarea(placeholder=_HELP, rows=3, layout=wide)
        self.button = ipywidgets.Button(description="use this picture")
        self.message = ipywidgets.Label()
        self.message.add_class("gfla-message")
        self.button.on_click(self._pressed)
        buttons = ipywidgets.HBox([self.upload, self.button, self.message])
        super().__init__([buttons, self.text])

    def _pressed(self, _: Any) -> None:
        try:
            self._take(self._file(), self.text.value)
            self.message.value = ""
            self.message.remove_class("gfla-wrong")
        except Exception as error:  # a callback's traceback is shown nowhere
            self.message.value = str(error) or type(error).__name__
            self.message.add_class("gfla-wrong")

    def _file(self) -> bytes:
        if not self.upload.value:
            raise ValueError("no picture is chosen: press “picture” first")
        content = bytes(self.upload.value[-1]["content"])
        if len(content) > _LARGEST:
            megabytes = len(content) / 1e6
            raise ValueError(f"the file has {megabytes:.0f} MB: choose one below 30 MB")
        return content
