"""The records of a search for better settings. Scores are 0..1; a gain is relative, 0.01 is one percent better."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evals.comparison.statistics import ALPHA, Paired


@dataclass(frozen=True, slots=True)
class Rules:
    """How settings are searched, and what they must be worth."""

    metric: str = "nDCG@10"
    budget: int = 60
    """Settings to try, the configured ones included."""
    folds: int = 5
    """Of the cross-validation within the tuning part."""
    max_loss: float = 0.005
    """The most that one data set may lose of the metric."""
    min_gain: float = 0.01
    """The least gain that is worth a change."""
    alpha: float = ALPHA
    """One-sided: the chance of calling settings better that are not."""
    seed: int = 7
    """Of the draw of settings."""


@dataclass(frozen=True, slots=True)
class Trial:
    """Settings that were tried on the tuning parts."""

    changes: Mapping[str, Any]
    """What differs from the configured settings; empty for these."""
    gain: float
    """Mean over the data sets."""
    scores: tuple[float, ...]
    """Mean of the metric, per data set."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The chosen settings against the configured ones on one data set; times in seconds per query."""

    name: str
    tuned_on: int
    """Queries."""
    judged_on: int
    tune_before: float
    tune_after: float
    before: float
    """On the queries that had no say in the choice."""
    after: float
    difference: Paired
    """On the same queries."""
    p_value: float
    """One-sided: how often chance alone would look this good."""
    p50_before: float
    p50_after: float


@dataclass(frozen=True, slots=True)
class Worth:
    """What the chosen settings gain on the queries that had no say, over all data sets."""

    gain: float
    """Mean over the data sets."""
    low: float | None
    """Of its confidence interval at 1 - 2 * alpha."""
    high: float | None
    p_value: float
    """One-sided: how often chance alone would look this good."""
    overfitting: float
    """How much more was promised on the tuning parts."""


@dataclass(frozen=True, slots=True)
class Tuned:
    """What a search found, and what it is worth."""

    rules: Rules
    datasets: tuple[str, ...]
    configured: Mapping[str, Any]
    """The settings that were varied, as they are configured."""
    trials: tuple[Trial, ...]
    """The best first; the configured settings are among them."""
    validated_gain: float
    """Of choosing so, by cross-validation within the tuning parts."""
    agreement: int
    """Folds that chose the same."""
    chosen: Trial | None
    """None when nothing was better on the tuning parts; then the rest has nothing either."""
    outcomes: tuple[Outcome, ...]
    """Per data set."""
    worth: Worth | None
    adopt: bool
    """Whether to take the chosen settings."""
    reason: str
    """Why or why not, as a sentence."""
