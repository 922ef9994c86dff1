"""Evaluation results as tables for people at a terminal."""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from evals.comparison.records import Comparison, MetricComparison, Outcome
from evals.reports.wording import (
    NOTHING,
    WORDS,
    effect,
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

_STYLES: dict[Outcome, str] = {"pass": "bold green", "warn": "bold yellow", "fail": "bold red"}


def comparison(compared: Comparison) -> RenderableType:
    """The verdict with its reasons, the metrics, what differs, and the queries that moved most."""
    return Group(*_parts(compared))


def _parts(compared: Comparison) -> Iterator[RenderableType]:
    verdict = compared.verdict
    yield Text.assemble((WORDS[verdict.outcome], _STYLES[verdict.outcome]), "  ", one_line(headline(compared), 1_000))
    said = [*verdict.reasons]
    for reason in said + [reason for reason in compared.missing if reason not in said]:
        yield Text(f"  {one_line(reason, 1_000)}")
    if compared.metrics:
        yield _metrics(compared)
    before, after = compared.baseline, compared.candidate
    if before.p50 is not None and after.p50 is not None:
        yield Text(
            f"median {milliseconds(before.p50)} → {milliseconds(after.p50)} ({ratio(before.p50, after.p50)}), "
            f"p95 {milliseconds(before.p95)} → {milliseconds(after.p95)} ({ratio(before.p95, after.p95)})"
        )
    for change in compared.changes:
        yield Text(one_line(f"{change.name}: {change.baseline} → {change.candidate}"), style="dim")
    if compared.moved:
        yield _moved(compared)


def _metrics(compared: Comparison) -> Table:
    made = _table("metric", "baseline", "candidate", "difference", f"{level(compared.rules)} interval")
    for name in ("p", "p, Holm", "d_z", "better", "worse", "detectable"):
        made.add_column(name, justify="right")
    made.add_column("gate")
    for metric in compared.metrics:
        made.add_row(*_metric(metric))
    return made


def _metric(metric: MetricComparison) -> Iterator[RenderableType]:
    yield Text(metric.metric, style="bold" if metric.gated else "")
    yield points(metric.baseline)
    yield points(metric.candidate)
    yield signed(metric.difference)
    yield interval(metric)
    yield p_value(metric.p_permutation)
    yield p_value(metric.p_adjusted)
    yield effect(metric.effect_size)
    yield f"{metric.better:,}"
    yield f"{metric.worse:,}"
    yield points(metric.detectable)
    outcome = metric.outcome
    yield Text(one_line(metric.problem) or outcome or NOTHING, style=_STYLES[outcome] if outcome else "dim")


def _moved(compared: Comparison) -> Table:
    made = _table(compared.moved[0].metric, "baseline", "candidate", "difference")
    made.columns[0].header = "queries that moved most"
    for query in compared.moved:
        text = one_line(f"{query.query_id}  {query.text}", 100)
        made.add_row(Text(text), points(query.before), points(query.after), signed(query.difference))
    return made


def _table(*names: str) -> Table:
    """The first column is words, the others numbers."""
    made = Table(box=None, pad_edge=False, header_style="dim")
    for number, name in enumerate(names):
        made.add_column(name, justify="right" if number else "left")
    return made
