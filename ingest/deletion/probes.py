"""Looking for what was deleted: evidence is taken while it is there, probes are made when it should be gone.

Evidence is text and vectors of the documents and stays in memory; what a probe reports are ids, places and numbers. Of
a large deletion a sample is looked for by content, everything by id, and each probe says how much it has looked for.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

import numpy as np

from ingest.deletion.erasure import Erased, listing, present
from retrieval import filters
from retrieval.analysis import analyzer
from retrieval.errors import DocumentNotFound, EditionNotFound, UnknownField
from retrieval.filters import And, Compare
from retrieval.ports import Keeper, Replacement, Snapshot, Vectors, VectorStore
from retrieval.records import Document, Hit, Scalar

_T = TypeVar("_T")

_DOCUMENTS = 200
"""Of so many documents, spread evenly over those deleted, the content is looked for."""
_VECTORS = 1_000
"""So many of their vectors are searched for in each edition."""
_WORDS = 3
"""Words of its own that are looked for of each document."""
_CANDIDATES = 32
"""Words tried, to find those that no other document has: each costs a search."""
_DEPTH = 100
"""Results looked through for each search. A remaining chunk is the first hit for its own vector, or ties with it."""
_AROUND = 16
"""Characters before and after a word that are looked for with it in raw content."""
_FLOATS = 8
"""Components of a vector that are looked for in raw content, one after the other."""
_BLOB = 256
"""Bytes of a chunk's token vectors that are looked for so: several tokens, since one may be alike in other texts."""
_NEEDLES = 60
"""Stretches that are looked for in raw content, all of which is read for each of them."""
_FIELDS = 20
"""Metadata values that are asked for of each document."""
_SHOWN = 10
_BATCH = 16
_PAGE = 1_000
_WORD = re.compile(r"\w{4,40}")
_READ_WORDS = 20_000


@dataclass(frozen=True, slots=True)
class Probe:
    """One way on which a document could still be reached, and what was found on it."""

    name: str
    looked_for: int
    found: int
    where: tuple[str, ...] = ()
    """Ids or places of the first few found; never text."""
    note: str = ""
    """What was not looked for, and why."""


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """By what the content of deleted documents can be recognised."""

    chunks: Mapping[str, Mapping[int, int]]
    """How many each document had in each edition."""
    sampled: int = 0
    """Documents that all else was taken from."""
    vectors: Mapping[int, Sequence[Vectors]] = field(default_factory=dict)
    """By edition."""
    words: Sequence[str] = ()
    """Analysed terms that no other document has."""
    needles: Sequence[bytes] = ()
    """Stretches of text around such words, and of vectors and token vectors of chunks with them."""
    wordless: int = 0
    """Documents of the sample that have no word of their own: what is theirs is another's, too."""
    fields: Sequence[tuple[str, str, Scalar]] = ()
    """doc_id, name and value of metadata."""


def take(store: VectorStore, doc_ids: Sequence[str]) -> Evidence:
    """The evidence of documents that are about to be deleted; those that are not there give none."""
    taking = _Taking(doc_ids)
    with store.snapshot() as snapshot:
        editions = [edition.number for edition in snapshot.info.editions]
        _take(taking, snapshot)
        live = snapshot.info.live
    for number in editions:
        if number != live:
            try:
                with store.snapshot(edition=number) as snapshot:
                    _take(taking, snapshot)
            except EditionNotFound:
                continue  # dropped meanwhile, with all that it held
    return taking.evidence()


def by_id(store: VectorStore, erased: Sequence[Erased]) -> Iterator[Probe]:
    """Ask for every document and chunk by its id, list everything, read the ledger: all of it, not a sample."""
    doc_ids = {one.doc_id for one in erased}
    uris = [one.source_uri for one in erased]
    with store.snapshot() as snapshot:
        yield _probe("document", len(doc_ids), [doc_id for doc_id in doc_ids if _is_there(doc_id, snapshot)])
        listed = [info.doc_id for info in listing(snapshot) if info.doc_id in doc_ids]
        yield _probe("listing", len(doc_ids), listed)
        lines = [one.source_uri for one in present(snapshot, erased)] + _more_than_tombstones(snapshot, uris)
        yield _probe("ledger", len(uris), lines)
        editions = [edition.number for edition in snapshot.info.editions]
    left: list[str] = []
    looked_for = 0
    for number in editions:
        with store.snapshot(edition=number) as snapshot:
            for batch in _batches([chunk for one in erased for chunk in one.chunk_ids(number)], _PAGE):
                looked_for += len(batch)
                left += [f"edition {number}: {found.chunk.chunk_id}" for found in snapshot.chunks(batch)]
    yield _probe("chunks", looked_for, left)


def by_content(store: VectorStore, erased: Sequence[Erased], evidence: Evidence) -> Iterator[Probe]:
    """Search for the documents by what they said, in every edition."""
    doc_ids = {one.doc_id for one in erased}
    note = _sample_note(evidence)
    with store.snapshot() as snapshot:
        editions = [edition.number for edition in snapshot.info.editions]
        passing = [
            f"{doc_id}: {name}" for doc_id, name, value in evidence.fields if _passes(snapshot, doc_id, name, value)
        ]
        yield _probe("filters", len(evidence.fields), passing, note=note)
    dense: list[str] = []
    lexical: list[str] = []
    for number in editions:
        with store.snapshot(edition=number) as snapshot:
            for vector in evidence.vectors.get(number, ()):
                dense += _hits(number, snapshot.search_dense(vector, k=_DEPTH), doc_ids)
            for word in evidence.words:
                lexical += _hits(number, snapshot.search_lexical({word: 1.0}, k=_DEPTH), doc_ids)
    yield _probe("dense", sum(map(len, evidence.vectors.values())), dense, note=note)
    yield _probe("lexical", len(evidence.words) * len(editions), lexical, note=_wordless_note(evidence, note))


def by_bytes(keeper: Keeper, evidence: Evidence) -> Probe:
    """Look through the raw content of the store, past every index; of use only after a purge."""
    needles = _spread(evidence.needles, _NEEDLES)
    places = keeper.traces(needles) if needles else []
    note = _wordless_note(evidence, _sample_note(evidence))
    if len(needles) < len(evidence.needles):
        note = f"{note}; {len(needles):,} of {len(evidence.needles):,} stretches of text and vectors"
    return _probe("raw", len(needles), places, note=note.removeprefix("; "))


def by_check(keeper: Keeper) -> Probe:
    """Compare the indexes with what is in the collection: the way that needs no evidence."""
    found = [f"{finding.kind}: {finding.subject}" for finding in keeper.check()]
    note = "the content of the documents was gone before it could be noted; all indexes were compared instead"
    return _probe("check", 0, found, note=note)


class _Taking:
    """Evidence as it comes in."""

    def __init__(self, doc_ids: Sequence[str]) -> None:
        self.doc_ids = doc_ids
        self.wanted = set(doc_ids)
        self.sample = set(_spread(doc_ids, _DOCUMENTS))
        self.chunks: dict[str, dict[int, int]] = {}
        self.vectors: dict[int, list[Vectors]] = {}
        self.words: dict[str, None] = {}
        self.needles: dict[bytes, None] = {}
        self.fields: list[tuple[str, str, Scalar]] = []
        self.wordless = 0

    def evidence(self) -> Evidence:
        sampled = len(self.sample & self.chunks.keys())
        return Evidence(
            self.chunks, sampled, self.vectors, tuple(self.words), tuple(self.needles), self.wordless, self.fields
        )


def _take(taking: _Taking, snapshot: Snapshot) -> None:
    """What the edition of `snapshot` has of the documents; texts and fields are the same in all, and read once."""
    info = snapshot.info
    terms = analyzer(info.language).terms
    for batch in _batches(taking.doc_ids, _BATCH):
        for content in snapshot.contents(batch):
            doc_id = content.document.doc_id
            taking.chunks.setdefault(doc_id, {})[info.edition.number] = len(content.chunks)
            if doc_id not in taking.sample:
                continue
            rows = _spread(range(len(content.chunks)), -(-_VECTORS // len(taking.sample)))
            taking.vectors.setdefault(info.edition.number, []).extend(content.vectors[row].copy() for row in rows)
            if info.edition.number == info.live:
                taking.fields += islice(_fields(content.document), _FIELDS)
                _take_words(taking, content, snapshot, terms)


def _take_words(taking: _Taking, content: Replacement, snapshot: Snapshot, terms: Callable[[str], list[str]]) -> None:
    """Find words that only documents on their way out have: text with such a word in it is in no other document."""
    document = content.document
    found = 0
    for match in _candidates(document.text):
        own = [term for term in terms(match.group()) if _is_own(term, snapshot, taking.wanted)]
        if not own:
            continue
        found += 1
        taking.words.update(dict.fromkeys(own))
        window = document.text[max(0, match.start() - _AROUND) : match.end() + _AROUND]
        if window not in document.source_uri:  # which the tombstone keeps
            taking.needles[window.encode("utf-8")] = None
        for row, chunk in enumerate(content.chunks):
            if chunk.start <= match.start() < chunk.end:
                blobs = content.token_vectors[row : row + 1]
                pieces = [_piece(content.vectors[row]), *map(_stretch, blobs)]
                taking.needles.update(dict.fromkeys(filter(None, pieces)))
        if found == _WORDS:
            return
    taking.wordless += not found


def _candidates(text: str) -> list[re.Match[str]]:
    """Words that are worth a look, the likely ones first: long ones are rare, and others from all over the text."""
    words: dict[str, re.Match[str]] = {}
    for match in islice(_WORD.finditer(text), _READ_WORDS):
        words.setdefault(match.group().lower(), match)
    by_length = sorted(words.values(), key=lambda match: (match.start() - match.end(), match.start()))
    long, rest = by_length[: _CANDIDATES // 2], by_length[_CANDIDATES // 2 :]
    return long + _spread(rest, _CANDIDATES - len(long))


def _is_own(term: str, snapshot: Snapshot, doc_ids: AbstractSet[str]) -> bool:
    hits = snapshot.search_lexical({term: 1.0}, k=_DEPTH)
    return 0 < len(hits) < _DEPTH and all(_doc_id(hit.chunk_id) in doc_ids for hit in hits)


def _piece(vector: Vectors) -> bytes:
    """Bytes that no other vector has in a row; empty for one with hardly a value."""
    for i in range(0, len(vector) - _FLOATS + 1, _FLOATS):
        part = np.ascontiguousarray(vector[i : i + _FLOATS], dtype="<f4")
        if len(np.unique(part)) == _FLOATS and part.all():
            return part.tobytes()
    return b""


def _stretch(blob: bytes) -> bytes:
    """Of token vectors, from their middle."""
    first = max(0, (len(blob) - _BLOB) // 2)
    return blob[first : first + _BLOB]


def _fields(document: Document) -> Iterator[tuple[str, str, Scalar]]:
    for name in document.metadata:
        for value in filters.values(document.info, name):
            yield document.doc_id, name, value


def _is_there(doc_id: str, snapshot: Snapshot) -> bool:
    try:
        snapshot.document(doc_id)
    except DocumentNotFound:
        return False
    return True


def _more_than_tombstones(snapshot: Snapshot, uris: Sequence[str]) -> list[str]:
    lines = (line for batch in _batches(uris, _PAGE) for line in snapshot.sources(uris=batch))
    return [
        line.source_uri for line in lines if line.status != "deleted" or line.error or line.version or line.fingerprint
    ]


def _passes(snapshot: Snapshot, doc_id: str, name: str, value: Scalar) -> bool:
    try:
        both = And((Compare("doc_id", "$eq", doc_id), Compare(name, "$eq", value)))
        return bool(snapshot.documents(filter=both, limit=1))
    except UnknownField:
        return False  # it was the last document that had the field


def _hits(edition: int, hits: Sequence[Hit], doc_ids: AbstractSet[str]) -> list[str]:
    return [f"edition {edition}: {hit.chunk_id}" for hit in hits if _doc_id(hit.chunk_id) in doc_ids]


def _doc_id(of_chunk: str) -> str:
    return of_chunk.rpartition(":")[0]


def _probe(name: str, looked_for: int, found: Sequence[str], *, note: str = "") -> Probe:
    distinct = sorted(set(found))
    return Probe(name, looked_for, len(distinct), tuple(distinct[:_SHOWN]), note)


def _sample_note(evidence: Evidence) -> str:
    there = len(evidence.chunks)
    if not there:
        return "no content"
    return f"of {evidence.sampled:,} of {there:,} documents" if evidence.sampled < there else ""


def _wordless_note(evidence: Evidence, note: str) -> str:
    if not evidence.wordless:
        return note
    words = f"{evidence.wordless:,} of them share all their words with other documents, and cannot be told from those"
    return f"{note}; {words}" if note else words


def _spread(items: Sequence[_T], most: int) -> list[_T]:
    """At most `most` of the items, evenly from first to last."""
    if len(items) <= most:
        return list(items)
    return [items[i * len(items) // most] for i in range(most)]


def _batches(items: Sequence[_T], size: int) -> Iterator[Sequence[_T]]:
    for i in range(0, len(items), size):
        yield items[i : i + size]
