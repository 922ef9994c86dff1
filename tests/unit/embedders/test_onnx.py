"""The default embedder on the model that ships with Footnote."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from retrieval.embedders.onnx import OnnxEmbedder
from retrieval.errors import EmbedderError, ModelInvalid

TEXTS = [
    "The pump must be primed before the first start.",
    "no",
    "",
    "Zwölf Kämpfer jagen 🦊 über den Deich; 東京 25度.",
    "Pressure, temperature and flow are logged every ten seconds and kept for ninety days. " * 40,
    "| part | torque |\n|---|---|\n| M6 | 10 Nm |",
]


def test_vectors_have_the_promised_shape_and_length(shipped: OnnxEmbedder) -> None:
    """Rows are float32, of the manifest's dimension and of unit length, an empty text's too."""
    vectors = shipped.embed_documents(TEXTS)
    assert vectors.shape == (len(TEXTS), shipped.info.dimension)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


def test_no_texts_give_no_rows(shipped: OnnxEmbedder) -> None:
    """An empty list is an array of shape (0, dimension)."""
    assert shipped.embed_documents([]).shape == (0, 384)
    assert shipped.embed_queries([]).shape == (0, 384)


def test_a_vector_does_not_depend_on_its_companions(shipped: OnnxEmbedder) -> None:
    """Alone, in a batch and in another order a text has the same vector, to the last bit."""
    together = shipped.embed_documents(TEXTS)
    alone = np.concatenate([shipped.embed_documents([text]) for text in TEXTS])
    reversed_order = shipped.embed_documents(TEXTS[::-1])[::-1]
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_array_equal(together, reversed_order)


def test_a_vector_does_not_depend_on_the_number_of_threads(shipped: OnnxEmbedder, shipped_folder: Path) -> None:
    """One thread and two give the same bits."""
    single = OnnxEmbedder(shipped_folder, threads=1)
    np.testing.assert_array_equal(single.embed_documents(TEXTS), shipped.embed_documents(TEXTS))


def test_callers_in_many_threads_get_their_own_results(shipped_folder: Path) -> None:
    """Concurrent first calls load the model once and do not mix rows."""
    embedder = OnnxEmbedder(shipped_folder, threads=2)
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda text: embedder.embed_queries([text])[0], TEXTS * 3))
    np.testing.assert_array_equal(np.array(results), np.tile(embedder.embed_queries(TEXTS), (3, 1)))


def test_text_beyond_the_window_is_cut(shipped: OnnxEmbedder) -> None:
    """What follows the window's last token changes nothing; what lies before it does."""
    head = "valve " * 254  # one token each; [CLS] and [SEP] make 256
    full, longer, other = shipped.embed_documents([head, head + "pump " * 50, "pump " + head])
    np.testing.assert_array_equal(full, longer)
    assert not np.array_equal(full, other)


def test_lone_surrogates_do_not_crash(shipped: OnnxEmbedder) -> None:
    """A text that has no UTF-8 is embedded with a question mark in the place of each surrogate."""
    broken, clean = shipped.embed_documents(["a \ud800 b", "a ? b"])
    np.testing.assert_array_equal(broken, clean)


def test_offsets_point_into_the_original_text(shipped: OnnxEmbedder) -> None:
    """Spans slice the given text, whatever accents, capitals, emoji or surrogates do to the normalised one."""
    text = "Über in SÃO 🍮 \ud800 第3"
    words = [text[start:end] for start, end in shipped.tokenizer.offsets(text)]
    assert words[:2] == ["Über", "in"]
    assert words[-2:] == ["第", "3"]
    assert "🍮" in words
    assert "".join(words).replace("\ud800", "") == text.replace(" ", "").replace("\ud800", "")


def test_offsets_are_not_truncated(shipped: OnnxEmbedder) -> None:
    """A text far longer than the window is cut into all its tokens, without special ones."""
    assert len(shipped.tokenizer.offsets("valve " * 5000)) == 5000
    assert shipped.tokenizer.offsets("") == []


def test_a_changed_model_file_is_refused(shipped_folder: Path, tmp_path: Path) -> None:
    """One flipped byte stops the embedder; the error names the file and both hashes."""
    folder = tmp_path / "model"
    shutil.copytree(shipped_folder, folder)
    data = bytearray((folder / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "model.onnx").write_bytes(data)
    with pytest.raises(ModelInvalid, match=r"model\.onnx' has SHA-256 [0-9a-f]{64}, the manifest says [0-9a-f]{64}"):
        OnnxEmbedder(folder).embed_queries(["pump"])


def test_a_missing_tokenizer_is_named(shipped_folder: Path, tmp_path: Path) -> None:
    """A half-copied folder gives a clear error at first use."""
    folder = tmp_path / "model"
    shutil.copytree(shipped_folder, folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelInvalid, match=r"tokenizer\.json' cannot be read"):
        OnnxEmbedder(folder).embed_queries(["pump"])


def test_negative_threads_are_refused(shipped_folder: Path) -> None:
    """The error says which value and what would be right."""
    with pytest.raises(EmbedderError, match="threads is -1"):
        OnnxEmbedder(shipped_folder, threads=-1)
