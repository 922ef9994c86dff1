"""The command line as a user meets it: real processes, real files, the real model."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT, Footnote

EXAMPLES = ROOT / "examples" / "skerry-line"
QUESTION = "How often are life jackets inspected?"
UNANSWERABLE = "Who is the chairman of the Skerry Line supervisory board?"


def test_ask_answers_with_a_footnote_that_verifies(ferry: Footnote, tmp_path: Path) -> None:
    """The sentence, its quote, the page; and `verify` agrees with it, without a model."""
    answer = ferry.json("ask", QUESTION)
    assert answer["status"] == "answered"
    citation = answer["sentences"][0]["citations"][0]
    assert citation["quote"] == "Life jackets are inspected every six months."
    assert citation["page"] == 2
    assert citation["source_uri"].endswith("/safety-manual.pdf")
    (tmp_path / "answer.json").write_text(json.dumps(answer))
    assert ferry.json("verify", tmp_path / "answer.json")["ok"] is True
    assert ferry.json("verify", "-", stdin=json.dumps(answer))["checked"] >= 1


def test_ask_prints_footnotes_under_the_answer(ferry: Footnote) -> None:
    """What a person sees: numbers in the prose, below them title, page, quote and place."""
    out = ferry("ask", QUESTION).stdout
    assert "every six months.[1]" in out.replace("\n", " ")
    assert re.search(r"^\[1\] .+, page 2$", out, re.MULTILINE)
    assert '"Life jackets are inspected every six months."' in out


def test_ask_declines_in_words_and_exits_with_4(ferry: Footnote) -> None:
    """No citation, a reason, and a code that a script can tell from an error."""
    answer = ferry.json("ask", UNANSWERABLE, code=4)
    assert answer["status"] == "declined"
    assert all(not sentence["citations"] for sentence in answer["sentences"])
    assert len(answer["text"]) > 40


def test_verify_names_what_was_tampered_with(ferry: Footnote) -> None:
    """A changed quote is found; exit code 5."""
    answer = ferry.json("ask", QUESTION)
    answer["sentences"][0]["citations"][0]["quote"] = "Life jackets are inspected every six years."
    report = ferry.json("verify", "-", code=5, stdin=json.dumps(answer))
    assert report["ok"] is False
    assert report["problems"][0]["sentence"] == 1


def test_search_shows_chunks_with_scores(ferry: Footnote) -> None:
    """Best first, with text, place and stages; a filter narrows."""
    found = ferry.json("search", "life jackets", "-k", "3")["results"]
    assert len(found) == 3
    assert "jackets" in found[0]["text"].lower()
    assert "fused" in found[0]["stages"]
    assert {"dense", "lexical"} & set(found[0]["stages"])
    only = ferry.json("search", "life jackets", "-f", '{"media_type": "text/csv"}')["results"]
    assert {result["source_uri"].rsplit(".", 1)[1] for result in only} == {"csv"}
    assert "safety" in ferry("search", "life jackets").stdout


def test_status_counts_what_there_is(ferry: Footnote) -> None:
    """Documents, chunks and model of each collection."""
    (entry,) = ferry.json("status")["collections"]
    assert (entry["name"], entry["documents"]) == ("default", len(list(EXAMPLES.iterdir())))
    assert entry["model"] == "all-MiniLM-L6-v2"
    assert "all-MiniLM-L6-v2" in ferry("status").stdout


def test_ingest_skips_what_has_not_changed(footnote: Footnote) -> None:
    """A second run embeds nothing; a changed file is replaced, and only that one."""
    papers = footnote.folder / "papers"
    papers.mkdir()
    (papers / "a.md").write_text("# Pumps\n\nThe pump starts at 40 bar.")
    (papers / "b.txt").write_text("The valve opens at noon.")
    first = footnote.json("ingest", "papers")
    assert (first["ingested"], first["unchanged"]) == (2, 0)
    again = footnote.json("ingest", "papers")
    assert (again["ingested"], again["unchanged"], again["chunks"]) == (0, 2, 0)
    (papers / "a.md").write_text("# Pumps\n\nThe pump starts at 55 bar.")
    changed = footnote.json("ingest", "papers")
    assert (changed["ingested"], changed["unchanged"]) == (1, 1)
    texts = [result["text"] for result in footnote.json("search", "at what pressure does the pump start")["results"]]
    assert "55 bar" in texts[0]
    assert not any("40 bar" in text for text in texts)


def test_ingest_records_bad_files_and_goes_on(footnote: Footnote) -> None:
    """Exit code 3; each bad file with its reason; the good ones are in; a mended file is taken the next time."""
    bad = footnote.folder / "bad"
    bad.mkdir()
    (bad / "good.txt").write_text("The pump starts at 40 bar.")
    (bad / "empty.txt").write_text("")
    (bad / "zero.docx").write_bytes(b"")
    (bad / "junk.bin").write_bytes(bytes(range(256)) * 40)
    (bad / "broken.pdf").write_bytes(b"%PDF-1.7\nthis is no PDF")
    (bad / "latin.txt").write_bytes("Die Pumpe läuft müde".encode("latin-1"))
    report = footnote.json("ingest", "bad", code=3)
    assert report["ingested"] == 2
    reasons = {failure["name"]: failure["error"] for failure in report["failures"]}
    assert reasons.keys() == {"empty.txt", "zero.docx", "junk.bin", "broken.pdf"}
    assert all(name in reason for name, reason in reasons.items())
    listed = footnote("status", "--failed").stdout
    assert all(name in listed for name in reasons)
    (bad / "empty.txt").write_text("Now with text about valves.")
    assert footnote.json("ingest", "bad", code=3)["ingested"] == 1
    assert "empty.txt" not in footnote("status", "--failed").stdout


def test_given_metadata_can_be_filtered(footnote: Footnote) -> None:
    """Numbers, booleans and lists by their spelling; changing it processes the file again."""
    (footnote.folder / "a.txt").write_text("The pump starts at 40 bar.")
    footnote("ingest", "a.txt", "-m", "year=2023", "-m", 'tags=["x","y"]', "-m", "note=plain text")
    for query in ('{"year": {"$gte": 2023}}', '{"tags": "y"}', '{"note": "plain text"}'):
        assert len(footnote.json("search", "pump", "-f", query)["results"]) == 1
    assert footnote.json("ingest", "a.txt", "-m", "year=2024")["ingested"] == 1
    assert footnote.json("search", "pump", "-f", '{"year": 2023}')["results"] == []


def test_delete_takes_a_path_an_id_or_everything(footnote: Footnote) -> None:
    """What is deleted is neither found nor listed; what is not there is an error."""
    for name in ("a", "b", "c"):
        (footnote.folder / f"{name}.txt").write_text(f"The pump {name} starts.")
    footnote("ingest", "a.txt", "b.txt", "c.txt")
    (footnote.folder / "a.txt").unlink()
    assert len(footnote.json("delete", "a.txt")["deleted"]) == 1
    doc_id = footnote.json("search", "pump b")["results"][0]["chunk_id"].split(":")[0]
    footnote("delete", doc_id)
    assert footnote.json("status")["collections"][0]["documents"] == 1
    assert "no document 'nowhere.txt'" in footnote("delete", "nowhere.txt", code=1).stderr
    footnote("delete", "--everything", code=1)  # asks, and gets no answer
    footnote("delete", "--everything", "--yes")
    assert footnote.json("status")["collections"] == []


def test_a_collection_of_an_older_version_can_be_deleted(footnote: Footnote) -> None:
    """The way out that the message tells works, and other collections are shown meanwhile."""
    (footnote.folder / "a.txt").write_text("The pump starts at 40 bar.")
    for name in ("old", "new"):
        footnote("ingest", "a.txt", "-c", name)
    with sqlite3.connect(footnote.folder / "data" / "old" / "catalog.db") as db:
        db.execute("UPDATE meta SET value = 1 WHERE name = 'schema_version'")
    status = footnote("status", code=1)
    assert "new " in status.stdout
    assert "`footnote delete --everything -c old`, then ingest again" in status.stderr
    assert "all that it holds, which cannot be read" in footnote("delete", "--everything", "-c", "old", code=1).stderr
    footnote("delete", "--everything", "-c", "old", stdin="y\n")
    assert [one["name"] for one in footnote.json("status")["collections"]] == ["new"]


def test_two_runs_write_into_one_collection_at_a_time(footnote: Footnote) -> None:
    """Both succeed, and all of both is there: neither waits for the other to end."""
    for name in ("one", "two"):
        (footnote.folder / name).mkdir()
        for i in range(40):
            text = f"The pump {i} of house {name} starts at noon."
            (footnote.folder / name / f"{i}.txt").write_text(text)
    runs = [
        subprocess.Popen(
            [sys.executable, "-m", "footnote", "ingest", name, "--json"],
            cwd=footnote.folder, env=footnote.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for name in ("one", "two")
    ]  # fmt: skip
    for run in runs:
        out, error = run.communicate(timeout=120)
        assert run.returncode == 0, error
        assert json.loads(out.splitlines()[-1])["ingested"] == 40
    (collection,) = footnote.json("status")["collections"]
    assert (collection["documents"], collection["chunks"]) == (80, 80)
    for name in ("one", "two"):
        best = footnote.json("search", f"pump 7 of house {name}", "-k", "1")["results"][0]
        assert name in best["text"]


def test_an_interrupted_run_says_how_to_go_on(footnote: Footnote) -> None:
    """Ctrl-C is no error: one line, exit code 130, and the same command finishes the work."""
    for i in range(150):
        (footnote.folder / f"{i}.txt").write_text("\n\n".join(f"Pump {n} of {i} starts at noon." for n in range(90)))
    command = [sys.executable, "-m", "footnote", "ingest", "."]
    process = subprocess.Popen(command, cwd=footnote.folder, env=footnote.env, stderr=subprocess.PIPE, text=True)
    while not list((footnote.folder / "data").glob("default/catalog.db")):
        assert process.poll() is None
        time.sleep(0.02)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    done, *rest = error.splitlines()
    assert re.fullmatch(r"[\d,]+ of [\d,]+ files are done with", done)
    assert rest == ["stopped; what was reported as done is kept, run the same command to go on"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["ingest", "nowhere/at/all"], 1, "no such file or folder: 'nowhere/at/all'"),
        (["ingest"], 2, "Missing argument"),
        (["ask", ""], 1, "has no words"),
        (["search", "  "], 1, "the query is empty"),
        (["search", "x" * 100_000], 1, "100,000 characters"),
        (["ask", "why " * 25_000], 1, "100000 characters"),
        (["search", "x", "-k", "0"], 1, "k = 0"),
        (["search", "x", "-k", "1000000"], 1, "k = 1000000"),
        (["search", "x", "-c", "nope"], 1, "no collection 'nope'"),
        (["search", "x", "-c", "../etc"], 1, "collection name '../etc'"),
        (["search", "x", "-f", "{year: 1}"], 1, "--filter is not valid JSON"),
        (["search", "x", "-f", '{"year": {"$regex": "x"}}'], 1, "unknown operator '$regex'"),
        (["search", "x", "-f", '{"yaer": 1}'], 1, "no document has the field 'yaer'"),
        (["verify", "missing.json"], 1, "'missing.json' cannot be read"),
        (["verify", "-"], 1, "is not JSON"),
        (["search", "x", "-f", '{"$not":' * 2000], 1, "--filter is not valid JSON"),
        (["delete", b"in\xff.txt"], 1, "no document 'in"),
        (["ingest", EXAMPLES, "-m", b"x=\xff"], 1, "--metadata 'x="),
        (["delete"], 1, "name the documents to delete"),
        (["frobnicate"], 2, "No such command"),
    ],
)  # fmt: skip
def test_bad_input_is_one_clear_line(ferry: Footnote, arguments: list[str | bytes], code: int, message: str) -> None:
    """What, which value, what to do; no traceback."""
    error = ferry(*map(os.fsdecode, arguments), code=code).stderr
    assert message in " ".join(error.replace("│", " ").split())
    assert "Traceback" not in error


def test_a_broken_collection_does_not_hide_the_others(footnote: Footnote) -> None:
    """What can be shown is shown; the broken one is named, with what to do."""
    (footnote.folder / "a.txt").write_text("The pump starts.")
    for name in ("good", "half"):
        footnote("ingest", "a.txt", "-c", name)
    (footnote.folder / "data" / "half" / "catalog.db").unlink()
    done = footnote("status", code=1)
    assert "good" in done.stdout
    assert "half/catalog.db is missing; restore it" in done.stderr
    assert [entry["name"] for entry in footnote.json("status", code=1)["broken"]] == ["half"]
    one = footnote("status", "--source", "a.txt", code=1)
    assert "good" in one.stdout
    assert "half/catalog.db is missing" in one.stderr


def test_the_data_folder_is_not_ingested(footnote: Footnote) -> None:
    """It may lie within the folder that is brought in, as it does by default."""
    (footnote.folder / "a.txt").write_text("The pump starts.")
    for _ in range(2):
        assert footnote.json("ingest", ".")["files"] == 1


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("FOOTNOTE_RETRIEVAL__STOER", "faiss", "'retrieval.stoer' is not a setting; did you mean 'store'?"),
        ("FOOTNOTE_RETREIVAL__STORE", "faiss", "'FOOTNOTE_RETREIVAL__STORE' names no setting"),
        ("FOOTNOTE_RETRIEVAL__CANDIDATES", "many", "FOOTNOTE_RETRIEVAL__CANDIDATES: 'retrieval.candidates'"),
        ("FOOTNOTE_RETRIEVAL__MODEL", "nope", "unknown model 'nope'"),
        ("FOOTNOTE_CONFIG", "missing.toml", "'missing.toml' cannot be read"),
    ],
)
def test_bad_settings_are_named(footnote: Footnote, variable: str, value: str, message: str) -> None:
    """A misspelt setting is never passed over."""
    (footnote.folder / "a.txt").write_text("The pump starts.")
    footnote.env[variable] = value
    error = footnote("ingest", "a.txt", code=1).stderr
    assert message.replace("'retrieval.candidates'", "retrieval.candidates") in error


def test_an_unknown_table_is_named_with_its_file(footnote: Footnote) -> None:
    """And the message names the table that was meant."""
    (footnote.folder / "footnote.toml").write_text("[retreival]\nfusion = 'rrf'\n")
    error = footnote("status", code=1).stderr
    assert "footnote.toml: 'retreival' is not a setting; did you mean 'retrieval'?" in error


def test_an_empty_variable_is_no_setting(footnote: Footnote) -> None:
    """`FOOTNOTE_RETRIEVAL__PATH=` must not make the working directory the store."""
    footnote.env["FOOTNOTE_RETRIEVAL__PATH"] = ""
    (shown,) = [s for s in footnote.json("config", "show")["settings"] if s["name"] == "retrieval.path"]
    assert (shown["value"], shown["origin"]) == ("footnote-data", "default")


def test_config_show_tells_where_values_come_from(footnote: Footnote) -> None:
    """Environment over file over default; secrets masked."""
    (footnote.folder / "footnote.toml").write_text(
        '[retrieval]\nfusion = "rrf"\ncandidates = 50\n[generation]\napi_key = "hush"\n'
    )
    footnote.env["FOOTNOTE_RETRIEVAL__CANDIDATES"] = "70"
    shown = {entry["name"]: entry for entry in footnote.json("config", "show")["settings"]}
    assert (shown["retrieval.fusion"]["value"], shown["retrieval.fusion"]["origin"]) == ("rrf", "footnote.toml")
    candidates = shown["retrieval.candidates"]
    assert (candidates["value"], candidates["origin"]) == (70, "FOOTNOTE_RETRIEVAL__CANDIDATES")
    assert shown["retrieval.k1" if "retrieval.k1" in shown else "retrieval.mode"]["origin"] == "default"
    assert "hush" not in footnote("config", "show").stdout + footnote("config", "show", "--json").stdout


def test_models_list_shows_the_shipped_model(footnote: Footnote) -> None:
    """Name, size, how near it is to the original."""
    (model,) = footnote.json("models", "list")["models"]
    assert (model["name"], model["dimension"], model["window"]) == ("all-MiniLM-L6-v2", 384, 256)
    assert model["cosine_min"] >= 0.98
    assert "apache-2.0" in footnote("models", "list").stdout


def test_version_is_the_packages(footnote: Footnote) -> None:
    """`footnote --version` names what is installed."""
    assert re.fullmatch(r"footnote \d+\.\d+\.\d+\n", footnote("--version").stdout)
