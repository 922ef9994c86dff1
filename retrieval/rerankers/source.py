"""Cross-encoders as sentence-transformers saves them: telling them from embedders, and loading them."""

import json
from pathlib import Path
from typing import Any

from retrieval.errors import ConfigError, MissingExtra

CLASSIFIER = "ForSequenceClassification"


def is_cross_encoder(folder: Path) -> bool:
    """Whether the folder's weights judge a pair of texts: a classifier's, or saved by `CrossEncoder`."""
    architectures = _json(folder / "config.json").get("architectures")
    saved_by = _json(folder / "config_sentence_transformers.json").get("model_type")
    first = architectures[0] if isinstance(architectures, list) and architectures else ""
    return saved_by == "CrossEncoder" or str(first).endswith(CLASSIFIER)


def load_cross_encoder(folder: Path, *, device: str = "cpu", **model_options: Any) -> Any:
    """The `CrossEncoder` of a folder, from local files only. Raises MissingExtra, ConfigError.

    On device 'auto' it is put on a GPU where there is one. An embedder's folder is refused: transformers would put a
    head of random numbers on it.
    """
    if not is_cross_encoder(folder):
        raise ConfigError(
            f"{str(folder)!r} holds no cross-encoder: its config.json names no architecture that ends with "
            f"{CLASSIFIER!r}; name one that does in retrieval.rerank_model"
        )
    try:
        from sentence_transformers import CrossEncoder  # noqa: PLC0415 - seconds, and an extra
    except ImportError as exc:
        raise MissingExtra("cross-encoders need: pip install 'footnote[sentence-transformers]'") from exc
    try:
        where = None if device == "auto" else device
        model = CrossEncoder(str(folder), device=where, local_files_only=True, model_kwargs=model_options)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, AssertionError) as exc:
        raise ConfigError(f"{str(folder)!r} cannot be loaded as a cross-encoder on device {device!r}: {exc}") from exc
    if model.num_labels != 1:
        raise ConfigError(
            f"{str(folder)!r} gives {model.num_labels} numbers for a pair, a reranker gives one; "
            "name a model that was trained for ranking in retrieval.rerank_model"
        )
    model.max_seq_length = _window(model)
    return model.eval()


def _window(model: Any) -> int:
    """What the tokenizer says, unless the weights have fewer positions: of RoBERTa's, those up to the padding token's
    number are never used, and not every tokenizer says so.
    """
    window = int(model.max_seq_length)
    if "roberta" in str(model.config.model_type):
        return min(window, int(model.config.max_position_embeddings) - int(model.config.pad_token_id) - 1)
    return window


def _json(path: Path) -> dict[str, Any]:
    """What a file says; nothing when it is not there or no JSON object."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
