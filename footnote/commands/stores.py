"""`footnote store copy`, `footnote store check`."""

import time
from contextlib import closing
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from footnote.commands.shared import JsonOption, Store, configuration, console, counted, print_json, with_store
from retrieval.errors import FootnoteError, InvalidRequest, StoreUnavailable

if TYPE_CHECKING:
    from retrieval.ports import Collections, Snapshot
    from retrieval.settings import RetrievalSettings
    from retrieval.transfer import Report

app = typer.Typer(no_args_is_help=True, help="Where collections live: move them, look whether all is well.")


class Kept(StrEnum):
    """The stores that outlive a command."""

    FAISS = "faiss"
    PGVECTOR = "pgvector"


_ROUNDING = 1e-3
"""A vector's cosine to itself is 1, but for lengths that are not exactly 1 (see `stores.checks.NORM_TOLERANCE`)."""


@app.command()
def copy(
    context: typer.Context,
    source: Annotated[Kept, typer.Option("--from", help="The store that is read.")],
    target: Annotated[Kept, typer.Option("--to", help="The store that is written.")],
    collections: Annotated[
        list[str] | None, typer.Option("--collection", "-c", help="Which collection; may be repeated.", metavar="NAME")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All collections.")] = False,
    from_path: Annotated[
        Path | None, typer.Option(help="Folder to read, for --from faiss; default: retrieval.path.")
    ] = None,
    to_path: Annotated[
        Path | None, typer.Option(help="Folder to write, for --to faiss; default: retrieval.path.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Copy collections from one store to another, ledger included; nothing is embedded again.

    Both places are those of the configuration (retrieval.path, retrieval.postgres_...). The live edition is copied, as
    it stands when the copy begins; at the end both sides are read again and compared. A copy that was cut off goes
    on when it is run again. A collection of the target that holds anything of its own is left as it is (exit code 1).
    The source stays as it is.

    Examples:

        footnote store copy --from faiss --to pgvector --all

        footnote store copy --from pgvector --to faiss --to-path backup -c filings -c handbook --json
    """
    from footnote.progress import copy_progress
    from retrieval import transfer
    from retrieval.closing import closing_unless_stopped

    settings = configuration(context).settings.retrieval
    here, there = _place(source, from_path, settings, "--from"), _place(target, to_path, settings, "--to")
    if (source, here.path.resolve()) == (target, there.path.resolve()) or source == target == Kept.PGVECTOR:
        raise InvalidRequest(f"--from {source} and --to {target} are the same place; nothing to copy")
    if bool(collections) == everything:
        raise InvalidRequest("name the collections to copy with -c, or say --all; not both, not neither")
    done: list[Report] = []
    failed: list[dict[str, str]] = []
    with closing(_build(here)) as reading, closing_unless_stopped(_build(there)) as writing:
        for name in collections or reading.names():
            try:
                with copy_progress(quiet=json) as on_event:
                    done.append(transfer.copy(name, source=reading, target=writing, on_event=on_event))
            except StoreUnavailable:
                raise  # neither will the next collection find it
            except FootnoteError as exc:
                failed.append({"collection": name, "error": str(exc)})
                typer.echo(f"error: {exc}", err=True)
            else:
                _say(done[-1], quiet=json)
    if json:
        print_json({"from": source, "to": target, "copied": [_as_json(report) for report in done], "failed": failed})
    if failed:
        raise typer.Exit(1)


@app.command()
def check(
    context: typer.Context,
    store: Annotated[Kept | None, typer.Option(help="Which store; default: retrieval.store.")] = None,
    json: JsonOption = False,
) -> None:
    """Look whether the store can be used: reach it, open every collection, and find in each what must be found.

    It says which server and versions it meets. Nothing is written. What is wrong is said with the setting to change;
    the exit code is 1 then.

    Examples:

        footnote store check

        footnote store check --store pgvector --json
    """
    settings = with_store(configuration(context).settings.retrieval, Store(store.value) if store else None)
    begin = time.perf_counter()
    with closing(_build(settings)) as collections:
        names = collections.names()
        reached, place = time.perf_counter() - begin, collections.place()
        found = [_examine(collections, name) for name in names]
    if json:
        print_json({"store": settings.store, "place": place, "seconds": reached, "collections": found})
    else:
        typer.echo(f"{settings.store}: {place}: reached in {reached:.2f} s, {counted(len(names), 'collection')}")
        for entry in found:
            typer.echo(f"{entry['collection']}: {_described(entry)}")
    if any(entry["error"] for entry in found):
        raise typer.Exit(1)


def _examine(collections: "Collections", name: str) -> dict[str, Any]:
    """Open a collection and look for its first chunk by its own vector and words."""
    begin = time.perf_counter()
    entry: dict[str, Any] = {"collection": name, "error": ""}
    try:
        with closing(collections.open(name)) as store, store.snapshot() as snapshot:
            info = snapshot.info
            entry |= {
                "documents": info.documents, "chunks": info.chunks, "model": info.embedder.name,
                "dimension": info.embedder.dimension, "edition": info.live, "editions": len(info.editions),
            }  # fmt: skip
            if missed := _missed(snapshot):
                entry["error"] = (
                    f"a chunk is not found by its own {missed}: the index is damaged; "
                    f"`footnote doctor --repair -c {name}` makes it anew"
                )
    except FootnoteError as exc:
        entry["error"] = str(exc)
    return {**entry, "seconds": time.perf_counter() - begin}


def _missed(snapshot: "Snapshot") -> str:
    """By what the first chunk is not found; nothing when all is well."""
    from retrieval.analysis import analyzer

    for document in snapshot.documents(limit=10):  # some may have no chunks
        for content in snapshot.contents([document.doc_id]):
            if content.chunks:
                hits = snapshot.search_dense(content.vectors[0], k=1)
                if not hits or hits[0].score <= 1 - _ROUNDING:
                    return "vector"
                terms = analyzer(snapshot.info.language).terms(content.chunks[0].indexed_text)
                found = snapshot.search_lexical(dict.fromkeys(terms, 1.0), k=snapshot.info.chunks)
                return "words" if terms and content.chunks[0].chunk_id not in {hit.chunk_id for hit in found} else ""
    return ""


def _described(entry: dict[str, Any]) -> str:
    if entry["error"]:
        return f"error: {entry['error']}"
    return (
        f"{entry['documents']:,} documents, {entry['chunks']:,} chunks, {entry['model']} "
        f"({entry['dimension']} dimensions), edition {entry['edition']} of {entry['editions']}; "
        f"read and searched in {entry['seconds']:.2f} s"
    )


def _place(store: Kept, path: Path | None, settings: "RetrievalSettings", option: str) -> "RetrievalSettings":
    """The settings of one side."""
    if path is not None and store is not Kept.FAISS:
        raise InvalidRequest(f"{option}-path is for {option} faiss; {store} is found by retrieval.postgres_url")
    return settings.model_copy(update={"store": store.value, "path": path or settings.path})


def _build(settings: "RetrievalSettings") -> "Collections":
    from retrieval.build import build_collections

    return build_collections(settings)


def _as_json(report: "Report") -> dict[str, Any]:
    return {**asdict(report), "verified": True}


def _say(report: "Report", *, quiet: bool) -> None:
    if quiet:
        return
    rate = report.copied_chunks / max(report.seconds, 1e-3)
    typer.echo(
        f"{report.collection}: {report.copied_documents:,} of {report.documents:,} documents copied, "
        f"{report.copied_chunks:,} chunks in {report.seconds:.1f} s ({rate:,.0f}/s); verified in "
        f"{report.compare_seconds:.1f} s: {report.documents:,} documents, {report.chunks:,} chunks, {report.sources:,} "
        f"ledger lines, sha256 {report.checksum[:16]}; indexes completed in {report.index_seconds:.1f} s"
    )
    notes = []
    if report.source_changed:
        notes.append("the source was written to meanwhile; copy again to bring what is new")
    if report.editions_left:
        notes.append(f"{report.editions_left} other editions were left behind; only the live one is copied")
    for note in notes:
        console(stderr=True).print(f"{report.collection}: {note}", style="yellow", markup=False)
