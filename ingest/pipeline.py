"""A sync: sources -> plan -> fetch -> read and cut -> embed -> replace. The collection mirrors the sources then.

    planning.py     which sources need work, held against the ledger
    feeding.py      fetches them and gives them out as tasks
    engines/        read and cut them, in processes with limits
    writing.py      embeds in batches, and commits beside it

Documents are written in batches, each in one commit together with their ledger lines. A run that is cut off at any
moment leaves whole documents only, and the next run goes on where it stopped.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ingest import planning
from ingest.ahead import ahead
from ingest.engines import Engine, build_engine
from ingest.events import Event, Finished, OnEvent, Pruning, Report, Ticked, ignore
from ingest.feeding import Feed
from ingest.mirroring import Mirror
from ingest.planning import Plan
from ingest.preparation import line_of, ocr_languages
from ingest.settings import IngestSettings
from ingest.sources import Sources, discover
from ingest.spool import spool
from ingest.tasks import Prepared
from ingest.writing import Unit, Writer
from retrieval.errors import InvalidRequest
from retrieval.ports import Embedders, VectorStore
from retrieval.records import Document, MetadataValue

_AHEAD = 64
"""Documents that may be cut while the embedder is busy with earlier ones."""
_TICK_SECONDS = 1.0
_FEW = 10
"""So many documents are deleted without being asked twice."""
_DELETED_AT_ONCE = 500
_SHOWN = 5


def _refuse(gone: int, documents: int) -> bool:  # noqa: ARG001 - the shape of `Options.approve`
    return False


@dataclass(frozen=True, slots=True)
class Options:
    """What one run is told to do beside bringing in what is new."""

    prune: bool = False
    """Delete the documents of sources that are gone."""
    prune_empty: bool = False
    """Even below a root that has no source at all any more."""
    approve: Callable[[int, int], bool] = _refuse
    """Asked, with the numbers of documents that are gone and that there are, when that would delete most of them."""
    restore: bool = False
    """Bring back what was deleted on purpose, too."""
    force: frozenset[str] = frozenset()
    """URIs of sources to be read again, whatever the ledger says."""
    stdin_name: str = "stdin"
    """What the document from standard input is known by."""


def ingest(
    arguments: Sequence[str | Path],
    *,
    store: VectorStore,
    embedders: Embedders,
    settings: IngestSettings,
    metadata: Mapping[str, MetadataValue] | None = None,
    exclude: Sequence[Path] = (),
    options: Options | None = None,
    on_event: OnEvent = ignore,
) -> Report:
    """Bring the sources among and below `arguments` into `store`, opened for writing.

    Chunks and vectors are made as the collection's live edition has them, whatever is configured for new ones.
    `metadata` is given to every document; folders of `exclude` are left out, such as the store's own. A source that
    cannot be read is recorded with its reason, its former version stays, and the run goes on. Raises SourceNotFound,
    EmbedderMismatch and InvalidRequest (for a prune that would delete too much) before anything is done, and
    StoreError when writing fails.
    """
    begin = time.perf_counter()
    options, given = options or Options(), metadata or {}
    found = discover(arguments, settings=settings, exclude=exclude, stdin_name=options.stdin_name)
    with closing(found) as sources:
        plan = make_plan(sources, store=store, settings=settings, metadata=given, options=options)
        approved = check_prune(plan, options)
        tell = _serialised(on_event)
        tell(plan.totals)
        with closing(build_engine(lambda: writer.indexer.cutter, settings)) as engine:
            embedding = engine.embedders(embedders) if plan.steps else embedders
            writer = Writer(store, embedding, tell, restore=options.restore)
            mirror = Mirror(plan, writer, store, restore=options.restore, force=options.force, on_event=tell)
            with _abandoned_on_error(writer):
                mirror.begin()
                if plan.steps:
                    most = settings.archive_max_members
                    _read_all(plan, sources, engine, mirror, writer, given=given, most_members=most, on_event=tell)
                writer.finish()
    report = mirror.report
    if options.prune:
        _prune(plan, store, report, options, approved=approved, on_event=tell)
    report.gone = sum(map(planning.has_document, plan.gone.values()))
    report.chunks, report.reused, report.embed_seconds = writer.embedded, writer.reused, writer.embed_seconds
    report.seconds = time.perf_counter() - begin
    return report


def make_plan(
    sources: Sources,
    *,
    store: VectorStore | None,
    settings: IngestSettings,
    metadata: Mapping[str, MetadataValue],
    options: Options,
) -> Plan:
    """What a run would do with `sources`; for a collection that is not there yet, `store` is None."""
    lines = {}
    if store is not None:
        with store.snapshot() as snapshot:
            lines = planning.read_ledger(snapshot, sources.roots)
    return planning.plan(
        sources,
        roots=sources.roots,
        lines=lines,
        given=metadata,
        ocr=ocr_languages(settings),
        restore=options.restore,
        force=options.force,
    )


def ingest_documents(
    documents: Iterable[Document], *, store: VectorStore, embedders: Embedders, on_event: OnEvent = ignore
) -> Report:
    """The same for documents that were made by other means than files, e.g. the records of a data set.

    They are written whether the store has them or not.
    """
    begin = time.perf_counter()
    report = Report()
    writer = Writer(store, embedders, on_event)

    def finish(written: Sequence[Prepared]) -> None:
        for one in written:
            report.ingested += 1
            on_event(Finished(one.line.source_uri, one.name, "ingested", one.line.size, len(one.chunks)))

    with _abandoned_on_error(writer), closing(ahead(_cut(documents, writer), size=_AHEAD)) as made:
        for prepared in made:
            writer.add(Unit((prepared,), done=finish))
        writer.finish()
    report.chunks, report.embed_seconds = writer.embedded, writer.embed_seconds
    report.seconds = time.perf_counter() - begin
    return report


def _cut(documents: Iterable[Document], writer: Writer) -> Iterator[Prepared]:
    for document in documents:
        indexer = writer.indexer
        yield Prepared(document, indexer.split(document), indexer.edition, line_of(document), document.title)


def _serialised(on_event: OnEvent) -> OnEvent:
    """The same, for events of several threads: one at a time."""
    lock = threading.Lock()

    def tell(event: Event) -> None:
        with lock:
            on_event(event)

    return tell


@contextmanager
def _abandoned_on_error(writer: Writer) -> Iterator[None]:
    try:
        yield
    except BaseException:
        writer.abandon()
        raise


def _read_all(
    plan: Plan,
    sources: Sources,
    engine: Engine,
    mirror: Mirror,
    writer: Writer,
    *,
    given: Mapping[str, MetadataValue],
    most_members: int,
    on_event: OnEvent,
) -> None:
    """Fetch, read and cut the sources of the plan's steps, and hand what they give to `mirror`."""
    with spool() as folder, _ticking(engine, writer, on_event):
        feed = Feed(plan.steps, sources, folder, given=given, most_members=most_members)
        # The feed is closed first: workers that wait for it would not hear of anything else.
        with closing(engine.prepare(feed)) as outcomes, closing(feed):
            for outcome in map(feed.admitted, outcomes):
                feed.take(outcome.uri, mirror.take(outcome))
                for settled in feed.settled():
                    mirror.take(settled)
            for settled in feed.settled():
                mirror.take(settled)


@contextmanager
def _ticking(engine: Engine, writer: Writer, on_event: OnEvent) -> Iterator[None]:
    """Tell every second what is being done, also while nothing gets finished."""
    stop = threading.Event()

    def tick() -> None:
        with suppress(OSError):  # nobody reads any more what is told: the thread that works hears of it, too
            while not stop.wait(_TICK_SECONDS):
                on_event(Ticked(writer.stage, tuple(engine.reading())))

    thread = threading.Thread(target=tick, name="tick", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def check_prune(plan: Plan, options: Options) -> bool:
    """Refuse to wipe out what is most likely only not mounted. Raises InvalidRequest; returns whether one said yes."""
    if not options.prune:
        return False
    if plan.empty_roots and not options.prune_empty:
        raise InvalidRequest(
            f"--prune: {plan.empty_roots[0]!r} has no source at all now, and the collection has documents of it; "
            "is it mounted? --prune-empty deletes them"
        )
    moved = sum(step.action == "new" for step in plan.steps)  # as many of the gone ones may only have moved
    return _check_share(plan, sum(map(planning.has_document, plan.gone.values())) - moved, options)


def _check_share(plan: Plan, gone: int, options: Options) -> bool:
    if gone <= _FEW or 2 * gone <= plan.documents:
        return False
    if not options.approve(gone, plan.documents):
        raise InvalidRequest(
            f"--prune would delete {gone:,} of {plan.documents:,} documents, whose sources are gone; look at "
            "--dry-run, then add --yes"
        )
    return True


def _prune(
    plan: Plan, store: VectorStore, report: Report, options: Options, *, approved: bool, on_event: OnEvent
) -> None:
    """Delete the documents of all that is gone."""
    uris = [uri for uri, line in plan.gone.items() if planning.has_document(line)]
    if uris:
        if not approved:
            _check_share(plan, len(uris), options)
        on_event(Pruning(len(uris), tuple(uris[:_SHOWN])))
    lines = iter(list(plan.gone.values()))
    while batch := list(islice(lines, _DELETED_AT_ONCE)):
        report.pruned += len(store.delete([line.doc_id for line in batch]))
        for line in batch:
            del plan.gone[line.source_uri]
