"""A suite over a user's own collection: names of documents, scores of two editions, what is refused."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from evals.metrics import METRICS, Scores
from evals.suite import METRIC, Suite, as_json, compare, evaluate, measure, read_suite
from ingest.sources import doc_id_for, uri_for
from retrieval.build import build_collections, build_embedders, build_retriever
from retrieval.errors import InvalidRequest
from retrieval.ports import Replacement, VectorStore
from retrieval.records import Chunk, Chunking, Document, chunk_id
from retrieval.settings import RetrievalSettings
from tests.fakes import FakeEmbedder

MEMORY = RetrievalSettings(store="memory", feedback_weight=0.0)
TEXTS = {
    "file:///srv/papers/pumps.md": "The pump starts at 40 bar.",
    "file:///srv/papers/valves.md": "The valve opens at noon.",
    "file:///srv/papers/old/valves.md": "The former valve opened at midnight.",
    "file:///srv/papers/M%C3%BCde%20Pumpen.md": "A tired pump is oiled in autumn.",
    "https://example.org/crane?page=1": "The crane lifts twelve tonnes.",
}
Write = Callable[..., Path]


def made(uri: str, text: str) -> Replacement:
    document = Document(doc_id_for(uri), uri, "", "text/plain", text)
    chunk = Chunk(chunk_id(document.doc_id, 0), document.doc_id, document.version, 0, 0, len(text), text)
    return Replacement(document, [chunk], FakeEmbedder().embed_documents([text]))


@pytest.fixture
def store() -> VectorStore:
    collections = build_collections(MEMORY)
    collections.create("c", embedder=FakeEmbedder().info)
    opened = collections.open("c", writable=True)
    opened.replace([made(uri, text) for uri, text in TEXTS.items()])
    return opened


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a suite folder: queries by id, judgements as (query, document, relevance)."""

    def make(queries: Mapping[str, str], *judgements: tuple[str, str, int]) -> Path:
        (tmp_path / "qrels").mkdir()
        lines = [json.dumps({"_id": query_id, "text": text}) for query_id, text in queries.items()]
        (tmp_path / "queries.jsonl").write_text("\n".join(lines))
        rows = ["query-id\tcorpus-id\tscore", *("\t".join(map(str, row)) for row in judgements)]
        (tmp_path / "qrels" / "test.tsv").write_text("\n".join(rows))
        return tmp_path

    return make


def read(store: VectorStore, folder: Path) -> Suite:
    with store.snapshot() as snapshot:
        return read_suite(folder, snapshot)


@pytest.mark.parametrize(
    ("name", "uri"),
    [
        (doc_id_for("file:///srv/papers/pumps.md"), "file:///srv/papers/pumps.md"),
        ("file:///srv/papers/pumps.md", "file:///srv/papers/pumps.md"),
        ("/srv/papers/valves.md", "file:///srv/papers/valves.md"),
        ("pumps.md", "file:///srv/papers/pumps.md"),
        ("./papers/pumps.md", "file:///srv/papers/pumps.md"),
        ("old/valves.md", "file:///srv/papers/old/valves.md"),
        ("Müde Pumpen.md", "file:///srv/papers/M%C3%BCde%20Pumpen.md"),
        ("https://example.org/crane?page=1", "https://example.org/crane?page=1"),
    ],
)
def test_documents_are_named_as_people_know_them(store: VectorStore, write: Write, name: str, uri: str) -> None:
    """By id, URI, path, or as much of its end as is unique."""
    suite = read(store, write({"q": "pump"}, ("q", name, 1)))
    assert [qrel.doc_id for qrel in suite.qrels] == [doc_id_for(uri)]


def test_a_path_is_taken_from_the_working_directory_first(
    store: VectorStore, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `footnote delete` takes it, even where the file name alone would be ambiguous."""
    monkeypatch.chdir(tmp_path)
    uri = uri_for("valves.md")
    store.replace([made(uri, "Another valve.")])
    suite = read(store, write({"q": "valve"}, ("q", "valves.md", 1)))
    assert suite.qrels[0].doc_id == doc_id_for(uri)


def test_names_of_no_document_are_an_error(store: VectorStore, write: Write) -> None:
    """Each is listed; a name of several documents says so; what is not relevant anyway need not be there."""
    folder = write({"q": "pump"}, ("q", "nowhere.md", 1), ("q", "valves.md", 2), ("q", "gone.md", 0), ("q", "ps.md", 1))
    with pytest.raises(InvalidRequest) as caught:
        read(store, folder)
    assert "'nowhere.md'" in str(caught.value)
    assert "'ps.md'" in str(caught.value)  # the end of a name is no name
    assert "'valves.md' (names 2 documents" in str(caught.value)
    assert "gone.md" not in str(caught.value)


@pytest.mark.parametrize(
    ("queries", "judgements", "message"),
    [
        ({"q": "pump"}, [("q", "pumps.md", 0)], "no query has a relevant document"),
        ({"q": "pump"}, [("q", "pumps.md", 1), ("p", "pumps.md", 1)], "1 queries that are not in queries.jsonl.*'p'"),
        ({"q": " "}, [("q", "pumps.md", 1)], "query 'q': the query is empty"),
        ({"q": "x" * 20_000}, [("q", "pumps.md", 1)], "query 'q': the query has 20,000 characters"),
    ],
)
def test_a_suite_that_cannot_be_measured_is_refused(
    store: VectorStore, write: Write, queries: dict[str, str], judgements: list[tuple[str, str, int]], message: str
) -> None:
    """Before anything is embedded, with the reason."""
    with pytest.raises(InvalidRequest, match=message):
        read(store, write(queries, *judgements))


def test_a_folder_that_is_none_is_refused(store: VectorStore, tmp_path: Path) -> None:
    """Nothing there, or no judgements."""
    with pytest.raises(InvalidRequest, match="is no folder"):
        read(store, tmp_path / "missing")
    with pytest.raises(InvalidRequest, match=r"queries\.jsonl.*is missing"):
        read(store, tmp_path)


def test_editions_are_measured_apart(store: VectorStore, write: Write) -> None:
    """Through the edition of the snapshot: one has the right vectors and texts, the other those of another document."""
    folder = write({"q1": "pump starts bar", "q2": "crane tonnes", "x": "?"}, ("q1", "pumps.md", 1), ("q2", "crane", 2))
    suite = read(store, folder)
    assert (len(suite.queries), suite.left_out) == (2, 1)
    edition = store.add_edition(embedder=FakeEmbedder(name="worse").info, chunking=Chunking(chunk_tokens=8))
    with store.snapshot() as snapshot:
        found = snapshot.contents([info.doc_id for info in snapshot.documents()])
    junk = FakeEmbedder().embed_documents(["unrelated words"])
    worse = [Replacement(one.document, [], junk[:0]) if "pump starts" in one.document.text else one for one in found]
    store.index(worse, edition=edition)
    retriever = build_retriever(store, build_embedders(MEMORY, FakeEmbedder()), MEMORY)
    lexical = MEMORY.model_copy(update={"mode": "lexical"})
    other = build_retriever(store, build_embedders(lexical, FakeEmbedder(name="worse")), lexical)
    with store.snapshot() as live, store.snapshot(edition=edition) as second:
        before, after = measure(suite, retriever, live), measure(suite, other, second)
    assert (before.mean[METRIC], after.mean[METRIC]) == (1.0, 0.5)
    assert (after.per_query["q1"][METRIC], after.per_query["q2"][METRIC]) == (0.0, 1.0)
    comparison = compare(before, after)
    assert (comparison.former, comparison.new, comparison.difference) == (100.0, 50.0, -50.0)
    assert (comparison.queries, comparison.better, comparison.worse) == (2, 0, 1)
    assert as_json(after, suite)["queries"] == 2


def test_a_document_named_twice_is_judged_once(store: VectorStore, write: Write) -> None:
    """By its higher relevance."""
    suite = read(store, write({"q": "pump"}, ("q", "pumps.md", 1), ("q", "/srv/papers/pumps.md", 3)))
    assert [(qrel.query_id, qrel.relevance) for qrel in suite.qrels] == [("q", 3)]


def scores(values: list[float]) -> Scores:
    each = {f"q{i}": dict.fromkeys(METRICS, value) for i, value in enumerate(values)}
    return Scores(dict.fromkeys(METRICS, float(np.mean(values))), each)


def test_the_p_value_is_that_of_the_randomisation_test() -> None:
    """Six questions that all lose: of 64 ways to swap, two are as extreme; no difference is none by chance."""
    assert compare(scores([1.0] * 6), scores([0.5] * 6)).p_value == pytest.approx(2 / 64)
    assert compare(scores([1.0, 0.0]), scores([0.0, 1.0])).p_value == 1.0
    assert compare(scores([0.3] * 5), scores([0.3] * 5)).p_value == 1.0
    assert compare(scores([0.3]), scores([0.9])).p_value == 1.0


def test_many_questions_give_the_same_p_value_each_time() -> None:
    """Drawn with a fixed seed; clear differences are told from noise."""
    rng = np.random.default_rng(3)
    before = rng.uniform(0.2, 0.8, 300)
    noise = scores([*(before + rng.normal(0, 0.1, 300))])
    loss = scores([*(before - 0.05)])
    first, second = (compare(scores([*before]), noise).p_value for _ in range(2))
    assert first == second
    assert first > 0.01
    assert compare(scores([*before]), loss).p_value < 0.001


def test_a_suite_can_be_one_file_of_questions(store: VectorStore, tmp_path: Path) -> None:
    """With names of documents as in a folder; names of none are an error as there."""
    path = tmp_path / "questions.jsonl"
    path.write_text('{"question": "When does the pump start?", "sources": ["pumps.md"], "query_id": "p"}\n')
    suite = read(store, path)
    assert [(qrel.query_id, qrel.doc_id) for qrel in suite.qrels] == [("p", doc_id_for("file:///srv/papers/pumps.md"))]
    path.write_text('{"question": "When?", "sources": ["nowhere.md"]}\n')
    with pytest.raises(InvalidRequest, match=r"'nowhere\.md'"):
        read(store, path)


def test_an_evaluation_says_on_which_documents(store: VectorStore, write: Write) -> None:
    """The fingerprint of the corpus follows the documents' text and stays while they stay."""
    suite = read(store, write({"q": "pump"}, ("q", "pumps.md", 1)))
    retriever = build_retriever(store, build_embedders(MEMORY, FakeEmbedder()), MEMORY)

    def fingerprint() -> str:
        with store.snapshot() as snapshot:
            return evaluate(suite, retriever, snapshot).corpus_sha256

    before = fingerprint()
    assert fingerprint() == before
    store.replace([made("file:///srv/papers/valves.md", "The valve opens at one.")])
    assert fingerprint() != before
