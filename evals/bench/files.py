"""What becomes of a folder of files, whatever they are: status, reason, seconds and memory, by the real command.

    python -m evals.bench.files FOLDER [--show EXTENSION]
    python -m evals.bench.files --hostile

`--hostile` makes the files of `evals.bench.hostile` first. `--show` prints the beginning of the text of one file of
each format, or of those with one extension, to be looked at. Exits with 1 when a file is not in the ledger, or took
more than it may.
"""

import argparse
import os
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from evals.bench import hostile
from evals.bench.process_tree import Run, run
from ingest.settings import IngestSettings
from ingest.sources import discover
from retrieval.build import build_collections
from retrieval.ports import Snapshot
from retrieval.records import SourceRecord
from retrieval.settings import RetrievalSettings

COLLECTION = "files"
SHOWN = 400
"""Characters of a text that are printed."""
LATE = 2.0
"""Seconds that a file may take beyond its limit, until its worker is gone."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Ingest, look into the ledger, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--hostile", action="store_true", help="make hostile files and take those")
    parser.add_argument("--scale", type=float, default=1.0, help="of the hostile files")
    parser.add_argument("--show", nargs="?", const="*", default="", metavar="EXTENSION")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="footnote-files-") as temporary:
        folder = options.folder or Path(temporary) / "hostile"
        if options.hostile:
            list(hostile.make(folder, scale=options.scale))
        store = Path(temporary) / "data"
        ran = run(
            [sys.executable, "-m", "footnote", "ingest", folder, "--collection", COLLECTION, "--json"],
            env={**os.environ, "FOOTNOTE_RETRIEVAL__PATH": str(store), "FOOTNOTE_RETRIEVAL__STORE": "faiss"},
        )
        settings = RetrievalSettings(path=store)
        with (
            closing(build_collections(settings)) as collections,
            closing(collections.open(COLLECTION)) as opened,
            opened.snapshot() as snapshot,
        ):
            lines = snapshot.sources()
            _print_lines(lines)
            missing = _missing(folder, lines)
            if options.show:
                _show(snapshot, lines, options.show)
        return _verdict(ran, lines, missing)


def _print_lines(lines: Sequence[SourceRecord]) -> None:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for line in lines:
        counts[_extension(line)][f"{line.status} {line.reason}".strip()] += 1
    for extension, outcomes in sorted(counts.items()):
        print(f"{extension or '(none)':12} " + ", ".join(f"{n} {what}" for what, n in sorted(outcomes.items())))
    for line in lines:
        if line.status != "ingested":
            print(f"  {line.status:12} {line.reason:14} {_seconds(line):6.1f} s  {line.error[:150]!r}")
    print("slowest:")
    for line in sorted(lines, key=_seconds, reverse=True)[:5]:
        print(f"  {_seconds(line):6.1f} s  {line.size:12,} bytes  {line.source_uri[-60:]!r}  {line.status}")


def _show(snapshot: Snapshot, lines: Sequence[SourceRecord], wanted: str) -> None:
    shown: Counter[str] = Counter()
    for line in lines:
        extension = _extension(line)
        if line.status != "ingested" or not line.chunks:
            continue
        if extension == wanted or (wanted == "*" and not shown[extension]):
            shown[extension] += 1
            document = snapshot.document(line.doc_id)
            print(f"\n=== {line.source_uri[-80:]} ({line.media_type}, {line.chunks} chunks, {line.parser})")
            print(f"{document.title!r} {dict(document.metadata)!r}\n{document.text[:SHOWN]}")


def _missing(folder: Path, lines: Sequence[SourceRecord]) -> list[str]:
    known = {line.source_uri for line in lines}
    with closing(discover([folder], settings=IngestSettings())) as sources:
        return [source.uri for source in sources if source.uri not in known]


def _verdict(ran: Run, lines: Sequence[SourceRecord], missing: Sequence[str]) -> int:
    limits = IngestSettings()
    statuses = Counter(line.status for line in lines)
    slow = [line for line in lines if _seconds(line) > limits.parse_seconds + LATE]
    megabytes = [peak // 2**20 for peak in (ran.peaks.child, ran.peaks.root, ran.peaks.tree)]
    print(f"\n{len(lines)} lines: " + ", ".join(f"{n} {status}" for status, n in statuses.most_common()))
    print(f"{ran.seconds:.0f} s, exit code {ran.returncode}; peak MB: worker {megabytes[0]}, command {megabytes[1]}, "
          f"all {megabytes[2]}")  # fmt: skip
    print(f"not in the ledger: {len(missing)} {missing[:5]}; beyond {limits.parse_seconds:.0f} s: {len(slow)}")
    crashed = ran.returncode not in (0, 3)
    if crashed:
        print(ran.stderr[-2000:])
    too_much = ran.peaks.child > limits.worker_memory_bytes
    return int(bool(missing or slow or crashed or too_much))


def _seconds(line: SourceRecord) -> float:
    return sum(seconds for stage, seconds in line.seconds if stage != "embed")


def _extension(line: SourceRecord) -> str:
    return PurePosixPath(unquote(line.source_uri, errors="replace")).suffix.lower()


if __name__ == "__main__":
    sys.exit(main())
