"""Manifests of prepared models: what a model folder holds, where it comes from, and that its files are intact.

A folder holds `model.onnx`, `tokenizer.json` and `manifest.json`. Footnote ships one (`retrieval/models`); `prepare`
makes others. A file is loaded only after its SHA-256 was compared with the manifest's: a damaged or exchanged model
would not fail, it would answer wrongly.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, cast

from retrieval.errors import ConfigError, ModelInvalid
from retrieval.records import EmbedderInfo

SHIPPED = Path(__file__).resolve().parent.parent / "models"
"""The folder of models that come with Footnote."""

MANIFEST = "manifest.json"
MODEL = "model.onnx"
TOKENIZER = "tokenizer.json"
FORMAT = 1
"""Grows when the graph's inputs, its outputs or the manifest's fields change their meaning."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, slots=True)
class Manifest:
    """What `manifest.json` says of a prepared model."""

    name: str
    source: str
    """Where the weights come from, for people."""
    licence: str
    """SPDX identifier of the weights' licence, or what the source says of it."""
    source_sha256: str
    """Of the source's weight file."""
    files: Mapping[str, str]
    """SHA-256 by file name."""
    dimension: int
    window: int
    """Most tokens that the model reads, special tokens included."""
    pooling: Literal["mean", "cls"]
    query_prefix: str
    document_prefix: str
    cosine_min: float
    """Lowest cosine between this model's vectors and the source's on the sample sentences of `prepare`."""
    cosine_mean: float
    command: str
    """What made this folder."""
    tools: Mapping[str, str]
    """Versions of the libraries that made it."""
    notes: str = ""
    format: int = FORMAT

    @property
    def info(self) -> EmbedderInfo:
        """What a collection keeps of the model; its hash is that of the graph."""
        return EmbedderInfo(
            name=self.name,
            sha256=self.files[MODEL],
            dimension=self.dimension,
            window=self.window,
            pooling=self.pooling,
            query_prefix=self.query_prefix,
            document_prefix=self.document_prefix,
        )


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a model folder; the files themselves are checked by `read_verified`. Raises ModelInvalid."""
    path = folder / MANIFEST
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ModelInvalid(
            f"{str(folder)!r} is no model folder: {MANIFEST} cannot be read ({exc.strerror}); "
            "make one with `footnote models prepare`"
        ) from exc
    except ValueError as exc:
        raise ModelInvalid(f"{str(path)!r} is not valid JSON ({exc}); prepare the model again") from exc
    _check(values, path)
    return Manifest(**values)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `manifest.json`, readable and with sorted keys, so that a change shows as a small diff."""
    text = json.dumps(asdict(manifest), indent=2, sort_keys=True, ensure_ascii=False)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


def read_verified(folder: Path, manifest: Manifest, name: str) -> bytes:
    """The bytes of one file of a model folder, compared with the manifest's hash. Raises ModelInvalid.

    The caller loads these very bytes, so that nothing can change between check and use.
    """
    path = folder / name
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise ModelInvalid(
            f"model {manifest.name!r}: {str(path)!r} cannot be read ({exc.strerror}); prepare or install it again"
        ) from exc
    actual, expected = hashlib.sha256(data).hexdigest(), manifest.files[name]
    if actual != expected:
        raise ModelInvalid(
            f"model {manifest.name!r}: {str(path)!r} has SHA-256 {actual}, the manifest says {expected}; "
            "prepare or install it again"
        )
    return data


def resolve_model(model: str, models_path: Path) -> Path:
    """The folder of `model`: a shipped name, else a name under `models_path`, else a path. Raises ConfigError."""
    if valid_name(model):
        for parent in (SHIPPED, models_path):
            if (parent / model / MANIFEST).is_file():
                return parent / model
    if (Path(model) / MANIFEST).is_file():
        return Path(model)
    known = ", ".join(manifest.name for manifest in list_models(models_path)) or "none"
    raise ConfigError(
        f"unknown model {model!r}: neither a name nor a folder with a {MANIFEST}; known: {known}; "
        "make others with `footnote models prepare`"
    )


def list_models(models_path: Path) -> list[Manifest]:
    """Manifests of the shipped models and of those under `models_path`, by name. Raises ModelInvalid."""
    found = {
        path.parent.name: read_manifest(path.parent)
        for parent in (models_path, SHIPPED)  # a shipped name wins, as in resolve_model
        for path in parent.glob(f"*/{MANIFEST}")
    }
    return [found[name] for name in sorted(found)]


def valid_name(name: str) -> bool:
    """Whether `name` can name a model: letters, digits, dot, dash, underscore; at most 100."""
    return _NAME.fullmatch(name) is not None


_FIELDS: Mapping[str, type | tuple[type, ...]] = {
    "name": str,
    "source": str,
    "licence": str,
    "source_sha256": str,
    "files": dict,
    "dimension": int,
    "window": int,
    "pooling": str,
    "query_prefix": str,
    "document_prefix": str,
    "cosine_min": (int, float),
    "cosine_mean": (int, float),
    "command": str,
    "tools": dict,
    "notes": str,
    "format": int,
}


def _check(values: object, path: Path) -> None:
    """Raise ModelInvalid unless `values` has exactly the fields of a manifest, each of its type."""
    if not isinstance(values, dict):
        raise ModelInvalid(f"{str(path)!r} holds no JSON object; prepare the model again")
    if values.get("format") != FORMAT:
        raise ModelInvalid(f"{str(path)!r} has format {values.get('format')!r}, this Footnote reads {FORMAT}")
    if values.keys() != _FIELDS.keys():
        differing = sorted(values.keys() ^ _FIELDS.keys())
        raise ModelInvalid(f"{str(path)!r} lacks or does not know {differing!r}; prepare the model again")
    wrong = [name for name, kind in _FIELDS.items() if not isinstance(values[name], kind)]
    files = cast("dict[str, object]", values["files"]) if "files" not in wrong else {}
    if wrong or values["pooling"] not in ("mean", "cls") or not {MODEL, TOKENIZER} <= files.keys():
        raise ModelInvalid(f"{str(path)!r} has a wrong value in {wrong or ['pooling', 'files']!r}; prepare it again")
