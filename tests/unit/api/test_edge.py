"""What every request passes: keys, size, id, log; and the warning about an open door."""

import logging
from collections.abc import Callable, Iterator

import pytest
from pydantic import SecretStr, ValidationError
from starlette.testclient import TestClient

from api.auth import warn_if_open
from api.settings import ApiSettings

SEARCH = "/v1/collections/demo/search"
KEYS = ["first-key", "zweiter-schlüssel"]


@pytest.mark.parametrize("key", KEYS)
def test_any_of_the_keys_opens(client_with: Callable[..., TestClient], key: str) -> None:
    """Each configured key is accepted, whatever letters it has."""
    headers = [(b"authorization", b"Bearer " + key.encode())]
    assert client_with(api_keys=KEYS).get("/v1/collections", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "value",
    [None, "", "Bearer", "Bearer ", "Bearer wrong", "Basic first-key", "first-key", "Bearer first-key2"],
)
def test_anything_else_does_not(client_with: Callable[..., TestClient], value: str | None) -> None:
    """Without one of the keys, as a Bearer token, the answer is 401 and says how to send it."""
    headers = {} if value is None else {"authorization": value}
    response = client_with(api_keys=KEYS).get("/v1/collections", headers=headers)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert "Authorization: Bearer" in response.json()["detail"]


def test_key_is_asked_before_anything_is_told(client_with: Callable[..., TestClient]) -> None:
    """Without a key neither schema errors nor unknown collections can be probed."""
    client = client_with(api_keys=KEYS)
    assert client.post(SEARCH, content=b"{").status_code == 401
    assert client.get("/v1/collections/nope").status_code == 401
    assert client.get("/nowhere").status_code == 401


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/", "/openapi.json"])
def test_probes_and_page_need_no_key(client_with: Callable[..., TestClient], path: str) -> None:
    """Load balancers have no key, and the page asks for one itself."""
    assert client_with(api_keys=KEYS).get(path).status_code == 200


def test_large_body_is_refused_by_its_declared_size(client_with: Callable[..., TestClient]) -> None:
    """A body that declares more than the limit is a 413 that names the limit."""
    response = client_with(max_body_bytes=2_000).post(SEARCH, json={"query": "x" * 2_000})
    assert response.status_code == 413
    assert "2000 bytes" in response.json()["detail"]


def test_large_body_is_refused_without_a_declared_size(client_with: Callable[..., TestClient]) -> None:
    """A body sent in pieces of no declared length is cut off at the limit."""

    def pieces() -> Iterator[bytes]:
        for _ in range(10):
            yield b" " * 1_000

    response = client_with(max_body_bytes=2_000).post(
        SEARCH, content=pieces(), headers={"content-type": "application/json"}
    )
    assert response.status_code == 413
    assert response.headers["content-type"] == "application/problem+json"


def test_body_of_exactly_the_limit_is_taken(client_with: Callable[..., TestClient]) -> None:
    """The limit itself is still allowed."""
    body = b'{"query": "x"}'.ljust(2_000)
    response = client_with(max_body_bytes=2_000).post(
        SEARCH, content=body, headers={"content-type": "application/json"}
    )
    assert response.status_code == 200


def test_request_id_goes_back(client: TestClient) -> None:
    """A caller's id is kept; without one each request gets its own."""
    assert client.get("/healthz", headers={"x-request-id": "abc-1"}).headers["x-request-id"] == "abc-1"
    first, second = (client.get("/healthz").headers["x-request-id"] for _ in range(2))
    assert first != second


@pytest.mark.parametrize("given", ["", "with space", "a" * 129, "line\tbreak", "x;y"])
def test_request_id_that_could_spoil_a_log_is_replaced(client: TestClient, given: str) -> None:
    """An id that is not plain, or too long, is not taken over."""
    assert client.get("/healthz", headers={"x-request-id": given}).headers["x-request-id"] != given


def test_log_line_has_no_words_of_the_caller(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """One line per request, with path, status and id, and neither query text nor query string."""
    with caplog.at_level(logging.INFO, logger="api.access"):
        client.post(SEARCH, json={"query": "mysecretquery"}, headers={"x-request-id": "r-9"})
        client.get("/v1/collections/demo/documents?filter=%7B%22title%22%3A%22mysecretfilter%22%7D")
    lines = [record.getMessage() for record in caplog.records if record.name == "api.access"]
    assert len(lines) == 2
    assert f"method=POST path={SEARCH} status=200" in lines[0]
    assert "request_id=r-9" in lines[0]
    assert "mysecret" not in caplog.text


def test_log_line_stays_one_line(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """A path with an encoded line break cannot forge a second line."""
    with caplog.at_level(logging.INFO, logger="api.access"):
        client.get("/v1/collections/x%0Astatus=200")
    (line,) = [record.getMessage() for record in caplog.records if record.name == "api.access"]
    assert "\n" not in line


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "footnote.internal"])
def test_open_door_is_warned_about(caplog: pytest.LogCaptureFixture, host: str) -> None:
    """Reachable from elsewhere and no key: the log says so, and what to set."""
    warn_if_open(ApiSettings(host=host))
    assert "api_keys" in caplog.text


@pytest.mark.parametrize(
    "settings",
    [ApiSettings(), ApiSettings(host="localhost"), ApiSettings(host="::1"),
     ApiSettings(host="0.0.0.0", api_keys=(SecretStr("k"),))],
    ids=["default", "localhost", "ipv6 loopback", "with a key"],
)  # fmt: skip
def test_closed_door_is_not(caplog: pytest.LogCaptureFixture, settings: ApiSettings) -> None:
    """On loopback, or with a key, there is nothing to warn about."""
    warn_if_open(settings)
    assert caplog.text == ""


@pytest.mark.parametrize(
    "wrong", [{"port": -1}, {"port": 70_000}, {"threads": 0}, {"max_body_bytes": 0}, {"hots": "x"}, {"api_keys": [""]}]
)
def test_wrong_settings_are_refused(wrong: dict[str, object]) -> None:
    """Values out of bounds, unknown names and empty keys do not pass."""
    with pytest.raises(ValidationError):
        ApiSettings.model_validate(wrong)


def test_settings_never_print_a_key() -> None:
    """A key does not appear where settings are shown."""
    assert "first-key" not in repr(ApiSettings(api_keys=(SecretStr("first-key"),)))


def test_telemetry_of_the_framework_stays_off(
    client_with: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Even an environment that asks FastAPI to export traces gets nothing exported, nor tried."""
    monkeypatch.setenv("FASTAPI_OTEL_AUTO_CONFIGURE", "true")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    client_with().get("/healthz")
    assert "telemetry" not in caplog.text.lower()
