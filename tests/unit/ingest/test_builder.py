"""The builder: offsets, heading paths, pages, clean text, titles, metadata."""

from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.loaders.builder import DocumentBuilder, Origin, flat_metadata, sensible_title
from ingest.loaders.cleaning import clean, prose, verbatim
from retrieval.errors import EmptyDocument
from retrieval.records import Document

ORIGIN = Origin("my-file.txt", "file:///my-file.txt", "0" * 16, "text/plain", "text")


def build(builder: DocumentBuilder, title: str = "") -> Document:
    return builder.build(ORIGIN, title=title)


def test_elements_point_at_their_text() -> None:
    """Each element's span holds exactly what was added."""
    builder = DocumentBuilder()
    builder.heading("One", 1)
    builder.paragraph("  Some\ttext. ")
    builder.code("  indented\n\n    more\n")
    builder.table([["a", "b"], ["1", "2"]])
    document = build(builder)
    assert [document.text[e.start : e.end] for e in document.elements] == [
        "One",
        "Some text.",
        "  indented\n\n    more",
        "a | b\n1 | 2",
    ]


def test_heading_paths_follow_levels() -> None:
    """A heading closes those of its own and deeper levels; skipped levels do no harm."""
    builder = DocumentBuilder()
    for text, level in (("A", 1), ("A3", 3), ("A2", 2), ("B", 1)):
        builder.heading(text, level)
        builder.paragraph(f"under {text}")
    paths = [e.headings for e in build(builder).elements if e.kind == "paragraph"]
    assert paths == [("A",), ("A", "A3"), ("A", "A2"), ("B",)]


def test_a_heading_stands_under_those_above_it_not_under_itself() -> None:
    """The element of a heading has its level and the path above it."""
    builder = DocumentBuilder()
    builder.heading("A", 1)
    builder.heading("B", 2)
    assert [(e.headings, e.level) for e in build(builder).elements] == [((), 1), (("A",), 2)]


def test_pages_without_text_begin_where_the_next_text_does() -> None:
    """Every page has a start, and an offset's page is the page the text stands on."""
    builder = DocumentBuilder()
    for text in ("", "first", "", "second", ""):
        builder.page()
        builder.paragraph(text)
    document = build(builder)
    assert document.page_starts == (0, 0, 7, 7, 13)
    assert [document.page_at(document.text.index(word)) for word in ("first", "second")] == [2, 4]


def test_items_in_a_row_make_one_list() -> None:
    """Depth is shown by indentation; a further paragraph of an item stays with it."""
    builder = DocumentBuilder()
    builder.item("one")
    builder.continue_item("more of one")
    builder.item("inner", depth=1, marker="1.")
    builder.paragraph("after")
    document = build(builder)
    assert [(e.kind, document.text[e.start : e.end]) for e in document.elements] == [
        ("list", "- one\n  more of one\n  1. inner"),
        ("paragraph", "after"),
    ]


def test_tables_lose_empty_rows_and_columns() -> None:
    """Cells that are there for looks are no text."""
    builder = DocumentBuilder()
    builder.table([["a", "", "b"], ["", "", ""], ["1\n2", " "]])
    assert build(builder).text == "a | b\n1 2"


def test_nothing_but_blanks_is_an_empty_document() -> None:
    """The error names the file."""
    builder = DocumentBuilder()
    builder.paragraph(" \u200b\n")
    builder.table([["", " "]])
    with pytest.raises(EmptyDocument, match=r"'my-file\.txt' holds no text"):
        build(builder)


@pytest.mark.parametrize(
    ("given_title", "heading", "expected"),
    [("Given", "Heading", "Given"), ("", "Heading", "Heading"), ("***", "", "First line"), (" ", "", "First line")],
)
def test_a_title_is_found(given_title: str, heading: str, expected: str) -> None:
    """What the file says, else its top heading, else its first line."""
    builder = DocumentBuilder()
    builder.heading(heading, 1)
    builder.paragraph("First line\nsecond line")
    assert build(builder, given_title).title == expected


def test_a_title_without_letters_falls_back_on_the_file_name() -> None:
    """Document.title is never empty."""
    builder = DocumentBuilder()
    builder.paragraph("=====")
    assert build(builder).title == "my-file"


def test_a_long_title_is_cut_at_a_word() -> None:
    """A title goes before every chunk, so it cannot be a page."""
    builder = DocumentBuilder()
    builder.paragraph("x")
    title = build(builder, "word " * 100).title
    assert len(title) <= 200
    assert title.endswith("word…")


@pytest.mark.parametrize(
    "title", ["untitled", "Microsoft Word - a.doc", "report.docx", "Slide 1", "12-34", "(anonymous)"]
)
def test_titles_that_programs_fill_in_are_none(title: str) -> None:
    """They would be put before every chunk and mislead."""
    assert sensible_title(title) == ""


def test_metadata_is_flat_and_real() -> None:
    """Scalars and lists of one type stay; dates become ISO 8601; the rest is dropped."""
    fields = {
        "author": " A \n B ",
        "empty": "",
        "none": None,
        "year": 2024,
        "draft": False,
        "nan": float("nan"),
        "huge": 2**70,
        "tags": ["a", "b"],
        "mixed": ["a", 1],
        "nested": {"a": 1},
        "when": datetime(2024, 2, 3, 4, 5),  # noqa: DTZ001 - files have no zones
        "$gt": 1,
    }
    assert flat_metadata(fields) == {
        "author": "A B",
        "year": 2024,
        "draft": False,
        "tags": ("a", "b"),
        "when": "2024-02-03T04:05:00",
    }


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("a\r\nb\rc\u2028d\x0be", "a\nb\nc\nd\ne"),
        ("a\x00b\x07c\x1b", "abc"),
        ("co\u00adoperate zero\u200bwidth \ufeffmark", "cooperate zerowidth mark"),
        ("e\u0301", "é"),
        ("e\u00ad\u0301", "é"),
        ("lone \ud800 surrogate", "lone \ufffd surrogate"),
        ("\u202eevil\u202c", "evil"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("👩\u200d💻", "👩\u200d💻"),
    ],
)
def test_clean_keeps_what_is_read_and_drops_the_rest(raw: str, expected: str) -> None:
    """Control and invisible characters go; joiners that are spelling stay."""
    assert clean(raw) == expected


def test_prose_makes_white_space_single_and_keeps_line_breaks() -> None:
    """Tabs, no-break spaces and empty lines are layout."""
    assert prose("  a\u00a0\t b \n\n  c  ") == "a b\nc"


def test_verbatim_keeps_indentation_and_empty_lines() -> None:
    """Code means what its white space says."""
    assert verbatim("\n\n  a  \n\n\tb\n\n") == "  a\n\n\tb"
    assert verbatim(" \n" * 1_000_000 + "a") == "a"  # in no time


@settings(deadline=None)  # the model of languages is loaded when first needed
@given(st.lists(st.tuples(st.sampled_from(["paragraph", "code", "heading", "item", "page", "record"]), st.text())))
def test_any_text_gives_a_valid_document(blocks: list[tuple[str, str]]) -> None:
    """Elements ascend without overlap and cover all but white space; the text can be stored as UTF-8."""
    builder = DocumentBuilder()
    for kind, text in blocks:
        match kind:
            case "heading":
                builder.heading(text, 2)
            case "page":
                builder.page()
            case _:
                getattr(builder, kind)(text)
    if builder.is_empty:
        return
    document = build(builder)
    document.text.encode("utf-8")
    assert "\x00" not in document.text
    assert document.title
    position = 0
    for element in document.elements:
        assert position <= element.start < element.end
        assert not document.text[position : element.start].strip()
        position = element.end
    assert position == len(document.text)
    assert list(document.page_starts) == sorted(document.page_starts)
