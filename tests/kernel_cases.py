"""What the kernels must do on whatever runs them: a CUDA device, or a CPU under the interpreter.

tests/test_kernels.py runs this file in processes of its own, since Triton decides when it is first
imported whether it interprets. By hand: TRITON_INTERPRET=1 python -m pytest tests/kernel_cases.py,
or without the variable where a CUDA device is at hand. The reference is gfla.sampling in float64
on the CPU, which the kernels do not take, so that they never are compared with themselves.
"""

import os

import pytest
import torch
import torch.nn.functional as F
from torch.library import opcheck
from torch.utils.checkpoint import checkpoint

from gfla import kernel_operators, kernels, sampling

DEVICE = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"
HALVES = torch.float16, torch.bfloat16


def features(B, C, H, W, dtype=torch.float32):
    return torch.randn(B, C, H, W, device=DEVICE).to(dtype).requires_grad_()


def flows(B, h, w):
    """Small, far outside, integer and zero, one after the other in every column."""
    flow = 2 * torch.randn(B, 2, h, w)
    flow[..., 1::4, :] *= 20
    flow[..., 2::4, :] = flow[..., 2::4, :].round()
    flow[..., 3::4, :] = 0
    return flow.to(DEVICE).requires_grad_()


def kernel_weights(B, n, h, w):
    return torch.randn(B, n * n, h, w, device=DEVICE).softmax(1).requires_grad_()


def attend_by_patches(source, flow, weights):
    n = round(weights.shape[1] ** 0.5)
    kernel = F.pixel_shuffle(weights, n)
    return F.avg_pool2d(kernel * sampling.extract_patches(source, flow, n), n)


def compare(ours, reference, *inputs):
    """Output and every gradient, to the round-off of their type."""
    out = ours(*inputs)
    grad = torch.randn_like(out)
    exact = [v.detach().double().cpu().requires_grad_() for v in inputs]
    expected = reference(*exact)
    found = out, *torch.autograd.grad(out, inputs, grad)
    wanted = expected, *torch.autograd.grad(expected, exact, grad.double().cpu())
    for a, b in zip(found, wanted):
        bound = 1e-5 * float(b.detach().abs().max()) + 1e-7
        rtol = torch.finfo(a.dtype).eps if a.dtype in HALVES else 0
        torch.testing.assert_close(a.detach().double().cpu(), b.detach(), rtol=rtol, atol=bound)
    assert out.dtype == inputs[0].dtype
    assert out.is_contiguous(memory_format=torch.channels_last)


# Values and gradients


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_attend_is_the_weighted_mean_of_the_patches(n):
    inputs = features(2, 5, 5, 6), flows(2, 4, 7), kernel_weights(2, n, 4, 7)
    compare(kernels.attend, attend_by_patches, *inputs)


@pytest.mark.parametrize("dtype", HALVES)
def test_attend_in_half_precision(dtype):
    inputs = features(1, 8, 4, 5, dtype), flows(1, 4, 5), kernel_weights(1, 3, 4, 5)
    compare(kernels.attend, attend_by_patches, *inputs)


@pytest.mark.parametrize("channels", [1, 3, 300])
def test_channels_may_be_more_than_a_block_or_fewer(channels):
    inputs = features(1, channels, 3, 3), flows(1, 2, 3), kernel_weights(1, 2, 2, 3)
    compare(kernels.attend, attend_by_patches, *inputs)
    compare(lambda f, w: kernels.gaussian_warp(f, w, 2, 1.5),
            lambda f, w: sampling.gaussian_warp(f, w, 2, 1.5), *inputs[:2])  # fmt: skip


def test_positions_may_be_more_than_a_block():
    compare(kernels.warp, sampling.warp, features(1, 16, 9, 5), flows(1, 13, 17))


def test_offsets_past_2_to_the_31(monkeypatch):
    plan = kernel_operators.plan
    monkeypatch.setattr(kernel_operators, "plan", lambda *given: plan(*given) | {"WIDE": True})
    compare(kernels.warp, sampling.warp, features(1, 2, 4, 5), flows(1, 4, 5))


@pytest.mark.parametrize("dtype", [torch.float32, *HALVES])
def test_warp_is_the_reference(dtype):
    compare(kernels.warp, sampling.warp, features(2, 3, 5, 6, dtype), flows(2, 4, 7))


@pytest.mark.parametrize("margin", [1, 3])
def test_a_margin_is_added_to_the_position(margin):
    inputs = features(1, 3, 5 + margin, 6 + margin), flows(1, 8, 4)
    ours = lambda f, w: kernels.warp(f, w, margin)  # noqa: E731
    compare(ours, lambda f, w: sampling.warp(f, w + margin), *inputs)


def test_a_margin_rounds_no_position_across_an_integer():
    f = torch.tensor([0.0, 1.0, 3.0, 7.0], device=DEVICE).view(1, 1, 1, 4)
    flow = torch.zeros(1, 2, 1, 1, device=DEVICE)
    flow[:, 0] = -1e-9  # just left of 0, so just left of 2 with the margin, where f has slope 2
    flow.requires_grad_()
    kernels.warp(f, flow, margin=2).sum().backward()
    assert flow.grad.flatten().tolist() == [2, 0]


@pytest.mark.parametrize(("size", "sigma"), [(2, 5.0), (4, 2.0), (6, 1.0)])
def test_gaussian_warp_is_the_reference(size, sigma):
    compare(lambda f, w: kernels.gaussian_warp(f, w, size, sigma),
            lambda f, w: sampling.gaussian_warp(f, w, size, sigma),
            features(2, 3, 5, 6), flows(2, 4, 7))  # fmt: skip


@pytest.mark.parametrize("dtype", HALVES)
def test_gaussian_warp_in_half_precision(dtype):
    compare(lambda f, w: kernels.gaussian_warp(f, w, 4, 2.0),
            lambda f, w: sampling.gaussian_warp(f, w, 4, 2.0),
            features(1, 4, 4, 5, dtype), flows(1, 4, 5))  # fmt: skip


def test_gaussian_weights_that_underflow_do_no_harm():
    flow = torch.full((1, 2, 2, 2), 0.5, device=DEVICE)
    out = kernels.gaussian_warp(torch.ones(1, 1, 3, 3, device=DEVICE), flow, 4, 1e-3)
    torch.testing.assert_close(out, torch.ones_like(out))


@pytest.mark.parametrize("far", [1e3, 1e30, -1e30])
def test_far_outside_reads_the_corner_and_moves_nothing(far):
    f, weights = features(1, 2, 4, 5), torch.full((1, 9, 2, 2), 1 / 9, device=DEVICE)
    flow = torch.full((1, 2, 2, 2), far, device=DEVICE, requires_grad=True)
    corner = f.detach()[..., -1:, -1:] if far > 0 else f.detach()[..., :1, :1]
    attend = lambda f, w: kernels.attend(f, w, weights) * 9  # noqa: E731
    gaussian = lambda f, w: kernels.gaussian_warp(f, w, 4, 2.0)  # noqa: E731
    for sample in kernels.warp, gaussian, attend:
        out = sample(f, flow)
        torch.testing.assert_close(out, corner.expand_as(out))
        assert float(torch.autograd.grad(out.sum(), flow)[0].abs().max()) < 1e-5


# Layouts and types


def test_any_layout_gives_the_same():
    f, flow, weights = features(2, 4, 5, 6), flows(2, 3, 4), kernel_weights(2, 3, 3, 4)
    expected = kernels.attend(f, flow, weights)
    last = torch.channels_last
    apart = torch.empty(2, 4, 10, 18, device=DEVICE)[..., ::2, ::3].copy_(f.detach())
    held = torch.empty(2, 2, 3, 8, device=DEVICE)[..., ::2].copy_(flow.detach())
    turned = weights.detach().transpose(2, 3).contiguous().transpose(2, 3)
    one, all_last = (
        apart.contiguous(memory_format=last),
        flow.detach().contiguous(memory_format=last),
    )
    for g, w, k in ((apart, held, turned), (one, all_last, weights.contiguous(memory_format=last))):
        assert torch.equal(kernels.attend(g, w, k), expected)
    narrow = flow.detach()[..., :1].transpose(2, 3).contiguous().transpose(2, 3)  # one column
    assert torch.equal(kernels.warp(f, narrow), kernels.warp(f, flow[..., :1].contiguous()))
    still = flow.detach()[:1, :, :1, :1].expand(2, 2, 3, 4)
    assert torch.equal(kernels.warp(f, still), kernels.warp(f, still.contiguous()))
    grad = torch.randn_like(expected)
    a = torch.autograd.grad(expected, f, grad, retain_graph=True)[0]
    b = torch.autograd.grad(expected, f, grad.contiguous())[0]
    torch.testing.assert_close(a, b)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 3, 1), (1, 0, 3, 2)])
def test_the_gradient_by_the_weights_comes_in_any_layout(order):
    back = [order.index(k) for k in range(4)]
    weights = kernel_weights(2, 3, 3, 4).detach().permute(order).contiguous().permute(back)
    weights.requires_grad_()
    compare(kernels.attend, attend_by_patches, features(2, 2, 3, 4), flows(2, 3, 4), weights)


def test_flow_and_weights_in_half_precision_get_their_gradient_in_it():
    f, flow = features(1, 2, 4, 4), flows(1, 4, 4)
    weights = kernel_weights(1, 3, 4, 4)
    low = [v.detach().half().requires_grad_() for v in (flow, weights)]
    same = [v.detach().float().requires_grad_() for v in low]
    out, expected = kernels.attend(f, *low), kernels.attend(f, *same)
    assert torch.equal(out, expected)
    found, wanted = (torch.autograd.grad(o.sum(), v) for o, v in ((out, low), (expected, same)))
    assert all(torch.equal(a, b.half()) for a, b in zip(found, wanted))


def test_only_what_is_asked_for_is_computed(monkeypatch):
    f, flow = features(1, 2, 3, 3), flows(1, 3, 3)
    called = []
    launch = kernel_operators._launch
    spy = lambda name, *given: called.append(name) or launch(name, *given)  # noqa: E731
    monkeypatch.setattr(kernel_operators, "_launch", spy)
    kernels.warp(f, flow.detach()).sum().backward()
    kernels.warp(f.detach(), flow).sum().backward()
    assert called == ["gather", "scatter", "gather", "slopes"]


def test_float64_is_refused_with_the_way_out():
    f, flow, weights = features(1, 2, 3, 3), flows(1, 3, 3), kernel_weights(1, 1, 3, 3)
    for given in (f.double(), flow, weights), (f, flow.double(), weights), (f, flow, f.double()):
        with pytest.raises((TypeError, ValueError), match="float64|n\\^2"):
            kernels.attend(*given)


@pytest.mark.parametrize("n", [2, 3])
def test_the_whole_operator_is_the_literal_one(n):
    source, target, flow = features(1, 3, 4, 5), features(1, 3, 3, 6), flows(1, 3, 6)
    layers = torch.nn.Conv2d(6, 4, n).to(DEVICE), torch.nn.Conv2d(4, n * n, 1).to(DEVICE)
    given = source, target, flow, *(v for layer in layers for v in (layer.weight, layer.bias))
    compare(
        lambda *given: sampling.local_attention(*given, n, backend="triton")[0],
        lambda *given: sampling.local_attention(*given, n, backend="reference")[0],
        *given,
    )


# As operators of PyTorch


def test_operators_keep_their_word():
    f, flow, weights = features(2, 3, 4, 5), flows(2, 3, 4), kernel_weights(2, 2, 3, 4)
    low = f.detach().half().requires_grad_()
    opcheck(torch.ops.gfla.gather.default, (f, flow, weights, 0, 0, 0.0))
    some = "test_schema", "test_autograd_registration", "test_faketensor"
    for given in (low, flow, None, 2, 0, 0.0), (f, flow, None, 0, 4, 2.0):
        opcheck(torch.ops.gfla.gather.default, given, test_utils=some)
    f, low, flow, weights = (v.detach() for v in (f, low, flow, weights))
    for source, k, *form in (f, weights, 0, 0, 0.0), (low, None, 2, 0, 0.0), (f, None, 0, 4, 2.0):
        grad = torch.randn(2, 3, 3, 4, device=DEVICE).to(source.dtype)
        opcheck(torch.ops.gfla.scatter.default, (grad, flow, k, *form, 4, 5), test_utils=some)
        opcheck(torch.ops.gfla.slopes.default, (grad, source, flow, k, *form), test_utils=some)


def both(f, flow, weights):
    """A piece of a network, with the question that a backend asks before it calls."""
    if not kernels.available(f.device).ok:
        raise RuntimeError("not there")
    return kernels.attend(f.tanh(), flow, weights) + kernels.warp(f, flow).tanh()


def gradients(piece, inputs):
    out = piece(*inputs)
    return out, *torch.autograd.grad(out.square().sum(), inputs)


def inputs():
    return features(1, 3, 4, 5), flows(1, 4, 5), kernel_weights(1, 3, 4, 5)


def test_compiled_whole_it_is_the_same():
    given = inputs()
    compiled = torch.compile(both, fullgraph=True, backend="aot_eager")
    for a, b in zip(gradients(compiled, given), gradients(both, given)):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointed_it_is_the_same(reentrant):
    given = inputs()
    both(*given).square().sum().backward()
    wanted = [v.grad.clone() for v in given]
    for v in given:
        v.grad = None
    checkpoint(both, *given, use_reentrant=reentrant).square().sum().backward()
    for v, grad in zip(given, wanted):
        torch.testing.assert_close(v.grad, grad)


def test_under_autocast_positions_and_weights_stay_exact():
    f, flow, weights = inputs()
    layer = torch.nn.Conv2d(3, 3, 1, device=DEVICE)
    with torch.autocast(DEVICE, torch.bfloat16):
        low = layer(f)
        out = kernels.attend(low, flow, weights)
    assert low.dtype == out.dtype == torch.bfloat16
    exact = attend_by_patches(low.double().cpu(), flow.double().cpu(), weights.double().cpu())
    torch.testing.assert_close(out.double().cpu(), exact, rtol=2**-7, atol=1e-6)
    out.sum().backward()
    assert layer.weight.grad.dtype == flow.grad.dtype == torch.float32


def test_a_second_derivative_is_refused():
    f, flow, weights = inputs()
    out = kernels.attend(f, flow, weights).square().sum()
    (slope,) = torch.autograd.grad(out, flow, create_graph=True)
    with pytest.raises(NotImplementedError, match="no second derivative"):
        slope.sum().backward()
