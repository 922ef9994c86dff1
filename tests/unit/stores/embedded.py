"""A collection of the FAISS store, looked at from outside: what is found, which segments there are."""

from pathlib import Path

from retrieval.ports import VectorStore
from retrieval.stores.faiss import FaissCollections
from tests.corpus import replacement
from tests.fakes import FakeEmbedder

QUERY = FakeEmbedder().embed_queries(["pump"])[0]


def fill(collections: FaissCollections, *doc_ids: str) -> None:
    store = collections.open("c", writable=True)
    store.replace([replacement(doc_id, [f"pump {doc_id}", "valve"]) for doc_id in doc_ids])
    store.close()


def found(store: VectorStore) -> tuple[list[str], list[str]]:
    """Documents by dense and by lexical search."""
    with store.snapshot() as snapshot:
        dense = [hit.chunk_id for hit in snapshot.search_dense(QUERY, k=1000)]
        lexical = [hit.chunk_id for hit in snapshot.search_lexical({"pump": 1.0}, k=1000)]
    return sorted({i.split(":")[0] for i in dense}), sorted(i.split(":")[0] for i in lexical)


def segments(collections: FaissCollections) -> list[Path]:
    return sorted((collections.root / "c" / "segments").iterdir())
