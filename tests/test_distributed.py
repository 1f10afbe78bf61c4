"""Several processes train what one process trains, and a run survives the death of one of them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import company
import pytest
import torch

from gfla import (
    checkpoint,
    distributed,
    journal,
    passes,
    resuming,
    storage,
    streams,
    train,
    training,
)
from gfla.config import preset
from gfla.encoder import SmallEncoder

CPU = torch.device("cpu")
ENCODER = SmallEncoder().requires_grad_(False).eval()  # needs no file
WORKER = Path(company.__file__)
JOBS = ["flow", "full", "market", "parts", "handed", "stopped", "broken", "foreign", "killed"]


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """The folder of all jobs in two gloo processes, one start of torchrun."""
    out = tmp_path_factory.mktemp("two")
    company.run(out, "handed", until=1)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += ["--max-restarts=1", str(WORKER), str(out), *JOBS]
    known = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(storage.root())}
    done = subprocess.run(command, capture_output=True, text=True, env=known, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return out


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """Each job in this process alone, made when it is asked for."""
    out, made = tmp_path_factory.mktemp("one"), {}

    def run(name):
        if name not in made:
            threads = torch.get_num_threads()
            torch.set_num_threads(1)
            made[name] = company.run(out, name).folder
            torch.set_num_threads(threads)
        return made[name]

    return run


def state_of(folder):
    return torch.load(folder / journal.STATE, weights_only=True)


def weights_of(folder, part="model"):
    return state_of(folder)["models"][part]


def noted(out, name, rank):
    return json.loads((out / "notes" / f"{name}-{rank}.json").read_text())


def outputs(folder, job):
    """What the trained model makes of pairs that it has never seen."""
    _, config = company.configuration(job)
    model = checkpoint.load_model(folder / journal.MODEL)
    batch = streams.batches(config.data, 7, CPU)(0)
    with torch.no_grad():
        done = passes.run(model, "full", batch, "people")
    return [done.image, *done.judged[0].flows]


@pytest.mark.parametrize("job", ["flow", "full", "market", "parts", "handed"])
def test_two_processes_train_what_one_process_trains(two, one, job):
    """Also where one process began the run, and where a batch comes in parts."""
    reference = one({"parts": "whole", "handed": "full"}.get(job, job))
    for ours, theirs in zip(outputs(two / job, job), outputs(reference, job), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
    alone, together = weights_of(reference), weights_of(two / job)
    assert together.keys() == alone.keys()
    for name in alone:
        if not name.endswith("bias"):  # an instance norm cancels many: Adam makes steps of noise
            close = (together[name] - alone[name]).abs() < 1e-5
            assert close.float().mean() > 0.99, name  # a weight of no consequence is noise as well
    for ours, theirs in zip(journal.read(two / job), journal.read(reference), strict=True):
        assert ours.keys() == theirs.keys()
        for name in set(ours) - {"seconds"}:
            assert ours[name] == pytest.approx(theirs[name], rel=1e-3, abs=1e-6), name


def test_parts_of_a_batch_train_what_the_whole_trains(one):
    """Spectral norms move once a batch, and D has taken its step before any part reaches G."""
    parts, whole = one("parts"), one("whole")
    for ours, theirs in zip(outputs(parts, "parts"), outputs(whole, "parts"), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
    ours, theirs = (weights_of(folder, "discriminator") for folder in (parts, whole))
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("job", ["flow", "full", "market"])
def test_rows_that_are_left_out_would_show(one, job):
    """What half of the batch makes of picture and flows is told from the whole at that tolerance.

    The picture of "flow" alone says nothing: its renderer has learnt nothing, so flows hardly show.
    """
    half, whole = outputs(one(f"half-{job}"), job), outputs(one(job), job)
    told = [(ours - theirs).abs().max() for ours, theirs in zip(half, whole, strict=True)]
    assert min(told[job == "flow" :]) > 2e-5


def test_the_rows_of_the_processes_are_those_of_one_batch(two):
    for step in range(3):
        rows = [noted(two, f"full-{step}", rank) for rank in (0, 1)]
        assert rows == [{"first": 0, "count": 2}, {"first": 2, "count": 2}]


def test_a_killed_process_costs_nothing_but_time(two):
    """torchrun starts both again, they go on from the last state, and end with the same bits."""
    assert [noted(two, "killed", rank)["restarts"] for rank in (0, 1)] == [1, 1]
    assert noted(two, "full", 0)["restarts"] == 0
    torch.testing.assert_close(
        state_of(two / "killed")["models"], state_of(two / "full")["models"], atol=0, rtol=0
    )
    assert [row["step"] for row in journal.read(two / "killed")] == [1, 2, 3]


def test_a_signal_to_one_process_stops_all_at_one_step(two):
    """SIGTERM reaches rank 1 before its second step; the same call goes on to the same end."""
    assert [noted(two, "stopped-first", rank)["step"] for rank in (0, 1)] == [2, 2]
    torch.testing.assert_close(
        state_of(two / "stopped")["models"], state_of(two / "full")["models"], atol=0, rtol=0
    )


def test_a_bad_picture_in_one_process_stops_all_and_spares_the_state(two):
    errors = [noted(two, "broken", rank)["error"] for rank in (0, 1)]
    assert errors[0] == errors[1]
    assert "step 3: discriminator is nan" in errors[0]
    assert state_of(two / "broken")["step"] == 2


def test_a_mistake_that_one_process_sees_ends_all(two):
    assert "holds another run" in noted(two, "foreign", 0)["error"]
    assert noted(two, "foreign", 1)["error"] == "another process could not begin: see its message"
    assert state_of(two / "flow")["step"] == 3


# ---------------------------------------------------------------- in one process


def test_alone_a_process_is_rank_0_of_1_and_nothing_is_wrapped():
    assert (distributed.rank(), distributed.world(), distributed.restarts()) == (0, 1, 0)
    assert distributed.start(CPU) == CPU
    network = torch.nn.Linear(2, 2)
    assert distributed.wrapped(network) is network
    with distributed.apart(network):
        network(torch.ones(1, 2)).sum().backward()
    assert network.weight.grad is not None


def test_what_cannot_be_shared_is_refused(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="batch=4 in 3 processes.*divides by 3"):
        streams.batches(preset("tiny", batch=4).data, 0, CPU, rank=1, world=3)
    with pytest.raises(ValueError, match="batch=20 in 2 processes, accumulate=4.*divides by 8"):
        streams.batches(preset("tiny", batch=20).data, 0, CPU, rank=1, world=2, parts=4)
    monkeypatch.setattr(distributed, "world", lambda: 2)
    config = preset("tiny", batch=20, accumulate=4)
    with pytest.raises(ValueError, match="batch=20 in 2 processes, accumulate=4"):
        train.fit(config, "flow", tmp_path / "run", device="cpu", progress=False, encoder=ENCODER)
    assert not (tmp_path / "run").exists()
    monkeypatch.undo()
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    with pytest.raises(ValueError, match="device mps: several processes train on cpu or cuda"):
        distributed.start(torch.device("mps"))


def test_several_machines_are_told_how_they_can_be_restarted(monkeypatch):
    store = torch.distributed.HashStore()
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", "2")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(ValueError, match="TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1"):
        distributed._fresh(store)
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "False")
    assert distributed._fresh(store) is store
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    monkeypatch.setenv("WORLD_SIZE", "2")
    before = distributed._fresh(store)
    before.set("address", "old")
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert before.check(["address"]) and not distributed._fresh(store).check(["address"])


def under_torchrun(monkeypatch, launch, restarts=0, most=0):
    """The environment of the only process of a torchrun."""
    told = {"RUN_ID": launch, "RESTART_COUNT": restarts, "MAX_RESTARTS": most}
    for name, value in told.items():
        monkeypatch.setenv(f"TORCHELASTIC_{name}", str(value))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.setattr(distributed, "start", lambda device: device)  # it needs no group


def test_a_fresh_run_begins_once_for_each_torchrun(tmp_path, monkeypatch):
    """Whatever torchrun counts: a machine that joins is no restart, an early death is one."""
    under_torchrun(monkeypatch, "old", most=3)
    company.run(tmp_path, "flow", until=2)
    under_torchrun(monkeypatch, "new", restarts=1, most=3)
    begun = company.run(tmp_path, "flow", resume=False, until=1)
    assert begun.step == 1  # rank 0 had not begun when another process died
    under_torchrun(monkeypatch, "new", restarts=0, most=3)
    assert company.run(tmp_path, "flow", resume=False, until=2).step == 2
    assert [row["step"] for row in journal.read(begun.folder)] == [1, 2]  # it went on
    assert storage.read_json(begun.folder / journal.CONFIG)["launch"] == "new"
    monkeypatch.setattr(resuming, "save", broken_pipe)
    under_torchrun(monkeypatch, "newest", most=3)
    with pytest.raises(OSError, match="before the first state"):
        company.run(tmp_path, "flow", resume=False)
    assert not (begun.folder / journal.STATE).exists()  # nor does a restart take it for its own


def broken_pipe(*given):
    raise OSError("before the first state")


def test_a_fresh_run_under_torchrun_needs_an_id(tmp_path, monkeypatch):
    under_torchrun(monkeypatch, "none")
    assert company.run(tmp_path, "flow", resume=False, until=1).step == 1  # never started again
    assert "launch" not in storage.read_json(tmp_path / "flow" / journal.CONFIG)
    under_torchrun(monkeypatch, "none", most=1)
    with pytest.raises(ValueError, match=r"--fresh.*without an id.*--standalone"):
        company.run(tmp_path, "flow", resume=False)
    assert company.run(tmp_path, "flow", until=2).step == 2
    under_torchrun(monkeypatch, "none")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="--rdzv-id"):
        company.run(tmp_path, "flow", resume=False)


@pytest.mark.parametrize("source", ["people", "objects", "clips", "portraits"])
def test_rows_are_drawn_without_those_before_them(source):
    data = preset("tiny").data
    data = type(data)(size=(32, 32), source=source, frames=2)
    whole = streams.procedural(data, 5, 3)
    rows = streams.procedural(data, 2, 3, first=3)
    assert rows.keys() == whole.keys()
    for name in rows:
        torch.testing.assert_close(rows[name], whole[name][3:], atol=0, rtol=0)


def test_rows_of_a_folder_are_places_of_one_row(tmp_path):
    from gfla.data import folders

    folders.write_sample(tmp_path)
    data = preset("tiny", source=str(tmp_path), batch=4).data
    whole = streams.batches(data, 0, CPU)(5)
    shares = [streams.batches(data, 0, CPU, rank=rank, world=2)(5) for rank in (0, 1)]
    for name in whole:
        torch.testing.assert_close(torch.cat([share[name] for share in shares]), whole[name])


@pytest.mark.parametrize("job", ["flow", "full", "market"])
def test_nobody_waits_for_gradients_that_never_come(job, monkeypatch):
    """What `spread` counts as reached is what a step gives a gradient."""
    from gfla import step
    from gfla.encoder import SmallEncoder

    reached = []
    stage, config = company.configuration(job)
    begun = training.begin(config, stage, 0, CPU, SmallEncoder().requires_grad_(False).eval())
    batch = streams.batches(config.data, 0, CPU)(0)
    monkeypatch.setattr(distributed, "world", lambda: 2)
    monkeypatch.setattr(
        distributed, "wrapped", lambda network, some=(): (reached.extend(some), network)[1]
    )
    training.spread(begun, batch)
    monkeypatch.setattr(distributed, "world", lambda: 1)
    begun.wrapped.clear()
    step.iterate(begun, batch)
    named = dict(begun.trained.named_parameters())
    got = {name for name, one in named.items() if one.grad is not None}
    assert {id(one) for one in reached} == {id(named[name]) for name in got}
    assert (got < set(named)) == (job != "full")
