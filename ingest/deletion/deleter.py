"""Deleting documents so that it can be shown: out of every index, out of the raw files, with a receipt of the proof.

The order is what makes it safe to cut off anywhere: an intent is written, the documents go in one commit that leaves a
tombstone for each source, the store is purged, everything is looked for, the receipt is written. An intent without a
receipt is completed by the next deletion from the collection, or by `resume`.
"""

import getpass
import hashlib
import platform
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ingest import ledger, spool
from ingest.deletion import probes
from ingest.deletion.erasure import Erased, listing, present, select
from ingest.deletion.probes import Evidence, Probe
from ingest.deletion.receipts import Chain, Entry
from retrieval.closing import closing_unless_stopped
from retrieval.errors import CollectionNotFound, StoreCorrupt, StoreUnavailable, WriterBusy
from retrieval.ports import Collections, Keeper, VectorStore
from retrieval.records import SourceRecord

_ROUNDS = 3
"""How often what other processes have added meanwhile is deleted, too."""
_NEWER = "{} came in again after this deletion had begun, and stayed: delete it anew if it shall go"
_UNREADABLE = "what it held cannot be read"
_DROPPED = "the whole collection is gone"


def _ignore(stage: str) -> None:
    """For callers that do not watch."""


@dataclass(frozen=True, slots=True)
class Deletion:
    """What one call has done."""

    receipt: Entry | None
    """None when everything named was deleted before."""
    completed: tuple[Entry, ...] = ()
    """Receipts of earlier deletions, which had been cut off."""
    before: tuple[SourceRecord, ...] = ()
    """Tombstones of what was named and is deleted already."""

    @property
    def passed(self) -> bool:
        """Whether no probe has found anything."""
        receipts = [*self.completed, *([self.receipt] if self.receipt else [])]
        return all(receipt.content["passed"] for receipt in receipts)


class Deleter:
    """Deletes from the collections of one place, and keeps the receipts in the folder `receipts`.

    `folder_of` tells where a collection's files are, for stores that have such. `on_stage` hears in a few words what
    is being done. All raise WriterBusy while another deletion from the same collection is going on.
    """

    def __init__(
        self,
        collections: Collections,
        *,
        receipts: Path,
        folder_of: Callable[[str], Path | None] = lambda _: None,
        on_stage: Callable[[str], None] = _ignore,
    ) -> None:
        self._collections = collections
        self._receipts = receipts
        self._folder_of = folder_of
        self._on_stage = on_stage

    def delete(
        self, collection: str, names: Sequence[str], *, under: Sequence[str] = (), purge: bool = True
    ) -> Deletion:
        """Delete what `names` and `under` name (see `erasure.select`).

        Raises DocumentNotFound and CollectionNotFound before anything is deleted.
        """
        self._collections.open(collection).close()
        chain = Chain(self._receipts, collection)
        with chain.locked():
            completed = self._complete(chain, collection)
            with closing(self._collections.open(collection)) as store:
                with store.snapshot() as snapshot:
                    selection = select(snapshot, names, under=under)
                if not selection.erased:
                    return Deletion(None, completed, selection.deleted)
                self._on_stage("noting what to look for afterwards")
                evidence = probes.take(store, [one.doc_id for one in selection.erased])
            documents = [
                asdict(replace(one, chunks=tuple(sorted(evidence.chunks.get(one.doc_id, {}).items()))))
                for one in selection.erased
            ]
            request = self._request(collection, "documents") | {"documents": documents, "purge": purge}
            intent = chain.append("intent", request)
            return Deletion(self._carry_out(chain, intent, evidence), completed, selection.deleted)

    def drop(self, collection: str) -> Deletion:
        """Delete a whole collection, whether it can be read or not. Raises CollectionNotFound."""
        holds = self._holds(collection)
        chain = Chain(self._receipts, collection)
        with chain.locked():
            intent = chain.append("intent", self._request(collection, "collection") | {"holds": holds})
            receipt = self._carry_out(chain, intent, None)
            return Deletion(receipt, self._complete(chain, collection))

    def resume(self, collection: str) -> Deletion:
        """Complete the deletions from a collection that were cut off."""
        chain = Chain(self._receipts, collection)
        with chain.locked():
            return Deletion(None, self._complete(chain, collection))

    def _complete(self, chain: Chain, collection: str) -> tuple[Entry, ...]:
        receipts = []
        for intent in chain.open_intents():
            self._on_stage(f"completing the deletion of {intent.content['at']} from {collection!r}, which was cut off")
            receipts.append(self._carry_out(chain, intent, None))
        return tuple(receipts)

    def _carry_out(self, chain: Chain, intent: Entry, evidence: Evidence | None) -> Entry:
        """Do what an intent says and write the receipt. Without `evidence`, an earlier run may have done some of it."""
        if intent.content["scope"] == "collection":
            outcome = self._drop(intent)
        else:
            try:
                outcome = self._delete(intent, evidence)
            except CollectionNotFound:  # dropped since
                outcome = self._dropped(intent.content["collection"]) | {"note": _DROPPED, "tombstones": 0}
        found = outcome["probes"]
        return chain.append(
            "receipt",
            {
                **intent.content,
                **outcome,
                **_now_by(),
                "intent": intent.sequence,
                "requested": {name: intent.content[name] for name in ("at", "user", "host")},
                "probes": [asdict(probe) for probe in found],
                "passed": outcome["complete"] and not any(probe.found for probe in found),
            },
        )

    def _delete(self, intent: Entry, evidence: Evidence | None) -> dict[str, Any]:
        collection = intent.content["collection"]
        erased = [_read(fields) for fields in intent.content["documents"]]
        newer: list[Erased] = []
        self._on_stage("deleting")
        with closing_unless_stopped(self._collections.open(collection, writable=True)) as store:
            if evidence is None:
                with store.snapshot() as snapshot:
                    there = present(snapshot, erased)
                newer = [one for one in there if one.recorded_at > intent.content["at"]]
                there = [one for one in there if one not in newer]
                evidence = probes.take(store, [one.doc_id for one in there])
                late = _remove(store, there) if there else []
            else:
                late = _remove(store, erased)
        known = {one.source_uri for one in erased}
        erased += [one for one in late if one.source_uri not in known]
        erased = [one for one in erased if one.source_uri not in {back.source_uri for back in newer}]
        found, problem = self._look(collection, erased, evidence, purge=intent.content["purge"])
        notes = [_NEWER.format(", ".join(one.source_uri for one in newer))] if newer else []
        return {
            "documents": [asdict(one) for one in erased],
            "tombstones": len(erased),
            "probes": found,
            "complete": not problem,
            "note": "; ".join([*notes, *([problem] if problem else [])]),
        }

    def _look(
        self, collection: str, erased: Sequence[Erased], evidence: Evidence, *, purge: bool
    ) -> tuple[list[Probe], str]:
        """Purge, then look for it all; also returns why it could not be purged.

        With a handle of its own: what the one that deleted remembers proves nothing.
        """
        with closing(self._collections.keeper(collection)) as keeper:
            problem = self._purge(keeper) if purge else ""
            self._on_stage("looking for it")
            with closing(self._collections.open(collection)) as store:
                found = [*probes.by_id(store, erased), *probes.by_content(store, erased, evidence)]
            if purge and not problem:
                found.append(probes.by_bytes(keeper, evidence))
                if not evidence.chunks and any(one.chunks for one in erased):
                    found.append(probes.by_check(keeper))
        return found, problem

    def _purge(self, keeper: Keeper) -> str:
        """Why the remains could not be purged, empty when they were: the documents are deleted all the same."""
        self._on_stage("purging what is left of it in indexes and files")
        spool.clear()  # copies that an ingestion has left which was killed
        try:
            keeper.purge()
        except (WriterBusy, StoreUnavailable) as exc:
            return f"remains are not purged, `footnote delete --resume` does so: {exc}"
        return ""

    def _drop(self, intent: Entry) -> dict[str, Any]:
        collection = intent.content["collection"]
        self._on_stage("deleting the collection")
        if self._created_at(collection) > intent.content["at"]:
            return self._dropped(collection) | {"note": _NEWER.format(f"collection {collection!r}")}
        with suppress(CollectionNotFound):
            self._collections.drop(collection)
        return self._dropped(collection)

    def _dropped(self, collection: str) -> dict[str, Any]:
        """What is left of a collection that shall be gone."""
        names = [name for name in self._collections.names() if name == collection]
        folder = self._folder_of(collection)
        left = []
        if folder:
            left = [str(path) for path in (folder, *folder.parent.glob(f".dropped-{folder.name}-*")) if path.exists()]
        looked_for = [Probe("collection", 1, len(names), tuple(names))]
        if folder:
            looked_for.append(Probe("folder", 1, len(left), tuple(left)))
        return {"probes": looked_for, "complete": True, "note": ""}

    def _created_at(self, collection: str) -> str:
        """Empty when it is not there or does not tell."""
        try:
            with closing(self._collections.open(collection)) as store, store.snapshot() as snapshot:
                return min(edition.created_at for edition in snapshot.info.editions)
        except (CollectionNotFound, StoreCorrupt):
            return ""

    def _holds(self, collection: str) -> dict[str, Any]:
        """How much a collection holds, and a hash of which documents. Raises CollectionNotFound."""
        try:
            with closing(self._collections.open(collection)) as store, store.snapshot() as snapshot:
                info = snapshot.info
                ids = hashlib.sha256()
                for document in listing(snapshot):
                    ids.update(f"{document.doc_id}\n".encode())
        except StoreCorrupt:
            return {"note": _UNREADABLE}
        return {
            "documents": info.documents,
            "editions": [[edition.number, edition.chunks] for edition in info.editions],
            "doc_ids_sha256": ids.hexdigest(),
        }

    def _request(self, collection: str, scope: str) -> dict[str, Any]:
        return {
            "collection": collection,
            "scope": scope,
            "place": self._collections.place(),
            "footnote": version("footnote"),
            **_now_by(),
        }


def _remove(store: VectorStore, erased: Sequence[Erased]) -> list[Erased]:
    """Delete and leave tombstones; returns what has come in meanwhile and went as well."""
    late: list[Erased] = []
    going = list(erased)
    for _ in range(_ROUNDS):
        store.delete([one.doc_id for one in going], leave=[one.tombstone() for one in going])
        with store.snapshot() as snapshot:
            going = present(snapshot, erased)
        if not going:
            break
        late += going
    return late


def _read(fields: Mapping[str, Any]) -> Erased:
    return Erased(**{**fields, "chunks": tuple((edition, count) for edition, count in fields["chunks"])})


def _now_by() -> dict[str, str]:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        user = ""
    return {"at": ledger.now(), "user": user, "host": platform.node()}
