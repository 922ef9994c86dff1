"""Clients that search and ask over HTTP without pause, and write down what they got."""

import random
import threading
import time
from dataclasses import dataclass
from types import TracebackType

import httpx

from evals.bench.reindex_papers import SECTIONS, fact, question

_ASK_EVERY = 8
"""One request of so many is a question, which takes many times as long as a search."""
_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One response."""

    begin: float
    """By time.monotonic()."""
    seconds: float
    problem: str = ""
    """Why it counts as failed."""
    spans: tuple[tuple[str, int, int], ...] = ()
    """doc_id, start and end of the chunks of a search."""
    quotes: tuple[tuple[str, int, int, str], ...] = ()
    """doc_id, start, end and quote of the citations of an answer."""


class Load:
    """A context in which clients are at work; afterwards `samples` has what they got."""

    def __init__(self, url: str, collection: str, *, papers: int, clients: int) -> None:
        """They ask for the first `papers` papers."""
        self.samples: list[Sample] = []
        self._base = f"{url}/v1/collections/{collection}"
        self._papers = papers
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(seed,)) for seed in range(clients)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()

    def _work(self, seed: int) -> None:
        rng = random.Random(seed)
        with httpx.Client(timeout=_TIMEOUT) as client:
            while not self._done.is_set():
                about = rng.randrange(self._papers), rng.randrange(SECTIONS)
                ask = rng.randrange(_ASK_EVERY) == 0
                text = question(*about)
                self.samples.append(self._asked(client, text) if ask else self._searched(client, text, fact(*about)))

    def _searched(self, client: httpx.Client, text: str, wanted: str) -> Sample:
        begin = time.monotonic()
        try:
            response = client.post(f"{self._base}/search", json={"query": text, "k": 5})
            seconds = time.monotonic() - begin
            results = response.raise_for_status().json()["results"]
        except httpx.HTTPError as exc:
            return Sample(begin, time.monotonic() - begin, problem=f"search: {exc}")
        if not any(wanted in result["text"] for result in results):
            return Sample(begin, seconds, problem=f"search: {wanted!r} is not in the results for {text!r}")
        spans = tuple((result["doc_id"], result["start"], result["end"]) for result in results)
        return Sample(begin, seconds, spans=spans)

    def _asked(self, client: httpx.Client, text: str) -> Sample:
        begin = time.monotonic()
        try:
            response = client.post(f"{self._base}/answer", json={"question": text})
            seconds = time.monotonic() - begin
            sentences = response.raise_for_status().json()["sentences"]
        except httpx.HTTPError as exc:
            return Sample(begin, time.monotonic() - begin, problem=f"answer: {exc}")
        citations = [citation for sentence in sentences for citation in sentence["citations"]]
        quotes = tuple((each["doc_id"], each["start"], each["end"], each["quote"]) for each in citations)
        return Sample(begin, seconds, quotes=quotes)
