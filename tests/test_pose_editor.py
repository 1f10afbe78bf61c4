"""The pose editor as its view sees it: a request written into `state`, an answer read from it."""

import json

import pytest
import torch

from gfla.data.keypoints import LIMBS, OPENPOSE_18
from gfla.data.pasting import parse
from gfla.data.posing import Pose, bones, moved
from gfla.data.stances import preset
from gfla.interactive.one_at_a_time import view
from gfla.interactive.pixel_picker import PixelPicker
from gfla.interactive.pose_editor import PoseEditor
from gfla.interactive.pose_sliders import PoseSliders

SIZE = (64, 48)
STAND = Pose(
    (
        *((24.0, 9.0), (24.0, 15.0)),  # nose, neck
        *((18.0, 16.0), (15.0, 25.0), (14.0, 34.0), (30.0, 16.0), (33.0, 25.0), (34.0, 34.0)),
        *((21.0, 33.0), (20.0, 45.0), (20.0, 57.0), (27.0, 33.0), (28.0, 45.0), (28.0, 57.0)),
        *((22.5, 8.0), (25.5, 8.0), (21.0, 9.0), (27.0, 9.0)),  # eyes, ears
    ),
    SIZE,
)
LIMIT = {"abs": 0.011}  # the view is told hundredths of a pixel


@pytest.fixture
def editor():
    return PoseEditor(STAND)


def ask(widget, **request):
    """What a browser does: the whole state comes back with a request in it."""
    ask.count = getattr(ask, "count", 0) + 1
    name = f"test-{ask.count}"
    widget.set_state({"state": {**widget.state, "request": {"id": name, **request}}})
    assert widget.state["answered"] == name
    assert widget.state["request"] is None and widget.state["busy"] is False
    json.dumps(widget.state, allow_nan=False)
    return widget.state


def joint(state, name):
    return state["points"][OPENPOSE_18.index(name)]


def test_the_state_is_the_whole_pose_in_json(editor):
    state = editor.state
    assert state["size"] == [64, 48] and len(state["points"]) == 18
    assert joint(state, "neck") == pytest.approx(list(STAND["neck"]), **LIMIT)
    assert json.loads(json.dumps(state, allow_nan=False)) == state
    assert parse(state["json"]).pose.tensor().allclose(STAND.tensor(), atol=1e-2)
    assert editor.words["limbs"] == [list(limb) for limb in LIMBS]


def test_a_drag_moves_a_joint_and_bones_keep_their_length_unless_told_otherwise(editor):
    before = bones(editor.pose)
    x, y = STAND["right_elbow"]
    state = ask(editor, do="move", joint="right_wrist", to=[x - 30, y], stretch=False)
    assert joint(state, "right_wrist")[1] == pytest.approx(y, abs=0.02)
    assert bones(editor.pose) == pytest.approx(before, rel=1e-6)
    assert state["selected"] == "right_wrist" and state["undo"] == 1
    ask(editor, do="move", joint="right_wrist", to=[x - 30, y], stretch=True)
    assert editor.pose["right_wrist"] == pytest.approx((x - 30, y))
    assert bones(editor.pose)["right_wrist"] == pytest.approx(30)


def test_keys_nudge_by_pixels(editor):
    x, y = STAND["neck"]
    state = ask(editor, do="nudge", joint="neck", by=[-5, 1])
    assert joint(state, "neck") == pytest.approx([x - 5, y + 1], **LIMIT)
    ankle = STAND["left_ankle"]  # the neck takes the whole person along
    assert editor.pose["left_ankle"] == pytest.approx((ankle[0] - 5, ankle[1] + 1))


def test_a_drag_is_one_step_for_undo(editor):
    for down in range(8):
        ask(editor, do="move", joint="left_wrist", to=[40, 20 + down], gesture="drag 1")
    assert editor.state["undo"] == 1
    ask(editor, do="move", joint="left_wrist", to=[40, 50], gesture="drag 2")
    last = editor.pose
    assert editor.state["undo"] == 2
    state = ask(editor, do="undo")
    assert (state["undo"], state["redo"]) == (1, 1)
    once = moved(STAND, "left_wrist", (40, 27))
    assert editor.pose.tensor().allclose(once.tensor(), atol=1e-3) and editor.pose != STAND
    ask(editor, do="undo")
    assert editor.pose == STAND
    ask(editor, do="undo")
    assert editor.pose == STAND
    ask(editor, do="redo")
    ask(editor, do="redo")
    assert editor.pose == last
    ask(editor, do="reset")
    assert editor.pose == STAND and editor.state["undo"] == 3


def test_a_drag_that_comes_back_to_its_start_does_not_eat_earlier_steps(editor):
    ask(editor, do="nudge", joint="neck", by=[3, 0], gesture="key 1")
    first = editor.pose
    x, y = first["neck"]
    for to in ([x + 4, y], [x, y], [x + 6, y]):
        ask(editor, do="move", joint="neck", to=to, gesture="drag 1")
    ask(editor, do="undo")
    assert editor.pose == first
    ask(editor, do="undo")
    assert editor.pose == STAND


def test_a_missing_joint_is_told_and_comes_back_where_it_hangs(editor):
    state = ask(editor, do="remove", joint="right_wrist")
    assert joint(state, "right_wrist") is None and "right_wrist" in editor.pose.missing()
    state = ask(editor, do="nudge", joint="right_wrist", by=[1, 0])
    assert state["wrong"] and "right_wrist is missing" in state["message"]
    state = ask(editor, do="add", joint="right_wrist")
    assert joint(state, "right_wrist") == pytest.approx(list(STAND["right_wrist"]), abs=0.5)
    assert state["message"] == "" and not state["wrong"]
    here = ask(editor, do="nudge", joint="right_wrist", by=[-3, 0])["points"]
    assert ask(editor, do="add", joint="right_wrist")["points"] == here  # pressed twice
    ask(editor, do="remove", joint="left_wrist")
    ask(editor, do="remove", joint="left_elbow")
    assert ask(editor, do="add", joint="left_wrist")["points"][7] is not None


def test_presets_and_chance_take_the_proportions_of_the_person(editor):
    for name in editor.words["presets"]:
        ask(editor, do="preset", name=name)
        assert editor.pose == preset(name, STAND)
    poses = [ask(editor, do="random")["points"] for _ in range(3)]
    assert poses[0] != poses[1] != poses[2]
    again = PoseEditor(STAND)
    assert ask(again, do="random")["points"] == poses[0]


def test_a_pasted_pose_says_in_which_order_it_was_read(editor):
    numbers = [[n for point in STAND.points for n in (*point, 1)]]
    text = json.dumps({"people": [{"pose_keypoints_2d": numbers[0]}]})
    ask(editor, do="preset", name="T")
    state = ask(editor, do="paste", text=text)
    assert editor.pose.tensor().allclose(STAND.tensor())
    assert state["message"].startswith("Read as OpenPose-18.") and not state["wrong"]


@pytest.mark.parametrize("text", ["", "[1, 2", "[[1, 2], [3]]", "[NaN, 1]", '{"people": []}'])
def test_a_bad_paste_shows_a_message_and_leaves_the_pose(editor, text):
    calls = []
    editor.listen(calls.append)
    state = ask(editor, do="paste", text=text)
    assert state["wrong"] and len(state["message"]) > 20
    assert editor.pose == STAND and calls == [] and state["undo"] == 0
    assert not ask(editor, do="nudge", joint="neck", by=[1, 0])["wrong"]


@pytest.mark.parametrize(
    "request_, said",
    [
        ({"do": "fly"}, "'fly'"),
        ({}, "None"),
        ({"do": "move", "joint": "tail", "to": [1, 2]}, "'tail'"),
        ({"do": "move", "joint": "neck"}, "None"),
        ({"do": "move", "joint": "neck", "to": [1, "2"]}, "'2'"),
        ({"do": "move", "joint": "neck", "to": [1, float("inf")]}, "inf"),
        ({"do": "preset", "name": "fly"}, "'fly'"),
        ({"do": ["undo"]}, "undo"),
    ],
)
def test_a_wish_that_makes_no_sense_is_answered_too(editor, request_, said):
    state = ask(editor, **request_)
    assert state["wrong"] and said in state["message"]
    assert editor.pose == STAND


def test_only_python_changes_the_state(editor):
    editor.set_state({"state": {"points": [], "request": None}})
    assert len(editor.state["points"]) == 18
    stale = {**editor.state, "points": [[0, 0]] * 18}
    editor.set_state({"state": {**stale, "request": {"id": "a", "do": "undo"}}})
    assert joint(editor.state, "neck") == pytest.approx(list(STAND["neck"]), **LIMIT)


def test_listeners_hear_the_pose_before_the_view_is_answered(editor):
    seen = []

    def listen(pose):
        seen.append((pose, editor.state["busy"], editor.state["answered"], joint(
            editor.state, "neck")))  # fmt: skip

    editor.listen(listen)
    state = ask(editor, do="nudge", joint="neck", by=[2, 0])
    ((pose, busy, answered, neck),) = seen
    assert pose == editor.pose and busy and answered != state["answered"]
    assert neck == joint(state, "neck")  # the skeleton is told at once, the answer comes after
    ask(editor, do="undo")
    ask(editor, do="undo")  # nothing to undo, nothing to paint
    assert len(seen) == 2


def test_a_failing_listener_shows_its_message_and_the_pose_stays(editor):
    def fails(_):
        raise RuntimeError("out of paint")

    editor.listen(fails)
    state = ask(editor, do="preset", name="sit")
    assert state["wrong"] and state["message"] == "out of paint"
    assert editor.pose == preset("sit", STAND)


def test_another_person_forgets_the_steps(editor):
    ask(editor, do="preset", name="sit")
    other = preset("T", STAND)
    editor.restart(other, "a note")
    assert editor.pose == other and editor.state["message"] == "a note"
    assert (editor.state["undo"], editor.state["redo"]) == (0, 0)
    ask(editor, do="nudge", joint="neck", by=[2, 0])
    ask(editor, do="reset")
    assert editor.pose == other


def test_nothing_is_fetched_and_nothing_is_markup():
    for name in ("pose_editor.js", "pixel_picker.js"):
        text = view(name)
        assert text.count("export default") == 1
        for banned in ("import ", "innerHTML", "eval(", "fetch(", "https:"):
            assert banned not in text, (name, banned)


# ---------------------------------------------------------------- sliders


def test_sliders_and_skeleton_edit_one_pose(editor):
    sliders = PoseSliders(editor).sliders
    sliders["right forearm"].value = -90.0
    elbow, wrist = editor.pose["right_elbow"], editor.pose["right_wrist"]
    assert wrist[1] == pytest.approx(elbow[1]) and wrist[0] < elbow[0]
    ask(editor, do="move", joint="right_wrist", to=[elbow[0], elbow[1] + 30])
    assert sliders["right forearm"].value == 0
    sliders["across"].value = 30.0
    hips = [editor.pose[f"{side}_hip"][0] for side in ("right", "left")]
    assert sum(hips) / 2 == pytest.approx(30, abs=1e-3)


def test_an_upright_head_stands_in_the_middle_of_its_slider(editor):
    head = PoseSliders(editor).sliders["head"]
    assert head.value == 0
    for degrees in (-20, 20):
        head.value = degrees
        nose, neck = editor.pose["nose"], editor.pose["neck"]
        assert nose[1] < neck[1] and (nose[0] - neck[0]) * degrees > 0
        assert head.value == degrees


def test_a_slider_that_is_drawn_is_one_step_for_undo(editor):
    sliders = PoseSliders(editor).sliders
    for degrees in (10, 20, 30):
        sliders["left thigh"].value = degrees
    sliders["left shin"].value = 5
    assert editor.state["undo"] == 2
    ask(editor, do="undo")
    assert sliders["left thigh"].value == 30
    ask(editor, do="undo")
    assert editor.pose == STAND


def test_the_body_turns_there_and_back(editor):
    turn = PoseSliders(editor).sliders["body turn"]
    turn.value = 40
    once = editor.pose.tensor()
    turn.value = 120
    assert (editor.pose.tensor() - once).abs().max() > 3
    turn.value = 40
    assert torch.allclose(editor.pose.tensor(), once, atol=1e-3)


def test_a_slider_without_its_joint_is_off(editor):
    sliders = PoseSliders(editor).sliders
    ask(editor, do="remove", joint="left_wrist")
    assert sliders["left forearm"].disabled and not sliders["right forearm"].disabled
    ask(editor, do="undo")
    assert not sliders["left forearm"].disabled


def test_following_a_pose_does_not_edit_it(editor):
    PoseSliders(editor)
    odd = moved(STAND, "left_wrist", (31.3, 27.7))
    editor.attempt(lambda _: odd)
    assert editor.pose == odd and editor.state["undo"] == 1  # sliders show whole degrees


# ---------------------------------------------------------------- the pixel that is asked


def test_a_picker_tells_the_pixel_and_forgets_one_that_is_gone():
    picker, seen = PixelPicker("a picture", (64, 48)), []
    picker.listen(seen.append)
    state = ask(picker, do="look", pixel=[47, 63], held=True)
    assert state["pixel"] == [47, 63] and state["held"] and seen == [(47, 63)]
    picker.show(b"png", (64, 48))
    assert picker.pixel == (47, 63) and picker.picture.endswith("cG5n")
    picker.show(b"png", (32, 32))
    assert picker.pixel is None and picker.state["size"] == [32, 32]


@pytest.mark.parametrize("pixel", [[48, 0], [-1, 0], [1.5, 2], "ab", None, [1]])
def test_a_picker_refuses_what_is_no_pixel_of_its_picture(pixel):
    picker = PixelPicker("a picture", (64, 48))
    state = ask(picker, do="look", pixel=pixel, held=False)
    assert state["wrong"] and state["message"] and picker.pixel is None
