r"""Text as PostgreSQL can hold it: it refuses NUL, which Footnote's strings may have.

NUL becomes \x01\x01 and \x01 becomes \x01\x02: reversible, equal texts stay equal, and under the "C" collation the
order stays that of code points. Every string that is stored or compared goes through `escape`.
"""

from retrieval.stores.checks import check_text


def escape(text: str) -> str:
    """What is stored for `text`. Raises InvalidRequest for lone surrogates, which are no Unicode text."""
    check_text(text)
    if "\x00" in text or "\x01" in text:
        return text.replace("\x01", "\x01\x02").replace("\x00", "\x01\x01")
    return text


def unescape(stored: str) -> str:
    """The text that `escape` made `stored` of."""
    # Each \x01 begins a pair, so that a search from the left never finds one astride two of them.
    return stored.replace("\x01\x01", "\x00").replace("\x01\x02", "\x01") if "\x01" in stored else stored
