"""The forms of a training step: low precision, layouts, compiled, fused; all train the same."""

import copy

import pytest
import torch
from torch import nn

from gfla import checkpoint, step, streams, train, training
from gfla.config import preset
from gfla.encoder import SmallEncoder

CPU = torch.device("cpu")
RATES = {"flow.lr": 1e-4, "full.lr": 1e-5, "flow.warmup": 0, "full.warmup": 0}
NOT_LOSSES = ("gradient_norm", "learning_rate", "outside")


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(1)
    return SmallEncoder().requires_grad_(False).eval()


def begin(encoder, stage="full", device=CPU, **changes):
    config = preset("tiny", **RATES, **changes)
    return training.begin(config, stage, 3, device, copy.deepcopy(encoder))


def steps(begun, count=3):
    """The log of a few steps, without what is no loss."""
    make = streams.batches(begun.config.data, 3, begun.device, begun.config.model.kind)
    rows = [step.iterate(begun, make(number)) for number in range(count)]
    return [{k: v for k, v in row.items() if k not in NOT_LOSSES} for row in rows]


def assert_alike(rows, others, share):
    """Every loss of every step, up to a share of itself."""
    for row, other in zip(rows, others, strict=True):
        assert row == pytest.approx(other, rel=share, abs=1e-6)


@pytest.fixture(scope="module")
def plain(encoder):
    """Losses of three steps in float32, eager, contiguous."""
    return {stage: steps(begin(encoder, stage)) for stage in ("flow", "full")}


@pytest.mark.parametrize("stage", ["flow", "full"])
def test_bfloat16_has_the_losses_of_float32(encoder, plain, stage):
    rows = steps(begin(encoder, stage, precision="bfloat16"))
    assert rows != plain[stage]
    assert_alike(rows, plain[stage], 0.04)  # bfloat16 has 8 bits: 0.4 % at each rounding


@pytest.mark.parametrize("stage", ["flow", "full"])
def test_channels_last_has_the_same_losses(encoder, plain, stage):
    begun = begin(encoder, stage, layout="channels_last")
    kernels = [p for p in begun.trained.parameters() if p.ndim == 4 and min(p.shape[1:]) > 1]
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in kernels)
    assert_alike(steps(begun), plain[stage], 1e-4)
    usual = begin(encoder, stage)  # "auto" on a CPU, where nothing may change
    assert all(p.is_contiguous() for p in usual.model.parameters())


def test_a_compiled_step_has_the_same_losses(encoder, plain, monkeypatch):
    """The graph as captured: what a backend makes of it takes a minute and is torch's affair."""
    compiled, compile_ = [], nn.Module.compile

    def captured(network, mode=None):
        compiled.append(type(network).__name__)
        compile_(network, backend="aot_eager", fullgraph=True)

    monkeypatch.setattr(nn.Module, "compile", captured)
    begun = begin(encoder, "flow", compile="default")
    names = set(begun.model.state_dict())
    assert_alike(steps(begun), plain["flow"], 1e-4)
    assert compiled == ["FlowEstimator", "SmallEncoder"]
    assert set(begun.model.state_dict()) == names == set(begin(encoder).model.state_dict())


def test_processes_probe_a_step_in_its_own_form(encoder, monkeypatch):
    """In its precision and layout; but nothing is compiled for the one row that tells enough."""
    seen, graphs, compile_ = [], [], nn.Module.compile
    monkeypatch.setattr(
        nn.Module,
        "compile",
        lambda net, mode=None: compile_(net, backend=lambda graph, _: graphs.append(1) or graph),
    )
    form = {"precision": "bfloat16", "layout": "channels_last", "compile": "default"}
    begun = begin(encoder, "flow", **form)

    def look(network, given):
        last = [one.is_contiguous(memory_format=torch.channels_last) for one in given]
        seen.append((torch.is_autocast_enabled("cpu"), all(last), len(given[0])))

    watch = begun.model.flow.register_forward_pre_hook(look)
    monkeypatch.setattr(training.distributed, "world", lambda: 2)
    monkeypatch.setattr(training.distributed, "wrapped", lambda network, some=(): network)
    batch = streams.batches(begun.config.data, 3, CPU)(0)
    training.spread(begun, batch)
    watch.remove()
    assert (seen, graphs) == ([(True, True, 1)], [])
    begun.ask(begun.laid(batch))
    assert graphs  # afterwards it is compiled all the same


def test_what_cannot_be_compiled_says_what_to_do(encoder, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="compile='graphs' needs a CUDA device, not cpu"):
        begin(encoder, compile="graphs")

    def fails(graph, inputs):
        raise OSError("no compiler")

    compile_ = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda net, mode=None: compile_(net, backend=fails))
    config = preset("tiny", **{"compile": "default", "flow.steps": 1})
    with pytest.raises(training.TrainingError, match=r"no compiler.*set optim\.compile=off"):
        train.fit(config, "flow", tmp_path, encoder=encoder, device="cpu", progress=False)


def test_a_name_has_one_door():
    """What a room offers is defined in it; `train.begin` and `train.take_over` open a run."""
    assert [getattr(step, name).__module__ for name in step.__all__] == ["gfla.step"] * 5
    foreign = {n for n in train.__all__ if getattr(train, n).__module__ != "gfla.train"}
    assert foreign == {"begin", "take_over"}


def test_a_step_asks_the_device_for_numbers_once(encoder, monkeypatch):
    """Every number of the log comes in one transfer, before the generator's parameters move."""
    begun = begin(encoder)
    make = streams.batches(begun.config.data, 3, CPU)
    batch, asked = make(0), []
    for optimizer in (begun.optimizer, begun.d_optimizer):
        monkeypatch.setattr(optimizer, "step", lambda: None)  # counts its steps on the CPU
    for name in ("item", "tolist", "__float__", "__bool__"):
        method = getattr(torch.Tensor, name)

        def counted(self, *args, method=method, name=name):
            if self.is_floating_point():
                asked.append(name)
            return method(self, *args)

        monkeypatch.setattr(torch.Tensor, name, counted)
    step.iterate(begun, batch)
    assert asked == ["tolist"]


def test_a_state_goes_over_to_another_layout(encoder):
    """Moments lie in memory as the weights do that they belong to: fused steps insist on it."""
    first, second = begin(encoder), begin(encoder, layout="channels_last")
    steps(first, 1)
    models, optimisers = {"model": first.model}, {"generator": first.optimizer}
    packed = checkpoint.pack_state(models, optimisers, 1, {})
    models, optimisers = {"model": second.model}, {"generator": second.optimizer}
    for group in second.optimizer.param_groups:
        group["fused"] = True  # as on a CUDA device
    checkpoint.unpack_state(packed, models, optimisers)
    assert all(group["fused"] for group in second.optimizer.param_groups)
    pairs = zip(first.model.parameters(), second.model.parameters(), strict=True)
    turned = 0
    for one, other in pairs:
        for name in ("exp_avg", "exp_avg_sq"):
            if one in first.optimizer.state:
                ours, theirs = second.optimizer.state[other][name], first.optimizer.state[one][name]
                assert ours.stride() == other.stride() and torch.equal(ours, theirs)
                turned += ours.stride() != theirs.stride()
    assert turned > 10


FORMS = {
    "float32": ({}, 1e-3),
    "tf32": ({"precision": "tf32"}, 0.02),
    "bfloat16": ({"precision": "bfloat16"}, 0.04),
    "compiled": ({"compile": "default"}, 1e-3),
    "graphs": ({"compile": "graphs"}, 1e-3),
    "parts": ({"batch": 4, "accumulate": 2}, 1e-3),
}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("form", list(FORMS))
def test_a_cuda_device_trains_what_the_cpu_trains(encoder, form):
    changes, share = FORMS[form]
    batch = {name: value for name, value in changes.items() if name == "batch"}
    expected = steps(begin(encoder, **batch))
    begun = begin(encoder, device=torch.device("cuda"), **changes)
    assert begun.optimizer.param_groups[0]["fused"]
    assert_alike(steps(begun), expected, share)
