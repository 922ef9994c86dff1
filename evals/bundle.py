"""What is kept of an evaluation: a folder with all that is needed to compare it later.

    bundle.json                 what was measured, on what, with which settings and versions; metrics, per query too
    <mode>.run                  the rankings in TREC's format
    <mode>.explanations.jsonl   why each ranking is as it is, when that was asked for
    qrels.txt                   the judgements in TREC's format
    queries.jsonl               {"query_id", "text"}
    titles.json                 of the documents among the first results

bundle.json holds the SHA-256 of the other files: a bundle that somebody has edited is not compared.
"""

import hashlib
import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import chain, count
from pathlib import Path
from typing import Any

from evals.datasets import Qrel, Query, fingerprint
from evals.measurement import DEPTH, ModeResult
from evals.runs import trec_qrels, trec_run
from retrieval.errors import InvalidRequest
from retrieval.explanation import Explanation
from retrieval.records import Chunking, EmbedderInfo
from retrieval.settings import RetrievalSettings

FORMAT = 2
INDEX = "bundle.json"
_FIXED = (INDEX, "qrels.txt", "queries.jsonl", "titles.json")
_OF_MODES = (".run", ".explanations.jsonl")
TOOLS = ("faiss-cpu", "ir-measures", "numpy", "onnxruntime", "tokenizers")
_PLACES = ("path", "models_path", "embedder_tokenizer", "threads")
_SERVICES = ("postgres_", "_url", "_api_key", "_region")
"""Settings that say where things are, not how they are ranked; some hold secrets."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was measured, and on what."""

    dataset: str
    """Name of the data set or suite."""
    split: str
    queries: Sequence[Query]
    qrels: Sequence[Qrel]
    corpus_sha256: str
    documents: int
    chunks: int
    collection: str
    embedder: EmbedderInfo
    chunking: Chunking
    modes: tuple[ModeResult, ...]
    created_at: str
    """ISO 8601, UTC."""
    problems: tuple[str, ...] = ()
    """What is odd about the data set, for people."""
    keep: int = DEPTH
    """Results per query in the run files; metrics are of all that were retrieved."""


@dataclass(frozen=True, slots=True)
class Explained:
    """A line of a file of explanations."""

    query_id: str
    explanation: Explanation


def check_place(folder: Path) -> list[str]:
    """Make `folder` unless it is there; returns the files of the bundle that it holds.

    Raises InvalidRequest for a folder of anything else. Ask before hours of measuring, not after.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        inside = sorted(path.name for path in folder.iterdir())
    except OSError as exc:
        raise InvalidRequest(f"{str(folder)!r} cannot be written to: {exc.strerror}") from exc
    others = [name for name in inside if not _ours(name)]
    if others and INDEX not in inside:
        raise InvalidRequest(f"{str(folder)!r} holds something else than a bundle: {others[0]!r}; name another folder")
    return [name for name in inside if _ours(name)]


def write_bundle(evaluation: Evaluation, folder: Path) -> dict[str, Any]:
    """Write `folder`; one that holds a bundle is written anew. Returns what bundle.json holds.

    Raises InvalidRequest for a folder of anything else.
    """
    texts = dict(_files(evaluation))
    _clear(folder)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
    index = as_json(evaluation)
    index["files"] = {name: hashlib.sha256(text.encode("utf-8")).hexdigest() for name, text in texts.items()}
    # Last: a folder without it is no bundle, so a write that was cut off is none.
    text = json.dumps(index, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    (folder / INDEX).write_text(text, encoding="utf-8", newline="\n")
    return index


def results_folder(work_path: Path, evaluation: Evaluation) -> Path:
    """Where a bundle goes that was given no place: a folder of its own."""
    stamp = evaluation.created_at.replace("-", "").replace(":", "")
    first = work_path / "results" / f"{evaluation.collection}-{stamp}"
    numbered = (first.with_name(f"{first.name}-{number}") for number in count(2))
    return next(path for path in chain((first,), numbered) if not path.exists())


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """bundle.json without the list of files: fingerprints, settings, versions, seconds, metrics."""
    return {
        "format": FORMAT,
        "created_at": evaluation.created_at,
        "dataset": {
            "name": evaluation.dataset,
            "split": evaluation.split,
            "documents": evaluation.documents,
            "corpus_sha256": evaluation.corpus_sha256,
            "queries": len(evaluation.queries),
            "queries_sha256": fingerprint(evaluation.queries, evaluation.qrels),
            "problems": list(evaluation.problems),
        },
        "embedder": {name: value for name, value in asdict(evaluation.embedder).items() if name != "model"},
        "chunking": asdict(evaluation.chunking),
        "index": {"collection": evaluation.collection, "chunks": evaluation.chunks},
        "versions": {"footnote": version("footnote"), "python": platform.python_version()}
        | {tool: version(tool) for tool in TOOLS},
        "modes": {
            mode.mode: {
                "retrieval": ranking_settings(mode.settings),
                "metrics": {metric: round(value, 6) for metric, value in mode.scores.mean.items()},
                "seconds": {"p50": round(mode.p50, 6), "p95": round(mode.p95, 6)},
                "per_query": mode.scores.per_query,
            }
            for mode in evaluation.modes
        },
    }


def ranking_settings(settings: RetrievalSettings) -> dict[str, Any]:
    """The settings without places, services and secrets."""
    return {
        name: value
        for name, value in settings.model_dump(mode="json").items()
        if name not in _PLACES and not any(part in name for part in _SERVICES)
    }


def _files(evaluation: Evaluation) -> Iterator[tuple[str, str]]:
    yield "queries.jsonl", "".join(_line(asdict(query)) for query in evaluation.queries)
    qrels: dict[str, dict[str, int]] = {}
    for qrel in evaluation.qrels:
        qrels.setdefault(qrel.query_id, {})[qrel.doc_id] = qrel.relevance
    yield "qrels.txt", "".join(trec_qrels(qrels))
    titles: dict[str, str] = {}
    for mode in evaluation.modes:
        titles |= mode.titles
        kept = {query_id: ranking[: evaluation.keep] for query_id, ranking in mode.rankings.items()}
        yield f"{mode.mode}.run", "".join(trec_run(kept, f"footnote-{mode.mode}"))
        if mode.explanations:
            explained = (asdict(Explained(query_id, why)) for query_id, why in mode.explanations.items())
            yield f"{mode.mode}.explanations.jsonl", "".join(map(_line, explained))
    yield "titles.json", json.dumps(dict(sorted(titles.items())), indent=1, ensure_ascii=False) + "\n"


def _line(values: Mapping[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False, allow_nan=False) + "\n"


def _clear(folder: Path) -> None:
    """Take out of `folder` the bundle that it holds."""
    former = check_place(folder)
    for name in sorted(former, key=INDEX.__ne__):  # bundle.json first: without it, what is left is no bundle
        (folder / name).unlink()


def _ours(name: str) -> bool:
    return name in _FIXED or name.endswith(_OF_MODES)
