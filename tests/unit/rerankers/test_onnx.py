"""The reranker on ONNX Runtime, and what `prepare` makes for it."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retrieval.embedders.manifest import MANIFEST, MODEL, SHIPPED, list_models, read_manifest, resolve_model
from retrieval.embedders.onnx import OnnxEmbedder
from retrieval.errors import ConfigError, ModelInvalid
from retrieval.rerankers.cross_encoder import CrossEncoderReranker
from retrieval.rerankers.manifest import list_cross_encoders, read_cross_encoder
from retrieval.rerankers.onnx import OnnxReranker, PairTokenizer
from retrieval.rerankers.prepare import prepare_cross_encoder, spearman
from tests.unit.rerankers.conftest import VIEW, chunks_of, make_bert, make_xlm_roberta

pytest.importorskip("onnx")
pytest.importorskip("sentence_transformers")

QUERY = "pump pressure"
TEXTS = ("the valve is closed", "never start the pump dry", "oil", "", "water pressure must be low " * 40)


@pytest.fixture(scope="module")
def reranker(tiny_models: Path) -> OnnxReranker:
    return OnnxReranker(tiny_models / "tiny-ranker", threads=2)


def _copy(folder: Path, to: Path, **changes: Any) -> Path:
    to.mkdir()
    for file in folder.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    values = json.loads((to / MANIFEST).read_text(encoding="utf-8")) | changes
    (to / MANIFEST).write_text(json.dumps(values), encoding="utf-8")
    return to


def _outputs_of_source(folder: Path, query: str, texts: tuple[str, ...]) -> list[float]:
    import torch
    from sentence_transformers import CrossEncoder

    model = CrossEncoder(str(folder), local_files_only=True)
    pairs = [(query, text) for text in texts]
    identity = torch.nn.Identity()
    return [float(value) for value in model.predict(pairs, activation_fn=identity, show_progress_bar=False)]


def test_pairs_are_encoded_as_by_the_source(
    tiny_cross_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not quantised, it has the outputs of torch, for texts within the window, far beyond it, and an empty one."""
    monkeypatch.setattr("retrieval.rerankers.prepare.quantise", shutil.copy)
    manifest = prepare_cross_encoder(tiny_cross_encoder, models_path=tmp_path)
    assert (manifest.correlation, manifest.difference_max) == (1.0, 0.0)
    wanted = _outputs_of_source(tiny_cross_encoder, QUERY, TEXTS)
    assert OnnxReranker(tmp_path / "tiny-ranker").outputs(QUERY, TEXTS) == pytest.approx(wanted, abs=1e-4)


def test_the_activation_is_the_models(reranker: OnnxReranker) -> None:
    """The manifest says sigmoid; outputs that are far from zero still differ in 64 bits."""
    outputs = reranker.outputs(QUERY, TEXTS)
    scores = reranker.rerank(QUERY, chunks_of(*TEXTS), snapshot=VIEW)
    assert scores == pytest.approx([1 / (1 + math.exp(-output)) for output in outputs])


def test_a_score_depends_on_its_pair_only(reranker: OnnxReranker, tiny_models: Path) -> None:
    """Alone or among others, with one thread or with two: equal to the last bit."""
    together = reranker.rerank(QUERY, chunks_of(*TEXTS), snapshot=VIEW)
    single = OnnxReranker(tiny_models / "tiny-ranker", threads=1)
    assert [single.rerank(QUERY, chunks_of(text), snapshot=VIEW)[0] for text in TEXTS] == together


def test_the_manifest_describes_the_model(tiny_models: Path) -> None:
    """Window, token types, activation, licence and how near it is to its source."""
    (manifest,) = list_cross_encoders(tiny_models)
    assert (manifest.name, manifest.window, manifest.token_types, manifest.activation) == (
        "tiny-ranker", 64, True, "sigmoid",
    )  # fmt: skip
    assert manifest.licence == "mit"
    assert manifest.correlation >= 0.9
    assert manifest.difference_max <= 0.15


def test_a_model_without_token_types_is_prepared_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """XLM-RoBERTa: two separators between query and text, one kind of token, two positions that are never used."""
    monkeypatch.setattr("retrieval.rerankers.prepare.quantise", shutil.copy)
    source = make_xlm_roberta(tmp_path / "roberta")
    manifest = prepare_cross_encoder(source, models_path=tmp_path / "models")
    assert (manifest.token_types, manifest.window) == (False, 64)
    ours = OnnxReranker(tmp_path / "models" / "roberta")
    ids, _ = ours._tokenizer.pair(ours._tokenizer.ids("oil"), ours._tokenizer.ids("water"))
    assert [int(place) for place in np.flatnonzero(ids == 2)] == [2, 3, 5]  # <s> oil </s></s> water </s>
    theirs = CrossEncoderReranker(str(source)).rerank(QUERY, chunks_of(*TEXTS), snapshot=VIEW)
    assert ours.rerank(QUERY, chunks_of(*TEXTS), snapshot=VIEW) == pytest.approx(theirs, abs=1e-4)


def test_an_identity_is_kept(tmp_path: Path) -> None:
    """Models for MS MARCO give the output itself."""
    source = make_bert(tmp_path / "plain", activation="linear.Identity")
    assert prepare_cross_encoder(source, models_path=tmp_path / "models").activation == "identity"
    ours = OnnxReranker(tmp_path / "models" / "plain")
    assert ours.rerank(QUERY, chunks_of(*TEXTS), snapshot=VIEW) == list(ours.outputs(QUERY, TEXTS))


def test_other_activations_are_refused(tmp_path: Path) -> None:
    """What is not known is not guessed, and nothing is left behind."""
    source = make_bert(tmp_path / "odd", activation="activation.Tanh")
    with pytest.raises(ConfigError, match="activation 'Tanh'"):
        prepare_cross_encoder(source, models_path=tmp_path / "models")
    assert list((tmp_path / "models").iterdir()) == []


def test_a_model_that_strays_is_refused(
    tiny_cross_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says by how much, and no model folder appears."""
    monkeypatch.setattr("retrieval.rerankers.prepare.ALLOWED_DIFFERENCE", 0.0)
    with pytest.raises(ModelInvalid, match=r"rank correlation 0\.9.*at most 0% is allowed"):
        prepare_cross_encoder(tiny_cross_encoder, models_path=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_no_onnx_file_holds_is_refused(
    tiny_cross_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its size, the limit, and what to use instead, rather than a protobuf error after minutes."""
    monkeypatch.setattr("retrieval.embedders.quantise.MAX_BYTES", 2**20)
    with pytest.raises(ConfigError, match=r"0\.0 GB of weights.*through sentence-transformers"):
        prepare_cross_encoder(tiny_cross_encoder, models_path=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_model_without_opinions_is_refused(tmp_path: Path) -> None:
    """One that gives all pairs the same score has no correlation at all."""
    import torch
    from safetensors.torch import load_file, save_file

    folder = make_bert(tmp_path / "same")
    weights = load_file(folder / "model.safetensors")
    weights["classifier.weight"] = torch.zeros_like(weights["classifier.weight"])
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelInvalid, match="rank correlation nan"):
        prepare_cross_encoder(folder, models_path=tmp_path / "models")


def test_a_long_text_leaves_the_query_whole(tiny_models: Path) -> None:
    """The longer one is cut; of two long ones each keeps half."""
    data = (tiny_models / "tiny-ranker" / "tokenizer.json").read_bytes()
    tokenizer = PairTokenizer(data, window=20)
    query, valve = tokenizer.ids("pump oil water"), int(tokenizer.ids("valve")[0])
    ids, types = tokenizer.pair(query, tokenizer.ids("valve " * 500))
    assert (len(ids), int((types == 0).sum())) == (20, 5)  # [CLS], the query's three, [SEP]
    assert list(ids[1:4]) == list(query)
    assert list(ids[5:19]) == [valve] * 14
    ids, types = tokenizer.pair(tokenizer.ids("pump " * 500), tokenizer.ids("valve " * 500))
    assert (len(ids), list(ids).count(valve)) == (20, 9)
    ids, types = tokenizer.pair(tokenizer.ids("pump " * 500), tokenizer.ids("valve"))
    assert (len(ids), list(ids).count(valve)) == (20, 1)


@pytest.mark.parametrize("sizes", [(0, 0), (1, 1), (3, 500), (500, 3), (500, 500), (8, 9), (9, 8), (30, 9), (9, 30)])
@pytest.mark.parametrize("window", [19, 20])
def test_pairs_are_put_together_as_by_the_library(tiny_models: Path, sizes: tuple[int, int], window: int) -> None:
    """The same ids and types, whichever of the two is cut."""
    from tokenizers import Tokenizer

    data = (tiny_models / "tiny-ranker" / "tokenizer.json").read_bytes()
    library, ours = Tokenizer.from_buffer(data), PairTokenizer(data, window=window)
    library.enable_truncation(window, strategy="longest_first")
    query, text = ("pump oil " * 250)[: 5 * sizes[0]], ("valve low " * 250)[: 5 * sizes[1]]
    wanted = library.encode(query, text)
    ids, types = ours.pair(ours.ids(query), ours.ids(text))
    assert (list(ids), list(types)) == (wanted.ids, wanted.type_ids)


def test_files_are_held_against_the_manifest(tiny_models: Path, tmp_path: Path) -> None:
    """A model file that was exchanged is not run."""
    folder = _copy(tiny_models / "tiny-ranker", tmp_path / "changed")
    (folder / MODEL).write_bytes((folder / MODEL).read_bytes()[:-1])
    with pytest.raises(ModelInvalid, match="the manifest says"):
        OnnxReranker(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "format 2"),
        ({"activation": "softmax"}, "activation"),
        ({"window": 0}, "window"),
        ({"token_types": 1}, "token_types"),
        ({"surplus": 1}, "surplus"),
        ({"files": {}}, "files"),
        ({"kind": "translator"}, "holds no cross-encoder but 'translator'"),
    ],
)
def test_a_wrong_manifest_is_refused(tiny_models: Path, tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    """A field of the wrong kind or an unknown one is named."""
    with pytest.raises(ModelInvalid, match=message):
        OnnxReranker(_copy(tiny_models / "tiny-ranker", tmp_path / "bad", **changes))


def test_the_two_kinds_are_told_apart(tiny_models: Path) -> None:
    """An embedder is no reranker and the other way round; each error says which setting takes it."""
    shipped = SHIPPED / "all-MiniLM-L6-v2"
    with pytest.raises(ModelInvalid, match=r"no cross-encoder but 'embedder'.*retrieval\.embedder.*rerank_model"):
        OnnxReranker(shipped)
    with pytest.raises(ModelInvalid, match=r"no embedder but 'cross-encoder'.*rerank_model"):
        OnnxEmbedder(tiny_models / "tiny-ranker")
    assert [manifest.name for manifest in list_models(tiny_models)] == ["all-MiniLM-L6-v2"]
    assert read_manifest(shipped).name == "all-MiniLM-L6-v2"
    assert read_cross_encoder(tiny_models / "tiny-ranker").kind == "cross-encoder"


def test_unknown_names_list_the_known_ones_of_the_kind(tiny_models: Path) -> None:
    """Who looks for a cross-encoder is not shown embedders."""
    with pytest.raises(ConfigError, match="known: tiny-ranker; make others"):
        resolve_model("nope", tiny_models, "cross-encoder")


def test_threads_are_checked(tiny_models: Path) -> None:
    """A negative number is a mistake."""
    with pytest.raises(ConfigError, match="threads is -1"):
        OnnxReranker(tiny_models / "tiny-ranker", threads=-1)


def test_spearman_is_spearmans() -> None:
    """As SciPy has it, ties included; of a constant there is none."""
    stats = pytest.importorskip("scipy.stats")
    left, right = np.array([3.0, 1.0, 1.0, 7.0, 2.0]), np.array([0.1, 0.3, 0.2, 0.9, 0.2])
    assert spearman(left, right) == pytest.approx(stats.spearmanr(left, right).statistic)
    assert math.isnan(spearman(left, np.ones(5)))
