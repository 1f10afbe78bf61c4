"""The command that moves the person of a photograph of one's own.

    python -m gfla render --source photo.jpg --source-pose a.json --target-pose b.json --out c.png
    python -m gfla render --check --source photo.jpg --source-pose a.json --out look.png

Key points come from a detector's JSON or from the authors' CSV (`gfla.data.pose_files`). The pose
is given the bones of the photographed person unless `--as-is` is said. What is not known, made up
or looks wrong is told: in the message, in the picture's text and in a file beside it.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image, PngImagePlugin

from gfla import __version__, pictures, storage
from gfla.data.framing import FILL, OUTSIDE
from gfla.data.photographs import Photograph, open_photograph
from gfla.data.pose_repairs import REPAIRS
from gfla.data.posing import Pose
from gfla.photos import pose_drawing
from gfla.photos.origins import Origin, origin
from gfla.photos.pose_inputs import Asked, Told, pose_for
from gfla.photos.repainting import FRAMES, Repainted, in_place, repaint

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LINE = 110  # letters of a line below a sheet


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `python -m gfla render` understands."""
    add = parser.add_argument
    add("--source", required=True, metavar="PHOTO", help="photograph of the person")
    add("--out", required=True, metavar="PNG", help="where the picture goes; .json is put behind")
    add("--model", default="people", help="a shipped one, or a .safetensors file (default: people)")
    for who in ("source", "target"):
        of = "the person" if who == "source" else "the pose to take"
        add(f"--{who}-pose", metavar="FILE", help=f"key points of {of}, JSON or CSV")
        add(f"--{who}-which", metavar="NAME", help="picture, in a file that tells of several")
        add(f"--{who}-person", type=int, default=0, metavar="N", help="0 = the largest (default)")
        add(f"--{who}-canvas", type=_sides, metavar="WxH", help="size its numbers refer to")
        add(f"--{who}-repair", choices=REPAIRS, metavar="NAME", help=f"one of {', '.join(REPAIRS)}")
    add("--confidence", type=float, help="of a joint, below which it is missing")
    add("--detect", action="store_true", help="find the person's key points (the extra 'detect')")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--retarget", dest="retarget", action="store_true", default=True,
                     help="give the pose the bones of the person (default)")  # fmt: skip
    how.add_argument("--as-is", dest="retarget", action="store_false",
                     help="take the key points where they are")  # fmt: skip
    add("--frame", choices=FRAMES, default="person", help="cut a box out, or show the whole")
    add("--fill", type=float, default=FILL, help=f"share of the box that joints take ({FILL})")
    add("--outside", choices=OUTSIDE, default="edge", help="what lies around the photograph")
    add("--keep-size", action="store_true", help="put the result back into the photograph")
    add("--sheet", action="store_true", help="also write source, pose, flow, mask and result")
    add("--check", action="store_true", help="only draw the key points over the photograph")


def main(args: argparse.Namespace) -> None:
    """Render, or check.

    Args:
        args: as `add_arguments` declares them.

    Raises:
        ValueError, FileNotFoundError, ModuleNotFoundError: what cannot be read, or does not fit;
            nothing is written then.
    """
    out = _goal(args)
    photograph = open_photograph(args.source)
    source = pose_for(_asked(args, "source"), photograph)
    target = pose_for(_asked(args, "target"), None) if args.target_pose else None
    if args.check:
        _check(out, photograph, source, target)
        return
    chosen = origin(args.model)
    made = repaint(
        photograph.picture, source.pose, target.pose, chosen,
        args.retarget, args.frame, args.fill, args.outside,
    )  # fmt: skip
    record = _record(args, chosen, photograph, source, target, made)
    result = in_place(photograph.picture, made) if args.keep_size else made.picture
    if args.keep_size and made.box.height > made.box.size[0]:
        times = made.box.height / made.box.size[0]
        record["warnings"].append(f"The model's picture was enlarged {times:.1f} times to fit in.")
    record["picture"] = {"width": result.width, "height": result.height}
    if args.sheet:
        sheet = out.with_name(f"{out.stem}-sheet.png")
        from gfla import viz  # brings Matplotlib along, which a picture alone does not need

        figure = _sheet(made, record["caption"])
        storage.atomic_write(sheet, viz.image_bytes(figure))
        record["sheet"] = sheet.name
    storage.atomic_write(out, _png(result, record))
    storage.write_json(_beside(out), record)
    print(record["caption"])
    for warning in record["warnings"]:
        print(f"  {warning}")
    print(f"written: {', '.join(map(str, [out, _beside(out), *([sheet] if args.sheet else [])]))}")


# ---------------------------------------------------------------- what is asked


def _sides(text: str) -> tuple[int, int]:
    """(H, W) of a text such as 176x256."""
    found = re.fullmatch(r"([1-9][0-9]{0,4})[x×*]([1-9][0-9]{0,4})", text.strip())
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is no size: write width x height, as 176x256")
    return int(found[2]), int(found[1])


def _asked(args: argparse.Namespace, who: str) -> Asked:
    words = ("which", "person", "canvas", "repair")
    said = {word: getattr(args, f"{who}_{word}") for word in words}
    file = getattr(args, f"{who}_pose")
    if who == "source" and file is None and not args.detect:
        raise ValueError("where is the person? give --source-pose FILE, or --detect to find out")
    if who == "source" and said["which"] is None and file and _tells_of_several(Path(file)):
        said["which"] = Path(args.source).name
    return Asked(file, **said, confidence=args.confidence)


def _tells_of_several(path: Path) -> bool:
    return path.suffix.lower() == ".csv"


def _goal(args: argparse.Namespace) -> Path:
    """Where to write, if that harms nothing."""
    out = Path(args.out)
    if out.suffix.lower() != ".png":
        raise ValueError(f"--out is {args.out!r}: give a name that ends in .png; it holds the text")
    if not args.check and not args.target_pose:
        raise ValueError("which pose? give --target-pose FILE, or --check to look at the first")
    given = [args.source, args.source_pose, args.target_pose]
    taken = {Path(one).resolve() for one in given if one}
    for path in (out, _beside(out), out.with_name(f"{out.stem}-sheet.png")):
        if path.resolve() in taken:
            raise ValueError(f"--out would replace {path}, which is read: choose another name")
        if path.is_dir():
            raise ValueError(f"{path} is a folder: give the name of a file in it")
    return out


def _beside(out: Path) -> Path:
    return out.with_name(f"{out.name}.json")


# ---------------------------------------------------------------- what is written


def _check(out: Path, photograph: Photograph, source: Told, target: Told | None) -> None:
    """Draw the key points over the photograph, those of the stranger beside it."""
    lines = [*source.lines(), *photograph.notes]
    if not source.faults:
        lines.append("Nothing looks wrong.")
    drawn = [pose_drawing.over(photograph.picture, source.pose, lines)]
    if target:
        lines += (more := target.lines())
        blank = Image.new("RGB", target.pose.size[::-1], (235, 235, 235))
        drawn.append(pose_drawing.over(blank, target.pose, more))
    storage.atomic_write(out, _png(_abreast(drawn), {"caption": " ".join(lines), "check": lines}))
    print("\n".join(lines))
    print(f"written: {out}")


def _abreast(drawn: list[np.ndarray]) -> Image.Image:
    """Pictures side by side on white."""
    height, gap = max(len(picture) for picture in drawn), 12
    width = sum(picture.shape[1] for picture in drawn) + gap * (len(drawn) - 1)
    page, left = Image.new("RGB", (width, height), "white"), 0
    for picture in drawn:
        page.paste(Image.fromarray(picture), (left, 0))
        left += picture.shape[1] + gap
    return page


def _record(
    args: argparse.Namespace,
    chosen: Origin,
    photograph: Photograph,
    source: Told,
    target: Told,
    made: Repainted,
) -> dict[str, Any]:
    """All that led to the picture, as JSON can hold it; no folder is named."""
    bones = "with the bones of the photographed person" if made.retargeted else "as it is"
    caption = (
        f"The person of {Path(args.source).name} in the pose of {target.file}, {bones}. "
        f"Painted by {chosen.name} (sha256 {chosen.sha256[:12]}). {chosen.told}"
    )
    if chosen.licence:
        caption += f" {chosen.licence}"
    warnings = [
        *photograph.notes, *source.lines()[1:], *target.lines()[1:], *made.warnings,
    ]  # fmt: skip
    return {
        "caption": caption,
        "warnings": warnings,
        "model": {
            "name": chosen.name,
            "sha256": chosen.sha256,
            "photographs": chosen.photographs,
            "told": chosen.told,
            "licence": chosen.licence,
        },
        "source": {
            "file": Path(args.source).name,
            "sha256": storage.sha256(args.source),
            "width": photograph.size[1],
            "height": photograph.size[0],
            "pose": _pose_record(source),
        },
        "target": {"pose": _pose_record(target)},
        "retargeted": made.retargeted
        and {"scale": made.retargeted.scale, "ratios": made.retargeted.ratios},
        "box": made.box._asdict() | {"outside": args.outside},
        "on the canvas": {
            "source": _points(made.source_pose),
            "target": _points(made.target_pose),
        },
        "versions": {"gfla": __version__, "torch": torch.__version__},
    }


def _pose_record(told: Told) -> dict[str, Any]:
    return {
        "file": told.file,
        "format": told.read.format,
        "reason": told.read.reason,
        "canvas": {"width": told.read.canvas[1], "height": told.read.canvas[0]},
        "people": told.read.people,
        "joints": _points(told.pose),
        "faults": [fault._asdict() for fault in told.faults],
    }


def _points(pose: Pose) -> list[list[float] | None]:
    return [point and [round(point[0], 3), round(point[1], 3)] for point in pose.points]


def _png(picture: Image.Image, record: dict[str, Any]) -> bytes:
    """The bytes of a PNG that carries its caption and its record."""
    text = PngImagePlugin.PngInfo()
    text.add_itxt("Description", record["caption"])
    text.add_itxt("Software", f"gfla {__version__}")
    text.add_itxt("gfla", json.dumps(record, ensure_ascii=False), zip=True)
    stream = io.BytesIO()
    picture.save(stream, "PNG", pnginfo=text)
    return stream.getvalue()


def _sheet(made: Repainted, caption: str) -> Figure:
    """Source, both poses, flow, mask and result in a row, the caption below."""
    from gfla import viz

    size, output = made.box.size, made.output
    zoom = max(1, 256 // max(size))
    cells = {
        "source": np.asarray(made.canvas),
        "source pose": pictures.skeleton(made.source_pose.tensor()[0], size, zoom),
        "target pose": pictures.skeleton(made.target_pose.tensor()[0], size, zoom),
    }
    limit = None
    if output.flows:
        stride = size[0] // output.flows[-1].shape[-2]
        limit = size[0] / 4
        cells["flow"] = pictures.flow_to_color(output.flows[-1][0] * stride, limit)
        cells["mask"] = pictures.mask_image(output.masks[-1][0])
    cells["result"] = pictures.to_uint8(output.image[0])
    figure = viz.grid([list(cells.values())], list(cells), limit=limit)
    width, height = figure.get_size_inches()
    lines = textwrap.wrap(caption, _LINE)
    figure.set_size_inches(width, height + 0.15 * len(lines))
    figure.supxlabel("\n".join(lines), fontsize=6.5, ha="center")
    return figure
