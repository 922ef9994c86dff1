"""Text in the encodings of old, which do not say what they are."""

import pytest

from ingest.loaders.charset import decode
from tests.unit.ingest.files import read

SENTENCES = {
    "de": "Die schöne Müllerin grüßt über den großen Fluß. Während der Überfahrt hörten wir ein Lied.",
    "fr": "L'été dernier, nous avons passé la journée à la plage. Où êtes-vous allés ? Ça nous a beaucoup plu.",
    "es": "El niño comió una manzana y después jugó en el jardín. ¿Dónde está la señora Muñoz? ¡Qué lástima!",
    "pl": "Zażółć gęślą jaźń. Książka leży na stole, a dziecko śpi w łóżku. Później pójdziemy do sklepu.",
    "cs": "Příliš žluťoučký kůň úpěl ďábelské ódy. Dítě spí a matka čte knihu o zvířatech, která žijí v lese.",
    "hu": "Árvíztűrő tükörfúrógép. A gyerek az ágyban alszik, az anya pedig könyvet olvas az erdőben.",
    "ru": "Съешь же ещё этих мягких французских булок, да выпей чаю. Мы пошли в магазин и купили хлеб.",
    "uk": "Жебракують філософи при ґанку церкви в Гадячі. Ми пішли до крамниці й купили хліб та сир.",
    "el": "Η γρήγορη αλεπού πηδάει πάνω από το τεμπέλικο σκυλί. Πήγαμε στο κατάστημα και αγοράσαμε ψωμί.",
    "tr": "Pijamalı hasta yağız şoföre çabucak güvendi. Çocuk yatakta uyuyor ve annesi kitap okuyor.",
    "he": "הילד ישן במיטה והאם קוראת ספר על בעלי החיים החיים ביער הגדול.",
    "ar": "ذهب الولد إلى المدرسة وقرأ الكتاب ثم عاد إلى البيت ليأكل الطعام مع أسرته.",
    "ja": "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。何でも薄暗い所で泣いていた。",
    "zh": "委员会将于星期四再次开会，讨论明年的预算和计划。我们去商店买了面包、牛奶和奶酪。",
    "zh-Hant": "委員會將於星期四再次開會，討論明年的預算和計劃。我們去商店買了麵包、牛奶和起司。",
    "ko": "위원회는 내년 예산과 계획을 논의하기 위해 목요일에 다시 모인다. 우리는 가게에 가서 빵을 샀다.",
    "th": "คณะกรรมการจะประชุมอีกครั้งในวันพฤหัสบดีเพื่อหารือเกี่ยวกับงบประมาณ",
}
ENCODINGS = {
    "de": "cp1252 latin-1 cp850 mac-roman",
    "fr": "cp1252 latin-1 cp850 mac-roman",
    "es": "cp1252 latin-1",
    "pl": "cp1250 iso8859-2",
    "cs": "cp1250 iso8859-2",
    "hu": "cp1250 iso8859-2",
    "ru": "cp1251 koi8-r cp866 iso8859-5 mac-cyrillic",
    "uk": "cp1251 koi8-u",
    "el": "cp1253 iso8859-7",
    "tr": "cp1254 iso8859-9",
    "he": "cp1255 iso8859-8",
    "ar": "cp1256 iso8859-6",
    "ja": "cp932 euc_jp iso2022_jp utf-16-le",
    "zh": "gb18030 utf-16-le utf-16-be",
    "zh-Hant": "big5 utf-16-le",
    "ko": "cp949 utf-16-le",
    "th": "cp874",
}
CASES = [(code, encoding) for code, names in ENCODINGS.items() for encoding in names.split()]


@pytest.mark.parametrize(("code", "encoding"), CASES)
def test_a_sentence_is_enough(code: str, encoding: str) -> None:
    """Its letters make words of a language in one encoding only."""
    assert read(SENTENCES[code].encode(encoding), "a.txt").text == SENTENCES[code]


@pytest.mark.parametrize("text", ["Grüße", "café", "El niño", "naïve “résumé” – 5 €", "20 °C", "Straße 5"])
def test_of_a_short_text_the_most_common_encoding_is_taken(text: str) -> None:
    """Windows-1252, as browsers do."""
    assert decode(text.encode("cp1252")) == text


def test_the_sample_is_taken_where_it_matters() -> None:
    """A megabyte of plain English may come before the first name."""
    text = "Plain English.\n" * 50_000 + SENTENCES["ru"]
    assert decode(text.encode("cp1251")) == text
