"""Data of one's own: what notebook 09 damages and measures, and presets that train from folders."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from gfla import config, features, journal, passes, streams, train
from gfla.data import keypoints as kp
from gfla.data import pose_files, pose_repairs, posing, retargeting
from gfla.data.checking import check
from gfla.data.folders import DeepFashion, Market1501, write_sample
from gfla.data.posing import Pose
from gfla.data.preparing import prepare
from gfla.photos import origins, repainting
from gfla.scores import scoring
from gfla.scores.conventions import Scene
from gfla.street import own_data, own_figures, own_poses

SAMPLE = own_data.located("sample")


@pytest.fixture(scope="module")
def pose():
    """Somebody who faces us, off the whole pixels."""
    told = kp.read_annotations(SAMPLE / "fasion-annotation-test.csv")
    return posing.shifted(Pose.of(list(told.values())[1], (256, 176)), 0.3, 0.4)


@pytest.fixture(scope="module")
def fashion(tmp_path_factory):
    """One person of each phase, in the authors' layout."""
    return write_sample(tmp_path_factory.mktemp("own") / "fashion", count=1, tests=1)


@pytest.fixture(scope="module")
def market(fashion, tmp_path_factory):
    """The same in that of Market-1501."""
    return own_data.as_market(fashion, tmp_path_factory.mktemp("own") / "market")


# ---------------------------------------------------------------- folders


def test_a_folder_is_found_or_named(tmp_path):
    assert own_data.located(str(tmp_path)) == tmp_path
    with pytest.raises(FileNotFoundError, match="nowhere: give the folder"):
        own_data.located("nowhere")
    assert own_data.with_people(tmp_path) == SAMPLE  # nothing is in it
    with pytest.raises(ValueError, match="unknown profile 'huge'"):
        own_data.setting("huge")


def test_every_damage_is_found_as_often_as_it_was_done(tmp_path):
    done = own_data.damaged_copy(tmp_path / "copy")
    found = check(tmp_path / "copy", cache=tmp_path / "cache").findings
    counts = {one.what: one.count for one in found}
    assert {one.called: one.count for one in done}.items() <= counts.items()
    whole = {one.what for one in check(SAMPLE, cache=tmp_path / "cache").findings}
    assert not whole & {one.called for one in done}  # it is the damage that is found
    prepare(tmp_path / "copy", tmp_path / "made")
    lost = {number for one in done for number in one.costs}
    assert len(DeepFashion(tmp_path / "made", "test")) == 16 - len(lost) == 10


# ---------------------------------------------------------------- key points


def test_every_format_gives_the_pose_back(pose, tmp_path):
    off = {}
    for order in own_poses.FORMATS:
        (tmp_path / "pose").write_text(own_poses.written(pose, order))
        read = pose_files.read_pose(tmp_path / "pose", size=pose.size)
        assert read.format == order
        assert {"nose", "right_wrist"} <= set(own_poses.order_of(order))
        off[order] = own_poses.farthest(pose, read.pose())
    assert off["OpenPose-18"][0] < 1e-3 and off["OpenPose BODY_25"][0] < 1e-3
    assert off["the authors' CSV"][0] == pytest.approx(0.5, abs=1e-3)
    for order in ("COCO-17", "MediaPipe-33"):
        assert off[order][1] == "neck"
    with pytest.raises(ValueError, match="no format 'xml': choose one of OpenPose-18"):
        own_poses.written(pose, "xml")


def test_a_mistake_is_noticed_and_undone(pose):
    assert pose_repairs.faults(pose) == ()
    for name, wrong in own_poses.mistakes(pose).items():
        assert pose_repairs.faults(wrong), name
        remedy = pose_repairs.remedy(wrong)
        assert bool(remedy) == (name != "another canvas")
        if remedy:
            assert own_poses.farthest(pose, pose_repairs.repaired(wrong, remedy))[0] < 1e-6


def test_a_stranger_in_the_same_pose_comes_back_as_oneself(pose):
    other = own_poses.stranger(pose, taller=3.0, arms=1.25)
    moved = retargeting.retarget(other, pose)
    assert moved.ratios["forearms"] == pytest.approx(1 / 3 / 1.25)
    assert moved.ratios["thighs"] == pytest.approx(1 / 3)
    assert own_poses.farthest(pose, moved.pose)[0] < 1e-6
    off, joint = own_poses.farthest(pose, posing.resized(other, pose.size))
    assert off == pytest.approx(0.25 * posing.bones(pose)[joint], rel=0.1) and "wrist" in joint


def test_the_portrait_is_a_photograph_with_its_joints_in_it():
    path, text = own_poses.portrait()
    with Image.open(path) as picture:
        size = picture.height, picture.width
    read = pose_files.read_text(text, size=size)
    assert len(read.pose().missing()) == 10
    assert pose_repairs.faults(read.pose()) == ()


def test_own_pose_knows_a_perfect_painter_and_a_flat_one(pose):
    origin = origins.origin("people")
    photograph = Image.open(SAMPLE / "test" / list(
        kp.read_annotations(SAMPLE / "fasion-annotation-test.csv"))[1]).convert("RGB")  # fmt: skip
    made = repainting.repaint(photograph, pose, pose, origin, retargeting=False)
    canvas = torch.from_numpy(np.array(made.canvas)).permute(2, 0, 1)[None] / 127.5 - 1
    perfect = made._replace(output=made.output._replace(image=canvas))
    assert own_poses.own_pose(perfect).error < 1e-6
    found = own_poses.own_pose(made)
    assert 0 < found.error < found.flat
    assert own_figures.repainted({"one": (photograph, pose, pose, made)}).axes


# ---------------------------------------------------------------- published weights


def test_what_must_not_be_taken_is_refused(tmp_path, capsys):
    tensors = own_data.random_file(tmp_path / "net.pth", "market", seed=1)
    again = torch.load(tmp_path / "net.pth", weights_only=True)
    assert all(torch.equal(again[name], tensor) for name, tensor in tensors.items())
    assert all(name.startswith("module.") for name in tensors)
    said = own_data.refusals(tmp_path / "net.pth", tensors, tmp_path, "market", "fashion")
    assert "taken" not in said.values()
    assert "names the Python object print" in said["a pickle that runs a program"]
    assert "5 keys are missing" in said["five tensors fewer"]
    assert "it seems to be of task 'market'" in said["a file of another task"]
    assert not any(str(tmp_path) in words for words in said.values())
    assert capsys.readouterr().out == ""
    pickle.loads((tmp_path / "program.pth").read_bytes())  # elsewhere it does run
    assert capsys.readouterr().out == "somebody else ran this\n"


# ---------------------------------------------------------------- metrics


def test_a_scene_reads_no_more_than_it_needs(fashion, monkeypatch):
    origin = origins.origin("people")
    made = own_data.scene(origin.model, fashion, 1)
    assert made.images.shape == (1, 3, 64, 64) and made.originals.shape == (1, 3, 256, 176)
    assert made.sets == {}
    monkeypatch.setattr(scoring, "_MOST", 1)
    all_of_it, _ = scoring.model_scene(origin.model, fashion, "test", 1)
    shapes = {name: len(real) for name, real in all_of_it.sets.items()}
    assert shapes == {"the first 1 of test": 1, "the first 1 of train": 1}
    assert own_figures.protocols(Scene(made.images, made.targets), ["ours", "narrow"]).axes


# ---------------------------------------------------------------- training


def test_the_augmentation_keeps_the_bounds_of_the_authors(market, monkeypatch):
    found = own_data.movements(market, 64, seed=3)
    bounds = {"source": (5, 5, 0.05), "target": (1, 2.5, 0)}
    for side, (angle, shift, scale) in bounds.items():
        angles, shifts = ([abs(m.angle) for m in found[side]],
                          [abs(s) for m in found[side] for s in m.shift])  # fmt: skip
        scales = [abs(m.scale - 1) for m in found[side]]
        for values, most in ((angles, angle), (shifts, shift), (scales, scale)):
            assert 0.8 * most <= max(values) <= most + 1e-4
    apart = [abs(s.angle - 5 * t.angle) for s, t in zip(found["source"], found["target"])]
    assert np.mean(apart) > 1  # drawn independently
    assert own_figures.augmented(market, draws=2).axes
    monkeypatch.setattr(kp, "affine_matrix", lambda *_: torch.eye(3, dtype=torch.float64))
    assert max(abs(m.angle) for m in own_data.movements(market, 4)["source"]) < 1e-4


def test_the_copy_is_a_market_that_nothing_is_wrong_with(fashion, market, tmp_path):
    found = check(market, cache=tmp_path)
    assert found.at.kind == "market" and found.findings.clean
    assert own_data.as_market(market, tmp_path / "again") == market
    ours, true = (reader(root, "train", size=(128, 64))
                  for reader, root in ((Market1501, market), (DeepFashion, fashion)))  # fmt: skip
    one, other = Market1501(market, "train", augment=False)[0], true[0]
    assert len(ours) == len(true)
    assert (one["source"] - other["source"]).abs().max() < 0.01
    assert (one["source_keypoints"] - other["source_keypoints"]).abs().max() <= 0.51


def test_market_gets_the_size_that_is_asked_for(market):
    small = config.preset("tiny", source=str(market))
    reader = streams.open_folder(small.data)
    assert (reader.size, reader.sigma, reader.augment) == ((32, 32), 6 * 32 / 128, True)
    assert streams.batches(small.data, 0, torch.device("cpu"))(0)["source"].shape[2:] == (32, 32)


NARROW = {"flow_base": 4, "flow_cap": 8, "base": 4, "cap": 8, "d_base": 4, "d_cap": 8}
CALM = {"batch": 2, "prefetch": 0, "sample_every": 0, "measure_every": 0, "log_every": 1}


@pytest.fixture(scope="module")
def encoder():
    """The encoder that ships, in the place of VGG-19, which does not."""
    return features.load_features("people")


@pytest.mark.parametrize("name", ["fashion", "market"])
def test_a_published_preset_trains_an_epoch_of_a_folder(name, fashion, market, encoder, tmp_path):
    """The preset as it is, but for the width of its networks and the encoder of its losses."""
    root = {"fashion": fashion, "market": market}[name]
    narrow = config.preset(name, source=str(root), **NARROW, **CALM, **{"features.name": "people"})
    whole = config.preset(name)
    assert narrow.data.size == whole.data.size == {"fashion": (256, 256), "market": (128, 64)}[name]
    assert narrow.model.kernel_sizes == whole.model.kernel_sizes
    assert narrow.full.weights() == whole.full.weights() and len(narrow.full.weights()) == 6
    reader = streams.open_folder(narrow.data)
    assert type(reader) is {"fashion": DeepFashion, "market": Market1501}[name]
    assert (reader.size, reader.sigma, reader.truncate) == (narrow.data.size, 6.0, True)
    assert getattr(reader, "augment", False) == (name == "market")
    steps = len(reader) // 2
    more = {"encoder": encoder, "device": "cpu", "progress": False, "steps": steps}
    train.fit(narrow, "flow", tmp_path / "flow", **more)
    done = train.fit(narrow, "full", tmp_path / "full", init=tmp_path / "flow", **more)
    rows = journal.read(tmp_path / "full")
    assert done.finished and len(rows) == steps == 1
    assert all(np.isfinite(row["total"]) for row in rows)
    assert done.model.arguments["size"] == narrow.data.size


def test_an_epoch_has_every_pair_once_and_market_moves_each(market):
    moved, still = Market1501(market, "train"), Market1501(market, "train", augment=False)
    names = [pair for number in range(2) for pair in moved.batch(number, 1)["names"]]
    assert sorted(names) == sorted(still.pairs)
    for number in range(2):
        one, other = moved.batch(number, 1), still.batch(number, 1)
        for key in ("source", "target", "source_keypoints", "target_keypoints"):
            assert not torch.equal(one[key], other[key]), key


def test_the_folder_gives_what_the_losses_may_see_and_no_truth(fashion):
    made = streams.batches(config.preset("tiny", source=str(fashion)).data, 0, torch.device("cpu"))
    assert set(made(0)) == set(passes.inputs("people"))
