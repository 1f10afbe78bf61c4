"""What drives a clip and what it could be taken from."""

import pytest
import torch

from gfla.data import people
from gfla.scores import moving
from gfla.street import driving

TIMES = [t / 12 for t in range(17)]


def test_a_walk_comes_back_and_its_sides_are_half_a_cycle_apart():
    who = driving.driver("walk", 5)
    for limb in driving.LIMBS:
        right, left = (driving.angle(who, limb, side, TIMES) for side in ("right", "left"))
        assert right[0] == pytest.approx(right[16], abs=1e-3)
        assert left[8:16] == pytest.approx(right[:8], abs=1e-3)
        low, high, apart = driving.half_cycle(who, limb)
        assert (low, high) == pytest.approx((min(right), max(right)))
        assert apart < 1e-3
        assert high - low > 5
    assert driving.half_cycle(driving.driver("dance", 5), "upper arm")[2] > 1


def test_a_knee_bends_one_way():
    who = driving.driver("walk", 6)
    assert min(driving.angle(who, "knee", "left", TIMES)) > 0


def test_shares_are_of_the_person_and_either_is_at_least_each():
    batch = moving.clips(2, 3, size=(32, 32))
    found = driving.seen(batch)
    by_hand = batch["reference_visible"][1, 2].sum() / batch["foreground"][1, 2].sum()
    assert float(found["reference"][1, 2]) == pytest.approx(float(by_hand))
    for name in ("reference", "previous"):
        assert (found["either"] >= found[name]).all()
    torch.testing.assert_close(found["previous"][:, 0], found["reference"][:, 0])


def test_the_chances_of_every_kind_of_motion():
    found = driving.chances(4, 4, people.MEASURING_SEEDS)
    assert set(found) == {"walk", "dance", "wave", "turn"}
    for one in found.values():
        assert one["followed"] < one["warped"] < one["copied"]
        assert one["seen_previous"] > one["seen_reference"] > 0
