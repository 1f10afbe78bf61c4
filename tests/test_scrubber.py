"""Sliders over frames and azimuths: what they show is what was given, asked for once."""

import base64
import io
import re
from xml.etree import ElementTree

import ipywidgets
import numpy as np
import pytest
import torch
from PIL import Image

from gfla import films
from gfla.interactive import scrubber
from gfla.pictures import to_uint8


@pytest.fixture
def clips():
    return {name: torch.rand(5, 3, 8, 10) * 2 - 1 for name in ("ours", "truth")}


def seen(picture):
    return np.asarray(Image.open(io.BytesIO(picture.value)).convert("RGB"))


def rendering(calls, refuse=()):
    def render(stop):
        calls.append(stop)
        if stop in refuse:
            raise RuntimeError(f"bin {stop} is broken")
        shade = torch.full((3, 8, 8), stop / 9 - 1)
        return {"source": torch.zeros(3, 8, 8), "ours": shade, "truth": -shade}

    return render


def test_a_frame_scrubber_shows_the_frame_that_its_slider_names(clips):
    box = scrubber.frame_scrubber(clips, fps=12, scale=2)
    controls, picture, message = box.children
    _, slider, clock = controls.children
    frames = films.frames_of(clips, scale=2)
    assert (slider.min, slider.max, slider.value) == (0, 4, 0)
    for t in (0, 3, 1, 4):
        slider.value = t
        np.testing.assert_array_equal(seen(picture), frames[t])
    slider.value = 3
    assert clock.value == "t = 3 of 4, 0.25 s" and message.value == ""
    assert slider.continuous_update  # it follows the hand


def test_playing_moves_the_slider_and_the_hand_moves_the_player(clips):
    box = scrubber.frame_scrubber(clips, fps=8, start=1)
    (play, slider, clock), picture = box.children[0].children, box.children[1]
    assert isinstance(play, ipywidgets.Play) and play.interval == 125
    assert (play.min, play.max, play.value) == (0, 4, 1)
    before = picture.value
    play.value = 2
    assert slider.value == 2 and picture.value != before and clock.value == "t = 2 of 4, 0.25 s"
    slider.value = 1
    assert play.value == 1 and picture.value == before


def test_a_frame_is_encoded_once(clips, monkeypatch):
    encoded = []
    monkeypatch.setattr(
        scrubber, "_png", lambda p: encoded.append(p) or bytes(str(p.sum()), "ascii")
    )
    box = scrubber.frame_scrubber(clips)
    slider = box.children[0].children[1]
    for t in (1, 0, 1, 0, 2):
        slider.value = t
    assert len(encoded) == 3


def test_an_azimuth_slider_renders_each_stop_once_and_shows_it():
    calls = []
    box = scrubber.azimuth_slider(rendering(calls), start=4, scale=3)
    controls, picture, message = box.children
    _, slider, _, _ = controls.children
    assert calls == [4] and slider.label == "80°"
    assert [label for label, _ in slider.options] == [f"{20 * k}°" for k in range(18)]
    for stop in (5, 4, 17, 5):
        slider.value = stop
        named = {name: image[None] for name, image in rendering([])(stop).items()}
        np.testing.assert_array_equal(seen(picture), films.frames_of(named, 3)[0])
    assert calls == [4, 5, 17] and message.value == ""


def test_the_buttons_go_on_past_the_ends():
    box = scrubber.azimuth_slider(rendering([]), start=16)
    back, slider, on, _ = box.children[0].children
    stops = []
    slider.observe(lambda change: stops.append(change["new"]), names="value")
    for button in (on, on, on, back, back):
        button.click()
    assert stops == [17, 0, 1, 0, 17]


def test_a_stop_that_fails_keeps_the_last_picture_and_names_the_error():
    box = scrubber.azimuth_slider(rendering([], refuse=(3,)), start=2)
    controls, picture, message = box.children
    slider = controls.children[1]
    before = picture.value
    slider.value = 3
    assert picture.value == before and message.value == "Could not draw: bin 3 is broken"
    slider.value = 4
    assert picture.value != before and message.value == ""


def tree(html):
    body = re.sub(r"<script>.*</script>", "", html, flags=re.S)
    return ElementTree.fromstring(re.sub(r"(<img [^>]*)>", r"\1/>", body))


def pictured(img):
    kind, content = img.get("src").split(",")
    assert kind == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB"))


def test_a_page_of_frames_holds_every_frame(clips):
    box = tree(scrubber.frame_page(clips, fps=12, start=2).data)
    assert box.get("data-start") == "2" and box.get("data-what") == "frame"
    assert box.find("p").text == "frame; from left to right: ours, truth"
    stops = list(box.iter("span"))
    assert [stop.get("title") for stop in stops][3] == "t = 3 of 4, 0.25 s" and len(stops) == 5
    for t, stop in enumerate(stops):
        images = list(stop.iter("img"))
        assert [img.get("alt").split(",")[0] for img in images] == ["ours", "truth"]
        for img, clip in zip(images, clips.values(), strict=True):
            np.testing.assert_array_equal(pictured(img), to_uint8(clip[t]))


def test_a_page_of_azimuths_holds_the_source_once():
    calls = []
    box = tree(scrubber.azimuth_page(rendering(calls), start=9).data)
    assert calls == list(range(18))
    stops = list(box.iter("span"))
    assert [stop.get("title") for stop in stops] == [f"{20 * k}°" for k in range(18)]
    inside = [img for stop in stops for img in stop.iter("img")]
    (source,) = [img for img in box.iter("img") if img not in inside]
    assert source.get("alt") == "source" and len(inside) == 2 * 18
    np.testing.assert_array_equal(pictured(source), np.full((8, 8, 3), 128))
    assert box.find("p").text.endswith("left to right: source; at every stop: ours, truth")


def test_a_picture_that_stands_still_behind_a_moving_one_is_not_torn_out_of_its_place():
    still, moves = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 9, np.uint8)
    stops = {"a": {"ours": still, "truth": still}, "b": {"ours": moves, "truth": still}}
    box = tree(scrubber.page(stops, "stop").data)
    assert [len(list(stop.iter("img"))) for stop in box.iter("span")] == [2, 2]


def test_a_page_fetches_nothing_and_knows_its_own_slider_only(clips):
    html = scrubber.frame_page({"<b>ours</b>": clips["ours"]}).data
    assert not re.search(r"https?:|//\w|import|fetch|<b>", re.sub(r"base64,[^\"]*", "", html))
    marks = re.findall(r'data-gfla-slider="(\w+)"', html)
    assert len(marks) == 2 and len(set(marks)) == 1
    assert marks[0] not in scrubber.frame_page({"<b>ours</b>": clips["truth"]}).data


def test_what_cannot_be_shown_is_refused(clips):
    with pytest.raises(ValueError, match="start is 5, there are 5 stops"):
        scrubber.frame_scrubber(clips, start=5)
    with pytest.raises(ValueError, match="start is 18, there are 18 stops"):
        scrubber.azimuth_slider(rendering([]), start=18)
    with pytest.raises(ValueError, match="start is -1"):
        scrubber.azimuth_page(rendering([]), start=-1)
    with pytest.raises(ValueError, match="fps is 0"):
        scrubber.frame_page(clips, fps=0)
    with pytest.raises(ValueError, match=r"clips of \[4, 5\] frames"):
        scrubber.frame_page({"ours": clips["ours"], "truth": clips["truth"][:4]})
    with pytest.raises(ValueError, match=r"clips of \[\] frames"):
        scrubber.frame_page({})
    with pytest.raises(ValueError, match="give the same to all"):
        scrubber.page({"a": {"x": np.zeros((2, 2, 3), np.uint8)}, "b": {}}, "stop")
    with pytest.raises(ValueError, match="there are 0 stops"):
        scrubber.page({}, "stop")
