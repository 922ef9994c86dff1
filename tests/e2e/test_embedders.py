"""The real command with an embedding service: what it asks for, and what becomes of an ingest when that fails."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.conftest import Footnote
from tests.unit.embedders.services import Call, Reply, Served, openai_embeddings, serving

KEY = "sk-very-secret"
FILES = 30


@dataclass
class Service:
    """An embedding service that answers `left` more requests, and is overloaded after that."""

    served: Served
    left: int = 10**9

    def asked(self) -> int:
        """How many requests it has had."""
        return len(self.served.calls)


@pytest.fixture
def service(footnote: Footnote) -> Iterator[Service]:
    """One that `footnote` is set up with."""

    def answer(call: Call) -> Reply:
        found.left -= 1
        return openai_embeddings(call) if found.left >= 0 else Reply({"error": "overloaded"}, 503)

    with serving(then=answer) as served:
        found = Service(served)
        setting = "FOOTNOTE_RETRIEVAL__"
        footnote.env |= {
            f"{setting}EMBEDDER": "http",
            f"{setting}MODEL": "m",
            f"{setting}EMBEDDER_URL": f"{served.url}/v1",
            f"{setting}EMBEDDER_API_KEY": KEY,
            f"{setting}EMBEDDER_RETRIES": "1",
        }
        yield found


def write_papers(folder: Path) -> None:
    folder.mkdir()
    for i in range(FILES):
        lines = [f"Pump {i} has valve {j}, which opens at {i * j} bar." for j in range(120)]
        (folder / f"{i:02}.md").write_text(f"# Pump {i}\n\n{' '.join(lines)}\n")


def test_an_ingest_that_the_service_breaks_off_goes_on_later(footnote: Footnote, service: Service) -> None:
    """What was acknowledged is there and whole; the next run brings the rest, and nothing twice."""
    write_papers(footnote.folder / "papers")
    service.left = 12
    broken = footnote("ingest", "papers", code=1)
    assert "answered 503: overloaded; tried 2 times" in broken.stderr
    assert "the same command goes on from there" in broken.stderr
    assert KEY not in broken.stderr
    (status,) = footnote.json("status")["collections"]
    assert 0 < status["documents"] < FILES
    footnote("doctor")

    service.left, asked = 10**9, service.asked()
    report = footnote.json("ingest", "papers")
    assert (report["ingested"], report["unchanged"]) == (FILES - status["documents"], status["documents"])
    footnote("doctor")
    sent = [call.body["input"] for call in service.served.calls[asked:]]
    assert sum(map(len, sent)) == report["chunks"] + len(["dimension"])
    assert max(map(len, sent)) == 32
    assert all(call.headers["authorization"] == f"Bearer {KEY}" for call in service.served.calls)


def test_a_refusing_service_leaves_no_collection(footnote: Footnote, service: Service) -> None:
    """What is made is bound to its embedder: wrong settings would stay with it when they are right again."""
    (footnote.folder / "a.md").write_text("The pump starts at 40 bar.")
    footnote.env["FOOTNOTE_RETRIEVAL__DIMENSIONS"] = "3"  # so that it need not be asked for
    service.left = 0
    assert "answered 503" in footnote("ingest", "a.md", code=1).stderr
    assert footnote.json("status")["collections"] == []
    service.left = 10
    del footnote.env["FOOTNOTE_RETRIEVAL__DIMENSIONS"]
    assert footnote("ingest", "a.md").stderr == ""
    assert "40 bar" in footnote("search", "pump").stdout


def test_what_only_reads_the_collection_asks_nothing(footnote: Footnote, service: Service) -> None:
    """Neither status nor doctor nor the list of editions; a search asks for its dimension and its query."""
    (footnote.folder / "a.md").write_text("The pump starts at 40 bar.")
    footnote("ingest", "a.md")
    asked = service.asked()
    for command in (["status"], ["doctor"], ["editions", "list"], ["config", "show"], ["store", "check"]):
        assert KEY not in footnote(*command).stdout
    assert service.asked() == asked
    assert "40 bar" in footnote("search", "pump").stdout
    assert [call.body["input"] for call in service.served.calls[asked:]] == [["dimension"], ["pump"]]


def test_a_search_without_its_service_says_so(footnote: Footnote, service: Service) -> None:
    """One line, with the setting; no other model steps in."""
    (footnote.folder / "a.md").write_text("The pump starts at 40 bar.")
    footnote("ingest", "a.md")
    service.left = 0
    said = footnote("search", "pump", code=1).stderr
    assert said.startswith("error: http:m at http://127.0.0.1:")
    assert "retrieval.embedder_url" in said
    assert len(said.splitlines()) == 1


def test_a_collection_goes_on_as_it_was_made(footnote: Footnote, service: Service) -> None:
    """Other prefixes or another window in the settings do not change it; `footnote reindex` does."""
    (footnote.folder / "a.md").write_text("The pump starts at 40 bar.")
    footnote("ingest", "a.md")
    footnote.env |= {
        "FOOTNOTE_RETRIEVAL__QUERY_PREFIX": "query: ",
        "FOOTNOTE_RETRIEVAL__EMBEDDER_WINDOW": "300",
    }
    said = footnote("ingest", "a.md").stderr
    assert "window 512, prefixes '' and ''" in said
    assert "window 300, prefixes 'query: ' and ''" in said
    footnote("search", "pump")
    assert service.served.calls[-1].body["input"] == ["pump"]
    assert footnote.json("reindex")["outcome"] == "switched"
    footnote("search", "pump")
    assert service.served.calls[-1].body["input"] == ["query: pump"]


def test_a_collection_comes_to_a_service_and_goes_back(footnote: Footnote, service: Service) -> None:
    """`footnote reindex --embedder` embeds the stored text anew, whatever embedded it before."""
    (footnote.folder / "a.md").write_text("The pump starts at 40 bar.")
    footnote("ingest", "a.md")
    assert footnote.json("reindex", "--embedder", "onnx", "--model", "all-MiniLM-L6-v2")["outcome"] == "switched"
    asked = service.asked()
    footnote("ingest", "a.md")
    assert "40 bar" in footnote("search", "pump").stdout
    assert not any("pump" in call.body["input"] for call in service.served.calls[asked:])
    assert footnote.json("reindex", "--embedder", "http", "--model", "m")["outcome"] == "switched"
    assert "40 bar" in footnote("search", "pump").stdout
    assert service.served.calls[-1].body["input"] == ["pump"]


@pytest.mark.parametrize("url", ["http://me:hid/d@en@localhost/v1", "me:hidden@localhost/v1", "http://me:hid#den@h/v1"])
def test_a_password_in_an_address_is_never_shown(footnote: Footnote, url: str) -> None:
    """It is refused, for a token has a setting of its own; the configuration is shown without it."""
    footnote.env |= {"FOOTNOTE_RETRIEVAL__EMBEDDER": "http", "FOOTNOTE_RETRIEVAL__EMBEDDER_URL": url}
    (footnote.folder / "a.md").write_text("The pump starts at 40 bar.")
    refused = footnote("ingest", "a.md", code=1)
    shown = footnote("config", "show").stdout
    assert "retrieval.embedder_url holds a user or password" in refused.stderr
    assert "(secret)@" in shown
    assert "hid" not in refused.stderr + refused.stdout
    assert url not in shown
