"""What callers of the service notice of a reindex: rates and latencies before, during and after; what fails or mixes.

    python -m evals.bench.reindex --store faiss --documents 300
    python -m evals.bench.reindex --store pgvector --postgres-url postgresql://... --model NAME

`footnote serve` runs as a process of its own over a collection of invented papers in a temporary place, and clients
search and ask without pause over HTTP. Then `footnote reindex` and a `footnote ingest` of more papers run at once. A
response fails when its status is not 200, when a search does not find the one sentence that answers it (as hits of one
edition would not that are shown as chunks of another), or when a quote does not stand where its citation says. A search
is mixed when there is no edition that has all of its chunks, each from and to the same character. Server, clients,
reindex and ingest share the machine: latencies during the reindex are those of a busy one.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from pydantic import SecretStr

from evals.bench.reindex_load import Load, Sample
from evals.bench.reindex_papers import write_papers
from evals.bench.store_places import temporary_place
from ingest.indexing import Indexer
from retrieval.build import build_collections, build_embedders
from retrieval.records import Edition
from retrieval.settings import RetrievalSettings

Span = tuple[str, int, int]
"""doc_id, start, end."""

COLLECTION = "bench"
_START_SECONDS = 60.0
PHASES = ("before", "during", "after")


@dataclass(frozen=True, slots=True)
class Phase:
    """Responses that began in it; times in seconds, NaN where there were none."""

    responses: int
    per_second: float
    searches: tuple[float, float, float]
    """Median, 95th percentile and the slowest."""
    answers: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Result:
    """What callers noticed, and what is in the collection at the end."""

    phases: Mapping[str, Phase]
    failed: Sequence[str]
    mixed: Sequence[str]
    by_edition: Mapping[int, int]
    """Searches that only this edition can have answered."""
    papers: int
    """Written before and meanwhile."""
    documents: int
    """In the collection at the end."""
    reports: Sequence[Mapping[str, Any]]
    """What each `footnote reindex --json` printed."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", choices=["faiss", "pgvector"], default="faiss")
    parser.add_argument("--postgres-url", default=os.environ.get("POSTGRES_URL", ""))
    parser.add_argument("--documents", type=int, default=300)
    parser.add_argument("--added", type=int, default=100, help="papers ingested meanwhile")
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=10.0, help="of load before and after")
    parser.add_argument("--chunk-tokens", type=int, default=80)
    parser.add_argument("--model", help="reindex with another model: a prepared model's name or folder")
    options = parser.parse_args(arguments)
    wanted = ["--chunk-tokens", str(options.chunk_tokens), *(["--model", options.model] if options.model else [])]
    with temporary_place(options.store, options.postgres_url) as place, tempfile.TemporaryDirectory() as folder:
        result = measure(
            place,
            Path(folder),
            documents=options.documents,
            added=options.added,
            clients=options.clients,
            seconds=options.seconds,
            reindexes=[wanted],
        )
    print_result(result)


def measure(
    place: RetrievalSettings,
    folder: Path,
    *,
    documents: int,
    added: int,
    clients: int,
    seconds: float,
    reindexes: Sequence[Sequence[str]],
) -> Result:
    """Run it all in `folder`: one `footnote reindex` after the other, with the options of `reindexes`.

    Raises RuntimeError when a command fails or the service does not start.
    """
    service = _Service(place, folder)
    write_papers(folder / "papers", range(documents))
    service.run("ingest", "papers", "--collection", COLLECTION)
    reports = []
    with service.running() as url, Load(url, COLLECTION, papers=documents, clients=clients) as load:
        time.sleep(seconds)
        marks = [time.monotonic()]
        for turn, wanted in enumerate(reindexes, start=1):
            reindexing = service.start("reindex", "--collection", COLLECTION, *wanted, "--json")
            more = folder / f"more-{turn}"
            write_papers(more, range(documents * turn * 10, documents * turn * 10 + added))
            service.run("ingest", more.name, "--collection", COLLECTION)
            reports.append(json.loads(_output(reindexing)))
        marks.append(time.monotonic())
        time.sleep(seconds)
    cut, texts = _cut_by_edition(place)
    searches = [sample for sample in load.samples if sample.spans]
    fitting = [editions_of(sample.spans, cut) for sample in searches]
    return Result(
        phases=dict(zip(PHASES, _phases(load.samples, marks), strict=True)),
        failed=[*(sample.problem for sample in load.samples if sample.problem), *_false_quotes(load.samples, texts)],
        mixed=[str(sample.spans) for sample, numbers in zip(searches, fitting, strict=True) if not numbers],
        by_edition={number: fitting.count([number]) for number in cut},
        papers=documents + added * len(reindexes),
        documents=len(texts),
        reports=reports,
    )


def editions_of(spans: Sequence[Span], cut: Mapping[int, frozenset[Span]]) -> list[int]:
    """The editions that have all of these chunks: none for a mixed result."""
    return [number for number, known in cut.items() if known.issuperset(spans)]


def print_result(result: Result) -> None:
    """A line for each phase, and what went wrong."""
    for name, phase in result.phases.items():
        searches, answers = (
            " / ".join(f"{1000 * seconds:.0f}" for seconds in times) for times in (phase.searches, phase.answers)
        )
        print(
            f"{name:8s} {phase.responses:6,} responses {phase.per_second:6.1f}/s   p50 / p95 / slowest in ms: "
            f"searches {searches}, answers {answers}"
        )
    for report in result.reports:
        print(
            f"reindex  edition {report['edition']}: {report['documents']:,} documents, {report['chunks']:,} chunks in "
            f"{report['seconds']:.1f} s, {report['rounds']} rounds"
        )
    by_edition = ", ".join(f"{count:,} by edition {number}" for number, count in result.by_edition.items())
    print(f"{len(result.failed)} failed, {len(result.mixed)} mixed; searches answered {by_edition}")
    print(f"{result.documents:,} of {result.papers:,} papers in the collection")
    for problem in [*result.failed[:5], *result.mixed[:5]]:
        print(f"  {problem:.300}")


def _phases(samples: Sequence[Sample], marks: Sequence[float]) -> Iterator[Phase]:
    begin, end = min(sample.begin for sample in samples), max(sample.begin for sample in samples)
    edges = [begin, *marks, end + 1e-9]
    for start, stop in pairwise(edges):
        within = [sample for sample in samples if start <= sample.begin < stop]
        yield Phase(
            responses=len(within),
            per_second=len(within) / (stop - start),
            searches=_times([sample.seconds for sample in within if sample.spans]),
            answers=_times([sample.seconds for sample in within if sample.quotes]),
        )


def _times(seconds: Sequence[float]) -> tuple[float, float, float]:
    p50, p95, slowest = np.percentile(seconds or [float("nan")], [50, 95, 100])
    return float(p50), float(p95), float(slowest)


def _cut_by_edition(place: RetrievalSettings) -> tuple[dict[int, frozenset[Span]], dict[str, str]]:
    """Where the chunks of all documents begin and end in each edition, cut again here; and the documents' texts."""
    collections = build_collections(place)
    store = collections.open(COLLECTION)
    embedders = build_embedders(place)
    with store.snapshot() as snapshot:
        editions: Sequence[Edition] = snapshot.info.editions
        infos = snapshot.documents(limit=1_000_000)
        documents = [snapshot.document(info.doc_id) for info in infos]
    store.close()
    collections.close()
    cut = {}
    for edition in editions:
        indexer = Indexer(edition, embedders)
        chunks = (chunk for document in documents for chunk in indexer.split(document))
        cut[edition.number] = frozenset((chunk.doc_id, chunk.start, chunk.end) for chunk in chunks)
    return cut, {document.doc_id: document.text for document in documents}


def _false_quotes(samples: Sequence[Sample], texts: Mapping[str, str]) -> Iterator[str]:
    for sample in samples:
        for doc_id, start, end, quote in sample.quotes:
            if texts.get(doc_id, "")[start:end] != quote:
                yield f"{doc_id} {start}:{end} is not {quote!r}"


class _Service:
    """`footnote` with the place and folder of this measurement; nothing of the caller's configuration gets in."""

    def __init__(self, place: RetrievalSettings, folder: Path) -> None:
        self._folder = folder
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("FOOTNOTE_")}
        for name in place.model_fields_set:
            value = getattr(place, name)
            shown = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            self._environment[f"FOOTNOTE_RETRIEVAL__{name.upper()}"] = shown

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "footnote", *arguments],
            cwd=self._folder, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, *arguments: str) -> str:
        return _output(self.start(*arguments))

    @contextmanager
    def running(self) -> Iterator[str]:
        """The address of `footnote serve`, once it is ready."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        with ExitStack() as stack:
            log = stack.enter_context((self._folder / "serve.log").open("wb"))
            process = subprocess.Popen(
                [sys.executable, "-m", "footnote", "serve", "--port", str(port)],
                cwd=self._folder, env=self._environment, stdout=log, stderr=log,
            )  # fmt: skip
            stack.callback(process.wait)
            stack.callback(process.terminate)
            _wait(url, process)
            yield url


def _wait(url: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{url}/readyz").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise RuntimeError(f"footnote serve is not ready after {_START_SECONDS:.0f} s")


def _output(process: "subprocess.Popen[str]") -> str:
    out, error = process.communicate()
    if process.returncode:
        raise RuntimeError(f"footnote ended with exit code {process.returncode}: {error}")
    return out


if __name__ == "__main__":
    main()
