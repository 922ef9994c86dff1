"""Manifests of prepared models: what a model folder holds, where it comes from, and that its files are intact.

A folder holds `model.onnx`, `tokenizer.json` and `manifest.json`. Footnote ships one (`retrieval/models`); `prepare`
makes others. A file is loaded only after its SHA-256 was compared with the manifest's: a damaged or exchanged model
would not fail, it would answer wrongly.

There are two kinds: embedders, whose manifest is here, and cross-encoders, whose manifest has `"kind": "cross-encoder"`
and is read by `retrieval.rerankers.manifest` with the functions of this file.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from retrieval.errors import ConfigError, ModelInvalid
from retrieval.records import EmbedderInfo

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

SHIPPED = Path(__file__).resolve().parent.parent / "models"
"""The folder of models that come with Footnote."""

MANIFEST = "manifest.json"
MODEL = "model.onnx"
TOKENIZER = "tokenizer.json"
FORMAT = 1
"""Grows when the graph's inputs, its outputs or the manifest's fields change their meaning."""

Kind = Literal["embedder", "cross-encoder"]
USES: Mapping[str, str] = {
    "embedder": "retrieval.embedder = 'onnx' and retrieval.model",
    "cross-encoder": "retrieval.reranker = 'onnx' and retrieval.rerank_model",
}
"""The settings that take a model of each kind."""

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


class AnyManifest(Protocol):
    """What manifests of both kinds have."""

    @property
    def name(self) -> str: ...

    @property
    def files(self) -> Mapping[str, str]: ...


def read_manifest(folder: Path) -> Manifest:
    """The manifest of an embedder; the files themselves are checked by `read_verified`. Raises ModelInvalid."""
    values = read_values(folder, "embedder")
    check_fields(values, _FIELDS, folder, format=FORMAT)
    if values["pooling"] not in ("mean", "cls"):
        raise ModelInvalid(f"{str(folder / MANIFEST)!r} has a wrong value in ['pooling']; prepare the model again")
    return Manifest(**values)


def write_manifest(folder: Path, manifest: "DataclassInstance") -> None:
    """Write a manifest, readable and with sorted keys, so that a change shows as a small diff."""
    text = json.dumps(asdict(manifest), indent=2, sort_keys=True, ensure_ascii=False)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


def read_verified(folder: Path, manifest: AnyManifest, name: str) -> bytes:
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


def resolve_model(model: str, models_path: Path, kind: Kind = "embedder") -> Path:
    """The folder of `model`: a shipped name, else a name under `models_path`, else a path. Raises ConfigError.

    `kind` is only for the words of the error: whoever reads the folder's manifest finds out what it holds.
    """
    if valid_name(model):
        for parent in (SHIPPED, models_path):
            if (parent / model / MANIFEST).is_file():
                return parent / model
    if (Path(model) / MANIFEST).is_file():
        return Path(model)
    raise ConfigError(
        f"unknown model {model!r}: neither a name nor a folder with a {MANIFEST}; "
        f"known: {', '.join(find_models(models_path, kind)) or 'none'}; make others with `footnote models prepare`"
    )


def find_models(models_path: Path, kind: Kind) -> dict[str, Path]:
    """Folders of the shipped models of one kind and of those under `models_path`, by name. Raises ModelInvalid."""
    found = {
        path.parent.name: path.parent
        for parent in (models_path, SHIPPED)  # a shipped name wins, as in resolve_model
        for path in parent.glob(f"*/{MANIFEST}")
    }
    return {name: found[name] for name in sorted(found) if _kind(_read_json(found[name])) == kind}


def list_models(models_path: Path) -> list[Manifest]:
    """Manifests of the shipped embedders and of those under `models_path`, by name. Raises ModelInvalid."""
    return [read_manifest(folder) for folder in find_models(models_path, "embedder").values()]


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


def read_values(folder: Path, kind: Kind) -> dict[str, Any]:
    """What the manifest of a folder says. Raises ModelInvalid when it cannot be read or is one of another kind."""
    values = _read_json(folder)
    found = _kind(values)
    if found != kind:
        raise ModelInvalid(
            f"{str(folder)!r} holds no {kind} but {found!r}"
            + (f", which is for {USES[found]}" if found in USES else "")
            + f"; name {'an' if kind == 'embedder' else 'a'} {kind} in {USES[kind]}"
        )
    return values


def check_fields(
    values: Mapping[str, Any], fields: Mapping[str, type | tuple[type, ...]], folder: Path, *, format: int
) -> None:
    """Raise ModelInvalid unless `values` has exactly these fields, each of its type, in the format given."""
    path = str(folder / MANIFEST)
    if values.get("format") != format:
        raise ModelInvalid(f"{path!r} has format {values.get('format')!r}, this Footnote reads {format}")
    if values.keys() != fields.keys():
        raise ModelInvalid(
            f"{path!r} lacks or does not know {sorted(values.keys() ^ fields.keys())!r}; prepare it again"
        )
    wrong = [name for name, kind in fields.items() if not isinstance(values[name], kind)]
    if "files" not in wrong and not {MODEL, TOKENIZER} <= values["files"].keys():
        wrong.append("files")
    if wrong:
        raise ModelInvalid(f"{path!r} has a wrong value in {wrong!r}; prepare the model again")


def _read_json(folder: Path) -> dict[str, Any]:
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
    if not isinstance(values, dict):
        raise ModelInvalid(f"{str(path)!r} holds no JSON object; prepare the model again")
    return values


def _kind(values: Mapping[str, Any]) -> str:
    """Embedders' manifests do not say it."""
    return str(values.get("kind", "embedder"))
