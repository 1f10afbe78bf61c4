"""Which model is asked for, and what it learned from: whoever shows its pictures must say so."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from gfla import checkpoint, journal, storage
from gfla.model import GFLA, load
from gfla.streams import PROCEDURAL

NEVER = "The model has never seen a photograph"


class Origin(NamedTuple):
    """A model and where it comes from."""

    model: GFLA  # in eval mode
    name: str  # as it was asked for, without folders
    sha256: str  # of its file
    photographs: bool | None  # whether it learned from photographs; None = nobody says
    told: str  # the same as a sentence, for every caption
    published: bool = False  # the authors' weights: their way to draw key points is meant
    task: str = "fashion"  # of the authors' weights
    licence: str = ""  # empty = this project's

    @property
    def shape(self) -> tuple[int, int]:
        """Sides of what the canvas shows, (H, W): DeepFashion's pictures were squeezed to a square.

        Only their ratio counts.
        """
        return (256, 176) if self.published and self.task == "fashion" else self.model.size


def origin(name: str) -> Origin:
    """Load a model that moves people, and find out what it has learned from.

    Args:
        name: of a shipped model ("people", "ablation-bilinear", …), or path of a .safetensors file:
            one of our own runs, or one that `python -m gfla import` made of the authors'.

    Returns:
        The model and its origin. Our shipped models learned from procedural people; the authors'
        from photographs; of a run of one's own the configuration beside it tells.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: no such name, a file of another kind, or a model that does not move people.
        gfla.storage.CheckpointError: the file is damaged, or no model.
    """
    path = Path(name)
    if path.suffix:
        if path.suffix != ".safetensors":
            raise ValueError(
                f"{path} is no .safetensors file: `python -m gfla import` converts what the "
                "authors published"
            )
        model, file = checkpoint.load_model(path), path
    else:
        model, file = load(name), storage.weights_dir() / f"{name}.safetensors"
    _, header = storage.load_safetensors(file)
    if not isinstance(model, GFLA) or model.arguments["pose_channels"] != 18:
        raise ValueError(
            f"{name} is a {type(model).__name__}, which does not move a person by 18 key points: "
            "take people, or a model of DeepFashion or Market-1501"
        )
    digest = storage.sha256(file)
    if "released" in header:
        which = _listed(header["released"])
        told = f"The model is the authors', of {which}: it learned from photographs."
        licence = str(header.get("licence", ""))
        return Origin(
            model, path.name, digest, True, told, True, header.get("task", "fashion"), licence
        )
    shipped = storage.read_manifest(storage.weights_dir()).values()
    if digest in {entry["sha256"] for entry in shipped}:
        return Origin(model, path.name, digest, False, _drawn("people"))
    return Origin(model, path.name, digest, *_of_a_run(file))


def _of_a_run(file: Path) -> tuple[bool | None, str]:
    """What the configuration beside a run's model says."""
    recipe: Any = {}
    if (file.parent / journal.CONFIG).is_file():
        recipe = storage.read_json(file.parent / journal.CONFIG)
    data = (recipe.get("config") or recipe).get("data") if isinstance(recipe, dict) else None
    source = data.get("source") if isinstance(data, dict) else None
    if source in PROCEDURAL:
        return False, _drawn(source)
    if source:
        return None, f"The model learned from the pictures in {Path(source).name}."
    return None, "What the model learned from is not told: it may never have seen a photograph."


def _drawn(what: str) -> str:
    return (
        f"{NEVER}: it learned from procedural {what}, which the code drew. What it makes of "
        "one is a test, not a likeness."
    )


def _listed(released: Any) -> str:
    names = released if isinstance(released, list) else [released]
    return " or ".join(map(str, names)) or "an unknown set"
