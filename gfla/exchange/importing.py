"""The authors' file into one of our own: what fitted, what did not, and safetensors with a header.

    report = convert("latest_net_G.pth", "fashion.safetensors")     # task and part are found out
    model = gfla.checkpoint.load_model("fashion.safetensors")

On the command line: `python -m gfla import latest_net_G.pth --out fashion.safetensors`.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from gfla import __version__, storage
from gfla.exchange import parity, pickled
from gfla.exchange.fitting import Fit, fill, fit
from gfla.exchange.layouts import KEYPOINT, PARTS, alike, network, recognise, same_layout
from gfla.exchange.parity import Parity, SelfCheck
from gfla.exchange.pickled import Pickled
from gfla.exchange.released import LICENCE, candidates
from gfla.model import TASKS, parameters
from gfla.storage import CheckpointError


class Report(NamedTuple):
    """What lay in a file, and what of it fits which network; names are the file's or published."""

    source: str  # file name, without its folder
    sha256: str
    size: int  # bytes
    form: str  # "zip", "legacy" or "memory": `gfla.exchange.pickled.Pickled`
    task: str
    part: str
    recognised: bool  # task and part were found out, not said
    alike: float  # 1 when all names and shapes agree with the layout
    released: tuple[str, ...]  # names of `gfla.exchange.released.RELEASED` that have this layout
    matched: int  # tensors of the network that the file has
    expected: int  # tensors that the network has
    numbers: int  # learned numbers found
    expected_numbers: int  # learned numbers that the network has
    fit: Fit  # every name: aliases, derived, ignored, missing, wrong, …
    others: tuple[str, ...]  # entries of the file that are no tensors of real numbers


def examine(
    path_or_state_dict: str | Path | Mapping, task: str | None = None, part: str | None = None
) -> Report:
    """Look into a published file, and change nothing.

    Args:
        path_or_state_dict: the file, or what is in it.
        task: of `gfla.exchange.layouts.network`; None finds it out.
        part: of `gfla.exchange.layouts.PARTS`; None finds it out.

    Returns:
        Report, also of a file that does not fit: `report.fit.complete` says so.

    Raises:
        FileNotFoundError, gfla.storage.CheckpointError: as `gfla.exchange.pickled.read`, or the
            file is of no published network and task or part is not given.
        ValueError: another task or part.
    """
    return _examine(path_or_state_dict, task, part)[0]


def convert(
    path: str | Path,
    out: str | Path,
    task: str | None = None,
    part: str | None = None,
    force: bool = False,
) -> Report:
    """Write a published file as safetensors that rebuild the network.

    Args:
        path: the authors' file.
        out: the new one. A generator's is read by `gfla.checkpoint.load_model`, one of another part
            by `load_part`.
        task, part: as in `examine`.
        force: replace `out`.

    Returns:
        The Report, which is also in the header of `out`, with the licence, the checksum of `path`,
        the parity line and the self-check.

    Raises:
        FileExistsError: `out` is there, and `force` is not set.
        gfla.storage.CheckpointError: something is missing or wrong; nothing is written.
        FileNotFoundError, ValueError: as `examine`.
    """
    _check_free(out, force)
    report, net = _filled(path, task, part)
    _write(out, net, report, *_checks(net, report))
    return report


def load_part(path: str | Path, sha256: str | None = None) -> nn.Module:
    """The network that `convert` wrote, of whichever part.

    Args:
        path: the file.
        sha256: the checksum it must have; by default the one in the manifest beside it, if any.

    Returns:
        The network in eval mode, on the CPU.

    Raises:
        FileNotFoundError: there is no such file.
        gfla.storage.CheckpointError: another checksum, a damaged file, or not one of `convert`.
    """
    tensors, header = storage.load_safetensors(path, sha256)
    if not {"task", "part"} <= header.keys():
        raise CheckpointError(
            f"{path} does not say which task and part it is of: give a file that "
            "`python -m gfla import` wrote; gfla.checkpoint.load_model reads all other models"
        )
    try:
        net = network(header["task"], header["part"])
        net.load_state_dict(tensors, assign=True)
    except (ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{path} does not fit this version's network ({error}): import the authors' file again"
        ) from error
    return net.eval()


def describe(report: Report) -> str:
    """The report in lines, for people.

    Args:
        report: of `examine` or `convert`.

    Returns:
        Lines of a word and what it says.
    """
    fitted = report.fit
    how = "recognised by its names" if report.recognised else "as asked"
    size = f", {report.size:,} bytes, form {report.form}, sha256 {report.sha256}"
    lines = [
        ("file", report.source + (size if report.sha256 else "")),
        ("network", f"task {report.task}, part {report.part}, {how}; {report.alike:.0%} alike"),
        ("may be", " or ".join(report.released) or "none of the released seven"),
        (
            "matched",
            f"{report.matched} of {report.expected} tensors, {report.numbers:,} of "
            f"{report.expected_numbers:,} learned numbers",
        ),
        ("aliases", f"{len(fitted.aliases)} second names of tensors that are there"),
    ]
    rows = {
        "renamed": ("taken under a second name", fitted.renamed),
        "disagree": ("whose second name has other numbers (first taken)", fitted.disagreeing),
        "derived": ("computed from weight and u", fitted.derived),
        "untrained": ("layers of another shape, begun at random", fitted.untrained),
        **{f"ignored {i}": (why, keys) for i, (why, keys) in enumerate(fitted.ignored.items(), 1)},
        "missing": ("not in the file", fitted.missing),
        "wrong": ("do not fit", fitted.wrong),
        "no tensor": ("entries of something else, ignored", report.others),
    }
    for word, (why, keys) in rows.items():
        if keys:
            few = ", ".join(keys[:3]) + (", …" if len(keys) > 3 else "")
            lines.append((word.rstrip(" 0123456789"), f"{len(keys)} {why}: {few}"))
    lines.append(("licence", LICENCE))
    return "\n".join(f"{word:<11}{text}" for word, text in lines)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `python -m gfla import` understands."""
    add = parser.add_argument
    parser.description = "read a file that the authors published, and write it as safetensors"
    parser.epilog = LICENCE
    add("path", metavar="PATH", help="the authors' .pth; nothing in it is executed")
    add("--task", choices=[*TASKS, KEYPOINT], help="default: found out from the names in the file")
    add("--part", choices=PARTS, help="default: found out")
    add("--out", metavar="FILE", help="the new .safetensors; without it, only the report")
    add("--force", action="store_true", help="replace FILE")


def main(args: argparse.Namespace) -> None:
    """Print the report of a published file, and write it anew if asked to.

    Args:
        args: as `add_arguments` declares them.
    """
    if args.out:
        _check_free(args.out, args.force)
    report, net = _filled(args.path, args.task, args.part)
    print(describe(report))
    check, compared = _checks(net, report)
    print(f"{'self-check':<11}{check.line}\n{'parity':<11}{compared.line}")
    if not args.out:
        print("nothing written: --out FILE.safetensors converts it")
        return
    digest = _write(args.out, net, report, check, compared)
    reader = (
        "checkpoint.load_model" if report.part == "generator" else "exchange.importing.load_part"
    )
    print(f"{'written':<11}{args.out}, sha256 {digest}; gfla.{reader} reads it")


def _examine(
    path_or_state_dict: str | Path | Mapping, task: str | None, part: str | None
) -> tuple[Report, nn.Module, Pickled]:
    task = KEYPOINT if part == "motion" else task
    asked = bool(task and part)
    if asked:
        network(task, part)  # is there such a thing? before a large file is read
    content = pickled.read(path_or_state_dict)
    if not asked:
        task, part, *_ = recognise(content.tensors, task, part)
    net = network(task, part)
    fitted = fit(net, task, part, content.tensors)
    learned = {name: tensor.numel() for name, tensor in net.named_parameters()}
    memory = isinstance(path_or_state_dict, Mapping)
    report = Report(
        source="a state_dict in memory" if memory else Path(path_or_state_dict).name,
        sha256=content.sha256,
        size=content.size,
        form=content.form,
        task=task,
        part=part,
        recognised=not asked,
        alike=alike(content.tensors, task, part),
        released=tuple(candidates(same_layout(task, part), part)),
        matched=len(fitted.found),
        expected=len(net.state_dict()),
        numbers=sum(learned.get(name, 0) for name in fitted.found),
        expected_numbers=parameters(net),
        fit=fitted,
        others=content.others,
    )
    return report, net, content


def _filled(
    path_or_state_dict: str | Path | Mapping, task: str | None, part: str | None
) -> tuple[Report, nn.Module]:
    report, net, content = _examine(path_or_state_dict, task, part)
    return report, fill(net, report.fit, content.tensors, (report.task, report.part))


def _checks(net: nn.Module, report: Report) -> tuple[SelfCheck, Parity]:
    check = parity.self_check(net, report.task, report.part)
    if not check.finite:
        raise CheckpointError(
            f"{report.source} gives no finite numbers for an ordinary input: it is damaged; "
            "download it again"
        )
    return check, parity.golden(report.task, report.part)


def _check_free(out: str | Path, force: bool) -> None:
    if Path(out).suffix != ".safetensors":
        raise ValueError(f"--out is {str(out)!r}: give a name that ends in .safetensors")
    if Path(out).exists() and not force:
        raise FileExistsError(f"{out} is there: --force replaces it, or choose another name")


def _write(
    out: str | Path, net: nn.Module, report: Report, check: SelfCheck, compared: Parity
) -> str:
    fitted = report.fit
    header: dict[str, Any] = {
        "model": type(net).__name__,
        "task": report.task,
        "part": report.part,
        "released": report.released,
        "licence": LICENCE,
        "source": {
            "file": report.source,
            "sha256": report.sha256,
            "bytes": report.size,
            "form": report.form,
        },
        "converter": f"gfla {__version__}",
        "report": {
            "matched": report.matched,
            "numbers": report.numbers,
            "aliases": len(fitted.aliases),
            "renamed": len(fitted.renamed),
            "disagreeing": fitted.disagreeing,
            "derived": len(fitted.derived),
            "untrained": fitted.untrained,
            "ignored": {why: len(keys) for why, keys in fitted.ignored.items()},
        },
        "self_check": check.line,
        "parity": compared.line,
    }
    if hasattr(net, "arguments"):
        header["arguments"] = net.arguments
    return storage.save_safetensors(out, net.state_dict(), header)
