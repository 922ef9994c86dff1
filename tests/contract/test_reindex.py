"""Reindexing on every store: the same editions come of it, whatever happens meanwhile."""

import threading
from collections.abc import Callable, Sequence

import numpy as np

from ingest.indexing import Indexer
from ingest.pipeline import ingest_documents
from ingest.reindex import Report, make_live, reindex, rollback_target
from retrieval.build import build_embedders
from retrieval.ports import Collections, Vectors, VectorStore
from retrieval.records import Chunking, Document, Element
from retrieval.settings import RetrievalSettings
from tests.fakes import FakeEmbedder

SMALL = Chunking(chunk_tokens=12, context_tokens=0)


class Hooked(FakeEmbedder):
    """The new model; calls `hook` before it embeds documents."""

    def __init__(self, hook: Callable[[], None] = lambda: None) -> None:
        super().__init__(dimension=32, name="other")
        self.hook = hook

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        self.hook()
        return super().embed_documents(texts)


def document(number: int, text: str = "") -> Document:
    text = text or "\n\n".join(f"Pump {number} of hall {hall} starts at {number + hall} bar." for hall in range(12))
    elements = (Element("paragraph", 0, len(text)),)
    return Document(f"d{number:04d}", f"test:{number}", f"Pump {number}", "text/plain", text, elements)


def put(store: VectorStore, *documents: Document) -> None:
    with store.snapshot() as snapshot:
        live: FakeEmbedder = FakeEmbedder() if snapshot.info.live == 1 else Hooked()
    embedders = build_embedders(RetrievalSettings(), live)
    ingest_documents(documents, store=store, embedders=embedders)


def run(store: VectorStore, hook: Callable[[], None] = lambda: None) -> Report:
    embedder = Hooked(hook)
    return reindex(store, build_embedders(RetrievalSettings(), embedder), embedder=embedder.info, chunking=SMALL)


def check_whole(store: VectorStore, edition: int, doc_ids: set[str]) -> None:
    """The edition has these documents, each with the chunks and vectors that its model and chunking give."""
    with store.snapshot(edition=edition) as snapshot:
        info = snapshot.info
        found = snapshot.contents(sorted(doc_ids))
        assert snapshot.documents(unindexed=True) == []
    embedder = FakeEmbedder() if edition == 1 else Hooked()
    indexer = Indexer(info.edition, build_embedders(RetrievalSettings(), embedder))
    assert {one.document.doc_id for one in found} == doc_ids
    assert (info.documents, info.edition.documents) == (len(doc_ids), len(doc_ids))
    for one in found:
        chunks = indexer.split(one.document)
        assert list(one.chunks) == chunks
        # Some stores keep half-precision floats.
        np.testing.assert_allclose(one.vectors, indexer.embed(chunks).vectors, atol=1e-3)
    assert info.chunks == sum(len(one.chunks) for one in found)


def test_it_goes_there_and_back_while_documents_change(store: VectorStore) -> None:
    """New, changed and deleted documents land in the new edition, and after a rollback in the former one."""
    put(store, *(document(number) for number in range(30)), document(40, " \n "))
    changes = iter([1, 2, 3])

    def meddle() -> None:
        if change := next(changes, 0):
            put(store, document(100 + change), document(1, f"Changed {change} times."))
            store.delete([f"d{20 + change:04d}"])

    report = run(store, meddle)
    expected = {f"d{number:04d}" for number in (*range(30), 40, 101, 102, 103)} - {"d0021", "d0022", "d0023"}
    assert (report.outcome, report.edition, report.former) == ("switched", 2, 1)
    check_whole(store, 2, expected)
    with store.snapshot() as snapshot:
        assert (snapshot.info.live, snapshot.document("d0001").text) == (2, "Changed 3 times.")
    put(store, document(200))
    with store.snapshot() as snapshot:
        target = rollback_target(snapshot.info).number
    report = make_live(store, build_embedders(RetrievalSettings(), FakeEmbedder()), target)
    assert (report.outcome, report.edition, report.documents) == ("switched", 1, 1)
    check_whole(store, 1, {*expected, "d0200"})


def test_two_runs_at_once_make_one_edition(store: VectorStore, collections: Collections) -> None:
    """Each with its own handle; they index the same documents at the same time."""
    put(store, *(document(number) for number in range(30)))
    barrier = threading.Barrier(2)
    other = collections.open("c", writable=True)
    reports: list[Report] = []

    def work(handle: VectorStore) -> None:
        waited: list[int] = []

        def meet() -> None:
            if not waited:
                waited.append(barrier.wait(timeout=30))

        reports.append(run(handle, meet))

    threads = [threading.Thread(target=work, args=(handle,)) for handle in (store, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    assert [report.outcome for report in reports] == ["switched", "switched"]
    with store.snapshot() as snapshot:
        live, numbers = snapshot.info.live, [one.number for one in snapshot.info.editions]
    assert {report.edition for report in reports} == {live}
    assert len(numbers) == 2
    check_whole(store, live, {f"d{number:04d}" for number in range(30)})
