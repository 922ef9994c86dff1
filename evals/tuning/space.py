"""What can be tuned, and over which values: one table. Only settings that need no other index are in it."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from retrieval.errors import InvalidRequest
from retrieval.settings import RetrievalSettings


def _hybrid(settings: RetrievalSettings) -> bool:
    return settings.mode == "hybrid"


def _convex(settings: RetrievalSettings) -> bool:
    return _hybrid(settings) and settings.fusion == "convex"


def _rrf(settings: RetrievalSettings) -> bool:
    return _hybrid(settings) and settings.fusion == "rrf"


def _feedback(settings: RetrievalSettings) -> bool:
    return _hybrid(settings) and settings.feedback_weight > 0.0


def _compared(settings: RetrievalSettings) -> bool:
    return settings.late_weight > 0.0 or settings.title_weight > 0.0


def _reranked(settings: RetrievalSettings) -> bool:
    return settings.reranker != "none"


@dataclass(frozen=True, slots=True)
class Dimension:
    """One setting and the values to try."""

    name: str
    """Of a field of RetrievalSettings."""
    values: tuple[Any, ...]
    matters: Callable[[RetrievalSettings], bool] = lambda _: True
    """Whether it changes anything, given the dimensions before it; where not, the configured value is kept."""
    needs_tokens: bool = False
    """Whether it changes nothing in collections without token vectors."""


SPACE: tuple[Dimension, ...] = (
    Dimension("mode", ("hybrid", "dense", "lexical")),
    Dimension("candidates", (100, 200, 400), _hybrid),
    Dimension("fusion", ("convex", "rrf"), _hybrid),
    Dimension("normalization", ("min-max", "z-score"), _convex),
    Dimension("dense_weight", (0.3, 0.4, 0.5, 0.6, 0.7), _convex),
    Dimension("rank_constant", (10.0, 30.0, 60.0, 120.0), _rrf),
    Dimension("feedback_weight", (0.0, 0.1, 0.2, 0.3, 0.4, 0.5), _hybrid),
    Dimension("feedback_chunks", (2, 3, 5, 10), _feedback),
    Dimension("late_weight", (0.0, 0.2, 0.35, 0.5, 0.65), needs_tokens=True),
    Dimension("title_weight", (0.0, 0.02, 0.05, 0.1)),
    Dimension("late_candidates", (25, 50, 100), _compared),
    Dimension("neighbour_weight", (0.0, 0.1, 0.2)),
    Dimension("rerank_weight", (0.3, 0.5, 0.7, 1.0), _reranked),
    Dimension("rerank_candidates", (20, 50, 100), _reranked),
)
"""A dimension stands after those that decide whether it matters. Evaluation asks for 100 results, so fewer candidates
than that would be the same."""

_DRAWS = 2_000
"""Draws in a row that find nothing new: then the space is taken for exhausted."""


def parse(texts: Sequence[str], settings: RetrievalSettings) -> tuple[Dimension, ...]:
    """The dimensions of `--vary NAME` or `--vary NAME=VALUE,VALUE`; all of SPACE when there is none.

    Raises InvalidRequest for a name that is not in SPACE, one given twice, and a value that the setting cannot have.
    """
    wanted: dict[str, tuple[str, ...]] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        name = name.strip()
        if name in wanted:
            raise InvalidRequest(f"--vary {name!r} is given twice; give all its values at once: {name}=A,B")
        if name not in {dimension.name for dimension in SPACE}:
            known = ", ".join(dimension.name for dimension in SPACE)
            raise InvalidRequest(f"--vary {name!r}: this cannot be tuned; choose from {known}")
        wanted[name] = tuple(value.strip() for value in values.split(",")) if equals else ()
    if not wanted:
        return SPACE
    return tuple(
        replace(dimension, values=_checked(dimension.name, wanted[dimension.name], settings))
        if wanted[dimension.name]
        else dimension
        for dimension in SPACE
        if dimension.name in wanted
    )


def draw(space: Sequence[Dimension], settings: RetrievalSettings, *, budget: int, seed: int) -> list[RetrievalSettings]:
    """At most `budget` different ways to rank, the configured one first, then those that differ from it in one thing.

    So of two that rank alike the simpler one is there to be found. The others are drawn at random, which finds as much
    as a grid of many times the size where few dimensions matter (Bergstra and Bengio 2012).
    """
    dice = random.Random(seed)  # noqa: S311 - a draw to be repeated, no secret
    near = [*_neighbours(space, settings)]
    if len(near) >= budget:
        near = dice.sample(near, budget - 1)
    found = {_key(made, space): made for made in (settings, *near)}
    misses = 0
    while len(found) < budget and misses < _DRAWS:
        made = _drawn(space, settings, dice)
        misses = misses + 1 if _key(made, space) in found else 0
        found.setdefault(_key(made, space), made)
    return list(found.values())


def changed(settings: RetrievalSettings, default: RetrievalSettings, space: Sequence[Dimension]) -> dict[str, Any]:
    """What differs from `default`, by name."""
    return {
        dimension.name: getattr(settings, dimension.name)
        for dimension in space
        if getattr(settings, dimension.name) != getattr(default, dimension.name)
    }


def _neighbours(space: Sequence[Dimension], settings: RetrievalSettings) -> Iterator[RetrievalSettings]:
    for dimension in space:
        for value in dimension.values:
            if dimension.matters(settings) and value != getattr(settings, dimension.name):
                yield settings.model_copy(update={dimension.name: value})


def _drawn(space: Sequence[Dimension], settings: RetrievalSettings, dice: random.Random) -> RetrievalSettings:
    for dimension in space:
        if dimension.matters(settings):
            settings = settings.model_copy(update={dimension.name: dice.choice(dimension.values)})
    return settings


def _key(settings: RetrievalSettings, space: Sequence[Dimension]) -> tuple[Any, ...]:
    return tuple(getattr(settings, dimension.name) for dimension in space)


def _checked(name: str, values: tuple[str, ...], settings: RetrievalSettings) -> tuple[Any, ...]:
    """The values as the setting has them."""
    known = {field: getattr(settings, field) for field in RetrievalSettings.model_fields}
    made = []
    for value in values:
        try:
            made.append(getattr(RetrievalSettings(**{**known, name: value}), name))
        except ValidationError as exc:
            raise InvalidRequest(f"--vary {name}: {value!r} is no value for it: {exc.errors()[0]['msg']}") from exc
    return tuple(made)
