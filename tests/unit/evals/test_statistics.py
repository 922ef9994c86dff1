"""Paired statistics against values computed by hand, and against what they promise."""

import itertools
import math

import numpy as np
import pytest

from evals.comparison.statistics import holm, paired, permutation

RNG_SEED = 11


def test_few_differences_are_tested_exactly() -> None:
    """Of the eight ways to sign 1, 2 and 4, one sums to -7, two to -5 or less."""
    assert permutation(np.array([-1.0, -2.0, -4.0])) == pytest.approx(1 / 8)
    assert permutation(np.array([1.0, -2.0, -4.0])) == pytest.approx(2 / 8)
    assert permutation(np.array([-1.0, -2.0, -4.0]), two_sided=True) == pytest.approx(2 / 8)
    assert permutation(np.array([1.0, 2.0, 4.0])) == 1.0


def test_the_exact_test_is_that_of_all_signs() -> None:
    """Against a plain enumeration, zeros included."""
    differences = np.random.default_rng(RNG_SEED).normal(-0.05, 0.2, 9)
    differences[[1, 5]] = 0.0
    observed = differences.sum()
    sums = [sum(signs * np.abs(differences)) for signs in itertools.product((-1, 1), repeat=9)]
    assert permutation(differences) == pytest.approx(np.mean([total <= observed + 1e-9 for total in sums]))


def test_many_differences_are_drawn_near_the_exact_value() -> None:
    """Twenty differences: the drawn p is within noise of the enumerated one, and the same each time."""
    differences = np.random.default_rng(RNG_SEED).normal(-0.05, 0.2, 20)
    sums = np.zeros(1)
    for size in np.abs(differences):
        sums = np.concatenate((sums - size, sums + size))
    exact = float((sums <= differences.sum() + 1e-9).mean())
    assert permutation(differences) == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 20_000))
    assert permutation(differences) == permutation(differences)


def test_a_drawn_p_value_is_never_zero() -> None:
    """The observed signs are one of the draws."""
    assert permutation(np.full(400, -0.5)) == pytest.approx(1 / 20_001)


def test_the_order_of_queries_does_not_matter_much() -> None:
    """A drawn p depends on the order only within its noise; the exact one not at all."""
    differences = np.random.default_rng(RNG_SEED).normal(-0.02, 0.2, 200)
    assert permutation(differences) == pytest.approx(permutation(differences[::-1]), abs=0.01)
    assert permutation(differences[:12]) == permutation(differences[:12][::-1])


def test_last_bits_are_no_difference() -> None:
    """Another machine sums up in another order: what differs by 1e-12 is equal."""
    before = [0.1, 0.5, 0.9, 0.3]
    found = paired(before, [value - 1e-12 for value in before])
    assert (found.better, found.worse, found.equal) == (0, 0, 4)
    assert (found.difference, found.p_worse, found.effect_size) == (0.0, 1.0, 0.0)
    assert (found.low, found.high) == (0.0, 0.0)
    assert found.detectable is None


def test_effect_size_is_in_standard_deviations() -> None:
    """Differences -1, -2, -3: mean -2, deviation 1."""
    found = paired([1.0, 2.0, 3.0], [0.0, 0.0, 0.0])
    assert found.effect_size == pytest.approx(-2.0)
    assert found.difference == pytest.approx(-2.0)
    assert found.worse == 3


def test_equal_differences_have_no_spread() -> None:
    """All queries lose the same: certain, and no effect size to give."""
    found = paired([0.8] * 10, [0.7] * 10)
    assert found.p_worse == pytest.approx(1 / 1024)
    assert found.effect_size is None
    assert found.low == pytest.approx(-0.1)
    assert found.high == pytest.approx(-0.1)


def test_one_query_says_nothing() -> None:
    """No interval, and a p-value that no gate fails by."""
    found = paired([1.0], [0.0])
    assert (found.low, found.high, found.p_worse) == (None, None, 0.5)


@pytest.mark.parametrize(
    ("baseline", "candidate"),
    [([], []), ([1.0], [1.0, 2.0]), ([1.0, math.nan], [1.0, 1.0]), ([1.0, 1.0], [math.inf, 1.0])],
)
def test_what_is_no_pair_of_values_is_refused(baseline: list[float], candidate: list[float]) -> None:
    """A NaN must never become a mean."""
    with pytest.raises(ValueError, match=r"one length|finite"):
        paired(baseline, candidate)


def test_swapping_the_sides_asks_for_the_better() -> None:
    """A clear gain: surely not worse, and surely better the other way round; the intervals mirror each other."""
    rng = np.random.default_rng(RNG_SEED)
    before = rng.uniform(0.0, 0.5, 100)
    after = before + rng.uniform(0.0, 0.2, 100)
    forth, back = paired([*before], [*after]), paired([*after], [*before])
    assert forth.p_worse > 0.999
    assert back.p_worse < 0.001
    assert forth.low == pytest.approx(-(back.high or 0.0), abs=0.005)


def test_the_interval_is_that_of_scipy() -> None:
    """BCa on skewed differences, against scipy.stats.bootstrap."""
    bootstrap = pytest.importorskip("scipy.stats").bootstrap
    rng = np.random.default_rng(RNG_SEED)
    differences = np.where(rng.random(60) < 0.3, -rng.exponential(0.3, 60), 0.0)
    expected = bootstrap((differences,), np.mean, n_resamples=20_000, method="BCa", rng=1).confidence_interval
    found = paired([0.0] * 60, [*differences])
    assert found.low == pytest.approx(expected.low, abs=0.004)
    assert found.high == pytest.approx(expected.high, abs=0.004)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    """Of 150 samples of skewed differences, about 95 % of the intervals hold the true mean."""
    rng = np.random.default_rng(RNG_SEED)
    population = np.round(np.where(rng.random(20_000) < 0.5, rng.exponential(0.2, 20_000) - 0.15, 0.0), 3)
    covered = 0
    for _ in range(150):
        sample = rng.choice(population, 40)
        found = paired([0.0] * 40, [*sample])
        covered += (found.low or 0.0) <= population.mean() <= (found.high or 0.0)
    assert 0.90 <= covered / 150 <= 0.99


def test_the_detectable_loss_is_detected_four_times_in_five() -> None:
    """Samples whose true loss is what `detectable` says are found worse in about 80 % of the cases."""
    rng = np.random.default_rng(RNG_SEED)
    spread, queries = 0.2, 40
    loss = (1.959964 + 0.841621) * spread / math.sqrt(queries)
    found = [paired([0.0] * queries, [*rng.normal(-loss, spread, queries)]) for _ in range(150)]
    assert np.mean([one.detectable or 0.0 for one in found]) == pytest.approx(loss, rel=0.05)
    assert 0.7 <= np.mean([one.p_worse < 0.025 for one in found]) <= 0.9


def test_holm_multiplies_the_smallest_most() -> None:
    """Three values by hand; their order is kept, nothing exceeds 1 or falls below what was smaller."""
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.7, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
