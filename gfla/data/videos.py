"""Videos of people on disk, in the layout that the authors' dance code reads.

    root/train_256/train_A/<video>/*.png            frames
    root/train_256/train_video2d/<video>/*.json     clean joints of each, Human3.6M-17
    root/train_256/train_alphapose/<video>/*.json   noisy joints of each, OpenPose-18
    root/train_256/train_C/<video>/*.png            masks of each, white = person (iPER)

(`test_256` as well, with the same names inside.) The JSON is OpenPose's: `people[0]` has
`pose_keypoints_2d`, x, y, score for each joint, in pixels of the frame, 0 = missing. A frame and
its joints have the same name but for the ending; OpenPose's `…_keypoints.json` is read too
(docs/spec.md, 7.4).
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from gfla.data import bones, clip_folders, reading
from gfla.data import keypoints as kp
from gfla.data.clip_folders import ClipFolders

_WHITE = (255, 255, 255)
_FIRST = 20  # a reference is one of the first so many frames


class DanceVideo(NamedTuple):
    """One video: frames on which a person was found, and what was found on them."""

    name: str
    frames: list[Path]
    joints: Tensor  # (N, 17, 2) clean, x, y in pixels of the frame's file, -1 = missing
    references: list[int]  # frames that can be a reference
    reference_joints: Tensor  # (len(references), 17, 2)
    masks: list[Path]  # one for each frame, or none at all


class Plan(NamedTuple):
    """What is random about a stretch."""

    reference: int  # index into `references`
    matrices: tuple[Tensor, Tensor] | None  # (3, 3) of the frames and of the reference


class FashionVideo(ClipFolders):
    """Stretches of fashion videos, from the authors' layout; see `ClipFolders` for what one holds.

    `poses` have the 20 channels of `bones.structure`: 17 heat maps in [0, 1], then the bones in
    RGB, 0 to 255. Frames carry the clean joints in Human3.6M's order; the reference carries the
    noisy ones in COCO's, so one channel means two joints, as in the authors' code, or the clean
    ones if `reference_joints` asks for it. `masks` (T, 1, H, W) in [0, 1] is there if train_C is.

    The reference is one of the video's first 20 frames, drawn at random; in phase "test" drawn too,
    but always the same one. In training the frames are turned by up to ±5 degrees, shifted by up to
    ±20 by ±3 pixels at 256x256, scaled by 0.98 to 1.02, all alike, and the reference independently
    of them; outside is white. Moved joints are cut to whole pixels at the authors' size.

    A frame on which nobody was found is left out with a warning, where the authors' code stops.

    Args:
        root: the folder described at the top of this file.
        phase: "train" or "test", part of the folder's name.
        size: (H, W) in pixels that frames are resized to (bicubic, antialiased).
        augment: move frames and reference; None = in phase "train" only.
        reference_joints: "alphapose" as the authors, or "video2d": the clean joints.
        options: `frames`, `chunk`, `workers` of `ClipFolders`.

    Raises:
        FileNotFoundError: a folder, a file of joints or a mask is not there.
        ValueError: joints do not follow their format (the message names the file), or nobody was
            found on any frame of a video.
    """

    ranges = (5.0, 20.0, 3.0, 0.98, 1.02)  # degrees, pixels of x and y at 256x256, scales
    shared = False  # the reference is moved as the frames are

    def __init__(
        self,
        root: str | Path,
        phase: str = "train",
        size: tuple[int, int] = (256, 256),
        augment: bool | None = None,
        reference_joints: str = "alphapose",
        **options: Any,
    ) -> None:
        if reference_joints not in ("alphapose", "video2d"):
            raise ValueError(
                f"reference_joints is {reference_joints!r}; expected 'alphapose' or 'video2d'"
            )
        clip_folders.check_phase(phase)
        self.augment = phase == "train" if augment is None else augment
        self.reference_joints = reference_joints
        self.folder = Path(root) / f"{phase}_256"
        layout = (
            "train_A with frames, train_video2d with joints and train_alphapose with the noisy "
            f"joints in {self.folder}, a folder for each video"
        )
        frames = reading.folder(self.folder / "train_A", layout)
        reading.folder(self.folder / "train_video2d", layout)
        if reference_joints == "alphapose":
            reading.folder(self.folder / "train_alphapose", layout)
        videos = [self._video(path) for path in reading.listing(frames)]
        if not videos:
            raise FileNotFoundError(f"{frames} holds no video: expected {layout}")
        super().__init__(phase, videos, size, **options)
        self.sigma = 6.0 * self.size[0] / 256

    def _video(self, path: Path) -> DanceVideo:
        """Find what belongs to one video, and leave out frames without a person."""
        listed = reading.listing(path, reading.PICTURES)
        if not listed:
            raise FileNotFoundError(f"{path} holds no frame: expected pictures there")
        found = [self._joints("train_video2d", path.name, frame, 17) for frame in listed]
        kept = [place for place, joints in enumerate(found) if joints is not None]
        if not kept:
            raise ValueError(f"nobody was found on any of the {len(listed)} frames of {path}")
        if len(kept) < len(listed):
            first = next(f for f, joints in zip(listed, found) if joints is None)
            warnings.warn(
                f"{path}: {len(listed) - len(kept)} of {len(listed)} frames are left out, nobody "
                f"was found on them, {first.name} first",
                stacklevel=4,
            )
        frames = [listed[place] for place in kept]
        joints = torch.stack([found[place] for place in kept])
        if self.reference_joints == "video2d":
            candidates = list(joints[:_FIRST])
        else:
            noisy = [
                self._joints("train_alphapose", path.name, frame, 18) for frame in frames[:_FIRST]
            ]
            candidates = [None if one is None else bones.coco17(one) for one in noisy]
        references = [place for place, one in enumerate(candidates) if one is not None]
        if not references:
            raise ValueError(
                f"nobody was found on the first {len(candidates)} frames of {path} in "
                "train_alphapose: none can be the reference; pass reference_joints='video2d'"
            )
        standing = torch.stack([candidates[place] for place in references])
        return DanceVideo(
            path.name, frames, joints, references, standing, self._masks(path, frames)
        )

    def _joints(self, kind: str, video: str, frame: Path, count: int) -> Tensor | None:
        folder = self.folder / kind / video
        names = (f"{frame.stem}.json", f"{frame.stem}_keypoints.json")
        path = next((folder / name for name in names if (folder / name).is_file()), None)
        if path is None:
            raise FileNotFoundError(f"{folder} holds no {names[0]}: the joints of {frame}")
        return read_joints(path, count)

    def _masks(self, path: Path, frames: list[Path]) -> list[Path]:
        folder = self.folder / "train_C"
        if not folder.is_dir():
            return []
        there = {mask.stem: mask for mask in reading.listing(folder / path.name, reading.PICTURES)}
        absent = [frame for frame in frames if frame.stem not in there]
        if absent:
            raise FileNotFoundError(
                f"{folder / path.name} holds no mask {absent[0].stem!r}: {len(absent)} of "
                f"{len(frames)} frames of {path} have none"
            )
        return [there[frame.stem] for frame in frames]

    def _plan(self, index: int, start: int, chance: torch.Generator | None) -> Plan:
        choices = len(self.videos[index].references)
        reference = int(torch.randint(choices, (), generator=chance))
        if not self.augment:
            return Plan(reference, None)
        angle, x, y, smallest, largest = self.ranges
        scaled = (angle, x * self.size[1] / 256, y * self.size[0] / 256, smallest, largest)
        moved = reading.random_affine(scaled, self.size, chance)
        other = moved if self.shared else reading.random_affine(scaled, self.size, chance)
        return Plan(reference, (moved, other))

    def _read(self, index: int, places: list[int], plan: Plan) -> dict[str, Any]:
        video = self.videos[index]
        moved, other = plan.matrices or (None, None)
        jobs = [(video.frames[place], video.joints[place], moved) for place in places]
        source = video.references[plan.reference]
        joints = video.reference_joints[plan.reference]
        read = self._each(self._frame, [*jobs, (video.frames[source], joints, other)])
        reference, reference_keypoints = read.pop()
        item = {
            "frames": torch.stack([frame for frame, _ in read]),
            "keypoints": torch.stack([joints for _, joints in read]),
            "reference": reference,
            "reference_keypoints": reference_keypoints,
            "names": [video.frames[place].name for place in places],
        }
        if video.masks:
            masks = self._each(self._mask, [(video.masks[place], moved) for place in places])
            item["masks"] = torch.stack(masks)
        return item

    def _frame(self, job: tuple[Path, Tensor, Tensor | None]) -> tuple[Tensor, Tensor]:
        path, joints, matrix = job
        picture, canvas = reading.open_picture(path, self.size)
        joints = kp.rescale(joints, canvas, self.size)
        if matrix is not None:
            picture = reading.move(picture, matrix, _WHITE)
            joints = kp.transform(joints, matrix)
        return reading.as_tensor(picture), joints

    def _mask(self, job: tuple[Path, Tensor | None]) -> Tensor:
        path, matrix = job
        bilinear = Image.Resampling.BILINEAR
        picture, _ = reading.open_picture(path, self.size, bilinear, mode="L")
        return reading.as_tensor(picture if matrix is None else reading.move(picture, matrix, 0))

    def _drawn(self, item: dict[str, Any]) -> dict[str, Any]:
        cut = self.augment and self.size == (256, 256)
        clean = bones.HUMAN36M_BONES
        other = bones.COCO_BONES if self.reference_joints == "alphapose" else clean
        for side, key, lines in (("poses", "", clean), ("reference_pose", "reference_", other)):
            joints = item[f"{key}keypoints"]
            item[side] = bones.structure(joints, self.size, lines, self.sigma, cut)
        return item


class IPER(FashionVideo):
    """Stretches of iPER videos: as `FashionVideo`, with masks, and turned only, reference alike.

    Args:
        root, phase, size, augment, reference_joints, options: as in `FashionVideo`.
    """

    ranges = (5.0, 0.0, 0.0, 1.0, 1.0)
    shared = True


def read_joints(path: str | Path, count: int) -> Tensor | None:
    """Read the joints of the first person in a JSON file of OpenPose's format.

    Args:
        path: the file.
        count: joints expected, 17 or 18.

    Returns:
        (count, 2) float32 as (x, y) in pixels of the frame, -1 where either coordinate is 0; None
        when there is no person in the file.

    Raises:
        ValueError: not JSON (the message names the line), not OpenPose's format, another number of
            joints, or a coordinate that is not a number.
    """
    path = Path(path)
    try:
        people = json.loads(path.read_text(encoding="utf-8-sig"))["people"]
        if not people:
            return None
        numbers = people[0]["pose_keypoints_2d"]
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        line = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise ValueError(f"{path}{line}: not JSON ({error})") from error
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(
            f"{path}: no people[0].pose_keypoints_2d in it; expected OpenPose's format"
        ) from error
    if not isinstance(numbers, list) or len(numbers) != 3 * count:
        told = len(numbers) if isinstance(numbers, list) else repr(numbers)[:60]
        raise ValueError(
            f"{path}: pose_keypoints_2d holds {told}, expected {3 * count} numbers: x, y, score of "
            f"{count} joints"
        )
    for place, value in enumerate(numbers):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not abs(value) < 1e6:  # NaN compares false and is refused here as well
            raise ValueError(f"{path}: number {place % 3} of joint {place // 3} is {value!r}")
    points = torch.tensor(numbers, dtype=torch.float32).reshape(count, 3)[:, :2]
    there = (points != 0).all(-1, keepdim=True)
    points = torch.where(points == kp.MISSING, kp.MISSING - 1e-3, points)  # off the picture
    return torch.where(there, points, kp.MISSING)
