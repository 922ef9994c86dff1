"""Text to the terms that lexical search counts; the same for documents and queries, in every store.

Words are lower-cased, English stop words left out (for English), stemmed by Snowball and stripped of accents. What
is written together with signs inside (`s3:GetObject`, `10-Q`, `1.25.1`, `AMZN_2023`) also gives one unstemmed
term of the whole, so that identifiers match exactly as well as by their parts. Scripts written without spaces (Han,
kana, Thai, ...) give overlapping pairs of characters.
"""

import functools
import re
import unicodedata
from collections.abc import Iterator
from typing import Protocol

import Stemmer

from retrieval.errors import ConfigError

ANALYSIS_VERSION = 1
"""Changes when terms change: an index made by another version is built again from the text."""

_UNSPACED = "぀-ヿ㐀-䶿一-鿿豈-﫿฀-๿຀-໿က-႟ក-៿"
_COMPOUND = re.compile(rf"[^\W{_UNSPACED}]+(?:[-.:/@'’+#&]+[^\W{_UNSPACED}]+)*(?:\+\+|\#)?|[{_UNSPACED}]+")
_PART = re.compile(r"[^\W_]+")
_POSSESSIVE = re.compile(r"['’]s?$")
_STOP_WORDS = {
    "english": frozenset(
        "a an and are as at be but by for if in into is it no not of on or such that the their then there these they "
        "this to was will with".split()
    )
}
_CACHE = 200_000
"""Distinct words whose term is remembered; a corpus has few, and stemming is the slow part."""


class Analyzer(Protocol):
    """Cuts text into terms."""

    def terms(self, text: str) -> list[str]:
        """The terms of `text` in order, repetitions included."""
        ...


def languages() -> list[str]:
    """What `analyzer` takes."""
    return ["none", *Stemmer.algorithms()]


@functools.lru_cache(maxsize=16)
def analyzer(language: str) -> Analyzer:
    """The analyzer of a Snowball language; 'none' stems nothing. Raises ConfigError for one that is not known."""
    if language not in languages():
        raise ConfigError(f"language {language!r} is not known; one of {', '.join(languages())}")
    return _SnowballAnalyzer(language)


class _SnowballAnalyzer:
    def __init__(self, language: str) -> None:
        self._stop_words = _STOP_WORDS.get(language, frozenset())
        self._language = language
        self._term = functools.lru_cache(maxsize=_CACHE)(self._make_term)

    def terms(self, text: str) -> list[str]:
        return list(self._terms(unicodedata.normalize("NFKC", text).lower()))

    def _terms(self, text: str) -> Iterator[str]:
        for compound in _COMPOUND.findall(text):
            if _is_unspaced(compound[0]):
                yield from _pairs(compound)
                continue
            if compound.isalpha():
                if term := self._term(compound):
                    yield term
                continue
            whole = _POSSESSIVE.sub("", compound)
            parts = _PART.findall(whole)
            for part in parts:
                if term := self._term(part):
                    yield term
            if len(parts) > 1 or (parts and parts[0] != whole):
                yield whole

    def _make_term(self, word: str) -> str:
        """The term of one word; empty for a stop word."""
        if word in self._stop_words:
            return ""
        # A Stemmer object is not thread-safe, and making one costs microseconds: one per word not seen before.
        stem = word if self._language == "none" else Stemmer.Stemmer(self._language, 0).stemWord(word)
        return stem if stem.isascii() else _without_accents(stem)


def _is_unspaced(character: str) -> bool:
    return bool(re.match(f"[{_UNSPACED}]", character)) if character > "฀" else False


def _pairs(run: str) -> Iterator[str]:
    if len(run) == 1:
        yield run
    for i in range(len(run) - 1):
        yield run[i : i + 2]


def _without_accents(word: str) -> str:
    decomposed = unicodedata.normalize("NFD", word)
    return "".join(c for c in decomposed if not unicodedata.combining(c)) or word
