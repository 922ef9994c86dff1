"""From the arguments of a run to its sources, whatever kinds of places they name."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from ingest.settings import IngestSettings
from ingest.sources.identity import scheme_of
from ingest.sources.local import LocalFiles
from ingest.sources.records import Fetched, Place, Source, Sources
from ingest.sources.standard_input import StandardInput
from retrieval.errors import InvalidRequest


def discover(
    arguments: Sequence[str | Path],
    *,
    settings: IngestSettings | None = None,
    exclude: Sequence[Path] = (),
    stdin_name: str = "stdin",
) -> Sources:
    """The sources among and below `arguments`: paths, URIs, `-` for standard input; a `Path` is always a local one.

    Below a folder, hidden names and `local.SKIPPED_FOLDERS` are left out, and so are the local folders of `exclude`.
    `stdin_name` is what the document from standard input is known by. Raises, before anything is yielded,
    SourceNotFound for an argument that does not exist, InvalidRequest for one that makes no sense, ConfigError
    (MissingExtra) for one that cannot be reached as things are set up, and FetchError when a service does not answer.
    """
    return _Sources(arguments, _Places(settings or IngestSettings(), exclude, stdin_name))


class _Places:
    """Each kind of place once, opened when the first argument asks for it."""

    def __init__(self, settings: IngestSettings, exclude: Sequence[Path], stdin_name: str) -> None:
        self._settings = settings
        self._exclude = exclude
        self._stdin_name = stdin_name
        self._open: dict[str, Place] = {}

    def of(self, argument: str | Path) -> Place:
        """The place of an argument or of a URI."""
        kind = _kind(argument)
        if kind not in self._open:
            self._open[kind] = self._make(kind)
        return self._open[kind]

    def _make(self, kind: str) -> Place:
        if kind == "file":
            return LocalFiles(self._exclude)
        if kind == "stdin":
            return StandardInput(self._settings, self._stdin_name)
        # What most runs do not need is imported when it is asked for.
        if kind == "s3":
            from ingest.sources.s3 import Buckets  # noqa: PLC0415

            return Buckets(self._settings)
        if kind == "http":
            from ingest.sources.http import Pages  # noqa: PLC0415

            return Pages(self._settings)
        from ingest.sources.remote import Remote  # noqa: PLC0415

        return Remote(kind, self._settings)

    def close(self) -> None:
        for place in self._open.values():
            place.close()


def _kind(argument: str | Path) -> str:
    if isinstance(argument, Path):
        return "file"
    if argument == "-" or argument.startswith("stdin:"):
        return "stdin"
    # The web is one place: turns and what robots.txt says are for http and https.
    return {"": "file", "https": "http"}.get(scheme_of(argument), scheme_of(argument))


class _Sources:
    """See `ingest.sources.records.Sources`."""

    def __init__(self, arguments: Sequence[str | Path], places: _Places) -> None:
        self._places = places
        self._roots: dict[str, Place] = {}
        try:
            self.roots = tuple(map(self._root, arguments))
        except BaseException:
            places.close()
            raise

    def __iter__(self) -> Iterator[Source]:
        seen: set[str] = set()
        for place in dict.fromkeys(self._roots.values()):
            for source in place.find([root for root, at in self._roots.items() if at is place]):
                if source.uri not in seen:
                    seen.add(source.uri)
                    yield source

    def _root(self, argument: str | Path) -> str:
        if not str(argument).strip():  # as a path it would be the working directory
            raise InvalidRequest(f"SOURCE {argument!r} names nothing; is a variable of your script empty?")
        place = self._places.of(argument)
        root = place.root(argument)
        self._roots[root] = place
        return root

    def fetch(self, source: Source, spool: Path, *, known: str = "") -> Fetched:
        return self._places.of(source.uri).fetch(source, spool, known=known)

    def close(self) -> None:
        self._places.close()
