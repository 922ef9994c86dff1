"""From a ranking to the k results: what is left out though it ranks high, and why."""

from collections import Counter
from collections.abc import Sequence

from retrieval.records import Hit, doc_id_of
from retrieval.settings import RetrievalSettings
from retrieval.trace import Trace


def thin(hits: Sequence[Hit], *, k: int, settings: RetrievalSettings, trace: Trace) -> list[Hit]:
    """The k results out of a ranking, best first."""
    kept: list[Hit] = []
    taken: Counter[str] = Counter()
    for hit in hits:
        if len(kept) == k:
            break
        doc_id = doc_id_of(hit.chunk_id)
        if settings.per_document and taken[doc_id] == settings.per_document:
            trace.remove(hit.chunk_id, "per-document", f"{doc_id!r} has its {settings.per_document} results already")
            continue
        taken[doc_id] += 1
        kept.append(hit)
    return kept
