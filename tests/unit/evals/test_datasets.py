"""Reading BEIR folders, good and bad ones."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from evals.datasets import Dataset, Qrel, Query, fingerprint, read_corpus, read_dataset, read_questions
from retrieval.errors import InvalidRequest

HEADER = "query-id\tcorpus-id\tscore\n"


def make(
    folder: Path,
    *,
    corpus: str = '{"_id": "d1", "title": "Pump", "text": "Prime it."}\n{"_id": "d2", "text": "Valve."}\n',
    queries: str = '{"_id": "q1", "text": "how to start?"}\n{"_id": "q2", "text": "valve"}\n',
    qrels: str = f"{HEADER}q1\td1\t2\nq1\td2\t0\nq2\td2\t1\n",
) -> Path:
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text(corpus, encoding="utf-8")
    (folder / "queries.jsonl").write_text(queries, encoding="utf-8")
    (folder / "qrels" / "test.tsv").write_text(qrels, encoding="utf-8")
    return folder


def test_a_good_folder_is_read(tmp_path: Path) -> None:
    """Queries, judgements and the size of the corpus are there, and nothing is odd."""
    dataset = read_dataset(make(tmp_path / "set"))
    assert dataset.name == "set"
    assert list(dataset.queries) == [Query("q1", "how to start?"), Query("q2", "valve")]
    assert Qrel("q1", "d2", 0) in dataset.qrels
    assert dataset.corpus.documents == 2
    assert dataset.problems == ()


def test_a_missing_title_is_empty(tmp_path: Path) -> None:
    """Titles are optional in a corpus."""
    assert [document.title for document in read_corpus(make(tmp_path / "set"))] == ["Pump", ""]


def test_a_compressed_corpus_is_read(tmp_path: Path) -> None:
    """corpus.jsonl.gz stands for corpus.jsonl, and has the same fingerprint."""
    plain = read_dataset(make(tmp_path / "plain"))
    folder = make(tmp_path / "packed")
    path = folder / "corpus.jsonl"
    (folder / "corpus.jsonl.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    assert read_dataset(folder).corpus == plain.corpus


def test_fingerprints_follow_the_content(tmp_path: Path) -> None:
    """Another corpus or another judgement has another fingerprint, and only that one changes."""

    def of(dataset: Dataset) -> str:
        return fingerprint(dataset.queries, dataset.qrels)

    first = read_dataset(make(tmp_path / "a"))
    other_corpus = read_dataset(make(tmp_path / "b", corpus='{"_id": "d1", "text": "x"}\n{"_id": "d2", "text": "y"}\n'))
    other_qrels = read_dataset(make(tmp_path / "c", qrels=f"{HEADER}q1\td1\t1\nq1\td2\t0\nq2\td2\t1\n"))
    assert first.corpus != other_corpus.corpus
    assert of(first) == of(other_corpus)
    assert first.corpus == other_qrels.corpus
    assert of(first) != of(other_qrels)


def test_a_limit_keeps_the_first_queries(tmp_path: Path) -> None:
    """Judgements of the other queries go too."""
    dataset = read_dataset(make(tmp_path / "set"), limit=1)
    assert [query.query_id for query in dataset.queries] == ["q1"]
    assert {qrel.query_id for qrel in dataset.qrels} == {"q1"}


def test_numbers_as_ids_are_text(tmp_path: Path) -> None:
    """Sets that number their documents meet their judgements."""
    folder = make(
        tmp_path / "set",
        corpus='{"_id": 1, "text": "x"}\n',
        queries='{"_id": 7, "text": "y"}\n',
        qrels=f"{HEADER}7\t1\t1\n",
    )
    assert read_dataset(folder).problems == ()


@pytest.mark.parametrize(
    ("qrels", "message"),
    [
        (f"{HEADER}q1\td1\t1\nq9\td1\t1\n", "1 judged queries are not in queries.jsonl.*'q9'"),
        (f"{HEADER}q1\td1\t1\nq1\td9\t1\n", "1 judged documents are not in the corpus.*'d9'"),
        (f"{HEADER}q1\td1\t1\nq2\td1\t0\n", "1 queries have no relevant document.*'q2'"),
    ],
)
def test_odd_judgements_are_reported(tmp_path: Path, qrels: str, message: str) -> None:
    """What explains a score is counted, with an example, and does not stop the run."""
    import re

    (problem,) = read_dataset(make(tmp_path / "set", qrels=qrels)).problems
    assert re.search(message, problem)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"corpus": '{"_id": "d1", "text": "x"}\n{"_id": '}, r"corpus\.jsonl', line 2: not valid JSON"),
        ({"corpus": '["d1"]\n'}, r"corpus\.jsonl', line 1: expected a JSON object"),
        ({"corpus": '{"text": "x"}\n'}, r"corpus\.jsonl', line 1: '_id' must be text, got None"),
        ({"corpus": '{"_id": "d1", "text": 5}\n'}, r"'text' must be text, got 5"),
        ({"corpus": '{"_id": "d1"}\n{"_id": "d1"}\n'}, "document 'd1' twice"),
        ({"corpus": ""}, "corpus is empty"),
        ({"queries": '{"_id": "q1"}\n'}, r"queries\.jsonl', line 1: 'text' must be text"),
        ({"queries": '{"_id": "q1", "text": "a"}\n' * 2}, "query 'q1' is there twice"),
        ({"qrels": f"{HEADER}q1 d1 1\n"}, r"test\.tsv', line 2: expected query-id"),
        ({"qrels": f"{HEADER}q1\td1\tmuch\n"}, r"test\.tsv', line 2: expected query-id"),
        ({"qrels": HEADER}, "no query of split 'test' has a relevant document"),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    """The error names the file, the line and what was expected."""
    with pytest.raises(InvalidRequest, match=message):
        read_dataset(make(tmp_path / "set", **changes))


@pytest.mark.parametrize("name", ["corpus.jsonl", "queries.jsonl", "qrels/test.tsv"])
def test_missing_files_are_named(tmp_path: Path, name: str) -> None:
    """Each of the three is needed."""
    folder = make(tmp_path / "set")
    (folder / name).unlink()
    with pytest.raises(InvalidRequest, match=f"{name}' is missing"):
        read_dataset(folder)


def test_missing_split_lists_the_others(tmp_path: Path) -> None:
    """The error says which splits there are."""
    with pytest.raises(InvalidRequest, match="splits that are there: test"):
        read_dataset(make(tmp_path / "set"), split="dev")


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    """A path that is no folder is named."""
    with pytest.raises(InvalidRequest, match=r"nowhere' is no folder"):
        read_dataset(tmp_path / "nowhere")


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    """Half a gzip file gives one clear error."""
    folder = make(tmp_path / "set")
    path = folder / "corpus.jsonl"
    lines = "".join(json.dumps({"_id": f"d{i}", "text": f"text {i * 7919}"}) + "\n" for i in range(2000))
    packed = gzip.compress(lines.encode())
    (folder / "corpus.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    path.unlink()
    with pytest.raises(InvalidRequest, match=r"corpus\.jsonl\.gz' cannot be read after line \d+"):
        read_dataset(folder)


def test_a_limit_below_one_is_refused(tmp_path: Path) -> None:
    """There is nothing to measure on no query."""
    with pytest.raises(InvalidRequest, match="limit = 0"):
        read_dataset(make(tmp_path / "set"), limit=0)


def test_a_document_of_the_query_id_is_left_out(tmp_path: Path) -> None:
    """Unless it is what is sought; the set says so."""
    dataset = read_dataset(
        make(
            tmp_path / "set",
            corpus='{"_id": "q1", "text": "x"}\n{"_id": "q2", "text": "y"}\n{"_id": "d1", "text": "z"}\n',
            qrels=f"{HEADER}q1\td1\t1\nq2\tq2\t1\n",
        )
    )
    assert dataset.own_documents == {"q1"}
    assert any("1 queries have a document of their id" in problem for problem in dataset.problems)


def test_lone_surrogates_are_replaced(tmp_path: Path) -> None:
    """JSON can hold them; no file, model or store can."""
    queries = '{"_id": "q1", "text": "how \\ud800?"}\n{"_id": "q2", "text": "valve"}\n'
    assert read_dataset(make(tmp_path / "set", queries=queries)).queries[0].text == "how ??"


def questions(tmp_path: Path, *lines: object) -> Path:
    path = tmp_path / "questions.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines), encoding="utf-8")
    return path


def test_questions_come_with_their_sources(tmp_path: Path) -> None:
    """An id and a relevance where they are given; an id made of the question where not."""
    path = questions(
        tmp_path,
        {"question": "When?", "sources": ["a.md", "b/c.pdf"], "query_id": "x", "relevance": 2},
        {"question": "Why?", "sources": ["a.md"], "note": "for people"},
        {"question": "Who?", "sources": []},
    )
    queries, qrels = read_questions(path)
    assert [query.text for query in queries.values()] == ["When?", "Why?", "Who?"]
    made = list(queries)[1]
    assert (queries["x"].text, len(made)) == ("When?", 12)
    assert qrels == [Qrel("x", "a.md", 2), Qrel("x", "b/c.pdf", 2), Qrel(made, "a.md", 1)]


def test_the_id_of_a_question_stays_when_others_come(tmp_path: Path) -> None:
    """So that evaluations from before can still be compared question by question."""
    why = {"question": "Why?", "sources": ["a"]}
    first, _ = read_questions(questions(tmp_path, why))
    second, _ = read_questions(questions(tmp_path, {"question": "How?", "sources": ["a"]}, why))
    assert set(first) < set(second)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"sources": ["a"]}, "line 2: 'question' must be text, got None"),
        ({"question": "Q?"}, "line 2: 'sources' must be a list of names of documents, got None"),
        ({"question": "Q?", "sources": "a"}, "'sources' must be a list"),
        ({"question": "Q?", "sources": ["a", ""]}, "'sources' must be a list"),
        ({"question": "Q?", "sources": ["a"], "relevance": True}, "'relevance' must be whole, got True"),
        ({"question": "Q?", "sources": ["a"], "relevance": 0.5}, "'relevance' must be whole"),
        ({"question": "Q?", "sources": ["a"], "query_id": ["x"]}, "'query_id' must be text"),
        ({"question": "First?", "sources": ["b"]}, "is there twice"),
        ("{", "line 2: not valid JSON"),
        ("[]", "line 2: expected a JSON object"),
    ],
)
def test_questions_that_are_none_are_refused(tmp_path: Path, line: object, message: str) -> None:
    """With the line."""
    with pytest.raises(InvalidRequest, match=message):
        read_questions(questions(tmp_path, {"question": "First?", "sources": ["a"]}, line))
