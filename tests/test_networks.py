"""F, G and D: parameters, shapes, what depends on what, and parity with the golden networks."""

from __future__ import annotations

import numpy as np
import oracle
import pytest
import torch

from gfla.attention import BilinearSampling
from gfla.checkpoint import (
    import_published,
    import_published_discriminator,
    import_published_flow,
    published_name,
)
from gfla.discriminator import Discriminator, TemporalDiscriminator
from gfla.flow import FlowEstimator
from gfla.renderer import Renderer


def count(network) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def small_flow(**changes) -> FlowEstimator:
    return FlowEstimator(**({"base": 4, "cap": 16, "depth": 4, "levels": (1, 2)} | changes))


def small_renderer(**changes) -> Renderer:
    arguments = {"base": 4, "cap": 16, "depth": 3, "kernel_sizes": {1: 2, 2: 3}, "hidden": 8}
    return Renderer(**(arguments | changes))


def guides(batch: int = 2, mask: float = 0.5):
    flows = [torch.full((batch, 2, 8, 4), 0.3), torch.full((batch, 2, 16, 8), -0.4)]
    return flows, [torch.full((batch, 1, *flow.shape[2:]), mask) for flow in flows]


# ---- the paper's size ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("network", "parameters"),
    [
        (lambda: FlowEstimator(), 6_608_212),
        (lambda: FlowEstimator(levels=(2,)), 6_604_753),
        (lambda: Renderer(), 1_434_758 + 6_004_425),
        (lambda: Renderer(kernel_sizes={2: 3}), 1_434_758 + 4_886_960),
        (lambda: Discriminator(), 664_577),
        (lambda: Discriminator(depth=3), 238_209),
    ],
)
def test_parameters_of_the_papers_networks(network, parameters):
    assert count(network()) == parameters


# ---- F -------------------------------------------------------------------------------------------


def test_flows_and_masks_come_coarse_to_fine_whatever_the_order_of_levels():
    pose = torch.rand(2, 18, 32, 48)
    flows, masks = small_flow(levels=(1, 3, 2))(torch.zeros(2, 3, 32, 48), pose, pose)
    assert [tuple(flow.shape) for flow in flows] == [(2, 2, 4, 6), (2, 2, 8, 12), (2, 2, 16, 24)]
    assert [tuple(mask.shape) for mask in masks] == [(2, 1, 4, 6), (2, 1, 8, 12), (2, 1, 16, 24)]


def test_an_untrained_flow_is_nearly_zero_and_an_untrained_mask_one_half():
    pose = torch.rand(1, 18, 64, 64)
    flows, masks = FlowEstimator()(torch.rand(1, 3, 64, 64) * 2 - 1, pose, pose.flip(3))
    assert 0 < max(flow.abs().max() for flow in flows) < 0.01
    assert max((mask - 0.5).abs().max() for mask in masks) < 0.01


@pytest.mark.parametrize("levels", [(0, 1), (4,), ()])
def test_flow_levels_outside_the_depth_are_refused(levels):
    with pytest.raises(ValueError, match=r"levels 1 to 3.*choose"):
        small_flow(levels=levels)


def test_masks_begin_where_they_are_told_to_and_flows_do_not_care():
    torch.manual_seed(3)
    plain = small_flow()
    torch.manual_seed(3)
    willing = small_flow(mask_start=0.9)
    inputs = torch.rand(1, 3, 32, 32), torch.rand(1, 18, 32, 32), torch.rand(1, 18, 32, 32)
    for a, b in zip(plain(*inputs).flows, willing(*inputs).flows, strict=True):
        assert torch.equal(a, b)
    for mask in willing(*inputs).masks:
        torch.testing.assert_close(mask, torch.full_like(mask, 0.9), atol=2e-3, rtol=0)
    with pytest.raises(ValueError, match="mask_start is 1"):
        small_flow(mask_start=1.0)


def test_the_flow_depends_on_source_and_both_poses():
    network = small_flow()
    inputs = [torch.rand(1, c, 32, 32) for c in (3, 18, 18)]
    before = network(*inputs).flows[-1]
    for i in range(3):
        changed = [x.roll(3, dims=-1) if i == j else x for j, x in enumerate(inputs)]
        assert not torch.equal(network(*changed).flows[-1], before)


def test_flow_and_mask_stay_float32_under_autocast():
    pose = torch.rand(1, 18, 32, 32)
    with torch.autocast("cpu", torch.bfloat16):
        flows, masks = small_flow()(torch.rand(1, 3, 32, 32), pose, pose)
    assert {x.dtype for x in (*flows, *masks)} == {torch.float32}


def test_parity_of_the_flow_estimator_forward_and_backward():
    golden = oracle.arrays("pose_flownet_fashion")
    network = import_published_flow(oracle.weights("PoseFlowNetGenerator_fashion", 2))
    poses = [oracle.heat_maps(golden[key], 256, 256) for key in ("kp1_yx", "kp2_yx")]
    flows, masks = network(oracle.picture(golden["source_u8"]), *poses)
    for i in (0, 1):
        oracle.compare(flows[i], golden[f"flow{i}"], relative=True)
        oracle.compare(masks[i], golden[f"mask{i}"])
    loss = sum(flow.square().mean() for flow in flows) + sum(mask.mean() for mask in masks)
    loss.backward()
    np.testing.assert_allclose(loss.item(), golden["loss"], rtol=1e-5)
    expected = dict(zip(golden["grad_norm_names"].tolist(), golden["grad_norms_f64"], strict=True))
    found = {
        published_name(f"flow.{name}"): parameter.grad.double().norm().item()
        for name, parameter in network.named_parameters()
    }
    assert found.keys() == expected.keys()
    for name, norm in expected.items():  # a bias before an instance norm has gradient zero
        assert found[name] == pytest.approx(norm, rel=1e-3, abs=1e-5), name


# ---- G -------------------------------------------------------------------------------------------


def test_the_renderer_returns_a_picture_and_the_weights_of_each_level():
    output = small_renderer()(torch.zeros(2, 3, 32, 16), torch.rand(2, 18, 32, 16), *guides())
    assert output.image.shape == (2, 3, 32, 16)
    assert output.image.abs().max() <= 1
    assert [tuple(weights.shape) for weights in output.weights] == [(2, 9, 8, 4), (2, 4, 16, 8)]
    torch.testing.assert_close(output.weights[0].sum(1), torch.ones(2, 8, 4))


def test_a_mask_of_zero_shuts_the_source_out_and_a_mask_of_one_lets_it_in():
    renderer, pose = small_renderer(), torch.rand(2, 18, 32, 16)
    one, other = torch.rand(2, 3, 32, 16), torch.rand(2, 3, 32, 16)
    flows, shut = guides(mask=0.0)
    assert torch.equal(
        renderer(one, pose, flows, shut).image, renderer(other, pose, flows, shut).image
    )
    flows, open_ = guides(mask=1.0)
    assert not torch.equal(
        renderer(one, pose, flows, open_).image, renderer(other, pose, flows, open_).image
    )


@pytest.mark.parametrize("kept", [True, False])
def test_the_sources_own_brightness_survives_only_with_true_colors(kept):
    """A brighter source of the same pattern: the paper's first norm cannot tell the two apart."""
    torch.manual_seed(0)
    renderer = Renderer(base=4, cap=8, depth=1, kernel_sizes={1: 3}, hidden=4, true_colors=kept)
    source = torch.rand(1, 3, 16, 16) * 0.5
    flow, mask = torch.full((1, 2, 8, 8), 0.3), torch.ones(1, 1, 8, 8)
    dark, bright = (
        renderer(picture, torch.zeros(1, 18, 16, 16), [flow], [mask]).image
        for picture in (source, source + 0.4)
    )
    assert (not torch.allclose(dark, bright, rtol=0, atol=1e-6)) == kept


def test_every_parameter_trains_but_source_blocks_deeper_than_the_attention():
    renderer, deeper = small_renderer(), []
    renderer.source_encoder["3"].register_forward_hook(lambda *args: deeper.append(args))
    output = renderer(torch.rand(2, 3, 32, 16), torch.rand(2, 18, 32, 16), *guides())
    assert not deeper  # nor are those blocks run
    output.image.square().sum().backward()
    idle = {name for name, parameter in renderer.named_parameters() if parameter.grad is None}
    assert idle == {name for name, _ in renderer.named_parameters() if "source_encoder.3" in name}


def test_the_attention_is_an_argument():
    renderer = small_renderer(attention=BilinearSampling)
    assert count(renderer) < count(small_renderer())
    image = renderer(torch.rand(2, 3, 32, 16), torch.rand(2, 18, 32, 16), *guides()).image
    assert image.shape == (2, 3, 32, 16)


def test_levels_beyond_the_depth_and_flows_of_another_number_are_refused():
    with pytest.raises(ValueError, match="levels 1 to 3"):
        small_renderer(kernel_sizes={4: 3})
    with pytest.raises(ValueError, match="levels 1 to 3"):
        small_renderer(kernel_sizes={})
    flows, masks = guides()
    with pytest.raises(ValueError, match="got 1 flows and 2 masks"):
        small_renderer()(torch.zeros(2, 3, 32, 16), torch.zeros(2, 18, 32, 16), flows[:1], masks)


def test_parity_of_the_whole_generator():
    golden = oracle.arrays("pose_generator_fashion256")
    model = import_published(oracle.weights("PoseGenerator_fashion", 0))
    before_tanh = []
    model.renderer.output.model[2].register_forward_hook(lambda *args: before_tanh.append(args[2]))
    poses = [oracle.heat_maps(golden[key], 256, 256) for key in ("kp1_yx", "kp2_yx")]
    oracle.compare(poses[1], golden["bp2_sub8"])
    with torch.no_grad():
        output = model(oracle.picture(golden["source_u8"]), *poses)
    oracle.compare(output.image, golden["img_gen"])
    oracle.compare(before_tanh[0], golden["pre_tanh"], relative=True)
    for i in (0, 1):
        oracle.compare(output.flows[i], golden[f"flow{i}"], relative=True)
        oracle.compare(output.masks[i], golden[f"mask{i}"])


# ---- D -------------------------------------------------------------------------------------------


def test_the_discriminator_scores_patches():
    assert Discriminator(base=4, cap=8, depth=3)(torch.zeros(2, 3, 128, 64)).shape == (2, 1, 16, 8)


def test_pictures_the_discriminator_cannot_score_are_refused():
    network = Discriminator(base=4, cap=8, depth=3)
    with pytest.raises(ValueError, match=r"shape \(2, 1, 64, 64\), expected \(B, 3, H, W\)"):
        network(torch.zeros(2, 1, 64, 64))
    with pytest.raises(ValueError, match=r"\(4, 64\) pixels, expected at least 8"):
        network(torch.zeros(2, 3, 4, 64))


def test_parity_of_the_discriminator_in_training_and_in_eval_mode():
    golden = oracle.arrays("disc_fashion")
    network = import_published_discriminator(oracle.weights("ResDiscriminator_fashion", 8))
    image = oracle.picture(golden["input_u8"])

    def check_vectors(tag: str) -> None:
        vectors = dict(network.named_buffers())
        assert len(vectors) == sum(key.startswith(tag) for key in golden) == 26
        for name, vector in vectors.items():
            key = tag + published_name(name)
            np.testing.assert_allclose(vector.numpy(), golden[key], atol=1e-5, err_msg=key)

    with torch.no_grad():
        oracle.compare(network.train()(image), golden["out_train_1iter"])
        check_vectors("uv1_")
        for _ in range(40):  # the picture does not matter to u and v
            network(image[..., :16, :16])
        check_vectors("buf_")
    image.requires_grad_()
    scores = network.eval()(image)
    oracle.compare(scores, golden["out_eval"])
    loss = (scores - 1).square().mean()
    loss.backward()
    np.testing.assert_allclose(loss.item(), golden["lsgan_real_loss"], rtol=1e-5)
    # one LeakyReLU of the golden run stood on the other side of its kink: 25 of 98,304 values
    expected = golden["d_input_sub2"]
    stride = 256 // expected.shape[-1]
    off = np.abs(image.grad[..., ::stride, ::stride].numpy() - expected)
    assert (off > 1e-4 * np.abs(expected).max()).mean() < 1e-3


@pytest.mark.parametrize(("frames", "left"), [(3, 1), (4, 2), (5, 1), (6, 2), (8, 4)])
def test_the_temporal_discriminator_takes_clips_of_several_lengths(frames, left):
    network = TemporalDiscriminator(frames, base=4, cap=16, depth=4)
    assert network(torch.zeros(2, 3, frames, 64, 32)).shape == (2, 1, 4, 2)
    assert len(network.volume) == min(2, (frames - 1) // 2)
    first = next(iter(network.plane.values())).shortcut[1]
    assert first.in_channels == left * (4 if len(network.volume) == 1 else 8)


def test_the_temporal_discriminator_sees_the_order_of_the_frames():
    network = TemporalDiscriminator(4, base=4, cap=8, depth=2).eval()
    clip = torch.randn(1, 3, 4, 16, 16)
    assert not torch.allclose(network(clip), network(clip.flip(2)), rtol=1e-2)


def test_clips_the_temporal_discriminator_cannot_score_are_refused():
    network = TemporalDiscriminator(base=4, cap=8)
    with pytest.raises(ValueError, match=r"\(2, 6, 3, 64, 64\), expected \(B, 3, 6, H, W\)"):
        network(torch.zeros(2, 6, 3, 64, 64))
    with pytest.raises(ValueError, match=r"\(8, 64\) pixels, expected at least 16"):
        network(torch.zeros(2, 3, 6, 8, 64))
    with pytest.raises(ValueError, match="frames is 2"):
        TemporalDiscriminator(frames=2)
