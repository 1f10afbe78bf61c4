"""The pose studio: move a joint, see the person move, ask a pixel where it came from.

One pose, edited by a skeleton and by sliders; one model that paints it; pictures beside each other
whose bytes are replaced, never drawn anew. What goes wrong is said, and the last pictures stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import ipywidgets
import numpy as np

from gfla.data.posing import Pose, resized
from gfla.data.stances import preset
from gfla.interactive import live
from gfla.interactive.live import Frame, Painter, Source, png, where_from
from gfla.interactive.own_picture import OwnPicture
from gfla.interactive.pixel_picker import PixelPicker
from gfla.interactive.pose_editor import PoseEditor
from gfla.interactive.pose_sliders import PoseSliders
from gfla.interactive.where import where_panel
from gfla.model import GFLA
from gfla.pictures import flow_to_color

Size = tuple[int, int]  # (H, W)
Maker = Callable[[Size], Source]  # a source in the size that a model takes

_COLUMNS = ("source", "target pose", "generated", "flow", "key", "mask")
_OWN = "own picture"
_HINT = (
    '<div class="gfla-where"><p>Point at a pixel of the generated picture, or choose one with the '
    "arrow keys: where in the source was it taken from?</p></div>"
)


class Studio(ipywidgets.VBox):
    """A person, a model, and everything to move the one with the other.

    Args:
        models: what they are called -> what loads them; the first is shown.
        sources: size (H, W) -> names, and what makes each source in that size; the first is shown.
        start: preset that is taken at once; "" = the source's own pose.

    Attributes:
        editor, sliders, picker: the parts that move the pose, and the pixel that is asked.
        pictures: name -> image; where: the panel that says where the pixel came from.
        painter, frame: who paints, and the last answer.
    """

    def __init__(
        self,
        models: Mapping[str, Callable[[], GFLA]],
        sources: Callable[[Size], Mapping[str, Callable[[], Source]]],
        start: str = "wave",
    ) -> None:
        self._models, self._sources, self._quiet = dict(models), sources, False
        model = next(iter(self._models.values()))()
        self._names = list(sources(model.size))
        self._own: Maker | None = None
        self._maker: Maker = partial(self._listed, self._names[0])
        self.painter = Painter(model, self._maker(model.size))
        first = self.painter.source.pose
        pose = preset(start, first) if start else first
        self.frame: Frame = self.painter.paint(pose)
        self.editor = PoseEditor(first)
        self.sliders = PoseSliders(self.editor)
        self.picker = PixelPicker("The generated picture", self.painter.size)
        self._controls()
        super().__init__(self._page())
        self.add_class("gfla-studio")
        self._show(self.frame)
        self.editor.listen(self._paint)
        self.picker.listen(self._trace)
        self.editor.attempt(lambda _: pose)

    # ------------------------------------------------------------ what is on the page

    def _controls(self) -> None:
        near = {"description_width": "auto"}
        self.source_list = ipywidgets.Dropdown(
            options=self._names, description="person", style=near
        )
        self.model_list = ipywidgets.ToggleButtons(
            options=list(self._models), description="model", style=near | {"button_width": "auto"}
        )
        self.own_button = ipywidgets.ToggleButton(description="own picture …")
        self.own = OwnPicture(self._take_own)
        self.own.layout.display = "none"
        self.pictures = {name: _picture() for name in _COLUMNS if name != "generated"}
        self.pictures["key"].value = png(_wheel())
        self.labels = {name: ipywidgets.Label(name) for name in _COLUMNS}
        self.time = ipywidgets.Label()
        self.where = ipywidgets.HTML(_HINT)
        self.source_list.observe(self._choose_source, "value")
        self.model_list.observe(self._choose_model, "value")
        self.own_button.observe(self._open_own, "value")

    def _page(self) -> list[ipywidgets.Widget]:
        shown = self.pictures | {"generated": self.picker}
        columns = [ipywidgets.VBox([shown[name], self.labels[name]]) for name in _COLUMNS]
        for name, column in zip(_COLUMNS, columns, strict=True):
            column.add_class(f"gfla-{name.split()[0]}")
        choices = ipywidgets.HBox([self.source_list, self.own_button, self.model_list, self.time])
        strip = ipywidgets.HBox(columns)
        desk = ipywidgets.HBox([self.editor, self.sliders, self.where])
        for name, box in {"choices": choices, "strip": strip, "desk": desk}.items():
            box.add_class(f"gfla-{name}")
        return [choices, self.own, strip, desk]

    # ------------------------------------------------------------ what follows from a new pose

    def _paint(self, pose: Pose) -> None:
        """Show the answer to a pose; what this raises, the editor shows."""
        self.frame = self.painter.paint(pose)
        self._show(self.frame)

    def _show(self, frame: Frame) -> None:
        nothing = np.full((1, 1, 3), 200, np.uint8)
        for name, picture in (
            ("source", frame.source),
            ("target pose", frame.target_pose),
            ("flow", frame.flow),
            ("mask", frame.mask),
        ):
            self.pictures[name].value = png(nothing if picture is None else picture)
            self.labels[name].value = name if picture is not None else f"no {name} in this model"
        generated = png(frame.image)
        self.picker.show(generated, self.painter.size)
        self.editor.show_behind(generated)
        self.labels["key"].value = f"rim: {frame.limit:.2g} px"
        self.time.value = f"painted in {1e3 * frame.seconds:.0f} ms"
        if self.picker.pixel:
            self._trace(self.picker.pixel)
        else:
            self.where.value = _HINT

    def _trace(self, pixel: tuple[int, int]) -> None:
        self.where.value = where_panel(self.frame, where_from(self.painter, self.frame, pixel))

    # ------------------------------------------------------------ another model, another person

    def _choose_model(self, change: Any) -> None:
        self._switch(change, lambda name: self._follow(self._models[name](), self._maker))

    def _choose_source(self, change: Any) -> None:
        self._switch(
            change,
            lambda name: self._follow(self.painter.model, partial(self._listed, name), anew=True),
        )

    def _switch(self, change: Any, follow: Callable[[str], None]) -> None:
        """Obey a control; if that fails say so, and let the control tell what is still shown."""
        if self._quiet:
            return
        try:
            follow(change["new"])
        except Exception as error:  # a callback's traceback is shown nowhere
            with self._quietly():
                change["owner"].value = change["old"]
            self.editor.say(str(error) or type(error).__name__, wrong=True)

    def _follow(self, model: GFLA, maker: Maker, anew: bool = False) -> None:
        """Go on with a model and a source; what can fail comes before anything changes."""
        painter = Painter(model, maker(model.size))
        pose = painter.source.pose if anew else resized(self.editor.pose, painter.size)
        frame = painter.paint(pose)
        self.painter, self._maker, self.frame = painter, maker, frame
        if anew or pose.size != self.editor.pose.size:
            self.editor.restart(pose, " ".join(painter.source.notes))
        else:
            self._show(frame)
            self.editor.say("")

    def _listed(self, name: str, size: Size) -> Source:
        if name == _OWN and self._own:
            return self._own(size)
        return self._sources(size)[name]()

    def _take_own(self, picture: bytes, keypoints: str) -> None:
        """Move a person that a reader brought along."""
        own = partial(live.own, picture, keypoints)
        self._follow(self.painter.model, own, anew=True)
        self._own = own
        with self._quietly():
            self.source_list.options = [*self._names, _OWN]
            self.source_list.value = _OWN

    def _open_own(self, change: Any) -> None:
        self.own.layout.display = None if change["new"] else "none"

    @contextmanager
    def _quietly(self) -> Iterator[None]:
        """Set a control without obeying it."""
        self._quiet = True
        try:
            yield
        finally:
            self._quiet = False


def studio(start: str = "wave", people: int = 6) -> Studio:
    """The studio with every model that is shipped, and with held-out people.

    Args:
        start: preset that is taken at once; "" = the source's own pose.
        people: how many of each kind of source are offered.

    Returns:
        The widget.
    """
    models = {name: partial(live.load, name) for name in live.available()}
    return Studio(models, partial(live.sources, count=people), start)


def _picture() -> ipywidgets.Image:
    picture = ipywidgets.Image(format="png")
    picture.add_class("gfla-picture")
    return picture


def _wheel(side: int = 96) -> np.ndarray:
    """The colour wheel that reads a painted flow, (side, side, 4), nothing around it."""
    line = np.linspace(-1.0, 1.0, side)
    dx, dy = np.meshgrid(line, line)
    wheel = flow_to_color(np.stack([dx, dy]), limit=1.0)
    alpha = np.clip((1 - np.hypot(dx, dy)) * side / 2, 0, 1)[..., None] * 255
    return np.concatenate([wheel, alpha.astype(np.uint8)], axis=-1)
