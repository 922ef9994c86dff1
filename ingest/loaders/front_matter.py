"""The block of YAML between `---` lines that texts of many kinds begin with."""

import re

import yaml

MAX_CHARACTERS = 64 * 1024
"""A longer block between `---` lines is text."""

_BLOCK = re.compile(r"\A---[ \t]*\n(.*?\n)(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)


def split(text: str) -> tuple[str, dict[str, object]]:
    """The body of a text, and the fields of the block before it; what is no YAML mapping stays text.

    So does a block with aliases: a kilobyte of them can stand for gigabytes.
    """
    match = _BLOCK.match(text[: MAX_CHARACTERS + 100])
    if not match:
        return text, {}
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(match[1], yaml.SafeLoader)):
            return text, {}
        fields = yaml.safe_load(match[1])
    except (yaml.YAMLError, ValueError, RecursionError):
        return text, {}
    if not isinstance(fields, dict):
        return text, {}
    return text[match.end() :], {str(key): value for key, value in fields.items()}
