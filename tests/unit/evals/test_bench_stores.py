"""The benchmark of whole stores loads, searches and measures what it says, on a tiny collection."""

import json
from pathlib import Path

import numpy as np
import pytest

from evals.bench import store_client, stores
from evals.bench.store_places import NAME, fill, opened, pages, temporary_place
from retrieval import filters
from retrieval.build import build_collections
from retrieval.ports import Embedder
from retrieval.records import EmbedderInfo
from retrieval.settings import RetrievalSettings
from tests.corpus import replacement
from tests.fakes import FakeEmbedder

DOCUMENTS = 300


class OnlyFake:
    """For whatever edition, the embedder that made it."""

    def of(self, info: EmbedderInfo) -> Embedder:
        return FakeEmbedder()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> RetrievalSettings:
    settings = RetrievalSettings(path=tmp_path_factory.mktemp("data"))
    collections = build_collections(settings)
    tokens = FakeEmbedder(token_code="fake-1")
    collections.create("c", embedder=tokens.info, token_code="fake-1")
    store = collections.open("c", writable=True)
    store.replace([
        replacement(f"d{i}", [f"pump{i % 7} valve{i}", f"filter{i % 11} gasket"], title=f"Title {i}", embedder=tokens)
        for i in range(DOCUMENTS)
    ])  # fmt: skip
    store.close()
    collections.close()
    return settings


@pytest.fixture(scope="module")
def material(source: RetrievalSettings) -> stores.Material:
    return stores.read_material(
        source, "c", embedders=OnlyFake(), queries=["pump3 gasket", "valve17"], titles=5, chunks=None
    )


def test_the_material_is_the_whole_collection(material: stores.Material) -> None:
    """Every chunk with its vector, the queries given and titles from all over."""
    assert len(material.chunk_ids) == len(material.vectors) == len(material.shares) == 2 * DOCUMENTS
    assert material.queries[:3] == ["pump3 gasket", "valve17", "Title 0"]
    assert len(material.queries) == len(material.query_vectors) == 7
    row = list(material.chunk_ids).index("d17:000000")
    assert material.vectors[row] == pytest.approx(FakeEmbedder().embed_queries(["Title 17\npump3 valve17"])[0])


def test_it_stops_at_the_chunks_asked_for(source: RetrievalSettings) -> None:
    """No more documents than it takes."""
    assert sum(len(one.chunks) for page in pages(source, "c", 101) for one in page) == 102


@pytest.mark.parametrize("target", stores.TARGETS)
def test_a_store_is_filled_and_measured(
    target: str, source: RetrievalSettings, material: stores.Material, request: pytest.FixtureRequest
) -> None:
    """On little data all stores are exact, also under each filter; every number is there."""
    url = request.getfixturevalue("postgres_url") if target == "pgvector" else ""
    with temporary_place(target, url) as place:
        measured = stores.measure_store(place, source, "c", material)
        with opened(place, NAME) as snapshot:
            assert snapshot.info.chunks == 2 * DOCUMENTS
            passing = snapshot.documents(filter=store_client.kept(10), limit=1000)
    assert 10 < len(passing) < 60, "a tenth of the documents"
    assert set(measured.recall.values()) == {1.0}
    assert len(measured.recall) == 2 * len(store_client.SHARES)
    assert measured.rate > 0
    assert measured.bytes_per_chunk > 4 * FakeEmbedder().info.dimension, "at least its vector"
    assert {"dense", "lexical", "hybrid", "hybrid 1%"} <= measured.client.times.keys()
    assert all(0 < times.p50 <= times.p95 for times in measured.client.times.values())
    assert measured.client.first_ms > 0


def test_a_store_that_finds_less_has_less_recall(material: stores.Material) -> None:
    """Recall is the share of the nearest that were found; what ties with the last of them counts."""
    exact = np.argsort(-(material.query_vectors @ material.vectors.T), axis=1)
    nearest = [[material.chunk_ids[row] for row in rows] for rows in exact]
    halves = {k: [ids[: k // 2] for ids in nearest] for k in (10, store_client.DEPTH)}
    client = store_client.Client(
        {100: halves} | {share: {10: [[]] * 7, 100: [[]] * 7} for share in (50, 10, 1)}, {}, 1, 1
    )
    found = stores.recall(client, material)
    assert found["recall@10 of 100%"] == found["recall@100 of 100%"] == 0.5
    assert found["recall@10 of 50%"] == 0.0


def test_places_leave_nothing(source: RetrievalSettings, postgres_url: str) -> None:
    """The folder and the schema are gone afterwards."""
    with temporary_place("faiss", "") as place:
        fill(place, source, "c", 10)
        folder = place.path
    assert not folder.exists()
    with temporary_place("pgvector", postgres_url) as place:
        fill(place, source, "c", 10)
    assert build_collections(place).names() == []


def test_plain_sql_ranks_as_the_store_does(
    source: RetrievalSettings, material: stores.Material, postgres_url: str
) -> None:
    """The query that ours is compared with is BM25, too: the same scores, so about the same chunks."""
    from evals.bench import sql_bm25

    with temporary_place("pgvector", postgres_url) as place:
        fill(place, source, "c", 600)
        found = sql_bm25.compare(place, ["valve17 pump3", "valve3 filter4", "Title 7 valve7"])
    assert found["BM25, SQL: largest difference of a score"] < 1e-5
    assert found["BM25, pages: bytes per chunk"] > 0
    assert found["BM25, SQL: p50 ms"] > 0
    assert 0 < found["ts_rank: share of the store's 10 best"] <= 1


def test_the_command_prints_json(
    source: RetrievalSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One object per store, with every row of the table."""
    monkeypatch.setattr(stores, "build_embedders", lambda _: OnlyFake())
    queries = tmp_path / "queries.jsonl"
    queries.write_text(json.dumps({"text": "valve17"}) + "\n")
    common = ["--data", str(source.path), "--collection", "c", "--to", "faiss", "--chunks", "50", "--titles", "2"]
    stores.main([*common, "--queries", str(queries), "--json"])
    result = json.loads(capsys.readouterr().out)
    assert result["chunks"] == 50
    assert result["stores"]["faiss"]["recall@10 of 100%"] == 1.0
    stores.main(common)
    assert "recall@10" in capsys.readouterr().out


def test_a_store_that_needs_a_server_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is read."""
    monkeypatch.delenv("POSTGRES_URL", raising=False)
    with pytest.raises(SystemExit):
        stores.main(["--to", "faiss", "--from", "pgvector"])
    assert "--postgres-url" in capsys.readouterr().err


def test_share_filters_keep_what_they_say() -> None:
    """No filter for all, else numbers below the share."""
    assert store_client.kept(100) is None
    assert store_client.kept(10) == filters.Compare("bench_share", "$lt", 10)
