"""The servers of these tests keep to themselves. Needs no browser."""

import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import nbformat
import psutil
import pytest
import servers
from nbformat.v4 import new_code_cell, new_notebook


def listens_on(pid):
    listening = psutil.Process(pid).net_connections("tcp")
    return {c.laddr.ip for c in listening if c.status == psutil.CONN_LISTEN}


def get(address, data=None):
    with urllib.request.urlopen(address, data=data, timeout=60) as answer:
        return answer.read().decode()


def test_jupyterlab_keeps_to_this_machine_and_leaves_nothing_behind_even_after_a_failure(tmp_path):
    with pytest.raises(ZeroDivisionError), servers.jupyterlab(tmp_path / "lab") as server:
        kernels = f"{server.url}/api/kernels"
        assert listens_on(server.pid) == {"127.0.0.1"}
        with pytest.raises(urllib.error.HTTPError, match="403"):
            get(kernels)
        get(f"{kernels}?token={server.token}", data=b"{}")  # starts one
        processes = [psutil.Process(server.pid), *psutil.Process(server.pid).children()]
        assert len(processes) > 1
        raise ZeroDivisionError
    assert not psutil.wait_procs(processes, timeout=10)[1]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such promise")
def test_a_server_does_not_outlive_a_test_run_that_is_killed(tmp_path):
    (tmp_path / "a.ipynb").write_text("{}")
    program = f"""
import pathlib, sys
sys.path.insert(0, {str(Path(servers.__file__).parent)!r})
import servers
home = pathlib.Path({str(tmp_path)!r})
with servers.voila(home / "a.ipynb", home / "voila") as server:
    print(server.pid, flush=True)
    input()
"""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", program], **pipes) as run:
        server = psutil.Process(int(run.stdout.readline()))
        run.kill()
    assert not psutil.wait_procs([server], timeout=30)[1]


def test_voila_serves_one_notebook_on_this_machine(tmp_path):
    notebook = tmp_path / "a.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("print(6 * 7)")]), notebook)
    with servers.voila(notebook, tmp_path / "voila") as server:
        assert listens_on(server.pid) == {"127.0.0.1"}
        page = get(server.url)
    assert "42" in page
    assert "6 * 7" not in page  # a page for those who do not read code


def test_a_server_that_ends_at_once_says_why(tmp_path):
    with (
        pytest.raises(RuntimeError, match="missing.ipynb"),
        servers.voila(tmp_path / "missing.ipynb", tmp_path / "voila"),
    ):
        pass
