"""Late interaction: what the code of a chunk keeps, and what a query makes of it."""

import numpy as np
import pytest

from retrieval import maxsim

DIMENSION = 384


def _unit(seed: int, rows: int, dimension: int = DIMENSION) -> maxsim.Floats:
    drawn = np.random.default_rng(seed).standard_normal((rows, dimension)).astype(np.float32)
    return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True))


def test_a_code_has_a_bit_for_each_dimension_of_each_distinct_piece() -> None:
    """Pieces that come again share one vector."""
    code = maxsim.encode(_unit(0, 4), np.array([7, 9, 7, 11]))
    assert len(code) == 3 * DIMENSION // 8


def test_the_scale_of_token_vectors_does_not_count() -> None:
    """Only their directions do, so a loud token does not drown the others of its piece."""
    vectors, pieces = _unit(1, 5), np.array([1, 1, 2, 3, 3])
    scale = np.array([[1.0], [50.0], [3.0], [0.1], [7.0]], dtype=np.float32)
    assert maxsim.encode(vectors * scale, pieces) == maxsim.encode(vectors, pieces)


def test_scores_are_near_those_of_the_whole_vectors() -> None:
    """A bit per dimension keeps the order of texts that differ clearly, and nearly their scores."""
    query = _unit(2, 6)
    weights = np.array([1, 2, 1, 3, 1, 1], dtype=np.float32)
    codes, exact = [], []
    for share in (0.9, 0.6, 0.3, 0.0):  # how much of the query each text has
        text = share * query + (1 - share) * _unit(3, 6)
        text /= np.linalg.norm(text, axis=1, keepdims=True)
        codes.append(maxsim.encode(text, np.arange(6)))
        exact.append(float(weights @ (query @ text.T).max(axis=1) / weights.sum()))
    found = maxsim.scores(query, weights, codes)
    assert list(np.argsort(-found)) == [0, 1, 2, 3]
    # Signs alone shrink a cosine by sqrt(2 / pi) on average.
    assert found == pytest.approx(np.sqrt(2 / np.pi) * np.array(exact), abs=0.06)


def test_a_weight_of_zero_takes_a_token_out() -> None:
    """Stop words do not choose."""
    query = _unit(4, 2)
    codes = [maxsim.encode(query[:1], np.array([1])), maxsim.encode(query[1:], np.array([2]))]
    first = maxsim.scores(query, np.array([1.0, 0.0], dtype=np.float32), codes)
    second = maxsim.scores(query, np.array([0.0, 1.0], dtype=np.float32), codes)
    assert first[0] > first[1]
    assert second[1] > second[0]


def test_a_chunk_without_a_code_scores_zero() -> None:
    """Among others that have one, it neither fails nor shifts their scores."""
    query, weights = _unit(5, 3), np.ones(3, dtype=np.float32)
    code = maxsim.encode(_unit(6, 4), np.arange(4))
    assert maxsim.scores(query, weights, [b"", code, b""])[[0, 2]].tolist() == [0.0, 0.0]
    assert maxsim.scores(query, weights, [b"", code])[1] == maxsim.scores(query, weights, [code])[0]
    assert maxsim.scores(query, weights, [b""]).tolist() == [0.0]


@pytest.mark.parametrize("dimension", [8, 24, 312, 384, 768, 1024])
def test_turning_keeps_angles(dimension: int) -> None:
    """The rotation is orthogonal for every dimension a model can have, so it costs nothing by itself."""
    turned = maxsim._rotation(dimension)
    assert turned @ turned.T == pytest.approx(np.eye(dimension), abs=1e-5)


def test_the_code_is_the_same_on_every_machine() -> None:
    """It is stored: a changed pattern would make old codes noise. Change the name of the code with it."""
    vectors = np.linspace(-1, 1, 3 * 16, dtype=np.float32).reshape(3, 16)
    assert maxsim.encode(vectors, np.array([3, 1, 2])).hex() == "8338c7702a19"
