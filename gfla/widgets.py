"""Live controls over figures. A widget holds no logic: it calls `draw` and shows what comes back.

Every live cell of a notebook stands below a cell that calls the same `draw` with fixed values:
the twin, which a reader sees where nothing runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import ipywidgets
from matplotlib.figure import Figure

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
