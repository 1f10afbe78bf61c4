"""Widgets: every move draws once, and a drawing that fails says so."""

import io

import ipywidgets
import pytest
from PIL import Image

from gfla import viz, widgets


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


def test_nothing_to_choose_is_refused():
    with pytest.raises(ValueError, match="'sample'"):
        widgets.selectors(draw([]), level=(1,), sample=())
    with pytest.raises(ValueError, match="'metric'"):
        widgets.explorer(draw([]), 3, metric=())
    with pytest.raises(ValueError, match="0 cases"):
        widgets.explorer(draw([]), 0, metric=("l1",))
