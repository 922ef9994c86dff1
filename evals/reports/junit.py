"""A comparison as JUnit XML, for build servers: a test case per gated metric; what is not gated is skipped."""

from collections.abc import Iterator
from xml.etree import ElementTree as ET

from evals.comparison.records import Comparison, MetricComparison
from evals.reports.markup import Node, node
from evals.reports.wording import effect, headline, interval, level, moves, one_line, p_value, points, signed


def render(comparison: Comparison) -> str:
    """One test suite. A failed gate has at least one failure; a warning passes, and says so in `system-out`."""
    cases = [*_cases(comparison)]
    failures = sum(case.find("failure") is not None for case in cases)
    skipped = sum(case.find("skipped") is not None for case in cases)
    counts = {"tests": len(cases), "failures": failures, "errors": 0, "skipped": skipped, "time": 0}
    suite = node(
        "testsuite",
        _properties(comparison),
        *cases,
        name=one_line(f"{comparison.baseline.name} -> {comparison.candidate.name}"),
        timestamp=comparison.candidate.created_at.removesuffix("Z") or None,
        **counts,
    )
    root = node("testsuites", suite, name="footnote eval compare", **counts)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _cases(comparison: Comparison) -> Iterator[Node]:
    where = one_line(comparison.candidate.dataset) or "ranking"
    yield _case("comparable", where, failure="\n".join(comparison.missing))
    told = bool(comparison.missing)
    for metric in comparison.metrics:
        told = told or metric.outcome == "fail"
        yield _metric(metric, where, comparison)
    if comparison.verdict.outcome == "fail" and not told:
        yield _case("verdict", where, failure="\n".join(comparison.verdict.reasons) or "the gate has failed")


def _metric(metric: MetricComparison, where: str, comparison: Comparison) -> Node:
    numbers = _numbers(metric, level(comparison.rules))
    if metric.outcome is None:
        return _case(metric.metric, where, skipped="not gated", output=numbers)
    if metric.outcome == "fail":
        said = metric.reason or metric.problem or "worse than the gate allows"
        return _case(metric.metric, where, failure=f"{said}\n{numbers}")
    warning = f"warning: {metric.reason}\n" if metric.outcome == "warn" else ""
    return _case(metric.metric, where, output=warning + numbers)


def _case(name: str, where: str, *, failure: str = "", skipped: str = "", output: str = "") -> Node:
    return node(
        "testcase",
        node("failure", failure, message=one_line(failure.partition("\n")[0]), type="regression") if failure else None,
        node("skipped", message=skipped) if skipped else None,
        node("system-out", output) if output else None,
        name=name,
        classname=f"footnote.eval.{where}",
        time=0,
    )


def _properties(comparison: Comparison) -> Node:
    """What was held against what."""
    facts: list[tuple[str, object]] = [("verdict", comparison.verdict.outcome), ("summary", headline(comparison))]
    facts += [("baseline", comparison.baseline.path), ("candidate", comparison.candidate.path)]
    facts += [(change.name, f"{change.baseline} -> {change.candidate}") for change in comparison.changes]
    facts += [("note", note) for note in comparison.notes]
    return node("properties", *(node("property", name=name, value=str(value)) for name, value in facts))


def _numbers(metric: MetricComparison, confidence: str) -> str:
    if metric.difference is None:
        return metric.problem
    return (
        f"baseline {points(metric.baseline)}, candidate {points(metric.candidate)}, "
        f"difference {signed(metric.difference)} points ({confidence} interval {interval(metric)}), "
        f"p {p_value(metric.p_permutation)}, Holm {p_value(metric.p_adjusted)}, d_z {effect(metric.effect_size)}; "
        f"{metric.queries:,} queries: {moves(metric)}"
    )
