"""What a sync costs: its rate against the bare embedder's, a run in which nothing has changed, and memory.

    python -m evals.bench.ingestion FOLDER [--rounds 3] [--again] [--files 300]
    python -m evals.bench.ingestion --pages 1225 --pages 5000

With a folder: the real command ingests it, and the embedder alone embeds the same chunks in this process, by turns.
`--again` then runs it a second time unchanged, with 100 files touched, and with 100 files changed. With `--pages`, PDFs
of so many pages are made and ingested, and the most memory that all processes of the command held is said, beside that
of a command that ingests one line.
"""

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals.bench.hostile import pdf
from evals.bench.process_tree import Run, run
from ingest.indexing import EMBED_SLICE
from retrieval.build import build_collections, build_embedder
from retrieval.settings import RetrievalSettings

COLLECTION = "bench"
CHANGED = 100
LINES = 40
"""Of a made page."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--files", type=int, default=0, help="take so many of the folder's files, at random")
    parser.add_argument("--again", action="store_true", help="and once more unchanged, touched and changed")
    parser.add_argument("--model", default="", help="retrieval.model")
    parser.add_argument("--pages", type=int, action="append", default=[])
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="footnote-ingestion-") as temporary:
        bench = Bench(Path(temporary), options.model)
        if options.folder:
            folder = bench.copied(options.folder, options.files)
            bench.throughput(folder, options.rounds)
            if options.again:
                bench.again(folder)
        if options.pages:
            bench.memory(options.pages)


@dataclass(frozen=True, slots=True)
class Ingested:
    """One run of the command."""

    run: Run
    report: dict[str, Any]


class Bench:
    """Runs of the command on a store of its own."""

    def __init__(self, folder: Path, model: str) -> None:
        self._folder = folder
        self._data = folder / "data"
        self._settings = RetrievalSettings(path=self._data, **({"model": model} if model else {}))
        self._env = {**os.environ, "FOOTNOTE_RETRIEVAL__PATH": str(self._data), "FOOTNOTE_RETRIEVAL__STORE": "faiss"}
        if model:
            self._env["FOOTNOTE_RETRIEVAL__MODEL"] = model

    def copied(self, folder: Path, files: int) -> Path:
        """A copy that may be changed, of all files or of some."""
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        if files:
            paths = sorted(random.Random(1).sample(paths, min(files, len(paths))))
        for path in paths:
            target = self._folder / "files" / path.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        return self._folder / "files"

    def throughput(self, folder: Path, rounds: int) -> None:
        """Chunks per second of the command, its start included and without it, and of the embedder."""
        for number in range(rounds):
            shutil.rmtree(self._data, ignore_errors=True)
            ingested = self._ingest(folder)
            chunks, seconds = ingested.report["chunks"], ingested.report["seconds"]
            bare = self._bare()
            print(
                f"round {number + 1}: {ingested.report['files']} files, {chunks} chunks; "
                f"{chunks / seconds:.1f} chunks/s ({chunks / ingested.run.seconds:.1f} with start and end), "
                f"embedder alone {bare:.1f}; ratio "
                f"{chunks / seconds / bare:.3f} ({chunks / ingested.run.seconds / bare:.3f}); "
                f"{_megabytes(ingested.run)}",
                flush=True,
            )

    def again(self, folder: Path) -> None:
        """The same folder unchanged, with other times, with other bytes."""
        self._say("unchanged", self._ingest(folder))
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        some = random.Random(2).sample(files, min(CHANGED, len(files)))
        for path in some:
            path.touch()
        self._say(f"{len(some)} touched", self._ingest(folder))
        for path in some:
            with path.open("ab") as file:
                file.write(b"\n\nOne more paragraph, which was not there before.\n")
        self._say(f"{len(some)} changed", self._ingest(folder))

    def memory(self, pages: Sequence[int]) -> None:
        """The most memory of all processes together for PDFs of so many pages, against one line of text."""
        line = self._folder / "line.txt"
        line.write_text("The pump starts at 40 bar.\n", encoding="utf-8")
        least = self._ingest(line).run
        print(f"one line of text: {_megabytes(least)}")
        for count in pages:
            path = self._folder / f"{count}.pdf"
            path.write_bytes(pdf(count, lines=LINES))
            made = self._ingest(path)
            more = (made.run.peaks.tree - least.peaks.tree) // 2**20
            (parse,) = (event["seconds"]["parse"] for event in _events(made.run, "document"))
            print(
                f"{count} pages, {path.stat().st_size // 1024:,} KB, {made.report['chunks']} chunks: "
                f"parsed in {parse:.2f} s, "
                f"{made.run.seconds:.0f} s in all; {_megabytes(made.run)}, {more} more than for one line",
                flush=True,
            )

    def _ingest(self, path: Path) -> Ingested:
        command: list[str | Path] = [sys.executable, "-m", "footnote", "ingest", path, "-c", COLLECTION, "--json"]
        ran = run(command, env=self._env)
        if ran.returncode not in (0, 3):
            raise SystemExit(f"footnote ingest ended with {ran.returncode}:\n{ran.stderr[-2000:]}")
        return Ingested(ran, _events(ran, "end")[-1])

    def _bare(self) -> float:
        """Texts per second of the embedder over what the collection holds, in its order."""
        embedder = build_embedder(self._settings)
        with (
            closing(build_collections(self._settings)) as collections,
            closing(collections.open(COLLECTION)) as store,
            store.snapshot() as snapshot,
        ):
            doc_ids = [info.doc_id for info in snapshot.documents(limit=1_000_000)]
            texts = [chunk.indexed_text for content in snapshot.contents(doc_ids) for chunk in content.chunks]
        embedder.embed_documents(texts[:8])
        begin = time.perf_counter()
        for i in range(0, len(texts), EMBED_SLICE):
            embedder.embed_documents(texts[i : i + EMBED_SLICE])
        return len(texts) / (time.perf_counter() - begin)

    def _say(self, what: str, ingested: Ingested) -> None:
        report = ingested.report
        print(
            f"{what}: {ingested.run.seconds:.1f} s in all, {report['ingested']} ingested, "
            f"{report['unchanged']} unchanged, {report['chunks']} chunks embedded, {report['reused']} reused; "
            f"{_megabytes(ingested.run)}",
            flush=True,
        )


def _events(ran: Run, kind: str) -> list[dict[str, Any]]:
    return [event for event in map(json.loads, ran.stdout.splitlines()) if event["event"] == kind]


def _megabytes(ran: Run) -> str:
    tree, root, child = (peak // 2**20 for peak in (ran.peaks.tree, ran.peaks.root, ran.peaks.child))
    return f"at most {tree} MB (command {root}, worker {child})"


if __name__ == "__main__":
    main()
