"""A comparison as Markdown for a pull request: the verdict first, details folded away.

Queries and ids are anyone's text, posted in a place where markup works and `@name` sends mail. All of it goes into
`<code>`, where GitHub links nothing, with every punctuation mark as a character reference, which is never markup.
"""

import re
from collections.abc import Iterator, Sequence

from evals.comparison.records import Comparison, MetricComparison, MovedQuery, RankedDocument
from evals.reports.wording import (
    NOTHING,
    WORDS,
    asked,
    headline,
    interval,
    level,
    milliseconds,
    one_line,
    p_value,
    points,
    ratio,
    signed,
)

_MOST = 60_000
"""Characters; GitHub takes 65,536 in a comment."""
_QUERIES = 10
_REASONS = 10
_PLAIN = " ,.;%()'/?"
_WWW = re.compile(r"(?<=\bwww)\.", re.IGNORECASE)
"""A link even without a scheme."""
_MARKS = {"pass": "✅", "warn": "⚠️", "fail": "❌"}


def render(comparison: Comparison) -> str:
    """The whole text, without those of its folded blocks for which a comment has no room."""
    outcome = comparison.verdict.outcome
    reasons = [*comparison.verdict.reasons]
    reasons += [reason for reason in comparison.missing if reason not in reasons]
    parts = [
        f"### {_MARKS[outcome]} Ranking: {WORDS[outcome]}",
        escape(headline(comparison)),
        "\n".join(f"- {escape(reason)}" for reason in reasons[:_REASONS]),
        _metrics(comparison),
        _latency(comparison),
    ]
    text = "\n\n".join(part for part in parts if part)
    ending = f"\n\n<sub>{escape(asked(comparison.rules))}</sub>\n"
    for block in (_changes(comparison), *map(_query, comparison.moved[:_QUERIES])):
        if block and len(text) + len(block) + len(ending) < _MOST:
            text += f"\n\n{block}"
    return text + ending


def escape(text: str) -> str:
    """One line of plain text that Markdown and HTML leave alone, and that pings nobody."""
    return _WWW.sub("&#46;", "".join(map(_reference, one_line(text))))


def _reference(character: str) -> str:
    """What is never markup stands for itself; what begins a mention or an issue's number is parted from its word."""
    if not character.isascii() or character.isalnum() or character in _PLAIN:
        return character
    return f"&#{ord(character)};" + ("&#8203;" if character in "@#" else "")


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>"


def _metrics(comparison: Comparison) -> str:
    names = ("metric", "baseline", "candidate", "difference", f"{level(comparison.rules)} interval", "p", "±", "gate")
    return _table(names, [_metric(metric) for metric in comparison.metrics], numbers=range(1, 7))


def _metric(metric: MetricComparison) -> tuple[str, ...]:
    p = metric.p_adjusted if metric.p_adjusted is not None else metric.p_permutation
    gate = f"{_MARKS[metric.outcome]} {metric.outcome}" if metric.outcome else NOTHING
    return (
        f"**{escape(metric.metric)}**" if metric.gated else escape(metric.metric),
        points(metric.baseline),
        points(metric.candidate),
        signed(metric.difference),
        interval(metric),
        p_value(p).replace("<", "&lt;"),
        f"{metric.better:,} better, {metric.worse:,} worse" if metric.difference is not None else NOTHING,
        f"{gate}: {escape(metric.problem)}" if metric.problem else gate,
    )


def _latency(comparison: Comparison) -> str:
    before, after = comparison.baseline, comparison.candidate
    if before.p50 is None or after.p50 is None:
        return ""
    return (
        f"Median latency {milliseconds(before.p50)} → {milliseconds(after.p50)} ({ratio(before.p50, after.p50)}), "
        f"p95 {milliseconds(before.p95)} → {milliseconds(after.p95)} ({ratio(before.p95, after.p95)})."
    )


def _changes(comparison: Comparison) -> str:
    if not comparison.changes:
        return ""
    rows = [
        (_code(change.name), *(_code(str(side)) for side in (change.baseline, change.candidate)))
        for change in comparison.changes[:50]
    ]
    return _folded(f"What differs ({len(comparison.changes)})", _table(("setting", "baseline", "candidate"), rows))


def _query(query: MovedQuery) -> str:
    title = f"{signed(query.difference)} {_code(query.text or query.query_id)}"
    names = ("baseline", "", "candidate", "")
    columns = (_documents(query.baseline), _documents(query.candidate))
    rows = [(*_at(columns[0], row), *_at(columns[1], row)) for row in range(max(len(column) for column in columns))]
    score = f"{escape(query.metric)} {points(query.before)} → {points(query.after)}, query {_code(query.query_id)}"
    hidden = [
        f"Relevant {_code(document.doc_id)}: rank {document.baseline_rank or NOTHING} → "
        f"{document.candidate_rank or NOTHING}."
        for document in query.relevant[:10]
    ]
    return _folded(title, "\n\n".join([score, _table(names, rows), *hidden]))


def _documents(ranking: Sequence[RankedDocument]) -> list[tuple[str, str]]:
    return [
        (f"{document.rank}. {_code(document.title or document.doc_id)}", "relevant" if document.relevance else "")
        for document in ranking
    ]


def _at(column: Sequence[tuple[str, str]], row: int) -> tuple[str, str]:
    return column[row] if row < len(column) else ("", "")


def _table(names: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Sequence[int] = ()) -> str:
    """Cells are escaped already."""
    return "\n".join(_lines(names, rows, set(numbers)))


def _lines(names: Sequence[str], rows: Sequence[Sequence[str]], right: set[int]) -> Iterator[str]:
    yield f"| {' | '.join(names)} |"
    yield "|" + "|".join("---:" if column in right else "---" for column in range(len(names))) + "|"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _folded(title: str, content: str) -> str:
    """`title` and `content` are escaped already; the empty lines make GitHub read the content as Markdown."""
    return f"<details><summary>{title}</summary>\n\n{content}\n\n</details>"
