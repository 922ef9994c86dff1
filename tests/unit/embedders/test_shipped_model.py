"""The shipped model against the publisher's weights, and its promise to be right on every CPU."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retrieval.embedders.manifest import MODEL, list_models, read_manifest, read_verified
from retrieval.embedders.onnx import OnnxEmbedder
from retrieval.embedders.quantise import LIMIT
from tests.unit.embedders.conftest import cosines

PAIRS = [
    ("How long is the notice period in probation?", "In the trial period either side may leave within two weeks."),
    ("Which oil goes into the gearbox?", "Fill the gear unit with 1.8 litres of synthetic lubricant, VG 220."),
    ("Can I get my money back?", "Customers may return unused goods within 30 days for a full refund."),
    ("error code E47 on the dryer", "E47: exhaust filter blocked. Clean the lint screen, restart the tumble dryer."),
    ("Who signs for purchases above 10,000 euros?", "Orders over EUR 10,000 need the finance director's approval."),
    ("What was the revenue in the third quarter?", "Sales for the three months to 30 September came to $4.1 million."),
    ("How do I reset my password?", "Choose 'Forgotten credentials' on the sign-in page; a link arrives by e-mail."),
    ("Is smoking allowed on site?", "Tobacco may be used only in the marked shelter behind building C."),
    ("maximum weight of the lift", "The elevator carries eight persons or 630 kg."),
    ("Wann wird die Miete fällig?", "Die Miete ist bis zum dritten Werktag des Monats zu zahlen."),
    ("function that sorts a list in place", "def order(items): items.sort()  # mutates its argument, returns None"),
    ("side effects of the vaccine", "Some people have a sore arm, fever or feel tired for a day after the injection."),
]  # fmt: skip

VARIED = [
    *(text for pair in PAIRS for text in pair),
    "x",
    "東京の天気は晴れです。",
    "Привет, как дела?",
    "Pressure is logged every ten seconds and kept for ninety days in the plant archive. " * 30,
    "SKU 4711-B; torque 49 Nm; 3.61e9; 14.2%; 2026-11-21T08:00:00Z",
]


UNKNOWN = "🙂🙃🙂"
"""No piece of it is in the vocabulary: three times [UNK], the worst case that was found."""


@pytest.fixture(scope="module")
def official(official_folder: Path) -> Any:
    """The publisher's model in fp32 torch."""
    sentence_transformers = pytest.importorskip("sentence_transformers")
    return sentence_transformers.SentenceTransformer(str(official_folder), device="cpu", local_files_only=True)


def test_vectors_are_near_the_official_ones(shipped: OnnxEmbedder, official: Any) -> None:
    """Over short, long, multilingual and odd texts the cosine to fp32 is 0.99 at least, 0.994 on average."""
    found = cosines(shipped.embed_documents(VARIED), official.encode(VARIED, batch_size=1))
    assert found.min() >= 0.99
    assert found.mean() >= 0.994
    unknown = cosines(shipped.embed_documents([UNKNOWN]), official.encode([UNKNOWN]))
    assert unknown.min() >= 0.98


def test_rankings_agree_with_the_official_ones(shipped: OnnxEmbedder, official: Any) -> None:
    """Each query has the same best document, and scores differ by 0.03 at most."""
    queries, documents = map(list, zip(*PAIRS, strict=True))
    ours = shipped.embed_queries(queries) @ shipped.embed_documents(documents).T
    theirs = official.encode(queries) @ official.encode(documents).T
    np.testing.assert_array_equal(ours.argmax(axis=1), theirs.argmax(axis=1))
    assert np.abs(ours - theirs).max() <= 0.03


def test_tokens_are_the_official_ones(shipped: OnnxEmbedder, official: Any) -> None:
    """Ids with special tokens and truncation are equal to those of the publisher's tokenizer."""
    for text in VARIED:
        expected = official.tokenizer(text, truncation=True, max_length=256)["input_ids"]
        assert shipped.tokenizer.ids(text).tolist() == expected


def test_products_cannot_saturate(shipped_folder: Path) -> None:
    """All weights of matrix products lie in 7 bits: two products with a byte fit 16 bits, with VNNI or without."""
    onnx = pytest.importorskip("onnx")
    model = onnx.load(shipped_folder / MODEL)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    seen = 0
    for node in model.graph.node:
        if node.op_type in (
            "MatMulIntegerToFloat",
            "DynamicQuantizeMatMul",
            "MatMulNBits",
            "MatMulInteger",
            "QAttention",
        ):
            weights = onnx.numpy_helper.to_array(tensors[node.input[1]]).astype(np.int32)
            centre = 128 if node.op_type == "MatMulNBits" else 0
            assert np.abs(weights - centre).max() <= LIMIT
            seen += 1
    assert seen == 36  # six layers of query, key, value, output and two of the feed-forward
    assert np.iinfo(np.int16).max >= 2 * 255 * LIMIT


def test_the_manifest_names_the_official_weights(shipped_folder: Path, official_folder: Path) -> None:
    """The source hash is that of the publisher's file, and licence, window and pooling are the publisher's."""
    manifest = read_manifest(shipped_folder)
    weights = (official_folder / "model.safetensors").read_bytes()
    assert manifest.source_sha256 == hashlib.sha256(weights).hexdigest()
    assert (manifest.licence, manifest.window, manifest.pooling) == ("apache-2.0", 256, "mean")


def test_every_shipped_file_is_intact(tmp_path: Path) -> None:
    """What is committed is what its manifest says."""
    from retrieval.embedders.manifest import SHIPPED

    for manifest in list_models(tmp_path):
        for name in manifest.files:
            assert read_verified(SHIPPED / manifest.name, manifest, name)
