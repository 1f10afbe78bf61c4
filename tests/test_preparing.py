"""Resized copies: what the reader would have seen, names as the authors', originals untouched."""

import numpy as np
import pytest
import torch
from data_folders import STANDING, flat, phase, picture, row, snapshot, tree, write_list
from PIL import Image

from gfla import cli, storage
from gfla.data import preparing
from gfla.data.folders import DeepFashion, Market1501
from gfla.data.preparing import NOTE, SUMS, prepare
from gfla.data.protocols import PROTOCOLS
from gfla.data.sample import flattened
from gfla.scores.resaving import jpeg, resize

ONE = "img_highres/WOMEN/Tees_Tanks/id_00000001/01_1_front.jpg"
TWO = "img_highres/WOMEN/Tees_Tanks/id_00000002/01_7_additional.jpg"


@pytest.fixture
def originals(tmp_path):
    """A flattened set of pictures that are all noise, of the published shape but smaller."""
    root = flat(tmp_path / "originals", people=1)
    generator = np.random.default_rng(0)
    for path in root.rglob("*.png"):
        pixels = generator.integers(0, 256, (367, 250, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return root


def pixels(path):
    with Image.open(path) as made:
        return torch.from_numpy(np.array(made)).permute(2, 0, 1).float()[None] / 127.5 - 1


def test_authors_is_what_the_reader_sees_of_the_originals(originals, tmp_path):
    before = snapshot(originals)
    done = prepare(originals, tmp_path / "out", "authors")
    assert (done.written, done.skipped, done.failed) == (4, 0, {})
    assert snapshot(originals) == before
    direct, made = DeepFashion(originals)[0], DeepFashion(tmp_path / "out")[0]
    for key in ("source", "target", "source_pose", "target_pose", "source_keypoints"):
        assert torch.equal(direct[key], made[key]), key
    narrow = prepare(originals, tmp_path / "narrow", "narrow").out
    assert pixels(next((narrow / "test").iterdir())).shape[2:] == (256, 176)


def test_truth_is_bicubic_and_jpeg(originals, tmp_path):
    out = prepare(originals, tmp_path / "out", "truth").out
    for path in (out / "test").iterdir():
        assert path.suffix == ".jpg"
        original = pixels(originals / "test" / f"{path.stem}.png")
        expected = jpeg(resize(original, (256, 256), "bicubic"), 75, "4:2:0")
        assert torch.equal(pixels(path), expected)
        assert not torch.equal(pixels(path), jpeg(resize(original, (256, 256)), 75, "4:2:0"))


def test_a_tree_is_flattened_and_split_by_the_lists(tmp_path):
    root, lists = tree(tmp_path / "set"), tmp_path / "lists"
    lists.mkdir()
    (lists / "train.lst").write_text(flattened(ONE) + "\nfashionWOMENgone.jpg\n")
    (lists / "test.lst").write_text(TWO + "\n")
    write_list(lists / "fashion-pairs-train.csv", "from,to", [f"{flattened(ONE)},{flattened(ONE)}"])
    rows = [row(flattened(ONE)), row(flattened(TWO))]
    write_list(lists / "fashion-annotation-train.csv", "name:keypoints_y:keypoints_x", rows)
    done = prepare(root, tmp_path / "out", "flatten", lists)
    out = snapshot(tmp_path / "out")
    assert {name for name in out if "/" in name} == {
        f"train/{flattened(ONE)}",
        f"test/{flattened(TWO)}",
    }
    assert out[f"train/{flattened(ONE)}"][0] == (root / ONE).read_bytes()
    assert {one.what for one in done.findings} >= {"listed picture is missing"}
    data = DeepFashion(tmp_path / "out", "train")  # the lists have the authors' spelling now
    assert data.pairs == [(flattened(ONE),) * 2]
    with pytest.raises(ValueError, match="pass --lists"):
        prepare(root, tmp_path / "other")


def test_market_keeps_its_size(tmp_path):
    root = tmp_path / "market"
    for folder, name in (("bounding_box_train", "0002_c1s1_1.jpg"), ("query", "0003_c1s1_1.jpg")):
        (root / folder).mkdir(parents=True)
        picture(size=(128, 64)).save(root / folder / name)
    half = [(x // 2, y // 2) for x, y in STANDING]
    for one, name in (("train", "0002_c1s1_1.jpg"), ("test", "0003_c1s1_1.jpg")):
        phase(tmp_path / "lists", one, [name], [(name, name)], "market", half)
    prepare(root, tmp_path / "out", "authors", tmp_path / "lists")
    for one in ("train", "test"):
        item = Market1501(tmp_path / "out", one, augment=False)[0]
        assert item["source"].shape == (3, 128, 64)
    with pytest.raises(ValueError, match="'narrow' is for DeepFashion"):
        prepare(root, tmp_path / "narrow", "narrow", tmp_path / "lists")


def test_a_second_call_goes_on(originals, tmp_path, monkeypatch):
    real, left = preparing.open_photograph, [2]

    def stopped(path):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return real(path)

    monkeypatch.setattr(preparing, "open_photograph", stopped)
    with pytest.raises(KeyboardInterrupt):
        prepare(originals, tmp_path / "out", workers=1)
    assert storage.read_json(tmp_path / "out" / NOTE)["finished"] is False
    monkeypatch.setattr(preparing, "open_photograph", real)
    done = prepare(originals, tmp_path / "out")
    assert (done.written, done.skipped) == (2, 2)
    whole = prepare(originals, tmp_path / "at once").out
    assert {n: held for n, (held, _) in snapshot(tmp_path / "out").items()} == {
        n: held for n, (held, _) in snapshot(whole).items()
    }


def test_damage_after_an_earlier_run_shows_in_the_checksums(originals, tmp_path):
    out = prepare(originals, tmp_path / "out").out
    sums = (out / SUMS).read_text()
    path = next((out / "train").iterdir())
    path.write_bytes(path.read_bytes()[:-9])
    prepare(originals, out)  # the picture is there: it is not hashed anew
    assert (out / SUMS).read_text() == sums
    path.unlink()
    prepare(originals, out)
    assert f"{storage.sha256(path)}  train/{path.name}\n" in sums


def test_originals_and_strangers_folders_are_refused(originals, tmp_path):
    before = snapshot(tmp_path)
    for out in (originals, originals / "train" / "new", tmp_path):
        with pytest.raises(ValueError, match="lie in one another"):
            prepare(originals, out)
    (tmp_path / "link").symlink_to(originals)
    with pytest.raises(ValueError, match="lie in one another"):
        prepare(originals, tmp_path / "link" / "new")
    assert snapshot(tmp_path) == before
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="holds something else"):
        prepare(originals, other)
    prepare(originals, tmp_path / "out", "truth")
    with pytest.raises(FileExistsError, match="holds 'truth' of"):
        prepare(originals, tmp_path / "out", "authors")
    with pytest.raises(ValueError, match="no protocol 'lanczos'"):
        prepare(originals, tmp_path / "x", "lanczos")


def test_a_full_disk_is_no_damaged_picture(originals, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(preparing.Staging, "write", full)
    with pytest.raises(OSError, match="No space left"):
        prepare(originals, tmp_path / "out")


def test_two_pictures_of_one_name_are_told(originals, tmp_path):
    name = next((originals / "train").iterdir())
    picture().save(name.with_suffix(".jpg"))
    done = prepare(originals, tmp_path / "out")
    assert "two pictures that get one name" in {one.what for one in done.findings}


def test_the_command(originals, tmp_path, capsys):
    told = ["data", "prepare", str(originals), "--out", str(tmp_path / "out"), "--quiet"]
    assert cli.main([*told, "--protocol", "narrow"]) == 0
    assert "4 made, 0 there already, 0 not made" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        cli.main(["data", "prepare", "--help"])
    text = capsys.readouterr().out
    assert all(name in text for name in PROTOCOLS)
