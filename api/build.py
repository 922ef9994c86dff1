"""Settings to services: puts the packages below together for the routes."""

from api.services import OpenCollection, Services
from generation.build import build_answerer, build_reranker, build_retriever
from generation.settings import GenerationSettings
from retrieval.build import build_collections, build_embedder, build_embedders
from retrieval.ports import VectorStore
from retrieval.settings import RetrievalSettings


def build_services(retrieval: RetrievalSettings, generation: GenerationSettings) -> Services:
    """Services over what the settings name. Loads the embedder; collections are opened when they are asked for."""
    embedder = build_embedder(retrieval)
    embedder.embed_queries(["warm up"])  # the first call takes 50 times as long as the others: not on a caller's time

    embedders = build_embedders(retrieval, embedder)
    reranker = build_reranker(retrieval, generation)

    def connect(name: str, store: VectorStore) -> OpenCollection:
        retriever = build_retriever(store, embedders, retrieval, generation, reranker=reranker)
        return OpenCollection(name, store, retriever, build_answerer(retriever, generation))

    return Services(collections=build_collections(retrieval), embedder=embedder, connect=connect)
