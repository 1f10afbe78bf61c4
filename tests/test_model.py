"""GFLA as a whole: what it returns, what it refuses, building and loading."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import gfla
from gfla import storage
from gfla.attention import WAYS
from gfla.checkpoint import save_model
from gfla.model import GFLA, build, load, parameters, restore
from gfla.storage import CheckpointError
from gfla.types import Output

SMALL = {"flow_base": 4, "flow_cap": 8, "flow_depth": 4, "base": 4, "cap": 8, "hidden": 4}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture
def model() -> GFLA:
    return GFLA((32, 48), {1: 2, 2: 3}, **SMALL)


def inputs(batch: int = 2, size: tuple[int, int] = (32, 48)) -> dict[str, torch.Tensor]:
    return {
        "source": torch.rand(batch, 3, *size) * 2 - 1,
        "source_pose": torch.rand(batch, 18, *size),
        "target_pose": torch.rand(batch, 18, *size),
    }


def test_forward_is_f_then_g(model):
    given = inputs()
    output = model(**given)
    assert isinstance(output, Output)
    assert output._fields == ("image", "flows", "masks", "weights")
    flows, masks = model.flow(**given)
    expected = model.renderer(given["source"], given["target_pose"], flows, masks)
    assert torch.equal(output.image, expected.image)
    assert all(torch.equal(a, b) for a, b in zip(output.flows, flows, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(output.masks, masks, strict=True))
    assert [tuple(flow.shape) for flow in output.flows] == [(2, 2, 8, 12), (2, 2, 16, 24)]
    assert [weights.shape[1] for weights in output.weights] == [9, 4]


def test_gradients_reach_the_flow_through_the_picture(model):
    model(**inputs()).image.square().mean().backward()
    for level, head in model.flow.head.items():
        assert head.flow.weight.grad.abs().max() > 0, level
        assert head.mask.weight.grad.abs().max() > 0, level


def test_other_sizes_than_its_own_work_if_they_fit_the_depth(model):
    assert model.size == (32, 48)
    assert model(**inputs(1, (48, 16))).image.shape == (1, 3, 48, 16)


def test_float64_goes_through(model):
    given = {name: tensor.double() for name, tensor in inputs().items()}
    assert model.double()(**given).image.dtype == torch.float64


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"source": torch.zeros(2, 1, 32, 48)}, ValueError, "source has shape (2, 1, 32, 48), exp"),
        ({"source": torch.zeros(3, 32, 48)}, ValueError, "expected (B, 3, H, W)"),
        ({"source_pose": torch.zeros(2, 17, 32, 48)}, ValueError, "expected (B, 18, H, W)"),
        ({"target_pose": torch.zeros(1, 18, 32, 48)}, ValueError, "batch, height and width must"),
        ({"target_pose": torch.zeros(2, 18, 32, 32)}, ValueError, "batch, height and width must"),
        ({"source": torch.zeros(2, 3, 32, 48, dtype=torch.uint8)}, TypeError, "bytes / 127.5 - 1"),
        ({"source": [[0.0]]}, TypeError, "source is list"),
        (inputs(1, (40, 48)), ValueError, "40×48: this model takes multiples of 16"),
        (inputs(1, (16, 16)), ValueError, "larger than 16×16"),
    ],
)
def test_wrong_shapes_are_refused_by_name(model, change, error, message):
    with pytest.raises(error, match=re.escape(message)):
        model(**(inputs() | change))


def test_render_gives_the_picture_of_forward_without_gradients(model):
    given = inputs()
    image = model.render(**given)
    assert not image.requires_grad
    assert torch.equal(image, model(**given).image)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("source", 255.0, "values from 255 to 255, expected [-1, 1]"),
        ("source", -1.1, "expected [-1, 1]"),
        ("source", float("nan"), "source holds values that are not finite"),
        ("target_pose", float("inf"), "target_pose holds values that are not finite"),
    ],
)
def test_render_refuses_values_that_no_picture_has(model, name, value, message):
    given = inputs()
    given[name] = torch.full_like(given[name], value)
    with pytest.raises(ValueError, match=re.escape(message)):
        model.render(**given)


@pytest.mark.parametrize(
    ("task", "parameters", "flows"), [("fashion", 14_047_395, 2), ("market", 12_926_471, 1)]
)
def test_build_gives_the_papers_models(task, parameters, flows):
    model = build("full", task)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    assert len(model.flow.levels) == flows


def test_the_ablation_shares_one_skeleton():
    """Beside the way the source enters, and F where there is none, only widths differ."""
    names = {}
    for name in WAYS:
        with torch.device("meta"):
            names[name] = {k for k in build(name).state_dict() if ".attention." not in k}
    assert names["bilinear"] == names["full"]
    renderer = {k for k in names["full"] if k.startswith("renderer.")}
    assert names["global"] == names["baseline"] == renderer


@pytest.mark.parametrize("task", ["fashion", "market"])
def test_the_ablation_is_of_one_size(task):
    counts = {name: parameters(build(name, task)) for name in WAYS}
    assert max(counts.values()) < 1.1 * min(counts.values()), counts
    assert len(set(counts.values())) == len(counts)  # four models, not one four times


@pytest.mark.parametrize("name", ["global", "baseline"])
def test_models_without_flow_estimator(name):
    model = GFLA((32, 48), {1: 2, 2: 3}, **SMALL, attention=name)
    given = inputs()
    output = model(**given)
    levels = 2 if name == "global" else 0
    assert output.image.shape == (2, 3, 32, 48)
    assert len(output.flows) == len(output.masks) == levels and output.weights == ()
    assert parameters(model.flow) == 0
    for flow, mask, size in zip(output.flows, output.masks, [(8, 12), (16, 24)], strict=False):
        assert flow.shape == (2, 2, *size) and mask.shape == (2, 1, *size)
        assert mask.min() >= 0 and mask.max() <= 1
    moved = model(**given | {"source_pose": given["source_pose"].flip(3)})
    assert not torch.equal(moved.image, output.image)  # it is told the source's pose
    output.image.square().mean().backward()
    idle = {name[:26] for name, p in model.named_parameters() if p.grad is None}
    assert idle == {"renderer.source_encoder.3."}  # no level looks that deep
    again = restore(model.state_dict(), {"model": "GFLA", "arguments": model.arguments})
    torch.testing.assert_close(again(**given).image, output.image)


@pytest.mark.parametrize(
    ("name", "task", "message"),
    [
        (
            "fulll",
            "fashion",
            "no model 'fulll': choose one of ['baseline', 'bilinear', 'full', 'gl",
        ),
        (
            "full",
            "shoes",
            "no task 'shoes': choose one of ['dance', 'face', 'fashion', 'market', 'sh",
        ),
    ],
)
def test_build_lists_its_choices(name, task, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        build(name, task)
    with pytest.raises(ValueError, match="full"):
        GFLA(attention="none")


def test_the_arguments_rebuild_the_model_through_json(model):
    twin = GFLA(**json.loads(json.dumps(model.arguments)))
    assert twin.arguments == model.arguments
    twin.load_state_dict(model.state_dict())
    given = inputs()
    assert torch.equal(twin(**given).image, model(**given).image)


# ---- load ----------------------------------------------------------------------------------------


@pytest.fixture
def shelf(tmp_path, monkeypatch, model) -> Path:
    """A folder of shipped weights that holds one model, "small"."""
    save_model(tmp_path / "small.safetensors", model)
    storage.add_to_manifest(tmp_path / "small.safetensors", "made by a test")
    monkeypatch.setattr(storage, "weights_dir", lambda: tmp_path)
    return tmp_path


def test_load_gives_the_shipped_model_and_leaves_the_random_generator_alone(shelf, model):
    state = torch.get_rng_state()
    loaded = load("small")
    assert torch.equal(torch.get_rng_state(), state)
    assert not loaded.training
    assert loaded.size == (32, 48)
    given = inputs()
    assert torch.equal(loaded.render(**given), model.render(**given))
    assert torch.equal(gfla.load("small").render(**given), model.render(**given))


def test_load_says_what_there_is_what_is_absent_and_what_is_damaged(shelf):
    with pytest.raises(ValueError, match=r"no trained model 'tall' .*there are \['small'\]"):
        load("tall")
    file = shelf / "small.safetensors"
    data = bytearray(file.read_bytes())
    data[-3] ^= 1
    file.write_bytes(data)
    with pytest.raises(CheckpointError, match="damaged"):
        load("small")
    file.unlink()
    with pytest.raises(FileNotFoundError, match=r"small\.safetensors"):
        load("small")


def test_restore_refuses_what_is_no_gfla(model):
    with pytest.raises(CheckpointError, match="holds a 'SmallEncoder', expected a 'GFLA' or"):
        restore({}, {"model": "SmallEncoder", "arguments": {}})
    with pytest.raises(CheckpointError, match="does not fit"):
        restore({}, {"model": "GFLA", "arguments": {"colour": "red"}})
    header = {"model": "GFLA", "arguments": model.arguments}
    with pytest.raises(CheckpointError, match="does not fit"):
        restore({"flow.extra": torch.zeros(1)}, header)


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import sys, gfla; "
        "print([m for m in ('torch', 'torchvision', 'lpips', 'matplotlib') if m in sys.modules]); "
        "import gfla.model, gfla.checkpoint; "
        "print([m for m in ('torchvision', 'lpips', 'pandas', 'matplotlib') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split("\n")[:2] == ["[]", "[]"]


def test_the_version_is_the_one_that_is_packaged():
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    assert f'version = "{gfla.__version__}"' in text
