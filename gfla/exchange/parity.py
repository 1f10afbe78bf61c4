"""Do imported weights do what the authors' networks did with them?  Two answers, of unequal worth.

`golden` is a proof for the importer and the architecture: random weights, drawn from the published
names and shapes, are imported like a file, and the result is compared with arrays that the original
network gave for the same weights.  `self_check` is none: it runs the imported network once and says
what came out, which shows damage and no more, because nothing is known to compare it with.
"""

from __future__ import annotations

import hashlib
import math
import os
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gfla import storage
from gfla.data.keypoints import heatmaps
from gfla.exchange.layouts import KEYPOINT, layout
from gfla.exchange.published import imported

TOLERANCE = 1e-4  # absolute for pictures and masks, of the largest value for everything else
GRID = 4  # the digest is of the means of GRID × GRID fields: single values differ between machines
Arrays = Mapping[str, np.ndarray]


class Golden(NamedTuple):
    """Arrays that an original network gave."""

    file: str  # its name without ending, in the folder of golden arrays
    seed: int  # of the random weights
    run: Callable[[nn.Module, Arrays], dict[str, Tensor]]  # name of an array → what ours gives


class Parity(NamedTuple):
    """How far an imported network is from the original one, on random weights."""

    file: str  # "" where there was nothing to compare with
    error: float  # the largest difference, counted as TOLERANCE says
    line: str  # the same in words

    @property
    def passed(self) -> bool:
        """Whether it was compared, and agreed."""
        return bool(self.file) and self.error <= TOLERANCE


class SelfCheck(NamedTuple):
    """What an imported network gave for a fixed input."""

    finite: bool
    low: float
    high: float
    spread: float  # standard deviation
    digest: str  # of coarse means, rounded to 3 digits
    line: str  # the same in words


def draw(key: str, shape: tuple[int, ...], seed: int) -> Tensor:
    """Random weights of one tensor, from its published name, its shape and a seed.

    Args:
        key: published name; decides the numbers, and their size for norms, biases and vectors.
        shape: of the tensor.
        seed: of the whole network.

    Returns:
        The tensor on the CPU, the same on every machine.

    >>> round(draw("block0.model.1.weight_u", (8,), 3).norm().item(), 3)
    1.0
    """
    generator = torch.Generator("cpu").manual_seed((zlib.crc32(key.encode()) + seed) % 2**31)
    x = torch.randn(shape, generator=generator)
    if key.endswith(("weight_u", "weight_v")):
        return x / max(x.norm().item(), 1e-12)
    if len(shape) >= 2:
        return x * math.sqrt(2 * shape[0] / x.numel())  # fan-in of one output channel
    return 1 + 0.1 * x if key.endswith(("weight", "weight_orig")) else 0.1 * x


def random_weights(task: str, part: str, seed: int) -> dict[str, Tensor]:
    """A published state_dict of random weights, every tensor once.

    Args: task, part: of `gfla.exchange.layouts.network`; seed.  Returns published name → tensor.
    """
    return {key: draw(key, shape, seed) for key, shape in layout(task, part).items()}


def golden(task: str, part: str, folder: str | Path | None = None) -> Parity:
    """Import random weights and compare with what the original network gave for them.

    Args:
        task, part: of `gfla.exchange.layouts.network`.
        folder: of the golden arrays; None takes the one that the environment variable GFLA_GOLDEN
            names, else the checkout's `tests/golden`.

    Returns:
        Parity; its `file` is "" where there are no arrays of this network.
    """
    folder = Path(folder or os.environ.get("GFLA_GOLDEN") or storage.root() / "tests" / "golden")
    known = _GOLDEN.get((task, part))
    if known is None or not (folder / f"{known.file}.npz").is_file():
        wanted = f"{known.file}.npz is not in {folder.name}" if known else "none was ever made"
        return Parity("", math.nan, f"not compared: no golden arrays of this network ({wanted})")
    with np.load(folder / f"{known.file}.npz") as file:
        arrays = dict(file)
    net = imported(random_weights(task, part, known.seed), task, part)
    with torch.no_grad():
        found = known.run(net, arrays)
    error = max(_difference(value, arrays[name], name) for name, value in found.items())
    verdict = "agrees with" if error <= TOLERANCE else "DIFFERS from"
    line = (
        f"with random weights, imported the same way, this network {verdict} the original one: "
        f"{error:.1e} at most, allowed {TOLERANCE:g} ({known.file}.npz)"
    )
    return Parity(f"{known.file}.npz", error, line)


def self_check(net: nn.Module, task: str, part: str) -> SelfCheck:
    """Run an imported network once, on an input that is always the same.

    Args:
        net: of `gfla.exchange.published.imported`, in eval mode.
        task, part: as there.

    Returns:
        SelfCheck of the picture, of the finest flow, of the scores, or of the key points.
    """
    with torch.no_grad():
        found = net(*fixed_input(net, task, part))
    value = getattr(found, "image", found)
    value = value.flows[-1] if hasattr(value, "flows") else value
    low, high, spread = value.min().item(), value.max().item(), value.std().item()
    finite = bool(torch.isfinite(value).all())
    planes = value.flatten(0, -3) if value.ndim > 2 else value[None]
    coarse = F.adaptive_avg_pool2d(planes.double(), GRID)
    rounded = torch.where(coarse.isfinite(), (coarse * 1000).round(), 0).long()
    digest = hashlib.sha256(rounded.numpy().tobytes()).hexdigest()[:12]
    said = [f"finite, from {low:.3f} to {high:.3f}, spread {spread:.3f}, digest {digest}"]
    if not finite:
        said = ["NOT FINITE: these weights are damaged"]
    elif part == "generator" and spread < 0.01:
        said.append("hardly anything in the picture: these weights may not be trained")
    said.append("no proof: nothing is known to compare it with")
    return SelfCheck(finite, low, high, spread, digest, "; ".join(said))


def fixed_input(net: nn.Module, task: str, part: str) -> tuple[Tensor, ...]:
    """What `self_check` gives to a network: waves for a picture, a spiral of joints for a pose.

    Args: as `self_check`.  Returns the arguments of the network's forward, a batch of one.

    >>> [tuple(x.shape) for x in fixed_input(nn.Identity(), "shapenet", "generator")]
    [(1, 3, 256, 256), (1, 21, 1, 1), (1, 21, 1, 1)]
    """
    height, width = size = (128, 64) if task == "market" else (256, 256)
    rows = torch.arange(height).view(1, -1, 1) / height
    columns = torch.arange(width).view(1, 1, -1) / width
    colours = torch.arange(1, 4).view(-1, 1, 1)
    image = (torch.cos(9 * colours * rows) * torch.cos((5 + 2 * colours) * columns))[None]

    def pose(joints: int, turn: float = 0.0) -> Tensor:
        step = torch.arange(joints)
        angle, far = 2.4 * step + turn, 0.1 + 0.3 * step / joints
        around = torch.stack([torch.cos(angle) * far, torch.sin(angle) * far], 1)
        return heatmaps((0.5 + around) * torch.tensor([width, height]), size)[None]

    if part == "motion":
        return (torch.sin(torch.arange(34).view(1, -1, 1) + torch.arange(104) / 9),)  # (1, 34, T)
    if part == "temporal":
        clip = torch.stack([image.roll(4 * t, -1) for t in range(6)], 2)  # (1, 3, T, H, W)
        pair = torch.cat([clip[:, :, 1] - clip[:, :, 0], clip[:, :, 2] - clip[:, :, 1]], 1)
        return (pair,) if task == "face" else (clip,)
    if part == "discriminator":
        return (image,)
    if task == "shapenet":
        views = [F.one_hot(torch.tensor([a, 18]), 21).sum(0).float() for a in (2, 6)]
        return image, *(view.view(1, 21, 1, 1) for view in views)
    if task in ("face", "dance"):
        joints = 16 if task == "face" else 20
        moved, still = pose(joints, 0.3), pose(joints)
        if part == "flow":
            return moved, image, still, image, still
        return moved[:, None], image, still
    return image, pose(18), pose(18, 0.3)


def _picture(bytes_: np.ndarray) -> Tensor:
    return torch.from_numpy(bytes_.astype(np.float32) / np.float32(127.5) - np.float32(1))


def _person(net: nn.Module, arrays: Arrays) -> dict[str, Tensor]:
    image = _picture(arrays["source_u8"])
    if "bp1" in arrays:
        poses = [torch.from_numpy(arrays[name]) for name in ("bp1", "bp2")]
    else:  # (row, column) of each joint
        points = [torch.from_numpy(arrays[name]).float() for name in ("kp1_yx", "kp2_yx")]
        poses = [heatmaps(p.flip(-1), tuple(image.shape[-2:])) for p in points]
    return _named(net(image, *poses))


def _object(net: nn.Module, arrays: Arrays) -> dict[str, Tensor]:
    views = [torch.from_numpy(arrays[name]) for name in ("code1", "code2")]
    return _named(net(_picture(arrays["source_u8"]), *views))


def _named(output: NamedTuple) -> dict[str, Tensor]:
    found = {f"flow{i}": flow for i, flow in enumerate(output.flows)}
    found |= {f"mask{i}": mask for i, mask in enumerate(output.masks)}
    return found | ({"img_gen": output.image} if hasattr(output, "image") else {})


def _clip(net: nn.Module, arrays: Arrays) -> dict[str, Tensor]:
    steps, pose = (torch.from_numpy(arrays[name]) for name in ("bp_steps", "bp_reference"))
    clip = net(steps, _picture(arrays["reference_u8"]), pose)
    found = {f"img{t}": clip.image[:, t] for t in (0, 1)}
    return found | {f"flow_f{t}_{i}": clip.flows[i][:, t] for t in (0, 1) for i in range(4)}


def _scores(net: nn.Module, arrays: Arrays) -> dict[str, Tensor]:
    seen = arrays.get("input_u8")
    seen = torch.from_numpy(arrays["input"]) if seen is None else _picture(seen)
    return {"out_train_1iter": net.train()(seen)}  # the first pass moves u and v by one step


def _motion(net: nn.Module, arrays: Arrays) -> dict[str, Tensor]:
    return {"out": net(torch.from_numpy(arrays["kp"]))}


def _difference(found: Tensor, wanted: np.ndarray, name: str) -> float:
    """The largest difference; stored arrays may have every 4th pixel only."""
    stride = found.shape[-1] // wanted.shape[-1]
    found = found[..., ::stride, ::stride] if stride > 1 else found
    largest = 1.0 if name.startswith(("img", "mask")) else max(float(np.abs(wanted).max()), 1e-12)
    return float(np.abs(found.numpy() - wanted).max()) / largest


_GOLDEN = {
    ("fashion", "generator"): Golden("pose_generator_fashion256", 0, _person),
    ("market", "generator"): Golden("pose_generator_market128x64", 1, _person),
    ("fashion", "flow"): Golden("pose_flownet_fashion", 2, _person),
    ("market", "flow"): Golden("pose_flownet_market", 2, _person),
    ("shapenet", "generator"): Golden("shapenet_generator256", 3, _object),
    ("face", "generator"): Golden("face_generator64", 4, _clip),
    ("dance", "generator"): Golden("dance_generator64", 5, _clip),
    (KEYPOINT, "motion"): Golden("kpinput2d", 6, _motion),
    ("face", "temporal"): Golden("disc_face_DV", 8, _scores),
    ("dance", "temporal"): Golden("disc_dance_DV", 8, _scores),
    ("market", "discriminator"): Golden("disc_market", 8, _scores),
    **{
        (task, "discriminator"): Golden("disc_fashion", 8, _scores)  # one layout for the four
        for task in ("fashion", "shapenet", "face", "dance")
    },
}
