"""Replacing, deleting, the ledger, snapshots, and what a store refuses."""

import dataclasses
import threading
from contextlib import closing
from typing import Any

import numpy as np
import pytest

from retrieval.build import build_collections
from retrieval.errors import (
    DocumentNotFound,
    EmbedderMismatch,
    InvalidRequest,
)
from retrieval.ports import VectorStore
from retrieval.records import Box, Chunking, Document, Element
from retrieval.settings import RetrievalSettings
from tests.corpus import replacement, source_of
from tests.fakes import FakeEmbedder

QUERY = FakeEmbedder().embed_queries(["pump"])[0]
NO_TEXT = "x\ud800"


def test_a_document_comes_back_whole(store: VectorStore) -> None:
    """Text, elements, pages and metadata are what was put in."""
    text = 'Title\n\nBody with 北京, emoji \U0001f600 and "quotes".\n\nPage two.'
    document = Document(
        "doc", "file:///a%20b", 'A "title"', "text/plain", text,
        elements=(
            Element("heading", 0, 5, (), 1),
            Element("table", 7, 45, ("Title",), None, (Box(1, 72.0, 90.5, 300.25, 120.0),), "<table>\u2028</table>"),
        ),
        page_starts=(0, 47), metadata={"n": 1, "tags": ("x", "y")},
    )  # fmt: skip
    template = replacement("doc", [text])
    chunk = dataclasses.replace(template.chunks[0], version=document.version, headings=("Title",), page=1, context="A")
    store.replace([dataclasses.replace(template, document=document, chunks=[chunk])])
    with store.snapshot() as snapshot:
        assert snapshot.document("doc") == document
        (stored,) = snapshot.chunks(["doc:000000"])
        assert stored.chunk == chunk
        assert stored.document == document.info
        assert snapshot.document("doc").page_at(48) == 2


def test_metadata_comes_back_alike_from_every_store(store: VectorStore) -> None:
    """Lists as tuples, zero without a sign, whole numbers and others by their type."""
    given: Any = {"a": -0.0, "b": [1.5, -0.0], "c": [], "d": 1.0, "e": 1, "f": (True, False)}
    store.replace([replacement("doc", ["pump"], given)])
    expected = "{'a': 0.0, 'b': (1.5, 0.0), 'c': (), 'd': 1.0, 'e': 1, 'f': (True, False)}"
    with store.snapshot() as snapshot:
        (listed,) = snapshot.documents()
        (found,) = snapshot.chunks(["doc:000000"])
        (content,) = snapshot.contents(["doc"])
        for info in (snapshot.document("doc"), listed, found.document, content.document):
            assert repr(dict(info.metadata)) == expected


def test_replacing_leaves_nothing_of_the_old_version(store: VectorStore) -> None:
    """The old chunks are found by no search and no fetch."""
    store.replace([replacement("doc", ["old pump one", "old pump two", "old pump three"])])
    store.replace([replacement("doc", ["new valve"])])
    with store.snapshot() as snapshot:
        assert [hit.chunk_id for hit in snapshot.search_dense(QUERY, k=10)] == ["doc:000000"]
        assert snapshot.search_lexical({"old": 1.0, "pump": 1.0}, k=10) == []
        assert [found.chunk.text for found in snapshot.chunks(["doc:000000", "doc:000001"])] == ["new valve"]
        assert snapshot.info.documents == snapshot.info.chunks == 1


def test_deleting_removes_document_chunks_and_ledger_line(store: VectorStore) -> None:
    """What was there is named; what was not is left out."""
    store.replace([replacement("a", ["pump a"]), replacement("b", ["pump b"])])
    assert store.delete(["a", "never"]) == ["a"]
    with store.snapshot() as snapshot:
        assert [hit.chunk_id for hit in snapshot.search_dense(QUERY, k=10)] == ["b:000000"]
        assert [hit.chunk_id for hit in snapshot.search_lexical({"pump": 1.0}, k=10)] == ["b:000000"]
        assert [source.doc_id for source in snapshot.sources()] == ["b"]
        with pytest.raises(DocumentNotFound, match="'a'"):
            snapshot.document("a")


def test_a_snapshot_does_not_see_later_commits(store: VectorStore) -> None:
    """Within one snapshot a replaced document stays as it was, in every kind of reading."""
    store.replace([replacement("doc", ["old pump"])])
    with store.snapshot() as before:
        store.replace([replacement("doc", ["new pump"]), replacement("more", ["pump"])])
        assert [found.chunk.text for found in before.chunks(["doc:000000", "more:000000"])] == ["old pump"]
        assert [hit.chunk_id for hit in before.search_dense(QUERY, k=10)] == ["doc:000000"]
        assert [hit.chunk_id for hit in before.search_lexical({"pump": 1.0}, k=10)] == ["doc:000000"]
        assert before.document("doc").text == "old pump"
        with store.snapshot() as after:
            assert after.info.sequence == before.info.sequence + 1
            assert len(after.search_dense(QUERY, k=10)) == 2


def test_readers_never_see_half_a_replacement(store: VectorStore) -> None:
    """While a writer swaps versions, each reader's snapshot holds all chunks of one version and none of another."""
    versions = [replacement("doc", [f"version {n} pump part {i}" for i in range(5)]) for n in range(8)]
    store.replace([versions[0]])
    problems: list[object] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            with store.snapshot() as snapshot:
                ids = [hit.chunk_id for hit in snapshot.search_dense(QUERY, k=20)]
                texts = [found.chunk.text for found in snapshot.chunks(ids)]
                numbers = {text.split()[1] for text in texts}
                whole = snapshot.document("doc").text
                if len(texts) != 5 or len(numbers) != 1 or not all(text in whole for text in texts):
                    problems.append(texts)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for _ in range(4):
        for version in versions:
            store.replace([version])
    done.set()
    for reader in readers:
        reader.join()
    assert problems == []


def test_the_ledger_keeps_one_line_per_source(store: VectorStore) -> None:
    """A later line takes the place of an earlier one; a failure does not touch the document."""
    store.replace([replacement("a", ["pump"])])
    store.record([source_of("a", status="failed", error="damaged"), source_of("b", status="unsupported")])
    with store.snapshot() as snapshot:
        assert [(s.doc_id, s.status, s.error) for s in snapshot.sources()] == [
            ("a", "failed", "damaged"), ("b", "unsupported", ""),
        ]  # fmt: skip
        assert [s.doc_id for s in snapshot.sources(status="failed")] == ["a"]
        assert [s.doc_id for s in snapshot.sources(uris=["file:///docs/b", "file:///docs/zz"])] == ["b"]
        assert snapshot.document("a").text == "pump"


def test_a_refused_batch_changes_nothing(store: VectorStore) -> None:
    """One bad document among good ones: none of them is written."""
    good, bad = replacement("good", ["pump"]), replacement("bad", ["pump"])
    bad = dataclasses.replace(bad, vectors=np.full_like(bad.vectors, np.nan))
    with pytest.raises(InvalidRequest, match="NaN"):
        store.replace([good, bad])
    with store.snapshot() as snapshot:
        assert snapshot.info.documents == 0


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda r: dataclasses.replace(r, vectors=r.vectors[:, :3]), EmbedderMismatch, "needs"),
        (lambda r: dataclasses.replace(r, vectors=r.vectors[:0]), EmbedderMismatch, "needs"),
        (lambda r: dataclasses.replace(r, vectors=r.vectors * 2), InvalidRequest, "L2-normalise"),
        (
            lambda r: dataclasses.replace(r, document=dataclasses.replace(r.document, title="bad \udcff")),
            InvalidRequest,
            "title .* is no valid Unicode",
        ),
        (
            lambda r: dataclasses.replace(r, chunks=[dataclasses.replace(r.chunks[0], context=NO_TEXT)]),
            InvalidRequest,
            "valid Unicode",
        ),
        (
            lambda r: dataclasses.replace(r, chunks=[dataclasses.replace(r.chunks[0], start=1)]),
            InvalidRequest,
            "its text is not at 1:",
        ),
        (
            lambda r: dataclasses.replace(r, document=dataclasses.replace(r.document, metadata={"x": float("nan")})),
            InvalidRequest,
            "'x' holds nan",
        ),
        (
            lambda r: dataclasses.replace(r, document=dataclasses.replace(r.document, metadata={"x": {"y": 1}})),
            InvalidRequest,
            "'x' holds",
        ),
        (
            lambda r: dataclasses.replace(r, document=dataclasses.replace(r.document, metadata={"x": "\udcff"})),
            InvalidRequest,
            "'x' holds",
        ),
        (
            lambda r: dataclasses.replace(r, document=dataclasses.replace(r.document, metadata={"$x": 1})),
            InvalidRequest,
            "cannot be the name",
        ),
        (
            lambda r: dataclasses.replace(r, document=dataclasses.replace(r.document, metadata={"x": 2**63})),
            InvalidRequest,
            "64 bits",
        ),
    ],
)
def test_what_a_store_refuses(store: VectorStore, change: Any, error: type[Exception], message: str) -> None:
    """Wrong vectors, chunks that are not in their document, metadata that no filter could read."""
    with pytest.raises(error, match=message):
        store.replace([change(replacement("doc", ["pump"]))])


def test_contents_are_what_was_put_in(store: VectorStore) -> None:
    """A document read back whole can be put into another store: chunks, vectors and ledger line included."""
    put = [replacement("b", ["pump two", "pump three"], {"n": 1}), replacement("a", ["pump one"]), replacement("e", [])]
    store.replace(put)
    with store.snapshot() as snapshot:
        found = snapshot.contents(["b", "nowhere", "e", "a"])
    assert [one.document.doc_id for one in found] == ["b", "e", "a"]
    for one, expected in zip(found, (put[0], put[2], put[1]), strict=True):
        assert (one.document, list(one.chunks), one.source) == (
            expected.document, list(expected.chunks), expected.source,
        )  # fmt: skip
        np.testing.assert_array_equal(one.vectors, expected.vectors)


ODD = [
    "a'b", 'a"b', "a\\b", "%", "_", "a;DROP TABLE document;--", "{x}", "$1",
    "北京", "\U0001f600", "ä", "a\u0308", " a ", "a\nb",
    "a\tb", "https://h/p?q=1#f", "A", "\ufeff", "\u202e", "\\N", "\\.",
]  # fmt: skip


def test_any_text_can_be_a_name(store: VectorStore, oracle: VectorStore) -> None:
    """Ids, titles, URIs, metadata, headings and errors with quotes, wildcards and look-alikes stay apart and whole."""
    for each in (store, oracle):
        each.replace([replacement(name, [f"pump {name}", name], {f"x{name}": name}, title=name) for name in ODD])
        each.record([source_of(name, status="failed", error=name) for name in ODD[::2]])
        each.delete(ODD[:2])
        each.replace([replacement(ODD[2], ["another pump"], title=ODD[3])])
    everything = sorted(ODD[2:])
    with store.snapshot() as mine, oracle.snapshot() as theirs:
        assert [info.doc_id for info in mine.documents()] == everything
        assert mine.documents() == theirs.documents()
        assert mine.sources() == theirs.sources()
        assert mine.info.fields == theirs.info.fields
        for name in everything:
            assert mine.document(name) == theirs.document(name)
            assert mine.chunks([f"{name}:000000"]) == theirs.chunks([f"{name}:000000"])
            assert mine.sources(uris=[f"file:///docs/{name}"]) == theirs.sources(uris=[f"file:///docs/{name}"])
        assert mine.search_dense(QUERY, k=100) == theirs.search_dense(QUERY, k=100)
        assert mine.search_lexical({"pump": 1.0}, k=100) == theirs.search_lexical({"pump": 1.0}, k=100)


@pytest.mark.parametrize("kind", ["faiss", "pgvector"], indirect=True)
def test_what_was_written_is_there_when_it_is_opened_again(place: RetrievalSettings) -> None:
    """Another process, another day: editions, documents, ledger and searches are as they were. Not so in memory."""
    with closing(build_collections(place)) as first:
        first.create("c", embedder=FakeEmbedder().info, language="german")
        with closing(first.open("c", writable=True)) as store:
            store.replace([replacement("a", ["pump one", "pump two"], {"n": 1}), replacement("b", ["valve"])])
            store.record([source_of("z", status="failed", error="damaged")])
            store.add_edition(embedder=FakeEmbedder(8).info, chunking=Chunking(chunk_tokens=9))
            before = _seen(store)
    with closing(build_collections(place)) as second:
        assert second.names() == ["c"]
        with closing(second.open("c", writable=True)) as store:
            assert _seen(store) == before
            store.delete(["b"])
            store.replace([replacement("c", ["pump three"])])
    with closing(build_collections(place)) as third, closing(third.open("c")) as store, store.snapshot() as snapshot:
        assert [info.doc_id for info in snapshot.documents()] == ["a", "c"]
        assert len(snapshot.search_dense(QUERY, k=9)) == len(snapshot.search_lexical({"pump": 1.0}, k=9)) == 3


def _seen(store: VectorStore) -> object:
    with store.snapshot() as snapshot:
        return (
            dataclasses.replace(snapshot.info, sequence=0), snapshot.documents(), snapshot.sources(),
            snapshot.chunks(["a:000000", "a:000001", "b:000000"]),
            snapshot.search_dense(QUERY, k=9), snapshot.search_lexical({"pump": 1.0}, k=9),
        )  # fmt: skip


def test_a_document_without_chunks_is_kept(store: VectorStore) -> None:
    """It has text and can be listed, it just is never found."""
    store.replace([replacement("empty", [])])
    with store.snapshot() as snapshot:
        assert [info.doc_id for info in snapshot.documents()] == ["empty"]
        assert snapshot.search_dense(QUERY, k=3) == []


@pytest.mark.parametrize(
    "ask",
    [
        lambda store, snapshot: snapshot.document(NO_TEXT),
        lambda store, snapshot: snapshot.documents(after=NO_TEXT),
        lambda store, snapshot: snapshot.chunks(["a:000000", NO_TEXT]),
        lambda store, snapshot: snapshot.vectors(["a:000000", NO_TEXT]),
        lambda store, snapshot: snapshot.token_vectors(["a:000000", NO_TEXT]),
        lambda store, snapshot: snapshot.term_scores({"pump": 1.0}, ["a:000000", NO_TEXT]),
        lambda store, snapshot: snapshot.contents(["a", NO_TEXT]),
        lambda store, snapshot: snapshot.sources(uris=[NO_TEXT]),
        lambda store, snapshot: store.delete(["a", NO_TEXT]),
        lambda store, snapshot: store.record([source_of("a", error=NO_TEXT)]),
        lambda store, snapshot: store.record([source_of(NO_TEXT)]),
    ],
)
def test_what_is_no_text_is_refused(store: VectorStore, ask: Any) -> None:
    """Bytes of a file name, say, that are no UTF-8: every store says the same, and nothing is done."""
    store.replace([replacement("a", ["pump"])])
    with store.snapshot() as before:
        lines = before.sources()
        with pytest.raises(InvalidRequest, match=r"\\ud800.*valid Unicode"), store.snapshot() as snapshot:
            ask(store, snapshot)
    with store.snapshot() as after:
        assert after.sources() == lines
        assert after.info.documents == 1
