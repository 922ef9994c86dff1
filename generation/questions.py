"""What a question asks for: its content terms, names and numbers, and the kind of thing that would answer it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from retrieval.analysis import Analyzer

Kind = Literal["time", "number", "person", "place", "name", "reason", "open"]


@dataclass(frozen=True, slots=True)
class Question:
    """A question, read."""

    text: str
    terms: frozenset[str]
    """Analysed content terms: question words and auxiliaries left out."""
    names: frozenset[str]
    """Terms of words that are written with a capital within the sentence."""
    numbers: frozenset[str]
    """Terms that hold a digit."""
    kind: Kind
    negated: bool
    surfaces: tuple[tuple[str, str], ...]
    """(word as written, one of its terms) in reading order."""

    def words_of(self, terms: Iterable[str]) -> tuple[str, ...]:
        """The words of the question, as written there, that have these terms."""
        wanted = set(terms)
        return tuple(dict.fromkeys(word for word, term in self.surfaces if term in wanted))

    def answered_by(self, sentence: str) -> float:
        """1 when the sentence has a thing of the kind asked for that the question does not have; 0.5 if unknown."""
        pattern = _ANSWERS.get(self.kind)
        if pattern is None:
            return 0.5
        asked = self.text.casefold()
        return float(any(match[0].casefold() not in asked for match in pattern.finditer(sentence)))


def read(text: str, analyzer: Analyzer) -> Question:
    """Read a question in any language; kinds are known for English, German, French and Spanish question words."""
    surfaces: list[tuple[str, str]] = []
    names: set[str] = set()
    for i, match in enumerate(_WORD.finditer(text)):
        word = match[0]
        if word.casefold() in _FUNCTION_WORDS:
            continue
        terms = analyzer.terms(word)
        surfaces.extend((word, term) for term in terms)
        if i and word[0].isupper():
            names.update(terms)
    terms_found = frozenset(term for _, term in surfaces) or frozenset(analyzer.terms(text))
    return Question(
        text=text,
        terms=terms_found,
        names=frozenset(names),
        numbers=frozenset(term for term in terms_found if any(character.isdigit() for character in term)),
        kind=next((kind for kind, pattern in _KINDS if pattern.search(text)), "open"),
        negated=negates(text),
        surfaces=tuple(surfaces),
    )


def negates(text: str, *, loosely: bool = False) -> bool:
    """Whether the text has a word of negation; loosely, words such as "unpaid", "lack" and "fail" are some too."""
    return _NEGATION.search(text) is not None or (loosely and _LOOSE_NEGATION.search(text) is not None)


_NEGATION = re.compile(
    r"\b(?:not|no|none|never|nor|neither|nothing|nobody|without|cannot|except|nicht|nie|kein\w*|ohne|jamais|sans|nunca"
    r"|sin)\b|n['’]t\b",
    re.IGNORECASE,
)
_LOOSE_NEGATION = re.compile(
    r"\b(?:un(?!i|der|til|less)\w{3,}|non-?\w{3,}|dis(?:allow|approv|continu|qualif)\w*|lack\w*|fail\w*|refus\w*"
    r"|reject\w*|den(?:y|ied|ies|ial)\b|absen\w*|exclud\w*|prohibit\w*|forbid\w*|except\w*|other than|only|rather|few"
    r"|instead|hardly|unless|impossible|illegal|invalid|missing)",
    re.IGNORECASE,
)
_WORD = re.compile(r"\w+(?:[-.'’/:@+#&]+\w+)*")
_FUNCTION_WORDS = frozenset(
    # English
    "what which who whom whose when where why how many much do does did done is are was were be been being am has have "
    "had having can could may might must shall should will would the a an of in on at by for from to with as and or "
    "not that this these those it its they them their there he she his her him i me my we us our you your if than "
    "then so such also about into during after before between some any please tell give name list describe explain "
    # German
    "wer wen wem wessen was wann wo wohin woher warum wieso wie viele viel welche welcher welches welchen der die das "
    "den dem des ein eine einer eines einem einen ist sind war waren wird werden wurde wurden hat haben hatte und oder "
    "von zu zum zur im am an auf bei mit für aus nach es sich nicht als "
    # French
    "qui que quoi quel quelle quels quelles quand où pourquoi comment combien est-ce le la les l un une des du de d et "
    "ou est sont était étaient a ont au aux dans par pour sur avec ce cette ces il elle ils elles "
    # Spanish
    "quién quiénes qué cuál cuáles cuándo dónde cómo cuánto cuántos cuánta cuántas el los las una unos unas del al y o "
    "en es son fue fueron era eran con su sus se por para".split()
)
_KIND_PATTERNS: tuple[tuple[Kind, str], ...] = (
    (
        "time",
        r"\bwhen\b|\b(?:what|which|in what|in which)\s+(?:\w+\s+)?(?:years?|dates?|day|month|century|decade)\b"
        r"|\bhow (?:long|old)\b|\bwann\b|\bquand\b|\bcuándo\b|\bseit wann\b|什么时候|何时|متى",
    ),
    (
        "number",
        r"\bhow (?:many|much|far|fast|tall|high|large|big|often|deep|wide|heavy)\b|\bwhat (?:is the )?(?:\w+ )?"
        r"(?:percentage|percent|number|amount|population|rate|price|cost|total)\b|\bwie ?viele?\b|\bcombien\b"
        r"|\bcuánt[oa]s?\b|多少|كم\b",
    ),
    ("person", r"\bwho(?:m|se)?\b|\bw(?:er|en|em|essen)\b|\bqui\b|\bquién(?:es)?\b|谁|\bمن\b"),
    (
        "place",
        r"\bwhere\b|\b(?:what|which) (?:\w+ )?(?:city|country|state|place|location|town|region)\b"
        r"|\bwo(?:hin|her)?\b|\boù\b|\bdónde\b|哪里|أين",
    ),
    ("reason", r"\bwhy\b|\bwarum\b|\bwieso\b|\bpourquoi\b|\bpor qué\b|为什么|لماذا"),
)
_KINDS = tuple((kind, re.compile(pattern, re.IGNORECASE)) for kind, pattern in _KIND_PATTERNS)
_NAME = r"(?<![.!?]\s)(?<!^)\b[A-ZÄÖÜÉ][\w'’-]+"
_ANSWERS: dict[Kind, re.Pattern[str]] = {
    "time": re.compile(
        r"\b\d{3,4}s?\b|\b\d{1,2}(?:st|nd|rd|th)\b|\b(?:January|February|March|April|May|June|July|August|September"
        r"|October|November|December|Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday)\b|\b\d+\s*(?:years?"
        r"|months?|weeks?|days?|hours?|minutes?|seconds?)\b|\b(?:centur(?:y|ies)|decades?|years?|months?|weeks?|days?)\b"
        r"|\d+\s*[年月日]",
        re.IGNORECASE,
    ),
    "number": re.compile(
        r"\d[\d.,]*|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|dozens?|hundreds?|thousands?"
        r"|millions?|billions?|half|third|quarter|none|no|zwei|drei|vier|fünf|sechs|deux|trois|dos|tres)\b",
        re.IGNORECASE,
    ),
    "person": re.compile(_NAME),
    "place": re.compile(_NAME),
    "reason": re.compile(
        r"\b(?:because|since|due to|as a result|so that|in order to|caused?|reasons?|therefore|owing|weil|denn|parce"
        r"|porque|to \w+)\b",
        re.IGNORECASE,
    ),
}
