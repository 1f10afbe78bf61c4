"""Files of weights: our safetensors, and training states that survive."""

from __future__ import annotations

import random
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from gfla import checkpoint, storage
from gfla.checkpoint import load_model, load_state, save_model, save_state
from gfla.discriminator import Discriminator
from gfla.model import GFLA
from gfla.storage import CheckpointError


def small() -> GFLA:
    return GFLA((32, 32), {1: 3}, flow_base=4, flow_cap=8, flow_depth=3, base=4, cap=8, hidden=4)


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


# ---- our weights ---------------------------------------------------------------------------------


def test_a_model_returns_from_its_file_with_its_arguments(tmp_path):
    model = small()
    digest = save_model(tmp_path / "m.safetensors", model, steps=7)
    loaded = load_model(tmp_path / "m.safetensors", digest)
    assert same(loaded, model)
    assert loaded.arguments == model.arguments
    assert not loaded.training
    assert storage.load_safetensors(tmp_path / "m.safetensors")[1]["steps"] == 7
    with pytest.raises(CheckpointError, match="sha256"):
        load_model(tmp_path / "m.safetensors", "0" * 64)


def test_half_precision_halves_the_file_and_is_widened_again(tmp_path):
    model = small()
    save_model(tmp_path / "full.safetensors", model)
    save_model(tmp_path / "half.safetensors", model, dtype=torch.float16)
    full, half = (tmp_path / f"{name}.safetensors" for name in ("full", "half"))
    assert half.stat().st_size < 0.7 * full.stat().st_size
    loaded = load_model(half)
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
    for one, other in zip(loaded.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)


# ---- training states -----------------------------------------------------------------------------


class Run:
    """A tiny training run that uses every kind of state: two optimisers, three generators."""

    def __init__(self) -> None:
        torch.manual_seed(5)
        random.seed(5)
        np.random.seed(5)  # noqa: NPY002 - the generator that old libraries draw from
        self.models = {"model": small(), "discriminator": Discriminator(base=4, cap=8, depth=2)}
        self.optimisers = {
            name: torch.optim.Adam(model.parameters(), lr=1e-3, betas=(0.5, 0.999))
            for name, model in self.models.items()
        }

    def step(self) -> float:
        noise = random.random() + np.random.rand()  # noqa: NPY002
        source, *poses = (torch.rand(1, c, 32, 32) * noise / 2 for c in (3, 18, 18))
        image = self.models["model"](source, *poses).image
        loss = (self.models["discriminator"](image) - 1).square().mean()
        loss.backward()
        for optimiser in self.optimisers.values():
            optimiser.step()
            optimiser.zero_grad()
        return loss.item()

    def save(self, path, step: int) -> str:
        config = {"preset": "tiny", "size": [32, 32], "seed": 5, "lr": 1e-3}
        return save_state(path, self.models, self.optimisers, step, config)

    def load(self, path):
        return load_state(path, self.models, self.optimisers)


def test_a_resumed_run_continues_bit_for_bit(tmp_path):
    run = Run()
    run.step()
    run.save(tmp_path / "state.pt", 1)
    straight = [run.step() for _ in range(3)]
    resumed = Run()
    resumed.step(), resumed.step()  # somewhere else, before it is called back
    state = resumed.load(tmp_path / "state.pt")
    assert state.step == 1
    assert state.config == {"preset": "tiny", "size": [32, 32], "seed": 5, "lr": 1e-3}
    assert [resumed.step() for _ in range(3)] == straight
    assert all(same(run.models[name], resumed.models[name]) for name in run.models)


def test_a_run_killed_in_any_write_leaves_a_state_that_loads(tmp_path, monkeypatch):
    path, run = tmp_path / "state.pt", Run()
    run.save(path, 0)
    original = storage.atomic_write
    # how many writes still happen before the kill
    for step, survive in enumerate((0, 1, 2, 0, 1, 1, 3), start=1):
        calls = []

        def killed(*args, calls=calls, survive=survive):
            calls.append(args)
            if len(calls) > survive:
                raise KeyboardInterrupt
            return original(*args)

        monkeypatch.setattr(storage, "atomic_write", killed)
        previous = Run().load(path).step
        if survive < 3:
            with pytest.raises(KeyboardInterrupt):
                run.save(path, step)
        else:
            run.save(path, step)
        assert Run().load(path).step == (step if survive > 1 else previous)
    assert len((tmp_path / "state.pt.sha256").read_text().splitlines()) == 1


def test_a_damaged_state_or_one_without_its_checksum_is_refused(tmp_path):
    path, run = tmp_path / "state.pt", Run()
    with pytest.raises(FileNotFoundError, match=r"no training state .*state\.pt"):
        run.load(path)
    run.save(path, 3)
    data = path.read_bytes()
    for broken in (data[:1000], data[:5000] + bytes([data[5000] ^ 4]) + data[5001:]):
        path.write_bytes(broken)
        with pytest.raises(CheckpointError, match=r"is damaged.*resume from an earlier state"):
            run.load(path)
    path.write_bytes(data)
    assert run.load(path).step == 3
    (tmp_path / "state.pt.sha256").unlink()
    with pytest.raises(CheckpointError, match=r"no checksum.*copy state\.pt\.sha256"):
        run.load(path)


def test_a_state_of_other_models_is_refused(tmp_path):
    run = Run()
    run.save(tmp_path / "state.pt", 3)
    with pytest.raises(CheckpointError, match="instead of"):
        load_state(tmp_path / "state.pt", {"model": run.models["model"]}, run.optimisers)
    run.models["discriminator"] = Discriminator(base=4, cap=8, depth=3)
    with pytest.raises(CheckpointError, match=r"(?s)does not fit this run.*start a new run"):
        run.load(tmp_path / "state.pt")


def test_a_configuration_that_could_not_be_read_back_is_refused_at_once(tmp_path):
    run = Run()
    with pytest.raises(TypeError):
        save_state(tmp_path / "s.pt", run.models, run.optimisers, 0, {"path": tmp_path})
    assert not (tmp_path / "s.pt").exists()


def test_torch_load_is_never_trusted():
    folder = Path(checkpoint.__file__).parent
    for file in folder.rglob("*.py"):
        for call in re.findall(
            r"(?<!\.)torch\.load\((?:[^()]|\([^()]*\))*\)", file.read_text("utf-8")
        ):
            assert "weights_only=True" in call, (file.name, call)
