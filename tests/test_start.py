"""What is asked for comes soon: importing the library costs little, and so does any --help."""

import json
import os
import statistics
import subprocess
import sys

import pytest

from gfla import cli, storage

ROUNDS = 3  # medians of processor time: another program's work is not counted, only its disturbance
HEAVY = {
    "IPython", "cv2", "h5py", "lpips", "matplotlib", "nbformat", "onnx",
    "onnxruntime", "pandas", "papermill", "scipy", "skimage", "snakemake", "torchvision", "triton",
}  # fmt: skip
MEASURE = """
import contextlib, io, json, sys, time
def seconds(work):
    began = time.process_time()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        exec(work, {})
    return time.process_time() - began
print(json.dumps([seconds(work) for work in json.loads(sys.argv[1])] + [sorted(sys.modules)]))
"""


def measured(*works):
    """Processor time of each piece of code, one after the other in a fresh process; modules."""
    command = [sys.executable, "-c", MEASURE, json.dumps(works)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=storage.root(), check=True)
    *times, modules = json.loads(done.stdout)
    return times, set(modules)


def helps(*but):
    """Code that asks every command but some for its help."""
    names = [name for name in cli.COMMANDS if name not in but]
    ask = "    try: cli.main([name, '--help'])\n    except SystemExit: pass"
    return f"from gfla import cli\nfor name in {names}:\n{ask}"


@pytest.fixture(scope="module")
def rounds():
    """Several rounds of: PyTorch, then the library, then the help of every command."""
    works = ("import torch", "import gfla", "import gfla.model", helps())
    return [measured(*works)[0] for _ in range(ROUNDS)]


def test_the_library_adds_little_to_pytorch(rounds):
    adds = [library + model for _, library, model, _ in rounds]
    assert statistics.median(adds) < 0.5, adds


def test_all_helps_together_answer_soon(rounds):
    """Every command's room is imported, one after the other: each alone is quicker still."""
    times = [row[-1] for row in rounds]
    assert statistics.median(times) < 1.5, times


def test_no_help_imports_what_it_does_not_need():
    """All but `bench`, which times the posing page, whose rooms draw."""
    _, modules = measured(helps("bench"))
    assert not HEAVY & modules
    assert "torch" in modules  # the rooms were there indeed


def test_the_list_of_commands_needs_no_pytorch():
    code = "from gfla import cli\ncli.main(['--help'])"
    times, modules = zip(*(measured(code) for _ in range(ROUNDS)), strict=True)
    assert statistics.median(row[0] for row in times) < 0.5, times
    assert "torch" not in modules[0]


@pytest.mark.skipif(not hasattr(os, "wait4"), reason="this system does not tell a child's time")
def test_the_program_itself_answers_soon():
    """From the start of the interpreter to its end, as a person meets it."""

    def run():
        child = subprocess.Popen(
            [sys.executable, "-m", "gfla", "--help"], cwd=storage.root(), stdout=subprocess.DEVNULL
        )
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        assert child.returncode == 0
        return used.ru_utime + used.ru_stime

    times = [run() for _ in range(ROUNDS)]
    assert statistics.median(times) < 1.5, times


def test_slow_work_would_be_noticed():
    slow = "import time\nend = time.process_time() + 0.6\nwhile time.process_time() < end: pass"
    (quick, busy), modules = measured("pass", slow)
    assert quick < 0.1 < 0.5 < busy
    assert "gfla" not in modules
