"""Sources: procedural people, pictures of the sample, one's own; joints stay on their spots."""

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

from gfla import storage
from gfla.data import people
from gfla.data.keypoints import OPENPOSE_18, read_annotations
from gfla.interactive import sources


def joints_at(*marks):
    """Key points as text: the first joints are at the marks, the others missing."""
    rows = [list(mark) for mark in marks] + [[-1, -1]] * (18 - len(marks))
    return json.dumps(rows)


def drawn(width, height, marks=(), mode="RGB", kind="PNG"):
    """A grey picture with white spots of 5×5 pixels."""
    pixels = np.full((height, width, 3), 100, np.uint8)
    for x, y in marks:
        pixels[y - 2 : y + 3, x - 2 : x + 3] = 255
    stream = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(stream, kind)
    return stream.getvalue()


@pytest.fixture(scope="module")
def offered():
    return sources.sources((64, 64), count=2)


def test_sources_are_named_and_lazy(offered):
    assert list(offered) == [
        *("held-out person 1", "held-out person 2"),
        *("picture of the sample 1", "picture of the sample 2"),
    ]
    assert all(callable(make) for make in offered.values())


def test_held_out_people_are_of_a_measuring_seed(offered):
    assert sources.SEED >= people.MEASURING_SEEDS
    whom = offered["held-out person 2"]()
    batch = people.pairs(2, (64, 64), sources.SEED)
    assert torch.equal(whom.image, batch["source"][1:])
    assert torch.equal(whom.pose.tensor(), batch["source_keypoints"][1:])


def test_pictures_of_the_sample_keep_their_shape(offered):
    whom = offered["picture of the sample 1"]()
    assert whom.image.shape == (1, 3, 64, 64) and whom.pose.size == (64, 64)
    folder = storage.root() / "data" / "sample"
    first = sorted((folder / "test").glob("*_1front.jpg"))[0].name
    points = read_annotations(folder / "fasion-annotation-test.csv")[first]
    there = [i for i, joint in enumerate(OPENPOSE_18) if whom.pose[joint]]
    wanted = (points[there] + torch.tensor([40.5, 0.5])) / 4 - 0.5  # 256×176, 40 added at the left
    assert torch.allclose(whom.pose.tensor()[0, there], wanted, atol=1e-4)


def test_without_the_sample_there_are_people(monkeypatch, tmp_path):
    monkeypatch.setenv("GFLA_ROOT", str(tmp_path))
    assert list(sources.sources(count=1)) == ["held-out person 1"]


@pytest.mark.parametrize("width, height", [(60, 120), (120, 60), (128, 128), (31, 64)])
@pytest.mark.parametrize("size", [(64, 64), (64, 32)])
def test_joints_stay_on_their_spot(width, height, size):
    marks = [(20, 30), (width - 6, height - 8)]
    whom = sources.own(drawn(width, height, marks), joints_at(*marks), size)
    assert whom.image.shape == (1, 3, *size) and float(whom.image.abs().max()) <= 1
    light = whom.image[0].mean(0) + 1 - 200 / 255  # 0 on grey
    for point in (whom.pose["nose"], whom.pose["neck"]):
        x, y = (round(c) for c in point)
        near = light[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3]
        rows, columns = torch.meshgrid(
            torch.arange(max(y - 2, 0), max(y - 2, 0) + near.shape[0]),
            torch.arange(max(x - 2, 0), max(x - 2, 0) + near.shape[1]),
            indexing="ij",
        )
        centre = (near * columns).sum() / near.sum(), (near * rows).sum() / near.sum()
        assert point == pytest.approx([float(c) for c in centre], abs=0.35)


def test_a_picture_comes_as_path_bytes_or_upload(tmp_path):
    data = drawn(40, 40, [(10, 10)])
    (tmp_path / "me.png").write_bytes(data)
    ways = [tmp_path / "me.png", str(tmp_path / "me.png"), data, memoryview(data)]
    images = [sources.own(way, joints_at((10, 10))).image for way in ways]
    assert all(torch.equal(images[0], image) for image in images)


def test_glass_lies_on_white_and_grey_has_three_channels():
    stream = io.BytesIO()
    Image.new("RGBA", (40, 40), (255, 0, 0, 0)).save(stream, "PNG")
    assert float(sources.own(stream.getvalue(), joints_at((1, 1))).image.min()) == 1
    grey = sources.own(drawn(40, 40, mode="L"), joints_at((1, 1))).image
    assert torch.equal(grey[:, 0], grey[:, 2])


def test_a_picture_is_turned_as_its_note_says():
    picture = Image.fromarray(np.zeros((30, 60, 3), np.uint8))
    exif = picture.getexif()
    exif[0x0112] = 6  # a quarter turn
    stream = io.BytesIO()
    picture.save(stream, "JPEG", exif=exif)
    whom = sources.own(stream.getvalue(), joints_at((15, 59)), (64, 64))
    assert whom.pose["nose"] == pytest.approx((31.5, 63), abs=1)  # at the foot of 30×60, padded


def test_what_parse_says_is_passed_on():
    assert any("Missing" in note for note in sources.own(drawn(40, 40), joints_at((3, 3))).notes)


@pytest.mark.parametrize(
    "picture, points, error, told",
    [
        (b"", joints_at((1, 1)), ValueError, "the picture cannot be read"),
        (b"no picture at all", joints_at((1, 1)), ValueError, "cannot be read"),
        (drawn(40, 40)[:80], joints_at((1, 1)), ValueError, "cannot be read"),
        (drawn(40, 40), "[1, 2]", ValueError, "2 numbers"),
        (drawn(9000, 1), joints_at((1, 0)), ValueError, "stripe"),
        ("nowhere/me.png", joints_at((1, 1)), FileNotFoundError, "no picture nowhere/me.png"),
    ],
)
def test_what_cannot_be_read_is_refused(picture, points, error, told):
    with pytest.raises(error, match=told):
        sources.own(picture, points)
