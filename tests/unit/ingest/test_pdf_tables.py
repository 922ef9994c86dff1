"""Tables of PDFs: which cells stand in one row, what names the columns, and what is no table."""

import pytest

from ingest.loaders.pdf_lines import Cell, Line
from ingest.loaders.pdf_tables import tables
from tests.unit.ingest.files import read, shown
from tests.unit.ingest.pdfs import pages

Row = tuple[float, list[tuple[float, str]]]


def table_text(rows: list[Row]) -> str:
    """The text of the first table on a page with these cells: (y, [(x, text), ...])."""
    lines = [(x, y, text) for y, cells in rows for x, text in cells]
    return next(text for kind, text in shown(read(pages([lines]), "a.pdf")) if kind == "table")


SALES: list[Row] = [
    (700, [(300, "July 1,"), (400, "June 25,")]),
    (688, [(306, "2023"), (406, "2022")]),
    (670, [(20, "Net sales:")]),
    (658, [(20, "Products"), (290, "$"), (310, "60,584"), (390, "$"), (410, "63,355")]),
    (646, [(20, "Services"), (310, "21,213"), (410, "19,604")]),
    (634, [(20, "Total net sales"), (310, "81,797"), (410, "82,959")]),
    (616, [(20, "Gross margin"), (310, "44.5"), (342, "%"), (410, "43.3"), (442, "%")]),
]


def test_cells_of_a_row_are_told_apart_and_signs_belong_to_their_numbers() -> None:
    """A reader, and a model, can tell which number is whose."""
    assert table_text(SALES) == (
        "July 1, 2023 | June 25, 2022\nNet sales:\nProducts | $60,584 | $63,355\nServices | 21,213 | 19,604\n"
        "Total net sales | 81,797 | 82,959\nGross margin | 44.5% | 43.3%"
    )


def test_a_header_written_column_by_column_is_put_together() -> None:
    """Some programs write both lines of a header cell before the next cell."""
    cells = [(300, 700, "July 1,"), (306, 688, "2023"), (400, 700, "June 25,"), (406, 688, "2022")]
    cells += [(round(x), round(y), text) for y, row in SALES[2:] for x, text in row]
    document = read(pages([cells]), "a.pdf")
    assert document.text.startswith("July 1, 2023 | June 25, 2022\nNet sales:\nProducts | $60,584")


def test_a_row_of_dots_is_no_row() -> None:
    """Nor does it end the reading of the table."""
    dots: Row = (604, [(20, "......"), (310, "......"), (410, "......")])
    assert table_text([*SALES, dots]).endswith("Gross margin | 44.5% | 43.3%")


def test_dates_between_the_rows_of_a_table_are_put_together() -> None:
    """A table may name its columns again."""
    again: list[Row] = [(y - 120, cells) for y, cells in SALES]
    assert table_text([*SALES, *again]).count("July 1, 2023 | June 25, 2022\nNet sales:") == 2


def test_the_html_of_a_table_keeps_its_columns() -> None:
    """Also where cells are empty, which the text leaves out."""
    lines = [(x, y, text) for y, cells in SALES for x, text in cells]
    element = next(e for e in read(pages([lines]), "a.pdf").elements if e.kind == "table")
    assert "<thead><tr><th></th><th>July 1, 2023</th><th>June 25, 2022</th></tr></thead>" in element.html
    assert "<tr><td>Net sales:</td><td></td><td></td></tr>" in element.html
    assert "<tr><td>Services</td><td>21,213</td><td>19,604</td></tr>" in element.html


def test_a_head_over_several_columns_stays_a_row_of_its_own() -> None:
    """It does not belong to one of the columns below it."""
    rows: list[Row] = [(714, [(320, "Three Months Ended in"), (520, "Year")]), *SALES]
    rows = [(y, [*cells, (520, "9,999")] if y < 670 else cells) for y, cells in rows]
    assert table_text(rows).startswith("Three Months Ended in | Year\nJuly 1, 2023 | June 25, 2022\n")


def test_a_broken_label_is_put_together() -> None:
    """Whether the numbers stand beside its first line or its last one."""
    rows: list[Row] = [
        (700, [(20, "Year"), (300, "2023"), (400, "2022")]),
        (680, [(20, "Cost of all of the products")]),
        (668, [(20, "that were sold"), (300, "1,000"), (400, "2,000")]),
        (648, [(20, "Income before provision for"), (300, "3,000"), (400, "4,000")]),
        (636, [(20, "income taxes")]),
        (616, [(20, "Net income"), (300, "5,000"), (400, "6,000")]),
    ]
    assert table_text(rows) == (
        "Year | 2023 | 2022\nCost of all of the products that were sold | 1,000 | 2,000\n"
        "Income before provision for income taxes | 3,000 | 4,000\nNet income | 5,000 | 6,000"
    )


def test_further_lines_of_cells_are_put_into_their_cells() -> None:
    """They stand closer than rows do."""
    rows: list[Row] = [
        (700, [(20, "Part"), (200, "Made of"), (400, "Use")]),
        (680, [(20, "Hull"), (200, "Oak planks and"), (400, "Keeps the")]),
        (669, [(200, "copper nails"), (400, "Water out")]),
        (649, [(20, "Mast"), (200, "Pine"), (400, "Carries sails")]),
        (629, [(20, "Sail"), (200, "Linen"), (400, "Catches wind")]),
    ]
    assert table_text(rows) == (
        "Part | Made of | Use\nHull | Oak planks and copper nails | Keeps the Water out\n"
        "Mast | Pine | Carries sails\nSail | Linen | Catches wind"
    )


def test_tables_one_below_the_other_have_columns_of_their_own() -> None:
    """A title stands between them; cells that overlap are not run together."""
    rows: list[Row] = [
        (700, [(20, "Shows")]),
        (686, [(20, "Hall"), (100, "Film shown"), (160, "Format"), (400, "Sold")]),
        (672, [(20, "A"), (100, "Metropolis"), (160, "IMAX 3D"), (400, "77")]),
        (650, [(20, "Times")]),
        (636, [(20, "Day"), (144, "Hour"), (400, "Price")]),
        (622, [(20, "Monday"), (144, "7:00"), (400, "12")]),
    ]
    document = read(pages([[(x, y, text) for y, cells in rows for x, text in cells]]), "a.pdf")
    assert [text for kind, text in shown(document) if kind == "table"] == [
        "Shows\nHall | Film shown | Format | Sold\nA | Metropolis | IMAX 3D | 77",
        "Times\nDay | Hour | Price\nMonday | 7:00 | 12",
    ]


def test_dots_that_lead_to_a_number_are_no_cell() -> None:
    """As in tables of contents."""
    rows: list[Row] = [
        (700 - 14 * i, [(20, f"Chapter {name}"), (150, "." * 60), (400, str(7 * i + 3))])
        for i, name in enumerate(("One", "Two", "Six"))
    ]
    assert table_text(rows) == "Chapter One | 3\nChapter Two | 10\nChapter Six | 17"


@pytest.mark.parametrize(
    "lines",
    [
        ["1.", "2.", "3."],
        ["(a)", "(b)", "(c)"],
        ["-", "-", "-"],
        ["1.1", "1.2", "1.3"],
    ],
)
def test_items_with_a_gap_behind_their_marker_are_no_table(lines: list[str]) -> None:
    """A marker and its text are not two cells."""
    items = [(20, 700 - 14 * i, marker) for i, marker in enumerate(lines)]
    items += [(60, 700 - 14 * i, f"Text of item number {i}") for i in range(len(lines))]
    items.sort(key=lambda item: (-item[1], item[0]))
    document = read(pages([items]), "a.pdf")
    assert "|" not in document.text
    assert {kind for kind, _ in shown(document)} == {"paragraph"}


def test_wide_gaps_between_sentences_make_no_table() -> None:
    """Typewriters and old books have them, at other places in each line."""
    lines = [
        (20, 700, "Poor lad, he was in a sad way!"),
        (230, 700, "But it was mere homesickness"),
        (20, 688, "that ailed him."),
        (130, 688, "If dissatisfied with his position as a private, let"),
        (20, 676, "him wait, for if he survives the war, he may well get to be a captain one day."),
    ]
    assert "|" not in read(pages([lines]), "a.pdf").text


def test_more_columns_than_a_page_can_hold_are_no_table() -> None:
    """Scattered words end soon, and none is lost."""
    lines = [
        Line("x", 0, 9.0 * i, 5000, 9.0 * i + 8, cells=tuple(Cell(f"{i}.{j}", 20 * j, 20 * j + 1) for j in range(200)))
        for i in range(50)
    ]
    ((table, kept),) = tables(lines)
    assert table is None
    assert len(kept) == 50
