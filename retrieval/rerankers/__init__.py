"""Rerankers: a query against the best chunks, behind the port `retrieval.ports.Reranker`; see `retrieval.build`."""
