"""`footnote reindex`."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from footnote.commands.editions import tell
from footnote.commands.shared import DEFAULT_COLLECTION, CollectionOption, JsonOption, configuration, open_store
from retrieval.errors import InvalidRequest

if TYPE_CHECKING:
    from evals.suite import Comparison, Suite
    from generation.settings import GenerationSettings
    from ingest.settings import IngestSettings
    from retrieval.ports import Embedder, Embedders, VectorStore
    from retrieval.settings import RetrievalSettings

EXIT_WORSE = 6
TOLERANCE = 0.5
"""Points of nDCG@10. On some hundred questions, smaller differences are noise."""


class EmbedderName(StrEnum):
    """What can turn text into vectors."""

    ONNX = "onnx"
    SENTENCE_TRANSFORMERS = "sentence-transformers"
    BEDROCK = "bedrock"
    HTTP = "http"


def reindex(  # noqa: PLR0913, PLR0917 - one for each option
    context: typer.Context,
    collection: CollectionOption = DEFAULT_COLLECTION,
    model: Annotated[str | None, typer.Option(help="Embed with it; default: retrieval.model.")] = None,
    embedder: Annotated[EmbedderName | None, typer.Option(help="Default: retrieval.embedder.")] = None,
    chunk_tokens: Annotated[
        int | None, typer.Option(help="Most tokens of a chunk; default: ingest.chunk_tokens.")
    ] = None,
    context_tokens: Annotated[
        int | None, typer.Option(help="Of title and headings before it; default: ingest.context_tokens.")
    ] = None,
    overlap_tokens: Annotated[
        int | None, typer.Option(help="That a chunk repeats from the one before; default: ingest.overlap_tokens.")
    ] = None,
    token_vectors: Annotated[
        bool | None,
        typer.Option(
            "--token-vectors/--no-token-vectors",
            help="Keep a vector for each token, for late interaction; default: ingest.token_vectors.",
        ),
    ] = None,
    suite: Annotated[
        Path | None, typer.Option(help="Folder with queries.jsonl and qrels/test.tsv: no switch when it scores worse.")
    ] = None,
    tolerance: Annotated[
        float, typer.Option(min=0.0, max=100.0, help="Points of nDCG@10 that the suite may lose.")
    ] = TOLERANCE,
    force: Annotated[bool, typer.Option("--force", help="Build anew what the live edition has already.")] = False,
    no_switch: Annotated[
        bool, typer.Option("--no-switch", help="Only build; `editions switch` makes it live.")
    ] = False,
    keep: Annotated[
        int | None, typer.Option(min=0, help="Then drop old editions but for so many; default: drop none.")
    ] = None,
    drop_old: Annotated[bool, typer.Option("--drop-old", help="The same as --keep 0: no way back.")] = False,
    json: JsonOption = False,
) -> None:
    """Embed a collection anew, with another model or chunking, from the stored text; then switch to it.

    The new edition is built beside the live one, which answers all queries until the switch; what is ingested
    meanwhile is in both. A run that was cut off is continued by the same command. With --suite, both editions are asked
    its questions, and the exit code is 6 when the new one is worse and was not switched to.

    Examples:

        footnote reindex --chunk-tokens 120

        footnote reindex -c archive --no-token-vectors

        footnote reindex -c filings --model bge-small-en-v1.5 --suite suites/filings --keep 1
    """
    from footnote.progress import progress
    from ingest import reindex as work
    from retrieval.build import build_embedder, build_embedders

    if drop_old and keep:
        raise InvalidRequest(f"--drop-old and --keep {keep}: say only one of them")
    if suite and no_switch:
        raise InvalidRequest("--suite and --no-switch: a suite decides over the switch; `footnote eval suite` measures")
    if no_switch and (drop_old or keep is not None):
        raise InvalidRequest("--no-switch with --keep or --drop-old: old editions are dropped after a switch only")
    settings = configuration(context).settings
    retrieval = _with_model(settings.retrieval, model, embedder)
    chunking = _with_sizes(
        settings.ingest,
        chunk_tokens=chunk_tokens, context_tokens=context_tokens, overlap_tokens=overlap_tokens,
    ).chunking  # fmt: skip
    with open_store(retrieval, collection, writable=True) as store:
        wanted = build_embedder(retrieval)
        embedders = build_embedders(retrieval, wanted)
        judge = _Judge(store, embedders, retrieval, settings.generation, suite, tolerance) if suite else None
        with progress(quiet=json, noun="document") as on_event:
            report = work.reindex(
                store,
                embedders,
                embedder=wanted.info,
                chunking=chunking,
                token_code=_token_code(wanted, settings.ingest, token_vectors),
                force=force,
                switch=not no_switch,
                approve=judge.approve if judge else None,
                on_event=on_event,
            )
        dropped: list[int] = []
        if report.outcome == "switched" and (drop_old or keep is not None):
            dropped = work.drop_former(store, report.former, keep=keep or 0)
        with store.snapshot() as snapshot:
            info = snapshot.info
    tell(report, info, comparison=judge.comparison if judge else None, dropped=dropped, json=json)
    if report.outcome == "refused":
        raise typer.Exit(EXIT_WORSE)


class _Judge:
    """Asks the suite's questions to the live edition and to the new one."""

    def __init__(
        self,
        store: "VectorStore",
        embedders: "Embedders",
        retrieval: "RetrievalSettings",
        generation: "GenerationSettings",
        folder: Path,
        tolerance: float,
    ) -> None:
        """Reads the suite now: what is wrong with it should be known before hours of embedding."""
        from evals.suite import read_suite
        from generation.build import build_retriever

        self._store = store
        self._tolerance = tolerance
        self._retriever = build_retriever(store, embedders, retrieval, generation)
        with store.snapshot() as snapshot:
            embedders.of(snapshot.info.embedder)  # without the live model there is nothing to compare with
            self._suite: Suite = read_suite(folder, snapshot)
        self.comparison: Comparison | None = None

    def approve(self, edition: int) -> bool:
        """Whether the new edition loses no more than the tolerance."""
        from evals.suite import compare, measure

        with self._store.snapshot() as former, self._store.snapshot(edition=edition) as new:
            self.comparison = compare(
                measure(self._suite, self._retriever, former), measure(self._suite, self._retriever, new)
            )
        return self.comparison.difference >= -self._tolerance


def _with_model(settings: "RetrievalSettings", model: str | None, embedder: EmbedderName | None) -> "RetrievalSettings":
    given = {"model": model, "embedder": embedder.value if embedder else None}
    return settings.model_copy(update={name: value for name, value in given.items() if value is not None})


def _token_code(embedder: "Embedder", settings: "IngestSettings", asked: bool | None) -> str:
    """In which code the edition shall keep token vectors. Raises InvalidRequest when they are asked for in vain."""
    from ingest.indexing import token_code

    code = token_code(embedder, wanted=settings.token_vectors if asked is None else asked)
    if asked and not code:
        raise InvalidRequest(
            f"--token-vectors: {embedder.info.name!r} makes none; choose another --model or --embedder"
        )
    return code


def _with_sizes(settings: "IngestSettings", **sizes: int | None) -> "IngestSettings":
    """The settings with other chunk sizes, within the same bounds. Raises InvalidRequest."""
    from pydantic import ValidationError

    given = {name: value for name, value in sizes.items() if value is not None}
    try:
        return type(settings).model_validate({**settings.model_dump(), **given})
    except ValidationError as exc:
        (first, *_) = exc.errors(include_url=False)
        option = "--" + str(first["loc"][0]).replace("_", "-")
        raise InvalidRequest(f"{option} {first['input']}: {first['msg']}") from exc
