"""Jupyter servers for tests: folders of their own, a free port on the loopback, gone afterwards."""

from __future__ import annotations

import ctypes
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PATIENCE = 120  # seconds for a server to answer, on a machine that is busy with other things
FAREWELL = 20  # seconds for a server to end its kernels before it is ended itself
SETTINGS = {
    # every cell lies in the page, seen or not: a test may ask about any of them
    "notebook-extension/tracker": '{"windowingMode": "none"}',
    # neither news nor updates are asked for, over a network that a test must not need
    "apputils-extension/notification": '{"fetchNews": "false", "checkForUpdates": false}',
}


@dataclass(frozen=True)
class Server:
    """A server that answers."""

    url: str  # http://127.0.0.1:port, without a slash at the end
    token: str  # empty where none is asked for
    folder: Path  # what it serves
    log: Path  # what it said
    pid: int


@contextmanager
def jupyterlab(home: Path) -> Iterator[Server]:
    """JupyterLab over an empty folder.

    Args:
        home: an empty folder for its settings, its log and the notebooks it serves.
    Yields:
        The server; it and its kernels end with the block, also when the block fails.
    Raises:
        RuntimeError: it ended, or did not answer in PATIENCE seconds; the message holds its log.
    """
    folder, token = home / "notebooks", secrets.token_hex(16)
    folder.mkdir(parents=True)
    for name, text in SETTINGS.items():
        path = home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    options = [
        "jupyterlab",
        "--no-browser",
        "--allow-root",  # as in a container
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={_free_port()}",  # the next free one, should another be quicker
        f"--ServerApp.root_dir={folder}",
        f"--IdentityProvider.token={token}",
        "--expose-app-in-browser",  # so that a test can wait until a kernel is there
        "--LabApp.extension_manager=readonly",  # the other one asks a registry
    ]
    with _running(options, home, folder, token) as server:
        yield server


@contextmanager
def voila(notebook: Path, home: Path) -> Iterator[Server]:
    """Voilà over one notebook, as `make app` starts it.

    Args:
        notebook: the file; a copy where the original must stay untouched.
        home: an empty folder for its settings and its log.
    Yields:
        The server; it and its kernels end with the block, also when the block fails.
    Raises:
        RuntimeError: it ended, or did not answer in PATIENCE seconds; the message holds its log.
    """
    options = [
        "voila",
        "--no-browser",
        "--Voila.ip=127.0.0.1",
        f"--Voila.port={_free_port()}",
        f"--Voila.connection_dir_root={home}",
        "--VoilaConfiguration.show_tracebacks=True",  # so that a failing test says why
        str(notebook),
    ]
    with _running(options, home, notebook.parent, "") as server:
        yield server


@contextmanager
def _running(options: Sequence[str], home: Path, folder: Path, token: str) -> Iterator[Server]:
    home.mkdir(parents=True, exist_ok=True)
    log = home / "server.log"
    with log.open("w") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", *options],
            env=_environment(home),
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a Ctrl-C for pytest is answered by pytest alone
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
        )
        try:
            yield Server(_address(process, log), token, folder, log, process.pid)
        finally:
            _end(process)


def _environment(home: Path) -> dict[str, str]:
    """Nothing of the person who runs the tests: neither settings nor recent files nor kernels."""
    ours = {k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER", "JPY", "GFLA_RUN"))}
    folders = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "IPYTHONDIR": "ipython",
    }
    for name in folders.values():
        (home / name).mkdir(parents=True, exist_ok=True)
    return ours | {key: str(home / name) for key, name in folders.items()}


def _end_with_parent() -> None:
    """In the server's process: ask the kernel for a SIGTERM when pytest is gone, even if killed."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # 1 = PR_SET_PDEATHSIG


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _address(process: subprocess.Popen, log: Path) -> str:
    """Wait until the server has said where it is (JupyterLab a moment too early) and listens."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        text = log.read_text(errors="replace")
        found = re.search(r"http://127\.0\.0\.1:(\d+)(?=/)", text)
        if found and _listens(int(found[1])):
            return found[0]
        if process.poll() is not None:
            raise RuntimeError(f"{process.args[2]} ended with {process.returncode}:\n{text}")
        time.sleep(0.1)
    raise RuntimeError(f"{process.args[2]} did not answer in {PATIENCE} s:\n{text}")


def _listens(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


def _end(process: subprocess.Popen) -> None:
    """Ask once, so that it ends its kernels; a kernel whose server was killed ends by itself."""
    process.terminate()
    try:
        process.wait(FAREWELL)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
