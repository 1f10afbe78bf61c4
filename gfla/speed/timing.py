"""The gauges of a benchmark: clock, memory, counts. Nothing here knows what is measured.

On a CPU the clock is processor time, all threads together, which other programs disturb less than
wall time; on a GPU it is the time between two events of the stream. Forms that are to be compared
take turns, so that a machine that grows slower meanwhile grows slower for all of them.
"""

from __future__ import annotations

import itertools
import os
import re
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gfla import ledger

MIB = 2**20
GROUPS = {  # where the time of a profile goes: operators by their names, the first that fits
    "convolutions": r"conv|mkldnn|addmm|aten::b?mm$",
    "gathers": r"embedding|index|gather|gfla|triton|sort",
    "copies, sums, fills": r"copy|clone|cat|pad|fill|zero|add|sum|mul|stack",
    "norms": r"norm",
}
OTHERS = "everything else"


def laps(parts: Sequence[Callable[[], Any]], device: torch.device | str = "cpu") -> list[float]:
    """Seconds of each of several calls, made one after the other.

    Args:
        parts: the calls.
        device: what they compute on; a GPU is waited for before the first and after the last.

    Returns:
        as many seconds: processor time on a CPU, time between events on a GPU.

    Example:
        >>> all(seconds >= 0 for seconds in laps([lambda: None, lambda: None]))
        True
    """
    if torch.device(device).type == "cuda":
        events = [torch.cuda.Event(enable_timing=True) for _ in range(len(parts) + 1)]
        torch.cuda.synchronize(device)
        events[0].record()
        for part, event in zip(parts, events[1:], strict=True):
            part()
            event.record()
        torch.cuda.synchronize(device)
        return [a.elapsed_time(b) / 1e3 for a, b in itertools.pairwise(events)]
    marks = [time.process_time()]
    for part in parts:
        part()
        marks.append(time.process_time())
    return [b - a for a, b in itertools.pairwise(marks)]


def alternate(
    forms: Mapping[str, Callable[[], Mapping[str, float]]],
    turns: int = 5,
    seconds: float = 0.0,
    warmup: int = 1,
    most: int = 25,
    least: float = 0.0,
    tick: Callable[[str], Any] = lambda name: None,
) -> dict[str, dict[str, list[float]]]:
    """Let several forms take turns, each turn beginning with another one.

    Args:
        forms: name -> a call that does the work once and gives what it measured, by name.
        turns: at least so many, counted after the warm-up.
        seconds: go on until so much wall time has passed, but
        most: never more turns than that.
        warmup: turns that are not counted.
        least: wall seconds of a form's turn: a call that is over sooner is made again, and the mean
            counts, else a short one would be judged by the caches that a long one has left.
        tick: told each form's name before it runs; a progress bar's.

    Returns:
        {form: {what was measured: one value a turn}}.

    Raises:
        ValueError: no form, or no turn.

    Example:
        >>> alternate({"a": lambda: {"s": 1.0}, "b": lambda: {"s": 2.0}}, turns=2)
        {'a': {'s': [1.0, 1.0]}, 'b': {'s': [2.0, 2.0]}}
    """
    if not forms or turns < 1:
        raise ValueError(f"{len(forms)} forms for {turns} turns: at least one of each is needed")
    names, found, started = list(forms), {name: {} for name in forms}, time.perf_counter()
    for turn in range(-warmup, max(turns, most)):
        if turn >= turns and time.perf_counter() - started >= seconds:
            break
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            tick(name)
            began, calls = time.perf_counter(), [forms[name]()]
            while time.perf_counter() - began < least:
                calls.append(forms[name]())
            for part in calls[0] if turn >= 0 else ():
                mean = statistics.fmean(call[part] for call in calls)
                found[name].setdefault(part, []).append(mean)
    return found


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median and upper quartile.

    Example:
        >>> quartiles([4.0, 1.0, 2.0, 3.0, 5.0])
        (2.0, 3.0, 4.0)
    """
    if len(values) == 1:
        return (values[0],) * 3
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def machine(device: torch.device | str = "cpu") -> str:
    """Name what computes: the processor with its threads, or the GPU."""
    name = ledger.device_name(device)
    if torch.device(device).type != "cpu":
        return name
    with suppress(OSError):
        told = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        if model := re.search(r"^model name\s*:\s*(\S.*)$", told, re.M):
            return f"{model[1].strip()}, {name}"
    return name


# ---------------------------------------------------------------- memory


def rise(run: Callable[[], Any], device: torch.device | str = "cpu") -> float:
    """By how much a call raises the most memory that this process ever had.

    On a CPU, call it once in a process of its own (`python -m gfla bench` does): what was taken
    once is not always given back, and a second form would find it.

    Args:
        run: the call; its inputs are there already and do not count.
        device: on a GPU, what PyTorch's allocator had at most counts.

    Returns:
        MiB.
    """
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        torch.cuda.synchronize(device)
        return (torch.cuda.max_memory_allocated(device) - before) / MIB
    with suppress(OSError):  # Linux: forget the peak of the start-up, which may lie higher
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = most_resident()
    run()
    return most_resident() - before


def most_resident() -> float:
    """The most memory that this process ever had at once, in MiB.

    The kernel's VmHWM where there is one. It is what `ru_maxrss` says, except that the latter
    begins, in a process that another one starts, with what that other one had.
    """
    with suppress(OSError):
        told = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        if line := re.search(r"^VmHWM:\s*(\d+) kB", told, re.M):
            return int(line[1]) / 1024
    import resource  # there is none on Windows

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (MIB if sys.platform == "darwin" else 1024)


def saved_bytes(run: Callable[[], Any], given: Sequence[Tensor] = ()) -> int:
    """How much a forward pass keeps for its backward pass: the same on every machine.

    Args:
        run: the forward pass; its result is let go of.
        given: tensors that were there before, and do not count.

    Returns:
        bytes of all the tensors that autograd was handed, each storage once.

    Example:
        >>> x = torch.ones(8, requires_grad=True)
        >>> saved_bytes(lambda: x.exp(), [x])  # the result is kept: 8 numbers of 4 bytes
        32
    """
    kept: dict[int, torch.UntypedStorage] = {}  # held, so that no address is used twice

    def pack(value: Tensor) -> Tensor:
        kept[value.untyped_storage().data_ptr()] = value.untyped_storage()
        return value

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        run()
    for tensor in given:
        kept.pop(tensor.untyped_storage().data_ptr(), None)
    return sum(storage.nbytes() for storage in kept.values())


# ---------------------------------------------------------------- where it goes


def multiplications(run: Callable[[], Any]) -> int:
    """Multiply-adds of the convolutions and matrix products that a call makes.

    Example:
        >>> multiplications(lambda: torch.ones(2, 3) @ torch.ones(3, 4))
        24
    """
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops() // 2


def shares(run: Callable[[], Any], device: torch.device | str = "cpu") -> dict[str, float]:
    """Where the time of a call goes, by groups of operators.

    Args:
        run: the call; make it once before, so that nothing is counted that happens only once.
        device: on a GPU, the time of its kernels counts.

    Returns:
        group of `GROUPS` or `OTHERS` -> share of the time, together 1.
    """
    kinds, key = [torch.profiler.ProfilerActivity.CPU], "self_cpu_time_total"
    if torch.device(device).type == "cuda":
        kinds, key = [*kinds, torch.profiler.ProfilerActivity.CUDA], "self_device_time_total"
    os.environ.setdefault("KINETO_LOG_LEVEL", "9")  # else it tells stderr that it starts and stops
    with torch.profiler.profile(activities=kinds) as profile:
        run()
        if torch.device(device).type == "cuda":
            torch.cuda.synchronize(device)
    spent = dict.fromkeys([*GROUPS, OTHERS], 0.0)
    for event in profile.key_averages():
        spent[_group(event.key)] += getattr(event, key)
    whole = sum(spent.values()) or 1.0
    return {name: value / whole for name, value in spent.items()}


def _group(operator: str) -> str:
    fits = (name for name, pattern in GROUPS.items() if re.search(pattern, operator, re.I))
    return next(fits, OTHERS)
