"""Taking vectors out of a short way without building it again: a purge of one document shall not take a minute.

A node of a graph cannot go, since others are reached by its links. It stays as a waymark: it leads to no chunk any
more, and in the place of its own code it has that of a neighbour which lives. Merging segments clears waymarks away.
"""

from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from retrieval.stores.faiss.dense import Short
from retrieval.stores.postings import Mask

MOST_WAYMARKS = 0.05
"""Of all nodes: each is looked at in vain. With more, a graph is built anew."""


def without(short: Short, alive: Mask) -> Short | None:
    """The short way to the vectors that live, in their new places; None when it has to be built anew.

    `alive` has shape (n,), by position. Of what is gone, no code is left; the bounds of the 8-bit codes stay as they
    were learnt.
    """
    if short.kind != "hnsw":
        return None  # quick to build
    nodes = short.index.ntotal
    of_node = np.repeat(np.arange(nodes), np.diff(short.starts))
    living = alive[short.members]
    count = np.bincount(of_node[living], minlength=nodes)
    waymarks = np.flatnonzero(count == 0)
    if len(waymarks) > MOST_WAYMARKS * nodes:
        return None
    place = np.cumsum(alive) - 1
    members = place[short.members[living]].astype(np.int32)
    starts = np.concatenate([[0], np.cumsum(count)]).astype(np.int32)
    index = _with_codes_of_neighbours(short.index, waymarks)
    return None if index is None else Short(short.kind, index, members, starts)


def _with_codes_of_neighbours(mapped: Any, waymarks: NDArray[np.int64]) -> Any | None:
    """A copy of a graph in which `waymarks` have the codes of nodes near them that are none."""
    sources = _sources(mapped, waymarks)
    if sources is None:
        return None
    index: Any = faiss.deserialize_index(faiss.serialize_index(mapped))
    storage: Any = faiss.downcast_index(index.storage)
    codes = faiss.rev_swig_ptr(storage.codes.data(), index.ntotal * storage.code_size)
    codes = codes.reshape(index.ntotal, storage.code_size)
    codes[waymarks] = codes[sources]
    return index


def _sources(index: Any, waymarks: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """For each waymark a node that lives, by as few links as can be; None when there is one without."""
    offsets = faiss.vector_to_array(index.hnsw.offsets)
    links = faiss.vector_to_array(index.hnsw.neighbors)
    width = index.hnsw.nb_neighbors(0)
    source = np.arange(index.ntotal)
    source[waymarks] = -1
    pending = waymarks
    while len(pending):
        found = []
        for node in pending.tolist():
            near = links[int(offsets[node]) : int(offsets[node]) + width]
            known = source[near[near >= 0]]
            found.append(next(iter(known[known >= 0].tolist()), -1))
        source[pending] = found
        if max(found) < 0:
            return None
        pending = pending[source[pending] < 0]
    of_waymarks: NDArray[np.int64] = source[waymarks]
    return of_waymarks
