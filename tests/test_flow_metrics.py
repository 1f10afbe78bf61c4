"""Flow and occlusion against the truth: values worked by hand, plain loops, errors."""

import pytest
import torch

from gfla import metrics
from gfla.sampling import extract_patches, local_attention
from gfla.scores.flow_metrics import (
    endpoint_error,
    endpoint_error_by_part,
    expected_offset,
    occlusion_scores,
    outside_fraction,
    share_within,
    upsample_flow,
    zero_flow_error,
)


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


def test_every_reduction_by_pairs_is_the_metric_of_each_pair():
    flow, truth = 3 * torch.randn(3, 2, 4, 6), torch.randn(3, 2, 4, 6)
    mask = (torch.rand(3, 1, 4, 6) > 0.4).float()
    for metric in (endpoint_error, share_within):
        found = metric(flow, truth, mask, reduction="pairs")
        one_by_one = [metric(f[None], t[None], m[None]) for f, t, m in zip(flow, truth, mask)]
        assert found.tolist() == pytest.approx(one_by_one)
        pooled = float((found * mask.sum((1, 2, 3))).sum() / mask.sum())
        assert metric(flow, truth, mask) == pytest.approx(pooled)
        assert pooled != pytest.approx(float(found.mean()))  # the masks differ in size
    assert zero_flow_error(truth, mask, "pairs").tolist() == pytest.approx(
        [zero_flow_error(t[None], m[None]) for t, m in zip(truth, mask)]
    )
    mask[1] = 0
    assert endpoint_error(flow, truth, mask, "pairs").isnan().tolist() == [False, True, False]


def test_share_within_by_hand():
    truth = constant_flow(1.0, -2.0)
    flow = truth.clone()
    flow[0, :, 0, 0] += torch.tensor([1.2, 1.6])  # just 2 px off: within
    flow[0, :, 0, 1] += torch.tensor([2.1, 0.0])
    flow[0, :, 0, 2] += torch.tensor([30.0, 0.0])
    assert share_within(flow, truth, radius=2.001) == pytest.approx(22 / 24)
    assert share_within(flow, truth, radius=1.9) == pytest.approx(21 / 24)
    assert share_within(flow, truth, radius=2.2) == pytest.approx(23 / 24)
    mask = torch.zeros(1, 1, 4, 6)
    mask[0, 0, 0, :4] = 1
    assert share_within(flow, truth, mask, radius=1.9) == pytest.approx(1 / 4)


def test_the_radius_is_in_pixels_of_the_truth():
    truth = constant_flow(4.0, 0.0, 8, 12)
    assert share_within(constant_flow(1.4, 0.0, 2, 3), truth) == 1  # 1.6 image pixels off
    assert share_within(constant_flow(1.6, 0.0, 2, 3), truth) == 0  # 2.4


def test_expected_offset_by_hand():
    weights = torch.zeros(1, 25, 1, 2)
    weights[0, 4, 0, 0] = 1  # the corner up and to the right
    weights[0, 10, 0, 1], weights[0, 22, 0, 1] = 0.25, 0.75  # left of centre; below it
    found = expected_offset(weights)
    assert found[0, :, 0, 0].tolist() == [2, -2]
    assert found[0, :, 0, 1].tolist() == [-0.5, 1.5]
    assert expected_offset(torch.full((1, 9, 2, 2), 1 / 9)).abs().max() < 1e-6
    assert not expected_offset(torch.ones(1, 1, 2, 2)).any()  # bilinear: n = 1


@pytest.mark.parametrize("n", [3, 4, 5])
def test_expected_offset_is_what_patches_of_coordinates_say(n):
    """A source that holds its own coordinates: the attended patch is the expected position."""
    y, x = torch.meshgrid(torch.arange(12.0), torch.arange(12.0), indexing="ij")
    source = torch.stack([x, y])[None]
    flow = 0.6 * torch.randn(1, 2, 12, 12)
    weights = torch.randn(1, n * n, 12, 12).softmax(1)
    patches = extract_patches(source, flow, n).unflatten(3, (12, n)).unflatten(2, (12, n))
    kernels = weights.unflatten(1, (n, n)).permute(0, 3, 1, 4, 2)  # (B, h, n, w, n)
    read = (patches * kernels[:, None]).sum((3, 5))
    inside = slice(5, 7)  # where no tap leaves the source
    expected = (source + flow + expected_offset(weights))[..., inside, inside]
    torch.testing.assert_close(read[..., inside, inside], expected)


def test_expected_offset_reads_the_weights_of_local_attention():
    """A kernel net that has chosen one tap: the output and the offset agree on which."""
    C, n, tap = 2, 3, 5  # row 1, column 2: one to the right
    y, x = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    source = torch.stack([x, y])[None]
    last = torch.full((n * n,), -50.0)
    last[tap] = 50.0
    layers = torch.zeros(4, 2 * C, n, n), torch.zeros(4), torch.zeros(n * n, 4, 1, 1), last
    attended, weights = local_attention(source, source, torch.zeros(1, 2, 8, 8), *layers, n)
    read = attended * n * n  # docs/spec.md 2.4: divided by n^2 after the softmax
    offset = expected_offset(weights)
    assert offset[0, :, 3, 3].tolist() == pytest.approx([1, 0], abs=1e-5)
    torch.testing.assert_close(read[..., 2:6, 2:6], (source + offset)[..., 2:6, 2:6])


def test_the_old_door_still_opens():
    for name in metrics.__all__:
        assert callable(getattr(metrics, name))
    assert metrics.endpoint_error is endpoint_error
    assert metrics.upsample_flow is upsample_flow


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
        (lambda: share_within(ones(1, 2, 2, 2), ones(1, 2, 2, 2), radius=0.0), "radius is 0.0"),
        (lambda: endpoint_error(*[ones(1, 2, 2, 2)] * 2, reduction="mean"), "batch, pairs"),
        (lambda: expected_offset(ones(1, 8, 2, 2) / 8), r"whole n, got \(1, 8, 2, 2\)"),
        (lambda: expected_offset(ones(9, 2, 2) / 9), r"got \(9, 2, 2\)"),
        (lambda: expected_offset(ones(1, 9, 2, 2)), "sum to 1, got 9 … 9"),
        (lambda: expected_offset(ones(1, 9, 2, 2) / 0), "sum to 1, got inf"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_metrics_give_no_gradient_and_plain_floats():
    flow = torch.zeros(1, 2, 4, 4, requires_grad=True)
    assert type(endpoint_error(flow, torch.ones(1, 2, 4, 4))) is float
    assert not endpoint_error(flow, torch.ones(1, 2, 4, 4), reduction="pairs").requires_grad
