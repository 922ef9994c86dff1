"""`kill -9` at any moment: nothing acknowledged is lost, nothing doubled, the next writer goes on."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from retrieval.ports import Snapshot
from retrieval.stores.faiss import FaissCollections
from tests.fakes import FakeEmbedder

ROOT = Path(__file__).resolve().parents[2]
TOKENS = FakeEmbedder(token_code="fake-1")
QUERY = TOKENS.embed_queries(["pump number part"])[0]
KEPT = 60
"""Documents of each writer; it replaces them in turn."""

Writer = subprocess.Popen[str]


def start(data: Path, first: int, name: str = "doc") -> Writer:
    command = [sys.executable, "-m", "tests.e2e.crash_writer", str(data), str(first), name]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def kill(process: Writer) -> int | None:
    """Number of the last commit that was acknowledged; None when none was."""
    process.send_signal(signal.SIGKILL)
    assert process.stdout
    lines = process.stdout.read().splitlines()
    process.wait()
    return int(lines[-1]) if lines else None


def check(snapshot: Snapshot, written: dict[str, int]) -> dict[str, int]:
    """That every document stands in one version, whole, in catalog and both indexes; the newest number by writer."""
    documents = {info.doc_id: snapshot.document(info.doc_id).text for info in snapshot.documents(limit=1000)}
    numbers = {doc_id: int(text.split()[2]) for doc_id, text in documents.items()}
    newest: dict[str, int] = {}
    expected: dict[str, int] = {}
    for name, last in written.items():
        # The commit after the last acknowledged one may have been durable already.
        newest[name] = max((n for doc_id, n in numbers.items() if doc_id.startswith(name)), default=-1)
        assert newest[name] in (last, last + 1)
        expected |= {f"{name}{n % KEPT:02d}": n for n in range(max(0, newest[name] - KEPT + 1), newest[name] + 1)}
    assert numbers == expected
    dense = snapshot.search_dense(QUERY, k=2000)
    lexical = snapshot.search_lexical({"pump": 1.0}, k=2000)
    chunks = snapshot.chunks([hit.chunk_id for hit in dense])
    assert len(dense) == len({hit.chunk_id for hit in dense}) == 5 * len(documents) == len(chunks)
    assert {hit.chunk_id for hit in lexical} == {hit.chunk_id for hit in dense}
    blobs = snapshot.token_vectors([found.chunk.chunk_id for found in chunks])
    assert blobs == TOKENS.embed_documents_with_tokens([found.chunk.indexed_text for found in chunks])[1]
    for found in chunks:
        text = documents[found.chunk.doc_id]
        assert text[found.chunk.start : found.chunk.end] == found.chunk.text
    return newest


@pytest.mark.timeout(240)
def test_kill_at_random_moments_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """After each of twelve kills, every document stands in one version, whole, in catalog and both indexes."""
    rng = random.Random(7)
    collections = FaissCollections(tmp_path / "data")
    collections.create("c", embedder=TOKENS.info, token_code=TOKENS.token_code)
    written = {"doc": -1}
    for _ in range(12):
        process = start(tmp_path / "data", written["doc"] + 1)
        assert process.stdout
        process.stdout.readline()  # up and writing
        time.sleep(rng.uniform(0.0, 0.5))
        last = kill(process)
        written = {"doc": written["doc"] + 1 if last is None else last}
        store = collections.open("c")
        with store.snapshot() as snapshot:
            written = check(snapshot, written)
        store.close()


@pytest.mark.timeout(240)
def test_one_of_several_writers_is_killed_and_the_others_go_on(tmp_path: Path) -> None:
    """Three write, each in turn is killed, whether it holds the turn at the index or not: no death is forgotten."""
    rng = random.Random(11)
    collections = FaissCollections(tmp_path / "data")
    collections.create("c", embedder=TOKENS.info, token_code=TOKENS.token_code)
    reader = collections.open("c")
    written = dict.fromkeys("xyz", -1)
    running = {name: start(tmp_path / "data", 0, name) for name in written}
    for victim in [*"xyzxyz"]:
        time.sleep(rng.uniform(0.5, 1.2))
        written[victim] = kill(running[victim]) or written[victim]
        with reader.snapshot() as snapshot:  # the others write on
            numbers = [
                int(snapshot.document(info.doc_id).text.split()[2])
                for info in snapshot.documents(limit=1000)
                if info.doc_id.startswith(victim)
            ]
            written[victim] = max(written[victim], *numbers, -1)
            hits = snapshot.search_dense(QUERY, k=2000)
            assert len(hits) == len({hit.chunk_id for hit in hits}) == snapshot.info.chunks
        running[victim] = start(tmp_path / "data", written[victim] + 1, victim)
    for name, process in running.items():
        written[name] = kill(process) or written[name]
    collections.open("c", writable=True).close()
    for store in (reader, collections.open("c")):
        with store.snapshot() as snapshot:
            check(snapshot, written)
        store.close()
