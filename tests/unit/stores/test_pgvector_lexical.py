"""BM25 in PostgreSQL: the scores of the memory store at every commit, whatever is merged meanwhile."""

import random
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("psycopg", reason="could not import psycopg")

import psycopg

from retrieval.analysis import analyzer
from retrieval.build import build_collections
from retrieval.errors import StoreCorrupt
from retrieval.filters import In
from retrieval.records import Hit, chunk_id
from retrieval.settings import RetrievalSettings
from retrieval.stores import postings
from retrieval.stores.pgvector import lexical, lexical_pages, lexical_tables, lexical_upkeep
from retrieval.stores.pgvector.lexical import LexicalIndex
from retrieval.stores.pgvector.lexical_pages import PageCache, PageId
from tests import postgres
from tests.corpus import replacement
from tests.fakes import FakeEmbedder

EDITION = 7
WORDS = [f"word{i}" for i in range(60)]
QUERIES = ["word0 word1", "word3", "word5 word17 word59 word5", "word40 nowhere", "nowhere", ""]
TERMS = analyzer("english").terms


@pytest.fixture
def schema(postgres_url: str) -> Iterator[str]:
    name = postgres.schema()
    with connect(postgres_url) as connection:
        connection.execute(f'CREATE SCHEMA "{name}"')
        lexical.create(connection, name, EDITION)
    yield name
    postgres.drop(postgres_url, name)


@contextmanager
def connect(url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


@contextmanager
def snapshot(url: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection that goes on seeing what is committed now."""
    with connect(url) as connection, connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        connection.execute("SELECT 1 FROM pg_class LIMIT 1")
        yield connection


class Pair:
    """The memory store and the index under test, written alike."""

    def __init__(self, url: str, schema: str) -> None:
        self.url, self.schema = url, schema
        memory = build_collections(RetrievalSettings(store="memory"))
        memory.create("c", embedder=FakeEmbedder(dimension=2).info)
        self.oracle = memory.open("c", writable=True)
        self.index = LexicalIndex(schema, EDITION, PageCache())
        self.keys: dict[str, list[int]] = {}
        self.names: dict[int, str] = {}
        self.next_key = 1

    def commit(self, texts: dict[str, Sequence[str]], gone: Sequence[str] = ()) -> None:
        """Put documents of one chunk per text, take others away, in one transaction."""
        embedder = FakeEmbedder(dimension=2)
        self.oracle.delete(gone)
        self.oracle.replace([replacement(doc_id, chunks, embedder=embedder) for doc_id, chunks in texts.items()])
        dead = [key for doc_id in [*gone, *texts] for key in self.keys.pop(doc_id, [])]
        prepared = lexical.prepare([text for doc_id in texts for text in texts[doc_id]], TERMS)
        for doc_id, chunks in texts.items():
            self.keys[doc_id] = list(range(self.next_key, self.next_key + len(chunks)))
            self.names |= {key: chunk_id(doc_id, i) for i, key in enumerate(self.keys[doc_id])}
            self.next_key += len(chunks)
        added = np.array([key for doc_id in texts for key in self.keys[doc_id]], dtype=np.int64)
        with connect(self.url) as connection, connection.transaction():
            lexical.bury(connection, self.schema, EDITION, np.array(dead, dtype=np.int64))
            lexical.add(connection, self.schema, EDITION, added, prepared)

    def sequence(self) -> int:
        with self.oracle.snapshot() as view:
            return view.info.sequence

    def expected(self, query: str, k: int, doc_ids: set[str] | None = None) -> list[Hit]:
        only = None if doc_ids is None else In("doc_id", tuple(sorted(doc_ids)))
        with self.oracle.snapshot() as view:
            return view.search_lexical(weights(query), k=k, filter=only)

    def found(
        self,
        connection: psycopg.Connection[Any],
        query: str,
        k: int,
        doc_ids: set[str] | None = None,
        sequence: int | None = None,
        index: LexicalIndex | None = None,
    ) -> list[Hit]:
        allowed = None
        if doc_ids is not None:
            allowed = np.array(sorted(key for doc_id in doc_ids for key in self.keys.get(doc_id, [])), dtype=np.int64)
        at = self.sequence() if sequence is None else sequence
        keys, scores = (index or self.index).search(connection, at, weights(query), k, allowed)
        hits = [Hit(self.names[key], float(score)) for key, score in zip(keys.tolist(), scores, strict=True)]
        return sorted(hits, key=lambda hit: (-hit.score, hit.chunk_id))[:k]

    def check(self) -> None:
        """Every query gives what the oracle gives: through an index that has followed, and through a new one."""
        some = set(list(self.keys)[::3])
        with snapshot(self.url) as connection:
            for index in (self.index, LexicalIndex(self.schema, EDITION, PageCache(limit=0))):
                for query in QUERIES:
                    for k in (2, 1000):
                        assert self.found(connection, query, k, index=index) == self.expected(query, k), query
                        assert self.found(connection, query, k, some, index=index) == self.expected(query, k, some)

    def maintain(self) -> int:
        with connect(self.url) as connection:
            return lexical_upkeep.maintain(connection, self.schema, EDITION)

    def segments(self) -> int:
        with connect(self.url) as connection:
            return len(lexical_tables.read_segments(connection, self.schema, EDITION, {})[0])

    def tombstones(self) -> int:
        with connect(self.url) as connection:
            return len(lexical_tables.read_segments(connection, self.schema, EDITION, {})[1])


@pytest.fixture
def pair(postgres_url: str, schema: str) -> Pair:
    return Pair(postgres_url, schema)


def weights(query: str) -> dict[str, float]:
    return {term: float(count) for term, count in Counter(TERMS(query)).items()}


def text(rng: random.Random) -> str:
    """Words of very different frequency; sometimes none at all."""
    return " ".join(WORDS[min(int(rng.expovariate(0.15)), 59)] for _ in range(rng.randrange(0, 40)))


def test_the_empty_index_finds_nothing(pair: Pair) -> None:
    """Before the first commit, and when its chunks have no terms."""
    pair.check()
    pair.commit({"a": ["the of"], "b": []})
    pair.check()


@pytest.mark.parametrize("seed", range(2))
def test_scores_are_the_oracles_after_each_commit(pair: Pair, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Document frequencies, lengths and ties are exact through replaces, deletes and merges, also of many pages."""
    monkeypatch.setattr(lexical_pages, "PAGE_BYTES", 64)
    monkeypatch.setattr(lexical_upkeep, "GROUP_PAGES", 4)
    monkeypatch.setattr(lexical_upkeep, "SMALL_CHUNKS", 8)
    rng, merges = random.Random(seed), 0
    for _ in range(24):
        ids = [f"d{rng.randrange(30)}" for _ in range(rng.choice([1, 1, 1, 6]))]
        gone = [f"d{rng.randrange(30)}" for _ in range(rng.randrange(3))]
        pair.commit({doc_id: [text(rng) for _ in range(rng.randrange(5))] for doc_id in ids}, gone)
        pair.check()
        merges += pair.maintain()
        pair.check()
    assert merges > 3, "otherwise nothing was tested"


def test_many_small_commits_make_few_segments(pair: Pair) -> None:
    """Two hundred commits of one document each leave a dozen segments, and the tombstones of those merged are gone."""
    for i in range(200):
        pair.commit({f"d{i % 40}": ["word1 word2", f"word{i % 60}"]})
        pair.maintain()
    assert pair.segments() <= 12
    assert pair.tombstones() <= 0.25 * 80 + 20
    pair.check()


def test_merged_pages_are_freed(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a large merge the space of the old pages is for the next ones: the server is not left to do it some day."""
    monkeypatch.setattr(lexical_upkeep, "VACUUM_CHUNKS", lexical_upkeep.SMALL_SEGMENTS)
    query = "SELECT vacuum_count FROM pg_stat_user_tables WHERE schemaname = %s AND relname = %s"
    vacuums: list[int] = []
    for i in range(lexical_upkeep.SMALL_SEGMENTS):
        pair.commit({f"d{i}": ["word1 word2"]})
        pair.maintain()
        with connect(pair.url) as connection:
            vacuums += connection.execute(query, [pair.schema, f"posting_{EDITION}"]).fetchone() or ()
    assert vacuums == [0] * (lexical_upkeep.SMALL_SEGMENTS - 1) + [1]


def test_all_dead_segments_go(pair: Pair) -> None:
    """When every document is deleted, nothing is left: no segment, no page, no tombstone."""
    pair.commit({f"d{i}": ["word1 word2"] for i in range(30)})
    pair.commit({}, [f"d{i}" for i in range(30)])
    pair.maintain()
    assert pair.segments() == pair.tombstones() == 0
    with connect(pair.url) as connection:
        assert connection.execute(f'SELECT count(*) FROM "{pair.schema}".posting_{EDITION}').fetchone() == (0,)


def test_a_chunk_that_dies_during_a_merge_stays_dead(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit between the reading and the writing of a merge is kept: its tombstone is not cleared."""
    for i in range(lexical_upkeep.SMALL_SEGMENTS):
        pair.commit({f"d{i}": ["word1 word2", "word3"]})
    whole = lexical_upkeep._replace

    def slow(*arguments: Any) -> None:
        whole(*arguments)
        pair.commit({"d3": ["word1 word1 new"]}, ["d5"])  # on another connection

    monkeypatch.setattr(lexical_upkeep, "_replace", slow)
    assert pair.maintain() == 1
    assert pair.segments() == 2
    assert pair.tombstones() == 4
    pair.check()


def test_a_snapshot_outlives_merges(pair: Pair) -> None:
    """Who began before a merge reads the old segments; an index that knows the new ones at that commit reads them."""
    for i in range(lexical_upkeep.SMALL_SEGMENTS):
        pair.commit({f"d{i}": ["word1 word2", f"word{i}"]})
    expected = {query: pair.expected(query, 10) for query in QUERIES}
    fresh = LexicalIndex(pair.schema, EDITION, PageCache(limit=0))
    with snapshot(pair.url) as before:
        assert pair.maintain() == 1
        with snapshot(pair.url) as after:
            for query in QUERIES:
                for connection in (before, after, before):
                    assert pair.found(connection, query, 10, index=fresh) == expected[query]


def test_an_old_snapshot_keeps_its_statistics(pair: Pair) -> None:
    """Two commits searched in turn through one index: each has its own document frequencies and lengths."""
    pair.commit({"a": ["word1 word2"], "b": ["word1 word1 word3"]})
    old, at = {query: pair.expected(query, 10) for query in QUERIES}, pair.sequence()
    with snapshot(pair.url) as before:
        pair.commit({"a": ["word1"], "c": ["word1 word5 word17"], "d": ["word3"]})
        with snapshot(pair.url) as after:
            for query in QUERIES:
                assert pair.found(before, query, 10, sequence=at) == old[query]
                assert pair.found(after, query, 10) == pair.expected(query, 10)


def test_a_warm_search_asks_the_server_nothing(pair: Pair) -> None:
    """What was read once is kept, until the bound is reached."""
    pair.commit({f"d{i}": [f"word{i} word1"] for i in range(20)})
    with snapshot(pair.url) as connection:
        first = pair.found(connection, "word1 word7", 5)
    assert pair.found(connection, "word1 word7", 5) == first, "the connection is closed by now"


def test_merges_by_several_processes_take_turns(pair: Pair) -> None:
    """Upkeep from four connections at once does each merge once and loses nothing."""
    for i in range(3 * lexical_upkeep.SMALL_SEGMENTS):
        pair.commit({f"d{i}": ["word1 word2", f"word{i}"]})
    merges: list[int] = []
    threads = [threading.Thread(target=lambda: merges.append(pair.maintain())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(merges) == 4
    assert sum(merges) == 1
    pair.check()


def test_upkeep_of_a_dropped_edition_is_none(pair: Pair) -> None:
    """The edition may go between a commit and its upkeep."""
    with connect(pair.url) as connection:
        lexical.drop(connection, pair.schema, EDITION)
    assert pair.maintain() == 0


def test_terms_of_another_analysis_are_not_searched(pair: Pair) -> None:
    """Rather than miss words silently, it says what to do."""
    pair.commit({"a": ["word1"]})
    with connect(pair.url) as connection:
        connection.execute(f'UPDATE "{pair.schema}".segment_{EDITION} SET analysis = 0')
        with pytest.raises(StoreCorrupt, match="footnote doctor"):
            pair.found(connection, "word1", 1)


def test_missing_pages_are_an_error(pair: Pair) -> None:
    """A damaged index does not pass for one that holds nothing."""
    pair.commit({"a": ["word1"]})
    with connect(pair.url) as connection:
        connection.execute(f'DELETE FROM "{pair.schema}".posting_{EDITION}')
        with pytest.raises(StoreCorrupt, match="footnote doctor"):
            pair.found(connection, "word1", 1)


def test_a_weight_of_zero_still_matches(pair: Pair) -> None:
    """As in the memory store, a chunk that holds a term is a hit, whatever the term weighs."""
    pair.commit({"a": ["word1"], "b": ["word2"]})
    with pair.oracle.snapshot() as view:
        expected = view.search_lexical({"word1": 0.0}, k=5)
    with snapshot(pair.url) as connection:
        keys, scores = pair.index.search(connection, pair.sequence(), {"word1": 0.0}, 5, None)
    assert [(pair.names[key], score) for key, score in zip(keys.tolist(), scores.tolist(), strict=True)] == [
        (hit.chunk_id, hit.score) for hit in expected
    ]
    assert expected


values = st.lists(st.one_of(st.integers(0, 300), st.integers(65_000, 66_000), st.integers(0, 2**32 - 1)))


@given(values, values)
def test_packing_is_reversible(first: list[int], second: list[int]) -> None:
    """Values of every size come back, also from behind others."""
    data = lexical_pages.pack(np.array(first, dtype=np.uint32)) + lexical_pages.pack(np.array(second, dtype=np.uint32))
    found, offset = lexical_pages.unpack(data, 0, len(first))
    also, end = lexical_pages.unpack(data, offset, len(second))
    assert (found.tolist(), also.tolist(), end) == (first, second, len(data))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.sampled_from(WORDS + ["often"] * 40), max_size=400), max_size=30), st.integers(0, 7))
def test_pages_hold_every_posting_once(texts: list[list[str]], bits: int) -> None:
    """Cut into any number of pages and read back, an index is what it was, and a term is in the page of its hash."""
    index = lexical.prepare([" ".join(words) for words in texts], str.split)
    pages = {page: lexical_pages.decode(data) for page, data in lexical_pages.cut(index, 1 << bits)}
    assert list(pages) == list(range(1 << bits))
    whole = lexical_pages.joined(pages.values())
    for name in ("terms", "starts", "positions", "counts"):
        assert getattr(whole, name).tolist() == getattr(index, name).tolist()
    for word in {word for words in texts for word in words}:
        term = postings.term_hash(word)
        page = pages[lexical_pages.page_of(term, 1 << bits)]
        assert page.positions[page.of(term)].tolist() == [i for i, words in enumerate(texts) if word in words]


def test_the_cache_is_bounded() -> None:
    """It keeps what was used last, and no more than its limit."""
    page = lexical_pages.decode(next(lexical_pages.cut(lexical.prepare(["a b c"] * 100, str.split), 1))[1])
    cache = PageCache(limit=10_000)
    ids = [PageId(1, 1, i) for i in range(50)]
    for page_id in ids:
        cache.put({page_id: page})
        assert cache.get(ids[:1])
    kept = cache.get(ids)
    assert ids[0] in kept
    assert ids[-1] in kept
    assert 2 <= len(kept) < 10
