"""A sync as the commands `ingest` and `retry` run it: signals, progress, events, summary and exit code."""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import typer

from footnote.commands.event_lines import json_lines, print_line
from footnote.commands.shared import console, counted, open_store, receipts_folder, sizes
from retrieval.errors import CollectionExists, CollectionNotFound, FootnoteError, InvalidRequest

if TYPE_CHECKING:
    from footnote.config import Settings
    from footnote.progress import Ingested
    from ingest.events import Event, Report
    from ingest.pipeline import Options
    from ingest.settings import IngestSettings
    from retrieval.ports import Embedder, Embedders, VectorStore
    from retrieval.records import EmbedderInfo, MetadataValue

EXIT_INCOMPLETE = 3
_EXIT_INTERRUPTED = 130
_SHOWN = 20


def run(
    settings: "Settings",
    collection: str,
    sources: Sequence[str],
    given: "dict[str, MetadataValue]",
    options: "Options",
    *,
    workers: int | None,
    watch: bool = False,
    json: bool,
) -> None:
    """The sync itself, or one after the other, from the start to the exit code."""
    from ingest.sources import discover
    from retrieval.build import build_embedder, build_embedders

    # A typing error shall leave no collection behind.
    discover(sources, settings=settings.ingest, exclude=own_folders(settings), stdin_name=options.stdin_name).close()
    embedder = build_embedder(settings.retrieval)
    if workers is not None:
        settings = with_ingest(settings, workers=workers)
    _make_if_missing(settings, collection, embedder)
    with open_store(settings.retrieval, collection) as store:
        _say_what_differs(store, collection, embedder, settings.ingest)
    embedders = build_embedders(settings.retrieval, embedder)
    if watch:
        _watch(settings, collection, sources, given, options, embedders, json=json)
        return
    report = _sync(settings, collection, sources, given, options, embedders, json=json)
    if json:
        print_line("end", {"collection": collection, **asdict(report)})
    else:
        _summarise(report, collection)
    if not report.complete:
        raise typer.Exit(EXIT_INCOMPLETE)


def _sync(
    settings: "Settings",
    collection: str,
    sources: Sequence[str],
    given: "dict[str, MetadataValue]",
    options: "Options",
    embedders: "Embedders",
    *,
    json: bool,
) -> "Report":
    from footnote.progress import Ingested, tallied
    from ingest import pipeline

    count = Ingested(begins="files (looking for them)")
    with (
        _ending(count, json=json),
        open_store(settings.retrieval, collection, writable=True) as store,
        _stopping(count),
        tallied(count, quiet=json) as show,
    ):
        return pipeline.ingest(
            sources,
            store=store,
            embedders=embedders,
            settings=settings.ingest,
            metadata=given,
            exclude=own_folders(settings),
            options=options,
            on_event=json_lines(count, show) if json else _with_warnings(show),
        )


def _watch(
    settings: "Settings",
    collection: str,
    sources: Sequence[str],
    given: "dict[str, MetadataValue]",
    options: "Options",
    embedders: "Embedders",
    *,
    json: bool,
) -> None:
    """One sync after the other, until Ctrl-C, which is how this ends."""
    from ingest.watching import watch

    syncs, cut_off = 0, False

    def sync(arguments: Sequence[str]) -> None:
        nonlocal syncs, cut_off
        # What is deleted from the second sync on is deleted: it was restored before.
        told = replace(options, restore=options.restore and syncs == 0)
        try:
            report = _sync(settings, collection, arguments, given, told, embedders, json=json)
        except KeyboardInterrupt:
            cut_off = True
            raise
        syncs += 1
        if json:
            print_line("end", {"collection": collection, **asdict(report)})
        elif syncs == 1 or report.ingested or report.failures or report.pruned:
            _summarise(report, collection)
        if syncs == 1:
            say("watching; Ctrl-C ends it")

    try:
        watch(
            sources, sync=sync, poll_seconds=settings.ingest.poll_seconds, exclude=own_folders(settings),
            on_problem=say,
        )  # fmt: skip
    except KeyboardInterrupt:
        if cut_off:
            raise
        say(f"stopped watching after {counted(syncs, 'sync')}")


@contextmanager
def _ending(count: "Ingested", *, json: bool) -> Iterator[None]:
    """With `json`, a run that does not come to its end says so by the last event of its stream."""
    try:
        yield
    except FootnoteError as exc:
        if json:
            print_line("error", {"error": str(exc)})
        elif count.done:
            say(f"{_how_far(count)}; the same command goes on from there")
        raise
    except KeyboardInterrupt:
        if json:
            print_line("stopped", {"files": count.done, "of": count.total})
        raise


@contextmanager
def _stopping(count: "Ingested") -> Iterator[None]:
    """Ctrl-C: the first one stops in good order, and says how far it went; the second one at once."""

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - as `signal` wants it
        signal.signal(signal.SIGINT, lambda *_: os._exit(_EXIT_INTERRUPTED))
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, stop)
    interrupted = False
    try:
        yield
    except KeyboardInterrupt:
        interrupted = True
        say(_how_far(count))
        raise
    finally:
        if not interrupted:  # else the second one counts until the process has ended
            signal.signal(signal.SIGINT, before)


def _how_far(count: "Ingested") -> str:
    return f"{count.done:,} of {counted(count.total, 'file')} are done with"


def _with_warnings(show: "Callable[[Event], None]") -> "Callable[[Event], None]":
    """The same, and what is about to be deleted is said before it is."""
    from ingest.events import Pruning

    def tell(event: "Event") -> None:
        show(event)
        if isinstance(event, Pruning):
            named = "\n".join(f"  {uri}" for uri in event.uris)
            more = "\n  ..." if event.documents > len(event.uris) else ""
            # By `sys.stderr`, which the bar puts above itself; a console of our own would write into it.
            print(
                f"deleting {counted(event.documents, 'document')} whose source is gone:\n{named}{more}",
                file=sys.stderr,
            )

    return tell


def _make_if_missing(settings: "Settings", name: str, embedder: "Embedder") -> None:
    from ingest.indexing import token_code
    from retrieval.build import build_collections

    with closing(build_collections(settings.retrieval)) as collections:
        try:
            collections.open(name).close()
        except CollectionNotFound:
            # Nor shall a service that refuses us: the collection would be bound to it.
            embedder.embed_documents(["collection"])
            # Another process may make it at the same moment; then it is there, which is all we want.
            with suppress(CollectionExists):
                collections.create(
                    name,
                    embedder=embedder.info,
                    chunking=settings.ingest.chunking,
                    language=settings.retrieval.language,
                    token_code=token_code(embedder, wanted=settings.ingest.token_vectors),
                )


def _say_what_differs(store: "VectorStore", name: str, embedder: "Embedder", settings: "IngestSettings") -> None:
    """A collection goes on as it was made; who has changed the settings since should know."""
    from ingest.indexing import token_code

    with store.snapshot() as snapshot:
        edition = snapshot.info.edition
    info, code = embedder.info, token_code(embedder, wanted=settings.token_vectors)
    if (edition.embedder, edition.chunking, edition.token_code) == (info, settings.chunking, code):
        return
    kept, wanted = edition.embedder.name, info.name
    if kept == wanted and edition.embedder != info:
        kept, wanted = _described(edition.embedder), _described(info)
    kept, wanted = f"{kept}, {sizes(edition.chunking)}", f"{wanted}, {sizes(settings.chunking)}"
    if edition.token_code != code:
        kept, wanted = f"{kept}, {_tokens(edition.token_code)}", f"{wanted}, {_tokens(code)}"
    say(
        f"collection {name!r} keeps what it was made with ({kept}); "
        f"`footnote reindex -c {name}` brings it to what is configured now ({wanted})"
    )


def _tokens(code: str) -> str:
    return f"token vectors {code}" if code else "no token vectors"


def _described(embedder: "EmbedderInfo") -> str:
    """What tells embedders of one name apart."""
    prefixes = f"prefixes {embedder.query_prefix!r} and {embedder.document_prefix!r}"
    hashed = [embedder.sha256[:12]] if embedder.sha256 else []
    measures = f"{embedder.dimension} dimensions, window {embedder.window}"
    return f"{' '.join([embedder.name, *hashed])}, {measures}, {prefixes}"


def _summarise(report: "Report", collection: str) -> None:
    for failure in report.failures[:_SHOWN]:
        say(f"{failure.outcome}: {failure.error}")
    if len(report.failures) > _SHOWN:
        say(f"... and {len(report.failures) - _SHOWN} more: footnote status --failed -c {collection}")
    if report.known_failures:
        known = counted(report.known_failures, "known failure")
        say(f"{known} not tried again: footnote retry -c {collection}")
    if report.gone:
        say(f"{counted(report.gone, 'document')} whose source is gone: --prune deletes")
    not_ingested = len(report.failures) + report.known_failures
    more = [(report.moved, "moved"), (report.pruned, "deleted"), (report.deleted, "left deleted")]
    typer.echo(
        f"{counted(report.files, 'file')}: {report.ingested:,} ingested, {report.unchanged:,} unchanged, "
        f"{not_ingested:,} not ingested"
        + "".join(f", {number:,} {what}" for number, what in more if number)
        + f"; {counted(report.chunks, 'chunk')} in {report.seconds:.1f} s"
    )


def with_ingest(settings: "Settings", **options: object) -> "Settings":
    """The settings with other values in the table `ingest`."""
    return settings.model_copy(update={"ingest": settings.ingest.model_copy(update=options)})


def own_folders(settings: "Settings") -> tuple[Path, ...]:
    """Where Footnote keeps what is its own: no sources of documents."""
    return settings.retrieval.path, settings.retrieval.models_path, settings.evals.path, receipts_folder(settings)


def parse_metadata(entry: str) -> "tuple[str, MetadataValue]":
    """`year=2023` gives a number, `draft=true` a boolean, `tags=["a","b"]` a list, all else text."""
    import json

    from ingest.sources import sidecars

    name, equals, text = entry.partition("=")
    if not equals or not name:
        raise InvalidRequest(f"--metadata {entry!r}: write name=value")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = text
    value = tuple(value) if isinstance(value, list) else value
    if not isinstance(value, str | int | float | bool | tuple):
        value = text
    if not sidecars.fits(name, value):
        raise InvalidRequest(
            f"--metadata {entry!r}: write name=value, the name not beginning with $, the value a text, a finite number "
            "within 64 bits, true, false, or a list of texts or of numbers"
        )
    return name, value


def say(text: str) -> None:
    """Something that people should know, on stderr."""
    console(stderr=True).print(text, style="yellow", markup=False)
