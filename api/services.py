"""What the routes work with: the embedder, the collections, and what is open of them."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from generation.ports import Retriever
from generation.records import Answer, AnswerStream
from retrieval.errors import CollectionNotFound
from retrieval.filters import Filter
from retrieval.ports import Collections, Embedder, VectorStore
from retrieval.records import Turn


class Answerer(Protocol):
    """The part of `generation.answerer.Answerer` that the routes call."""

    def answer(
        self, question: str, *, k: int | None = None, filter: Filter | None = None, history: Sequence[Turn] = ()
    ) -> Answer: ...

    def stream(
        self, question: str, *, k: int | None = None, filter: Filter | None = None, history: Sequence[Turn] = ()
    ) -> Iterator[AnswerStream]:
        """Each sentence once it is verified, and the whole answer at the end; closing it cancels the work."""
        ...


@dataclass(frozen=True, slots=True)
class OpenCollection:
    """A collection with what searches it and what answers from it."""

    name: str
    store: VectorStore
    retriever: Retriever
    answerer: Answerer


class Services:
    """Opens each collection once, on first use, and keeps it open until `close`. Thread-safe."""

    def __init__(
        self,
        *,
        collections: Collections,
        embedder: Embedder,
        connect: Callable[[str, VectorStore], OpenCollection],
    ) -> None:
        """`connect` puts a retriever and an answerer on a store; a new store is closed again when it fails."""
        self._collections = collections
        self._embedder = embedder
        self._connect = connect
        self._opened: dict[str, OpenCollection] = {}
        self._opening: dict[str, Future[OpenCollection]] = {}
        self._lock = threading.Lock()

    def names(self) -> list[str]:
        """The collections there are now, sorted."""
        return self._collections.names()

    def open(self, name: str) -> OpenCollection:
        """The collection called `name`, opened at the first call. Raises CollectionNotFound and store errors."""
        found = self._opened.get(name)
        if found is not None and _is_gone(found.store):
            # Dropped since, perhaps made anew under the same name: then another one is to be opened.
            self._forget(found)
            found = None
        return found or self._open_once(name)

    def check_ready(self) -> None:
        """Raise what would keep a question from being answered: the embedder, or the place of the collections."""
        self._embedder.embed_queries(["ready?"])
        self._collections.names()

    def close(self) -> None:
        """Close every open collection."""
        with self._lock:
            opened, self._opened = self._opened, {}
        for collection in opened.values():
            collection.store.close()
        self._collections.close()

    def _open_once(self, name: str) -> OpenCollection:
        """Of requests that arrive together one opens it, and the others get what it gets, be it an error.

        So a store that does not answer makes nobody wait for more than one attempt, and no other collection at all.
        """
        with self._lock:
            if name in self._opened:
                return self._opened[name]
            opening = self._opening.get(name)
            if opening is None:
                mine = self._opening[name] = Future()
        if opening is not None:
            return opening.result()
        try:
            opened = self._open(name)
        except BaseException as exc:
            mine.set_exception(exc)
            raise
        else:
            with self._lock:
                self._opened[name] = opened
            mine.set_result(opened)
            return opened
        finally:
            with self._lock:
                del self._opening[name]

    def _open(self, name: str) -> OpenCollection:
        try:
            store = self._collections.open(name)
        except CollectionNotFound as exc:
            # The store's text names its folder, which is no caller's business.
            raise CollectionNotFound(f"no collection {name!r}; GET /v1/collections lists those that there are") from exc
        try:
            return self._connect(name, store)
        except BaseException:
            store.close()
            raise

    def _forget(self, gone: OpenCollection) -> None:
        with self._lock:
            if self._opened.get(gone.name) is gone:  # else another thread was faster
                del self._opened[gone.name]
                gone.store.close()


def _is_gone(store: VectorStore) -> bool:
    try:
        with store.snapshot():
            return False
    except CollectionNotFound:
        return True
