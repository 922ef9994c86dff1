"""The `footnote` command: what there is and what it takes. Each command lives in footnote/commands/.

Exit codes: 0 done; 1 an error, said on stderr; 2 wrong usage; 3 some files were not ingested; 4 the question was
declined; 5 a citation or a chain of receipts did not verify; 6 a reindexed edition was worse and is not live, or an
evaluation was worse than its baseline; 7 the doctor found what is not as it should be; 130 interrupted.
"""

from pathlib import Path
from typing import Annotated

import typer

from footnote.commands import (
    answering,
    configuration,
    deletion,
    editions,
    evaluation,
    explaining,
    ingestion,
    models,
    receipts,
    reindexing,
    retrying,
    service,
    status,
    stores,
    upkeep,
)

app = typer.Typer(
    name="footnote",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Ask your documents; every sentence of an answer carries a footnote that a machine can verify.",
    epilog="Exit codes: 0 done, 1 error, 2 wrong usage, 3 some files were not ingested, 4 question declined, "
    "5 a citation or a chain of receipts did not verify, 6 a reindexed edition was worse and is not live, or an "
    "evaluation was worse than its baseline, 7 the doctor found what is not as it should be.",
)
app.command("ingest")(ingestion.ingest)
app.command("retry")(retrying.retry)
app.command("status")(status.status)
app.command("doctor")(upkeep.doctor)
app.command("search")(answering.search)
app.command("ask")(answering.ask)
app.command("explain")(explaining.explain)
app.command("verify")(answering.verify)
app.command("delete")(deletion.delete)
app.add_typer(receipts.app, name="receipts")
app.command("reindex")(reindexing.reindex)
app.add_typer(editions.app, name="editions")
app.command("serve")(service.serve)
app.add_typer(evaluation.app, name="eval")
app.add_typer(models.app, name="models")
app.add_typer(stores.app, name="store")
app.add_typer(configuration.app, name="config")


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # 25 ms that nobody else should pay

        typer.echo(f"footnote {version('footnote')}")
        raise typer.Exit


@app.callback()
def _footnote(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option(help="Configuration file; default: $FOOTNOTE_CONFIG, then ./footnote.toml.")
    ] = None,
    version: Annotated[  # noqa: ARG001 - its callback does the work
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    context.obj = config
