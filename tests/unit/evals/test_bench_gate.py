"""The bench of the gate: damage is damage, and A/A pairs differ by nothing but chance."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from evals import indexing
from evals.bench.damage import Bench, System, coarsen, damages, open_bench
from evals.bench.gate import centred, rebuilt, swapped
from evals.comparison.gate import compare
from evals.datasets import read_dataset
from ingest.settings import IngestSettings
from retrieval.embedders.manifest import resolve_model
from retrieval.embedders.onnx import OnnxEmbedder
from retrieval.settings import RetrievalSettings
from tests.fakes import FakeEmbedder

HANDBOOK = Path(indexing.__file__).parent / "sets" / "handbook"
MODEL = RetrievalSettings().model


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """The handbook with hashed words for vectors, and no second stage that would need a model."""
    settings = RetrievalSettings(late_weight=0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(indexing, "build_embedder", lambda settings: FakeEmbedder())
        dataset, work = read_dataset(HANDBOOK), tmp_path_factory.mktemp("work")
        with indexing.indexed(dataset, retrieval=settings, ingest=IngestSettings(), work_path=work) as made:
            return open_bench(dataset, made)


def damaged(bench: Bench, wanted: str) -> tuple[System, str]:
    (found,) = ((make(bench), half) for name, half, make in damages() if name == wanted)
    return found


@pytest.mark.parametrize("name", ["broken stemmer", "shuffled"])
def test_damage_fails(bench: Bench, name: str) -> None:
    """The half of the ranking that is hit loses enough for the gate."""
    system, half = damaged(bench, name)
    assert compare(bench.run(bench.sound, half), bench.run(system, half), moved=0).verdict.outcome == "fail"


def test_a_broken_stemmer_leaves_offsets_right(bench: Bench) -> None:
    """Words are shorter, texts are not; vectors stay those of the whole words."""
    system, _ = damaged(bench, "broken stemmer")
    for one, sound in zip(system.material, bench.sound.material, strict=True):
        assert len(one.document.text) == len(sound.document.text)
        assert all(chunk.text == one.document.text[chunk.start : chunk.end] for chunk in one.chunks)
        assert np.array_equal(one.vectors, sound.vectors)


def test_half_of_the_vectors_are_shuffled(bench: Bench) -> None:
    """Each of that half belongs to another chunk; none is lost."""
    system, _ = damaged(bench, "shuffled")
    before = np.concatenate([one.vectors for one in bench.sound.material])
    after = np.concatenate([one.vectors for one in system.material])
    assert (np.abs(before - after).max(axis=1) > 0).sum() == len(before) // 2
    assert np.array_equal(np.sort(before, axis=0), np.sort(after, axis=0))


def test_int4_vectors_have_fifteen_steps(bench: Bench) -> None:
    """Symmetric around 0, and still of length 1."""
    system, _ = damaged(bench, "int4 vectors")
    vector = system.material[0].vectors[0]
    steps = vector / np.abs(vector).max() * 7
    assert np.abs(steps - np.round(steps)).max() < 1e-4
    assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)


def test_the_int4_encoder_is_another_model(tmp_path: Path) -> None:
    """It opens, its manifest fits, and its vectors are near the sound one's but not equal."""
    pytest.importorskip("onnx")
    folder = resolve_model(MODEL, Path("none"))
    coarsen(folder, tmp_path)
    text = ["How often are life jackets inspected?"]
    sound, coarse = (OnnxEmbedder(place, threads=1).embed_queries(text)[0] for place in (folder, tmp_path))
    assert 0.5 < float(sound @ coarse) < 0.99


def test_rebuilt_systems_differ(bench: Bench) -> None:
    """Three builds give three pairs, with other rankings each."""
    pairs = list(rebuilt(bench, 3))
    assert len(pairs) == 3
    assert all(first.per_query != second.per_query for first, second in pairs)


def test_swapping_keeps_each_querys_two_values(bench: Bench) -> None:
    """Only which side has which is drawn."""
    first, second = bench.run(bench.sound), bench.run(bench.sound, "lexical")
    left, right = next(swapped(bench, first, second))
    assert left.per_query != first.per_query
    for query_id, values in left.per_query.items():
        both = [first.per_query[query_id], second.per_query[query_id]]
        assert values in both
        assert right.per_query[query_id] in both


def test_centred_pairs_have_no_difference_on_average(bench: Bench) -> None:
    """Over many draws the mean difference is 0, while single ones are not."""
    first, second = bench.run(bench.sound), bench.run(bench.sound, "lexical")
    drawn = [
        np.mean([values["nDCG@10"] or 0.0 for values in right.per_query.values()])
        for _, right in itertools.islice(centred(bench, first, second), 300)
    ]
    assert np.abs(drawn).max() > 0.01
    assert np.mean(drawn) == pytest.approx(0.0, abs=4 * np.std(drawn) / len(drawn) ** 0.5)
