"""Rankings of one system for many queries, and TREC's file formats for them and for judgements.

    a run    query_id Q0 doc_id rank score tag      blanks between
    qrels    query_id 0 doc_id relevance            blanks between; or BEIR's query-id, corpus-id, score between tabs

trec_eval orders a run by score, in single precision, and equal scores by descending doc_id; the rank is not looked at.
What is written here falls strictly in single precision, so every tool sees the order that was measured.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote

import numpy as np

from evals.comparison.records import Side
from retrieval.errors import InvalidRequest
from retrieval.explanation import Explanation


@dataclass(frozen=True, slots=True)
class RankedScore:
    """A document in a ranking."""

    doc_id: str
    score: float


Rankings = Mapping[str, Sequence[RankedScore]]
"""By query_id, best first."""


@dataclass(frozen=True, slots=True)
class Run:
    """One system's answers to a set of judged queries, with what they score."""

    side: Side
    queries: Mapping[str, str]
    """Text by query_id, of every query that counts; empty where only ids are known."""
    qrels: Mapping[str, Mapping[str, int]]
    """Relevance by query_id and doc_id."""
    rankings: Rankings
    per_query: Mapping[str, Mapping[str, float | None]]
    """By query_id and metric; None or NaN is a value that is missing."""
    titles: Mapping[str, str] = field(default_factory=dict)
    """By doc_id, as far as they are known."""
    explanations: Mapping[str, Explanation] = field(default_factory=dict)
    """By query_id, when they were kept."""
    notes: tuple[str, ...] = ()


def trec_run(rankings: Rankings, tag: str) -> Iterator[str]:
    """Lines of a run file. A score that single precision cannot tell from the one before is put just below it.

    Raises InvalidRequest for a score that is not finite.
    """
    for query_id, ranking in rankings.items():
        above = np.float32(np.inf)
        for rank, found in enumerate(ranking, start=1):
            if not math.isfinite(found.score):
                raise InvalidRequest(f"query {query_id!r}: document {found.doc_id!r} has the score {found.score!r}")
            single = np.float32(found.score)
            score = found.score if single < above else float(np.nextafter(above, np.float32(-np.inf)))
            above = np.float32(score)
            yield f"{_written(query_id)} Q0 {_written(found.doc_id)} {rank} {score!r} {tag}\n"


def read_trec_run(path: Path, *, quoted: bool = False) -> dict[str, list[RankedScore]]:
    """A run in trec_eval's order; `quoted`: ids are written as `trec_run` does. Raises InvalidRequest."""
    plain = unquote if quoted else str
    found: dict[str, dict[str, float]] = {}
    for number, line in _lines(path):
        try:
            query_id, _, doc_id, _, text, _ = line.split()
            score = float(text)
        except ValueError as exc:
            raise InvalidRequest(
                f"{str(path)!r}, line {number}: expected 'query_id Q0 doc_id rank score tag', got {line!r:.100}"
            ) from exc
        if not math.isfinite(score):
            raise InvalidRequest(f"{str(path)!r}, line {number}: the score is {text!r}; a ranking needs finite scores")
        ranking = found.setdefault(plain(query_id), {})
        if plain(doc_id) in ranking:
            raise InvalidRequest(f"{str(path)!r}, line {number}: document {doc_id!r} is ranked twice for {query_id!r}")
        ranking[plain(doc_id)] = score
    if not found:
        raise InvalidRequest(f"{str(path)!r} is empty; a run has a line for each result")
    return {query_id: _in_order(ranking) for query_id, ranking in found.items()}


def trec_qrels(qrels: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    """Lines of a file of judgements in TREC's format."""
    for query_id, judged in qrels.items():
        for doc_id, relevance in judged.items():
            yield f"{_written(query_id)} 0 {_written(doc_id)} {relevance}\n"


def read_qrels(path: Path, *, quoted: bool = False) -> dict[str, dict[str, int]]:
    """Judgements in TREC's format or BEIR's. Raises InvalidRequest."""
    plain = unquote if quoted else str
    found: dict[str, dict[str, int]] = {}
    for number, line in _lines(path):
        columns = line.split("\t") if line.count("\t") == 2 else line.split()
        if number == 1 and columns[-1] == "score":
            continue
        try:
            query_id, doc_id, relevance = columns if len(columns) == 3 else (columns[0], *columns[2:])
            found.setdefault(plain(query_id), {})[plain(doc_id)] = int(relevance)
        except ValueError as exc:
            raise InvalidRequest(
                f"{str(path)!r}, line {number}: expected 'query_id 0 doc_id relevance', or query-id, corpus-id and "
                f"score between tabs, got {line!r:.100}"
            ) from exc
    if not found:
        raise InvalidRequest(f"{str(path)!r} has no judgements")
    return found


def _in_order(scores: Mapping[str, float]) -> list[RankedScore]:
    order: Iterable[str] = sorted(scores, key=lambda doc_id: (np.float32(scores[doc_id]), doc_id), reverse=True)
    return [RankedScore(doc_id, scores[doc_id]) for doc_id in order]


def _written(name: str) -> str:
    """An id without blanks, which end a column."""
    return re.sub(r"[\s%]", lambda match: quote(match[0], safe=""), name)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with path.open(encoding="utf-8") as stream:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    yield number, line.rstrip("\r\n")
    except UnicodeDecodeError as exc:
        raise InvalidRequest(f"{str(path)!r} is not UTF-8 text: {exc}") from exc
    except OSError as exc:
        raise InvalidRequest(f"{str(path)!r} cannot be read: {exc.strerror}") from exc
