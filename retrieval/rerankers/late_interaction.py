"""Late interaction as a reranker: the embedder's own token vectors, kept with the chunks. No second model."""

import math
from collections.abc import Sequence

from retrieval import fusion
from retrieval.analysis import Analyzer, analyzer
from retrieval.ports import Embedders, SearchView, TokenEmbedder
from retrieval.records import StoredChunk

LENGTH_WEIGHT = 0.2
"""How far the length of a chunk counts against its score, both in standard deviations over the candidates. The more
tokens there are, the nearer is the nearest: on seven test collections the two correlate by 0.11 to 0.23, so this
takes off what length alone gives."""


class LateInteractionReranker:
    """The port `Reranker` over the token vectors of an edition. Chunks of an edition that has none all score 0."""

    name = "late-interaction"

    def __init__(self, embedders: Embedders) -> None:
        self._embedders = embedders

    def rerank(self, query: str, chunks: Sequence[StoredChunk], *, snapshot: SearchView) -> list[float]:
        """MaxSim less what length alone gives, in standard deviations over the chunks given."""
        return self.scores(query, [found.chunk.chunk_id for found in chunks], snapshot=snapshot)

    def scores(self, query: str, chunk_ids: Sequence[str], *, snapshot: SearchView) -> list[float]:
        """The same, for who has not read the chunks: only their token vectors are needed."""
        raw = self.similarities(query, chunk_ids, snapshot=snapshot)
        return combined([similarity for similarity, _ in raw], [size for _, size in raw])

    def similarities(self, query: str, chunk_ids: Sequence[str], *, snapshot: SearchView) -> list[tuple[float, int]]:
        """MaxSim of each chunk, -1..1, and how many bytes of token vectors it has."""
        embedder = self._embedders.of(snapshot.info.embedder)
        if not snapshot.info.edition.token_code or not isinstance(embedder, TokenEmbedder) or not chunk_ids:
            return [(0.0, 0)] * len(chunk_ids)
        weights = _Weights(snapshot, query)
        codes = snapshot.token_vectors(chunk_ids)
        found = embedder.token_scores(query, weights.of, codes)
        return [(float(score), len(code)) for score, code in zip(found, codes, strict=True)]


def combined(similarities: Sequence[float], sizes: Sequence[int]) -> list[float]:
    """Similarities less what length alone gives, in standard deviations."""
    return [
        similarity - LENGTH_WEIGHT * length
        for similarity, length in zip(
            fusion.standardised(similarities),
            fusion.standardised([math.log1p(size) for size in sizes]),
            strict=True,
        )
    ]


class _Weights:
    """What the words of a query weigh: the idf of their rarest term, 0 for stop words."""

    def __init__(self, snapshot: SearchView, query: str) -> None:
        self._analyzer: Analyzer = analyzer(snapshot.info.language)
        terms = dict.fromkeys(self._analyzer.terms(query), 1.0)
        found = snapshot.term_scores(terms, [])
        self._idf = dict(zip(found.terms, found.idf.tolist(), strict=True))

    def of(self, word: str) -> float:
        return max((self._idf.get(term, 0.0) for term in self._analyzer.terms(word)), default=0.0)
