"""The default chat model: composes the answer from sentences of the sources, so it cannot make anything up."""

import re
from collections.abc import Iterator, Sequence

from generation.evidence import Candidate
from generation.markers import escape
from generation.ports import ChatRequest, Delta

RELATIVE_SCORE = 0.15
"""A sentence joins the answer when its score is at least this share of the best one's,"""

RELATIVE_COSINE = 0.4
"""and its cosine this share: words of the question alone do not make an addition."""

SAME = 0.6
"""Two sentences that share this part of the terms of the shorter one say the same."""


class ExtractiveModel:
    """Writes the best sentences of the sources, each with its marker, in reading order within a document."""

    name = "extractive"

    def __init__(self, *, max_sentences: int = 3) -> None:
        self._max_sentences = max_sentences

    def stream(self, request: ChatRequest) -> Iterator[Delta]:
        for candidate in compose(request.evidence.candidates, max_sentences=self._max_sentences):
            text = " ".join(escape(candidate.text).split())
            yield Delta(f"{text} [{candidate.source}]\n")
        yield Delta(stop_reason="end")


def compose(candidates: Sequence[Candidate], *, max_sentences: int) -> list[Candidate]:
    """The sentences of the answer in the order to be read, from candidates that are sorted best first.

    Taken while they add something: near-duplicates of what is there are left out, and so is what scores far below the
    best. When the best one begins with a pronoun, the sentence before it comes along where there is room for three.
    Documents come in the order of their best sentence, sentences of one document in its own order.
    """
    chosen = list(candidates[:1])
    if max_sentences > 2:
        chosen.extend(_antecedent(chosen, candidates))
    for candidate in candidates[1:]:
        if len(chosen) >= max_sentences or candidate.score < RELATIVE_SCORE * candidates[0].score:
            break
        if candidate.cosine < RELATIVE_COSINE * candidates[0].cosine or _POINTER.match(candidate.text):
            continue
        if not any(_same(candidate, other) for other in chosen):
            chosen.append(candidate)
    documents = list(dict.fromkeys(candidate.doc_id for candidate in chosen))
    return sorted(chosen, key=lambda candidate: (documents.index(candidate.doc_id), candidate.start))


_POINTER = re.compile(
    r"\W*(?:for (?:more|further|additional) (?:information|details)|(?:please )?(?:see|refer to)\b|learn more\b"
    r"|for (?:an?|the) [^,.;]{1,120}, (?:please )?(?:see|refer to)\b)",
    re.IGNORECASE,
)
"""A sentence that sends the reader elsewhere adds nothing to an answer."""
_PRONOUN = re.compile(
    r"(?:they|it|he|she|this|these|those|its|his|her|their|such|both|er|sie|es|diese[rs]?|il|elle|ils|elles|ce|cette|ces"
    r"|él|ella|ellos|esto|esta|este)\b",
    re.IGNORECASE,
)


def _antecedent(chosen: Sequence[Candidate], candidates: Sequence[Candidate]) -> Iterator[Candidate]:
    """The sentence that a pronoun at the beginning of the best one points to, as far as one can tell."""
    for best in chosen:
        if best.previous is not None and _PRONOUN.match(best.text):
            yield from (c for c in candidates if (c.doc_id, c.start) == (best.doc_id, best.previous))


def _same(one: Candidate, other: Candidate) -> bool:
    """Whether two sentences say the same, or are the same place. Rows that differ in a number do not."""
    if any(character.isdigit() for term in one.terms ^ other.terms for character in term):
        return one.start == other.start and one.doc_id == other.doc_id
    shorter = min(len(one.terms), len(other.terms))
    overlap = len(one.terms & other.terms)
    return overlap > SAME * shorter and len(one.terms ^ other.terms) < max(shorter, 1)
