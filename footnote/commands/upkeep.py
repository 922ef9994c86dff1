"""`footnote doctor`."""

from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from footnote.commands.shared import JsonOption, configuration, console, counted, print_json
from retrieval.errors import StoreError

if TYPE_CHECKING:
    from ingest.doctor.checkup import Report

_SHOWN = 20
"""Findings of one kind that are shown to people; `--json` has all."""
UNWELL = 7
"""Exit code: something is wrong, and was not mended."""


def doctor(
    context: typer.Context,
    collection: Annotated[
        str | None, typer.Option("--collection", "-c", help="Only this one; default: all of them.")
    ] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Mend what is found.")] = False,
    json: JsonOption = False,
) -> None:
    """Compare all that the collections hold: ledger, documents, texts, chunks, vectors and every index.

    Others may read and write meanwhile. With --repair, indexes and counts are made anew from what they are of, chunks
    and vectors from the stored text; where the text itself is lost or damaged, the ledger is told that the next
    `footnote ingest` reads the source again. The exit code is 7 when something remains that is not as it should be.

    Examples:

        footnote doctor

        footnote doctor -c filings --repair --json
    """
    from ingest.doctor import checkup
    from retrieval.build import build_collections, build_embedders

    settings = configuration(context).settings.retrieval
    reports, broken = [], []
    with closing(build_collections(settings)) as collections:
        names = [collection] if collection else collections.names()
        for name in names:
            try:
                with console(stderr=True).status(f"examining {name}"):
                    reports.append(
                        checkup.repair(collections, name, build_embedders(settings))
                        if repair
                        else checkup.examine(collections, name)
                    )
            except StoreError as exc:  # it hides no other
                broken.append({"collection": name, "error": str(exc)})
                typer.echo(f"error: {exc}", err=True)
                continue
            if not json:
                _say(reports[-1], repaired=repair)
        if not names and not json:
            typer.echo(f"no collections in {collections.place()}", err=True)
    if json:
        print_json({"collections": [_as_json(report) for report in reports], "broken": broken})
    if broken:
        raise typer.Exit(1)
    if any(report.remaining for report in reports):
        raise typer.Exit(UNWELL)


def _as_json(report: "Report") -> dict[str, Any]:
    from ingest.doctor.checkup import by_kind

    return {**asdict(report), "kinds": by_kind(report.found)}


def _say(report: "Report", *, repaired: bool) -> None:
    from ingest.doctor.checkup import by_kind

    held = f"{counted(report.documents, 'document')}, {counted(report.chunks, 'chunk')}"
    if not report.found:
        typer.echo(f"{report.collection}: nothing wrong ({held}, {report.seconds:.1f} s)")
        return
    remaining = set(report.remaining)
    for kind, count in by_kind(report.found).items():
        of_kind = [finding for finding in report.found if finding.kind == kind]
        for finding in of_kind[:_SHOWN]:
            edition = f", edition {finding.edition}" if finding.edition is not None else ""
            mended = "mended: " if finding not in remaining else ""
            typer.echo(f"{report.collection}: {mended}{kind}: {finding.subject}{edition}: {finding.detail}")
        if count > _SHOWN:
            typer.echo(f"{report.collection}: {kind}: {count - _SHOWN:,} more")
    summary = (
        f"{counted(len(report.found), 'finding')}, {len(report.remaining):,} left ({held}, {report.seconds:.1f} s)"
    )
    typer.echo(f"{report.collection}: {summary}")
    if report.to_ingest:
        typer.echo(
            f"{report.collection}: {counted(len(report.to_ingest), 'source')} to be read again: run `footnote ingest` "
            "with the same sources"
        )
    if report.remaining and not repaired:
        typer.echo(f"{report.collection}: `footnote doctor --repair -c {report.collection}` mends what can be mended")
