"""Plain text, and source code as text: paragraphs by empty lines, hard-wrapped lines joined again."""

import re
from itertools import pairwise

from ingest.loaders.builder import DocumentBuilder, Origin
from ingest.loaders.charset import decode
from ingest.loaders.cleaning import clean
from ingest.loaders.detection import extension_of
from retrieval.records import Document

VERSION = 1

CODE_EXTENSIONS = frozenset(
    {
        *("bash", "bat", "c", "cc", "cfg", "clj", "cmake", "conf", "cpp", "cs", "css", "cxx", "dart", "diff", "ini"),
        *("env", "erl", "ex", "exs", "f90", "go", "gradle", "groovy", "h", "hpp", "hs", "java", "jl", "js", "jsx"),
        *("kt", "less", "lisp", "lua", "m", "mjs", "ml", "patch", "php", "pl", "pm", "properties", "ps1", "py", "pyi"),
        *("r", "rb", "rs", "scala", "scm", "scss", "sh", "sql", "swift", "tcl", "tf", "toml", "ts", "tsx", "vb", "vim"),
        *("yaml", "yml", "zsh"),
    }
)
"""Names under which line breaks and indentation are kept as they are."""

_EMPTY_LINES = re.compile(r"\n(?:[^\S\n]*\n)+")
_PREFORMATTED = re.compile(r"^(?: {4}|\t)|\S {3,}\S|\t", re.MULTILINE)


def load(data: bytes, origin: Origin) -> Document:
    """See `ingest.loaders.load`."""
    text = clean(decode(data))
    builder = DocumentBuilder()
    add_text(builder, text, code=extension_of(origin.name) in CODE_EXTENSIONS)
    return builder.build(origin)


def add_text(builder: DocumentBuilder, text: str, *, code: bool = False) -> None:
    """Add clean text to `builder`, block by block; blocks are separated by empty lines."""
    for block in _EMPTY_LINES.split(text):
        if code or _is_preformatted(block):
            builder.code(block)
        else:
            builder.paragraph(unwrap(block))


def unwrap(block: str) -> str:
    """Join the lines of a paragraph that was wrapped at a fixed width; other line breaks stay.

    Wrapped means: no line could have taken the first word of the next one. Verses, addresses and lists fail that
    test, whatever the language.
    """
    lines = [line.strip() for line in block.split("\n") if line.strip()]
    if len(lines) < 2:
        return block
    width = max(map(len, lines))
    if width < 40:
        return block
    wrapped = all(len(line) + 1 + len(following.split(None, 1)[0]) > width - 2 for line, following in pairwise(lines))
    return " ".join(lines) if wrapped else block


def _is_preformatted(block: str) -> bool:
    # Columns made with blanks, or indented code: on at least two lines, or it is but an indented first line.
    lines = [line for line in block.split("\n") if line.strip()]
    return len(lines) > 1 and sum(map(bool, map(_PREFORMATTED.search, lines))) * 2 > len(lines)
