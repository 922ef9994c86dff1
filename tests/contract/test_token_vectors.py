"""Token vectors beside the chunks, and BM25 term by term, in every store."""

import dataclasses
from contextlib import closing
from typing import Any

import numpy as np
import pytest

from retrieval import bm25
from retrieval.errors import InvalidRequest
from retrieval.ports import Collections, SearchView, VectorStore
from retrieval.records import Chunking
from tests.contract.test_search import TEXTS, fill, library
from tests.corpus import replacement
from tests.fakes import FakeEmbedder

TOKENS = FakeEmbedder(token_code="fake-1")
OTHER = FakeEmbedder(96, name="other", token_code="fake-2")


@pytest.fixture
def tokens(collections: Collections) -> Any:
    """A collection whose first edition keeps token vectors."""
    collections.create("t", embedder=TOKENS.info, token_code=TOKENS.token_code)
    with closing(collections.open("t", writable=True)) as opened:
        yield opened


def blobs(store: VectorStore, *chunk_ids: str, edition: int | None = None) -> list[bytes]:
    with store.snapshot(edition=edition) as snapshot:
        return snapshot.token_vectors(chunk_ids)


def test_token_vectors_come_back_in_the_order_asked_for(tokens: VectorStore) -> None:
    """Bytes are bytes: zeros, and more than a page of them, come back as they went in."""
    long = dataclasses.replace(replacement("a", ["pump", "valve"]), token_vectors=[bytes(range(256)) * 200, b"\0"])
    tokens.replace([long, replacement("b", ["oil"], embedder=TOKENS)])
    expected = [TOKENS.embed_documents_with_tokens(["oil"])[1][0], b"\0", bytes(range(256)) * 200]
    assert blobs(tokens, "b:000000", "a:000001", "a:000000") == expected
    assert blobs(tokens) == []
    with pytest.raises(KeyError):
        blobs(tokens, "a:000000", "a:000002")


def test_an_edition_without_them_has_empty_ones(store: VectorStore) -> None:
    """Whoever reranks need not ask first; an id that is not there is an error all the same."""
    fill(store)
    assert blobs(store, "a:000000", "b:000001") == [b"", b""]
    with pytest.raises(KeyError):
        blobs(store, "nowhere:000000")
    with store.snapshot() as snapshot:
        assert snapshot.info.edition.token_code == ""
        assert list(snapshot.contents(["a"])[0].token_vectors) == []


def test_each_edition_keeps_its_own(tokens: VectorStore) -> None:
    """One in another code, one that keeps none; a switch brings those of the edition that is live then."""
    tokens.replace([replacement("a", ["pump"], embedder=TOKENS)])
    other = tokens.add_edition(embedder=OTHER.info, chunking=Chunking(50), token_code="fake-2")
    plain = tokens.add_edition(embedder=FakeEmbedder().info, chunking=Chunking(60))
    marked = dataclasses.replace(replacement("a", ["pump"], embedder=OTHER), token_vectors=[b"other"])
    assert tokens.index([marked], edition=other) == tokens.index([replacement("a", ["pump"])], edition=plain) == 1
    with tokens.snapshot() as snapshot:
        assert [one.token_code for one in snapshot.info.editions] == ["fake-1", "fake-2", ""]
    assert blobs(tokens, "a:000000", edition=1) == TOKENS.embed_documents_with_tokens(["pump"])[1]
    assert blobs(tokens, "a:000000", edition=plain) == [b""]
    tokens.switch(other)
    assert blobs(tokens, "a:000000") == [b"other"]


def test_they_go_with_their_document(tokens: VectorStore) -> None:
    """A snapshot keeps those of its commit, a later one has those of the next version, or none of a deleted one."""
    tokens.replace([replacement("a", ["pump"], embedder=TOKENS), replacement("b", ["oil"], embedder=TOKENS)])
    with tokens.snapshot() as before:
        tokens.replace([dataclasses.replace(replacement("a", ["valve"], embedder=TOKENS), token_vectors=[b"next"])])
        tokens.delete(["b"])
        assert before.token_vectors(["a:000000", "b:000000"]) == TOKENS.embed_documents_with_tokens(["pump", "oil"])[1]
    assert blobs(tokens, "a:000000") == [b"next"]
    with pytest.raises(KeyError):
        blobs(tokens, "b:000000")


def test_contents_carry_them(tokens: VectorStore) -> None:
    """What a copy takes from one store is what another one accepts."""
    tokens.replace([replacement("a", ["pump", "oil"], embedder=TOKENS), replacement("e", [], embedder=TOKENS)])
    with tokens.snapshot() as snapshot:
        first, empty = snapshot.contents(["a", "e"])
    assert list(first.token_vectors) == TOKENS.embed_documents_with_tokens(["pump", "oil"])[1]
    assert list(empty.token_vectors) == []
    tokens.replace([first, empty])
    assert blobs(tokens, "a:000001") == [first.token_vectors[1]]


@pytest.mark.parametrize(
    ("given", "message"),
    [([], "0 token vectors for 1 chunks"), ([b"x", b"y"], "2 token vectors for 1 chunks"), ([b""], "are empty")],
)
def test_what_does_not_fit_the_edition_is_refused(tokens: VectorStore, given: list[bytes], message: str) -> None:
    """As many as there are chunks, and none of them empty: else nothing is written."""
    wrong = dataclasses.replace(replacement("a", ["pump"]), token_vectors=given)
    edition = tokens.add_edition(embedder=TOKENS.info, chunking=Chunking(50), token_code="fake-1")
    for write in (lambda: tokens.replace([wrong]), lambda: tokens.index([wrong], edition=edition)):
        with pytest.raises(InvalidRequest, match=message):
            write()
    with tokens.snapshot() as snapshot:
        assert snapshot.info.documents == 0


def test_an_edition_that_keeps_none_takes_none(store: VectorStore) -> None:
    """They would be of no use, and in no code."""
    with pytest.raises(InvalidRequest, match="keeps none"):
        store.replace([replacement("a", ["pump"], embedder=TOKENS)])


def test_purge_leaves_nothing_of_them(collections: Collections, tokens: VectorStore) -> None:
    """Neither of a deleted document nor of a dropped edition."""
    secrets = [b"turquoise salamander " * 200, b"turquoise newt " * 300]
    for blob, edition in zip(secrets, (1, 2), strict=True):
        if edition == 2:
            tokens.add_edition(embedder=TOKENS.info, chunking=Chunking(50), token_code="fake-1")
        made = [dataclasses.replace(replacement("a", ["pump"]), token_vectors=[blob])]
        tokens.replace(made) if edition == 1 else tokens.index(made, edition=2)
    with closing(collections.keeper("t")) as keeper:
        assert all(keeper.traces([blob[:21]]) for blob in secrets)
        tokens.drop_edition(2)
        tokens.delete(["a"])
        keeper.purge()
        assert [keeper.traces([blob[:21]]) for blob in secrets] == [[], []]
        assert list(keeper.check()) == []


def scores(view: SearchView, terms: dict[str, float]) -> dict[str, float]:
    """What a lexical search finds, by `term_scores`."""
    ids = [f"{doc_id}:{i:06d}" for doc_id, texts in TEXTS.items() for i in range(len(texts))]
    found = view.term_scores(terms, ids).scores.sum(axis=1)
    return {one: round(score, 6) for one, score in zip(ids, found.tolist(), strict=True) if score}


def test_term_scores_add_up_to_the_lexical_score(store: VectorStore) -> None:
    """Weights included; chunks that a search would not find get nothing."""
    fill(store)
    terms = {"pump": 1.0, "the": 0.25, "clean": 2.0, "p-1043": 1.0, "zzz": 1.0}
    with store.snapshot() as snapshot:
        hits = snapshot.search_lexical(terms, k=100)
        assert len(hits) > 3
        assert scores(snapshot, terms) == {hit.chunk_id: hit.score for hit in hits}


def test_term_scores_tell_how_rare_a_term_is(store: VectorStore) -> None:
    """Over all chunks of the edition that live, whatever is asked for; a term of no chunk is the rarest."""
    fill(store)
    store.delete(["d"])
    with store.snapshot() as snapshot:
        found = snapshot.term_scores({"pump": 1.0, "zzz": 3.0, "filter": 1.0}, ["a:000001", "b:000000", "a:000001"])
    assert found.terms == ("filter", "pump", "zzz")
    assert found.chunks.tolist() == [1, 4, 0]
    np.testing.assert_allclose(found.idf, [bm25.idf(8, 1), bm25.idf(8, 4), bm25.idf(8, 0)])
    assert (found.scores > 0).tolist() == [[True, True, False], [False, False, False], [True, True, False]]


def test_term_scores_of_nothing(store: VectorStore) -> None:
    """No terms, no chunks, or neither: the shapes say so. An unknown id is an error."""
    fill(store)
    with store.snapshot() as snapshot:
        assert snapshot.term_scores({}, ["a:000000"]).scores.shape == (1, 0)
        assert snapshot.term_scores({"pump": 1.0}, []).scores.shape == (0, 1)
        assert snapshot.term_scores({"pump": 1.0}, []).chunks.tolist() == [6]
        for missing in ("nowhere:000000", "a:000099"):
            with pytest.raises(KeyError):
                snapshot.term_scores({"pump": 1.0}, ["a:000000", missing])


@pytest.mark.parametrize("kind", ["faiss", "pgvector"], indirect=True)
def test_term_scores_are_those_of_the_oracle(store: VectorStore, oracle: VectorStore) -> None:
    """Over many chunks, some of which were replaced and deleted since."""
    documents, queries = library()
    for each in (store, oracle):
        each.replace(documents)
        each.replace(documents[40:90])
        each.delete([one.document.doc_id for one in documents[:20]])
    ids = [chunk.chunk_id for one in reversed(documents[20:]) for chunk in one.chunks]
    with store.snapshot() as mine, oracle.snapshot() as theirs:
        for query in queries:
            terms = {term: 1.0 + i / 7 for i, term in enumerate(query.split())}
            actual, expected = mine.term_scores(terms, ids), theirs.term_scores(terms, ids)
            assert actual.terms == expected.terms
            np.testing.assert_array_equal(actual.chunks, expected.chunks)
            np.testing.assert_allclose(actual.idf, expected.idf, rtol=1e-12)
            np.testing.assert_allclose(actual.scores, expected.scores, rtol=1e-12)
