"""Searches settings of ranking on one part of the queries, and judges the one that is chosen on the other part.

Whatever is best of many on some queries is so by luck in part. So the choice is made on the tuning part alone, and what
it is worth is measured on queries that had no say in it. Tuning that brings nothing is the usual outcome, and is said.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evals.comparison.statistics import paired, permutation
from evals.indexing import Indexed, indexed
from evals.metrics import METRICS
from evals.reports.wording import p_value, percent
from evals.tuning import choosing, space
from evals.tuning.records import Outcome, Rules, Trial, Tuned, Worth
from evals.tuning.scoring import judge, score
from evals.tuning.splits import FEWEST, Split
from ingest.events import OnEvent, ignore
from ingest.settings import IngestSettings
from retrieval.errors import InvalidRequest
from retrieval.settings import RetrievalSettings

OnScored = Callable[[int, int], None]
"""Hears how many rankings are done, of how many."""


def tune(
    splits: Sequence[Split],
    *,
    retrieval: RetrievalSettings,
    ingest: IngestSettings,
    work_path: Path,
    dimensions: Sequence[space.Dimension] = space.SPACE,
    rules: Rules | None = None,
    on_event: OnEvent = ignore,
    on_scored: OnScored = lambda done, total: None,  # noqa: ARG005 - for those who do not watch
) -> Tuned:
    """Search for settings that rank better than `retrieval`, one for all data sets of `splits`.

    `on_event` hears of the indexing. Raises InvalidRequest for rules that cannot be followed, and for a data set on
    which the configured settings find nothing.
    """
    rules = rules or Rules()
    _check(splits, rules)
    opening = partial(indexed, retrieval=retrieval, ingest=ingest, work_path=work_path, on_event=on_event)
    with ExitStack() as stack:
        opened = [stack.enter_context(opening(split.tune)) for split in splits]
        dimensions = [each for each in dimensions if not each.needs_tokens or any(map(_keeps_tokens, opened))]
        tried = space.draw(dimensions, retrieval, budget=rules.budget, seed=rules.seed)
        if len(tried) < 2:
            raise InvalidRequest("there is nothing to try beside the configured settings; give --vary other values")
        changes = [space.changed(settings, retrieval, dimensions) for settings in tried]
        sizes = [len(change) for change in changes]
        scores = _score_all(splits, opened, tried, rules.metric, on_scored)
        row = choosing.choose(scores, sizes, max_loss=rules.max_loss)
        both = [] if row is None else [tried[0], tried[row]]
        pairs = zip(splits, opened, strict=True)
        judged = [judge(split.report, index, both, rules.metric) for split, index in pairs if both]
    validation = choosing.validate(scores, sizes, max_loss=rules.max_loss, folds=rules.folds)
    trials = [
        Trial(change, float(gain), tuple(float(of_set[i].mean()) for of_set in scores))
        for i, (change, gain) in enumerate(zip(changes, choosing.gains(scores), strict=True))
    ]
    chosen = None if row is None else trials[row]
    outcomes = _outcomes(splits, trials[0], chosen, judged, rules) if chosen else ()
    worth = _worth(judged, chosen, rules) if chosen else None
    adopt, reason = _verdict(worth, outcomes, rules, len(tried))
    return Tuned(
        rules=rules,
        datasets=tuple(split.name for split in splits),
        configured={dimension.name: getattr(retrieval, dimension.name) for dimension in dimensions},
        trials=tuple(sorted(trials, key=lambda trial: (-trial.gain, len(trial.changes)))),
        validated_gain=validation.gain,
        agreement=Counter(validation.choices)[row],
        chosen=chosen,
        outcomes=outcomes,
        worth=worth,
        adopt=adopt,
        reason=reason,
    )


def _check(splits: Sequence[Split], rules: Rules) -> None:
    if rules.metric not in METRICS:
        raise InvalidRequest(f"metric {rules.metric!r} is not measured; choose from {', '.join(METRICS)}")
    if rules.budget < 2:
        raise InvalidRequest(f"budget = {rules.budget!r}: at least 2, the configured settings and another")
    if not 2 <= rules.folds <= FEWEST:
        raise InvalidRequest(f"folds = {rules.folds!r}: 2 to {FEWEST}, so that each has queries of every data set")
    if not 0.0 <= rules.max_loss <= 1.0:
        raise InvalidRequest(f"the most that a set may lose is {100 * rules.max_loss:g} points; take 0 to 100")
    if not 0.0 <= rules.min_gain < math.inf:
        raise InvalidRequest(f"the least gain is {100 * rules.min_gain:g}%; take a number from 0 on")
    names = [split.tune.folder.resolve() for split in splits]
    if not splits or len(set(names)) < len(names):
        raise InvalidRequest("give at least one data set, and each of them once")


def _keeps_tokens(index: Indexed) -> bool:
    with index.store.snapshot() as snapshot:
        return bool(snapshot.info.edition.token_code)


def _score_all(
    splits: Sequence[Split],
    opened: Sequence[Indexed],
    tried: Sequence[RetrievalSettings],
    metric: str,
    on_scored: OnScored,
) -> list[NDArray[np.float64]]:
    total = len(tried) * sum(len(split.tune.queries) for split in splits)
    done = 0

    def count(rankings: int) -> None:
        nonlocal done
        done += rankings
        on_scored(done, total)

    on_scored(0, total)
    return [score(split.tune, index, tried, metric, count) for split, index in zip(splits, opened, strict=True)]


Judged = list[tuple[NDArray[np.float64], float]]
"""Values per query and median seconds, of the configured and of the chosen settings."""


def _outcomes(
    splits: Sequence[Split], default: Trial, chosen: Trial, judged: Sequence[Judged], rules: Rules
) -> tuple[Outcome, ...]:
    """Per data set."""
    made = []
    for number, (split, pair) in enumerate(zip(splits, judged, strict=True)):
        (before, p50_before), (after, p50_after) = pair
        outcome = Outcome(
            name=split.name,
            tuned_on=len(split.tune.queries),
            judged_on=len(split.report.queries),
            tune_before=default.scores[number],
            tune_after=chosen.scores[number],
            before=float(before.mean()),
            after=float(after.mean()),
            difference=paired(before.tolist(), after.tolist(), alpha=rules.alpha),
            p_value=permutation(before - after),
            p50_before=p50_before,
            p50_after=p50_after,
        )
        made.append(outcome)
    return tuple(made)


def _worth(judged: Sequence[Judged], chosen: Trial, rules: Rules) -> Worth:
    """Of all data sets at once: each query counts by what it adds to the mean relative gain."""
    shares = choosing.shares([pair[0][0] for pair in judged], [pair[1][0] for pair in judged])
    count = sum(len(share) for share in shares)
    # Scaled so that the mean over all queries is the mean over data sets, however many queries each has.
    weighted = np.concatenate([share * (count / (len(shares) * len(share))) for share in shares])
    found = paired([0.0] * count, weighted.tolist(), alpha=rules.alpha)
    return Worth(
        gain=found.difference,
        low=found.low,
        high=found.high,
        p_value=permutation(-weighted),
        overfitting=chosen.gain - found.difference,
    )


def _verdict(worth: Worth | None, outcomes: Sequence[Outcome], rules: Rules, tried: int) -> tuple[bool, str]:
    """Adopt only what gains enough, by more than chance, and harms no data set."""
    if worth is None:
        return False, (
            f"Keep the configured settings: of {tried} tried, none gained anything on the tuning queries without "
            f"costing a data set more than {100 * rules.max_loss:g} points."
        )
    gain, p = percent(worth.gain), f"p {p_value(worth.p_value)}"
    if worth.gain <= 0.0:
        return False, (
            f"Keep the configured settings: what was best on the tuning queries gains nothing on others, {gain} ({p})."
        )
    if worth.p_value > rules.alpha:
        return False, (
            f"Keep the configured settings: what was best on the tuning queries gains {gain} on others ({p}), which "
            "chance alone explains."
        )
    worst = min(outcomes, key=lambda outcome: outcome.after - outcome.before)
    if worst.after - worst.before < -rules.max_loss:
        return False, (
            f"Keep the configured settings: {worst.name} loses {100 * (worst.before - worst.after):.1f} points, more "
            f"than the {100 * rules.max_loss:g} that any data set may lose."
        )
    if worth.gain < rules.min_gain:
        return False, (
            f"Keep the configured settings: the gain is real ({p}) but small, {gain} where {100 * rules.min_gain:g}% "
            "is worth a change."
        )
    return True, f"Adopt the settings: on queries that had no say in the choice they gain {gain} ({p})."
