"""Paired differences: the interval covers what it says, and says what it cannot."""

import numpy as np
import pytest

from gfla.scores.comparison import paired_difference, range_coverage, set_difference


def models(random, seeds, pairs, effect, seed_spread, pair_spread, noise):
    """Two models, `effect` apart, that share hard pairs and differ by seed, by pair and by chance.

    The spreads are those of the difference.
    """
    shared = random.normal(0, 5.0, (1, pairs))  # falls out of the difference
    b = shared + random.normal(0, 1.0, (seeds, 1))
    d = effect + seed_spread * random.normal(size=(seeds, 1))
    d = d + pair_spread * random.normal(size=(1, pairs))
    return b + d + noise * random.normal(size=(seeds, pairs)), b


def coverage(trials, **kind):
    """Share of trials whose interval holds the true effect."""
    random = np.random.default_rng(1)
    found = [paired_difference(*models(random, effect=0.3, **kind), 2000) for _ in range(trials)]
    return np.mean([one.low <= 0.3 <= one.high for one in found])


def test_an_interval_covers_about_as_often_as_it_says():
    both = coverage(300, seeds=20, pairs=50, seed_spread=0.5, pair_spread=1.0, noise=0.3)
    assert 0.90 <= both <= 0.98
    by_pairs = coverage(300, seeds=3, pairs=60, seed_spread=0.0, pair_spread=1.0, noise=0.0)
    assert 0.90 <= by_pairs <= 0.98


def test_with_three_seeds_that_decide_it_covers_as_little_as_the_docstring_admits():
    found = coverage(400, seeds=3, pairs=20, seed_spread=1.0, pair_spread=0.0, noise=0.0)
    assert found == pytest.approx(range_coverage(3), abs=0.07)
    assert found < 0.85


def test_what_seed_and_pair_do_only_together_makes_it_too_wide():
    found = coverage(200, seeds=3, pairs=60, seed_spread=0.0, pair_spread=0.0, noise=1.0)
    assert found >= 0.98


def test_seeds_alone_would_promise_too_much():
    random = np.random.default_rng(2)
    a, b = models(random, 6, 40, 0.0, 1.0, 0.1, 0.0)
    jointly = paired_difference(a, b, 2000)
    pairs_only = paired_difference(a.mean(0, keepdims=True), b.mean(0, keepdims=True), 2000)
    assert jointly.high - jointly.low > 5 * (pairs_only.high - pairs_only.low)


def test_the_mean_and_its_seeds_by_hand():
    a = [[1.0, 2.0], [3.0, 4.0], [2.0, 2.0]]
    b = [[0.0, 0.0], [4.0, 4.0], [1.0, 1.0]]
    found = paired_difference(a, b, 2000)
    assert found.per_seed == (1.5, -0.5, 1.0)
    assert found.mean == pytest.approx(2 / 3)
    assert (found.agreeing, found.seeds, found.pairs) == (2, 3, 2)
    assert found.resampled == "seeds and pairs"
    assert found.low < 0 < found.high
    assert not found.apart
    back = paired_difference(b, a, 2000)
    assert (back.mean, back.low) == pytest.approx((-found.mean, -found.high))


def test_the_same_seeds_and_pairs_are_drawn_for_both():
    random = np.random.default_rng(3)
    hard = random.normal(0, 100, (3, 50))
    found = paired_difference(hard + 1.0, hard, 500)
    assert (found.low, found.mean, found.high) == pytest.approx((1, 1, 1))
    assert found.apart
    again = paired_difference(hard + random.normal(size=(3, 50)), hard, 500)
    assert again != paired_difference(hard + random.normal(size=(3, 50)), hard, 500)


def test_draws_are_repeatable_and_of_their_seed():
    random = np.random.default_rng(4)
    a, b = models(random, 3, 30, 0.1, 0.2, 0.5, 0.1)
    assert paired_difference(a, b, 300) == paired_difference(a, b, 300)
    assert paired_difference(a, b, 300) != paired_difference(a, b, 300, seed=5)


def test_equal_models_have_no_difference():
    a = np.random.default_rng(5).normal(size=(3, 10))
    found = paired_difference(a, a, 100)
    assert found[:4] == (0.0, 0.0, 0.0, (0.0, 0.0, 0.0))
    assert (found.agreeing, found.apart) == (0, False)


def test_one_seed_is_said_to_be_one():
    random = np.random.default_rng(6)
    a, b = models(random, 1, 40, 1.0, 0.0, 1.0, 0.0)
    found = paired_difference(a, b, 1000)
    assert found.resampled == "pairs only"
    assert found.low < found.mean < found.high
    assert len(found.per_seed) == found.seeds == 1


def test_a_pair_that_is_not_finite_somewhere_is_left_out_everywhere():
    a = np.array([[1.0, np.inf, 3.0], [1.0, 2.0, 3.0]])
    b = np.array([[0.0, np.inf, np.nan], [0.0, 0.0, 0.0]])
    found = paired_difference(a, b, 50)
    assert (found.pairs, found.mean) == (1, 1.0)
    with pytest.raises(ValueError, match="none of 2 pairs is finite"):
        paired_difference([[np.nan, 1.0]], [[1.0, np.inf]])


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        (np.ones((3, 4)), np.ones((2, 4)), r"\(3, 4\) and \(2, 4\).*the same seeds"),
        (np.ones((3, 4)), np.ones((3, 5)), r"\(3, 4\) and \(3, 5\)"),
        (np.ones(4), np.ones(4), r"expected one shape \(seeds, pairs\)"),
        (np.ones((0, 4)), np.ones((0, 4)), r"\(0, 4\)"),
    ],
)
def test_what_cannot_be_paired_is_refused(a, b, words):
    with pytest.raises(ValueError, match=words):
        paired_difference(a, b)


def test_sets_are_compared_over_seeds_only():
    found = set_difference([3.0, 4.0, 9.0], [4.0, 6.0, 8.0])
    assert found.per_seed == (-1.0, -2.0, 1.0)
    assert (found.low, found.high, found.agreeing, found.pairs) == (-2.0, 1.0, 2, 0)
    assert not found.apart
    assert set_difference([1.0, 2.0], [2.0, 4.0]).apart
    alone = set_difference([1.0], [2.0])
    assert (alone.mean, alone.resampled, alone.apart) == (-1.0, "nothing", False)
    assert np.isnan([alone.low, alone.high]).all()
    with pytest.raises(ValueError, match=r"\(3,\) and \(2,\)"):
        set_difference([1, 2, 3], [1, 2])
    with pytest.raises(ValueError, match="not finite"):
        set_difference([1.0, np.nan], [1.0, 2.0])
    with pytest.raises(ValueError, match="0 draws"):
        paired_difference([[1.0]], [[2.0]], draws=0)
    with pytest.raises(ValueError, match="0 seeds"):
        range_coverage(0)
