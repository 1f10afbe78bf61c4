"""The committed notebooks keep the rules of the street; each rule is shown to be able to fail."""

import ast
import copy
import json
import re
from statistics import median

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from gfla import notebooks

STREET = sorted(notebooks.folder().glob("[0-9][0-9]_*.ipynb"))
UNCHECKED = ("nbval-ignore-output", "nbval-skip")


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tags(cell):
    return cell.metadata.get("tags", [])


def lines(cell):
    return [line for line in cell.source.splitlines() if line.strip()]


def texts(cell):
    """Give all that a cell shows as text."""
    for output in cell.get("outputs", []):
        data = output.get("data", {})
        yield output.get("text", "")
        yield from (str(value) for kind, value in data.items() if kind.startswith("text/"))


def opens_with_a_title(notebook):
    first = notebook.cells[0]
    if first.cell_type != "markdown" or not re.match(r"# \d\d · \S", first.source):
        yield "the first cell is no title like `# 02 · Flow pre-training`"


def sets_up_in_silence(notebook):
    setup = code(notebook)[0]
    if setup.outputs or len(lines(setup)) > 8:
        yield "the first code cell prints, or is longer than 8 lines"


def has_one_cell_of_parameters(notebook):
    found = [place for place, cell in enumerate(code(notebook)) if "parameters" in tags(cell)]
    if len(found) != 1 or found[0] > 2:
        yield f"cells tagged `parameters`: {found}, expected one, near the beginning"


def parameters_are_literals(notebook):
    for cell in code(notebook):
        if "parameters" not in tags(cell):
            continue
        given = {}
        for node in ast.parse(cell.source).body:
            try:
                (target,) = node.targets
                given[target.id] = ast.literal_eval(node.value)
            except (AttributeError, ValueError):
                yield f"not `name = literal`: {ast.unparse(node)}"
        if not {"profile": "smoke", "seed": 0, "device": "auto"}.items() <= given.items():
            yield f"profile, seed and device are not smoke, 0 and auto: {given}"
        for line in lines(cell):
            if "  # " not in line:
                yield f"without a comment: {line}"


def ran_in_order(notebook):
    counts = [cell.execution_count for cell in code(notebook)]
    if counts != list(range(1, len(counts) + 1)):
        yield f"execution counts {counts}"


def keeps_what_it_printed(notebook):
    for cell in code(notebook):
        if re.search(r"^print\(", cell.source, re.M) and not cell.outputs:
            yield f"prints, yet shows nothing: {cell.source[:60]}"


def shows_no_error(notebook):
    for cell in code(notebook):
        for output in cell.outputs:
            if output.output_type == "error" or output.get("name") == "stderr":
                yield f"an error or warning under: {cell.source[:60]}"


def names_no_machine(notebook):
    pattern = r"0x[0-9a-f]{4,}|/(home|root|tmp|work|Users)/|[A-Z]:\\\\"
    for cell in notebook.cells:
        for text in [cell.source, *texts(cell)]:
            if found := re.search(pattern, text):
                yield f"{found[0]} in: {cell.source[:60]}"


def is_a_walk_and_not_a_march(notebook):
    share = sum(cell.cell_type == "markdown" for cell in notebook.cells) / len(notebook.cells)
    if len(notebook.cells) > 60:
        yield f"{len(notebook.cells)} cells, at most 60"
    if not 0.55 <= share <= 0.75:
        yield f"{share:.0%} markdown, expected 55 to 75 %"


def has_small_cells(notebook):
    sizes = [len(lines(cell)) for cell in code(notebook)]
    if median(sizes) > 6 or max(sizes) > 20:
        yield f"code cells of median {median(sizes)}, largest {max(sizes)} lines; at most 6 and 20"
    for cell in code(notebook):
        if any(len(line) > 100 for line in lines(cell)):
            yield f"a line longer than 100 columns: {cell.source[:60]}"


def leaves_computing_to_the_library(notebook):
    trees = [ast.parse(cell.source) for cell in code(notebook)]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    if any(isinstance(node, ast.ClassDef) for node in nodes):
        yield "defines a class"
    if sum(isinstance(node, ast.FunctionDef) for node in nodes) > 1:
        yield "defines more than one function"


def touches_nothing_outside(notebook):
    pattern = r"sys\.path|getcwd|chdir|^[!%]|\bopen\(|\.to_csv|savefig|pip install"
    for cell in code(notebook):
        if found := re.search(pattern, cell.source, re.M):
            yield f"{found[0]!r} in a code cell"


def says_why_a_cell_is_unchecked(notebook):
    cells = code(notebook)
    loose = [cell for cell in cells if set(tags(cell)) & set(UNCHECKED)]
    if len(loose) > len(cells) / 5:
        yield f"{len(loose)} of {len(cells)} code cells are unchecked, at most one in five"
    above = ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            above = cell.source
        elif cell in loose and not re.search(
            r"not (be )?(checked|compared)|unchecked", above, re.I
        ):
            yield f"no reason (`not checked, because ...`) above: {cell.source[:60]}"


def checks_what_it_draws(notebook):
    cells = code(notebook)
    for place, cell in enumerate(cells):
        drawn = any("image/png" in output.get("data", {}) for output in cell.outputs)
        near = cells[place : place + 3]
        if drawn and not any(out.output_type == "stream" for c in near for out in c.outputs):
            yield f"a figure without a check cell: {cell.source[:60]}"


def hides_nothing_by_a_semicolon(notebook):
    """nbval shows the value of a cell that ends in `;`, Jupyter does not: the outputs differ."""
    for cell in code(notebook):
        if cell.source.rstrip().endswith(";"):
            yield f"ends in a semicolon: {cell.source[:60]}"


def is_quiet(notebook):
    quiet = notebooks.normalise(copy.deepcopy(notebook))
    if nbformat.writes(quiet) != nbformat.writes(notebook):
        yield "not normalised: run `make notebooks`"


RULES = [
    opens_with_a_title,
    sets_up_in_silence,
    has_one_cell_of_parameters,
    parameters_are_literals,
    ran_in_order,
    keeps_what_it_printed,
    shows_no_error,
    names_no_machine,
    is_a_walk_and_not_a_march,
    has_small_cells,
    leaves_computing_to_the_library,
    touches_nothing_outside,
    says_why_a_cell_is_unchecked,
    checks_what_it_draws,
    hides_nothing_by_a_semicolon,
    is_quiet,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("path", STREET, ids=lambda path: path.stem)
def test_the_street_keeps_its_rules(path, rule):
    assert list(rule(nbformat.read(path, as_version=4))) == []


@pytest.mark.parametrize("path", STREET, ids=lambda path: path.stem)
def test_a_notebook_is_small_and_named_like_its_title(path):
    assert path.stat().st_size < 2_000_000
    title = nbformat.read(path, as_version=4).cells[0].source
    assert title.startswith(f"# {path.stem[:2]} · ")
    json.loads(path.read_text(encoding="utf-8"))


def good_notebook():
    parameters = 'profile = "smoke"  # how much\nseed = 0  # of all\ndevice = "auto"  # or cpu'
    picture = new_output("display_data", {"image/png": "", "text/plain": "<Figure>"})
    words = new_output("stream", name="stdout", text="0.5\n")
    pieces = [
        new_markdown_cell("# 00 · Overview"),
        new_code_cell("import gfla"),
        new_markdown_cell("Parameters"),
        new_code_cell(parameters, metadata={"tags": ["parameters"]}),
        new_markdown_cell("A figure"),
        new_code_cell("figure", outputs=[picture]),
        new_markdown_cell("Check"),
        new_code_cell("print(0.5)", outputs=[words]),
        new_markdown_cell("Exercises"),
        new_markdown_cell("The versions are not checked, because they differ."),
        new_code_cell("versions", metadata={"tags": ["nbval-ignore-output"]}),
        *[new_markdown_cell("...") for _ in range(2)],
    ]
    for number, cell in enumerate(pieces):
        cell.id = f"cell-{number:02d}"
    notebook = notebooks.normalise(new_notebook(cells=pieces))
    for count, cell in enumerate(code(notebook), 1):
        cell.execution_count = count
    return notebook


def spoil(notebook, rule):
    """Break one rule."""
    cells, stderr = code(notebook), new_output("stream", name="stderr", text="warning")
    spoilers = {
        "opens_with_a_title": lambda: notebook.cells.pop(0),
        "sets_up_in_silence": lambda: cells[0].outputs.append(stderr),
        "has_one_cell_of_parameters": lambda: cells[0].metadata.update(tags=["parameters"]),
        "parameters_are_literals": lambda: cells[1].update(source="seed = 1 + f()"),
        "ran_in_order": lambda: cells[2].update(execution_count=None),
        "keeps_what_it_printed": lambda: cells[3].update(outputs=[]),
        "shows_no_error": lambda: cells[3].outputs.append(stderr),
        "names_no_machine": lambda: cells[3].outputs[0].update(text="<Line2D at 0x7" + "f00aa>"),
        "is_a_walk_and_not_a_march": lambda: notebook.cells.extend([new_markdown_cell()] * 9),
        "has_small_cells": lambda: cells[2].update(source="a = 1\n" * 21),
        "leaves_computing_to_the_library": lambda: cells[2].update(source="class A: ..."),
        "touches_nothing_outside": lambda: cells[0].update(source="!pip install x"),
        "says_why_a_cell_is_unchecked": lambda: notebook.cells[9].update(source="Versions"),
        "checks_what_it_draws": lambda: cells[3].update(outputs=[]),
        "hides_nothing_by_a_semicolon": lambda: cells[2].update(source="axes.plot(x);"),
        "is_quiet": lambda: notebook.metadata.update(papermill={"start": "now"}),
    }
    spoilers[rule.__name__]()
    return notebook


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_rule_passes_the_good_and_finds_the_spoiled(rule):
    assert list(rule(good_notebook())) == []
    assert list(rule(spoil(good_notebook(), rule)))


def test_normalise_drops_what_differs_between_runs():
    notebook = good_notebook()
    noisy = copy.deepcopy(notebook)
    noisy.metadata.update(widgets={"state": 1}, papermill={}, toc={}, language_info={"name": "x"})
    noisy.metadata.kernelspec = {"name": "my-own", "display_name": "mine"}
    for cell in noisy.cells:
        cell.metadata.update(papermill={"duration": 1}, execution={"iopub": "now"})
    noisy.cells[7].outputs = [
        new_output("stream", name="stdout", text=text) for text in ("0", ".5\n")
    ]
    assert nbformat.writes(notebooks.normalise(noisy)) == nbformat.writes(notebook)


def test_normalise_drops_widget_models_and_keeps_their_text():
    notebook = good_notebook()
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "a1"}, "text/plain": "slider"}
    code(notebook)[2].outputs = [new_output("display_data", view)]
    notebooks.normalise(notebook)
    assert code(notebook)[2].outputs[0].data == {"text/plain": "slider"}


def test_normalise_gives_ids_that_are_sound_unique_and_lasting():
    notebook = good_notebook()
    notebook.cells[1].id = notebook.cells[0].id = "title"
    notebook.cells[2].id = "not valid!"
    ids = [cell.id for cell in notebooks.normalise(notebook).cells]
    assert ids[0] == "title"
    assert ids[3] == "cell-03"
    assert len(set(ids)) == len(ids)
    nbformat.validate(notebook)
    assert [cell.id for cell in notebooks.normalise(notebook).cells] == ids


def test_street_knows_numbers_and_names(tmp_path):
    for name in ("00_overview", "02_flow", "10_more", "notes"):
        (tmp_path / f"{name}.ipynb").touch()
    stems = lambda only: [p.stem for p in notebooks.street(only, tmp_path)]  # noqa: E731
    assert stems(()) == ["00_overview", "02_flow", "10_more"]
    assert stems(("10", "2")) == ["02_flow", "10_more"]
    assert stems(("00_overview",)) == ["00_overview"]
    with pytest.raises(ValueError, match="no notebook '7': choose among 00_overview, 02_flow"):
        stems(("7",))
    with pytest.raises(FileNotFoundError, match="no notebooks"):
        notebooks.street((), tmp_path / "elsewhere")


def test_execute_in_place_changes_nothing_the_second_time(tmp_path):
    path = tmp_path / "00_a.ipynb"
    notebooks.write(path, new_notebook(cells=[new_code_cell("print('a', flush=True)\nprint('b')")]))
    notebooks.execute(path)
    once = path.read_bytes()
    assert b'"a\\n"' in once
    notebooks.execute(path)
    assert path.read_bytes() == once


def test_a_notebook_that_fails_in_place_is_left_as_it_was(tmp_path, monkeypatch, capsys):
    (tmp_path / "notebooks").mkdir()
    path = tmp_path / "notebooks" / "00_a.ipynb"
    notebooks.write(path, new_notebook(cells=[new_code_cell("print(1)\n1 / 0")]))
    before = path.read_bytes()
    monkeypatch.setenv("GFLA_ROOT", str(tmp_path))
    from gfla import cli

    assert cli.main(["notebooks"]) == 1
    assert path.read_bytes() == before
    assert "ZeroDivisionError" in capsys.readouterr().err
