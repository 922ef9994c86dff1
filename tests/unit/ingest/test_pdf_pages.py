"""Places on the page, form fields and notes, scanned pages, and PDFs of unusual size or make."""

import time

import pytest

from ingest.loaders import load, pdf, pdf_scans
from ingest.loaders.builder import Recognition
from ingest.loaders.pdf_lines import Line
from retrieval.errors import CorruptFile, EmptyDocument, FootnoteError, LimitExceeded, NeedsOcr
from retrieval.records import Box, Document
from tests.unit.ingest.files import read, shown
from tests.unit.ingest.pdfs import HEAD, Writer, book, content, pages, scan

LINES = [(100.0, 700.0, "A line of text that has a place"), (100.0, 688.0, "and another one right below it")]
CAPTION = "A caption that is long enough to be text."


def boxes(document: Document) -> list[Box]:
    return [box for element in document.elements for box in element.boxes]


def near(box: Box, left: float, top: float, right: float, bottom: float) -> bool:
    got, expected = (box.left, box.top, box.right, box.bottom), (left, top, right, bottom)
    return all(abs(a - b) < 3 for a, b in zip(got, expected, strict=True))


def test_elements_say_where_they_stand() -> None:
    """In points from the left and upper edge, rounded to a tenth."""
    (box,) = boxes(read(pages([LINES]), "a.pdf"))
    assert near(box, 100, 90, 232, 114)
    assert box == Box(1, round(box.left, 1), round(box.top, 1), round(box.right, 1), round(box.bottom, 1))


@pytest.mark.parametrize(
    ("turn", "expected"),
    [(0, (100, 90, 232, 114)), (90, (686, 100, 710, 232)), (180, (368, 686, 500, 710)), (270, (90, 368, 114, 500))],
)
def test_boxes_are_those_of_the_page_as_shown(turn: int, expected: tuple[float, float, float, float]) -> None:
    """A page may be turned; the text stays the same."""
    document = read(pages([LINES], entries=b"/Rotate %d" % turn), "a.pdf")
    assert document.text == "A line of text that has a place and another one right below it"
    assert near(boxes(document)[0], *expected)


def test_boxes_are_counted_from_what_is_seen_of_the_page() -> None:
    """A page may be cut, and its paper need not begin at zero."""
    document = read(pages([LINES], entries=b"/CropBox [50 100 550 750]"), "a.pdf")
    assert near(boxes(document)[0], 50, 40, 182, 64)


def test_text_that_runs_upwards_has_its_box_where_it_stands() -> None:
    """Titles at the side of a table do."""
    writer = Writer()
    writer.page(b"BT /F 10 Tf 0 1 -1 0 300 200 Tm (Along the edge of the page) Tj ET")
    document = read(writer.write(), "a.pdf")
    assert document.text == "Along the edge of the page"
    assert near(boxes(document)[0], 290, 478, 302, 600)


def test_a_paragraph_over_two_columns_has_a_box_in_each() -> None:
    """A viewer marks what was cited, not what lies between."""
    left = [(20, 100, "a sentence that is long enough to fill"), (20, 88, "the last lines of its column and goes")]
    right = [(320, 700, "on at the head of the next column."), (320, 688, "There it ends.")]
    document = read(pages([[*left, *right]]), "a.pdf")
    assert [round(box.left) for box in document.elements[0].boxes] == [20, 320]


def form(*fields: bytes) -> bytes:
    """A page with form fields and notes, each the entries of an annotation."""
    writer = Writer()
    kids = [writer.add(b"<< /Type /Annot /Rect [100 600 200 620] %s >>" % entries) for entries in fields]
    listed = b" ".join(b"%d 0 R" % kid for kid in kids)
    writer.root = b"/AcroForm << /Fields [%s] >>" % listed
    writer.page(content([(20, 700, "Application")]), entries=b"/Annots [%s]" % listed)
    return writer.write()


STATES = b"/AP << /N << /Yes << >> /Off << >> >> >>"


@pytest.mark.parametrize(
    ("entries", "text"),
    [
        (b"/Subtype /Widget /FT /Tx /T (name) /V (Jane Doe)", "Form field name: Jane Doe"),
        (b"/Subtype /Widget /FT /Tx /T (f1) /TU (Your name) /V (Jane)", "Form field Your name: Jane"),
        (b"/Subtype /Widget /FT /Ch /Ff 131072 /T (town) /Opt [(Rome) (Bonn)] /V (Bonn)", "Form field town: Bonn"),
        (b"/Subtype /Widget /FT /Btn /T (agreed) /V /Yes /AS /Yes " + STATES, "Form field agreed: checked"),
        (b"/Subtype /Text /Contents (Is that so?)", "Note: Is that so?"),
        (b"/Subtype /FreeText /DA (/F 9 Tf) /Contents (Paid)", "Note: Paid"),
        (b"/Subtype /Highlight /Contents (See \xa7 5)", "Note on marked text: See \u00a7 5"),
    ],
)
def test_what_was_filled_in_or_noted_is_text(entries: bytes, text: str) -> None:
    """At its page, marked for what it is, with its place."""
    document = read(form(entries), "a.pdf")
    assert [part for _, part in shown(document)] == ["Application", text]
    box = boxes(document)[-1]
    assert (box.left, box.top) == (100, 180)  # pdfium gives a note the size of its icon


@pytest.mark.parametrize(
    "entries",
    [
        b"/Subtype /Widget /FT /Tx /T (name)",
        b"/Subtype /Widget /FT /Tx /Ff 8192 /T (password) /V (secret)",
        b"/Subtype /Widget /FT /Btn /T (agreed) /V /Off /AS /Off " + STATES,
        b"/Subtype /Widget /FT /Btn /Ff 65536 /T (send) /V (Send)",
        b"/Subtype /Link /Contents (where to)",
        b"/Subtype /Text /F 2 /Contents (hidden)",
        b"/Subtype /Text /Contents 12",
        b"/Subtype /Nonsense /Contents (x)",
    ],
)
def test_empty_hidden_and_secret_fields_are_no_text(entries: bytes) -> None:
    """Nor are links, buttons, and notes that say nothing."""
    assert read(form(entries), "a.pdf").text == "Application"


def test_a_form_without_other_text_is_a_document() -> None:
    """What was filled in is all there is."""
    writer = Writer()
    field = writer.add(b"<< /Type /Annot /Subtype /Widget /FT /Tx /T (name) /V (Jane) /Rect [0 0 9 9] >>")
    writer.root = b"/AcroForm << /Fields [%d 0 R] >>" % field
    writer.page(b"", entries=b"/Annots [%d 0 R]" % field)
    assert read(writer.write(), "a.pdf").text == "Form field name: Jane"


GRAY = bytes(range(256)) * 4


@pytest.mark.parametrize("stamp", ["", "Page 1"])
def test_a_scanned_file_needs_ocr(stamp: str) -> None:
    """An image that fills the page, with no more than a stamp on it."""
    with pytest.raises(NeedsOcr, match=r"'a\.pdf' has no text layer.*install tesseract"):
        read(scan(GRAY, 32, 32, stamp=stamp), "a.pdf")


def test_a_picture_with_text_is_no_scan() -> None:
    """Slides have pictures behind their text."""
    assert read(scan(GRAY, 32, 32, stamp=CAPTION), "a.pdf").text == CAPTION


def mixed() -> bytes:
    """A page of text, and one that is an image."""
    writer = Writer()
    entries = b"/Type /XObject /Subtype /Image /Width 32 /Height 32 /ColorSpace /DeviceGray /BitsPerComponent 8"
    image = writer.stream(GRAY, entries)
    writer.page(content(LINES))
    writer.page(b"q 600 0 0 800 0 0 cm /I Do Q", resources=b"/XObject << /I %d 0 R >>" % image)
    return writer.write()


def test_pages_that_are_images_are_named() -> None:
    """The rest of the file is loaded."""
    document = read(mixed(), "a.pdf")
    assert document.metadata["pages_without_text"] == (2,)
    assert len(document.page_starts) == 2


def test_recognised_pages_are_text_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who reads a citation may want to know that a machine has read the page."""
    lines = [Line("as recognised", 100, 600, 200, 612)]
    monkeypatch.setattr(pdf_scans, "recognised", lambda page, languages, name: lines)
    document = load(
        mixed(), name="a.pdf", source_uri="file:///a.pdf", doc_id="0123456789abcdef", ocr=Recognition("eng")
    )
    assert document.metadata["pages_recognised"] == (2,)
    assert "pages_without_text" not in document.metadata
    assert document.page_at(document.text.index("as recognised")) == 2


def test_many_pages_take_little_time() -> None:
    """Two milliseconds for a page of forty lines; the limit leaves room for slow machines."""
    data = book(100)
    start = time.process_time()
    document = read(data, "a.pdf")
    assert len(document.page_starts) == 100
    assert time.process_time() - start < 2


def test_more_lines_than_a_file_may_have_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before they take all memory; the message says how far it came."""
    monkeypatch.setattr(pdf, "MAX_LINES", 100)
    with pytest.raises(LimitExceeded, match=r"'a\.pdf' has more than 100 lines on its first 3 pages"):
        read(book(5), "a.pdf")


def test_more_pages_than_a_file_may_have_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is on them."""
    monkeypatch.setattr(pdf, "MAX_PAGES", 3)
    with pytest.raises(LimitExceeded, match=r"'a\.pdf' has 4 pages, more than 3"):
        read(pages([LINES] * 4), "a.pdf")


def test_blank_pages_are_no_document() -> None:
    """Nor are pages with a line drawn on them."""
    writer = Writer()
    writer.page(b"0 0 m 100 100 l S")
    with pytest.raises(EmptyDocument, match="holds no text"):
        read(writer.write(), "a.pdf")


def tree(kids: bytes, count: int) -> bytes:
    """A file whose page tree has these kids, whatever they are."""
    body = b"1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n"
    body += b"2 0 obj\n<< /Type /Pages /Kids [%s] /Count %d >>\nendobj\n" % (kids, count)
    body += b"3 0 obj\n<< /Type /Pages /Parent 2 0 R /Kids [2 0 R 3 0 R] /Count 7 >>\nendobj\n"
    return HEAD + body + b"trailer << /Size 4 /Root 1 0 R >>\n%%EOF"


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kids", [b"2 0 R", b"3 0 R", b"2 0 R 2 0 R 3 0 R", b"99 0 R", b"", b"(text)", b"null " * 50])
@pytest.mark.parametrize("count", [1, 7, 0, -5, 2**31 - 1])
def test_page_trees_that_lead_nowhere_end_in_an_error(kids: bytes, count: int) -> None:
    """Loops, missing pages and wrong counts."""
    with pytest.raises((CorruptFile, EmptyDocument, LimitExceeded)):
        read(tree(kids, count), "a.pdf")


@pytest.mark.timeout(60)
def test_a_file_cut_short_anywhere_gives_a_document_or_an_error() -> None:
    """Downloads break off."""
    data = form(b"/Subtype /Widget /FT /Tx /T (name) /V (Jane Doe)")
    for end in range(0, len(data), 11):
        try:
            read(data[:end], "a.pdf")
        except FootnoteError:
            continue
