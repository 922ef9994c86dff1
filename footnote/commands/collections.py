"""`footnote status`, `footnote delete`."""

import os
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from footnote.commands.editions import editions_as_json
from footnote.commands.shared import (
    DEFAULT_COLLECTION,
    CollectionOption,
    JsonOption,
    configuration,
    console,
    counted,
    open_store,
    print_json,
)
from retrieval.errors import DocumentNotFound, InvalidRequest, StoreCorrupt, StoreError

if TYPE_CHECKING:
    from retrieval.ports import Collections, Snapshot
    from retrieval.settings import RetrievalSettings


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


def delete(
    context: typer.Context,
    documents: Annotated[
        list[str] | None, typer.Argument(help="Document ids, URIs or paths of files.", metavar="DOCUMENT...")
    ] = None,
    collection: CollectionOption = DEFAULT_COLLECTION,
    everything: Annotated[bool, typer.Option("--everything", help="The whole collection instead.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before a whole collection goes.")] = False,
    json: JsonOption = False,
) -> None:
    """Delete documents, or with --everything a whole collection.

    Examples:

        footnote delete docs/old-handbook.pdf

        footnote delete -c filings --everything --yes
    """
    from retrieval.build import build_collections

    settings = configuration(context).settings.retrieval
    if bool(documents) == everything:
        raise InvalidRequest("name the documents to delete, or say --everything; not both, not neither")
    if everything:
        held = _held(settings, collection)
        if not yes:
            typer.confirm(f"Delete collection {collection!r} with {held}?", abort=True, err=True)
        with closing(build_collections(settings)) as collections:
            collections.drop(collection)
        gone = [collection]
    else:
        with open_store(settings, collection, writable=True) as store:
            with store.snapshot() as snapshot:
                doc_ids = [_doc_id(name, snapshot) for name in documents or []]
            gone = store.delete(doc_ids)
    if json:
        print_json({"collection": collection, "everything": everything, "deleted": gone})
    else:
        typer.echo(f"deleted {', '.join(gone)}")


def _held(settings: "RetrievalSettings", collection: str) -> str:
    """What would go with a collection; one that cannot be read can go all the same, and often has to."""
    try:
        with open_store(settings, collection) as store, store.snapshot() as snapshot:
            return counted(snapshot.info.documents, "document")
    except StoreCorrupt:
        return "all that it holds, which cannot be read"


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


def _doc_id(name: str, snapshot: "Snapshot") -> str:
    """A document is named by its id, its source's URI, or the path of a file (which may be gone)."""
    from ingest.sources import doc_id_for, uri_for

    text = os.fsencode(name).decode("utf-8", errors="replace")  # a path may hold any bytes, ids and URIs do not
    for candidate in (text, doc_id_for(text), doc_id_for(uri_for(name))):
        try:
            return snapshot.document(candidate).doc_id
        except DocumentNotFound:
            continue
    raise DocumentNotFound(
        f"no document {name!r} in collection {snapshot.info.name!r}; give its id, URI or path "
        "(the REST interface lists them under /v1/collections/NAME/documents)"
    )


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
