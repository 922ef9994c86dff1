"""From a question to an answer: what is answered, what is declined, what never gets out."""

import re
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from generation.answerer import Answerer
from generation.build import build_answerer
from generation.records import Answer, AnswerEvent, SentenceEvent
from generation.settings import GenerationSettings
from retrieval.errors import InvalidQuery, UnknownField
from retrieval.filters import parse
from retrieval.retriever import Retriever
from tests.unit.generation.ferry import TEXTS, AnswererOf, ScriptedModel, chunk_of

QUESTION = "How many days of annual leave?"


def _verbatim(answer: Answer) -> bool:
    return all(
        TEXTS[citation.doc_id][citation.start : citation.end] == citation.quote and citation.quote
        for sentence in answer.sentences
        for citation in sentence.citations
    )


def test_the_extractive_answer_is_cited_throughout(retriever: Retriever) -> None:
    """Every sentence is in its quote word for word."""
    answer = build_answerer(retriever, GenerationSettings(threshold=0.1)).answer(QUESTION)
    assert (answer.status, answer.collection, answer.model) == ("answered", "ferry", "extractive")
    assert answer.sentences[0].text == "Every employee has 27 days of paid annual leave."
    assert all(sentence.citations[0].support == 1.0 for sentence in answer.sentences)
    assert _verbatim(answer)
    assert {"retrieve", "evidence", "write"} <= answer.timings.keys()


def test_declines_in_words_that_say_why(retriever: Retriever) -> None:
    """The closest passage and what it lacks; no citations."""
    answer = build_answerer(retriever, GenerationSettings(threshold=0.5)).answer("Who painted the ceiling in Rome?")
    (sentence,) = answer.sentences
    assert (answer.status, sentence.citations) == ("declined", ())
    assert "'ferry'" in sentence.text
    assert "does not mention" in sentence.text
    assert "“ceiling”" in sentence.text
    assert answer.evidence < 0.5


def test_declines_when_the_filter_leaves_nothing(retriever: Retriever, store: object) -> None:
    """Nothing found is no evidence, whatever the threshold."""
    answerer = build_answerer(retriever, GenerationSettings(threshold=0.0))
    answer = answerer.answer(QUESTION, filter=parse({"doc_id": "nothing"}))
    assert answer.status == "declined"
    assert "filter" in answer.text


@pytest.mark.parametrize("question", ["", "  \n", "?!", "x" * 2001])
def test_refuses_questions_that_are_none(retriever: Retriever, question: str) -> None:
    """Empty, without words, too long: at once, before anything is searched."""
    with pytest.raises(InvalidQuery, match="question"):
        build_answerer(retriever, GenerationSettings()).stream(question)


def test_refuses_an_impossible_k_and_an_unknown_field(retriever: Retriever) -> None:
    """Errors of retrieval pass through."""
    answerer = build_answerer(retriever, GenerationSettings())
    with pytest.raises(InvalidQuery, match="k = 0"):
        answerer.answer(QUESTION, k=0)
    with pytest.raises(UnknownField):
        answerer.answer(QUESTION, filter=parse({"colour": "red"}))


def test_what_a_model_writes_is_verified(answerer_of: AnswererOf) -> None:
    """Right markers are kept, wrong ones dropped and counted, sentences without any are shown uncited."""
    number = chunk_of(answerer_of(ScriptedModel()), QUESTION, "leave")
    model = ScriptedModel(f"Employees have 27 days of annual leave [{number}][9]. ", "That is rather generous.")
    answer = answerer_of(model).answer(QUESTION)
    assert [(sentence.text, len(sentence.citations)) for sentence in answer.sentences] == [
        ("Employees have 27 days of annual leave.", 1),
        ("That is rather generous.", 0),
    ]
    assert answer.dropped_citations == 1
    assert _verbatim(answer)


@pytest.mark.parametrize(
    "said",
    [
        "I DO NOT KNOW",
        "I don't know. [1]",
        "The sources do not contain this information [1].",
        "Unfortunately, the provided documents do not mention it.",
        "",
    ],
)
def test_a_model_that_does_not_know_declines(answerer_of: AnswererOf, said: str) -> None:
    """Whatever it cites for that."""
    answer = answerer_of(ScriptedModel(said)).answer(QUESTION)
    assert answer.status == "declined"
    assert "found no answer" in answer.text


def test_an_answer_without_any_verified_citation_is_withheld(answerer_of: AnswererOf) -> None:
    """It is not shown, not even in a stream."""
    answerer = answerer_of(ScriptedModel("Paris fell in 1871 [1]. ", "It was cold [7]."))
    events = list(answerer.stream(QUESTION))
    assert [type(event) for event in events] == [AnswerEvent]
    answer = answerer.answer(QUESTION)
    assert (answer.status, answer.dropped_citations) == ("declined", 2)
    assert "withheld" in answer.text
    assert "Paris" not in answer.text


def test_a_stream_ends_with_the_same_answer(answerer_of: AnswererOf) -> None:
    """The sentences streamed are those of the whole, and the whole is the one that is not streamed."""
    number = chunk_of(answerer_of(ScriptedModel()), QUESTION, "leave")
    text = f"Well. Every employee has 27 days of paid annual leave. [{number}] They lapse on 31 March [{number}]. So."
    *events, last = answerer_of(ScriptedModel(*text)).stream(QUESTION)
    assert isinstance(last, AnswerEvent)
    assert [event.sentence for event in events if isinstance(event, SentenceEvent)] == list(last.answer.sentences)
    assert last.answer.sentences == answerer_of(ScriptedModel(text)).answer(QUESTION).sentences
    assert len(last.answer.sentences) == 4


def test_sentences_come_while_the_model_still_writes(answerer_of: AnswererOf) -> None:
    """The first verified sentence does not wait for the last."""
    number = chunk_of(answerer_of(ScriptedModel()), QUESTION, "leave")
    model = ScriptedModel(f"They lapse on 31 March [{number}]. And", " then more. ", "More still. ", "The end.")
    stream = answerer_of(model).stream(QUESTION)
    assert isinstance(next(iter(stream)), SentenceEvent)
    assert model.said < 4


def test_closing_the_stream_stops_the_model(answerer_of: AnswererOf) -> None:
    """A reader who leaves does not pay for the rest."""
    number = chunk_of(answerer_of(ScriptedModel()), QUESTION, "leave")
    model = ScriptedModel(f"They lapse on 31 March [{number}].\n", "More. ", "More still.")
    stream = answerer_of(model).stream(QUESTION)
    next(stream)
    stream.close()  # type: ignore[attr-defined]  # it is a generator
    assert model.closed
    assert model.said < 3


def test_an_answer_comes_from_one_view(
    answerer_of: AnswererOf, replace: Callable[[str, str], None], retriever: Retriever
) -> None:
    """A document that is replaced while the model writes is still cited in the version that was retrieved."""
    number = chunk_of(answerer_of(ScriptedModel()), QUESTION, "leave")

    class Slow(ScriptedModel):
        def stream(self, request):  # type: ignore[no-untyped-def]
            replace("leave", "Something else altogether.")
            yield from super().stream(request)

    answer = answerer_of(Slow(f"They lapse on 31 March. [{number}]")).answer(QUESTION)
    assert answer.sentences[0].citations
    assert _verbatim(answer)


def test_text_in_a_document_cannot_pose_as_a_citation(retriever: Retriever) -> None:
    """Brackets of the source stay text, and the citation is of the place where they stand."""
    answerer = build_answerer(retriever, GenerationSettings(threshold=0.0, max_sentences=1))
    answer = answerer.answer("How many EUR is the fee?")
    (sentence,) = answer.sentences
    assert "12 EUR [3]" in sentence.text
    assert [citation.doc_id for citation in sentence.citations] == ["hostile"]


_GARBAGE = st.lists(
    st.one_of(
        st.sampled_from(["[1]", "[2]", "[3]", "[4]", "[1-9]", "[", "]", "【2】", "[1, 99]", "[0]", "\n", ". ", " | "]),
        st.sampled_from(re.findall(r"\S+\s?", " ".join(TEXTS.values()))),
        st.sampled_from(re.findall(r"[^.]+\.", " ".join(TEXTS.values()))),
        st.text(max_size=8),
    ),
    max_size=30,
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(pieces=_GARBAGE)
def test_no_unverified_citation_gets_out(answerer_of: AnswererOf, pieces: list[str]) -> None:
    """Promise 2: whatever a model emits, each citation is verbatim; a declined answer has none."""
    *events, last = answerer_of(ScriptedModel(*pieces)).stream(QUESTION)
    assert isinstance(last, AnswerEvent)
    answer = last.answer
    assert _verbatim(answer)
    assert all(0 < citation.support <= 1 for sentence in answer.sentences for citation in sentence.citations)
    cited = any(sentence.citations for sentence in answer.sentences)
    assert cited == (answer.status == "answered")
    streamed = [event.sentence for event in events if isinstance(event, SentenceEvent)]
    assert streamed == (list(answer.sentences) if cited else [])


def test_the_answerer_keeps_what_it_was_given(retriever: Retriever) -> None:
    """Its parts are readable, for those who build on it."""
    answerer = Answerer(retriever, ScriptedModel(), GenerationSettings())
    assert answerer.retriever is retriever
    assert answerer.chat_model.name == "scripted"
