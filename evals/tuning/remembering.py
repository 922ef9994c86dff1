"""Asks once what many settings ask alike: a query's vector, its searches, the chunks it found, what compares them.

Each class stands for what it wraps, and answers from memory what it was asked before. What is returned is shared
between those who ask, so none of them may change it. `forget` between queries: what one asks the next does not.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from retrieval.filters import Filter
from retrieval.ports import Embedder, Embedders, Reranker, SearchView, Snapshot, TokenEmbedder, Vectors
from retrieval.records import CollectionInfo, EmbedderInfo, Hit, StoredChunk, TermScores

Key = TypeVar("Key")
Row = TypeVar("Row")


class RememberingView:
    """A view of a collection, for searches without a filter."""

    def __init__(self, wrapped: SearchView) -> None:
        self.info: CollectionInfo = wrapped.info
        self._wrapped = wrapped
        self._answers: dict[Any, Any] = {}
        self._rows: dict[str, dict[str, Any]] = {}

    @property
    def snapshot(self) -> Snapshot:
        """The same, for those who ask for a whole snapshot and search only."""
        return cast("Snapshot", self)

    def search_dense(self, vector: Vectors, *, k: int, filter: Filter | None = None) -> list[Hit]:
        return self._once(("dense", vector.tobytes(), k), lambda: self._wrapped.search_dense(vector, k=k), filter)

    def search_lexical(self, terms: Mapping[str, float], *, k: int, filter: Filter | None = None) -> list[Hit]:
        key = ("lexical", tuple(terms.items()), k)
        return self._once(key, lambda: self._wrapped.search_lexical(terms, k=k), filter)

    def term_scores(self, terms: Mapping[str, float], chunk_ids: Sequence[str]) -> TermScores:
        key = ("terms", tuple(terms.items()), tuple(chunk_ids))
        return self._once(key, lambda: self._wrapped.term_scores(terms, chunk_ids))

    def chunks(self, chunk_ids: Sequence[str]) -> list[StoredChunk]:
        return self._each("chunks", chunk_ids, self._wrapped.chunks)

    def vectors(self, chunk_ids: Sequence[str]) -> Vectors:
        rows = self._each("vectors", chunk_ids, lambda missing: [*self._wrapped.vectors(missing)])
        return np.array(rows) if rows else self._wrapped.vectors(())

    def token_vectors(self, chunk_ids: Sequence[str]) -> list[bytes]:
        return self._each("tokens", chunk_ids, self._wrapped.token_vectors)

    def forget(self) -> None:
        """Begin anew."""
        self._answers.clear()
        self._rows.clear()

    def _once(self, key: Any, ask: Callable[[], Row], filter: Filter | None = None) -> Row:
        if filter is not None:
            raise ValueError("a filter is no part of what is remembered")
        if key not in self._answers:
            self._answers[key] = ask()
        return cast("Row", self._answers[key])

    def _each(self, what: str, keys: Sequence[str], ask: Callable[[Sequence[str]], Sequence[Row]]) -> list[Row]:
        """Every chunk that a view has found it can give, in the order asked for."""
        return _by_row(self._rows.setdefault(what, {}), keys, ask)


class RememberingEmbedder:
    """An embedder that is asked for queries."""

    def __init__(self, wrapped: Embedder) -> None:
        self._wrapped = wrapped
        self._vectors: dict[str, NDArray[np.float32]] = {}
        self.info = wrapped.info
        self.tokenizer = wrapped.tokenizer

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        return np.array(_by_row(self._vectors, texts, lambda missing: [*self._wrapped.embed_queries(missing)]))

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        return self._wrapped.embed_documents(texts)

    def forget(self) -> None:
        """Begin anew."""
        self._vectors.clear()


class RememberingTokenEmbedder(RememberingEmbedder):
    """The same of one that compares token vectors, too. What words weigh depends on the query alone."""

    def __init__(self, wrapped: Embedder, tokens: TokenEmbedder) -> None:
        super().__init__(wrapped)
        self._tokens = tokens
        self._scores: dict[str, dict[bytes, float]] = {}
        self.token_code = tokens.token_code

    def embed_documents_with_tokens(self, texts: Sequence[str]) -> tuple[Vectors, list[bytes]]:
        return self._tokens.embed_documents_with_tokens(texts)

    def token_scores(self, query: str, weights: Callable[[str], float], blobs: Sequence[bytes]) -> NDArray[np.float32]:
        known = self._scores.setdefault(query, {})
        rows = _by_row(known, blobs, lambda missing: self._tokens.token_scores(query, weights, missing).tolist())
        return np.array(rows, dtype=np.float32)

    def forget(self) -> None:
        """Begin anew."""
        super().forget()
        self._scores.clear()


class RememberingEmbedders:
    """The port `Embedders`, each of which remembers."""

    def __init__(self, wrapped: Embedders) -> None:
        self._wrapped = wrapped
        self._opened: dict[EmbedderInfo, RememberingEmbedder] = {}

    def of(self, info: EmbedderInfo) -> Embedder:
        """The embedder of `info`, remembering."""
        if info not in self._opened:
            found = self._wrapped.of(info)
            made = RememberingTokenEmbedder(found, found) if isinstance(found, TokenEmbedder) else None
            self._opened[info] = made or RememberingEmbedder(found)
        return self._opened[info]

    def forget(self) -> None:
        """Begin anew."""
        for embedder in self._opened.values():
            embedder.forget()


class RememberingReranker:
    """A reranker that scores each chunk by itself."""

    def __init__(self, wrapped: Reranker) -> None:
        self._wrapped = wrapped
        self._scores: dict[str, dict[str, float]] = {}

    @property
    def name(self) -> str:
        return self._wrapped.name

    def rerank(self, query: str, chunks: Sequence[StoredChunk], *, snapshot: SearchView) -> Sequence[float]:
        known = self._scores.setdefault(query, {})
        by_id = {found.chunk.chunk_id: found for found in chunks}

        def ask(missing: Sequence[str]) -> Sequence[float]:
            return self._wrapped.rerank(query, [by_id[chunk_id] for chunk_id in missing], snapshot=snapshot)

        return _by_row(known, [*by_id], ask)

    def forget(self) -> None:
        """Begin anew."""
        self._scores.clear()


def _by_row(known: dict[Key, Row], keys: Sequence[Key], ask: Callable[[Sequence[Key]], Sequence[Row]]) -> list[Row]:
    """What `ask` has for each key, in order; asked for those only that are not known."""
    if missing := [key for key in dict.fromkeys(keys) if key not in known]:
        known.update(zip(missing, ask(missing), strict=True))
    return [known[key] for key in keys]
