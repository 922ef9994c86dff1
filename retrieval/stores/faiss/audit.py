"""Does a catalog agree with itself? Every row with the rows it belongs to, counts with what they count."""

from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter

import numpy as np

from retrieval.ports import Finding
from retrieval.records import Edition
from retrieval.stores.checks import missing_token_vectors, vector_fault
from retrieval.stores.faiss.catalog import Catalog
from retrieval.stores.faiss.changes import fields
from retrieval.stores.faiss.mending import ORPHANS

_NAMED = 10
"""Rows that a finding about a whole table names."""

# SQLite's own words for an index that is not what its table holds; all else is a damaged file.
_INDEX_FAULTS = ("missing from index", "wrong # of entries in index", "non-unique entry in index")


def check(catalog: Catalog) -> Iterator[Finding]:
    """All that is wrong within the catalog, at the commit that it is reading."""
    damaged = list(_file(catalog))
    yield from damaged
    if damaged:
        return  # what its tables seem to say means nothing
    yield from _orphans(catalog)
    yield from _texts(catalog)
    yield from _counts(catalog)
    yield from _keys(catalog)
    yield from _fields(catalog)
    for edition in catalog.editions().values():
        yield from _chunks(catalog, edition)
        yield from _vectors(catalog, edition)
        if edition.token_code:
            yield from _token_vectors(catalog, edition)


def _file(catalog: Catalog) -> Iterator[Finding]:
    for (said,) in catalog.rows(f"PRAGMA integrity_check({_NAMED})"):
        if said != "ok":
            kind = "damaged-table-index" if any(words in said for words in _INDEX_FAULTS) else "damaged-file"
            yield Finding(kind, catalog.path.name, f"SQLite says: {said}")


def _orphans(catalog: Catalog) -> Iterator[Finding]:
    for table, condition in ORPHANS.items():
        [(count,)] = catalog.rows(f"SELECT count(*) FROM {table} WHERE {condition}")  # noqa: S608 - literals
        if count:
            yield Finding("orphan-rows", table, f"{count:,} rows of table {table} belong to nothing that is there")


def _texts(catalog: Catalog) -> Iterator[Finding]:
    sql = "SELECT doc_id FROM document WHERE doc_key NOT IN (SELECT doc_key FROM content)"
    for (doc_id,) in catalog.rows(sql):
        detail = "its text is not there, so that nothing can be made of it; it will be removed, to be ingested again"
        yield Finding("missing-text", doc_id, detail)


def _counts(catalog: Catalog) -> Iterator[Finding]:
    [(said, there)] = catalog.rows("SELECT value, (SELECT count(*) FROM document) FROM meta WHERE name = 'documents'")
    if said != there:
        yield Finding("wrong-count", "documents", f"the catalog counts {said:,} documents and holds {there:,}")
    for number, *counts in catalog.rows(
        """SELECT number, documents, (SELECT count(*) FROM indexed i WHERE i.edition = number),
                  chunks, (SELECT count(*) FROM chunk c WHERE c.edition = number) FROM edition ORDER BY number"""
    ):
        for what, said, there in (("documents", *counts[:2]), ("chunks", *counts[2:])):
            if said != there:
                detail = f"edition {number} counts {said:,} {what} and holds {there:,}"
                yield Finding("wrong-count", f"edition {number}: {what}", detail, edition=number)


def _keys(catalog: Catalog) -> Iterator[Finding]:
    """Numbers that only grow: what is newer must not look older."""
    for what, given, used in (
        ("sequence", "value FROM meta WHERE name = 'sequence'", "max(died) FROM tombstone"),
        ("chunk_key", "seq FROM sqlite_sequence WHERE name = 'chunk'", "max(chunk_key) FROM chunk"),
    ):
        [(said, there)] = catalog.rows(f"SELECT (SELECT {given}), (SELECT {used})")
        if there is not None and there > (said or 0):
            yield Finding("wrong-sequence", what, f"the last {what} given is {said!r}, but {there} is in use")


def _fields(catalog: Catalog) -> Iterator[Finding]:
    """What filters look at is what the documents' metadata say."""
    rows = catalog.rows("SELECT doc_key, name, type, value FROM attribute ORDER BY doc_key")
    stored = groupby(rows, key=itemgetter(0))
    key, found = next(stored, (None, iter(())))
    for doc_key, doc_id in catalog.rows("SELECT doc_key, doc_id FROM document ORDER BY doc_key"):
        while key is not None and key < doc_key:
            key, found = next(stored, (None, iter(())))
        there = {row[1:] for row in found} if key == doc_key else set()
        [info] = catalog.infos([doc_id])
        if there != {(*field[:2], field[2]) for field in fields(info)}:
            yield Finding("wrong-fields", doc_id, "filters see other metadata of it than it has")


def _chunks(catalog: Catalog, edition: Edition) -> Iterator[Finding]:
    """Chunks of a document are numbered from 0 without a gap."""
    for doc_id, count, last in catalog.rows(
        """SELECT d.doc_id, count(*), max(c.ordinal) FROM chunk c JOIN document d USING (doc_key)
           WHERE c.edition = ? GROUP BY c.doc_key HAVING count(*) <> max(c.ordinal) + 1 OR min(c.ordinal) <> 0""",
        edition.number,
    ):
        detail = f"{count} chunks are there, the last of which is number {last} (from 0)"
        yield Finding("missing-chunks", doc_id, detail, doc_id=doc_id, edition=edition.number)


def _vectors(catalog: Catalog, edition: Edition) -> Iterator[Finding]:
    for doc_id, chunk_id, blob in catalog.rows(
        """SELECT d.doc_id, c.chunk_id, v.value FROM chunk c JOIN document d USING (doc_key)
           LEFT JOIN vector v USING (chunk_key) WHERE c.edition = ? ORDER BY c.chunk_key""",
        edition.number,
    ):
        if blob is None:
            yield Finding("missing-vector", chunk_id, "it has no vector", doc_id=doc_id, edition=edition.number)
        elif len(blob) % 4:
            detail = f"its vector takes {len(blob)} bytes, which is no number of components"
            yield Finding("wrong-vector", chunk_id, detail, doc_id=doc_id, edition=edition.number)
        elif fault := vector_fault(np.frombuffer(blob, dtype="<f4"), edition.embedder.dimension):
            yield Finding("wrong-vector", chunk_id, fault, doc_id=doc_id, edition=edition.number)


def _token_vectors(catalog: Catalog, edition: Edition) -> Iterator[Finding]:
    for doc_id, chunk_id in catalog.rows(
        """SELECT d.doc_id, c.chunk_id FROM chunk c JOIN document d USING (doc_key)
           LEFT JOIN token_vector t USING (chunk_key)
           WHERE c.edition = ? AND coalesce(length(t.value), 0) = 0 ORDER BY c.chunk_key""",
        edition.number,
    ):
        yield missing_token_vectors(chunk_id, doc_id, edition.number)
