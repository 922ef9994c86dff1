"""Which encoding of old, before Unicode, a text is in: the one whose letters make words of a language it was made for.

Each candidate is decoded and scored: by its share of letters that its languages use, of capitals where they belong,
and by how sure the language model is that the text is in one of its languages.
"""

import re
from dataclasses import dataclass

from ingest.loaders import language

SAMPLE = 2000
"""Bytes around the first that are not ASCII."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    encoding: str
    languages: str
    letters: str
    """As in a character class: what the languages write beside ASCII."""


_WEST = "àâäáãåæçéèêëíìîïñóòôöõøœùúûüÿßÀÂÄÁÃÅÆÇÉÈÊËÍÌÎÏÑÓÒÔÖÕØŒÙÚÛÜ¿¡ªº"
_WEST_LANGUAGES = "de fr es it pt nl sv da no nn fi en ca gl eu is ga fo af id sw"
_EAST = "ąćęłńóśźżĄĆĘŁŃÓŚŹŻáčďéěíňřšťúůýžÁČĎÉÍŇŘŠŤÚŮÝŽľôäöüőűĽÔÖÜŐŰăâîşţĂÂÎŞŢđĐßë"
_EAST_LANGUAGES = "pl cs sk hu ro hr bs sl sq"
_CYRILLIC = "а-яёА-ЯЁіїєґўІЇЄҐЎ"
_CYRILLIC_LANGUAGES = "ru uk bg sr be mk"
_GREEK = "α-ωά-ώΑ-Ωϊϋΐΰ"
_ARABIC = "ء-يپچژگکی،؛؟ً-ْ"
_HAN = "一-鿿　-〃〈-】〔-〗！-～"

# In order of how common they are: of two that fit alike, the first is taken.
_CANDIDATES = (
    _Candidate("cp1252", _WEST_LANGUAGES, _WEST),
    _Candidate("cp1250", _EAST_LANGUAGES, _EAST),
    _Candidate("iso8859-2", _EAST_LANGUAGES, _EAST),
    _Candidate("cp1251", _CYRILLIC_LANGUAGES, _CYRILLIC),
    _Candidate("koi8-r", "ru", "а-яёА-ЯЁ"),
    _Candidate("koi8-u", "uk", "а-яА-ЯіїєґІЇЄҐ"),
    _Candidate("cp866", "ru", "а-яёА-ЯЁ"),
    _Candidate("iso8859-5", _CYRILLIC_LANGUAGES, _CYRILLIC),
    _Candidate("mac-cyrillic", _CYRILLIC_LANGUAGES, _CYRILLIC),
    _Candidate("cp1254", "tr", "çğıöşüâîûÇĞİÖŞÜ"),
    _Candidate("cp1257", "lt lv et", "āčēģīķļņšūžąęėįųĀČĒĢĪĶĻŅŠŪŽĄĘĖĮŲõäöüÕÄÖÜ"),
    _Candidate("cp1255", "he", "א-תװ-ײְ-ׂ"),
    _Candidate("cp1253", "el", _GREEK),
    _Candidate("iso8859-7", "el", _GREEK),
    _Candidate("cp1256", "ar fa ur", _ARABIC),
    _Candidate("iso8859-6", "ar", _ARABIC),
    _Candidate("cp874", "th", "ก-ฺเ-๛"),
    _Candidate("cp932", "ja", _HAN + "ぁ-んァ-ヶー・"),
    _Candidate("euc_jp", "ja", _HAN + "ぁ-んァ-ヶー・"),
    _Candidate("gb18030", "zh", _HAN),
    _Candidate("big5", "zh", _HAN),
    _Candidate("cp949", "ko", "가-힣" + _HAN),
    _Candidate("mac-roman", _WEST_LANGUAGES, _WEST),
    _Candidate("cp850", _WEST_LANGUAGES, _WEST),
)

# Typographic signs, which say nothing of the language.
_NEUTRAL = re.compile("[\u2018-\u201e\u2013\u2014\u2026\u2022€£§°©®«»·№\xa0…´%]")
# What no word has: a capital after a small letter, a Greek ς before another letter, a Thai mark without its letter, a
# sign between letters.
_BROKEN = re.compile(
    r"[a-zà-öø-ÿа-яёα-ω](?=[A-ZÀ-ÖØ-ÞА-ЯЁΑ-Ω])|ς(?=[α-ω])|(?<![ก-ฮัิ-ฺ็-๎])[ัิ-ฺ็-๎]"
    r"|(?<=[^\W\d_])[£¥§°©®«»·№¡¿´](?=[^\W\d_])"
)
_CAPITALS = re.compile("(?<=[А-ЯЁΑ-Ω])[А-ЯЁΑ-Ω]")
_OWN_SCRIPT = {"el": 0.7, "he": 0.7, "th": 0.9}
"""Languages that alone use their letters: the model is sure of them whatever the letters say. Their likelihood."""

_GREEK_ACCENTS = re.compile("[άέήίόύώ]")


def guess(data: bytes) -> str:
    """The encoding of a text that is neither ASCII nor Unicode; of a short one the most common that fits."""
    sample = _sample(data)
    scored = [(_score(sample, candidate), -i) for i, candidate in enumerate(_CANDIDATES)]
    return _CANDIDATES[-max(scored)[1]].encoding


def _sample(data: bytes) -> bytes:
    """Lines around the first byte that is not ASCII."""
    match = re.search(rb"[\x80-\xff]", data)
    at = match.start() if match else 0
    begin = data.rfind(b"\n", max(at - SAMPLE // 4, 0), at) + 1 or max(at - SAMPLE // 4, 0)
    return data[begin : begin + SAMPLE]


def _score(sample: bytes, candidate: _Candidate) -> float:
    text = sample.decode(candidate.encoding, errors="replace")
    if sample and text.endswith("\ufffd"):  # a letter that the sample cuts
        text = text[:-1]
    foreign = [sign for sign in text if sign > "\x7f" and not _NEUTRAL.match(sign)]
    expected = len(re.findall(f"[{candidate.letters}]", text))
    wrong = len(foreign) - expected + _mixed(text, candidate)
    share = (expected - 2 * wrong) / len(foreign) if foreign else 1.0
    broken = len(_BROKEN.findall(text)) / max(len(text.split()), 1)
    shouted = len(_CAPITALS.findall(text)) / max(len(foreign), 1)
    likely = _OWN_SCRIPT.get(candidate.languages) or language.likelihood(text, candidate.languages.split())
    if candidate.languages == "el" and not _GREEK_ACCENTS.search(text):
        likely /= 2
    return share - broken - shouted / 2 + likely


def _mixed(text: str, candidate: _Candidate) -> int:
    """Places where a letter of another script touches a Latin one, as none does within a word."""
    if candidate.letters[0] in _WEST + _EAST + "çā":
        return 0
    return len(re.findall(f"[A-Za-z][{candidate.letters}]|[{candidate.letters}][A-Za-z]", text))
