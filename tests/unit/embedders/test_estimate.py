"""The tokenizer by rule: rather too many tokens than too few, against the shipped model's own."""

import base64
import random
from pathlib import Path

import pytest

from retrieval.embedders.estimate import EstimatingTokenizer
from retrieval.embedders.onnx import OnnxEmbedder

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", []),
        (" ", []),
        ("pump", ["pum", "p"]),
        ("The Oil", ["The", "Oil"]),
        ("HTTP", ["HT", "TP"]),
        ("iPhone", ["i", "Phon", "e"]),
        ("40 bar", ["4", "0", "bar"]),
        ("at 40", ["at", " ", "4", "0"]),
        ("a\n\tb", ["a", "\n", "\t", "b"]),
        ("if x:\n    y", ["if", "x", ":", "\n", "    ", "y"]),
        ("s3:GetObject", ["s", "3", ":", "Get", "Obje", "ct"]),
        ("Größe", ["G", "r", "ö", "ß", "e"]),
        ("水a", ["水", "水", "a"]),
        ("😀", ["😀", "😀", "😀"]),
        ("\ud800", ["\ud800", "\ud800"]),
    ],
)
def test_what_counts_as_a_token(text: str, tokens: list[str]) -> None:
    """Letters by threes, digits and signs one by one, other characters by their bytes."""
    assert [text[start:end] for start, end in EstimatingTokenizer().offsets(text)] == tokens


@pytest.mark.parametrize("path", ["README.md", "docs/ingestion.md", "CHANGELOG.md", "retrieval/ports.py"])
def test_english_and_code_have_fewer_tokens_than_estimated(shipped: OnnxEmbedder, path: str) -> None:
    """In every stretch of 500 characters, and not by so much that chunks would be tiny."""
    text = (ROOT / path).read_text(encoding="utf-8")
    estimating = EstimatingTokenizer()
    ratios = [
        len(estimating.offsets(part)) / len(shipped.tokenizer.offsets(part))
        for part in (text[i : i + 500] for i in range(0, len(text) - 500, 500))
    ]
    assert min(ratios) >= 1.0
    assert sum(ratios) / len(ratios) < 2.0


@pytest.mark.parametrize(
    "text",
    [
        "Die Größenordnung der Versicherungsgesellschaften wird durch Bundesministerien überprüft. " * 5,
        "水泵的压力必须在启动前检查，阀门必须打开。" * 5,
        "Россия — государство в Восточной Европе и Северной Азии. " * 5,
        "المضخة تعمل عند ضغط أربعين بار ويجب فتح الصمام أولا. " * 5,
        base64.b64encode(random.Random(1).randbytes(600)).decode(),
        "1,234.56 | 7,890.12 | 0.001\n" * 20,
    ],
)
def test_other_texts_have_hardly_more_tokens_than_estimated(shipped: OnnxEmbedder, text: str) -> None:
    """At most a tenth, in a model that has learned nothing but English."""
    assert len(EstimatingTokenizer().offsets(text)) >= 0.9 * len(shipped.tokenizer.offsets(text))


def test_a_long_text_takes_linear_time() -> None:
    """A megabyte of one letter is no trap."""
    assert len(EstimatingTokenizer().offsets("a" * 1_000_000)) == 333_334
