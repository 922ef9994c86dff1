"""Other places that fsspec has a driver for: gs://, abfs://, sftp://, smb://, ...

Each needs the driver's package, and takes its credentials and options as the driver does, from its environment and
from fsspec's configuration files.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import fsspec
from fsspec.core import url_to_fs
from fsspec.registry import known_implementations

from ingest.settings import IngestSettings
from ingest.sources import sidecars, spooling
from ingest.sources.identity import shown
from ingest.sources.local import is_skipped, too_large
from ingest.sources.records import Fetched, Source
from retrieval.errors import FetchError, FootnoteError, InvalidRequest, MissingExtra, SourceNotFound

_WRAPPERS = frozenset(
    "async_wrapper blockcache cached data dir filecache generic libarchive reference simplecache tar zip".split()
)
"""Drivers on top of others, by which a document would have several URIs."""

_TAGS = ("ETag", "etag", "generation", "md5Hash", "md5", "content_md5", "crc32c", "checksum")
"""What drivers call something that changes with the content, best first."""

_TIMES = ("mtime", "LastModified", "last_modified", "updated", "modified", "created")

_SETTLED_SECONDS = 60.0
"""A time that is no longer ago tells nothing: it may have a resolution of seconds, and be another machine's."""

_STEP = 2**20


class Remote:
    """Files of all places that one driver, by its `scheme`, can reach."""

    def __init__(self, scheme: str, settings: IngestSettings) -> None:
        self._scheme = scheme
        self._max_bytes = settings.max_file_bytes
        self._roots: dict[str, tuple[Any, str]] = {}
        """By URI: the driver's file system, and the path there."""
        if scheme in _WRAPPERS:
            raise InvalidRequest(f"{scheme}:// is no place of its own; name the place where the files are")
        try:
            driver = fsspec.get_filesystem_class(scheme)
        except ValueError as exc:
            raise InvalidRequest(f"{scheme}:// is no place that is known; give a path, s3://, https://, ...") from exc
        except ImportError as exc:
            advice = known_implementations.get(scheme, {}).get("err", str(exc))
            raise MissingExtra(f"{scheme}:// sources need another package: {advice}") from exc
        # Drivers that are not made of coroutines share one connection.
        self._lock = nullcontext() if getattr(driver, "async_impl", False) else threading.Lock()

    def root(self, argument: str | Path) -> str:
        """The URI of a file or folder."""
        _, _, rest = str(argument).partition("://")
        rest = unquote(rest).rstrip("/")
        user, at, _ = rest.partition("/")[0].rpartition("@")
        if at and ":" in user:  # not shown
            raise InvalidRequest(f"a {self._scheme}:// URI has a password in it, which would be stored; leave it out")
        if "::" in rest or not rest:
            raise InvalidRequest(f"{str(argument)!r} names no one place; write {self._scheme}://place/path")
        uri = f"{self._scheme}://{quote(rest, safe='/@:')}"
        with self._lock:
            system, path = self._tried(uri, lambda: url_to_fs(f"{self._scheme}://{rest}"))
            if not self._tried(uri, lambda: system.exists(path)):
                raise SourceNotFound(f"no such file or folder: {uri!r}; check the place and the spelling")
        self._roots[uri] = (system, path)
        return uri

    def find(self, roots: Sequence[str]) -> Iterator[Source]:
        """Files at and below `roots`, by name; hidden ones are left out, as in local folders."""
        for root in roots:
            system, path = self._roots[root]
            try:
                with self._lock:
                    files = self._tried(root, partial(_listed, system, path))
            except FootnoteError as exc:
                yield Source(root, root.rpartition("/")[2], 0, problem=str(exc), folder=True)
                continue
            yield from _sources(files, root, path)

    def fetch(self, source: Source, spool: Path, *, known: str = "") -> Fetched:  # noqa: ARG002 - the listing tells
        """A copy in `spool`, and what its sidecar says."""
        if source.problem:
            raise FetchError(source.problem)
        metadata = {}
        system, path = self._at(source.uri)
        with self._lock:
            if source.sidecar:
                name = source.name + sidecars.SUFFIX
                data = b"".join(_blocks(system, path + sidecars.SUFFIX, name, sidecars.MAX_BYTES, ""))
                metadata = sidecars.parse(data, name)
            blocks = _blocks(system, path, source.name, self._max_bytes, "ingest.max_file_bytes")
            copy, _ = spooling.write(blocks, spool, name=source.name)
        # That of the listing: what has changed since has another one in the next run.
        return Fetched(copy, temporary=True, metadata=metadata, validator=source.validator)

    def close(self) -> None:
        """Drivers keep their connections for the life of the process."""

    def _at(self, uri: str) -> tuple[Any, str]:
        """The file system that has the file at `uri`, and its path there."""
        root = max((root for root in self._roots if uri == root or uri.startswith(root + "/")), key=len)
        system, path = self._roots[root]
        return system, path + unquote(uri.removeprefix(root))

    def _tried(self, uri: str, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except ImportError as exc:
            raise MissingExtra(f"{self._scheme}:// sources need another package: {exc}") from exc
        except Exception as exc:  # drivers raise anything
            raise _failure(uri, exc) from exc


def _blocks(system: Any, path: str, name: str, max_bytes: int, setting: str) -> Iterator[bytes]:
    size = 0
    try:
        with system.open(path, "rb") as file:
            while block := file.read(_STEP):
                size += len(block)
                if size > max_bytes:
                    raise too_large(name, size, max_bytes, setting)
                yield block
    except FootnoteError:
        raise
    except Exception as exc:  # drivers raise anything
        raise _failure(name, exc) from exc


def _failure(what: str, exc: Exception) -> FetchError:
    return FetchError(f"{what!r} cannot be read: {exc or type(exc).__name__}; check access and network, then try again")


def _listed(system: Any, path: str) -> dict[str, Mapping[str, Any]]:
    """What the driver says of each file, by path."""
    system.invalidate_cache()
    if system.isfile(path):
        sidecar = path + sidecars.SUFFIX
        return {name: system.info(name) for name in (path, sidecar) if name == path or system.isfile(name)}
    return dict(sorted(system.find(path, detail=True).items()))


def _sources(files: Mapping[str, Mapping[str, Any]], root: str, path: str) -> Iterator[Source]:
    for name, info in files.items():
        below = name.removeprefix(path)
        document = name.removesuffix(sidecars.SUFFIX)
        if (document != name and document in files) or any(map(is_skipped, below.split("/")[1:])):
            continue
        sidecar = name + sidecars.SUFFIX if name + sidecars.SUFFIX in files else ""
        validators = [_validator(files[part]) for part in (name, sidecar) if part]
        uri = root + quote(below, safe="/")
        yield Source(
            uri=uri,
            name=shown(name.rpartition("/")[2]),
            size=info.get("size") or 0,
            validator="+".join(validators) if all(validators) else "",
            sidecar=uri + sidecars.SUFFIX if sidecar else "",
        )


def _validator(info: Mapping[str, Any]) -> str:
    size = info.get("size") or 0
    for key in _TAGS:
        if tag := info.get(key):
            text = tag.hex() if isinstance(tag, bytes | bytearray) else str(tag).strip('"')
            return f"{text}-{size:x}"
    for key in _TIMES:
        if (moment := _seconds(info.get(key))) is not None:
            return f"{moment!r}-{size:x}" if time.time() - moment > _SETTLED_SECONDS else ""
    return ""


def _seconds(moment: object) -> float | None:
    """Since 1970, of what drivers give as a time: a number, a `datetime` or ISO 8601 text."""
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment)
        except ValueError:
            return None
    if isinstance(moment, datetime):
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return float(moment) if isinstance(moment, int | float) else None
