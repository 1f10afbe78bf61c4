"""Whatever a picture is stored as, it comes upright and in RGB, and what was done is told."""

import io

import numpy as np
import pytest
from PIL import Image

from gfla.data.photographs import open_photograph, told_before_turning
from gfla.data.posing import Pose

WIDE, TALL = 40, 24


def stored(picture, kind="PNG", **options):
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def marked():
    """Black, with one white pixel at (7, 3)."""
    pixels = np.zeros((TALL, WIDE, 3), np.uint8)
    pixels[3, 7] = 255
    return Image.fromarray(pixels)


@pytest.mark.parametrize("turn", range(1, 9))
def test_exif_is_honoured_and_key_points_can_follow(turn):
    exif = Image.Exif()
    exif[0x0112] = turn
    photograph = open_photograph(stored(marked(), exif=exif))
    y, x = np.argwhere(np.asarray(photograph.picture)[..., 0])[0].tolist()
    assert photograph.upright((7, 3)) == (x, y)
    assert photograph.size == ((WIDE, TALL) if turn > 4 else (TALL, WIDE))
    assert len(photograph.notes) == (turn > 1)
    told = Pose(((7.0, 3.0), *[None] * 17), (TALL, WIDE))
    turned = told_before_turning(photograph, told)
    assert turned == (Pose(((x, y), *[None] * 17), (WIDE, TALL)) if turn > 4 else None)


@pytest.mark.parametrize(
    "picture, kind, pixel, told",
    [
        (Image.new("RGB", (4, 4), (9, 99, 199)), "PNG", (9, 99, 199), None),
        (Image.new("L", (4, 4), 77), "PNG", (77, 77, 77), "Grey became RGB"),
        (Image.new("1", (4, 4), 1), "PNG", (255, 255, 255), "Black and white became RGB"),
        (Image.new("P", (4, 4), 0), "PNG", (0, 0, 0), None),
        (Image.new("RGBA", (4, 4), (0, 0, 0, 0)), "PNG", (255, 255, 255), "transparent"),
        (Image.new("LA", (4, 4), (0, 255)), "PNG", (0, 0, 0), "transparent"),
        (Image.new("CMYK", (4, 4), (0, 255, 255, 0)), "TIFF", (255, 0, 0), "CMYK became RGB"),
        (Image.fromarray(np.full((4, 4), 257 * 200, np.uint16)), "PNG", (200,) * 3, "Sixteen"),
        (Image.fromarray(np.full((4, 4), 200, np.uint16)), "PNG", (200,) * 3, "Grey became"),
    ],
)
def test_every_kind_of_pixel_becomes_rgb(picture, kind, pixel, told):
    photograph = open_photograph(stored(picture, kind))
    assert photograph.picture.mode == "RGB" and photograph.picture.getpixel((1, 1)) == pixel
    assert [told in note for note in photograph.notes] == ([True] if told else [])


def test_of_a_film_the_first_frame_is_taken():
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    content = stored(frames[0], "GIF", save_all=True, append_images=frames[1:])
    photograph = open_photograph(content)
    assert photograph.picture.getpixel((0, 0)) == (255, 0, 0)
    assert photograph.notes == ("Of its 2 frames the first was taken.",)


def test_what_is_no_picture_is_refused(tmp_path):
    path = tmp_path / "photo.jpg"
    with pytest.raises(FileNotFoundError, match="there is no picture"):
        open_photograph(path)
    whole = stored(Image.effect_noise((64, 64), 90), "JPEG")
    for content in (b"", b"words", whole[: len(whole) // 3]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"photo.jpg cannot be read as a picture"):
            open_photograph(path)
    head = b"P6 20000 20000 255\n"
    with pytest.raises(ValueError, match="20000×20000 pixels; make it smaller|exceeds limit"):
        open_photograph(head)
    with pytest.raises(ValueError, match="floating-point"):
        open_photograph(stored(Image.new("F", (4, 4)), "TIFF"))
