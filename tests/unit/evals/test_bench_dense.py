"""The benchmark of the dense index measures recall against what is exact, for each kind."""

from pathlib import Path

import numpy as np
import pytest

from evals.bench import dense
from evals.bench.stores import Material
from retrieval.records import Hit
from retrieval.settings import RetrievalSettings
from tests.fakes import FakeEmbedder


@pytest.mark.parametrize("kind", dense.KINDS)
def test_a_small_collection_is_found_whole(kind: str, tmp_path: Path) -> None:
    """Few vectors are searched exactly by every kind: recall is 1 in all situations, deletions included."""
    rows = np.random.default_rng(0).normal(size=(2000, 64)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    material = Material(
        info=FakeEmbedder().info,
        queries=["a", "b", "c"],
        query_vectors=rows[:3],
        chunk_ids=[str(i) for i in range(len(rows))],
        vectors=rows,
        shares=np.zeros(len(rows), dtype=np.int64),
        text_bytes=0,
    )
    settings = RetrievalSettings.model_validate({"path": tmp_path, "faiss_index": kind})
    seconds, size, found = dense.measure(settings, material, rows[:3] @ rows.T)
    assert seconds > 0
    assert size > rows.nbytes
    assert [row.situation for row in found] == [
        "all", "filter keeps 50%", "filter keeps 10%", "filter keeps 1%", "20% deleted",
    ]  # fmt: skip
    for row in found:
        assert row.recall_10 == row.recall_100 == 1.0
        assert 0 < row.p50 <= row.p95


def test_a_miss_shows_in_the_recall() -> None:
    """Half of the best found is a half; a tie with the last of them counts."""
    cosines = np.array([0.9, 0.8, 0.8, 0.1], dtype=np.float32)
    numbers = np.arange(4)
    assert dense._recall([Hit("0", 0.9), Hit("2", 0.8)], cosines, numbers, 2) == 1.0
    assert dense._recall([Hit("0", 0.9), Hit("3", 0.1)], cosines, numbers, 2) == 0.5
    assert dense._recall([Hit("3", 0.1)], cosines, numbers[3:], 2) == 1.0
