"""`footnote reindex` and `footnote editions` as users meet them: real processes, real models, a server under load."""

import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from evals.bench.reindex import measure, print_result
from evals.bench.store_places import temporary_place
from ingest.indexing import Indexer
from ingest.pipeline import ingest_documents
from ingest.settings import IngestSettings
from retrieval.build import build_collections, build_embedders
from retrieval.records import Document, Element
from retrieval.settings import RetrievalSettings
from retrieval.stores.faiss import FaissCollections
from tests.e2e.conftest import ROOT, Footnote
from tests.e2e.crash_reindexer import CHUNKING, SlowEmbedder
from tests.fakes import FakeEmbedder
from tests.models import make_part_model

EXAMPLES = ROOT / "examples" / "skerry-line"
QUESTION = "How often are life jackets inspected?"


@pytest.fixture
def own(footnote: Footnote) -> Footnote:
    """The example documents, in a place of the test's own."""
    footnote("ingest", EXAMPLES)
    return footnote


def write_suite(folder: Path, corpus_id: str = "safety-manual.pdf") -> Path:
    (folder / "qrels").mkdir(parents=True)
    # Two, of two documents: a model that knows nothing can have one of them first by chance.
    questions = {"1": (QUESTION, corpus_id), "2": ("How are travel expenses claimed?", "travel-and-expenses.md")}
    lines = [f'{{"_id": "{number}", "text": "{text}"}}\n' for number, (text, _) in questions.items()]
    (folder / "queries.jsonl").write_text("".join(lines))
    judged = [f"{number}\t{name}\t1\n" for number, (_, name) in questions.items()]
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(judged))
    return folder


def live(footnote: Footnote) -> int:
    (found,) = [one["number"] for one in footnote.json("editions", "list")["editions"] if one["live"]]
    return int(found)


@pytest.fixture(params=["faiss", "pgvector"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RetrievalSettings]:
    """Where no collections are yet, and a model beside the shipped one."""
    make_part_model(tmp_path / "models", "half", dimension=192)
    url = request.getfixturevalue("postgres_url") if request.param == "pgvector" else ""
    with temporary_place(request.param, url) as found:
        given = {name: getattr(found, name) for name in found.model_fields_set}
        yield RetrievalSettings(**given, models_path=tmp_path / "models")


@pytest.mark.timeout(240)
def test_no_query_fails_or_mixes_while_editions_change(place: RetrievalSettings, tmp_path: Path) -> None:
    """A server under load goes through another chunking and another model, while more documents come in."""
    result = measure(
        place,
        tmp_path,
        documents=12,
        added=3,
        clients=2,
        seconds=1.0,
        reindexes=[["--chunk-tokens", "60"], ["--model", "half", "--chunk-tokens", "110"]],
    )
    print_result(result)
    assert list(result.failed) == []
    assert list(result.mixed) == []
    assert [report["outcome"] for report in result.reports] == ["switched", "switched"]
    # All were searched, the last by a server that had never heard of its model before.
    assert all(result.by_edition[number] for number in (1, 2, 3))
    assert result.documents == result.papers == 18
    with (
        closing(build_collections(place)) as collections,
        closing(collections.open("bench")) as store,
        store.snapshot() as snapshot,
    ):
        info = snapshot.info
    assert (info.live, info.embedder.name, info.embedder.dimension) == (3, "half", 192)


@pytest.mark.timeout(120)
def test_kill_at_random_moments_is_continued(tmp_path: Path) -> None:
    """After each kill the live edition is as before; the last run ends with every document indexed, just once."""
    text = "\n\n".join(f"Pump {{n}} of hall {hall} starts at {hall} bar, then stops." for hall in range(12))
    documents = [
        Document(f"d{n:03d}", f"test:{n}", "", "text/plain", text.format(n=n), (Element("paragraph", 0, len(text)),))
        for n in range(150)
    ]
    collections = FaissCollections(tmp_path)
    collections.create("c", embedder=FakeEmbedder().info, chunking=IngestSettings().chunking)
    store = collections.open("c", writable=True)
    embedders = build_embedders(RetrievalSettings(), FakeEmbedder())
    ingest_documents(documents, store=store, embedders=embedders)
    store.close()

    rng = random.Random(11)
    command = [sys.executable, "-m", "tests.e2e.crash_reindexer", str(tmp_path)]
    done = []
    for _ in range(6):
        process = subprocess.Popen([*command, "0.15"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert process.stdout
        assert process.stdout.readline() == "begun\n"
        time.sleep(rng.uniform(0.0, 0.6))
        process.send_signal(signal.SIGKILL)
        assert process.communicate()[0] == ""
        with collections.open("c").snapshot() as snapshot:
            info = snapshot.info
            assert (info.live, info.documents, info.edition.documents) == (1, 150, 150)
            done.append(sum(one.documents for one in info.editions if one.number != 1))
    assert done == sorted(done)
    assert 0 < done[-1] < 150
    last = subprocess.run([*command, "0"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert last == f"begun\nswitched 2 True {150 - done[-1]}\n"

    with collections.open("c").snapshot() as snapshot:
        indexer = Indexer(snapshot.info.edition, build_embedders(RetrievalSettings(), SlowEmbedder()))
        assert (snapshot.info.live, snapshot.info.edition.chunking) == (2, CHUNKING)
        found = snapshot.contents([document.doc_id for document in documents])
        everything = snapshot.search_lexical({"pump": 1.0}, k=10_000)
    for document, one in zip(documents, found, strict=True):
        chunks = indexer.split(document)
        assert list(one.chunks) == chunks
        np.testing.assert_allclose(one.vectors, indexer.embed(chunks).vectors, atol=1e-6)
    assert {hit.chunk_id for hit in everything} == {
        chunk.chunk_id for one in found for chunk in one.chunks if "Pump" in chunk.text
    }


def test_an_interrupted_reindex_is_continued(own: Footnote) -> None:
    """Ctrl-C leaves the live edition and the unfinished one; the same command finishes it."""
    command = [sys.executable, "-m", "footnote", "reindex", "--chunk-tokens", "8"]
    process = subprocess.Popen(command, cwd=own.folder, env=own.env, stderr=subprocess.PIPE, text=True)
    store = FaissCollections(own.folder / "data").open("default")
    while True:
        with store.snapshot() as snapshot:
            if len(snapshot.info.editions) == 2:
                break
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[1].startswith("stopped; what was reported as done is kept")
    assert process.returncode == 130
    assert live(own) == 1
    report = own.json("reindex", "--chunk-tokens", "8")
    assert (report["outcome"], report["edition"], report["continued"]) == ("switched", 2, True)
    again = own("reindex", "--chunk-tokens", "8").stdout
    assert "edition 2 (all-MiniLM-L6-v2, 8 tokens + 32 of context, token vectors) is live already;" in again


def test_rollback_brings_what_came_in_since(own: Footnote) -> None:
    """Nothing that was ingested after the switch is missing in the former edition."""
    own("reindex", "--chunk-tokens", "60")
    (own.folder / "new.txt").write_text("The last ferry to Skarholm leaves at 22:40 from quay 9.")
    own("ingest", "new.txt")
    out = own("editions", "rollback").stdout
    assert "edition 1 (all-MiniLM-L6-v2, 200 tokens + 32 of context, token vectors) is live: 1 document, 1 chunk" in out
    assert "the way back: footnote editions switch 2" in out
    assert "22:40" in own("ask", "When does the last ferry to Skarholm leave?").stdout
    assert "no edition older than the live one, 1" in own("editions", "rollback", code=1).stderr
    (entry,) = own.json("status")["collections"]
    assert (entry["edition"], [one["number"] for one in entry["editions"]]) == (1, [1, 2])
    assert "1 (also there: 2)" in own("status").stdout


def test_a_suite_keeps_a_worse_edition_from_going_live(own: Footnote) -> None:
    """Exit code 6, both scores, what to do; with tolerance enough it goes live; `eval suite` measures the same."""
    own.env["FOOTNOTE_RETRIEVAL__MODE"] = "dense"
    make_part_model(own.folder / "footnote-models", "poor", dimension=1)
    suite = write_suite(own.folder / "suite")
    done = own("reindex", "--model", "poor", "--suite", suite, code=6)
    assert "nDCG@10 100.0 in edition 1" in done.stderr
    assert "edition 2 (poor, 200 tokens + 32 of context, no token vectors) is worse than edition 1" in done.stdout
    assert "footnote editions drop 2 -c default" in done.stdout
    assert live(own) == 1
    scores = [own.json("eval", "suite", "--suite", suite, "--edition", n)["metrics"]["nDCG@10"] for n in ("1", "2")]
    assert scores[0] == 1.0 > scores[1]
    report = own.json("reindex", "--model", "poor", "--suite", suite, "--tolerance", "100", "--drop-old")
    assert (report["outcome"], report["documents"], report["dropped"]) == ("switched", 0, [1])
    assert report["suite"]["difference"] == pytest.approx(100 * (scores[1] - scores[0]))
    assert [one["number"] for one in report["editions"]] == [2]


def test_a_suite_is_checked_before_anything_is_embedded(own: Footnote) -> None:
    """Unknown documents are named, and no edition was begun."""
    suite = write_suite(own.folder / "suite", "nowhere.pdf")
    error = own("reindex", "--chunk-tokens", "60", "--suite", suite, code=1).stderr
    assert "not to be found in collection 'default': 'nowhere.pdf'" in error
    assert [one["number"] for one in own.json("editions", "list")["editions"]] == [1]


def test_an_ingest_says_that_other_settings_wait_for_a_reindex(own: Footnote) -> None:
    """Whatever differs is named, and the command that brings it; then nothing is said any more."""
    own.env["FOOTNOTE_INGEST__OVERLAP_TOKENS"] = "20"
    said = own("ingest", EXAMPLES).stderr
    assert "keeps what it was made with (all-MiniLM-L6-v2, 200 tokens + 32 of context)" in said
    assert "`footnote reindex -c default`" in said
    assert "(all-MiniLM-L6-v2, 200 tokens + 32 of context, 20 shared)" in said
    own("reindex", "-c", "default")
    assert own("ingest", EXAMPLES).stderr == ""


def test_editions_are_shown_when_their_model_is_gone(own: Footnote) -> None:
    """Status and list need no model; queries say what is missing; the way back to a model that is there works."""
    make_part_model(own.folder / "footnote-models", "half", dimension=192)
    assert own.json("reindex", "--model", "half")["outcome"] == "switched"
    shutil.rmtree(own.folder / "footnote-models")
    assert own.json("status")["collections"][0]["model"] == "half"
    listed = own.json("editions", "list")["editions"]
    assert [(one["model"], one["dimension"], one["live"]) for one in listed] == [
        ("all-MiniLM-L6-v2", 384, False),
        ("half", 192, True),
    ]
    assert "half" in own("editions", "list").stdout
    error = own("ask", QUESTION, code=1).stderr
    assert "embedded with 'half'" in error
    assert "reindex" in error
    own("editions", "rollback")
    own("ask", QUESTION)
    assert "embedded with 'half'" in own("editions", "switch", "2", code=1).stderr
    assert live(own) == 1
    own("editions", "drop", "2", "--yes")
    assert own.json("reindex")["outcome"] == "current"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["editions", "switch", "7"], "no edition 7; there are: 1"),
        (["editions", "drop", "7", "--yes"], "no edition 7; there are: 1"),
        (["editions", "drop", "1", "--yes"], "edition 1 is live; switch to another one before you drop it"),
        (["editions", "rollback"], "no edition older than the live one, 1; there is no other one"),
        (["editions", "list", "-c", "nope"], "no collection 'nope'"),
        (["reindex", "-c", "nope"], "no collection 'nope'"),
        (["reindex", "--model", "nope"], "unknown model 'nope'"),
        (["reindex", "--chunk-tokens", "3"], "--chunk-tokens 3: Input should be greater than or equal to 8"),
        (["reindex", "--keep", "2", "--drop-old"], "say only one of them"),
        (["reindex", "--no-switch", "--drop-old"], "old editions are dropped after a switch only"),
        (["reindex", "--suite", "nowhere", "--chunk-tokens", "60"], "suite 'nowhere' is no folder"),
        (["reindex", "--suite", "nowhere", "--no-switch"], "a suite decides over the switch"),
        (["eval", "suite", "--suite", "nowhere"], "suite 'nowhere' is no folder"),
        (["eval", "suite", "--suite", "nowhere", "--edition", "7"], "no edition 7"),
    ],
)
def test_bad_input_is_one_clear_line(ferry: Footnote, arguments: list[str], message: str) -> None:
    """What, which value, what to do; and nothing is changed."""
    error = ferry(*arguments, code=1).stderr
    assert message in error
    assert "Traceback" not in error
    assert [one["number"] for one in ferry.json("editions", "list")["editions"]] == [1]


def test_token_vectors_are_kept_or_not(footnote: Footnote) -> None:
    """By the setting, where no option says otherwise; which edition keeps them can be seen."""
    (footnote.folder / "a.txt").write_text("The last ferry to Skarholm leaves at 22:40 from quay 9.")
    footnote("ingest", "a.txt")
    code = footnote.json("status")["collections"][0]["token_code"]
    assert code
    report = footnote.json("reindex", "--no-token-vectors")
    assert (report["outcome"], [one["token_code"] for one in report["editions"]]) == ("switched", [code, ""])
    assert code in footnote("editions", "list").stdout
    assert "`footnote reindex -c default --token-vectors` makes them" in footnote("status").stderr
    said = footnote("ingest", "a.txt").stderr
    assert "of context, no token vectors); `footnote reindex -c default` brings it to" in said
    assert f"of context, token vectors {code})" in said
    footnote.env["FOOTNOTE_INGEST__TOKEN_VECTORS"] = "false"
    assert footnote("ingest", "a.txt").stderr == ""
    assert footnote("status").stderr == ""
    assert "of context, no token vectors) is live already" in footnote("reindex").stdout
    assert footnote.json("reindex", "--token-vectors")["edition"] == 1
    make_part_model(footnote.folder / "footnote-models", "odd", dimension=12)
    error = footnote("reindex", "--model", "odd", "--token-vectors", code=1).stderr
    assert "--token-vectors: 'odd' makes none" in error
