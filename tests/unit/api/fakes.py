"""Stand-ins for what lies behind the routes: two small documents, a retriever that finds all, a scripted answerer."""

import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import numpy as np

from generation.records import Answer, AnswerEvent, AnswerStream, Citation, Sentence, SentenceEvent
from retrieval import filters
from retrieval.build import build_embedders
from retrieval.errors import CollectionExists, CollectionNotFound, DocumentNotFound, InvalidQuery
from retrieval.explanation import CandidateTrace, Explanation, QueryTerm, StageScore
from retrieval.filters import Filter
from retrieval.ports import DEFAULT_CHUNKING, Keeper, Replacement, Snapshot, Vectors, VectorStore
from retrieval.records import (
    Chunk,
    Chunking,
    CollectionInfo,
    Document,
    DocumentInfo,
    Edition,
    EmbedderInfo,
    Hit,
    QueryPlan,
    Retrieval,
    ScoredChunk,
    SourceRecord,
    SourceStatus,
    StoredChunk,
    TermScores,
    Turn,
    chunk_id,
)
from retrieval.settings import RetrievalSettings
from tests.fakes import FakeEmbedder

DOCUMENTS = (
    Document(
        "doc-a", "file:///a.md", "Buoys", "text/markdown", "Buoys are red. Käse 🧀 is not.",
        metadata={"year": 2024},
    ),
    Document(
        "doc-b", "file:///b.pdf", "Lights", "application/pdf", "Lights blink.\fTwice.", page_starts=(0, 14),
        metadata={"year": 2025, "tags": ("sea", "night")},
    ),
)  # fmt: skip


class FakeStore:
    """A store and its only snapshot: the documents given, each of one chunk."""

    def __init__(self, documents: Sequence[Document] = DOCUMENTS) -> None:
        self.by_id = {document.doc_id: document for document in documents}
        self.closed = False
        self.dropped = False

    @property
    def info(self) -> CollectionInfo:
        names = sorted({name for document in self.by_id.values() for name in document.metadata})
        size = len(self.by_id)
        edition = Edition(1, FakeEmbedder().info, Chunking(), size, size, "2026-11-01T12:00:00+00:00")
        return CollectionInfo("demo", "english", size, 1, tuple(names), edition, 1, (edition,))

    def snapshot(self, *, edition: int | None = None) -> AbstractContextManager[Snapshot]:
        if self.dropped:
            raise CollectionNotFound("collection 'demo' was dropped since it was opened; open it again")
        return nullcontext(self)

    def search_dense(self, vector: Vectors, *, k: int, filter: Filter | None = None) -> list[Hit]:
        raise NotImplementedError

    def search_lexical(self, terms: Mapping[str, float], *, k: int, filter: Filter | None = None) -> list[Hit]:
        raise NotImplementedError

    def chunks(self, chunk_ids: Sequence[str]) -> list[StoredChunk]:
        raise NotImplementedError

    def vectors(self, chunk_ids: Sequence[str]) -> Vectors:
        raise NotImplementedError

    def term_scores(self, terms: Mapping[str, float], chunk_ids: Sequence[str]) -> TermScores:
        raise NotImplementedError

    def token_vectors(self, chunk_ids: Sequence[str]) -> list[bytes]:
        raise NotImplementedError

    def document(self, doc_id: str) -> Document:
        if doc_id not in self.by_id:
            raise DocumentNotFound(f"no document {doc_id!r} in 'demo'")
        return self.by_id[doc_id]

    def documents(
        self, *, filter: Filter | None = None, after: str = "", limit: int = 100, unindexed: bool = False
    ) -> list[DocumentInfo]:
        infos = [self.by_id[doc_id].info for doc_id in sorted(self.by_id) if doc_id > after]
        return [info for info in infos if filter is None or filters.matches(filter, info)][:limit]

    def sources(
        self,
        *,
        uris: Sequence[str] | None = None,
        status: SourceStatus | None = None,
        prefix: str = "",
        after: str = "",
        limit: int | None = None,
    ) -> list[SourceRecord]:
        raise NotImplementedError

    def contents(self, doc_ids: Sequence[str]) -> list[Replacement]:
        raise NotImplementedError

    def replace(self, replacements: Sequence[Replacement], *, edition: int | None = None) -> None:
        raise NotImplementedError

    def index(self, replacements: Sequence[Replacement], *, edition: int) -> int:
        raise NotImplementedError

    def add_edition(self, *, embedder: EmbedderInfo, chunking: Chunking, token_code: str = "") -> int:
        raise NotImplementedError

    def switch(self, edition: int) -> None:
        raise NotImplementedError

    def drop_edition(self, edition: int) -> None:
        raise NotImplementedError

    def delete(self, doc_ids: Sequence[str], *, leave: Sequence[SourceRecord] = ()) -> list[str]:
        raise NotImplementedError

    def record(self, sources: Sequence[SourceRecord]) -> None:
        raise NotImplementedError

    def close(self) -> None:
        self.closed = True


class FakeCollections:
    """Collections by name; counts how often each was opened."""

    def __init__(self, stores: Mapping[str, FakeStore]) -> None:
        self.stores = dict(stores)
        self.opened: list[str] = []
        self.closed = False

    def names(self) -> list[str]:
        return sorted(self.stores)

    def create(
        self,
        name: str,
        *,
        embedder: EmbedderInfo,
        chunking: Chunking = DEFAULT_CHUNKING,
        language: str = "english",
        token_code: str = "",
    ) -> None:
        raise CollectionExists(f"collection {name!r} is there already")

    def open(self, name: str, *, writable: bool = False) -> VectorStore:
        if name not in self.stores:
            raise CollectionNotFound(f"no collection {name!r} in /srv/secret")
        self.opened.append(name)
        return self.stores[name]

    def keeper(self, name: str) -> Keeper:
        raise CollectionNotFound(f"no collection {name!r} that can be looked after")

    def drop(self, name: str) -> None:
        del self.stores[name]

    def place(self) -> str:
        return "folder /srv/secret"

    def close(self) -> None:
        self.closed = True


class FakeRetriever:
    """Every document that the filter lets through, by doc_id; refuses the bounds that the real one refuses."""

    def __init__(self, store: VectorStore) -> None:
        self.store = store
        self.embedders = build_embedders(RetrievalSettings(), FakeEmbedder())

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
        if not query.strip() or len(query) > 10_000:
            raise InvalidQuery(f"the query has {len(query)} characters; use 1 to 10000")
        with self.store.snapshot() as view:
            if filter is not None:
                filters.check_fields(filter, view.info.fields)
            documents = [view.document(info.doc_id) for info in view.documents(filter=filter, limit=k)]
        chunks = tuple(_scored(document, 1 / rank) for rank, document in enumerate(documents, start=1))
        plan = QueryPlan(f"{query} ({history[-1].content})", planner="fake") if history else QueryPlan(query)
        why = _explained(chunks) if explain else None
        return Retrieval(query, np.zeros(4, dtype=np.float32), chunks, {"total": 0.001}, plan, why)


@dataclass
class FakeAnswerer:
    """Says two sentences about `doc-a`; can be told to fail, or to wait, before the sentence of that number."""

    retriever: FakeRetriever
    fail_before: tuple[int, Exception] | None = None
    wait_before: tuple[int, threading.Event] | None = None
    closed: threading.Event = field(default_factory=threading.Event)
    finished: bool = False
    """Whether anybody took the whole answer."""
    threads: set[int] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    def answer(
        self, question: str, *, k: int | None = None, filter: Filter | None = None, history: Sequence[Turn] = ()
    ) -> Answer:
        *_, last = self.stream(question, k=k, filter=filter, history=history)
        assert isinstance(last, AnswerEvent)
        return last.answer

    def stream(
        self, question: str, *, k: int | None = None, filter: Filter | None = None, history: Sequence[Turn] = ()
    ) -> Generator[AnswerStream, None, None]:
        self.asked.append(question)
        retrieval = self.retriever.retrieve(question, k=k or 8, filter=filter, history=history)
        sentences = (Sentence("Buoys are red.", (_citation("Buoys are red."),)), Sentence("Käse 🧀 is not."))
        if "declined" in question:
            yield AnswerEvent(Answer(question, "demo", "declined", (Sentence("Nothing says so."),), 0.1, "fake"))
            return
        try:
            for number, sentence in enumerate(sentences):
                self.threads.add(threading.get_ident())
                if self.wait_before and self.wait_before[0] == number:
                    self.wait_before[1].wait(timeout=10)
                if self.fail_before and self.fail_before[0] == number:
                    raise self.fail_before[1]
                yield SentenceEvent(sentence)
            chunks, timings = retrieval.chunks, {"total": 0.5}
            yield AnswerEvent(
                Answer(
                    question, "demo", "answered", sentences, 0.9, "fake",
                    timings=timings, retrieved=chunks, plan=retrieval.plan,
                )
            )  # fmt: skip
            self.finished = True
        finally:
            self.closed.set()


def _citation(quote: str) -> Citation:
    document = DOCUMENTS[0]
    start = document.text.index(quote)
    return Citation(
        doc_id=document.doc_id,
        source_uri=document.source_uri,
        title=document.title,
        version=document.version,
        chunk_id=chunk_id(document.doc_id, 0),
        start=start,
        end=start + len(quote),
        page=None,
        quote=quote,
        support=1.0,
    )


def _scored(document: Document, score: float) -> ScoredChunk:
    text = document.text
    chunk = Chunk(chunk_id(document.doc_id, 0), document.doc_id, document.version, 0, 0, len(text), text)
    return ScoredChunk(chunk, document.info, score, {"dense": score})


def _explained(chunks: Sequence[ScoredChunk]) -> Explanation:
    """The chunks given, and a thousand that are no results."""
    results = tuple(
        CandidateTrace(found.chunk.chunk_id, found.chunk.doc_id, rank, found.score, (StageScore("fused", rank, 1.0),))
        for rank, found in enumerate(chunks, start=1)
    )
    others = tuple(CandidateTrace(f"x:{i:06d}", "x", None, 0.0, (), removed_by="k") for i in range(1_000))
    return Explanation((QueryTerm("buoy", 1.0, 2, 0.5),), ("fused",), results + others)
