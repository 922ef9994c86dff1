"""Exact in-memory store; defines correct behaviour. Everything is a plain loop over immutable state.

state.py      what one commit of a collection consists of
snapshot.py   all reading, of one such state
store.py      collections, and what makes the next state
keeper.py     what does not fit together in a state
"""

from retrieval.stores.memory.snapshot import MemorySnapshot
from retrieval.stores.memory.store import MemoryCollections, MemoryStore

__all__ = ["MemoryCollections", "MemorySnapshot", "MemoryStore"]
