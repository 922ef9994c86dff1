"""The port of generation: what a chat model promises, whoever implements it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from generation.records import Usage
from retrieval.records import ScoredChunk


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
