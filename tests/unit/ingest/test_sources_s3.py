"""Objects of S3, against a server that speaks its language."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ingest.settings import IngestSettings
from ingest.sources import Source, discover
from retrieval.errors import (
    ConfigError,
    CorruptFile,
    FetchError,
    InvalidRequest,
    LimitExceeded,
    MissingExtra,
    SourceNotFound,
)
from tests import servers

boto3 = pytest.importorskip("boto3")
botocore = pytest.importorskip("botocore")
pytest.importorskip("moto")
from moto.backends import get_backend  # noqa: E402 - skipped without
from moto.core import DEFAULT_ACCOUNT_ID  # noqa: E402


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """One server for all; each test has a bucket of its own."""
    with servers.s3() as address:
        yield address


@pytest.fixture(scope="module")
def client(url: str) -> Any:
    """For what the tests themselves do; a client takes a while to make."""
    session = boto3.session.Session("test", "test", region_name="us-east-1")
    return session.client("s3", endpoint_url=url)


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Those of nobody."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))


class Bucket:
    """A bucket to put things into, and what a run finds there."""

    def __init__(self, url: str, client: Any, name: str) -> None:
        self.name = name
        self.settings = IngestSettings(s3_endpoint_url=url)
        self.client = client
        self.client.create_bucket(Bucket=name)

    def put(self, key: str, body: bytes = b"text", **options: str) -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=body, **options)

    def found(self, *prefixes: str) -> list[Source]:
        return list(discover([f"s3://{self.name}{prefix}" for prefix in prefixes], settings=self.settings))

    def keys(self, *prefixes: str) -> list[str]:
        return [source.uri.removeprefix(f"s3://{self.name}/") for source in self.found(*prefixes)]


@pytest.fixture
def bucket(url: str, client: Any, request: pytest.FixtureRequest) -> Bucket:
    return Bucket(url, client, f"b{abs(hash(request.node.name))}")


def test_a_bucket_is_listed_to_its_end(bucket: Bucket) -> None:
    """A page of a listing has a thousand keys; there are more, and each comes once, in order."""
    backend = get_backend("s3")[DEFAULT_ACCOUNT_ID]["aws"]  # the server is in this process; by HTTP it takes 10 s
    for i in range(1005):
        backend.put_object(bucket.name, f"{i:04d}.md", b"text")
    assert bucket.keys("") == [f"{i:04d}.md" for i in range(1005)]


def test_a_prefix_is_an_object_or_what_is_below_it(bucket: Bucket) -> None:
    """Never what only begins alike."""
    for key in ("docs", "docs/a.md", "docs/b/c.md", "docs-old/a.md", "docs.md"):
        bucket.put(key)
    assert bucket.keys("/docs") == ["docs", "docs/a.md", "docs/b/c.md"]
    assert bucket.keys("/docs/") == bucket.keys("/docs")
    assert bucket.keys("/docs.md") == ["docs.md"]
    roots = discover([f"s3://{bucket.name}/docs/", f"s3://{bucket.name}/"], settings=bucket.settings).roots
    assert roots == (f"s3://{bucket.name}/docs", f"s3://{bucket.name}")


def test_overlapping_prefixes_double_nothing(bucket: Bucket) -> None:
    """Each object comes once."""
    bucket.put("docs/a.md")
    assert bucket.keys("/docs", "/docs/a.md", "") == ["docs/a.md"]


def test_markers_of_folders_and_hidden_names_are_left_out(bucket: Bucket) -> None:
    """As in local folders; an empty object that has others below it stands for a folder."""
    for key in ("d/", "d/.hidden", ".git/config", "e_$folder$", "f"):
        bucket.put(key, b"")
    for key in ("d/a.md", "f/b.md"):
        bucket.put(key)
    assert bucket.keys("") == ["d/a.md", "f/b.md"]
    assert bucket.keys("/d/.hidden") == ["d/.hidden"]


@pytest.mark.parametrize("key", ["a b.md", "100%.md", "a#b?.md", "grün/日本.md", "a'\"b.md", "a!/b.md", "a+b=c.md"])
def test_any_key_makes_a_uri_and_back(bucket: Bucket, key: str, tmp_path: Path) -> None:
    """The URI names the object, as an argument too."""
    bucket.put(key, key.encode())
    (source,) = bucket.found("")
    (again,) = sources = discover([source.uri], settings=bucket.settings)
    assert again == source
    assert sources.fetch(again, tmp_path).path.read_bytes() == key.encode()
    assert source.uri.isascii()


def test_what_is_fetched_lies_in_the_spool_folder(bucket: Bucket, tmp_path: Path) -> None:
    """With the media type that it was uploaded with, and the validator that the listing gives."""
    bucket.put("page", b"<p>text", ContentType="text/html; charset=utf-8")
    (source,) = sources = discover([f"s3://{bucket.name}"], settings=bucket.settings)
    fetched = sources.fetch(source, tmp_path)
    assert (fetched.path.read_bytes(), fetched.temporary, fetched.path.parent) == (b"<p>text", True, tmp_path)
    assert (fetched.media_type, fetched.validator) == ("text/html", source.validator)
    assert (source.name, source.size) == ("page", 7)
    sources.close()


def test_the_validator_tells_content_apart(bucket: Bucket) -> None:
    """Other bytes, another validator; the same bytes uploaded again, the same."""
    bucket.put("a.md", b"one")
    (first,) = bucket.found("")
    bucket.put("a.md", b"two")
    (second,) = bucket.found("")
    bucket.put("a.md", b"one")
    (third,) = bucket.found("")
    assert first.validator == third.validator != second.validator


def test_of_a_versioned_bucket_the_current_versions_are_read(bucket: Bucket, tmp_path: Path) -> None:
    """A new version is a change, a deletion marker an absence, whatever the bucket still keeps."""
    bucket.client.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"})
    for key in ("a.md", "b.md"):
        bucket.put(key, b"one")
    before = {source.uri: source.validator for source in bucket.found("")}
    bucket.put("a.md", b"two")
    bucket.client.delete_object(Bucket=bucket.name, Key="b.md")
    (source,) = sources = discover([f"s3://{bucket.name}"], settings=bucket.settings)
    assert source.validator != before[source.uri]
    assert sources.fetch(source, tmp_path).path.read_bytes() == b"two"


def test_an_object_in_parts_has_a_validator_too(bucket: Bucket, tmp_path: Path) -> None:
    """Its ETag is no hash of its content, and need not be."""
    upload = bucket.client.create_multipart_upload(Bucket=bucket.name, Key="big.md")["UploadId"]
    parts = []
    for number, body in enumerate((b"x" * 5 * 2**20, b"end"), start=1):
        named = {"Bucket": bucket.name, "Key": "big.md", "UploadId": upload, "PartNumber": number}
        parts.append({"PartNumber": number, "ETag": bucket.client.upload_part(**named, Body=body)["ETag"]})
    bucket.client.complete_multipart_upload(
        Bucket=bucket.name, Key="big.md", UploadId=upload, MultipartUpload={"Parts": parts}
    )
    (source,) = sources = discover([f"s3://{bucket.name}"], settings=bucket.settings)
    fetched = sources.fetch(source, tmp_path)
    assert fetched.validator == source.validator
    assert "-2-" in source.validator
    assert fetched.path.stat().st_size == 5 * 2**20 + 3


def test_an_object_that_changes_after_the_listing_is_read_as_it_is(bucket: Bucket, tmp_path: Path) -> None:
    """Its validator is that of what was read, so the next run finds it unchanged."""
    bucket.put("a.md", b"one")
    (source,) = sources = discover([f"s3://{bucket.name}"], settings=bucket.settings)
    bucket.put("a.md", b"two")
    fetched = sources.fetch(source, tmp_path)
    assert fetched.path.read_bytes() == b"two"
    assert fetched.validator == bucket.found("")[0].validator != source.validator


def test_sidecars_belong_to_their_objects(bucket: Bucket, tmp_path: Path) -> None:
    """They are no documents, and part of the validator."""
    bucket.put("d/a.md")
    (bare,) = bucket.found("")
    bucket.put("d/a.md.metadata.json", json.dumps({"metadataAttributes": {"year": 2023}}).encode())
    for argument in (f"s3://{bucket.name}", f"s3://{bucket.name}/d/a.md"):
        (source,) = sources = discover([argument], settings=bucket.settings)
        fetched = sources.fetch(source, tmp_path)
        assert fetched.metadata == {"year": 2023}
        assert fetched.validator == source.validator != bare.validator


def test_a_bad_sidecar_is_named(bucket: Bucket, tmp_path: Path) -> None:
    """The document is not taken without the metadata that was meant for it."""
    bucket.put("a.md")
    bucket.put("a.md.metadata.json", b"{")
    (source,) = sources = discover([f"s3://{bucket.name}"], settings=bucket.settings)
    with pytest.raises(CorruptFile, match=r"'a\.md\.metadata\.json' is no JSON"):
        sources.fetch(source, tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_object_above_the_limit_is_not_downloaded(bucket: Bucket, tmp_path: Path) -> None:
    """Its size is known before."""
    bucket.put("a.md", b"x" * 2000)
    settings = bucket.settings.model_copy(update={"max_file_bytes": 1999})
    (source,) = sources = discover([f"s3://{bucket.name}"], settings=settings)
    with pytest.raises(LimitExceeded, match=r"2,000 bytes, the limit is 1,999"):
        sources.fetch(source, tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_object_that_is_gone_fails_alone(bucket: Bucket, tmp_path: Path) -> None:
    """Deleted between listing and reading."""
    bucket.put("a.md")
    (source,) = sources = discover([f"s3://{bucket.name}"], settings=bucket.settings)
    bucket.client.delete_object(Bucket=bucket.name, Key="a.md")
    with pytest.raises(FetchError, match=r"a\.md' is not there any more"):
        sources.fetch(source, tmp_path)


def test_an_archived_object_says_so(bucket: Bucket, tmp_path: Path) -> None:
    """Objects in Glacier must be restored before they can be read."""
    bucket.put("a.md", StorageClass="GLACIER")
    (source,) = sources = discover([f"s3://{bucket.name}"], settings=bucket.settings)
    with pytest.raises(FetchError, match="archive storage class; restore it"):
        sources.fetch(source, tmp_path)


def test_missing_buckets_and_prefixes_are_named_at_once(bucket: Bucket) -> None:
    """Before anything is read; an empty bucket is none of them."""
    assert bucket.found("") == []
    with pytest.raises(SourceNotFound, match="no such bucket: 's3://not-there'"):
        discover(["s3://not-there"], settings=bucket.settings)
    bucket.put("docs-old/a.md")
    with pytest.raises(SourceNotFound, match="docs'; check bucket, prefix"):
        discover([f"s3://{bucket.name}/docs"], settings=bucket.settings)
    for wrong in ("s3://", "s3:///key", f"s3://{bucket.name}/%FF", "s3://me:secret@bucket/key"):
        with pytest.raises(InvalidRequest) as error:
            discover([wrong], settings=bucket.settings)
        assert "secret" not in str(error.value)


def test_a_bucket_that_vanishes_is_a_problem_of_the_whole_folder(bucket: Bucket) -> None:
    """So that nothing in it is taken for deleted."""
    bucket.put("a.md")
    sources = discover([f"s3://{bucket.name}"], settings=bucket.settings)
    bucket.client.delete_object(Bucket=bucket.name, Key="a.md")
    bucket.client.delete_bucket(Bucket=bucket.name)
    (source,) = sources
    assert source.folder
    assert "no such bucket" in source.problem


def test_missing_credentials_say_what_to_do(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is read."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(ConfigError, match=r"no AWS credentials.*AWS_PROFILE"):
        discover([f"s3://{bucket.name}"], settings=bucket.settings)


def test_a_service_that_does_not_answer_is_no_missing_bucket() -> None:
    """Trying again may help."""
    settings = IngestSettings(s3_endpoint_url="http://127.0.0.1:9")
    with pytest.raises(FetchError, match="cannot be reached"):
        discover(["s3://bucket"], settings=settings)
    with pytest.raises(ConfigError, match="s3_endpoint_url"):
        discover(["s3://bucket"], settings=IngestSettings(s3_endpoint_url="no url"))


def test_a_connection_that_breaks_leaves_no_half_object(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trying again may help."""

    def broken(body: object, size: int) -> Iterator[bytes]:
        yield b"half"
        raise OSError("connection reset")

    bucket.put("a.md")
    (source,) = sources = discover([f"s3://{bucket.name}"], settings=bucket.settings)
    monkeypatch.setattr(botocore.response.StreamingBody, "iter_chunks", broken)
    with pytest.raises(FetchError, match="connection broke"):
        sources.fetch(source, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("code", "kind", "advice"),
    [
        ("AccessDenied", ConfigError, "need s3:ListBucket"),
        ("ExpiredToken", ConfigError, "renew them"),
        ("SlowDown", FetchError, "'SlowDown'; try again"),
    ],
)
def test_what_s3_says_becomes_what_to_do(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, code: str, kind: type[Exception], advice: str
) -> None:
    """Before the run for its arguments; a problem of the whole folder in the middle of it."""
    sources = discover([f"s3://{bucket.name}"], settings=bucket.settings)

    def refuse(client: object, operation: str, arguments: object) -> None:
        raise botocore.exceptions.ClientError({"Error": {"Code": code}}, operation)

    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", refuse)
    with pytest.raises(kind, match=advice):
        discover([f"s3://{bucket.name}"], settings=bucket.settings)
    (source,) = sources
    assert source.folder
    assert advice in source.problem


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that installs it."""
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(MissingExtra, match=r"pip install 'footnote\[s3\]'"):
        discover(["s3://bucket"])
