"""Small data sets in the layouts of the authors' views, dance and faces, written from tensors.

With them the readers can be tried where the data sets themselves are not at hand: `shapenet`,
`videos` and `face_folders` describe the layouts and read them, `procedural_sets` fills them with
procedural objects, people and faces. A video at a time is written, and added to what is there;
views are written all at once, since they lie in one file.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gfla.data import keypoints as kp
from gfla.data.clip_folders import check_phase
from gfla.data.objects import AZIMUTHS
from gfla.data.shapenet import import_h5py
from gfla.storage import atomic_write


def write_views(
    root: str | Path,
    train: Mapping[str, Tensor],
    test: Mapping[str, Tensor],
    kind: str = "chair",
) -> Path:
    """Write views of objects in the authors' ShapeNet layout; a file that is there is replaced.

    Args:
        root: the folder, made if it is not there.
        train: model -> (E, A, 3, H, W) in [-1, 1]: E elevations of 0, 10, 20 degrees from 0 on,
            and A azimuths, 18 in steps of 20 degrees or 36 in steps of 10.
        test: likewise, other models.
        kind: "chair" or "car", part of the files' names.

    Returns:
        The folder.

    Raises:
        ModuleNotFoundError: h5py is not installed.
        ValueError: another shape, a name that a group cannot have, or a model in both phases.
    """
    root = Path(root)
    if both := sorted(set(train) & set(test)):
        raise ValueError(f"{both[0]!r} is in train and in test; expected a model in one of them")
    buffer = io.BytesIO()
    lists: dict[str, list[str]] = {"train": [], "test": []}
    with import_h5py().File(buffer, "w") as file:
        for phase, models in (("train", train), ("test", test)):
            for model, views in models.items():
                elevations, azimuths = _views_of(model, views)
                pixels = _bytes(views)  # (E, A, H, W, 3)
                for e in range(elevations):
                    for a in range(azimuths):
                        number = a * 2 * AZIMUTHS // azimuths
                        name = f"{model}_{number}_{10 * e}"
                        group = file.create_group(name)
                        group["image"] = pixels[e, a]
                        group["pose"] = np.array((number, 10 * e))
                        lists[phase].append(name)
    atomic_write(root / f"data_{kind}.hdf5", buffer.getvalue())
    for phase, names in lists.items():
        atomic_write(root / f"id_{kind}_{phase}.txt", "".join(f"{name}\n" for name in names))
    return root


def write_video(
    root: str | Path,
    name: str,
    frames: Tensor,
    clean: Tensor,
    noisy: Tensor,
    masks: Tensor | None = None,
    phase: str = "train",
) -> Path:
    """Write one video of a person in the authors' dance layout.

    Coordinates are rounded to a thousandth of a pixel; one that would be 0 is written as 0.001,
    since 0 means missing there. A skeleton without any joint is written as a file without people.

    Args:
        root: the folder that holds `train_256` and `test_256`.
        name: of the video.
        frames: (T, 3, H, W) in [-1, 1].
        clean: (T, 17, 2) in Human3.6M's order, as (x, y) in pixels, -1 = missing.
        noisy: (T, 18, 2) in OpenPose's order, likewise.
        masks: (T, 1, H, W) in [0, 1], or None.
        phase: "train" or "test".

    Returns:
        The folder of the frames.

    Raises:
        ValueError: shapes that do not fit each other, or a name that is no folder's.
    """
    folder = Path(root) / f"{check_phase(phase)}_256"
    _check_clip(name, frames, {"clean": (clean, 17), "noisy": (noisy, 18)})
    if masks is not None and tuple(masks.shape) != (len(frames), 1, *frames.shape[2:]):
        raise ValueError(f"masks have shape {tuple(masks.shape)}; expected (T, 1, H, W) as frames")
    for t, picture in enumerate(_bytes(frames)):
        stem = f"{t:05d}"
        _save(folder / "train_A" / name / f"{stem}.png", picture)
        for kind, joints in (("train_video2d", clean), ("train_alphapose", noisy)):
            atomic_write(folder / kind / name / f"{stem}.json", _openpose(joints[t]))
        if masks is not None:
            mask = masks[t, 0].mul(255).round().clamp(0, 255).to(torch.uint8).cpu().numpy()
            _save(folder / "train_C" / name / f"{stem}.png", mask)
    return folder / "train_A" / name


def write_face(
    root: str | Path, name: str, frames: Tensor, landmarks: Tensor, phase: str = "train"
) -> Path:
    """Write one video of a face in the authors' layout; coordinates to a thousandth of a pixel.

    Args:
        root: the folder that holds `train_data`, `train_keypoints` and so on.
        name: of the video.
        frames: (T, 3, H, W) in [-1, 1].
        landmarks: (T, 68, 2) as (x, y) in pixels of the frames.
        phase: "train" or "test".

    Returns:
        The folder of the frames.

    Raises:
        ValueError: shapes that do not fit each other, or a name that is no folder's.
    """
    root = Path(root)
    check_phase(phase)
    _check_clip(name, frames, {"landmarks": (landmarks, 68)})
    for t, picture in enumerate(_bytes(frames)):
        _save(root / f"{phase}_data" / name / f"{t:05d}.png", picture)
        lines = "".join(f"{x:.3f},{y:.3f}\n" for x, y in landmarks[t].tolist())
        atomic_write(root / f"{phase}_keypoints" / name / f"{t:05d}.txt", lines)
    return root / f"{phase}_data" / name


def _views_of(model: str, views: Tensor) -> tuple[int, int]:
    if not re.fullmatch(r"[A-Za-z0-9-]+", model):
        raise ValueError(f"{model!r} cannot name a model: letters, digits and hyphens only")
    fits = views.ndim == 5 and 1 <= views.shape[0] <= 3 and views.shape[1] in (18, 36)
    if not fits or views.shape[2] != 3:
        raise ValueError(
            f"{model} has views of shape {tuple(views.shape)}; expected (E, A, 3, H, W) with up to "
            "3 elevations and 18 or 36 azimuths"
        )
    return views.shape[0], views.shape[1]


def _check_clip(name: str, frames: Tensor, points: Mapping[str, tuple[Tensor, int]]) -> None:
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise ValueError(f"{name!r} cannot name a video: letters, digits, '_' and '-' only")
    if frames.ndim != 4 or frames.shape[1] != 3 or not len(frames):
        raise ValueError(f"frames have shape {tuple(frames.shape)}; expected (T, 3, H, W)")
    for what, (tensor, joints) in points.items():
        if tuple(tensor.shape) != (len(frames), joints, 2):
            raise ValueError(
                f"{what} has shape {tuple(tensor.shape)}; expected ({len(frames)}, {joints}, 2)"
            )
        if not torch.isfinite(tensor).all():
            raise ValueError(f"{what} holds NaN or infinity")


def _bytes(pictures: Tensor) -> np.ndarray:
    """(..., 3, H, W) in [-1, 1] -> (..., H, W, 3) in bytes."""
    pixels = pictures.detach().add(1.0).mul(127.5).round().clamp(0, 255).to(torch.uint8)
    return np.ascontiguousarray(pixels.movedim(-3, -1).cpu().numpy())


def _save(path: Path, pixels: np.ndarray) -> None:
    atomic_write(path, lambda file: Image.fromarray(pixels).save(file, format="PNG"))


def _openpose(joints: Tensor) -> str:
    there = kp.present(joints)
    if not bool(there.any()):
        return json.dumps({"people": []})
    numbers: list[float] = []
    for (x, y), seen in zip(joints.tolist(), there.tolist()):
        numbers += [round(x, 3) or 0.001, round(y, 3) or 0.001, 1.0] if seen else [0.0, 0.0, 0.0]
    return json.dumps({"people": [{"pose_keypoints_2d": numbers}]})
