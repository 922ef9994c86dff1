"""What an explanation says is true: ranks, scores, terms, and what took each candidate out."""

import random
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from retrieval import fusion
from retrieval.build import build_collections, build_embedders
from retrieval.explanation import Explanation
from retrieval.ports import VectorStore
from retrieval.records import Hit, QueryPlan, Retrieval, StoredChunk, Turn
from retrieval.retriever import Retriever
from retrieval.settings import RetrievalSettings
from tests.corpus import replacement
from tests.fakes import FakeEmbedder

WORDS = "pump valve bearing seal pressure filter coolant gauge manual inspect replace torque".split()
QUERIES = ("pump pressure valve", "replace the filter and the seal", "torque torque gauge", "nothing known", "pump")
SETTINGS: tuple[dict[str, Any], ...] = (
    {},
    {"fusion": "rrf", "candidates": 7},
    {"mode": "dense", "candidates": 9},
    {"mode": "lexical"},
    {"feedback_weight": 0.9, "candidates": 6},
    {"feedback_weight": 0.0, "late_weight": 0.0},
    {"neighbour_weight": 0.5},
    {"per_document": 1, "candidates": 30},
    {"diversity": 0.7, "candidates": 40},
    {"deduplicate": False, "candidates": 40},
)
REASONS = {"k", "per-document", "duplicates", "diversity", "feedback"}


class WordCount:
    """Reranks by length."""

    @property
    def name(self) -> str:
        return "word-count"

    def rerank(self, query: str, chunks: Sequence[StoredChunk], *, snapshot: Any) -> list[float]:
        return [float(len(found.chunk.text.split())) for found in chunks]


@pytest.fixture(scope="module")
def store() -> Iterator[VectorStore]:
    """Twenty documents of four chunks, token vectors kept; two of them the same."""
    embedder = FakeEmbedder(token_code="fake")
    collections = build_collections(RetrievalSettings(store="memory"))
    collections.create("c", embedder=embedder.info, token_code=embedder.token_code)
    opened = collections.open("c", writable=True)
    draw = random.Random(3)
    texts = [[" ".join(draw.choices(WORDS, k=draw.randint(3, 15))) for _ in range(4)] for _ in range(20)]
    texts[7] = texts[4]
    opened.replace([replacement(f"d{number:02d}", one, embedder=embedder) for number, one in enumerate(texts)])
    yield opened
    opened.close()


def explained(store: VectorStore, query: str, settings: dict[str, Any], k: int = 5) -> tuple[Retrieval, Explanation]:
    embedder = FakeEmbedder(token_code="fake")
    embedders = build_embedders(RetrievalSettings(), embedder)
    reranker = WordCount() if settings.get("rerank_weight") else None
    retriever = Retriever(store, embedders, RetrievalSettings(**settings), reranker=reranker)
    found = retriever.retrieve(query, k=k, explain=True)
    assert found.explanation is not None
    return found, found.explanation


def rankings(explanation: Explanation) -> dict[str, list[Hit]]:
    """Those of the stages, put together again from the candidates."""
    ranked: dict[str, dict[int, Hit]] = {stage: {} for stage in explanation.stages}
    for trace in explanation.candidates:
        for one in trace.stages:
            assert one.rank not in ranked[one.stage]
            ranked[one.stage][one.rank] = Hit(trace.chunk_id, one.score)
    return {stage: [hits[rank] for rank in sorted(hits)] for stage, hits in ranked.items()}


@pytest.mark.parametrize("settings", [*SETTINGS, {"rerank_weight": 0.5, "rerank_candidates": 10}], ids=str)
@pytest.mark.parametrize("query", QUERIES)
def test_every_candidate_is_accounted_for(store: VectorStore, query: str, settings: dict[str, Any]) -> None:
    """Ranks of each stage run from 1 without a gap, the results are the results, and the others say what took them."""
    found, explanation = explained(store, query, settings)
    for stage, hits in rankings(explanation).items():
        ranks = [one.rank for trace in explanation.candidates for one in trace.stages if one.stage == stage]
        assert sorted(ranks) == list(range(1, len(hits) + 1))
        scores = [hit.score for hit in hits]
        assert stage == "diversity" or scores == sorted(scores, reverse=True)
    results = [trace for trace in explanation.candidates if trace.rank is not None]
    assert [(trace.chunk_id, trace.score) for trace in results] == [
        (scored.chunk.chunk_id, scored.score) for scored in found.chunks
    ]
    assert [trace.rank for trace in results] == list(range(1, len(found.chunks) + 1))
    for trace in explanation.candidates:
        assert (trace.removed_by == "") == (trace.rank is not None)
        assert trace.rank is not None or (trace.removed_by in REASONS and trace.reason)
    assert sum(explanation.left_out().values()) == len(explanation.candidates) - len(results)


@pytest.mark.parametrize("query", QUERIES)
def test_terms_add_up_to_the_lexical_score(store: VectorStore, query: str) -> None:
    """To rounding; and no term is told of a chunk that does not hold it."""
    found, explanation = explained(store, query, {})
    for trace in explanation.candidates:
        lexical = [one.score for one in trace.stages if one.stage == "lexical"]
        assert sum(trace.terms.values()) == pytest.approx(lexical[0] if lexical else 0.0, abs=1e-5)
        assert list(trace.terms.values()) == sorted(trace.terms.values(), reverse=True)
    assert {term.term for term in explanation.terms} >= {t for trace in explanation.candidates for t in trace.terms}
    assert found.chunks


@pytest.mark.parametrize("fused_by", ["convex", "rrf"])
@pytest.mark.parametrize("query", QUERIES[:3])
def test_the_fused_score_can_be_computed_again(store: VectorStore, query: str, fused_by: str) -> None:
    """From the rankings that the explanation tells of, by the formula that is documented."""
    _, explanation = explained(store, query, {"fusion": fused_by})
    told = rankings(explanation)
    lexical, dense = told["lexical"], told["feedback"]
    if fused_by == "rrf":
        again = fusion.rrf([lexical, dense])
    else:
        padded = fusion.with_zeros(lexical, dense)
        again = fusion.convex([padded, dense], [0.5, 0.5], normalization="z-score")
    assert again == told["fused"]


class Halves:
    """A planner that takes every question for two."""

    def plan(self, query: str, *, history: Sequence[Turn] = (), language: str = "english") -> QueryPlan:
        return QueryPlan(query, parts=("coolant gauge", "inspect the bearing"), planner="halves")


@pytest.mark.parametrize("query", QUERIES)
def test_a_question_of_several_parts_is_accounted_for(store: VectorStore, query: str) -> None:
    """The ranking of the whole and of each part fuse to the last one; terms are those of the whole."""
    embedders = build_embedders(RetrievalSettings(), FakeEmbedder(token_code="fake"))
    retriever = Retriever(store, embedders, RetrievalSettings(candidates=12), planner=Halves())
    explanation = retriever.retrieve(query, k=3, explain=True).explanation
    assert explanation is not None
    told = rankings(explanation)
    whole = told["blended"]
    again = fusion.rrf([whole, told["part 1"], told["part 2"]])
    assert [hit.chunk_id for hit in again] == [hit.chunk_id for hit in told["parts"]]
    assert [hit.score for hit in again] == pytest.approx([hit.score for hit in told["parts"]])
    lexical = {hit.chunk_id: hit.score for hit in told["lexical"]}
    for trace in explanation.candidates:
        assert (trace.removed_by == "") == (trace.rank is not None)
        if trace.chunk_id in lexical:
            assert sum(trace.terms.values()) == pytest.approx(lexical[trace.chunk_id], abs=1e-5)


def test_what_feedback_loses_is_not_laid_on_k(store: VectorStore) -> None:
    """A chunk of the first dense search alone says so, and has no final score."""
    _, explanation = explained(store, "pump pressure valve", {"feedback_weight": 0.9, "candidates": 6}, k=2)
    lost = [trace for trace in explanation.candidates if trace.removed_by == "feedback"]
    assert lost
    for trace in lost:
        assert [one.stage for one in trace.stages][:1] == ["dense"]
        assert not {"feedback", "lexical"} & {one.stage for one in trace.stages}
        assert trace.score is None


def test_a_duplicate_names_the_better_one(store: VectorStore) -> None:
    """And the better one is a result, or was ranked above it."""
    found, explanation = explained(store, "pump pressure valve", {"candidates": 80}, k=10)
    removed = [trace for trace in explanation.candidates if trace.removed_by == "duplicates"]
    assert removed
    places = {trace.chunk_id: trace.score or 0.0 for trace in explanation.candidates}
    for trace in removed:
        other = trace.reason.split()[-1]
        assert trace.doc_id in ("d04", "d07")
        assert places[other] >= places[trace.chunk_id]
    assert found.chunks


def test_below_k_is_below_every_result(store: VectorStore) -> None:
    """With marginal relevance, too: what it passes over is said to be left out by it."""
    for settings in SETTINGS:
        found, explanation = explained(store, "pump pressure valve", settings)
        lowest = min(scored.score for scored in found.chunks)
        assert all((t.score or 0.0) <= lowest for t in explanation.candidates if t.removed_by == "k"), settings
