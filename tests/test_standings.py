"""Means over seeds, paired differences and orders, from runs whose answer is known."""

import numpy as np
import pytest
import synthetic_runs

from gfla.ablation import ladder, standings


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("ladder")


@pytest.fixture(scope="module")
def runs(home):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GFLA_ROOT", str(home))
        synthetic_runs.whole()
        return ladder.entries()


def test_the_summary_is_mean_and_deviation_over_seeds(runs):
    found = standings.summary(runs)
    assert found.index[0] == ladder.FIRST
    assert list(found.columns)[:3] == [
        ("baseline", "mean"),
        ("baseline", "sd"),
        ("baseline", "seeds"),
    ]
    values = standings.seeds_of(runs, "full", ladder.FIRST)
    assert len(values) == 3
    mean, sd, seeds = found.loc[ladder.FIRST, "full"]
    assert mean == pytest.approx(sum(values) / 3)
    assert sd == pytest.approx((sum((v - mean) ** 2 for v in values) / 2) ** 0.5)
    assert seeds == 3
    nothing = found.loc["flow_ratio", "baseline"]
    assert np.isnan(nothing["mean"]) and nothing["seeds"] == 0


def test_one_seed_has_no_deviation(runs):
    found = standings.summary([run for run in runs if run["seed"] == 2])
    assert np.isfinite(found.loc[ladder.FIRST, ("full", "mean")])
    assert np.isnan(found.loc[ladder.FIRST, ("full", "sd")])


def test_differences_are_paired_and_the_deciding_metric_comes_first(runs):
    found = standings.differences(runs)
    head = found.head(4)
    assert head["metric"].tolist() == [ladder.FIRST] * 4
    assert list(zip(head["a"], head["b"], strict=True)) == list(standings.COMPARED)
    assert head["better"].tolist() == ["full", "bilinear", "full", "baseline"]
    full = head.iloc[0]
    assert full["mean"] == pytest.approx(-0.03, abs=0.004)
    assert full["low"] < full["mean"] < full["high"] < 0
    assert (full["agreeing"], full["seeds"], full["pairs"]) == (3, 3, synthetic_runs.PAIRS)
    a, b = (standings.seeds_of(runs, m, ladder.FIRST) for m in ("full", "bilinear"))
    assert full["per_seed"] == pytest.approx(np.subtract(a, b))


def test_higher_is_better_where_it_is(runs):
    found = standings.differences(runs).set_index(["metric", "a", "b"])
    psnr = found.loc[("psnr_foreground", "full", "bilinear")]
    assert psnr["mean"] > 0 and psnr["better"] == "full"
    assert standings.order("psnr_foreground", runs) == ["full", "bilinear", "baseline", "global"]
    assert standings.best("psnr_foreground", runs) == "full"


def test_numbers_of_a_set_are_compared_over_seeds(runs):
    found = standings.differences(runs).set_index(["metric", "a", "b"])
    frechet = found.loc[("judge_frechet", "full", "bilinear")]
    assert (frechet["resampled"], frechet["pairs"]) == ("range", 0)
    assert frechet["low"] == min(frechet["per_seed"])


def test_what_a_model_cannot_have_and_what_has_no_direction_is_not_compared(runs):
    found = standings.differences(runs)
    flow = found[found["metric"] == "flow_error"]
    assert flow[["a", "b"]].to_numpy().tolist() == [["full", "bilinear"]]
    assert "occlusion_visible_share" not in set(found["metric"])
    assert standings.best("occlusion_visible_share", runs) == ""
    with pytest.raises(ValueError, match="occlusion_visible_share has no direction"):
        standings.order("occlusion_visible_share", runs)


def test_a_tie_has_no_best_and_no_better(runs):
    assert standings.best("score", runs) == ""
    found = standings.differences(runs)
    assert set(found[found["metric"] == "score"]["better"]) == {""}
    assert standings.best(ladder.FIRST, [run for run in runs if run["model"] == "full"]) == ""


def test_only_seeds_of_both_are_compared(runs):
    fewer = [run for run in runs if (run["model"], run["seed"]) != ("bilinear", 1)]
    found = standings.differences(fewer).set_index(["metric", "a", "b"])
    row = found.loc[(ladder.FIRST, "full", "bilinear")]
    assert (row["seeds"], len(row["per_seed"])) == (2, 2)
    assert found.loc[(ladder.FIRST, "full", "baseline")]["seeds"] == 3
    apart = [run for run in runs if (run["model"] == "full") == (run["seed"] == 1)]
    left = standings.differences(apart)
    assert set(zip(left["a"], left["b"], strict=True)) == {
        ("bilinear", "baseline"),
        ("global", "baseline"),
    }


def test_variants_are_compared_with_the_full_model_of_their_seed(runs):
    found = standings.variant_differences(runs).set_index(["metric", "a"])
    row = found.loc[(ladder.FIRST, "without-affine")]
    assert row["mean"] == pytest.approx(0.03, abs=0.006)
    assert (row["b"], row["resampled"], row["better"]) == ("full", "pairs only", "full")
    names = list(dict.fromkeys(standings.variant_differences(runs)["a"]))
    assert names == ["without-correctness", "without-affine"]


def test_twins_are_the_two_models_trained_otherwise_in_one_respect(runs):
    full = [run for run in runs if run["model"] == "full" and not run["variant"]]
    bilinear = [run for run in runs if run["model"] == "bilinear" and not run["variant"]]
    assert standings.twin_differences(runs).empty  # of a variant that only Full has
    free = [run | {"variant": "free-flow"} for run in full]
    twins = [run | {"variant": "bilinear-free-flow"} for run in bilinear]
    found = standings.twin_differences(free + twins)
    assert set(zip(found["a"], found["b"], strict=True)) == {("free-flow", "bilinear-free-flow")}
    same = standings.differences(full + bilinear, [("full", "bilinear")])
    assert found["mean"].tolist() == same["mean"].tolist()


def test_runs_judged_on_other_pairs_are_refused(runs, tmp_path, monkeypatch):
    monkeypatch.setenv("GFLA_ROOT", str(tmp_path))
    synthetic_runs.record("full", 1, pairs=8)
    mixed = [run for run in runs if run["model"] != "full"] + ladder.entries()
    with pytest.raises(ValueError, match=r"'ablation-full-1': 8.*judge all of these runs"):
        standings.differences(mixed)


def test_the_recorded_runs_are_the_default(home, runs, monkeypatch):
    monkeypatch.setenv("GFLA_ROOT", str(home))
    assert standings.summary().equals(standings.summary(runs))
    assert standings.order(ladder.FIRST) == standings.paper_order("lpips")
