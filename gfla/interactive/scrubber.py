"""Sliders over time and around an object: with a kernel, and on a page where nothing runs.

A slider shows pictures that are there, or that are asked for once. However fast it is moved, no
queue of stale requests builds up: a browser has at most one under way and keeps the newest, which
is how ipywidgets sends, and a picture that was shown before costs nothing.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import ipywidgets
import numpy as np
from PIL import Image
from torch import Tensor

from gfla import films, ledger
from gfla.data.solids import AZIMUTHS
from gfla.interactive.one_at_a_time import data_url
from gfla.pictures import to_uint8

if TYPE_CHECKING:
    from IPython.display import HTML

    Render = Callable[[int], Mapping[str, Tensor]]

_SIDE = 160  # pixels of a picture on a page
_LOOK = "height:56px;max-width:none;image-rendering:pixelated"  # aloud: Jupyter's rule is stronger


def frame_scrubber(
    clips: films.Clips, fps: float = 12, scale: int = 3, start: int = 0
) -> ipywidgets.VBox:
    """A slider over the frames of clips that stand beside each other, and a button that plays them.

    Args:
        clips: as `gfla.films.write`: label -> clip (T, 3, H, W) in [−1, 1], usually.
        fps: frames a second, for the clock and for playing.
        scale: every pixel is drawn this many times larger.
        start: the frame shown at first.

    Returns:
        the widget; arrow keys move the slider that has the focus.

    Raises:
        ValueError: as `gfla.films.write`, or a start that is no frame.
    """
    pictures = films.frames_of(clips, scale)
    _check(start, len(pictures), fps)
    last = len(pictures) - 1
    slider = ipywidgets.IntSlider(
        value=start, min=0, max=last, description="frame", readout=False, continuous_update=True
    )
    play = ipywidgets.Play(value=start, min=0, max=last, interval=round(1000 / fps))
    ipywidgets.link((play, "value"), (slider, "value"))
    told = partial(_clock, last=last, fps=fps)
    return _shown(slider, [play, slider], lambda t: _png(pictures[t]), told)


def azimuth_slider(render: Render, start: int = 0, scale: int = 3) -> ipywidgets.VBox:
    """A slider around an object, and two buttons that go on past its ends.

    Args:
        render: azimuth bin 0 … 17 -> label -> picture (3, H, W) in [−1, 1], shown side by side;
            source, ours, appearance flow and truth, usually. Called once for each bin that is
            looked at.
        start: the bin shown at first.
        scale: every pixel is drawn this many times larger.

    Returns:
        the widget. What `render` refuses is said below, and the last picture stays.

    Raises:
        ValueError: a start that is no bin.
    """
    _check(start, AZIMUTHS)
    slider = ipywidgets.SelectionSlider(
        options=[(_degrees(stop), stop) for stop in range(AZIMUTHS)],
        value=start,
        description="azimuth",
        continuous_update=True,
    )
    buttons = []
    for icon, words, by in (("arrow-left", "one stop back", -1), ("arrow-right", "one stop on", 1)):
        button = ipywidgets.Button(
            icon=icon, tooltip=words, layout=ipywidgets.Layout(width="2.6em")
        )
        button.on_click(partial(_turn, slider, by))
        buttons.append(button)

    def picture(stop: int) -> bytes:
        named = {label: image[None] for label, image in render(stop).items()}
        return _png(films.frames_of(named, scale)[0])

    return _shown(slider, [buttons[0], slider, buttons[1]], picture)


def frame_page(clips: Mapping[str, Tensor], fps: float = 12, start: int = 0) -> HTML:
    """The twin of `frame_scrubber` for a page without a kernel: everything is in its text.

    Args:
        clips: label -> clip (T, 3, H, W) in [−1, 1].
        fps: frames a second, for the clock.
        start: the frame shown at first.

    Returns:
        as `page`.

    Raises:
        ValueError: no clip, clips of different lengths, or a start that is no frame.
    """
    counts = {len(clip) for clip in clips.values()}
    if len(counts) != 1:
        raise ValueError(f"clips of {sorted(counts)} frames: give one or more, of one length")
    (count,) = counts
    _check(start, count, fps)
    stops = {
        _clock(t, count - 1, fps): {label: to_uint8(clip[t]) for label, clip in clips.items()}
        for t in range(count)
    }
    return page(stops, "frame", start)


def azimuth_page(render: Render, start: int = 0) -> HTML:
    """The twin of `azimuth_slider` for a page without a kernel: every stop is rendered now.

    Args:
        render, start: as `azimuth_slider`.

    Returns:
        as `page`.

    Raises:
        ValueError: a start that is no bin.
    """
    stops = {
        _degrees(stop): {label: to_uint8(image) for label, image in render(stop).items()}
        for stop in range(AZIMUTHS)
    }
    return page(stops, "azimuth", start)


def page(stops: Mapping[str, Mapping[str, np.ndarray]], what: str, start: int = 0) -> HTML:
    """A slider that works where nothing runs: pictures, and a script that makes a slider of them.

    Args:
        stops: what a stop is called -> label -> picture (h, w, 3) uint8. Labels whose picture is
            the same at all stops should come first: that picture is held once.
        what: name of the slider.
        start: number of the stop that is shown at first.

    Returns:
        For a notebook's cell to end with; `.data` is the text. A page that strips scripts shows
        all pictures, small.

    Raises:
        ValueError: labels that differ from stop to stop, or a start that is none of the stops.
    """
    from IPython.display import HTML

    _check(start, len(stops))
    labels = [tuple(pictures) for pictures in stops.values()]
    if len(set(labels)) > 1 or not labels[0]:
        raise ValueError(f"stops with pictures {sorted(set(labels))}: give the same to all")
    first, *others = stops.values()
    steady: list[str] = []
    for label, picture in first.items():
        if not all(np.array_equal(picture, other[label]) for other in others):
            break  # from here on, everything is repeated at each stop
        steady.append(label)
    held = "".join(_img(first[label], label) for label in steady)
    moving = "".join(_stop(name, pictures, steady) for name, pictures in stops.items())
    repeated = ", ".join(labels[0][len(steady) :])
    shown = f"{', '.join(steady)}; at every stop: {repeated}" if steady else repeated
    told = f"{escape(what)}; from left to right: {escape(shown)}"
    digest = ledger.digest(held + moving)
    script = Path(__file__).with_name("sheet_slider.js").read_text(encoding="utf-8")
    script = script.replace("DIGEST", digest).replace("SIDE", str(_SIDE))
    return HTML(
        f'<div data-gfla-slider="{digest}" data-start="{start}" data-what="{escape(what)}">'
        f"<div>{held}{moving}</div><p>{told}</p></div>"
        f"<script>{{{script}}}</script>"
    )


def _shown(
    slider: ipywidgets.Widget,
    controls: Sequence[ipywidgets.Widget],
    picture: Callable[[int], bytes],
    told: Callable[[int], str] | None = None,
) -> ipywidgets.VBox:
    """Controls above one image whose bytes are replaced when the slider moves."""
    image, message, clock = ipywidgets.Image(format="png"), ipywidgets.Label(), ipywidgets.Label()
    kept = cache(picture)

    def show(_change: object = None) -> None:
        try:
            image.value = kept(slider.value)
            message.value = ""
        except Exception as error:  # a callback's traceback is shown nowhere
            message.value = f"Could not draw: {error}"
        if told:
            clock.value = told(slider.value)

    slider.observe(show, names="value")
    show()
    return ipywidgets.VBox([ipywidgets.HBox([*controls, clock]), image, message])


def _turn(slider: ipywidgets.SelectionSlider, by: int, _button: object) -> None:
    slider.value = (slider.value + by) % AZIMUTHS


def _clock(t: int, last: int, fps: float) -> str:
    """What stands beside a frame.

    >>> _clock(3, 24, 12)
    't = 3 of 24, 0.25 s'
    """
    return f"t = {t} of {last}, {t / fps:.2f} s"


def _degrees(stop: int) -> str:
    return f"{stop * 360 // AZIMUTHS}°"


def _check(start: int, count: int, fps: float = 1) -> None:
    if not 0 <= start < count:
        raise ValueError(f"start is {start}, there are {count} stops: choose one of them")
    if not fps > 0:
        raise ValueError(f"fps is {fps!r}: give the frames a second, above 0")


def _stop(name: str, pictures: Mapping[str, np.ndarray], held: Sequence[str]) -> str:
    cells = "".join(
        _img(picture, f"{label}, {name}")
        for label, picture in pictures.items()
        if label not in held
    )
    return f'<span title="{escape(name)}" style="white-space:nowrap">{cells}</span> '


def _img(picture: np.ndarray, words: str) -> str:
    url = data_url(_png(picture))
    return f'<img src="{url}" alt="{escape(words)}" height="56" style="{_LOOK}"> '


def _png(picture: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "PNG", optimize=True)
    return stream.getvalue()
