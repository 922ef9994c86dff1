"""The real command, as a process of its own, in a folder of its own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts what it puts into the background like this, and commands inherit it: Ctrl-C would not reach them.
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Footnote:
    """Runs `footnote` in `folder`; nothing of the caller's configuration gets in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("FOOTNOTE_")}
        self.env["FOOTNOTE_RETRIEVAL__PATH"] = str(folder / "data")
        self.env["COLUMNS"] = "100"
        self.module = "footnote"

    def __call__(self, *arguments: str | Path, code: int = 0, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        """One run, which must end with exit code `code`."""
        done = subprocess.run(
            [sys.executable, "-m", self.module, *map(str, arguments)],
            cwd=self.folder, env=self.env, input=stdin, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, *arguments: str | Path, code: int = 0, stdin: str = "") -> Any:
        """What one run prints with --json; of a stream of events the last, which is the report."""
        printed = self(*arguments, "--json", code=code, stdin=stdin).stdout
        return json.loads(printed.splitlines()[-1] if arguments[0] in ("ingest", "retry") else printed)


@pytest.fixture(scope="session")
def make_footnote(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Footnote]:
    return lambda: Footnote(tmp_path_factory.mktemp("work"))


@pytest.fixture
def footnote(make_footnote: Callable[[], Footnote]) -> Footnote:
    """One with nothing in it."""
    return make_footnote()


@pytest.fixture(scope="session")
def ferry(make_footnote: Callable[[], Footnote]) -> Footnote:
    """One with the example documents in the collection `default`; for tests that only read."""
    made = make_footnote()
    made("ingest", ROOT / "examples" / "skerry-line")
    return made
