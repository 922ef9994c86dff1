"""Writes docs/configuration.md from the settings classes, so that the page cannot disagree with the code.

    .venv/bin/python -m docs.write_configuration

A test compares the page with what this would write.
"""

from pathlib import Path
from typing import cast

from pydantic import BaseModel

from footnote.config import Settings

PAGE = Path(__file__).with_name("configuration.md")
MEANINGS = {
    "retrieval": "Where collections live, what embeds, how rankings are fused.",
    "ingest": "Which files are read, and how they are cut into chunks.",
    "generation": "What writes the answers, and when there is none.",
    "api": "What `footnote serve` listens on, asks for and takes on.",
    "evals": "Where `footnote eval` keeps what it builds.",
}
INTRODUCTION = """# Configuration

Footnote runs without any configuration. What you set, you set in one of three places; the later ones win:

1. a file with one table per package: the one that `--config` names, else the variable `FOOTNOTE_CONFIG`, else
   `footnote.toml` in the working directory;
2. environment variables, `FOOTNOTE_<TABLE>__<NAME>`, with two underscores between table and name;
3. options of a command, where it has them.

A file:

    [retrieval]
    path = "/var/lib/footnote"

    [api]
    host = "0.0.0.0"
    api_keys = ["a-long-random-text"]

The same by environment; lists are written as JSON:

    FOOTNOTE_RETRIEVAL__PATH=/var/lib/footnote
    FOOTNOTE_API__HOST=0.0.0.0
    FOOTNOTE_API__API_KEYS='["a-long-random-text"]'

`footnote config show` prints what is in effect and where each value came from, secrets masked. A name that does not
exist, or a value out of bounds, is an error that says so; nothing is ignored.

This page is written by `docs/write_configuration.py`.
"""


def tables() -> dict[str, type[BaseModel]]:
    """The settings class of each table, in the order of the configuration."""
    return {table: cast("type[BaseModel]", field.annotation) for table, field in Settings.model_fields.items()}


def page() -> str:
    """The page as it should be."""
    parts = [INTRODUCTION]
    for table, settings in tables().items():
        rows = "\n".join(_row(name, settings) for name in settings.model_fields)
        parts.append(f"## [{table}]\n\n{MEANINGS[table]}\n\n| Setting | Default | Meaning |\n|---|---|---|\n{rows}\n")
    return "\n".join(parts)


def _row(name: str, settings: type[BaseModel]) -> str:
    field = settings.model_fields[name]
    match field.default:
        case None | () | "":
            default = "none"
        case bool(value):
            default = f"`{str(value).lower()}`"  # as TOML has it
        case value:
            default = f"`{value}`"
    return f"| `{name}` | {default} | {field.description} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
