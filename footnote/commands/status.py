"""`footnote status`."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from footnote.commands.editions import editions_as_json
from footnote.commands.shared import JsonOption, configuration, console, print_json
from retrieval.errors import InvalidRequest, SourceNotFound, StoreError

if TYPE_CHECKING:
    from retrieval.ports import Collections, Snapshot
    from retrieval.records import SourceRecord

_PAGE = 5_000
"""Ledger lines read at a time."""
_NOT_INGESTED = ("failed", "unsupported", "needs-ocr")


def status(
    context: typer.Context,
    collection: Annotated[
        str | None, typer.Option("--collection", "-c", help="Only this one; default: all of them.")
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="List the files that were not ingested, and why.")] = False,
    source: Annotated[
        str | None, typer.Option("--source", help="All that the ledger knows of one source: its URI, or a path.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show the collections: how many documents and chunks, of which model and edition, what became of the sources.

    Examples:

        footnote status

        footnote status --failed -c filings --json

        footnote status --source reports/q3.pdf
    """
    from retrieval.build import build_collections

    if failed and source is not None:
        raise InvalidRequest("--failed lists sources and --source shows one: say one of the two")
    settings = configuration(context).settings
    with closing(build_collections(settings.retrieval)) as collections:
        names = [collection] if collection else collections.names()
        if source is not None:
            _show_source(source, names, collections, json=json)
            return
        found, broken = _look_into(names, collections)
        where = "" if names else collections.place()
    if json:
        print_json({"collections": found, "broken": broken})
    elif failed:
        _print_failures(found)
    elif found or not names:
        _print_table(found, where=where)
        if settings.ingest.token_vectors:
            _say_who_has_no_token_vectors(found)
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
    counts = dict.fromkeys(("ingested", *_NOT_INGESTED, "deleted"), 0)
    last, problems = "", []
    for line in _ledger(snapshot):
        counts[line.status] += 1
        last = max(last, line.recorded_at)
        if line.status in _NOT_INGESTED:
            problems.append(_as_json(line))
    return {
        "name": info.name,
        "documents": info.documents,
        "chunks": info.chunks,
        "model": info.embedder.name,
        "dimension": info.embedder.dimension,
        "embedder": info.embedder.adapter,
        "token_code": info.edition.token_code,
        "edition": info.live,
        "editions": editions_as_json(info),
        "language": info.language,
        "fields": list(info.fields),
        "sources": counts,
        "last_recorded_at": last,
        "not_ingested": problems,
    }


def _ledger(snapshot: "Snapshot") -> Iterator["SourceRecord"]:
    """All lines, a page in memory at a time."""
    after = ""
    while page := snapshot.sources(after=after, limit=_PAGE):
        yield from page
        after = page[-1].source_uri


def _as_json(line: "SourceRecord") -> dict[str, Any]:
    return {**asdict(line), "parser": line.parser, "seconds": dict(line.seconds)}


def _print_failures(found: list[dict[str, Any]]) -> None:
    """By reason, the most frequent first."""
    for entry in found:
        reasons: dict[str, list[dict[str, Any]]] = {}
        for line in entry["not_ingested"]:
            reasons.setdefault(line["reason"] or line["status"], []).append(line)
        for reason, lines in sorted(reasons.items(), key=lambda pair: (-len(pair[1]), pair[0])):
            for line in lines:
                tried = f"tried {line['attempts']} times, last" if line["attempts"] > 1 else "tried"
                when = f" ({tried} {line['recorded_at']})" if line["recorded_at"] else ""
                typer.echo(f"{entry['name']}: {reason}: {line['source_uri']}: {line['error']}{when}")


def _show_source(name: str, names: list[str], collections: "Collections", *, json: bool) -> None:
    """The lines of one source in every collection that knows it. Raises SourceNotFound."""
    from ingest.sources import uri_for

    uris = list(dict.fromkeys([name.encode("utf-8", "replace").decode(), uri_for(name)]))
    found, broken = [], False
    for one in names:
        try:
            with closing(collections.open(one)) as store, store.snapshot() as snapshot:
                found += [{"collection": one, **_as_json(line)} for line in snapshot.sources(uris=uris)]
        except StoreError as exc:  # it hides no other
            if len(names) == 1:
                raise
            broken = True
            typer.echo(f"error: {exc}", err=True)
    if not found:
        where = f"collection {names[0]!r}" if len(names) == 1 else "any collection"
        raise SourceNotFound(f"the ledger of {where} knows no source {name!r}; give its URI, or the path of a file")
    if json:
        print_json({"sources": found})
    else:
        _print_lines(found)
    if broken:
        raise typer.Exit(1)


def _print_lines(found: list[dict[str, Any]]) -> None:
    for line in found:
        width = max(map(len, line))
        for field, value in line.items():
            shown = ", ".join(f"{stage} {taken:.3f}" for stage, taken in value.items()) if field == "seconds" else value
            if shown != "":
                typer.echo(f"{field.ljust(width)}  {shown}")


def _print_table(found: list[dict[str, Any]], *, where: str) -> None:
    from rich.table import Table

    if where:
        console(stderr=True).print(f"no collections in {where}; `footnote ingest SOURCE...` makes one")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("collection")
    statuses = [name for name in (*_NOT_INGESTED, "deleted") if any(entry["sources"][name] for entry in found)]
    for name in ("documents", "chunks", "not ingested", *statuses):
        table.add_column(name, justify="right")
    for name in ("model", "token vectors", "edition", "last recorded"):
        table.add_column(name)
    for entry in found:
        counts = [entry["documents"], entry["chunks"], len(entry["not_ingested"])]
        counts += [entry["sources"][name] for name in statuses]
        others = [str(one["number"]) for one in entry["editions"] if not one["live"]]
        edition = f"{entry['edition']} (also there: {', '.join(others)})" if others else str(entry["edition"])
        made = entry["model"], entry["token_code"] or "none"
        table.add_row(entry["name"], *(f"{count:,}" for count in counts), *made, edition, entry["last_recorded_at"])
    console().print(table)


def _say_who_has_no_token_vectors(found: list[dict[str, Any]]) -> None:
    """Such collections are searched, by less than they could be; those of other embedders cannot have any."""
    for entry in found:
        if entry["embedder"] == "onnx" and not entry["token_code"] and entry["chunks"]:
            typer.echo(
                f"collection {entry['name']!r} keeps no token vectors, so late interaction does not rank it; "
                f"`footnote reindex -c {entry['name']} --token-vectors` makes them",
                err=True,
            )
