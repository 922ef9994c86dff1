"""One run of an evaluation as a table for people."""

from collections.abc import Iterator

from rich.table import Table
from rich.text import Text

from evals.metrics import METRICS
from evals.runner import Result


def table(result: Result) -> Table:
    """A row per mode: metrics in points (0..100) and milliseconds per query; the best of each metric is bold."""
    measured = result.evaluation
    made = Table(title=Text(f"{measured.dataset}, {measured.split}: {len(measured.queries):,} queries"))
    made.add_column("mode")
    for metric in METRICS:
        made.add_column(metric, justify="right")
    made.add_column("p50 ms", justify="right")
    made.add_column("p95 ms", justify="right")
    best = {metric: max(mode.scores.mean[metric] for mode in measured.modes) for metric in METRICS}
    for mode in measured.modes:
        values = mode.scores.mean
        cells = [
            f"[bold]{100 * values[metric]:.1f}[/]"
            if values[metric] == best[metric] and len(measured.modes) > 1
            else f"{100 * values[metric]:.1f}"
            for metric in METRICS
        ]
        made.add_row(mode.mode, *cells, f"{1000 * mode.p50:.1f}", f"{1000 * mode.p95:.1f}")
    return made


def notes(result: Result) -> Iterator[str]:
    """What the table was measured on, and what is odd about the data set."""
    size = f"{result.evaluation.documents:,} documents, {result.evaluation.chunks:,} chunks"
    if result.reused:
        yield f"{size}; index reused: corpus, embedder and chunking are unchanged"
    else:
        yield f"{size}; indexed in {result.index_seconds:.1f} s"
    yield from result.evaluation.problems
    yield f"written to {result.bundle}"
