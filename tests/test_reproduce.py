"""The street runs: a folder for each notebook, mistakes refused, failures kept apart."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from gfla import cli, notebooks, outcomes, reproduce, storage

PARAMETERS = 'profile = "smoke"  # how much\nseed = 0  # of all\ndevice = "auto"  # or cpu\n'


def _notebook(path, *sources):
    cells = [
        new_markdown_cell("# 00 · a notebook of the tests"),
        new_code_cell(PARAMETERS + "steps = 2  # how many", metadata={"tags": ["parameters"]}),
        *map(new_code_cell, sources),
    ]
    nbformat.write(notebooks.normalise(new_notebook(cells=cells)), path)
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One run of two notebooks, the first of which fails, with parameters that are no defaults."""
    home = tmp_path_factory.mktemp("home")
    street = home / "notebooks"
    street.mkdir()
    _notebook(street / "00_fails.ipynb", "import gfla", "raise ValueError('the reason')")
    _notebook(
        street / "01_works.ipynb",
        "from gfla import ledger",
        "ledger.record('product', seed * steps)",
        "import pandas\nledger.publish_table(pandas.DataFrame({'profile': [profile]}), 'given')",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GFLA_ROOT", str(home))
        folder, outcomes = reproduce.reproduce("smoke", 7, "cpu", parameters={"steps": 6})
        copied = reproduce.publish(folder, outcomes)
    return home, folder, outcomes, copied


def test_a_failure_does_not_stop_the_others(run):
    _, folder, outcomes, _ = run
    assert [outcome.state for outcome in outcomes] == ["failed", "done"]
    assert outcomes[0].error == "ValueError: the reason"
    assert all(outcome.seconds > 0 for outcome in outcomes)
    assert folder.parent.name == "results"


def test_parameters_reach_the_notebook_and_numbers_come_back(run):
    _, folder, (_, done), _ = run
    assert done.numbers == {"product": 42}
    assert done.tables == ["tables/given.csv"]
    assert "smoke" in (folder / "01_works" / "tables" / "given.csv").read_text()


def test_a_failed_notebook_never_gets_its_own_name(run):
    home, folder, _, copied = run
    assert [path.name for path in (folder / "00_fails").glob("*.ipynb")] == ["failed.ipynb"]
    assert [path.name for path in (folder / "01_works").glob("*.ipynb")] == ["01_works.ipynb"]
    results = home / "results" / "tables" / "01_works"
    assert copied == [results / "given.csv", results / "given.md"]


def test_the_executed_notebook_is_quiet(run):
    _, folder, _, _ = run
    notebook = nbformat.read(folder / "01_works" / "01_works.ipynb", as_version=4)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert all("papermill" not in cell.metadata for cell in notebook.cells)


def test_the_manifest_says_what_was_run(run):
    home, folder, _, _ = run
    manifest = storage.read_json(folder / "manifest.json")
    assert manifest["seed"] == 7
    assert manifest["settings"]["steps"] == 6
    assert manifest["device"].startswith("cpu")
    assert {"commit", "config", "date", "versions"} <= set(manifest)
    assert [entry["state"] for entry in manifest["notebooks"]] == ["failed", "done"]
    assert str(home) not in (folder / "manifest.json").read_text()


def test_the_summary_tells_the_number_or_the_reason(run):
    _, folder, outcomes, _ = run
    heading, _, failed, done = (folder / "summary.md").read_text().strip().splitlines()
    assert "key numbers" in heading
    assert "ValueError: the reason" in failed
    assert "product: 42" in done
    assert reproduce.summary(outcomes).splitlines()[0] == heading


def test_the_digest_follows_the_source_and_not_the_output(tmp_path):
    first = _notebook(tmp_path / "00_a.ipynb", "print(1)")
    before = notebooks.source_digest(first)
    notebook = nbformat.read(first, as_version=4)
    notebook.cells[2].outputs = [nbformat.v4.new_output("stream", name="stdout", text="1")]
    nbformat.write(notebook, first)
    assert notebooks.source_digest(first) == before
    _notebook(first, "print(2)")
    assert notebooks.source_digest(first) != before


def test_stop_on_error_leaves_the_rest_out(tmp_path, monkeypatch, capsys):
    def fail(path, given, folder, title):
        return reproduce.Outcome(path.stem, "failed", 0.1, path.stem, error="it broke")

    (tmp_path / "notebooks").mkdir()
    for name in ("00_a", "01_b"):
        _notebook(tmp_path / "notebooks" / f"{name}.ipynb")
    monkeypatch.setenv("GFLA_ROOT", str(tmp_path))
    monkeypatch.setattr(reproduce, "run_one", fail)
    assert cli.main(["reproduce", "--profile", "smoke", "--stop-on-error"]) == 1
    out = capsys.readouterr().out
    assert "failed" in out
    assert "not run" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--only", "77"], "no notebook '77': choose among 00_a"),
        (["-p", "sede=3"], "00_a.ipynb has no parameter 'sede': it knows profile, seed, device"),
        (["-p", "seed"], "parameter 'seed': write it as name=value"),
        (["--profile", "big"], "unknown profile 'big'"),
        (["--device", "tpu"], "device 'tpu' is not available"),
    ],
)
def test_a_mistyped_wish_is_refused_before_anything_runs(
    tmp_path, monkeypatch, capsys, words, message
):
    (tmp_path / "notebooks").mkdir()
    _notebook(tmp_path / "notebooks" / "00_a.ipynb")
    monkeypatch.setenv("GFLA_ROOT", str(tmp_path))
    assert cli.main(["reproduce", *words]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


def test_a_port_in_use_is_tried_again(monkeypatch):
    monkeypatch.setattr(notebooks.time, "sleep", lambda seconds: None)
    calls = []

    def run():
        calls.append(1)
        if len(calls) < 3:
            raise OSError("Address already in use")
        return "done"

    assert notebooks.started(run) == "done"
    calls.clear()
    with pytest.raises(OSError, match="in use"):
        notebooks.started(run, attempts=2)


def test_another_error_is_not_tried_again():
    calls = []

    def run():
        calls.append(1)
        raise ValueError("a cell failed")

    with pytest.raises(ValueError, match="a cell failed"):
        notebooks.started(run)
    assert len(calls) == 1


@pytest.mark.timeout(600)
@pytest.mark.skipif(not list(notebooks.folder().glob("01_*.ipynb")), reason="no notebook 01 here")
def test_a_notebook_of_the_street_runs_with_another_seed(tmp_path, monkeypatch):
    where = notebooks.folder()
    monkeypatch.setenv("GFLA_ROOT", str(tmp_path))
    folder, (outcome,) = reproduce.reproduce("smoke", 5, "cpu", only=["01"], where=where)
    assert outcome.state == "done", outcome.error
    assert outcome.figures
    assert outcome.numbers
    assert (folder / outcome.notebook / f"{outcome.notebook}.ipynb").is_file()


@pytest.fixture
def two(tmp_path, monkeypatch):
    """A street of two quick notebooks, of which the second may be told to fail."""
    (tmp_path / "notebooks").mkdir()
    _notebook(tmp_path / "notebooks" / "00_a.ipynb", "print(steps)")
    _notebook(tmp_path / "notebooks" / "01_b.ipynb", "assert steps < 2, 'too many'")
    monkeypatch.setenv("GFLA_ROOT", str(tmp_path))
    return tmp_path


def test_a_named_run_goes_on_where_it_stopped(two, monkeypatch):
    to = two / "run"
    _, (first,) = reproduce.reproduce("smoke", only=["00"], to=to)
    _, (kept, failed) = reproduce.reproduce("smoke", to=to)
    assert kept == first and first.state == "done" and first.source and first.commit
    assert failed.state == "failed"
    _notebook(two / "notebooks" / "01_b.ipynb", "print('mended')")
    monkeypatch.setattr(reproduce.outcomes, "gather", None)  # no manifest was asked for
    _, (mended,) = reproduce.reproduce("smoke", only=["01"], to=to, manifest=False)
    assert mended.state == "done"
    names = sorted(path.name for path in to.iterdir())
    assert names == ["00_a", "01_b", "01_b-before-1", "manifest.json", "summary.md"]
    assert (to / "01_b-before-1" / "failed.ipynb").is_file()  # nothing written is lost
    monkeypatch.undo()
    monkeypatch.setenv("GFLA_ROOT", str(two))
    monkeypatch.setattr(reproduce, "run_one", None)  # nothing is run again
    _, found = reproduce.reproduce("smoke", to=to)
    assert found == [first, mended]
    manifest = storage.read_json(to / "manifest.json")
    assert [one["state"] for one in manifest["notebooks"]] == ["done", "done"]
    assert manifest["settings"]["notebooks"]["01_b"] == mended.source
    with pytest.raises(ValueError, match=r"seed: 0 then, 1 now.*name another folder"):
        reproduce.reproduce("smoke", 1, to=to)


def test_parameters_that_json_returns_otherwise_do_not_make_another_run(two, monkeypatch):
    def run_one(path, given, folder, title):
        (folder / path.stem).mkdir(parents=True)
        source = notebooks.source_digest(path)
        return reproduce.Outcome(path.stem, "done", 0.1, path.stem, source=source)

    monkeypatch.setattr(reproduce, "run_one", run_one)
    for name, value in ("tuple", (1, (2, 3))), ("dict", {3: 5}):
        for _ in range(2):  # the second time all of it is read from the files
            options = {"parameters": {"steps": value}, "to": two / name}
            folder, found = reproduce.reproduce("smoke", **options)
            assert [outcome.state for outcome in found] == ["done", "done"]
    settings = storage.read_json(folder / "manifest.json")["settings"]
    assert settings["steps"] == {"3": 5}
    with pytest.raises(ValueError, match=r"steps=\{1\}: .*set is not JSON"):
        reproduce.reproduce("smoke", parameters={"steps": {1}})


def test_an_outcome_that_is_set_aside_while_it_is_read_is_left_out(tmp_path, monkeypatch):
    given = {"seed": 0}
    for name in ("00_a", "01_b"):
        outcomes.keep(tmp_path, outcomes.Outcome(name, "done", 0.1, name), given)
    read_json = storage.read_json

    def meanwhile(path):
        if path.parent.name == "00_a":
            outcomes.set_aside(path.parent)
        return read_json(path)

    monkeypatch.setattr(storage, "read_json", meanwhile)
    assert list(outcomes.read(tmp_path, given)) == ["01_b"]


def test_no_manifest_needs_a_named_folder(two, capsys):
    assert cli.main(["reproduce", "--no-manifest"]) == 2
    assert "name the folder with --to" in capsys.readouterr().err
