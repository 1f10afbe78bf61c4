"""Losses: golden arrays, values worked by hand, gradients, memory, errors."""

import math
import subprocess
import sys

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from gfla import losses
from gfla.losses import (
    adversarial,
    affine_regularization,
    best_similarity,
    discriminator_loss,
    gram,
    l1,
    perceptual,
    sampling_correctness,
    style,
    weighted_sum,
)

CASES = "same", "upflow", "outside", "integer", "relu", "zerofeat"
WORST = 1 - math.exp(-1)  # the sampling correctness of features at right angles


def off_integers(*shape, scale=2.0):
    """A float64 flow whose fractions lie in [0.2, 0.8]: Gaussian sampling jumps at integers."""
    whole = (scale * torch.randn(shape)).round()
    return (whole + 0.2 + 0.6 * torch.rand(shape)).double()


def one_hot_features(h, w):
    """Every position has a direction of its own: one perfect match, all others at right angles."""
    return torch.eye(h * w).reshape(1, h * w, h, w)


# Golden arrays


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("variant", ["gauss", "mask"])
def test_sampling_correctness_is_golden(golden, case, variant):
    arrays = golden("loss_perceptual_correctness_features.npz")
    flow = arrays[f"{case}_flow"].requires_grad_()
    loss = sampling_correctness(
        arrays[f"{case}_source_feat"],
        arrays[f"{case}_target_feat"],
        flow,
        mask=arrays[f"{case}_mask"] if variant == "mask" else None,
        block=50,  # does not divide the 120 positions
    )
    (gradient,) = torch.autograd.grad(loss, flow)
    torch.testing.assert_close(loss.detach(), arrays[f"{case}_{variant}_loss"])
    expected = arrays[f"{case}_{variant}_d_flow"]
    assert expected.abs().max() > 0
    atol = 1e-5 * float(expected.abs().max())
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=atol)


@pytest.mark.parametrize("n", [2, 3, 4, 5])
@pytest.mark.parametrize("kind", ["rand", "small", "affine"])
def test_affine_regularization_is_golden(golden, n, kind):
    arrays = golden("loss_affine_regularization.npz")
    flow = arrays[f"kz{n}_{kind}_flow"].requires_grad_()
    loss = affine_regularization(flow, n)
    (gradient,) = torch.autograd.grad(loss, flow)
    # The original squares absolute coordinates in float32: its values carry that noise.
    torch.testing.assert_close(loss.detach(), arrays[f"kz{n}_{kind}_loss"], rtol=5e-4, atol=1e-4)
    if kind == "affine":
        assert gradient.abs().max() < 1e-5
    else:
        torch.testing.assert_close(gradient, arrays[f"kz{n}_{kind}_d_flow"], rtol=5e-4, atol=1e-5)


def test_affine_regularization_of_two_levels_is_golden(golden):
    arrays = golden("loss_affine_regularization.npz")
    coarse, fine = (arrays[f"multi_flow{k}"].requires_grad_() for k in (0, 1))
    loss = affine_regularization(coarse, 3) + affine_regularization(fine, 5)
    loss.backward()
    torch.testing.assert_close(loss.detach(), arrays["multi_loss"], rtol=5e-4, atol=1e-4)
    for k, flow in enumerate((coarse, fine)):
        torch.testing.assert_close(flow.grad, arrays[f"multi_d_flow{k}"], rtol=5e-4, atol=1e-5)


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_residual_basis_spans_the_golden_projector(golden, n):
    kernel = golden("loss_affine_regularization.npz")[f"kz{n}_kernel_f64"].reshape(n * n, n * n)
    basis = torch.tensor(losses._residual_basis(n), dtype=torch.float64)
    assert basis.shape == (n * n - 3, n * n)
    torch.testing.assert_close(basis.T @ basis, kernel.T @ kernel)


@pytest.mark.parametrize("kind", ["lsgan", "hinge"])
@pytest.mark.parametrize("real", [True, False])
@pytest.mark.parametrize("side", ["discriminator", "generator"])
def test_adversarial_is_golden(golden, kind, real, side):
    arrays = golden("loss_adversarial.npz")
    expected = arrays[f"{kind}_real{int(real)}_dis{int(side == 'discriminator')}"]
    torch.testing.assert_close(adversarial(arrays["in"], real, kind, side=side), expected)
    if side == "discriminator":
        torch.testing.assert_close(adversarial(arrays["in"], real, kind=kind), expected)


def test_gram_is_golden(golden):
    arrays = golden("gram.npz")
    torch.testing.assert_close(gram(arrays["x"]), arrays["gram"])


# Sampling correctness


@pytest.mark.parametrize("shift", [(0, 0), (2, -1)])
def test_correctness_of_the_true_flow_is_zero_and_of_a_wrong_one_the_worst(shift):
    dx, dy = shift
    source = one_hot_features(6, 7)
    target = source.roll((-dy, -dx), dims=(2, 3))  # target(l) = source(l + shift)
    flow = torch.tensor([float(dx), float(dy)])[None, :, None, None].expand(1, 2, 6, 7)
    inside = torch.zeros(1, 1, 6, 7)
    inside[..., max(0, -dy) : 6 - max(0, dy), max(0, -dx) : 7 - max(0, dx)] = 1
    inside[..., -1, :] = inside[..., -1] = 0  # the wrong flow, clamped there, would be right
    right = sampling_correctness(source, target, flow, mask=inside, sampling="bilinear")
    wrong = sampling_correctness(source, target, flow + 1, mask=inside, sampling="bilinear")
    assert abs(float(right)) < 1e-6
    assert float(wrong) == pytest.approx(WORST, abs=1e-6)


def test_correctness_is_relative_to_the_best_match_not_to_a_perfect_one():
    source = torch.tensor([[1.0, 1.0], [0.0, 0.0]]).reshape(1, 2, 1, 2)
    target = torch.tensor([[3.0, 3.0], [4.0, 4.0]]).reshape(1, 2, 1, 2)  # cosine 0.6 everywhere
    loss = sampling_correctness(source, target, torch.zeros(1, 2, 1, 2))
    assert abs(float(loss)) < 1e-6


def test_mask_weighs_positions():
    source, target, flow = torch.rand(2, 5, 4, 6), torch.rand(2, 5, 4, 6), torch.rand(2, 2, 4, 6)
    left = torch.zeros(2, 1, 8, 12)  # twice the size of the level: resized
    left[..., :6] = 1
    halves = [sampling_correctness(source, target, flow, mask=m) for m in (left, 1 - left)]
    assert float(halves[0]) != pytest.approx(float(halves[1]), rel=1e-3)
    whole = sampling_correctness(source, target, flow)
    torch.testing.assert_close(torch.stack(halves).mean(), whole)


def test_best_similarity_is_the_row_maximum_of_the_whole_matrix():
    source, target = torch.randn(2, 5, 4, 6), torch.randn(2, 5, 3, 5)
    matrix = torch.nn.functional.cosine_similarity(
        target.flatten(2)[..., None], source.flatten(2)[:, :, None], dim=1
    )
    expected = matrix.amax(2).reshape(2, 3, 5)
    for block in (1, 7, 1000):
        torch.testing.assert_close(best_similarity(source, target, block), expected)


def test_a_best_similarity_at_hand_gives_the_same_loss():
    source, target, flow = torch.rand(1, 5, 4, 6), torch.rand(1, 5, 4, 6), torch.rand(1, 2, 4, 6)
    best = best_similarity(source, target)
    torch.testing.assert_close(
        sampling_correctness(source, target, flow, best=best),
        sampling_correctness(source, target, flow),
    )
    worse = sampling_correctness(source, target, flow, best=best / 2)
    assert float(worse) < float(sampling_correctness(source, target, flow))


@pytest.mark.parametrize("sampling", ["gaussian", "bilinear"])
def test_correctness_gradient_is_right(sampling):
    source, target = torch.rand(2, 4, 5, 6).double(), torch.rand(2, 4, 5, 6).double()
    flow = off_integers(2, 2, 5, 6).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda w: sampling_correctness(source, target, w, sampling=sampling), flow
    )


def test_only_the_flow_learns_from_correctness():
    source, target, flow = (torch.rand(1, c, 4, 4, requires_grad=True) for c in (3, 3, 2))
    sampling_correctness(source, target, flow).backward()
    assert source.grad is None
    assert target.grad is None
    assert flow.grad.abs().sum() > 0


def test_a_flow_that_left_the_image_gets_no_gradient():
    source, target = torch.rand(1, 4, 6, 6), torch.rand(1, 4, 6, 6)
    flow = torch.full((1, 2, 6, 6), 50.0, requires_grad=True)
    sampling_correctness(source, target, flow).backward()
    assert flow.grad.abs().max() == 0


def test_correctness_of_a_batch_is_the_mean_of_singles():
    source, target, flow = torch.rand(2, 5, 4, 6), torch.rand(2, 5, 4, 6), torch.rand(2, 2, 4, 6)
    singles = [
        sampling_correctness(source[k : k + 1], target[k : k + 1], flow[k : k + 1])
        for k in range(2)
    ]
    whole = sampling_correctness(source, target, flow)
    torch.testing.assert_close(whole, torch.stack(singles).mean())


def test_half_precision_features_are_compared_in_full():
    source, target = torch.rand(1, 8, 6, 6).bfloat16(), torch.rand(1, 8, 6, 6).bfloat16()
    flow = torch.rand(1, 2, 6, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = sampling_correctness(source, target, flow)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, sampling_correctness(source.float(), target.float(), flow))


class _Sizes(TorchDispatchMode):
    """Remember the largest tensor that any operation makes."""

    largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for x in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(x, torch.Tensor):
                self.largest = max(self.largest, x.numel())
        return out


def test_no_operation_makes_the_matrix_of_all_pairs():
    N, block = 32 * 32, 64
    source, target = torch.rand(1, 4, 32, 32), torch.rand(1, 4, 32, 32)
    with _Sizes() as seen:
        flow = torch.zeros(1, 2, 32, 32, requires_grad=True)
        sampling_correctness(source, target, flow, block=block).backward()
    assert block * N <= seen.largest <= 2 * block * N < N * N


MEMORY = """
import resource, torch
from gfla.losses import sampling_correctness
torch.set_num_threads(1)
def run(side):
    features, flow = torch.rand(1, 4, side, side), torch.rand(1, 2, side, side, requires_grad=True)
    sampling_correctness(features, features, flow).backward()
run(8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
run(80)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ru_maxrss is kilobytes on Linux")
def test_memory_stays_far_below_the_matrix_of_all_pairs():
    done = subprocess.run(
        [sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True, timeout=120
    )
    matrix = (80 * 80) ** 2 * 4 / 2**20  # 156 MiB
    assert float(done.stdout) < 0.4 * matrix


# Affine regularisation


def residual_by_least_squares(flow, n):
    """Every window fitted on its own, on absolute coordinates: slow and plain."""
    h, w = flow.shape[-2:]
    total, windows = 0.0, 0
    for sample in flow:
        for top in range(h - n + 1):
            for left in range(w - n + 1):
                y, x = torch.meshgrid(
                    torch.arange(top, top + n), torch.arange(left, left + n), indexing="ij"
                )
                S = torch.stack([x, y, torch.ones_like(x)]).reshape(3, -1).to(flow)
                T = S[:2] + sample[:, top : top + n, left : left + n].reshape(2, -1)
                A = T @ S.T @ torch.linalg.inv(S @ S.T)
                total += (T - A @ S).square().sum()
                windows += 1
    return total / windows


@pytest.mark.parametrize("n", [2, 3, 5])
def test_affine_regularization_is_the_least_squares_residual(n):
    flow = torch.randn(2, 2, 6, 7).double()
    expected = residual_by_least_squares(flow, n)
    torch.testing.assert_close(affine_regularization(flow, n), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_affine_flows_cost_nothing_even_far_away(dtype):
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(24.0), indexing="ij")
    flow = torch.stack([3 * x - 0.5 * y + 1000, 0.25 * x + 2 * y - 1000])[None].to(dtype)
    assert 0 <= float(affine_regularization(flow, 5)) < 1e-12
    bump = flow.clone()
    bump[0, 0, 16, 12] += 0.1
    assert float(affine_regularization(bump, 5)) > 1e-4


def test_affine_part_of_a_flow_does_not_matter():
    flow = torch.randn(1, 2, 8, 8).double()
    y, x = torch.meshgrid(*[torch.arange(8.0).double()] * 2, indexing="ij")
    moved = flow + torch.stack([2 * x - y, 7 + y])
    torch.testing.assert_close(affine_regularization(moved, 3), affine_regularization(flow, 3))


def test_affine_regularization_gradient_is_right():
    flow = torch.randn(2, 2, 5, 6).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda w: affine_regularization(w, 3), flow)


def test_affine_regularization_keeps_its_digits_under_autocast():
    flow = torch.randn(1, 2, 8, 8) + 200
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = affine_regularization(flow, 3)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, affine_regularization(flow, 3))


# Pictures and features


def test_l1_by_hand():
    a, b = torch.zeros(2, 3, 2, 2), torch.zeros(2, 3, 2, 2)
    a[0, 0, 0, 0] = -2.4
    assert float(l1(a, b)) == pytest.approx(0.1)


def test_adversarial_by_hand():
    scores = torch.tensor([-2.0, 0.5, 3.0])
    assert float(adversarial(scores, True)) == pytest.approx((9 + 0.25 + 4) / 3)
    assert float(adversarial(scores, False)) == pytest.approx((4 + 0.25 + 9) / 3)
    assert float(adversarial(scores, True, "hinge")) == pytest.approx((3 + 0.5 + 0) / 3)
    assert float(adversarial(scores, False, "hinge")) == pytest.approx((0 + 1.5 + 4) / 3)
    assert float(adversarial(scores, True, "hinge", side="generator")) == pytest.approx(-0.5)


@pytest.mark.parametrize(("kind", "expected"), [("lsgan", 0.5 * (4 + 1)), ("hinge", 0.5 * (2 + 2))])
def test_discriminator_loss_is_half_of_both(kind, expected):
    real, fake = torch.tensor([-1.0]), torch.tensor([1.0])
    assert float(discriminator_loss(real, fake, kind)) == pytest.approx(expected)


def test_perceptual_sums_the_means_of_its_five_taps():
    names = [f"relu{k}_1" for k in range(1, 6)]
    a = {name: torch.zeros(1, k + 2, 4, 4) for k, name in enumerate(names)} | {"relu2_2": None}
    b = {name: torch.full((1, k + 2, 4, 4), 10.0**k) for k, name in enumerate(names)}
    assert float(perceptual(a, b)) == pytest.approx(11111)
    assert float(perceptual(a, b, names[:2])) == pytest.approx(11)


def test_style_sums_the_means_of_its_four_taps():
    names = ["relu2_2", "relu3_4", "relu4_4", "relu5_2"]
    a = {name: torch.zeros(1, 2, 3, 3) for name in names}
    b = {name: torch.full((1, 2, 3, 3), (k + 1.0)) for k, name in enumerate(names)}
    # every product of two channels, averaged over positions and the two channels: value² / 2
    assert float(style(a, b)) == pytest.approx((1 + 4 + 9 + 16) / 2)


def test_style_does_not_see_places_and_perceptual_does():
    features = torch.rand(1, 4, 5, 5)
    shuffled = features.flatten(2)[..., torch.randperm(25)].reshape_as(features)
    a, b = {"tap": features}, {"tap": shuffled}
    assert float(style(a, b, ["tap"])) < 1e-6
    assert float(perceptual(a, b, ["tap"])) > 0.1


def test_gram_by_loops_and_without_overflow():
    x = torch.randn(2, 3, 4, 5)
    expected = torch.zeros(2, 3, 3)
    for i in range(3):
        for j in range(3):
            expected[:, i, j] = (x[:, i] * x[:, j]).sum((1, 2)) / (3 * 4 * 5)
    torch.testing.assert_close(gram(x), expected)
    large = gram(torch.full((1, 2, 64, 64), 200.0, dtype=torch.float16))
    assert float(large.max()) == pytest.approx(20000)


# The weighted sum


def test_the_weights_are_the_paper_s():
    assert losses.FLOW_STAGE == {"sampling_correctness": 20, "affine_regularization": 0.01}
    assert losses.FULL_STAGE == {
        "sampling_correctness": 5,
        "affine_regularization": 0.0025,
        "l1": 5,
        "adversarial": 2,
        "perceptual": 0.5,
        "style": 500,
    }


def test_weighted_sum_logs_every_term_both_ways():
    terms = {name: torch.tensor(float(k + 1)) for k, name in enumerate(losses.FULL_STAGE)}
    terms["l1"] = terms["l1"].double().requires_grad_()
    total, logged = weighted_sum(terms, losses.FULL_STAGE)
    assert float(total.detach()) == pytest.approx(5 + 0.005 + 15 + 8 + 2.5 + 3000)
    assert logged["total"] == pytest.approx(float(total.detach()))
    assert set(logged) == {"total"} | set(terms) | {f"{name}_weighted" for name in terms}
    for k, (name, weight) in enumerate(losses.FULL_STAGE.items()):
        assert logged[name] == pytest.approx(k + 1)
        assert logged[f"{name}_weighted"] == pytest.approx(weight * (k + 1))
    total.backward()
    assert float(terms["l1"].grad) == 5


def test_a_weighted_half_precision_term_does_not_overflow():
    total, logged = weighted_sum({"style": torch.tensor(200.0).half()}, {"style": 500.0})
    assert float(total) == logged["style_weighted"] == 100_000


@pytest.mark.parametrize("weights", [{"l1": 1.0}, {"l1": 1.0, "style": 1.0, "stile": 1.0}, {}])
def test_weighted_sum_refuses_terms_and_weights_that_differ(weights):
    terms = {"l1": torch.tensor(1.0), "style": torch.tensor(1.0)}
    with pytest.raises(ValueError, match="'l1', 'style'"):
        weighted_sum(terms, weights)


# Errors


def images(*shape):
    return torch.zeros(shape)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: l1(images(1, 3, 4, 4), images(1, 1, 4, 4)), r"\(1, 3, 4, 4\) and \(1, 1, 4, 4\)"),
        (lambda: gram(images(3, 4, 4)), r"\(3, 4, 4\)"),
        (lambda: adversarial(images(1), True, "wgan"), "'wgan'"),
        (lambda: adversarial(images(1), True, side="both"), "'both'"),
        (lambda: affine_regularization(images(1, 3, 8, 8), 3), r"\(1, 3, 8, 8\)"),
        (lambda: affine_regularization(images(1, 2, 8, 4), 5), "5×5"),
        (lambda: affine_regularization(images(1, 2, 8, 8), 1), "got 1"),
        (lambda: affine_regularization(images(1, 2, 8, 8) / 0, 3), "finite"),
        (lambda: perceptual({}, {}, []), "names is empty"),
        (lambda: style({"a": images(1, 2, 2, 2)}, {"a": images(1, 3, 2, 2)}, ["a"]), "taps a"),
        (lambda: best_similarity(images(1, 2, 4, 4), images(1, 2, 4, 4), 0), "got 0"),
        (lambda: best_similarity(images(1, 2, 4, 4), images(1, 3, 4, 4)), r"\(1, 3, 4, 4\)"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"flow": images(1, 3, 4, 4)}, r"\(1, 3, 4, 4\)"),
        ({"flow": images(2, 2, 4, 4)}, "B = 1"),
        ({"flow": images(1, 2, 4, 4) / 0}, "finite"),
        ({"target_features": images(1, 6, 4, 4)}, r"\(1, 6, 4, 4\)"),
        ({"sampling": "bicubic"}, "'bicubic'"),
        ({"mask": images(1, 4, 4)}, r"\(1, 4, 4\)"),
        ({"best": images(4, 4)}, r"\(4, 4\)"),
    ],
)
def test_sampling_correctness_names_bad_input(change, message):
    good = {
        "source_features": torch.ones(1, 5, 4, 4),
        "target_features": torch.ones(1, 5, 4, 4),
        "flow": torch.zeros(1, 2, 4, 4),
    }
    with pytest.raises(ValueError, match=message):
        sampling_correctness(**(good | change))


def test_a_missing_tap_is_named():
    taps = {"relu1_1": torch.zeros(1, 2, 4, 4)}
    with pytest.raises(KeyError, match="relu2_1"):
        perceptual(taps, taps)
