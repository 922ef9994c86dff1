"""Chunks to messages: the sources numbered and fenced as data, the rules of citing, ranking or planning. Pure."""

import functools
import hashlib
from collections.abc import Sequence
from importlib import resources
from string import Template

from generation.markers import escape
from generation.ports import Message
from retrieval.records import ScoredChunk, StoredChunk

Numbered = ScoredChunk | StoredChunk
"""What can be a source of a prompt."""


def messages(question: str, chunks: Sequence[ScoredChunk]) -> tuple[Message, ...]:
    """The system and the user message that ask `question` of `chunks`; `chunks[i]` is source i+1.

    The fence around a source is a code that occurs in none of the texts, and brackets that look like markers are
    escaped, so no document can end its fence or pass for another source.
    """
    texts = [scored.chunk.text for scored in chunks]
    fence = _fence(question, chunks, texts)
    return (
        Message("system", _template("system").substitute(fence=fence)),
        Message(
            "user",
            _template("user").substitute(sources=_sources(chunks, texts, fence), question=" ".join(question.split())),
        ),
    )


def ranking_messages(question: str, chunks: Sequence[StoredChunk], *, characters: int) -> tuple[Message, ...]:
    """Those that ask for the order of `chunks` by how well they answer `question`; fenced as in `messages`.

    Of each chunk's text, the first so many `characters` are shown.
    """
    texts = [stored.chunk.text[:characters] for stored in chunks]
    fence = _fence(question, chunks, texts)
    return (
        Message("system", _template("rank_system").substitute(fence=fence)),
        Message(
            "user",
            _template("rank_user").substitute(
                sources=_sources(chunks, texts, fence), question=" ".join(question.split()), count=len(chunks)
            ),
        ),
    )


def planning_messages(question: str, conversation: Sequence[str], *, parts: int) -> tuple[Message, ...]:
    """Those that ask for `question` made complete by the lines of a `conversation`, in at most so many `parts`.

    Both are fenced as sources are: what somebody typed is data here, and a conversation holds what documents say.
    """
    said, asked = "\n".join(" ".join(line.split()) for line in conversation), " ".join(question.split())
    fence = _code(f"{said}\n{asked}")
    return (
        Message("system", _template("plan_system").substitute(fence=fence, parts=parts)),
        Message("user", _template("plan_user").substitute(fence=fence, conversation=said or "(none)", question=asked)),
    )


def _sources(chunks: Sequence[Numbered], texts: Sequence[str], fence: str) -> str:
    return "\n".join(
        _template("source").substitute(number=number, fence=fence, title=escape(_title(source)), text=escape(text))
        for number, (source, text) in enumerate(zip(chunks, texts, strict=True), start=1)
    )


def _title(source: Numbered) -> str:
    """Title, headings and page on one line: white space in a title must not make lines of its own."""
    parts = [source.document.title, *source.chunk.headings]
    line = " > ".join(" ".join(part.split()) for part in dict.fromkeys(parts) if part.strip())
    return f"{line} (page {source.chunk.page})" if source.chunk.page else line


def _fence(question: str, chunks: Sequence[Numbered], texts: Sequence[str]) -> str:
    """A code that occurs in no text of this prompt."""
    titled = (f"{_title(source)}\n{text}" for source, text in zip(chunks, texts, strict=True))
    return _code("\n".join([question, *titled]))


def _code(everything: str) -> str:
    """Twelve hex digits that do not occur in a text; the same text always has the same."""
    digest = hashlib.sha256(everything.encode("utf-8", "replace")).hexdigest()
    while (code := digest[:12]) in everything:
        digest = hashlib.sha256(digest.encode()).hexdigest()
    return code


@functools.cache
def _template(name: str) -> Template:
    text = resources.files("generation").joinpath("prompts", f"{name}.txt").read_text(encoding="utf-8")
    return Template(text.rstrip("\n"))
