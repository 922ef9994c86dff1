"""What a chat model writes, read piece by piece: sentences and the source numbers that they are marked with.

The same text gives the same claims however it is cut into pieces, so that a streamed answer and one that comes whole
are equal.
"""

import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace

from generation.sentences import REFERENCE, TERMINATOR, ends_sentence

MAX_RANGE = 50
"""[1-3] means three sources; a wider range than this is taken as its two ends."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence of a model's text, without its markers."""

    text: str
    sources: tuple[int, ...] = ()
    """The source numbers in the order written, without repetitions; they may name sources that do not exist."""
    shared: tuple[int, ...] = ()
    """For a sentence without markers: those of the next marked sentence in its line, which often speak for both."""


class ClaimParser:
    """Takes pieces of text, gives claims as soon as they are complete: sentence, markers and what may share them."""

    def __init__(self) -> None:
        self._line = ""
        self._waiting: list[Claim] = []  # unmarked sentences of this line

    def feed(self, text: str) -> Iterator[Claim]:
        """The claims that `text` completes."""
        *lines, rest = re.split(r"[\n\r]", self._line + text)
        for line in lines:
            yield from self._finish_line(line)
        self._line = yield from self._take(rest, final=False)

    def finish(self) -> Iterator[Claim]:
        """The claims that are complete now that nothing follows."""
        line, self._line = self._line, ""
        yield from self._finish_line(line)

    def _finish_line(self, line: str) -> Iterator[Claim]:
        rest = yield from self._take(line, final=True)
        yield from self._release(claim(rest))
        yield from self._waiting
        self._waiting = []

    def _take(self, text: str, *, final: bool) -> Generator[Claim, None, str]:
        """Gives the claims at the beginning of `text`; returns what is left of it."""
        begin = 0
        for match in TERMINATOR.finditer(text):
            if not final and not _decidable(text, match):
                break
            if " | " in text[begin : match.start()]:
                continue  # in a row of a table, which is read as one
            if match.end() < len(text) and ends_sentence(text, match, begin, len(text)):
                yield from self._release(claim(text[begin : match.end()]))
                begin = match.end()
        return text[begin:]

    def _release(self, new: Claim) -> Iterator[Claim]:
        if not new.sources:
            if new.text:
                self._waiting.append(new)
            return
        for earlier in self._waiting:
            yield replace(earlier, shared=new.sources)
        self._waiting = []
        yield new


def claim(text: str) -> Claim:
    """The claim that one sentence with its markers makes. Text without a letter or digit is no claim: it is empty."""
    numbers = [number for match in REFERENCE.finditer(text) for number in _numbers(match[0])]
    return Claim(plain(text), tuple(dict.fromkeys(numbers)))


def plain(text: str) -> str:
    r"""`text` without markers, list bullets and needless white space; `\[1]` becomes [1]. Empty without any word."""
    bare = _MARKERS.sub(lambda match: "" if text[match.end() : match.end() + 1] in _AFTER else " ", text)
    bare = " ".join(_BULLET.sub("", bare).replace("\\[", "[").split())
    return bare if any(character.isalnum() for character in bare) else ""


def escape(text: str) -> str:
    r"""`text` such that nothing in it reads as a marker: [1] becomes `\[1]`."""
    return REFERENCE.sub(lambda match: "\\" + match[0], text)


_BULLET = re.compile(r"^\s*(?:[-*•]\s+|#{1,6}\s+)")
_AFTER = ".,;:!?…。，；：！？)"  # stands close to the word, with no space where a marker was
_MARKERS = re.compile(rf"(?:\s*{REFERENCE.pattern})+(?:\s*(?=[{re.escape(_AFTER)}]))?", re.IGNORECASE)
_RANGE = re.compile(r"(\d+)(?:\s*[–—-]\s*\^?(\d+))?")
# What follows is known well enough: a whole word, or for a bracket its end and the word after that.
_BRACKETED = r"[\[【［](?:[^\]】］]{0,80}[\]】］]\s*\S+\s|[^\]】］]{81})"
_KNOWN = re.compile(rf"\s*(?:(?![\[【［])\S+\s|{_BRACKETED})")
_KNOWN_WIDE = re.compile(rf"\s*(?:[^\s\[【［]|{_BRACKETED})")


def _numbers(marker: str) -> Iterator[int]:
    marker = marker.split("†", maxsplit=1)[0]
    for match in _RANGE.finditer(marker):
        first, last = int(match[1]), int(match[2] or match[1])
        if first <= last <= first + MAX_RANGE:
            yield from range(first, last + 1)
        else:
            yield from (first, last)


def _decidable(text: str, match: re.Match[str]) -> bool:
    """Whether more text could not change what `match` is, nor whether it ends a sentence."""
    known = _KNOWN if match["mark"][-1] in ".!?…" else _KNOWN_WIDE
    return known.match(text, match.end()) is not None
