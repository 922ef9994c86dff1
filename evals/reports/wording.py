"""Numbers and sentences that every report says alike."""

from collections.abc import Callable

from evals.comparison.records import Comparison, MetricComparison, Outcome, Rules

NOTHING = "–"
"""Stands for a number that is not there."""
WORDS: dict[Outcome, str] = {"pass": "PASS", "warn": "WARN", "fail": "FAIL"}


def points(value: float | None) -> str:
    """0.7403 as '74.03'."""
    return NOTHING if value is None else f"{100 * value:.2f}"


def signed(value: float | None) -> str:
    """-0.0093 as '−0.93', with a real minus; 0 has no sign."""
    return NOTHING if value is None else _signed(100 * value, 2)


def interval(metric: MetricComparison) -> str:
    """'−1.60 to −0.22', in points."""
    return span(metric.low, metric.high, signed)


def span(low: float | None, high: float | None, written: Callable[[float], str]) -> str:
    """'−1.60 to −0.22': both ends as `written` has them; the dash where there is no interval."""
    return NOTHING if low is None or high is None else f"{written(low)} to {written(high)}"


def percent(value: float | None) -> str:
    """0.012 as '+1.2%', signed; for what is relative."""
    return NOTHING if value is None else f"{_signed(100 * value, 1)}%"


def level(rules: Rules) -> str:
    """Of the confidence intervals, e.g. '95%'."""
    return f"{100 * (1 - 2 * rules.alpha):g}%"


def p_value(value: float | None) -> str:
    """Three decimals; below 0.001 only that."""
    if value is None:
        return NOTHING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def effect(value: float | None) -> str:
    """Cohen's d_z, signed."""
    return NOTHING if value is None else _signed(value, 2)


def milliseconds(seconds: float | None) -> str:
    """0.0123 as '12.3 ms'."""
    return NOTHING if seconds is None else f"{1000 * seconds:.1f} ms"


def ratio(before: float | None, after: float | None) -> str:
    """'+12%'; the dash when either is not known."""
    return NOTHING if before is None or after is None or before <= 0.0 else f"{_signed(100 * (after / before - 1), 0)}%"


def moves(metric: MetricComparison) -> str:
    """'12 better, 30 worse, 258 equal'."""
    return f"{metric.better:,} better, {metric.worse:,} worse, {metric.equal:,} equal"


def headline(comparison: Comparison) -> str:
    """The first metric in one line."""
    if not comparison.metrics:
        return "nothing could be compared"
    metric = comparison.metrics[0]
    if metric.difference is None:
        return metric.problem or f"{metric.metric}: not measured"
    span = f" ({level(comparison.rules)} interval {interval(metric)})" if metric.low is not None else ""
    return (
        f"{metric.metric} {points(metric.baseline)} → {points(metric.candidate)}: "
        f"{signed(metric.difference)} points{span}; {metric.queries:,} queries: {moves(metric)}"
    )


def asked(rules: Rules) -> str:
    """What the gate asks, as a sentence."""
    gated = ", ".join(rules.metrics) or "no metric"
    return (
        f"Gated: {gated}. A metric fails when it is significantly worse (one-sided paired permutation test, "
        f"alpha {rules.alpha:g} over all gated metrics by Holm's correction) and loses at least "
        f"{_points_lost(rules.min_effect)}."
    )


def printable(text: str) -> str:
    """What XML 1.0 cannot hold, terminals obey or turns text around is replaced: control characters, lone surrogates,
    non-characters, overrides of the writing direction.
    """
    return "".join(character if _is_plain(character) else "\ufffd" for character in text)


def one_line(text: str, limit: int = 300) -> str:
    """Printable, without line breaks, cut after `limit` characters."""
    line = " ".join(printable(text[: 4 * limit]).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _points_lost(effect: float) -> str:
    return f"{100 * effect:g} point{'' if round(100 * effect, 9) == 1 else 's'}"


def _signed(value: float, decimals: int) -> str:
    text = f"{abs(value):.{decimals}f}"
    if not float(text):
        return text
    return f"+{text}" if value > 0 else f"−{text}"


def _is_plain(character: str) -> bool:
    code = ord(character)
    if code < 0xA0:
        return character in "\t\n\r" or 0x20 <= code < 0x7F
    if 0x202A <= code <= 0x202E or 0x2066 <= code <= 0x2069:
        return False
    return not (0xD800 <= code <= 0xDFFF or code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF)
