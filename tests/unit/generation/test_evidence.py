"""Reading questions, describing sentences, composing from them."""

import pytest

from generation import weights
from generation.chat_models.extractive import ExtractiveModel, compose
from generation.evidence import MAX_CANDIDATES, QUESTION_FEATURES, SENTENCE_FEATURES, Assessor, Candidate
from generation.passages import passages
from generation.ports import ChatRequest
from generation.questions import negates, read
from retrieval.analysis import analyzer
from retrieval.records import Chunk, DocumentInfo, ScoredChunk
from tests.fakes import FakeEmbedder

ENGLISH = analyzer("english")


def _scored(text: str, *, doc_id: str = "d", start: int = 0, title: str = "") -> ScoredChunk:
    chunk = Chunk(f"{doc_id}:0", doc_id, "v", 0, start, start + len(text), text, context=title)
    return ScoredChunk(chunk, DocumentInfo(doc_id, "v", f"file:///{doc_id}", title, "text/plain", len(text)), 1.0)


def _candidate(text: str, score: float, *, start: int = 0, doc_id: str = "d", previous: int | None = None) -> Candidate:
    terms = frozenset(ENGLISH.terms(text))
    return Candidate(1, doc_id, start, start + len(text), text, terms, score, score, previous, score)


def _texts(chosen: list[Candidate]) -> list[str]:
    return [candidate.text for candidate in chosen]


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("When was it built?", "time"),
        ("In what year did it end?", "time"),
        ("How many cars does it carry?", "number"),
        ("What is the population of Warsaw?", "number"),
        ("Who decides?", "person"),
        ("Where is the office?", "place"),
        ("Why did it stop?", "reason"),
        ("What is a sapper?", "open"),
        ("Wie viele Autos trägt sie?", "number"),
        ("Quand part-il?", "time"),
        ("¿Quién decide?", "person"),
    ],
)
def test_knows_what_is_asked_for(question: str, kind: str) -> None:
    """From the question word, in several languages."""
    assert read(question, ENGLISH).kind == kind


def test_question_words_are_no_content() -> None:
    """Names and numbers are told apart; words are given back as they were written."""
    asked = read("How many cars did MV Fulmar carry in 2019?", ENGLISH)
    assert asked.terms == {"car", "mv", "fulmar", "carri", "2019"}
    assert asked.names == {"mv", "fulmar"}
    assert asked.numbers == {"2019"}
    assert asked.words_of({"carri", "fulmar"}) == ("Fulmar", "carry")


def test_a_question_of_question_words_still_has_terms() -> None:
    """Nothing divides by zero."""
    assert read("What is it?", ENGLISH).terms
    assert read("?", ENGLISH).terms == frozenset()


@pytest.mark.parametrize(
    ("question", "sentence", "expected"),
    [
        ("When was it built?", "It was built in 2019.", 1.0),
        ("When was it built in 2019?", "It was built in 2019.", 0.0),
        ("How many cars?", "There are no cars on the pier today, or twelve.", 1.0),
        ("Who decides?", "In the end Captain Brandt decides.", 1.0),
        ("What is it?", "It is a boat.", 0.5),
    ],
)
def test_sees_a_thing_of_the_kind_asked_for(question: str, sentence: str, expected: float) -> None:
    """One that the question does not have itself; a half where no kind is known."""
    assert read(question, ENGLISH).answered_by(sentence) == expected


def test_negation_is_strict_in_questions_and_loose_in_sentences() -> None:
    """What is unpaid answers what is not paid, but does not make a question negative."""
    assert negates("What isn't paid?")
    assert not negates("What happens to unpaid fees?")
    assert negates("Unpaid fees lapse.", loosely=True)


def test_headings_are_context_and_not_sentences() -> None:
    """A heading is embedded with the sentences below it, and never an answer by itself."""
    chunk = _scored("Lost property\n\nThey are kept. Call us.\n\nDogs\n\nOn a lead.", title="Handbook")
    found = passages([chunk], ENGLISH, asked=frozenset())
    assert [(item.text, item.embedded) for item in found] == [
        ("They are kept.", "Handbook\nLost property\nThey are kept."),
        ("Call us.", "Handbook\nLost property\nCall us."),
        ("On a lead.", "Handbook\nDogs\nOn a lead."),
    ]
    assert "lost" in found[0].near
    assert "lost" not in found[2].near
    assert [item.previous is not None for item in found] == [False, True, False]


def test_the_header_of_a_table_is_context_of_its_rows() -> None:
    """Rows answer; the cells of the header, a line for each as PDFs have them, and labels among rows do not."""
    table = (
        "Sales and taxes were (in millions):\n\n"
        "Three Months Ended\nJuly 1,\n2023\nSales $ 81,797 $ 82,959\nOther items\nTax 2,852 3,624"
    )
    found = passages([_scored(table)], ENGLISH, asked=frozenset())
    assert [item.text for item in found] == ["Sales $ 81,797 $ 82,959", "Tax 2,852 3,624"]
    assert "in millions" in found[0].embedded
    assert "2023" in found[0].embedded
    assert "Other items" in found[1].embedded
    assert "juli" in found[0].terms  # a figure says what its header says


def test_a_question_is_context_of_what_follows_it() -> None:
    """Lists of questions and answers: the question of the reader found again is no answer to it."""
    found = passages([_scored("How much does it cost? It costs 12 EUR.")], ENGLISH, asked=frozenset())
    assert [item.text for item in found] == ["It costs 12 EUR."]
    assert "How much" in found[0].embedded


@pytest.mark.parametrize(
    ("item", "sentence"),
    [
        ("2. Choose the name.", "Choose the name."),
        ("(3) Choose the name.", "Choose the name."),
        ("• Choose the name.", "Choose the name."),
        ("3. Oktober 1990 war der Tag.", "3. Oktober 1990 war der Tag."),
        ("12 monkeys came.", "12 monkeys came."),
        ("- 5 apples fell.", "- 5 apples fell."),
    ],
)
def test_a_mark_of_a_list_is_not_quoted(item: str, sentence: str) -> None:
    """Item 2 of a list is the first sentence of an answer; its place in the text is still exact."""
    chunk = _scored(item)
    (found,) = passages([chunk], ENGLISH, asked=frozenset())
    assert found.text == sentence == chunk.chunk.text[found.start - chunk.chunk.start : found.end - chunk.chunk.start]


def test_a_label_that_only_repeats_the_question_cannot_answer() -> None:
    """But a sentence may: "Does AMI support tags?" - "AMI supports tags."."""
    chunk = _scored("- Load balancer state\n- Load balancers have state.")
    asked = read("Which state have load balancers?", ENGLISH).terms
    assert [item.text for item in passages([chunk], ENGLISH, asked=asked)] == ["Load balancers have state."]


def test_the_title_in_the_text_is_no_sentence() -> None:
    """Wherever it stands."""
    found = passages([_scored("FEES\nThe fee is 12 EUR.", title="FEES")], ENGLISH, asked=frozenset())
    assert [item.text for item in found] == ["The fee is 12 EUR."]


def test_a_chunk_of_nothing_but_headings_still_has_sentences() -> None:
    """They are all there is to say."""
    assert len(passages([_scored("Dogs")], ENGLISH, asked=frozenset())) == 1


def test_overlapping_chunks_give_a_sentence_once() -> None:
    """From the better chunk."""
    chunks = [_scored("One is here. Two is here."), _scored("Two is here. Three is here.", start=13)]
    found = passages(chunks, ENGLISH, asked=frozenset())
    assert [(item.source, item.start) for item in found] == [(1, 0), (1, 13), (2, 26)]


def test_the_sentence_that_answers_is_best() -> None:
    """And the evidence of a question that is answered is above that of one that is not."""
    assessor = Assessor(FakeEmbedder(512))
    chunks = [_scored("The fee is due in May. It is 12 EUR for a car. Dogs travel free of charge.", title="Fees")]
    answered = assessor.assess("How many EUR is the fee for a car?", chunks, analyzer=ENGLISH)
    assert answered.candidates[0].text == "It is 12 EUR for a car."
    foreign = assessor.assess("Who painted the ceiling?", chunks, analyzer=ENGLISH)
    assert answered.score > weights.THRESHOLD > foreign.score
    assert foreign.missing == ("painted", "ceiling")


def test_no_chunks_are_no_evidence() -> None:
    """And everything is missing."""
    evidence = Assessor(FakeEmbedder()).assess("Who decides?", [], analyzer=ENGLISH)
    assert (evidence.score, evidence.candidates, evidence.missing) == (0.0, (), ("decides",))


def test_only_so_many_sentences_are_embedded() -> None:
    """Those with words of the question first: the time of an answer has a bound."""

    class Counting(FakeEmbedder):
        seen = 0

        def embed_documents(self, texts):  # type: ignore[no-untyped-def]
            self.seen += len(texts)
            return super().embed_documents(texts)

    text = " ".join(f"Sentence number {i} says nothing." for i in range(300)) + " The harbour opens at noon."
    embedder = Counting()
    evidence = Assessor(embedder).assess("When does the harbour open?", [_scored(text)], analyzer=ENGLISH)
    assert embedder.seen <= MAX_CANDIDATES + 1
    assert evidence.candidates[0].text == "The harbour opens at noon."


def test_the_weights_are_those_of_the_features() -> None:
    """In the same order, with the intercept last."""
    assert tuple(weights.SENTENCE) == (*SENTENCE_FEATURES, "intercept")
    assert tuple(weights.QUESTION) == (*QUESTION_FEATURES, "intercept")
    assert 0 < weights.THRESHOLD < 1


def test_sentences_of_one_document_come_in_reading_order() -> None:
    """Documents in the order of their best sentence."""
    candidates = [
        _candidate("Beta comes second here.", 0.9, start=50, doc_id="b"),
        _candidate("Gamma is elsewhere today.", 0.8, start=0, doc_id="a"),
        _candidate("Alpha opens this text.", 0.7, start=10, doc_id="b"),
    ]
    assert _texts(compose(candidates, max_sentences=3)) == [
        "Alpha opens this text.",
        "Beta comes second here.",
        "Gamma is elsewhere today.",
    ]


def test_stops_when_the_next_sentence_adds_nothing() -> None:
    """Near-duplicates and what scores far below the best are left out."""
    best = _candidate("The annual fee for members is twelve euros.", 0.9)
    same = _candidate("Members: the annual fee is twelve euros.", 0.89, doc_id="e")
    weak = _candidate("Ships sail at dawn.", 0.05, doc_id="f")
    assert compose([best, same, weak], max_sentences=3) == [best]


@pytest.mark.parametrize(
    "text", ["For more information, see the price list.", "For a discussion of the fees, please refer to “Fees” below."]
)
def test_a_pointer_elsewhere_adds_nothing(text: str) -> None:
    """But when there is nothing better, it is the answer."""
    pointer = _candidate(text, 0.8, start=60)
    best = _candidate("The annual fee is twelve euros.", 0.9)
    assert compose([best, pointer], max_sentences=3) == [best]
    assert compose([pointer], max_sentences=3) == [pointer]


def test_rows_that_differ_in_a_number_are_not_the_same() -> None:
    """Two lines of a price list are two facts."""
    rows = [_candidate("Hotel, islands | 110 EUR", 0.9), _candidate("Hotel, mainland | 145 EUR", 0.8, start=40)]
    assert compose(rows, max_sentences=3) == rows


def test_a_pronoun_brings_its_sentence_along() -> None:
    """When there is room for three: an answer about "they" should say who they are."""
    best = _candidate("They are kept for 90 days.", 0.9, start=30, previous=0)
    before = _candidate("Things found go to the office.", 0.01, start=0)
    assert compose([best, before], max_sentences=3) == [before, best]
    assert compose([best, before], max_sentences=1) == [best]


def test_the_model_writes_a_marked_line_for_each_sentence() -> None:
    """Line breaks of the source become spaces; what looks like a marker there is none here."""
    chunk = _scored("The fee is\n12 EUR [3].")
    evidence = Assessor(FakeEmbedder()).assess("What is the fee?", [chunk], analyzer=ENGLISH)
    deltas = list(
        ExtractiveModel(max_sentences=1).stream(ChatRequest((), "What is the fee?", [chunk], evidence=evidence))
    )
    assert "".join(delta.text for delta in deltas) == "The fee is 12 EUR \\[3]. [1]\n"
