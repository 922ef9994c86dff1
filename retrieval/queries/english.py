"""English as far as the rules need it: which words carry a question's content and which only build it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from retrieval.queries.identifiers import PHRASE, is_identifier

QUESTION_WORDS = frozenset("what which who whom whose when where why how".split())
AUXILIARIES = frozenset(
    "is are was were am be been being do does did done has have had having can could may might must shall should will "
    "would isn't aren't wasn't weren't don't doesn't didn't hasn't haven't can't couldn't won't wouldn't "
    "shouldn't".split()
)
PREPOSITIONS = frozenset(
    "of in on at by for from to with without about into onto over under during after before since until till between "
    "among against through across per within outside inside near via as than like".split()
)
PRONOUNS = frozenset(
    "i me my mine we us our ours you your yours he him his she her hers it its they them their theirs this that these "
    "those one ones there here somebody someone anybody anyone anything something everything nothing everybody "
    "everyone itself themselves myself yourself".split()
)
_OTHERS = frozenset(
    "a an the and or but nor so then than if whether because while though although not no yes too also else even just "
    "only still again please thanks thank tell show give explain describe list say know mean means meant mind let "
    "more most less least much many few several some any all each every both either neither other another same such "
    "former latter first second third fourth fifth last next previous long far old often soon ok okay hi hello hey "
    "further exactly really actually instead rather example examples elaborate detail details go get gets got "
    "happen happens happened what's "
    "who's where's how's it's that's there's i'm i'd i've".split()
)
FUNCTION_WORDS = QUESTION_WORDS | AUXILIARIES | PREPOSITIONS | PRONOUNS | _OTHERS

_WORD = re.compile(r"[^\s\"“”«»`()\[\]{}<>,;!?…|]+")
_EDGES = ".:'’‘*_-–—/&=+"


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a text, `text[start:end]`; a phrase in quotation marks counts as one."""

    text: str
    start: int
    end: int
    exact: bool
    """An identifier or a quoted phrase, kept as it is written."""

    @property
    def key(self) -> str:
        """What two spellings of a word have in common."""
        return self.text if self.exact else re.sub(r"['’]s?$", "", self.text.casefold())

    @property
    def is_content(self) -> bool:
        """Whether the question is about it."""
        return self.exact or (self.text.casefold() not in FUNCTION_WORDS and self.key not in FUNCTION_WORDS)

    @property
    def is_name(self) -> bool:
        """Whether it is written as a name; at the beginning of a sentence every word is."""
        return not self.exact and self.text[0].isupper()

    @property
    def is_number(self) -> bool:
        """Whether it begins with a digit: a number, a year, an ordinal."""
        return not self.exact and self.text[0].isdigit()


def words(text: str) -> list[Word]:
    """The words of `text` in order, identifiers whole."""
    return list(_words(text))


def masked(text: str) -> str:
    """`text` with what stands in quotation marks blotted out, at its old length: no rule may act on that."""
    return PHRASE.sub(lambda match: "█" * len(match[0]), text)


def _words(text: str) -> Iterator[Word]:
    blotted = masked(text)
    phrases = {match.start(): match for match in PHRASE.finditer(text)}
    for match in _WORD.finditer(blotted):
        if match[0].startswith("█") and match.start() in phrases:
            phrase = phrases[match.start()]
            yield Word(phrase[0], *phrase.span(), exact=True)
            continue
        start, end = match.span()
        while end > start and text[end - 1] in _EDGES and not is_identifier(text[start:end]):
            end -= 1
        while start < end and text[start] in _EDGES and not is_identifier(text[start:end]):
            start += 1
        if start < end and any(map(str.isalnum, text[start:end])):
            yield Word(text[start:end], start, end, exact=is_identifier(text[start:end]))
