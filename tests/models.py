"""A second real model for tests, made of the shipped one in a second, without torch."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from retrieval.embedders.manifest import MODEL, SHIPPED, TOKENIZER, read_manifest, write_manifest

_OUTPUT = "sentence_embedding"


def make_part_model(models_path: Path, name: str, *, dimension: int) -> Path:
    """The folder of a model with the first so many dimensions of the shipped one: the fewer, the worse."""
    onnx = pytest.importorskip("onnx")
    shipped = SHIPPED / "all-MiniLM-L6-v2"
    graph = onnx.load(str(shipped / MODEL))
    for node in graph.graph.node:
        node.output[:] = ["whole" if output == _OUTPUT else output for output in node.output]
        node.input[:] = ["whole" if given == _OUTPUT else given for given in node.input]
    for what, value in (("starts", 0), ("ends", dimension), ("axes", -1)):
        graph.graph.initializer.append(onnx.numpy_helper.from_array(np.array([value], dtype=np.int64), f"part_{what}"))
    inputs = ["whole", "part_starts", "part_ends", "part_axes"]
    graph.graph.node.append(onnx.helper.make_node("Slice", inputs, [_OUTPUT]))
    graph.graph.output[0].type.tensor_type.shape.dim[-1].dim_value = dimension
    folder = models_path / name
    folder.mkdir(parents=True)
    model = graph.SerializeToString()
    (folder / MODEL).write_bytes(model)
    (folder / TOKENIZER).write_bytes((shipped / TOKENIZER).read_bytes())
    manifest = read_manifest(shipped)
    files = {**manifest.files, MODEL: hashlib.sha256(model).hexdigest()}
    write_manifest(folder, replace(manifest, name=name, dimension=dimension, files=files))
    return folder
