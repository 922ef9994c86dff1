"""Which of many settings to take, given what each scored on every query. Pure functions of arrays.

`scores` is a list with one array per data set, of shape (settings, queries), 0..1; row 0 is the configured settings.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Scores = Sequence[NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Validation:
    """What the way of choosing is worth, on queries that each choice did not see."""

    gain: float
    """Mean relative gain, as `gains` has it, of what the other folds would have chosen."""
    choices: tuple[int | None, ...]
    """What each fold's others chose; None for the configured settings."""


def gains(scores: Scores) -> NDArray[np.float64]:
    """For each of the settings the mean over data sets of its relative gain; 0.01 is one percent better.

    Relative, so that a set on which all score low weighs as much as others. Raises ZeroDivisionError for a set on
    which the configured settings score 0.
    """
    of_sets = np.array([_relative(of_set).mean(axis=1) for of_set in scores])
    return np.asarray(of_sets.mean(axis=0), dtype=np.float64)


def choose(scores: Scores, changes: Sequence[int], *, max_loss: float) -> int | None:
    """The row to take, or None when no row gains anything without a loss of more than `max_loss` (0..1) on some set.

    The simplest of those that chance may have put behind the best: `changes` counts what each row changes, and
    behind means by at most one standard error of their paired difference (the one-standard-error rule, Breiman et al.
    1984, for paired data). The best of many is best by luck in part.
    """
    gain = gains(scores)
    harmless = np.all([of_set.mean(axis=1) - of_set[0].mean() >= -max_loss for of_set in scores], axis=0)
    worth = [row for row in range(1, len(gain)) if harmless[row] and gain[row] > 0.0]
    if not worth:
        return None
    best = max(worth, key=lambda row: (gain[row], -changes[row]))
    near = [row for row in worth if gain[best] - gain[row] <= _standard_error(scores, best, row)]
    return min(near, key=lambda row: (changes[row], -gain[row], row))


def validate(scores: Scores, changes: Sequence[int], *, max_loss: float, folds: int) -> Validation:
    """Cross-validate `choose`: each fold of the queries is scored by what the others chose."""
    choices: list[int | None] = []
    left_out = [np.zeros(of_set.shape[1]) for of_set in scores]
    for fold in range(folds):
        held = [np.arange(of_set.shape[1]) % folds == fold for of_set in scores]
        rest = [of_set[:, ~mask] for of_set, mask in zip(scores, held, strict=True)]
        # A set whose other folds all score 0 has nothing to choose by.
        row = choose(rest, changes, max_loss=max_loss) if all(of_set[0].any() for of_set in rest) else None
        choices.append(row)
        for of_set, mask, gained in zip(scores, held, left_out, strict=True):
            gained[mask] = of_set[row or 0, mask] - of_set[0, mask]
    relative = [gained.mean() / of_set[0].mean() for of_set, gained in zip(scores, left_out, strict=True)]
    return Validation(float(np.mean(relative)), tuple(choices))


def shares(before: Scores, after: Scores) -> list[NDArray[np.float64]]:
    """What each query adds to the mean relative gain, scaled so that a set's gain is the mean of its array.

    `before` and `after` are one array of shape (queries,) per data set.
    """
    return [(new - old) / _mean(old) for old, new in zip(before, after, strict=True)]


def _relative(of_set: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray((of_set - of_set[0]) / _mean(of_set[0]), dtype=np.float64)


def _mean(scores: NDArray[np.float64]) -> float:
    mean = float(scores.mean())
    if not mean > 0.0:
        raise ZeroDivisionError("the configured settings score 0, so nothing is relative to them")
    return mean


def _standard_error(scores: Scores, one: int, other: int) -> float:
    """Of the difference between two rows' gains; queries are independent, sets are apart."""
    squares = 0.0
    for of_set in scores:
        difference = (of_set[one] - of_set[other]) / _mean(of_set[0])
        squares += float(difference.var()) / max(1, len(difference) - 1)
    return math.sqrt(squares) / len(scores)
