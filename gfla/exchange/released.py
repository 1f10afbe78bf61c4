"""What the paper's authors released: seven models, whose files their owner brings along.

None of these weights is part of this project, none is fetched by it, and no checksum of them is
known to it: a file is judged by its names, its shapes and what it computes.
"""

from __future__ import annotations

from typing import NamedTuple

LICENCE = (
    "The authors released their weights for non-commercial use only. Their licence applies to this "
    "file, converted or not, and to what is made with it; this project's own licence does not."
)


class Released(NamedTuple):
    """One of the released models; the files as the authors' code names them."""

    task: str  # of gfla.checkpoint.import_published
    what: str
    files: dict[str, str]  # part → file; an iteration's number may stand in the place of "latest"


_PICTURES = {"generator": "latest_net_G.pth", "discriminator": "latest_net_D.pth"}
_CLIPS = _PICTURES | {"temporal": "latest_net_D_V.pth"}
RELEASED = {
    "deepfashion": Released("fashion", "people of DeepFashion In-shop, 256x256", _PICTURES),
    "market": Released("market", "people of Market-1501, 128x64", _PICTURES),
    "fashionvideo": Released("dance", "clips of FashionVideo, 256x256", _CLIPS),
    "iper": Released("dance", "clips of iPER, 256x256", _CLIPS),
    "face": Released("face", "clips of faces, 256x256", _CLIPS),
    "shapenet-car": Released("shapenet", "cars of ShapeNet from other sides, 256x256", _PICTURES),
    "shapenet-chair": Released(
        "shapenet", "chairs of ShapeNet from other sides, 256x256", _PICTURES
    ),
}


def candidates(tasks: tuple[str, ...], part: str) -> list[str]:
    """Which released models a file may be of, as far as its layout tells.

    Args:
        tasks: all whose network has this layout, `gfla.exchange.layouts.Guess.tasks`.
        part: of `gfla.exchange.layouts.PARTS`; a flow estimator may be cut from a generator.

    Returns:
        Names of `RELEASED`.

    >>> candidates(("shapenet",), "generator")
    ['shapenet-car', 'shapenet-chair']
    """
    kind = "generator" if part == "flow" else part
    return [name for name, one in RELEASED.items() if one.task in tasks and kind in one.files]
