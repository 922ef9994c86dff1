"""The words in which Footnote declines, and those in which a model does."""

import re
from collections.abc import Sequence

from generation.evidence import Evidence
from retrieval.records import ScoredChunk

MAX_EXCERPT = 120
"""Characters of the closest sentence that a refusal shows."""


def no_evidence(collection: str, chunks: Sequence[ScoredChunk], evidence: Evidence, *, filtered: bool) -> str:
    """Why the documents do not answer: nothing found, or what the closest passage lacks."""
    if not chunks or not evidence.candidates:
        which = "that match the filter " if filtered else ""
        return f"The documents in {collection!r} {which}do not answer this: nothing near the question was found."
    best = evidence.candidates[0]
    chunk = chunks[best.source - 1].chunk
    place = chunks[best.source - 1].document.title or chunks[best.source - 1].document.source_uri
    where = f"{place}, page {chunk.page}" if chunk.page else place
    excerpt = " ".join(best.text.split())
    if len(excerpt) > MAX_EXCERPT:
        excerpt = excerpt[:MAX_EXCERPT].rsplit(" ", 1)[0] + " …"
    lack = f"does not mention {_listed(evidence.missing)}" if evidence.missing else "does not say what is asked"
    return f"The documents in {collection!r} do not answer this: the closest passage, “{excerpt}” ({where}), {lack}."


def unknown_to_model(collection: str, model: str) -> str:
    """The chat model found no answer in what it was given."""
    return f"The documents in {collection!r} do not answer this: {model} found no answer in the closest passages."


def unverified(collection: str, model: str, dropped: int) -> str:
    """The chat model wrote something, but no citation of it held."""
    count = (
        f"none of its {dropped} citations" if dropped > 1 else "its citation" if dropped else "it cited nothing that"
    )
    verb = "could be verified" if dropped != 1 else "could not be verified"
    return f"The answer that {model} wrote is withheld: {count} {verb} in the documents of {collection!r}."


def says_unknown(text: str) -> bool:
    """Whether a sentence says that there is no answer, in the words that the prompt asks for or in usual ones."""
    return _UNKNOWN.match(text) is not None


_SOURCES = r"(?:sources?|documents?|context|passages?|texts?|information|excerpts?)(?: provided| given)?"
_NOT = r"(?:(?:do|does|did|is|are) not|don['’]t|doesn['’]t|contains? no)"
_TELL = (
    r"(?:contain|mention|answer|provide|say|specify|include|state|address|give|enough|sufficient|available"
    r"|information)"
)
_UNKNOWN = re.compile(
    r"\W*(?:i (?:do not|don['’]t|cannot|can['’]t) (?:know|answer|find)|no answer\b|unknown\W*$"
    rf"|(?:unfortunately,? |sorry,? |based on [^,]{{1,60}}, )*(?:the|these|none of the|no) (?:\w+ ){{0,2}}"
    rf"{_SOURCES} {_NOT} {_TELL}"
    r"|ich wei(?:ß|ss) (?:es )?nicht|je ne sais pas|no lo sé\b)",
    re.IGNORECASE,
)


def _listed(words: Sequence[str]) -> str:
    """'a', 'a' or 'b', 'a', 'b' or 'c'; at most five."""
    quoted = [f"“{word}”" for word in words[:5]]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} or {quoted[-1]}"
