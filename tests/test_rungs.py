"""The toys of notebook 04 give what the hand predicts; cases are chosen by the record alone."""

import math

import pytest
import torch

from gfla.ablation import rungs
from gfla.attention import BilinearSampling
from gfla.config import preset
from gfla.data import people
from gfla.model import GFLA, even


def test_a_family_is_as_large_as_its_full_model():
    table = rungs.family(preset("small").generator())
    assert list(table.index) == ["Baseline", "Global-Attn", "Bi-Sample", "Full"]
    assert table.loc["Full", "of Full"] == 1
    assert table["of Full"].between(0.9, 1.1).all()
    assert table.loc["Bi-Sample", "base"] > table.loc["Full", "base"]


def test_names_are_dealt_once_or_repeated():
    assert torch.equal(rungs.names(5)[0, :, 0], torch.eye(5))
    repeated = rungs.names(6, 3)
    assert torch.equal(repeated[..., :3], repeated[..., 3:])


@pytest.mark.parametrize("d", [0, 1, 2, 4])
def test_a_convolution_moves_a_known_shift_within_its_reach_and_no_farther(d):
    row = rungs.names(16)
    assert rungs.brought(rungs.convolution(row, [d]), row, d) == pytest.approx(
        float(d <= 1), abs=1e-5
    )


def test_a_convolution_that_does_not_know_the_shift_guesses():
    row = rungs.names(16)
    one = rungs.convolution(row, [-1, 0, 1])
    for d in (-1, 0, 1):
        assert rungs.brought(one, row, d) == pytest.approx(1 / 3, abs=1e-5)


@pytest.mark.parametrize("d", [0.0, 0.25, 0.5, 1.0, 1.25, 1.5, 2.0, 3.0])
def test_sampling_wants_the_right_flow_and_attention_forgives(d):
    row = rungs.names(16)
    nearest = min(abs(d - tap) for tap in (-1, 0, 1))
    assert rungs.brought(BilinearSampling(), row, d) == pytest.approx(max(0.0, 1 - d), abs=1e-5)
    forgiven = rungs.brought(rungs.matching(16), row, d)
    assert forgiven == pytest.approx(max(0.0, 1 - nearest), abs=1e-4)


def test_searching_finds_names_at_any_distance_and_cannot_tell_copies_apart():
    row = rungs.names(16)
    assert rungs.brought(rungs.searching(16), row, 4) == pytest.approx(1, abs=1e-4)
    for period, error in ((12, 0.0), (4, 8 / 3), (1, 3.0)):
        right, read, away = rungs.look_alikes(12, period)
        assert right == pytest.approx(1, abs=1e-4)
        assert read == pytest.approx(12 / period, rel=1e-3)
        assert away == pytest.approx(error, abs=1e-3)


def test_four_ways_have_a_value_for_every_place():
    x, y = rungs.four_ways(count=14, furthest=2, step=0.5)
    assert list(x) == list(y) and all(len(x[name]) == len(y[name]) for name in x)
    assert y["Bi-Sample"] == pytest.approx([1, 0.5, 0, 0, 0], abs=1e-5)


def test_held_out_pairs_are_those_that_were_judged():
    judged = people.pairs(8, size=(32, 32), seed=people.MEASURING_SEEDS + 16)
    found = rungs.held_out_pairs([19, 16], (32, 32))
    assert torch.equal(found["source"], judged["source"][[3, 0]])
    assert found["flow"].shape == (2, 2, 32, 32)


def record(name, **pairs):
    return {"model": name, "pairs": pairs}


def test_ranked_goes_from_worst_to_best_in_the_metric_s_own_direction():
    run = record("full", l1=[0.2, None, 0.5, 0.1], psnr=[12.0, 9.0, float("inf"), 11.0])
    assert rungs.ranked(run, "l1") == [2, 0, 3]
    assert rungs.ranked(run, "psnr") == [1, 3, 0]
    with pytest.raises(ValueError, match="Baseline has no flow_error"):
        rungs.ranked(record("baseline", l1=[0.1]), "flow_error")
    with pytest.raises(ValueError, match="no direction"):
        rungs.ranked(record("full", occlusion_visible_share=[0.1]), "occlusion_visible_share")


def test_a_case_shows_all_models_and_the_recorded_values():
    base = preset("tiny").generator()
    models = {n: GFLA(**even(base | {"attention": n})).eval() for n in rungs.MODELS}
    runs = {n: record(n, l1=[0.25, 0.5], flow_error=[2.0, 1.0]) for n in models}
    del runs["baseline"]["pairs"]["flow_error"]
    figure = rungs.draw_case(models, runs, "flow_error", "full", 0)
    words = [axes.get_xlabel() for axes in figure.axes]
    assert "› Full ‹\n2" in words and "Baseline\n–" in words and "Bi-Sample\n2" in words
    assert figure.axes[0].get_ylabel() == "pair 0"
    assert rungs.draw_case(models, runs, "l1", "global", -1).axes[0].get_ylabel() == "pair 0"
    with pytest.raises(ValueError, match="Baseline has no flow_error"):
        rungs.draw_case(models, runs, "flow_error", "baseline", 0)


def test_profiles_are_known_by_name():
    assert rungs.setting("cpu").gaze_pairs > rungs.setting("smoke").gaze_pairs
    with pytest.raises(ValueError, match="'huge': choose one of smoke, cpu, gpu"):
        rungs.setting("huge")
    assert math.isclose(sum(rungs.names(3)[0, :, 0, 0]), 1)
