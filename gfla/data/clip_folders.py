"""Videos on disk as folders of frames: stretches of consecutive frames, batches of them, chunks.

The authors train on up to 30 consecutive frames, in chunks of 6 with an optimiser step each, and
test whole videos in chunks of 6, the last frame repeated to fill the last chunk (docs/spec.md,
sections 6 and 8). `videos` and `face_folders` say what lies in the folders.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from gfla.data import reading

_OF_FRAMES = ("frames", "poses", "masks", "keypoints")  # keys whose second axis is time


class Video(NamedTuple):
    """One video: its name, and its frames in order."""

    name: str
    frames: list[Path]


class ClipFolders(Dataset):
    """What every data set of videos does; `FashionVideo` and `FaceVideo` say what a stretch holds.

    An item is a stretch of consecutive frames of one video: `frames` (T, 3, H, W) float32 in
    [-1, 1], `poses` (T, K, H, W), `reference` (3, H, W), `reference_pose` (K, H, W), and `names`,
    the frames' file names. In phase "train" a stretch begins anywhere and T is a multiple of
    `chunk` where the video is long enough; in phase "test" it begins with the video and nothing is
    cut. Whole videos are read with `chunks`.

    Args:
        phase: "train" or "test".
        videos: what the folders hold; a video has at least one frame.
        size: (H, W) in pixels that frames are resized to (bicubic, antialiased).
        frames: the longest stretch.
        chunk: frames that the network takes at once.
        workers: threads that decode frames; 0 = none.

    Raises:
        ValueError: another phase, no video, or a size, stretch or chunk that is none.
    """

    def __init__(
        self,
        phase: str,
        videos: Sequence[Video],
        size: tuple[int, int],
        frames: int = 30,
        chunk: int = 6,
        workers: int = 0,
    ) -> None:
        if frames < 1 or chunk < 1:
            raise ValueError(f"frames is {frames}, chunk is {chunk}: expected at least 1 each")
        self.phase, self.size = phase, reading.positive(size)
        self.videos, self.frames, self.chunk, self.workers = videos, frames, chunk, workers
        self._order = reading.Order(len(videos))

    def __len__(self) -> int:
        return len(self.videos)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Read one stretch; in phase "train" chance comes from torch's global generator."""
        length = self._length([index])
        return self._drawn(self._stretch(index, length, self._chance(index)))

    def batch(
        self, step: int, count: int, seed: int = 0, device: str | torch.device = "cpu"
    ) -> dict[str, Any]:
        """Give the stretches of one training step; they depend on nothing but (step, count, seed).

        The order of the videos is an endless row of shuffled passes, as in `folders.DeepFashion`.
        All stretches are as long as the shortest video among them allows.

        Args:
            step: from 0.
            count: stretches in the batch.
            seed: of the order, the beginnings, the references and the augmentation.
            device: where tensors are put; heat maps and bones are drawn there.

        Returns:
            The keys of an item, tensors stacked along a first axis B = count; `names` is a list of
            lists.

        Raises:
            ValueError: a step below 0 or a count below 1.
        """
        row = reading.places(step, count)
        chosen = [self._order.at(place, seed) for place in row]
        length = self._length(chosen)
        items = [
            self._stretch(index, length, self._chance(index, seed, place))
            for index, place in zip(chosen, row)
        ]
        names = [item.pop("names") for item in items]
        stacked = {key: torch.stack([i[key] for i in items]).to(device) for key in items[0]}
        return {**self._drawn(stacked), "names": names}

    def chunks(self, index: int, device: str | torch.device = "cpu") -> Iterator[dict[str, Any]]:
        """Read one whole video chunk by chunk, as the test does.

        Args:
            index: of the video.
            device: where tensors are put.

        Yields:
            The keys of a batch with B = 1 and T = `chunk`, and `real`, how many of the frames are
            the video's own: the rest repeat its last. The reference is the same throughout.
        """
        plan = self._plan(index, 0, reading.generator(0, "item", index))
        last = len(self.videos[index].frames) - 1
        for start in range(0, last + 1, self.chunk):
            places = [min(start + t, last) for t in range(self.chunk)]
            item = self._read(index, places, plan)
            names = item.pop("names")
            one = {key: value.unsqueeze(0).to(device) for key, value in item.items()}
            real = min(self.chunk, last + 1 - start)
            yield {**self._drawn(one), "names": [names], "real": real}

    def _chance(
        self, index: int, seed: int | None = None, place: int = 0
    ) -> torch.Generator | None:
        """Make what chance comes from; in phase "test" the same for a video whoever asks."""
        if self.phase == "test":
            return reading.generator(0, "item", index)
        return None if seed is None else reading.generator(seed, "clip", place)

    def _length(self, indices: list[int]) -> int:
        length = min(self.frames, *(len(self.videos[index].frames) for index in indices))
        if self.phase == "train" and length >= self.chunk:
            length -= length % self.chunk
        return length

    def _stretch(self, index: int, length: int, chance: torch.Generator | None) -> dict[str, Any]:
        start = 0
        if self.phase == "train":
            free = len(self.videos[index].frames) - length + 1
            start = int(torch.randint(free, (), generator=chance))
        plan = self._plan(index, start, chance)
        return self._read(index, list(range(start, start + length)), plan)

    def _plan(self, index: int, start: int, chance: torch.Generator | None) -> Any:
        """Draw all that is random about a stretch but its beginning."""
        raise NotImplementedError

    def _read(self, index: int, places: list[int], plan: Any) -> dict[str, Any]:
        """Read frames, reference and what their poses are drawn from."""
        raise NotImplementedError

    def _drawn(self, item: dict[str, Any]) -> dict[str, Any]:
        """Draw the poses, of one item or of a batch."""
        return item

    def _each(self, read: Any, jobs: list[Any]) -> list[Any]:
        """Decode several pictures, with threads where there are some."""
        if not self.workers:
            return [read(job) for job in jobs]
        with ThreadPoolExecutor(self.workers) as pool:
            return list(pool.map(read, jobs))


def split(batch: dict[str, Any], chunk: int = 6) -> Iterator[dict[str, Any]]:
    """Cut a batch of stretches into chunks, one for each step of the optimiser.

    Args:
        batch: as `ClipFolders.batch` returns it, `frames` (B, T, 3, H, W) and so on.
        chunk: frames in a chunk; the last frame is repeated where T is no multiple of it.

    Yields:
        The same keys without `names`: what belongs to a frame cut, the reference whole.

    Raises:
        ValueError: a chunk below 1.

    >>> clip = {"frames": torch.arange(8.0).reshape(1, 8), "reference": torch.zeros(1)}
    >>> [part["frames"].tolist() for part in split(clip)]
    [[[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]], [[6.0, 7.0, 7.0, 7.0, 7.0, 7.0]]]
    """
    if chunk < 1:
        raise ValueError(f"chunk is {chunk}: expected at least 1 frame")
    length = batch["frames"].shape[1]
    for start in range(0, length, chunk):
        places = torch.arange(start, start + chunk).clamp_max(length - 1)
        yield {
            key: value[:, places.to(value.device)] if key in _OF_FRAMES else value
            for key, value in batch.items()
            if isinstance(value, Tensor)
        }


def check_phase(phase: str) -> str:
    """Refuse a phase that is none.

    Args:
        phase: "train" or "test".

    Returns:
        The same.

    Raises:
        ValueError: anything else.
    """
    if phase not in ("train", "test"):
        raise ValueError(f"phase is {phase!r}; expected 'train' or 'test'")
    return phase
