"""What makes text canonical: the one place that decides which characters a stored text may hold."""

import re
import unicodedata

# Breaks of line that are not "\n". U+0085 and U+2028/9 are what some exporters write.
_LINE_BREAKS = re.compile("\r\n|[\r\v\f\x1c\x1d\x1e\x85\u2028\u2029]")

# Never seen by a reader, but they break search and quoting: NUL and other controls, soft hyphen, zero-width space and
# word joiner, byte order mark, direction marks and overrides, noncharacters. ZWJ and ZWNJ (U+200C/D) stay: in Persian,
# Hindi and emoji they are spelling.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x1f\x7f-\x84\x86-\x9f\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff"
    "\ufff9-\ufffb\ufffe\uffff\ufdd0-\ufdef]"
)
_SURROGATES = re.compile("[\ud800-\udfff]")
_SPACES = re.compile(r"[^\S\n]+")
_AROUND_BREAK = re.compile(r" ?\n ?")
_BREAKS = re.compile(r"\n{2,}")


def clean(text: str) -> str:
    """`text` without invisible characters, lines ended by a line feed, in Unicode NFC. White space is kept."""
    if text.isascii():
        if text.isprintable():
            return text
        return _INVISIBLE.sub("", _LINE_BREAKS.sub("\n", text))
    text = _SURROGATES.sub("\ufffd", _LINE_BREAKS.sub("\n", text))
    # NFC last: removing a soft hyphen can bring a letter and its accent together.
    return unicodedata.normalize("NFC", _INVISIBLE.sub("", text))


def prose(text: str) -> str:
    """Clean text with runs of white space made one blank; single line breaks stay, empty lines go."""
    text = _SPACES.sub(" ", clean(text))
    return _BREAKS.sub("\n", _AROUND_BREAK.sub("\n", text)).strip()


def one_line(text: str) -> str:
    """Clean text on one line."""
    return " ".join(clean(text).split())


def verbatim(text: str) -> str:
    """Clean text with its indentation and empty lines; trailing blanks and outer empty lines go."""
    return "\n".join(map(str.rstrip, clean(text).split("\n"))).strip("\n")
