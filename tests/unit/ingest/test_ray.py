"""The Ray engine on a small cluster of this machine: the same results as without, whatever dies meanwhile."""

import importlib.util
import io
import os
import pickle
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ingest.engines import ray_cluster
from ingest.engines.ray import RayEngine
from ingest.indexing import Cutter, token_code
from ingest.pipeline import ingest
from ingest.settings import IngestSettings
from retrieval.embedders.manifest import SHIPPED
from retrieval.embedders.onnx import OnnxEmbedder
from retrieval.errors import ConfigError, EmbedderError, MissingExtra
from retrieval.ports import Embedder, TokenEmbedder, Vectors
from retrieval.records import EmbedderInfo
from retrieval.stores.memory import MemoryCollections
from tests.fakes import FakeEmbedder

if importlib.util.find_spec("ray") is None:  # it is not imported here: the engine has to be the first
    pytest.skip("could not import 'ray'", allow_module_level=True)
psutil = pytest.importorskip("psutil")

SETTINGS = IngestSettings(engine="ray", workers=1, worker_memory_bytes=400 * 2**20)


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """Three processors, whatever the machine has; started once, since that takes seconds."""
    started = ray_cluster.import_ray(own=True)
    started.init(
        address="local", num_cpus=3, include_dashboard=False, log_to_driver=False, logging_level="ERROR",
        object_store_memory=100 * 2**20, _memory=2 * 2**30,
    )  # fmt: skip
    yield
    started.shutdown()


class Opened:
    """The port `Embedders` over one."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    def of(self, info: EmbedderInfo) -> Embedder:
        return self._embedder


class SlowEmbedder(FakeEmbedder):
    def embed_documents(self, texts: Any) -> Vectors:
        time.sleep(0.5)
        return super().embed_documents(texts)


class FailingEmbedder(FakeEmbedder):
    def embed_documents(self, texts: Any) -> Vectors:
        raise EmbedderError("the model cannot be loaded: out of luck")


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    """Files of several kinds: plain, with children, an archive, one that cannot be read."""
    folder = tmp_path / "docs"
    folder.mkdir()
    for i in range(8):
        (folder / f"{i}.md").write_text(f"# Pump {i}\n\nThe pump {i} starts at {i}0 bar.\n\n" + "It hums. " * 40 * i)
    (folder / "mail.eml").write_text(
        "From: a@b.example\nSubject: Log\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=x\n\n--x\n"
        "Content-Type: text/plain\n\nSee the log.\n--x\nContent-Type: text/plain\n"
        "Content-Disposition: attachment; filename=log.txt\n\nThe harbour log.\n--x--\n"
    )
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for i in range(3):
            archive.writestr(f"part{i}.txt", f"Part {i} of the archive.")
    (folder / "parts.zip").write_bytes(packed.getvalue())
    (folder / "broken.docx").write_bytes(b"PK\x03\x04 not really")
    return folder


@pytest.fixture
def engine() -> Iterator[RayEngine]:
    """One with two embedders, for tests that read nothing."""

    def cutter() -> Cutter:
        raise AssertionError("nothing is cut")

    made = RayEngine(cutter, SETTINGS.model_copy(update={"ray_embedders": 2}))
    yield made
    made.close()


def run(folder: Path, settings: IngestSettings, embedder: Embedder | None = None) -> Any:
    """All that the collection has after a run, but for times, and the report."""
    embedder = embedder or FakeEmbedder()
    collections = MemoryCollections()
    collections.create("c", embedder=embedder.info)
    store = collections.open("c", writable=True)
    report = ingest([folder], store=store, embedders=Opened(embedder), settings=settings)
    with store.snapshot() as snapshot:
        infos = snapshot.documents(limit=1_000)
        contents = snapshot.contents([info.doc_id for info in infos])
        documents = [(one.document, list(one.chunks), one.vectors.tobytes()) for one in contents]
        lines = [replace(line, recorded_at="", seconds=(), validator="") for line in snapshot.sources()]
    return documents, lines, report


def test_results_are_those_of_the_local_engine(docs: Path) -> None:
    """Documents, chunks, vectors to the last bit, ledger lines, failures; children and members of archives too."""
    here, there = run(docs, IngestSettings(workers=0)), run(docs, SETTINGS)
    assert there[0] == here[0]
    assert there[1] == here[1]
    assert len(there[0]) == 13
    assert [one.reason for one in there[2].failures] == [one.reason for one in here[2].failures] == ["corrupt"]


def test_a_run_outlives_actors_that_are_killed(docs: Path) -> None:
    """One that reads and one that embeds: their work is done again by others, nothing is lost or there twice."""
    killed: set[str] = set()

    def kill() -> None:
        until = time.monotonic() + 60
        while len(killed) < 2 and time.monotonic() < until:
            for process in psutil.Process().children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    command = " ".join(process.cmdline())
                    name = next((kind for kind in ("_Reader", "_Encoder") if f"ray::{kind}" in command), "")
                    if name and name not in killed:
                        process.kill()
                        killed.add(name)
            time.sleep(0.02)

    thread = threading.Thread(target=kill)
    thread.start()
    documents, lines, report = run(docs, SETTINGS, SlowEmbedder())
    thread.join()
    assert killed == {"_Reader", "_Encoder"}
    expected = run(docs, IngestSettings(workers=0))
    assert documents == expected[0]
    assert lines == expected[1]
    assert [one.reason for one in report.failures] == ["corrupt"]


def test_an_error_of_the_model_is_the_one_that_it_raised(engine: RayEngine) -> None:
    """Without the traceback of another machine."""
    remote = engine.embedders(Opened(FailingEmbedder())).of(FakeEmbedder().info)
    with pytest.raises(EmbedderError) as raised:
        remote.embed_documents(["pump"])
    assert str(raised.value) == "the model cannot be loaded: out of luck"


def test_several_embedders_give_the_same_vectors(engine: RayEngine) -> None:
    """In the order of the texts, however they are dealt out."""
    texts = [f"pump {i} " * (i % 7 + 1) for i in range(50)]
    remote = engine.embedders(Opened(FakeEmbedder())).of(FakeEmbedder().info)
    assert remote.embed_documents(texts).tobytes() == FakeEmbedder().embed_documents(texts).tobytes()
    assert remote.embed_documents([]).shape == (0, 64)
    assert remote.embed_queries(texts[:1]).shape == (1, 64)


def test_token_vectors_are_made_there_too(engine: RayEngine) -> None:
    """In the order of the texts, and scored here; a model that makes none has no code."""
    texts = [f"pump {i} " * (i % 7 + 1) for i in range(50)]
    here = FakeEmbedder(token_code="fake-1")
    remote = engine.embedders(Opened(here)).of(here.info)
    assert isinstance(remote, TokenEmbedder)
    assert token_code(remote) == "fake-1"
    vectors, blobs = remote.embed_documents_with_tokens(texts)
    expected = here.embed_documents_with_tokens(texts)
    assert (vectors.tobytes(), blobs) == (expected[0].tobytes(), expected[1])
    assert remote.token_scores("pump 3", len, blobs[3:5]).tolist() == [5.0, 4.0]
    assert token_code(engine.embedders(Opened(FakeEmbedder())).of(here.info)) == ""


def test_the_shipped_model_travels_with_its_files() -> None:
    """Pickled, it needs no folder, and gives the same vectors to the last bit."""
    here = OnnxEmbedder(SHIPPED / "all-MiniLM-L6-v2", threads=1)
    there = pickle.loads(pickle.dumps(here))
    assert there.info == here.info
    assert there.tokenizer.offsets("The pump starts.") == here.tokenizer.offsets("The pump starts.")
    texts = ["The pump starts.", "The valve opens at noon."]
    assert there.embed_documents(texts).tobytes() == here.embed_documents(texts).tobytes()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"worker_memory_bytes": 2**45}, "no machine of the Ray cluster has .* of 'memory'"),
        ({"ray_gpus": 4.0}, "has 4 of 'GPU'"),
        ({"ray_embedders": 3}, "none is left to read files"),
    ],
)
def test_a_cluster_that_is_too_small_is_said_at_once(docs: Path, changes: dict[str, Any], message: str) -> None:
    """Ray itself would wait without end."""
    with pytest.raises(ConfigError, match=message):
        run(docs, SETTINGS.model_copy(update=changes))


class NoCluster:
    """The module `ray` where there is nothing to connect to."""

    def __init__(self, *, own: bool) -> None:
        assert not own

    def is_initialized(self) -> bool:
        return False

    def init(self, **options: Any) -> None:
        raise ConnectionError("Failed to connect")


def test_a_cluster_that_is_not_there_is_named(docs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the setting to look at."""
    monkeypatch.setattr(ray_cluster, "import_ray", NoCluster)
    with pytest.raises(ConfigError, match=r"no Ray cluster at 'ray://nowhere:10001': .*ingest\.ray_address"):
        run(docs, SETTINGS.model_copy(update={"ray_address": "ray://nowhere:10001"}))


def test_without_the_extra_it_is_said_what_to_install(docs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not an ImportError."""
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"pip install 'footnote\[ray\]'"):
        run(docs, SETTINGS)


def test_a_cluster_of_our_own_keeps_to_itself() -> None:
    """Ray's statistics of usage are off, and nobody gets in without a token of this run."""
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    import ray

    code = "import sys; from ray._raylet import GcsClient; GcsClient(sys.argv[1])"
    address = ray.get_runtime_context().gcs_address
    stranger = {**os.environ, "RAY_AUTH_TOKEN": "f" * 64}
    for environment, code_expected in ((dict(os.environ), 0), (stranger, 1)):
        done = subprocess.run(
            [sys.executable, "-c", code, address], env=environment, capture_output=True, text=True, check=False
        )  # fmt: skip
        assert done.returncode == code_expected, done.stderr
    assert "InvalidAuthToken" in done.stderr
