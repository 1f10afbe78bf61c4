"""evaluate: known pictures give known numbers, and nothing is left out in silence."""

import json
import shutil

import pytest
import torch
from PIL import Image

from gfla import checkpoint, cli, evaluate, ledger, storage
from gfla.config import preset
from gfla.data import keypoints
from gfla.data.folders import DeepFashion, Market1501
from gfla.model import GFLA
from gfla.scores import judging, pairing, scoring
from gfla.scores.pairing import DAMAGED, pair_folders

PLAIN = "l1,psnr,ssim"


def write(folder, name, pixels, **options):
    folder.mkdir(exist_ok=True)
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(folder / name, **options)


def noise(seed, low=20, high=200, size=(32, 32)):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(low, high, (3, *size), generator=generator, dtype=torch.uint8)


@pytest.fixture
def folders(tmp_path):
    """Three true pictures, and generated ones that are 10 bytes brighter."""
    ours, true = tmp_path / "ours", tmp_path / "true"
    for k in range(3):
        write(true, f"{k}.png", noise(k))
        write(ours, f"{k}.png", noise(k) + 10)
    return ours, true


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return GFLA(**preset("tiny").generator()).eval()


@pytest.fixture(scope="module")
def sample():
    return storage.root() / "data" / "sample"


def ask(*words):
    return cli.main(["evaluate", "--quiet", *map(str, words)])


# Folders


def test_a_folder_against_itself_is_perfect(folders):
    _, true = folders
    found = scoring.evaluate_folders(true, true)
    results = found.judgement.results
    assert results["l1"] == 0 and results["ssim"] == pytest.approx(1)
    assert results["psnr"] == float("inf")
    assert results["judge_distance"] == 0 == results["augmented_distance"]
    assert found.names == ["0.png", "1.png", "2.png"] and found.left_out == {}


def test_a_known_difference_is_found(folders, capsys):
    found = scoring.evaluate_folders(*folders, encoders={})
    assert found.judgement.results["l1"] == pytest.approx(10 / 255)
    assert found.judgement.pairs["l1"] == pytest.approx([10 / 255] * 3)
    expected = -20 * torch.tensor(10 / 255).log10().item()
    assert found.judgement.results["psnr"] == pytest.approx(expected, rel=1e-5)
    assert ask("--images", folders[0], "--against", folders[1], "--metrics", PLAIN) == 0
    shown = capsys.readouterr().out
    assert f"| l1     | {10 / 255:.4g} | ↓ " in shown and "3 pairs of 32x32" in shown
    assert "judge_distance |" not in shown


def test_pictures_are_paired_by_name_and_the_rest_is_told(folders, capsys):
    ours, true = folders
    write(ours, "person_2_1_vis.jpg", noise(1), quality=95)  # as the authors name theirs
    write(ours, "a_2_b_2_2_vis.png", noise(2))
    write(ours, "stray.png", noise(7))
    write(true, "alone.webp", noise(8), lossless=True)
    (ours / "notes.txt").write_text("not a picture")
    pairs, left_out = pair_folders(ours, true)
    assert {a.name: b.name for a, b in pairs} == {
        "0.png": "0.png", "1.png": "1.png", "2.png": "2.png",
        "person_2_1_vis.jpg": "1.png", "a_2_b_2_2_vis.png": "2.png",
    }  # fmt: skip
    assert sorted(map(tuple, left_out.values())) == [
        ("alone.webp",), ("notes.txt",), ("stray.png",)
    ]  # fmt: skip
    assert ask("--images", ours, "--against", true, "--metrics", "l1") == 0
    shown = capsys.readouterr().out
    for name in ("alone.webp", "notes.txt", "stray.png"):
        assert f"1 ({name})" in shown


def test_endings_may_differ_and_two_of_a_name_may_not(folders):
    ours, true = folders
    (ours / "0.png").unlink()
    write(ours, "0.jpg", noise(0), quality=95)
    assert len(pair_folders(ours, true)[0]) == 3
    write(ours, "0.png", noise(0))
    with pytest.raises(ValueError, match="0.jpg and 0.png"):
        pair_folders(ours, true)


def test_folders_that_have_nothing_in_common(folders, tmp_path):
    write(tmp_path / "other", "x.png", noise(0))
    with pytest.raises(ValueError, match="none of the 1 pictures .* 3 in"):
        pair_folders(tmp_path / "other", folders[1])
    with pytest.raises(FileNotFoundError, match="nowhere"):
        pair_folders(tmp_path / "nowhere", folders[1])


@pytest.mark.parametrize("keep", [0.5, 0.0])
def test_a_damaged_picture_is_named_and_the_others_are_scored(folders, capsys, keep):
    ours, true = folders
    whole = (ours / "1.png").read_bytes()
    (ours / "1.png").write_bytes(whole[: int(keep * len(whole))])
    found = scoring.evaluate_folders(ours, true, encoders={})
    assert found.left_out == {DAMAGED: ["1.png"]} and found.names == ["0.png", "2.png"]
    assert found.judgement.results["l1"] == pytest.approx(10 / 255)
    assert ask("--images", ours, "--against", true, "--metrics", "l1") == 1
    assert "cannot be decoded: 1 (1.png)" in capsys.readouterr().out
    for name in ("0.png", "2.png"):
        (true / name).write_bytes(b"not a picture")
    with pytest.raises(ValueError, match="all 3 pairs"):
        scoring.evaluate_folders(ours, true)


def test_pictures_of_two_sizes_need_to_be_told_which(folders):
    ours, true = folders
    write(ours, "2.png", noise(2, size=(40, 32)))
    with pytest.raises(ValueError, match=r"2.png is 40x32, .*0.png is 32x32 .*--resize 32x32"):
        scoring.evaluate_folders(ours, true)
    found = scoring.evaluate_folders(ours, true, size=(48, 16), encoders={})
    assert found.size == (48, 16) and len(found.judgement.pairs["l1"]) == 3


def test_sizes_that_the_encoders_cannot_read_are_told(tmp_path):
    write(tmp_path / "a", "x.png", noise(0, size=(40, 32)))
    found = scoring.evaluate_folders(tmp_path / "a", tmp_path / "a")
    assert "judge_distance" not in found.judgement.results
    assert any("40x32" in note and "--resize" in note for note in found.judgement.notes)


def test_so_many_pairs_and_no_more(folders, capsys):
    found = scoring.evaluate_folders(*folders, count=2, encoders={})
    assert found.names == ["0.png", "1.png"]
    assert found.left_out == {scoring.BEYOND: ["2.png"]}
    lines = list(evaluate.left_out_lines({"because": [str(k) for k in range(7)]}))
    assert lines == ["left out, because: 7 (0, 1, 2, 3, 4 and 2 more)"]


def test_a_bomb_is_a_damaged_picture(tmp_path, monkeypatch):
    write(tmp_path / "a", "x.png", noise(0, size=(64, 64)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3000)
    with pytest.raises(OSError, match="x.png cannot be decoded"):
        pairing.read_picture(tmp_path / "a" / "x.png")


# Models


def test_a_model_on_files_is_the_model_on_their_tensors(model, sample, tmp_path, capsys):
    checkpoint.save_model(tmp_path / "tiny.safetensors", model)
    words = "--model", tmp_path / "tiny.safetensors", "--against", sample, "--metrics", PLAIN
    assert ask(*words, "--out", tmp_path / "found.json") == 0
    entry = json.loads((tmp_path / "found.json").read_text())
    items = [DeepFashion(sample, "test", size=(32, 32))[i] for i in range(16)]
    source, pose, target_pose, target = (
        torch.stack([item[key] for item in items])
        for key in ("source", "source_pose", "target_pose", "target")
    )
    with torch.no_grad():
        image = model(source, pose, target_pose).image
    expected = judging.judge_images(image, target, encoders={}).results
    assert entry["results"] == pytest.approx({key: expected[key] for key in PLAIN.split(",")})
    assert len(entry["names"]) == 16 == len(entry["pairs"]["ssim"]) and entry["commit"]
    assert entry["size"] == [32, 32]
    assert ask(*words, "--out", tmp_path / "found.csv", "--count", 15) == 0
    rows = (tmp_path / "found.csv").read_text().splitlines()
    assert rows[0] == "metric,value,better,pictures,against,commit,device,date"
    assert [row.split(",")[0] for row in rows[1:]] == PLAIN.split(",")
    assert "left out, beyond the number asked for: 1" in capsys.readouterr().out


def test_a_damaged_picture_of_a_data_set_costs_its_pairs(model, sample, tmp_path, capsys):
    broken = shutil.copytree(sample, tmp_path / "broken")
    name = DeepFashion(broken, "test").pairs[0][1]
    whole = (broken / "test" / name).read_bytes()
    (broken / "test" / name).write_bytes(whole[: len(whole) // 2])
    found = scoring.evaluate_model(model, broken, encoders={})
    assert found.left_out == {DAMAGED: [name]} and len(found.names) == 14
    assert not any(name in pair for pair in found.names)


def test_the_layout_of_market_is_known_and_its_pictures_lie_still(model, sample, tmp_path):
    market = shutil.copytree(sample, tmp_path / "market")
    (market / "fasion-pairs-train.csv").rename(market / "market-pairs-train.csv")
    skeletons = keypoints.read_annotations(market / "fasion-annotation-train.csv")
    halved = {k: keypoints.rescale(v, (256, 176), (128, 64)) for k, v in skeletons.items()}
    keypoints.write_annotations(market / "market-annotation-train.csv", halved)
    data = scoring.open_folder(market, "train", (32, 32))
    assert isinstance(data, Market1501) and torch.equal(data[0]["source"], data[0]["source"])
    found = scoring.evaluate_model(model, market, phase="train", count=2, encoders={})
    assert len(found.names) == 2 and 0 < found.judgement.results["l1"] < 1


def test_people_come_with_their_truth(model, tmp_path, capsys):
    checkpoint.save_model(tmp_path / "model.safetensors", model)  # as a run's folder has it
    words = "--model", tmp_path, "--against", "people", "--count", 4
    assert ask(*words, "--metrics", "l1,l1_foreground,flow_error,fid") == 0
    shown = capsys.readouterr().out
    expected = judging.judge(model, count=4, encoders={}).results
    for name in ("l1", "l1_foreground", "flow_error"):
        assert f" {expected[name]:.4g} " in shown
    assert "not measured here: fid" in shown and "ssim" not in shown


def test_a_model_is_found_by_name_file_or_folder(model, tmp_path):
    assert scoring.find_model("people").size == (64, 64)
    with pytest.raises(ValueError, match="'nobody'"):
        scoring.find_model("nobody")
    with pytest.raises(FileNotFoundError, match="has not finished"):
        scoring.find_model(str(tmp_path))


def test_every_metric_can_be_shown():
    shown = evaluate.table(dict.fromkeys(judging.METRICS, 0.5))
    bases = [name for name in judging.METRICS if not name.endswith("_foreground")]
    assert len(shown.splitlines()) == len(bases) + 2
    assert "person" not in evaluate.table({"l1": 0.1}).splitlines()[0]


# The protocol matrix from the command line


def test_the_matrix_of_files(model, sample, tmp_path, monkeypatch, capsys):
    checkpoint.save_model(tmp_path / "tiny.safetensors", model)
    monkeypatch.setenv("GFLA_ROOT", str(tmp_path))
    words = "--protocol", "--metrics", "l1", "--out", tmp_path / "matrix.json"
    assert (
        ask("--model", tmp_path / "tiny.safetensors", "--against", sample, *words, "--record") == 0
    )
    table = json.loads((tmp_path / "matrix.json").read_text())["table"]
    by_name = {row["convention"]: row["l1"] for row in table}
    shown = capsys.readouterr().out
    assert f"| {by_name['reference']:.4g} " in shown
    assert by_name["ground truth shrunk by nearest"] is not None  # from the files themselves
    assert by_name["background grey"] is None
    assert ledger.read("protocol")["results"]["l1"] == pytest.approx(by_name["reference"])


def test_the_matrix_of_folders(folders, capsys):
    words = "--images", folders[0], "--against", folders[1], "--protocol", "--metrics", "l1"
    assert ask(*words, "--out", folders[0].parent / "matrix.csv") == 0
    rows = (folders[0].parent / "matrix.csv").read_text().splitlines()
    name, group, value, *_ = rows[1].split(",")
    assert rows[0].endswith("pairs,size,commit,device,date")
    assert (name, group, float(value)) == ("reference", "", pytest.approx(10 / 255))
    shown = capsys.readouterr().out
    assert "needs to know where the person is: cut to the person's box; background grey" in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--images", "x"], "--images wants --against"),
        (["--model", "people", "--metrics", "lips"], "no metric 'lips'"),
        (["--model", "people", "--resize", "64x64"], "--resize is for --images"),
        (["--model", "people", "--record"], "--record goes with --protocol"),
        (["--model", "people", "--out", "found.txt"], "ends in .json or .csv"),
        (["--model", "people", "--count", "0"], "at least 1 pair"),
        (["--model", "people", "--against", "nowhere"], "no folder nowhere"),
    ],
)
def test_a_mistake_is_one_line(words, message, capsys):
    assert ask(*words) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
