"""Figures of the ladder: every point, bar and picture is the one it is labelled as."""

import numpy as np
import pytest
import synthetic_runs
import torch
from matplotlib.colors import to_hex

from gfla import pictures
from gfla.ablation import ladder, ladder_figures, ladder_strips, standings
from gfla.data import people
from gfla.scores.judging import METRICS


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GFLA_ROOT", str(tmp_path_factory.mktemp("ladder")))
        synthetic_runs.whole()
        return ladder.entries()


@pytest.fixture(scope="module")
def batch():
    return people.pairs(4, size=(32, 32), seed=people.MEASURING_SEEDS)


@pytest.fixture(scope="module")
def images(batch):
    shades = dict(zip(ladder.MODELS, (-0.8, -0.3, 0.3, 0.8), strict=True))
    return {name: torch.full_like(batch["source"], shade) for name, shade in shades.items()}


def ticks(axes):
    return [label.get_text() for label in axes.get_yticklabels()]


def shown(axes):
    """The picture in axes, or None."""
    return axes.images[0].get_array() if axes.images else None


def test_standings_show_every_seed_the_mean_and_the_intervals(runs):
    figure = ladder_figures.standings(runs=runs)
    left, right = figure.axes
    assert ticks(left) == list(ladder.MODELS.values())
    for row, model in enumerate(ladder.MODELS):
        seeds, mean = left.lines[2 * row : 2 * row + 2]
        values = standings.seeds_of(runs, model, ladder.FIRST)
        assert seeds.get_xdata().tolist() == values
        assert mean.get_xdata()[0] == pytest.approx(np.mean(values))
        assert to_hex(seeds.get_color()) == ladder_figures.COLORS[model]
    found = standings.differences(runs).head(4)
    assert ticks(right)[0] == "Full − Bi-Sample"
    interval, per_seed, mean = right.lines[:3]
    assert list(interval.get_xdata()) == [found["low"][0], found["high"][0]]
    assert tuple(per_seed.get_xdata()) == found["per_seed"][0]
    assert mean.get_xdata()[0] == found["mean"][0]
    assert mean.get_markerfacecolor() != "white"
    assert "95% interval" in right.get_xlabel()


def test_standings_leave_open_what_is_a_tie_and_out_what_is_not_there(runs):
    tie = ladder_figures.standings("score", runs)
    assert tie.axes[1].lines[2].get_markerfacecolor() == "white"
    assert "range" in tie.axes[1].get_xlabel()
    flow = ladder_figures.standings("flow_error", runs)
    assert ticks(flow.axes[0]) == ["Global-Attn", "Bi-Sample", "Full"]
    assert ticks(flow.axes[1]) == ["Full − Bi-Sample"]
    with pytest.raises(ValueError, match="no recorded run has 'lpips'"):
        ladder_figures.standings("lpips", runs)


def test_orders_put_the_paper_beside_ours(runs):
    (axes,) = ladder_figures.orders(runs=runs).axes
    places = {to_hex(line.get_color()): list(line.get_ydata()) for line in axes.lines}
    assert places[ladder_figures.COLORS["full"]] == [0, 0, 0]
    assert places[ladder_figures.COLORS["global"]] == [3, 3, 3]
    words = [text.get_text() for text in axes.texts]
    assert "10.57" in words and "0.2575" in words
    assert f"{np.mean(standings.seeds_of(runs, 'full', ladder.FIRST)):.4g}" in words
    (axes,) = ladder_figures.orders("flow_error", runs).axes  # baseline has none
    places = {to_hex(line.get_color()): list(line.get_ydata()) for line in axes.lines}
    assert places[ladder_figures.COLORS["baseline"]] == [2, 2]
    assert places[ladder_figures.COLORS["global"]] == [3, 3, 2]


def test_training_curves_are_the_logs_and_their_mean(runs):
    figure = ladder_figures.training(runs=runs)
    pictures_of, flow = figure.axes
    full = [line for line in flow.lines if to_hex(line.get_color()) == "#a8117a"]
    assert len(full) == 4  # three seeds and their mean
    log = next(run for run in runs if run["model"] == "full")["history"]
    assert list(full[0].get_ydata()) == [row["measured_flow_ratio"] for row in log]
    mean = np.mean([line.get_ydata() for line in full[:3]], axis=0)
    np.testing.assert_allclose(full[3].get_ydata(), mean)
    assert not [line for line in flow.lines if line.get_label() == "Baseline"]
    assert [line for line in pictures_of.lines if line.get_label() == "Baseline"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list(ladder.MODELS.values())
    with pytest.raises(ValueError, match="no run logged 'speed'"):
        ladder_figures.training({"speed": "speed [km/h]"}, runs)


def test_a_shorter_log_ends_the_mean_and_not_the_others(runs):
    cut = [run | {"history": run["history"][:2]} if run["seed"] == 1 else run for run in runs]
    axes = ladder_figures.training({"l1": "L1"}, cut).axes[0]
    lengths = [len(line.get_xdata()) for line in axes.lines[:4]]
    assert lengths == [2, 6, 6, 2]


def test_bars_of_the_losses_are_the_recorded_values(runs):
    figure = ladder_figures.losses((ladder.FIRST, "score", "lpips"), runs)
    assert len(figure.axes) == 2  # none has lpips
    assert ticks(figure.axes[0]) == [
        "Full", "without sampling correctness", "without affine regularisation",
    ]  # fmt: skip
    kinds = [run for run in runs if run["seed"] == 1 and run["model"] == "full"]
    widths = [bar.get_width() for bar in figure.axes[1].patches]
    assert widths == pytest.approx([run["results"]["score"] for run in kinds])
    assert figure.axes[1].lines[0].get_xdata()[0] == pytest.approx(widths[0])
    with pytest.raises(ValueError, match="0 variants are recorded"):
        ladder_figures.losses(runs=[run for run in runs if not run["variant"]])


def test_a_variant_without_its_full_model_is_drawn_all_the_same(runs):
    figure = ladder_figures.losses(runs=[run for run in runs if run["variant"]])
    assert len(figure.axes[0].patches) == 2
    figure.canvas.draw()


def test_strips_keep_the_order_of_every_strip(batch, images):
    figure = ladder_strips.strips(batch, images, indices=(2, 0))
    cells = np.array(figure.axes).reshape(2, 7)
    labels = [axes.get_xlabel() for axes in cells[-1]]
    assert labels == ["source", "target pose", *ladder.MODELS.values(), "target"]
    for axes, i in zip(cells, (2, 0), strict=True):
        np.testing.assert_array_equal(shown(axes[0]), pictures.to_uint8(batch["source"][i]))
        np.testing.assert_array_equal(shown(axes[-1]), pictures.to_uint8(batch["target"][i]))
        for cell, image in zip(axes[2:6], images.values(), strict=True):
            np.testing.assert_array_equal(shown(cell), pictures.to_uint8(image[i]))
    fewer = ladder_strips.strips(batch, {"full": images["full"], "baseline": images["baseline"]})
    assert [axes.get_xlabel() for axes in fewer.axes[-5:]][2:4] == ["Baseline", "Full"]
    with pytest.raises(ValueError, match=r"indices \[4\] lie outside the batch of 4"):
        ladder_strips.strips(batch, images, (0, 4))
    with pytest.raises(ValueError, match=r"images of \['pix2pix'\]"):
        ladder_strips.strips(batch, {"pix2pix": images["full"]})


def test_extreme_cases_are_those_of_the_metric(batch, images):
    values = [0.5, None, 0.2, 0.9]
    assert ladder_strips.extremes(values, count=1) == {"best": [2], "worst": [3]}
    assert ladder_strips.extremes(values, "psnr", 1) == {"best": [3], "worst": [2]}
    figure = ladder_strips.extreme_strips(batch, images, values, count=1)
    cells = np.array(figure.axes).reshape(2, 7)
    assert [row[0].get_ylabel() for row in cells] == ["best: 0.2", "worst: 0.9"]
    np.testing.assert_array_equal(shown(cells[1, 0]), pictures.to_uint8(batch["source"][3]))
    with pytest.raises(ValueError, match="3 pairs have a value: too few for 2"):
        ladder_strips.extremes(values, count=2)
    assert METRICS["occlusion_visible_share"].direction == "none"
    with pytest.raises(ValueError, match="has no direction"):
        ladder_strips.extremes([0.1, 0.2], "occlusion_visible_share", 1)


def test_looks_show_the_weights_over_the_source(batch):
    maps = torch.zeros(2, 8, 8)
    maps[0, 2, 5] = 3.0  # all the weight in one cell, not normalised
    maps[1] += 1.0
    source, target = batch["source"][0], batch["target"][0]
    figure = ladder_strips.looks(source, target, [(4, 7), (9, 9)], maps, [(21.5, 9.5), None])
    first, one, two = figure.axes
    assert [text.get_text() for text in first.texts] == ["1", "2"]
    assert one.get_xlabel().startswith("1: 100.0% at most") and "even: 1.6%" in one.get_xlabel()
    assert two.get_xlabel().startswith("2: 1.6% at most")
    seen = one.images[1].get_alpha()
    assert seen[2, 5] == pytest.approx(0.9) and seen.sum() == pytest.approx(0.9)
    left, right, bottom, top = one.images[1].get_extent()
    assert (left, right, bottom, top) == (-0.5, 31.5, 31.5, -0.5)  # over the whole source
    assert len(one.lines) == 1 and len(two.lines) == 0  # the second truth is hidden
    with pytest.raises(ValueError, match=r"\(2, 8, 8\) for 1 positions"):
        ladder_strips.looks(source, target, [(0, 0)], maps)
