"""Bytes to text: byte order marks, UTF-8, UTF-16 without a mark, then a guess for the encodings of old."""

import codecs
import re

from ingest.loaders import codepages

SAMPLE = 64 * 1024
"""Bytes that tell binary from text."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

# Controls that text does not have; tab, line ends, form feed, escape (terminal logs) and Ctrl-Z (DOS) it may.
_CONTROLS = bytes(set(range(32)) - {9, 10, 11, 12, 13, 26, 27}) + b"\x7f"


_ESCAPE = b"\x1b$"
"""Begins Japanese letters in ISO-2022-JP, the encoding of old mail, which is ASCII throughout."""


def decode(data: bytes, *, declared: str = "") -> str:
    """The text in `data`. `declared` is what the file itself says, believed when the bytes fit it.

    A text in UTF-8 with a few bad bytes stays UTF-8, the bad bytes become U+FFFD: it is likelier than another
    encoding. Never raises.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data.decode(encoding, errors="replace")
    if _ESCAPE in data[:SAMPLE]:
        text = _strict(data, "iso2022_jp")
        if text is not None:
            return text
    # UTF-16 first: in English it is valid UTF-8 as well, with a NUL in every other place.
    for encoding in (_utf16_without_mark(data), declared, "utf-8"):
        text = _strict(data, encoding)
        if text is not None:
            return text
    lossy = data.decode("utf-8", errors="replace")
    if _mostly_utf8(lossy):
        return lossy
    return data.decode(codepages.guess(data), errors="replace")


def is_binary(data: bytes) -> bool:
    """Whether `data` looks like no text in any encoding, by its first bytes."""
    sample = data[:SAMPLE]
    if any(sample.startswith(mark) for mark, _ in _MARKS) or _utf16_without_mark(sample):
        return False
    controls = len(sample) - len(sample.translate(None, _CONTROLS))
    if controls == 0:
        return False
    # A stray control does not make a text file binary, a NUL nearly does.
    return b"\x00" in sample or controls > len(sample) * 0.02


def _strict(data: bytes, encoding: str) -> str | None:
    if not encoding:
        return None
    try:
        text = data.decode(encoding)
    except (UnicodeError, LookupError):
        return None
    return text if isinstance(text, str) else None


def _utf16_without_mark(data: bytes) -> str:
    sample = data[:SAMPLE]
    even, odd = sample[0::2], sample[1::2]
    if len(sample) < 4 or len(data) % 2:
        return ""
    # Blanks, digits and line ends have a zero byte in UTF-16 in every script; the other byte is hardly ever zero.
    for low, high, encoding in ((even, odd, "utf-16-le"), (odd, even, "utf-16-be")):
        if high.count(0) > len(high) * 0.1 and low.count(0) == 0 and _is_clean(_strict(data, encoding)):
            return encoding
    # Chinese, Japanese and Korean have few zero bytes; read as anything else they have controls.
    if len(sample.translate(None, _CONTROLS)) < len(sample):
        for encoding in ("utf-16-le", "utf-16-be"):
            text = _strict(sample, encoding)
            if text and len(_EAST_ASIAN.findall(text)) > len(text) * 0.95:
                return encoding
    return ""


_EAST_ASIAN = re.compile("[\t\n\r -~一-鿿가-힣ぁ-んァ-ヶー\u3000-\u303f\uff01-\uff5e]")


def _is_clean(text: str | None) -> bool:
    return text is not None and not any(c < " " and c not in "\t\n\r\f" for c in text[:SAMPLE])


_NON_ASCII = re.compile("[^\x00-\x7f]")


def _mostly_utf8(text: str) -> bool:
    bad = text.count("\ufffd")
    good = len(_NON_ASCII.findall(text)) - bad
    return good > bad * 4
