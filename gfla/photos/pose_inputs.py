"""A pose for a photograph, from a file or from the detector, put right if that is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from gfla.data import posing
from gfla.data.photographs import Photograph, open_photograph, told_before_turning
from gfla.data.pose_files import KeyPoints, read_pose
from gfla.data.pose_repairs import Fault, faults, repaired
from gfla.data.posing import Pose
from gfla.photos import detecting

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")

Size = tuple[int, int]  # (H, W)


class Asked(NamedTuple):
    """Whose key points are wanted."""

    file: str | None  # key points, or a photograph for the detector; None = the photograph at hand
    which: str | None = None  # picture of a file that tells of several
    person: int = 0  # 0 = the largest
    canvas: Size | None = None  # that the numbers refer to, if the file is wrong about it or mute
    repair: str | None = None  # of `pose_repairs.REPAIRS`
    confidence: float | None = None


class Told(NamedTuple):
    """A pose, and all there is to say about it."""

    pose: Pose
    read: KeyPoints
    file: str  # name, without folders
    faults: tuple[Fault, ...]
    notes: tuple[str, ...]  # of the reader, and of what was done to the pose afterwards

    def lines(self) -> list[str]:
        """Sentences for a reader; each mistake with what to do about it."""
        looks = {fault.what for fault in self.faults}
        return [
            f"{self.file}: {self.read.format}, since {self.read.reason}.",
            *(note for note in self.notes if note not in looks),
            *(f"{fault.what} → {fault.hint}." for fault in self.faults),
        ]


def pose_for(asked: Asked, photograph: Photograph | None) -> Told:
    """Read or detect a pose.

    Args:
        asked: whose.
        photograph: that the pose is told in; None = a stranger's, of whom no picture is here.

    Returns:
        The pose, in pixels of the photograph; without one, of its own canvas.

    Raises:
        FileNotFoundError, ModuleNotFoundError, ValueError: as `read_pose` and `detecting.detect`.
    """
    if asked.file is None or Path(asked.file).suffix.lower() in PICTURES:
        read, size, turned = _detected(asked, photograph)
    else:
        read, size, turned = _read(asked, photograph)
    pose, notes = read.pose(), list(read.warnings)
    if turned:
        pose = turned
        notes.append("The key points were told before the picture was turned: they were turned.")
    if size and pose.size != size:
        pose = posing.resized(pose, size)
    if asked.repair:
        pose = repaired(pose, asked.repair)
        notes = [note for note in notes if note not in _shapes(read)]
        notes.append(f"Repaired as asked: {asked.repair}.")
    name = Path(asked.file).name if asked.file else "the photograph"
    return Told(pose, read, name, faults(pose, read.format), tuple(notes))


def _read(
    asked: Asked, photograph: Photograph | None
) -> tuple[KeyPoints, Size | None, Pose | None]:
    size = photograph.size if photograph else None
    words = (asked.file, asked.which, asked.person)
    if photograph and photograph.orientation > 1 and not asked.canvas:
        plain = read_pose(*words, None, asked.confidence)
        turned = told_before_turning(photograph, plain.pose())
        if turned:
            return plain, size, turned
    return read_pose(*words, asked.canvas or size, asked.confidence), size, None


def _detected(
    asked: Asked, photograph: Photograph | None
) -> tuple[KeyPoints, Size | None, Pose | None]:
    shown = photograph if asked.file is None else open_photograph(asked.file)
    if shown is None:
        raise ValueError("no file of key points is given, and no photograph to find them in")
    read = detecting.detect(shown.picture, asked.person, asked.confidence)
    return read, photograph.size if photograph else None, None


def _shapes(read: KeyPoints) -> set[str]:
    """What looked wrong before the repair."""
    return {fault.what for fault in faults(read.pose(), read.format)}
