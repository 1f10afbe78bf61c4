"""What a training run writes down: its configuration, its log, its sample strips."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

import gfla
from gfla import storage
from gfla.config import YOUNGER, Config
from gfla.metrics import upsample_flow
from gfla.model import GFLA
from gfla.sampling import warp

CONFIG, LOG, STATE, MODEL = "config.json", "log.jsonl", "state.pt", "model.safetensors"


def describe(config: Config, stage: str, seed: int, device: torch.device) -> dict[str, Any]:
    """All that identifies a run, ready for JSON."""
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
    }


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
def draw(model: GFLA, stage: str, batch: dict[str, torch.Tensor], path: Path) -> None:
    """A strip of pairs as PNG: in stage "flow", the source warped by the flow stands for the image.

    Args:
        model: asked in eval mode.
        stage: "flow" or "full".
        batch: at least source, target and both poses.
        path: the picture's final name.
    """
    from gfla import viz  # brings Matplotlib along, which a run without strips does not need

    training = model.training
    model.eval()
    inputs = batch["source"], batch["source_pose"], batch["target_pose"]
    if stage == "full":
        output = model(*inputs)
    else:
        flows, masks = model.flow(*inputs)
        image = warp(batch["source"], upsample_flow(flows[-1], batch["source"].shape[-2:]))
        output = SimpleNamespace(image=image, flows=flows, masks=masks)
    model.train(training)
    figure = viz.strip(batch, output)
    storage.atomic_write(path, lambda file: figure.savefig(file, format="png"))
