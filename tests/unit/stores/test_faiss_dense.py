"""The dense index of a segment: what the short way to candidates keeps, whatever is filtered, deleted or damaged."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from numpy.typing import NDArray

from retrieval.errors import EmbedderMismatch, StoreUnavailable
from retrieval.filters import Compare
from retrieval.ports import VectorStore
from retrieval.records import Hit
from retrieval.stores.faiss import FaissCollections, dense, index_writer, removal, segment
from tests.corpus import replacement
from tests.fakes import FakeEmbedder

DIMENSION = 128
KINDS: list[dense.IndexKind] = ["hnsw", "compact"]
Floats = NDArray[np.float32]


_RNG = np.random.default_rng(42)
_CENTRES, _SPREAD = _RNG.normal(size=(40, 16)), _RNG.normal(size=(16, DIMENSION))


def vectors(count: int, seed: int = 0) -> Floats:
    """Clusters of normalised vectors with few degrees of freedom, as texts make them."""
    rng = np.random.default_rng(seed)
    rows = (_CENTRES[rng.integers(0, 40, count)] + 0.5 * rng.normal(size=(count, 16))) @ _SPREAD
    normalised: Floats = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return normalised


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A short way from 200 vectors on, taken whenever it can be."""
    monkeypatch.setattr(dense, "APPROXIMATE_CHUNKS", 200)
    monkeypatch.setattr(dense, "EXACT_PER_BREADTH", 0)


def made(rows: Floats, kind: dense.IndexKind) -> dense.Dense:
    return dense.with_short_way(dense.flat(DIMENSION, [rows]), kind)


def recall(index: dense.Dense, rows: Floats, k: int, mask: NDArray[np.bool_] | None = None) -> float:
    """Mean share of the k nearest that are found, over 50 queries."""
    shares = []
    for query in vectors(50, seed=1):
        exact = rows.astype(np.float64) @ query.astype(np.float64)
        if mask is not None:
            exact[~mask] = -2.0
        found, scores = index.nearest(query, k, mask)
        assert len(found) == len(set(found.tolist())) == k
        np.testing.assert_allclose(scores, exact[found], atol=1e-12)
        shares.append((exact[found] >= np.sort(exact)[-k] - 1e-9).mean())
    return float(np.mean(shares))


@pytest.mark.parametrize("kind", KINDS)
def test_the_short_way_finds_nearly_all_and_scores_exactly(kind: dense.IndexKind) -> None:
    """Scores are those of the full-precision vectors to the last digit, whatever the codes say."""
    rows = vectors(6000)
    index = made(rows, kind)
    assert index.short is not None
    assert recall(index, rows, 10) > 0.95
    assert recall(index, rows, 100) > 0.95


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.9, 0.3, 0.02])
def test_a_filter_applies_before_the_k_best(kind: dense.IndexKind, share: float) -> None:
    """Wide and narrow: k are found that pass, and they are the nearest ones."""
    rows = vectors(6000)
    mask = np.random.default_rng(3).random(6000) < share
    assert recall(made(rows, kind), rows, 20, mask) > 0.95


@pytest.mark.parametrize("kind", KINDS)
def test_a_filter_that_keeps_what_is_far_away_gets_its_k(
    kind: dense.IndexKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be reached from the query's surroundings is found by scoring all that passes."""
    monkeypatch.setattr(dense, "EXACT_PER_BREADTH", 2)
    rows = vectors(6000)
    index = made(rows, kind)
    for query in vectors(5, seed=1):
        order = np.argsort(rows @ query)
        mask = np.zeros(6000, dtype=np.bool_)
        mask[order[:3000]] = True
        found, scores = index.nearest(query, 50, mask)
        assert mask[found].all()
        expected = np.sort(rows[order[2950:3000]].astype(float) @ query)
        assert (np.sort(scores) >= expected[0] - 1e-6).mean() > 0.95


def test_narrow_filters_are_searched_exactly_and_wide_ones_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """The switch is where scoring all that pass costs as much as walking the graph."""
    monkeypatch.setattr(dense, "EXACT_PER_BREADTH", 2)
    rows = vectors(6000)
    index = made(rows, "hnsw")
    searched: list[int] = []
    nearest = dense.Short.nearest

    def watched(short: dense.Short, vector: Floats, breadth: int) -> dense.Positions:
        searched.append(breadth)
        return nearest(short, vector, breadth)

    monkeypatch.setattr(dense.Short, "nearest", watched)
    for passing, breadths in ((6000, [128]), (3000, [256]), (500, []), (20, [])):
        mask = np.zeros(6000, dtype=np.bool_)
        mask[:passing] = True
        searched.clear()
        index.nearest(rows[0], 10, mask)
        assert searched == breadths, passing


@pytest.mark.parametrize("kind", KINDS)
def test_copies_are_kept_once_and_found_all(kind: dense.IndexKind) -> None:
    """A text that recurs 300 times takes one place on the short way, and hides nothing behind it."""
    rows = np.concatenate([vectors(1000), np.repeat(vectors(1, seed=9), 300, axis=0), vectors(1000, seed=2)])
    index = made(rows, kind)
    assert index.short is not None
    assert index.short.index.ntotal == 2001
    found, scores = index.nearest(rows[1100], 300, None)
    assert sorted(found.tolist()) == list(range(1000, 1300))
    np.testing.assert_allclose(scores, 1.0, atol=1e-6)
    mask = np.ones(len(rows), dtype=np.bool_)
    mask[1000:1299] = False
    found, _ = index.nearest(rows[1100], 5, mask)
    assert 1299 in found
    assert mask[found].all()
    assert recall(index, rows, 10) > 0.95


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_saved_is_mapped_and_searches_the_same(kind: dense.IndexKind, tmp_path: Path) -> None:
    """After loading, results are equal; few vectors, or kind 'flat', get no short way."""
    rows = vectors(1000)
    index = made(rows, kind)
    dense.save(index, tmp_path)
    loaded = dense.load(tmp_path)
    assert loaded.short is not None
    assert loaded.short.kind == kind
    np.testing.assert_array_equal(loaded.vectors, rows)
    for query in vectors(20, seed=1):
        for expected, actual in zip(index.nearest(query, 10, None), loaded.nearest(query, 10, None), strict=True):
            np.testing.assert_array_equal(expected, actual)
    assert made(rows[:199], kind).short is None
    assert made(rows, "flat").short is None


def fill(folder: Path, kind: dense.IndexKind, count: int) -> FaissCollections:
    """A collection whose segments have a short way: two chunks in each document."""
    collections = FaissCollections(folder, index=kind)
    collections.create("c", embedder=FakeEmbedder().info)
    store = collections.open("c", writable=True)
    words = ["pump", "valve", "bar", "filter", "oil", "seal", "rotor", "flange", "gasket", "sensor"]
    store.replace(
        [
            replacement(f"d{n:04d}", [" ".join(words[n // 10**i % 10] for i in range(3)), f"unit {n}"], {"n": n})
            for n in range(count)
        ]
    )
    store.close()
    return collections


def search(store: VectorStore, below: int | None = None) -> list[Hit]:
    with store.snapshot() as snapshot:
        query = FakeEmbedder().embed_queries(["pump valve oil"])[0]
        return snapshot.search_dense(query, k=20, filter=Compare("n", "$lt", below) if below else None)


@pytest.mark.parametrize("kind", KINDS)
def test_deleted_chunks_are_not_found_on_the_short_way(kind: dense.IndexKind, tmp_path: Path) -> None:
    """Fewer than lead to a rewriting: their places stay in the segment, and others move up."""
    collections = fill(tmp_path, kind, 500)
    store = collections.open("c", writable=True)
    best = [hit.chunk_id for hit in search(store)]
    store.delete([chunk_id.split(":")[0] for chunk_id in best])
    after = search(store)
    assert len(after) == 20
    assert not {hit.chunk_id for hit in after} & set(best)
    narrow = search(store, below=100)
    assert len(narrow) == 20
    assert all(hit.chunk_id < "d0100" for hit in narrow)
    store.close()


@pytest.mark.parametrize("file", ["short-hnsw.faiss", "short-members.npy", "short-starts.npy", "ids.npy"])
@pytest.mark.parametrize("damage", ["gone", "cut", "longer", "foreign"])
def test_a_damaged_short_way_is_made_again(tmp_path: Path, file: str, damage: str) -> None:
    """Readers search the catalog's vectors exactly; the next writer writes the segment anew."""
    collections = fill(tmp_path, "hnsw", 300)
    expected = search(collections.open("c"))
    (folder,) = (tmp_path / "c" / "segments").iterdir()
    content = (folder / file).read_bytes()
    if damage == "gone":
        (folder / file).unlink()
    else:
        new = {"cut": content[:-100], "longer": content + b"x", "foreign": b"x" * len(content)}[damage]
        (folder / file).write_bytes(new)
    assert search(collections.open("c")) == expected
    collections.open("c", writable=True).close()
    (again,) = (tmp_path / "c" / "segments").iterdir()
    assert again != folder
    assert segment.load(again).dense.short is not None
    assert search(collections.open("c")) == expected


def test_another_kind_holds_for_what_is_written_from_then_on(tmp_path: Path) -> None:
    """Segments of several kinds serve one collection; a merge writes the kind that is set."""
    fill(tmp_path, "hnsw", 300)
    collections = FaissCollections(tmp_path, index="compact")
    store = collections.open("c", writable=True)
    store.replace([replacement(f"e{n:04d}", ["pump valve oil", f"spare {n}"]) for n in range(150)])
    store.close()
    kinds = [
        loaded.kind for path in (tmp_path / "c" / "segments").iterdir() if (loaded := segment.load(path).dense.short)
    ]
    assert sorted(kinds) == ["compact", "hnsw"]
    assert {hit.chunk_id[0] for hit in search(collections.open("c"))} == {"d", "e"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_writer, "MERGE_FACTOR", 2)
        collections.open("c", writable=True).close()
    (folder,) = (tmp_path / "c" / "segments").iterdir()
    short = segment.load(folder).dense.short
    assert short is not None
    assert short.kind == "compact"


def test_a_vector_of_another_dimension_is_refused(tmp_path: Path) -> None:
    """Searching and writing name both sizes; nothing is written."""
    collections = fill(tmp_path, "hnsw", 300)
    store = collections.open("c", writable=True)
    with store.snapshot() as snapshot, pytest.raises(EmbedderMismatch, match="64 dimensions"):
        snapshot.search_dense(np.ones(32, dtype=np.float32), k=1)
    with pytest.raises(EmbedderMismatch, match=r"\(1, 32\), the collection needs \(1, 64\)"):
        store.replace([replacement("x", ["pump"], embedder=FakeEmbedder(dimension=32))])
    with store.snapshot() as snapshot:
        assert snapshot.info.documents == 300
    store.close()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading goes on; opening for writing says which file is refused."""
    collections = fill(tmp_path, "hnsw", 300)
    expected = search(collections.open("c"))

    def refuse(path: object, *_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("os.open", refuse)
    with pytest.raises(StoreUnavailable, match=r"c/upkeep\.lock cannot be used: Permission denied"):
        collections.open("c", writable=True)
    assert search(collections.open("c")) == expected


def test_a_read_only_catalog_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite refuses the commit, and the message has the file."""
    collections = fill(tmp_path, "hnsw", 300)
    store = collections.open("c", writable=True)
    store._catalog._db.execute("PRAGMA query_only = ON")
    with pytest.raises(StoreUnavailable, match=r"catalog\.db cannot be used now: attempt to write a readonly database"):
        store.delete(["d0001"])
    store._catalog._db.execute("PRAGMA query_only = OFF")
    assert store.delete(["d0001"]) == ["d0001"]
    store.close()
    with sqlite3.connect(tmp_path / "c" / "catalog.db") as db:
        assert db.execute("SELECT count(*) FROM document").fetchone() == (299,)


def test_a_graph_outlives_what_is_taken_out_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds of deletions leave it as good as it was, with no code of what is gone, not even as another's stand-in."""
    monkeypatch.setattr(removal, "MOST_WAYMARKS", 0.2)
    rows = vectors(6000)
    rows[5000:5500] = rows[:500]  # copies
    index = made(rows, "hnsw")
    rng = np.random.default_rng(5)
    for _ in range(5):
        alive = rng.random(len(rows)) > 0.03
        assert index.short is not None
        short = removal.without(index.short, alive)
        assert short is not None
        gone, rows = rows[~alive], rows[alive]
        index = dense.Dense(dense.flat(DIMENSION, [rows]).flat, short)
        codec: Any = faiss.downcast_index(short.index.storage)
        left = set(map(bytes, codec.sa_encode(rows)))
        assert set(map(bytes, codec.sa_encode(gone))) - left, "some codes are of what is gone alone"
        assert set(map(bytes, faiss.vector_to_array(codec.codes).reshape(codec.ntotal, -1))) == left
        assert recall(index, rows, 10) > 0.95
    assert dense.with_short_way(index, "hnsw") is index


def test_a_graph_is_given_up_when_much_of_it_is_gone() -> None:
    """Waymarks are looked at in vain: with too many, and with nothing left, it is built anew."""
    index = made(vectors(400), "hnsw").short
    assert index is not None
    assert removal.without(index, np.arange(400) >= 40) is None
    assert removal.without(index, np.zeros(400, dtype=np.bool_)) is None
    kept = removal.without(index, np.arange(400) >= 10)
    assert kept is not None
    assert len(kept.members) == 390
    assert removal.without(kept, np.arange(390) >= 11) is None, "those of earlier rounds count"


def test_a_purge_keeps_the_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One document of many goes without a graph being built, and the doctor finds nothing wrong afterwards."""
    collections = FaissCollections(tmp_path)
    collections.create("c", embedder=FakeEmbedder().info)
    texts = [f"pump{i} valve{i * 7} bar{i * 13}" for i in range(300)]
    with closing(collections.open("c", writable=True)) as store:
        store.replace([replacement(f"d{i}", [text]) for i, text in enumerate(texts)])
    with closing(collections.open("c", writable=True)) as store:
        store.delete(["d7"])
    monkeypatch.setattr(dense, "_graph", None)  # who builds one, fails
    with closing(collections.keeper("c")) as keeper:
        keeper.purge()
        assert list(keeper.check()) == []
    assert list((tmp_path / "c" / "segments").glob("*/short-hnsw.faiss"))
    gone, there = FakeEmbedder().embed_queries([texts[7], texts[8]])
    with closing(collections.open("c")) as store, store.snapshot() as snapshot:
        assert snapshot.search_dense(there, k=1)[0].chunk_id.startswith("d8:")
        assert not any(hit.chunk_id.startswith("d7:") for hit in snapshot.search_dense(gone, k=300))
