"""What is to be done with each source: the ledger's lines against what was discovered, without a look into any file."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from ingest import ledger, planning
from ingest.planning import Plan, is_below
from ingest.sources import Source
from retrieval.errors import (
    CorruptFile,
    EmptyDocument,
    EncryptedFile,
    FetchError,
    FootnoteError,
    LimitExceeded,
    LoadError,
    MissingExtra,
    NeedsOcr,
    UnsupportedMedia,
    WorkerDied,
)
from retrieval.records import MetadataValue, SourceRecord

ROOT = "file:///docs"
PARSER = ledger.detection_id()  # a parser whose version is known without any import


def source(name: str, validator: str = "v1", **more: object) -> Source:
    """A source below the root."""
    return Source(f"{ROOT}/{name}", name, 10, validator, **more)  # type: ignore[arg-type]


def line(name: str, status: str = "ingested", **more: object) -> SourceRecord:
    """What the ledger has of it: as it is, unless `more` says otherwise."""
    plain = SourceRecord(
        f"{ROOT}/{name}", "ingested", f"id-{name}", f"hash-{name}", f"{PARSER} metadata:none", 10,
        validator="v1", version="v", chunks=1,
    )  # fmt: skip
    return replace(plain, status=status, **more)  # type: ignore[arg-type]


def made(
    sources: Sequence[Source],
    lines: Sequence[SourceRecord],
    *,
    roots: Sequence[str] = (ROOT,),
    given: dict[str, MetadataValue] | None = None,
    ocr: str = "",
    restore: bool = False,
    force: frozenset[str] = frozenset(),
) -> Plan:
    known = {one.source_uri: one for one in lines}
    return planning.plan(
        sources, roots=roots, lines=known, given=given or {}, ocr=ocr, restore=restore, force=force
    )  # fmt: skip


def steps(plan: Plan) -> list[tuple[str, str]]:
    """Action and name of each step."""
    return [(step.action, step.source.name) for step in plan.steps]


def test_each_source_is_placed() -> None:
    """New, changed, unchanged, gone: by URI and validator alone."""
    plan = made([source("new"), source("same"), source("other", "v2")], [line("same"), line("other"), line("lost")])
    assert steps(plan) == [("new", "new"), ("changed", "other")]
    assert [one.name for one in plan.unchanged] == ["same"]
    assert list(plan.gone) == [f"{ROOT}/lost"]
    assert (plan.files, plan.size) == (3, 30)


def test_a_source_without_validator_is_looked_into() -> None:
    """When nothing tells from outside, the content has to, were the ledger's line without one, too."""
    assert steps(made([source("a", "")], [line("a", validator="")])) == [("changed", "a")]


@pytest.mark.parametrize(
    "changed",
    [
        {"fingerprint": "detection/0 metadata:none"},
        {"fingerprint": "nonsense/1.1 metadata:none"},
        {"fingerprint": "../etc/1.1 metadata:none"},
        {"fingerprint": "document"},
        {"fingerprint": f"{PARSER} metadata:deadbeef"},
    ],
)
def test_another_parser_or_other_metadata_is_read_again(changed: dict[str, str]) -> None:
    """Whatever the validator says; also what no parser of ours has written."""
    assert steps(made([source("a")], [line("a", **changed)])) == [("changed", "a")]


def test_a_sidecar_counts_apart_from_what_was_given() -> None:
    """Its state is in the validator; what is given on the command line is compared by itself."""
    given: dict[str, MetadataValue] = {"year": 2023}
    fingerprint = ledger.fingerprint(PARSER, ledger.metadata_id(given, {"own": 1}))
    assert steps(made([source("a")], [line("a", fingerprint=fingerprint)], given=given)) == []
    assert steps(made([source("a")], [line("a", fingerprint=fingerprint)])) == [("changed", "a")]


@pytest.mark.parametrize(
    ("error", "reason", "status", "again"),
    [
        (CorruptFile("x"), "corrupt", "failed", False),
        (EncryptedFile("x"), "encrypted", "failed", False),
        (EmptyDocument("x"), "empty", "failed", False),
        (UnsupportedMedia("x"), "unsupported", "unsupported", False),
        (NeedsOcr("x"), "needs-ocr", "needs-ocr", False),
        (MissingExtra("x"), "missing-extra", "failed", True),
        (LimitExceeded("x"), "limit", "failed", False),
        (WorkerDied("x"), "crashed", "failed", False),
        (FetchError("x"), "unreadable", "failed", True),
        (LoadError("x"), "internal", "failed", True),
    ],
)
def test_a_failure_is_tried_again_when_it_may_have_passed(
    error: FootnoteError, reason: str, status: str, again: bool
) -> None:
    """An unreadable file may be readable now; a damaged one that has not changed is damaged."""
    failed = ledger.failure(line("a"), error)
    assert (failed.reason, failed.status) == (reason, status)
    plan = made([source("a")], [failed])
    assert steps(plan) == ([("retried", "a")] if again else [])
    assert plan.failures == ([] if again else [failed])


def test_what_needs_ocr_is_tried_when_it_is_there() -> None:
    """It was not, when the line was written; one that has found nothing is asked again for other languages only."""
    failed = ledger.failure(line("a"), NeedsOcr("x"))
    assert steps(made([source("a")], [failed], ocr="eng")) == [("retried", "a")]
    in_vain = ledger.failure(line("a"), NeedsOcr("x"), ocr="eng")
    assert made([source("a")], [in_vain], ocr="eng").failures == [in_vain]
    assert steps(made([source("a")], [in_vain], ocr="eng+deu")) == [("retried", "a")]
    assert ledger.is_known(in_vain, line("a"), ocr="eng")


def test_pages_without_text_are_tried_with_another_text_recognition() -> None:
    """The document is there, and lacks what the scanned ones among its pages say."""
    scanned = ledger.scanned(line("a"), ocr="")
    assert len(made([source("a")], [scanned]).unchanged) == 1
    assert steps(made([source("a")], [scanned], ocr="eng")) == [("changed", "a")]
    assert not ledger.is_known(scanned, line("a"), ocr="eng")


def test_recognised_pages_stay_when_text_recognition_goes() -> None:
    """They are read again for other languages only."""
    recognised = ledger.scanned(line("a"), ocr="eng")
    for ocr in ("eng", ""):
        assert len(made([source("a")], [recognised], ocr=ocr).unchanged) == 1
    assert steps(made([source("a")], [recognised], ocr="eng+deu")) == [("changed", "a")]


def test_a_failure_without_a_reason_is_tried_again() -> None:
    """Nothing says that it would be in vain."""
    assert steps(made([source("a")], [line("a", "failed")])) == [("retried", "a")]


def test_what_still_cannot_be_read_is_tried_again_not_changed() -> None:
    """A dangling link of the last run that dangles still: nothing says that it has changed."""
    before = line("a", "failed", reason="unreadable", validator="")
    (step,) = made([source("a", "", problem="it is a link whose target does not exist")], [before]).steps
    assert step.action == "retried"


def test_a_failure_is_tried_again_when_told_to() -> None:
    """As `footnote retry` does, and its bytes are read even if they are as they were."""
    failed = ledger.failure(line("a"), CorruptFile("x"))
    (step,) = made([source("a")], [failed], force=frozenset({failed.source_uri})).steps
    assert (step.action, step.force) == ("retried", True)


def test_a_tombstone_keeps_its_source_out() -> None:
    """Unless it is to be restored; then it is as new."""
    plan = made([source("a", "v2")], [line("a", "deleted")])
    assert (steps(plan), [one.doc_id for one in plan.deleted]) == ([], ["id-a"])
    assert steps(made([source("a")], [line("a", "deleted")], restore=True)) == [("new", "a")]


def test_a_tombstone_is_never_gone() -> None:
    """It holds no document, and has to stay should the source come back."""
    assert made([source("b")], [line("a", "deleted")]).gone == {}


def test_what_came_within_follows_its_source() -> None:
    """Unchanged with it, gone with it, however deep."""
    mail, inner, deep = line("m.eml"), line("m.eml!/a.zip", parent=f"{ROOT}/m.eml"), line("m.eml!/a.zip!/b")
    deep = replace(deep, parent=inner.source_uri)
    assert made([source("m.eml")], [mail, inner, deep]).gone == {}
    assert len(made([source("x")], [mail, inner, deep]).gone) == 3


def test_a_member_whose_archive_was_never_recorded_follows_it() -> None:
    """A run that was killed in the midst of an archive leaves members without it."""
    member = line("a.zip!/b", parent=f"{ROOT}/a.zip")
    assert made([source("a.zip")], [member]).gone == {}
    assert len(made([source("x")], [member]).gone) == 1


def test_a_better_parser_for_a_member_opens_its_archive() -> None:
    """The archive itself is as it was, so it has to be told."""
    member = line("a.zip!/b", parent=f"{ROOT}/a.zip", fingerprint="detection/0 metadata:none")
    (step,) = made([source("a.zip")], [line("a.zip"), member]).steps
    assert step.force


def test_known_failures_of_members_are_counted() -> None:
    """The archive is unchanged, and something in it is still not in the collection."""
    member = ledger.failure(line("a.zip!/b", parent=f"{ROOT}/a.zip"), CorruptFile("x"))
    plan = made([source("a.zip")], [line("a.zip"), member])
    assert (len(plan.unchanged), plan.failures) == (1, [member])


def test_a_folder_that_cannot_be_listed_loses_nothing() -> None:
    """What was below it is not known to be gone; elsewhere it is."""
    closed = source("shut", "", problem="no permission", folder=True)
    plan = made([closed], [line("shut/a"), line("shutter"), line("b")])
    assert sorted(one.doc_id for one in plan.gone.values()) == ["id-b", "id-shutter"]


def test_a_root_without_sources_is_named() -> None:
    """Nothing there, while the ledger has some: most likely it is not mounted."""
    other = Source("file:///other/a", "a", 1, "v1")
    plan = made([other], [line("a")], roots=(ROOT, "file:///other"))
    assert plan.empty_roots == (ROOT,)
    assert made([], [], roots=(ROOT,)).empty_roots == ()


@pytest.mark.parametrize(
    ("uri", "root", "below"),
    [
        ("file:///a/b", "file:///a", True),
        ("file:///a", "file:///a", True),
        ("file:///ab", "file:///a", False),
        ("file:///a.zip!/b", "file:///a.zip", True),
        ("s3://bucket/docs/a", "s3://bucket/docs", True),
        ("s3://bucket/docs-old/a", "s3://bucket/docs", False),
        ("https://h/docs/a", "https://h/docs", False),
        ("https://h/docs/a", "https://h/", False),
        ("https://h/docs/a", "https://h", True),
        ("https://host/a", "https://h", False),
        ("https://h/a.zip!/b", "https://h/a.zip", True),
        ("file:///etc/x", "file://", True),
    ],
)
def test_below(uri: str, root: str, below: bool) -> None:
    """A folder's name is no prefix of another's; a web page is no folder."""
    assert is_below(uri, root) is below


def test_totals_count_documents_not_lines() -> None:
    """An archive's line has no document, nor has a failure that never had one."""
    archive, failed = line("a.zip", version="", chunks=0), line("f", "failed", version="", chunks=0)
    plan = made([], [archive, failed, line("a"), line("kept", "failed")])
    assert (len(plan.gone), plan.totals.gone, plan.documents) == (4, 2, 2)
