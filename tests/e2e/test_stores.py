"""The command line and the service on PostgreSQL, moving between stores, and what must never be printed."""

import json
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import postgres
from tests.e2e.conftest import ROOT, Footnote

EXAMPLES = ROOT / "examples" / "skerry-line"
QUERIES = [
    "life jackets", "How often are life jackets inspected?", "bicycle fare", "Who answers for safety on board?",
    "hydraulic", "the", "Vestvik", "zzz nothing of the kind", "children under 12", "timetable winter",
]  # fmt: skip
SECRET = "s3cr3t-P4ssw0rd"


@pytest.fixture(scope="module")
def on_postgres(make_footnote: Callable[[], Footnote], postgres_url: str) -> Iterator[Footnote]:
    """The example documents, ingested into PostgreSQL; faiss stays configured as a place beside it."""
    made = use(make_footnote(), postgres_url)
    made("ingest", EXAMPLES)
    yield made
    if postgres.is_lent():
        postgres.drop(postgres_url, made.env["FOOTNOTE_RETRIEVAL__POSTGRES_SCHEMA"])


def use(footnote: Footnote, url: str, schema: str = "") -> Footnote:
    footnote.env |= {
        "FOOTNOTE_RETRIEVAL__STORE": "pgvector",
        "FOOTNOTE_RETRIEVAL__POSTGRES_URL": url,
        "FOOTNOTE_RETRIEVAL__POSTGRES_SCHEMA": schema or postgres.schema(),
        "FOOTNOTE_RETRIEVAL__POSTGRES_TIMEOUT": "5",
    }
    return footnote


def results(footnote: Footnote, query: str, **environment: str) -> Any:
    """Ids, scores and stages, in order."""
    before, footnote.env = footnote.env, {**footnote.env, **environment}
    try:
        found = footnote.json("search", query)["results"]
    finally:
        footnote.env = before
    return [(result["chunk_id"], result["score"], result["stages"]) for result in found]


def test_the_commands_work_as_they_do_on_faiss(on_postgres: Footnote, ferry: Footnote, tmp_path: Path) -> None:
    """Search, ask and verify say the same, to the score; status counts the same."""
    for query in QUERIES[:4]:
        assert results(on_postgres, query) == results(ferry, query)
    question = QUERIES[1]
    answer, other = (each.json("ask", question) for each in (on_postgres, ferry))
    assert answer["text"] == other["text"]
    (tmp_path / "answer.json").write_text(json.dumps(answer))
    assert on_postgres.json("verify", tmp_path / "answer.json")["ok"] is True
    (mine,), (theirs,) = (each.json("status")["collections"] for each in (on_postgres, ferry))
    for one in (mine, theirs):
        del one["editions"][0]["created_at"], one["last_recorded_at"]
    assert mine == theirs
    check = on_postgres.json("store", "check")
    assert (check["store"], check["collections"][0]["error"]) == ("pgvector", "")
    assert re.search(r"server \d+\.\d+, pgvector \d+\.\d+\.\d+, schema 'test_\w+' version \d+", check["place"])


def test_an_empty_place_is_named(footnote: Footnote, postgres_url: str) -> None:
    """Not the folder of the other store."""
    use(footnote, postgres_url, "footnote_nothing_here")
    assert "schema 'footnote_nothing_here' not made yet" in footnote("status").stderr


def test_ingesting_again_and_deleting(on_postgres: Footnote) -> None:
    """Nothing is done twice; a document that is deleted is found no more, and comes back when it is restored."""
    collection = ("-c", "other")
    on_postgres("ingest", EXAMPLES, *collection)
    again = on_postgres.json("ingest", EXAMPLES, *collection)
    assert (again["ingested"], again["unchanged"]) == (0, again["files"])
    gone = on_postgres.json("delete", EXAMPLES / "safety-manual.pdf", *collection)["deleted"]
    assert len(gone) == 1
    found = on_postgres.json("search", "life jackets", *collection)["results"]
    assert gone[0] not in {result["doc_id"] for result in found}
    assert on_postgres.json("ingest", EXAMPLES, *collection)["ingested"] == 0
    assert on_postgres.json("ingest", EXAMPLES, "--restore", *collection)["ingested"] == 1
    on_postgres("delete", "--everything", "--yes", *collection)
    assert [one["name"] for one in on_postgres.json("status")["collections"]] == ["default"]


def test_the_service_answers_from_postgres(on_postgres: Footnote, ferry: Footnote) -> None:
    """Ready, searching and answering over HTTP; what is ingested meanwhile is found without a restart."""
    with serving(on_postgres) as client:
        assert client.get("/readyz").status_code == 200
        answer = client.post("/v1/collections/default/answer", json={"question": QUERIES[1]}).json()
        assert answer["text"] == ferry.json("ask", QUERIES[1])["text"]
        note = on_postgres.folder / "note.txt"
        note.write_text("The quokka boards at gate seven.")
        on_postgres("ingest", note)
        found = client.post("/v1/collections/default/search", json={"query": "quokka"}).json()["results"]
        assert "quokka" in found[0]["text"]
        on_postgres("delete", note)
        found = client.post("/v1/collections/default/search", json={"query": "quokka"}).json()["results"]
        assert all("quokka" not in result["text"] for result in found)


def test_a_collection_moves_there_and_back(ferry: Footnote, postgres_url: str) -> None:
    """From faiss to pgvector to another faiss: ten queries give the same ids, order and scores; checksums agree too."""
    schema, second = postgres.schema(), ferry.folder / "second"
    mover = use(Footnote(ferry.folder), postgres_url, schema)
    there = mover.json("store", "copy", "--from", "faiss", "--to", "pgvector", "--all")
    back = mover.json("store", "copy", "--from", "pgvector", "--to", "faiss", "--to-path", second, "-c", "default")
    again = mover.json("store", "copy", "--from", "faiss", "--to", "pgvector", "--all")
    (first,), (last,), (third,) = (report["copied"] for report in (there, back, again))
    assert all(report["verified"] for report in (first, last, third))
    assert first["checksum"] == last["checksum"] == third["checksum"]
    assert first["copied_documents"] == len(list(EXAMPLES.iterdir()))
    assert third["copied_documents"] == 0
    for query in QUERIES:
        expected = results(ferry, query)
        assert results(mover, query) == expected
        in_second = {"FOOTNOTE_RETRIEVAL__STORE": "faiss", "FOOTNOTE_RETRIEVAL__PATH": str(second)}
        assert results(mover, query, **in_second) == expected
    assert mover.json("ingest", EXAMPLES)["ingested"] == 0, "the ledger came along: nothing is processed again"
    if postgres.is_lent():
        postgres.drop(postgres_url, schema)


def test_a_copy_says_what_it_did(ferry: Footnote, tmp_path: Path) -> None:
    """For people: one line per collection on stdout."""
    out = ferry("store", "copy", "--from", "faiss", "--to", "faiss", "--to-path", tmp_path / "copy", "--all").stdout
    assert out.startswith("default: 9 of 9 documents copied, ")
    assert re.search(r"verified in [\d.]+ s: 9 documents, 22 chunks, 9 ledger lines", out)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--from", "faiss", "--to", "faiss", "--all"], "the same place"),
        (["--from", "pgvector", "--to", "pgvector", "--all"], "the same place"),
        (["--from", "faiss", "--to", "faiss", "--to-path", "data/../data", "--all"], "the same place"),
        (["--from", "faiss", "--to", "pgvector"], "name the collections"),
        (["--from", "faiss", "--to", "pgvector", "--all", "-c", "default"], "not both"),
        (["--from", "faiss", "--to", "pgvector", "--to-path", "x", "--all"], "--to-path is for"),
        (["--from", "faiss", "--to", "faiss", "--to-path", "x", "-c", "nowhere"], "no collection 'nowhere'"),
        (["--from", "faiss", "--to", "pgvector", "--all"], "retrieval.postgres_url"),
    ],
)
def test_copies_that_make_no_sense_are_refused(ferry: Footnote, arguments: list[str], message: str) -> None:
    """What is wrong and what to do, exit code 1, nothing made."""
    assert message in ferry("store", "copy", *arguments, code=1).stderr
    assert not (ferry.folder / "x" / "nowhere").exists()


def test_a_copy_leaves_a_target_with_data_of_its_own(ferry: Footnote, make_footnote: Callable[[], Footnote]) -> None:
    """Exit code 1; the other documents are still there, and the other collections were copied."""
    other = make_footnote()
    (other.folder / "mine.txt").write_text("A document of the target's own.")
    other("ingest", "mine.txt")
    data = other.folder / "data"
    done = ferry("store", "copy", "--from", "faiss", "--to", "faiss", "--to-path", data, "--all", "--json", code=1)
    assert "holds documents that the source has not" in json.loads(done.stdout)["failed"][0]["error"]
    assert other.json("status")["collections"][0]["documents"] == 1


def test_check_finds_what_is_broken(ferry: Footnote, make_footnote: Callable[[], Footnote]) -> None:
    """One damaged collection is named, with the reason; it hides no other; exit code 1."""
    other = make_footnote()
    shutil.copytree(ferry.folder / "data" / "default", other.folder / "data" / "good")
    (other.folder / "data" / "bad").mkdir()
    (other.folder / "data" / "bad" / "catalog.db").write_bytes(b"no database" * 100)
    bad, good = other.json("store", "check", code=1)["collections"]
    assert (good["error"], good["documents"]) == ("", 9)
    assert "bad" in bad["error"]
    assert "bad: error: " in other("store", "check", code=1).stdout
    assert "9 documents" in ferry("store", "check").stdout


@pytest.fixture(scope="module")
def guarded() -> Iterator[str]:
    """The URL of a server that asks for a password, which is SECRET."""
    import psycopg

    with postgres.own_server() as own:
        with psycopg.connect(own.url, autocommit=True) as connection:
            connection.execute(f"CREATE ROLE footnote LOGIN PASSWORD '{SECRET}'")
            connection.execute("CREATE EXTENSION vector")
            connection.execute("CREATE SCHEMA guarded AUTHORIZATION footnote")
            (own.data / "pg_hba.conf").write_text(
                "local all postgres trust\nlocal all all scram-sha-256\n", encoding="ascii"
            )
            connection.execute("SELECT pg_reload_conf()")
        yield own.url.replace("postgres:@", f"footnote:{SECRET}@")


def test_a_password_from_a_file(guarded: str, footnote: Footnote) -> None:
    """As a mounted secret comes, with the newline that editors add; nothing prints it."""
    file = footnote.folder / "password"
    file.write_text(SECRET + "\n")
    use(footnote, guarded.replace(f":{SECRET}", ""), "guarded")
    footnote.env["FOOTNOTE_RETRIEVAL__POSTGRES_PASSWORD_FILE"] = str(file)
    outputs = [footnote(*command) for command in (["ingest", EXAMPLES], ["status"], ["config", "show"])]
    outputs.append(footnote("config", "show", "--json"))
    assert all(SECRET not in done.stdout + done.stderr for done in outputs)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda url: url, ""),
        (lambda url: url.replace(SECRET, f"{SECRET}-wrong"), "password is wrong"),
        (lambda url: url.replace("host=/", f"host=/{SECRET}-nowhere/"), "cannot be reached"),
        (lambda url: f"postgresql://footnote:{SECRET}@127.0.0.1:9/postgres", "cannot be reached"),
        (lambda url: f"postgresql://footnote:{SECRET}@nowhere.invalid/postgres", "host is not known"),
        (lambda url: url.replace("/postgres?", "/nodatabase?"), "no such database"),
        (lambda url: url.replace("footnote:", "nobody:"), "retrieval.postgres_url"),
        (lambda url: f"{url}&nonsense=1", "retrieval.postgres_url"),
        (lambda url: f"postgresql://footnote:{SECRET}@[::1", "retrieval.postgres_url"),
        (lambda url: f"mysql://footnote:{SECRET}@host/db", "retrieval.postgres_url"),
        (lambda url: f"postgresql://footnote:{SECRET}@host:port/db", "retrieval.postgres_url"),
    ],
)
def test_no_output_holds_a_password(
    guarded: str, footnote: Footnote, change: Callable[[str], str], message: str
) -> None:
    """Whatever is wrong with the URL: every command says which setting, none prints the secret or a traceback."""
    use(footnote, change(guarded), "guarded")
    copying = ["store", "copy", "--from", "pgvector", "--to", "faiss", "--to-path", "out", "--all"]
    for command in (["store", "check"], copying) if message else (["status"], ["search", "pump"], copying):
        done = subprocess.run(
            [sys.executable, "-m", "footnote", *command],
            cwd=footnote.folder, env=footnote.env, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        output = done.stdout + done.stderr
        assert SECRET not in output.replace(f"/{SECRET}-nowhere", "")
        assert "Traceback" not in output
        if message:
            assert done.returncode == 1
            assert message in done.stderr
            assert "retrieval.postgres" in done.stderr


@contextmanager
def serving(footnote: Footnote) -> Iterator[httpx.Client]:
    """`footnote serve` as a process of its own, ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "footnote", "serve"], cwd=footnote.folder, stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, env={**footnote.env, "FOOTNOTE_API__PORT": str(port)},
    )  # fmt: skip
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as client:
            deadline = time.monotonic() + 60
            while True:
                try:
                    client.get("/readyz")
                    break
                except httpx.TransportError:
                    assert time.monotonic() < deadline, "the server does not start"
                    assert process.poll() is None, "the server has ended"
                    time.sleep(0.1)
            yield client
    finally:
        process.terminate()
        process.wait(30)
