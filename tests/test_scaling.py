"""What many workers would take is reckoned from what one machine took, and stays within bounds."""

import pytest

from gfla.ablation import ladder
from gfla.speed import scaling

JOBS = {
    "flow": (3.0, None), "full": (4.0, "flow"), "longer": (5.0, "full"), "bilinear": (4.0, "flow"),
    "global": (2.0, None), "baseline": (6.0, None),
}  # fmt: skip


@pytest.mark.parametrize("workers", [1, 2, 3, 9])
def test_no_number_of_workers_beats_the_longest_chain_or_an_even_share(workers):
    whole = sum(seconds for seconds, _ in JOBS.values())
    bound = max(scaling.longest(JOBS), whole / workers)
    assert bound <= scaling.reckon(JOBS, workers) <= whole / workers + scaling.longest(JOBS)


def test_the_ends_are_known():
    assert scaling.reckon(JOBS, 1) == 24.0  # one after the other
    assert scaling.reckon(JOBS, 9) == scaling.longest(JOBS) == 12.0  # flow, full, longer
    assert scaling.reckon({}, 2) == scaling.longest({}) == 0.0
    with pytest.raises(ValueError, match="workers=0: at least one"):
        scaling.reckon(JOBS, 0)


def test_the_recorded_grid_has_its_chains(monkeypatch):
    recorded = ladder.entries()
    grid = scaling.grid()
    assert set(grid) >= {run["run"].removeprefix("ablation-") for run in recorded}
    assert grid["full-1"][1] == "flow-1" and grid["full-longer-1"][1] == "full-1"
    assert scaling.reckon(grid, 1) == pytest.approx(sum(seconds for seconds, _ in grid.values()))
    alone = [run for run in recorded if run["run"] == "ablation-full-longer-1"]
    monkeypatch.setattr(ladder, "entries", lambda: alone)  # what it begins with is not recorded
    assert scaling.grid()["full-longer-1"][1] is None


def test_the_table_says_what_was_measured():
    rows = scaling.table((1, 4)).splitlines()
    assert "sum of measured times" in rows[2]
    assert "arithmetic" in rows[3]
    assert "longest chain" in rows[4]
