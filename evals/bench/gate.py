"""Shows that the regression gate does what it is for: it sees known damage, and is silent where there is none.

    python -m evals.bench.gate --dataset FOLDER [--pairs 200] [--builds 21]

FOLDER is in the BEIR layout; it is indexed once below --work. Every system is built from that index in a store of its
own and ranks all queries by the retriever of the configured defaults.

Damage, against the undamaged system, by the gate's default rules: for the default ranking, and for each half alone.

    no stemmer          terms as they are written, in documents and queries
    broken stemmer      documents' words cut off anywhere, queries' at the right place
    shuffled            half of the vectors belong to other chunks
    int4 encoder        weights of the model's matrix products rounded to 15 steps, documents and queries embedded by it
    int4 vectors        stored vectors rounded to 15 steps each

A/A pairs, in which an alarm is a false one by construction:

    rebuilt             two builds of one system, each with its own noise of the same strength on the vectors
    swapped             two unlike systems; for each query a coin decides which is called the baseline
    centred             two unlike systems; their differences less the mean, drawn anew with replacement

The first are real rankings end to end; builds are shared by several pairs. The second are what the permutation test
assumes. The third are not: differences stay as lopsided as they are, only their mean is 0, as among all queries that
could be asked. Intervals of rates are Clopper and Pearson's, 95 %.
"""

import argparse
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from evals.bench.damage import SEED, Bench, damages, noisy, open_bench, run_of
from evals.comparison.gate import GATED, compare
from evals.comparison.records import Comparison
from evals.datasets import read_dataset
from evals.indexing import indexed
from evals.runs import Run
from ingest.settings import IngestSettings
from retrieval.settings import RetrievalSettings


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("footnote-evals"))
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--builds", type=int, default=21, help="for the pairs 'rebuilt': n give n (n - 1) / 2 pairs")
    parser.add_argument("--only", choices=("damage", "pairs"), help="one of the two tables")
    options = parser.parse_args(arguments)
    dataset = read_dataset(options.dataset)
    with indexed(dataset, retrieval=RetrievalSettings(), ingest=IngestSettings(), work_path=options.work) as made:
        bench = open_bench(dataset, made)
    console = Console(width=120)
    if options.only != "pairs":
        console.print(damage_table(bench))
    if options.only != "damage":
        console.print(pairs_table(bench, pairs=options.pairs, builds=options.builds))


def damage_table(bench: Bench) -> Table:
    """A row for each damage, ranking and gated metric."""
    table = Table(title=f"{bench.dataset.name}, {len(bench.dataset.queries)} queries: known damage")
    for column in ("damage", "ranking", "metric"):
        table.add_column(column)
    for column in ("points", "95 % interval", "p, Holm", "detectable", "verdict"):
        table.add_column(column, justify="right")
    sound = {mode: bench.run(bench.sound, mode) for mode in ("default", "lexical", "dense")}
    for name, half, make in damages():
        system = make(bench)
        for mode in ("default", half):
            for row in _rows(compare(sound[mode], bench.run(system, mode), moved=0)):
                table.add_row(name, mode, *row)
    return table


def pairs_table(bench: Bench, *, pairs: int, builds: int) -> Table:
    """A row for each kind of A/A pair."""
    table = Table(title=f"{bench.dataset.name}, {len(bench.dataset.queries)} queries: A/A pairs")
    table.add_column("pairs")
    for column in ("number", "queries moved", "mean |points|", "warnings", "false alarms", "rate", "95 % interval"):
        table.add_column(column, justify="right")
    default, other = bench.run(bench.sound), bench.run(bench.sound, "rrf")
    kinds: Mapping[str, Iterator[tuple[Run, Run]]] = {
        "rebuilt": rebuilt(bench, builds),
        "swapped": swapped(bench, default, other),
        "centred": centred(bench, default, other),
    }
    for name, sides in kinds.items():
        found = [compare(first, second, moved=0) for first, second in itertools.islice(sides, pairs)]
        table.add_row(name, *_summary(found))
    return table


def rebuilt(bench: Bench, builds: int) -> Iterator[tuple[Run, Run]]:
    """Every pair of so many builds, in random order, each way round as a coin decides."""
    rng = np.random.default_rng(SEED)
    runs = [bench.run(noisy(bench, rng)) for _ in range(builds)]
    pairs = list(itertools.combinations(runs, 2))
    for index in rng.permutation(len(pairs)):
        first, second = pairs[index]
        yield (first, second) if rng.random() < 0.5 else (second, first)


def swapped(bench: Bench, first: Run, second: Run) -> Iterator[tuple[Run, Run]]:
    """Endless: which is called the baseline is thrown for each query."""
    rng = np.random.default_rng(SEED)
    while True:
        sides = {query_id: (first, second) if rng.random() < 0.5 else (second, first) for query_id in first.per_query}
        left, right = ({one: both[side].per_query[one] for one, both in sides.items()} for side in (0, 1))
        yield run_of(bench.dataset, left), run_of(bench.dataset, right)


def centred(bench: Bench, first: Run, second: Run) -> Iterator[tuple[Run, Run]]:
    """Endless: differences around their mean, drawn with replacement; the same draw for all metrics."""
    rng = np.random.default_rng(SEED)
    query_ids = list(first.per_query)
    differences = {
        metric: np.array([_value(second, one, metric) - _value(first, one, metric) for one in query_ids])
        for metric in GATED
    }
    nothing = run_of(bench.dataset, {query_id: dict.fromkeys(GATED, 0.0) for query_id in query_ids})
    while True:
        drawn = rng.integers(0, len(query_ids), len(query_ids))
        values = {metric: (found - found.mean())[drawn] for metric, found in differences.items()}
        sampled = {
            query_id: {metric: float(values[metric][row]) for metric in GATED} for row, query_id in enumerate(query_ids)
        }
        yield nothing, run_of(bench.dataset, sampled)


def _rows(found: Comparison) -> Iterator[tuple[str, ...]]:
    for metric in found.metrics:
        if metric.gated and metric.difference is not None:
            yield (
                metric.metric,
                f"{100 * metric.difference:+.2f}",
                f"{100 * (metric.low or 0.0):+.2f} to {100 * (metric.high or 0.0):+.2f}",
                f"{metric.p_adjusted:.4f}",
                f"{100 * (metric.detectable or 0.0):.2f}",
                f"{metric.outcome}",
            )


def _summary(found: Sequence[Comparison]) -> tuple[str, ...]:
    from scipy.stats import binomtest

    first = [one.metrics[0] for one in found]
    alarms = sum(one.verdict.outcome == "fail" for one in found)
    warnings = sum(one.verdict.outcome == "warn" for one in found)
    interval = binomtest(alarms, len(found)).proportion_ci()
    return (
        f"{len(found)}",
        f"{np.mean([metric.better + metric.worse for metric in first]):.0f}",
        f"{100 * np.mean([abs(metric.difference or 0.0) for metric in first]):.2f}",
        f"{warnings}",
        f"{alarms}",
        f"{alarms / len(found):.1%}",
        f"{interval.low:.1%} to {interval.high:.1%}",
    )


def _value(run: Run, query_id: str, metric: str) -> float:
    return run.per_query[query_id][metric] or 0.0


if __name__ == "__main__":
    main()
