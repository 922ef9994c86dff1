"""What is kept of an evaluation: a TREC run file per mode, and one JSON with all that is needed to compare it later."""

import json
import platform
from dataclasses import asdict
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evals.runner import ModeResult, Result

FORMAT = 1
TOOLS = ("faiss-cpu", "ir-measures", "numpy", "onnxruntime", "tokenizers")


def write_bundle(result: "Result") -> None:
    """Write `bundle.json` and `<mode>.run` into `result.bundle`, a new folder."""
    result.bundle.mkdir(parents=True, exist_ok=True)
    text = json.dumps(as_json(result), indent=2, ensure_ascii=False)
    (result.bundle / "bundle.json").write_text(text + "\n", encoding="utf-8")
    for mode in result.modes:
        (result.bundle / f"{mode.mode}.run").write_text(trec_run(mode), encoding="utf-8")


def as_json(result: "Result") -> dict[str, Any]:
    """The bundle: configuration, fingerprints, versions, timings (seconds) and metrics, per query too."""
    dataset = result.dataset
    return {
        "format": FORMAT,
        "dataset": {
            "name": dataset.name,
            "split": dataset.split,
            "documents": dataset.corpus.documents,
            "corpus_sha256": dataset.corpus.fingerprint,
            "queries": len(dataset.queries),
            "queries_sha256": dataset.queries_fingerprint,
            "problems": list(dataset.problems),
        },
        "embedder": asdict(result.embedder),
        "ingest": result.ingest.model_dump(mode="json"),
        "index": {
            "collection": result.collection,
            "documents": result.documents,
            "chunks": result.chunks,
            "reused": result.reused,
            "seconds": round(result.index_seconds, 3),
        },
        "versions": {"footnote": version("footnote"), "python": platform.python_version()}
        | {tool: version(tool) for tool in TOOLS},
        "modes": {
            mode.mode: {
                "retrieval": mode.settings.model_dump(mode="json"),
                "metrics": {metric: round(value, 6) for metric, value in mode.scores.mean.items()},
                "seconds": {"p50": round(mode.p50, 6), "p95": round(mode.p95, 6)},
                "per_query": mode.scores.per_query,
            }
            for mode in result.modes
        },
    }


def trec_run(mode: "ModeResult") -> str:
    """The rankings in TREC's format; scores are what keeps the order: the rank from below."""
    return "".join(
        f"{query_id} Q0 {doc_id} {rank} {len(ranking) - rank + 1} footnote-{mode.mode}\n"
        for query_id, ranking in mode.rankings.items()
        for rank, doc_id in enumerate(ranking, start=1)
    )
