"""Aligning claims with sources, and verifying them."""

from collections.abc import Callable, Sequence

import pytest

from generation.citations import MIN_SUPPORT, Citer, contains, numbers, support
from generation.markers import Claim
from retrieval.analysis import analyzer
from retrieval.ports import Vectors, VectorStore
from retrieval.retriever import Retriever
from tests.fakes import FakeEmbedder
from tests.unit.generation.ferry import TEXTS

ENGLISH = analyzer("english")


def _citer(retriever: Retriever, store: VectorStore, question: str, doc_id: str) -> tuple[Citer, int]:
    chunks = retriever.retrieve(question).chunks
    number = next(i for i, found in enumerate(chunks, start=1) if found.chunk.doc_id == doc_id)
    with store.snapshot() as snapshot:
        return Citer(chunks, snapshot, embedder=FakeEmbedder(512), analyzer=ENGLISH), number


def test_a_verbatim_sentence_has_full_support(retriever: Retriever, store: VectorStore) -> None:
    """Its quote is that sentence, with offsets and page of the document."""
    citer, number = _citer(retriever, store, "passengers and cars", "fleet")
    cited = citer.cite(Claim("She carries 420 passengers and 64 cars.", (number,)))
    (citation,) = cited.sentence.citations
    assert (citation.support, citation.page, cited.dropped) == (1.0, 2, 0)
    assert citation.quote == "She carries 420 passengers and 64 cars."
    assert TEXTS["fleet"][citation.start : citation.end] == citation.quote


def test_a_paraphrase_is_aligned_with_its_sentence(retriever: Retriever, store: VectorStore) -> None:
    """The tightest span that supports it, word for word from the document, with less than full support."""
    citer, number = _citer(retriever, store, "annual leave", "leave")
    cited = citer.cite(Claim("All employees have 27 days of annual leave.", (number,)))
    (citation,) = cited.sentence.citations
    assert citation.quote == "Every employee has 27 days of paid annual leave."
    assert MIN_SUPPORT <= citation.support < 1


def test_two_sentences_are_quoted_when_one_does_not_carry_the_claim(retriever: Retriever, store: VectorStore) -> None:
    """A claim that joins two neighbours gets both."""
    citer, number = _citer(retriever, store, "built in 2019", "fleet")
    cited = citer.cite(Claim("MV Guillemot, built in 2019, carries 420 passengers and 64 cars.", (number,)))
    assert [citation.quote for citation in cited.sentence.citations] == [
        "MV Guillemot was built in 2019. She carries 420 passengers and 64 cars."
    ]


def test_sources_that_do_not_exist_are_dropped_and_counted(retriever: Retriever, store: VectorStore) -> None:
    """Zero, and numbers beyond the last source."""
    citer, number = _citer(retriever, store, "annual leave", "leave")
    cited = citer.cite(Claim("Every employee has 27 days of paid annual leave.", (0, number, 99)))
    assert (len(cited.sentence.citations), cited.dropped) == (1, 2)


def test_a_source_that_says_nothing_of_it_is_dropped(retriever: Retriever, store: VectorStore) -> None:
    """No quote is attached because something must be."""
    citer, number = _citer(retriever, store, "annual leave", "leave")
    cited = citer.cite(Claim("Paris fell to Prussian artillery.", (number,)))
    assert (cited.sentence.citations, cited.dropped) == ((), 1)


def test_a_shared_marker_is_tried_but_not_counted(retriever: Retriever, store: VectorStore) -> None:
    """The model did not write it there."""
    citer, number = _citer(retriever, store, "annual leave", "leave")
    assert citer.cite(Claim("They are granted in January.", (), (number,))).sentence.citations
    assert citer.cite(Claim("Paris fell to Prussian artillery.", (), (number,))).dropped == 0


def test_a_document_that_was_replaced_cannot_be_cited(
    retriever: Retriever, store: VectorStore, replace: Callable[[str, str], None]
) -> None:
    """A chunk of another version than the snapshot holds verifies nothing."""
    chunks = retriever.retrieve("annual leave").chunks
    number = next(i for i, found in enumerate(chunks, start=1) if found.chunk.doc_id == "leave")
    replace("leave", TEXTS["leave"].replace("27", "12"))
    with store.snapshot() as snapshot:
        citer = Citer(chunks, snapshot, embedder=FakeEmbedder(512), analyzer=ENGLISH)
    assert citer.cite(Claim("They lapse on 31 March.", (number,))).dropped == 1
    store.delete(["leave"])
    with store.snapshot() as snapshot:
        citer = Citer(chunks, snapshot, embedder=FakeEmbedder(512), analyzer=ENGLISH)
    assert citer.cite(Claim("They lapse on 31 March.", (number,))).dropped == 1


@pytest.mark.parametrize(
    ("quote", "text", "expected"),
    [
        ("The fee\nis 12 EUR.", "The fee is 12 EUR", True),
        ("- The fee is 12 EUR [4].", "fee is 12 EUR.", True),
        ("The fee is 120 EUR.", "The fee is 12", False),
        ("A notable one.", "not", False),
        ("The fee is 12 EUR.", "the fee is 12 EUR.", False),
        ("你好世界。", "好世", True),
        ("Anything", " ... ", False),
    ],
)
def test_contains_means_word_for_word(quote: str, text: str, *, expected: bool) -> None:
    """White space, bullets and markers aside; never a part of a word or of a number."""
    assert contains(quote, text) is expected


def test_a_wrong_number_costs_most_of_the_support() -> None:
    """The same words with another figure are no support at all; a digit may come from counting."""
    right = support("The fee is now 12 EUR.", "The fee is 12 EUR.", cosine=0.95, analyzer=ENGLISH)
    wrong = support("The fee is now 13 EUR.", "The fee is 12 EUR.", cosine=0.95, analyzer=ENGLISH)
    assert right > 0.8
    assert wrong < MIN_SUPPORT
    assert support("The 2 fees are due.", "The fees are due.", cosine=0.95, analyzer=ENGLISH) > MIN_SUPPORT


def test_numbers_are_compared_without_separators() -> None:
    """1,200 and 1200 are the same number, so are 3 and three; decimals are not whole ones."""
    assert numbers("1,200.50 and 3 of 2019") == {"1200.50", "3", "2019"}
    assert numbers("12.5") != numbers("125")
    assert numbers("1. Three of them") == {"3"}


def test_support_never_reaches_one_without_the_words() -> None:
    """Full support is kept for quotes that hold the sentence."""
    assert support("fee EUR 12", "EUR 12 fee", cosine=1.0, analyzer=ENGLISH) < 1.0


def test_an_embedder_is_not_asked_for_what_is_verbatim(retriever: Retriever, store: VectorStore) -> None:
    """An extractive answer is verified without any model."""

    class Refusing(FakeEmbedder):
        def embed_documents(self, texts: Sequence[str]) -> Vectors:
            raise AssertionError(texts)

    chunks = retriever.retrieve("annual leave").chunks
    number = next(i for i, found in enumerate(chunks, start=1) if found.chunk.doc_id == "leave")
    with store.snapshot() as snapshot:
        citer = Citer(chunks, snapshot, embedder=Refusing(), analyzer=ENGLISH)
        assert citer.cite(Claim("They lapse on 31 March.", (number,))).sentence.citations
