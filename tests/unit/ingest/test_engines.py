"""Worker processes: the same results as within this process, and limits that hold whatever a file does.

Hostile files are played by functions that stand in for the parser of plain text, in the worker as well: the module
that swaps them in is on the path that workers inherit.
"""

import os
import pickle
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from pathlib import Path

import psutil
import pytest

from ingest.engines import Engine, channel, supervision
from ingest.engines.inline import InlineEngine
from ingest.engines.local import LocalEngine
from ingest.indexing import Cutter
from ingest.settings import IngestSettings
from ingest.sources import uri_for
from ingest.tasks import Outcome, Task
from retrieval.embedders.manifest import resolve_model
from retrieval.embedders.onnx import OnnxEmbedder
from retrieval.records import Chunking
from tests.fakes import WordTokenizer

ROOT = Path(__file__).resolve().parents[3]
SETTINGS = IngestSettings(parse_seconds=20, worker_memory_bytes=512 * 2**20)
HURRIED = SETTINGS.model_copy(update={"parse_seconds": 1.0})
CUTTER = Cutter(1, WordTokenizer(), 256, Chunking())

HOSTILE = """
import ctypes, os, signal, subprocess, sys, time
from ingest.loaders import text

honest = text.load

def load(data, origin):
    global worker_origin
    worker_origin = origin
    word = data.split()[0].decode()
    if word in globals():
        globals()[word](data)
    return honest(data, origin)

def crash(data): ctypes.string_at(0)
def loop(data):
    while True: pass
def sleep(data): time.sleep(60)
def stop(data): os.kill(os.getpid(), signal.SIGSTOP)
def killed(data): os.kill(os.getpid(), signal.SIGKILL)
def leave(data): os._exit(0)
def swallow(data): bytearray(3 * 2**30)
def nibble(data):
    held = []
    while True: held.append(bytearray(b"x" * 2**20))
def child(data):
    started = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    open(data.split()[1].decode(), "w").write(str(started.pid))
    loop(data)
def greedy_child(data):
    code = "import time; x = bytearray(b'x' * 400 * 2**20); time.sleep(60)"
    two = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    time.sleep(60)
def chatter(data):
    for descriptor in (1, 2): os.write(descriptor, b"x" * 2**20)
def garbage(data):
    for descriptor in range(3, 1024):
        try: os.write(descriptor, b"garbage " * 1000)
        except OSError: pass
    time.sleep(60)
def scanned(data):
    for _ in range(int(data.split()[1])):
        worker_origin.ocr.before_page()
        time.sleep(0.4)
def spent(data): os.kill(os.getpid(), signal.SIGXCPU)
def once(data):
    path = data.split()[1].decode()
    if not os.path.exists(path):
        open(path, "w").close()
        killed(data)

text.load = load
"""


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for files; the first word of each says what reading it does to a worker."""
    (tmp_path / "code" / "hostile.py").parent.mkdir()
    (tmp_path / "code" / "hostile.py").write_text(HOSTILE)
    start = supervision._START.replace("from ingest", "import hostile; from ingest")
    monkeypatch.setattr(supervision, "_START", start)
    monkeypatch.syspath_prepend(str(tmp_path / "code"))
    (tmp_path / "files").mkdir()
    return tmp_path / "files"


def task(path: Path, **more: object) -> Task:
    """The task of a file."""
    return Task(uri_for(path), path.name, path, path.stat().st_size, **more)  # type: ignore[arg-type]


def written(folder: Path, **texts: str) -> list[Task]:
    """Tasks of text files with these names and texts."""
    for name, text in texts.items():
        (folder / f"{name}.txt").write_text(text)
    return [task(folder / f"{name}.txt") for name in texts]


def run(tasks: list[Task], settings: IngestSettings = SETTINGS, *, workers: int = 1) -> dict[str, Outcome]:
    """Outcomes by file name, of a local engine that is closed at the end."""
    engine = LocalEngine(lambda: CUTTER, settings, workers=workers)
    found = {outcome.uri.rsplit("/", 1)[1]: outcome for outcome in engine.prepare(tasks)}
    engine.close()
    return found


def reason(outcome: Outcome) -> tuple[str, str]:
    """Of a failure: reason and error."""
    (settled,) = outcome.settled
    return settled.line.reason, settled.line.error


def test_workers_give_what_this_process_gives(tmp_path: Path) -> None:
    """Documents, chunks and lines, but for the time it took."""
    tasks = written(tmp_path, a="The pump starts at 40 bar.", b="x " * 5000, empty="")
    engines: list[Engine] = [InlineEngine(lambda: CUTTER, SETTINGS), LocalEngine(lambda: CUTTER, SETTINGS, workers=2)]
    inline, local = ({one.uri: plain(one) for one in engine.prepare(tasks)} for engine in engines)
    assert inline == local
    assert len(inline) == 3


def plain(outcome: Outcome) -> object:
    """Without times."""
    documents = [(one.document, list(one.chunks), one.edition, one.name) for one in outcome.documents]
    lines = [*(one.line for one in outcome.documents), *(one.line for one in outcome.settled)]
    return documents, [(line.source_uri, line.status, line.error) for line in lines], outcome.members


def test_a_models_own_tokenizer_reaches_the_workers(tmp_path: Path) -> None:
    """It is pickled with the bytes of its file; chunks are the same."""
    embedder = OnnxEmbedder(resolve_model("all-MiniLM-L6-v2", tmp_path))
    cutter = Cutter(1, embedder.tokenizer, embedder.info.window, Chunking())
    (one,) = written(tmp_path, a="Über den Wolken. " * 300)
    (local,) = LocalEngine(lambda: cutter, SETTINGS, workers=1).prepare([one])
    (inline,) = InlineEngine(lambda: cutter, SETTINGS).prepare([one])
    assert len(local.documents[0].chunks) > 5
    assert list(local.documents[0].chunks) == list(inline.documents[0].chunks)


@pytest.mark.parametrize(
    ("word", "expected", "message"),
    [
        ("crash", "crashed", "signal 11 (SIGSEGV)"),
        ("killed", "crashed", "signal 9 (SIGKILL)"),
        ("leave", "crashed", "ended with code 0"),
        ("swallow", "limit", "bytes of memory"),
        ("nibble", "limit", "bytes of memory"),
        ("greedy_child", "limit", "bytes of memory"),
        ("garbage", "crashed", "sent"),
    ],
)
def test_a_file_that_harms_its_worker_is_recorded(hostile: Path, word: str, expected: str, message: str) -> None:
    """With its reason and hash; the files before and after it are read."""
    found = run(written(hostile, a="One.", bad=f"{word} it", c="Two."))
    assert (len(found["a.txt"].documents), len(found["c.txt"].documents)) == (1, 1)
    why, error = reason(found["bad.txt"])
    assert why == expected
    assert "'bad.txt'" in error
    assert message in error
    (settled,) = found["bad.txt"].settled
    assert (len(settled.line.content_hash), settled.line.parser[:5]) == (64, "text/")


@pytest.mark.parametrize(
    ("word", "message"), [("loop", "1 s"), ("sleep", "longer than 1 s"), ("stop", "longer than 1 s")]
)
def test_a_file_that_takes_too_long_is_recorded(hostile: Path, word: str, message: str) -> None:
    """Whether it computes, waits, or has its process stopped; the run goes on."""
    begin = time.monotonic()
    found = run(written(hostile, bad=f"{word} it", c="Two."), HURRIED)
    why, error = reason(found["bad.txt"])
    assert why == "limit"
    assert message in error
    assert len(found["c.txt"].documents) == 1
    assert time.monotonic() - begin < 20


def test_each_file_has_processor_time_of_its_own() -> None:
    """However much its worker has used before; who takes more is ended by the system, busy or not."""
    code = """
import time
from ingest.engines.worker import _limit_processor
for _ in range(3):
    _limit_processor(1.0)
    end = time.process_time() + 0.9
    while time.process_time() < end: pass
print("done", flush=True)
while True: pass
"""
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ran.stdout, ran.returncode) == ("done\n", -signal.SIGXCPU)


def test_a_worker_that_used_up_its_processor_time_is_told_apart(hostile: Path) -> None:
    """The system's signal is no crash of the parser."""
    why, error = reason(run(written(hostile, bad="spent it"))["bad.txt"])
    assert why == "limit"
    assert "20 s of processor time" in error


def test_a_task_is_tried_once_more(hostile: Path, tmp_path: Path) -> None:
    """What ends a worker by chance costs nothing."""
    found = run(written(hostile, a=f"once {tmp_path}/tried"))
    assert len(found["a.txt"].documents) == 1


def test_each_scanned_page_has_time_of_its_own(hostile: Path) -> None:
    """Recognising takes seconds a page: five pages take longer than a file may, and are read."""
    outcome = run(written(hostile, long="scanned 5"), HURRIED)["long.txt"]
    assert [one.name for one in outcome.documents] == ["long.txt"]


def test_scanned_pages_are_counted(hostile: Path) -> None:
    """A worker cannot buy time for ever by saying that one more page is to come."""
    few = HURRIED.model_copy(update={"ocr_pages": 2})
    why, error = reason(run(written(hostile, endless="scanned 100"), few)["endless.txt"])
    assert why == "limit"
    assert "more than 2 scanned pages" in error


def test_a_message_is_read_without_an_attachment_that_harms(hostile: Path) -> None:
    """Its text is there; the attachments are failures that say why, each with a line of its own."""
    message = EmailMessage()
    message["From"], message["Subject"] = "ann@example.org", "Pump"
    message.set_content("The pump starts at 40 bar.")
    message.add_attachment("killed", filename="bad.txt")
    message.add_attachment("The valve opens at noon.", filename="good.txt")
    (hostile / "mail.eml").write_bytes(bytes(message))
    outcome = run([task(hostile / "mail.eml")])["mail.eml"]
    assert [one.name for one in outcome.documents] == ["mail.eml"]
    assert "40 bar" in outcome.documents[0].document.text
    assert [(one.name, one.line.reason) for one in outcome.settled] == [("bad.txt", "crashed"), ("good.txt", "crashed")]


def test_what_a_parser_prints_does_no_harm(hostile: Path) -> None:
    """Output and errors go nowhere, however much it is."""
    assert len(run(written(hostile, a="chatter on"))["a.txt"].documents) == 1


def test_programs_that_a_worker_started_end_with_it(hostile: Path, tmp_path: Path) -> None:
    """A text recognition that is under way, for example."""
    found = run(written(hostile, bad=f"child {tmp_path}/pid"), HURRIED)
    assert reason(found["bad.txt"])[0] == "limit"
    wait_until(lambda: not alive(int((tmp_path / "pid").read_text())))


def test_a_huge_outcome_comes_through(tmp_path: Path) -> None:
    """As many pieces as it takes."""
    (one,) = written(tmp_path, a="The pump starts at noon. " * 40_000)
    (outcome,) = run([one])["a.txt"].documents
    assert len(outcome.document.text) > 900_000


def test_an_outcome_larger_than_memory_allows_is_refused(tmp_path: Path) -> None:
    """The parent takes no more from a worker than the worker may have."""
    ours, theirs = socket.socketpair()
    theirs.sendall((2**40).to_bytes(8, "big"))
    with pytest.raises(channel.ChannelClosed, match="1,099,511,627,776 bytes"):
        channel.receive(ours, limit=2**20, deadline=time.monotonic() + 5, look=lambda: None)


def test_nothing_but_records_is_unpickled() -> None:
    """A worker that a file has taken over cannot make its parent run code."""

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, ("true",)

    ours, theirs = socket.socketpair()
    data = pickle.dumps(Evil())
    theirs.sendall(len(data).to_bytes(8, "big") + data)
    with pytest.raises(channel.ChannelClosed, match="no message"):
        channel.receive(ours, limit=2**20, deadline=time.monotonic() + 5, look=lambda: None)


def test_closing_ends_at_once(hostile: Path) -> None:
    """Workers are killed, whatever they are doing; nothing waits."""
    others = set(psutil.Process().children())
    engine = LocalEngine(lambda: CUTTER, SETTINGS, workers=2)
    outcomes = engine.prepare(written(hostile, a="One.", b="sleep long", c="sleep long"))
    next(outcomes)
    begin = time.monotonic()
    outcomes.close()
    assert time.monotonic() - begin < 2
    assert not set(psutil.Process().children()) - others


def test_reading_says_what_takes_long(hostile: Path) -> None:
    """The file that a worker is at, and for how long."""
    engine = LocalEngine(lambda: CUTTER, SETTINGS, workers=1)
    outcomes = engine.prepare(written(hostile, a="One.", b="sleep long"))
    next(outcomes)
    wait_until(lambda: [name for name, seconds in engine.reading() if seconds > 0.3] == ["b.txt"])
    outcomes.close()
    assert list(engine.reading()) == []


@pytest.mark.parametrize(
    "make", [lambda: InlineEngine(lambda: CUTTER, SETTINGS), lambda: LocalEngine(lambda: CUTTER, SETTINGS, workers=2)]
)
def test_errors_of_the_tasks_come_through(make: Callable[[], Engine], tmp_path: Path) -> None:
    """A store or a bucket that fails while tasks are taken ends the run with its own error."""

    def tasks() -> Iterator[Task]:
        yield from written(tmp_path, a="One.")
        raise OSError("bucket")

    with pytest.raises(OSError, match="bucket"):
        list(make().prepare(tasks()))


def test_tasks_are_taken_as_they_are_needed(tmp_path: Path) -> None:
    """A consumer that stands still stops the taking soon."""
    taken = []

    def tasks() -> Iterator[Task]:
        for one in written(tmp_path, **{f"a{n}": "One." for n in range(300)}):
            taken.append(one)
            yield one

    engine = LocalEngine(lambda: CUTTER, SETTINGS, workers=2)
    outcomes = engine.prepare(tasks())
    next(outcomes)
    time.sleep(1.5)
    assert len(taken) < 80
    assert len(list(outcomes)) == 299


@pytest.mark.parametrize("start", ["raise SystemExit(3)", "print('no'); import time; time.sleep(60)"])
def test_workers_that_do_not_start_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: str) -> None:
    """With what to do; no file is blamed for it."""
    monkeypatch.setattr(supervision, "_START", start)
    monkeypatch.setattr(supervision, "_START_SECONDS", 1.0)
    with pytest.raises(supervision.WorkerMissing, match=r"ingest\.workers = 0"):
        run(written(tmp_path, a="One."))


def test_workers_do_not_outlive_their_parent(tmp_path: Path) -> None:
    """Not even when it is killed without a word, while one of them is stopped."""
    script = tmp_path / "parent.py"
    script.write_text(
        textwrap.dedent(f"""
        import os, sys, time
        sys.path.insert(0, {str(ROOT)!r})
        from pathlib import Path
        from tests.unit.ingest.test_engines import CUTTER, SETTINGS, LocalEngine, task
        path = Path({str(tmp_path)!r}) / "a.txt"
        path.write_text("One.")
        def tasks():
            yield task(path)
            yield task(path)
            time.sleep(60)
        for outcome in LocalEngine(lambda: CUTTER, SETTINGS, workers=2).prepare(tasks()):
            print(outcome.uri, flush=True)
    """)
    )
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    assert parent.stdout.readline()
    assert parent.stdout.readline()
    workers = psutil.Process(parent.pid).children()
    assert workers
    workers[0].send_signal(signal.SIGSTOP)
    parent.kill()
    parent.wait()
    wait_until(lambda: not any(alive(worker.pid) for worker in workers))
    parent.stdout.close()


def test_a_worker_holds_no_models_and_no_index(tmp_path: Path) -> None:
    """What it imports is what parsing needs: it starts fast and stays small."""
    code = "import sys; import ingest.engines.worker; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    heavy = {"onnxruntime", "faiss", "fastapi", "typer", "rich", "psycopg", "boto3", "httpx", "torch", "tokenizers"}
    assert not heavy & set(loaded.split())


def alive(pid: int) -> bool:
    """Whether there is such a process, and no zombie."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
