"""Which language a document is written in, by py3langid: a naive Bayes model over bytes (Lui and Baldwin 2012)."""

import re
from collections.abc import Iterable, Sequence
from functools import cache
from importlib import import_module
from typing import Any

SAMPLE = 2000
"""Characters that are looked at, from the middle: a text begins and ends with names, addresses and licences."""

MIN_LETTERS = 40
"""Below, a guess is one."""

MIN_CONFIDENCE = 0.9

_NO_WORD = re.compile(r"\S*[\d@/\\_{}<>=]\S*")
_CODE = re.compile(r"([A-Za-z]{2,3})(?:[-_][A-Za-z0-9]+)*$")

# What documents say in three letters (ISO 639-2 and 639-3), where two are common.
_SHORT = dict(
    pair.split("=")
    for pair in (
        "ara=ar ces=cs cze=cs chi=zh zho=zh dan=da deu=de ger=de dut=nl nld=nl ell=el gre=el eng=en fin=fi fra=fr "
        "fre=fr heb=he hin=hi hun=hu ita=it jpn=ja kor=ko nor=no pol=pl por=pt ron=ro rum=ro rus=ru spa=es swe=sv "
        "tur=tr ukr=uk vie=vi fas=fa per=fa iw=he nb=no "
    ).split()
)


def declared(value: object) -> str:
    """The ISO 639-1 code in what a file says of itself, e.g. 'en' in 'en-US'; empty where it says nothing of use."""
    match = _CODE.match(value.strip()) if isinstance(value, str) else None
    code = match[1].lower() if match else ""
    code = _SHORT.get(code, code)
    return code if len(code) == 2 else ""


def detected(text: str, spans: Sequence[tuple[int, int]]) -> str:
    """The ISO 639-1 code of the language of `text` in these spans, ascending; empty where that is not for sure."""
    text = _NO_WORD.sub(" ", _middle(text, spans))
    if sum(map(str.isalpha, text)) < MIN_LETTERS and not _is_dense(text):
        return ""
    code, confidence = _model().classify(text)
    return str(code) if confidence >= MIN_CONFIDENCE else ""


def likelihood(text: str, codes: Iterable[str]) -> float:
    """How sure the model is, from 0 to 1, that `text` is in one of these languages."""
    ranked = dict(_model().rank(text))
    return float(sum(ranked.get(code, 0.0) for code in codes))


def _middle(text: str, spans: Sequence[tuple[int, int]]) -> str:
    before = max((sum(end - start for start, end in spans) - SAMPLE) // 2, 0)
    parts: list[str] = []
    room = SAMPLE
    for start, end in spans:
        if before >= end - start:
            before -= end - start
            continue
        parts.append(text[start + before : min(end, start + before + room)])
        room -= len(parts[-1])
        before = 0
        if room <= 0:
            break
    return "\n".join(parts)


def _is_dense(text: str) -> bool:
    """Chinese, Japanese and Korean say in ten characters what takes forty letters."""
    return sum("\u3040" <= sign <= "\u9fff" or "\uac00" <= sign <= "\ud7af" for sign in text) * 4 >= MIN_LETTERS


@cache
def _model() -> Any:
    """Half a second and about 100 MB, so not before it is needed."""
    module = import_module("py3langid.langid")
    model = module.LanguageIdentifier.from_model_file(module.MODEL_FILE, norm_probs=True)
    # Of those with a code only: without it, Egyptian and Arabic or Wu and Chinese share the confidence.
    model.set_languages([code for code in model.labels if len(code) == 2])
    return model
