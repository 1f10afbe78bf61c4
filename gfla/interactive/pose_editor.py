"""A skeleton whose joints are dragged: one pose, edited by pointer, by keys, and from Python.

The view (pose_editor.js) draws and asks; what becomes of the pose is decided here and in
`gfla.data.posing`. Whoever else edits the pose, such as sliders, goes through `PoseEditor.attempt`
and is told of every change by `PoseEditor.listen`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import traitlets

from gfla.data.keypoints import LIMB_COLORS, LIMBS, OPENPOSE_18
from gfla.data.pasting import parse, to_json
from gfla.data.posing import TREE, History, Point, Pose, moved, removed
from gfla.data.stances import PRESETS, preset, random
from gfla.interactive.one_at_a_time import OneAtATime, data_url, style, view

_WORDS = {  # what the view draws with, and what never changes
    "joints": list(OPENPOSE_18),
    "limbs": [list(limb) for limb in LIMBS],
    "colors": ["rgb({}, {}, {})".format(*color) for color in LIMB_COLORS],
    "presets": list(PRESETS),
}


class PoseEditor(OneAtATime):
    """A draggable skeleton with undo, presets, and JSON to copy and paste.

    Every joint can be reached with Tab and moved with the arrow keys. The state is one dict:
    size, points (18 [x, y] or None), selected, undo and redo (how many steps), frame (how many
    changes were answered), json, and what `OneAtATime` adds.

    Args:
        pose: where it begins, and whose proportions the presets take.
        seed: of the first pose that Random gives; each further one takes the next.

    >>> from gfla.data.posing import Pose
    >>> editor = PoseEditor(Pose(((3.0, 4.0),) * 18, (64, 64)))
    >>> editor.state["points"][0], editor.state["undo"]
    ([3.0, 4.0], 0)
    """

    _esm = view("pose_editor.js")
    _css = style("pose_editor.css")
    words = traitlets.Dict().tag(sync=True)
    behind = traitlets.Unicode().tag(sync=True)

    def __init__(self, pose: Pose, seed: int = 0) -> None:
        self._history, self._first, self._dice = History(pose), pose, seed
        self._listeners: list[Callable[[Pose], None]] = []
        self._selected, self._gesture, self._frame = "", "", 0
        super().__init__(words=_WORDS)

    @property
    def pose(self) -> Pose:
        """The present pose."""
        return self._history.now

    def listen(self, listener: Callable[[Pose], None]) -> None:
        """Call `listener(pose)` after every change, before the view is answered.

        What it raises is shown in the widget; the pose stays.
        """
        self._listeners.append(listener)

    def attempt(self, edit: Callable[[Pose], Pose], gesture: str = "") -> bool:
        """Change the pose, or show why it cannot be.

        Args:
            edit: the present pose -> the new one.
            gesture: changes with the same name, one after the other, are one step for undo.

        Returns:
            Whether `edit` gave a pose.
        """
        try:
            self._change(edit, gesture)
        except Exception as error:  # a callback's traceback is shown nowhere
            self.say(str(error) or type(error).__name__, wrong=True)
            return False
        return True

    def restart(self, pose: Pose, message: str = "") -> None:
        """Begin anew with another person: undo does not reach back."""
        self._history.restart(pose)
        self._first, self._selected, self._gesture = pose, "", ""
        self._message, self._wrong = message, False
        self._changed()

    def show_behind(self, png: bytes) -> None:
        """Show a picture faintly behind the skeleton; empty bytes show none."""
        self.behind = data_url(png)

    def report(self) -> dict[str, Any]:
        """See the class."""
        pose = self.pose
        undo, redo = self._history.depth
        return {
            "size": list(pose.size),
            "points": [point and [round(float(c), 2) for c in point] for point in pose.points],
            "selected": self._selected,
            "undo": undo,
            "redo": redo,
            "frame": self._frame,
            "json": to_json(pose),
        }

    def obey(self, request: dict[str, Any]) -> None:
        """Move, nudge, add, remove, undo, redo, reset, random, preset or paste.

        Raises:
            ValueError: another wish, or one that lacks what it needs.
        """
        wish = request.get("do")
        if wish in ("undo", "redo", "reset"):
            self._change(lambda _: getattr(self._history, wish)())
        elif wish == "random":
            self._dice += 1
            self._change(lambda _: random(self._dice - 1, self._first))
        elif wish == "preset":
            self._change(lambda _: preset(str(request.get("name")), self._first))
        elif wish == "paste":
            self._paste(str(request.get("text", "")))
        elif wish in ("move", "nudge", "add", "remove"):
            self._handle(wish, request)
        else:
            raise ValueError(f"{wish!r} is nothing that this editor does")

    def _handle(self, wish: str, request: dict[str, Any]) -> None:
        """What is done to one joint."""
        joint = request.get("joint")
        if joint not in OPENPOSE_18:
            raise ValueError(f"there is no joint {joint!r}: choose one of {', '.join(OPENPOSE_18)}")
        self._selected = joint
        stretch = bool(request.get("stretch"))

        def edit(pose: Pose) -> Pose:
            if wish == "remove":
                return removed(pose, joint)
            if wish == "add":  # a second press is no second joint
                there = pose[joint] is not None
                return pose if there else moved(pose, joint, _home(pose, joint, self._first))
            x, y = _pair(request.get("by" if wish == "nudge" else "to"))
            if wish == "nudge":
                if pose[joint] is None:
                    raise ValueError(f"{joint} is missing: bring it in before it is moved")
                x, y = pose[joint][0] + x, pose[joint][1] + y
            return moved(pose, joint, (x, y), stretch)

        self._change(edit, str(request.get("gesture", "")))

    def _paste(self, text: str) -> None:
        read = parse(text, self.pose.size)
        self._change(lambda _: read.pose)
        self.say(" ".join((f"Read as {read.order}.", *read.notes)), self._wrong)

    def _change(self, edit: Callable[[Pose], Pose], gesture: str = "") -> None:
        """Go on to the pose that `edit` gives, and tell everybody."""
        before = self.pose
        pose = edit(before)  # undo, redo and reset move the history themselves
        if pose == before and pose == self._history.now:
            return
        if pose != self._history.now:
            if gesture and gesture == self._gesture:
                self._history.undo()  # a drag is one step, not one for every pixel
            start = self._history.now
            self._history.push(pose)
            self._gesture = gesture if self._history.now != start else ""
        else:
            self._gesture = ""
        self._message, self._wrong = "", False
        self._changed()

    def _changed(self) -> None:
        if self._listeners:
            self.publish(busy=True)  # the skeleton follows at once, the picture when it is there
        for listener in self._listeners:
            try:
                listener(self.pose)
            except Exception as error:  # a callback's traceback is shown nowhere
                self._message, self._wrong = str(error) or type(error).__name__, True
        self._frame += 1
        self.publish()


def _home(pose: Pose, joint: str, like: Pose) -> Point:
    """Where a missing joint comes in: as it hangs on the next joint up when the person stands."""
    standing = preset("stand", like)
    above = TREE.get(joint)
    while above and pose[above] is None:
        above = TREE.get(above)
    home = standing[joint]
    if above is None:
        return home
    (x, y), (from_x, from_y) = pose[above], standing[above]
    return home[0] + x - from_x, home[1] + y - from_y


def _pair(values: Any) -> Point:
    """Two numbers out of what a view sent."""
    if (
        not isinstance(values, list | tuple)
        or len(values) != 2
        or not all(isinstance(v, int | float) and abs(v) < 1e6 for v in values)
    ):
        raise ValueError(f"a place is {values!r}: expected [x, y] in pixels")
    return float(values[0]), float(values[1])
