"""Why a document is not among the results: each of the reasons, told truly."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from retrieval import clauses, filters
from retrieval.build import build_collections, build_embedders
from retrieval.errors import InvalidQuery, UnknownField
from retrieval.explanation import CandidateTrace, StageScore
from retrieval.inquiry import Inquiry, Step, absent, inquire
from retrieval.ports import SearchView, Vectors, VectorStore
from retrieval.records import DocumentInfo, Hit
from retrieval.retriever import Retriever
from retrieval.settings import RetrievalSettings
from retrieval.wording import sentences
from tests.corpus import replacement, source_of
from tests.fakes import FakeEmbedder

TEXTS: Mapping[str, list[str]] = {
    "manual": ["Start the pump at 40 bar.", "Clean the filter every week.", "Order part P-1043 from the depot."],
    "the-copy": ["Start the pump at 40 bar."],
    "policy": ["Employees have 27 days of leave.", "Leave is asked for in writing."],
    "pumps": ["A pump and a pump and a valve.", "The pump stands still.", "The blue pump is a spare one."],
    "recipe": ["Whisk eggs, sugar and flour."],
}


@pytest.fixture
def store() -> Iterator[VectorStore]:
    collections = build_collections(RetrievalSettings(store="memory"))
    collections.create("c", embedder=FakeEmbedder().info)
    opened = collections.open("c", writable=True)
    opened.replace([replacement(doc_id, texts, {"kind": doc_id, "year": 2020}) for doc_id, texts in TEXTS.items()])
    yield opened
    opened.close()


def asked(store: VectorStore, query: str, doc_id: str, k: int = 2, filter: Any = None, **settings: Any) -> Inquiry:
    """What `inquire` says, by the settings given."""
    embedders = build_embedders(RetrievalSettings(), FakeEmbedder())
    retriever = Retriever(store, embedders, RetrievalSettings(**settings))
    with store.snapshot() as snapshot:
        document = snapshot.document(doc_id).info
        node = None if filter is None else filters.parse(filter)
        return inquire(retriever, snapshot, query, document, k=k, filter=node)


def test_a_result_says_which_it_is(store: VectorStore) -> None:
    """With nothing that it would have to outrank."""
    found = asked(store, "start the pump at 40 bar", "manual")
    assert found.verdict == "result"
    assert found.sentences[0].startswith("It is result 1 of 2, by its chunk manual:000000")
    assert found.last is None
    assert found.chunk is not None
    assert found.chunk.rank == 1


def test_an_outranked_document_is_held_against_the_last_result(store: VectorStore) -> None:
    """Stage by stage, with the numbers of both in the explanation of the search itself."""
    found = asked(store, "pump at 40 bar", "policy", k=2)
    assert found.verdict == "outranked"
    assert found.chunk is not None
    assert found.last is not None
    assert found.chunk.removed_by == "k"
    assert found.last.rank == 2
    assert (found.chunk.score or 0.0) < (found.last.score or 0.0)
    told = {step.stage: (step.rank, step.score) for step in found.steps if step.rank}
    assert told == {one.stage: (one.rank, one.score) for one in found.chunk.stages}
    against = {step.stage: (step.last_rank, step.last_score) for step in found.steps if step.last_rank}
    assert against == {one.stage: (one.rank, one.score) for one in found.last.stages}


@pytest.mark.parametrize(
    ("ranks", "said"),
    [
        ({"lexical": 2, "dense": 40, "fused": 9}, "By the lexical search it was number 2; fusion moved it to 9."),
        ({"dense": 9, "fused": 3, "blended": 4}, "By fusion it was number 3; the blend with late interaction and "
         "titles moved it to 4."),
        ({"dense": 1, "fused": 1, "reranked": 8}, "By fusion it was number 1; the reranker moved it to 8."),
        ({"lexical": 7, "dense": 5, "fused": 4}, "No stage had it among the first 3; best was fusion: number 4."),
        ({"lexical": 4, "dense": 5, "fused": 6}, "No stage had it among the first 3; best was the lexical search: "
         "number 4."),
    ],
)  # fmt: skip
def test_the_stage_that_moved_it_down_is_named(ranks: Mapping[str, int], said: str) -> None:
    """The first one that put it behind the results; else the one that came nearest to having it there."""
    stages = tuple(StageScore(stage, rank, 1.0 / rank) for stage, rank in ranks.items())
    chunk = CandidateTrace("a:000000", "a", None, 0.25, stages, removed_by="k")
    last = CandidateTrace("b:000000", "b", 3, 0.75, ())
    steps = tuple(Step(one.stage, one.rank, one.score, None, None) for one in stages)
    told = sentences(Inquiry("q", 3, "outranked", (), chunk=chunk, last=last, steps=steps), "outranked", 3)
    number = [*ranks.values()][-1]
    assert told == (
        f"It is a candidate, but its best chunk a:000000 is number {number}; it has 0.250 where result 3 has 0.750.",
        said,
    )


def test_a_duplicate_is_said_to_be_one(store: VectorStore) -> None:
    """With what it repeats."""
    found = asked(store, "start the pump at 40 bar", "the-copy", k=2)
    assert found.verdict == "removed"
    assert "retrieval.deduplicate" in found.sentences[0]
    assert "the same text as manual:000000" in found.sentences[0]


def test_no_candidate_is_compared_with_the_last_one_of_each_search(store: VectorStore) -> None:
    """By exact scores, with the rank that a deeper search finds, and the terms that it lacks."""
    found = asked(store, "blue pump", "manual", k=1, candidates=1)
    assert found.verdict == "no-candidate"
    searches = {search.stage: search for search in found.searches}
    assert searches.keys() == {"lexical", "dense"}
    with store.snapshot() as snapshot:
        ranked = snapshot.search_dense(FakeEmbedder().embed_queries(["blue pump"])[0], k=100)
        place = next(n for n, hit in enumerate(ranked, start=1) if hit.chunk_id == searches["dense"].chunk_id)
        assert (searches["dense"].rank, searches["dense"].score) == (place, ranked[place - 1].score)
        assert searches["dense"].last_score == ranked[0].score
        hits = snapshot.search_lexical({"blue": 1.0, "pump": 1.0}, k=100)
        mine = next(n for n, hit in enumerate(hits, start=1) if hit.chunk_id == "manual:000000")
    assert (searches["lexical"].rank, searches["lexical"].score) == (mine, hits[mine - 1].score)
    assert not searches["dense"].missed
    terms = {term.term: term for term in found.terms}
    assert terms["blue"].adds == 0.0
    assert terms["pump"].adds > 0.0
    assert found.last is not None
    assert {name: term.last_adds for name, term in terms.items() if term.last_adds} == dict(found.last.terms)
    assert any("does not hold 'blue' (idf" in sentence for sentence in found.sentences)


def test_none_of_the_terms_is_said(store: VectorStore) -> None:
    """Lexical search has no rank to give to what it cannot find."""
    found = asked(store, "pump", "recipe", k=1, candidates=1)
    assert "Lexical search cannot find it: it holds no term of the query." in found.sentences
    assert next(search for search in found.searches if search.stage == "lexical").rank is None


@pytest.mark.parametrize("mode", ["dense", "lexical"])
def test_one_search_alone_has_its_inquiries(store: VectorStore, mode: str) -> None:
    """Of that search; the terms are those of the chunk that it likes best."""
    found = asked(store, "blue pump", "manual", k=1, candidates=1, mode=mode)
    assert found.verdict == "no-candidate"
    assert [search.stage for search in found.searches] == [mode]
    assert {term.term: term.adds > 0.0 for term in found.terms} == {"blue": False, "pump": True}


@pytest.mark.parametrize(
    ("given", "text", "values"),
    [
        ({"kind": "policy"}, '{"kind": "policy"}', {"kind": ("manual",)}),
        ({"year": {"$gte": 2020}, "kind": {"$ne": "manual"}}, '{"kind": {"$ne": "manual"}}', {"kind": ("manual",)}),
        ({"$or": [{"kind": "x"}, {"year": 1}]}, '{"$or": [{"kind": "x"}, {"year": 1}]}',
         {"kind": ("manual",), "year": (2020,)}),
        ({"absent": {"$exists": True}}, '{"absent": {"$exists": true}}', {"absent": ()}),
        ({"kind": {"$nin": ["manual", "x"]}}, '{"kind": {"$nin": ["manual", "x"]}}', {"kind": ("manual",)}),
    ],
)  # fmt: skip
def test_the_clause_that_keeps_it_out_is_named(
    store: VectorStore, given: Any, text: str, values: Mapping[str, tuple[Any, ...]]
) -> None:
    """As it was written, with what the document has; and where it would be without the filter."""
    found = asked(store, "start the pump", "manual", filter=given)
    assert found.verdict == "filtered"
    assert [(clause.text, dict(clause.values)) for clause in found.clauses] == [(text, values)]
    assert found.sentences[1].startswith("Without the filter, it is result 1 of 2")


def test_a_filter_that_it_passes_stays_on(store: VectorStore) -> None:
    """Ranks count what passes only."""
    found = asked(store, "pump", "recipe", filter={"kind": {"$in": ["recipe", "policy"]}}, k=5)
    assert found.verdict == "result"
    assert found.clauses == ()


def test_refusals_of_a_filter_agree_with_the_filter(store: VectorStore) -> None:
    """A document passes exactly when no clause refuses it, and each clause refuses it by itself."""
    document = DocumentInfo("d", "v", "file:///d", "D", "text/plain", 1, metadata={"tags": ("a", "b"), "n": 3})
    parts: list[Any] = [
        {"tags": "a"}, {"tags": {"$ne": "b"}}, {"n": {"$gt": 2}}, {"n": {"$lt": 2}}, {"no": {"$exists": False}},
        {"$not": {"n": 3}}, {"n": {"$not": {"$gt": 2}}}, {"$or": [{"n": 1}, {"tags": "a"}]}, {}, {"$and": [{"n": 4}]},
        {"n": {"$gt": 1, "$lt": 3}}, {"$not": {"$or": [{"n": 3}, {"n": 4}]}},
    ]  # fmt: skip
    for first in parts:
        for second in parts:
            node = filters.parse({"$and": [first, second]})
            refused = clauses.refusing(node, document)
            assert bool(refused) != filters.matches(node, document)
            assert filters.parse(clauses.as_json(node)) == node
            assert all(clause.text != "{}" for clause in refused)


def test_an_old_version_is_said_to_be_one(store: VectorStore) -> None:
    """When the ledger knows that the source could not be ingested since."""
    embedders = build_embedders(RetrievalSettings(), FakeEmbedder())
    retriever = Retriever(store, embedders, RetrievalSettings())
    line = source_of("manual", status="failed", error="damaged: no end of file")
    with store.snapshot() as snapshot:
        document = snapshot.document("manual").info
        found = inquire(retriever, snapshot, "pump", document, source=line, k=2)
    assert found.sentences[0].startswith("What is searched is an older version")
    assert "damaged: no end of file" in found.sentences[0]


@pytest.mark.parametrize(
    ("status", "verdict", "said"),
    [
        ("deleted", "deleted", "deleted on purpose on 2026-11-02: asked for; a sync does not bring it back"),
        ("failed", "not-ingested", "It was not ingested on 2026-11-02: asked for"),
        ("unsupported", "not-ingested", "no loader reads such files"),
        ("needs-ocr", "not-ingested", "need text recognition"),
        ("ingested", "not-ingested", "`footnote doctor` tells more"),
    ],
)
def test_what_is_no_document_has_its_reason(status: Any, verdict: str, said: str) -> None:
    """From the ledger's line."""
    line = source_of("x", status=status, error="asked for", recorded_at="2026-11-02T10:00:00+00:00")
    found = absent("pump", line, k=3)
    assert found.verdict == verdict
    assert said in found.sentences[0]


def test_what_an_approximate_search_missed_is_said(store: VectorStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A better cosine than the last candidate's, and no candidate."""
    with store.snapshot() as snapshot:
        view = type(snapshot)
    search = view.search_dense

    def forgetful(self: SearchView, vector: Vectors, *, k: int, filter: Any = None) -> list[Hit]:
        found = search(self, vector, k=k + 3, filter=filter)
        return [hit for hit in found if not hit.chunk_id.startswith("pumps")][:k]

    monkeypatch.setattr(view, "search_dense", forgetful)
    found = asked(store, "the blue pump is a spare one", "pumps", k=1, mode="dense", candidates=2)
    assert found.verdict == "no-candidate"
    assert found.searches[0].missed
    assert any("did not come across it" in sentence for sentence in found.sentences)


def test_impossible_questions_are_refused(store: VectorStore) -> None:
    """As the search itself refuses them."""
    with pytest.raises(InvalidQuery, match="empty"):
        asked(store, " ", "manual")
    with pytest.raises(InvalidQuery, match="k = 0"):
        asked(store, "pump", "manual", k=0)
    with pytest.raises(UnknownField, match="'knid'"):
        asked(store, "pump", "manual", filter={"knid": "x"})


def test_a_document_without_chunks_cannot_be_found(store: VectorStore) -> None:
    """Nothing to rank, and it says so."""
    made = replacement("hollow", ["x"])
    store.replace([replace(made, chunks=[], vectors=made.vectors[:0])])
    found = asked(store, "pump", "hollow")
    assert found.verdict == "no-chunks"
    assert "no chunk of it" in found.sentences[0]
