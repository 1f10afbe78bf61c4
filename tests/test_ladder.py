"""The recorded runs are read whole, in order, and what is missing or uneven is said."""

import numpy as np
import pytest
import synthetic_runs

from gfla import ledger, storage
from gfla.ablation import ladder
from gfla.scores.judging import METRICS


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("GFLA_ROOT", str(tmp_path))
    return tmp_path


def test_runs_come_in_the_order_of_the_paper_then_variants(home):
    for model, seed in [("full", 2), ("baseline", 1), ("full", 1), ("global", 1)]:
        synthetic_runs.record(model, seed)
    synthetic_runs.record("full", 1, "without-affine")
    synthetic_runs.record("full", 1, "without-correctness")
    ledger.write_run("people-full", {"l1": 1.0})  # of no concern
    names = [run["run"].removeprefix("ablation-") for run in ladder.entries()]
    assert names == ["baseline-1", "global-1", "full-1", "full-2",
                     "full-without-correctness-1", "full-without-affine-1"]  # fmt: skip
    moved = home / "elsewhere"
    (home / "results" / "runs").rename(moved)
    assert ladder.entries() == []
    assert [run["seed"] for run in ladder.entries(moved)] == [1, 1, 1, 2, 1, 1]


def test_a_variant_may_name_its_model():
    for path, variant in (
        (synthetic_runs.record("full", 1, "without-affine"), "full-without-affine"),
        (synthetic_runs.record("full", 1), None),
    ):
        storage.write_json(path, storage.read_json(path) | {"variant": variant})
    assert [run["variant"] for run in ladder.entries()] == ["", "without-affine"]


def test_the_frame_has_a_row_a_run_and_nothing_where_a_model_has_nothing():
    synthetic_runs.record("baseline", 1)
    synthetic_runs.record("full", 1)
    frame = ladder.frame()
    assert list(frame.columns[: len(ladder.KEYS)]) == list(ladder.KEYS)
    rest = list(frame.columns[len(ladder.KEYS) :])
    assert rest == [name for name in METRICS if name in rest]
    assert frame["model"].tolist() == ["baseline", "full"]
    assert frame["flow_ratio"].isna().tolist() == [True, False]
    assert frame["flow_ratio"][1] == 0.4
    assert ladder.metrics(ladder.entries())[0] == ladder.FIRST


def test_what_the_table_of_metrics_does_not_know_is_kept_in_the_frame_only():
    path = synthetic_runs.record("full", 1)
    run = storage.read_json(path)
    run["results"] |= {"a_new_number": "nan", "l1": "inf"}
    storage.write_json(path, run)
    frame = ladder.frame()
    assert frame.columns[-1] == "a_new_number"
    assert np.isnan(frame["a_new_number"][0]) and np.isinf(frame["l1"][0])
    assert "a_new_number" not in ladder.metrics(ladder.entries())


def test_missing_runs_are_named():
    assert "ablation-full-3" in ladder.missing()
    assert len(ladder.missing()) == 4 * 3 + len(ladder.VARIANTS)
    synthetic_runs.whole(variants=ladder.VARIANTS)
    assert ladder.missing() == []
    synthetic_runs.record("full", 4)
    assert ladder.missing() == ["ablation-baseline-4", "ablation-global-4", "ablation-bilinear-4"]


def test_uneven_budgets_are_noticed():
    synthetic_runs.record("baseline", 1)
    synthetic_runs.record("global", 1)
    assert ladder.uneven() == {}
    synthetic_runs.record("global", 2, steps=300)
    synthetic_runs.record("full", 1, "without-affine", steps=100)  # is no part of the ladder
    found = ladder.uneven()
    assert found == {
        "number of steps in stage 2": {
            "600": ["ablation-baseline-1", "ablation-global-1"], "300": ["ablation-global-2"],
        }
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "words"),
    [({"model": "fourth"}, "ablation-full-1.json is of model 'fourth'"), ({"pairs": 0}, "pairs")],
)
def test_a_record_that_is_none_is_refused(change, words):
    path = synthetic_runs.record("full", 1)
    run = storage.read_json(path) | change
    storage.write_json(path, {key: value for key, value in run.items() if value})
    with pytest.raises(ValueError, match=words):
        ladder.entries()


def test_the_papers_numbers_are_those_of_the_spec():
    spec = (storage._PACKAGE.parent / "docs" / "spec.md").read_text(encoding="utf-8")
    (line,) = (line for line in spec.splitlines() if line.startswith("| ablation, DeepFashion"))
    for model, numbers in ladder.PAPER.items():
        assert f"{ladder.MODELS[model]} {numbers['fid']:.3f} / {numbers['lpips']:.4f}" in line
