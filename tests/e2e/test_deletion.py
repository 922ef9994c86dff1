"""`footnote delete` and `footnote receipts` as a user meets them, on FAISS and on PostgreSQL."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import postgres
from tests.e2e.conftest import ROOT, Footnote

PROBES = {"document", "listing", "ledger", "chunks", "filters", "dense", "lexical", "raw"}


@pytest.fixture(params=["faiss", "pgvector"])
def docs(request: pytest.FixtureRequest, make_footnote: Callable[[], Footnote]) -> Iterator[Footnote]:
    """Copies of the example documents, which may be changed, in the collection `default`."""
    made = make_footnote()
    if request.param == "pgvector":
        url = request.getfixturevalue("postgres_url")
        made.env |= {
            "FOOTNOTE_RETRIEVAL__STORE": "pgvector",
            "FOOTNOTE_RETRIEVAL__POSTGRES_URL": url,
            "FOOTNOTE_RETRIEVAL__POSTGRES_SCHEMA": postgres.schema(),
        }
    for source in (ROOT / "examples" / "skerry-line").iterdir():
        (made.folder / "docs").mkdir(exist_ok=True)
        (made.folder / "docs" / source.name).write_bytes(source.read_bytes())
    made("ingest", "docs", "-m", "line=skerry")
    yield made
    if request.param == "pgvector" and postgres.is_lent():
        postgres.drop(url, made.env["FOOTNOTE_RETRIEVAL__POSTGRES_SCHEMA"])


def test_a_document_goes_for_good_and_a_receipt_stays(docs: Footnote) -> None:
    """No search finds it, no probe either; the chain holds; an ingestion leaves it out unless told to restore it."""
    done = docs.json("delete", "docs/safety-manual.pdf")
    receipt = done["receipt"]
    assert (done["passed"], len(done["deleted"])) == (True, 1)
    found = {probe["name"]: probe for probe in receipt["probes"]}
    assert set(found) == PROBES
    assert all(probe["looked_for"] > 0 and probe["found"] == 0 for probe in found.values())
    hits = docs.json("search", "How often are life jackets inspected?")["results"]
    assert not [hit for hit in hits if hit["source_uri"].endswith("safety-manual.pdf")]
    docs("ingest", "docs", "-m", "line=skerry")
    assert docs.json("status")["collections"][0]["documents"] == 8
    docs("ingest", "docs", "-m", "line=skerry", "--restore")
    assert docs.json("status")["collections"][0]["documents"] == 9
    verified = docs.json("receipts", "verify", "--holds", receipt["sha256"])
    assert (verified["sound"], verified["receipts"], verified["open"]) == (True, 1, [])


def test_a_folder_goes_after_a_question(docs: Footnote) -> None:
    """Without an answer nothing goes; what is not below stays."""
    (docs.folder / "more").mkdir()
    (docs.folder / "more" / "note.txt").write_text("The quokka keeps the harbour log.")
    docs("ingest", "more")
    assert "Delete 9 sources" in docs("delete", "--under", "docs", code=1).stderr
    assert len(docs.json("delete", "--under", "docs", "--yes")["deleted"]) == 9
    assert docs.json("search", "quokka")["results"]
    assert docs.json("status")["collections"][0]["documents"] == 1


def test_a_collection_goes_with_a_receipt(docs: Footnote) -> None:
    """It outlives the collection."""
    done = docs.json("delete", "--everything", "--yes")
    assert done["passed"]
    assert done["receipt"]["holds"]["documents"] == 9
    assert docs.json("status")["collections"] == []
    (listed,) = docs.json("receipts", "list")["receipts"]
    assert listed == done["receipt"]
    assert "documents: 9" in docs("receipts", "show").stdout


def test_a_deletion_killed_half_way_is_completed(docs: Footnote) -> None:
    """Before its commit and before the purge alike: `--resume` does what is left, and says so."""
    for i, (name, where) in enumerate((("fleet.csv", "before-commit"), ("passengers.md", "before-purge")), 1):
        killed = subprocess.run(
            [sys.executable, Path(__file__).with_name("crash_deleter.py"), where, f"docs/{name}"],
            cwd=docs.folder, env=docs.env | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert killed.returncode == -9, killed.stderr
        assert len(docs.json("receipts", "verify")["open"]) == 1
        done = docs.json("delete", "--resume")
        assert done["passed"]
        (completed,) = done["completed"]
        assert completed["documents"][0]["source_uri"].endswith(f"/{name}")
        assert docs.json("receipts", "verify")["open"] == []
        assert docs.json("status")["collections"][0]["documents"] == 9 - i


def test_a_receipt_that_was_changed_is_named(footnote: Footnote) -> None:
    """By its line, with exit code 5; and nothing is added to a broken chain, nor deleted."""
    for name in ("a", "b"):
        (footnote.folder / f"{name}.txt").write_text(f"The pump {name} starts.")
    footnote("ingest", "a.txt", "b.txt")
    footnote("delete", "a.txt")
    assert "sound: 1 receipt" in footnote("receipts", "verify").stdout
    (file,) = (footnote.folder / "data" / "_receipts").glob("*.jsonl")
    file.write_text(file.read_text().replace("a.txt", "c.txt"))
    broken = footnote("receipts", "verify", code=5)
    assert "line 1: its content does not give its sha256" in broken.stderr
    assert footnote.json("receipts", "verify", code=5)["line"] == 1
    assert "move this file away" in footnote("delete", "b.txt", code=1).stderr
    assert footnote.json("status")["collections"][0]["documents"] == 1


def test_receipts_are_no_collection(footnote: Footnote) -> None:
    """They lie beside the collections, and can be kept elsewhere."""
    (footnote.folder / "a.txt").write_text("The pump starts.")
    footnote.env["FOOTNOTE_INGEST__RECEIPTS_PATH"] = str(footnote.folder / "proofs")
    footnote("ingest", "a.txt")
    footnote("delete", "a.txt")
    (line, _) = (footnote.folder / "proofs" / "default.jsonl").read_text().splitlines()
    assert json.loads(line)["kind"] == "intent"
    del footnote.env["FOOTNOTE_INGEST__RECEIPTS_PATH"]
    footnote("delete", "--everything", "--yes")
    assert footnote.json("status")["collections"] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name the documents to delete"),
        (("a.txt", "--everything"), "one of them"),
        (("--resume", "--under", "x"), "one of them"),
        (("a.txt", "-c", "nope"), "no collection 'nope'"),
        (("--resume", "-c", "../x"), "'../x'"),
    ],
)
def test_wrong_use_is_named(footnote: Footnote, arguments: tuple[str, ...], message: str) -> None:
    """Before anything is written."""
    assert message in footnote("delete", *arguments, code=1).stderr
    assert not (footnote.folder / "data" / "_receipts").exists()
