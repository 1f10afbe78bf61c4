"""Sliders over a pose: one for each segment, the body's turn, and the place in the picture.

They edit the pose of a `PoseEditor` and follow it: whoever moves it, the sliders show what it is.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import ipywidgets

from gfla.data.posing import SEGMENTS, Pose, angle, place, shifted, with_angle
from gfla.data.stances import facing, with_facing
from gfla.interactive.pose_editor import PoseEditor


class Knob(NamedTuple):
    """What one slider reads off a pose, and what it does to it."""

    read: Callable[[Pose], float | None]  # None = a joint that it needs is missing
    write: Callable[[Pose, float], Pose]
    least: float
    most: float
    unit: str


def knobs(size: tuple[int, int]) -> dict[str, Knob]:
    """All sliders of a pose, from top to bottom.

    Args:
        size: (H, W) of the picture in pixels.

    Returns:
        Name -> knob. Angles are those of `gfla.data.posing.angle`; only that of the head is its
        tilt from upright, positive to the viewer's right.

    >>> list(knobs((64, 64)))[:3]
    ['body turn', 'across', 'down']
    """
    height, width = size
    made = {
        "body turn": Knob(facing, with_facing, -180, 180, "°"),
        "across": Knob(partial(_place, 0), partial(_to_place, 0), 0, width - 1, "px"),
        "down": Knob(partial(_place, 1), partial(_to_place, 1), 0, height - 1, "px"),
    }
    for segment in SEGMENTS:
        read, write = partial(angle, segment=segment), partial(_to_angle, segment)
        if segment == "head":
            read, write = _tilt, _to_tilt
        made[segment] = Knob(read, write, -180, 180, "°")
    return made


class PoseSliders(ipywidgets.VBox):
    """Sliders that edit the pose of an editor, and show it.

    A view sends a slider's value only when the kernel has answered the last one, so a slider that
    is drawn quickly leaves no queue behind it.

    Args:
        editor: whose pose.

    Attributes:
        sliders: name -> slider, in the order of `knobs`.

    >>> from gfla.data.posing import Pose
    >>> down = tuple((30.0, 20.0 + k) for k in range(18))
    >>> PoseSliders(PoseEditor(Pose(down, (64, 64)))).sliders["left forearm"].value
    0.0
    """

    def __init__(self, editor: PoseEditor) -> None:
        self.editor = editor
        self._size, self._knobs = editor.pose.size, knobs(editor.pose.size)
        self._held = ""  # the slider that is being moved
        self._following = False
        self.sliders = {name: _slider(name, knob) for name, knob in self._knobs.items()}
        for name, slider in self.sliders.items():
            slider.observe(partial(self._moved, name), names="value")
        editor.listen(self.follow)
        self.follow(editor.pose)
        super().__init__(list(self.sliders.values()))
        self.add_class("gfla-sliders")

    def follow(self, pose: Pose) -> None:
        """Show a pose; a slider whose joints are missing is switched off."""
        self._following = True  # what is set here is no edit
        try:
            if pose.size != self._size:
                self._size, self._knobs = pose.size, knobs(pose.size)
                for name in ("across", "down"):
                    self.sliders[name].max = self._knobs[name].most
            for name, slider in self.sliders.items():
                value = self._knobs[name].read(pose)
                slider.disabled = value is None
                if value is not None and name != self._held:  # the held one is where the hand is
                    slider.value = float(round(value))
        finally:
            self._following = False

    def _moved(self, name: str, change: dict) -> None:
        if self._following:
            return
        self._held = name
        try:
            write = self._knobs[name].write
            self.editor.attempt(lambda pose: write(pose, change["new"]), f"slider {name}")
        finally:
            self._held = ""


def _slider(name: str, knob: Knob) -> ipywidgets.FloatSlider:
    return ipywidgets.FloatSlider(
        min=knob.least,
        max=knob.most,
        step=1.0,
        description=name,
        readout_format=".0f",
        layout=ipywidgets.Layout(width="100%", margin="0"),
        style={"description_width": "112px"},
        tooltip=f"{name}, {knob.unit}",
    )


def _to_angle(segment: str, pose: Pose, degrees: float) -> Pose:
    return with_angle(pose, segment, degrees)


def _tilt(pose: Pose) -> float | None:
    degrees = angle(pose, "head")
    return None if degrees is None else (360 - degrees) % 360 - 180


def _to_tilt(pose: Pose, degrees: float) -> Pose:
    return with_angle(pose, "head", 180 - degrees)


def _place(axis: int, pose: Pose) -> float | None:
    middle = place(pose)
    return middle and middle[axis]


def _to_place(axis: int, pose: Pose, value: float) -> Pose:
    by = value - (_place(axis, pose) or 0.0)
    return shifted(pose, by, 0.0) if axis == 0 else shifted(pose, 0.0, by)
