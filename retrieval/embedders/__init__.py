"""Embedders: text to vectors, behind the port `retrieval.ports.Embedder`; imported by `retrieval.build`."""
