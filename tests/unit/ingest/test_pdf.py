"""The PDF loader: pages, paragraphs, tables, headings, and files that cannot be read."""

import threading

import pytest

from ingest.loaders.pdf_layout import blocks, join
from ingest.loaders.pdf_lines import Line, whole_lines
from retrieval.errors import CorruptFile, EmptyDocument, EncryptedFile
from tests.unit.ingest.files import pdf, read, shown

PROSE = [
    (50, 700, "The quick brown fox jumps over the lazy dog and then it runs away"),
    (50, 688, "across the field until it comes to the river, where it has a long"),
    (50, 676, "drink of water."),
]


def test_lines_of_a_paragraph_are_one_run_of_text() -> None:
    """A sentence is found and quoted whole; a gap makes a paragraph."""
    document = read(pdf([[*PROSE, (50, 650, "Another paragraph.")]]), "a.pdf")
    assert shown(document) == [
        (
            "paragraph",
            "The quick brown fox jumps over the lazy dog and then it runs away across the field until it comes to the "
            "river, where it has a long drink of water.",
        ),
        ("paragraph", "Another paragraph."),
    ]


def test_a_line_that_ends_early_ends_its_paragraph() -> None:
    """Addresses and headings right above the text are not run together with it."""
    lines = [(50, 712, "Short heading"), *PROSE]
    assert shown(read(pdf([lines]), "a.pdf"))[0] == ("paragraph", "Short heading")


def test_an_indented_line_begins_a_paragraph() -> None:
    """Books have no gaps between paragraphs."""
    first = PROSE[:2]
    lines = [*first, (70, 676, "Indented, a second paragraph begins here and it is also quite long"), (50, 664, "x.")]
    assert len(read(pdf([lines]), "a.pdf").elements) == 2


def test_items_are_not_joined() -> None:
    """Bullets and numbers begin items, however long the line above was."""
    lines = [
        (50, 700, "1. The first of the items, which is as long as the lines of the page"),
        (50, 688, "2. The second of them, which is as long as the first one of them was"),
    ]
    assert len(read(pdf([lines]), "a.pdf").elements) == 2


def test_rows_of_a_table_stay_lines() -> None:
    """Cells have gaps between them; labels between rows belong to the table."""
    rows = [("Net sales:", ""), ("Products", "60,584"), ("Services", "21,213"), ("Costs:", ""), ("Total", "81,797")]
    lines = [(50, 600 - 12 * i, label) for i, (label, _) in enumerate(rows)]
    lines += [(400, 600 - 12 * i, value) for i, (_, value) in enumerate(rows) if value]
    # As programs write them: row by row.
    lines.sort(key=lambda line: (-line[1], line[0]))
    document = read(pdf([[*PROSE, *lines]]), "a.pdf")
    assert shown(document)[-1] == ("table", "Net sales:\nProducts | 60,584\nServices | 21,213\nCosts:\nTotal | 81,797")


def test_a_sentence_that_introduces_a_table_is_whole() -> None:
    """Its last line is short and stands right above the header, as the labels of a table do."""
    lines = [
        (50, 700, "The sales of all products, of services and of whatever else there was (in"),
        (50, 688, "millions):"),
        (300, 668, "July 1,"),
        (300, 656, "2023"),
    ]
    for i, (label, value) in enumerate([("Products", "60,584"), ("Services", "21,213"), ("All", "81,797")]):
        lines += [(50, 640 - 12 * i, label), (300, 640 - 12 * i, value)]
    (first, text), *_ = shown(read(pdf([lines]), "a.pdf"))
    assert (first, text.rpartition("(")[2]) == ("paragraph", "in millions):")


def test_pages_are_exact_also_empty_ones() -> None:
    """Every offset names the page that the character stands on."""
    document = read(pdf([[], [(50, 700, "on two")], [], [(50, 700, "on four")], []]), "a.pdf")
    assert len(document.page_starts) == 5
    assert [document.page_at(document.text.index(word)) for word in ("on two", "on four")] == [2, 4]


def test_bookmarks_that_stand_on_their_page_are_headings() -> None:
    """With the level they have; those that are nowhere in the text are left out."""
    page = [(50, 750, "1 Introduction"), *PROSE]
    document = read(pdf([page], outline=[("Introduction", 0), ("Nowhere", 0)]), "a.pdf")
    assert shown(document)[0] == ("heading", "1 Introduction")
    assert document.elements[1].headings == ("1 Introduction",)
    assert "Nowhere" not in document.text


def test_page_numbers_are_no_text() -> None:
    """A line that counts with the pages is dropped, whatever stands beside the number; other numbers stay."""
    pages = [
        [(50, 700, f"Text of {word}."), (50, 650, "1984"), (50, 40, f"Report 2024 | {3 + i}")]
        for i, word in enumerate(("one", "two", "three"))
    ]
    document = read(pdf(pages), "a.pdf")
    assert "Report" not in document.text
    assert document.text.count("1984") == 3
    assert len(document.page_starts) == 3


def test_pages_that_hold_their_number_only_keep_it() -> None:
    """There is nothing else to show."""
    assert read(pdf([[(50, 700, "1")], [(50, 700, "2")]]), "a.pdf").text == "1\n\n2"


def test_without_bookmarks_headings_are_known_by_their_looks() -> None:
    """Bold and alone on a line; what stands on every page is none."""
    pages = [[(50, 750, "*Company Confidential"), (50, 720, f"*Section {name}"), *PROSE] for name in "ABCDE"]
    document = read(pdf(pages), "a.pdf")
    headings = [text for kind, text in shown(document) if kind == "heading"]
    assert headings == [f"Section {name}" for name in "ABCDE"]
    assert document.elements[-1].headings == ("Section E",)


def test_a_centred_heading_of_two_lines_is_one() -> None:
    """Its lines begin at different places, but look alike and follow each other."""
    page = [(50, 770, "*The first line of a heading"), (80, 758, "*And its second"), *PROSE]
    page += [(50, 650 - 40 * i, f"Paragraph number {i}.") for i in range(4)]
    assert shown(read(pdf([page]), "a.pdf"))[0] == ("heading", "The first line of a heading And its second")


def test_a_page_in_bold_has_no_headings() -> None:
    """Where everything looks like a heading nothing is one."""
    pages = [[(50, 700 - 40 * i, f"*A line of bold words, {name}") for i, name in enumerate(("one", "two", "three"))]]
    assert {kind for kind, _ in shown(read(pdf(pages), "a.pdf"))} == {"paragraph"}


@pytest.mark.parametrize(
    ("info", "name", "title"),
    [
        ({"Title": "A real title"}, "a.pdf", "A real title"),
        ({"Title": "Microsoft Word - draft.doc"}, "x7.pdf", "First line"),
        ({"Title": "untitled"}, "2023 Q3 AAPL.pdf", "2023 Q3 AAPL"),
        ({}, "annual-report.pdf", "annual-report"),
        ({}, "0001.pdf", "First line"),
        ({}, "first-line.pdf", "first-line"),
    ],
)
def test_the_title_is_the_most_telling_there_is(info: dict[str, str], name: str, title: str) -> None:
    """What the author wrote, else a file name of several words, else the first line."""
    assert read(pdf([[(50, 700, "First line")]], info=info), name).title == title


def test_properties_become_metadata() -> None:
    """Author, and dates in ISO 8601; a date that is none is dropped."""
    info = {"Author": "Eva", "CreationDate": "D:20240203040506+01'00'", "ModDate": "D:20249903"}
    document = read(pdf([[(50, 700, "text")]], info=info), "a.pdf")
    assert document.metadata == {"author": "Eva", "created": "2024-02-03T04:05:06"}


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (pdf([[(50, 700, "secret")]], encrypted=True), EncryptedFile, r"'a\.pdf' is protected by a password"),
        (pdf([[], []]), EmptyDocument, r"'a\.pdf' holds no text: its pages are blank"),
        (b"%PDF-1.4\n" + b"junk" * 100, CorruptFile, r"'a\.pdf' cannot be read as PDF"),
        (b"no PDF at all", CorruptFile, r"'a\.pdf' cannot be read as PDF"),
        (b"", EmptyDocument, r"'a\.pdf' is empty: 0 bytes"),
    ],
)
def test_what_cannot_be_read_says_why(data: bytes, error: type[Exception], message: str) -> None:
    """Each reason has its own error, which names the file."""
    with pytest.raises(error, match=message):
        read(data, "a.pdf")


@pytest.mark.timeout(60)
def test_every_damaged_byte_gives_a_document_or_a_load_error() -> None:
    """Damage ends in an error of ours or in the text that is left, never in a crash."""
    data = pdf([PROSE, PROSE], outline=[("The quick", 0)])
    for place in range(0, len(data), 7):
        damaged = data[:place] + b"\xff" + data[place + 1 :]
        try:
            read(damaged, "a.pdf")
        except (CorruptFile, EmptyDocument):
            continue


def test_several_threads_may_load_at_once() -> None:
    """The library is not thread-safe; the loader is."""
    data = pdf([PROSE] * 20)
    texts: list[str] = []
    threads = [threading.Thread(target=lambda: texts.append(read(data, "a.pdf").text)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(texts) == 8
    assert len(set(texts)) == 1


def line(text: str, *, left: float = 0, bottom: float = 0, hyphen: bool = False) -> Line:
    return Line(text, left, bottom, left + 5.0 * len(text), bottom + 10, hyphen)


@pytest.mark.parametrize(
    ("before", "after", "words", "expected"),
    [
        ("con", "firming", "confirming", "confirming"),
        ("chat", "optimized", "chat-optimized", "chat-optimized"),
        ("exam", "ple", "", "example"),
        ("Jean", "Paul", "", "Jean-Paul"),
        ("2019", "2020", "", "2019-2020"),
    ],
)
def test_hyphens_at_line_ends_are_settled_by_the_document(before: str, after: str, words: str, expected: str) -> None:
    """A word broken at the end of a line is mended; one that is written with a hyphen keeps it."""
    lines = [line(before, hyphen=True), line(after, bottom=-12)]
    assert join(lines, frozenset(words.split())) == expected


def test_raised_signs_are_put_back_in_their_line() -> None:
    """The number of a note is no paragraph."""
    parts = [line("Zejiang Shen"), Line("1", 60, 4, 64, 10), Line(", and others", 64.5, 0, 120, 10)]
    assert [whole.text for whole in whole_lines(parts)] == ["Zejiang Shen1, and others"]


def test_cells_side_by_side_stay_apart() -> None:
    """A gap as wide as a line is high is a gap between columns."""
    assert len(whole_lines([line("left"), line("right", left=40)])) == 2


def test_a_word_broken_at_the_end_of_a_column_leaves_its_lines_together() -> None:
    """They are as wide as their own column, not as far right as the next one."""
    left = [
        line(text, bottom=bottom) for text, bottom in (("a sentence of some length", 24), ("that fills a column", 12))
    ]
    last = line("and ends with a wo", hyphen=True)
    right = [
        line("rd at the head of the next", left=300, bottom=400),
        line("column of the page.", left=300, bottom=388),
    ]
    assert len(blocks([*left, last, *right])) == 1


def test_a_paragraph_goes_on_in_the_next_column() -> None:
    """A sentence that runs over from one column to the next is whole."""
    left = [line("a sentence that is long enough to", bottom=12), line("fill two lines and then it does not")]
    right = [line("end before the second column of text", left=300, bottom=400)]
    assert len(blocks([*left, *right])) == 1
