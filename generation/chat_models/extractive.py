"""The default chat model: composes the answer from sentences of the sources, so it cannot make anything up."""

from collections.abc import Iterator, Sequence

from generation.evidence import Assessor, Candidate
from generation.markers import escape
from generation.ports import ChatRequest, Delta
from retrieval.analysis import analyzer

RELATIVE_SCORE = 0.3
"""A sentence joins the answer when its score is at least this share of the best one's."""

SAME = 0.6
"""Two sentences that share this part of the terms of the shorter one say the same."""


class ExtractiveModel:
    """Writes the best sentences of the sources, each with its marker, in reading order within a document."""

    name = "extractive"

    def __init__(self, assessor: Assessor, *, max_sentences: int = 3, language: str = "english") -> None:
        self._assessor = assessor
        self._max_sentences = max_sentences
        self._language = language

    def stream(self, request: ChatRequest) -> Iterator[Delta]:
        evidence = request.evidence or self._assessor.assess(
            request.question, request.chunks, analyzer=analyzer(self._language)
        )
        for candidate in compose(evidence.candidates, max_sentences=self._max_sentences):
            text = " ".join(escape(candidate.text).split())
            yield Delta(f"{text} [{candidate.source}]\n")
        yield Delta(stop_reason="end")


def compose(candidates: Sequence[Candidate], *, max_sentences: int) -> list[Candidate]:
    """The sentences of the answer in the order to be read, from candidates that are sorted best first.

    Taken while they add something: near-duplicates of what is there are left out, and so is what scores far below the
    best. Documents come in the order of their best sentence, sentences of one document in its own order.
    """
    chosen: list[Candidate] = []
    for candidate in candidates:
        if len(chosen) == max_sentences or (chosen and candidate.score < RELATIVE_SCORE * chosen[0].score):
            break
        if not any(_same(candidate, other) for other in chosen):
            chosen.append(candidate)
    documents = list(dict.fromkeys(candidate.doc_id for candidate in chosen))
    return sorted(chosen, key=lambda candidate: (documents.index(candidate.doc_id), candidate.start))


def _same(one: Candidate, other: Candidate) -> bool:
    shorter = min(len(one.terms), len(other.terms))
    return len(one.terms & other.terms) > SAME * shorter and len(one.terms ^ other.terms) < shorter
