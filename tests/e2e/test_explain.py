"""`footnote search --explain` and `footnote explain`, on the example documents."""

import json

import pytest

from tests.e2e.conftest import Footnote

QUERY = "How often are life jackets inspected?"


def test_search_explains_its_results(ferry: Footnote) -> None:
    """A table of stages, the matched terms, and what was left out, below the results."""
    shown = ferry("search", "inspected", "-k", "3", "--explain").stdout
    assert "score (rank) in each stage\n" in shown
    assert "what each term adds to the BM25 score\n" in shown  # in one line, however narrow the table is
    assert "inspect " in shown
    assert "candidates are results; left out: " in shown
    assert "score (rank)" not in ferry("search", QUERY, "-k", "3").stdout


def test_search_explains_every_candidate_as_json(ferry: Footnote) -> None:
    """Ranks of the results are theirs, and the counts add up; without --explain there is nothing of it."""
    found = ferry.json("search", QUERY, "-k", "3", "--explain")
    explanation = found["explanation"]
    results = [one for one in explanation["candidates"] if one["rank"]]
    assert [one["chunk_id"] for one in results] == [one["chunk_id"] for one in found["results"]]
    assert explanation["total"] == len(explanation["candidates"]) == 3 + sum(explanation["left_out"].values())
    assert "explanation" not in ferry.json("search", QUERY)


def test_explain_says_why_a_document_is_no_result(ferry: Footnote) -> None:
    """In words, and with the numbers of the search itself."""
    shown = ferry("explain", "--query", QUERY, "--doc", "weather-policy.md", "-k", "1").stdout
    assert "It is a candidate, but its best chunk" in shown
    told = ferry.json("explain", "--query", QUERY, "--doc", "weather-policy.md", "-k", "1")
    assert told["verdict"] == "outranked"
    searched = ferry.json("search", QUERY, "-k", "1", "--explain")["explanation"]["candidates"]
    assert told["chunk"] in searched
    assert told["last"] == searched[0]


def test_explain_names_the_filter(ferry: Footnote) -> None:
    """The clause, and what the document has."""
    shown = ferry("explain", "-q", QUERY, "-d", "safety-manual.pdf", "-f", '{"media_type": "text/markdown"}').stdout
    assert "its media_type is 'application/pdf'" in shown
    assert "Without the filter, it is result 1" in shown


def test_explain_knows_what_was_deleted_and_what_failed(footnote: Footnote) -> None:
    """From the ledger; that is an answer, too."""
    papers = footnote.folder / "papers"
    papers.mkdir()
    (papers / "a.md").write_text("# Pumps\n\nThe pump starts at 40 bar.")
    (papers / "b.md").write_text("The valve opens at noon.")
    (papers / "broken.pdf").write_bytes(b"%PDF-1.7 and nothing else")
    footnote("ingest", "papers", code=3)
    footnote("delete", "papers/b.md", "--yes")
    deleted = footnote.json("explain", "-q", "pump", "-d", "b.md")
    assert deleted["verdict"] == "deleted"
    assert "deleted on purpose" in deleted["sentences"][0]
    failed = footnote.json("explain", "-q", "pump", "-d", "papers/broken.pdf")
    assert failed["verdict"] == "not-ingested"
    assert failed["source"]["error"] in failed["sentences"][0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--doc", "nothing.md"], "no document and no source 'nothing.md'"),
        (["--doc", ""], "the document's name is empty"),
        (["--doc", "fleet.csv", "-k", "0"], "k = 0"),
        (["--doc", "fleet.csv", "-f", '{"knid": 1}'], "no document has the field 'knid'"),
        (["--doc", "fleet.csv", "-c", "nowhere"], "nowhere"),
    ],
)
def test_what_cannot_be_answered_is_an_error(ferry: Footnote, arguments: list[str], said: str) -> None:
    """Exit code 1, and the reason on stderr."""
    done = ferry("explain", "--query", "pump", *arguments, code=1)
    assert said in done.stderr
    assert json.dumps(done.stdout) == '""'
