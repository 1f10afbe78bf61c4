"""Data sets on disk, in the layouts that the authors' DeepFashion and Market-1501 code reads.

    root/train/*.jpg   root/fasion-pairs-train.csv   root/fasion-annotation-train.csv
    root/test/*.jpg    root/fasion-pairs-test.csv    root/fasion-annotation-test.csv

("fasion" is the authors' spelling; "fashion" is read as well, "market" for Market-1501.) A pairs
file has the columns `from,to`; the key-point file is that of `keypoints.read_annotations`. Pictures
are resized to the network's size whatever their shape, and key points from the canvas they were
measured on, 256x176 for DeepFashion, to the same size (docs/spec.md, 7.1).
"""

from __future__ import annotations

import csv
import hashlib
import re
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from gfla.data import keypoints as kp
from gfla.data.sample import flattened, write_sample

__all__ = ["DeepFashion", "Market1501", "flattened", "write_sample"]

_LARGEST = 64_000_000  # pixels; a header that promises more is refused before it is decoded


class DeepFashion(Dataset):
    """Pairs of pictures of one person with their poses, from the authors' DeepFashion layout.

    An item is a dict: `source`, `target` (3, H, W) float32 in [-1, 1]; `source_pose`, `target_pose`
    (18, H, W) heat maps in [0, 1]; `source_keypoints`, `target_keypoints` (18, 2) as (x, y) in
    pixels of H x W, -1 = missing; `names`, the two file names.

    Heat maps have σ = 6 pixels at the authors' size and shrink or grow with H at any other. Joints
    are cut to whole pixels at the authors' size, as there, and not at any other.

    Args:
        root: the folder described at the top of this file.
        phase: "train" or "test", part of the names of folder and files.
        size: (H, W) in pixels that pictures are resized to (bilinear, antialiased).
        canvas: (h, w) in pixels that the key-point file refers to.
        sigma: standard deviation of the heat maps in pixels; None = the rule above.
        truncate: cut joints to whole pixels; None = the rule above.
        workers: threads that `batch` decodes pictures with; 0 = none.

    Raises:
        FileNotFoundError: a folder, a list or a picture is not there.
        ValueError: a list does not follow its format, names a file outside the folder, or names
            pictures without key points; the message names the file and, if there is one, the line.
    """

    spellings = ("fasion", "fashion")  # of the lists' names, in the order they are looked for
    paper_size = (256, 256)  # (H, W) that the authors' network and their σ are made for
    paper_canvas = (256, 176)  # (h, w) that the authors' key points refer to

    def __init__(
        self,
        root: str | Path,
        phase: str = "train",
        size: tuple[int, int] | None = None,
        canvas: tuple[int, int] | None = None,
        sigma: float | None = None,
        truncate: bool | None = None,
        workers: int = 0,
    ) -> None:
        self.root, self.phase, self.workers = Path(root), phase, workers
        self.size = _positive(size or self.paper_size, "size")
        self.canvas = _positive(canvas or self.paper_canvas, "canvas")
        exact = self.size == self.paper_size
        self.sigma = 6.0 * self.size[0] / self.paper_size[0] if sigma is None else sigma
        self.truncate = exact if truncate is None else truncate
        self.folder = self.root / phase
        if not self.folder.is_dir():
            raise FileNotFoundError(
                f"no folder {self.folder}: expected {self.root} to hold the pictures of phase "
                f"{phase!r} there and two lists beside it; see data/README.md"
            )
        self._annotation_file = self._find("annotation")
        self._pairs_file = self._find("pairs")
        self._skeletons = kp.read_annotations(self._annotation_file)
        self.pairs = _read_pairs(self._pairs_file)
        self._check_names()
        self._check_canvas()
        self._order: tuple[tuple[int, int], Tensor] | None = None  # the last epoch's order

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Read one pair; see the class for what it holds."""
        pair = self._read(index)
        for side in ("source", "target"):
            pair[f"{side}_pose"] = self._heatmaps(pair[f"{side}_keypoints"])
        return pair

    def batch(
        self, step: int, count: int, seed: int = 0, device: str | torch.device = "cpu"
    ) -> dict[str, Any]:
        """Give the pairs of one training step; they depend on nothing but (step, count, seed).

        The order is an endless row of shuffled passes over the data, each pair once in a pass; step
        t takes places t · count to (t + 1) · count - 1. A run resumed at step t reads what it would
        have read without the interruption.

        Args:
            step: from 0.
            count: pairs in the batch; more than the data set has is allowed, pairs come again.
            seed: of the order, and of augmentation where a class has it.
            device: where tensors are put; heat maps are drawn there.

        Returns:
            The keys of an item, tensors stacked along a first axis B = count; `names` is a list.

        Raises:
            ValueError: a step below 0 or a count below 1.
        """
        if step < 0 or count < 1:
            raise ValueError(f"step is {step}, count is {count}: expected at least 0 and 1")
        places = range(step * count, (step + 1) * count)
        jobs = [(self._at(place, seed), _generator(seed, "pair", place)) for place in places]
        if self.workers:
            with ThreadPoolExecutor(self.workers) as pool:
                items = list(pool.map(lambda job: self._read(*job), jobs))
        else:
            items = [self._read(*job) for job in jobs]
        names = [item.pop("names") for item in items]
        batch: dict[str, Any] = {
            key: torch.stack([item[key] for item in items]).to(device) for key in items[0]
        }
        for side in ("source", "target"):
            batch[f"{side}_pose"] = self._heatmaps(batch[f"{side}_keypoints"])
        return {**batch, "names": names}

    def _at(self, place: int, seed: int) -> int:
        """Look up which pair comes at a place of the endless shuffled row."""
        epoch, index = divmod(place, len(self.pairs))
        if self._order is None or self._order[0] != (seed, epoch):
            order = torch.randperm(len(self.pairs), generator=_generator(seed, "order", epoch))
            self._order = (seed, epoch), order
        return int(self._order[1][index])

    def _read(self, index: int, generator: torch.Generator | None = None) -> dict[str, Any]:
        source, target = self.pairs[index]
        pair: dict[str, Any] = {"names": (source, target)}
        for side, name in (("source", source), ("target", target)):
            picture = _open(self.folder / name, self.size)
            skeleton = kp.rescale(self._skeletons[name], self.canvas, self.size)
            picture, skeleton = self._augment(picture, skeleton, side, generator)
            pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)  # (3, H, W)
            pair[side] = pixels.to(torch.float32).div(127.5).sub(1.0)
            pair[f"{side}_keypoints"] = skeleton
        return pair

    def _augment(
        self, picture: Image.Image, skeleton: Tensor, side: str, generator: torch.Generator | None
    ) -> tuple[Image.Image, Tensor]:
        """Leave the pair as it is: the authors do not augment DeepFashion."""
        return picture, skeleton

    def _heatmaps(self, skeletons: Tensor) -> Tensor:
        return kp.heatmaps(skeletons, self.size, self.sigma, self.truncate)

    def _find(self, kind: str) -> Path:
        names = [f"{spelling}-{kind}-{self.phase}.csv" for spelling in self.spellings]
        for name in names:
            if (self.root / name).is_file():
                return self.root / name
        raise FileNotFoundError(f"{self.root} holds no {' or '.join(names)}; see data/README.md")

    def _check_names(self) -> None:
        """Find out before training, not in its third hour, that something is not there."""
        names = dict.fromkeys(name for pair in self.pairs for name in pair)
        without = [name for name in names if name not in self._skeletons]
        if without:
            count = sum(not self._skeletons.keys() >= set(pair) for pair in self.pairs)
            raise ValueError(
                f"{count} of {len(self.pairs)} pairs in {self._pairs_file} name {len(without)} "
                f"pictures without key points in {self._annotation_file}, {without[0]!r} first: "
                "annotate them or take these pairs out"
            )
        there = {entry.name for entry in self.folder.iterdir()}
        absent = [name for name in names if name not in there]
        if absent:
            raise FileNotFoundError(
                f"no picture {self.folder / absent[0]}: {len(absent)} of {len(names)} pictures "
                f"that {self._pairs_file} names are missing from {self.folder}"
            )
        self._skeletons = {name: self._skeletons[name] for name in names}

    def _check_canvas(self) -> None:
        """Catch key points that were measured on pictures of another size."""
        joints = torch.stack(list(self._skeletons.values()))  # (N, 18, 2)
        joints = joints[kp.present(joints)]
        height, width = self.canvas
        inside = (joints >= 0).all(-1) & (joints[:, 0] < width) & (joints[:, 1] < height)
        if len(joints) and int(inside.sum()) * 2 < len(joints):
            raise ValueError(
                f"{len(joints) - int(inside.sum())} of {len(joints)} joints in "
                f"{self._annotation_file} lie outside the canvas of {height}x{width} pixels: pass "
                "canvas=(height, width) of the pictures they were measured on"
            )


class Market1501(DeepFashion):
    """Pairs from the authors' Market-1501 layout, moved about a little in training as theirs are.

    Source: turned by up to ±5 degrees, shifted by up to ±5 pixels, scaled by 0.95 to 1.05; target,
    drawn independently: a fifth of the angle, half of the shift, no scaling. Pictures are moved
    with nearest-pixel sampling and grey (128) outside (docs/spec.md, 7.1).

    Args:
        root, phase, size, canvas, sigma, truncate, workers: as in `DeepFashion`; size and canvas
            are 128x64 here.
        augment: move the pairs; None = in phase "train" only. An item read by its index draws
            from torch's global generator, a batch from (step, seed).
    """

    spellings = ("market",)
    paper_size = (128, 64)
    paper_canvas = (128, 64)

    def __init__(
        self, root: str | Path, phase: str = "train", augment: bool | None = None, **options: Any
    ) -> None:
        super().__init__(root, phase, **options)
        self.augment = phase == "train" if augment is None else augment

    def _augment(
        self, picture: Image.Image, skeleton: Tensor, side: str, generator: torch.Generator | None
    ) -> tuple[Image.Image, Tensor]:
        if not self.augment:
            return picture, skeleton
        angle, x, y, scale = (2.0 * torch.rand(4, generator=generator) - 1.0).tolist()
        if side == "source":
            matrix = kp.affine_matrix(5 * angle, (5 * x, 5 * y), 1 + 0.05 * scale, self.size)
        else:
            matrix = kp.affine_matrix(angle, (2.5 * x, 2.5 * y), 1.0, self.size)
        back = torch.linalg.inv(matrix)[:2].flatten().tolist()  # PIL wants output -> input
        nearest, grey = Image.Resampling.NEAREST, (128, 128, 128)
        moved = picture.transform(
            picture.size, Image.Transform.AFFINE, back, resample=nearest, fillcolor=grey
        )
        return moved, kp.transform(skeleton, matrix)


def _read_pairs(path: Path) -> list[tuple[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or []
            if not {"from", "to"} <= set(columns):
                raise ValueError(f"{path}, line 1: expected the columns from,to; found {columns}")
            pairs = [_pair(row, f"{path}, line {reader.line_num}") for row in reader]
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is not a CSV file in UTF-8 ({error})") from error
    if not pairs:
        raise ValueError(f"{path} lists no pairs: expected lines such as one.jpg,other.jpg")
    return pairs


def _pair(row: dict[str, str | None], where: str) -> tuple[str, str]:
    source, target = (_plain_name(row[column], where) for column in ("from", "to"))
    return source, target


def _plain_name(name: str | None, where: str) -> str:
    """Accept only what names a file of the phase's folder itself."""
    if not name or name in {".", ".."} or re.search(r"[/\\:\0]", name):
        raise ValueError(
            f"{where}: {name!r} is no plain file name; pictures lie in the phase's folder itself"
        )
    return name


def _open(path: Path, size: tuple[int, int]) -> Image.Image:
    """Decode and resize one picture, with every fault under its name."""
    broken = (OSError, SyntaxError, ValueError, EOFError, struct.error)
    bombs = (Image.DecompressionBombError, Image.DecompressionBombWarning)
    try:
        with Image.open(path) as picture:
            if picture.width * picture.height > _LARGEST:
                raise Image.DecompressionBombError(f"{picture.width}x{picture.height} pixels")
            return picture.convert("RGB").resize(size[::-1], Image.Resampling.BILINEAR)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"no picture {path}: it was there when the lists were read"
        ) from None
    except bombs as error:
        raise ValueError(
            f"{path} says that it has more than {_LARGEST} pixels ({error}); make it smaller"
        ) from error
    except broken as error:
        raise OSError(
            f"{path} cannot be decoded ({error}): it is damaged, fetch it again"
        ) from error


def _positive(size: tuple[int, int], what: str) -> tuple[int, int]:
    height, width = size
    if height < 1 or width < 1:
        raise ValueError(f"{what} is {(height, width)}; expected (height, width) in pixels")
    return int(height), int(width)


def _generator(seed: int, *what: str | int) -> torch.Generator:
    """Make a generator of its own for each purpose and place, the same on every machine."""
    digest = hashlib.sha256(repr((seed, *what)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
