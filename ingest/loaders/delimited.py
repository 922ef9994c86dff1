"""CSV and TSV: one line per record."""

import csv
import re
import sys
from collections.abc import Iterator

from ingest.loaders import tabular
from ingest.loaders.builder import DocumentBuilder, Origin, stem
from ingest.loaders.charset import decode
from ingest.loaders.cleaning import clean
from retrieval.records import Document

VERSION = 2

_DELIMITERS = ",;\t|"
_SAMPLE = 64 * 1024
_TOLD = re.compile(r'"?sep=([,;\t|])"?\n')
"""The first line of a file that was written for Excel."""


def load(data: bytes, origin: Origin) -> Document:
    """See `ingest.loaders.load`."""
    text = clean(decode(data))
    told = _TOLD.match(text)
    text = text[told.end() :] if told else text
    delimiter = told[1] if told else "\t" if origin.file_type == "tsv" else _delimiter(text[:_SAMPLE])
    builder = DocumentBuilder()
    tabular.add_rows(builder, _rows(text, delimiter))
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
