"""The workflow runs what the commands run: a job each notebook and each cell, nothing twice."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from typing import NamedTuple

import nbformat
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_notebook

from gfla import notebooks, reproduce, storage
from gfla.ablation import cells

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("snakemake") is None,
        reason="Snakemake is not installed: pip install -e '.[workflow]'",
    ),
    pytest.mark.timeout(900),
]
WORKFLOW = storage.root() / "workflow"
QUICK = ("00_overview", "08_sampling_performance")  # the quickest of the street


class Done(NamedTuple):
    """What a call of Snakemake came to."""

    status: int
    text: str

    def jobs(self):
        """The jobs a dry run names: rule and wildcard -> its input files."""
        found = {}
        for block in re.split(r"\n\[|\n\n", self.text):
            if named := re.search(r"^rule (\w+):", block, re.M):
                fields = dict(re.findall(r"^    (input|wildcards): (.*)$", block, re.M))
                which = fields.get("wildcards", "=").split("=")[1]
                found[named[1], which] = fields.get("input", "").split(", ")
        return found


def snakemake(folder, *words, home=None, **settings):
    """Call Snakemake as a person would, in a folder of its own, with one thread a notebook."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SNAKEMAKE")}
    environment |= {"XDG_CACHE_HOME": str(folder / "cache")}
    environment |= {"GFLA_ROOT": str(home)} if home else {}
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(WORKFLOW / "Snakefile")]
    command += ["--workflow-profile", "none", "--nocolor", "--cores", "2", *words]
    command += ["--set-threads", "notebook=1", "--config"]
    command += [f"{name}={value}" for name, value in settings.items()]
    done = subprocess.run(
        command, cwd=folder, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    return Done(done.returncode, done.stdout)


@pytest.fixture(scope="module")
def dry(tmp_path_factory):
    """What the whole workflow would do, with the grid that was recorded."""
    folder = tmp_path_factory.mktemp("dry")
    done = snakemake(folder, "--dry-run", grid="recorded")
    assert done.status == 0, done.text
    assert not (folder / "results").exists()
    return done.jobs()


@pytest.fixture(scope="module")
def recorded():
    """The jobs of the grid that was recorded, by name; to lay it out takes seconds."""
    return {job.name: job for job in cells.jobs("recorded")}


def test_a_dry_run_names_every_notebook_and_every_cell(dry, recorded):
    named = {rule: {which for of, which in dry if of == rule} for rule, _ in dry}
    stages = {
        stage: {job.name for job in recorded.values() if job.stage == stage}
        for stage in ("flow", "full")
    }
    assert named["notebook"] == {path.stem for path in notebooks.street()}
    assert named["cell"] == stages["full"] and named["shared"] == stages["flow"]
    assert set(named) == {"notebook", "street", "cell", "shared", "grid", "all"}


def test_a_cell_waits_for_what_it_begins_with_and_for_nothing_else(dry, recorded):
    for job in recorded.values():
        if job.stage == "full":
            ends, first = [], job.after
            while first:
                record = ("cell", first) in dry
                ends.append(f"runs/ablation-{first}.json" if record else f"{first}/recorded.done")
                first = recorded[first].after
            waits = [wait for wait in dry["cell", job.name] if wait]
            assert len(waits) == len(ends)
            assert all(wait.endswith(end) for wait, end in zip(waits, ends, strict=True))
    assert len(dry["cell", "full-longer-1"]) == 2  # another cell, and what that one began with
    assert len(dry["grid", ""]) == sum(job.stage == "full" for job in recorded.values())
    assert Counter(rule for rule, _ in dry)["street"] == 1


def notebook(path, source):
    """A notebook of the street, as quick as one can be."""
    parameters = "profile = 'smoke'\nseed = 0\ndevice = 'cpu'"
    told = [new_code_cell(parameters, metadata={"tags": ["parameters"]}), new_code_cell(source)]
    nbformat.write(notebooks.normalise(new_notebook(cells=told)), path)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two notebooks, one that fails and a cell of the grid; without the failing one; and then?

    At last two dry runs, of the street and another cell that begins with the same stage 1: as all
    was left, and without the trainings.
    """
    home = tmp_path_factory.mktemp("home")
    (home / "notebooks").mkdir()
    for name in QUICK:
        shutil.copy(storage.root() / "notebooks" / f"{name}.ipynb", home / "notebooks")
    notebook(home / "notebooks" / "99_fails.ipynb", "raise ValueError('the reason')")
    for name in ("docs", "data", "results"):
        (home / name).symlink_to(storage.root() / name)
    folder = tmp_path_factory.mktemp("run")
    place = folder / "results" / "runs-workflow"
    settings = {"profile": "smoke", "seed": 3, "device": "cpu", "home": home, "grid": "smoke"}
    cell = "results/runs-workflow/ablation-smoke/runs/ablation-{}-1.json"
    calls = [snakemake(folder, "--keep-going", "street", cell.format("bilinear"), **settings)]
    settings["notebooks"] = f"{list(QUICK)}"
    calls.append(snakemake(folder, "street", **settings))
    calls.append(snakemake(folder, "--dry-run", "street", cell.format("full"), **settings))
    kept = place / "ablation-smoke" / "training"
    kept.rename(folder / "away")
    calls.append(snakemake(folder, "--dry-run", cell.format("full"), **settings))
    (folder / "away").rename(kept)
    return place / "street-smoke-3", *calls


def test_a_notebook_that_fails_fails_the_job_and_leaves_nothing_called_done(run):
    street, first, second, *_ = run
    assert first.status == 1
    assert "Error in rule notebook" in first.text
    found = sorted(path.name for path in (street / "99_fails").iterdir())
    assert found == ["failed.ipynb"]
    assert "the reason" in (street / "logs" / "99_fails.txt").read_text()
    assert second.status == 0, second.text


def test_two_notebooks_run_to_the_end(run):
    street, _, second, *_ = run
    assert second.status == 0, second.text
    manifest = storage.read_json(street / "manifest.json")
    assert [one["notebook"] for one in manifest["notebooks"]] == list(QUICK)
    assert manifest["seed"] == 3 and manifest["settings"]["profile"] == "smoke"
    for name, one in zip(QUICK, manifest["notebooks"], strict=True):
        assert one["state"] == "done" and one["numbers"] and one["figures"]
        assert (street / name / f"{name}.ipynb").is_file()
        assert storage.read_json(street / name / "outcome.json")["outcome"] == one
    assert all(name in (street / "summary.md").read_text() for name in QUICK)


def test_what_is_done_is_not_done_again(run):
    _, _, second, third, _ = run
    assert "rule notebook:" not in second.text and "rule street:" in second.text
    assert third.status == 0, third.text
    assert list(third.jobs()) == [("cell", "full-1")]  # neither the street nor the stage 1


def test_a_stage_1_without_its_training_is_not_done(run):
    *_, without = run
    assert without.status == 0, without.text
    assert {("shared", "flow-1"), ("cell", "full-1")} <= set(without.jobs())
    assert without.jobs()["cell", "full-1"][0].endswith("training/flow-1/smoke.done")


def test_a_stage_1_is_trained_first_and_a_cell_recorded_by_itself(run):
    street, first, *_ = run
    place = street.parent / "ablation-smoke"
    assert first.text.index("rule shared:") < first.text.index("rule cell:")
    trained = sorted(path.name for path in (place / "training").iterdir())
    assert trained == ["bilinear-1", "flow-1"]
    assert (place / "training" / "flow-1" / "smoke.done").is_file()
    assert [path.name for path in (place / "runs").iterdir()] == ["ablation-bilinear-1.json"]
    assert storage.read_json(place / "runs" / "ablation-bilinear-1.json")["model"] == "bilinear"
    assert not list(place.glob("ablation.*"))  # the table is the last job's


def test_a_mistyped_setting_is_refused(tmp_path):
    done = snakemake(tmp_path, "--dry-run", profil="smoke")
    assert done.status != 0
    assert "'profil' was unexpected" in done.text


def test_the_schema_knows_the_profiles():
    schema = yaml.safe_load((WORKFLOW / "config.schema.yaml").read_text())["properties"]
    assert tuple(schema["profile"]["enum"]) == reproduce.PROFILES
    assert schema["grid"]["enum"] == list(cells.PROFILES)
    config = yaml.safe_load((WORKFLOW / "config.yaml").read_text())
    assert set(config) == set(schema)


@pytest.mark.parametrize("name", ["local", "slurm", "kubernetes"])
def test_a_profile_names_rules_that_exist(name):
    text = (WORKFLOW / "profiles" / name / "config.yaml").read_text()
    settings = yaml.safe_load(re.sub(r"^# (?=set-resources:$|  +[a-z_]+:)", "", text, flags=re.M))
    rules = set(re.findall(r"^rule (\w+):", (WORKFLOW / "Snakefile").read_text(), re.M))
    assert set(settings.get("set-resources", {})) <= rules
    assert ("NOT TRIED" in text) == (name != "local")
