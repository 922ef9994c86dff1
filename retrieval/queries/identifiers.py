"""Identifiers in a query: `s3:GetObject`, `ERR-2047`, `1.25.1`. They mean one thing, so nobody may respell them."""

import re

from retrieval.analysis import Analyzer

MAX_CHARACTERS = 200
"""Longer runs of signs are no identifiers but data that was pasted."""

PHRASE = re.compile(
    r"(?<!\w)\"[^\"\n]{1,200}\"(?!\w)|“[^”\n]{1,200}”|«[^»\n]{1,200}»|`[^`\n]{1,200}`"
    r"|(?<![\w'’])'(?!\s)[^'\n]{1,200}'(?!\w)|‘[^’\n]{1,200}’(?!\w)"
)
"""What stands in quotation marks, marks included; an apostrophe within a word is none."""

# Letters of scripts that put spaces between words: a sentence in Han characters is no identifier.
_LETTERS = "A-Za-z\u00c0-\u024f\u0370-\u03ff\u0400-\u04ff"
_TOKEN = re.compile(
    rf"(?<![{_LETTERS}0-9_])[-/@#.\\]{{0,3}}[{_LETTERS}0-9_]"
    rf"(?:[{_LETTERS}0-9_*]|[-.:/@#+&=~%\\]+(?=[{_LETTERS}0-9_*]))*(?:\+\+|\#)?"
)
_SHAPE = re.compile(
    r"""
      .*[0-9].*[^\W\d_].* | .*[^\W\d_].*[0-9].*      # letters and digits: M10x1.5, ERR-2047, 10-Q
    | [0-9]+(?:[.:/_-][0-9]+){2,}                    # versions, dates, addresses: 1.25.1, 2025-11-14
    | .*[^\W_]_+[^\W_].*                             # snake_case
    | .*[^\W\d_]::?[^\W\d_].*                        # iam:PassRole, std::vector
    | .*[^\W\d_]{2}\.[^\W\d_]{2}.*                   # report.pdf, os.path.join
    | .*[a-z\u00df-\u00f6\u00f8-\u00ff][A-Z].*       # GetObject
    | [A-Z]+/[A-Z]+ | .*[/\\].*[/\\].*               # TCP/IP, /etc/hosts, docs/guide/setup
    | --[^\W\d_]{2}.* | .*[^\W_]@[^\W_].* | .*(?:\+\+|\#)  # --dry-run, somebody@example.org, C++
    """,
    re.VERBOSE,
)
_WORDED = re.compile(r"(?:[^\W_]+-)*[^\W\d_A-Z]{4,}(?:-[^\W_]+)*")
_ORDINARY = re.compile(r"[0-9]+(?:st|nd|rd|th|s|am|pm|k|m|%)?|[0-9]+-[a-z]{2,}(?:-[a-z]+)?")
"""Ordinals, decades, times of day, "30-day": words for all that they have digits."""


def identifiers(text: str) -> tuple[str, ...]:
    """The identifiers of `text` and its quoted phrases (without their marks), verbatim, each once, in reading order.

    An identifier is written as no word is: with letters and digits, with signs or capitals inside. Plain numbers,
    ordinals and words with hyphens are none.
    """
    found = [(match.start(), match[0][1:-1]) for match in PHRASE.finditer(text)]
    found += [(match.start(), match[0]) for match in _TOKEN.finditer(text) if _has_shape(match[0])]
    return tuple(dict.fromkeys(token for _, token in sorted(found)))


def is_identifier(token: str) -> bool:
    """Whether `token` is one identifier and nothing else."""
    return _has_shape(token) and _TOKEN.fullmatch(token) is not None


def exact_terms(text: str, analyzer: Analyzer) -> frozenset[str]:
    """The terms that stand for whole identifiers of `text`: what has such a term has exactly that identifier.

    Of an identifier that is one word to the analyzer there is none: no other one shares a part with it. `iPSC-derived`
    is ordinary language for all its capitals: words with hyphens that have a whole lower-case word are left out.
    """
    names = (token for token in identifiers(text) if is_identifier(token) and not _WORDED.fullmatch(token))
    found = (analyzer.terms(token) for token in names)
    return frozenset(max(terms, key=len) for terms in found if len(terms) > 1)


def _has_shape(token: str) -> bool:
    return len(token) <= MAX_CHARACTERS and _SHAPE.fullmatch(token) is not None and _ORDINARY.fullmatch(token) is None
