"""`footnote retry`."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from footnote.commands.event_lines import print_line
from footnote.commands.ingestion import MetadataOption, WorkersOption
from footnote.commands.shared import DEFAULT_COLLECTION, CollectionOption, JsonOption, configuration, open_store
from footnote.commands.syncing import parse_metadata, run, say
from retrieval.errors import InvalidRequest, SourceNotFound

if TYPE_CHECKING:
    from ingest.settings import IngestSettings
    from retrieval.ports import VectorStore
    from retrieval.records import MetadataValue, SourceRecord


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
    from ingest.events import Report
    from ingest.pipeline import Options

    settings = configuration(context).settings
    given = dict(parse_metadata(entry) for entry in metadata or [])
    with open_store(settings.retrieval, collection) as store:
        lines, tops = _failed(store, sources or [], given)
    present = [top for top in dict.fromkeys(tops) if _is_there(top, settings.ingest)]
    for top in dict.fromkeys(tops):
        if top not in present:
            say(_missing(top))
    if not present:
        if json:
            print_line("end", {"collection": collection, **asdict(Report())})
        else:
            typer.echo("0 files")
        return
    options = Options(force=frozenset([*present, *(line.source_uri for line in lines)]))
    run(settings, collection, present, given, options, workers=workers, json=json)


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
