"""A follow-up made complete in itself, by rules: the words of the conversation that it leans on are put behind it.

Historical query expansion (Yang et al. 2019, the best automatic run of TREC CAsT 2019): a question that leans on
earlier ones gets their salient words, one that stands by itself is left alone. What it was is kept word for word.
"""

import re
from collections.abc import Sequence, Set

from retrieval.queries.english import AUXILIARIES, PREPOSITIONS, QUESTION_WORDS, Word, masked, words
from retrieval.queries.leaning import leans
from retrieval.records import Turn

MAX_TURNS = 12
"""Questions that are looked back on; what was asked before those is no longer meant."""

MAX_TURN_CHARACTERS = 1_000
"""Of an earlier turn: a document that was pasted is not what the conversation is about."""

MAX_WORDS = 12
"""That are carried over: more of them bury the question itself."""


def condense(query: str, history: Sequence[Turn]) -> str:
    """`query`, with the words of `history` behind it in brackets that it needs to be understood; else unchanged."""
    context, answer = remembered(history)
    return query if _is_small_talk(query) else complete(query, context, answer=answer)


def remembered(history: Sequence[Turn]) -> tuple[str, str]:
    """The last question of the conversation, complete in itself, and what was answered to it; empty for none."""
    context, answer = "", ""
    for turn in history[-2 * MAX_TURNS :]:
        text = turn.content[:MAX_TURN_CHARACTERS].strip()
        if turn.role == "assistant":
            answer = text
        elif not _is_small_talk(text):
            context, answer = complete(text, context, answer=answer), ""
    return context, answer


def complete(query: str, context: str, *, answer: str = "") -> str:
    """`query` with the words of the question `context`, or of a list in its `answer`, that it leans on."""
    if not (context or answer) or not leans(query):
        return query
    own = words(query)
    known = {word.key for word in own}
    carried = [*_listed(query, answer), *_kept(own, words(context))]
    added = list(dict.fromkeys(word.text for word in carried if word.key not in known))[:MAX_WORDS]
    return f"{query} ({' '.join(added)})" if added else query


def _kept(own: Sequence[Word], context: Sequence[Word]) -> list[Word]:
    """The content words of `context`, without those in whose place the follow-up puts others.

    "And for Frankfurt?" after "How long is the layover in Berlin?" asks no longer for Berlin, and "Who leads it?" after
    "When does the office open?" no longer about opening.
    """
    content = [word for word in context if word.is_content]
    gone = _replaced(own, context) if _is_elliptic(own) else _verb(context)
    return [word for word in content if word not in gone]


def _is_elliptic(own: Sequence[Word]) -> bool:
    """Whether there is no question in the follow-up, but "And ...?" or "What about ...?"."""
    bare = own[2:] if [word.key for word in own[1:2]] == ["about"] else own
    return not any(word.key in QUESTION_WORDS | AUXILIARIES for word in bare)


def _replaced(own: Sequence[Word], context: Sequence[Word]) -> list[Word]:
    """The words of `context` that are of the same kind as those of the follow-up."""
    if found := _objects(context, {word.key for word in own if word.key in PREPOSITIONS - {"about"}}):
        return found
    for kind in ("exact", "is_number", "is_name"):
        # A capital at the beginning of the follow-up tells nothing, unless it is all that there is.
        if any(getattr(word, kind) and word.is_content and (i or not own[1:]) for i, word in enumerate(own)):
            return _last_run([word for word in context if getattr(word, kind) and word.is_content], context)
    return []


def _objects(context: Sequence[Word], prepositions: Set[str]) -> list[Word]:
    """The content words that follow one of the prepositions directly, or after words without content."""
    found: list[Word] = []
    within = False
    for word in context:
        within = word.key in prepositions or (
            within and word.key not in PREPOSITIONS | AUXILIARIES | QUESTION_WORDS | {"and", "or"}
        )
        if within and word.is_content:
            found.append(word)
    return found


def _last_run(chosen: Sequence[Word], context: Sequence[Word]) -> list[Word]:
    """The last of `chosen` with those right before it: "Frankfurt am Main", "MV Fulmar"."""
    run = list(chosen[-1:])
    for word in reversed(chosen[:-1]):
        if context.index(run[0]) - context.index(word) > 1:
            break
        run.insert(0, word)
    return run


def _verb(context: Sequence[Word]) -> list[Word]:
    """The main verb of "When does the office open?": it stands at the end when all before it names the subject."""
    keys = [word.key for word in context]
    asks = keys[:1] in (["what"], ["when"], ["where"], ["why"], ["how"]) and keys[1:2] in (["do"], ["does"], ["did"])
    subject = [word for word in context[2:-1] if word.key not in ("the", "a", "an", "my", "our", "your")]
    return [context[-1]] if asks and subject and all(word.is_content for word in subject) else []


_ORDINAL = re.compile(
    r"\b(?:the|your) (?P<nth>first|second|third|fourth|fifth|last)\b"
    r"(?: (?:one|option|item|point|step|way|possibility))?\W*(?:$|(?=\b(?:is|are|was|do|does|did|can|mean|work|cost)))"
    r"|\b(?:option|item|point|step|number) (?P<digit>[1-9])\b",
    re.IGNORECASE,
)
_ITEM = re.compile(
    r"(?:^[^\S\n]*(?:\d{1,2}[.)]|[-*•–])|(?<=\s)\(?\d{1,2}\))[^\S\n]+(?P<text>[^\n]+?)(?=$|\s\(?\d{1,2}\)\s)",
    re.MULTILINE,
)
_NTH = {"first": 0, "second": 1, "third": 2, "fourth": 3, "fifth": 4, "last": -1}


def _listed(query: str, answer: str) -> list[Word]:
    """The content words of the item that "the second one" is, when the answer before has a list."""
    match = _ORDINAL.search(masked(query))
    items = [found["text"] for found in _ITEM.finditer(answer)] if match else []
    if not match or not items:
        return []
    wanted = _NTH[match["nth"].casefold()] if match["nth"] else int(match["digit"]) - 1
    return [word for word in words(items[wanted]) if word.is_content] if wanted < len(items) else []


_SMALL_TALK = re.compile(
    r"\W*(?:(?:thanks?(?: you)?(?: very much| so much| a lot)?|hi|hello|hey|good (?:morning|day|evening)|ok(?:ay)?"
    r"|great|perfect|cool|got it|i see|no|yes|bye|goodbye)\W*)+",
    re.IGNORECASE,
)


def _is_small_talk(text: str) -> bool:
    return _SMALL_TALK.fullmatch(text) is not None
