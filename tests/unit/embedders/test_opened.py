"""The embedder of an edition is found again by its description, whatever is configured now."""

from pathlib import Path

import pytest

from retrieval.build import build_embedder, build_embedders
from retrieval.embedders.bedrock import BedrockEmbedder
from retrieval.embedders.manifest import SHIPPED
from retrieval.errors import ConfigError, EmbedderMismatch, EmbedderUnavailable
from retrieval.records import EmbedderInfo
from retrieval.settings import RetrievalSettings
from tests.fakes import FakeEmbedder
from tests.unit.embedders.services import Call, Reply, openai_embeddings, serving

MODEL = "all-MiniLM-L6-v2"


def link_of_the_shipped_model(folder: Path) -> Path:
    """A folder with the same files under another name."""
    folder.symlink_to(SHIPPED / MODEL, target_is_directory=True)
    return folder


def test_the_configured_one_is_taken_when_it_is_the_same() -> None:
    """Nothing else is opened, and it is opened once."""
    embedders = build_embedders(RetrievalSettings())
    info = build_embedder(RetrievalSettings()).info
    assert embedders.of(info) is embedders.of(info)
    assert (info.adapter, info.model) == ("onnx", MODEL)
    fake = FakeEmbedder()
    assert build_embedders(RetrievalSettings(), fake).of(fake.info) is fake


def test_another_one_is_opened_by_what_the_edition_remembers() -> None:
    """The collection was made with the shipped model; configured is something else by now."""
    info = build_embedder(RetrievalSettings()).info
    found = build_embedders(RetrievalSettings(model="other"), FakeEmbedder(name="other")).of(info)
    assert found.info == info
    assert found.embed_queries(["pump"]).shape == (1, 384)


def test_a_model_that_has_moved_is_still_the_same(tmp_path: Path) -> None:
    """Where it lies is no part of what it computes: the same files under another path will do."""
    first = build_embedder(RetrievalSettings(model=str(link_of_the_shipped_model(tmp_path / "a")))).info
    assert first.model == str(tmp_path / "a")
    (tmp_path / "a").unlink()
    assert build_embedders(RetrievalSettings()).of(first).info == first


def test_a_folder_is_remembered_by_its_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next command may run in another directory."""
    link_of_the_shipped_model(tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    info = build_embedder(RetrievalSettings(model="mine")).info
    assert info.model == str(tmp_path / "mine")


@pytest.mark.parametrize(
    ("info", "message"),
    [
        (EmbedderInfo("gone", "0" * 64, 64, 256, adapter="onnx", model="/nowhere/gone"), "cannot be opened.*unknown"),
        (EmbedderInfo("mine", "0" * 64, 64, 256, adapter="onnx", model=MODEL), "differs in its name.*reindex"),
        (EmbedderInfo("fake", "1" * 64, 64, 256), "differs in its files or settings"),
    ],
)
def test_what_cannot_be_had_is_refused(info: EmbedderInfo, message: str) -> None:
    """A model that is gone, or is not the one that it was: an error that says what to do, never another model."""
    with pytest.raises(EmbedderMismatch, match=message):
        build_embedders(RetrievalSettings(), FakeEmbedder()).of(info)


def test_an_edition_of_a_service_is_opened_as_it_was_made() -> None:
    """With its model, prefixes, window and dimension, at the address that is configured now."""
    with serving(then=openai_embeddings) as served:
        made_with = RetrievalSettings(
            embedder="http", model="m", embedder_url=f"{served.url}/v1", dimensions=16, query_prefix="query: "
        )
        info = build_embedder(made_with).info
        now = made_with.model_copy(update={"dimensions": 0, "query_prefix": None, "embedder_window": 99, "model": "n"})
        found = build_embedders(now).of(info)
        assert found.info == info
        assert found.embed_queries(["pump"]).shape == (1, 16)
        assert served.calls[-1].body == {
            "model": "m", "input": ["query: pump"], "encoding_format": "float", "dimensions": 16,
        }  # fmt: skip


def test_an_edition_of_all_dimensions_asks_for_none() -> None:
    """A server whose model knows no others refuses the question."""
    with serving(then=openai_embeddings) as served:
        settings = RetrievalSettings(embedder="http", model="m", embedder_url=f"{served.url}/v1")
        info = build_embedder(settings).info
        build_embedders(settings.model_copy(update={"dimensions": 16})).of(info).embed_queries(["pump"])
    assert all("dimensions" not in call.body for call in served.calls)


def test_a_service_that_answers_by_another_model_is_refused() -> None:
    """Its name is the same; the dimension tells."""
    with serving(then=openai_embeddings) as served:
        settings = RetrievalSettings(embedder="http", model="m", embedder_url=f"{served.url}/v1")
        info = EmbedderInfo("http:m", "", 768, 512, pooling="service", adapter="http", model="m")
        with pytest.raises(EmbedderMismatch, match=r"'http:m', which differs .*dimension 768, not 64"):
            build_embedders(settings).of(info)


def test_a_service_without_an_address_cannot_be_opened() -> None:
    """The error names the setting."""
    info = EmbedderInfo("http:m", "", 64, 512, pooling="service", adapter="http", model="m")
    with pytest.raises(EmbedderMismatch, match=r"'http:m', which cannot be opened: retrieval\.embedder_url"):
        build_embedders(RetrievalSettings()).of(info)


def test_a_service_that_is_away_is_no_mismatch() -> None:
    """Nothing has to be embedded anew for an outage."""
    settings = RetrievalSettings(
        embedder="http", model="m", embedder_url="http://127.0.0.1:9/v1", embedder_retries=0, embedder_timeout=1
    )
    info = EmbedderInfo("http:m", "", 64, 512, pooling="service", adapter="http", model="m")
    with pytest.raises(EmbedderUnavailable):
        build_embedders(settings).of(info)


def test_an_edition_of_the_shipped_model_needs_no_service() -> None:
    """What is configured now is not for it: neither its prefixes and dimensions, nor the server, which is away."""
    info = build_embedder(RetrievalSettings()).info
    now = RetrievalSettings(
        embedder="http", model="m", embedder_url="http://127.0.0.1:9/v1", query_prefix="query: ", embedder_retries=0
    )
    assert build_embedders(now).of(info).info == info


def test_editions_of_one_model_in_two_lengths_are_told_apart(tiny_source: Path) -> None:
    """The first 16 numbers of a vector are no vector of 128."""
    settings = RetrievalSettings(embedder="sentence-transformers", model=str(tiny_source), dimensions=16)
    short = build_embedder(settings).info
    whole = build_embedder(settings.model_copy(update={"dimensions": 0})).info
    embedders = build_embedders(settings)
    assert embedders.of(short).embed_queries(["pump"]).shape == (1, 16)
    assert embedders.of(whole).embed_queries(["pump"]).shape == (1, 128)


@pytest.mark.parametrize("setting", [{"dimensions": 16}, {"query_prefix": "q: "}, {"document_prefix": "d: "}])
def test_what_a_prepared_model_does_not_do_is_refused(setting: dict[str, object]) -> None:
    """In silence it would look as if it did."""
    with pytest.raises(ConfigError, match=f"retrieval.{next(iter(setting))} = .* is not for the embedder 'onnx'"):
        build_embedder(RetrievalSettings(**setting))


def test_an_edition_of_one_model_asks_no_other() -> None:
    """The one that is configured may be on its way to the server, and not there yet."""

    def knows_m(call: Call) -> Reply:
        return openai_embeddings(call) if call.body["model"] == "m" else Reply({"error": "no such model"}, 404)

    with serving(then=knows_m) as served:
        settings = RetrievalSettings(embedder="http", model="m", embedder_url=f"{served.url}/v1")
        info = build_embedder(settings).info
        assert build_embedders(settings.model_copy(update={"model": "n"})).of(info).info == info


def test_an_edition_of_bedrock_is_not_asked_of_another_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """The address that is configured for /v1/embeddings is none of AWS's."""
    pytest.importorskip("boto3")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    info = build_embedder(RetrievalSettings(embedder="bedrock", model="amazon.titan-embed-text-v2:0")).info
    found = build_embedders(RetrievalSettings(embedder="http", model="m", embedder_url="http://127.0.0.1:9/v1")).of(
        info
    )
    assert isinstance(found, BedrockEmbedder)
    assert found.endpoint == "https://bedrock-runtime.eu-central-1.amazonaws.com"
