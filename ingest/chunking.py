"""Document to chunks, pure: parts that belong together, no longer than the embedder's window.

The chunks of a document are those of least total cost, found by dynamic programming over the atoms of
`ingest.atoms`, in linear time. A chunk costs the square of the share of it that is empty, which fills chunks and
spreads what is left over evenly; a cut costs by where it falls (between elements nothing, within a sentence much);
and a heading inside a chunk costs, more for a sibling section than for a subsection and most for a section of the
level above. So small sections share a chunk, and a chunk that is big enough ends where its section does.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate

from ingest.atoms import Atom, atoms
from retrieval.errors import ConfigError
from retrieval.ports import Tokenizer
from retrieval.records import Chunk, Chunking, Document, chunk_id

SPECIAL_TOKENS = 2
"""What the model adds around a text, e.g. [CLS] and [SEP]."""

MIN_WINDOW = 16

# What a heading inside a chunk costs, against the gain of a fuller chunk.
CROSS_SUBSECTION = 0.25
CROSS_SIBLING = 0.5
CROSS_ABOVE = 0.8

CROSS_PAGE = 0.1
"""What a page break inside a chunk costs: a chunk on one page is easier to look up."""

NO_WORDS = 3.0
"""Cost of a chunk without a letter or digit: it is of no use to a search."""

LOOKBACK = 64
"""Atoms that a chunk is made of at most."""


def split(document: Document, *, tokenizer: Tokenizer, window: int, settings: Chunking) -> list[Chunk]:
    """The chunks of `document`, in reading order.

    `window` is the number of tokens that the embedder reads, special tokens included: context and text of each chunk
    fit in it. Every character that is no white space is in a chunk; without overlap, in one only. Raises ConfigError
    when `window` is too small to hold anything.
    """
    if window < MIN_WINDOW:
        raise ConfigError(f"the embedder's window of {window!r} tokens is too small; at least {MIN_WINDOW} are needed")
    context_limit = min(settings.context_tokens, window // 4)
    limit = min(settings.chunk_tokens, window - SPECIAL_TOKENS - context_limit)
    overlap = min(settings.overlap_tokens, limit // 2)
    pieces = atoms(document, tokenizer, limit=limit - overlap)
    contexts = _Contexts(document, tokenizer, context_limit, room=window - SPECIAL_TOKENS - limit)
    chunks: list[Chunk] = []
    version = document.version
    before = -1
    for first, last in _pack(pieces, document, limit - overlap):
        members = pieces[first:last]
        headings = _common_path(members)
        context = contexts.of(headings, members)
        start = pieces[_overlap_from(pieces, first, overlap, least=before + 1)].start
        before = first
        for piece_start, piece_end in _fitted(document.text, start, members, context, tokenizer, window):
            chunks.append(
                Chunk(
                    chunk_id=chunk_id(document.doc_id, len(chunks)),
                    doc_id=document.doc_id,
                    version=version,
                    ordinal=len(chunks),
                    start=piece_start,
                    end=piece_end,
                    text=document.text[piece_start:piece_end],
                    page=document.page_at(piece_start),
                    headings=headings,
                    context=context,
                )
            )
    return chunks


def _pack(pieces: Sequence[Atom], document: Document, limit: int) -> list[tuple[int, int]]:
    """Ranges of atoms, one per chunk, of least total cost."""
    tokens = [0, *accumulate(piece.tokens for piece in pieces)]
    words = [0, *accumulate(piece.words for piece in pieces)]
    crossing = [0.0, *accumulate(_crossing(pieces, document))]
    best = [0.0] + [float("inf")] * len(pieces)
    origin = [0] * (len(pieces) + 1)
    for end in range(1, len(pieces) + 1):
        cut = pieces[end - 1].cut if end < len(pieces) else 0.0
        for start in range(end - 1, max(-1, end - 1 - LOOKBACK), -1):
            size = tokens[end] - tokens[start]
            if size > limit and start < end - 1:
                break
            empty = 1.0 - size / limit
            # A heading at the very start of a chunk is not inside it.
            cost = best[start] + empty * empty + cut + crossing[end] - crossing[start + 1]
            if words[end] == words[start]:
                cost += NO_WORDS
            if cost < best[end]:
                best[end], origin[end] = cost, start
    ranges = []
    end = len(pieces)
    while end:
        ranges.append((origin[end], end))
        end = origin[end]
    return ranges[::-1]


def _crossing(pieces: Sequence[Atom], document: Document) -> Iterator[float]:
    """For each atom, what it costs to have it inside a chunk but not at its start."""
    level, after_heading, page = 0, False, document.page_at(0)
    for piece in pieces:
        cost = 0.0
        if piece.is_heading:
            found = piece.element.level or 1
            if not after_heading:  # a heading right below a heading belongs with it
                cost = CROSS_SUBSECTION if found > level else CROSS_SIBLING if found == level else CROSS_ABOVE
            level = found
        found_page = document.page_at(piece.start)
        yield cost + (CROSS_PAGE if found_page != page else 0.0)
        after_heading, page = piece.is_heading, found_page


def _common_path(members: Sequence[Atom]) -> tuple[str, ...]:
    """The headings that all text of a chunk stands under, those in the chunk itself included."""
    paths = [m.element.headings for m in members if not m.is_heading] or [m.element.headings for m in members]
    common = paths[0]
    for path in paths[1:]:
        same = 0
        while same < min(len(common), len(path)) and common[same] == path[same]:
            same += 1
        common = common[:same]
    return common


class _Contexts:
    """Title and heading path in one line of limited length, and below it the header of a table that was cut."""

    def __init__(self, document: Document, tokenizer: Tokenizer, limit: int, *, room: int) -> None:
        self._title = document.title
        self._text = document.text
        self._tokenizer = tokenizer
        self._limit = limit
        self._room = room
        self._made: dict[tuple[tuple[str, ...], str], str] = {}

    def of(self, headings: tuple[str, ...], members: Sequence[Atom]) -> str:
        """What stands above the chunk; headings that are in its own text are left out."""
        said = {_bare(self._text[m.start : m.end]) for m in members if m.is_heading}
        path = []
        for part in (self._title, *headings):
            if _bare(part) not in said:
                path.append(part)
                said.add(_bare(part))
        key = tuple(path), self._table_header(members[0])
        if key not in self._made:
            self._made[key] = self._fit(*key)
        return self._made[key]

    def _table_header(self, first: Atom) -> str:
        """The first row of the table that a chunk begins in the middle of, so that it says what its columns are."""
        element = first.element
        if element.kind != "table" or first.start == element.start:
            return ""
        end = self._text.find("\n", element.start, first.start)
        row = self._text[element.start : end] if end > 0 else ""
        return row if " | " in row else ""

    def _fit(self, path: tuple[str, ...], header: str) -> str:
        # The ends of the path tell most: the document and the section. What is between goes first.
        line = ""
        for inner in (path[1:], path[-2:], path[-1:]):
            line = " > ".join(dict.fromkeys((*path[:1], *inner)))
            if len(self._tokenizer.offsets(line)) <= self._limit:
                break
        line = self._cut(line, self._limit)
        whole = f"{line}\n{header}" if line and header else line or header
        return self._cut(whole, self._room) if header else line

    def _cut(self, text: str, limit: int) -> str:
        spans = self._tokenizer.offsets(text)
        if len(spans) <= limit:
            return text
        return text[: spans[limit - 1][1]].rstrip() if limit else ""


def _bare(text: str) -> str:
    """What two spellings of a title have in common."""
    return "".join(c for c in text.casefold() if c.isalnum())


def _overlap_from(pieces: Sequence[Atom], first: int, overlap: int, *, least: int) -> int:
    """The atom, not before `least`, that a chunk begins with when it repeats up to `overlap` tokens."""
    start, tokens = first, 0
    while start > least and tokens + pieces[start - 1].tokens <= overlap and not pieces[start - 1].is_heading:
        start -= 1
        tokens += pieces[start].tokens
    return start


def _fitted(
    text: str, start: int, members: Sequence[Atom], context: str, tokenizer: Tokenizer, window: int
) -> Iterator[tuple[int, int]]:
    """The span of a chunk; halves of it where the tokenizer makes more of the whole than of its parts."""
    end = members[-1].end
    tokens = sum(member.tokens for member in members)
    guessed = any(member.split_word for member in members)
    if not guessed and tokens <= (window - SPECIAL_TOKENS) * 0.75:
        yield start, end  # far from the limit: nothing to check
        return
    pending = [(start, end)]
    while pending:
        start, end = pending.pop()
        whole = f"{context}\n{text[start:end]}" if context else text[start:end]
        if end - start == 1 or len(tokenizer.offsets(whole)) <= window - SPECIAL_TOKENS:
            yield start, end
            continue
        middle = _middle(text, start, end)
        left_end, right_start = start + len(text[start:middle].rstrip()), end - len(text[middle:end].lstrip())
        pending += [(right_start, end), (start, left_end)]


def _middle(text: str, start: int, end: int) -> int:
    middle = (start + end) // 2
    space = max(text.rfind(" ", start + 1, middle), text.rfind("\n", start + 1, middle))
    return space if space > start + (end - start) // 4 else middle
