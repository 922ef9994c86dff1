"""What an edition keeps of its chunks beside their text: vectors and, where it keeps them, token vectors."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ingest.indexing import Embedding, Indexer, token_code
from ingest.pipeline import ingest
from ingest.reindex import make_live, reindex
from ingest.settings import IngestSettings
from ingest.sources import uri_for
from ingest.tasks import Prepared
from ingest.writing import Unit, Writer
from retrieval.build import build_collections, build_embedders
from retrieval.errors import EmbedderMismatch
from retrieval.ports import Embedders, Vectors, VectorStore
from retrieval.records import Chunking, Edition, EmbedderInfo
from retrieval.settings import RetrievalSettings
from tests.corpus import replacement, source_of
from tests.fakes import FakeEmbedder, WordTokenizer

SETTINGS = IngestSettings(workers=0)
TOKENS = FakeEmbedder(token_code="fake-1")


class Plain:
    """An embedder that knows nothing of token vectors."""

    info = FakeEmbedder(name="plain").info
    tokenizer = WordTokenizer()

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        return FakeEmbedder().embed_queries(texts)

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        return FakeEmbedder().embed_documents(texts)


def only(embedder: FakeEmbedder) -> Embedders:
    return build_embedders(RetrievalSettings(), embedder)


def edition(info: EmbedderInfo, code: str = "") -> Edition:
    return Edition(3, info, Chunking(), 0, 0, "2026-11-01T12:00:00+00:00", code)


@pytest.fixture
def store() -> Iterator[VectorStore]:
    """Empty; its edition keeps token vectors."""
    collections = build_collections(RetrievalSettings(store="memory"))
    collections.create("c", embedder=TOKENS.info, chunking=SETTINGS.chunking, token_code="fake-1")
    with closing(collections.open("c", writable=True)) as opened:
        yield opened


def check(store: VectorStore, embedder: FakeEmbedder = TOKENS) -> int:
    """Each chunk has the token vectors of its own text; returns how many there are."""
    with store.snapshot() as snapshot:
        assert snapshot.info.edition.token_code == embedder.token_code
        contents = snapshot.contents([one.doc_id for one in snapshot.documents(limit=1000)])
    for one in contents:
        vectors, blobs = embedder.embed_documents_with_tokens([chunk.indexed_text for chunk in one.chunks])
        assert list(one.token_vectors) == (blobs if embedder.token_code else [])
        np.testing.assert_array_equal(one.vectors, vectors)
    return sum(len(one.chunks) for one in contents)


def test_an_edition_decides_whether_token_vectors_are_made() -> None:
    """Many texts are embedded in slices, and none is lost or swapped."""
    chunks = [chunk for i in range(300) for chunk in replacement(f"d{i}", [f"pump {i}"]).chunks]
    told: list[int] = []
    made = Indexer(edition(TOKENS.info, "fake-1"), only(TOKENS)).embed(chunks, told.append)
    vectors, blobs = TOKENS.embed_documents_with_tokens([chunk.indexed_text for chunk in chunks])
    assert list(made.token_vectors) == blobs
    np.testing.assert_array_equal(made.vectors, vectors)
    assert told == [256, 44]
    without = Indexer(edition(TOKENS.info), only(TOKENS)).embed(chunks)
    assert list(without.token_vectors) == []
    np.testing.assert_array_equal(without.vectors, vectors)


def test_nothing_to_embed() -> None:
    """No chunks give no vectors, of the right dimension."""
    made = Indexer(edition(TOKENS.info, "fake-1"), only(TOKENS)).embed([])
    assert (made.vectors.shape, list(made.token_vectors)) == ((0, 64), [])


@pytest.mark.parametrize(
    ("embedder", "message"),
    [
        (FakeEmbedder(token_code="fake-2"), "'fake-1', but 'fake' makes the code 'fake-2' here"),
        (FakeEmbedder(), "'fake-1', but 'fake' makes none here"),
        (Plain(), "'fake-1', but 'plain' makes none here"),
    ],
)
def test_another_code_is_refused(embedder: FakeEmbedder, message: str) -> None:
    """Blobs of two codes do not compare, and an edition without some of them ranks by chance."""
    with pytest.raises(EmbedderMismatch, match=f"edition 3 .*{message}.*reindex"):
        Indexer(edition(embedder.info, "fake-1"), only(embedder))


def test_the_code_of_a_new_edition() -> None:
    """That of the embedder, when it has one and it is wanted."""
    assert token_code(TOKENS) == "fake-1"
    assert token_code(TOKENS, wanted=False) == token_code(FakeEmbedder()) == token_code(Plain()) == ""


def test_parts_joined_are_the_whole() -> None:
    """With documents that have no chunks, and without any documents."""
    vectors, blobs = TOKENS.embed_documents_with_tokens(["a", "b", "c"])
    whole = Embedding(vectors, blobs)
    parts = list(whole.divided([1, 0, 2]))
    assert [list(part.token_vectors) for part in parts] == [blobs[:1], [], blobs[1:]]
    again = Embedding.joined(parts, like=whole)
    np.testing.assert_array_equal(again.vectors, vectors)
    assert list(again.token_vectors) == blobs
    assert Embedding.joined([], like=whole).vectors.shape == (0, 64)


def test_what_is_ingested_has_them(store: VectorStore, tmp_path: Path) -> None:
    """A chunk that is as it was in the former version takes them along, unasked."""
    parts = [f"# Part {n}\n\n" + f"Pump {n} starts at {n} bar and stops at noon. " * 20 for n in range(6)]
    (tmp_path / "a.md").write_text("\n\n".join(parts))
    ingest([tmp_path], store=store, embedders=only(TOKENS), settings=SETTINGS)
    first = check(store)
    parts[3] = "# Part 3\n\nIt was taken out."
    (tmp_path / "a.md").write_text("\n\n".join(parts))
    report = ingest([tmp_path], store=store, embedders=only(TOKENS), settings=SETTINGS)
    assert report.reused > 0
    assert first > check(store) == report.reused + report.chunks


def test_a_moved_file_takes_them_along(store: VectorStore, tmp_path: Path) -> None:
    """Nothing is embedded again."""
    (tmp_path / "a.txt").write_text("The pump starts at 40 bar.")
    ingest([tmp_path], store=store, embedders=only(TOKENS), settings=SETTINGS)
    (tmp_path / "a.txt").rename(tmp_path / "b.txt")
    report = ingest([tmp_path], store=store, embedders=only(TOKENS), settings=SETTINGS)
    assert (report.moved, report.chunks, check(store)) == (1, 0, 1)
    with store.snapshot() as snapshot:
        assert [info.source_uri for info in snapshot.documents()] == [uri_for(tmp_path / "b.txt")]


def test_what_is_deleted_on_its_way_takes_its_own(store: VectorStore) -> None:
    """The other documents of the batch keep theirs: none slips into the place of what is gone."""
    writer = Writer(store, only(TOKENS), lambda _: None)
    for name, texts in (("a", ["pump"]), ("b", ["valve", "oil"]), ("c", ["filter", "hall", "bar"])):
        one = replacement(name, texts, embedder=TOKENS)
        line = source_of(name, version=one.document.version)
        writer.add(Unit((Prepared(one.document, one.chunks, 1, line, name),)))
    store.record([source_of("b", status="deleted")])
    writer.finish()
    with store.snapshot() as snapshot:
        assert [info.doc_id for info in snapshot.documents()] == ["a", "c"]
    assert check(store) == 4


def _switched(store: VectorStore, code: str, **changes: object) -> int:
    report = reindex(
        store, only(TOKENS), embedder=TOKENS.info, chunking=SETTINGS.chunking, token_code=code,
        **changes,  # type: ignore[arg-type]
    )  # fmt: skip
    assert report.outcome in {"switched", "current"}
    return report.edition


def test_a_reindex_brings_a_collection_to_them_or_away_from_them(store: VectorStore) -> None:
    """An edition with them and one without are two; going back to the first embeds only what it lacks."""
    store.replace([replacement(f"d{i}", ["pump", f"valve {i}"], embedder=TOKENS) for i in range(5)])
    assert _switched(store, "fake-1") == 1
    assert _switched(store, "") == 2
    check(store, FakeEmbedder())
    store.replace([replacement("more", ["oil"])])
    assert _switched(store, "fake-1") == 1
    assert check(store) >= 6
    assert _switched(store, "") == 2


def test_a_reindex_with_another_code_is_refused(store: VectorStore) -> None:
    """An edition that nobody here can fill does not become live, and says why."""
    store.replace([replacement("a", ["pump"], embedder=TOKENS)])
    number = store.add_edition(embedder=TOKENS.info, chunking=Chunking(50), token_code="fake-9")
    with pytest.raises(EmbedderMismatch, match="'fake-9'"):
        make_live(store, only(TOKENS), number)
    with pytest.raises(EmbedderMismatch, match=r"the edition that is wanted .*'fake-2'"):
        _switched(store, "fake-2")
    with store.snapshot() as snapshot:
        assert (snapshot.info.live, len(snapshot.info.editions)) == (1, 2)


def test_a_switch_to_an_edition_with_them_is_followed(store: VectorStore, tmp_path: Path) -> None:
    """What was embedded without, for the former edition, is embedded again with them."""
    plain = store.add_edition(embedder=TOKENS.info, chunking=SETTINGS.chunking)
    store.switch(plain)
    (tmp_path / "a.txt").write_text("The pump starts at 40 bar.")

    def switch(_: object) -> None:
        with store.snapshot() as snapshot:
            live = snapshot.info.live
        if live == plain and not switched:
            switched.append(True)
            store.switch(1)

    switched: list[bool] = []
    on_event: Callable[[object], None] = switch
    ingest([tmp_path], store=store, embedders=only(TOKENS), settings=SETTINGS, on_event=on_event)
    assert switched
    assert check(store) == 1


def test_units_of_several_documents(store: VectorStore) -> None:
    """A message with attachments is one unit: each document gets its own part."""
    writer = Writer(store, only(TOKENS), lambda _: None)
    made = [
        replacement(name, texts, embedder=TOKENS) for name, texts in (("m", ["pump", "oil"]), ("n", []), ("o", ["x"]))
    ]
    lines = [replace(source_of(one.document.doc_id), version=one.document.version) for one in made]
    documents = [Prepared(one.document, one.chunks, 1, line, "x") for one, line in zip(made, lines, strict=True)]
    writer.add(Unit(tuple(documents)))
    writer.finish()
    assert check(store) == 3
