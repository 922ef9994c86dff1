"""A comparison as one HTML page that needs nothing else: no network, no script, light or dark, on paper as well."""

from collections.abc import Iterable, Iterator

from evals.comparison.records import Comparison, MetricComparison, Side
from evals.reports import moved, plots
from evals.reports.markup import Node, html, node
from evals.reports.style import CSS
from evals.reports.wording import (
    NOTHING,
    WORDS,
    asked,
    effect,
    headline,
    interval,
    level,
    milliseconds,
    moves,
    p_value,
    points,
    ratio,
    signed,
)


def render(comparison: Comparison) -> str:
    """The whole page. Text from queries, documents and settings is escaped, control characters are replaced."""
    title = f"{comparison.baseline.name} → {comparison.candidate.name}"
    head = node(
        "head",
        node("meta", charset="utf-8"),
        node("meta", name="viewport", content="width=device-width, initial-scale=1"),
        # Nothing may be fetched or run, should markup ever slip through.
        node(
            "meta",
            http_equiv="Content-Security-Policy",
            content="default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'",
        ),
        node("title", f"{WORDS[comparison.verdict.outcome]}: {title}"),
        node("style", CSS),
    )
    sections = (
        _header(comparison),
        _metrics(comparison),
        *_queries(comparison),
        _latency(comparison),
        _changes(comparison),
        moved.section(comparison),
        _footer(comparison),
    )
    body = node("body", node("main", *(section for section in sections if section is not None)))
    return html(node("html", head, body, lang="en"))


def _header(comparison: Comparison) -> Node:
    outcome = comparison.verdict.outcome
    said = [*comparison.verdict.reasons]
    said += [reason for reason in comparison.missing if reason not in said]
    return node(
        "header",
        node("h1", "Ranking compared"),
        node(
            "p",
            "baseline ",
            node("bdi", node("code", comparison.baseline.name)),
            " → candidate ",
            node("bdi", node("code", comparison.candidate.name)),
            class_="muted",
        ),
        node(
            "div",
            node("strong", WORDS[outcome]),
            headline(comparison),
            node("ul", *(node("li", reason) for reason in said)) if said else None,
            class_=f"verdict {outcome}",
            role="status",
        ),
        *(node("p", note, class_="muted") for note in comparison.notes),
    )


def _metrics(comparison: Comparison) -> Node:
    confidence = level(comparison.rules)
    names = ("metric", "gate", "baseline", "candidate", "difference", f"{confidence} interval", "p", "p, Holm", "d_z")
    rows = [_metric_row(metric) for metric in comparison.metrics]
    drawn = any(metric.difference is not None for metric in comparison.metrics)
    forest = plots.forest(comparison.metrics, min_effect=comparison.rules.min_effect)
    return node(
        "section",
        node("h2", "Metrics"),
        _table((*names, "better / worse / equal", "detectable"), rows, numbers=range(2, 11), caption="In points."),
        node("figure", forest, class_="wide") if drawn else None,
        node("p", asked(comparison.rules), class_="muted"),
        node(
            "p",
            "p: chance that a candidate as good as the baseline looks this bad or worse. d_z: mean difference in "
            "standard deviations of the differences. Detectable: the loss that a test of this metric alone would "
            "notice in four cases of five, with so many queries.",
            class_="muted",
        ),
    )


def _metric_row(metric: MetricComparison) -> list[Node]:
    outcome = metric.outcome
    gate = WORDS[outcome].lower() if outcome else "–"
    return [
        node("th", metric.metric, scope="row"),
        node("td", metric.problem or gate, class_=outcome or "muted"),
        node("td", points(metric.baseline)),
        node("td", points(metric.candidate)),
        node("td", signed(metric.difference), class_=_side(metric.difference)),
        node("td", interval(metric)),
        node("td", p_value(metric.p_permutation)),
        node("td", p_value(metric.p_adjusted)),
        node("td", effect(metric.effect_size)),
        node("td", f"{metric.better:,} / {metric.worse:,} / {metric.equal:,}"),
        node("td", points(metric.detectable)),
    ]


def _queries(comparison: Comparison) -> Iterator[Node]:
    """Plots of the gated metrics, or of the first one when none is."""
    shown = [metric for metric in comparison.metrics if metric.gated and metric.pairs]
    texts = {query.query_id: query.text for query in comparison.moved}
    for metric in shown or [metric for metric in comparison.metrics if metric.pairs][:1]:
        drawn = node(
            "div",
            node("figure", plots.differences(metric.pairs, texts)),
            node("figure", plots.scatter(metric.pairs)),
            class_="plots",
        )
        yield node(
            "section",
            node("h2", f"{metric.metric} by query"),
            node("p", f"{metric.queries:,} queries: {moves(metric)}."),
            drawn if metric.better or metric.worse else None,
        )


def _latency(comparison: Comparison) -> Node | None:
    before, after = comparison.baseline, comparison.candidate
    if before.p50 is None and after.p50 is None:
        return None
    rows = [
        [
            node("th", name, scope="row"),
            node("td", milliseconds(old)),
            node("td", milliseconds(new)),
            node("td", ratio(old, new)),
        ]
        for name, old, new in (("median", before.p50, after.p50), ("95th percentile", before.p95, after.p95))
    ]
    return node(
        "section",
        node("h2", "Latency"),
        _table(("per query", "baseline", "candidate", "change"), rows, numbers=range(1, 4)),
        node(
            "p",
            "As each run measured it; that compares only on the same machine, idle both times.",
            class_="muted",
        ),
    )


def _changes(comparison: Comparison) -> Node:
    rows = [
        [node("th", node("code", change.name), scope="row"), _value(change.baseline), _value(change.candidate)]
        for change in comparison.changes
    ]
    return node(
        "section",
        node("h2", "What differs"),
        _table(("setting", "baseline", "candidate"), rows)
        if rows
        else node("p", "No setting, version or property differs."),
    )


def _footer(comparison: Comparison) -> Node:
    rows = [
        [node("th", name, scope="row"), _value(before), _value(after)]
        for (name, before), (_, after) in zip(_facts(comparison.baseline), _facts(comparison.candidate), strict=True)
    ]
    return node("footer", node("h2", "Measured on"), _table(("", "baseline", "candidate"), rows))


def _facts(side: Side) -> list[tuple[str, str | None]]:
    """Names and values; what is not known is None."""
    known = side.documents is not None and side.chunks is not None
    return [
        ("run", side.path or None),
        ("mode", side.mode or None),
        ("data set", side.dataset or None),
        ("measured at", side.created_at or None),
        ("documents, chunks", f"{side.documents:,}, {side.chunks:,}" if known else None),
        ("queries", f"{side.queries:,}"),
        ("queries and judgements, SHA-256", side.queries_sha256 or None),
        ("corpus, SHA-256", side.corpus_sha256 or None),
        ("versions", ", ".join(f"{name} {version}" for name, version in side.versions.items()) or None),
    ]


def _table(
    names: Iterable[str], rows: Iterable[Iterable[Node]], *, numbers: Iterable[int] = (), caption: str = ""
) -> Node:
    """A table that scrolls when it is too wide; the columns `numbers` are set flush right."""
    right = set(numbers)
    head = node("tr", *(_aligned(node("th", name, scope="col"), i in right) for i, name in enumerate(names)))
    body = [node("tr", *(_aligned(cell, i in right) for i, cell in enumerate(row))) for row in rows]
    made = node("table", node("caption", caption) if caption else None, node("thead", head), node("tbody", *body))
    return node("div", made, class_="scroll", tabindex=0, role="region", aria_label=caption or "table")


def _aligned(cell: Node, right: bool) -> Node:
    if right:
        cell.set("class", f"{cell.get('class', '')} number".strip())
    return cell


def _value(value: object) -> Node:
    return node("td", node("code", NOTHING if value is None else str(value)))


def _side(difference: float | None) -> str | None:
    if not difference:
        return None
    return "better" if difference > 0 else "worse"
