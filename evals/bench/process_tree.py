"""Runs a command and watches the memory of all its processes, which no single number of the operating system tells."""

import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

STEP = 0.25
"""Seconds between two looks."""


@dataclass(slots=True)
class Peaks:
    """The most memory seen, in bytes."""

    tree: int = 0
    """Of all processes at one moment; pages that they share are counted once for each."""
    child: int = 0
    """Of the largest one but the command itself."""
    root: int = 0
    """Of the command itself."""


@dataclass(frozen=True, slots=True)
class Run:
    """One command that has ended."""

    returncode: int
    seconds: float
    peaks: Peaks
    stdout: str
    stderr: str


def run(command: Sequence[str | Path], *, env: dict[str, str] | None = None, timeout: float = 3600) -> Run:
    """Run `command` to its end and watch it. Raises subprocess.TimeoutExpired after killing it."""
    begin = time.perf_counter()
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    peaks = Peaks()
    watcher = threading.Thread(target=_watch, args=(process, peaks), daemon=True)
    watcher.start()
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    watcher.join()
    return Run(process.returncode, time.perf_counter() - begin, peaks, stdout, stderr)


def _watch(process: "subprocess.Popen[str]", peaks: Peaks) -> None:
    root = psutil.Process(process.pid)
    while process.poll() is None:
        total = 0
        try:
            for one in [root, *root.children(recursive=True)]:
                rss = _rss(one)
                total += rss
                if one.pid == root.pid:
                    peaks.root = max(peaks.root, rss)
                else:
                    peaks.child = max(peaks.child, rss)
        except psutil.Error:
            pass
        peaks.tree = max(peaks.tree, total)
        time.sleep(STEP)


def _rss(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0
