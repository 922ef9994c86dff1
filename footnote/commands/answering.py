"""`footnote search`, `footnote ask`, `footnote verify`."""

import json as jsonlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from footnote.commands.explaining import print_stages
from footnote.commands.shared import (
    DEFAULT_COLLECTION,
    CollectionOption,
    FilterOption,
    JsonOption,
    configuration,
    console,
    open_store,
    parse_filter,
    print_json,
)
from retrieval.errors import InvalidRequest

if TYPE_CHECKING:
    from generation.records import Answer, Citation
    from retrieval.records import ScoredChunk

EXIT_DECLINED = 4
EXIT_UNVERIFIED = 5


def search(
    context: typer.Context,
    query: Annotated[str, typer.Argument(help="What to look for.")],
    collection: CollectionOption = DEFAULT_COLLECTION,
    k: Annotated[int, typer.Option("-k", help="How many chunks.")] = 5,
    filter: FilterOption = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say why: rank and score in each stage, matched terms, what was left out.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Show the chunks that match a query best.

    Examples:

        footnote search "notice period"

        footnote search "net sales" -c filings -k 10 -f '{"year": 2023}' --json

        footnote search "notice period" --explain
    """
    from generation.build import build_retriever
    from generation.serialize import explanation_to_dict, plan_to_dict, scored_chunk_to_dict
    from retrieval.build import build_embedders

    settings = configuration(context).settings
    with open_store(settings.retrieval, collection) as store:
        embedders = build_embedders(settings.retrieval)
        retriever = build_retriever(store, embedders, settings.retrieval, settings.generation)
        found = retriever.retrieve(query, k=k, filter=parse_filter(filter), explain=explain)
    if json:
        why = {"explanation": explanation_to_dict(found.explanation)} if found.explanation else {}
        print_json(
            {
                "query": query,
                "collection": collection,
                "results": [scored_chunk_to_dict(scored) for scored in found.chunks],
                "timings": dict(found.timings),
                "plan": plan_to_dict(found.plan, query),
                "notes": list(found.notes),
                **why,
            }
        )
        return
    for rank, scored in enumerate(found.chunks, start=1):
        _print_result(rank, scored)
    print_stages(found)
    for note in found.notes:
        console(stderr=True).print(note, markup=False, highlight=False)
    if not found.chunks:
        console(stderr=True).print("nothing found")


def ask(
    context: typer.Context,
    question: Annotated[str, typer.Argument(help="What you want to know.")],
    collection: CollectionOption = DEFAULT_COLLECTION,
    k: Annotated[int | None, typer.Option("-k", help="How many chunks to answer from.")] = None,
    filter: FilterOption = None,
    history: Annotated[
        Path | None,
        typer.Option(
            "--history",
            help='What was said before, oldest first: a JSON file [{"role": "user", "content": "..."}, ...] '
            "('-' for stdin).",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Answer a question from a collection, with footnotes; exit code 4 when the documents do not answer it.

    Examples:

        footnote ask "How long is the notice period?"

        footnote ask "What were net sales?" -c filings -f '{"company": "AMZN"}' --json > answer.json

        footnote ask "And for contractors?" --history said.json
    """
    from generation.build import build_answerer, build_retriever
    from generation.serialize import answer_to_dict, turns_from_list
    from retrieval.build import build_embedders

    settings = configuration(context).settings
    said = turns_from_list(_read_json(history, want="a list of turns")) if history else ()
    with open_store(settings.retrieval, collection) as store:
        embedders = build_embedders(settings.retrieval)
        retriever = build_retriever(store, embedders, settings.retrieval, settings.generation)
        answerer = build_answerer(retriever, settings.generation)
        answer = answerer.answer(question, k=k, filter=parse_filter(filter), history=said)
    if json:
        print_json(answer_to_dict(answer))
    else:
        for line in [f"searched for: {text}" for text in _planned(answer)] + list(answer.notes):
            console(stderr=True).print(line, markup=False, highlight=False)
        _print_answer(answer)
    if answer.status == "declined":
        raise typer.Exit(EXIT_DECLINED)


def verify(
    context: typer.Context,
    answer: Annotated[Path, typer.Argument(help="An answer as `footnote ask --json` prints it; '-' for stdin.")],
    collection: Annotated[
        str | None, typer.Option("--collection", "-c", help="Which collection; default: the answer's own.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Check every footnote of an answer against the stored documents; no model is involved.

    Exit code 5 when a quote is not verbatim at its place in the cited version.

    Examples:

        footnote ask "How long is the notice period?" --json > answer.json; footnote verify answer.json
    """
    from dataclasses import asdict

    from generation.serialize import answer_from_dict
    from generation.verify import verify as check

    settings = configuration(context).settings
    given = answer_from_dict(_read_json(answer, want="what `footnote ask --json` printed"))
    with open_store(settings.retrieval, collection or given.collection) as store, store.snapshot() as snapshot:
        report = check(given, snapshot)
    if json:
        print_json({"ok": report.ok, **asdict(report)})
    else:
        for problem in report.problems:
            where = f"sentence {problem.sentence}, citation {problem.citation}: " if problem.sentence else ""
            typer.echo(f"{where}{problem.reason}")
        typer.echo(f"{report.checked} citations checked, {len(report.problems)} problems")
    if not report.ok:
        raise typer.Exit(EXIT_UNVERIFIED)


def _read_json(path: Path, *, want: str) -> object:
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
        return jsonlib.loads(text)
    except OSError as exc:
        raise InvalidRequest(f"{str(path)!r} cannot be read: {exc.strerror}") from exc
    except (ValueError, RecursionError) as exc:
        raise InvalidRequest(f"{str(path)!r} is not JSON: {exc}; give {want}") from exc


def _print_result(rank: int, scored: "ScoredChunk") -> None:
    from rich.markup import escape

    chunk, document = scored.chunk, scored.document
    page = f", page {chunk.page}" if chunk.page else ""
    place = " > ".join(chunk.headings)
    terminal = console()
    terminal.print(f"[bold]{rank}. {escape(document.title)}[/]{page}  [dim]{scored.score:.3f}[/]")
    terminal.print(f"[dim]{escape(_place(document.source_uri))}{'  ' + escape(place) if place else ''}[/]")
    terminal.print(escape(chunk.text) + "\n")


def _planned(answer: "Answer") -> list[str]:
    """What was searched for, where that is not just the question."""
    return list(answer.plan.parts or [answer.plan.query] * (answer.plan.query not in ("", answer.question)))


def _print_answer(answer: "Answer") -> None:
    from rich.markup import escape

    terminal = console()
    numbers: dict[Citation, int] = {}
    prose = []
    for sentence in answer.sentences:
        marks = [numbers.setdefault(citation, len(numbers) + 1) for citation in sentence.citations]
        prose.append(escape(sentence.text) + "".join(f"[cyan]\\[{mark}][/]" for mark in marks))
    terminal.print(" ".join(prose))
    for citation, number in numbers.items():
        page = f", page {citation.page}" if citation.page else ""
        terminal.print(f"\n[cyan]\\[{number}][/] [bold]{escape(citation.title)}[/]{page}")
        terminal.print(f'    "{escape(citation.quote)}"')
        terminal.print(f"    [dim]{escape(_place(citation.source_uri))}, characters {citation.start}-{citation.end}[/]")


def _place(uri: str) -> str:
    """A local file as a path a person can open, anything else as it is."""
    from urllib.parse import unquote

    return unquote(uri.removeprefix("file://")) if uri.startswith("file:///") else uri
