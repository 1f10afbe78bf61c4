"""Metrics: values worked by hand, independent implementations, golden numbers, errors."""

import math

import pytest
import torch

from gfla import metrics
from gfla.metrics import psnr, score, ssim
from gfla.sampling import warp


def constant_flow(dx, dy, h=4, w=6, batch=1):
    return torch.tensor([dx, dy]).view(1, 2, 1, 1).repeat(batch, 1, h, w)


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


@pytest.mark.parametrize("metric", [metrics.l1, psnr, ssim])
@pytest.mark.parametrize("masked", [False, True])
def test_by_pairs_is_the_metric_of_each_picture(metric, masked):
    image, target = (torch.rand(3, 3, 16, 16) * 2 - 1 for _ in "ab")
    target[1] = 0.8 * image[1]
    mask = (torch.rand(3, 1, 16, 16) > 0.4).float() if masked else None
    found = metric(image, target, mask, reduction="pairs")
    one_by_one = [
        metric(image[[k]], target[[k]], mask if mask is None else mask[[k]]) for k in range(3)
    ]
    assert found.tolist() == pytest.approx(one_by_one)
    assert one_by_one[0] != pytest.approx(one_by_one[1], rel=0.1)
    if metric is not metrics.l1:
        assert metric(image, target, mask) == pytest.approx(sum(one_by_one) / 3)
    if masked:
        mask[2] = 0
        assert metric(image, target, mask, reduction="pairs").isnan().tolist() == [False] * 2 + [
            True
        ]


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
        (lambda: metrics.l1(255 * ones(1, 3, 4, 4), ones(1, 3, 4, 4)), "255"),
        (lambda: metrics.l1(ones(1, 3, 4, 4), ones(1, 3, 4, 5)), r"\(1, 3, 4, 5\)"),
        (lambda: psnr(ones(1, 3, 4, 4), ones(1, 3, 4, 4) / 0), "target must lie"),
        (lambda: ssim(ones(1, 3, 8, 8), ones(1, 3, 8, 8)), "got 11"),
        (lambda: ssim(ones(1, 3, 8, 8), ones(1, 3, 8, 8), window=4), "odd"),
        (lambda: psnr(*[ones(1, 3, 4, 4)] * 2, 0 * ones(1, 1, 4, 4)), "nothing in picture 0"),
        (lambda: ssim(*[ones(1, 3, 16, 16)] * 2, reduction="sum"), "reduction is 'sum'"),
        (lambda: score(*[ones(1, 3, 4, 4)] * 4, ones(1, 1, 4, 4)), "nothing moves"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_metrics_give_no_gradient_and_plain_floats():
    image = torch.zeros(1, 3, 4, 4, requires_grad=True)
    assert type(metrics.l1(image, torch.ones(1, 3, 4, 4))) is float
    values = metrics.l1(image, torch.ones(1, 3, 4, 4), reduction="pairs")
    assert values.dtype == torch.float64 and not values.requires_grad


def test_every_metric_is_found_in_one_room():
    from gfla import metrics
    from gfla.scores import flow_metrics, perceptual

    for room, names in (
        (perceptual, ("lpips", "fid", "encoder_distance", "encoder_frechet")),
        (flow_metrics, ("endpoint_error", "share_within", "expected_offset", "occlusion_scores")),
    ):
        for name in names:
            assert getattr(metrics, name) is getattr(room, name) and name in metrics.__all__
