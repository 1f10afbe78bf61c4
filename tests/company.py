"""What `torchrun` starts in test_distributed.py: small runs, in several processes or in one.

    python tests/company.py OUT JOB ...

Every job is a run in the folder OUT/JOB. A process leaves notes beside it: which rows it was given,
and how the job ended for it.
"""

import math
import os
import signal
import sys
from pathlib import Path

import torch

from gfla import distributed, storage, streams, train, training
from gfla.config import STAGES, preset
from gfla.encoder import SmallEncoder

FULL = ("full", {"batch": 4})
JOBS = {
    "flow": ("flow", {"batch": 4}),
    "full": FULL,
    # No loss reaches the last block of the source encoder: no attention stands at its end.
    "market": ("full", {"batch": 4, "kernel_sizes": {1: 3}}),
    "whole": ("full", {"batch": 8}),
    "parts": ("full", {"batch": 8, "accumulate": 2}),
    "handed": FULL,  # begun by one process
    "stopped": FULL,  # one process is asked to end, and all of them are
    "broken": FULL,  # one process gets a picture that is not finite
    "killed": FULL,  # one process dies
    "foreign": ("flow", {"batch": 2}),  # in the folder of "flow", which only rank 0 looks into
}
for _name in ("flow", "full", "market"):  # what a process alone would make of its rows
    JOBS[f"half-{_name}"] = (JOBS[_name][0], JOBS[_name][1] | {"batch": 2})


def configuration(name):
    """The stage and the configuration of a job: three steps, slow ones.

    The first step of Adam is the sign of the gradient, however small: where that is rounding noise,
    a weight moves by the whole learning rate this way or that.
    """
    stage, changes = JOBS[name]
    common = {"flow.lr": 1e-4, "full.lr": 1e-5}
    common |= {f"{one}.{name}": n for one in STAGES for name, n in (("steps", 3), ("warmup", 0))}
    return stage, preset("tiny", checkpoint_every=1, **common, **changes)


def run(out, name, **more):
    """One job; returns what `train.fit` does."""
    torch.manual_seed(1)
    encoder = SmallEncoder().requires_grad_(False).eval()  # needs no file
    stage, config = configuration(name)
    options = {"device": "cpu", "progress": False, "encoder": encoder, "seed": 3} | more
    folder = Path(out) / ("flow" if name == "foreign" else name)
    return train.fit(config, stage, folder, **options)


def note(out, name, **facts):
    """Leave a file behind."""
    storage.write_json(Path(out) / "notes" / f"{name}-{distributed.rank()}.json", facts)


def meddle(out, job):
    """Note the rows of every batch, and let happen in rank 1 what the job is about."""
    plain = streams.procedural

    def procedural(data, count, seed, device="cpu", first=0):
        number, struck = seed % streams.STEPS_PER_SEED, distributed.rank() == 1
        note(out, f"{job}-{number}", first=first, count=count)
        batch = plain(data, count, seed, device, first)
        if struck and job == "stopped" and number == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        if struck and job == "killed" and number == 2 and distributed.restarts() == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        if struck and job == "broken" and number == 2:
            batch["target"] = batch["target"] * math.nan
        return batch

    streams.procedural = procedural
    return plain


def main(out, *jobs):
    """All jobs, one after the other."""
    torch.set_num_threads(1)
    for job in jobs:
        if (Path(out) / "notes" / f"{job}-{os.environ.get('RANK', 0)}.json").exists():
            continue  # done before the restart
        plain = meddle(out, job)
        error = ""
        try:
            fitted = run(out, job)
            if not fitted.finished:
                note(out, f"{job}-first", step=fitted.step)
                fitted = run(out, job)
        except (training.TrainingError, ValueError, distributed.ElsewhereError) as caught:
            error = str(caught)
        note(out, job, error=error, restarts=distributed.restarts())
        streams.procedural = plain
    distributed.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
