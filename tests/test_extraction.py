"""The motion-extraction network: how far it sees, what it is told, what it refuses."""

from __future__ import annotations

import re

import pytest
import torch

from gfla.extraction import AdaptiveNorm, MotionExtraction


@pytest.fixture
def network() -> MotionExtraction:
    return MotionExtraction(joints=2, channels=8).eval()


def test_a_frame_is_made_of_the_81_around_it(network, monkeypatch):
    """Seen by gradients; the norms and the summary, which see the whole clip, are held still."""
    monkeypatch.setattr("torch.nn.functional.layer_norm", lambda features, shape, eps: features)
    monkeypatch.setattr(AdaptiveNorm, "forward", lambda self, features, summary: features)
    motion = torch.randn(1, 4, 101, requires_grad=True)
    answer = network(motion)
    assert answer.shape == (1, 4, 21)
    answer[0, :, 7].sum().backward()
    seen = motion.grad[0].abs().sum(0).nonzero().flatten()
    assert seen.min() == 7 and seen.max() == 87  # frame 47, and 40 on each side


def test_a_norm_is_scaled_by_what_the_summary_says():
    norm = AdaptiveNorm(4).eval()
    features, summary = torch.randn(2, 4, 9), torch.randn(2, 4)
    for part in (norm.scale, norm.shift):
        torch.nn.init.zeros_(part.weight)
    torch.nn.init.constant_(norm.scale.bias, 2.0)
    torch.nn.init.constant_(norm.shift.bias, 5.0)
    found = norm(features, summary)
    torch.testing.assert_close(found.mean((1, 2)), torch.tensor([5.0, 5.0]))
    spread = found.std((1, 2), correction=0)  # a norm's eps takes a little away
    torch.testing.assert_close(spread, torch.tensor([3.0, 3.0]), atol=1e-3, rtol=0)
    torch.nn.init.normal_(norm.scale.weight)
    assert not torch.allclose(norm(features, summary), norm(features, -summary))


def test_every_parameter_trains_and_training_drops_some(network):
    motion = torch.randn(2, 4, 90)
    assert torch.equal(network(motion), network(motion))
    network.train()
    assert not torch.equal(network(motion), network(motion))
    network(motion).square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize("shape", [(1, 4, 80), (1, 5, 90), (4, 90)])
def test_motion_of_another_shape_is_refused(network, shape):
    message = f"motion has shape {shape}, expected (B, 4, T) with T of 81 or more"
    with pytest.raises(ValueError, match=re.escape(message)):
        network(torch.zeros(shape))
