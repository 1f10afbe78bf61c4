"""The written tables hold what the runs hold, say what is missing, and are the same twice."""

import pandas as pd
import pytest
import synthetic_runs

from gfla import storage
from gfla.ablation import ablation_table, ladder


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("GFLA_ROOT", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GFLA_ROOT", str(tmp_path_factory.mktemp("ladder")))
        synthetic_runs.whole()
        return ladder.entries()


def table(text, heading):
    """The cells of the first table under a heading, a list a row."""
    lines = text.split(f"## {heading}\n")[1].split("\n## ")[0].splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("|"))
    rows = []
    for line in lines[first:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return [rows[0], *rows[2:]]


def test_both_tables_are_written_and_written_alike_again(home):
    synthetic_runs.whole()
    csv, text = ablation_table.write()
    assert (csv, text) == (home / "results" / "ablation.csv", home / "results" / "ablation.md")
    before = csv.read_bytes(), text.read_bytes()
    ablation_table.write()
    assert (csv.read_bytes(), text.read_bytes()) == before
    elsewhere = ablation_table.write(home / "results" / "runs", home / "other")
    assert tuple(path.read_bytes() for path in elsewhere) == before


def test_the_csv_has_a_row_a_run_and_its_numbers(home):
    synthetic_runs.whole()
    csv, _ = ablation_table.write()
    read = pd.read_csv(csv)
    assert len(read) == 14
    assert list(read.columns) == list(ladder.frame().columns)
    assert read["flow_ratio"].isna().sum() == 3  # of baseline
    assert read["parameters"].tolist() == [3_697_785] * 14
    pd.testing.assert_series_equal(read[ladder.FIRST], ladder.frame()[ladder.FIRST], rtol=1e-6)
    lines = csv.read_text().splitlines()
    assert lines[1].startswith("ablation-baseline-1,baseline,,1,")


def test_the_ladder_shows_means_deviations_dashes_and_the_best(whole):
    text = ablation_table.markdown(whole)
    rows = table(text, "Where they stand")
    assert rows[0] == ["metric", "Baseline", "Global-Attn", "Bi-Sample", "Full"]
    cells = {row[0]: row[1:] for row in rows[1:]}
    first = cells[f"`{ladder.FIRST}` ↓"]
    values = ladder.frame(whole).query("variant == ''").groupby("model")[ladder.FIRST]
    assert first[0] == f"{values.mean()['baseline']:.4f} ± {values.std()['baseline']:.4f}"
    assert first[3].startswith("**") and first[3].endswith("**")
    assert not any(cell.startswith("**") for cell in first[:3])
    assert cells["`flow_ratio` ↓"][0] == "–"
    assert not any("**" in cell for cell in cells["`score` ↓"])  # a tie
    assert "`psnr_foreground` ↑" in cells and "`occlusion_visible_share`" in cells


def test_the_best_is_not_bold_where_the_interval_holds_zero(home):
    for seed in (1, 2, 3):
        synthetic_runs.record("full", seed, worse=0.06 * (seed == 1))
        synthetic_runs.record("bilinear", seed)
    text = ablation_table.markdown(ladder.entries())
    assert "**0." not in text
    assert "Full against Bi-Sample: neither is better, the interval is not away from zero." in text


def test_differences_stand_with_interval_seeds_and_the_better_one(whole):
    rows = table(ablation_table.markdown(whole), "Paired differences")
    assert len(rows) == 5
    cells = dict(zip(rows[0], rows[1], strict=True))
    assert cells["difference"] == "Full − Bi-Sample"
    low, high = (float(bound) for bound in cells["95% interval"].split(" … "))
    assert low < float(cells["mean"]) < high < 0
    assert (cells["agreeing"], cells["better"]) == ("3 of 3", "Full")
    assert len(cells["seed by seed"].split(", ")) == 3


def test_the_papers_numbers_and_orders_stand_beside_ours(whole):
    text = ablation_table.markdown(whole)
    rows = table(text, "Beside the paper")
    assert [row[:5] for row in rows[1:]] == [
        ["Baseline", "16.008", "3", "0.2473", "3"],
        ["Global-Attn", "18.616", "4", "0.2575", "4"],
        ["Bi-Sample", "12.143", "2", "0.2406", "2"],
        ["Full", "10.573", "1", "0.2341", "1"],
    ]
    assert [row[-1] for row in rows[1:]] == ["3", "4", "2", "1"]
    assert "Full, Bi-Sample, Baseline, Global-Attn: the paper's order by FID." in text
    assert "Bi-Sample against Baseline: Bi-Sample is better" in text


def test_another_order_is_said_to_be_another(home):
    synthetic_runs.whole()
    for seed in (1, 2, 3):
        synthetic_runs.record("full", seed, worse=0.045)
    text = ablation_table.markdown(ladder.entries())
    assert "Bi-Sample, Full, Baseline, Global-Attn: not the paper's order by FID." in text
    assert "Full against Bi-Sample: Bi-Sample is better" in text


def test_what_is_missing_or_uneven_is_said(home):
    synthetic_runs.record("baseline", 1)
    synthetic_runs.record("baseline", 2, steps=300)
    synthetic_runs.record("global", 1)
    text = ablation_table.markdown(ladder.entries())
    assert "**Incomplete.** Not recorded: `ablation-baseline-3`, `ablation-global-2`" in text
    assert "`ablation-full-bilinear-loss-1`" in text
    assert "**Not one number of steps in stage 2**" in text
    assert "600 (`ablation-baseline-1`, Global-Attn); 300 (`ablation-baseline-2`)" in text
    synthetic_runs.whole(variants=ladder.VARIANTS)
    whole = ablation_table.markdown(ladder.entries())
    assert "Incomplete" not in whole
    assert "stage 1** for all runs of the ladder: 0 (Baseline, Global-Attn); 1000" in whole


def test_variants_stand_beside_the_full_model_of_their_seed(whole):
    text = ablation_table.markdown(whole)
    rows = table(text, "Full, trained with other losses")
    assert [row[:2] for row in rows[1:]] == [
        ["Full", "1"],
        ["without sampling correctness", "1"],
        ["without affine regularisation", "1"],
    ]
    below = text.split("Minus Full from the same seed:")[1]
    assert "without affine regularisation − Full" in below
    assert "| pairs only |" in below and "| nothing" in below


def test_every_run_is_listed_with_its_origin(whole):
    rows = table(ablation_table.markdown(whole), "Runs")
    assert len(rows) == 1 + 14
    cells = dict(zip(rows[0], rows[-1], strict=True))
    run = whole[-1]
    assert cells["run"] == f"`{run['run']}`"
    assert cells["config"] == f"`{run['config']}`"
    assert (cells["date"], cells["device"]) == (run["date"], run["device"])
    assert cells["minutes"] == "27"  # 1,000 and 620 seconds


@pytest.mark.parametrize("variant", ["", "without-affine"])
def test_a_single_run_makes_tables_too(home, variant):
    synthetic_runs.record("full", 2, variant)
    text = ablation_table.write()[1].read_text()
    assert "± 0" not in text and "nan" not in text
    assert ("No two kinds of run have a seed in common" in text) == (not variant)


def test_without_runs_it_says_how_to_make_some(home):
    with pytest.raises(FileNotFoundError, match="gfla ablate --record"):
        ablation_table.write()
    assert not (home / "results").exists()


def test_a_record_that_cannot_be_read_leaves_the_tables_alone(home):
    synthetic_runs.record("full", 1)
    _, text = ablation_table.write()
    before = text.read_bytes()
    (home / "results" / "runs" / "ablation-full-2.json").write_text("{half")
    with pytest.raises(storage.StorageError, match="ablation-full-2.json is not JSON"):
        ablation_table.write()
    assert text.read_bytes() == before
