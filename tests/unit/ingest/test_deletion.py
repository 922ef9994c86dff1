"""Deletion: what is named goes with all that came in it, is looked for on every way, and a receipt says so."""

import json
import sqlite3
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ingest.deletion.deleter import Deleter
from ingest.deletion.erasure import select
from ingest.deletion.receipts import Chain, Entry
from ingest.sources import doc_id_for, uri_for
from retrieval.errors import CollectionNotFound, DocumentNotFound, InvalidRequest, WriterBusy
from retrieval.ports import Collections, Keeper, Replacement, Snapshot, Vectors, VectorStore
from retrieval.records import Chunking, Hit, SourceRecord
from retrieval.stores.faiss import FaissCollections
from retrieval.stores.memory import MemoryCollections
from tests.corpus import replacement, source_of
from tests.fakes import FakeEmbedder

PROBES = ["document", "listing", "ledger", "chunks", "filters", "dense", "lexical", "raw"]


@pytest.fixture(params=["memory", "faiss"])
def collections(request: pytest.FixtureRequest, tmp_path: Path) -> Collections:
    """Letters and a manual; some words are only in one of them."""
    made = MemoryCollections() if request.param == "memory" else FaissCollections(tmp_path / "data")
    made.create("c", embedder=FakeEmbedder().info)
    put(
        made,
        [
            replacement("letter", ["dear zyxomorph gentlefolk of vestvik", "yours brannigan"], {"author": "brannigan"}),
            replacement("manual", ["the pump starts at forty bar", "the valve opens"], {"author": "nobody"}),
        ],
    )
    return made


@pytest.fixture
def receipts(tmp_path: Path) -> Path:
    return tmp_path / "receipts"


@pytest.fixture
def deleter(collections: Collections, receipts: Path) -> Deleter:
    return Deleter(collections, receipts=receipts)


def put(collections: Collections, replacements: Sequence[Replacement]) -> None:
    store = collections.open("c", writable=True)
    store.replace(replacements)
    store.close()


def came_in(parent: str, name: str, **changes: Any) -> Replacement:
    """A document that came in another."""
    made = replacement(name, [f"inner {name} words{name}"])
    uri = f"{parent}!/{name}"
    line = source_of(name, source_uri=uri, parent=parent, **changes)
    return replace(made, document=replace(made.document, source_uri=uri), source=line)


def uris(collections: Collections, status: str = "ingested") -> list[str]:
    with collections.open("c").snapshot() as snapshot:
        return [line.source_uri for line in snapshot.sources() if line.status == status]


def probes(receipt: Entry | None) -> dict[str, dict[str, Any]]:
    assert receipt
    return {probe["name"]: probe for probe in receipt.content["probes"]}


def test_a_deleted_document_is_found_on_no_way(deleter: Deleter, receipts: Path) -> None:
    """Each probe has looked for something and found nothing; the receipt says what went, with its hashes."""
    done = deleter.delete("c", ["letter"])
    assert done.passed
    found = probes(done.receipt)
    assert list(found) == PROBES
    assert all(probe["looked_for"] > 0 and probe["found"] == 0 and not probe["note"] for probe in found.values())
    content = done.receipt.content if done.receipt else {}
    (document,) = content["documents"]
    assert (document["doc_id"], document["content_hash"], document["status"]) == ("letter", "c0ffee", "ingested")
    assert document["chunks"] == [[1, 2]]
    assert len(document["version"]) == 16
    assert content["user"] is not None
    assert Chain(receipts, "c").verify().sound


def test_what_is_written_says_nothing_of_what_was_deleted(deleter: Deleter, receipts: Path) -> None:
    """Neither intent nor receipt holds text, metadata or title."""
    deleter.delete("c", ["letter"])
    written = Chain(receipts, "c").path.read_text().lower()
    for word in ("zyxomorph", "brannigan", "gentlefolk", "title of"):
        assert word not in written


def test_a_tombstone_stays(deleter: Deleter, collections: Collections) -> None:
    """It has the source's URI and hash, nothing of its text, and keeps what else there is."""
    deleter.delete("c", ["letter"])
    with collections.open("c").snapshot() as snapshot:
        (line,) = snapshot.sources(status="deleted")
        assert (line.doc_id, line.source_uri, line.content_hash) == ("letter", "file:///docs/letter", "c0ffee")
        assert (line.error, line.version, line.fingerprint, line.size) == ("", "", "", 0)
        assert [info.doc_id for info in snapshot.documents()] == ["manual"]


def test_what_came_in_a_document_goes_with_it(deleter: Deleter, collections: Collections) -> None:
    """At any depth, failures too; but not a file that only has such a name."""
    archive = "file:///docs/a.zip"
    store = collections.open("c", writable=True)
    store.record([SourceRecord(archive, "ingested", doc_id_for(archive), "ab", "archive/1", 9)])
    store.record([SourceRecord(f"{archive}!/bad", "failed", "bad", "", "", 0, parent=archive, error="secret words")])
    inner = came_in(f"{archive}!/mail", "attachment")
    store.replace([came_in(archive, "mail"), inner, came_in("file:///docs/a.zip", "plain", status="ingested")])
    lookalike = came_in(archive, "lookalike")
    assert lookalike.source
    store.replace([replace(lookalike, source=replace(lookalike.source, parent=""))])
    store.close()
    done = deleter.delete("c", [archive])
    assert done.passed
    gone = {"", "!/bad", "!/mail", "!/mail!/attachment", "!/plain"}
    assert set(uris(collections, "deleted")) == {archive + name for name in gone}
    assert f"{archive}!/lookalike" in uris(collections)
    with collections.open("c").snapshot() as snapshot:
        assert not any("secret" in line.error for line in snapshot.sources())


def test_names_are_ids_uris_or_paths(collections: Collections, tmp_path: Path) -> None:
    """A path may be of a file that is gone; a folder takes all that is below, by names' whole parts."""
    path = tmp_path / "docs" / "a b.txt"
    other = tmp_path / "docs-old" / "c.txt"
    for i, one in enumerate((path, other)):
        made = replacement(doc_id_for(uri_for(one)), [f"words{i}"])
        assert made.source
        document = replace(made.document, source_uri=uri_for(one))
        put(collections, [replace(made, document=document, source=replace(made.source, source_uri=uri_for(one)))])

    with collections.open("c").snapshot() as snapshot:

        def selected(*names: str, under: Sequence[str] = ()) -> list[str]:
            return [one.source_uri for one in select(snapshot, names, under=under).erased]

        for name in (str(path), uri_for(path), doc_id_for(uri_for(path))):
            assert selected(name) == [uri_for(path)]
        for folder in (str(path.parent), f"{path.parent}/", uri_for(path.parent), str(path)):
            assert selected(under=[folder]) == [uri_for(path)]
        assert selected(str(path), uri_for(path), "letter") == ["file:///docs/letter", uri_for(path)]
        with pytest.raises(DocumentNotFound, match="say --under"):
            selected(str(path.parent))
        with pytest.raises(DocumentNotFound, match="no document 'nowhere'"):
            selected("letter", "nowhere")
        with pytest.raises(DocumentNotFound, match="no document 'in"):
            selected("in\udcff.txt")
        for empty in ({"names": [""]}, {"names": [], "under": [""]}):  # which would be the working directory
            with pytest.raises(InvalidRequest, match="an empty name"):
                select(snapshot, **empty)
        with pytest.raises(DocumentNotFound, match="nothing at or below"):
            selected(under=[str(tmp_path / "doc")])


def test_a_failed_source_can_be_deleted(deleter: Deleter, collections: Collections) -> None:
    """It has no document, but its line may quote what it held."""
    store = collections.open("c", writable=True)
    store.record([SourceRecord("file:///x", "failed", "x", "", "", 1, error="unexpected 'hush' at line 1")])
    store.close()
    assert deleter.delete("c", ["file:///x"]).passed
    assert uris(collections, "failed") == []


def test_all_editions_are_cleared(deleter: Deleter, collections: Collections) -> None:
    """And each is searched; the receipt counts the chunks of both."""
    store = collections.open("c", writable=True)
    number = store.add_edition(embedder=FakeEmbedder(32).info, chunking=Chunking())
    with store.snapshot() as snapshot:
        contents = snapshot.contents(["letter", "manual"])
    small = FakeEmbedder(32)
    store.index(
        [replace(one, vectors=small.embed_documents([c.indexed_text for c in one.chunks])) for one in contents],
        edition=number,
    )
    store.close()
    done = deleter.delete("c", ["letter"])
    assert done.passed
    assert done.receipt
    assert done.receipt.content["documents"][0]["chunks"] == [[1, 2], [2, 2]]
    assert probes(done.receipt)["chunks"]["looked_for"] == 4
    assert probes(done.receipt)["dense"]["looked_for"] == 4


def test_deleting_twice_does_nothing_the_second_time(deleter: Deleter, receipts: Path) -> None:
    """No error, no receipt; the tombstone is given."""
    deleter.delete("c", ["letter"])
    again = deleter.delete("c", ["file:///docs/letter"])
    assert (again.receipt, [line.doc_id for line in again.before]) == (None, ["letter"])
    assert Chain(receipts, "c").verify().entries == 2


def test_words_that_others_have_too_prove_nothing(deleter: Deleter, collections: Collections) -> None:
    """Of a copy no raw content can be looked for, and the receipt says so; the other copy stays."""
    put(collections, [replacement("copy", ["dear zyxomorph gentlefolk of vestvik", "yours brannigan"])])
    done = deleter.delete("c", ["letter"])
    assert done.passed
    for name in ("lexical", "raw"):
        probe = probes(done.receipt)[name]
        assert probe["looked_for"] == 0
        assert "share all their words" in probe["note"]
    with collections.open("c").snapshot() as snapshot:
        assert snapshot.search_lexical({"zyxomorph": 1.0}, k=5)


def test_of_many_documents_a_sample_is_looked_for_by_content(deleter: Deleter, collections: Collections) -> None:
    """And all of them by id."""
    put(collections, [replacement(f"many{i:03}", [f"text number{i:03}"]) for i in range(230)])
    done = deleter.delete("c", [], under=["file:///docs"])
    found = probes(done.receipt)
    assert done.passed
    assert found["document"]["looked_for"] == 232
    assert found["dense"]["looked_for"] <= 400
    assert found["dense"]["note"] == "of 200 of 232 documents"
    assert found["raw"]["looked_for"] == 60
    assert found["raw"]["note"].startswith("of 200 of 232 documents; 60 of ")


# What is left behind is found


class Leaky:
    """Collections with something wrong: `leave` says what deleting does, `see` what searching gives."""

    def __init__(self, inner: Collections, **wrong: Any) -> None:
        self._inner = inner
        self._keeper: Callable[[Keeper], Keeper] = wrong.pop("keeper", lambda keeper: keeper)
        self._wrong = wrong

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def open(self, name: str, *, writable: bool = False) -> Any:
        return LeakyStore(self._inner.open(name, writable=writable), self._wrong)

    def keeper(self, name: str) -> Keeper:
        return self._keeper(self._inner.keeper(name))


class LeakyStore:
    def __init__(self, inner: VectorStore, wrong: dict[str, Any]) -> None:
        self._inner = inner
        self._wrong = wrong

    def __getattr__(self, name: str) -> Any:
        return self._wrong.get(name) or getattr(self._inner, name)

    @contextmanager
    def snapshot(self, *, edition: int | None = None) -> Iterator[Any]:
        with self._inner.snapshot(edition=edition) as snapshot:
            yield LeakySnapshot(snapshot, self._wrong)


class LeakySnapshot:
    def __init__(self, inner: Snapshot, wrong: dict[str, Any]) -> None:
        self._inner = inner
        self._wrong = wrong

    def __getattr__(self, name: str) -> Any:
        return self._wrong.get(name) or getattr(self._inner, name)


class WrappedKeeper:
    def __init__(self, inner: Keeper, **instead: Any) -> None:
        self._inner = inner
        self._instead = instead

    def __getattr__(self, name: str) -> Any:
        return self._instead.get(name) or getattr(self._inner, name)


def test_a_delete_that_does_nothing_is_found_out(collections: Collections, receipts: Path) -> None:
    """By every probe that has something to find."""
    leaky: Any = Leaky(collections, delete=lambda doc_ids, **_: list(doc_ids))
    done = Deleter(leaky, receipts=receipts).delete("c", ["letter"])
    assert not done.passed
    found = probes(done.receipt)
    assert [name for name in PROBES if found[name]["found"]] == PROBES
    assert found["document"]["where"] == ["letter"]
    assert found["chunks"]["where"] == ["edition 1: letter:000000", "edition 1: letter:000001"]


@pytest.mark.parametrize("search", ["search_dense", "search_lexical"])
def test_an_index_that_still_finds_it_is_found_out(collections: Collections, receipts: Path, search: str) -> None:
    """Although the document itself is gone."""
    leaky: Any = Leaky(collections, **{search: lambda *_, **__: [Hit("letter:000001", 0.9)]})
    done = Deleter(leaky, receipts=receipts).delete("c", ["letter"])
    assert not done.passed
    probe = probes(done.receipt)[search.removeprefix("search_")]
    assert (probe["found"], probe["where"]) == (1, ["edition 1: letter:000001"])


class NoisyEmbedder(FakeEmbedder):
    """Vectors with a value in each component, as real ones have."""

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        made = [np.random.default_rng(zlib.crc32(text.encode())).normal(size=self.info.dimension) for text in texts]
        vectors: Vectors = np.array(made, dtype=np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors


def test_what_is_left_in_files_is_found_out(tmp_path: Path, receipts: Path) -> None:
    """Without a purge, a segment keeps the vectors of a few dead chunks; with one, it does not."""
    made = FaissCollections(tmp_path / "data")
    made.create("c", embedder=FakeEmbedder().info)
    put(made, [replacement(f"d{i}", [f"alpha{i} beta{i}"], embedder=NoisyEmbedder()) for i in range(20)])
    leaky: Any = Leaky(made, keeper=lambda keeper: WrappedKeeper(keeper, purge=lambda: None))
    done = Deleter(leaky, receipts=receipts).delete("c", ["d3"])
    probe = probes(done.receipt)["raw"]
    assert not done.passed
    assert probe["found"] > 0
    assert any("segments" in place for place in probe["where"])
    assert Deleter(made, receipts=receipts).delete("c", ["d4"]).passed


def test_token_vectors_that_are_left_are_found_out(tmp_path: Path, receipts: Path) -> None:
    """They say what the text said, and are looked for by themselves."""
    made = FaissCollections(tmp_path / "data")
    made.create("c", embedder=FakeEmbedder().info, token_code="noise")
    blobs = {i: np.random.default_rng(i).bytes(4096) for i in range(20)}
    put(made, [replace(replacement(f"d{i}", [f"alpha{i} beta{i}"]), token_vectors=[blobs[i]]) for i in range(20)])
    with sqlite3.connect(tmp_path / "data" / "c" / "catalog.db") as db:
        db.execute("CREATE TABLE forgotten AS SELECT substr(value, 1000) AS part FROM token_vector")
    done = Deleter(made, receipts=receipts).delete("c", ["d3"])
    assert not done.passed
    assert any("catalog.db" in place for place in probes(done.receipt)["raw"]["where"])
    with sqlite3.connect(tmp_path / "data" / "c" / "catalog.db") as db:
        db.execute("DROP TABLE forgotten")
    assert Deleter(made, receipts=receipts).delete("c", ["d4"]).passed


def test_without_a_purge_raw_content_is_not_looked_at(deleter: Deleter) -> None:
    """The receipt says that it was not asked for."""
    done = deleter.delete("c", ["letter"], purge=False)
    assert done.passed
    assert "raw" not in probes(done.receipt)
    assert done.receipt
    assert done.receipt.content["purge"] is False


# Cut off


class Stop(BaseException):
    """As Ctrl-C or the end of the process."""


def stop(*_: Any, **__: Any) -> Any:
    raise Stop


def test_a_deletion_cut_off_before_its_commit_is_carried_out_by_the_next(
    collections: Collections, receipts: Path, deleter: Deleter
) -> None:
    """With all its probes, since the documents are still there."""
    leaky: Any = Leaky(collections, delete=stop)
    with pytest.raises(Stop):
        Deleter(leaky, receipts=receipts).delete("c", ["letter"])
    assert "file:///docs/letter" in uris(collections)
    done = deleter.delete("c", ["manual"])
    (completed,) = done.completed
    assert done.passed
    assert list(probes(completed)) == PROBES
    assert uris(collections) == []
    assert Chain(receipts, "c").verify().open == ()


def test_a_deletion_cut_off_after_its_commit_is_proved_by_the_next(
    collections: Collections, receipts: Path, deleter: Deleter
) -> None:
    """What the documents said is gone, so the indexes are compared as a whole instead."""
    leaky: Any = Leaky(collections, keeper=lambda keeper: WrappedKeeper(keeper, purge=stop))
    with pytest.raises(Stop):
        Deleter(leaky, receipts=receipts).delete("c", ["letter"])
    assert Chain(receipts, "c").verify().open == (1,)
    (completed,) = deleter.resume("c").completed
    found = probes(completed)
    assert completed.content["passed"]
    assert found["chunks"]["looked_for"] == 2
    assert found["raw"]["looked_for"] == 0
    assert "all indexes were compared" in found["check"]["note"]
    assert deleter.resume("c").completed == ()


def test_what_came_back_since_is_not_deleted_by_a_completion(
    collections: Collections, receipts: Path, deleter: Deleter
) -> None:
    """Somebody wants it there; the receipt says so."""
    leaky: Any = Leaky(collections, keeper=lambda keeper: WrappedKeeper(keeper, purge=stop))
    with pytest.raises(Stop):
        Deleter(leaky, receipts=receipts).delete("c", ["letter", "manual"])
    back = replacement("letter", ["dear zyxomorph"])
    assert back.source
    put(collections, [replace(back, source=replace(back.source, recorded_at="2999-01-01T00:00:00+00:00"))])
    (completed,) = deleter.resume("c").completed
    assert uris(collections) == ["file:///docs/letter"]
    assert "file:///docs/letter came in again" in completed.content["note"]
    assert [one["doc_id"] for one in completed.content["documents"]] == ["manual"]


def test_a_purge_that_others_keep_off_is_made_up_for(
    collections: Collections, receipts: Path, deleter: Deleter
) -> None:
    """The document is deleted, the receipt says what is left to do, and the next run does it."""

    def busy() -> None:
        raise WriterBusy("a reader holds on")

    leaky: Any = Leaky(collections, keeper=lambda keeper: WrappedKeeper(keeper, purge=busy))
    done = Deleter(leaky, receipts=receipts).delete("c", ["letter"])
    assert not done.passed
    assert done.receipt
    assert done.receipt.content["complete"] is False
    assert "a reader holds on" in done.receipt.content["note"]
    assert uris(collections) == ["file:///docs/manual"]
    assert deleter.resume("c").passed
    assert Chain(receipts, "c").verify().open == ()


def test_what_comes_in_meanwhile_goes_as_well(collections: Collections, receipts: Path) -> None:
    """An attachment that a sync has written between our look and our commit."""
    late = came_in("file:///docs/letter", "late")

    class Racing(Leaky):
        def open(self, name: str, *, writable: bool = False) -> Any:
            if writable:
                put(collections, [late])
            return super().open(name, writable=writable)

    done = Deleter(Racing(collections), receipts=receipts).delete("c", ["letter"])
    assert done.passed
    assert uris(collections) == ["file:///docs/manual"]
    assert done.receipt
    assert {one["doc_id"] for one in done.receipt.content["documents"]} == {"letter", "late"}


# Whole collections


def test_a_dropped_collection_has_a_receipt(collections: Collections, receipts: Path, tmp_path: Path) -> None:
    """How much it held, a hash of which documents, and that neither name nor folder is there."""
    deleter = Deleter(collections, receipts=receipts, folder_of=lambda name: tmp_path / "data" / name)
    done = deleter.drop("c")
    assert done.passed
    assert done.receipt
    holds = done.receipt.content["holds"]
    assert (holds["documents"], holds["editions"]) == (2, [[1, 4]])
    assert len(holds["doc_ids_sha256"]) == 64
    assert {name: probe["found"] for name, probe in probes(done.receipt).items()} == {"collection": 0, "folder": 0}
    with pytest.raises(CollectionNotFound):
        deleter.drop("c")


def test_a_folder_that_is_left_behind_is_found_out(collections: Collections, receipts: Path, tmp_path: Path) -> None:
    """Renamed by a drop that was killed, its files are still there."""
    left = tmp_path / "data" / ".dropped-c-0a1b"
    done = Deleter(
        collections, receipts=receipts, folder_of=lambda name: tmp_path / "data" / name,
        on_stage=lambda _: left.mkdir(parents=True),
    )  # fmt: skip
    if isinstance(collections, MemoryCollections):
        assert probes(done.drop("c").receipt)["folder"]["where"] == [str(left)]
    else:
        assert done.drop("c").passed  # this drop has removed what the other one left


def test_a_collection_that_cannot_be_read_can_be_dropped(tmp_path: Path, receipts: Path) -> None:
    """And the receipt does not claim to know what was in it."""
    made = FaissCollections(tmp_path / "data")
    made.create("c", embedder=FakeEmbedder().info)
    (tmp_path / "data" / "c" / "catalog.db").write_bytes(b"not a database, whatever it was" * 1000)
    done = Deleter(made, receipts=receipts).drop("c")
    assert done.passed
    assert done.receipt
    assert done.receipt.content["holds"] == {"note": "what it held cannot be read"}


def test_a_drop_cut_off_is_completed_unless_the_name_is_in_use_again(
    collections: Collections, receipts: Path, deleter: Deleter
) -> None:
    """A collection made since is not the one that was meant."""
    leaky: Any = Leaky(collections)
    leaky.drop = stop
    with pytest.raises(Stop):
        Deleter(leaky, receipts=receipts).drop("c")
    chain = Chain(receipts, "c")
    old = chain.path.read_text()
    assert deleter.resume("c").passed
    assert collections.names() == []
    collections.create("c", embedder=FakeEmbedder().info)
    intent = json.loads(old)["at"]
    chain.path.unlink()
    with chain.locked():
        chain.append("intent", json.loads(old.replace(intent, "2001-01-01T00:00:00+00:00")))
    (completed,) = deleter.resume("c").completed
    assert collections.names() == ["c"]
    assert "came in again" in completed.content["note"]


def test_deletions_left_open_end_with_their_collection(
    collections: Collections, receipts: Path, deleter: Deleter
) -> None:
    """Nothing is left to look through."""
    leaky: Any = Leaky(collections, delete=stop)
    with pytest.raises(Stop):
        Deleter(leaky, receipts=receipts).delete("c", ["letter"])
    done = deleter.drop("c")
    assert done.passed
    assert [one.content["note"] for one in done.completed] == ["the whole collection is gone"]
    assert Chain(receipts, "c").verify().open == ()


def test_nothing_is_deleted_where_no_receipt_can_be_written(collections: Collections, tmp_path: Path) -> None:
    """The folder is tried first."""
    (tmp_path / "file").write_text("")
    with pytest.raises(Exception, match="receipts cannot be kept"):
        Deleter(collections, receipts=tmp_path / "file" / "receipts").delete("c", ["letter"])
    assert len(uris(collections)) == 2
