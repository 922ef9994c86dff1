"""From a ranking to the k results: near-identical chunks, too many of one document, too much of the same."""

from collections.abc import Callable, Sequence

from retrieval import diversity
from retrieval.ports import SearchView
from retrieval.records import Hit, StoredChunk, doc_id_of
from retrieval.settings import RetrievalSettings
from retrieval.trace import Trace

BREADTH = 4
"""Candidates per result that marginal relevance chooses from."""

SPARE = 16
"""Hits beyond the results that are looked at for duplicates at a time."""


def thin(
    view: SearchView,
    hits: Sequence[Hit],
    *,
    k: int,
    settings: RetrievalSettings,
    read: Callable[[Sequence[str]], list[StoredChunk]],
    trace: Trace,
) -> list[Hit]:
    """The k results out of a ranking, best first. `read` gives the chunks of ids, in the order given."""
    wanted = BREADTH * k if settings.diversity > 0.0 else k
    if settings.deduplicate:
        with trace.stage("duplicates"):
            hits = _distinct(view, hits, wanted=wanted, settings=settings, read=read, trace=trace)
    if settings.per_document:
        hits = _capped(hits, settings.per_document, wanted=wanted, trace=trace)
    if settings.diversity > 0.0:
        with trace.stage("diversity"):
            hits = _diverse(view, hits[:wanted], k=k, weight=1.0 - settings.diversity, trace=trace)
    return list(hits[:k])


def _distinct(
    view: SearchView,
    hits: Sequence[Hit],
    *,
    wanted: int,
    settings: RetrievalSettings,
    read: Callable[[Sequence[str]], list[StoredChunk]],
    trace: Trace,
) -> list[Hit]:
    """Without those that repeat a better one; only as far down as it takes for `wanted` results."""
    kept: list[Hit] = []
    at = 0
    while at < len(hits) and (lacking := wanted - len(_within(kept, settings.per_document))) > 0:
        looked_at = [*kept, *hits[at : at + lacking + SPARE]]
        at += len(looked_at) - len(kept)
        chunk_ids = [hit.chunk_id for hit in looked_at]
        texts = [found.chunk.text for found in read(chunk_ids)]
        duplicates = {
            found.chunk_id: found for found in diversity.near_duplicates(looked_at, view.vectors(chunk_ids), texts)
        }
        for found in duplicates.values():
            how = "the same text as" if found.exact else f"near-identical (cosine {found.cosine}) to"
            trace.remove(found.chunk_id, "duplicates", f"{how} {found.of}")
        kept = [hit for hit in looked_at if hit.chunk_id not in duplicates]
    return [*kept, *hits[at:]]


def _within(hits: Sequence[Hit], cap: int) -> Sequence[Hit]:
    return diversity.cap_per_document(hits, doc_id_of, cap) if cap else hits


def _capped(hits: Sequence[Hit], cap: int, *, wanted: int, trace: Trace) -> list[Hit]:
    kept = diversity.cap_per_document(hits, doc_id_of, cap)
    for hit in _passed_over(hits, kept[:wanted], all_there_are=len(kept) < wanted):
        trace.remove(hit.chunk_id, "per-document", f"{doc_id_of(hit.chunk_id)!r} has {cap} better ones already")
    return kept


def _diverse(view: SearchView, hits: Sequence[Hit], *, k: int, weight: float, trace: Trace) -> list[Hit]:
    chosen = diversity.mmr(hits, view.vectors([hit.chunk_id for hit in hits]), k=k, weight=weight)
    for hit in _passed_over(hits, chosen):
        trace.remove(hit.chunk_id, "diversity", "too much like the results; others say more that is not said yet")
    trace.ranked("diversity", chosen)
    return chosen


def _passed_over(hits: Sequence[Hit], chosen: Sequence[Hit], *, all_there_are: bool = False) -> list[Hit]:
    """Those that rank above one that was chosen, and were not; what ranks below all of them is left to k."""
    taken = {hit.chunk_id for hit in chosen}
    lowest = max((place for place, hit in enumerate(hits) if hit.chunk_id in taken), default=0)
    return [hit for hit in (hits if all_there_are else hits[:lowest]) if hit.chunk_id not in taken]
