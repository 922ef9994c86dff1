"""Whether a question leans on what was said before: pronouns without their noun, fragments, "what about ...".

Precise before complete: of SQuAD's 4,906 different questions, which stand by themselves or should, few are taken for
follow-ups, and most of those name "this agreement" or "he".
"""

import re
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise

from retrieval.queries.english import AUXILIARIES, FUNCTION_WORDS, PREPOSITIONS, QUESTION_WORDS, Word, masked, words

MAX_WORDS = 40
"""A question of more words says itself what it is about."""

MAX_FRAGMENT = 4
"""Words of "for dogs under five kilos?" without its adjectives."""


def leans(query: str) -> bool:
    """Whether `query` cannot be understood without what was said before: it points back, or it is a fragment."""
    found = words(query[: 40 * MAX_WORDS])
    if not found or len(found) > MAX_WORDS:
        return False
    text = masked(query[: 40 * MAX_WORDS])
    content = [word for word in found if word.is_content]
    if not content or _ABOUT.match(text):
        return True
    # "And how long is the notice period for contractors?" only begins like a continuation.
    if _CONNECTIVE.match(text) and not (len(content) >= 3 and found[1].key in QUESTION_WORDS | AUXILIARIES):
        return True
    if _is_fragment(text, found, content) or _POINTER.search(text):
        return True
    if len(content) <= 2 and _VAGUE.search(text):
        return True
    return any(not _has_antecedent(text, found, match) for match in islice(_pronouns(text), MAX_WORDS))


_ABOUT = re.compile(r"\W*(?:and |but |ok(?:ay)?,? |so )?(?:what|how) about\b", re.IGNORECASE)
_CONNECTIVE = re.compile(r"\W*(?:and|but|or|so|also|plus|then)\b(?!-),?\s", re.IGNORECASE)
_POINTER = re.compile(
    r"\b(?:this|that|these|those|which|another|other|first|second|third|last|next|previous) ones?\b(?!-| of\b)"
    r"|\b(?:this|that|these|those|the ones?)\W*$"
    r"|\bthe (?:former|latter)\b(?=\W*$| (?:one|is|are|was|were|do|does|can|has|have)\b)"
    r"|\b(?:is|are|does|do) the same (?:true|apply|go|hold)\b|\bthe same (?:for|applies|goes|holds)\b"
    r"|\bin (?:this|that|such a|which) case\W*$|\b(?:besides|apart from) (?:that|this)\b"
    r"|\bthen\W*\?$|(?<!\bis )(?<!\bare )(?<!\bwas )(?<!\bwere )(?<!\bbe )(?<!n['’]t )\bthere\W*\?$",
    re.IGNORECASE,
)
"""Words that point to something said before, whatever else the question has."""

_VAGUE = re.compile(
    r"\b(?:what|who|where|when|how|anything|anyone) else\b|\bthe ones? (?:in|from|for|on|at)\b", re.IGNORECASE
)
"""Words that do so in a question that has little else."""

_PRONOUN = re.compile(
    r"\b(?P<thing>it|they|them|he|him|she)\b"
    r"|\b(?P<owner>its|their|theirs|his|her|hers)\b(?! own\b| kind\b)"
    r"|(?P<demonstrative>(?:^|\b(?:is|are|was|were|do|does|did|can|could|will|would|should|may|must|about|for|of|with|to"
    r"|on|in|at|from|by|like|than|use|using|why|how|after|before|since) )(?:this|that|these|those)\b"
    # not "that of", "those with", "those responsible"
    r"(?! (?:of|with|who|whom|which|that|in|on|from|for|by|whose|where|when|\w+(?:ed|ible|able|ant|ent))\b))",
    re.IGNORECASE,
)
_IDLE = re.compile(
    r"it (?:takes?|costs?|took)\b(?=.* (?:to|for|until|before)\b)|did it (?:rain|snow)|it (?:rains?|snows?)\b"
    r"|(?:is|was|will|would|can|could|should|might|may)(?: it be| it) (?:\w+ly )?\w+ (?:for \w+ )?(?:to|that|if|when)\b"
    r"|it(?:'s| is| was| may be| can be)(?: not)? (?:\w+ly )?\w+ (?:to|that)\b"
    r"|(?:what (?:time|day|year)|how far) is it\b"
    r"|it means? (?:for|to|when|if|that)\b|(?:make|makes|made|find|consider)s? it (?:\w+ ){1,3}(?:to|for|that)\b"
    r"|it (?:security|support|department|policy|policies|help\s?desk|team|staff|infrastructure|systems?|services?"
    r"|equipment|managers?|admins?|administrators?|operations)\b",
    re.IGNORECASE,
)
"""Where "it" stands for nothing ("is it possible to"), and where it stands for computers."""


def _pronouns(text: str) -> Iterator[re.Match[str]]:
    """The pronouns that may point out of the question."""
    idle = [match.span() for match in _IDLE.finditer(text)]
    for match in _PRONOUN.finditer(text):
        inside = any(start <= match.start() < end for start, end in idle)
        if not (match["thing"] and (match[0] == "IT" or (inside and match[0].casefold() == "it"))):
            yield match


_BOUNDARY = re.compile(
    r"[,;:?.!–—] |\b(?:and|or|but|if|when|whenever|while|because|since|unless|until|once|after|before|although|though"
    r"|that|who|which|whether|so|as|where|how|what|why)\b",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"[.?!:]\s")
_QUESTION_STARTS = (
    QUESTION_WORDS
    | AUXILIARIES
    | PREPOSITIONS
    | frozenset("and but or so tell show give explain describe list say".split())
)
_MODAL = frozenset("can could do does did will would should must may might shall".split())
_NO_NOUN_AFTER = frozenset("i you we one people to who what not please".split())
"""Words that a verb follows."""


def _has_antecedent(text: str, found: Sequence[Word], pronoun: re.Match[str]) -> bool:
    """Whether the thing that a pronoun stands for is named before it.

    A name or an identifier will do, and a noun in a clause before: "If the pump fails, who replaces it?" has one,
    "What is the price of it?" has none. For an owner the subject of the same clause will do as well: "Can passengers
    bring their dogs?". In a text that is no question the first nouns are its subject.
    """
    before = [word for word in found if word.end <= pronoun.start()]
    things = [i for i in range(len(before)) if _may_be_thing(before, i)]
    if pronoun["demonstrative"]:
        return bool(things) and _SENTENCE_END.search(text, 0, pronoun.start()) is not None
    if any(before[i].exact or (i and before[i].is_name) for i in things):
        return True
    if things and before[0].key not in _QUESTION_STARTS:
        return True
    clauses = [match.start() for match in _BOUNDARY.finditer(text, 1, pronoun.start())]
    if clauses and any(before[i].start < clauses[-1] or pronoun["owner"] for i in things):
        return True
    return bool(pronoun["owner"]) and _has_subject(before)


def _has_subject(before: Sequence[Word]) -> bool:
    """Whether the clause names its subject: "who ...", "which airline ...", or a noun after a modal verb."""
    if before and before[0].key in ("who", "which", "what") and before[1:] and before[1].key not in AUXILIARIES:
        return before[0].key == "who" or before[1].is_content
    for word, after in pairwise(before):
        if word.key in _MODAL and before[0].key != "who":
            return after.key not in FUNCTION_WORDS or after.key in ("the", "a", "an", "all", "my", "our", "every")
    return False


def _may_be_thing(before: Sequence[Word], i: int) -> bool:
    """Whether a word may be a noun: a content word that does not stand where a verb does."""
    word, last = before[i], before[i - 1].key if i else ""
    if not word.is_content or last in _NO_NOUN_AFTER:
        return False
    if last in _MODAL and i > 1 and before[i - 2].key == "who":
        return False
    return not (word.key.endswith("ing") and last in PREPOSITIONS | {"when", "while", ""})


def _is_fragment(text: str, found: Sequence[Word], content: Sequence[Word]) -> bool:
    """Whether a question is a noun or a preposition with one: "For dogs?", "Exceptions?"; identifiers are enough."""
    if not text.rstrip().endswith("?") or len(found) > MAX_FRAGMENT or any(word.exact for word in content):
        return False
    first = found[0].key
    if first == "how" and len(found) == 2:
        return True  # "How fast?"
    if first in PREPOSITIONS:
        return not any(word.key in QUESTION_WORDS | AUXILIARIES for word in found)
    return len(content) == 1 and len(found) <= 2 and first not in QUESTION_WORDS | AUXILIARIES
