"""Web pages: a polite guest that cannot be sent to places where it has no business."""

import gzip
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpcore
import pytest

from ingest.settings import IngestSettings
from ingest.sources import Fetched, Source, sitemaps
from ingest.sources.addresses import refusal
from ingest.sources.http import Pages
from retrieval.errors import ConfigError, FetchError, InvalidRequest, LimitExceeded, LoadError
from tests import servers
from tests.servers import Request, Site

pytestmark = pytest.mark.timeout(30)


@pytest.fixture
def site() -> Iterator[Site]:
    with servers.web() as running:
        yield running


def pages(resolver: Any = None, **settings: Any) -> Pages:
    given = IngestSettings(**{"http_delay": 0, "http_allow_private": True, **settings})
    return Pages(given, resolver=resolver) if resolver else Pages(given)


def found(place: Pages, *arguments: str) -> list[Source]:
    return list(place.find([place.root(argument) for argument in arguments]))


def fetch(place: Pages, url: str, spool: Path, known: str = "") -> Fetched:
    (source,) = found(place, url)
    return place.fetch(source, spool, known=known)


def test_a_page_lies_in_the_spool_folder(site: Site, tmp_path: Path) -> None:
    """With its media type, and introduced as the settings say."""
    site.page("/docs/guide.md", b"# Guide", content_type="Text/Markdown; charset=utf-8")
    fetched = fetch(pages(http_user_agent="acme-bot"), f"{site.url}/docs/guide.md", tmp_path)
    assert (fetched.path.read_bytes(), fetched.path.parent, fetched.temporary) == (b"# Guide", tmp_path, True)
    assert (fetched.media_type, fetched.name) == ("text/markdown", "guide.md")
    assert site.requests[-1][1]["user-agent"] == "acme-bot"


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("HTTP://Example.COM", "http://example.com/"),
        ("http://example.com:80/a#part", "http://example.com/a"),
        ("https://example.com:443/a/../b?x=1", "https://example.com/b?x=1"),
        ("https://exämple.com/grün", "https://xn--exmple-cua.com/gr%C3%BCn"),
        ("http://example.com/a%2Fb", "http://example.com/a%2Fb"),
        ("http://example.com:8080/", "http://example.com:8080/"),
    ],
)
def test_a_page_has_one_url(address: str, url: str) -> None:
    """Spellings of one address are one document."""
    place = pages()
    assert place.root(address) == url
    assert [source.uri for source in found(place, address)] == [url]


@pytest.mark.parametrize("address", ["http://", "http:///a", "http://host:99999/", "http://a b/\n", "http://h:x/"])
def test_what_is_no_url_is_refused(address: str) -> None:
    """Before anything is fetched."""
    with pytest.raises(InvalidRequest, match=r"no URL|no address of a web page"):
        pages().root(address)


def test_a_password_in_a_url_is_refused_and_not_shown() -> None:
    """URLs are stored, and shown in answers."""
    for port in ("", ":99999", ":x"):
        with pytest.raises(InvalidRequest, match=r"example\.com") as error:
            pages().root(f"https://me:secret@example.com{port}/")
        assert "secret" not in str(error.value)


@pytest.mark.parametrize("name", ["", " ", "bøt", "a\nb: c"])
def test_a_name_that_cannot_be_sent_is_refused(name: str) -> None:
    """When the command starts, not with each page."""
    with pytest.raises(ConfigError, match="http_user_agent"):
        pages(http_user_agent=name)


# Addresses


@pytest.mark.parametrize(
    "address",
    """127.0.0.1 127.8.8.8 10.0.0.1 172.16.0.1 192.168.1.1 0.0.0.0 0.1.2.3 100.64.0.1 100.100.100.200 169.254.169.254
    192.0.0.192 198.18.0.1 224.0.0.1 240.0.0.1 255.255.255.255 168.63.129.16 :: ::1 fe80::1 fe80::1%eth0 fc00::1
    fd00:ec2::254 fec0::1 ff02::1 ::ffff:127.0.0.1 ::ffff:169.254.169.254 ::127.0.0.1 64:ff9b::7f00:1 64:ff9b:1::1
    ::ffff:0:127.0.0.1 3fff::1 2002:7f00:1:: 2001:0:1::1 not-an-address""".split(),
)
def test_addresses_that_are_not_public_are_refused(address: str) -> None:
    """Private, local, reserved, and those within IPv6 addresses that stand for them."""
    assert refusal(address, allow_private=False)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34", "64:ff9b::808:808"])
def test_public_addresses_are_fine(address: str) -> None:
    """Also IPv6 addresses that stand for public ones."""
    assert refusal(address, allow_private=False) == ""


def test_private_addresses_can_be_allowed_but_never_those_with_credentials() -> None:
    """A wiki within the company, but not the metadata service of a cloud."""
    for address in ("127.0.0.1", "10.0.0.1", "192.168.1.1", "::1", "fc00::1"):
        assert refusal(address, allow_private=True) == ""
    clouds = "169.254.169.254 fe80::1 fd00:ec2::254 fd20:ce::254 100.100.100.200"
    as_ipv6 = "::ffff:169.254.169.254 ::169.254.169.254 ::ffff:0:169.254.169.254 64:ff9b:1::a9fe:a9fe"
    for address in f"{clouds} {as_ipv6} 0.0.0.0 224.0.0.1".split():
        assert refusal(address, allow_private=True)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f000001", "017700000001", "0"]
)
def test_this_machine_is_not_fetched_from(site: Site, tmp_path: Path, host: str) -> None:
    """In whatever notation: nothing is sent."""
    port = site.url.rpartition(":")[2]
    with pytest.raises(FetchError, match=r"is not fetched from|cannot be resolved"):
        fetch(pages(http_allow_private=False), f"http://{host}:{port}/", tmp_path)
    assert not site.requests


def test_one_bad_address_of_a_name_is_enough(tmp_path: Path) -> None:
    """A name with a public and a private address is no name of a public site."""
    place = pages(lambda host, port: ["93.184.216.34", "127.0.0.1"], http_allow_private=False)
    with pytest.raises(FetchError, match=r"'site\.test' is not fetched from: 127\.0\.0\.1 is a private address"):
        fetch(place, "http://site.test/", tmp_path)


def test_the_connection_goes_to_the_address_that_was_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server that gives a private address the second time (DNS rebinding) is not asked a second time."""
    answers = iter([["93.184.216.34"], ["127.0.0.1"], ["127.0.0.1"]])
    connected: list[str] = []

    def connect(backend: object, host: str, *rest: object) -> None:
        connected.append(host)
        raise httpcore.ConnectError("refused")

    monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", connect)
    with pytest.raises(FetchError, match="refused"):
        fetch(pages(lambda host, port: next(answers), http_allow_private=False), "http://site.test/", tmp_path)
    assert connected == ["93.184.216.34"]


def test_a_name_is_sent_as_it_was_given(site: Site, tmp_path: Path) -> None:
    """The connection goes to an address, the request to the name."""
    site.page("/a", b"text")
    port = site.url.rpartition(":")[2]
    place = pages(lambda host, port: ["127.0.0.1"])
    assert fetch(place, f"http://site.test:{port}/a", tmp_path).path.read_bytes() == b"text"
    assert site.requests[-1][1]["host"] == f"site.test:{port}"


def test_a_redirect_to_a_private_address_is_not_followed(site: Site, tmp_path: Path) -> None:
    """Each step is checked like the first."""
    port = int(site.url.rpartition(":")[2])
    site.page("/a", status=302, location=f"http://inside.test:{port}/secret")
    site.page("/secret", b"secret")

    def resolver(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1"] if host == "site.test" else ["169.254.169.254"]

    with pytest.raises(FetchError, match=r"'inside\.test' is not fetched from"):
        fetch(pages(resolver), f"http://site.test:{port}/a", tmp_path)
    assert not site.asked("/secret")


def test_certificates_are_checked_for_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not for the address that the connection goes to; unknown authorities are refused."""
    certificate, key = _self_signed("site.test", tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with servers.web(context) as site:
        site.page("/a", b"text")
        port = site.url.rpartition(":")[2]

        def attempt(host: str) -> bytes:
            return fetch(
                pages(lambda host, port: ["127.0.0.1"]), f"https://{host}:{port}/a", tmp_path
            ).path.read_bytes()

        with pytest.raises(FetchError, match="certificate"):
            attempt("site.test")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert attempt("site.test") == b"text"
        with pytest.raises(FetchError, match="certificate"):
            attempt("other.test")


def _self_signed(name: str, folder: Path) -> tuple[Path, Path]:
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(datetime.now(UTC) - timedelta(days=1))
    builder = builder.not_valid_after(datetime.now(UTC) + timedelta(days=1))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    certificate, secret = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate, secret


# Redirects, statuses, limits


def test_redirects_are_followed_and_the_first_url_stays(site: Site, tmp_path: Path) -> None:
    """The document is known by the address that was named; its name is the last one's."""
    site.page("/old", status=301, location="/new/page.html")
    site.page("/new/page.html", b"text")
    place = pages()
    (source,) = found(place, f"{site.url}/old")
    fetched = place.fetch(source, tmp_path)
    assert (source.uri, fetched.name, fetched.path.read_bytes()) == (f"{site.url}/old", "page.html", b"text")


def test_redirects_end(site: Site, tmp_path: Path) -> None:
    """A page that leads to itself is left after some steps."""
    site.page("/a", status=302, location="/a")
    with pytest.raises(FetchError, match="redirected more than 5 times"):
        fetch(pages(), f"{site.url}/a", tmp_path)
    assert site.asked("/a") == 6


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://host/", "http://me:secret@host/"])
def test_redirects_lead_to_web_pages_only(site: Site, tmp_path: Path, target: str) -> None:
    """Not to files, other protocols, or with passwords."""
    site.page("/a", status=302, location=target)
    with pytest.raises(FetchError, match="cannot be followed") as error:
        fetch(pages(), f"{site.url}/a", tmp_path)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("status", "advice"), [(404, "no such page"), (403, "login"), (500, "try later"), (204, "204")]
)
def test_other_answers_are_errors(site: Site, tmp_path: Path, status: int, advice: str) -> None:
    """A page of an error is no document."""
    site.page("/a", b"" if status == 204 else b"<h1>sorry</h1>", status=status)
    with pytest.raises(FetchError, match=advice):
        fetch(pages(), f"{site.url}/a", tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["declared", "chunked", "packed"])
def test_a_long_answer_is_cut_off(site: Site, tmp_path: Path, kind: str) -> None:
    """By what is declared, what comes, and what it unpacks to."""

    def answer(request: Request) -> None:
        if kind == "declared":
            request.reply(200, b"x", content_length="100000000")
        elif kind == "packed":
            request.reply(200, gzip.compress(bytes(10**7)), content_encoding="gzip")
        else:
            request.send_response_only(200)
            request.send_header("Transfer-Encoding", "chunked")
            request.end_headers()
            while True:  # until the client hangs up
                request.wfile.write(b"400\r\n" + b"x" * 1024 + b"\r\n")

    site.pages["/a"] = answer
    with pytest.raises(LimitExceeded, match="http_max_bytes"):
        fetch(pages(http_max_bytes=10**6), f"{site.url}/a", tmp_path)
    assert not list(tmp_path.iterdir())


def test_packed_answers_are_unpacked(site: Site, tmp_path: Path) -> None:
    """Asked for, to be easy on the server."""
    site.page("/a", gzip.compress(b"text" * 10_000), content_encoding="gzip")
    assert fetch(pages(), f"{site.url}/a", tmp_path).path.read_bytes() == b"text" * 10_000


@pytest.mark.parametrize(
    ("encoding", "body"), [("gzip", gzip.compress(b"text" * 99)[:-9]), ("gzip", b"no gzip"), ("br", b"x")]
)
def test_broken_encodings_are_errors(site: Site, tmp_path: Path, encoding: str, body: bytes) -> None:
    """Half a page is no page."""
    site.page("/a", body, content_encoding=encoding)
    with pytest.raises(FetchError):
        fetch(pages(), f"{site.url}/a", tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_connection_that_breaks_gives_no_half_page(site: Site, tmp_path: Path) -> None:
    """Fewer bytes than declared."""
    site.page("/a", b"half", content_length="100")
    with pytest.raises(FetchError, match="try again"):
        fetch(pages(), f"{site.url}/a", tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("part", ["head", "body"])
def test_a_dripping_answer_ends_in_time(site: Site, tmp_path: Path, part: str) -> None:
    """A byte now and then keeps no connection open beyond the limit."""

    def drip(request: Request) -> None:
        if part == "body":
            request.send_response_only(200)
            request.end_headers()
        while True:
            request.wfile.write(b"H")
            time.sleep(0.05)

    site.pages["/a"] = drip
    site.page("/robots.txt", status=404)
    begin = time.monotonic()
    with pytest.raises(FetchError, match="http_seconds"):
        fetch(pages(http_seconds=0.5), f"{site.url}/a", tmp_path)
    assert time.monotonic() - begin < 3


def test_a_host_that_is_not_there_says_so(tmp_path: Path) -> None:
    """By name, or by a port that nobody listens on."""
    with pytest.raises(FetchError, match=r"nowhere\.invalid"):
        fetch(
            pages(lambda host, port: socket.getaddrinfo("nowhere.invalid", port)), "http://nowhere.invalid/", tmp_path
        )
    with pytest.raises(FetchError, match="cannot be fetched"):
        fetch(pages(), "http://127.0.0.1:9/", tmp_path)


# Politeness


def test_robots_txt_is_obeyed_and_read_once(site: Site, tmp_path: Path) -> None:
    """For our own name."""
    site.page("/robots.txt", b"User-agent: footnote\nDisallow: /private\n\nUser-agent: *\nAllow: /\n")
    site.page("/a", b"text")
    place = pages()
    fetch(place, f"{site.url}/a", tmp_path)
    for path in ("/private/b", "/private/c"):
        with pytest.raises(FetchError, match=r"robots\.txt .* asks not to"):
            fetch(place, f"{site.url}{path}", tmp_path)
    assert [path for path, _ in site.requests] == ["/robots.txt", "/a"]


def test_without_robots_txt_everything_may_be_fetched(site: Site, tmp_path: Path) -> None:
    """A site that answers 404, or 403, has no wishes."""
    site.page("/robots.txt", b"no visitors", status=403)
    site.page("/a", b"text")
    assert fetch(pages(), f"{site.url}/a", tmp_path).path.read_bytes() == b"text"


@pytest.mark.parametrize("status", [429, 500, 503])
def test_when_robots_txt_cannot_be_read_nothing_is_fetched(site: Site, tmp_path: Path, status: int) -> None:
    """And it is asked for once a run, not for each page."""
    site.page("/robots.txt", status=status)
    site.page("/a", b"text")
    place = pages()
    for _ in range(2):
        with pytest.raises(FetchError, match=f"robots.txt' answers {status}.*later"):
            fetch(place, f"{site.url}/a", tmp_path)
    assert [path for path, _ in site.requests] == ["/robots.txt"]


def test_an_endless_robots_txt_is_read_in_part(site: Site, tmp_path: Path) -> None:
    """Its rules so far count."""
    site.page("/robots.txt", b"User-agent: *\nDisallow: /a\n" + b"# padding\n" * 10**5)
    with pytest.raises(FetchError, match="asks not to"):
        fetch(pages(), f"{site.url}/a", tmp_path)


@pytest.mark.parametrize(("delay", "robots"), [(0.3, b""), (0.0, b"User-agent: *\nCrawl-delay: 0.3\n")])
def test_requests_to_one_host_keep_their_distance(site: Site, tmp_path: Path, delay: float, robots: bytes) -> None:
    """However many threads fetch, and whoever asks for it: the settings or the site."""
    times: list[float] = []

    def answer(request: Request) -> None:
        times.append(time.monotonic())
        request.reply(200, b"text")

    site.page("/robots.txt", robots)
    for i in range(4):
        site.pages[f"/{i}"] = answer
    place = pages(http_delay=delay)
    threads = [threading.Thread(target=fetch, args=(place, f"{site.url}/{i}", tmp_path)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    times.sort()
    assert [later - earlier > 0.25 for earlier, later in pairwise(times)] == [True] * 3


def test_closing_wakes_those_that_wait(site: Site, tmp_path: Path) -> None:
    """Ctrl-C does not wait for the turns of a thousand pages."""
    site.page("/a", b"text")
    place = pages(http_delay=100)
    fetch(place, f"{site.url}/a", tmp_path)
    threading.Timer(0.2, place.close).start()
    begin = time.monotonic()
    with pytest.raises(FetchError, match="stopped"):
        fetch(place, f"{site.url}/a", tmp_path)
    assert time.monotonic() - begin < 5


@pytest.mark.parametrize("value", ["1", format_datetime(datetime.now(UTC))])
def test_a_busy_server_is_asked_again_when_it_says(site: Site, tmp_path: Path, value: str) -> None:
    """Retry-After in seconds or as a date."""
    answers = iter([503, 200])

    def answer(request: Request) -> None:
        status = next(answers)
        request.reply(status, b"text", **({"retry_after": value} if status == 503 else {}))

    site.pages["/a"] = answer
    begin = time.monotonic()
    assert fetch(pages(), f"{site.url}/a", tmp_path).path.read_bytes() == b"text"
    assert (time.monotonic() - begin >= 1) == (value == "1")


@pytest.mark.parametrize("value", ["86400", "", "soon"])
def test_a_server_that_is_busy_for_long_is_left_for_later(site: Site, tmp_path: Path, value: str) -> None:
    """The run does not wait for a day."""
    site.page("/a", status=429, retry_after=value)
    with pytest.raises(FetchError, match="busy; try later"):
        fetch(pages(), f"{site.url}/a", tmp_path)
    assert site.asked("/a") == 1


def test_a_server_that_is_always_busy_is_asked_three_times(site: Site, tmp_path: Path) -> None:
    """Not for ever."""
    site.page("/a", status=503, retry_after="0")
    with pytest.raises(FetchError, match="busy"):
        fetch(pages(), f"{site.url}/a", tmp_path)
    assert site.asked("/a") == 3


# Change, names, sitemaps


@pytest.mark.parametrize(
    ("header", "value", "asked"),
    [
        ("etag", '"v1"', "if-none-match"),
        ("last_modified", "Wed, 21 Oct 2015 07:28:00 GMT", "if-modified-since"),
    ],
)
def test_an_unchanged_page_is_not_sent_again(site: Site, tmp_path: Path, header: str, value: str, asked: str) -> None:
    """The validator of the last time goes with the request, and the server says that it still holds."""

    def answer(request: Request) -> None:
        same = request.headers.get(asked) == value
        request.reply(304 if same else 200, b"" if same else b"text", **{header: value})

    site.pages["/a"] = answer
    place = pages()
    first = fetch(place, f"{site.url}/a", tmp_path)
    second = fetch(place, f"{site.url}/a", tmp_path, known=first.validator)
    assert (second.unchanged, second.validator) == (True, first.validator)
    other = fetch(place, f"{site.url}/a", tmp_path, known="etag other")
    assert (other.unchanged, other.path.read_bytes()) == (False, b"text")


def test_a_page_without_validator_is_read_each_time(site: Site, tmp_path: Path) -> None:
    """Its content tells whether it has changed."""
    site.page("/a", b"text", etag='"' + "x" * 1000 + '"')
    fetched = fetch(pages(), f"{site.url}/a", tmp_path)
    assert (fetched.validator, fetched.unchanged) == ("", False)


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ('attachment; filename="report.pdf"', "report.pdf"),
        ("attachment; filename*=UTF-8''gr%C3%BCn.md", "grün.md"),
        ('attachment; filename="../../etc/passwd"', "passwd"),
        ('attachment; filename="C:\\\\a\\\\b.md"', "b.md"),
        ('attachment; filename="a\x1b[31m.md"', "a\ufffd[31m.md"),
        ("inline", "download"),
        ("attachment; filename*=nonsense''a.md", "a.md"),
        ('attachment; filename=""', "download"),
    ],
)
def test_a_server_can_name_its_file(site: Site, tmp_path: Path, disposition: str, name: str) -> None:
    """Its last part only; a name that says nothing is that of the URL."""
    site.page("/download?id=1", b"text", content_disposition=disposition)
    assert fetch(pages(), f"{site.url}/download?id=1", tmp_path).name == name


def sitemap(*addresses: str, kind: str = "url") -> bytes:
    listed = "".join(f"<{kind}><loc> {address} </loc></{kind}>" for address in addresses)
    outer = "urlset" if kind == "url" else "sitemapindex"
    return f'<{outer} xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{listed}</{outer}>'.encode()


def test_sitemaps_are_read_as_xml() -> None:
    """In any encoding and with any prefix; addresses of pictures are none of pages."""
    listed = "<s:urlset xmlns:s='x' xmlns:i='y'><s:url><s:loc><![CDATA[http://h/ü]]>&amp;a</s:loc>"
    listed += "<i:image><i:loc>http://h/picture.png</i:loc></i:image></s:url><s:loc>http://h/stray</s:loc></s:urlset>"
    data = f"<?xml version='1.0' encoding='utf-16'?>{listed}".encode("utf-16")
    assert sitemaps.parse(data, "sitemap.xml").pages == ("http://h/ü&a",)


def test_a_sitemap_stands_for_its_site(site: Site) -> None:
    """Its pages on the same host, those of the sitemaps that it lists, packed ones too; each once."""
    index = sitemap(
        f"{site.url}/a-sitemap.xml", f"{site.url}/sitemap-b.xml.gz", f"{site.url}/sitemap.xml", kind="sitemap"
    )
    site.page("/sitemap.xml", index)
    site.page("/a-sitemap.xml", sitemap(f"{site.url}/1", f"{site.url}/2#x", "http://other.test/3", "no url", "/4"))
    site.page("/sitemap-b.xml.gz", gzip.compress(sitemap(f"{site.url}/2", f"{site.url}/5?a=1&amp;b=2")))
    place = pages()
    assert place.root(f"{site.url}/sitemap.xml") == site.url
    assert [source.uri for source in place.find([site.url])] == [
        f"{site.url}/1",
        f"{site.url}/2",
        f"{site.url}/5?a=1&b=2",
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"",
        b"<urlset>" + b"<x/>" * 10**6,
        b"<a>" * 10**6,
        b"<?xml version='1.0' encoding='nonsense'?><urlset/>",
        b'<!DOCTYPE a [<!ENTITY b "bbbbbbbbbb">]><urlset><url><loc>&b;</loc></url>',
        sitemap(*(f"http://127.0.0.1/{i}" for i in range(50_001))),
        None,
    ],
)
def test_a_bad_sitemap_is_a_problem_of_the_whole_site(site: Site, body: bytes | None) -> None:
    """So that none of its pages is taken for deleted."""
    if body is not None:
        site.page("/sitemap.xml", body)
    (source,) = found(pages(), f"{site.url}/sitemap.xml")
    assert (source.uri, source.folder) == (site.url, True)
    assert "sitemap.xml" in source.problem
    with pytest.raises(LoadError):
        pages().fetch(source, Path())
