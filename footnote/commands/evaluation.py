"""`footnote eval run`, `footnote eval answers`, `footnote eval suite`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from footnote.commands import comparing, tuning
from footnote.commands.overrides import SetOption, with_assignments
from footnote.commands.shared import (
    DEFAULT_COLLECTION,
    CollectionOption,
    JsonOption,
    Store,
    configuration,
    console,
    open_store,
    print_json,
    with_store,
)

ExplainOption = Annotated[
    bool, typer.Option("--explain", help="Keep why each ranking is as it is, for `footnote eval compare`.")
]
OutOption = Annotated[
    Path | None, typer.Option(help="Folder of the bundle, written anew when it is there; default: below evals.path.")
]

app = typer.Typer(no_args_is_help=True, help="Measure retrieval and answers on data sets with known right answers.")


@app.command()
def run(  # noqa: PLR0913, PLR0917 - one for each option
    context: typer.Context,
    dataset: Annotated[Path, typer.Option(help="Folder with corpus.jsonl, queries.jsonl and qrels/ (BEIR layout).")],
    mode: Annotated[
        list[str] | None,
        typer.Option("--mode", "-m", help="default, dense, lexical, rrf or convex; may be repeated. Default: all."),
    ] = None,
    split: Annotated[str, typer.Option(help="Which qrels/SPLIT.tsv.")] = "test",
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many queries.")] = None,
    assignments: SetOption = None,
    keep: Annotated[
        int, typer.Option(min=10, max=100, help="Results per query in the run files; metrics are of all.")
    ] = 100,
    explain: ExplainOption = False,
    out: OutOption = None,
    store: Annotated[Store | None, typer.Option(help="Index the corpus there; default: retrieval.store.")] = None,
    json: JsonOption = False,
) -> None:
    """Rank the queries of a test collection and print nDCG, recall, MRR and MAP.

    The corpus is indexed once below evals.path, with the configured embedder and chunking, and kept for the next run;
    what was measured is saved as a bundle that `footnote eval compare` reads: TREC run files, judgements, metrics per
    query, settings, and fingerprints of corpus and queries.

    Examples:

        footnote eval run --dataset sets/scifact

        footnote eval run --dataset sets/scifact -m default -m rrf --json

        footnote eval run --dataset sets/scifact -m default --set dense_weight=0.4 --explain --out build/lighter
    """
    from evals.reports import run as report
    from evals.runner import MODES, Options
    from evals.runner import run as measure
    from footnote.progress import progress

    settings = configuration(context).settings
    with progress(quiet=json) as on_event:
        result = measure(
            dataset,
            Options(modes=mode or list(MODES), split=split, limit=limit, explain=explain, keep=keep),
            retrieval=with_assignments(with_store(settings.retrieval, store), assignments or []),
            ingest=settings.ingest,
            work_path=settings.evals.path,
            out=out,
            on_event=on_event,
        )
    if json:
        print_json({"bundle": result.bundle, **result.index})
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


@app.command()
def suite(
    context: typer.Context,
    suite: Annotated[
        Path,
        typer.Option(
            help="Folder with queries.jsonl and qrels/test.tsv, whose corpus-ids name documents; or a JSONL file with "
            '{"question": ..., "sources": [...]} a line.'
        ),
    ],
    collection: CollectionOption = DEFAULT_COLLECTION,
    edition: Annotated[int | None, typer.Option(help="Number of the edition; default: the live one.")] = None,
    assignments: SetOption = None,
    explain: ExplainOption = False,
    out: OutOption = None,
    json: JsonOption = False,
) -> None:
    """Ask a suite of questions about a collection of your own, and print nDCG, recall, MRR and MAP.

    A corpus-id or source is a document's id, its source's URI, its path, or as much of the path's end as is unique.
    What was measured is saved as a bundle, as by `footnote eval run`.

    Examples:

        footnote eval suite --suite suites/filings -c filings

        footnote eval suite --suite questions.jsonl -c filings --edition 1 --json
    """
    from evals.bundle import check_place, results_folder, write_bundle
    from evals.metrics import METRICS
    from evals.suite import as_json, evaluate, read_suite
    from generation.build import build_retriever
    from retrieval.build import build_embedders

    configured = configuration(context).settings
    if out:
        check_place(out)
    settings = with_assignments(configured.retrieval, assignments or [])
    with open_store(settings, collection) as store, store.snapshot(edition=edition) as snapshot:
        found = read_suite(suite, snapshot)
        retriever = build_retriever(store, build_embedders(settings), settings, configured.generation)
        evaluation = evaluate(found, retriever, snapshot, explain=explain)
        info = snapshot.info
    bundle = out or results_folder(configured.evals.path, evaluation)
    write_bundle(evaluation, bundle)
    scores = evaluation.modes[0].scores
    lacking = info.documents - info.edition.documents
    if json:
        where = {"collection": collection, "edition": info.edition.number, "unindexed": lacking, "bundle": bundle}
        print_json({**where, **as_json(scores, found)})
        return
    from rich.table import Table

    table = Table(title=f"{collection}, edition {info.edition.number}: {len(found.queries):,} queries")
    for metric in METRICS:
        table.add_column(metric, justify="right")
    table.add_row(*(f"{100 * scores.mean[metric]:.1f}" for metric in METRICS))
    console().print(table)
    notes = console(stderr=True)
    if found.left_out:
        notes.print(f"{found.left_out:,} queries have no relevant document and were left out")
    if lacking:
        notes.print(f"{lacking:,} documents are not indexed in this edition and cannot be found")
    notes.print(f"written to {bundle}", markup=False)


app.command("compare")(comparing.compare)
app.command("tune")(tuning.tune)
