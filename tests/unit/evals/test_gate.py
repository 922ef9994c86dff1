"""The gate: what fails, what warns, what passes; and that nothing is dropped."""

import math
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from evals.comparison.gate import GATED, compare
from evals.comparison.records import Comparison, Rules
from evals.comparison.statistics import ALPHA
from evals.runs import Run
from retrieval.errors import InvalidRequest
from tests.unit.evals.systems import METRICS, ranking, system

RULES = Rules(("nDCG@10",), ALPHA, 0.01)
BEFORE = [*np.random.default_rng(5).uniform(0.3, 0.9, 60)]


def with_loss(loss: float, *, noise: float = 0.0) -> Run:
    """Every query loses so much, with noise around it."""
    drawn = np.random.default_rng(6).normal(0.0, noise, len(BEFORE)) if noise else np.zeros(len(BEFORE))
    return system([value - loss + other for value, other in zip(BEFORE, drawn - drawn.mean(), strict=True)])


def against(candidate: Run, rules: Rules = RULES, **options: Any) -> Comparison:
    return compare(system(BEFORE), candidate, rules, **options)


@pytest.mark.parametrize(
    ("candidate", "outcome", "reason"),
    [
        (with_loss(0.03, noise=0.02), "fail", r"lost 3\.00 points \(p = 5e-05\)\.$"),
        (with_loss(0.005, noise=0.005), "warn", r"not chance, but less than the 1 points that matter\.$"),
        (with_loss(0.015, noise=0.1), "warn", r"may be chance; with 60 queries a loss of 3\.\d is seen"),
        (with_loss(0.005, noise=0.1), "pass", ""),
        (with_loss(-0.2, noise=0.02), "pass", ""),
        (with_loss(0.0), "pass", ""),
    ],
)  # fmt: skip
def test_a_failure_needs_certainty_and_size(candidate: Run, outcome: str, reason: str) -> None:
    """Both fail, one of them warns, a gain or nothing passes."""
    found = against(candidate)
    assert found.verdict.outcome == outcome
    assert bool(found.verdict.reasons) == (outcome != "pass")
    assert re.search(reason, " ".join(found.verdict.reasons))


def test_a_loss_of_just_the_minimum_fails() -> None:
    """The minimum effect belongs to what matters, whatever the last bits of the mean say."""
    assert against(system([value - 0.01 for value in BEFORE])).verdict.outcome == "fail"


def test_several_metrics_share_one_alpha() -> None:
    """A p-value that would do alone is doubled for two metrics: certain becomes uncertain."""
    losing, steady = [1.0] * 30, [1.0] * 30
    candidate = system(losing)
    # Six queries fall by a tenth: p = 1/64 = 0.0156 alone, 0.031 of two.
    per_query = {f"q{i}": {"nDCG@10": 0.4 if i < 6 else 1.0, "recall@100": steady[i], "MRR": 1.0} for i in range(30)}
    candidate = replace(candidate, per_query=per_query)
    alone = compare(system(losing), candidate, RULES)
    both = compare(system(losing), candidate, Rules(GATED, ALPHA, 0.01))
    assert alone.metrics[0].p_adjusted == pytest.approx(1 / 64)
    assert both.metrics[0].p_adjusted == pytest.approx(2 / 64)
    assert (alone.verdict.outcome, both.verdict.outcome) == ("fail", "warn")


def test_metrics_that_are_not_gated_cannot_fail() -> None:
    """They are shown after the gated ones, without an outcome."""
    found = against(with_loss(0.1, noise=0.01), Rules(("MRR",), ALPHA, 0.5))
    assert [metric.metric for metric in found.metrics] == ["MRR", "nDCG@10", "recall@100"]
    assert [metric.outcome for metric in found.metrics] == ["warn", None, None]
    assert [metric.p_adjusted is None for metric in found.metrics] == [False, True, True]


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
@pytest.mark.parametrize("side", ["baseline", "candidate"])
def test_a_value_that_is_no_number_fails(value: float | None, side: str) -> None:
    """On either side, even when all other values are better than before."""
    whole, holed = system([0.5, 0.5, 0.5]), system([0.9, value, 0.9])
    found = compare(whole, holed, RULES) if side == "candidate" else compare(holed, whole, RULES)
    assert found.verdict.outcome == "fail"
    assert f"the {side} has no" in found.verdict.reasons[0]
    assert "'q1'" in found.verdict.reasons[0]
    assert found.metrics[0].difference is None
    assert found.metrics[0].pairs == {}


def test_a_metric_that_a_side_lacks_fails() -> None:
    """Asked for by name, measured by nobody."""
    found = against(system(BEFORE), Rules(("nDCG@20",), ALPHA, 0.01))
    assert found.verdict == replace(found.verdict, outcome="fail")
    assert found.verdict.reasons == ("nDCG@20: the baseline does not have this metric.",)


def test_a_query_that_a_side_lacks_fails() -> None:
    """Neither a lost query nor one more is passed over."""
    for candidate, name in ((system([0.9, 0.9]), "baseline"), (system([0.9] * 4), "candidate")):
        found = compare(system([0.5] * 3), candidate, RULES)
        assert found.verdict.outcome == "fail"
        assert found.missing[0].startswith(f"1 query only in the {name}: 'q")
        assert found.metrics[0].difference is None


@pytest.mark.parametrize(("metrics", "enough"), [(("nDCG@10",), 6), (GATED, 7), (METRICS, 7)])
def test_too_few_queries_fail(metrics: tuple[str, ...], enough: int) -> None:
    """A gate that nothing could fail is none: with fewer, not even losing everything would be certain."""
    rules = Rules(metrics, ALPHA, 0.01)
    lost = compare(system([1.0] * enough), system([0.0] * enough), rules)
    assert lost.metrics[0].p_adjusted is not None
    assert lost.metrics[0].p_adjusted < ALPHA
    few = [0.9] * (enough - 1)
    found = compare(system(few), system(few), rules)
    assert found.verdict.outcome == "fail"
    assert found.verdict.reasons[0].endswith(f"could not show any loss, however large; take {enough} at least.")


def test_sides_without_a_shared_query_fail() -> None:
    """Two evaluations of different sets."""
    found = compare(system({"a": 0.5}), system({"b": 0.5}), RULES)
    assert found.verdict.outcome == "fail"
    assert "The sides share no query." in found.missing
    assert compare(system({}), system({}), RULES).verdict.outcome == "fail"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"queries": {"q0": "other", "q1": "text of q1"}}, "1 query with another text on each side: 'q0'."),
        ({"qrels": {"q0": {"right": 1}, "q1": {"right": 2, "wrong": 0}}}, "1 query with other judgements on each side"),
    ],
)
def test_other_questions_under_the_same_id_fail(changes: dict[str, Any], reason: str) -> None:
    """Texts and judgements have to be the same."""
    found = compare(system([0.5, 0.5]), system([0.5, 0.5], **changes), RULES)
    assert found.verdict.outcome == "fail"
    assert found.missing[0].startswith(reason)


def test_another_corpus_fails_unless_it_is_allowed() -> None:
    """Then it is noted."""
    other = system(BEFORE)
    other = replace(other, side=replace(other.side, corpus_sha256="d"))
    found = against(other)
    assert found.verdict.outcome == "fail"
    assert "--allow-different-corpus" in found.missing[0]
    allowed = against(other, replace(RULES, allow_different_corpus=True))
    assert (allowed.verdict.outcome, allowed.missing) == ("pass", ())
    assert any("not the same" in note for note in allowed.notes)


def test_settings_and_versions_that_differ_are_told() -> None:
    """By name, with both values; what is the same is not."""
    other = system(BEFORE)
    side = replace(
        other.side, settings={"retrieval.dense_weight": 0.7}, versions={"footnote": "1", "numpy": "2"}, chunks=9
    )
    found = against(replace(other, side=side))
    assert [(change.name, change.baseline, change.candidate) for change in found.changes] == [
        ("retrieval.dense_weight", 0.5, 0.7),
        ("version.numpy", None, "2"),
        ("chunks", None, 9),
    ]


def test_the_queries_that_moved_most_come_with_both_rankings() -> None:
    """The largest change first, up or down; ranks on the other side and relevance with each result."""
    found = compare(system([0.9, 0.6, 0.5, 0.4]), system([0.2, 0.7, 0.5, 0.6]), RULES, moved=2)
    assert [(moved.query_id, round(moved.difference, 9)) for moved in found.moved] == [("q0", -0.7), ("q3", 0.2)]
    first = found.moved[0]
    assert (first.text, first.metric, first.before, first.after) == ("text of q0", "nDCG@10", 0.9, 0.2)
    assert [(one.doc_id, one.rank, one.relevance, one.other_rank) for one in first.baseline] == [
        ("right", 1, 2, 2),
        ("wrong", 2, 0, 1),
    ]
    assert [(one.doc_id, one.baseline_rank, one.candidate_rank) for one in first.relevant] == [("right", 1, 2)]


def test_unjudged_results_are_noted() -> None:
    """A side that shows documents that nobody has judged may be better than it scores."""
    candidate = system([0.5, 0.5], rankings={"q0": ranking(True), "q1": [replace(ranking(True)[0], doc_id="new")]})
    found = compare(system([0.5, 0.5]), candidate, RULES)
    assert any("100 % are judged in the baseline, 67 % in the candidate" in note for note in found.notes)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (Rules((), ALPHA, 0.01), "no metric is gated"),
        (Rules(METRICS, 0.0, 0.01), r"alpha = 0\.0"),
        (Rules(METRICS, math.nan, 0.01), "alpha = nan"),
        (Rules(METRICS, ALPHA, -0.01), "minimum effect is -1 points"),
        (Rules(METRICS, ALPHA, math.nan), "minimum effect is nan points"),
    ],
)
def test_impossible_rules_are_refused(rules: Rules, message: str) -> None:
    """A gate that could never fail is none."""
    with pytest.raises(InvalidRequest, match=message):
        against(system(BEFORE), rules)


def test_equal_systems_raise_few_alarms() -> None:
    """Of 200 pairs of systems that differ by noise only, at most one in twenty fails, though noise is large."""
    rng = np.random.default_rng(8)
    alarms = 0
    for _ in range(200):
        first, second = ([*rng.normal(0.5, 0.15, 16)] for _ in range(2))
        alarms += compare(system(first), system(second), RULES, moved=0).verdict.outcome == "fail"
    assert alarms <= 10
