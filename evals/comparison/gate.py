"""Holds a candidate against a baseline and gives a verdict.

A gated metric fails when the candidate is worse by at least the minimum effect AND by more than chance explains. One of
both alone is a warning: a loss that is certain but too small to matter, or one that would matter but may be chance.
Whatever is missing fails too, for a mean over what happens to be there can hide any loss; so do too few queries for any
loss to show, for a gate that cannot fail is none.
"""

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from evals.comparison.moved import moved_queries
from evals.comparison.records import (
    Comparison,
    MetricComparison,
    Outcome,
    Rules,
    SettingChange,
    Verdict,
)
from evals.comparison.statistics import ALPHA, holm, paired
from evals.runs import Run
from retrieval.errors import InvalidRequest

GATED = ("nDCG@10", "recall@100")
"""By default: the order of what is shown, and what a reranker has to work with. The other metrics follow these two so
closely that to gate them as well would only cost power."""
MIN_EFFECT = 0.01
MOVED = 10
_TOLERANCE = 1e-9
_NAMED = 3
_JUDGED = 0.05
"""Difference in the share of judged documents among the first ten that is worth a note."""


def compare(baseline: Run, candidate: Run, rules: Rules | None = None, *, moved: int = MOVED) -> Comparison:
    """The whole comparison, with the `moved` queries that changed most. Raises InvalidRequest for impossible rules."""
    rules = rules or Rules(GATED, ALPHA, MIN_EFFECT)
    _check(rules)
    missing = tuple(_mismatches(baseline, candidate, rules))
    metrics = _with_outcomes([_metric(name, baseline, candidate, rules) for name in _names(baseline, candidate, rules)])
    metrics = [_judged(metric, rules) for metric in metrics]
    return Comparison(
        verdict=_verdict(metrics, missing),
        rules=rules,
        baseline=baseline.side,
        candidate=candidate.side,
        metrics=tuple(metrics),
        moved=moved_queries(baseline, candidate, rules.metrics[0], limit=moved),
        changes=tuple(_changes(baseline, candidate)),
        missing=missing,
        notes=tuple(_notes(baseline, candidate, rules)),
    )


def _check(rules: Rules) -> None:
    if not rules.metrics:
        raise InvalidRequest("no metric is gated; name at least one")
    if not 0.0001 <= rules.alpha <= 0.5:
        raise InvalidRequest(f"alpha = {rules.alpha!r}: a chance between 0.0001 and 0.5 is expected")
    if not 0.0 <= rules.min_effect <= 1.0:
        raise InvalidRequest(f"the minimum effect is {100 * rules.min_effect:g} points; take one between 0 and 100")


def _mismatches(baseline: Run, candidate: Run, rules: Rules) -> Iterator[str]:
    """Why the two do not answer the same questions."""
    first, second = baseline.queries, candidate.queries
    for here, there, name in ((first, second, "baseline"), (second, first, "candidate")):
        if only := sorted(here.keys() - there.keys()):
            yield f"{_count(only, 'query', 'queries')} only in the {name}: {_listed(only)}."
    shared = sorted(first.keys() & second.keys())
    if not shared:
        yield "The sides share no query."
    # A plain run has ids only.
    if other := [one for one in shared if first[one] and second[one] and first[one] != second[one]]:
        yield f"{_count(other, 'query', 'queries')} with another text on each side: {_listed(other)}."
    if other := [one for one in shared if baseline.qrels.get(one) != candidate.qrels.get(one)]:
        yield f"{_count(other, 'query', 'queries')} with other judgements on each side: {_listed(other)}."
    corpora = {baseline.side.corpus_sha256, candidate.side.corpus_sha256} - {""}
    if len(corpora) > 1 and not rules.allow_different_corpus:
        yield (
            "The documents are not the same, so a difference may come from them and not from the ranking; measure both "
            "on the same, or allow it with --allow-different-corpus."
        )


def _names(baseline: Run, candidate: Run, rules: Rules) -> list[str]:
    """The gated metrics, then all others that a side has."""
    measured = (values for run in (baseline, candidate) for values in run.per_query.values())
    return list(dict.fromkeys([*rules.metrics, *(name for values in measured for name in values)]))


def _metric(name: str, baseline: Run, candidate: Run, rules: Rules) -> MetricComparison:
    # Every query that either side has: one that a side lacks has no value there, and is a problem, not left out.
    query_ids = list(dict.fromkeys([*baseline.queries, *candidate.queries]))
    gated = name in rules.metrics
    values = {}
    for side, run in (("baseline", baseline), ("candidate", candidate)):
        values[side] = [run.per_query.get(query_id, {}).get(name) for query_id in query_ids]
        if problem := _problem(name, side, query_ids, values[side]):
            return MetricComparison(metric=name, gated=gated, queries=len(query_ids), problem=problem)
    before, after = ([float(value or 0.0) for value in values[side]] for side in ("baseline", "candidate"))
    found = paired(before, after, alpha=rules.alpha)
    return MetricComparison(
        metric=name,
        gated=gated,
        queries=len(query_ids),
        baseline=math.fsum(before) / len(before),
        candidate=math.fsum(after) / len(after),
        difference=found.difference,
        low=found.low,
        high=found.high,
        p_permutation=found.p_worse,
        p_bootstrap=found.p_bootstrap,
        effect_size=found.effect_size,
        detectable=found.detectable,
        better=found.better,
        worse=found.worse,
        equal=found.equal,
        pairs=dict(zip(query_ids, zip(before, after, strict=True), strict=True)),
    )


def _problem(name: str, side: str, query_ids: Sequence[str], values: Sequence[float | None]) -> str:
    if not query_ids:
        return f"{name}: there are no queries."
    lacking = [query_id for query_id, value in zip(query_ids, values, strict=True) if value is None]
    if len(lacking) == len(query_ids):
        return f"{name}: the {side} does not have this metric."
    if lacking:
        return f"{name}: the {side} has no value for {_count(lacking, 'query', 'queries')}: {_listed(lacking)}."
    odd = [one for one, value in zip(query_ids, values, strict=True) if value is not None and not math.isfinite(value)]
    return f"{name}: the {side} has no number for {_count(odd, 'query', 'queries')}: {_listed(odd)}." if odd else ""


def _with_outcomes(metrics: Sequence[MetricComparison]) -> list[MetricComparison]:
    """With the p-values of the gated metrics adjusted for their number."""
    tested = [metric for metric in metrics if metric.gated and metric.p_permutation is not None]
    adjusted = dict(
        zip((metric.metric for metric in tested), holm([metric.p_permutation or 0.0 for metric in tested]), strict=True)
    )
    return [replace(metric, p_adjusted=adjusted.get(metric.metric)) for metric in metrics]


def _judged(metric: MetricComparison, rules: Rules) -> MetricComparison:
    if not metric.gated:
        return metric
    problem = metric.problem or _too_few(metric, rules)
    if problem or metric.difference is None or metric.p_adjusted is None:
        return replace(metric, outcome="fail", reason=problem)
    large = metric.difference < 0 and -metric.difference >= rules.min_effect - _TOLERANCE
    certain = metric.p_adjusted < rules.alpha
    if not (large or certain):
        return replace(metric, outcome="pass")
    lost = f"{metric.metric} lost {-100 * metric.difference:.2f} points (p = {_shown(metric.p_adjusted)})"
    if large and certain:
        return replace(metric, outcome="fail", reason=f"{lost}.")
    if certain:
        doubt = f"not chance, but less than the {100 * rules.min_effect:g} points that matter"
    else:
        doubt = "that may be chance"
        if metric.detectable is not None:
            seen = f"{100 * metric.detectable:.1f}"
            doubt += f"; with {metric.queries:,} queries a loss of {seen} is seen four times in five"
    return replace(metric, outcome="warn", reason=f"{lost}: {doubt}.")


def _too_few(metric: MetricComparison, rules: Rules) -> str:
    """The smallest p that the permutation test can give is that of all queries losing: 2 ** -queries."""
    enough = math.floor(math.log2(len(rules.metrics) / rules.alpha)) + 1
    if metric.queries >= enough:
        return ""
    asked = _count(metric.pairs, "query", "queries")
    return f"{metric.metric}: {asked} could not show any loss, however large; take {enough} at least."


def _verdict(metrics: Sequence[MetricComparison], missing: Sequence[str]) -> Verdict:
    gated = [metric for metric in metrics if metric.outcome is not None]
    failed = [metric.reason for metric in gated if metric.outcome == "fail"]
    warned = [metric.reason for metric in gated if metric.outcome == "warn"]
    outcome: Outcome = "fail" if failed or missing else "warn" if warned else "pass"
    return Verdict(outcome, tuple(dict.fromkeys([*missing, *failed, *warned])))


def _changes(baseline: Run, candidate: Run) -> Iterator[SettingChange]:
    parts: list[tuple[str, Callable[[Run], Mapping[str, object]]]] = [
        ("", lambda run: run.side.settings),
        ("version.", lambda run: run.side.versions),
        ("", lambda run: {"mode": run.side.mode, "documents": run.side.documents, "chunks": run.side.chunks}),
    ]
    for prefix, of in parts:
        first, second = of(baseline), of(candidate)
        if not first or not second:
            continue  # a plain run tells nothing, which is no change
        for name in dict.fromkeys([*first, *second]):
            if first.get(name) != second.get(name):
                yield SettingChange(f"{prefix}{name}", first.get(name), second.get(name))


def _notes(baseline: Run, candidate: Run, rules: Rules) -> Iterator[str]:
    yield from baseline.notes
    yield from candidate.notes
    corpora = [side.corpus_sha256 for side in (baseline.side, candidate.side)]
    if "" in corpora:
        yield "Of a plain run it is not known which documents it searched."
    elif len(set(corpora)) > 1 and rules.allow_different_corpus:
        yield "The documents are not the same: a difference may come from them."
    shares = [_judged_share(run) for run in (baseline, candidate)]
    if abs(shares[0] - shares[1]) >= _JUDGED:
        yield (
            f"Of the first ten results {100 * shares[0]:.0f} % are judged in the baseline, {100 * shares[1]:.0f} % in "
            "the candidate. What nobody has judged counts as not relevant, which may be unfair to the side with fewer."
        )


def _judged_share(run: Run) -> float:
    shown = [(query_id, found.doc_id) for query_id in run.queries for found in run.rankings.get(query_id, ())[:10]]
    return sum(doc_id in run.qrels.get(query_id, {}) for query_id, doc_id in shown) / (len(shown) or 1)


def _shown(p_value: float) -> str:
    return f"{p_value:.3f}" if p_value >= 0.001 else f"{p_value:.1g}"


def _count(names: Collection[str], one: str, many: str) -> str:
    return f"{len(names):,} {one if len(names) == 1 else many}"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(f"{name!r:.60}" for name in names[:_NAMED]) + more
