"""What a training run writes down: its configuration, its log, its sample strips."""

from __future__ import annotations

import itertools
import json
import platform
import statistics
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

import gfla
from gfla import distributed, passes, storage
from gfla.config import YOUNGER, Config
from gfla.metrics import upsample_flow
from gfla.pictures import to_uint8
from gfla.sampling import warp

CONFIG, LOG, STATE, MODEL = "config.json", "log.jsonl", "state.pt", "model.safetensors"


def describe(config: Config, stage: str, seed: int, device: torch.device) -> dict[str, Any]:
    """All that identifies a run, and the call of `torchrun` that works on it, ready for JSON."""
    launch = distributed.launch()
    return {
        "preset": config.preset,
        "digest": config.digest(),
        "stage": stage,
        "seed": seed,
        "device": str(device),
        "versions": {
            "gfla": gfla.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        "config": config.to_dict(),
    } | ({"launch": launch} if launch else {})


def rewind(path: Path, step: int) -> None:
    """Drop the lines of a log that were written after `step`, a torn last line included.

    A run that was killed may have logged steps that its last checkpoint does not know; resumed, it
    takes them again.
    """
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except ValueError:  # the line during which the process died
            break
    storage.atomic_write(path, "".join(kept))


def append(path: Path, row: dict[str, Any]) -> None:
    """Add one line to a log."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def read(path: str | Path) -> list[dict[str, Any]]:
    """The lines of a log, in order.

    Args:
        path: log.jsonl, or the folder of the run that holds it.

    Returns:
        one dict per line.

    Raises:
        FileNotFoundError: there is none.
    """
    path = Path(path)
    path = path / LOG if path.is_dir() else path
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def pace(path: str | Path, skip: int = 2) -> float:
    """How fast a run went: median of optimiser steps per second of wall time.

    Args:
        path: log.jsonl, or the folder of the run that holds it.
        skip: lines at the beginning that do not count, while caches and threads are cold.

    Returns:
        steps a second between neighbouring lines; what was measured, drawn or saved between them
        counts as well.

    Raises:
        ValueError: fewer than two lines are left.
    """
    rows = read(path)[skip:]
    if len(rows) < 2:
        raise ValueError(
            f"{path} has {len(rows)} lines after the first {skip}, expected at least 2"
        )
    pairs = itertools.pairwise(rows)
    return statistics.median(
        (b["step"] - a["step"]) / (b["seconds"] - a["seconds"]) for a, b in pairs
    )


def changes(before: dict, now: dict, stage: str) -> list[str]:
    """The fields that differ between two configurations and change the numbers of `stage`.

    How often something is written, how far batches are made ahead, the length of the run and the
    other stage may differ; everything else makes another run. A field that `before` does not know
    had the value that it had before it was one.
    """
    free = {"data.prefetch", f"{stage}.steps"}
    found = []
    for section in ("model", "data", "features", "optim", stage):
        for name, value in now[section].items():
            old = before.get(section, {}).get(name, YOUNGER.get(f"{section}.{name}"))
            if old != value and f"{section}.{name}" not in free:
                found.append(f"{section}.{name}: {old!r} then, {value!r} now")
    return found


@torch.no_grad()
def draw(
    model: nn.Module,
    stage: str,
    batch: dict[str, torch.Tensor],
    path: Path,
    kind: str = "people",
) -> None:
    """A strip of what a model makes, as PNG: warped by the flow, where stage "flow" has no picture.

    Args:
        model: asked in eval mode.
        stage: "flow" or "full".
        batch: holds at least `passes.inputs(kind)`.
        path: the picture's final name.
        kind: of the model, see `gfla.passes`.
    """
    from gfla import viz  # brings Matplotlib along, which a run without strips does not need

    training = model.training
    model.eval()
    done = passes.run(model, stage, batch, kind)
    model.train(training)
    judged = done.judged[-1]  # of an animation, the reference
    image = done.image
    if image is None:
        image = warp(judged.source, upsample_flow(judged.flows[-1], done.target.shape[-2:]))
    if kind == "people":
        output = SimpleNamespace(image=image, flows=judged.flows, masks=judged.masks)
        figure = viz.strip(batch, output)
    else:
        rows = zip(judged.source[:8], image[:8], done.target[:8], strict=True)
        cells = [[to_uint8(picture) for picture in row] for row in rows]
        figure = viz.grid(cells, ["source", "ours", "target"])
    storage.atomic_write(path, lambda file: figure.savefig(file, format="png"))
