"""Rerankers through the real command: a model that was prepared, and a server."""

from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT, Footnote
from tests.unit.rerankers.conftest import Reply, answering, make_bert
from tests.unit.rerankers.test_http import tei

RERANKER = "FOOTNOTE_RETRIEVAL__RERANKER"
QUERY = "which pump has low pressure"


@pytest.fixture
def pumps(footnote: Footnote) -> Footnote:
    """Three documents, of which two are about pumps."""
    for name, text in {
        "a": "The pump is red. Every pump has a number on its side.",
        "b": "The pump at the gate has low pressure, which was measured in May.",
        "c": "The valve opens at noon.",
    }.items():
        (footnote.folder / f"{name}.txt").write_text(text)
    footnote("ingest", *sorted(footnote.folder.glob("*.txt")))
    return footnote


def _found(footnote: Footnote, **settings: str) -> list[str]:
    footnote.env |= {f"FOOTNOTE_RETRIEVAL__{name.upper()}": value for name, value in settings.items()}
    return [Path(result["source_uri"]).stem for result in footnote.json("search", QUERY)["results"]]


def test_a_cross_encoder_is_prepared_listed_and_used(footnote: Footnote, tmp_path: Path) -> None:
    """`models prepare` tells it from an embedder by its folder, and says which settings take it."""
    pytest.importorskip("onnx")
    pytest.importorskip("sentence_transformers")
    (footnote.folder / "a.txt").write_text("The pump is red.")
    footnote("ingest", "a.txt")
    said = footnote("models", "prepare", make_bert(tmp_path / "ranker")).stdout
    assert "retrieval.reranker = 'onnx' and retrieval.rerank_model = 'ranker'" in " ".join(said.split())
    models = {model["name"]: model for model in footnote.json("models", "list")["models"]}
    assert models["ranker"]["kind"] == "cross-encoder"
    assert models["all-MiniLM-L6-v2"]["kind"] == "embedder"
    assert "rank correlation 0.9" in footnote("models", "list").stdout
    assert _found(footnote, reranker="onnx", rerank_model="ranker") == ["a"]
    footnote.env["FOOTNOTE_RETRIEVAL__RERANK_MODEL"] = "all-MiniLM-L6-v2"
    assert "no cross-encoder" in footnote("search", QUERY, code=1).stderr


def test_a_server_decides_the_order(pumps: Footnote) -> None:
    """The chunks of all three go to it, with what stands before them."""
    with answering(lambda body: Reply([{"index": i, "score": -i} for i in range(len(body["texts"]))])) as server:
        first = _found(pumps, reranker="http", rerank_url=server.url)
    assert first[0] == "b"
    with answering(lambda body: Reply([{"index": i, "score": i} for i in range(len(body["texts"]))])) as server:
        assert _found(pumps, rerank_url=server.url) == first[::-1]
    with answering(tei) as server:
        assert _found(pumps, rerank_url=server.url)[0] == "b"


def test_a_server_that_is_down_fails_the_query_or_not(pumps: Footnote) -> None:
    """As the setting says; the error names the server."""
    pumps.env |= {RERANKER: "http", "FOOTNOTE_RETRIEVAL__RERANK_URL": "http://127.0.0.1:9"}
    assert "127.0.0.1:9 cannot be reached" in " ".join(pumps("search", QUERY, code=1).stderr.split())
    assert _found(pumps, rerank_required="false")[0] == "b"
    pumps.env["FOOTNOTE_RETRIEVAL__RERANK_REQUIRED"] = "false"
    said = " ".join(pumps("search", QUERY).stderr.split())
    assert "127.0.0.1:9 cannot be reached" in said
    assert "not reranked: 'http:tei' failed" in said


def test_a_missing_setting_is_named(pumps: Footnote) -> None:
    """Before anything is searched."""
    for reranker, missing in (("cross-encoder", "rerank_model"), ("http", "rerank_url"), ("listwise", "chat_model")):
        pumps.env[RERANKER] = reranker
        assert missing in pumps("search", QUERY, code=1).stderr


def test_a_local_cross_encoder_stays_off_the_network(pumps: Footnote, tmp_path: Path) -> None:
    """Neither loading its weights nor using them asks anybody anything, whatever the library's own defaults."""
    pytest.importorskip("sentence_transformers")
    pumps.module = "tests.e2e.no_network"
    pumps.env["PYTHONPATH"] = str(ROOT)
    assert len(_found(pumps, reranker="cross-encoder", rerank_model=str(make_bert(tmp_path / "ranker")))) == 3


def test_the_key_is_masked(footnote: Footnote) -> None:
    """Among the effective settings."""
    footnote.env["FOOTNOTE_RETRIEVAL__RERANK_API_KEY"] = "s3cret"
    assert "s3cret" not in footnote("config", "show").stdout + footnote("config", "show", "--json").stdout
