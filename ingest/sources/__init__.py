"""Where documents come from: files and folders, buckets, web pages, archives, standard input."""

from ingest.sources.local import Source, content_hash, discover, doc_id_for, read, uri_for

__all__ = ["Source", "content_hash", "discover", "doc_id_for", "read", "uri_for"]
