"""The command line finds its rooms, is quick to help, and says mistakes in one line."""

import importlib
import subprocess
import sys

import pytest

from gfla import cli, storage


def test_help_is_quick_because_nothing_heavy_is_imported():
    code = (
        "import sys; from gfla import cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "heavy = {'torch', 'numpy', 'pandas', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=storage.root()
    )
    assert done.returncode == 0, done.stderr
    for name in cli.COMMANDS:
        assert name in done.stdout


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_a_room_that_explains_itself(name, capsys):
    command = cli.COMMANDS[name]
    assert callable(getattr(importlib.import_module(command.room), command.run))
    with pytest.raises(SystemExit) as end:
        cli.main([name, "--help"])
    assert end.value.code == 0
    assert f"python -m gfla {name}" in capsys.readouterr().out


def test_an_unknown_command_lists_the_known(capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["paint"])
    assert end.value.code == 2
    assert "'paint'" in capsys.readouterr().err


def test_a_mistake_is_one_line(capsys):
    assert cli.main(["reproduce", "--profile", "huge"]) == 2
    error = capsys.readouterr().err
    assert error == "gfla reproduce: unknown profile 'huge': choose one of smoke, cpu, gpu\n"


def test_a_mistake_can_be_traced():
    with pytest.raises(ValueError, match="unknown profile 'huge'"):
        cli.main(["--traceback", "reproduce", "--profile", "huge"])


def test_errors_of_our_own_are_one_line_and_others_are_not(monkeypatch, capsys):
    def fail(error):
        def main(args):
            raise error

        monkeypatch.setattr("gfla.reproduce.main", main)
        return cli.main(["reproduce"])

    assert fail(storage.CheckpointError("the file is damaged")) == 2
    assert capsys.readouterr().err == "gfla reproduce: the file is damaged\n"
    assert fail(KeyboardInterrupt()) == 130
    with pytest.raises(ZeroDivisionError):  # a fault of the library keeps its traceback
        fail(ZeroDivisionError("in the library"))


def test_sample_writes_where_it_is_told(tmp_path, capsys):
    where = tmp_path / "people"
    assert cli.main(["sample", "--to", str(where), "--count", "1", "--tests", "1"]) == 0
    assert str(where) in capsys.readouterr().out
    assert (where / "fasion-pairs-train.csv").is_file()
    assert cli.main(["sample", "--to", str(where)]) == 2  # not replaced unasked
    assert "is not empty" in capsys.readouterr().err


def test_several_processes_are_for_training_alone(capsys, monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert cli.main(["sample", "--to", "nowhere"]) == 2
    assert "only train takes several processes" in capsys.readouterr().err


def test_a_backend_that_is_not_there_is_a_mistake_in_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("GFLA_BACKEND", "triton")
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    words = ["evaluate", "--model", "people", "--against", "people", "--count", "2"]
    assert cli.main([*words, "--out", str(tmp_path / "scores.json")]) == 2
    told = capsys.readouterr().err
    assert "backend 'triton' is not there" in told and "Traceback" not in told
