"""The worker of docker-compose.yml: its very script, with the real command."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import yaml

from tests.e2e.conftest import ROOT, Footnote

COMPOSE = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
WORKER = yaml.safe_load(COMPOSE)["services"]["worker"]


def test_the_worker_brings_in_what_appears(footnote: Footnote, tmp_path: Path) -> None:
    """A file that comes later is found by a later run; one that cannot be read stops nothing; SIGTERM ends it."""
    documents, commands = tmp_path / "documents", tmp_path / "bin"
    for folder in (documents, commands):
        folder.mkdir()
    install(commands)
    (documents / "broken.pdf").write_bytes(b"%PDF-1.7 and nothing else")
    (documents / "a.txt").write_text("The pump starts at noon.")
    *shell, script = in_container(WORKER["command"])
    assert "/documents" in script
    environment = {"COLLECTION": "papers", "INTERVAL": "0.1", "PATH": f"{commands}:{os.environ['PATH']}"}
    worker = subprocess.Popen(
        [*shell, script.replace("$$", "$").replace("/documents", str(documents))],
        cwd=footnote.folder, env={**footnote.env, **environment}, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_for(footnote, 1)
        (documents / "b.txt").write_text("The valve opens at night.")
        wait_for(footnote, 2)
        assert worker.poll() is None
    finally:
        os.killpg(worker.pid, signal.SIGTERM)
        worker.wait(30)


def test_any_other_command_runs_in_its_place(footnote: Footnote, tmp_path: Path) -> None:
    """As the comments of the file say: `docker compose run --rm worker footnote status`."""
    install(tmp_path)
    (typed,) = re.findall(r"docker compose run --rm worker (.*)", COMPOSE)
    done = subprocess.run(
        in_container(shlex.split(typed)), cwd=footnote.folder, capture_output=True, text=True, check=False,
        env={**footnote.env, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert (done.returncode, "no collections" in done.stderr) == (0, True), done.stderr


def in_container(command: list[str]) -> list[str]:
    """What a container runs: an entrypoint of the service stands before the command."""
    return [*WORKER["entrypoint"], *command]


def install(folder: Path) -> None:
    """The command, found on a path, as in the image."""
    (folder / "footnote").write_text(f'#!/bin/sh\nexec {sys.executable} -m footnote "$@"\n')
    (folder / "footnote").chmod(0o755)


def wait_for(footnote: Footnote, documents: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        found = footnote.json("status")["collections"]
        if found and (found[0]["name"], found[0]["documents"]) == ("papers", documents):
            return
        assert time.monotonic() < deadline, found
        time.sleep(0.2)
