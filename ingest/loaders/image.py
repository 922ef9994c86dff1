"""Images by text recognition: what is printed on them, as paragraphs and tables; a page for each image of a file."""

from ingest.loaders import ocr, pdf_scans
from ingest.loaders.builder import DocumentBuilder, Origin, stem
from ingest.loaders.pdf_order import reading_order
from ingest.loaders.pdf_pages import Page, add_pages
from retrieval.errors import NeedsOcr
from retrieval.records import Document

VERSION = 1


def load(data: bytes, origin: Origin) -> Document:
    """See `ingest.loaders.load`. A pixel counts as a point: images seldom tell their true size."""
    if not origin.ocr.languages:
        raise NeedsOcr(f"{origin.name!r} is an image; install tesseract to have its text recognised")
    origin.ocr.before_page()
    found = ocr.recognise(data, languages=origin.ocr.languages, name=origin.name)
    if not any(page.lines for page in found):
        raise NeedsOcr(f"{origin.name!r} is an image, and no text was recognised on it ({origin.ocr.languages})")
    builder = DocumentBuilder()
    lines = (reading_order(pdf_scans.as_lines(page)) for page in found)
    pages = (Page(number, page.height, part) for number, (page, part) in enumerate(zip(found, lines, strict=True), 1))
    add_pages(builder, list(pages))
    return builder.build(origin, title=stem(origin.name))
