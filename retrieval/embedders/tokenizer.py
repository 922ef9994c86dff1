"""A model's own tokenizer, through the `tokenizers` library: offsets for sizing chunks, ids for running the model."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray


class FastTokenizer:
    """The port `Tokenizer` over a `tokenizer.json`, which `load` returns when it is first needed. Thread-safe.

    Can be pickled: the file's bytes go along, so that another process needs no model folder.
    """

    def __init__(self, load: Callable[[], bytes], *, window: int) -> None:
        self._source = load
        self._window = window
        self._lock = threading.Lock()
        self._loaded: Any = None
        self._closing = 0
        self._words: NDArray[np.bool_] = np.zeros(0, dtype=np.bool_)

    def __reduce__(self) -> "tuple[Callable[[bytes, int], FastTokenizer], tuple[bytes, int]]":
        return _unpickled, (self._source(), self._window)

    def offsets(self, text: str) -> list[tuple[int, int]]:
        spans: list[tuple[int, int]] = self._encode(text, special=False).offsets
        return spans

    def ids(self, text: str) -> NDArray[np.int64]:
        """Token ids with the model's special tokens, cut to its window; shape (tokens,)."""
        return np.array(self._cut(self._encode(text, special=True).ids), dtype=np.int64)

    def ids_and_spans(self, text: str) -> tuple[NDArray[np.int64], list[tuple[int, int]]]:
        """The same with the character span of each token; (0, 0) for a special one."""
        encoding = self._encode(text, special=True)
        return np.array(self._cut(encoding.ids), dtype=np.int64), self._cut(encoding.offsets)

    def is_word(self, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of the tokens hold a letter or a digit, special tokens not; shape (tokens,)."""
        self._load()
        return self._words[ids]

    def _cut(self, tokens: list[Any]) -> list[Any]:
        """What the model's window holds of all tokens of a text."""
        if len(tokens) > self._window:
            return tokens[: self._window - self._closing] + tokens[len(tokens) - self._closing :]
        return tokens

    def _encode(self, text: str, *, special: bool) -> Any:
        return self._load().encode(encodable(text), add_special_tokens=special)

    def _load(self) -> Any:
        with self._lock:
            if self._loaded is None:
                from tokenizers import Tokenizer  # noqa: PLC0415 - costs 50 ms that most commands need not pay

                tokenizer = Tokenizer.from_buffer(self._source())
                tokenizer.no_truncation()  # files carry the settings of whoever saved them
                tokenizer.no_padding()
                mask = tokenizer.encode("a").special_tokens_mask
                self._closing = mask[::-1].index(0)  # special tokens after the text, e.g. [SEP]
                self._words = _words(tokenizer)
                self._loaded = tokenizer
            return self._loaded


def _words(tokenizer: Any) -> NDArray[np.bool_]:
    """For each id of the vocabulary, whether its token holds a letter or a digit and is not a special one."""
    vocabulary: dict[str, int] = tokenizer.get_vocab()
    special = {number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    words = np.zeros(max(vocabulary.values(), default=0) + 1, dtype=np.bool_)
    for token, number in vocabulary.items():
        words[number] = number not in special and any(character.isalnum() for character in token)
    return words


def _unpickled(data: bytes, window: int) -> FastTokenizer:
    return FastTokenizer(lambda: data, window=window)


def encodable(text: str) -> str:
    """`text` with a "?" for each lone surrogate, which has no UTF-8; the length stays, so offsets stay right."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode("utf-8")
    return text
