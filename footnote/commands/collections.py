"""`footnote delete`."""

import os
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
)
from retrieval.errors import DocumentNotFound, InvalidRequest, StoreCorrupt

if TYPE_CHECKING:
    from retrieval.ports import Snapshot
    from retrieval.settings import RetrievalSettings


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
