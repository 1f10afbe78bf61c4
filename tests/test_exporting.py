"""Generators as graphs: ONNX under onnxruntime and torch.export give what PyTorch gives."""

from __future__ import annotations

import io
import json
import os
import sys

import oracle
import pytest
import torch

import gfla
from gfla import cli, storage
from gfla.animation import Animation
from gfla.checkpoint import import_published, save_model
from gfla.exchange import agreement, exporting, parity, portable, signatures
from gfla.exchange.agreement import check
from gfla.exchange.portable import ExportError, onnx_bytes, pt2_bytes, to_program
from gfla.model import GFLA
from gfla.views import AppearanceFlow, Views

SMALL = {"kernel_sizes": {1: 3}, "flow_base": 4, "flow_depth": 2, "base": 4, "depth": 1}
SMALL |= {"hidden": 4}


def loud(model: torch.nn.Module) -> torch.nn.Module:
    """Weights so large that pictures are full of contrast and flows leave the picture."""
    state = model.state_dict()
    drawn = {name: parity.draw(name, tuple(value.shape), 0) for name, value in state.items()}
    model.load_state_dict(drawn)
    return model.eval()


@pytest.fixture(scope="session")
def extra():
    """Skips where ONNX is not installed."""
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name, reason=f"{name} is not installed: pip install 'gfla[export]'")


@pytest.fixture(scope="module")
def small() -> GFLA:
    return loud(GFLA((8, 16), **SMALL))


@pytest.fixture(scope="module")
def program(small) -> torch.export.ExportedProgram:
    return to_program(small)


@pytest.fixture(scope="module")
def file(program) -> bytes:
    return pt2_bytes(program, {"model": "GFLA"})


def agrees(content: bytes, model: torch.nn.Module, frames: int | None = None) -> list[str]:
    """Assert that batches of 1, 2 and 5 agree; the outputs' names."""
    found = check(content, model, (1, 2, 5), frames=frames)
    assert {each.batch for each in found} == {1, 2, 5}
    assert [each for each in found if not each.passed] == []
    assert all(each.largest > 0.01 for each in found if not each.output.startswith("mask"))
    return [each.output for each in found if each.batch == 1]


# ---- the shipped model, by the command -----------------------------------------------------------


@pytest.fixture(scope="module")
def people(extra, tmp_path_factory):
    """The file that the command wrote, with GFLA_BACKEND set to what must not matter."""
    out = tmp_path_factory.mktemp("export") / "people.onnx"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GFLA_BACKEND", "reference")
        assert cli.main(["export", "people", "--out", str(out)]) == 0
        assert os.environ["GFLA_BACKEND"] == "reference"
    return out


def test_the_command_says_what_it_measured(people):
    report = storage.read_json(people.with_name("people.onnx.json"))
    text = exporting.describe(report)
    assert "batches of 1, 2, 5" in text and "times as fast" in text
    assert report["sha256"] == storage.sha256(people) and report["opset"] == 18
    assert report["weights_sha256"] == storage.read_manifest()["people.safetensors"]["sha256"]
    outputs = [field["name"] for field in report["outputs"]]
    levels = (3, 2, 1)
    assert outputs == ["image", *(f"{w}_{k}" for w in ("flow", "mask", "weights") for k in levels)]
    assert {(d["batch"], d["output"]) for d in report["differences"]} == {
        (batch, name) for batch in (1, 2, 5) for name in outputs
    }
    assert all(d["difference"] <= d["allowed"] for d in report["differences"])
    assert {"torch", "onnx", "onnxruntime"} <= report["versions"].keys()
    assert report["speed"]["ratio"] > 0 and report["speed"]["threads"] == 1


def test_onnxruntime_alone_gives_the_models_pictures(people):
    """By the file's own names, in a batch that nobody compared before; against the literal form."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(people), providers=["CPUExecutionProvider"])
    assert [x.name for x in session.get_inputs()] == ["source", "source_pose", "target_pose"]
    assert session.get_inputs()[0].shape == ["batch", 3, 64, 64]
    model = gfla.load("people")
    inputs = signatures.example(model, 3, seed=7)
    found = session.run(None, {name: value.numpy() for name, value in inputs.items()})
    names = [x.name for x in session.get_outputs()]
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setenv("GFLA_BACKEND", "reference")
        image, flows, masks, weights = model(**inputs)
    assert names[:2] == ["image", "flow_3"] and names[-1] == "weights_1"
    for name, got, wanted in zip(names, found, [image, *flows, *masks, *weights], strict=True):
        oracle.compare(wanted, got, relative=name.startswith("flow"))


def test_the_file_says_what_it_is_and_not_where_it_was_made(people):
    import onnx

    file = onnx.load(str(people))
    notes = {entry.key: json.loads(entry.value) for entry in file.metadata_props}
    assert (notes["model"], notes["name"]) == ("GFLA", "people")
    assert GFLA(**notes["arguments"]).arguments == gfla.load("people").arguments
    assert notes["inputs"][0]["range"] == [-1, 1] and notes["outputs"][0]["name"] == "image"
    assert "in [-1, 1]" in file.graph.input[0].doc_string
    assert {node.op_type for node in file.graph.node} & {"Loop", "SequenceEmpty"} == set()
    assert str(storage.root()).encode() not in people.read_bytes()


def test_a_file_that_is_there_is_kept(people, capsys):
    before = people.read_bytes()
    assert cli.main(["export", "people", "--out", str(people)]) == 2
    assert "--force replaces it" in capsys.readouterr().err and people.read_bytes() == before


# ---- every kind of model -------------------------------------------------------------------------


def test_a_program_takes_any_batch_and_is_written_and_read(small, program, file):
    assert agrees(file, small) == ["image", "flow_1", "mask_1", "weights_1"]
    kept = {portable.NOTES: ""}
    again = torch.export.load(io.BytesIO(file), extra_files=kept)
    assert json.loads(kept[portable.NOTES]) == {"model": "GFLA"}
    assert signatures.fields(again) == signatures.fields(program)
    assert [field.shape for field in signatures.fields(again)[0]] == [
        ("batch", 3, 8, 16), ("batch", 18, 8, 16), ("batch", 18, 8, 16),
    ]  # fmt: skip
    assert str(storage.root()).encode() not in file


@pytest.mark.parametrize(
    ("model", "names"),
    [
        (lambda: GFLA((8, 16), **SMALL, attention="baseline"), ["image"]),
        (
            lambda: Views((16, 16), **SMALL, attention="global", code="canvas"),
            ["image", "flow_1", "mask_1"],
        ),
        (
            lambda: Animation((8, 16), **SMALL, attention="bilinear", flows="one"),
            ["image", *(f"{x}_1_{s}" for x in ("flow", "mask", "weights") for s in
                        ("previous", "reference"))],
        ),
    ],
    ids=["baseline", "global views", "bilinear animation"],
)  # fmt: skip
def test_the_other_ways_and_tasks_in_onnx(extra, model, names):
    model = loud(model())
    assert agrees(onnx_bytes(to_program(model), {}), model) == names


@pytest.mark.parametrize(
    ("model", "frames"),
    [
        (lambda: AppearanceFlow((16, 16), {1: 3}, flow_base=4, flow_depth=2), None),
        (lambda: Animation((8, 16), **SMALL, attention="bilinear", flows="one"), 2),
    ],
    ids=["appearance", "clip"],
)
def test_the_other_ways_and_tasks_as_programs(model, frames):
    model = loud(model())
    agrees(pt2_bytes(to_program(model, frames=frames), {}), model, frames)


def test_imported_weights_give_the_published_arrays(extra):
    """The importer, the architecture and the graph at once: onnxruntime beside the original."""
    name = "pose_generator_fashion256"
    if not (oracle.FOLDER / f"{name}.npz").is_file():
        pytest.skip(f"{name}.npz is not in {oracle.FOLDER.name}")
    arrays = oracle.arrays(name)
    model = import_published(oracle.weights("PoseGenerator_fashion", 0), "fashion")
    graph = agreement.open_graph(onnx_bytes(to_program(model), {}))
    poses = [
        torch.from_numpy(arrays[f"bp{i}"])
        if f"bp{i}" in arrays
        else oracle.heat_maps(arrays[f"kp{i}_yx"], 256, 256)
        for i in (1, 2)
    ]
    source = oracle.picture(arrays["source_u8"])
    found = graph({"source": source, "source_pose": poses[0], "target_pose": poses[1]})
    oracle.compare(found["image"], arrays["img_gen"])
    for i, level in enumerate((3, 2)):
        oracle.compare(found[f"flow_{level}"], arrays[f"flow{i}"], relative=True)
        oracle.compare(found[f"mask_{level}"], arrays[f"mask{i}"])


# ---- what is refused -----------------------------------------------------------------------------


def test_another_model_does_not_agree(small, file):
    other = loud(GFLA((8, 16), **SMALL))
    with torch.no_grad():
        other.renderer.output.model[2].bias[0] += 0.001
    found = check(file, other, (2,))
    assert {each.output for each in found if not each.passed} == {"image"}
    assert not agreement.Difference(1, "image", float("nan"), 1.0, 1e-4).passed


def test_a_graph_that_differs_is_not_written(small, program, tmp_path, monkeypatch):
    other = loud(GFLA((8, 16), **SMALL))
    with torch.no_grad():
        other.renderer.output.model[2].bias.zero_()
    monkeypatch.setattr(exporting, "to_program", lambda *_, **__: program)
    with pytest.raises(ExportError, match=r"image differs by .*nothing was written"):
        exporting.export(other, tmp_path / "small.pt2", "pt2", batches=(2,))
    assert list(tmp_path.iterdir()) == []
    record = exporting.export(small, tmp_path / "small.pt2", "pt2", batches=(2,))
    assert {path.name for path in tmp_path.iterdir()} == {"small.pt2", "small.pt2.json"}
    assert record["opset"] is None and "0 bytes" not in exporting.describe(record)


def test_the_environment_does_not_choose_the_form(small, file, monkeypatch):
    monkeypatch.setenv("GFLA_BACKEND", "nonsense")
    assert all(each.passed for each in check(file, small, (2,)))
    assert os.environ["GFLA_BACKEND"] == "nonsense"


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"batch": 1}, "batch=1: record the graph with two or more"),
        ({"size": (9, 16)}, "the pictures are 9×16: this model takes multiples of 4"),
        ({"frames": 3}, "frames=3: a GFLA makes single pictures"),
    ],
)
def test_what_no_graph_can_be_made_for(small, how, message):
    with pytest.raises(ValueError, match=message):
        to_program(small, **how)


def test_a_clip_without_frames_and_a_network_of_another_kind():
    with pytest.raises(ValueError, match="frames=0: a clip has one frame or more"):
        to_program(Animation((8, 16), **SMALL), frames=0)
    with pytest.raises(ValueError, match="a Linear is no generator"):
        to_program(torch.nn.Linear(1, 1))


def test_a_graph_of_another_model_is_named(file):
    views = Views((16, 16), **SMALL)
    with pytest.raises(ExportError, match="does not take a batch of 2 of what this model takes"):
        check(file, views, (2,))


def test_damaged_files(extra, file, tmp_path):
    for name, bytes_ in {"half.pt2": file[: len(file) // 2], "x.onnx": b"nothing"}.items():
        (tmp_path / name).write_bytes(bytes_)
        with pytest.raises(ExportError, match=f"{name} is no .*export it again"):
            agreement.open_graph(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="export it first"):
        agreement.open_graph(tmp_path / "none.onnx")


def test_an_extra_that_is_missing(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert cli.main(["export", "people", "--out", str(tmp_path / "people.onnx")]) == 2
    assert "pip install 'gfla[export]'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_opset_that_nobody_has(program):
    with pytest.raises(ValueError, match="opset=7: choose one from 18 to"):
        onnx_bytes(program, {}, opset=7)


# ---- which model ---------------------------------------------------------------------------------


def test_models_are_found_by_name_folder_and_file(small, tmp_path):
    save_model(tmp_path / "model.safetensors", small, licence="of theirs")
    by_folder = exporting.choose(tmp_path)
    assert by_folder.licence == "of theirs" and by_folder.name == "model.safetensors"
    assert torch.equal(
        by_folder.model.renderer.output.model[2].bias, small.renderer.output.model[2].bias
    )
    by_name = exporting.choose("views")
    assert isinstance(by_name.model, Views)
    assert by_name.sha256 == storage.read_manifest()["views.safetensors"]["sha256"]


def test_published_files(tmp_path):
    torch.save(oracle.weights("PoseGenerator_market", 1), tmp_path / "latest_net_G.pth")
    chosen = exporting.choose(tmp_path / "latest_net_G.pth")
    assert chosen.model.size == (128, 64) and chosen.licence
    torch.save(oracle.weights("ResDiscriminator_market", 1), tmp_path / "latest_net_D.pth")
    with pytest.raises(ValueError, match="holds a discriminator: only generators"):
        exporting.choose(tmp_path / "latest_net_D.pth")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nobody", "--out", "a.pt2"], "no trained model 'nobody'"),
        (["judge", "--out", "a.pt2"], "expected a 'GFLA' or"),
        (["a.txt", "--out", "a.pt2"], "neither .safetensors nor .pth"),
        ([".", "--out", "a.pt2"], "give the folder of a run that is finished"),
        (["people", "--out", "a.txt"], "ends in .onnx or .pt2"),
        (["people", "--out", "a.onnx", "--format", "pt2"], "ends in .onnx or .pt2"),
        (["people", "--out", "a.pt2", "--task", "market"], "--task market is for a .pth"),
        (["people", "--out", "a.pt2", "--frames", "2"], "a GFLA makes single pictures"),
        (["views", "--out", "a.pt2", "--size", "64x96"], "makes pictures of its own size"),
    ],
)
def test_mistakes_are_told(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["export", *words]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
