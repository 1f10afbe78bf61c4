"""Local attention: two forms that must agree, with each other and with the original."""

import math
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from gfla import kernels, patchless, sampling
from gfla.attention import BilinearSampling, Concatenation, GlobalAttention, LocalAttention
from gfla.sampling import BackendError, extract_patches, gaussian_warp, local_attention, warp

KINDS = "small", "outside", "integer", "zero", "mixed"
FORMS = "reference", "fast"


def layers(channels, n, hidden=8, dtype=torch.float32):
    scale = (2 * channels * n * n) ** -0.5
    return [
        v.to(dtype).requires_grad_()
        for v in (
            scale * torch.randn(hidden, 2 * channels, n, n),
            torch.randn(hidden),
            torch.randn(n * n, hidden, 1, 1),
            torch.randn(n * n),
        )
    ]


def flow_of(kind, *shape):
    fractional = shape[-1] * torch.randn(shape)
    whole = (3 * torch.randn(shape)).round()
    return {
        "small": 0.1 * fractional,
        "outside": 10 * fractional,
        "integer": whole,
        "zero": torch.zeros(shape),
        "mixed": torch.where(torch.arange(shape[-2])[:, None] % 2 == 0, whole, fractional),
    }[kind]


def close(ours, theirs, relative):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=relative * float(theirs.abs().max()))


# The two forms


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_both_forms_agree_forward_and_backward(kind, n):
    """In double precision to 1e-10, source larger than the flow one way and smaller the other."""
    tensors = [
        torch.randn(2, 3, 9, 5).double(),
        torch.randn(2, 3, 6, 8).double(),
        flow_of(kind, 2, 2, 6, 8).double(),
        *layers(3, n, dtype=torch.float64),
    ]
    for v in tensors:
        v.requires_grad_()
    grads = torch.randn(2, 3, 6, 8).double(), torch.randn(2, n * n, 6, 8).double()
    results = []
    for form in FORMS:
        out = local_attention(*tensors, n, backend=form)
        results.append((*out, *torch.autograd.grad(out, tensors, grads)))
    for literal, fast in zip(*results):
        torch.testing.assert_close(fast, literal, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n", [2, 3])
def test_gradients_in_double_precision(form, n):
    tensors = [
        torch.randn(1, 2, 4, 3).double().requires_grad_(),
        torch.randn(1, 2, 3, 4).double().requires_grad_(),
        (torch.randint(-4, 5, (1, 2, 3, 4)) + 0.2 + 0.6 * torch.rand(1, 2, 3, 4)).double(),
        *layers(2, n, hidden=3, dtype=torch.float64),
    ]
    tensors[2].requires_grad_()
    assert torch.autograd.gradcheck(lambda *v: local_attention(*v, n, backend=form), tensors)


def literal_by_grid_sample(source, target, flow, weight1, bias1, weight2, bias2, n):
    """Patches as somebody without the CUDA extension would write them: an oracle of its own."""
    h, w = flow.shape[-2:]
    offsets = torch.arange(n) - n // 2

    def patches(features, flow):
        H, W = features.shape[-2:]
        x = (flow[:, 0] + torch.arange(w)).repeat_interleave(n, 1).repeat_interleave(n, 2)
        y = (flow[:, 1] + torch.arange(h)[:, None]).repeat_interleave(n, 1).repeat_interleave(n, 2)
        x, y = x + offsets.repeat(w), y + offsets.repeat(h)[:, None]
        grid = torch.stack((2 * x / (W - 1) - 1, 2 * y / (H - 1) - 1), -1)
        return F.grid_sample(features, grid, padding_mode="border", align_corners=True)

    there, here = patches(source, flow), patches(target, torch.zeros_like(flow))
    hidden = F.leaky_relu(F.conv2d(torch.cat((here, there), 1), weight1, bias1, stride=n), 0.1)
    weights = F.conv2d(hidden, weight2, bias2).softmax(1)
    return F.avg_pool2d(F.pixel_shuffle(weights, n) * there, n), weights


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n", [3, 4])
def test_both_forms_agree_with_grid_sample(form, n):
    tensors = (
        torch.randn(2, 4, 7, 9).double(),
        torch.randn(2, 4, 7, 9).double(),
        flow_of("outside", 2, 2, 7, 9).double(),
        *layers(4, n, dtype=torch.float64),
    )
    ours = local_attention(*tensors, n, backend=form)
    for one, other in zip(ours, literal_by_grid_sample(*tensors, n)):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n", [3, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_module_matches_the_original(golden, form, n, kind):
    """Through a state dict, to 1e-5 of the largest value: output, kernels and every gradient."""
    arrays = golden(f"extractor_attn_n{n}.npz")
    stored = {k[2:]: v for k, v in arrays.items() if k.startswith("w_")}
    module = LocalAttention(16, n, backend=form)
    module.load_state_dict(
        {k.replace("fully_connect_layer", "kernel_net"): stored[k] for k in stored}
    )
    inputs = {k: arrays[f"{kind}_{k}"].requires_grad_() for k in ("source", "target", "flow")}
    out = module(*inputs.values())
    out.attended.backward(arrays[f"{kind}_grad_out"])
    close(out.attended.detach(), arrays[f"{kind}_out"], 1e-5)
    close(out.weights.detach(), arrays[f"{kind}_attn"], 1e-5)
    for name, value in inputs.items():
        close(value.grad, arrays[f"{kind}_d_{name}"], 1e-5)
    if kind == "mixed":
        for name, value in module.kernel_net.named_parameters():
            close(value.grad, arrays[f"mixed_dw_fully_connect_layer.{name}"], 1e-5)


@pytest.mark.parametrize("n", [2, 3, 5])
def test_kernels_are_laid_out_as_in_the_original(golden, n):
    """docs/spec.md 2.2: coefficient r n + c belongs to row r and column c of the patch."""
    arrays = golden("op_local_attn_reshape.npz")
    kernels = arrays[f"n{n}_in"].requires_grad_()
    out = F.pixel_shuffle(kernels, n)
    out.backward(arrays[f"n{n}_grad_out"])
    assert torch.equal(out, arrays[f"n{n}_out"])
    assert torch.equal(kernels.grad, arrays[f"n{n}_d_in"])


# Values


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n", [2, 3])
def test_a_certain_kernel_picks_its_tap_of_the_patch(form, n):
    """With one logit far above the others, attended is that tap of the patch, over n^2."""
    source, target = torch.randn(1, 2, 6, 7), torch.randn(1, 2, 6, 7)
    flow = flow_of("mixed", 1, 2, 6, 7)
    weight1, bias1, weight2, bias2 = (torch.zeros_like(v) for v in layers(2, n))
    patches = extract_patches(source, flow, n)
    for tap in range(n * n):
        certain = bias2.clone()
        certain[tap] = 100.0
        attended, weights = local_attention(
            source, target, flow, weight1, bias1, weight2, certain, n, backend=form
        )
        assert weights[:, tap].min() == 1
        picked = patches[..., tap // n :: n, tap % n :: n]
        torch.testing.assert_close(attended, picked / n**2)


@pytest.mark.parametrize("form", FORMS)
def test_the_first_half_of_the_kernel_net_sees_the_target(form):
    source, flow = torch.randn(1, 2, 5, 5), torch.zeros(1, 2, 5, 5)
    one, other = torch.randn(2, 1, 2, 5, 5).unbind()
    weight1, *rest = layers(2, 3)
    blind = weight1.detach().clone()
    blind[:, :2] = 0  # nothing of the target
    seen = [local_attention(source, t, flow, weight1, *rest, 3, form)[1] for t in (one, other)]
    unseen = [local_attention(source, t, flow, blind, *rest, 3, form)[1] for t in (one, other)]
    assert not torch.allclose(*seen)
    assert torch.equal(*unseen)


@pytest.mark.parametrize("form", FORMS)
def test_two_singles_equal_one_batch_of_two(form):
    """Where the original's gradient by the target breaks (docs/spec.md 12.2)."""
    source, target = torch.randn(2, 3, 5, 6), torch.randn(2, 3, 5, 6, requires_grad=True)
    flow, weights = torch.randn(2, 2, 5, 6), layers(3, 3)
    grad = torch.randn(2, 3, 5, 6)

    def run(k):
        out = local_attention(source[k], target[k], flow[k], *weights, 3, backend=form)[0]
        return out, torch.autograd.grad(out, target, grad[k])[0][k]

    both = run(slice(None))
    singles = [run(slice(k, k + 1)) for k in range(2)]
    for whole, parts in zip(both, zip(*singles)):
        torch.testing.assert_close(whole, torch.cat(parts))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("far", [1e9, -1e9, 1e30])
def test_far_outside_reads_the_corner_and_moves_nothing(form, far):
    source, target = torch.randn(1, 2, 4, 5), torch.randn(1, 2, 4, 5)
    flow = torch.full((1, 2, 4, 5), far, requires_grad=True)
    attended, weights = local_attention(source, target, flow, *layers(2, 3), 3, backend=form)
    corner = source[..., -1:, -1:] if far > 0 else source[..., :1, :1]
    torch.testing.assert_close(attended, (corner / 9).expand_as(attended))
    slope = torch.autograd.grad(attended.sum() + weights[:, 0].sum(), flow)[0]
    assert float(slope.abs().max()) < 1e-5


def test_bilinear_sampling_is_local_attention_with_one_tap():
    source, target, flow = (torch.randn(2, c, 5, 6) for c in (3, 3, 2))
    bilinear = BilinearSampling(3, 5)(source, target, flow)
    local = LocalAttention(3, 1)(source, target, flow)
    assert torch.equal(bilinear.attended, warp(source, flow))
    torch.testing.assert_close(bilinear.attended, local.attended)
    assert torch.equal(bilinear.weights, local.weights)
    assert not list(BilinearSampling(3, 5).parameters())


# The module


def test_module_keeps_the_names_that_others_load():
    shapes = {k: tuple(v.shape) for k, v in LocalAttention(16, 5).state_dict().items()}
    assert shapes == {
        "kernel_net.0.weight": (128, 32, 5, 5),
        "kernel_net.0.bias": (128,),
        "kernel_net.2.weight": (25, 128, 1, 1),
        "kernel_net.2.bias": (25,),
    }
    assert LocalAttention(16, 5, hidden=7).kernel_net[2].in_channels == 7


def test_module_is_the_function_and_its_kernels_sum_to_one():
    module = LocalAttention(4, 3, hidden=8)
    source, target, flow = torch.randn(2, 4, 9, 5), torch.randn(2, 4, 6, 7), torch.randn(2, 2, 6, 7)
    attended, weights = module(source, target, flow)
    assert attended.shape == (2, 4, 6, 7) and weights.shape == (2, 9, 6, 7)
    torch.testing.assert_close(weights.sum(1), torch.ones(2, 6, 7))
    expected = local_attention(source, target, flow, *module.kernel_net.parameters(), 3)
    assert torch.equal(attended, expected[0])


def test_module_compiles_whole():
    module = LocalAttention(2, 3, hidden=4)
    compiled = torch.compile(module, backend="eager", fullgraph=True)
    inputs = [torch.randn(1, c, 5, 6) for c in (2, 2, 2)]
    for ours, eager in zip(compiled(*inputs), module(*inputs)):
        torch.testing.assert_close(ours, eager)


# Types


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_features_keep_precise_kernels(form, dtype):
    module = LocalAttention(2, 3, hidden=4, backend=form).to(dtype)
    source, target = torch.randn(2, 1, 2, 5, 6, dtype=dtype).unbind()
    flow = torch.randn(1, 2, 5, 6, requires_grad=True)
    attended, weights = module(source, target, flow)
    assert attended.dtype == dtype and weights.dtype == torch.float32
    attended.float().sum().backward()
    assert flow.grad.dtype == torch.float32 and flow.grad.isfinite().all()


@pytest.mark.parametrize("form", FORMS)
def test_autocast_keeps_positions_and_softmax_in_single_precision(form):
    """A kernel that does not look at its input leaves only the sampling: exact under autocast."""
    module = LocalAttention(1, 3, hidden=4, backend=form)
    ramp = torch.arange(64.0).expand(1, 1, 3, 64)
    flow = torch.full((1, 2, 3, 64), 0.3)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    exact = module(ramp, ramp, flow).attended
    with torch.autocast("cpu", dtype=torch.bfloat16):
        attended, weights = module(ramp, ramp, flow)
    assert weights.dtype == torch.float32
    torch.testing.assert_close(attended, exact)


def test_autocast_is_close_and_trains():
    module = LocalAttention(8, 3, hidden=16)
    source, target, flow = torch.randn(1, 8, 6, 6), torch.randn(1, 8, 6, 6), torch.randn(1, 2, 6, 6)
    exact = module(source, target, flow)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        attended, weights = module(source.bfloat16(), target, flow)
        attended.float().square().mean().backward()
    torch.testing.assert_close(weights, exact.weights, rtol=0, atol=0.02)
    torch.testing.assert_close(attended.float(), exact.attended, rtol=0, atol=0.02)
    assert all(p.grad.isfinite().all() for p in module.parameters())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_gives_the_same():
    module = LocalAttention(4, 3, hidden=8).double()
    inputs = [torch.randn(2, c, 6, 7).double() for c in (4, 4, 2)]
    expected = module(*inputs)
    for ours, theirs in zip(module.cuda()(*(v.cuda() for v in inputs)), expected):
        torch.testing.assert_close(ours.cpu(), theirs)


# Which form runs


@pytest.fixture
def forms_that_run(monkeypatch):
    """The names of the forms, in the order in which they were called."""
    ran = []
    for name, form in list(sampling._FORMS.items()):

        def spy(*args, name=name, form=form):
            ran.append(name)
            return form(*args)

        monkeypatch.setitem(sampling._FORMS, name, spy)
    monkeypatch.delenv("GFLA_BACKEND", raising=False)
    return ran


def attend(backend="auto"):
    features, flow = torch.randn(1, 2, 4, 4), torch.zeros(1, 2, 4, 4)
    return local_attention(features, features, flow, *layers(2, 3), 3, backend=backend)


def test_the_backend_named_is_the_one_that_runs(forms_that_run, monkeypatch):
    attend(), attend("fast"), attend("reference")
    monkeypatch.setenv("GFLA_BACKEND", "reference")
    attend(), attend("fast")
    assert forms_that_run == ["fast", "fast", "reference", "reference", "fast"]


def test_a_backend_that_is_not_there_says_why(monkeypatch):
    reason = "no device of the kind"
    monkeypatch.setattr(kernels, "available", lambda device: kernels.Available(False, reason))
    features, flow = torch.randn(1, 2, 4, 4), torch.zeros(1, 2, 4, 4)
    calls = attend, partial(warp, features, flow), partial(gaussian_warp, features, flow)
    for call in calls:
        with pytest.raises(BackendError, match=rf"'triton' is not there: {reason}; .*'fast'"):
            call(backend="triton")
        call(backend="auto")
    with pytest.raises(ValueError, match="auto, reference, fast, triton, got 'cuda'"):
        attend("cuda")
    monkeypatch.setenv("GFLA_BACKEND", "slow")
    with pytest.raises(ValueError, match=r"got 'slow'.*GFLA_BACKEND"):
        attend()


@pytest.mark.parametrize("sample", [warp, gaussian_warp])
def test_warps_have_one_stock_form(sample):
    features, flow = torch.randn(1, 2, 4, 5), torch.randn(1, 2, 4, 5)
    forms = [sample(features, flow, backend=form) for form in ("auto", "reference", "fast")]
    assert torch.equal(forms[0], forms[1]) and torch.equal(forms[0], forms[2])
    with pytest.raises(ValueError, match="got 'cuda'"):
        sample(features, flow, backend="cuda")


# Layouts and strips

LAST = torch.channels_last


@pytest.mark.parametrize("n", [2, 5])
def test_memory_formats_change_nothing(n):
    """Contiguous, channels-last or neither: values and gradients agree with the literal form."""
    module = LocalAttention(3, n, hidden=4).double()
    source, target = torch.randn(2, 2, 3, 7, 6, dtype=torch.float64).unbind()
    flow = 3 * torch.randn(2, 2, 7, 6, dtype=torch.float64)
    lie = {
        "contiguous": lambda x: x.contiguous(),
        "channels-last": lambda x: x.contiguous(memory_format=LAST),
        "neither": lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
        "every second": lambda x: x.repeat_interleave(2, 3)[..., ::2],
    }

    def run(form, of_inputs, of_layers, of_grad):
        leaves = [lie[of_inputs](x).detach().requires_grad_() for x in (source, target, flow)]
        layers = [lie[of_layers](v) if v.ndim == 4 else v for v in module.kernel_net.parameters()]
        out = local_attention(*leaves, *layers, n, backend=form)
        grads = [lie[of_grad](torch.ones_like(v) + v.detach()) for v in out]
        return *out, *torch.autograd.grad(out, [*leaves, *module.parameters()], grads)

    literal = run("reference", "contiguous", "contiguous", "contiguous")
    for formats in (
        ("contiguous", "channels-last", "contiguous"),
        ("channels-last", "contiguous", "neither"),
        ("neither", "neither", "channels-last"),
        ("every second", "contiguous", "every second"),
    ):
        for ours, theirs in zip(run("fast", *formats), literal, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
@pytest.mark.parametrize("strip", [1, 16, 40])
def test_strips_are_the_whole(monkeypatch, n, strip):
    """Without gradients a large picture is worked on some rows at a time."""
    tensors = [
        torch.randn(2, 3, 9, 5).double(),
        torch.randn(2, 3, 7, 8).double(),
        flow_of("mixed", 2, 2, 7, 8).double(),
        *(v.detach() for v in layers(3, n, dtype=torch.float64)),
    ]
    whole = local_attention(*tensors, n)
    monkeypatch.setattr(patchless, "STRIP", strip)
    ran, spread = [], patchless.spread
    monkeypatch.setattr(patchless, "spread", lambda *given: ran.append(1) or spread(*given))
    for ours, theirs in zip(local_attention(*tensors, n), whole):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
        assert ours.is_contiguous(memory_format=LAST)
    assert len(ran) == {1: 7, 16: 7, 40: 4}[strip]
    ran.clear()
    local_attention(tensors[0].requires_grad_(), *tensors[1:], n)
    assert len(ran) == 1


def test_a_prepared_source_serves_many_targets():
    module = LocalAttention(4, 3, hidden=8)
    source = torch.randn(2, 4, 9, 5)
    known = module.prepare(source)
    for _ in range(2):
        target, flow = torch.randn(2, 4, 6, 7), 3 * torch.randn(2, 2, 6, 7)
        for form in FORMS:
            module.backend = form
            expected = module(source, target, flow)
            for ours, theirs in zip(module(known, target, flow), expected):
                assert torch.equal(ours, theirs)
    with pytest.raises(ValueError, match=r"convolved \(2, 4, 11, 7\), got \(2, 8, 11, 7\)"):
        LocalAttention(4, 3, hidden=4)(known, target, flow)
    features = torch.randn(1, 4, 5, 6)
    for way in BilinearSampling(), GlobalAttention(4), Concatenation(4):
        assert way.prepare(features) is features


# Errors


def test_a_flow_that_is_not_finite_is_refused():
    flow = torch.zeros(1, 2, 4, 4)
    flow[0, 0, 1, 2] = math.nan
    features = torch.zeros(1, 2, 4, 4)
    for module in LocalAttention(2, 3), BilinearSampling():
        with pytest.raises(ValueError, match=r"finite, got nan at .* \(0, 0, 1, 2\)"):
            module(features, features, flow)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"source": torch.zeros(2, 2, 4, 4)}, ValueError, r"source_features.*\(2, 2, 4, 4\)"),
        ({"source": torch.zeros(1, 3, 4, 4)}, ValueError, r"target_features.*\(1, 3, 4, 4\)"),
        ({"source": torch.zeros(1, 2, 4, 4).long()}, TypeError, "source_features.*int64"),
        ({"target": torch.zeros(1, 2, 5, 4)}, ValueError, r"target_features.*\(1, 2, 5, 4\)"),
        ({"target": torch.zeros(2, 4, 4)}, ValueError, r"target_features.*\(2, 4, 4\)"),
        ({"target": torch.zeros(1, 2, 4, 4).double()}, TypeError, "float32, torch.float64"),
        ({"flow": torch.zeros(1, 4, 4, 4)}, ValueError, r"flow.*\(1, 4, 4, 4\)"),
        ({"weight1": torch.zeros(8, 2, 3, 3)}, ValueError, r"weight1.*\(8, 4, 3, 3\).*\(8, 2, 3"),
        ({"bias1": torch.zeros(7)}, ValueError, r"bias1.*\(8,\).*\(7,\)"),
        ({"weight2": torch.zeros(25, 8, 1, 1)}, ValueError, r"weight2.*\(9, 8, 1, 1\).*\(25, 8"),
        ({"bias2": torch.zeros(3)}, ValueError, r"bias2.*\(9,\).*\(3,\)"),
        ({"n": 5}, ValueError, r"weight1.*n = 5.*\(8, 4, 3, 3\)"),
        ({"n": 0}, ValueError, "side of a patch.*0"),
        ({"n": "3"}, TypeError, "side of a patch.*'3'"),
    ],
)
def test_bad_input_is_named(change, error, message):
    names = "weight1", "bias1", "weight2", "bias2"
    good = {k: torch.zeros(1, 2, 4, 4) for k in ("source", "target", "flow")}
    good |= dict(zip(names, layers(2, 3))) | {"n": 3}
    with pytest.raises(error, match=message):
        local_attention(*(good | change).values())


@pytest.mark.parametrize("arguments", [(0, 3), (2, 0), (2, 3, 0), (2, 3.0)])
def test_bad_modules_are_named(arguments):
    with pytest.raises(ValueError, match=r"whole number, 1 or more, got (0|3.0)"):
        LocalAttention(*arguments)


# Cost

ONE_FORM = """
import sys, torch
import torch.nn.functional as F
from gfla.sampling import local_attention

def peak():
    try:  # not ru_maxrss: on Linux a child inherits its parent's
        status = open("/proc/self/status").read()
        return int(status.split("VmHWM:")[1].split()[0])
    except FileNotFoundError:
        import resource
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

torch.manual_seed(0)
layers = [torch.randn(s) for s in ((128, 256, 5, 5), (128,), (25, 128, 1, 1), (25,))]
source, target, grad = torch.randn(3, 4, 128, 64, 64).unbind()
tensors = [source, target, 6 * torch.randn(4, 2, 64, 64), *layers]
tensors = [v.requires_grad_() for v in tensors]
before = peak()
local_attention(*tensors, 5, backend=sys.argv[1])[0].backward(grad)
print(peak() - before)
"""


def test_peak_memory_is_at_most_a_sixth():
    """128 channels, 64 x 64, n = 5, batch 4: the rise of the peak in a process of its own."""
    pytest.importorskip("resource", reason="peak memory is not measured on Windows")

    def rise(form):
        run = [sys.executable, "-W", "ignore", "-c", ONE_FORM, form]
        root = Path(sampling.__file__).parents[1]
        return int(subprocess.run(run, capture_output=True, text=True, check=True, cwd=root).stdout)

    literal, fast = rise("reference"), rise("fast")
    assert 0 < fast <= literal / 6, f"literal {literal}, fast {fast}"


def test_fast_is_faster():
    """Literal / fast is about 2.4 at this small size; the bound leaves room for shared machines."""
    source, target, grad = torch.randn(3, 1, 64, 32, 32).unbind()
    tensors = [source, target, 6 * torch.randn(1, 2, 32, 32), *layers(64, 5, hidden=128)]
    for v in tensors:
        v.requires_grad_()

    def seconds(form):
        start = time.process_time()
        local_attention(*tensors, 5, backend=form)[0].backward(grad)
        return time.process_time() - start

    seconds("reference"), seconds("fast")
    ratio = statistics.median(seconds("reference") / seconds("fast") for _ in range(5))
    assert ratio > 1.5, f"literal / fast = {ratio:.2f}"


# The two ways without a flow


def plain_global(module, source, target):
    """Non-local attention with its table of coefficients in full: attended, expected position."""
    q, k = module.query(target).flatten(2), module.key(source).flatten(2)  # (B, C, N), (B, C, M)
    table = (q.mT @ k / q.shape[1] ** 0.5).softmax(2)  # (B, N, M)
    h, w = source.shape[2:]
    y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    places = torch.stack([x, y]).flatten(1).to(source)  # (2, M)
    attended = source.flatten(2) @ table.mT
    return attended.unflatten(2, target.shape[2:]), (places @ table.mT).unflatten(2, (h, w)), table


def test_global_attention_is_the_plain_table_forward_and_backward():
    module = GlobalAttention(3).double()
    module.begin(0.5)
    source, target = (torch.randn(2, 3, 5, 4, dtype=torch.float64) for _ in range(2))
    source.requires_grad_(), target.requires_grad_()
    attended, flow = module(source, target)
    expected, position, _ = plain_global(module, source, target)
    own = torch.stack(torch.meshgrid(torch.arange(5), torch.arange(4), indexing="ij")[::-1])
    torch.testing.assert_close(attended, expected)
    torch.testing.assert_close(flow, (position - own).float())
    weight = torch.randn_like(attended)
    leaves = [source, target, *module.query.parameters(), *module.key.parameters()]
    ours = torch.autograd.grad((attended * weight).sum(), leaves)
    theirs = torch.autograd.grad((expected * weight).sum(), leaves)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)


def test_global_attention_finds_what_looks_alike_wherever_it_is():
    """Keys and queries that are one-hot colours, sharply told apart: a permutation is undone."""
    module = GlobalAttention(16)
    for half in (module.query, module.key):
        half[0].weight.data.fill_(30.0)
        half[1].weight.data.copy_(torch.eye(16)[:, :, None, None])
        half[1].bias.data.zero_()
    source = torch.eye(16).view(1, 16, 4, 4)
    turned = source.flip(2).flip(3)
    attended, flow = module(source, turned)
    torch.testing.assert_close(attended, turned, atol=1e-4, rtol=0)
    torch.testing.assert_close(flow[0, :, 0, 0], torch.tensor([3.0, 3.0]), atol=1e-3, rtol=0)


def test_global_attention_looks_where_it_says():
    module = GlobalAttention(3)
    module.begin(0.5)
    source, target = torch.randn(2, 3, 4, 6), torch.randn(2, 3, 4, 6)
    maps = module.look(source, target, torch.tensor([[5, 0], [2, 3]]))
    table = plain_global(module, source, target)[2]
    torch.testing.assert_close(maps[:, 1].flatten(1), table[:, 3 * 6 + 2])
    torch.testing.assert_close(maps.sum((2, 3)), torch.ones(2, 2))


def test_global_attention_holds_no_table_in_memory():
    """64 x 64 positions: the table alone would be 64 MiB; the rise must stay far below."""
    code = (
        "import resource, torch; from gfla.attention import GlobalAttention\n"
        "torch.set_num_threads(1); x = torch.randn(1, 8, 64, 64, requires_grad=True)\n"
        "m = GlobalAttention(8); m(x[..., :8, :8], x[..., :8, :8])[0].sum().backward()\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        "before = peak(); m(x, x)[0].sum().backward(); print(peak() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 48


def test_a_gate_begins_where_it_is_told():
    module = GlobalAttention(2)
    module.begin(0.9)
    module.gate.weight.data.zero_()
    source, target = torch.randn(1, 2, 4, 4), torch.randn(1, 2, 4, 4)
    joined = module.join(source, target)
    torch.testing.assert_close(joined.mask, torch.full((1, 1, 4, 4), 0.9))
    torch.testing.assert_close(joined.features, 0.1 * target + 0.9 * module(source, target)[0])
    assert joined.weights is None


def test_concatenation_is_one_convolution_over_both():
    module = Concatenation(2)
    source, target = torch.randn(1, 2, 5, 5), torch.randn(1, 2, 5, 5)
    weight, bias = module.mix.parameters()
    parts = F.conv2d(target, weight[:, :2], bias, padding=1)
    parts = parts + F.conv2d(source, weight[:, 2:], padding=1)
    joined = module.join(source, target)
    torch.testing.assert_close(joined.features, parts)
    assert joined[1:] == (None, None, None)


@pytest.mark.parametrize("way", [GlobalAttention, Concatenation])
def test_ways_without_a_flow_refuse_no_channels(way):
    with pytest.raises(ValueError, match="got 0"):
        way(0)
