"""`footnote eval tune`."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from footnote.commands.overrides import SetOption, with_assignments
from footnote.commands.shared import JsonOption, configuration, console, print_json


def tune(  # noqa: PLR0913, PLR0917 - one for each option
    context: typer.Context,
    dataset: Annotated[
        list[Path], typer.Option(help="Folder with corpus.jsonl, queries.jsonl and qrels/ (BEIR layout); repeatable.")
    ],
    vary: Annotated[
        list[str] | None,
        typer.Option(help="Vary only this setting: NAME, or NAME=VALUE,VALUE; repeatable. Default: all that can be."),
    ] = None,
    metric: Annotated[str, typer.Option(help="What to gain in: nDCG@10, recall@10, ...")] = "nDCG@10",
    budget: Annotated[int, typer.Option(min=2, help="Settings to try.")] = 60,
    split: Annotated[str, typer.Option(help="Which qrels/SPLIT.tsv to part in two halves.")] = "test",
    tune_split: Annotated[str | None, typer.Option(help="Choose on all queries of this split instead.")] = None,
    report_split: Annotated[str | None, typer.Option(help="And judge on all queries of this one.")] = None,
    folds: Annotated[int, typer.Option(min=2, help="Of the cross-validation among the tuning queries.")] = 5,
    max_loss: Annotated[float, typer.Option(min=0, help="Points that any one data set may lose.")] = 0.5,
    min_gain: Annotated[float, typer.Option(min=0, help="Percent that a change must gain.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Of the halves and of the draw of settings.")] = 7,
    assignments: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Search for better ranking settings on one half of the queries, and judge them on the other half.

    One choice for all data sets: the best mean of relative gains for which no set loses more than --max-loss points;
    of those that chance cannot tell from the best, the one nearest to the configured settings. Corpora are indexed
    below evals.path, as by `footnote eval run`. Nothing else is changed: adopt what it prints, or keep what you have.

    Examples:

        footnote eval tune --dataset sets/scifact --dataset sets/cranfield

        footnote eval tune --dataset sets/mine --vary dense_weight=0.3,0.5,0.7 --vary fusion --json

        footnote eval tune --dataset sets/nfcorpus --tune-split dev --report-split test --budget 200
    """
    from evals.reports import tuning
    from evals.tuning import space, splits
    from evals.tuning.records import Rules
    from evals.tuning.tuner import tune as search
    from footnote.progress import progress

    if (tune_split is None) != (report_split is None):
        raise typer.BadParameter("--tune-split and --report-split go together")
    settings = configuration(context).settings
    retrieval = with_assignments(settings.retrieval, assignments or [])
    dimensions = space.parse(vary or [], retrieval)
    parted = [
        splits.by_files(folder, tune=tune_split, report=report_split)
        if tune_split and report_split
        else splits.halves(folder, split=split, seed=seed)
        for folder in dataset
    ]
    with progress(quiet=json) as on_event, _scored(quiet=json) as on_scored:
        found = search(
            parted,
            retrieval=retrieval,
            ingest=settings.ingest,
            work_path=settings.evals.path,
            dimensions=dimensions,
            rules=Rules(
                metric=metric,
                budget=budget,
                folds=folds,
                max_loss=max_loss / 100,
                min_gain=min_gain / 100,
                seed=seed,
            ),
            on_event=on_event,
            on_scored=on_scored,
        )
    if json:
        print_json(tuning.as_json(found))
        return
    console().print(tuning.table(found))


@contextmanager
def _scored(*, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Says on stderr how far the search is: on one line of a terminal, else now and then."""
    shown = -1

    def show(done: int, total: int) -> None:
        nonlocal shown
        tenth = 10 * done // max(1, total)
        if quiet or (tenth == shown and not sys.stderr.isatty()):
            return
        shown = tenth
        ending = "\r" if sys.stderr.isatty() else "\n"
        print(f"{done:,} of {total:,} rankings", end=ending, file=sys.stderr, flush=True)

    yield show
    if not quiet and sys.stderr.isatty():
        print(file=sys.stderr)
