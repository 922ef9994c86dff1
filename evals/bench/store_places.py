"""Where `evals.bench.stores` puts collections, and how it fills them."""

import secrets
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from retrieval.build import build_collections
from retrieval.ports import Replacement, Snapshot
from retrieval.settings import RetrievalSettings

NAME = "bench"
"""Of the collection in each place."""
SHARE_FIELD = "bench_share"
"""Metadata field with a number 0..99 in each document, so that `< n` keeps n percent of them."""
PAGE = 500
"""Documents read at a time."""
COMMIT = 2_000
"""Chunks per commit; about what ingestion commits at a time."""


@contextmanager
def temporary_place(target: str, postgres_url: str) -> Iterator[RetrievalSettings]:
    """Where nothing is yet, and nothing stays."""
    if target != "pgvector":
        with tempfile.TemporaryDirectory() as folder:
            yield RetrievalSettings.model_validate({"store": target, "path": folder})
        return
    import psycopg
    from psycopg import sql

    schema = f"bench_{secrets.token_hex(6)}"
    try:
        yield RetrievalSettings.model_validate(
            {"store": target, "postgres_url": postgres_url, "postgres_schema": schema}
        )
    finally:
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema)))


def fill(place: RetrievalSettings, source: RetrievalSettings, collection: str, chunks: int) -> float:
    """Write the documents of a collection until they have `chunks`; returns the seconds that writing took."""
    with opened(source, collection) as snapshot:
        info = snapshot.info
    collections = build_collections(place)
    collections.create(
        NAME,
        embedder=info.embedder,
        chunking=info.edition.chunking,
        language=info.language,
        token_code=info.edition.token_code,
    )
    store = collections.open(NAME, writable=True)
    seconds, batch = 0.0, list[Replacement]()

    def commit() -> float:
        begin = time.perf_counter()
        store.replace(batch)
        return time.perf_counter() - begin

    for page in pages(source, collection, chunks):
        for replacement in page:
            batch.append(replacement)
            if sum(len(one.chunks) for one in batch) >= COMMIT:
                seconds += commit()
                batch.clear()
    seconds += commit()
    begin = time.perf_counter()
    store.close()
    collections.close()
    return seconds + time.perf_counter() - begin


def pages(source: RetrievalSettings, collection: str, chunks: int | None) -> Iterator[list[Replacement]]:
    """The documents of a collection, until they have `chunks`, each with its number in SHARE_FIELD."""
    after, left = "", float("inf") if chunks is None else chunks
    collections = build_collections(source)
    store = collections.open(collection)
    while left > 0:
        # A view each: one that stays open would keep a server from reusing space while another collection is filled.
        with store.snapshot() as snapshot:
            listed = [info.doc_id for info in snapshot.documents(after=after, limit=PAGE)]
            found = snapshot.contents(listed)
        if not listed:
            break
        after, taken = listed[-1], []
        for one in found:
            if left > 0:
                metadata = {**one.document.metadata, SHARE_FIELD: share_of(one.document.doc_id)}
                taken.append(replace(one, document=replace(one.document, metadata=metadata)))
                left -= len(one.chunks)
        yield taken
    store.close()
    collections.close()


def share_of(doc_id: str) -> int:
    """0..99, evenly."""
    return zlib.crc32(doc_id.encode("utf-8")) % 100


@contextmanager
def opened(settings: RetrievalSettings, collection: str) -> Iterator[Snapshot]:
    """A view of a collection, from opening its place to closing it."""
    collections = build_collections(settings)
    store = collections.open(collection)
    with store.snapshot() as snapshot:
        yield snapshot
    store.close()
    collections.close()


def stored_bytes(place: RetrievalSettings, tables: str = "%") -> int:
    """Of all files, or of the tables (with indexes and TOAST) whose name is LIKE `tables`."""
    if place.store != "pgvector":
        return sum(path.stat().st_size for path in place.path.rglob("*") if path.is_file())
    import psycopg

    query = """
        SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class
        WHERE relnamespace = %s::regnamespace AND relkind = 'r' AND relname LIKE %s
    """
    with psycopg.connect(place.postgres_url.get_secret_value()) as connection:
        [size] = connection.execute(query, [place.postgres_schema, tables]).fetchone() or (0,)
    return int(size)
