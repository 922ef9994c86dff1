"""`footnote explain`, and what `footnote search --explain` shows of a ranking."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

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
    from rich.table import Table

    from retrieval.explanation import CandidateTrace, Explanation
    from retrieval.inquiry import Inquiry
    from retrieval.records import Retrieval

_REASONS = {"k": "by k", "per-document": "by the cap per document", "duplicates": "near-identical"}
"""Words for what takes candidates out, where its name is not one."""
_SHOWN_TERMS = 12
_TERM_CHARACTERS = 40
_RANK_AND_SCORE = 14
"""Characters that the first two columns take."""


def explain(
    context: typer.Context,
    query: Annotated[str, typer.Option("--query", "-q", help="What is looked for.")],
    doc: Annotated[
        str, typer.Option("--doc", "-d", help="The document: its doc_id, source URI, path, or the end of its path.")
    ],
    collection: CollectionOption = DEFAULT_COLLECTION,
    k: Annotated[int, typer.Option("-k", help="Among how many results it should be.")] = 5,
    filter: FilterOption = None,
    json: JsonOption = False,
) -> None:
    """Say why a document is, or is not, among the first results of a query.

    Examples:

        footnote explain --query "notice period" --doc contracts/2024.pdf

        footnote explain -q "net sales" -d 09664749a9dc165f -c filings -k 10 -f '{"year": 2023}' --json
    """
    from generation.build import build_retriever
    from ingest.naming import find
    from retrieval.build import build_embedders
    from retrieval.inquiry import absent, inquire
    from retrieval.retriever import check_query

    settings = configuration(context).settings
    node = parse_filter(filter)
    check_query(query, k)
    with open_store(settings.retrieval, collection) as store, store.snapshot() as snapshot:
        named = find(snapshot, doc)
        if named.document is not None:
            embedders = build_embedders(settings.retrieval)
            retriever = build_retriever(store, embedders, settings.retrieval, settings.generation)
            found = inquire(retriever, snapshot, query, named.document, source=named.source, k=k, filter=node)
        elif named.source is not None:
            found = absent(query, named.source, k=k)
        else:
            raise InvalidRequest(f"{doc!r} names nothing; give a doc_id, a source's URI or a path")
    if json:
        print_json({"collection": collection, **asdict(found)})
    else:
        if found.query != query:
            console(stderr=True).print(f"searched for: {found.query}", markup=False)
        _print_inquiry(found)


def print_stages(found: "Retrieval") -> None:
    """For each result its rank and score by stage and its terms; below, what took out the other candidates."""
    explanation = found.explanation
    if explanation is None or not explanation.candidates:
        return
    terminal = console()
    for stages in _columns(explanation, terminal.width):
        terminal.print("score (rank) in each stage", style="dim")
        terminal.print(_stages_table(explanation, stages))
        terminal.print()
    # No title of the table, which would be broken into lines where the table is narrow.
    terminal.print("what each term adds to the BM25 score", style="dim")
    terminal.print(_terms_table(explanation))
    terminal.print()
    counted = [f"{count:,} {_REASONS.get(by, f'by {by}')}" for by, count in explanation.left_out().items()]
    total = len(explanation.candidates)
    results = sum(trace.rank is not None for trace in explanation.candidates)
    left = f"; left out: {', '.join(counted)}" if counted else ""
    terminal.print(f"{results} of {total:,} candidates are results{left}")


def _columns(explanation: "Explanation", width: int) -> list[list[str]]:
    """The stages, so many at a time as fit into lines of `width` characters."""
    groups: list[list[str]] = []
    left = 0
    for stage in explanation.stages:
        scored = [one for trace in _results(explanation) for one in trace.stages if one.stage == stage]
        needed = 2 + max(len(stage), *(len(f"{one.score:.3f} ({one.rank})") for one in scored), 1)
        if needed > left:
            groups.append([])
            left = width - _RANK_AND_SCORE
        groups[-1].append(stage)
        left -= needed
    return groups


def _stages_table(explanation: "Explanation", shown: Sequence[str]) -> "Table":
    """A row for each result, a column for each stage: the score there, and the rank."""
    table = _table("#", "score", *shown)
    for trace in _results(explanation):
        stages = {one.stage: f"{one.score:.3f} [dim]({one.rank})[/]" for one in trace.stages}
        cells = (stages.get(stage, "[dim]-[/]") for stage in shown)
        table.add_row(str(trace.rank), f"{trace.score or 0.0:.3f}", *cells)
    return table


def _terms_table(explanation: "Explanation") -> "Table":
    from rich.markup import escape

    table = _table("#", left=("term",))
    for trace in _results(explanation):
        held = [f"{escape(_shortened(term))} {added:.2f}" for term, added in [*trace.terms.items()][:_SHOWN_TERMS]]
        more = f" and {len(trace.terms) - _SHOWN_TERMS} more" * (len(trace.terms) > _SHOWN_TERMS)
        table.add_row(str(trace.rank), ", ".join(held) + more if held else "[dim]none[/]")
    return table


def _results(explanation: "Explanation") -> "list[CandidateTrace]":
    return [trace for trace in explanation.candidates if trace.rank is not None]


def _print_inquiry(found: "Inquiry") -> None:
    from rich.markup import escape

    terminal = console()
    for note in found.notes:
        console(stderr=True).print(note, markup=False)
    if found.document is not None:
        title = f"[bold]{escape(found.document.title)}[/]  [dim]{escape(found.document.source_uri)}[/]"
        terminal.print(title, soft_wrap=True)
    elif found.source is not None:
        terminal.print(f"[bold]{escape(found.source.source_uri)}[/]", soft_wrap=True)
    for sentence in found.sentences:
        terminal.print(sentence, markup=False)
    for table in (_steps_table(found), _searches_table(found), _compared_terms(found)):
        if table is not None:
            terminal.print()
            terminal.print(table)


def _steps_table(found: "Inquiry") -> "Table | None":
    """Stage by stage, the document's chunk and the last result."""
    if not found.steps:
        return None
    last = [f"result {found.last.rank}", "rank"] if found.last else []
    table = _table("its score", "its rank", *last, left=("stage",), first=True)
    for step in found.steps:
        own = _number(step.score), _rank(step.rank)
        table.add_row(step.stage, *own, *([_number(step.last_score), _rank(step.last_rank)] if last else []))
    return table


def _searches_table(found: "Inquiry") -> "Table | None":
    """Where the searches have the document that did not come through all of them."""
    ranked = {step.stage for step in found.steps if step.rank is not None}
    searches = [search for search in found.searches if search.stage not in ranked]
    if not searches:
        return None
    table = _table("its score", "its rank", "last candidate", "rank", left=("search", "best chunk"), first=True)
    for search in searches:
        rank = f"{search.rank:,}" if search.rank else f"> {search.depth:,}" if search.score else "[dim]-[/]"
        last = _number(search.last_score), _rank(search.candidates or None)
        table.add_row(search.stage, search.chunk_id, _number(search.score), rank, *last)
    return table


def _compared_terms(found: "Inquiry") -> "Table | None":
    if not found.terms or (found.chunk is None and not found.searches):
        return None
    from rich.markup import escape

    last = [f"result {found.last.rank}"] if found.last else []
    table = _table("idf", "in chunks", "it adds", *last, left=("term",), first=True)
    for term in found.terms[: 2 * _SHOWN_TERMS]:
        added = [f"{value:.2f}" if value else "[dim]-[/]" for value in (term.adds, term.last_adds)]
        table.add_row(escape(_shortened(term.term)), f"{term.idf:.2f}", f"{term.chunks:,}", *added[: 1 + len(last)])
    return table


def _table(*right: str, left: Sequence[str] = (), first: bool = False) -> "Table":
    """Columns of numbers to the right; those of words before them when `first`, else behind."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    columns = [(name, "right") for name in right]
    words = [(name, "left") for name in left]
    for name, justify in [*words, *columns] if first else [*columns, *words]:
        table.add_column(name, justify="right" if justify == "right" else "left", overflow="fold")
    return table


def _shortened(term: str) -> str:
    return term if len(term) <= _TERM_CHARACTERS else term[: _TERM_CHARACTERS - 3] + "..."


def _number(value: float | None) -> str:
    return "[dim]-[/]" if value is None else f"{value:.3f}"


def _rank(value: int | None) -> str:
    return "[dim]-[/]" if value is None else f"{value:,}"
