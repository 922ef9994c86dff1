"""Answers as JSON, and checking them against the store afterwards."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from generation.build import build_answerer
from generation.serialize import answer_from_dict, answer_to_dict
from generation.settings import GenerationSettings
from generation.verify import verify
from retrieval.errors import InvalidRequest
from retrieval.ports import VectorStore
from retrieval.retriever import Retriever


@pytest.fixture
def data(retriever: Retriever) -> dict[str, Any]:
    """The JSON of an answer with citations."""
    answer = build_answerer(retriever, GenerationSettings(threshold=0.0)).answer("How many passengers and cars?")
    result: dict[str, Any] = json.loads(json.dumps(answer_to_dict(answer, with_retrieved=True)))
    assert result["sentences"][0]["citations"]
    return result


def test_json_and_back(retriever: Retriever) -> None:
    """Everything but the retrieved chunks survives."""
    answer = build_answerer(retriever, GenerationSettings(threshold=0.0)).answer("How many passengers?")
    back = answer_from_dict(json.loads(json.dumps(answer_to_dict(answer))))
    assert answer_to_dict(back) == answer_to_dict(answer)
    assert back.sentences == answer.sentences


def test_an_answer_that_stands_is_verified(data: dict[str, Any], store: VectorStore) -> None:
    """All citations are counted, none complained of."""
    with store.snapshot() as snapshot:
        report = verify(data, snapshot)
    assert report.ok
    assert report.checked == sum(len(sentence["citations"]) for sentence in data["sentences"])


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("quote", "She carries 999 passengers.", "does not say"),
        ("start", 1, "does not say"),
        ("end", 10**9, "not within"),
        ("start", -5, "not within"),
        ("page", 7, "on page"),
        ("page", None, "on page"),
        ("version", "0" * 16, "version"),
        ("doc_id", "nowhere", "not in the collection"),
        ("source_uri", "https://example.com/", "not 'https://example.com/'"),
        ("title", "Another", "Fleet"),
        ("support", 2.0, "within 0..1"),
    ],
)
def test_a_tampered_citation_is_named(
    data: dict[str, Any], store: VectorStore, field: str, value: object, reason: str
) -> None:
    """Which one, and what is wrong with it."""
    data["sentences"][0]["citations"][0][field] = value
    with store.snapshot() as snapshot:
        report = verify(data, snapshot)
    assert not report.ok
    assert (report.problems[0].sentence, report.problems[0].citation) == (1, 1)
    assert reason in report.problems[0].reason


def test_a_tampered_sentence_is_named(data: dict[str, Any], store: VectorStore) -> None:
    """Full support means word for word, so another word shows."""
    data["sentences"][0]["text"] = "She sinks."
    with store.snapshot() as snapshot:
        assert "word for word" in verify(data, snapshot).problems[0].reason


def test_a_replaced_document_is_named(
    data: dict[str, Any], store: VectorStore, replace: Callable[[str, str], None]
) -> None:
    """A citation holds for one version of one document."""
    replace("fleet", "MV Fulmar was sold.")
    with store.snapshot() as snapshot:
        assert all("is now in version" in problem.reason for problem in verify(data, snapshot).problems)


def test_another_collection_is_named(data: dict[str, Any], store: VectorStore) -> None:
    """The same document in another collection is not what was cited."""
    data["collection"] = "train"
    with store.snapshot() as snapshot:
        assert "collection 'train'" in verify(data, snapshot).problems[0].reason


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda data: data.pop("sentences"), "'sentences' is missing"),
        (lambda data: data.update(status="perhaps"), "answer.status"),
        (lambda data: data.update(evidence="high"), "answer.evidence"),
        (lambda data: data["sentences"].append(3), "answer.sentences["),
        (lambda data: data["sentences"][0]["citations"][0].update(start="1"), "citations[0].start"),
        (lambda data: data["sentences"][0]["citations"][0].update(start=True), "citations[0].start"),
        (lambda data: data["sentences"][0]["citations"][0].pop("quote"), "'quote' is missing"),
    ],
)
def test_json_that_is_no_answer_is_refused(
    data: dict[str, Any], store: VectorStore, change: Callable[[dict[str, Any]], object], where: str
) -> None:
    """With the place that is wrong."""
    change(data)
    with store.snapshot() as snapshot, pytest.raises(InvalidRequest) as caught:
        verify(data, snapshot)
    assert where in str(caught.value)


@pytest.mark.parametrize("data", [None, [], "answer", 3])
def test_json_that_is_no_object_is_refused(data: object, store: VectorStore) -> None:
    """Whatever it is."""
    with store.snapshot() as snapshot, pytest.raises(InvalidRequest, match="expected an object"):
        verify(data, snapshot)
