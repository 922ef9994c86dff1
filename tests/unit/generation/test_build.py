"""Settings to chat models."""

import pytest
from pydantic import ValidationError

from generation.build import build_answerer, build_chat_model
from generation.settings import GenerationSettings
from retrieval.errors import ConfigError
from retrieval.retriever import Retriever


def test_the_default_needs_nothing() -> None:
    """No server, no key."""
    assert build_chat_model(GenerationSettings()).name == "extractive"


def test_names_the_model_that_is_set() -> None:
    """As it shows in answers."""
    openai = GenerationSettings(chat_model="openai", base_url="http://localhost:1/v1", model="tiny")
    assert build_chat_model(openai).name == "openai:tiny"
    bedrock = GenerationSettings(chat_model="bedrock", region="eu-central-1", model="amazon.nova-lite-v1:0")
    assert build_chat_model(bedrock).name == "bedrock:amazon.nova-lite-v1:0"


@pytest.mark.parametrize(
    ("values", "missing"),
    [
        ({"chat_model": "openai", "model": "tiny"}, "generation.base_url"),
        ({"chat_model": "openai", "base_url": "http://localhost:1/v1"}, "generation.model"),
        ({"chat_model": "bedrock"}, "generation.model"),
    ],
)
def test_a_setting_that_is_needed_is_named(values: dict[str, str], missing: str) -> None:
    """With an example."""
    with pytest.raises(ConfigError, match=f"{missing} is empty.*for example"):
        build_chat_model(GenerationSettings.model_validate(values))


@pytest.mark.parametrize("values", [{"threshold": 1.5}, {"k": 0}, {"max_sentences": 0}, {"colour": "red"}])
def test_settings_out_of_bounds_are_refused(values: dict[str, object]) -> None:
    """By name."""
    with pytest.raises(ValidationError, match=next(iter(values))):
        GenerationSettings.model_validate(values)


def test_the_key_does_not_show() -> None:
    """Neither in the settings' text nor in their JSON."""
    settings = GenerationSettings(chat_model="openai", api_key="s3cret")
    assert "s3cret" not in repr(settings) + settings.model_dump_json()


def test_an_answerer_has_the_settings(retriever: Retriever) -> None:
    """And uses the retriever's embedder."""
    answerer = build_answerer(retriever, GenerationSettings(max_sentences=1))
    assert answerer.settings.max_sentences == 1
    assert len(answerer.answer("How many passengers and cars does she carry?").sentences) == 1
