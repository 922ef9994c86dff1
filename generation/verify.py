"""Re-check an answer against the store, with no model at all: is every footnote still verbatim, and where it says?"""

from collections.abc import Iterator
from dataclasses import dataclass

from generation.citations import contains
from generation.records import Answer, Citation, Sentence
from generation.serialize import answer_from_dict
from retrieval.errors import DocumentNotFound
from retrieval.ports import Snapshot
from retrieval.records import Document


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one citation: `sentence` and `citation` count from 1; citation 0 means the sentence."""

    sentence: int
    citation: int
    doc_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Report:
    """What `verify` found."""

    checked: int
    """Citations that were looked at."""
    problems: tuple[Problem, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def verify(answer: Answer | object, snapshot: Snapshot) -> Report:
    """Check each citation of an answer (or of its JSON form) against the documents of `snapshot`.

    A citation is right when its document is there in the version cited, holds the quote verbatim at the offsets, on
    the page given, under the source and title given; and when a sentence that claims full support is in its quote
    word for word. Raises InvalidRequest for JSON that is no answer.
    """
    record = answer if isinstance(answer, Answer) else answer_from_dict(answer)
    problems = list(_collection(record, snapshot))
    documents: dict[str, Document | None] = {}
    for i, sentence in enumerate(record.sentences, start=1):
        if record.status == "declined" and sentence.citations:
            problems.append(Problem(i, 0, "", "a declined answer has no citations, this one has"))
        for j, citation in enumerate(sentence.citations, start=1):
            if citation.doc_id not in documents:
                documents[citation.doc_id] = _document(citation.doc_id, snapshot)
            reasons = _reasons(sentence, citation, documents[citation.doc_id])
            problems.extend(Problem(i, j, citation.doc_id, reason) for reason in reasons)
    return Report(sum(len(sentence.citations) for sentence in record.sentences), tuple(problems))


def _collection(answer: Answer, snapshot: Snapshot) -> Iterator[Problem]:
    name = snapshot.info.name
    if answer.collection != name:
        yield Problem(0, 0, "", f"the answer is from collection {answer.collection!r}, not from {name!r}")


def _document(doc_id: str, snapshot: Snapshot) -> Document | None:
    try:
        return snapshot.document(doc_id)
    except DocumentNotFound:
        return None


def _reasons(sentence: Sentence, citation: Citation, document: Document | None) -> Iterator[str]:
    if document is None:
        yield f"the document {citation.doc_id!r} is not in the collection"
        return
    if document.version != citation.version:
        yield f"the document is now in version {document.version!r}, the citation is of {citation.version!r}"
        return
    start, end = citation.start, citation.end
    if not 0 <= start < end <= len(document.text):
        yield f"the offsets {start}..{end} are not within the document's {len(document.text)} characters"
        return
    if document.text[start:end] != citation.quote:
        yield f"the document does not say {citation.quote[:80]!r} at {start}..{end}"
    if document.page_at(start) != citation.page:
        yield f"the quote is on page {document.page_at(start)!r}, not on {citation.page!r}"
    if (document.source_uri, document.title) != (citation.source_uri, citation.title):
        yield f"the document is {document.source_uri!r} ({document.title!r}), not {citation.source_uri!r}"
    if not 0 <= citation.support <= 1:
        yield f"support is {citation.support!r}, it must be within 0..1"
    elif citation.support == 1 and not contains(citation.quote, sentence.text):
        yield f"the sentence {sentence.text[:80]!r} is not in its quote word for word"
