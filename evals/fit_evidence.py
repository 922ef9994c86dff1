"""Fit the weights of `generation.weights` on SQuAD, by article: fitted on one half, judged on the other, then on all.

    python -m evals.fit_evidence squad-dev-v2.0.json

A half of the articles is indexed at a time. Its own questions are asked, those that it answers and the look-alikes
that it does not, and questions of the other half, which nothing indexed has to do with: a decision to decline must
know both ways of having no answer.
"""

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evals.answers import Remembering, SquadQuestion, auroc, index, normalize, read_squad
from generation.evidence import QUESTION_FEATURES, SENTENCE_FEATURES, Assessor, Pool
from ingest.settings import IngestSettings
from retrieval.analysis import analyzer
from retrieval.build import build_embedder, build_embedders, build_retriever
from retrieval.settings import RetrievalSettings

FOREIGN = 0.25
"""Questions of the other half, for each question of this one."""

CHUNKS = 8
STRONGEST_NEGATION = -1.5
"""SQuAD's authors often negated a question to make it unanswerable; real users do that less, so its weight (about -2.6
when free) is held here. It costs 0.003 of AUROC."""
RIDGE = 1e-3
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Example:
    """A question asked of one half."""

    half: int
    kind: str
    """'answerable', 'lookalike' or 'foreign'."""
    pool: Pool
    gold: NDArray[np.bool_]
    """By sentence: whether it holds a gold answer."""


def examples(path: Path, limit: int) -> Iterator[Example]:
    """The questions of both halves with the sentences found for them."""
    documents, questions = read_squad(path)
    articles = {document.title: number for number, document in enumerate({d.title: d for d in documents}.values())}
    draw = random.Random(7)  # noqa: S311  # a sample
    settings = RetrievalSettings()
    embedder = Remembering(build_embedder(settings))
    for half in (0, 1):
        inside = [document for document in documents if articles[document.title] % 2 == half]
        own = [question for question in questions if question.article % 2 == half]
        others = [question for question in questions if question.article % 2 != half and question.answerable]
        own = draw.sample(own, min(limit // 2, len(own))) if limit else own
        others = draw.sample(others, min(round(FOREIGN * len(own)), len(others)))
        with tempfile.TemporaryDirectory() as folder:
            where = settings.model_copy(update={"path": Path(folder)})
            store = index(inside, where, IngestSettings(), embedder)
            retriever = build_retriever(store, build_embedders(where, embedder), where)
            assessor = Assessor(embedder)
            for question, foreign in [*((q, False) for q in own), *((q, True) for q in others)]:
                found = retriever.retrieve(question.text, k=CHUNKS)
                pool = assessor.describe(
                    question.text,
                    found.chunks,
                    analyzer=analyzer(where.language),
                    query_vector=found.query_vector,
                )
                yield _example(half, question, pool, foreign=foreign)
            store.close()


def _example(half: int, question: SquadQuestion, pool: Pool, *, foreign: bool) -> Example:
    golds = [gold for gold in map(normalize, question.golds) if gold]
    texts = [normalize(item.text) for item in pool.sentences]
    gold = np.array([not foreign and any(one in text for one in golds) for text in texts], dtype=bool)
    kind = "foreign" if foreign else "answerable" if question.answerable else "lookalike"
    return Example(half, kind, pool, gold)


def fit_sentences(data: Sequence[Example]) -> dict[str, float]:
    """Weights under which the softmax over a question's sentences falls on those with the gold; gradient ascent.

    The intercept then makes the mean score of a sentence the share of those with the gold.
    """
    chosen = [item for item in data if item.kind == "answerable" and item.gold.any()]
    features = np.concatenate([item.pool.features for item in chosen])
    gold = np.concatenate([item.gold for item in chosen])
    owner = np.repeat(np.arange(len(chosen)), [len(item.gold) for item in chosen])
    weights = np.zeros(features.shape[1])
    velocity = np.zeros_like(weights)
    for _ in range(1500):
        raised = np.exp(features @ weights)
        whole, right = np.bincount(owner, raised), np.bincount(owner, raised * gold)
        pull = raised * gold / right[owner] - raised / whole[owner]
        velocity = 0.9 * velocity + features.T @ pull / len(chosen) - 2 * RIDGE * weights
        weights = weights + 0.3 * velocity
    return _named(SENTENCE_FEATURES, weights, _intercept(features @ weights, float(gold.mean())))


def fit_questions(data: Sequence[Example], sentence: dict[str, float]) -> dict[str, float]:
    """Logistic regression of answerable against the other two kinds, by Newton's method."""
    features = np.array([question_features(item, sentence) for item in data])
    target = np.array([item.kind == "answerable" for item in data], dtype=np.float64)
    design = np.column_stack([features, np.ones(len(features))])
    weights = np.zeros(design.shape[1])
    penalty = 2.0 * np.diag([*[1.0] * features.shape[1], 0.0])
    for _ in range(25):
        chance = 1 / (1 + np.exp(-design @ weights))
        slope = design.T @ (target - chance) - penalty @ weights
        curve = (design * (chance * (1 - chance))[:, None]).T @ design + penalty
        weights = weights + np.linalg.solve(curve, slope)
    place = QUESTION_FEATURES.index("negation")
    weights[place] = max(weights[place], STRONGEST_NEGATION)
    return _named(QUESTION_FEATURES, weights[:-1], float(weights[-1]))


def question_features(item: Example, sentence: dict[str, float]) -> Floats:
    """Shape (len(QUESTION_FEATURES),)."""
    return item.pool.question_features(_scores(item.pool.features, sentence))


def judge(
    data: Sequence[Example], sentence: dict[str, float], question: dict[str, float]
) -> dict[str, float | dict[str, list[float]]]:
    """Shares of answerable questions with the gold in the best 1, 2, 3 sentences; AUROC; what thresholds would do."""
    good = [item for item in data if item.kind == "answerable"]
    order = [np.argsort(-_scores(item.pool.features, sentence), kind="stable") for item in good]
    hits = [[bool(item.gold[best[:n]].any()) for n in (1, 2, 3)] for item, best in zip(good, order, strict=True)]
    evidence = {
        kind: [
            float(_scores(question_features(item, sentence)[None], question)[0]) for item in data if item.kind == kind
        ]
        for kind in ("answerable", "lookalike", "foreign")
    }
    return {
        **{f"right_{n}": round(float(np.mean([hit[n - 1] for hit in hits])), 4) for n in (1, 2, 3)},
        "auroc_lookalike": round(auroc(evidence["answerable"], evidence["lookalike"]), 4),
        "auroc_foreign": round(auroc(evidence["answerable"], evidence["foreign"]), 4),
        "at": {
            f"{threshold:.2f}": [
                round(float(np.mean(np.array(evidence[kind]) >= threshold)), 3)
                for kind in ("answerable", "lookalike", "foreign")
            ]
            for threshold in np.arange(0.1, 0.8, 0.05)
        },
    }


def _scores(features: Floats, model: dict[str, float]) -> Floats:
    *weights, intercept = model.values()
    scores: Floats = 1 / (1 + np.exp(-(features @ np.array(weights) + intercept)))
    return scores


def _intercept(scores: Floats, mean: float) -> float:
    """Added to `scores`, it makes the mean of their logistic `mean`; by bisection."""
    low, high = -50.0, 50.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if np.mean(1 / (1 + np.exp(-(scores + middle)))) < mean else (low, middle)
    return low


def _named(names: Sequence[str], weights: Floats, intercept: float) -> dict[str, float]:
    pairs = dict(zip(names, (round(float(weight), 3) for weight in weights), strict=True))
    return {**pairs, "intercept": round(intercept, 3)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print, as JSON, how weights of one half do on the other, and the weights fitted on all."""
    parser = argparse.ArgumentParser(prog="python -m evals.fit_evidence", description=__doc__)
    parser.add_argument("path", type=Path, help="SQuAD v2.0 JSON")
    parser.add_argument("--limit", type=int, default=0, help="questions, drawn at random (default: all)")
    options = parser.parse_args(arguments)
    data = list(examples(options.path, options.limit))
    result: dict[str, object] = {}
    for half in (0, 1):
        train, test = ([item for item in data if (item.half == half) == same] for same in (True, False))
        sentence = fit_sentences(train)
        result[f"fitted on half {half}, judged on the other"] = judge(test, sentence, fit_questions(train, sentence))
    sentence = fit_sentences(data)
    question = fit_questions(data, sentence)
    result |= {"SENTENCE": sentence, "QUESTION": question, "of all, on all": judge(data, sentence, question)}
    sys.stdout.write(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
