"""A tokenizer for models whose own is not at hand: by rule, and rather too many tokens than too few.

A token is up to three small letters, with a capital before them where two follow; up to two capitals; a digit, and the
blank before one; a sign; a line break, a tab, a run of blanks. A character outside ASCII counts for as many tokens as
its UTF-8 has bytes, less one: byte pairs take that many where they have not learned the script.

docs/embedders.md has what this comes to, held against WordPiece and the byte pairs of two OpenAI models.
"""

import re

_PIECE = re.compile(r"[A-Z][a-z]{2,3}|[a-z]{1,3}|[A-Z]{1,2}| {2,}| (?=[0-9])|[^\S ]|\S")
_THREE_BYTES = 0x800
_FOUR_BYTES = 0x10000


class EstimatingTokenizer:
    """The port `Tokenizer` by rule. No state: thread-safe, and can be pickled."""

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """Ascending spans; a character that counts for several tokens has its span as often, as with byte pairs."""
        if text.isascii():
            return [piece.span() for piece in _PIECE.finditer(text)]
        spans: list[tuple[int, int]] = []
        for piece in _PIECE.finditer(text):
            code = ord(text[piece.start()])
            spans += [piece.span()] * (1 + (code >= _THREE_BYTES) + (code >= _FOUR_BYTES))
        return spans
