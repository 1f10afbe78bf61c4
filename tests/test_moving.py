"""Animations judged: ways whose numbers are known, and models too small to be good."""

import math

import pytest
import torch

from gfla.animation import Animation
from gfla.data.detector import NOISY, Detector
from gfla.scores import moving, ways

SIZE = (32, 32)


def small(seed=0, poses=18, **more):
    torch.manual_seed(seed)
    model = Animation(SIZE, {1: 3}, 3, poses, 4, 8, 3, 4, 8, 2, 4, **more).eval()
    for parameter in model.parameters():  # the start is so small that nothing can be told apart
        torch.nn.init.normal_(parameter, 0, 0.2)
    return model


@pytest.fixture(scope="module")
def rows():
    known = {name: getattr(ways, name) for name in ("copied", "warped", "followed", "frozen")}
    known |= {"truth": lambda batch: ways.Painted(batch["frames"], {}, {})}
    return moving.survey(known, 3, 4, size=SIZE)


def test_ways_without_a_model_have_the_numbers_they_must_have(rows):
    found = {name: moving.summary(one) for name, one in rows.items()}
    assert found["copied"]["copy_ratio"] == pytest.approx(1)
    assert found["warped"]["l1"] == pytest.approx(found["warped"]["warp_l1"])
    assert found["warped"]["l1"] < 0.6 * found["copied"]["l1"]
    assert found["followed"]["l1_foreground"] < found["warped"]["l1_foreground"]
    assert found["frozen"]["jitter"] == found["copied"]["jitter"] == 0
    for name in ("l1", "flicker", "jitter", "l1_foreground", "growth"):
        assert found["truth"][name] == 0
    assert found["truth"]["detail"] == 1
    assert found["truth"]["warp_error"] == found["truth"]["truth_warp_error"] > 0
    assert {key: found["truth"][key] for key in ("clips", "frames")} == {"clips": 3, "frames": 4}


def test_growth_and_frames_are_those_of_the_clips(rows):
    frozen = rows["frozen"]
    assert frozen.by_frame["l1"].shape == (3, 4)
    assert (frozen.by_frame["l1"][:, 0] == 0).all()
    assert moving.summary(frozen)["growth"] == pytest.approx(
        float(frozen.by_frame["l1"][:, -1].mean())
    )
    flicker = rows["copied"].by_frame["flicker"]
    assert flicker[:, 0].isnan().all()
    kept = moving.clips(3, 4, size=SIZE)["previous_visible"][:, 1:].sum((2, 3, 4)).double()
    pooled = (flicker[:, 1:] * kept).sum(1) / kept.sum(1)
    torch.testing.assert_close(pooled, rows["copied"].values["flicker"])


def test_detail_tells_a_blurred_clip():
    def blurred(batch):
        frames = batch["frames"]
        soft = torch.nn.functional.avg_pool2d(frames.flatten(0, 1), 3, 1, 1).view_as(frames)
        return ways.Painted(soft, {}, {})

    assert moving.summary(moving.survey({"": blurred}, 1, 3, size=SIZE)[""])["detail"] < 0.7


def test_the_true_flow_has_no_error_and_zero_flow_a_ratio_of_one():
    def moved(by):
        def way(batch):
            flows = {name: by * batch[f"{name}_flow"] for name in ("reference", "previous")}
            return ways.Painted(batch["frames"], flows, {})

        return way

    found = moving.survey({"true": moved(1), "zero": moved(0), "half": moved(0.5)}, 2, 3, size=SIZE)
    found = {name: moving.summary(one) for name, one in found.items()}
    for word in ("", "previous_"):
        assert [found[name][f"{word}flow_ratio"] for name in found] == pytest.approx([0, 1, 0.5])
        assert found["zero"][f"{word}flow_error"] > 0.1


def test_a_coarse_flow_is_measured_in_pixels_of_the_picture():
    def coarse(batch):
        flow = batch["reference_flow"]
        still = torch.zeros(*flow.shape[:3], 16, 16)
        still[:, :, 0] = 2.0  # pixels of its own level: 4 of the picture
        return ways.Painted(batch["frames"], {"reference": still}, {})

    batch = moving.clips(1, 3, size=SIZE)
    found = moving.summary(moving.scores(coarse(batch), batch))
    wrong = (batch["reference_flow"] - torch.tensor([4.0, 0.0]).view(2, 1, 1)).norm(dim=2)
    seen = batch["reference_visible"][:, :, 0]
    assert found["flow_error"] == pytest.approx(float((wrong * seen).sum() / seen.sum()), rel=1e-4)
    assert "previous_flow_error" not in found


def test_noise_changes_the_poses_and_nothing_that_judges():
    clean, noisy = (moving.judge(small(), 2, 3, noise) for noise in (None, NOISY))
    for name in ("copy_l1", "warp_l1", "truth_warp_error", "zero_flow_error"):
        assert clean[name] == noisy[name]
    assert clean["l1"] != noisy["l1"]
    assert clean["copy_ratio"] == pytest.approx(clean["l1"] / clean["copy_l1"])
    assert clean["flow_ratio"] == pytest.approx(clean["flow_error"] / clean["zero_flow_error"])


def test_a_model_without_memory_has_no_flow_into_the_frame_before():
    found = moving.judge(small(memory=False), 1, 3)
    assert "flow_ratio" in found
    assert not [name for name in found if name.startswith("previous")]


def test_faces_are_judged_alike():
    found = moving.judge(small(poses=16, flows="one"), 1, 3, source="portraits")
    assert {"copy_ratio", "flow_ratio", "previous_flow_ratio", "flicker", "growth"} <= set(found)
    assert all(math.isfinite(value) for value in found.values())
    noisy = moving.judge(small(poses=16, flows="one"), 1, 3, 1.5, "portraits")
    assert noisy["l1"] != found["l1"]


def test_more_clips_begin_with_the_same_ones(monkeypatch):
    monkeypatch.setattr(moving, "BATCH", 2)
    few, more = (moving.survey({"": ways.copied}, n, 3, size=SIZE)[""] for n in (2, 3))
    for name, values in few.values.items():
        torch.testing.assert_close(more.values[name][:2], values)
    assert len(more.kind) == 3


def test_a_summary_of_some_clips(rows):
    chosen = torch.tensor([True, False, True])
    one = rows["copied"]
    found = moving.summary(one, chosen)
    assert found["flicker"] == pytest.approx(float(one.values["flicker"][chosen].mean()))
    assert found["clips"] == 2


def test_a_difference_is_paired_and_its_interval_over_clips(rows):
    found = moving.difference(rows["copied"], rows["warped"], "l1")
    each = rows["copied"].values["l1"] - rows["warped"].values["l1"]
    assert found.mean == pytest.approx(float(each.mean()))
    assert found.low < found.mean < found.high
    assert (found.pairs, found.resampled) == (3, "pairs only")
    growth = moving.difference(rows["frozen"], rows["truth"], "growth")
    assert growth.mean == pytest.approx(moving.summary(rows["frozen"])["growth"])
    with pytest.raises(ValueError, match="there is no 'sharpness': choose one of l1"):
        moving.difference(rows["copied"], rows["warped"], "sharpness")


def test_what_cannot_be_judged_is_refused():
    with pytest.raises(ValueError, match="0 clips of 8 frames"):
        moving.survey({"": ways.copied}, 0, 8)
    with pytest.raises(ValueError, match="1 ways, 1 clips of 2 frames"):
        moving.survey({"": ways.copied}, 1, 2)
    with pytest.raises(ValueError, match="source is 'films'"):
        moving.survey({"": ways.copied}, 1, 3, source="films")


def test_a_clean_detector_leaves_clean_poses_beside():
    batch = moving.clips(1, 3, Detector(), size=SIZE)
    torch.testing.assert_close(batch["clean_poses"], batch["poses"])
