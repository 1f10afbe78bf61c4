"""Notebook 01 as a reader meets it: run in JupyterLab, then the slider moved by keyboard."""

import numpy as np
import pytest

from gfla import notebooks

pytestmark = pytest.mark.timeout(600)  # the whole notebook, wherever a browser is slow


def test_the_arrow_keys_move_the_displacement_and_the_figure_follows(lab, reader):
    (notebook,) = notebooks.street(["01"])
    reader.run_notebook(lab, notebook)

    picture = reader.page.locator("img.widget-image")
    slider = reader.page.get_by_role("slider")
    picture.scroll_into_view_if_needed()
    start, at = reader.picture(picture), float(slider.get_attribute("aria-valuenow"))
    reader.look("displacement-start")

    slider.focus()
    moved = reader.settled(picture, after=lambda: reader.page.keyboard.press("ArrowRight"))
    reader.look("displacement-moved")
    assert float(slider.get_attribute("aria-valuenow")) > at
    assert moved.shape != start.shape or np.any(moved != start)

    back = reader.settled(picture, after=lambda: reader.page.keyboard.press("ArrowLeft"))
    np.testing.assert_array_equal(back, start)  # nothing of the move is left
    reader.expect_no_complaint()
