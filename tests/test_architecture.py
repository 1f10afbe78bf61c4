"""The house keeps its plan: imports go down, nothing is circular, and a few things never happen."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gfla import storage

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "gfla"
ROOMS = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
FLOORS = [
    ["types", "fields", "storage", "bytes8", "meanwhile", "presets", "config", "inputs",
     "profiles"],
    ["taps", "patchless", "sampling", "kernels", "kernel_operators", "kernel_sources"],
    ["spectral", "blocks", "attention"],
    ["flow", "renderer", "discriminator", "two_sources", "view_codes"],
    ["views", "model", "animation", "passes", "extraction", "encoder", "features", "losses"],
    ["data.*", "streams", "metrics", "measure", "checkpoint", "ledger",
     "exchange.published", "exchange.published_names", "exchange.layouts", "exchange.fitting",
     "exchange.pickled", "exchange.released", "exchange.parity", "exchange.signatures",
     "exchange.portable", "exchange.agreement",
     "photos.detecting",
     "scores.averages", "scores.flow_metrics", "scores.frechet", "scores.inception",
     "scores.trunks", "scores.perceptual", "scores.meanings", "scores.judging", "scores.temporal",
     "scores.turning", "scores.ways", "scores.moving", "scores.comparison", "scores.pairing",
     "scores.resaving", "scores.conventions",
     "speed.timing",
     "street.scenes", "street.basins"],
    ["distributed", "training", "terms", "step", "journal", "resuming", "train", "augment",
     "pretrain", "pictures", "viz", "widgets", "films",
     "interactive.scrubber", "interactive.one_at_a_time", "interactive.own_picture",
     "interactive.pixel_picker", "interactive.pose_editor", "interactive.pose_sliders",
     "photos.pose_drawing", "photos.pose_inputs",
     "street.diagrams"],
    ["anatomy", "ship",
     "ablation.ladder", "ablation.gaze", "ablation.rungs", "ablation.standings",
     "ablation.ablation_table", "ablation.ladder_figures", "ablation.ladder_strips",
     "interactive.sources", "interactive.live", "interactive.where", "interactive.sheets",
     "interactive.studio",
     "photos.origins", "photos.repainting",
     "scores.protocol", "scores.scoring", "scores.named_protocols",
     "speed.rivals", "speed.bench_kinds", "speed.bench_rows", "speed.bench_tables",
     "speed.bench_targets", "speed.bench_figures", "speed.bench_lessons",
     "street.balance", "street.verdict", "street.lessons", "street.own_data", "street.own_poses",
     "street.own_figures", "street.moves", "street.viewpoints", "street.turn_figures",
     "street.driving", "street.trembling", "street.recurrence", "street.memory",
     "street.moving_figures"],
    ["outcomes", "reproduce", "notebooks", "readme", "bench", "ablate", "evaluate", "data_sets",
     "cli", "__main__",
     "ablation.cells",
     "exchange.importing", "exchange.exporting",
     "photos.rendering",
     "speed.scaling"],
]
# `import gfla` offers what lies higher, and imports it only when it is called
DOORS = {room for room in ROOMS if room.split(".")[-1] == "__init__"}


def floor(room):
    """Give the floor of a room, None when the plan does not have it."""
    for number, rooms in enumerate(FLOORS):
        if room in rooms or f"{room.split('.')[0]}.*" in rooms:
            return number
    return None


def imported(source, rooms):
    """Give the rooms that a source imports, at its head or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        inside = {name.removeprefix("gfla.") for name in names if name.startswith("gfla.")}
        found |= {name for name in inside if name in rooms}
    return found


def upward(graph):
    """List the imports that climb."""
    return [
        f"{room} imports {other}"
        for room, others in graph.items()
        for other in others
        if None not in (floor(room), floor(other)) and floor(other) > floor(room)
    ]


def circle(graph):
    """Give the rooms of one circle of imports, or nothing."""
    free = dict(graph)
    while leaves := [room for room, others in free.items() if not others & set(free)]:
        for room in leaves:
            del free[room]
    return sorted(free)


GRAPH = {room: imported(path.read_text(), ROOMS) for room, path in ROOMS.items()}


def test_every_room_has_a_floor():
    inside = {room for room in ROOMS if room not in DOORS and not room.startswith("data.")}
    assert [room for room in sorted(inside) if floor(room) is None] == []
    for wrong in ("utils", "helpers", "common", "misc"):
        assert not [room for room in ROOMS if wrong in room.split(".")]


def test_imports_go_down():
    assert upward(GRAPH) == []
    assert upward({"sampling": {"model"}}) == ["sampling imports model"]


def test_imports_make_no_circle():
    assert circle(GRAPH) == []
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["a", "b", "c"]


def test_folders_make_no_circle():
    of = lambda room: room.rpartition(".")[0]  # noqa: E731
    folders = {of(room): set() for room in ROOMS if of(room)}
    for room, others in GRAPH.items():
        if of(room):
            folders[of(room)] |= {of(other) for other in others} - {of(room), ""}
    assert circle(folders) == []


def test_doors_of_folders_import_nothing():
    for room in DOORS - {"__init__"}:
        nodes = ast.walk(ast.parse(ROOMS[room].read_text()))
        assert not [n for n in nodes if isinstance(n, ast.Import | ast.ImportFrom)], room


def test_rooms_are_imported_by_their_whole_name():
    for room, path in ROOMS.items():
        for node in ast.walk(ast.parse(path.read_text())):
            assert not getattr(node, "level", 0), f"{room} has a relative import"


def test_the_core_imports_nothing_heavy():
    core = [room for room in ROOMS if room not in DOORS and (floor(room) or 9) <= 4]
    core += ["data.people", "data.keypoints", "types", "storage", "config", "train"]
    code = (
        "import importlib, sys\n"
        f"for room in {core}: importlib.import_module('gfla.' + room)\n"
        "heavy = {'torchvision', 'lpips', 'pandas', 'matplotlib', 'IPython', 'skimage', 'triton'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=storage.root())
    assert done.returncode == 0, done.stderr


def calls(tree, name):
    """List the calls of `name`, bare or as the last part of a dotted name."""
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and name in (getattr(node.func, "id", None), getattr(node.func, "attr", None))
    ]


def test_only_sampling_knows_the_coordinate_convention():
    for room, path in ROOMS.items():
        tree = ast.parse(path.read_text())
        if room != "sampling":
            for name in ("grid_sample", "affine_grid"):
                assert calls(tree, name) == [], f"{room} calls {name}"
    assert len(calls(ast.parse("F.grid_sample(a, b)"), "grid_sample")) == 1


def loads_unsafely(tree):
    """List the lines of torch.load that may run code from a file."""
    bad = []
    for call in calls(tree, "load"):
        if getattr(getattr(call.func, "value", None), "id", None) == "torch":
            given = {keyword.arg: keyword.value for keyword in call.keywords}
            only = given.get("weights_only")
            if not (isinstance(only, ast.Constant) and only.value is True):
                bad.append(call.lineno)
    return bad


def test_no_file_can_run_code():
    for room, path in ROOMS.items():
        tree = ast.parse(path.read_text())
        assert loads_unsafely(tree) == [], room
        for name in ("eval", "exec"):
            made = [call for call in calls(tree, name) if isinstance(call.func, ast.Name)]
            assert made == [], f"{room} calls {name}"
        assert not re.search(r"^\s*(import|from) (pickle|dill|joblib)", path.read_text(), re.M)
    assert loads_unsafely(ast.parse("torch.load(p)\ntorch.load(p, weights_only=" + "False)")) == [
        1,
        2,
    ]


def functions(tree):
    """Give every function with its length in lines, documentation not counted."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            told = node.body[0] if ast.get_docstring(node) is not None else None
            words = told.end_lineno - told.lineno + 1 if told else 0
            yield node, node.end_lineno - node.lineno + 1 - words


def test_functions_fit_a_screen():
    long = [
        f"{room}.{node.name}: {length}"
        for room, path in ROOMS.items()
        for node, length in functions(ast.parse(path.read_text()))
        if length > 60
    ]
    assert long == []
    ((_, length),) = functions(ast.parse('def f():\n    """Two\n    lines."""\n    return 1'))
    assert length == 2


def public(tree):
    """Give the public classes and functions of a room, and the public functions of its classes.

    Not `forward`: what a network takes and returns may stand in the docstring of its class.
    """
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                for inner in node.body:
                    if isinstance(inner, ast.FunctionDef) and not re.match("_|forward", inner.name):
                        yield inner


def test_what_is_public_says_what_it_is():
    for room, path in ROOMS.items():
        tree = ast.parse(path.read_text())
        assert ast.get_docstring(tree) or path.name == "__init__.py", room
        mute = [node.name for node in public(tree) if not ast.get_docstring(node)]
        assert mute == [], room


def tracked(*endings):
    """Give the text of every file under version control, notebooks without their pictures."""
    listing = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True
    )
    if listing.returncode:
        pytest.skip("not a git checkout")
    for name in filter(None, listing.stdout.split("\0")):
        path = ROOT / name
        if path.suffix in endings and path.is_file():
            text = path.read_text(encoding="utf-8")
            yield name, re.sub(r'"image/png": "[^"]*"', "", text)


def test_no_machine_and_no_memory_address_is_named():
    address, place = re.compile(r"0x[0-9a-f]{6,}"), re.compile(r"/(home|root|tmp|work|Users)/\w")
    assert address.search("<object at 0x7f3a" + "00ff10>")
    assert place.search("/ho" + "me/me")
    for name, text in tracked(".py", ".md", ".ipynb", ".json", ".toml", ".yml", ".txt"):
        assert not address.search(text), name
        assert not place.search(text), name


def test_paragraphs_of_the_spec_that_are_cited_exist():
    spec = (ROOT / "docs" / "spec.md").read_text()
    sections = set(re.findall(r"^#+ (\d+(?:\.\d+)?b?)\b", spec, re.M))
    for room, path in ROOMS.items():
        text = re.sub(r"\s+", " ", path.read_text())
        for listed in re.findall(r"spec\.md,? sections? ((?:\d[\d.b]*(?:, | and )?)+)", text):
            for cited in re.findall(r"\d+(?:\.\d+)?b?", listed):
                assert cited in sections, f"{room} cites section {cited}"


def test_the_constraints_lie_within_the_ranges():
    pins = dict(
        line.split("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line and not line.startswith("#")
    )
    assert not [pin for pin in pins.values() if "+" in pin]
    text = (ROOT / "pyproject.toml").read_text()
    wanted = re.findall(r'"([a-z][a-z0-9-]+)>=([\d.]+)', text.split("[build-system]")[-1])
    number = lambda version: [int(part) for part in version.split(".")]  # noqa: E731
    for name, least in wanted:
        if name != "hatchling":
            assert number(pins[name]) >= number(least), name


def test_packaged_weights_are_few_megabytes():
    sizes = {path.name: path.stat().st_size for path in storage.weights_dir().iterdir()}
    assert all(size <= 30e6 for size in sizes.values()), sizes
    json.loads((storage.weights_dir() / "manifest.json").read_text())
