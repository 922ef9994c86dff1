"""The language of a document: as the file says, else as its text tells."""

import pytest

from ingest.loaders.language import SAMPLE, declared, detected
from tests.unit.ingest.files import read

GERMAN = "Der Ausschuss trifft sich am Donnerstag wieder, um über den Haushalt des nächsten Jahres zu sprechen. "
ENGLISH = "The committee meets again on Thursday to discuss the budget of the coming year and other matters. "


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (GERMAN, "de"),
        (ENGLISH, "en"),
        ("El comité se reúne de nuevo el jueves para hablar del presupuesto del año que viene.", "es"),
        ("Комитет снова соберётся в четверг, чтобы обсудить бюджет на следующий год.", "ru"),
        ("委員会は来年の予算について話し合うため、木曜日に再び集まる。", "ja"),
        ("委员会将于星期四再次开会，讨论明年的预算。", "zh"),
        ("تجتمع اللجنة مرة أخرى يوم الخميس لمناقشة ميزانية العام المقبل.", "ar"),
    ],
)
def test_running_text_tells_its_language(text: str, code: str) -> None:
    """As an ISO 639-1 code."""
    assert read(text, "a.txt").metadata == {"language": code}


@pytest.mark.parametrize("text", ["Hello", "Invoice 12345", "1 2 3 4 " * 100, "x9f_a/b=c " * 50, "==="])
def test_what_is_short_or_no_words_has_no_language(text: str) -> None:
    """A wrong one would keep the document out of filtered results."""
    assert "language" not in read(text, "a.txt").metadata


def test_code_and_tables_have_no_language() -> None:
    """Their words are names."""
    assert "language" not in read(f"```\n{ENGLISH}\n```", "a.md").metadata
    assert "language" not in read(f"name,text\na,{ENGLISH}\nb,{ENGLISH}\n", "a.csv").metadata


def test_what_the_file_says_comes_first() -> None:
    """Reduced to the language, without its region."""
    assert read(f"<html lang=en-GB><body><p>{GERMAN}</p></body></html>", "a.html").metadata["language"] == "en"
    assert read(f"---\nlanguage: ger\n---\n{ENGLISH}", "a.md").metadata["language"] == "de"


def test_what_is_given_with_the_source_wins() -> None:
    """As with every other field."""
    assert read(ENGLISH, "a.txt", {"language": "xx-custom"}).metadata["language"] == "xx-custom"


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("de", "de"),
        (" EN_us ", "en"),
        ("zh-Hant-TW", "zh"),
        ("eng", "en"),
        ("xyz", ""),
        ("english", ""),
        ("", ""),
        (3, ""),
    ],
)
def test_a_declared_language_becomes_a_code(value: object, code: str) -> None:
    """Files write it in many ways; what is none is passed over."""
    assert declared(value) == code


def test_the_middle_decides() -> None:
    """A licence in English before a German book does not make it English."""
    text = ENGLISH * 20 + GERMAN * 100
    assert detected(text, [(0, len(ENGLISH) * 20), (len(ENGLISH) * 20, len(text))]) == "de"
    assert detected(text, [(0, SAMPLE // 2)]) == "en"
