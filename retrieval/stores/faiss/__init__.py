"""The embedded default store: a folder with a SQLite catalog and index segments derived from it.

schema.py       the tables
catalog.py      the log of record: what is read of it
index_rows.py   what its rows are to an index
changes.py      what a commit may change in it
filter_sql.py   filters as conditions over the catalog
segment.py      immutable dense + lexical index of some chunks: build, merge, save, load, search
index.py        the segments that serve one commit; follows the catalog, in any process
index_writer.py upkeep of the segments, beside any number of writers
snapshot.py     one view of a collection
keeper.py       compares, mends and purges; audit.py and segment_audit.py know what belongs together
store.py        collections as folders, the handle that reads and writes
"""

from retrieval.stores.faiss.store import FaissCollections

__all__ = ["FaissCollections"]
