"""Widgets that are drawn in the browser and ask Python one thing at a time.

All that such a widget knows is in one trait, `state`, which only Python changes. The view puts a
`request` beside it and waits for the answer before it sends the next one, which is the newest
that there is: however slow an answer, no queue of stale requests builds up (one_at_a_time.js). A
test that writes a request into `state` does what a browser does.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import anywidget
import traitlets


def view(name: str) -> str:
    """The JavaScript of a widget, from the file of that name beside this one.

    What all views share comes first: there is one text and no build step, nothing is fetched.
    """
    folder = Path(__file__).parent
    parts = (folder / "one_at_a_time.js", folder / name)
    return "\n".join(part.read_text(encoding="utf-8") for part in parts)


def style(name: str) -> str:
    """The style sheet of a widget, from the file of that name beside this one."""
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def data_url(png: bytes) -> str:
    """A picture as text that an <image> shows; no bytes, no picture.

    >>> data_url(b"abc")
    'data:image/png;base64,YWJj'
    """
    return f"data:image/png;base64,{base64.b64encode(png).decode()}" if png else ""


class OneAtATime(anywidget.AnyWidget):
    """A widget that obeys its view's requests and answers each with its whole state.

    What a request raises becomes the message that the view shows; the rest stays as it was.

    Attributes:
        state: what `report` gives, and message, wrong (the message tells of a failure), busy,
            answered (the last request's id) and request (the view's; None from Python).
    """

    # Without an echo: the view's own, older state would come back to it before the answer.
    state = traitlets.Dict().tag(sync=True, echo_update=False)

    def __init__(self, **traits: Any) -> None:
        self._message, self._wrong, self._answered, self._speaking = "", False, "", False
        super().__init__(**traits)
        self.publish()
        self.observe(self._heard, names="state")

    def report(self) -> dict[str, Any]:
        """What the view has to know, fit for JSON."""
        raise NotImplementedError

    def obey(self, request: dict[str, Any]) -> None:
        """Do what the view asks; a ValueError says why not."""
        raise NotImplementedError

    def say(self, message: str, wrong: bool = False) -> None:
        """Show a sentence in the widget, or nothing."""
        self._message, self._wrong = message, wrong
        self.publish()

    def publish(self, busy: bool = False) -> None:
        """Send the state to the view."""
        self._speaking = True
        try:
            self.state = self.report() | {
                "message": self._message,
                "wrong": self._wrong,
                "busy": busy,
                "answered": self._answered,
                "request": None,
            }
        finally:
            self._speaking = False

    def _heard(self, change: Any) -> None:
        """A view has written into `state`: obey its request, and put the rest right again."""
        if self._speaking:
            return
        request = change["new"].get("request")
        try:
            if isinstance(request, dict):
                self.obey(request)
        except Exception as error:  # a callback's traceback is shown nowhere
            self._message, self._wrong = str(error) or type(error).__name__, True
        finally:  # interrupted or not, the view waits for an answer
            if isinstance(request, dict):
                self._answered = str(request.get("id", ""))
            self.publish()
