"""`footnote editions list`, `switch`, `rollback`, `drop`; and what `footnote reindex` tells of its work."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
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
    print_json,
    sizes,
)

if TYPE_CHECKING:
    from evals.suite import Comparison
    from ingest.reindex import Report
    from retrieval.records import CollectionInfo, Edition

app = typer.Typer(
    no_args_is_help=True,
    help="The editions of a collection, one model and chunking each: list them, go to another one, go back, drop.",
)
NumberArgument = Annotated[int, typer.Argument(help="Number of the edition: `footnote editions list`.")]


@app.command("list")
def list_editions(
    context: typer.Context, collection: CollectionOption = DEFAULT_COLLECTION, json: JsonOption = False
) -> None:
    """List the editions of a collection: model, chunking, code of token vectors, how much is indexed.

    Examples:

        footnote editions list -c filings
    """
    with open_store(configuration(context).settings.retrieval, collection) as store, store.snapshot() as snapshot:
        info = snapshot.info
    if json:
        print_json({"collection": collection, "editions": editions_as_json(info)})
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("edition", justify="right")
    for name in ("", "model", "dimension", "chunking", "token vectors", "documents", "chunks", "created"):
        table.add_column(name, justify="right" if name in ("dimension", "documents", "chunks") else "left")
    for one in info.editions:
        table.add_row(
            str(one.number),
            "live" if one.number == info.live else "",
            one.embedder.name,
            str(one.embedder.dimension),
            sizes(one.chunking),
            one.token_code or "none",
            f"{one.documents:,} of {info.documents:,}",
            f"{one.chunks:,}",
            one.created_at,
        )
    console().print(table)


@app.command()
def switch(
    context: typer.Context,
    edition: NumberArgument,
    collection: CollectionOption = DEFAULT_COLLECTION,
    json: JsonOption = False,
) -> None:
    """Make another edition live; what it lacks is embedded into it first.

    Examples:

        footnote editions switch 2 -c filings
    """
    _go(context, collection, lambda _: edition, json=json)


@app.command()
def rollback(
    context: typer.Context, collection: CollectionOption = DEFAULT_COLLECTION, json: JsonOption = False
) -> None:
    """Go back to the edition that was live before; what was ingested since is embedded into it first.

    That is the one older than the live edition that has the most of the documents.

    Examples:

        footnote editions rollback -c filings
    """
    from ingest.reindex import rollback_target

    _go(context, collection, lambda info: rollback_target(info).number, json=json)


@app.command()
def drop(
    context: typer.Context,
    edition: NumberArgument,
    collection: CollectionOption = DEFAULT_COLLECTION,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: JsonOption = False,
) -> None:
    """Remove an edition that is not live, with its chunks and vectors; the documents stay.

    Examples:

        footnote editions drop 1 -c filings --yes
    """
    with open_store(configuration(context).settings.retrieval, collection, writable=True) as store:
        with store.snapshot(edition=edition) as snapshot:
            one, live = snapshot.info.edition, snapshot.info.live
        if not yes and edition != live:
            what = f"edition {edition} of {collection!r} ({one.embedder.name}, {counted(one.chunks, 'chunk')})"
            typer.confirm(f"Drop {what}?", abort=True, err=True)
        store.drop_edition(edition)
    if json:
        print_json({"collection": collection, "dropped": [edition]})
    else:
        typer.echo(f"dropped edition {edition} of {collection!r}")


def editions_as_json(info: "CollectionInfo") -> list[dict[str, Any]]:
    """The editions of a collection, by number."""
    return [
        {
            "number": one.number,
            "live": one.number == info.live,
            "model": one.embedder.name,
            "dimension": one.embedder.dimension,
            "chunking": asdict(one.chunking),
            "token_code": one.token_code,
            "documents": one.documents,
            "of_documents": info.documents,
            "chunks": one.chunks,
            "created_at": one.created_at,
        }
        for one in info.editions
    ]


def _go(context: typer.Context, collection: str, choose: "Callable[[CollectionInfo], int]", *, json: bool) -> None:
    """Bring the chosen edition up to date and switch to it."""
    from footnote.progress import progress
    from ingest.reindex import make_live
    from retrieval.build import build_embedders

    settings = configuration(context).settings.retrieval
    with open_store(settings, collection, writable=True) as store:
        with store.snapshot() as snapshot:
            edition = choose(snapshot.info)
        with progress(quiet=json, noun="document") as on_event:
            report = make_live(store, build_embedders(settings), edition, on_event=on_event)
        with store.snapshot() as snapshot:
            info = snapshot.info
    tell(report, info, json=json)


def tell(
    report: "Report",
    info: "CollectionInfo",
    *,
    comparison: "Comparison | None" = None,
    dropped: Sequence[int] = (),
    json: bool,
) -> None:
    """Print what became of an edition, and what can be done next; `info` is of the collection as it is now."""
    if json:
        suite = None if comparison is None else {**asdict(comparison), "difference": comparison.difference}
        print_json(
            {
                "collection": info.name,
                **asdict(report),
                "suite": suite,
                "dropped": list(dropped),
                "editions": editions_as_json(info),
            }
        )
        return
    terminal = console(stderr=True)
    if comparison:
        terminal.print(
            f"suite of {counted(comparison.queries, 'question')}: "
            f"nDCG@10 {comparison.former:.1f} in edition {report.former}, "
            f"{comparison.new:.1f} in edition {report.edition} ({comparison.difference:+.1f}; "
            f"{comparison.better} better, {comparison.worse} worse; p = {comparison.p_value:.3f})",
            markup=False,
        )
    for line in _lines(report, info):
        typer.echo(line)
    if dropped:
        typer.echo(f"dropped edition{'s' if len(dropped) > 1 else ''} {', '.join(map(str, dropped))}")


def _lines(report: "Report", info: "CollectionInfo") -> list[str]:
    found = [one for one in info.editions if one.number == report.edition]
    what = _described(found[0]) if found else "dropped since"
    edition, of_collection = f"edition {report.edition} ({what})", f"-c {info.name}"
    work = f"{counted(report.documents, 'document')}, {counted(report.chunks, 'chunk')} in {report.seconds:.1f} s"
    match report.outcome:
        case "current":
            return [f"{info.name!r}: {edition} is live already; nothing to do"]
        case "built":
            return [
                f"{info.name!r}: {edition} is built beside the live one: {work}",
                f"make it live: footnote editions switch {report.edition} {of_collection}",
            ]
        case "refused":
            return [
                f"{info.name!r}: {edition} is worse than edition {report.former}, which stays live: {work}",
                f"switch all the same: footnote editions switch {report.edition} {of_collection}; "
                f"or remove it: footnote editions drop {report.edition} {of_collection}",
            ]
    lines = [f"{info.name!r}: {edition} is live: {work}"]
    if any(one.number == report.former for one in info.editions) and report.former != report.edition:
        back = "rollback" if report.former < report.edition else f"switch {report.former}"
        lines.append(f"edition {report.former} is kept; the way back: footnote editions {back} {of_collection}")
    return lines


def _described(one: "Edition") -> str:
    tokens = "token vectors" if one.token_code else "no token vectors"
    return f"{one.embedder.name}, {sizes(one.chunking)}, {tokens}"
