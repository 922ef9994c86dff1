"""Text to terms."""

import pytest

from retrieval.analysis import analyzer
from retrieval.errors import ConfigError


def terms(text: str, language: str = "english") -> list[str]:
    return analyzer(language).terms(text)


def test_words_are_lowered_stemmed_and_stop_words_left_out() -> None:
    """The classic path."""
    assert terms("The Pumps are RUNNING") == ["pump", "run"]


@pytest.mark.parametrize(
    ("text", "whole"),
    [("s3:GetObject", "s3:getobject"), ("Form 10-Q", "10-q"), ("v1.25.1", "v1.25.1"), ("AMZN_2023", "amzn_2023"),
     ("C++", "c++"), ("C#", "c#"), ("foo@bar.com", "foo@bar.com"), ("E-1043/7", "e-1043/7")],
)  # fmt: skip
def test_identifiers_are_kept_whole_beside_their_parts(text: str, whole: str) -> None:
    """An exact identifier is a term of its own, unstemmed."""
    assert whole in terms(text)


def test_an_identifier_matches_in_every_spelling_of_its_surroundings() -> None:
    """Full stops, brackets and quotes around it are not part of it."""
    for text in ("(s3:GetObject)", "s3:GetObject.", '"s3:GetObject",', "`s3:GetObject`"):
        assert "s3:getobject" in terms(text)


def test_possessives_are_the_word() -> None:
    """Both apostrophes."""
    assert terms("company's") == terms("company’s") == terms("company")


def test_accents_do_not_matter() -> None:
    """Composed, decomposed or left out."""
    assert terms("café") == terms("cafe\u0301") == terms("cafe")


def test_wide_and_ligature_forms_are_the_plain_ones() -> None:
    """NFKC: what looks the same is the same."""
    assert terms("ﬁle ＡＢＣ") == terms("file ABC")


def test_scripts_without_spaces_give_pairs() -> None:
    """A query of two characters finds them anywhere in a run."""
    assert terms("北京大学") == ["北京", "京大", "大学"]
    assert terms("京") == ["京"]


def test_languages_stem_differently() -> None:
    """German plural, no stemming at all, and an unknown language."""
    assert terms("Pumpen", "german") == ["pump"]
    assert terms("Pumps the", "none") == ["pumps", "the"]
    with pytest.raises(ConfigError, match=r"'klingon' is not known; one of none, arabic"):
        analyzer("klingon")


def test_nothing_gives_nothing() -> None:
    """Empty text, signs, stop words."""
    assert terms("") == terms("?! -- ...") == terms("the of and") == []
