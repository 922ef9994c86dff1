"""Model folders: finding them, listing them, and refusing what is damaged."""

import json
from pathlib import Path
from typing import Any

import pytest

from retrieval.embedders.manifest import MANIFEST, SHIPPED, list_models, read_manifest, resolve_model
from retrieval.errors import ConfigError, ModelInvalid

VALUES: dict[str, Any] = {
    **json.loads((SHIPPED / "all-MiniLM-L6-v2" / MANIFEST).read_text(encoding="utf-8")),
    "name": "other",
}


def write(folder: Path, **changes: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).write_text(json.dumps({**VALUES, **changes}), encoding="utf-8")
    return folder


def test_a_shipped_name_is_found(tmp_path: Path) -> None:
    """The default model needs no folder of prepared models."""
    assert resolve_model("all-MiniLM-L6-v2", tmp_path / "none") == SHIPPED / "all-MiniLM-L6-v2"


def test_a_prepared_name_is_found(tmp_path: Path) -> None:
    """A name is looked up under the folder of prepared models."""
    folder = write(tmp_path / "other")
    assert resolve_model("other", tmp_path) == folder


def test_a_folder_is_found(tmp_path: Path) -> None:
    """A path to a model folder works from anywhere."""
    folder = write(tmp_path / "deep" / "down")
    assert resolve_model(str(folder), tmp_path / "none") == folder


def test_an_unknown_model_lists_the_known_ones(tmp_path: Path) -> None:
    """The error names the value, what is there, and how to get more."""
    write(tmp_path / "other")
    with pytest.raises(ConfigError, match=r"'nope'.*all-MiniLM-L6-v2, other.*models prepare"):
        resolve_model("nope", tmp_path)


def test_models_are_listed_by_name(tmp_path: Path) -> None:
    """Shipped and prepared ones together."""
    write(tmp_path / "zebra", name="zebra")
    write(tmp_path / "Aardvark", name="Aardvark")
    assert [manifest.name for manifest in list_models(tmp_path)] == ["Aardvark", "all-MiniLM-L6-v2", "zebra"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "format 2"),
        ({"dimension": "384"}, "dimension"),
        ({"pooling": "max"}, "pooling"),
        ({"files": {}}, "files"),
        ({"surplus": 1}, "surplus"),
    ],
)
def test_a_wrong_manifest_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    """A field of the wrong kind or an unknown one is named."""
    with pytest.raises(ModelInvalid, match=message):
        read_manifest(write(tmp_path / "bad", **changes))


@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_a_damaged_manifest_is_refused(tmp_path: Path, content: str) -> None:
    """Half a file or another JSON value is no manifest."""
    (tmp_path / MANIFEST).write_text(content, encoding="utf-8")
    with pytest.raises(ModelInvalid, match=MANIFEST):
        read_manifest(tmp_path)


def test_a_folder_without_manifest_is_refused(tmp_path: Path) -> None:
    """The error says how to make one."""
    with pytest.raises(ModelInvalid, match="models prepare"):
        read_manifest(tmp_path)
