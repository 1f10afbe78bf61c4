"""The benchmark records row by row, goes on where it stopped, and judges by what it recorded."""

import re
import sys

import pytest

from gfla import bench, cli, meanwhile, readme, storage
from gfla.speed import bench_figures, bench_kinds, bench_rows, bench_tables, bench_targets, rivals
from gfla.speed.bench_kinds import Effort
from gfla.speed.bench_rows import Row
from gfla.speed.rivals import Size

BRIEF = Effort(turns=1, seconds=0.0, threads=1)
SIZE = {"channels": 4, "side": 8, "n": 3, "batch": 1, "hidden": 8}
OPERATOR = Row("operator-quick", "operator", "operator", SIZE)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("GFLA_ROOT", str(tmp_path))
    return tmp_path


def timed(literal, ours, floor=(), part="both"):
    forms = {"literal": literal, "fast": ours, "convolutions": floor}
    return {form: {part: list(values)} for form, values in forms.items() if values}


def made(*rows):
    return {"run": "bench-cpu", "rows": [{"group": "operator", "given": {}, **row} for row in rows]}


def test_rows_have_names_of_their_own_and_kinds_that_are_there():
    for rows in (bench_rows.rows(), bench_rows.rows(quick=True)):
        assert len({row.name for row in rows}) == len(rows)
        assert {row.kind for row in rows} <= set(bench_kinds.KINDS)


def test_a_recorded_row_is_kept_until_something_changes(home, monkeypatch):
    measured = []
    monkeypatch.setattr(
        bench_rows, "measure", lambda row, *_: measured.append(row.name) or {"memory": {}}
    )
    rows = [OPERATOR, OPERATOR._replace(name="b")]
    bench.run(rows[:1], BRIEF, record=True, progress=False)
    entry = bench.run(rows, BRIEF, record=True, progress=False)
    assert measured == ["operator-quick", "b"]
    assert [row["row"] for row in entry["rows"]] == measured
    assert storage.read_json(bench.place())["rows"] == entry["rows"]
    bench.run(rows, BRIEF._replace(turns=2), record=True, progress=False)
    assert measured == ["operator-quick", "b"] * 2
    bench.run(rows, BRIEF._replace(turns=2), record=True, fresh=True, progress=False)
    assert len(measured) == 6


def test_an_interrupted_run_keeps_what_it_has(home, monkeypatch):
    def measure(row, *_):
        if row.name == "b":
            raise KeyboardInterrupt
        return {"memory": {}}

    monkeypatch.setattr(bench_rows, "measure", measure)
    with pytest.raises(KeyboardInterrupt):
        bench.run([OPERATOR, OPERATOR._replace(name="b")], BRIEF, record=True, progress=False)
    assert [row["row"] for row in bench_targets.recorded()["rows"]] == ["operator-quick"]


def test_a_digest_follows_the_code_that_is_measured():
    files = [path.name for path in bench._code(("sampling",))]
    assert "sampling.py" in files
    assert "types.py" in files  # imported by it
    assert "train.py" not in files
    assert "renderer.py" in [path.name for path in bench._code(("model",))]


def test_a_digest_does_not_follow_the_threads_around_it():
    digests = set()
    for threads in (1, 2):
        with meanwhile.threads(threads):
            digests.add(bench.row_digest(OPERATOR, BRIEF, "cpu"))
    assert len(digests) == 1
    assert bench.row_digest(OPERATOR, BRIEF._replace(threads=2), "cpu") not in digests


def test_a_row_is_measured_and_a_wrong_result_stops_the_run(monkeypatch):
    found = bench_rows.measure(OPERATOR, BRIEF)
    assert found["apart"]["fast"] < 1e-5
    assert set(found["times"]) == {"literal", "fast", "convolutions"}
    assert set(found["times"]["fast"]) == {"forward", "backward", "both"}
    monkeypatch.setattr(bench_kinds.rivals, "apart", lambda forms: {"fast": 0.5})
    with pytest.raises(bench_kinds.Disagreement, match="fast and literal differ by 0.5"):
        bench_rows.measure(OPERATOR, BRIEF)


def test_what_would_need_too_much_memory_is_left_out_with_its_reason():
    size = {"channels": 64, "side": 512, "n": 5, "batch": 4}
    brief = BRIEF._replace(gib=1e-6)
    assert bench_kinds._fitting({"literal": 1}, Size(**size), brief._replace(gib=99), True)[1] == {}
    found = bench_rows.measure(OPERATOR, brief)
    assert set(found["times"]) == {"fast", "convolutions"}
    why = r"not measured: would need 8.58e-05 GiB, limit 1e-06"
    told = bench_tables.rows_table(made({"row": "operator-quick", **found}))
    assert re.search(rf"forward +\| {why} +\| \d", told)
    found = bench_rows.measure(Row("m", "memory", "memory", SIZE), brief)
    assert set(found["memory"]) == {"fast"}
    assert why in bench_tables.memory_table(made({"row": "m", **found}))


def test_a_row_for_another_device_says_so(home):
    row = OPERATOR._replace(device="cuda")
    entry = bench.run([row], BRIEF, progress=False)
    assert entry["rows"][0]["not measured"] == "not measured: it needs a CUDA device, this is cpu"
    assert "it needs a CUDA device" in bench_tables.rows_table(entry)


def test_memory_is_asked_of_processes_of_their_own():
    size = {"channels": 64, "side": 32, "n": 5, "batch": 1}
    found = bench_rows.measure(Row("m", "memory", "memory", size), BRIEF)["memory"]
    assert found["literal"] > 2 * found["fast"] > 0


def test_ratios_are_taken_turn_by_turn():
    times = timed([4.0, 8.0, 30.0], [1.0, 4.0, 10.0], [0.5, 4.0, 8.0])
    entry = made({"row": "operator-n5", "times": times})
    assert bench_targets.over(entry, "operator-n5", "literal", "fast", "both") == (2.5, 3.0, 3.5)
    assert bench_targets.over(entry, "operator-n5", "fast", "floor", "both")[1] == 1.25
    assert bench_targets.over(entry, "operator-n5", "triton", "fast", "both") is None
    assert bench_targets.over(entry, "operator-n3", "literal", "fast", "both") is None


def test_the_floor_of_a_gpu_is_convolutions_and_copy():
    times = timed([8.0], [4.0], [1.0]) | {"triton": {"both": [3.0]}, "copy": {"both": [1.0]}}
    entry = made({"row": "operator-n5", "times": times})
    assert bench_targets.best(entry) == "triton"
    found = {one.target.name: one for one in bench_targets.verdicts({"cuda": entry})}
    assert found["GPU, n5, floor"].measured == 1.5
    assert found["GPU, n5, floor"].met
    assert found["n5, floor"].met is None


def test_targets_are_met_missed_or_not_measured():
    entry = made(
        {"row": "operator-n5", "times": timed([4.0], [1.0], [0.5])},
        {"row": "memory-n5", "memory": {"literal": 60.0, "fast": 12.0}},
        *({"row": f"side-{side}", "times": timed([9.0], [side**2 * (1 + 0.3 * (side == 512))],
           part="inference")} for side in bench_targets.FLAT),
    )  # fmt: skip
    found = bench_targets.verdicts({"cpu": entry})
    assert [one.met for one in found[:3]] == [True, False, False]
    assert found[5].measured == pytest.approx(1.3)
    assert found[6].met is None
    table = bench_targets.targets_table({"cpu": entry})
    assert "not measured: no CUDA device here" in table
    assert re.search(r"literal / ours +\| ≥ 3.6× +\| 4× +\| yes", table)


def test_a_record_names_the_machine_and_holds_what_was_found(home):
    entry = bench.run([OPERATOR], BRIEF, record=True, progress=False)
    assert entry["device"].endswith("cpu, 1 threads")
    assert {"commit", "date", "versions", "settings", "results"} <= set(entry)
    assert {"digest", "commit", "date", "times"} <= set(entry["rows"][0])
    assert bench_targets.recorded("cuda") == {}


def test_the_command(home, capsys):
    assert cli.main(["bench", "--quick", "--only", "operator", "side", "--threads", "1"]) == 0
    told = capsys.readouterr().out
    assert "recorded: run bench-cpu" in told
    assert "operator-quick" in told
    assert not bench.place().exists()
    assert cli.main(["bench", "--list", "--only", "side-64"]) == 0
    assert capsys.readouterr().out.count("side-") == 1
    for words, reason in (
        (["--only", "nothing"], "no row 'nothing': choose among"),
        (["--quick", "--record"], "not to be recorded"),
        (["--device", "cuda"], "not available"),
    ):
        assert cli.main(["bench", *words]) == 2
        assert reason in capsys.readouterr().err


@pytest.mark.parametrize("name", ["where-quick", "pose-32"])
def test_other_kinds_measure(name):
    (row,) = (row for row in bench_rows.rows(quick=True) if row.name == name)
    found = bench_rows.measure(row, BRIEF)
    for form in ("literal", "fast" if name == "where-quick" else "ours"):
        one = found.get("shares", found.get("times"))[form]
        assert one["answer"][0] > 0 if "answer" in one else sum(one.values()) == pytest.approx(1)


def test_a_step_is_compiled_where_there_is_a_compiler(monkeypatch):
    asked = {}

    def trainees(preset, changes, *_, **__):
        asked.update(changes)
        step = lambda: {"total": 2.0}  # noqa: E731
        return {name: rivals.Trainee(step, 8) for name in changes}

    monkeypatch.setattr(rivals, "trainees", trainees)
    monkeypatch.setenv("CXX", sys.executable)  # something that is there
    row = Row("step-small", "step", "step", {"preset": "small"})
    found = bench_rows.measure(row, BRIEF)
    assert asked[rivals.COMPILED] == {"compile": "default"}
    assert found["apart"] == {"ours": 0.0, rivals.COMPILED: 0.0}
    assert set(found["first"]) == set(found["times"]) == set(asked)
    assert "left out" not in found
    asked.clear()
    monkeypatch.setenv("CXX", "no-such-compiler")
    found = bench_rows.measure(row, BRIEF)
    assert rivals.COMPILED not in asked
    table = bench_tables.images_table(made({"row": "step-small", **found}))
    assert table.count("| not measured: there is no C++ compiler no-such-compiler |") == 1


def test_memory_by_one_thing_leaves_out_what_was_not_measured():
    def row(batch, **memory):
        given = {"batch": batch}
        return {"row": f"b{batch}", "group": "memory by batch", "given": given, "memory": memory}

    entry = made(row(2, literal=60.0, fast=6.0), row(1, literal=8.0, fast=2.0), row(4, fast=9.0))
    assert bench_targets.memory_by(entry, "batch") == {1: 4.0, 2: 10.0}
    assert list(bench_targets.memory_by(entry, "batch")) == [1, 2]
    assert bench_targets.memory_by(entry, "side") == {}


def test_figures_show_what_was_recorded():
    times = timed([4.0, 4.0], [2.0, 2.0], [1.0, 1.0])
    inference = timed([4.0], [2.0], [1.0], part="inference")
    shares = {"literal": {"convolutions": 0.5, "gathers": 0.5}, "fast": {"convolutions": 1.0}}
    entry = made(
        {"row": "operator-n5", "given": {"n": 5}, "times": times},
        {"row": "where-n5", "shares": shares},
        {"row": "side-64", "group": "side", "given": {"side": 64}, "times": inference},
        {"row": "n-3", "group": "n", "given": {"n": 3}, "times": times},
        {"row": "memory-3", "memory": {"literal": 90.0, "fast": 20.0}},
        {"row": "step-small", "times": {"literal": {"step": [3.0]}, "ours": {"step": [2.0]}}},
    )
    left, middle, right = bench_figures.growth(entry).axes
    assert left.lines[0].get_ydata()[0] == pytest.approx(4e9 / 64**2)
    assert middle.lines[1].get_ydata().tolist() == [2000.0]
    assert right.lines[0].get_ydata().tolist() == [90.0]
    widths = [bar.get_width() for bar in bench_figures.where(entry, ["where-n5"]).axes[0].patches]
    assert sum(widths) == pytest.approx(1.0 + 0.5)
    floor = [bar.get_width() for bar in bench_figures.against_floor(entry).axes[0].patches]
    assert floor == [4.0, 2.0]
    assert [bar.get_width() for bar in bench_figures.whole(entry).axes[0].patches] == [1.5]


def test_the_readme_says_what_is_recorded_and_what_is_not(home, monkeypatch):
    assert "Run `" not in readme.performance_table()
    row = {"row": "memory-n5", "group": "memory", "given": {}, "commit": "1a2b3c4",
           "memory": {"literal": 60.0, "fast": 6.0}}  # fmt: skip
    entry = {"run": "bench-cpu", "rows": [row], "device": "a processor", "date": "2026-01-31 1:00"}
    storage.write_json(bench.place(), entry)
    told = readme.performance_table()
    assert re.search(r"the same, memory: literal / ours +\| ≥ 6× +\| 10× +\| yes", told)
    assert told.endswith("Run `bench-cpu`: a processor; commit 1a2b3c4, 2026-01-31.\n")
    assert readme.processes_table().count("\n") == 2  # a heading alone
