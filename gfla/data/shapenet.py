"""Views of ShapeNet objects on disk, in the HDF5 layout that the authors' code reads.

    root/data_chair.hdf5       groups <model>_<azimuth>_<elevation> with `image` and `pose`
    root/id_chair_train.txt    root/id_chair_test.txt    one group name a line

("car" as well.) `image` is (h, w, 3) bytes; `pose` is the azimuth's number, 0 to 35 in steps of 10
degrees, and the elevation in degrees, 0, 10 or 20. This is the layout of Multiview2Novelview
(docs/spec.md, 7.2). Reading it needs h5py: `pip install "gfla[data]"`.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from gfla.data import reading
from gfla.data.objects import AZIMUTHS, ELEVATIONS, view_code

_LARGEST = 3 * 64_000_000  # numbers; an array that promises more is refused before it is unpacked


class View(NamedTuple):
    """One group's name, taken apart."""

    model: str
    azimuth: int  # number in the file, 0 to 35, steps of 10 degrees
    elevation: int  # degrees

    @property
    def group(self) -> str:
        """The name of the group."""
        return f"{self.model}_{self.azimuth}_{self.elevation}"


class ShapeNet(Dataset):
    """Pairs of views of one object at one elevation, from the authors' ShapeNet layout.

    An item is a dict: `source`, `target` (3, H, W) float32 in [-1, 1]; `source_view`, `target_view`
    (21, 1, 1), one-hot in 18 azimuths and again in 3 elevations; `names`, the two groups' names.

    Phase "train": every listed view is a source once in a pass, its target the same model at the
    same elevation from one of the 18 even azimuths, drawn at random. Phase "test": elevation 0; the
    i-th listed model is seen from azimuth i modulo 18 and asked for from all 18, so item 18 i + j
    is model i turned to azimuth j; nothing is random but the order of `batch`.

    Args:
        root: the folder described at the top of this file.
        kind: "chair" or "car", part of the files' names.
        phase: "train" or "test", part of the list's name.
        size: (H, W) in pixels that pictures are resized to (bilinear, antialiased).

    Raises:
        ModuleNotFoundError: h5py is not installed.
        FileNotFoundError: the HDF5 file or the list is not there.
        ValueError: a list or a group does not follow the layout; the message names it.
    """

    def __init__(
        self,
        root: str | Path,
        kind: str = "chair",
        phase: str = "train",
        size: tuple[int, int] = (256, 256),
    ) -> None:
        if phase not in ("train", "test"):
            raise ValueError(f"phase is {phase!r}; expected 'train' or 'test'")
        self._h5py = import_h5py()
        self.root, self.kind, self.phase = Path(root), kind, phase
        self.size = reading.positive(size)
        self.path = self.root / f"data_{kind}.hdf5"
        self.list = self.root / f"id_{kind}_{phase}.txt"
        for path in (self.path, self.list):
            if not path.is_file():
                raise FileNotFoundError(
                    f"no file {path}: expected {self.root} to hold data_{kind}.hdf5 with groups "
                    f"<model>_<azimuth>_<elevation>, and id_{kind}_{phase}.txt that lists them"
                )
        self._handle: tuple[int, Any] | None = None  # process, open file: not shared by a fork
        self.views = _read_list(self.list)
        if phase == "test":
            models = list(dict.fromkeys(view.model for view in self.views))
            self.views = [View(model, 2 * (i % AZIMUTHS), 0) for i, model in enumerate(models)]
        self._check_groups()
        self._order = reading.Order(len(self))

    def __len__(self) -> int:
        return len(self.views) * (AZIMUTHS if self.phase == "test" else 1)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Read one pair; a training target is drawn from torch's global generator."""
        if not 0 <= index < len(self):
            raise IndexError(f"item {index} of {len(self)} of {self.list}")
        return self._read(index, None)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the open file behind: a worker process opens it again."""
        return {**self.__dict__, "_handle": None, "_h5py": None}

    def batch(
        self, step: int, count: int, seed: int = 0, device: str | torch.device = "cpu"
    ) -> dict[str, Any]:
        """Give the pairs of one training step; they depend on nothing but (step, count, seed).

        The order is an endless row of shuffled passes, as `folders.DeepFashion.batch` has it.

        Args:
            step: from 0.
            count: pairs in the batch.
            seed: of the order and of the targets' azimuths.
            device: where tensors are put.

        Returns:
            The keys of an item, tensors stacked along a first axis B = count; `names` is a list.

        Raises:
            ValueError: a step below 0 or a count below 1.
        """
        items = [
            self._read(self._order.at(place, seed), reading.generator(seed, "view", place))
            for place in reading.places(step, count)
        ]
        names = [item.pop("names") for item in items]
        stacked = {key: torch.stack([i[key] for i in items]).to(device) for key in items[0]}
        return {**stacked, "names": names}

    def _read(self, index: int, source_of_chance: torch.Generator | None) -> dict[str, Any]:
        if self.phase == "test":
            number, azimuth = divmod(index, AZIMUTHS)
            source = self.views[number]
        else:
            source = self.views[index]
            azimuth = int(torch.randint(AZIMUTHS, (), generator=source_of_chance))
        target = source._replace(azimuth=2 * azimuth)
        pair: dict[str, Any] = {"names": (source.group, target.group)}
        for side, view in (("source", source), ("target", target)):
            pair[side] = self._picture(view)
            pair[f"{side}_view"] = view_code(view.azimuth // 2, view.elevation // 10)
        return pair

    def _picture(self, view: View) -> Tensor:
        where = f"{self.path}, group {view.group}"
        group = self._file()[view.group]
        pose = np.asarray(self._dataset(group, "pose", where)).reshape(-1)
        if pose.shape != (2,) or tuple(pose.tolist()) != (view.azimuth, view.elevation):
            raise ValueError(
                f"{where}: its pose is {pose.tolist()}, its name says {list(view[1:])}; "
                "expected the azimuth's number and the elevation in degrees in both"
            )
        image = np.asarray(self._dataset(group, "image", where))
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(
                f"{where}: its image has shape {image.shape} and type {image.dtype}; expected "
                "(h, w, 3) in bytes"
            )
        return reading.as_tensor(
            Image.fromarray(image).resize(self.size[::-1], Image.Resampling.BILINEAR)
        )

    def _dataset(self, group: Any, name: str, where: str) -> Any:
        """Read an array that lies in this very file; links and outside storage are not followed."""
        link = group.get(name, getlink=True) if isinstance(group, self._module().Group) else None
        if not isinstance(link, self._module().HardLink):
            raise ValueError(f"{where}: no array {name!r} in it; expected `image` and `pose`")
        array = group[name]
        if not isinstance(array, self._module().Dataset) or array.external or array.is_virtual:
            raise ValueError(f"{where}: {name!r} is no array stored in this file")
        if array.size > _LARGEST:
            raise ValueError(f"{where}: {name!r} has {array.size} numbers; expected a picture")
        try:
            return array[()]
        except (OSError, RuntimeError) as error:
            raise OSError(
                f"{where}: {name!r} cannot be read ({error}): the file is damaged, fetch it again"
            ) from error

    def _file(self) -> Any:
        """Open the file once in a process."""
        if self._handle is None or self._handle[0] != os.getpid():
            try:
                self._handle = os.getpid(), self._module().File(self.path, "r")
            except OSError as error:
                raise OSError(
                    f"{self.path} cannot be opened ({error}): it is damaged or no HDF5 file"
                ) from error
        return self._handle[1]

    def _module(self) -> ModuleType:
        if self._h5py is None:
            self._h5py = import_h5py()
        return self._h5py

    def _check_groups(self) -> None:
        """Find out before training, not in its third hour, that a view is not there."""
        file = self._file()
        wanted = dict.fromkeys(view.group for view in self.views)
        for view in self.views:
            turned = (view._replace(azimuth=2 * bin_).group for bin_ in range(AZIMUTHS))
            wanted.update(dict.fromkeys(turned))
        there = set(file)
        absent = [name for name in wanted if name not in there]
        if absent:
            raise ValueError(
                f"{len(absent)} of {len(wanted)} views that {self.list} asks for, the 18 even "
                f"azimuths of each target among them, are not in {self.path}: {absent[0]!r} first"
            )
        hard = self._module().HardLink
        linked = [n for n in wanted if not isinstance(file.get(n, getlink=True), hard)]
        if linked:
            raise ValueError(f"{self.path}: {linked[0]!r} is a link, not a group of this file")


def import_h5py() -> ModuleType:
    """Import h5py when it is needed.

    Returns:
        The module.

    Raises:
        ModuleNotFoundError: it is not installed; the message says how to.
    """
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'views in HDF5 files need h5py: pip install "gfla[data]", or in a checkout '
            "pip install -c constraints.txt -e '.[data]'"
        ) from error
    return h5py


def _read_list(path: Path) -> list[View]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text ({error})") from error
    views = [
        _view(line.strip(), f"{path}, line {n}") for n, line in enumerate(lines, 1) if line.strip()
    ]
    if not views:
        raise ValueError(f"{path} lists no views: expected lines such as 1a0bc9ab_12_10")
    return views


def _view(name: str, where: str) -> View:
    parts = re.fullmatch(r"([^/\\:\0\s]+)_([0-9]{1,2})_([0-9]{1,2})", name)
    if not parts or parts[1] in {".", ".."}:
        raise ValueError(
            f"{where}: {name[:80]!r} is no view; expected <model>_<azimuth>_<elevation>"
        )
    view = View(parts[1], int(parts[2]), int(parts[3]))
    if view.azimuth >= 2 * AZIMUTHS or view.elevation not in range(0, 10 * ELEVATIONS, 10):
        raise ValueError(
            f"{where}: azimuth {view.azimuth}, elevation {view.elevation}; expected a number of 0 "
            "to 35 and 0, 10 or 20 degrees"
        )
    if view.group != name:
        raise ValueError(f"{where}: {name!r} has leading zeros; expected {view.group!r}")
    return view
