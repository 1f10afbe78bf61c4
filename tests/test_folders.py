"""Data sets on disk: reading the authors' layout, refusing what is broken, writing a sample."""

import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gfla.data import keypoints as kp
from gfla.data import people, sample
from gfla.data.folders import DeepFashion, Market1501, write_sample

SAMPLE = Path(__file__).parents[1] / "data" / "sample"
SEED = 123_456


def layout(root, pairs=4, spelling="fasion", size=(32, 24), suffix=".png"):
    """Write a small data set by hand, so that reader and writer are not judged by each other."""
    (root / "train").mkdir(parents=True)
    generator = np.random.default_rng(0)
    rows, lines = ["from,to"], ["name:keypoints_y:keypoints_x"]
    for index in range(pairs):
        for side in "ab":
            pixels = generator.integers(0, 256, (*size, 3), dtype=np.uint8)
            name = f"{index}{side}{suffix}"
            Image.fromarray(pixels).save(root / "train" / name)
            ys = [index + joint for joint in range(18)]
            xs = [*range(17), -1]
            lines.append(f"{name}: {ys}: {xs}")
        rows.append(f"{index}a{suffix},{index}b{suffix}")
    (root / f"{spelling}-pairs-train.csv").write_text("\n".join(rows) + "\n")
    (root / f"{spelling}-annotation-train.csv").write_text("\n".join(lines) + "\n")
    return root


def same(a, b):
    return all(
        torch.equal(a[key], b[key]) if torch.is_tensor(a[key]) else a[key] == b[key] for key in a
    )


# ---------------------------------------------------------------- reading


@pytest.mark.parametrize("spelling", ["fasion", "fashion"])
def test_an_item_holds_pixels_key_points_and_maps(tmp_path, spelling):
    data = DeepFashion(layout(tmp_path, spelling=spelling), size=(32, 24), canvas=(32, 24))
    assert len(data) == 4
    item = data[1]
    with Image.open(tmp_path / "train" / "1a.png") as picture:
        pixels = np.array(picture).transpose(2, 0, 1).astype(np.float32)
    expected = torch.from_numpy(pixels / np.float32(127.5) - np.float32(1.0))
    torch.testing.assert_close(item["source"], expected, atol=1e-7, rtol=0)
    assert item["source_keypoints"][3].tolist() == [3.0, 4.0]  # (x, y)
    assert item["source_keypoints"][17].tolist() == [-1.0, -1.0]
    maps = kp.heatmaps(item["source_keypoints"], (32, 24), 6.0 * 32 / 256)
    assert torch.equal(item["source_pose"], maps)
    assert item["names"] == ("1a.png", "1b.png")
    assert not torch.equal(item["source"], item["target"])


def test_the_authors_size_has_their_rules(tmp_path):
    data = DeepFashion(layout(tmp_path))
    item = data[0]
    assert item["source"].shape == item["target"].shape == (3, 256, 256)
    assert item["source_keypoints"][5].tolist() == pytest.approx([5 * 256 / 176, 5.0])
    cut = torch.tensor([[float(int(5 * 256 / 176)), 5.0]])
    assert torch.equal(item["source_pose"][5], kp.heatmaps(cut, 256, 6.0)[0])
    other = DeepFashion(tmp_path, size=(128, 128))
    assert (other.sigma, other.truncate) == (3.0, False)


def test_a_picture_is_squashed_to_the_size_whatever_its_shape(tmp_path):
    layout(tmp_path, suffix=".png")
    grey = Image.fromarray(
        np.full((110, 75), 200, dtype=np.uint8)
    )  # one channel, other proportions
    grey.save(tmp_path / "train" / "0a.png")
    item = DeepFashion(tmp_path, size=(64, 64))[0]
    assert item["source"].shape == (3, 64, 64)
    torch.testing.assert_close(item["source"], torch.full((3, 64, 64), 200 / 127.5 - 1))


def test_a_data_loader_takes_it(tmp_path):
    data = DeepFashion(layout(tmp_path), size=(32, 32))
    batch = next(iter(torch.utils.data.DataLoader(data, batch_size=3)))
    assert batch["source"].shape == (3, 3, 32, 32)
    assert batch["target_pose"].shape == (3, 18, 32, 32)


def test_batches_depend_on_seed_and_step_alone(tmp_path):
    root = layout(tmp_path, pairs=5)
    data, again = (DeepFashion(root, size=(32, 32)) for _ in range(2))
    in_order = [data.batch(step, 2, seed=3) for step in range(6)]
    for step in (5, 0, 3):  # a fresh reader that jumps about, as a resumed run does
        assert same(in_order[step], again.batch(step, 2, seed=3))
    names = [name for batch in in_order[:5] for name in batch["names"]]
    assert sorted(names[:5]) == sorted(names[5:]) == sorted(data.pairs)  # each once in a pass
    assert names[:5] != names[5:]
    other = [name for step in range(5) for name in data.batch(step, 2, seed=4)["names"]]
    assert other != names
    threads = DeepFashion(root, size=(32, 32), workers=2)
    assert same(in_order[2], threads.batch(2, 2, seed=3))
    assert data.batch(0, 8, seed=0)["source"].shape[0] == 8  # more than there are


def test_a_batch_stacks_items(tmp_path):
    data = DeepFashion(layout(tmp_path), size=(32, 32))
    batch = data.batch(1, 3, seed=0)
    for place, names in enumerate(batch["names"]):
        item = data[data.pairs.index(names)]
        for key, value in item.items():
            assert key == "names" or torch.equal(batch[key][place], value)


@pytest.mark.parametrize(("step", "count"), [(-1, 2), (0, 0)])
def test_a_senseless_batch_is_refused(tmp_path, step, count):
    data = DeepFashion(layout(tmp_path), size=(32, 32))
    with pytest.raises(ValueError, match=f"step is {step}, count is {count}"):
        data.batch(step, count)


# ---------------------------------------------------------------- Market-1501


def test_market_moves_pictures_and_key_points_together(tmp_path):
    layout(tmp_path, spelling="market", size=(128, 64))
    joint, pixels = (20, 40), np.zeros((128, 64, 3), dtype=np.uint8)
    pixels[joint[1] - 1 : joint[1] + 2, joint[0] - 1 : joint[0] + 2] = 255
    line = f"0a.png:{[joint[1]] * 18}:{[joint[0]] * 18}"
    lists = tmp_path / "market-annotation-train.csv"
    lists.write_text(re.sub(r"(?m)^0a\.png.*$", line, lists.read_text()))
    Image.fromarray(pixels).save(tmp_path / "train" / "0a.png")
    data = Market1501(tmp_path)
    place = [data.batch(step, 1)["names"][0][0] for step in range(40)]
    moved = [data.batch(step, 1) for step in range(40) if place[step] == "0a.png"]
    assert len(moved) == 10
    far = 0.0
    for batch in moved:
        bright = batch["source"][0].amin(0) > 0.5  # white only: the grey filling is about 0
        rows, columns = bright.nonzero(as_tuple=True)
        seen = torch.stack((columns.float().mean(), rows.float().mean()))
        told = batch["source_keypoints"][0, 0]
        assert (seen - told).norm() < 1.5
        far = max(far, float((told - torch.tensor(joint)).norm()))
    assert 2.0 < far < 12.0  # it does move
    assert data.batch(0, 1, seed=1)["source"].shape == (1, 3, 128, 64)


def test_market_augments_in_training_only_and_repeatably(tmp_path):
    layout(tmp_path, spelling="market", size=(128, 64))
    data = Market1501(tmp_path)
    still = Market1501(tmp_path, augment=False)
    assert (data.sigma, data.truncate, data.augment) == (6.0, True, True)
    assert same(data.batch(2, 2, seed=1), Market1501(tmp_path).batch(2, 2, seed=1))
    moved, plain = data.batch(0, 4, seed=1), still.batch(0, 4, seed=1)
    assert moved["names"] == plain["names"]
    assert not torch.equal(moved["source"], plain["source"])
    # the same pair in the next pass is moved otherwise
    first = {name: moved["source"][i] for i, name in enumerate(moved["names"])}
    later = data.batch(1, 4, seed=1)
    assert all(not torch.equal(first[n], later["source"][i]) for i, n in enumerate(later["names"]))
    for ending in ("pairs", "annotation"):
        text = (tmp_path / f"market-{ending}-train.csv").read_text()
        (tmp_path / f"market-{ending}-test.csv").write_text(text)
    (tmp_path / "train").rename(tmp_path / "test")
    assert not Market1501(tmp_path, "test").augment


# ---------------------------------------------------------------- refusals


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere"):
        DeepFashion(tmp_path / "nowhere")
    root = layout(tmp_path / "set")
    with pytest.raises(FileNotFoundError, match=r"no folder .*'valid'"):
        DeepFashion(root, "valid")
    (root / "train" / "2b.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"2b\.png: 1 of 8 pictures"):
        DeepFashion(root)
    (root / "fasion-pairs-train.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"fasion-pairs-train\.csv or fashion-pairs"):
        DeepFashion(root)


def test_pairs_without_key_points_are_counted(tmp_path):
    root = layout(tmp_path)
    lists = root / "fasion-annotation-train.csv"
    lines = lists.read_text().splitlines()
    lists.write_text("\n".join(line for line in lines if line[:2] not in ("1b", "3a", "3b")) + "\n")
    with pytest.raises(ValueError, match=r"2 of 4 pairs .* name 3 pictures.*'1b\.png'"):
        DeepFashion(root)


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "..", "sub/0a.png", "a\\b", "C:a", ""]
)
def test_names_stay_in_the_folder(tmp_path, name):
    root = layout(tmp_path)
    lists = root / "fasion-pairs-train.csv"
    lists.write_text(lists.read_text().replace("2a.png", name))
    with pytest.raises(ValueError, match=r"pairs-train\.csv, line 4: .* is no plain file name"):
        DeepFashion(root)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("source,target\n0a.png,0b.png\n", "line 1: expected the columns from,to"),
        ("", "line 1: expected the columns from,to"),
        ("from,to\n", "lists no pairs"),
        ("from,to\n0a.png\n", "line 2: None is no plain file name"),
    ],
)
def test_a_bad_list_of_pairs_is_refused(tmp_path, text, message):
    root = layout(tmp_path)
    (root / "fasion-pairs-train.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        DeepFashion(root)


def test_key_points_of_another_canvas_are_noticed(tmp_path):
    root = layout(tmp_path)
    with pytest.raises(ValueError, match=r"joints in .* outside the canvas of 8x8"):
        DeepFashion(root, canvas=(8, 8))


@pytest.mark.parametrize("option", ["size", "canvas"])
def test_a_senseless_size_is_refused(tmp_path, option):
    with pytest.raises(ValueError, match=rf"{option} is \(0, 8\)"):
        DeepFashion(layout(tmp_path), **{option: (0, 8)})


def test_damaged_pictures_are_named(tmp_path):
    root = layout(tmp_path, suffix=".jpg", size=(64, 48))
    data = DeepFashion(root, size=(32, 32))
    whole = (root / "train" / "0a.jpg").read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"no picture", whole[:30]):
        (root / "train" / "0a.jpg").write_bytes(content)
        with pytest.raises(OSError, match=r"0a\.jpg cannot be decoded"):
            data[0]
    (root / "train" / "0a.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"no picture .*0a\.jpg"):
        data[0]


@pytest.mark.parametrize("side", [9_000, 9_800, 60_000])  # below, at and above Pillow's own limits
def test_a_header_that_promises_too_much_is_refused_unread(tmp_path, side):
    root = layout(tmp_path)
    data = DeepFashion(root, size=(32, 32))
    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header
    png += struct.pack(">I", zlib.crc32(header)) + struct.pack(">I", 0) + b"IDAT"
    (root / "train" / "0a.png").write_bytes(png + struct.pack(">I", zlib.crc32(b"IDAT")))
    with pytest.raises(ValueError, match=r"0a\.png says that it has more than 64000000 pixels"):
        data[0]


# ---------------------------------------------------------------- the sample


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_sample(tmp_path_factory.mktemp("written") / "sample", count=2, tests=1, seed=SEED)


@pytest.fixture(scope="module")
def drawn():
    return people.pairs(2, size=(256, 176), seed=SEED)


def test_what_is_written_is_read_back(written, drawn):
    data = DeepFashion(written, "train", size=(256, 176), truncate=False)
    assert len(data) == 4  # two persons, both directions
    for person in range(2):
        there, back = data[2 * person], data[2 * person + 1]
        assert back["names"] == there["names"][::-1]
        assert torch.equal(back["source"], there["target"])
        for side in ("source", "target"):
            assert (there[side] - drawn[side][person]).abs().mean() < 0.03  # JPEG
            points, truth = there[f"{side}_keypoints"], drawn[f"{side}_keypoints"][person]
            assert torch.equal(kp.present(points), kp.present(truth))
            assert (points - truth).abs().max() <= 0.5  # whole pixels, as in the authors' files
            maps, truth = there[f"{side}_pose"], drawn[f"{side}_pose"][person]
            assert (maps - truth).abs().max() < 0.08  # half a pixel each way at σ = 6


def test_the_networks_picture_has_joints_where_the_canvas_has_them(written, drawn):
    item = DeepFashion(written, "train")[0]
    assert item["source"].shape == (3, 256, 256)
    truth = drawn["source_keypoints"][0]
    there = kp.present(truth)
    expected = truth[there] * torch.tensor([256 / 176, 1.0])
    peaks = item["source_pose"][there].flatten(1).argmax(1)
    peaks = torch.stack((peaks % 256, peaks // 256), -1).float()
    assert (peaks - expected).abs().max() < 2.0  # half a pixel of canvas, then cut to whole ones
    wide = torch.nn.functional.interpolate(drawn["source"][:1], (256, 256), mode="bilinear")[0]
    assert (item["source"] - wide).abs().mean() < 0.03


def test_phases_share_nobody_and_names_look_like_the_authors(written):
    train, test = (DeepFashion(written, phase) for phase in ("train", "test"))
    persons = [{name[:35] for pair in data.pairs for name in pair} for data in (train, test)]
    assert [len(p) for p in persons] == [2, 1]
    assert not persons[0] & persons[1]
    assert train.pairs[0][0] == "fashionWOMENTees_Tanksid0000000101_1front.jpg"


@pytest.fixture
def grey_people(monkeypatch):
    """Stand-ins that cost nothing, for tests of what happens to files."""

    def pairs(count, size, seed):
        sides = {side: torch.zeros(count, 3, *size) for side in ("source", "target")}
        return sides | {f"{side}_keypoints": torch.full((count, 18, 2), 9.0) for side in sides}

    monkeypatch.setattr(sample.people, "pairs", pairs)


@pytest.mark.usefixtures("grey_people")
def test_a_sample_is_replaced_only_by_force_and_only_a_sample(tmp_path):
    written = write_sample(tmp_path / "mine", count=1, tests=1)
    before = (written / "fasion-annotation-train.csv").read_text()
    with pytest.raises(FileExistsError, match=r"not empty.*force=True"):
        write_sample(written, count=2, tests=1)
    assert (written / "fasion-annotation-train.csv").read_text() == before
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "thesis.tex").write_text("years of work")
    with pytest.raises(FileExistsError, match=r"holds 'thesis\.tex'"):
        write_sample(folder, force=True)
    assert (folder / "thesis.tex").read_text() == "years of work"
    (folder / "thesis.tex").unlink()
    write_sample(folder, count=1, tests=1)  # an empty folder is free to take
    (folder / "train" / "stale.jpg").write_bytes(b"")
    write_sample(folder, count=1, tests=1, force=True)
    assert not (folder / "train" / "stale.jpg").exists()
    assert [entry.name for entry in sorted(tmp_path.iterdir())] == ["mine", "other"]
    with pytest.raises(FileExistsError, match="is no folder"):
        write_sample(folder / "README.md", force=True)


@pytest.mark.usefixtures("grey_people")
def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(sample.kp, "write_annotations", full)
    with pytest.raises(OSError, match="no space left"):
        write_sample(tmp_path / "sample", count=1, tests=1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 0}, "count is 0"),
        ({"tests": 0}, "tests is 0"),
        ({"seed": 30_000_000}, "seed is 30000000"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_senseless_samples_are_refused(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        write_sample(tmp_path / "sample", **options)
    assert not list(tmp_path.iterdir())


def test_the_shipped_sample_is_small_and_what_its_note_says():
    files = [path for path in SAMPLE.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 1_500_000
    call = re.search(r"sample --count (\d+) --tests (\d+) --seed (\d+) --force", _note())
    count, tests, seed = (int(number) for number in call.groups())
    assert len(DeepFashion(SAMPLE, "train")) == 2 * count
    data = DeepFashion(SAMPLE, "test", size=(256, 176))
    assert len(data) == 2 * tests
    drawn = people.pairs(2, size=(256, 176), seed=seed + 1)
    for key, tolerance in (("target_keypoints", 0.51), ("target", 0.25)):
        told = torch.stack([data[2 * i][key] for i in range(2)])
        agree = ((told - drawn[key]).abs() <= tolerance).float().mean()
        assert agree > 0.95, f"{key}: gfla.data.people has changed since; run the note's command"


def _note():
    return (SAMPLE / "README.md").read_text(encoding="utf-8")
