"""Temporal metrics: values worked by hand, controls that must rise, controls that must not."""

import math

import pytest
import torch

from gfla import metrics
from gfla.data import motion, people
from gfla.sampling import warp
from gfla.scores import temporal
from gfla.scores.temporal import clip_scores, flicker, growth, jitter, warp_error


def moving(texture, steps, frames):
    """A texture that goes `steps` whole pixels to the right every frame, seen through a window.

    Gives the frames (1, T, 3, H, W), the true flow to the previous frame and its visibility.
    """
    width = texture.shape[-1] - steps * (frames - 1)
    first = steps * (frames - 1)
    clip = [texture[..., first - steps * t : first - steps * t + width] for t in range(frames)]
    clip = torch.stack(clip)[None]
    flow = torch.zeros(1, frames, 2, *clip.shape[-2:])
    flow[:, :, 0] = -steps
    visible = torch.ones(1, frames, 1, *clip.shape[-2:])
    visible[..., :steps] = 0  # came in from beyond the border
    return clip, flow, visible


@pytest.fixture
def clip():
    return moving(torch.rand(3, 12, 24) * 1.6 - 0.8, steps=2, frames=5)


def followed(clip, batch):
    """Every frame but the last, moved by the true flow to where the next one is."""
    moved = warp(clip[:, :-1].flatten(0, 1), batch["previous_flow"][:, 1:].flatten(0, 1))
    return moved.view_as(clip[:, 1:])


def tall(clip):
    return clip.transpose(1, 2).flatten(2, 3)


def random_batch(clips=3, frames=4, size=(8, 10)):
    """Clips without a meaning, with every key that `clip_scores` reads."""
    torch.manual_seed(1)
    shape = clips, frames
    return {
        "frames": torch.rand(*shape, 3, *size) * 2 - 1,
        "reference": torch.rand(clips, 3, *size) * 2 - 1,
        "reference_flow": torch.randn(*shape, 2, *size),
        "reference_visible": (torch.rand(*shape, 1, *size) < 0.5).float(),
        "previous_flow": torch.randn(*shape, 2, *size),
        "previous_visible": (torch.rand(*shape, 1, *size) < 0.5).float(),
    }


def test_what_goes_with_the_flow_has_no_error_and_the_wrong_sign_has(clip):
    frames, flow, visible = clip
    assert warp_error(frames, flow, visible) == 0
    still = warp_error(frames, 0 * flow, visible)
    assert still > 0.1
    assert warp_error(frames, -flow, visible) > 0.1
    swapped = flow.flip(2)  # dy for dx
    assert warp_error(frames, swapped, visible) > 0.1
    everywhere = torch.ones_like(visible)
    assert 0 < warp_error(frames, flow, everywhere) < still  # the border is read where it must not


def test_warp_error_by_hand():
    frames = torch.zeros(1, 3, 3, 1, 2)
    frames[0, 1, :, 0] = torch.tensor([0.4, 0.8])  # over the channels alike
    flow, visible = torch.zeros(1, 3, 2, 1, 2), torch.ones(1, 3, 1, 1, 2)
    visible[0, 2, 0, 0, 1] = 0
    # ½ (0.4 + 0.8) going in, ½ 0.4 coming back; three positions are seen
    assert warp_error(frames, flow, visible) == pytest.approx((0.2 + 0.4 + 0.2) / 3)
    visible[:, 0] = 0  # the first frame has no previous one: its mask and its flow say nothing
    flow[:, 0] = 7
    assert warp_error(frames, flow, visible) == pytest.approx(0.8 / 3)


def test_flicker_ignores_what_is_wrong_and_goes_along(clip):
    truth, flow, visible = clip
    assert flicker(truth, truth, flow, visible) == 0
    assert flicker(truth * 0.5 + 0.2, truth, flow, visible) < 1e-7  # another shirt
    ours, *_ = moving(torch.rand(3, 12, 24) * 1.6 - 0.8, steps=2, frames=5)  # another person
    assert metrics.l1(ours[0], truth[0]) > 0.1
    assert flicker(ours, truth, flow, visible) == 0
    assert flicker(ours, 0 * truth, -flow, visible) > 0.1  # the same, told of another motion


def test_flicker_by_hand():
    truth = torch.zeros(1, 2, 3, 1, 3)
    truth[0, 1] = 0.2  # the light changes
    frames = torch.zeros(1, 2, 3, 1, 3)
    frames[0, 1, :, 0] = torch.tensor([0.1, -0.6, 0.2])  # changes less, more, alike
    flow, visible = torch.zeros(1, 2, 2, 1, 3), torch.ones(1, 2, 1, 1, 3)
    assert flicker(frames, truth, flow, visible) == pytest.approx(0.2 / 3)  # ½ (0.6 − 0.2)
    visible[0, 1, 0, 0, 0] = 0
    assert flicker(frames, truth, flow, visible) == pytest.approx(0.2 / 2)
    flow[0, 1, 0] = 1  # from the right: 0 at frame 0 everywhere, so nothing else comes out
    assert flicker(frames, truth, flow, visible) == pytest.approx(0.2 / 2)


def test_on_people_flicker_ranks_what_trembles_above_what_is_only_wrong():
    batch = motion.clips(2, frames=4, seed=people.MEASURING_SEEDS)
    truth, reference = batch["frames"], batch["reference"][:, None].expand_as(batch["frames"])
    path = batch["previous_flow"], batch["previous_visible"]
    steady, new = (
        torch.nn.functional.interpolate(torch.randn(n, 2, 4, 4), (64, 64), mode="bicubic")
        for n in (2, 8)
    )

    def sampled(off):  # the reference moved by a flow that is off by about a pixel
        flow = batch["reference_flow"] + off
        return warp(reference.flatten(0, 1), flow.flatten(0, 1)).view_as(truth)

    found = {
        "noise": (truth + 0.1 * torch.randn_like(truth)).clamp(-1, 1),
        "flow that errs anew": sampled(new.view(2, 4, 2, 64, 64)),
        "flow that errs alike": sampled(steady[:, None]),
        "grey": 0 * truth,
        "truth": truth,
    }
    found = {name: flicker(frames, truth, *path) for name, frames in found.items()}
    assert found["truth"] == found["grey"] == 0
    assert min(found["noise"], found["flow that errs anew"]) > 2 * found["flow that errs alike"] > 0
    # the change of the error, which `flicker` is not: grey is worse than noise
    noise = 0.05 * torch.randn_like(truth)
    grey, noisy = (
        metrics.l1(tall(error[:, 1:] / 2), tall(followed(error, batch) / 2), tall(path[1][:, 1:]))
        for error in (-truth, noise)
    )
    assert grey > noisy > 0


@pytest.mark.parametrize("metric", ["warp_error", "flicker", "jitter"])
def test_noise_of_known_deviation_gives_the_known_expectation(metric):
    sigma, shape = 0.1, (2, 40, 3, 24, 24)
    truth = torch.zeros(shape)
    noisy = truth + sigma * torch.randn(shape)
    flow, visible = torch.zeros(2, 40, 2, 24, 24), torch.ones(2, 40, 1, 24, 24)
    found = {
        "warp_error": lambda: warp_error(noisy, flow, visible),
        "flicker": lambda: flicker(noisy, truth, flow, visible),
        "jitter": lambda: jitter(noisy, truth),
    }[metric]()
    expected = sigma * math.sqrt((3 if metric == "jitter" else 1) / math.pi)
    assert found == pytest.approx(expected, rel=0.01)


def test_a_mean_that_is_right_does_not_hide_what_trembles(clip):
    truth, flow, visible = clip
    sign = torch.tensor([0.2, -0.2, 0.2, -0.2, 0.2]).view(1, 5, 1, 1, 1)
    wrong, trembling = truth * 0.4, truth + sign
    assert metrics.l1(trembling[0], truth[0]) < metrics.l1(wrong[0], truth[0])
    assert flicker(trembling, truth, flow, visible) == pytest.approx(0.2)  # ½ · 0.4
    assert flicker(wrong, truth, flow, visible) < 1e-7
    assert jitter(trembling, truth) > 2 * jitter(wrong, truth)


def test_jitter_knows_nothing_of_stillness_and_fading(clip):
    truth, flow, visible = clip
    frozen = truth[:, :1].expand_as(truth)
    assert jitter(truth, truth) == 0 and jitter(frozen, truth) == 0
    assert flicker(frozen, truth, flow, visible) > 0.1  # slides over what moves: as documented
    fading = torch.linspace(-0.2, 0.2, 5).view(1, 5, 1, 1, 1).expand_as(truth)
    assert jitter(fading, torch.zeros_like(truth)) < 1e-7
    assert flicker(fading, 0 * truth, flow, visible) == pytest.approx(0.05)  # ½ · 0.1 a frame


def test_jitter_by_hand():
    truth = torch.zeros(1, 4, 3, 1, 2)
    frames = truth.clone()
    frames[0, 1, :, 0, 0] = 0.3  # second differences −0.6, 0.3 at one pixel of two
    assert jitter(frames, truth) == pytest.approx((0.3 + 0.15) / 4)
    mask = torch.zeros(1, 4, 1, 1, 2)
    mask[0, 1, 0, 0, 0] = 1  # of the middle frame
    assert jitter(frames, truth, mask) == pytest.approx(0.3)
    truth[0, 1, :, 0, 0] = -0.2  # the truth has 0.4, 0.2 of its own there, of either sign
    assert jitter(frames, truth) == pytest.approx((0.1 + 0.05) / 4)


def test_growth_finds_the_frame_that_is_worse():
    truth = torch.rand(2, 4, 3, 6, 6) - 0.5
    drift = torch.tensor([0.0, 0.1, 0.2, 0.4])
    ours = truth + drift.view(1, 4, 1, 1, 1)
    assert growth(ours, truth).tolist() == pytest.approx((drift / 2).tolist(), abs=1e-6)
    ours[1] = truth[1]
    mask = torch.ones(2, 4, 1, 6, 6)
    mask[0, 3, :, :3] = 0
    mask[1, 2] = 0
    clips = growth(ours, truth, mask, "clips")
    assert clips.shape == (2, 4)
    assert clips[0].tolist() == pytest.approx((drift / 2).tolist(), abs=1e-6)
    assert clips[1, 2].isnan() and clips[1, [0, 1, 3]].max() < 1e-6
    # 36 pixels of clip 1 at 0, 18 of clip 0 at 0.2: pooled, not the mean of means
    assert growth(ours, truth, mask)[3] == pytest.approx(0.2 / 3, abs=1e-6)


def test_clips_of_a_batch_are_what_each_is_alone():
    batch = random_batch()
    frames = torch.rand_like(batch["frames"]) * 2 - 1
    together = clip_scores(frames, batch)
    assert {values.shape for values in together.values()} == {(3,)}
    for k in range(3):
        one = clip_scores(frames[k : k + 1], {name: v[k : k + 1] for name, v in batch.items()})
        for name, value in one.items():
            assert value[0] == together[name][k], name


def test_clip_scores_are_the_metrics_of_a_frame_and_of_a_clip():
    batch = random_batch(clips=1)
    frames = torch.rand_like(batch["frames"]) * 2 - 1
    scores = {name: float(value) for name, value in clip_scores(frames, batch).items()}
    truth, seen = batch["frames"][0], batch["reference_visible"][0]
    still = batch["reference"].expand_as(truth)
    assert scores["l1"] == pytest.approx(metrics.l1(frames[0], truth))
    assert scores["l1_visible"] == pytest.approx(metrics.l1(frames[0], truth, seen))
    assert scores["copy_l1"] == pytest.approx(metrics.l1(still, truth, seen))
    warped = warp(still, batch["reference_flow"][0])
    assert scores["warp_l1"] == pytest.approx(metrics.l1(warped, truth, seen), rel=1e-6)
    path = batch["previous_flow"], batch["previous_visible"]
    assert scores["warp_error"] == warp_error(frames, *path)
    assert scores["truth_warp_error"] == warp_error(batch["frames"], *path)
    assert scores["flicker"] == flicker(frames, batch["frames"], *path)
    assert scores["jitter"] == jitter(frames, batch["frames"])


def test_the_truth_and_a_copy_score_as_they_must():
    batch = random_batch()
    perfect = clip_scores(batch["frames"], batch)
    for name in ("l1", "l1_visible", "flicker", "jitter"):
        assert perfect[name].tolist() == [0, 0, 0]
    assert torch.equal(perfect["warp_error"], perfect["truth_warp_error"])
    copied = clip_scores(batch["reference"][:, None].expand_as(batch["frames"]), batch)
    assert torch.equal(copied["l1_visible"], copied["copy_l1"])
    assert copied["jitter"].tolist() == [0, 0, 0]
    batch["previous_visible"][1] = 0
    hidden = clip_scores(batch["frames"], batch)
    assert hidden["flicker"].isnan().tolist() == [False, True, False]


def test_what_does_not_fit_is_refused(clip):
    frames, flow, visible = clip
    with pytest.raises(ValueError, match="at least 3 frames, got"):
        jitter(frames[:, :2], frames[:, :2])
    with pytest.raises(ValueError, match="at least 2 frames"):
        warp_error(frames[:, :1], flow[:, :1], visible[:, :1])
    with pytest.raises(ValueError, match=r"truth must be \(1, 5, 3, 12, 16\)"):
        flicker(frames, frames[:, :4], flow, visible)
    with pytest.raises(ValueError, match=r"visible must be \(1, 5, 1, 12, 16\)"):
        warp_error(frames, flow, visible[:, :, 0])
    with pytest.raises(ValueError, match=r"got -0.* … 2: rescale"):
        edited = frames.clone()
        edited[0, 0, 0, 0, 0] = 2
        jitter(edited, frames)
    with pytest.raises(ValueError, match="reduction is 'pairs': choose one of batch, clips"):
        growth(frames, frames, reduction="pairs")
    with pytest.raises(ValueError, match="selects nothing"):
        warp_error(frames, flow, 0 * visible)
    with pytest.raises(ValueError, match="finite"):
        warp_error(frames, flow / 0, visible)
    assert temporal.warp_error(frames, flow, 0 * visible, "clips").isnan().all()
