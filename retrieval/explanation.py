"""Why each result is where it is: the records of an explained retrieval. `Retriever.retrieve(..., explain=True)`."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class StageScore:
    """What one stage of the ranking made of one chunk."""

    stage: str
    """'lexical', 'dense', 'fused', 'feedback', ...; see docs/ranking.md."""
    rank: int
    """From 1, among all chunks that the stage ranked."""
    score: float
    """On the stage's own scale; higher is better."""


@dataclass(frozen=True, slots=True)
class CandidateTrace:
    """The way of one chunk through the stages."""

    chunk_id: str
    doc_id: str
    rank: int | None
    """Among the results, from 1; None when it is not one of them."""
    score: float | None
    """In the final ranking, that the results are taken from; None when a stage before has removed it."""
    stages: tuple[StageScore, ...]
    """Those that it came through, in their order. A stage that is missing did not have it among its candidates."""
    terms: Mapping[str, float] = field(default_factory=dict)
    """What each term of the query that the chunk holds adds to its BM25 score, most first; rounded to 6 decimals.

    Their sum is its score of the lexical stage, if it came through that, else what it would have been."""
    removed_by: str = ""
    """What took it out: 'k', 'per-document', 'duplicates', 'diversity' or 'feedback'; empty for a result."""
    reason: str = ""
    """The same in words, with numbers, e.g. 'near-identical to report:000003 (cosine 0.998)'."""


@dataclass(frozen=True, slots=True)
class QueryTerm:
    """A term that the lexical search counted."""

    term: str
    """As analysed, e.g. 'inspect' for 'inspections'."""
    weight: float
    """How often it is in the query; the whole of an identifier counts `identifier_weight` times."""
    chunks: int
    """How many chunks of the edition hold it."""
    idf: float
    """How rare it is, as BM25 counts it (`bm25.idf`); the greatest for a term that no chunk holds."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """How one query was ranked."""

    terms: tuple[QueryTerm, ...]
    """Ascending. Of a question of several parts, those of the whole."""
    stages: tuple[str, ...]
    """The stages that ran, in order."""
    candidates: tuple[CandidateTrace, ...]
    """Every chunk that any stage ranked; results first, by rank, then the others as the final ranking has them."""

    def of_document(self, doc_id: str) -> tuple[CandidateTrace, ...]:
        """The candidates of one document."""
        return tuple(trace for trace in self.candidates if trace.doc_id == doc_id)

    def left_out(self) -> dict[str, int]:
        """How many candidates are no results, by what took them out, most first."""
        counts = Counter(trace.removed_by for trace in self.candidates if trace.removed_by)
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
