"""What a model is shown of the chunks that were found: fitted to a budget, joined, widened, put in order.

Everything shown is `document.text[start:end]` of one document version under one heading path, so citations of it are
as exact as those of a chunk. `retrieval.chunks`, what was found, stays what it was.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from retrieval.ports import Snapshot, Tokenizer
from retrieval.records import Chunk, Document, ScoredChunk, chunk_id

Expansion = Literal["none", "neighbours", "section"]
Order = Literal["rank", "edges", "document"]

MAX_EXPANSION = 16
"""Chunks on either side that a section is looked for in."""


@dataclass(frozen=True, slots=True)
class Assembly:
    """What is shown, in the order in which it is shown."""

    passages: tuple[ScoredChunk, ...]
    """Each with the id and the score of the best chunk in it."""
    members: Mapping[str, tuple[Chunk, ...]] = field(default_factory=dict)
    """By chunk_id of a passage: the chunks that it is made of, in reading order."""
    left_out: tuple[str, ...] = ()
    """chunk_ids of what was found and is not shown because the budget was spent, best first."""

    def chunk_at(self, chunk_id: str, offset: int) -> str:
        """The id of the chunk that has the character at `offset` of the document, within the passage `chunk_id`."""
        inside = [chunk.chunk_id for chunk in self.members.get(chunk_id, ()) if chunk.start <= offset]
        return inside[-1] if inside else chunk_id


def assemble(
    chunks: Sequence[ScoredChunk],
    snapshot: Snapshot,
    *,
    budget_tokens: int,
    tokenizer: Tokenizer,
    merge: bool = True,
    expand: Expansion = "none",
    order: Order = "rank",
) -> Assembly:
    """The passages that a model reads, made of `chunks` (best first), which come from `snapshot`.

    From the last one on, chunks that `budget_tokens` has no room for are left out whole; the best one is always shown.
    Tokens are counted by `tokenizer`, the embedder's, which a chat model's differs from a little. Then each is widened
    where there is room (`expand`: by the chunk on either side, or to the whole section: chunks under the same
    headings), and those of one section that follow each other are joined (`merge`). `order`: 'rank' has the best
    first; 'edges' the best first and the second best last, for what is in the middle of a long prompt is read least
    (Liu et al. 2023); 'document' has each document's passages together in reading order, the best document first.
    """
    spent = _Budget(budget_tokens, tokenizer)
    shown = [scored for i, scored in enumerate(chunks) if spent.take(scored.chunk, always=i == 0)]
    groups = [[scored.chunk] for scored in shown]
    if expand != "none":
        reach = 1 if expand == "neighbours" else MAX_EXPANSION
        taken = {scored.chunk.chunk_id for scored in shown}
        groups = [_widened(scored.chunk, snapshot, reach, taken, spent) for scored in shown]
    ranked = _joined(groups, shown, merge=merge)
    made = _Texts(snapshot)
    passages = [made.passage(best, members) for best, members in ranked]
    return Assembly(
        passages=tuple(_ordered(passages, order)),
        members={best.chunk.chunk_id: tuple(members) for best, members in ranked},
        left_out=tuple(scored.chunk.chunk_id for scored in chunks[len(shown) :]),
    )


class _Budget:
    """Counts tokens; once something does not fit, nothing after it does, so that the order of ranks is kept."""

    def __init__(self, tokens: int, tokenizer: Tokenizer) -> None:
        self._left = tokens
        self._tokenizer = tokenizer
        self._spent = False

    def take(self, chunk: Chunk, *, always: bool = False) -> bool:
        tokens = len(self._tokenizer.offsets(chunk.text))
        self._spent = self._spent or (tokens > self._left and not always)
        if not self._spent:
            self._left -= tokens
        return not self._spent


def _widened(chunk: Chunk, snapshot: Snapshot, reach: int, taken: set[str], spent: _Budget) -> list[Chunk]:
    """The chunk with those before and after it in its section, nearest first while there is room, in reading order.

    Each chunk is shown once: widening stops at one that another passage has.
    """
    around = [chunk_id(chunk.doc_id, chunk.ordinal + i) for i in range(-min(reach, chunk.ordinal), reach + 1) if i]
    found = {stored.chunk.ordinal: stored.chunk for stored in snapshot.chunks(around)}
    members = [chunk]
    open_ = {-1, 1}
    for distance in range(1, reach + 1):
        for side in sorted(open_):
            other = found.get(chunk.ordinal + side * distance)
            if other is None or not _same_section(chunk, other) or other.chunk_id in taken or not spent.take(other):
                open_.discard(side)
                continue
            taken.add(other.chunk_id)
            members.append(other)
    return sorted(members, key=lambda member: member.ordinal)


def _same_section(one: Chunk, other: Chunk) -> bool:
    return (one.doc_id, one.version, one.headings) == (other.doc_id, other.version, other.headings)


def _joined(
    groups: Iterable[list[Chunk]], shown: Sequence[ScoredChunk], *, merge: bool
) -> list[tuple[ScoredChunk, list[Chunk]]]:
    """Runs of chunks, each with its best one, in the order of those; with `merge`, runs that touch are one."""
    runs: list[tuple[ScoredChunk, list[Chunk]]] = []
    for scored, members in zip(shown, groups, strict=True):
        touching = [run for run in runs if merge and _touch(run[1], members)]
        if not touching:
            runs.append((scored, members))
            continue
        joined = [*members, *(member for run in touching for member in run[1])]  # it may lie between two runs
        touching[0][1][:] = sorted({member.ordinal: member for member in joined}.values(), key=lambda m: m.ordinal)
        for run in touching[1:]:
            runs.remove(run)
    return runs


def _touch(one: Sequence[Chunk], other: Sequence[Chunk]) -> bool:
    """Whether two runs of one section follow each other, overlap included."""
    return (
        _same_section(one[0], other[0])
        and one[0].ordinal <= other[-1].ordinal + 1
        and other[0].ordinal <= one[-1].ordinal + 1
    )


class _Texts:
    """Cuts passages out of the documents, which are read once each, and only where more than one chunk is joined."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._documents: dict[str, Document] = {}

    def passage(self, best: ScoredChunk, members: Sequence[Chunk]) -> ScoredChunk:
        """The passage from the first of `members` to the last."""
        if len(members) == 1:
            return best
        doc_id = best.chunk.doc_id
        if doc_id not in self._documents:
            self._documents[doc_id] = self._snapshot.document(doc_id)
        document = self._documents[doc_id]
        start, end = members[0].start, max(member.end for member in members)
        span = replace(
            best.chunk,
            start=start,
            end=end,
            text=document.text[start:end],
            page=document.page_at(start),
            context=members[0].context,  # of what comes first: below it there may be the header of a table
        )
        return replace(best, chunk=span)


def _ordered(passages: Sequence[ScoredChunk], order: Order) -> Iterator[ScoredChunk]:
    if order == "edges":
        yield from passages[::2]
        yield from reversed(passages[1::2])
    elif order == "document":
        documents = list(dict.fromkeys(scored.chunk.doc_id for scored in passages))
        yield from sorted(passages, key=lambda s: (documents.index(s.chunk.doc_id), s.chunk.start))
    else:
        yield from passages
