"""A question of several parts taken apart, by rules: each part complete in itself. In doubt it stays whole.

A question that is not split is still searched for as a whole, and finds what its parts have in common; one that is
split wrongly searches for things that nobody asked. So a part begins where a question evidently does.
"""

import re
from collections.abc import Sequence
from itertools import pairwise

from retrieval.queries.condensation import complete
from retrieval.queries.english import masked, words

MAX_PARTS = 4
"""Of one question; what is beyond stays together in the last part."""

MAX_CHARACTERS = 2_000
"""Longer texts are no questions."""

MAX_VERSUS = 12
"""Words of a bare "A vs B"."""


def decompose(query: str, *, context: str = "") -> tuple[str, ...]:
    """The parts of `query`, 2 to `MAX_PARTS`; empty when it is one question.

    What a part leans on is put behind it in brackets, as `condensation.condense` does: the part before, and for the
    first one `context`, the question that was asked before `query`.
    """
    if len(query) > MAX_CHARACTERS:
        return ()
    blotted = masked(query)
    for rule in (_numbered, _compared, _asked):
        parts = [part for part in rule(query, blotted, context) if any(map(str.isalnum, part))]
        if len({part.casefold() for part in parts}) > 1:
            kept = parts[: MAX_PARTS - 1] + ([" ".join(parts[MAX_PARTS - 1 :])] if parts[MAX_PARTS - 1 :] else [])
            return tuple(kept)
    return ()


_MARK = re.compile(r"(?:(?<=\s)|^)\(?(?P<mark>\d|[a-h])[).](?=\s+\w)", re.MULTILINE)
_WH = r"(?:what|which|who|whom|whose|when|where|why|how)"
_AUX = (
    r"(?:is|are|was|were|do|does|did|has|have|had|can|could|may|might|must|shall|should|will|would|isn['’]t|aren['’]t"
    r"|don['’]t|doesn['’]t|didn['’]t|can['’]t|won['’]t)"
)
_QUESTION = re.compile(
    rf"\W*(?:and |also |then )?(?:{_WH}|{_AUX}|explain|describe|list|compare|tell|show)\b", re.IGNORECASE
)


def _numbered(query: str, blotted: str, context: str) -> list[str]:
    """As in "1) What ...? 2) How ...?": items counted from the first, each of them a question."""
    marks = list(_MARK.finditer(blotted))
    counted = [match["mark"] for match in marks]
    if not marks or counted not in (list("12345678"[: len(marks)]), list("abcdefgh"[: len(marks)])):
        return []
    ends = [match.start() for match in marks[1:]] + [len(query)]
    items = [query[match.end() : end].strip(" ;,\n") for match, end in zip(marks, ends, strict=True)]
    if len(items) < 2 or not all(_QUESTION.match(masked(item)) for item in items):
        return []
    return _completed(items, lead=query[: marks[0].start()], context=context)


_COMPARE = re.compile(
    r"\W*(?:please |can you |could you )*(?:compare|contrast)\s+(?P<both>.+)"
    r"|\W*(?:what(?:['’]s| is| are) the |explain the |describe the )?(?:main |key |exact )?(?:differences?|distinction)"
    r" between (?P<between>.+)"
    r"|\W*how (?:do|does|is|are) (?P<differ>.+?) (?:differ|different|compare)(?: from each other)?\W*$",
    re.IGNORECASE,
)
_TAIL = re.compile(
    r"[\s?.!]*(?P<aspect>\b(?:in terms of|with respect to|with regard to|regarding|concerning) .*?)?[\s?.!]*$"
)
_BINOMIALS = re.compile(
    r"\b(?:terms and conditions|research and development|health and safety|pros and cons|profit and loss"
    r"|black and white|trial and error|mergers and acquisitions|advantages and disadvantages|input and output"
    r"|supply and demand|rules and regulations|policies and procedures|sales and marketing|search and rescue"
    r"|command and control|read and write|questions and answers|costs? and benefits?"
    r"|do['’]?s and don['’]ts|back and forth)\b",
    re.IGNORECASE,
)
_BETWEEN_THINGS = re.compile(r"\s+(?:and|with|to|against|versus|vs\.?|from)\s+", re.IGNORECASE)
_STRONG = re.compile(r"\s+(?:with|against|versus|vs\.?|from)\s+", re.IGNORECASE)
_VERSUS = re.compile(r"\s+(?:versus|vs\.?)\s+", re.IGNORECASE)


def _compared(query: str, blotted: str, _context: str) -> list[str]:
    """The things of "Compare A and B", "the difference between A and B" or "A vs B", each with the aspect."""
    match = _COMPARE.match(blotted)
    group = next((name for name in ("both", "between", "differ") if match and match[name]), "")
    if match and group:
        start, end = match.span(group)
    elif len(_VERSUS.findall(blotted)) == 1 and len(blotted.split()) <= MAX_VERSUS and not _QUESTION.match(blotted):
        start, end = 0, len(blotted)
    else:
        return []
    tail = _TAIL.search(blotted, start, end)
    aspect = query[slice(*tail.span("aspect"))].strip() if tail and tail["aspect"] else ""
    end = tail.start() if tail else end
    things = _things(query, blotted, start, end)
    return [f"{thing} {aspect}".strip() for thing in things]


def _things(query: str, blotted: str, start: int, end: int) -> list[str]:
    """The two or more things between `start` and `end`; empty when it is not clear where one ends."""
    text = _BINOMIALS.sub(lambda match: "█" * len(match[0]), blotted[start:end])
    if _QUESTION.match(text) or re.search(r"[?.;:!]\s", text):
        return []  # "how X works and how Y works", or more than one sentence
    strong = list(_STRONG.finditer(text))
    cuts = strong if len(strong) == 1 else list(_BETWEEN_THINGS.finditer(text))
    if len(cuts) != 1:
        return []
    left, right = query[start : start + cuts[0].start()], query[start + cuts[0].end() : end]
    listed = [part for part in re.split(r",\s+", left) if part]
    things = [*listed, right] if cuts[0][0].strip().casefold() == "and" else [left, right]
    return _with_head([thing.strip(" ,") for thing in things])


_HEAD = re.compile(r"(?P<head>.{1,80}? (?:of|for|between|in|at|on|by) )(?:the |a |an )?\S", re.IGNORECASE)


def _with_head(things: list[str]) -> list[str]:
    """Carry over what stands once: "the price of A" and "B" become "the price of A" and "the price of B"."""
    first, *others = (words(thing) for thing in things)
    if len(first) == 1 and first[0].text.islower() and any(len(other) > 1 for other in others):
        return []  # "annual and parental leave": the noun stands once, behind both
    head = _HEAD.match(things[0])
    if not head or any(_HEAD.match(thing) for thing in things[1:]):
        return things if all(any(word.is_content for word in words(thing)) for thing in things) else []
    return [things[0], *(f"{head['head']}{thing}" for thing in things[1:])]


_SENTENCE_BREAK = re.compile(r"(?<=[?])[\s»”\"')]+(?=\S)|(?<=[.!])\s+(?=[A-Z█])")
_NO_NOUN = rf"(?:{_AUX}|to|the|a|an|this|that|these|those|my|our|your|his|her|its|their|i|we|you|it|he|she|they)\b"
_JOINT = re.compile(
    r"(?:\s*;\s*(?:and\s+|but\s+)?|,?\s+(?:and|but)\s+)(?:also\s+|then\s+|if\s+(?:so|not|yes),?\s+(?:then\s+)?)?"
    # "and how do I", "; where is", "and also what are": in the order of words that a question has
    rf"(?=(?P<question>{_WH}\s+(?:(?!{_NO_NOUN})[\w-]+\s+){{0,3}}{_AUX}\b|how\s+(?:to|many|much|long|often|far|old)\b"
    rf"|who\s+[a-z]|{_AUX}\s+(?:i|we|you|it|they|he|she|there|the|this|that|these|those|a|an|my|our|its|their)\b))",
    re.IGNORECASE,
)
_EMBEDDED = re.compile(rf"(?<!^)\b(?:{_WH}|that|whether|if)\b", re.IGNORECASE)
_INVERTED = re.compile(
    rf"(?:{_WH}\b.*\s(?:do|does|did|can|could|may|might|must|shall|should|will|would)|how\s+to|{_AUX}\s+\w+)$",
    re.IGNORECASE,
)


def _asked(query: str, blotted: str, context: str) -> list[str]:
    """Sentences that are questions, and questions joined by "and"; statements before them are what they are about."""
    ends = [match.span() for match in _SENTENCE_BREAK.finditer(blotted)]
    bounds = [0, *(end for _, end in ends), len(query)]
    items: list[str] = []
    lead = ""
    for start, end in pairwise(bounds):
        sentence = query[start:end].strip()
        if not _QUESTION.match(masked(sentence)) and not sentence.endswith("?"):
            if items:
                return []  # a statement after a question: nobody knows which one it belongs to
            lead = f"{lead} {sentence}".strip()
        elif _QUESTION.match(masked(sentence)):
            items.extend(_joined(sentence))
        elif items:
            items[-1] = f"{items[-1]} {sentence}"  # a tag: "..., right?"
        else:
            lead = f"{lead} {sentence}".strip()
    return _completed(items, lead=lead, context=context) if len(items) > 1 else []


def _joined(sentence: str) -> list[str]:
    """The questions that a sentence joins by "and"; the sentence alone when it is one."""
    text = masked(sentence)
    cuts = [match for match in _JOINT.finditer(text) if _begins_anew(text, match)]
    starts = [0, *(match.end() for match in cuts)]
    ends = [*(match.start() for match in cuts), len(sentence)]
    parts = [sentence[start:end] for start, end in zip(starts, ends, strict=True)]
    if not all(sum(word.is_content for word in words(part)) for part in parts[:1]) or not _QUESTION.match(text):
        return [sentence]
    return [part if part.rstrip().endswith(("?", ".", "!")) else f"{part.rstrip()}?" for part in parts]


def _begins_anew(text: str, joint: re.Match[str]) -> bool:
    """Whether a question of its own begins after the joint, and not another half of a clause before it.

    "Who decides what is allowed and what is forbidden?" asks one thing: both halves hang on "decides".
    """
    before = text[: joint.start()]
    if not any(word.is_content for word in words(before)):
        return False  # "when and where was it built?"
    first = re.match(_WH, before.strip(), re.IGNORECASE) is not None
    question = joint["question"]
    if re.match(_AUX, question, re.IGNORECASE):
        return not first and not _EMBEDDED.search(before.strip()[1:])  # "is it open and can I": both begin alike
    return _INVERTED.match(question) is not None or not _EMBEDDED.search(before.strip()[1:])


def _completed(items: Sequence[str], *, lead: str, context: str) -> list[str]:
    """The items with what they lean on: the one before, which is complete by then, or the statements ahead."""
    lead = lead.strip(" :,;-\n")
    if any(word.is_content for word in words(lead)) and not _INTRODUCTION.search(lead):
        context = complete(lead, context)
    completed: list[str] = []
    for item in items:
        bare = re.sub(r"^\W*(?:and|also|then|but)\s+", "", item.strip(), flags=re.IGNORECASE)
        context = complete(bare, context)
        completed.append(context)
    return completed


_INTRODUCTION = re.compile(r"\b(?:questions?|following|answer|these)\W*$", re.IGNORECASE)
"""Words ahead of a list of questions that say nothing of what they are about."""
