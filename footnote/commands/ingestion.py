"""`footnote ingest` and `footnote retry`."""

import json as json_format
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, replace
from enum import StrEnum
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from footnote.commands.shared import (
    DEFAULT_COLLECTION,
    CollectionOption,
    JsonOption,
    configuration,
    console,
    counted,
    open_store,
    receipts_folder,
    sizes,
)
from retrieval.errors import CollectionExists, CollectionNotFound, InvalidRequest, SourceNotFound

if TYPE_CHECKING:
    from footnote.config import Settings
    from footnote.progress import Ingested
    from ingest.events import Event, Report
    from ingest.pipeline import Options
    from ingest.planning import Plan
    from ingest.settings import IngestSettings
    from retrieval.ports import Embedders, VectorStore
    from retrieval.records import Chunking, EmbedderInfo, MetadataValue, SourceRecord

EXIT_INCOMPLETE = 3
_EXIT_INTERRUPTED = 130
_SHOWN = 20

MetadataOption = Annotated[
    list[str] | None, typer.Option("--metadata", "-m", help="`name=value` for every document; may be repeated.")
]
WorkersOption = Annotated[
    int | None, typer.Option(min=0, max=256, help="Processes that read files; default: ingest.workers.")
]


class EngineName(StrEnum):
    """Who reads files and embeds."""

    LOCAL = "local"
    RAY = "ray"


EngineOption = Annotated[
    EngineName | None, typer.Option(help="This machine, or a Ray cluster; default: ingest.engine.")
]


def ingest(  # noqa: PLR0913, PLR0917 - one for each option
    context: typer.Context,
    sources: Annotated[
        list[str], typer.Argument(help="Files, folders, s3:// and https:// URIs, `-`.", metavar="SOURCE...")
    ],
    collection: CollectionOption = DEFAULT_COLLECTION,
    metadata: MetadataOption = None,
    prune: Annotated[bool, typer.Option("--prune", help="Delete documents whose source is gone.")] = False,
    prune_empty: Annotated[
        bool, typer.Option("--prune-empty", help="The same, also for a SOURCE that is empty now.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Prune without asking, even most documents.")] = False,
    restore: Annotated[
        bool, typer.Option("--restore", help="Bring back what `footnote delete` has deleted, too.")
    ] = False,
    name: Annotated[
        str, typer.Option(help="File name of what comes by standard input (`-`): it tells what it is.")
    ] = "stdin",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on: sync again what changes, and everything every ingest.poll_seconds.")
    ] = False,
    workers: WorkersOption = None,
    engine: EngineOption = None,
    json: JsonOption = False,
) -> None:
    """Bring a collection in line with its sources: what is new or has changed is read, what has moved is kept.

    The collection is made when it is not there; folders of Footnote's own data are left out. Documents whose source
    is gone stay, unless --prune. A source that cannot be read is recorded with its reason (`footnote status
    --failed`), the others go on, and the exit code is 3; it is tried again when it has changed, or by `footnote
    retry`. With --json, each event is a line of its own, and the last one, `end`, is the report.

    Examples:

        footnote ingest docs/ handbook.pdf

        footnote ingest filings/ --collection filings -m year=2023 -m source=sec

        footnote ingest docs/ --prune --dry-run

        curl -s https://example.org/notes.md | footnote ingest - --name notes.md

        footnote ingest docs/ s3://bucket/handbook --prune --watch
    """
    from ingest.pipeline import Options

    settings = configuration(context).settings
    if engine is not None:
        settings = _with(settings, engine=engine.value)
    given = dict(_metadata(entry) for entry in metadata or [])
    options = Options(
        prune=prune or prune_empty,
        prune_empty=prune_empty,
        approve=_approver(yes=yes),
        restore=restore,
        stdin_name=name,
    )
    if watch and dry_run:
        raise InvalidRequest("--watch goes on and --dry-run does nothing: leave one of them out")
    if watch:
        options = replace(options, approve=lambda *_: yes)  # nobody need be there to be asked
    if dry_run:
        _show_plan(settings, collection, sources, given, options, json=json)
        return
    _run(settings, collection, sources, given, options, workers=workers, watch=watch, json=json)


def retry(
    context: typer.Context,
    sources: Annotated[
        list[str] | None, typer.Argument(help="URIs as `status --failed` shows them; default: all.", metavar="URI...")
    ] = None,
    collection: CollectionOption = DEFAULT_COLLECTION,
    metadata: MetadataOption = None,
    workers: WorkersOption = None,
    json: JsonOption = False,
) -> None:
    """Try sources again that could not be ingested, whether anything has changed about them or not.

    Give the same --metadata as to `footnote ingest`. A source that is not there any more is left to `ingest --prune`.

    Examples:

        footnote retry

        footnote retry file:///srv/docs/big.pdf -c filings
    """
    from ingest.pipeline import Options

    settings = configuration(context).settings
    given = dict(_metadata(entry) for entry in metadata or [])
    with open_store(settings.retrieval, collection) as store:
        lines, tops = _failed(store, sources or [], given)
    present = [top for top in dict.fromkeys(tops) if _is_there(top, settings.ingest)]
    for top in dict.fromkeys(tops):
        if top not in present:
            _say(_missing(top))
    if not present:
        typer.echo(json_format.dumps({"event": "end", "collection": collection, "files": 0}) if json else "0 files")
        return
    options = Options(force=frozenset([*present, *(line.source_uri for line in lines)]))
    _run(settings, collection, present, given, options, workers=workers, json=json)


def _run(
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
    from retrieval.build import build_embedder, build_embedders

    embedder = build_embedder(settings.retrieval)
    if workers is not None:
        settings = _with(settings, workers=workers)
    _make_if_missing(settings, collection, embedder.info)
    with open_store(settings.retrieval, collection) as store:
        _say_what_differs(store, collection, embedder.info, settings.ingest.chunking)
    embedders = build_embedders(settings.retrieval, embedder)
    if watch:
        _watch(settings, collection, sources, given, options, embedders, json=json)
        return
    report = _sync(settings, collection, sources, given, options, embedders, json=json)
    if json:
        _print_line("end", {"collection": collection, **asdict(report)})
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

    count = Ingested()
    with (
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
            exclude=_own_folders(settings),
            options=options,
            on_event=_json_lines(count, show) if json else _with_warnings(show),
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
            _print_line("end", {"collection": collection, **asdict(report)})
        elif syncs == 1 or report.ingested or report.failures or report.pruned:
            _summarise(report, collection)
        if syncs == 1:
            _say("watching; Ctrl-C ends it")

    try:
        watch(
            sources, sync=sync, poll_seconds=settings.ingest.poll_seconds, exclude=_own_folders(settings),
            on_problem=_say,
        )  # fmt: skip
    except KeyboardInterrupt:
        if cut_off:
            raise
        _say(f"stopped watching after {counted(syncs, 'sync')}")


def _with(settings: "Settings", **options: object) -> "Settings":
    """The settings with other values in the table `ingest`."""
    return settings.model_copy(update={"ingest": settings.ingest.model_copy(update=options)})


def _own_folders(settings: "Settings") -> tuple[Any, ...]:
    return settings.retrieval.path, settings.retrieval.models_path, settings.evals.path, receipts_folder(settings)


@contextmanager
def _stopping(count: "Ingested") -> Iterator[None]:
    """Ctrl-C: the first one stops in good order, and says how far it went; the second one at once."""

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - as `signal` wants it
        signal.signal(signal.SIGINT, lambda *_: os._exit(_EXIT_INTERRUPTED))
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    except KeyboardInterrupt:
        _say(f"{count.done:,} of {counted(count.total, 'file')} are done with")
        raise
    finally:
        signal.signal(signal.SIGINT, before)


def _with_warnings(show: "Callable[[Event], None]") -> "Callable[[Event], None]":
    """The same, and what is about to be deleted is said before it is."""
    from ingest.events import Pruning

    def tell(event: "Event") -> None:
        show(event)
        if isinstance(event, Pruning):
            named = "\n".join(f"  {uri}" for uri in event.uris)
            more = "\n  ..." if event.documents > len(event.uris) else ""
            _say(f"deleting {counted(event.documents, 'document')} whose source is gone:\n{named}{more}")

    return tell


def _json_lines(count: "Ingested", show: "Callable[[Event], None]") -> "Callable[[Event], None]":
    """Events as lines of JSON on stdout; what is unchanged, and how many chunks are embedded, is in the totals."""
    from ingest import events

    def tell(event: "Event") -> None:
        show(event)
        match event:
            case events.Finished() if event.outcome != "unchanged" and not event.known:
                _print_line("document", {**asdict(event), "seconds": dict(event.seconds)})
            case events.Ticked():
                _print_line("progress", _progress(count, event))
            case events.Discovered() | events.Planned() | events.Pruning():
                _print_line(type(event).__name__.lower(), asdict(event))
            case _:
                pass

    return tell


def _progress(count: "Ingested", event: Any) -> dict[str, Any]:
    left = count.seconds_left()
    return {
        "files": count.done,
        "of": count.total,
        "bytes": count.size_done,
        "of_bytes": count.size,
        "chunks": count.chunks,
        "chunks_per_second": round(count.per_second(), 1),
        "seconds_left": None if left is None else round(left),
        "failed": count.failed,
        "stage": event.stage,
        "reading": [{"name": name, "seconds": round(seconds, 1)} for name, seconds in event.reading],
    }


def _print_line(event: str, data: dict[str, Any]) -> None:
    line = json_format.dumps({"event": event, **data}, ensure_ascii=False, default=str)
    print(line, flush=True)


def _approver(*, yes: bool) -> Callable[[int, int], bool]:
    """Who says yes to a prune of most documents: the option, or somebody at the terminal."""

    def approve(gone: int, documents: int) -> bool:
        if yes:
            return True
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            return False
        return typer.confirm(
            f"delete {gone:,} of {counted(documents, 'document')}, whose sources are gone?", err=True
        )  # fmt: skip

    return approve


def _show_plan(
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
        discover(sources, settings=settings.ingest, exclude=_own_folders(settings), stdin_name=options.stdin_name)
    ) as found:
        plan = _planned(settings, collection, lambda store: make_plan(
            found, store=store, settings=settings.ingest, metadata=given, options=options
        ))  # fmt: skip
        actions = examination.actions(
            plan, given=given, max_bytes=settings.ingest.max_file_bytes, prune=options.prune
        )  # fmt: skip
    if json:
        for one in actions:
            _print_line("action", asdict(one))
        _print_line("end", {"collection": collection, **examination.totals(actions)})
        return
    for one in actions:
        if one.action != "unchanged":
            typer.echo(f"{one.action:10} {one.uri}" + (f" (was {one.before})" if one.before else ""))
    totals = examination.totals(actions)
    typer.echo(", ".join(f"{count:,} {action}" for action, count in totals.items()) or "nothing to do")


def _planned(settings: "Settings", collection: str, make: "Callable[[VectorStore | None], Plan]") -> "Plan":
    try:
        with open_store(settings.retrieval, collection) as store:
            return make(store)
    except CollectionNotFound:
        return make(None)


def _failed(
    store: "VectorStore", uris: Sequence[str], given: "dict[str, MetadataValue]"
) -> "tuple[list[SourceRecord], list[str]]":
    """The failed lines, of `uris` where there are any, and the URI of the source that each came in."""
    from ingest import ledger

    with store.snapshot() as snapshot:
        lines = [line for status in ("failed", "unsupported", "needs-ocr") for line in snapshot.sources(status=status)]
        wanted = [line for line in lines if not uris or line.source_uri in uris]
        if unknown := set(uris) - {line.source_uri for line in wanted}:
            raise InvalidRequest(f"{min(unknown)!r} is no failed source; `footnote status --failed` lists them")
        tops = [_top(line, lambda uri: next(iter(snapshot.sources(uris=[uri])), None)) for line in wanted]
    for line in wanted:
        if not ledger.has_metadata(line, given):
            raise InvalidRequest(
                f"{line.source_uri!r} was ingested with other metadata; give the same --metadata, or name sources "
                "that had it"
            )
    return wanted, tops


def _top(line: "SourceRecord", find: "Callable[[str], SourceRecord | None]") -> str:
    """The source that stands by itself, in which that of the line came."""
    while line.parent:
        above = find(line.parent)
        if above is None:
            return line.parent
        line = above
    return line.source_uri


def _missing(uri: str) -> str:
    if uri.startswith("stdin:"):
        return f"{uri} came by standard input; pipe it to `footnote ingest -` again"
    return f"{uri} is not there any more; `footnote ingest --prune` of its folder removes it"


def _is_there(uri: str, settings: "IngestSettings") -> bool:
    from ingest.sources import discover

    try:
        discover([uri], settings=settings).close()
    except (SourceNotFound, InvalidRequest):
        return False
    return True


def _metadata(entry: str) -> "tuple[str, MetadataValue]":
    """`year=2023` gives a number, `draft=true` a boolean, `tags=["a","b"]` a list, all else text."""
    name, equals, text = entry.partition("=")
    if not equals or not name:
        raise InvalidRequest(f"--metadata {entry!r}: write name=value")
    try:
        value = json_format.loads(text)
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
    _say(
        f"collection {name!r} keeps what it was made with ({kept}, {sizes(edition.chunking)}); "
        f"`footnote reindex -c {name}` brings it to what is configured now ({wanted}, {sizes(chunking)})"
    )


def _summarise(report: "Report", collection: str) -> None:
    for failure in report.failures[:_SHOWN]:
        _say(f"{failure.outcome}: {failure.error}")
    if len(report.failures) > _SHOWN:
        _say(f"... and {len(report.failures) - _SHOWN} more: footnote status --failed -c {collection}")
    if report.known_failures:
        known = counted(report.known_failures, "known failure")
        _say(f"{known} not tried again: footnote retry -c {collection}")
    if report.gone:
        _say(f"{counted(report.gone, 'document')} whose source is gone: --prune deletes")
    not_ingested = len(report.failures) + report.known_failures
    more = [(report.moved, "moved"), (report.pruned, "deleted"), (report.deleted, "left deleted")]
    typer.echo(
        f"{counted(report.files, 'file')}: {report.ingested:,} ingested, {report.unchanged:,} unchanged, "
        f"{not_ingested:,} not ingested"
        + "".join(f", {number:,} {what}" for number, what in more if number)
        + f"; {counted(report.chunks, 'chunk')} in {report.seconds:.1f} s"
    )


def _say(text: str) -> None:
    console(stderr=True).print(text, style="yellow", markup=False)
