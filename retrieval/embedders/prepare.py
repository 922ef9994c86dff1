"""Preparing a model: a sentence-transformers folder becomes a small ONNX folder that the default embedder runs.

Needs torch and sentence-transformers, once; what comes out needs neither. The result is held against the source on
sample texts and refused when it differs too much.
"""

import hashlib
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np

from retrieval.embedders.manifest import (
    MODEL,
    SHIPPED,
    TOKENIZER,
    Manifest,
    valid_name,
    write_manifest,
)
from retrieval.embedders.onnx import OnnxEmbedder
from retrieval.embedders.quantise import export, quantise
from retrieval.embedders.source import find_source, load_source, prefixes, weights_sha256
from retrieval.errors import ConfigError, MissingExtra, ModelInvalid

REQUIRED_COSINE = 0.98
"""Lowest cosine to the source's vector that any sample text may have."""

NOTES = "Products: 7-bit weights, so that 16-bit sums cannot saturate on CPUs without VNNI. Tables: 8-bit."
"""What every manifest says of the quantisation."""

SAMPLES = (
    "a",
    "What is the notice period during the first six months?",
    "The pump must be primed before the first start; running it dry voids the warranty.",
    "ERR-2047: spindle overload. Reduce feed rate to 120 mm/min and check coolant flow.",
    "def area(radius): return 3.14159 * radius ** 2",
    "Der Vertrag verlängert sich um zwölf Monate, sofern er nicht gekündigt wird.",
    "東京の天気は晴れ、最高気温は25度です。",
    "Net revenue rose 14.2% to $3.61 billion, against $3.16 billion in the same quarter of the previous year.",
    "no, it is not covered",
    " ".join(["The inspector notes the meter reading, signs the form, and files a copy in the plant office."] * 12),
    "| part | torque (Nm) |\n|---|---|\n| M6 | 10 |\n| M8 | 25 |\n| M10 | 49 |",
    "Visitors sign in at reception 🙂, wear a badge, and are met by their host.",
)


def prepare(source: str | Path, *, models_path: Path, name: str | None = None, origin: str | None = None) -> Manifest:
    """Make `models_path/name` from a sentence-transformers folder, or a name in the local Hugging Face cache.

    `origin` says in the manifest where the weights come from, by default the source's name. Nothing is downloaded.
    Raises MissingExtra, ConfigError (no such source, name taken or invalid, a kind of model that is not supported),
    ModelInvalid (the quantised model strays from the source).
    """
    folder = find_source(str(source))
    name = name or Path(source).name
    with new_folder(models_path, name) as made:
        model = load_source(folder, attn_implementation="eager")  # the exporter knows no fused attention
        return _make(model, folder, made, name=name, origin=origin or Path(source).name)


@contextmanager
def new_folder(models_path: Path, name: str) -> Iterator[Path]:
    """An empty folder, which is `models_path/name` when the block has ended well and is gone when it has not.

    Raises ConfigError when the name is invalid or taken, MissingExtra when a model cannot be prepared here.
    """
    target = models_path / name
    if not valid_name(name):
        raise ConfigError(f"model name {name!r}: use letters, digits, dot, dash and underscore only")
    if target.exists() or (SHIPPED / name).exists():
        raise ConfigError(f"a model {name!r} exists already; choose another name with --name, or remove it first")
    if find_spec("onnx") is None:
        raise MissingExtra("preparing a model needs: pip install 'footnote[models]'")
    models_path.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=models_path, prefix=".preparing-") as work:
        made = Path(work) / name
        made.mkdir()
        yield made
        made.rename(target)


def pooling_of(model: Any) -> Literal["mean", "cls"]:
    """How `model` pools. Raises ConfigError for anything but Transformer + mean or cls Pooling (+ Normalize)."""
    kinds = [type(part).__name__ for part in model]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise ConfigError(
            f"a model of {' + '.join(kinds)} is not supported: Footnote prepares Transformer + Pooling (+ Normalize); "
            "use the sentence-transformers embedder for it"
        )
    mode = model[1].pooling_mode
    if mode == "mean":
        return "mean"
    if mode == "cls":
        return "cls"
    raise ConfigError(f"pooling {mode!r} is not supported: Footnote prepares mean and cls pooling only")


def _make(model: Any, folder: Path, made: Path, *, name: str, origin: str) -> Manifest:
    pooling = pooling_of(model)
    with tempfile.TemporaryDirectory() as work:
        outputs = {"token_embeddings": 2, "sentence_embedding": 1}
        export(_graph_module(model[0], pooling), Path(work) / MODEL, inputs=["input_ids"], outputs=outputs)
        quantise(Path(work) / MODEL, made / MODEL)
    (made / TOKENIZER).write_text(model.tokenizer.backend_tokenizer.to_str(), encoding="utf-8")
    query_prefix, document_prefix = prefixes(model)
    draft = Manifest(
        name=name,
        source=origin,
        licence=licence_of(folder),
        source_sha256=weights_sha256(folder),
        files=hashes(made),
        dimension=int(model.get_embedding_dimension()),
        window=int(model.max_seq_length),
        pooling=pooling,
        query_prefix=query_prefix,
        document_prefix=document_prefix,
        cosine_min=0.0,
        cosine_mean=0.0,
        command=f"footnote models prepare {origin} --name {name}",
        tools=tools(),
        notes=NOTES,
    )
    write_manifest(made, draft)
    return _checked(model, made, draft)


def _graph_module(transformer: Any, pooling: Literal["mean", "cls"]) -> Any:
    """Ids to token embeddings and their pooling; a run takes texts of one length, so there is no mask."""
    import torch  # noqa: PLC0415

    class Graph(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = transformer.auto_model

        def forward(self, input_ids: Any) -> Any:
            tokens = self.encoder(input_ids=input_ids).last_hidden_state
            return tokens, tokens.mean(dim=1) if pooling == "mean" else tokens[:, 0]

    return Graph().eval()


def _checked(model: Any, made: Path, draft: Manifest) -> Manifest:
    """`draft` with the cosines that were found on the samples, written. Raises ModelInvalid below REQUIRED_COSINE."""
    wanted = model.encode(
        [draft.document_prefix + text for text in SAMPLES], prompt="", normalize_embeddings=True, batch_size=1
    )
    cosines = np.sum(OnnxEmbedder(made).embed_documents(SAMPLES) * wanted, axis=1)
    if not cosines.min() >= REQUIRED_COSINE:  # also catches NaN
        worst = SAMPLES[int(np.argmin(cosines))]
        raise ModelInvalid(
            f"model {draft.name!r}: quantised, it strays from its source: cosine {cosines.min():.4f} for "
            f"{worst!r:.60}, at least {REQUIRED_COSINE} is required; use the sentence-transformers embedder for it"
        )
    manifest = replace(draft, cosine_min=round(float(cosines.min()), 4), cosine_mean=round(float(cosines.mean()), 4))
    write_manifest(made, manifest)
    return manifest


def licence_of(folder: Path) -> str:
    """The `license:` line of the model card's front matter, or 'unknown'."""
    card = folder / "README.md"
    if card.is_file():
        found = re.search(r"^license:\s*(\S+)", card.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
        if found:
            return found.group(1)
    return "unknown"


def hashes(made: Path) -> dict[str, str]:
    """SHA-256 of the files of a prepared folder, by name."""
    return {file: hashlib.sha256((made / file).read_bytes()).hexdigest() for file in (MODEL, TOKENIZER)}


def tools() -> dict[str, str]:
    """Versions of the libraries that prepare models."""
    return {tool: version(tool) for tool in ("onnx", "onnxruntime", "sentence-transformers", "torch", "transformers")}
