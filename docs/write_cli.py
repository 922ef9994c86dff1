"""Writes docs/cli.md from the commands themselves, so that the page cannot disagree with the code.

    .venv/bin/python -m docs.write_cli

A test compares the page with what this would write.
"""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from footnote.cli import app

PAGE = Path(__file__).with_name("cli.md")
INTRODUCTION = """# The command line

`footnote COMMAND --help` says the same as this page. Data goes to stdout, progress and errors to stderr; `--json`
prints one JSON document. `footnote --config FILE COMMAND` takes another configuration file,
`footnote --install-completion` teaches the shell to complete commands and options.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | an error, said on stderr |
| 2 | wrong usage |
| 3 | `ingest`: some files were not ingested; `footnote status --failed` lists them |
| 4 | `ask`: the documents do not answer the question |
| 5 | `verify`: a footnote does not stand where it says |
| 6 | `reindex --suite`: the new edition is worse than the live one, and was not switched to |
| 130 | interrupted |

This page is written by `docs/write_cli.py`.
"""


def commands() -> Iterator[tuple[str, Any]]:
    """Every command with its full name, groups left out."""
    yield from _below("footnote", typer.main.get_command(app))


def page() -> str:
    """The page as it should be."""
    return "\n".join([INTRODUCTION, *(section(name, command) for name, command in commands())])


def section(name: str, command: Any) -> str:
    """What there is to say of one command."""
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and p.name != "help"]
    usage = " ".join([name, "[OPTIONS]", *(_metavar(argument) for argument in arguments)])
    rows = [f"| `{_metavar(a)}` | {_cell(a.help)} |" for a in arguments]
    rows += [f"| `{', '.join([*o.opts, *o.secondary_opts])}` | {_cell(o.help)}{_default(o)} |" for o in options]
    text, _, examples = inspect.cleandoc(command.help or "").partition("Examples:")
    parts = [f"## {name}", f"    {usage}", text.strip(), "| | |\n|---|---|\n" + "\n".join(rows)]
    if examples:
        parts.append("\n".join(f"    {line.strip()}" for line in examples.splitlines() if line.strip()))
    return "\n\n".join(parts) + "\n"


def _below(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", None)
    if not children:
        yield name, command
        return
    for child in children.values():
        yield from _below(f"{name} {child.name}", child)


def _metavar(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper())


def _cell(text: str | None) -> str:
    return (text or "").replace("|", "\\|")


def _default(option: Any) -> str:
    if option.is_flag or option.default is None or callable(option.default):
        return ""
    return f" Default: `{option.default}`."


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
