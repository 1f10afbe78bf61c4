"""Widgets: every move draws once, and a drawing that fails says so."""

import io
import json

import ipywidgets
import pytest
from PIL import Image

from gfla import viz, widgets
from gfla.data.keypoints import OPENPOSE_18


def draw(calls):
    def drawn(*args, **kwargs):
        calls.append((*args, *kwargs.items()))
        return viz.bars({"a": float(len(calls))}, "value", width=viz.NARROW)

    return drawn


def parts(box):
    controls, picture, message = box.children
    return controls.children, picture, message


def test_a_slider_draws_at_once_and_again_when_it_is_let_go():
    calls = []
    box = widgets.displacement_slider(draw(calls), furthest=6.0, start=2.0)
    (slider,), picture, message = parts(box)
    assert calls == [(2.0,)]
    before = picture.value
    assert Image.open(io.BytesIO(before)).format == "PNG"
    slider.value = 3.5
    assert calls == [(2.0,), (3.5,)]
    assert picture.value != before and message.value == ""
    assert not slider.continuous_update  # otherwise every pixel of a drag would draw
    assert (slider.min, slider.max) == (0.0, 6.0)


def test_selectors_pass_what_was_chosen_by_name():
    calls = []
    box = widgets.selectors(draw(calls), level=(2, 1), sample=range(3))
    (level, sample), _, _ = parts(box)
    assert isinstance(level, ipywidgets.Dropdown) and level.description == "level"
    sample.value = 2
    level.value = 1
    assert calls == [
        (("level", 2), ("sample", 0)),
        (("level", 2), ("sample", 2)),
        (("level", 1), ("sample", 2)),
    ]


def test_a_failing_drawing_keeps_the_last_picture_and_names_the_error():
    def fails_at_three(value):
        if value == 3:
            raise RuntimeError("three is too many")
        return viz.bars({"a": value}, "value", width=viz.NARROW)

    (slider,), picture, message = parts(widgets.displacement_slider(fails_at_three, 6.0))
    before = picture.value
    slider.value = 3
    assert picture.value == before
    assert message.value == "Could not draw: three is too many"
    slider.value = 4
    assert message.value == "" and picture.value != before


def test_an_explorer_goes_from_the_worst_case_to_the_best():
    calls = []
    box = widgets.explorer(draw(calls), 4, metric=("l1", "psnr"), model=("full", "global"))
    (metric, model, rank), _, _ = parts(box)
    assert isinstance(metric, ipywidgets.Dropdown) and isinstance(rank, ipywidgets.IntSlider)
    assert (rank.min, rank.max, rank.continuous_update) == (0, 3, False)
    rank.value = 3
    model.value = "global"
    assert calls == [
        (("metric", "l1"), ("model", "full"), ("rank", 0)),
        (("metric", "l1"), ("model", "full"), ("rank", 3)),
        (("metric", "l1"), ("model", "global"), ("rank", 3)),
    ]


def key_points(**moved):
    """A person who stands facing us, as a list of 18 pairs."""
    points = {
        "nose": (32, 8), "neck": (32, 14),
        "right_shoulder": (27, 15), "right_elbow": (24, 24), "right_wrist": (23, 32),
        "left_shoulder": (37, 15), "left_elbow": (40, 24), "left_wrist": (41, 32),
        "right_hip": (29, 32), "right_knee": (28, 44), "right_ankle": (28, 56),
        "left_hip": (35, 32), "left_knee": (36, 44), "left_ankle": (36, 56),
        "right_eye": (31, 7), "left_eye": (33, 7), "right_ear": (29, 8), "left_ear": (35, 8),
    }  # fmt: skip
    assert tuple(points) == OPENPOSE_18
    return json.dumps([*(points | moved).values()])


def test_an_order_checker_says_what_it_read_and_what_looks_swapped():
    drawn = []

    def sheet(read):
        drawn.append(read)
        return viz.bars({"a": float(len(drawn))}, "value", width=viz.NARROW)

    box = widgets.order_checker(sheet, key_points(), (64, 64))
    controls, picture, message, notes = box.children
    (field,) = controls.children
    assert drawn[0].order == "OpenPose-18" and drawn[0].pose["neck"] == (32, 14)
    assert "Read as OpenPose-18." in notes.value and "Nothing looks swapped." in notes.value
    field.value = key_points(right_ankle=(28, 20), left_ankle=(36, 20))
    assert "The ankles are above the hips" in notes.value
    assert "Nothing looks swapped." not in notes.value and len(drawn) == 2
    before = picture.value
    field.value = "[[1, 2], [3]]"
    assert picture.value == before and message.value.startswith("Could not draw: ")
    assert notes.value == "" and len(drawn) == 2
    field.value = key_points()
    assert message.value == "" and "Nothing looks swapped." in notes.value
    assert not field.continuous_update  # half a text is no pose


def test_nothing_to_choose_is_refused():
    with pytest.raises(ValueError, match="'sample'"):
        widgets.selectors(draw([]), level=(1,), sample=())
    with pytest.raises(ValueError, match="'metric'"):
        widgets.explorer(draw([]), 3, metric=())
    with pytest.raises(ValueError, match="0 cases"):
        widgets.explorer(draw([]), 0, metric=("l1",))
