"""Metrics: values worked by hand, independent implementations, golden numbers, errors."""

import math

import pytest
import torch

from gfla import metrics
from gfla.metrics import (
    endpoint_error,
    endpoint_error_by_part,
    occlusion_scores,
    outside_fraction,
    psnr,
    score,
    ssim,
    upsample_flow,
    zero_flow_error,
)
from gfla.sampling import warp


def constant_flow(dx, dy, h=4, w=6, batch=1):
    return torch.tensor([dx, dy]).view(1, 2, 1, 1).repeat(batch, 1, h, w)


def affine_flow(size, stride):
    """One affine motion of the image, seen at a level of the given stride, in its own pixels."""
    h, w = size[0] // stride, size[1] // stride
    y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    x, y = ((c + 0.5) * stride - 0.5 for c in (x, y))  # pixel centres in the image
    return torch.stack([0.1 * x - 0.2 * y + 3, 0.05 * x + 0.3 * y - 2])[None] / stride


# Flow


@pytest.mark.parametrize("stride", [2, 4])
def test_upsampling_keeps_a_motion_that_is_affine(stride):
    fine = upsample_flow(affine_flow((32, 48), stride), (32, 48))
    edge = slice(stride, -stride)  # outside the outermost coarse centres the edge is repeated
    torch.testing.assert_close(
        fine[..., edge, edge], affine_flow((32, 48), 1)[..., edge, edge], rtol=1e-4, atol=1e-4
    )


def test_upsampling_scales_each_axis_by_its_own_stride():
    flow = upsample_flow(constant_flow(1.0, 10.0, 4, 2), (8, 8))
    assert flow.shape == (1, 2, 8, 8)
    assert flow[0, :, 3, 3].tolist() == [4.0, 20.0]
    same = constant_flow(1.0, 2.0)
    assert upsample_flow(same, (4, 6)) is same


def test_endpoint_error_by_hand():
    truth = constant_flow(1.0, -2.0)
    flow = truth.clone()
    flow[0, :, 0, 0] += torch.tensor([3.0, 4.0])  # 5 px off at one of 24 positions
    assert endpoint_error(truth, truth) == 0
    assert endpoint_error(flow, truth) == pytest.approx(5 / 24)
    mask = torch.zeros(1, 1, 4, 6)
    mask[0, 0, 0, :2] = 1
    assert endpoint_error(flow, truth, mask) == pytest.approx(2.5)
    assert endpoint_error(flow, truth, mask.bool()) == pytest.approx(2.5)
    assert endpoint_error(flow, truth, mask[:, 0]) == pytest.approx(2.5)


def test_endpoint_error_of_a_coarse_flow_is_in_pixels_of_the_truth():
    assert endpoint_error(constant_flow(1.0, 0.0, 2, 3), constant_flow(4.0, 0.0, 8, 12)) == 0
    half = endpoint_error(constant_flow(0.5, 0.0, 2, 3), constant_flow(4.0, 0.0, 8, 12))
    assert half == pytest.approx(2)


def test_zero_flow_error_is_the_mean_motion():
    truth = torch.cat([constant_flow(3.0, 4.0), constant_flow(0.0, 1.0)])
    assert zero_flow_error(truth) == pytest.approx(3)
    first = torch.zeros(2, 1, 4, 6)
    first[0] = 1
    assert zero_flow_error(truth, first) == pytest.approx(5)


def test_error_by_part_splits_and_pools():
    truth = torch.zeros(2, 2, 2, 3)
    flow = torch.zeros(2, 2, 2, 3)
    parts = torch.tensor([[[0, 1, 1], [3, 3, 0]], [[0, 1, 0], [0, 0, 2]]])[:, None]
    flow[0, 0] = torch.tensor([[100.0, 1.0, 2.0], [4.0, 6.0, 100.0]])
    flow[1, 1] = torch.tensor([[100.0, 6.0, 100.0], [100.0, 100.0, 7.0]])
    assert endpoint_error_by_part(flow, truth, parts) == {1: 3.0, 2: 7.0, 3: 5.0}
    visible = torch.ones(2, 1, 2, 3)
    visible[0, 0, 0, 2] = visible[1, 0, 1, 2] = 0
    names = ["background", "arm", "leg", "hand"]
    found = endpoint_error_by_part(flow, truth, parts, visible, names)
    assert found == {"arm": 3.5, "hand": 5.0}
    whole = endpoint_error(flow, truth, parts > 0)
    assert whole == pytest.approx((1 + 2 + 6 + 7 + 4 + 6) / 6)


def test_outside_fraction_counts_positions_that_read_beyond_the_edge():
    assert outside_fraction(torch.zeros(1, 2, 4, 6)) == 0
    assert outside_fraction(constant_flow(1.0, 0.0)) == pytest.approx(1 / 6)
    assert outside_fraction(constant_flow(0.0, -2.0)) == pytest.approx(2 / 4)
    assert outside_fraction(constant_flow(-6.0, 0.0)) == 1


# Occlusion


def scores_by_loops(mask, truth):
    """Average precision over every threshold, area over every pair: slow and plain."""
    recall, precision = [0.0], []
    for threshold in sorted(set(mask), reverse=True):
        said = [t for m, t in zip(mask, truth, strict=True) if m >= threshold]
        precision.append(sum(said) / len(said))
        recall.append(sum(said) / sum(truth))
    average = sum((recall[k + 1] - recall[k]) * p for k, p in enumerate(precision))
    wins = [
        1.0 if a > b else 0.5 if a == b else 0.0
        for a, s in zip(mask, truth, strict=True)
        for b, t in zip(mask, truth, strict=True)
        if s and not t
    ]
    return average, sum(wins) / len(wins)


@pytest.mark.parametrize("levels", [3, 1000])  # many equal values, and hardly any
def test_occlusion_scores_are_those_of_plain_loops(levels):
    mask = (torch.rand(2, 1, 6, 5) * levels).floor() / levels
    visible = (torch.rand(2, 1, 6, 5) + 0.3 * mask > 0.6).float()
    found = occlusion_scores(mask, visible)
    flat = mask.double().flatten().tolist(), visible.flatten().int().tolist()
    average, area = scores_by_loops(*flat)
    assert found["average_precision"] == pytest.approx(average)
    assert found["area_under_curve"] == pytest.approx(area)


def test_occlusion_scores_by_hand():
    #                 visible  visible  hidden  visible  hidden
    mask = torch.tensor([0.9, 0.8, 0.7, 0.6, 0.1]).view(1, 1, 1, 5)
    visible = torch.tensor([1.0, 1.0, 0.0, 1.0, 0.0]).view(1, 1, 1, 5)
    found = occlusion_scores(mask, visible)
    assert found["average_precision"] == pytest.approx((1 + 1 + 3 / 4) / 3)
    assert found["area_under_curve"] == pytest.approx(5 / 6)
    assert found["iou"] == pytest.approx(3 / 4)
    assert found["visible_share"] == pytest.approx(3 / 5)
    assert occlusion_scores(mask, visible, threshold=0.65)["iou"] == pytest.approx(2 / 4)


def test_a_perfect_a_blind_and_an_inverted_mask():
    visible = (torch.rand(1, 1, 8, 8) > 0.4).float()
    share = float(visible.mean())
    perfect = occlusion_scores(visible, visible)
    assert perfect["average_precision"] == perfect["area_under_curve"] == perfect["iou"] == 1
    blind = occlusion_scores(torch.full_like(visible, 0.7), visible)
    assert blind["average_precision"] == pytest.approx(share)
    assert blind["area_under_curve"] == pytest.approx(0.5)
    assert blind["iou"] == pytest.approx(share)
    inverted = occlusion_scores(1 - visible, visible)
    assert inverted["area_under_curve"] == inverted["iou"] == 0


def test_only_the_foreground_counts():
    mask, visible = torch.rand(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)
    visible[..., :2, :2] = 1
    mask[..., :2, :2] += 1
    mask /= 2
    mask[..., 3, 3] = 1  # a false alarm outside
    where = torch.ones(1, 1, 4, 4)
    where[..., 3, 3] = 0
    assert occlusion_scores(mask, visible, where)["average_precision"] == 1
    assert occlusion_scores(mask, visible)["average_precision"] < 1


def test_a_coarse_mask_is_enlarged():
    mask = torch.tensor([[0.9, 0.1], [0.9, 0.1]]).view(1, 1, 2, 2)
    visible = torch.zeros(1, 1, 8, 8)
    visible[..., :4] = 1
    assert occlusion_scores(mask, visible)["iou"] == 1


# Pictures


def test_pictures_are_golden(golden):
    arrays = golden("data_and_metrics.npz")
    target, image = (
        arrays[f"metric_{k}_u8"].double().permute(2, 0, 1)[None] / 127.5 - 1 for k in ("gt", "pred")
    )
    reach = float(image.max() - image.min()) / 2
    expected = {k: float(arrays[f"metric_{k}_f64"]) for k in ("ssim51", "ssim256", "psnr", "l1")}
    assert ssim(image, target, window=51) == pytest.approx(expected["ssim51"], abs=1e-5)
    assert ssim(image, target, data_range=reach) == pytest.approx(expected["ssim256"], abs=1e-5)
    assert psnr(image, target) == pytest.approx(expected["psnr"], abs=1e-5)
    assert metrics.l1(image, target) == pytest.approx(expected["l1"], abs=1e-6)


def test_l1_by_hand():
    a, b = torch.zeros(1, 3, 2, 2), torch.zeros(1, 3, 2, 2)
    a[0, :, 0, 0] = torch.tensor([1.0, -0.5, 0.0])  # ½ · 1.5 / 3 at one of four positions
    assert metrics.l1(a, b) == pytest.approx(0.25 / 4)
    mask = torch.zeros(1, 1, 2, 2)
    mask[0, 0, 0] = 1
    assert metrics.l1(a, b, mask) == pytest.approx(0.25 / 2)


def test_psnr_is_scikit_image_s():
    from skimage.metrics import peak_signal_noise_ratio

    a, b = (torch.rand(2, 3, 8, 9).double() * 2 - 1 for _ in "ab")
    expected = [
        peak_signal_noise_ratio(((b[k] + 1) / 2).numpy(), ((a[k] + 1) / 2).numpy(), data_range=1)
        for k in range(2)
    ]
    assert psnr(a, b) == pytest.approx(sum(expected) / 2)
    assert psnr(a, a) == math.inf
    half = torch.zeros(2, 1, 8, 9)
    half[..., :4, :] = 1
    assert psnr(a, b, half) == pytest.approx(psnr(a[..., :4, :], b[..., :4, :]))


def test_ssim_of_flat_pictures_is_the_formula():
    a, b = torch.full((1, 3, 16, 16), 0.2), torch.full((1, 3, 16, 16), -0.4)
    x, y, c = 0.6, 0.3, 0.01**2  # the values in [0, 1]; variances are zero
    expected = (2 * x * y + c) / (x * x + y * y + c)
    assert ssim(a, b) == pytest.approx(expected, abs=1e-6)
    assert ssim(a, b, window=7) == pytest.approx(expected, abs=1e-6)


def test_ssim_of_one_window_is_the_formula():
    a, b = torch.rand(1, 1, 7, 7).double() * 2 - 1, torch.rand(1, 1, 7, 7).double() * 2 - 1
    x, y = (a.flatten() + 1) / 2, (b.flatten() + 1) / 2
    covariance = torch.cov(torch.stack([x, y]))  # of the sample: scikit-image's, uniform window
    c1, c2 = 0.01**2, 0.03**2
    expected = (2 * x.mean() * y.mean() + c1) * (2 * covariance[0, 1] + c2)
    expected /= (x.mean() ** 2 + y.mean() ** 2 + c1) * (covariance.trace() + c2)
    assert ssim(a, b, window=7) == pytest.approx(float(expected))


def test_ssim_under_a_mask_sees_the_damage_where_it_is():
    target = torch.rand(1, 3, 32, 32) * 2 - 1
    image = target.clone()
    image[..., 16:] = image[..., 16:].flip(-1)
    left, right = torch.zeros(1, 1, 32, 32), torch.zeros(1, 1, 32, 32)
    left[..., :10] = right[..., 22:] = 1
    assert ssim(image, target, left) == pytest.approx(1)
    assert ssim(image, target, right) < 0.3 < ssim(image, target) < 0.9


# The normalised score


def moving_pictures():
    source = torch.rand(2, 3, 16, 16) * 2 - 1
    flow = constant_flow(2.3, -1.0, 16, 16, batch=2)
    true_warp = warp(source, flow)
    target = (true_warp + 0.05 * torch.randn_like(source)).clamp(-1, 1)  # what no warp can know
    return source, target, true_warp, torch.ones(2, 1, 16, 16)


def test_score_is_zero_for_the_true_warp_and_one_for_copying():
    source, target, true_warp, visible = moving_pictures()
    assert score(true_warp, target, source, true_warp, visible) == 0
    assert score(source, target, source, true_warp, visible) == 1
    assert score(target, target, source, true_warp, visible) < 0
    assert 0.2 < score((source + true_warp) / 2, target, source, true_warp, visible) < 0.8


def test_score_is_the_ratio_of_sums_over_visible_pixels():
    source, target, true_warp, visible = moving_pictures()
    image = target + 0.1 * (1 - target.abs())
    visible[..., :5, :] = 0
    image[..., :5, :] = 1  # hidden: nobody looks
    ours, copy, truth = (
        float(((x - target).abs() * visible).sum()) for x in (image, source, true_warp)
    )
    expected = (ours - truth) / (copy - truth)
    assert score(image, target, source, true_warp, visible) == pytest.approx(expected, rel=1e-4)


# Errors


def ones(*shape):
    return torch.ones(shape)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: endpoint_error(ones(1, 2, 4, 4), ones(2, 2, 4, 4)), r"\(2, 2, 4, 4\)"),
        (lambda: endpoint_error(ones(1, 2, 4, 4) / 0, ones(1, 2, 4, 4)), "finite"),
        (lambda: endpoint_error(ones(1, 2, 4, 4), ones(1, 3, 4, 4)), r"\(1, 3, 4, 4\)"),
        (lambda: zero_flow_error(ones(1, 2, 4, 4), ones(1, 1, 4, 4) * 0), "selects nothing"),
        (lambda: zero_flow_error(ones(1, 2, 4, 4), ones(1, 1, 2, 2)), r"\(1, 1, 2, 2\)"),
        (
            lambda: endpoint_error_by_part(
                ones(1, 2, 2, 2), ones(1, 2, 2, 2), 5 * ones(1, 1, 2, 2).int(), names=["a", "b"]
            ),
            "only 2 names",
        ),
        (lambda: occlusion_scores(ones(1, 1, 2, 2), ones(1, 1, 2, 2)), "4 visible and 0 hidden"),
        (lambda: occlusion_scores(2 * ones(1, 1, 2, 2), ones(1, 1, 2, 2)), r"\[0, 1\]"),
        (lambda: occlusion_scores(ones(1, 2, 2, 2), ones(1, 1, 2, 2)), r"\(1, 2, 2, 2\)"),
        (lambda: occlusion_scores(ones(2, 1, 2, 2), ones(1, 1, 2, 2)), r"\(1, 1, 2, 2\)"),
        (lambda: metrics.l1(255 * ones(1, 3, 4, 4), ones(1, 3, 4, 4)), "255"),
        (lambda: metrics.l1(ones(1, 3, 4, 4), ones(1, 3, 4, 5)), r"\(1, 3, 4, 5\)"),
        (lambda: psnr(ones(1, 3, 4, 4), ones(1, 3, 4, 4) / 0), "target must lie"),
        (lambda: ssim(ones(1, 3, 8, 8), ones(1, 3, 8, 8)), "got 11"),
        (lambda: ssim(ones(1, 3, 8, 8), ones(1, 3, 8, 8), window=4), "odd"),
        (lambda: score(*[ones(1, 3, 4, 4)] * 4, ones(1, 1, 4, 4)), "nothing moves"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_metrics_give_no_gradient_and_plain_floats():
    image = torch.zeros(1, 3, 4, 4, requires_grad=True)
    assert type(metrics.l1(image, torch.ones(1, 3, 4, 4))) is float
    flow = torch.zeros(1, 2, 4, 4, requires_grad=True)
    assert type(endpoint_error(flow, torch.ones(1, 2, 4, 4))) is float
