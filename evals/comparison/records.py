"""The records of a comparison. Metrics are 0..1 here, as they are measured; people are shown points, 100 times as much.

`baseline` is what was there before, `candidate` what may replace it; every difference is candidate minus baseline, so
below 0 is worse.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from retrieval.explanation import Explanation

Outcome = Literal["pass", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate says: the worst outcome of all, and why."""

    outcome: Outcome
    reasons: tuple[str, ...]
    """Whole sentences, the gravest first; empty when there is nothing to say against the candidate."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the gate asks of a candidate."""

    metrics: tuple[str, ...]
    """The gated ones. The others are shown and cannot fail."""
    alpha: float
    """Chance of calling a candidate worse that is not, over all gated metrics together (one-sided)."""
    min_effect: float
    """The smallest loss that matters, 0..1."""
    allow_different_corpus: bool = False


@dataclass(frozen=True, slots=True)
class MetricComparison:
    """One metric of both sides. Numbers are None where a value is missing or no number; then `problem` says so."""

    metric: str
    gated: bool
    queries: int
    baseline: float | None = None
    """Mean over the queries."""
    candidate: float | None = None
    difference: float | None = None
    """Mean of the paired differences."""
    low: float | None = None
    """Of the confidence interval of `difference`: two-sided, at 1 - 2 * alpha, by paired bootstrap."""
    high: float | None = None
    p_permutation: float | None = None
    """That a candidate as good as the baseline would look this bad or worse (one-sided)."""
    p_adjusted: float | None = None
    """The same after Holm's correction over the gated metrics; None for the others."""
    p_bootstrap: float | None = None
    """One-sided as well, by paired bootstrap: a second opinion that the gate does not ask."""
    effect_size: float | None = None
    """Cohen's d_z: mean difference in standard deviations of the differences; None when these have no spread."""
    detectable: float | None = None
    """The loss, 0..1, that a test of this one metric would notice in four cases of five, with so many queries."""
    better: int = 0
    """Queries that the candidate ranks better."""
    worse: int = 0
    equal: int = 0
    pairs: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """(baseline, candidate) by query_id, for plots; empty when there is a problem."""
    outcome: Outcome | None = None
    """None for a metric that is not gated."""
    reason: str = ""
    """Why, as a sentence; empty when the metric passes or is not gated."""
    problem: str = ""
    """What is missing or not a number; empty when all is there."""


@dataclass(frozen=True, slots=True)
class RankedDocument:
    """One of the first ten results of a query on one side."""

    doc_id: str
    rank: int
    score: float
    relevance: int | None
    """As judged; None when nobody has judged it."""
    title: str = ""
    other_rank: int | None = None
    """Its rank on the other side; None when it is not among the results that the run keeps."""


@dataclass(frozen=True, slots=True)
class RelevantDocument:
    """A document that is judged relevant to a query, and where each side has it.

    None: not among the results that the run keeps.
    """

    doc_id: str
    relevance: int
    baseline_rank: int | None
    candidate_rank: int | None


@dataclass(frozen=True, slots=True)
class MovedQuery:
    """A query whose score changed, with what both sides answered."""

    query_id: str
    text: str
    """Empty when it is not known: a plain TREC run has ids only."""
    metric: str
    before: float
    after: float
    baseline: tuple[RankedDocument, ...]
    """At most ten, best first."""
    candidate: tuple[RankedDocument, ...]
    relevant: tuple[RelevantDocument, ...]
    """Best judged first."""
    baseline_explanation: Explanation | None = None
    """When the run was asked to keep it (`footnote eval run --explain`)."""
    candidate_explanation: Explanation | None = None

    @property
    def difference(self) -> float:
        """Below 0 when the candidate ranks it worse."""
        return self.after - self.before


@dataclass(frozen=True, slots=True)
class Side:
    """Where the numbers of one side come from. What a plain TREC run does not tell is empty or None."""

    name: str
    """For people: the data set's or collection's name, the mode, and when it was measured."""
    path: str
    mode: str
    dataset: str
    created_at: str
    """ISO 8601, UTC."""
    queries: int
    queries_sha256: str
    """Of queries and judgements."""
    corpus_sha256: str
    documents: int | None = None
    chunks: int | None = None
    p50: float | None = None
    """Seconds per query, median."""
    p95: float | None = None
    settings: Mapping[str, object] = field(default_factory=dict)
    """By dotted name, e.g. 'retrieval.dense_weight': retrieval, chunking, embedder."""
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SettingChange:
    """A setting, version or property that the sides do not share; None where a side does not have it."""

    name: str
    baseline: object
    candidate: object


@dataclass(frozen=True, slots=True)
class Comparison:
    """Baseline and candidate on the same queries."""

    verdict: Verdict
    rules: Rules
    baseline: Side
    candidate: Side
    metrics: tuple[MetricComparison, ...]
    """The gated ones first."""
    moved: tuple[MovedQuery, ...]
    """Those that changed most by the first gated metric, the largest change first."""
    changes: tuple[SettingChange, ...]
    missing: tuple[str, ...]
    """Why the sides cannot be held against each other: queries, judgements, metrics or corpus that differ; each is a
    failure."""
    notes: tuple[str, ...] = ()
    """What is worth knowing and no failure."""
