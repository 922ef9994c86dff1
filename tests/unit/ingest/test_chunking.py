"""The chunker: exact offsets, sizes that fit the window, cuts where they hurt least."""

import re
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.chunking import SPECIAL_TOKENS, split
from ingest.loaders.builder import DocumentBuilder, Origin
from ingest.settings import IngestSettings
from retrieval.errors import ConfigError
from retrieval.ports import Tokenizer
from retrieval.records import Chunk, Chunking, Document
from tests.fakes import WordTokenizer
from tests.unit.ingest.files import read

ORIGIN = Origin("a.txt", "file:///a.txt", "0" * 16, "text/plain", "text")


class CharacterTokenizer:
    """One token per character: the worst that a tokenizer does to a text it does not know."""

    def offsets(self, text: str) -> list[tuple[int, int]]:
        return [(i, i + 1) for i, c in enumerate(text) if not c.isspace()]


class UnknownWordTokenizer:
    """Words of up to 20 characters are cut into pieces of 3, longer ones are one unknown token, as WordPiece does."""

    def offsets(self, text: str) -> list[tuple[int, int]]:
        spans: list[tuple[int, int]] = []
        for word in re.finditer(r"\S+", text):
            start, end = word.span()
            step = 3 if end - start <= 20 else end - start
            spans.extend((i, min(i + step, end)) for i in range(start, end, step))
        return spans


TOKENIZERS = [WordTokenizer(), CharacterTokenizer(), UnknownWordTokenizer()]


def chunks_of(document: Document, *, window: int = 64, chunk_tokens: int = 40, **options: int) -> list[Chunk]:
    chosen = Chunking(chunk_tokens=chunk_tokens, context_tokens=options.get("context_tokens", 12))
    chosen = replace(chosen, overlap_tokens=options.get("overlap_tokens", 0))
    return split(document, tokenizer=WordTokenizer(), window=window, settings=chosen)


def words(count: int, name: str = "word") -> str:
    return " ".join(f"{name}{i}" for i in range(count))


def sentences(count: int, length: int = 8) -> str:
    return " ".join(f"{words(length - 1, 'Abc')}." for _ in range(count))


def check(document: Document, chunks: list[Chunk], tokenizer: Tokenizer, window: int) -> None:
    """What is promised of every chunking."""
    position = 0
    for ordinal, chunk in enumerate(chunks):
        assert document.text[chunk.start : chunk.end] == chunk.text
        assert chunk.text == chunk.text.strip() != ""
        assert chunk.start >= position
        assert not document.text[position : chunk.start].strip()
        assert len(tokenizer.offsets(chunk.indexed_text)) + SPECIAL_TOKENS <= window
        assert (chunk.ordinal, chunk.doc_id, chunk.version) == (ordinal, document.doc_id, document.version)
        assert chunk.page == document.page_at(chunk.start)
        position = chunk.end
    assert not document.text[position:].strip()
    assert [c.chunk_id for c in chunks] == sorted({c.chunk_id for c in chunks})


NASTY = st.text(
    alphabet=st.one_of(
        st.characters(exclude_categories=["Cs"]),
        st.sampled_from(list(" \n\t.!?。|-=#e\u0301\u200d👩💻🏽मक्षि\u0e33ﬁß\u00a0\u3000")),
    ),
    max_size=400,
)
KINDS = st.sampled_from(["paragraph", "code", "heading", "item", "record", "page", "title"])


@settings(max_examples=150, deadline=None)
@given(
    blocks=st.lists(st.tuples(KINDS, NASTY, st.integers(1, 4)), max_size=12),
    tokenizer=st.sampled_from(TOKENIZERS),
    window=st.integers(16, 80),
    chunk_tokens=st.integers(8, 60),
    context_tokens=st.integers(0, 40),
)
def test_promise_one_holds_for_any_text(
    blocks: list[tuple[str, str, int]], tokenizer: Tokenizer, window: int, chunk_tokens: int, context_tokens: int
) -> None:
    """Exact offsets, ascending, without overlap, nothing lost, nothing longer than the window."""
    builder = DocumentBuilder()
    for kind, text, repeat in blocks:
        match kind:
            case "heading":
                builder.heading(text, repeat)
            case "page":
                builder.page()
            case _:
                getattr(builder, kind)(text * repeat)
    if builder.is_empty:
        return
    document = builder.build(ORIGIN)
    chosen = Chunking(chunk_tokens=chunk_tokens, context_tokens=context_tokens)
    check(document, split(document, tokenizer=tokenizer, window=window, settings=chosen), tokenizer, window)


@settings(max_examples=60, deadline=None)
@given(text=NASTY, overlap=st.integers(1, 30), tokenizer=st.sampled_from(TOKENIZERS))
def test_overlapping_chunks_keep_offsets_and_window(text: str, overlap: int, tokenizer: Tokenizer) -> None:
    """With overlap, chunks begin before the last one ends, and all else holds."""
    builder = DocumentBuilder()
    builder.paragraph(text * 3)
    if builder.is_empty:
        return
    document = builder.build(ORIGIN)
    chosen = Chunking(chunk_tokens=30, context_tokens=8, overlap_tokens=overlap)
    chunks = split(document, tokenizer=tokenizer, window=48, settings=chosen)
    for chunk in chunks:
        assert document.text[chunk.start : chunk.end] == chunk.text
        assert len(tokenizer.offsets(chunk.indexed_text)) + SPECIAL_TOKENS <= 48
    for a, b in pairwise(chunks):
        assert a.start < b.start
        assert not document.text[a.end : b.start].strip()


def test_elements_that_do_not_cover_the_text_lose_nothing() -> None:
    """A document from elsewhere may have no elements at all."""
    text = f"{sentences(20)}\n\n{sentences(5)}"
    document = Document("0" * 16, "x:y", "T", "text/plain", text)
    check(document, chunks_of(document), WordTokenizer(), 64)


@pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=lambda t: type(t).__name__)
def test_a_word_without_end_is_cut_anywhere(tokenizer: Tokenizer) -> None:
    """Ten thousand letters without a blank, between two sentences."""
    document = read(f"Before it. {'x' * 10_000} After it.", "a.txt")
    chunks = split(document, tokenizer=tokenizer, window=64, settings=Chunking(40, 12))
    check(document, chunks, tokenizer, 64)
    assert len(chunks) > 10


def test_letters_are_not_torn_from_their_accents() -> None:
    """A cut within a word leaves what is shown as one sign whole."""
    document = read("\u0915\u094d\u0937\u093f" * 1000, "a.txt")
    chunks = split(document, tokenizer=CharacterTokenizer(), window=64, settings=Chunking(40, 12))
    check(document, chunks, CharacterTokenizer(), 64)
    assert {chunk.text[0] for chunk in chunks} <= {"\u0915", "\u0937"}


def test_a_section_that_fits_is_one_chunk() -> None:
    """Headings begin chunks; sections of a good size are not run together."""
    document = read(f"# A\n\n{words(30)}\n\n# B\n\n{words(30)}\n", "a.md")
    assert [chunk.text.split()[0] for chunk in chunks_of(document)] == ["A", "B"]


def test_small_sections_share_a_chunk() -> None:
    """Many chunks of a few words find nothing and cost as much as others."""
    document = read("\n\n".join(f"## S{i}\n\n{words(5)}" for i in range(12)), "a.md")
    assert len(chunks_of(document)) <= 4


def test_left_overs_are_spread() -> None:
    """A paragraph just above the limit gives two halves, not a chunk and a crumb."""
    sizes = [len(chunk.text.split()) for chunk in chunks_of(read(sentences(6), "a.txt"))]
    assert sizes == [21, 21]


def test_paragraphs_are_cut_at_sentence_ends() -> None:
    """A sentence is not cut while there is another place."""
    for chunk in chunks_of(read(sentences(30), "a.txt")):
        assert chunk.text.endswith(".")
        assert chunk.text.startswith("Abc0")


def test_sentences_end_in_scripts_without_blanks_too() -> None:
    """Chinese and Japanese full stops end a sentence by themselves."""
    document = read("今天天气很好我们去公园散步吧。" * 20, "a.txt")
    chunks = split(document, tokenizer=CharacterTokenizer(), window=64, settings=Chunking(40, 12))
    assert len(chunks) > 5
    assert all(chunk.text.endswith("。") for chunk in chunks)


def test_a_heading_stays_with_what_follows() -> None:
    """A chunk does not end with the title of the next section, nor with the line that introduces a list."""
    source = f"# A\n\n{words(34)}.\n\n## B\n\nThe steps are these:\n\n- {words(20)}\n"
    chunks = chunks_of(read(source, "a.md"))
    assert len(chunks) == 2
    assert chunks[1].text.startswith("B\n\nThe steps are these:\n\n- word0")


def test_tables_and_code_stay_together_where_they_fit() -> None:
    """The paragraph before is cut instead."""
    table = "| a | b |\n|---|---|\n" + "| x | y |\n" * 6
    chunks = chunks_of(read(f"{sentences(4)}\n\n{table}", "a.md"))
    assert next(chunk for chunk in chunks if "a | b" in chunk.text).text.count("x | y") == 6


def test_a_long_table_is_cut_between_rows_and_says_its_columns() -> None:
    """A chunk in the middle of a table carries the header, for embedding only."""
    table = "| Name | Size |\n|---|---|\n" + "".join(f"| n{i} | {i} |\n" for i in range(60))
    chunks = chunks_of(read(f"# Parts\n\n{table}", "a.md"))
    assert len(chunks) > 3
    for chunk in chunks[1:]:
        assert all(re.fullmatch(r"n\d+ \| \d+", row) for row in chunk.text.split("\n"))
        assert chunk.context == "Parts\nName | Size"


def test_context_is_the_title_and_the_path() -> None:
    """Headings in the chunk's own text are not said twice."""
    document = read(f"---\ntitle: Guide\n---\n# Part\n\n## Setup\n\n{sentences(10)}", "a.md")
    chunks = chunks_of(document)
    assert [chunk.context for chunk in chunks] == ["Guide", *["Guide > Part > Setup"] * (len(chunks) - 1)]
    assert {chunk.headings for chunk in chunks} == {("Part", "Setup")}


def test_a_long_context_is_cut_in_the_middle_first() -> None:
    """Document and section tell most; the rest goes."""
    document = read(f"---\ntitle: T\n---\n# {words(8, 'a')}\n\n## {words(12, 'b')}\n\n### C\n\n{sentences(10)}", "a.md")
    assert {chunk.context for chunk in chunks_of(document)[1:]} == {"T > C"}


def test_no_context_when_the_setting_is_zero() -> None:
    """The text alone is embedded then."""
    document = read(f"# A\n\n{sentences(20)}", "a.md")
    assert {chunk.context for chunk in chunks_of(document, context_tokens=0)} == {""}


def test_a_chunk_has_the_headings_that_all_of_it_stands_under() -> None:
    """Two small sections under one heading are a chunk of that heading."""
    document = read("# A\n\n## B\n\nx y\n\n## C\n\nz\n", "a.md")
    (chunk,) = chunks_of(document)
    assert chunk.headings == ("A",)


def test_signs_without_words_are_no_chunk_of_their_own() -> None:
    """Rules and bullets go with their neighbours."""
    document = read(f"{words(38)}\n\n-----\n\n{words(38)}\n\n***", "a.txt")
    assert all(any(map(str.isalnum, chunk.text)) for chunk in chunks_of(document))


def test_a_document_of_signs_is_still_a_chunk() -> None:
    """There is nothing else to find it by."""
    assert [chunk.text for chunk in chunks_of(read("-----", "a.txt"))] == ["-----"]


def test_overlap_repeats_whole_sentences() -> None:
    """What a chunk repeats begins at the start of a sentence."""
    chunks = chunks_of(read(sentences(30), "a.txt"), overlap_tokens=10)
    for a, b in pairwise(chunks):
        assert a.start < b.start < a.end
        assert b.text.startswith("Abc0")


def test_the_default_fits_the_shipped_window() -> None:
    """Context and text together are below 256 tokens, and chunks are well filled."""
    document = read(f"# {words(60, 'h')}\n\n" + "\n\n".join(sentences(7) for _ in range(60)), "a.md")
    chunks = split(document, tokenizer=WordTokenizer(), window=256, settings=IngestSettings().chunking)
    check(document, chunks, WordTokenizer(), 256)
    assert sum(len(WordTokenizer().offsets(c.text)) for c in chunks) / len(chunks) > 140


def test_a_window_without_room_is_refused() -> None:
    """Before anything is cut into crumbs."""
    with pytest.raises(ConfigError, match="window of 8 tokens is too small"):
        chunks_of(read("x", "a.txt"), window=8)


@pytest.mark.timeout(30)
def test_large_documents_take_linear_time() -> None:
    """A table of fifty thousand rows is cut in seconds, whatever its rows are."""
    builder = DocumentBuilder()
    builder.records(f"row: {i}; value: {i * i}" for i in range(50_000))
    document = builder.build(ORIGIN)
    chunks = chunks_of(document, window=256, chunk_tokens=200)
    assert len(chunks) > 1000
