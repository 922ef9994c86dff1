"""Examples of the OpenAPI document: one request or response of each operation, from the example documents."""

from typing import Any

_DOCUMENT = {
    "doc_id": "4f0c2c9d8a71",
    "version": "5c4b7a9a6e1f0d23",
    "source_uri": "file:///srv/papers/passengers.md",
    "title": "Passengers on board",
    "media_type": "text/markdown",
    "characters": 1435,
    "page_count": None,
    "metadata": {},
}
_CITATION = {
    "doc_id": _DOCUMENT["doc_id"],
    "source_uri": _DOCUMENT["source_uri"],
    "title": _DOCUMENT["title"],
    "version": _DOCUMENT["version"],
    "chunk_id": "4f0c2c9d8a71:000004",
    "start": 1243,
    "end": 1272,
    "page": None,
    "quote": "They are kept for 90 days;",
    "support": 1.0,
}
_ANSWER = {
    "question": "How long is lost property kept?",
    "collection": "demo",
    "status": "answered",
    "text": "They are kept for 90 days;",
    "sentences": [{"text": "They are kept for 90 days;", "citations": [_CITATION]}],
    "evidence": 0.93,
    "model": "extractive",
    "dropped_citations": 0,
    "usage": {"input_tokens": 0, "output_tokens": 0},
    "timings": {"retrieve": 0.011, "generate": 0.019},
}
_BASE = "/v1/collections/{collection}"

REQUESTS: dict[tuple[str, str], dict[str, Any]] = {
    ("post", f"{_BASE}/search"): {
        "plain": {"value": {"query": "what happens to things left on board", "k": 5}},
        "filtered": {"value": {"query": "life jackets", "filter": {"media_type": "application/pdf"}}},
    },
    ("post", f"{_BASE}/answer"): {
        "plain": {"value": {"question": _ANSWER["question"]}},
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
        "timings": {"embed": 0.003, "search": 0.002},
    },
    ("post", f"{_BASE}/answer"): _ANSWER,
    ("get", "/v1/collections"): {"collections": ["demo"]},
    ("get", _BASE): {
        "name": "demo",
        "documents": 9,
        "chunks": 43,
        "sequence": 1,
        "language": "english",
        "fields": [],
        "embedder": {"name": "all-MiniLM-L6-v2", "sha256": "0" * 64, "dimension": 384, "window": 256},
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
