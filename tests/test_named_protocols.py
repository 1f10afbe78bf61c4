"""Scoring in a way that has a name: what each does to the pictures, and what it refuses to say."""

import json

import pytest
import torch

from gfla import cli, metrics
from gfla.scores import named_protocols
from gfla.scores.conventions import Scene, relative_error, ssim_own_range
from gfla.scores.named_protocols import METRICS, NAMED, score
from gfla.scores.resaving import as_bytes, jpeg, resize


@pytest.fixture(scope="module")
def scene():
    """Pictures a little brighter than the truth, whose originals are 256x176."""
    random = torch.Generator().manual_seed(0)
    coarse = torch.rand(3, 3, 32, 22, generator=random) * 1.8 - 0.9
    originals = resize(coarse, (256, 176))
    targets = resize(originals, (64, 64))
    return Scene((targets + 0.1).clamp(-1, 1), targets, originals)


def test_the_authors_numbers_are_those_of_their_steps(scene):
    found = score("authors", scene)
    ours = jpeg(as_bytes(scene.images, cut=True), 75, "4:2:0")
    true = jpeg(resize(scene.originals, (64, 64), "bicubic"), 75, "4:2:0")
    assert found.values["l1"] == metrics.l1(ours, true)
    assert found.values["mae"] == relative_error(ours, true)
    assert found.values["ssim"] == ssim_own_range(ours, true)
    assert found.size == (64, 64)


def test_each_way_gives_other_numbers_of_the_same_pictures(scene):
    ssim = {name: round(score(name, scene, ["ssim"]).values["ssim"], 5) for name in NAMED}
    assert len(set(ssim.values())) == len(NAMED)


def test_the_middle_is_all_that_counts_when_cropped(scene):
    spoilt = scene.targets.clone()
    spoilt[..., :8] = -spoilt[..., :8]
    spoilt[..., -8:] = -spoilt[..., -8:]
    same = scene._replace(images=spoilt, originals=None)
    assert score("cropped", same, ["l1"]).values["l1"] == 0
    assert score("ours", same, ["l1"]).values["l1"] > 0.01


def test_narrow_shrinks_the_originals_once(scene):
    found = score("narrow", scene._replace(images=scene.targets), ["l1"])
    assert found.size == (64, 48)
    once = as_bytes(resize(scene.originals, (64, 48)))
    twice = as_bytes(resize(scene.targets, (64, 48)))
    assert found.values["l1"] == metrics.l1(twice, once) > 0
    narrow = Scene(torch.zeros(1, 3, 64, 44), torch.zeros(1, 3, 64, 44))
    assert score("narrow", narrow, ["l1"]).size == (64, 44)


def test_files_are_taken_as_they_are(scene):
    found = score("authors", scene._replace(originals=None))
    plain = as_bytes(scene.images), as_bytes(scene.targets)
    assert found.values["l1"] == metrics.l1(*plain)
    assert any("files are taken as they are" in note for note in found.notes)


def test_nothing_is_called_lpips_or_fid_without_its_weights(scene, monkeypatch):
    monkeypatch.setattr(named_protocols, "unpublished", lambda name: f"no {name} here")
    for name in NAMED:
        found = score(name, scene)
        assert set(found.values) | set(found.refused) == set(METRICS)
        assert not {"lpips", "fid"} & set(found.values)
        assert found.refused["lpips"] == "no alex here"
    assert "torchvision's Inception" in score("authors", scene).refused["fid"]
    shown = named_protocols.table([score("ours", scene)])
    assert "| –     | –   |" in shown and "ours: no fid: no inception here" in shown


def test_with_the_weights_lpips_is_the_version_of_the_protocol(scene, monkeypatch):
    asked = []

    def lpips(images, targets, version):
        asked.append((len(images), version))
        return 0.25

    monkeypatch.setattr(named_protocols, "unpublished", lambda name: "")
    monkeypatch.setattr(named_protocols.perceptual, "lpips", lpips)
    many = Scene(*(side.repeat(23, 1, 1, 1) for side in (scene.images, scene.targets)))  # 69 pairs
    for name in ("authors", "ours"):
        assert score(name, many, ["lpips"]).values == {"lpips": 0.25}
    assert asked == [(64, "0.0"), (69, "0.1")]
    assert score("ours", many, ["fid"]).refused["fid"].startswith("69 pictures, it takes")


def test_sizes_that_no_paper_has_are_told(scene):
    assert "no published number is of 64x64 pictures" in score("ours", scene).notes
    square = torch.zeros(1, 3, 256, 256)
    assert score("ours", Scene(square, square), ["l1"]).notes == ()
    assert score("narrow", Scene(square, square), ["l1"]).size == (256, 176)


def test_the_command_says_which(scene, tmp_path, capsys):
    from PIL import Image

    from gfla.pictures import to_uint8

    for side, pictures in (("a", scene.images), ("b", scene.targets)):
        (tmp_path / side).mkdir()
        for number, one in enumerate(pictures):
            Image.fromarray(to_uint8(one)).save(tmp_path / side / f"{number}.png")
    words = ["evaluate", "--images", str(tmp_path / "a"), "--against", str(tmp_path / "b")]
    words += ["--device", "cpu", "--quiet", "--out", str(tmp_path / "found.json")]
    assert cli.main([*words, "--protocol", "authors"]) == 0
    shown, kept = capsys.readouterr().out, json.loads((tmp_path / "found.json").read_text())
    assert "authors: the authors' script" in shown and "no fid:" in shown
    want = score("authors", scene._replace(originals=None), ["l1"]).values["l1"]
    assert kept["protocol"]["values"]["l1"] == pytest.approx(want, abs=1e-4)
    assert kept["protocol"]["name"] == "authors"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--protocol", "best"], "no protocol 'best': choose one of ours, authors"),
        (["--protocol", "authors", "--metrics", "jnd"], "no metric 'jnd' in a protocol"),
        (["--protocol", "authors", "--record"], "goes with --protocol alone"),
        (["--protocol", "authors", "--out", "a.csv"], "kept as .json"),
    ],
)
def test_a_mistake_is_one_line(words, message, capsys):
    assert cli.main(["evaluate", "--model", "people", *words]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
