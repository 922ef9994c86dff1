"""From a question to a verified answer: retrieve, weigh the evidence, decline or write, verify every footnote."""

import time
from collections.abc import Iterator, Sequence
from typing import cast

from generation import prompt
from generation.citations import Citer
from generation.declining import no_evidence, says_unknown, unknown_to_model, unverified
from generation.evidence import Assessor, Evidence, combined, located
from generation.markers import Claim, ClaimParser
from generation.ports import ChatModel, ChatRequest, Retriever
from generation.records import Answer, AnswerEvent, AnswerStatus, AnswerStream, Sentence, SentenceEvent, Usage
from generation.settings import GenerationSettings
from retrieval.analysis import Analyzer, analyzer
from retrieval.assembly import Assembly, assemble
from retrieval.errors import InvalidQuery
from retrieval.filters import Filter
from retrieval.ports import Snapshot
from retrieval.records import Retrieval, Turn


class Answerer:
    """Answers questions from one collection. Thread-safe when its chat model is."""

    def __init__(self, retriever: Retriever, chat_model: ChatModel, settings: GenerationSettings) -> None:
        self.retriever = retriever
        self.chat_model = chat_model
        self.settings = settings

    def answer(
        self, question: str, *, k: int | None = None, filter: Filter | None = None, history: Sequence[Turn] = ()
    ) -> Answer:
        """The answer, or one that says why there is none. `k` chunks are answered from (default: the setting).

        `history` is what was said before, oldest first; a question that leans on it is made complete (`Answer.plan`).

        Raises InvalidQuery, UnknownField, StoreError, ChatModelError, ChatModelUnavailable.
        """
        *_, last = self.stream(question, k=k, filter=filter, history=history)
        return cast("AnswerEvent", last).answer

    def stream(
        self, question: str, *, k: int | None = None, filter: Filter | None = None, history: Sequence[Turn] = ()
    ) -> Iterator[AnswerStream]:
        """The same answer as it grows: each sentence once it is verified, at the end the whole.

        A declined answer streams no sentences, only its whole. Closing the iterator stops the chat model. Raises
        InvalidQuery for the question at once, the other errors of `answer` on the way.
        """
        return self._events(self._checked(question), self.settings.k if k is None else k, filter, history)

    def _checked(self, question: str) -> str:
        limit = self.settings.max_question_characters
        if len(question) > limit:
            raise InvalidQuery(
                f"the question has {len(question)} characters, at most {limit} are allowed; ask it shorter, "
                "or raise generation.max_question_characters"
            )
        if not any(character.isalnum() for character in question):
            raise InvalidQuery(f"the question {question[:80]!r} has no words; ask something like 'Who may sign?'")
        return question.strip()

    def _events(self, question: str, k: int, filter: Filter | None, history: Sequence[Turn]) -> Iterator[AnswerStream]:
        started = time.perf_counter()
        with self.retriever.store.snapshot() as snapshot:
            retrieval = self.retriever.retrieve(question, k=k, filter=filter, snapshot=snapshot, history=history)
            retrieved = time.perf_counter()
            run = _Run(self, question, snapshot, retrieval)
            run.timings["retrieve"] = retrieved - started
            run.timings["evidence"] = time.perf_counter() - retrieved
            if run.evidence.score < self.settings.threshold or not retrieval.chunks:
                reason = no_evidence(run.collection, retrieval.chunks, run.evidence, filtered=filter is not None)
                yield AnswerEvent(run.declined(reason))
            else:
                yield from run.write()


class _Run:
    """One question that has been retrieved for, on its way to its answer."""

    def __init__(self, answerer: Answerer, question: str, snapshot: Snapshot, retrieval: Retrieval) -> None:
        self.timings: dict[str, float] = {}
        self.collection = snapshot.info.name
        self._answerer = answerer
        self._question = question
        self._snapshot = snapshot
        self._retrieval = retrieval
        self._analyzer: Analyzer = analyzer(snapshot.info.language)
        self._usage = Usage()
        self._dropped = 0
        self._notes = retrieval.notes
        self._asked = retrieval.plan.query or question
        """The question complete in itself: what evidence is weighed for, and what the chat model is asked."""
        self._embedder = answerer.retriever.embedders.of(snapshot.info.embedder)
        self.evidence = self._assessed()

    def _assessed(self) -> Evidence:
        """The evidence for the question; of one that consists of others, for those of them that there is some for."""
        assessor, chunks = Assessor(self._embedder), self._retrieval.chunks
        parts = {part: assessor.assess(part, chunks, analyzer=self._analyzer) for part in self._retrieval.plan.parts}
        enough = [found for found in parts.values() if found.score >= self._answerer.settings.threshold]
        if not enough:
            vector = self._retrieval.query_vector
            return assessor.assess(self._asked, chunks, analyzer=self._analyzer, query_vector=vector)
        self._notes += tuple(f"not answered: {part}" for part, found in parts.items() if found not in enough)
        return combined(enough)

    def write(self) -> Iterator[AnswerStream]:
        """Let the chat model write, and show what is verified.

        Before the first verified citation nothing is shown: till then it may still be a refusal or an invention.
        """
        started = time.perf_counter()
        sentences: list[Sentence] = []
        shown, cited, unknown = 0, False, False
        for sentence in self._sentences():
            unknown = unknown or (not sentence.citations and says_unknown(sentence.text))
            cited = cited or bool(sentence.citations)
            sentences.append(sentence)
            if cited:
                for ready in sentences[shown:]:
                    yield SentenceEvent(ready)
                shown = len(sentences)
        self.timings["write"] = time.perf_counter() - started
        name, model = self.collection, self._answerer.chat_model.name
        if cited:
            yield AnswerEvent(self._answer("answered", tuple(sentences)))
        elif unknown or not sentences:
            yield AnswerEvent(self.declined(unknown_to_model(name, model)))
        else:
            yield AnswerEvent(self.declined(unverified(name, model, self._dropped)))

    def declined(self, reason: str) -> Answer:
        """The answer whose one sentence says why there is none."""
        return self._answer("declined", (Sentence(reason),))

    def _sentences(self) -> Iterator[Sentence]:
        """What the chat model writes, sentence by sentence, verified; drops are counted on the way."""
        shown = self._assembled()
        citer = Citer(
            shown.passages,
            self._snapshot,
            embedder=self._embedder,
            analyzer=self._analyzer,
            chunk_at=shown.chunk_at,
        )
        for claim in self._claims(shown):
            result = citer.cite(claim)
            self._dropped += result.dropped
            verbatim = any(citation.support == 1 for citation in result.sentence.citations)
            if says_unknown(claim.text) and not verbatim:
                yield Sentence(claim.text)  # a marker behind "I do not know" supports nothing, unless it is a quote
            elif result.sentence.text:
                yield result.sentence

    def _assembled(self) -> Assembly:
        """What the chat model is shown of the chunks; what it is not shown is noted."""
        settings = self._answerer.settings
        shown = assemble(
            self._retrieval.chunks,
            self._snapshot,
            budget_tokens=settings.context_tokens,
            tokenizer=self._embedder.tokenizer,
            merge=settings.merge,
            expand=settings.expand,
            order=settings.order,
        )
        if shown.left_out:
            self._notes += (
                f"{len(shown.left_out)} of {len(self._retrieval.chunks)} chunks were not shown to the chat model: "
                f"generation.context_tokens is {settings.context_tokens}",
            )
        return shown

    def _claims(self, shown: Assembly) -> Iterator[Claim]:
        settings = self._answerer.settings
        request = ChatRequest(
            messages=prompt.messages(self._asked, shown.passages),
            question=self._asked,
            chunks=shown.passages,
            max_tokens=settings.max_tokens,
            temperature=settings.temperature,
            evidence=located(self.evidence, shown.passages),
        )
        parser = ClaimParser()
        deltas = self._answerer.chat_model.stream(request)
        try:
            for delta in deltas:
                self._usage = delta.usage or self._usage
                yield from parser.feed(delta.text)
            yield from parser.finish()
        finally:
            close = getattr(deltas, "close", None)  # an iterator need not have it; a model's connection does
            if close:
                close()

    def _answer(self, status: AnswerStatus, sentences: tuple[Sentence, ...]) -> Answer:
        return Answer(
            question=self._question,
            collection=self.collection,
            status=status,
            sentences=sentences,
            evidence=self.evidence.score,
            model=self._answerer.chat_model.name,
            dropped_citations=self._dropped,
            usage=self._usage,
            timings={**self._retrieval.timings, **self.timings},
            retrieved=self._retrieval.chunks,
            plan=self._retrieval.plan,
            notes=self._notes,
        )
