"""`footnote delete`."""

from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from footnote.commands.shared import (
    DEFAULT_COLLECTION,
    CollectionOption,
    JsonOption,
    configuration,
    counted,
    open_store,
    print_json,
    receipts_folder,
)
from retrieval.errors import InvalidRequest, StoreCorrupt

if TYPE_CHECKING:
    from pathlib import Path

    from ingest.deletion.deleter import Deleter, Deletion
    from ingest.deletion.receipts import Entry
    from retrieval.settings import RetrievalSettings

_SHOWN = 20


def delete(  # noqa: PLR0913, PLR0917 - one for each option
    context: typer.Context,
    documents: Annotated[
        list[str] | None, typer.Argument(help="Document ids, URIs or paths of files.", metavar="DOCUMENT...")
    ] = None,
    collection: CollectionOption = DEFAULT_COLLECTION,
    under: Annotated[
        list[str] | None, typer.Option("--under", help="All at and below this folder or URI; may be repeated.")
    ] = None,
    everything: Annotated[bool, typer.Option("--everything", help="The whole collection instead.")] = False,
    no_purge: Annotated[
        bool,
        typer.Option("--no-purge", help="Be done sooner: leave remains in files for a later deletion to clear."),
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Complete deletions that were cut off; each deletion does so first, too.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask before a folder or a whole collection goes.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Delete documents from everything that holds them, look for what may be left, and write a receipt.

    What came in a document goes with it: attachments of a message, members of an archive. Its source stays known as
    deleted, so that `footnote ingest` does not bring it back unless told to. The exit code is 1 when anything was found
    afterwards; `footnote receipts` shows and verifies what was written.

    Examples:

        footnote delete docs/old-handbook.pdf

        footnote delete --under docs/2019 --yes

        footnote delete -c filings --everything --yes
    """
    from retrieval.build import build_collections

    settings = configuration(context).settings
    _check(documents, under, everything=everything, resume=resume)
    if everything:
        held = _held(settings.retrieval, collection)
        _ask(f"Delete collection {collection!r} with {held}?", yes=yes)
    elif under:
        _ask(_question(settings.retrieval, collection, documents or [], under), yes=yes)
    with closing(build_collections(settings.retrieval)) as collections:
        from ingest.deletion.deleter import Deleter

        deleter = Deleter(
            collections,
            receipts=receipts_folder(settings),
            folder_of=lambda name: _folder_of(settings.retrieval, name),
            on_stage=lambda stage: typer.echo(f"{stage} ...", err=True),
        )
        if everything:
            done = deleter.drop(collection)
        elif resume:
            done = deleter.resume(collection)
        else:
            done = _delete(deleter, collection, documents or [], under or [], purge=not no_purge)
    _report(done, collection, everything=everything, json=json)
    if not done.passed:
        raise typer.Exit(1)


def _delete(deleter: "Deleter", collection: str, names: list[str], under: list[str], *, purge: bool) -> "Deletion":
    try:
        return deleter.delete(collection, names, under=under, purge=purge)
    except KeyboardInterrupt:
        typer.echo(f"`footnote delete --resume -c {collection}` completes what was begun", err=True)
        raise


def _check(documents: list[str] | None, under: list[str] | None, *, everything: bool, resume: bool) -> None:
    wanted = [bool(documents or under), everything, resume]
    if sum(wanted) != 1:
        raise InvalidRequest(
            "name the documents to delete, or folders with --under, or say --everything or --resume; one of them"
        )


def _ask(question: str, *, yes: bool) -> None:
    if not yes:
        typer.confirm(question, abort=True, err=True)


def _question(settings: "RetrievalSettings", collection: str, names: list[str], under: list[str]) -> str:
    from ingest.deletion.erasure import select

    with open_store(settings, collection) as store, store.snapshot() as snapshot:
        count = len(select(snapshot, names, under=under).erased)
    return f"Delete {counted(count, 'source')} from collection {collection!r}?"


def _held(settings: "RetrievalSettings", collection: str) -> str:
    """What would go with a collection; one that cannot be read can go all the same, and often has to."""
    try:
        with open_store(settings, collection) as store, store.snapshot() as snapshot:
            return counted(snapshot.info.documents, "document")
    except StoreCorrupt:
        return "all that it holds, which cannot be read"


def _folder_of(settings: "RetrievalSettings", collection: str) -> "Path | None":
    """Where a collection's files are, for the store that keeps a folder for each."""
    return settings.path / collection if settings.store == "faiss" else None


def _report(done: "Deletion", collection: str, *, everything: bool, json: bool) -> None:
    gone = [one["doc_id"] for one in done.receipt.content.get("documents", [])] if done.receipt else []
    if json:
        print_json(
            {
                "collection": collection,
                "everything": everything,
                "deleted": [collection] if everything else gone,
                "deleted_before": [line.source_uri for line in done.before],
                "passed": done.passed,
                "receipt": as_json(done.receipt) if done.receipt else None,
                "completed": [as_json(receipt) for receipt in done.completed],
            }
        )
        return
    for line in done.before[:_SHOWN]:
        typer.echo(f"deleted already, on {line.recorded_at}: {line.source_uri}")
    for receipt in (*done.completed, *([done.receipt] if done.receipt else [])):
        _print(receipt, collection)
    if not done.receipt and not done.completed and not done.before:
        typer.echo("no deletion was left open")


def _print(receipt: "Entry", collection: str) -> None:
    content = receipt.content
    uris = [one["source_uri"] for one in content.get("documents", [])]
    if content["scope"] == "collection":
        typer.echo(f"deleted collection {collection}")
    for uri in uris[:_SHOWN]:
        typer.echo(f"deleted {uri}")
    if len(uris) > _SHOWN:
        typer.echo(f"... and {len(uris) - _SHOWN:,} more")
    for probe in content["probes"]:
        if probe["found"]:
            where = ", ".join(probe["where"])
            typer.echo(f"error: still there ({probe['name']}): {probe['found']:,} found: {where}", err=True)
    if content["note"]:
        typer.echo(content["note"], err=True)
    verdict = "nothing found" if content["passed"] else "NOT CLEAN"
    looked = ", ".join(f"{probe['name']} {probe['looked_for']:,}" for probe in content["probes"])
    typer.echo(f"receipt {receipt.sequence} ({receipt.sha256[:16]}): looked for it, {verdict} ({looked})")


def as_json(entry: "Entry") -> dict[str, object]:
    """An entry of the chain as one object."""
    return {"sequence": entry.sequence, "kind": entry.kind, "sha256": entry.sha256, **entry.content}
