"""Reads retrieval test collections in the BEIR folder layout (Thakur et al. 2021).

    corpus.jsonl or corpus.jsonl.gz     {"_id", "title", "text"}
    queries.jsonl or queries.jsonl.gz   {"_id", "text"}
    qrels/<split>.tsv                   query-id, corpus-id, score; with that header

What cannot be read stops with the file and the line. What is merely odd (judgements of queries or documents that are
not there) is counted and reported: published sets have it, and it explains scores.
"""

import gzip
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retrieval.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class Query:
    """A question whose relevant documents are known."""

    query_id: str
    text: str


@dataclass(frozen=True, slots=True)
class Qrel:
    """A judgement: how relevant a document is to a query; 0 is not at all."""

    query_id: str
    doc_id: str
    relevance: int


@dataclass(frozen=True, slots=True)
class CorpusDocument:
    """One line of the corpus."""

    doc_id: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Corpus:
    """What a pass over the corpus tells: how much there is and which exactly."""

    documents: int
    fingerprint: str
    """SHA-256 over ids, titles and texts, in order."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """A test collection without its corpus, which is read by `read_corpus` when needed."""

    folder: Path
    split: str
    queries: Sequence[Query]
    """Those that can be scored, in the order of the file: with at least one relevant document."""
    qrels: Sequence[Qrel]
    """The judgements of `queries`."""
    corpus: Corpus
    own_documents: frozenset[str] = frozenset()
    """query_ids that are doc_ids too: as in BEIR, that document is left out of the query's ranking, for in sets like
    ArguAna it is the query itself. A document that is judged relevant stays in."""
    problems: tuple[str, ...] = ()
    """What is odd about the set, for people."""

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.resolve().name


def fingerprint(queries: Iterable[Query], qrels: Iterable[Qrel]) -> str:
    """SHA-256 over queries and judgements: scores compare only where they are the same."""
    digest = hashlib.sha256()
    for query in queries:
        _feed(digest, query.query_id, query.text)
    for qrel in qrels:
        _feed(digest, qrel.query_id, qrel.doc_id, str(qrel.relevance))
    return digest.hexdigest()


def read_dataset(folder: Path, *, split: str = "test", limit: int | None = None) -> Dataset:
    """The set below `folder`; `limit` keeps the first so many queries. Raises InvalidRequest."""
    if limit is not None and limit < 1:
        raise InvalidRequest(f"limit = {limit!r}: take at least one query")
    if not folder.is_dir():
        raise InvalidRequest(f"{str(folder)!r} is no folder; give one with corpus.jsonl, queries.jsonl and qrels/")
    queries, judgements = read_judged(folder, split=split)
    doc_ids: set[str] = set()
    corpus = _scan(folder, doc_ids)
    relevant = {qrel.query_id for qrel in judgements if qrel.relevance > 0}
    scored = [query for query in queries.values() if query.query_id in relevant]
    if not scored:
        raise InvalidRequest(
            f"{str(folder)!r}: no query of split {split!r} has a relevant document; nothing to measure"
        )
    kept = {query.query_id for query in scored[:limit]}
    sought = {qrel.query_id for qrel in judgements if qrel.relevance > 0 and qrel.doc_id == qrel.query_id}
    own = frozenset((kept & doc_ids) - sought)
    return Dataset(
        folder=folder,
        split=split,
        queries=tuple(scored[:limit]),
        qrels=tuple(qrel for qrel in judgements if qrel.query_id in kept),
        corpus=corpus,
        own_documents=own,
        problems=tuple(_problems(judgements, queries, doc_ids, relevant, own)),
    )


def read_judged(folder: Path, *, split: str = "test") -> tuple[dict[str, Query], list[Qrel]]:
    """All queries by id and all judgements, as they stand in the files; needs no corpus. Raises InvalidRequest."""
    queries = _unique(Query(query_id, text) for query_id, text in _read_queries(folder))
    return queries, list(_read_qrels(folder, split))


def read_questions(path: Path) -> tuple[dict[str, Query], list[Qrel]]:
    """Questions with their sources, a JSON object a line; the doc_id of a judgement is a source as it is written.

        {"question": "...", "sources": ["report.pdf", ...], "query_id": "...", "relevance": 2}

    `query_id` may be missing and is then made of the question; `relevance` is 1 then, and holds for all sources.
    Raises InvalidRequest.
    """
    queries, qrels = [], []
    for number, values in _json_lines(path):
        text = _text(values, "question", path, number)
        made = hashlib.sha256(text.encode("utf-8")).hexdigest()[:12]
        query_id = _text(values, "query_id", path, number, default=made) or made
        sources, relevance = values.get("sources"), values.get("relevance", 1)
        if not isinstance(sources, list) or not all(isinstance(source, str) and source for source in sources):
            raise InvalidRequest(
                f"{str(path)!r}, line {number}: 'sources' must be a list of names of documents, got {sources!r:.100}"
            )
        if type(relevance) is not int:
            raise InvalidRequest(f"{str(path)!r}, line {number}: 'relevance' must be whole, got {relevance!r:.100}")
        queries.append(Query(query_id, text))
        qrels += [Qrel(query_id, _storable(source), relevance) for source in sources]
    return _unique(iter(queries)), qrels


def read_corpus(folder: Path) -> Iterator[CorpusDocument]:
    """The documents in the order of the file. Raises InvalidRequest at a line that is none."""
    path = _find(folder, "corpus.jsonl")
    for number, values in _json_lines(path):
        yield CorpusDocument(
            doc_id=_text(values, "_id", path, number),
            title=_text(values, "title", path, number, default=""),
            text=_text(values, "text", path, number, default=""),
        )


def _scan(folder: Path, doc_ids: set[str]) -> Corpus:
    digest = hashlib.sha256()
    for document in read_corpus(folder):
        if document.doc_id in doc_ids:
            raise InvalidRequest(
                f"{str(folder)!r}: the corpus has document {document.doc_id!r} twice; ids must be unique"
            )
        doc_ids.add(document.doc_id)
        _feed(digest, document.doc_id, document.title, document.text)
    if not doc_ids:
        raise InvalidRequest(f"{str(folder)!r}: the corpus is empty; nothing to search in")
    return Corpus(len(doc_ids), digest.hexdigest())


def _read_queries(folder: Path) -> Iterator[tuple[str, str]]:
    path = _find(folder, "queries.jsonl")
    for number, values in _json_lines(path):
        yield _text(values, "_id", path, number), _text(values, "text", path, number)


def _unique(queries: Iterator[Query]) -> dict[str, Query]:
    found: dict[str, Query] = {}
    for query in queries:
        if query.query_id in found:
            raise InvalidRequest(f"query {query.query_id!r} is there twice; ids must be unique")
        found[query.query_id] = query
    return found


def _read_qrels(folder: Path, split: str) -> Iterator[Qrel]:
    path = folder / "qrels" / f"{split}.tsv"
    if not path.is_file():
        splits = ", ".join(sorted(found.stem for found in path.parent.glob("*.tsv"))) or "none"
        raise InvalidRequest(f"{str(path)!r} is missing; splits that are there: {splits}")
    for number, line in _lines(path):
        columns = line.split("\t")
        if number == 1 and columns[-1].strip() == "score":
            continue
        try:
            query_id, doc_id, relevance = columns
            yield Qrel(query_id, doc_id, int(relevance))
        except ValueError as exc:
            raise InvalidRequest(
                f"{str(path)!r}, line {number}: expected query-id, corpus-id and a whole number between tabs, "
                f"got {line!r:.100}"
            ) from exc


def _problems(
    judgements: Sequence[Qrel],
    queries: Mapping[str, Query],
    doc_ids: set[str],
    relevant: set[str],
    own: frozenset[str],
) -> Iterator[str]:
    judged = {qrel.query_id for qrel in judgements}
    if missing := judged - queries.keys():
        yield f"{len(missing)} judged queries are not in queries.jsonl and were left out, e.g. {min(missing)!r}"
    if missing := {qrel.doc_id for qrel in judgements} - doc_ids:
        yield f"{len(missing)} judged documents are not in the corpus and cannot be found, e.g. {min(missing)!r}"
    if bare := (judged & queries.keys()) - relevant:
        yield f"{len(bare)} queries have no relevant document and were left out, e.g. {min(bare)!r}"
    if own:
        yield f"{len(own)} queries have a document of their id, which is left out of their ranking, e.g. {min(own)!r}"


def _find(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise InvalidRequest(f"{str(folder / name)!r} is missing (nor is there a .gz); is this a folder in BEIR layout?")


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines without their ends; empty ones are left out."""
    opener: Any = gzip.open if path.suffix == ".gz" else open
    number = 0
    try:
        with opener(path, "rt", encoding="utf-8") as stream:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    yield number, line.rstrip("\r\n")
    except (UnicodeDecodeError, EOFError, gzip.BadGzipFile) as exc:
        raise InvalidRequest(f"{str(path)!r} cannot be read after line {number}: {exc}; fetch it again") from exc


def _json_lines(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in _lines(path):
        try:
            values = json.loads(line)
        except ValueError as exc:
            raise InvalidRequest(f"{str(path)!r}, line {number}: not valid JSON ({exc})") from exc
        if not isinstance(values, dict):
            raise InvalidRequest(f"{str(path)!r}, line {number}: expected a JSON object, got {line!r:.100}")
        yield number, values


def _text(values: Mapping[str, Any], field: str, path: Path, number: int, *, default: str | None = None) -> str:
    value = values.get(field, default)
    if field == "_id" and isinstance(value, int):
        value = str(value)  # some sets number their documents; the qrels spell the number out
    if value is None and default is not None:
        value = default
    if not isinstance(value, str) or (field == "_id" and not value):
        raise InvalidRequest(f"{str(path)!r}, line {number}: {field!r} must be text, got {value!r:.100}")
    return _storable(value)


def _storable(text: str) -> str:
    """JSON can hold lone surrogates, which nothing else can."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _feed(digest: Any, *fields: str) -> None:
    digest.update(json.dumps(fields).encode("ascii"))
