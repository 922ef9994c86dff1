"""`footnote status`."""

from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from footnote.commands.editions import editions_as_json
from footnote.commands.shared import JsonOption, configuration, console, print_json
from retrieval.errors import StoreError

if TYPE_CHECKING:
    from retrieval.ports import Collections, Snapshot


def status(
    context: typer.Context,
    collection: Annotated[
        str | None, typer.Option("--collection", "-c", help="Only this one; default: all of them.")
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="List the files that were not ingested, and why.")] = False,
    json: JsonOption = False,
) -> None:
    """Show the collections: how many documents and chunks, of which model and edition, what failed.

    Examples:

        footnote status

        footnote status --failed -c filings --json
    """
    from retrieval.build import build_collections

    settings = configuration(context).settings.retrieval
    with closing(build_collections(settings)) as collections:
        names = [collection] if collection else collections.names()
        found, broken = _look_into(names, collections)
        where = "" if names else collections.place()
    if json:
        print_json({"collections": found, "broken": broken})
    elif failed:
        for entry in found:
            for line in entry["not_ingested"]:
                typer.echo(f"{entry['name']}: {line['status']}: {line['error']} ({line['source_uri']})")
    elif found or not names:
        _print_table(found, where=where)
    for entry in broken:
        typer.echo(f"error: {entry['error']}", err=True)
    if broken:
        raise typer.Exit(1)


def _look_into(names: list[str], collections: "Collections") -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What each collection holds; those that cannot be opened apart, with the reason: they hide no other."""
    found, broken = [], []
    for name in names:
        try:
            with closing(collections.open(name)) as store, store.snapshot() as snapshot:
                found.append(_status(snapshot))
        except StoreError as exc:
            broken.append({"name": name, "error": str(exc)})
    return found, broken


def _status(snapshot: "Snapshot") -> dict[str, Any]:
    info = snapshot.info
    problems = [*snapshot.sources(status="failed"), *snapshot.sources(status="unsupported")]
    return {
        "name": info.name,
        "documents": info.documents,
        "chunks": info.chunks,
        "model": info.embedder.name,
        "dimension": info.embedder.dimension,
        "edition": info.live,
        "editions": editions_as_json(info),
        "language": info.language,
        "fields": list(info.fields),
        "not_ingested": [asdict(line) for line in problems],
    }


def _print_table(found: list[dict[str, Any]], *, where: str) -> None:
    from rich.table import Table

    if where:
        console(stderr=True).print(f"no collections in {where}; `footnote ingest SOURCE...` makes one")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("collection")
    for name in ("documents", "chunks", "not ingested"):
        table.add_column(name, justify="right")
    table.add_column("model")
    table.add_column("edition")
    for entry in found:
        counts = (entry["documents"], entry["chunks"], len(entry["not_ingested"]))
        others = [str(one["number"]) for one in entry["editions"] if not one["live"]]
        edition = f"{entry['edition']} (also there: {', '.join(others)})" if others else str(entry["edition"])
        table.add_row(entry["name"], *(f"{count:,}" for count in counts), entry["model"], edition)
    console().print(table)
