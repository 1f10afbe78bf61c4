"""Sampling: shapes, values against formulas and golden arrays, gradients, errors."""

import math

import pytest
import torch
import torch.nn.functional as F

from gfla.sampling import check_flow, extract_patches, gaussian_warp, warp
from gfla.taps import gather, locate, stock_bag

KINDS = "small", "outside", "integer", "zero", "mixed"


def constant_flow(dx, dy, h, w, **options):
    return torch.tensor([dx, dy], **options).view(1, 2, 1, 1).expand(1, 2, h, w)


def off_integers(*shape, scale=3.0):
    """A flow in float64 whose fractions lie in [0.2, 0.8], some of it outside the image."""
    whole = (scale * torch.randn(shape)).round()
    return (whole + 0.2 + 0.6 * torch.rand(shape)).double()


def clamped(f, y, x):
    return f[..., min(max(y, 0), f.shape[-2] - 1), min(max(x, 0), f.shape[-1] - 1)]


def taps_by_loops(f, flow, taps, weight):
    """sum_ij weight(i, b) weight(j, a) f[floor(y) + i, floor(x) + j], one position at a time."""
    _, _, h, w = flow.shape
    out = torch.zeros(*f.shape[:2], h, w, dtype=f.dtype)
    for k in range(f.shape[0]):
        for y in range(h):
            for x in range(w):
                px, py = x + flow[k, 0, y, x].item(), y + flow[k, 1, y, x].item()
                a, b = px - math.floor(px), py - math.floor(py)
                for i in taps:
                    for j in taps:
                        tap = clamped(f[k], math.floor(py) + i, math.floor(px) + j)
                        out[k, :, y, x] += weight(i, b) * weight(j, a) * tap
    return out


# Values


def test_warp_is_the_formula_one_position_at_a_time():
    f, flow = torch.randn(2, 3, 5, 7).double(), off_integers(2, 2, 4, 6)
    expected = taps_by_loops(f, flow, (0, 1), lambda j, a: a if j else 1 - a)
    torch.testing.assert_close(warp(f, flow), expected)


@pytest.mark.parametrize(("size", "sigma"), [(2, 5.0), (4, 2.0), (6, 1.0)])
def test_gaussian_warp_is_the_formula_one_position_at_a_time(size, sigma):
    f, flow = torch.randn(1, 2, 5, 7).double(), off_integers(1, 2, 4, 6)
    taps = range(1 - size // 2, size // 2 + 1)

    def weight(j, a):
        return math.exp(-((j - a) ** 2) / (2 * sigma**2))

    total = taps_by_loops(torch.ones_like(f), flow, taps, weight)
    expected = taps_by_loops(f, flow, taps, weight) / total
    torch.testing.assert_close(gaussian_warp(f, flow, size, sigma), expected)


def test_gaussian_warp_stays_finite_where_every_weight_underflows():
    out = gaussian_warp(torch.ones(1, 1, 3, 3), constant_flow(0.5, 0.5, 3, 3), sigma=1e-3)
    torch.testing.assert_close(out, torch.ones(1, 1, 3, 3))


def test_warp_of_a_ramp_is_the_ramp_at_the_new_place():
    y, x = torch.meshgrid(torch.arange(8.0), torch.arange(10.0), indexing="ij")
    ramp = (3 * x - 2 * y)[None, None]
    out = warp(ramp, constant_flow(1.25, -0.5, 8, 10))
    inside = (..., slice(1, None), slice(None, 8))
    torch.testing.assert_close(out[inside], (ramp + 3 * 1.25 + 2 * 0.5)[inside])


def test_channel_0_moves_right_and_channel_1_moves_down():
    f = torch.arange(12.0).view(1, 1, 3, 4)
    assert torch.equal(warp(f, constant_flow(1.0, 0.0, 3, 4))[..., :3], f[..., 1:])
    assert torch.equal(warp(f, constant_flow(0.0, 1.0, 3, 4))[..., :2, :], f[..., 1:, :])


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_patches_at_zero_flow_are_an_unfolded_replicate_padding(n):
    f = torch.randn(2, 3, 6, 5)
    low, high = n // 2, n - 1 - n // 2
    columns = F.unfold(F.pad(f, (low, high, low, high), mode="replicate"), n)
    expected = F.pixel_shuffle(columns.view(2, 3 * n * n, 6, 5), n)
    assert torch.equal(extract_patches(f, torch.zeros(2, 2, 6, 5), n), expected)


def test_the_middle_tap_of_every_patch_is_the_warp():
    f, flow = torch.randn(2, 3, 6, 5), 4 * torch.randn(2, 2, 6, 5)
    torch.testing.assert_close(extract_patches(f, flow, 3)[..., 1::3, 1::3], warp(f, flow))
    torch.testing.assert_close(extract_patches(f, flow, 4)[..., 2::4, 2::4], warp(f, flow))


@pytest.mark.parametrize("n", [2, 3, 4, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_patches_match_the_original(golden, n, kind):
    compare(golden(f"op_block_extractor_n{n}.npz"), kind, lambda f, w: extract_patches(f, w, n))


@pytest.mark.parametrize(("name", "size", "sigma"), [("k4_d1_s2", 4, 2.0), ("k2_d1_s5", 2, 5.0)])
@pytest.mark.parametrize("kind", KINDS)
def test_gaussian_warp_matches_the_original(golden, name, size, sigma, kind):
    arrays = golden(f"op_resample2d_{name}.npz")
    compare(arrays, kind, lambda f, w: gaussian_warp(f, w, size, sigma))


def compare(arrays, kind, sample):
    """Output and both gradients, to 1e-5 of the largest value; a right-hand d_flow at integers."""
    f = arrays[f"{kind}_source"].requires_grad_()
    flow = arrays[f"{kind}_flow"].requires_grad_()
    out = sample(f, flow)
    out.backward(arrays[f"{kind}_grad_out"])
    for ours, name in (out, "out"), (f.grad, "d_source"), (flow.grad, "d_flow"):
        theirs = arrays[f"{kind}_{name}"]
        bound = 1e-5 * float(theirs.abs().max())
        torch.testing.assert_close(ours.detach(), theirs, rtol=0, atol=bound)


# Borders and far outside


@pytest.mark.parametrize("sample", [warp, gaussian_warp, lambda f, w: extract_patches(f, w, 3)])
@pytest.mark.parametrize("far", [1e3, 1e9, 1e30])
def test_far_outside_reads_the_corner_and_moves_nothing(sample, far):
    f = torch.randn(1, 2, 4, 5, requires_grad=True)
    for sx in (-1, 1):
        for sy in (-1, 1):
            flow = constant_flow(sx * far, sy * far, 4, 5).clone().requires_grad_()
            out = sample(f, flow)
            corner = f[..., -1 if sy > 0 else 0, -1 if sx > 0 else 0][..., None, None]
            torch.testing.assert_close(out, corner.expand_as(out))
            slope = torch.autograd.grad(out.sum(), flow)[0]
            assert float(slope.abs().max()) < 1e-5


def test_half_precision_flow_far_outside_is_no_trap():
    f = torch.randn(1, 1, 3, 3, dtype=torch.half)
    out = warp(f, constant_flow(6e4, -6e4, 3, 3, dtype=torch.half))
    assert torch.equal(out, f[..., :1, 2:].expand_as(f))


@pytest.mark.parametrize("sample", [warp, gaussian_warp, lambda f, w: extract_patches(f, w, 2)])
def test_source_and_flow_may_differ_in_size(sample):
    f, flow = torch.randn(2, 3, 9, 4), 3 * torch.randn(2, 2, 5, 7)
    whole = sample(f, F.pad(flow, (0, 2, 0, 3)))  # a larger grid, the same first positions
    out = sample(f, flow)
    scale = out.shape[-1] // 7
    assert out.shape == (2, 3, 5 * scale, 7 * scale)
    torch.testing.assert_close(out, whole[..., : 5 * scale, : 7 * scale])


# Gradients


@pytest.mark.parametrize(
    "sample",
    [warp, gaussian_warp, *(lambda f, w, n=n: extract_patches(f, w, n) for n in (1, 2, 3))],
)
def test_gradients_in_double_precision(sample):
    f = torch.randn(2, 2, 4, 5).double().requires_grad_()
    flow = off_integers(2, 2, 3, 4).requires_grad_()
    assert torch.autograd.gradcheck(sample, (f, flow))


def test_warp_has_the_paper_s_gradients():
    """GFLA, bilinear sampling: the gradients by the flow and by the feature, at one position."""
    f = torch.tensor([[[[2.0, 7.0], [1.0, 10.0]]]], requires_grad=True)
    flow = torch.tensor([0.25, 0.75]).view(1, 2, 1, 1).requires_grad_()
    warp(f, flow).backward()
    by_dx = 0.25 * (7 - 2) + 0.75 * (10 - 1)
    by_dy = 0.75 * (1 - 2) + 0.25 * (10 - 7)
    torch.testing.assert_close(flow.grad.flatten(), torch.tensor([by_dx, by_dy]))
    by_f = torch.tensor([[0.25 * 0.75, 0.25 * 0.25], [0.75 * 0.75, 0.75 * 0.25]])
    torch.testing.assert_close(f.grad[0, 0], by_f)


@pytest.mark.parametrize("x", [0, 1, 2, 3])
def test_at_integers_the_derivative_is_the_right_hand_one(x):
    f = torch.tensor([1.0, 4.0, 9.0, 16.0]).view(1, 1, 1, 4)
    flow = constant_flow(float(x), 0.0, 1, 1).clone().requires_grad_()
    warp(f, flow).backward(torch.ones(1, 1, 1, 1))
    right = [3.0, 5.0, 7.0, 0.0][x]  # the next pixel less this one; none beyond the last
    assert flow.grad.flatten().tolist() == [right, 0.0]


@pytest.mark.parametrize("wanted", [(True, True), (True, False), (False, True)])
def test_the_tuned_backward_is_the_stock_one(wanted):
    """Rows that are read often, seldom and never; in double precision, and the same every time."""
    features = torch.randn(3, 5, 6, 7).double()
    cell = locate(3 * torch.randn(3, 2, 4, 5), features, reach=3)
    coefficients = torch.randn(3, 4, 5, 4, 4).double()
    grad = torch.randn(3, 5, 4, 5).double()

    def run(bag):
        leaves = features.clone(), coefficients.clone()
        asked = [v.requires_grad_() for v, yes in zip(leaves, wanted, strict=True) if yes]
        out = gather(leaves[0], cell, -1, leaves[1], bag)
        return out.detach(), *torch.autograd.grad(out, asked, grad)

    for ours, again, stock in zip(run(None), run(None), run(stock_bag), strict=True):
        torch.testing.assert_close(ours, stock, rtol=1e-12, atol=1e-12)
        assert torch.equal(ours, again)


def test_a_second_derivative_is_refused():
    f, flow = torch.randn(1, 2, 4, 5), torch.randn(1, 2, 4, 5).requires_grad_()
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(warp(f, flow).sum(), flow, create_graph=True)


# Types


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("sample", [warp, gaussian_warp, lambda f, w: extract_patches(f, w, 3)])
def test_features_keep_their_type_and_positions_their_precision(sample, dtype):
    """At x = 57.3 a ramp reads 57.3 to the features' round-off; in bfloat16 x would be 57.25."""
    ramp = (torch.arange(64.0) - 57).to(dtype).view(1, 1, 1, 64).requires_grad_()
    flow = constant_flow(0.3, 0.0, 1, 64).clone().requires_grad_()
    out = sample(ramp, flow)
    assert out.dtype == dtype
    exact = sample(ramp.detach().double(), flow.detach().double())
    step = torch.finfo(dtype).eps
    torch.testing.assert_close(out.double(), exact, rtol=2 * max(step, 1e-7), atol=1e-5)
    out.sum().backward()
    assert ramp.grad.dtype == dtype and flow.grad.dtype == torch.float32


def test_a_low_precision_flow_still_gives_precise_positions():
    """0.3125 is a bfloat16 number; 57.3125 is not."""
    ramp = torch.arange(64.0).view(1, 1, 1, 64)
    out = warp(ramp, constant_flow(0.3125, 0.0, 1, 64, dtype=torch.bfloat16))
    assert out[..., 57].item() == 57.3125


def test_double_features_are_not_rounded_by_a_single_precision_flow():
    f = torch.randn(1, 1, 4, 4, dtype=torch.float64)
    assert torch.equal(warp(f, torch.zeros(1, 2, 4, 4)), f)


def test_channels_last_features_give_the_same():
    f, flow = torch.randn(2, 3, 5, 6), torch.randn(2, 2, 5, 6)
    assert torch.equal(warp(f.to(memory_format=torch.channels_last), flow), warp(f, flow))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_gives_the_same():
    f, flow = torch.randn(2, 3, 5, 6), 3 * torch.randn(2, 2, 5, 6)
    for sample in (warp, gaussian_warp):
        torch.testing.assert_close(sample(f.cuda(), flow.cuda()).cpu(), sample(f, flow))


# Errors


@pytest.mark.parametrize("sample", [warp, gaussian_warp, lambda f, w: extract_patches(f, w, 3)])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_flow_that_is_not_finite_is_refused(sample, bad):
    flow = torch.zeros(1, 2, 4, 5)
    flow[0, 1, 2, 3] = bad
    with pytest.raises(ValueError, match=rf"finite, got {bad} at .* = \(0, 1, 2, 3\).*1 such"):
        sample(torch.zeros(1, 1, 4, 5), flow)


def test_a_compiled_graph_does_not_stop_at_values():
    compiled = torch.compile(warp, backend="eager", fullgraph=True)
    f, flow = torch.randn(1, 2, 4, 5), torch.randn(1, 2, 4, 5)
    assert torch.equal(compiled(f, flow), warp(f, flow))
    compiled(f, torch.full_like(flow, math.nan))


@pytest.mark.parametrize(
    ("f", "flow", "error", "message"),
    [
        (torch.zeros(1, 1, 4, 4), torch.zeros(1, 3, 4, 4), ValueError, r"\(1, 3, 4, 4\)"),
        (torch.zeros(1, 1, 4, 4), torch.zeros(2, 4, 4), ValueError, r"\(2, 4, 4\)"),
        (torch.zeros(1, 1, 4, 4), torch.zeros(1, 2, 0, 4), ValueError, r"\(1, 2, 0, 4\)"),
        (torch.zeros(1, 1, 4, 4), torch.zeros(1, 2, 4, 4).long(), TypeError, "torch.int64"),
        (torch.zeros(1, 1, 4, 4), None, TypeError, "NoneType"),
        (torch.zeros(1, 4, 4), torch.zeros(1, 2, 4, 4), ValueError, r"\(1, 4, 4\)"),
        (torch.zeros(1, 1, 0, 4), torch.zeros(1, 2, 4, 4), ValueError, r"\(1, 1, 0, 4\)"),
        (torch.zeros(1, 1, 4, 4).byte(), torch.zeros(1, 2, 4, 4), TypeError, "torch.uint8"),
        ([[1.0]], torch.zeros(1, 2, 4, 4), TypeError, "list"),
        (
            torch.zeros(2, 1, 4, 4),
            torch.zeros(1, 2, 4, 4),
            ValueError,
            r"one batch.*\(2, 1, 4, 4\)",
        ),
        (torch.zeros(1, 1, 4, 4, device="meta"), torch.zeros(1, 2, 4, 4), ValueError, "meta"),
    ],
)
def test_bad_input_is_named(f, flow, error, message):
    for sample in (warp, gaussian_warp, lambda f, w: extract_patches(f, w, 3)):
        with pytest.raises(error, match=message):
            sample(f, flow)


@pytest.mark.parametrize(("size", "sigma"), [(3, 2.0), (0, 2.0), (4.0, 2.0), (4, 0.0), (4, -1.0)])
def test_bad_gaussians_are_named(size, sigma):
    with pytest.raises(ValueError, match=str(size) if sigma == 2.0 else str(sigma)):
        gaussian_warp(torch.zeros(1, 1, 4, 4), torch.zeros(1, 2, 4, 4), size, sigma)


@pytest.mark.parametrize(("n", "error"), [(0, ValueError), (-3, ValueError), (3.0, TypeError)])
def test_bad_patch_sides_are_named(n, error):
    with pytest.raises(error, match=f"side of a patch.*{n}"):
        extract_patches(torch.zeros(1, 1, 4, 4), torch.zeros(1, 2, 4, 4), n)


def test_check_flow_lets_a_good_flow_pass():
    assert check_flow(torch.randn(1, 2, 3, 4)) is None
