"""Reading filters, and what they mean where JSON leaves it open. (Stores: tests/contract/test_filters.py.)"""

from typing import Any

import pytest

from retrieval import filters
from retrieval.errors import InvalidFilter, UnknownField
from retrieval.records import DocumentInfo, MetadataValue


def document(**metadata: MetadataValue) -> DocumentInfo:
    return DocumentInfo("d", "v", "file:///d", "A title", "text/plain", 10, None, metadata)


def passes(data: object, **metadata: MetadataValue) -> bool:
    return filters.matches(filters.parse(data), document(**metadata))


def test_several_entries_are_all_required() -> None:
    """An object is a conjunction, of fields and of conditions on one field."""
    assert passes({"year": {"$gte": 2020, "$lt": 2024}, "tag": "a"}, year=2023, tag="a")
    assert not passes({"year": {"$gte": 2020, "$lt": 2024}, "tag": "a"}, year=2024, tag="a")


def test_types_do_not_mix() -> None:
    """Text "1", number 1 and true are three values; 1 and 1.0 are one."""
    assert passes({"x": 1}, x=1.0)
    assert not passes({"x": 1}, x="1")
    assert not passes({"x": 1}, x=True)
    assert not passes({"x": {"$lt": "2"}}, x=1)


def test_a_list_matches_by_its_members() -> None:
    """Any member will do; an empty list is a field that is not there."""
    assert passes({"tag": "b"}, tag=("a", "b"))
    assert not passes({"tag": {"$ne": "b"}}, tag=("a", "b"))
    assert passes({"tag": {"$exists": False}}, tag=())


def test_negations_match_documents_without_the_field() -> None:
    """`$ne` and `$nin` are the complements of `$eq` and `$in`."""
    assert passes({"x": {"$ne": 1}})
    assert passes({"x": {"$nin": [1, 2]}})
    assert not passes({"x": {"$gt": 0}})


def test_builtin_fields_can_be_filtered() -> None:
    """Title, id, source and media type need no metadata."""
    assert passes({"title": "A title", "doc_id": {"$in": ["d"]}, "media_type": {"$exists": True}})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], r"filter: expected an object"),
        ("x", r"filter: expected an object"),
        ({"a": {"$regex": "x"}}, r"filter.a.\$regex: unknown operator '\$regex'; known: \$eq"),
        ({"$nor": []}, r"filter.\$nor: unknown operator"),
        ({"$or": []}, r"filter.\$or: expected a non-empty list"),
        ({"$and": {"a": 1}}, r"filter.\$and: expected a non-empty list"),
        ({"a": {}}, r"filter.a: empty condition"),
        ({"a": None}, r"filter.a: expected text, a number or a boolean, got None"),
        ({"a": [1]}, r"filter.a: expected text, a number"),
        ({"a": {"$in": "x"}}, r"filter.a.\$in: expected a list"),
        ({"a": {"$in": [[1]]}}, r"filter.a.\$in\[0\]: expected text"),
        ({"a": {"$exists": 1}}, r"filter.a.\$exists: expected true or false"),
        ({"a": {"$not": 5}}, r"filter.a.\$not: expected a condition"),
        ({"a": float("nan")}, r"cannot be compared"),
        ({"a": 2**63}, r"64 bits"),
        ({"a": "\ud800"}, r"not valid Unicode"),
        ({"": 1}, r"a field name must be non-empty text"),
        ({"a": {"$in": ["x"] * 10_001}}, r"10001 values; at most 10000"),
    ],
)
def test_bad_filters_are_refused_with_the_place(data: object, message: str) -> None:
    """The path of what is wrong, the value, what would be right."""
    with pytest.raises(InvalidFilter, match=message):
        filters.parse(data)


def test_endless_nesting_is_refused() -> None:
    """A hostile filter cannot exhaust the stack."""
    data: dict[str, Any] = {"a": 1}
    for _ in range(5_000):
        data = {"$not": data}
    with pytest.raises(InvalidFilter, match="levels deep"):
        filters.parse(data)


def test_unknown_fields_are_named_with_the_known_ones() -> None:
    """A typing error shows; asking for absence does not."""
    with pytest.raises(UnknownField, match=r"'yaer'; fields here: .*year"):
        filters.check_fields(filters.parse({"$or": [{"year": 1}, {"$not": {"yaer": 1}}]}), ["year"])
    filters.check_fields(filters.parse({"nowhere": {"$exists": False}}), ["year"])
