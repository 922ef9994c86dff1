"""Which sentences of the retrieved chunks answer the question, and whether any does: scores that decide to decline.

Each sentence is described by a few numbers between 0 and 1 (see `SENTENCE_FEATURES`), the whole by a few more
(`QUESTION_FEATURES`); two logistic models weigh them. The weights are in `weights.py`, with how they were fitted.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from generation import questions, weights
from generation.passages import Passage, context, passages
from retrieval.analysis import Analyzer
from retrieval.ports import Embedder, Vectors
from retrieval.records import ScoredChunk

MAX_CANDIDATES = 28
"""Sentences that are embedded per question: some 70 ms on one core. The others have few words of the question and
come late: on SQuAD the answers are the same as with 60."""

Features = NDArray[np.float64]

SENTENCE_FEATURES = ("cosine", "coverage", "near", "rank", "chunk", "typed", "novel")
"""Of a sentence: cosine to the question; share of the question's terms in it, and in it with its neighbours, title and
headings; one over its chunk's rank; the best cosine in its chunk; whether it has a thing of the kind asked for; how
many terms it adds."""

QUESTION_FEATURES = ("cosine", "coverage", "covered", "names", "numbers", "negation")
"""Of a question: the highest cosine of a sentence; the best sentence's coverage, and its chunk's; the shares of the
question's names and numbers that the chunk has; and whether the question negates and the best sentence does not."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A sentence that may answer: `document.text[start:end]`, in `chunks[source - 1]`."""

    source: int
    doc_id: str
    start: int
    end: int
    text: str
    terms: frozenset[str]
    cosine: float
    """Of the question and the sentence with its title, -1..1."""
    coverage: float
    """The share of the question's content terms that are in the sentence, each weighted by its rarity, 0..1."""
    previous: int | None
    """Where the sentence before it starts, when it is in the same paragraph of the same chunk."""
    score: float
    """How likely it holds the answer, 0..1, against the other sentences retrieved."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a question before anything is written."""

    score: float
    """How likely the documents answer the question, 0..1."""
    candidates: tuple[Candidate, ...]
    """Best first."""
    missing: tuple[str, ...] = ()
    """Content words of the question, as written there, that the best chunk does not have."""


def combined(parts: Sequence[Evidence]) -> Evidence:
    """The evidence of a question that consists of others: the best sentence of each comes first, and then the next.

    A sentence's score becomes its share of the best one's of its part, for what answers one part well may be of no use
    to another. The whole is as likely answered as its likeliest part.
    """
    best: dict[tuple[str, int], Candidate] = {}
    for evidence in parts:
        for candidate in evidence.candidates:
            place = candidate.doc_id, candidate.start
            scaled = replace(candidate, score=round(candidate.score / (evidence.candidates[0].score or 1.0), 4))
            if place not in best or best[place].score < scaled.score:
                best[place] = scaled
    return Evidence(
        score=max((evidence.score for evidence in parts), default=0.0),
        candidates=tuple(sorted(best.values(), key=lambda candidate: -candidate.score)),
        missing=tuple(dict.fromkeys(word for evidence in parts for word in evidence.missing)),
    )


def located(evidence: Evidence, passages: Sequence[ScoredChunk]) -> Evidence:
    """The same evidence with the numbers that its sentences have in `passages`; without those that are not there."""
    found = []
    for candidate in evidence.candidates:
        for number, passage in enumerate(passages, start=1):
            chunk = passage.chunk
            if chunk.doc_id == candidate.doc_id and chunk.start <= candidate.start and candidate.end <= chunk.end:
                found.append(replace(candidate, source=number))
                break
    return replace(evidence, candidates=tuple(found))


NO_EVIDENCE = Evidence(0.0, ())


class Assessor:
    """Scores sentences with one embedder. Thread-safe when the embedder is."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    def assess(
        self, question: str, chunks: Sequence[ScoredChunk], *, analyzer: Analyzer, query_vector: Vectors | None = None
    ) -> Evidence:
        """The evidence in `chunks` (best first). `query_vector` has shape (dimension,); made here when not given."""
        pool = self.describe(question, chunks, analyzer=analyzer, query_vector=query_vector)
        if not pool.sentences:
            return Evidence(0.0, (), pool.asked.words_of(pool.asked.terms))
        scores = _logistic(pool.features, weights.SENTENCE)
        order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
        best = pool.sentences[order[0]]
        return Evidence(
            score=round(float(_logistic(pool.question_features(scores)[None], weights.QUESTION)[0]), 4),
            candidates=tuple(pool.candidate(i, scores[i]) for i in order),
            missing=pool.asked.words_of(pool.asked.terms - pool.chunk_terms[best.source - 1]),
        )

    def describe(
        self, question: str, chunks: Sequence[ScoredChunk], *, analyzer: Analyzer, query_vector: Vectors | None = None
    ) -> "Pool":
        """The sentences with their features, before any weights: what the weights are fitted on."""
        pool = Pool(questions.read(question, analyzer), chunks, analyzer)
        if pool.sentences:
            vector = self._embedder.embed_queries([question])[0] if query_vector is None else query_vector
            vectors = self._embedder.embed_documents([item.embedded for item in pool.sentences])
            pool.weigh(vectors @ vector)
        return pool


class Pool:
    """The sentences of the retrieved chunks, described by numbers."""

    features: Features
    """Shape (sentences, len(SENTENCE_FEATURES)); set by `weigh`."""

    def __init__(self, asked: questions.Question, chunks: Sequence[ScoredChunk], analyzer: Analyzer) -> None:
        self.asked = asked
        contexts = [frozenset(analyzer.terms(context(scored))) for scored in chunks]
        everything = passages(chunks, analyzer, asked=asked.terms)
        self.chunk_terms = [
            known.union(*(item.terms | item.near for item in everything if item.source == number))
            for number, known in enumerate(contexts, start=1)
        ]
        frequency = Counter(term for item in everything for term in item.terms & asked.terms)
        # Smoothed so that a term in every sentence still counts a little, and one in none counts most.
        self.rarity = {term: math.log(1 + (len(everything) + 1) / (frequency[term] + 0.5)) for term in asked.terms}
        self.sentences = self._foremost(everything)

    def _foremost(self, everything: list[Passage]) -> list[Passage]:
        """The sentences worth embedding, in the order given."""
        if len(everything) <= MAX_CANDIDATES:
            return everything
        value = [
            self._share(item.terms) + 0.5 * self._share(item.terms | item.near) + 0.5 / item.source
            for item in everything
        ]
        keep = sorted(range(len(everything)), key=lambda i: (-value[i], i))[:MAX_CANDIDATES]
        return [everything[i] for i in sorted(keep)]

    def _share(self, terms: frozenset[str]) -> float:
        total = sum(self.rarity.values())
        return sum(self.rarity[term] for term in terms & self.asked.terms) / total if total else 0.0

    def weigh(self, cosines: Vectors) -> None:
        """Make the features, from the cosine of each sentence and the question."""
        best_of_chunk: dict[int, float] = {}
        for item, cosine in zip(self.sentences, cosines, strict=True):
            best_of_chunk[item.source] = max(best_of_chunk.get(item.source, -1.0), float(cosine))
        rows = [
            (
                float(cosine),
                self._share(item.terms),
                self._share(item.terms | item.near),
                1 / item.source,
                best_of_chunk[item.source],
                self.asked.answered_by(item.text),
                min(1.0, len(item.terms - self.asked.terms) / 8),
            )
            for item, cosine in zip(self.sentences, cosines, strict=True)
        ]
        self.features = np.array(rows, dtype=np.float64)

    def candidate(self, i: int, score: float) -> Candidate:
        """Sentence number `i` as the outside sees it."""
        item = self.sentences[i]
        return Candidate(
            source=item.source,
            doc_id=item.doc_id,
            start=item.start,
            end=item.end,
            text=item.text,
            terms=item.terms,
            cosine=round(float(self.features[i, 0]), 4),
            coverage=round(float(self.features[i, 1]), 4),
            previous=item.previous,
            score=round(float(score), 4),
        )

    def question_features(self, scores: Features) -> Features:
        """Shape (len(QUESTION_FEATURES),): of the best sentence and its chunk."""
        features, order = self.features, np.argsort(-scores, kind="stable")
        best = self.sentences[order[0]]
        there = self.chunk_terms[best.source - 1]
        row = (
            float(features[:, 0].max()),
            float(features[order[0], 1]),
            self._share(there),
            _part(self.asked.names, there),
            _part(self.asked.numbers, there),
            float(self.asked.negated and not questions.negates(best.text, loosely=True)),
        )
        return np.array(row, dtype=np.float64)


def _part(wanted: frozenset[str], there: frozenset[str]) -> float:
    """The share of `wanted` that is there; 1 when nothing is wanted."""
    return len(wanted & there) / len(wanted) if wanted else 1.0


def _logistic(features: Features, model: Mapping[str, float]) -> Features:
    """Shape (rows,), 0..1. The model's last entry is the intercept."""
    values = np.array(list(model.values()), dtype=np.float64)
    result: Features = 1 / (1 + np.exp(-(features @ values[:-1] + values[-1])))
    return result
