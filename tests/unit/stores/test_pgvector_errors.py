"""What a user of the pgvector store sees when something is wrong: which setting, what to do, and never a secret."""

import os
import re
import socket
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("psycopg", reason="could not import psycopg")

import psycopg
from psycopg import sql

from retrieval.build import build_collections
from retrieval.errors import ConfigError, FootnoteError, StoreUnavailable, WriterBusy
from retrieval.settings import RetrievalSettings
from retrieval.stores.pgvector.migrations import MIGRATIONS
from tests import postgres
from tests.corpus import replacement
from tests.fakes import FakeEmbedder
from tests.unit.stores.networked import OverTcp, Server, TlsProxy, free_port, make_certificate

SECRET = "hunter2-öä"
EMBEDDER = FakeEmbedder().info


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    if os.environ.get("POSTGRES_URL"):
        pytest.skip("needs a server of its own, and POSTGRES_URL names another")
    with postgres.own_server() as own:
        port = free_port()
        found = Server(port, f"{own.url}&port={port}")
        for statement in (
            f"CREATE ROLE writer LOGIN PASSWORD '{SECRET}'",
            "GRANT CREATE ON DATABASE postgres TO writer",
            f"CREATE ROLE nobody LOGIN PASSWORD '{SECRET}'",
            f"CREATE ROLE crowded LOGIN PASSWORD '{SECRET}' CONNECTION LIMIT 0",
            "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0",
            "CREATE DATABASE bare",
            "CREATE EXTENSION vector",
        ):
            with psycopg.connect(own.url, autocommit=True) as connection:
                connection.execute(statement)
        own.stop()
        with OverTcp(own.data, found.port):
            yield found
        own.start()  # whoever made it stops it


@pytest.fixture
def settings(server: Server) -> Iterator[Callable[..., RetrievalSettings]]:
    """Settings of a schema of its own; its tables go afterwards."""
    with ExitStack() as cleanup:

        def make(url: str = "", **more: Any) -> RetrievalSettings:
            name = more.pop("postgres_schema", None) or postgres.schema()
            cleanup.callback(postgres.drop, server.admin, name)
            return RetrievalSettings(
                store="pgvector", postgres_url=url or server.url(), postgres_schema=name,
                **{"postgres_timeout": 3.0, **more},
            )  # fmt: skip

        yield make


def fails(action: Callable[[], object], error: type[FootnoteError], *words: str) -> None:
    """The error says all of `words`, and neither it nor what caused it says a password."""
    with pytest.raises(error) as caught:
        action()
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert type(caught.value) is error
    assert "hunter" not in "".join(traceback.format_exception(caught.value, chain=True)).replace("hunter2-%C3", "")


def use(settings: RetrievalSettings) -> None:
    """Create, write, search."""
    with closing(build_collections(settings)) as collections:
        collections.create("c", embedder=EMBEDDER)
        with closing(collections.open("c", writable=True)) as store:
            store.replace([replacement("a", ["pump"])])
            with store.snapshot() as snapshot:
                assert snapshot.search_lexical({"pump": 1.0}, k=1)


def test_a_password_in_the_url_or_in_a_file(settings: Callable[..., RetrievalSettings], tmp_path: Path) -> None:
    """Both work, over TLS that is verified as well, and a file is read again for each connection."""
    server_url = settings().postgres_url.get_secret_value()
    use(settings(server_url))
    secret = tmp_path / "password"
    secret.write_text(SECRET + "\n", "utf-8")
    without = server_url.replace(":hunter2-%C3%B6%C3%A4", "")
    use(settings(without, postgres_password_file=secret))
    secret.write_text("another", "utf-8")
    fails(
        lambda: use(settings(without, postgres_password_file=secret)),
        ConfigError, "password is wrong", "retrieval.postgres_password_file",
    )  # fmt: skip
    secret.unlink()
    fails(
        lambda: use(settings(without, postgres_password_file=secret)),
        ConfigError, "retrieval.postgres_password_file", str(secret),
    )  # fmt: skip


def test_tls(server: Server, settings: Callable[..., RetrievalSettings], tmp_path: Path) -> None:
    """With the server's certificate all is well; with one that did not sign it, or without TLS, nobody connects."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for folder in (ours, theirs):
        folder.mkdir()
        make_certificate(folder)
    with TlsProxy(theirs, server.port) as port:
        url = server.url().replace(f"127.0.0.1:{server.port}", f"localhost:{port}")
        use(settings(f"{url}?sslmode=verify-full&sslrootcert={theirs / 'server.crt'}"))
        for root in (ours / "server.crt", tmp_path / "nowhere.crt"):
            fails(
                lambda: use(settings(f"{url}?sslmode=verify-full&sslrootcert={root}")),  # noqa: B023 - called at once
                ConfigError, "TLS", "sslrootcert", "retrieval.postgres_url",
            )  # fmt: skip
    fails(lambda: use(settings(f"{server.url()}?sslmode=require")), ConfigError, "TLS", "sslmode")


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"password": "hunter3"}, ConfigError, ["the password is wrong", "user 'writer'", "retrieval.postgres_url"]),
        ({"user": "stranger"}, ConfigError, ["the password is wrong", "'stranger'"]),  # the server does not say more
        ({"database": "nowhere"}, ConfigError, ["no such database", "'nowhere'"]),
        ({"database": "forbidden"}, ConfigError, ["pg_hba.conf", "'forbidden'"]),
        ({"database": "latin"}, ConfigError, ["LATIN1", "UTF8"]),
        ({"user": "crowded"}, StoreUnavailable, ["takes no connection now", "try again"]),
        ({"user": "nobody", "database": "bare"}, ConfigError, ["CREATE EXTENSION vector", "administrator"]),
        ({"user": "nobody"}, ConfigError, ["permission denied", "grant", "'nobody'"]),
    ],
)
def test_what_a_server_refuses(
    server: Server,
    settings: Callable[..., RetrievalSettings],
    change: dict[str, str],
    error: type[FootnoteError],
    words: list[str],
) -> None:
    """Each cause has its words, and names the setting."""
    fails(lambda: use(settings(server.url(**change))), error, *words)


def test_a_server_that_is_not_there(settings: Callable[..., RetrievalSettings]) -> None:
    """A closed port is said at once; a host that does not exist is a wrong setting."""
    closed = f"postgresql://writer:{'hunter2'}@127.0.0.1:{free_port()}/postgres"
    with closing(build_collections(settings(closed))) as collections:
        fails(collections.names, StoreUnavailable, "127.0.0.1", "cannot be reached", "retrieval.postgres_url")
    with closing(build_collections(settings("postgresql://writer:hunter2@nowhere.invalid/postgres"))) as collections:
        fails(collections.names, ConfigError, "nowhere.invalid", "host is not known")


@pytest.mark.parametrize(
    "url",
    [
        "", "  ", "hunter2", "postgresql://writer:hunt/er2@localhost/postgres", "postgresql://writer:x@hunter2@localhost/db",
        "postgresql://writer:12/hunt@er2@localhost/db", "postgresql://wri/ter:hunter2@localhost/db",
        "postgresql://localhost:hunter2/db", "postgresql://localhost/db?hunter2=1", "host=localhost password='hunter2",
    ],
)  # fmt: skip
def test_a_url_that_cannot_be_read(url: str) -> None:
    """It is refused without a word of it: any part may be a piece of the password."""
    settings = RetrievalSettings(store="pgvector", postgres_url=url)
    with pytest.raises(ConfigError, match=r"retrieval\.postgres_url") as caught:
        build_collections(settings)
    assert "hunt" not in "".join(traceback.format_exception(caught.value, chain=True)).replace(repr(url), "")


def test_a_role_that_may_not_create(server: Server, settings: Callable[..., RetrievalSettings]) -> None:
    """Where the tables are there and granted, it reads and writes; what needs more says so."""
    mine = settings(server.admin)
    use(mine)
    name = mine.postgres_schema
    theirs = settings(server.url(user="nobody"), postgres_schema=name)
    with closing(build_collections(theirs)) as collections:
        fails(collections.names, ConfigError, "permission denied", name)
    server.run(
        f'GRANT USAGE ON SCHEMA "{name}" TO nobody',
        f'GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA "{name}" TO nobody',
        f'GRANT USAGE ON ALL SEQUENCES IN SCHEMA "{name}" TO nobody',
    )
    with closing(build_collections(theirs)) as collections, closing(collections.open("c", writable=True)) as store:
        store.replace([replacement("b", ["pump two"])])
        assert store.delete(["a"]) == ["a"]
        with store.snapshot() as snapshot:
            assert [hit.chunk_id for hit in snapshot.search_lexical({"pump": 1.0}, k=5)] == ["b:000000"]
        fails(lambda: collections.create("d", embedder=EMBEDDER), ConfigError, "permission denied", name)
        assert collections.names() == ["c"]


def test_a_server_that_takes_no_writes(server: Server, settings: Callable[..., RetrievalSettings]) -> None:
    """A replica answers questions and says what it is; what leads to a primary again is found without a restart."""
    mine = settings()
    use(mine)
    server.run("ALTER ROLE writer SET default_transaction_read_only = on")
    with closing(build_collections(mine)) as collections, closing(collections.open("c", writable=True)) as store:
        try:
            with store.snapshot() as snapshot:
                assert snapshot.info.chunks == 1
            for write in (
                lambda: store.replace([replacement("b", ["pump"])]), lambda: store.delete(["a"]),
                lambda: collections.create("d", embedder=EMBEDDER),
            ):  # fmt: skip
                fails(write, ConfigError, "takes no writes", "retrieval.postgres_url")
        finally:
            server.run("ALTER ROLE writer RESET default_transaction_read_only")
        store.replace([replacement("b", ["pump"])])


def test_a_full_disk(server: Server, settings: Callable[..., RetrievalSettings]) -> None:
    """Nothing of the commit is written, all before it stays, and it works when there is room again."""
    mine = settings()
    use(mine)
    name = mine.postgres_schema
    with closing(build_collections(mine)) as collections, closing(collections.open("c", writable=True)) as store:
        server.run(
            f"""CREATE FUNCTION "{name}".full() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN RAISE EXCEPTION 'No space left on device' USING ERRCODE = '53100'; END $$""",
            f'CREATE TRIGGER full_disk BEFORE INSERT ON "{name}".source EXECUTE FUNCTION "{name}".full()',
        )
        fails(lambda: store.replace([replacement("b", ["pump"])]), StoreUnavailable, "no disk space", "make room")
        with store.snapshot() as snapshot:
            assert [info.doc_id for info in snapshot.documents()] == ["a"]
            assert snapshot.info.chunks == len(snapshot.search_lexical({"pump": 1.0}, k=9)) == 1
        server.run(f'DROP TRIGGER full_disk ON "{name}".source')
        store.replace([replacement("b", ["pump"])])


def test_a_turn_that_does_not_come(server: Server, settings: Callable[..., RetrievalSettings]) -> None:
    """A writer waits for its turn as long as is set, then says so; readers do not wait for writers at all."""
    mine = settings(postgres_timeout=0.5)
    use(mine)
    with closing(build_collections(mine)) as collections, closing(collections.open("c", writable=True)) as store:
        with psycopg.connect(server.admin) as other:
            other.execute(
                sql.SQL("SELECT FROM {} FOR UPDATE").format(sql.Identifier(mine.postgres_schema, "collection"))
            )
            fails(lambda: store.delete(["a"]), WriterBusy, "another process", "retrieval.postgres_timeout")
            with store.snapshot() as snapshot:
                assert snapshot.document("a").text == "pump"
        assert store.delete(["a"]) == ["a"]


def test_an_answer_that_does_not_come(server: Server, settings: Callable[..., RetrievalSettings]) -> None:
    """A query that takes too long ends with an error, not with a reader that hangs."""
    mine = settings(postgres_timeout=0.5)
    use(mine)
    with closing(build_collections(mine)) as collections, closing(collections.open("c")) as store:
        with psycopg.connect(server.admin) as other:
            other.execute(sql.SQL("LOCK TABLE {}").format(sql.Identifier(mine.postgres_schema, "content")))
            with store.snapshot() as snapshot:
                fails(lambda: snapshot.document("a"), StoreUnavailable, "in time", "retrieval.postgres_timeout")
        with store.snapshot() as snapshot:
            assert snapshot.document("a").text == "pump"


def test_more_at_a_time_than_there_are_connections(settings: Callable[..., RetrievalSettings]) -> None:
    """Who comes late is told which setting allows more; a connection that comes back serves the next."""
    mine = settings(postgres_timeout=0.5, postgres_connections=2)
    use(mine)
    with closing(build_collections(mine)) as collections, closing(collections.open("c")) as store:
        with store.snapshot(), store.snapshot():
            fails(collections.names, StoreUnavailable, "all 2 connections", "retrieval.postgres_connections")
        assert collections.names() == ["c"]


def test_connections_that_the_server_has_closed(
    server: Server, settings: Callable[..., RetrievalSettings], caplog: pytest.LogCaptureFixture
) -> None:
    """Idle ones, as after a restart or a firewall's timeout: the next call does not notice, and nothing is printed."""
    mine = settings()
    use(mine)
    with closing(build_collections(mine)) as collections, closing(collections.open("c", writable=True)) as store:
        with store.snapshot(), store.snapshot():
            pass
        for action in (collections.names, lambda: store.delete(["a"])):
            server.run("SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity WHERE usename = 'writer'")
            action()
    assert [record.getMessage() for record in caplog.records if record.name.startswith("psycopg")] == []


def test_many_threads_find_a_server_that_says_nothing(settings: Callable[..., RetrievalSettings]) -> None:
    """Nobody has reached it yet, and they do not wait for it one after the other."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://writer:hunter2@127.0.0.1:{silent.getsockname()[1]}/postgres"
        with closing(build_collections(settings(url, postgres_timeout=1.0))) as collections:

            def ask(_: int) -> None:
                fails(collections.names, StoreUnavailable, "127.0.0.1", "retrieval.postgres")

            begin = time.monotonic()
            with ThreadPoolExecutor(8) as threads:
                list(threads.map(ask, range(8)))
            assert time.monotonic() - begin < 8.0  # libpq waits for 2 seconds at least


def test_an_environment_with_an_encoding_of_its_own(
    settings: Callable[..., RetrievalSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Documents hold more than Latin letters, whatever psql is told to print."""
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    mine = settings()
    with closing(build_collections(mine)) as collections:
        collections.create("c", embedder=EMBEDDER)
        with closing(collections.open("c", writable=True)) as store:
            store.replace([replacement("北京", ["pump 北京"])])
            with store.snapshot() as snapshot:
                assert snapshot.document("北京").text == "pump 北京"


def test_it_says_which_versions_it_meets(settings: Callable[..., RetrievalSettings]) -> None:
    """Before there is anything, and afterwards; without a password."""
    mine = settings()
    with closing(build_collections(mine)) as collections:
        for tables, name in (("not made yet", "c"), (f"version {len(MIGRATIONS)}", "d")):
            words = collections.place()
            assert re.search(r"server \d+\.\d+, pgvector \d+\.\d+\.\d+, schema 'test_\w+' " + tables, words), words
            assert "127.0.0.1" in words
            assert "hunter" not in words
            collections.create(name, embedder=EMBEDDER)


def test_a_closed_store_says_so(settings: Callable[..., RetrievalSettings]) -> None:
    """Using it is a mistake of the caller's, not a server that is away."""
    mine = settings()
    use(mine)
    collections = build_collections(mine)
    store = collections.open("c")
    collections.close()
    fails(lambda: store.snapshot().__enter__(), StoreUnavailable, "were closed", "open the collections again")
