"""Tuning: what is tried, how it is chosen, and that it is judged on queries that had no say."""

import io
import json
import random
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console

from evals import indexing
from evals.comparison.statistics import paired
from evals.datasets import Query
from evals.measurement import measure
from evals.reports import tuning
from evals.tuning import choosing, space, splits
from evals.tuning.records import Outcome, Rules, Trial, Tuned, Worth
from evals.tuning.tuner import _verdict, _worth, tune
from ingest.settings import IngestSettings
from retrieval.build import build_retriever
from retrieval.errors import InvalidRequest
from retrieval.ports import Vectors
from retrieval.settings import RetrievalSettings
from tests.fakes import FakeEmbedder

SYLLABLES = "ba be bi bo bu da de di do du ka ke ki ko ku la le li lo lu ma me mi mo mu na ne ni no nu".split()
PLAIN = RetrievalSettings(feedback_weight=0.0)


class NoiseEmbedder(FakeEmbedder):
    """Vectors that say nothing about the text but that it is another one."""

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        vectors = np.zeros((len(texts), self.info.dimension), dtype=np.float32)
        for row, text in zip(vectors, texts, strict=True):
            row[:] = np.random.default_rng([*text.encode("utf-8")]).normal(size=self.info.dimension)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors


@pytest.fixture
def noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lexical search is the only one that finds anything."""
    monkeypatch.setattr(indexing, "build_embedder", lambda settings: NoiseEmbedder())


@pytest.fixture
def words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both searches find what shares words, and so does late interaction."""
    monkeypatch.setattr(indexing, "build_embedder", lambda settings: FakeEmbedder(dimension=24, token_code="words"))


def make_set(folder: Path, *, queries: int = 60, splits: Sequence[str] = ("test",), seed: int = 1) -> Path:
    """A document per query that shares three rare words with it, among others that share common ones."""
    dice = random.Random(seed)
    common = ["".join(dice.choices(SYLLABLES, k=2)) for _ in range(12)]
    (folder / "qrels").mkdir(parents=True)
    corpus, asked, judged = [], [], []
    for number in range(queries):
        rare = ["".join(dice.choices(SYLLABLES, k=5)) for _ in range(3)]
        text = " ".join([*rare, *dice.choices(common, k=8)])
        corpus.append({"_id": f"d{number}", "title": "", "text": f"{text}."})
        asked.append({"_id": f"q{number}", "text": " ".join([*rare, *dice.choices(common, k=3)])})
        judged.append(f"q{number}\td{number}\t1")
    for name, rows in (("corpus", corpus), ("queries", asked)):
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    share = queries // len(splits)
    for number, split in enumerate(splits):
        lines = judged[number * share : (number + 1) * share]
        (folder / "qrels" / f"{split}.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *lines]))
    return folder


def search(
    work: Path, *folders: Path, vary: Sequence[str] = (), settings: RetrievalSettings = PLAIN, **rules: Any
) -> Tuned:
    return tune(
        [splits.halves(folder) for folder in folders],
        retrieval=settings,
        ingest=IngestSettings(),
        work_path=work,
        dimensions=space.parse(vary, settings),
        rules=Rules(**rules),
    )


@pytest.mark.usefixtures("noise")
def test_the_right_setting_is_found_and_holds(tmp_path: Path) -> None:
    """Where vectors are noise, lexical search alone wins on queries that had no say, too."""
    folder = make_set(tmp_path / "set")
    found = search(tmp_path, folder, vary=["mode=dense,lexical"], settings=RetrievalSettings(mode="dense"))
    assert found.chosen is not None
    assert found.worth is not None
    assert found.chosen.changes == {"mode": "lexical"}
    assert found.adopt
    assert found.reason.startswith("Adopt the settings: on queries that had no say")
    outcome = found.outcomes[0]
    assert outcome.before < 0.3
    assert outcome.after > 0.9
    assert outcome.tuned_on + outcome.judged_on == 60
    assert found.worth.p_value < 0.001
    assert found.agreement == 5


@pytest.mark.usefixtures("words")
def test_nothing_is_adopted_where_nothing_wins(tmp_path: Path) -> None:
    """On a set that every setting ranks alike the configured settings stay."""
    found = search(tmp_path, make_set(tmp_path / "set"), vary=["dense_weight=0.4,0.6", "feedback_weight=0,0.3"])
    assert not found.adopt
    assert found.reason.startswith("Keep the configured settings")


def test_one_set_may_not_pay_for_another() -> None:
    """A choice that is best on average and harms a set is passed over, for one that harms none."""
    scores = [np.tile([[0.4], [0.8], [0.45]], 20), np.tile([[0.8], [0.7], [0.82]], 20)]
    assert choosing.choose(scores, [0, 1, 1], max_loss=0.005) == 2
    assert choosing.choose(scores, [0, 1, 1], max_loss=0.2) == 1


@pytest.mark.usefixtures("words")
def test_remembering_changes_no_score(tmp_path: Path) -> None:
    """What many settings share the work of is what each of them scores by itself."""
    folder = make_set(tmp_path / "set", queries=40)
    vary = ["mode", "fusion", "late_weight=0,0.7", "late_candidates=5", "feedback_weight=0.5", "dense_weight=0.1"]
    split = splits.halves(folder)
    found = search(tmp_path, folder, vary=vary, budget=14, metric="MRR")
    with indexing.indexed(split.tune, retrieval=PLAIN, ingest=IngestSettings(), work_path=tmp_path) as index:
        assert index.reused
        for trial in found.trials:
            settings = PLAIN.model_copy(update=dict(trial.changes))
            retriever = build_retriever(index.store, index.embedders, settings)
            with index.store.snapshot() as snapshot:
                alone = measure("", retriever, snapshot=snapshot, queries=split.tune.queries, qrels=split.tune.qrels)
            assert trial.scores[0] == pytest.approx(alone.scores.mean["MRR"])
    assert len({trial.scores for trial in found.trials}) >= 3  # dense, dense with late interaction, lexical


@pytest.mark.usefixtures("words")
def test_several_sets_are_tuned_together(tmp_path: Path) -> None:
    """Each has its own numbers; the gain is over all of them."""
    folders = [make_set(tmp_path / f"set{number}", seed=number) for number in (1, 2)]
    found = search(tmp_path, *folders, vary=["mode"], settings=RetrievalSettings(mode="dense", feedback_weight=0.0))
    assert found.datasets == ("set1", "set2")
    assert all(len(trial.scores) == 2 for trial in found.trials)
    assert [outcome.name for outcome in found.outcomes] == (["set1", "set2"] if found.chosen else [])


def noisy(rows: int, queries: int, *, lift: Sequence[float] = (), seed: int = 0) -> NDArray[np.float64]:
    """Scores of settings that differ by chance alone, but for `lift` that the last ones have."""
    rng = np.random.default_rng(seed)
    base = rng.uniform(0.2, 0.9, queries)
    scores = np.array([base + (rng.normal(0, 0.1, queries) if row else 0) for row in range(rows)])
    for row, add in enumerate(reversed(lift), start=1):
        scores[-row] += add
    return np.asarray(np.clip(scores, 0.0, 1.0), dtype=np.float64)


def test_the_simplest_of_the_best_is_chosen() -> None:
    """Of two that chance may have put in their order, the one that changes less."""
    scores = noisy(4, 200, lift=[0.099, 0.1])
    assert choosing.choose([scores], [0, 1, 1, 3], max_loss=0.0) == 2
    assert choosing.choose([scores], [0, 1, 3, 1], max_loss=0.0) == 3


def test_a_clear_best_is_chosen_however_much_it_changes() -> None:
    """Simplicity does not outweigh what chance cannot explain."""
    scores = noisy(4, 200, lift=[0.02, 0.15])
    assert choosing.choose([scores], [0, 1, 1, 5], max_loss=0.0) == 3


def test_nothing_is_chosen_when_all_are_worse() -> None:
    """Then there is nothing to judge either."""
    assert choosing.choose([noisy(3, 100, lift=[-0.2, -0.2])], [0, 1, 1], max_loss=0.5) is None


def test_validation_sees_through_luck() -> None:
    """The best of forty that are all alike promises something, and the folds do not keep it."""
    promised, kept = [], []
    for seed in range(20):
        scores = [noisy(40, 60, seed=seed)]
        row = choosing.choose(scores, [min(row, 1) for row in range(40)], max_loss=1.0)
        promised.append(choosing.gains(scores)[row or 0])
        kept.append(choosing.validate(scores, [min(row, 1) for row in range(40)], max_loss=1.0, folds=5).gain)
    assert np.mean(promised) > 0.02
    assert abs(np.mean(kept)) < 0.01


def test_gains_weigh_sets_alike() -> None:
    """One percent on a set where all score low counts as much as one percent on another."""
    low, high = np.array([[0.1] * 9, [0.11] * 9]), np.array([[0.8] * 30, [0.8] * 30])
    assert choosing.gains([low, high])[1] == pytest.approx(0.05)
    shares = choosing.shares([low[0], high[0]], [low[1], high[1]])
    assert np.mean([share.mean() for share in shares]) == pytest.approx(0.05)


def test_luck_is_not_adopted() -> None:
    """Of settings that differ by chance, the best of forty seldom passes for better on queries that had no say."""
    passed = 0
    for seed in range(30):
        tuned_on, judged_on = noisy(40, 60, seed=seed), noisy(40, 60, seed=1_000 + seed)
        row = choosing.choose([tuned_on], [min(row, 1) for row in range(40)], max_loss=0.005)
        if row is None:
            continue
        judged = [[(judged_on[0], 0.0), (judged_on[row], 0.0)]]
        passed += _worth(judged, Trial({}, 0.0, ()), Rules()).p_value <= Rules().alpha
    assert passed <= 3  # of 30, at 2.5 percent each


def test_only_what_matters_is_tried() -> None:
    """No two settings that rank alike: what has no effect keeps its configured value."""
    drawn = space.draw(space.SPACE, RetrievalSettings(), budget=200, seed=1)
    assert len(drawn) == 200
    assert drawn[0] == RetrievalSettings()
    for settings in drawn:
        if settings.mode != "hybrid":
            assert (settings.dense_weight, settings.feedback_weight) == (0.5, 0.3)
        if settings.fusion == "rrf":
            assert settings.normalization == "z-score"
        assert settings.rerank_weight == 1.0


def test_the_nearest_are_tried_first() -> None:
    """One change at a time before random mixtures; the same seed draws the same."""
    drawn = space.draw(space.SPACE, RetrievalSettings(), budget=60, seed=1)
    sizes = [len(space.changed(settings, RetrievalSettings(), space.SPACE)) for settings in drawn]
    assert sizes == [0] + [1] * sizes.count(1) + sizes[1 + sizes.count(1) :]
    assert max(sizes) > 2
    assert drawn == space.draw(space.SPACE, RetrievalSettings(), budget=60, seed=1)
    assert drawn != space.draw(space.SPACE, RetrievalSettings(), budget=60, seed=2)


def test_a_small_space_is_tried_in_full() -> None:
    """A budget larger than the space ends the search."""
    dimensions = space.parse(["fusion", "dense_weight=0.2,0.8"], PLAIN)
    assert len(space.draw(dimensions, PLAIN, budget=50, seed=1)) == 4


@pytest.mark.parametrize(
    ("vary", "said"),
    [
        (["store=memory"], "'store': this cannot be tuned; choose from mode"),
        (["dense_weight=0.5,2"], "'2' is no value for it"),
        (["dense_weight=0.5,"], "'' is no value for it"),
        (["fusion=best"], "'best' is no value for it"),
        (["mode", "mode=dense"], "given twice"),
        ([""], "'': this cannot be tuned"),
    ],
)
def test_what_cannot_be_varied_is_refused(vary: list[str], said: str) -> None:
    """The error names the setting and what would do."""
    with pytest.raises(InvalidRequest, match=said):
        space.parse(vary, RetrievalSettings())


@pytest.mark.parametrize("dimension", space.SPACE, ids=lambda dimension: dimension.name)
def test_every_dimension_is_a_setting_with_values_it_can_have(dimension: space.Dimension) -> None:
    """The table names fields of the settings, and several values that these take."""
    assert len(set(dimension.values)) > 1
    for value in dimension.values:
        assert getattr(RetrievalSettings(**{dimension.name: value}), dimension.name) == value


def test_halves_share_no_question(tmp_path: Path) -> None:
    """Every query is on one side; the seed decides, and so does the wording."""
    split = splits.halves(make_set(tmp_path / "set"))
    tune_on, report_on = ({query.query_id for query in part.queries} for part in (split.tune, split.report))
    assert not tune_on & report_on
    assert len(tune_on | report_on) == 60
    assert {qrel.query_id for qrel in split.tune.qrels} == tune_on
    assert splits.halves(tmp_path / "set", seed=8).tune.queries != split.tune.queries
    assert splits._side(Query("a", "Why  so?"), 7) == splits._side(Query("b", "why so?"), 7)


def test_few_queries_are_refused(tmp_path: Path) -> None:
    """Nothing could be told from chance."""
    with pytest.raises(InvalidRequest, match="each side needs at least 10"):
        splits.halves(make_set(tmp_path / "set", queries=12))


def test_splits_by_files_must_be_apart(tmp_path: Path) -> None:
    """What was tuned on cannot be judged on, even when only the wording tells."""
    folder = make_set(tmp_path / "set", splits=("dev", "test"))
    split = splits.by_files(folder, tune="dev", report="test")
    assert (len(split.tune.queries), len(split.report.queries)) == (30, 30)
    with pytest.raises(InvalidRequest, match="30 queries are in both splits 'dev' and 'dev'"):
        splits.by_files(folder, tune="dev", report="dev")


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"metric": "nDCG@7"}, "'nDCG@7' is not measured; choose from nDCG@10"),
        ({"budget": 1}, "budget = 1"),
        ({"folds": 1}, "folds = 1"),
        ({"folds": 50}, "folds = 50"),
    ],
)
@pytest.mark.usefixtures("words")
def test_rules_that_cannot_be_followed_are_refused(tmp_path: Path, rules: dict[str, Any], said: str) -> None:
    """Before anything is indexed."""
    folder = make_set(tmp_path / "set")
    with pytest.raises(InvalidRequest, match=said):
        search(tmp_path / "work", folder, **rules)
    assert not (tmp_path / "work").exists()


@pytest.mark.usefixtures("words")
def test_a_set_on_which_nothing_is_found_is_refused(tmp_path: Path) -> None:
    """Nothing is relative to 0."""
    folder = make_set(tmp_path / "set")
    lines = "\n".join(f"q{number}\tnowhere\t1" for number in range(60))
    (folder / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{lines}")
    with pytest.raises(InvalidRequest, match="of the configured settings is 0 on all"):
        search(tmp_path, folder, vary=["mode"])


@pytest.mark.usefixtures("noise")
def test_the_table_ends_with_the_verdict_and_what_to_write(tmp_path: Path) -> None:
    """Lines for footnote.toml, which reads them back; the same in JSON."""
    folder = make_set(tmp_path / "set")
    found = search(tmp_path, folder, vary=["mode=dense,lexical"], settings=RetrievalSettings(mode="dense"))
    console = Console(width=140, file=io.StringIO(), record=True)
    console.print(tuning.table(found))
    text = console.export_text()
    assert "mode=lexical" in text
    assert "Adopt the settings" in text
    assert text.rstrip().endswith('[retrieval]\nmode = "lexical"')
    made = tuning.as_json(found)
    assert tomllib.loads(made["toml"]) == {"retrieval": {"mode": "lexical"}}
    assert json.loads(json.dumps(made))["adopt"] is True


@pytest.mark.parametrize(
    ("gain", "p", "after", "reason"),
    [
        (0.05, 0.001, 0.55, "Adopt the settings: on queries that had no say in the choice they gain +5.0% (p 0.001)."),
        (-0.02, 0.9, 0.49, "gains nothing on others, −2.0% (p 0.900)."),
        (0.05, 0.2, 0.55, "gains +5.0% on others (p 0.200), which chance alone explains."),
        (0.05, 0.001, 0.48, "set loses 2.0 points, more than the 0.5 that any data set may lose."),
        (0.005, 0.001, 0.5, "the gain is real (p 0.001) but small, +0.5% where 1% is worth a change."),
    ],
)
def test_the_verdict_asks_for_more_than_luck(gain: float, p: float, after: float, reason: str) -> None:
    """More than chance explains, enough, and at no set's cost."""
    worth = Worth(gain, None, None, p, 0.0)
    same = paired([0.5, 0.5], [after, after])
    outcome = Outcome("set", 30, 30, 0.5, 0.6, 0.5, after, same, p, 0.01, 0.01)
    adopt, said = _verdict(worth, [outcome], Rules(), 60)
    assert said.endswith(reason)
    assert adopt == said.startswith("Adopt")
