"""The chat model as a reranker: it is shown numbered chunks and writes their order (RankGPT, Sun et al. 2023).

A model reads some twenty chunks at a time with profit, so a window slides over them from the last to the first: what is
best in one window is carried into the next, and so any chunk can come first.
"""

import re
from collections.abc import Iterator, Sequence

from generation.ports import ChatModel, ChatRequest
from generation.prompt import ranking_messages
from retrieval.embedders.tokenizer import encodable
from retrieval.errors import ChatModelError, ChatModelUnavailable, RerankerError, RerankerUnavailable
from retrieval.ports import SearchView
from retrieval.records import StoredChunk

WINDOW = 20
STEP = 10
"""By how many chunks the window moves; as many are carried along. Both sizes are the paper's."""
MAX_CHUNKS = 100
"""Chunks after these keep their order: they are nine calls already."""
MAX_CHARACTERS = 2000
"""Of a chunk's text: the paper's 300 words. Twenty of them are some 10,000 tokens."""
TOKENS_PER_CHUNK = 8
"""What "[17] > " takes, generously."""
MAX_ANSWER_CHARACTERS = 50_000
"""A model that writes more has lost its way."""


class ListwiseReranker:
    """The port `Reranker` by a chat model. Thread-safe when the model is.

    A score is the rank counted from below: the worst of n chunks has 1, the best n. Chunks that the model does not
    name follow those that it does, in their former order. `max_tokens` is for one answer; a model that thinks aloud
    before it answers needs more than the order takes.
    """

    def __init__(self, model: ChatModel, *, max_tokens: int = 512) -> None:
        self.name = f"listwise:{model.name}"
        self._model = model
        self._max_tokens = max(max_tokens, TOKENS_PER_CHUNK * WINDOW)

    def rerank(
        self,
        query: str,
        chunks: Sequence[StoredChunk],
        *,
        snapshot: SearchView,  # noqa: ARG002  # texts are enough
    ) -> list[float]:
        query = encodable(query)
        order = list(range(len(chunks)))
        for begin, end in windows(min(len(chunks), MAX_CHUNKS)):
            shown = order[begin:end]
            order[begin:end] = [shown[place] for place in self._ranked(query, [chunks[row] for row in shown])]
        scores = [0.0] * len(chunks)
        for place, row in enumerate(order):
            scores[row] = float(len(chunks) - place)
        return scores

    def _ranked(self, query: str, chunks: Sequence[StoredChunk]) -> list[int]:
        """Places of the chunks in the order that the model gives them."""
        messages = ranking_messages(query, chunks, characters=MAX_CHARACTERS)
        request = ChatRequest(messages=messages, question=query, chunks=(), max_tokens=self._max_tokens)
        try:
            text = self._completion(request)
        except ChatModelUnavailable as exc:
            raise RerankerUnavailable(str(exc)) from exc
        except ChatModelError as exc:
            raise RerankerError(str(exc)) from exc
        named = parse_order(text, len(chunks))
        if not named:
            raise RerankerError(
                f"reranker {self.name!r} wrote {text[:200]!r}, which puts no chunk in order; a larger model may do "
                "better, and one that thinks aloud needs a higher generation.max_tokens"
            )
        return named + [place for place in range(len(chunks)) if place not in named]

    def _completion(self, request: ChatRequest) -> str:
        text = ""
        for delta in self._model.stream(request):
            text += delta.text
            if len(text) > MAX_ANSWER_CHARACTERS:
                break
        return text


def windows(count: int) -> Iterator[tuple[int, int]]:
    """Begin and end of the stretches to be put in order, the last one first; none where there is nothing to order."""
    end = count
    while count > 1:
        begin = max(0, end - WINDOW)
        yield begin, end
        if begin == 0:
            return
        end -= STEP


def parse_order(text: str, count: int) -> list[int]:
    """The places, from 0, that a model's text names in order: `[3] > [1]`, else the longest list like `3, 1`.

    Numbers of no chunk and repetitions are passed over, and so is what a model thinks aloud.
    """
    answer = text.rpartition("</think>")[2].partition("<think>")[0]
    numbers = _BRACKETED.findall(answer)
    if not numbers:
        numbers = _DIGITS.findall(max(_LIST.findall(answer), key=len, default=""))
    places = (int(number) - 1 for number in numbers)
    return list(dict.fromkeys(place for place in places if 0 <= place < count))


_BRACKETED = re.compile(r"\[\s*(\d{1,4})\s*\]")
_LIST = re.compile(r"\d{1,4}(?:[\s,;>]+\d{1,4})+")
_DIGITS = re.compile(r"\d{1,4}")
