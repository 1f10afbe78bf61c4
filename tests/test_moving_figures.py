"""The figures of notebook 06 hold what they are said to hold."""

import numpy as np
import pytest
import torch

from gfla.data import portraits
from gfla.scores import moving, ways
from gfla.street import memory
from gfla.street import moving_figures as figures

SIZE = (32, 32)


@pytest.fixture(scope="module")
def batch():
    return moving.clips(2, 4, size=SIZE)


@pytest.fixture(scope="module")
def rows():
    known = {memory.OURS: ways.warped, memory.TWIN: ways.copied}
    found = moving.survey(known, 3, 4, size=SIZE)
    return {(name, look): one for name, one in found.items() for look in memory.LOOKS}


def pictures(figure):
    return [axes.images[0].get_array() for axes in figure.axes if axes.images]


def test_skeletons_stand_where_the_key_points_are(batch):
    clip = figures.skeletons(batch["keypoints"][0], SIZE, 4)
    assert clip.shape == (4, 3, 128, 128)
    x, y = (batch["keypoints"][0, 2, 1] * 4 + 2).long()  # the neck
    assert clip[2, :, y, x].mean() < 0 < clip[2, :, 0, 0].mean()
    with pytest.raises(ValueError, match=r"key points are \(4, 17, 2\)"):
        figures.skeletons(torch.zeros(4, 17, 2), SIZE)


def test_columns_are_in_order_and_enlarged(batch):
    found = figures.columns(batch, {"ours": batch["frames"] * 0.5}, 1, zoom=3)
    assert list(found) == ["reference", "driving pose", "ours", "truth"]
    assert {tuple(clip.shape) for clip in found.values()} == {(4, 3, 96, 96)}
    torch.testing.assert_close(found["truth"][..., ::3, ::3], batch["frames"][1])
    torch.testing.assert_close(found["ours"][..., 1::3, 2::3], batch["frames"][1] * 0.5)
    torch.testing.assert_close(found["reference"][0], found["reference"][3])


def test_a_story_has_a_row_for_everything_and_the_reference_beside_the_truth(batch):
    figure = figures.story(batch, {"ours": batch["frames"]}, 0, every=2)
    cells = pictures(figure)
    assert len(cells) == 3 * 3
    assert (cells[0] == 255).all()
    reference = (batch["reference"][0].permute(1, 2, 0) + 1) * 127.5
    assert abs(np.asarray(cells[6], dtype=float) - reference.numpy()).max() < 1
    np.testing.assert_array_equal(cells[4], cells[7])  # what was painted here is the truth
    words = [axes.get_ylabel() for axes in figure.axes]
    assert [word for word in words if word] == ["driving pose", "ours", "truth"]


def test_a_face_is_told_by_maps():
    faces = portraits.clips(1, 3, SIZE, 1)
    figure = figures.story(faces, {}, 0, every=1, shown=(0, 15))
    words = [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()]
    assert words == ["map 0", "map 15", "truth"]
    assert pictures(figure)[1].max() == 255
    assert list(figures.columns(faces, {})) == ["reference", "truth"]


def test_what_drives_is_drawn_in_three_rows(batch):
    figure = figures.driven(batch, 1, every=1)
    assert len(pictures(figure)) == 12
    last = [axes.get_xlabel() for axes in figure.axes][-4:]
    assert last == ["t = 0", "t = 1", "t = 2", "t = 3"]


def test_sources_draw_the_flow_to_the_frame_before_four_times_as_long(batch):
    flows = {name: torch.zeros(2, 4, 2, 16, 16) for name in ("previous", "reference")}
    flows["previous"][:, :, 0], flows["reference"][:, :, 0] = 1.0, 4.0
    masks = {name: torch.ones(2, 4, 1, 16, 16) for name in flows}
    clip = ways.Painted(batch["frames"], flows, masks)
    figure = figures.sources(batch, clip, 2, (0, 1))
    cells = pictures(figure)
    np.testing.assert_array_equal(cells[2], cells[4])
    assert "rim:\n8 px" in [axes.get_xlabel() for axes in figure.axes]
    assert len(cells) == 2 * 8 + 1


def test_a_slice_is_one_row_through_time(batch):
    figure = figures.slices({"truth": batch["frames"][0], "half": batch["frames"][0] / 2}, 12, 2)
    first, second = pictures(figure)
    assert first.shape == (16, 32, 3)  # four frames, each four lines high
    row = ((batch["frames"][0, 3, :, 12].T + 1) * 127.5).numpy()
    assert abs(np.asarray(first[-1], dtype=float) - row).max() < 1
    assert np.ptp(second.astype(int)) < np.ptp(first.astype(int))
    with pytest.raises(ValueError, match="row is 32, but truth has 32 rows"):
        figures.slices({"truth": batch["frames"][0]}, 32)


def test_by_frame_draws_means_and_begins_flicker_at_frame_one(rows):
    error, flicker = figures.by_frame(rows).axes
    lines = {line.get_label(): line for line in error.lines}
    assert set(lines) == {f"{name}, {look}" for name, look in rows}
    expected = rows[memory.OURS, "clean"].by_frame["l1"].mean(0)
    np.testing.assert_allclose(lines[f"{memory.OURS}, clean"].get_ydata(), expected)
    assert flicker.lines[0].get_xdata().tolist() == [1, 2, 3]
    assert lines[f"{memory.TWIN}, noisy"].get_linestyle() == "--"
    assert len(error.collections) == 2  # bands of the clean ones


def test_intervals_are_shares_of_the_twin(rows):
    found = memory.differences(rows, ["l1"])
    axes = figures.intervals(found, rows).axes[0]
    one, whole = found["l1", "clean"], float(rows[memory.TWIN, "clean"].values["l1"].mean())
    np.testing.assert_allclose(
        axes.lines[0].get_xdata(), [100 * one.low / whole, 100 * one.high / whole]
    )
    assert axes.lines[1].get_xdata()[0] == pytest.approx(100 * one.mean / whole)
    assert one.mean < 0


def test_a_film_is_shown_and_kept_within_a_run(batch, monkeypatch, tmp_path):
    row = figures.columns(batch, {}, 0, zoom=1)
    monkeypatch.delenv("GFLA_RUN_DIR", raising=False)
    assert figures.film([row, row], "06_test").format == "png"
    assert not list(tmp_path.rglob("*.gif"))
    monkeypatch.setenv("GFLA_RUN_DIR", str(tmp_path))
    figures.film([row, row], "06_test")
    assert [path.name for path in sorted(tmp_path.glob("figures/*"))] == [
        "06_test_0.gif",
        "06_test_1.gif",
    ]
