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

_REMEMBERED_BYTES = 64 << 20
"""Of all remembered answers together, and of the filters that they answer."""


class Passing:
    """The documents of an edition that pass a filter, as rows of (key, first key of its chunks, how many)."""

    def __init__(self, documents: NDArray[np.int64]) -> None:
        self.doc_keys = documents[:, 0]
        self.chunks = int(documents[:, 2].sum())
        self._documents = documents

    def __len__(self) -> int:
        return len(self._documents)

    @property
    def size(self) -> int:
        """In bytes, with the keys of the chunks, whether they were asked for yet or not."""
        return self._documents.nbytes + 8 * self.chunks

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

    @property
    def size(self) -> int:
        """In bytes, about: a value of a filter takes several times what it takes to spell it."""
        return 1_000 + 16 * len(self.spelling)


class PassingCache:
    """Answers used last, for all collections of a process: a key of an edition is never given twice. Thread-safe."""

    def __init__(self) -> None:
        self._known: OrderedDict[_Question, Passing] = OrderedDict()
        self._bytes = 0
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
            if question not in self._known and question.size + found.size <= _REMEMBERED_BYTES:
                self._known[question] = found
                self._bytes += question.size + found.size
            while self._bytes > _REMEMBERED_BYTES:
                oldest, answer = self._known.popitem(last=False)
                self._bytes -= oldest.size + answer.size
        return found
