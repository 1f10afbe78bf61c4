"""The ablation grid: equal budgets, runs that go on, records with every pair."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

import gfla
from gfla import ablate, journal, ledger, model, storage
from gfla.ablation.ladder import MODELS, NOT_FULL, VARIANTS
from gfla.cli import main
from gfla.config import preset
from gfla.scores import judging


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """All runs of the smallest grid, trained once."""
    folder = tmp_path_factory.mktemp("runs")
    for run in ablate.grid("smoke"):
        assert ablate.perform(run, folder, "cpu", progress=False).finished
    return folder


def test_the_recorded_grid_is_the_ladder_three_times_and_the_losses():
    runs = ablate.grid("recorded")
    names = [f"{run.name}-{run.seed}" for run in runs]
    assert len(set(names)) == len(names) == 4 * 3 + len(VARIANTS)
    assert names[:4] == [f"{name}-1" for name in MODELS]  # a whole seed before the next
    variants = [name if name in NOT_FULL else f"full-{name}" for name in VARIANTS]
    assert names[12:] == [f"{name}-1" for name in variants]
    assert list(ablate.CHANGES) == list(VARIANTS)


@pytest.mark.parametrize("profile", ablate.PROFILES)
def test_the_models_of_a_seed_differ_in_the_model_alone(profile):
    runs = [run for run in ablate.grid(profile) if run.seed == 1 and not run.variant]
    whole = runs[-1].config.to_dict()
    allowed = {"attention", "mask_start", "base", "cap"}
    for run in runs:
        config = run.config.to_dict()
        for section in ("data", "features", "log", "flow"):
            assert config[section] == whole[section], run.name
        rates = {"kernel_lr_ratio"}  # only the full model has kernel nets
        assert all(config["optim"][k] == v for k, v in whole["optim"].items() if k not in rates)
        odd = {key for key, value in config["model"].items() if value != whole["model"][key]}
        assert odd <= allowed
        losses = {key for key, value in config["full"].items() if value != whole["full"][key]}
        assert losses <= {"sampling_correctness", "affine_regularization"}
        assert bool(losses) == (run.begins is None)  # without a flow its losses do not apply


def test_the_models_of_the_recorded_grid_are_of_one_size():
    counts = {}
    for run in ablate.grid("recorded")[:4]:
        with torch.device("meta"):
            counts[run.name] = model.parameters(model.GFLA(**run.config.generator()))
    assert max(counts.values()) < 1.1 * min(counts.values()), counts


@pytest.mark.parametrize("variant", ablate.CHANGES)
def test_a_variant_changes_what_its_name_says(variant):
    kind, changes, _ = ablate.CHANGES[variant]
    plain = ablate.configure(preset("small"), kind).to_dict()
    config = ablate.configure(preset("small"), kind, changes).to_dict()
    changed = {
        f"{section}.{key}"
        for section, values in config.items()
        if isinstance(values, dict)
        for key, value in values.items()
        if value != plain[section][key]
    }
    assert changed == set(changes)


def test_masks_begin_where_source_and_target_weigh_alike():
    base = preset("small")
    assert base.model.mask_start == pytest.approx(3**2 / (1 + 3**2))
    assert {ablate.configure(base, name).model.mask_start for name in MODELS} == {0.9, 0.5}


def test_a_stage_1_is_shared_and_a_finished_run_is_left_alone(folder):
    found = sorted(path.name for path in folder.iterdir())
    assert found == ["baseline-1", "bilinear-1", "flow-1", "full-1", "global-1"]
    first = storage.load_safetensors(folder / "flow-1" / journal.MODEL)[0]
    for name in ("full", "bilinear"):
        facts = storage.read_json(folder / f"{name}-1" / journal.CONFIG)
        assert facts["stage"] == "full" and facts["seed"] == 1
        second = storage.load_safetensors(folder / f"{name}-1" / journal.MODEL)[0]
        bias = "flow.head.1.mask.bias"  # two steps move it by less than the two starts differ
        assert abs(float(second[bias] - first[bias])) < 0.05
    before = {path: path.read_bytes() for path in folder.rglob("log.jsonl")}
    for run in ablate.grid("smoke"):
        assert ablate.perform(run, folder, "cpu", progress=False).finished
    assert before == {path: path.read_bytes() for path in folder.rglob("log.jsonl")}


def test_an_interrupted_grid_goes_on_to_the_same_weights(folder, tmp_path):
    run = ablate.grid("smoke")[0]
    out = tmp_path / f"{run.name}-{run.seed}"
    gfla.train.fit(run.config, "full", out, seed=run.seed, device="cpu", until=1, progress=False)
    assert ablate.perform(run, tmp_path, "cpu", progress=False).finished
    whole = storage.load_safetensors(folder / f"{run.name}-{run.seed}" / journal.MODEL)[0]
    halves = storage.load_safetensors(out / journal.MODEL)[0]
    assert whole.keys() == halves.keys()
    assert all(torch.equal(whole[name], halves[name]) for name in whole)


def test_a_model_of_the_ladder_goes_on_with_other_people(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("GFLA_ROOT", str(tmp_path))
    shutil.copytree(folder, tmp_path / "runs")
    full = ablate.grid("smoke")[-1]
    longer = full._replace(name="full-longer", variant="longer", begins="full")
    assert ablate.perform(longer, tmp_path / "runs", "cpu", progress=False).finished
    facts = storage.read_json(tmp_path / "runs" / "full-longer-1" / journal.CONFIG)
    assert facts["seed"] == full.seed + ablate.FRESH
    elsewhere = facts | {"device": "cuda:0"}
    storage.write_json(tmp_path / "runs" / "full-longer-1" / journal.CONFIG, elsewhere)
    entry = storage.read_json(ablate.record(longer, tmp_path / "runs", 4))
    assert (entry["steps"], entry["flow_steps"], entry["seed"]) == (4, 2, 1)
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "cuda:0"
    assert entry["device"] == gpu  # where it was trained, not where it was judged
    before, after = (
        storage.load_safetensors(tmp_path / "runs" / name / journal.MODEL)[0]
        for name in ("full-1", "full-longer-1")
    )
    moved = max(float((after[name] - before[name]).abs().max()) for name in before)
    assert 0 < moved < 0.05  # two steps away from where it began, not a fresh start


def test_a_record_holds_every_pair_and_the_tables_follow(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("GFLA_ROOT", str(tmp_path))
    words = ["ablate", "--profile", "smoke", "--out", str(folder), "--record", "--quiet"]
    assert main([*words, "--device", "cpu"]) == 0
    for name in MODELS:
        entry = ledger.read(f"ablation-{name}-1")
        assert entry["model"] == name and entry["seed"] == 1 and entry["steps"] == 2
        assert entry["config"] and entry["commit"] and entry["parameters"] > 0
        assert entry["device"].startswith("cpu")
        for key, values in entry["pairs"].items():
            assert len(values) == 4
            assert sum(values) / 4 == pytest.approx(entry["results"][key], rel=1e-3), key
        assert ("flow_error" in entry["results"]) == (name != "baseline")
    rows = (tmp_path / "results" / "ablation.csv").read_text().splitlines()
    assert len(rows) == 1 + 4
    assert (tmp_path / "results" / "ablation.md").is_file()


def test_a_stage_1_can_be_trained_by_itself_and_records_kept_elsewhere(folder, tmp_path, capsys):
    jobs = {job.name: job for job in ablate.jobs("smoke")}
    assert jobs["full-1"].after == jobs["bilinear-1"].after == "flow-1"
    assert jobs["baseline-1"].after is None and jobs["flow-1"].stage == "flow"
    words = ["ablate", "--profile", "smoke", "--device", "cpu", "--quiet"]
    assert main([*words, "--only", "flow-1", "--out", str(tmp_path)]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["flow-1"]
    alone = storage.load_safetensors(tmp_path / "flow-1" / journal.MODEL)[0]
    shared = storage.load_safetensors(folder / "flow-1" / journal.MODEL)[0]
    assert all(torch.equal(alone[name], shared[name]) for name in shared)
    kept = tmp_path / "kept" / "runs"
    words += ["--out", str(folder), "--record", str(kept)]
    assert main([*words, "--only", "global-1", "--tables", "never"]) == 0
    assert [path.name for path in kept.iterdir()] == ["ablation-global-1.json"]
    assert not list(kept.parent.glob("*.md"))
    assert main([*words, "--tables", "only"]) == 0
    assert "Global-Attn" in (kept.parent / "ablation.md").read_text()


def test_a_record_is_what_judging_says(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("GFLA_ROOT", str(tmp_path))
    run = ablate.grid("smoke")[-1]
    entry = json.loads(Path(ablate.record(run, folder, 4)).read_text())
    trained = gfla.checkpoint.load_model(folder / "full-1" / journal.MODEL)
    again = judging.judge(trained, 4).results
    assert entry["results"] == pytest.approx(again)


def test_shipping_writes_four_models_that_load(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "weights_dir", lambda: tmp_path)
    storage.write_json(tmp_path / "manifest.json", {})
    ablate.ship(folder, 1)
    for name in MODELS:
        shipped = model.load(f"ablation-{name}")
        assert shipped.arguments["attention"] == name
        trained = gfla.checkpoint.load_model(folder / f"{name}-1" / journal.MODEL)
        for a, b in zip(shipped.parameters(), trained.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--profile", "huge"], "unknown profile 'huge': choose one of smoke"),
        (["--only", "fulll-1"], "--only fulll-1: no such run"),
    ],
)
def test_wrong_words_are_answered(words, message, capsys):
    assert main(["ablate", *words]) == 2
    assert message in capsys.readouterr().err


def test_the_list_shows_parameters_and_trains_nothing(capsys, tmp_path):
    assert main(["ablate", "--list", "--profile", "recorded", "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "full-3" in shown and "3,697,785" in shown
    assert not list(tmp_path.iterdir())
