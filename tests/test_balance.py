"""What each of the six terms sees, adds and pulls: values that can be known beforehand."""

import pytest
import torch
from torch import nn

from gfla import losses
from gfla.config import TERMS, preset
from gfla.discriminator import Discriminator
from gfla.model import GFLA
from gfla.street import balance
from gfla.training import TrainingError


class Tiles(nn.Module):
    """A stand-in for an encoder: the picture shrunk to each tap's stride, made positive."""

    def forward(self, image, names):
        return {n: nn.functional.avg_pool2d(image, 2 ** (int(n[4]) - 1)) + 1.5 for n in names}


@pytest.fixture
def config():
    return balance.live_config(balance.Setting(flow_steps=2, full_steps=2))


def smooth(count=2, side=32):
    return nn.functional.interpolate(torch.rand(count, 3, 4, 4) * 2 - 1, (side, side))


def test_blur_is_the_mean_of_what_lies_inside():
    image = torch.arange(9.0).view(1, 1, 3, 3)
    assert balance.blur(image, 3)[0, 0, 1, 1] == 4
    assert balance.blur(image, 3)[0, 0, 0, 0] == (0 + 1 + 3 + 4) / 4


def test_each_spoiling_does_what_its_name_says():
    target, source = torch.rand(2, 3, 16, 16) * 2 - 1, torch.zeros(2, 3, 16, 16)
    spoiled = balance.spoil(target, source, seed=1)
    assert all(image.shape == target.shape for image in spoiled.values())
    assert all(image.abs().max() <= 1 for image in spoiled.values())
    torch.testing.assert_close(spoiled["moved 1 px"][..., 1:], target[..., :-1])
    assert spoiled["copied in place"] is source
    shuffled = spoiled["tiles shuffled"]
    assert not torch.equal(shuffled, target)
    torch.testing.assert_close(shuffled[0].flatten(1).sort().values, target[0].flatten(1).sort()[0])
    corner = shuffled[0, :, :4, :4]  # some tile of the truth, whole
    tiles = target[0].unfold(1, 4, 4).unfold(2, 4, 4).flatten(1, 2)  # (3, 16, 4, 4)
    assert any(torch.equal(corner, tiles[:, k]) for k in range(16))
    again = balance.spoil(target, source, seed=1)
    assert all(torch.equal(spoiled[name], again[name]) for name in spoiled)


def test_image_terms_are_those_of_the_losses(config):
    target = smooth()
    assert set(balance.image_terms(Tiles(), target, target, config).values()) == {0.0}
    found = balance.image_terms(Tiles(), target + 0.5, target, config)
    assert found["l1"] == pytest.approx(0.5)
    assert found["perceptual"] == pytest.approx(5 * 0.5)
    assert found["style"] > 0


def test_a_recipe_keeps_its_terms_and_their_weights():
    config = balance.recipe(preset("tiny"), ("l1", "style"))
    assert config.full.weights() == {"l1": 5.0, "style": 500.0}
    assert balance.recipe(preset("tiny"), TERMS).full.weights() == losses.FULL_STAGE
    with pytest.raises(ValueError, match="no term contrast: choose among sampling_correctness"):
        balance.recipe(preset("tiny"), ("contrast",))


def test_sharpness_of_one_edge_by_hand():
    image = torch.zeros(1, 1, 4, 4)
    image[..., 2:] = 0.5  # three counted rows, one step of 0.5 each
    assert balance.sharpness(image, torch.ones(1, 1, 4, 4)) == pytest.approx(3 * 0.25)
    assert balance.sharpness(image, torch.zeros(1, 1, 4, 4)) == 0


def test_recipes_train_from_one_stage_1_and_log_only_their_terms(config):
    recipes = {"L1": balance.RECIPES["L1"], "all": TERMS}
    trained = balance.train_recipes(config, seed=0, device="cpu", recipes=recipes)
    assert list(trained) == ["L1", "all"]
    assert "style" not in trained["L1"].history[0]
    assert "discriminator" not in trained["L1"].history[0]
    first = {name: run.history[0] for name, run in trained.items()}
    for name in ("sampling_correctness", "l1"):  # before the first step all runs stand alike
        assert first["L1"][name] == pytest.approx(first["all"][name], rel=1e-5)
    table = balance.loss_table(first["all"], config)
    assert list(table.index) == list(TERMS)
    assert table["weighted"].sum() == pytest.approx(first["all"]["total"], rel=1e-5)
    assert table["share"].sum() == pytest.approx(1, rel=1e-5)
    torch.testing.assert_close(
        table["weighted"].to_list(), (table["λ"] * table["unweighted"]).to_list(), rtol=1e-5, atol=0
    )


@pytest.fixture
def pulled(config):
    torch.manual_seed(0)
    model, critic = GFLA(**config.generator()), Discriminator(**config.discriminator()).eval()
    pair = {"source": smooth(), "target": smooth()}
    pair |= {"source_pose": torch.rand(2, 18, 32, 32), "target_pose": torch.rand(2, 18, 32, 32)}
    return balance.pulls(model, critic, Tiles(), pair, config)


def test_pulls_where_they_are_known(pulled, config):
    """L1 pulls every value alike; the flow's own terms pull at F alone, and at no pixel."""
    assert list(pulled) == list(TERMS)
    each = config.full.l1 * 3**0.5 / (3 * 2 * 32 * 32)
    torch.testing.assert_close(pulled["l1"].on_image, torch.full((2, 32, 32), each))
    for name in balance.FLOW_TERMS:
        assert pulled[name].on_image.norm() == 0
        assert pulled[name].on_renderer == 0
        assert pulled[name].on_flow > 0
    for name in TERMS:
        assert pulled[name].weighted == pytest.approx(losses.FULL_STAGE[name] * pulled[name].value)
        whole = (pulled[name].on_flow ** 2 + pulled[name].on_renderer ** 2) ** 0.5
        assert float(pulled[name].direction.norm()) == pytest.approx(whole, rel=1e-4)


def test_shares_sum_to_one_and_are_drawn(pulled):
    shares = balance.shares(pulled)
    assert all(sum(parts.values()) == pytest.approx(1) for parts in shares.values())
    assert shares["gradient by the image"]["sampling_correctness"] == 0
    (axes,) = balance.draw_shares(shares).axes
    assert len(axes.patches) == len(shares) * len(TERMS)


def test_agreement_of_terms_by_hand():
    vectors = {"a": [1.0, 0.0], "b": [1.0, 0.0], "c": [-1.0, 1.0]}
    blank = torch.zeros(1, 1, 1)
    found = balance.agreement(
        {k: balance.Pull(1, 1, 1, 1, blank, torch.tensor(v)) for k, v in vectors.items()}
    )
    assert found["a"] == pytest.approx(0)  # the others sum to (0, 1)
    assert found["c"] == pytest.approx(-(0.5**0.5))  # ... to (2, 0)


def test_a_critic_learns_and_leaves_the_model_and_the_dice_alone(config):
    model = GFLA(**config.generator()).eval()
    before = [p.clone() for p in model.parameters()]
    state = torch.get_rng_state()
    critic, history = balance.critic(model, config, steps=4, seed=0)
    assert torch.equal(torch.get_rng_state(), state)
    assert not critic.training
    assert history[-1] < history[0]
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_profiles_are_known_by_name():
    for name in balance.SETTINGS:
        balance.live_config(balance.setting(name))
    with pytest.raises(ValueError, match="unknown profile 'huge': choose one of smoke, cpu, gpu"):
        balance.setting("huge")


def test_a_broken_training_is_not_passed_over_in_silence(config, monkeypatch):
    monkeypatch.setattr(losses, "l1", lambda image, target: image.sum() * float("nan"))
    with pytest.raises(TrainingError, match="l1 is nan"):
        balance.train_recipes(config, 0, "cpu", recipes={"L1": ("l1",)})
