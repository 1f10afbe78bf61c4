"""How far the workflow scales: recorded seconds, laid out on more machines by arithmetic.

What a job took was measured on one machine. How long many workers would take is reckoned: a job
begins as soon as a worker is free and what it begins with is there; nothing is lost by waiting in
a queue, copying or starting.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gfla import ledger
from gfla.ablation import cells, ladder

WORKERS = (1, 2, 4, 8, 16, 32)
Jobs = Mapping[str, tuple[float, str | None]]  # name -> (seconds, the job that comes before)


def reckon(jobs: Jobs, workers: int) -> float:
    """The time until all jobs are done, longest remaining chain first.

    Args:
        jobs: name -> (seconds, the job that must be done before, or None).
        workers: how many run at a time.

    Returns:
        Seconds from the first start to the last end.

    Raises:
        ValueError: no worker.

    >>> chain = {"flow": (2.0, None), "full": (3.0, "flow"), "global": (4.0, None)}
    >>> [reckon(chain, workers) for workers in (1, 2, 9)]
    [9.0, 5.0, 5.0]
    """
    if workers < 1:
        raise ValueError(f"workers={workers}: at least one must work")
    free, ends, waiting = [0.0] * workers, {}, sorted(jobs, key=lambda name: -_ahead(jobs, name))
    while waiting:
        now = min(free)
        ready = [name for name in waiting if ends.get(jobs[name][1], 0.0) <= now
                 and (jobs[name][1] is None or jobs[name][1] in ends)]  # fmt: skip
        if not ready:  # this worker waits until something ends
            free[free.index(now)] = min(end for end in ends.values() if end > now)
            continue
        waiting.remove(ready[0])
        free[free.index(now)] = ends[ready[0]] = now + jobs[ready[0]][0]
    return max(ends.values(), default=0.0)


def longest(jobs: Jobs) -> float:
    """The seconds of the longest chain: no number of workers is quicker."""
    return max((_ahead(jobs, name) for name in jobs), default=0.0)


def street() -> Jobs:
    """The notebooks of the recorded street: none waits for another."""
    return {name: (seconds, None) for name, seconds in ledger.read("street")["results"].items()}


def grid() -> Jobs:
    """The recorded grid: what every training took, judging not counted."""
    recorded = {run["run"].removeprefix("ablation-"): run for run in ladder.entries()}
    planned = {job.name: job for job in cells.jobs("recorded")}
    found: dict[str, tuple[float, str | None]] = {}
    for name, run in recorded.items():
        after = planned[name].after if name in planned else None
        if after in planned and planned[after].stage == "flow":
            found[after] = (run["flow_seconds"], None)
        found[name] = (run["seconds"], after if after in {*found, *recorded} else None)
    return found


def table(workers: Sequence[int] = WORKERS) -> str:
    """Minutes of the street and of the grid on one worker, measured, and on more, reckoned.

    Args:
        workers: how many run at a time, a row each.

    Returns:
        A Markdown table.
    """
    parts = {"street": street(), "grid": grid()}
    heads = [f"{name}, {len(jobs)} jobs [min]" for name, jobs in parts.items()]
    rows = [["jobs at a time", *heads, "how known"]]
    for count in workers:
        times = [f"{reckon(jobs, count) / 60:.0f}" for jobs in parts.values()]
        rows.append([str(count), *times, "sum of measured times" if count == 1 else "arithmetic"])
    bounds = [f"{longest(jobs) / 60:.0f}" for jobs in parts.values()]
    rows.append(["any number", *bounds, "longest chain of measured times"])
    return ledger.table(rows)


def _ahead(jobs: Jobs, name: str) -> float:
    """Seconds from the start of a job to the end of the longest chain that begins with it."""
    after = [_ahead(jobs, other) for other, (_, before) in jobs.items() if before == name]
    return jobs[name][0] + max(after, default=0.0)
