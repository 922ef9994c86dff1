"""The embedded default store: a folder with a SQLite catalog and index segments derived from it.

catalog.py      the log of record: every table and every statement
filter_sql.py   filters as conditions over the catalog
segment.py      immutable dense + lexical index of some chunks: build, merge, save, load, search
index.py        the segments that serve one commit; follows the catalog, in any process
store.py        collections as folders, the writer, the snapshot
"""

from retrieval.stores.faiss.store import FaissCollections

__all__ = ["FaissCollections"]
