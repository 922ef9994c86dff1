"""The answer to an inquiry as sentences that a person understands. Pure functions of `retrieval.inquiry`'s records."""

from typing import TYPE_CHECKING

from retrieval.records import SourceRecord

if TYPE_CHECKING:
    from retrieval.explanation import CandidateTrace
    from retrieval.inquiry import Inquiry, Search, Step, Term, Verdict

_ORDERS = {
    "fused": "fusion",
    "blended": "the blend with late interaction and titles",
    "neighbours": "the neighbours' scores",
    "parts": "fusion with the parts of the question",
    "reranked": "the reranker",
}
"""Stages that put all candidates into one order, and what made it."""

_LIMITS = {
    "per-document": "the cap of results per document (retrieval.per_document)",
    "duplicates": "the removal of near-duplicates (retrieval.deduplicate)",
    "diversity": "diversity (retrieval.diversity)",
    "feedback": "feedback (retrieval.feedback_weight)",
}
_NAMED_TERMS = 6
_NAMED_CHARACTERS = 300
_TERM_CHARACTERS = 60
_NEGLIGIBLE = 1e-6


def sentences(inquiry: "Inquiry", verdict: "Verdict", results: int) -> tuple[str, ...]:
    """`verdict` is that of the ranking: of a document that the filter keeps out, the one without the filter."""
    said = [*_filter(inquiry), *_failure(inquiry)]
    begin = "Without the filter, it" if inquiry.clauses else "It"
    match verdict, inquiry.chunk:
        case "no-chunks", _:
            said.append("The edition that is searched holds no chunk of it, so no search can find it.")
        case "result", chunk if chunk:
            said.append(
                f"{begin} is result {chunk.rank} of {results}, by its chunk {chunk.chunk_id}{_found_by(chunk)}."
            )
        case "outranked", chunk if chunk:
            said += _outranked(inquiry, begin, chunk, results)
        case "removed", chunk if chunk:
            said.append(
                f"{begin} is a candidate{_found_by(chunk)}, but {_LIMITS.get(chunk.removed_by, chunk.removed_by)} "
                f"took its chunk {chunk.chunk_id} out: {chunk.reason}."
            )
        case _:
            said.append(f"{begin} is no result, and no search had a chunk of it among its candidates.")
    if verdict not in ("no-chunks", "result"):
        ranked = {step.stage for step in inquiry.steps if step.rank is not None}
        said += [_short(search) for search in inquiry.searches if search.stage not in ranked]
        said += _lacking(inquiry)
    return tuple(said)


def absence(source: SourceRecord) -> str:
    """Why a source that the ledger knows is no document."""
    when = f" on {source.recorded_at[:10]}" if source.recorded_at else ""
    why = f": {source.error}" if source.error else ""
    match source.status:
        case "deleted":
            return f"The document was deleted on purpose{when}{why}; a sync does not bring it back."
        case "needs-ocr":
            return f"It was not ingested{when}: its pages are images and need text recognition{why}."
        case "unsupported":
            return f"It was not ingested{when}: no loader reads such files{why}."
        case "failed":
            return f"It was not ingested{when}{why}."
        case _:
            return f"The ledger has it as ingested{when}, but the document is not there; `footnote doctor` tells more."


def _filter(inquiry: "Inquiry") -> list[str]:
    said = []
    for clause in inquiry.clauses:
        has = "; ".join(
            f"its {field} is {_shortened(', '.join(map(repr, values)))}" if values else f"it has no {field}"
            for field, values in clause.values.items()
        )
        said.append(f"The filter keeps it out: {_shortened(clause.text)} does not hold, {has}.")
    return said


def _failure(inquiry: "Inquiry") -> list[str]:
    source = inquiry.source
    if source is None or source.status == "ingested":
        return []
    why = f": {source.error}" if source.error else ""
    return [f"What is searched is an older version: the last time, its source was not ingested ({source.status}{why})."]


def _found_by(chunk: "CandidateTrace") -> str:
    """', number 3 of the lexical and 80 of the dense search'."""
    ranks = [f"{one.rank} of the {one.stage}" for one in chunk.stages if one.stage in ("lexical", "dense")]
    return f", number {' and '.join(ranks)} search" if ranks else ""


def _outranked(inquiry: "Inquiry", begin: str, chunk: "CandidateTrace", results: int) -> list[str]:
    orders = [step for step in inquiry.steps if step.stage in _ORDERS]
    end = orders[-1]
    gap = ""
    if inquiry.last and inquiry.last.score is not None and chunk.score is not None:
        short = inquiry.last.score - chunk.score
        gap = (
            f"; it has {chunk.score:.3f} where result {inquiry.last.rank} has {inquiry.last.score:.3f}"
            if short > _NEGLIGIBLE
            else "; it has the score of the last result, and ties are broken by chunk_id"
        )
    said = [f"{begin} is a candidate, but its best chunk {chunk.chunk_id} is number {end.rank}{gap}."]
    return said + _fall(inquiry.steps, orders, results)


def _fall(steps: "tuple[Step, ...]", orders: "list[Step]", results: int) -> list[str]:
    """Which stage moved it out of the results, when one did."""
    before = min(
        (s for s in steps if s.stage in ("lexical", "dense") and s.rank), key=lambda s: s.rank or 0, default=None
    )
    for former, step in zip([before, *orders], orders, strict=False):
        if former and former.rank and step.rank and former.rank <= results < step.rank:
            where = f"the {former.stage} search" if former is before else _ORDERS[former.stage]
            return [f"By {where} it was number {former.rank}; {_ORDERS[step.stage]} moved it to {step.rank}."]
    if before is None or not before.rank:
        return []
    best = min([before, *orders], key=lambda step: step.rank or 10**9)
    where = f"the {best.stage} search" if best is before else _ORDERS[best.stage]
    return [f"No stage had it among the first {results}; best was {where}: number {best.rank}."]


def _short(search: "Search") -> str:
    """How far the document is from being a candidate of one search."""
    if search.stage == "lexical" and search.score == 0.0:
        return "Lexical search cannot find it: it holds no term of the query."
    rank = f"number {search.rank:,}" if search.rank else f"not among the first {search.depth:,}"
    if search.last_score is None:
        return f"{search.stage.capitalize()} search: its best chunk has {search.score:.3f} and is {rank}."
    what = "cosine" if search.stage == "dense" else "BM25"
    said = (
        f"{search.stage.capitalize()} search: its best chunk has a {what} of {search.score:.3f} and is {rank}; the "
        f"last of {search.candidates} candidates has {search.last_score:.3f}"
    )
    if search.missed:
        return f"{said}. It should be a candidate: the index searches approximately and did not come across it."
    return f"{said}."


def _lacking(inquiry: "Inquiry") -> list[str]:
    held = [_quoted(term) for term in inquiry.terms if term.adds]
    lacking = [term for term in inquiry.terms if not term.adds]
    if not lacking or not held:  # that it holds none of them is said already
        return []
    named = ", ".join(f"{_quoted(term)} (idf {term.idf:.1f}, in {_chunks(term)})" for term in lacking[:_NAMED_TERMS])
    more = f" and {len(lacking) - _NAMED_TERMS} more" if len(lacking) > _NAMED_TERMS else ""
    has = f" It holds {', '.join(held[:_NAMED_TERMS])}{' and more' * (len(held) > _NAMED_TERMS)}."
    return [f"Of the query's terms, that chunk does not hold {named}{more}.{has}"]


def _quoted(term: "Term") -> str:
    return f"'{_shortened(term.term, _TERM_CHARACTERS)}'"


def _chunks(term: "Term") -> str:
    chunks = f"{term.chunks:,} chunk{'' if term.chunks == 1 else 's'}"
    return f"{chunks}, another one of this document among them" if term.elsewhere else chunks


def _shortened(text: str, most: int = _NAMED_CHARACTERS) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."
