"""Where the weights of a sentence-transformers model lie: a folder, or the local Hugging Face cache."""

import hashlib
from pathlib import Path
from typing import Any

from retrieval.errors import ConfigError, MissingExtra


def find_source(model: str) -> Path:
    """The folder of `model`: a path, or a name in the local Hugging Face cache. Raises ConfigError, MissingExtra."""
    if Path(model).is_dir():
        return Path(model)
    try:
        from huggingface_hub import snapshot_download  # noqa: PLC0415 - an extra
    except ImportError as exc:
        raise MissingExtra("sentence-transformers models need: pip install 'footnote[sentence-transformers]'") from exc
    try:
        return Path(snapshot_download(model, local_files_only=True))
    except (OSError, ValueError) as exc:
        raise ConfigError(
            f"{model!r} is neither a folder nor a model in the local Hugging Face cache; "
            "Footnote downloads nothing: fetch it first, e.g. with `hf download`"
        ) from exc


def load_source(folder: Path, *, device: str = "cpu", **model_options: Any) -> Any:
    """The `SentenceTransformer` of a folder, from local files only. Raises MissingExtra, ConfigError.

    On device 'auto' it is put on a GPU where there is one.
    """
    try:
        from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - seconds, and an extra
    except ImportError as exc:
        raise MissingExtra("sentence-transformers models need: pip install 'footnote[sentence-transformers]'") from exc
    try:
        where = None if device == "auto" else device
        model = SentenceTransformer(str(folder), device=where, local_files_only=True, model_kwargs=model_options)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, AssertionError) as exc:
        raise ConfigError(
            f"{str(folder)!r} cannot be loaded as a sentence-transformers model on device {device!r}: {exc}"
        ) from exc
    return model.eval()


def prefixes(model: Any) -> tuple[str, str]:
    """What the model wants before queries and before documents, from its prompts; '' where it says nothing."""
    prompts = {name: text or "" for name, text in model.prompts.items()}
    documents = [prompts[name] for name in ("document", "passage", "corpus") if prompts.get(name)]
    return prompts.get("query", ""), documents[0] if documents else ""


def weights_sha256(folder: Path) -> str:
    """SHA-256 of the weight file, or of the hashes of several. Raises ConfigError when there is none."""
    files = sorted(folder.rglob("*.safetensors")) or sorted(folder.rglob("pytorch_model*.bin"))
    if not files:
        raise ConfigError(f"{str(folder)!r} holds no weights: neither *.safetensors nor pytorch_model*.bin")
    hashes = []
    for file in files:
        with file.open("rb") as stream:
            hashes.append(hashlib.file_digest(stream, "sha256").hexdigest())
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest()
