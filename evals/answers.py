"""How good answers are, and how well Footnote knows when it has none: SQuAD's questions over all of its paragraphs.

SQuAD v2.0 (Rajpurkar et al. 2018) has questions that its paragraphs answer and look-alikes that they do not. Every
paragraph becomes a document of one collection, so the answer has to be found first.
"""

import argparse
import json
import random
import re
import string
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from generation.build import build_answerer, build_retriever
from generation.chat_models.extractive import compose
from generation.evidence import Assessor
from generation.settings import GenerationSettings
from ingest.indexing import token_code, token_embedder
from ingest.pipeline import ingest_documents
from ingest.settings import IngestSettings
from retrieval.analysis import analyzer
from retrieval.build import build_collections, build_embedder, build_embedders
from retrieval.errors import InvalidRequest
from retrieval.ports import Embedder, TokenEmbedder, Tokenizer, Vectors, VectorStore
from retrieval.records import Document, Element, EmbedderInfo
from retrieval.settings import RetrievalSettings

COVERAGES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


@dataclass(frozen=True, slots=True)
class SquadQuestion:
    """A question, its gold answers (none: the paragraphs do not answer it), and the article it was asked of."""

    query_id: str
    text: str
    golds: tuple[str, ...]
    article: int

    @property
    def answerable(self) -> bool:
        """Whether the paragraph that it was written for answers it."""
        return bool(self.golds)


@dataclass(frozen=True, slots=True)
class RiskPoint:
    """When the share `coverage` of the questions with most evidence is answered, the share `risk` of them is wrong."""

    coverage: float
    evidence: float
    risk: float


@dataclass(frozen=True, slots=True)
class AnswersReport:
    """Shares are 0..1. An answer is right when it holds a gold answer, normalised as SQuAD's own script does."""

    questions: int
    answerable: int
    right_1: float
    """Of the answerable: the gold is in an answer of one sentence, were it never declined."""
    right_2: float
    right_default: float
    """The same with the default number of sentences, through the whole path, citations verified."""
    sentences: float
    """Mean number of sentences of a default answer."""
    auroc: float
    """Of the evidence, answerable against not; NaN-free: 0.5 when one side is empty."""
    threshold: float
    answered: float
    """Share of the answerable questions that are not declined at the threshold."""
    declined: float
    """Share of the unanswerable questions that are."""
    uncited_sentences: int
    dropped_citations: int
    risk_coverage: tuple[RiskPoint, ...]


def evaluate(
    path: Path,
    *,
    retrieval: RetrievalSettings | None = None,
    ingest: IngestSettings | None = None,
    generation: GenerationSettings | None = None,
    embedder: Embedder | None = None,
    limit: int = 0,
    seed: int = 7,
) -> AnswersReport:
    """Ask a sample of `limit` questions (0: all) of the SQuAD file at `path`. Raises InvalidRequest for another file.

    The collection is made anew in a temporary folder. The chat model is the extractive one, never declining, so that
    the answers and the decision to decline are measured apart.
    """
    documents, questions = read_squad(path)
    if limit:
        questions = random.Random(seed).sample(questions, min(limit, len(questions)))  # noqa: S311  # a sample
    settings = (generation or GenerationSettings()).model_copy(update={"chat_model": "extractive", "threshold": 0.0})
    with tempfile.TemporaryDirectory() as folder:
        where = (retrieval or RetrievalSettings()).model_copy(update={"path": Path(folder)})
        remembering = Remembering(embedder or build_embedder(where))
        store = index(documents, where, ingest or IngestSettings(), remembering)
        try:
            outcomes = list(_ask(questions, store, remembering, where, settings))
        finally:
            store.close()
    return _report(outcomes, (generation or GenerationSettings()).threshold)


def read_squad(path: Path) -> tuple[list[Document], list[SquadQuestion]]:
    """The paragraphs as documents, and the questions, of a SQuAD v1.1 or v2.0 file. Raises InvalidRequest."""
    try:
        articles = json.loads(path.read_text(encoding="utf-8"))["data"]
        documents: list[Document] = []
        questions: list[SquadQuestion] = []
        for number, article in enumerate(articles):
            title = str(article.get("title", "")).replace("_", " ")
            for paragraph in article["paragraphs"]:
                documents.append(_document(len(documents), title, paragraph["context"]))
                questions.extend(_question(item, number) for item in paragraph["qas"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
        raise InvalidRequest(f"{str(path)!r} cannot be read as a SQuAD file: {type(exc).__name__}: {exc}") from exc
    return documents, questions


def index(
    documents: Sequence[Document], settings: RetrievalSettings, ingest: IngestSettings, embedder: Embedder
) -> VectorStore:
    """A new collection 'answers' of the documents, by the path that every ingestion takes."""
    collections = build_collections(settings)
    collections.create(
        "answers",
        embedder=embedder.info,
        chunking=ingest.chunking,
        language=settings.language,
        token_code=token_code(embedder, wanted=ingest.token_vectors),
    )
    store = collections.open("answers", writable=True)
    ingest_documents(documents, store=store, embedders=build_embedders(settings, embedder))
    return store


class Remembering:
    """An embedder that computes each text once: thousands of questions look at the same sentences."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._known: dict[str, Vectors] = {}

    @property
    def info(self) -> EmbedderInfo:
        return self._embedder.info

    @property
    def tokenizer(self) -> Tokenizer:
        return self._embedder.tokenizer

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        return self._embedder.embed_queries(texts)

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            self._known.update(zip(new, self._embedder.embed_documents(new), strict=True))
        return np.stack([self._known[text] for text in texts])

    @property
    def token_code(self) -> str:
        return token_code(self._embedder)

    def embed_documents_with_tokens(self, texts: Sequence[str]) -> tuple[Vectors, list[bytes]]:
        return self._tokens().embed_documents_with_tokens(texts)

    def token_scores(self, query: str, weights: Callable[[str], float], blobs: Sequence[bytes]) -> Vectors:
        return self._tokens().token_scores(query, weights, blobs)

    def _tokens(self) -> TokenEmbedder:
        return token_embedder(self._embedder, self.token_code, of="the collection of answers")


def normalize(text: str) -> str:
    """As SQuAD's evaluation script: lower case, no punctuation, no articles, single spaces."""
    bare = text.lower().translate(str.maketrans("", "", string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", bare).split())


def auroc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """How often a positive scores above a negative, ties counted half; 0.5 when one side is empty."""
    if not positive or not negative:
        return 0.5
    below = np.sort(np.array(negative))
    scores = np.array(positive)
    wins = np.searchsorted(below, scores, side="left") + np.searchsorted(below, scores, side="right")
    return float(wins.mean() / 2 / len(below))


@dataclass(frozen=True, slots=True)
class _Outcome:
    answerable: bool
    evidence: float
    right: tuple[bool, bool, bool]
    sentences: int
    uncited: int
    dropped: int


def _document(number: int, title: str, text: str) -> Document:
    name = f"p{number:05d}"
    element = Element("paragraph", 0, len(text))
    return Document(name, f"squad:{name}", title, "text/plain", text, (element,))


def _question(item: Mapping[str, Any], article: int) -> SquadQuestion:
    golds = () if item.get("is_impossible") else tuple(dict.fromkeys(gold["text"] for gold in item["answers"]))
    return SquadQuestion(str(item["id"]), item["question"], golds, article)


def _ask(
    questions: Iterable[SquadQuestion],
    store: VectorStore,
    embedder: Embedder,
    retrieval: RetrievalSettings,
    settings: GenerationSettings,
) -> Iterator[_Outcome]:
    retriever = build_retriever(store, build_embedders(retrieval, embedder), retrieval, settings)
    answerer = build_answerer(retriever, settings)
    assessor, terms = Assessor(embedder), analyzer(retrieval.language)
    for question in questions:
        answer = answerer.answer(question.text)
        evidence = assessor.assess(question.text, answer.retrieved, analyzer=terms)
        best = [" ".join(one.text for one in compose(evidence.candidates, max_sentences=n)) for n in (1, 2)]
        one, two, default = (_holds(text, question.golds) for text in (*best, answer.text))
        yield _Outcome(
            answerable=question.answerable,
            evidence=answer.evidence,
            right=(one, two, default),
            sentences=len(answer.sentences),
            uncited=sum(not sentence.citations for sentence in answer.sentences),
            dropped=answer.dropped_citations,
        )


def _holds(text: str, golds: Iterable[str]) -> bool:
    found = normalize(text)
    return any(gold and gold in found for gold in map(normalize, golds))


def _report(outcomes: Sequence[_Outcome], threshold: float) -> AnswersReport:
    good = [outcome for outcome in outcomes if outcome.answerable]
    bad = [outcome for outcome in outcomes if not outcome.answerable]
    return AnswersReport(
        questions=len(outcomes),
        answerable=len(good),
        right_1=_share(outcome.right[0] for outcome in good),
        right_2=_share(outcome.right[1] for outcome in good),
        right_default=_share(outcome.right[2] for outcome in good),
        sentences=_share(outcome.sentences for outcome in outcomes),
        auroc=round(auroc([o.evidence for o in good], [o.evidence for o in bad]), 4),
        threshold=threshold,
        answered=_share(outcome.evidence >= threshold for outcome in good),
        declined=_share(outcome.evidence < threshold for outcome in bad),
        uncited_sentences=sum(outcome.uncited for outcome in outcomes),
        dropped_citations=sum(outcome.dropped for outcome in outcomes),
        risk_coverage=tuple(_risk_coverage(outcomes)),
    )


def _risk_coverage(outcomes: Sequence[_Outcome]) -> Iterator[RiskPoint]:
    """An answer to an unanswerable question is wrong whatever it says (El-Yaniv and Wiener 2010)."""
    ranked = sorted(outcomes, key=lambda outcome: -outcome.evidence)
    wrong: NDArray[np.int64] = np.cumsum([not outcome.right[2] for outcome in ranked])
    for coverage in COVERAGES:
        n = round(coverage * len(ranked))
        if n:
            yield RiskPoint(coverage, ranked[n - 1].evidence, round(float(wrong[n - 1] / n), 4))


def _share(values: Iterable[float]) -> float:
    found = list(values)
    return round(sum(found) / len(found), 4) if found else 0.0


def main(arguments: Sequence[str] | None = None) -> None:
    """`python -m evals.answers squad-dev-v2.0.json [--limit 1000]` prints the report as JSON."""
    parser = argparse.ArgumentParser(prog="python -m evals.answers", description=__doc__)
    parser.add_argument("path", type=Path, help="SQuAD v1.1 or v2.0 JSON")
    parser.add_argument("--limit", type=int, default=0, help="questions to ask, drawn at random (default: all)")
    parser.add_argument("--seed", type=int, default=7, help="of the draw (default: 7)")
    options = parser.parse_args(arguments)
    report = evaluate(options.path, limit=options.limit, seed=options.seed)
    sys.stdout.write(json.dumps(asdict(report), indent=2) + "\n")


if __name__ == "__main__":
    main()
