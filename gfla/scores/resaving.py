"""What happens to pictures on their way into an evaluation: bytes, JPEG, other sizes, boxes."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image as Picture
from torch import Tensor

if TYPE_CHECKING:
    from gfla.types import Image, Mask

# PIL antialiases when it shrinks, but for "nearest"; torch's interpolation and OpenCV do not unless
# they are asked to. Nobody offers Lanczos without.
FILTERS = (
    ("nearest", False),
    ("bilinear", True),
    ("bilinear", False),
    ("bicubic", True),
    ("bicubic", False),
    ("lanczos", True),
)
CHROMA = {"4:4:4": 0, "4:2:0": 2}  # PIL's numbers
LUMA = (0.299, 0.587, 0.114)  # of red, green and blue: what "to grey" means in PIL and OpenCV


def as_bytes(images: Image, cut: bool = False) -> Image:
    """The pictures as they come back from a file of bytes without loss.

    Args:
        images: (B, C, H, W) in [-1, 1].
        cut: drop the fraction instead of rounding, as the authors do (docs/spec.md section 8).

    Returns:
        (B, C, H, W) on the 256 values of a byte.

    >>> nearly_white = torch.full((1, 1, 1, 1), 0.999)
    >>> [round(float(as_bytes(nearly_white, cut)) * 127.5 + 127.5) for cut in (False, True)]
    [255, 254]
    """
    return _bytes(images, cut).float() / 127.5 - 1


def jpeg(images: Image, quality: int, chroma: str = "4:2:0") -> Image:
    """The pictures as they come back from JPEG files.

    Args:
        images: (B, 3, H, W) in [-1, 1]; they are rounded to bytes.
        quality: 1 … 100, PIL's scale; its default is 75.
        chroma: "4:4:4" keeps colour at full resolution, "4:2:0", PIL's default, at half.

    Returns:
        (B, 3, H, W) in [-1, 1].

    >>> flat = torch.full((1, 3, 16, 16), 0.2)
    >>> bool((jpeg(flat, 75) - flat).abs().max() < 0.02)
    True
    """
    found = []
    for picture in _pictures(images):
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=quality, subsampling=CHROMA[chroma])
        found.append(_tensor(Picture.open(file)))
    return torch.stack(found)


def resize(
    images: Image, size: tuple[int, int], kind: str = "bilinear", antialias: bool = True
) -> Image:
    """Pictures of another size.

    Args:
        images: (B, 3, H, W) in [-1, 1].
        size: (H', W') wanted.
        kind: "nearest", "bilinear", "bicubic" or "lanczos".
        antialias: widen the filter when shrinking, as PIL does; without it pixels in between are
            not looked at, as in OpenCV and in torch's default. Lanczos is always PIL's.

    Returns:
        (B, 3, H', W') in [-1, 1]; rounded to bytes on the way if PIL did it.

    >>> resize(torch.zeros(1, 3, 4, 4), (2, 3), "bicubic").shape
    torch.Size([1, 3, 2, 3])
    """
    if kind in ("bilinear", "bicubic") and not antialias:
        return F.interpolate(images, size=size, mode=kind, align_corners=False).clamp(-1, 1)
    resample = Picture.Resampling[kind.upper()]
    shrunk = [_tensor(one.resize(size[::-1], resample)) for one in _pictures(images)]
    return torch.stack(shrunk)


def narrow_width(width: int) -> int:
    """The width of DeepFashion's 256x176 beside a square of `width`, as our encoders can read it.

    >>> narrow_width(256), narrow_width(64)  # 44 would be exact; a multiple of 16 is needed
    (176, 48)
    """
    return 16 * max(1, round(width * 176 / 256 / 16))


def cut_to_box(images: Image, foreground: Mask) -> Image:
    """What the tightest box around the person shows, brought back to the size of the picture.

    Args:
        images: (B, 3, H, W) in [-1, 1].
        foreground: (B, 1, H, W), 1 on the person.

    Returns:
        (B, 3, H, W), bilinear, antialiased; a picture without a person stays as it is.
    """
    found = []
    for image, person in zip(images, foreground[:, 0] > 0.5, strict=True):
        rows, columns = person.any(1).nonzero(), person.any(0).nonzero()
        if len(rows):
            top, bottom, left, right = (int(v) for v in (*rows.aminmax(), *columns.aminmax()))
            image = image[:, top : bottom + 1, left : right + 1]
        found.append(resize(image[None], tuple(images.shape[-2:]))[0])
    return torch.stack(found)


def grey(images: Image) -> Tensor:
    """The luma of pictures: (B, 3, H, W) to (B, 1, H, W)."""
    return (images * images.new_tensor(LUMA)[:, None, None]).sum(1, keepdim=True).clamp(-1, 1)


def _bytes(images: Tensor, cut: bool = False) -> Tensor:
    values = (images.detach().cpu().double() + 1) * 127.5
    values = values.floor() if cut else values.round()
    return values.clamp(0, 255).to(torch.uint8)


def _pictures(images: Tensor) -> list[Picture.Image]:
    return [Picture.fromarray(one.permute(1, 2, 0).numpy()) for one in _bytes(images)]


def _tensor(picture: Picture.Image) -> Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 127.5 - 1  # (3, H, W)
