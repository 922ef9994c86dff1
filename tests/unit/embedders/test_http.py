"""The embedder on /v1/embeddings, against a server on this machine."""

import base64
import pickle
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from pathlib import Path
from threading import Barrier, Event
from typing import Any

import numpy as np
import pytest

from retrieval.embedders import http
from retrieval.embedders.http import HttpEmbedder
from retrieval.embedders.service import ServiceOptions
from retrieval.errors import ConfigError, EmbedderError, EmbedderUnavailable
from tests.fakes import FakeEmbedder
from tests.unit.embedders.services import Call, Reply, openai_embeddings, serving

KEY = "sk-very-secret"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "FIRST_DELAY", 0.01)


def make(url: str, **options: Any) -> HttpEmbedder:
    return HttpEmbedder(ServiceOptions(model="m", **{"timeout": 5.0, **options}), url=f"{url}/v1", api_key=KEY)


def data(*rows: object, indexes: list[object] | None = None) -> Reply:
    """An answer with these embeddings."""
    numbers = range(len(rows)) if indexes is None else indexes
    return Reply({"data": [{"index": index, "embedding": row} for index, row in zip(numbers, rows, strict=True)]})


def test_asks_as_openai_has_it() -> None:
    """Model, texts, format and the key as a bearer token; dimensions only when they are set."""
    with serving(then=openai_embeddings) as served:
        made = make(served.url).embed_documents(["valve", "pump"])
        make(served.url, dimensions=16).embed_documents(["pump"])
    assert served.calls[0].path == "/v1/embeddings"
    assert served.calls[0].headers["authorization"] == f"Bearer {KEY}"
    assert served.calls[0].body == {"model": "m", "input": ["valve", "pump"], "encoding_format": "float"}
    assert served.calls[1].body["dimensions"] == 16
    np.testing.assert_allclose(made, FakeEmbedder().embed_documents(["valve", "pump"]), atol=1e-6)


def test_a_server_without_a_key_gets_none() -> None:
    """No empty token is sent."""
    with serving(then=openai_embeddings) as served:
        HttpEmbedder(ServiceOptions(model="m"), url=served.url).embed_queries(["pump"])
    assert "authorization" not in served.calls[0].headers


def test_prefixes_are_put_before_queries_and_documents() -> None:
    """Each has its own, and the collection remembers them."""
    with serving(then=openai_embeddings) as served:
        embedder = make(served.url, query_prefix="query: ", document_prefix="passage: ")
        embedder.embed_queries(["pump"])
        embedder.embed_documents(["pump"])
        assert (embedder.info.query_prefix, embedder.info.document_prefix) == ("query: ", "passage: ")
    assert [call.body["input"] for call in served.calls] == [["query: pump"], ["passage: pump"]]


def test_the_dimension_is_asked_for_once() -> None:
    """By one short text, when it is needed first; never where the settings give it."""
    with serving(then=openai_embeddings) as served:
        embedder = make(served.url)
        assert not served.calls
        info = embedder.info
        assert (info.name, info.sha256, info.pooling) == ("http:m", "", "service")
        assert (info.dimension, info.window) == (64, 512)
        assert (info.adapter, info.model) == ("http", "m")
        assert embedder.info.dimension == 64
        assert len(served.calls) == 1
        assert make(served.url, dimensions=16).info.dimension == 16
        assert len(served.calls) == 1


def test_base64_is_read() -> None:
    """Some servers send it whatever they are asked for."""
    sent = base64.b64encode(struct.pack("<3f", 1.0, 2.0, 2.0)).decode()
    with serving(then=lambda _: data(sent)) as served:
        np.testing.assert_allclose(make(served.url).embed_queries(["pump"]), [[1 / 3, 2 / 3, 2 / 3]], atol=1e-6)


def test_the_index_decides_over_the_order() -> None:
    """Not the place in the list."""
    with serving(then=lambda _: data([0, 1], [1, 0], indexes=[1, 0])) as served:
        assert make(served.url).embed_documents(["aa", "bb"]).tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize(
    "reply",
    [
        Reply(b"<html>Welcome to nginx</html>"),
        Reply([]),
        Reply({"data": None}),
        Reply({"data": "ab"}),
        Reply({"data": [{"embedding": [1.0]}, {"embedding": [2.0]}]}),
        data([1.0], [2.0], indexes=[0, 0]),
        data([1.0], [2.0], indexes=[0, 2]),
        data([1.0], [2.0], indexes=[0, None]),
        data([1.0], [2.0], indexes=[[], {}]),
        data([1.0]),
        data([1.0], [2.0], [3.0]),
        data([1.0, 2.0], [1.0]),
        data([], []),
        data(None, None),
        data([None], [None]),
        data(["1"], ["2"]),
        data([True], [False]),
        data([[1.0]], [[1.0]]),
        data({"a": 1}, {"a": 1}),
        data([1.0], [float("nan")]),
        data([1.0], [float("inf")]),
        data([10**400], [1]),
        data([10**400, 1.0], [1.0, 1.0]),
        data([1.0, 0.0], [0.0, 0.0]),
        data("%%%", "%%%"),
        data(base64.b64encode(b"abcde").decode(), base64.b64encode(b"abcde").decode()),
        Reply(b'{"data": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
        Reply(b"\xff\xfe\x00"),
    ],
)
def test_nonsense_is_no_embedding(reply: Reply) -> None:
    """Whatever a server sends in place of two vectors, the error says so, at once."""
    with serving(then=lambda _: reply) as served, pytest.raises(EmbedderError, match="sent") as caught:
        make(served.url).embed_documents(["pump", "valve"])
    assert not isinstance(caught.value, EmbedderUnavailable)
    assert len(served.calls) == 1
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("scale", [1e-30, 1e-320, 1e300])
def test_rows_are_normalised_whatever_their_length(scale: float) -> None:
    """Squares that a float cannot hold do no harm."""
    with serving(then=lambda _: data([3 * scale, 4 * scale])) as served:
        np.testing.assert_allclose(make(served.url).embed_queries(["pump"]), [[0.6, 0.8]], atol=1e-3)


def test_another_dimension_than_before_is_an_error() -> None:
    """Somebody has put another model behind the name."""
    with serving(data([1.0, 0.0]), then=lambda _: data([1.0, 0.0, 0.0])) as served:
        embedder = make(served.url)
        embedder.embed_queries(["pump"])
        with pytest.raises(EmbedderError, match=r"3 dimensions, not of 2 as before.*reindex"):
            embedder.embed_queries(["pump"])


def test_a_server_that_ignores_dimensions_is_found_out() -> None:
    """The error names the setting."""
    with (
        serving(then=lambda _: data([1.0, 0.0, 0.0])) as served,
        pytest.raises(EmbedderError, match=r"retrieval\.dimensions = 2 and sent 3"),
    ):
        make(served.url, dimensions=2).embed_queries(["pump"])


def test_texts_go_in_batches_side_by_side() -> None:
    """No larger than the setting, never more requests at a time than stated, rows in the order of the texts."""

    def slow(call: Call) -> Reply:
        time.sleep(0.02)
        return openai_embeddings(call)

    texts = [f"pump {'valve ' * (i % 7)} {i}" for i in range(101)]
    with serving(then=slow) as served:
        made = make(served.url, batch=5).embed_documents(texts)
    assert max(len(call.body["input"]) for call in served.calls) == 5
    assert 1 < served.most <= http.PARALLEL
    np.testing.assert_allclose(made, FakeEmbedder().embed_documents(texts), atol=1e-6)


def test_callers_share_the_requests_that_there_may_be() -> None:
    """Not so many each: it is one server."""

    def slow(call: Call) -> Reply:
        time.sleep(0.02)
        return openai_embeddings(call)

    with serving(then=slow) as served, ThreadPoolExecutor(3) as pool:
        embedder = make(served.url, batch=1)
        for made in pool.map(embedder.embed_documents, [[f"pump {i}" for i in range(12)]] * 3):
            assert made.shape == (12, 64)
    assert 1 < served.most <= http.PARALLEL


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (413, {"error": "batch size 8 > maximum allowed batch size 2", "error_type": "Validation"}),
        (422, {"error": "batch size 8 > maximum allowed batch size 2", "error_type": "Validation"}),
        (400, {"error": {"message": "batch size is invalid, it should not be larger than 2.", "type": "invalid"}}),
        (500, {"error": {"code": 500, "message": "input is too large to process. increase the physical batch size"}}),
    ],
)
def test_what_is_too_much_is_halved(status: int, said: object) -> None:
    """As TEI, gateways and llama.cpp say it; the size that worked is kept."""

    def at_most_two(call: Call) -> Reply:
        return openai_embeddings(call) if len(call.body["input"]) <= 2 else Reply(said, status)

    texts = [f"pump {i}" for i in range(8)]
    with serving(then=at_most_two) as served:
        embedder = make(served.url, batch=8)
        np.testing.assert_allclose(embedder.embed_documents(texts), FakeEmbedder().embed_documents(texts), atol=1e-6)
        assert len(served.calls) == 1 + 2 + 4
        embedder.embed_documents(texts)
        assert [len(call.body["input"]) for call in served.calls[7:]] == [2, 2, 2, 2]


def test_dimensions_that_are_too_many_are_no_matter_of_size() -> None:
    """Halving would not help; the error names the setting."""
    said = {"error": {"message": "dimensions must be at most 512"}}
    with (
        serving(then=lambda _: Reply(said, 400)) as served,
        pytest.raises(EmbedderError, match=r"at most 512; check .*retrieval\.dimensions"),
    ):
        make(served.url, dimensions=9999).embed_documents(["pump", "valve"])
    assert len(served.calls) == 1


def test_one_text_that_is_too_long_is_named() -> None:
    """With the settings that keep it from happening."""
    said = {"error": {"message": "This model's maximum context length is 512 tokens. However, you requested 600"}}
    with (
        serving(then=lambda _: Reply(said, 400)) as served,
        pytest.raises(EmbedderError, match=r"maximum context.*begins 'pump.*embedder_window") as caught,
    ):
        make(served.url).embed_documents(["pump " * 90])
    assert not isinstance(caught.value, EmbedderUnavailable)


def test_a_long_text_is_cut_to_the_window() -> None:
    """Services refuse it; by the cautious estimate, without a tokenizer."""
    with serving(then=openai_embeddings) as served:
        make(served.url, window=16).embed_queries(["pump " * 1000])
    assert served.calls[0].body["input"] == ["pump pump pump pump pump pump pump"]


def test_a_long_text_is_cut_by_the_tokenizer_that_is_given(shipped_folder: Path) -> None:
    """To the token."""
    with serving(then=openai_embeddings) as served:
        make(served.url, window=16, tokenizer=shipped_folder / "tokenizer.json").embed_queries(["pump " * 1000])
    assert served.calls[0].body["input"] == [("pump " * 14).strip()]


@pytest.mark.parametrize("content", [None, b"", b"{}", b"\xff\x00"])
def test_a_tokenizer_that_is_none_is_a_wrong_setting(tmp_path: Path, content: bytes | None) -> None:
    """Missing or damaged, the error names the setting and the file."""
    path = tmp_path / "tokenizer.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"embedder_tokenizer .*tokenizer\.json' cannot be loaded"):
        _ = make("http://127.0.0.1:9", tokenizer=path).tokenizer


@pytest.mark.parametrize("status", [408, 409, 424, 429, 500, 502, 503])
def test_what_may_pass_is_tried_again(status: int) -> None:
    """As often as the setting says, and then it succeeds."""
    failing = [Reply({"error": {"message": "busy"}}, status)] * 3
    with serving(*failing, then=openai_embeddings) as served:
        assert make(served.url, retries=3).embed_queries(["pump"]).shape == (1, 64)
    assert len(served.calls) == 4


def test_a_server_that_stays_busy_is_unavailable() -> None:
    """After so many tries, with its own words."""
    with (
        serving(then=lambda _: Reply({"error": "Model is overloaded", "error_type": "Overloaded"}, 429)) as served,
        pytest.raises(EmbedderUnavailable, match=r"answered 429: Model is overloaded; tried 3 times"),
    ):
        make(served.url, retries=2).embed_queries(["pump"])
    assert len(served.calls) == 3


def test_retry_after_is_kept() -> None:
    """In seconds: the next request comes no sooner."""
    with serving(Reply(b"", 429, {"retry-after": "0.3"}), then=openai_embeddings) as served:
        begin = time.perf_counter()
        make(served.url).embed_queries(["pump"])
        assert time.perf_counter() - begin >= 0.3


@pytest.mark.parametrize("value", ["3600", formatdate(time.time() + 3600, usegmt=True), "1e999"])
def test_who_asks_to_wait_for_long_is_not_waited_for(value: str) -> None:
    """An hour is no pause: the command ends and says so."""
    with (
        serving(then=lambda _: Reply(b"", 429, {"retry-after": value})) as served,
        pytest.raises(EmbedderUnavailable, match="asks to wait for"),
    ):
        make(served.url).embed_queries(["pump"])
    assert len(served.calls) == 1


@pytest.mark.parametrize("value", ["", "soon", "-5", "nan", formatdate(0, usegmt=True)])
def test_a_senseless_retry_after_is_none(value: str) -> None:
    """It is tried again after our own delay."""
    with serving(Reply(b"", 503, {"retry-after": value}), then=openai_embeddings) as served:
        make(served.url).embed_queries(["pump"])
    assert len(served.calls) == 2


@pytest.mark.parametrize(
    ("status", "names"),
    [
        (401, r"retrieval\.embedder_api_key"),
        (403, r"retrieval\.embedder_api_key"),
        (404, r"retrieval\.embedder_url.*retrieval\.model 'm'"),
        (307, r"retrieval\.embedder_url"),
        (400, r"retrieval\.model 'm'"),
    ],
)
def test_a_refusal_names_the_setting(status: int, names: str) -> None:
    """It is not tried again, and the key is not shown even where the server says it."""
    with (
        serving(then=lambda _: Reply({"detail": f"no: Bearer {KEY}"}, status)) as served,
        pytest.raises(EmbedderError, match=names) as caught,
    ):
        make(served.url).embed_queries(["pump"])
    assert len(served.calls) == 1
    assert not isinstance(caught.value, EmbedderUnavailable)
    assert KEY not in str(caught.value)
    assert "(secret)" in str(caught.value)


def test_a_server_that_repeats_what_it_is_sent_shows_no_key() -> None:
    """Not in an answer that is none, either."""
    with (
        serving(then=lambda call: Reply(call.headers)) as served,
        pytest.raises(EmbedderError, match=r"Bearer \(secret\)") as caught,
    ):
        make(served.url).embed_queries(["pump"])
    assert KEY not in str(caught.value)


def test_a_server_that_is_not_there_is_unavailable() -> None:
    """After all tries."""
    with serving(then=openai_embeddings) as served:
        url = served.url
    with pytest.raises(EmbedderUnavailable, match=r"cannot be reached.*tried 2 times.*retrieval\.embedder_url"):
        make(url, retries=1).embed_queries(["pump"])


def test_a_server_that_is_silent_is_unavailable() -> None:
    """After the time that the setting gives it."""

    def silent(call: Call) -> Reply:
        time.sleep(0.5)
        return openai_embeddings(call)

    with serving(then=silent) as served, pytest.raises(EmbedderUnavailable, match=r"did not answer within 0\.1 s"):
        make(served.url, timeout=0.1, retries=0).embed_queries(["pump"])


def test_an_answer_that_breaks_off_is_tried_again() -> None:
    """Half a body is a broken connection, not an answer."""
    cut = Reply(b'{"data": [', 200, {"content-length": "1000", "connection": "close"})
    with serving(cut, then=openai_embeddings) as served:
        embedder = make(served.url, timeout=1.0)
        assert embedder.embed_queries(["pump"]).shape == (1, 64)
    assert len(served.calls) == 2


def test_the_first_error_ends_the_other_requests() -> None:
    """Those that wait to try again stop waiting, and those that have not begun do not begin."""
    together = Barrier(http.PARALLEL, timeout=10)

    def mixed(call: Call) -> Reply:
        (text,) = call.body["input"]
        if text == "wait":
            together.wait()
        elif text == "bad":
            return Reply({"error": "no"}, 401)
        else:
            return Reply(b"", 503, {"retry-after": "50"})
        return openai_embeddings(call)

    with serving(then=mixed) as served:
        embedder = make(served.url, batch=1)
        begin = time.perf_counter()
        with pytest.raises(EmbedderError, match="401"):
            embedder.embed_documents([*(f"pump {i}" for i in range(http.PARALLEL - 1)), *(["bad"] * 20)])
        assert len(served.calls) < 23
        embedder.embed_documents(["wait"] * http.PARALLEL)
        assert time.perf_counter() - begin < 20


def test_an_error_does_not_wait_for_requests_that_hang() -> None:
    """Nor does the process that ends: threads that wait for a silent server do not keep it."""
    over = Event()

    def mixed(call: Call) -> Reply:
        if call.body["input"] == ["bad"]:
            return Reply({"error": "no"}, 401)
        over.wait(10)
        return openai_embeddings(call)

    with serving(then=mixed) as served:
        begin = time.perf_counter()
        with pytest.raises(EmbedderError, match="401"):
            make(served.url, batch=1, timeout=20).embed_documents(["pump 1", "pump 2", "bad"])
        assert time.perf_counter() - begin < 5
        assert all(thread.daemon for thread in threading.enumerate() if thread.name == "embed")
        over.set()


def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what the configuration names is talked to."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with serving(then=openai_embeddings) as served:
        assert make(served.url, retries=0).embed_queries(["pump"]).shape == (1, 64)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "is no address"),
        ("localhost:8080/v1", "is no address"),
        ("ftp://localhost/v1", "is no address"),
        ("http:///v1", "is no address"),
        ("http://localhost:99999999/v1", "is no address"),
        ("http://local\nhost/v1", "is no address"),
        ("http://me:hidden@localhost/v1", "holds a user or password"),
        ("me:hidden@localhost/v1", "holds a user or password"),
        ("http://me:hid#den@localhost/v1", "holds a user or password"),
        ("http://localhost/v1?api-version=3", "has a query"),
    ],
)
def test_a_wrong_address_is_refused(url: str, message: str) -> None:
    """At once, and without showing a password."""
    with pytest.raises(ConfigError, match=message) as caught:
        HttpEmbedder(ServiceOptions(model="m"), url=url)
    assert "hid" not in str(caught.value)


@pytest.mark.parametrize("key", [f"{KEY}\n", f"{KEY} ", f"{KEY}é", f"\x00{KEY}"])
def test_a_key_that_no_header_takes_is_refused_unseen(key: str) -> None:
    """The HTTP library would show it."""
    with pytest.raises(ConfigError, match="embedder_api_key") as caught:
        HttpEmbedder(ServiceOptions(model="m"), url="http://localhost/v1", api_key=key)
    assert KEY not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_model_must_be_named() -> None:
    """An empty id is a wrong setting."""
    with pytest.raises(ConfigError, match=r"retrieval\.model is empty"):
        HttpEmbedder(ServiceOptions(model=""), url="http://localhost/v1")


def test_it_is_the_same_in_another_process() -> None:
    """Pickled after use, it asks with connections of its own."""
    with serving(then=openai_embeddings) as served:
        embedder = make(served.url, dimensions=16)
        made = embedder.embed_documents(["pump"])
        again = pickle.loads(pickle.dumps(embedder))
        np.testing.assert_array_equal(again.embed_documents(["pump"]), made)
    assert served.calls[1].headers["authorization"] == f"Bearer {KEY}"
