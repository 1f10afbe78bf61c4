"""Films come back out of their files: frames, times, colours; the same clips, the same bytes."""

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

from gfla import films, viz

ENDINGS = tuple(films.KINDS)


def clip(frames=5, size=(12, 16), seed=0):
    """A few colours, another picture every frame; no two frames alike."""
    generator = torch.Generator().manual_seed(seed)
    tiles = torch.randint(0, 4, (frames, 3, size[0] // 4, size[1] // 4), generator=generator)
    return torch.nn.functional.interpolate(tiles / 1.5 - 1, scale_factor=4)


def played(content):
    """Every frame as (H, W, 3), its time in milliseconds, and how often the film is played."""
    film = Image.open(io.BytesIO(content))
    frames, times = [], []
    for k in range(getattr(film, "n_frames", 1)):
        film.seek(k)
        film.load()
        frames.append(np.asarray(film.convert("RGB")))
        times.append(film.info["duration"])
    return np.stack(frames), times, film.info.get("loop")


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_film_comes_back_as_it_went_in(tmp_path, ending):
    clips = {"ours": clip(), "truth": clip(seed=1)}
    film = films.write(tmp_path / f"new/a{ending}", clips, fps=12, scale=3)
    content = film.path.read_bytes()
    assert (film.frames, film.bytes) == (5, len(content))
    assert film.seconds == pytest.approx(5 / 12)
    frames, times, loop = played(content)
    expected = np.stack(films.frames_of(clips, scale=3))
    assert frames.shape == expected.shape and frames.shape[1:3] == film.size
    off = np.abs(frames.astype(int) - expected)
    assert off.max() <= (8 if ending == ".gif" else 0)
    assert sum(times) == pytest.approx(1000 * 5 / 12, abs=5) and max(times) - min(times) <= 10
    assert loop == 0  # for ever
    assert [path.name for path in film.path.parent.iterdir()] == [film.path.name]


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_same_clips_give_the_same_bytes(tmp_path, ending):
    one, two = (
        films.write(tmp_path / f"{name}{ending}", {"x": clip()}).path.read_bytes() for name in "ab"
    )
    assert one == two
    other = films.write(tmp_path / f"c{ending}", {"x": clip().flip(0)}).path.read_bytes()
    assert other != one


def test_what_is_to_be_played_once_says_so(tmp_path):
    once = {
        ending: played(films.write(tmp_path / f"a{ending}", clip(), loop=False).path.read_bytes())
        for ending in ENDINGS
    }
    assert {ending: loop for ending, (_, _, loop) in once.items()} == {
        ".gif": None, ".webp": 1, ".png": 1,
    }  # fmt: skip


def test_what_stands_still_keeps_its_colours_though_a_gif_has_few(tmp_path):
    shade = torch.linspace(-1, 1, 48).expand(3, 48, 48) * torch.tensor([1.0, 0.5, -1]).view(3, 1, 1)
    still = shade.expand(4, 3, 48, 48).clone()
    still[:, :, :24] = torch.rand(4, 3, 24, 48) * 2 - 1  # far more than 255 colours above
    frames, _, _ = played(films.write(tmp_path / "a.gif", still).path.read_bytes())
    expected = np.stack(films.frames_of(still))
    assert len(np.unique(expected.reshape(-1, 3), axis=0)) > 4000
    lower = frames[:, 24:]
    assert (lower == lower[:1]).all()
    assert np.abs(lower.astype(int) - expected[:, 24:]).mean() < 16


def test_equal_frames_are_one_that_lasts(tmp_path):
    still = clip(frames=1).expand(6, 3, 12, 16)
    for ending in (".gif", ".png"):
        film = films.write(tmp_path / f"a{ending}", torch.cat([still, clip(2, seed=3)]), fps=10)
        frames, times, _ = played(film.path.read_bytes())
        assert len(frames) < film.frames == 8
        assert sum(times) == pytest.approx(800)


def test_pictures_lie_in_rows_and_columns_with_their_labels_below():
    rows = [{"a": -torch.ones(1, 3, 20, 30), "b": torch.zeros(1, 3, 20, 30)},
            {"a": torch.zeros(1, 3, 20, 30), "b": -torch.ones(1, 3, 20, 30)}]  # fmt: skip
    (frame,) = films.frames_of(rows, scale=2)
    dark = (frame == 0).all(2)
    assert dark[:40, :60].all() and dark[46:86, 66:].all() and dark.sum() == 2 * 40 * 60
    assert (frame[40:46] == 255).all() and (frame[:86, 60:66] == 255).all()
    band = frame[86:]
    assert (band < 100).any() and (band[:, 60:66] == 255).all()
    (bare,) = films.frames_of(-torch.ones(1, 3, 20, 30))
    assert bare.shape == (20, 30, 3) and not bare.any()


def test_a_label_longer_than_its_picture_is_not_cut_off():
    (frame,) = films.frames_of(
        {"appearance flow": torch.zeros(1, 3, 8, 8), "a": -torch.ones(1, 3, 8, 8)}
    )
    ink = (frame[8:] < 128).any(2)
    columns = np.flatnonzero(ink.any(0))
    assert columns.min() >= 0 and frame.shape[1] > 90
    assert (frame[:8] == 0).all(2).sum() == 64  # the second picture is whole
    assert not ink[:, -1].any()


def test_a_notebook_plays_it_from_its_own_output():
    clips = {"ours": clip(), "truth": clip(seed=1)}
    shown = films.show(clips, fps=10, scale=2)
    data, _ = shown._repr_mimebundle_()
    assert list(data) == ["image/png"]  # what nbconvert and GitHub take for a picture
    content = base64.b64decode(data["image/png"])
    frames, times, loop = played(content)
    assert len(frames) == 5 and sum(times) == 500 and loop == 0
    assert np.abs(frames.astype(int) - np.stack(films.frames_of(clips, 2))).max() <= 8
    assert repr(shown) == "<IPython.core.display.Image object>"  # no address: outputs are compared
    assert films.show(clips, fps=10, scale=2).data == shown.data


def test_a_strip_shows_every_so_many_th_frame():
    clips = {"recurrent": clip(9), "truth": clip(9, seed=1)}
    figure = films.strip(clips, every=4)
    pictures = [axes for axes in figure.axes if axes.images]
    assert len(pictures) == 6
    for axes, (name, t) in zip(pictures, [(n, t) for n in clips for t in (0, 4, 8)], strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), viz.to_uint8(clips[name][t]))
    assert [axes.get_xlabel() for axes in pictures[3:]] == ["t = 0", "t = 4", "t = 8"]
    assert [pictures[k].get_ylabel() for k in (0, 3)] == ["recurrent", "truth"]


def test_what_cannot_be_a_film_is_refused_and_nothing_is_written(tmp_path):
    path = tmp_path / "a.gif"
    with pytest.raises(ValueError, match=r"'.mp4': choose one of .gif, .webp, .png"):
        films.write(tmp_path / "a.mp4", clip())
    with pytest.raises(ValueError, match="fps is 0"):
        films.write(path, clip(), fps=0)
    with pytest.raises(ValueError, match="at most 50"):
        films.write(path, clip(), fps=60)
    with pytest.raises(ValueError, match=r"scale is 1.5"):
        films.write(path, clip(), scale=1.5)
    with pytest.raises(ValueError, match=r"\(4, 3, 12, 16\), \(5, 3, 12, 16\).*one shape"):
        films.write(path, {"a": clip(), "b": clip(4)})
    with pytest.raises(ValueError, match=r"\(3, 12, 16\)"):
        films.write(path, clip()[0])
    with pytest.raises(ValueError, match="same labels"):
        films.write(path, [{"a": clip()}, {"b": clip()}])
    with pytest.raises(ValueError, match="give a clip"):
        films.write(path, {})
    with pytest.raises(ValueError, match=r"more than 100: 5 frames of 16×12; take a smaller"):
        films.write(path, clip(), most=100)
    with pytest.raises(ValueError, match="more than 100"):
        films.show(clip(), most=100)
    with pytest.raises(ValueError, match="every is 0"):
        films.strip({"a": clip()}, every=0)
    assert list(tmp_path.iterdir()) == []
