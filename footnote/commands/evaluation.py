"""`footnote eval run`, `footnote eval answers`."""

import typer

app = typer.Typer(no_args_is_help=True, help="Measure retrieval and answers on data sets with known right answers.")
