"""The benchmarks run and measure what they say, on tiny input."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from evals.bench import cold_start, lexical
from evals.datasets import read_corpus, read_dataset

HANDBOOK = Path(cold_start.__file__).parents[1] / "sets" / "handbook"


def test_a_process_costs_time_and_memory() -> None:
    """A process that holds 600 MiB has a peak somewhat above; one that sleeps takes as long.

    Measured from a process of its own, since what pytest holds by now would count (see `measure`).
    """
    script = """
import os
from evals.bench.cold_start import measure
held = measure(["-c", "import time; held = b'x' * (600 << 20); time.sleep(0.2)"], dict(os.environ))
print(held.mebibytes, held.seconds)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    mebibytes, seconds = map(float, done.stdout.split())
    assert 600 < mebibytes < 650
    assert 0.2 < seconds < 20


def test_a_process_that_fails_is_not_measured() -> None:
    """A crash is an error, not a fast start."""
    with pytest.raises(RuntimeError, match="exit code 1"):
        cold_start.measure(["-c", "raise SystemExit(1)"], dict(os.environ))


def test_both_lexical_indexes_answer() -> None:
    """Ours and tantivy's give a rate and latencies over the small set."""
    pytest.importorskip("tantivy")
    lines = list(read_corpus(HANDBOOK))
    queries = [query.text for query in read_dataset(HANDBOOK, limit=3).queries]
    for rate, p50, p95 in (lexical.measure_ours(lines, queries), lexical.measure_tantivy(lines, queries)):
        assert rate > 0
        assert 0 < p50 <= p95


def test_benchmarks_import_nothing_heavy() -> None:
    """What is compared with is loaded only when it is measured."""
    code = "import sys, evals.bench.embedding, evals.bench.lexical; print({'torch', 'tantivy'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
