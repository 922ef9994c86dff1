"""Footnote inside any LlamaIndex application: a retriever that its query engines, agents and chat engines can use."""

from collections.abc import Mapping
from typing import Any

from retrieval import filters
from retrieval.errors import MissingExtra
from retrieval.records import ScoredChunk
from retrieval.retriever import Retriever

try:
    from llama_index.core.base.base_retriever import BaseRetriever
    from llama_index.core.schema import NodeRelationship, NodeWithScore, QueryBundle, RelatedNodeInfo, TextNode
except ImportError as exc:
    raise MissingExtra("FootnoteRetriever needs: pip install 'footnote[llama-index]'") from exc


class FootnoteRetriever(BaseRetriever):  # type: ignore[misc]  # LlamaIndex ships no types for mypy to follow here
    """Ranks with `retriever`; each node carries doc_id, version, offsets and page, so that it can be cited exactly."""

    def __init__(self, retriever: Retriever, *, k: int = 8, filter: Mapping[str, Any] | None = None) -> None:
        """`filter` is in the JSON form of `retrieval.filters`. Raises InvalidFilter."""
        self._retriever = retriever
        self._k = k
        self._filter = None if filter is None else filters.parse(filter)
        super().__init__()

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        found = self._retriever.retrieve(query_bundle.query_str, k=self._k, filter=self._filter)
        return [NodeWithScore(node=_node(scored), score=scored.score) for scored in found.chunks]


def _node(scored: ScoredChunk) -> TextNode:
    chunk, document = scored.chunk, scored.document
    exact = {
        "doc_id": chunk.doc_id,
        "version": chunk.version,
        "source_uri": document.source_uri,
        "title": document.title,
        "start": chunk.start,
        "end": chunk.end,
        "page": chunk.page,
    }
    metadata = {key: list(value) if isinstance(value, tuple) else value for key, value in document.metadata.items()}
    return TextNode(
        id_=chunk.chunk_id,
        text=chunk.text,
        metadata={**metadata, **exact},
        start_char_idx=chunk.start,
        end_char_idx=chunk.end,
        # A model is shown where a text is from; ids and offsets would only be noise to it.
        excluded_llm_metadata_keys=["doc_id", "version", "start", "end", "source_uri"],
        relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=chunk.doc_id)},
    )
