"""Weights in eight bits come back near enough, and a model that was stored so paints the same."""

import torch

import gfla
from gfla import bytes8, checkpoint
from gfla.data import people


def test_no_weight_is_off_by_more_than_half_a_step():
    torch.manual_seed(0)
    tensors = {
        "a.weight": torch.randn(16, 8, 3, 3) * torch.logspace(-3, 1, 16)[:, None, None, None]
    }
    tensors |= {"a.bias": torch.randn(16), "zero": torch.zeros(4, 512)}
    stored = bytes8.rounded(tensors)
    assert stored["a.weight"].dtype == torch.int8 and stored["a.bias"].dtype == torch.float16
    back = bytes8.widened(stored)
    assert set(back) == set(tensors)
    rows = tensors["a.weight"].flatten(1)
    wrong = (back["a.weight"].flatten(1) - rows).abs().amax(1) / (rows.abs().amax(1) / 127)
    assert float(wrong.max()) < 0.6 and float(wrong.max()) > 0.3  # half a step, and half precision
    assert torch.equal(back["zero"], tensors["zero"])


def test_files_in_other_precisions_go_through_untouched():
    tensors = {"w": torch.randn(64, 64).half(), "b": torch.randn(3)}
    assert all(bytes8.widened(tensors)[name] is value for name, value in tensors.items())


def test_a_model_in_eight_bits_paints_nearly_the_same(tmp_path):
    model = gfla.load("people")
    path = tmp_path / "people.safetensors"
    checkpoint.save_model(path, model, torch.int8)
    half = tmp_path / "half.safetensors"
    checkpoint.save_model(half, model, torch.float16)
    assert path.stat().st_size < 0.56 * half.stat().st_size
    pair = people.pairs(2, size=model.size, seed=people.MEASURING_SEEDS)
    inputs = pair["source"], pair["source_pose"], pair["target_pose"]
    difference = (checkpoint.load_model(path).render(*inputs) - model.render(*inputs)).abs()
    assert 0 < float(difference.mean()) < 0.01  # of a range of 2
