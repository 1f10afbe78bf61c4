"""Toys tremble by as much as was worked out by hand."""

import math

import pytest

from gfla.street import trembling

TOYS = trembling.toys()


@pytest.mark.parametrize("name", list(TOYS))
def test_a_toy_trembles_as_by_hand(name):
    toy = TOYS[name]
    for key, value in trembling.measured(toy).items():
        assert value == pytest.approx(getattr(toy, key), rel=0.02, abs=1e-7), key


def test_the_numbers_by_hand_are_those_of_the_formulas():
    noise, memory = TOYS["noise"], TOYS["half memory"]
    assert noise.flicker == pytest.approx(0.1 / math.sqrt(math.pi))
    assert memory.flicker / noise.flicker == pytest.approx(1 / math.sqrt(6))
    assert memory.jitter / noise.jitter == pytest.approx(math.sqrt(5 / 36))
    assert (TOYS["blink"].flicker, TOYS["blink"].jitter) == pytest.approx((0.4 / 7, 0.8 / 6))


def test_other_sizes_scale_the_numbers():
    toys = trembling.toys(sigma=0.05, blink=0.2, fade=0.02, frames=6, side=64, seed=3)
    for name, toy in toys.items():
        found = trembling.measured(toy)
        assert found["flicker"] == pytest.approx(toy.flicker, rel=0.03, abs=1e-7), name
        assert found["jitter"] == pytest.approx(toy.jitter, rel=0.03, abs=1e-7), name


def test_a_frozen_picture_is_charged_by_flicker_alone():
    found = trembling.measured(TOYS["frozen"])
    assert found["flicker"] > 0.02
    assert found["jitter"] == 0
