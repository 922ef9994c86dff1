"""The ports of generation: what a chat model promises, whoever implements it, and what is asked of retrieval."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from generation.evidence import NO_EVIDENCE, Evidence
from generation.records import Usage
from retrieval.filters import Filter
from retrieval.ports import Embedders, Snapshot, VectorStore
from retrieval.records import Retrieval, ScoredChunk, Turn


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What is asked of a chat model. `chunks[i]` is what the messages call source i+1, cited as `[i+1]`."""

    messages: Sequence[Message]
    question: str
    chunks: Sequence[ScoredChunk]
    max_tokens: int = 512
    temperature: float = 0.0
    evidence: Evidence = NO_EVIDENCE
    """The sentences of `chunks`, scored; the extractive model composes from them."""


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of a streamed completion; the last one carries the usage."""

    text: str = ""
    usage: Usage | None = None
    stop_reason: str | None = None


class ChatModel(Protocol):
    """Writes an answer whose claims carry markers like `[2]`. Raises ChatModelError, ChatModelUnavailable."""

    @property
    def name(self) -> str:
        """Shown in answers and logs, e.g. 'extractive' or 'bedrock:amazon.nova-lite-v1:0'."""
        ...

    def stream(self, request: ChatRequest) -> Iterator[Delta]:
        """Pieces as they come; closing the iterator cancels the call."""
        ...


class Retriever(Protocol):
    """What `retrieval.retriever.Retriever` offers to an answerer."""

    @property
    def store(self) -> VectorStore: ...

    @property
    def embedders(self) -> Embedders: ...

    def retrieve(
        self,
        query: str,
        *,
        k: int = 8,
        filter: Filter | None = None,
        snapshot: Snapshot | None = None,
        history: Sequence[Turn] = (),
        explain: bool = False,
    ) -> Retrieval:
        """The k best chunks, from the snapshot given, for what `query` means after `history`; explained on demand."""
        ...
