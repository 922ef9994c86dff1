"""Sentence spans: exact offsets, and breaks where a reader would put them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generation.sentences import MAX_SENTENCE, spans


def _sentences(text: str) -> list[str]:
    return [text[start:end] for start, end in spans(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ("Dr. Smith met Mrs. Jones. They spoke.", ["Dr. Smith met Mrs. Jones.", "They spoke."]),
        ("It costs 3.5 dollars. See a.b.com for more.", ["It costs 3.5 dollars.", "See a.b.com for more."]),
        ("J. K. Rowling wrote it. It sold.", ["J. K. Rowling wrote it.", "It sold."]),
        ("He lives in the U.S. The flag is red.", ["He lives in the U.S.", "The flag is red."]),
        ("The U.S. Army came. It left.", ["The U.S. Army came.", "It left."]),
        ("Use a cache, e.g. Redis. Or none, i.e. Nothing.", ["Use a cache, e.g. Redis.", "Or none, i.e. Nothing."]),
        ("See Fig. 3 and No. 5. Then stop.", ["See Fig. 3 and No. 5.", "Then stop."]),
        ("Is No. The answer is no.", ["Is No.", "The answer is no."]),
        ("Acme Inc. was sold. Acme Inc. The end.", ["Acme Inc. was sold.", "Acme Inc.", "The end."]),
        ("At 5 p.m. the bus left. At 6 p.m. The train.", ["At 5 p.m. the bus left.", "At 6 p.m.", "The train."]),
        ('"Stop!" he said. "It is done." Then he left.', ['"Stop!" he said.', '"It is done."', "Then he left."]),
        ("Wait... The end. And so… on it went.", ["Wait...", "The end.", "And so… on it went."]),
        ("It was so.[12] The next.[3][4] Done.", ["It was so.[12]", "The next.[3][4]", "Done."]),
        ("Apples, pears, etc. The rest is gone.", ["Apples, pears, etc.", "The rest is gone."]),
        ("Das war am 3. Oktober, z. B. hier. Danach nicht.", ["Das war am 3. Oktober, z. B. hier.", "Danach nicht."]),
        ("In 1999. The year.", ["In 1999.", "The year."]),
        ("你好。世界！好吗？好", ["你好。", "世界！", "好吗？", "好"]),
        ("ما هذا؟ هذا كتاب. نعم", ["ما هذا؟", "هذا كتاب.", "نعم"]),
        ("यह है। वह है।", ["यह है।", "वह है।"]),
        ("¿Qué es? Es así. ¡No! Bueno.", ["¿Qué es?", "Es así.", "¡No!", "Bueno."]),
        ("The factor (p − 1)! + 1 is prime. Yes.", ["The factor (p − 1)! + 1 is prime.", "Yes."]),
    ],
)
def test_breaks_where_a_reader_would(text: str, expected: list[str]) -> None:
    """Abbreviations, decimals, initials, quotes, ellipses and other scripts."""
    assert _sentences(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "A line that was wrapped\nby a mailer. It\ngoes on.",
            ["A line that was wrapped\nby a mailer.", "It\ngoes on."],
        ),
        ("A heading\n\nText without an end\n\nMore", ["A heading", "Text without an end", "More"]),
        ("Overview\nThis paragraph is clearly longer than its heading is.", None),
        ("# Title\ntext goes on", ["# Title", "text goes on"]),
        ("- first item\n- second item\n  goes on", ["- first item", "- second item\n  goes on"]),
        ("1. Install it. Then run.\n2. Stop", ["1. Install it.", "Then run.", "2. Stop"]),
        ("| a | b |\n|---|---|\n| c. D | d |", ["| a | b |", "|---|---|", "| c. D | d |"]),
        ("Fee | Due. Now\n| 3 | May. It", ["Fee | Due. Now", "| 3 | May. It"]),
        ("name\tvalue\nsize\t3", ["name\tvalue", "size\t3"]),
        (
            "iPad 5,791 7,224\nTax rate 12.5 % 15.7 %\nOther, net $ (10) (104)%",
            ["iPad 5,791 7,224", "Tax rate 12.5 % 15.7 %", "Other, net $ (10) (104)%"],
        ),
        (
            "It was so in the years 2022 2023\nand went on, see 12, 14\nand 15.",
            ["It was so in the years 2022 2023\nand went on, see 12, 14\nand 15."],
        ),
    ],
)
def test_lines_of_lists_tables_and_headings_stand_alone(text: str, expected: list[str] | None) -> None:
    """A line break ends a sentence only where structure says so."""
    assert _sentences(text) == (expected or text.split("\n"))


def test_a_run_on_text_is_cut() -> None:
    """Text without any end mark still gives quotes of a size that one can read."""
    text = "word, " * 1000
    assert all(end - start <= MAX_SENTENCE for start, end in spans(text))
    assert "".join(_sentences(text)).replace(" ", "") == text.replace(" ", "")


@given(st.text(alphabet=st.sampled_from("aB1 .!?。؟\n\t[]()\"'-|#…é\u2028"), max_size=80))
def test_spans_cover_all_but_white_space(text: str) -> None:
    """Ascending, trimmed, not empty; between them there is only white space."""
    last = 0
    for start, end in spans(text):
        assert last <= start < end
        assert not text[last:start].strip()
        assert text[start:end] == text[start:end].strip()
        last = end
    assert not text[last:].strip()
