"""`footnote serve`."""

from typing import Annotated

import typer

from footnote.commands.shared import configuration, print_json


def serve(
    context: typer.Context,
    host: Annotated[str | None, typer.Option(help="Address to listen on; default: api.host.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port; default: api.port.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the OpenAPI description instead of serving.")] = False,
) -> None:
    """Serve search and answers over HTTP, with a web page to try them, until interrupted.

    Examples:

        footnote serve

        footnote serve --host 0.0.0.0 --port 80
    """
    from api.app import create_app
    from api.build import build_services
    from api.server import serve as run

    settings = configuration(context).settings
    given = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    api = settings.api.model_copy(update=given)
    services = build_services(settings.retrieval, settings.generation)
    if json:
        print_json(create_app(services, api).openapi())
        return
    run(services, api)
