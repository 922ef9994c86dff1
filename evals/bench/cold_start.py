"""Wall time and peak memory of `footnote ask` from cold, against merely importing what others are built on.

    python -m evals.bench.cold_start --data FOLDER --collection NAME "a question"

FOLDER is the embedded store (`retrieval.path`). Each command runs several times in turn, in a fresh process, with files
in the cache; medians are printed.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

IMPORTS = ("llama_index.core", "sentence_transformers")
ACCEPTED = (0, 4)
"""Exit codes of `footnote ask`: answered, declined."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one process."""

    seconds: float
    mebibytes: float
    """Peak resident memory."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("question")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--collection", default="default")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args(arguments)
    environment = {**os.environ, "FOOTNOTE_RETRIEVAL__PATH": str(options.data.resolve())}
    ask = ["-m", "footnote", "ask", options.question, "--collection", options.collection, "--json"]
    commands = {"footnote ask": ask} | {f"import {name}": ["-c", f"import {name}"] for name in IMPORTS}
    costs: dict[str, list[Cost]] = {name: [] for name in commands}
    for turn in range(options.runs + 1):
        for name, command in commands.items():
            cost = measure(command, environment)
            if turn:  # the first turn fills the cache
                costs[name].append(cost)
    asked = statistics.median(cost.seconds for cost in costs["footnote ask"])
    for name, found in costs.items():
        seconds = statistics.median(cost.seconds for cost in found)
        memory = statistics.median(cost.mebibytes for cost in found)
        print(f"{name:30s} {seconds:6.2f} s  {memory:6.0f} MiB   footnote ask takes {asked / seconds:.2f} of it")


def measure(arguments: Sequence[str], environment: dict[str, str]) -> Cost:
    """Run Python with `arguments` in a new process. Raises RuntimeError when it fails.

    Linux counts what this process holds at the moment of forking to the peak of the child: call it from a small one.
    """
    begin = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, *arguments], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        # wait4 tells the peak of this very process; the resource module knows only the largest of all children.
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - begin
    if process.returncode not in ACCEPTED:
        raise RuntimeError(f"python {' '.join(arguments)} ended with exit code {process.returncode}")
    return Cost(seconds, usage.ru_maxrss / 1024)


if __name__ == "__main__":
    main()
