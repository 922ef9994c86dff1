"""A model that costs next to nothing: a random vector per word piece, averaged. It shows what all else costs.

    python -m evals.bench.static_model FOLDER
    FOOTNOTE_RETRIEVAL__MODEL=FOLDER footnote ingest ...

Same tokenizer, window and dimension as the shipped model, so that chunks are the same; of no use for searching.
"""

import argparse
import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from retrieval.embedders.manifest import MANIFEST, MODEL, SHIPPED, TOKENIZER

_SHIPPED = SHIPPED / "all-MiniLM-L6-v2"


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    print(make(parser.parse_args(arguments).folder))


def make(folder: Path) -> Path:
    """Write model, tokenizer and manifest into `folder`, which may be there already."""
    folder.mkdir(parents=True, exist_ok=True)
    manifest = json.loads((_SHIPPED / MANIFEST).read_text(encoding="utf-8"))
    shutil.copy(_SHIPPED / TOKENIZER, folder / TOKENIZER)
    tokenizer = json.loads((folder / TOKENIZER).read_text(encoding="utf-8"))
    graph = _graph(len(tokenizer["model"]["vocab"]), manifest["dimension"])
    (folder / MODEL).write_bytes(graph)
    files = {**manifest["files"], MODEL: hashlib.sha256(graph).hexdigest()}
    manifest |= {"name": "static", "source": "random numbers", "licence": "none", "files": files}
    (folder / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def _graph(words: int, dimension: int) -> bytes:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    table = np.random.default_rng(0).standard_normal((words, dimension)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "input_ids"], ["token_embeddings"]),
            helper.make_node("ReduceMean", ["token_embeddings", "axes"], ["sentence_embedding"], keepdims=0),
        ],
        "static",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, [1, "tokens"])],
        [
            helper.make_tensor_value_info("token_embeddings", TensorProto.FLOAT, [1, "tokens", dimension]),
            helper.make_tensor_value_info("sentence_embedding", TensorProto.FLOAT, [1, dimension]),
        ],
        [numpy_helper.from_array(table, "table"), numpy_helper.from_array(np.array([1], dtype=np.int64), "axes")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


if __name__ == "__main__":
    main()
