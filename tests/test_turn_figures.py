"""The figures of notebook 05 draw what they are given, pixel by pixel."""

import numpy as np
import pytest
import torch
from PIL import Image

from gfla import ledger, viz
from gfla.street import turn_figures


def clip(value, count=18, side=32):
    return torch.full((count, 3, side, side), float(value))


def block():
    truth = torch.linspace(-1, 1, 18).view(18, 1, 1, 1).expand(18, 3, 32, 32)
    return {"source": clip(0.5), "appearance flow": clip(-1), "truth": truth}


def test_turned_draws_every_view_once():
    figure = turn_figures.turned({"chair": block(), "car": block()}, first=2)
    stills, mosaics = figure.axes[0::3], [a for k, a in enumerate(figure.axes) if k % 3]
    assert [axes.get_xlabel() for axes in stills] == ["chair,\n40°", "car,\n40°"]
    assert len(mosaics) == 4
    words = [label.get_text() for axes in mosaics[:2] for label in axes.get_xticklabels()]
    assert words == [f"{20 * k}°" for k in range(18)]
    assert mosaics[0].get_xticklabels()[2].get_color() == viz.SOURCE
    assert [t.get_text() for t in mosaics[0].get_yticklabels()] == ["appearance\nflow", "truth"]
    drawn = np.asarray(mosaics[1].images[0].get_array())
    step, _ = divmod(drawn.shape[1] + 3, 9)
    last = drawn[step + 5, 8 * step + 5]  # second row, ninth column: the view at 340 degrees
    assert last.tolist() == [255, 255, 255] and drawn[5, 5].tolist() == [0, 0, 0]


def test_a_picture_s_pixel_is_a_whole_number_of_the_figure_s():
    figure = turn_figures.turned({"chair": block()})
    axes = figure.axes[1]
    height, width = axes.images[0].get_array().shape[:2]
    box = axes.get_window_extent()
    assert box.width * viz.DPI / figure.dpi == pytest.approx(width)
    assert box.height * viz.DPI / figure.dpi == pytest.approx(height)
    assert figure.get_figwidth() <= viz.WIDE


def test_a_turn_may_be_saved_twice():
    viz.style()
    figure = turn_figures.turned({"chair": block()})
    first = viz.image_bytes(figure)
    viz.image_bytes(figure, "svg")
    assert viz.image_bytes(figure) == first, "and no warning, which pytest takes for an error"


def test_clips_that_are_no_round_are_refused():
    with pytest.raises(ValueError, match=r"clips of \[5\] views"):
        turn_figures.turned({"chair": {"source": clip(0, 5), "truth": clip(0, 5)}})
    with pytest.raises(ValueError, match=r"clips of \[\] views"):
        turn_figures.turned({})


def test_flows_are_shown_over_the_object_alone():
    truth, foreground = torch.ones(3, 2, 8, 8), torch.zeros(3, 1, 8, 8)
    foreground[..., :4] = 1
    figure = turn_figures.flows_around(
        truth, foreground, {"ours": torch.ones(3, 2, 4, 4)}, [0, 2, 9], 4.0
    )
    ours, true = figure.axes[0], figure.axes[4]
    assert ours.get_ylabel() == "ours" and true.get_ylabel() == "true flow"
    assert true.get_xlabel() == "0°" and figure.axes[6].get_xlabel() == "180°"
    drawn = np.asarray(ours.images[0].get_array())
    white = (drawn == 255).all(-1)
    assert white[:, 4:].all() and not white[:, :4].any()
    # a vector of one pixel on a level of half the size is two pixels long
    assert not np.array_equal(drawn[0, 0], np.asarray(true.images[0].get_array())[0, 0])


def numbers(l1):
    return {
        0: {"l1": 0.0, "copy_l1": 0.0},
        3: {"l1": l1, "copy_l1": 0.4},
        9: {"l1": 1.0, "copy_l1": 1},
    }


def test_by_angle_draws_a_model_s_own_line_and_the_common_ones():
    found = {"ours": numbers(0.1), "appearance flow": numbers(0.2)}
    keys = {"ours": "l1", "appearance flow": "l1", "copying": "copy_l1"}
    figure = turn_figures.by_angle(found, {"L1": ("ours", keys), "again": ("ours", keys)})
    left, right = figure.axes
    lines = {line.get_label(): line for line in left.lines}
    assert list(lines) == list(keys)
    assert lines["appearance flow"].get_ydata().tolist() == [0, 0.2, 1]
    assert lines["copying"].get_ydata().tolist() == [0, 0.4, 1]
    assert lines["ours"].get_xdata().tolist() == [0, 60, 180]
    assert lines["ours"].get_color() == viz.GENERATED and lines["copying"].get_linestyle() == "--"
    assert right.get_ylabel() == "again" and left.get_ylim()[0] == 0
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list(keys), "each line named once"
    other = {"truth": {0: {"l1": 0.3}}}
    drawn = turn_figures.by_angle(found | other, {"L1": ("ours", {"truth": "l1"})}).axes[0].lines
    assert drawn[0].get_ydata().tolist() == [0.3], "a line named like a model is that model's own"


def test_a_film_is_published_within_a_run_only(tmp_path, monkeypatch):
    clips = {"source": clip(0.5, 3), "truth": block()["truth"][:3]}
    monkeypatch.delenv(ledger.RUN_DIR, raising=False)
    assert turn_figures.publish_film(clips, "05_film") is None
    monkeypatch.setenv(ledger.RUN_DIR, str(tmp_path))
    path = turn_figures.publish_film(clips, "05_film")
    assert path == tmp_path / "figures" / "05_film.gif"
    with Image.open(path) as film:
        assert film.format == "GIF" and film.n_frames == 3
