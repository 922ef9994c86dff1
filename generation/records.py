"""The records of an answer: sentences, each with the citations that were verified for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from retrieval.records import QueryPlan, ScoredChunk


@dataclass(frozen=True, slots=True)
class Citation:
    """A footnote: `quote` is `text[start:end]` of the document `doc_id` in `version`, verbatim."""

    doc_id: str
    source_uri: str
    title: str
    version: str
    chunk_id: str
    start: int
    end: int
    page: int | None
    quote: str
    support: float
    """How far the quote supports the sentence, 0..1; 1 when the sentence is in it word for word."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence of an answer; an uncited one has no citations and says so."""

    text: str
    citations: tuple[Citation, ...] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """What a model call cost."""

    input_tokens: int = 0
    output_tokens: int = 0


AnswerStatus = Literal["answered", "declined"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What `Answerer.answer` returns.

    A declined answer has no citations; its one sentence says why. `evidence` is the score that the decision to
    answer or to decline was made on, 0..1, higher is more likely answerable.
    """

    question: str
    collection: str
    status: AnswerStatus
    sentences: tuple[Sentence, ...]
    evidence: float
    model: str
    dropped_citations: int = 0
    """Citations that the model gave and that could not be verified; they were removed."""
    usage: Usage = Usage()
    timings: Mapping[str, float] = field(default_factory=dict)
    """Seconds by stage."""
    retrieved: Sequence[ScoredChunk] = ()
    plan: QueryPlan = field(default_factory=lambda: QueryPlan(""))
    """What was searched for in place of the question."""
    notes: tuple[str, ...] = ()
    """What did not go as configured, and what the chat model was not shown; for people."""

    @property
    def text(self) -> str:
        """The answer as prose, without markers."""
        return " ".join(sentence.text for sentence in self.sentences)


@dataclass(frozen=True, slots=True)
class SentenceEvent:
    """Of a streamed answer: the next sentence, complete, its citations verified."""

    sentence: Sentence


@dataclass(frozen=True, slots=True)
class AnswerEvent:
    """Of a streamed answer: the last event, the answer as a whole; its sentences are those that were streamed."""

    answer: Answer


AnswerStream = SentenceEvent | AnswerEvent
