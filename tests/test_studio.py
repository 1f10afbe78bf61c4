"""The studio without a browser: its traits moved, its pictures read."""

import io
import json
from datetime import datetime, timezone
from functools import partial
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image

from gfla.data import pasting
from gfla.data.stances import preset
from gfla.interactive import live, sheets, where
from gfla.interactive.own_picture import OwnPicture
from gfla.interactive.studio import Studio
from gfla.model import GFLA

SMALL = {"flow_base": 4, "flow_depth": 3, "base": 4, "depth": 2, "hidden": 4}


def tiny(attention="full", size=(32, 32), seed=0):
    torch.manual_seed(seed)
    model = GFLA(size, {1: 3, 2: 5}, attention=attention, **SMALL).eval()
    with torch.no_grad():
        for weight in model.parameters():  # an untrained flow would be 0 everywhere
            weight.add_(0.1 * torch.randn_like(weight))
    return model


def broken():
    raise RuntimeError("these weights are not there")


MODELS = {
    "Full": tiny,
    "Other": partial(tiny, seed=1),
    "Bi-Sample": partial(tiny, "bilinear"),
    "Global-Attn": partial(tiny, "global"),
    "Baseline": partial(tiny, "baseline"),
    "Large": partial(tiny, size=(64, 64)),
    "Broken": broken,
}


@pytest.fixture(scope="module")
def people():
    return partial(live.sources, count=2)


@pytest.fixture
def studio(people):
    return Studio(MODELS, people)


def pixels(widget):
    return np.asarray(Image.open(io.BytesIO(widget.value)))


def shown(studio):
    return {name: bytes(picture.value) for name, picture in studio.pictures.items()}


def uploaded(content):
    when = datetime(2026, 1, 1, tzinfo=timezone.utc)
    return {"name": "me.png", "type": "image/png", "size": len(content), "last_modified": when,
            "content": content}  # fmt: skip


def drag(studio, joint, to):
    request = {"id": str(to), "do": "move", "joint": joint, "to": to}
    studio.editor.set_state({"state": {**studio.editor.state, "request": request}})


def test_a_moved_joint_moves_the_person(studio):
    before, generated = shown(studio), studio.picker.picture
    x, y = studio.editor.pose["neck"]
    drag(studio, "neck", [x + 5, y])
    after = shown(studio)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"target pose", "flow", "mask"}
    assert studio.picker.picture != generated and studio.editor.behind == studio.picker.picture
    assert studio.editor.state["busy"] is False and studio.editor.state["message"] == ""
    assert studio.time.value.endswith(" ms")


def test_a_slider_does_the_same_and_the_skeleton_follows(studio):
    generated = studio.picker.picture
    frame = studio.editor.state["frame"]
    studio.sliders.sliders["right upper arm"].value = -90
    assert studio.picker.picture != generated
    assert studio.editor.state["frame"] == frame + 1  # one picture, not one for every slider


def test_the_pictures_are_what_the_painter_paints(studio):
    frame = studio.painter.paint(studio.editor.pose)
    for name, picture in frame.pictures().items():
        if name != "ours":
            np.testing.assert_array_equal(pixels(studio.pictures[name]), picture)
    assert studio.labels["key"].value == f"rim: {frame.limit:.2g} px"


def test_it_begins_with_a_preset_and_reset_gives_the_own_pose(studio, people):
    own = studio.painter.source.pose
    assert studio.editor.pose == preset("wave", own)
    studio.editor.set_state({"state": {"request": {"id": "r", "do": "reset"}}})
    assert studio.editor.pose == own
    assert Studio(MODELS, people, start="").editor.pose == own
    with pytest.raises(ValueError, match="'fly'"):
        Studio(MODELS, people, start="fly")


def test_another_model_paints_the_same_pose(studio):
    pose, generated = studio.editor.pose, studio.picker.picture
    studio.model_list.value = "Other"
    assert studio.editor.pose == pose and studio.picker.picture != generated
    studio.model_list.value = "Baseline"
    assert pixels(studio.pictures["flow"]).shape == (1, 1, 3)
    assert studio.labels["flow"].value == "no flow in this model"
    studio.model_list.value = "Full"
    assert studio.picker.picture == generated and studio.labels["flow"].value == "flow"


def test_a_model_of_another_size_takes_the_pose_along(studio):
    x, y = studio.editor.pose["neck"]
    studio.model_list.value = "Large"
    assert studio.editor.state["size"] == [64, 64] == studio.picker.state["size"]
    assert studio.editor.pose["neck"] == pytest.approx((2 * x, 2 * y), abs=0.6)
    assert studio.sliders.sliders["across"].max == 63


def test_a_model_that_fails_says_so_and_leaves_everything(studio):
    before, generated = shown(studio), studio.picker.picture
    studio.model_list.value = "Broken"
    assert studio.editor.state["message"] == "these weights are not there"
    assert studio.editor.state["wrong"] and studio.model_list.value == "Full"
    assert shown(studio) == before and studio.picker.picture == generated


def test_a_painter_that_fails_leaves_the_last_picture(studio, monkeypatch):
    generated = studio.picker.picture

    def fails(pose):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(studio.painter, "paint", fails)
    drag(studio, "left_wrist", [20, 20])
    assert studio.editor.state["message"] == "out of memory" and studio.editor.state["wrong"]
    assert studio.picker.picture == generated
    monkeypatch.undo()
    drag(studio, "left_wrist", [10, 20])
    assert studio.picker.picture != generated and not studio.editor.state["wrong"]


def test_another_person_begins_in_their_own_pose(studio):
    source = studio.pictures["source"].value
    studio.source_list.value = studio.source_list.options[1]
    assert studio.pictures["source"].value != source
    assert studio.editor.pose == studio.painter.source.pose
    assert studio.editor.state["undo"] == 0


def test_an_own_picture_comes_with_its_key_points(studio):
    picture = io.BytesIO()
    Image.new("RGB", (40, 80), (200, 30, 30)).save(picture, "PNG")
    text = pasting.to_json(preset("T", studio.editor.pose))
    own = studio.own
    own.button.click()
    assert "no picture is chosen" in own.message.value
    source = studio.pictures["source"].value
    own.upload.value = (uploaded(memoryview(b"nonsense")),)
    own.text.value = text
    own.button.click()
    assert own.message.value and studio.pictures["source"].value == source
    own.upload.value = (uploaded(memoryview(picture.getvalue())),)
    own.text.value = "[1, 2]"
    own.button.click()
    assert "18" in own.message.value and studio.pictures["source"].value == source
    own.text.value = text
    own.button.click()
    assert own.message.value == "" and studio.source_list.value == "own picture"
    assert studio.pictures["source"].value != source
    studio.model_list.value = "Large"  # made anew from the file, in the other size
    assert studio.pictures["source"].value != source and studio.picker.state["size"] == [64, 64]
    studio.source_list.value = studio.source_list.options[0]
    studio.source_list.value = "own picture"
    assert studio.painter.source.name == "own picture"


def test_an_upload_beyond_all_measure_is_refused():
    taken = []
    form = OwnPicture(lambda *given: taken.append(given))
    form.upload.value = (uploaded(bytes(30_000_001)),)
    form.button.click()
    assert "30 MB" in form.message.value and taken == []


# ---------------------------------------------------------------- where a pixel came from


def panel(html):
    return ElementTree.fromstring(html)


@pytest.mark.parametrize("model", ["Full", "Bi-Sample", "Global-Attn", "Baseline"])
def test_a_pixel_is_followed_and_the_panel_follows_the_pose(studio, model):
    studio.model_list.value = model
    request = {"id": model, "do": "look", "pixel": [17, 12], "held": True}
    studio.picker.set_state({"state": {**studio.picker.state, "request": request}})
    first = studio.where.value
    text = "".join(panel(first).itertext())
    origin = live.where_from(studio.painter, studio.frame, (17, 12))
    assert "Pixel (17, 12)" in text and origin.note in text
    for look in origin.looks:
        assert f"stride {look.stride}" in text and f"{look.mask:.2f}" in text
    studio.sliders.sliders["across"].value += 4
    assert "Pixel (17, 12)" in studio.where.value
    if model != "Baseline":
        assert studio.where.value != first


def test_bi_sample_reads_one_place_at_every_level(studio):
    studio.model_list.value = "Bi-Sample"
    assert studio.labels["flow"].value == "flow" and studio.editor.state["message"] == ""
    origin = live.where_from(studio.painter, studio.frame, (9, 20))
    assert [look.weights.tolist() for look in origin.looks] == [[[1.0]], [[1.0]]]
    panels = panel(where.where_panel(studio.frame, origin))
    assert [node.text for node in panels.iter("text")] == ["1", "1"]


def test_the_panel_writes_every_weight_of_a_small_neighbourhood(studio):
    origin = live.where_from(studio.painter, studio.frame, (9, 20))
    tree = panel(where.where_panel(studio.frame, origin))
    written = [float(node.text) for node in tree.iter("text")]
    true = [w for look in origin.looks for w in look.weights.flatten().tolist()]
    assert written == pytest.approx(true, abs=0.0051)
    assert len([node for node in tree.iter("rect") if node.get("fill") == "none"]) == 5


def test_the_twins_are_figures_without_a_browser(studio):
    for model in ("Full", "Bi-Sample", "Global-Attn", "Baseline"):
        studio.model_list.value = model
        origin = live.where_from(studio.painter, studio.frame, (9, 20))
        figure = where.where_figure(studio.frame, origin)
        assert len(figure.axes) == 2 + len(origin.looks)
    like = studio.painter.source.pose
    poses = sheets.preset_poses(like) | sheets.swept(like, "body turn", (0, 90))
    figure = sheets.pose_sheet(studio.painter, poses, ("target pose", "ours"))
    assert len(figure.axes) == 2 * len(poses)
    labels = [axes.get_xlabel() for axes in figure.axes]
    assert [label for label in labels if label] == [*poses]
    with pytest.raises(ValueError, match="0 poses"):
        sheets.pose_sheet(studio.painter, {})


def test_the_order_sheet_numbers_the_joints_that_are_there(studio):
    pose = preset("T", studio.editor.pose)
    people = json.loads(pasting.to_json(pose))
    people["people"][0]["pose_keypoints_2d"][12:15] = [0, 0, 0]
    read = pasting.parse(json.dumps(people))
    figure = sheets.order_sheet(read, studio.frame.source)
    stage, names = figure.axes
    assert {note.get_text() for note in stage.texts} == {str(k) for k in range(18) if k != 4}
    assert "4  right wrist (missing)" in [text.get_text() for text in names.texts]
    assert stage.get_xlabel() == "read as OpenPose-18"
