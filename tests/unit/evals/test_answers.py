"""Measuring answers on a SQuAD file that is made here."""

import json
from pathlib import Path
from typing import Any

import pytest

from evals.answers import auroc, evaluate, index, main, normalize, read_squad
from evals.fit_evidence import Example, examples, fit_questions, fit_sentences, judge
from generation.evidence import QUESTION_FEATURES, SENTENCE_FEATURES
from ingest.settings import IngestSettings
from retrieval.errors import InvalidRequest
from retrieval.settings import RetrievalSettings
from tests.fakes import FakeEmbedder

MEMORY = RetrievalSettings(store="memory")


def _article(title: str, text: str, asked: dict[str, str | None]) -> dict[str, Any]:
    qas = [
        {
            "id": f"{title}{i}",
            "question": question,
            "is_impossible": gold is None,
            "answers": [] if gold is None else [{"text": gold, "answer_start": text.index(gold)}],
        }
        for i, (question, gold) in enumerate(asked.items())
    ]
    return {"title": title, "paragraphs": [{"context": text, "qas": qas}]}


@pytest.fixture
def squad(tmp_path: Path) -> Path:
    """Two articles; each with two questions that it answers and one that it does not."""
    ferry = _article(
        "MV_Fulmar",
        "MV Fulmar was built in 2008 by Vestvik Verft. She carries 280 passengers. Her crew is nine.",
        {"When was MV Fulmar built?": "2008", "How many passengers?": "280", "Who painted the chapel ceiling?": None},
    )
    dogs = _article(
        "Dogs",
        "Dogs travel free of charge. A lead of two metres is needed. Cats stay in a basket.",
        {"Where do cats stay?": "a basket", "How long is the lead?": "two metres", "Who won the war of 1812?": None},
    )
    path = tmp_path / "squad.json"
    path.write_text(json.dumps({"version": "v2.0", "data": [ferry, dogs]}), encoding="utf-8")
    return path


def test_paragraphs_become_documents(squad: Path) -> None:
    """With their article's title; questions keep their gold answers."""
    documents, questions = read_squad(squad)
    assert [document.title for document in documents] == ["MV Fulmar", "Dogs"]
    assert [question.golds for question in questions[:3]] == [("2008",), ("280",), ()]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"data": [{"paragraphs": [{}]}]}', '{"data": 3}'])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: str) -> None:
    """By name, with what is wrong."""
    path = tmp_path / "other.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InvalidRequest, match=r"other\.json"):
        read_squad(path)


def test_measures_answers_and_evidence(squad: Path) -> None:
    """Every answerable question is answered right here, and the others have less evidence."""
    report = evaluate(squad, retrieval=MEMORY, embedder=FakeEmbedder(512))
    assert (report.questions, report.answerable) == (6, 4)
    assert report.right_1 <= report.right_2 <= report.right_default == 1.0
    assert report.auroc == 1.0
    assert (report.uncited_sentences, report.dropped_citations) == (0, 0)
    assert report.risk_coverage[-1].risk == round(2 / 6, 4)


def test_a_sample_is_the_same_each_time(squad: Path) -> None:
    """By its seed."""
    first, second = (evaluate(squad, retrieval=MEMORY, embedder=FakeEmbedder(), limit=3, seed=5) for _ in range(2))
    assert first == second
    assert first.questions == 3


def test_the_index_has_chunks_of_all_documents(squad: Path) -> None:
    """Made by the chunker that ingestion uses."""
    documents, _ = read_squad(squad)
    with index(documents, MEMORY, IngestSettings(), FakeEmbedder()).snapshot() as snapshot:
        assert snapshot.info.documents == 2
        assert snapshot.info.chunks >= 2


def test_texts_are_compared_as_squad_does() -> None:
    """Case, punctuation and articles do not count."""
    assert normalize("The  Fulmar's, a Ship!") == "fulmars ship"


def test_auroc_counts_ties_half() -> None:
    """And is a half when there is nothing to compare."""
    assert auroc([1.0, 0.5], [0.5, 0.0]) == 0.875
    assert auroc([], [1.0]) == 0.5


def test_prints_json(squad: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the shipped model, as the command line does."""
    main([str(squad), "--limit", "2"])
    assert json.loads(capsys.readouterr().out)["questions"] == 2


def test_the_fit_learns_what_the_data_says(squad: Path) -> None:
    """Both models are named and beat chance on what they were fitted on."""
    data: list[Example] = list(examples(squad, 0))
    assert {item.kind for item in data} == {"answerable", "lookalike", "foreign"}
    sentence = fit_sentences(data)
    question = fit_questions(data, sentence)
    assert tuple(sentence) == (*SENTENCE_FEATURES, "intercept")
    assert tuple(question) == (*QUESTION_FEATURES, "intercept")
    assert judge(data, sentence, question)["right_1"] == 1.0
