"""`footnote ingest`."""

from contextlib import closing, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from footnote.commands.shared import (
    DEFAULT_COLLECTION,
    CollectionOption,
    JsonOption,
    configuration,
    console,
    counted,
    open_store,
    print_json,
    sizes,
)
from retrieval.errors import CollectionExists, CollectionNotFound, InvalidRequest

if TYPE_CHECKING:
    from footnote.config import Settings
    from ingest.pipeline import Report
    from retrieval.ports import VectorStore
    from retrieval.records import Chunking, EmbedderInfo, MetadataValue

EXIT_INCOMPLETE = 3
_SHOWN_FAILURES = 20


def ingest(
    context: typer.Context,
    sources: Annotated[list[Path], typer.Argument(help="Files and folders.", metavar="SOURCE...")],
    collection: CollectionOption = DEFAULT_COLLECTION,
    metadata: Annotated[
        list[str] | None, typer.Option("--metadata", "-m", help="`name=value` for every document; may be repeated.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Bring files into a collection; those that have not changed are left alone.

    The collection is made when it is not there; folders of Footnote's own data are left out. A file that cannot be
    read is recorded with its reason (`footnote status --failed`), the others go on, and the exit code is 3.

    Examples:

        footnote ingest docs/ handbook.pdf

        footnote ingest filings/ --collection filings -m year=2023 -m source=sec
    """
    from footnote.progress import progress
    from ingest import pipeline
    from retrieval.build import build_embedder, build_embedders

    settings = configuration(context).settings
    given = dict(_metadata(entry) for entry in metadata or [])
    embedder = build_embedder(settings.retrieval)
    _make_if_missing(settings, collection, embedder.info)
    with open_store(settings.retrieval, collection, writable=True) as store:
        _say_what_differs(store, collection, embedder.info, settings.ingest.chunking)
        with progress(quiet=json) as on_event:
            report = pipeline.ingest(
                sources,
                store=store,
                embedders=build_embedders(settings.retrieval, embedder),
                settings=settings.ingest,
                metadata=given,
                exclude=(settings.retrieval.path, settings.retrieval.models_path, settings.evals.path),
                on_event=on_event,
            )
    if json:
        print_json({"collection": collection, **asdict(report)})
    else:
        _summarise(report, collection)
    if not report.complete:
        raise typer.Exit(EXIT_INCOMPLETE)


def _metadata(entry: str) -> "tuple[str, MetadataValue]":
    """`year=2023` gives a number, `draft=true` a boolean, `tags=["a","b"]` a list, all else text."""
    import json

    name, equals, text = entry.partition("=")
    if not equals or not name:
        raise InvalidRequest(f"--metadata {entry!r}: write name=value")
    try:
        value = json.loads(text)
    except ValueError:
        return name, text
    if isinstance(value, list):
        return name, tuple(value)
    return name, value if isinstance(value, str | int | float | bool) else text


def _make_if_missing(settings: "Settings", name: str, embedder: "EmbedderInfo") -> None:
    from retrieval.build import build_collections

    with closing(build_collections(settings.retrieval)) as collections:
        try:
            collections.open(name).close()
        except CollectionNotFound:
            # Another process may make it at the same moment; then it is there, which is all we want.
            with suppress(CollectionExists):
                collections.create(
                    name, embedder=embedder, chunking=settings.ingest.chunking, language=settings.retrieval.language
                )


def _say_what_differs(store: "VectorStore", name: str, embedder: "EmbedderInfo", chunking: "Chunking") -> None:
    """A collection goes on as it was made; who has changed the settings since should know."""
    with store.snapshot() as snapshot:
        edition = snapshot.info.edition
    if (edition.embedder, edition.chunking) == (embedder, chunking):
        return
    kept, wanted = edition.embedder.name, embedder.name
    if kept == wanted and edition.embedder != embedder:
        kept, wanted = (f"{model.name} {model.sha256[:12]}" for model in (edition.embedder, embedder))
    console(stderr=True).print(
        f"collection {name!r} keeps what it was made with ({kept}, {sizes(edition.chunking)}); "
        f"`footnote reindex -c {name}` brings it to what is configured now ({wanted}, {sizes(chunking)})",
        style="yellow",
        markup=False,
    )


def _summarise(report: "Report", collection: str) -> None:
    terminal = console(stderr=True)
    for failure in report.failures[:_SHOWN_FAILURES]:
        terminal.print(f"{failure.outcome}: {failure.error}", style="yellow", markup=False)
    if len(report.failures) > _SHOWN_FAILURES:
        more = len(report.failures) - _SHOWN_FAILURES
        terminal.print(f"... and {more} more: footnote status --failed -c {collection}", style="yellow", markup=False)
    typer.echo(
        f"{counted(report.files, 'file')}: {report.ingested:,} ingested, {report.unchanged:,} unchanged, "
        f"{len(report.failures):,} not ingested; {counted(report.chunks, 'chunk')} in {report.seconds:.1f} s"
    )
