"""Two halves of the queries: settings are chosen on one and judged on the other."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from evals.datasets import Dataset, Query, read_dataset
from retrieval.errors import InvalidRequest

FEWEST = 10
"""Queries that either side must have: with fewer, no difference that is worth having could be told from chance."""


@dataclass(frozen=True, slots=True)
class Split:
    """A data set in two parts that share no question."""

    tune: Dataset
    report: Dataset

    @property
    def name(self) -> str:
        """Of the data set."""
        return self.tune.name


def halves(folder: Path, *, split: str = "test", seed: int = 7) -> Split:
    """The queries of one split, parted by a hash of their text.

    A query stays on its side when others are added or taken away, and so do two that ask the same in the same words.
    Raises InvalidRequest.
    """
    dataset = read_dataset(folder, split=split)
    tune = [query for query in dataset.queries if _side(query, seed) == 0]
    report = [query for query in dataset.queries if _side(query, seed) == 1]
    return _checked(Split(_part(dataset, tune), _part(dataset, report)))


def by_files(folder: Path, *, tune: str, report: str) -> Split:
    """The queries of `qrels/<tune>.tsv` and of `qrels/<report>.tsv`. Raises InvalidRequest when they share any."""
    parts = Split(read_dataset(folder, split=tune), read_dataset(folder, split=report))
    seen = {_folded(query) for query in parts.tune.queries}
    if shared := [query.query_id for query in parts.report.queries if _folded(query) in seen]:
        raise InvalidRequest(
            f"{str(folder)!r}: {len(shared)} queries are in both splits {tune!r} and {report!r}, e.g. {shared[0]!r}; "
            "what was tuned on cannot be judged on: give splits that share no question"
        )
    return _checked(parts)


def _part(dataset: Dataset, queries: Sequence[Query]) -> Dataset:
    kept = {query.query_id for query in queries}
    return replace(
        dataset,
        queries=tuple(queries),
        qrels=tuple(qrel for qrel in dataset.qrels if qrel.query_id in kept),
    )


def _checked(parts: Split) -> Split:
    for what, part in (("to tune on", parts.tune), ("to report on", parts.report)):
        if len(part.queries) < FEWEST:
            raise InvalidRequest(
                f"{str(part.folder)!r}: {len(part.queries)} queries {what}, each side needs at least {FEWEST}; "
                "ask more questions, or part them by another --seed"
            )
    return parts


def _side(query: Query, seed: int) -> int:
    return hashlib.sha256(f"{seed}\n{_folded(query)}".encode("utf-8", "surrogatepass")).digest()[0] & 1


def _folded(query: Query) -> str:
    return " ".join(query.text.casefold().split())
