"""What several commands share: their common options, opening a collection, printing."""

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from retrieval.errors import InvalidFilter

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from footnote.config import Configuration, Settings
    from retrieval.filters import Filter
    from retrieval.ports import VectorStore
    from retrieval.records import Chunking
    from retrieval.settings import RetrievalSettings

CollectionOption = Annotated[str, typer.Option("--collection", "-c", help="Which collection.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON to stdout.")]
FilterOption = Annotated[
    str | None, typer.Option("--filter", "-f", help='Only these documents, e.g. \'{"year": {"$gte": 2023}}\'.')
]
DEFAULT_COLLECTION = "default"


class Store(StrEnum):
    """The stores that can be named in a command."""

    FAISS = "faiss"
    PGVECTOR = "pgvector"
    MEMORY = "memory"


_UNWRAPPED = 100_000
_SILENCE = 2.0
"""Seconds after which a command says what it waits for."""
_COMPLETING = "all is stored and can be searched; completing the indexes (Ctrl-C leaves that to the next writer)"


def configuration(context: typer.Context) -> "Configuration":
    """The configuration that this run of the command was given."""
    from footnote.config import load

    return load(context.obj)


@contextmanager
def open_store(settings: "RetrievalSettings", name: str, *, writable: bool = False) -> "Iterator[VectorStore]":
    """The collection `name`, closed at the end; what takes long then is said."""
    from retrieval.build import build_collections
    from retrieval.closing import closing_unless_stopped

    with (
        closing_unless_stopped(build_collections(settings)) as collections,
        closing_unless_stopped(collections.open(name, writable=writable), waiting=_completing) as store,
    ):
        yield store


@contextmanager
def _completing() -> Iterator[None]:
    """Say what is waited for, when it takes long."""
    said = threading.Timer(_SILENCE, print, [_COMPLETING], {"file": sys.stderr, "flush": True})
    said.daemon = True
    said.start()
    try:
        yield
    finally:
        said.cancel()


def receipts_folder(settings: "Settings") -> "Path":
    """Where the receipts of deletions are kept."""
    from ingest.deletion.receipts import FOLDER

    return settings.ingest.receipts_path or settings.retrieval.path / FOLDER


def with_store(settings: "RetrievalSettings", store: Store | None) -> "RetrievalSettings":
    """The settings with another store than the configured one, where one is named."""
    return settings if store is None else settings.model_copy(update={"store": store.value})


def parse_filter(text: str | None) -> "Filter | None":
    """The filter of `--filter`; raises InvalidFilter."""
    from retrieval import filters

    if text is None:
        return None
    try:
        return filters.parse(json.loads(text))
    except (ValueError, RecursionError) as exc:
        raise InvalidFilter(f"--filter is not valid JSON: {exc}; for example '{{\"year\": 2023}}'") from exc


def print_json(data: Any) -> None:
    """One JSON document on stdout."""
    typer.echo(json.dumps(data, ensure_ascii=False, indent=2, default=str))


def counted(number: int, noun: str) -> str:
    """'1 file', '2,000 files'."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def sizes(chunking: "Chunking") -> str:
    """'200 tokens + 32 of context'."""
    overlap = f", {chunking.overlap_tokens} shared" if chunking.overlap_tokens else ""
    return f"{chunking.chunk_tokens} tokens + {chunking.context_tokens} of context{overlap}"


def console(*, stderr: bool = False) -> "Console":
    """A terminal, or plain text where there is none: lines are wrapped for eyes, not for programs."""
    from rich.console import Console

    piped = not (sys.stderr if stderr else sys.stdout).isatty()
    return Console(stderr=stderr, highlight=False, width=_UNWRAPPED if piped else None)
