"""What all rerankers share: which text of a chunk they see, and what counts as a usable set of scores."""

import math
from collections.abc import Iterable, Sequence

from retrieval.embedders.tokenizer import encodable
from retrieval.errors import RerankerError
from retrieval.records import StoredChunk


def texts_of(chunks: Sequence[StoredChunk]) -> list[str]:
    """The text of each chunk with its title and headings before it, fit for UTF-8.

    It is what the first stage has seen. A paragraph that says "it weighs 3 kg" can only be judged with the heading
    that says what does, and the models were trained on passages with their titles.
    """
    return [encodable(stored.chunk.indexed_text) for stored in chunks]


def checked(scores: Iterable[float], name: str, count: int) -> list[float]:
    """`scores` as plain numbers. Raises RerankerError unless they are `count` finite ones."""
    numbers = [float(score) for score in scores]
    if len(numbers) != count:
        raise RerankerError(f"reranker {name!r} gave {len(numbers)} scores for {count} chunks")
    for place, number in enumerate(numbers):
        if not math.isfinite(number):
            raise RerankerError(f"reranker {name!r} gave the score {number!r} for chunk {place + 1} of {count}")
    return numbers


def by_index(results: Iterable[tuple[object, object]], name: str, count: int) -> list[float]:
    """The scores of a service's (index, score) pairs, in the order of what was sent.

    Raises RerankerError unless every index from 0 to `count` - 1 comes exactly once, with a finite number.
    """
    scores: dict[int, float] = {}
    for index, score in results:
        if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < count:
            raise RerankerError(f"reranker {name!r} answered with index {index!r}; it was sent {count} texts")
        if index in scores:
            raise RerankerError(f"reranker {name!r} answered twice with index {index!r}")
        if not isinstance(score, int | float) or isinstance(score, bool):
            raise RerankerError(f"reranker {name!r} gave the score {score!r}, which is no number")
        scores[index] = _float(score)
    if len(scores) < count:
        missing = min(set(range(count)) - scores.keys())
        raise RerankerError(
            f"reranker {name!r} gave {len(scores)} scores for {count} texts; index {missing} is missing"
        )
    return checked((scores[index] for index in range(count)), name, count)


def _float(number: float) -> float:
    """JSON's integers have no bounds; those that no float can hold are infinite."""
    try:
        return float(number)
    except OverflowError:
        return math.inf
