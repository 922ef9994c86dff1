"""Manifests of prepared cross-encoders: the same folders as embedders have, with what a cross-encoder needs instead."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from retrieval.embedders.manifest import MANIFEST, check_fields, find_models, read_values
from retrieval.errors import ModelInvalid

FORMAT = 1
"""Grows when the graph's inputs, its output or the manifest's fields change their meaning."""

Activation = Literal["identity", "sigmoid"]


@dataclass(frozen=True, slots=True)
class CrossEncoderManifest:
    """What `manifest.json` says of a prepared cross-encoder."""

    name: str
    source: str
    """Where the weights come from, for people."""
    licence: str
    """SPDX identifier of the weights' licence, or what the source says of it."""
    source_sha256: str
    """Of the source's weight file."""
    files: Mapping[str, str]
    """SHA-256 by file name."""
    window: int
    """Most tokens of query and text together that the model reads, special tokens included."""
    token_types: bool
    """Whether the graph takes 0 for the query's tokens and 1 for the text's as a second input."""
    activation: Activation
    """What makes the score of the graph's output."""
    correlation: float
    """Spearman's, between this model's outputs and the source's on the sample pairs of `prepare`."""
    difference_max: float
    """Largest difference between the two on a sample pair, as a share of the range of the source's outputs."""
    command: str
    """What made this folder."""
    tools: Mapping[str, str]
    """Versions of the libraries that made it."""
    notes: str = ""
    format: int = FORMAT
    kind: Literal["cross-encoder"] = "cross-encoder"


def read_cross_encoder(folder: Path) -> CrossEncoderManifest:
    """The manifest of a cross-encoder; its files are checked by `read_verified`. Raises ModelInvalid."""
    values = read_values(folder, "cross-encoder")
    check_fields(values, _FIELDS, folder, format=FORMAT)
    if values["activation"] not in ("identity", "sigmoid") or values["window"] < 1:
        raise ModelInvalid(
            f"{str(folder / MANIFEST)!r} has a wrong value in ['activation', 'window']; prepare the model again"
        )
    return CrossEncoderManifest(**values)


def list_cross_encoders(models_path: Path) -> list[CrossEncoderManifest]:
    """Manifests of the cross-encoders under `models_path`, by name. Raises ModelInvalid."""
    return [read_cross_encoder(folder) for folder in find_models(models_path, "cross-encoder").values()]


_FIELDS: Mapping[str, type | tuple[type, ...]] = {
    "name": str,
    "source": str,
    "licence": str,
    "source_sha256": str,
    "files": dict,
    "window": int,
    "token_types": bool,
    "activation": str,
    "correlation": (int, float),
    "difference_max": (int, float),
    "command": str,
    "tools": dict,
    "notes": str,
    "format": int,
    "kind": str,
}
