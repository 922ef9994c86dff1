"""Preparing a cross-encoder: a sentence-transformers folder becomes a small ONNX folder that `OnnxReranker` runs.

Needs torch and sentence-transformers, once; what comes out needs neither. The result is held against the source on
sample pairs and refused when it differs too much.
"""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.embedders.manifest import MODEL, TOKENIZER, write_manifest
from retrieval.embedders.prepare import NOTES, SAMPLES, hashes, licence_of, new_folder, tools
from retrieval.embedders.quantise import export, quantise
from retrieval.embedders.source import find_source, weights_sha256
from retrieval.errors import ConfigError, ModelInvalid
from retrieval.rerankers.manifest import Activation, CrossEncoderManifest
from retrieval.rerankers.onnx import OnnxReranker
from retrieval.rerankers.source import load_cross_encoder

REQUIRED_CORRELATION = 0.9
"""Least Spearman correlation of the outputs with the source's, over all sample pairs. Most of these pairs do not fit
together; how a model orders them among themselves is of little weight, so this alone would not do."""

ALLOWED_DIFFERENCE = 0.15
"""Greatest difference between an output and the source's, as a share of the range of the source's. A 22M BERT with a
head that was trained for minutes has 0.06 and a correlation of 0.995; with a random head, 0.09 and 0.986."""

QUERIES = (
    "What is the notice period during the first six months?",
    "how is the pump started for the first time",
    "ERR-2047",
    "Wie lange verlängert sich der Vertrag?",
    "net revenue of the quarter compared with the year before",
    "who meets visitors at reception, and what do they have to wear while they are in the building",
)
"""Each has a sample text that answers it and others that do not."""


def prepare_cross_encoder(
    source: str | Path, *, models_path: Path, name: str | None = None, origin: str | None = None
) -> CrossEncoderManifest:
    """Make `models_path/name` from a cross-encoder's folder, or a name in the local Hugging Face cache.

    `origin` says in the manifest where the weights come from, by default the source's name. Nothing is downloaded.
    Raises MissingExtra, ConfigError (no such source, name taken or invalid, a kind of model that is not supported),
    ModelInvalid (the quantised model strays from the source).
    """
    folder = find_source(str(source))
    name = name or Path(source).name
    with new_folder(models_path, name) as made:
        model = load_cross_encoder(folder, attn_implementation="eager")  # the exporter knows no fused attention
        return _make(model, folder, made, name=name, origin=origin or Path(source).name)


def _make(model: Any, folder: Path, made: Path, *, name: str, origin: str) -> CrossEncoderManifest:
    activation = _activation(model)
    token_types = _has_token_types(model)
    inputs = ["input_ids", "token_type_ids"] if token_types else ["input_ids"]
    with tempfile.TemporaryDirectory() as work:
        export(_graph_module(model), Path(work) / MODEL, inputs=inputs, outputs={"score": 1})
        quantise(Path(work) / MODEL, made / MODEL)
    (made / TOKENIZER).write_text(model.tokenizer.backend_tokenizer.to_str(), encoding="utf-8")
    draft = CrossEncoderManifest(
        name=name,
        source=origin,
        licence=licence_of(folder),
        source_sha256=weights_sha256(folder),
        files=hashes(made),
        window=int(model.max_seq_length),
        token_types=token_types,
        activation=activation,
        correlation=0.0,
        difference_max=0.0,
        command=f"footnote models prepare {origin} --name {name}",
        tools=tools(),
        notes=NOTES,
    )
    write_manifest(made, draft)
    return _checked(model, made, draft)


def _activation(model: Any) -> Activation:
    kinds = [type(part).__name__ for part in model]
    if kinds != ["Transformer"]:
        raise ConfigError(
            f"a cross-encoder of {' + '.join(kinds)} is not supported: Footnote prepares classifiers with one label; "
            "use retrieval.reranker = 'cross-encoder' for it"
        )
    activations: dict[str, Activation] = {"Identity": "identity", "Sigmoid": "sigmoid"}
    named = type(model.activation_fn).__name__
    if named not in activations:
        raise ConfigError(
            f"a cross-encoder with the activation {named!r} is not supported: Footnote prepares those with Identity or "
            "Sigmoid; use retrieval.reranker = 'cross-encoder' for it"
        )
    return activations[named]


def _has_token_types(model: Any) -> bool:
    """BERT tells the query's tokens from the text's; XLM-RoBERTa, ModernBERT and others do not."""
    named = "token_type_ids" in model.tokenizer.model_input_names
    return named and int(getattr(model.config, "type_vocab_size", 0)) > 1


def _graph_module(model: Any) -> Any:
    """Ids (and token types) to one number; a run takes one pair, so there is no mask."""
    import torch  # noqa: PLC0415

    class Graph(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.classifier = model.transformers_model

        def forward(self, input_ids: Any, token_type_ids: Any = None) -> Any:
            types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
            return self.classifier(input_ids=input_ids, **types).logits[:, 0]

    return Graph().eval()


def _checked(model: Any, made: Path, draft: CrossEncoderManifest) -> CrossEncoderManifest:
    """`draft` with the agreement that was found on the sample pairs, written. Raises ModelInvalid when it is low."""
    import torch  # noqa: PLC0415

    pairs = [(query, text) for query in QUERIES for text in SAMPLES]
    wanted = np.asarray(
        model.predict(pairs, batch_size=1, activation_fn=torch.nn.Identity(), show_progress_bar=False), np.float64
    )
    ours = OnnxReranker(made)
    found = np.concatenate([ours.outputs(query, SAMPLES) for query in QUERIES])
    correlation = spearman(found, wanted)
    difference = float(np.abs(found - wanted).max() / np.ptp(wanted)) if np.ptp(wanted) else np.inf
    # Asked this way round, NaN is refused, too.
    if not (correlation >= REQUIRED_CORRELATION and difference <= ALLOWED_DIFFERENCE):
        raise ModelInvalid(
            f"model {draft.name!r}: quantised, it strays from its source: rank correlation {correlation:.4f}, at least "
            f"{REQUIRED_CORRELATION} is required; greatest difference {difference:.1%} of the range, at most "
            f"{ALLOWED_DIFFERENCE:.0%} is allowed; use retrieval.reranker = 'cross-encoder' for it"
        )
    manifest = replace(draft, correlation=round(correlation, 4), difference_max=round(difference, 4))
    write_manifest(made, manifest)
    return manifest


def spearman(left: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    """Spearman's rank correlation; equal values share the mean of their ranks. NaN when one side is constant."""
    ours, theirs = (ranks - ranks.mean() for ranks in (_ranks(left), _ranks(right)))
    length = float(np.linalg.norm(ours) * np.linalg.norm(theirs))
    return float(ours @ theirs) / length if length else float("nan")


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, group, sizes = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(sizes)
    return np.asarray((ends - (sizes - 1) / 2.0)[group])
