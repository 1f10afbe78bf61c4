"""The loop: what is trained by what, in which order, and what survives when something breaks."""

import itertools
import json
import math
import os
import signal
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.optim import Adam

from gfla import cli, journal, measure, passes, step, streams, terms, train
from gfla import training as training_room
from gfla.checkpoint import load_model
from gfla.config import StageConfig, from_dict, preset
from gfla.data import people
from gfla.discriminator import Discriminator
from gfla.encoder import SmallEncoder
from gfla.losses import discriminator_loss
from gfla.model import GFLA
from gfla.sampling import warp
from gfla.storage import CheckpointError

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(1)
    return SmallEncoder().requires_grad_(False).eval()


@pytest.fixture
def run(encoder, tmp_path):
    """fit() on the tiny preset, quiet, with an encoder that needs no file."""

    def fit(name, stage="flow", config=None, **more):
        config = config or preset("tiny")
        more = {"encoder": encoder, "device": "cpu", "progress": False} | more
        return train.fit(config, stage, tmp_path / name, **more)

    return fit


def begin(encoder, stage="full", **changes):
    return train.begin(preset("tiny", **changes), stage, 0, CPU, encoder)


def batch_of(training, number=0):
    return streams.batches(training.config.data, 0, CPU)(number)


def weights(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def same(a, b):
    """Whether two nested states hold the same numbers, bit for bit."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def state_of(folder):
    state = torch.load(folder / journal.STATE, weights_only=True)
    state["config"].pop("seconds")
    return state


def log_of(folder):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in journal.read(folder)]


# ---------------------------------------------------------------- one iteration


def test_learning_rate_warms_up_and_falls():
    stage = StageConfig(steps=100, lr=2.0, schedule="cosine", final_lr=0.1, warmup=10)
    rates = [step.learning_rate(stage, t) for t in range(101)]
    assert rates[0] == pytest.approx(0.2, rel=1e-3)
    assert max(rates) == rates[9] < 2.0
    assert rates[50] == pytest.approx(2.0 * (0.1 + 0.9 / 2))
    assert rates[100] == pytest.approx(0.2)
    constant = StageConfig(steps=100, lr=2.0)
    assert {step.learning_rate(constant, t) for t in (0, 50, 99)} == {2.0}


def test_step_d_moves_only_the_discriminator():
    torch.manual_seed(0)
    discriminator = Discriminator(base=4, cap=8, depth=2)
    optimizer = Adam(discriminator.parameters(), 1e-2, betas=(0.0, 0.999))
    real, latent = torch.randn(2, 3, 16, 16), torch.randn(2, 3, 16, 16, requires_grad=True)
    first = step.step_d(discriminator, optimizer, real, latent.tanh(), "lsgan")
    for _ in range(20):
        last = step.step_d(discriminator, optimizer, real, latent.tanh(), "lsgan")
    assert latent.grad is None
    assert last < 0.9 * first


def test_step_g_takes_the_weighted_sum_and_clips():
    weight = nn.Parameter(torch.tensor([3.0, 4.0]))
    optimizer = torch.optim.SGD([weight], 1.0)
    terms = {"a": (weight**2).sum() / 2, "b": weight.sum()}
    logged = step.step_g([weight], optimizer, terms, {"a": 2.0, "b": 0.0}, clip=1.0)
    assert (logged["a"], logged["a_weighted"], logged["total"]) == (12.5, 25.0, 25.0)
    assert logged["gradient_norm"] == pytest.approx(10.0)
    assert weight.detach().tolist() == pytest.approx([3.0 - 0.6, 4.0 - 0.8])


def test_step_g_changes_nothing_when_a_term_or_the_gradient_is_not_finite():
    weight = nn.Parameter(torch.tensor(0.0))
    optimizer = Adam([weight], 1.0)
    with pytest.raises(training_room.TrainingError, match="style is nan"):
        terms = {"l1": weight, "style": weight * math.nan}
        step.step_g([weight], optimizer, terms, {"l1": 1.0, "style": 1.0})
    with pytest.raises(training_room.TrainingError, match="gradient_norm is (inf|nan)"):
        step.step_g([weight], optimizer, {"l1": weight.sqrt()}, {"l1": 1.0})  # slope inf at 0
    assert weight.item() == 0.0


def test_order_of_an_iteration(encoder, monkeypatch):
    """G forward, then D on real and detached fake, then G through the D that has just moved."""
    training = begin(encoder)
    events, before = [], weights(training.discriminator)
    real_d, real_g = step.step_d, step.step_g

    def step_d(discriminator, optimizer, real, fake, *rest):
        events.append("d")
        assert fake.requires_grad  # made before, by one forward pass; step_d detaches it itself
        return real_d(discriminator, optimizer, real, fake, *rest)

    def step_g(parameters, *rest):
        events.append("g")
        judge = training.discriminator
        moved = [value.clone() for value in judge.parameters()]
        logged = real_g(parameters, *rest)
        assert not any(p.requires_grad for p in judge.parameters())
        assert same(moved, list(judge.parameters()))
        return logged

    monkeypatch.setattr(step, "step_d", step_d)
    monkeypatch.setattr(step, "step_g", step_g)
    monkeypatch.setattr(
        training.model,
        "forward",
        lambda *x: (events.append("f"), GFLA.forward(training.model, *x))[1],
    )
    step.iterate(training, batch_of(training))
    assert events == ["f", "d", "g"]
    assert not same(before, weights(training.discriminator))
    rate = training.optimizer.param_groups[0]["lr"]
    assert training.d_optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * rate)


@pytest.mark.parametrize("stage", ["flow", "full"])
def test_each_stage_trains_its_own_networks(encoder, stage):
    training = begin(encoder, stage)
    frozen = weights(encoder)
    before = weights(training.model)
    logged = step.iterate(training, batch_of(training))
    after = weights(training.model)
    moved = {name.split(".")[0] for name in after if not torch.equal(after[name], before[name])}
    assert moved == ({"flow"} if stage == "flow" else {"flow", "renderer"})
    assert (training.discriminator is None) == (stage == "flow")
    assert same(frozen, weights(encoder))
    expected = training.settings.weights()
    assert {name for name in expected if f"{name}_weighted" in logged} == set(expected)
    total = sum(weight * logged[name] for name, weight in expected.items())
    assert logged["total"] == pytest.approx(total, rel=1e-5)


def test_stage_two_may_train_the_flow_more_slowly(encoder):
    training = begin(encoder, "full", flow_lr_ratio=0.25)
    step.iterate(training, batch_of(training))
    slow, fast = training.optimizer.param_groups
    assert slow["lr"] == pytest.approx(0.25 * fast["lr"])
    assert {id(p) for p in slow["params"]} == {id(p) for p in training.model.flow.parameters()}
    alone = begin(encoder, "flow", flow_lr_ratio=0.25)
    step.iterate(alone, batch_of(alone))
    assert alone.optimizer.param_groups[0]["lr"] == fast["lr"]


def test_full_stage_without_adversarial_term_has_no_discriminator(encoder):
    training = begin(encoder, **{"full.adversarial": 0.0})
    logged = step.iterate(training, batch_of(training))
    assert training.discriminator is None
    assert "adversarial" not in logged and "discriminator" not in logged


def test_hinge_trains_too(encoder):
    training = begin(encoder, gan="hinge")
    batch = batch_of(training)
    with torch.no_grad():
        output = training.model(batch["source"], batch["source_pose"], batch["target_pose"])
        judge = training.discriminator
        expected = discriminator_loss(judge(batch["target"]), judge(output.image), "hinge")
    logged = step.iterate(training, batch)
    assert logged["discriminator"] == pytest.approx(
        expected.item(), rel=1e-2
    )  # spectral norms move


def test_images_are_encoded_once_each(encoder, monkeypatch):
    training = begin(encoder)
    seen = []
    forward = encoder.forward
    monkeypatch.setattr(
        encoder, "forward", lambda image, names: (seen.append(len(names)), forward(image, names))[1]
    )
    step.iterate(training, batch_of(training))
    assert len(seen) == 3  # source, target, generated image
    assert seen[0] == 2  # of the source, the taps of the two levels only


def test_training_learns(encoder):
    """One batch, again and again: the picture must come closer to its target."""
    others = {f"full.{name}": 0.0 for name in ("adversarial", "perceptual", "style")}
    training = begin(encoder, **others, **{"full.steps": 25, "full.lr": 1e-2, "clip": 0.0})
    batch = batch_of(training)
    rows = [step.iterate(training, batch) for _ in range(25)]
    assert rows[-1]["l1"] < 0.75 * rows[0]["l1"]


def test_average_follows(encoder):
    training = begin(encoder, "flow", ema=0.5)
    batch = batch_of(training)
    expected = weights(training.model)
    for t in range(1, 4):
        step.iterate(training, batch)
        decay = min(0.5, t / (9 + t))
        now = weights(training.model)
        expected = {name: decay * expected[name] + (1 - decay) * now[name] for name in now}
    torch.testing.assert_close(weights(training.average), expected)
    assert begin(encoder, "flow", ema=0.0).best is not None
    assert begin(encoder, "flow", ema=0.0).average is None


# ---------------------------------------------------------------- data and truth


def test_truth_never_reaches_training(run, tmp_path, monkeypatch):
    """With the truth poisoned, and with it gone, training gives the very same weights."""
    make = streams.batches(preset("tiny").data, 0, CPU)
    assert set(make(0)) == {"source", "target", "source_pose", "target_pose"}
    reference = weights(run("honest", "full", steps=2).model)
    pairs = people.pairs

    def poisoned(*args, **kwargs):
        batch = pairs(*args, **kwargs)
        for name in ("flow", "visible", "foreground"):
            batch[name] = torch.full_like(batch[name], math.nan)
        return batch | {"parts": batch["parts"] + 99}

    def without(*args, **kwargs):
        batch = pairs(*args, **kwargs)
        return {name: batch[name] for name in passes.inputs("people")}

    for name, source in {"poisoned": poisoned, "without": without}.items():
        monkeypatch.setattr(people, "pairs", source)
        assert same(reference, weights(run(name, "full", steps=2).model))


def test_measuring_steers_nothing(run):
    plain = run("plain", "full").model
    measured = run("measured", "full", preset("tiny", measure_every=1, sample_every=2))
    assert same(weights(plain), weights(measured.model))
    rows = journal.read(measured.folder)
    assert all(0 < row["measured_flow_ratio"] < 3 for row in rows)
    strips = sorted(path.name for path in (measured.folder / "samples").iterdir())
    assert strips == ["step-0000002.png", "step-0000004.png"]


def test_seeds_of_training_and_measuring_never_meet(monkeypatch):
    largest = streams.people_seed(99, 99_999)
    assert largest < streams.TRAINING_SEEDS == 10_000_000
    for bad in ({"seed": 100, "step": 0}, {"seed": -1, "step": 0}, {"seed": 0, "step": 100_000}):
        with pytest.raises(ValueError, match=r"(seed|step)=-?\d+"):
            streams.people_seed(**bad)
    asked = []
    monkeypatch.setattr(
        people, "pairs", lambda count, size, seed, device: asked.append((count, seed))
    )
    list(measure.held_out(20, (32, 32)))
    assert asked == [(16, 30_000_000), (4, 30_000_016)]


def test_batches_made_ahead_are_the_same_batches():
    data = preset("tiny").data
    make = streams.batches(data, 3, CPU)
    plain = list(streams.ahead(make, 5, 9, 0))
    assert len(plain) == 4
    assert same(plain, list(streams.ahead(make, 5, 9, 2)))
    assert same(plain[2], make(7))
    assert not same(make(7), streams.batches(data, 4, CPU)(7))
    assert list(streams.ahead(make, 5, 5, 2)) == []


def test_a_fault_in_the_data_arrives_at_its_step():
    def make(number):
        if number == 2:
            raise FileNotFoundError("picture 2")
        return number

    stream = streams.ahead(make, 0, 4, 2)
    assert [next(stream), next(stream)] == [0, 1]
    with pytest.raises(FileNotFoundError, match="picture 2"):
        next(stream)


def test_measurement_of_known_models(monkeypatch):
    """Zero flow and copying score 1 by definition, the truth scores 0."""
    batch = people.pairs(4, size=(32, 32), seed=30_000_000)
    monkeypatch.setattr(measure, "held_out", lambda *_: [batch])

    class Known(nn.Module):
        size = (32, 32)

        def __init__(self, flow, image):
            super().__init__()
            self.output = SimpleNamespace(flows=(flow,), image=image, masks=())

        def forward(self, *_):
            return self.output

    copying = Known(torch.zeros(4, 2, 16, 16), batch["source"])
    found = measure.measure(copying, "full", 4, CPU)
    assert found["measured_flow_ratio"] == pytest.approx(1.0)
    assert found["measured_l1_ratio"] == pytest.approx(1.0)
    knowing = Known(batch["flow"], warp(batch["source"], batch["flow"]))
    found = measure.measure(knowing, "full", 4, CPU)
    assert found["measured_flow_error"] == pytest.approx(0.0, abs=1e-5)
    assert found["measured_l1_ratio"] == pytest.approx(0.0, abs=1e-6)


# ---------------------------------------------------------------- a run and its folder


@pytest.mark.parametrize("stage, precision", [("flow", "float32"), ("full", "bfloat16")])
def test_resumed_equals_uninterrupted_bit_for_bit(run, stage, precision):
    config = preset("tiny", prefetch=1, precision=precision)
    whole = run("whole", stage, config, seed=3)
    run("parts", stage, config, seed=3, until=1)
    torch.rand(7)  # what happens in between must not matter
    first = run("parts", stage, config, seed=3, until=3)
    assert (first.step, first.finished) == (3, False)
    second = run("parts", stage, config, seed=3)
    assert (second.step, second.finished) == (4, True)
    assert same(state_of(whole.folder), state_of(second.folder))
    assert log_of(whole.folder) == log_of(second.folder)
    assert {value.dtype for value in weights(whole.model).values()} == {torch.float32}
    other = run("other", stage, config, seed=4, until=1)
    assert not same(weights(whole.model), weights(other.model))


def test_ctrl_c_saves_and_the_same_call_goes_on(run, monkeypatch, capsys):
    whole = run("whole", "full")
    iterate, calls = step.iterate, []

    def interrupted(*args):
        calls.append(1)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return iterate(*args)

    listening = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(train, "iterate", interrupted)
    stopped = run("stopped", "full")
    assert (stopped.step, stopped.finished) == (3, False)
    assert "stopped after step 3" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGINT) is listening
    again = run("stopped", "full")
    assert same(state_of(whole.folder), state_of(again.folder))
    assert log_of(whole.folder) == log_of(again.folder)


def test_a_killed_runs_log_is_cut_back_to_its_checkpoint(run):
    whole = run("whole")
    killed = run("killed", until=2)
    with (killed.folder / journal.LOG).open("a") as file:
        file.write('{"step": 3, "total": 7}\n{"step": 4, "to')  # logged, never saved
    again = run("killed")
    assert log_of(whole.folder) == log_of(again.folder)


def test_loss_that_is_not_finite_stops_with_step_term_and_last_good_state(
    run, encoder, monkeypatch
):
    forward, calls = encoder.forward, []

    def broken(image, names):
        calls.append(1)
        taps = forward(image, names)
        return {name: tap * math.nan for name, tap in taps.items()} if len(calls) > 8 else taps

    monkeypatch.setattr(encoder, "forward", broken)  # the third image of the third step
    with pytest.raises(
        training_room.TrainingError,
        match=r"step 3: perceptual is nan.*last good state: .*state\.pt",
    ) as caught:
        run("broken", "full")
    kept = str(caught.value).rsplit("last good state: ", 1)[1]
    state = torch.load(kept, weights_only=True)
    assert state["step"] == 2
    assert all(torch.isfinite(value).all() for value in state["models"]["model"].values())
    monkeypatch.setattr(encoder, "forward", forward)
    assert same(weights(run("broken", "full").model), weights(run("whole", "full").model))


def test_runaway_flow_stops_the_run_and_spares_the_checkpoint(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(step, "outside_shares", lambda flows: torch.tensor([0.1, 0.6]))
    config = preset("tiny", outside_patience=2)
    with pytest.raises(training_room.TrainingError, match="step 3: 60% of the flow points outside"):
        run("runaway", config=config)
    assert "warning, step 1: 60% of the flow" in capsys.readouterr().out
    state = torch.load(tmp_path / "runaway" / journal.STATE, weights_only=True)
    assert state["step"] == 0


def test_outside_share_allows_for_one_pixel():
    flow = torch.zeros(2, 2, 4, 8)
    flow[:, 0] = 0.9
    assert terms.outside_share([flow]) == 0.0
    flow[:, 0] = 1.1  # the last column now reads 1.1 pixels beyond
    assert terms.outside_share([torch.zeros(1, 2, 2, 2), flow]) == pytest.approx(1 / 8)


def test_stage_two_takes_the_flow_of_stage_one(run, tmp_path):
    first = run("first")
    for source in (first.folder, first.folder / journal.MODEL):
        model = GFLA(**preset("tiny").generator())
        assert not same(weights(model.flow), weights(first.model.flow))
        train.take_over(model, source)
        assert same(weights(model.flow), weights(first.model.flow))
    second = run("second", "full", init=first.folder, until=1)
    begun = torch.load(first.folder / journal.STATE, weights_only=True)["models"]["average"]
    now = weights(second.model.flow)
    drift = max((now[name] - begun[f"flow.{name}"]).abs().max() for name in now)
    assert 0 < drift < 2e-3  # one step of Adam away
    with pytest.raises(CheckpointError, match="flow weights in .* do not fit"):
        train.take_over(GFLA(**preset("tiny", flow_base=4).generator()), first.folder)
    with pytest.raises(FileNotFoundError):
        train.take_over(model, tmp_path / "nothing")


def test_a_stage_two_may_begin_with_the_whole_of_another(run):
    first = run("first", "full")
    model = GFLA(**preset("tiny").generator())
    train.take_over(model, first.folder, "model")
    assert same(weights(model), weights(first.model))
    with pytest.raises(ValueError, match="part='renderer': choose one of flow, model"):
        train.take_over(model, first.folder, "renderer")
    second = run("second", "full", init=first.folder, part="model", until=1)
    drift = max(float((a - b).abs().max()) for a, b in zip(
        second.model.parameters(), first.model.parameters(), strict=True))  # fmt: skip
    assert 0 < drift < 2e-2  # one step of Adam away, not another initialisation


def test_a_folder_of_another_run_is_refused_unless_fresh(run):
    run("taken", until=2)
    with pytest.raises(ValueError, match="seed: 0 then, 5 now"):
        run("taken", seed=5)
    with pytest.raises(ValueError, match=r"stage: 'flow' then, 'full' now"):
        run("taken", "full")
    with pytest.raises(ValueError, match=r"flow\.lr: 0\.001 then, 0\.002 now"):
        run("taken", config=preset("tiny", **{"flow.lr": 2e-3}))
    longer = run("taken", steps=5)  # more steps are the same run
    assert longer.step == 5
    anew = run("taken", seed=5, resume=False, until=1)
    assert [row["step"] for row in journal.read(anew.folder)] == [1]


def test_who_reads_a_finished_run_writes_nothing(run):
    folder = run("taken", until=2).folder
    files = [folder / journal.CONFIG, folder / journal.LOG]
    before = [file.stat().st_ino for file in files]  # a file that is replaced is another one
    assert run("taken", steps=3).finished
    assert all(a != file.stat().st_ino for a, file in zip(before, files, strict=True))
    before = [(file.stat().st_ino, file.stat().st_mtime_ns) for file in files]
    assert run("taken", steps=2).finished and run("taken", steps=3).step == 3
    assert before == [(file.stat().st_ino, file.stat().st_mtime_ns) for file in files]


def test_what_lies_beside_a_run(run):
    fitted = run("run", "full", seed=2, steps=3)
    facts = json.loads((fitted.folder / journal.CONFIG).read_text())
    config = from_dict(facts["config"])
    assert (facts["seed"], facts["stage"], facts["device"]) == (2, "full", "cpu")
    assert facts["digest"] == config.digest()
    assert (config.full.steps, config.preset) == (3, "tiny")
    assert facts["versions"]["torch"] == torch.__version__
    model = load_model(fitted.folder / journal.MODEL)
    assert same(weights(model), weights(fitted.model))
    assert not fitted.model.training
    rows = journal.read(fitted.folder)
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert all(b["seconds"] >= a["seconds"] > 0 for a, b in itertools.pairwise(rows))
    assert {"learning_rate", "gradient_norm", "discriminator", "outside", "total"} <= set(rows[0])


def test_the_pace_of_a_run_is_that_of_its_later_steps(tmp_path):
    log = tmp_path / journal.LOG
    for step_, seconds in ((1, 9.0), (2, 10.0), (3, 10.5), (5, 11.5), (6, 13.5)):
        journal.append(log, {"step": step_, "seconds": seconds})
    assert journal.pace(tmp_path, skip=1) == 2.0
    with pytest.raises(ValueError, match="has 1 lines after the first 4"):
        journal.pace(log, skip=4)


def test_an_unknown_stage_is_refused(run):
    with pytest.raises(ValueError, match="unknown stage 'both': choose one of flow, full"):
        run("run", "both", steps=3)


def test_training_from_a_folder(run, tmp_path):
    from gfla.data import folders

    folders.write_sample(tmp_path / "data")
    config = preset("tiny", source=str(tmp_path / "data"), measure_every=0)
    make = streams.batches(config.data, 0, CPU)
    assert set(make(0)) == set(passes.inputs("people"))
    assert make(0)["source"].shape == (2, 3, 32, 32)
    assert run("run", "full", config, steps=1).finished
    with pytest.raises(FileNotFoundError, match="nowhere"):
        streams.batches(preset("tiny", source="nowhere").data, 0, CPU)


def test_the_shell_command(tmp_path, monkeypatch, encoder, capsys):
    monkeypatch.setattr(training_room, "load_features", lambda name: encoder)
    words = ["train", "--preset", "tiny", "--stage", "flow", "--out", str(tmp_path / "run")]
    words += ["--seed", "1", "--device", "cpu", "--quiet", "--set", "batch=1", "flow.lr=5e-4"]
    assert cli.main([*words, "--until", "1"]) == 0
    assert cli.main(words) == 0
    printed = capsys.readouterr().out
    assert '"batch": 1' in printed and "flow: step 4, finished: True" in printed
    assert (
        json.loads((tmp_path / "run" / journal.CONFIG).read_text())["config"]["flow"]["lr"] == 5e-4
    )
    assert cli.main([*words, "--set", "batch"]) == 2
    assert "FIELD=VALUE" in capsys.readouterr().err


@pytest.mark.parametrize("launch", [None, "job-7"])
@pytest.mark.parametrize(
    ("step", "finished", "until", "status"),
    [(4, True, [], 0), (2, False, ["--until", "2"], 0), (2, False, [], 130)],
)
def test_only_a_run_that_got_where_it_was_sent_exits_with_0(
    tmp_path, monkeypatch, step, finished, until, status, launch
):
    """To torchrun, 0 would mean that there is nothing left to do."""
    if launch:
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", launch)
    monkeypatch.setattr(train.distributed, "start", lambda device: device)
    monkeypatch.setattr(train, "fit", lambda *a, **k: train.Fitted(None, step, finished, tmp_path))
    words = ["train", "--preset", "tiny", "--out", str(tmp_path), "--device", "cpu", *until]
    assert cli.main(words) == status


def test_kernel_nets_may_learn_slower(encoder):
    training = begin(encoder, kernel_lr_ratio=0.25)
    step.iterate(training, batch_of(training))
    rates = {}
    for group in training.optimizer.param_groups:
        rates |= {id(one): group["lr"] for one in group["params"]}
    named = dict(training.model.named_parameters())
    assert len(rates) == len(named)  # each parameter in one group
    kernels = {rates[id(one)] for name, one in named.items() if "kernel_net" in name}
    others = {
        rates[id(one)]
        for name, one in named.items()
        if name.startswith("renderer.") and "kernel_net" not in name
    }
    assert len(kernels) == len(others) == 1
    assert kernels.pop() == pytest.approx(0.25 * others.pop())
