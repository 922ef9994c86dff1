"""A prepared cross-encoder on ONNX Runtime, with nothing but onnxruntime and tokenizers: `footnote models prepare`.

One pair per run of the graph, as many runs at a time as there are threads, for the reasons that `embedders.onnx` gives:
it is faster than padded batches, and a pair's score does not depend on the other pairs.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.cores import usable_cores
from retrieval.embedders.manifest import MODEL, TOKENIZER, read_verified
from retrieval.embedders.onnx import create_session
from retrieval.embedders.tokenizer import encodable
from retrieval.errors import ConfigError
from retrieval.ports import SearchView
from retrieval.records import StoredChunk
from retrieval.rerankers.manifest import Activation, read_cross_encoder
from retrieval.rerankers.scores import checked, texts_of

Ids = NDArray[np.int64]
"""Numbers of tokens, or their types; shape (tokens,)."""


class OnnxReranker:
    """The port `Reranker` on a model folder; files are read, verified and loaded at once, so that a server pays for it
    when it starts and not with its first query.

    `threads` is how many pairs are scored at a time, 0 for one per core that this process may use; each takes one core.
    Raises ModelInvalid when the folder is none of a cross-encoder, or a file is missing or differs from its manifest.
    """

    def __init__(self, folder: Path, *, threads: int = 0) -> None:
        if threads < 0:
            raise ConfigError(f"threads is {threads!r}; use 0 for one per core, or a positive number")
        manifest = read_cross_encoder(folder)
        self.name = f"onnx:{manifest.name}"
        self._manifest = manifest
        self._tokenizer = PairTokenizer(read_verified(folder, manifest, TOKENIZER), window=manifest.window)
        self._session = create_session(read_verified(folder, manifest, MODEL))
        self._threads = threads or usable_cores()
        # It starts no thread before there is work.
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="rerank")

    def rerank(
        self,
        query: str,
        chunks: Sequence[StoredChunk],
        *,
        snapshot: SearchView,  # noqa: ARG002  # texts are enough
    ) -> list[float]:
        outputs = self.outputs(query, texts_of(chunks))
        return checked(_activate(outputs, self._manifest.activation), self.name, len(chunks))

    def outputs(self, query: str, texts: Sequence[str]) -> NDArray[np.float64]:
        """What the graph says of each text, before any activation; shape (len(texts),)."""
        outputs = np.empty(len(texts), dtype=np.float64)
        if not len(texts):
            return outputs
        query_ids = self._tokenizer.ids(query)

        def judge(row: int) -> None:
            ids, types = self._tokenizer.pair(query_ids, self._tokenizer.ids(texts[row]))
            given = {"input_ids": ids[np.newaxis]}
            if self._manifest.token_types:
                given["token_type_ids"] = types[np.newaxis]
            outputs[row] = self._session.run(["score"], given)[0][0]

        # Longest first: the threads then finish at nearly the same time.
        rows = sorted(range(len(texts)), key=lambda row: -len(texts[row]))
        if len(rows) == 1 or self._threads == 1:
            for row in rows:
                judge(row)
        else:
            for _ in self._pool.map(judge, rows):
                pass
        return outputs


class PairTokenizer:
    """Query and text as one sequence, with the special tokens that the model's own tokenizer puts around them.

    `data` is a `tokenizer.json`. Thread-safe. The pairs are put together here: the library would also make every
    combination of what it cuts off, which takes a minute for two very long texts.
    """

    def __init__(self, data: bytes, *, window: int) -> None:
        from tokenizers import Tokenizer  # noqa: PLC0415 - costs 50 ms that most commands need not pay

        self._window = window
        self._tokenizer = Tokenizer.from_buffer(data)
        self._tokenizer.no_padding()  # files carry the settings of whoever saved them
        self._tokenizer.no_truncation()
        self._layout = _layout(self._tokenizer.encode("a", "a"))

    def ids(self, text: str) -> Ids:
        """Ids of the tokens of `text`, all of them and no special ones; shape (tokens,)."""
        return np.array(self._tokenizer.encode(encodable(text), add_special_tokens=False).ids, dtype=np.int64)

    def pair(self, query: Ids, text: Ids) -> tuple[Ids, Ids]:
        """Ids and token types, each of shape (tokens,). What exceeds the window is cut at the end of the longer one:
        a short query stays whole, and of two long ones half of the window is left to each.
        """
        special = self._layout.special
        room = max(0, self._window - sum(len(ids) for ids, _ in special))
        if len(query) + len(text) > room:
            short = min(len(query), len(text), room // 2)
            kept = short if len(query) <= len(text) else room - short
            query, text = query[:kept], text[: room - kept]
        (before, between, after), (query_type, text_type) = special, self._layout.types
        ids = np.concatenate([before[0], query, between[0], text, after[0]])
        types = [before[1], np.full(len(query), query_type), between[1], np.full(len(text), text_type), after[1]]
        return ids, np.concatenate(types)


@dataclass(frozen=True, slots=True)
class _Layout:
    """What stands around a query and a text."""

    special: tuple[tuple[Ids, Ids], tuple[Ids, Ids], tuple[Ids, Ids]]
    """Ids and types of the tokens before the query, between the two and after the text."""
    types: tuple[int, int]
    """Of the query's tokens and of the text's."""


def _layout(pair: Any) -> _Layout:
    """As an encoded pair of two texts shows it."""
    ids, types = np.array(pair.ids, dtype=np.int64), np.array(pair.type_ids, dtype=np.int64)
    places = [[place for place, found in enumerate(pair.sequence_ids) if found == which] for which in (0, 1)]
    (begin, end), (begin_text, end_text) = ((found[0], found[-1] + 1) for found in places)
    stretches = (slice(None, begin), slice(end, begin_text), slice(end_text, None))
    before, between, after = ((ids[stretch], types[stretch]) for stretch in stretches)
    return _Layout((before, between, after), (int(types[begin]), int(types[begin_text])))


def _activate(outputs: NDArray[np.float64], activation: Activation) -> NDArray[np.float64]:
    # The two forms of one function; each is exact where the other would overflow. In 64 bits, for in 32 all outputs
    # above 17 are 1.
    if activation == "identity":
        return outputs
    small = np.exp(-np.abs(outputs))
    return np.asarray(np.where(outputs >= 0, 1.0, small) / (1.0 + small))
