"""Fakes that behave: small, deterministic stand-ins that keep the promises of the ports."""

import re
import zlib
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from retrieval.ports import Vectors
from retrieval.records import EmbedderInfo

_WORD = re.compile(r"\w+|[^\w\s]")


class WordTokenizer:
    """One token per word or punctuation mark."""

    def offsets(self, text: str) -> list[tuple[int, int]]:
        return [match.span() for match in _WORD.finditer(text)]


class FakeEmbedder:
    """Hashed bag of words: texts that share words are near each other, equal texts are equal. No model, no files.

    With a `token_code`, it gives token vectors, too: the hashes of a text's words, four bytes each, after one more.
    """

    def __init__(self, dimension: int = 64, window: int = 256, name: str = "fake", token_code: str = "") -> None:
        self.info = EmbedderInfo(name=name, sha256="0" * 64, dimension=dimension, window=window)
        self.tokenizer = WordTokenizer()
        self.token_code = token_code

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        return self.embed_documents(texts)

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        vectors = np.zeros((len(texts), self.info.dimension), dtype=np.float32)
        for row, text in zip(vectors, texts, strict=True):
            for word in _WORD.findall(text.lower()):
                code = zlib.crc32(word.encode("utf-8"))
                row[code % self.info.dimension] += 1.0 if code & 1 << 20 else -1.0
            row[0] += 1e-3  # so that no text has a zero vector
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors

    def embed_documents_with_tokens(self, texts: Sequence[str]) -> tuple[Vectors, list[bytes]]:
        return self.embed_documents(texts), [b"T" + b"".join(map(_code, _WORD.findall(text.lower()))) for text in texts]

    def token_scores(self, query: str, weights: Callable[[str], float], blobs: Sequence[bytes]) -> NDArray[np.float32]:
        """The weights of the words that a text shares with the query."""
        words = _WORD.findall(query.lower())
        held = [{blob[i : i + 4] for i in range(1, len(blob), 4)} for blob in blobs]
        return np.array([sum(weights(w) for w in words if _code(w) in codes) for codes in held], dtype=np.float32)


def _code(word: str) -> bytes:
    return zlib.crc32(word.encode("utf-8")).to_bytes(4, "little")
