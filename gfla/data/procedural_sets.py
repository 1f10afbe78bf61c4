"""Procedural objects, people and faces, written to disk in the authors' layouts.

The road from files to pictures for views and videos, as `sample` has it for still people. Nobody of
the phase "train" is in the phase "test".
"""

from __future__ import annotations

from pathlib import Path

import torch

from gfla.data import bones, motion, objects, portraits
from gfla.data.detector import NOISY, Detector
from gfla.data.small_sets import write_face, write_video, write_views

_LAST = 10_000_000 - 1  # seeds from here on are not for files that are trained on


def procedural_views(
    root: str | Path,
    count: int = 2,
    tests: int = 1,
    kind: str = "chair",
    size: tuple[int, int] = (64, 64),
    seed: int = 0,
    elevations: int = 3,
) -> Path:
    """Write procedural objects in the authors' ShapeNet layout.

    Args:
        root: the folder.
        count: models of phase "train".
        tests: models of phase "test".
        kind: "chair" or "car".
        size: (H, W) in pixels.
        seed: of `objects.views`; a training seed, below 10,000,000.
        elevations: how many of 0, 10 and 20 degrees.

    Returns:
        The folder.

    Raises:
        ValueError: a count below 1 or a seed that is kept for measuring.
    """
    _check_counts(count, tests, seed)
    phases = []
    for phase, models, start in (("train", count, seed), ("test", tests, seed + 1)):
        turned = torch.stack(
            [
                objects.views(models, size=size, seed=start, classes=(kind,), elevation=e)["frames"]
                for e in range(elevations)
            ],
            dim=1,
        )  # (models, E, 18, 3, H, W)
        phases.append({f"{kind}{phase}{i}": views for i, views in enumerate(turned)})
    return write_views(root, *phases, kind=kind)


def procedural_videos(
    root: str | Path,
    count: int = 2,
    tests: int = 1,
    frames: int = 12,
    size: tuple[int, int] = (64, 64),
    seed: int = 0,
    noise: Detector = NOISY,
) -> Path:
    """Write clips of procedural people, with masks, in the authors' dance layout.

    The clean joints are the true ones, brought into Human3.6M's order; the noisy ones are what a
    detector with mistakes found of them.

    Args:
        root: the folder.
        count: clips of phase "train".
        tests: clips of phase "test".
        frames: of each clip.
        size: (H, W) in pixels.
        seed: of `motion.clips`; a training seed, below 10,000,000.
        noise: the detector.

    Returns:
        The folder.

    Raises:
        ValueError: a count below 1 or a seed that is kept for measuring.
    """
    _check_counts(count, tests, seed)
    for phase, clips, start in (("train", count, seed), ("test", tests, seed + 1)):
        made = motion.clips(clips, frames=frames, size=size, seed=start, noise=noise)
        clean = bones.human36m17(made["clean_keypoints"])
        for i in range(clips):
            name = f"{phase}{i:03d}"
            drawn, found, mask = (made[key][i] for key in ("frames", "keypoints", "foreground"))
            write_video(root, name, drawn, clean[i], found, mask.float(), phase)
    return Path(root)


def procedural_faces(
    root: str | Path,
    count: int = 2,
    tests: int = 1,
    frames: int = 12,
    size: tuple[int, int] = (64, 64),
    seed: int = 0,
) -> Path:
    """Write clips of procedural faces with their landmarks in the authors' face layout.

    Args:
        root: the folder.
        count: clips of phase "train".
        tests: clips of phase "test".
        frames: of each clip.
        size: (H, W) in pixels.
        seed: of `portraits.clips`; a training seed, below 10,000,000.

    Returns:
        The folder.

    Raises:
        ValueError: a count below 1 or a seed that is kept for measuring.
    """
    _check_counts(count, tests, seed)
    for phase, clips, start in (("train", count, seed), ("test", tests, seed + 1)):
        made = portraits.clips(clips, frames=frames, size=size, seed=start)
        for i in range(clips):
            name = f"{phase}{i:03d}"
            write_face(root, name, made["frames"][i], made["landmarks"][i], phase)
    return Path(root)


def _check_counts(count: int, tests: int, seed: int) -> None:
    if count < 1 or tests < 1:
        raise ValueError(f"count is {count}, tests is {tests}: expected at least 1 each")
    if not 0 <= seed < _LAST:
        raise ValueError(f"seed is {seed}: the files are trained on, expected 0 to 9,999,998")
