"""The vector stores. Only retrieval.build imports from here: everyone else speaks to the ports."""
