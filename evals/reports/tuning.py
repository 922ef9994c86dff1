"""A search for better settings, told in the terminal, as JSON, and as lines for footnote.toml."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from evals.reports.wording import milliseconds, p_value, percent, points, signed, span
from evals.tuning.records import Outcome, Trial, Tuned

_SHOWN = 8
"""Trials in the table, beside the configured settings."""


def table(tuned: Tuned) -> RenderableType:
    """What was tried, what it is worth on queries that had no say, and the verdict."""
    return Group(*_parts(tuned))


def toml(changes: Mapping[str, Any]) -> str:
    """The settings as they stand in footnote.toml."""
    # JSON's texts, numbers and truth values are TOML's, too.
    return "\n".join(["[retrieval]", *(f"{name} = {json.dumps(value)}" for name, value in changes.items())])


def as_json(tuned: Tuned) -> dict[str, Any]:
    """All of it; scores are 0..1, gains relative, times in seconds."""
    made = asdict(tuned)
    made["toml"] = toml(tuned.chosen.changes) if tuned.chosen else None
    return made


def _parts(tuned: Tuned) -> Iterator[RenderableType]:
    yield _trials(tuned)
    yield Text(
        f"{len(tuned.trials)} settings tried; {tuned.rules.metric} in points. Choosing so gains "
        f"{percent(tuned.validated_gain)} in cross-validation; {tuned.agreement} of {tuned.rules.folds} folds choose "
        f"{describe(tuned.chosen)}.\n",
        style="dim",
    )
    if tuned.chosen and tuned.worth:
        yield _outcomes(tuned)
        worth = tuned.worth
        yield Text(
            f"gain {percent(worth.gain)} (interval {span(worth.low, worth.high, percent)}), "
            f"p {p_value(worth.p_value)}; {percent(tuned.chosen.gain)} on the tuning queries: "
            f"overfitting gap {percent(worth.overfitting)}\n",
            style="dim",
        )
    yield Text(tuned.reason, style="bold green" if tuned.adopt else "bold")
    if tuned.adopt and tuned.chosen:
        yield Text(f"\n{toml(tuned.chosen.changes)}")


def describe(trial: Trial | None) -> str:
    """'dense_weight=0.4 fusion=rrf'."""
    if trial is None or not trial.changes:
        return "the configured settings"
    return " ".join(f"{name}={value}" for name, value in trial.changes.items())


def _trials(tuned: Tuned) -> Table:
    made = Table(box=None, pad_edge=False, header_style="dim")
    made.add_column("on the tuning queries")
    made.add_column("gain", justify="right")
    for name in tuned.datasets:
        made.add_column(Text(name), justify="right")
    shown = list(tuned.trials[:_SHOWN])
    rest = [trial for trial in tuned.trials[_SHOWN:] if not trial.changes or trial == tuned.chosen]
    for trial in shown + rest:
        text = Text(describe(trial), style="bold" if trial == tuned.chosen else "")
        made.add_row(text, percent(trial.gain), *map(points, trial.scores))
    return made


def _outcomes(tuned: Tuned) -> Table:
    made = Table(box=None, pad_edge=False, header_style="dim")
    made.add_column("on queries that had no say")
    level = f"{100 * (1 - 2 * tuned.rules.alpha):g}% interval"
    for name in ("queries", "configured", "chosen", "difference", level, "p", "median", "of chosen"):
        made.add_column(name, justify="right")
    for outcome in tuned.outcomes:
        made.add_row(*_outcome(outcome))
    return made


def _outcome(outcome: Outcome) -> Iterator[RenderableType]:
    yield Text(outcome.name)
    yield f"{outcome.judged_on:,}"
    yield points(outcome.before)
    yield points(outcome.after)
    yield signed(outcome.difference.difference)
    yield span(outcome.difference.low, outcome.difference.high, signed)
    yield p_value(outcome.p_value)
    yield milliseconds(outcome.p50_before)
    yield milliseconds(outcome.p50_after)
