"""A dozen pairs of a data set on one sheet, skeletons drawn in: a quick look for what is wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from gfla.data import keypoints as kp
from gfla.data import reading
from gfla.data.bones import BONE_COLORS, HUMAN36M_BONES
from gfla.data.face_folders import read_landmarks
from gfla.data.findings import Findings
from gfla.data.known_sets import KNOWN
from gfla.data.oddities import ENDINGS
from gfla.data.pair_faults import person, tree_pictures
from gfla.data.photographs import open_photograph
from gfla.data.recognising import PHASES, PREFIXES, Recognised, recognise
from gfla.data.rough_lists import read_lists
from gfla.data.shapenet import ShapeNet
from gfla.data.videos import read_joints

_HIGH = 224  # pixels of a picture on the sheet
_GAP, _TEXT = 6, 16  # pixels between pairs; of a caption
_ACROSS = 3  # pairs in a row
_GREY, _RED, _INK = (225, 225, 225), (190, 30, 30), (34, 34, 34)
_LETTER = 6  # pixels that a letter of a caption takes at least

Lines = tuple[tuple[tuple[int, int], tuple[int, int, int]], ...]  # ends of a bone, its colour
_OPENPOSE: Lines = tuple(zip(kp.LIMBS, kp.LIMB_COLORS))
_HUMAN: Lines = tuple(zip(HUMAN36M_BONES, BONE_COLORS))


class Panel(NamedTuple):
    """One picture of the sheet."""

    name: str
    picture: Image.Image | Path
    points: Tensor | None = None  # (K, 2) as (x, y) in pixels of the canvas, -1 = missing
    canvas: tuple[int, int] | None = None  # (h, w); None = the picture's own
    lines: Lines = ()


def contact_sheet(
    path: str | Path, count: int = 12, phase: str | None = None, seed: int = 0
) -> Image.Image:
    """Draw some pairs of a data set with their skeletons.

    Which ones depends on their names and the seed alone. A picture that cannot be read is a grey
    panel that says so.

    Args:
        path: the folder of the data set.
        count: pairs, at least 1.
        phase: "train" or "test"; None = the first that has pairs, "test" first.
        seed: another gives other pairs.

    Returns:
        The sheet, three pairs in a row, source left and target right.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: no data set that is known, no pair in it, or a count below 1.
    """
    if count < 1:
        raise ValueError(f"count is {count}: expected at least 1 pair")
    at = recognise(path)
    for one in (phase,) if phase else reversed(PHASES):
        pairs = list(islice(_pairs(at, one, count, seed), count))
        if pairs:
            return _sheet(pairs)
    raise ValueError(f"{at.root} ({at.title}) has no pair to show: see `python -m gfla data check`")


def _pairs(at: Recognised, phase: str, count: int, seed: int) -> Iterator[tuple[Panel, Panel]]:
    if at.kind == "shapenet":
        yield from _views(at, phase, count, seed)
    elif at.kind in ("fashion_video", "iper"):
        yield from _clips(at.root / f"{phase}_256", seed)
    elif at.kind == "face":
        yield from _faces(at.root, phase, seed)
    else:
        yield from _people(at, phase, seed)


def _chosen(names: Sequence, seed: int) -> list:
    """The names in an order that nothing but they and the seed decides."""
    return sorted(names, key=lambda name: hashlib.sha256(repr((seed, name)).encode()).digest())


def _people(at: Recognised, phase: str, seed: int) -> Iterator[tuple[Panel, Panel]]:
    prefixes = PREFIXES[at.kind.removesuffix("_tree")]
    pairs, poses = read_lists(at.root, prefixes, phase, Findings())
    if at.kind.endswith("_tree"):
        files = tree_pictures(at)
    else:
        folder = at.root / phase
        entries = folder.iterdir() if folder.is_dir() else ()
        files = {e.name: e for e in entries if e.suffix.lower() in ENDINGS}
    if not pairs:
        by_person: dict[str, list[str]] = {}
        for name in sorted(files):
            by_person.setdefault(person(name), []).append(name)
        pairs = [tuple(names[:2]) for who, names in by_person.items() if who and len(names) > 1]
    for pair in _chosen(pairs, seed):
        yield tuple(
            Panel(name, files.get(name, at.root / phase / name), poses.get(name),
                  KNOWN[at.kind].canvas, _OPENPOSE)
            for name in pair
        )  # fmt: skip


def _clips(folder: Path, seed: int) -> Iterator[tuple[Panel, Panel]]:
    clips = reading.listing(folder / "train_A") if (folder / "train_A").is_dir() else []
    for clip in _chosen([clip.name for clip in clips], seed):
        frames = reading.listing(folder / "train_A" / clip, reading.PICTURES)
        if frames:
            yield tuple(
                Panel(f"{clip}/{frame.name}", frame, _joints(folder, clip, frame), None, _HUMAN)
                for frame in (frames[0], frames[len(frames) // 2])
            )


def _joints(folder: Path, clip: str, frame: Path) -> Tensor | None:
    for name in (f"{frame.stem}.json", f"{frame.stem}_keypoints.json"):
        path = folder / "train_video2d" / clip / name
        if path.is_file():
            try:
                return read_joints(path, 17)
            except ValueError:
                return None
    return None


def _faces(root: Path, phase: str, seed: int) -> Iterator[tuple[Panel, Panel]]:
    data, beside = root / f"{phase}_data", root / f"{phase}_keypoints"
    beside = beside if beside.is_dir() else root / f"{phase}_keypoint"
    clips = reading.listing(data) if data.is_dir() else []
    for clip in _chosen([clip.name for clip in clips], seed):
        frames = reading.listing(data / clip, reading.PICTURES)
        panels = []
        for frame in (frames[0], frames[len(frames) // 2]) if frames else ():
            try:
                points = read_landmarks(beside / clip / f"{frame.stem}.txt")
            except (ValueError, OSError):
                points = None
            panels.append(Panel(f"{clip}/{frame.name}", frame, points))
        if panels:
            yield tuple(panels)


def _views(at: Recognised, phase: str, count: int, seed: int) -> Iterator[tuple[Panel, Panel]]:
    for kind in ("chair", "car"):
        if not (at.root / f"data_{kind}.hdf5").is_file():
            continue
        try:
            reader = ShapeNet(at.root, kind, phase)
        except (ValueError, OSError):
            continue
        for step in range(min(count, len(reader))):
            try:
                pair = reader.batch(step, 1, seed)
            except (ValueError, OSError, KeyError):
                yield Panel("damaged", at.root), Panel("damaged", at.root)
                continue
            yield tuple(
                Panel(name, Image.fromarray(_bytes(pair[side][0])))
                for name, side in zip(pair["names"][0], ("source", "target"))
            )


def _bytes(picture: Tensor):
    pixels = picture.add(1).mul(127.5).round().clamp(0, 255)
    return pixels.byte().permute(1, 2, 0).numpy()  # (H, W, 3)


def _sheet(pairs: list[tuple[Panel, Panel]]) -> Image.Image:
    drawn = [tuple(_drawn(panel) for panel in pair) for pair in pairs]
    wide = max(picture.width for pair in drawn for picture in pair)
    rows = -(-len(pairs) // _ACROSS)
    cell = 2 * wide + 2 * _GAP, _HIGH + _TEXT + _GAP
    sheet = Image.new("RGB", (min(len(pairs), _ACROSS) * cell[0], rows * cell[1]), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(10)
    for place, (pair, panels) in enumerate(zip(drawn, pairs)):
        row, column = divmod(place, _ACROSS)
        for side, (picture, panel) in enumerate(zip(pair, panels)):
            x, y = column * cell[0] + side * (wide + 1) + _GAP // 2, row * cell[1]
            sheet.paste(picture, (x, y))
            pen.text((x, y + _HIGH + 1), panel.name[-(wide // _LETTER) :], _INK, font)
    return sheet


def _drawn(panel: Panel) -> Image.Image:
    """One picture with its skeleton, in the shape of its canvas."""
    try:
        held = isinstance(panel.picture, Image.Image)
        picture = panel.picture if held else open_photograph(panel.picture).picture
    except (ValueError, OSError):
        height, width = panel.canvas or (_HIGH, _HIGH)
        empty = Image.new("RGB", (max(1, _HIGH * width // height), _HIGH), _GREY)
        ImageDraw.Draw(empty).text((8, 8), "cannot be read", _RED)
        return empty
    height, width = panel.canvas or (picture.height, picture.width)
    size = max(1, round(_HIGH * width / height)), _HIGH
    picture = picture.resize(size, Image.Resampling.BICUBIC)
    if panel.points is not None:
        points = kp.rescale(panel.points, (height, width), size[::-1])
        _skeleton(picture, points, kp.present(points), panel.lines)
    return picture


def _skeleton(picture: Image.Image, points: Tensor, there: Tensor, lines: Lines) -> None:
    pen = ImageDraw.Draw(picture)
    for (a, b), color in lines:
        if there[a] and there[b]:
            pen.line([*points[a].tolist(), *points[b].tolist()], tuple(color), 3)
    for x, y in points[there].tolist():
        pen.ellipse([x - 2, y - 2, x + 2, y + 2], _INK, "white")
