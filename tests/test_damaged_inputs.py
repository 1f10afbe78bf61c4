"""A folder with twenty damaged or odd inputs: each is told or put right, the rest goes through."""

import io
import os
import pickle
import struct
import tarfile
import zlib

import numpy as np
import pytest
from data_folders import STANDING, flat, picture, row, snapshot
from PIL import Image

from gfla import cli
from gfla.data.checking import check
from gfla.data.folders import DeepFashion
from gfla.data.preparing import prepare
from gfla.data.unpacking import unpack

HEADING = "name:keypoints_y:keypoints_x"


class Runs:
    """A pickle of this makes a folder when it is opened."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def promising_png(width, height):
    """A PNG of a few bytes whose header promises very many pixels."""

    def chunk(kind, data):
        tail = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + tail

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(b"\0" * 1000)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def damaged_pictures(folder):
    """Write eleven pictures that are not as they should be; those that may be mended come last."""
    held = io.BytesIO()
    picture().save(held, "JPEG")
    (folder / "truncated.jpg").write_bytes(held.getvalue()[: len(held.getvalue()) // 2])
    (folder / "zero.jpg").write_bytes(b"")
    (folder / "huge.png").write_bytes(promising_png(60_000, 60_000))
    picture().convert("CMYK").save(folder / "cmyk.jpg")
    wide = np.full((256, 176), 128 * 257, dtype=np.uint16)
    Image.fromarray(wide).save(folder / "sixteen.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it by 90 degrees clockwise to see it upright
    picture().rotate(90, expand=True).save(folder / "turned.jpg", exif=exif, quality=95)
    picture().save(folder / "animation.jpg", "GIF")
    picture().convert("L").save(folder / "grey.png")
    clear = picture().quantize(4)
    clear.save(folder / "clear.png", transparency=clear.getpixel((0, 0)))
    return [path.name for path in sorted(folder.iterdir())]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three good pairs of train, three of test, and all that is wrong."""
    base = tmp_path_factory.mktemp("damaged")
    root = flat(base / "set")
    bad = base / "bad"
    bad.mkdir()
    names = damaged_pictures(bad)
    good = "fashionWOMENTees_Tanksid0000000101_1a.png"
    pairs = (root / "fasion-pairs-train.csv").read_text().splitlines()
    poses = (root / "fasion-annotation-train.csv").read_text().splitlines()
    for name in names:
        (bad / name).rename(root / "train" / name)
        pairs.append(f"{name},{good}")
        poses.append(row(name))
    for name in ("ragged", "nan", "swapped"):
        picture().save(root / "train" / f"{name}.png")
        pairs.append(f"{good},{name}.png")
    pairs += [pairs[1], f"{good},missing.png", f"../outside.png,{good}"]
    poses += [row("missing.png"), row("ragged.png", STANDING[:17])]
    poses += [row("nan.png").replace("40", "NaN", 1)]
    poses += [row("swapped.png", [(y, x) for x, y in STANDING])]
    Image.new("RGB", (4, 4)).save(root / "outside.png")
    (root / "fasion-pairs-train.csv").write_bytes(
        b"\xef\xbb\xbf" + "\r\n".join(pairs).encode() + b"\r\n"
    )
    (root / "fasion-annotation-train.csv").write_text("\n".join(poses) + "\n")
    lines = (root / "fasion-annotation-test.csv").read_text().splitlines()
    quoted = ['{},"{}","{}"'.format(*line.split(":")) for line in lines[1:]]
    heading = HEADING.replace(":", ",")
    (root / "fasion-annotation-test.csv").write_text("\n".join([heading, *quoted]) + "\n")
    picture().save(root / "test" / "fé.png")
    with (root / "fasion-pairs-test.csv").open("ab") as file:
        file.write("fé.png,fé.png\n".encode("latin-1"))
    with tarfile.open(root / "escape.tar", "w") as archive:
        entry = tarfile.TarInfo("../escaped.txt")
        entry.size = 2
        archive.addfile(entry, io.BytesIO(b"hi"))
    (root / "poses.pkl").write_bytes(pickle.dumps(Runs(base / "executed")))
    return root


@pytest.fixture(scope="module")
def checked(folder, tmp_path_factory):
    before = snapshot(folder)
    done = check(folder, cache=tmp_path_factory.mktemp("cache"))
    assert snapshot(folder) == before
    return done


TOLD = {
    "truncated JPEG": ("error", "picture cannot be decoded", "truncated.jpg"),
    "zero bytes": ("error", "empty file (0 bytes)", "zero.jpg"),
    "huge PNG header": ("error", "header promises too many pixels, not decoded", "huge.png"),
    "CMYK": ("warning", "CMYK, made for printing", "cmyk.jpg"),
    "16-bit PNG": ("warning", "16 bits or more, which the reader clips to white", "sixteen.png"),
    "EXIF rotation": ("warning", "turned by EXIF, which the reader does not heed", "turned.jpg"),
    "GIF renamed": ("warning", "GIF by content, .jpg by name", "animation.jpg"),
    "grayscale": ("note", "grey picture", "grey.png"),
    "palette with alpha": (
        "warning",
        "transparent parts, of which the reader shows the hidden colour",
        "clear.png",
    ),
    "missing file": ("error", "pair without its picture", "missing.png"),
    "ragged CSV": ("error", "ragged row of key points", "line 18: 17 numbers of y, not 18"),
    "NaN": ("error", "key point that is no number", "y of nose is nan"),
    "swapped axes": ("warning", "x and y look swapped", "swapped.png"),
    "duplicate pair": ("warning", "pair listed twice", "as line 2"),
    "path with ../": ("error", "name that leaves the folder or is none", "'../outside.png'"),
    "wrong separator": ("error", "wrong separator ','", "fasion-annotation-test.csv, line 1"),
    "non-UTF-8 CSV": ("error", "list is not UTF-8", "fasion-pairs-test.csv: byte"),
    "BOM": ("note", "list with a byte-order mark", "fasion-pairs-train.csv"),
    "CRLF": ("note", "list with Windows' line ends", "fasion-pairs-train.csv"),
    "escaping archive": ("error", "archive that is not unpacked", "'../escaped.txt'"),
    "pickle": ("warning", "file that can run code when it is opened", "poses.pkl"),
}


@pytest.mark.parametrize("damage", TOLD)
def test_each_is_told(checked, damage):
    severity, what, where = TOLD[damage]
    findings = {finding.what: finding for finding in checked.findings}
    assert what in findings, sorted(findings)
    assert findings[what].severity == severity
    assert findings[what].count == 1
    assert where in findings[what].examples[0]
    assert findings[what].remedy


def test_the_rest_is_looked_through(checked, folder):
    assert checked.facts["pictures of train"] == 6 + 9 + 3
    assert checked.facts["pairs of train"] == 3 + 9 + 3 + 1  # neither the copy nor ../
    assert checked.facts["skeletons of train"] == 6 + 9 + 1 + 1  # neither the ragged nor NaN
    assert checked.facts["skeletons of test"] == 6
    assert not (folder.parent / "executed").exists()
    good = "fashionWOMENTees_Tanksid0000000201"
    assert not [e for one in checked.findings if one.severity != "note" for e in one.examples
                if good in e]  # fmt: skip


def test_the_reader_alone_stops(folder):
    with pytest.raises(ValueError, match="train.csv, line"):
        DeepFashion(folder, "train")


def test_prepare_mends_what_can_be_mended(folder, tmp_path):
    before = snapshot(folder)
    done = prepare(folder, tmp_path / "out", "authors")
    assert snapshot(folder) == before
    lost = {"truncated.jpg", "zero.jpg", "huge.png"}
    assert {name.rsplit("/", 1)[1] for name in done.failed} == lost
    assert done.written == 6 + 9 + 3 - 3 + 7
    for name, tops, bottoms in (
        ("turned", (200, 30, 30), (30, 30, 200)),
        ("sixteen", (128, 128, 128), (128, 128, 128)),
        ("clear", (255, 255, 255), (30, 30, 200)),
        ("animation", (200, 30, 30), (30, 30, 200)),
        ("cmyk", (200, 30, 30), (30, 30, 200)),
        ("grey", (81, 81, 81), (49, 49, 49)),
    ):
        with Image.open(tmp_path / "out" / "train" / f"{name}.png") as made:
            assert (made.mode, made.size) == ("RGB", (256, 256))
            assert np.abs(np.subtract(made.getpixel((100, 60)), tops)).max() <= 8, name
            assert np.abs(np.subtract(made.getpixel((100, 200)), bottoms)).max() <= 8, name
    train = DeepFashion(tmp_path / "out", "train")
    listed = {name for pair in train.pairs for name in pair}
    assert len(train) == 3 + 6 + 1  # the swapped one stays: nothing is turned unasked
    assert not listed & {"ragged.png", "nan.png", "missing.png", "truncated.png"}
    assert len(DeepFashion(tmp_path / "out", "test")) == 3
    assert not (folder.parent / "executed").exists()
    assert not (folder.parent / "escaped.txt").exists()


def test_the_commands_say_so_in_their_exit_status(folder, tmp_path, capsys):
    cache = str(tmp_path / "cache")
    assert cli.main(["data", "check", str(folder), "--cache", cache, "--quiet"]) == 1
    text = capsys.readouterr().out
    assert "error         1  picture cannot be decoded: it is damaged, fetch it again" in text
    out = str(tmp_path / "out")
    assert cli.main(["data", "prepare", str(folder), "--out", out, "--quiet"]) == 1
    assert "truncated.jpg" in capsys.readouterr().out
    assert cli.main(["data", "unpack", str(folder / "escape.tar"), "--out", out]) == 2
    assert "'../escaped.txt' would be written outside" in capsys.readouterr().err


def test_the_pickle_of_this_test_does_execute(tmp_path):
    pickle.loads(pickle.dumps(Runs(tmp_path / "executed")))
    assert (tmp_path / "executed").is_dir()


def test_the_archive_writes_nothing(folder, tmp_path):
    with pytest.raises(ValueError, match="nothing was unpacked"):
        unpack(folder / "escape.tar", tmp_path / "in")
    assert not (tmp_path / "escaped.txt").exists()
    assert not (tmp_path / "in").exists()
