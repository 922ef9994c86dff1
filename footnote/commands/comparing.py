"""`footnote eval compare`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from footnote.commands.shared import JsonOption, console, print_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from evals.comparison.records import Comparison

EXIT_WORSE = 6


def compare(  # noqa: PLR0913, PLR0917 - one for each option
    baseline: Annotated[Path, typer.Argument(help="A bundle's folder, a run file in one, or any TREC run file.")],
    candidate: Annotated[Path, typer.Argument(help="What may replace it, likewise.")],
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", "-m", help="A metric that may fail; repeated. Default: nDCG@10 and recall@100."),
    ] = None,
    min_effect: Annotated[
        float, typer.Option(min=0.0, max=100.0, help="Points (0..100): a smaller loss never fails.")
    ] = 1.0,
    alpha: Annotated[
        float, typer.Option(min=0.0001, max=0.5, help="Chance of a false alarm, one-sided, over all gated metrics.")
    ] = 0.025,
    moved: Annotated[int, typer.Option(min=0, help="Queries to show that changed most.")] = 10,
    qrels: Annotated[
        Path | None, typer.Option(help="Judgements of plain TREC runs: TREC's format, or BEIR's with tabs.")
    ] = None,
    allow_different_corpus: Annotated[
        bool, typer.Option("--allow-different-corpus", help="Compare although the documents are not the same.")
    ] = False,
    markdown: Annotated[Path | None, typer.Option(help="Write a report for a pull request there.")] = None,
    junit: Annotated[Path | None, typer.Option(help="Write a JUnit XML report there.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a report with plots there: one file.")] = None,
    json: JsonOption = False,
) -> None:
    """Say whether a candidate ranks worse than a baseline on the same queries: pass, warn or fail.

    A metric fails when its loss is both more than chance explains (paired permutation test, Holm's correction) and at
    least the minimum effect; one of both is a warning. Queries, judgements, values or documents that are missing or
    differ fail. docs/evaluation.md explains the statistics.

    Exit code: 0 for pass and warn, 6 for fail, 1 for what cannot be read.

    Examples:

        footnote eval compare results/before results/after

        footnote eval compare results/one/rrf.run results/one/default.run --html report.html

        footnote eval compare bm25.run ours.run --qrels qrels.tsv --metric nDCG@10 --min-effect 2 --json
    """
    from evals.comparison.gate import GATED
    from evals.comparison.gate import compare as gate
    from evals.comparison.records import Rules
    from evals.comparison.sides import open_sides

    rules = Rules(tuple(dict.fromkeys(metric or GATED)), alpha, min_effect / 100, allow_different_corpus)
    found = gate(*open_sides(baseline, candidate, qrels=qrels), rules, moved=moved)
    _write(found, {"markdown": markdown, "junit": junit, "html": html})
    if json:
        from evals.comparison.serialize import as_json

        print_json(as_json(found))
    else:
        from evals.reports import terminal

        console().print(terminal.comparison(found))
    if found.verdict.outcome == "fail":
        raise typer.Exit(EXIT_WORSE)


def _write(found: "Comparison", places: "Mapping[str, Path | None]") -> None:
    """The reports that were asked for; on stderr, where they are."""
    from importlib import import_module

    from retrieval.errors import InvalidRequest

    for kind, path in places.items():
        if path is None:
            continue
        text: str = import_module(f"evals.reports.{kind}").render(found)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as exc:
            raise InvalidRequest(f"--{kind} {str(path)!r} cannot be written: {exc.strerror}") from exc
        console(stderr=True).print(f"written to {path}", markup=False)
