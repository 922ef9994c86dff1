"""Rules for queries: identifiers are kept, follow-ups are made complete, several questions are taken apart."""

import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.analysis import analyzer
from retrieval.build import build_collections, build_embedder, build_embedders, build_retriever
from retrieval.ports import Embedder, Replacement
from retrieval.queries.condensation import condense
from retrieval.queries.decomposition import MAX_PARTS, decompose
from retrieval.queries.identifiers import exact_terms, identifiers
from retrieval.queries.leaning import leans
from retrieval.queries.rules import RulePlanner
from retrieval.records import Chunk, Document, Turn, chunk_id
from retrieval.retriever import Retriever
from retrieval.settings import RetrievalSettings
from tests.unit.retrieval.dialogues import COMPLETE, FOLLOW_UPS, PASSAGES, Dialogue


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    """The one that ships: what dense search makes of a completed question is part of what is measured."""
    return build_embedder(RetrievalSettings())


def _retriever(texts: Sequence[tuple[str, str, str]], embedder: Embedder, chosen: RetrievalSettings) -> Retriever:
    """Over a new collection of one-chunk documents: (doc_id, title, text)."""
    collections = build_collections(chosen)
    collections.create("made", embedder=embedder.info)
    store = collections.open("made", writable=True)
    vectors = embedder.embed_documents([f"{title}\n{text}" for _, title, text in texts])
    replacements = []
    for i, (doc_id, title, text) in enumerate(texts):
        document = Document(doc_id, f"file:///{doc_id}", title, "text/plain", text)
        chunk = Chunk(chunk_id(doc_id, 0), doc_id, document.version, 0, 0, len(text), text, context=title)
        replacements.append(Replacement(document, [chunk], vectors[i : i + 1]))
    store.replace(replacements)
    return build_retriever(store, build_embedders(chosen, embedder), chosen)


# Identifiers


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("What is s3:GetObject, and s3:GetObjectAcl?", ("s3:GetObject", "s3:GetObjectAcl")),
        ("ERR-2047: see 10-Q (AMZN_2023)!", ("ERR-2047", "10-Q", "AMZN_2023")),
        ("M10x1.5 bolts, version 1.25.1.", ("M10x1.5", "1.25.1")),
        ("arn:aws:s3:::my-bucket/* is denied", ("arn:aws:s3:::my-bucket/*",)),
        ("550e8400-e29b-41d4-a716-446655440000?", ("550e8400-e29b-41d4-a716-446655440000",)),
        ("open report_final-v2.pdf or /etc/hosts", ("report_final-v2.pdf", "/etc/hosts")),
        ("--dry-run in C++ by a@b.com", ("--dry-run", "C++", "a@b.com")),
        ("the “Marine Safety Act” and `a && b`", ("Marine Safety Act", "a && b")),
        ("什么是ERR-2047吗？", ("ERR-2047",)),
    ],
)
def test_identifiers_are_found_as_they_are_written(text: str, found: tuple[str, ...]) -> None:
    """Without the punctuation of the sentence, with all of their own."""
    assert identifiers(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "How long is the notice period?",
        "a well-known U.S. law, e.g. this and/or that",
        "the 3rd of the 1990s at 10am, 1,200.50 or 30-day terms",
        "it's the boss's, isn't it? 'tis",
        "什么是退款？",
        "boundary-layer/slip and a -dash, this--i.e. that",
        "x" * 201 + "1",
    ],
)
def test_ordinary_words_are_no_identifiers(text: str) -> None:
    """Nor are numbers, ordinals and pasted data."""
    assert identifiers(text) == ()


def test_exact_terms_are_those_that_the_index_has_for_the_whole() -> None:
    """Not those of the parts, which near misses share."""
    english = analyzer("english")
    assert exact_terms("What is s3:GetObject of C++, 'matches' and ERR2047?", english) == {"s3:getobject", "c++"}
    assert exact_terms("s3:GetObject", english) <= set(english.terms("Allow s3:GetObject here"))
    assert not exact_terms("s3:GetObject", english) & set(english.terms("s3:GetObjectAcl s3.GetObject GetObject s3"))


NEAR_MISSES = {
    "s3:GetObject": "s3:GetObjectAcl s3:GetObjectTagging s3:PutObject s3:ListObjects s3:DeleteObject s3:GetBucket "
    "ec2:GetObject s3:GetObjects s3.GetObject s3:GetObjectVersion",
    "ERR-2047": "ERR-2074 ERR-2407 ERR-20470 ERR-204 ERR-247 WARN-2047 ERR-3047 ERR-2048 ERR-2046 ERR-2047A",
    "M10x1.5": "M10x1.25 M12x1.5 M10x15 M10 M1x0.5 M8x1.5 M10x1 M100x1.5 M10x1.75 M10x1.5-L",
    "1.25.1": "1.25.10 1.25.2 1.24.1 11.25.1 1.25 2.25.1 1.2.51 1.25.1-rc1 1.25.11 1.52.1",
    "AMZN_2023": "AMZN_2022 AMZN_2024 AMZ_2023 AAPL_2023 AMZN-2023 AMZN_2023_Q1 AMZN AMZN_2032 AMZNX_2023 MSFT_2023",
    "arn:aws:iam::123456789012:role/reader": "arn:aws:iam::123456789013:role/reader "
    "arn:aws:iam::123456789012:role/writer arn:aws:iam::123456789012:user/reader arn:aws:s3:::reader "
    "arn:aws:iam::210987654321:role/reader arn:aws:iam::123456789012:role/reader-2 "
    "arn:aws:iam::123456789012:role/readers arn:aws:iam::123456789012:group/reader "
    "arn:aws-cn:iam::123456789012:role/reader arn:aws:iam::123456789012:policy/reader",
    "report_final-v2.pdf": "report_final-v1.pdf report_final-v2.docx report_final-v3.pdf report-final-v2.pdf "
    "report_final.pdf report_draft-v2.pdf report_final-v20.pdf final_report-v2.pdf reports_final-v2.pdf "
    "report_final-v2.pdf.bak",
    "550e8400-e29b-41d4-a716-446655440000": "550e8400-e29b-41d4-a716-446655440001 "
    "550e8400-e29b-41d4-a716-446655440010 550e8401-e29b-41d4-a716-446655440000 "
    "550e8400-e29b-41d4-a716-446655404000 550e8400-e29b-41d4-a761-446655440000 "
    "550e8400-e29b-14d4-a716-446655440000 550e8400-e92b-41d4-a716-446655440000 "
    "055e8400-e29b-41d4-a716-446655440000 550e840-e29b-41d4-a716-446655440000 550e8400-e29b-41d4-a716-44665544000",
}
SENTENCES = (
    "The entry {} is described here. It applies to the pump room and to the deck.",
    "{} was logged by the night shift. The supervisor has to confirm it.",
    "Use {} when the former one is not available, and note the time.",
    "See {} for the limits. They hold for all stations of the line.",
    "For {} ask the service desk; the answer takes two working days.",
)
ASKED = ("{}", "What is {}?", "tell me about {}", "What does {} mean and who confirms it?")


@pytest.mark.parametrize("store", ["memory", "faiss"])
@pytest.mark.parametrize("identifier", NEAR_MISSES)
def test_exactly_that_identifier_comes_first(identifier: str, store: str, embedder: Embedder, tmp_path: Path) -> None:
    """Against 50 passages that are worded alike, name its neighbours and have the other words of the question."""
    near = [sentence.format(miss) for miss in NEAR_MISSES[identifier].split() for sentence in SENTENCES]
    assert len(near) == 50
    chosen = RetrievalSettings.model_validate({"store": store, "path": tmp_path})
    for number, sentence in enumerate(SENTENCES if store == "memory" else SENTENCES[-1:]):
        texts = [*near[:25], sentence.format(identifier), *near[25:]]
        chosen = chosen.model_copy(update={"path": tmp_path / str(number)})
        made = _retriever([(f"d{i:02d}", "", text) for i, text in enumerate(texts)], embedder, chosen)
        for asked in ASKED:
            assert made.retrieve(asked.format(identifier), k=1).chunks[0].chunk.doc_id == "d25", (asked, sentence)
        made.store.close()


# Condensation


def test_condensation_finds_what_follow_ups_mean(embedder: Embedder) -> None:
    """On the dialogues written for it: of 38 follow-ups, half find their passage first as they are, most completed."""
    texts = [(doc_id, title, text) for doc_id, (title, text) in PASSAGES.items()]
    made = _retriever(texts, embedder, RetrievalSettings(store="memory"))

    def found(query: str, gold: str, k: int) -> bool:
        return gold in [scored.chunk.doc_id for scored in made.retrieve(query, k=k).chunks]

    condensed = [(condense(dialogue.query, dialogue.history), dialogue.gold) for dialogue in FOLLOW_UPS]
    recall = {
        (name, k): sum(found(query, gold, k) for query, gold in asked) / len(FOLLOW_UPS)
        for name, asked in (("raw", [(d.query, d.gold) for d in FOLLOW_UPS]), ("condensed", condensed))
        for k in (1, 3)
    }
    assert recall["condensed", 1] >= recall["raw", 1] + 0.25
    assert recall["condensed", 3] >= recall["raw", 3] + 0.05
    assert recall["condensed", 3] >= 0.95
    worse = [
        q for q, (c, gold) in zip(FOLLOW_UPS, condensed, strict=True) if found(q.query, gold, 3) > found(c, gold, 3)
    ]
    assert worse == []


@pytest.mark.parametrize("dialogue", COMPLETE, ids=lambda dialogue: dialogue.query[:40])
def test_a_question_that_stands_by_itself_is_left_alone(dialogue: Dialogue) -> None:
    """Whatever was said before."""
    assert condense(dialogue.query, dialogue.history) == dialogue.query


@pytest.mark.parametrize("dialogue", FOLLOW_UPS, ids=lambda dialogue: dialogue.query)
def test_a_follow_up_is_kept_word_for_word(dialogue: Dialogue) -> None:
    """Words are added behind it; none is replaced."""
    assert condense(dialogue.query, dialogue.history).startswith(dialogue.query)


def test_nothing_is_added_without_a_history() -> None:
    """There is nothing to add."""
    assert [condense(dialogue.query, ()) for dialogue in FOLLOW_UPS] == [dialogue.query for dialogue in FOLLOW_UPS]


@pytest.mark.parametrize(
    ("said", "query", "expected"),
    [
        ("Who may call s3:GetObject?", "Who else may call it?", "Who else may call it? (s3:GetObject)"),
        ("What does ERR-2046 cost at Skerry Line?", "And ERR-2047?", "And ERR-2047? (cost Skerry Line)"),
        ("How long is the layover in Berlin?", "And in Frankfurt?", "And in Frankfurt? (layover)"),
        ("What were sales in 2023?", "What about 2024?", "What about 2024? (sales)"),
        ('Who wrote "Let It Be"?', "When did he write it?", 'When did he write it? (wrote "Let It Be")'),
        ("When does the office open?", "Who leads it?", "Who leads it? (office)"),
        ("Do employees have sick leave?", "Who grants it?", "Who grants it? (employees sick leave)"),
    ],
)
def test_what_is_carried_over(said: str, query: str, expected: str) -> None:
    """Identifiers and quoted titles as they are; not what the follow-up puts something else in the place of."""
    assert condense(query, [Turn("user", said)]) == expected


def test_a_change_of_topic_ends_what_is_carried_over() -> None:
    """A follow-up means the question before it, not the one before that."""
    history = [Turn("user", "Tell me about MV Fulmar"), Turn("user", "How long is lost property kept?")]
    assert condense("Where is it?", history) == "Where is it? (lost property kept)"


def test_a_pasted_document_is_not_carried_over() -> None:
    """At most a dozen words, from the beginning of what was said."""
    history = [Turn("user", "Summarise: " + " ".join(f"word{i}" for i in range(100_000)))]
    assert len(condense("What is it about?", history).split()) <= 16


# Decomposition


@pytest.mark.parametrize(
    ("query", "parts"),
    [
        ("What is Footnote and how do I install it?", ("What is Footnote?", "how do I install it? (Footnote)")),
        ("What does ERR-2047 mean and how do I fix it?", ("What does ERR-2047 mean?", "how do I fix it? (ERR-2047)")),
        ("What does it weigh and who built it?", ("What does it weigh?", "who built it? (weigh)")),
        ("What is MV Fulmar? Who is her master?", ("What is MV Fulmar?", "Who is her master? (MV Fulmar)")),
        ("How much is a dog, and where can it stay?", ("How much is a dog?", "where can it stay? (dog)")),
        ("I have a tandem. Where is it put? Is it safe?", ("Where is it put? (tandem)", "Is it safe? (put tandem)")),
        ("1) What is BP-40? 2) Who services it?", ("What is BP-40?", "Who services it? (BP-40)")),
        ("My questions:\n1. Who signs?\n2. Who pays?", ("Who signs?", "Who pays?")),
        ("Compare MV Fulmar and MV Guillemot", ("MV Fulmar", "MV Guillemot")),
        ("What is the difference between annual leave and sick leave?", ("annual leave", "sick leave")),
        ("Compare the rules of Skerry Line with Nordic", ("the rules of Skerry Line", "the rules of Nordic")),
        ("Compare A1, B2 and C3 regarding cost", ("A1 regarding cost", "B2 regarding cost", "C3 regarding cost")),
        ("Compare terms and conditions of A1 and B2", ("terms and conditions of A1", "terms and conditions of B2")),
        ("s3:GetObject vs s3:GetObjectAcl", ("s3:GetObject", "s3:GetObjectAcl")),
        ("Can a box be lost and if so, where does it go?", ("Can a box be lost?", "where does it go? (box lost)")),
        ("How to reset it and how to change the email?", ("How to reset it?", "how to change the email?")),
    ],
)  # fmt: skip
def test_several_questions_are_taken_apart(query: str, parts: tuple[str, ...]) -> None:
    """Each part is complete in itself."""
    assert decompose(query) == parts


@pytest.mark.parametrize(
    "query",
    [
        "What are the terms and conditions?",
        "Where is research and development located?",
        "Who founded Simon & Schuster?",
        "What does `a && b` do?",
        "Who wrote 'War and Peace'?",
        'Who wrote "What is it? And why?"',
        "Who decides what is allowed and what is forbidden?",
        "When and where was MV Fulmar built?",
        "How and why do seals wear?",
        "What do dogs, cats and birds cost?",
        "How do I back up and restore the database?",
        "What happens if the pump fails and the valve is closed?",
        "When AT&T financed the project, what technology did they use?",
        "Explain what is meant by net sales and gross margin",
        "annual leave and sick leave",
        "Which of these is right: 1) red 2) blue?",
        "Compare Johnson and Johnson",
        "Compare annual and parental leave",
        "How do subsonic and transonic data compare with each other?",
        "What is the role of the master and the mate?",
        "Is the ramp locked and closed?",
        "Where can I find out who signs and who approves?",
        "What is 1.25.1? It is a version, I think. Or is it",
        "e.g. what is U.S. law?",
        "What are the rules for passengers who travel with dogs and for those who do not?",
        "犬の料金はいくらですか？猫は？",
        "",
        "? ? ?",
        "and",
        "1) 2) 3)",
    ],
)
def test_one_question_stays_whole(query: str) -> None:
    """Lists, titles, names with "and", clauses: in doubt there is no split."""
    assert decompose(query) == ()


def test_no_more_than_four_parts_and_nothing_is_lost() -> None:
    """What is beyond stays together in the last one."""
    query = " ".join(f"What is {letter}1?" for letter in "ABCDEF")
    parts = decompose(query)
    assert len(parts) == MAX_PARTS
    assert " ".join(parts) == query


# The planner


def test_a_plan_for_a_follow_up_of_two_questions() -> None:
    """Both parts get what the first one leans on."""
    plan = RulePlanner().plan(
        "When was it built and who is its master?", history=[Turn("user", "Tell me of MV Fulmar")]
    )
    assert plan.planner == "rules"
    assert plan.query == "When was it built and who is its master? (MV Fulmar)"
    assert plan.parts == ("When was it built? (MV Fulmar)", "who is its master? (built MV Fulmar)")


@pytest.mark.parametrize("language", ["german", "french", "none"])
def test_other_languages_pass_through(language: str) -> None:
    """English words mean something else there: "so", "also", "die"."""
    plan = RulePlanner().plan("Also was kostet it? Und was ist das?", history=[Turn("user", "Hund")], language=language)
    assert (plan.query, plan.parts, plan.planner) == ("Also was kostet it? Und was ist das?", (), "none")


_SOUP = st.lists(
    st.sampled_from(
        "what is it and how do I the s3:GetObject ERR-2047 ? . , ; 1) 2) a) compare vs between `x' \" ' “ ” they their "
        "(a b) -- ... \n it's difference with in terms of 犬の \ud800 ǅ İ 1.25.1 and and?".split(" ")
    )
    | st.text(max_size=6),
    max_size=40,
).map(" ".join)


@settings(max_examples=400, deadline=None)
@given(_SOUP, st.lists(st.tuples(st.sampled_from(["user", "assistant"]), _SOUP), max_size=4))
def test_whatever_is_typed_gets_a_plan_that_keeps_it(query: str, said: list[tuple[str, str]]) -> None:
    """No input fails; the query is at the beginning of the plan, and no identifier of it is lost from the parts."""
    history = [Turn("user" if role == "user" else "assistant", text) for role, text in said]
    plan = RulePlanner().plan(query, history=history)
    assert plan.query.startswith(query)
    assert len(plan.parts) <= MAX_PARTS
    assert len(plan.parts) != 1
    assert all(any(map(str.isalnum, part)) for part in plan.parts)


@pytest.mark.parametrize(
    "piece",
    [
        "it ",
        "and how do I ",
        "? ",
        "1) what ",
        '"',
        "'a ",
        "-",
        "a.",
        "what is it and ",
        "(",
        "compare a and ",
        "x_",
        "/",
        "\n- ",
    ],
)
def test_hostile_input_takes_no_time(piece: str) -> None:
    """A pattern that goes over the text again and again would be a way to stop a server."""
    query = (piece * 10_000)[:10_000]
    began = time.perf_counter()
    RulePlanner().plan(query, history=[Turn("user", query), Turn("assistant", query)] * 20)
    identifiers(query)
    assert time.perf_counter() - began < 2.0


def test_leaning_is_about_the_question_alone() -> None:
    """A short question of content words stands by itself; pronouns and fragments do not."""
    assert not leans("notice period")
    assert leans("why?")
    assert leans("And for dogs?")
    assert leans("How fast?")
