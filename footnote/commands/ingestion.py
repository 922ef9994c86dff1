"""`footnote ingest`."""

import sys
from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from typing import Annotated

import typer

from footnote.commands.shared import DEFAULT_COLLECTION, CollectionOption, JsonOption, configuration, counted
from footnote.commands.syncing import parse_metadata, run, with_ingest
from retrieval.errors import InvalidRequest

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
    retry`. With --json, each event is a
    line of its own; the last one of a run that gets through, `end`, is the report.

    Examples:

        footnote ingest docs/ handbook.pdf

        footnote ingest filings/ --collection filings -m year=2023 -m source=sec

        footnote ingest docs/ --prune --dry-run

        curl -s https://example.org/notes.md | footnote ingest - --name notes.md

        footnote ingest docs/ s3://bucket/handbook --prune --watch
    """
    from footnote.commands.dry_run import show_plan
    from ingest.pipeline import Options

    settings = configuration(context).settings
    if engine is not None:
        settings = with_ingest(settings, engine=engine.value)
    given = dict(parse_metadata(entry) for entry in metadata or [])
    options = Options(
        prune=prune or prune_empty,
        prune_empty=prune_empty,
        approve=_approver(yes=yes),
        restore=restore,
        stdin_name=name,
    )
    if watch and dry_run:
        raise InvalidRequest("--watch goes on and --dry-run does nothing: leave one of them out")
    if watch or dry_run:
        options = replace(options, approve=lambda *_: yes)  # nobody need be there to be asked
    if dry_run:
        show_plan(settings, collection, sources, given, options, json=json)
        return
    run(settings, collection, sources, given, options, workers=workers, watch=watch, json=json)


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
