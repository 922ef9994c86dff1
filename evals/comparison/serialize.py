"""A comparison as JSON: what the records hold, without the explanations' long lists of candidates."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from evals.comparison.records import Comparison, MovedQuery

_LEFT_OUT = ("pairs",)
"""Per query values: both bundles have them."""


def as_json(comparison: Comparison) -> dict[str, Any]:
    """JSON types; metrics are 0..1, seconds are seconds."""
    return {
        "verdict": asdict(comparison.verdict),
        "rules": asdict(comparison.rules),
        "baseline": asdict(comparison.baseline),
        "candidate": asdict(comparison.candidate),
        "metrics": [_without(asdict(metric), *_LEFT_OUT) for metric in comparison.metrics],
        "moved": [_moved(moved) for moved in comparison.moved],
        "changes": [asdict(change) for change in comparison.changes],
        "missing": list(comparison.missing),
        "notes": list(comparison.notes),
    }


def _moved(moved: MovedQuery) -> dict[str, Any]:
    return {**asdict(moved), "difference": moved.difference}


def _without(values: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}
