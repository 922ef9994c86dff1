"""Chunks to messages: the sources numbered and fenced as data, the rules of citing, the question. Pure."""

import functools
import hashlib
from collections.abc import Sequence
from importlib import resources
from string import Template

from generation.markers import escape
from generation.ports import Message
from retrieval.records import ScoredChunk


def messages(question: str, chunks: Sequence[ScoredChunk]) -> tuple[Message, ...]:
    """The system and the user message that ask `question` of `chunks`; `chunks[i]` is source i+1.

    The fence around a source is a code that occurs in none of the texts, and brackets that look like markers are
    escaped, so no document can end its fence or pass for another source.
    """
    fence = _fence(question, chunks)
    sources = "\n".join(
        _template("source").substitute(
            number=number,
            fence=fence,
            title=escape(_title(scored)),
            text=escape(scored.chunk.text),
        )
        for number, scored in enumerate(chunks, start=1)
    )
    return (
        Message("system", _template("system").substitute(fence=fence)),
        Message("user", _template("user").substitute(sources=sources, question=" ".join(question.split()))),
    )


def _title(scored: ScoredChunk) -> str:
    """Title, headings and page on one line: white space in a title must not make lines of its own."""
    parts = [scored.document.title, *scored.chunk.headings]
    line = " > ".join(" ".join(part.split()) for part in dict.fromkeys(parts) if part.strip())
    return f"{line} (page {scored.chunk.page})" if scored.chunk.page else line


def _fence(question: str, chunks: Sequence[ScoredChunk]) -> str:
    """Twelve hex digits that occur in no text of this prompt; the same prompt always has the same."""
    everything = "\n".join([question, *(f"{_title(scored)}\n{scored.chunk.text}" for scored in chunks)])
    digest = hashlib.sha256(everything.encode("utf-8", "replace")).hexdigest()
    while (code := digest[:12]) in everything:
        digest = hashlib.sha256(digest.encode()).hexdigest()
    return code


@functools.cache
def _template(name: str) -> Template:
    text = resources.files("generation").joinpath("prompts", f"{name}.txt").read_text(encoding="utf-8")
    return Template(text.rstrip("\n"))
