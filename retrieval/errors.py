"""The errors of Footnote, one tree; every message says what, which value and what to do.

FootnoteError
├── ConfigError             a setting is wrong
│   └── MissingExtra        an optional dependency is not installed
├── InvalidRequest          the caller asked for something impossible
│   ├── InvalidQuery        query text or k out of bounds
│   └── InvalidFilter       a filter that cannot be read
│       └── UnknownField    a filter on a field that no document has
├── NotFound
│   ├── CollectionNotFound
│   ├── DocumentNotFound
│   ├── EditionNotFound
│   └── SourceNotFound      a file or folder to ingest
├── Conflict                the request is fine, the present state forbids it
│   ├── CollectionExists
│   ├── EmbedderMismatch    the collection was embedded with a model that is not to be had
│   ├── EditionChanged      another edition of the collection is live by now
│   ├── EditionIncomplete   an edition lacks documents that the live one has
│   ├── EditionLive         the live edition cannot be dropped
│   └── WriterBusy          another process keeps the collection to itself, or this one may only read
├── StoreError
│   ├── StoreUnavailable    cannot be reached now; try again
│   ├── StoreCorrupt        files are missing or do not hold what they should
│   └── StoreTooNew         written by a newer Footnote
├── EmbedderError
│   ├── ModelInvalid        model files are missing or fail their hash
│   └── EmbedderUnavailable an embedding service cannot be reached now; try again
├── RerankerError           a reranker failed
│   └── RerankerUnavailable a reranking service cannot be reached now; try again
├── LoadError               a file cannot become a document (ingest)
│   ├── UnsupportedMedia
│   ├── EncryptedFile
│   ├── CorruptFile
│   ├── EmptyDocument
│   ├── NeedsOcr            pages are images, and there is no text recognition
│   ├── LimitExceeded       the file needs more memory, time or space than one may take
│   ├── WorkerDied          the process that read the file ended without a word
│   └── FetchError          the source cannot be read or fetched now; trying again may help
└── ChatModelError          a chat model failed (generation)
    └── ChatModelUnavailable
"""


class FootnoteError(Exception):
    """Base of every error that Footnote raises on purpose; `str()` of it is fit to show to a user."""


class ConfigError(FootnoteError):
    """A setting is wrong."""


class MissingExtra(ConfigError):
    """An optional dependency is not installed."""


class InvalidRequest(FootnoteError):
    """The caller asked for something impossible."""


class InvalidQuery(InvalidRequest):
    """Query text or `k` is out of bounds."""


class InvalidFilter(InvalidRequest):
    """A filter cannot be read."""


class UnknownField(InvalidFilter):
    """A filter names a field that no document of the collection has."""


class NotFound(FootnoteError):
    """Something named does not exist."""


class CollectionNotFound(NotFound):
    """No collection of that name."""


class DocumentNotFound(NotFound):
    """No document of that id (and version) in the collection."""


class EditionNotFound(NotFound):
    """The collection has no edition of that number."""


class SourceNotFound(NotFound):
    """No file or folder at the path given."""


class Conflict(FootnoteError):
    """The request is fine, but the present state forbids it."""


class CollectionExists(Conflict):
    """A collection of that name is there already."""


class EmbedderMismatch(Conflict):
    """The collection was embedded with a model that is not to be had here."""


class EditionChanged(Conflict):
    """Another edition of the collection is live by now."""


class EditionIncomplete(Conflict):
    """An edition lacks documents that the live one has."""


class EditionLive(Conflict):
    """The live edition cannot be dropped."""


class WriterBusy(Conflict):
    """Another process keeps the collection to itself, or this handle may only read."""


class StoreError(FootnoteError):
    """A store could not do its work."""


class StoreUnavailable(StoreError):
    """The store cannot be reached now; trying again may help."""


class StoreCorrupt(StoreError):
    """Files of the store are missing or do not hold what they should."""


class StoreTooNew(StoreError):
    """The store was written by a newer Footnote."""


class EmbedderError(FootnoteError):
    """An embedder could not do its work."""


class ModelInvalid(EmbedderError):
    """Model files are missing, or their hash differs from the manifest's."""


class EmbedderUnavailable(EmbedderError):
    """An embedding service cannot be reached, is overloaded or takes too long; trying again may help."""


class RerankerError(FootnoteError):
    """A reranker gave no usable scores."""


class RerankerUnavailable(RerankerError):
    """A reranking service cannot be reached, is overloaded or takes too long; trying again may help."""


class LoadError(FootnoteError):
    """A file cannot become a document."""


class UnsupportedMedia(LoadError):
    """No loader reads this kind of file."""


class EncryptedFile(LoadError):
    """The file is protected by a password."""


class CorruptFile(LoadError):
    """The file is damaged, or is not what its name says."""


class EmptyDocument(LoadError):
    """The file holds no text."""


class NeedsOcr(LoadError):
    """The file's pages are images, and no text recognition is installed or it found nothing."""


class LimitExceeded(LoadError):
    """The file takes more bytes, memory, processor time or wall time than a file may."""


class WorkerDied(LoadError):
    """The process that read the file ended without a word."""


class FetchError(LoadError):
    """The source cannot be read or fetched now; trying again may help."""


class ChatModelError(FootnoteError):
    """A chat model failed or answered nonsense."""


class ChatModelUnavailable(ChatModelError):
    """The chat model cannot be reached now; trying again may help."""
