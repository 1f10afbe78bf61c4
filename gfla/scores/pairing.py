"""Which picture of one folder belongs to which of another, and which of them can be read at all."""

from __future__ import annotations

import re
import struct
import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image as Picture
from torch import Tensor
from tqdm.auto import tqdm

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".ppm")
DAMAGED = "cannot be decoded"

Pairs = list[tuple[Path, Path]]  # generated, target


def pair_folders(images: str | Path, against: str | Path) -> tuple[Pairs, dict[str, list[str]]]:
    """Find the target of every generated picture by its name.

    A picture and its target have the same name, endings aside; or the picture is called as the
    authors' code calls it, `<source>_2_<target>_vis` (docs/spec.md sections 8 and 9), and then
    several may share a target.

    Args:
        images: folder of the generated pictures; folders in it are not entered.
        against: folder of the true ones.

    Returns:
        (generated, target) by name, and what found no partner or is no picture: why -> names.

    Raises:
        FileNotFoundError: a folder that is none.
        ValueError: no pair at all, or two pictures of one name in a folder.
    """
    left_out: dict[str, list[str]] = {}
    ours, true = (_by_stem(Path(folder), left_out) for folder in (images, against))
    pairs, used = [], set()
    for stem, path in ours.items():
        target = _target_of(stem, true)
        if target is None:
            left_out.setdefault("generated, but no target has its name", []).append(path.name)
        else:
            pairs.append((path, true[target]))
            used.add(target)
    unused = [path.name for stem, path in true.items() if stem not in used]
    if not pairs:
        raise ValueError(
            f"none of the {len(ours)} pictures in {images} has the name of one of the {len(true)} "
            f"in {against}: expected equal names, endings aside, or <source>_2_<target>_vis"
        )
    if unused:
        left_out["targets that nothing was generated for"] = unused
    return pairs, left_out


def _by_stem(folder: Path, left_out: dict[str, list[str]]) -> dict[str, Path]:
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}: expected one that holds pictures")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in ENDINGS or not path.is_file():
            left_out.setdefault("no pictures", []).append(path.name)
        elif path.stem in found:
            raise ValueError(
                f"{folder} holds {found[path.stem].name} and {path.name}: which of them is meant? "
                "Move one away"
            )
        else:
            found[path.stem] = path
    return found


def _target_of(stem: str, true: dict[str, Path]) -> str | None:
    """The target's name: the same, or what stands between `_2_` and `_vis`."""
    if stem in true:
        return stem
    if not stem.endswith("_vis"):
        return None
    ends = [match.end() for match in re.finditer("(?=(_2_))", stem)]
    candidates = [stem[end + 3 : -4] for end in ends]
    return next((name for name in candidates if name in true), None)


def read_picture(path: str | Path, size: tuple[int, int] | None = None) -> Tensor:
    """Decode one picture.

    Args:
        path: any file that PIL reads.
        size: (H, W) to bring it to, bilinear with antialiasing; None leaves it as it is.

    Returns:
        (3, H, W) in [-1, 1].

    Raises:
        OSError: it cannot be decoded, or claims to be of absurd size; the message names it.
    """
    broken = (OSError, SyntaxError, ValueError, EOFError, struct.error)
    bomb = (Picture.DecompressionBombError, Picture.DecompressionBombWarning)
    try:
        with warnings.catch_warnings(), Picture.open(path) as file:
            warnings.simplefilter("error", Picture.DecompressionBombWarning)
            picture = file.convert("RGB")
    except broken + bomb as error:
        raise OSError(f"{path} cannot be decoded ({error}): fetch or write it again") from error
    if size is not None:
        picture = picture.resize(size[::-1], Picture.Resampling.BILINEAR)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 127.5 - 1


def readable(pairs: Pairs, resize: bool, progress: bool = False) -> tuple[Pairs, list[str]]:
    """Decode every picture once, before hours are spent on the first half of them.

    Args:
        pairs: generated, target.
        resize: sizes may differ, since all will be brought to one.
        progress: show a bar.

    Returns:
        the pairs of which both decode, and the names of the damaged pictures.

    Raises:
        ValueError: pictures of different sizes, or not one readable pair.
    """
    sizes: dict[Path, tuple[int, int] | None] = {}
    paths = dict.fromkeys(path for pair in pairs for path in pair)
    for path in tqdm(paths, "reading", disable=not progress or None, unit=" pictures"):
        try:
            sizes[path] = tuple(read_picture(path).shape[1:])
        except OSError:
            sizes[path] = None
    damaged = [path.name for path, size in sizes.items() if size is None]
    good = [pair for pair in pairs if all(sizes[path] for path in pair)]
    if not good:
        raise ValueError(f"all {len(pairs)} pairs have a picture that {DAMAGED}: {damaged[0]}, …")
    first = good[0][0]
    for path in () if resize else (path for pair in good for path in pair):
        if sizes[path] != sizes[first]:
            (h, w), (height, width) = sizes[path], sizes[first]
            raise ValueError(
                f"{path} is {h}x{w}, {first} is {height}x{width} (height x width): pictures must "
                f"be of one size; make them so, or pass --resize {height}x{width}"
            )
    return good, damaged
