"""Copying collections between stores: all of it, resumable, compared at the end."""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval import transfer
from retrieval.build import build_collections
from retrieval.checksum import document_digest
from retrieval.errors import CollectionNotFound, Conflict, EmbedderMismatch, StoreError, StoreUnavailable
from retrieval.ports import Collections, Replacement, VectorStore
from retrieval.records import Chunking, Document, Element
from retrieval.settings import RetrievalSettings
from retrieval.stores.memory import MemoryStore
from tests.corpus import replacement, source_of
from tests.fakes import FakeEmbedder

EMBEDDER = FakeEmbedder()
TOKENS = FakeEmbedder(token_code="fake-1")
CHUNKING = Chunking(chunk_tokens=50, overlap_tokens=5)
WRITES = 8
"""How many a copy of `rich` takes."""


@pytest.fixture
def source() -> Collections:
    return memory()


@pytest.fixture
def target() -> Collections:
    return memory()


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few documents are several batches, pages and commits."""
    monkeypatch.setattr(transfer, "_BATCH_CHUNKS", 2)
    monkeypatch.setattr(transfer, "_PAGE", 3)


def memory() -> Collections:
    return build_collections(RetrievalSettings(store="memory"))


def begin(collections: Collections, **changes: Any) -> VectorStore:
    """The collection `c`, empty, opened for writing."""
    collections.create("c", **{"embedder": EMBEDDER.info, "chunking": CHUNKING, "language": "german", **changes})
    return collections.open("c", writable=True)


def rich() -> list[Replacement]:
    """Documents with everything that a document can have, one without chunks, one without a ledger line."""
    text = 'Title\n\nBody with 北京, emoji \U0001f600 and "quotes".'
    document = Document(
        "rich", "file:///a%20b", 'A "title"', "text/plain", text,
        elements=(Element("heading", 0, 5, (), 1), Element("paragraph", 7, len(text), ("Title",))),
        page_starts=(0, 7), metadata={"n": 1, "x": 1.0, "ok": True, "tags": ("x", "y"), "numbers": (1, 2), "s": "1"},
    )  # fmt: skip
    one = replacement("rich", [text])
    chunk = dataclasses.replace(one.chunks[0], version=document.version, headings=("Title",), page=1, context="A")
    return [
        dataclasses.replace(one, document=document, chunks=[chunk]),
        replacement("empty", []),
        dataclasses.replace(replacement("unrecorded", ["no line in the ledger"]), source=None),
        *(replacement(f"d{i:02d}", [f"pump {i}", f"valve {i}"], {"n": i}) for i in range(9)),
    ]


def fill(store: VectorStore) -> None:
    store.replace(rich())
    store.record([
        source_of("broken", status="failed", error="damaged", recorded_at="2026-01-01T00:00:00+00:00"),
        source_of("d03", status="failed", error="its new version cannot be read"),
        *(source_of(f"odd{i}", status="unsupported") for i in range(4)),
    ])  # fmt: skip


def everything(collections: Collections) -> object:
    """All that can be read of collection `c`."""
    with closing(collections.open("c")) as store, store.snapshot() as snapshot:
        info = snapshot.info
        contents = snapshot.contents([one.doc_id for one in snapshot.documents(limit=1000)])
        return (
            (info.embedder, info.embedder.adapter, info.edition.chunking, info.language, info.documents, info.chunks),
            [(one.document, types(one), list(one.chunks), one.vectors.tobytes(), one.source) for one in contents],
            snapshot.sources(),
            snapshot.search_dense(EMBEDDER.embed_queries(["pump 3"])[0], k=50),
            snapshot.search_lexical({"pump": 1.0, "3": 1.0}, k=50),
        )


def types(one: Replacement) -> dict[str, str]:
    return {name: repr(value) for name, value in one.document.metadata.items()}


def copied(events: list[transfer.Event], step: str = "copied") -> int:
    return sum(event.documents for event in events if isinstance(event, transfer.Advanced) and event.step == step)


class Failing:
    """A store whose writes fail after `writes` of them, as when its server goes away; reading goes on."""

    def __init__(self, collections: Collections, writes: int) -> None:
        self._collections = collections
        self._left = writes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._collections, name)

    def open(self, name: str, *, writable: bool = False) -> Any:
        store = self._collections.open(name, writable=writable)
        failing = self

        class Store:
            def __getattr__(self, attribute: str) -> Any:
                found = getattr(store, attribute)
                return failing.counted(found) if attribute in ("replace", "record") else found

        return Store()

    def counted(self, write: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            if not self._left:
                raise StoreUnavailable("the server went away")
            self._left -= 1
            return write(*arguments, **options)

        return counted


def test_a_copy_is_the_same_in_all_that_can_be_read(source: Collections, target: Collections) -> None:
    """Documents with types, chunks, vectors to the last bit, the whole ledger; found alike by both searches."""
    fill(begin(source, embedder=dataclasses.replace(EMBEDDER.info, adapter="onnx", model="fake")))
    events: list[transfer.Event] = []
    report = transfer.copy("c", source=source, target=target, on_event=events.append)
    assert everything(target) == everything(source)
    assert (report.documents, report.chunks, report.sources) == (12, 20, 16)
    assert (report.copied_documents, report.copied_chunks, report.source_changed) == (12, 20, False)
    assert (events[0], events[-1]) == (transfer.Begun(12, 20), transfer.Completing())
    assert (copied(events), copied(events, "compared")) == (12, 12)


@pytest.mark.parametrize("path", [["faiss", "memory"], ["memory", "faiss", "memory"], ["faiss", "faiss"]])
def test_copies_of_copies_are_the_same_in_every_store(path: list[str], tmp_path: Path) -> None:
    """Through any stores and back, the checksum stays."""
    places = [build_collections(RetrievalSettings(store=kind, path=tmp_path / str(i))) for i, kind in enumerate(path)]
    with closing(begin(places[0])) as store:
        fill(store)
    reports = [transfer.copy("c", source=here, target=there) for here, there in itertools.pairwise(places)]
    assert len({report.checksum for report in reports}) == 1
    assert everything(places[-1]) == everything(places[0])


def test_a_second_copy_writes_nothing(source: Collections, target: Collections) -> None:
    """What is there with the same checksum is passed over: not one commit more."""
    fill(begin(source))
    first = transfer.copy("c", source=source, target=target)
    with target.open("c").snapshot() as snapshot:
        before = snapshot.info.sequence
    events: list[transfer.Event] = []
    second = transfer.copy("c", source=source, target=target, on_event=events.append)
    with target.open("c").snapshot() as snapshot:
        assert snapshot.info.sequence == before
    assert (second.copied_documents, second.documents, second.checksum) == (0, 12, first.checksum)
    assert (copied(events), copied(events, "unchanged")) == (0, 12)


@pytest.mark.parametrize("writes", range(WRITES))
def test_a_copy_that_was_cut_off_goes_on(source: Collections, target: Collections, writes: int) -> None:
    """Wherever the target stops: the error says what to do, what was copied stays, the next run does the rest."""
    fill(begin(source))
    with pytest.raises(
        StoreUnavailable, match=r"stopped after \d+ documents, which stay.*copy again.*went away"
    ) as caught:
        transfer.copy("c", source=source, target=Failing(target, writes))
    with target.open("c").snapshot() as snapshot:
        there = snapshot.info.documents
    assert f"after {there} documents" in str(caught.value)
    report = transfer.copy("c", source=source, target=target)
    assert report.copied_documents == 12 - there
    assert everything(target) == everything(source)


def test_the_writes_that_fail_are_all_there_are(source: Collections, target: Collections) -> None:
    """With one write more than the most above, the copy ends well: the test above stops at each of them."""
    fill(begin(source))
    transfer.copy("c", source=source, target=Failing(target, WRITES))


def test_what_the_source_got_since_comes_with_the_next_copy(source: Collections, target: Collections) -> None:
    """New and replaced documents, a new model of chunks aside: only these are written."""
    store = begin(source)
    fill(store)
    transfer.copy("c", source=source, target=target)
    store.replace([replacement("d01", ["another text"]), replacement("new", ["pump"])])
    store.record([source_of("broken", status="unsupported", recorded_at="2026-02-01T00:00:00+00:00")])
    report = transfer.copy("c", source=source, target=target)
    assert report.copied_documents == 2
    assert everything(target) == everything(source)


def test_a_source_that_changes_meanwhile_is_copied_as_it_stood(source: Collections, target: Collections) -> None:
    """One snapshot is copied; the report says that there is more; the next run brings it."""
    store = begin(source)
    fill(store)
    before = everything(source)

    def ingest(event: transfer.Event) -> None:
        if isinstance(event, transfer.Begun):
            store.replace([replacement("d00", ["changed"]), replacement("zz", ["new"])])
            store.delete(["d08"])

    assert transfer.copy("c", source=source, target=target, on_event=ingest).source_changed
    assert everything(target) == before
    with pytest.raises(Conflict, match="holds documents that the source has not: 'd08'"):
        transfer.copy("c", source=source, target=target)
    target.open("c", writable=True).delete(["d08"])
    assert transfer.copy("c", source=source, target=target).copied_documents == 2
    assert everything(target) == everything(source)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda store: store.replace([replacement("mine", ["text"])]), "documents that the source has not: 'mine'"),
        (lambda store: store.record([source_of("mine", status="failed")]), "ledger lines that .* 'file:///docs/mine'"),
        (
            lambda store: store.replace(
                [dataclasses.replace(replacement("d00", ["new"]), source=source_of("d00", recorded_at="2027"))]
            ),
            "other versions later than the source: 'file:///docs/d00'",
        ),
    ],
)
def test_a_target_with_data_of_its_own_is_refused(
    source: Collections, target: Collections, write: Callable[[VectorStore], None], message: str
) -> None:
    """What was ingested into the target is not overwritten, and nothing is written."""
    fill(begin(source))
    store = begin(target)
    write(store)
    before = everything(target)
    with pytest.raises(Conflict, match=message):
        transfer.copy("c", source=source, target=target)
    assert everything(target) == before


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"embedder": FakeEmbedder(name="other").info}, EmbedderMismatch, "'fake', that of the target with 'other'"),
        ({"embedder": FakeEmbedder(dimension=8).info}, EmbedderMismatch, "delete that one"),
        ({"chunking": Chunking()}, Conflict, "the chunking .*50.*the target .*200"),
        ({"language": "english"}, Conflict, "the language 'german'.*'english'"),
        ({"token_code": "fake-2"}, Conflict, "the code of token vectors ''.*'fake-2'"),
    ],
)
def test_a_target_of_another_kind_is_refused(
    source: Collections, target: Collections, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    """Vectors, chunks and stems of two kinds do not mix."""
    fill(begin(source))
    begin(target, **changes)
    with pytest.raises(error, match=message):
        transfer.copy("c", source=source, target=target)


def test_a_collection_that_is_not_there_is_not_made(source: Collections, target: Collections) -> None:
    """A misspelt name leaves no empty collection behind."""
    with pytest.raises(CollectionNotFound, match="'c'"):
        transfer.copy("c", source=source, target=target)
    assert target.names() == []


@pytest.mark.parametrize("path", [["faiss", "memory"], ["memory", "faiss", "faiss"]])
def test_token_vectors_are_copied(path: list[str], tmp_path: Path) -> None:
    """To the last byte; the copy keeps them in the code of its source."""
    places = [build_collections(RetrievalSettings(store=kind, path=tmp_path / str(i))) for i, kind in enumerate(path)]
    with closing(begin(places[0], token_code="fake-1")) as store:
        store.replace([replacement(f"d{i}", ["pump", f"valve {i}"], embedder=TOKENS) for i in range(5)])
    reports = [transfer.copy("c", source=here, target=there) for here, there in itertools.pairwise(places)]
    assert len({report.checksum for report in reports}) == 1
    with closing(places[-1].open("c")) as store, store.snapshot() as snapshot:
        assert snapshot.info.edition.token_code == "fake-1"
        assert snapshot.token_vectors(["d3:000001"]) == TOKENS.embed_documents_with_tokens(["valve 3"])[1]


def test_the_live_edition_is_copied(source: Collections, target: Collections) -> None:
    """As edition 1 of the target, with its own model and chunking; the report says what stays behind."""
    store = begin(source)
    store.replace([replacement("a", ["one", "two"])])
    other = FakeEmbedder(dimension=16, name="other")
    assert store.add_edition(embedder=other.info, chunking=Chunking()) == 2
    store.index([replacement("a", ["one\n\ntwo"], embedder=other)], edition=2)
    store.switch(2)
    report = transfer.copy("c", source=source, target=target)
    assert (report.chunks, report.editions_left) == (1, 1)
    with target.open("c").snapshot() as snapshot:
        assert (snapshot.info.live, snapshot.info.embedder, snapshot.info.edition.chunking) == (
            1,
            other.info,
            Chunking(),
        )


def _lossy(change: Callable[[Replacement], Replacement]) -> Callable[[Sequence[Replacement]], list[Replacement]]:
    return lambda given: [change(one) if one.document.doc_id == "d04" else one for one in given]


@pytest.mark.parametrize(
    "damage",
    [
        _lossy(lambda one: dataclasses.replace(one, vectors=one.vectors.astype(np.float16).astype(np.float32))),
        _lossy(lambda one: dataclasses.replace(one, document=dataclasses.replace(one.document, metadata={"n": 4.0}))),
        _lossy(lambda one: dataclasses.replace(one, chunks=one.chunks[:1], vectors=one.vectors[:1])),
        _lossy(lambda one: dataclasses.replace(one, chunks=[dataclasses.replace(c, page=7) for c in one.chunks])),
        _lossy(lambda one: dataclasses.replace(one, source=dataclasses.replace(one.source or source_of("x"), size=3))),
        lambda given: [one for one in given if one.document.doc_id != "d04"],
    ],
)
def test_a_target_that_does_not_keep_what_it_is_given_is_found_out(
    source: Collections,
    target: Collections,
    damage: Callable[[Sequence[Replacement]], list[Replacement]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rounded vectors, another type, a chunk, a page or a document lost: the error names the document."""
    fill(begin(source))
    store = type(begin(target))
    write = store.replace
    monkeypatch.setattr(store, "replace", lambda self, given, **options: write(self, damage(given), **options))
    monkeypatch.setattr(store, "record", lambda self, lines: None)
    with pytest.raises(StoreError, match=r"is not what was copied: .*d04"):
        transfer.copy("c", source=source, target=target)


def test_who_stops_a_copy_does_not_wait_for_indexes(
    source: Collections, target: Collections, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is copied stays; closing the target, which completes its indexes, is left to the next writer."""
    fill(begin(source))
    closed: list[bool] = []
    monkeypatch.setattr(MemoryStore, "close", lambda self: closed.append(self._writable))

    def stop(event: transfer.Event) -> None:
        if isinstance(event, transfer.Advanced):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        transfer.copy("c", source=source, target=target, on_event=stop)
    assert True not in closed
    transfer.copy("c", source=source, target=target)
    assert closed.count(True) == 1


values = st.one_of(
    st.booleans(), st.integers(-3, 3), st.sampled_from([0.0, 1.0, -0.0, 0.1 + 0.2]), st.text("ab1", max_size=3)
)


@settings(max_examples=100, deadline=None)
@given(first=st.dictionaries(st.sampled_from("ab"), values), second=st.dictionaries(st.sampled_from("ab"), values))
def test_digests_are_equal_when_metadata_is_to_the_type(first: dict[str, Any], second: dict[str, Any]) -> None:
    """1, 1.0, true and "1" are four values; the order of the fields is none, 0.0 and -0.0 are one."""
    one, two = (document_digest(replacement("a", ["text"], metadata)) for metadata in (first, second))
    mine, theirs = (repr(sorted(metadata.items())).replace("-0.0", "0.0") for metadata in (first, second))
    assert (one == two) == (mine == theirs)


def test_every_field_of_a_record_counts() -> None:
    """A field that is added to a record later cannot be forgotten: changing any of them changes the digest."""
    (one, *_) = rich()
    digest = document_digest(one)
    texts: dict[str, Any] = {
        "doc_id": "z",
        "source_uri": "z",
        "title": "z",
        "media_type": "z",
        "text": "z",
        "metadata": {},
    }
    for field in dataclasses.fields(Document):
        changed = dataclasses.replace(one.document, **{field.name: texts.get(field.name, ())})
        assert document_digest(dataclasses.replace(one, document=changed)) != digest, field.name
    for field in dataclasses.fields(one.chunks[0]):
        value: Any = {int: 99, str: "z"}.get(type(getattr(one.chunks[0], field.name)), ())
        chunk = dataclasses.replace(one.chunks[0], **{field.name: value})
        assert document_digest(dataclasses.replace(one, chunks=[chunk])) != digest, field.name
    for field in dataclasses.fields(Element):
        part: Any = ("z",)
        element = dataclasses.replace(one.document.elements[1], **{field.name: part})
        changed = dataclasses.replace(one.document, elements=(one.document.elements[0], element))
        assert document_digest(dataclasses.replace(one, document=changed)) != digest, field.name
    assert document_digest(dataclasses.replace(one, vectors=-one.vectors)) != digest
    blobs = [
        document_digest(dataclasses.replace(one, token_vectors=given)) for given in ([b"ab"], [b"b"], [b"a", b"b"])
    ]
    assert len({digest, *blobs}) == 4
