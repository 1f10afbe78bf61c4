"""The command that scores pictures against pictures and prints a table.

    python -m gfla evaluate --images generated/ --against truth/
    python -m gfla evaluate --model people                    the test pairs of data/sample
    python -m gfla evaluate --model people --against people   people nobody trained on, truth known

What is left out is named, nothing is left out silently. With `--protocol NAME` pictures are scored
in a way that papers use (`gfla.scores.named_protocols`); with `--protocol` alone, under every
convention of the field, one at a time (`gfla.scores.protocol`).
"""

from __future__ import annotations

import argparse
import csv
import io
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from gfla import ledger, storage
from gfla.config import pick_device
from gfla.scores import judging, named_protocols, protocol, scoring
from gfla.scores.conventions import Scene
from gfla.scores.judging import METRICS
from gfla.scores.pairing import DAMAGED
from gfla.scores.scoring import PEOPLE, Evaluation

MATRIX = "matrix"  # --protocol without a name
SAMPLE = "data/sample"  # what a model is scored on unless told otherwise
PERSON = "_foreground"  # ends the names of what is measured over the person only
SOURCE = ("commit", "device", "date")  # of the provenance, in every row of a CSV
ARROWS = {"lower": "↓", "higher": "↑"}


def table(results: dict[str, float]) -> str:
    """The results as a Markdown table with the direction and the meaning of each.

    Args:
        results: name of `gfla.scores.judging.METRICS` -> value; what is over the person only
            (`…_foreground`) stands in a column of its own beside what is over the whole picture.

    >>> print(table({"l1": 0.0625, "l1_foreground": 0.25}).splitlines()[2][:31])
    | l1     | 0.0625 | 0.25   | ↓
    """
    person = {name.removesuffix(PERSON): v for name, v in results.items() if name.endswith(PERSON)}
    rows = [["metric", "value", *(["person"] if person else []), "better", "what it is"]]
    for name in dict.fromkeys(name.removesuffix(PERSON) for name in results):
        values = [results.get(name), *([person.get(name)] if person else [])]
        cells = ["" if value is None else f"{value:.4g}" for value in values]
        about = METRICS[name]
        meaning = f"{about.definition} ({about.range})"
        rows.append([name, *cells, ARROWS.get(about.direction, ""), meaning])
    return ledger.table(rows)


def chosen(results: dict[str, float], wanted: Sequence[str]) -> dict[str, float]:
    """Those results that were asked for; all if nothing was.

    Raises:
        ValueError: a metric that does not exist; the message lists those that do.
    """
    if unknown := [name for name in wanted if name not in METRICS]:
        raise ValueError(f"no metric {unknown[0]!r}: choose from {', '.join(METRICS)}")
    return {k: v for k, v in results.items() if not wanted or k in wanted}


def write(path: str | Path, found: Evaluation, results: dict[str, float], device: Any) -> Path:
    """Keep an evaluation with its provenance as JSON (with a value for each pair) or CSV.

    Raises:
        ValueError: another ending.
    """
    path, facts = Path(path), ledger.provenance(device=device)
    about = {"pictures": found.subject, "against": found.against}
    if path.suffix == ".json":
        pairs = {k: list(map(_plain, v)) for k, v in found.judgement.pairs.items() if k in results}
        entry = about | {"size": list(found.size)} | facts
        entry |= {"results": {k: _plain(v) for k, v in results.items()}, "names": found.names}
        entry |= {"pairs": pairs, "left_out": found.left_out, "notes": found.judgement.notes}
        return storage.write_json(path, entry)
    if path.suffix != ".csv":
        raise ValueError(f"--out {path}: expected a name that ends in .json or .csv")
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    source = about | {key: facts[key] for key in SOURCE}
    rows.writerow(["metric", "value", "better", *source])
    for name, value in results.items():
        rows.writerow([name, value, METRICS[name].direction, *source.values()])
    return storage.atomic_write(path, text.getvalue())


def _plain(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def left_out_lines(left_out: dict[str, list[str]]) -> Iterator[str]:
    """What was left out, a line a reason, the first names of each."""
    for why, names in left_out.items():
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        yield f"left out, {why}: {len(names)} ({', '.join(names[:5])}{more})"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m gfla evaluate`."""
    add = parser.add_argument
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("--images", metavar="FOLDER", help="generated pictures")
    who.add_argument("--model", metavar="NAME", help="that ships, or a file, or a run's folder")
    words = "with --images a folder of true pictures; with --model a folder in the DeepFashion or "
    words += "Market-1501 layout (default: data/sample) or the word people"
    add("--against", metavar="FOLDER", help=words)
    add("--phase", default="test", help="of such a folder: test or train (default: test)")
    add("--resize", metavar="HxW", type=_size, help="bring all pictures of folders to this size")
    add("--metrics", metavar="A,B", default="", help="only these (default: all)")
    add("--count", type=int, help=f"only so many pairs; of people {PEOPLE} by default")
    add("--out", metavar="FILE", help="keep the result: .json, with each pair's values, or .csv")
    add("--device", default="auto", help="auto (CUDA, then MPS, then CPU) or a name")
    names = ", ".join(named_protocols.NAMED)
    words = f"score them in a way that papers use instead: {names}; alone: every convention singly"
    add("--protocol", nargs="?", const=MATRIX, metavar="NAME", help=words)
    add("--record", action="store_true", help="with --protocol alone: keep the matrix")
    add("--quiet", action="store_true", help="no progress bars")


def main(args: argparse.Namespace) -> int:
    """Score what was named and print a table; 1 if pictures were damaged and left out."""
    wanted = [name for name in args.metrics.split(",") if name]
    _check(args, wanted)
    device = pick_device(args.device)
    if args.protocol == MATRIX:
        return _protocol(args, wanted, device)
    if args.protocol:
        return _named(args, wanted, device)
    found = _evaluated(args, wanted, device)
    results = chosen(found.judgement.results, wanted)
    pairs = len(found.names) or args.count or PEOPLE
    size = f"{found.size[0]}x{found.size[1]}"
    print(f"{found.subject} against {found.against}: {pairs} pairs of {size} (height x width)\n")
    print(table(results))
    for line in (*left_out_lines(found.left_out), *_missing(found, wanted)):
        print(line)
    if args.out:
        print(f"written: {write(args.out, found, results, device)}")
    return 1 if DAMAGED in found.left_out else 0


def _check(args: argparse.Namespace, wanted: list[str]) -> None:
    """Tell a slip of the pen before anything is computed."""
    named = args.protocol not in (None, MATRIX)
    if named:
        named_protocols.check(args.protocol, wanted)
    else:
        chosen({}, wanted)
    if args.out and Path(args.out).suffix not in (".json", ".csv"):
        raise ValueError(f"--out {args.out}: expected a name that ends in .json or .csv")
    if args.count is not None and args.count < 1:
        raise ValueError(f"--count {args.count}: expected at least 1 pair")
    if args.images and not args.against:
        raise ValueError("--images wants --against: the folder of the true pictures")
    if args.model and args.resize:
        raise ValueError("--resize is for --images; a model's pictures have the model's size")
    if named and args.out and Path(args.out).suffix != ".json":
        raise ValueError(f"--out {args.out}: a named protocol is kept as .json, with its reasons")
    if args.record and args.protocol != MATRIX:
        raise ValueError("--record goes with --protocol alone; --out keeps other results")


def _evaluated(args: argparse.Namespace, wanted: list[str], device: torch.device) -> Evaluation:
    plain = wanted and not any(name.startswith(judging.ENCODERS) for name in wanted)
    common: dict[str, Any] = {"encoders": {} if plain else None, "device": device}
    if args.images:
        size, progress = args.resize, not args.quiet
        return scoring.evaluate_folders(
            args.images, args.against, size, args.count, progress=progress, **common
        )
    model = scoring.find_model(args.model)
    if args.against == "people":
        return scoring.evaluate_people(model, args.model, args.count or PEOPLE, **common)
    root, common["progress"] = args.against or _sample(), not args.quiet
    found = scoring.evaluate_model(model, root, args.model, args.phase, args.count, **common)
    return found._replace(against=f"{args.against or SAMPLE}, {args.phase}")


def _protocol(args: argparse.Namespace, wanted: list[str], device: torch.device) -> int:
    """Print the protocol matrix of the pictures that were named."""
    measures, notes = protocol.measures(device)
    measures = {name: one for name, one in measures.items() if not wanted or name in wanted}
    scene, left_out, about = _scene(args, device)
    frame = protocol.matrix(scene, measures, progress=not args.quiet)
    print(", ".join(f"{key}: {value}" for key, value in about.items()), end="\n\n")
    print(protocol.show(frame))
    print("in brackets: the change in gaps between Bi-Sample and Full of the paper's Table 2")
    for line in (*left_out_lines(left_out), *(() if wanted else notes)):
        print(line)
    if args.out:
        print(f"written: {_write_matrix(args.out, frame, about, left_out, device)}")
    if args.record:
        print(f"recorded: {protocol.record(frame, about, device)}")
    return 1 if DAMAGED in left_out else 0


def _named(args: argparse.Namespace, wanted: list[str], device: torch.device) -> int:
    """Print one protocol's numbers of the pictures that were named, and what it refuses."""
    scene, left_out, about = _scene(args, device)
    found = named_protocols.score(args.protocol, scene, wanted or named_protocols.METRICS)
    print(", ".join(f"{key}: {value}" for key, value in about.items()), end="\n\n")
    print(named_protocols.table([found]), end="")
    for line in left_out_lines(left_out):
        print(line)
    if args.out:
        entry = about | ledger.provenance(device=device) | {"left_out": left_out}
        entry |= {"protocol": named_protocols.report(found)}
        print(f"written: {storage.write_json(args.out, entry)}")
    return 1 if DAMAGED in left_out else 0


def _scene(
    args: argparse.Namespace, device: torch.device
) -> tuple[Scene, dict[str, list[str]], dict[str, Any]]:
    """The pictures for a protocol matrix, what was left out, and what to say about them."""
    count, bars = args.count or protocol.COUNT, not args.quiet
    against = args.against or SAMPLE
    if args.images:
        scene, left_out = scoring.folder_scene(args.images, against, args.resize, count, bars)
    else:
        model, left_out = scoring.find_model(args.model).to(device), {}
        if against == "people":
            scene = protocol.people_scene(model, count, device, bars)
        else:
            root = args.against or _sample()
            sets = args.protocol == MATRIX
            scene, left_out = scoring.model_scene(model, root, args.phase, count, device, sets)
    height, width = scene.images.shape[-2:]
    about = {"pictures": args.images or args.model, "against": against}
    about |= {"pairs": len(scene.images), "size": f"{height}x{width}"}
    return scene, left_out, about


def _write_matrix(
    path: str, frame: Any, about: dict[str, Any], left_out: dict[str, list[str]], device: Any
) -> Path:
    facts = ledger.provenance(device=device)
    if path.endswith(".csv"):
        source = about | {key: facts[key] for key in SOURCE}
        return storage.atomic_write(path, frame.assign(**source).to_csv())
    entry = about | facts | {"left_out": left_out}
    return storage.write_json(path, entry | {"table": protocol.plain(frame)})


def _sample() -> Path:
    return storage.root() / SAMPLE


def _missing(found: Evaluation, wanted: Sequence[str]) -> Iterator[str]:
    """Why something is not in the table."""
    yield from found.judgement.notes
    if absent := [name for name in wanted if name not in found.judgement.results]:
        yield f"not measured here: {', '.join(absent)}"


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    if not (height.isdigit() and width.isdigit() and int(height) and int(width)):
        raise argparse.ArgumentTypeError(f"{text!r}: expected HEIGHTxWIDTH, such as 256x176")
    return int(height), int(width)
