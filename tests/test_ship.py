"""What is shipped is what was measured, and the README says what the ledger says."""

import pytest
import torch

import gfla
from gfla import cli, config, encoder, ledger, measure, readme, ship, storage, train


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty project: weights, ledger and docs of its own; the real ones stay as they are."""
    weights = tmp_path / "data" / "weights"
    weights.mkdir(parents=True)
    real = storage.weights_dir()
    before = {path.name: storage.sha256(path) for path in real.iterdir()}
    monkeypatch.setenv("GFLA_ROOT", str(tmp_path))
    monkeypatch.setattr(storage, "weights_dir", lambda: weights)
    yield tmp_path
    assert {path.name: storage.sha256(path) for path in real.iterdir()} == before


@pytest.fixture
def run(tmp_path):
    """A finished stage 2 of the tiny preset."""
    torch.manual_seed(0)
    eyes = encoder.SmallEncoder(widths=(8, 8, 8, 8, 8), out=(8, 8, 8))
    setting = config.preset("tiny", **{"measure_every": 2})
    train.fit(setting, "full", tmp_path / "run", encoder=eyes, device="cpu", progress=False)
    return tmp_path / "run"


def test_a_shipped_model_is_the_trained_one_in_half_precision(project, run):
    found = ship.ship_model(run, pairs=16)
    shipped = gfla.load("people")
    trained = ship.checkpoint.load_model(run / "model.safetensors")
    for name, value in trained.state_dict().items():
        assert torch.equal(shipped.state_dict()[name], value.half().float()), name
    entry = ledger.read("people-full")
    assert entry["results"]["measured_l1_ratio"] == found["measured_l1_ratio"]
    assert entry["results"]["steps"] == 4 and entry["history"][-1]["step"] == 4
    again = measure.measure(shipped, "full", 16, "cpu")
    assert found["measured_flow_ratio"] == pytest.approx(again["measured_flow_ratio"])
    assert (project / "docs" / "people.png").read_bytes()[:4] == b"\x89PNG"


def test_judge_knows_a_flow_that_says_nothing_moves(run):
    model = ship.checkpoint.load_model(run / "model.safetensors")
    for head in model.flow.head.values():
        torch.nn.init.zeros_(head.flow.weight)
        torch.nn.init.zeros_(head.flow.bias)
    found = ship.judge(model, "flow", 16)
    assert found["measured_flow_ratio"] == pytest.approx(1)
    for group in ship.GROUPS:
        assert found[f"flow_error_{group}"] == pytest.approx(found[f"zero_flow_error_{group}"])


def test_every_part_of_the_body_is_in_one_group():
    for part in ship.PARTS:
        assert sum(part.endswith(words) for words in ship.GROUPS.values()) == 1, part


def test_runs_that_cannot_be_shipped_are_refused(project, tmp_path, capsys):
    assert cli.main(["ship"]) == 2
    assert "nothing to ship" in capsys.readouterr().err
    assert cli.main(["ship", "--full", str(tmp_path / "none")]) == 2
    with pytest.raises(FileNotFoundError, match="has not finished"):
        ship.record("people-flow", tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="python -m gfla encoder"):
        ship.ship_encoder(tmp_path / "none")


def test_the_readme_says_what_the_ledger_says():
    text = (storage.root() / "README.md").read_text(encoding="utf-8")
    assert readme.filled(text) == text, "run `python -m gfla readme`"


def test_a_street_with_a_failed_notebook_is_not_recorded(project, tmp_path):
    manifest = {"notebooks": [{"notebook": "01_x", "state": "failed", "seconds": 1.0}]}
    storage.write_json(tmp_path / "manifest.json", manifest)
    with pytest.raises(ValueError, match="01_x did not finish"):
        readme.record_street(tmp_path)


TASKS = {
    "views": {"kind": "views", "source": "objects", "pose_channels": 21, "code": "canvas"},
    "video": {"kind": "animation", "source": "clips", "frames": 3, "batch": 1}
    | {"d_video": "differences"},
}


@pytest.mark.parametrize("name, other", [("views", "held_out"), ("video", "noisy")])
def test_models_of_other_tasks_ship_with_numbers_of_their_own(project, tmp_path, name, other):
    eyes = encoder.SmallEncoder(widths=(8, 8, 8, 8, 8), out=(8, 8, 8))
    setting = config.preset("tiny", **TASKS[name])
    train.fit(setting, "full", tmp_path / "run", encoder=eyes, device="cpu", progress=False)
    line = ["ship", "--full", str(tmp_path / "run"), "--model", name, "--pairs", "2"]
    assert cli.main(line) == 0
    entry = ledger.read(f"{name}-full")
    found = entry["results"]
    for key in ("copy_ratio", "flow_ratio"):
        assert 0 < found[key] < 10 and 0 < found[f"{other}_{key}"] < 10
    shipped = gfla.load(name)
    assert found["parameters"] == sum(p.numel() for p in shipped.parameters())
    assert storage.read_manifest(storage.weights_dir())[f"{name}.safetensors"]["note"]
    with pytest.raises(ValueError, match="no model 'cats' ships"):
        ship.ship_model(tmp_path / "run", name="cats")
