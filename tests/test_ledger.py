"""Numbers and tables go where the run says, and a recorded run says where it comes from."""

import subprocess

import numpy as np
import pandas as pd
import pytest
import torch

from gfla import ledger, storage
from gfla.config import preset


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv(ledger.RUN_DIR, str(tmp_path))
    return tmp_path


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("GFLA_ROOT", str(tmp_path))
    return tmp_path


def test_outside_a_run_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.delenv(ledger.RUN_DIR, raising=False)
    monkeypatch.chdir(tmp_path)
    ledger.record("error", 1.0)
    ledger.publish_table(pd.DataFrame({"a": [1]}), "table")
    assert list(tmp_path.iterdir()) == []


def test_key_numbers_become_plain_ones(run):
    for name, value in {"a": torch.tensor(0.5), "b": np.int64(3), "c": True, "d": "yes"}.items():
        ledger.record(name, value)
    ledger.record("a", float("nan"))
    found = storage.read_json(run / "numbers.json")
    assert found == {"a": "nan", "b": 3, "c": True, "d": "yes"}


@pytest.mark.parametrize("value", [None, [1.0], {"a": 1}])
def test_what_is_no_number_is_refused(run, value):
    with pytest.raises(TypeError, match=f"'error' is a {type(value).__name__}"):
        ledger.record("error", value)


def test_a_table_is_written_twice_and_given_back(run):
    frame = pd.DataFrame({"error": [0.123456, 2.0]}, index=pd.Index(["ours", "zero"], name="flow"))
    assert ledger.publish_table(frame, "flow_error") is frame
    read = pd.read_csv(run / "tables" / "flow_error.csv", index_col=0)
    pd.testing.assert_frame_equal(read, frame)
    lines = (run / "tables" / "flow_error.md").read_text().splitlines()
    assert lines[0].split() == ["|", "|", "error", "|"]
    assert lines[2].split() == ["|", "ours", "|", "0.1235", "|"]
    assert len({len(line) for line in lines}) == 1


@pytest.mark.parametrize("name", ["../table", "Table", "", "a b"])
def test_a_name_that_makes_no_file_is_refused(run, name):
    with pytest.raises(ValueError, match="use small letters"):
        ledger.publish_table(pd.DataFrame(), name)


def test_the_digest_of_a_config_is_its_own():
    config = preset("tiny")
    assert ledger.digest(config) == config.digest()
    assert ledger.digest({"a": 1}) != ledger.digest({"a": 2})


def test_the_commit_says_when_files_were_changed_since(home):
    assert ledger.commit() == "unknown"
    git = ["git", "-C", str(home), "-c", "user.name=a", "-c", "user.email=a@b"]
    (home / "file").write_text("one")
    for words in (["init", "-q"], ["add", "file"], ["commit", "-q", "-m", "one"]):
        subprocess.run(git + words, check=True)
    clean = ledger.commit()
    assert len(clean) == 7
    (home / "file").write_text("two")
    assert ledger.commit() == clean + "+"


def test_a_run_is_kept_with_its_circumstances(home, capsys):
    config = preset("tiny")
    path = ledger.write_run(
        "tiny-flow", {"error": torch.tensor(0.5)}, config, seed=3, history=[{"step": 1}]
    )
    assert path == home / "results" / "runs" / "tiny-flow.json"
    entry = ledger.read("tiny-flow")
    assert entry["results"] == {"error": 0.5}
    assert (entry["seed"], entry["config"]) == (3, config.digest())
    assert entry["settings"] == config.to_dict()
    assert entry["history"] == [{"step": 1}]
    assert entry["versions"]["torch"].startswith(torch.__version__.split("+")[0])
    ledger.describe(entry)
    line = capsys.readouterr().out
    for part in ("tiny-flow", entry["commit"], config.digest(), entry["date"][:10], "cpu"):
        assert part in line


def test_an_unknown_run_lists_the_known(home):
    with pytest.raises(FileNotFoundError, match="there are: none yet"):
        ledger.read("people")
    ledger.write_run("people-flow", {})
    with pytest.raises(FileNotFoundError, match="'people'.*there are: people-flow"):
        ledger.read("people")


def test_runs_stand_beside_each_other(home):
    ledger.write_run("b", {"error": 0.5, "steps": 10})
    ledger.write_run("a", {"error": 0.25})
    assert ledger.runs() == ["a", "b"]
    frame = ledger.comparison(["b", "a"], ["error"])
    assert list(frame.columns) == ["error", "config", "commit"]
    assert frame["error"].to_dict() == {"b": 0.5, "a": 0.25}
    assert list(ledger.comparison(["b", "a"]).columns)[:2] == ["error", "steps"]


def test_committed_runs_say_where_they_come_from():
    for name in ledger.runs():
        entry = ledger.read(name)
        assert entry["run"] == name
        assert {"commit", "config", "seed", "device", "date", "versions", "results"} <= set(entry)
