"""From the arguments of a run to its sources, whatever kinds of places they name."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from ingest.settings import IngestSettings
from ingest.sources.identity import scheme_of
from ingest.sources.local import LocalFiles
from ingest.sources.records import Fetched, Place, Source, Sources
from retrieval.errors import InvalidRequest


def discover(
    arguments: Sequence[str | Path],
    *,
    settings: IngestSettings | None = None,
    exclude: Sequence[Path] = (),
) -> Sources:
    """The sources among and below `arguments`: paths and URIs; a `Path` is always one of this machine.

    Below a local folder, hidden names and `local.SKIPPED_FOLDERS` are left out, and so are the folders of `exclude`.
    Raises SourceNotFound, before anything is yielded, for an argument that does not exist, ConfigError (MissingExtra)
    for one that cannot be reached as things are set up, and InvalidRequest for one that makes no sense.
    """
    return _Sources(arguments, _Places(settings or IngestSettings(), exclude))


class _Places:
    """Each kind of place once, opened when the first argument asks for it."""

    def __init__(self, settings: IngestSettings, exclude: Sequence[Path]) -> None:
        self._settings = settings
        self._exclude = exclude
        self._open: dict[str, Place] = {}

    def of(self, argument: str | Path) -> Place:
        kind = (isinstance(argument, str) and scheme_of(argument)) or "file"
        kind = "http" if kind == "https" else kind  # one place: its turns and its robots.txt are for both
        if kind not in self._open:
            self._open[kind] = self._make(kind)
        return self._open[kind]

    def _make(self, kind: str) -> Place:
        match kind:
            case "file":
                return LocalFiles(self._exclude)
            case "s3":
                from ingest.sources.s3 import Buckets  # noqa: PLC0415 - what most runs do not need

                return Buckets(self._settings)
            case "http":
                from ingest.sources.http import Pages  # noqa: PLC0415 - what most runs do not need

                return Pages(self._settings)
        raise InvalidRequest(f"{kind}:// is no place that documents can be read from; give a path, or a file:// URI")

    def close(self) -> None:
        for place in self._open.values():
            place.close()


class _Sources:
    """See `ingest.sources.records.Sources`."""

    def __init__(self, arguments: Sequence[str | Path], places: _Places) -> None:
        self._places = places
        self._roots: dict[str, Place] = {}
        found = []
        for argument in arguments:
            place = places.of(argument)
            root = place.root(argument)
            self._roots[root] = place
            found.append(root)
        self.roots = tuple(found)

    def __iter__(self) -> Iterator[Source]:
        seen: set[str] = set()
        for place in dict.fromkeys(self._roots.values()):
            for source in place.find([root for root, at in self._roots.items() if at is place]):
                if source.uri not in seen:
                    seen.add(source.uri)
                    yield source

    def fetch(self, source: Source, spool: Path, *, known: str = "") -> Fetched:
        return self._places.of(source.uri).fetch(source, spool, known=known)

    def close(self) -> None:
        self._places.close()
