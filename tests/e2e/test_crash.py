"""`kill -9` at any moment: nothing acknowledged is lost, nothing doubled, the next writer goes on."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from retrieval.stores.faiss import FaissCollections
from tests.fakes import FakeEmbedder

ROOT = Path(__file__).resolve().parents[2]
QUERY = FakeEmbedder().embed_queries(["pump number part"])[0]


def write_until_killed(data: Path, first: int, seconds: float) -> int:
    """Number of the last commit that was acknowledged; `first - 1` when none was."""
    command = [sys.executable, "-m", "tests.e2e.crash_writer", str(data), str(first)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    last = int(process.stdout.readline())  # up and writing
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    for line in process.stdout.read().splitlines():
        last = int(line)
    process.wait()
    return last


@pytest.mark.timeout(240)
def test_kill_at_random_moments_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """After each of twelve kills, every document stands in one version, whole, in catalog and both indexes."""
    rng = random.Random(7)
    collections = FaissCollections(tmp_path / "data")
    collections.create("c", embedder=FakeEmbedder().info)
    written = -1
    for _ in range(12):
        written = write_until_killed(tmp_path / "data", written + 1, rng.uniform(0.0, 0.5))
        store = collections.open("c")
        with store.snapshot() as snapshot:
            documents = {info.doc_id: snapshot.document(info.doc_id).text for info in snapshot.documents(limit=1000)}
            numbers = {doc_id: int(text.split()[2]) for doc_id, text in documents.items()}
            # The commit after the last acknowledged one may have been durable already.
            newest = max(numbers.values())
            assert newest in (written, written + 1)
            written = newest
            expected = {f"doc{n % 60:02d}": n for n in range(max(0, written - 59), written + 1)}
            assert numbers == expected
            dense = snapshot.search_dense(QUERY, k=1000)
            lexical = snapshot.search_lexical({"pump": 1.0}, k=1000)
            chunks = snapshot.chunks([hit.chunk_id for hit in dense])
            assert len(dense) == len({hit.chunk_id for hit in dense}) == 5 * len(documents) == len(chunks)
            assert {hit.chunk_id for hit in lexical} == {hit.chunk_id for hit in dense}
            for found in chunks:
                text = documents[found.chunk.doc_id]
                assert text[found.chunk.start : found.chunk.end] == found.chunk.text
        store.close()
