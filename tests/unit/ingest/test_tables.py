"""Tables as text and as HTML, of every format that has cells."""

import io

import docx
import pptx
import pytest
from pptx.util import Inches

from ingest.loaders.builder import DocumentBuilder, Origin
from ingest.loaders.tabular import Cell, Row, add_table, html
from tests.unit.ingest.files import read

ORIGIN = Origin("a.txt", "file:///a.txt", "0" * 16, "text/plain", "text")


def added(*rows: Row, header_rows: int = 1) -> tuple[str, str]:
    """Text and HTML of a table."""
    builder = DocumentBuilder()
    add_table(builder, rows, header_rows=header_rows)
    document = builder.build(ORIGIN)
    return document.text, document.elements[0].html


def test_cells_are_escaped_and_cleaned() -> None:
    """A table is no way to smuggle markup into an answer."""
    assert html([["A\nB", "<script>&"], ["1", ""]]) == (
        "<table><thead><tr><th>A B</th><th>&lt;script&gt;&amp;</th></tr></thead>"
        "<tbody><tr><td>1</td><td></td></tr></tbody></table>"
    )


@pytest.mark.parametrize(
    ("header_rows", "expected"),
    [
        (0, "<table><tbody><tr><td>a</td></tr><tr><td>b</td></tr></tbody></table>"),
        (2, "<table><thead><tr><th>a</th></tr><tr><th>b</th></tr></thead></table>"),
    ],
)
def test_the_header_has_as_many_rows_as_are_said(header_rows: int, expected: str) -> None:
    """None is right for tables that have none."""
    assert html([["a"], [""], ["b"]], header_rows) == expected


def test_merged_cells_keep_their_columns() -> None:
    """In text a label that spans rows stands in each of them; what spans columns stands in the first."""
    text, markup = added(
        ["Year", Cell("Sales", columns=2)], [Cell("2024", rows=2), "1", "2"], ["3", "4"], ["2025", "5", "6"]
    )
    assert text == "Year | Sales |\n2024 | 1 | 2\n2024 | 3 | 4\n2025 | 5 | 6"
    assert markup == (
        '<table><thead><tr><th>Year</th><th colspan="2">Sales</th></tr></thead>'
        '<tbody><tr><td rowspan="2">2024</td><td>1</td><td>2</td></tr><tr><td>3</td><td>4</td></tr>'
        "<tr><td>2025</td><td>5</td><td>6</td></tr></tbody></table>"
    )


def test_signs_stand_with_their_numbers() -> None:
    """Financial reports give them columns of their own; the year above belongs to the number below."""
    text, markup = added(
        ["", "", Cell("2021", columns=3), ""],
        ["Gross", "", "$", "312,639", ""],
        ["Less", "", "", "(810", ")"],
        ["Margin", "", "", "12", "%"],
        header_rows=1,
    )
    assert text == "| 2021\nGross | $312,639\nLess | (810)\nMargin | 12%"
    assert "<tr><td>Gross</td><td>$312,639</td></tr>" in markup


def test_a_sign_that_is_a_value_stays_a_cell() -> None:
    """Not every dollar sign belongs to what stands beside it."""
    assert added(["Country", "Sign", "Since"], ["US", "$", "1792"], ["UK", "£", "800"])[0].endswith("UK | £ | 800")


@pytest.mark.timeout(10)
def test_spans_without_end_are_passed_over() -> None:
    """A table of a kilobyte must not make a grid of a gigabyte."""
    text, _ = added([Cell("a", 999, 999)] * 1000, *[["b"]] * 1000)
    assert len(text) < 10_000


def markup(data: bytes | str, name: str) -> list[str]:
    return [element.html for element in read(data, name).elements if element.kind == "table"]


MERGED = (
    '<table><thead><tr><th colspan="2">H</th></tr></thead><tbody><tr><td rowspan="2">L</td><td>1</td></tr>'
    "<tr><td>2</td></tr></tbody></table>"
)


def test_html_tables_keep_their_cells() -> None:
    """Header cells make the header; attributes and links are left out."""
    source = (
        "<p>x</p><table class=a><tr><th colspan=2>H</th></tr><tr><td rowspan='2'><a href=x>L</a></td><td>1</td></tr>"
        "<tr><td>2</td></tr></table><table><tr><td>a</td><td>b</td></tr></table>"
    )
    assert markup(source, "a.html") == [MERGED, "<table><tbody><tr><td>a</td><td>b</td></tr></tbody></table>"]


def test_markdown_tables_keep_their_cells() -> None:
    """The first row is the header by definition."""
    assert markup("| A | B |\n|---|---|\n| 1 |  |\n", "a.md") == [
        "<table><thead><tr><th>A</th><th>B</th></tr></thead><tbody><tr><td>1</td><td></td></tr></tbody></table>"
    ]


def test_word_tables_keep_merged_cells() -> None:
    """Word writes an empty cell where one from above reaches into a row."""
    package = docx.Document()
    table = package.add_table(3, 2)
    table.cell(0, 0).merge(table.cell(0, 1)).text = "H"
    table.cell(1, 0).merge(table.cell(2, 0)).text = "L"
    table.cell(1, 1).text, table.cell(2, 1).text = "1", "2"
    out = io.BytesIO()
    package.save(out)
    assert markup(out.getvalue(), "a.docx") == [MERGED]
    assert read(out.getvalue(), "a.docx").text == "H |\nL | 1\nL | 2"


def test_slides_keep_merged_cells() -> None:
    """PowerPoint marks the cells that another covers."""
    package = pptx.Presentation()
    slide = package.slides.add_slide(package.slide_layouts[6])
    table = slide.shapes.add_table(3, 2, 0, Inches(1), Inches(4), Inches(1)).table
    table.cell(0, 0).merge(table.cell(0, 1))
    table.cell(1, 0).merge(table.cell(2, 0))
    table.cell(0, 0).text, table.cell(1, 0).text, table.cell(1, 1).text, table.cell(2, 1).text = "H", "L", "1", "2"
    out = io.BytesIO()
    package.save(out)
    assert markup(out.getvalue(), "a.pptx") == [MERGED]
