"""Videos of faces on disk, in the layout that the authors' face code reads.

    root/train_data/<video>/*.png          frames
    root/train_keypoints/<video>/*.txt     landmarks of each: 68 lines "x,y" in pixels of the frame

(`test_…` as well; `train_keypoint` is read too, since the authors' own script writes that.) A frame
and its landmarks have the same name but for the ending (docs/spec.md, 7.3).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gfla.data import clip_folders, reading
from gfla.data.clip_folders import ClipFolders, Video
from gfla.data.faces import structure

LANDMARKS = 68


class FaceVideo(ClipFolders):
    """Stretches of face videos, from the authors' layout; see `ClipFolders` for what an item holds.

    `poses` have the 16 channels of `gfla.data.faces.structure`. The reference is the first frame
    of the stretch, so the first target equals it, as in the authors' training; there is no
    augmentation, as there.

    Args:
        root: the folder described at the top of this file.
        phase: "train" or "test", part of the folders' names.
        size: (H, W) in pixels that frames are resized to (bicubic, antialiased).
        options: `frames`, `chunk`, `workers` of `ClipFolders`.

    Raises:
        FileNotFoundError: a folder, a frame or a file of landmarks is not there.
        ValueError: another phase; or, when a frame is read, landmarks that do not follow their
            format: the message names file and line.
    """

    def __init__(
        self,
        root: str | Path,
        phase: str = "train",
        size: tuple[int, int] = (256, 256),
        **options: Any,
    ) -> None:
        self.root = Path(root)
        clip_folders.check_phase(phase)
        layout = (
            f"{self.root} to hold {phase}_data/<video>/*.png and {phase}_keypoints/<video>/*.txt"
        )
        data = reading.folder(self.root / f"{phase}_data", layout)
        singular = self.root / f"{phase}_keypoint"
        plural = self.root / f"{phase}_keypoints"
        self.landmarks = reading.folder(
            singular if singular.is_dir() and not plural.is_dir() else plural, layout
        )
        videos = []
        for path in reading.listing(data):
            frames = reading.listing(path, reading.PICTURES)
            absent = [f for f in frames if not self._beside(path.name, f).is_file()]
            if absent:
                raise FileNotFoundError(
                    f"no landmarks {self._beside(path.name, absent[0])}: {len(absent)} of "
                    f"{len(frames)} frames of {path} have none; take these frames out"
                )
            if frames:
                videos.append(Video(path.name, frames))
        if not videos:
            raise FileNotFoundError(f"{data} holds no video: expected {layout}")
        super().__init__(phase, videos, size, **options)

    def _beside(self, video: str, frame: Path) -> Path:
        return self.landmarks / video / f"{frame.stem}.txt"

    def _plan(self, index: int, start: int, chance: torch.Generator | None) -> int:
        return start

    def _read(self, index: int, places: list[int], plan: int) -> dict[str, Any]:
        video = self.videos[index]
        jobs = places if plan in places else [*places, plan]
        read = dict(zip(jobs, self._each(lambda place: self._frame(video, place), jobs)))
        reference, reference_pose = read[plan]
        return {
            "frames": torch.stack([read[place][0] for place in places]),
            "poses": torch.stack([read[place][1] for place in places]),
            "reference": reference,
            "reference_pose": reference_pose,
            "names": [video.frames[place].name for place in places],
        }

    def _frame(self, video: Video, place: int) -> tuple[Tensor, Tensor]:
        path = video.frames[place]
        picture, (height, width) = reading.open_picture(path, self.size)
        frame = reading.as_tensor(picture)
        scale = torch.tensor((self.size[1] / width, self.size[0] / height))
        points = read_landmarks(self._beside(video.name, path)) * scale
        return frame, structure(points, frame, self.size)


def read_landmarks(path: str | Path) -> Tensor:
    """Read one file of landmarks.

    Args:
        path: 68 lines "x,y"; empty lines are passed over.

    Returns:
        (68, 2) float32 as (x, y) in pixels of the frame.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line that is not two finite numbers, or another number of lines; the message
            names the file and the line.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no landmarks {path}: expected {LANDMARKS} lines x,y there")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text ({error})") from error
    points = [_point(line, f"{path}, line {n}") for n, line in enumerate(lines, 1) if line.strip()]
    if len(points) != LANDMARKS:
        raise ValueError(
            f"{path}, line {len(lines)}: ends after {len(points)} landmarks; expected {LANDMARKS}"
        )
    return torch.tensor(points, dtype=torch.float32)


def _point(line: str, where: str) -> tuple[float, float]:
    try:
        x, y = (float(number) for number in line.split(","))
    except ValueError:
        raise ValueError(f"{where}: {line[:60]!r} is not two numbers x,y") from None
    if not (math.isfinite(x) and math.isfinite(y) and max(abs(x), abs(y)) < 1e6):
        raise ValueError(f"{where}: {line[:60]!r}; expected x,y in pixels of the frame")
    return x, y
