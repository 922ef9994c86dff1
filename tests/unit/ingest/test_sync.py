"""Runs over sources that change: the collection mirrors them, and nothing is embedded that has a vector already."""

import io
import os
import threading
import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path

import pytest

from ingest import spool
from ingest.events import Discovered, Embedded, Event, Finished, Pruning, Report
from ingest.examination import actions, totals
from ingest.pipeline import Options, ingest, make_plan
from ingest.planning import Plan
from ingest.settings import IngestSettings
from ingest.sources import discover, doc_id_for, uri_for
from retrieval.build import build_collections, build_embedders
from retrieval.errors import InvalidRequest, StoreUnavailable
from retrieval.ports import Embedders, Replacement, Vectors, VectorStore
from retrieval.records import SourceRecord
from retrieval.settings import RetrievalSettings
from tests.fakes import FakeEmbedder

SETTINGS = IngestSettings(workers=0)
PRUNE = Options(prune=True)


class CountingEmbedder(FakeEmbedder):
    """Remembers how many texts it has embedded."""

    def __init__(self) -> None:
        super().__init__()
        self.texts = 0

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        self.texts += len(texts)
        return super().embed_documents(texts)


class Sync:
    """One collection and one folder, and runs of the one over the other."""

    def __init__(self, folder: Path, store: VectorStore) -> None:
        self.folder = folder
        self.store = store
        self.embedder = CountingEmbedder()
        self.embedders: Embedders = build_embedders(RetrievalSettings(), self.embedder)
        self.events: list[Event] = []

    def __call__(self, options: Options | None = None, **more: object) -> Report:
        self.events.clear()
        return ingest(
            [self.folder], store=self.store, embedders=self.embedders, settings=SETTINGS, options=options,
            on_event=self.events.append, **more,  # type: ignore[arg-type]
        )  # fmt: skip

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def texts(self) -> dict[str, str]:
        """Stored text by URI, as seen from the folder."""
        with self.store.snapshot() as snapshot:
            return {
                info.source_uri.removeprefix(uri_for(self.folder) + "/"): snapshot.document(info.doc_id).text
                for info in snapshot.documents(limit=1000)
            }

    def lines(self) -> dict[str, SourceRecord]:
        """The ledger, by the same."""
        with self.store.snapshot() as snapshot:
            every = snapshot.sources()
        return {line.source_uri.removeprefix(uri_for(self.folder) + "/"): line for line in every}


@pytest.fixture
def sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sync]:
    """An empty folder; files show at once whether they have changed."""
    monkeypatch.setattr("ingest.sources.local._SETTLED_NS", -(10**9))
    collections = build_collections(RetrievalSettings(store="memory"))
    collections.create("c", embedder=FakeEmbedder().info)
    store = collections.open("c", writable=True)
    (tmp_path / "docs").mkdir()
    yield Sync(tmp_path / "docs", store)
    store.close()


def mail(**attachments: bytes) -> bytes:
    """A message with text, and with attachments by name (`a_txt` is a.txt)."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "a@x.example", "b@x.example", "Pumps"
    message.set_content("The message speaks of pumps.")
    for name, data in attachments.items():
        message.add_attachment(
            data, maintype="application", subtype="octet-stream", filename=name.replace("_", ".")
        )  # fmt: skip
    return message.as_bytes()


def archive(**members: str | bytes) -> bytes:
    """A ZIP archive with members by name."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as opened:
        for name, content in members.items():
            opened.writestr(name.replace("_", "."), content)
    return data.getvalue()


def test_what_has_not_changed_is_not_opened(sync: Sync, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second run reads no file and embeds nothing."""
    for n in range(20):
        sync.write(f"{n}.txt", f"Pump {n}.")
    sync()
    opened = []
    real = os.open

    def watched(path: str, flags: int, mode: int = 0o777) -> int:
        opened.append(str(path))
        return real(path, flags, mode)

    monkeypatch.setattr(os, "open", watched)
    report = sync()
    assert (report.unchanged, report.ingested, report.chunks) == (20, 0, 0)
    assert not [path for path in opened if path.startswith(str(sync.folder))]
    sync.write("3.txt", "Pump 3 is another now.")
    sync()
    assert [path for path in opened if path.startswith(str(sync.folder))] == [str(sync.folder / "3.txt")]


def test_a_touched_file_is_read_once(sync: Sync) -> None:
    """Its bytes are as they were: the ledger learns how it looks now, and the next run does not open it."""
    path = sync.write("a.txt", "The pump starts.")
    sync()
    before = sync.lines()["a.txt"]
    os.utime(path, (1, 1))
    assert (sync().unchanged, sync.embedder.texts) == (1, 1)
    after = sync.lines()["a.txt"]
    assert after.validator != before.validator
    assert replace(after, validator=before.validator) == before
    assert plan_of(sync).steps == []


def plan_of(sync: Sync) -> Plan:
    return make_plan(discover([sync.folder]), store=sync.store, settings=SETTINGS, metadata={}, options=PRUNE)


def test_a_changed_document_embeds_only_what_is_new_in_it(sync: Sync) -> None:
    """Chunks whose text and context are as before keep their vectors."""
    parts = [f"# Part {n}\n\n" + f"Pump {n} starts at {n} bar and stops at noon. " * 20 for n in range(6)]
    sync.write("a.md", "\n\n".join(parts))
    first = sync()
    parts[3] = "# Part 3\n\nIt was taken out."
    sync.write("a.md", "\n\n".join(parts))
    second = sync()
    assert 0 < second.chunks < first.chunks / 2
    assert second.reused + second.chunks == sync.lines()["a.md"].chunks
    with sync.store.snapshot() as snapshot:
        (content,) = snapshot.contents([doc_id_for(uri_for(sync.folder / "a.md"))])
    expected = FakeEmbedder().embed_documents([chunk.indexed_text for chunk in content.chunks])
    assert (content.vectors == expected).all()


def test_a_moved_file_takes_its_document_along(sync: Sync) -> None:
    """One document before and after, without --prune, and nothing is embedded."""
    text = "# Pumps\n\nThe pump starts at 40 bar."
    path = sync.write("a.md", text)
    sync.write("b.txt", "The valve opens.")
    sync()
    (sync.folder / "new").mkdir()
    path.rename(sync.folder / "new" / "c.md")
    report = sync()
    assert (report.moved, report.ingested, report.gone, report.chunks) == (1, 1, 0, 0)
    assert sorted(sync.texts()) == ["b.txt", "new/c.md"]
    assert sorted(sync.lines()) == ["b.txt", "new/c.md"]


def test_a_copy_is_no_move(sync: Sync) -> None:
    """The first one is still there; the second one uses its vectors."""
    sync.write("a.md", "# Pumps\n\nThe pump starts.")
    sync()
    sync.write("b.md", "# Pumps\n\nThe pump starts.")
    report = sync()
    assert (report.moved, report.chunks, sorted(sync.texts())) == (0, 0, ["a.md", "b.md"])


def test_two_files_that_swap_their_names_swap_their_texts(sync: Sync) -> None:
    """And nothing is embedded, since both texts have their vectors."""
    sync.write("a.md", "# One\n\nThe pump starts.")
    sync.write("b.md", "# Two\n\nThe valve opens.")
    sync()
    (sync.folder / "a.md").rename(sync.folder / "x")
    (sync.folder / "b.md").rename(sync.folder / "a.md")
    (sync.folder / "x").rename(sync.folder / "b.md")
    report = sync()
    assert (report.ingested, report.moved, report.chunks) == (2, 0, 0)
    assert "valve" in sync.texts()["a.md"]
    assert "pump" in sync.texts()["b.md"]


def test_of_two_copies_that_are_gone_one_has_moved(sync: Sync) -> None:
    """The other one is just gone."""
    for name in ("a.md", "b.md"):
        sync.write(name, "# Pumps\n\nThe pump starts.")
    sync()
    (sync.folder / "a.md").rename(sync.folder / "c.md")
    (sync.folder / "b.md").unlink()
    report = sync()
    assert (report.moved, report.gone, len(sync.texts())) == (1, 1, 2)


def test_gone_sources_stay_until_pruned(sync: Sync) -> None:
    """They are counted, then, when told to, deleted after having been named."""
    sync.write("a.txt", "The pump.")
    sync.write("b.txt", "The valve.")
    sync()
    (sync.folder / "b.txt").unlink()
    assert (sync().gone, len(sync.texts())) == (1, 2)
    report = sync(PRUNE)
    assert (report.pruned, report.gone, sorted(sync.texts()), sorted(sync.lines())) == (1, 0, ["a.txt"], ["a.txt"])
    assert Pruning(1, (uri_for(sync.folder / "b.txt"),)) in sync.events


def test_prune_keeps_to_its_sources(sync: Sync) -> None:
    """What came from elsewhere is no concern of this run."""
    (sync.folder / "one").mkdir()
    (sync.folder / "onetwo").mkdir()
    sync.write("one/a.txt", "The pump.")
    sync.write("onetwo/b.txt", "The valve.")
    sync()
    (sync.folder / "onetwo" / "b.txt").unlink()
    report = ingest(
        [sync.folder / "one"], store=sync.store, embedders=sync.embedders, settings=SETTINGS, options=PRUNE
    )  # fmt: skip
    assert (report.pruned, len(sync.texts())) == (0, 2)


def test_an_empty_source_wipes_nothing(sync: Sync) -> None:
    """It is refused before anything is done, and done only when asked for by name."""
    sync.write("a.txt", "The pump.")
    sync()
    (sync.folder / "a.txt").unlink()
    with pytest.raises(InvalidRequest, match="is it mounted"):
        sync(Options(prune=True, approve=lambda gone, documents: True))
    assert len(sync.texts()) == 1
    assert sync(Options(prune=True, prune_empty=True)).pruned == 1


def test_most_documents_are_not_deleted_without_a_yes(sync: Sync) -> None:
    """More than half of them, and more than a few; whoever is asked hears the numbers."""
    for n in range(30):
        sync.write(f"{n}.txt", f"Pump {n}.")
    sync()
    for n in range(20):
        (sync.folder / f"{n}.txt").unlink()
    with pytest.raises(InvalidRequest, match="20 of 30 documents"):
        sync(PRUNE)
    assert len(sync.texts()) == 30
    asked = []

    def approve(gone: int, documents: int) -> bool:
        asked.append((gone, documents))
        return True

    report = sync(Options(prune=True, approve=approve))
    assert (report.pruned, set(asked), len(sync.texts())) == (20, {(20, 30)}, 10)


def test_a_renamed_folder_asks_nobody(sync: Sync) -> None:
    """All of its files are gone, and all of them have only moved."""
    for n in range(30):
        sync.write(f"old/{n}.txt", f"Pump {n}.")
    sync()
    (sync.folder / "old").rename(sync.folder / "new")
    report = sync(PRUNE)
    assert (report.moved, report.pruned, report.gone) == (30, 0, 0)
    assert all(name.startswith("new/") for name in sync.texts())


def test_a_tombstone_is_respected_until_told_otherwise(sync: Sync) -> None:
    """Even when the file has changed; `restore` brings it back."""
    path = sync.write("a.txt", "The secret pump.")
    sync()
    line = sync.lines()["a.txt"]
    sync.store.delete([line.doc_id], leave=[replace(line, status="deleted", validator="")])
    path.write_text("The secret pump, changed.")
    report = sync()
    assert (report.deleted, report.ingested, sync.texts()) == (1, 0, {})
    assert sync(Options(restore=True)).ingested == 1
    assert sync.lines()["a.txt"].status == "ingested"


def test_what_is_deleted_during_a_run_stays_deleted(sync: Sync) -> None:
    """Although it was read before that, and is on its way into the collection; the others of its batch are written."""
    for name in ("a", "b", "c"):
        sync.write(f"{name}.txt", f"The {name} pump.")
    sync()
    line = sync.lines()["b.txt"]
    for name in ("a", "b", "c"):
        sync.write(f"{name}.txt", f"The {name} pump, changed.")

    def delete(event: Event) -> None:
        if isinstance(event, Embedded):
            sync.store.delete([line.doc_id], leave=[replace(line, status="deleted")])

    report = ingest([sync.folder], store=sync.store, embedders=sync.embedders, settings=SETTINGS, on_event=delete)
    assert (report.ingested, sorted(sync.texts())) == (2, ["a.txt", "c.txt"])
    assert all(text.endswith("changed.") for text in sync.texts().values())
    assert sync.lines()["b.txt"].status == "deleted"


def test_a_known_failure_is_not_tried_again(sync: Sync) -> None:
    """It is still counted as not ingested; told to, or changed, it is read again."""
    sync.write("a.pdf", b"%PDF-1.7 and nothing else")
    first = sync()
    assert [failure.reason for failure in first.failures] == ["corrupt"]
    again = sync()
    assert (again.failures, again.known_failures, again.complete) == ([], 1, False)
    forced = sync(Options(force=frozenset({uri_for(sync.folder / "a.pdf")})))
    assert (len(forced.failures), sync.lines()["a.pdf"].attempts) == (1, 2)
    sync.write("a.pdf", b"%PDF-1.7 and something else")
    assert (len(sync().failures), sync.lines()["a.pdf"].attempts) == (1, 1)


def test_a_touched_failure_is_known_by_its_bytes(sync: Sync) -> None:
    """It is read, not parsed, and stays what it was."""
    os.utime(sync.write("a.txt", b"\0\1\2" * 100), (1, 1))
    sync()
    os.utime(sync.folder / "a.txt", (2, 2))
    report = sync()
    assert (report.failures, report.known_failures, sync.lines()["a.txt"].attempts) == ([], 1, 1)


def test_a_failure_says_which_document_stays(sync: Sync) -> None:
    """The line keeps the version of the document that is still there; a prune takes both."""
    sync.write("a.txt", "The pump.")
    sync.write("b.txt", "The valve.")
    sync()
    version = sync.lines()["a.txt"].version
    sync.write("a.txt", b"")
    sync()
    line = sync.lines()["a.txt"]
    assert (line.status, line.version, "a.txt" in sync.texts()) == ("failed", version, True)
    (sync.folder / "a.txt").unlink()
    assert (sync(PRUNE).pruned, sorted(sync.texts()), sorted(sync.lines())) == (1, ["b.txt"], ["b.txt"])


def test_a_line_tells_what_was_done(sync: Sync) -> None:
    """Hash, version, chunks, attempts, and the seconds of each stage."""
    sync.write("a.md", "# Pumps\n\nThe pump starts.")
    sync()
    line = sync.lines()["a.md"]
    assert (line.attempts, line.chunks, line.status, len(line.version)) == (1, 1, "ingested", 16)
    assert [stage for stage, _ in line.seconds] == ["read", "parse", "cut", "embed"]


def test_attachments_are_documents_of_their_own(sync: Sync) -> None:
    """In the commit of their message; what cannot be read among them is its own failure."""
    sync.write("m.eml", mail(a_txt=b"The first attachment.", b_pdf=b"%PDF-1.7 broken"))
    report = sync()
    assert (report.files, report.ingested, [one.name for one in report.failures]) == (3, 2, ["b.pdf"])
    (*_, known) = [event for event in sync.events if isinstance(event, Discovered)]
    assert (known.files, known.size) == (3, sum(event.size for event in sync.events if isinstance(event, Finished)))
    assert sync.texts()["m.eml!/a.txt"] == "The first attachment."
    lines = sync.lines()
    assert {lines[name].parent for name in ("m.eml!/a.txt", "m.eml!/b.pdf")} == {uri_for(sync.folder / "m.eml")}
    assert (sync().unchanged, sync().known_failures) == (1, 1)


def test_an_attachment_that_is_gone_goes_with_its_message(sync: Sync) -> None:
    """In the same commit, pruning or not; what stays keeps its vectors."""
    sync.write("m.eml", mail(a_txt=b"The first attachment.", b_txt=b"The second one."))
    sync()
    sync.write("m.eml", mail(b_txt=b"The second one."))
    report = sync()
    assert sorted(sync.texts()) == ["m.eml", "m.eml!/b.txt"]
    assert sorted(sync.lines()) == ["m.eml", "m.eml!/b.txt"]
    assert report.reused >= 1


def test_an_attachment_that_cannot_be_read_any_more_stays_as_it_was(sync: Sync) -> None:
    """As any source does; its line says so, and it goes when it is gone."""
    sync.write("m.eml", mail(a_txt=b"The first attachment."))
    sync()
    sync.write("m.eml", mail(a_txt=b"\0\1\2" * 100))
    sync()
    line = sync.lines()["m.eml!/a.txt"]
    assert (line.status, bool(line.version), "m.eml!/a.txt" in sync.texts()) == ("unsupported", True, True)
    sync.write("m.eml", mail())
    sync()
    assert sorted(sync.texts()) == sorted(sync.lines()) == ["m.eml"]


def test_a_moved_message_takes_its_attachments_along(sync: Sync) -> None:
    """Nothing of the former place stays, and nothing is embedded."""
    path = sync.write("m.eml", mail(a_txt=b"The first attachment."))
    sync()
    path.rename(sync.folder / "n.eml")
    report = sync()
    assert (sorted(sync.texts()), report.chunks, report.gone) == (["n.eml", "n.eml!/a.txt"], 0, 0)


def test_attachments_of_the_same_name_are_told_apart(sync: Sync) -> None:
    """By a number; and a name that is a path is only a name."""
    message = EmailMessage()
    message["From"] = "a@x.example"
    message.set_content("Two files.")
    for text in (b"One.", b"Two."):
        message.add_attachment(text, maintype="text", subtype="x-any", filename="../../etc/a.txt")
    sync.write("m.eml", message.as_bytes())
    sync()
    assert len([name for name in sync.texts() if name.startswith("m.eml!/")]) == 2


def test_a_deleted_attachment_does_not_come_back(sync: Sync) -> None:
    """Not with its message either, until restored."""
    sync.write("m.eml", mail(a_txt=b"Secret.", b_txt=b"Public."))
    sync()
    line = sync.lines()["m.eml!/a.txt"]
    sync.store.delete([line.doc_id], leave=[replace(line, status="deleted")])
    sync.write("m.eml", mail(a_txt=b"Secret.", b_txt=b"Public, and changed."))
    sync()
    assert sorted(sync.texts()) == ["m.eml", "m.eml!/b.txt"]
    assert sync.lines()["m.eml!/a.txt"].status == "deleted"
    sync(Options(restore=True))
    assert "m.eml!/a.txt" in sync.texts()


def test_an_archive_in_a_message_is_unpacked(sync: Sync) -> None:
    """Its members are documents of the same outcome; the archive is a line."""
    sync.write("m.eml", mail(a_zip=archive(x_txt="Within within.", y_pdf=b"%PDF-1.7 broken")))
    report = sync()
    assert sync.texts()["m.eml!/a.zip!/x.txt"] == "Within within."
    assert [one.name for one in report.failures] == ["y.pdf"]
    assert sync.lines()["m.eml!/a.zip"].status == "ingested"
    assert (sync().unchanged, sync().known_failures) == (1, 1)


def test_members_of_archives_are_documents(sync: Sync) -> None:
    """Archives within archives, too; an unchanged one is not opened again."""
    sync.write("a.zip", archive(x_txt="The pump.", y_zip=archive(z_md="# Valve\n\nIt opens.")))
    report = sync()
    assert sorted(sync.texts()) == ["a.zip!/x.txt", "a.zip!/y.zip!/z.md"]
    assert (report.files, report.ingested) == (4, 4)
    assert (sync().unchanged, sync().ingested) == (1, 0)


def test_an_archive_with_a_member_less_loses_its_document(sync: Sync) -> None:
    """What is as it was is not embedded again; what is in it no more goes, pruning or not."""
    sync.write("a.zip", archive(x_txt="The pump.", y_txt="The valve.", z_txt="The tank."))
    sync()
    sync.write("a.zip", archive(x_txt="The pump.", y_txt="The valve, changed."))
    report = sync()
    assert sorted(sync.texts()) == ["a.zip!/x.txt", "a.zip!/y.txt"]
    assert (report.chunks, report.unchanged) == (1, 1)


def test_a_moved_archive_takes_its_members_along(sync: Sync) -> None:
    """Nothing is embedded, nothing is left behind."""
    path = sync.write("a.zip", archive(x_txt="The pump.", y_txt="The valve."))
    sync()
    path.rename(sync.folder / "b.zip")
    report = sync()
    assert (sorted(sync.texts()), report.gone) == (["b.zip!/x.txt", "b.zip!/y.txt"], 0)
    assert sorted(sync.lines()) == ["b.zip", "b.zip!/x.txt", "b.zip!/y.txt"]


def test_an_archive_that_was_cut_off_is_opened_again(sync: Sync, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own line comes last, so the rest of its members is not forgotten, and none is embedded twice."""
    monkeypatch.setattr("ingest.writing.BATCH_CHUNKS", 1)
    sync.write("a.zip", archive(**{f"m{n}_txt": f"The pump {n}." for n in range(20)}))

    def stop(event: Event) -> None:
        if isinstance(event, Finished) and event.name == "m7.txt":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest([sync.folder], store=sync.store, embedders=sync.embedders, settings=SETTINGS, on_event=stop)
    assert 8 <= len(sync.texts()) < 20
    assert "a.zip" not in sync.lines()
    done = len(sync.texts())
    report = sync()
    assert (len(sync.texts()), report.unchanged, report.chunks) == (20, done, 20 - done)
    assert "a.zip" in sync.lines()


def test_a_file_in_the_place_of_an_archive_and_back(sync: Sync) -> None:
    """Members go when there are none any more, and the document goes when there are members."""
    sync.write("a.dat", archive(x_txt="The pump."))
    sync()
    sync.write("a.dat", "Just a text.")
    sync()
    assert sorted(sync.texts()) == ["a.dat"]
    sync.write("a.dat", archive(x_txt="The pump."))
    sync()
    assert sorted(sync.texts()) == ["a.dat!/x.txt"]


def test_nothing_half_is_written_when_stopped(sync: Sync, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the midst: whole documents with their lines, no thread left, and the next run does the rest."""
    monkeypatch.setattr("ingest.writing.BATCH_CHUNKS", 1)
    for n in range(30):
        sync.write(f"{n:02d}.txt", f"Pump {n}.")

    class Stopping(FakeEmbedder):
        def embed_documents(self, texts: Sequence[str]) -> Vectors:
            if "Pump 9." in texts[0]:
                raise KeyboardInterrupt
            return super().embed_documents(texts)

    embedders = build_embedders(RetrievalSettings(), Stopping())
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        ingest([sync.folder], store=sync.store, embedders=embedders, settings=SETTINGS)
    assert time.monotonic() - begin < 2
    assert sorted(sync.texts()) == sorted(sync.lines())
    assert not [thread for thread in threading.enumerate() if thread.name in ("prepare", "write", "tick")]
    assert len(sync.texts()) < 30
    sync()
    assert len(sync.texts()) == 30


def test_a_store_that_fails_ends_the_run(sync: Sync, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its own error, although another thread writes; what was acknowledged stays."""
    monkeypatch.setattr("ingest.writing.BATCH_CHUNKS", 1)
    for n in range(30):
        sync.write(f"{n:02d}.txt", f"Pump {n}.")
    real, calls = sync.store.replace, []

    def replace_sometimes(replacements: Sequence[Replacement], *, edition: int | None = None) -> None:
        calls.append(1)
        if len(calls) > 3:
            raise StoreUnavailable("the disk is full")
        real(replacements, edition=edition)

    monkeypatch.setattr(sync.store, "replace", replace_sometimes)
    with pytest.raises(StoreUnavailable, match="disk is full"):
        sync()
    assert len(sync.texts()) == 3


def test_what_cannot_be_read_is_recorded(sync: Sync) -> None:
    """A pipe, a dangling link: each with its reason, and nobody waits for it."""
    sync.write("a.txt", "The pump.")
    os.mkfifo(sync.folder / "pipe")
    (sync.folder / "link").symlink_to("nowhere")
    report = sync()
    assert (report.ingested, sorted(one.name for one in report.failures)) == (1, ["link", "pipe"])
    assert all(line.reason for name, line in sync.lines().items() if name != "a.txt")


def test_the_spool_folder_is_gone_at_the_end(sync: Sync, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And so are those of runs that were killed, but not those of runs that go on."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    left = tmp_path / f"{spool.PREFIX}left"
    left.mkdir()
    (left / ".lock").touch()
    os.utime(left, (1, 1))
    with spool.spool() as other:
        os.utime(other, (1, 1))
        sync.write("a.dat", archive(x_txt="The pump."))
        sync()
        assert [path.name for path in tmp_path.glob(f"{spool.PREFIX}*")] == [other.name]
    assert not list(tmp_path.glob(f"{spool.PREFIX}*"))


def test_a_plan_says_what_a_run_would_do(sync: Sync) -> None:
    """File by file, with a look into those that may have changed; and writes nothing."""
    for name in ("same", "touched", "changed", "old", "lost"):
        sync.write(f"{name}.txt", f"The {name} pump.")
    sync.write("bad.pdf", b"%PDF-1.7 broken")
    sync()
    before = sync.lines()
    os.utime(sync.folder / "touched.txt", (1, 1))
    sync.write("changed.txt", "Something else.")
    (sync.folder / "old.txt").rename(sync.folder / "new.txt")
    (sync.folder / "lost.txt").unlink()
    sync.write("fresh.txt", "A fresh pump.")
    found = actions(plan_of(sync), given={}, max_bytes=10**6, prune=True)
    by_name = {one.uri.rsplit("/", 1)[1]: one.action for one in found}
    assert by_name == {
        "same.txt": "unchanged", "touched.txt": "unchanged", "changed.txt": "changed", "new.txt": "moved",
        "lost.txt": "pruned", "fresh.txt": "new", "bad.pdf": "failed",
    }  # fmt: skip
    assert totals(found)["unchanged"] == 2
    assert sync.lines() == before
    done = sync(PRUNE)
    assert (done.moved, done.pruned, done.ingested, done.unchanged) == (1, 1, 3, 2)


def test_a_plan_moves_what_came_in_a_message_or_an_archive_with_it(sync: Sync) -> None:
    """An attachment is not gone when its message is elsewhere; the run says the same."""
    sync.write("m.eml", mail(a_txt=b"The attached pump."))
    sync.write("z.zip", archive(**{"b.txt": "The packed pump."}))
    sync()
    for name in ("m.eml", "z.zip"):
        (sync.folder / name).rename(sync.folder / f"moved-{name}")
    found = actions(plan_of(sync), given={}, max_bytes=10**6, prune=True)
    assert {(one.action, one.uri.rsplit("/", 1)[1]) for one in found} == {
        ("moved", "moved-m.eml"), ("moved", "moved-z.zip"),
    }  # fmt: skip
    done = sync(PRUNE)
    assert (done.moved, done.pruned) == (2, 0)
    assert set(sync.texts()) == {"moved-m.eml", "moved-m.eml!/a.txt", "moved-z.zip!/b.txt"}
