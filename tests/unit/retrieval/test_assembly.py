"""What a model is shown: exact spans, a budget, an order; for any chunks of any documents."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest import chunking
from retrieval.assembly import Assembly, Expansion, Order, assemble
from retrieval.build import build_collections
from retrieval.ports import Replacement, Snapshot
from retrieval.records import Chunk, Chunking, Document, Element, ScoredChunk
from retrieval.settings import RetrievalSettings
from tests.fakes import FakeEmbedder, WordTokenizer

EMBEDDER = FakeEmbedder(16)
TOKENIZER = WordTokenizer()


def _document(doc_id: str, sections: Sequence[tuple[str, Sequence[str]]]) -> Document:
    """Headings, each with its paragraphs; a page to every section."""
    text, elements, pages = "", [], []
    for heading, paragraphs in sections:
        pages.append(len(text))
        for i, part in enumerate([heading, *paragraphs]):
            kind, level = ("paragraph", None) if i else ("heading", 1)
            elements.append(Element(kind, len(text), len(text) + len(part), (heading,), level))  # type: ignore[arg-type]
            text += part + "\n\n"
    return Document(doc_id, f"file:///{doc_id}", doc_id, "text/plain", text, tuple(elements), tuple(pages))


@contextmanager
def _stored(documents: Sequence[Document], chunking_: Chunking) -> Iterator[tuple[Snapshot, list[ScoredChunk]]]:
    """A snapshot of the documents, and all of their chunks in reading order."""
    collections = build_collections(RetrievalSettings(store="memory"))
    collections.create("made", embedder=EMBEDDER.info)
    store = collections.open("made", writable=True)
    everything: list[ScoredChunk] = []
    for document in documents:
        chunks = chunking.split(document, tokenizer=TOKENIZER, window=256, settings=chunking_)
        store.replace([Replacement(document, chunks, EMBEDDER.embed_documents([c.indexed_text for c in chunks]))])
        everything += [ScoredChunk(chunk, document.info, 0.0) for chunk in chunks]
    with store.snapshot() as snapshot:
        yield snapshot, everything


SMALL = Chunking(chunk_tokens=16, context_tokens=8)
SECTIONS = [
    ("Leave", [f"Rule {i} of leave says that employees have so many days of it." for i in range(6)]),
    ("Fees", [f"Fee {i} is paid at the gate by all who come late to the pier." for i in range(4)]),
]


def _assemble(snapshot: Snapshot, chunks: Sequence[ScoredChunk], **options: object) -> Assembly:
    chosen = {"budget_tokens": 10_000, "tokenizer": TOKENIZER, **options}
    return assemble(chunks, snapshot, **chosen)  # type: ignore[arg-type]


def _spans(assembly: Assembly) -> list[tuple[int, int]]:
    return [(passage.chunk.start, passage.chunk.end) for passage in assembly.passages]


def test_chunks_that_follow_each_other_are_one_passage() -> None:
    """With the rank of the best of them, whatever order they were found in; white space between them included."""
    with _stored([_document("d", SECTIONS)], SMALL) as (snapshot, chunks):
        found = [chunks[2], chunks[4], chunks[0], chunks[3]]
        first, second = _assemble(snapshot, found).passages
    assert (first.chunk.start, first.chunk.end) == (chunks[2].chunk.start, chunks[4].chunk.end)
    assert first.chunk.chunk_id == chunks[2].chunk.chunk_id
    assert second == chunks[0]


def test_a_chunk_between_two_passages_joins_them() -> None:
    """They become one, in the place of the better one."""
    with _stored([_document("d", SECTIONS)], SMALL) as (snapshot, chunks):
        (passage,) = _assemble(snapshot, [chunks[0], chunks[2], chunks[1]]).passages
    assert (passage.chunk.start, passage.chunk.end) == (chunks[0].chunk.start, chunks[2].chunk.end)


def test_sections_and_documents_are_kept_apart() -> None:
    """A passage stands under one heading path, which is the one that is shown above it."""
    documents = [_document("d", SECTIONS), _document("e", SECTIONS)]
    with _stored(documents, SMALL) as (snapshot, chunks):
        assembly = _assemble(snapshot, chunks)
    assert [(p.chunk.doc_id, p.chunk.headings, p.chunk.page) for p in assembly.passages] == [
        (doc_id, (heading,), page) for doc_id in "de" for page, (heading, _) in enumerate(SECTIONS, start=1)
    ]


def test_overlapping_chunks_are_shown_once() -> None:
    """What two chunks repeat is in the passage one time."""
    overlapping = Chunking(chunk_tokens=24, context_tokens=8, overlap_tokens=10)
    text = " ".join(f"word{i}" for i in range(80)) + "."
    document = Document("d", "file:///d", "d", "text/plain", text, (Element("paragraph", 0, len(text)),))
    with _stored([document], overlapping) as (snapshot, chunks):
        (passage,) = _assemble(snapshot, chunks[::-1]).passages
    assert passage.chunk.text == text
    assert len({chunk.chunk.chunk_id for chunk in chunks}) > 3


def test_a_citation_of_a_passage_finds_its_chunk() -> None:
    """Each offset belongs to the chunk that holds it."""
    with _stored([_document("d", SECTIONS)], SMALL) as (snapshot, chunks):
        assembly = _assemble(snapshot, chunks[:4])
    (passage,) = assembly.passages
    for scored in chunks[:4]:
        found = {assembly.chunk_at(passage.chunk.chunk_id, i) for i in range(scored.chunk.start, scored.chunk.end)}
        assert found == {scored.chunk.chunk_id}
    assert assembly.chunk_at("unknown:000000", 3) == "unknown:000000"


def test_merging_can_be_switched_off() -> None:
    """Then chunks are shown as they were found."""
    with _stored([_document("d", SECTIONS)], SMALL) as (snapshot, chunks):
        assert _assemble(snapshot, chunks, merge=False).passages == tuple(chunks)


@pytest.mark.parametrize(("expand", "expected"), [("none", (2, 2)), ("neighbours", (1, 3)), ("section", (0, 5))])
def test_a_passage_is_widened_within_its_section(expand: Expansion, expected: tuple[int, int]) -> None:
    """By a chunk on either side, or to all of the section; never into the next one."""
    with _stored([_document("d", SECTIONS)], SMALL) as (snapshot, chunks):
        (passage,) = _assemble(snapshot, [chunks[2]], expand=expand).passages
        last = max(i for i, scored in enumerate(chunks) if scored.chunk.headings == ("Leave",))
    end = min(expected[1], last)
    assert (passage.chunk.start, passage.chunk.end) == (chunks[expected[0]].chunk.start, chunks[end].chunk.end)


def test_widening_takes_what_room_there_is_best_passage_first() -> None:
    """Nearest chunks first; nothing that was found is left out for what was not."""
    with _stored([_document("d", SECTIONS), _document("e", SECTIONS)], SMALL) as (snapshot, chunks):
        found = [chunks[2], next(scored for scored in chunks if scored.chunk.doc_id == "e")]
        room = sum(len(TOKENIZER.offsets(scored.chunk.text)) for scored in [*found, chunks[1]])
        assembly = _assemble(snapshot, found, expand="section", budget_tokens=room)
    assert assembly.left_out == ()
    assert [len(assembly.members[passage.chunk.chunk_id]) for passage in assembly.passages] == [2, 1]


def test_what_ranks_last_is_left_out_whole_and_named() -> None:
    """Also a short one behind a long one: the order of ranks is kept."""
    with _stored([_document("d", SECTIONS)], SMALL) as (snapshot, chunks):
        sizes = [len(TOKENIZER.offsets(scored.chunk.text)) for scored in chunks]
        assembly = _assemble(snapshot, chunks, budget_tokens=sum(sizes[:3]) + min(sizes[3:]) - 1, merge=False)
    assert assembly.passages == tuple(chunks[:3])
    assert assembly.left_out == tuple(scored.chunk.chunk_id for scored in chunks[3:])


def test_the_best_one_is_always_shown() -> None:
    """A budget that has no room for anything shows one chunk, whole."""
    with _stored([_document("d", SECTIONS)], SMALL) as (snapshot, chunks):
        assert _assemble(snapshot, chunks, budget_tokens=1).passages == (chunks[0],)
        assert _assemble(snapshot, [], budget_tokens=1) == Assembly(())


@pytest.mark.parametrize(
    ("order", "expected"), [("rank", [0, 1, 2, 3, 4]), ("edges", [0, 2, 4, 3, 1]), ("document", [3, 0, 2, 1, 4])]
)
def test_the_order_is_the_one_asked_for(order: Order, expected: list[int]) -> None:
    """Best first; best at both ends; documents together, the best one first."""
    with _stored([_document("d", SECTIONS), _document("e", SECTIONS)], SMALL) as (snapshot, chunks):
        d = [scored for scored in chunks if scored.chunk.doc_id == "d"]
        e = [scored for scored in chunks if scored.chunk.doc_id == "e"]
        found = [d[2], e[0], d[4], d[0], e[2]]
        assembly = _assemble(snapshot, found, order=order)
    assert list(assembly.passages) == [found[i] for i in expected]


def _chunk_ids(chunks: Sequence[Chunk]) -> list[str]:
    return [chunk.chunk_id for chunk in chunks]


@settings(max_examples=60, deadline=None)
@given(
    sections=st.lists(st.tuples(st.sampled_from(["A", "B", "C"]), st.integers(0, 5)), min_size=1, max_size=4),
    overlap=st.sampled_from([0, 6]),
    data=st.data(),
)
def test_every_passage_is_what_its_document_says(
    sections: list[tuple[str, int]], overlap: int, data: st.DataObject
) -> None:
    """Promise 1, whatever the options: exact offsets, within the budget, no character twice, best passage kept."""
    document = _document(
        "d", [(h, [f"Line {i} of {h} 🧀 tells something.  " * 3 for i in range(n)]) for h, n in sections]
    )
    chosen = Chunking(chunk_tokens=20, context_tokens=8, overlap_tokens=overlap)
    with _stored([document], chosen) as (snapshot, chunks):
        found = data.draw(st.permutations(chunks))[: data.draw(st.integers(1, 8))]
        budget = data.draw(st.integers(1, 200))
        assembly = _assemble(
            snapshot,
            found,
            budget_tokens=budget,
            merge=data.draw(st.booleans()),
            expand=data.draw(st.sampled_from(["none", "neighbours", "section"])),
            order=data.draw(st.sampled_from(["rank", "edges", "document"])),
        )
    shown = [member for members in assembly.members.values() for member in members]
    assert all(document.text[p.chunk.start : p.chunk.end] == p.chunk.text for p in assembly.passages)
    assert len(set(_chunk_ids(shown))) == len(shown)
    assert {*_chunk_ids(shown), *assembly.left_out} >= {scored.chunk.chunk_id for scored in found}
    assert found[0].chunk.chunk_id in _chunk_ids(shown)
    assert sum(len(TOKENIZER.offsets(c.text)) for c in shown) <= budget or _chunk_ids(shown) == [
        found[0].chunk.chunk_id
    ]
    for passage in assembly.passages:
        members = assembly.members[passage.chunk.chunk_id]
        assert passage.chunk.chunk_id in _chunk_ids(members)
        assert passage.chunk.page == document.page_at(passage.chunk.start)
        assert {member.headings for member in members} == {passage.chunk.headings}
