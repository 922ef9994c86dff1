"""The ledger in the store: lines come back whole, are found by what is asked, and change with their documents."""

import dataclasses

import pytest

from retrieval.errors import InvalidRequest
from retrieval.ports import VectorStore
from retrieval.records import SourceRecord
from tests.corpus import replacement, source_of

WHOLE = SourceRecord(
    source_uri="file:///a%20b/Übersicht.pdf", status="needs-ocr", doc_id="d", content_hash="00ff",
    fingerprint="pdf/2.1", size=2**40, media_type="application/pdf", chunks=3,
    error='line\n"one"', recorded_at="2026-01-01T00:00:00+00:00",
    reason="no-text", validator="12-34", parent="file:///a%20b", version="abc", pages=7, attempts=2,
    seconds=(("read", 0.25), ("parse", 1e-05)),
)  # fmt: skip


def uris(store: VectorStore, **wanted: object) -> list[str]:
    with store.snapshot() as snapshot:
        return [line.source_uri for line in snapshot.sources(**wanted)]  # type: ignore[arg-type]


def test_a_line_comes_back_whole(store: VectorStore) -> None:
    """Every field, the seconds of each stage included."""
    store.record([WHOLE])
    with store.snapshot() as snapshot:
        assert snapshot.sources() == [WHOLE]
    assert WHOLE.parser == "pdf/2.1"


def test_lines_are_found_by_prefix_status_and_page(store: VectorStore) -> None:
    """All conditions hold together; the order is that of code points, whatever a database's locale says."""
    names = ["a", "a/1", "a/2", "a/é", "a/\U0001f600", "a!", "B", "a%2F_"]
    store.record([source_of(name, source_uri=name, status="failed" if "1" in name else "ingested") for name in names])
    assert uris(store) == sorted(names)
    assert uris(store, prefix="a/") == ["a/1", "a/2", "a/é", "a/\U0001f600"]
    assert uris(store, prefix="a/", status="ingested", limit=2) == ["a/2", "a/é"]
    assert uris(store, prefix="a/", after="a/2") == ["a/é", "a/\U0001f600"]
    assert uris(store, prefix="a%") == ["a%2F_"]
    assert uris(store, prefix="A") == []
    assert uris(store, uris=["a/1", "B", "nowhere"], after="A") == ["B", "a/1"]
    assert uris(store, limit=0) == []


def test_a_document_takes_the_place_of_others_in_one_commit(store: VectorStore) -> None:
    """A moved file: the former document and its line are gone when the new one is there; an absent one is no error."""
    store.replace([replacement("old", ["pump"]), replacement("other", ["valve"])])
    store.record([source_of("old", source_uri="file:///docs/second-line")])
    with store.snapshot() as before:
        sequence = before.info.sequence
        moved = dataclasses.replace(replacement("new", ["pump"]), replaces=("old", "never-there"))
        store.replace([moved])
        assert [info.doc_id for info in before.documents()] == ["old", "other"]
    with store.snapshot() as after:
        assert after.info.sequence == sequence + 1
        assert [info.doc_id for info in after.documents()] == ["new", "other"]
        assert [line.doc_id for line in after.sources()] == ["new", "other"]
        assert after.info.documents == 2
        assert after.info.chunks == 2


def test_two_documents_change_places(store: VectorStore) -> None:
    """Who replaces may be replaced by another of the same call: both new ones stand."""
    store.replace([replacement("a", ["pump"]), replacement("b", ["valve"])])
    new = [replacement("a", ["valve"]), replacement("b", ["pump"])]
    store.replace([dataclasses.replace(new[0], replaces=("b",)), dataclasses.replace(new[1], replaces=("a",))])
    with store.snapshot() as snapshot:
        assert [snapshot.document(doc_id).text for doc_id in ("a", "b")] == ["valve", "pump"]
        assert [line.doc_id for line in snapshot.sources()] == ["a", "b"]


def test_deleting_leaves_what_it_is_told_to(store: VectorStore) -> None:
    """A tombstone stands after the commit that removed the document; it may be left where there was none."""
    store.replace([replacement("a", ["pump"]), replacement("b", ["valve"])])
    tombstones = [source_of("a", status="deleted"), source_of("c", status="deleted")]
    assert store.delete(["a", "c"], leave=tombstones) == ["a"]
    with store.snapshot() as snapshot:
        assert snapshot.sources(status="deleted") == tombstones
        assert [info.doc_id for info in snapshot.documents()] == ["b"]


def test_a_line_that_is_no_text_is_refused(store: VectorStore) -> None:
    """With nothing written, wherever it comes in."""
    bad = source_of("a", error="x\ud800")
    with pytest.raises(InvalidRequest):
        store.record([bad])
    store.replace([replacement("a", ["pump"])])
    with pytest.raises(InvalidRequest):
        store.delete(["a"], leave=[bad])
    with pytest.raises(InvalidRequest):
        store.replace([dataclasses.replace(replacement("b", ["pump"]), replaces=("\ud800",))])
    assert uris(store) == ["file:///docs/a"]
