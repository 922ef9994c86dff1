"""Reading order of PDF pages: interleaved columns, parts drawn late, and pages that are fine as they are."""

import pytest

from ingest.loaders.pdf_lines import Line
from ingest.loaders.pdf_order import reading_order
from tests.unit.ingest.files import read, shown
from tests.unit.ingest.pdfs import Writer, pages

LEFT = [
    "The river rises in the hills where",
    "the snow lies until late in the year",
    "and flows through a narrow valley with",
    "few bridges before it comes to the",
    "plain, which it crosses in wide bends",
    "on its long way to the northern sea.",
]
RIGHT = [
    "Boats of all kinds have carried salt",
    "and timber on it for longer than the",
    "towns along its banks can remember, as",
    "old books of the toll houses show to",
    "anyone who takes the time to read them",
    "in the archive of the old harbour town.",
]
THIRD = [
    "Dams were built for the mills where the",
    "water falls, and later on for the power",
    "stations that feed the works in which",
    "half of the people of the valley earn",
    "their bread, though fewer every year as",
    "work moves to the cities of the coast.",
]


def interleaved(columns: list[list[str]], top: float = 700) -> list[tuple[float, float, str]]:
    """Line by line across all columns, as some programs write them."""
    width = 190
    rows = zip(*columns, strict=True)
    return [(20 + width * c, top - 12 * r, text) for r, row in enumerate(rows) for c, text in enumerate(row)]


def joined(*columns: list[str]) -> str:
    return " ".join(" ".join(column) for column in columns)


@pytest.mark.parametrize("columns", [[LEFT, RIGHT], [LEFT, RIGHT, THIRD]])
def test_interleaved_columns_are_read_one_after_the_other(columns: list[list[str]]) -> None:
    """Each sentence is whole, however the file mixes the columns."""
    document = read(pages([interleaved(columns)]), "a.pdf")
    assert document.text.replace("\n\n", " ") == joined(*columns)


def test_a_heading_across_columns_stands_between_what_is_above_and_below_it() -> None:
    """The columns above it come before it, those below after it."""
    heading = (20, 600, "A heading that runs across both of the columns of the page and is rather long")
    lines = [*interleaved([LEFT, RIGHT]), heading, *interleaved([THIRD, LEFT], 570)]
    text = read(pages([lines]), "a.pdf").text.replace("\n\n", " ")
    assert text == f"{joined(LEFT, RIGHT)} {heading[2]} {joined(THIRD, LEFT)}"


def test_columns_in_their_order_stay_as_they_are() -> None:
    """The order of the file is kept where nothing speaks against it, also for a right column before the left one."""
    right = [(300, 700 - 12 * i, text) for i, text in enumerate(RIGHT)]
    left = [(20, 700 - 12 * i, text) for i, text in enumerate(LEFT)]
    assert read(pages([[*right, *left]]), "a.pdf").text.replace("\n\n", " ") == joined(RIGHT, LEFT)


def test_a_table_of_phrases_is_not_read_by_column() -> None:
    """Its cells are as wide as columns of text, but no sentence goes on from one to the next."""
    rows = [
        ("Name of the applicant", "Jane Elizabeth Doe-Smith"),
        ("Address of the applicant", "12 Long Road, Springfield"),
        ("Date of the application", "Monday, 3 March 2025"),
        ("Officer in charge of it", "Robert Mayor, Room 12"),
        ("Decision of the office", "Granted until further notice"),
        ("Reason for the decision", "All of the papers were there"),
    ]
    lines = [(x, 700 - 14 * i, text) for i, row in enumerate(rows) for x, text in zip((20, 300), row, strict=True)]
    assert read(pages([lines]), "a.pdf").text == "\n".join(" | ".join(row) for row in rows)


def test_a_header_drawn_last_is_read_first_and_a_footer_drawn_first_last() -> None:
    """Templates put them anywhere in the file."""
    body = [(20, 700 - 12 * i, text) for i, text in enumerate(LEFT)]
    document = read(pages([[(20, 40, "Confidential."), *body, (20, 760, "Annual Report")]]), "a.pdf")
    assert [text for _, text in shown(document)] == ["Annual Report", joined(LEFT), "Confidential."]


def test_a_title_drawn_last_goes_between_the_parts_that_it_stands_between() -> None:
    """Above the one and below the other, in one column."""
    first = [(20, 700 - 12 * i, text) for i, text in enumerate(LEFT)]
    second = [(20, 560 - 12 * i, text) for i, text in enumerate(RIGHT)]
    document = read(pages([[*first, *second, (20, 600, "The trade")]]), "a.pdf")
    assert [text for _, text in shown(document)] == [joined(LEFT), "The trade", joined(RIGHT)]


def test_labels_of_a_figure_do_not_break_a_sentence() -> None:
    """Text goes on below the figure in the middle of a sentence; the file has it whole."""
    above = [(20, 700 - 12 * i, text) for i, text in enumerate(LEFT[:3])]
    below = [(20, 500 - 12 * i, text) for i, text in enumerate(LEFT[3:])]
    lines = read(pages([[*above, *below, (60, 600, "Figure label")]]), "a.pdf").text
    assert lines.index("narrow valley") < lines.index("few bridges") < lines.index("Figure label")


def test_a_footnote_and_a_sidebar_are_read_after_the_column_that_they_belong_to() -> None:
    """Wherever the file has them: the note is below its column, the sidebar stands beside it."""
    body = [(20, 700 - 12 * i, text) for i, text in enumerate(LEFT)]
    note = (20, 300, "1 A note at the foot of the page.")
    sidebar = [(400, 700, "Did you know"), (400, 688, "that eels climb?")]
    text = read(pages([[note, *body, *sidebar]]), "a.pdf").text
    assert text.index("northern sea") < text.index("1 A note")
    assert "Did you know that eels climb?" in text


def test_many_scattered_words_are_left_alone() -> None:
    """A drawing with a thousand labels takes no time, and loses none."""
    lines = [
        Line(f"w{i}", (i * 37) % 500, (i * 91) % 700, (i * 37) % 500 + 20, (i * 91) % 700 + 8) for i in range(2000)
    ]
    assert sorted(line.text for line in reading_order(lines)) == sorted(line.text for line in lines)


def test_lines_without_a_place_are_kept() -> None:
    """Damaged fonts have no boxes."""
    lines = [Line(f"line {i}", 0, 0, 0, 0) for i in range(30)]
    assert reading_order(lines) == lines


def test_text_at_several_heights_that_the_file_runs_together_is_parted() -> None:
    """One show operator may draw words of several lines."""
    stream = b"BT /F 10 Tf 20 700 Td (The first line ) Tj 0 -14 Td (the second one ) Tj 0 -14 Td (and the third.) Tj ET"
    writer = Writer()
    writer.page(stream)
    assert read(writer.write(), "a.pdf").text == "The first line the second one and the third."
