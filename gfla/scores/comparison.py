"""Is one model better than another, and how sure may one be with few seeds: paired comparisons.

Two models are trained from the same seeds and judged on the same held-out pairs, so what is
compared is the difference, seed by seed and pair by pair: what a seed or a pair makes hard for
both falls out.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

LEVEL = 0.95  # of every interval


class Difference(NamedTuple):
    """One model minus another."""

    mean: float  # over seeds and pairs
    low: float  # of the interval
    high: float
    per_seed: tuple[float, ...]  # the difference of each seed, in the order given
    seeds: int
    pairs: int  # of those compared; 0 where the metric belongs to a set and not to pairs
    resampled: str  # the interval's origin: "seeds and pairs", "pairs only", "range", "nothing"

    @property
    def agreeing(self) -> int:
        """How many seeds have the sign of the mean; zero differences have none.

        >>> Difference(-1.0, -2.0, 0.1, (-2.0, -1.1, 0.1), 3, 8, "seeds and pairs").agreeing
        2
        """
        return sum(one * self.mean > 0 for one in self.per_seed)

    @property
    def apart(self) -> bool:
        """Whether the interval lies away from zero."""
        return self.low > 0 or self.high < 0


def paired_difference(a, b, draws: int = 10_000, seed: int = 0) -> Difference:
    r"""Mean difference of two models with an interval over seeds and held-out pairs jointly.

        d(s, p) = a(s, p) − b(s, p),   d̄* = Σ_{s, p} n_s m_p d(s, p) / (S P)

    with n and m the counts of seeds and of pairs drawn with replacement, S and P of them; both
    models get the same counts. The interval is that of the percentiles of d̄*.

    What few seeds can carry: where the pairs decide, the interval covers the true difference about
    as often as it says. Where the seeds decide, it is too narrow: of 3 seeds all three draws are
    one and the same in one case of nine, so that the 95 % interval is the range of the three
    differences, which covers a median of 0 in only 1 − 2·2⁻³ = 75 % (`range_coverage`). Three
    seeds that agree in sign happen by chance in one case of four; a sign test could not reach 5 %
    below six seeds. What seed and pair do only together enters the variance up to three times
    (Owen 2007): where that decides, the interval is too wide. So read it together with `per_seed`
    and `agreeing`; it says whether one more training and other people would likely show the same
    sign, and not more.

    Args:
        a: (seeds, pairs) a metric of one model, a row for each training seed, a column for each
            held-out pair.
        b: the same of the other, from the same seeds and pairs in the same order.
        draws: how often is drawn.
        seed: of the draws, not of a model; equal arguments give equal intervals.

    Returns:
        Difference. With one seed only the pairs are drawn, and `resampled` says "pairs only": such
        an interval knows nothing of how much training differs from seed to seed. A pair at which
        some value is not finite (a PSNR of two equal pictures, a flow of a pair with nothing
        visible) is left out for all seeds and both models; `pairs` counts what remains.

    Raises:
        ValueError: arrays that are not of one shape (seeds, pairs), or without a finite pair.

    Source: Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 1, 2007.

    >>> better = paired_difference([[1.0, 2.0, 3.0]], [[2.0, 3.0, 4.0]])
    >>> better.mean, better.low, better.high, better.resampled
    (-1.0, -1.0, -1.0, 'pairs only')
    """
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if a.shape != b.shape or a.ndim != 2 or a.size == 0:
        raise ValueError(
            f"two models to compare have values of shapes {a.shape} and {b.shape}: expected one "
            "shape (seeds, pairs), the same seeds and held-out pairs of both in the same order"
        )
    if draws < 1:
        raise ValueError(f"{draws} draws give no interval: take some thousands")
    with np.errstate(invalid="ignore"):  # infinity minus infinity; left out below
        d = a - b
    d = d[:, np.isfinite(d).all(axis=0)]
    seeds, pairs = d.shape
    if not pairs:
        raise ValueError(f"none of {a.shape[1]} pairs is finite in both models and every seed")
    n, m = _counts(seeds, draws, seed), _counts(pairs, draws, seed + 1)
    means = (n * (m @ d.T)).sum(axis=1) / (seeds * pairs)  # (draws,)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Difference(
        float(d.mean()), float(low), float(high), tuple(d.mean(axis=1).tolist()), seeds, pairs,
        "seeds and pairs" if seeds > 1 else "pairs only",
    )  # fmt: skip


def set_difference(a, b) -> Difference:
    """Difference of a metric that a whole set has and no single pair, such as a Fréchet distance.

    Args:
        a: (seeds,) of one model.
        b: (seeds,) of the other, from the same seeds in the same order.

    Returns:
        Difference with the range over seeds for an interval, pairs = 0 and resampled = "range":
        what chose the held-out people is not in it, and with 3 seeds it covers the true difference
        in 75 % (`range_coverage`). One seed has no range: NaN, and resampled = "nothing".

    Raises:
        ValueError: lists that do not match, are empty, or hold a value that is not finite.

    >>> set_difference([10.0, 12.0], [11.0, 15.0])[:4]
    (-2.0, -3.0, -1.0, (-1.0, -3.0))
    """
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if a.shape != b.shape or a.ndim != 1 or a.size == 0:
        raise ValueError(
            f"two models to compare have values of shapes {a.shape} and {b.shape}: expected one "
            "value a seed, (seeds,), the same seeds of both in the same order"
        )
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError(f"values that are not finite cannot be compared: {a} and {b}")
    d = a - b
    low, high = (float(d.min()), float(d.max())) if len(d) > 1 else (np.nan, np.nan)
    return Difference(
        float(d.mean()), low, high, tuple(d.tolist()), len(d), 0,
        "range" if len(d) > 1 else "nothing",
    )  # fmt: skip


def range_coverage(seeds: int) -> float:
    """How often the range of independent seeds covers their median: 1 − 2·2^(−S).

    Args:
        seeds: S, at least 1.

    Raises:
        ValueError: no seed.

    >>> [range_coverage(seeds) for seeds in (1, 2, 3, 6)]
    [0.0, 0.5, 0.75, 0.96875]
    """
    if seeds < 1:
        raise ValueError(f"{seeds} seeds have no range: at least 1 is needed")
    return 1 - 2.0 ** (1 - seeds)


@lru_cache(maxsize=8)
def _counts(size: int, draws: int, seed: int) -> np.ndarray:
    """How often each of `size` things is drawn: (draws, size), rows add up to `size`.

    Kept, because a table compares many metrics over the same seeds and pairs.
    """
    generator = np.random.default_rng([seed, size])
    return generator.multinomial(size, np.full(size, 1 / size), size=draws).astype(float)
