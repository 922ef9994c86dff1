"""Examples of the OpenAPI document: one request or response of each operation, from the example documents."""

from typing import Any

_DOCUMENT = {
    "doc_id": "09664749a9dc165f",
    "version": "140cb48135755223",
    "source_uri": "file:///srv/papers/passengers.md",
    "title": "Passengers on board",
    "media_type": "text/markdown",
    "characters": 1424,
    "page_count": None,
    "metadata": {},
}
_CITATION = {
    "doc_id": _DOCUMENT["doc_id"],
    "source_uri": _DOCUMENT["source_uri"],
    "title": _DOCUMENT["title"],
    "version": _DOCUMENT["version"],
    "chunk_id": "09664749a9dc165f:000001",
    "start": 1289,
    "end": 1389,
    "page": None,
    "quote": "They are kept for 90 days; passports and bank cards are handed to the harbour police after 48 hours.",
    "support": 1.0,
}
_ANSWER = {
    "question": "How long is lost property kept?",
    "collection": "demo",
    "status": "answered",
    "text": _CITATION["quote"],
    "sentences": [
        {
            "text": _CITATION["quote"],
            "citations": [_CITATION],
        }
    ],
    "evidence": 0.89,
    "model": "extractive",
    "dropped_citations": 0,
    "usage": {"input_tokens": 0, "output_tokens": 0},
    "timings": {"retrieve": 0.004, "evidence": 0.06, "write": 0.003},
    "plan": None,
    "notes": [],
}
_BASE = "/v1/collections/{collection}"

REQUESTS: dict[tuple[str, str], dict[str, Any]] = {
    ("post", f"{_BASE}/search"): {
        "plain": {"value": {"query": "what happens to things left on board", "k": 5}},
        "filtered": {"value": {"query": "life jackets", "filter": {"media_type": "application/pdf"}}},
        "explained": {"value": {"query": "things left on board", "k": 1, "explain": True}},
    },
    ("post", f"{_BASE}/answer"): {
        "plain": {"value": {"question": _ANSWER["question"]}},
        "follow-up": {
            "value": {
                "question": "And what happens to passports?",
                "history": [
                    {"role": "user", "content": _ANSWER["question"]},
                    {"role": "assistant", "content": _ANSWER["text"]},
                ],
            }
        },
        "streamed": {"value": {"question": _ANSWER["question"], "stream": True}},
        "filtered": {
            "value": {
                "question": "How often are life jackets inspected?",
                "k": 8,
                "filter": {"$or": [{"media_type": "application/pdf"}, {"title": "Safety manual"}]},
            }
        },
    },
}
"""Examples of request bodies by operation."""

RESPONSES: dict[tuple[str, str], Any] = {
    ("post", f"{_BASE}/search"): {
        "collection": "demo",
        "query": "what happens to things left on board",
        "results": [
            {
                **{name: value for name, value in _CITATION.items() if name not in ("quote", "support")},
                "headings": ["Passengers on board", "Lost property"],
                "text": _CITATION["quote"],
                "score": 0.87,
                "stages": {"dense": 0.52, "lexical": 6.1},
                "metadata": {},
            }
        ],
        "timings": {"embed": 0.002, "lexical": 0.001, "dense": 0.001, "fuse": 0.0, "fetch": 0.0},
        "plan": None,
        "notes": [],
        "explanation": {
            "stages": ["lexical", "dense", "fused"],
            "terms": [{"term": "left", "weight": 1.0, "chunks": 1, "idf": 2.7}],
            "total": 2,
            "left_out": {"k": 1},
            "candidates": [
                {
                    "chunk_id": _CITATION["chunk_id"],
                    "doc_id": _CITATION["doc_id"],
                    "rank": 1,
                    "score": 0.87,
                    "stages": [
                        {"stage": "lexical", "rank": 1, "score": 6.1},
                        {"stage": "dense", "rank": 1, "score": 0.52},
                        {"stage": "fused", "rank": 1, "score": 0.87},
                    ],
                    "terms": {"left": 6.1},
                    "removed_by": "",
                    "reason": "",
                },
                {
                    "chunk_id": "09664749a9dc165f:000000",
                    "doc_id": _CITATION["doc_id"],
                    "rank": None,
                    "score": 0.11,
                    "stages": [
                        {"stage": "dense", "rank": 2, "score": 0.31},
                        {"stage": "fused", "rank": 2, "score": 0.11},
                    ],
                    "terms": {},
                    "removed_by": "k",
                    "reason": "number 2 of the final ranking, below the 1 results",
                },
            ],
        },
    },
    ("post", f"{_BASE}/answer"): _ANSWER,
    ("get", "/v1/collections"): {"collections": ["demo"]},
    ("get", _BASE): {
        "name": "demo",
        "documents": 9,
        "chunks": 21,
        "sequence": 2,
        "language": "english",
        "fields": ["author", "created", "language"],
        "edition": {
            "number": 1,
            "embedder": {"name": "all-MiniLM-L6-v2", "sha256": "0" * 64, "dimension": 384, "window": 256},
            "chunking": {"chunk_tokens": 200, "context_tokens": 32, "overlap_tokens": 0, "algorithm": 1},
            "created_at": "2026-11-20T09:30:00+00:00",
        },
    },
    ("get", f"{_BASE}/documents"): {"collection": "demo", "documents": [_DOCUMENT], "next": _DOCUMENT["doc_id"]},
    ("get", f"{_BASE}/documents/{{doc_id}}"): {
        **_DOCUMENT,
        "start": _CITATION["start"],
        "end": _CITATION["end"],
        "page": None,
        "text": _CITATION["quote"],
    },
    ("get", "/healthz"): {"status": "ok"},
    ("get", "/readyz"): {"status": "ready"},
}
"""One example of the body of a 200 for each operation."""
