"""Where documents come from: files and folders, buckets, web pages, archives, standard input."""

from ingest.sources.discovery import discover
from ingest.sources.identity import content_hash, doc_id_for, uri_for
from ingest.sources.local import read_file
from ingest.sources.records import Fetched, Source, Sources

__all__ = ["Fetched", "Source", "Sources", "content_hash", "discover", "doc_id_for", "read_file", "uri_for"]
