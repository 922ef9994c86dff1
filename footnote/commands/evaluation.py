"""`footnote eval run`, `footnote eval answers`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from footnote.commands.shared import JsonOption, Store, configuration, console, print_json, with_store

app = typer.Typer(no_args_is_help=True, help="Measure retrieval and answers on data sets with known right answers.")


@app.command()
def run(
    context: typer.Context,
    dataset: Annotated[Path, typer.Option(help="Folder with corpus.jsonl, queries.jsonl and qrels/ (BEIR layout).")],
    mode: Annotated[
        list[str] | None,
        typer.Option("--mode", "-m", help="default, dense, lexical, rrf or convex; may be repeated. Default: all."),
    ] = None,
    split: Annotated[str, typer.Option(help="Which qrels/<split>.tsv.")] = "test",
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many queries.")] = None,
    store: Annotated[Store | None, typer.Option(help="Index the corpus there; default: retrieval.store.")] = None,
    json: JsonOption = False,
) -> None:
    """Rank the queries of a test collection and print nDCG, recall, MRR and MAP.

    The corpus is indexed once below evals.path, with the configured embedder and chunking, and kept for the next run;
    runs are saved as TREC run files beside a JSON bundle with the configuration and fingerprints of corpus and queries.

    Examples:

        footnote eval run --dataset sets/scifact

        footnote eval run --dataset sets/scifact -m default -m rrf --json
    """
    from evals import report
    from evals.bundle import as_json
    from evals.runner import MODES
    from evals.runner import run as measure
    from footnote.progress import progress

    settings = configuration(context).settings
    with progress(quiet=json) as on_event:
        result = measure(
            dataset,
            retrieval=with_store(settings.retrieval, store),
            ingest=settings.ingest,
            work_path=settings.evals.path,
            modes=mode or list(MODES),
            split=split,
            limit=limit,
            on_event=on_event,
        )
    if json:
        print_json(as_json(result))
        return
    console().print(report.table(result))
    for note in report.notes(result):
        console(stderr=True).print(note, markup=False)


@app.command()
def answers(
    context: typer.Context,
    dataset: Annotated[Path, typer.Option(help="A JSON file in the layout of SQuAD 1.1 or 2.0.")],
    limit: Annotated[int, typer.Option(min=0, help="So many questions, drawn at random; 0 for all.")] = 0,
    seed: Annotated[int, typer.Option(help="Of the draw.")] = 7,
    json: JsonOption = False,
) -> None:
    """Ask the questions of a SQuAD file over all its paragraphs: how many answers hold a gold answer, and how well
    the evidence score tells answerable questions from others.

    Examples:

        footnote eval answers --dataset squad-dev-v2.0.json --limit 1000
    """
    from evals.answers import evaluate

    settings = configuration(context).settings
    result = evaluate(
        dataset,
        limit=limit,
        seed=seed,
        retrieval=settings.retrieval,
        ingest=settings.ingest,
        generation=settings.generation,
    )
    if json:
        print_json(asdict(result))
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in asdict(result).items():
        if isinstance(value, float):
            table.add_row(name, f"{value:.4f}")
        elif isinstance(value, int):
            table.add_row(name, f"{value:,}")
    console().print(table)
