"""Which data set lies in a folder, and whether a check finds what was put there."""

import json
import os

import pytest
import torch
from data_folders import STANDING, flat, phase, picture, row, snapshot, tree, write_list

from gfla import cli, storage
from gfla.data.checking import check
from gfla.data.findings import Findings
from gfla.data.known_sets import ARCHIVES, KNOWN, Count
from gfla.data.procedural_sets import procedural_faces, procedural_videos
from gfla.data.protocols import PROTOCOLS
from gfla.data.recognising import recognise
from gfla.data.small_sets import write_views

SIZE = (32, 32)
HEADING = "name:keypoints_y:keypoints_x"


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """Remember nowhere that a person looks."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


def boxes(root):
    for name in ("bounding_box_train", "bounding_box_test", "query"):
        (root / name).mkdir(parents=True)
        picture(size=(128, 64)).save(root / name / f"0002_c1s1_00045{len(name)}_03.jpg")
    return root


def market(root):
    names = ["0002_c1s1_000451_03.jpg", "0002_c3s1_000551_00.jpg"]
    half = [(x // 2, y // 2) for x, y in STANDING]
    for one in ("train", "test"):
        phase(root, one, names, [names], "market", half)
        for name in names:
            picture(size=(128, 64)).save(root / one / name)
    return root


def views(root):
    pytest.importorskip("h5py")
    turned = torch.rand(2, 1, 18, 3, 8, 8) * 2 - 1  # models, elevations, azimuths
    return write_views(root, {"one": turned[0]}, {"two": turned[1]})


def videos(root, masks=True):
    procedural_videos(root, 1, 1, frames=3, size=SIZE)
    if not masks:
        for name in ("train", "test"):
            for path in (root / f"{name}_256" / "train_C").rglob("*.png"):
                path.unlink()
            for path in sorted((root / f"{name}_256" / "train_C").rglob("*"), reverse=True):
                path.rmdir()
            (root / f"{name}_256" / "train_C").rmdir()
    return root


MADE = {
    "deepfashion_tree": tree,
    "deepfashion": flat,
    "market_tree": boxes,
    "market": market,
    "shapenet": views,
    "fashion_video": lambda root: videos(root, masks=False),
    "iper": videos,
    "face": lambda root: procedural_faces(root, 1, 1, frames=2, size=SIZE),
}


def whats(done, *severities):
    return {one.what for one in done.findings if one.severity in (severities or ("error",))}


@pytest.mark.parametrize("kind", KNOWN)
def test_every_set_is_recognised_and_looked_through(tmp_path, kind):
    root = MADE[kind](tmp_path / "set")
    found = recognise(root)
    assert (found.kind, found.root) == (kind, root)
    assert found.reason
    before = snapshot(root)
    done = check(root)
    assert snapshot(root) == before
    told = whats(done, "error", "warning")
    expected = {
        "deepfashion_tree": {"split and poses are not here"},
        "market_tree": {"split and poses are not here"},
    }
    allowed = {"skeleton without a joint", "key points off the canvas"}  # of a noisy detector
    assert told - allowed == expected.get(kind, set()), done.table()
    assert any(isinstance(count, int) and count > 0 for count in done.facts.values())


def test_the_folder_of_the_archive_or_a_part_is_enough(tmp_path):
    tree(tmp_path / "In-shop Clothes Retrieval Benchmark" / "Img")
    found = recognise(tmp_path)
    assert found.kind == "deepfashion_tree"
    assert found.root.name == "Img"
    assert recognise(found.root / "img_highres").root == found.root
    flat(tmp_path / "flat")
    assert recognise(tmp_path / "flat" / "train").kind == "deepfashion"
    for path in (tmp_path / "flat").glob("*.csv"):
        path.unlink()
    assert recognise(tmp_path / "flat").reason.endswith("has a flattened name of DeepFashion")


def test_what_is_not_known_says_what_was_looked_for(tmp_path):
    (tmp_path / "walk.mp4").write_bytes(b"x")
    with pytest.raises(ValueError, match="Looked for") as told:
        recognise(tmp_path)
    for known in KNOWN.values():
        assert known.looked_for in str(told.value)
    assert "Found: walk.mp4" in str(told.value)
    assert "extract their frames" in str(told.value)
    with pytest.raises(FileNotFoundError, match="no folder"):
        recognise(tmp_path / "none")
    with pytest.raises(ValueError, match="no data set 'imagenet'"):
        recognise(tmp_path, "imagenet")
    with pytest.raises(ValueError, match="is no Market-1501 as published: looked for bounding_box"):
        check(tmp_path, "market_tree")


def test_what_cannot_be_told_can_be_said(tmp_path):
    root = videos(tmp_path / "set", masks=False)
    assert recognise(root).kind == "fashion_video"
    assert recognise(root, "iper").kind == "iper"
    assert whats(check(root, "iper"), "warning") >= {"folder is missing"}  # that of the masks


@pytest.mark.parametrize("spelling", ["fasion", "fashion"])
def test_both_spellings_are_clean(tmp_path, spelling):
    done = check(flat(tmp_path, prefix=spelling))
    assert whats(done, "error", "warning") == set()
    assert done.facts["pairs of test"] == 3


def test_lists_in_both_spellings_are_told(tmp_path):
    flat(tmp_path)
    text = (tmp_path / "fasion-pairs-train.csv").read_text()
    (tmp_path / "fashion-pairs-train.csv").write_text(text)
    (tmp_path / "fasion-annotation-test.csv").unlink()
    done = check(tmp_path)
    assert whats(done, "warning") == {"list in both spellings"}
    assert "list is missing" in whats(done)


def poses(root, joints, people=4):
    """A clean set whose key points are all others."""
    flat(root, people)
    for name in ("train", "test"):
        path = root / f"fasion-annotation-{name}.csv"
        names = [line.split(":")[0] for line in path.read_text().splitlines()[1:]]
        write_list(path, HEADING, [row(one, joints) for one in names])
    return root


def scaled(factor, x=1.0):
    return [(round(a * factor * x), round(b * factor)) for a, b in STANDING]


def exchanged(*swaps):
    joints = list(STANDING)
    for a, b in swaps:
        joints[a], joints[b] = joints[b], joints[a]
    return joints


@pytest.mark.parametrize(
    ("joints", "what", "words"),
    [
        (scaled(4.3), "key points told on another canvas", "measured on 1101x750"),
        (scaled(1, 1.9), "key points told on another canvas", "measured on 256x256"),
        (scaled(0.5), "key points in a corner of the canvas", "measured on 128x64"),
        ([(0.4, 0.5)] * 18, "key points are shares of 1", "multiply x and y"),
        ([(y, x) for x, y in STANDING], "x and y look swapped throughout", "keypoints_y"),
        (exchanged((0, 10), (1, 13)), "order of the joints looks wrong", "OpenPose"),
        (exchanged((14, 15), (16, 17)), "order of the joints looks wrong", "OpenPose"),
    ],
)
def test_wrong_skeletons_are_explained(tmp_path, joints, what, words):
    done = check(poses(tmp_path, joints))
    (found,) = [one for one in done.findings if one.what == what]
    assert found.severity == "error"
    assert words in found.remedy
    assert not whats(check(flat(tmp_path / "right", 4)))


def test_one_odd_skeleton_is_no_wrong_order(tmp_path):
    flat(tmp_path, 4)
    path = tmp_path / "fasion-annotation-train.csv"
    lines = path.read_text().splitlines()
    lines[1] = row(lines[1].split(":")[0], exchanged((14, 15), (16, 17)))
    lines[2] = row(lines[2].split(":")[0], [(-1, -1)] * 18)
    lines[3] = row(lines[3].split(":")[0], [(-1, 40), *STANDING[1:17], (200, 38)])
    path.write_text("\n".join(lines) + "\n")
    done = check(tmp_path)
    assert whats(done) == set()
    assert whats(done, "warning") == {
        "skeleton without a joint",
        "joint with one coordinate missing",
        "key points off the canvas",
    }
    assert "skeletons that look odd" in whats(done, "note")


def test_pairs_are_held_against_pictures_and_people(tmp_path):
    flat(tmp_path)
    names = sorted(path.name for path in (tmp_path / "train").iterdir())
    with (tmp_path / "fasion-pairs-train.csv").open("a") as file:
        file.write(f"{names[0]},{names[2]}\n{names[0]},{names[0]}\n{names[0]}\n")
    picture(size=(100, 100)).save(tmp_path / "train" / "unlisted.png")
    with (tmp_path / "fasion-annotation-train.csv").open("a") as file:
        file.write(row("nowhere.png") + "\n" + row(names[0], STANDING[::-1]) + "\n")
    (tmp_path / "fasion-annotation-test.csv").write_text("\n")
    done = check(tmp_path)
    assert whats(done) == {
        "ragged row of pairs",
        "two different skeletons for one picture",
        "empty list",
    }
    assert whats(done, "warning") == {
        "pair of two persons",
        "picture paired with itself",
        "picture of another shape",
    }
    assert {"picture in no pair", "key points without a picture"} <= whats(done, "note")


def test_a_tree_is_held_against_its_lists(tmp_path):
    tree(tmp_path)
    good = "fashionWOMENTees_Tanksid0000000101_1front.jpg"
    (tmp_path / "train.lst").write_text(f"{good}\nfashionWOMENnone.jpg\n../x.jpg\n")
    (tmp_path / "test.lst").write_text("img_highres/WOMEN/Tees_Tanks/id_00000002/01_1_front.jpg\n")
    (tmp_path / "img_highres" / "WOMEN" / "loose.jpg").write_bytes(b"")
    done = check(tmp_path)
    found = {one.what: one for one in done.findings}
    assert found["listed picture is missing"].examples == ["train.lst: fashionWOMENnone.jpg"]
    assert "name that leaves the folder or is none" in found
    assert found["picture outside the folders of the set"].count == 1
    assert done.facts["pictures"] == 4
    assert done.facts["names in test.lst"] == 1


def test_counts_are_held_against_the_published(tmp_path, monkeypatch):
    near = KNOWN["deepfashion"].counts | {"pairs of test": Count(4)}
    near["pairs of train"] = Count(4, remembered=True)
    monkeypatch.setitem(KNOWN, "deepfashion", KNOWN["deepfashion"]._replace(counts=near))
    done = check(flat(tmp_path))
    assert whats(done, "note") == {
        "another number than published",
        "a small part of the published set",
    }
    (found,) = [one for one in done.findings if one.severity == "warning"]
    assert found.examples == ["3 pairs of test, published: 4"]
    assert "DeepFashion/InShopRetrieval" in done.table()
    assert "(remembered, not looked up)" in done.table()


def test_checksums_beside_the_data_are_held(tmp_path):
    flat(tmp_path)
    first, second = sorted((tmp_path / "train").iterdir())[:2]
    lines = [f"{storage.sha256(one)}  train/{one.name}" for one in (first, second)]
    (tmp_path / "SHA256SUMS").write_text("\n".join(lines) + "\n")
    assert check(tmp_path).findings.clean
    changed = bytearray(first.read_bytes())
    changed[-20] ^= 1
    first.write_bytes(changed)
    lines += ["00" * 32 + "  ../x", "00" * 32 + "  gone.png", "nonsense"]
    (tmp_path / "SHA256SUMS").write_text("\n".join(lines) + "\n")
    done = check(tmp_path)
    found = {one.what: one.examples for one in done.findings}
    assert found["file differs from its checksum"] == [f"train/{first.name}"]
    assert found["file with a checksum is missing"] == ["gone.png"]
    assert "name that leaves the folder or is none" in found
    assert "line of checksums that is none" in found


def test_the_published_archive_is_known_by_its_checksum(tmp_path):
    import zipfile

    flat(tmp_path)
    with zipfile.ZipFile(tmp_path / "Market-1501-v15.09.15.zip", "w") as archive:
        archive.writestr("a", "b")
    (found,) = [one for one in check(tmp_path).findings if one.severity == "error"]
    assert found.what == "archive is not the published one"
    assert "65005ab7d12ec1c44de4eeafe813e68a" in found.examples[0]


def test_a_second_check_looks_at_what_changed_only(tmp_path, monkeypatch):
    from gfla.data import surveying

    flat(tmp_path)
    seen = []
    real = surveying.examine
    monkeypatch.setattr(surveying, "examine", lambda path: seen.append(path.name) or real(path))
    first = check(tmp_path)
    assert len(seen) == 12
    again = check(tmp_path)
    assert len(seen) == 12
    assert again.remembered == 12
    assert again.facts == first.facts
    changed = sorted((tmp_path / "test").iterdir())[0]
    changed.write_bytes(b"now damaged")
    for _ in range(2):  # what is damaged is never remembered as good
        assert "picture cannot be decoded" in whats(check(tmp_path))
    assert seen[12:] == [changed.name] * 2


def test_an_interrupted_check_goes_on(tmp_path, monkeypatch):
    from gfla.data import surveying

    flat(tmp_path)
    monkeypatch.setattr(surveying, "_TOGETHER", 5)
    real, left = surveying.examine, [7]

    def stopped(path):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return real(path)

    monkeypatch.setattr(surveying, "examine", stopped)
    with pytest.raises(KeyboardInterrupt):
        check(tmp_path, workers=1)
    monkeypatch.setattr(surveying, "examine", real)
    assert check(tmp_path).remembered >= 5


def test_nothing_is_remembered_in_the_data(tmp_path):
    flat(tmp_path)
    with pytest.raises(ValueError, match="nothing is written there"):
        check(tmp_path, cache=tmp_path / "cache")
    told = ["data", "check", str(tmp_path), "--json", str(tmp_path / "r.json")]
    assert cli.main(told) == 2
    assert not (tmp_path / "r.json").exists()


def test_a_spoilt_memory_is_no_harm(tmp_path, cache):
    flat(tmp_path / "set")
    check(tmp_path / "set", cache=cache)
    (kept,) = cache.glob("*.json")
    for content in ("no json", "[]", '{"version": 1, "good": {"train": 3}}'):
        kept.write_text(content)
        assert check(tmp_path / "set", cache=cache).findings.clean


def test_the_command_reports(tmp_path, capsys):
    flat(tmp_path / "set")
    report = tmp_path / "report.json"
    told = ["data", "check", str(tmp_path / "set"), "--quiet"]
    assert cli.main([*told, "--json", str(report)]) == 0
    assert "Nothing is wrong with it." in capsys.readouterr().out
    assert storage.read_json(report)["counts"]["pairs of train"] == 3
    os.remove(sorted((tmp_path / "set" / "train").iterdir())[0])  # noqa: PTH107
    assert cli.main([*told, "--json", "-"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert not found["clean"]
    assert found["findings"][0]["what"] == "pair without its picture"
    assert cli.main(["data", "check", str(tmp_path / "none")]) == 2


@pytest.mark.parametrize("kind", ["iper", "face", "shapenet"])
def test_damage_in_clips_and_views_is_told(tmp_path, kind):
    root = MADE[kind](tmp_path / "set")
    if kind == "iper":
        frames = sorted((root / "train_256" / "train_A").rglob("*.png"))
        frames[0].write_bytes(b"x")
        joints = sorted((root / "train_256" / "train_video2d").rglob("*.json"))
        joints[1].write_text('{"people": [{"pose_keypoints_2d": [1, 2]}]}')
        joints[2].unlink()
        expected = {
            "picture cannot be decoded",
            "joints that cannot be used",
            "frame without its file of joints",
        }
    elif kind == "face":
        points = sorted((root / "train_keypoints").rglob("*.txt"))
        points[0].write_text("1,2\n")
        (root / "train_data" / "nobody").mkdir()
        expected = {"landmarks that cannot be used", "video without frames"}
    else:
        import h5py

        with h5py.File(root / "data_chair.hdf5", "a") as file:
            name = next(iter(file))
            del file[name]["image"]
            file[name]["image"] = [1, 2, 3]
        expected = {"view that cannot be read"}
    for _ in range(2):
        assert whats(check(root)) == expected


def test_findings_refuse_another_severity():
    with pytest.raises(ValueError, match="severity is 'fatal'"):
        Findings().add("fatal", "x")


def test_the_readme_says_what_the_code_knows():
    text = (storage.root() / "data" / "README.md").read_text()
    for known in KNOWN.values():
        assert known.where.split(";")[0].split(" has ")[0].split(". ")[0] in text
        assert known.terms in text
        for count in known.counts.values():
            assert f"{count.number:,}" + (" ᵐ" if count.remembered else "") in text
    for name, (_, digits, _) in ARCHIVES.items():
        assert name in text
        assert digits in text
    for name in PROTOCOLS:
        assert f"| `{name}` |" in text
