"""The command that writes a trained generator as one file for other programs: ONNX, or a .pt2.

    python -m gfla export people --out people.onnx
    python -m gfla export results/runs-…/video --out step.pt2         # one frame of an animation
    python -m gfla export latest_net_G.pth --out fashion.onnx --opset 20

The file is compared with PyTorch before it is written (`gfla.exchange.agreement`), and a report
goes beside it: `people.onnx.json`.
"""

from __future__ import annotations

import argparse
import hashlib
import re
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from gfla import checkpoint, journal, ledger, storage
from gfla.exchange import importing
from gfla.exchange.agreement import BATCHES, Difference, check, speed
from gfla.exchange.portable import OPSETS, ExportError, needed, onnx_bytes, pt2_bytes, to_program
from gfla.exchange.released import LICENCE
from gfla.exchange.signatures import Field, fields
from gfla.model import TASKS, Model, load, parameters

__all__ = ["ExportError", "check", "choose", "export", "to_onnx", "to_program"]
FORMATS = ("onnx", "pt2")
EXTRA = ("onnx", "onnxscript", "onnxruntime")


class Chosen(NamedTuple):
    """A model and where it comes from."""

    model: Model
    name: str  # as it was asked for, without folders
    sha256: str  # of its file; "" if it has none
    licence: str  # "" = this project's


def choose(name: str | Path, task: str | None = None) -> Chosen:
    """Load the model to export.

    Args:
        name: a shipped model ("people", "views", "video", "ablation-global", …), the folder of a
            finished run, a .safetensors file of ours, or a .pth that the paper's authors published.
        task: of a .pth; None finds it out from the names in it.

    Returns:
        The model in eval mode, on the CPU.

    Raises:
        FileNotFoundError: no such file, or a run without a finished model.
        ValueError: no such name, another kind of file, a published network that is no generator.
        gfla.storage.CheckpointError: a damaged file, or weights of something else.
    """
    path = Path(name)
    if path.is_dir():
        path = path / journal.MODEL
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} is not there: give the folder of a run that is finished"
            )
    if path.suffix == ".pth":
        report = importing.examine(path, task, "generator" if task else None)
        if report.part != "generator":
            raise ValueError(f"{path} holds a {report.part}: only generators are exported")
        model = checkpoint.import_published(path, report.task)
        return Chosen(model, path.name, report.sha256, LICENCE)
    if task is not None:
        raise ValueError(f"--task {task} is for a .pth: {path} says itself what it is")
    if path.suffix == ".safetensors":
        _, header = storage.load_safetensors(path)
        model = checkpoint.load_model(path)
        licence = str(header.get("licence", ""))
        return Chosen(model, path.name, storage.sha256(path), licence)
    if path.suffix:
        raise ValueError(f"{path} is neither .safetensors nor .pth: give one, or a shipped name")
    model = load(str(name))
    return Chosen(
        model, path.name, storage.sha256(storage.weights_dir() / f"{name}.safetensors"), ""
    )


def export(
    model: Model,
    out: str | Path,
    form: str = "onnx",
    size: tuple[int, int] | None = None,
    frames: int | None = None,
    opset: int = OPSETS[0],
    batches: Sequence[int] = BATCHES,
    origin: Chosen | None = None,
    force: bool = False,
) -> dict[str, Any]:
    """Write a generator as a graph, once it agrees with PyTorch.

    Args:
        model: of one of the classes in `gfla.model.KINDS`.
        out: the file; its report goes beside it, with `.json` behind the name.
        form: "onnx" or "pt2".
        size: (H, W), fixed in the graph; None is the model's own.
        frames: T of a whole clip, fixed and unrolled, so that the work grows with it; None is one
            step of an animation, which is repeated with its image as the next `previous`.
        opset: of ONNX, from 18 to 23.
        batches: that are compared; the graph takes any.
        origin: what to say of the model in file and report.
        force: replace `out`.

    Returns:
        The report: file, model, inputs, outputs, differences, speed, circumstances.

    Raises:
        FileExistsError: `out` is there, and `force` is not set.
        ModuleNotFoundError: ONNX, and the extra is not installed.
        ValueError: another form or opset, a size or frames that the model does not take.
        ExportError: the graph could not be made, or differs from the model; nothing is written.
    """
    out = Path(out)
    _check_goal(out, form, force)
    program = to_program(model, size=size, frames=frames)
    circumstances = ledger.provenance()
    notes = {
        "model": type(model).__name__,
        "name": origin.name if origin else "",
        "weights_sha256": origin.sha256 if origin else "",
        "licence": origin.licence if origin else "",
        "arguments": model.arguments,
        "commit": circumstances["commit"],
        "versions": circumstances["versions"] | _versions(form),
        **{key: _plain(each) for key, each in zip(("inputs", "outputs"), fields(program))},
    }
    content = pt2_bytes(program, notes) if form == "pt2" else onnx_bytes(program, notes, opset)
    found = check(content, model, batches, size, frames)
    _refuse(found)
    timed = speed(content, model, size, frames)
    record = {
        "file": out.name,
        "format": form,
        "opset": opset if form == "onnx" else None,
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "parameters": parameters(model),
        **notes,
        "differences": [each._asdict() for each in found],
        "speed": timed._asdict() | {"ratio": timed.ratio, "threads": 1},
        "device": circumstances["device"],
        "date": circumstances["date"],
        "system": circumstances["system"],
    }
    storage.atomic_write(out, content)
    storage.write_json(_beside(out), record)
    return record


def to_onnx(model: Model, out: str | Path, **how: Any) -> dict[str, Any]:
    """`export` to ONNX.  Args, Returns, Raises: as there."""
    return export(model, out, "onnx", **how)


def describe(record: dict[str, Any]) -> str:
    """A report in lines, for people.

    Args:
        record: of `export`.

    Returns:
        Lines of a word and what it says.
    """
    found = [Difference(**each) for each in record["differences"]]
    worst = max(found, key=lambda each: each.difference / max(each.allowed, 1e-30))
    batches = ", ".join(str(batch) for batch in dict.fromkeys(each.batch for each in found))
    timed = record["speed"]
    runtime = "onnxruntime" if record["format"] == "onnx" else "the program"
    opset = f", opset {record['opset']}" if record["opset"] else ""
    lines = [
        ("model", f"{record['name']}: {record['model']}, {record['parameters']:,} parameters"),
        ("takes", ", ".join(_told(field) for field in record["inputs"])),
        ("gives", ", ".join(_told(field) for field in record["outputs"])),
        (
            "agrees",
            f"with PyTorch in batches of {batches}, all {len(found)} comparisons; the nearest to "
            f"its bound: {worst.output} differs by {worst.difference:.1e}, allowed "
            f"{worst.allowed:.1e}",
        ),
        (
            "speed",
            f"{runtime} {1000 * timed['graph']:.1f} ms, PyTorch {1000 * timed['eager']:.1f} ms of "
            f"process time for a batch of {timed['batch']}, one thread, median of {timed['runs']} "
            f"alternating runs: {timed['ratio']:.2f} times as fast",
        ),
        ("licence", record["licence"]),
        ("written", f"{record['file']} ({record['format']}{opset}, {record['bytes']:,} bytes)"),
    ]
    return "\n".join(f"{word:<9}{text}" for word, text in lines if text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `python -m gfla export` understands."""
    add = parser.add_argument
    parser.description = "write a trained generator as one file that needs none of this code"
    parser.epilog = (
        "Any batch, but height and width are fixed. ONNX needs the extra: pip install "
        "'gfla[export]'."
    )
    add("model", metavar="MODEL", help="a shipped name, a run's folder, a .safetensors or a .pth")
    add("--out", required=True, metavar="FILE", help="where it goes; a report is put behind, .json")
    add("--format", choices=FORMATS, help="default: what FILE ends in")
    add("--size", type=_size, metavar="HxW", help="of the pictures (default: the model's own)")
    add(
        "--frames", type=int, metavar="T", help="a clip of an animation, unrolled (default: a step)"
    )
    add("--opset", type=int, default=OPSETS[0], help=f"{OPSETS[0]} (default) to {OPSETS[-1]}")
    add("--task", choices=TASKS, help="of a .pth (default: found out)")
    add("--force", action="store_true", help="replace FILE")


def main(args: argparse.Namespace) -> None:
    """Write a model as a graph, and say how well it agrees.

    Args:
        args: as `add_arguments` declares them.
    """
    form = args.format or Path(args.out).suffix.removeprefix(".")
    _check_goal(Path(args.out), form, args.force)
    chosen = choose(args.model, args.task)
    record = export(
        chosen.model, args.out, form, args.size, args.frames, args.opset,
        origin=chosen, force=args.force,
    )  # fmt: skip
    print(describe(record))


def _size(text: str) -> tuple[int, int]:
    """(H, W) of a text such as 256x176."""
    found = re.fullmatch(r"([1-9][0-9]{0,4})[x×*]([1-9][0-9]{0,4})", text.strip())
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is no size: write height x width, as 256x176")
    return int(found[1]), int(found[2])


def _check_goal(out: Path, form: str, force: bool) -> None:
    """Refuse before the work what would be refused after it."""
    if form not in FORMATS or out.suffix != f".{form}":
        raise ValueError(
            f"--out is {str(out)!r} and the format {form!r}: give a name that ends in .onnx or "
            ".pt2, as the format says"
        )
    if out.is_dir():
        raise ValueError(f"{out} is a folder: give the name of a file in it")
    if out.exists() and not force:
        raise FileExistsError(f"{out} is there: --force replaces it, or choose another name")
    if form == "onnx":
        needed(*EXTRA)


def _refuse(found: Sequence[Difference]) -> None:
    bad = [each for each in found if not each.passed]
    if bad:
        each = bad[0]
        raise ExportError(
            f"the graph is not the model: {each.output} differs by {each.difference:.3g} in a "
            f"batch of {each.batch}, allowed {each.allowed:.3g} ({len(bad)} of {len(found)} "
            "comparisons fail); nothing was written: try another --opset, and report it"
        )


def _versions(form: str) -> dict[str, str]:
    return {name: metadata.version(name) for name in EXTRA} if form == "onnx" else {}


def _plain(several: Sequence[Field]) -> list[dict[str, Any]]:
    return [field._asdict() | {"dtype": "float32"} for field in several]


def _told(field: dict[str, Any]) -> str:
    return f"{field['name']} ({', '.join(map(str, field['shape']))})"


def _beside(out: Path) -> Path:
    return out.with_name(f"{out.name}.json")
