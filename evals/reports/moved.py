"""The queries that moved most, in the HTML report: both rankings side by side, and why a document is where it is."""

from collections.abc import Iterator, Sequence

from evals.comparison.records import Comparison, MovedQuery, RankedDocument, RelevantDocument
from evals.reports.markup import Node, node
from evals.reports.wording import NOTHING, one_line, points, signed
from retrieval.explanation import CandidateTrace, Explanation

_LONGEST = 600
"""Characters of a query that are shown."""
_TERMS = 6
"""Matched terms that are shown of a document, those that count most."""


def section(comparison: Comparison) -> Node | None:
    """One block per query, open: so that it is on paper too. None when no query moved."""
    if not comparison.moved:
        return None
    return node(
        "section",
        node("h2", "Queries that moved most"),
        node("p", "Relevant documents are marked; the last column has the rank on the other side.", class_="muted"),
        *map(_query, comparison.moved),
    )


def _query(query: MovedQuery) -> Node:
    side = "better" if query.difference > 0 else "worse"
    score = f"{query.metric} {points(query.before)} → {points(query.after)} ({signed(query.difference)})"
    summary = node(
        "summary",
        node("span", score, class_=f"delta {side}"),
        node("bdi", one_line(query.text or query.query_id, _LONGEST)),
    )
    return node(
        "details",
        summary,
        node("p", "query ", node("code", query.query_id), class_="muted"),
        node(
            "div",
            _ranking("baseline", query.baseline, query.baseline_explanation),
            _ranking("candidate", query.candidate, query.candidate_explanation),
            class_="sides",
        ),
        _relevant(query),
        class_="query",
        open="open",
    )


def _ranking(name: str, documents: Sequence[RankedDocument], explanation: Explanation | None) -> Node:
    names = (("#", True), ("document", False), ("score", True), ("judged", True), ("other", True))
    head = node("tr", *(node("th", text, scope="col", class_="number" if right else None) for text, right in names))
    rows = [_row(document, explanation) for document in documents]
    if not rows:
        return node("div", node("h3", name), node("p", "Nothing was found.", class_="muted"))
    return node("div", node("h3", name), node("table", node("thead", head), node("tbody", *rows)))


def _row(document: RankedDocument, explanation: Explanation | None) -> Node:
    judged = NOTHING if document.relevance is None else str(document.relevance)
    why = _why(explanation, document.doc_id) if explanation else ()
    return node(
        "tr",
        node("td", document.rank, class_="number"),
        node(
            "td",
            node("bdi", document.title) if document.title else None,
            " " if document.title else None,
            node("code", document.doc_id, class_="muted" if document.title else None),
            *(node("div", line, class_="why") for line in why),
        ),
        node("td", f"{document.score:.4g}", class_="number"),
        node("td", judged, class_="number"),
        node("td", NOTHING if document.other_rank is None else document.other_rank, class_="number"),
        class_="relevant" if document.relevance else None,
    )


def _relevant(query: MovedQuery) -> Node | None:
    """Where the judged documents are that either side does not have in its first ten."""
    shown = {document.doc_id for document in query.baseline} & {document.doc_id for document in query.candidate}
    hidden = [document for document in query.relevant if document.doc_id not in shown]
    if not hidden:
        return None
    names = (
        ("relevant, not among the first of both", False),
        ("judged", True),
        ("baseline", True),
        ("candidate", True),
    )
    head = node("tr", *(node("th", text, scope="col", class_="number" if right else None) for text, right in names))
    return node(
        "div",
        node("table", node("thead", head), node("tbody", *(_hidden(document, query) for document in hidden))),
        class_="scroll",
    )


def _hidden(document: RelevantDocument, query: MovedQuery) -> Node:
    lines = []
    for name, rank, explanation in (
        ("baseline", document.baseline_rank, query.baseline_explanation),
        ("candidate", document.candidate_rank, query.candidate_explanation),
    ):
        if explanation and (rank is None or rank > 10):
            found = list(_why(explanation, document.doc_id)) or ["no stage had it among its candidates"]
            lines += [f"{name}: {line}" for line in found]
    return node(
        "tr",
        node("td", node("code", document.doc_id), *(node("div", line, class_="why") for line in lines)),
        node("td", document.relevance, class_="number"),
        node("td", NOTHING if document.baseline_rank is None else document.baseline_rank, class_="number"),
        node("td", NOTHING if document.candidate_rank is None else document.candidate_rank, class_="number"),
    )


def _why(explanation: Explanation, doc_id: str) -> Iterator[str]:
    """The way of the document's best chunk: stages with rank and score, terms, what took it out."""
    traces = explanation.of_document(doc_id)
    if not traces:
        return
    trace = min(traces, key=_standing)
    yield " · ".join(f"{stage.stage} #{stage.rank} ({stage.score:.3g})" for stage in trace.stages)
    if trace.terms:
        most = sorted(trace.terms.items(), key=lambda item: (-item[1], item[0]))[:_TERMS]
        yield "terms " + ", ".join(f"{term} {weight:.2f}" for term, weight in most)
    if trace.removed_by:
        yield f"removed by {trace.removed_by}" + (f": {trace.reason}" if trace.reason else "")


def _standing(trace: CandidateTrace) -> tuple[float, float]:
    """Results by rank, then the others by how well the last stage had them."""
    last = trace.stages[-1].rank if trace.stages else float("inf")
    return (trace.rank if trace.rank is not None else float("inf"), last)
