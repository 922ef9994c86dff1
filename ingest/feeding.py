"""From the steps of a plan to tasks: sources are fetched, members of archives follow, and copies are cleared away."""

import logging
import threading
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from ingest import ledger
from ingest.planning import Step
from ingest.preparation import failed
from ingest.sources import Fetched, Sources
from ingest.sources.identity import WITHIN
from ingest.tasks import Outcome, Settled, Task
from retrieval.errors import FootnoteError, LimitExceeded, LoadError
from retrieval.records import MetadataValue

_log = logging.getLogger(__name__)

_FETCHING = 8
"""Sources of other machines that are fetched at the same time, or wait to be read."""


class Feed:
    """An iterator of tasks for an engine, from one thread at a time; it ends when no archive can add to them any more.

    `take` is to be called for each task that is done with. What gave no task, since fetching failed or found it
    unchanged, is in `settled`.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        sources: Sources,
        spool: Path,
        *,
        given: Mapping[str, MetadataValue],
        most_members: int = 100_000,
    ) -> None:
        self._steps = iter(steps)
        self._sources = sources
        self._spool = spool
        self._given = given
        self._pool = ThreadPoolExecutor(_FETCHING, thread_name_prefix="fetch")
        self._fetching: deque[tuple[Step, Future[Fetched]]] = deque()
        self._changed = threading.Condition()
        self._given_out: dict[str, Task] = {}
        self._most_members = most_members
        self._held = Counter[str]()
        """Members by the source that stands by itself, those of archives within archives included."""
        self._members: deque[Task] = deque()
        self._settled: deque[Outcome] = deque()
        self._closed = False

    def __iter__(self) -> Iterator[Task]:
        return self

    def __next__(self) -> Task:
        while not self._closed:
            # Members first: so there are never more of them in the spool folder than one archive has.
            task = self._member() or self._fetched()
            if task is not None:
                with self._changed:
                    self._given_out[task.uri] = task
                return task
            with self._changed:
                if not self._given_out and not self._members:
                    break
                self._changed.wait_for(lambda: self._closed or self._members or not self._given_out)
        raise StopIteration

    def admitted(self, outcome: Outcome) -> Outcome:
        """The outcome, or a failure in its place: archives within archives may have no more members than one."""
        top = outcome.uri.partition(WITHIN)[0]
        self._held[top] += len(outcome.members)
        if self._held[top] <= self._most_members:
            return outcome
        for member in outcome.members:
            member.path.unlink(missing_ok=True)
        with self._changed:
            task = self._given_out[outcome.uri]
        error = LimitExceeded(
            f"{task.name!r} has more than {self._most_members:,} members, with those of archives within archives; "
            "unpack it, or raise ingest.archive_max_members"
        )
        return failed(task, error)

    def take(self, uri: str, members: Sequence[Task]) -> None:
        """The task at `uri` is done with; `members` of an archive are to follow."""
        with self._changed:
            task = self._given_out.pop(uri, None)
            self._members.extend(members)
            self._changed.notify_all()
        if task is not None and task.temporary:
            task.path.unlink(missing_ok=True)

    def settled(self) -> Iterator[Outcome]:
        """Outcomes of sources that gave no task, each once."""
        while self._settled:
            yield self._settled.popleft()

    def close(self) -> None:
        """Give out nothing more, whoever is waiting."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._sources.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _member(self) -> Task | None:
        with self._changed:
            return self._members.popleft() if self._members else None

    def _fetched(self) -> Task | None:
        """The task of the next source that gives one."""
        while not self._closed and (begun := self._begun()) is not None:
            step, fetching = begun
            try:
                fetched = fetching.result()
            except Exception as exc:  # one source must not end the run, whatever its place does
                self._settled.append(failed(self._task(step, None), _as_load_error(step, exc)))
                continue
            if not fetched.unchanged:
                return self._task(step, fetched)
            before = replace(step.before, validator=fetched.validator) if step.before else None
            assert before is not None  # noqa: S101 - the validator that was equal is its
            self._settled.append(Outcome(step.source.uri, settled=(Settled(before, step.source.name, unchanged=True),)))
        return None

    def _begun(self) -> tuple[Step, "Future[Fetched]"] | None:
        """The source whose turn it is, on its way; those after it are, too."""
        while len(self._fetching) < _FETCHING and (step := next(self._steps, None)) is not None:
            known = step.before.validator if step.before is not None and self._may_stay(step) else ""
            if step.source.path is not None:  # there is nothing to wait for
                future: Future[Fetched] = Future()
                self._fetch_now(future, step, known)
            else:
                future = self._pool.submit(self._sources.fetch, step.source, self._spool, known=known)
            self._fetching.append((step, future))
        return self._fetching.popleft() if self._fetching else None

    def _may_stay(self, step: Step) -> bool:
        before = step.before
        return before is not None and before.status == "ingested" and not step.force and (
            ledger.is_up_to_date(before, self._given)
        )  # fmt: skip

    def _fetch_now(self, future: "Future[Fetched]", step: Step, known: str) -> None:
        try:
            future.set_result(self._sources.fetch(step.source, self._spool, known=known))
        except Exception as exc:
            future.set_exception(exc)

    def _task(self, step: Step, fetched: Fetched | None) -> Task:
        source = step.source
        own = fetched.metadata if fetched else {}
        return Task(
            uri=source.uri,
            name=(fetched.name if fetched else "") or source.name,
            path=fetched.path if fetched else Path(),
            size=source.size,
            validator=(fetched.validator if fetched else "") or source.validator,
            media_type=fetched.media_type if fetched else "",
            metadata={**own, **self._given},
            metadata_id=ledger.metadata_id(self._given, own),
            before=step.before,
            force=step.force,
            spool=self._spool,
            temporary=fetched.temporary if fetched else False,
        )


def _as_load_error(step: Step, error: Exception) -> FootnoteError:
    if isinstance(error, FootnoteError):
        return error
    _log.error("unexpected error with %s", step.source.uri, exc_info=error)
    return LoadError(f"{step.source.name!r}: internal error {type(error).__name__}: {error}")
