"""What passes a filter: found once for all searches of a query, and remembered while nobody writes."""

import functools
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.filters import Filter
from retrieval.stores.pgvector import arrays
from retrieval.stores.pgvector.arrays import Keys

_REMEMBERED_DOCUMENTS = 1_000_000
"""Of all remembered filters together: 24 MB."""


class Passing:
    """The documents of an edition that pass a filter, as rows of (key, first key of its chunks, how many)."""

    def __init__(self, documents: NDArray[np.int64]) -> None:
        self.doc_keys = documents[:, 0]
        self.chunks = int(documents[:, 2].sum())
        self._documents = documents

    def __len__(self) -> int:
        return len(self._documents)

    @functools.cached_property
    def chunk_keys(self) -> Keys:
        """Of all their chunks, ascending."""
        return arrays.ranges(self._documents[:, 1:])


@dataclass(frozen=True, slots=True)
class _Question:
    """An edition at one commit, and a filter."""

    edition_key: int
    sequence: int
    filter: Filter
    spelling: str
    """Filters are equal when their values are: 1 and True, which mean different things, are told apart by this."""


class PassingCache:
    """Answers used last, for the snapshots of one collection. Thread-safe."""

    def __init__(self) -> None:
        self._known: OrderedDict[_Question, Passing] = OrderedDict()
        self._documents = 0
        self._lock = threading.Lock()

    def get(self, edition_key: int, sequence: int, filter: Filter, find: Callable[[], Passing]) -> Passing:
        """What `find` finds, unless it was found before."""
        question = _Question(edition_key, sequence, filter, repr(filter))
        with self._lock:
            if question in self._known:
                self._known.move_to_end(question)
                return self._known[question]
        found = find()
        with self._lock:
            if question not in self._known and len(found) <= _REMEMBERED_DOCUMENTS:
                self._known[question] = found
                self._documents += len(found) + 1  # an empty answer is one to remember, too
            while self._documents > _REMEMBERED_DOCUMENTS:
                _, oldest = self._known.popitem(last=False)
                self._documents -= len(oldest) + 1
        return found
