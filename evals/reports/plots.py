"""Plots as inline SVG: labelled axes, colours from the page's style sheet, title and description for those who listen.

Values come in as they are measured, 0..1, and are drawn in points.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from evals.comparison.records import MetricComparison
from evals.reports.markup import Node, add, node
from evals.reports.wording import interval, moves, one_line, signed

Pairs = Mapping[str, tuple[float, float]]
"""(baseline, candidate) by query_id."""

_MOST_BARS = 400
"""Above, the bars are thinner than a pixel: their outline is drawn instead, without a name on each."""
_WIDEST_BAR = 32.0
_LEAST = 1e-9
"""Differences nearer to 0 are none: the two means were added up in another order."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Values to pixels, along one axis."""

    low: float
    high: float
    start: float
    """Pixel of `low`."""
    end: float

    def at(self, value: float) -> float:
        """The pixel of `value`."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def forest(metrics: Sequence[MetricComparison], *, min_effect: float) -> Node:
    """A row per metric: the difference as a point in its confidence interval, against 0 and the gate's limit."""
    shown = [metric for metric in metrics if metric.difference is not None]
    row, top = 34, 40
    bottom = top + row * len(shown)
    reach = [100 * value for metric in shown for value in (metric.low, metric.high, metric.difference) if value]
    limit = -100 * min_effect
    scale = Scale(*_span([*reach, limit, -limit]), start=150, end=560)
    made = _figure(
        760,
        bottom + 52,
        "Difference per metric with its confidence interval",
        "; ".join(f"{metric.metric} {signed(metric.difference)} points" for metric in shown),
    )
    for tick in _ticks(scale.low, scale.high):
        x = scale.at(tick)
        add(made, node("line", class_="grid", x1=x, x2=x, y1=top - 6, y2=bottom))
        add(made, node("text", _tick(tick), x=x, y=bottom + 18, text_anchor="middle"))
    add(made, node("line", class_="zero", x1=scale.at(0), x2=scale.at(0), y1=top - 6, y2=bottom))
    if min_effect > 0.0:
        x = scale.at(limit)
        add(made, node("line", class_="limit", x1=x, x2=x, y1=top - 6, y2=bottom))
    # The words stand at the ends of the axis, clear of lines and of each other.
    add(made, node("text", "← worse", class_="muted", x=scale.start, y=top - 18))
    add(made, node("text", "better →", class_="muted", x=scale.end, y=top - 18, text_anchor="end"))
    label = "candidate − baseline, points"
    label += f"; dashed: the gate's least loss, {_tick(limit)}" if min_effect > 0.0 else ""
    add(made, node("text", label, class_="muted", x=(scale.start + scale.end) / 2, y=bottom + 40, text_anchor="middle"))
    for number, metric in enumerate(shown):
        for part in _forest_row(metric, scale, top + row * number + row / 2):
            add(made, part)
    return made


def differences(pairs: Pairs, texts: Mapping[str, str]) -> Node:
    """A bar per query that moved, the worst first; `texts` are the queries' words, where they are known."""
    moved = sorted((after - before, query_id) for query_id, (before, after) in pairs.items())
    moved = [(100 * value, query_id) for value, query_id in moved if abs(value) > _LEAST]
    width, height, left, top, bottom = 560, 300, 64, 14, 40
    made = _figure(
        width,
        height,
        "Difference per query",
        f"{len(moved)} queries moved, {sum(value < 0 for value, _ in moved)} of them for the worse",
    )
    scale = Scale(*_span([value for value, _ in moved]), start=height - bottom, end=top)
    for tick in _ticks(scale.low, scale.high):
        y = scale.at(tick)
        add(made, node("line", class_="grid" if tick else "zero", x1=left, x2=width - 8, y1=y, y2=y))
        add(made, node("text", _tick(tick), x=left - 8, y=y + 4, text_anchor="end"))
    step = min(_WIDEST_BAR, (width - 8 - left) / max(1, len(moved)))
    if len(moved) > _MOST_BARS:
        for part in _outline(moved, scale, left, step):
            add(made, part)
    else:
        for number, (value, query_id) in enumerate(moved):
            add(made, _bar(value, left + number * step, step, scale, f"{query_id} {texts.get(query_id, '')}"))
    caption = f"the {len(moved):,} queries that moved, worst first" if moved else "no query moved"
    add(made, node("text", caption, class_="muted", x=(left + width) / 2, y=height - 12, text_anchor="middle"))
    add(made, _upright("difference, points", 14, (top + height - bottom) / 2))
    return made


def scatter(pairs: Pairs) -> Node:
    """Each query's score before and after; above the diagonal is better. Queries on one spot make it larger."""
    size, left, top, bottom = 340, 58, 14, 48
    made = _figure(size, size, "Score per query, before and after", f"{len(pairs)} queries")
    across, up = Scale(0, 100, left, size - 12), Scale(0, 100, size - bottom, top)
    for tick in (0, 25, 50, 75, 100):
        x, y = across.at(tick), up.at(tick)
        add(made, node("line", class_="grid", x1=x, x2=x, y1=up.end, y2=up.start))
        add(made, node("line", class_="grid", x1=across.start, x2=across.end, y1=y, y2=y))
        add(made, node("text", tick, x=x, y=up.start + 16, text_anchor="middle"))
        add(made, node("text", tick, x=left - 8, y=y + 4, text_anchor="end"))
    add(made, node("line", class_="zero", x1=across.start, y1=up.start, x2=across.end, y2=up.end))
    spots = Counter((round(100 * before), round(100 * after)) for before, after in pairs.values())
    # Large spots first, so that no small one is hidden.
    for (before, after), count in sorted(spots.items(), key=lambda item: (-item[1], item[0])):
        add(made, _spot(across.at(before), up.at(after), before, after, count))
    add(
        made,
        node("text", "baseline, points", class_="muted", x=(left + size - 12) / 2, y=size - 10, text_anchor="middle"),
    )
    add(made, _upright("candidate, points", 14, (top + size - bottom) / 2))
    return made


def _figure(width: int, height: float, title: str, description: str) -> Node:
    return node(
        "svg",
        node("title", title),
        node("desc", description),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width} {height:.0f}",
        role="img",
        aria_label=f"{title}: {description}",
        style=f"max-width:{width}px",
    )


def _forest_row(metric: MetricComparison, scale: Scale, y: float) -> Iterator[Node]:
    yield node("text", one_line(metric.metric, 18), x=8, y=y + 4, class_="gated" if metric.gated else None)
    side = _side(metric.difference or 0.0)
    if metric.low is not None and metric.high is not None:
        low, high = scale.at(100 * metric.low), scale.at(100 * metric.high)
        yield node("line", class_=f"whisker {side}", x1=low, x2=high, y1=y, y2=y)
        for x in (low, high):
            yield node("line", class_=f"whisker {side}", x1=x, x2=x, y1=y - 5, y2=y + 5)
    spot = node("circle", class_=side, cx=scale.at(100 * (metric.difference or 0.0)), cy=y, r=5.5)
    add(spot, node("title", f"{metric.metric}: {signed(metric.difference)} points; {moves(metric)}"))
    yield spot
    yield node("text", f"{signed(metric.difference)}  ({interval(metric)})", x=578, y=y + 4)


def _bar(value: float, x: float, step: float, scale: Scale, name: str) -> Node:
    zero, end = scale.at(0), scale.at(value)
    gap = 1 if step > 3 else 0
    bar = node(
        "rect", class_=_side(value), x=x, y=min(zero, end), width=max(step - gap, 0.5), height=max(abs(end - zero), 0.5)
    )
    add(bar, node("title", f"{one_line(name, 160)}: {signed(value / 100)}"))
    return bar


def _outline(moved: Sequence[tuple[float, str]], scale: Scale, left: float, step: float) -> Iterator[Node]:
    """The bars' outline, one shape for those below 0 and one for those above."""
    for side in ("worse", "better"):
        steps = [(number, value) for number, (value, _) in enumerate(moved) if _side(value) == side]
        if not steps:
            continue
        path = [f"M{left + steps[0][0] * step:.2f},{scale.at(0):.2f}"]
        for number, value in steps:
            path.append(f"V{scale.at(value):.2f}H{left + (number + 1) * step:.2f}")
        yield node("path", class_=side, d="".join([*path, f"V{scale.at(0):.2f}Z"]))


def _spot(x: float, y: float, before: int, after: int, count: int) -> Node:
    spot = node("circle", class_=f"spot {_side(after - before)}", cx=x, cy=y, r=min(10.0, 2.5 + math.sqrt(count)))
    add(spot, node("title", f"{before} → {after}: {count:,} {'query' if count == 1 else 'queries'}"))
    return spot


def _upright(text: str, x: float, y: float) -> Node:
    return node("text", text, class_="muted", transform=f"translate({x:.0f} {y:.0f}) rotate(-90)", text_anchor="middle")


def _side(value: float) -> str:
    if value == 0:
        return "equal"
    return "better" if value > 0 else "worse"


def _span(values: Sequence[float]) -> tuple[float, float]:
    """From below the least to above the greatest, 0 included."""
    low, high = min([0.0, *values]), max([0.0, *values])
    if high - low < _LEAST:
        return -1.0, 1.0
    room = 0.06 * (high - low)
    return low - room if low < 0 else low, high + room if high > 0 else high


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers between the two, four to eight of them."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    return [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _tick(value: float) -> str:
    return f"{abs(value):g}" if value >= 0 else f"−{abs(round(value, 6)):g}"
