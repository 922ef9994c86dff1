"""Late interaction as a reranker: the embedder's own token vectors, kept with the chunks. No second model."""

import functools
import math
from collections.abc import Mapping, Sequence

from retrieval import fusion
from retrieval.analysis import analyzer
from retrieval.ports import Embedder, Embedders, SearchView, TokenEmbedder
from retrieval.records import Edition, StoredChunk

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

    def similarities(
        self, query: str, chunk_ids: Sequence[str], *, snapshot: SearchView, idf: Mapping[str, float] | None = None
    ) -> list[tuple[float, int]]:
        """MaxSim of each chunk, -1..1, and how many bytes of token vectors it has.

        Rounded to 6 decimals, as the scores of searches are: the same code has the same score among any others.
        `idf` is that of the query's terms, for who knows it already.
        """
        info = snapshot.info
        embedder = comparing(self._embedders.of(info.embedder), info.edition)
        if embedder is None or not chunk_ids:
            return [(0.0, 0)] * len(chunk_ids)
        known = idf_of(query, snapshot) if idf is None else idf
        terms = analyzer(info.language).terms
        codes = snapshot.token_vectors(chunk_ids)
        # A word weighs as much as its rarest term; stop words have none.
        weight = functools.cache(lambda word: max((known.get(term, 0.0) for term in terms(word)), default=0.0))
        found = embedder.token_scores(query, weight, codes)
        return [(round(float(score), 6), len(code)) for score, code in zip(found, codes, strict=True)]


def comparing(embedder: Embedder, edition: Edition) -> TokenEmbedder | None:
    """The embedder, when it reads the code that the token vectors of an edition are in; None without any."""
    if isinstance(embedder, TokenEmbedder) and edition.token_code and embedder.token_code == edition.token_code:
        return embedder
    return None


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


def idf_of(query: str, snapshot: SearchView) -> dict[str, float]:
    """The idf in the edition of each term of the query."""
    found = snapshot.term_scores(dict.fromkeys(analyzer(snapshot.info.language).terms(query), 1.0), [])
    return dict(zip(found.terms, found.idf.tolist(), strict=True))
