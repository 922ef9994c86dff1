"""Opens what can be compared: a bundle's folder, the run file of one mode in a bundle, or any TREC run with judgements.

Reading is strict. What is there but wrong (another format, an edited file, a line that is no result) is an error; what
is missing from a bundle that is otherwise sound (a value that is null or NaN, a query without values) is left for the
gate, which fails because of it.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from evals.bundle import FORMAT, INDEX, Explained
from evals.comparison.records import Side
from evals.datasets import Qrel, Query
from evals.metrics import evaluate
from evals.runs import Run, read_qrels, read_trec_run
from retrieval.errors import InvalidRequest
from retrieval.explanation import Explanation

DEFAULT_MODE = "default"
_T = TypeVar("_T")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Dataset(_Part):
    name: str
    split: str
    documents: int
    corpus_sha256: str
    queries: int
    queries_sha256: str


class _Index(_Part):
    collection: str
    chunks: int


class _Mode(_Part):
    retrieval: dict[str, Any]
    seconds: dict[str, float]
    per_query: dict[str, dict[str, float | None]]


class _Bundle(_Part):
    format: int
    created_at: str
    dataset: _Dataset
    embedder: dict[str, Any]
    chunking: dict[str, Any]
    index: _Index
    versions: dict[str, str]
    modes: dict[str, _Mode]
    files: dict[str, str]


def open_sides(baseline: Path, candidate: Path, *, qrels: Path | None = None) -> tuple[Run, Run]:
    """Both sides; a plain run is judged by `qrels`, or by the judgements of the other side's bundle.

    Raises InvalidRequest.
    """
    bundles = {path: _open_bundle(path) for path in (baseline, candidate) if _is_bundle(path)}
    if qrels is not None and bundles.keys() == {baseline, candidate}:
        raise InvalidRequest(f"--qrels {str(qrels)!r}: bundles have judgements of their own; leave it out")
    judged = read_qrels(qrels) if qrels else next((run.qrels for run in bundles.values()), None)
    first, second = (bundles.get(path) or _open_run(path, judged) for path in (baseline, candidate))
    return first, second


def _is_bundle(path: Path) -> bool:
    """Whether it is a bundle's folder, or a run file that a bundle has beside it."""
    if not path.exists():
        raise InvalidRequest(f"{str(path)!r} is not there; give a bundle's folder or a TREC run file")
    if path.is_dir() and not (path / INDEX).is_file():
        raise InvalidRequest(f"{str(path)!r} is no bundle: it has no {INDEX}; `footnote eval run` writes one")
    return path.is_dir() or (path.parent / INDEX).is_file()


def _open_bundle(path: Path) -> Run:
    folder = path if path.is_dir() else path.parent
    bundle = _parse(folder / INDEX)
    _check_files(folder, bundle.files)
    mode = _choose_mode(folder, bundle, None if path.is_dir() else path.stem)
    measured = bundle.modes[mode]
    return Run(
        side=_side(path, mode, bundle),
        queries={query.query_id: query.text for query in _json_lines(folder / "queries.jsonl", TypeAdapter(Query))},
        qrels=read_qrels(folder / "qrels.txt", quoted=True),
        rankings=read_trec_run(folder / f"{mode}.run", quoted=True),
        per_query=measured.per_query,
        titles=_validated(TypeAdapter(dict[str, str]), _json(folder / "titles.json"), folder / "titles.json"),
        explanations=_explanations(folder, f"{mode}.explanations.jsonl", bundle),
    )


def _parse(path: Path) -> _Bundle:
    values = _json(path)
    number = values.get("format") if isinstance(values, dict) else None
    if number != FORMAT:
        raise InvalidRequest(
            f"{str(path)!r} has format {number!r}, this Footnote reads {FORMAT}; measure again with `footnote eval run`"
        )
    return _validated(TypeAdapter(_Bundle), values, path)


def _check_files(folder: Path, files: Mapping[str, str]) -> None:
    for name in ("queries.jsonl", "qrels.txt", "titles.json"):
        if name not in files:
            raise InvalidRequest(f"{str(folder / INDEX)!r} does not list {name!r}; measure again")
    for name, expected in files.items():
        if Path(name).name != name:
            raise InvalidRequest(f"{str(folder / INDEX)!r} lists {name!r}, which is not in its folder")
        try:
            actual = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        except OSError as exc:
            raise InvalidRequest(f"{str(folder / name)!r} cannot be read: {exc.strerror}; measure again") from exc
        if actual != expected:
            raise InvalidRequest(f"{str(folder / name)!r} is not what was measured: its SHA-256 differs; measure again")


def _choose_mode(folder: Path, bundle: _Bundle, named: str | None) -> str:
    modes = [mode for mode in bundle.modes if f"{mode}.run" in bundle.files]
    if named is not None and named not in modes:
        raise InvalidRequest(f"{str(folder / named)!r}.run is not of this bundle; it has {', '.join(modes) or 'none'}")
    if named is None and DEFAULT_MODE not in modes and len(modes) != 1:
        runs = ", ".join(repr(str(folder / f"{mode}.run")) for mode in modes)
        raise InvalidRequest(f"{str(folder)!r} has no mode 'default'; name one of its runs: {runs or 'there is none'}")
    return named or (DEFAULT_MODE if DEFAULT_MODE in modes else modes[0])


def _side(path: Path, mode: str, bundle: _Bundle) -> Side:
    measured, dataset = bundle.modes[mode], bundle.dataset
    parts = {"retrieval": measured.retrieval, "chunking": bundle.chunking, "embedder": bundle.embedder}
    return Side(
        name=f"{dataset.name} / {mode}, {bundle.created_at}",
        path=str(path),
        mode=mode,
        dataset=dataset.name,
        created_at=bundle.created_at,
        queries=dataset.queries,
        queries_sha256=dataset.queries_sha256,
        corpus_sha256=dataset.corpus_sha256,
        documents=dataset.documents,
        chunks=bundle.index.chunks,
        p50=measured.seconds.get("p50"),
        p95=measured.seconds.get("p95"),
        settings={f"{part}.{name}": value for part, values in parts.items() for name, value in values.items()},
        versions=bundle.versions,
    )


def _explanations(folder: Path, name: str, bundle: _Bundle) -> dict[str, Explanation]:
    if name not in bundle.files:
        return {}
    return {one.query_id: one.explanation for one in _json_lines(folder / name, TypeAdapter(Explained))}


def _json_lines(path: Path, kind: TypeAdapter[_T]) -> Iterator[_T]:
    with path.open(encoding="utf-8", newline="\n") as stream:
        for number, line in enumerate(stream, start=1):
            yield _validated(kind, _loaded(line, path), path, f"line {number}: ")


def _json(path: Path) -> Any:
    try:
        return _loaded(path.read_text(encoding="utf-8"), path)
    except (OSError, UnicodeDecodeError) as exc:
        raise InvalidRequest(f"{str(path)!r} cannot be read: {exc}; measure again") from exc


def _loaded(text: str, path: Path) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise InvalidRequest(f"{str(path)!r} cannot be read: {exc}; measure again") from exc


def _validated(kind: TypeAdapter[_T], values: Any, path: Path, where: str = "") -> _T:
    try:
        return kind.validate_python(values)
    except ValidationError as exc:
        first = exc.errors(include_url=False)[0]
        name = ".".join(map(str, first["loc"]))
        raise InvalidRequest(f"{str(path)!r}, {where}{name}: {first['msg']}; measure again") from exc


def _open_run(path: Path, qrels: Mapping[str, Mapping[str, int]] | None) -> Run:
    """A run of any system: what its file does not tell stays empty."""
    if qrels is None:
        raise InvalidRequest(f"{str(path)!r} is a run without judgements; give them by --qrels FILE")
    rankings = read_trec_run(path)
    asked = sorted(query_id for query_id, judged in qrels.items() if any(value > 0 for value in judged.values()))
    if not asked:
        raise InvalidRequest("the judgements call no document relevant; there is nothing to measure")
    rows = [Qrel(query_id, doc_id, value) for query_id in asked for doc_id, value in qrels[query_id].items()]
    scores = evaluate(rows, {query_id: [found.doc_id for found in run] for query_id, run in rankings.items()})
    unjudged = len(rankings.keys() - qrels.keys())
    return Run(
        side=Side(
            name=path.name,
            path=str(path),
            mode="",
            dataset="",
            created_at="",
            queries=len(asked),
            queries_sha256="",
            corpus_sha256="",
        ),
        queries=dict.fromkeys(asked, ""),
        qrels={query_id: qrels[query_id] for query_id in asked},
        rankings=rankings,
        # A query that the run leaves out may have been lost: its 0 would be nobody's measurement.
        per_query={query_id: values for query_id, values in scores.per_query.items() if query_id in rankings},
        notes=(f"Queries of {path.name} without judgements, which do not count: {unjudged:,}.",) if unjudged else (),
    )
