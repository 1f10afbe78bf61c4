"""What enters a generator and what leaves it, by name: the arguments and results of a graph.

`source`, `source_pose`, `target_pose` go in, of objects `source_view` and `target_view`, of
animations `pose`, `reference`, …; out come `image`, `flow_3`, `flow_2`, …, `mask_3`, …,
`weights_3`, …, one of each for every level with attention, coarse → fine; of an animation
`flow_3_previous`, `flow_3_reference`, ….
"""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gfla.animation import Animation
from gfla.data.keypoints import heatmaps
from gfla.model import KINDS, Model
from gfla.types import Image, Pose, View
from gfla.view_codes import ELEVATIONS
from gfla.views import AppearanceFlow, Views

_PICTURE, _MAPS = ("RGB, -1 black, 1 full", (-1.0, 1.0)), ("a map for each joint", (0.0, 1.0))
_CODE = ("one-hot azimuth, then one-hot elevation", (0.0, 1.0))
_MEANINGS = {  # name, or what it begins with: what it says and where it lies; longest first
    "source_pose": _MAPS,
    "source_view": _CODE,
    "target_view": _CODE,
    "reference_pose": _MAPS,
    "previous_pose": _MAPS,
    "target_pose": _MAPS,
    "pose": _MAPS,
    "source": _PICTURE,
    "reference": _PICTURE,
    "previous": _PICTURE,
    "image": _PICTURE,
    "flow": ("dx to the right, dy down, in pixels of this level, target to source", None),
    "mask": ("share of what was read from the source", (0.0, 1.0)),
    "weights": ("the kernel inside the patch, row by row, sums to 1", (0.0, 1.0)),
}


class Field(NamedTuple):
    """One tensor that enters or leaves a graph."""

    name: str
    shape: tuple[int | str, ...]  # "batch" where any length will do
    range: tuple[float, float] | None  # where its values lie; None: anywhere
    meaning: str


class _Entrance(nn.Module):
    """A model whose arguments have the names of the graph's inputs, and which returns by name."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def name(self, output: NamedTuple) -> dict[str, Tensor]:
        sources = ("_previous", "_reference") if isinstance(self.model, Animation) else ("",)
        levels = sorted(self.model.arguments["kernel_sizes"], reverse=True)  # coarse → fine
        places = [f"{level}{source}" for level in levels for source in sources]
        named = {"image": output.image}
        for what in ("flow", "mask", "weights"):
            several = getattr(output, what if what == "weights" else f"{what}s")
            named |= {f"{what}_{k}": x for k, x in zip(places, several, strict=False)}
        return named


class _Person(_Entrance):
    def forward(self, source: Image, source_pose: Pose, target_pose: Pose) -> dict[str, Tensor]:
        return self.name(self.model(source, source_pose, target_pose))


class _Object(_Entrance):
    def forward(self, source: Image, source_view: View, target_view: View) -> dict[str, Tensor]:
        return self.name(self.model(source, source_view, target_view))


class _Frame(_Entrance):
    def forward(
        self,
        pose: Pose,
        reference: Image,
        reference_pose: Pose,
        previous: Image,
        previous_pose: Pose,
    ) -> dict[str, Tensor]:
        return self.name(self.model.step(pose, reference, reference_pose, previous, previous_pose))


class _Clip(_Entrance):
    def forward(self, poses: Tensor, reference: Image, reference_pose: Pose) -> dict[str, Tensor]:
        return self.name(self.model(poses, reference, reference_pose))


def entrance(model: Model, frames: int | None = None) -> nn.Module:
    """The model as a graph will be: the arguments' names, and a dict of outputs by name.

    Args:
        model: of one of the classes in `gfla.model.KINDS`; it is copied to the CPU, in float32 and
            eval mode.
        frames: T of a whole clip; None is all that other models have, and one step of an animation,
            which the caller repeats with the last image as `previous`.

    Returns:
        A module; `entrance(model)(**inputs)["image"]`.

    Raises:
        ValueError: something else than such a model, frames of a model without, or below 1.
    """
    if not isinstance(model, tuple(KINDS.values())):
        raise ValueError(f"a {type(model).__name__} is no generator: give one of {sorted(KINDS)}")
    if frames is not None and not isinstance(model, Animation):
        raise ValueError(f"frames={frames}: a {type(model).__name__} makes single pictures")
    if frames is not None and frames < 1:
        raise ValueError(f"frames={frames}: a clip has one frame or more; its number is fixed")
    model = copy.deepcopy(model).to("cpu", torch.float32).eval()
    for module in model.modules():
        if hasattr(module, "backend"):
            module.backend = "auto"
    if isinstance(model, Animation):
        return (_Frame if frames is None else _Clip)(model)
    return (_Object if isinstance(model, Views | AppearanceFlow) else _Person)(model)


def example(
    model: Model,
    batch: int = 2,
    size: tuple[int, int] | None = None,
    frames: int | None = None,
    seed: int = 0,
) -> dict[str, Tensor]:
    """Inputs of a graph by name: waves of colour, and joints or views drawn by chance.

    Args:
        model, frames: as `entrance`.
        batch: pictures, each another.
        size: (H, W) of them; None is the model's own.
        seed: of the chance.

    Returns:
        Tensors of float32 on the CPU, within the ranges of `fields`.
    """
    dice = torch.Generator("cpu").manual_seed(seed)
    height, width = size or model.size
    rows, columns = torch.arange(height)[:, None] / height, torch.arange(width) / width

    def picture() -> Tensor:
        a, b, c = 12 * torch.rand(3, batch, 3, 1, 1, generator=dice)
        return torch.cos(a * rows + c) * torch.cos(b * columns)  # (B, 3, H, W)

    def pose(*axes: int) -> Tensor:
        joints = torch.rand(*axes, model.arguments["pose_channels"], 2, generator=dice)
        return heatmaps(joints * torch.tensor([width, height]), (height, width))

    def view() -> Tensor:
        azimuths = model.arguments["view_channels"] - ELEVATIONS
        one = torch.eye(azimuths)[torch.randint(azimuths, (batch,), generator=dice)]
        two = torch.eye(ELEVATIONS)[torch.randint(ELEVATIONS, (batch,), generator=dice)]
        return torch.cat([one, two], 1)[..., None, None]  # (B, K, 1, 1)

    if isinstance(model, Views | AppearanceFlow):
        return {"source": picture(), "source_view": view(), "target_view": view()}
    if not isinstance(model, Animation):
        return {"source": picture(), "source_pose": pose(batch), "target_pose": pose(batch)}
    poses = {"pose": pose(batch)} if frames is None else {"poses": pose(batch, frames)}
    still = {"reference": picture(), "reference_pose": pose(batch)}
    before = {"previous": picture(), "previous_pose": pose(batch)} if frames is None else {}
    return poses | still | before


def fields(program: torch.export.ExportedProgram) -> tuple[tuple[Field, ...], tuple[Field, ...]]:
    """What enters a program of `to_program` and what leaves it.

    Args:
        program: as it was recorded, or read again.

    Returns:
        Inputs and outputs, in order.
    """
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    entering = program.graph_signature.user_inputs
    leaving = program.graph_signature.user_outputs
    names = program.call_spec.out_spec.unflatten(list(range(len(leaving))))
    return (
        tuple(_field(name, values[name]) for name in entering),
        tuple(_field(name, values[node]) for name, node in zip(names, leaving, strict=True)),
    )


def _field(name: str, value: Tensor) -> Field:
    meaning, limits = next(known for start, known in _MEANINGS.items() if name.startswith(start))
    shape = tuple(length if isinstance(length, int) else "batch" for length in value.shape)
    return Field(name, shape, limits, meaning)


def told(field: Field) -> str:
    """A field as a line of text."""
    limits = "" if field.range is None else f", in [{field.range[0]:g}, {field.range[1]:g}]"
    return f"{field.name} ({', '.join(map(str, field.shape))}): {field.meaning}{limits}"
