"""What `footnote ingest --dry-run` prints."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from footnote.commands.event_lines import print_line
from footnote.commands.shared import open_store
from footnote.commands.syncing import own_folders, say
from retrieval.errors import CollectionNotFound, InvalidRequest

if TYPE_CHECKING:
    from footnote.config import Settings
    from ingest.pipeline import Options
    from ingest.planning import Plan
    from retrieval.ports import VectorStore
    from retrieval.records import MetadataValue


def show_plan(
    settings: "Settings",
    collection: str,
    sources: Sequence[str],
    given: "dict[str, MetadataValue]",
    options: "Options",
    *,
    json: bool,
) -> None:
    """What a run would do; nothing is written, and no collection made."""
    from ingest import examination
    from ingest.pipeline import make_plan
    from ingest.sources import discover

    with closing(
        discover(sources, settings=settings.ingest, exclude=own_folders(settings), stdin_name=options.stdin_name)
    ) as found:
        plan = _planned(settings, collection, lambda store: make_plan(
            found, store=store, settings=settings.ingest, metadata=given, options=options
        ))  # fmt: skip
        actions = examination.actions(
            plan, given=given, max_bytes=settings.ingest.max_file_bytes, prune=options.prune
        )  # fmt: skip
    _say_if_refused(plan, options)
    if json:
        for one in actions:
            print_line("action", asdict(one))
        print_line("end", {"collection": collection, **examination.totals(actions)})
        return
    for one in actions:
        if one.action != "unchanged":
            typer.echo(f"{one.action:10} {one.uri}" + (f" (was {one.before})" if one.before else ""))
    totals = examination.totals(actions)
    typer.echo(", ".join(f"{count:,} {action}" for action, count in totals.items()) or "nothing to do")


def _say_if_refused(plan: "Plan", options: "Options") -> None:
    """The guards of pruning hold for what is only planned, too."""
    from ingest.pipeline import check_prune

    try:
        check_prune(plan, options)
    except InvalidRequest as exc:
        say(f"a run would refuse this: {exc}")


def _planned(settings: "Settings", collection: str, make: "Callable[[VectorStore | None], Plan]") -> "Plan":
    try:
        with open_store(settings.retrieval, collection) as store:
            return make(store)
    except CollectionNotFound:
        return make(None)
