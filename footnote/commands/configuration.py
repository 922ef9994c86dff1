"""`footnote config show`."""

from dataclasses import asdict

import typer

from footnote.commands.shared import JsonOption, configuration, console, print_json

app = typer.Typer(no_args_is_help=True, help="The configuration in force.")


@app.command()
def show(context: typer.Context, json: JsonOption = False) -> None:
    """Show every setting: its value, where it comes from, what it does. Secrets are masked.

    Examples:

        footnote config show

        FOOTNOTE_RETRIEVAL__FUSION=rrf footnote config show --json
    """
    found = configuration(context)
    if json:
        print_json({"file": found.file, "settings": [asdict(setting) for setting in found.effective()]})
        return
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("setting", "value", "from", "what it does"):
        table.add_column(name, overflow="fold")
    for setting in found.effective():
        style = "" if setting.origin == "default" else "bold"
        table.add_row(
            setting.name, escape(repr(setting.value)), setting.origin, escape(setting.description), style=style
        )
    console().print(table)
