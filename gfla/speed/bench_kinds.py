"""How a row of the benchmark is measured: one function for each kind.

Each is given the row's mapping, the effort, the device and a `tick` that is told the name of a form
before it runs. What it gives is plain, for JSON: `times` {form: {pass: one number of seconds a
turn}}, or `memory`, or `shares`; `apart`, by how much the results of the forms differ; `first`, the
wall time of the first steps, in seconds; and `left out`, why a form is missing.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch

from gfla import config as configs
from gfla import journal, meanwhile
from gfla.data import posing, stances
from gfla.interactive import live
from gfla.speed import rivals, timing
from gfla.speed.rivals import LITERAL, OURS, Size

TOLERANCE = 1e-4  # by which results that are to agree may differ; values are of the order of 1
LOW = 0.05  # the same for losses of networks that compute in bfloat16, of their size


class Effort(NamedTuple):
    """How long a row may take, and what it computes with."""

    turns: int = 5  # at least
    seconds: float = 4.0  # of wall time that a row goes on for when its turns are short
    threads: int = 2
    gib: float = 8.0  # a form that would need more memory is left out


class NotMeasured(Exception):
    """Why a row has no numbers."""


class Disagreement(RuntimeError):
    """Forms that should give the same gave something else: their times mean nothing."""


# ---------------------------------------------------------------- the kinds


def _agreed(apart: Mapping[str, float], tolerance: float = TOLERANCE) -> dict[str, float]:
    for name, value in apart.items():
        if not value <= tolerance:
            raise Disagreement(
                f"{name} and {LITERAL} differ by {value:.2g}, more than {tolerance:g}: run the"
                " tests of gfla.sampling before timing anything"
            )
    return {name: float(f"{value:.2g}") for name, value in apart.items()}


def _fitting(
    forms: Mapping[str, Any], size: Size, effort: Effort, inference: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Without the literal form where it would need more memory than there may be used, and why."""
    needed = rivals.literal_gib(size, inference)
    if needed <= effort.gib:
        return dict(forms), {}
    reason = f"not measured: would need {needed:.3g} GiB, limit {effort.gib:g}"
    fitting = {name: form for name, form in forms.items() if name != LITERAL}
    return fitting, {"left out": {LITERAL: reason}}


def _operator(given: Mapping, effort: Effort, device: str, tick: Callable) -> dict[str, Any]:
    inference, size = _sized(given)
    forms, gone = _fitting(rivals.operator(size, device), size, effort, inference)
    close = rivals.apart(forms) if LITERAL in forms else {}
    calls = {name: partial(rivals.passes, form, device, inference) for name, form in forms.items()}
    times = timing.alternate(calls, effort.turns, effort.seconds, least=0.2, tick=tick)
    return {"apart": _agreed(close), "times": times} | gone


def _generator(given: Mapping, effort: Effort, device: str, tick: Callable) -> dict[str, Any]:
    forms = rivals.generator(device=device, **given)
    close = _agreed(rivals.apart(forms))

    def timed(form: rivals.Form) -> dict[str, float]:
        start = time.perf_counter()
        found = rivals.passes(form, device, inference=True)
        middle = time.perf_counter()
        found |= rivals.passes(form, device)
        walls = {"inference, wall": middle - start, "both, wall": time.perf_counter() - middle}
        return found | walls

    calls = {name: partial(timed, form) for name, form in forms.items()}
    times = timing.alternate(calls, effort.turns, effort.seconds, tick=tick)
    return {"apart": close, "times": times, "images": given.get("batch", 1)}


PLAIN = {"layout": "contiguous", "compile": "off"}  # of a training whose attention is literal


def _step(given: Mapping, effort: Effort, device: str, tick: Callable) -> dict[str, Any]:
    changes, encoder, gone = {LITERAL: PLAIN, OURS: {}}, None, {}
    if given["preset"] == "small":  # what precision is worth, and how far attention could bring it
        changes |= {rivals.LITERAL32: PLAIN | {"precision": "float32"}}
        changes |= {rivals.BILINEAR: {"attention": "bilinear"}}
        changes |= {rivals.LAST: {"layout": "channels_last"}}
        if shutil.which(compiler := _compiler()):
            changes |= {rivals.COMPILED: {"compile": "default"}}
        else:
            reason = f"not measured: there is no C++ compiler {compiler}"
            gone = {"left out": {rivals.COMPILED: reason}}
    if torch.device(device).type == "cuda":
        from gfla.features import VGG19

        encoder = VGG19()  # random: its time is that of the trained one
        changes[LITERAL] = PLAIN | {"precision": "float32"}
        changes[OURS] = {"precision": "bfloat16", "compile": "default", "layout": "channels_last"}
    found = rivals.trainees(given["preset"], changes, device, encoder=encoder)
    total, first = {}, {}
    for name, one in found.items():
        tick(name)
        start = time.perf_counter()
        total[name] = one.step()["total"]
        first[name] = time.perf_counter() - start
    same = {OURS, rivals.COMPILED} & set(total)
    close = {name: abs(total[name] / total[LITERAL] - 1) for name in sorted(same)}

    def timed(one: rivals.Trainee) -> dict[str, float]:
        start = time.perf_counter()
        found = {"step": timing.laps([one.step], device)[0]}
        return found | {"step, wall": time.perf_counter() - start}

    calls = {name: partial(timed, one) for name, one in found.items()}
    times = timing.alternate(calls, effort.turns, effort.seconds, tick=tick)
    told = {"apart": _agreed(close, LOW), "times": times, "first": first}
    return told | gone | {"images": found[OURS].images}


def _compiler() -> str:
    """The C++ compiler that `torch.compile` asks for on a CPU."""
    return os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")


def _pose(given: Mapping, effort: Effort, device: str, tick: Callable) -> dict[str, Any]:
    size = (given["side"],) * 2
    whom = next(iter(live.sources(size).values()))()
    start = stances.preset("T", whom.pose)
    poses = [posing.with_angle(start, "left forearm", angle) for angle in range(0, 180, 30)]
    forms, painters, frames = {LITERAL: "reference", OURS: ""}, {}, {}
    for name, which in forms.items():
        with rivals.backend(which):
            painters[name] = live.Painter(live.load("Full"), whom)

    def answer(name: str, which: str) -> dict[str, float]:
        with rivals.backend(which):
            frames[name] = painters[name].paint(poses[0]).output.image
            told = live.latency(painters[name], poses, warmup=0)
        return {"answer": told["process_median"] / 1e3, "answer, wall": told["wall_median"] / 1e3}

    calls = {name: partial(answer, name, which) for name, which in forms.items()}
    times = timing.alternate(calls, effort.turns, effort.seconds, tick=tick)
    close = {OURS: float((frames[OURS] - frames[LITERAL]).abs().max())}
    return {"apart": _agreed(close), "times": times}


def _shares(given: Mapping, effort: Effort, device: str, tick: Callable) -> dict[str, Any]:
    if "preset" in given:
        forms = rivals.generator(device=device, **given)
        wanted = [LITERAL, OURS]
    else:
        forms = rivals.operator(_sized(given)[1], device)
        wanted = [name for name in rivals.BACKENDS if name in forms]
    found = {}
    for name in wanted:
        tick(name)
        call = partial(rivals.passes, forms[name], device)
        call()
        found[name] = timing.shares(call, device)
    return {"shares": found}


def _step_shares(given: Mapping, effort: Effort, device: str, tick: Callable) -> dict[str, Any]:
    found = {}
    for name, one in rivals.trainees(given["preset"], {LITERAL: PLAIN, OURS: {}}, device).items():
        tick(name)
        one.step()
        found[name] = timing.shares(one.step, device)
    return {"shares": found}


def _memory(given: Mapping, effort: Effort, device: str, tick: Callable) -> dict[str, Any]:
    """Each form in a process of its own."""
    inference, size = _sized(given)
    names = [LITERAL, rivals.FAST]
    names += [rivals.TRITON] * (torch.device(device).type == "cuda")
    fitting, gone = _fitting(dict.fromkeys(names), size, effort, inference)
    found = {}
    for name in fitting:
        tick(name)
        told = {"form": name, "given": dict(given), "device": device, "threads": effort.threads}
        found[name] = float(_asked("-m", "gfla", "bench", "--probe", json.dumps(told)))
    return {"memory": found} | gone


def probe(told: Mapping[str, Any]) -> float:
    """What a process of its own is asked for: by how many MiB one form raises the memory.

    Args:
        told: form, given (of a row of kind "memory"), device, threads.
    """
    inference, size = _sized(told["given"])
    name, device = told["form"], told["device"]
    with meanwhile.threads(told["threads"]):
        small = size._replace(channels=8, side=8, batch=1)  # loads what is loaded at first use
        rivals.passes(rivals.operator(small, device)[name], device, inference)
        form = rivals.operator(size, device)[name]
        return timing.rise(partial(rivals.passes, form, device, inference), device)


def _processes(given: Mapping, effort: Effort, device: str, tick: Callable) -> dict[str, Any]:
    """A training in one process and in several of one thread each: the same steps, wall time."""
    times = {}
    for count in given["counts"]:
        name = f"{count} process" + ("es" if count > 1 else "")
        tick(name)
        with TemporaryDirectory() as folder:
            _asked(
                "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}",
                "-m", "gfla", "train", "--preset", given["preset"], "--stage", "full",
                "--quiet", "--device", device, "--out", folder, "--until", str(2 + effort.turns),
                "--set", "log_every=1", "checkpoint_every=1000", "measure_every=0",
                "sample_every=0",
                OMP_NUM_THREADS="1",
            )  # fmt: skip
            lines = (Path(folder) / journal.LOG).read_text(encoding="utf-8").splitlines()
        ends = [json.loads(line)["seconds"] for line in lines][1:]  # the first step starts things
        times[name] = {"step, wall": [b - a for a, b in itertools.pairwise(ends)]}
    return {"times": times, "images": configs.preset(given["preset"]).data.batch}


def _start(given: Mapping, effort: Effort, device: str, tick: Callable) -> dict[str, Any]:
    """Processor time from nothing to an import, and to the command line's answer."""

    def begun(*words: str) -> dict[str, float]:
        before = os.times()
        _asked(*words)
        after = os.times()
        spent = (b - a for a, b in zip(before[2:4], after[2:4]))  # of children: user, system
        return {"process": sum(spent)}

    calls = {
        "import torch": partial(begun, "-c", "import torch"),
        "import gfla": partial(begun, "-c", "import torch, gfla"),
        "--help": partial(begun, "-m", "gfla", "--help"),
    }
    return {"times": timing.alternate(calls, effort.turns, 0.0, tick=tick)}


def _asked(*words: str, **more: str) -> str:
    """What a new Python says; `more` is added to its environment."""
    here = {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    environment = os.environ | here | more
    command = [sys.executable, *words]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)} failed: {done.stderr.strip()[-1500:]}")
    return done.stdout


def _sized(given: Mapping[str, Any]) -> tuple[bool, Size]:
    """Whether nothing is kept for a backward pass, and the size."""
    plain = {name: value for name, value in given.items() if name != "inference"}
    return bool(given.get("inference")), Size(**plain)


KINDS: dict[str, Callable[[Mapping, Effort, str, Callable], dict[str, Any]]] = {
    "operator": _operator,
    "generator": _generator,
    "step": _step,
    "pose": _pose,
    "shares": _shares,
    "step shares": _step_shares,
    "memory": _memory,
    "processes": _processes,
    "start": _start,
}
