"""What many settings ask alike is asked once, and answered as without a memory."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from evals.tuning.remembering import RememberingEmbedders, RememberingReranker, RememberingView
from retrieval import filters
from retrieval.build import build_collections
from retrieval.ports import Embedder, SearchView, Snapshot, TokenEmbedder
from retrieval.records import EmbedderInfo, StoredChunk
from retrieval.settings import RetrievalSettings
from tests.corpus import replacement
from tests.fakes import FakeEmbedder

EMBEDDER = FakeEmbedder(token_code="words")
IDS = ["a:000000", "a:000001", "b:000000"]


class Counting:
    """Passes everything on, and counts the calls by name; of lists of chunks or texts it counts the members."""

    def __init__(self, wrapped: object) -> None:
        self._wrapped = wrapped
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._wrapped, name)
        if not callable(value):
            return value

        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls[name] += len(args[0]) if isinstance(args[0], list) else 1
            return value(*args, **kwargs)

        return call


class Opened:
    """One embedder for all."""

    def __init__(self, embedder: Any) -> None:
        self.embedder = embedder

    def of(self, info: EmbedderInfo) -> Embedder:
        found: Embedder = self.embedder
        return found


class LengthReranker:
    """Longer is better."""

    name = "length"

    def __init__(self) -> None:
        self.scored: list[str] = []

    def rerank(self, query: str, chunks: Sequence[StoredChunk], *, snapshot: SearchView) -> list[float]:
        self.scored += [found.chunk.chunk_id for found in chunks]
        return [float(len(found.chunk.text)) for found in chunks]


@pytest.fixture
def snapshot() -> Iterator[Snapshot]:
    collections = build_collections(RetrievalSettings(store="memory"))
    collections.create("c", embedder=EMBEDDER.info, token_code="words")
    store = collections.open("c", writable=True)
    texts = {"a": ["The pump starts at 40 bar.", "Clean the filter weekly."], "b": ["The pump is red."]}
    store.replace([replacement(doc_id, parts, embedder=EMBEDDER) for doc_id, parts in texts.items()])
    with store.snapshot() as opened:
        yield opened
    store.close()


def test_a_view_answers_as_the_one_it_stands_for(snapshot: Snapshot) -> None:
    """Every search and every part of a chunk, the first time and from memory."""
    view, terms = RememberingView(snapshot), {"pump": 1.0}
    vector = EMBEDDER.embed_queries(["red pump"])[0]
    for _ in range(2):
        assert view.info == snapshot.info
        assert view.search_dense(vector, k=2) == snapshot.search_dense(vector, k=2)
        assert view.search_dense(vector, k=3) == snapshot.search_dense(vector, k=3)
        assert view.search_lexical(terms, k=3) == snapshot.search_lexical(terms, k=3)
        assert view.chunks(IDS) == snapshot.chunks(IDS)
        assert view.token_vectors(IDS[::-1]) == snapshot.token_vectors(IDS[::-1])
        assert np.array_equal(view.vectors(IDS[1:]), snapshot.vectors(IDS[1:]))
        assert view.vectors([]).shape == snapshot.vectors([]).shape
        known, asked = view.term_scores(terms, IDS), snapshot.term_scores(terms, IDS)
        assert np.array_equal(known.idf, asked.idf)


def test_a_view_asks_once(snapshot: Snapshot) -> None:
    """Chunks that were seen are not read again, even in another order; after `forget` they are."""
    counting = Counting(snapshot)
    view: Any = RememberingView(counting)
    for _ in range(2):
        view.search_lexical({"pump": 1.0}, k=3)
        view.chunks(IDS[:2])
        view.chunks(IDS[::-1])
    assert counting.calls == {"search_lexical": 1, "chunks": 3}
    view.forget()
    view.chunks(IDS)
    assert counting.calls["chunks"] == 6


def test_a_view_remembers_no_filtered_search(snapshot: Snapshot) -> None:
    """It would be another one's answer."""
    with pytest.raises(ValueError, match="filter"):
        RememberingView(snapshot).search_lexical({"pump": 1.0}, k=3, filter=filters.parse({"kind": "manual"}))


def test_an_embedder_embeds_and_compares_once(snapshot: Snapshot) -> None:
    """The same vectors and scores; whoever looks for token vectors finds that it has them."""
    counting = Counting(EMBEDDER)
    embedders = RememberingEmbedders(Opened(counting))
    assert isinstance(embedders.of(EMBEDDER.info), TokenEmbedder)
    embedder: Any = embedders.of(EMBEDDER.info)
    blobs = snapshot.token_vectors(IDS)
    for _ in range(2):
        assert np.array_equal(embedder.embed_queries(["red pump"]), EMBEDDER.embed_queries(["red pump"]))
        assert embedder.token_scores("red pump", len, blobs).tolist() == [4.0, 0.0, 7.0]
        assert embedder.token_scores("red pump", len, blobs[::-1]).tolist() == [7.0, 0.0, 4.0]
    assert counting.calls == {"embed_queries": 1, "token_scores": 1}
    embedders.forget()
    embedder.embed_queries(["red pump"])
    assert counting.calls["embed_queries"] == 2


def test_an_embedder_without_token_vectors_claims_none() -> None:
    """Late interaction is left out, as without a memory."""

    class Plain:
        info, tokenizer = EMBEDDER.info, EMBEDDER.tokenizer
        embed_queries, embed_documents = EMBEDDER.embed_queries, EMBEDDER.embed_documents

    assert not isinstance(RememberingEmbedders(Opened(Plain())).of(EMBEDDER.info), TokenEmbedder)


def test_a_reranker_scores_each_chunk_once(snapshot: Snapshot) -> None:
    """In the order asked for, whoever asks, and once more for another query."""
    reranker = LengthReranker()
    remembering, stored = RememberingReranker(reranker), snapshot.chunks(IDS)
    assert remembering.rerank("q", stored[:2], snapshot=snapshot) == [26.0, 24.0]
    assert remembering.rerank("q", stored[::-1], snapshot=snapshot) == [16.0, 24.0, 26.0]
    assert reranker.scored == IDS
    remembering.rerank("other", stored, snapshot=snapshot)
    assert reranker.scored == IDS * 2
