"""Web pages, fetched as a polite guest that cannot be sent to places where it has no business.

A page is known by its URL: without fragment, host in lower case, no default port. A URL with a password is refused,
since URLs are stored. A sitemap stands for its whole site: for the pages of its host that it lists.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from email.message import Message
from email.utils import parsedate_to_datetime
from pathlib import Path
from time import monotonic
from urllib.parse import unquote

import httpx

from ingest.settings import IngestSettings
from ingest.sources import sitemaps, spooling
from ingest.sources.addresses import Resolver, resolve
from ingest.sources.identity import shown, without_login
from ingest.sources.politeness import MAX_DELAY, MAX_ROBOTS, Politeness
from ingest.sources.records import Fetched, Source
from ingest.sources.requests import Requests, Response
from retrieval.errors import ConfigError, FetchError, InvalidRequest, LimitExceeded, LoadError

MAX_REDIRECTS = 5
_ATTEMPTS = 3
"""When a server says "come back later", and soon."""
_MAX_SITEMAPS = 500
_MAX_VALIDATOR = 256
"""Characters; a longer ETag is not kept."""
_MAX_NAME = 200


class Pages:
    """Pages of web servers. `resolver` gives the addresses of a name."""

    def __init__(self, settings: IngestSettings, *, resolver: Resolver = resolve) -> None:
        if not (
            settings.http_user_agent.strip()
            and settings.http_user_agent.isascii()
            and settings.http_user_agent.isprintable()
        ):
            raise ConfigError(f"ingest.http_user_agent {settings.http_user_agent!r}: use ASCII, e.g. 'acme-bot/1.0'")
        self._settings = settings
        self._requests = Requests(
            user_agent=settings.http_user_agent,
            max_bytes=settings.http_max_bytes,
            allow_private=settings.http_allow_private,
            resolver=resolver,
        )
        self._politeness = Politeness(
            user_agent=settings.http_user_agent, delay=settings.http_delay, read_robots=self._robots
        )
        self._sitemaps: dict[str, list[httpx.URL]] = {}
        """By the root of their site."""

    def root(self, argument: str | Path) -> str:
        """The URL of a page; of a sitemap, that of its site, which has no path. Raises InvalidRequest."""
        try:
            url = normalised(str(argument))
        except ValueError as exc:
            raise InvalidRequest(str(exc)) from exc
        if not sitemaps.is_sitemap(url.path):
            return str(url)
        site = f"{url.scheme}://{url.netloc.decode('ascii')}"
        self._sitemaps.setdefault(site, []).append(url)
        return site

    def find(self, roots: Sequence[str]) -> Iterator[Source]:
        """Pages as they are named, and those that sitemaps list."""
        for root in roots:
            if root not in self._sitemaps:
                yield _source(httpx.URL(root))
                continue
            try:
                yield from [_source(url) for url in self._listed(self._sitemaps[root])]
            except LoadError as exc:
                yield Source(root, httpx.URL(root).host, 0, problem=str(exc), folder=True)

    def fetch(self, source: Source, spool: Path, *, known: str = "") -> Fetched:
        """A copy in `spool`, or `unchanged` when the server says that `known` still holds."""
        if source.problem:
            raise FetchError(source.problem)
        with self._visit(httpx.URL(source.uri), headers=_condition(known)) as response:
            if response.status == 304 and known:
                return Fetched(Path(), validator=known, unchanged=True)
            _require_page(response)
            path, _ = spooling.write(response.body, spool, name=source.name)
            return Fetched(
                path,
                temporary=True,
                media_type=response.headers.get("Content-Type", "").partition(";")[0].strip().lower(),
                validator=_validator(response.headers),
                name=_name_given(response.headers) or _name(response.url),
            )

    def close(self) -> None:
        """End waits for a turn."""
        self._politeness.stop()

    @contextmanager
    def _visit(
        self, url: httpx.URL, *, headers: Mapping[str, str] | None = None, polite: bool = True
    ) -> Iterator[Response]:
        """The answer after redirects, each of them checked anew; waits for a turn, and again where a server asks to."""
        left = self._settings.http_seconds
        redirects = attempts = 0
        while True:
            if polite:
                self._politeness.admit(url)
            begin = monotonic()
            with self._requests.get(url, seconds=left, headers=headers) as response:
                target = _target(response)
                pause = _pause(response.headers) if response.status in (429, 503) else None
                if target is None and (pause is None or attempts + 1 >= _ATTEMPTS or not polite):
                    yield response
                    return
            if target is not None:
                redirects += 1
                if redirects > MAX_REDIRECTS:
                    raise FetchError(f"{str(url)!r} is redirected more than {MAX_REDIRECTS} times")
                url = target
                left -= monotonic() - begin
            elif pause is not None:
                attempts += 1
                self._politeness.postpone(url, pause)
                left = self._settings.http_seconds

    def _robots(self, url: httpx.URL) -> tuple[int, bytes]:
        with self._visit(url, polite=False) as response:
            data = bytearray()
            for block in response.body if response.status == 200 else ():
                data += block
                if len(data) >= MAX_ROBOTS:
                    break
            return response.status, bytes(data[:MAX_ROBOTS])

    def _listed(self, urls: Sequence[httpx.URL]) -> list[httpx.URL]:
        """The pages in sitemaps and in those that they list, of the same site, each once."""
        pending, seen = list(dict.fromkeys(urls)), set(urls)
        pages: dict[httpx.URL, None] = {}
        while pending:
            url = pending.pop(0)
            with self._visit(url) as response:
                _require_page(response)
                listed = sitemaps.parse(b"".join(response.body), str(url))
            pages.update(dict.fromkeys(_of_site(listed.pages, url)))
            further = [child for child in _of_site(listed.sitemaps, url) if child not in seen]
            seen.update(further)
            pending += further
            if len(pages) > sitemaps.MAX_URLS or len(seen) > _MAX_SITEMAPS:
                raise LimitExceeded(
                    f"{str(urls[0])!r} leads to more than {sitemaps.MAX_URLS:,} pages or {_MAX_SITEMAPS} sitemaps; "
                    "name some of its parts instead"
                )
        return list(pages)


def normalised(address: str) -> httpx.URL:
    """The URL that a page is known by. Raises ValueError with a text for the user."""
    try:
        url = httpx.URL(address)
        url = url.copy_with(raw_path=url.raw_path, fragment=None)
    except (httpx.InvalidURL, UnicodeError) as exc:
        raise ValueError(f"{without_login(address)!r} is no URL: {exc}") from exc
    if url.userinfo:  # not shown
        raise ValueError(
            f"a URL at {url.host!r} has a user name or a password in it, which would be stored; leave it out"
        )
    if url.scheme not in ("http", "https") or not url.host or not 0 < (url.port or 80) < 2**16:
        raise ValueError(f"{address!r} is no address of a web page; write https://host/path")
    return url


def _of_site(addresses: Sequence[str], sitemap: httpx.URL) -> Iterator[httpx.URL]:
    for address in addresses:
        try:
            url = normalised(address)
        except ValueError:  # one of many, and of no page that could be had
            continue
        if (url.scheme, url.netloc) == (sitemap.scheme, sitemap.netloc):
            yield url


def _source(url: httpx.URL) -> Source:
    return Source(str(url), _name(url), 0)


def _name(url: httpx.URL) -> str:
    return _file_name(unquote(url.path)) or url.host


def _file_name(path: str) -> str:
    return shown(path.replace("\\", "/").rpartition("/")[2].encode("utf-8", "replace").decode()[-_MAX_NAME:])


def _name_given(headers: httpx.Headers) -> str:
    """What a server calls a file that it sends: its Content-Disposition, RFC 6266."""
    message = Message()
    message["Content-Disposition"] = headers.get("Content-Disposition", "").replace("\r", "").replace("\n", "")
    return _file_name(message.get_filename() or "")


def _target(response: Response) -> httpx.URL | None:
    location = response.headers.get("Location")
    if response.status not in (301, 302, 303, 307, 308) or not location:
        return None
    try:
        return normalised(str(response.url.join(location)))
    except (httpx.InvalidURL, ValueError) as exc:
        raise FetchError(f"{str(response.url)!r} is redirected to where it cannot be followed: {exc}") from exc


def _pause(headers: httpx.Headers) -> float | None:
    """Seconds that a server asks to wait, RFC 9110 10.2.3; None when it does not say, or more than is waited."""
    value = headers.get("Retry-After", "").strip()
    if value.isdecimal():
        seconds = float(value[:9])
    else:
        try:
            date = parsedate_to_datetime(value)
            date = date if date.tzinfo else date.replace(tzinfo=UTC)
            seconds = max(0.0, (date - datetime.now(UTC)).total_seconds())
        except (ValueError, OverflowError):
            return None
    return seconds if seconds <= MAX_DELAY else None


def _require_page(response: Response) -> None:
    """Raises FetchError for every status but 200."""
    if response.status == 200:
        return
    advice = {
        **dict.fromkeys((401, 403), "it wants a login, which is not supported, or no visitors"),
        **dict.fromkeys((404, 410), "there is no such page; check the URL"),
        **dict.fromkeys((429, 503), "the server is busy; try later"),
    }.get(response.status, "try later")
    raise FetchError(f"{str(response.url)!r} answers {response.status}: {advice}")


def _validator(headers: httpx.Headers) -> str:
    for name, field in (("etag", "ETag"), ("date", "Last-Modified")):
        value = headers.get(field, "").strip()
        if value and len(value) <= _MAX_VALIDATOR and value.isascii() and value.isprintable():
            return f"{name} {value}"
    return ""


def _condition(known: str) -> dict[str, str]:
    """The header that asks for a page only if it is not as it was, RFC 9110 13.1."""
    name, _, value = known.partition(" ")
    field = {"etag": "If-None-Match", "date": "If-Modified-Since"}.get(name)
    return {field: value} if field and value else {}
