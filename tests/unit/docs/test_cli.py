"""docs/cli.md describes every command with every option, as the command itself does."""

from typing import Any

import pytest

from docs.write_cli import PAGE, commands, page

COMMANDS = dict(commands())


def test_page_is_what_the_commands_say() -> None:
    """The page is up to date; if not: `.venv/bin/python -m docs.write_cli`."""
    assert PAGE.read_text(encoding="utf-8") == page()


def test_the_commands_are_those_promised() -> None:
    """The names that scripts depend on."""
    promised = {"ingest", "status", "search", "ask", "verify", "delete", "reindex", "editions", "serve", "eval"}
    promised |= {"models", "store", "config", "receipts", "retry", "doctor", "explain"}
    assert {name.split()[1] for name in COMMANDS} == promised


@pytest.mark.parametrize(("name", "command"), COMMANDS.items())
def test_command_explains_itself(name: str, command: Any) -> None:
    """A help text with examples of its own name, a word on each parameter, and `--json`."""
    text, _, examples = command.help.partition("Examples:")
    assert text.strip()
    assert name in examples
    for parameter in command.params:
        assert parameter.name == "help" or parameter.help, f"{name}: {parameter.name} has no help"
    assert any("--json" in parameter.opts for parameter in command.params)
