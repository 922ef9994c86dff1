"""`footnote models list`, `footnote models prepare`."""

from dataclasses import asdict
from typing import Annotated

import typer

from footnote.commands.shared import JsonOption, configuration, console, print_json

app = typer.Typer(no_args_is_help=True, help="Embedding models that Footnote can use: list them, prepare others.")


@app.command("list")
def list_models(context: typer.Context, json: JsonOption = False) -> None:
    """List the models that `retrieval.model` can name: those that come with Footnote, and those prepared.

    Examples:

        footnote models list
    """
    from retrieval.embedders.manifest import list_models as find

    found = find(configuration(context).settings.retrieval.models_path)
    if json:
        print_json({"models": [asdict(manifest) for manifest in found]})
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("model", "dimension", "window", "licence", "cosine to the original"):
        table.add_column(name)
    for manifest in found:
        cosine = f"{manifest.cosine_mean:.4f} (worst {manifest.cosine_min:.4f})"
        table.add_row(manifest.name, str(manifest.dimension), str(manifest.window), manifest.licence, cosine)
    console().print(table)


@app.command()
def prepare(
    context: typer.Context,
    source: Annotated[str, typer.Argument(help="Folder of a sentence-transformers model.")],
    name: Annotated[str | None, typer.Option(help="What to call it; default: the folder's name.")] = None,
    json: JsonOption = False,
) -> None:
    """Make an 8-bit ONNX model of a sentence-transformers one, once; needs the extra `models`.

    Examples:

        footnote models prepare ~/models/bge-small-en-v1.5
    """
    from retrieval.embedders.prepare import prepare as make

    settings = configuration(context).settings.retrieval
    manifest = make(source, models_path=settings.models_path, name=name)
    if json:
        print_json(asdict(manifest))
    else:
        typer.echo(
            f"prepared {manifest.name}: cosine to the original {manifest.cosine_mean:.4f} on average, "
            f"{manifest.cosine_min:.4f} at worst; use it with retrieval.model = {manifest.name!r}"
        )
