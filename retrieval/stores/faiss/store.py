"""Collections as folders: one writer at a time, any number of readers in any process.

<root>/<collection>/catalog.db        the log of record
<root>/<collection>/segments/<name>/  indexes derived from it
<root>/<collection>/writer.lock       held by the process that writes
"""

import fcntl
import itertools
import logging
import os
import secrets
import shutil
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from retrieval.analysis import analyzer
from retrieval.errors import CollectionExists, CollectionNotFound, StoreUnavailable, WriterBusy
from retrieval.filters import Filter
from retrieval.ports import Replacement, Vectors
from retrieval.records import (
    CollectionInfo,
    Document,
    DocumentInfo,
    EmbedderInfo,
    Hit,
    SourceRecord,
    SourceStatus,
    StoredChunk,
)
from retrieval.stores.checks import check_name, check_query_vector, check_replacements
from retrieval.stores.faiss.catalog import Catalog, Keys
from retrieval.stores.faiss.index import IndexFollower, IndexState, Scored
from retrieval.stores.faiss.index_writer import IndexWriter
from retrieval.stores.faiss.schema import create

_log = logging.getLogger(__name__)
_CATALOG = "catalog.db"
_LOCK = "writer.lock"
_SEGMENTS = "segments"

_READ_AGAIN = 3
"""How often a missing segment is taken for one that was just merged away."""


class FaissCollections:
    """Each collection is a folder below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def names(self) -> list[str]:
        with _reachable(self.root):
            if not self.root.is_dir():
                return []
            return sorted(path.name for path in self.root.iterdir() if path.is_dir() and not path.name.startswith("."))

    def create(self, name: str, *, embedder: EmbedderInfo, language: str = "english") -> None:
        folder = self.root / check_name(name)
        analyzer(language)  # refuses a language that is not known
        if folder.exists():
            raise CollectionExists(f"collection {name!r} exists already in {self.root}")
        # Made aside and renamed, so that no process ever sees half a collection.
        partial = self.root / f".new-{name}-{secrets.token_hex(4)}"
        try:
            partial.mkdir(parents=True)
            create(partial / _CATALOG, name=name, embedder=embedder, language=language)
            (partial / _SEGMENTS).mkdir()
            partial.rename(folder)
        except OSError as exc:
            shutil.rmtree(partial, ignore_errors=True)
            if folder.exists():
                raise CollectionExists(f"collection {name!r} exists already in {self.root}") from exc
            raise StoreUnavailable(f"cannot create {folder}: {exc.strerror}; check the disk and permissions") from exc

    def open(self, name: str, *, writable: bool = False) -> "FaissStore":
        folder = self.root / check_name(name)
        with _reachable(folder):
            if not folder.is_dir():
                known = ", ".join(self.names()) or "none"
                raise CollectionNotFound(f"no collection {name!r} in {self.root}; there are: {known}")
            return FaissStore(folder, writable=writable)

    def drop(self, name: str) -> None:
        self.open(name).close()  # raises when it is not there, or of a newer version
        with _reachable(self.root):
            # Held until the name is gone: a writer that began in between would write into nowhere.
            lock = _take_lock(self.root / name)
            try:
                (self.root / name).rename(self.root / f".dropped-{name}-{secrets.token_hex(4)}")
            finally:
                os.close(lock)
            for gone in self.root.glob(".dropped-*"):  # what an earlier drop had no time for goes as well
                shutil.rmtree(gone, ignore_errors=True)


class FaissStore:
    """See `retrieval.ports.VectorStore`."""

    def __init__(self, folder: Path, *, writable: bool = False) -> None:
        self.folder = folder
        self._lock_file = _take_lock(folder) if writable else None
        self._writing = threading.Lock()
        self._writer: IndexWriter | None = None
        self._idle: list[Catalog] = []
        try:
            self._catalog = Catalog(folder / _CATALOG, writable=writable)
            self._inode = (folder / _CATALOG).stat().st_ino
            self._embedder = self._catalog.embedder()
            self._index = IndexFollower(folder / _SEGMENTS, analyzer(self._catalog.language()).terms)
            self._writer = IndexWriter(self._catalog, self._index) if writable else None
            if self._writer:
                self._writer.repair()
        except BaseException:
            self.close()
            raise

    @contextmanager
    def snapshot(self) -> Iterator["FaissSnapshot"]:
        with _reachable(self.folder):
            self._check_still_there()
        try:
            catalog = self._idle.pop()  # one look, not two: another thread may take the last one in between
        except IndexError:
            catalog = Catalog(self.folder / _CATALOG, writable=False)
        try:
            for attempt in itertools.count():
                with catalog.reading():
                    try:
                        state = self._index.state(catalog, rebuild_missing=attempt >= _READ_AGAIN)
                    except FileNotFoundError:
                        continue  # merged away between our two looks
                    except PermissionError as exc:
                        raise _unreachable(exc, self.folder) from exc
                    if state:
                        yield FaissSnapshot(catalog, state, self._embedder)
                        break
        except BaseException:
            catalog.close()
            raise
        self._idle.append(catalog)

    def replace(self, replacements: Sequence[Replacement]) -> None:
        check_replacements(replacements, self._embedder)
        with self._write() as (catalog, index):
            with catalog.writing():
                for replacement in replacements:
                    catalog.put(replacement)
            index.complete_if_due()

    def delete(self, doc_ids: Sequence[str]) -> list[str]:
        gone = []
        with self._write() as (catalog, index):
            with catalog.writing():
                for doc_id in sorted(set(doc_ids)):
                    if catalog.remove(doc_id):
                        gone.append(doc_id)
                    catalog.forget(doc_id)
            index.complete_if_due()
        return gone

    def record(self, sources: Sequence[SourceRecord]) -> None:
        with self._write() as (catalog, _), catalog.writing():
            catalog.record(sources)

    def close(self) -> None:
        if self._writer:
            try:
                with self._writing:
                    self._writer.complete()
            except StoreUnavailable as exc:
                _log.warning("the index of %s will be completed by the next writer: %s", self.folder, exc)
        for catalog in [*self._idle, *([self._catalog] if hasattr(self, "_catalog") else [])]:
            catalog.close()
        self._idle.clear()
        self._writer = None
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None

    @contextmanager
    def _write(self) -> Iterator[tuple[Catalog, IndexWriter]]:
        """One thread at a time, its upkeep of the index included: a chunk that died in between would come back."""
        if self._writer is None:
            raise WriterBusy(f"{self.folder} was opened for reading; open it with writable=True")
        with self._writing:
            yield self._catalog, self._writer

    def _check_still_there(self) -> None:
        """An open file outlives its name: without this look, a dropped collection would go on answering."""
        try:
            now = (self.folder / _CATALOG).stat().st_ino
        except FileNotFoundError:
            now = None
        if now != self._inode:
            raise CollectionNotFound(f"collection {self.folder.name!r} was dropped since it was opened; open it again")


class FaissSnapshot:
    """See `retrieval.ports.Snapshot`."""

    def __init__(self, catalog: Catalog, state: IndexState, embedder: EmbedderInfo) -> None:
        self.state = state
        self._catalog = catalog
        self._embedder = embedder
        self._passing: dict[Filter, Keys] = {}

    @property
    def info(self) -> CollectionInfo:
        return self._catalog.info()

    def search_dense(self, vector: Vectors, *, k: int, filter: Filter | None = None) -> list[Hit]:
        check_query_vector(vector, self._embedder)
        return self._hits(self.state.dense(vector.astype(np.float32), k, self._allowed(filter)), k)

    def search_lexical(self, terms: Mapping[str, float], *, k: int, filter: Filter | None = None) -> list[Hit]:
        return self._hits(self.state.lexical(terms, k, self._allowed(filter)), k)

    def chunks(self, chunk_ids: Sequence[str]) -> list[StoredChunk]:
        return self._catalog.chunks(chunk_ids)

    def vectors(self, chunk_ids: Sequence[str]) -> Vectors:
        found = self._catalog.vectors(chunk_ids)
        rows = [found[chunk_id] for chunk_id in chunk_ids]
        return np.array(rows, dtype=np.float32).reshape(len(rows), self._embedder.dimension)

    def document(self, doc_id: str) -> Document:
        return self._catalog.document(doc_id)

    def documents(self, *, filter: Filter | None = None, after: str = "", limit: int = 100) -> list[DocumentInfo]:
        return self._catalog.documents(filter=filter, after=after, limit=limit)

    def sources(self, *, uris: Sequence[str] | None = None, status: SourceStatus | None = None) -> list[SourceRecord]:
        return self._catalog.sources(uris=uris, status=status)

    def _allowed(self, filter: Filter | None) -> Keys | None:
        if filter is None:
            return None
        if filter not in self._passing:  # the dense and the lexical search of one query share it
            self._passing[filter] = self._catalog.passing(filter)
        return self._passing[filter]

    def _hits(self, scored: Scored, k: int) -> list[Hit]:
        keys, scores = scored
        chunk_ids = self._catalog.chunk_ids(keys.tolist())
        hits = [Hit(chunk_ids[key], score) for key, score in zip(keys.tolist(), scores.tolist(), strict=True)]
        return sorted(hits, key=lambda hit: (-hit.score, hit.chunk_id))[:k]


@contextmanager
def _reachable(folder: Path) -> Iterator[None]:
    """Turn what the file system refuses into our error."""
    try:
        yield
    except OSError as exc:
        raise _unreachable(exc, folder) from exc


def _unreachable(exc: OSError, folder: Path) -> StoreUnavailable:
    where = exc.filename or folder
    return StoreUnavailable(f"{where} cannot be used: {exc.strerror}; check the disk and its permissions")


def _take_lock(folder: Path) -> int:
    handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        holder = _holder(handle)
        os.close(handle)
        raise WriterBusy(
            f"collection {folder.name!r} is being written to by process {holder or 'unknown'}; "
            "wait until it has finished, or stop it"
        ) from exc
    os.ftruncate(handle, 0)
    os.pwrite(handle, str(os.getpid()).encode("ascii"), 0)
    return handle


def _holder(handle: int) -> str:
    """The process id in a lock file; its holder may have taken the lock this moment and not have written it yet."""
    for _ in range(10):
        if holder := os.pread(handle, 32, 0).decode("ascii", "replace").strip():
            return holder
        time.sleep(0.01)
    return ""
