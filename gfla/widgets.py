"""Live controls over figures. A widget holds no logic: it calls `draw` and shows what comes back.

Every live cell of a notebook stands below a cell that calls the same `draw` with fixed values:
the twin, which a reader sees where nothing runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape

import ipywidgets
from matplotlib.figure import Figure

from gfla.data.pasting import Parsed, parse, suspicions
from gfla.viz import image_bytes


def displacement_slider(
    draw: Callable[[float], Figure], furthest: float, step: float = 0.25, start: float = 0.0
) -> ipywidgets.VBox:
    """A slider over a displacement in pixels, above the figure it draws.

    Args:
        draw: displacement -> Figure; called once at once and again when the slider is let go.
        furthest: largest displacement, pixels; the slider begins at 0.
        step: pixels.
        start: where the slider stands at first.
    Returns:
        the widget.
    """
    slider = ipywidgets.FloatSlider(
        value=start,
        min=0.0,
        max=furthest,
        step=step,
        description="off by (px)",
        readout_format=".2f",
        continuous_update=False,  # draw when let go, not on the way
    )
    return _connect(draw, {"": slider})


def selectors(draw: Callable[..., Figure], **choices: Sequence) -> ipywidgets.VBox:
    """One drop-down list per keyword, above the figure they draw: level, sample, ...

    Args:
        draw: called with one keyword argument per list.
        choices: keyword -> what may be chosen; the first is chosen at the start.
    Returns:
        the widget.
    Raises:
        ValueError: nothing to choose from.
    """
    return _connect(draw, _lists(choices))


def explorer(draw: Callable[..., Figure], ranks: int, **choices: Sequence) -> ipywidgets.VBox:
    """Drop-down lists and a slider from the worst case to the best, above the figure they draw.

    Args:
        draw: called with one keyword argument per list, and with `rank`, 0 being the worst.
        ranks: number of cases.
        choices: keyword -> what may be chosen; the first is chosen at the start.
    Returns:
        the widget. What `draw` refuses, such as a metric that a model cannot have, is said below.
    Raises:
        ValueError: nothing to choose from, or no case.
    """
    if ranks < 1:
        raise ValueError(f"{ranks} cases to explore: give at least one")
    slider = ipywidgets.IntSlider(
        value=0, min=0, max=ranks - 1, description="rank", continuous_update=False
    )
    return _connect(draw, _lists(choices) | {"rank": slider})


def order_checker(
    draw: Callable[[Parsed], Figure], text: str = "", size: tuple[int, int] | None = None
) -> ipywidgets.VBox:
    """A field for key points as JSON, above their picture and what looks wrong in their order.

    Args:
        draw: key points that were read -> Figure, such as `gfla.interactive.sheets.order_sheet`.
        text: what stands in the field at first.
        size: (H, W) of the picture that the numbers refer to, where the text does not tell.
    Returns:
        the widget. A text that cannot be read is said why, and the last picture stays.
    """
    field = ipywidgets.Textarea(
        value=text,
        placeholder="OpenPose or COCO JSON, or a list of 18 [x, y]",
        continuous_update=False,  # read when the field is left
        layout=ipywidgets.Layout(width="100%", height="6em"),
    )
    notes = ipywidgets.HTML()

    def redraw(pasted: str) -> Figure:
        notes.value = ""
        read = parse(pasted, size)
        figure = draw(read)
        notes.value = "".join(f"<div>{escape(note)}</div>" for note in _verdict(read))
        return figure

    box = _connect(redraw, {"": field})
    box.children = (*box.children, notes)
    return box


def _verdict(read: Parsed) -> tuple[str, ...]:
    """What a reader has to know of key points that were read."""
    right = () if suspicions(read.pose) else ("Nothing looks swapped.",)
    return (f"Read as {read.order}.", *read.notes, *right)


def _lists(choices: Mapping[str, Sequence]) -> dict[str, ipywidgets.Widget]:
    for name, options in choices.items():
        if not len(options):
            raise ValueError(f"nothing to choose for {name!r}: give at least one option")
    return {
        name: ipywidgets.Dropdown(options=list(options), description=name)
        for name, options in choices.items()
    }


def _connect(draw: Callable[..., Figure], controls: Mapping[str, ipywidgets.Widget]):
    """Controls above one image whose bytes are replaced; a control named "" passes by position."""
    picture = ipywidgets.Image(format="png")
    message = ipywidgets.Label()

    def redraw(_change=None) -> None:
        given = {name: control.value for name, control in controls.items()}
        positional = [given.pop("")] if "" in given else []
        try:
            picture.value = image_bytes(draw(*positional, **given))
            message.value = ""
        except Exception as error:  # a callback's traceback is shown nowhere
            message.value = f"Could not draw: {error}"

    for control in controls.values():
        control.observe(redraw, names="value")
    redraw()
    return ipywidgets.VBox([ipywidgets.HBox(list(controls.values())), picture, message])
