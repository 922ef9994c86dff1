"""A suite: questions about a user's own collection with the documents that answer them, to compare editions by.

A folder in the BEIR layout without a corpus:

    queries.jsonl     {"_id", "text"}
    qrels/test.tsv    query-id, corpus-id, score; with that header

or one file with a line for each question: {"question", "sources": [...]}, see `evals.datasets.read_questions`.

A corpus-id or source names a document of the collection by its doc_id, its source's URI, its path, or as much of the
path's end as nothing else has. What names no document is an error: scored as not found, it would look like bad
retrieval.
"""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evals import measurement
from evals.bundle import Evaluation
from evals.comparison.statistics import permutation
from evals.datasets import Qrel, Query, read_judged, read_questions
from evals.metrics import Scores, library
from ingest.naming import Names, documents
from retrieval.errors import InvalidQuery, InvalidRequest
from retrieval.ports import Snapshot
from retrieval.retriever import Retriever, check_query

METRIC = "nDCG@10"
_NAMED = 10
"""Unknown documents that an error names before it says how many more there are."""


@dataclass(frozen=True, slots=True)
class Suite:
    """Questions, and which documents of a collection answer them."""

    path: Path
    queries: Sequence[Query]
    """Those with at least one relevant document, in the order of the file."""
    qrels: Sequence[Qrel]
    """With doc_ids of the collection."""
    left_out: int
    """Queries without a relevant document."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two editions on the same questions; means of nDCG@10 and their difference are in points (0..100)."""

    former: float
    new: float
    p_value: float
    """Of a paired randomisation test, two-sided: how often a difference as large comes about by chance alone."""
    queries: int
    better: int
    """Questions that the new one ranks better."""
    worse: int

    @property
    def difference(self) -> float:
        """In points; below 0 when the new one is worse."""
        return self.new - self.former


def read_suite(path: Path, snapshot: Snapshot) -> Suite:
    """The suite at `path`, a folder or a file, its documents looked up in `snapshot`.

    Raises InvalidRequest, MissingExtra.
    """
    library()  # so that its lack is known before hours of embedding, not after
    queries, judgements = _read(path)
    # What is not relevant counts for nothing, so it need not be there.
    relevant = [qrel for qrel in judgements if qrel.relevance > 0]
    doc_ids = _resolve(sorted({qrel.doc_id for qrel in relevant}), path, snapshot)
    merged: dict[tuple[str, str], int] = {}
    for qrel in relevant:
        key = (qrel.query_id, doc_ids[qrel.doc_id])
        merged[key] = max(qrel.relevance, merged.get(key, 0))
    answered = {query_id for query_id, _ in merged}
    if not answered:
        raise InvalidRequest(f"suite {str(path)!r}: no query has a relevant document; nothing to measure")
    asked = tuple(query for query in queries.values() if query.query_id in answered)
    _check_queries(asked, path)
    return Suite(
        path=path,
        queries=asked,
        qrels=tuple(Qrel(query_id, doc_id, relevance) for (query_id, doc_id), relevance in merged.items()),
        left_out=len(queries) - len(answered),
    )


def evaluate(suite: Suite, retriever: Retriever, snapshot: Snapshot, *, explain: bool = False) -> Evaluation:
    """Ask the questions of `suite` through the edition that `snapshot` reads. Raises what the retriever raises."""
    info = snapshot.info
    measured = measurement.measure(
        "default", retriever, snapshot=snapshot, queries=suite.queries, qrels=suite.qrels, explain=explain
    )
    return Evaluation(
        dataset=suite.path.stem if suite.path.is_file() else suite.path.resolve().name,
        split="test",
        queries=suite.queries,
        qrels=suite.qrels,
        corpus_sha256=_corpus_fingerprint(snapshot),
        documents=info.documents,
        chunks=info.chunks,
        collection=info.name,
        embedder=info.embedder,
        chunking=info.edition.chunking,
        modes=(measured,),
        created_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    )


def measure(suite: Suite, retriever: Retriever, snapshot: Snapshot) -> Scores:
    """The scores alone."""
    return evaluate(suite, retriever, snapshot).modes[0].scores


def compare(former: Scores, new: Scores) -> Comparison:
    """What `new` gains or loses; both are of the same suite."""
    query_ids = sorted(former.per_query)
    before = np.array([former.per_query[query_id][METRIC] for query_id in query_ids])
    after = np.array([new.per_query[query_id][METRIC] for query_id in query_ids])
    return Comparison(
        former=100 * float(before.mean()),
        new=100 * float(after.mean()),
        p_value=permutation(after - before, two_sided=True),
        queries=len(query_ids),
        better=int((after > before).sum()),
        worse=int((after < before).sum()),
    )


def _read(path: Path) -> tuple[dict[str, Query], list[Qrel]]:
    if path.is_file():
        return read_questions(path)
    if not path.is_dir():
        raise InvalidRequest(
            f"suite {str(path)!r} is no folder and no file; give a folder with queries.jsonl and qrels/test.tsv, or a "
            "JSONL file of questions with sources"
        )
    queries, judgements = read_judged(path)
    if strangers := {qrel.query_id for qrel in judgements} - queries.keys():
        raise InvalidRequest(
            f"suite {str(path)!r}: qrels/test.tsv judges {len(strangers)} queries that are not in queries.jsonl, "
            f"e.g. {min(strangers)!r}"
        )
    return queries, judgements


def _check_queries(queries: Sequence[Query], path: Path) -> None:
    for query in queries:
        try:
            check_query(query.text, measurement.DEPTH)
        except InvalidQuery as exc:
            raise InvalidRequest(f"suite {str(path)!r}: query {query.query_id!r}: {exc}") from exc


def _resolve(names: Sequence[str], path: Path, snapshot: Snapshot) -> dict[str, str]:
    """The doc_id that each name stands for. Raises InvalidRequest for names of none or of several documents."""
    known = Names(snapshot)
    found: dict[str, str] = {}
    problems = []
    for name in names:
        match known.doc_ids(name):
            case [doc_id]:
                found[name] = doc_id
            case []:
                problems.append(repr(name))
            case several:
                problems.append(f"{name!r} (names {len(several)} documents; give more of its path)")
    if problems:
        more = f" and {len(problems) - _NAMED} more" if len(problems) > _NAMED else ""
        raise InvalidRequest(
            f"suite {str(path)!r}: not to be found in collection {snapshot.info.name!r}: "
            f"{', '.join(problems[:_NAMED])}{more}; name documents by doc_id, source URI, path or file name"
        )
    return found


def _corpus_fingerprint(snapshot: Snapshot) -> str:
    """SHA-256 over ids and versions of all documents."""
    digest = hashlib.sha256()
    for info in documents(snapshot):
        digest.update(json.dumps([info.doc_id, info.version]).encode("ascii"))
    return digest.hexdigest()


def as_json(scores: Scores, suite: Suite) -> Mapping[str, object]:
    """What was measured, per query too."""
    return {
        "suite": str(suite.path),
        "queries": len(suite.queries),
        "left_out": suite.left_out,
        "metrics": dict(scores.mean),
        "per_query": {query_id: dict(values) for query_id, values in scores.per_query.items()},
    }
