"""Objects of S3 and of services that speak its language (extra `s3`).

`s3://bucket/docs` is the object `docs`, or all below `docs/`, never `docs-old/`. Keys are percent-encoded in URIs.
boto3 and not s3fs, which asks for versions of botocore that the client of Bedrock cannot have.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from ingest.settings import IngestSettings
from ingest.sources import sidecars, spooling
from ingest.sources.identity import shown, without_login
from ingest.sources.local import is_skipped, too_large
from ingest.sources.records import Fetched, Source
from retrieval.errors import ConfigError, FetchError, FootnoteError, InvalidRequest, MissingExtra, SourceNotFound

if TYPE_CHECKING:
    from botocore.client import BaseClient

_CONNECT_SECONDS = 10
_READ_SECONDS = 60
_ATTEMPTS = 5
_CONNECTIONS = 64
"""More than there are threads that fetch."""
_STEP = 2**20


class Buckets:
    """Objects of buckets, with the credentials that boto3 finds: environment, ~/.aws, the machine's role."""

    def __init__(self, settings: IngestSettings) -> None:
        self._max_bytes = settings.max_file_bytes
        self._client = _client(settings.s3_endpoint_url)

    def root(self, argument: str | Path) -> str:
        """The URI of an object or of what is below a prefix. Raises SourceNotFound when there is neither."""
        bucket, key = _parse(str(argument))
        uri = _uri(bucket, key)
        try:
            if not key:
                self._first(bucket, "")
            elif not self._object(bucket, key) and not self._first(bucket, f"{key}/"):
                raise SourceNotFound(f"no such object, and none below it: {uri!r}; check bucket, prefix and spelling")
        except FootnoteError:
            raise
        except Exception as exc:
            raise _translated(exc, uri, "s3:ListBucket") from exc
        return uri

    def find(self, roots: Sequence[str]) -> Iterator[Source]:
        """Objects at and below `roots`, by key. Hidden names and markers of folders are left out."""
        for root in roots:
            bucket, key = _parse(root)
            try:
                objects = self._listed(bucket, key)
            except Exception as exc:  # boto3 raises classes that exist only once it is imported
                problem = str(_translated(exc, root, "s3:ListBucket"))
                yield Source(root, key.rpartition("/")[2] or bucket, 0, problem=problem, folder=True)
                continue
            yield from (_source(bucket, found, objects) for found in _documents(objects, key))

    def fetch(self, source: Source, spool: Path, *, known: str = "") -> Fetched:  # noqa: ARG002 - the listing tells
        """A copy in `spool`: what one request gives belongs together, whatever happens to the object meanwhile."""
        if source.problem:
            raise FetchError(source.problem)
        metadata, validator = {}, ""
        if source.sidecar:
            name = unquote(source.sidecar.rpartition("/")[2])
            response = self._get(source.sidecar)
            blocks = _blocks(response, name, sidecars.MAX_BYTES, "")
            metadata = sidecars.parse(b"".join(blocks), name)
            validator = "+" + _validator(response["ETag"], response["ContentLength"])
        response = self._get(source.uri)
        blocks = _blocks(response, source.name, self._max_bytes, "ingest.max_file_bytes")
        path, _ = spooling.write(blocks, spool, name=source.name)
        return Fetched(
            path,
            temporary=True,
            metadata=metadata,
            media_type=response.get("ContentType", "").partition(";")[0].strip().lower(),
            validator=_validator(response["ETag"], response["ContentLength"]) + validator,
        )

    def close(self) -> None:
        """Release connections."""
        self._client.close()

    def _first(self, bucket: str, prefix: str) -> Mapping[str, Any] | None:
        """The object of the smallest key that begins with `prefix`."""
        answer = self._client.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)
        return next(iter(answer.get("Contents", ())), None)

    def _object(self, bucket: str, key: str) -> "_Object | None":
        # Listed, not looked at by HEAD: that takes another permission, and tells nobody why it is refused.
        found = self._first(bucket, key)
        return _Object.of(found) if found and found["Key"] == key else None

    def _listed(self, bucket: str, key: str) -> dict[str, "_Object"]:
        """All objects at and below `key` by key, sorted; a sidecar is wherever its document is."""
        objects = {}
        if key and (itself := self._object(bucket, key)):
            objects[key] = itself
            if sidecar := self._object(bucket, key + sidecars.SUFFIX):
                objects[sidecar.key] = sidecar
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{key}/" if key else "")
        for page in pages:
            objects.update((entry["Key"], _Object.of(entry)) for entry in page.get("Contents", ()))
        return dict(sorted(objects.items()))

    def _get(self, uri: str) -> Any:
        bucket, key = _parse(uri)
        try:
            return self._client.get_object(Bucket=bucket, Key=key)
        except Exception as exc:
            error = _translated(exc, uri, "s3:GetObject")
            # In the middle of a run all of these are the trouble of one document.
            raise error if isinstance(error, FetchError) else FetchError(str(error)) from exc


@dataclass(frozen=True, slots=True)
class _Object:
    key: str
    size: int
    etag: str

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> "_Object":
        return cls(entry["Key"], entry["Size"], entry.get("ETag", ""))


def _client(endpoint_url: str) -> "BaseClient":
    try:
        import boto3  # noqa: PLC0415 - an extra
        from botocore.config import Config  # noqa: PLC0415
    except ImportError as exc:
        raise MissingExtra("s3:// sources need: pip install 'footnote[s3]'") from exc
    config = Config(
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
        max_pool_connections=_CONNECTIONS,
        # Services other than AWS have no host name for each bucket.
        s3={"addressing_style": "path" if endpoint_url else "auto"},
    )
    try:
        return boto3.session.Session().client("s3", endpoint_url=endpoint_url or None, config=config)
    except Exception as exc:
        raise ConfigError(f"S3 cannot be used: {exc}; check ingest.s3_endpoint_url and the AWS configuration") from exc


def _parse(uri: str) -> tuple[str, str]:
    bucket, _, quoted = uri.partition("://")[2].partition("/")
    if not bucket or "@" in bucket:
        raise InvalidRequest(f"{without_login(uri)!r} names no bucket; write s3://bucket or s3://bucket/prefix")
    try:
        return bucket, unquote(quoted, errors="strict").removesuffix("/")
    except UnicodeDecodeError as exc:
        raise InvalidRequest(f"{uri!r} is no UTF-8 when its %.. are decoded; write a % in a key as %25") from exc


def _uri(bucket: str, key: str) -> str:
    return f"s3://{bucket}/{quote(key, safe='/')}" if key else f"s3://{bucket}"


def _documents(objects: Mapping[str, _Object], root: str) -> Iterator[_Object]:
    keys = list(objects)
    for i, (key, found) in enumerate(objects.items()):
        below = key.removeprefix(root).split("/") if key != root else []
        document = key.removesuffix(sidecars.SUFFIX)
        if key.endswith("/") or any(map(is_skipped, below)) or (document != key and document in objects):
            continue
        if not found.size and _is_marker(key, keys, i):
            continue
        yield found


def _is_marker(key: str, keys: Sequence[str], i: int) -> bool:
    """Whether an empty object stands for a folder, as file systems on top of S3 make them."""
    at = bisect_left(keys, f"{key}/", lo=i)
    return key.endswith("_$folder$") or (at < len(keys) and keys[at].startswith(f"{key}/"))


def _source(bucket: str, found: _Object, objects: Mapping[str, _Object]) -> Source:
    sidecar = objects.get(found.key + sidecars.SUFFIX)
    validator = _validator(found.etag, found.size)
    if sidecar:
        validator += "+" + _validator(sidecar.etag, sidecar.size)
    return Source(
        uri=_uri(bucket, found.key),
        name=shown(found.key.rpartition("/")[2]),
        size=found.size,
        validator=validator if found.etag else "",
        sidecar=_uri(bucket, sidecar.key) if sidecar else "",
    )


def _validator(etag: str, size: int) -> str:
    tag = etag.strip('"')
    return f"{tag}-{size:x}"


def _blocks(response: Any, name: str, max_bytes: int, setting: str) -> Iterator[bytes]:
    """The body of an answer, within `max_bytes`."""
    size = response["ContentLength"]
    with closing(response["Body"]) as body:
        if size > max_bytes:
            raise too_large(name, size, max_bytes, setting)
        try:
            yield from body.iter_chunks(_STEP)
        except Exception as exc:
            raise FetchError(f"{name!r}: the connection broke while it was read ({exc}); try again") from exc


def _translated(exc: Exception, uri: str, permission: str) -> FootnoteError:
    from botocore import exceptions  # noqa: PLC0415 - an extra

    if isinstance(exc, exceptions.NoCredentialsError | exceptions.PartialCredentialsError):
        return ConfigError(f"no AWS credentials for {uri!r}: set AWS_PROFILE or AWS_ACCESS_KEY_ID, or use a role")
    if not isinstance(exc, exceptions.ClientError):
        return FetchError(f"{uri!r} cannot be reached: {exc}; check the network and ingest.s3_endpoint_url")
    code = str(exc.response.get("Error", {}).get("Code", ""))
    kind, text = _ANSWERS.get(code, (FetchError, "{uri!r} cannot be read: S3 says {code!r}; try again"))
    return kind(text.format(uri=uri, code=code, permission=permission))


_DENIED = (ConfigError, "access to {uri!r} is denied; these credentials need {permission} there")
_REFUSED = (ConfigError, "the AWS credentials for {uri!r} are refused ({code}); renew them")
_GONE = (FetchError, "{uri!r} is not there any more")

_ANSWERS: Mapping[str, tuple[type[FootnoteError], str]] = {
    "NoSuchBucket": (SourceNotFound, "no such bucket: {uri!r}; check the name and ingest.s3_endpoint_url"),
    "InvalidObjectState": (FetchError, "{uri!r} is in an archive storage class; restore it, then try again"),
    **dict.fromkeys(("NoSuchKey", "NotFound", "404"), _GONE),
    **dict.fromkeys(("AccessDenied", "AllAccessDisabled", "Forbidden", "403"), _DENIED),
    **dict.fromkeys(("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"), _REFUSED),
}
"""What S3 says, by code, and what to say to the user."""
