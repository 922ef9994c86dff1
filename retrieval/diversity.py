"""Ways to make results differ: marginal relevance, a cap per document, near-duplicates. Pure functions of hits.

Hits come best first. What is equal is told apart by chunk_id, so that a query has one result whatever the store.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from retrieval.fusion import min_max
from retrieval.ports import Vectors
from retrieval.records import Hit

SHINGLE = 3
"""Words of a shingle (Broder 1997)."""

MIN_OVERLAP = 0.9
"""Share of their shingles that near-identical texts have in common. One word changed within a text costs three of them:
such texts are near-identical from 60 words on."""


def mmr(hits: Sequence[Hit], vectors: Vectors, *, k: int, weight: float) -> list[Hit]:
    """The first k by maximal marginal relevance, Carbonell and Goldstein 1998, in the order in which they are chosen.

    `vectors` has shape (len(hits), dimension), L2-normalised, row by row. Each choice is the hit of the greatest
    `weight` x relevance - (1 - `weight`) x cosine to the nearest one chosen; relevance is the score scaled to 0..1. A
    weight of 1 leaves the order of the scores. Scores stay what they were. Raises ValueError for a weight outside 0..1
    or vectors that are not one per hit.
    """
    if not 0.0 <= weight <= 1.0 or len(vectors) != len(hits):
        raise ValueError(f"a weight of 0..1 and a vector per hit; got {weight!r}, {len(vectors)} for {len(hits)} hits")
    if not hits or k < 1:
        return []
    order = sorted(range(len(hits)), key=lambda i: (-hits[i].score, hits[i].chunk_id))
    scaled = min_max({hit.chunk_id: hit.score for hit in hits})
    relevance = np.array([scaled[hits[i].chunk_id] for i in order])
    rows = np.asarray(vectors, dtype=np.float64)[order]
    nearest = np.full(len(order), -np.inf)
    open_ = np.ones(len(order), dtype=bool)
    chosen: list[int] = []
    while len(chosen) < min(k, len(order)):
        # Before the first choice there is nothing to be near to: relevance alone decides.
        gain = weight * relevance - (1.0 - weight) * nearest if chosen else relevance
        best = int(np.argmax(np.where(open_, gain, -np.inf)))  # the first of equals, which is by chunk_id
        chosen.append(best)
        open_[best] = False
        nearest = np.maximum(nearest, rows @ rows[best])
    return [hits[order[i]] for i in chosen]


def cap_per_document(hits: Sequence[Hit], doc_of: Callable[[str], str], cap: int) -> list[Hit]:
    """The hits without those whose document has `cap` better ones; the order stays. Raises ValueError for a cap < 1."""
    if cap < 1:
        raise ValueError(f"cap = {cap!r}: at least one hit per document")
    taken: Counter[str] = Counter()
    kept = []
    for hit in hits:
        doc_id = doc_of(hit.chunk_id)
        taken[doc_id] += 1
        if taken[doc_id] <= cap:
            kept.append(hit)
    return kept


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A hit that says what a better one says."""

    chunk_id: str
    of: str
    """chunk_id of the better one, which is no duplicate itself."""
    cosine: float
    exact: bool
    """Whether the two texts are the same but for white space, case and width of characters."""


def near_duplicates(
    hits: Sequence[Hit], vectors: Vectors, texts: Sequence[str], *, threshold: float = 0.97
) -> list[Duplicate]:
    """Which hits repeat a better one, in the order of the hits.

    `vectors` and `texts` are one per hit. The same text is a duplicate. So is one whose cosine is at least `threshold`
    and that shares `MIN_OVERLAP` of its shingles, unless the two differ in a number, a name, an identifier or a
    negation: rows of a table embed alike, and one word decides. Raises ValueError when the counts differ.
    """
    if not len(hits) == len(vectors) == len(texts):
        raise ValueError(f"{len(hits)} hits, {len(vectors)} vectors, {len(texts)} texts: one of each per hit")
    prints = [_Print(text) for text in texts]
    cosines = np.asarray(vectors) @ np.asarray(vectors).T
    kept = np.zeros(len(hits), dtype=bool)
    by_text: dict[str, int] = {}
    """The first of each text; a later one with that text is a duplicate of it, or of what it is a duplicate of."""
    origin: dict[int, int] = {}
    found: list[Duplicate] = []
    for i, hit in enumerate(hits):
        same = by_text.setdefault(prints[i].folded, i)
        alike = np.flatnonzero(kept & (cosines[i] >= threshold)).tolist()
        better = same if same != i else next((j for j in alike if prints[i].says_the_same(prints[j])), None)
        if better is None:
            kept[i] = True
        else:
            # The same text as one that is itself near-identical to a better one.
            first = origin.get(better, better)
            origin[i] = first
            cosine = round(float(cosines[i, first]), 4)
            found.append(
                Duplicate(hit.chunk_id, hits[first].chunk_id, cosine, prints[i].folded == prints[first].folded)
            )
    return found


_WORD = re.compile(r"[^\W_]+(?:[-.:/@_'’+#&][^\W_]+)*")
_NEGATIONS = frozenset(
    "no not none never nor neither without cannot except only unless n't nicht kein keine ohne".split()
)


class _Print:
    """What of a text is compared; shingles are made when they are first needed."""

    def __init__(self, text: str) -> None:
        self._text = unicodedata.normalize("NFKC", text)
        self.folded = " ".join(self._text.casefold().split())
        self._words: list[str] | None = None
        self._shingles: frozenset[tuple[str, ...]] = frozenset()

    def says_the_same(self, other: "_Print") -> bool:
        mine, theirs = self._read(), other._read()
        union = len(self._shingles | other._shingles)
        if not union or len(self._shingles & other._shingles) < MIN_OVERLAP * union:
            return False
        differing = (Counter(mine) - Counter(theirs)) + (Counter(theirs) - Counter(mine))
        return not any(map(_decides, differing))

    def _read(self) -> list[str]:
        if self._words is None:
            self._words = _WORD.findall(self._text)
            folded = [word.casefold() for word in self._words]
            self._shingles = frozenset(
                tuple(folded[i : i + SHINGLE]) for i in range(max(1, len(folded) - SHINGLE + 1)) if folded
            )
        return self._words


def _decides(word: str) -> bool:
    """Whether two texts that differ in this word say different things."""
    folded = word.casefold()
    return any(map(str.isdigit, word)) or not word.islower() or folded in _NEGATIONS or folded.endswith(("n't", "n’t"))
