"""Collections as folders: any number of writers and readers, in any process.

<root>/<collection>/catalog.db        the log of record; SQLite lets one writer commit after the other
<root>/<collection>/segments/<name>/  indexes derived from it
<root>/<collection>/upkeep.lock       held by the process that looks after the segments at the moment
"""

import functools
import itertools
import logging
import secrets
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from retrieval.analysis import analyzer
from retrieval.errors import (
    CollectionExists,
    CollectionNotFound,
    StoreCorrupt,
    StoreUnavailable,
    WriterBusy,
)
from retrieval.ports import DEFAULT_CHUNKING, Replacement
from retrieval.records import Chunking, EmbedderInfo, SourceRecord
from retrieval.stores.checks import (
    check_complete,
    check_live,
    check_name,
    check_not_live,
    check_not_live_to_drop,
    check_replacements,
    is_name,
)
from retrieval.stores.faiss import index_writer
from retrieval.stores.faiss.catalog import Catalog
from retrieval.stores.faiss.changes import Changes
from retrieval.stores.faiss.dense import IndexKind
from retrieval.stores.faiss.index import IndexFollower, IndexState
from retrieval.stores.faiss.index_writer import IndexWriter
from retrieval.stores.faiss.keeper import FaissKeeper
from retrieval.stores.faiss.schema import create
from retrieval.stores.faiss.snapshot import FaissSnapshot

_log = logging.getLogger(__name__)
_CATALOG = "catalog.db"
_SEGMENTS = "segments"

_READ_AGAIN = 3
"""How often a missing segment is taken for one that was just merged away."""
_KEEP_SECONDS = 60.0
"""The index of an edition that is not live leaves the memory when nobody has searched it for so long."""


class FaissCollections:
    """Each collection is a folder below `root`; segments that are written from now on get an index of that kind."""

    def __init__(self, root: Path, *, index: IndexKind = "hnsw") -> None:
        self.root = root
        self._kind = index

    def names(self) -> list[str]:
        with _reachable(self.root):
            if not self.root.is_dir():
                return []
            return sorted(path.name for path in self.root.iterdir() if is_name(path.name) and path.is_dir())

    def create(
        self,
        name: str,
        *,
        embedder: EmbedderInfo,
        chunking: Chunking = DEFAULT_CHUNKING,
        language: str = "english",
        token_code: str = "",
    ) -> None:
        folder = self.root / check_name(name)
        analyzer(language)  # refuses a language that is not known
        if folder.exists():
            raise CollectionExists(f"collection {name!r} exists already in {self.root}")
        # Made aside and renamed, so that no process ever sees half a collection.
        partial = self.root / f".new-{name}-{secrets.token_hex(4)}"
        try:
            partial.mkdir(parents=True)
            create(
                partial / _CATALOG, name=name, embedder=embedder, chunking=chunking, language=language,
                token_code=token_code,
            )  # fmt: skip
            (partial / _SEGMENTS).mkdir()
            partial.rename(folder)
        except OSError as exc:
            if folder.exists():
                raise CollectionExists(f"collection {name!r} exists already in {self.root}") from exc
            raise StoreUnavailable(f"cannot create {folder}: {exc.strerror}; check the disk and permissions") from exc
        finally:
            shutil.rmtree(partial, ignore_errors=True)  # by then it has another name, if all went well

    def open(self, name: str, *, writable: bool = False) -> "FaissStore":
        folder = self.root / check_name(name)
        with _reachable(folder):
            if not folder.is_dir():
                known = ", ".join(self.names()) or "none"
                raise CollectionNotFound(f"no collection {name!r} in {self.root}; there are: {known}")
            return FaissStore(folder, writable=writable, index=self._kind)

    def keeper(self, name: str) -> FaissKeeper:
        return FaissKeeper(self.open(name))

    def drop(self, name: str) -> None:
        try:
            self.open(name).close()  # raises when it is not there, or of a newer version
        except StoreCorrupt as exc:
            _log.warning("dropping collection %r although it cannot be read: %s", name, exc)
        with _reachable(self.root):
            (self.root / name).rename(self.root / f".dropped-{name}-{secrets.token_hex(4)}")
            for gone in self.root.glob(".dropped-*"):  # what an earlier drop had no time for goes as well
                shutil.rmtree(gone, ignore_errors=True)

    def place(self) -> str:
        return f"folder {self.root}"

    def close(self) -> None:
        """Nothing is shared."""


class FaissStore:
    """See `retrieval.ports.VectorStore`."""

    def __init__(self, folder: Path, *, writable: bool, index: IndexKind) -> None:
        self.folder = folder
        self.segments = folder / _SEGMENTS
        self._writable = writable
        self._writing = threading.Lock()
        self._closed = False
        self._written: Counter[int] = Counter()
        self._idle: list[Catalog] = []
        self._followers: dict[int, tuple[IndexFollower, float]] = {}
        self._following = threading.Lock()
        self._inode = self._present_inode()
        self._catalog = Catalog(folder / _CATALOG, writable=writable)
        try:
            self._check_still_there()
            self.terms = analyzer(self._catalog.language()).terms
            self.upkeep = IndexWriter(folder / _CATALOG, self._follower, index, self._check_still_there)
            if writable:
                self.upkeep.repair()
        except BaseException:
            self._catalog.close()
            raise

    @contextmanager
    def snapshot(self, *, edition: int | None = None) -> Iterator[FaissSnapshot]:
        catalog = self._reader()
        try:
            for attempt in itertools.count():
                with catalog.reading():
                    number = catalog.live() if edition is None else edition
                    if index := self._index(catalog, number, rebuild_missing=attempt >= _READ_AGAIN):
                        yield FaissSnapshot(catalog, number, index)
                        break
        except BaseException:
            catalog.close()
            raise
        self._idle.append(catalog)

    def replace(self, replacements: Sequence[Replacement], *, edition: int | None = None) -> None:
        with self._write() as (catalog, changes):
            live = catalog.live()
            check_live(edition, live)
            described = catalog.edition(live)
            check_replacements(replacements, described.embedder, described.token_code)
            # First, since a document that takes the place of another may be itself among those that others replace.
            for doc_id in sorted({doc_id for replacement in replacements for doc_id in replacement.replaces}):
                changes.remove(doc_id)
                changes.forget(doc_id)
            for replacement in replacements:
                changes.put(live, replacement)
        self._written[live] += sum(len(replacement.chunks) for replacement in replacements)
        self._look_after(live)

    def index(self, replacements: Sequence[Replacement], *, edition: int) -> int:
        with self._write() as (catalog, changes):
            described = catalog.edition(edition)
            check_not_live(edition, catalog.live())
            check_replacements(replacements, described.embedder, described.token_code)
            done = sum(changes.index(edition, replacement) for replacement in replacements)
        self._written[edition] += sum(len(replacement.chunks) for replacement in replacements)
        self._look_after(edition)
        return done

    def delete(self, doc_ids: Sequence[str], *, leave: Sequence[SourceRecord] = ()) -> list[str]:
        gone = []
        with self._write() as (_, changes):
            for doc_id in sorted(set(doc_ids)):
                if changes.remove(doc_id):
                    gone.append(doc_id)
                changes.forget(doc_id)
            changes.record(leave)
        return gone

    def record(self, sources: Sequence[SourceRecord]) -> None:
        with self._write() as (_, changes):
            changes.record(sources)

    def add_edition(self, *, embedder: EmbedderInfo, chunking: Chunking, token_code: str = "") -> int:
        with self._write() as (_, changes):
            return changes.add_edition(embedder, chunking, token_code)

    def switch(self, edition: int) -> None:
        with self._write() as (catalog, changes):
            indexed = catalog.edition(edition).documents
            check_complete(edition, catalog.document_count() - indexed)
            changes.switch_edition(edition)

    def drop_edition(self, edition: int) -> None:
        with self._write() as (catalog, changes):
            catalog.edition(edition)
            check_not_live_to_drop(edition, catalog.live())
            changes.drop_edition(edition)
        self.upkeep.repair()

    def close(self) -> None:
        with self._writing:
            if self._closed:
                return
            self._closed = True
        if self._writable:
            try:
                self._check_still_there()
                self.upkeep.complete(written=self._written)
            except CollectionNotFound:
                pass
            except (StoreUnavailable, WriterBusy) as exc:
                _log.warning("the index of %s will be completed by the next writer: %s", self.folder, exc)
        for catalog in [*self._idle, self._catalog]:
            catalog.close()
        self._idle.clear()

    @contextmanager
    def reading(self) -> Iterator[Catalog]:
        """The catalog at one commit, for who looks behind the index."""
        catalog = self._reader()
        try:
            with catalog.reading():
                yield catalog
        finally:
            catalog.close()

    @contextmanager
    def mending(self) -> Iterator[Catalog]:
        """A connection that may write, whatever this handle was opened for."""
        self._check_still_there()
        with closing(Catalog(self.folder / _CATALOG, writable=True)) as catalog:
            self._check_still_there()
            yield catalog

    @contextmanager
    def _write(self) -> Iterator[tuple[Catalog, Changes]]:
        """One commit; the threads of this handle take turns here, other handles in SQLite."""
        if not self._writable:
            raise WriterBusy(f"collection {self.folder.name!r} was opened for reading; open it with writable=True")
        with self._writing:
            self._check_still_there()
            with self._catalog.writing() as changes:
                yield self._catalog, changes

    def _look_after(self, edition: int) -> None:
        with self._writing:
            due = self.upkeep.is_due(self._catalog, edition)
        if due:
            try:
                self.upkeep.complete(at_least=index_writer.FLUSH_CHUNKS)
            except WriterBusy as exc:
                _log.warning("the index of %s will be completed by a later commit: %s", self.folder, exc)

    def _reader(self) -> Catalog:
        """A connection that nobody else uses now."""
        self._check_still_there()
        try:
            return self._idle.pop()  # one look, not two: another thread may take the last one in between
        except IndexError:
            catalog = Catalog(self.folder / _CATALOG, writable=False)
        try:
            self._check_still_there()  # what was opened by name may be of a collection that was made since
        except BaseException:
            catalog.close()
            raise
        return catalog

    def _index(self, catalog: Catalog, edition: int, *, rebuild_missing: bool) -> Callable[[], IndexState] | None:
        """The index of the commit that `catalog` reads; None when another look is needed.

        That of the live edition at once, since every query needs it; of another one when it is asked for.
        """
        follower = self._follower(edition)
        live = catalog.live()
        self._forget_idle(catalog.edition_numbers(), live)
        try:
            if edition == live:
                state = follower.state(catalog, rebuild_missing=rebuild_missing)
                return (lambda: state) if state else None
        except FileNotFoundError:
            return None  # merged away between our two looks
        except PermissionError as exc:
            raise _unreachable(exc, self.folder) from exc

        return functools.cache(lambda: follower.state_at(catalog))

    def _follower(self, edition: int) -> IndexFollower:
        with self._following:
            known = self._followers.get(edition)
            follower = known[0] if known else IndexFollower(self.segments, edition, self.terms)
            self._followers[edition] = (follower, time.monotonic())
        return follower

    def _forget_idle(self, editions: Container[int], live: int) -> None:
        """Let go of indexes that nobody needs: of a dropped edition, of one that is neither live nor searched."""
        oldest = time.monotonic() - _KEEP_SECONDS
        with self._following:
            for edition, (_, used) in list(self._followers.items()):
                if edition not in editions or (edition != live and used < oldest):
                    del self._followers[edition]

    def _check_still_there(self) -> None:
        """An open file outlives its name: without this look, a dropped collection would go on answering."""
        if self._present_inode() != self._inode:
            raise CollectionNotFound(f"collection {self.folder.name!r} was dropped since it was opened; open it again")

    def _present_inode(self) -> int | None:
        """Of the catalog that has the name now. Its number is not given to another one as long as we have it open."""
        with _reachable(self.folder):
            try:
                return (self.folder / _CATALOG).stat().st_ino
            except FileNotFoundError:
                return None


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
