"""The README's tables, made from the ledger: no number in them is typed in by hand."""

from __future__ import annotations

import argparse
import math
import re
from pathlib import Path

from gfla import ledger, notebooks, storage
from gfla.ablation import ladder, standings
from gfla.speed import bench_tables, bench_targets, scaling

STREET = "street"  # the recorded run of all notebooks
MARKED = re.compile(r"(<!-- (\w+): made by python -m gfla readme -->\n).*?(<!-- end -->)", re.S)
RESULTS = (
    ("people-encoder", "nearest_match_level1",
     "nearest match of our encoder's features over all positions, stride 2"),
    ("people-encoder", "nearest_match_level2", "the same at stride 4"),
    ("people-encoder", "nearest_match_level3", "the same at stride 8"),
    ("people-flow", "measured_flow_ratio", "flow after stage 1, never told the truth"),
    ("people-full", "measured_flow_ratio", "flow after stage 2"),
)  # fmt: skip
DEPARTURES = (
    ("people-full-paper-weights", "the paper's λ, and its norms on the source picture"),
    ("people-full-paper-norms", "L1 weighing more, and the paper's norms"),
    ("people-full-first", "L1 weighing more, no norm before the source's colours"),
)
VIEWS = {  # the ledger's entry: what it is
    "appearance-full": "appearance flow: F and one warp of the picture",
    "views-published-full": "F and G, told the view as published",
    "views-full": "F and G, told the view on a canvas (shipped)",
}
VIDEO = {
    "video-still-full": "frame by frame",
    "video-full": "told the previous frame (shipped)",
}
ABLATION = {  # metric: heading
    "judge_distance_foreground": "perceptual distance, person ↓",
    "l1_foreground": "L1, person ↓",
    "flow_ratio": "flow error / zero flow's ↓",
    "within_2px": "taken from within 2 px ↑",
}


def record_street(folder: str | Path) -> Path:
    """Keep the times and key numbers of a `reproduce` run in the ledger.

    Args:
        folder: the run's folder, with its manifest.json.

    Raises:
        ValueError: a notebook of that run failed.
    """
    manifest = storage.read_json(Path(folder) / "manifest.json")
    failed = [one["notebook"] for one in manifest["notebooks"] if one["state"] != "done"]
    if failed:
        raise ValueError(f"{folder}: {', '.join(failed)} did not finish; record a whole run")
    seconds = {one["notebook"]: one["seconds"] for one in manifest["notebooks"]}
    numbers = {one["notebook"]: one["numbers"] for one in manifest["notebooks"]}
    return ledger.write_run(STREET, seconds, manifest["settings"], numbers=numbers)


def results_table() -> str:
    """What is measured so far, on held-out procedural people."""
    rows = [["measured", "value", "needed", "run"]]
    for run, key, words in RESULTS:
        entry = ledger.read(run)
        rows.append([f"{words}: error as a share of zero flow's", f"{entry['results'][key]:.2f}",
                     "0.50" if run != "people-encoder" else "", f"`{run}`"])  # fmt: skip
    full = ledger.read("people-full")["results"]
    words = "picture: L1 on the scale from warping with the true flow (0) to copying in place (1)"
    rows.append([words, f"{full['measured_l1_ratio']:.2f}", "0.60", "`people-full`"])
    words = f"mask: average precision (a mask that knows nothing has {full['visible_share']:.2f})"
    rows.append([words, f"{full['occlusion_average_precision']:.2f}", "", "`people-full`"])
    return ledger.table(rows)


def departures_table(step: int = 1000) -> str:
    """Runs that differ in what the small preset does otherwise than the paper, at one step, and
    what was shipped."""
    rows = [["small preset, stage 2", "steps", "picture: L1", "flow error", "run"]]
    for run, words in DEPARTURES:
        (row,) = (row for row in ledger.read(run)["history"] if row["step"] == step)
        rows.append([words, f"{step:,}", *_errors(row), f"`{run}`"])
    last = ledger.read("people-full")["results"]
    words = "the last of these gone on with, adversarial and style loss weighing less (shipped)"
    return ledger.table(
        [*rows, [words, f"{step + last['steps']:,}", *_errors(last), "`people-full`"]]
    )


def views_table() -> str:
    """View synthesis on held-out objects, of the classes of the training and of others."""
    heads = ["L1 ↓", "L1 / copying's ↓", "flow error / zero flow's ↓"]
    others = [f"{head.removesuffix(' ↓')}, other classes ↓" for head in heads[1:]]
    rows = [["views", "parameters", *heads, *others]]
    for name, words in VIEWS.items():
        found = ledger.read(name)["results"]
        keys = ["copy_ratio", "flow_ratio", "held_out_copy_ratio", "held_out_flow_ratio"]
        place = f"{_scaled(found, 'true_warp_l1'):.2f}"
        numbers = (f"{found[key]:.2f}" for key in keys)
        rows.append([words, f"{found['parameters']:,}", place, *numbers])
    return ledger.table(rows)


def video_table() -> str:
    """Animation of held-out people, driven by true poses and by those of a detector that errs."""
    keys = {"copy_ratio": "L1 / copying's ↓", "flow_ratio": "flow error / zero flow's ↓",
            "flicker": "flicker ↓", "jitter": "jitter ↓"}  # fmt: skip
    noisy = {f"noisy_{key}": f"noisy poses: {keys[key]}" for key in ("flicker", "jitter")}
    rows = [["clips", "L1 ↓", *(keys | noisy).values()]]
    for name, words in VIDEO.items():
        found = ledger.read(name)["results"]
        form = {key: ".2f" if key.endswith("ratio") else ".4f" for key in keys | noisy}
        numbers = (f"{found[key]:{how}}" for key, how in form.items())
        rows.append([words, f"{_scaled(found, 'warp_l1'):.2f}", *numbers])
    return ledger.table(rows)


def _scaled(found: dict, warp: str) -> float:
    """L1 on the scale from warping with the true flow (0) to copying in place (1)."""
    return (found["l1"] - found[warp]) / (found["copy_l1"] - found[warp])


def ablation_table() -> str:
    """The four models of the ladder, mean and standard deviation over seeds, the paper's beside."""
    runs = ladder.entries()
    found = standings.summary(runs)
    rows = [["model", "parameters", *ABLATION.values(), "paper: FID", "paper: LPIPS"]]
    for name, title in ladder.MODELS.items():
        (count,) = {f"{run['parameters']:,}" for run in ladder.rungs(runs) if run["model"] == name}
        cells = []
        for metric in ABLATION:
            mean, spread = (found.loc[metric, (name, what)] for what in ("mean", "sd"))
            cells.append("–" if math.isnan(mean) else f"{mean:.3f} ± {spread:.3f}")
        paper = ladder.PAPER[name]
        rows.append([title, count, *cells, f"{paper['fid']:.3f}", f"{paper['lpips']:.4f}"])
    return ledger.table(rows)


def differences_table() -> str:
    """Paired differences in what the ladder is decided by, and in other trainings of Full."""
    runs = ladder.entries()
    kinds = standings.differences, standings.twin_differences, standings.variant_differences
    found = [kind(runs) for kind in kinds]
    rows = [["difference in perceptual distance, person", "mean", "95% interval", "seeds"]]
    for one in (row for table in found for row in table.itertuples()):
        if one.metric == ladder.FIRST:
            between = f"{one.low:+.4f} … {one.high:+.4f}"
            rows.append([_names(one.a, one.b), f"{one.mean:+.4f}", between, str(one.seeds)])
    return ledger.table(rows)


def performance_table() -> str:
    """Every target of the benchmark with what was measured, and where."""
    told = []
    for kind in bench_targets.RUNS:
        if entry := bench_targets.recorded(kind):
            at = f"commit {bench_tables.commits(entry)}, {entry['date'][:10]}"
            told.append(f"Run `{entry['run']}`: {entry['device']}; {at}.")
    return bench_targets.targets_table() + "\n" + "\n".join(told) + "\n"


def processes_table() -> str:
    """A training step in one process and in two."""
    return bench_tables.scaling_table(bench_targets.recorded())


def _names(a: str, b: str) -> str:
    """A difference in words."""
    if b == f"bilinear-{a}":
        return f"Full − Bi-Sample, both: {ladder.VARIANTS[a]}"
    full = {name: f"Full, {words}" for name, words in ladder.VARIANTS.items()}
    other = {name: ladder.VARIANTS[name] for name in ladder.NOT_FULL}
    words = full | other | ladder.MODELS
    return f"{words[a]} − {words[b]}"


def _errors(numbers: dict) -> list[str]:
    return [f"{numbers[f'measured_{key}_ratio']:.2f}" for key in ("l1", "flow")]


def street_table() -> str:
    """The notebooks: what each shows (its first sentence), run time, key number."""
    import nbformat

    entry = ledger.read(STREET)
    rows = [["notebook", "shows", "seconds", "key number"]]
    for path in notebooks.street():
        title, claim = _head(nbformat.read(path, as_version=4).cells[0].source)
        key, value = next(iter(entry["numbers"].get(path.stem, {}).items()), ("", ""))
        value = f"{value:.3g}" if isinstance(value, float) else str(value)
        seconds = entry["results"].get(path.stem)
        time = "–" if seconds is None else f"{seconds:.0f}"  # – not in the recorded run
        rows.append([f"[{title}](notebooks/{path.name})", claim, time,
                     f"{key}: {value}" if key else ""])  # fmt: skip
    return ledger.table(rows)


def filled(text: str) -> str:
    """README text with its tables as the ledger has them now."""
    tables = {
        "results": results_table,
        "street": street_table,
        "departures": departures_table,
        "views": views_table,
        "video": video_table,
        "ablation": ablation_table,
        "differences": differences_table,
        "performance": performance_table,
        "processes": processes_table,
        "scaling": scaling.table,
    }
    return MARKED.sub(lambda m: m[1] + tables[m[2]]() + "\n" + m[3], text)


def _head(source: str) -> tuple[str, str]:
    """Title and claim of a notebook's first cell."""
    lines = [line.strip() for line in source.splitlines() if line.strip()]
    claim = re.sub(r"(?i)^(the )?claim[.:]\s*", "", lines[1].replace("**", "").replace("*", ""))
    claim = re.split(r"(?<=[.!?])\s", claim)[0]
    return lines[0].lstrip("# "), claim.replace("|", "/")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m gfla readme`."""
    parser.add_argument("--street", metavar="RUN", help="record this `reproduce` run first")


def main(args: argparse.Namespace) -> int:
    """Fill the tables of the README."""
    if args.street:
        record_street(args.street)
    path = storage.root() / "README.md"
    storage.atomic_write(path, filled(path.read_text(encoding="utf-8")))
    print(f"written: {path.name}")
    return 0
