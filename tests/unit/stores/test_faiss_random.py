"""The random operations of the contract suite once more, with a short way in every segment."""

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from retrieval.ports import Vectors
from retrieval.settings import RetrievalSettings
from retrieval.stores.faiss import dense, index_writer
from tests.contract.test_random_operations import StoreAndOracle


@pytest.mark.parametrize("kind", ["hnsw", "compact"])
def test_random_operations_agree_with_the_oracle_on_the_short_way(
    kind: dense.IndexKind, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So few vectors are all candidates: results are the oracle's, through flushes, merges, editions and deaths."""
    monkeypatch.setattr(index_writer, "FLUSH_CHUNKS", 4)
    monkeypatch.setattr(index_writer, "MERGE_FACTOR", 2)
    monkeypatch.setattr(dense, "APPROXIMATE_CHUNKS", 2)
    monkeypatch.setattr(dense, "EXACT_PER_BREADTH", 0)
    monkeypatch.setattr(dense, "_LIST_SHARE", 1.0)
    searched: list[int] = []
    nearest = dense.Short.nearest

    def counted(short: dense.Short, vector: Vectors, breadth: int) -> dense.Positions:
        searched.append(breadth)
        return nearest(short, vector, breadth)

    monkeypatch.setattr(dense.Short, "nearest", counted)

    def new_place() -> RetrievalSettings:
        return RetrievalSettings(path=tmp_path_factory.mktemp("data"), faiss_index=kind)

    monkeypatch.setattr(StoreAndOracle, "new_place", staticmethod(new_place), raising=False)
    run_state_machine_as_test(
        StoreAndOracle,
        settings=settings(
            max_examples=10, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )  # fmt: skip
    assert searched
