"""Looking after one collection: what does not fit together in its state, and where a text still is."""

import pickle
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from retrieval.analysis import analyzer
from retrieval.errors import CollectionNotFound
from retrieval.ports import Finding
from retrieval.records import Document
from retrieval.stores.checks import missing_token_vectors, vector_fault
from retrieval.stores.memory.state import EditionState, Entry, MemoryCollection, State
from retrieval.stores.raw import holds, spellings


class MemoryKeeper:
    """See `retrieval.ports.Keeper`."""

    def __init__(self, collection: MemoryCollection) -> None:
        self._collection = collection
        self._terms = analyzer(collection.language).terms

    def check(self) -> Iterator[Finding]:
        state = self._state()
        for number, edition in sorted(state.editions.items()):
            for doc_id, entries in sorted(edition.entries.items()):
                if doc_id not in state.documents:
                    detail = f"{len(entries)} chunks of a document that is not there"
                    yield Finding("orphan-rows", doc_id, detail, edition=number)
                    continue
                for i, entry in enumerate(entries):
                    yield from _examine(entry, i, state.documents[doc_id], number, edition, self._terms)

    def repair(self, findings: Sequence[Finding]) -> list[Finding]:
        mended = [finding for finding in findings if not finding.doc_id]
        concerned = {finding.edition for finding in mended}
        with self._collection.writing:
            state = self._state()
            editions = {
                number: self._mended(edition, state) if number in concerned else edition
                for number, edition in state.editions.items()
            }
            if mended:
                self._collection.state = replace(state, editions=editions, sequence=state.sequence + 1)
        return mended

    def purge(self) -> None:
        """Nothing to do: a state that nobody reads any more is gone."""

    def traces(self, needles: Sequence[bytes]) -> list[str]:
        state = self._state()
        wanted = spellings(needles)
        places = {
            "documents": state.documents,
            "ledger": state.sources,
            **{f"edition {number}": edition.entries for number, edition in sorted(state.editions.items())},
        }
        # A pickle holds strings as UTF-8 and vectors as they are in memory.
        return [
            place for place, held in places.items() if any(holds(pickle.dumps(item), wanted) for item in held.items())
        ]

    def close(self) -> None:
        """Nothing to release."""

    def _state(self) -> State:
        if self._collection.dropped:
            raise CollectionNotFound(f"collection {self._collection.name!r} was dropped since it was opened")
        return self._collection.state

    def _mended(self, edition: EditionState, state: State) -> EditionState:
        entries = {
            doc_id: tuple(replace(entry, terms=Counter(self._terms(entry.chunk.indexed_text))) for entry in held)
            for doc_id, held in edition.entries.items()
            if doc_id in state.documents
        }
        return replace(edition, entries=entries)


def _examine(
    entry: Entry,
    ordinal: int,
    document: Document,
    number: int,
    edition: EditionState,
    terms: Callable[[str], list[str]],
) -> Iterator[Finding]:
    chunk = entry.chunk
    if (chunk.ordinal, chunk.version) != (ordinal, document.version):
        detail = f"stands as chunk {ordinal} of version {document.version}, and says {chunk.ordinal}, {chunk.version}"
        yield Finding("missing-chunks", document.doc_id, detail, doc_id=document.doc_id, edition=number)
    if fault := vector_fault(entry.vector, edition.embedder.dimension):
        yield Finding("wrong-vector", chunk.chunk_id, fault, doc_id=document.doc_id, edition=number)
    if edition.token_code and not entry.token_vectors:
        yield missing_token_vectors(chunk.chunk_id, document.doc_id, number)
    if entry.terms != Counter(terms(chunk.indexed_text)):
        yield Finding("damaged-index", chunk.chunk_id, "its words are not those of its text", edition=number)
