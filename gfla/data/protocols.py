"""The ways in which a data set's pictures are brought to the size that is trained on or scored.

Which one was taken decides numbers: `gfla.scores.conventions` measures by how much.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from PIL import Image


class Protocol(NamedTuple):
    """One way to make the pictures."""

    line: str  # what it is, and what for
    square: bool = True  # DeepFashion to 256x256, else to 256x176
    filter: Image.Resampling | None = Image.Resampling.BILINEAR  # None = bytes as they are
    ending: str = ".png"
    options: tuple[tuple[str, Any], ...] = ()  # of the file format


PROTOCOLS = {
    "authors": Protocol(
        "what the authors' network reads: DeepFashion squashed to 256x256, Market-1501 128x64, "
        "bilinear with antialiasing, without loss"
    ),
    "narrow": Protocol(
        "the 256x176 of most later papers, bilinear with antialiasing, without loss; read as "
        "256x256 it is resized twice",
        square=False,
    ),
    "truth": Protocol(
        "ground truth to score against as the authors did (their issues 53 and 70): bicubic, JPEG; "
        "its quality is not known, Pillow's 75 with 4:2:0 is taken",
        filter=Image.Resampling.BICUBIC,
        ending=".jpg",
        options=(("quality", 75), ("subsampling", "4:2:0")),
    ),
    "flatten": Protocol("names and split alone, the files' bytes as they are", filter=None),
}


def size_of(family: str, protocol: str) -> tuple[int, int]:
    """Give the size of the pictures.

    Args:
        family: "deepfashion" or "market".
        protocol: a key of PROTOCOLS.

    Returns:
        (H, W) in pixels.

    >>> size_of("deepfashion", "narrow"), size_of("market", "authors")
    ((256, 176), (128, 64))
    """
    if family == "market":
        return (128, 64)
    return (256, 256) if PROTOCOLS[protocol].square else (256, 176)
