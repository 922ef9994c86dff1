"""The format of metadata files."""

import json
import math
from typing import Any

import pytest

from ingest.sources.sidecars import fits, parse
from retrieval.errors import CorruptFile


def parsed(**attributes: Any) -> object:
    return parse(json.dumps({"metadataAttributes": attributes}).encode(), "a.md.metadata.json")


def test_plain_values_are_taken_as_they_are() -> None:
    """Text, numbers, booleans and lists of one kind; a list of whole and broken numbers is one of broken ones."""
    assert parsed(a="x", b=1, c=1.5, d=True, e=["x", "y"], f=[1, 2], g=[1, 2.5], h=[]) == {
        "a": "x",
        "b": 1,
        "c": 1.5,
        "d": True,
        "e": ("x", "y"),
        "f": (1, 2),
        "g": (1.0, 2.5),
    }


def test_values_with_a_type_are_taken_from_where_it_says() -> None:
    """As Bedrock writes them; whether they are for embedding is no matter."""
    assert parsed(
        a={"value": {"type": "STRING", "stringValue": "x"}, "includeForEmbedding": True},
        b={"value": {"type": "NUMBER", "numberValue": 3}},
        c={"value": {"type": "BOOLEAN", "booleanValue": False}},
        d={"value": {"type": "STRING_LIST", "stringListValue": ["x", "y"]}},
    ) == {"a": "x", "b": 3, "c": False, "d": ("x", "y")}


def test_other_keys_and_a_byte_order_mark_are_no_matter() -> None:
    """Bedrock keeps hints for CSV files in the same place; Windows writes the mark."""
    data = {"metadataAttributes": {"a": 1}, "documentStructureConfiguration": {"type": "x"}}
    assert parse(b"\xef\xbb\xbf" + json.dumps(data).encode(), "x") == {"a": 1}
    assert parse(b'{"metadataAttributes": {}}', "x") == {}


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        {"value": "x"},
        {"value": {"type": "STRING", "stringValue": 1}},
        {"value": {"type": "NUMBER", "numberValue": True}},
        {"value": {"type": "DATE", "dateValue": "x"}},
        {"value": {"type": ["x"]}},
        ["x", 1],
        [True],
        [[1]],
        [{}],
        2**63,
        "a\0b",
        "\ud800",
        float("nan"),
        float("inf"),
    ],
)
def test_values_that_cannot_be_kept_are_named(value: object) -> None:
    """The metadata file, the attribute, and what to write."""
    with pytest.raises(CorruptFile, match=r"'a\.md\.metadata\.json' .*metadataAttributes"):
        parsed(year=value)


@pytest.mark.parametrize("name", ["", "$or", "\ud800", "a\0"])
def test_names_that_cannot_be_kept_are_refused(name: str) -> None:
    """They could not be filtered on."""
    with pytest.raises(CorruptFile, match="name of a field"):
        parsed(**{name: 1})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"{}",
        b'{"metadataAttributes": []}',
        b"\xff\xfe",
        b"[" * 10**5,
        b'{"a": 1' + b"0" * 5000,
    ],
)
def test_what_is_no_metadata_file_is_refused(data: bytes) -> None:
    """Whatever it is."""
    with pytest.raises(CorruptFile, match="'x'"):
        parse(data, "x")


@pytest.mark.parametrize("value", [2023, -1.5, True, "text", "", ("a", "b"), (1, 2.5), ()])
def test_values_that_can_be_metadata(value: object) -> None:
    """Those that a filter can compare."""
    assert fits("name", value)


@pytest.mark.parametrize("value", [None, math.inf, math.nan, 2**63, "\ud800", "a\0", (1, "x"), (True,), ((1,),), {}])
def test_values_that_cannot_be_metadata(value: object) -> None:
    """Neither can names that look like operators."""
    assert not fits("name", value)
    assert not fits("$or", 1)
    assert not fits("", 1)
