"""Notebook 07, the pose studio, as a reader meets it, in JupyterLab and as Voilà's page."""

import re

import numpy as np
import pytest
import servers

from gfla import notebooks
from gfla.interactive import live

pytestmark = pytest.mark.timeout(600)


NOTEBOOK = notebooks.street(["07"])[0]


class Desk:
    """The studio on the page."""

    def __init__(self, reader):
        self.reader, self.page, self.keyboard = reader, reader.page, reader.page.keyboard
        self.studio = self.page.locator(".gfla-studio").first
        self.editor = self.studio.locator(".gfla-editor")
        self.generated = self.studio.locator(".gfla-picker .gfla-pixels")
        self.people = self.studio.locator(".widget-dropdown select").first
        self.shown = reader.picture(self.generated)

    def joint(self, name):
        return self.editor.locator(f'[data-joint="{name}"]')

    def place(self, name):
        """Where a joint is, as those hear it who cannot see it."""
        return self.joint(name).get_attribute("aria-label")

    def follows(self, move):
        """Make a move, and expect that another picture comes and settles."""
        before = self.shown
        self.shown = self.reader.settled(self.generated, after=move)
        assert self.shown.shape != before.shape or np.any(self.shown != before)


def slider_by_keyboard(desk):
    row = desk.studio.locator(".gfla-sliders .widget-slider").filter(has_text="left forearm")
    slider = row.get_by_role("slider")
    wrist, angle = desk.place("left_wrist"), float(slider.get_attribute("aria-valuenow"))
    slider.focus()
    desk.follows(lambda: [desk.keyboard.press("ArrowLeft") for _ in range(12)])
    assert float(slider.get_attribute("aria-valuenow")) == angle - 12  # no press is lost
    assert desk.place("left_wrist") != wrist  # the skeleton follows the slider


def joint_by_pointer(desk):
    elbow = desk.place("right_elbow")
    desk.follows(lambda: desk.reader.drag(desk.joint("right_elbow"), right=-40, down=-50))
    assert desk.place("right_elbow") != elbow


def joint_by_keyboard(desk):
    desk.joint("left_knee").focus()
    desk.keyboard.press("Tab")
    assert desk.page.evaluate("document.activeElement.dataset.joint") == "left_ankle"
    ankle, before = desk.place("left_ankle"), desk.shown
    desk.follows(lambda: desk.keyboard.press("Shift+ArrowRight"))
    assert desk.place("left_ankle") != ankle
    desk.follows(lambda: desk.keyboard.press("Control+z"))
    np.testing.assert_array_equal(desk.shown, before)


def bad_paste(desk):
    """What is wrong is said, and the last picture stays."""
    desk.editor.get_by_role("button", name="Paste JSON").click()
    desk.editor.get_by_label("Pose as JSON").fill("[[1, 2], [3]]")
    desk.editor.get_by_role("button", name="Use this pose").click()
    desk.editor.locator(".gfla-message.gfla-wrong").wait_for()
    np.testing.assert_array_equal(desk.reader.picture(desk.generated), desk.shown)
    desk.editor.get_by_role("button", name="Close").click()


def where_from(desk):
    where = desk.studio.locator(".gfla-where")
    desk.generated.click()
    where.get_by_text(re.compile(r"Pixel \(\d+, \d+\)")).wait_for()
    assert where.locator("svg").count() > 0


def other_models(desk):
    for name in list(live.available())[1:]:
        desk.follows(desk.studio.get_by_role("button", name=name, exact=True).click)


def another_person(desk):
    desk.follows(lambda: desk.people.select_option("held-out person 2"))


STEPS = [
    slider_by_keyboard,
    joint_by_pointer,
    joint_by_keyboard,
    bad_paste,
    where_from,
    other_models,
    another_person,
]


def use(reader, name):
    """Do all that a reader does, and look after each step."""
    desk = Desk(reader)
    desk.editor.scroll_into_view_if_needed()
    reader.look(f"{name}-0-start")
    for number, step in enumerate(STEPS, 1):
        step(desk)
        reader.look(f"{name}-{number}-{step.__name__.replace('_', '-')}")


def test_in_jupyterlab_the_person_follows(lab, reader):
    reader.run_notebook(lab, NOTEBOOK)
    use(reader, "studio-jupyterlab")
    reader.expect_no_complaint()


def test_as_a_page_the_person_follows(reader, tmp_path):
    with servers.voila(NOTEBOOK, tmp_path / "voila") as page:
        reader.open_page(page)
        use(reader, "studio-voila")
        reader.expect_no_complaint(tolerated="fontawesome")  # icons that Voilà's template asks for
