"""Reading what a chat model writes: markers of every shape, and pieces of every size."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generation.markers import Claim, ClaimParser, claim, escape, plain


def _parse(*pieces: str) -> list[Claim]:
    parser = ClaimParser()
    return [item for piece in pieces for item in parser.feed(piece)] + list(parser.finish())


@pytest.mark.parametrize(
    ("marker", "sources"),
    [
        ("[1]", (1,)),
        ("[1, 2]", (1, 2)),
        ("[1][2]", (1, 2)),
        ("[1] [2]", (1, 2)),
        ("[1-3]", (1, 2, 3)),
        ("[1–3, 5]", (1, 2, 3, 5)),
        ("[2;1]", (2, 1)),
        ("[1 and 3]", (1, 3)),
        ("【2】", (2,)),
        ("【2†source】", (2,)),
        ("［4］", (4,)),
        ("[^1]", (1,)),
        ("[Source 2]", (2,)),
        ("[Source 1, Source 2]", (1, 2)),
        ("[ 1 ,, 2, ]", (1, 2)),
        ("[0]", (0,)),
        ("[999999]", (999999,)),
        ("[1-900000]", (1, 900000)),
        ("[1][1]", (1,)),
    ],
)
@pytest.mark.parametrize(
    "frame", ["The sea is blue {}.", "The sea is blue. {}", "The sea is blue.{}", "{} The sea is blue."]
)
def test_reads_markers(marker: str, sources: tuple[int, ...], frame: str) -> None:
    """Every usual shape, before and after the end mark, and in front."""
    assert _parse(frame.format(marker)) == [Claim("The sea is blue.", sources)]


@pytest.mark.parametrize("text", ["[1", "[a]", "[]", "[1.5]", "[-1]", "(1)", "[1} x", "[[x]]"])
def test_leaves_what_is_no_marker(text: str) -> None:
    """Malformed brackets are text, and cite nothing."""
    assert _parse(f"See {text} here.") == [Claim(f"See {text} here.")]


def test_a_marker_speaks_for_the_sentences_before_it_in_its_line() -> None:
    """They share it, to be checked for each; those after it and in other lines do not."""
    claims = _parse("Alone.\nOne thing. Another thing. [2] A third.")
    assert claims == [
        Claim("Alone."),
        Claim("One thing.", (), (2,)),
        Claim("Another thing.", (2,)),
        Claim("A third."),
    ]


def test_lines_and_bullets() -> None:
    """A line break ends a claim; the bullet is not part of it."""
    assert _parse("- First [1]\n* Second [2]\n\n") == [Claim("First", (1,)), Claim("Second", (2,))]


def test_a_row_of_a_table_is_one_claim() -> None:
    """Whatever full stops its cells hold."""
    assert _parse("Fee | Due. Now it is. | 3 [1]") == [Claim("Fee | Due. Now it is. | 3", (1,))]


def test_markers_without_words_are_kept_to_be_counted() -> None:
    """A line of nothing but a marker is a claim without text."""
    assert _parse("[7]\n.") == [Claim("", (7,))]


def test_a_claim_comes_as_soon_as_it_is_complete() -> None:
    """The first sentence is there once the second has begun, not only at the end."""
    parser = ClaimParser()
    assert list(parser.feed("It is so. [1] Then ")) == [Claim("It is so.", (1,))]


def test_escaped_markers_are_text() -> None:
    """What a source says in brackets survives being written by a model."""
    text = "The fee is 12 EUR [3] (see [1, 2])."
    assert _parse(escape(text) + " [1]") == [Claim(text, (1,))]
    assert claim(escape(text)) == Claim(text)


def test_plain_is_empty_without_words() -> None:
    """Punctuation alone says nothing."""
    assert plain(" [1] . ") == ""


_PIECES = st.lists(
    st.sampled_from(
        'It; is; so;. ;.;[;1;]; [2];【3】;\n;! ;U.S.; Dr. ;\\[4];, ;";。;好; | ;…;?;3.5 ;- ;and;A;  '.split(";"),
    ),
    max_size=25,
)


@given(_PIECES, st.data())
def test_pieces_do_not_matter(tokens: list[str], data: st.DataObject) -> None:
    """The same text gives the same claims, whole or however it is cut."""
    text = "".join(tokens)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert _parse(*pieces) == _parse(text) == _parse(*text)
