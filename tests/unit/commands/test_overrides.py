"""`--set NAME=VALUE`."""

import pytest

from footnote.commands.overrides import with_assignments
from retrieval.errors import ConfigError
from retrieval.settings import RetrievalSettings


def test_settings_are_put_in_place() -> None:
    """Whatever their type; the last one wins, the others stay as they were."""
    given = RetrievalSettings(candidates=70, embedder_api_key="k")
    made = with_assignments(
        given, ["dense_weight=0.4", "retrieval.fusion = rrf", "rerank_required=false", "dense_weight=1"]
    )
    assert (made.dense_weight, made.fusion, made.rerank_required) == (1.0, "rrf", False)
    assert (made.candidates, made.embedder_api_key.get_secret_value()) == (70, "k")
    assert with_assignments(given, []) == given


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("dense_weight", "--set 'dense_weight': expected NAME=VALUE"),
        ("dens_weight=1", "--set 'dens_weight' is not a setting of retrieval; did you mean 'dense_weight'?"),
        ("xyz=1", "--set 'xyz' is not a setting of retrieval; known here: store, path, "),
        ("=1", "--set '' is not a setting"),
        ("ingest.chunk_tokens=9", "--set 'ingest.chunk_tokens'"),
        ("dense_weight=2", "--set dense_weight=2: Input should be less than or equal to 1"),
        ("dense_weight=much", "--set dense_weight=much: Input should be a valid number"),
        ("fusion=magic", "--set fusion=magic: Input should be 'convex' or 'rrf'"),
    ],
)
def test_what_is_no_setting_is_refused(assignment: str, message: str) -> None:
    """With its name and what is wrong."""
    with pytest.raises(ConfigError) as caught:
        with_assignments(RetrievalSettings(), [assignment])
    assert str(caught.value).startswith(message)


def test_a_secret_is_not_taken_nor_said() -> None:
    """Command lines are seen by everybody on the machine."""
    with pytest.raises(ConfigError, match="does not belong on a command line") as caught:
        with_assignments(RetrievalSettings(), ["embedder_api_key=hunter2"])
    assert "hunter2" not in str(caught.value)
