"""A box around a person: it holds them, keeps its shape, and leads back."""

import numpy as np
import pytest
from PIL import Image

from gfla.data import framing, people, stances
from gfla.data.framing import Box, around, beyond, cut, put_back, whole
from gfla.data.posing import Pose

PERSON = stances.preset("wave", Pose((None,) * 18, (300, 500)))


def photo(height=300, width=500):
    """Colours that tell where a pixel is: red = x, green = y."""
    rows, columns = np.mgrid[:height, :width]
    blue = np.full_like(rows, 40)
    pixels = np.stack([columns * 255 // (width - 1), rows * 255 // (height - 1), blue], -1)
    return Image.fromarray(pixels.astype(np.uint8))


@pytest.mark.parametrize("size", [(64, 64), (256, 176), (128, 64)])
def test_the_box_has_the_shape_of_the_canvas_and_holds_the_person(size):
    box = around([PERSON], size)
    assert box.height / box.width == pytest.approx(size[0] / size[1], rel=0.02)
    inside = box.into(PERSON)
    xs, ys = zip(*inside.points, strict=True)
    assert inside.size == size
    share = max((max(ys) - min(ys)) / size[0], (max(xs) - min(xs)) / size[1])
    assert share == pytest.approx(framing.FILL, rel=0.03)
    assert (max(ys) + min(ys) + 1) / 2 == pytest.approx(size[0] / 2, abs=size[0] / 100)


def test_the_way_back_gives_the_same_key_points():
    box = around([PERSON], (64, 48), 0.6)
    back = box.out_of(box.into(PERSON), PERSON.size)
    for one, other in zip(back.points, PERSON.points, strict=True):
        assert one == pytest.approx(other)
    assert back.size == PERSON.size


def test_people_fill_as_much_as_those_the_models_know():
    batch = people.pairs(16, (64, 64), 30_960_000)
    filled = []
    for points in batch["source_keypoints"]:
        there = points[(points != -1).all(-1)]
        filled.append(float(there[:, 1].max() - there[:, 1].min()) / 64)
    assert np.median(filled) == pytest.approx(framing.FILL, abs=0.05)


def test_pixels_and_key_points_go_the_same_way():
    picture, box = photo(), Box(100, 20, 200, 160, (80, 100))
    canvas = np.asarray(cut(picture, box)).astype(float)
    pose = Pose(((40.0, 30.0), *[None] * 17), (80, 100))
    x, y = box.out_of(pose, (300, 500)).points[0]
    assert canvas.shape == (80, 100, 3)
    assert canvas[30, 40, 0] == pytest.approx(x * 255 / 499, abs=1.1)
    assert canvas[30, 40, 1] == pytest.approx(y * 255 / 299, abs=1.1)


def test_what_lies_outside_is_made_up_as_asked():
    picture = photo(6, 8)
    box = Box(-3, -2, 14, 10, (10, 14))
    pixels = np.asarray(picture)
    around_it = ((2, 2), (3, 3), (0, 0))
    for word, mode in (("edge", "edge"), ("reflect", "reflect")):
        assert np.array_equal(cut(picture, box, word), np.pad(pixels, around_it, mode=mode)), word
    white = np.asarray(cut(picture, box, "white"))
    assert (white[:2] == 255).all() and (white[:, :3] == 255).all()
    assert np.array_equal(white[2:8, 3:11], pixels)
    far = Box(100, -90, 14, 10, (10, 14))
    for word in framing.OUTSIDE:
        assert np.asarray(cut(picture, far, word)).shape == (10, 14, 3)
    with pytest.raises(ValueError, match="outside is 'black'"):
        cut(picture, box, "black")


def test_what_was_cut_out_can_be_put_back():
    picture, box = photo(), Box(-20, 40, 120, 90, (90, 120))
    again = put_back(picture, cut(picture, box), box)
    assert np.array_equal(again, picture)
    painted = put_back(picture, Image.new("RGB", (120, 90), "white"), box)
    changed = (np.asarray(painted) != np.asarray(picture)).any(-1)
    assert changed[40:130, :100].all() and changed.sum() == 90 * 100


def test_the_whole_photograph_is_padded_and_nothing_lost():
    box = whole((300, 500), (256, 176))
    assert box == Box(0, -213, 500, 727, (256, 176))
    assert beyond(box, (300, 500)) == pytest.approx(1 - 300 / 727)
    assert beyond(Box(2, 2, 3, 3, (9, 9)), (10, 10)) == 0 and beyond(box, (1, 1)) > 0.99


def test_boxes_that_cannot_be():
    nobody = Pose((None,) * 18, (64, 64))
    with pytest.raises(ValueError, match="no joint is there"):
        around([nobody], (64, 64))
    with pytest.raises(ValueError, match="fill is 0"):
        around([PERSON], (64, 64), 0)
    far = Pose(((0.0, 0.0), (1e5, 1e5), *[None] * 16), (64, 64))
    with pytest.raises(ValueError, match="100000 pixels apart"):
        around([far], (64, 64))
    alone = Pose(((5.0, 5.0), *[None] * 17), (64, 64))
    with pytest.raises(ValueError, match="within 0 pixels: no person is as small"):
        around([alone], (64, 64))
