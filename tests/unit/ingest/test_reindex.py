"""Reindexing: another edition from the stored text, whatever happens meanwhile; the way back; what is dropped."""

import threading
from collections.abc import Callable, Sequence

import pytest

from ingest.events import Event
from ingest.pipeline import ingest_documents
from ingest.reindex import Report, drop_former, make_live, reindex, rollback_target
from ingest.settings import IngestSettings
from retrieval.build import build_collections
from retrieval.errors import EditionLive, EditionNotFound, EmbedderMismatch
from retrieval.ports import Embedder, Vectors, VectorStore
from retrieval.records import Chunking, Document, Element, EmbedderInfo
from retrieval.settings import RetrievalSettings
from tests.fakes import FakeEmbedder

SMALL = Chunking(chunk_tokens=12, context_tokens=0)
OTHER = FakeEmbedder(dimension=32, name="other")


class Embedders:
    """The port over embedders that are there; `gone` ones are not to be had any more."""

    def __init__(self, *embedders: Embedder) -> None:
        self.known: list[Embedder] = list(embedders)

    def of(self, info: EmbedderInfo) -> Embedder:
        for embedder in self.known:
            if embedder.info == info:
                return embedder
        raise EmbedderMismatch(f"no {info.name!r} here")


class Hooked(FakeEmbedder):
    """The other model; calls `hook` before it embeds, with how often it has been asked."""

    def __init__(self, hook: Callable[[int], None]) -> None:
        super().__init__(dimension=32, name="other")
        self.hook = hook
        self.calls = 0

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        self.calls += 1
        self.hook(self.calls)
        return super().embed_documents(texts)


EMBEDDERS = Embedders(FakeEmbedder(), OTHER)


def document(number: int, text: str = "") -> Document:
    text = text or "\n\n".join(f"Pump {number} of hall {hall} starts at {number + hall} bar." for hall in range(12))
    return Document(f"d{number:04d}", f"test:{number}", f"Pump {number}", "text/plain", text, elements_of(text))


def elements_of(text: str) -> tuple[Element, ...]:
    return (Element("paragraph", 0, len(text)),)


def put(store: VectorStore, *documents: Document) -> None:
    ingest_documents(documents, store=store, embedders=EMBEDDERS)


def run(store: VectorStore, embedder: Embedder = OTHER, chunking: Chunking = SMALL, **options: object) -> Report:
    return reindex(
        store,
        Embedders(FakeEmbedder(), embedder),
        embedder=embedder.info,
        chunking=chunking,
        **options,  # type: ignore[arg-type]
    )


def numbers(store: VectorStore) -> list[int]:
    with store.snapshot() as snapshot:
        return [one.number for one in snapshot.info.editions]


def live(store: VectorStore) -> int:
    with store.snapshot() as snapshot:
        return snapshot.info.live


def spans(store: VectorStore, edition: int | None = None) -> dict[str, list[tuple[int, int]]]:
    """Where the chunks of each document begin and end, in an edition."""
    with store.snapshot(edition=edition) as snapshot:
        ids = [info.doc_id for info in snapshot.documents(limit=10_000)]
        return {
            found.document.doc_id: [(chunk.start, chunk.end) for chunk in found.chunks]
            for found in snapshot.contents(ids)
        }


@pytest.fixture
def store() -> VectorStore:
    """Forty documents in the edition that the collection was made with."""
    collections = build_collections(RetrievalSettings(store="memory"))
    collections.create("c", embedder=FakeEmbedder().info, chunking=IngestSettings().chunking)
    opened = collections.open("c", writable=True)
    put(opened, *(document(number) for number in range(40)))
    return opened


def test_a_collection_is_brought_to_another_model_and_chunking(store: VectorStore) -> None:
    """Every document, cut and embedded as wanted; the former edition is kept as it was."""
    before = spans(store)
    events: list[Event] = []
    report = run(store, on_event=events.append)
    assert (report.outcome, report.edition, report.former, report.continued) == ("switched", 2, 1, False)
    assert (report.documents, report.rounds) == (40, 1)
    with store.snapshot() as snapshot:
        info = snapshot.info
        assert (info.live, info.embedder, info.edition.chunking) == (2, OTHER.info, SMALL)
        assert (info.edition.documents, info.chunks) == (40, report.chunks)
        (chunk,) = snapshot.chunks(["d0007:000002"])
        hits = snapshot.search_dense(OTHER.embed_queries([chunk.chunk.text])[0], k=1)
        assert hits[0].score == pytest.approx(1.0, abs=1e-5)
    assert sum(map(len, spans(store).values())) > 2 * sum(map(len, before.values()))
    assert spans(store, 1) == before
    assert sum(1 for event in events if type(event).__name__ == "Finished") == 40


def test_what_is_live_already_is_left_alone_unless_forced(store: VectorStore) -> None:
    """No edition is begun; with force, one with the same model and chunking is."""
    report = run(store, FakeEmbedder(), IngestSettings().chunking)
    assert (report.outcome, report.edition, report.documents) == ("current", 1, 0)
    assert numbers(store) == [1]
    forced = run(store, FakeEmbedder(), IngestSettings().chunking, force=True)
    assert (forced.outcome, forced.edition, forced.documents) == ("switched", 2, 40)
    again = run(store, FakeEmbedder(), IngestSettings().chunking, force=True)
    assert (again.outcome, again.edition, again.documents) == ("switched", 3, 40)
    assert spans(store, 1) == spans(store, 2) == spans(store, 3)


def test_a_run_that_was_cut_off_is_continued(store: VectorStore) -> None:
    """What it had committed is not embedded again; the same edition is finished."""

    def stop(call: int) -> None:
        if call == 3:  # in the second batch
            raise KeyboardInterrupt

    put(store, *(document(number) for number in range(40, 120)))
    with pytest.raises(KeyboardInterrupt):
        run(store, Hooked(stop))
    assert live(store) == 1
    with store.snapshot(edition=2) as snapshot:
        done = snapshot.info.edition.documents
    assert 0 < done < 120
    report = run(store)
    assert (report.edition, report.continued, report.documents) == (2, True, 120 - done)
    assert live(store) == 2
    assert spans(store).keys() == {f"d{number:04d}" for number in range(120)}


def test_another_run_with_other_settings_begins_its_own(store: VectorStore) -> None:
    """The unfinished one stays until it is dropped."""

    def stop(call: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(store, Hooked(stop))
    assert run(store, chunking=Chunking(chunk_tokens=20)).edition == 3
    assert numbers(store) == [1, 2, 3]


def test_what_is_ingested_meanwhile_is_in_both(store: VectorStore) -> None:
    """New, changed and deleted documents, in each of the first rounds: at the end the edition has what there is."""

    def meddle(call: int) -> None:
        if call <= 3:
            put(store, document(100 + call), document(1, f"Changed {call} times."))
            store.delete([f"d{30 + call:04d}"])

    report = run(store, Hooked(meddle))
    assert report.outcome == "switched"
    assert report.rounds > 1
    expected = {f"d{number:04d}" for number in (*range(40), 101, 102, 103)} - {"d0031", "d0032", "d0033"}
    with store.snapshot() as snapshot:
        assert snapshot.document("d0001").text == "Changed 3 times."
        found = {one.chunk.text for one in snapshot.chunks(["d0001:000000"])}
    assert found == {"Changed 3 times."}
    assert spans(store).keys() == expected
    assert all(spans(store).values())


def test_an_ingest_that_never_rests_is_caught_up_with(store: VectorStore) -> None:
    """Documents come in for as long as the run goes on, slower than it embeds; it ends all the same."""
    done = threading.Event()

    def ingest() -> None:
        number = 1000
        while not done.is_set():
            put(store, document(number))
            number += 1
            done.wait(0.02)

    writer = threading.Thread(target=ingest)
    writer.start()
    try:
        report = run(store)
    finally:
        done.set()
        writer.join()
    assert report.outcome == "switched"
    with store.snapshot() as snapshot:
        assert snapshot.info.live == 2
        assert snapshot.documents(unindexed=True) == []


def test_two_runs_at_once_work_on_one_edition(store: VectorStore) -> None:
    """Both begin at the same moment, do the same work, and one edition comes of it, whole."""
    barrier = threading.Barrier(2)
    reports: list[Report] = []

    def wait(call: int) -> None:
        if call == 1:
            barrier.wait(timeout=20)

    runs = [threading.Thread(target=lambda: reports.append(run(store, Hooked(wait)))) for _ in range(2)]
    for each in runs:
        each.start()
    for each in runs:
        each.join()
    assert [report.outcome for report in reports] == ["switched"] * 2
    assert {report.edition for report in reports} == {live(store)}
    assert len(numbers(store)) == 2
    assert len(spans(store)) == 40


def test_a_run_whose_edition_another_one_finished_ends_well(store: VectorStore) -> None:
    """The other run switched first; to index in a live edition is refused, and there is nothing left to do."""
    begun: list[Report] = []

    def overtake(call: int) -> None:
        if call == 1:
            begun.append(run(store))

    report = run(store, Hooked(overtake), approve=lambda edition: pytest.fail("it is live already"))
    assert (report.outcome, report.documents, begun[0].documents) == ("switched", 0, 40)
    assert live(store) == 2


def test_approval_decides_over_the_switch(store: VectorStore) -> None:
    """It is asked once, about a complete edition; refused, nothing changes, and the next run asks again."""
    asked: list[tuple[int, int]] = []

    def approve(edition: int, answer: bool) -> bool:
        with store.snapshot(edition=edition) as snapshot:
            asked.append((edition, snapshot.info.edition.documents))
        return answer

    assert run(store, approve=lambda edition: approve(edition, False)).outcome == "refused"
    assert (live(store), asked) == (1, [(2, 40)])
    report = run(store, approve=lambda edition: approve(edition, True))
    assert (report.outcome, report.documents, report.continued, live(store)) == ("switched", 0, True, 2)


def test_without_a_switch_the_edition_is_only_built(store: VectorStore) -> None:
    """It is brought up to date and switched to later."""
    assert run(store, switch=False).outcome == "built"
    assert live(store) == 1
    put(store, document(50))
    report = make_live(store, EMBEDDERS, 2)
    assert (report.outcome, report.documents, live(store)) == ("switched", 1, 2)
    assert make_live(store, EMBEDDERS, 2).outcome == "current"


def test_an_empty_collection_is_switched(store: VectorStore) -> None:
    """There is nothing to embed; what comes next is embedded by the new model."""
    store.delete([f"d{number:04d}" for number in range(40)])
    report = run(store)
    assert (report.outcome, report.documents, live(store)) == ("switched", 0, 2)
    put(store, document(1))
    assert len(spans(store)["d0001"]) > 1


def test_a_document_without_chunks_is_no_stumbling_block(store: VectorStore) -> None:
    """It is indexed with nothing, once."""
    put(store, document(50, " \n "))
    report = run(store)
    assert (report.documents, report.rounds, spans(store)["d0050"]) == (41, 1, [])


def test_the_way_back_loses_nothing(store: VectorStore) -> None:
    """What was ingested since is embedded by the former model first."""
    run(store)
    put(store, document(50))
    with store.snapshot() as snapshot:
        target = rollback_target(snapshot.info)
    report = make_live(store, EMBEDDERS, target.number)
    assert (target.number, report.documents, live(store)) == (1, 1, 1)
    assert "d0050" in spans(store)
    with store.snapshot() as snapshot, pytest.raises(EditionNotFound, match="no edition older than the live one, 1"):
        rollback_target(snapshot.info)


def test_rollback_goes_to_the_edition_that_was_live_last(store: VectorStore) -> None:
    """Not to a newer one that was built since and has fallen behind, nor to one that was hardly begun."""
    run(store, switch=False)
    put(store, document(50))
    unfinished = store.add_edition(embedder=OTHER.info, chunking=Chunking(chunk_tokens=99))
    assert run(store, chunking=Chunking(chunk_tokens=20)).edition == 4
    put(store, document(51))
    with store.snapshot() as snapshot:
        assert rollback_target(snapshot.info).number == 1
    for number in (1, 2):
        store.drop_edition(number)
    with store.snapshot() as snapshot, pytest.raises(EditionNotFound, match="has only 0 of 42 documents"):
        rollback_target(snapshot.info)
    assert make_live(store, EMBEDDERS, unfinished).documents == 42


def test_a_model_that_is_gone_keeps_its_edition_from_going_live(store: VectorStore) -> None:
    """Even when there is nothing to embed; and before an edition is begun."""
    run(store)
    only_other = Embedders(OTHER)
    with pytest.raises(EmbedderMismatch, match="no 'fake' here"):
        make_live(store, only_other, 1)
    with pytest.raises(EmbedderMismatch):
        reindex(store, only_other, embedder=FakeEmbedder(name="x").info, chunking=SMALL)
    assert (live(store), numbers(store)) == (2, [1, 2])


def test_a_collection_whose_model_is_gone_is_rescued_by_another(store: VectorStore) -> None:
    """Reindexing needs the stored text only."""
    assert reindex(store, Embedders(OTHER), embedder=OTHER.info, chunking=SMALL).outcome == "switched"


def test_an_edition_that_is_dropped_meanwhile_is_an_error(store: VectorStore) -> None:
    """Somebody did not want it; it is not begun again behind their back."""
    with pytest.raises(EditionNotFound, match="no edition 2"):
        run(store, Hooked(lambda call: store.drop_edition(2)))
    assert numbers(store) == [1]


@pytest.mark.parametrize(("keep", "left"), [(0, [3, 4]), (1, [1, 3, 4]), (2, [1, 2, 3, 4]), (9, [1, 2, 3, 4])])
def test_old_editions_are_dropped_but_for_some(store: VectorStore, keep: int, left: list[int]) -> None:
    """The former live one is kept first; what is newer than both is somebody's work in progress."""
    run(store, switch=False)
    run(store, chunking=Chunking(chunk_tokens=20))
    store.add_edition(embedder=OTHER.info, chunking=Chunking(chunk_tokens=99))
    dropped = drop_former(store, former=1, keep=keep)
    assert numbers(store) == left
    assert sorted([*dropped, *left]) == [1, 2, 3, 4]
    with pytest.raises(EditionLive):
        store.drop_edition(3)


def test_what_another_run_drops_first_is_no_error(store: VectorStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two reindexes that end at the same moment both clean up; the work of both was done."""
    report = run(store)
    drop = store.drop_edition

    def overtaken(edition: int) -> None:
        drop(edition)
        drop(edition)

    monkeypatch.setattr(store, "drop_edition", overtaken)
    assert drop_former(store, report.former, keep=0) == [1]
    assert numbers(store) == [2]
