"""`footnote receipts`: what was deleted, and whether the record of it is as it was written."""

from typing import TYPE_CHECKING, Annotated

import typer

from footnote.commands.deletion import as_json
from footnote.commands.shared import (
    DEFAULT_COLLECTION,
    CollectionOption,
    JsonOption,
    configuration,
    console,
    counted,
    print_json,
    receipts_folder,
)
from retrieval.errors import InvalidRequest, NotFound

if TYPE_CHECKING:
    from ingest.deletion.receipts import Chain, Entry

EXIT_BROKEN = 5

app = typer.Typer(no_args_is_help=True, help="Show and verify the receipts of deletions.")


@app.command("list")
def list_(context: typer.Context, collection: CollectionOption = DEFAULT_COLLECTION, json: JsonOption = False) -> None:
    """List the receipts of a collection, oldest first.

    Examples:

        footnote receipts list

        footnote receipts list -c filings --json
    """
    receipts = [entry for entry in _chain(context, collection).entries() if entry.kind == "receipt"]
    if json:
        print_json({"collection": collection, "receipts": [as_json(receipt) for receipt in receipts]})
    else:
        _print_table(receipts)


@app.command()
def show(
    context: typer.Context,
    sequence: Annotated[int | None, typer.Argument(help="Number of the receipt; default: the last one.")] = None,
    collection: CollectionOption = DEFAULT_COLLECTION,
    json: JsonOption = False,
) -> None:
    """Show one receipt: who deleted what and when, and what was looked for afterwards.

    Examples:

        footnote receipts show

        footnote receipts show 8 -c filings --json
    """
    receipts = {entry.sequence: entry for entry in _chain(context, collection).entries() if entry.kind == "receipt"}
    if not receipts:
        raise NotFound(
            f"collection {collection!r} has no receipts yet; `footnote delete --resume` completes a deletion"
        )
    chosen = receipts.get(max(receipts) if sequence is None else sequence)
    if chosen is None:
        known = ", ".join(map(str, receipts))
        raise InvalidRequest(f"no receipt {sequence} of collection {collection!r}; there are: {known}")
    if json:
        print_json(as_json(chosen))
    else:
        _print(chosen)


@app.command()
def verify(
    context: typer.Context,
    collection: CollectionOption = DEFAULT_COLLECTION,
    holds: Annotated[
        str, typer.Option("--holds", help="A hash that you have noted: it must be in the chain still.")
    ] = "",
    json: JsonOption = False,
) -> None:
    """Verify that no receipt was changed, removed, added or moved since it was written.

    The chain alone cannot show that its end is missing, or that all of it was written anew: note the hash of the last
    line in another place, and ask for it with `--holds`. The exit code is 5 when the chain is broken.

    Examples:

        footnote receipts verify

        footnote receipts verify -c filings --holds 0f3a... --json
    """
    chain = _chain(context, collection)
    found = chain.verify(holds)
    if json:
        print_json(
            {
                "collection": collection,
                "path": str(chain.path),
                "sound": found.sound,
                "entries": found.entries,
                "receipts": found.receipts,
                "head": found.head,
                "open": list(found.open),
                "line": found.line or None,
                "problem": found.problem,
                "held": found.held,
            }
        )
    else:
        if found.problem:
            typer.echo(f"error: {chain.path}, line {found.line}: {found.problem}", err=True)
        if found.held is False:
            typer.echo(f"error: no line has the hash {holds!r}: the end was removed, or all written anew", err=True)
        sound = "sound" if found.sound else "NOT SOUND"
        typer.echo(
            f"{sound}: {counted(found.receipts, 'receipt')} in {counted(found.entries, 'line')}; last {found.head}"
        )
        if found.open:
            typer.echo(f"{counted(len(found.open), 'deletion')} cut off: `footnote delete --resume -c {collection}`")
    if not found.sound:
        raise typer.Exit(EXIT_BROKEN)


def _chain(context: typer.Context, collection: str) -> "Chain":
    from ingest.deletion.receipts import Chain

    return Chain(receipts_folder(configuration(context).settings), collection)


def _print_table(receipts: "list[Entry]") -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("receipt", "when", "who", "what", "probes", "sha256"):
        table.add_column(name)
    for entry in receipts:
        content = entry.content
        whole = content["scope"] == "collection"
        what = "the collection" if whole else counted(len(content["documents"]), "source")
        who = f"{content['user']}@{content['host']}"
        verdict = "nothing found" if content["passed"] else "NOT CLEAN"
        table.add_row(str(entry.sequence), content["at"], who, what, verdict, entry.sha256[:16])
    console().print(table)


def _print(entry: "Entry") -> None:
    content = entry.content
    echo = typer.echo
    echo(f"receipt {entry.sequence} of collection {content['collection']}, {content['place']}")
    asked = content["requested"]
    echo(f"asked by {asked['user']}@{asked['host']} on {asked['at']}, written on {content['at']}")
    for one in content.get("documents", []):
        chunks = counted(sum(count for _, count in one["chunks"]), "chunk")
        echo(f"  {one['source_uri']}  doc_id {one['doc_id']}, version {one['version'] or '-'}, {chunks}")
        echo(f"    SHA-256 of its bytes {one['content_hash'] or '-'}")
    for name, value in content.get("holds", {}).items():
        echo(f"  {name}: {value}")
    for probe in content["probes"]:
        note = f" ({probe['note']})" if probe["note"] else ""
        echo(f"  {probe['name']}: looked for {probe['looked_for']:,}, found {probe['found']:,}{note}")
        for where in probe["where"]:
            echo(f"    {where}")
    if content["note"]:
        echo(f"  {content['note']}")
    echo(f"sha256 {entry.sha256}")
