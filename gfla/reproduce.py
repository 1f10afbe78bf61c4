"""One command that regenerates everything: run the notebook street, keep what it drew and found.

Every run gets a folder of its own, `results/runs-<date>-<commit>/`, and in it one folder a
notebook: the executed notebook, `figures/`, `tables/`, `numbers.json`, `outcome.json`.
`manifest.json` says what was run and with what, and is written again after every notebook, so that
an interrupted run is still legible.  A run whose folder was named goes on where it stopped.
"""

from __future__ import annotations

import argparse
import ast
import json
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from gfla import config, ledger, meanwhile, notebooks, outcomes, storage
from gfla.outcomes import Outcome, publish, summary
from gfla.profiles import PROFILES


def reproduce(
    profile: str = "cpu",
    seed: int = 0,
    device: str = "auto",
    only: Sequence[str] = (),
    parameters: Mapping[str, Any] | None = None,
    stop_on_error: bool = False,
    where: Path | None = None,
    to: str | Path | None = None,
    manifest: bool = True,
) -> tuple[Path, list[Outcome]]:
    """Run notebooks through papermill, each into a folder of its own.

    With `to`, a notebook that is done there already, with these parameters and from the same cells,
    is not run again; anything else under its name is set aside, not lost.  Several processes may
    fill one folder, as long as no two of them run the same notebook.

    Args:
        profile: "smoke" (a check, under a minute each), "cpu" (minutes) or "gpu" (paper size).
        seed: the seed every notebook gets.
        device: "auto", "cpu", "cuda" or "mps".
        only: numbers or names of those wanted; all by default.
        parameters: more of the notebooks' parameters, name -> value that JSON can hold; they reach
            the notebooks as JSON returns them, a tuple as a list and the names in a dict as text.
        stop_on_error: leave the rest out after the first failure.
        where: another folder of notebooks than the project's own.
        to: the run's folder, instead of a new one under results/.
        manifest: write that of the run after every notebook; False leaves it to another call.

    Returns:
        (the run's folder, what became of each notebook that was wanted).

    Raises:
        ValueError: unknown profile, device, notebook or parameter, the message lists the choices;
            a parameter that JSON cannot hold; or `to` holds a run with other parameters.
        FileNotFoundError: there are no notebooks.
    """
    if profile not in PROFILES:
        raise ValueError(f"unknown profile {profile!r}: choose one of {', '.join(PROFILES)}")
    chosen = config.pick_device(device)
    paths = notebooks.street(only, where)
    given = _as_json({"profile": profile, "seed": seed, "device": device, **(parameters or {})})
    for path in paths:
        check_parameters(path, given)
    folder = _new_folder() if to is None else Path(to).resolve()
    known = outcomes.read(folder, given)
    found: list[Outcome] = []
    for number, path in enumerate(paths, 1):
        before = known.get(path.stem)
        if before and before.state == "done" and before.source == notebooks.source_digest(path):
            found.append(before)
        elif stop_on_error and any(outcome.state == "failed" for outcome in found):
            found.append(Outcome(path.stem, "not run", 0.0, path.stem))
        else:
            found.append(run_one(path, given, folder, f"{path.stem} ({number}/{len(paths)})"))
            outcomes.keep(folder, found[-1], given)
        if manifest:
            unrun = [outcome for outcome in found if outcome.state == "not run"]
            outcomes.gather(folder, given, chosen, unrun)
    return folder, found


def _as_json(given: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters as they come back from a file, with which they will be compared."""
    found = {}
    for name, value in given.items():
        try:
            found[name] = json.loads(json.dumps(value))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"parameter {name}={value!r}: {error}; give numbers, text, lists and dicts"
            ) from error
    return found


def _new_folder() -> Path:
    stamp = datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S")
    name = f"runs-{stamp}-{ledger.commit().rstrip('+')}"
    return storage.new_folder(storage.root() / "results", name)


def check_parameters(path: Path, given: Mapping[str, Any]) -> None:
    """Refuse parameters a notebook does not have; papermill itself would only warn.

    Args:
        path: the notebook.
        given: name -> value.

    Raises:
        ValueError: naming the unknown parameter and the known ones.
    """
    import papermill

    with _quiet():
        known = papermill.inspect_notebook(str(path))
    for name in given:
        if name not in known:
            names = ", ".join(known) or "none"
            raise ValueError(f"{path.name} has no parameter {name!r}: it knows {names}")


def run_one(path: Path, given: Mapping[str, Any], folder: Path, title: str) -> Outcome:
    """Run one notebook into `folder/<its name>/`.

    The notebook is written under its own name only when every cell ran; a failed one stays beside
    as `failed.ipynb`, with the error in it.

    Args:
        path: the notebook.
        given: its parameters.
        folder: the run's folder.
        title: what the progress bar says.

    Returns:
        What became of it.
    """
    import papermill

    place = folder / path.stem
    place.parent.mkdir(parents=True, exist_ok=True)
    outcomes.set_aside(place)
    unfinished = place / "failed.ipynb"
    began = time.monotonic()
    outcome = Outcome(path.stem, "done", 0.0, path.stem)
    outcome.source, outcome.commit = notebooks.source_digest(path), ledger.commit()
    interactive = sys.stderr.isatty()
    if not interactive:
        print(title, flush=True)
    bar = {"desc": title, "leave": False} if interactive else False
    try:
        with _quiet(), meanwhile.environment(ledger.RUN_DIR, str(place)):
            executed = notebooks.started(
                lambda: papermill.execute_notebook(
                    path,
                    unfinished,
                    dict(given),
                    cwd=path.parent,
                    progress_bar=bar,
                    extra_arguments=notebooks.KERNEL_ARGUMENTS,
                )
            )
        notebooks.write(place / path.name, executed)
        unfinished.unlink()
    except Exception as error:  # whatever it was, the other notebooks may still run
        outcome.state = "failed"
        outcome.error = str(error).strip().splitlines()[-1] if str(error) else repr(error)
    outcome.seconds = round(time.monotonic() - began, 1)
    outcome.figures = sorted(f"figures/{file.name}" for file in place.glob("figures/*.png"))
    outcome.tables = sorted(f"tables/{file.name}" for file in place.glob("tables/*.csv"))
    if (place / "numbers.json").exists():
        outcome.numbers = storage.read_json(place / "numbers.json")
    return outcome


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `python -m gfla reproduce` understands."""
    add = parser.add_argument
    add("--profile", default="cpu", metavar="|".join(PROFILES), help="how much (default: cpu)")
    add("--only", nargs="+", default=[], metavar="NN", help="numbers or names of notebooks")
    add("--seed", type=int, default=0, help="the seed every notebook gets (default: 0)")
    add("--device", default="auto", help="auto, cpu, cuda or mps (default: auto)")
    add("--to", metavar="FOLDER", help="the run's folder, which goes on if it was begun")
    add("--no-manifest", action="store_true", help="with --to: leave it to a later call")
    add("-p", action="append", default=[], metavar="NAME=VALUE", help="another parameter")
    add("--stop-on-error", action="store_true", help="leave the rest out after a failure")
    add("--publish", action="store_true", help="copy figures and tables to results/ at the end")


def main(args: argparse.Namespace) -> int:
    """Run the street and print what became of it.

    Args:
        args: as `add_arguments` declares them.

    Returns:
        0, or 1 when a notebook failed.
    """
    parameters = dict(map(parse_parameter, args.p))
    if args.no_manifest and not args.to:
        raise ValueError("--no-manifest leaves it to a later call: name the folder with --to")
    folder, found = reproduce(
        args.profile, args.seed, args.device, args.only, parameters, args.stop_on_error,
        to=args.to, manifest=not args.no_manifest,
    )  # fmt: skip
    print(f"\n{summary(found)}\nEverything lies in {folder}")
    if args.publish:
        print(f"{len(publish(folder, found))} files copied to {storage.root() / 'results'}")
    return 0 if all(outcome.state == "done" for outcome in found) else 1


def parse_parameter(text: str) -> tuple[str, Any]:
    """Read `name=value`; the value is a Python literal, anything else is text.

    Raises:
        ValueError: there is no name or no `=`.

    Example:
        >>> parse_parameter("steps=200"), parse_parameter("preset=tiny")
        (('steps', 200), ('preset', 'tiny'))
    """
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise ValueError(f"parameter {text!r}: write it as name=value")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


@contextmanager
def _quiet():
    """Keep papermill's own log lines off the screen; errors arrive as exceptions."""
    logger = logging.getLogger("papermill")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
