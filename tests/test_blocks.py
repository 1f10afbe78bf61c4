"""Blocks: sizes, the order of norm and convolution, initialisation, spectral norm."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from gfla.blocks import (
    EncoderBlock,
    Jump,
    OutputBlock,
    ResBlock,
    ResBlockDecoder,
    ResBlockEncoder,
    SpectralConv2d,
    initialise,
    width,
)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("block", "shape"),
    [
        (EncoderBlock(5, 7), (2, 7, 6, 10)),
        (ResBlock(5), (2, 5, 12, 20)),
        (ResBlock(5, 7, 3), (2, 7, 12, 20)),
        (ResBlockDecoder(5, 7), (2, 7, 24, 40)),
        (ResBlockEncoder(5, 7), (2, 7, 6, 10)),
        (Jump(5, 7), (2, 7, 12, 20)),
        (OutputBlock(5, 3), (2, 3, 12, 20)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)
def test_every_block_gives_its_size_and_trains_every_parameter(block, shape):
    features = torch.randn(2, 5, 12, 20)
    out = block(features)
    assert out.shape == shape
    out.square().sum().backward()
    assert all(parameter.grad is not None for parameter in block.parameters())


def test_widths_double_up_to_the_cap():
    assert [width(level, 64, 512) for level in range(1, 6)] == [64, 128, 256, 512, 512]
    assert [width(level, 32, 128) for level in range(1, 5)] == [32, 64, 128, 128]


def test_the_first_norm_forgets_brightness_and_contrast_of_a_picture():
    block, image = EncoderBlock(3, 8), torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(block(0.3 * image + 0.4), block(image), atol=1e-3, rtol=1e-3)


def test_a_residual_block_of_zero_weights_is_the_identity():
    block, features = ResBlock(4), torch.randn(1, 4, 6, 6)
    for parameter in block.parameters():
        nn.init.zeros_(parameter)
    torch.testing.assert_close(block(features), features)


def test_the_output_has_a_mirrored_border_and_stays_within_one():
    block = OutputBlock(1, 1)
    nn.init.zeros_(block.model[2].weight)
    nn.init.zeros_(block.model[2].bias)
    block.model[2].weight.data[0, 0, 1, 0] = 1.0  # the pixel to the left
    row = torch.tensor([1.0, 2.0, 30.0]).expand(1, 1, 3, 3)
    expected = torch.tanh(torch.tensor([2.0, 1.0, 2.0]))  # left of the first: the second, mirrored
    torch.testing.assert_close(block(row)[0, 0, 1], expected)
    assert block(100 * row).abs().max() <= 1


def test_leaky_relu_slopes_by_a_tenth():
    slopes = {
        module.negative_slope
        for block in (EncoderBlock(2, 2), ResBlock(2), ResBlockDecoder(2, 2), Jump(2, 2))
        for module in block.modules()
        if isinstance(module, nn.LeakyReLU)
    }
    assert slopes == {0.1}


def test_initialise_draws_orthogonal_rows_of_gain_002_and_leaves_norms_alone():
    block = EncoderBlock(8, 4)
    initialise(block)
    rows = block.model[2].weight.detach().flatten(1)
    torch.testing.assert_close(rows @ rows.T, 0.02**2 * torch.eye(4), atol=1e-8, rtol=0)
    assert block.model[2].bias.abs().max() == 0
    assert torch.equal(block.model[0].weight, torch.ones(8))


@pytest.mark.filterwarnings("ignore::FutureWarning")  # the old function, kept here as the judge
def test_spectral_norm_takes_the_steps_of_the_old_pytorch_function():
    ours = SpectralConv2d(3, 5, 4, stride=2, padding=1)
    plain = nn.Conv2d(3, 5, 4, stride=2, padding=1)
    plain.load_state_dict({"weight": ours.weight.detach(), "bias": ours.bias.detach()})
    judge = torch.nn.utils.spectral_norm(plain)
    judge.weight_u.copy_(ours.weight_u)
    judge.weight_v.copy_(ours.weight_v)
    image = torch.randn(2, 3, 8, 8)
    for _ in range(3):
        torch.testing.assert_close(ours(image), judge(image))
    torch.testing.assert_close(ours.weight_u, judge.weight_u)
    torch.testing.assert_close(ours.weight_v, judge.weight_v)
    ours(image).square().sum().backward()
    judge(image).square().sum().backward()
    torch.testing.assert_close(ours.weight.grad, judge.weight_orig.grad)


def test_spectral_norm_rests_in_eval_mode():
    layer = SpectralConv2d(3, 5, 3).eval()
    before = layer.weight_u.clone()
    first = layer(torch.ones(1, 3, 4, 4))
    assert torch.equal(layer(torch.ones(1, 3, 4, 4)), first)
    assert torch.equal(layer.weight_u, before)


def test_spectral_norm_allows_two_forwards_before_one_backward_and_a_copy_afterwards():
    layer = SpectralConv2d(3, 5, 3)
    (layer(torch.ones(1, 3, 4, 4)) - layer(torch.zeros(1, 3, 4, 4))).square().sum().backward()
    assert torch.isfinite(layer.weight.grad).all()
    twin = copy.deepcopy(layer).eval()
    image = torch.randn(1, 3, 4, 4)
    assert torch.equal(twin(image), layer.eval()(image))
