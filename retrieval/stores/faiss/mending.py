"""Which rows of a catalog belong to nothing, as `audit` looks for them and `Changes.mend` removes them."""

_GONE = "NOT IN (SELECT doc_key FROM document)"
# What dropped editions held is no orphan: `purge` is about to remove it, in small commits.
_NO_EDITION = "NOT IN (SELECT number FROM edition UNION ALL SELECT edition FROM dropped)"
_NOT_INDEXED = "NOT EXISTS (SELECT 1 FROM indexed i WHERE i.edition = chunk.edition AND i.doc_key = chunk.doc_key)"
_WITHOUT_TOKENS = "(SELECT number FROM edition WHERE token_code = '')"
ORPHANS = {
    "content": f"doc_key {_GONE}",
    "attribute": f"doc_key {_GONE}",
    "indexed": f"doc_key {_GONE} OR edition {_NO_EDITION}",
    "chunk": f"doc_key {_GONE} OR edition {_NO_EDITION} OR {_NOT_INDEXED}",
    "vector": "chunk_key NOT IN (SELECT chunk_key FROM chunk)",
    "token_vector": f"chunk_key NOT IN (SELECT chunk_key FROM chunk WHERE edition NOT IN {_WITHOUT_TOKENS})",  # noqa: S608
    "tombstone": f"edition {_NO_EDITION} OR EXISTS (SELECT 1 FROM chunk c WHERE c.chunk_key = tombstone.chunk_key)",  # noqa: S608
    "segment": f"edition {_NO_EDITION}",
}
"""Which rows of each table belong to nothing. In this order: what is removed of one table makes orphans of the next."""
# Segments may hold the chunks that go, and would go on finding them.
_BURY = f"""
INSERT OR IGNORE INTO tombstone
SELECT edition, chunk_key, (SELECT value + 1 FROM meta WHERE name = 'sequence') FROM chunk WHERE {ORPHANS["chunk"]}
"""  # noqa: S608 - literals
_WITHOUT_TEXT = "doc_key NOT IN (SELECT doc_key FROM content)"
_LATER = ("chunk", "vector", "token_vector", "tombstone", "segment")
_ORPHANS_OUT = (
    f"DELETE FROM document WHERE {_WITHOUT_TEXT}",  # noqa: S608
    *(f"DELETE FROM {table} WHERE {ORPHANS[table]}" for table in ("content", "attribute", "indexed")),  # noqa: S608
    "DELETE FROM tombstone WHERE EXISTS (SELECT 1 FROM chunk c WHERE c.chunk_key = tombstone.chunk_key)",
    _BURY,
    *(f"DELETE FROM {table} WHERE {ORPHANS[table]}" for table in _LATER),  # noqa: S608
)
_COUNT_AGAIN = (
    "UPDATE meta SET value = (SELECT count(*) FROM document) WHERE name = 'documents'",
    """UPDATE edition SET documents = (SELECT count(*) FROM indexed WHERE edition = number),
                          chunks = (SELECT count(*) FROM chunk WHERE edition = number)""",
    # One more comes with the commit.
    """UPDATE meta SET value = max(value, coalesce((SELECT max(died) FROM tombstone), 0)) WHERE name = 'sequence'""",
    """UPDATE sqlite_sequence SET seq = max(seq, coalesce((SELECT max(chunk_key) FROM chunk), 0))
       WHERE name = 'chunk'""",
)
STATEMENTS = (*_ORPHANS_OUT, *_COUNT_AGAIN)
"""What leaves no row that belongs to nothing, and no count that is not that of the rows."""
