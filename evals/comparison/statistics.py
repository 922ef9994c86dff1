"""Paired statistics over queries: permutation test, bootstrap, effect size, Holm's correction. Pure; NumPy alone.

The gate asks one thing, whether the candidate is worse, so its tests are one-sided; an improvement needs no alarm, and
a test that looks both ways would halve the power to see a loss. Everything drawn is drawn with a fixed seed: the same
values give the same numbers.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

ALPHA = 0.025
"""One-sided: the worse half of a two-sided test at 5 %, so that test and 95 % interval say the same."""
POWER = 0.8
_EXACT = 18
"""Differences up to which all 2 ** n signs are tried."""
_RESAMPLES = 20_000
_CELLS = 1_000_000
"""Random numbers held at a time."""
_SEED = 7
_DIGITS = 9
"""Differences are rounded to so many: the last bits of a metric depend on the machine that summed it up."""
_TOLERANCE = 1e-9

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Paired:
    """What paired values say; `difference` is candidate minus baseline."""

    difference: float
    low: float | None
    """Of the confidence interval at 1 - 2 * alpha; None for fewer than two pairs."""
    high: float | None
    p_worse: float
    """Permutation test, one-sided."""
    p_bootstrap: float
    """The same question to the bootstrap."""
    effect_size: float | None
    """Cohen's d_z; 0 when nothing differs, None when all pairs differ by the same."""
    detectable: float | None
    """The loss that the test would notice in `POWER` of cases; None when there is no spread to tell it by."""
    better: int
    worse: int
    equal: int


def paired(baseline: Sequence[float], candidate: Sequence[float], *, alpha: float = ALPHA, seed: int = _SEED) -> Paired:
    """Compare values of the same queries in the same order. Raises ValueError for none, for NaN, for unequal lengths.

    To ask whether the candidate is better, swap the arguments.
    """
    before, after = np.asarray(baseline, dtype=np.float64), np.asarray(candidate, dtype=np.float64)
    if before.shape != after.shape or before.ndim != 1 or not len(before):
        raise ValueError(f"expected two lists of one length, got {before.shape} and {after.shape}")
    if not (np.isfinite(before).all() and np.isfinite(after).all()):
        raise ValueError("a value is not a finite number")
    differences = np.round(after - before, _DIGITS)
    low, high, p_bootstrap = _bootstrap(differences, alpha, seed)
    return Paired(
        difference=float(differences.mean()),
        low=low,
        high=high,
        p_worse=permutation(differences, seed=seed),
        p_bootstrap=p_bootstrap,
        effect_size=_effect_size(differences),
        detectable=_detectable(differences, alpha),
        better=int((differences > 0).sum()),
        worse=int((differences < 0).sum()),
        equal=int((differences == 0).sum()),
    )


def permutation(differences: Values, *, two_sided: bool = False, seed: int = _SEED) -> float:
    """Fisher's randomisation test (Smucker et al. 2007): how often random signs give a sum as low as the one observed.

    Exact for few differences. Otherwise signs are drawn, and the observed ones count as one draw (Phipson and Smyth
    2010), so p is never 0.
    """
    # Pairs without a difference are the same under both signs, so they cancel out of the count.
    sizes = np.abs(np.round(differences, _DIGITS))
    moved = sizes[sizes > 0]
    observed = float(np.round(differences, _DIGITS).sum())
    exact = len(moved) <= _EXACT
    sums = _all_sums(moved) if exact else _drawn_sums(moved, seed)
    tolerance = _TOLERANCE * max(1.0, float(moved.sum()))
    if two_sided:
        extreme = int((np.abs(sums) >= abs(observed) - tolerance).sum())
    else:
        extreme = int((sums <= observed + tolerance).sum())
    return extreme / len(sums) if exact else (extreme + 1) / (len(sums) + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction (1979), in the order given: the chance of any false alarm stays below alpha."""
    count = len(p_values)
    adjusted = [0.0] * count
    highest = 0.0
    for rank, index in enumerate(sorted(range(count), key=lambda index: p_values[index])):
        highest = max(highest, min(1.0, (count - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def _all_sums(sizes: Values) -> Values:
    sums = np.zeros(1)
    for size in sizes:
        sums = np.concatenate((sums - size, sums + size))
    return sums


def _drawn_sums(sizes: Values, seed: int) -> Values:
    rng = np.random.default_rng(seed)
    sums, rows = [], max(1, _CELLS // len(sizes))
    for begin in range(0, _RESAMPLES, rows):
        shape = (min(rows, _RESAMPLES - begin), len(sizes))
        plus = rng.integers(0, 2, shape, dtype=np.int8)
        sums.append(2.0 * (plus @ sizes) - sizes.sum())
    return np.concatenate(sums)


def _bootstrap(differences: Values, alpha: float, seed: int) -> tuple[float | None, float | None, float]:
    """Interval by BCa (Efron 1987), and the p-value of the bootstrap around no difference.

    Differences of ranking metrics are skewed: most queries do not move, a few move a lot, often to one side. BCa
    corrects for that; plain percentiles are too narrow on the side of the tail.
    """
    count, mean = len(differences), float(differences.mean())
    deviations = differences - mean
    spread = float((deviations**2).sum())
    if count < 2:
        return None, None, 1.0 if mean >= 0 else 0.5
    if spread <= _TOLERANCE**2:
        return mean, mean, 1.0 if mean >= 0 else 1 / (_RESAMPLES + 1)
    means = _resampled_means(differences, seed)
    p_value = (int((means - mean <= mean + _TOLERANCE).sum()) + 1) / (_RESAMPLES + 1)
    normal = NormalDist()
    below = float((means < mean - _TOLERANCE).sum()) + 0.5 * float((np.abs(means - mean) <= _TOLERANCE).sum())
    bias = normal.inv_cdf(min(max(below / _RESAMPLES, 1 / _RESAMPLES), 1 - 1 / _RESAMPLES))
    acceleration = float((deviations**3).sum()) / (6 * spread**1.5)  # the jackknife's, which has this form for a mean
    ends = []
    for share in (alpha, 1 - alpha):
        z = bias + normal.inv_cdf(share)
        # The correction has a pole, which only a tiny alpha could come near to.
        ends.append(normal.cdf(bias + z / max(1 - acceleration * z, 0.1)))
    low, high = np.quantile(means, ends)
    return float(low), float(high), p_value


def _resampled_means(differences: Values, seed: int) -> Values:
    rng = np.random.default_rng(seed)
    count = len(differences)
    means, rows = [], max(1, _CELLS // count)
    for begin in range(0, _RESAMPLES, rows):
        chosen = rng.integers(0, count, (min(rows, _RESAMPLES - begin), count))
        means.append(differences[chosen].mean(axis=1))
    return np.concatenate(means)


def _effect_size(differences: Values) -> float | None:
    if not differences.any():
        return 0.0
    spread = float(differences.std(ddof=1)) if len(differences) > 1 else 0.0
    return float(differences.mean()) / spread if spread > _TOLERANCE else None


def _detectable(differences: Values, alpha: float) -> float | None:
    """By the normal approximation: quantiles of the test and of its power, times the standard error."""
    spread = float(differences.std(ddof=1)) if len(differences) > 1 else 0.0
    if spread <= _TOLERANCE:
        return None
    normal = NormalDist()
    return (normal.inv_cdf(1 - alpha) + normal.inv_cdf(POWER)) * spread / math.sqrt(len(differences))
