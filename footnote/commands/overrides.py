"""`--set NAME=VALUE`: settings of retrieval for one run of a command."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from retrieval.errors import ConfigError

if TYPE_CHECKING:
    from retrieval.settings import RetrievalSettings

SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="A setting of retrieval for this run, e.g. dense_weight=0.4; may be repeated."),
]


def with_assignments(settings: "RetrievalSettings", assignments: Sequence[str]) -> "RetrievalSettings":
    """The settings with 'name=value' each put in place. Raises ConfigError; a value is checked as in footnote.toml."""
    from pydantic import SecretStr, ValidationError

    from footnote.config import instead_of

    fields = type(settings).model_fields
    given = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        name = name.strip().removeprefix("retrieval.")
        if name not in fields:
            raise ConfigError(f"--set {name!r} is not a setting of retrieval; {instead_of(name, fields)}")
        if not equals:
            raise ConfigError(f"--set {assignment!r}: expected NAME=VALUE, such as --set {name}={fields[name].default}")
        if fields[name].annotation is SecretStr:
            raise ConfigError(f"--set {name!r}: a secret does not belong on a command line; set it in the environment")
        given[name] = value.strip()
    try:
        return type(settings).model_validate({**dict(settings), **given})
    except ValidationError as exc:
        first = exc.errors(include_url=False)[0]
        name = str(first["loc"][0]) if first["loc"] else "?"
        raise ConfigError(f"--set {name}={given.get(name, '')}: {first['msg']}") from exc
