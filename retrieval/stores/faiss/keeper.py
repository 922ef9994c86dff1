"""Looking after a collection's folder: compares all that is in it, mends what follows, removes remains.

What cannot be mended from the catalog is the catalog itself: a file that SQLite finds damaged, a document without its
text. The second is removed, so that its ledger line says that there is something to ingest again.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from retrieval.ports import Finding
from retrieval.stores import raw
from retrieval.stores.faiss import audit, segment_audit

if TYPE_CHECKING:
    from retrieval.stores.faiss.store import FaissStore

_UNREADABLE = {"damaged-file", "damaged-table-index"}
"""As long as there is such a thing, nothing else can be said."""
_ROWS = {"orphan-rows", "missing-text", "wrong-count", "wrong-sequence"}
_SEGMENTS = {"damaged-segment", "stale-segment"}
_RANGES = {"overlapping-segments", "uncovered-chunks"}


class FaissKeeper:
    """See `retrieval.ports.Keeper`. `store` is opened for reading, and closed by `close`."""

    def __init__(self, store: "FaissStore") -> None:
        self._store = store

    def check(self) -> Iterator[Finding]:
        """At one commit: what others write meanwhile is not looked at."""
        suspects, damaged = [], False
        with self._store.reading() as catalog:
            for finding in audit.check(catalog):
                yield finding
                if finding.kind in _UNREADABLE:
                    damaged = True
            if damaged:
                return
            for edition in catalog.editions():
                for finding in segment_audit.check(catalog, edition, self._store.segments, self._store.terms):
                    if finding.kind in _SEGMENTS:
                        suspects.append(finding)
                    else:
                        yield finding
        with self._store.reading() as catalog:
            named = catalog.segment_names()
        # A segment that was merged away while we looked has lost its files for that reason.
        yield from (finding for finding in suspects if finding.subject in named)
        for name in self._store.upkeep.orphans():
            yield Finding("orphan-folder", name, "a folder of a segment that the catalog does not know")

    def repair(self, findings: Sequence[Finding]) -> list[Finding]:
        mendable = [finding for finding in findings if not finding.doc_id and finding.kind != "damaged-file"]
        if not mendable:
            return []
        kinds = {finding.kind for finding in mendable}
        with self._store.mending() as catalog:
            if "damaged-table-index" in kinds:
                catalog.reindex()
            if kinds & _ROWS:
                with catalog.writing() as changes:
                    changes.mend()
            if wrong := [finding.subject for finding in mendable if finding.kind == "wrong-fields"]:
                with catalog.writing() as changes:
                    for info in catalog.infos(wrong):
                        changes.put_fields(info)
        names = {finding.subject for finding in mendable if finding.kind in _SEGMENTS}
        editions = {finding.edition for finding in mendable if finding.kind in _RANGES and finding.edition}
        if names or editions or "orphan-folder" in kinds:
            self._store.upkeep.mend(names, editions)
        return mendable

    def purge(self) -> None:
        """Rewrites segments that hold dead chunks, and the whole catalog; its journal is emptied.

        Raises WriterBusy when another process reads one commit, writes, or completes the index for longer than half a
        minute; what was done by then stays done. The file system may keep the blocks of files that are gone until it
        needs them, and a process that has searched before keeps the former segments mapped until its next search.
        """
        self._store.upkeep.bury()

    def traces(self, needles: Sequence[bytes]) -> list[str]:
        """Files of the collection's folder. SQLite cuts a text of more than some 16,000 bytes into pages, so that a
        needle which lies across two of them is not found there: give several.
        """
        wanted = raw.spellings(needles)
        folder = self._store.folder
        found = []
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            try:
                if raw.file_holds(path, wanted):
                    found.append(str(path))
            except FileNotFoundError:
                continue  # merged away meanwhile
        return found

    def close(self) -> None:
        self._store.close()
