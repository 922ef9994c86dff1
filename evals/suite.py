"""A suite: questions about a user's own collection with the documents that answer them, to compare editions by.

    queries.jsonl     {"_id", "text"}
    qrels/test.tsv    query-id, corpus-id, score; with that header

That is the BEIR layout without a corpus: a corpus-id names a document of the collection by its doc_id, its source's
URI, its path, or as much of the path's end as nothing else has. What names no document is an error: scored as not
found, it would look like bad retrieval.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from evals.datasets import Qrel, Query, read_judged
from evals.metrics import Scores, evaluate, library, rank_documents
from ingest.sources import uri_for
from retrieval.errors import InvalidQuery, InvalidRequest
from retrieval.ports import Snapshot
from retrieval.retriever import Retriever, check_query

METRIC = "nDCG@10"
DEPTH = 100
"""Chunks retrieved per query; their documents are scored."""
_PAGE = 1_000
_NAMED = 10
"""Unknown documents that an error names before it says how many more there are."""
_RESAMPLES = 9_999
_SEED = 7


@dataclass(frozen=True, slots=True)
class Suite:
    """Questions, and which documents of a collection answer them."""

    folder: Path
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


def read_suite(folder: Path, snapshot: Snapshot) -> Suite:
    """The suite below `folder`, its documents looked up in `snapshot`. Raises InvalidRequest, MissingExtra."""
    library()  # so that its lack is known before hours of embedding, not after
    if not folder.is_dir():
        raise InvalidRequest(f"suite {str(folder)!r} is no folder; give one with queries.jsonl and qrels/test.tsv")
    queries, judgements = read_judged(folder)
    if strangers := {qrel.query_id for qrel in judgements} - queries.keys():
        raise InvalidRequest(
            f"suite {str(folder)!r}: qrels/test.tsv judges {len(strangers)} queries that are not in queries.jsonl, "
            f"e.g. {min(strangers)!r}"
        )
    # What is not relevant counts for nothing, so it need not be there.
    relevant = [qrel for qrel in judgements if qrel.relevance > 0]
    doc_ids = _resolve(sorted({qrel.doc_id for qrel in relevant}), folder, snapshot)
    merged: dict[tuple[str, str], int] = {}
    for qrel in relevant:
        key = (qrel.query_id, doc_ids[qrel.doc_id])
        merged[key] = max(qrel.relevance, merged.get(key, 0))
    answered = {query_id for query_id, _ in merged}
    if not answered:
        raise InvalidRequest(f"suite {str(folder)!r}: no query has a relevant document; nothing to measure")
    asked = tuple(query for query in queries.values() if query.query_id in answered)
    _check_queries(asked, folder)
    return Suite(
        folder=folder,
        queries=asked,
        qrels=tuple(Qrel(query_id, doc_id, relevance) for (query_id, doc_id), relevance in merged.items()),
        left_out=len(queries) - len(answered),
    )


def measure(suite: Suite, retriever: Retriever, snapshot: Snapshot) -> Scores:
    """Ask the questions of `suite` through the edition that `snapshot` reads. Raises what the retriever raises."""
    rankings = {
        query.query_id: rank_documents(retriever.retrieve(query.text, k=DEPTH, snapshot=snapshot).chunks)
        for query in suite.queries
    }
    return evaluate(suite.qrels, rankings)


def compare(former: Scores, new: Scores) -> Comparison:
    """What `new` gains or loses; both are of the same suite."""
    query_ids = sorted(former.per_query)
    before = np.array([former.per_query[query_id][METRIC] for query_id in query_ids])
    after = np.array([new.per_query[query_id][METRIC] for query_id in query_ids])
    return Comparison(
        former=100 * float(before.mean()),
        new=100 * float(after.mean()),
        p_value=_p_value(before, after),
        queries=len(query_ids),
        better=int((after > before).sum()),
        worse=int((after < before).sum()),
    )


def _check_queries(queries: Sequence[Query], folder: Path) -> None:
    for query in queries:
        try:
            check_query(query.text, DEPTH)
        except InvalidQuery as exc:
            raise InvalidRequest(f"suite {str(folder)!r}: query {query.query_id!r}: {exc}") from exc


def _p_value(before: NDArray[np.float64], after: NDArray[np.float64]) -> float:
    """Fisher's randomisation test (Smucker et al. 2007): exact for few queries, drawn with a fixed seed for many."""
    from scipy.stats import permutation_test  # noqa: PLC0415 - comes with the extra, and costs a second

    if len(before) < 2 or np.array_equal(before, after):
        return 1.0
    result = permutation_test(
        (after, before),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=_RESAMPLES,
        batch=500,
        rng=np.random.default_rng(_SEED),
    )
    return float(result.pvalue)


def _resolve(names: Sequence[str], folder: Path, snapshot: Snapshot) -> dict[str, str]:
    """The doc_id that each name stands for. Raises InvalidRequest for names of none or of several documents."""
    known = _Known(snapshot)
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
            f"suite {str(folder)!r}: not to be found in collection {snapshot.info.name!r}: "
            f"{', '.join(problems[:_NAMED])}{more}; name documents by doc_id, source URI, path or file name"
        )
    return found


class _Known:
    """The documents of a collection by all their names."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._ids: set[str] = set()
        self._by_uri: dict[str, str] = {}
        self._by_file: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
        for doc_id, uri in _documents(snapshot):
            self._ids.add(doc_id)
            self._by_uri[uri] = doc_id
            path = "/" + unquote(urlsplit(uri).path).lstrip("/")
            self._by_file[path.rpartition("/")[2]].append((path, doc_id))

    def doc_ids(self, name: str) -> list[str]:
        """Of the documents that `name` can mean: the nearest sense that fits any."""
        if name in self._ids:
            return [name]
        for uri in (name, uri_for(name)):
            if uri in self._by_uri:
                return [self._by_uri[uri]]
        ending = "/" + name.removeprefix("./").lstrip("/")
        return [doc_id for path, doc_id in self._by_file[ending.rpartition("/")[2]] if path.endswith(ending)]


def _documents(snapshot: Snapshot) -> Iterator[tuple[str, str]]:
    """doc_id and source URI of every document."""
    after, page_is_full = "", True
    while page_is_full:
        page = snapshot.documents(after=after, limit=_PAGE)
        page_is_full = len(page) == _PAGE
        for info in page:
            after = info.doc_id
            yield info.doc_id, info.source_uri


def as_json(scores: Scores, suite: Suite) -> Mapping[str, object]:
    """What was measured, per query too."""
    return {
        "suite": str(suite.folder),
        "queries": len(suite.queries),
        "left_out": suite.left_out,
        "metrics": dict(scores.mean),
        "per_query": {query_id: dict(values) for query_id, values in scores.per_query.items()},
    }
