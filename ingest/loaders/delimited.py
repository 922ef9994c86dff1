"""CSV and TSV: one line per record."""

import csv
import sys
from collections.abc import Iterator

from ingest.loaders import tabular
from ingest.loaders.builder import DocumentBuilder, Origin, stem
from ingest.loaders.charset import decode
from ingest.loaders.cleaning import clean
from retrieval.records import Document

VERSION = 1

_DELIMITERS = ",;\t|"
_SAMPLE = 64 * 1024


def load(data: bytes, origin: Origin) -> Document:
    """See `ingest.loaders.load`."""
    text = clean(decode(data))
    builder = DocumentBuilder()
    tabular.add_rows(builder, _rows(text, "\t" if origin.file_type == "tsv" else _delimiter(text[:_SAMPLE])))
    return builder.build(origin, title=stem(origin.name))


def _rows(text: str, delimiter: str) -> Iterator[list[str]]:
    csv.field_size_limit(sys.maxsize)
    # An apostrophe at the beginning of a field is text; only '"' quotes. Lines, so that a quote that is never closed
    # cannot swallow more than the rest of the file.
    return csv.reader(text.splitlines(keepends=True), delimiter=delimiter, skipinitialspace=True)


def _delimiter(sample: str) -> str:
    """The delimiter that cuts most lines into the same number of cells, above one; a comma when none does."""
    lines = sample.splitlines()[:50]
    best, best_score = ",", 0.0
    for delimiter in _DELIMITERS:
        widths = [len(row) for row in csv.reader(lines, delimiter=delimiter) if row]
        common = max(set(widths), key=widths.count, default=1)
        score = widths.count(common) / len(widths) if widths and common > 1 else 0.0
        if score > best_score:
            best, best_score = delimiter, score
    return best
