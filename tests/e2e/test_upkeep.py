"""`footnote status` shows the ledger, `footnote doctor` finds damage and mends it, in the real command."""

import sqlite3
from contextlib import closing

import pytest

from tests.e2e.conftest import Footnote


@pytest.fixture
def prepared(footnote: Footnote) -> Footnote:
    """Two documents, and two files that give none."""
    papers = footnote.folder / "papers"
    papers.mkdir()
    (papers / "a.md").write_text("# Pumps\n\nThe pump starts at 40 bar.")
    (papers / "b.txt").write_text("The valve opens at noon.")
    (papers / "c.pdf").write_bytes(b"%PDF-1.4 broken")
    (papers / "d.md").write_text(" \n")
    footnote("ingest", "papers", code=3)
    return footnote


def sql(footnote: Footnote, statement: str) -> None:
    with closing(sqlite3.connect(footnote.folder / "data" / "default" / "catalog.db")) as connection:
        assert connection.execute(statement).rowcount
        connection.commit()


def test_doctor_finds_and_mends(prepared: Footnote) -> None:
    """Exit code 7 as long as something is wrong; after the repair all is well and searches answer as before."""
    assert "nothing wrong (2 documents, 2 chunks" in prepared("doctor").stdout
    before = prepared("search", "pump").stdout
    sql(prepared, "DELETE FROM vector WHERE chunk_key = 1")
    sql(prepared, "UPDATE meta SET value = 9 WHERE name = 'documents'")
    said = prepared("doctor", code=7).stdout
    assert "missing-vector" in said
    assert "wrong-count" in said
    assert "footnote doctor --repair -c default" in said
    [report] = prepared.json("doctor", "--repair")["collections"]
    assert report["kinds"] == {"missing-vector": 1, "wrong-count": 1}
    assert (len(report["mended"]), report["remaining"], report["to_ingest"]) == (2, [], [])
    prepared("doctor")
    assert prepared("search", "pump").stdout == before


def test_what_the_text_cannot_mend_the_next_ingest_does(prepared: Footnote) -> None:
    """The source has not changed, and is read again all the same."""
    sql(prepared, "UPDATE content SET text = 'forged ' || text")
    said = prepared("doctor", "--repair", code=7).stdout
    assert "2 sources to be read again" in said
    assert "damaged: " in prepared("status", "--failed").stdout
    prepared("ingest", "papers", code=3)
    assert "nothing wrong" in prepared("doctor").stdout


def test_a_lost_document_comes_back_with_the_next_ingest(prepared: Footnote) -> None:
    """The ledger knows that there was one."""
    sql(prepared, "DELETE FROM content WHERE text LIKE '%valve%'")
    [report] = prepared.json("doctor", "--repair")["collections"]
    assert [uri.rpartition("/")[2] for uri in report["to_ingest"]] == ["b.txt"]
    assert prepared.json("status")["collections"][0]["documents"] == 1
    prepared("ingest", "papers", code=3)
    assert prepared.json("status")["collections"][0]["documents"] == 2
    prepared("doctor")


def test_status_counts_sources_by_what_became_of_them(prepared: Footnote) -> None:
    """Of every status, with the time of the last line."""
    [entry] = prepared.json("status")["collections"]
    assert entry["sources"] == {"ingested": 2, "failed": 2, "unsupported": 0, "needs-ocr": 0, "deleted": 0}
    assert entry["last_recorded_at"].startswith("20")
    assert [line["reason"] for line in entry["not_ingested"]] == ["corrupt", "empty"]
    table = prepared("status").stdout
    assert "failed" in table
    assert "needs-ocr" not in table


def test_status_of_one_source(prepared: Footnote) -> None:
    """By its path or its URI; one that the ledger does not know is an error."""
    [line] = prepared.json("status", "--source", "papers/a.md")["sources"]
    assert (line["status"], line["media_type"], line["chunks"], line["parser"][:9]) == (
        "ingested",
        "text/markdown",
        1,
        "markdown/",
    )
    assert line["seconds"]["parse"] >= 0
    shown = prepared("status", "--source", line["source_uri"]).stdout
    assert line["content_hash"] in shown
    assert "'papers/x.md'" in prepared("status", "--source", "papers/x.md", code=1).stderr
    assert "one of the two" in prepared("status", "--failed", "--source", "papers/a.md", code=1).stderr


def test_doctor_of_a_collection_that_is_not_there(prepared: Footnote) -> None:
    """An error, and not a clean bill."""
    assert "'nobody'" in prepared("doctor", "-c", "nobody", code=1).stderr


def test_a_collection_that_cannot_be_read_hides_no_other(prepared: Footnote) -> None:
    """It is an error of its own, and the others are examined."""
    broken = prepared.folder / "data" / "broken"
    broken.mkdir()
    (broken / "catalog.db").write_bytes(b"no database" * 1000)
    done = prepared("doctor", code=1)
    assert "default: nothing wrong" in done.stdout
    assert "broken" in done.stderr
    assert [entry["collection"] for entry in prepared.json("doctor", code=1)["broken"]] == ["broken"]


def test_doctor_where_there_is_nothing(footnote: Footnote) -> None:
    """No collection is no damage."""
    assert "no collections" in footnote("doctor").stderr
    assert footnote.json("doctor") == {"collections": [], "broken": []}
