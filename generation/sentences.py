"""Text to sentence spans with exact offsets, by rules: sentences are what answers are made of and what is quoted.

Written for stored document text (hard-wrapped lines, lists, tables) and for what chat models write. No model, no
language setting: the abbreviations of several languages are known at once, and a full stop is only trusted to end a
sentence when what follows looks like the beginning of one.
"""

import re
from collections.abc import Iterator

Span = tuple[int, int]
"""(start, end) in characters, end exclusive."""

MAX_SENTENCE = 800
"""Longer ones (run-on tables, minified text) are cut at a comma or a space: nobody reads such a footnote."""


def spans(text: str) -> list[Span]:
    """The sentences of `text` in order: trimmed, not empty, not overlapping; only white space is between them.

    A blank line always ends a sentence; a single line break does where a list item, a table row or a heading begins
    or ends, and where the lines are evidently not wrapped.
    """
    found: list[Span] = []
    for block_start, block_end in _blocks(text):
        whole = _is_row(text[block_start:block_end])  # a row is read as one, whatever its cells hold
        parts = _trimmed(text, block_start, block_end) if whole else segments(text, block_start, block_end)
        for start, end in parts:
            found.extend(_cut_long(text, start, end))
    return found


def segments(text: str, start: int, end: int) -> Iterator[Span]:
    """The sentences within `text[start:end]`, which is taken as running prose: line breaks count as spaces."""
    begin = start
    for match in TERMINATOR.finditer(text, start, end):
        if match.end() < end and ends_sentence(text, match, start, end):
            yield from _trimmed(text, begin, match.end())
            begin = match.end()
    yield from _trimmed(text, begin, end)


def ends_sentence(text: str, match: re.Match[str], start: int, end: int) -> bool:
    """Whether the terminator that `TERMINATOR` matched in `text[start:end]` ends a sentence.

    Looks back to `start` and ahead to the end of the next word, no further.
    """
    mark, tail = match["mark"], match["tail"]
    if mark[-1] in _WIDE_MARKS:
        return True
    follow = _FOLLOW.match(text, match.end(), end)
    word = (follow["word"] if follow else "") or ""
    if not follow or not follow["space"]:
        # Without a space after it, it is a decimal, a domain name, or a typo; only a reference mark makes it an end.
        return "[" in tail and word[:1].isupper()
    if word[:1].islower() and word not in _LOWER_STARTS:
        return False
    if word and not (word[0].isalnum() or word[0] in "$€£¥#@§"):
        return False  # a formula: "(p - 1)! + 1"
    if mark != ".":
        return True
    return _stop_ends(_LAST_WORD.search(text, start, match.start("mark")), word, text, start, match.start("mark"))


def is_figures(line: str) -> bool:
    """Whether a line is a label with two or more figures after it: a row of a table whose cells are not marked.

    Years alone are no figures: they stand in headers, and at the end of dates.
    """
    numbers: list[str] = []
    for word in reversed(line.split()):
        if not _CELL.fullmatch(word):
            return len(numbers) >= 2 and not all(_YEAR.fullmatch(number) for number in numbers)
        if any(character.isdigit() for character in word):
            numbers.append(word)
    return False


_CELL = re.compile(r"[$€£¥]?[-+−]?\(?[-+−]?[$€£¥]?\d+(?:,\d{3})*(?:\.\d+)?\)?%?|[$€£¥%)—–-]|\)%")
_YEAR = re.compile(r"(?:19|20)\d\d")


# Full stops, question and exclamation marks of Latin, Greek, CJK, Arabic, Urdu, Devanagari, Armenian and Ethiopic
# writing; then closing quotes and brackets, then reference marks like [12].
_WIDE_MARKS = "。！？｡؟۔।॥։።"  # these end a sentence whether or not a space follows
_CLOSERS = "\"'”’»)\\]」』）】〉》"
_NUMBER = r"(?:(?:sources?|docs?|documents?|refs?)[\s:#]*)?\^?\d{1,6}"
REFERENCE = re.compile(
    rf"(?<!\\)[\[【［]\s*{_NUMBER}(?:(?:[\s,;&–—-]|and)+{_NUMBER})*[\s,;]*(?:†[^\]】］]{{0,40}})?[\]】］]",
    re.IGNORECASE,
)
"""A reference mark: [1], [1, 2], [1-3], [^1], [Source 1], 【1†text】; not one after a backslash: `\\[1]` is text."""
TERMINATOR = re.compile(
    rf"(?P<mark>[.!?…]+|[{_WIDE_MARKS}]+)(?P<tail>[{_CLOSERS}]*(?:\s{{0,3}}{REFERENCE.pattern})*)", re.IGNORECASE
)
"""What may end a sentence, with the closing quotes, brackets and reference marks that still belong to it."""
_FOLLOW = re.compile(r"(?P<space>\s*)[\"'“‘«(\[¿¡„*_`]*(?P<word>[^\W_]+(?:['’.]\w+)*|\S)?")
_LAST_WORD = re.compile(r"(?P<word>[^\s\"'“‘«(\[{,;:/–—]+)$")

# Never the last word of a sentence: something always follows.
_ALWAYS_OPEN = frozenset(
    "mr mrs ms mx dr prof st mt ft gen sen rep gov lt col sgt capt cmdr maj rev hon pres fr messrs mme mlle hr "
    "e.g i.e cf vs viz approx ca al resp incl excl esp z.b d.h u.a bzw ggf vgl sog evtl p.ej sra srta dra ud "
    "m.in t.d".split()
)
# Open when a number (or a single letter) follows: "No. 5", "Fig. 3", "pp. 12", "Jan. 5".
_OPEN_BEFORE_NUMBER = frozenset(
    "no nos nr núm num fig figs eq eqs sec sect ch chap art vol vols ed p pp pg pág para ref tab app ver v s "
    "jan feb mar apr jun jul aug sep sept oct nov dec bd abs § c".split()
)
# May end a sentence; they do when the next word is one that often begins one.
_MAY_END = frozenset("jr sr inc ltd co corp llc bros dept est univ assn etc ave blvd rd hwy fl gmbh".split())
_STARTERS = frozenset(
    "the a an this that these those it its he she they we you i his her their our there here in on at by for from "
    "with when while where what who how why if although though after before during since as however but and or so "
    "then thus both each all some many most other another such no not under between because to der die das ein "
    "eine es er sie wir in im am el la los las un una le les il elle".split()
)
_SINGLES = frozenset("aeo")  # "J. a." is not a beginning, "J. A" may be
_LOWER_STARTS = frozenset({"iPhone", "iPad", "eBay", "iOS", "macOS"})
_INITIALS = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]$")  # "J", "U.S", "p.m", "D.C"
_DEGREE = re.compile(r"(?:Ph\.D|M\.Sc|B\.Sc|M\.Phil|Dr\.h\.c)$")
_GERMAN_MONTHS = frozenset(
    "januar februar märz april mai juni juli august september oktober november dezember jahrhundert".split()
)


def _stop_ends(last: re.Match[str] | None, following: str, text: str, start: int, stop: int) -> bool:
    """Whether a single full stop at `stop` ends a sentence, from the word before it and the word after it."""
    if last is None:
        return True
    word = last["word"].lstrip("*_`").rsplit("-", 1)[-1]
    key = word.casefold()
    if word.isdigit():
        listed = not text[start : stop - len(word)].strip()  # "1. Install it."
        return not listed and not (len(word) <= 2 and following.casefold() in _GERMAN_MONTHS)
    if key in _ALWAYS_OPEN or (key in _OPEN_BEFORE_NUMBER and following[:1].isdigit()):
        return False
    if key in _MAY_END or _DEGREE.search(word) or _INITIALS.match(word):
        return key == "etc" or (following.casefold() in _STARTERS and following not in _SINGLES)
    return True


_LINE = re.compile(r"[^\n\r\x0b\x0c\x85\u2028\u2029]+")
_LIST_ITEM = re.compile(r"\s*(?:[-*+•‣◦▪●–—]\s|\(?(?:\d{1,3}|[a-zA-Z]|[ivx]{1,5})[.)]\s|#{1,6}\s|>\s)")
_HEADING = re.compile(r"\s*#{1,6}\s")
_ROW = re.compile(r"\s*\|.*\S|.*\S(?: \| |\t).*\S")
_RULE = re.compile(r"\s*[-=_*~+:|\s]{3,}$")
_OPEN_END = re.compile(r"[,;:–—-]\s*$")
_WRAP_WIDTH = 140  # characters; a line that is longer was not wrapped for reading, it is a paragraph


def _blocks(text: str) -> Iterator[Span]:
    """Stretches that hold whole sentences: paragraphs, list items, table rows, headings."""
    lines = [match.span() for match in _LINE.finditer(text)]
    block: list[Span] = []
    for line in lines:
        if not text[line[0] : line[1]].strip():
            continue
        if block and _parts(text, block, line):
            yield block[0][0], block[-1][1]
            block = []
        block.append(line)
    if block:
        yield block[0][0], block[-1][1]


def _parts(text: str, block: list[Span], line: Span) -> bool:
    """Whether `line` begins another block than the lines before it."""
    last = block[-1]
    before, after = text[last[0] : last[1]], text[line[0] : line[1]]
    between = text[last[1] : line[0]]
    if between.count("\n") > 1 or "\x0c" in between or "\u2029" in between:
        return True
    if _LIST_ITEM.match(after) or _HEADING.match(before):
        return True
    if any(_is_row(part) or _RULE.fullmatch(part) for part in (before, after)):
        return True
    if len(before) > _WRAP_WIDTH:
        return True
    # A short line before a capital is a heading or the end of a paragraph, unless it ends as an unfinished clause.
    width = max(len(after), *(end - start for start, end in block))
    first = after.lstrip()[:1]
    short = len(before) < 0.6 * width
    return short and not first.islower() and not _OPEN_END.search(before)


def _is_row(block: str) -> bool:
    return bool(_ROW.fullmatch(block)) or ("\n" not in block and is_figures(block))


def _trimmed(text: str, start: int, end: int) -> Iterator[Span]:
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    if start < end:
        yield start, end


def _cut_long(text: str, start: int, end: int) -> Iterator[Span]:
    while end - start > MAX_SENTENCE:
        window = text[start : start + MAX_SENTENCE]
        half = MAX_SENTENCE // 2
        cut = max(window.rfind(mark, half) for mark in ("; ", ", ", "；", "，", "、")) + 1
        cut = cut or window.rfind(" ", half) + 1 or MAX_SENTENCE
        yield from _trimmed(text, start, start + cut)
        start += cut
    yield from _trimmed(text, start, end)
