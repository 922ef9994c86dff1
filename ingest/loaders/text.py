"""Plain text, and source code as text: paragraphs by empty lines, hard-wrapped lines joined again."""

import re
from collections.abc import Sequence
from itertools import pairwise

from ingest.loaders import front_matter
from ingest.loaders.builder import DocumentBuilder, Origin
from ingest.loaders.charset import decode
from ingest.loaders.cleaning import clean
from ingest.loaders.detection import extension_of
from retrieval.records import Document

VERSION = 2

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

MAX_WIDTH = 160
"""Characters; a text with longer lines has one line per paragraph."""

# One after the other: a pattern that repeats a group keeps a place for each of a million empty lines.
_BLANKS_BEFORE_BREAK = re.compile(r"(?<![^\S\n])[^\S\n]+\n")
_EMPTY_LINES = re.compile(r"\n{2,}")
_PREFORMATTED = re.compile(r"^(?: {4}|\t)|\S {3,}\S|\t", re.MULTILINE)


def load(data: bytes, origin: Origin) -> Document:
    """See `ingest.loaders.load`."""
    text = clean(decode(data))
    code = extension_of(origin.name) in CODE_EXTENSIONS
    text, fields = (text, {}) if code else front_matter.split(text)  # YAML files begin like that, too
    builder = DocumentBuilder()
    add_text(builder, text, code=code)
    title = fields.pop("title", "")
    return builder.build(origin, title=title if isinstance(title, str) else "", metadata=fields)


def add_text(builder: DocumentBuilder, text: str, *, code: bool = False) -> None:
    """Add clean text to `builder`, block by block; blocks are separated by empty lines."""
    blocks = _EMPTY_LINES.split(_BLANKS_BEFORE_BREAK.sub("\n", text))
    width = 0 if code else wrap_width(blocks)
    for block in blocks:
        if code or _is_preformatted(block):
            builder.code(block)
        else:
            builder.paragraph(unwrap(block, width))


def wrap_width(blocks: Sequence[str]) -> int:
    """The width that a text may have been wrapped at, that of its longest line; 0 if no program wraps that wide."""
    widest = max((len(line) for block in blocks if not _is_preformatted(block) for line in _lines(block)), default=0)
    return widest if widest <= MAX_WIDTH else 0


def unwrap(block: str, width: int) -> str:
    """Join the lines of a paragraph that was wrapped at `width` or less; other line breaks stay.

    Wrapped means: no line could have taken the first word of the next one, and lines begin with capitals no oftener
    than words do. Verses, addresses and lists fail that test, whatever the language.
    """
    lines = _lines(block)
    # Of two lines the first is always as long as can be, so there the width of the other paragraphs decides.
    wrapped = _is_wrapped(lines, width) if len(lines) == 2 and width else len(lines) > 2 and _is_wrapped(lines)
    return " ".join(lines) if wrapped else block


def _lines(block: str) -> list[str]:
    return [line.strip() for line in block.split("\n") if line.strip()]


def _is_wrapped(lines: Sequence[str], width: int = 0) -> bool:
    least = max(40, width, *map(len, lines)) - 2  # nothing that is read as text is wrapped below 40
    capitals = sum(line[0].isupper() for line in lines[1:])
    return capitals * 2 <= len(lines) - 1 and all(
        len(line) + 1 + len(following.split(None, 1)[0]) > least for line, following in pairwise(lines)
    )


def _is_preformatted(block: str) -> bool:
    # Columns made with blanks, or indented code, on most of two lines or more; one line may just be indented.
    lines = [line for line in block.split("\n") if line.strip()]
    return len(lines) > 1 and sum(map(bool, map(_PREFORMATTED.search, lines))) * 2 > len(lines)
