"""`footnote models list`, `footnote models prepare`."""

from dataclasses import asdict
from typing import Annotated

import typer

from footnote.commands.shared import JsonOption, configuration, console, print_json

app = typer.Typer(no_args_is_help=True, help="Models that Footnote runs itself: list them, prepare others.")


@app.command("list")
def list_models(context: typer.Context, json: JsonOption = False) -> None:
    """List the models that come with Footnote and those prepared: embedders and cross-encoders.

    An embedder is named in `retrieval.model`, a cross-encoder in `retrieval.rerank_model` with
    `retrieval.reranker = "onnx"`.

    Examples:

        footnote models list
    """
    from retrieval.embedders.manifest import list_models as find
    from retrieval.rerankers.manifest import list_cross_encoders

    models_path = configuration(context).settings.retrieval.models_path
    embedders, cross_encoders = find(models_path), list_cross_encoders(models_path)
    if json:
        of_embedders = [{"kind": "embedder", **asdict(manifest)} for manifest in embedders]
        print_json({"models": [*of_embedders, *map(asdict, cross_encoders)]})
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("model", "kind", "dimension", "window", "licence", "agreement with the original"):
        table.add_column(name)
    for one in embedders:
        agreement = f"cosine {one.cosine_mean:.4f} (worst {one.cosine_min:.4f})"
        table.add_row(one.name, "embedder", str(one.dimension), str(one.window), one.licence, agreement)
    for other in cross_encoders:
        agreement = f"rank correlation {other.correlation:.4f} (differs by {other.difference_max:.1%} of the range)"
        table.add_row(other.name, other.kind, "", str(other.window), other.licence, agreement)
    console().print(table)


@app.command()
def prepare(
    context: typer.Context,
    source: Annotated[str, typer.Argument(help="Folder of a sentence-transformers model or cross-encoder.")],
    name: Annotated[str | None, typer.Option(help="What to call it; default: the folder's name.")] = None,
    json: JsonOption = False,
) -> None:
    """Make an 8-bit ONNX model of a sentence-transformers one, once; needs the extra `models`.

    Of an embedder an embedder is made, of a cross-encoder (a classifier of pairs with one label) a reranker. The folder
    says which it is. The result is held against the original and refused when it strays.

    Examples:

        footnote models prepare ~/models/bge-small-en-v1.5

        footnote models prepare ~/models/ms-marco-MiniLM-L6-v2 --name ms-marco
    """
    from retrieval.embedders.prepare import prepare as prepare_embedder
    from retrieval.embedders.source import find_source
    from retrieval.rerankers.prepare import prepare_cross_encoder
    from retrieval.rerankers.source import is_cross_encoder

    models_path = configuration(context).settings.retrieval.models_path
    if is_cross_encoder(find_source(source)):
        ranker = prepare_cross_encoder(source, models_path=models_path, name=name)
        made = asdict(ranker)
        text = (
            f"prepared {ranker.name}: rank correlation with the original {ranker.correlation:.4f}, differs by "
            f"{ranker.difference_max:.1%} of the range at most; use it with retrieval.reranker = 'onnx' and "
            f"retrieval.rerank_model = {ranker.name!r}"
        )
    else:
        embedder = prepare_embedder(source, models_path=models_path, name=name)
        made = {"kind": "embedder", **asdict(embedder)}
        text = (
            f"prepared {embedder.name}: cosine to the original {embedder.cosine_mean:.4f} on average, "
            f"{embedder.cosine_min:.4f} at worst; use it with retrieval.model = {embedder.name!r}"
        )
    if json:
        print_json(made)
    else:
        typer.echo(text)
