"""The chunk ids of a segment as two arrays, so that a search names what it found without asking the catalog."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.stores.postings import Mask


@dataclass(frozen=True, slots=True, eq=False)
class Ids:
    """Ids of varying length, by position."""

    text: NDArray[np.uint8]
    """All of them in UTF-8, one after the other."""
    starts: NDArray[np.int64]
    """Shape (n + 1,): id i is text[starts[i]:starts[i + 1]]."""

    def __len__(self) -> int:
        return len(self.starts) - 1

    def at(self, positions: NDArray[np.int64]) -> list[str]:
        """The ids at some positions."""
        text = self.text.data
        ends = self.starts[positions + 1].tolist()
        return [str(text[begin:end], "utf-8") for begin, end in zip(self.starts[positions].tolist(), ends, strict=True)]


def build(ids: Sequence[str]) -> Ids:
    """From strings, by position."""
    encoded = [chunk_id.encode("utf-8") for chunk_id in ids]
    starts = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    return Ids(np.frombuffer(b"".join(encoded), dtype=np.uint8), starts)


def merge(parts: Sequence[Ids], alive: Sequence[Mask]) -> Ids:
    """Those of live chunks, one part after the other."""
    texts, lengths = [], [np.zeros(1, dtype=np.int64)]
    for part, live in zip(parts, alive, strict=True):
        length = np.diff(part.starts)[live]
        texts.append(part.text[ranges(part.starts[:-1][live], length)])
        lengths.append(length)
    return Ids(np.concatenate(texts), np.cumsum(np.concatenate(lengths), dtype=np.int64))


def ranges(first: NDArray[np.int64], count: NDArray[np.int64]) -> NDArray[np.int64]:
    """first[0], first[0] + 1, ... (count[0] of them), then those from first[1], and so on."""
    ends = np.cumsum(count, dtype=np.int64)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total, dtype=np.int64) + np.repeat(first - ends + count, count)
